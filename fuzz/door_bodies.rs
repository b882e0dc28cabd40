//! What must hold for any bytes that reach a door other than SFT/1's: one function for each target.
//!
//! A short run on any compiler is in `crates/doors/tests/fuzz_smoke.rs`.

// Each target includes this file for one of its functions.
#![allow(dead_code)]

use std::sync::Arc;

use sft_auth::Grant;
use sft_doors::mux::{FIRST_BYTES_MAX, Speaks, classify};
use sft_doors::scp;
use sft_doors::sftp::{decode, serve};
use sft_engine::View;
use sft_store::MemStore;

/// The first bytes of a TCP connection: decided soon, and for good.
pub(crate) fn mux(bytes: &[u8]) {
    let mut decided = None;
    for end in 0..=bytes.len() {
        let speaks = classify(&bytes[..end]);
        assert!(speaks != Speaks::Undecided || end < FIRST_BYTES_MAX);
        assert!(decided.is_none_or(|before| before == speaks));
        decided = Some(speaks).filter(|speaks| *speaks != Speaks::Undecided).or(decided);
    }
}

/// A packet of SFTP without its length.
pub(crate) fn sftp_packet(bytes: &[u8]) {
    if let Err(malformed) = decode(bytes.to_vec().into()) {
        assert_eq!(malformed.id.is_some(), bytes.len() >= 5, "whoever has a number is answered");
    }
}

/// A command for a shell that is none, and a run of scp at this end whose other end is a stranger.
pub(crate) fn scp_session(bytes: &[u8]) {
    let (command, stream) = bytes.split_at(bytes.iter().position(|&b| b == b'\n').unwrap_or(bytes.len()));
    let taken =
        scp::Command { takes: true, recursive: true, paths: vec![b".".to_vec()], ..Default::default() };
    let command = scp::Command::parse(command).unwrap_or(taken);
    let view = View::new(Arc::new(MemStore::with_capacity(1 << 20)), Arc::new(Grant::owner_local()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let stream = stream.get(1..).unwrap_or_default();
    let serving = scp::serve(view, &command, stream, tokio::io::sink());
    let _ = runtime.expect("the system gives threads").block_on(serving);
}

/// A whole SFTP session: packets, each as long as its first two bytes say, against a store in memory. It ends when they do.
pub(crate) fn sftp_session(bytes: &[u8]) {
    let mut stream = vec![0, 0, 0, 5, 1, 0, 0, 0, 3];
    let mut rest = bytes;
    while let [high, low, after @ ..] = rest {
        let length = (usize::from(*high) << 8 | usize::from(*low)).min(after.len()).min(4096);
        stream.extend_from_slice(&(length as u32).to_be_bytes());
        stream.extend_from_slice(&after[..length]);
        rest = &after[length..];
    }
    let view = View::new(Arc::new(MemStore::with_capacity(1 << 20)), Arc::new(Grant::owner_local()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // How it ends is the client's business; that it does is ours.
    let _ = runtime.expect("the system gives threads").block_on(serve(view, &*stream, tokio::io::sink()));
}
