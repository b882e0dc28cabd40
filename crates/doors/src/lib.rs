//! The protocols served on the port, and the server that holds them together.
//!
//! A door speaks its own words up to [`sft_engine::View`] and no further: which path may be reached by whom is decided
//! there. Today there is one door, [`native`]; a TCP connection that asks for another protocol is closed.

pub mod native;
pub mod sftp;

mod server;

pub use server::{ServeError, ServeOptions, Server, StopReport};
