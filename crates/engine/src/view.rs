//! A view: a store seen through a grant. The only way any door, and either end of a transfer, reaches a file.
//!
//! Which right an operation takes stands in the methods below, one line each, and nowhere else.

use std::sync::Arc;

use sft_auth::{Grant, Right};
use sft_base::{Digest, EntryPath, Kind, Verified};
use sft_store::{
    Attributes, Listing, NewDir, Publish, Source, Space, Stage, StageKey, Staged, Stat, Store, StoreError,
    Unapplied,
};
use sft_wire::{Code, WireError};

use crate::OpenFile;
use crate::error::{naming_error, reading_error, source_error, staging_error, wire_error};
use crate::written::Written;

/// A store, and what one identity may do in it.
#[derive(Clone)]
pub struct View {
    store: Arc<dyn Store>,
    grant: Arc<Grant>,
}

/// What an operation of a view fails with: what the peer is told.
type Outcome<T> = Result<T, WireError>;

impl View {
    /// Joins a store to a grant.
    ///
    /// Whoever was given a part of the tree reads through no link: it could lead to where nothing was given, and they may
    /// have made it themselves.
    pub fn new(store: Arc<dyn Store>, grant: Arc<Grant>) -> Self {
        let has_whole = grant.scopes().iter().all(|scope| scope.path.is_root());
        let store = if has_whole { store } else { store.without_links() };
        Self { store, grant }
    }

    /// Whose view it is.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// What is known of an entry; a link is not followed.
    pub fn stat(&self, path: &EntryPath) -> Outcome<Stat> {
        self.check(Right::List, path)?;
        self.store.stat(path).map_err(|e| wire_error(&e))
    }

    /// What is known of each of several entries.
    pub(crate) fn stat_each(&self, paths: &[EntryPath]) -> Vec<Outcome<Stat>> {
        let found = self.store.stat_each(paths).into_iter().zip(paths);
        found
            .map(|(stat, path)| {
                self.check(Right::List, path)?;
                stat.map_err(|e| wire_error(&e))
            })
            .collect()
    }

    /// A directory, to be read in batches.
    pub fn list(&self, path: &EntryPath) -> Outcome<Box<dyn Listing>> {
        self.check(Right::List, path)?;
        self.store.list(path).map_err(|e| reading_error(&e))
    }

    /// A file's content.
    pub fn open(&self, path: &EntryPath) -> Outcome<Box<dyn Source>> {
        self.check(Right::Read, path)?;
        self.store.open(path).map_err(|e| source_error(&e))
    }

    /// The contents of several files, each handed over before the next is opened.
    pub(crate) fn open_each(&self, paths: &[EntryPath], mut each: impl FnMut(Outcome<Box<dyn Source>>)) {
        // One that may not be read must not be opened.
        if paths.iter().all(|path| self.check(Right::Read, path).is_ok()) {
            self.store.open_each(paths, &mut |opened| each(opened.map_err(|e| source_error(&e))));
        } else {
            paths.iter().for_each(|path| each(self.open(path)));
        }
    }

