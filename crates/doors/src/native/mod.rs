//! The native door: SFT/1 (spec/wire.md, "Sessions").
//!
//! `accept` opens sessions and joins lanes to them, `ops` answers requests, `status` says errors in the protocol's words.

mod accept;
mod ops;
mod sessions;
mod status;

pub use accept::Door;
pub use sessions::Sessions;
