//! What the two ends of a transfer tell each other (spec/wire.md, "Transfers").

use minicbor::{Decode, Encode};
use sft_base::{ChainingValue, Digest, EntryPath, Kind, Meta, Node, Time};

use crate::codec::as_path;
use crate::error::WireError;

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
