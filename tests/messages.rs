//! Promise: every sentence that a user may read says what happened, to what, and what to do. Each is shown here once, to be
//! read: the texts are whole, with what differs from run to run put into capitals.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sft_testkit::{Person, Ran, Running, Tree, World, args};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(180);

/// What was said, with this world's port, folders and key as `PORT`, `DIR` and `KEY`.
fn general(world: &World, said: &str) -> String {
    let dir = world.root().parent().unwrap().display().to_string();
    let said = said.replace(world.fingerprint(), "KEY").replace(&dir, "DIR");
    said.replace(&format!(":{}", world.port()), ":PORT")
}

/// Runs a line and compares what it says on stderr, and how it ends.
#[track_caller]
fn says(world: &World, person: &Person, line: &str, code: i32, sentence: &str) -> Ran {
    let words = line.split(' ').map(|word| if word == "''" { "" } else { word });
    let words = words.map(|word| word.replace("PORT", &world.port().to_string()).into());
    let ran = person.sft(words.collect());
    assert_eq!((ran.code, general(world, &ran.err())), (Some(code), format!("{sentence}\n")), "{ran:?}");
    ran
}

/// Waits until something holds.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn names_that_cannot_be_meant() {
    let world = World::new(SFT);
    let cases = [
        (
            "ls ''",
            "an empty name means no file; write `.` for the current directory, or `host:` for all that a host serves",
        ),
        ("ls a,b:x", "`a,b` in `a,b:x` cannot be a host; if a local file is meant, write `./a,b:x`"),
        (
            "ls 2001:db8::1:x",
            "`2001:db8::1:x` begins like an IPv6 address; write it in brackets: `[2001:db8::1]:path`",
        ),
        (
            "ls @h:x",
            "`@h:x` has an unusable user name before its `@`; write `user@host:path`, or `host:path` for none",
        ),
        (
            "ls sft://h:99999/x",
            "`99999` in `sft://h:99999/x` is not a port; a port is a number from 1 to 65535",
        ),
        (
            "ls sft://h/%zz",
            "`sft://h/%zz` has a `%` that is not followed by two hexadecimal digits; write `%25` for a `%` in an `sft://` name",
        ),
        ("ls srv:a/../b", "`srv:a/../b` is not a path on a host: `.` and `..` are not names"),
        (
            "ls here",
            "`here` is on this machine, and `sft ls` works on a host: write `here:` for the host `here`, or `host:here`",
        ),
        ("cp a b", "`a` and `b` are both on this machine: use `cp -r`, or write `host:path` for one of them"),
        (
            "cp srv:a k:b",
            "`srv:a` and `k:b` are both on hosts: copy to this machine first, or run sft on one of them",
        ),
        (
            "cp srv:a srv:b",
            "`srv:a` and `srv:b` are on the same host, where sft cannot copy yet: `sft mv` renames there",
        ),
        (
            "mv srv:a k:b",
            "`srv:a` and `k:b` are on different hosts: copy with `sft cp` to this machine and from here",
        ),
        ("mv srv: srv:b", "`srv:` is all that the host serves, which has no name to change"),
        ("mv srv:a srv:gone/", "`srv:gone` is not a directory: make it with `sft mkdir`"),
        (
            "rm -r srv:",
            "`srv:` is all that the host serves, which `sft rm` does not remove: name what is in it",
        ),
        ("help fly", "there is no help on `fly`; `sft help` lists the verbs"),
    ];
    for (line, sentence) in cases {
        says(&world, &world.client, line, 2, &format!("sft: {sentence}"));
    }
}

#[test]
fn entries_that_are_not_as_needed() {
    let world = World::new(SFT);
    let mut tree = Tree::new(world.root());
    tree.dir("d").file("d/in", 1).file("f", 2).file("g", 3);
    let cases = [
        ("ls srv:gone", "srv:gone: there is no such entry"),
        ("ls srv:f/", "srv:f: it, or a parent of it, is not a directory"),
        ("stat srv:gone", "srv:gone: there is no such entry"),
        ("stat srv:f/x", "srv:f/x: it, or a parent of it, is not a directory"),
        ("cat srv:d", "srv:d: it is a directory"),
        ("hash srv:d", "srv:d: it is a directory"),
        ("mkdir srv:d", "srv:d: an entry of this name exists already"),
        ("mkdir srv:x/y", "srv:x/y: the directory above it is not there; -p makes it too"),
        ("rm srv:gone", "srv:gone: there is no such entry"),
        ("rm srv:d", "srv:d: the directory is not empty; -r removes it with all that is in it"),
        ("mv -n srv:f srv:g", "srv:f: g: an entry of this name exists already"),
        ("mv srv:gone srv:g", "srv:gone: there is no such entry"),
    ];
    for (line, sentence) in cases {
        says(&world, &world.client, line, 1, &format!("sft: {sentence}"));
    }
}

