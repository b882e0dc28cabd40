//! Promise: an SSH connection ends when it has to, whatever its client does, and one for which the system has nothing left harms
//! nobody else (spec/doors.md, "The SSH door").

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use sft_testkit::{World, args};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(120);

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Threads of the server that serve an SSH connection each.
fn connections(world: &mut World) -> usize {
    let threads = std::fs::read_dir(format!("/proc/{}/task", world.server().pid())).unwrap().flatten();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|name| name == "ssh\n").count()
}

fn open_files(world: &mut World) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", world.server().pid())).unwrap().count()
}

fn sftp(world: &World, commands: &str) {
    let batch = world.client.home().join("batch");
    std::fs::write(&batch, commands).unwrap();
    world.start_openssh("sftp", &["-q", "-b", batch.to_str().unwrap(), "srv"]).wait(PATIENCE).done();
}

#[test]
fn whoever_takes_nothing_is_out_when_that_is_taken_back() {
    let mut world = World::with_ssh(SFT);
    std::fs::File::create(world.served("large")).unwrap().set_len(LARGE).unwrap();
    let made = world.owner.sft(args!["invite", "-q", "--password", "--note", "Bob", "--rights", "read"]);
    let password = made.done().out();
    let python = world.start_python(&format!("PASSWORD, LARGE = {:?}, {LARGE}\n{DEAF}", password.trim()));
    until("the client is sent no more than it takes", || {
        assert_eq!(python.stderr_so_far(), "");
        python.stdout_so_far() == "full\n"
    });
    until("no other is left", || connections(&mut world) == 1);
    world.owner.sft(args!["invite", "--revoke", "Bob"]).done();
    let begun = Instant::now();
    until("the connection ends", || connections(&mut world) == 0);
    // TCP itself gives up such a client, after a minute.
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(python.stdout_so_far(), "full\n", "the client is still there, and takes nothing");
}

const LARGE: u64 = 256 << 20;

/// Asks for all of a file, and reads nothing from its socket any more. It says when nothing more has come into that for a while.
const DEAF: &str = r#"
import array, fcntl, sys, termios, threading, time, paramiko
from paramiko.sftp import CMD_READ
transport = paramiko.Transport(("127.0.0.1", int(sys.argv[1])), default_window_size=(1 << 31) - 1)
transport.connect(username="x", password=PASSWORD)
sftp = paramiko.SFTPClient.from_transport(transport)
f = sftp.open("/large", "rb")
transport.packetizer.read_message = lambda: threading.Event().wait()
for offset in range(0, LARGE, 32768):
    ask = paramiko.Message()
    ask.add_int(offset // 32768)
    ask.add_string(f.handle)
    ask.add_int64(offset)
    ask.add_int(32768)
    sftp._send_packet(CMD_READ, ask)
def unread():
    count = array.array("i", [0])
    fcntl.ioctl(transport.sock, termios.FIONREAD, count)
    return count[0]
since, before = time.monotonic(), 0
while time.monotonic() - since < 2 or before == 0:
    time.sleep(0.05)
    if unread() != before:
        since, before = time.monotonic(), unread()
print("full", flush=True)
time.sleep(1000)
"#;

#[test]
fn whoever_comes_when_nothing_is_left_is_sent_away_and_the_others_stay() {
    let mut world = World::serving(SFT, None, args!["-vv"]);
    world.client.names_for_ssh("srv", world.port());
    sftp(&world, "ls\n");
    until("the first connection is over", || connections(&mut world) == 0);
    let pid = Pid::from_raw(world.server().pid() as i32);
    let limit = |current| {
        let maximum = getrlimit(Resource::Nofile).maximum;
        prlimit(pid, Resource::Nofile, Rlimit { current, maximum }).unwrap().current
    };
    let before = open_files(&mut world);
    // Enough for the socket, and not for what goes with it.
    let allowed = limit(Some(before as u64 + 2));
    for _ in 0..5 {
        let mut stream = TcpStream::connect(world.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"SSH-2.0-test\r\n").unwrap();
        let mut said = [0; 4];
        assert!(!matches!(stream.read(&mut said), Ok(1..)), "{said:?}");
    }
    until("nothing is kept", || connections(&mut world) == 0 && open_files(&mut world) <= before);
    let told = world.server().stderr_so_far();
    assert!(told.contains("was sent away, because this system had no thread or descriptor left"), "{told}");
    limit(allowed);
    sftp(&world, "ls\n");
}

#[test]
fn one_connection_has_thousands_of_sessions_and_not_more() {
    let world = World::with_ssh(SFT);
    assert_eq!(world.start_python(SESSIONS).wait(PATIENCE).done().out(), "fine\n");
}

/// Commands that are refused are the quickest sessions; one of SFTP that is open meanwhile goes on.
const SESSIONS: &str = r#"
import socket, sys, paramiko
key = paramiko.Ed25519Key.from_private_key_file(sys.argv[2])
def connect():
    transport = paramiko.Transport(("127.0.0.1", int(sys.argv[1])))
    transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport.connect(username="x", pkey=key)
    return transport
transport = connect()
sftp = paramiko.SFTPClient.from_transport(transport)
def refused():
    session = transport.open_session()
    session.exec_command("id")
    assert session.recv_exit_status() == 1
    session.close()
for _ in range(4095):
    refused()
def is_over():
    try:
        transport.open_session()
    except paramiko.SSHException:
        return True
assert is_over() and sftp.listdir("/") == []
sftp.close()
while transport.is_active():
    assert is_over()
assert paramiko.SFTPClient.from_transport(connect()).listdir("/") == []
print("fine")
"#;
