//! How `sft` ends: the one table of exit codes, which `sft help exit-codes` prints and which never changes meaning.

use std::process::ExitCode;

/// How a run of `sft` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// All was done.
    Done,
    /// Some entries failed, and the others were done.
    SomeFailed,
    /// The command line or the configuration file makes no sense.
    Usage,
    /// No connection came up, or it was lost for good.
    Connect,
    /// Refused: the server's key is not trusted, or the server grants no such right.
    Refused,
    /// Content does not have the digest that was promised.
    Integrity,
    /// Something on this machine prevents it.
    Local,
    /// Asked by `sft port --check`: sft has the port.
    InUseBySft,
    /// Asked by `sft port --check`: another program has the port.
    InUseByOther,
    /// Stopped by the user.
    Interrupted,
}

impl Exit {
    /// Every exit code with its meaning, as the help shows them.
    pub(crate) const ALL: [(Self, &'static str); 10] = [
        (Self::Done, "All done."),
        (Self::SomeFailed, "Some entries failed; they are listed, and the others were done."),
        (Self::Usage, "The command line or the configuration file was wrong; nothing was done."),
        (Self::Connect, "No connection came up, or it was lost and could not be made again."),
        (Self::Refused, "Refused: the server's key is not trusted, or the server does not grant the right."),
        (Self::Integrity, "Content did not have the digest that was promised; it was not published."),
        (Self::Local, "Something on this machine prevents it, such as a destination that cannot be written."),
        (Self::InUseBySft, "Of `sft port --check` alone: sft listens on the port."),
        (Self::InUseByOther, "Of `sft port --check` alone: another program listens on the port."),
        (Self::Interrupted, "Stopped by the user; a copy goes on from there when it is run again."),
    ];

    /// The number the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::SomeFailed => 1,
            Self::Usage => 2,
            Self::Connect => 3,
            Self::Refused => 4,
            Self::Integrity => 5,
            Self::Local => 6,
            Self::InUseBySft => 10,
            Self::InUseByOther => 11,
            Self::Interrupted => 130,
        }
    }

    /// The worse of two, for a command that did several things.
    pub(crate) fn worse(self, other: Self) -> Self {
        self.max(other)
    }

    /// The table as the help shows it.
    pub(crate) fn help() -> String {
        let rows = Self::ALL.map(|(exit, meaning)| format!("{:>5}  {meaning}\n", exit.code()));
        format!("How sft ends, as the shell sees it:\n\n{}", rows.concat())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_as_promised() {
        let codes = Exit::ALL.map(|(exit, _)| exit.code());
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 10, 11, 130]);
        assert_eq!(Exit::SomeFailed.worse(Exit::Done), Exit::SomeFailed);
        assert_eq!(Exit::SomeFailed.worse(Exit::Interrupted), Exit::Interrupted);
    }

    #[test]
    fn the_help_has_a_row_for_each() {
        let help = Exit::help();
        assert_eq!(help.lines().count(), 2 + Exit::ALL.len());
        assert!(help.contains("\n    0  All done.\n"), "{help}");
        assert!(help.contains("\n  130  Stopped"), "{help}");
    }
}
