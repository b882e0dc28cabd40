//! Promises about names: kept byte for byte, never leading out of the root, moved and removed by plain rules.

use sft_base::{Kind, Name};

use super::*;

pub(super) fn entries_are_listed_in_batches(bench: &mut impl Bench) {
    let store = bench.store();
    make_dir(store, "d");
    for i in 0..25 {
        put(store, &format!("d/{i}"), b"x");
    }
    let mut listing = store.list(&path("d")).unwrap();
    let mut seen = Vec::new();
    loop {
        let batch = listing.next_batch(10).unwrap();
        assert!(batch.len() <= 10);
        if batch.is_empty() {
            break;
        }
        if seen.is_empty() {
            // Some of these were read ahead; all of them vanish.
            (0..25).for_each(|i| store.remove(&path(&format!("d/{i}"))).unwrap());
        }
        assert!(batch.iter().all(|(_, stat)| stat.meta.kind == Kind::File && stat.meta.size == 1));
        seen.extend(batch.into_iter().map(|(name, _)| name));
    }
    assert_eq!(seen.len(), 10, "what vanished is left out");
    assert_eq!(names(store, "d"), [""; 0]);
    assert_eq!(names(store, ""), ["d"]);
}

pub(super) fn several_are_looked_at_as_each_alone(bench: &mut impl Bench) {
    let store = bench.store();
    make_dir(store, "d");
    make_dir(store, "d/e");
    for name in ["a", "d/a", "d/b", "d/e/a"] {
        put(store, name, name.as_bytes());
    }
    put_link(store, "link", "d");
    put_link(store, "d/out", "/etc");
    let paths = [
        "a",
        "d",
        "link",
        "none",
        ".sft",
        "",
        "d/a",
        "d/b",
        "d/none",
        "d/out",
        "d/out/passwd",
        "link/a",
        "link/b",
        "d/e/a",
        "none/a",
        "none/b",
        "a/b",
        "a/c",
        ".sft/stage",
        ".sft/x",
        "d/a",
    ];
    let paths = paths.map(path);
    for store in [store, &*store.without_links()] {
        let alone = paths.iter().map(|path| format!("{:?}", store.stat(path)));
        let together = store.stat_each(&paths);
        assert_eq!(
            together.iter().map(|stat| format!("{stat:?}")).collect::<Vec<_>>(),
            alone.collect::<Vec<_>>()
        );
        assert_eq!(
            together.iter().filter(|stat| stat.is_ok()).count(),
            if store.stat(&path("link/a")).is_ok() { 11 } else { 9 }
        );
        let shown = |opened: Result<Box<dyn crate::Source>, StoreError>| {
            format!(
                "{:?}",
                opened.and_then(|source| Ok((source.stat()?.version, source.read_at(0, &mut [0; 9])?)))
            )
        };
        let alone: Vec<_> = paths.iter().map(|path| shown(store.open(path))).collect();
        let mut together = Vec::new();
        store.open_each(&paths, &mut |opened| together.push(shown(opened)));
        assert_eq!(together, alone);
    }
}

pub(super) fn directories_are_made_once(bench: &mut impl Bench) {
    let store = bench.store();
    store.make_dir(&path("d"), 0o700).unwrap();
    let meta = store.stat(&path("d")).unwrap().meta;
    assert_eq!((meta.kind, meta.size, meta.mode), (Kind::Dir, 0, 0o700));
    put(store, "f", b"");
    for there in ["d", "f", ""] {
        assert!(matches!(store.make_dir(&path(there), 0o755), Err(StoreError::AlreadyExists { .. })));
    }
    assert!(matches!(store.make_dir(&path("x/y"), 0o755), Err(StoreError::NotFound { .. })));
    assert!(matches!(store.make_dir(&path("f/y"), 0o755), Err(StoreError::NotADirectory { .. })));
}

pub(super) fn names_are_kept_byte_for_byte(bench: &mut impl Bench) {
    let store = bench.store();
    let longest = [b'n'; 255];
    let kept: [&[u8]; 12] = [
        &longest,
        b"\xff\xfe not UTF-8",
        b"case",
        b"CASE",
        "caf\u{e9}".as_bytes(),
        "cafe\u{301}".as_bytes(),
        b" ",
        b"...",
        b"a\\b",
        b"new\nline",
        b"-rf",
        b"con",
    ];
    for (i, name) in kept.iter().enumerate() {
        let at = EntryPath::from_names([*name]).unwrap();
        let content = [i as u8];
        let staged = store.stage_small(&content, &Attributes::default()).unwrap();
        store.publish(staged, verified(&content), &at, Publish::CreateOnly, &Attributes::default()).unwrap();
    }
    assert!(Name::new(&[b'n'; 256]).is_err(), "a longer name cannot be asked for");
    let batch = store.list(&EntryPath::root()).unwrap().next_batch(100).unwrap();
    let mut listed: Vec<_> = batch.iter().map(|(name, _)| name.as_bytes()).collect();
    listed.sort();
    let mut expected = kept.to_vec();
    expected.sort();
    assert_eq!(listed, expected);
    for (i, name) in kept.iter().enumerate() {
        let mut content = [99];
        let source = store.open(&EntryPath::from_names([*name]).unwrap()).unwrap();
        source.read_at(0, &mut content).unwrap();
        assert_eq!(content, [i as u8]);
    }
}

