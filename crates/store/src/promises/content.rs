//! Promises about content: what was published is what is read, and a name never shows less than a whole.

use sft_base::limits::PIECE_BYTES;
use sft_base::{Digest, Kind, Time};

use super::*;

pub(super) fn small_content_comes_back(bench: &mut impl Bench) {
    for len in [0, 1, 4096, PIECE_BYTES] {
        put(bench.store(), "a", &pattern(len));
        assert_eq!(read(bench.store(), "a"), pattern(len));
        let meta = bench.store().stat(&path("a")).unwrap().meta;
        assert_eq!((meta.kind, meta.size), (Kind::File, len));
    }
    bench.restart();
    assert_eq!(read(bench.store(), "a"), pattern(PIECE_BYTES));
}

pub(super) fn large_content_comes_back(bench: &mut impl Bench) {
    let content = pattern(3 * PIECE_BYTES + 77);
    let store = bench.store();
    let stage = store.stage(&StageKey([1; 32]), content.len() as u64).unwrap();
    assert_eq!(stage.held(), []);
    write_pieces(&*stage, &content, [3, 0, 2, 1]);
    publish_stage(store, stage, &content, "big");
    assert!(read(store, "big") == content);
    assert_eq!(names(store, ""), ["big"]);
    store.flush().unwrap();
    bench.restart();
    assert!(read(bench.store(), "big") == content);
}

pub(super) fn create_only_never_replaces(bench: &mut impl Bench) {
    let store = bench.store();
    publish(store, "a", b"first", Publish::CreateOnly).unwrap();
    put_link(store, "l", "nowhere");
    make_dir(store, "d");
    for there in ["a", "l", "d"] {
        let error = publish(store, there, b"second", Publish::CreateOnly).unwrap_err();
        assert!(matches!(error, StoreError::AlreadyExists { path: p } if p == path(there)));
    }
    assert_eq!(read(store, "a"), b"first");
    assert_eq!(store.read_link(&path("l")).unwrap(), b"nowhere");
}

pub(super) fn replace_replaces_files_and_links_only(bench: &mut impl Bench) {
    let store = bench.store();
    put(store, "a", b"first");
    put_link(store, "l", "a");
    make_dir(store, "d");
    put(store, "a", b"second");
    assert_eq!(read(store, "a"), b"second");
    put(store, "l", b"third");
    assert_eq!(read(store, "l"), b"third");
    assert_eq!(read(store, "a"), b"second", "the link itself was replaced");
    let error = publish(store, "d", b"x", Publish::Replace).unwrap_err();
    assert!(matches!(error, StoreError::IsADirectory { .. }), "{error:?}");
    assert_eq!(store.stat(&path("d")).unwrap().meta.kind, Kind::Dir);
    let error = publish(store, "missing/a", b"x", Publish::Replace).unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }));
    let error = publish(store, "a/b", b"x", Publish::Replace).unwrap_err();
    assert!(matches!(error, StoreError::NotADirectory { .. }));
}

pub(super) fn replace_if_compares_first(bench: &mut impl Bench) {
    let store = bench.store();
    let if_old = Publish::ReplaceIf(Digest::of(b"old"));
    assert!(matches!(publish(store, "a", b"new", if_old), Err(StoreError::Changed { .. })));
    assert!(!exists(store, "a"));
    put(store, "a", b"other");
    assert!(matches!(publish(store, "a", b"new", if_old), Err(StoreError::Changed { .. })));
    assert_eq!(read(store, "a"), b"other");
    put(store, "a", b"old");
    publish(store, "a", b"new", if_old).unwrap();
    assert_eq!(read(store, "a"), b"new");
    put_link(store, "l", "old");
    publish(store, "l", b"new", if_old).unwrap();
    assert_eq!(read(store, "l"), b"new");
    make_dir(store, "d");
    assert!(matches!(publish(store, "d", b"new", if_old), Err(StoreError::IsADirectory { .. })));
    assert_eq!(names(store, ""), ["a", "d", "l"]);
}

