//! `cargo +nightly fuzz run public_key`; what is checked stands in `auth_bodies.rs`.

#![no_main]

#[path = "../auth_bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::public_key(bytes));
