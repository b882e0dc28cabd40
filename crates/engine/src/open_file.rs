//! A file that a view has opened for writing: in place, or as a draft of what a path is to show.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sft_base::EntryPath;
use sft_store::{Attributes, Publish, Stat, Unapplied};
use sft_wire::{Code, WireError};

use crate::View;
use crate::error::{staging_error, wire_error};
use crate::written::Written;

/// A regular file open for writing, and for reading as far as the grant goes.
///
/// A draft that is dropped without [`OpenFile::publish`] is gone, and its path shows what it did.
pub struct OpenFile {
    file: Arc<dyn sft_store::OpenFile>,
    view: View,
    fate: Mutex<Fate>,
    written: Mutex<Written>,
}

/// What the file is, or is to be.
#[derive(Clone)]
enum Fate {
    InPlace(EntryPath),
    /// To be published there.
    Draft(EntryPath, Publish),
    /// It could not be published there, and cannot be any more.
    Refused(EntryPath),
    /// Its name was taken away before it had it.
    Unwanted,
}

impl OpenFile {
    pub(crate) fn in_place(file: Box<dyn sft_store::OpenFile>, view: View, path: EntryPath) -> Self {
        Self::new(file.into(), view, Fate::InPlace(path), Written::default())
    }

    pub(crate) fn draft(
        file: Arc<dyn sft_store::OpenFile>,
        view: View,
        path: EntryPath,
        how: Publish,
        written: Written,
    ) -> Self {
        Self::new(file, view, Fate::Draft(path, how), written)
    }

    fn new(file: Arc<dyn sft_store::OpenFile>, view: View, fate: Fate, written: Written) -> Self {
        Self { file, view, fate: Mutex::new(fate), written: Mutex::new(written) }
    }

    /// What is known of it now.
    pub fn stat(&self) -> Result<Stat, WireError> {
        let mut stat = self.file.stat().map_err(|e| wire_error(&e))?;
        stat.meta.size = self.written().size(stat.meta.size);
        Ok(stat)
    }

