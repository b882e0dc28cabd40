//! What uploads leave behind whose connection was lost before they were complete (spec/doors.md, "Uploads that are cut off").
//!
//! It belongs to the identity that began it, for some time and as long as the program runs. It is under no name: what the
//! name shows is never a part.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sft_base::EntryPath;
use sft_store::Stat;
use sft_wire::WireError;

use crate::error::staging_error;
use crate::{OpenFile, View};

/// The beginnings of files that nobody has finished, of all identities.
#[derive(Default)]
pub struct Leftovers {
    state: Mutex<State>,
}

/// A moment, to tell what was published after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

#[derive(Default)]
struct State {
    /// The oldest first.
    left: VecDeque<Leftover>,
    /// What was published last, and when.
    published: VecDeque<(Moment, Key)>,
    now: Moment,
    /// Drafts that sessions are writing, which may be lost already without their knowing.
    open: Vec<(Key, Weak<OpenFile>)>,
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    identity: String,
    path: EntryPath,
}

struct Leftover {
    key: Key,
    at: Instant,
    /// None where something has the name: then it is only known that an upload was cut off.
    begun: Option<Begun>,
}

/// A draft, and how much of its beginning is without a gap.
struct Begun {
    file: Arc<dyn sft_store::OpenFile>,
    whole: u64,
}

impl Leftovers {
    /// To be asked when a draft is begun.
    pub fn now(&self) -> Moment {
        self.state().now
    }

    /// Notes that a session writes a draft, and what it is to become; it may be told again.
    pub fn opened(&self, view: &View, path: &EntryPath, draft: &Arc<OpenFile>) {
        let mut state = self.state();
        state.close(draft);
        state.open.push((Key::of(view, path), Arc::downgrade(draft)));
    }

    /// Notes that a draft is over: published, given up, or left here before.
    pub fn closed(&self, draft: &Arc<OpenFile>) {
        self.state().close(draft);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.state().left.is_empty()
    }

    /// Takes what is left of a draft that was begun at a moment and will get no more. Blocks.
    pub fn leave(&self, view: &View, draft: &OpenFile, since: Moment) {
        let Some((path, file, whole)) = draft.abandon() else { return };
        let is_there = view.has_something(&path);
        let key = Key::of(view, &path);
        let mut state = self.state();
        // The same upload was made again meanwhile, and is complete.
        let is_done = state.published.iter().any(|(at, published)| *at > since && *published == key);
        if is_done || !is_there && whole == 0 {
            return;
        }
        let begun = (!is_there).then_some(Begun { file, whole });
        let mut gone = state.take(&key);
        state.left.push_back(Leftover { key, at: Instant::now(), begun });
        gone.extend(state.too_many());
        drop(state);
        // Only now, because removing a file may take its time.
        drop(gone);
    }

    /// What there is of a file that has no name yet, as if it were there; to those who began it.
    ///
    /// Its size is a byte less than what has come, so that nobody ever takes it for complete.
    pub fn stat(&self, view: &View, path: &EntryPath) -> Option<Stat> {
        let key = Key::of(view, path);
        let (file, whole) = {
            let state = self.state();
            let begun = state.find(&key)?.begun.as_ref()?;
            (begun.file.clone(), begun.whole)
        };
        let mut stat = file.stat().ok()?;
        stat.meta.size = shown(whole);
        Some(stat)
    }

    /// The draft again, as long as it was shown to be, if there is one.
    pub fn resume(&self, view: &View, path: &EntryPath) -> Result<Option<OpenFile>, WireError> {
        let key = Key::of(view, path);
        if self.state().find(&key).is_none_or(|left| left.begun.is_none()) {
            return Ok(None);
        }
        view.may_publish(path, false)?;
        let Some(begun) = self.state().take(&key).pop().and_then(|left| left.begun) else { return Ok(None) };
        let size = shown(begun.whole);
        if let Err(error) = begun.file.set_size(size) {
            self.state().left.push_back(Leftover { key, at: Instant::now(), begun: Some(begun) });
            return Err(staging_error(&error));
        }
        Ok(Some(view.resumed_draft(begun.file, path, size)))
    }

