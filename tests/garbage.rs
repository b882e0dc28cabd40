//! Promise: whatever stands in a file that `sft` finds in a home, it is told of or passed over; nothing falls over, and nobody is
//! let in by it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sft_testkit::{Dice, Ran, Tree, World, args};

const SFT: &str = env!("CARGO_BIN_EXE_sft");

/// The same with a few changes, or something else altogether.
fn spoiled(good: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = good.to_vec();
    match dice.below(8) {
        0 => return Vec::new(),
        1 => return dice.bytes(300),
        2 => bytes.extend(good),
        _ => {}
    }
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() as u64 + 1) as usize;
        match dice.below(4) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            2 => bytes.insert(at, *b"\"\n[]=#\0\xff\x1b%".get(dice.below(10) as usize).unwrap_or(&b' ')),
            _ => {
                let end = (at + 20).min(bytes.len());
                let some = bytes[at..end].to_vec();
                bytes.splice(at..at, some);
            }
        }
    }
    bytes
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

/// Panics unless it ended in one of the ways that are documented, with words for people.
#[track_caller]
fn assert_composed(ran: &Ran, found: &[u8]) {
    let composed = matches!(ran.code, Some(0..=6)) && !ran.err().contains("panicked");
    assert!(composed, "with {}: {ran:?}", found.escape_ascii());
    assert!(!ran.err().chars().any(|c| c.is_control() && !"\n\t".contains(c)), "{ran:?}");
    assert!(ran.code == Some(0) || !ran.err().is_empty(), "nothing is said: {ran:?}");
}

#[test]
fn files_of_the_client() {
    let mut dice = Dice::thrown();
    let world = World::new(SFT);
    Tree::new(world.root()).file("f", 3);
    for file in [
        world.client.config().join("config.toml"),
        world.client.config().join("trusted"),
        world.client.key(),
        world.client.home().join(".ssh/id_ed25519.pub"),
    ] {
        let good = fs::read(&file).unwrap();
        for _ in 0..15 {
            let bad = spoiled(&good, &mut dice);
            write(&file, &bad);
            assert_composed(&world.sft(args!["ls", "--wait", "0", "srv:"]), &bad);
            assert_composed(&world.sft(args!["key", "show"]), &bad);
            assert_composed(&world.sft(args!["trust", "list"]), &bad);
        }
        write(&file, &good);
    }
    assert_eq!(world.sft(args!["ls", "srv:"]).done().out(), "f\n");
}

#[test]
fn notes_of_copies_under_way() {
    let mut dice = Dice::thrown();
    let world = World::new(SFT);
    Tree::new(world.local("tree")).many("d", 20, 100);
    let notes = world.client.state().join("under-way");
    let relay = world.relay("slow");
    let line = args!["cp", world.local("tree"), "slow:new"];
    // A copy that is cut short leaves a note.
    Tree::new(world.local("tree")).file("large", 8 << 20);
    relay.rate(1 << 20);
    let mut running = world.start(line.clone());
    while fs::read_dir(&notes).map_or(0, Iterator::count) == 0 || !world.served("new").exists() {
        assert!(!running.is_over(), "{}", running.stderr_so_far());
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    running.kill();
    running.ended();
    relay.rate(0);
    let left: Vec<_> = fs::read_dir(&notes).unwrap().map(|note| note.unwrap().path()).collect();
    let good: Vec<Vec<u8>> = left.iter().map(|note| fs::read(note).unwrap()).collect();
    for _ in 0..15 {
        for (note, good) in left.iter().zip(&good) {
            write(note, &spoiled(good, &mut dice));
        }
        assert_composed(&world.sft(line.clone()), &good[0]);
    }
}

#[test]
fn files_of_the_server() {
    let mut dice = Dice::thrown();
    let mut world = World::new(SFT);
    Tree::new(world.root()).file("f", 3);
    let stranger = world.stranger("stranger");
    let guest = world.newcomer("guest");
    let invited = args!["invite", "-q", "--host", "127.0.0.1", "--uses", "9"];
    let link = world.owner.sft(invited).done().out().trim_end().to_owned();
    guest.sft(args!["join", link]).done();
    let keys = world.owner.home().join(".ssh/authorized_keys");
    for file in [keys, world.owner.state().join("grants.toml")] {
        let good = fs::read(&file).unwrap();
        for _ in 0..15 {
            let bad = spoiled(&good, &mut dice);
            write(&file, &bad);
            let seen = world.sft(args!["ls", "srv:"]);
            assert_composed(&seen, &bad);
            assert!(matches!(seen.code, Some(0 | 4)), "{seen:?}");
            stranger.sft(args!["ls", "srv:"]).ended(4);
            assert_composed(&world.owner.sft(args!["invite", "-q", "--host", "127.0.0.1"]), &bad);
            assert!(!world.server().is_over(), "with {}", bad.escape_ascii());
        }
        write(&file, &good);
    }
    assert_eq!(world.sft(args!["ls", "srv:"]).done().out(), "f\n");
}
