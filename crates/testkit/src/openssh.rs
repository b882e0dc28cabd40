//! OpenSSH's programs in the hands of a [`Person`], with a configuration of their own and no other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{Person, Running};

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
        // However it ends, it has noted the key: `ssh-keyscan` waits for the server to speak, which this one does not.
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

const FIRST_MAX: Duration = Duration::from_secs(60);