#[test]
fn connections_that_do_not_come_up() {
    let world = World::new(SFT);
    let person = world.newcomer("new");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ran =
        person.sft(args!["ls", "--transport", "tcp", "--port", silent.to_string(), "127.0.0.1:"]).ended(3);
    assert_eq!(
        ran.err().replace(&silent.to_string(), "PORT"),
        "sft: cannot reach 127.0.0.1:PORT: TCP 127.0.0.1:PORT: Connection refused (os error 111). Is `sft serve` running \
         there, and does its firewall let TCP in? UDP was not tried\n"
    );
    let ran =
        person.sft(args!["ls", "--transport", "quic", "--port", silent.to_string(), "127.0.0.1:"]).ended(3);
    assert_eq!(
        ran.err().replace(&silent.to_string(), "PORT"),
        "sft: cannot reach 127.0.0.1:PORT: UDP 127.0.0.1:PORT: no answer within 5 s. Is `sft serve` running there, and \
         does its firewall let UDP in? TCP was not tried\n"
    );
    let ran = person.sft(args!["ls", "no.such.host.invalid:"]).ended(3);
    let text = "sft: cannot find the address of `no.such.host.invalid`; check the spelling and the network: ";
    assert!(ran.err().starts_with(text), "{ran:?}");
    says(
        &world,
        &person,
        "ls sft://127.0.0.1:PORT/",
        4,
        "sft: 127.0.0.1:PORT is not trusted yet; its key is KEY. If that is what `sft serve` shows there, run\n    \
         sft trust add 127.0.0.1:PORT KEY\nand try again",
    );
    let other = format!("SHA256:{}A", "B".repeat(42));
    person.trusts(world.port(), &other);
    says(
        &world,
        &person,
        "ls sft://127.0.0.1:PORT/",
        4,
        &format!(
            "sft: THE KEY OF 127.0.0.1:PORT HAS CHANGED: it was {other} and is now KEY. Somebody may be answering in its \
             place, or it was set up anew. Nothing was sent to it. If its owner confirms the new key, run\n    \
             sft trust remove 127.0.0.1:PORT\nand try again"
        ),
    );
    person.trusts(world.port(), world.fingerprint());
    let ran = person.sft(args!["ls", format!("sft://127.0.0.1:{}/", world.port())]).ended(4);
    let mut keygen = Command::new("ssh-keygen");
    keygen.arg("-lf").arg(person.key());
    let key =
        String::from_utf8(keygen.output().unwrap().stdout).unwrap().split(' ').nth(1).unwrap().to_owned();
    assert_eq!(
        general(&world, &ran.err()).replace(&key, "MINE"),
        "sft: 127.0.0.1:PORT accepts none of your keys (MINE). Its owner can add one to ~/.ssh/authorized_keys there, or \
         invite you with `sft invite`\n"
    );
    let keyless = world.keyless("keyless");
    keyless.trusts(world.port(), world.fingerprint());
    says(
        &world,
        &keyless,
        "ls sft://127.0.0.1:PORT/",
        4,
        "sft: you have no key to prove who you are: make one with `sft key new`, and let the owner of 127.0.0.1:PORT add it \
         or invite you",
    );
}

#[test]
fn trust_and_keys() {
    let world = World::new(SFT);
    let person = world.keyless("person");
    let key = format!("SHA256:{}A", "B".repeat(42));
    let other = format!("SHA256:{}A", "C".repeat(42));
    let cases = [
        (format!("trust add nas {key}"), 0, "nas:1303 is trusted from now on".into()),
        (format!("trust add nas {key}"), 0, "nas:1303 was trusted already".into()),
        (
            format!("trust add nas {other}"),
            4,
            format!(
                "sft: nas:1303 is pinned with another key, {key}; if that is out of date, run `sft trust remove nas:1303` first"
            ),
        ),
        (
            "trust remove nas".into(),
            0,
            "nas:1303 is forgotten; it will be asked about when you connect again".into(),
        ),
        (
            "trust remove nas".into(),
            2,
            "sft: nas:1303 is not in the list, which `sft trust list` shows".into(),
        ),
        ("key".into(), 0, "sft: you have no key yet; `sft key new` makes one".into()),
        ("key new --passphrase".into(), 2, "sft: a passphrase can only be asked for on a terminal".into()),
    ];
    for (line, code, sentence) in cases {
        says(&world, &person, &line, code, &sentence);
    }
    let ran = person.sft(args!["key", "new"]).done();
    let said = general(&world, &ran.err());
    let (made, hint) = said.split_once('\n').unwrap();
    assert!(made.starts_with("made DIR/person/.config/sft/id_ed25519 (SHA256:"), "{said}");
    assert_eq!(hint, "the line above goes into ~/.ssh/authorized_keys of whoever serves\n");
    says(
        &world,
        &person,
        "key new",
        6,
        "sft: DIR/person/.config/sft/id_ed25519 is there already; a key is never overwritten",
    );
}

