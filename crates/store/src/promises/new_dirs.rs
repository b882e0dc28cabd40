//! New directories, filled before they have their names: what shows when, and what is left.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::time::Duration;

use super::on_disk::Directory;
use super::*;
use crate::{NewDir, Staged};

fn begin(bench: &Directory, path: &str) -> Arc<dyn NewDir> {
    bench.store().new_dir(&self::path(path)).expect("nothing is handed down here")
}

fn stage(dir: &Arc<dyn NewDir>, name: &str, content: &[u8]) -> Staged {
    dir.clone().stage_small(name.as_bytes(), content, &Attributes::default()).unwrap().unwrap()
}

fn publish(bench: &Directory, staged: Staged, to: &str, content: &[u8]) -> Result<(), StoreError> {
    let (verified, to) = (verified(content), path(to));
    let published = bench.store().publish(staged, verified, &to, Publish::CreateOnly, &Attributes::default());
    published.map(|unapplied| assert_eq!(unapplied, []))
}

/// Nothing but what is there, and no stages.
fn is_clean(bench: &mut Directory, there: &[&str]) {
    assert_eq!(names(bench.store(), ""), there);
    bench.restart();
    assert!(!bench.at(".sft").exists());
}

#[test]
fn it_shows_with_all_that_is_in_it() {
    let mut bench = Directory::new();
    let dir = begin(&bench, "new");
    let staged = [stage(&dir, "a", b"one"), stage(&dir, "b", b"two")];
    dir.close(2);
    assert_eq!(names(bench.store(), ""), [""; 0]);
    dir.publish().unwrap();
    assert_eq!(names(bench.store(), "new"), ["a", "b"]);
    let [a, b] = staged;
    publish(&bench, a, "new/a", b"one").unwrap();
    // Somebody replaced it meanwhile: what is not published does not take theirs with it.
    fs::write(bench.at("new/b"), "theirs").unwrap();
    drop((b, dir));
    assert_eq!(fs::read(bench.at("new/a")).unwrap(), b"one");
    assert_eq!(fs::read(bench.at("new/b")).unwrap(), b"theirs");
    is_clean(&mut bench, &["new"]);
}

#[test]
fn what_is_not_complete_does_not_show_with_it() {
    let mut bench = Directory::new();
    let dir = begin(&bench, "new");
    let (a, late) = (stage(&dir, "a", b"one"), stage(&dir, "late", b"two"));
    dir.close(1);
    dir.publish().unwrap();
    assert_eq!(names(bench.store(), "new"), [""; 0]);
    publish(&bench, a, "new/a", b"one").unwrap();
    assert_eq!(names(bench.store(), "new"), ["a"]);
    assert!(dir.clone().stage_small(b"b", b"", &Attributes::default()).unwrap().is_none(), "it is closed");
    publish(&bench, late, "new/late", b"two").unwrap();
    assert_eq!(names(bench.store(), "new"), ["a", "late"]);
    drop(dir);
    is_clean(&mut bench, &["new"]);
}

#[test]
fn what_was_dropped_is_not_in_it() {
    let mut bench = Directory::new();
    let dir = begin(&bench, "new");
    drop(stage(&dir, "gone", b"gone"));
    let a = stage(&dir, "a", b"one");
    assert!(dir.clone().stage_small(b"a", b"", &Attributes::default()).unwrap().is_none(), "it is there");
    dir.close(1);
    dir.publish().unwrap();
    assert_eq!(names(bench.store(), "new"), ["a"]);
    publish(&bench, a, "new/a", b"one").unwrap();
    drop(dir);
    is_clean(&mut bench, &["new"]);
}

#[test]
fn nothing_is_left_of_one_that_never_had_a_name() {
    let mut bench = Directory::new();
    let dir = begin(&bench, "new");
    let inner = dir.new_dir(&path("new/inner")).unwrap();
    let staged = [stage(&dir, "a", b"one"), stage(&inner, "b", b"two")];
    drop((dir, inner));
    drop(staged);
    is_clean(&mut bench, &[]);
}

