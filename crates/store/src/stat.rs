//! What a store knows of an entry, and of the space it has.

use sft_base::{Meta, Time};

/// What is known of an entry besides its path and its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What is told to a peer.
    pub meta: Meta,
    /// Bytes that a file takes on disk: fewer than its size when it has holes.
    pub occupied: u64,
    /// Changes when the entry does.
    pub version: Version,
}

/// By which one sees that a file was changed or exchanged while it was read. Equal or not; nothing else can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) modified: Time,
    pub(crate) changed: Time,
}

/// What the file system of a store has and has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all.
    pub total: u64,
    /// Bytes that this process may still write.
    pub available: u64,
    /// Files that may still be made, where the file system has a bound and tells it.
    pub files_available: Option<u64>,
}
