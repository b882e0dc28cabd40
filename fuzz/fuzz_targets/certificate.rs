//! `cargo +nightly fuzz run certificate`; what is checked stands in `auth_bodies.rs`.

#![no_main]

#[path = "../auth_bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::certificate(bytes));
