//! Someone who uses `sft` on a machine of their own: a home, a key, servers they trust and names for them.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{Ran, Running};

/// A user of `sft`.
#[derive(Clone, Debug)]
pub struct Person {
    sft: PathBuf,
    home: PathBuf,
    /// Who the system takes this person for; none for whoever runs the tests.
    uid: Option<u32>,
}

impl Person {
    /// Someone with an empty home.
    pub fn new(sft: &Path, home: PathBuf) -> Self {
        std::fs::create_dir_all(home.join(".ssh")).expect("a home can be made");
        private(&home.join(".ssh"));
        Self { sft: sft.into(), home, uid: None }
    }

    /// The same with a key in `~/.ssh`.
    pub fn with_key(self) -> Self {
        let key = self.key();
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "test@example", "-f"]).arg(&key);
        let made = keygen.status().expect("ssh-keygen is installed");
        assert!(made.success(), "ssh-keygen makes no key in {}", key.display());
        self
    }

    /// The same as another user of the system, who owns the home. Root only.
    pub fn as_user(mut self, uid: u32) -> Self {
        let owned = Command::new("chown").args(["-R", &format!("{uid}:{uid}")]).arg(&self.home).status();
        assert!(owned.expect("chown is there").success());
        self.uid = Some(uid);
        self
    }

    /// The home folder.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The private key, whether it is there or not.
    pub fn key(&self) -> PathBuf {
        self.home.join(".ssh/id_ed25519")
    }

    /// The line of the public key, as it stands in `authorized_keys`.
    pub fn public_key(&self) -> String {
        std::fs::read_to_string(self.home.join(".ssh/id_ed25519.pub")).expect("this person has a key")
    }

    /// Lets a public key into `authorized_keys`.
    pub fn authorize(&self, public_key: &str) {
        let path = self.home.join(".ssh/authorized_keys");
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(&path, before + public_key).expect("the home can be written");
    }

    /// Folder of configuration.
    pub fn config(&self) -> PathBuf {
        self.home.join(".config/sft")
    }

    /// Folder of a server's state.
    pub fn state(&self) -> PathBuf {
        self.home.join(".local/state/sft")
    }

    /// Pins a server's key (spec/auth.md, "Trusted servers"), in place of one that was pinned.
    pub fn trusts(&self, port: u16, fingerprint: &str) {
        let server = format!("127.0.0.1:{port} ");
        let path = self.config_file("trusted");
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let others = before.lines().filter(|line| !line.starts_with(&server));
        let lines: String = others.map(|line| format!("{line}\n")).collect();
        std::fs::write(&path, format!("{lines}{server}{fingerprint}\n")).expect("the home can be written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("it was just made");
    }

    /// Gives a server of this machine a name, in place of one that has it.
    pub fn names(&self, alias: &str, port: u16) {
        let path = self.config_file("config.toml");
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let head = format!("[host.{alias}]");
        let others: String =
            before.split_inclusive("\n\n").filter(|stanza| !stanza.starts_with(&head)).collect();
        let stanza = format!("{head}\naddress = \"127.0.0.1\"\nport = {port}\n\n");
        std::fs::write(&path, others + &stanza).expect("the home can be written");
    }

    /// Runs `sft` to its end.
    pub fn sft(&self, args: Vec<OsString>) -> Ran {
        self.start(args).wait(RUN_MAX)
    }

    /// Starts `sft`.
    pub fn start(&self, args: Vec<OsString>) -> Running {
        let mut command = self.command(&self.sft);
        command.args(args);
        Running::start(command)
    }

    /// A program with this person's environment and no more.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(&self.home);
        command.env("HOME", &self.home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("LANG", "C.UTF-8").env("TZ", "UTC").env("RUST_BACKTRACE", "1");
        if let Some(log) = std::env::var_os("SFT_TEST_LOG") {
            command.env("RUST_LOG", log);
        }
        if let Some(uid) = self.uid {
            command.uid(uid).gid(uid);
        }
        command
    }

    fn config_file(&self, name: &str) -> PathBuf {
        std::fs::create_dir_all(self.config()).expect("a home can be written");
        private(&self.config());
        self.config().join(name)
    }
}

fn private(folder: &Path) {
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700)).expect("the folder is ours");
}

/// No single run of a test takes longer; those that do are started and waited for by name.
const RUN_MAX: Duration = Duration::from_secs(300);
