//! `cargo +nightly fuzz run cbor`; what is checked stands in `bodies.rs`.

#![no_main]

#[path = "../bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::cbor(bytes));
