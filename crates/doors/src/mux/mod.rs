//! Tells protocols apart on one port (spec/doors.md, "One port").
//!
//! A connection that begins with TLS never comes here: the listener sees its first byte, and hands it on untouched.

mod classify;
mod first;
mod http;

pub use classify::{FIRST_BYTES_MAX, Speaks, classify};
pub(crate) use first::{Caller, meet};
pub(crate) use http::answer;
