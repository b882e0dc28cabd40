//! The protocols served on the port, and the server that holds them together.
//!
//! A door speaks its own words up to [`sft_engine::View`] and no further: which path may be reached by whom is decided
//! there. [`mux`] tells by the first bytes which door a TCP connection is for: [`native`] or [`ssh`]. What asks for another
//! protocol is closed.

pub mod mux;
pub mod native;
pub mod scp;
pub mod sftp;
pub mod ssh;

mod at_once;
mod regranted;
mod server;
mod unread;

pub use server::{Doors, ServeError, ServeOptions, Server, StopReport};
