//! A file that a view has opened for writing: in place, or as a draft of what a path is to show.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sft_base::EntryPath;
use sft_store::{Attributes, Publish, Stat, Unapplied};
use sft_wire::WireError;

use crate::View;
use crate::error::{staging_error, wire_error};

/// A regular file open for writing, and for reading as far as the grant goes.
///
/// A draft that is dropped without [`OpenFile::publish`] is gone, and its path shows what it did.
pub struct OpenFile {
    file: Box<dyn sft_store::OpenFile>,
    view: View,
    fate: Mutex<Fate>,
}

/// What the file is, or is to be.
#[derive(Clone)]
enum Fate {
    InPlace(EntryPath),
    /// To be published there.
    Draft(EntryPath, Publish),
    /// Its name was taken away before it had it.
    Unwanted,
}

impl OpenFile {
    pub(crate) fn in_place(file: Box<dyn sft_store::OpenFile>, view: View, path: EntryPath) -> Self {
        Self { file, view, fate: Mutex::new(Fate::InPlace(path)) }
    }

    pub(crate) fn draft(
        file: Box<dyn sft_store::OpenFile>,
        view: View,
        path: EntryPath,
        how: Publish,
    ) -> Self {
        Self { file, view, fate: Mutex::new(Fate::Draft(path, how)) }
    }

    /// What is known of it now.
    pub fn stat(&self) -> Result<Stat, WireError> {
        self.file.stat().map_err(|e| wire_error(&e))
    }

    /// Fills `buffer` from `offset`, short only at the end. What one has written oneself, in a draft, one may read.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, WireError> {
        if let Fate::InPlace(path) = &*self.fate() {
            self.view.may_read(path)?;
        }
        self.file.read_at(offset, buffer).map_err(|e| wire_error(&e))
    }

    /// Writes all of `content` at `offset`.
    pub fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), WireError> {
        self.file.write_at(offset, content).map_err(|e| staging_error(&e))
    }

    /// Cuts it off, or makes it longer with zeros.
    pub fn set_size(&self, size: u64) -> Result<(), WireError> {
        self.file.set_size(size).map_err(|e| staging_error(&e))
    }

    /// Applies attributes; those that could not be applied come back.
    pub fn set_attributes(&self, attributes: &Attributes) -> Result<Vec<Unapplied>, WireError> {
        self.file.set_attributes(attributes).map_err(|e| wire_error(&e))
    }

    /// Returns when the content is durable.
    pub fn sync(&self) -> Result<(), WireError> {
        self.file.sync().map_err(|e| wire_error(&e))
    }

    /// Gives a draft its name, complete as it is; what has one already is left as it is.
    pub fn publish(&self) -> Result<(), WireError> {
        let mut fate = self.fate();
        let Fate::Draft(path, how) = fate.clone() else { return Ok(()) };
        // Whatever comes of it, there is no second try.
        *fate = Fate::InPlace(path.clone());
        self.view.publish_draft(&*self.file, &path, how)
    }

    /// A draft is to become `to` instead of what it was begun for.
    pub fn rename_draft(&self, to: &EntryPath, replace: bool) -> Result<(), WireError> {
        let how = if replace { Publish::Replace } else { Publish::CreateOnly };
        self.view.may_publish(to, false)?;
        if replace {
            self.view.may_publish(to, true)?;
        }
        if let Fate::Draft(path, to_be) = &mut *self.fate() {
            (*path, *to_be) = (to.clone(), how);
        }
        Ok(())
    }

    /// A draft is not to get a name at all.
    pub fn give_up_draft(&self) {
        let mut fate = self.fate();
        if matches!(*fate, Fate::Draft(..)) {
            *fate = Fate::Unwanted;
        }
    }

    /// Whether it has yet to be published.
    pub fn is_draft(&self) -> bool {
        matches!(*self.fate(), Fate::Draft(..))
    }

    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFile").field("is_draft", &self.is_draft()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sft_auth::{Grant, Right, Rights};
    use sft_store::{MemStore, Store};
    use sft_wire::Code;
    use std::sync::Arc;

    fn path(text: &str) -> EntryPath {
        EntryPath::from_typed(text.as_bytes()).unwrap()
    }

    fn view(store: &MemStore, rights: &[Right]) -> View {
        let grant = Grant::owner_local();
        let grant = grant.narrowed(&EntryPath::root(), Rights::of(rights.iter().copied()));
        View::new(Arc::new(store.clone()), Arc::new(grant))
    }

    fn content(store: &MemStore, at: &str) -> Vec<u8> {
        let source = store.open(&path(at)).unwrap();
        let mut content = vec![0; source.stat().unwrap().meta.size as usize];
        source.read_at(0, &mut content).unwrap();
        content
    }

    #[test]
    fn a_draft_shows_nothing_until_it_is_published_and_is_written_in_place_then() {
        let store = MemStore::new();
        let view = view(&store, &Right::ALL);
        let draft = view.draft(&path("a"), 0o666, false).unwrap();
        draft.write_at(0, b"new").unwrap();
        assert!(store.stat(&path("a")).is_err() && draft.is_draft());
        draft.publish().unwrap();
        assert_eq!(content(&store, "a"), b"new");
        draft.write_at(3, b"er").unwrap();
        draft.publish().unwrap();
        assert_eq!(content(&store, "a"), b"newer");
    }

    #[test]
    fn a_draft_may_be_renamed_or_given_up_before_it_is_published() {
        let store = MemStore::new();
        let view = view(&store, &Right::ALL);
        let draft = view.draft(&path("a"), 0o666, false).unwrap();
        draft.rename_draft(&path("b"), false).unwrap();
        draft.publish().unwrap();
        assert!(store.stat(&path("a")).is_err() && store.stat(&path("b")).is_ok());
        let draft = view.draft(&path("c"), 0o666, false).unwrap();
        draft.give_up_draft();
        draft.publish().unwrap();
        assert!(store.stat(&path("c")).is_err());
    }

    #[test]
    fn rights_are_asked_for_what_is_done() {
        let store = MemStore::new();
        let owner = view(&store, &Right::ALL);
        owner.draft(&path("a"), 0o666, true).unwrap().publish().unwrap();
        let dropper = view(&store, &[Right::Create]);
        assert_eq!(dropper.open_in_place(&path("a")).unwrap_err().code, Code::DENIED);
        assert_eq!(dropper.draft(&path("a"), 0o666, false).unwrap_err().code, Code::DENIED);
        let draft = dropper.draft(&path("d"), 0o666, false).unwrap();
        owner.draft(&path("d"), 0o666, true).unwrap().publish().unwrap();
        draft.write_at(0, b"mine").unwrap();
        assert_eq!(draft.read_at(0, &mut [0; 4]).unwrap(), 4, "one's own words");
        assert_eq!(draft.publish().unwrap_err().code, Code::ALREADY_EXISTS, "it may not replace");
        let changer = view(&store, &[Right::Replace]);
        let file = changer.open_in_place(&path("a")).unwrap();
        file.write_at(0, b"x").unwrap();
        assert_eq!(file.read_at(0, &mut [0; 1]).unwrap_err().code, Code::DENIED);
        assert_eq!(changer.link(&path("a"), &path("b")).unwrap_err().code, Code::DENIED);
        let reader = view(&store, &[Right::List, Right::Read]);
        assert_eq!(reader.draft(&path("n"), 0o666, false).unwrap_err().code, Code::DENIED);
        assert_eq!(reader.make_link(b"a", &path("l")).unwrap_err().code, Code::DENIED);
    }
}
