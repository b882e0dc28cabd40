//! Why a client could not connect, why a request was not carried out, why a transfer ended early. Every sentence says
//! what happened, to what, and what to do.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sft_auth::{Fingerprint, ServerName, ServerNameError, SignError, TrustError};
use sft_lane::Transport;
use sft_store::StoreError;
use sft_wire::WireError;

/// Why no session was opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// What was named cannot be a server.
    #[error(transparent)]
    Name(#[from] ServerNameError),
    /// The name has no address.
    #[error("cannot find the address of `{host}`; check the spelling and the network: {source}")]
    Resolve {
        /// The host.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// No connection came up.
    #[error(
        "cannot reach {server}: {}. Is `sft serve` running there, and does its firewall let {}",
        attempts(source),
        what_was_tried(source)
    )]
    Unreachable {
        /// The server.
        server: ServerName,
        /// Every attempt.
        #[source]
        source: sft_lane::ConnectError,
    },
    /// The server was never met, and nobody said that it is to be trusted. Nothing was sent to it.
    #[error(
        "{server} is not trusted yet; its key is {fingerprint}. If that is what `sft serve` shows there, run\n    \
         sft trust add {server} {fingerprint}\nand try again"
    )]
    Untrusted {
        /// The server.
        server: ServerName,
        /// Its key.
        fingerprint: Fingerprint,
    },
    /// The server has another key than it had. Nothing was sent to it.
    #[error(
        "THE KEY OF {server} HAS CHANGED: it was {was} and is now {now}. Somebody may be answering in its place, or it \
         was set up anew. Nothing was sent to it. If its owner confirms the new key, run\n    \
         sft trust remove {server}\nand try again"
    )]
    Changed {
        /// The server.
        server: ServerName,
        /// The key that is pinned.
        was: Fingerprint,
        /// The key it showed.
        now: Fingerprint,
    },
    /// The server is not the one that the invitation is from. Nothing was sent to it.
    #[error(
        "{server} is not the server that the invitation is from: its key is {now}, and the invitation names {was}. \
         Nothing was sent to it; ask for a new invitation"
    )]
    NotTheInviter {
        /// The server.
        server: ServerName,
        /// The key that the link names.
        was: Fingerprint,
        /// The key it showed.
        now: Fingerprint,
    },
    /// The list of trusted servers cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// There is no key to prove.
    #[error(
        "you have no key to prove who you are: make one with `sft key new`, and let the owner of {server} add it or \
         invite you"
    )]
    NoKeys {
        /// The server.
        server: ServerName,
    },
    /// No key could sign.
    #[error("cannot prove who you are to {server}: {source}")]
    Sign {
        /// The server.
        server: ServerName,
        /// Why not.
        source: SignError,
    },
    /// The server accepted none of the keys.
    #[error("{server} accepts none of your keys ({}). Its owner can add one to ~/.ssh/authorized_keys there, or \
             invite you with `sft invite`", tried.join(", "))]
    Denied {
        /// The server.
        server: ServerName,
        /// Fingerprints of the keys that were offered.
        tried: Vec<String>,
        /// What the server said.
        error: WireError,
    },
    /// The connection ended before a session was open.
    #[error("no session with {server} was opened: {reason}")]
    Closed {
        /// The server.
        server: ServerName,
        /// What it said, or what the connection tells.
        reason: String,
    },
    /// The server does not keep to the protocol.
    #[error("{server} does not keep to the protocol: {reason}; bring both ends to the same version of sft")]
    Misbehaved {
        /// The server.
        server: ServerName,
        /// What it did.
        reason: String,
    },
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No connection could be made again.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server says why.
    #[error("{0}")]
    Failed(WireError),
    /// The connection was lost, and could not be made again in time.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The connection was lost before the answer came, and a request that changes something is not sent twice.
    #[error(
        "the connection was lost before the answer came ({reason}); whether it was carried out is unknown: look before you try again"
    )]
    Unknown {
        /// How it was lost.
        reason: String,
    },
    /// The server answered with something else than was asked for.
    #[error("the server answered with something else than was asked for: {0}")]
    Misbehaved(&'static str),
}

/// Why a transfer ended before all was settled. What was committed stays, and the same again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// No session could be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection was lost, and for too long none could be made again.
    #[error("the connection was lost ({reason}){}; the same command goes on from here", for_how_long(silent))]
    Lost {
        /// How it was lost, or why no other came up.
        reason: String,
        /// How long there was no progress.
        silent: Duration,
    },
    /// The server refused the transfer.
    #[error("the server refused: {0}")]
    Refused(WireError),
    /// The server gave the transfer up.
    #[error("the server gave the transfer up, and what was copied stays: {0}")]
    GivenUp(WireError),
    /// The server does not keep to the protocol.
    #[error("the server does not keep to the protocol: {0}")]
    Misbehaved(String),
    /// A local file or directory cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    Local {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: LocalError,
    },
    /// Several entries would land at one name, or what is there is no directory.
    #[error("{} is not a directory, and what was named can only be put into one", path.display())]
    Destination {
        /// The destination.
        path: PathBuf,
    },
}

/// Why a local path cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The system says why.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The store says why.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The name is none that can be sent.
    #[error(transparent)]
    Name(#[from] sft_base::PathError),
    /// This side of the transfer cannot begin.
    #[error("{0}")]
    Refused(WireError),
}

/// What comes of it where it was not tried again.
fn for_how_long(silent: &Duration) -> String {
    match silent.as_secs() {
        0 => String::new(),
        seconds => format!(" and could not be made again for {seconds} s"),
    }
}

/// Every attempt with its cause, in a row.
fn attempts(error: &sft_lane::ConnectError) -> String {
    if error.attempts.is_empty() {
        return "its name has no address".into();
    }
    let attempt = |a: &sft_lane::FailedAttempt| format!("{} {}: {}", a.transport, a.address, a.cause);
    error.attempts.iter().map(attempt).collect::<Vec<_>>().join("; ")
}

/// The transports that a firewall would have to let in; of one that was not tried, that it was not.
fn what_was_tried(error: &sft_lane::ConnectError) -> &'static str {
    let tried = |transport| error.attempts.iter().any(|attempt| attempt.transport == transport);
    match (tried(Transport::Quic), tried(Transport::Tcp)) {
        (true, false) => "UDP in? TCP was not tried",
        (false, true) => "TCP in? UDP was not tried",
        _ => "UDP and TCP in?",
    }
}

impl ConnectError {
    /// Whether one end refused the other: trying again changes nothing.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Untrusted { .. }
            | Self::Changed { .. }
            | Self::NotTheInviter { .. }
            | Self::Denied { .. } => true,
            Self::NoKeys { .. } => true,
            Self::Name(_) | Self::Resolve { .. } | Self::Unreachable { .. } | Self::Trust(_) => false,
            Self::Sign { .. } | Self::Closed { .. } | Self::Misbehaved { .. } => false,
        }
    }

    /// Whether the reason lies on this machine.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Name(_) | Self::Trust(_) | Self::Sign { .. })
    }

    /// Whether the same again, later, may succeed.
    pub fn may_pass(&self) -> bool {
        !self.is_refusal() && !self.is_local() && !matches!(self, Self::Misbehaved { .. })
    }
}