    /// Whether this is a clone of the other.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.store, &other.store) && Arc::ptr_eq(&self.grant, &other.grant)
    }

    /// The target of a link.
    pub fn read_link(&self, path: &EntryPath) -> Outcome<Vec<u8>> {
        self.check(Right::Read, path)?;
        self.store.read_link(path).map_err(|e| source_error(&e))
    }

    /// The digest of a file's content, and whether the file stayed the same while it was read.
    pub fn hash(&self, path: &EntryPath) -> Outcome<Digest> {
        let source = self.open(path)?;
        crate::read::digest(&*source, path)
    }

    /// Makes a directory.
    pub fn make_dir(&self, path: &EntryPath, mode: u32) -> Outcome<()> {
        self.check(Right::Create, path)?;
        self.store.make_dir(path, mode).map_err(|e| naming_error(&e, path))
    }

    /// Makes a directory and those missing above it; true if anything was made.
    pub fn make_dirs(&self, path: &EntryPath, mode: u32) -> Outcome<bool> {
        match self.make_dir(path, mode) {
            Ok(()) => Ok(true),
            Err(error) if error.code == Code::ALREADY_EXISTS => match self.stat(path)?.meta.kind {
                Kind::Dir => Ok(false),
                _ => Err(error),
            },
            Err(error) if error.code == Code::NOT_FOUND => {
                let Some(parent) = path.parent() else { return Err(error) };
                self.make_dirs(&parent, mode)?;
                self.make_dir(path, mode).map(|()| true)
            }
            Err(error) => Err(error),
        }
    }

    /// Removes an entry, or with `recursive` all below it too; how many went.
    pub fn remove(&self, path: &EntryPath, recursive: bool) -> Outcome<u64> {
        self.check(Right::Remove, path)?;
        if recursive {
            return self.store.remove_tree(path).map_err(|e| wire_error(&e));
        }
        self.store.remove(path).map(|()| 1).map_err(|e| wire_error(&e))
    }

    /// Gives an entry another name.
    pub fn rename(&self, from: &EntryPath, to: &EntryPath, replace: bool) -> Outcome<()> {
        self.check(Right::Remove, from)?;
        self.check(Right::Create, to)?;
        if replace {
            self.check(Right::Replace, to)?;
        }
        self.store.rename(from, to, replace).map_err(|e| wire_error(&e))
    }

    /// Sets attributes of an entry that is there.
    pub fn set_attributes(&self, path: &EntryPath, attributes: &Attributes) -> Outcome<Vec<Unapplied>> {
        self.check(Right::Replace, path)?;
        self.store.set_attributes(path, attributes).map_err(|e| wire_error(&e))
    }

    /// Sets attributes of a directory that this transfer made or found: no more than creating it would have done.
    pub(crate) fn dress_dir(&self, path: &EntryPath, attributes: &Attributes) -> Outcome<Vec<Unapplied>> {
        self.check(Right::Create, path)?;
        self.store.set_attributes(path, attributes).map_err(|e| wire_error(&e))
    }

    /// Room in the store.
    pub fn space(&self) -> Outcome<Space> {
        self.check(Right::List, &EntryPath::root())?;
        self.store.space().map_err(|e| wire_error(&e))
    }

    /// A file that is there, to be changed in place.
    pub fn open_in_place(&self, path: &EntryPath) -> Outcome<OpenFile> {
        self.check(Right::Replace, path)?;
        let file = self.store.open_in_place(path).map_err(|e| reading_error(&e))?;
        Ok(OpenFile::in_place(file, self.clone(), path.clone()))
    }

    /// A file that is to become `path` when it is complete. `mode` is narrowed by the process's umask.
    ///
    /// With `exclusive` nothing may be there by then; nor may it for someone who may not replace.
    pub fn draft(&self, path: &EntryPath, mode: u32, exclusive: bool) -> Outcome<OpenFile> {
        let how = if exclusive || !self.may_replace(path) { Publish::CreateOnly } else { Publish::Replace };
        let there = !exclusive && self.store.stat(path).is_ok();
        self.may_publish(path, there)?;
        // A draft has no place; whether there is one for it is better said now than when all of its content has come.
        if let Err(error @ StoreError::ThroughLink { .. }) = self.store.open_in_place(path) {
            return Err(naming_error(&error, path));
        }
        let file = self.store.draft(mode).map_err(|e| staging_error(&e))?;
        Ok(OpenFile::draft(file.into(), self.clone(), path.clone(), how, Written::default()))
    }

    /// A file that is to replace the one at `path`, and shows what that one has wherever nothing else is written.
    ///
    /// For those alone who may read that one: what a draft holds is read, renamed and published as its writer's own.
    pub fn draft_over(&self, path: &EntryPath) -> Outcome<OpenFile> {
        self.check(Right::Replace, path)?;
        self.check(Right::Read, path)?;
        let old = self.store.open(path).map_err(|e| reading_error(&e))?;
        let written = Written::over(old).map_err(|e| wire_error(&e))?;
        let file = self.store.draft(0o600).map_err(|e| staging_error(&e))?;
        Ok(OpenFile::draft(file.into(), self.clone(), path.clone(), Publish::Replace, written))
    }

    /// A draft that has come so far before.
    pub(crate) fn resumed_draft(
        &self,
        file: Arc<dyn sft_store::OpenFile>,
        path: &EntryPath,
        size: u64,
    ) -> OpenFile {
        let how = if self.may_replace(path) { Publish::Replace } else { Publish::CreateOnly };
        OpenFile::draft(file, self.clone(), path.clone(), how, Written::up_to(size))
    }

    /// Whether anything is at a path, for our own decisions: nobody is told.
    pub(crate) fn has_something(&self, path: &EntryPath) -> bool {
        self.store.stat(path).is_ok()
    }

    /// A draft becomes what it was begun for.
    pub(crate) fn publish_draft(
        &self,
        draft: &dyn sft_store::OpenFile,
        to: &EntryPath,
        how: Publish,
    ) -> Outcome<()> {
        self.check(if how == Publish::CreateOnly { Right::Create } else { Right::Replace }, to)?;
        self.store.publish_draft(draft, to, how).map_err(|e| naming_error(&e, to))
    }

    /// Gives a file a second name. Whoever has that one can change what the first one shows.
    pub fn link(&self, from: &EntryPath, to: &EntryPath) -> Outcome<()> {
        self.check(Right::Read, from)?;
        self.check(Right::Replace, from)?;
        self.check(Right::Create, to)?;
        self.store.link(from, to).map_err(|e| naming_error(&e, to))
    }

    /// Makes a symbolic link where nothing is.
    pub fn make_link(&self, target: &[u8], path: &EntryPath) -> Outcome<()> {
        self.publish_link(target, path, Publish::CreateOnly, &Attributes::default()).map(|_| ())
    }

    /// Whether the content of an entry may be read.
    pub(crate) fn may_read(&self, path: &EntryPath) -> Outcome<()> {
        self.check(Right::Read, path)
    }

    /// Whether content may be put at a path, given that something is `there` or not.
    pub(crate) fn may_publish(&self, path: &EntryPath, there: bool) -> Outcome<()> {
        self.check(if there { Right::Replace } else { Right::Create }, path)
    }

    pub(crate) fn stage_small(&self, content: &[u8], attributes: &Attributes) -> Result<Staged, StoreError> {
        self.store.stage_small(content, attributes)
    }

    /// A directory that is filled before it has its name; `within` is the one it will be in, if that has no name yet either.
    pub(crate) fn new_dir(
        &self,
        to: &EntryPath,
        within: Option<&dyn NewDir>,
    ) -> Outcome<Option<Arc<dyn NewDir>>> {
        self.check(Right::Create, to)?;
        match within {
            Some(dir) => dir.new_dir(to).map(Some).map_err(|e| staging_error(&e)),
            // Making it at its name tells what is wrong.
            None => Ok(self.store.new_dir(to)),
        }
    }

    /// Names such a directory; false where somebody else made one meanwhile, which will do.
    pub(crate) fn publish_dir(&self, dir: &dyn NewDir, to: &EntryPath) -> Outcome<bool> {
        self.check(Right::Create, to)?;
        match dir.publish() {
            Ok(()) => Ok(true),
            Err(error) => match self.store.stat(to) {
                Ok(there) if there.meta.kind == Kind::Dir => Ok(false),
                _ => Err(naming_error(&error, to)),
            },
        }
    }

    pub(crate) fn stage(
        &self,
        key: &StageKey,
        size: u64,
        occupied: u64,
    ) -> Result<Box<dyn Stage>, StoreError> {
        self.store.stage_sparse(key, size, occupied)
    }

    pub(crate) fn publish(
        &self,
        staged: Staged,
        verified: Verified,
        to: &EntryPath,
        how: Publish,
        attributes: &Attributes,
    ) -> Outcome<Vec<Unapplied>> {
        self.check(if how == Publish::CreateOnly { Right::Create } else { Right::Replace }, to)?;
        self.store.publish(staged, verified, to, how, attributes).map_err(|e| naming_error(&e, to))
    }

    pub(crate) fn publish_link(
        &self,
        target: &[u8],
        to: &EntryPath,
        how: Publish,
        attributes: &Attributes,
    ) -> Outcome<Vec<Unapplied>> {
        self.check(if how == Publish::CreateOnly { Right::Create } else { Right::Replace }, to)?;
        self.store.publish_link(target, to, how, attributes).map_err(|e| naming_error(&e, to))
    }

    pub(crate) fn flush(&self) -> Outcome<()> {
        self.store.flush().map_err(|e| wire_error(&e))
    }

    /// Whether this identity has a right at all: what a publication may do when nothing is in the way.
    pub(crate) fn may_replace(&self, path: &EntryPath) -> bool {
        self.grant.allows(Right::Replace, path).is_ok()
    }

    fn check(&self, right: Right, path: &EntryPath) -> Outcome<()> {
        self.grant.allows(right, path).map_err(|refused| Code::DENIED.because(refused.to_string()))
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("grant", &self.grant).finish_non_exhaustive()
    }
}
