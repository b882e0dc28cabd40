//! The stage of a large file: its bytes in `<key>.part`, what was verified of them in `<key>.journal`.

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fd::OwnedFd;
use rustix::fs::{Advice, AtFlags, FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use sft_base::{ByteRanges, Digest, Node, Verified};

use super::beneath::FileId;
use super::direct::Direct;
use super::errors;
use super::reading::{read_full, to_stat};
use super::stage_dir::{NEW_FILE, Opened, PRIVATE_FILE, StageDir, open_or_create, write_full};
use super::watch::Watch;
use crate::claims::Claim;
use crate::content::{self, ReadAt};
use crate::journal::{self, HeldNodes};
use crate::{Stage, StageKey, Staged, StoreError, Version};

/// What is open of a stage. The lock on the journal keeps other processes away until it is closed.
#[derive(Debug)]
pub(super) struct Files {
    dir: Arc<Opened>,
    _stages: Arc<StageDir>,
    key: StageKey,
    size: u64,
    part: OwnedFd,
    /// The same, for writing past the cache, where that is worth it.
    direct: Option<Direct>,
    journal: OwnedFd,
    /// The verified nodes, and where the next record belongs.
    progress: Mutex<Progress>,
    /// What was written of a part that was made anew; nothing is known of what lies in a resumed one.
    written: Option<Mutex<ByteRanges>>,
    /// Bytes written since the kernel was last asked to begin writing to disk.
    unsent: Mutex<Unsent>,
    /// Bytes that may still be needed on disk; for telling how many when space runs out.
    missing: AtomicU64,
    /// Over the part, against others who write to it.
    watch: Watch,
}

/// A stage that is written, or complete. A complete one keeps no file open, so that any number can wait for a flush.
#[derive(Debug)]
pub(super) enum Large {
    Open(Files),
    Complete(Complete),
}

/// A stage whose files were closed.
#[derive(Debug)]
pub(super) struct Complete {
    dir: Arc<Opened>,
    _stages: Arc<StageDir>,
    key: StageKey,
    /// Of the part as it was closed.
    version: Version,
    /// Somebody else may have written to it before that.
    touched: bool,
}

/// A claimed stage.
#[derive(Debug)]
pub(super) struct LargeStage {
    pub(super) claim: Claim<Large>,
    pub(super) size: u64,
}

#[derive(Debug)]
struct Progress {
    nodes: HeldNodes,
    end: u64,
}

#[derive(Debug, Default)]
struct Unsent {
    bytes: u64,
    span: Option<Range<u64>>,
}

struct Contents<'a>(&'a OwnedFd);

impl Files {
    /// Opens or makes the two files of `key` and verifies what the journal names.
    pub(super) fn open(
        stages: &Arc<StageDir>,
        key: StageKey,
        size: u64,
        occupied: u64,
    ) -> Result<Self, StoreError> {
        let needed = occupied.min(size);
        let (dir, journal, part) = stages
            .using(needed, "opening a stage", |dir| {
                let journal = lock_journal(dir, &key)?;
                let part = open_or_create(dir.stage(), &part_name(&key), NEW_FILE)?;
                Ok((dir.clone(), journal, part))
            })
            .map_err(busy)?;
        let mut files = Self {
            _stages: stages.clone(),
            key,
            size,
            direct: Direct::open(dir.stage(), &part_name(&key), &part, size),
            watch: Watch::over(&part),
            dir,
            part,
            journal,
            progress: Mutex::new(Progress { nodes: HeldNodes::new(size), end: 0 }),
            written: None,
            unsent: Mutex::default(),
            missing: AtomicU64::new(0),
        };
        let proven = files.prove()?;
        files.check_space(needed, proven.is_some())?;
        match proven {
            Some(progress) => files.resume(progress)?,
            None => {
                files.start_anew()?;
                files.watch = Watch::over(&files.part);
            }
        }
        Ok(files)
    }

