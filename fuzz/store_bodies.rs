//! What must hold for any bytes in the files that a store finds when it begins: one function for each target.
//!
//! A crash, a failing disk or another program may leave anything there.

// Each target includes this file for one of its functions.
#![allow(dead_code)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use sft_base::limits::{PIECE_BYTES, PIECE_LOG2};
use sft_base::{Digest, Node, node_cv};
use sft_store::{FsStore, StageKey, Store};
use tempfile::TempDir;

/// What a target does with the bytes it is given.
pub(crate) type Body = fn(&[u8]);

/// All bodies by name.
pub(crate) const ALL: &[(&str, Body)] =
    &[("journal", journal), ("journal_records", journal_records), ("note", note)];

const KEY: StageKey = StageKey([0xab; 32]);
const SIZE: u64 = 3 * PIECE_BYTES + 9;

/// A journal, from its first byte.
pub(crate) fn journal(bytes: &[u8]) {
    resume_with(bytes);
}

/// The records of a journal, each with a good checksum: a place, a power of two, and whether its chaining value is right.
pub(crate) fn journal_records(bytes: &[u8]) {
    let mut journal = header();
    for three in bytes.chunks_exact(3).take(64) {
        let (offset, log2) = (u64::from(three[0]) << 18, PIECE_LOG2 - 2 + three[1] % 8);
        let node = Node { offset, log2, cv: [three[2]; 32] };
        let fits = node.fits(SIZE);
        let cv = if fits && three[2] % 2 == 0 { cv_of_zeros(&node) } else { node.cv };
        journal.extend(sealed(&[&offset.to_be_bytes()[..], &[log2], &cv].concat()));
    }
    resume_with(&journal);
}

/// A note of a copy that was on its way: whatever it says, nothing goes but such copies.
pub(crate) fn note(bytes: &[u8]) {
    let folder = folder();
    let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
    fs::create_dir_all(root.join("d")).expect("the folder is ours");
    for kept in [&outside, &root.join("a"), &root.join("d/.sft-kept.tmp")] {
        fs::write(kept, "kept").expect("the folder is ours");
    }
    let store = FsStore::open(&root).expect("it is a directory");
    drop(store.stage(&KEY, SIZE));
    fs::write(root.join(".sft/stage/0123.note"), bytes).expect("the folder is ours");
    store.expire_stages(Duration::ZERO).expect("what is left behind stops nobody");
    for kept in [&outside, &root.join("a"), &root.join("d/.sft-kept.tmp")] {
        assert_eq!(fs::read(kept).expect("it is still there"), b"kept");
    }
}

/// Header of a journal of [`KEY`] and [`SIZE`], from the words of the specification alone.
pub(crate) fn header() -> Vec<u8> {
    sealed(&[&b"SFTSTAGE\0\0\0\x01"[..], &SIZE.to_be_bytes(), &KEY.0].concat())
}

fn sealed(body: &[u8]) -> Vec<u8> {
    [body, &Digest::of(body).0[..8]].concat()
}

fn cv_of_zeros(node: &Node) -> [u8; 32] {
    let range = node.range(SIZE);
    node_cv(node.offset, &vec![0; (range.end - range.start) as usize])
}

/// A stage of zeros with such a journal: what is held is true of the bytes, and the stage can be used.
fn resume_with(journal: &[u8]) {
    let folder = folder();
    let store = FsStore::open(folder.path()).expect("it is a directory");
    drop(store.stage(&KEY, SIZE).expect("there is room"));
    let at = folder.path().join(format!(".sft/stage/{KEY}.journal"));
    fs::write(&at, journal).expect("the folder is ours");
    let stage = store.stage(&KEY, SIZE).expect("whatever stands there, the stage can be begun anew");
    for node in stage.held() {
        assert!(node.fits(SIZE) && node.cv == cv_of_zeros(&node), "{node:?} is not true");
    }
    stage.write_at(0, b"new").expect("it can be written");
    assert!(stage.held().iter().all(|node| node.offset > 0), "what was written over is not held");
}

/// A folder in memory, where there is such a thing: much is written.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("there is a place for temporary files")
}