pub(super) fn renaming_follows_the_rules(bench: &mut impl Bench) {
    let store = bench.store();
    let rename = |from: &str, to: &str, replace| store.rename(&path(from), &path(to), replace);
    put(store, "a", b"a");
    put(store, "b", b"b");
    ["d", "d/e", "full", "empty"].iter().for_each(|at| make_dir(store, at));
    put(store, "full/x", b"x");
    assert!(matches!(rename("a", "b", false), Err(StoreError::AlreadyExists { .. })));
    rename("a", "b", true).unwrap();
    assert_eq!(read(store, "b"), b"a");
    assert!(!exists(store, "a"));
    rename("b", "d/e/c", false).unwrap();
    assert_eq!(read(store, "d/e/c"), b"a");
    assert!(matches!(rename("a", "z", true), Err(StoreError::NotFound { .. })));
    assert!(matches!(rename("d", "z/z", true), Err(StoreError::NotFound { .. })));
    assert!(matches!(rename("d", "d/e/d", true), Err(StoreError::IntoItself { .. })));
    assert!(matches!(rename("d", "full", true), Err(StoreError::DirectoryNotEmpty { .. })));
    assert!(matches!(rename("d", "full/x", true), Err(StoreError::NotADirectory { .. })));
    assert!(matches!(rename("full/x", "d", true), Err(StoreError::IsADirectory { .. })));
    rename("d", "empty", true).unwrap();
    assert_eq!(read(store, "empty/e/c"), b"a");
    rename("empty", "empty", true).unwrap();
    assert!(matches!(rename("empty", "empty", false), Err(StoreError::AlreadyExists { .. })));
    put_link(store, "l", "empty/e/c");
    rename("l", "m", false).unwrap();
    assert_eq!(store.read_link(&path("m")).unwrap(), b"empty/e/c");
}

pub(super) fn removing_follows_the_rules(bench: &mut impl Bench) {
    let store = bench.store();
    put(store, "a", b"a");
    make_dir(store, "d");
    put(store, "d/x", b"x");
    put_link(store, "l", "d");
    assert!(matches!(store.remove(&path("d")), Err(StoreError::DirectoryNotEmpty { .. })));
    assert!(matches!(store.remove(&path("z")), Err(StoreError::NotFound { .. })));
    assert!(matches!(store.remove_tree(&path("z")), Err(StoreError::NotFound { .. })));
    ["a", "l", "d/x", "d"].iter().for_each(|at| store.remove(&path(at)).unwrap());
    assert_eq!(names(store, ""), [""; 0]);
}

pub(super) fn removing_a_tree_follows_no_link(bench: &mut impl Bench) {
    let store = bench.store();
    make_dir(store, "kept");
    put(store, "kept/x", b"x");
    ["t", "t/a", "t/a/b", "t/c"].iter().for_each(|at| make_dir(store, at));
    ["t/f", "t/a/f", "t/a/b/f", "t/a/b/g"].iter().for_each(|at| put(store, at, b"x"));
    put_link(store, "t/c/up", "../../kept");
    put_link(store, "t/kept", "../kept");
    assert_eq!(store.remove_tree(&path("t")).unwrap(), 10);
    assert_eq!(names(store, "kept"), ["x"]);
    assert_eq!(store.remove_tree(&path("kept/x")).unwrap(), 1);
    put_link(store, "l", "kept");
    assert_eq!(store.remove_tree(&path("l")).unwrap(), 1);
    assert_eq!(names(store, ""), ["kept"]);
}

pub(super) fn deep_trees_can_be_made_and_removed(bench: &mut impl Bench) {
    let store = bench.store();
    let name = Name::new(b"deep").unwrap();
    let mut at = EntryPath::root();
    for _ in 0..DEPTH {
        at = at.join(&name).unwrap();
        store.make_dir(&at, 0o755).unwrap();
    }
    let file = at.join(&name).unwrap();
    let staged = store.stage_small(b"x", &Attributes::default()).unwrap();
    store.publish(staged, verified(b"x"), &file, Publish::CreateOnly, &Attributes::default()).unwrap();
    let batch = store.list(&at).unwrap().next_batch(2).unwrap();
    assert_eq!(batch.len(), 1);
    assert_eq!(store.open(&file).unwrap().stat().unwrap().meta.size, 1);
    store.rename(&file, &at.join(&Name::new(b"other").unwrap()).unwrap(), false).unwrap();
    assert_eq!(store.remove_tree(&path("deep")).unwrap(), DEPTH + 1);
    assert_eq!(names(store, ""), [""; 0]);
}

