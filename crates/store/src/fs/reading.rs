//! What only reads: metadata, listings, files and the targets of links.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use sft_base::{EntryPath, Kind, Meta, Name, Time};

use super::beneath::{self, Beneath, FileId, HeldDir, Place};
use super::errors;
use crate::{Listing, Source, Stat, StoreError, Version, reserved};

/// A directory being read.
#[derive(Debug)]
pub(super) struct FsListing {
    path: EntryPath,
    dir: Dir,
    in_root: bool,
}

/// A regular file open for reading.
#[derive(Debug)]
pub(super) struct FsSource {
    path: EntryPath,
    file: OwnedFd,
}

pub(super) fn stat(beneath: &Beneath, path: &EntryPath) -> Result<Stat, StoreError> {
    stat_at(&beneath.to_read(path)?, path)
}

pub(super) fn stat_each(beneath: &Beneath, paths: &[EntryPath]) -> Vec<Result<Stat, StoreError>> {
    let mut found = Vec::with_capacity(paths.len());
    at_each(beneath, paths, |place, path| found.push(place.and_then(|place| stat_at(&place, path))));
    found
}

/// Walks once to each directory, and again where a link is on the way.
fn at_each(
    beneath: &Beneath,
    paths: &[EntryPath],
    mut each: impl FnMut(Result<Place<'_>, StoreError>, &EntryPath),
) {
    for beside in paths.chunk_by(|a, b| beneath::split(a).0 == beneath::split(b).0) {
        let held = beneath.beside(&beside[0]);
        for path in beside {
            let place = match &held {
                Some(dir) => {
                    let (dir, name) = (HeldDir::Borrowed(dir.as_fd()), beneath::split(path).1);
                    reserved::check(path).map(|()| Place { dir, name })
                }
                None => beneath.to_read(path),
            };
            each(place, path);
        }
    }
}

fn stat_at(place: &Place<'_>, path: &EntryPath) -> Result<Stat, StoreError> {
    rustix::fs::statat(&place.dir, place.name, AtFlags::SYMLINK_NOFOLLOW)
        .map(|stat| to_stat(&stat))
        .map_err(|errno| errors::at(path, "reading metadata", errno))
}

pub(super) fn list(beneath: &Beneath, path: &EntryPath) -> Result<FsListing, StoreError> {
    let place = beneath.to_read(path)?;
    let open = || {
        let dir = beneath::open_dir(&place.dir, place.name)?;
        let in_root = FileId::of(&dir)? == beneath.id();
        Ok(FsListing { path: path.clone(), dir: Dir::new(dir)?, in_root })
    };
    open().map_err(|errno| errors::at(path, "opening the directory", errno))
}

pub(super) fn open(beneath: &Beneath, path: &EntryPath) -> Result<FsSource, StoreError> {
    open_at(&beneath.to_read(path)?, path)
}

pub(super) fn open_each(
    beneath: &Beneath,
    paths: &[EntryPath],
    mut each: impl FnMut(Result<FsSource, StoreError>),
) {
    at_each(beneath, paths, |place, path| each(place.and_then(|place| open_at(&place, path))));
}

fn open_at(place: &Place<'_>, path: &EntryPath) -> Result<FsSource, StoreError> {
    let opening = |errno| errors::at(path, "opening the file", errno);
    // Looked at first, because opening a device or a pipe can have effects. What is exchanged between the two calls is
    // opened without waiting, and closed again.
    let stat = rustix::fs::statat(&place.dir, place.name, AtFlags::SYMLINK_NOFOLLOW).map_err(opening)?;
    check_regular(path, &stat)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&place.dir, place.name, flags, Mode::empty()).map_err(opening)?;
    check_regular(path, &rustix::fs::fstat(&file).map_err(opening)?)?;
    Ok(FsSource { path: path.clone(), file })
}

pub(super) fn read_link(beneath: &Beneath, path: &EntryPath) -> Result<Vec<u8>, StoreError> {
    let place = beneath.to_read(path)?;
    match rustix::fs::readlinkat(&place.dir, place.name, Vec::new()) {
        Ok(target) => Ok(target.into_bytes()),
        Err(Errno::INVAL) => Err(StoreError::NotALink { path: path.clone() }),
        Err(errno) => Err(errors::at(path, "reading the link", errno)),
    }
}

/// What the system told of an entry, in our words.
pub(super) fn to_stat(stat: &rustix::fs::Stat) -> Stat {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    };
    let size = if matches!(kind, Kind::File | Kind::Link) { stat.st_size as u64 } else { 0 };
    let modified = Time { secs: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 };
    let changed = Time { secs: stat.st_ctime, nanos: stat.st_ctime_nsec as u32 };
    let FileId { device, inode } = FileId::from_stat(stat);
    Stat {
        meta: Meta { kind, size, modified, mode: stat.st_mode & 0o7777 },
        occupied: stat.st_blocks as u64 * BLOCK_BYTES,
        version: Version { device, inode, size, modified, changed },
    }
}

/// Fills `buffer` from `offset`, short only at the end of the file.
pub(super) fn read_full(file: &OwnedFd, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut read = 0;
    while read < buffer.len() {
        match rustix::io::pread(file, &mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(read)
}

impl Listing for FsListing {
    fn next_batch(&mut self, max: usize) -> Result<Vec<(Name, Stat)>, StoreError> {
        let mut batch = Vec::new();
        while batch.len() < max {
            let Some(entry) = self.dir.read() else { break };
            let entry = entry.map_err(|errno| errors::at(&self.path, "reading the directory", errno))?;
            // `.` and `..` are no names.
            let Some(name) = reserved::listable(entry.file_name().to_bytes(), self.in_root) else { continue };
            match self.stat_of(&name) {
                Ok(stat) => batch.push((name, stat)),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errors::at(&self.path, "reading the directory", errno)),
            }
        }
        Ok(batch)
    }
}

impl FsListing {
    fn stat_of(&self, name: &Name) -> Result<Stat, Errno> {
        let stat = rustix::fs::statat(self.dir.fd()?, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(to_stat(&stat))
    }
}

impl Source for FsSource {
    fn stat(&self) -> Result<Stat, StoreError> {
        rustix::fs::fstat(&self.file)
            .map(|stat| to_stat(&stat))
            .map_err(|errno| errors::at(&self.path, "reading metadata", errno))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
        read_full(&self.file, offset, buffer).map_err(|errno| errors::at(&self.path, "reading", errno))
    }
}

pub(super) fn check_regular(path: &EntryPath, stat: &rustix::fs::Stat) -> Result<(), StoreError> {
    let path = path.clone();
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(StoreError::IsADirectory { path }),
        FileType::Symlink => Err(StoreError::ThroughLink { path }),
        _ => Err(StoreError::Special { path }),
    }
}

/// The unit of `st_blocks`, whatever the file system's own block is.
const BLOCK_BYTES: u64 = 512;