#[test]
fn invitations() {
    let world = World::new(SFT);
    let invited = says(
        &world,
        &world.owner,
        "invite --host 127.0.0.1",
        0,
        "It lets its holder list and read on 127.0.0.1:PORT. Hand it over in private; they run `sft join` with it. If they \
         reach this machine by another name, make one with --host.",
    );
    says(
        &world,
        &world.owner,
        "invite --host 127.0.0.1 --path a/b --rights write",
        0,
        "It lets its holder list, read, create, replace and remove in a/b on 127.0.0.1:PORT. Hand it over in private; they \
         run `sft join` with it. If they reach this machine by another name, make one with --host.",
    );
    let cases = [
        ("invite --path ../x", "`../x` is not a path that can be served: `.` and `..` are not names"),
        (
            "invite --host a/b",
            "--host: `a/b` is not a host: letters, digits, `-`, `_` and dots, or an address, with IPv6 in brackets before a port",
        ),
        (
            "invite --host fe80::1%eth0",
            "[fe80::1%eth0]:PORT is an address that has a meaning on this machine alone; name another with --host",
        ),
        ("join nonsense", "an invitation looks like `sft://HOST/#k=...&i=...`; was it copied whole?"),
    ];
    for (line, sentence) in cases {
        says(&world, &world.owner, line, 2, &format!("sft: {sentence}"));
    }
    let link = invited.out().trim_end().to_owned();
    let guest = world.keyless("guest");
    let joined = general(&world, &guest.sft(args!["join", link]).done().err());
    assert!(joined.starts_with("made a key for you: DIR/guest/.config/sft/id_ed25519 (SHA256:"), "{joined}");
    let (_, joined) = joined.split_once('\n').unwrap();
    assert!(joined.starts_with("joined 127.0.0.1:PORT as SHA256:"), "{joined}");
    assert!(
        joined.ends_with("; you may list and read. Try:\n    sft ls sft://127.0.0.1:PORT/\n"),
        "{joined}"
    );
    let late = world.newcomer("late");
    says(
        &world,
        &late,
        &format!("join {link}"),
        4,
        "sft: 127.0.0.1:PORT does not take this invitation: it was used up, withdrawn, or is out of date. Ask for a new one",
    );
    Tree::new(guest.home()).file("mine", 1);
    for (line, sentence) in [
        ("mkdir sft://127.0.0.1:PORT/d", "sft: sft://127.0.0.1:PORT/d: no right to create"),
        ("rm sft://127.0.0.1:PORT/f", "sft: sft://127.0.0.1:PORT/f: no right to remove"),
    ] {
        says(&world, &guest, line, 4, sentence);
    }
}

#[test]
fn the_configuration_file() {
    let world = World::new(SFT);
    let path = world.client.config().join("config.toml");
    std::fs::write(&path, "[host.srv]\nadress = \"x\"\n").unwrap();
    let ran = world.sft(args!["ls", "srv:"]).ended(2);
    let said = general(&world, &ran.err());
    assert!(
        said.starts_with("sft: the configuration file DIR/client/.config/sft/config.toml is wrong: "),
        "{said}"
    );
    assert!(said.contains("unknown field `adress`"), "{said}");
}

