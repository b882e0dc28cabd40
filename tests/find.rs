//! Promise: a server on the local network is found without its address being known, and gone from there when it stops. In
//! network namespaces with a wire between them, so it needs root; `SFT_TEST_NOT_ROOT=1` goes without it.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sft_testkit::{Person, Ran, Running, is_root_or_known_not};
use tempfile::TempDir;

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(180);
const ATTEMPTS: usize = 30;

/// Two machines and a wire, as far as networks are concerned.
struct Wire {
    near: Running,
    far: Running,
    person: Person,
    dir: TempDir,
}

impl Wire {
    /// None if this is not run by root, and whoever runs it knows that.
    fn new() -> Option<Self> {
        if !is_root_or_known_not("make networks") {
            return None;
        }
        let dir = TempDir::with_prefix("sft-find-").unwrap();
        let person = Person::new(Path::new(SFT), dir.path().join("home")).with_key();
        let (near, far) = (machine(&person, "near"), machine(&person, "far"));
        let wire = Self { near, far, person, dir };
        wire.join(&wire.far, "wire0", "192.0.2");
        Some(wire)
    }

    /// Another wire, from the near machine to this one, in a network of its own.
    fn join(&self, far: &Running, wire: &str, network: &str) {
        let pid = far.pid();
        self.inside(
            &self.near,
            &format!(
                "ip link add {wire} type veth peer name {wire}-far && ip link set {wire}-far netns {pid}"
            ),
        );
        self.inside(&self.near, &format!("ip addr add {network}.1/24 dev {wire} && ip link set {wire} up"));
        self.inside(far, &format!("ip addr add {network}.2/24 dev {wire}-far && ip link set {wire}-far up"));
    }

    fn command(&self, machine: &Running, program: &str, line: &[&str]) -> Command {
        let mut command = self.person.command(Path::new("nsenter"));
        command.args(["-t", &machine.pid().to_string(), "-n", "-u", program]).args(line);
        command
    }

    fn inside(&self, machine: &Running, script: &str) {
        Running::start(self.command(machine, "sh", &["-c", script])).wait(PATIENCE).done();
    }

    /// Serves on the far machine until it is dropped; gives its fingerprint too.
    fn serve(&self, more: &[&str]) -> (Running, String) {
        self.serve_on(&self.far, more)
    }

