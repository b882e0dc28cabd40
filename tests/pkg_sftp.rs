//! Promise: `sft sftp-stdio` is a server to the integration tests of pkg/sftp, the SFTP library that Go programs use
//! (Debian package `golang-github-pkg-sftp-dev`), unmodified, but for what is listed here (spec/doors.md, "SFTP").
//!
//! Only those of its tests run that start a server other than its own. `TestServerCompareSubsystems`, which compares
//! listings of this machine's root word by word, is not among them: a client's root is what is served.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sft_testkit::{Ran, Running, write_sftp_server};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(300);
const SOURCE: &str = "/usr/share/gocode/src/github.com/pkg/sftp";
const STARTING_A_SERVER: &str = "^(TestNewClient|TestClient|TestGlob|TestServerRoughDisconnect)";

/// What does not hold, and why.
const KNOWN: &[(&str, &str)] = &[
    ("TestClientGetwd", "a session begins in its root, whose name is /"),
    ("TestClientStatLink", "a link whose target begins with / is not followed"),
    ("TestClientChown", "owners are not set"),
    ("TestClientWrite", "it looks for the file, past the server, before it closes it"),
    ("TestClientReadFrom", "the same"),
    ("TestClientReadFromSizeMismatch", "the same"),
    (
        "TestServerRoughDisconnectEOF",
        "it reads from /dev/null, and devices are not served: here it is a file that was written to",
    ),
];

#[test]
fn pkg_sftp() {
    let dir = tempfile::Builder::new().prefix("sft-pkg-").tempdir().unwrap();
    let base = dir.path().canonicalize().unwrap();
    let root = base.join("sftp");
    furnish(&root);
    let tests = built(&base);
    let server = write_sftp_server(SFT, &base, &root);
    let mut command = Command::new(tests);
    command.current_dir(&root).env("TMPDIR", root.join("tmpdir")).arg("-integration").arg("-test.v");
    command.arg(format!("-sftp={}", server.display())).args(["-test.run", STARTING_A_SERVER]);
    let ran = Running::start(command).wait(PATIENCE);
    let failed = results(&ran, "--- FAIL: ");
    let known = KNOWN.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(failed, known, "{}", ran.out());
    let passed = results(&ran, "--- PASS: ");
    assert!(passed.contains("TestServerRoughDisconnect") && passed.len() > 40, "{passed:#?}");
}

/// A folder in which the tests find what they look for, by the paths by which they do: it is what is served and where
/// they run, so that each name means the same to both.
fn furnish(root: &Path) {
    let copied = Command::new("cp").args(["-r", SOURCE]).arg(root).status().unwrap();
    assert!(copied.success(), "golang-github-pkg-sftp-dev is installed: tests/run does that");
    // Within the root, its own path is a link to the root, and so is its name: `..` of the root is the root.
    let inside = root.join(root.strip_prefix("/").unwrap());
    std::fs::create_dir_all(inside.parent().unwrap()).unwrap();
    symlink(root.components().skip(2).map(|_| "..").collect::<PathBuf>(), &inside).unwrap();
    symlink(".", root.join("sftp")).unwrap();
    // What is a device elsewhere is a long file and an empty one.
    std::fs::create_dir(root.join("dev")).unwrap();
    std::fs::File::create(root.join("dev/zero")).unwrap().set_len(1 << 40).unwrap();
    std::fs::write(root.join("dev/null"), "").unwrap();
    std::fs::create_dir(root.join("tmpdir")).unwrap();
    std::fs::write(root.join("tmpdir/one"), "").unwrap();
}

/// The tests as a program, built of what the distribution has and nothing else.
fn built(base: &Path) -> PathBuf {
    let tests = base.join("tests");
    let mut go = Command::new("go");
    go.args(["test", "-c", "-o"]).arg(&tests).arg("github.com/pkg/sftp").current_dir(base);
    go.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode").env("GOCACHE", base.join("cache"));
    go.env("GOFLAGS", "").env("GOTOOLCHAIN", "local").env("HOME", base);
    Running::start(go).wait(PATIENCE).done();
    tests
}

/// The names of tests that ended so, without their parts.
fn results(ran: &Ran, how: &str) -> BTreeSet<String> {
    let out = ran.out();
    let names = out.lines().filter_map(|line| line.strip_prefix(how));
    names.filter_map(|rest| rest.split_whitespace().next()).map(str::to_owned).collect()
}
