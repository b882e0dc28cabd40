//! Why a store could not do what it was asked.

use std::io;

use sft_base::EntryPath;

/// Why an operation of a store failed. The sentence says what was wrong with which entry; `source` is the system's word.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing has this path, or a parent is missing.
    #[error("{path}: there is no such entry")]
    NotFound {
        /// Of what was asked for.
        path: EntryPath,
    },
    /// Something has this path, and it may not be replaced.
    #[error("{path}: an entry of this name exists already")]
    AlreadyExists {
        /// Of what is there.
        path: EntryPath,
    },
    /// A directory was needed here, or for a parent.
    #[error("{path}: it, or a parent of it, is not a directory")]
    NotADirectory {
        /// Of what was asked for.
        path: EntryPath,
    },
    /// A directory stands where something else was needed.
    #[error("{path}: it is a directory")]
    IsADirectory {
        /// Of the directory.
        path: EntryPath,
    },
    /// The directory has entries.
    #[error("{path}: the directory is not empty")]
    DirectoryNotEmpty {
        /// Of the directory.
        path: EntryPath,
    },
    /// The system does not let this process do it.
    #[error("{path}: the system denies permission")]
    PermissionDenied {
        /// Of what was asked for.
        path: EntryPath,
    },
    /// The content does not fit.
    #[error("there is no space: {needed} bytes are needed, {available} are available")]
    NoSpace {
        /// Bytes still to be written.
        needed: u64,
        /// Bytes left.
        available: u64,
    },
    /// The name is the store's own, or one that the file system cannot hold, or the root was named where it may not be.
    #[error("{path}: this name is not allowed here")]
    NameNotAllowed {
        /// Of what was asked for.
        path: EntryPath,
    },
    /// A symbolic link on the way leads out of the root.
    #[error("{path}: a link on the way leads outside of what is served")]
    LeadsOutside {
        /// Of what was asked for.
        path: EntryPath,
    },
    /// A symbolic link stands where writing would have to pass, or where a file or directory was needed.
    #[error("{path}: it is a symbolic link, or leads through one, and is not followed")]
    ThroughLink {
        /// Of what was asked for.
        path: EntryPath,
    },
    /// A pipe, socket or device.
    #[error("{path}: it is neither a file, nor a directory, nor a link")]
    Special {
        /// Of the entry.
        path: EntryPath,
    },
    /// The entry is not a symbolic link.
    #[error("{path}: it is not a symbolic link")]
    NotALink {
        /// Of the entry.
        path: EntryPath,
    },
    /// A directory cannot go below itself.
    #[error("{path}: a directory cannot be moved below itself")]
    IntoItself {
        /// Where it was to go.
        path: EntryPath,
    },
    /// The two paths of a rename lie on different file systems.
    #[error("{path}: it lies on another file system; copy it and remove the old one")]
    OtherFileSystem {
        /// Where it was to go.
        path: EntryPath,
    },
    /// What is there is not what the caller expected, or was exchanged meanwhile.
    #[error("{path}: it has changed meanwhile")]
    Changed {
        /// Of the entry.
        path: EntryPath,
    },
    /// A newer claimant has the stage.
    #[error("the stage was taken over by a newer transfer of the same file")]
    Superseded,
    /// Another process has the stage.
    #[error("another process is receiving the same file; wait until it is done")]
    Busy,
    /// The file system is mounted read-only.
    #[error("{path}: the file system is read-only")]
    ReadOnly {
        /// Of what was asked for.
        path: EntryPath,
    },
    /// Staged content is not what it has to be.
    #[error("staged content is not usable: {what}")]
    Corrupt {
        /// What is wrong, for people.
        what: &'static str,
    },
    /// Anything else that the system reports.
    #[error("{path}: {doing} failed", path = shown(.path))]
    Io {
        /// Of the entry, where one is known.
        path: Option<EntryPath>,
        /// What was being done, as a noun.
        doing: &'static str,
        /// The system's word.
        source: io::Error,
    },
}

impl StoreError {
    /// The entry it is about, where one is known.
    pub fn path(&self) -> Option<&EntryPath> {
        match self {
            Self::NotFound { path }
            | Self::AlreadyExists { path }
            | Self::NotADirectory { path }
            | Self::IsADirectory { path }
            | Self::DirectoryNotEmpty { path }
            | Self::PermissionDenied { path }
            | Self::NameNotAllowed { path }
            | Self::LeadsOutside { path }
            | Self::ThroughLink { path }
            | Self::Special { path }
            | Self::NotALink { path }
            | Self::IntoItself { path }
            | Self::OtherFileSystem { path }
            | Self::Changed { path }
            | Self::ReadOnly { path } => Some(path),
            Self::Io { path, .. } => path.as_ref(),
            Self::NoSpace { .. } | Self::Superseded | Self::Busy | Self::Corrupt { .. } => None,
        }
    }
}

fn shown(path: &Option<EntryPath>) -> String {
    path.as_ref().map_or_else(|| "the store".to_owned(), EntryPath::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;

    #[test]
    fn every_message_is_one_sentence_about_the_entry() {
        let path = || EntryPath::from_typed(b"a/b").unwrap();
        let io = || io::Error::other("the disk is gone");
        let errors = [
            (StoreError::NotFound { path: path() }, "a/b: there is no such entry"),
            (StoreError::AlreadyExists { path: path() }, "a/b: an entry of this name exists already"),
            (StoreError::NotADirectory { path: path() }, "a/b: it, or a parent of it, is not a directory"),
            (StoreError::IsADirectory { path: path() }, "a/b: it is a directory"),
            (StoreError::DirectoryNotEmpty { path: path() }, "a/b: the directory is not empty"),
            (StoreError::PermissionDenied { path: path() }, "a/b: the system denies permission"),
            (
                StoreError::NoSpace { needed: 7, available: 5 },
                "there is no space: 7 bytes are needed, 5 are available",
            ),
            (StoreError::NameNotAllowed { path: path() }, "a/b: this name is not allowed here"),
            (
                StoreError::LeadsOutside { path: path() },
                "a/b: a link on the way leads outside of what is served",
            ),
            (
                StoreError::ThroughLink { path: path() },
                "a/b: it is a symbolic link, or leads through one, and is not followed",
            ),
            (StoreError::Special { path: path() }, "a/b: it is neither a file, nor a directory, nor a link"),
            (StoreError::NotALink { path: path() }, "a/b: it is not a symbolic link"),
            (StoreError::IntoItself { path: path() }, "a/b: a directory cannot be moved below itself"),
            (
                StoreError::OtherFileSystem { path: path() },
                "a/b: it lies on another file system; copy it and remove the old one",
            ),
            (StoreError::Changed { path: path() }, "a/b: it has changed meanwhile"),
            (StoreError::Superseded, "the stage was taken over by a newer transfer of the same file"),
            (StoreError::Busy, "another process is receiving the same file; wait until it is done"),
            (StoreError::ReadOnly { path: path() }, "a/b: the file system is read-only"),
            (StoreError::Corrupt { what: "it is short" }, "staged content is not usable: it is short"),
            (StoreError::Io { path: Some(path()), doing: "reading", source: io() }, "a/b: reading failed"),
            (StoreError::Io { path: None, doing: "flushing", source: io() }, "the store: flushing failed"),
        ];
        for (error, sentence) in errors {
            assert_eq!(error.to_string(), sentence);
            assert_eq!(error.path().is_some(), sentence.starts_with("a/b"));
            assert_eq!(error.source().is_some(), matches!(error, StoreError::Io { .. }));
        }
    }
}
