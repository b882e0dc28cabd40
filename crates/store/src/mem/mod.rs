//! A store in memory, for tests and simulations: it behaves as a directory does, and can lose what was not flushed.
//!
//! Nothing of it outlives the process. A flush copies the table of all entries, so it is not for millions of them.

mod large;
mod open_file;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sft_base::{Digest, EntryPath, Kind, Name, Verified};

use self::large::{MemStage, OpenPart};
use self::open_file::MemOpenFile;
use self::world::{Body, Content, Place, ROOT, World};
use crate::claims::Claims;
use crate::{
    Attributes, Listing, OpenFile, Publish, Source, Space, Stage, StageKey, Staged, Stat, Store, StoreError,
    Unapplied, reserved,
};

/// A [`Store`] in memory. Clones are the same store.
#[derive(Clone, Debug)]
pub struct MemStore {
    shared: Arc<Shared>,
    claims: Arc<Claims<OpenPart>>,
    /// Whether what only reads follows links among the parents.
    follows_links: bool,
}

#[derive(Debug)]
struct Shared(Mutex<State>);

#[derive(Debug)]
struct State {
    now: World,
    /// As it was at the last flush.
    durable: World,
    flushes: u64,
    capacity: u64,
}

/// Small content without a name.
#[derive(Debug)]
struct Small(Content);

struct MemListing {
    shared: Arc<Shared>,
    rest: std::vec::IntoIter<(Name, u64)>,
}

struct MemSource {
    shared: Arc<Shared>,
    number: u64,
    /// What it last was, for when its name is gone.
    opened: (Stat, Content),
}

impl MemStore {
    /// An empty store with room for a tebibyte.
    pub fn new() -> Self {
        Self::with_capacity(1 << 40)
    }

    /// An empty store with room for `capacity` bytes of content.
    pub fn with_capacity(capacity: u64) -> Self {
        let world = World::new();
        let state = State { durable: world.clone(), now: world, flushes: 0, capacity };
        Self { shared: Arc::new(Shared(Mutex::new(state))), claims: Claims::new(), follows_links: true }
    }

    /// Ends the world and brings back what the last flush had made durable, nothing more. OpenPart stages are superseded.
    pub fn crash(&self) {
        self.claims.end_all();
        let mut state = self.shared.locked();
        state.now = state.durable.clone();
    }

    /// Ends the world as the worst file system would: every name given so far is kept, and content that no flush
    /// followed is zeros. It shows whether a caller flushes content before it publishes.
    pub fn crash_keeping_names(&self) {
        self.claims.end_all();
        let mut state = self.shared.locked();
        let flushes = state.flushes;
        state.now.lose_content(flushes);
        state.durable = state.now.clone();
    }

    /// Exchanges the content of a file in place, as a program does that writes to it while it is read.
    pub fn overwrite(&self, path: &EntryPath, content: &[u8]) -> Result<(), StoreError> {
        let mut state = self.shared.locked();
        let number = state.now.find(path, self.follows_links)?;
        let content = state.content(content);
        state.now.overwrite(number, content);
        Ok(())
    }

    /// Makes a thing that is neither file, nor directory, nor link.
    pub fn make_special(&self, path: &EntryPath) -> Result<(), StoreError> {
        let mut state = self.shared.locked();
        let place = state.now.to_write(path)?;
        let number = state.now.make(Body::Special, 0o644);
        state.now.link(&place, number);
        Ok(())
    }

    /// Changes the bytes and the journal of a stage behind its back.
    #[cfg(test)]
    pub(crate) fn damage_stage(&self, key: &StageKey, damage: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>)) {
        let mut state = self.shared.locked();
        let part = state.now.parts.get_mut(key).expect("the test has made the stage");
        damage(Arc::make_mut(&mut part.content.bytes), Arc::make_mut(&mut part.journal));
    }

    fn give_name(
        &self,
        to: &EntryPath,
        how: Publish,
        body: impl FnOnce() -> Result<Body, StoreError>,
        attributes: &Attributes,
    ) -> Result<Vec<Unapplied>, StoreError> {
        let mut state = self.shared.locked();
        let place = state.now.to_write(to)?;
        check_target(&state.now, &place, to, how)?;
        let number = state.now.make(body()?, 0o644);
        state.now.set_attributes(number, attributes);
        if let Some(replaced) = state.now.link(&place, number) {
            state.now.forget(replaced);
        }
        Ok(Vec::new())
    }

    fn publish_large(
        &self,
        stage: &MemStage,
        to: &EntryPath,
        how: Publish,
        attributes: &Attributes,
    ) -> Result<Vec<Unapplied>, StoreError> {
        stage.claim.use_up(|open| {
            let content = open.content()?;
            let unapplied = self.give_name(to, how, || Ok(Body::File(content)), attributes)?;
            open.remove();
            Ok(unapplied)
        })
    }
}

