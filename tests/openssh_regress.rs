//! Promise: `sft sftp-stdio` is a server to OpenSSH's `sftp` and `scp` by OpenSSH's own regression tests, as Debian ships
//! them (package `openssh-tests`), unmodified (spec/doors.md, "SFTP").
//!
//! Not run: `sftp-chroot.sh` and `sftp-uri.sh`, which use the server that is built into `sshd` and never start ours.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sft_testkit::{Running, write_sftp_server};
use tempfile::TempDir;

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(300);

/// What a script said failed: the title of the step, and its complaint.
type Complaint = (String, String);

/// A folder that is served and has the same absolute path for clients as for programs of this machine: the scripts use
/// one path for both, and a server's root is `/` to its clients.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = TempDir::with_prefix("sft-regress-").unwrap();
        let path = dir.path().canonicalize().unwrap();
        // Within the root, its own path is a link to the root.
        let inside = path.join(path.strip_prefix("/").unwrap());
        let above = inside.parent().unwrap();
        std::fs::create_dir_all(above).unwrap();
        let up: PathBuf = path.components().skip(2).map(|_| "..").collect();
        symlink(up, &inside).unwrap();
        // Some steps list and get what is in `/bin`.
        std::fs::create_dir(path.join("bin")).unwrap();
        for name in ["ls", "ln"] {
            std::fs::copy(Path::new("/bin").join(name), path.join("bin").join(name)).unwrap();
        }
        Self { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }
}

/// Runs a script as `test-exec.sh` says, and returns all that it complained of.
fn complaints(script: &str) -> Vec<Complaint> {
    let (place, theirs) = (Place::new(), scripts());
    let objects = place.path().join("objects");
    std::fs::create_dir(&objects).unwrap();
    let mut shell = Command::new("sh");
    shell.arg(theirs.join("test-exec.sh")).arg(&objects).arg(theirs.join(format!("{script}.sh")));
    shell.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    shell.env("HOME", place.path()).env("LANG", "C.UTF-8").env("USER", "tester").current_dir(&objects);
    shell.env("TEST_SHELL", "sh").env("BUILDDIR", &theirs).env("TEST_SSH_UNSAFE_PERMISSIONS", "1");
    shell
        .env("TEST_SSH_SSH", "ssh")
        .env("TEST_SSH_SFTPSERVER", write_sftp_server(SFT, &place.path(), &place.path()));
    // A copy of this program is what they copy; read in pieces of 5 bytes, a larger one takes long.
    shell.env("TEST_SSH_SSHAGENT", "/bin/ls");
    // It is asked whether its configuration is right, and not started.
    shell.env("TEST_SSH_SSHD", "/bin/true");
    let ran = Running::start(shell).wait(PATIENCE);
    let log = std::fs::read_to_string(objects.join("failed-regress.log")).unwrap_or_default();
    let found = parsed(&log);
    assert_eq!(ran.code, Some(i32::from(!found.is_empty())), "{ran:?}\n{log}");
    let (right, wrong) = (format!("ok {}", title(script)), format!("failed {}", title(script)));
    let end = if found.is_empty() { right } else { wrong };
    assert!(ran.out().lines().any(|line| line == end), "it ended before its end\n{ran:?}");
    found
}

/// Where the scripts are; tests/run unpacks them.
fn scripts() -> PathBuf {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/openssh-tests/usr/lib/openssh/regress");
    let installed = PathBuf::from("/usr/lib/openssh/regress");
    let found = [unpacked, installed].into_iter().find(|path| path.join("test-exec.sh").is_file());
    found.expect("OpenSSH's regression tests are there: tests/run unpacks the package openssh-tests")
}

/// What a script calls itself at its end.
fn title(script: &str) -> &str {
    match script {
        "sftp" => "basic sftp put/get",
        "sftp-cmds" => "sftp commands",
        "sftp-badcmds" => "sftp invalid commands",
        "sftp-batch" => "sftp batchfile",
        "sftp-glob" => "sftp glob",
        "sftp-perm" => "sftp permissions",
        other => other,
    }
}

/// The log repeats what a step has said before with each complaint.
fn parsed(log: &str) -> Vec<Complaint> {
    let mut found = Vec::new();
    let mut step = "";
    for line in log.lines() {
        if let Some(title) = line.strip_prefix("trace: ") {
            step = title;
        } else if let Some(said) = line.strip_prefix("FAIL: ").or_else(|| line.strip_prefix("FATAL: ")) {
            let complaint = (step.to_owned(), said.to_owned());
            if !found.contains(&complaint) {
                found.push(complaint);
            }
        }
    }
    found
}

#[track_caller]
fn passes(script: &str) {
    let found = complaints(script);
    assert!(found.is_empty(), "{script}.sh: {found:#?}");
}

#[test]
fn sftp() {
    passes("sftp");
}

#[test]
fn sftp_cmds() {
    passes("sftp-cmds");
}

#[test]
fn sftp_badcmds() {
    passes("sftp-badcmds");
}

#[test]
fn sftp_batch() {
    passes("sftp-batch");
}

#[test]
fn sftp_glob() {
    passes("sftp-glob");
}

/// In both modes; the old one talks to the `scp` of this machine, and not to us.
#[test]
fn scp() {
    passes("scp");
}

#[test]
fn scp_uri() {
    passes("scp-uri");
}

/// In the old mode this one needs a running `sshd`, which has no part in what is shown here.
#[test]
fn scp3() {
    let found = complaints("scp3");
    let ours: Vec<_> = found.iter().filter(|(step, _)| !step.starts_with("scp3: scp mode:")).collect();
    assert!(ours.is_empty(), "{ours:#?}");
}

/// Which requests are answered cannot be listed one by one here (`sftp-server -p`, `-P`): rights are those of grants, and
/// beneath another server `--read-only` is all there is. The same steps without such a list pass.
#[test]
fn sftp_perm() {
    let found = complaints("sftp-perm");
    let is_a_list = |(step, said): &&Complaint| {
        step.starts_with("sftp permissions: explicit ")
            && (said.starts_with("blacklisted ")
                || said.starts_with("no whitelist ")
                || said.starts_with("postcondition check failed: ")
                    && (said.ends_with(" blacklisted") || said.ends_with(" not in whitelist")))
    };
    let (lists, others): (Vec<_>, Vec<_>) = found.iter().partition(is_a_list);
    assert!(others.is_empty(), "{others:#?}");
    assert!(!lists.is_empty(), "lists of requests are obeyed: this test may say so");
}
