//! Promise: `sft doctor` says whether this machine can serve and what to type where it cannot, and changes nothing; with a
//! host it says how it is reached, and what limits a copy.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use sft_testkit::{Fate, Ran, World, args};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(60);

/// The finding about something.
fn about(ran: &Ran, what: &str) -> Value {
    let found =
        ran.objects().into_iter().find(|object| object["about"].as_str().is_some_and(|it| it == what));
    found.unwrap_or_else(|| panic!("nothing about {what}: {ran:?}"))
}

fn verdict(ran: &Ran) -> String {
    let last = ran.objects().pop().unwrap_or_else(|| panic!("nothing is said: {ran:?}"));
    assert_eq!(last["event"], "verdict", "{ran:?}");
    last["text"].as_str().unwrap().to_owned()
}

fn count(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

#[test]
fn a_machine_that_can_serve_is_told_so() {
    let world = World::new(SFT);
    let (port, state) = (world.port().to_string(), world.local("state"));
    let line =
        args!["doctor", "--json", "--port", port.clone(), "--disk", world.root(), "--state", state.clone()];
    let ran = world.sft(line).done();
    for transport in ["UDP", "TCP"] {
        let finding = about(&ran, &format!("port {port} over {transport}"));
        assert_eq!(finding["state"], "ok", "{finding}");
        assert!(finding["text"].as_str().unwrap().starts_with("sft serves there already"), "{finding}");
    }
    assert_eq!(about(&ran, "identity")["state"], "ok");
    let disk = about(&ran, "disk");
    assert!(disk["text"].as_str().unwrap().contains("written and flushed"), "{disk}");
    assert!(verdict(&ran).starts_with("this machine can serve"), "{ran:?}");
    assert_eq!((count(world.root()), state.exists()), (0, false), "nothing is left behind");
}

#[test]
fn a_port_that_another_program_has_is_a_problem_with_its_process() {
    let world = World::new(SFT);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    let ran = world.sft(args!["doctor", "--port", port.clone()]).ended(6);
    let said = ran.out();
    let process = format!("process {}", std::process::id());
    let line = said.lines().find(|line| line.contains(&format!("port {port} over UDP"))).unwrap();
    assert!(line.trim_start().starts_with("problem") && line.contains(&process), "{said}");
    assert!(said.contains("→ stop it, or serve on another port: sft serve --port "), "{said}");
    assert!(said.ends_with("this machine cannot serve before the problems above are mended\n"), "{said}");
}

#[test]
fn a_directory_that_cannot_be_served_is_a_problem() {
    let world = World::new(SFT);
    let port = world.port().to_string();
    let ran = world.sft(args!["doctor", "--json", "--port", port, "--disk", world.local("missing")]).ended(6);
    assert_eq!(about(&ran, "directory")["state"], "problem");
}

#[test]
fn the_way_to_a_host_that_is_well() {
    let world = World::new(SFT);
    let ran = world.sft(args!["doctor", "--json", "srv"]).done();
    assert!(about(&ran, "name")["text"].as_str().unwrap().contains("127.0.0.1"), "{ran:?}");
    for what in
        ["127.0.0.1 over UDP", "127.0.0.1 over TCP", "session over QUIC", "session over TCP", "path over TCP"]
    {
        assert_eq!(about(&ran, what)["state"], "ok", "{ran:?}");
    }
    for what in ["memory up over QUIC", "memory down over QUIC", "memory up over TCP", "memory down over TCP"]
    {
        let memory = about(&ran, what);
        assert!(
            memory["text"].as_str().unwrap().ends_with("MB/s, without a disk at either end")
                || memory["text"].as_str().unwrap().ends_with("GB/s, without a disk at either end"),
            "{memory}"
        );
    }
    let path = about(&ran, "path over QUIC")["text"].as_str().unwrap().to_owned();
    assert!(path.contains("packets of 1,") && path.contains(" lost"), "{path}");
    let verdict = verdict(&ran);
    assert!(
        verdict.starts_with("both transports get through; the network and both processors carry "),
        "{verdict}"
    );
    assert!(
        verdict.ends_with("B/s down: whether the disks keep up, sft doctor --copy HOST:DIR shows"),
        "{verdict}"
    );
}

#[test]
fn copies_say_what_limits_and_leave_nothing_behind() {
    let world = World::new(SFT);
    std::fs::create_dir(world.served("d")).unwrap();
    let relay = world.relay("far");
    // A network that is much slower than any disk.
    relay.rate(4 << 20);
    let ran = world.sft(args!["doctor", "--json", "--copy", "far:d"]).done();
    for over in ["QUIC", "TCP"] {
        for way in ["up", "down"] {
            let copy = about(&ran, &format!("copy {way} over {over}"));
            assert!(copy["text"].as_str().unwrap().contains("the network "), "{copy}");
        }
    }
    let verdict = verdict(&ran);
    assert!(
        verdict.contains("up, the network limits (") && verdict.contains("down, the network limits ("),
        "{verdict}"
    );
    assert_eq!(count(&world.served("d")), 0, "nothing stays there");
    let ran = world.sft(args!["doctor", "--copy", "far:missing/deep"]).ended(1);
    assert!(ran.out().contains("problem"), "{ran:?}");
}

#[test]
fn a_copy_that_is_refused_says_so_and_notes_nothing() {
    let world = World::new(SFT);
    std::fs::create_dir(world.served("d")).unwrap();
    let reader = world.stranger("reader");
    let invited = args!["invite", "-q", "--host", "127.0.0.1", "--rights", "read"];
    let link = world.owner.sft(invited).done().out();
    reader.sft(args!["join", link.trim()]).done();
    let ran = reader.sft(args!["doctor", "--json", "--copy", "srv:d"]).ended(1);
    for over in ["QUIC", "TCP"] {
        let copy = about(&ran, &format!("copy over {over}"));
        let text = copy["text"].as_str().unwrap();
        assert!(!text.contains("stays on the host") && text.starts_with("no right to create"), "{copy}");
    }
    assert_eq!(count(&reader.home().join(".local/state/sft/left-there")), 0, "nothing was made");
}

/// What lies in the served directory, and what is staged for it, of more than a few bytes.
fn there(world: &World) -> Vec<std::path::PathBuf> {
    let (mut files, mut dirs) = (Vec::new(), vec![world.root().to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => dirs.push(entry.path()),
                Ok(meta) if meta.len() >= 1 << 20 => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files
}

#[test]
fn a_copy_that_is_interrupted_leaves_nothing_on_the_host() {
    let world = World::new(SFT);
    std::fs::create_dir(world.served("d")).unwrap();
    let relay = world.relay("far");
    relay.rate(4 << 20);
    let mut running = world.start(args!["doctor", "--copy", "far:d"]);
    // The first file is there, or the second is on its way.
    let begun = Instant::now();
    while there(&world).is_empty() {
        assert!(!running.is_over() && begun.elapsed() < PATIENCE, "{}", running.stdout_so_far());
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(500));
    running.terminate();
    let ran = running.wait(PATIENCE).ended(130);
    // The server throws away what was staged when it sees that the client has gone.
    let ended = Instant::now();
    while !there(&world).is_empty() {
        assert!(ended.elapsed() < Duration::from_secs(10), "{:?} stays: {ran:?}", there(&world));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_a_run_that_was_killed_has_left_is_removed_by_the_next() {
    let world = World::new(SFT);
    std::fs::create_dir(world.served("d")).unwrap();
    std::fs::write(world.served("d/sft-doctor-of-somebody-else"), "").unwrap();
    let relay = world.relay("far");
    relay.rate(4 << 20);
    let mut running = world.start(args!["doctor", "--copy", "far:d"]);
    let names = || -> Vec<_> {
        let entries = std::fs::read_dir(world.served("d")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    // The first file is there, and the second on its way.
    let is_first_there = || names().iter().any(|name| name.ends_with("-first"));
    let is_staged = || there(&world).iter().any(|file| file.extension().is_some_and(|kind| kind == "part"));
    let begun = Instant::now();
    while !(is_first_there() && is_staged()) {
        assert!(!running.is_over() && begun.elapsed() < PATIENCE, "{}", running.stdout_so_far());
        std::thread::sleep(Duration::from_millis(20));
    }
    running.kill();
    relay.rate(0);
    let first = names().into_iter().find(|name| name.ends_with("-first")).expect("the first file stays");
    let source = std::env::temp_dir().join(first.strip_suffix("-QUIC-first").unwrap());
    assert!(there(&world).len() == 2 && source.exists(), "{:?}", there(&world));
    world.sft(args!["doctor", "--copy", "far:d"]).done();
    assert_eq!(names(), ["sft-doctor-of-somebody-else"]);
    assert_eq!(there(&world), Vec::<std::path::PathBuf>::new(), "nor is a part of the second staged");
    assert!(!source.exists(), "nor is the source left here");
}

#[test]
fn where_udp_is_blocked_the_verdict_says_so() {
    let world = World::new(SFT);
    let relay = world.relay("far");
    relay.udp(Fate::Vanish);
    let ran = world.sft(args!["doctor", "far:"]).done();
    let said = ran.out();
    assert!(said.contains("→ sft serve there; and let UDP port "), "{said}");
    assert!(
        said.lines().last().unwrap().starts_with("  verdict      UDP is blocked and TCP carries all"),
        "{said}"
    );
}

#[test]
fn a_server_that_nobody_trusts_yet_and_one_that_is_not_there() {
    let world = World::new(SFT);
    let stranger = world.newcomer("stranger");
    stranger.names("srv", world.port());
    let ran = stranger.sft(args!["doctor", "--json", "srv"]).ended(4);
    assert!(about(&ran, "session over QUIC")["text"].as_str().unwrap().contains("sft trust add"), "{ran:?}");
    assert!(verdict(&ran).starts_with("sft answers there, and lets nobody in"), "{ran:?}");

    let ran = world.sft(args!["doctor", "--json", "host.invalid"]).ended(3);
    assert_eq!(verdict(&ran), "the name leads nowhere, so that nobody could be asked");

    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let ran = world.sft(args!["doctor", "--json", format!("sft://127.0.0.1:{nobody}/")]).ended(3);
    assert!(verdict(&ran).starts_with("nothing gets through"), "{ran:?}");
}
