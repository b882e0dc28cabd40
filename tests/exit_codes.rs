//! Promise: how `sft` ends tells a script what happened, by the codes that `sft help exit-codes` lists and no others.

use std::ffi::OsString;
use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use sft_testkit::{Liar, Tree, World, args};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(180);

/// A port of this machine on which nobody listens.
fn silent_port() -> u16 {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    UdpSocket::bind(("127.0.0.1", port)).unwrap();
    port
}

#[test]
fn the_help_lists_every_code() {
    let world = World::new(SFT);
    let help = world.sft(args!["help", "exit-codes"]).done().out();
    let codes: Vec<u32> =
        help.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
    assert_eq!(
        codes,
        [0, 1, 2, 3, 4, 5, 6, 10, 11, 130],
        "those that the tests below and tests/port.rs show"
    );
}

#[test]
fn all_done_is_0() {
    let world = World::new(SFT);
    let file = Tree::new(world.local("t")).file("f", 1).path().join("f");
    for line in [
        args!["ls", "srv:"],
        args!["cp", file, "srv:"],
        args!["--version"],
        args!["help"],
        args!["cp", "--help"],
    ] {
        world.sft(line).ended(0);
    }
}

#[test]
fn entries_that_failed_are_1() {
    let world = World::new(SFT);
    let mut tree = Tree::new(world.local("t"));
    tree.file("good", 1).file("bad", 1);
    Tree::new(world.served("t/bad"));
    let ran =
        world.sft(args!["cp", OsString::from(format!("{}/.", tree.path().display())), "srv:t"]).ended(1);
    assert!(world.served("t/good").exists() && ran.err().contains("1 FAILED"), "{ran:?}");
    let json = world.sft(args!["cp", "--json", tree.path().join("bad"), "srv:t/"]).ended(1).objects();
    assert_eq!(json.last().unwrap()["exit"], 1);
    for line in
        [args!["rm", "srv:gone"], args!["ls", "srv:gone"], args!["cp", "srv:gone", world.local("here")]]
    {
        world.sft(line).ended(1);
    }
}

#[test]
fn what_makes_no_sense_is_2() {
    let world = World::new(SFT);
    let lines = [
        args![],
        args!["fly"],
        args!["ls"],
        args!["ls", "--nonsense", "srv:"],
        args!["ls", "srv:", "--port", "0"],
        args!["ls", "a-local-name"],
        args!["ls", "srv:../up/../.."],
        args!["ls", ""],
        args!["cp", "a", "b"],
        args!["cp", "srv:a", "srv:b"],
        args!["cp", "srv:a", "other:b"],
        args!["rm", "-r", "srv:"],
        args!["mv", "srv:a", "other:b"],
        args!["join", "nonsense"],
        args!["invite", "--rights", "fly"],
        args!["invite", "--expires", "soon"],
        args!["invite", "--path", "../x"],
        args!["trust", "remove", "never.met"],
        args!["help", "fly"],
    ];
    for line in lines {
        let ran = world.sft(line).ended(2);
        assert!(!ran.err().is_empty() && ran.out().is_empty(), "{ran:?}");
    }
    std::fs::write(world.client.config().join("config.toml"), "[host.srv]\nadress = \"x\"\n").unwrap();
    world.sft(args!["ls", "srv:"]).ended(2).says("config.toml");
}

#[test]
fn no_connection_is_3() {
    let world = World::new(SFT);
    let port = silent_port().to_string();
    // Five seconds is how long an answer is waited for where nothing says that there will be none.
    for (transport, most_s) in [("tcp", 5), ("quic", 9), ("auto", 9)] {
        let ran = world.sft(args!["ls", "--transport", transport, "--port", port, "127.0.0.1:"]).ended(3);
        assert!(ran.took < Duration::from_secs(most_s), "{ran:?}");
    }
    world.sft(args!["ls", "no.such.host.invalid:"]).ended(3);
    let json = world.sft(args!["ls", "--json", "--transport", "tcp", "--port", port, "127.0.0.1:"]).ended(3);
    assert_eq!((&json.objects()[0]["event"], &json.objects()[0]["exit"]), (&"error".into(), &3.into()));
}

