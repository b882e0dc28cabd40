//! Promise: a path is data. Every verb takes any name a file system can hold, byte for byte and however deep, and none
//! that leads elsewhere; whatever links are swapped in meanwhile, nothing outside is read, written or removed.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use sft_base::Digest;
use sft_testkit::{Ran, Tree, World, args, remove_tree, snapshot};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const TRANSPORTS: [&str; 2] = ["quic", "tcp"];

/// A name on the server.
fn remote(path: &[u8]) -> OsString {
    OsString::from_vec([b"srv:", path].concat())
}

/// The client, over one transport.
struct Over<'a>(&'a World, &'static str);

impl Over<'_> {
    fn sft(&self, mut line: Vec<OsString>) -> Ran {
        line.extend(args!["--transport", self.1]);
        self.0.sft(line)
    }
}

/// Names that have been trouble: the longest, not UTF-8, with characters that control terminals, and pairs that differ in
/// case or in normalisation alone.
fn odd_names() -> Vec<Vec<u8>> {
    let names: [&[u8]; 9] = [
        &[b'n'; 255],
        b"not\xff\xfeutf8",
        b"line\nfeed\x1b[31m",
        b"Case",
        b"case",
        "caf\u{e9}".as_bytes(),
        "cafe\u{301}".as_bytes(),
        b" blank ",
        b"...",
    ];
    names.map(<[u8]>::to_vec).into()
}

#[test]
fn every_verb_keeps_names_byte_for_byte() {
    let world = World::new(SFT);
    for transport in TRANSPORTS {
        let over = Over(&world, transport);
        let root = world.served(transport);
        fs::create_dir(&root).unwrap();
        let at = |name: &[u8], more: &[u8]| remote(&[transport.as_bytes(), b"/", name, more].concat());
        for (number, name) in odd_names().iter().enumerate() {
            let content = format!("this is {number}");
            fs::write(world.local("file"), &content).unwrap();
            let (dir, own) = (root.join(OsStr::from_bytes(name)), OsStr::from_bytes(name));
            over.sft(args!["mkdir", at(name, b"")]).done();
            assert!(dir.is_dir(), "{name:?}");
            let file = at(name, &[b"/", &name[..]].concat());
            over.sft(args!["cp", world.local("file"), file]).done();
            assert_eq!(fs::read(dir.join(own)).unwrap(), content.as_bytes());
            assert_eq!(over.sft(args!["ls", "-a", at(name, b"")]).done().stdout, [&name[..], b"\n"].concat());
            assert_eq!(over.sft(args!["cat", file]).done().out(), content);
            assert!(over.sft(args!["stat", file]).done().out().contains(&format!("size: {}", content.len())));
            let digest = Digest::of(content.as_bytes()).to_string();
            assert!(over.sft(args!["hash", file]).done().out().contains(&digest), "{name:?}");
            over.sft(args!["mv", file, at(name, b"/moved")]).done();
            assert!(dir.join("moved").exists() && !dir.join(own).exists(), "{name:?}");
            over.sft(args!["mv", at(name, b"/moved"), file]).done();
            let here = world.local(transport).join(number.to_string());
            fs::create_dir_all(&here).unwrap();
            over.sft(args!["cp", file, format!("{}/", here.display())]).done();
            assert_eq!(fs::read(here.join(own)).unwrap(), content.as_bytes());
        }
        // All were there at once, each with its own content.
        assert_eq!(fs::read_dir(&root).unwrap().count(), odd_names().len());
        for (number, name) in odd_names().iter().enumerate() {
            let content = over.sft(args!["cat", at(name, &[b"/", &name[..]].concat())]).done().out();
            assert_eq!(content, format!("this is {number}"));
            over.sft(args!["rm", "-r", at(name, b"")]).done();
            assert_eq!(fs::read_dir(&root).unwrap().count(), odd_names().len() - number - 1);
        }
    }
}

#[test]
fn no_verb_takes_a_path_that_leads_elsewhere() {
    let world = World::new(SFT);
    Tree::new(world.root()).dir("d").file("d/f", 5);
    let beside = world.root().parent().unwrap().join("secret");
    fs::write(&beside, "secret").unwrap();
    fs::write(world.local("file"), "x").unwrap();
    let before = snapshot(world.root());
    let long = "n".repeat(256);
    let deep = "d/".repeat(8193);
    let hazards = ["../secret", "d/../../secret", "..", "d/..", &long, &deep];
    for (number, hazard) in hazards.iter().enumerate() {
        let name = remote(hazard.as_bytes());
        let over = Over(&world, TRANSPORTS[number % 2]);
        for line in [
            args!["ls", name],
            args!["stat", name],
            args!["cat", name],
            args!["hash", name],
            args!["mkdir", name],
            args!["mkdir", "-p", name],
            args!["rm", name],
            args!["rm", "-rf", name],
            args!["mv", name, "srv:there"],
            args!["mv", "srv:d/f", name],
            args!["cp", name, world.local("here")],
            args!["cp", world.local("file"), name],
        ] {
            let ran = over.sft(line).ended(2);
            assert!(ran.out().is_empty() && ran.err().contains("not a path on a host"), "{ran:?}");
        }
    }
    // What can be typed in a link alone.
    for escaped in ["%00", "d%2F..%2F..%2Fsecret", "%2e%2e/secret"] {
        let name = format!("sft://127.0.0.1:{}/{escaped}", world.port());
        let ran = world.sft(args!["cat", name]);
        assert!(matches!(ran.code, Some(1 | 2)) && ran.out().is_empty(), "{ran:?}");
    }
    // An absolute path begins at the root of what is served, and nowhere else.
    assert_eq!(world.sft(args!["ls", "srv:/d"]).done().out(), "f\n");
    world.sft(args!["cat", OsString::from(format!("srv:{}", beside.display()))]).ended(1);
    assert_eq!(snapshot(world.root()), before);
    assert_eq!(fs::read(&beside).unwrap(), b"secret");
    assert!(!world.local("here").exists());
}

