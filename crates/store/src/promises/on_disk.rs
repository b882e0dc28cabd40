//! Promises that only a directory can keep: what stands on disk, and what other processes do to it meanwhile.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use sft_base::Kind;
use sft_base::limits::PIECE_BYTES;

use super::*;
use crate::FsStore;

/// A store over a temporary directory.
pub(super) struct Directory {
    dir: tempfile::TempDir,
    store: Option<FsStore>,
}

impl Bench for Directory {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Some(FsStore::open(dir.path()).unwrap());
        Self { dir, store }
    }

    fn store(&self) -> &dyn Store {
        self.fs()
    }

    fn restart(&mut self) {
        self.store = None;
        self.store = Some(FsStore::open(self.dir.path()).unwrap());
    }

    fn damage(&self, key: &StageKey, damage: &mut dyn FnMut(&mut Vec<u8>, &mut Vec<u8>)) {
        let (part, journal) = (self.stage(&format!("{key}.part")), self.stage(&format!("{key}.journal")));
        let (mut bytes, mut records) = (fs::read(&part).unwrap(), fs::read(&journal).unwrap());
        damage(&mut bytes, &mut records);
        fs::write(part, bytes).unwrap();
        fs::write(journal, records).unwrap();
    }

    fn make_special(&self, path: &EntryPath) {
        let dir = fs::File::open(self.dir.path()).unwrap();
        rustix::fs::mkfifoat(dir, path.as_bytes(), rustix::fs::Mode::RWXU).unwrap();
    }

    fn has_holes(&self) -> bool {
        true
    }
}

