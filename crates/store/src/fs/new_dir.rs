//! A new directory, filled before it has its name (spec/store.md, "New directories").
//!
//! To name a file takes as long as to make it. A directory that nobody has seen yet takes its files under their own names, and one
//! renaming names them all: 100,000 files of 4 KiB in 1,000 directories are made and named in 1.5 s, one by one in 2.4 s
//! (two threads, ext4).

use std::ffi::CStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Access, AtFlags, IFlags, Mode, RenameFlags};
use rustix::io::Errno;
use sft_base::EntryPath;

use super::beneath::{self, Beneath, FileId, Place};
use super::errors;
use super::flush::Flusher;
use super::publish::{self, Hidden};
use super::small::Dress;
use super::stage_dir::{self, Opened, StageDir};
use crate::{Attributes, NewDir, Publish, Staged, StoreError, Unapplied, reserved};

/// What it takes to make new directories.
#[derive(Clone, Debug)]
pub(super) struct Nursery {
    pub(super) beneath: Arc<Beneath>,
    pub(super) stages: Arc<StageDir>,
    pub(super) flusher: Arc<Flusher>,
}

/// A directory of the stage directory that is to become `to`.
///
/// It holds no descriptor, because as many are under way as the window of a transfer has room for.
#[derive(Debug)]
struct FsNewDir {
    nursery: Nursery,
    opened: Arc<Opened>,
    name: String,
    to: EntryPath,
    state: Mutex<State>,
    /// One thread at a time makes a file in it: the kernel would have the others spin.
    making: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Made in it or being made, and neither taken out nor removed.
    files: usize,
    stage: Way,
    /// Something is in it that should not be.
    is_spoilt: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    /// It takes files.
    #[default]
    Open,
    /// It takes none any more; whether all that was made in it is to be published with it.
    Closed { whole: bool },
    /// It is what has the name.
    Named,
}

/// A file of a new directory, which disappears unless it, or the directory, is given a name.
#[derive(Debug)]
pub(super) struct Nestling {
    dir: Arc<FsNewDir>,
    name: Vec<u8>,
    is_there: bool,
    dress: Option<Dress>,
}

impl Nursery {
    /// A new directory that will become `to`; none where it could not be what one made there would be.
    pub(super) fn begin(&self, to: &EntryPath) -> Option<Arc<dyn NewDir>> {
        let place = self.beneath.to_write(to).ok()?;
        let found = rustix::fs::statat(&place.dir, place.name, AtFlags::SYMLINK_NOFOLLOW);
        if !matches!(found, Err(Errno::NOENT)) || !self.could_be_made_at(&place).unwrap_or(false) {
            return None;
        }
        let made = self.make(to).ok()?;
        hands_nothing_down(made.opened.stage()).unwrap_or(false).then_some(made as _)
    }

    fn make(&self, to: &EntryPath) -> Result<Arc<FsNewDir>, StoreError> {
        let name = self.stages.new_dir_name();
        let opened = self.stages.using(0, "beginning a directory", |opened| {
            rustix::fs::mkdirat(opened.stage(), name.as_str(), Mode::RWXU)?;
            Ok(opened.clone())
        })?;
        let (nursery, to) = (self.clone(), to.clone());
        Ok(Arc::new(FsNewDir {
            nursery,
            opened,
            name,
            to,
            state: Mutex::default(),
            making: Mutex::default(),
        }))
    }

    /// Whether a plain directory that is moved to `place` is like one that was made there, and can be made there.
    fn could_be_made_at(&self, place: &Place<'_>) -> Result<bool, Errno> {
        if FileId::of(&place.dir)?.device != self.beneath.id().device {
            return Ok(false);
        }
        rustix::fs::accessat(&place.dir, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?;
        hands_nothing_down(&place.dir)
    }
}

/// Whether what is made in a directory gets nothing from it: no group, no access control list, no flags.
fn hands_nothing_down(dir: impl AsFd) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(&dir)?;
    // Some file systems hand the group down without the bit.
    let own_group = stat.st_gid == rustix::process::getegid().as_raw();
    if stat.st_mode & Mode::SGID.as_raw_mode() != 0 || !own_group {
        return Ok(false);
    }
    let dir = beneath::open_dir(&dir, b".")?;
    Ok(!has_list_to_inherit(&dir)? && !has_flags_to_inherit(&dir)?)
}

fn has_list_to_inherit(dir: &OwnedFd) -> Result<bool, Errno> {
    for name in ACCESS_LISTS {
        match rustix::fs::fgetxattr(dir, name, &mut [0_u8; 0][..]) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno),
        }
    }
    Ok(false)
}

fn has_flags_to_inherit(dir: &OwnedFd) -> Result<bool, Errno> {
    match rustix::fs::ioctl_getflags(dir) {
        Ok(flags) => Ok(flags.intersects(INHERITED)),
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => Ok(false),
        Err(errno) => Err(errno),
    }
}

impl NewDir for FsNewDir {
    fn stage_small(
        self: Arc<Self>,
        name: &[u8],
        content: &[u8],
        attributes: &Attributes,
    ) -> Result<Option<Staged>, StoreError> {
        if reserved::is_crossing(name) || !self.enter() {
            return Ok(None);
        }
        match self.make_file(name, content, attributes) {
            Ok(dress) => {
                let file = Nestling { dir: self, name: name.to_vec(), is_there: true, dress: Some(dress) };
                Ok(Some(Staged::new(content.len() as u64, file)))
            }
            Err(errno) => {
                self.lock().files -= 1;
                match errno {
                    // The store says what is wrong with a name when it is given.
                    Errno::EXIST | Errno::INVAL | Errno::NAMETOOLONG | Errno::ILSEQ => Ok(None),
                    // Somebody took the directory away, and it will be made at its name.
                    Errno::NOENT => Ok(None),
                    _ => Err(errors::staging(
                        self.opened.stage(),
                        content.len() as u64,
                        "staging a file",
                        errno,
                    )),
                }
            }
        }
    }

