//! Promise: what is copied there and back is the same, entry by entry, whatever a file system can hold, over either
//! transport; and it lands where `cp -r` would put it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use sft_testkit::{Tree, World, args, assert_same_tree, assert_same_tree_by_find, remove_tree, snapshot};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const TRANSPORTS: [&str; 3] = ["quic", "tcp", "auto"];

/// Up under `name`, down beside the source, and all three the same.
#[track_caller]
fn there_and_back(world: &World, source: &Path, name: &str, transport: &str, same: fn(&Path, &Path)) {
    let up = format!("srv:{name}");
    world.sft(args!["cp", "--transport", transport, source, up]).done();
    same(source, &world.served(name));
    let back = world.local(&format!("back-{name}"));
    world.sft(args!["cp", "--transport", transport, "--keep-setid", up, back]).done();
    same(source, &back);
}

#[test]
fn odd_entries_come_through_unchanged_on_every_transport() {
    let world = World::new(SFT);
    let mut tree = Tree::new(world.local("odd"));
    tree.odd_entries().odd_names().odd_sizes();
    for transport in TRANSPORTS {
        there_and_back(&world, tree.path(), transport, transport, assert_same_tree);
    }
}

#[test]
fn a_tree_of_4000_levels_comes_through() {
    let world = World::new(SFT);
    let mut tree = Tree::new(world.local("deep"));
    tree.deep("down", 4000);
    there_and_back(&world, tree.path(), "deep", "auto", assert_same_tree_by_find);
    world.sft(args!["rm", "-r", "srv:deep"]).done();
    assert!(!world.served("deep").exists());
}

#[test]
fn a_sparse_file_comes_through_and_stays_sparse() {
    use std::os::unix::fs::MetadataExt;
    let world = World::new(SFT);
    let mut tree = Tree::new(world.local("holes"));
    tree.sparse("file", 300 << 20);
    there_and_back(&world, tree.path(), "holes", "auto", assert_same_tree);
    for copy in [world.served("holes/file"), world.local("back-holes/file")] {
        let blocks = copy.metadata().unwrap().blocks() * 512;
        assert!(blocks < 30 << 20, "{} takes {blocks} bytes on disk", copy.display());
    }
}

/// Parts of the machine's own system: thousands of files, hard links, links in all directions.
#[test]
fn real_trees_come_through() {
    let world = World::new(SFT);
    let candidates = [
        "/usr/share/doc",
        "/usr/share/perl",
        "/usr/share/zoneinfo",
        "/usr/share/terminfo",
        "/usr/lib/python3",
        "/usr/lib/gcc",
        "/usr/lib/git-core",
        "/usr/lib/ssl",
        "/usr/lib/systemd",
    ];
    let there: Vec<&Path> = candidates.iter().map(Path::new).filter(|path| path.is_dir()).collect();
    assert!(there.len() >= 2, "no real tree is on this machine");
    let mut entries = 0;
    for (number, source) in there.into_iter().enumerate() {
        // What the system changes while it is copied proves nothing.
        let copy = world.local(&format!("real-{number}"));
        assert!(Command::new("cp").arg("-a").arg(source).arg(&copy).status().unwrap().success());
        entries += snapshot(&copy).len();
        there_and_back(&world, &copy, &format!("real-{number}"), TRANSPORTS[number % 3], assert_same_tree);
        for path in
            [copy, world.served(&format!("real-{number}")), world.local(&format!("back-real-{number}"))]
        {
            remove_tree(&path);
        }
    }
    assert!(entries > 1000, "only {entries} entries were copied");
}

#[test]
fn set_id_bits_are_left_out_of_a_download_unless_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new(SFT);
    let mut tree = Tree::new(world.root());
    tree.file("tool", 100).mode("tool", 0o4755);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    let said = world.sft(args!["cp", "srv:tool", world.local("plain")]).done();
    assert_eq!(mode(&world.local("plain")), 0o755);
    assert!(said.err().contains("--keep-setid"), "{said:?}");
    let told = world.sft(args!["cp", "--json", "srv:tool", world.local("told")]).done().objects();
    let unapplied = told.iter().find(|object| object["event"] == "unapplied").unwrap();
    assert_eq!(unapplied["text"], "the set-user-ID and set-group-ID bits are not taken over");
    world.sft(args!["cp", "--keep-setid", "srv:tool", world.local("kept")]).done();
    assert_eq!(mode(&world.local("kept")), 0o4755);
}