    /// Whether an upload to this path was cut off and not made again since, or is under way and may be lost without our
    /// knowing. Whoever began it may believe that what the name shows is theirs.
    pub fn was_cut_off(&self, view: &View, path: &EntryPath) -> bool {
        let key = Key::of(view, path);
        let state = self.state();
        state.find(&key).is_some() || state.is_open(&key)
    }

    /// Drops what is left of a file; whether there was any of it.
    pub fn forget(&self, view: &View, path: &EntryPath) -> bool {
        let gone = self.state().take(&Key::of(view, path));
        gone.iter().any(|left| left.begun.is_some())
    }

    /// Something complete was published at a path: what an earlier attempt left, or will leave, is worth nothing.
    pub fn published(&self, view: &View, path: &EntryPath) {
        let key = Key::of(view, path);
        let mut state = self.state();
        state.now.0 += 1;
        let gone = state.take(&key);
        state.open.retain(|(open, _)| *open != key);
        let now = state.now;
        state.published.push_back((now, key));
        if state.published.len() > PUBLISHED_MAX {
            state.published.pop_front();
        }
        drop(state);
        drop(gone);
    }

    /// Drops what nobody came back for.
    pub fn expire(&self) {
        let gone = self.state().too_many();
        drop(gone);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Those that were dropped without a word go as well.
    fn close(&mut self, draft: &Arc<OpenFile>) {
        self.open
            .retain(|(_, open)| open.strong_count() > 0 && !std::ptr::eq(open.as_ptr(), Arc::as_ptr(draft)));
    }

    fn is_open(&self, key: &Key) -> bool {
        self.open.iter().any(|(open, draft)| open == key && draft.strong_count() > 0)
    }

    fn find(&self, key: &Key) -> Option<&Leftover> {
        self.left.iter().find(|left| left.key == *key && left.at.elapsed() < KEPT_FOR)
    }

    fn take(&mut self, key: &Key) -> Vec<Leftover> {
        let place = self.left.iter().position(|left| left.key == *key);
        place.and_then(|place| self.left.remove(place)).into_iter().collect()
    }

    /// Takes out what is too old or more than may be kept.
    fn too_many(&mut self) -> Vec<Leftover> {
        let mut gone = Vec::new();
        while self.left.len() > LEFT_MAX
            || self.left.front().is_some_and(|left| left.at.elapsed() >= KEPT_FOR)
        {
            gone.extend(self.left.pop_front());
        }
        let Some(newest) = self.left.back().map(|left| left.key.identity.clone()) else { return gone };
        let is_theirs = |left: &Leftover| left.key.identity == newest;
        if self.left.iter().filter(|left| is_theirs(left)).count() > LEFT_OF_ONE_MAX {
            let oldest = self.left.iter().position(is_theirs);
            gone.extend(oldest.and_then(|oldest| self.left.remove(oldest)));
        }
        gone
    }
}

impl Key {
    fn of(view: &View, path: &EntryPath) -> Self {
        Self { identity: view.grant().identity().to_owned(), path: path.clone() }
    }
}

fn shown(whole: u64) -> u64 {
    whole.saturating_sub(1)
}

/// How long somebody may take to come back.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// Each keeps a file open.
const LEFT_MAX: usize = 256;
const LEFT_OF_ONE_MAX: usize = 32;
/// Only what is published while another attempt is still taken for alive matters.
const PUBLISHED_MAX: usize = 1024;

impl std::fmt::Debug for Leftovers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leftovers").field("left", &self.state().left.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sft_auth::Grant;
    use sft_store::{MemStore, Store};

    fn path(text: &str) -> EntryPath {
        EntryPath::from_typed(text.as_bytes()).unwrap()
    }

    fn view(store: &MemStore) -> View {
        View::new(Arc::new(store.clone()), Arc::new(Grant::owner_local()))
    }