    fn new_dir(&self, to: &EntryPath) -> Result<Arc<dyn NewDir>, StoreError> {
        reserved::check_below_root(to)?;
        Ok(self.nursery.make(to)?)
    }

    fn close(&self, files: usize) {
        let mut state = self.lock();
        if state.stage == Way::Open {
            state.stage = Way::Closed { whole: state.files == files && !state.is_spoilt };
        }
    }

    fn publish(&self) -> Result<(), StoreError> {
        let place = self.nursery.beneath.to_write(&self.to)?;
        // What it will be in may be another one than was looked at, or have changed since.
        let is_named = self.lock().stage == Way::Closed { whole: true }
            && self.nursery.could_be_made_at(&place).unwrap_or(false)
            && rustix::fs::renameat_with(
                self.opened.stage(),
                self.name.as_str(),
                &place.dir,
                place.name,
                RenameFlags::NOREPLACE,
            )
            .is_ok();
        if is_named {
            self.lock().stage = Way::Named;
        } else {
            self.close(usize::MAX);
            rustix::fs::mkdirat(&place.dir, place.name, Mode::RWXU)
                .map_err(|errno| errors::naming(&self.to, errno))?;
        }
        self.nursery.flusher.touched(&place.dir);
        Ok(())
    }
}

impl FsNewDir {
    /// Counts a file that is about to be made; whether one may be.
    fn enter(&self) -> bool {
        let mut state = self.lock();
        let is_open = state.stage == Way::Open;
        state.files += usize::from(is_open);
        is_open
    }

    fn make_file(&self, name: &[u8], content: &[u8], attributes: &Attributes) -> Result<Dress, Errno> {
        let path = self.path_of(name);
        let making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let file = stage_dir::create_new(self.opened.stage(), path.as_slice(), Dress::mode(attributes))?;
        drop(making);
        Dress::fill(&file, content, attributes).inspect_err(|_| self.remove(&path))
    }

    fn remove(&self, path: &[u8]) {
        let removed = rustix::fs::unlinkat(self.opened.stage(), path, AtFlags::empty());
        self.lock().is_spoilt |= removed.is_err();
    }

    /// From the stage directory.
    fn path_of(&self, name: &[u8]) -> Vec<u8> {
        [self.name.as_bytes(), b"/", name].concat()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FsNewDir {
    fn drop(&mut self) {
        if self.lock().stage != Way::Named {
            let _ = rustix::fs::unlinkat(self.opened.stage(), self.name.as_str(), AtFlags::REMOVEDIR);
        }
    }
}

impl Nestling {
    /// Makes it the entry `to`. There is nothing left to do if its directory has its name.
    pub(super) fn publish(
        mut self,
        to: &EntryPath,
        how: Publish,
        attributes: &Attributes,
    ) -> Result<Vec<Unapplied>, StoreError> {
        let path = self.dir.path_of(&self.name);
        let is_as_asked = self.dress.as_ref().is_some_and(|dress| dress.is(attributes));
        let is_named = self.dir.lock().stage == Way::Named;
        let dress = |made: Option<Dress>| {
            made.map_or_else(Vec::new, |dress| dress.change(self.dir.opened.stage(), &path, attributes))
        };
        if is_named && is_as_asked && self.is_to_be(to) {
            self.is_there = false;
            return Ok(dress(self.dress.take()));
        }
        if is_named {
            return Err(StoreError::Corrupt { what: "it has another name already" });
        }
        let place = self.dir.nursery.beneath.to_write(to)?;
        let unapplied = dress(self.dress.take());
        let from = Hidden { dir: self.dir.opened.stage(), name: &path };
        publish::name_it(&from, &place, to, how)?;
        self.is_there = false;
        self.dir.lock().files -= 1;
        self.dir.nursery.flusher.touched(&place.dir);
        Ok(unapplied)
    }

    fn is_to_be(&self, to: &EntryPath) -> bool {
        let dir = self.dir.to.as_bytes();
        let rest = to.as_bytes().strip_prefix(dir).and_then(|rest| rest.strip_prefix(b"/"));
        rest == Some(self.name.as_slice())
    }
}

impl Drop for Nestling {
    fn drop(&mut self) {
        // Once the directory has its name, what is in it may be somebody else's.
        if self.is_there && self.dir.lock().stage != Way::Named {
            self.dir.remove(&self.dir.path_of(&self.name));
            self.dir.lock().files -= 1;
        }
    }
}

/// Lists of who may do what, of which new directories may get their own: those of Linux itself, and of what is served by NFS and SMB.
const ACCESS_LISTS: [&CStr; 4] =
    [c"system.posix_acl_default", c"system.nfs4_acl", c"system.nfs4_acl_xdr", c"system.cifs_acl"];
/// What the file systems of Linux hand down to a new directory (`ioctl_iflags(2)`); those without a name here are
/// `FS_NOCOMP_FL`, `FS_DAX_FL` and `FS_CASEFOLD_FL`.
const INHERITED: IFlags = IFlags::COMPRESSED
    .union(IFlags::DIRSYNC)
    .union(IFlags::JOURNALING)
    .union(IFlags::NOATIME)
    .union(IFlags::NOCOW)
    .union(IFlags::NODUMP)
    .union(IFlags::PROJECT_INHERIT)
    .union(IFlags::SYNC)
    .union(IFlags::from_bits_retain(0x4200_0400));
