//! Promise: a connection that is cut at any moment of an upload leaves the old content or the complete new one under the
//! name, whatever client it was, and the next upload is complete (spec/doors.md, "Uploads").
//!
//! Each client gets its connection through a relay, which resets it when so many bytes have passed, and lets nobody in
//! again: what the client would do then is not what is shown here.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sft_testkit::{Dice, Relay, Running, World};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(120);
const BYTES: usize = 6_000_000;
const CUTS: usize = 4;

/// How a client puts the local file `f` in the place of the served file `f`, on a server it knows under an alias.
type Upload = fn(&World, &str, u16) -> Command;

fn cut_at_random(upload: Upload) {
    let world = World::new(SFT);
    let mut dice = Dice::thrown();
    let (old, new) = (dice.bytes(50_000), dice.bytes(BYTES));
    std::fs::write(world.local("f"), &new).unwrap();
    world.client.names_for_ssh("srv", world.port());
    let mut cut = 0;
    for turn in 0..CUTS {
        std::fs::write(world.served("f"), &old).unwrap();
        let mut relay = Relay::start(world.address());
        relay.rate(20_000_000);
        let alias = format!("relay{turn}");
        world.client.names_for_ssh(&alias, relay.port());
        let mut client = Running::start(upload(&world, &alias, relay.port()));
        // Past the greeting, so that most cuts are within the content.
        let until = 100_000 + dice.below(BYTES as u64);
        while !client.is_over() && relay.passed().1 < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        relay.close_tcp();
        relay.reset_tcp(usize::MAX);
        let shown = || std::fs::read(world.served("f")).unwrap();
        let at_once = shown();
        assert!(at_once == old || at_once == new, "turn {turn}, cut at {until}: {} bytes", at_once.len());
        // Some try again for as long as they are let.
        std::thread::sleep(Duration::from_millis(50));
        client.kill();
        let ran = client.ended();
        let later = shown();
        assert!(later == old || later == new, "turn {turn}, cut at {until}: {} bytes\n{ran:?}", later.len());
        cut += usize::from(later == old);
        let again = Running::start(upload(&world, "srv", world.port())).wait(PATIENCE).done();
        assert!(shown() == new, "turn {turn}: the next upload is complete\n{again:?}");
    }
    assert!(cut > 0, "no upload was cut off");
}

#[test]
fn sftp() {
    cut_at_random(|world, alias, _| {
        std::fs::write(world.client.home().join("batch"), "put f\n").unwrap();
        let batch = world.client.home().join("batch");
        in_scratch(world, world.client.openssh("sftp", &["-b", batch.to_str().unwrap(), alias]))
    });
}

#[test]
fn scp() {
    cut_at_random(|world, alias, _| {
        in_scratch(world, world.client.openssh("scp", &["-q", "f", &format!("{alias}:f")]))
    });
}

#[test]
fn rclone() {
    cut_at_random(|world, _, port| {
        let key = world.client.key();
        let mut command = world.client.command(Path::new("rclone"));
        // Without a look at what is there, or it would skip what has the same size and time.
        command.args(["copyto", "--ignore-times", "--retries", "1", "--low-level-retries", "1", "f"]);
        command.arg(format!(
            ":sftp,host=127.0.0.1,port={port},user=x,shell_type=none,key_file=\"{}\":f",
            key.display()
        ));
        in_scratch(world, command)
    });
}

#[test]
fn lftp() {
    cut_at_random(|world, alias, _| {
        let connect = format!("ssh -a -x -F {}", world.client.ssh_config().display());
        let script = format!(
            "set sftp:connect-program \"{connect}\"; set net:max-retries 1; set cmd:fail-exit yes; \
             open sftp://x:@{alias}; put f; bye"
        );
        let mut command = world.client.command(Path::new("lftp"));
        command.args(["-c", &script]);
        in_scratch(world, command)
    });
}

#[test]
fn paramiko() {
    cut_at_random(|world, _, port| {
        let script = "import sys, paramiko\n\
                      key = paramiko.Ed25519Key.from_private_key_file(sys.argv[2])\n\
                      transport = paramiko.Transport(('127.0.0.1', int(sys.argv[1])))\n\
                      transport.connect(username='x', pkey=key)\n\
                      paramiko.SFTPClient.from_transport(transport).put('f', '/f')\n";
        let mut command = world.client.command(Path::new("/usr/bin/python3"));
        command.args(["-c", script, &port.to_string()]).arg(world.client.key());
        in_scratch(world, command)
    });
}

#[test]
fn asyncssh() {
    cut_at_random(|world, _, port| {
        let script = "import asyncio, sys, asyncssh\n\
                      async def put():\n\
                      \x20   to = dict(port=int(sys.argv[1]), username='x', known_hosts=None, client_keys=[sys.argv[2]])\n\
                      \x20   async with asyncssh.connect('127.0.0.1', **to) as connection:\n\
                      \x20       async with connection.start_sftp_client() as sftp:\n\
                      \x20           await sftp.put('f', '/f')\n\
                      asyncio.run(put())\n";
        let mut command = world.client.command(Path::new("/usr/bin/python3"));
        command.args(["-c", script, &port.to_string()]).arg(world.client.key());
        in_scratch(world, command)
    });
}

fn in_scratch(world: &World, mut command: Command) -> Command {
    command.current_dir(world.local(""));
    command
}
