//! From the system's error numbers to ours, in one place.

use rustix::fd::AsFd;
use rustix::io::Errno;
use sft_base::EntryPath;

use crate::StoreError;

/// What `errno` means for the entry `path`, which was being dealt with as `doing` says.
pub(super) fn at(path: &EntryPath, doing: &'static str, errno: Errno) -> StoreError {
    let path = path.clone();
    match errno {
        Errno::NOENT => StoreError::NotFound { path },
        Errno::EXIST => StoreError::AlreadyExists { path },
        Errno::NOTDIR => StoreError::NotADirectory { path },
        Errno::ISDIR => StoreError::IsADirectory { path },
        Errno::NOTEMPTY => StoreError::DirectoryNotEmpty { path },
        Errno::ACCESS | Errno::PERM => StoreError::PermissionDenied { path },
        Errno::LOOP => StoreError::ThroughLink { path },
        Errno::ROFS => StoreError::ReadOnly { path },
        Errno::NAMETOOLONG | Errno::ILSEQ => StoreError::NameNotAllowed { path },
        Errno::NOSPC | Errno::DQUOT => StoreError::NoSpace { needed: ENTRY_BYTES, available: 0 },
        _ => StoreError::Io { path: Some(path), doing, source: errno.into() },
    }
}

/// Like [`at`], for the walk to an entry: there, another device means that a link leads outside.
pub(super) fn on_the_way(path: &EntryPath, errno: Errno) -> StoreError {
    match errno {
        Errno::XDEV => StoreError::LeadsOutside { path: path.clone() },
        _ => at(path, "finding the entry", errno),
    }
}

/// Like [`at`], for giving a name: there, an invalid argument is a name that the file system cannot hold.
pub(super) fn naming(path: &EntryPath, errno: Errno) -> StoreError {
    match errno {
        Errno::INVAL => StoreError::NameNotAllowed { path: path.clone() },
        _ => at(path, "giving the name", errno),
    }
}

/// For what happens in the store's own directory, where no entry is concerned. `file` tells the space that is left.
pub(super) fn staging(file: impl AsFd, needed: u64, doing: &'static str, errno: Errno) -> StoreError {
    match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => {
            StoreError::NoSpace { needed, available: available(file) }
        }
        _ => own(doing, errno),
    }
}

/// For what fails without an entry or space being concerned.
pub(super) fn own(doing: &'static str, errno: Errno) -> StoreError {
    StoreError::Io { path: None, doing, source: errno.into() }
}

fn available(file: impl AsFd) -> u64 {
    rustix::fs::fstatvfs(file).map_or(0, |space| space.f_bavail.saturating_mul(space.f_frsize))
}

/// What a new entry may take in its directory: a block.
const ENTRY_BYTES: u64 = 4096;
