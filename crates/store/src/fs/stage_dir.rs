//! The store's own directory `.sft/stage`: made by the first write, removed again when it is empty at the end.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::path::Arg;

use super::beneath::{self, Beneath};
use super::errors;
use crate::{StoreError, reserved};

/// Where stages rest.
#[derive(Debug)]
pub(super) struct StageDir {
    beneath: Arc<Beneath>,
    opened: Mutex<Option<Arc<Opened>>>,
    /// Of the temporary names of this store, so that it knows its own from those a crash left behind.
    prefix: String,
    next: AtomicU64,
}

/// Both levels, held, and the shards below them.
#[derive(Debug)]
pub(super) struct Opened {
    own: OwnedFd,
    stage: OwnedFd,
    /// Of the names of the shards.
    prefix: String,
    shards: [Mutex<Option<Arc<Shard>>>; SHARDS],
    next: AtomicUsize,
}

/// A directory for small content. The kernel lets one thread at a time make or rename a file in a directory, and has the
/// others spin: so each has its own.
#[derive(Debug)]
pub(super) struct Shard {
    dir: OwnedFd,
    name: String,
    in_use: Mutex<()>,
}

impl StageDir {
    /// Touches nothing yet.
    pub(super) fn new(beneath: Arc<Beneath>) -> Result<Self, Errno> {
        let prefix = unpredictable(8)?;
        Ok(Self { beneath, opened: Mutex::new(None), prefix, next: AtomicU64::new(0) })
    }

    /// Does something in the directory, which is made if it is not there; again if another process, ending, removed it.
    pub(super) fn using<R>(
        &self,
        needed: u64,
        doing: &'static str,
        mut use_it: impl FnMut(&Arc<Opened>) -> Result<R, Errno>,
    ) -> Result<R, StoreError> {
        let fail = |errno| errors::staging(self.beneath.root(), needed, doing, errno);
        let mut tries = 0;
        loop {
            let opened = self.opened().map_err(|errno| self.cannot_make(errno, needed))?;
            match use_it(&opened) {
                Err(Errno::NOENT) if tries < TRIES => {
                    tries += 1;
                    self.forget(&opened);
                }
                result => return result.map_err(fail),
            }
        }
    }

    /// The directory, if it is there. Makes nothing.
    pub(super) fn existing(&self) -> Result<Option<Arc<Opened>>, StoreError> {
        let mut slot = self.locked();
        if slot.is_none() {
            *slot = match self.open_both() {
                Ok(opened) => Some(Arc::new(opened)),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(self.cannot_make(errno, 0)),
            };
        }
        Ok(slot.clone())
    }

    /// A name for a temporary file that nobody has used before.
    pub(super) fn temporary_name(&self) -> String {
        format!("{}{:016x}{TEMPORARY_SUFFIX}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// A name for a new directory that nobody has used before.
    pub(super) fn new_dir_name(&self) -> String {
        format!("{}{:016x}{NEW_DIR_SUFFIX}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether a temporary name is one that this store gave.
    pub(super) fn is_mine(&self, name: &str) -> bool {
        name.starts_with(&self.prefix)
    }

    fn opened(&self) -> Result<Arc<Opened>, Errno> {
        let mut slot = self.locked();
        if let Some(opened) = &*slot {
            return Ok(opened.clone());
        }
        let mut tries = 0;
        let opened = loop {
            match self.make_both().and_then(|()| self.open_both()) {
                Err(Errno::NOENT) if tries < TRIES => tries += 1,
                result => break Arc::new(result?),
            }
        };
        *slot = Some(opened.clone());
        Ok(opened)
    }

    fn make_both(&self) -> Result<(), Errno> {
        make_private(self.beneath.root(), reserved::OWN_DIR)?;
        let own = beneath::open_dir(self.beneath.root(), reserved::OWN_DIR.as_bytes())?;
        self.check_ours(&own)?;
        make_private(&own, reserved::STAGE_DIR)
    }

    fn open_both(&self) -> Result<Opened, Errno> {
        let own = beneath::open_dir(self.beneath.root(), reserved::OWN_DIR.as_bytes())?;
        self.check_ours(&own)?;
        let stage = beneath::open_dir(&own, reserved::STAGE_DIR.as_bytes())?;
        self.check_ours(&stage)?;
        Ok(Opened {
            own,
            stage,
            prefix: self.prefix.clone(),
            shards: Default::default(),
            next: AtomicUsize::new(0),
        })
    }

    /// Refuses a directory that somebody else made here: they could exchange content between its check and its name.
    fn check_ours(&self, dir: &OwnedFd) -> Result<(), Errno> {
        let stat = rustix::fs::fstat(dir)?;
        let owner_of_root = rustix::fs::fstat(self.beneath.root())?.st_uid;
        if stat.st_uid != rustix::process::geteuid().as_raw() && stat.st_uid != owner_of_root {
            return Err(Errno::PERM);
        }
        if stat.st_mode & 0o077 != 0 { rustix::fs::fchmod(dir, PRIVATE) } else { Ok(()) }
    }

    fn cannot_make(&self, errno: Errno, needed: u64) -> StoreError {
        let own = || sft_base::EntryPath::from_typed(reserved::OWN_DIR.as_bytes()).unwrap_or_default();
        match errno {
            Errno::NOSPC | Errno::DQUOT => {
                errors::staging(self.beneath.root(), needed, "making the stage directory", errno)
            }
            _ => errors::at(&own(), "making the stage directory", errno),
        }
    }

    fn forget(&self, opened: &Arc<Opened>) {
        let mut slot = self.locked();
        if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, opened)) {
            *slot = None;
        }
    }

    fn locked(&self) -> MutexGuard<'_, Option<Arc<Opened>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    /// The directory that holds the stages.
    pub(super) fn stage(&self) -> BorrowedFd<'_> {
        self.stage.as_fd()
    }

    /// A shard that nobody is at work in just now, if there is one.
    pub(super) fn shard(&self) -> Result<Arc<Shard>, Errno> {
        // Some in a row stay together, so that what is written to a directory of the file system is not all over the disk.
        let first = self.next.fetch_add(1, Ordering::Relaxed) / FILES_IN_A_ROW;
        let mut shard = self.shard_at(first % SHARDS)?;
        for place in first + 1..first + SHARDS {
            if !matches!(shard.in_use.try_lock(), Err(TryLockError::WouldBlock)) {
                break;
            }
            shard = self.shard_at(place % SHARDS)?;
        }
        Ok(shard)
    }

    fn shard_at(&self, place: usize) -> Result<Arc<Shard>, Errno> {
        let mut slot = self.shards[place].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shard) = &*slot {
            return Ok(shard.clone());
        }
        let name = format!("{}{place:x}{SHARD_SUFFIX}", self.prefix);
        make_private(&self.stage, &name)?;
        let dir = beneath::open_dir(&self.stage, name.as_bytes())?;
        let shard = Arc::new(Shard { dir, name, in_use: Mutex::new(()) });
        *slot = Some(shard.clone());
        Ok(shard)
    }
}

