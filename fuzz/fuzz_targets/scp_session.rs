//! `cargo +nightly fuzz run scp_session`; what is checked stands in `door_bodies.rs`.

#![no_main]

#[path = "../door_bodies.rs"]
mod door_bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| door_bodies::scp_session(bytes));
