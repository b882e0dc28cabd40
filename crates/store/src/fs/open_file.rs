//! Files that are written in place, and drafts (spec/store.md, "Writing in place" and "Drafts").

use std::any::Any;
use std::io::IoSlice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use sft_base::EntryPath;

use super::beneath::{Beneath, Place};
use super::publish::{self, Hidden};
use super::reading::{check_regular, read_full, to_stat};
use super::small::Temporary;
use super::stage_dir::{StageDir, write_full};
use super::{attributes, errors};
use crate::{Attributes, OpenFile, Publish, Source, Stat, StoreError, Unapplied};

/// A regular file open for reading and writing.
#[derive(Debug)]
pub(super) struct FsOpenFile {
    /// For messages: where it was opened. Nothing for a draft.
    path: Option<EntryPath>,
    file: OwnedFd,
    /// What a draft rests under, until it is published.
    draft: Mutex<Option<Temporary>>,
}

/// Opens a file that is there. Links are followed nowhere; what is not a file is refused without being opened.
pub(super) fn open_in_place(beneath: &Beneath, path: &EntryPath) -> Result<FsOpenFile, StoreError> {
    let place = beneath.to_write(path)?;
    let opening = |errno| errors::at(path, "opening the file for writing", errno);
    // As for reading: opening a device or a pipe can have effects.
    let stat = rustix::fs::statat(&place.dir, place.name, AtFlags::SYMLINK_NOFOLLOW).map_err(opening)?;
    check_regular(path, &stat)?;
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(&place.dir, place.name, flags, Mode::empty()) {
        // A file that may be written and not read is still a file that may be written.
        Err(Errno::ACCESS) => {
            let flags = (flags - OFlags::RDWR) | OFlags::WRONLY;
            rustix::fs::openat(&place.dir, place.name, flags, Mode::empty())
        }
        opened => opened,
    }
    .map_err(opening)?;
    check_regular(path, &rustix::fs::fstat(&file).map_err(opening)?)?;
    Ok(FsOpenFile { path: Some(path.clone()), file, draft: Mutex::new(None) })
}

/// Makes an empty file without a name.
pub(super) fn draft(stages: &Arc<StageDir>, mode: u32) -> Result<FsOpenFile, StoreError> {
    let (temporary, file) = Temporary::open(stages, Mode::from_raw_mode(mode & 0o777))?;
    Ok(FsOpenFile { path: None, file, draft: Mutex::new(Some(temporary)) })
}

/// Names a draft, once. When this fails, the draft is gone.
pub(super) fn publish_draft(
    file: &dyn OpenFile,
    place: &Place<'_>,
    to: &EntryPath,
    how: Publish,
) -> Result<(), StoreError> {
    let Some(file) = file.as_any().downcast_ref::<FsOpenFile>() else {
        return Err(StoreError::Corrupt { what: "another store has it" });
    };
    let Some(mut content) = file.draft().take() else {
        return Err(StoreError::Corrupt { what: "it is no draft, or has its name already" });
    };
    let from = Hidden { dir: content.dir(), name: content.name().as_bytes() };
    match publish::name_it(&from, place, to, Publish::CreateOnly) {
        // What is there is not given up for what a crash could take away again.
        Err(StoreError::AlreadyExists { .. }) if how != Publish::CreateOnly => {
            file.sync()?;
            publish::name_it(&from, place, to, how)?;
        }
        named => named?,
    }
    content.is_there = false;
    Ok(())
}

/// Gives a regular file a second name.
pub(super) fn link(
    old: &Place<'_>,
    from: &EntryPath,
    new: &Place<'_>,
    to: &EntryPath,
) -> Result<(), StoreError> {
    let stat = rustix::fs::statat(&old.dir, old.name, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| errors::at(from, "finding the file", errno))?;
    check_regular(from, &stat)?;
    rustix::fs::linkat(&old.dir, old.name, &new.dir, new.name, AtFlags::empty()).map_err(
        |errno| match errno {
            Errno::XDEV => StoreError::OtherFileSystem { path: to.clone() },
            errno => errors::naming(to, errno),
        },
    )
}

impl FsOpenFile {
    fn draft(&self) -> MutexGuard<'_, Option<Temporary>> {
        self.draft.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, doing: &'static str, needed: u64, errno: Errno) -> StoreError {
        match &self.path {
            _ if matches!(errno, Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => {
                errors::staging(&self.file, needed, doing, errno)
            }
            Some(path) => errors::at(path, doing, errno),
            None => errors::own(doing, errno),
        }
    }
}

impl Source for FsOpenFile {
    fn stat(&self) -> Result<Stat, StoreError> {
        rustix::fs::fstat(&self.file)
            .map(|stat| to_stat(&stat))
            .map_err(|errno| self.error("reading metadata", 0, errno))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
        read_full(&self.file, offset, buffer).map_err(|errno| self.error("reading", 0, errno))
    }
}

impl OpenFile for FsOpenFile {
    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), StoreError> {
        write_full(&self.file, offset, content)
            .map_err(|errno| self.error("writing", content.len() as u64, errno))
    }

    fn write_parts_at(&self, offset: u64, parts: &[&[u8]]) -> Result<(), StoreError> {
        let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut left = &mut slices[..];
        let mut at = offset;
        while !left.is_empty() {
            let needed = left.iter().map(|part| part.len() as u64).sum();
            if needed == 0 {
                break;
            }
            match rustix::io::pwritev(&self.file, &left[..left.len().min(PARTS_MAX)], at) {
                Ok(0) => return Err(self.error("writing", needed, Errno::IO)),
                Ok(written) => {
                    IoSlice::advance_slices(&mut left, written);
                    at = at.saturating_add(written as u64);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.error("writing", needed, errno)),
            }
        }
        Ok(())
    }

    fn set_size(&self, size: u64) -> Result<(), StoreError> {
        rustix::fs::ftruncate(&self.file, size).map_err(|errno| self.error("setting the size", size, errno))
    }

    fn set_attributes(&self, attributes: &Attributes) -> Result<Vec<Unapplied>, StoreError> {
        Ok(attributes::set_on_file(&self.file, attributes))
    }

    fn sync(&self) -> Result<(), StoreError> {
        rustix::fs::fdatasync(&self.file).map_err(|errno| self.error("making the content durable", 0, errno))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// As many as the system takes in one call.
const PARTS_MAX: usize = 1024;