    /// Whether it is the stage of a file of this size, still has its files, and nobody else wrote to them.
    pub(super) fn is_usable(&self, size: u64) -> bool {
        let id = FileId::at(self.dir.stage(), part_name(&self.key).as_bytes());
        size == self.size && id.is_ok() && id == FileId::of(&self.part) && !self.watch.is_touched(&self.part)
    }

    fn complete(&self) -> Result<Complete, StoreError> {
        let stat = rustix::fs::fstat(&self.part).map_err(|errno| self.error("completing a stage", errno))?;
        let (version, touched) = (to_stat(&stat).version, self.watch.is_touched(&self.part));
        Ok(Complete { dir: self.dir.clone(), _stages: self._stages.clone(), key: self.key, version, touched })
    }

    fn discard(&self) {
        discard(&self.dir, &self.key);
    }

    /// What the journal proves of a part that has its full length.
    fn prove(&self) -> Result<Option<Progress>, StoreError> {
        let stat = rustix::fs::fstat(&self.part).map_err(|errno| self.error("opening a stage", errno))?;
        if stat.st_size as u64 != self.size {
            return Ok(None);
        }
        let proven = journal::prove(&Contents(&self.journal), &Contents(&self.part), &self.key, self.size)?;
        Ok(proven.map(|proven| Progress { nodes: proven.nodes, end: proven.end }))
    }

    /// Says at once that the content cannot fit. What a part that is resumed takes already counts for it.
    fn check_space(&self, occupied: u64, resumed: bool) -> Result<(), StoreError> {
        let fail = |errno| self.error("opening a stage", errno);
        let taken = rustix::fs::fstat(&self.part).map_err(fail)?.st_blocks as u64 * 512;
        let space = rustix::fs::fstatvfs(&self.part).map_err(fail)?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        let (needed, available) = if resumed {
            (occupied.saturating_sub(taken), free)
        } else {
            // A part that is begun anew gives back what it has.
            (occupied, free.saturating_add(taken))
        };
        self.missing.store(needed, Ordering::Relaxed);
        if needed > available {
            if !resumed {
                self.discard();
            }
            return Err(StoreError::NoSpace { needed, available });
        }
        Ok(())
    }

    fn resume(&mut self, progress: Progress) -> Result<(), StoreError> {
        rustix::fs::ftruncate(&self.journal, progress.end)
            .map_err(|errno| self.error("opening a stage", errno))?;
        self.progress = Mutex::new(progress);
        Ok(())
    }

