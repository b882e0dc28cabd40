//! New directories whose content is coming in: each waits until all of its small files are there, so that one step of committing names
//! it with them (spec/store.md, "New directories").
//!
//! It belongs to the one task of a receiver, and waits for nobody for long: what is late, or has to be in a directory before that is
//! complete, ends the waiting, and the rest goes there one by one. What it counts wrong, because a sender offers what it should not,
//! costs that and nothing else: whether a directory is whole, the store sees for itself.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sft_base::{EntryPath, limits};
use sft_store::NewDir;
use sft_wire::message::{Entry, EntryKind};

use crate::commit::{Commit, What};

/// The directories of one transfer that are not complete yet.
pub(crate) struct Gather {
    /// What waits in all of them.
    held: usize,
    /// So much may wait: what does counts against the window, and the sender would stop.
    held_max: usize,
    dirs: HashMap<u64, Gathered>,
    numbers: HashMap<EntryPath, u64>,
    /// Those on the way to the entry that was offered last, the outermost first.
    open: Vec<(u64, EntryPath)>,
    /// In which a file waits, and until when.
    waiting: VecDeque<(Instant, u64)>,
    /// Which wait for a first file, and until when.
    empty: VecDeque<(Instant, u64)>,
}

struct Gathered {
    /// As offered.
    path: EntryPath,
    parent: Option<u64>,
    /// None until it was decided that it is new.
    new: Option<Arc<dyn NewDir>>,
    /// Small files that were offered, and have neither come nor failed.
    lacking: usize,
    /// Everything in it was offered.
    is_ended: bool,
    /// The directory itself, and what is ready to be in it.
    commits: Vec<Commit>,
    /// How many of those are staged in it.
    files: usize,
    /// How many have content that came.
    came: usize,
    /// Directories below that are complete and wait for this one.
    inside: Vec<u64>,
}

impl Gather {
    /// For a window of so many entries.
    pub(crate) fn new(window: u64) -> Self {
        let (dirs, numbers, open) = Default::default();
        let (waiting, empty) = Default::default();
        let mut gather = Self { held: 0, held_max: 0, dirs, numbers, open, waiting, empty };
        gather.set_window(window);
        gather
    }

    /// So many entries may be offered and not settled from now on.
    pub(crate) fn set_window(&mut self, window: u64) {
        self.held_max = usize::try_from(window / 2).unwrap_or(usize::MAX);
    }

    /// Notes what was offered, beginning with number `first`.
    pub(crate) fn offered(&mut self, first: u64, entries: &[Entry], is_last: bool, ready: &mut Vec<Commit>) {
        for (entry, number) in entries.iter().zip(first..) {
            match entry.kind {
                EntryKind::Dir => self.begin(number, &entry.path),
                EntryKind::DirEnd => self.end(&entry.path, ready),
                _ if is_small(entry) => {
                    if let Some(dir) = self.open.last().and_then(|(number, _)| self.dirs.get_mut(number)) {
                        dir.lacking += 1;
                    }
                }
                _ => {}
            }
        }
        if is_last {
            self.end_all(ready);
        }
    }

    /// The directory is not new.
    pub(crate) fn is_not_new(&mut self, number: u64) {
        self.remove(number);
    }

    /// A small file will not come.
    pub(crate) fn failed(&mut self, path: &EntryPath, ready: &mut Vec<Commit>) {
        if let Some(number) = self.number_of_parent(path) {
            self.came(number, ready);
        }
    }

    /// Takes what is to be committed of the entry at `path`. What is to be done now goes to `ready`, after what it needs.
    pub(crate) fn take(&mut self, commit: Commit, path: Option<&EntryPath>, ready: &mut Vec<Commit>) {
        let number = match &commit.what {
            What::NewDir { .. } => Some(commit.number),
            What::Content { within: Some(number), .. } => Some(*number),
            _ => path.and_then(|path| self.number_of_parent(path)),
        };
        let Some((number, dir)) = number.and_then(|number| Some((number, self.dirs.get_mut(&number)?)))
        else {
            ready.push(commit);
            return;
        };
        let mut is_awaited = false;
        match &commit.what {
            What::NewDir { dir: new, .. } => {
                dir.new = Some(new.clone());
                self.empty.push_back((Instant::now() + EMPTY_MAX, number));
            }
            _ if dir.new.is_none() => {
                ready.push(commit);
                return;
            }
            What::Content { staged, within, .. } => {
                dir.files += usize::from(within.is_some());
                dir.came += 1;
                is_awaited = staged.size() <= limits::PIECE_BYTES;
                if dir.came == 1 {
                    self.waiting.push_back((Instant::now() + WAIT_MAX, number));
                }
            }
            _ => {}
        }
        dir.commits.push(commit);
        self.held += 1;
        if is_awaited {
            self.came(number, ready);
        } else {
            self.release_if_complete(number, ready);
        }
        self.release_surplus(ready);
    }

