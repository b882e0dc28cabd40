//! Promise: `--limit` bounds a copy to a rate, in either direction and over either transport, and `--background` copies all the
//! same where it can yield and where it cannot. How much it leaves to others is for virtual time to say:
//! `crates/lane/src/congestion/simulation/fairness.rs`, `crates/lane/src/pace.rs`.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use sft_testkit::{Dice, Fate, World, args, assert_same_content};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(100);

/// Copies, and says how long it took and over which transport: bytes over QUIC, bytes over TCP.
fn copy(world: &World, line: Vec<OsString>) -> (Duration, u64, u64) {
    let begun = Instant::now();
    let ran = world.start(line).wait(PATIENCE).done();
    let result = ran.objects().pop().expect("a copy tells its result");
    let over = |transport: &str| result[transport].as_u64().unwrap();
    (begun.elapsed(), over("bytes_quic"), over("bytes_tcp"))
}

fn there_and_back(world: &World, more: &[&str]) -> [(Duration, u64, u64); 2] {
    let clean = |path: &Path| std::fs::remove_dir_all(path).ok();
    clean(&world.served("t"));
    clean(&world.local("back"));
    let with = |mut line: Vec<OsString>| {
        line.extend(more.iter().map(Into::into));
        line
    };
    let up = copy(world, with(args!["cp", "--json", world.local("t"), "far:t"]));
    let down = copy(world, with(args!["cp", "--json", "far:t", world.local("back")]));
    assert_same_content(&world.local("t"), &world.local("back"));
    [up, down]
}

/// A piece and a half, and a pack.
fn world() -> World {
    let world = World::new(SFT);
    std::fs::create_dir(world.local("t")).unwrap();
    Dice::new(1).file(&world.local("t/large"), 1_500_000);
    for number in 0..50 {
        Dice::new(number).file(&world.local(&format!("t/{number}")), 10_000);
    }
    world
}

#[test]
fn a_limit_is_kept_both_ways_over_both_transports() {
    let world = world();
    let _relay = world.relay("far");
    for transport in ["quic", "tcp"] {
        for (took, ..) in there_and_back(&world, &["--limit", "1MB", "--transport", transport]) {
            assert!(took > Duration::from_millis(1850), "2 MB took {took:?}");
        }
    }
}

#[test]
fn the_background_is_quic_where_that_is_and_arrives_where_it_is_not() {
    let world = world();
    let relay = world.relay("far");
    // A machine that is very busy may bring TCP up first.
    let mut all_quic = |copy: &(Duration, u64, u64)| {
        assert!(copy.1 == 0 || copy.2 == 0, "it has one lane: {copy:?}");
        copy.1 > 0
    };
    let found = (0..5).any(|_| there_and_back(&world, &["--background"]).iter().all(&mut all_quic));
    assert!(found, "a short path, where others use TCP");
    relay.udp(Fate::Vanish);
    for (_, quic, tcp) in there_and_back(&world, &["--background"]) {
        assert_eq!((quic, tcp), (0, 2_000_000));
    }
}

#[test]
fn a_lane_that_goes_silent_keeps_no_limited_copy_up() {
    let world = World::new(SFT);
    Dice::new(1).file(&world.local("f"), 12_000_000);
    let relay = world.relay("far");
    let begun = Instant::now();
    let running = world.start(args!["cp", "--limit", "4MB", "--transport", "tcp", world.local("f"), "far:f"]);
    while relay.passed().1 < 3_000_000 {
        assert!(begun.elapsed() < PATIENCE, "hardly anything came");
        std::thread::sleep(Duration::from_millis(20));
    }
    relay.silence_busiest_tcp();
    running.wait(PATIENCE).done();
    assert_same_content(&world.local("f"), &world.served("f"));
    // The system would wait for a minute; the lane is in doubt after half of 15 s.
    assert!(begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
}

#[test]
fn a_rate_that_makes_no_sense_is_refused_with_what_to_type() {
    let world = World::new(SFT);
    for (rate, said) in [("10", "such as 10MB"), ("1kB", "10kB is the least")] {
        world.sft(args!["cp", "--limit", rate, "a", "far:b"]).ended(2).says(said);
    }
}
