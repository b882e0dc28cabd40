//! Promise: `scp -O`, the old protocol of scp, works on the same port (spec/doors.md, "The old protocol of scp").

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use sft_testkit::{Dice, Ran, Tree, World, args, assert_same_content};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(180);

fn scp(world: &World, args: &[&str]) -> Ran {
    world.start_openssh("scp", &[&["-O", "-q"], args].concat()).wait(PATIENCE)
}

#[test]
fn trees_go_both_ways_with_times_and_modes() {
    let world = World::with_ssh(SFT);
    let mut tree = Tree::new(world.local("t"));
    tree.odd_sizes().many("many", 100, 5_000).mode("many", 0o750);
    scp(&world, &["-rp", "t", "srv:up"]).done();
    assert_same_content(&world.local("t"), &world.served("up"));
    scp(&world, &["-rp", "srv:/up", "down"]).done();
    assert_same_content(&world.local("t"), &world.local("down"));
    for copy in [world.served("up/many"), world.local("down/many")] {
        let (source, copy) = (world.local("t/many").metadata().unwrap(), copy.metadata().unwrap());
        assert_eq!((source.mode(), source.mtime()), (copy.mode(), copy.mtime()), "-p keeps them");
    }
    // Into what is there, as with cp.
    scp(&world, &["-r", "t", "srv:up"]).done();
    assert_same_content(&world.local("t"), &world.served("up/t"));
}

#[test]
fn files_go_both_ways() {
    let world = World::with_ssh(SFT);
    Tree::new(world.local("")).file("f", 3_000_000).file("g", 0).file("a b", 10);
    scp(&world, &["f", "g", "a b", "srv:"]).done();
    scp(&world, &["f", "srv:over"]).done();
    scp(&world, &["g", "srv:over"]).done();
    assert_eq!(world.served("over").metadata().unwrap().len(), 0);
    scp(&world, &["srv:f", r"srv:a\ b", "srv:g", "back/"]).ended(1);
    std::fs::create_dir(world.local("back")).unwrap();
    scp(&world, &["srv:f", r"srv:a\ b", "srv:g", "back/"]).done();
    for name in ["f", "g", "a b"] {
        assert_same_content(&world.local(name), &world.served(name));
        assert_same_content(&world.local(name), &world.local(&format!("back/{name}")));
    }
    scp(&world, &["srv:no", "no"]).ended(1).says("no such entry");
    scp(&world, &["srv:*", "back"]).ended(1).says("scp without -O");
    scp(&world, &["f", "srv:no/such/place"]).ended(1).says("no such entry");
    world.start_openssh("ssh", &["srv", "scp -t a; id"]).wait(PATIENCE).ended(1).says("not expanded here");
}

#[test]
fn what_is_cut_off_leaves_the_old_content_and_nothing_else() {
    let mut world = World::with_ssh(SFT);
    let mut dice = Dice::thrown();
    let old = dice.bytes(1_000_000);
    std::fs::write(world.local("f"), dice.bytes(40_000_000)).unwrap();
    std::fs::write(world.served("f"), &old).unwrap();
    let mut running = world.start_openssh("scp", &["-O", "-q", "f", "srv:f"]);
    while !world.served(".sft").exists() {
        assert!(!running.is_over(), "it was faster than this test looks");
    }
    running.kill();
    running.ended();
    world.stop_server();
    assert!(std::fs::read(world.served("f")).unwrap() == old);
    assert!(!world.served(".sft").exists(), "nothing else is left");
}

#[test]
fn read_only_is_read_only() {
    let world = World::serving(SFT, None, args!["--read-only"]);
    world.client.names_for_ssh("srv", world.port());
    Tree::new(world.root()).file("a", 5);
    Tree::new(world.local("")).file("f", 5);
    scp(&world, &["srv:a", "got"]).done();
    scp(&world, &["f", "srv:f"]).ended(1);
    assert!(!world.served("f").exists());
}

#[test]
fn a_client_that_takes_nothing_stops_only_itself() {
    let world = World::with_ssh(SFT);
    Tree::new(world.served("")).file("big", 8_000_000);
    assert_eq!(world.start_python(TAKES_NOTHING).wait(PATIENCE).done().out(), "fine\n");
}

/// More messages than the server keeps for a channel, to channels of every kind; then whether another is served.
const TAKES_NOTHING: &str = r#"
import sys, paramiko

client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect("127.0.0.1", int(sys.argv[1]), "any", key_filename=sys.argv[2], allow_agent=False, look_for_keys=False)
transport = client.get_transport()

def flood(channel):
    for _ in range(300):
        channel.sendall(b"\0")

given = transport.open_session()
given.exec_command("scp -f big")
flood(given)
unused = transport.open_session()
flood(unused)
asked = transport.open_session()
for _ in range(300):
    asked.update_environment({"A": "B"})
refused = transport.open_session()
refused.exec_command("id")
try:
    flood(refused)
except OSError:
    pass
sftp = client.open_sftp()
sftp.get_channel().settimeout(60)
assert "big" in sftp.listdir("/")
print("fine")
client.close()
"#;