pub(super) fn links_are_published_and_replaced_themselves(bench: &mut impl Bench) {
    let store = bench.store();
    let attributes = Attributes { modified: Some(Time { secs: 1_000, nanos: 5 }), mode: Some(0o600) };
    let target = b"/etc/\xff../..//passwd";
    let link = |how| store.publish_link(target, &path("l"), how, &attributes);
    assert_eq!(link(Publish::CreateOnly).unwrap(), []);
    assert_eq!(store.read_link(&path("l")).unwrap(), target);
    let meta = store.stat(&path("l")).unwrap().meta;
    assert_eq!((meta.kind, meta.size), (Kind::Link, target.len() as u64));
    assert_eq!(meta.modified, Time { secs: 1_000, nanos: 5 });
    assert!(matches!(link(Publish::CreateOnly), Err(StoreError::AlreadyExists { .. })));
    link(Publish::Replace).unwrap();
    put(store, "f", b"x");
    assert!(matches!(store.read_link(&path("f")), Err(StoreError::NotALink { .. })));
    for bad in [&b""[..], b"a\0b", &[b'x'; 5000]] {
        let error = store.publish_link(bad, &path("m"), Publish::Replace, &attributes).unwrap_err();
        assert!(matches!(error, StoreError::NameNotAllowed { .. }), "{error:?}");
    }
    assert_eq!(names(store, ""), ["f", "l"]);
}

pub(super) fn a_name_shows_old_or_new(bench: &mut impl Bench) {
    let store = bench.store();
    let versions = [pattern(70_000), vec![9; 50_000]];
    put(store, "a", &versions[0]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) || seen == 0 {
                let content = read(store, "a");
                assert!(versions.contains(&content), "{} bytes", content.len());
                seen += 1;
            }
        });
        for turn in 0..60 {
            put(store, "a", &versions[turn % 2]);
            assert_eq!(names(store, ""), ["a"]);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        reader.join().unwrap();
    });
}

pub(super) fn attributes_are_applied(bench: &mut impl Bench) {
    let store = bench.store();
    let attributes = Attributes { modified: Some(Time { secs: -5, nanos: 123_456_789 }), mode: Some(0o4751) };
    let shown = |at: &str| {
        let meta = store.stat(&path(at)).unwrap().meta;
        Attributes { modified: Some(meta.modified), mode: Some(meta.mode) }
    };
    let staged = store.stage_small(b"x", &Attributes::default()).unwrap();
    let unapplied = store.publish(staged, verified(b"x"), &path("a"), Publish::CreateOnly, &attributes);
    assert_eq!(unapplied.unwrap(), []);
    assert_eq!(shown("a"), attributes);
    let content = pattern(PIECE_BYTES + 1);
    let stage = store.stage(&StageKey([1; 32]), content.len() as u64).unwrap();
    write_pieces(&*stage, &content, 0..2);
    let staged = stage.finish().unwrap();
    store.publish(staged, verified(&content), &path("b"), Publish::CreateOnly, &attributes).unwrap();
    assert_eq!(shown("b"), attributes);
    make_dir(store, "d");
    let later = Attributes { modified: Some(Time { secs: 1, nanos: 0 }), mode: Some(0o700) };
    for at in ["a", "d"] {
        assert_eq!(store.set_attributes(&path(at), &later).unwrap(), []);
        assert_eq!(shown(at), later);
    }
    let only_mode = Attributes { mode: Some(0o500), ..Attributes::default() };
    store.set_attributes(&path("a"), &only_mode).unwrap();
    assert_eq!(shown("a"), Attributes { mode: Some(0o500), ..later });
    put_link(store, "l", "a");
    assert_eq!(store.set_attributes(&path("l"), &attributes).unwrap(), []);
    assert_eq!(shown("l").modified, attributes.modified);
    assert_eq!(shown("a"), Attributes { mode: Some(0o500), ..later }, "links are not followed");
    assert!(matches!(store.set_attributes(&path("x"), &later), Err(StoreError::NotFound { .. })));
}

