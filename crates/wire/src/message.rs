//! What may be said: one type for each message of SFT/1 (spec/wire.md, "Messages"; spec/sft1.cddl).
//!
//! Every message is a CBOR map with small integer keys, deterministic (RFC 8949, 4.2.1). The numbers stand here once.

use minicbor::{Decode, Encode};
use sft_base::{ChainingValue, Digest, EntryPath, Kind, Meta, Node, Time};

use crate::codec::{as_digest, as_path};
use crate::error::WireError;

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

/// `request`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Request {
    /// Chosen by the client, not in use; names the answer, and the transfer that `push` or `pull` begins.
    #[n(0)]
    pub id: u64,
    /// What is asked.
    #[n(1)]
    pub op: Op,
}

/// Operations.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Op {
    /// The entries of a directory, in pages; right `list`.
    #[n(0)]
    #[cbor(map)]
    List {
        /// The directory.
        #[cbor(n(0), with = "as_path")]
        path: EntryPath,
    },
    /// What an entry is; a link is not followed; right `list`.
    #[n(1)]
    #[cbor(map)]
    Stat {
        /// The entry.
        #[cbor(n(0), with = "as_path")]
        path: EntryPath,
    },
    /// Makes a directory; right `create`.
    #[n(2)]
    #[cbor(map)]
    MakeDir {
        /// The directory.
        #[cbor(n(0), with = "as_path")]
        path: EntryPath,
        /// Make what is missing above it too, and do not mind if it exists.
        #[n(1)]
        parents: bool,
    },
    /// Removes an entry; right `remove`.
    #[n(3)]
    #[cbor(map)]
    Remove {
        /// The entry.
        #[cbor(n(0), with = "as_path")]
        path: EntryPath,
        /// A directory with all that is in it.
        #[n(1)]
        recursive: bool,
    },
    /// Gives an entry another name, atomically; rights `remove` there, `create` here, `replace` if it replaces.
    #[n(4)]
    #[cbor(map)]
    Rename {
        /// From.
        #[cbor(n(0), with = "as_path")]
        from: EntryPath,
        /// To.
        #[cbor(n(1), with = "as_path")]
        to: EntryPath,
        /// Whether an entry at `to` gives way.
        #[n(2)]
        replace: bool,
    },
    /// Sets attributes; right `replace`.
    #[n(5)]
    #[cbor(map)]
    SetAttributes {
        /// The entry.
        #[cbor(n(0), with = "as_path")]
        path: EntryPath,
        /// Time of modification.
        #[n(1)]
        modified: Option<Stamp>,
        /// Permission bits.
        #[n(2)]
        mode: Option<u32>,
    },
    /// Room in the store; right `list`.
    #[n(6)]
    #[cbor(map)]
    Space {},
    /// The digest of a file's content; right `read`.
    #[n(7)]
    #[cbor(map)]
    Hash {
        /// The file.
        #[cbor(n(0), with = "as_path")]
        path: EntryPath,
    },
    /// A range of a file's content; right `read`.
    #[n(8)]
    #[cbor(map)]
    Read {
        /// The file.
        #[cbor(n(0), with = "as_path")]
        path: EntryPath,
        /// First byte.
        #[n(1)]
        offset: u64,
        /// Bytes, 131,072 at most; fewer come only at the end of the file.
        #[n(2)]
        length: u32,
    },
    /// The limits of the server, by name.
    #[n(9)]
    #[cbor(map)]
    Limits {},
    /// The target of a link; right `read`.
    #[n(10)]
    #[cbor(map)]
    ReadLink {
        /// The link.
        #[cbor(n(0), with = "as_path")]
        path: EntryPath,
    },
    /// Where the time of a transfer of this session went at the server; no right.
    #[n(11)]
    #[cbor(map)]
    Times {
        /// Its number.
        #[n(0)]
        transfer: u64,
    },
    /// Sends filler one way over the data lanes of the session, to learn how much they carry; no right.
    #[n(12)]
    #[cbor(map)]
    Measure {
        /// From the server to the client; else from the client to the server.
        #[n(0)]
        down: bool,
        /// Bytes of filler, at most.
        #[n(1)]
        bytes: u64,
        /// Milliseconds, at most.
        #[n(2)]
        millis: u64,
    },
    /// Begins a transfer from client to server; rights `create`, and `replace` where something gives way.
    #[n(16)]
    #[cbor(map)]
    Push(#[n(0)] Push),
    /// Begins a transfer from server to client; right `read`.
    #[n(17)]
    #[cbor(map)]
    Pull(#[n(0)] Pull),
}

/// Arguments of `push`: the client is the sender.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Push {
    /// Where the sources land.
    #[cbor(n(0), with = "as_path")]
    pub path: EntryPath,
    /// How `path` is meant.
    #[n(1)]
    pub place: Place,
    /// What happens to an entry that is there already.
    #[n(2)]
    pub publish: PublishMode,
    /// When a commit counts as durable.
    #[n(3)]
    pub durability: Durability,
    /// Compare contents by digest, not by size and time.
    #[n(4)]
    pub checksum: bool,
}

