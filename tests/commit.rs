//! Promise: "done" means done. A name shows the old content or the new; what cannot be committed is told, entry by entry,
//! and the rest goes on.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sft_testkit::{Ran, Tree, World, args, assert_same_tree, snapshot};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(180);

/// What is in a folder, as `cp` takes it.
fn all_in(folder: &Path) -> OsString {
    format!("{}/.", folder.display()).into()
}

/// The failures that `--json` tells, as `path code`, sorted.
fn failures(ran: &Ran) -> Vec<String> {
    let of = |object: &serde_json::Value| {
        (object["event"] == "failed")
            .then(|| format!("{} {}", object["path"].as_str().unwrap(), object["code"].as_str().unwrap()))
    };
    let mut failures: Vec<String> = ran.objects().iter().filter_map(of).collect();
    failures.sort();
    failures
}

#[track_caller]
fn assert_nothing_staged(root: &Path) {
    let own = root.join(".sft");
    let left = if own.exists() { snapshot(&own) } else { Vec::new() };
    let stages: Vec<_> = left.iter().filter(|line| line.contains("\\tfile")).collect();
    assert!(stages.iter().all(|line| line.starts_with("./lock")), "{stages:#?}");
}

/// Does something to a file again and again while `body` runs.
fn while_disturbed<T>(disturb: impl Fn() + Send + Sync, body: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                disturb();
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let _over = Ending(&over);
        body()
    })
}

/// Ends what runs beside a test, whichever way the test ends.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn append(path: &Path) {
    fs::File::options().append(true).open(path).unwrap().write_all(b"more").unwrap();
}

#[test]
fn every_durability_copies_the_same() {
    let world = World::new(SFT);
    let mut tree = Tree::new(world.local("src"));
    tree.dir("d").file("d/small", 10).file("d/none", 0).file("large", 3 << 20).link("link", "large");
    for durability in ["none", "commit", "each"] {
        let (up, back) = (format!("srv:{durability}"), world.local(durability));
        world.sft(args!["cp", "--durability", durability, tree.path(), up]).done();
        assert_same_tree(tree.path(), &world.served(durability));
        world.sft(args!["cp", "--durability", durability, up, back]).done();
        assert_same_tree(tree.path(), &back);
    }
    assert_nothing_staged(world.root());
}

#[test]
fn create_only_keeps_what_is_there_and_says_so() {
    let world = World::new(SFT);
    for (from, to, source, there) in [
        (all_in(&world.local("up")), OsString::from("srv:up"), world.local("up"), world.served("up")),
        ("srv:down/.".into(), world.local("down").into(), world.served("down"), world.local("down")),
    ] {
        Tree::new(&source).file("a", 5).file("large", 2 << 20).file("new", 7).link("link", "a").dir("d");
        let mut before = Tree::new(&there);
        before.file("large", 1 << 20).file("a", 3).link("link", "elsewhere").dir("d");
        let kept = fs::read(there.join("large")).unwrap();
        let ran = world.sft(args!["cp", "-n", "--json", from, to]).ended(1);
        assert_eq!(failures(&ran), ["a already-exists", "large already-exists", "link already-exists"]);
        assert_eq!(fs::read(there.join("large")).unwrap(), kept);
        assert_eq!(there.join("a").metadata().unwrap().len(), 3);
        assert_eq!(fs::read_link(there.join("link")).unwrap(), Path::new("elsewhere"));
        assert_eq!(there.join("new").metadata().unwrap().len(), 7, "the rest goes on");
    }
    assert_nothing_staged(world.root());
}