impl Shard {
    /// Its directory.
    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Does something in it that no other thread does there at the same time.
    pub(super) fn alone<R>(&self, do_it: impl FnOnce(BorrowedFd<'_>) -> R) -> R {
        let _alone = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        do_it(self.dir())
    }
}

impl Drop for StageDir {
    /// Leaves nothing behind when nothing is staged; a directory with something in it cannot be removed.
    fn drop(&mut self) {
        if let Some(opened) = self.locked().take() {
            for slot in &opened.shards {
                if let Some(shard) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    let _ = rustix::fs::unlinkat(&opened.stage, shard.name.as_str(), AtFlags::REMOVEDIR);
                }
            }
            let _ = rustix::fs::unlinkat(&opened.own, reserved::STAGE_DIR, AtFlags::REMOVEDIR);
            let _ = rustix::fs::unlinkat(self.beneath.root(), reserved::OWN_DIR, AtFlags::REMOVEDIR);
        }
    }
}

/// Makes an empty file that no other process can have opened before.
pub(super) fn create_new(dir: impl AsFd, name: impl Arg, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, mode)
}

/// Opens a file for reading and writing, and makes it if it is not there.
pub(super) fn open_or_create(dir: impl AsFd, name: &str, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, mode)
}

/// So many random bytes in hex.
pub(super) fn unpredictable(bytes: usize) -> Result<String, Errno> {
    let mut random = vec![0; bytes];
    let mut filled = 0;
    while filled < bytes {
        filled += rustix::rand::getrandom(&mut random[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(random.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}

/// Writes all of `content` at `offset`.
pub(super) fn write_full(file: &OwnedFd, offset: u64, content: &[u8]) -> Result<(), Errno> {
    let mut written = 0;
    while written < content.len() {
        match rustix::io::pwrite(file, &content[written..], offset + written as u64) {
            Ok(0) => return Err(Errno::IO),
            Ok(more) => written += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn make_private(dir: impl AsFd, name: &str) -> Result<(), Errno> {
    match rustix::fs::mkdirat(dir, name, PRIVATE) {
        Err(Errno::EXIST) => Ok(()),
        result => result,
    }
}

/// Ends the names of new directories.
pub(super) const NEW_DIR_SUFFIX: &str = ".new";
/// Ends the names of directories of small content on its way.
pub(super) const SHARD_SUFFIX: &str = ".dir";
/// More than threads that stage and publish at a time.
const SHARDS: usize = 16;
const FILES_IN_A_ROW: usize = 64;
/// Ends the names of small content on its way.
pub(super) const TEMPORARY_SUFFIX: &str = ".tmp";
/// What a published file has if nothing else is asked for; the umask takes its part.
pub(super) const NEW_FILE: Mode = Mode::from_bits_truncate(0o666);
/// Readable by the owner alone.
pub(super) const PRIVATE_FILE: Mode = Mode::from_bits_truncate(0o600);
const PRIVATE: Mode = Mode::RWXU;
const TRIES: u32 = 16;
