//! Promise: many SFTP sessions at a time, and many files through one, leave nothing open and fill no memory
//! (ARCHITECTURE.md, "Memory").

use std::time::{Duration, Instant};

use sft_testkit::{Tree, World, assert_same_content};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(300);

/// Files that the server has open.
fn open_files(world: &mut World) -> usize {
    let pid = world.server().pid();
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Waits until as many files are open as before; sockets of connections that ended close a moment later.
fn assert_all_closed(world: &mut World, before: usize) {
    let begun = Instant::now();
    while open_files(world) > before + OF_THE_STORE {
        assert!(begun.elapsed() < CLOSING_MAX, "{} files are open, {before} were before", open_files(world));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn two_hundred_sessions_at_a_time() {
    let mut world = World::with_ssh(SFT);
    // What the first client of all brings about stays.
    sftp(&world, "ls\n");
    let before = open_files(&mut world);
    assert_eq!(world.start_python(PARAMIKO).wait(PATIENCE).done().out(), "fine\n");
    assert_all_closed(&mut world, before);
    let peak = world.server().peak_kib();
    assert!(peak < MEMORY_KIB, "{peak} KiB");
    assert!(std::fs::read_dir(world.root()).unwrap().flatten().all(|entry| entry.file_name() != "u"));
}

#[test]
fn ten_thousand_files_through_one_session() {
    let mut world = World::with_ssh(SFT);
    Tree::new(world.local("t")).many("many", 10_000, 300);
    sftp(&world, "ls\n");
    let before = open_files(&mut world);
    sftp(&world, "put -r t\n");
    assert_all_closed(&mut world, before);
    assert_same_content(&world.local("t"), &world.served("t"));
    let peak = world.server().peak_kib();
    assert!(peak < MEMORY_KIB, "{peak} KiB");
}

fn sftp(world: &World, commands: &str) {
    let batch = world.client.home().join("batch");
    std::fs::write(&batch, commands).unwrap();
    let args = ["-q", "-b", batch.to_str().unwrap(), "srv"];
    world.start_openssh("sftp", &args).wait(PATIENCE).done();
}

/// The directories that the store keeps open once something was staged, and one upload that was cut off and is kept.
const OF_THE_STORE: usize = 2 + 16 + 1;
const CLOSING_MAX: Duration = Duration::from_secs(60);
/// What a server may have at most here. Sessions that do nothing have next to nothing.
const MEMORY_KIB: u64 = 128 << 10;

/// Twenty connections of ten sessions each, all open at a time, each with an upload and a download under way.
const PARAMIKO: &str = r#"
import os, sys, paramiko
key = paramiko.Ed25519Key.from_private_key_file(sys.argv[2])
transports, sessions = [], []
data = os.urandom(100_000)
for _ in range(20):
    transport = paramiko.Transport(("127.0.0.1", int(sys.argv[1])))
    transport.connect(username="x", pkey=key)
    transports.append(transport)
    sessions += [paramiko.SFTPClient.from_transport(transport) for _ in range(10)]
assert len(sessions) == 200
uploads = []
for number, sftp in enumerate(sessions):
    upload = sftp.open(f"/{number}", "wb")
    upload.set_pipelined(True)
    upload.write(data)
    uploads.append(upload)
for upload in uploads:
    upload.close()
downloads = [sftp.open(f"/{199 - number}", "rb") for number, sftp in enumerate(sessions)]
for download in downloads:
    download.prefetch(len(data))
for download in downloads:
    assert download.read() == data
# Some are left as they are: the connection ends with handles open.
# An object that is forgotten would close its file.
left = [sftp.open("/u", "wb") for sftp in sessions[::3]]
for upload in left:
    upload.write(data[:9])
# One connection has its bound.
more = [paramiko.SFTPClient.from_transport(transports[0]) for _ in range(54)]
try:
    more.append(paramiko.SFTPClient.from_transport(transports[0]))
    sys.exit("one more than it may have")
except paramiko.SSHException:
    pass
for transport in transports:
    transport.close()
print("fine")
"#;
