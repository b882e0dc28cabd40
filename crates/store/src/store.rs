//! The trait that every store carries out (spec/store.md, "Operations").
//!
//! It is synchronous on purpose: a caller runs whole batches of calls in one job on a pool of blocking threads, because a
//! boxed future for every small file would cost more than its system calls. It decides nothing about who may do what.

use std::sync::Arc;
use std::time::Duration;

use sft_base::{EntryPath, Name, Node, Verified};

use crate::{Attributes, OpenFile, Publish, Space, StageKey, Staged, Stat, StoreError, Unapplied};

/// A tree of entries below a root.
///
/// Paths never lead out of the root. What only reads follows symbolic links among the parents of an entry as long as
/// they stay inside; what writes refuses them ([`StoreError::ThroughLink`]). The last name of a path is never followed.
/// The entry `.sft` of the root is the store's own: it is never listed, and naming it is [`StoreError::NameNotAllowed`].
pub trait Store: Send + Sync + 'static {
    /// The same store for someone who may not see all of it: what reads follows no link either
    /// ([`StoreError::ThroughLink`]), since a link leads out of whatever part of the tree they were given.
    fn without_links(&self) -> Arc<dyn Store>;

    /// What is known of an entry; of a link, of the link itself.
    fn stat(&self, path: &EntryPath) -> Result<Stat, StoreError>;

    /// What is known of each of several entries: less work than one by one where those next to each other are in one directory.
    fn stat_each(&self, paths: &[EntryPath]) -> Vec<Result<Stat, StoreError>> {
        paths.iter().map(|path| self.stat(path)).collect()
    }

    /// Opens a directory to read its entries in batches.
    fn list(&self, path: &EntryPath) -> Result<Box<dyn Listing>, StoreError>;

    /// Opens a regular file for reading; anything else is refused without being opened.
    fn open(&self, path: &EntryPath) -> Result<Box<dyn Source>, StoreError>;

    /// Opens several regular files as [`Store::open`] does, one after the other, and hands each over before it opens the next: less
    /// work than one by one where those next to each other are in one directory.
    fn open_each(&self, paths: &[EntryPath], each: &mut dyn FnMut(Result<Box<dyn Source>, StoreError>)) {
        paths.iter().for_each(|path| each(self.open(path)));
    }

    /// The target of a symbolic link, byte for byte.
    fn read_link(&self, path: &EntryPath) -> Result<Vec<u8>, StoreError>;

    /// Makes a directory whose parent exists. `mode` is narrowed by the process's umask.
    fn make_dir(&self, path: &EntryPath, mode: u32) -> Result<(), StoreError>;

    /// Removes a file, a link or an empty directory.
    fn remove(&self, path: &EntryPath) -> Result<(), StoreError>;

    /// Removes an entry and all that lies below it, following no link; the number of entries removed.
    ///
    /// Stops at the first entry that cannot be removed; what was removed by then stays removed.
    fn remove_tree(&self, path: &EntryPath) -> Result<u64, StoreError>;

    /// Gives an entry another path on the same file system, at once. Without `replace`, nothing may be there.
    fn rename(&self, from: &EntryPath, to: &EntryPath, replace: bool) -> Result<(), StoreError>;

    /// Applies attributes to an entry; those that could not be applied come back and are no error.
    fn set_attributes(&self, path: &EntryPath, attributes: &Attributes)
    -> Result<Vec<Unapplied>, StoreError>;

    /// What the file system of the root has and has left.
    fn space(&self) -> Result<Space, StoreError>;

    /// Takes the whole content of a small file. It keeps no file open; dropping what it returns removes the content.
    ///
    /// `attributes` are those it will be published with, as far as they are known: setting them now is less work than
    /// later.
    fn stage_small(&self, content: &[u8], attributes: &Attributes) -> Result<Staged, StoreError>;

    /// A directory that will become `to`, whose parent exists, and takes small content before it does; none where a directory has to
    /// be made at its name by [`Store::make_dir`], which tells what is wrong if it cannot be.
    fn new_dir(&self, to: &EntryPath) -> Option<Arc<dyn NewDir>> {
        let _ = to;
        None
    }

    /// Opens the stage of a large file of `size` bytes, anew or resumed: [`Store::stage_sparse`] of a file without holes.
    fn stage(&self, key: &StageKey, size: u64) -> Result<Box<dyn Stage>, StoreError> {
        self.stage_sparse(key, size, size)
    }

    /// Opens the stage of a large file of `size` bytes, of which at most `occupied` are expected to take space.
    ///
    /// The newest claimant of a key has it: this waits for the writes that an older [`Stage`] of the key has begun, and
    /// all its later ones are [`StoreError::Superseded`]. A key held by another process is [`StoreError::Busy`].
    /// [`StoreError::NoSpace`] comes at once when what is missing cannot fit.
    fn stage_sparse(&self, key: &StageKey, size: u64, occupied: u64) -> Result<Box<dyn Stage>, StoreError>;

    /// Makes staged content the entry `to`, at once: its name shows what was there before, or all of this.
    ///
    /// Flushes nothing: call [`Store::flush`] before, for the content, and after, for the name. When it fails, small
    /// content is gone and a large stage stays for another try. Attributes that could not be applied come back.
    fn publish(
        &self,
        staged: Staged,
        verified: Verified,
        to: &EntryPath,
        how: Publish,
        attributes: &Attributes,
    ) -> Result<Vec<Unapplied>, StoreError>;

    /// Makes `to` a symbolic link, at once as well. The mode of a link cannot be set and is silently left out.
    fn publish_link(
        &self,
        target: &[u8],
        to: &EntryPath,
        how: Publish,
        attributes: &Attributes,
    ) -> Result<Vec<Unapplied>, StoreError>;

    /// Opens a regular file for reading and writing in place; anything else is refused without being opened.
    ///
    /// Its name shows every write at once. No link is followed, among the parents neither.
    fn open_in_place(&self, path: &EntryPath) -> Result<Box<dyn OpenFile>, StoreError>;

    /// An empty file without a name, for content whose sender tells neither size nor digest before. `mode` is narrowed
    /// by the process's umask. It is private to the store until [`Store::publish_draft`]; dropping it removes it.
    fn draft(&self, mode: u32) -> Result<Box<dyn OpenFile>, StoreError>;

    /// Makes a draft the entry `to`, at once; after its content was made durable, if that replaces something. When it
    /// fails, the draft is gone.
    ///
    /// That it is complete is the word of whoever wrote it; that is the difference from [`Store::publish`].
    fn publish_draft(&self, draft: &dyn OpenFile, to: &EntryPath, how: Publish) -> Result<(), StoreError>;

    /// Gives the file `from` a second name `to`, where nothing may be. A directory or link has no second name.
    fn link(&self, from: &EntryPath, to: &EntryPath) -> Result<(), StoreError>;

    /// Everything written and named before the call is durable when it returns.
    ///
    /// After it has failed once it fails for good: what the system lost can no longer be told from what it kept.
    fn flush(&self) -> Result<(), StoreError>;

    /// Removes stages that nobody has open and nobody has touched for `older_than`; their number.
    fn expire_stages(&self, older_than: Duration) -> Result<u64, StoreError>;
}

