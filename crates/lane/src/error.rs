//! What can go wrong with a lane, a bind and a dial, sorted by fault; the words tell the reader what to do.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::Transport;

/// Why a lane gives or takes no more frames.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LaneError {
    /// The peer closed the connection and said why (QUIC only: TCP has no place for a code).
    #[error("the peer closed the connection (code {code}): {reason}")]
    ClosedByPeer {
        /// The application's code.
        code: u32,
        /// Text for people; may be empty.
        reason: String,
    },
    /// This end closed the connection.
    #[error("the connection was closed at this end")]
    ClosedHere,
    /// Nothing came from the peer for longer than the connection's idle time.
    #[error("nothing was heard from the peer; the connection timed out")]
    TimedOut,
    /// The path or the peer failed.
    #[error("the connection was lost: {0}")]
    Lost(Arc<io::Error>),
    /// The peer gave this one stream up; the connection lives.
    #[error("the peer gave the stream up (code {code})")]
    StreamReset {
        /// The application's code.
        code: u64,
    },
    /// The peer broke the rules of framing: close the connection.
    #[error("the peer broke the protocol: {0}")]
    Misbehaved(#[from] Misbehaviour),
}

/// A rule of framing that a peer broke (spec/wire.md, "Frames").
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaviour {
    /// A frame announces more than may come here.
    #[error("a frame of type {ty} announces {len} bytes where at most {max} may come")]
    FrameTooLarge {
        /// The frame's type.
        ty: u64,
        /// The announced length of its payload, in bytes.
        len: u64,
        /// The most that was allowed.
        max: u64,
    },
    /// The stream ended, in good order, within a frame or without one.
    #[error("a stream ended within a frame")]
    FrameCutShort,
    /// A data stream carries more than its one frame.
    #[error("bytes follow the only frame of a data stream")]
    BytesAfterFrame,
}

impl LaneError {
    /// Finds the lane's error inside what the byte streams report.
    pub(crate) fn from_io(error: io::Error) -> Self {
        let inner = error.get_ref();
        if let Some(read) = inner.and_then(|inner| inner.downcast_ref::<quinn::ReadError>()) {
            return match read {
                quinn::ReadError::Reset(code) => Self::StreamReset { code: code.into_inner() },
                quinn::ReadError::ConnectionLost(lost) => lost.clone().into(),
                _ => Self::Lost(Arc::new(error)),
            };
        }
        if let Some(write) = inner.and_then(|inner| inner.downcast_ref::<quinn::WriteError>()) {
            return write.clone().into();
        }
        match error.kind() {
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Lost(Arc::new(error)),
        }
    }
}

impl From<quinn::ConnectionError> for LaneError {
    fn from(error: quinn::ConnectionError) -> Self {
        match error {
            quinn::ConnectionError::ApplicationClosed(close) => Self::ClosedByPeer {
                code: u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            quinn::ConnectionError::LocallyClosed => Self::ClosedHere,
            quinn::ConnectionError::TimedOut => Self::TimedOut,
            other => Self::Lost(Arc::new(other.into())),
        }
    }
}

impl From<quinn::WriteError> for LaneError {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::Stopped(code) => Self::StreamReset { code: code.into_inner() },
            quinn::WriteError::ConnectionLost(lost) => lost.into(),
            other => Self::Lost(Arc::new(other.into())),
        }
    }
}

/// Why a listener could not start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program has the port.
    #[error(
        "{transport} {address} is already in use: stop what uses it (see `ss -ltnup`), \
         or choose another port with --port"
    )]
    Taken {
        /// Where binding was tried.
        address: SocketAddr,
        /// Which of the two sockets failed.
        transport: Transport,
    },
    /// The system reserves the port for privileged users.
    #[error("{transport} {address} may not be bound by this user: choose a port above 1023 with --port")]
    Denied {
        /// Where binding was tried.
        address: SocketAddr,
        /// Which of the two sockets failed.
        transport: Transport,
    },
    /// The address is not one of this machine's.
    #[error("{} is not an address of this machine: choose another with --bind (see `ip address`)", address.ip())]
    NotHere {
        /// Where binding was tried.
        address: SocketAddr,
    },
    /// Anything else the system said.
    #[error("{transport} {address} cannot be bound: {source}")]
    Io {
        /// Where binding was tried.
        address: SocketAddr,
        /// Which of the two sockets failed.
        transport: Transport,
        /// What the system said.
        source: io::Error,
    },
    /// The identity is not an Ed25519 private key in PKCS#8.
    #[error("the server's identity cannot be used: {0}")]
    Identity(String),
}

