//! `cargo +nightly fuzz run journal`; what is checked stands in `store_bodies.rs`.

#![no_main]

#[path = "../store_bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::journal(bytes));