#[test]
fn directories_are_named_one_after_the_other() {
    let mut bench = Directory::new();
    let outer = begin(&bench, "new");
    let inner = outer.new_dir(&path("new/inner")).unwrap();
    let b = stage(&inner, "b", b"two");
    inner.close(1);
    assert!(matches!(inner.publish(), Err(StoreError::NotFound { .. })));
    outer.close(0);
    outer.publish().unwrap();
    inner.publish().unwrap();
    assert_eq!(names(bench.store(), "new/inner"), ["b"]);
    publish(&bench, b, "new/inner/b", b"two").unwrap();
    drop((outer, inner));
    is_clean(&mut bench, &["new"]);
}

#[test]
fn a_name_that_was_taken_meanwhile_is_respected() {
    let mut bench = Directory::new();
    let dir = begin(&bench, "new");
    let staged = [stage(&dir, "a", b"ours"), stage(&dir, "b", b"ours")];
    fs::create_dir(bench.at("new")).unwrap();
    fs::write(bench.at("new/a"), "theirs").unwrap();
    dir.close(2);
    assert!(matches!(dir.publish(), Err(StoreError::AlreadyExists { .. })));
    let [a, b] = staged;
    assert!(matches!(publish(&bench, a, "new/a", b"ours"), Err(StoreError::AlreadyExists { .. })));
    publish(&bench, b, "new/b", b"ours").unwrap();
    assert_eq!(fs::read(bench.at("new/a")).unwrap(), b"theirs");
    assert!(bench.store().new_dir(&path("new")).is_none());
    drop(dir);
    is_clean(&mut bench, &["new"]);
}

#[test]
fn names_that_belong_to_the_store_are_not_made_in_it() {
    let mut bench = Directory::new();
    let dir = begin(&bench, "new");
    let own = format!(".sft-{}.tmp", "0f".repeat(16));
    assert!(dir.clone().stage_small(own.as_bytes(), b"", &Attributes::default()).unwrap().is_none());
    for reserved in [".sft", ".sft/stage/x", &format!("a/{own}")] {
        assert!(bench.store().new_dir(&path(reserved)).is_none());
    }
    assert!(matches!(dir.new_dir(&path(&format!("new/{own}"))), Err(StoreError::NameNotAllowed { .. })));
    drop(dir);
    is_clean(&mut bench, &[]);
}

#[test]
fn attributes_are_those_of_each_file() {
    let bench = Directory::new();
    let dir = begin(&bench, "new");
    let early = Attributes { mode: Some(0o640), modified: Some(sft_base::Time { secs: 7, nanos: 9 }) };
    let a = dir.clone().stage_small(b"a", b"one", &early).unwrap().unwrap();
    dir.close(1);
    dir.publish().unwrap();
    bench.store().publish(a, verified(b"one"), &path("new/a"), Publish::Replace, &early).unwrap();
    let there = fs::metadata(bench.at("new/a")).unwrap();
    assert_eq!((there.mode() & 0o7777, there.mtime(), there.mtime_nsec()), (0o640, 7, 9));
    assert_eq!(fs::metadata(bench.at("new")).unwrap().mode() & 0o7777, 0o700);
}

