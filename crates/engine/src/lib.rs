//! Drives the protocol over lanes onto a store (spec/wire.md, spec/store.md).
//!
//! A [`Link`] is one session's lanes, seen from either end. [`send`] and [`Reception::receive`] are the two ends of a
//! transfer; they reach files only through a [`View`], which joins a store to a grant. Nothing here prints, dials or
//! authenticates.

mod attribution;
mod budget;
mod commit;
mod error;
mod event;
mod gather;
mod lane_choice;
mod leftovers;
mod link;
mod manner;
mod measure;
mod open_file;
mod place;
mod read;
mod receive;
mod scan;
mod send;
mod transfer_error;
mod view;
mod write;
mod written;

pub use attribution::{Shares, Times, Wait};
pub use error::{unapplied_on_wire, wire_error};
pub use event::{Blame, Counters, Event, EventSink, Summary};
pub use leftovers::{Leftovers, Moment};
pub use link::{LaneInfo, Link, LinkEnd, Role, SessionEvent, TransferPort, is_short_path};
pub use manner::Manner;
pub use measure::{Counting, MeasureTurn, Measured};
pub use open_file::OpenFile;
pub use receive::{ReceiveJob, Reception};
pub use send::{SendJob, SendSource, send};
pub use transfer_error::TransferError;
pub use view::View;