impl Directory {
    fn fs(&self) -> &FsStore {
        self.store.as_ref().expect("there is one but during a restart")
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn stage(&self, name: &str) -> PathBuf {
        self.at(".sft/stage").join(name)
    }
}

#[test]
fn its_own_directory_comes_with_the_first_write_and_goes_at_the_end() {
    let mut bench = Directory::new();
    fs::write(bench.at("a"), "x").unwrap();
    assert_eq!(read(bench.store(), "a"), b"x");
    bench.store().expire_stages(Duration::ZERO).unwrap();
    assert!(!bench.at(".sft").exists(), "reading makes nothing");
    put(bench.store(), "b", b"x");
    for own in [".sft", ".sft/stage"] {
        assert_eq!(fs::metadata(bench.at(own)).unwrap().permissions().mode() & 0o777, 0o700);
    }
    for left in fs::read_dir(bench.at(".sft/stage")).unwrap() {
        assert_eq!(fs::read_dir(left.unwrap().path()).unwrap().count(), 0, "nothing but an empty directory");
    }
    bench.restart();
    assert!(!bench.at(".sft").exists());
    let stage = bench.store().stage(&StageKey([1; 32]), 10).unwrap();
    bench.store = None;
    stage.write_at(0, b"still open").unwrap();
    drop(stage);
    assert_eq!(fs::read_dir(bench.at(".sft/stage")).unwrap().count(), 2, "a stage is kept for another time");
}

#[test]
fn another_process_may_take_the_own_directory_away() {
    let bench = Directory::new();
    put(bench.store(), "a", b"x");
    fs::remove_dir_all(bench.at(".sft")).unwrap();
    put(bench.store(), "b", b"y");
    fs::remove_dir_all(bench.at(".sft")).unwrap();
    put_link(bench.store(), "l", "b");
    fs::remove_dir_all(bench.at(".sft")).unwrap();
    let content = pattern(PIECE_BYTES + 5);
    let stage = bench.store().stage(&StageKey([1; 32]), content.len() as u64).unwrap();
    fs::remove_dir_all(bench.at(".sft")).unwrap();
    drop(stage);
    let stage = bench.store().stage(&StageKey([1; 32]), content.len() as u64).unwrap();
    write_pieces(&*stage, &content, 0..2);
    publish_stage(bench.store(), stage, &content, "c");
    assert_eq!(names(bench.store(), ""), ["a", "b", "c", "l"]);
}

#[test]
fn a_stage_is_busy_while_another_process_has_it() {
    let bench = Directory::new();
    // A second store has its own descriptors, as another process would.
    let other = FsStore::open(bench.dir.path()).unwrap();
    let key = StageKey([1; 32]);
    let content = pattern(PIECE_BYTES + 5);
    let stage = bench.store().stage(&key, content.len() as u64).unwrap();
    write_pieces(&*stage, &content, [1]);
    assert!(other.stage(&key, content.len() as u64).is_err_and(|e| matches!(e, StoreError::Busy)));
    assert_eq!(other.expire_stages(Duration::ZERO).unwrap(), 0);
    other.stage(&StageKey([2; 32]), 10).unwrap().discard();
    drop(stage);
    let stage = other.stage(&key, content.len() as u64).unwrap();
    assert_eq!(stage.held(), [piece(&content, 1)]);
    assert!(bench.store().stage(&key, 10).is_err_and(|e| matches!(e, StoreError::Busy)));
    write_pieces(&*stage, &content, [0]);
    let staged = stage.finish().unwrap();
    let late = |staged| {
        other.publish(staged, verified(&content), &path("a"), Publish::Replace, &Attributes::default())
    };
    let stage = bench.store().stage(&key, content.len() as u64).unwrap();
    assert!(matches!(late(staged), Err(StoreError::Busy)));
    publish_stage(bench.store(), stage, &content, "a");
}

#[test]
fn what_another_process_did_to_a_complete_stage_is_seen() {
    let bench = Directory::new();
    let other = FsStore::open(bench.dir.path()).unwrap();
    let key = StageKey([1; 32]);
    let content = pattern(PIECE_BYTES + 5);
    let complete = || {
        let stage = bench.store().stage(&key, content.len() as u64).unwrap();
        write_pieces(&*stage, &content, 0..2);
        stage.finish().unwrap()
    };
    let publish = |staged| {
        let none = Attributes::default();
        bench.store().publish(staged, verified(&content), &path("a"), Publish::Replace, &none)
    };
    let staged = complete();
    other.stage(&key, content.len() as u64).unwrap().write_at(5, b"other").unwrap();
    assert!(matches!(publish(staged), Err(StoreError::Superseded)));
    let staged = complete();
    other.stage(&key, 3).unwrap().discard();
    assert!(matches!(publish(staged), Err(StoreError::Superseded)));
    assert!(!exists(bench.store(), "a"));
    let staged = complete();
    drop(other.stage(&key, content.len() as u64).unwrap());
    publish(staged).unwrap();
    assert!(read(bench.store(), "a") == content);
}

/// Writes into the bytes of a stage that somebody has open.
fn meddle(bench: &Directory, key: &StageKey, at: u64) {
    // Times of files go in ticks.
    std::thread::sleep(Duration::from_millis(20));
    let part = fs::File::options().write(true).open(bench.stage(&format!("{key}.part"))).unwrap();
    part.write_all_at(b"other", at).unwrap();
}

#[test]
fn what_another_program_did_to_an_open_stage_is_found_when_it_is_taken_over() {
    let bench = Directory::new();
    let key = StageKey([1; 32]);
    let content = pattern(3 * PIECE_BYTES + 5);
    let older = bench.store().stage(&key, content.len() as u64).unwrap();
    write_pieces(&*older, &content, [0, 1, 3]);
    meddle(&bench, &key, PIECE_BYTES + 7);
    // The older one goes on, and knows nothing.
    write_pieces(&*older, &content, [2]);
    let newer = bench.store().stage(&key, content.len() as u64).unwrap();
    assert_eq!(newer.held(), [piece(&content, 0), piece(&content, 2), piece(&content, 3)]);
    write_pieces(&*newer, &content, [1]);
    publish_stage(bench.store(), newer, &content, "a");
    assert!(read(bench.store(), "a") == content);
}

#[test]
fn what_another_program_did_to_an_open_stage_is_never_published() {
    let bench = Directory::new();
    let key = StageKey([1; 32]);
    let content = pattern(2 * PIECE_BYTES + 5);
    let none = Attributes::default();
    let complete = |pieces: &[u64]| {
        let stage = bench.store().stage(&key, content.len() as u64).unwrap();
        write_pieces(&*stage, &content, pieces.iter().copied());
        stage
    };
    let publish = |stage: Box<dyn Stage>| {
        let staged = stage.finish().unwrap();
        bench.store().publish(staged, verified(&content), &path("a"), Publish::Replace, &none)
    };
    let stage = complete(&[0, 1, 2]);
    meddle(&bench, &key, PIECE_BYTES - 2);
    let error = publish(stage).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert!(!exists(bench.store(), "a"));
    // It stays for another attempt, which finds out what is good of it.
    let stage = bench.store().stage(&key, content.len() as u64).unwrap();
    assert_eq!(stage.held(), [piece(&content, 2)]);
    drop(stage);
    let stage = complete(&[0, 1]);
    // What leaves the bytes alone does no harm.
    std::thread::sleep(Duration::from_millis(20));
    fs::hard_link(bench.stage(&format!("{key}.part")), bench.at("backup")).unwrap();
    publish(stage).unwrap();
    assert!(read(bench.store(), "a") == content);
}

#[test]
fn any_number_of_complete_stages_can_wait() {
    let bench = Directory::new();
    let open_files = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open_files();
    let staged: Vec<_> =
        (0..200).map(|i| bench.store().stage(&StageKey([i; 32]), 5).unwrap().finish().unwrap()).collect();
    // Other tests of this process open files meanwhile.
    assert!(open_files() < before + 150);
    for (i, staged) in staged.into_iter().enumerate() {
        let to = path(&i.to_string());
        let none = Attributes::default();
        bench.store().publish(staged, verified(&[0; 5]), &to, Publish::CreateOnly, &none).unwrap();
    }
    assert_eq!(names(bench.store(), "").len(), 200);
}

#[test]
fn what_a_crash_left_behind_expires() {
    let bench = Directory::new();
    put(bench.store(), "a", b"x");
    make_dir(bench.store(), "d");
    let copy = format!(".sft-{}.tmp", "0f".repeat(16));
    fs::write(bench.at(&format!("d/{copy}")), "half a copy").unwrap();
    assert_eq!(names(bench.store(), "d"), [""; 0]);
    fs::write(bench.stage("0123.note"), format!("d/{copy}")).unwrap();
    fs::write(bench.stage("4567.note"), "a").unwrap();
    fs::write(bench.stage("89ab.tmp"), "small").unwrap();
    fs::write(bench.stage(&format!("{}.part", "00".repeat(32))), "large").unwrap();
    fs::write(bench.stage("not ours"), "kept").unwrap();
    fs::create_dir(bench.stage("0abc.dir")).unwrap();
    fs::write(bench.stage("0abc.dir/0abcd.tmp"), "small").unwrap();
    let live = bench.store().stage_small(b"live", &Attributes::default()).unwrap();
    assert_eq!(bench.store().expire_stages(Duration::from_secs(60)).unwrap(), 0);
    assert_eq!(bench.store().expire_stages(Duration::ZERO).unwrap(), 4);
    assert!(!bench.at(&format!("d/{copy}")).exists());
    assert_eq!(fs::read(bench.at("a")).unwrap(), b"x", "a note can only name what is on its way");
    assert_eq!(fs::read_dir(bench.at(".sft/stage")).unwrap().count(), 2);
    drop(live);
}

#[test]
fn links_swapped_in_lead_nowhere() {
    let bench = Directory::new();
    let outside = tempfile::tempdir().unwrap();
    for name in ["f", "move", "g"] {
        fs::write(outside.path().join(name), "a longer secret").unwrap();
    }
    symlink("secret", outside.path().join("l")).unwrap();
    fs::create_dir(outside.path().join("sub")).unwrap();
    let shown = || {
        let entries = fs::read_dir(outside.path()).unwrap().map(Result::unwrap);
        let mut shown: Vec<_> = entries.map(|e| (e.file_name(), e.metadata().unwrap().mode())).collect();
        shown.sort();
        shown
    };
    let before = shown();
    let store = bench.store();
    make_dir(store, "real");
    put(store, "real/f", b"public");
    put_link(store, "real/l", "public");
    let swap = bench.at("d");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                fs::rename(bench.at("real"), &swap).unwrap();
                fs::rename(&swap, bench.at("real")).unwrap();
                symlink(outside.path(), &swap).unwrap();
                fs::remove_file(&swap).unwrap();
            }
        });
        let (mut written, mut refused) = (0, 0);
        for turn in 0..3000 {
            refused += look_through(store);
            written += u32::from(publish(store, "d/g", b"x", Publish::Replace).is_ok());
            change_through(store);
            if turn > 300 && written > 0 && refused > 0 {
                break;
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(written > 0 && refused > 0, "both were met: {written} {refused}");
    });
    assert_eq!(shown(), before, "nothing came, went or changed");
    assert_eq!(fs::read(outside.path().join("g")).unwrap(), b"a longer secret");
}

