//! What opens, joins, keeps and ends a session (spec/wire.md, "Sessions").

use minicbor::{Decode, Encode};

use crate::error::WireError;

/// `hello`: opens a session.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// Versions the client speaks, best first; SFT/1 is 1.
    #[n(0)]
    pub versions: Vec<u16>,
    /// Program and version, for people and logs.
    #[n(1)]
    pub agent: String,
}

/// `proof`: who the client is (spec/auth.md).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Proof {
    /// The name the client wishes to act as; empty for none.
    #[n(0)]
    pub user: String,
    /// Public key, SSH wire format.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub public_key: Vec<u8>,
    /// SSHSIG blob.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub signature: Vec<u8>,
    /// An invitation that is redeemed by the way.
    #[n(3)]
    pub invitation: Option<InvitationProof>,
}

/// Proof of holding an invitation.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct InvitationProof {
    /// Which one.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: [u8; 8],
    /// Keyed hash.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub mac: [u8; 32],
}

/// `denied`: the proof was not accepted; what was requested after it is void.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Denied {
    /// Why, as far as the client may know.
    #[n(0)]
    pub error: WireError,
    /// Proofs it may still offer.
    #[n(1)]
    pub attempts_left: u32,
}

/// `welcome`: the session is open.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Welcome {
    /// The version spoken from here on.
    #[n(0)]
    pub version: u16,
    /// Program and version of the server.
    #[n(1)]
    pub agent: String,
    /// Names the session in `attach`.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub session: [u8; 16],
    /// Proves the right to attach lanes.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub attach_secret: [u8; 32],
    /// What the server calls this client.
    #[n(4)]
    pub identity: String,
    /// Rights, one bit each (spec/auth.md).
    #[n(5)]
    pub rights: u32,
    /// TCP connections that may be attached.
    #[n(6)]
    pub lanes_max: u32,
}

/// `attach`: this connection joins a session.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Attach {
    /// From `welcome`.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub session: [u8; 16],
    /// Keyed BLAKE3 under the attach secret, over `"sft/1 attach\0"` and this connection's exporter.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub mac: [u8; 32],
}

/// `attached`: joined.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Attached {}

/// `close`: the session ends.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Close {
    /// Why; none when all was done.
    #[n(0)]
    pub error: Option<WireError>,
}

/// `ping` and `pong`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ping {
    /// Any number; the answer bears the same.
    #[n(0)]
    pub number: u64,
}
