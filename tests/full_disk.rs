//! Promise: a disk that is full costs nothing but what did not fit. What cannot fit is refused before it is sent; what runs
//! out of room on the way is told, entry by entry; the rest is whole, and nothing partial is left.
//!
//! Mounts small file systems, so it needs root; `SFT_TEST_NOT_ROOT=1` goes without it.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sft_testkit::{Mounted, Ran, Tree, World, args};
use tempfile::TempDir;

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const DISK: u64 = 24 << 20;

/// A small disk, and a world that serves it or copies to it. The disk goes last.
struct SmallDisk {
    world: World,
    root: PathBuf,
    disk: Mounted,
    _dir: TempDir,
}

impl SmallDisk {
    fn new(bytes: u64) -> Option<Self> {
        let dir = TempDir::with_prefix("sft-disk-").unwrap();
        let root = dir.path().join("disk");
        let disk = Mounted::tmpfs(&root, bytes)?;
        let world = World::serving(SFT, Some(&root), Vec::new());
        Some(Self { world, root, disk, _dir: dir })
    }

    /// Bytes on the disk that belong to no entry that anybody sees; a few pages are the file system's own.
    fn hidden(&self, seen: u64) -> u64 {
        (DISK - self.disk.free()).saturating_sub(seen)
    }
}

/// The failures that `--json` tells, as path and code.
fn failures(ran: &Ran) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let objects = ran.objects();
    let failed = objects.iter().filter(|object| object["event"] == "failed");
    failed.map(|object| (text(&object["path"]), text(&object["code"]))).collect()
}

fn moved(ran: &Ran) -> u64 {
    ran.objects().last().unwrap()["bytes_moved"].as_u64().unwrap()
}

/// Panics unless each file in `copies` is one of `sources` and whole; their number and bytes.
#[track_caller]
fn whole_files(sources: &Path, copies: &Path) -> (usize, u64) {
    let (mut count, mut bytes) = (0, 0);
    for entry in fs::read_dir(copies).unwrap() {
        let name = entry.unwrap().file_name();
        if name == ".sft" {
            continue;
        }
        let content = fs::read(copies.join(&name)).unwrap();
        assert!(content == fs::read(sources.join(&name)).unwrap(), "{name:?} is not whole");
        count += 1;
        bytes += (content.len() as u64).next_multiple_of(4096);
    }
    (count, bytes)
}

#[test]
fn what_cannot_fit_is_refused_before_it_is_sent() {
    let Some(small) = SmallDisk::new(DISK) else { return };
    let world = &small.world;
    Tree::new(world.local("src")).file("large", 60 << 20).file("small", 5).file("fits", 3 << 20);
    let ran = world.sft(args!["cp", "--json", world.local("src"), "srv:dst"]).ended(1);
    assert_eq!(failures(&ran), [("src/large".into(), "no-space".into())]);
    assert!(moved(&ran) < 4 << 20, "{ran:?}");
    let (count, bytes) = whole_files(&world.local("src"), &world.served("dst"));
    assert_eq!(count, 2);
    assert!(small.hidden(bytes) < 256 << 10, "{} bytes are hidden", small.hidden(bytes));
    let said = world.sft(args!["cp", world.local("src/large"), "srv:"]).ended(1);
    assert!(said.err().contains("large: ") && said.err().contains("no space"), "{said:?}");
}

#[test]
fn a_file_of_holes_that_fits_is_not_refused() {
    let Some(small) = SmallDisk::new(DISK) else { return };
    let world = &small.world;
    Tree::new(world.local("")).sparse("holes", 2 << 30);
    world.sft(args!["cp", world.local("holes"), "srv:"]).done();
    let copy = fs::File::open(world.served("holes")).unwrap();
    let source = fs::File::open(world.local("holes")).unwrap();
    assert_eq!(copy.metadata().unwrap().len(), 2 << 30);
    for at in [0, 1 << 30, (2 << 30) - 4096] {
        let (mut a, mut b) = ([0; 4096], [1; 4096]);
        copy.read_exact_at(&mut a, at).unwrap();
        source.read_exact_at(&mut b, at).unwrap();
        assert_eq!(a, b);
    }
}