#[test]
fn a_refusal_is_4() {
    let world = World::new(SFT);
    let stranger = world.stranger("stranger");
    stranger.sft(args!["ls", "srv:"]).ended(4);
    let newcomer = world.newcomer("newcomer");
    newcomer.sft(args!["ls", "--port", world.port().to_string(), "127.0.0.1:"]).ended(4);
    let read_only = World::serving(SFT, None, args!["--read-only"]);
    read_only.sft(args!["mkdir", "srv:d"]).ended(4);
    let file = Tree::new(read_only.local("t")).file("f", 1).path().join("f");
    read_only.sft(args!["cp", file, "srv:"]).ended(4);
}

#[test]
fn content_that_is_not_what_was_promised_is_5() {
    let world = World::new(SFT);
    let liar = Liar::start(world.address(), &world.client.key(), &world.local("liar"));
    world.client.names("liar", liar.port());
    world.client.trusts(liar.port(), &liar.fingerprint());
    Tree::new(world.root()).file("small", 10_000).file("large", 5 << 20);
    for name in ["small", "large"] {
        let (from, to) = (format!("liar:{name}"), world.local(name));
        let ran = world.sft(args!["cp", "--transport", "quic", from, to]).ended(5).says(name);
        assert!(!to.exists(), "it is not published: {ran:?}");
    }
    assert_eq!(world.sft(args!["ls", "--transport", "quic", "liar:"]).done().out(), "large\nsmall\n");
}

#[test]
fn what_this_machine_prevents_is_6() {
    let world = World::new(SFT);
    Tree::new(world.root()).file("f", 1);
    world.sft(args!["cp", world.local("gone"), "srv:"]).ended(6);
    world.sft(args!["cp", "srv:f", world.local("no/such/folder/f")]).ended(6);
    Tree::new(world.local("t")).file("file", 1);
    world.sft(args!["cp", "srv:f", world.local("t/file/f")]).ended(6);
    assert!(world.client.key().exists());
    world.sft(args!["ls", "-i", world.local("no-key"), "srv:"]).ended(6);
}

#[test]
fn an_interrupt_is_130_and_the_same_command_goes_on() {
    let world = World::new(SFT);
    let relay = world.relay("slow");
    relay.rate(2 << 20);
    let file = Tree::new(world.local("t")).file("large", 40 << 20).path().join("large");
    for (line, transport) in [
        (args!["cp", file, "slow:up"], "tcp"),
        (args!["cp", file, "slow:up2"], "quic"),
        (args!["cp", "slow:down", world.local("down")], "tcp"),
    ] {
        std::fs::copy(&file, world.served("down")).unwrap();
        let mut line = line;
        line.extend(args!["--transport", transport]);
        let (udp, tcp) = relay.passed();
        let mut running = world.start(line.clone());
        let began = Instant::now();
        while relay.passed().0 + relay.passed().1 < udp + tcp + (9 << 20) {
            assert!(
                !running.is_over() && began.elapsed() < PATIENCE,
                "it does not move: {:?}",
                running.ended()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        running.interrupt();
        running.wait(PATIENCE).ended(130).says("interrupted");
        assert!(
            !world.served("up").exists() && !world.served("up2").exists() && !world.local("down").exists()
        );
        relay.rate(0);
        line.push("--json".into());
        let result = world.sft(line).done().objects().pop().unwrap();
        assert!(result["bytes_kept"].as_u64().unwrap() > 0, "it goes on from there: {result}");
        relay.rate(2 << 20);
        let _ = std::fs::remove_file(world.served("up"));
        let _ = std::fs::remove_file(world.served("up2"));
    }
}

#[test]
fn a_server_that_is_asked_to_stop_ends_with_0() {
    let mut world = World::new(SFT);
    world.stop_server().ended(0);
    world.start_server();
    world.server().interrupt();
    let began = Instant::now();
    while !world.server().is_over() {
        assert!(began.elapsed() < PATIENCE, "an interrupt does not stop it");
        std::thread::sleep(Duration::from_millis(5));
    }
    world.crash_server().ended(0);
}
