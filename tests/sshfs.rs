//! Promise: what is served can be mounted with sshfs and worked in as in any folder (spec/doors.md, "In place").
//!
//! Needs FUSE: a machine without `/dev/fuse`, or one on which it may not be used, says so and fails unless it is known to
//! be so (`SFT_TEST_NO_FUSE=1`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sft_testkit::{Dice, Ran, Running, World};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(180);

/// What a world serves, mounted; unmounted on drop.
struct Mount {
    at: PathBuf,
    sshfs: Running,
}

impl Mount {
    /// None where it is known that nothing can be mounted.
    fn of(world: &World) -> Option<Self> {
        if std::fs::File::options().read(true).write(true).open("/dev/fuse").is_err() {
            let known = std::env::var_os("SFT_TEST_NO_FUSE").is_some_and(|value| value == "1");
            assert!(known, "/dev/fuse cannot be opened; set SFT_TEST_NO_FUSE=1 to go without this test");
            return None;
        }
        world.client.names_for_ssh("srv", world.port());
        let at = world.local("mnt");
        std::fs::create_dir(&at).unwrap();
        let mut sshfs = world.client.command(Path::new("sshfs"));
        sshfs.args(["-f", "srv:/"]).arg(&at).arg("-F").arg(world.client.ssh_config());
        let mut mount = Self { at, sshfs: Running::start(sshfs) };
        let begun = Instant::now();
        while !mount.is_there() {
            assert!(!mount.sshfs.is_over() && begun.elapsed() < PATIENCE, "{}", mount.sshfs.stderr_so_far());
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(mount)
    }

    fn is_there(&self) -> bool {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        mounts.lines().any(|line| line.split(' ').nth(1) == self.at.to_str())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: what has just ended may still be there.
        let _ = Command::new("fusermount3").args(["-u", "-z"]).arg(&self.at).status();
        self.sshfs.terminate();
    }
}

fn run(world: &World, program: &str, args: &[&str], dir: &Path) -> Ran {
    let mut command = world.client.command(Path::new(program));
    command.args(args).current_dir(dir);
    Running::start(command).wait(PATIENCE).done()
}

/// Waits for a file that was closed in a mount: the system tells sshfs after whoever has closed it went on.
fn until_there(world: &World, name: &str) {
    let begun = Instant::now();
    while !world.served(name).is_file() {
        assert!(begun.elapsed() < PATIENCE, "{name} is not there");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The program that file systems are tested with, as the crate registry has it.
#[test]
fn fsx_finds_nothing() {
    let world = World::new(SFT);
    let Some(mount) = Mount::of(&world) else { return };
    let fsx = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fsx/bin/fsx");
    assert!(fsx.is_file(), "fsx is there: tests/run installs it");
    let seed = Dice::thrown().below(1 << 32).to_string();
    let said = run(&world, fsx.to_str().unwrap(), &["-N", "3000", "-S", &seed, "file"], &mount.at);
    assert!(said.out().contains("All operations completed A-OK!"), "{said:?}");
    until_there(&world, "file");
}

/// The same in few lines, with more of maps and of opening anew, and compared on the other side too: thousands of reads, writes,
/// cuts and maps of a file in any order, beside what they would have made of bytes in memory.
#[test]
fn a_file_behaves_like_a_file_whatever_is_done_to_it() {
    let world = World::new(SFT);
    let Some(mount) = Mount::of(&world) else { return };
    let seed = Dice::thrown().below(1 << 32).to_string();
    let script = world.client.home().join("try.py");
    std::fs::write(&script, LIKE_FSX).unwrap();
    run(&world, "/usr/bin/python3", &[script.to_str().unwrap(), &seed], &mount.at);
    until_there(&world, "model");
    let (file, model) =
        (std::fs::read(world.served("f")).unwrap(), std::fs::read(world.served("model")).unwrap());
    assert!(file == model && !file.is_empty(), "{} and {} bytes", file.len(), model.len());
}

const LIKE_FSX: &str = r#"
import mmap, os, random, sys
dice = random.Random(int(sys.argv[1]))
MOST = 300_000
model = bytearray()
fd = os.open("f", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
done = []
def check(got, at):
    want = bytes(model[at:at + len(got)])
    assert got == want, (sys.argv[1], at, len(got), done[-20:])
for step in range(1500):
    do = dice.choice("rrrrwwwwwtmMcs")
    at, length = dice.randrange(MOST), dice.randrange(1, 70_000)
    done.append((do, at, length, len(model)))
    if do == "r":
        got = os.pread(fd, length, at)
        assert len(got) == max(0, min(length, len(model) - at)), (sys.argv[1], len(got), done[-20:])
        check(got, at)
    elif do == "w":
        bytes_ = dice.randbytes(length)
        assert os.pwrite(fd, bytes_, at) == length
        model.extend(bytes(max(0, at - len(model))))
        model[at:at + length] = bytes_
    elif do == "t":
        os.ftruncate(fd, at)
        del model[at:]
        model.extend(bytes(at - len(model)))
    elif do in "mM" and model:
        size = len(model)
        with mmap.mmap(fd, size) as mapped:
            at %= size
            length = min(length, size - at)
            if do == "m":
                check(mapped[at:at + length], at)
            else:
                bytes_ = dice.randbytes(length)
                mapped[at:at + length] = bytes_
                model[at:at + length] = bytes_
                mapped.flush()
    elif do == "c":
        os.close(fd)
        assert os.stat("f").st_size == len(model), (sys.argv[1], os.stat("f").st_size, done[-20:])
        fd = os.open("f", os.O_RDWR)
    elif do == "s":
        os.fsync(fd)
        assert os.fstat(fd).st_size == len(model), (sys.argv[1], done[-20:])
os.close(fd)
check(open("f", "rb").read(), 0)
with open("model", "wb") as out:
    out.write(model)
"#;

#[test]
fn a_repository_is_cloned_changed_and_compiled_in_a_mount() {
    let world = World::new(SFT);
    let Some(mount) = Mount::of(&world) else { return };
    let origin = world.local("origin");
    std::fs::create_dir(&origin).unwrap();
    for part in 0..40 {
        let text = format!("int part_{part}(int x) {{ return x + {part}; }}\n");
        std::fs::write(origin.join(format!("part_{part}.c")), text).unwrap();
    }
    let declared: String = (0..40).map(|part| format!("int part_{part}(int);\n")).collect();
    let sum: String = (0..40).map(|part| format!(" + part_{part}(1)")).collect();
    let main = format!("#include <stdio.h>\n{declared}int main(void) {{ printf(\"%d\\n\", 0{sum}); }}\n");
    std::fs::write(origin.join("main.c"), main).unwrap();
    let build = "all: sum\nsum: $(patsubst %.c,%.o,$(wildcard *.c))\n\tcc -o $@ $^\n";
    std::fs::write(origin.join("Makefile"), build).unwrap();
    let configured = "[user]\nname = Tester\nemail = tester@example\n[safe]\ndirectory = *\n";
    std::fs::write(world.client.home().join(".gitconfig"), configured).unwrap();
    let git = |args: &[&str], dir: &Path| run(&world, "git", args, dir);
    git(&["init", "-q", "-b", "main", "."], &origin);
    git(&["add", "."], &origin);
    git(&["commit", "-q", "-m", "all"], &origin);

    git(&["clone", "-q", "--no-local", origin.to_str().unwrap(), "clone"], &mount.at);
    let clone = mount.at.join("clone");
    let made = run(&world, "make", &["-s", "-j2"], &clone);
    assert_eq!(made.out(), "");
    assert_eq!(run(&world, "./sum", &[], &clone).out(), "820\n");
    git(&["checkout", "-q", "-b", "other"], &clone);
    std::fs::write(clone.join("part_0.c"), "int part_0(int x) { return x + 1000; }\n").unwrap();
    git(&["commit", "-q", "-a", "-m", "more"], &clone);
    // All of it: within one second, which is what SFTP tells of times, make cannot see what is newer.
    run(&world, "make", &["-s", "-B"], &clone);
    assert_eq!(run(&world, "./sum", &[], &clone).out(), "1820\n");
    git(&["gc", "-q"], &clone);
    git(&["fsck", "--strict"], &clone);
    git(&["push", "-q", "origin", "other"], &clone);
    // It is a repository to whoever has the folder itself, too.
    let served = world.served("clone");
    git(&["fsck", "--strict"], &served);
    assert_eq!(git(&["status", "--short", "-uno"], &served).out(), "");
}
