//! Writing past the page cache: the same bytes on a shorter way (spec/store.md, "On Linux").
//!
//! Copying into fresh pages of the cache was the dearest part of receiving a large file: 35 % of the samples of a receiver, and a
//! flush at the end that had to wait for it all. A direct write takes the bytes from where they are, and is on its way to the
//! disk when it returns. It is used for large files on file systems that are known to do it well; whatever refuses it, at the
//! beginning or later, gets its bytes through the cache.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sft_base::Buffer;

use super::beneath::FileId;

/// A second descriptor of a file, for writing directly.
#[derive(Debug)]
pub(super) struct Direct {
    file: OwnedFd,
    refused: AtomicBool,
}

impl Direct {
    /// Opens `name`, which is `same`, if the file is large enough and its file system is one that does it well.
    pub(super) fn open(dir: impl AsFd, name: &str, same: &OwnedFd, size: u64) -> Option<Self> {
        if size < SIZE_MIN {
            return None;
        }
        let kind = rustix::fs::fstatfs(same).ok()?.f_type as u64;
        if !FILE_SYSTEMS.contains(&(kind & 0xffff_ffff)) {
            return None;
        }
        let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::empty()).ok()?;
        // Another process may have exchanged it.
        let is_same = FileId::of(&file).is_ok_and(|id| FileId::of(same) == Ok(id));
        is_same.then(|| Self { file, refused: AtomicBool::new(false) })
    }

    /// Writes as much of the beginning of `content` as can be written directly, and returns how many bytes that were.
    ///
    /// - Errors: those of the disk, such as no space. What the file system only dislikes is no error, but nothing written.
    pub(super) fn write(&self, offset: u64, content: &[u8]) -> Result<usize, Errno> {
        let whole = content.len() / Buffer::ALIGN * Buffer::ALIGN;
        if whole == 0 || !offset.is_multiple_of(Buffer::ALIGN as u64) || self.refused.load(Ordering::Relaxed)
        {
            return Ok(0);
        }
        let content = &content[..whole];
        if (content.as_ptr() as usize).is_multiple_of(Buffer::ALIGN) {
            self.write_aligned(offset, content)
        } else {
            self.write_aligned(offset, &Buffer::copy_of(content))
        }
    }

    fn write_aligned(&self, offset: u64, content: &[u8]) -> Result<usize, Errno> {
        let mut written = 0;
        while written < content.len() {
            match rustix::io::pwrite(&self.file, &content[written..], offset + written as u64) {
                Ok(0) => break,
                // The rest of what was cut short in the middle of a block goes through the cache.
                Ok(more) if more % Buffer::ALIGN != 0 => return Ok(written + more),
                Ok(more) => written += more,
                Err(Errno::INTR) => {}
                Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                    self.refused.store(true, Ordering::Relaxed);
                    break;
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(written)
    }
}

/// Smaller files are read again soon more often, and gain little.
const SIZE_MIN: u64 = 16 << 20;
/// ext2 to ext4, and XFS: several writers at once into one file, and no copy behind our back.
const FILE_SYSTEMS: [u64; 2] = [0xef53, 0x5846_5342];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::stage_dir::{NEW_FILE, open_or_create};

    fn file(dir: &tempfile::TempDir) -> (OwnedFd, OwnedFd) {
        let held = rustix::fs::open(dir.path(), OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
        let file = open_or_create(&held, "f", NEW_FILE).unwrap();
        (held, file)
    }

    #[test]
    fn small_files_and_strange_file_systems_are_left_to_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let (held, file) = file(&dir);
        assert!(Direct::open(&held, "f", &file, SIZE_MIN - 1).is_none());
        let proc = rustix::fs::open("/proc/self", OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
        let status = rustix::fs::open("/proc/self/status", OFlags::RDONLY, Mode::empty()).unwrap();
        assert!(Direct::open(&proc, "status", &status, SIZE_MIN).is_none());
    }

    #[test]
    fn what_is_written_is_there_whatever_its_place_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let (held, file) = file(&dir);
        // A temporary directory on another file system has nothing to show here; the store's promises hold all the same.
        let Some(direct) = Direct::open(&held, "f", &file, SIZE_MIN) else { return };
        let content: Vec<u8> = (0..30_001u32).map(|n| n as u8).collect();
        for shift in [0, 1] {
            let written = direct.write(8192, &content[shift..]).unwrap();
            assert!(written == 28_672 || direct.refused.load(Ordering::Relaxed));
            let read = std::fs::read(dir.path().join("f")).unwrap();
            assert!(written == 0 || read[8192..] == content[shift..shift + written]);
        }
        assert_eq!(direct.write(5, &content).unwrap(), 0);
        assert_eq!(direct.write(0, b"short").unwrap(), 0);
    }

    #[test]
    fn another_file_of_the_name_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let (held, file) = file(&dir);
        std::fs::rename(dir.path().join("f"), dir.path().join("g")).unwrap();
        std::fs::write(dir.path().join("f"), b"another").unwrap();
        assert!(Direct::open(&held, "f", &file, SIZE_MIN).is_none());
    }
}
