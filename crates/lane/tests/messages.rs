//! What is said when a connection does not come up, or goes: each sentence once.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use sft_lane::{AttemptError, BindError, LaneError, Misbehaviour, Transport};

fn broken() -> Arc<io::Error> {
    Arc::new(io::Error::other("the wire is cut"))
}

#[test]
fn of_lanes_that_go() {
    let errors = [
        (LaneError::ClosedHere, "the connection was closed at this end"),
        (LaneError::TimedOut, "nothing was heard from the peer; the connection timed out"),
        (LaneError::Lost(broken()), "the connection was lost: the wire is cut"),
        (LaneError::StreamReset { code: 7 }, "the peer gave the stream up (code 7)"),
        (
            LaneError::ClosedByPeer { code: 0, reason: "stopping".into() },
            "the peer closed the connection (code 0): stopping",
        ),
        (
            LaneError::Misbehaved(Misbehaviour::FrameCutShort),
            "the peer broke the protocol: a stream ended within a frame",
        ),
        (
            LaneError::Misbehaved(Misbehaviour::BytesAfterFrame),
            "the peer broke the protocol: bytes follow the only frame of a data stream",
        ),
        (
            LaneError::Misbehaved(Misbehaviour::FrameTooLarge { ty: 0x20, len: 9, max: 8 }),
            "the peer broke the protocol: a frame of type 32 announces 9 bytes where at most 8 may come",
        ),
    ];
    for (error, sentence) in errors {
        assert_eq!(error.to_string(), sentence);
    }
}

#[test]
fn of_servers_that_are_none() {
    let errors = [
        (AttemptError::NoIdentity, "the server shows no Ed25519 identity; it is not an sft server"),
        (AttemptError::NotSft, "the server does not speak sft/1"),
        (
            AttemptError::TurnedAway,
            "the server turned the connection away; it may have too many at the moment: try again in a while",
        ),
        (AttemptError::Handshake("an alert".into()), "the secure channel could not be made: an alert"),
        (AttemptError::WrongKey { got: [0; 32] }, "the server's key is not the one this client trusts"),
        (AttemptError::Io(broken()), "the wire is cut"),
    ];
    for (error, sentence) in errors {
        assert_eq!(error.to_string(), sentence);
    }
}

#[test]
fn of_ports_that_cannot_be_had() {
    let address: SocketAddr = "192.0.2.1:1303".parse().unwrap();
    let transport = Transport::Tcp;
    let errors = [
        (
            BindError::Denied { address, transport },
            "TCP 192.0.2.1:1303 may not be bound by this user: choose a port above 1023 with --port",
        ),
        (
            BindError::NotHere { address },
            "192.0.2.1 is not an address of this machine: choose another with --bind (see `ip address`)",
        ),
        (
            BindError::Io { address, transport, source: io::Error::other("why") },
            "TCP 192.0.2.1:1303 cannot be bound: why",
        ),
    ];
    for (error, sentence) in errors {
        assert_eq!(error.to_string(), sentence);
    }
}
