//! The SSH door: SFTP for the clients that people have (spec/doors.md, "The SSH door").

mod accept;
mod client;
mod own_thread;
mod socket;

pub use accept::{Door, HostKeyError};
