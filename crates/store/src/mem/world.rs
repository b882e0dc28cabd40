//! The tree of a store in memory: entries by number, walked as a kernel would.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use sft_base::{EntryPath, Kind, Meta, Name, Time};

use crate::{Attributes, StageKey, Stat, StoreError, Version, reserved};

/// All there is, as it would stand on a disk.
#[derive(Clone, Debug)]
pub(super) struct World {
    entries: HashMap<u64, Arc<Entry>>,
    next: u64,
    /// Whether any file was given a second name: looking for those costs a walk of everything.
    has_second_names: bool,
    /// Large stages, open or not.
    pub(super) parts: HashMap<StageKey, Part>,
}

/// A file, directory, link or something else.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) body: Body,
    modified: Time,
    mode: u32,
    /// Counts changes of the entry.
    changes: i64,
}

/// The entries of a directory. Their names are bytes here, to be looked up without making a [`Name`] of each.
pub(super) type Names = BTreeMap<Box<[u8]>, u64>;

#[derive(Clone, Debug)]
pub(super) enum Body {
    Dir(Names),
    File(Content),
    Link(Arc<[u8]>),
    Special,
}

/// The content of a file.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) bytes: Arc<Vec<u8>>,
    /// How many flushes had been done when it was last written.
    pub(super) written: u64,
}

/// A large stage: what a directory keeps in two files.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) content: Content,
    pub(super) journal: Arc<Vec<u8>>,
    pub(super) touched: Instant,
}

/// A directory and a name in it.
pub(super) struct Place {
    pub(super) dir: u64,
    pub(super) name: Name,
}

/// The number of the root.
pub(super) const ROOT: u64 = 0;

impl World {
    pub(super) fn new() -> Self {
        let mut world =
            Self { entries: HashMap::new(), next: ROOT, has_second_names: false, parts: HashMap::new() };
        world.make(Body::Dir(BTreeMap::new()), 0o755);
        world
    }

    /// Where an entry is that is only read; nothing for the root.
    pub(super) fn to_read(&self, path: &EntryPath, follow: bool) -> Result<Option<Place>, StoreError> {
        reserved::check(path)?;
        self.place(path, follow)
    }

    /// Where an entry is that is written, or will be.
    pub(super) fn to_write(&self, path: &EntryPath) -> Result<Place, StoreError> {
        reserved::check_below_root(path)?;
        self.place(path, false)?.ok_or_else(|| StoreError::NameNotAllowed { path: path.clone() })
    }

    /// The number of the entry at a path that is only read.
    pub(super) fn find(&self, path: &EntryPath, follow: bool) -> Result<u64, StoreError> {
        match self.to_read(path, follow)? {
            None => Ok(ROOT),
            Some(place) => self.at(&place).ok_or_else(|| StoreError::NotFound { path: path.clone() }),
        }
    }

    /// The number of the entry at a place, if there is one.
    pub(super) fn at(&self, place: &Place) -> Option<u64> {
        self.names(place.dir)?.get(place.name.as_bytes()).copied()
    }