impl Default for MemStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemStore {
    fn without_links(&self) -> Arc<dyn Store> {
        Arc::new(Self { follows_links: false, ..self.clone() })
    }

    fn stat(&self, path: &EntryPath) -> Result<Stat, StoreError> {
        let state = self.shared.locked();
        let number = state.now.find(path, self.follows_links)?;
        state.now.stat(number).ok_or_else(|| StoreError::NotFound { path: path.clone() })
    }

    fn list(&self, path: &EntryPath) -> Result<Box<dyn Listing>, StoreError> {
        let state = self.shared.locked();
        let number = state.now.find(path, self.follows_links)?;
        let names =
            state.now.names(number).ok_or_else(|| StoreError::NotADirectory { path: path.clone() })?;
        let listable = |name: &[u8]| reserved::listable(name, number == ROOT);
        let names: Vec<_> = names.iter().filter_map(|(name, &n)| Some((listable(name)?, n))).collect();
        Ok(Box::new(MemListing { shared: self.shared.clone(), rest: names.into_iter() }))
    }

    fn open(&self, path: &EntryPath) -> Result<Box<dyn Source>, StoreError> {
        let state = self.shared.locked();
        let number = state.now.find(path, self.follows_links)?;
        let opened = opened_file(&state.now, number, path)?;
        Ok(Box::new(MemSource { shared: self.shared.clone(), number, opened }))
    }

    fn read_link(&self, path: &EntryPath) -> Result<Vec<u8>, StoreError> {
        let state = self.shared.locked();
        let number = state.now.find(path, self.follows_links)?;
        match state.now.entry(number).map(|entry| &entry.body) {
            Some(Body::Link(target)) => Ok(target.to_vec()),
            _ => Err(StoreError::NotALink { path: path.clone() }),
        }
    }

    fn make_dir(&self, path: &EntryPath, mode: u32) -> Result<(), StoreError> {
        if path.is_root() {
            return Err(StoreError::AlreadyExists { path: path.clone() });
        }
        let mut state = self.shared.locked();
        let place = state.now.to_write(path)?;
        if state.now.at(&place).is_some() {
            return Err(StoreError::AlreadyExists { path: path.clone() });
        }
        let number = state.now.make(Body::Dir(BTreeMap::new()), mode & 0o7777);
        state.now.link(&place, number);
        Ok(())
    }

    fn remove(&self, path: &EntryPath) -> Result<(), StoreError> {
        let mut state = self.shared.locked();
        let place = state.now.to_write(path)?;
        let number = state.now.at(&place).ok_or_else(|| StoreError::NotFound { path: path.clone() })?;
        if state.now.names(number).is_some_and(|names| !names.is_empty()) {
            return Err(StoreError::DirectoryNotEmpty { path: path.clone() });
        }
        state.now.unlink(&place);
        state.now.forget(number);
        Ok(())
    }

    fn remove_tree(&self, path: &EntryPath) -> Result<u64, StoreError> {
        let mut state = self.shared.locked();
        let place = state.now.to_write(path)?;
        let number = state.now.unlink(&place).ok_or_else(|| StoreError::NotFound { path: path.clone() })?;
        Ok(state.now.forget(number))
    }

    fn rename(&self, from: &EntryPath, to: &EntryPath, replace: bool) -> Result<(), StoreError> {
        let mut state = self.shared.locked();
        let (old, new) = (state.now.to_write(from)?, state.now.to_write(to)?);
        let number = state.now.at(&old).ok_or_else(|| StoreError::NotFound { path: from.clone() })?;
        if let Some(there) = state.now.at(&new) {
            if !replace {
                return Err(StoreError::AlreadyExists { path: to.clone() });
            }
            if there == number {
                return Ok(());
            }
            check_rename_over(&state.now, number, there, to)?;
        }
        if to.starts_with(from) {
            return Err(StoreError::IntoItself { path: to.clone() });
        }
        state.now.unlink(&old);
        if let Some(replaced) = state.now.link(&new, number) {
            state.now.forget(replaced);
        }
        Ok(())
    }