impl BindError {
    /// Sorts what the system said about one socket.
    pub(crate) fn from_io(address: SocketAddr, transport: Transport, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::Taken { address, transport },
            io::ErrorKind::PermissionDenied => Self::Denied { address, transport },
            io::ErrorKind::AddrNotAvailable => Self::NotHere { address },
            _ => Self::Io { address, transport, source },
        }
    }
}

/// Why no connection came up: every attempt that was made.
#[derive(Debug, Clone)]
pub struct ConnectError {
    /// In the order in which they failed; empty when there was no address to try.
    pub attempts: Vec<FailedAttempt>,
}

/// One attempt that failed.
#[derive(Debug, Clone)]
pub struct FailedAttempt {
    /// Where it went.
    pub address: SocketAddr,
    /// How.
    pub transport: Transport,
    /// Why it failed.
    pub cause: AttemptError,
}

/// Why one attempt failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AttemptError {
    /// Nothing answered in time.
    #[error("no answer within {} s", seconds(*.0))]
    TimedOut(Duration),
    /// Somebody answered, and went silent before the secure channel stood.
    #[error("it answered, and then no secure channel came up within {} s", seconds(*.0))]
    Unfinished(Duration),
    /// The server proved a key that is not the pinned one. Nothing was sent to it.
    #[error("the server's key is not the one this client trusts")]
    WrongKey {
        /// The Ed25519 key that the server showed.
        got: [u8; 32],
    },
    /// The server's certificate holds no Ed25519 key, so it is no identity of this protocol.
    #[error("the server shows no Ed25519 identity; it is not an sft server")]
    NoIdentity,
    /// Something answers there which does not speak this protocol.
    #[error("the server does not speak sft/1")]
    NotSft,
    /// The server closed the connection before it said anything, as it does while too many wait for its attention.
    #[error(
        "the server turned the connection away; it may have too many at the moment: try again in a while"
    )]
    TurnedAway,
    /// The secure channel could not be made.
    #[error("the secure channel could not be made: {0}")]
    Handshake(String),
    /// The system or the path refused.
    #[error("{0}")]
    Io(Arc<io::Error>),
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}

impl ConnectError {
    /// The key of the first server that showed another one than was pinned.
    pub fn wrong_key(&self) -> Option<[u8; 32]> {
        self.attempts.iter().find_map(|attempt| match attempt.cause {
            AttemptError::WrongKey { got } => Some(got),
            _ => None,
        })
    }

    /// Whether a server is there and may take a connection soon.
    pub fn was_turned_away(&self) -> bool {
        self.attempts.iter().any(|attempt| matches!(attempt.cause, AttemptError::TurnedAway))
    }
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.attempts.is_empty() {
            return f.write_str("there is no address to connect to");
        }
        f.write_str("no connection came up: ")?;
        for (index, attempt) in self.attempts.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{} {}: {}", attempt.transport, attempt.address, attempt.cause)?;
        }
        f.write_char('.')
    }
}

impl std::error::Error for ConnectError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_where_and_what_to_do() {
        let address = "[::]:1303".parse().unwrap();
        let taken = BindError::from_io(address, Transport::Tcp, io::ErrorKind::AddrInUse.into());
        assert_eq!(
            taken.to_string(),
            "TCP [::]:1303 is already in use: stop what uses it (see `ss -ltnup`), or choose another port with --port"
        );
        let denied = BindError::from_io(address, Transport::Quic, io::ErrorKind::PermissionDenied.into());
        assert_eq!(
            denied.to_string(),
            "UDP [::]:1303 may not be bound by this user: choose a port above 1023 with --port"
        );
        let failed = ConnectError {
            attempts: vec![
                FailedAttempt {
                    address,
                    transport: Transport::Quic,
                    cause: AttemptError::TimedOut(Duration::from_secs(2)),
                },
                FailedAttempt {
                    address,
                    transport: Transport::Tcp,
                    cause: AttemptError::Io(Arc::new(io::ErrorKind::ConnectionRefused.into())),
                },
            ],
        };
        assert_eq!(
            failed.to_string(),
            "no connection came up: UDP [::]:1303: no answer within 2 s; TCP [::]:1303: connection refused."
        );
    }
}