    /// When something will have waited for too long; none while nothing waits.
    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        self.first().map(|(deadline, _)| deadline)
    }

    /// Lets go of what has waited for too long.
    pub(crate) fn release_late(&mut self, ready: &mut Vec<Commit>) {
        while let Some((_, number)) = self.first().filter(|(deadline, _)| *deadline <= Instant::now()) {
            self.release(number, ready);
        }
    }

    /// Lets go of what has waited longest while too much waits.
    fn release_surplus(&mut self, ready: &mut Vec<Commit>) {
        while self.held > self.held_max
            && let Some((_, number)) = self.first()
        {
            self.release(number, ready);
        }
    }

    fn first(&mut self) -> Option<(Instant, u64)> {
        let dirs = &self.dirs;
        let first = |queue: &mut VecDeque<(Instant, u64)>| {
            while queue.front().is_some_and(|(_, number)| !dirs.contains_key(number)) {
                queue.pop_front();
            }
            queue.front().copied()
        };
        let (waiting, empty) = (first(&mut self.waiting), first(&mut self.empty));
        waiting.into_iter().chain(empty).min()
    }

    fn begin(&mut self, number: u64, path: &EntryPath) {
        // Not everybody says where a directory ends.
        while self.open.pop_if(|(_, above)| above == path || !path.starts_with(above)).is_some() {}
        let parent = self.open.last().map(|(number, _)| *number);
        self.open.push((number, path.clone()));
        self.numbers.entry(path.clone()).or_insert(number);
        let (path, commits, inside) = (path.clone(), Vec::new(), Vec::new());
        let dir = Gathered {
            path,
            parent,
            new: None,
            lacking: 0,
            is_ended: false,
            commits,
            files: 0,
            came: 0,
            inside,
        };
        self.dirs.insert(number, dir);
    }

    fn end(&mut self, path: &EntryPath, ready: &mut Vec<Commit>) {
        let Some((number, _)) = self.open.pop_if(|(_, open)| open == path) else { return };
        if let Some(dir) = self.dirs.get_mut(&number) {
            dir.is_ended = true;
            self.release_if_complete(number, ready);
        }
    }

    /// Nothing more is offered.
    fn end_all(&mut self, ready: &mut Vec<Commit>) {
        self.open.clear();
        let numbers: Vec<u64> = self.dirs.keys().copied().collect();
        for number in numbers {
            if let Some(dir) = self.dirs.get_mut(&number) {
                dir.is_ended = true;
                self.release_if_complete(number, ready);
            }
        }
    }

    fn came(&mut self, number: u64, ready: &mut Vec<Commit>) {
        let Some(dir) = self.dirs.get_mut(&number) else { return };
        dir.lacking = dir.lacking.saturating_sub(1);
        if dir.lacking == 0 {
            let inside = std::mem::take(&mut dir.inside);
            self.release_if_complete(number, ready);
            inside.into_iter().for_each(|number| self.release_if_complete(number, ready));
        }
    }

    /// A directory that is complete would take those around it along: it waits until their files have come.
    fn release_if_complete(&mut self, number: u64, ready: &mut Vec<Commit>) {
        let is_complete = |dir: &Gathered| dir.is_ended && dir.lacking == 0 && dir.new.is_some();
        if !self.dirs.get(&number).is_some_and(is_complete) {
            return;
        }
        match self.lacking_above(number).and_then(|above| self.dirs.get_mut(&above)) {
            Some(above) => above.inside.push(number),
            None => self.release(number, ready),
        }
    }

    /// The next directory above that lacks files.
    fn lacking_above(&self, number: u64) -> Option<u64> {
        let mut next = self.dirs.get(&number)?.parent;
        while let Some(number) = next {
            let dir = self.dirs.get(&number).filter(|dir| dir.new.is_some())?;
            if dir.lacking > 0 {
                return Some(number);
            }
            next = dir.parent;
        }
        None
    }

    /// Closes a directory and those that it is in, the outermost first.
    fn release(&mut self, number: u64, ready: &mut Vec<Commit>) {
        let mut chain = Vec::new();
        let mut next = Some(number);
        while let Some(dir) = next.and_then(|number| self.remove_new(number)) {
            next = dir.parent;
            chain.push(dir);
        }
        let mut freed = Vec::new();
        for Gathered { new, commits, files, inside, .. } in chain.into_iter().rev() {
            if let Some(new) = new {
                new.close(files);
            }
            self.held -= commits.len();
            ready.extend(commits);
            freed.extend(inside);
        }
        freed.into_iter().for_each(|number| self.release_if_complete(number, ready));
    }

    fn remove_new(&mut self, number: u64) -> Option<Gathered> {
        let is_new = self.dirs.get(&number)?.new.is_some();
        if is_new { self.remove(number) } else { None }
    }

    fn remove(&mut self, number: u64) -> Option<Gathered> {
        let dir = self.dirs.remove(&number)?;
        if self.numbers.get(&dir.path) == Some(&number) {
            self.numbers.remove(&dir.path);
        }
        Some(dir)
    }

    fn number_of_parent(&self, path: &EntryPath) -> Option<u64> {
        if self.dirs.is_empty() {
            return None;
        }
        path.parent().and_then(|parent| self.numbers.get(&parent).copied())
    }
}

