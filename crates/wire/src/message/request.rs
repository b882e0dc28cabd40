//! What a client asks for, and what it is answered (spec/wire.md, "Messages").

use minicbor::{Decode, Encode};
use sft_base::{Digest, EntryPath};

use super::{Entry, Stamp, Unapplied, Window};
use crate::codec::{as_digest, as_path};
use crate::error::WireError;

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
