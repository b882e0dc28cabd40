//! Small content on its way: written whole under a temporary name and closed at once.

use std::sync::Arc;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::stage_dir::{self, NEW_FILE, Opened, StageDir};
use crate::StoreError;

/// A file, or a link, of the stage directory that disappears unless it is given a name.
#[derive(Debug)]
pub(super) struct Temporary {
    dir: Arc<Opened>,
    name: String,
    /// Whether there is still something to be removed.
    pub(super) is_there: bool,
    _stages: Arc<StageDir>,
}

impl Temporary {
    /// A file with this content.
    pub(super) fn file(stages: &Arc<StageDir>, content: &[u8]) -> Result<Self, StoreError> {
        let needed = content.len() as u64;
        Self::make(stages, needed, "staging a file", |dir, name| {
            let file = stage_dir::create_new(dir.stage(), name, NEW_FILE)?;
            stage_dir::write_full(&file, 0, content).inspect_err(|_| {
                let _ = rustix::fs::unlinkat(dir.stage(), name, AtFlags::empty());
            })
        })
    }

    /// A symbolic link to `target`.
    pub(super) fn link(stages: &Arc<StageDir>, target: &[u8]) -> Result<Self, StoreError> {
        Self::make(stages, target.len() as u64, "staging a link", |dir, name| {
            rustix::fs::symlinkat(target, dir.stage(), name)
        })
    }

    fn make(
        stages: &Arc<StageDir>,
        needed: u64,
        doing: &'static str,
        make: impl Fn(&Opened, &str) -> Result<(), Errno>,
    ) -> Result<Self, StoreError> {
        let name = stages.temporary_name();
        let dir = stages.using(needed, doing, |dir| make(dir, &name).map(|()| dir.clone()))?;
        Ok(Self { dir, name, is_there: true, _stages: stages.clone() })
    }

    /// The directory it lies in.
    pub(super) fn dir(&self) -> &Opened {
        &self.dir
    }

    /// Its name there.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.is_there {
            let _ = rustix::fs::unlinkat(self.dir.stage(), self.name.as_str(), AtFlags::empty());
        }
    }
}
