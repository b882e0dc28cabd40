//! What a handle stands for, and what is asked of it: reading, writing, listing (draft, sections 6.4 to 6.7).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sft_base::EntryPath;
use sft_engine::{Moment, OpenFile, wire_error};
use sft_store::{Attributes, Listing, Source, Stat};

use super::attributes::{FileAttributes, long_name};
use super::packet::{DATA_BYTES_MAX, Writing};
use super::status::{Failed, Outcome, Status, ok};

/// A file that is open, shared with whatever copies from it.
pub(crate) enum File {
    /// For reading alone, and where it was opened.
    Source(Box<dyn Source>, EntryPath),
    /// For writing, and perhaps for reading.
    Open(OpenedFile),
}

/// A file open for writing, by one handle.
pub(crate) struct OpenedFile {
    pub(crate) file: Arc<OpenFile>,
    pub(crate) path: EntryPath,
    pub(crate) reads: bool,
    /// Everything is written to the end.
    pub(crate) appends: bool,
    /// Whether closing it publishes it, and since when it is being written.
    pub(crate) began_draft: Option<Moment>,
    /// Whether an earlier session began the draft.
    pub(crate) resumed: bool,
    /// What is special about the first write.
    pub(crate) first: Mutex<FirstWrite>,
    /// Whether bits that change who a program runs as may be set.
    pub(crate) set_id: bool,
    /// Whether closing it has to wait for the disk: it replaces something, or the client has asked for that.
    pub(crate) flushes: AtomicBool,
}

/// What a client may mean by its first write, after an upload of its own was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstWrite {
    /// What it says.
    Plain,
    /// To go on with what is there; or, from the beginning, to begin anew.
    Resuming,
    /// To go on with what it takes for its own beginning, if it is at the end: but that was never there.
    Misled,
    /// It has, and was refused: nothing else that it does by this handle is meant for what is there.
    Refused,
    /// It has gone on behind what has come, and was refused: what it has sent is not all of it.
    BehindGap,
}

/// A directory being listed.
pub(crate) struct Dir {
    pub(crate) listing: Box<dyn Listing>,
}

impl File {
    pub(crate) fn stat(&self) -> Outcome<Stat> {
        match self {
            Self::Source(source, _) => source.stat().map_err(|e| wire_error(&e).into()),
            Self::Open(opened) => Ok(opened.file.stat()?),
        }
    }

    /// Fills `buffer` from `offset`, short only at the end.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Outcome<usize> {
        match self {
            Self::Source(source, _) => source.read_at(offset, buffer).map_err(|e| wire_error(&e).into()),
            Self::Open(opened) if opened.reads => Ok(opened.file.read_at(offset, buffer)?),
            Self::Open(_) => Err(Failed::new(Status::PermissionDenied, "it was not opened for reading")),
        }
    }

    /// The reply to READ: what was read, or that there is no more.
    pub(crate) fn read(&self, id: u32, offset: u64, length: u32) -> Outcome<Vec<u8>> {
        // Clients ask for as much as they may get, also of small files. But there are files, as in `/proc`, that have content
        // and no size, and some grow: the end is where nothing is read.
        let left = self.stat()?.meta.size.saturating_sub(offset).max(UNSIZED_BYTES);
        let length = (length as usize).min(DATA_BYTES_MAX).min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut reply = Writing::reply(DATA, id).u32(0).done();
        let head = reply.len();
        reply.resize(head + length, 0);
        let read = self.read_at(offset, &mut reply[head..])?;
        if read == 0 {
            return Err(Failed::end());
        }
        reply.truncate(head + read);
        let packet = (reply.len() - 4) as u32;
        reply[..4].copy_from_slice(&packet.to_be_bytes());
        reply[head - 4..head].copy_from_slice(&(read as u32).to_be_bytes());
        Ok(reply)
    }

    /// Writes parts one behind the other.
    pub(crate) fn write(&self, offset: u64, parts: &[&[u8]]) -> Outcome<()> {
        let opened = self.opened()?;
        let offset = if opened.appends { opened.file.stat()?.meta.size } else { offset };
        opened.before_writing(offset, parts.iter().all(|part| part.is_empty()))?;
        Ok(opened.file.write_parts_at(offset, parts)?)
    }

    pub(crate) fn set(&self, asked: &FileAttributes) -> Outcome<()> {
        let opened = self.opened()?;
        if let Some(size) = asked.size {
            // The OpenSSH client cuts off where it thinks that it has come to.
            let mut first = opened.first();
            opened.check_not_refused(*first)?;
            *first = FirstWrite::Plain;
            drop(first);
            opened.file.set_size(size)?;
        }
        let attributes = wanted(asked, opened.set_id);
        if attributes != Attributes::default() {
            applied(&opened.file.set_attributes(&attributes)?)?;
        }
        owner_is_left(asked)
    }

    pub(crate) fn sync(&self) -> Outcome<()> {
        match self {
            Self::Source(..) => Ok(()),
            Self::Open(opened) => {
                opened.flushes.store(true, Ordering::Relaxed);
                Ok(opened.file.sync()?)
            }
        }
    }

    /// Whether closing it takes no more than giving it a name.
    pub(crate) fn closes_at_once(&self) -> bool {
        match self {
            Self::Source(..) => true,
            Self::Open(opened) => !opened.flushes.load(Ordering::Relaxed),
        }
    }

    fn opened(&self) -> Outcome<&OpenedFile> {
        match self {
            Self::Open(opened) => Ok(opened),
            Self::Source(..) => Err(Failed::new(Status::PermissionDenied, "it was not opened for writing")),
        }
    }
}

