//! Promise: the SFTP clients that people have work on the same port, with the same key, rights and guarantees
//! (spec/doors.md). OpenSSH, rclone, lftp and paramiko, as their users install them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sft_testkit::{Dice, Person, Ran, Running, Tree, World, args, assert_same_content};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(180);

/// Lets a person's OpenSSH know the server.
fn introduce(world: &World, person: &Person) {
    person.names_for_ssh("srv", world.port());
}

/// A program of OpenSSH, in the client's folder for files.
fn openssh(world: &World, person: &Person, program: &str, args: &[&str]) -> Command {
    let mut command = person.openssh(program, args);
    command.current_dir(world.local(""));
    command
}

fn ssh(world: &World, program: &str, args: &[&str]) -> Ran {
    Running::start(openssh(world, &world.client, program, args)).wait(PATIENCE)
}

/// Runs commands of `sftp`.
fn sftp(world: &World, commands: &str) -> Ran {
    let batch = world.client.home().join("batch");
    std::fs::write(&batch, commands).unwrap();
    ssh(world, "sftp", &["-b", batch.to_str().unwrap(), "srv"])
}

#[test]
fn files_without_a_size_have_their_content() {
    let world = World::with_ssh(SFT);
    let batch = world.client.home().join("batch");
    std::fs::write(&batch, "get ostype\n").unwrap();
    // The system's own, which say that they are empty.
    let server = format!("{SFT} sftp-stdio --read-only /proc/sys/kernel");
    let args = ["-D", &server, "-b", batch.to_str().unwrap()];
    ssh(&world, "sftp", &args).done();
    assert_eq!(std::fs::read(world.local("ostype")).unwrap(), b"Linux\n");
}

#[test]
fn the_host_key_is_the_servers_one_key() {
    let world = World::with_ssh(SFT);
    let mut keygen = world.client.command(Path::new("ssh-keygen"));
    keygen.args(["-lf", "known"]);
    let shown = Running::start(keygen).wait(PATIENCE).done().out();
    assert!(shown.contains(&format!(" {} ", world.fingerprint())), "{shown}");
}

#[test]
fn sftp_does_all_that_it_can() {
    let world = World::with_ssh(SFT);
    Tree::new(world.local("")).file("f", 100_000).file("g", 0).dir("d").file("d/x", 70_000).link("d/l", "x");
    let ran = sftp(
        &world,
        "put f\nput g\nput -r d\nmkdir m\nrename f m/f2\nln -s m/f2 sym\nln m/f2 hard\nchmod 600 m/f2\n\
         cp m/f2 copied\nls -la\ndf\nget sym back\nget -r d dback\nrm hard\nput f m/f2\nreget m/f2 part\npwd\n",
    );
    let said = ran.done().out();
    assert!(said.contains("Remote working directory: /\n"), "{said}");
    let same = |a: &Path, b: &Path| {
        assert!(std::fs::read(a).unwrap() == std::fs::read(b).unwrap(), "{}", b.display())
    };
    for copy in ["m/f2", "sym", "copied"] {
        same(&world.local("f"), &world.served(copy));
    }
    same(&world.local("f"), &world.local("back"));
    same(&world.local("d/x"), &world.local("dback/x"));
    assert!(world.served("sym").is_symlink() && !world.served("hard").exists());
    sftp(&world, "get no-such-file\n").ended(1).says("not found");
    sftp(&world, "rmdir m\n").ended(1).says("Failure");
}

#[test]
fn sftp_is_served_on_standard_streams_too() {
    let world = World::with_ssh(SFT);
    Tree::new(world.local("")).file("f", 100_000).dir("other");
    let other = world.local("other");
    let sftp_to = |server: String, commands: &str| {
        let batch = world.client.home().join("batch");
        std::fs::write(&batch, commands).unwrap();
        ssh(&world, "sftp", &["-D", &server, "-b", batch.to_str().unwrap()])
    };
    let server = format!("{SFT} sftp-stdio {}", other.display());
    sftp_to(server.clone(), "put f\nget f back\nmkdir d\nrename f d/f\n").done();
    let content = std::fs::read(world.local("f")).unwrap();
    assert!(std::fs::read(other.join("d/f")).unwrap() == content);
    assert!(std::fs::read(world.local("back")).unwrap() == content);
    assert_eq!(std::fs::read_dir(&other).unwrap().count(), 1, "nothing else is left");
    let ran = sftp_to(format!("{server} --read-only"), "put f\n").ended(1);
    assert!(ran.err().contains("Permission denied"), "{ran:?}");
}