#[test]
fn many_files_that_fill_the_disk_are_whole_or_told() {
    let Some(small) = SmallDisk::new(DISK) else { return };
    let world = &small.world;
    let mut tree = Tree::new(world.local("src"));
    for number in 0..60 {
        tree.file(format!("{number}"), 700_000);
    }
    let ran = world.sft(args!["cp", "--json", world.local("src"), "srv:dst"]).ended(1);
    let failed = failures(&ran);
    let (count, bytes) = whole_files(tree.path(), &world.served("dst"));
    assert!(failed.iter().all(|(_, code)| code == "no-space"), "{failed:?}");
    assert_eq!(count + failed.len(), 60, "each is there or told");
    // A file on its way takes room that it gives back: not every byte can be used.
    assert!(bytes > DISK / 2, "only {bytes} bytes were used");
    assert!(small.hidden(bytes) < 256 << 10, "{} bytes are hidden", small.hidden(bytes));
    // Again, and nothing grows.
    world.sft(args!["cp", world.local("src"), "srv:dst"]).ended(1);
    // With room for the rest, the rest comes.
    for number in 0..60 {
        let (here, there) = (tree.path().join(number.to_string()), world.served(&format!("dst/{number}")));
        let is_there = there.exists();
        if is_there || number >= 25 {
            fs::remove_file(here).unwrap();
        }
        if is_there && number < 25 {
            fs::remove_file(there).unwrap();
        }
    }
    let left = fs::read_dir(tree.path()).unwrap().count();
    world.sft(args!["cp", all_in(tree.path()), "srv:rest"]).done();
    assert_eq!(whole_files(tree.path(), &world.served("rest")).0, left);
}

fn all_in(folder: &Path) -> String {
    format!("{}/.", folder.display())
}

#[test]
fn large_files_that_run_out_of_room_on_the_way_leave_nothing() {
    let Some(small) = SmallDisk::new(DISK) else { return };
    let world = &small.world;
    let mut tree = Tree::new(world.local("src"));
    // Each fits alone, and all are begun.
    tree.file("a", 15 << 20).file("b", 15 << 20).file("c", 15 << 20).file("small", 100);
    let ran = world.sft(args!["cp", "--json", world.local("src"), "srv:dst"]).ended(1);
    let failed = failures(&ran);
    assert!(failed.iter().all(|(_, code)| code == "no-space"), "{failed:?}");
    let (count, bytes) = whole_files(tree.path(), &world.served("dst"));
    assert_eq!(count + failed.len(), 4, "{ran:?}");
    assert!(small.hidden(bytes) < 256 << 10, "{} bytes are hidden", small.hidden(bytes));
    // One at a time, one more fits at most, and the server goes on.
    fs::remove_dir_all(world.served("dst")).unwrap();
    world.sft(args!["cp", world.local("src/a"), "srv:"]).done();
    world.sft(args!["cp", world.local("src/b"), "srv:"]).ended(1);
    fs::remove_file(world.served("a")).unwrap();
    world.sft(args!["cp", world.local("src/b"), "srv:"]).done();
    assert_eq!(whole_files(tree.path(), &small.root).0, 1);
}

#[test]
fn a_download_that_does_not_fit_is_told_as_well() {
    let Some(small) = SmallDisk::new(DISK) else { return };
    let world = World::new(SFT);
    let mut tree = Tree::new(world.served("src"));
    tree.file("large", 60 << 20);
    for number in 0..60 {
        tree.file(format!("{number}"), 700_000);
    }
    let to = small.root.join("dst");
    let ran = world.sft(args!["cp", "--json", "srv:src", to]).ended(1);
    let failed = failures(&ran);
    assert!(failed.contains(&("src/large".into(), "no-space".into())), "{failed:?}");
    assert!(failed.iter().all(|(_, code)| code == "no-space"), "{failed:?}");
    let (count, bytes) = whole_files(tree.path(), &to);
    assert_eq!(count + failed.len(), 61);
    assert!(bytes > DISK / 2, "only {bytes} bytes were used");
    assert!(small.hidden(bytes) < 256 << 10, "{} bytes are hidden", small.hidden(bytes));
}