/// The line at the end of a copy without its numbers.
fn last_line(ran: &Ran) -> String {
    let err = ran.err();
    let line = err.lines().last().unwrap_or_default();
    let words = line.split(' ').map(|word| {
        let number = word.trim_start_matches('(').trim_end_matches(',');
        if number.starts_with(|c: char| c.is_ascii_digit()) {
            word.replace(number, "N")
        } else {
            word.to_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_end_of_a_copy() {
    let world = World::new(SFT);
    let mut tree = Tree::new(world.local("t"));
    tree.file("one", 100_000).file("two", 5);
    let (one, all) = (tree.path().join("one"), tree.path());
    let up = |more: &[&str], from: &Path, to: &str| {
        let mut line = args!["cp", from, to];
        line.extend(more.iter().map(OsString::from));
        world.sft(line)
    };
    let ran = up(&["--transport", "tcp"], &one, "srv:one").done();
    assert_eq!(
        (ran.out().as_str(), ran.err().lines().count()),
        ("", 1),
        "no bar where there is no terminal: {ran:?}"
    );
    assert!(ran.err().starts_with("1 entry copied: 100 kB in "), "{ran:?}");
    assert!(last_line(&ran).ends_with("MB/s) over TCP, verified"), "{ran:?}");
    let ran = up(&["--transport", "quic"], all, "srv:t").done();
    assert!(ran.err().starts_with("3 entries copied: 100 kB in "), "{ran:?}");
    assert!(ran.err().trim_end().ends_with("over QUIC, verified"), "{ran:?}");
    let ran = up(&[], all, "srv:").done();
    assert_eq!(last_line(&ran), "N entries copied, N unchanged: N B in N ms, N kB were in place", "{ran:?}");
    assert_eq!(up(&["-q"], all, "srv:quiet").done().err(), "");
    let loud = up(&["-v"], &one, "srv:loud").done().err();
    assert!(loud.starts_with("lane up: "), "{loud}");
    // What stands in the way of a directory, of a file, and what is gone.
    Tree::new(world.root()).file("file", 1).dir("blocked/one");
    let long = format!("srv:{}x", "x/".repeat(8192));
    let ran = world.sft(args!["ls", long]).ended(2);
    let sentence = "x` is not a path on a host: a path is longer than 32768 bytes or 8192 levels\n";
    assert!(ran.err().ends_with(sentence), "{ran:?}");
    let cases = [
        (up(&["-q"], all, "srv:file"), 1),
        (up(&["-q"], &one, "srv:blocked/"), 1),
        (up(&["-q"], &one, "srv:gone/x/y"), 1),
        (up(&["-q", "-n"], &one, "srv:file"), 1),
        (up(&["-q"], &world.local("gone"), "srv:"), 6),
        (world.sft(args!["cp", "-q", "srv:gone", world.local("x")]), 1),
        (world.sft(args!["cp", "-q", "srv:one", world.local("no/folder/x")]), 6),
        (world.sft(args!["cp", "-q", "srv:one", "srv:t/two", one]), 6),
    ];
    let said: Vec<String> = cases.map(|(ran, code)| general(&world, &ran.ended(code).err())).into();
    let expected = [
        "sft: t: file: something that is not a directory is in the way; remove it or choose another place\n\
         sft: 2 more entries failed, which lie below\n",
        "sft: blocked/one: a directory is in the way; remove it or choose another place\n",
        "sft: one: gone/x: there is no such directory to copy into; make it first\n",
        "sft: one: file: it exists already and was to be kept\n",
        "sft: cannot use DIR/scratch/gone: No such file or directory (os error 2)\n",
        "sft: gone: there is no such entry\n",
        "sft: cannot use DIR/scratch/no/folder: No such file or directory (os error 2)\n",
        "sft: DIR/scratch/t/one is not a directory, and what was named can only be put into one\n",
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_bar_on_a_terminal_and_none_after_it() {
    let world = World::new(SFT);
    let relay = world.relay("slow");
    relay.rate(4 << 20);
    let file = Tree::new(world.local("t")).file("f", 16 << 20).path().join("f");
    let mut command = world.client.command(Path::new("script"));
    command.env("TERM", "xterm-256color").args([
        "-qec",
        &format!("{SFT} cp {} slow:", file.display()),
        "/dev/null",
    ]);
    let shown = Running::start(command).wait(PATIENCE).done().out();
    assert!(shown.contains(" of 16.8 MB") && shown.contains("MB/s") && shown.contains(" left"), "{shown:?}");
    assert!(shown.contains("1 entry copied: 16.8 MB in "), "{shown:?}");
}

#[test]
fn a_server_from_its_start_to_its_end() {
    let world = World::new(SFT);
    let other = world.newcomer("other");
    other.authorize(&other.public_key());
    let server = |more: &[&str]| {
        let mut line = args!["serve", world.root(), "--bind", "127.0.0.1", "--port", "0"];
        line.extend(more.iter().map(OsString::from));
        let mut server = other.start(line);
        until("it does not start", || server.is_over() || server.stdout_so_far().contains("sft invite"));
        server
    };
    let running = server(&[]);
    let said = running.stdout_so_far();
    let port = said.split("127.0.0.1:").nth(1).unwrap().split(',').next().unwrap();
    let fingerprint = said.split("fingerprint  ").nth(1).unwrap().lines().next().unwrap();
    let expected = "Serving DIR/served\n  listening    127.0.0.1:PORT, UDP and TCP\n  fingerprint  KEY\n  \
                    owners       1 key of DIR/other/.ssh/authorized_keys\n\nOn the other machine:\n  \
                    sft ls sft://127.0.0.1:PORT/\n  sft cp FILE sft://127.0.0.1:PORT/\n  \
                    sftp -P PORT 127.0.0.1\n\n\
                    Let in someone without a key here:\n  sft invite\n";
    assert_eq!(general(&world, &said.replace(port, "PORT").replace(fingerprint, "KEY")), expected);
    running.interrupt();
    assert_eq!(running.wait(PATIENCE).done().err(), "Stopped; nobody was connected.\n");
    std::fs::remove_file(other.home().join(".ssh/authorized_keys")).unwrap();
    let running = server(&["--read-only"]);
    let said = general(&world, &running.stdout_so_far());
    assert!(said.starts_with("Serving, read-only, DIR/served\n"), "{said}");
    assert!(
        said.contains("owners       none: DIR/other/.ssh/authorized_keys names no key that may come in\n"),
        "{said}"
    );
    running.interrupt();
    running.wait(PATIENCE).done();
    let taken = format!("serve {} --bind 127.0.0.1 --port PORT", world.root().display());
    let words = taken.split(' ').map(|word| word.replace("PORT", &world.port().to_string()).into());
    let said = general(&world, &other.sft(words.collect()).ended(6).err());
    let (udp_or_tcp, rest) = said.strip_prefix("sft: ").unwrap().split_once(' ').unwrap();
    assert!(["UDP", "TCP"].contains(&udp_or_tcp), "{said}");
    assert_eq!(
        rest,
        "127.0.0.1:PORT is already in use: stop what uses it (see `ss -ltnup`), or choose another port with --port\n"
    );
    let said = general(&world, &other.sft(args!["serve", world.local("gone"), "--port", "0"]).ended(6).err());
    assert_eq!(said, "sft: DIR/scratch/gone: this directory cannot be served: there is no such entry\n");
}

#[test]
fn a_server_that_stops_under_a_copy_and_comes_back() {
    let mut world = World::new(SFT);
    let relay = world.relay("slow");
    relay.rate(2 << 20);
    let file = Tree::new(world.local("t")).file("f", 24 << 20).path().join("f");
    let mut running = world.start(args!["cp", "--transport", "tcp", file, "slow:"]);
    until("it does not move", || running.is_over() || relay.passed().1 > 6 << 20);
    let stopped = world.stop_server().done().objects().pop().unwrap();
    assert_eq!((&stopped["sessions"], &stopped["transfers"]), (&1.into(), &1.into()));
    until("it does not notice", || running.is_over() || running.stderr_so_far().contains("connecting again"));
    relay.rate(0);
    world.start_server();
    let ran = running.wait(PATIENCE).done();
    let said = ran.err();
    let lines: Vec<&str> = said.lines().collect();
    let (last, losses) = lines.split_last().unwrap();
    assert_eq!(losses[0], "the connection was lost, connecting again: the server is stopping");
    // A busy machine may lose it once more.
    for pair in losses.chunks(2) {
        assert!(pair[0].starts_with("the connection was lost, connecting again: "), "{said}");
        assert_eq!(pair.get(1), Some(&"connected again, and going on"), "{said}");
    }
    assert!(last.starts_with("1 entry copied: "), "{said}");
}

#[test]
fn sftp_that_is_none() {
    let world = World::new(SFT);
    let mut shell = world.client.command(Path::new("bash"));
    shell.arg("-c").arg(r"printf '\0\0\0\5\1\0\0' | $SFT sftp-stdio").env("SFT", SFT);
    let said = Running::start(shell).wait(PATIENCE).ended(6).err();
    assert_eq!(said, "sft: the SFTP session ended early: unexpected end of file\n");
}

#[test]
fn an_interrupted_copy() {
    let world = World::new(SFT);
    let relay = world.relay("slow");
    relay.rate(2 << 20);
    let file = Tree::new(world.local("t")).file("f", 24 << 20).path().join("f");
    let mut running = world.start(args!["cp", "--transport", "tcp", file, "slow:"]);
    until("it does not move", || running.is_over() || relay.passed().1 > 2 << 20);
    running.interrupt();
    let said = running.wait(PATIENCE).ended(130).err();
    assert_eq!(said, "sft: interrupted; what was copied stays, and the same command goes on from there\n");
}