/// Everything that reads, through `d`; how often a link was met.
fn look_through(store: &dyn Store) -> u32 {
    let met = |error: &StoreError| {
        u32::from(matches!(error, StoreError::LeadsOutside { .. } | StoreError::ThroughLink { .. }))
    };
    let mut links = 0;
    match store.open(&path("d/f")) {
        Ok(source) => {
            let mut content = [0; 6];
            source.read_at(0, &mut content).unwrap();
            assert_eq!(&content, b"public");
        }
        Err(error) => links += met(&error),
    }
    match store.stat(&path("d/f")) {
        Ok(stat) => assert_eq!(stat.meta.size, 6),
        Err(error) => links += met(&error),
    }
    match store.read_link(&path("d/l")) {
        Ok(target) => assert_eq!(target, b"public"),
        Err(error) => links += met(&error),
    }
    if let Ok(mut listing) = store.list(&path("d")) {
        let names = listing.next_batch(100).unwrap();
        assert!(names.iter().all(|(name, _)| name.as_bytes() != b"sub"), "what is outside was listed");
    }
    links
}

/// Everything that changes something, through `d`.
fn change_through(store: &dyn Store) {
    let none = Attributes::default();
    let _ = store.remove(&path("d/g"));
    let _ = store.make_dir(&path("d/h"), 0o755);
    let _ = store.remove_tree(&path("d/h"));
    let _ = store.remove_tree(&path("d/sub"));
    let _ = store.set_attributes(&path("d"), &Attributes { mode: Some(0o755), modified: None });
    let _ = store.set_attributes(&path("d/f"), &Attributes { mode: Some(0o600), modified: None });
    let _ = store.publish_link(b"x", &path("d/new"), Publish::Replace, &none);
    let _ = publish(store, "d/move", b"x", Publish::Replace);
    if store.rename(&path("d/move"), &path("moved"), true).is_ok() {
        assert_eq!(store.stat(&path("moved")).unwrap().meta.size, 1, "what is outside was moved in");
        let _ = store.rename(&path("moved"), &path("d/moved"), true);
    }
}