/// Arguments of `pull`: the client is the receiver.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pull {
    /// What is fetched.
    #[n(0)]
    pub sources: Vec<PullSource>,
    /// Offer the digest of every file, so that the receiver can compare contents.
    #[n(1)]
    pub checksum: bool,
    /// The receiver's windows.
    #[n(2)]
    pub window: Window,
    /// Content is to be sent no faster than this, in bytes a second, from [`sft_base::limits::RATE_MIN`] up.
    #[n(3)]
    pub limit: Option<u64>,
    /// The path is to be left to others.
    #[n(4)]
    pub background: bool,
}

/// One source of a `pull`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PullSource {
    /// A file, link or directory.
    #[cbor(n(0), with = "as_path")]
    pub path: EntryPath,
    /// Offered paths begin below it instead of with its name.
    #[n(1)]
    pub contents: bool,
}

/// How the destination of a `push` is meant. A source named `s` lands:
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Place {
    /// at `path` itself: the first name of each offered path is left out.
    #[n(0)]
    Exact,
    /// at `path/s`; `path` is or becomes a directory.
    #[n(1)]
    Into,
    /// as `into` if `path` is a directory, else as `exact`.
    #[n(2)]
    Auto,
}

/// What happens to an entry that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum PublishMode {
    /// It stays, and the offered one fails with `already-exists`.
    #[n(0)]
    CreateOnly,
    /// It gives way, atomically.
    #[n(1)]
    Replace,
}

/// When a commit counts as durable (spec/store.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Durability {
    /// When the system says it is written.
    #[n(0)]
    None,
    /// When content and names are on disk, flushed in batches.
    #[n(1)]
    Commit,
    /// When content and name of each entry are on disk, one by one.
    #[n(2)]
    Each,
}

/// Credit of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Window {
    /// Bytes of data units that may be sent and not acknowledged; one unit is always allowed.
    #[n(0)]
    pub bytes: u64,
    /// Entries that may be offered and not settled; one is always allowed.
    #[n(1)]
    pub entries: u64,
}

/// `reply`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Reply {
    /// Which request.
    #[n(0)]
    pub id: u64,
    /// Another reply to the same request follows.
    #[n(1)]
    pub more: bool,
    /// What was asked for, or why not.
    #[n(2)]
    pub body: Body,
}

