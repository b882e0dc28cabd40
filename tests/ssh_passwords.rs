//! Promise: a password that `sft invite --password` has made lets clients in that have no key, for what it says, no more and no
//! longer than until it is taken back (spec/auth.md, "Passwords"); where none was made, nobody is asked for one.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use sft_testkit::{Person, Ran, Running, Tree, World, args};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(180);

/// A guest of the world whose key nobody knows.
fn guest(world: &World) -> Person {
    let guest = world.stranger("guest");
    guest.names_for_ssh("srv", world.port());
    guest
}

/// Runs commands of `sftp`; whenever a password is asked for, `password` is typed, and noted that it was.
fn sftp(person: &Person, password: &str, commands: &str) -> Ran {
    start_sftp(person, password, commands).wait(PATIENCE)
}

fn start_sftp(person: &Person, password: &str, commands: &str) -> Running {
    let (ask, batch) = (person.home().join("ask"), person.home().join("batch"));
    std::fs::write(&batch, commands).unwrap();
    std::fs::write(&ask, format!("#!/bin/sh\necho asked >> \"$HOME/asked\"\necho '{password}'\n")).unwrap();
    std::fs::set_permissions(&ask, PermissionsExt::from_mode(0o700)).unwrap();
    let mut sftp = person.openssh("sftp", &["-o", "BatchMode=no", "-b", "batch", "srv"]);
    sftp.env("SSH_ASKPASS", &ask).env("SSH_ASKPASS_REQUIRE", "force");
    Running::start(sftp)
}

fn times_asked(person: &Person) -> usize {
    std::fs::read_to_string(person.home().join("asked")).unwrap_or_default().lines().count()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_password_lets_in_for_what_it_says() {
    let world = World::new(SFT);
    let guest = guest(&world);
    Tree::new(world.served("")).dir("films").file("films/a", 70_000).file("secret", 10);
    assert!(sftp(&guest, "anything", "ls\n").ended(255).err().contains("Permission denied"));
    assert_eq!(times_asked(&guest), 0, "none was made, so nobody is asked");

    let made = world.owner.sft(args![
        "invite",
        "--password",
        "--path",
        "films",
        "--rights",
        "read",
        "--note",
        "Bob",
    ]);
    let made = made.done();
    assert!(made.err().contains("list and read in films on"), "{made:?}");
    assert!(made.err().contains(world.fingerprint()), "{made:?}");
    let password = made.out();
    let password = password.trim();
    let read = sftp(&guest, password, "pwd\nls -1\nget a\n");
    assert!(read.done().out().contains("Remote working directory: /films\n"));
    assert_eq!(std::fs::metadata(guest.home().join("a")).unwrap().len(), 70_000);
    sftp(&guest, &password.to_uppercase(), "ls\n").done();
    assert!(sftp(&guest, password, "put batch\n").ended(1).err().contains("ermission denied"));
    assert!(sftp(&guest, password, "get /secret\n").ended(1).err().contains("/secret"));
    assert!(!guest.home().join("secret").exists());
    let before = times_asked(&guest);
    assert!(
        sftp(&guest, "4f7k2m-000000-000000-000000", "ls\n").ended(255).err().contains("Permission denied")
    );
    assert!(times_asked(&guest) > before);
}

#[test]
fn keys_go_on_working_and_a_password_can_be_taken_back() {
    let world = World::new(SFT);
    world.client.names_for_ssh("srv", world.port());
    let made = world
        .owner
        .sft(args!["--json", "invite", "--password", "--expires", "never", "--rights", "all"])
        .done();
    let said = made.out();
    let password = said.split("\"password\":\"").nth(1).unwrap().split('"').next().unwrap();
    sftp(&world.client, "not asked for", "ls\n").done();
    assert_eq!(times_asked(&world.client), 0, "a key is tried first");
    let guest = guest(&world);
    sftp(&guest, password, "put batch\n").done();
    assert!(world.served("batch").exists());
    std::fs::remove_file(world.owner.state().join("grants.toml")).unwrap();
    assert!(sftp(&guest, password, "ls\n").ended(255).err().contains("Permission denied"));
}

#[test]
fn what_is_taken_back_ends_sessions_that_are_open_and_no_others() {
    let world = World::new(SFT);
    let make = |note: &str| {
        let line = args!["invite", "-q", "--password", "--note", note, "--path", "in", "--rights", "write"];
        world.owner.sft(line).done().out().trim().to_owned()
    };
    Tree::new(world.served("")).dir("in");
    let guests: Vec<_> = ["Bob", "Eve"].iter().map(|name| (world.stranger(name), make(name))).collect();
    // As long as nobody ends it.
    let commands = format!("!touch here\n{}", "ls\n!test -e ../enough || sleep 0.1\n".repeat(1800));
    let mut running: Vec<_> = guests
        .iter()
        .map(|(guest, password)| {
            guest.names_for_ssh("srv", world.port());
            start_sftp(guest, password, &commands)
        })
        .collect();
    for (guest, _) in &guests {
        until("it is in", || guest.home().join("here").exists());
    }
    let listed = world.owner.sft(args!["invite", "--list"]).done().out();
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines.len(), 2, "{listed}");
    assert!(lines[0].starts_with("password:") && lines[0].ends_with("Z (Bob)"), "{listed}");
    assert!(lines[0].contains(" may list, read, create, replace and remove in in, until 20"), "{listed}");
    world.owner.sft(args!["invite", "--revoke", "Bob"]).done().says("was taken back: it may list, read");
    let bob = running.remove(0).wait(PATIENCE);
    // By a signal, when it was just about to ask for something.
    assert!(bob.code != Some(0) && !bob.err().contains("Permission denied"), "{bob:?}");
    let (bob, password) = &guests[0];
    assert!(sftp(bob, password, "ls\n").ended(255).err().contains("Permission denied"));
    assert!(!running[0].is_over(), "nothing was taken from this one");
    std::fs::write(guests[1].0.home().join("../enough"), "").unwrap();
    running.remove(0).wait(PATIENCE).done();
    let eve = lines[1].split(' ').next().unwrap();
    world.owner.sft(args!["invite", "--revoke", eve]).done();
    assert_eq!(world.owner.sft(args!["invite", "--list"]).done().out(), "");
}

#[test]
fn a_password_has_no_uses_to_be_counted() {
    let world = World::new(SFT);
    world.owner.sft(args!["invite", "--password", "--uses", "2"]).ended(2);
    assert!(!world.owner.state().join("grants.toml").exists());
}
