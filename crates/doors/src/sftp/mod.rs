//! SFTP version 3 over any stream of bytes, on a view (spec/doors.md, "SFTP").

mod attributes;
mod credit;
mod extensions;
mod files;
mod local;
mod ops;
mod packet;
mod paths;
mod request;
mod session;
mod status;

pub use attributes::FileAttributes;
pub use local::{LocalError, serve_local};
pub use packet::{DATA_BYTES_MAX, PACKET_BYTES_MAX};
pub(crate) use paths::Paths;
pub use request::{Check, Malformed, Request, decode};
pub use session::{serve, serve_resuming};
