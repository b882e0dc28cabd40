//! Reads what a sender sends: packs of whole files, pieces, and ranges to be compared. Runs where blocking is allowed.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use sft_base::{Buffer, ChainingValue, Digest, EntryPath, FileHashing, NodeHashing, limits, node_cv};
use sft_store::{Source, Stat};
use sft_wire::message::{PackHeader, PackedFile, PieceHeader};
use sft_wire::{Code, WireError};

use crate::error::source_error;
use crate::{EventSink, View};

/// A file that was offered: where it is, and what it was then.
#[derive(Clone)]
pub(crate) struct Offered {
    pub(crate) view: View,
    pub(crate) path: EntryPath,
    pub(crate) stat: Stat,
    /// Kept open between the pieces of a large file.
    pub(crate) open: Arc<Mutex<Option<Arc<dyn Source>>>>,
}

impl Offered {
    pub(crate) fn new(view: View, path: EntryPath, stat: Stat) -> Self {
        Self { view, path, stat, open: Arc::default() }
    }

    /// The whole of a small file that was opened, appended to `out`, and its digest.
    fn append_whole(&self, source: &dyn Source, out: &mut Buffer) -> Result<Digest, WireError> {
        let size = self.stat.meta.size as usize;
        let place = &mut out.unfilled()[..size];
        let read = source.read_at(0, place).map_err(|e| source_error(&e))?;
        if read != size {
            return Err(self.changed());
        }
        self.unchanged(source)?;
        let digest = Digest::of(place);
        out.fill(size);
        Ok(digest)
    }

    /// Fills `buffer` from a large file.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), WireError> {
        let read = self.source()?.read_at(offset, buffer).map_err(|e| source_error(&e))?;
        if read == buffer.len() { Ok(()) } else { Err(self.changed()) }
    }

    /// The own chaining value over a range that the receiver holds.
    pub(crate) fn hash_range(&self, range: std::ops::Range<u64>) -> Result<ChainingValue, WireError> {
        let mut hashing = NodeHashing::new(range.start);
        let mut buffer = Buffer::take((limits::PIECE_BYTES as usize).min((range.end - range.start) as usize));
        let mut at = range.start;
        while at < range.end {
            let room = buffer.unfilled();
            let len = room.len().min((range.end - at) as usize);
            self.read_at(at, &mut room[..len])?;
            hashing.update(&room[..len]);
            at += len as u64;
        }
        Ok(hashing.cv())
    }

    /// Whether the file is still what was offered; closes it.
    pub(crate) fn close(&self) -> Result<(), WireError> {
        let source = self.source()?;
        *self.open.lock().expect("no holder of this lock panics") = None;
        self.unchanged(&*source)
    }

    fn source(&self) -> Result<Arc<dyn Source>, WireError> {
        let mut open = self.open.lock().expect("no holder of this lock panics");
        if let Some(source) = &*open {
            return Ok(source.clone());
        }
        let source: Arc<dyn Source> = self.view.open(&self.path)?.into();
        self.unchanged(&*source)?;
        *open = Some(source.clone());
        Ok(source)
    }

    fn unchanged(&self, source: &dyn Source) -> Result<(), WireError> {
        let now = source.stat().map_err(|e| source_error(&e))?;
        if now.version == self.stat.version { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> WireError {
        Code::CHANGED
            .because(format!("{}: it changed while it was read; copy it again when it is quiet", self.path))
    }
}

/// Reads small files into one pack: its header and its content. A file that cannot be read says so in the header.
pub(crate) fn pack(transfer: u64, unit: u64, files: Vec<(u64, Offered)>) -> (PackHeader, Bytes) {
    let total: u64 = files.iter().map(|(_, file)| file.stat.meta.size).sum();
    let mut content = Buffer::take(total as usize);
    let mut packed = Vec::with_capacity(files.len());
    for files in files.chunk_by(|(_, a), (_, b)| a.view.is(&b.view)) {
        let paths: Vec<_> = files.iter().map(|(_, file)| file.path.clone()).collect();
        let mut left = files.iter();
        files[0].1.view.open_each(&paths, |opened| {
            let Some((entry, file)) = left.next() else { return };
            let start = content.len();
            let read = opened.and_then(|source| file.append_whole(&*source, &mut content));
            let size = (content.len() - start) as u32;
            packed.push(match read {
                Ok(digest) => PackedFile { entry: *entry, size, digest: Some(digest), error: None },
                Err(error) => {
                    PackedFile { entry: *entry, size: 0, digest: None, error: Some(cut_short(error)) }
                }
            });
        });
    }
    (PackHeader { transfer, unit, files: packed }, Bytes::from_owner(content))
}

/// A header of many failures has to fit its frame: long sentences lose their ends.
fn cut_short(mut error: WireError) -> WireError {
    let end = error.text.floor_char_boundary(PACKED_TEXT_MAX);
    error.text.truncate(end);
    error
}

/// Reads one piece: its header and its content.
pub(crate) fn piece(
    transfer: u64,
    unit: u64,
    entry: u64,
    range: std::ops::Range<u64>,
    file: &Offered,
    events: EventSink,
) -> Result<(PieceHeader, Bytes), WireError> {
    let begun = Instant::now();
    let len = (range.end - range.start) as usize;
    let mut content = Buffer::take(len);
    file.read_at(range.start, content.unfilled())?;
    content.fill(len);
    let between = Instant::now();
    let cv = node_cv(range.start, &content);
    events.counters().times.read_and_hashed(begun, between);
    Ok((PieceHeader { transfer, unit, entry, offset: range.start, cv }, Bytes::from_owner(content)))
}

/// The digest of a whole file, which must stay the same meanwhile.
pub(crate) fn digest(source: &dyn Source, path: &EntryPath) -> Result<Digest, WireError> {
    let before = source.stat().map_err(|e| source_error(&e))?;
    let mut hashing = FileHashing::new();
    let mut buffer = Buffer::take(limits::PIECE_BYTES as usize);
    let mut at = 0;
    loop {
        let room = buffer.unfilled();
        let read = source.read_at(at, room).map_err(|e| source_error(&e))?;
        hashing.update(&room[..read]);
        at += read as u64;
        if read < room.len() {
            break;
        }
    }
    let after = source.stat().map_err(|e| source_error(&e))?;
    if before.version != after.version || at != after.meta.size {
        return Err(Code::CHANGED.because(format!("{path}: it changed while it was read")));
    }
    Ok(hashing.digest())
}

/// Bytes of text for a failure inside a pack.
const PACKED_TEXT_MAX: usize = 160;
const _: () = assert!((PACKED_TEXT_MAX + 64) * limits::PACK_FILES_MAX < limits::DATA_HEADER_BYTES_MAX);
