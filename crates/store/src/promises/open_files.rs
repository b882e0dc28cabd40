//! Promises about files that are written in place, and about drafts.

use sft_base::Time;

use super::*;
use crate::OpenFile;

fn write(file: &dyn OpenFile, offset: u64, content: &[u8]) {
    file.write_at(offset, content).unwrap();
}

pub(super) fn a_file_is_written_in_place(bench: &mut impl Bench) {
    let store = bench.store();
    put(store, "a", b"0123456789");
    let file = store.open_in_place(&path("a")).unwrap();
    write(&*file, 3, b"xyz");
    assert_eq!(read(store, "a"), b"012xyz6789");
    file.write_parts_at(4, &[b"Y", b"", b"Z", b"67"]).unwrap();
    assert_eq!(read(store, "a"), b"012xYZ6789");
    file.write_parts_at(3, &[]).unwrap();
    assert!(file.write_parts_at(u64::MAX - 1, &[b"f", b"ar"]).is_err(), "nothing is that long");
    write(&*file, 3, b"xyz");
    write(&*file, 12, b"!");
    assert_eq!(read(store, "a"), b"012xyz6789\0\0!", "what lies between is zeros");
    assert!(
        file.write_at(u64::MAX, b"far").is_err() && file.set_size(u64::MAX).is_err(),
        "nothing is that long"
    );
    file.set_size(4).unwrap();
    assert_eq!(read(store, "a"), b"012x");
    let modified = Time { secs: 1_000_000_000, nanos: 0 };
    let attributes = Attributes { modified: Some(modified), mode: Some(0o600) };
    assert_eq!(file.set_attributes(&attributes).unwrap(), []);
    file.sync().unwrap();
    let meta = store.stat(&path("a")).unwrap().meta;
    assert_eq!((meta.size, meta.modified, meta.mode), (4, modified, 0o600));
    store.remove(&path("a")).unwrap();
    write(&*file, 0, b"Y");
    let mut content = [0; 9];
    assert_eq!(file.read_at(0, &mut content).unwrap(), 4, "it stays the same file when its name goes");
    assert_eq!(&content[..4], b"Y12x");
    assert!(!exists(store, "a"));
}

pub(super) fn only_files_are_opened_in_place(bench: &mut impl Bench) {
    bench.make_special(&path("pipe"));
    let store = bench.store();
    make_dir(store, "d");
    put(store, "d/a", b"inside");
    put_link(store, "l", "d/a");
    put_link(store, "dl", "d");
    let error = |at: &str| store.open_in_place(&path(at)).err().unwrap();
    assert!(matches!(error("d"), StoreError::IsADirectory { .. }));
    assert!(matches!(error("l"), StoreError::ThroughLink { .. }));
    assert!(matches!(error("dl/a"), StoreError::ThroughLink { .. }));
    assert!(matches!(error("pipe"), StoreError::Special { .. }));
    assert!(matches!(error("nothing"), StoreError::NotFound { .. }));
    assert!(matches!(error(".sft/stage"), StoreError::NameNotAllowed { .. }));
    assert!(matches!(error(""), StoreError::NameNotAllowed { .. }));
}

pub(super) fn a_draft_has_no_name_until_it_is_published(bench: &mut impl Bench) {
    let store = bench.store();
    put(store, "a", b"old");
    let draft = store.draft(0o640).unwrap();
    write(&*draft, 4, b"tail");
    write(&*draft, 0, b"head");
    assert_eq!(draft.stat().unwrap().meta.size, 8);
    assert_eq!((read(store, "a"), names(store, "")), (b"old".to_vec(), vec!["a".to_owned()]));
    store.publish_draft(&*draft, &path("a"), Publish::Replace).unwrap();
    assert_eq!(read(store, "a"), b"headtail");
    assert_eq!(store.stat(&path("a")).unwrap().meta.mode & 0o137, 0, "no bit more than was asked for");
    drop(draft);
    store.flush().unwrap();
    bench.restart();
    assert_eq!(read(bench.store(), "a"), b"headtail");
    assert_eq!(names(bench.store(), ""), ["a"]);
}

pub(super) fn a_draft_that_is_dropped_leaves_the_old_content(bench: &mut impl Bench) {
    let store = bench.store();
    put(store, "a", b"old");
    let draft = store.draft(0o666).unwrap();
    write(&*draft, 0, &pattern(100_000));
    drop(draft);
    assert_eq!((read(store, "a"), names(store, "")), (b"old".to_vec(), vec!["a".to_owned()]));
}

pub(super) fn a_draft_is_published_once_and_written_in_place_then(bench: &mut impl Bench) {
    let store = bench.store();
    let draft = store.draft(0o666).unwrap();
    write(&*draft, 0, b"one");
    store.publish_draft(&*draft, &path("a"), Publish::CreateOnly).unwrap();
    let again = store.publish_draft(&*draft, &path("b"), Publish::CreateOnly).unwrap_err();
    assert!(matches!(again, StoreError::Corrupt { .. }), "{again:?}");
    write(&*draft, 3, b" two");
    assert_eq!(read(store, "a"), b"one two");
    drop(draft);
    assert_eq!(read(store, "a"), b"one two");
    let in_place = store.open_in_place(&path("a")).unwrap();
    let error = store.publish_draft(&*in_place, &path("b"), Publish::CreateOnly).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "a file with a name is no draft");
}

pub(super) fn a_draft_follows_the_rules_of_publishing(bench: &mut impl Bench) {
    let store = bench.store();
    put(store, "a", b"old");
    make_dir(store, "d");
    put_link(store, "dl", "d");
    let publish = |to: &str, how| store.publish_draft(&*store.draft(0o666).unwrap(), &path(to), how);
    let there = publish("a", Publish::CreateOnly).unwrap_err();
    assert!(matches!(there, StoreError::AlreadyExists { .. }));
    let dir = publish("d", Publish::Replace).unwrap_err();
    assert!(matches!(dir, StoreError::IsADirectory { .. }));
    assert!(matches!(publish("no/a", Publish::Replace).unwrap_err(), StoreError::NotFound { .. }));
    assert!(matches!(publish("dl/a", Publish::Replace).unwrap_err(), StoreError::ThroughLink { .. }));
    assert!(matches!(publish(".sft", Publish::Replace).unwrap_err(), StoreError::NameNotAllowed { .. }));
    assert_eq!((read(store, "a"), names(store, "d")), (b"old".to_vec(), Vec::new()));
    publish("d/empty", Publish::CreateOnly).unwrap();
    assert_eq!(read(store, "d/empty"), b"");
}

pub(super) fn a_second_name_is_the_same_file(bench: &mut impl Bench) {
    let store = bench.store();
    put(store, "a", b"first");
    make_dir(store, "d");
    put_link(store, "l", "a");
    store.link(&path("a"), &path("d/b")).unwrap();
    write(&*store.open_in_place(&path("d/b")).unwrap(), 0, b"F");
    assert_eq!(read(store, "a"), b"First");
    store.remove(&path("a")).unwrap();
    assert_eq!(read(store, "d/b"), b"First");
    let link = |from: &str, to: &str| store.link(&path(from), &path(to)).unwrap_err();
    assert!(matches!(link("d/b", "d"), StoreError::AlreadyExists { .. }));
    assert!(matches!(link("d", "e"), StoreError::IsADirectory { .. }));
    assert!(matches!(link("l", "e"), StoreError::ThroughLink { .. }));
    assert!(matches!(link("a", "e"), StoreError::NotFound { .. }));
    assert!(matches!(link("d/b", ".sft"), StoreError::NameNotAllowed { .. }));
}
