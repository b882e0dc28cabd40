//! Promise: a name without a port leads where its SRV records say, in the order that they say, and to port 1303 where it has
//! none. In a network namespace with a DNS server of the test's own, so it needs root; `SFT_TEST_NOT_ROOT=1` goes without it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sft_testkit::{Person, Ran, Running, is_root_or_known_not};
use tempfile::TempDir;

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(180);

/// Answers with the records of a table, and says of all other names that they do not exist.
const DNS: &str = r#"
import socket, struct, time
SRV, A = 33, 1
RECORDS = {
    ("_sftsrv._udp.files.example", SRV): [(20, 0, 4002, "b.example"), (10, 0, 4001, "a.example")],
    ("_sftsrv._tcp.files.example", SRV): [(20, 0, 4002, "b.example"), (10, 0, 4001, "a.example")],
    ("_sftsrv._tcp.tcp.example", SRV): [(10, 0, 4002, "b.example")],
    ("_sftsrv._udp.none.example", SRV): [(0, 0, 0, "")],
    ("_sftsrv._tcp.none.example", SRV): [(0, 0, 0, "")],
    ("_sftsrv._udp.race.example", SRV): [(10, 0, 4003, "b.example"), (20, 0, 4001, "a.example")],
    ("_sftsrv._tcp.late.example", SRV): [(10, 0, 4002, "b.example")],
    ("mute.example", A): ["127.0.0.3"],
    ("broken.example", A): ["127.0.0.3"],
    ("late.example", A): ["127.0.0.3"],
    ("race.example", A): ["127.0.0.3"],
    ("a.example", A): ["127.0.0.1"],
    ("b.example", A): ["127.0.0.2"],
    ("plain.example", A): ["127.0.0.3"],
    ("files.example", A): ["127.0.0.3"],
}
def code(name, kind, known):
    if kind == SRV and name.endswith(".broken.example"):
        return 0x8582
    return 0x8580 if known else 0x8583
def encoded(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
print("up", flush=True)
while True:
    query, client = server.recvfrom(4096)
    at, parts = 12, []
    while query[at]:
        parts.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    question = query[12 : at + 5]
    kind = struct.unpack(">H", query[at + 1 : at + 3])[0]
    name = ".".join(parts).lower()
    if kind == SRV and name.endswith(".mute.example"):
        continue
    if kind == SRV and name.endswith(".late.example"):
        time.sleep(1.2)
    found = RECORDS.get((name, kind), [])
    known = any(key[0] == name for key in RECORDS)
    reply = query[:2] + struct.pack(">HHHHH", code(name, kind, known), 1, len(found), 0, 0) + question
    for record in found:
        if kind == A:
            data = socket.inet_aton(record)
        else:
            data = struct.pack(">HHH", *record[:3]) + encoded(record[3])
        reply += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data
    server.sendto(reply, client)
"#;

/// A machine of its own with a DNS server.
struct Machine {
    dns: Running,
    person: Person,
    dir: TempDir,
}

impl Machine {
    /// None if this is not run by root, and whoever runs it knows that.
    fn new() -> Option<Self> {
        if !is_root_or_known_not("make networks") {
            return None;
        }
        let dir = TempDir::with_prefix("sft-srv-").unwrap();
        let person = Person::new(Path::new(SFT), dir.path().join("home")).with_key();
        person.authorize(&person.public_key());
        let (resolv, script) = (dir.path().join("resolv.conf"), dir.path().join("dns.py"));
        std::fs::write(&resolv, "nameserver 127.0.0.1\n").unwrap();
        std::fs::write(&script, DNS).unwrap();
        let mut command = person.command(Path::new("unshare"));
        let line =
            "ip link set lo up && mount --bind \"$0\" /etc/resolv.conf && exec /usr/bin/python3 \"$1\"";
        command.args(["--net", "--mount", "sh", "-c", line]).arg(&resolv).arg(&script);
        let machine = Self { dns: Running::start(command), person, dir };
        wait_for(&machine.dns);
        Some(machine)
    }

    fn command(&self, line: &[&str]) -> Command {
        let mut command = self.person.command(Path::new("nsenter"));
        command.args(["-t", &self.dns.pid().to_string(), "-n", "-m", SFT]).args(line);
        command
    }

    fn run(&self, line: &[&str]) -> Ran {
        Running::start(self.command(line)).wait(PATIENCE)
    }

    /// Serves a folder with one file, which is called like the address; all servers have the same key.
    fn serve(&self, address: &str, port: &str) -> Running {
        let folder = self.dir.path().join(address);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(address), "").unwrap();
        let line = ["serve", "--json", folder.to_str().unwrap(), "--bind", address, "--port", port];
        let running = Running::start(self.command(&line));
        wait_for(&running);
        running
    }

    /// Trusts under a name whatever key all servers here have.
    fn trust(&self, server: &Running, name: &str) {
        let said: serde_json::Value =
            serde_json::from_str(server.stdout_so_far().lines().next().unwrap()).unwrap();
        self.run(&["trust", "add", name, said["fingerprint"].as_str().unwrap()]).done();
    }
}

