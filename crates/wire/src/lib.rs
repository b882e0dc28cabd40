//! SFT/1 as a pure machine (spec/wire.md): no socket, no file, no clock, no randomness.
//!
//! [`message`] is what may be said, [`Sender`] and [`Receiver`] are the two ends of one transfer. Bytes and events go in,
//! frames and work to do come out; the engine does the work and calls back.

pub mod message;

mod codec;
mod error;

pub use error::{Code, WireError};
