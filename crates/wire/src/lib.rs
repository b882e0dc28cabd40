//! SFT/1 as a pure machine (spec/wire.md): no socket, no file, no clock, no randomness.
//!
//! [`message`] is what may be said, [`Sender`] and [`Receiver`] are the two ends of one transfer. Bytes and events go in,
//! frames and work to do come out; the engine does the work and calls back.

pub mod message;

mod attach;
mod bounds;
mod codec;
mod control;
mod data;
mod error;
mod job;
mod lane_watch;
mod receiver;
mod sender;
mod sender_event;
mod settled;
mod strict;
mod units;

pub use attach::attach_mac;
pub use bounds::{Bounded, Broken};
pub use codec::{decode, encode};
pub use control::ControlMessage;
pub use data::{decode_pack, decode_piece, encode_pack, encode_piece};
pub use error::{Code, Misbehaved, WireError};
pub use job::Job;
pub use receiver::{Decision, PackArrival, PieceArrival, Receiver, ReceiverEvent};
pub use sender::Sender;
pub use sender_event::{Outcome, SenderEvent};
pub use strict::{CborFault, check as check_cbor};
