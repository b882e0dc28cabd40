//! Removing what nobody came back for (spec/store.md, "Expiry").

use std::collections::BTreeSet;
use std::ffi::CString;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;
use sft_base::EntryPath;

use super::beneath::{self, Beneath};
use super::errors;
use super::large::{JOURNAL_SUFFIX, PART_SUFFIX, journal_name, lock_journal, part_name};
use super::publish::NOTE_SUFFIX;
use super::reading::read_full;
use super::stage_dir::{NEW_DIR_SUFFIX, Opened, SHARD_SUFFIX, StageDir, TEMPORARY_SUFFIX};
use crate::{StageKey, StoreError};

/// Removes stages that are open nowhere and were not touched for `older_than`; their number.
pub(super) fn expire(beneath: &Beneath, stages: &StageDir, older_than: Duration) -> Result<u64, StoreError> {
    let Some(dir) = stages.existing()? else { return Ok(0) };
    let found = names(dir.stage()).map_err(|errno| errors::own("looking for old stages", errno))?;
    let deadline = SystemTime::now().checked_sub(older_than).unwrap_or(UNIX_EPOCH);
    let mut removed = 0;
    let keys: BTreeSet<_> = found.iter().filter_map(|name| key_of(name)).collect();
    for key in keys {
        removed += u64::from(expire_large(&dir, &StageKey(key), deadline));
    }
    let found: Vec<_> = found.iter().filter(|name| !stages.is_mine(name)).collect();
    removed += expire_small(beneath, dir.stage(), &found, deadline);
    for name in found.iter().filter(|name| name.ends_with(SHARD_SUFFIX)) {
        let Ok(shard) = beneath::open_dir(dir.stage(), name.as_bytes()) else { continue };
        let was_older = is_older(dir.stage(), name.as_bytes(), deadline);
        let found = names(shard.as_fd()).unwrap_or_default();
        removed += expire_small(beneath, shard.as_fd(), &found.iter().collect::<Vec<_>>(), deadline);
        // Read before its content was removed, which made it young. With something left in it, it cannot be removed.
        if was_older {
            let _ = rustix::fs::unlinkat(dir.stage(), name.as_str(), AtFlags::REMOVEDIR);
        }
    }
    for name in found.iter().filter(|name| name.ends_with(NEW_DIR_SUFFIX)) {
        removed += expire_new_dir(dir.stage(), name, &stages.new_dir_name(), deadline);
    }
    Ok(removed)
}

/// Removes a directory that was never named, with all that is in it, unless something of it is young: another program is at
/// work there.
///
/// It is renamed first, so that whoever made it, if they still live, notices and does not name it with half of its content.
fn expire_new_dir(stage: BorrowedFd<'_>, name: &str, taken: &str, deadline: SystemTime) -> u64 {
    let Ok(dir) = beneath::open_dir(stage, name.as_bytes()) else { return 0 };
    let Ok(found) = entries(dir.as_fd()) else { return 0 };
    if !is_older(stage, name.as_bytes(), deadline)
        || found.iter().any(|name| !is_older(dir.as_fd(), name.to_bytes(), deadline))
    {
        return 0;
    }
    if rustix::fs::renameat(stage, name, stage, taken).is_err() {
        return 0;
    }
    let removed = found.iter().filter(|name| unlink(dir.as_fd(), name.to_bytes())).count();
    let _ = rustix::fs::unlinkat(stage, taken, AtFlags::REMOVEDIR);
    removed as u64
}

/// Removes small content, and copies whose notes are found, in one directory.
fn expire_small(beneath: &Beneath, dir: BorrowedFd<'_>, names: &[&String], deadline: SystemTime) -> u64 {
    let mut removed = 0;
    for name in names.iter().filter(|name| is_older(dir, name.as_bytes(), deadline)) {
        if name.ends_with(TEMPORARY_SUFFIX) {
            removed += u64::from(unlink(dir, name.as_bytes()));
        } else if name.ends_with(NOTE_SUFFIX) {
            removed += u64::from(remove_copy(beneath, dir, name));
            unlink(dir, name.as_bytes());
        }
    }
    removed
}

/// Names of the store's own making are ASCII; others are left alone.
fn names(dir: BorrowedFd<'_>) -> Result<Vec<String>, Errno> {
    Ok(entries(dir)?.into_iter().filter_map(|name| name.into_string().ok()).collect())
}

fn entries(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut found = Vec::new();
    for entry in Dir::new(beneath::open_dir(dir, b".")?)? {
        let name = entry?.file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            found.push(name);
        }
    }
    Ok(found)
}

/// The journal's lock tells whether the stage is open, here or in another process.
fn expire_large(dir: &Opened, key: &StageKey, deadline: SystemTime) -> bool {
    let (part, journal) = (part_name(key), journal_name(key));
    let old = |name: &str| is_older(dir.stage(), name.as_bytes(), deadline) || !is_there(dir.stage(), name);
    if !old(&part) || !old(&journal) {
        return false;
    }
    let Ok(_locked) = lock_journal(dir, key) else { return false };
    let removed = unlink(dir.stage(), part.as_bytes());
    unlink(dir.stage(), journal.as_bytes()) || removed
}

/// Removes a copy on another file system that was not named. Its path was written by this program, but is checked as if it
/// came from anyone.
fn remove_copy(beneath: &Beneath, dir: BorrowedFd<'_>, note: &str) -> bool {
    let read = || {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, note, flags, Mode::empty()).ok()?;
        let mut bytes = vec![0; sft_base::limits::PATH_BYTES_MAX + 1];
        let read = read_full(&file, 0, &mut bytes).ok()?;
        EntryPath::from_names(bytes[..read].split(|&b| b == b'/')).ok()
    };
    read().and_then(|path| beneath.remove_crossing(&path)).is_some()
}

/// The time of change cannot be set to the past, as that of modification is before content is named.
fn is_older(dir: BorrowedFd<'_>, name: &[u8], deadline: SystemTime) -> bool {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
        let changed = Duration::new(stat.st_ctime.max(0) as u64, stat.st_ctime_nsec as u32);
        UNIX_EPOCH + changed <= deadline
    })
}

fn is_there(dir: BorrowedFd<'_>, name: &str) -> bool {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn unlink(dir: BorrowedFd<'_>, name: &[u8]) -> bool {
    rustix::fs::unlinkat(dir, name, AtFlags::empty()).is_ok()
}

fn key_of(name: &str) -> Option<[u8; 32]> {
    let hex = name.strip_suffix(PART_SUFFIX).or_else(|| name.strip_suffix(JOURNAL_SUFFIX))?;
    if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut key = [0; 32];
    for (byte, digits) in key.iter_mut().zip(0..) {
        *byte = u8::from_str_radix(hex.get(2 * digits..2 * digits + 2)?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_names() {
        let key = StageKey([0xc3; 32]);
        assert_eq!(key_of(&part_name(&key)), Some(key.0));
        assert_eq!(key_of(&journal_name(&key)), Some(key.0));
        assert_eq!(key_of("c3.part"), None);
        assert_eq!(key_of(&format!("{}.part", "C3".repeat(32))), None);
        assert_eq!(key_of(&"c3".repeat(32)), None);
    }
}