    fn cut_off(leftovers: &Leftovers, view: &View, at: &str, content: &[u8]) {
        let now = leftovers.now();
        let draft = view.draft(&path(at), 0o666, false).unwrap();
        draft.write_at(0, content).unwrap();
        leftovers.leave(view, &draft, now);
    }

    #[test]
    fn what_was_begun_is_gone_on_with() {
        let (store, leftovers) = (MemStore::new(), Leftovers::default());
        let view = view(&store);
        let draft = view.draft(&path("a"), 0o666, false).unwrap();
        draft.write_at(0, b"begun").unwrap();
        draft.write_at(9, b"far").unwrap();
        leftovers.leave(&view, &draft, Moment::default());
        assert!(!draft.is_draft() && store.stat(&path("a")).is_err());
        assert_eq!(leftovers.stat(&view, &path("a")).unwrap().meta.size, 4, "without the last, and the gap");
        let again = leftovers.resume(&view, &path("a")).unwrap().unwrap();
        assert!(leftovers.stat(&view, &path("a")).is_none() && !leftovers.was_cut_off(&view, &path("a")));
        again.write_at(4, b"n!").unwrap();
        again.publish().unwrap();
        assert_eq!(store.stat(&path("a")).unwrap().meta.size, 6);
    }

    #[test]
    fn of_what_was_to_replace_something_only_the_fact_is_kept() {
        let (store, leftovers) = (MemStore::new(), Leftovers::default());
        let view = view(&store);
        view.draft(&path("a"), 0o666, false).unwrap().publish().unwrap();
        cut_off(&leftovers, &view, "a", b"new");
        assert!(leftovers.was_cut_off(&view, &path("a")) && leftovers.stat(&view, &path("a")).is_none());
        assert!(leftovers.resume(&view, &path("a")).unwrap().is_none());
        leftovers.published(&view, &path("a"));
        assert!(!leftovers.was_cut_off(&view, &path("a")));
    }

    #[test]
    fn an_attempt_that_ends_after_a_later_one_was_complete_leaves_nothing() {
        let (store, leftovers) = (MemStore::new(), Leftovers::default());
        let view = view(&store);
        let now = leftovers.now();
        let draft = view.draft(&path("a"), 0o666, false).unwrap();
        draft.write_at(0, b"lost").unwrap();
        leftovers.published(&view, &path("a"));
        leftovers.leave(&view, &draft, now);
        assert!(!leftovers.was_cut_off(&view, &path("a")));
    }

    #[test]
    fn a_draft_that_is_open_counts_until_it_is_over_or_overtaken() {
        let (store, leftovers) = (MemStore::new(), Leftovers::default());
        let view = view(&store);
        let open = || {
            let draft = Arc::new(view.draft(&path("a"), 0o666, false).unwrap());
            leftovers.opened(&view, &path("a"), &draft);
            draft
        };
        let [one, other, dropped] = [open(), open(), open()];
        drop(dropped);
        leftovers.closed(&one);
        assert!(leftovers.was_cut_off(&view, &path("a")));
        leftovers.opened(&view, &path("b"), &other);
        assert!(!leftovers.was_cut_off(&view, &path("a")) && leftovers.was_cut_off(&view, &path("b")));
        leftovers.published(&view, &path("b"));
        assert!(!leftovers.was_cut_off(&view, &path("b")));
    }

    #[test]
    fn so_many_are_kept_and_the_oldest_go() {
        let (store, leftovers) = (MemStore::new(), Leftovers::default());
        let view = view(&store);
        for name in 0..=LEFT_OF_ONE_MAX {
            cut_off(&leftovers, &view, &name.to_string(), b"xx");
        }
        assert!(leftovers.stat(&view, &path("0")).is_none() && leftovers.stat(&view, &path("1")).is_some());
        assert!(leftovers.forget(&view, &path("1")) && !leftovers.forget(&view, &path("1")));
    }
}