/// A directory on its way to a name, with small content in it. Dropping it, and what was staged in it, removes all that has no name.
pub trait NewDir: Send + Sync + std::fmt::Debug {
    /// Takes the whole content of a small file as [`Store::stage_small`] does, to be published as `name` in this directory. None
    /// after it was closed, and for names that have to be looked at when they are given.
    fn stage_small(
        self: Arc<Self>,
        name: &[u8],
        content: &[u8],
        attributes: &Attributes,
    ) -> Result<Option<Staged>, StoreError>;

    /// A directory that will become `to`, which is in this one.
    fn new_dir(&self, to: &EntryPath) -> Result<Arc<dyn NewDir>, StoreError>;

    /// Takes nothing any more. `files` of those staged in it are complete, and will be published after it.
    fn close(&self, files: usize);

    /// Makes it the entry it was to be, at once: with all that was staged in it, if that is what was said when it was closed, and
    /// empty if not. Each of the files is published all the same. Flush between closing and this, for the content, and after.
    ///
    /// - Errors: something is there, or it cannot be made.
    fn publish(&self) -> Result<(), StoreError>;
}

/// A directory being read.
pub trait Listing: Send {
    /// Up to `max` entries more, one at least unless there are none left; in no order.
    ///
    /// Entries that vanish while they are read are left out.
    fn next_batch(&mut self, max: usize) -> Result<Vec<(Name, Stat)>, StoreError>;
}

/// A regular file open for reading. It stays the same file when its name is given to another.
pub trait Source: Send + Sync {
    /// What is known of it now. A changed [`crate::Version`] means that it was written to.
    fn stat(&self) -> Result<Stat, StoreError>;

    /// Fills `buffer` from `offset`; the number of bytes read, which is short only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError>;
}

/// The bytes of a large file on their way to a name. Dropping it keeps them for a later [`Store::stage`] of the key.
pub trait Stage: Send + Sync {
    /// The nodes that were found when the stage was opened, none inside another, by offset.
    ///
    /// Each was read again and hashed again, unless the stage came over from an older claimant in this process, which
    /// wrote it itself.
    fn held(&self) -> Vec<Node>;

    /// Writes a part of the content, which must lie inside its size. Calls for separate ranges may run side by side.
    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), StoreError>;

    /// Notes in the journal that the bytes of `node` were written and verified.
    fn record(&self, node: &Node) -> Result<(), StoreError>;

    /// Ends writing. The caller has verified the whole; the store checks no digest here.
    fn finish(self: Box<Self>) -> Result<Staged, StoreError>;

    /// Throws the bytes and the journal away.
    fn discard(self: Box<Self>);
}
