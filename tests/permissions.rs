//! Promise: what the system does not permit, on either side, is said for each entry, with where it is and on which side.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sft_testkit::{Ran, Tree, World, args};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
/// Nobody on any machine; the tests of root play with it, since nothing is denied to root.
const SOMEBODY: u32 = 54_321;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// A world in which neither end is root.
fn world() -> World {
    let mut world = World::new(SFT);
    if rustix::process::geteuid().is_root() {
        world.stop_server().done();
        world.client = world.client.clone().as_user(SOMEBODY);
        world.owner = world.owner.clone().as_user(SOMEBODY);
        for folder in [world.root().to_owned(), world.local("")] {
            std::os::unix::fs::chown(folder, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
        }
        world.start_server();
    }
    world
}

/// What was said but for the last line, sorted.
fn complaints(ran: &Ran) -> Vec<String> {
    let mut lines: Vec<String> =
        ran.err().lines().filter(|line| line.starts_with("sft: ")).map(Into::into).collect();
    lines.sort();
    lines
}

fn plant(at: &Path) {
    let mut tree = Tree::new(at);
    tree.file("closed", 5).file("large", 2 << 20).file("open", 6).dir("shut").file("shut/in", 1);
    tree.mode("closed", 0).mode("large", 0).mode("shut", 0);
}

#[test]
fn sources_that_may_not_be_read() {
    let world = world();
    plant(&world.local("src"));
    plant(&world.served("src"));
    let up = world.sft(args!["cp", world.local("src"), "srv:up"]).ended(1);
    let down = world.sft(args!["cp", "srv:src", world.local("down")]).ended(1);
    for ran in [up, down] {
        assert_eq!(
            complaints(&ran),
            [
                "sft: src/closed: the system denies permission to read it",
                "sft: src/large: the system denies permission to read it",
                "sft: src/shut: the system denies permission to read it",
            ]
        );
    }
    for at in [world.local("src"), world.served("src")] {
        chmod(&at.join("shut"), 0o700);
    }
    assert!(world.served("up/open").exists() && world.local("down/open").exists());
}

#[test]
fn places_that_may_not_be_written() {
    let world = world();
    Tree::new(world.local("src")).file("a", 5).file("large", 2 << 20);
    Tree::new(world.served("src")).file("a", 5).file("large", 2 << 20);
    Tree::new(world.served("theirs"));
    Tree::new(world.local("theirs"));
    Tree::new(world.served("shut"));
    chmod(&world.served("shut"), 0);
    chmod(&world.served("theirs"), 0o555);
    chmod(&world.local("theirs"), 0o555);
    let unfinished =
        "the system denies permission to keep unfinished files at the destination, in the folder .sft";
    let up = world.sft(args!["cp", world.local("src"), "srv:theirs/"]).ended(1);
    assert_eq!(
        complaints(&up),
        [
            "sft: 2 more entries failed, which lie below",
            "sft: theirs/src: the system denies permission to put it there",
        ]
    );
    let up = world.sft(args!["cp", world.local("src/a"), "srv:theirs/"]).ended(1);
    assert_eq!(complaints(&up), ["sft: theirs/a: the system denies permission to put it there"]);
    let down = world.sft(args!["cp", "-v", "srv:src", world.local("theirs/")]).ended(1);
    assert_eq!(
        complaints(&down),
        [
            format!("sft: src/a: {unfinished}"),
            format!("sft: src/large: {unfinished}"),
            "sft: src: the system denies permission to put it there".into(),
        ]
    );
    chmod(world.root(), 0o555);
    let up = world.sft(args!["cp", world.local("src/large"), "srv:"]).ended(1);
    chmod(world.root(), 0o755);
    assert_eq!(complaints(&up), ["sft: large: the system denies permission to put it there"]);
    let ran = world.sft(args!["ls", "srv:shut"]).ended(1);
    assert_eq!(complaints(&ran), ["sft: srv:shut: the system denies permission to read it"]);
}
