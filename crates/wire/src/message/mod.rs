//! What may be said: one type for each message of SFT/1 (spec/wire.md, "Messages"; spec/sft1.cddl).
//!
//! Every message is a CBOR map with small integer keys, deterministic (RFC 8949, 4.2.1). The numbers stand here once.

mod opening;
mod request;
mod transfer;

pub use opening::{Attach, Attached, Close, Denied, Hello, InvitationProof, Ping, Proof, Welcome};
pub use request::{Body, Durability, Op, Place, PublishMode, Pull, PullSource, Push, Reply, Request};
pub use transfer::{
    Cancel, Commit, Done, Entry, EntryFailure, EntryKind, EntryUnapplied, Finish, Finished, Got, HeldNode,
    Offer, PackHeader, PackedFile, Partial, PieceHeader, Run, SourceFailure, Stamp, Unapplied, Want, Window,
};

/// Type numbers of frames.
pub mod frame {
    /// First frame of a control lane, client to server.
    pub const HELLO: u64 = 0x01;
    /// The session is open, server to client.
    pub const WELCOME: u64 = 0x02;
    /// First frame of a connection that joins a session, client to server.
    pub const ATTACH: u64 = 0x03;
    /// The connection has joined, server to client.
    pub const ATTACHED: u64 = 0x04;
    /// The session ends, either way; last frame of a control lane.
    pub const CLOSE: u64 = 0x05;
    /// Is anyone there, either way.
    pub const PING: u64 = 0x06;
    /// Answer to a ping.
    pub const PONG: u64 = 0x07;
    /// Who the client is, client to server.
    pub const PROOF: u64 = 0x08;
    /// The proof was not accepted, server to client.
    pub const DENIED: u64 = 0x09;
    /// Client to server.
    pub const REQUEST: u64 = 0x10;
    /// Server to client.
    pub const REPLY: u64 = 0x11;
    /// Entries, sender to receiver.
    pub const OFFER: u64 = 0x20;
    /// What is lacking, receiver to sender.
    pub const WANT: u64 = 0x21;
    /// Digests of files sent in pieces, sender to receiver.
    pub const FINISH: u64 = 0x22;
    /// Data units received, and credit, receiver to sender.
    pub const GOT: u64 = 0x23;
    /// Entries settled, receiver to sender.
    pub const COMMIT: u64 = 0x24;
    /// All is settled, receiver to sender.
    pub const DONE: u64 = 0x25;
    /// The transfer is given up, either way.
    pub const CANCEL: u64 = 0x26;
    /// Data: a piece of a file of more than one piece.
    pub const PIECE: u64 = 0x40;
    /// Data: whole small files.
    pub const PACK: u64 = 0x41;
    /// From here on: extensions. Frames of these types that are not known are ignored.
    pub const EXTENSIONS: u64 = 0x1000;
    /// Bytes without meaning, on data lanes, for a measurement.
    pub const FILLER: u64 = 0x1000;
}
