//! Promises about large stages: resumed with what can be proven, by one writer at a time, seen by nobody.

use std::time::Duration;

use sft_base::limits::PIECE_BYTES;

use super::*;
use crate::journal::{HEADER_BYTES, RECORD_BYTES};

const KEY: StageKey = StageKey([0xab; 32]);
const SIZE: u64 = 3 * PIECE_BYTES + 9;

fn open(bench: &impl Bench) -> Box<dyn Stage> {
    bench.store().stage(&KEY, SIZE).unwrap()
}

/// Leaves a stage behind that has some pieces.
fn interrupt(bench: &mut impl Bench, pieces: &[u64]) {
    let stage = open(bench);
    write_pieces(&*stage, &pattern(SIZE), pieces.iter().copied());
    drop(stage);
    bench.restart();
}

fn held_bytes(stage: &dyn Stage) -> u64 {
    stage.held().iter().map(|node| node.range(SIZE)).map(|range| range.end - range.start).sum()
}

pub(super) fn an_interrupted_stage_goes_on(bench: &mut impl Bench) {
    let content = pattern(SIZE);
    interrupt(bench, &[1, 3]);
    let stage = open(bench);
    assert_eq!(stage.held(), [piece(&content, 1), piece(&content, 3)]);
    write_pieces(&*stage, &content, [0]);
    drop(stage);
    bench.restart();
    let stage = open(bench);
    let held: Vec<_> = stage.held().iter().map(|node| (node.offset, node.log2)).collect();
    assert_eq!(held, [(0, PIECE_LOG2 + 1), (3 * PIECE_BYTES, PIECE_LOG2)]);
    write_pieces(&*stage, &content, [2]);
    publish_stage(bench.store(), stage, &content, "a");
    assert!(read(bench.store(), "a") == content);
    assert_eq!(open(bench).held(), [], "a published stage is not resumed");
}

pub(super) fn the_newest_claimant_has_the_stage(bench: &mut impl Bench) {
    let content = pattern(SIZE);
    let older = open(bench);
    write_pieces(&*older, &content, [0, 2]);
    let newer = open(bench);
    assert_eq!(newer.held(), [piece(&content, 0), piece(&content, 2)]);
    assert!(matches!(older.write_at(0, b"late"), Err(StoreError::Superseded)));
    assert!(matches!(older.record(&piece(&content, 1)), Err(StoreError::Superseded)));
    assert_eq!(older.held(), []);
    assert!(matches!(older.finish(), Err(StoreError::Superseded)));
    write_pieces(&*newer, &content, [1, 3]);
    let even_newer = open(bench);
    newer.discard();
    publish_stage(bench.store(), even_newer, &content, "a");
    assert!(read(bench.store(), "a") == content);
}

pub(super) fn a_finished_stage_can_be_taken_over(bench: &mut impl Bench) {
    let content = pattern(SIZE);
    let stage = open(bench);
    write_pieces(&*stage, &content, 0..4);
    let staged = stage.finish().unwrap();
    let newer = open(bench);
    assert_eq!(held_bytes(&*newer), SIZE);
    let none = Attributes::default();
    let late = bench.store().publish(staged, verified(&content), &path("a"), Publish::Replace, &none);
    assert!(matches!(late, Err(StoreError::Superseded)));
    publish_stage(bench.store(), newer, &content, "a");
    assert!(read(bench.store(), "a") == content);
}

pub(super) fn damaged_bytes_are_not_held(bench: &mut impl Bench) {
    let content = pattern(SIZE);
    interrupt(bench, &[0, 1, 3]);
    bench.damage(&KEY, &mut |part, _| part[PIECE_BYTES as usize + 77] ^= 0x40);
    let stage = open(bench);
    assert_eq!(stage.held(), [piece(&content, 0), piece(&content, 3)]);
    write_pieces(&*stage, &content, [1, 2]);
    publish_stage(bench.store(), stage, &content, "a");
    assert!(read(bench.store(), "a") == content);
}

pub(super) fn a_foreign_journal_is_refused(bench: &mut impl Bench) {
    interrupt(bench, &[0, 1]);
    bench.damage(&KEY, &mut |_, journal| {
        journal[..HEADER_BYTES].copy_from_slice(&crate::journal::header(&StageKey([1; 32]), SIZE));
    });
    assert_eq!(open(bench).held(), []);
    bench.damage(&KEY, &mut |_, journal| journal.clear());
    assert_eq!(open(bench).held(), []);
    let content = pattern(SIZE);
    interrupt(bench, &[0, 1]);
    bench.damage(&KEY, &mut |part, _| part.truncate(PIECE_BYTES as usize));
    assert_eq!(open(bench).held(), [], "a part of another length is no part of this file");
    interrupt(bench, &[2]);
    assert_eq!(open(bench).held(), [piece(&content, 2)], "and the stage works again");
}

