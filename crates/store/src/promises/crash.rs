//! Promises about crashes: after one, a name shows the old content or the new, whenever it came.
//!
//! They are about the order that spec/store.md, "Durability", asks of a caller, and run on a store in memory, which can
//! forget what was not flushed as no file system does on demand.

use sft_base::limits::PIECE_BYTES;

use super::*;
use crate::{FaultStore, Op};

const KEY: StageKey = StageKey([3; 32]);

/// Replaces `a`, small, and makes `b`, large, in the order that is asked for.
fn transfer(store: &dyn Store, small: &[u8], large: &[u8]) -> Result<(), StoreError> {
    let none = Attributes::default();
    let first = store.stage_small(small, &Attributes::default())?;
    let stage = store.stage(&KEY, large.len() as u64)?;
    for node in (0..2).map(|index| piece(large, index)).filter(|node| !stage.held().contains(node)) {
        let range = node.range(large.len() as u64);
        stage.write_at(range.start, &large[range.start as usize..range.end as usize])?;
        stage.record(&node)?;
    }
    let second = stage.finish()?;
    store.flush()?;
    store.publish(first, verified(small), &path("a"), Publish::Replace, &none)?;
    store.publish(second, verified(large), &path("b"), Publish::Replace, &none)?;
    store.flush()
}

fn io_error() -> StoreError {
    StoreError::Io { path: None, doing: "a test", source: std::io::Error::other("ordered") }
}

#[test]
fn whenever_it_fails_and_however_it_crashes_names_show_old_or_new() {
    let large = pattern(PIECE_BYTES + 100);
    for crash in [MemStore::crash, MemStore::crash_keeping_names] {
        let mut completed = 0;
        for nth in 1.. {
            let disk = MemStore::new();
            put(&disk, "a", b"old");
            disk.flush().unwrap();
            let store = FaultStore::new(disk.clone());
            store.fail_any(nth, io_error);
            let done = transfer(&store, b"the new", &large).is_ok();
            crash(&disk);
            let small = read(&disk, "a");
            assert!(small == b"old" || small == b"the new", "call {nth}: {small:?}");
            assert!(!exists(&disk, "b") || read(&disk, "b") == large, "call {nth}");
            assert!(!done || (small == b"the new" && exists(&disk, "b")), "what was promised is there");
            transfer(&disk, b"the new", &large).unwrap();
            assert!(read(&disk, "b") == large, "and the transfer can be done again");
            if done {
                completed += 1;
                break;
            }
        }
        assert_eq!(completed, 1);
    }
}

#[test]
fn publishing_before_flushing_would_be_found_out() {
    let disk = MemStore::new();
    let staged = disk.stage_small(b"new", &Attributes::default()).unwrap();
    disk.publish(staged, verified(b"new"), &path("a"), Publish::Replace, &Attributes::default()).unwrap();
    disk.crash_keeping_names();
    assert_eq!(read(&disk, "a"), [0; 3]);
}

#[test]
fn a_crash_forgets_what_was_not_flushed() {
    let disk = MemStore::new();
    put(&disk, "a", b"kept");
    make_dir(&disk, "d");
    disk.flush().unwrap();
    put(&disk, "d/b", b"lost");
    disk.remove(&path("a")).unwrap();
    let stage = disk.stage(&KEY, 5).unwrap();
    disk.crash();
    assert_eq!(names(&disk, ""), ["a", "d"]);
    assert_eq!(names(&disk, "d"), [""; 0]);
    assert!(matches!(stage.write_at(0, b"x"), Err(StoreError::Superseded)), "its process has ended");
}

#[test]
fn the_part_of_a_stage_that_was_flushed_is_resumed() {
    let disk = MemStore::new();
    let content = pattern(3 * PIECE_BYTES);
    let stage = disk.stage(&KEY, content.len() as u64).unwrap();
    write_pieces(&*stage, &content, [0]);
    disk.flush().unwrap();
    write_pieces(&*stage, &content, [2]);
    disk.crash();
    assert_eq!(disk.stage(&KEY, content.len() as u64).unwrap().held(), [piece(&content, 0)]);
}

#[test]
fn a_source_that_changes_shows_it() {
    let disk = MemStore::new();
    put(&disk, "a", b"before");
    let source = disk.open(&path("a")).unwrap();
    let before = source.stat().unwrap().version;
    disk.overwrite(&path("a"), b"behind").unwrap();
    assert_ne!(source.stat().unwrap().version, before);
}

#[test]
fn a_full_store_is_seen_before_and_while_writing() {
    let disk = MemStore::with_capacity(PIECE_BYTES);
    assert!(matches!(disk.stage(&KEY, PIECE_BYTES + 1), Err(StoreError::NoSpace { .. })));
    let error = disk.stage_small(&pattern(PIECE_BYTES + 1), &Attributes::default()).unwrap_err();
    assert!(matches!(error, StoreError::NoSpace { available: PIECE_BYTES, .. }));
    let store = FaultStore::new(MemStore::new());
    store.fail(Op::WriteAt, 2, || StoreError::NoSpace { needed: 1, available: 0 });
    let error = transfer(&store, b"x", &pattern(PIECE_BYTES + 1)).unwrap_err();
    assert!(matches!(error, StoreError::NoSpace { .. }));
    assert_eq!(names(&store, ""), [""; 0], "nothing partial is left visible");
}