    pub(super) fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(&number).map(|entry| &**entry)
    }

    /// The names in a directory; nothing if it is none.
    pub(super) fn names(&self, number: u64) -> Option<&Names> {
        match &self.entry(number)?.body {
            Body::Dir(names) => Some(names),
            _ => None,
        }
    }

    pub(super) fn kind(&self, number: u64) -> Option<Kind> {
        self.entry(number).map(Entry::kind)
    }

    /// Makes an entry without a name.
    pub(super) fn make(&mut self, body: Body, mode: u32) -> u64 {
        let number = self.next;
        self.next += 1;
        // Time is the number of entries made: it goes on, and is the same in every run.
        let modified = Time { secs: number as i64, nanos: 0 };
        self.entries.insert(number, Arc::new(Entry { body, modified, mode, changes: 0 }));
        number
    }

    /// Gives a name to an entry; the number of what had it before.
    pub(super) fn link(&mut self, place: &Place, number: u64) -> Option<u64> {
        self.change_names(place.dir, |names| names.insert(place.name.as_bytes().into(), number))
    }

    /// Gives a second name to a file.
    pub(super) fn link_again(&mut self, place: &Place, number: u64) {
        self.has_second_names = true;
        self.link(place, number);
    }

    /// Takes a name away.
    pub(super) fn unlink(&mut self, place: &Place) -> Option<u64> {
        self.change_names(place.dir, |names| names.remove(place.name.as_bytes()))
    }

    /// Removes an entry that has lost its name, with all below it; how many they were.
    pub(super) fn forget(&mut self, number: u64) -> u64 {
        let mut gone = 0;
        let mut todo = vec![number];
        while let Some(number) = todo.pop() {
            if self.has_a_name(number) {
                continue;
            }
            todo.extend(self.names(number).into_iter().flat_map(BTreeMap::values).copied());
            gone += u64::from(self.entries.remove(&number).is_some());
        }
        gone
    }

    /// Whether a directory that was not forgotten still names it: a file can have several names.
    fn has_a_name(&self, number: u64) -> bool {
        if !self.has_second_names {
            return false;
        }
        let is_file = matches!(self.entry(number).map(|entry| &entry.body), Some(Body::File(_)));
        is_file
            && self.entries.values().any(|entry| match &entry.body {
                Body::Dir(names) => names.values().any(|&named| named == number),
                _ => false,
            })
    }

    pub(super) fn set_attributes(&mut self, number: u64, attributes: &Attributes) {
        self.change(number, |entry| {
            entry.modified = attributes.modified.unwrap_or(entry.modified);
            if !matches!(entry.body, Body::Link(_)) {
                entry.mode = attributes.mode.map_or(entry.mode, |mode| mode & 0o7777);
            }
        });
    }

    /// Exchanges the content of a file in place.
    pub(super) fn overwrite(&mut self, number: u64, content: Content) {
        self.change(number, |entry| entry.body = Body::File(content));
    }

    pub(super) fn stat(&self, number: u64) -> Option<Stat> {
        let entry = self.entry(number)?;
        let size = entry.size();
        let meta = Meta { kind: entry.kind(), size, modified: entry.modified, mode: entry.mode };
        let changed = Time { secs: entry.changes, nanos: 0 };
        let version = Version { device: 0, inode: number, size, modified: entry.modified, changed };
        Some(Stat { meta, occupied: size, version })
    }

    /// Bytes of all content and all stages.
    pub(super) fn bytes(&self) -> u64 {
        let parts = self.parts.values().map(|part| part.content.bytes.len() as u64);
        self.entries.values().map(|entry| entry.size()).chain(parts).sum()
    }

    /// What a disk shows after a crash that kept every name and lost all content written since the last flush.
    pub(super) fn lose_content(&mut self, flushes: u64) {
        let lost = |content: &Content| content.written >= flushes;
        let files: Vec<_> =
            self.entries.iter().map(|(&number, entry)| (number, entry.body.clone())).collect();
        for (number, body) in files {
            if let Body::File(content) = body
                && lost(&content)
            {
                let zeros = Arc::new(vec![0; content.bytes.len()]);
                self.overwrite(number, Content { bytes: zeros, ..content });
            }
        }
        for part in self.parts.values_mut().filter(|part| lost(&part.content)) {
            part.content.bytes = Arc::new(vec![0; part.content.bytes.len()]);
        }
    }

    fn place(&self, path: &EntryPath, follow: bool) -> Result<Option<Place>, StoreError> {
        let Some(name) = path.file_name() else { return Ok(None) };
        let dir = self.walk(path, follow)?;
        if dir == ROOT && reserved::is_own_dir(name.as_bytes()) {
            return Err(StoreError::NameNotAllowed { path: path.clone() });
        }
        Ok(Some(Place { dir, name }))
    }

    /// The parent of `path`.
    fn walk(&self, path: &EntryPath, follow: bool) -> Result<u64, StoreError> {
        let fail = || path.clone();
        let mut todo: VecDeque<&[u8]> = path.names().collect();
        todo.pop_back();
        let mut way = vec![ROOT];
        let mut links = 0;
        while let (Some(name), Some(&dir)) = (todo.pop_front(), way.last()) {
            match name {
                b"" | b"." => continue,
                b".." if way.len() == 1 => return Err(StoreError::LeadsOutside { path: fail() }),
                b".." => {
                    way.pop();
                    continue;
                }
                _ if dir == ROOT && reserved::is_own_dir(name) => {
                    return Err(StoreError::NameNotAllowed { path: fail() });
                }
                _ => {}
            }
            let next = self.names(dir).and_then(|names| names.get(name).copied());
            let next = next.ok_or_else(|| StoreError::NotFound { path: fail() })?;
            match self.entry(next).map(|entry| &entry.body) {
                Some(Body::Dir(_)) => way.push(next),
                Some(Body::Link(_)) if !follow || links == LINKS_MAX => {
                    return Err(StoreError::ThroughLink { path: fail() });
                }
                Some(Body::Link(target)) if target.starts_with(b"/") => {
                    return Err(StoreError::LeadsOutside { path: fail() });
                }
                Some(Body::Link(target)) => {
                    links += 1;
                    target.split(|&b| b == b'/').rev().for_each(|name| todo.push_front(name));
                }
                _ => return Err(StoreError::NotADirectory { path: fail() }),
            }
        }
        Ok(way.last().copied().unwrap_or(ROOT))
    }

    fn change_names<R>(&mut self, dir: u64, change: impl FnOnce(&mut Names) -> R) -> R
    where
        R: Default,
    {
        self.change(dir, |entry| match &mut entry.body {
            Body::Dir(names) => change(names),
            _ => R::default(),
        })
    }

    fn change<R: Default>(&mut self, number: u64, change: impl FnOnce(&mut Entry) -> R) -> R {
        let Some(entry) = self.entries.get_mut(&number).map(Arc::make_mut) else { return R::default() };
        entry.changes += 1;
        change(entry)
    }
}

impl Entry {
    fn kind(&self) -> Kind {
        match self.body {
            Body::Dir(_) => Kind::Dir,
            Body::File(_) => Kind::File,
            Body::Link(_) => Kind::Link,
            Body::Special => Kind::Other,
        }
    }

    fn size(&self) -> u64 {
        match &self.body {
            Body::File(content) => content.bytes.len() as u64,
            Body::Link(target) => target.len() as u64,
            Body::Dir(_) | Body::Special => 0,
        }
    }
}

/// As many as Linux follows.
const LINKS_MAX: u32 = 40;
