//! Promise: `sft port` tells which service a port belongs to, who listens on it here, as `ss` does, and what answers on one
//! port of another machine. Needs root to see what belongs to others; `SFT_TEST_NOT_ROOT=1` goes without that.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sft_testkit::{Person, Ran, Running, World, is_root_or_known_not};
use tempfile::TempDir;

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(180);

/// A command line of words and numbers.
macro_rules! words {
    ($($word:expr),* $(,)?) => {
        vec![$(OsString::from($word.to_string())),*]
    };
}

/// Someone without a server, and a folder of theirs.
fn someone() -> (TempDir, Person) {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = TempDir::with_prefix("sft-port-").unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let person = Person::new(Path::new(SFT), dir.path().join("home"));
    (dir, person)
}

/// A program that listens, and writes its port first.
fn listening(mut command: Command) -> (Running, u16) {
    command.env("PYTHONUNBUFFERED", "1");
    let running = Running::start(command);
    let began = Instant::now();
    loop {
        // Python's web server writes more than the number.
        let words: Vec<_> =
            running.stdout_so_far().split_whitespace().filter_map(|word| word.parse().ok()).collect();
        if let [port, ..] = words[..]
            && running.stdout_so_far().contains('\n')
        {
            return (running, port);
        }
        assert!(began.elapsed() < PATIENCE, "{running:?} does not listen: {}", running.stderr_so_far());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn python(person: &Person, script: &str) -> Command {
    let mut command = person.command(Path::new("/usr/bin/python3"));
    command.args(["-c", script]);
    command
}

fn web_server(person: &Person) -> (Running, u16) {
    let mut command = person.command(Path::new("/usr/bin/python3"));
    command.args(["-m", "http.server", "0", "--bind", "127.0.0.1"]);
    listening(command)
}

/// A socket of any kind that is held until it is ended.
fn socket(person: &Person, family: &str, kind: &str, address: &str) -> (Running, u16) {
    let listen = if kind == "SOCK_STREAM" { "s.listen()" } else { "pass" };
    let script = format!(
        "import socket, time\ns = socket.socket(socket.{family}, socket.{kind})\ns.bind(('{address}', 0))\n{listen}\n\
         print(s.getsockname()[1])\ntime.sleep(3600)"
    );
    listening(python(person, &script))
}

/// OpenSSH's server on a free port.
fn sshd(dir: &Path, person: &Person) -> (Running, u16) {
    let key = dir.join("host_key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.unwrap().success());
    // Without this folder it does not start; the system makes it when its own is started.
    let _ = std::fs::create_dir("/run/sshd");
    let port = free_port();
    let mut command = person.command(Path::new("/usr/sbin/sshd"));
    command
        .args(["-D", "-e", "-f", "/dev/null", "-o", "ListenAddress=127.0.0.1", "-p", &port.to_string(), "-h"])
        .arg(&key);
    let running = Running::start(command);
    let began = Instant::now();
    while !running.stderr_so_far().contains("listening on") {
        assert!(began.elapsed() < PATIENCE, "{}", running.stderr_so_far());
        std::thread::sleep(Duration::from_millis(5));
    }
    (running, port)
}

/// A port of this machine on which nobody listens.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A socket as both `sft` and `ss` tell it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    transport: String,
    address: String,
    port: u64,
    pids: BTreeSet<u64>,
}

fn seen_by_sft(ran: &Ran) -> BTreeSet<Seen> {
    let listeners = ran.objects().into_iter().filter(|object| object["kind"] == "listener");
    listeners
        .map(|object| Seen {
            transport: object["transport"].as_str().unwrap().into(),
            address: object["address"].as_str().unwrap().into(),
            port: object["port"].as_u64().unwrap(),
            pids: object["processes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|process| process["pid"].as_u64().unwrap())
                .collect(),
        })
        .collect()
}

fn seen_by_ss() -> BTreeSet<Seen> {
    let ran = Command::new("ss").args(["-H", "-ltnup"]).output().expect("ss is installed");
    assert!(ran.status.success());
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (address, port) = words[4].rsplit_once(':').unwrap();
        // `*` is every address of both families, which the system keeps as one of IPv6; `%` names a device.
        let address = address.trim_matches(['[', ']']).split('%').next().unwrap();
        let address = if address == "*" { "::" } else { address };
        let pids = line.split("pid=").skip(1).map(|rest| rest.split(',').next().unwrap().parse().unwrap());
        Seen {
            transport: words[0].into(),
            address: address.into(),
            port: port.parse().unwrap(),
            pids: pids.collect(),
        }
    };
    String::from_utf8(ran.stdout).unwrap().lines().map(line).collect()
}

/// Transport, port and process of what `lsof` sees listening.
fn seen_by_lsof() -> BTreeSet<(String, u64, u64)> {
    // One field a line, its kind in the first letter; no name is looked up.
    let ask = |which: &[&str]| {
        let mut lsof = Command::new("lsof");
        let ran = lsof.args(["-nP", "-w", "-FpPn"]).args(which).output();
        String::from_utf8(ran.expect("lsof is installed by tests/run").stdout).unwrap()
    };
    let said = ask(&["-iTCP", "-sTCP:LISTEN"]) + &ask(&["-iUDP"]);
    let (mut pid, mut transport) = (0, String::new());
    let mut seen = BTreeSet::new();
    for line in said.lines() {
        match line.split_at(1) {
            ("p", number) => pid = number.parse().unwrap(),
            ("P", name) => transport = name.to_lowercase(),
            // With an arrow it is connected to somebody, and does not listen.
            ("n", address) if !address.contains("->") => {
                let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
                seen.extend(port.map(|port| (transport.clone(), port, pid)));
            }
            _ => {}
        }
    }
    seen
}

#[test]
fn it_sees_what_lsof_sees() {
    is_root_or_known_not("see what belongs to others");
    let (dir, person) = someone();
    let started = [
        web_server(&person),
        sshd(dir.path(), &person),
        socket(&person, "AF_INET", "SOCK_DGRAM", "127.0.0.1"),
        socket(&person, "AF_INET6", "SOCK_STREAM", "::1"),
    ];
    // Other tests listen meanwhile: what was there before and after was there all the time.
    let before = seen_by_lsof();
    let ran = person.sft(words!["port", "--json"]).done();
    let after = seen_by_lsof();
    for (running, port) in &started {
        let ours = |(_, number, pid): &(String, u64, u64)| {
            *number == u64::from(*port) && *pid == u64::from(running.pid())
        };
        assert!(before.iter().any(ours), "lsof does not see {running:?} on {port}: {before:?}");
    }
    let ours: BTreeSet<_> = seen_by_sft(&ran)
        .into_iter()
        .flat_map(|seen| seen.pids.into_iter().map(move |pid| (seen.transport.clone(), seen.port, pid)))
        .collect();
    let missing: Vec<_> = before.intersection(&after).filter(|seen| !ours.contains(seen)).collect();
    assert!(missing.is_empty(), "lsof sees these, sft does not: {missing:#?}\n{ran:?}");
}

#[test]
fn it_sees_what_ss_sees() {
    let root = is_root_or_known_not("see what belongs to others");
    let (dir, person) = someone();
    let mut started = vec![
        web_server(&person),
        sshd(dir.path(), &person),
        socket(&person, "AF_INET", "SOCK_DGRAM", "127.0.0.1"),
        socket(&person, "AF_INET6", "SOCK_DGRAM", "::"),
        socket(&person, "AF_INET6", "SOCK_STREAM", "::1"),
        socket(&person, "AF_INET", "SOCK_STREAM", "0.0.0.0"),
    ];
    if root {
        let somebody = Person::new(Path::new(SFT), dir.path().join("somebody")).as_user(54_321);
        started.push(socket(&somebody, "AF_INET", "SOCK_STREAM", "127.0.0.1"));
    }
    // Other tests listen meanwhile: what was there before and after was there all the time.
    let before = seen_by_ss();
    let ran = person.sft(words!["port", "--json"]).done();
    let after = seen_by_ss();
    let ours = seen_by_sft(&ran);
    let missing: Vec<_> = before.intersection(&after).filter(|seen| !ours.contains(seen)).collect();
    assert!(missing.is_empty(), "ss sees these, sft does not: {missing:#?}\n{ran:?}");
    for (running, port) in &started {
        let held = ours
            .iter()
            .filter(|seen| seen.port == u64::from(*port) && seen.pids.contains(&running.pid().into()));
        assert_eq!(held.count(), 1, "{running:?} on {port}: {ran:?}");
    }
    if root {
        let (running, port) = started.last().unwrap();
        let page = person.sft(words!["port", port]).done().out();
        let expected = format!("tcp on 127.0.0.1: python3 {}, user 54321, since ", running.pid());
        assert!(page.contains(&expected), "{page}");
    }
}

#[test]
fn what_is_hidden_is_said_with_what_to_type() {
    if !is_root_or_known_not("see what belongs to others") {
        return;
    }
    let (dir, person) = someone();
    let (running, port) = socket(&person, "AF_INET", "SOCK_STREAM", "127.0.0.1");
    let somebody = Person::new(Path::new(SFT), dir.path().join("somebody")).as_user(54_321);
    // The binary may lie where this user cannot go.
    let copy = dir.path().join("sft");
    std::fs::copy(SFT, &copy).unwrap();
    let run = |line: Vec<OsString>| {
        let mut command = somebody.command(&copy);
        command.args(line);
        Running::start(command).wait(PATIENCE)
    };
    let ran = run(words!["port", port]).done();
    assert!(
        ran.out().contains("tcp on 127.0.0.1: a process that is hidden from you, user root\n"),
        "{ran:?}"
    );
    let note = format!(
        "Note: the process of 1 socket cannot be seen without privilege; try `sudo sft port {port}`\n"
    );
    assert!(ran.err().contains(&note), "{ran:?}");
    let json = run(words!["port", port, "--json"]).done();
    assert_eq!(json.objects().last().unwrap()["hidden"], true);
    let check = run(words!["port", "--check", port]).ended(11);
    assert_eq!(check.err(), format!("{port}: in use by a process that is hidden from you\n"));
    assert!(!person.sft(words!["port", port]).done().err().contains("privilege"), "root sees it");
    drop(running);
}

#[test]
fn a_network_namespace_has_ports_of_its_own() {
    if !is_root_or_known_not("see what belongs to others") {
        return;
    }
    let (_dir, person) = someone();
    let mut inside = person.command(Path::new("unshare"));
    inside.args([
        "--net",
        "sh",
        "-c",
        "ip link set lo up && exec /usr/bin/python3 -m http.server 0 --bind 127.0.0.1",
    ]);
    let (running, port) = listening(inside);
    let pid = running.pid().to_string();
    let ran = person.sft(words!["port", "--json"]).done();
    let outside = seen_by_sft(&ran);
    assert!(!outside.iter().any(|seen| seen.pids.contains(&running.pid().into())), "{ran:?}");
    let spaces = ran.objects().last().unwrap()["namespaces"].as_array().unwrap().len();
    assert!(spaces >= 1, "{ran:?}");
    let note = person.sft(words!["port"]).done().err();
    assert!(note.contains("more network namespace") && note.contains("`sudo nsenter -t "), "{note}");
    let mut enter = person.command(Path::new("nsenter"));
    enter.args(["-t", &pid, "-n", SFT, "port", "--json"]);
    let ran = Running::start(enter).wait(PATIENCE).done();
    let expected = Seen {
        transport: "tcp".into(),
        address: "127.0.0.1".into(),
        port: port.into(),
        pids: [running.pid().into()].into(),
    };
    assert_eq!(seen_by_sft(&ran), [expected].into(), "nothing else listens there");
}

#[test]
fn a_server_is_known_by_its_key() {
    let world = World::new(SFT);
    let page = world.sft(words!["port", world.port()]).done().out();
    assert!(page.contains(&format!("  sft          sft serves here: {}\n", world.fingerprint())), "{page}");
    assert!(page.contains("tcp and udp on "), "{page}");
    let port = world.port().to_string();
    let here = world.sft(words!["port", port, "127.0.0.1"]).done().out();
    for line in [
        "127.0.0.1, port PORT\n\n  tcp          open, round trip ",
        "  udp          open, answers as QUIC, round trip ",
        "  sft          sft over QUIC and TCP; SFTP for SSH clients\n",
        "  fingerprint  KEY, which you trust\n",
        "  it says      SSH: SSH-2.0-sft_",
    ] {
        let line = line.replace("KEY", world.fingerprint()).replace("PORT", &port);
        assert!(here.contains(&line), "{line} in {here}");
    }
    let stranger = world.newcomer("stranger");
    let unknown = stranger.sft(words!["port", port, "127.0.0.1"]).done().out();
    assert!(unknown.contains(", which you have not trusted yet\n"), "{unknown}");
    let other = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    stranger.trusts(world.port(), other);
    let changed = stranger.sft(words!["port", port, "127.0.0.1"]).done().out();
    assert!(changed.contains(&format!(", which is NOT the one you trust: {other}\n")), "{changed}");
    let json = world.sft(words!["port", format!("{port}/udp"), "127.0.0.1", "--json"]).done().objects();
    assert_eq!(json[0]["fingerprint"], world.fingerprint());
    assert_eq!((&json[0]["udp"]["state"], json[0].get("tcp")), (&"quic".into(), None));
    // The name that the configuration file gives to the server stands for its address here too.
    assert!(world.sft(words!["port", port, "srv:"]).done().out().starts_with("127.0.0.1, port "));
}

#[test]
fn what_others_answer() {
    let (dir, person) = someone();
    let web = web_server(&person);
    let ssh = sshd(dir.path(), &person);
    let ask = |port: u16| person.sft(words!["port", port, "127.0.0.1"]);
    let page = ask(web.1).done().out();
    assert!(
        page.contains("  tcp          open, round trip ") && page.contains("  it says      HTTP: "),
        "{page}"
    );
    assert!(page.contains("  sft          not an sft server"), "{page}");
    let page = ask(ssh.1).done().out();
    assert!(page.contains("  it says      SSH: SSH-2.0-OpenSSH_"), "{page}");
    assert!(page.contains("  sft          not an sft server\n"), "{page}");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let page = ask(silent.local_addr().unwrap().port()).done().out();
    assert!(page.contains("  tcp          open, ") && !page.contains("it says"), "{page}");
    assert!(page.contains("  udp          closed: the host answers that nobody listens\n"), "{page}");

    let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = echo.local_addr().unwrap().port();
    let answering = std::thread::spawn(move || {
        let mut packet = [0; 2000];
        let (count, from) = echo.recv_from(&mut packet).unwrap();
        echo.send_to(&packet[..count], from).unwrap();
    });
    let page = ask(port).done().out();
    assert!(page.contains("  udp          open, answers and not as QUIC, round trip "), "{page}");
    answering.join().unwrap();

    let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
    let page = person
        .sft(words!["port", format!("{}/udp", mute.local_addr().unwrap().port()), "127.0.0.1"])
        .ended(3)
        .out();
    let none = "  udp          no answer within 3 s: filtered on the way, or nobody there who speaks QUIC\n";
    assert!(page.ends_with(&format!("\n\n{none}")), "{page}");

    let page = ask(free_port()).ended(3).out();
    assert!(page.contains("  tcp          closed: the host answers that nobody listens\n"), "{page}");
}

/// Speaks TLS, and nothing above it, to whoever comes; gives the port and the certificate.
fn tls_server(name: &str) -> (u16, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let (listener, config) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(config));
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, config) = (stream.unwrap(), Arc::clone(&config));
            std::thread::spawn(move || {
                let mut tls = rustls::ServerConnection::new(config).unwrap();
                while tls.complete_io(&mut stream).is_ok() && tls.is_handshaking() {}
            });
        }
    });
    (port, made.cert.der().to_vec())
}