#[test]
fn a_reader_sees_the_old_content_or_the_new() {
    let world = World::new(SFT);
    let sizes = [("small", 70_000), ("large", 3 << 20)];
    let letters = [b'a', b'b'];
    for letter in letters {
        let folder = world.local(char::from(letter).encode_utf8(&mut [0; 4]));
        fs::create_dir_all(&folder).unwrap();
        for (name, size) in sizes {
            fs::write(folder.join(name), vec![letter; size]).unwrap();
        }
    }
    let copy = |letter: u8| {
        let folder = world.local(char::from(letter).encode_utf8(&mut [0; 4]));
        // The times may be the same to what the file system keeps: contents decide.
        world.sft(args!["cp", "-c", all_in(&folder), "srv:"]).done();
    };
    copy(letters[0]);
    let (over, looks, changes) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for (name, size) in sizes {
            let (over, looks, changes, path) = (&over, &looks, &changes, world.served(name));
            scope.spawn(move || {
                let mut last = letters[0];
                while !over.load(Ordering::Relaxed) {
                    let content = fs::read(&path).expect("the name is always there");
                    assert_eq!(content.len(), size, "{name}");
                    let first = content[0];
                    assert!(letters.contains(&first) && content.iter().all(|&b| b == first), "{name}");
                    looks.fetch_add(1, Ordering::Relaxed);
                    changes.fetch_add(u64::from(first != last), Ordering::Relaxed);
                    last = first;
                }
            });
        }
        let _over = Ending(&over);
        for turn in 1..=12 {
            copy(letters[turn % 2]);
        }
    });
    let (looks, changes) = (looks.into_inner(), changes.into_inner());
    assert!(looks > 100 && changes >= 12, "{looks} looks saw {changes} changes");
    assert_nothing_staged(world.root());
}

#[test]
fn a_source_that_changes_meanwhile_is_told_and_not_committed() {
    let world = World::new(SFT);
    for (from, to, source, there) in [
        (all_in(&world.local("up")), OsString::from("srv:up/"), world.local("up"), world.served("up")),
        ("srv:down/.".into(), world.local("down/").into(), world.served("down"), world.local("down")),
    ] {
        Tree::new(&source).file("large", 40 << 20).file("log", 100).file("quiet", 100).file("still", 2 << 20);
        let disturb = || {
            append(&source.join("log"));
            append(&source.join("large"));
        };
        let ran = while_disturbed(disturb, || world.sft(args!["cp", "--json", from, to]).ended(1));
        assert_eq!(failures(&ran), ["large changed", "log changed"]);
        let names: Vec<String> = snapshot(&there).into_iter().filter(|line| line.contains("file")).collect();
        assert_eq!(names.len(), 2, "{names:#?}");
        for name in ["quiet", "still"] {
            assert!(fs::read(there.join(name)).unwrap() == fs::read(source.join(name)).unwrap(), "{name}");
        }
        // When it is quiet, it is copied.
        world.sft(args!["cp", all_in(&world.local("up")), "srv:up/"]).done();
    }
    assert_nothing_staged(world.root());
}

#[test]
fn a_source_that_is_overwritten_in_place_is_not_committed() {
    use std::os::unix::fs::FileExt;
    let world = World::new(SFT);
    Tree::new(world.local("")).file("f", 40 << 20);
    let file = fs::File::options().write(true).open(world.local("f")).unwrap();
    let disturb = || file.write_all_at(b"xyz", 1234).unwrap();
    let ran =
        while_disturbed(disturb, || world.sft(args!["cp", "--json", world.local("f"), "srv:f"]).ended(1));
    assert_eq!(failures(&ran), ["f changed"]);
    assert!(!world.served("f").exists());
    assert_nothing_staged(world.root());
}