/// Answers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Body {
    /// Done; nothing more to say.
    #[n(0)]
    #[cbor(map)]
    Ok {},
    /// Not done.
    #[n(1)]
    #[cbor(map)]
    Failed {
        /// Why.
        #[n(0)]
        error: WireError,
    },
    /// A page of a directory; order is not defined.
    #[n(2)]
    #[cbor(map)]
    Entries {
        /// Paths of one name each.
        #[n(0)]
        entries: Vec<Entry>,
    },
    /// One entry.
    #[n(3)]
    #[cbor(map)]
    Stat {
        /// Its path is the one asked for.
        #[n(0)]
        entry: Entry,
    },
    /// Room.
    #[n(4)]
    #[cbor(map)]
    Space {
        /// Bytes in all.
        #[n(0)]
        total: u64,
        /// Bytes that may be used.
        #[n(1)]
        available: u64,
    },
    /// Digest of a content.
    #[n(5)]
    #[cbor(map)]
    Hash {
        /// What `b3sum` prints.
        #[cbor(n(0), with = "as_digest")]
        digest: Digest,
    },
    /// Content.
    #[n(6)]
    #[cbor(map)]
    Content {
        /// Bytes from the offset asked for.
        #[cbor(n(0), with = "minicbor::bytes")]
        content: Vec<u8>,
    },
    /// Limits by name.
    #[n(7)]
    #[cbor(map)]
    Limits {
        /// Name and value.
        #[n(0)]
        limits: Vec<(String, u64)>,
    },
    /// A transfer begins; its number is that of the request.
    #[n(8)]
    #[cbor(map)]
    Accepted {
        /// The receiver's windows (`push`); what `pull` named (`pull`).
        #[n(0)]
        window: Window,
        /// Whether sources land inside the destination (`push` with `auto`).
        #[n(1)]
        into: bool,
    },
    /// Entries removed.
    #[n(9)]
    #[cbor(map)]
    Removed {
        /// How many.
        #[n(0)]
        entries: u64,
    },
    /// Attributes that could not be set.
    #[n(10)]
    #[cbor(map)]
    Unapplied {
        /// Empty when all were.
        #[n(0)]
        unapplied: Vec<Unapplied>,
    },
    /// Where the time of a transfer went at the server.
    #[n(11)]
    #[cbor(map)]
    Times {
        /// The number of what it waits for now.
        #[n(0)]
        now: u64,
        /// The number of what it waited for, and for how many milliseconds so far.
        #[n(1)]
        spent: Vec<(u64, u64)>,
    },
    /// A measurement is over.
    #[n(12)]
    #[cbor(map)]
    Measured {
        /// Bytes of filler that came, or were handed to lanes, after the first.
        #[n(0)]
        bytes: u64,
        /// Microseconds from the first to the last of them.
        #[n(1)]
        micros: u64,
    },
}

/// One entry, offered or listed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Entry {
    /// Where it lands, below the destination; or its name in a listing.
    #[cbor(n(0), with = "as_path")]
    pub path: EntryPath,
    /// What it is.
    #[n(1)]
    pub kind: EntryKind,
    /// Bytes of content; 0 for all but files.
    #[n(2)]
    pub size: u64,
    /// Time of last modification.
    #[n(3)]
    pub modified: Stamp,
    /// Permission bits, 0 to 0o7777.
    #[n(4)]
    pub mode: u32,
    /// Target of a link.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub target: Option<Vec<u8>>,
    /// Digest of the content, where it is known.
    #[cbor(n(6), with = "crate::codec::as_optional_digest", has_nil)]
    pub digest: Option<Digest>,
    /// Bytes of a file with holes that take space where it is; less than `size`, none for a file without holes.
    #[n(7)]
    pub occupied: Option<u64>,
}

/// Kinds, as they travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum EntryKind {
    /// Regular file.
    #[n(1)]
    File,
    /// Directory.
    #[n(2)]
    Dir,
    /// Symbolic link.
    #[n(3)]
    Link,
    /// Socket, pipe, device: listed, never offered.
    #[n(4)]
    Other,
    /// A directory all of whose entries have been offered: its attributes are set when they are settled.
    #[n(5)]
    DirEnd,
}

/// Seconds since 1970 UTC, and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
pub struct Stamp {
    /// Seconds, negative before.
    #[n(0)]
    pub secs: i64,
    /// Below 1,000,000,000.
    #[n(1)]
    pub nanos: u32,
}

