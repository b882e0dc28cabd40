//! Small content on its way: written whole under a temporary name and closed at once.

use std::sync::Arc;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use super::attributes;
use super::stage_dir::{self, NEW_FILE, Shard, StageDir};
use crate::{Attributes, StoreError, Unapplied};

/// A file, or a link, of a shard of the stage directory that disappears unless it is given a name.
#[derive(Debug)]
pub(super) struct Temporary {
    shard: Arc<Shard>,
    name: String,
    /// Whether there is still something to be removed.
    pub(super) is_there: bool,
    /// Of a file that is whole.
    dress: Option<Dress>,
    _stages: Arc<StageDir>,
}

/// What was set on a file when it was made, and what of that could not be.
#[derive(Debug)]
pub(super) struct Dress {
    asked: Attributes,
    unapplied: Vec<Unapplied>,
}

impl Dress {
    /// With what mode to make a file that shall have these attributes: it most often needs no other then.
    pub(super) fn mode(attributes: &Attributes) -> Mode {
        attributes.mode.map_or(NEW_FILE, |mode| Mode::from_raw_mode(mode & 0o777))
    }

    /// Writes the content of a file that was made with [`Self::mode`], and sets its attributes.
    pub(super) fn fill(file: &OwnedFd, content: &[u8], attributes: &Attributes) -> Result<Self, Errno> {
        stage_dir::write_full(file, 0, content)?;
        Ok(Self { asked: *attributes, unapplied: attributes::set_on_new(file, attributes) })
    }

    /// Whether nothing is left to be set.
    pub(super) fn is(&self, attributes: &Attributes) -> bool {
        self.asked == *attributes
    }

    /// Sets attributes if they are others than before; what of them could not be.
    pub(super) fn change(self, dir: impl AsFd, name: &[u8], attributes: &Attributes) -> Vec<Unapplied> {
        if self.is(attributes) { self.unapplied } else { attributes::set_on_own(dir, name, attributes) }
    }
}

impl Temporary {
    /// A file with this content and these attributes.
    pub(super) fn file(
        stages: &Arc<StageDir>,
        content: &[u8],
        attributes: &Attributes,
    ) -> Result<Self, StoreError> {
        let needed = content.len() as u64;
        let mut dress = None;
        let mut made = Self::make(stages, needed, "staging a file", |dir, name| {
            let file = stage_dir::create_new(dir, name, Dress::mode(attributes))?;
            let filled = Dress::fill(&file, content, attributes).inspect_err(|_| {
                let _ = rustix::fs::unlinkat(dir, name, AtFlags::empty());
            })?;
            dress = Some(filled);
            Ok(())
        })?;
        made.dress = dress;
        Ok(made)
    }

    /// An empty file that stays open, for content of any length.
    pub(super) fn open(stages: &Arc<StageDir>, mode: Mode) -> Result<(Self, OwnedFd), StoreError> {
        let mut file = None;
        let made = Self::make(stages, 0, "beginning a file", |dir, name| {
            file = Some(stage_dir::create_new(dir, name, mode)?);
            Ok(())
        })?;
        Ok((made, file.expect("it was made, and kept open")))
    }

    /// A symbolic link to `target`.
    pub(super) fn link(stages: &Arc<StageDir>, target: &[u8]) -> Result<Self, StoreError> {
        Self::make(stages, target.len() as u64, "staging a link", |dir, name| {
            rustix::fs::symlinkat(target, dir, name)
        })
    }

    fn make(
        stages: &Arc<StageDir>,
        needed: u64,
        doing: &'static str,
        mut make: impl FnMut(BorrowedFd<'_>, &str) -> Result<(), Errno>,
    ) -> Result<Self, StoreError> {
        let name = stages.temporary_name();
        let shard = stages.using(needed, doing, |opened| {
            let shard = opened.shard()?;
            shard.alone(|dir| make(dir, &name))?;
            Ok(shard)
        })?;
        Ok(Self { shard, name, is_there: true, dress: None, _stages: stages.clone() })
    }

    /// The directory it lies in.
    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.shard.dir()
    }

    /// Its name there.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Sets attributes, unless they were set when it was made; what of them could not be.
    pub(super) fn dress(&mut self, attributes: &Attributes) -> Vec<Unapplied> {
        match self.dress.take() {
            Some(dress) => dress.change(self.dir(), self.name.as_bytes(), attributes),
            None => attributes::set_on_own(self.dir(), self.name.as_bytes(), attributes),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.is_there {
            let _ = rustix::fs::unlinkat(self.dir(), self.name.as_str(), AtFlags::empty());
        }
    }
}