pub(super) fn content_that_was_not_published_is_gone(bench: &mut impl Bench) {
    let store = bench.store();
    let staged = store.stage_small(b"x", &Attributes::default()).unwrap();
    assert_eq!(staged.size(), 1);
    drop(staged);
    assert_eq!(names(store, ""), [""; 0]);
    assert_eq!(store.expire_stages(std::time::Duration::ZERO).unwrap(), 0);
}

pub(super) fn other_content_than_was_verified_is_refused(bench: &mut impl Bench) {
    let store = bench.store();
    let staged = store.stage_small(b"longer", &Attributes::default()).unwrap();
    let result =
        store.publish(staged, verified(b"short"), &path("a"), Publish::Replace, &Attributes::default());
    assert!(matches!(result, Err(StoreError::Corrupt { .. })));
    assert!(!exists(store, "a"));
}

pub(super) fn another_store_s_content_is_refused(bench: &mut impl Bench) {
    let staged = crate::Staged::new(1, "not ours");
    let result =
        bench.store().publish(staged, verified(b"x"), &path("a"), Publish::Replace, &Attributes::default());
    assert!(matches!(result, Err(StoreError::Corrupt { what: "another store has it" })));
}

pub(super) fn a_source_keeps_its_content_when_the_name_goes(bench: &mut impl Bench) {
    let store = bench.store();
    put(store, "a", b"first");
    let source = store.open(&path("a")).unwrap();
    let version = source.stat().unwrap().version;
    put(store, "a", b"second");
    let mut buffer = [0; 5];
    source.read_at(0, &mut buffer).unwrap();
    assert_eq!(&buffer, b"first");
    assert_ne!(store.stat(&path("a")).unwrap().version, version);
    store.remove(&path("a")).unwrap();
    source.read_at(0, &mut buffer).unwrap();
    assert_eq!(&buffer, b"first");
}

pub(super) fn holes_read_as_zeros(bench: &mut impl Bench) {
    let store = bench.store();
    let mut content = vec![0; 32 * PIECE_BYTES as usize];
    content[20 * PIECE_BYTES as usize + 5] = 7;
    let stage = store.stage(&StageKey([1; 32]), content.len() as u64).unwrap();
    write_pieces(&*stage, &content, 0..32);
    publish_stage(store, stage, &content, "sparse");
    assert!(read(store, "sparse") == content);
    let occupied = store.stat(&path("sparse")).unwrap().occupied;
    assert!(!bench.has_holes() || occupied <= 2 * PIECE_BYTES, "{occupied} bytes are taken");
}

pub(super) fn zeros_replace_old_garbage(bench: &mut impl Bench) {
    let content = [pattern(PIECE_BYTES), vec![0; 2 * PIECE_BYTES as usize]].concat();
    let key = StageKey([1; 32]);
    let stage = bench.store().stage(&key, content.len() as u64).unwrap();
    stage.write_at(PIECE_BYTES - 10, &pattern(PIECE_BYTES + 500)).unwrap();
    write_pieces(&*stage, &content, [1]);
    stage.write_at(2 * PIECE_BYTES + 100, b"garbage").unwrap();
    drop(stage);
    bench.restart();
    let store = bench.store();
    let stage = store.stage(&key, content.len() as u64).unwrap();
    assert_eq!(stage.held(), [piece(&content, 1)]);
    write_pieces(&*stage, &content, [2, 0]);
    publish_stage(store, stage, &content, "a");
    assert!(read(store, "a") == content);
}

pub(super) fn reading_past_the_end_is_short(bench: &mut impl Bench) {
    let store = bench.store();
    put(store, "a", b"0123456789");
    let source = store.open(&path("a")).unwrap();
    let mut buffer = [0; 8];
    assert_eq!(source.read_at(4, &mut buffer).unwrap(), 6);
    assert_eq!(&buffer[..6], b"456789");
    assert_eq!(source.read_at(10, &mut buffer).unwrap(), 0);
    assert_eq!(source.read_at(1 << 40, &mut buffer).unwrap(), 0);
}