    fn set_attributes(
        &self,
        path: &EntryPath,
        attributes: &Attributes,
    ) -> Result<Vec<Unapplied>, StoreError> {
        let mut state = self.shared.locked();
        let number = if path.is_root() {
            ROOT
        } else {
            let place = state.now.to_write(path)?;
            state.now.at(&place).ok_or_else(|| StoreError::NotFound { path: path.clone() })?
        };
        state.now.set_attributes(number, attributes);
        Ok(Vec::new())
    }

    fn space(&self) -> Result<Space, StoreError> {
        let state = self.shared.locked();
        Ok(Space { total: state.capacity, available: state.available(), files_available: None })
    }

    fn stage_small(&self, content: &[u8], _: &Attributes) -> Result<Staged, StoreError> {
        let state = self.shared.locked();
        let (needed, available) = (content.len() as u64, state.available());
        if needed > available {
            return Err(StoreError::NoSpace { needed, available });
        }
        Ok(Staged::new(needed, Small(state.content(content))))
    }

    fn stage_sparse(&self, key: &StageKey, size: u64, _: u64) -> Result<Box<dyn Stage>, StoreError> {
        let claim = self.claims.claim(*key, |taken| match taken {
            Some(open) if open.size == size && open.content().is_ok() => Ok(open),
            _ => OpenPart::open(&self.shared, *key, size),
        })?;
        Ok(Box::new(MemStage { claim, size }))
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
        let staged = match staged.into_held::<Small>() {
            Ok(Small(content)) => return self.give_name(to, how, || Ok(Body::File(content)), attributes),
            Err(staged) => staged,
        };
        match staged.into_held::<MemStage>() {
            Ok(stage) => self.publish_large(&stage, to, how, attributes),
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
        if target.is_empty() || target.len() > sft_base::limits::LINK_BYTES_MAX || target.contains(&0) {
            return Err(StoreError::NameNotAllowed { path: to.clone() });
        }
        self.give_name(to, how, || Ok(Body::Link(target.into())), attributes)
    }

    fn open_in_place(&self, path: &EntryPath) -> Result<Box<dyn OpenFile>, StoreError> {
        let state = self.shared.locked();
        let place = state.now.to_write(path)?;
        let number = state.now.at(&place).ok_or_else(|| StoreError::NotFound { path: path.clone() })?;
        let opened = opened_file(&state.now, number, path)?;
        Ok(Box::new(MemOpenFile::new(self.shared.clone(), number, opened, false)))
    }

    fn draft(&self, mode: u32) -> Result<Box<dyn OpenFile>, StoreError> {
        let mut state = self.shared.locked();
        let content = state.content(&[]);
        let number = state.now.make(Body::File(content), mode & 0o777);
        let opened = opened_file(&state.now, number, &EntryPath::root())?;
        Ok(Box::new(MemOpenFile::new(self.shared.clone(), number, opened, true)))
    }

    fn publish_draft(&self, draft: &dyn OpenFile, to: &EntryPath, how: Publish) -> Result<(), StoreError> {
        let Some(draft) = draft.as_any().downcast_ref::<MemOpenFile>() else {
            return Err(StoreError::Corrupt { what: "another store has it" });
        };
        let mut state = self.shared.locked();
        if !draft.is_draft.swap(false, Ordering::SeqCst) {
            return Err(StoreError::Corrupt { what: "it is no draft, or has its name already" });
        }
        let place = state.now.to_write(to);
        let place = place.and_then(|place| check_target(&state.now, &place, to, how).map(|()| place));
        let place = place.inspect_err(|_| {
            state.now.forget(draft.number);
        })?;
        if let Some(replaced) = state.now.link(&place, draft.number) {
            state.now.forget(replaced);
        }
        Ok(())
    }

    fn link(&self, from: &EntryPath, to: &EntryPath) -> Result<(), StoreError> {
        let mut state = self.shared.locked();
        let (old, new) = (state.now.to_write(from)?, state.now.to_write(to)?);
        let number = state.now.at(&old).ok_or_else(|| StoreError::NotFound { path: from.clone() })?;
        opened_file(&state.now, number, from)?;
        if state.now.at(&new).is_some() {
            return Err(StoreError::AlreadyExists { path: to.clone() });
        }
        state.now.link_again(&new, number);
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        let mut state = self.shared.locked();
        state.durable = state.now.clone();
        state.flushes += 1;
        Ok(())
    }

    fn expire_stages(&self, older_than: Duration) -> Result<u64, StoreError> {
        let mut state = self.shared.locked();
        let before = state.now.parts.len();
        let open = |key: &StageKey| self.claims.is_claimed(key);
        state.now.parts.retain(|key, part| part.touched.elapsed() < older_than || open(key));
        Ok((before - state.now.parts.len()) as u64)
    }
}

impl Listing for MemListing {
    fn next_batch(&mut self, max: usize) -> Result<Vec<(Name, Stat)>, StoreError> {
        let state = self.shared.locked();
        let there = self.rest.by_ref().filter_map(|(name, number)| Some((name, state.now.stat(number)?)));
        Ok(there.take(max).collect())
    }
}

impl Source for MemSource {
    fn stat(&self) -> Result<Stat, StoreError> {
        Ok(self.shared.locked().now.stat(self.number).unwrap_or(self.opened.0))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
        let state = self.shared.locked();
        let content = match state.now.entry(self.number).map(|entry| &entry.body) {
            Some(Body::File(content)) => content,
            _ => &self.opened.1,
        };
        Ok(copy_from(&content.bytes, offset, buffer))
    }
}

impl Shared {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn content(&self, bytes: &[u8]) -> Content {
        Content { bytes: Arc::new(bytes.to_vec()), written: self.flushes }
    }