    /// Fills `buffer` from `offset`, short only at the end. What one has written oneself, in a draft, one may read.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, WireError> {
        let fate = self.fate().clone();
        if let Fate::InPlace(path) = &fate {
            self.view.may_read(path)?;
        }
        let mut written = self.written();
        if written.is_over() {
            if let Fate::Draft(path, _) = &fate {
                self.view.may_read(path)?;
            }
            written.settle(&*self.file)?;
        }
        drop(written);
        self.file.read_at(offset, buffer).map_err(|e| wire_error(&e))
    }

    /// Writes all of `content` at `offset`. What fails keeps a draft from being published, unless it is written later.
    pub fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), WireError> {
        self.write_parts_at(offset, &[content])
    }

    /// The same with parts that come one behind the other.
    pub fn write_parts_at(&self, offset: u64, parts: &[&[u8]]) -> Result<(), WireError> {
        let written = self.changing()?;
        let ended = self.file.write_parts_at(offset, parts).map_err(|e| staging_error(&e));
        if let Some(mut written) = written {
            let length = parts.iter().map(|part| part.len() as u64).sum();
            let range = offset..offset.saturating_add(length);
            written.note(&*self.file, range, ended.as_ref().copied())?;
        }
        ended
    }

    /// Cuts it off, or makes it longer with zeros.
    pub fn set_size(&self, size: u64) -> Result<(), WireError> {
        let written = self.changing()?;
        let ended = self.file.set_size(size).map_err(|e| staging_error(&e));
        if let Some(mut written) = written {
            written.note_size(size, ended.as_ref().copied());
        }
        ended
    }

    /// What is to be held from before a draft is changed until that is noted: whoever fills the gaps of a draft meanwhile
    /// would put old content over new. None for what is changed in place.
    fn changing(&self) -> Result<Option<MutexGuard<'_, Written>>, WireError> {
        let fate = self.fate();
        match &*fate {
            Fate::InPlace(_) => Ok(None),
            // Taken before the fate is let go of, and in the order of `publish`: the fate cannot change before it is noted.
            Fate::Draft(..) => Ok(Some(self.written())),
            // Somebody else may be going on with it.
            Fate::Refused(_) | Fate::Unwanted => {
                Err(Code::NOT_FOUND.because("this upload was ended, and takes nothing more"))
            }
        }
    }

    /// Applies attributes; those that could not be applied come back.
    pub fn set_attributes(&self, attributes: &Attributes) -> Result<Vec<Unapplied>, WireError> {
        self.file.set_attributes(attributes).map_err(|e| wire_error(&e))
    }

    /// Returns when the content is durable. A draft's name will be when it is published.
    pub fn sync(&self) -> Result<(), WireError> {
        self.written().is_to_last = true;
        self.file.sync().map_err(|e| wire_error(&e))
    }

    /// Gives a draft its name, if all that was to be written to it was; what has one already is left as it is. One for which
    /// this failed is to be dropped, or left to be gone on with.
    pub fn publish(&self) -> Result<(), WireError> {
        let mut fate = self.fate();
        let Fate::Draft(path, how) = fate.clone() else { return Ok(()) };
        let mut written = self.written();
        if let Some(why) = written.lack() {
            return Err(why.code.because(format!(
                "{path}: not all of it was written, and nothing was changed: {}",
                why.text
            )));
        }
        written.settle(&*self.file)?;
        let is_to_last = written.is_to_last;
        drop(written);
        if is_to_last {
            self.file.sync().map_err(|e| wire_error(&e))?;
        }
        let published = self.view.publish_draft(&*self.file, &path, how);
        *fate = if published.is_ok() { Fate::InPlace(path) } else { Fate::Refused(path) };
        published?;
        if is_to_last { self.view.flush() } else { Ok(()) }
    }

    /// Takes what is there of a draft, and how much of its beginning is without a gap: nothing, if that can have no name any
    /// more. It will not be published.
    pub(crate) fn abandon(&self) -> Option<(EntryPath, Arc<dyn sft_store::OpenFile>, u64)> {
        let mut fate = self.fate();
        let (path, whole) = match &*fate {
            Fate::Draft(path, _) => (path.clone(), self.written().whole()),
            Fate::Refused(path) => (path.clone(), 0),
            Fate::InPlace(_) | Fate::Unwanted => return None,
        };
        *fate = Fate::Unwanted;
        Some((path, self.file.clone(), whole))
    }

    /// What there is of a draft is not to be gone on with, and it is not published.
    pub fn drop_content(&self) {
        let mut fate = self.fate();
        if let Fate::Draft(path, _) = &*fate {
            *fate = Fate::Refused(path.clone());
        }
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

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
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
    use sft_store::{MemStore, Source, Store, StoreError};
    use std::sync::mpsc;
    use std::time::Duration;

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
    fn what_was_asked_to_last_does_name_and_all() {
        let store = MemStore::new();
        let view = view(&store, &Right::ALL);
        let draft = view.draft(&path("a"), 0o666, false).unwrap();
        draft.write_at(0, b"asked").unwrap();
        draft.sync().unwrap();
        draft.publish().unwrap();
        let draft = view.draft(&path("b"), 0o666, false).unwrap();
        draft.write_at(0, b"not").unwrap();
        draft.publish().unwrap();
        store.crash();
        assert_eq!(content(&store, "a"), b"asked");
        assert!(store.stat(&path("b")).is_err(), "nothing was promised");
    }

    #[test]
    fn a_draft_that_could_not_all_be_written_is_not_published() {
        let store = MemStore::with_capacity(4);
        let view = view(&store, &Right::ALL);
        let draft = view.draft(&path("a"), 0o666, false).unwrap();
        draft.write_at(0, b"some").unwrap();
        assert_eq!(draft.write_at(4, b" more").unwrap_err().code, Code::NO_SPACE);
        let error = draft.publish().unwrap_err();
        assert_eq!((error.code, error.text.contains("nothing was changed")), (Code::NO_SPACE, true));
        assert!(store.stat(&path("a")).is_err());
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

    /// A file that, once what was to be written is written, waits for somebody who reads.
    struct Waits {
        file: Box<dyn sft_store::OpenFile>,
        written: mpsc::SyncSender<()>,
        has_read: Mutex<mpsc::Receiver<()>>,
    }

    impl Source for Waits {
        fn stat(&self) -> Result<Stat, StoreError> {
            self.file.stat()
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
            self.file.read_at(offset, buffer)
        }
    }

    impl sft_store::OpenFile for Waits {
        fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), StoreError> {
            self.file.write_at(offset, content)
        }

        fn write_parts_at(&self, offset: u64, parts: &[&[u8]]) -> Result<(), StoreError> {
            self.file.write_parts_at(offset, parts)?;
            self.written.send(()).unwrap();
            // Nobody comes when all is well: that one waits until this is noted.
            let _ = self.has_read.lock().unwrap().recv_timeout(Duration::from_millis(300));
            Ok(())
        }

        fn set_size(&self, size: u64) -> Result<(), StoreError> {
            self.file.set_size(size)
        }

        fn set_attributes(&self, attributes: &Attributes) -> Result<Vec<Unapplied>, StoreError> {
            self.file.set_attributes(attributes)
        }

        fn sync(&self) -> Result<(), StoreError> {
            self.file.sync()
        }

        fn as_any(&self) -> &dyn std::any::Any {
            self.file.as_any()
        }
    }

    #[test]
    fn what_shows_through_never_covers_what_is_being_written() {
        let store = MemStore::new();
        let view = view(&store, &Right::ALL);
        let old = view.draft(&path("a"), 0o666, true).unwrap();
        old.write_at(0, b"old words").unwrap();
        old.publish().unwrap();
        let (written, is_written) = mpsc::sync_channel(1);
        let (has_read, is_read) = mpsc::channel();
        let file = Waits { file: store.draft(0o666).unwrap(), written, has_read: Mutex::new(is_read) };
        let over = Written::over(store.open(&path("a")).unwrap()).unwrap();
        let draft = OpenFile::draft(Arc::new(file), view, path("a"), Publish::Replace, over);
        let mut seen = [0; 9];
        std::thread::scope(|scope| {
            scope.spawn(|| draft.write_at(0, b"new").unwrap());
            is_written.recv().unwrap();
            assert_eq!(draft.read_at(0, &mut seen).unwrap(), 9);
            let _ = has_read.send(());
        });
        assert_eq!(&seen, b"new words");
    }

    #[test]
    fn what_was_ended_takes_nothing_more() {
        let store = MemStore::new();
        let view = view(&store, &Right::ALL);
        let draft = view.draft(&path("a"), 0o666, false).unwrap();
        draft.write_at(0, b"here").unwrap();
        let (_, left, whole) = draft.abandon().unwrap();
        assert!(draft.write_at(0, b"gone").is_err() && draft.set_size(0).is_err());
        let mut kept = [0; 4];
        assert_eq!((left.read_at(0, &mut kept).unwrap(), whole, &kept), (4, 4, b"here"));
    }
}
