//! Promise: an SFTP upload that was cut off is gone on with by the clients that can, and is a part of a file to nobody
//! (spec/doors.md, "Uploads that are cut off").

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sft_testkit::{Dice, Ran, Running, World};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(180);
const SIZE: usize = 40_000_000;

fn sftp(world: &World, commands: &str) -> Ran {
    start_sftp(world, commands).wait(PATIENCE)
}

fn start_sftp(world: &World, commands: &str) -> Running {
    let batch = world.client.home().join("batch");
    std::fs::write(&batch, commands).unwrap();
    world.start_openssh("sftp", &["-b", batch.to_str().unwrap(), "srv"])
}

fn lftp(world: &World, commands: &str) -> Ran {
    let connect = format!("ssh -a -x -F {}", world.client.ssh_config().display());
    let script = format!(
        "set sftp:connect-program \"{connect}\"; set net:max-retries 3; set net:reconnect-interval-base 1; \
         set cmd:fail-exit yes; open sftp://x:@srv; {commands}; bye"
    );
    let mut lftp = world.client.command(Path::new("lftp"));
    lftp.current_dir(world.local("")).args(["-c", &script]);
    Running::start(lftp).wait(PATIENCE)
}

/// Bytes of the files that have no name yet.
fn staged(world: &World) -> u64 {
    let mut dirs: Vec<PathBuf> = vec![world.served(".sft/stage")];
    let mut bytes = 0;
    while let Some(dir) = dirs.pop() {
        for entry in dir.read_dir().into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => dirs.push(entry.path()),
                Ok(meta) => bytes += meta.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

/// Puts `f` and kills the client when a part of it has come; returns when the server has noticed.
fn cut_off(world: &World) {
    let mut running = start_sftp(world, "put f\n");
    while staged(world) < 3_000_000 {
        assert!(!running.is_over(), "it was faster than this test looks: {:?}", running.ended());
    }
    running.kill();
    running.ended();
}

/// Waits until the server tells of the beginning of `f`: how much of it there is.
fn begun(world: &World) -> u64 {
    let start = Instant::now();
    loop {
        let ran = sftp(world, "ls -l f\n");
        if ran.out().contains('f') && ran.code == Some(0) {
            let size = ran.out().lines().last().and_then(|line| line.split_whitespace().nth(4)?.parse().ok());
            return size.expect("a size is told");
        }
        assert!(start.elapsed() < PATIENCE, "{ran:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What is gone on with has the beginning that was sent first, whatever has become of it since: that shows it.
fn mark(world: &World, content: &[u8]) -> Vec<u8> {
    let file = std::fs::OpenOptions::new().write(true).open(world.local("f")).unwrap();
    file.write_all_at(b"another beginning", 0).unwrap();
    content.to_vec()
}

fn assert_complete(world: &World, content: &[u8]) {
    assert!(std::fs::read(world.served("f")).unwrap() == content, "it is not what was sent");
    assert_eq!(staged(world), 0, "nothing else is left");
}

#[test]
fn reput_goes_on() {
    let world = World::with_ssh(SFT);
    let content = Dice::thrown().bytes(SIZE);
    std::fs::write(world.local("f"), &content).unwrap();
    cut_off(&world);
    assert!(begun(&world) >= 2_900_000 && !world.served("f").exists());
    sftp(&world, "get f got\n").ended(1);
    let content = mark(&world, &content);
    sftp(&world, "reput f\n").done();
    assert_complete(&world, &content);
}

#[test]
fn lftp_goes_on_by_put_c_and_begins_anew_by_mirror() {
    let world = World::with_ssh(SFT);
    let content = Dice::thrown().bytes(SIZE);
    std::fs::write(world.local("f"), &content).unwrap();
    cut_off(&world);
    begun(&world);
    let content = mark(&world, &content);
    lftp(&world, "put -c f").done();
    assert_complete(&world, &content);
    std::fs::remove_file(world.served("f")).unwrap();
    cut_off(&world);
    begun(&world);
    let whole = std::fs::read(world.local("f")).unwrap();
    std::fs::create_dir(world.local("t")).unwrap();
    std::fs::rename(world.local("f"), world.local("t/f")).unwrap();
    lftp(&world, "mirror -R -c t .").done();
    assert_complete(&world, &whole);
}

/// By itself, lftp takes what the name shows for its own beginning. Here it is not.
#[test]
fn nobody_adds_to_what_was_to_be_replaced() {
    let world = World::with_ssh(SFT);
    let (old, content) = (Dice::thrown().bytes(1_000_000), Dice::thrown().bytes(SIZE));
    std::fs::write(world.local("f"), &content).unwrap();
    std::fs::write(world.served("f"), &old).unwrap();
    cut_off(&world);
    let start = Instant::now();
    while staged(&world) > 0 {
        assert!(start.elapsed() < PATIENCE, "the draft is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
    let ran = sftp(&world, "reput f\n");
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(std::fs::read(world.served("f")).unwrap() == old);
    let ran = lftp(&world, "put -c f");
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(std::fs::read(world.served("f")).unwrap() == old);
    world.start_openssh("scp", &["-q", "f", "srv:f"]).wait(PATIENCE).done();
    assert_complete(&world, &content);
}

#[test]
fn paramiko_goes_on_at_an_offset_and_by_appending() {
    let world = World::with_ssh(SFT);
    assert_eq!(world.start_python(PARAMIKO).wait(PATIENCE).done().out(), "fine\n");
}

const PARAMIKO: &str = r#"
import os, sys, time, paramiko
key = paramiko.Ed25519Key.from_private_key_file(sys.argv[2])
def connect():
    transport = paramiko.Transport(("127.0.0.1", int(sys.argv[1])))
    transport.connect(username="x", pkey=key)
    return transport, paramiko.SFTPClient.from_transport(transport)
data = os.urandom(8 << 20)
for mode in "ab", "r+b":
    transport, sftp = connect()
    f = sftp.open("/" + mode, "wb")
    f.write(data[: 5 << 20])
    f.flush()
    transport.sock.close()
    transport, sftp = connect()
    for _ in range(2000):
        try:
            size = sftp.stat("/" + mode).st_size
            break
        except FileNotFoundError:
            time.sleep(0.05)
    assert 4 << 20 < size < 5 << 20, size
    assert mode not in sftp.listdir("/")
    with sftp.open("/" + mode, mode) as f:
        if mode == "r+b":
            f.seek(size)
        f.write(data[size:])
    assert sftp.open("/" + mode).read() == data
    transport.close()
print("fine")
"#;