#[test]
fn every_verb_works_4000_levels_down() {
    let world = World::new(SFT);
    Tree::new(world.root()).deep("deep", 4000);
    fs::write(world.local("file"), "so deep").unwrap();
    let bottom = |name: &str| remote(format!("deep/{}{name}", "d/".repeat(3999)).as_bytes());
    for transport in TRANSPORTS {
        let over = Over(&world, transport);
        assert_eq!(over.sft(args!["ls", bottom("")]).done().out(), "bottom\n");
        assert!(over.sft(args!["stat", bottom("bottom")]).done().out().contains("size: 7"));
        assert_eq!(over.sft(args!["cat", bottom("bottom")]).done().out(), "so deep");
        let digest = Digest::of(b"so deep").to_string();
        assert!(over.sft(args!["hash", bottom("bottom")]).done().out().starts_with(&digest));
        over.sft(args!["mkdir", "-p", bottom("new/newer")]).done();
        over.sft(args!["mv", bottom("bottom"), bottom("new/newer/moved")]).done();
        over.sft(args!["cp", bottom("new"), world.local(transport)]).done();
        assert_eq!(fs::read(world.local(transport).join("newer/moved")).unwrap(), b"so deep");
        over.sft(args!["rm", "-r", bottom("new")]).done();
        over.sft(args!["cp", world.local("file"), bottom("bottom")]).done();
    }
    let over = Over(&world, "tcp");
    over.sft(args!["mv", "srv:deep", "srv:moved"]).done();
    over.sft(args!["rm", "-r", "srv:moved"]).done();
    assert_eq!(
        fs::read_dir(world.root()).unwrap().filter(|e| e.as_ref().unwrap().file_name() != ".sft").count(),
        0
    );
}

/// A directory in the place of which a link to the outside stands, again and again, while `body` runs.
fn while_swapped<T>(dir: &Path, outside: &Path, body: impl FnOnce() -> T) -> T {
    let aside = dir.with_file_name("aside");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                fs::rename(dir, &aside).unwrap();
                symlink(outside, dir).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(1));
                fs::remove_file(dir).unwrap();
                fs::rename(&aside, dir).unwrap();
                std::thread::sleep(std::time::Duration::from_micros(300));
            }
        });
        let result = body();
        over.store(true, Ordering::Relaxed);
        result
    })
}

const SECRET: &[u8] = b"this is secret";

/// A folder outside, with names that are inside as well.
fn outside(world: &World) -> PathBuf {
    let outside = world.local("outside");
    fs::create_dir(&outside).unwrap();
    for number in 0..2000 {
        fs::write(outside.join(format!("{number:07}")), SECRET).unwrap();
    }
    outside
}

#[track_caller]
fn assert_nothing_secret(copy: &Path) {
    let mut dirs = vec![copy.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => dirs.push(entry.path()),
                kind if kind.is_file() => assert_ne!(fs::read(entry.path()).unwrap(), SECRET, "{entry:?}"),
                _ => {}
            }
        }
    }
}

/// The same folder as source and as destination, on either end.
#[test]
fn links_swapped_in_under_a_copy_lead_nowhere_on_either_end() {
    let world = World::new(SFT);
    let outside = outside(&world);
    let before = snapshot(&outside);
    for (here, there) in
        [(world.local("src"), world.served("src")), (world.served("src"), world.local("src"))]
    {
        let up = here.starts_with(world.local(""));
        let (from, to) =
            if up { (here.clone().into(), remote(b"")) } else { (remote(b"src"), world.local("").into()) };
        for transport in TRANSPORTS {
            for swapped in [&here, &there] {
                for tree in [&here, &there] {
                    remove_tree(tree);
                }
                Tree::new(&here).many("d", 2000, 300);
                fs::create_dir_all(there.join("d/0001")).unwrap();
                let over = Over(&world, transport);
                let ran = while_swapped(&swapped.join("d/0001"), &outside, || {
                    over.sft(args!["cp", "-c", "--durability", "none", from, to])
                });
                assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
                assert_nothing_secret(&there);
                assert!(snapshot(&outside) == before, "something outside was changed: {ran:?}");
            }
        }
    }
}
