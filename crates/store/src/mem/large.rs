//! The stage of a large file in memory.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sft_base::Node;

use super::Shared;
use super::world::{Content, Part};
use crate::claims::Claim;
use crate::content::ReadAt;
use crate::journal::{self, HeldNodes};
use crate::{Stage, StageKey, Staged, StoreError};

/// What is open of a stage.
#[derive(Debug)]
pub(super) struct OpenPart {
    shared: Arc<Shared>,
    key: StageKey,
    pub(super) size: u64,
    nodes: Mutex<HeldNodes>,
}

/// A claimed stage, open for writing.
#[derive(Debug)]
pub(super) struct MemStage {
    pub(super) claim: Claim<OpenPart>,
    pub(super) size: u64,
}

struct Bytes<'a>(&'a [u8]);

impl OpenPart {
    /// Opens the stage of `key`, and begins it anew when its journal is not that of a file of this size.
    pub(super) fn open(shared: &Arc<Shared>, key: StageKey, size: u64) -> Result<Self, StoreError> {
        let mut state = shared.locked();
        let written = state.flushes;
        let bytes_len = usize::try_from(size);
        let proven = match state.now.parts.get(&key) {
            Some(part) if part.content.bytes.len() as u64 == size => {
                journal::prove(&Bytes(&part.journal), &Bytes(&part.content.bytes), &key, size)?
            }
            _ => None,
        };
        let nodes = match (proven, state.now.parts.get_mut(&key)) {
            (Some(proven), Some(part)) => {
                Arc::make_mut(&mut part.journal).truncate(proven.end as usize);
                proven.nodes
            }
            _ => {
                let available = state.available();
                let len = bytes_len
                    .ok()
                    .filter(|_| size <= available)
                    .ok_or(StoreError::NoSpace { needed: size, available })?;
                let content = Content { bytes: Arc::new(vec![0; len]), written };
                let journal = Arc::new(journal::header(&key, size).to_vec());
                state.now.parts.insert(key, Part { content, journal, touched: Instant::now() });
                HeldNodes::new(size)
            }
        };
        drop(state);
        Ok(Self { shared: shared.clone(), key, size, nodes: Mutex::new(nodes) })
    }

    /// Takes the content out for publishing.
    pub(super) fn content(&self) -> Result<Content, StoreError> {
        let state = self.shared.locked();
        let part = state.now.parts.get(&self.key);
        part.map(|part| part.content.clone()).ok_or(StoreError::Corrupt { what: "it was removed" })
    }

    /// Throws the bytes and the journal away.
    pub(super) fn remove(&self) {
        self.shared.locked().now.parts.remove(&self.key);
    }

    fn change(&self, change: impl FnOnce(&mut Part)) -> Result<(), StoreError> {
        let mut state = self.shared.locked();
        let flushes = state.flushes;
        let part =
            state.now.parts.get_mut(&self.key).ok_or(StoreError::Corrupt { what: "it was removed" })?;
        part.touched = Instant::now();
        part.content.written = flushes;
        change(part);
        Ok(())
    }

    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), StoreError> {
        let end = offset.checked_add(content.len() as u64).filter(|&end| end <= self.size);
        let end = end.ok_or(StoreError::Corrupt { what: "a part of it lies behind its end" })?;
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).forget(offset..end);
        // Inside the size, which has fitted into memory.
        let range = offset as usize..end as usize;
        self.change(|part| Arc::make_mut(&mut part.content.bytes)[range].copy_from_slice(content))
    }

    fn record(&self, node: &Node) -> Result<(), StoreError> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).insert(node)?;
        self.change(|part| Arc::make_mut(&mut part.journal).extend(journal::record(node)))
    }
}

impl Stage for MemStage {
    fn held(&self) -> Vec<Node> {
        self.claim
            .using(|open| Ok(open.nodes.lock().unwrap_or_else(PoisonError::into_inner).nodes()))
            .unwrap_or_default()
    }

    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), StoreError> {
        self.claim.using(|open| open.write_at(offset, content))
    }

    fn record(&self, node: &Node) -> Result<(), StoreError> {
        self.claim.using(|open| open.record(node))
    }

    fn finish(self: Box<Self>) -> Result<Staged, StoreError> {
        self.claim.using(|_| Ok(()))?;
        Ok(Staged::new(self.size, *self))
    }

    fn discard(self: Box<Self>) {
        let _ = self.claim.use_up(|open| {
            open.remove();
            Ok(())
        });
    }
}

impl ReadAt for Bytes<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
        Ok(super::copy_from(self.0, offset, buffer))
    }
}