#[test]
fn the_root_is_held_and_not_its_path() {
    let bench = Directory::new();
    let (here, there) = (bench.at("root"), bench.at("moved"));
    fs::create_dir(&here).unwrap();
    let store = FsStore::open(&here).unwrap();
    fs::rename(&here, &there).unwrap();
    put(&store, "a", b"x");
    assert_eq!(fs::read(there.join("a")).unwrap(), b"x");
    let missing = FsStore::open(&here).unwrap_err();
    assert!(matches!(missing, StoreError::NotFound { .. }));
    assert!(matches!(FsStore::open(&there.join("a")), Err(StoreError::NotADirectory { .. })));
}

#[test]
fn what_others_made_of_the_own_directory_is_refused() {
    let bench = Directory::new();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), bench.at(".sft")).unwrap();
    let error = bench.store().stage_small(b"x", &Attributes::default()).unwrap_err();
    assert!(matches!(error, StoreError::NotADirectory { .. }), "{error:?}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    fs::remove_file(bench.at(".sft")).unwrap();
    fs::create_dir(bench.at(".sft")).unwrap();
    fs::set_permissions(bench.at(".sft"), fs::Permissions::from_mode(0o777)).unwrap();
    put(bench.store(), "a", b"x");
    assert_eq!(fs::metadata(bench.at(".sft")).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn trees_as_deep_as_a_path_can_be_are_removed() {
    let bench = Directory::new();
    let mut dir: rustix::fd::OwnedFd = fs::File::open(bench.dir.path()).unwrap().into();
    for _ in 0..8190 {
        rustix::fs::mkdirat(&dir, "d", rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
        dir = rustix::fs::openat(&dir, "d", flags, rustix::fs::Mode::empty()).unwrap();
    }
    rustix::fs::symlinkat("/", &dir, "root").unwrap();
    let lowest = EntryPath::from_names(vec![&b"d"[..]; 8190]).unwrap();
    assert_eq!(bench.store().stat(&lowest).unwrap().meta.kind, Kind::Dir);
    assert_eq!(bench.store().list(&lowest).unwrap().next_batch(5).unwrap().len(), 1);
    assert_eq!(bench.store().remove_tree(&path("d")).unwrap(), 8191);
}

#[test]
fn many_directories_in_one_are_removed() {
    let bench = Directory::new();
    make_dir(bench.store(), "t");
    for i in 0..500 {
        make_dir(bench.store(), &format!("t/{i}"));
        fs::write(bench.at(&format!("t/{i}/f")), "x").unwrap();
    }
    assert_eq!(bench.store().remove_tree(&path("t")).unwrap(), 1001);
}

#[test]
fn a_changed_file_shows_another_version() {
    let bench = Directory::new();
    put(bench.store(), "a", b"before");
    let source = bench.store().open(&path("a")).unwrap();
    let before = source.stat().unwrap().version;
    assert_eq!(source.stat().unwrap().version, before);
    fs::write(bench.at("a"), "after, and longer").unwrap();
    assert_ne!(source.stat().unwrap().version, before);
}