    fn available(&self) -> u64 {
        self.capacity.saturating_sub(self.now.bytes())
    }
}

/// What a file is, and has, if it is one.
fn opened_file(world: &World, number: u64, path: &EntryPath) -> Result<(Stat, Content), StoreError> {
    let path = path.clone();
    match (world.entry(number).map(|entry| &entry.body), world.stat(number)) {
        (Some(Body::File(content)), Some(stat)) => Ok((stat, content.clone())),
        (Some(Body::Dir(_)), _) => Err(StoreError::IsADirectory { path }),
        (Some(Body::Link(_)), _) => Err(StoreError::ThroughLink { path }),
        _ => Err(StoreError::Special { path }),
    }
}

fn check_target(world: &World, place: &Place, to: &EntryPath, how: Publish) -> Result<(), StoreError> {
    let there = world.at(place).and_then(|number| world.entry(number));
    let path = || to.clone();
    match (how, there.map(|entry| &entry.body)) {
        (Publish::CreateOnly, Some(_)) => Err(StoreError::AlreadyExists { path: path() }),
        (_, Some(Body::Dir(_))) => Err(StoreError::IsADirectory { path: path() }),
        (Publish::ReplaceIf(digest), there) => {
            let found = match there {
                Some(Body::File(content)) => Some(Digest::of(&content.bytes)),
                Some(Body::Link(target)) => Some(Digest::of(target)),
                _ => None,
            };
            if found == Some(digest) { Ok(()) } else { Err(StoreError::Changed { path: path() }) }
        }
        (Publish::CreateOnly | Publish::Replace, _) => Ok(()),
    }
}

fn check_rename_over(world: &World, from: u64, there: u64, to: &EntryPath) -> Result<(), StoreError> {
    let path = to.clone();
    let is_dir = |number| world.kind(number) == Some(Kind::Dir);
    match (is_dir(from), is_dir(there)) {
        (true, false) => Err(StoreError::NotADirectory { path }),
        (false, true) => Err(StoreError::IsADirectory { path }),
        _ if world.names(there).is_some_and(|names| !names.is_empty()) => {
            Err(StoreError::DirectoryNotEmpty { path })
        }
        _ => Ok(()),
    }
}

/// Copies what `bytes` has from `offset`; how much that was.
fn copy_from(bytes: &[u8], offset: u64, buffer: &mut [u8]) -> usize {
    let start = usize::try_from(offset).map_or(bytes.len(), |offset| offset.min(bytes.len()));
    let read = buffer.len().min(bytes.len() - start);
    buffer[..read].copy_from_slice(&bytes[start..start + read]);
    read
}