    fn serve_on(&self, machine: &Running, more: &[&str]) -> (Running, String) {
        let folder = self.dir.path().join("served");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("file"), "found").unwrap();
        self.person.authorize(&self.person.public_key());
        let line = [&["serve", "--json", folder.to_str().unwrap()], more].concat();
        let running = Running::start(self.command(machine, SFT, &line));
        let began = Instant::now();
        while !running.stdout_so_far().contains('\n') {
            assert!(began.elapsed() < PATIENCE, "{}", running.stderr_so_far());
            std::thread::sleep(Duration::from_millis(5));
        }
        let said: serde_json::Value =
            serde_json::from_str(running.stdout_so_far().lines().next().unwrap()).unwrap();
        let declined = more.contains(&"--no-announce") || more.contains(&"ssh");
        assert_eq!(said["announced"].is_null(), declined, "{said}");
        (running, said["fingerprint"].as_str().unwrap().to_owned())
    }

    fn find(&self, more: &[&str]) -> Ran {
        Running::start(self.command(&self.near, SFT, &[&["find"], more].concat())).wait(PATIENCE).done()
    }

    /// Whether it is found before `mdns-sd` asks for the second time; who looks is not kept from ending for longer.
    fn finds_at_once(&self, fingerprint: &str) -> bool {
        let line = ["find", "--json", "--for", "1s"];
        let mut running = Running::start(self.command(&self.near, SFT, &line));
        loop {
            let is_over = running.is_over();
            if running.stdout_so_far().contains(fingerprint) {
                return true;
            }
            if is_over {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Looks until something is found: on a slow machine it takes longer to be announced.
    fn find_something(&self) -> serde_json::Value {
        self.find_all(1).remove(0)
    }

    /// Looks until so many are found.
    fn find_all(&self, count: usize) -> Vec<serde_json::Value> {
        let began = Instant::now();
        loop {
            let found = self.find(&["--json", "--for", "3s"]).objects();
            if found.len() == count {
                return found;
            }
            assert!(found.len() < count, "once each: {found:?}");
            assert!(began.elapsed() < PATIENCE, "{found:?} is all that is found");
        }
    }
}

/// A machine of its own name, as far as networks are concerned.
fn machine(person: &Person, name: &str) -> Running {
    let mut command = person.command(Path::new("unshare"));
    let script = format!("hostname {name} && ip link set lo up && echo up && exec sleep 3600");
    command.args(["--net", "--uts", "sh", "-c", &script]);
    let running = Running::start(command);
    let began = Instant::now();
    while running.stdout_so_far().is_empty() {
        assert!(began.elapsed() < PATIENCE, "{}", running.stderr_so_far());
        std::thread::sleep(Duration::from_millis(5));
    }
    running
}

#[test]
fn servers_are_found_over_all_networks_and_each_once() {
    let Some(wire) = Wire::new() else { return };
    let third = machine(&wire.person, "third");
    // The far machine is reached over two networks, and has an address in another one that comes first and leads nowhere.
    wire.join(&wire.far, "wire2", "198.51.100");
    wire.join(&third, "wire3", "203.0.113");
    wire.inside(&wire.far, "ip link add out type veth peer name of && ip addr add 10.9.9.9/24 dev out");
    wire.inside(&wire.far, "ip link set out up && ip link set of up");
    let (_far, fingerprint) = wire.serve(&[]);
    let (_third, _) = wire.serve_on(&third, &[]);
    let mut found = wire.find_all(2);
    found.sort_by_key(|found| found["host"].as_str().unwrap().to_owned());
    assert_eq!((&found[0]["host"], &found[1]["host"]), (&"far.local".into(), &"third.local".into()));
    for found in &found {
        assert_eq!(found["fingerprint"], *fingerprint, "it has answered: {found}");
        assert!(found["rtt_ms"].as_f64().is_some(), "{found}");
    }
    assert_eq!(found[1]["addresses"][0], "203.0.113.2");
    let first = found[0]["addresses"][0].as_str().unwrap();
    assert!(["192.0.2.2", "198.51.100.2"].contains(&first), "{found:?}");
    // Either is used by its name alone; and so is the far machine when one of the two wires is cut.
    let run = |line: &[&str]| Running::start(wire.command(&wire.near, SFT, line)).wait(PATIENCE);
    for host in ["far.local", "third.local"] {
        run(&["trust", "add", host, &fingerprint]).done();
        assert_eq!(run(&["ls", &format!("{host}:")]).done().out(), "file\n");
    }
    wire.inside(&wire.near, "ip link set wire0 down");
    assert_eq!(run(&["ls", "far.local:"]).done().out(), "file\n");
}

#[test]
fn a_server_is_found_with_its_key_and_can_be_used() {
    let Some(wire) = Wire::new() else { return };
    let (server, fingerprint) = wire.serve(&[]);
    let found = wire.find_something();
    assert_eq!(found["announced"], *fingerprint);
    assert_eq!(found["fingerprint"], *fingerprint);
    assert_eq!(
        (&found["port"], &found["trusted"], &found["version"]),
        (&1303.into(), &false.into(), &"1".into())
    );
    assert_eq!(found["addresses"][0], "192.0.2.2");
    assert!(found["rtt_ms"].as_f64().unwrap() > 0.0);

    // What it says to type is what works, and the key is pinned by the name.
    let host = found["host"].as_str().unwrap();
    assert!(host.ends_with(".local") && found["type"] == format!("{host}:"), "{found}");
    let run = |line: &[&str]| Running::start(wire.command(&wire.near, SFT, line)).wait(PATIENCE);
    let unknown = run(&["ls", &format!("{host}:")]).ended(4).err();
    assert!(unknown.contains(&format!("    sft trust add {host}:1303 {fingerprint}\n")), "{unknown}");
    run(&["trust", "add", host, &fingerprint]).done();
    let page = wire.find(&["--for", "3s"]).out();
    let (head, rest) = page.split_once('\n').unwrap();
    assert!(head.contains(" at 192.0.2.2, port 1303, ") && head.ends_with(" ms"), "{page}");
    assert_eq!(rest, format!("  {fingerprint}, which you trust\n  sft ls {host}:\n"));
    assert_eq!(run(&["ls", &format!("{host}:")]).done().out(), "file\n");
    // Its name alone will do where the system knows no such host.
    run(&["trust", "add", "far", &fingerprint]).done();
    assert_eq!((&found["name"], run(&["ls", "far:"]).done().out().as_str()), (&"far".into(), "file\n"));
    let asked = run(&["port", "1303", host]).done().out();
    assert!(asked.starts_with(&format!("{host}, 192.0.2.2, port 1303\n")), "{asked}");
    assert!(asked.contains("which you trust"), "{asked}");

    // A server that stops says goodbye; one that does not announce itself is not found.
    server.terminate();
    server.ended();
    let is_alone = |ran: Ran| {
        let (out, err) = (ran.out(), ran.err());
        assert!(out.is_empty() && err.starts_with("no server announced itself within 2 s; "), "{out}{err}");
    };
    is_alone(wire.find(&["--for", "2s"]));
    let (server, _) = wire.serve(&["--no-announce"]);
    is_alone(wire.find(&["--for", "2s"]));
    drop(server);
    // Nobody could connect by this protocol.
    drop(wire.serve(&["--doors", "ssh"]));
}

/// A server that has just answered everybody does not do so again within a second; whoever asks then is answered alone.
#[test]
fn who_asks_soon_after_another_waits_no_longer() {
    let Some(wire) = Wire::new() else { return };
    let (_server, fingerprint) = wire.serve(&[]);
    wire.find_something();
    // On a machine that is busy, one of the three may be late.
    let is_found_at_once = || wire.finds_at_once(&fingerprint);
    let in_succession = (0..ATTEMPTS).any(|_| (0..3).all(|_| is_found_at_once()));
    assert!(in_succession, "not one time in {ATTEMPTS} did three in succession find it");
}

/// As behind a firewall that lets nothing in but what is told to everybody.
#[test]
fn what_is_told_to_everybody_is_heard_where_no_answer_gets_through() {
    let Some(wire) = Wire::new() else { return };
    let (_server, fingerprint) = wire.serve(&[]);
    wire.find_something();
    wire.inside(&wire.far, "ip route add prohibit 192.0.2.1/32");
    wire.inside(&wire.near, "ip -6 addr flush dev wire0");
    let found = wire.find_something();
    assert_eq!(found["announced"], *fingerprint);
    assert!(found["fingerprint"].is_null(), "it could prove nothing: {found}");
}

#[test]
fn a_name_of_the_local_network_needs_no_port() {
    let Some(wire) = Wire::new() else { return };
    let (_server, fingerprint) = wire.serve(&["--port", "4000"]);
    let found = wire.find_something();
    assert!(found["name"].as_str().unwrap().ends_with(" (4000)"), "{found}");
    let host = found["host"].as_str().unwrap();
    assert_eq!(found["type"], format!("sft://{host}:4000/"));
    let run = |line: &[&str]| Running::start(wire.command(&wire.near, SFT, line)).wait(PATIENCE);
    // Who knows it on another port is not led past that key.
    run(&["trust", "add", host, &fingerprint]).done();
    let claimed = run(&["ls", &format!("{host}:")]).ended(3).err();
    let expected = format!(
        "sft: a server on port 4000 claims the name `{host}`, which you know on port 1303, where none is announced; \
         `sft://{host}:4000/` reaches it\n"
    );
    assert_eq!(claimed, expected);
    run(&["trust", "add", &format!("{host}:4000"), &fingerprint]).done();
    let file = wire.dir.path().join("up");
    std::fs::write(&file, "up").unwrap();
    run(&["cp", file.to_str().unwrap(), &format!("{host}:")]).done();
    assert_eq!(std::fs::read(wire.dir.path().join("served/up")).unwrap(), b"up");
    // Another port that is typed is another server, and there is none.
    let other = run(&["ls", &format!("sft://{host}:4001/")]).ended(3).err();
    assert!(other.starts_with(&format!("sft: cannot find the address of `{host}`; ")), "{other}");
}

#[test]
fn what_cannot_be_meant_is_told() {
    let dir = TempDir::with_prefix("sft-find-").unwrap();
    let person = Person::new(Path::new(SFT), dir.path().join("home"));
    let ran = person.sft(["find", "--for", "soon"].map(OsString::from).into()).ended(2);
    assert!(ran.err().contains("write a number and a unit, such as 30s, 10m or 12h, or 0"), "{ran:?}");
}
