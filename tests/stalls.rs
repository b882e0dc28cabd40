//! Promise: a copy that stands still says within seconds who is waited for, and one that is only slow does not; and a copy
//! says at its end where the time went.

use std::time::Duration;

use serde_json::Value;
use sft_testkit::{Dice, Fate, Ran, Relay, Running, World, args};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(150);
const MIB: u64 = 1 << 20;

/// A file on its way up through a network that is slow.
fn under_way(more: &[&str]) -> (World, Relay, Running) {
    let world = World::new(SFT);
    let relay = world.relay("far");
    relay.rate(4 * MIB);
    Dice::new(7).file(&world.local("it"), 24 * MIB);
    let mut line = args!["cp", world.local("it"), "far:it"];
    line.extend(more.iter().map(Into::into));
    let mut running = world.start(line);
    while relay.passed().0 + relay.passed().1 < 4 * MIB {
        assert!(!running.is_over(), "{}", running.stderr_so_far());
        std::thread::sleep(Duration::from_millis(5));
    }
    (world, relay, running)
}

fn until_said(running: &mut Running, text: &str) {
    let begun = std::time::Instant::now();
    let said = |running: &Running| running.stdout_so_far() + &running.stderr_so_far();
    while !said(running).contains(text) {
        let waits = !running.is_over() && begun.elapsed() < PATIENCE;
        assert!(waits, "`{text}` is not said: {}", said(running));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn told(ran: &Ran, event: &str) -> Vec<Value> {
    ran.objects().into_iter().filter(|object| object["event"] == event).collect()
}

#[test]
fn a_network_that_has_gone_quiet_is_named() {
    let (_world, relay, mut running) = under_way(&[]);
    relay.udp(Fate::Vanish);
    relay.tcp(Fate::Vanish);
    until_said(
        &mut running,
        "s: waiting for the network, or a server that has stopped: nothing is heard of it",
    );
    relay.udp(Fate::Pass);
    relay.tcp(Fate::Pass);
    relay.rate(0);
    let said = running.wait(PATIENCE).done().err();
    assert!(said.contains("nothing has moved for 1"), "{said}");
}

#[test]
fn where_the_server_answers_and_data_is_swallowed_the_network_is_named() {
    let (_world, relay, mut running) = under_way(&["--json", "--transport", "tcp", "--lanes", "1"]);
    relay.silence_busiest_tcp();
    until_said(&mut running, r#""event":"stalled""#);
    running.interrupt();
    let ran = running.wait(PATIENCE).ended(130);
    let stalled = told(&ran, "stalled");
    assert_eq!(stalled[0]["waiting_for"], "network", "{ran:?}");
    assert_eq!(stalled[0]["text"], "the network: the server answers, but no data gets through");
    assert!(stalled[0]["silent_ms"].as_u64().unwrap() >= 10_000, "{ran:?}");
}

#[test]
fn a_server_that_has_stopped_is_told() {
    let (mut world, _relay, mut running) = under_way(&["--json"]);
    world.server().signal(rustix::process::Signal::STOP);
    until_said(&mut running, r#""event":"stalled""#);
    world.server().signal(rustix::process::Signal::CONT);
    let ran = running.wait(PATIENCE).done();
    assert_eq!(told(&ran, "stalled")[0]["waiting_for"], "network", "{ran:?}");
}

#[test]
fn what_is_only_slow_does_not_stand_still() {
    let world = World::new(SFT);
    let relay = world.relay("far");
    Dice::new(7).file(&world.local("it"), MIB);
    relay.rate(90_000);
    // A piece takes longer than the time after which a copy is held to stand still.
    for transport in ["quic", "tcp"] {
        let line =
            args!["cp", "--json", "--transport", transport, world.local("it"), format!("far:{transport}")];
        let ran = world.start(line).wait(PATIENCE).done();
        assert_eq!(told(&ran, "stalled"), [] as [Value; 0]);
        let result = ran.objects().pop().unwrap();
        let (network, took) =
            (result["waited"]["network"].as_f64().unwrap(), result["seconds"].as_f64().unwrap());
        assert!(network > took / 2.0 && took > 10.0, "{result}");
    }
}

#[test]
fn a_copy_says_where_the_time_went_when_asked() {
    let world = World::new(SFT);
    Dice::new(7).file(&world.local("it"), 8 * MIB);
    for line in
        [args!["cp", "-v", world.local("it"), "srv:"], args!["cp", "-v", "srv:it", world.local("back")]]
    {
        let said = world.sft(line).done().err();
        let last = said.lines().last().unwrap();
        assert!(last.starts_with("where the time went: ") && last.contains(" %"), "{said}");
        assert!(!last.contains("or the server"), "the server has said what it waited for: {said}");
        assert!(last.contains("; connecting took "), "{said}");
    }
    let said = world.sft(args!["cp", world.local("it"), "srv:again"]).done().err();
    assert!(!said.contains("where the time went"), "{said}");
}

#[test]
fn what_is_asked_about_a_copy_is_no_part_of_its_time() {
    let world = World::new(SFT);
    let relay = world.relay("far");
    Dice::new(7).file(&world.local("it"), 1);
    relay.udp(Fate::Delay(Duration::from_millis(750)));
    relay.tcp(Fate::Delay(Duration::from_millis(750)));
    let ran = world.sft(args!["cp", "--json", "--transport", "tcp", world.local("it"), "far:it"]).done();
    let result = ran.objects().pop().unwrap();
    let waited: f64 = result["waited"].as_object().unwrap().values().map(|part| part.as_f64().unwrap()).sum();
    let took = result["seconds"].as_f64().unwrap();
    assert!(took >= 1.5 && took - waited < 1.0, "an answer takes a second and a half: {result}");
}
