//! What a caller chooses about a connection and about a transfer; every default is the one that `sft` uses.

use std::fmt;
use std::str::FromStr;

use sft_wire::message::{Durability, PublishMode};

/// Which transports a client may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransportChoice {
    /// Both, whichever is there and pays.
    #[default]
    Auto,
    /// QUIC alone.
    Quic,
    /// TLS over TCP alone.
    Tcp,
}

/// A text that is none of `auto`, `quic`, `tcp`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a transport; write `quic`, `tcp` or `auto`")]
pub struct TransportChoiceError(String);

/// How entries are pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushOptions {
    /// What happens to an entry that is there already: by default it gives way.
    pub publish: PublishMode,
    /// When a commit counts as durable: by default when content and name are on disk, flushed in batches.
    pub durability: Durability,
    /// Whether files are compared by digest and not by size and time; by default not.
    pub checksum: bool,
}

/// How entries are pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullOptions {
    /// What happens to an entry that is there already: by default it gives way.
    pub publish: PublishMode,
    /// When a commit counts as durable: by default when content and name are on disk, flushed in batches.
    pub durability: Durability,
    /// Whether files are compared by digest and not by size and time; by default not.
    pub checksum: bool,
    /// Whether set-id bits that the server offers are set here; by default they are dropped and reported.
    pub keep_setid: bool,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self { publish: PublishMode::Replace, durability: Durability::Commit, checksum: false }
    }
}

impl Default for PullOptions {
    fn default() -> Self {
        let PushOptions { publish, durability, checksum } = PushOptions::default();
        Self { publish, durability, checksum, keep_setid: false }
    }
}

impl FromStr for TransportChoice {
    type Err = TransportChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "quic" => Ok(Self::Quic),
            "tcp" => Ok(Self::Tcp),
            _ => Err(TransportChoiceError(text.to_owned())),
        }
    }
}

impl fmt::Display for TransportChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Quic => "quic",
            Self::Tcp => "tcp",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_as_they_are_shown() {
        for choice in [TransportChoice::Auto, TransportChoice::Quic, TransportChoice::Tcp] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        let error = "udp".parse::<TransportChoice>().unwrap_err();
        assert_eq!(error.to_string(), "`udp` is not a transport; write `quic`, `tcp` or `auto`");
    }
}