/// `offer`: entries, numbered on from `first` in the order they stand; a directory stands before what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Offer {
    /// Which transfer.
    #[n(0)]
    pub transfer: u64,
    /// Number of the first entry here.
    #[n(1)]
    pub first: u64,
    /// Entries.
    #[n(2)]
    pub entries: Vec<Entry>,
    /// What could not be offered at all; has no number.
    #[n(3)]
    pub failures: Vec<SourceFailure>,
    /// No offer follows.
    #[n(4)]
    pub last: bool,
}

/// A source that could not be offered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SourceFailure {
    /// Where it would have landed.
    #[cbor(n(0), with = "as_path")]
    pub path: EntryPath,
    /// Why not.
    #[n(1)]
    pub error: WireError,
}

/// `want`: files of which data is lacking.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Want {
    /// Which transfer.
    #[n(0)]
    pub transfer: u64,
    /// Runs of entries of which everything is lacking, ascending.
    #[n(1)]
    pub whole: Vec<Run>,
    /// Files of which something is held.
    #[n(2)]
    pub partial: Vec<Partial>,
}

/// `first` and the `count - 1` numbers after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
pub struct Run {
    /// The first.
    #[n(0)]
    pub first: u64,
    /// How many, 1 at least.
    #[n(1)]
    pub count: u64,
}

/// A file of which the receiver holds nodes from an earlier transfer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Partial {
    /// Which entry.
    #[n(0)]
    pub entry: u64,
    /// What is held, ascending, none overlapping another. The sender compares each with its own content, and sends
    /// what differs or is missing.
    #[n(1)]
    pub held: Vec<HeldNode>,
}

/// A node that is held.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub struct HeldNode {
    /// First byte.
    #[n(0)]
    pub offset: u64,
    /// Power of two of the length.
    #[n(1)]
    pub log2: u8,
    /// Chaining value.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub cv: ChainingValue,
}

/// `finish`: files sent in pieces have been read to their ends.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Finish {
    /// Which transfer.
    #[n(0)]
    pub transfer: u64,
    /// One for each file.
    #[n(1)]
    pub files: Vec<Finished>,
}

/// How the reading of one file ended.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Finished {
    /// Which entry.
    #[n(0)]
    pub entry: u64,
    /// The digest of the whole.
    #[cbor(n(1), with = "crate::codec::as_optional_digest", has_nil)]
    pub digest: Option<Digest>,
    /// Why there is none.
    #[n(2)]
    pub error: Option<WireError>,
    /// Bytes of content that travel in pieces of this entry, each data unit counted once: only when all have come does
    /// the receiver compare digests, since a piece may replace a node that it holds.
    #[n(3)]
    pub sent: u64,
}

/// `got`: data units that need not be sent again, and the windows from here on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Got {
    /// Which transfer.
    #[n(0)]
    pub transfer: u64,
    /// Units, ascending runs.
    #[n(1)]
    pub units: Vec<Run>,
    /// New windows.
    #[n(2)]
    pub window: Window,
}

/// `commit`: entries that are settled.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Commit {
    /// Which transfer.
    #[n(0)]
    pub transfer: u64,
    /// Published, as durable as the transfer asks.
    #[n(1)]
    pub committed: Vec<Run>,
    /// Found in place already, untouched.
    #[n(2)]
    pub unchanged: Vec<Run>,
    /// Not published.
    #[n(3)]
    pub failed: Vec<EntryFailure>,
    /// Attributes that could not be set, of entries that are settled here or in a later `commit`.
    #[n(4)]
    pub unapplied: Vec<EntryUnapplied>,
}

/// Why one entry was not published.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EntryFailure {
    /// Which entry.
    #[n(0)]
    pub entry: u64,
    /// Why.
    #[n(1)]
    pub error: WireError,
}

/// An attribute of one entry that could not be set.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EntryUnapplied {
    /// Which entry.
    #[n(0)]
    pub entry: u64,
    /// Which attribute, and why.
    #[n(1)]
    pub unapplied: Unapplied,
}

