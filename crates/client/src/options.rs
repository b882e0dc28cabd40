//! What a caller chooses about a connection and about a transfer; every default is the one that `sft` uses.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sft_auth::{ClientKeys, Fingerprint, InviteLink, ServerName};
use sft_base::limits;
use sft_engine::Manner;
use sft_lane::KnownPaths;
use sft_wire::message::{Durability, PublishMode};

/// How to connect, and as whom.
pub struct ConnectOptions {
    /// The keys to offer, best first.
    pub keys: ClientKeys,
    /// The list of servers that are trusted; see [`sft_auth::Trust`].
    pub trusted: PathBuf,
    /// Asked about a server that was never met; where there is nobody to ask, such a server is refused.
    pub on_unknown: Option<AskTrust>,
    /// Asked for the passphrase of a key; where there is nobody to ask, such a key is passed over.
    pub on_passphrase: Option<AskPassphrase>,
    /// An invitation to redeem: its server is trusted without a question, if it has the key that the link names.
    pub invitation: Option<InviteLink>,
    /// Transports that may be used.
    pub transport: TransportChoice,
    /// Says where the server is, whenever it is dialled; by default, and where it names no address, the system is asked.
    pub locate: Option<Locate>,
    /// TCP connections that carry data, 0 for none where there is QUIC; by default as many as the path needs.
    pub lanes: Option<usize>,
    /// How long after the last progress a lost connection is given up; until then it is dialled again.
    pub redial: Duration,
    /// What earlier connections learned of the paths to servers; by default nothing. Clients that share it learn for each other.
    pub paths: KnownPaths,
    /// Program and version, for the server's log.
    pub agent: String,
}

/// Says whether a server that was never met is to be trusted from now on. Called where it may block.
pub type AskTrust = Arc<dyn Fn(&UnknownServer) -> bool + Send + Sync>;

/// Gives a passphrase for a question; none when nobody knows it. Called where it may block.
pub type AskPassphrase = Arc<dyn Fn(&str) -> Option<Passphrase> + Send + Sync>;

/// Finds the addresses of a server, on whatever ports. They come in groups, the preferred group first and in it the preferred
/// address: a group is raced, and the next one is for when no server of those before it can be reached.
pub type Locate = Arc<dyn Fn() -> Locating + Send + Sync>;

/// What such a search will bring.
pub type Locating = Pin<Box<dyn Future<Output = io::Result<Vec<Vec<SocketAddr>>>> + Send>>;

/// A passphrase, wiped from memory when dropped.
pub type Passphrase = zeroize::Zeroizing<String>;

/// A server that was never met, and the key it has proved to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownServer {
    /// Host and port.
    pub name: ServerName,
    /// Its key.
    pub fingerprint: Fingerprint,
}

/// Knows, beyond the end of a process, where a copy landed that did not come to its end.
///
/// A tree that is copied to a name where nothing is becomes the directory of that name. When it is interrupted and begun
/// anew, the directory is there, and the tree would land inside it. One value is for one copy: the same sources, the same
/// destination. Both functions are called where they may block.
pub trait LandingMemory: fmt::Debug + Send + Sync {
    /// Whether this copy was begun before, landed at the destination's name, and was not told to be done since.
    fn recall(&self) -> bool;
    /// This copy lands at the destination's name. Said before anything is made there.
    fn remember(&self);
}

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
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// What happens to an entry that is there already: by default it gives way.
    pub publish: PublishMode,
    /// When a commit counts as durable: by default when content and name are on disk, flushed in batches.
    pub durability: Durability,
    /// Whether files are compared by digest and not by size and time; by default not.
    pub checksum: bool,
    /// How others on the same path are treated; by default as equals.
    pub manner: Manner,
    /// What is known of the same copy from before; by default nothing.
    pub memory: Option<Arc<dyn LandingMemory>>,
    /// Whether the server is asked at the end what its end of the copy waited for, which takes a round trip; by default not.
    pub explain: bool,
}

/// How entries are pulled.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// What happens to an entry that is there already: by default it gives way.
    pub publish: PublishMode,
    /// When a commit counts as durable: by default when content and name are on disk, flushed in batches.
    pub durability: Durability,
    /// Whether files are compared by digest and not by size and time; by default not.
    pub checksum: bool,
    /// Whether set-id bits that the server offers are set here; by default they are dropped and reported.
    pub keep_setid: bool,
    /// How others on the same path are treated; by default as equals.
    pub manner: Manner,
    /// What is known of the same copy from before; by default nothing.
    pub memory: Option<Arc<dyn LandingMemory>>,
    /// Whether the server is asked at the end what its end of the copy waited for, which takes a round trip; by default not.
    pub explain: bool,
}

impl ConnectOptions {
    /// The usual ways, with these keys and this list of trusted servers, and nobody to ask.
    pub fn new(keys: ClientKeys, trusted: PathBuf) -> Self {
        Self {
            keys,
            trusted,
            on_unknown: None,
            on_passphrase: None,
            invitation: None,
            transport: TransportChoice::default(),
            locate: None,
            lanes: None,
            redial: Duration::from_millis(limits::REDIAL_MS),
            paths: KnownPaths::default(),
            agent: concat!("sft/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, trusted, invitation, transport, locate, lanes, redial, agent, .. } = self;
        f.debug_struct("ConnectOptions")
            .field("keys", keys)
            .field("trusted", trusted)
            .field("invitation", &invitation.is_some())
            .field("transport", transport)
            .field("locate", &locate.is_some())
            .field("lanes", lanes)
            .field("redial", redial)
            .field("agent", agent)
            .finish_non_exhaustive()
    }
}

impl Default for PushOptions {
    fn default() -> Self {
        let (publish, durability) = (PublishMode::Replace, Durability::Commit);
        let manner = Manner::default();
        Self { publish, durability, checksum: false, manner, memory: None, explain: false }
    }
}

impl Default for PullOptions {
    fn default() -> Self {
        let PushOptions { publish, durability, checksum, manner, memory, explain } = PushOptions::default();
        Self { publish, durability, checksum, keep_setid: false, manner, memory, explain }
    }
}

impl From<TransportChoice> for sft_lane::Choice {
    fn from(choice: TransportChoice) -> Self {
        match choice {
            TransportChoice::Auto => Self::Auto,
            TransportChoice::Quic => Self::Quic,
            TransportChoice::Tcp => Self::Tcp,
        }
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