impl OpenedFile {
    pub(crate) fn first(&self) -> MutexGuard<'_, FirstWrite> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write of nothing says nothing about what the client means.
    fn before_writing(&self, offset: u64, is_empty: bool) -> Outcome<()> {
        let mut first = self.first();
        self.check_not_refused(*first)?;
        if is_empty {
            return Ok(());
        }
        match *first {
            FirstWrite::Plain => return Ok(()),
            FirstWrite::Resuming if offset == 0 => self.file.set_size(0)?,
            FirstWrite::Resuming => {
                let size = self.file.stat()?.meta.size;
                if offset > size {
                    *first = FirstWrite::BehindGap;
                    return self.check_not_refused(*first);
                }
            }
            FirstWrite::Misled => {
                let size = self.file.stat()?.meta.size;
                if size > 0 && offset >= size {
                    *first = FirstWrite::Refused;
                    return self.check_not_refused(*first);
                }
            }
            FirstWrite::Refused | FirstWrite::BehindGap => {}
        }
        *first = FirstWrite::Plain;
        Ok(())
    }

    fn check_not_refused(&self, first: FirstWrite) -> Outcome<()> {
        match first {
            FirstWrite::Refused => Err(Failed::new(Status::Failure, MISLED)),
            FirstWrite::BehindGap => {
                let size = self.file.stat()?.meta.size;
                let text = format!(
                    "of this file {size} bytes have come; open it again and go on from there, or send all of it"
                );
                Err(Failed::new(Status::Failure, text))
            }
            FirstWrite::Plain | FirstWrite::Resuming | FirstWrite::Misled => Ok(()),
        }
    }
}

const MISLED: &str = "an upload that was to replace this file was cut off or goes on still; what is here is not its beginning: \
                      send the whole file again, or remove this one first";

impl Dir {
    /// The reply to READDIR: many names at a time.
    pub(crate) fn read(&mut self, id: u32) -> Outcome<Vec<u8>> {
        let batch = self.listing.next_batch(NAMES_AT_ONCE).map_err(|e| Failed::from(wire_error(&e)))?;
        if batch.is_empty() {
            return Err(Failed::end());
        }
        let reply = Writing::reply(NAME, id).u32(batch.len() as u32);
        let add = |reply: Writing, (name, stat): &(sft_base::Name, Stat)| {
            reply.string(name.as_bytes()).string(&long_name(name.as_bytes(), stat)).stat(stat)
        };
        Ok(batch.iter().fold(reply, add).done())
    }
}

/// What the store is to set. Set-id bits are the owner's doing only.
pub(crate) fn wanted(asked: &FileAttributes, set_id: bool) -> Attributes {
    let bits = if set_id { 0o7777 } else { 0o777 };
    Attributes {
        modified: asked.modified.map(|secs| sft_base::Time { secs: secs.into(), nanos: 0 }),
        mode: asked.permissions.map(|mode| mode & bits),
    }
}

/// What could not be set is told.
pub(crate) fn applied(unapplied: &[sft_store::Unapplied]) -> Outcome<()> {
    match unapplied.first() {
        Some(unapplied) => Err(Failed::new(Status::PermissionDenied, unapplied.to_string())),
        None => Ok(()),
    }
}

/// Owners are not set; said after all else was.
pub(crate) fn owner_is_left(asked: &FileAttributes) -> Outcome<()> {
    match asked.owner {
        Some(_) => Err(Failed::new(Status::Unsupported, "the owner of a file cannot be set here")),
        None => Ok(()),
    }
}

/// The reply that tells attributes.
pub(crate) fn stat_reply(id: u32, stat: &Stat) -> Vec<u8> {
    Writing::reply(ATTRS, id).stat(stat).done()
}

/// The reply that tells one name.
pub(crate) fn name_reply(id: u32, name: &[u8]) -> Vec<u8> {
    // Without attributes: nobody looks at them here.
    Writing::reply(NAME, id).u32(1).string(name).string(name).u32(0).done()
}

/// How a request ended that has nothing to tell.
pub(crate) fn finished(id: u32, outcome: Outcome<()>) -> Vec<u8> {
    match outcome {
        Ok(()) => ok(id),
        Err(failed) => failed.reply(id),
    }
}

const DATA: u8 = 103;
/// Asked of files beyond the size they say they have.
const UNSIZED_BYTES: u64 = 4096;
const NAME: u8 = 104;
const ATTRS: u8 = 105;
/// With names of 255 bytes each this fills half of the longest packet.
pub(crate) const NAMES_AT_ONCE: usize = 200;
