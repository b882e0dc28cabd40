//! `cargo +nightly fuzz run mux`; what is checked stands in `door_bodies.rs`.

#![no_main]

#[path = "../door_bodies.rs"]
mod door_bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| door_bodies::mux(bytes));
