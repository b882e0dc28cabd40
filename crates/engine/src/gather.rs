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
#[derive(Default)]
pub(crate) struct Gather {
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
    /// The directory itself, and the files in it that have come.
    commits: Vec<Commit>,
}

impl Gather {
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
            _ => {
                if let Some(number) = path.and_then(|path| self.number_of_parent(path)) {
                    self.release(number, ready);
                }
                None
            }
        };
        let Some((number, dir)) = number.and_then(|number| Some((number, self.dirs.get_mut(&number)?)))
        else {
            ready.push(commit);
            return;
        };
        if let What::NewDir { dir: new, .. } = &commit.what {
            dir.new = Some(new.clone());
            dir.commits.push(commit);
            self.empty.push_back((Instant::now() + EMPTY_MAX, number));
            self.release_if_complete(number, ready);
        } else {
            if dir.commits.len() == 1 {
                self.waiting.push_back((Instant::now() + WAIT_MAX, number));
            }
            dir.commits.push(commit);
            self.came(number, ready);
        }
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
        while self.open.pop_if(|(_, above)| !path.starts_with(above)).is_some() {}
        let parent = self.open.last().map(|(number, _)| *number);
        self.open.push((number, path.clone()));
        self.numbers.entry(path.clone()).or_insert(number);
        let (path, commits) = (path.clone(), Vec::new());
        let dir = Gathered { path, parent, new: None, lacking: 0, is_ended: false, commits };
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
        if let Some(dir) = self.dirs.get_mut(&number) {
            dir.lacking = dir.lacking.saturating_sub(1);
            self.release_if_complete(number, ready);
        }
    }

    fn release_if_complete(&mut self, number: u64, ready: &mut Vec<Commit>) {
        let is_complete = |dir: &Gathered| dir.is_ended && dir.lacking == 0 && dir.new.is_some();
        if self.dirs.get(&number).is_some_and(is_complete) {
            self.release(number, ready);
        }
    }

    /// Closes a directory and those that it is in, the outermost first.
    fn release(&mut self, number: u64, ready: &mut Vec<Commit>) {
        let mut chain = Vec::new();
        let mut next = Some(number);
        while let Some(dir) = next.and_then(|number| self.remove_new(number)) {
            next = dir.parent;
            chain.push(dir);
        }
        for Gathered { new, commits, .. } in chain.into_iter().rev() {
            if let Some(new) = new {
                new.close(commits.len() - 1);
            }
            ready.extend(commits);
        }
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

    use sft_base::Digest;
    use sft_store::{Attributes, Publish, Staged, StoreError};
    use sft_wire::message::{Entry, Stamp};

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
        Entry {
            path: path(text),
            kind,
            size: 1,
            modified: Stamp { secs: 0, nanos: 0 },
            mode: 0o644,
            target: None,
            digest: None,
            occupied: None,
        }
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
        let (mut gather, mut ready) = (Gather::default(), Vec::new());
        offered(&mut gather, &mut ready);
        let ((outer, d), (inner, within)) = (new_dir(0, "d"), new_dir(2, "d/in"));
        gather.take(outer, Some(&path("d")), &mut ready);
        gather.take(inner, Some(&path("d/in")), &mut ready);
        gather.take(file(1, "d/a", Some(0)), Some(&path("d/a")), &mut ready);
        assert_eq!((numbers(&mut ready), closed(&d)), (vec![], None));
        assert!(gather.deadline().is_some());
        gather.take(file(3, "d/in/b", Some(2)), Some(&path("d/in/b")), &mut ready);
        assert_eq!(numbers(&mut ready), [0, 1, 2, 3]);
        assert_eq!((closed(&d), closed(&within)), (Some(1), Some(1)));
        assert_eq!(gather.deadline(), None);
        gather.take(file(5, "d/z", None), Some(&path("d/z")), &mut ready);
        assert_eq!(numbers(&mut ready), [5]);
        assert!(gather.dirs.is_empty() && gather.numbers.is_empty());
    }

    #[test]
    fn what_fails_is_not_waited_for() {
        let (mut gather, mut ready) = (Gather::default(), Vec::new());
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

    #[test]
    fn what_needs_the_directory_ends_the_waiting() {
        let (mut gather, mut ready) = (Gather::default(), Vec::new());
        offered(&mut gather, &mut ready);
        let (dir, closing) = new_dir(0, "d");
        gather.take(dir, Some(&path("d")), &mut ready);
        gather.take(file(1, "d/a", Some(0)), Some(&path("d/a")), &mut ready);
        gather.take(file(5, "d/large", None), Some(&path("d/large")), &mut ready);
        assert_eq!((numbers(&mut ready), closed(&closing)), (vec![0, 1, 5], Some(1)));
    }

    #[test]
    fn nothing_waits_for_long() {
        let (mut gather, mut ready) = (Gather::default(), Vec::new());
        offered(&mut gather, &mut ready);
        let (dir, closing) = new_dir(0, "d");
        gather.take(dir, Some(&path("d")), &mut ready);
        gather.release_late(&mut ready);
        assert!(gather.deadline().unwrap() > Instant::now() + WAIT_MAX && ready.is_empty());
        gather.take(file(1, "d/a", Some(0)), Some(&path("d/a")), &mut ready);
        gather.waiting[0].0 -= WAIT_MAX;
        assert_eq!(gather.deadline(), Some(gather.waiting[0].0));
        gather.release_late(&mut ready);
        assert_eq!((numbers(&mut ready), closed(&closing)), (vec![0, 1], Some(1)));
    }

    #[test]
    fn the_last_offer_ends_what_has_no_end() {
        let (mut gather, mut ready) = (Gather::default(), Vec::new());
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
        let (mut gather, mut ready) = (Gather::default(), Vec::new());
        gather.offered(0, &[entry(EntryKind::Dir, "d")], false, &mut ready);
        gather.take(new_dir(0, "d").0, Some(&path("d")), &mut ready);
        gather.empty[0].0 -= EMPTY_MAX;
        gather.release_late(&mut ready);
        assert_eq!((numbers(&mut ready), gather.deadline()), (vec![0], None));
    }

    #[test]
    fn directories_without_ends_do_not_pile_up() {
        let (mut gather, mut ready) = (Gather::default(), Vec::new());
        for number in 0..100 {
            gather.offered(number, &[entry(EntryKind::Dir, "d")], false, &mut ready);
            gather.is_not_new(number);
        }
        gather.offered(100, &[entry(EntryKind::Dir, "other")], false, &mut ready);
        gather.is_not_new(100);
        assert!(gather.open.len() == 1 && gather.dirs.is_empty() && gather.numbers.is_empty());
    }

    #[test]
    fn a_directory_that_is_not_new_gathers_nothing() {
        let (mut gather, mut ready) = (Gather::default(), Vec::new());
        offered(&mut gather, &mut ready);
        gather.is_not_new(0);
        gather.is_not_new(2);
        gather.take(file(1, "d/a", None), Some(&path("d/a")), &mut ready);
        assert_eq!(numbers(&mut ready), [1]);
    }
}
