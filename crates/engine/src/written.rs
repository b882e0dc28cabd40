//! What has been written of a draft, what failed to be, and what shows through where nothing was written.

use std::ops::Range;

use sft_base::ByteRanges;
use sft_store::{OpenFile, Source, StoreError};
use sft_wire::WireError;

use crate::error::staging_error;

/// How far a draft has come.
#[derive(Default)]
pub(crate) struct Written {
    ranges: ByteRanges,
    /// What could not be written, and has not been since.
    missing: ByteRanges,
    why: Option<WireError>,
    under: Option<Under>,
    /// Whether somebody has asked that it be on disk.
    pub(crate) is_to_last: bool,
}

/// What the draft is to replace, which shows wherever the draft has nothing of its own.
struct Under {
    old: Box<dyn Source>,
    /// Nothing of it shows behind this.
    end: u64,
}

impl Written {
    /// So much from the beginning is there already.
    pub(crate) fn up_to(end: u64) -> Self {
        let mut written = Self::default();
        written.ranges.insert(0..end);
        written
    }

    /// Nothing yet, over what is to be replaced.
    pub(crate) fn over(old: Box<dyn Source>) -> Result<Self, StoreError> {
        let end = old.stat()?.meta.size;
        Ok(Self { under: Some(Under { old, end }), ..Self::default() })
    }

    /// Notes how writing a range ended.
    pub(crate) fn note(
        &mut self,
        file: &dyn OpenFile,
        range: Range<u64>,
        ended: Result<(), &WireError>,
    ) -> Result<(), WireError> {
        if let Err(why) = ended {
            self.missing.insert(range);
            self.why = Some(why.clone());
            if self.missing.len() > RANGES_MAX {
                self.missing.insert(0..u64::MAX);
            }
            return Ok(());
        }
        self.missing.remove(range.clone());
        self.ranges.insert(range);
        if self.ranges.len() > RANGES_MAX {
            self.settle(file)?;
            // All else of it stays: what is missing, and whether it is to last.
            self.ranges = Self::up_to(self.whole()).ranges;
        }
        Ok(())
    }

    /// Notes that the size was set, or could not be.
    pub(crate) fn note_size(&mut self, size: u64, ended: Result<(), &WireError>) {
        if let Err(why) = ended {
            self.missing.insert(size..u64::MAX);
            self.why = Some(why.clone());
            return;
        }
        self.ranges.remove(size..u64::MAX);
        self.missing.remove(size..u64::MAX);
        if let Some(under) = &mut self.under {
            under.end = under.end.min(size);
        }
    }

    /// How much from the beginning was written without a gap.
    pub(crate) fn whole(&self) -> u64 {
        let end = self.ranges.iter().next().filter(|first| first.start == 0).map_or(0, |first| first.end);
        // What failed may be half written over.
        self.missing.iter().next().map_or(end, |missing| end.min(missing.start))
    }

    /// The size of a draft whose own content is so long.
    pub(crate) fn size(&self, own: u64) -> u64 {
        self.under.as_ref().map_or(own, |under| own.max(under.end))
    }

    /// Whether there is something under it.
    pub(crate) fn is_over(&self) -> bool {
        self.under.is_some()
    }

    /// Why it is not all there.
    pub(crate) fn lack(&self) -> Option<&WireError> {
        self.why.as_ref().filter(|_| !self.missing.is_empty())
    }

    /// Copies what shows through, so that the draft is all there is.
    pub(crate) fn settle(&mut self, file: &dyn OpenFile) -> Result<(), WireError> {
        let Some(Under { old, end }) = &self.under else { return Ok(()) };
        let mut buffer = Vec::new();
        for gap in self.ranges.gaps(*end) {
            let mut at = gap.start;
            while at < gap.end {
                buffer.resize(COPY_BYTES.min(usize::try_from(gap.end - at).unwrap_or(COPY_BYTES)), 0);
                let read = old.read_at(at, &mut buffer).map_err(|e| staging_error(&e))?;
                if read == 0 {
                    break;
                }
                file.write_at(at, &buffer[..read]).map_err(|e| staging_error(&e))?;
                at += read as u64;
            }
        }
        self.under = None;
        Ok(())
    }
}

/// A draft that is written in more parts than these remembers only the first.
const RANGES_MAX: usize = 1024;
const COPY_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use sft_base::EntryPath;
    use sft_store::{MemStore, Publish, Store};
    use sft_wire::Code;

    fn over(content: &[u8]) -> (MemStore, Box<dyn OpenFile>, Written) {
        let store = MemStore::new();
        let path = EntryPath::from_typed(b"old").unwrap();
        let old = store.draft(0o666).unwrap();
        old.write_at(0, content).unwrap();
        store.publish_draft(&*old, &path, Publish::CreateOnly).unwrap();
        let written = Written::over(store.open(&path).unwrap()).unwrap();
        let draft = store.draft(0o666).unwrap();
        (store, draft, written)
    }

    fn content(file: &dyn OpenFile) -> Vec<u8> {
        let mut content = vec![0; file.stat().unwrap().meta.size as usize];
        file.read_at(0, &mut content).unwrap();
        content
    }

    #[test]
    fn what_was_not_written_shows_through() {
        let (_store, draft, mut written) = over(b"0123456789");
        draft.write_at(2, b"xy").unwrap();
        written.note(&*draft, 2..4, Ok(())).unwrap();
        assert_eq!((written.size(4), written.whole()), (10, 0));
        written.settle(&*draft).unwrap();
        assert_eq!(content(&*draft), b"01xy456789");
    }

    #[test]
    fn what_was_cut_off_does_not_show() {
        let (_store, draft, mut written) = over(b"0123456789");
        draft.set_size(3).unwrap();
        written.note_size(3, Ok(()));
        draft.set_size(5).unwrap();
        written.note_size(5, Ok(()));
        written.settle(&*draft).unwrap();
        assert_eq!(content(&*draft), b"012\0\0");
    }

    #[test]
    fn what_failed_is_missing_until_it_is_written() {
        let (_store, draft, mut written) = over(b"");
        let why = Code::NO_SPACE.because("full");
        written.note(&*draft, 0..4, Ok(())).unwrap();
        written.note(&*draft, 4..9, Err(&why)).unwrap();
        assert_eq!((written.lack(), written.whole()), (Some(&why), 4));
        written.note(&*draft, 4..9, Ok(())).unwrap();
        assert_eq!((written.lack(), written.whole()), (None, 9));
        written.note(&*draft, 2..6, Err(&why)).unwrap();
        assert_eq!(written.whole(), 2, "the old one is not there any more");
    }

    #[test]
    fn many_parts_are_not_all_remembered_and_nothing_is_lost_by_it() {
        let old = vec![b'o'; 3 * (RANGES_MAX + 2)];
        let (_store, draft, mut written) = over(&old);
        written.is_to_last = true;
        for part in 0..RANGES_MAX as u64 + 1 {
            draft.write_at(3 * part, b"n").unwrap();
            written.note(&*draft, 3 * part..3 * part + 1, Ok(())).unwrap();
        }
        assert!(!written.is_over() && written.whole() == 1 && written.is_to_last);
        assert!(content(&*draft).starts_with(b"noonoonoo") && content(&*draft).ends_with(b"noonooooo"));
    }
}