#[test]
fn who_speaks_tls_shows_a_certificate() {
    let (dir, person) = someone();
    let (port, certificate) = tls_server("files.example.org");
    let ran = person.sft(words!["port", "--json", format!("{port}/tcp"), "127.0.0.1"]).done();
    let shown = &ran.objects()[0]["tcp"]["certificate"];
    assert!(shown["names"][0] == "files.example.org" && shown["issuer"].is_null(), "{shown}");
    let file = dir.path().join("certificate");
    std::fs::write(&file, certificate).unwrap();
    let mut command = person.command(Path::new("sha256sum"));
    command.arg(file);
    let sum = Running::start(command).wait(PATIENCE).done();
    assert!(sum.out().starts_with(shown["sha256"].as_str().unwrap()), "{shown}");
    let page = person.sft(words!["port", port, "127.0.0.1"]).done().out();
    assert!(
        page.contains("  certificate  for files.example.org, by itself, valid until 4096-01-01; SHA-256 "),
        "{page}"
    );
}

#[test]
fn who_resets_every_connection_is_open_and_no_server() {
    let (_dir, person) = someone();
    let script = "import socket, struct\n\
                  s = socket.create_server(('127.0.0.1', 0))\n\
                  print(s.getsockname()[1])\n\
                  while True:\n\
                  \x20   c, _ = s.accept()\n\
                  \x20   c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\n\
                  \x20   c.close()\n";
    let (_resetting, port) = listening(python(&person, script));
    let began = Instant::now();
    let page = person.sft(words!["port", format!("{port}/tcp"), "127.0.0.1"]).done().out();
    assert!(page.contains("  tcp          open, round trip ") && !page.contains("it says"), "{page}");
    assert!(page.contains("  sft          not an sft server"), "{page}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let said = person.sft(words!["doctor", format!("sft://127.0.0.1:{port}/")]).ended(3).out();
    assert!(said.contains("127.0.0.1 over TCP: open") && said.contains("nothing gets through"), "{said}");
}

#[test]
fn what_is_dropped_on_the_way_is_filtered() {
    if !is_root_or_known_not("see what belongs to others") {
        return;
    }
    let (_dir, person) = someone();
    let mut inside = person.command(Path::new("unshare"));
    // What goes out here arrives at nobody: the other end of the wire has another address.
    let script = "ip link add void0 type veth peer name void1 && ip link set void0 up && ip link set void1 up && \
                  ip addr add 192.0.2.1/24 dev void0 && ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:01 dev void0 && \
                  exec \"$0\" port 1303 192.0.2.2";
    inside.args(["--net", "sh", "-c", script, SFT]);
    let ran = Running::start(inside).wait(PATIENCE).ended(3);
    let expected = "192.0.2.2, port 1303\n\n  \
                    tcp          filtered: no answer within 3 s, as if something on the way dropped it\n  \
                    udp          no answer within 3 s: filtered on the way, or nobody there who speaks QUIC\n";
    assert_eq!(ran.out(), expected);
}

#[test]
fn a_script_learns_whether_a_port_is_free() {
    let world = World::new(SFT);
    let ours = world.sft(words!["port", "--check", world.port()]).ended(10).err();
    assert!(ours.starts_with(&format!("{}: in use by sft (sft, process ", world.port())), "{ours}");
    let (dir, person) = someone();
    let (running, port) = socket(&person, "AF_INET", "SOCK_STREAM", "127.0.0.1");
    let other = world.sft(words!["port", "--check", port]).ended(11).err();
    assert_eq!(other, format!("{port}: in use by python3, process {}\n", running.pid()));
    let udp = world.sft(words!["port", "--check", format!("{port}/udp")]).ended(0).err();
    assert_eq!(udp, format!("{port}/udp: free\n"));
    // Port 1 is nobody's today.
    let json = world.sft(words!["port", "--check", "--json", "tcpmux", port]).ended(11).objects();
    assert_eq!((&json[0]["state"], &json[1]["state"]), (&"free".into(), &"other".into()));
    let worst = world.sft(words!["port", "--check", "-q", world.port(), port, "1"]).ended(11);
    assert_eq!((worst.out(), worst.err()), (String::new(), String::new()));
    drop(dir);
}

#[test]
fn the_registry_is_looked_up() {
    let (_dir, person) = someone();
    let out = |line: Vec<OsString>| person.sft(line).done().out();
    let page = out(words!["port", "SFTSRV"]);
    assert!(page.starts_with("1303  sftsrv\n\n  transports   tcp, udp\n"), "{page}");
    assert!(page.contains("  assigned to  Robert Frazier\n  dates        none in the registry\n"), "{page}");
    assert!(
        page.contains("\n  source       IANA's registry of service names and port numbers as of 20"),
        "{page}"
    );
    let page = out(words!["port", "https/sctp"]);
    assert!(page.starts_with("443  https\n\n  transports   sctp\n"), "{page}");
    let page = out(words!["port", "50000"]);
    assert!(
        page.starts_with(
            "50000\n\n  registry     has nothing about it\n\n  range        dynamic (49152-65535): "
        ),
        "{page}"
    );
    let page = out(words!["port", "zigbee-gateway"]);
    assert!(
        page.starts_with("zigbee-gateway\n") && !page.contains("range"),
        "a service without a port: {page}"
    );
    let table = out(words!["port", "1300-1310"]);
    assert!(table.starts_with("PORT  TRANSPORTS  SERVICE         DESCRIPTION\n1300  "), "{table}");
    assert_eq!(table.lines().filter(|line| line.starts_with("13")).count(), 11, "{table}");
    let found = out(words!["port", "--search", "file transfer simple"]);
    assert!(found.contains("\n115   tcp, udp") || found.contains("\n115  tcp, udp"), "{found}");
    let json = person.sft(words!["port", "1303", "22/tcp", "--json"]).done().objects();
    assert_eq!((&json[0]["name"], &json[0]["assignee"]), (&"sftsrv".into(), &"Robert Frazier".into()));
    assert!(json.iter().any(|object| object["name"] == "ssh"), "{json:?}");
}

/// What is said, but for the network namespaces that other tests may have just now.
fn own_lines(said: &str) -> String {
    said.split_inclusive('\n').filter(|line| !line.contains("more network namespace")).collect()
}

#[test]
fn what_cannot_be_meant_is_told() {
    let (_dir, person) = someone();
    let says = |line: Vec<OsString>, code, text: &str| {
        let ran = person.sft(line).ended(code);
        assert_eq!(own_lines(&ran.err()), format!("sft: {text}\n"), "{ran:?}");
    };
    says(words!["port", "99999"], 2, "`99999` is not a port; ports are numbers from 0 to 65535");
    says(words!["port", "5-4"], 2, "`5-4` is an empty range; write the lower port first: `4-5`");
    says(
        words!["port", ""],
        2,
        "an empty name means no service; write a port, a range or a service name, such as `1303`, `1300-1310` or `https`",
    );
    says(
        words!["port", "no-such-service"],
        1,
        "the registry has no service `no-such-service`; `sft port --search no-such-service` looks into descriptions too",
    );
    says(
        words!["port", "--search", "no such words"],
        1,
        "no service has all words of `no such words` in its name or description",
    );
    says(
        words!["port", "1-2", "host.invalid"],
        2,
        "a host is asked about a single port, and `1-2` is 2 of them",
    );
    says(
        words!["port", "nobody", "host.invalid"],
        2,
        "a host is asked about a single port, and `nobody` is no port",
    );
    says(
        words!["port", "22/sctp", "host.invalid"],
        2,
        "a host can be asked over tcp and udp, and not over other transports",
    );
    says(
        words!["port", "--check", "22/sctp"],
        2,
        "`22/sctp` cannot be checked: sockets are seen over tcp and udp alone",
    );
    says(
        words!["port", "--check", "22", "host.invalid"],
        2,
        "`--check` is about this machine; without it, a host is asked",
    );
    says(
        words!["port", "--check", "zigbee-gateway"],
        2,
        "the registry has no port for `zigbee-gateway`; name the port itself",
    );
    says(words!["port", "22", "a/b"], 2, "`a/b` is neither a port, nor a service, nor a host");
    let ran = person.sft(words!["port", "22", "host.invalid"]).ended(3);
    assert!(ran.err().starts_with("sft: the host host.invalid was not found: "), "{ran:?}");
    person.sft(words!["port", "--check"]).ended(2).says("--check");
}

#[test]
fn a_terminal_gets_lines_that_fit() {
    let (_dir, person) = someone();
    // `script` gives it a terminal; 60 characters are not enough for most of the notes of HTTP.
    let mut command = person.command(Path::new("script"));
    command.args(["-qec", &format!("stty cols 60; {SFT} port http"), "/dev/null"]);
    let page = own_lines(&Running::start(command).wait(PATIENCE).done().out());
    let longest = page.lines().map(|line| line.trim_end().chars().count()).max().unwrap();
    assert!((50..=60).contains(&longest), "{longest}: {page}");
    assert!(page.contains("World Wide Web HTTP"), "{page}");
}
