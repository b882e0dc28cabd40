//! Removing an entry and all that lies below it, at any depth, following nothing.
//!
//! The walk holds a few directories only, and comes back up through `..`; what it finds there must be the directory it
//! came from. Should another process have moved a directory meanwhile, the walk ends rather than remove elsewhere.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;
use sft_base::{EntryPath, Name};

use super::beneath::{self, FileId, Place};
use super::errors;
use crate::StoreError;

pub(super) fn remove(place: &Place<'_>, path: &EntryPath) -> Result<(), StoreError> {
    remove_one(&place.dir, place.name).map_err(|errno| errors::at(path, "removing", errno))
}

pub(super) fn remove_tree(place: &Place<'_>, path: &EntryPath) -> Result<u64, StoreError> {
    match rustix::fs::unlinkat(&place.dir, place.name, AtFlags::empty()) {
        Ok(()) => return Ok(1),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(errors::at(path, "removing", errno)),
    }
    let mut walk = Walk { top: path, levels: Vec::new(), removed: 0 };
    for _ in 0..REREADS_MAX {
        let emptied = walk.enter(&place.dir, place.name).and_then(|()| walk.empty_all());
        emptied.map_err(|errno| walk.error(errno))?;
        match rustix::fs::unlinkat(&place.dir, place.name, AtFlags::REMOVEDIR) {
            Ok(()) => return Ok(walk.removed + 1),
            // It was passed over while reading, or is new.
            Err(Errno::NOTEMPTY) => {}
            Err(errno) => return Err(errors::at(path, "removing", errno)),
        }
    }
    Err(StoreError::DirectoryNotEmpty { path: path.clone() })
}

fn remove_one(dir: impl AsFd, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR),
        other => other,
    }
}

/// The directories from the top of a tree down to where removal goes on.
struct Walk<'a> {
    top: &'a EntryPath,
    levels: Vec<Level>,
    removed: u64,
}

struct Level {
    name: Vec<u8>,
    id: FileId,
    /// Closed when the walk is far below.
    dir: Option<Dir>,
    /// Times it was read from the start because it was not empty at its end.
    rereads: u32,
}

enum Next {
    Down(Vec<u8>),
    Up,
}

impl Walk<'_> {
    /// Goes on until the top level is empty. Errors are about the lowest level.
    fn empty_all(&mut self) -> Result<(), Errno> {
        while !self.levels.is_empty() {
            match self.empty_lowest()? {
                Next::Down(name) => {
                    let dir = self.lowest_fd()?;
                    self.enter(dir, &name)?;
                }
                Next::Up if self.levels.len() == 1 => {
                    self.levels.pop();
                }
                Next::Up => self.leave()?,
            }
        }
        Ok(())
    }

    /// Removes what is no directory, and stops at the first that is one.
    fn empty_lowest(&mut self) -> Result<Next, Errno> {
        let Some(Level { dir: Some(dir), .. }) = self.levels.last_mut() else { return Ok(Next::Up) };
        while let Some(entry) = dir.read() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if entry.file_type() == FileType::Directory {
                return Ok(Next::Down(name.to_vec()));
            }
            match rustix::fs::unlinkat(dir.fd()?, name, AtFlags::empty()) {
                Ok(()) => self.removed += 1,
                Err(Errno::NOENT) => {}
                // The file system does not tell types in listings, or it was exchanged.
                Err(Errno::ISDIR) => return Ok(Next::Down(name.to_vec())),
                Err(errno) => return Err(errno),
            }
        }
        Ok(Next::Up)
    }

    fn enter(&mut self, parent: impl AsFd, name: &[u8]) -> Result<(), Errno> {
        let dir = match beneath::open_dir(parent, name) {
            Err(Errno::NOENT) => return Ok(()),
            opened => opened?,
        };
        let id = FileId::of(&dir)?;
        self.levels.push(Level { name: name.to_vec(), id, dir: Some(Dir::new(dir)?), rereads: 0 });
        if let Some(far) = self.levels.len().checked_sub(OPEN_LEVELS_MAX + 1) {
            self.levels[far].dir = None;
        }
        Ok(())
    }

    /// Removes the lowest directory, which is empty, from the one above.
    fn leave(&mut self) -> Result<(), Errno> {
        let above = self.levels.len() - 2;
        if self.levels[above].dir.is_none() {
            let dir = self.reopen_above()?;
            self.levels[above].dir = Some(Dir::new(dir)?);
        }
        let Some(dir) = &self.levels[above].dir else { return Err(Errno::BADF) };
        let lowest = &self.levels[above + 1];
        match rustix::fs::unlinkat(dir.fd()?, lowest.name.as_slice(), AtFlags::REMOVEDIR) {
            Ok(()) => self.removed += 1,
            Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY) => return self.reread_lowest(),
            Err(errno) => return Err(errno),
        }
        self.levels.pop();
        Ok(())
    }

    /// Opens the directory above the lowest, and makes sure that it is the one that was left.
    fn reopen_above(&self) -> Result<OwnedFd, Errno> {
        let dir = beneath::open_dir(self.lowest_fd()?, b"..")?;
        let above = &self.levels[self.levels.len() - 2];
        if FileId::of(&dir)? == above.id { Ok(dir) } else { Err(Errno::STALE) }
    }

    /// Reading while removing may pass over entries, and other processes may add some.
    fn reread_lowest(&mut self) -> Result<(), Errno> {
        match self.levels.last_mut() {
            Some(Level { dir: Some(dir), rereads, .. }) if *rereads < REREADS_MAX => {
                *rereads += 1;
                dir.rewind();
                Ok(())
            }
            _ => Err(Errno::NOTEMPTY),
        }
    }

    fn lowest_fd(&self) -> Result<OwnedFd, Errno> {
        let dir = self.levels.last().and_then(|level| level.dir.as_ref()).ok_or(Errno::BADF)?;
        dir.fd()?.try_clone_to_owned().map_err(|_| Errno::MFILE)
    }

    /// The error, with the path of the directory where it happened as far as a path can hold it.
    fn error(&self, errno: Errno) -> StoreError {
        let mut path = self.top.clone();
        for level in self.levels.iter().skip(1) {
            match Name::new(&level.name).and_then(|name| path.join(&name)) {
                Ok(longer) => path = longer,
                Err(_) => break,
            }
        }
        match errno {
            Errno::STALE => StoreError::Changed { path },
            _ => errors::at(&path, "removing", errno),
        }
    }
}

/// Directories held open at a time; those above are opened again on the way back.
const OPEN_LEVELS_MAX: usize = 32;
const REREADS_MAX: u32 = 64;