/// An attribute that could not be set.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Unapplied {
    /// `modified`, `mode` or `set-id`.
    #[n(0)]
    pub attribute: String,
    /// Why.
    #[n(1)]
    pub error: WireError,
}

/// `done`: every entry offered is settled; nothing of this transfer follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Done {
    /// Which transfer.
    #[n(0)]
    pub transfer: u64,
    /// Entries published.
    #[n(1)]
    pub committed: u64,
    /// Entries that were in place.
    #[n(2)]
    pub unchanged: u64,
    /// Entries that failed.
    #[n(3)]
    pub failed: u64,
}

/// `cancel`: the transfer is given up; stages stay for a later one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Cancel {
    /// Which transfer.
    #[n(0)]
    pub transfer: u64,
    /// Why.
    #[n(1)]
    pub error: WireError,
}

/// Header of a `piece` frame; the content follows it to the end of the frame.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PieceHeader {
    /// Which transfer.
    #[n(0)]
    pub transfer: u64,
    /// Number of the data unit.
    #[n(1)]
    pub unit: u64,
    /// Which entry.
    #[n(2)]
    pub entry: u64,
    /// First byte, a multiple of a piece.
    #[n(3)]
    pub offset: u64,
    /// Chaining value of the content.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub cv: ChainingValue,
}

/// Header of a `pack` frame; the contents follow it, in order, to the end of the frame.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PackHeader {
    /// Which transfer.
    #[n(0)]
    pub transfer: u64,
    /// Number of the data unit.
    #[n(1)]
    pub unit: u64,
    /// The files, at most [`sft_base::limits::PACK_FILES_MAX`].
    #[n(2)]
    pub files: Vec<PackedFile>,
}

/// One file of a pack.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PackedFile {
    /// Which entry.
    #[n(0)]
    pub entry: u64,
    /// Bytes of it in the frame: all of the file, or none where it could not be read.
    #[n(1)]
    pub size: u32,
    /// Digest of the content.
    #[cbor(n(2), with = "crate::codec::as_optional_digest", has_nil)]
    pub digest: Option<Digest>,
    /// Why there is no content.
    #[n(3)]
    pub error: Option<WireError>,
}

impl Run {
    /// The numbers of the run.
    pub fn numbers(self) -> std::ops::Range<u64> {
        self.first..self.first.saturating_add(self.count)
    }
}

impl From<Time> for Stamp {
    fn from(time: Time) -> Self {
        Self { secs: time.secs, nanos: time.nanos }
    }
}

impl From<Stamp> for Time {
    fn from(stamp: Stamp) -> Self {
        Self { secs: stamp.secs, nanos: stamp.nanos }
    }
}

impl From<Kind> for EntryKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::File => Self::File,
            Kind::Dir => Self::Dir,
            Kind::Link => Self::Link,
            Kind::Other => Self::Other,
        }
    }
}

impl From<Node> for HeldNode {
    fn from(node: Node) -> Self {
        Self { offset: node.offset, log2: node.log2, cv: node.cv }
    }
}

impl From<HeldNode> for Node {
    fn from(node: HeldNode) -> Self {
        Self { offset: node.offset, log2: node.log2, cv: node.cv }
    }
}

impl Entry {
    /// An entry with the metadata of a store; a link's size is not told.
    pub fn new(path: EntryPath, meta: &Meta) -> Self {
        let size = if meta.kind == Kind::File { meta.size } else { 0 };
        let (kind, modified, mode) = (meta.kind.into(), meta.modified.into(), meta.mode);
        Self { path, kind, size, modified, mode, target: None, digest: None, occupied: None }
    }

    /// The metadata, as a store would say it.
    pub fn meta(&self) -> Meta {
        let kind = match self.kind {
            EntryKind::File => Kind::File,
            EntryKind::Dir | EntryKind::DirEnd => Kind::Dir,
            EntryKind::Link => Kind::Link,
            EntryKind::Other => Kind::Other,
        };
        Meta { kind, size: self.size, modified: self.modified.into(), mode: self.mode }
    }
}