fn wait_for(running: &Running) {
    let began = Instant::now();
    while !running.stdout_so_far().contains('\n') {
        assert!(began.elapsed() < PATIENCE, "{running:?}: {}", running.stderr_so_far());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn names_lead_where_dns_says() {
    let Some(machine) = Machine::new() else { return };
    let first = machine.serve("127.0.0.1", "4001");
    let second = machine.serve("127.0.0.2", "4002");
    let plain = machine.serve("127.0.0.3", "1303");
    let ls = |name: &str| machine.run(&["ls", name]).done().out();
    for name in ["files.example", "tcp.example", "plain.example", "files.example:4001", "127.0.0.3"] {
        machine.trust(&plain, name);
    }
    assert_eq!(
        ls("files.example:"),
        "127.0.0.1\n",
        "the lower number goes first, whatever the order of the answer"
    );
    assert_eq!(ls("tcp.example:"), "127.0.0.2\n", "a record for TCP alone");
    assert_eq!(ls("plain.example:"), "127.0.0.3\n", "without a record it is the host, on port 1303");
    assert_eq!(ls("127.0.0.3:"), "127.0.0.3\n", "an address has no records");
    // A port that is named is of the host itself, where nobody listens on it.
    machine.run(&["ls", "sft://files.example:4001/"]).ended(3);

    let none = machine.run(&["ls", "none.example:"]).ended(3).err();
    let expected = "sft: none.example says by DNS that it has no sft service; to ask one of its hosts all the same, name the port: \
                    `sft://none.example:1303/`\n";
    assert_eq!(none, expected);

    // When the first is gone, the next one is used; and nobody but those that are named.
    drop(first);
    assert_eq!(ls("files.example:"), "127.0.0.2\n");
    drop(second);
    machine.run(&["ls", "files.example:", "--wait", "0"]).ended(3);
    drop(plain);
}

#[test]
fn an_answer_is_waited_for_and_its_order_is_kept() {
    let Some(machine) = Machine::new() else { return };
    let (_first, _second) = (machine.serve("127.0.0.1", "4001"), machine.serve("127.0.0.2", "4002"));
    let plain = machine.serve("127.0.0.3", "1303");
    for name in ["late.example", "mute.example", "broken.example", "race.example"] {
        machine.trust(&plain, name);
    }
    assert_eq!(machine.run(&["ls", "late.example:"]).done().out(), "127.0.0.2\n");
    for name in ["mute.example", "broken.example"] {
        let ran = machine.run(&["ls", &format!("{name}:")]).done();
        assert_eq!(ran.out(), "127.0.0.3\n");
        let note = format!("DNS did not say whether other hosts serve {name}; trying {name}:1303\n");
        assert_eq!(ran.err(), note);
    }

    // Both are there, and in a race the second one would come up where the first has the wrong key.
    let stranger = machine.dir.path().join("stranger");
    let folder = machine.dir.path().join("127.0.0.2");
    let line =
        ["serve", "--json", folder.to_str().unwrap(), "--bind", "127.0.0.2", "--port", "4003", "--state"];
    let other = Running::start(machine.command(&[&line[..], &[stranger.to_str().unwrap()]].concat()));
    wait_for(&other);
    let refused = machine.run(&["ls", "race.example:"]).ended(4).err();
    assert!(
        refused.contains("key"),
        "a server with another key goes first, and is not passed over: {refused}"
    );
    drop(other);
    assert_eq!(machine.run(&["ls", "race.example:"]).done().out(), "127.0.0.1\n", "the next one");
}
