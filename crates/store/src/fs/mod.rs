//! A directory as a store, on Linux (spec/store.md, "A directory as a store").
//!
//! It resolves no path string after the root was opened, follows no link where it writes, and flushes nothing but when
//! asked to. [`beneath`] finds entries; [`stage_dir`], [`small`],
//! [`new_dir`] and [`large`] take content; [`publish`] gives it a name.

mod attributes;
mod beneath;
mod direct;
mod errors;
mod expire;
mod flush;
mod large;
mod new_dir;
mod open_file;
mod publish;
mod reading;
mod remove;
mod small;
mod stage_dir;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, RenameFlags};
use rustix::io::Errno;
use sft_base::{EntryPath, Verified};

use self::beneath::{Beneath, Place};
use self::flush::Flusher;
use self::large::{Files, Large, LargeStage};
use self::new_dir::{Nestling, Nursery};
use self::publish::Hidden;
use self::small::Temporary;
use self::stage_dir::StageDir;
use crate::claims::Claims;
use crate::{
    Attributes, Listing, NewDir, OpenFile, Publish, Source, Space, Stage, StageKey, Staged, Stat, Store,
    StoreError, Unapplied,
};

/// A directory and all below it as a [`Store`].
///
/// A directory that is only read needs no right to write, and nothing is made in it. When it is dropped, with all that was
/// staged in it, it takes its own directory away again if that is empty.
#[derive(Debug)]
pub struct FsStore {
    beneath: Arc<Beneath>,
    stages: Arc<StageDir>,
    claims: Arc<Claims<Large>>,
    flusher: Arc<Flusher>,
}

impl FsStore {
    /// Holds the directory at `root`. What the path leads to later does not matter.
    ///
    /// - Errors: as the system tells them; the path in them is that of the root of the store.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let open = || {
            let beneath = Arc::new(Beneath::open(root)?);
            let stages = Arc::new(StageDir::new(beneath.clone())?);
            let flusher = Arc::new(Flusher::new(beneath.clone()));
            Ok(Self { beneath, stages, claims: Claims::new(), flusher })
        };
        open().map_err(|errno| errors::at(&EntryPath::root(), "opening the root", errno))
    }

    fn publish_small(
        &self,
        mut content: Temporary,
        to: &EntryPath,
        how: Publish,
        attributes: &Attributes,
    ) -> Result<Vec<Unapplied>, StoreError> {
        let place = self.beneath.to_write(to)?;
        let unapplied = content.dress(attributes);
        let from = Hidden { dir: content.dir(), name: content.name().as_bytes() };
        publish::name_it(&from, &place, to, how)?;
        content.is_there = false;
        self.flusher.touched(&place.dir);
        Ok(unapplied)
    }

    fn publish_large(
        &self,
        stage: &LargeStage,
        verified: &Verified,
        to: &EntryPath,
        how: Publish,
        attributes: &Attributes,
    ) -> Result<Vec<Unapplied>, StoreError> {
        let place = self.beneath.to_write(to)?;
        stage.claim.use_up(|large| {
            let Large::Complete(complete) = large else {
                return Err(StoreError::Corrupt { what: "it was not finished" });
            };
            complete.publish(verified, |dir, name| {
                let unapplied = attributes::set_on_own(dir.stage(), name.as_bytes(), attributes);
                publish::name_it(&Hidden { dir: dir.stage(), name: name.as_bytes() }, &place, to, how)?;
                self.flusher.touched(&place.dir);
                Ok(unapplied)
            })
        })
    }

    fn rename_places(&self, from: &Place<'_>, to: &Place<'_>, replace: bool) -> Result<(), Errno> {
        let flags = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        rustix::fs::renameat_with(&from.dir, from.name, &to.dir, to.name, flags)
    }
}

impl Store for FsStore {
    fn without_links(&self) -> Arc<dyn Store> {
        Arc::new(Self {
            beneath: Arc::new(self.beneath.without_links()),
            stages: self.stages.clone(),
            claims: self.claims.clone(),
            flusher: self.flusher.clone(),
        })
    }

    fn stat(&self, path: &EntryPath) -> Result<Stat, StoreError> {
        reading::stat(&self.beneath, path)
    }

    fn stat_each(&self, paths: &[EntryPath]) -> Vec<Result<Stat, StoreError>> {
        reading::stat_each(&self.beneath, paths)
    }

    fn list(&self, path: &EntryPath) -> Result<Box<dyn Listing>, StoreError> {
        Ok(Box::new(reading::list(&self.beneath, path)?))
    }

    fn open(&self, path: &EntryPath) -> Result<Box<dyn Source>, StoreError> {
        Ok(Box::new(reading::open(&self.beneath, path)?))
    }

    fn open_each(&self, paths: &[EntryPath], each: &mut dyn FnMut(Result<Box<dyn Source>, StoreError>)) {
        reading::open_each(&self.beneath, paths, |file| each(file.map(|file| Box::new(file) as _)));
    }

    fn read_link(&self, path: &EntryPath) -> Result<Vec<u8>, StoreError> {
        reading::read_link(&self.beneath, path)
    }

    fn make_dir(&self, path: &EntryPath, mode: u32) -> Result<(), StoreError> {
        if path.is_root() {
            return Err(StoreError::AlreadyExists { path: path.clone() });
        }
        let place = self.beneath.to_write(path)?;
        rustix::fs::mkdirat(&place.dir, place.name, Mode::from_raw_mode(mode & 0o7777))
            .map_err(|errno| errors::naming(path, errno))?;
        self.flusher.touched(&place.dir);
        Ok(())
    }

    fn remove(&self, path: &EntryPath) -> Result<(), StoreError> {
        let place = self.beneath.to_write(path)?;
        remove::remove(&place, path)?;
        self.flusher.touched(&place.dir);
        Ok(())
    }

