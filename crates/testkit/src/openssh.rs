//! OpenSSH's programs in the hands of a [`Person`], with a configuration of their own and no other.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{Person, Running, World};

impl Person {
    /// Where this person's hosts are, for `-F`.
    pub fn ssh_config(&self) -> PathBuf {
        self.home().join("ssh_config")
    }

    /// Lets OpenSSH know a port of this machine under a name; whoever serves there is taken for the one server there is,
    /// whose key is learnt at the first time.
    pub fn names_for_ssh(&self, alias: &str, port: u16) {
        let home = self.home().display();
        let stanza = format!(
            "Host {alias}\n HostName 127.0.0.1\n Port {port}\n HostKeyAlias the-server\n User anyone\n \
             IdentityFile {home}/.ssh/id_ed25519\n IdentitiesOnly yes\n IdentityAgent none\n \
             UserKnownHostsFile {home}/known\n StrictHostKeyChecking accept-new\n BatchMode yes\n"
        );
        let before = std::fs::read_to_string(self.ssh_config()).unwrap_or_default();
        std::fs::write(self.ssh_config(), stanza + &before).expect("the home can be written");
        // However it ends, it has noted the key: `ssh-keyscan` may wait until the server speaks first.
        if !self.home().join("known").exists() {
            Running::start(self.openssh("ssh", &[alias])).wait(FIRST_MAX);
        }
    }

    /// A program of OpenSSH that has this person's hosts.
    pub fn openssh(&self, program: &str, args: &[&str]) -> Command {
        let mut command = self.command(Path::new(program));
        command.arg("-F").arg(self.ssh_config()).args(args);
        command
    }
}

impl World {
    /// A server of an empty folder, and a client whose OpenSSH knows it as `srv`.
    pub fn with_ssh(sft: &str) -> Self {
        let world = Self::new(sft);
        world.client.names_for_ssh("srv", world.port());
        world
    }

    /// A program of the client's OpenSSH at work, in the client's folder for files.
    pub fn start_openssh(&self, program: &str, args: &[&str]) -> Running {
        let mut command = self.client.openssh(program, args);
        command.current_dir(self.local(""));
        Running::start(command)
    }

    /// A script of the system's Python at work, with the server's port and the client's key for arguments.
    pub fn start_python(&self, script: &str) -> Running {
        let path = self.client.home().join("try.py");
        std::fs::write(&path, script).expect("the home can be written");
        let mut python = self.client.command(Path::new("/usr/bin/python3"));
        python.args(["-W", "ignore"]).arg(path).arg(self.port().to_string()).arg(self.client.key());
        Running::start(python)
    }
}

/// Writes a program to a folder that is `sft sftp-stdio` of `root`, called as OpenSSH's server is: `-R` is for reading only,
/// the other flags are about a log, or what is not served.
pub fn write_sftp_server(sft: &str, folder: &Path, root: &Path) -> PathBuf {
    let server = folder.join("server");
    let script = format!(
        "#!/bin/sh\nonly=\nfor flag; do [ \"$flag\" = -R ] && only=--read-only; done\nexec {sft} sftp-stdio $only {}\n",
        root.display()
    );
    std::fs::write(&server, script).expect("the folder can be written");
    std::fs::set_permissions(&server, PermissionsExt::from_mode(0o755)).expect("it was just made");
    server
}

const FIRST_MAX: Duration = Duration::from_secs(60);