/// The group, the access control list, and the flags of the parent come with a directory that is made there.
#[test]
fn where_something_is_handed_down_it_is_made_at_its_name() {
    let bench = Directory::new();
    make_dir(bench.store(), "shared");
    assert!(bench.store().new_dir(&path("shared/new")).is_some());
    fs::set_permissions(bench.at("shared"), fs::Permissions::from_mode(0o2775)).unwrap();
    assert!(bench.store().new_dir(&path("shared/new")).is_none());
    fs::set_permissions(bench.at("shared"), fs::Permissions::from_mode(0o775)).unwrap();
    let shared = fs::File::open(bench.at("shared")).unwrap();
    // Version 2 of the format; one entry each for the owner, the group and others (acl(5)).
    let entry =
        |tag: u16, rights: u16| [tag.to_le_bytes(), rights.to_le_bytes(), [0xff; 2], [0xff; 2]].concat();
    let list = [2_u32.to_le_bytes().to_vec(), entry(1, 7), entry(4, 7), entry(0x20, 5)].concat();
    let name = c"system.posix_acl_default";
    rustix::fs::fsetxattr(&shared, name, &list, rustix::fs::XattrFlags::empty()).unwrap();
    assert!(bench.store().new_dir(&path("shared/new")).is_none());
    rustix::fs::fremovexattr(&shared, name).unwrap();
    // Not every file system has flags.
    if let Ok(flags) = rustix::fs::ioctl_getflags(&shared)
        && rustix::fs::ioctl_setflags(&shared, flags | rustix::fs::IFlags::NOATIME).is_ok()
    {
        assert!(bench.store().new_dir(&path("shared/new")).is_none());
        rustix::fs::ioctl_setflags(&shared, flags).unwrap();
    }
    assert!(bench.store().new_dir(&path("shared/new")).is_some());
}

/// What it will be in may change while it is filled.
#[test]
fn what_is_handed_down_when_it_is_named_counts() {
    let bench = Directory::new();
    make_dir(bench.store(), "shared");
    let dir = begin(&bench, "shared/new");
    let (inner, a) = (dir.new_dir(&path("shared/new/inner")).unwrap(), stage(&dir, "a", b"one"));
    fs::set_permissions(bench.at("shared"), fs::Permissions::from_mode(0o2775)).unwrap();
    dir.close(1);
    dir.publish().unwrap();
    inner.close(0);
    inner.publish().unwrap();
    for made in ["shared/new", "shared/new/inner"] {
        assert_eq!(fs::metadata(bench.at(made)).unwrap().mode() & 0o7777, 0o2700, "{made}");
    }
    publish(&bench, a, "shared/new/a", b"one").unwrap();
}

/// The store's own directory gets what the root hands down, and new directories would have it from there.
#[test]
fn nothing_comes_from_the_stages_own_directory() {
    let bench = Directory::new();
    make_dir(bench.store(), "plain");
    fs::set_permissions(bench.at(""), fs::Permissions::from_mode(0o2755)).unwrap();
    put(bench.store(), "first", b"makes the directory of the stages");
    assert!(bench.store().new_dir(&path("plain/new")).is_none());
}

#[test]
fn one_that_was_taken_away_takes_nothing_more() {
    let mut bench = Directory::new();
    let dir = begin(&bench, "new");
    let hidden = fs::read_dir(bench.stage("")).unwrap().map(|entry| entry.unwrap().path());
    let hidden: Vec<_> = hidden.filter(|path| path.extension().is_some_and(|end| end == "new")).collect();
    fs::remove_dir(&hidden[0]).unwrap();
    assert!(dir.clone().stage_small(b"a", b"", &Attributes::default()).unwrap().is_none());
    dir.close(0);
    dir.publish().unwrap();
    assert_eq!(names(bench.store(), ""), ["new"]);
    drop(dir);
    is_clean(&mut bench, &["new"]);
}

#[test]
fn what_a_crash_left_of_one_expires() {
    let bench = Directory::new();
    let live = begin(&bench, "live");
    let staged = stage(&live, "a", b"one");
    fs::create_dir(bench.stage("0abc.new")).unwrap();
    fs::write(bench.stage("0abc.new/any name"), "small").unwrap();
    fs::write(bench.stage("0abc.new/0.note"), "live").unwrap();
    assert_eq!(bench.store().expire_stages(Duration::from_secs(60)).unwrap(), 0);
    assert_eq!(bench.store().expire_stages(Duration::ZERO).unwrap(), 2);
    assert!(!bench.stage("0abc.new").exists());
    live.close(1);
    live.publish().unwrap();
    publish(&bench, staged, "live/a", b"one").unwrap();
}