/// Whether it comes in a pack.
pub(crate) fn is_small(entry: &Entry) -> bool {
    entry.kind == EntryKind::File && entry.size <= limits::PIECE_BYTES
}

/// So long a file that has come waits for the others in its directory. It is what a loss of the connection may cost to send again.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// So long a directory waits for a first file: what is offered can be seconds ahead of what comes.
const EMPTY_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::{AtomicUsize, Ordering};

    use sft_base::{Digest, Kind, Meta, Time};
    use sft_store::{Attributes, Publish, Staged, StoreError};

    /// Remembers with how many files it was closed.
    #[derive(Debug, Default)]
    struct Closing(AtomicUsize);

    impl NewDir for Closing {
        fn stage_small(
            self: Arc<Self>,
            _: &[u8],
            _: &[u8],
            _: &Attributes,
        ) -> Result<Option<Staged>, StoreError> {
            Ok(None)
        }

        fn new_dir(&self, _: &EntryPath) -> Result<Arc<dyn NewDir>, StoreError> {
            Ok(Arc::new(Self::default()))
        }

        fn close(&self, files: usize) {
            self.0.store(files + 100, Ordering::Relaxed);
        }

        fn publish(&self) -> Result<(), StoreError> {
            Ok(())
        }
    }

    fn path(text: &str) -> EntryPath {
        EntryPath::from_typed(text.as_bytes()).unwrap()
    }

    fn entry(kind: EntryKind, text: &str) -> Entry {
        let meta = Meta { kind: Kind::File, size: 1, modified: Time { secs: 0, nanos: 0 }, mode: 0o644 };
        Entry { kind, ..Entry::new(path(text), &meta) }
    }

    /// `d` with two files, and `d/in` with one: entries 0 to 5.
    fn offered(gather: &mut Gather, ready: &mut Vec<Commit>) {
        let entries = [
            entry(EntryKind::Dir, "d"),
            entry(EntryKind::File, "d/a"),
            entry(EntryKind::Dir, "d/in"),
            entry(EntryKind::File, "d/in/b"),
            entry(EntryKind::DirEnd, "d/in"),
            entry(EntryKind::File, "d/z"),
            entry(EntryKind::DirEnd, "d"),
        ];
        gather.offered(0, &entries, false, ready);
    }

    fn new_dir(number: u64, text: &str) -> (Commit, Arc<Closing>) {
        let dir = Arc::new(Closing::default());
        let what = What::NewDir { dir: dir.clone(), target: path(text), was_found: Arc::default() };
        (Commit { number, what }, dir)
    }

    fn file(number: u64, text: &str, within: Option<u64>) -> Commit {
        let verified = Digest::of(b"x").verify(Digest::of(b"x"), 1).unwrap();
        let what = What::Content {
            staged: Staged::new(1, ()),
            verified,
            target: path(text),
            how: Publish::CreateOnly,
            attributes: Attributes::default(),
            withheld: Vec::new(),
            within,
        };
        Commit { number, what }
    }

    fn numbers(ready: &mut Vec<Commit>) -> Vec<u64> {
        ready.drain(..).map(|commit| commit.number).collect()
    }

    fn closed(dir: &Closing) -> Option<usize> {
        dir.0.load(Ordering::Relaxed).checked_sub(100)
    }

    #[test]
    fn a_directory_waits_for_all_that_is_in_it_and_takes_those_around_it_along() {
        let (mut gather, mut ready) = (Gather::new(1000), Vec::new());
        offered(&mut gather, &mut ready);
        let ((outer, d), (inner, within)) = (new_dir(0, "d"), new_dir(2, "d/in"));
        gather.take(outer, Some(&path("d")), &mut ready);
        gather.take(inner, Some(&path("d/in")), &mut ready);
        gather.take(file(1, "d/a", Some(0)), Some(&path("d/a")), &mut ready);
        assert_eq!((numbers(&mut ready), closed(&d)), (vec![], None));
        assert!(gather.deadline().is_some());
        gather.take(file(3, "d/in/b", Some(2)), Some(&path("d/in/b")), &mut ready);
        assert_eq!((numbers(&mut ready), closed(&within)), (vec![], None), "it would take `d` along");
        gather.take(file(5, "d/z", Some(0)), Some(&path("d/z")), &mut ready);
        assert_eq!(numbers(&mut ready), [0, 1, 5, 2, 3]);
        assert_eq!((closed(&d), closed(&within)), (Some(2), Some(1)));
        assert_eq!(gather.deadline(), None);
        gather.take(file(6, "d/late", None), Some(&path("d/late")), &mut ready);
        assert_eq!(numbers(&mut ready), [6]);
        assert!(gather.dirs.is_empty() && gather.numbers.is_empty());
    }

    #[test]
    fn what_fails_is_not_waited_for() {
        let (mut gather, mut ready) = (Gather::new(1000), Vec::new());
        let entries = [
            entry(EntryKind::Dir, "d"),
            entry(EntryKind::File, "d/a"),
            entry(EntryKind::File, "d/b"),
            entry(EntryKind::DirEnd, "d"),
        ];
        gather.offered(7, &entries, false, &mut ready);
        let (dir, closing) = new_dir(7, "d");
        gather.take(dir, Some(&path("d")), &mut ready);
        gather.take(file(8, "d/a", Some(7)), Some(&path("d/a")), &mut ready);
        assert_eq!(numbers(&mut ready), [0; 0]);
        gather.failed(&path("d/b"), &mut ready);
        assert_eq!((numbers(&mut ready), closed(&closing)), (vec![7, 8], Some(1)));
    }

    /// `d` with two files, of which the first has come.
    fn one_waits() -> (Gather, Vec<Commit>, Arc<Closing>) {
        let (mut gather, mut ready) = (Gather::new(1000), Vec::new());
        offered(&mut gather, &mut ready);
        let (dir, closing) = new_dir(0, "d");
        gather.take(dir, Some(&path("d")), &mut ready);
        gather.release_late(&mut ready);
        assert!(gather.deadline().unwrap() > Instant::now() + WAIT_MAX);
        gather.take(file(1, "d/a", Some(0)), Some(&path("d/a")), &mut ready);
        assert!(ready.is_empty());
        (gather, ready, closing)
    }

    #[test]
    fn nothing_waits_for_long() {
        let (mut gather, mut ready, closing) = one_waits();
        gather.waiting[0].0 -= WAIT_MAX;
        assert_eq!(gather.deadline(), Some(gather.waiting[0].0));
        gather.release_late(&mut ready);
        assert_eq!((numbers(&mut ready), closed(&closing)), (vec![0, 1], Some(1)));
        assert_eq!(gather.held, 0);
    }

    #[test]
    fn a_link_and_an_empty_directory_wait_for_the_files_beside_them() {
        let (mut gather, mut ready, closing) = one_waits();
        let what = What::Link {
            points_to: b"a".to_vec(),
            target: path("d/link"),
            how: Publish::CreateOnly,
            attributes: Attributes::default(),
        };
        gather.take(Commit { number: 9, what }, Some(&path("d/link")), &mut ready);
        let empty = [entry(EntryKind::Dir, "d/e"), entry(EntryKind::DirEnd, "d/e")];
        let (mut inner, within) = (Vec::new(), new_dir(10, "d/e"));
        gather.open = vec![(0, path("d"))];
        gather.offered(10, &empty, false, &mut inner);
        gather.take(within.0, Some(&path("d/e")), &mut ready);
        let mut large = file(11, "d/large", None);
        if let What::Content { staged, .. } = &mut large.what {
            *staged = Staged::new(limits::PIECE_BYTES + 1, ());
        }
        gather.take(large, Some(&path("d/large")), &mut ready);
        assert_eq!((numbers(&mut ready), inner.len(), closed(&closing)), (vec![], 0, None));
        gather.take(file(5, "d/z", Some(0)), Some(&path("d/z")), &mut ready);
        assert_eq!(numbers(&mut ready), [0, 1, 9, 11, 5, 10]);
        assert_eq!((closed(&closing), closed(&within.1), gather.held), (Some(2), Some(0), 0));
    }

    #[test]
    fn half_of_the_window_does_not_wait() {
        let (mut gather, mut ready) = (Gather::new(8), Vec::new());
        let names: Vec<_> = (0..9).map(|name| format!("d/{name}")).collect();
        let files = names.iter().map(|name| entry(EntryKind::File, name));
        let entries: Vec<_> = std::iter::once(entry(EntryKind::Dir, "d")).chain(files).collect();
        gather.offered(0, &entries, false, &mut ready);
        gather.take(new_dir(0, "d").0, Some(&path("d")), &mut ready);
        for (number, name) in (1..4).zip(&names) {
            gather.take(file(number, name, Some(0)), Some(&path(name)), &mut ready);
        }
        assert!(ready.is_empty());
        gather.take(file(4, "d/3", Some(0)), Some(&path("d/3")), &mut ready);
        assert_eq!((numbers(&mut ready), gather.held), (vec![0, 1, 2, 3, 4], 0));
    }

    #[test]
    fn the_last_offer_ends_what_has_no_end() {
        let (mut gather, mut ready) = (Gather::new(1000), Vec::new());
        let entries = [entry(EntryKind::Dir, "d"), entry(EntryKind::Dir, "e"), entry(EntryKind::File, "e/a")];
        gather.offered(0, &entries, true, &mut ready);
        assert!(gather.open.is_empty());
        gather.take(new_dir(0, "d").0, Some(&path("d")), &mut ready);
        assert_eq!(numbers(&mut ready), [0]);
        gather.take(new_dir(1, "e").0, Some(&path("e")), &mut ready);
        gather.take(file(2, "e/a", Some(1)), Some(&path("e/a")), &mut ready);
        assert_eq!(numbers(&mut ready), [1, 2]);
    }

    #[test]
    fn a_directory_that_stays_empty_is_made_in_time() {
        let (mut gather, mut ready) = (Gather::new(1000), Vec::new());
        gather.offered(0, &[entry(EntryKind::Dir, "d")], false, &mut ready);
        gather.take(new_dir(0, "d").0, Some(&path("d")), &mut ready);
        gather.empty[0].0 -= EMPTY_MAX;
        gather.release_late(&mut ready);
        assert_eq!((numbers(&mut ready), gather.deadline()), (vec![0], None));
    }

    #[test]
    fn directories_without_ends_do_not_pile_up() {
        let (mut gather, mut ready) = (Gather::new(1000), Vec::new());
        for (number, name) in (0..).zip(["d", "d", "d/e", "d/e", "d", "other"]) {
            gather.offered(number, &[entry(EntryKind::Dir, name)], false, &mut ready);
            gather.is_not_new(number);
            assert!(gather.open.len() <= 2, "{name}");
        }
        assert!(gather.open.len() == 1 && gather.dirs.is_empty() && gather.numbers.is_empty());
    }

    #[test]
    fn a_directory_that_is_not_new_gathers_nothing() {
        let (mut gather, mut ready) = (Gather::new(1000), Vec::new());
        offered(&mut gather, &mut ready);
        gather.is_not_new(0);
        gather.is_not_new(2);
        gather.take(file(1, "d/a", None), Some(&path("d/a")), &mut ready);
        assert_eq!(numbers(&mut ready), [1]);
    }
}
