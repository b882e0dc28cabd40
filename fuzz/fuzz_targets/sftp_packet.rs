//! `cargo +nightly fuzz run sftp_packet`; what is checked stands in `door_bodies.rs`.

#![no_main]

#[path = "../door_bodies.rs"]
mod door_bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| door_bodies::sftp_packet(bytes));