#[test]
fn special_files_are_reported_and_the_rest_is_copied() {
    let world = World::new(SFT);
    let mut tree = Tree::new(world.local("with-special"));
    tree.file("a", 10).file("z", 10);
    assert!(Command::new("mkfifo").arg(tree.path().join("pipe")).status().unwrap().success());
    let socket = std::os::unix::net::UnixListener::bind(tree.path().join("socket")).unwrap();
    let ran = world.sft(args!["cp", tree.path(), "srv:up"]).ended(1);
    assert!(
        ran.err().contains("with-special/pipe: ") && ran.err().contains("with-special/socket: "),
        "{ran:?}"
    );
    drop(socket);
    let mut names: Vec<_> =
        std::fs::read_dir(world.served("up")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a", "z"]);
}

#[test]
fn a_second_copy_moves_nothing() {
    let world = World::new(SFT);
    let mut tree = Tree::new(world.local("t"));
    tree.odd_entries().odd_sizes();
    for way in [args!["cp", tree.path(), "srv:"], args!["cp", "--keep-setid", "srv:t", world.local("back/")]]
    {
        world.sft(way.clone()).done();
        let mut again = way;
        again.push("--json".into());
        let result = world.sft(again).done().objects().pop().unwrap();
        assert_eq!((&result["event"], &result["bytes_moved"]), (&"result".into(), &0.into()), "{result}");
        assert_eq!(result["failed"], 0);
    }
}

#[test]
fn checksum_finds_what_size_and_time_hide() {
    let world = World::new(SFT);
    let mut tree = Tree::new(world.local("t"));
    tree.file("f", 5000).time("f", 1_000_000_000, 0).file("large", 3 << 20).time("large", 1_000_000_000, 0);
    world.sft(args!["cp", tree.path(), "srv:"]).done();
    for name in ["f", "large"] {
        let mut content = std::fs::read(tree.path().join(name)).unwrap();
        content[100] ^= 1;
        std::fs::write(tree.path().join(name), content).unwrap();
        tree.time(name, 1_000_000_000, 0);
    }
    world.sft(args!["cp", tree.path(), "srv:"]).done();
    let same = |name| std::fs::read(world.served(name)).unwrap() == std::fs::read(world.local(name)).unwrap();
    assert!(!same("t/f"), "by size and time it is the same");
    world.sft(args!["cp", "--checksum", tree.path(), "srv:"]).done();
    assert!(same("t/f") && same("t/large"));
}

/// Each line is a copy with `cp -r`, done here in a folder and with `sft` both ways: what stands where must agree.
#[test]
fn what_lands_where_is_as_with_cp() {
    let cases: &[&[&str]] = &[
        &["f", "new"],
        &["f", "dir"],
        &["f", "dir/"],
        &["f", "file"],
        &["d", "new"],
        &["d", "dir"],
        &["d/", "dir"],
        &["d/.", "dir"],
        &["d/.", "new"],
        &["f", "d", "dir"],
        &["f", "d/e", "dir/"],
        &["d/e", "dir"],
        &["link", "new"],
        &["link", "dir"],
    ];
    let world = World::new(SFT);
    let lay = |at: &Path| {
        remove_tree(at);
        let mut tree = Tree::new(at);
        tree.file("f", 3).dir("d/e").file("d/g", 4).file("d/e/h", 5).link("link", "f");
        tree
    };
    let destination = |at: &Path| {
        remove_tree(at);
        Tree::new(at).dir("dir").file("dir/old", 1).file("file", 2);
    };
    let source = lay(&world.local("src"));
    let source_there = lay(&world.served("src"));
    let names = |at: &Path| -> Vec<String> {
        snapshot(at).iter().map(|line| line.split_once("\\t").unwrap().0.to_owned()).collect()
    };
    let in_folder = |folder: &Path, name: &str| -> OsString { format!("{}/{name}", folder.display()).into() };
    for case in cases {
        let (to, from) = case.split_last().unwrap();
        let (cp, up, down) = (world.local("cp"), world.served("up"), world.local("down"));
        [&cp, &up, &down].into_iter().for_each(|folder| destination(folder));
        let mut command = Command::new("cp");
        command
            .arg("-r")
            .args(from.iter().map(|name| in_folder(source.path(), name)))
            .arg(in_folder(&cp, to));
        assert!(command.status().unwrap().success(), "{case:?}");

        let mut line = args!["cp"];
        line.extend(from.iter().map(|name| in_folder(source.path(), name)));
        line.push(format!("srv:up/{to}").into());
        world.sft(line).done();
        assert_eq!(names(&up), names(&cp), "up: {case:?}");

        let mut line = args!["cp"];
        line.extend(from.iter().map(|name| OsString::from(format!("srv:src/{name}"))));
        line.push(in_folder(&down, to));
        world.sft(line).done();
        assert_eq!(names(&down), names(&cp), "down: {case:?}");
    }
    drop(source_there);
}

#[test]
fn what_stands_in_the_way_is_told_and_stays() {
    let world = World::new(SFT);
    let mut tree = Tree::new(world.local("src"));
    tree.file("a", 3).dir("b").file("b/in", 4).file("c", 5);
    let mut there = Tree::new(world.served("dst"));
    there.dir("a").file("a/kept", 1).file("b", 2);
    let from = OsString::from(format!("{}/.", tree.path().display()));
    let ran = world.sft(args!["cp", from, "srv:dst"]).ended(1);
    assert!(ran.err().contains("a: ") && ran.err().contains("b: "), "{ran:?}");
    assert!(world.served("dst/a/kept").is_file() && world.served("dst/b").is_file());
    assert_eq!(world.served("dst/c").metadata().unwrap().len(), 5, "the rest is copied");
}

#[test]
fn names_that_are_not_utf8_can_be_typed_both_ways() {
    let world = World::new(SFT);
    let name = std::ffi::OsStr::from_bytes(b"n\xffme");
    Tree::new(world.local("")).file(name, 9);
    let mut remote = OsString::from("srv:sub\u{1}");
    remote.push(std::ffi::OsStr::from_bytes(b"\xfe"));
    world.sft(args!["cp", world.local("").join(name), remote]).done();
    let back = world.local("back");
    world.sft(args!["cp", remote, back]).done();
    assert_eq!(std::fs::read(back).unwrap(), std::fs::read(world.local("").join(name)).unwrap());
}

#[test]
fn the_stores_own_folder_is_seen_by_nobody() {
    let world = World::new(SFT);
    std::fs::create_dir_all(world.served(".sft/stage")).unwrap();
    std::fs::write(world.served(".sft/secret"), "x").unwrap();
    std::fs::write(world.served("open"), "y").unwrap();
    world.sft(args!["cp", "srv:", world.local("all")]).done();
    assert_eq!(snapshot(&world.local("all")).len(), 2, "the folder and `open`");
    let listed = world.sft(args!["ls", "-a", "srv:"]).done();
    assert_eq!(listed.out(), "open\n");
    for verb in [args!["cat", "srv:.sft/secret"], args!["rm", "-r", "srv:.sft"], args!["ls", "srv:.sft"]] {
        assert_ne!(world.sft(verb).code, Some(0));
    }
    Tree::new(world.local("")).dir("sub/.sft").file("sub/.sft/x", 1).file("y", 1);
    let ran = world.sft(args!["cp", world.local("y"), "srv:.sft"]).ended(1);
    assert!(ran.err().contains("not allowed"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(world.served(".sft/secret")).unwrap(), "x");
    world.sft(args!["cp", world.local("sub"), "srv:"]).done();
    assert!(world.served("sub/.sft/x").is_file(), "further down it is a name like any other");
}