#[test]
fn scp_copies_trees_both_ways() {
    let world = World::with_ssh(SFT);
    let mut tree = Tree::new(world.local("t"));
    tree.odd_sizes().many("many", 200, 5_000).mode("many", 0o750);
    ssh(&world, "scp", &["-rpq", "t", "srv:up"]).done();
    assert_same_content(&world.local("t"), &world.served("up"));
    ssh(&world, "scp", &["-rpq", "srv:/up", "down"]).done();
    assert_same_content(&world.local("t"), &world.local("down"));
    for copy in [world.served("up/many"), world.local("down/many")] {
        let (source, copy) = (world.local("t/many").metadata().unwrap(), copy.metadata().unwrap());
        assert_eq!((source.mode(), source.mtime()), (copy.mode(), copy.mtime()), "-p keeps them");
    }
}

#[test]
fn what_is_not_served_is_refused_in_words() {
    let world = World::with_ssh(SFT);
    Tree::new(world.local("")).file("f", 10);
    ssh(&world, "ssh", &["srv"]).ended(1).says("runs no shell");
    ssh(&world, "ssh", &["srv", "id"]).ended(1).says("runs no commands");
    ssh(&world, "ssh", &["-W", "127.0.0.1:22", "srv"]).ended(255).says("prohibited");
    ssh(&world, "ssh", &["-s", "srv", "netconf"]).ended(255).says("subsystem request failed");
    // It would cost the server a hundred times what it costs who asks.
    let slow = "KexAlgorithms=diffie-hellman-group16-sha512";
    ssh(&world, "ssh", &["-o", slow, "srv"]).ended(255).says("no matching key exchange method");
    assert!(!world.served("f").exists());
}

#[test]
fn who_may_not_come_in_does_not() {
    let world = World::with_ssh(SFT);
    let stranger = world.newcomer("stranger");
    introduce(&world, &stranger);
    let refused = Running::start(openssh(&world, &stranger, "ssh", &["srv"])).wait(PATIENCE);
    refused.ended(255).says("Permission denied (publickey)");
}

#[test]
fn a_guest_has_the_rights_of_the_invitation_here_too() {
    let world = World::with_ssh(SFT);
    Tree::new(world.root()).dir("in").file("in/a", 5).file("out", 5);
    let invite = args!["invite", "-q", "--host", "127.0.0.1", "--path", "in", "--rights", "read"];
    let link = world.owner.sft(invite).done().out().trim_end().to_owned();
    let guest = world.stranger("guest");
    introduce(&world, &guest);
    guest.sft(args!["join", link]).done();
    let batch = guest.home().join("batch");
    let run = |commands: &str| {
        std::fs::write(&batch, commands).unwrap();
        let args = ["-b", batch.to_str().unwrap(), "srv"];
        Running::start(openssh(&world, &guest, "sftp", &args)).wait(PATIENCE)
    };
    assert!(run("pwd\nls\n").done().out().contains("directory: /in\n"));
    run("get a got\n").done();
    // It looks before it gets, and is not told more.
    run("get /out\n").ended(1).says("not found");
    run("rm a\n").ended(1).says("ermission denied");
}

#[test]
fn read_only_is_read_only() {
    let world = World::serving(SFT, None, args!["--read-only"]);
    introduce(&world, &world.client);
    Tree::new(world.root()).file("a", 5);
    Tree::new(world.local("")).file("f", 5);
    sftp(&world, "get a\n").done();
    sftp(&world, "put f\n").ended(1).says("ermission denied");
}

#[test]
fn each_door_can_be_shut() {
    let world = World::serving(SFT, None, args!["--doors", "native"]);
    let mut stream = TcpStream::connect(world.address()).unwrap();
    stream.write_all(b"SSH-2.0-test\r\n").unwrap();
    // Closed, perhaps with what was sent unread.
    assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
    world.sft(args!["ls", "srv:"]).done();
    drop(world);
    let world = World::serving(SFT, None, args!["--doors", "ssh"]);
    introduce(&world, &world.client);
    sftp(&world, "pwd\n").done();
    world.sft(args!["ls", "srv:", "--wait", "0"]).ended(3);
}

