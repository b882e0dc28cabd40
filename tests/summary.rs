//! Promise: the last line of a copy says what this command did: over all the connections it took, each entry once, and no
//! bytes that did not arrive; and when no connection comes up again, it says so in time.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use sft_testkit::{Dice, Fate, Running, Tree, World, args};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(180);
const MIB: u64 = 1 << 20;

fn until(running: &mut Running, is_so: impl Fn(&Running) -> bool) {
    let begun = Instant::now();
    while !is_so(running) {
        let waits = !running.is_over() && begun.elapsed() < PATIENCE;
        assert!(waits, "{}{}", running.stdout_so_far(), running.stderr_so_far());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The last of the events of that name so far.
fn last(running: &Running, event: &str) -> Option<Value> {
    let said = running.stdout_so_far();
    // The last line may not be whole yet.
    let mut objects = said.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    objects.find(|object| object["event"] == event)
}

fn number(object: &Value, name: &str) -> u64 {
    object[name].as_u64().unwrap_or_else(|| panic!("{name} is no number in {object}"))
}

#[test]
fn every_entry_is_counted_once() {
    let world = World::new(SFT);
    let mut tree = Tree::new(world.local("t"));
    tree.dir("d").dir("d/e").file("d/e/f", 10).file("d/g", 0).file("large", 3 << 20).link("link", "large");
    let lines = [args!["cp", tree.path(), "srv:"], args!["cp", "srv:t", world.local("back")]];
    for line in lines {
        let said = world.sft(line).done().err();
        assert!(said.starts_with("7 entries copied: 3.15 MB in "), "{said}");
    }
    let said = world.sft(args!["cp", tree.path(), "srv:"]).done().err();
    assert!(said.starts_with("0 entries copied, 7 unchanged: 0 B in "), "{said}");
    // Something that stands in the way of a directory: it fails once, and each in it once.
    Tree::new(world.served("u")).file("d", 1).mode("d", 0o600);
    let ran = world.sft(args!["cp", "--json", tree.path().join("d"), "srv:u"]).ended(1);
    let told = ran.objects().iter().filter(|object| object["event"] == "failed").count() as u64;
    let result = ran.objects().pop().unwrap();
    assert_eq!((number(&result, "failed"), told), (4, 4), "{ran:?}");
    assert_eq!(
        world.served("u/d").metadata().unwrap().permissions().mode() & 0o777,
        0o600,
        "it is left alone"
    );
}

#[test]
fn what_was_done_before_a_loss_counts() {
    let world = World::new(SFT);
    let relay = world.relay("far");
    for up in [true, false] {
        let (source, line) = match up {
            true => (world.local("dir"), args!["cp", world.local("dir"), "far:new"]),
            false => (world.served("down"), args!["cp", "far:down", world.local("new")]),
        };
        let mut tree = Tree::new(&source);
        tree.many("a", 300, 2000).dir("b");
        (0..40).for_each(|number| _ = tree.file(format!("b/{number}"), 5 * MIB / 4));
        let (entries, size) = walk(&source);
        let mut line = line;
        line.extend(args!["--json", "--transport", "tcp"]);
        relay.rate(MIB);
        let mut running = world.start(line);
        until(&mut running, |running| last(running, "progress").is_some_and(|p| number(&p, "settled") >= 10));
        let settled = number(&last(&running, "progress").unwrap(), "settled");
        for round in 1..=3 {
            let before = relay.passed().1;
            until(&mut running, |_| relay.passed().1 > before + 2 * MIB);
            assert!(relay.reset_tcp(99) > 0);
            until(&mut running, |running| {
                running.stdout_so_far().matches("\"reconnected\"").count() >= round
            });
        }
        relay.rate(0);
        let result = running.wait(PATIENCE).done().objects().pop().unwrap();
        let [committed, unchanged] = ["committed", "unchanged"].map(|name| number(&result, name));
        assert_eq!(committed + unchanged, entries, "{result}");
        assert!(committed >= settled, "{settled} were settled before the first loss: {result}");
        let [moved, kept, sent] =
            ["bytes_moved", "bytes_kept", "bytes_tcp"].map(|name| number(&result, name));
        // A piece that came and was not noted before the loss comes twice.
        assert!(moved >= size && moved < size + 8 * MIB && kept < 8 * MIB, "{size}: {result}");
        assert!(sent >= moved, "what was lost on the way is counted apart: {result}");
    }
}

/// Entries, and bytes of the files among them.
fn walk(at: &Path) -> (u64, u64) {
    let found = at.symlink_metadata().unwrap();
    if !found.is_dir() {
        return (1, found.len());
    }
    let inside = at.read_dir().unwrap().map(|entry| walk(&entry.unwrap().path()));
    inside.fold((1, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

#[test]
fn when_the_server_stays_away_it_is_given_up() {
    let mut world = World::new(SFT);
    let relay = world.relay("far");
    Dice::new(3).file(&world.local("f"), 24 * MIB);
    for (wait, tries) in [("2s", true), ("0", false)] {
        relay.rate(MIB);
        let before = relay.passed();
        let mut running =
            world.start(args!["cp", "--transport", "tcp", "--wait", wait, world.local("f"), "far:f"]);
        until(&mut running, |_| relay.passed().0 + relay.passed().1 > before.0 + before.1 + 3 * MIB);
        world.crash_server();
        let ran = running.wait(PATIENCE).ended(3);
        let said = ran.err();
        assert_eq!(said.contains("connecting again: "), tries, "{said}");
        let end = said.lines().last().unwrap();
        assert!(end.starts_with("sft: the connection was lost ("), "{said}");
        assert!(end.ends_with("; the same command goes on from here"), "{said}");
        assert_eq!(end.contains("and could not be made again for "), tries, "{said}");
        relay.rate(0);
        world.start_server();
    }
    let result = world.sft(args!["cp", "--json", world.local("f"), "far:f"]).done().objects().pop().unwrap();
    assert!(number(&result, "bytes_kept") > 0, "it goes on from there: {result}");
    assert!(std::fs::read(world.served("f")).unwrap() == std::fs::read(world.local("f")).unwrap());
}

#[test]
fn a_request_is_given_up_too() {
    let mut world = World::new(SFT);
    let relay = world.relay("far");
    Dice::new(3).file(&world.served("f"), 8 * MIB);
    relay.rate(MIB / 2);
    let before = relay.passed();
    let mut running = world.start(args!["cat", "--transport", "tcp", "--wait", "1s", "far:f"]);
    until(&mut running, |_| relay.passed().0 + relay.passed().1 > before.0 + before.1 + MIB);
    world.crash_server();
    running.wait(PATIENCE).ended(3).says("the connection was lost");
    world.start_server();
}

/// Whoever answers no handshake makes a dial last for many seconds; the time that was typed goes before that.
#[test]
fn giving_up_is_not_late() {
    let world = World::new(SFT);
    let relay = world.relay("far");
    Dice::new(3).file(&world.served("f"), 24 * MIB);
    for verb in [args!["cp", "far:f", world.local("f")], args!["cat", "far:f"]] {
        relay.tcp(Fate::Pass);
        relay.rate(MIB);
        let before = relay.passed().1;
        let line = [verb, args!["--transport", "tcp", "--wait", "1s"]].concat();
        let mut running = world.start(line);
        until(&mut running, |_| relay.passed().1 > before + MIB);
        relay.tcp(Fate::Vanish);
        relay.reset_tcp(usize::MAX);
        let begun = Instant::now();
        let ran = running.wait(PATIENCE).ended(3).says("the connection was lost");
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(5), "it took {took:?} instead of 1 s, or 2 at most: {ran:?}");
    }
}

/// The attempt after a loss meets what failed before it once more.
#[test]
fn a_failure_is_told_once_however_often_it_is_met() {
    let world = World::new(SFT);
    let relay = world.relay("far");
    Dice::new(3).file(&world.local("f"), 24 * MIB);
    let pipe = world.local("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for more in [&[][..], &["--json"]] {
        relay.rate(2 * MIB);
        let before = relay.passed().1;
        let mut line = args!["cp", "--transport", "tcp", pipe, world.local("f"), "far:to"];
        line.extend(more.iter().map(Into::into));
        let mut running = world.start(line);
        until(&mut running, |running| {
            let said = running.stdout_so_far() + &running.stderr_so_far();
            said.contains("pipe") && relay.passed().1 > before + 2 * MIB
        });
        assert!(relay.reset_tcp(usize::MAX) > 0);
        relay.rate(0);
        let ran = running.wait(PATIENCE).ended(1);
        let said = ran.out() + &ran.err();
        assert!(said.contains("connected again") || said.contains("reconnected"), "{ran:?}");
        assert_eq!(
            said.lines().filter(|line| line.contains("a pipe, socket or device")).count(),
            1,
            "{ran:?}"
        );
        std::fs::remove_dir_all(world.served("to")).unwrap();
    }
}