#[test]
fn sources_that_vanish_after_they_were_found_are_told() {
    let world = World::new(SFT);
    let relay = world.relay("slow");
    relay.rate(4 << 20);
    let mut tree = Tree::new(world.local("src"));
    tree.dir("a").dir("z").file("z/small", 5).file("z/large", 2 << 20).file("z/stays", 9);
    for number in 0..40 {
        tree.file(format!("a/{number}"), 1 << 20);
    }
    let line = args!["cp", "--json", "--transport", "tcp", "--lanes", "1", tree.path(), "slow:dst"];
    let running = world.start(line);
    // What is in `a` goes before what is in `z`; all of it was found before the first of it was asked for.
    let begun = Instant::now();
    let has_begun = || fs::read_dir(world.served("dst/a")).is_ok_and(|mut names| names.next().is_some());
    while !has_begun() {
        assert!(begun.elapsed() < PATIENCE, "nothing is copied: {running:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
    fs::remove_file(world.local("src/z/small")).unwrap();
    fs::remove_file(world.local("src/z/large")).unwrap();
    relay.rate(0);
    let ran = running.wait(PATIENCE).ended(1);
    assert_eq!(failures(&ran), ["src/z/large vanished", "src/z/small vanished"]);
    assert_eq!(snapshot(&world.served("dst/a")).len(), 41);
    assert_eq!(fs::read_dir(world.served("dst/z")).unwrap().count(), 1);
    assert_nothing_staged(world.root());
}

#[test]
fn what_may_not_be_read_is_told_and_the_rest_is_copied() {
    let mut world = World::new(SFT);
    let mut tree = Tree::new(world.local("src"));
    tree.file("closed", 5).file("large", 2 << 20).file("open", 6).dir("shut").file("shut/in", 1);
    tree.mode("closed", 0).mode("large", 0).mode("shut", 0);
    if rustix::process::geteuid().is_root() {
        // Root may read anything; anybody else will do.
        world.client = world.client.clone().as_user(54_321);
    }
    let ran = world.sft(args!["cp", "--json", tree.path(), "srv:dst"]).ended(1);
    fs::set_permissions(world.local("src/shut"), PermissionsExt::from_mode(0o700)).unwrap();
    assert_eq!(failures(&ran), ["src/closed permission", "src/large permission", "src/shut permission"]);
    assert!(world.served("dst/open").exists());
    assert!(!world.served("dst/closed").exists() && !world.served("dst/large").exists());
    assert_nothing_staged(world.root());
}

#[test]
fn nothing_takes_the_place_of_another_kind() {
    let world = World::new(SFT);
    for (from, to, source, there) in [
        (all_in(&world.local("up")), OsString::from("srv:up"), world.local("up"), world.served("up")),
        ("srv:down/.".into(), world.local("down").into(), world.served("down"), world.local("down")),
    ] {
        let mut tree = Tree::new(&source);
        tree.file("file", 3)
            .file("large", 2 << 20)
            .link("link", "x")
            .dir("dir")
            .file("dir/in", 4)
            .file("ok", 5);
        let mut before = Tree::new(&there);
        before.dir("file").file("file/kept", 1).dir("large").dir("link").file("dir", 2);
        let ran = world.sft(args!["cp", "--json", from, to]).ended(1);
        let failed = failures(&ran);
        let expected =
            ["dir not-a-directory", "file is-a-directory", "large is-a-directory", "link is-a-directory"];
        for failure in expected {
            assert!(failed.iter().any(|line| line == failure), "{failure}: {ran:?}");
        }
        // What was to go into the directory that cannot be.
        assert!(failed.iter().all(|line| expected.contains(&line.as_str()) || line.starts_with("dir/in ")));
        assert_eq!(there.join("file/kept").metadata().unwrap().len(), 1);
        assert_eq!(there.join("dir").metadata().unwrap().len(), 2);
        assert_eq!(there.join("ok").metadata().unwrap().len(), 5);
    }
    assert_nothing_staged(world.root());
}

#[test]
fn special_files_of_the_server_are_skipped_and_told() {
    let world = World::new(SFT);
    Tree::new(world.served("src")).file("a", 3);
    assert!(Command::new("mkfifo").arg(world.served("src/pipe")).status().unwrap().success());
    let socket = std::os::unix::net::UnixListener::bind(world.served("src/socket")).unwrap();
    let ran = world.sft(args!["cp", "--json", "srv:src", world.local("dst")]).ended(1);
    drop(socket);
    assert_eq!(failures(&ran), ["src/pipe special-file", "src/socket special-file"]);
    assert_eq!(fs::read_dir(world.local("dst")).unwrap().count(), 1);
}