#[test]
fn whoever_comes_is_known_by_the_first_bytes() {
    let world = World::with_ssh(SFT);
    let say = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(world.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        let mut first = [0; 64];
        let mut got = 0;
        while got < first.len()
            && let Ok(read @ 1..) = stream.read(&mut first[got..])
        {
            got += read;
            // An SSH server speaks once and waits.
            if first[..got].starts_with(b"SSH-") {
                break;
            }
        }
        String::from_utf8_lossy(&first[..got]).into_owned()
    };
    assert!(say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 426 "));
    assert!(say(b"SSH-2.0-test\r\n").starts_with("SSH-2.0-sft_"));
    assert_eq!(say(b"EHLO there\r\n"), "");
    world.sft(args!["ls", "srv:"]).done();
}

/// The files that have no name yet, wherever in the store's own folder.
fn staged(world: &World) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![world.served(".sft/stage")];
    while let Some(dir) = dirs.pop() {
        for path in dir.read_dir().into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() { dirs.push(path) } else { files.push(path) }
        }
    }
    files
}

/// The server or the client ends at any moment of an upload over what is there: old or new, and nothing between.
#[test]
fn an_upload_that_is_cut_off_shows_the_old_or_the_new_and_never_a_part() {
    let mut world = World::with_ssh(SFT);
    let mut dice = Dice::thrown();
    let (old, new) = (dice.bytes(3_000_000), dice.bytes(30_000_000));
    std::fs::write(world.local("f"), &new).unwrap();
    let mut cut = 0;
    for turn in 0..12 {
        std::fs::write(world.served("f"), &old).unwrap();
        let program = if turn % 2 == 0 { "scp" } else { "sftp" };
        let batch = world.client.home().join("batch");
        std::fs::write(&batch, "put f\n").unwrap();
        let args: &[&str] =
            if program == "scp" { &["-q", "f", "srv:f"] } else { &["-b", batch.to_str().unwrap(), "srv"] };
        let mut running = Running::start(openssh(&world, &world.client, program, args));
        let until = dice.below(30_000_000);
        // Cut when so much has arrived, which is seen in the stage, or when the client is done.
        let arrived = |world: &World| {
            staged(world).iter().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum::<u64>()
        };
        while !running.is_over() && arrived(&world) < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        if turn % 3 == 0 {
            world.crash_server();
            running.kill();
            running.ended();
            world.start_server();
        } else {
            running.kill();
            running.ended();
            // The server hears of it, and lets go of the draft, a moment later.
            sftp(&world, "ls\n").done();
        }
        let shown = std::fs::read(world.served("f")).unwrap();
        assert!(shown == old || shown == new, "turn {turn}, {program}: {} bytes", shown.len());
        cut += usize::from(shown == old);
        // What the first attempt has left is in nobody's way.
        sftp(&world, "put f again\n").done();
        assert!(std::fs::read(world.served("again")).unwrap() == new);
        std::fs::remove_file(world.served("again")).unwrap();
        for left in staged(&world) {
            let _ = std::fs::remove_file(left);
        }
    }
    assert!(cut > 0, "no upload was cut off");
}

#[test]
fn rclone_syncs_and_checks() {
    let world = World::with_ssh(SFT);
    Tree::new(world.local("t")).odd_sizes().many("many", 2_500, 9_000);
    let conf = world.client.home().join("rclone.conf");
    let (port, key) = (world.port(), world.client.key());
    let text = format!(
        "[srv]\ntype = sftp\nhost = 127.0.0.1\nport = {port}\nuser = x\nkey_file = {}\nshell_type = none\n",
        key.display()
    );
    std::fs::write(&conf, text).unwrap();
    let rclone = |args: &[&str]| {
        let mut command = world.client.command(Path::new("rclone"));
        command.current_dir(world.local("")).arg("--config").arg(&conf).args(["--links"]).args(args);
        Running::start(command).wait(PATIENCE).done()
    };
    rclone(&["sync", "--transfers", "24", "--checkers", "24", "t", "srv:t"]);
    rclone(&["check", "--download", "--checkers", "24", "t", "srv:t"]).says("0 differences");
    rclone(&["sync", "--transfers", "24", "--multi-thread-cutoff", "1M", "srv:t", "back"]);
    assert_same_content(&world.local("t"), &world.local("back"));
    // What is gone here goes there, and what has changed there comes back.
    std::fs::remove_dir_all(world.local("t/many/0001")).unwrap();
    rclone(&["sync", "t", "srv:t"]);
    assert_same_content(&world.local("t"), &world.served("t"));
    std::fs::write(world.served("t/many/0000/new"), "new").unwrap();
    std::fs::write(world.served("t/many/0000/0000000"), "other").unwrap();
    rclone(&["sync", "srv:t", "back"]);
    assert_same_content(&world.served("t"), &world.local("back"));
}

