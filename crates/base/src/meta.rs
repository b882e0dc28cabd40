//! What is known of an entry besides its path and its content.

/// What an entry is. Wire numbers are in `sft-wire`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link; its target is data and never followed by us.
    Link,
    /// A socket, pipe or device: named in listings, never transferred.
    Other,
}

/// A point in time as file systems keep it: seconds since 1970 UTC, and nanoseconds below 10^9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Seconds since 1970-01-01T00:00:00Z, negative before.
    pub secs: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

/// Metadata of an entry, as a sender offers it and a listing shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: Kind,
    /// Bytes of content; for a link, of its target; 0 for the rest.
    pub size: u64,
    /// Time of last modification of the content.
    pub modified: Time,
    /// Permission bits, 0 to 0o7777.
    pub mode: u32,
}
