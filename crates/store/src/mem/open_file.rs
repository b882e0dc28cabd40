//! Files in memory that are written in place, and drafts.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::world::{Body, Content};
use super::{Shared, State, copy_from};
use crate::{Attributes, OpenFile, Source, Stat, StoreError, Unapplied};

/// A file open for reading and writing; a draft is an entry without a name.
pub(super) struct MemOpenFile {
    shared: Arc<Shared>,
    pub(super) number: u64,
    pub(super) is_draft: AtomicBool,
    /// What it last was, for when its name is gone.
    last: Mutex<(Stat, Content)>,
}

impl MemOpenFile {
    pub(super) fn new(shared: Arc<Shared>, number: u64, opened: (Stat, Content), is_draft: bool) -> Self {
        Self { shared, number, is_draft: AtomicBool::new(is_draft), last: Mutex::new(opened) }
    }

    /// Changes the bytes, in the tree as long as they are there.
    fn change(
        &self,
        change: impl FnOnce(&State, &mut Vec<u8>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut state = self.shared.locked();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Body::File(content)) = state.now.entry(self.number).map(|entry| &entry.body) {
            last.1 = content.clone();
        }
        let mut bytes = last.1.bytes.to_vec();
        change(&state, &mut bytes)?;
        last.1 = Content { bytes: Arc::new(bytes), written: state.flushes };
        let content = last.1.clone();
        state.now.overwrite(self.number, content);
        last.0.meta.size = last.1.bytes.len() as u64;
        if let Some(stat) = state.now.stat(self.number) {
            last.0 = stat;
        }
        Ok(())
    }
}

impl Source for MemOpenFile {
    fn stat(&self) -> Result<Stat, StoreError> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).0;
        Ok(self.shared.locked().now.stat(self.number).unwrap_or(last))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
        let state = self.shared.locked();
        if let Some(Body::File(content)) = state.now.entry(self.number).map(|entry| &entry.body) {
            return Ok(copy_from(&content.bytes, offset, buffer));
        }
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(copy_from(&last.1.bytes, offset, buffer))
    }
}

impl OpenFile for MemOpenFile {
    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), StoreError> {
        self.change(|state, bytes| {
            let end = offset.saturating_add(content.len() as u64);
            grow(state, bytes, end)?;
            let start = offset as usize;
            bytes[start..start + content.len()].copy_from_slice(content);
            Ok(())
        })
    }

    fn set_size(&self, size: u64) -> Result<(), StoreError> {
        self.change(|state, bytes| {
            grow(state, bytes, size)?;
            bytes.truncate(size as usize);
            Ok(())
        })
    }

    fn set_attributes(&self, attributes: &Attributes) -> Result<Vec<Unapplied>, StoreError> {
        self.shared.locked().now.set_attributes(self.number, attributes);
        Ok(Vec::new())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for MemOpenFile {
    fn drop(&mut self) {
        if self.is_draft.load(Ordering::SeqCst) {
            self.shared.locked().now.forget(self.number);
        }
    }
}

/// Makes room up to `end`, if the store has it.
fn grow(state: &State, bytes: &mut Vec<u8>, end: u64) -> Result<(), StoreError> {
    let (needed, available) = (end.saturating_sub(bytes.len() as u64), state.available());
    if needed > available {
        return Err(StoreError::NoSpace { needed, available });
    }
    bytes.resize(bytes.len() + needed as usize, 0);
    Ok(())
}