    /// Empties both files; the journal first, so that it never names bytes of something else.
    fn start_anew(&mut self) -> Result<(), StoreError> {
        let header = journal::header(&self.key, self.size);
        let begin = || {
            rustix::fs::ftruncate(&self.journal, 0)?;
            rustix::fs::ftruncate(&self.part, 0)?;
            rustix::fs::ftruncate(&self.part, self.size)?;
            write_full(&self.journal, 0, &header)
        };
        begin().map_err(|errno| {
            self.discard();
            self.error("opening a stage", too_large(errno))
        })?;
        self.progress = Mutex::new(Progress { nodes: HeldNodes::new(self.size), end: header.len() as u64 });
        self.written = Some(Mutex::default());
        Ok(())
    }

    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), StoreError> {
        let range = self.range_of(offset, content)?;
        if range.is_empty() {
            return Ok(());
        }
        lock(&self.progress).nodes.forget(range.clone());
        self.watch.during(&self.part, || self.write_range(range, content))
    }

    fn write_range(&self, range: Range<u64>, content: &[u8]) -> Result<(), StoreError> {
        let offset = range.start;
        if content.len() >= HOLE_BYTES_MIN && content::is_zero(content) && self.leave_hole(&range) {
            return Ok(());
        }
        // Before the bytes, so that a hole is never left where they are being written.
        if let Some(written) = &self.written {
            lock(written).insert(range.clone());
        }
        let cached = self.write(offset, content).map_err(|errno| self.error("writing to a stage", errno))?;
        let _ = self.missing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |missing| {
            Some(missing.saturating_sub(content.len() as u64))
        });
        if !cached.is_empty() {
            self.send_early(cached);
        }
        Ok(())
    }

    /// Writes, and returns what of it went through the cache: the end behind the last whole block, or all.
    fn write(&self, offset: u64, content: &[u8]) -> Result<Range<u64>, Errno> {
        let written = match &self.direct {
            Some(direct) => direct.write(offset, content)?,
            None => 0,
        };
        let rest = offset + written as u64;
        write_full(&self.part, rest, &content[written..])?;
        Ok(rest..offset + content.len() as u64)
    }

    fn range_of(&self, offset: u64, content: &[u8]) -> Result<Range<u64>, StoreError> {
        match offset.checked_add(content.len() as u64) {
            Some(end) if end <= self.size => Ok(offset..end),
            _ => Err(StoreError::Corrupt { what: "a part of it lies behind its end" }),
        }
    }

    /// Makes the range read as zeros without taking space, if that can be done.
    fn leave_hole(&self, range: &Range<u64>) -> bool {
        let untouched = self.written.as_ref().is_some_and(|written| !lock(written).intersects(range.clone()));
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        untouched || rustix::fs::fallocate(&self.part, punch, range.start, range.end - range.start).is_ok()
    }

    /// Has the kernel begin to write to disk while more is coming, so that a flush at the end has little left to do.
    ///
    /// The advice that the bytes are not needed soon does that, and it also keeps a large file from pushing everything
    /// else out of memory.
    fn send_early(&self, range: Range<u64>) {
        let span = {
            let mut unsent = lock(&self.unsent);
            unsent.bytes += range.end - range.start;
            let span = match unsent.span.take() {
                Some(span) => span.start.min(range.start)..span.end.max(range.end),
                None => range,
            };
            if unsent.bytes < EARLY_BYTES {
                unsent.span = Some(span);
                return;
            }
            unsent.bytes = 0;
            span
        };
        let _ = rustix::fs::fadvise(
            &self.part,
            span.start,
            NonZeroU64::new(span.end - span.start),
            Advice::DontNeed,
        );
    }

    fn record(&self, node: &Node) -> Result<(), StoreError> {
        let mut progress = lock(&self.progress);
        progress.nodes.insert(node)?;
        let record = journal::record(node);
        write_full(&self.journal, progress.end, &record)
            .map_err(|errno| self.error("writing a journal", errno))?;
        progress.end += record.len() as u64;
        Ok(())
    }

    fn error(&self, doing: &'static str, errno: Errno) -> StoreError {
        errors::staging(&self.part, self.missing.load(Ordering::Relaxed), doing, errno)
    }
}

impl Complete {
    /// Locks the stage again and does something with its part, which is at the name given; removes the journal then.
    ///
    /// Another process may have had it meanwhile: then what was verified is not what is there. Where somebody else may have
    /// written to it, it is read once more.
    pub(super) fn publish<R>(
        &self,
        verified: &Verified,
        publish: impl FnOnce(&Opened, &str) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let _locked = lock_journal(&self.dir, &self.key).map_err(|errno| match errno {
            Errno::WOULDBLOCK => StoreError::Busy,
            Errno::NOENT => StoreError::Superseded,
            _ => errors::own("publishing a stage", errno),
        })?;
        let name = part_name(&self.key);
        let stat = rustix::fs::statat(self.dir.stage(), name.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        if !stat.is_ok_and(|stat| to_stat(&stat).version == self.version) {
            return Err(StoreError::Superseded);
        }
        if self.touched && self.digest(&name)? != verified.digest() {
            return Err(StoreError::Corrupt { what: "another program has written to it" });
        }
        let published = publish(&self.dir, &name)?;
        let _ = rustix::fs::unlinkat(self.dir.stage(), journal_name(&self.key), AtFlags::empty());
        Ok(published)
    }

    fn digest(&self, name: &str) -> Result<Digest, StoreError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let part = rustix::fs::openat(self.dir.stage(), name, flags, Mode::empty());
        content::digest_of(&Contents(&part.map_err(|errno| errors::own("publishing a stage", errno))?))
    }
}