    fn remove_tree(&self, path: &EntryPath) -> Result<u64, StoreError> {
        let place = self.beneath.to_write(path)?;
        let removed = remove::remove_tree(&place, path);
        self.flusher.touched(&place.dir);
        removed
    }

    fn rename(&self, from: &EntryPath, to: &EntryPath, replace: bool) -> Result<(), StoreError> {
        let (old, new) = (self.beneath.to_write(from)?, self.beneath.to_write(to)?);
        let renamed = self.rename_places(&old, &new, replace);
        self.flusher.touched(&old.dir);
        self.flusher.touched(&new.dir);
        renamed.map_err(|errno| match errno {
            Errno::INVAL if to != from && to.starts_with(from) => StoreError::IntoItself { path: to.clone() },
            Errno::XDEV => StoreError::OtherFileSystem { path: to.clone() },
            Errno::NOENT => StoreError::NotFound { path: from.clone() },
            errno => errors::naming(to, errno),
        })
    }

    fn set_attributes(
        &self,
        path: &EntryPath,
        attributes: &Attributes,
    ) -> Result<Vec<Unapplied>, StoreError> {
        if path.is_root() {
            return Ok(attributes::set_on_file(self.beneath.root(), attributes));
        }
        let place = self.beneath.to_write(path)?;
        let unapplied = attributes::set(&place, path, attributes)?;
        self.flusher.touched(&place.dir);
        Ok(unapplied)
    }

    fn space(&self) -> Result<Space, StoreError> {
        let space = rustix::fs::fstatvfs(self.beneath.root())
            .map_err(|errno| errors::own("asking for the space left", errno))?;
        Ok(Space {
            total: space.f_blocks.saturating_mul(space.f_frsize),
            available: space.f_bavail.saturating_mul(space.f_frsize),
            // File systems without a bound tell none at all.
            files_available: (space.f_files > 0).then_some(space.f_favail),
        })
    }

    fn stage_small(&self, content: &[u8], attributes: &Attributes) -> Result<Staged, StoreError> {
        Ok(Staged::new(content.len() as u64, Temporary::file(&self.stages, content, attributes)?))
    }

    fn new_dir(&self, to: &EntryPath) -> Option<Arc<dyn NewDir>> {
        let (beneath, stages, flusher) = (self.beneath.clone(), self.stages.clone(), self.flusher.clone());
        Nursery { beneath, stages, flusher }.begin(to)
    }

    fn stage_sparse(&self, key: &StageKey, size: u64, occupied: u64) -> Result<Box<dyn Stage>, StoreError> {
        let claim = self.claims.claim(*key, |taken| match taken {
            Some(Large::Open(files)) if files.is_usable(size) => Ok(Large::Open(files)),
            taken => {
                // Its lock would keep the stage from being opened again.
                drop(taken);
                Files::open(&self.stages, *key, size, occupied).map(Large::Open)
            }
        })?;
        Ok(Box::new(LargeStage { claim, size }))
    }

    fn publish(
        &self,
        staged: Staged,
        verified: Verified,
        to: &EntryPath,
        how: Publish,
        attributes: &Attributes,
    ) -> Result<Vec<Unapplied>, StoreError> {
        if verified.size() != staged.size() {
            return Err(StoreError::Corrupt { what: "it has another size than what was verified" });
        }
        let staged = match staged.into_held::<Temporary>() {
            Ok(content) => return self.publish_small(content, to, how, attributes),
            Err(staged) => staged,
        };
        let staged = match staged.into_held::<Nestling>() {
            Ok(content) => return content.publish(to, how, attributes),
            Err(staged) => staged,
        };
        match staged.into_held::<LargeStage>() {
            Ok(stage) => self.publish_large(&stage, &verified, to, how, attributes),
            Err(_) => Err(StoreError::Corrupt { what: "another store has it" }),
        }
    }

    fn publish_link(
        &self,
        target: &[u8],
        to: &EntryPath,
        how: Publish,
        attributes: &Attributes,
    ) -> Result<Vec<Unapplied>, StoreError> {
        if target.is_empty() || target.len() > LINK_BYTES_MAX || target.contains(&0) {
            return Err(StoreError::NameNotAllowed { path: to.clone() });
        }
        // Looked for before anything is made, so that a refused path leaves no trace.
        self.beneath.to_write(to)?;
        let link = Temporary::link(&self.stages, target)?;
        self.publish_small(link, to, how, &Attributes { mode: None, ..*attributes })
    }

    fn open_in_place(&self, path: &EntryPath) -> Result<Box<dyn OpenFile>, StoreError> {
        Ok(Box::new(open_file::open_in_place(&self.beneath, path)?))
    }

    fn draft(&self, mode: u32) -> Result<Box<dyn OpenFile>, StoreError> {
        Ok(Box::new(open_file::draft(&self.stages, mode)?))
    }

    fn publish_draft(&self, draft: &dyn OpenFile, to: &EntryPath, how: Publish) -> Result<(), StoreError> {
        let place = self.beneath.to_write(to)?;
        open_file::publish_draft(draft, &place, to, how)?;
        self.flusher.touched(&place.dir);
        Ok(())
    }

    fn link(&self, from: &EntryPath, to: &EntryPath) -> Result<(), StoreError> {
        let (old, new) = (self.beneath.to_write(from)?, self.beneath.to_write(to)?);
        open_file::link(&old, from, &new, to)?;
        self.flusher.touched(&new.dir);
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.flusher.flush()
    }

    fn expire_stages(&self, older_than: Duration) -> Result<u64, StoreError> {
        expire::expire(&self.beneath, &self.stages, older_than)
    }
}

/// The longest target that Linux takes.
const LINK_BYTES_MAX: usize = 4095;