pub(super) fn links_lead_nowhere_outside(bench: &mut impl Bench) {
    let store = bench.store();
    ["d", "d/e"].iter().for_each(|at| make_dir(store, at));
    put(store, "d/f", b"inside");
    let inside = [("in", "d"), ("d/e/up", ".."), ("d/e/upper", "../../d//./e/../"), ("twice", "in")];
    inside.iter().for_each(|(at, target)| put_link(store, at, target));
    for through in ["in/f", "d/e/up/f", "d/e/upper/f", "twice/f", "in/e/up/e/upper/f"] {
        assert_eq!(read(store, through), b"inside", "{through}");
    }
    let outside = [("abs", "/etc"), ("out", ".."), ("d/e/out", "../../.."), ("hop", "in/../../x")];
    outside.iter().for_each(|(at, target)| put_link(store, at, target));
    for (at, _) in outside {
        let below = path(at).join(&Name::new(b"passwd").unwrap()).unwrap();
        assert!(matches!(store.stat(&below), Err(StoreError::LeadsOutside { .. })), "{at}");
        assert!(store.open(&below).is_err_and(|e| matches!(e, StoreError::LeadsOutside { .. })));
        assert!(store.list(&below).is_err_and(|e| matches!(e, StoreError::LeadsOutside { .. })));
        assert!(matches!(store.read_link(&below), Err(StoreError::LeadsOutside { .. })));
        assert!(store.stat(&path(at)).is_ok(), "the link itself is an entry");
        assert!(store.open(&path(at)).is_err_and(|e| matches!(e, StoreError::ThroughLink { .. })));
        assert!(store.list(&path(at)).is_err_and(|e| matches!(e, StoreError::NotADirectory { .. })));
    }
    put_link(store, "loop", "loop");
    assert!(matches!(store.stat(&path("loop/x")), Err(StoreError::ThroughLink { .. })));
}

pub(super) fn a_store_without_links_reads_through_none(bench: &mut impl Bench) {
    let store = bench.store();
    store.make_dir(&path("d"), 0o777).unwrap();
    store.make_dir(&path("d/e"), 0o777).unwrap();
    put(store, "f", b"content");
    put(store, "d/e/f", b"content");
    put_link(store, "d/up", "..");
    put_link(store, "d/down", "e");
    assert!(store.stat(&path("d/up/f")).is_ok() && store.stat(&path("d/down/f")).is_ok());
    let strict = store.without_links();
    for through in ["d/up/f", "d/up/d", "d/down/f"].map(path) {
        let refused = |error: StoreError| matches!(error, StoreError::ThroughLink { .. });
        assert!(strict.stat(&through).is_err_and(refused));
        assert!(strict.list(&through).is_err_and(refused));
        assert!(strict.open(&through).is_err_and(refused));
        assert!(strict.read_link(&through).is_err_and(refused));
    }
    assert_eq!(strict.read_link(&path("d/up")).unwrap(), b"..");
    assert!(strict.open(&path("d/e/f")).is_ok() && strict.list(&path("d")).is_ok());
}

pub(super) fn writing_passes_through_no_link(bench: &mut impl Bench) {
    let store = bench.store();
    make_dir(store, "d");
    put(store, "d/f", b"x");
    put_link(store, "l", "d");
    let at = path("l/f");
    let none = Attributes::default();
    let refused = |error: StoreError| matches!(error, StoreError::ThroughLink { .. });
    assert!(store.make_dir(&path("l/new"), 0o755).is_err_and(refused));
    assert!(store.remove(&at).is_err_and(refused));
    assert!(store.remove_tree(&at).is_err_and(refused));
    assert!(store.rename(&at, &path("y"), true).is_err_and(refused));
    assert!(store.rename(&path("d/f"), &path("l/y"), true).is_err_and(refused));
    assert!(store.set_attributes(&at, &none).is_err_and(refused));
    assert!(publish(store, "l/f", b"y", Publish::Replace).is_err_and(refused));
    assert!(store.publish_link(b"t", &at, Publish::Replace, &none).is_err_and(refused));
    assert_eq!(read(store, "l/f"), b"x", "reading does");
}

