//! Promise: one port serves whoever comes, also those who wait to be spoken to and those who are slow to speak
//! (spec/doors.md, "One port").

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use sft_testkit::{Running, World, args};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn ssh_keyscan_shows_the_servers_one_key() {
    let world = World::new(SFT);
    let mut scan = world.client.command(Path::new("ssh-keyscan"));
    scan.args(["-t", "ed25519", "-p", &world.port().to_string(), "127.0.0.1"]);
    let found = Running::start(scan).wait(PATIENCE).done().out();
    std::fs::write(world.client.home().join("found"), &found).unwrap();
    let mut keygen = world.client.command(Path::new("ssh-keygen"));
    keygen.args(["-lf", "found"]);
    let shown = Running::start(keygen).wait(PATIENCE).done().out();
    assert!(shown.contains(&format!(" {} ", world.fingerprint())), "{shown}");
}

#[test]
fn a_server_without_ssh_speaks_to_nobody_first() {
    let world = World::serving(SFT, None, args!["--doors", "native"]);
    let mut quiet = TcpStream::connect(world.address()).unwrap();
    quiet.set_read_timeout(Some(PATIENCE)).unwrap();
    // It is closed at the deadline, without a word.
    assert!(matches!(quiet.read(&mut [0; 1]), Ok(0) | Err(_)));
}

/// Connects to the server at once, and lets the client's first bytes come two seconds later.
fn slow_forwarder(world: &World) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, server) = (listener.local_addr().unwrap().port(), world.address());
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(upstream) = TcpStream::connect(server) else { return };
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(2));
                let (from_client, to_server) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
                std::thread::spawn(move || forward(from_client, to_server));
                forward(upstream, client);
            });
        }
    });
    port
}

fn forward(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes)
        && to.write_all(&bytes[..read]).is_ok()
    {}
    let _ = to.shutdown(std::net::Shutdown::Write);
}

#[test]
fn a_client_of_tls_may_take_two_seconds_to_speak() {
    let world = World::new(SFT);
    std::fs::write(world.served("a"), "here").unwrap();
    world.introduce(&world.client, "late", slow_forwarder(&world));
    let listed = world.sft(args!["ls", "--transport", "tcp", "late:"]).done().out();
    assert_eq!(listed, "a\n");
}
