//! Times and modes: what could not be applied is told, and is no error.

use rustix::fd::AsRawFd;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use sft_base::{EntryPath, Time};

use super::beneath::Place;
use super::errors;
use crate::{Attribute, Attributes, StoreError, Unapplied};

/// Applies attributes to the entry at `place`, which is at `path`.
pub(super) fn set(
    place: &Place<'_>,
    path: &EntryPath,
    attributes: &Attributes,
) -> Result<Vec<Unapplied>, StoreError> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let entry = rustix::fs::openat(&place.dir, place.name, flags, Mode::empty())
        .map_err(|errno| errors::at(path, "setting attributes", errno))?;
    Ok(set_on_held(&entry, attributes))
}

/// Applies attributes to a file or directory that is open for reading or writing.
pub(super) fn set_on_file(file: impl AsFd, attributes: &Attributes) -> Vec<Unapplied> {
    apply(
        &file,
        attributes,
        |mode| rustix::fs::fchmod(&file, mode),
        |times| rustix::fs::futimens(&file, times),
    )
}

/// Applies attributes to a file that was made just now with the permissions it shall have, as far as the umask let it.
pub(super) fn set_on_new(file: impl AsFd, attributes: &Attributes) -> Vec<Unapplied> {
    let has_mode = |mode| rustix::fs::fstat(&file).is_ok_and(|stat| stat.st_mode & 0o7777 == mode & 0o7777);
    let mode = attributes.mode.filter(|&mode| !has_mode(mode));
    set_on_file(&file, &Attributes { mode, ..*attributes })
}

/// Applies attributes to a file of the store's own directory, where no name leads elsewhere.
pub(super) fn set_on_own(dir: impl AsFd, name: &[u8], attributes: &Attributes) -> Vec<Unapplied> {
    let mut unapplied = Vec::new();
    if let Some(mode) = attributes.mode {
        let set = rustix::fs::chmodat(&dir, name, to_mode(mode), AtFlags::empty());
        let kept = || rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW);
        note(&mut unapplied, Attribute::Mode, set.and_then(|()| check_mode(mode, kept)));
    }
    if let Some(time) = attributes.modified {
        let set = rustix::fs::utimensat(&dir, name, &to_times(time), AtFlags::SYMLINK_NOFOLLOW);
        let kept = || rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW);
        note(&mut unapplied, Attribute::Modified, set.and_then(|()| check_time(time, kept)));
    }
    unapplied
}

/// Applies attributes to a file held by an `O_PATH` descriptor. A link has no mode to be set.
fn set_on_held(entry: &OwnedFd, attributes: &Attributes) -> Vec<Unapplied> {
    let is_link =
        rustix::fs::fstat(entry).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
    let mode = attributes.mode.filter(|_| !is_link);
    // The kernel's own name for a descriptor: the one way to change the mode of what may not be opened.
    let name = format!("/proc/self/fd/{}", entry.as_raw_fd());
    apply(
        entry,
        &Attributes { mode, ..*attributes },
        |mode| rustix::fs::chmodat(CWD, &name, mode, AtFlags::empty()),
        |times| rustix::fs::utimensat(entry, c"", times, AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW),
    )
}

fn apply(
    file: impl AsFd,
    attributes: &Attributes,
    chmod: impl FnOnce(Mode) -> Result<(), Errno>,
    utime: impl FnOnce(&Timestamps) -> Result<(), Errno>,
) -> Vec<Unapplied> {
    let mut unapplied = Vec::new();
    let kept = || rustix::fs::fstat(&file);
    if let Some(mode) = attributes.mode {
        let set = chmod(to_mode(mode)).and_then(|()| check_mode(mode, kept));
        note(&mut unapplied, Attribute::Mode, set);
    }
    if let Some(time) = attributes.modified {
        let set = utime(&to_times(time)).and_then(|()| check_time(time, kept));
        note(&mut unapplied, Attribute::Modified, set);
    }
    unapplied
}

/// The kernel drops the set-group-ID bit without an error when the process is not in the group.
fn check_mode(mode: u32, kept: impl FnOnce() -> Result<rustix::fs::Stat, Errno>) -> Result<(), Errno> {
    if mode & 0o7000 != 0 && kept()?.st_mode & 0o7777 != mode & 0o7777 {
        return Err(Errno::PERM);
    }
    Ok(())
}

/// File systems clamp times outside what they can hold without an error; 1970 to 2038 all of them can.
fn check_time(time: Time, kept: impl FnOnce() -> Result<rustix::fs::Stat, Errno>) -> Result<(), Errno> {
    if !(0..=i64::from(i32::MAX)).contains(&time.secs) && kept()?.st_mtime != time.secs {
        return Err(Errno::OVERFLOW);
    }
    Ok(())
}

fn note(unapplied: &mut Vec<Unapplied>, attribute: Attribute, set: Result<(), Errno>) {
    if let Err(errno) = set {
        unapplied.push(Unapplied { attribute, reason: std::io::Error::from(errno).to_string() });
    }
}

fn to_mode(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777)
}

fn to_times(modified: Time) -> Timestamps {
    // Larger numbers of nanoseconds have meanings of their own to the kernel, such as "now".
    let nanos = modified.nanos.min(999_999_999);
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: modified.secs, tv_nsec: nanos.into() },
    }
}
