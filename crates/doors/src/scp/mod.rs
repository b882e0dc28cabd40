//! The old protocol of scp, both sides of it, on a view (spec/doors.md, "The old protocol of scp").

mod command;
mod peer;
mod record;
mod session;
mod sink;
mod source;

pub use command::{Command, NotScp};
pub use record::{Record, Unexpected, parse};
pub use session::serve;
