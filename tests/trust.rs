//! Promise: nobody talks to a server that its user does not trust, and nobody gets in whom the owner did not let in; who was
//! invited may do what the invitation says, where it says, as often and as long as it says.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use sft_testkit::{Person, Ran, Running, Tree, World, args, snapshot};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(180);

/// Someone who has a key and knows only where the server is.
fn newcomer(world: &World, name: &str) -> Person {
    let person = world.newcomer(name);
    person.names("srv", world.port());
    person
}

/// Makes a link for this machine; `more` is what `sft invite` is told besides.
fn invitation(world: &World, more: &[&str]) -> String {
    let mut line = args!["invite", "-q", "--host", "127.0.0.1"];
    line.extend(more.iter().map(Into::into));
    world.owner.sft(line).done().out().trim_end().to_owned()
}

/// Someone who joined with a link and calls the server `srv`.
fn guest(world: &World, name: &str, link: &str) -> Person {
    let person = newcomer(world, name);
    person.sft(args!["join", link]).done();
    person
}

/// Runs `sft` on a terminal of its own, where a person types `typed`.
fn on_a_terminal(person: &Person, line: &str, typed: &str) -> Output {
    let mut command = person.command(Path::new("script"));
    command.args(["-qec", &format!("{SFT} {line}"), "/dev/null"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("script is installed");
    let mut keyboard = child.stdin.take().expect("it is piped");
    keyboard.write_all(typed.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    drop(keyboard);
    output
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn first_contact_without_a_terminal_fails_and_the_command_it_names_is_enough() {
    let world = World::new(SFT);
    Tree::new(world.root()).file("f", 3);
    for transport in ["quic", "tcp", "auto"] {
        let person = newcomer(&world, transport);
        world.owner.authorize(&person.public_key());
        let ran = person.sft(args!["ls", "--transport", transport, "srv:"]).ended(4);
        let command = format!("sft trust add 127.0.0.1:{} {}", world.port(), world.fingerprint());
        assert_eq!(ran.out(), "");
        let named = ran.err().lines().find_map(|line| line.strip_prefix("    ")).map(str::to_owned);
        assert_eq!(named.as_deref(), Some(command.as_str()), "{ran:?}");
        assert!(!person.config().join("trusted").exists(), "nobody said that it is to be trusted");
        person.sft(command.split(' ').skip(1).map(Into::into).collect()).done();
        assert_eq!(person.sft(args!["ls", "--transport", transport, "srv:"]).done().out(), "f\n");
    }
}

#[test]
fn first_contact_on_a_terminal_asks_and_remembers_a_yes() {
    let world = World::new(SFT);
    Tree::new(world.root()).file("f", 3);
    let person = newcomer(&world, "asked");
    world.owner.authorize(&person.public_key());
    let no = on_a_terminal(&person, "ls srv:", "no\n");
    let said = String::from_utf8_lossy(&no.stdout);
    assert!(said.contains(world.fingerprint()) && said.contains("Trust it?"), "{said}");
    assert_eq!(no.status.code(), Some(4), "{said}");
    person.sft(args!["ls", "srv:"]).ended(4);
    let yes = on_a_terminal(&person, "ls srv:", "y\nyes\n");
    let said = String::from_utf8_lossy(&yes.stdout);
    assert!(
        said.contains("Please type yes, no, or the fingerprint"),
        "a single letter is no consent: {said}"
    );
    assert_eq!(yes.status.code(), Some(0), "{said}");
    assert_eq!(person.sft(args!["ls", "srv:"]).done().out(), "f\n");
}

#[test]
fn a_changed_key_is_refused_loudly_until_the_user_removes_the_old_one() {
    let mut world = World::new(SFT);
    let file = Tree::new(world.local("t")).file("f", 100_000).path().join("f");
    world.stop_server().done();
    std::fs::remove_file(world.owner.state().join("identity")).unwrap();
    world.start_server();
    for transport in ["quic", "tcp", "auto"] {
        for line in [args!["ls"], args!["cp", file]] {
            let mut line = line;
            line.extend(args!["srv:", "--transport", transport]);
            let ran = world.sft(line).ended(4);
            for text in ["HAS CHANGED", world.fingerprint(), "Nothing was sent to it", "sft trust remove "] {
                assert!(ran.err().contains(text), "{text} is not in {ran:?}");
            }
        }
    }
    assert!(!world.served("f").exists());
    let server = format!("127.0.0.1:{}", world.port());
    world.sft(args!["trust", "remove", server]).done();
    let ran = world.sft(args!["ls", "srv:"]).ended(4).says("is not trusted yet");
    assert!(!ran.err().contains("HAS CHANGED"), "{ran:?}");
}

#[test]
fn the_list_of_trusted_servers_is_shown_and_changed() {
    let world = World::new(SFT);
    let person = world.keyless("lister");
    let key = |letter: &str| format!("SHA256:{}", letter.repeat(42) + "A");
    assert_eq!(person.sft(args!["trust"]).done().out(), "");
    person
        .sft(args!["trust", "add", "Nas.Example", key("B")])
        .done()
        .says("nas.example:1303 is trusted from now on");
    person.sft(args!["trust", "add", "[2001:db8::1]:99", key("C")]).done();
    person.sft(args!["trust", "add", "nas.example:1303", key("B")]).done().says("was trusted already");
    let other = person.sft(args!["trust", "add", "nas.example", key("D")]).ended(4);
    assert!(other.err().contains("sft trust remove nas.example:1303"), "{other:?}");
    let both = format!("nas.example:1303 {}\n[2001:db8::1]:99 {}\n", key("B"), key("C"));
    assert_eq!(person.sft(args!["trust", "list"]).done().out(), both);
    let objects = person.sft(args!["trust", "--json"]).done().objects();
    assert_eq!(objects[1]["server"], "[2001:db8::1]:99");
    assert_eq!(objects[1]["fingerprint"], key("C"));
    person.sft(args!["trust", "remove", "nas.example"]).done().says("nas.example:1303 is forgotten");
    person.sft(args!["trust", "remove", "nas.example"]).ended(2).says("is not in the list");
    assert_eq!(person.sft(args!["trust"]).done().out().lines().count(), 1);
    for wrong in [args!["trust", "add", "a/b", key("B")], args!["trust", "add", "nas", "MD5:abc"]] {
        person.sft(wrong).ended(2);
    }
    // What cannot be read must not turn a known server into an unknown one.
    std::fs::write(person.config().join("trusted"), "nonsense\n").unwrap();
    let ran = person.sft(args!["ls", format!("sft://127.0.0.1:{}/", world.port())]);
    assert!(!matches!(ran.code, Some(0 | 4)) && ran.err().contains("trusted"), "{ran:?}");
}

#[test]
fn a_stranger_gets_nothing() {
    let world = World::new(SFT);
    Tree::new(world.root()).file("f", 3);
    let before = snapshot(world.root());
    let stranger = world.stranger("stranger");
    Tree::new(stranger.home()).file("mine", 10);
    let lines = [
        args!["ls", "srv:"],
        args!["stat", "srv:f"],
        args!["cat", "srv:f"],
        args!["hash", "srv:f"],
        args!["df", "srv:"],
        args!["mkdir", "srv:d"],
        args!["rm", "srv:f"],
        args!["mv", "srv:f", "srv:g"],
        args!["cp", "srv:f", "here"],
        args!["cp", "mine", "srv:"],
    ];
    for line in lines {
        let ran = stranger.sft(line).ended(4).says("accepts none of your keys");
        assert_eq!(ran.out(), "", "{ran:?}");
    }
    assert!(!stranger.home().join("here").exists());
    assert_eq!(snapshot(world.root()), before);
    let keyless = world.keyless("keyless");
    world.introduce(&keyless, "srv", world.port());
    keyless.sft(args!["ls", "srv:"]).ended(4).says("sft key new");
}

#[test]
fn a_key_that_is_taken_from_the_owners_list_is_out() {
    let world = World::new(SFT);
    world.sft(args!["ls", "srv:"]).done();
    std::fs::write(world.owner.home().join(".ssh/authorized_keys"), "").unwrap();
    world.sft(args!["ls", "srv:"]).ended(4);
}

#[test]
fn a_line_with_a_command_or_an_option_we_do_not_know_gives_nothing() {
    let world = World::new(SFT);
    for (number, options) in
        ["command=\"/bin/date\"", "restrict,command=\"x\"", "from=\"10.0.0.0/8\"", "never-heard-of"]
            .into_iter()
            .enumerate()
    {
        let person = world.stranger(&format!("limited-{number}"));
        world.owner.authorize(&format!("{options} {}", person.public_key()));
        person.sft(args!["ls", "srv:"]).ended(4);
    }
    // An owner's file that others can write says nothing at all.
    world.sft(args!["ls", "srv:"]).done();
    let path = world.owner.home().join(".ssh/authorized_keys");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    world.sft(args!["ls", "srv:"]).ended(4);
}

#[test]
fn a_key_that_only_the_agent_holds_gets_in() {
    let world = World::new(SFT);
    Tree::new(world.root()).file("f", 3);
    let person = world.stranger("agent");
    world.owner.authorize(&person.public_key());
    let socket = person.home().join("agent.sock");
    let mut agent = Command::new("ssh-agent");
    agent.arg("-D").arg("-a").arg(&socket);
    let _agent = Running::start(agent);
    let began = Instant::now();
    while !socket.exists() {
        assert!(began.elapsed() < PATIENCE, "the agent does not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    let with_agent = |program: &str| {
        let mut command = person.command(Path::new(program));
        command.env("SSH_AUTH_SOCK", &socket);
        command
    };
    let mut add = with_agent("ssh-add");
    add.arg(person.key());
    Running::start(add).wait(PATIENCE).done();
    std::fs::remove_file(person.key()).unwrap();
    let mut ls = with_agent(SFT);
    ls.args(["ls", "srv:"]);
    assert_eq!(Running::start(ls).wait(PATIENCE).done().out(), "f\n");
    person.sft(args!["ls", "srv:"]).ended(4);
}

#[test]
fn a_key_with_a_passphrase_asks_for_it_on_a_terminal_alone() {
    let world = World::new(SFT);
    Tree::new(world.root()).file("f", 3);
    let person = world.stranger("sealed");
    world.owner.authorize(&person.public_key());
    let mut seal = Command::new("ssh-keygen");
    seal.args(["-q", "-p", "-P", "", "-N", "open sesame", "-f"]).arg(person.key());
    assert!(seal.output().expect("ssh-keygen is installed").status.success());
    person
        .sft(args!["ls", "srv:"])
        .ended(6)
        .says("needs its passphrase; add it to an ssh-agent with `ssh-add");
    let asked = on_a_terminal(&person, "ls srv:", "open barley\nopen sesame\n");
    let said = String::from_utf8_lossy(&asked.stdout);
    assert_eq!(asked.status.code(), Some(0), "{said}");
    assert!(said.to_lowercase().contains("passphrase") && said.trim_end().ends_with('f'), "{said}");
    let refused = on_a_terminal(&person, "ls srv:", "no\nno\nno\nno\n");
    assert_ne!(refused.status.code(), Some(0), "{}", String::from_utf8_lossy(&refused.stdout));
}

#[test]
fn an_invitation_lets_in_who_holds_it_where_it_says() {
    let world = World::new(SFT);
    Tree::new(world.root()).dir("shared").file("shared/in", 5).file("private", 5);
    let link = invitation(&world, &["--path", "shared"]);
    let person = world.keyless("guest");
    let joined = person.sft(args!["join", link]).done();
    let remote = format!("sft://127.0.0.1:{}", world.port());
    assert!(joined.err().contains("made a key for you"), "{joined:?}");
    assert!(
        joined.err().contains(&format!("you may list and read. Try:\n    sft ls {remote}/shared")),
        "{joined:?}"
    );
    let sft = |verb: &str, path: &str| person.sft(args![verb, format!("{remote}/{path}")]);
    assert_eq!(sft("ls", "shared").done().out(), "in\n");
    assert_eq!(sft("cat", "shared/in").done().stdout, std::fs::read(world.served("shared/in")).unwrap());
    for (verb, path) in [("ls", ""), ("cat", "private"), ("stat", "private"), ("rm", "shared/in")] {
        let ran = sft(verb, path).ended(4);
        assert_eq!(ran.out(), "", "{ran:?}");
    }
    sft("cat", "shared/../private").ended(2);
    let up = person.sft(args!["cp", person.config().join("trusted"), format!("{remote}/shared/")]).ended(4);
    assert!(up.err().contains("no right to create"), "{up:?}");
    assert_eq!(snapshot(&world.served("shared")).len(), 2);
    // The same link again, by who has joined, changes nothing.
    person.sft(args!["join", link]).done();
}

#[test]
fn rights_are_those_of_the_invitation() {
    let world = World::new(SFT);
    let file = Tree::new(world.local("t")).file("new", 7).path().join("new");
    // Which of list, read, create, replace and remove each set holds.
    let sets = [
        ("read", "lr"),
        ("fetch", "r"),
        ("drop", "c"),
        ("list", "l"),
        ("list,create", "lc"),
        ("read,create,replace", "lrcx"),
        ("write", "lrcxd"),
        ("all", "lrcxd"),
    ];
    for (number, (rights, held)) in sets.into_iter().enumerate() {
        let folder = format!("at-{number}");
        Tree::new(world.served(&folder)).file("old", 5).file("away", 5);
        let link = invitation(&world, &["--path", &folder, "--rights", rights]);
        let person = guest(&world, &format!("guest-{number}"), &link);
        let at = |name: &str| format!("srv:{folder}/{name}");
        let tries: [(char, Vec<std::ffi::OsString>); 5] = [
            ('l', args!["ls", at("")]),
            ('r', args!["cat", at("old")]),
            ('c', args!["cp", file, at("new")]),
            ('x', args!["cp", file, at("old")]),
            ('d', args!["rm", at("away")]),
        ];
        for (right, line) in tries {
            let ran = person.sft(line);
            // Who may create and see nothing is told that the name is taken.
            let refused = if right == 'x' && held == "c" { 1 } else { 4 };
            let code = if held.contains(right) { 0 } else { refused };
            assert_eq!(ran.code, Some(code), "{rights}: {right}: {ran:?}");
        }
        let there = |name: &str| world.served(&folder).join(name);
        assert_eq!(there("new").exists(), held.contains('c'), "{rights}");
        assert_eq!(there("old").metadata().unwrap().len() == 7, held.contains('x'), "{rights}");
        assert_eq!(there("away").exists(), !held.contains('d'), "{rights}");
    }
}

#[test]
fn an_invitation_is_used_as_often_as_it_says() {
    let mut world = World::new(SFT);
    let refused = |ran: Ran| {
        ran.ended(4).says("does not take this invitation");
    };
    let once = invitation(&world, &[]);
    let first = guest(&world, "first", &once);
    let second = newcomer(&world, "second");
    refused(second.sft(args!["join", once]));
    assert!(!second.config().join("trusted").exists(), "a link that was not taken pins nothing");
    let twice = invitation(&world, &["--uses", "2"]);
    guest(&world, "third", &twice);
    guest(&world, "fourth", &twice);
    refused(second.sft(args!["join", twice]));
    // Who joined is known to the server from now on.
    world.stop_server().done();
    world.start_server();
    first.sft(args!["ls", "srv:"]).done();
    refused(second.sft(args!["join", once]));
}

#[test]
fn an_invitation_ends_when_it_says() {
    let world = World::new(SFT);
    let link = invitation(&world, &["--expires", "1s"]);
    std::thread::sleep(Duration::from_millis(2100));
    let late = newcomer(&world, "late");
    late.sft(args!["join", link]).ended(4).says("out of date");
    let link = invitation(&world, &["--expires", "1h"]);
    guest(&world, "in-time", &link).sft(args!["ls", "srv:"]).done();
}

#[test]
fn a_link_pins_the_servers_key_and_takes_no_other() {
    let world = World::new(SFT);
    let link = invitation(&world, &["--uses", "5"]);
    let person = guest(&world, "guest", &link);
    let pinned = format!("127.0.0.1:{} {}\n", world.port(), world.fingerprint());
    assert_eq!(person.sft(args!["trust"]).done().out(), pinned);
    // The key in the link, as base64 for addresses, with its first letter changed.
    let at = link.find("#k=").unwrap() + 3;
    let letter = if &link[at..=at] == "A" { "B" } else { "A" };
    let forged = format!("{}{letter}{}", &link[..at], &link[at + 1..]);
    let other = newcomer(&world, "other");
    other.sft(args!["join", forged]).ended(4).says("is not the server that the invitation is from");
    for broken in ["", "nonsense", &link[..link.len() - 3], &link.replace("&i=", "&j=")] {
        other.sft(args!["join", broken]).ended(2);
    }
    other.sft(args!["ls", "srv:"]).ended(4);
}

#[test]
fn a_link_names_the_port_on_which_the_server_listens() {
    let mut world = World::new(SFT);
    let server = |world: &World, more: &[&str]| {
        let mut line = args!["invite", "--json"];
        line.extend(more.iter().map(Into::into));
        world.owner.sft(line).done().objects()[0]["server"].as_str().unwrap().to_owned()
    };
    let own = format!(":{}", world.port());
    assert!(server(&world, &[]).ends_with(&own));
    assert_eq!(server(&world, &["--host", "nas"]), format!("nas{own}"));
    assert_eq!(server(&world, &["--host", "nas:99"]), "nas:99", "what is typed goes before");
    world.stop_server().done();
    assert!(server(&world, &[]).ends_with(&own), "the server need not run");
    let elsewhere = world.local("state");
    assert!(
        server(&world, &["--state", elsewhere.to_str().unwrap()]).ends_with(":1303"),
        "nobody served from there"
    );
}

#[test]
fn a_read_only_server_changes_nothing_for_anybody() {
    let root = tempfile::tempdir().unwrap();
    Tree::new(root.path()).file("f", 1000).dir("d").file("d/g", 5);
    let before = snapshot(root.path());
    let world = World::serving(SFT, Some(root.path()), args!["--read-only"]);
    let file = Tree::new(world.local("t")).file("new", 7).path().join("new");
    let lines = [
        args!["cp", file, "srv:new"],
        args!["cp", file, "srv:f"],
        args!["mkdir", "srv:e"],
        args!["mkdir", "-p", "srv:e/f"],
        args!["rm", "srv:f"],
        args!["rm", "-r", "srv:d"],
        args!["mv", "srv:f", "srv:h"],
    ];
    for line in lines {
        world.sft(line).ended(4).says("no right to");
    }
    world.sft(args!["ls", "srv:"]).done();
    world.sft(args!["cp", "srv:", world.local("all")]).done();
    let below = |entries: Vec<String>| {
        entries.into_iter().filter(|entry| entry.starts_with("./")).collect::<Vec<_>>()
    };
    assert_eq!(below(snapshot(&world.local("all"))), below(before.clone()));
    assert_eq!(snapshot(root.path()), before);
    let link = invitation(&world, &["--rights", "all"]);
    guest(&world, "guest", &link).sft(args!["rm", "srv:f"]).ended(4);
}

#[test]
fn a_key_that_is_taken_back_is_out_at_once_and_told_why() {
    let world = World::new(SFT);
    Tree::new(world.root()).dir("box");
    let link = invitation(&world, &["--path", "box", "--rights", "write", "--note", "Ana", "--uses", "2"]);
    let ana = guest(&world, "ana", &link);
    Tree::new(ana.home()).file("f", 40 << 20);
    let name = world.owner.sft(args!["--json", "invite", "--list"]).done().objects();
    let kinds: Vec<_> = name.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["key", "invitation"]);
    let copying = ana.start(args!["cp", "--limit", "1MB", "f", "srv:box/f"]);
    let stage = world.served(".sft/stage");
    until("it has begun", || stage.read_dir().is_ok_and(|mut dir| dir.next().is_some()));
    let several = world.owner.sft(args!["invite", "--revoke", "Ana"]).ended(2);
    assert!(
        several.err().contains("`Ana` is the note of several; none of this was taken back"),
        "{several:?}"
    );
    world.owner.sft(args!["invite", "--revoke", "nobody"]).ended(2).says("`nobody` is nobody's name or note");
    let key = name[0]["name"].as_str().unwrap();
    let link = name[1]["name"].as_str().unwrap();
    world.owner.sft(args!["invite", "--revoke", key, "--revoke", link]).done();
    let out = copying.wait(PATIENCE).ended(4).says("was taken back by the owner of the server");
    assert!(!out.err().contains("panicked"), "{out:?}");
    assert!(!world.served("box/f").exists());
    ana.sft(args!["ls", "srv:box"]).ended(4);
}

#[test]
fn taking_back_says_what_still_lets_in() {
    let world = World::new(SFT);
    let revoke = |names: &[&str]| {
        world.owner.sft(names.iter().fold(args!["invite"], |mut line, name| {
            line.extend(args!["--revoke", name]);
            line
        }))
    };
    let names = || -> Vec<String> {
        let listed = world.owner.sft(args!["--json", "invite", "--list"]).done().objects();
        listed.iter().map(|object| object["name"].as_str().unwrap().to_owned()).collect()
    };
    let link = invitation(&world, &["--uses", "5"]);
    let bob = guest(&world, "bob", &link);
    let [key, id] = &names()[..] else { panic!("a key and a link") };
    let warned = format!("the link {id} that let in {key} still lets in 4 more keys");
    revoke(&[key]).done().says(&warned);
    bob.sft(args!["ls", "srv:"]).ended(4);
    bob.sft(args!["join", link]).done();
    revoke(&[id]).done().says(&format!("who came by the link {id} stays in (1)")).says(key);
    bob.sft(args!["join", link]).done();
    let taken = revoke(&["nobody", key, "nor this"]).ended(2);
    let said = taken.err();
    for part in ["`nobody` is nobody's", &format!("{key} was taken back"), "`nor this` is nobody's"] {
        assert!(said.contains(part), "{said}");
    }
    bob.sft(args!["join", link]).ended(4);

    let link = invitation(&world, &["--uses", "5"]);
    guest(&world, "eve", &link);
    let both = names();
    let said = revoke(&[&both[0], &both[1]]).done().err();
    assert!(!said.contains("lets in") && !said.contains("stays in"), "{said}");
}

#[test]
fn who_only_looks_makes_no_state_folder() {
    let world = World::new(SFT);
    let state = world.local("none");
    let told = format!("{} does not exist", state.display());
    world.owner.sft(args!["invite", "--list", "--state", state]).done().says(&told);
    world.owner.sft(args!["invite", "--revoke", "Ana", "--state", state]).ended(2).says(&told);
    assert!(!state.exists());
}