#[test]
fn lftp_mirrors_and_resumes() {
    let world = World::with_ssh(SFT);
    Tree::new(world.local("t")).odd_sizes().many("many", 100, 9_000);
    let connect = format!("ssh -a -x -F {}", world.client.ssh_config().display());
    let script = format!(
        "set sftp:connect-program \"{connect}\"; set net:max-retries 1; set cmd:fail-exit yes; \
         open sftp://x:@srv; mirror -R t up; mirror --parallel=3 up down; \
         put -c half; get -c whole -o got; mirror -c up down; bye"
    );
    // Halves of what the other side has: up and down they are gone on with.
    let whole = Dice::new(7).bytes(3_000_000);
    for (path, end) in [
        (world.local("half"), whole.len()),
        (world.served("half"), 1_234_567),
        (world.served("whole"), whole.len()),
        (world.local("got"), 7_654),
    ] {
        std::fs::write(path, &whole[..end]).unwrap();
    }
    // One of which the beginning is not right, by which one sees that it was not sent again.
    std::fs::write(world.local("got"), vec![b'x'; 7_654]).unwrap();
    let mut lftp = world.client.command(Path::new("lftp"));
    lftp.current_dir(world.local("")).args(["-c", &script]);
    Running::start(lftp).wait(PATIENCE).done();
    assert_same_content(&world.local("t"), &world.served("up"));
    assert_same_content(&world.local("t"), &world.local("down"));
    assert!(std::fs::read(world.served("half")).unwrap() == whole);
    let got = std::fs::read(world.local("got")).unwrap();
    assert!(got[..7_654] == [b'x'; 7_654] && got[7_654..] == whole[7_654..], "it went on where it was");
}

#[test]
fn paramiko_prefetches_and_writes_ahead() {
    let world = World::with_ssh(SFT);
    assert_eq!(world.start_python(PARAMIKO).wait(PATIENCE).done().out(), "fine\n");
}

const PARAMIKO: &str = r#"
import hashlib, os, sys, paramiko
key = paramiko.Ed25519Key.from_private_key_file(sys.argv[2])
transport = paramiko.Transport(("127.0.0.1", int(sys.argv[1])))
transport.connect(username="x", pkey=key)
sftp = paramiko.SFTPClient.from_transport(transport)
data = os.urandom(24 << 20)
with sftp.open("/f", "wb") as f:
    f.set_pipelined(True)
    f.write(data)
with sftp.open("/f", "rb") as f:
    f.prefetch(len(data))
    assert f.read() == data
    assert f.check("sha256") == hashlib.sha256(data).digest()
with sftp.open("/f", "r+b") as f, sftp.open("/g", "wb") as g:
    f.seek(10); f.write(b"in place"); g.write(b"beside"); f.flush()
    assert sftp.open("/f").read(18)[10:] == b"in place"
sftp.posix_rename("/g", "/f")
assert sftp.open("/f").read() == b"beside"
sftp.truncate("/f", 3); sftp.utime("/f", (1, 2)); sftp.chmod("/f", 0o600)
s = sftp.stat("/f")
assert (s.st_size, s.st_mtime, s.st_mode & 0o777) == (3, 2, 0o600)
sftp.symlink("f", "/l")
assert sftp.readlink("/l") == "f" and sftp.normalize("l") == "/f"
try:
    sftp.open("/no")
    sys.exit("it is not there")
except FileNotFoundError:
    pass
print("fine")
"#;