pub(super) fn the_store_s_own_names_are_refused(bench: &mut impl Bench) {
    let store = bench.store();
    put(store, "f", b"x");
    let none = Attributes::default();
    let refused = |error: StoreError| matches!(error, StoreError::NameNotAllowed { .. });
    for own in [".sft", ".sft/x", ".SFT", ".sft-00112233445566778899aabbccddeeff.tmp"] {
        let at = path(own);
        assert!(store.stat(&at).is_err_and(refused));
        assert!(store.list(&at).is_err_and(refused));
        assert!(store.open(&at).is_err_and(refused));
        assert!(store.read_link(&at).is_err_and(refused));
        assert!(store.make_dir(&at, 0o755).is_err_and(refused));
        assert!(store.remove(&at).is_err_and(refused));
        assert!(store.remove_tree(&at).is_err_and(refused));
        assert!(store.rename(&at, &path("y"), true).is_err_and(refused));
        assert!(store.rename(&path("f"), &at, true).is_err_and(refused));
        assert!(store.set_attributes(&at, &none).is_err_and(refused));
        assert!(publish(store, own, b"y", Publish::Replace).is_err_and(refused));
        assert!(store.publish_link(b"t", &at, Publish::Replace, &none).is_err_and(refused));
    }
    make_dir(store, "d");
    make_dir(store, "d/.sft");
    assert_eq!(names(store, "d"), [".sft"], "below the root it is a name like any other");
}

pub(super) fn the_root_stays(bench: &mut impl Bench) {
    let store = bench.store();
    let root = EntryPath::root();
    assert_eq!(store.stat(&root).unwrap().meta.kind, Kind::Dir);
    assert!(store.remove(&root).is_err());
    assert!(store.remove_tree(&root).is_err());
    assert!(store.rename(&root, &path("a"), true).is_err());
    assert!(publish(store, "", b"x", Publish::Replace).is_err());
    assert!(store.open(&root).is_err_and(|e| matches!(e, StoreError::IsADirectory { .. })));
    let mode = Attributes { mode: Some(0o750), ..Attributes::default() };
    assert_eq!(store.set_attributes(&root, &mode).unwrap(), []);
    assert_eq!(store.stat(&root).unwrap().meta.mode, 0o750);
}

pub(super) fn what_is_special_is_not_opened(bench: &mut impl Bench) {
    let pipe = path("pipe");
    bench.make_special(&pipe);
    let store = bench.store();
    assert_eq!(store.stat(&pipe).unwrap().meta.kind, Kind::Other);
    assert!(store.open(&pipe).is_err_and(|e| matches!(e, StoreError::Special { .. })));
    let if_empty = Publish::ReplaceIf(Digest::of(b""));
    assert!(matches!(publish(store, "pipe", b"x", if_empty), Err(StoreError::Changed { .. })));
    assert_eq!(names(store, ""), ["pipe"]);
    store.remove(&pipe).unwrap();
}

pub(super) fn missing_entries_and_wrong_kinds_are_told_apart(bench: &mut impl Bench) {
    let store = bench.store();
    put(store, "f", b"x");
    make_dir(store, "d");
    for missing in ["z", "z/z", "d/z"] {
        let at = path(missing);
        let not_found = |e: StoreError| matches!(e, StoreError::NotFound { path } if path == at);
        assert!(store.stat(&at).is_err_and(not_found));
        assert!(store.open(&at).is_err_and(not_found));
        assert!(store.list(&at).is_err_and(not_found));
        assert!(store.read_link(&at).is_err_and(not_found));
    }
    assert!(store.list(&path("f")).is_err_and(|e| matches!(e, StoreError::NotADirectory { .. })));
    assert!(store.stat(&path("f/x")).is_err_and(|e| matches!(e, StoreError::NotADirectory { .. })));
    assert!(store.open(&path("d")).is_err_and(|e| matches!(e, StoreError::IsADirectory { .. })));
    assert!(store.read_link(&path("d")).is_err_and(|e| matches!(e, StoreError::NotALink { .. })));
}

pub(super) fn space_is_told(bench: &mut impl Bench) {
    let store = bench.store();
    let space = store.space().unwrap();
    assert!(space.total > 0 && space.available <= space.total);
    let key = StageKey([1; 32]);
    let too_large = (1 << 62) - 1;
    let error = store.stage(&key, too_large).err().unwrap();
    let StoreError::NoSpace { needed, available } = error else { panic!("{error:?}") };
    assert!(needed == too_large && available < needed);
    let error = store.stage(&key, u64::MAX).err().unwrap();
    assert!(matches!(error, StoreError::NoSpace { .. }), "{error:?}");
    store.stage(&key, 10).unwrap();
}

/// As deep as is promised; each level is made on its own, so the time goes with the square.
const DEPTH: u64 = 4000;