impl LargeStage {
    fn using<R>(&self, use_it: impl FnOnce(&Files) -> Result<R, StoreError>) -> Result<R, StoreError> {
        self.claim.using(|large| match large {
            Large::Open(files) => use_it(files),
            Large::Complete(_) => Err(StoreError::Superseded),
        })
    }
}

impl Stage for LargeStage {
    fn held(&self) -> Vec<Node> {
        self.using(|files| Ok(lock(&files.progress).nodes.nodes())).unwrap_or_default()
    }

    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), StoreError> {
        self.using(|files| files.write_at(offset, content))
    }

    fn record(&self, node: &Node) -> Result<(), StoreError> {
        self.using(|files| files.record(node))
    }

    fn finish(self: Box<Self>) -> Result<Staged, StoreError> {
        self.claim.exchange(|large| match large {
            Large::Open(files) => Ok(Large::Complete(files.complete()?)),
            Large::Complete(_) => Err(StoreError::Superseded),
        })?;
        Ok(Staged::new(self.size, *self))
    }

    fn discard(self: Box<Self>) {
        // A newer claimant keeps what it took over.
        let _ = self.claim.use_up(|large| {
            if let Large::Open(files) = large {
                files.discard();
            }
            Ok(())
        });
    }
}

impl ReadAt for Contents<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
        read_full(self.0, offset, buffer).map_err(|errno| errors::own("reading a stage", errno))
    }
}

/// Opens the journal and locks it against other processes; [`Errno::WOULDBLOCK`] when one of them has it.
pub(super) fn lock_journal(dir: &Opened, key: &StageKey) -> Result<OwnedFd, Errno> {
    let name = journal_name(key);
    for _ in 0..LOCK_TRIES {
        let journal = open_or_create(dir.stage(), &name, PRIVATE_FILE)?;
        rustix::fs::flock(&journal, FlockOperation::NonBlockingLockExclusive)?;
        // Whoever had it may have removed it between our two calls; then it locks nothing.
        let stands = FileId::at(dir.stage(), name.as_bytes());
        if stands.is_ok() && stands == FileId::of(&journal) {
            return Ok(journal);
        }
    }
    Err(Errno::WOULDBLOCK)
}

/// The name of the bytes of a stage.
pub(super) fn part_name(key: &StageKey) -> String {
    format!("{key}{PART_SUFFIX}")
}

/// The name of the journal of a stage.
pub(super) fn journal_name(key: &StageKey) -> String {
    format!("{key}{JOURNAL_SUFFIX}")
}

/// Removes a stage that is locked: the journal last, because it is the lock.
fn discard(dir: &Opened, key: &StageKey) {
    let _ = rustix::fs::unlinkat(dir.stage(), part_name(key), AtFlags::empty());
    let _ = rustix::fs::unlinkat(dir.stage(), journal_name(key), AtFlags::empty());
}

fn busy(error: StoreError) -> StoreError {
    match error {
        StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::WouldBlock => StoreError::Busy,
        error => error,
    }
}

/// A length that the file system cannot hold is told as an invalid argument by some.
fn too_large(errno: Errno) -> Errno {
    if errno == Errno::INVAL { Errno::FBIG } else { errno }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the names of the bytes of stages.
pub(super) const PART_SUFFIX: &str = ".part";
/// Ends the names of the journals of stages.
pub(super) const JOURNAL_SUFFIX: &str = ".journal";
/// Shorter zeros are written: a hole of less than a few blocks saves nothing.
const HOLE_BYTES_MIN: usize = 64 << 10;
/// Enough for a disk to write in one go, and little enough to be done before much more has come. Writing 2 GiB and flushing it
/// took 2.3 s with 64 MiB, 2.5 s with 8 MiB, and 5.1 s without (ext4 on a virtual disk, medians of three).
const EARLY_BYTES: u64 = 64 << 20;
const LOCK_TRIES: u32 = 16;