pub(super) fn a_torn_journal_ends_there(bench: &mut impl Bench) {
    let content = pattern(SIZE);
    interrupt(bench, &[0, 2, 3]);
    bench.damage(&KEY, &mut |_, journal| journal.truncate(HEADER_BYTES + 2 * RECORD_BYTES + 20));
    let stage = open(bench);
    assert_eq!(stage.held(), [piece(&content, 0), piece(&content, 2)]);
    write_pieces(&*stage, &content, [3]);
    drop(stage);
    bench.restart();
    let held = [piece(&content, 0), piece(&content, 2), piece(&content, 3)];
    assert_eq!(open(bench).held(), held, "what was recorded after the tear counts");
}

pub(super) fn another_size_begins_anew(bench: &mut impl Bench) {
    interrupt(bench, &[0, 1]);
    let longer = pattern(SIZE + 1);
    let stage = bench.store().stage(&KEY, SIZE + 1).unwrap();
    assert_eq!(stage.held(), []);
    write_pieces(&*stage, &longer, [1]);
    let shorter = bench.store().stage(&KEY, 5).unwrap();
    assert!(matches!(stage.write_at(0, b"x"), Err(StoreError::Superseded)));
    assert_eq!(shorter.held(), []);
    shorter.write_at(0, b"short").unwrap();
    publish_stage(bench.store(), shorter, b"short", "a");
    assert_eq!(read(bench.store(), "a"), b"short");
}

pub(super) fn a_refused_publish_keeps_the_stage(bench: &mut impl Bench) {
    let content = pattern(SIZE);
    put(bench.store(), "a", b"there");
    let stage = open(bench);
    write_pieces(&*stage, &content, 0..4);
    let staged = stage.finish().unwrap();
    let none = Attributes::default();
    let refused = bench.store().publish(staged, verified(&content), &path("a"), Publish::CreateOnly, &none);
    assert!(matches!(refused, Err(StoreError::AlreadyExists { .. })));
    assert_eq!(read(bench.store(), "a"), b"there");
    bench.restart();
    let stage = open(bench);
    assert_eq!(held_bytes(&*stage), SIZE);
    publish_stage(bench.store(), stage, &content, "b");
    assert!(read(bench.store(), "b") == content);
}

pub(super) fn a_discarded_stage_is_gone(bench: &mut impl Bench) {
    let stage = open(bench);
    write_pieces(&*stage, &pattern(SIZE), [0]);
    stage.discard();
    assert_eq!(open(bench).held(), []);
}

pub(super) fn nothing_is_written_past_the_end(bench: &mut impl Bench) {
    let content = pattern(SIZE);
    let stage = open(bench);
    for (offset, len) in [(SIZE, 1), (SIZE - 1, 2), (u64::MAX, 2)] {
        assert!(matches!(stage.write_at(offset, &content[..len]), Err(StoreError::Corrupt { .. })));
    }
    stage.write_at(SIZE, b"").unwrap();
    let outside = Node { offset: 4 * PIECE_BYTES, ..piece(&content, 0) };
    assert!(matches!(stage.record(&outside), Err(StoreError::Corrupt { .. })));
}

pub(super) fn stages_are_invisible(bench: &mut impl Bench) {
    let store = bench.store();
    let _large = open(bench);
    let _small = store.stage_small(b"x", &Attributes::default()).unwrap();
    assert_eq!(names(store, ""), [""; 0]);
    put_link(store, "here", ".");
    put_link(store, "own", ".sft");
    for hidden in [".sft", ".sft/stage", "here/.sft", "here/.sft/stage", "own/stage", "here/own/stage/x"] {
        let at = path(hidden);
        let refused =
            |error| matches!(error, StoreError::NameNotAllowed { .. } | StoreError::NotFound { .. });
        assert!(refused(store.stat(&at).unwrap_err()), "{hidden}");
        assert!(store.list(&at).is_err_and(refused), "{hidden}");
        assert!(store.open(&at).is_err_and(refused), "{hidden}");
    }
    assert!(matches!(store.list(&path("own")), Err(StoreError::NotADirectory { .. })));
    assert_eq!(names(store, ""), ["here", "own"]);
}

pub(super) fn only_abandoned_stages_expire(bench: &mut impl Bench) {
    let store = bench.store();
    let content = pattern(SIZE);
    let stage = open(bench);
    write_pieces(&*stage, &content, [0]);
    let small = store.stage_small(b"x", &Attributes::default()).unwrap();
    assert_eq!(store.expire_stages(Duration::ZERO).unwrap(), 0, "it is open");
    drop(stage);
    assert_eq!(store.expire_stages(Duration::from_secs(3600)).unwrap(), 0, "it is new");
    assert_eq!(open(bench).held(), [piece(&content, 0)]);
    assert_eq!(store.expire_stages(Duration::ZERO).unwrap(), 1);
    assert_eq!(open(bench).held(), []);
    store.publish(small, verified(b"x"), &path("a"), Publish::Replace, &Attributes::default()).unwrap();
}
