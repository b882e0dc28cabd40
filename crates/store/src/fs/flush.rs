//! Making what was written and named durable, many files at a time (spec/store.md, "Durability").
//!
//! One `syncfs` serves every caller that came before it began. The kernel tells a lost write to a descriptor once only;
//! whoever asks next is told that all is well. So a failure is kept, and ends all vouching of this store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use super::beneath::{self, Beneath, FileId};
use super::errors;
use crate::StoreError;

/// The flushing of one store.
#[derive(Debug)]
pub(super) struct Flusher {
    beneath: Arc<Beneath>,
    /// File systems mounted below the root in which names changed since the last flush: by device, a directory on each,
    /// or nothing where none could be opened.
    others: Mutex<HashMap<u64, Option<OwnedFd>>>,
    begun: AtomicU64,
    done: Mutex<Done>,
}

#[derive(Debug, Default)]
struct Done {
    /// Number of the latest flush that came to its end.
    flush: u64,
    failed: Option<Errno>,
}

impl Flusher {
    pub(super) fn new(beneath: Arc<Beneath>) -> Self {
        let (others, begun, done) = Default::default();
        Self { beneath, others, begun, done }
    }

    /// Notes that names in a directory changed. To be called after the change and before it is told to anyone.
    pub(super) fn touched(&self, dir: impl AsFd) {
        let device = FileId::of(&dir).map(|id| id.device);
        if device == Ok(self.beneath.id().device) {
            return;
        }
        // A device that cannot be told stands for one that cannot be opened.
        let device = device.unwrap_or(u64::MAX);
        let mut others = lock(&self.others);
        if !matches!(others.get(&device), Some(Some(_))) {
            others.insert(device, beneath::open_dir(&dir, b".").ok());
        }
    }

    /// Returns when all that was written and named before the call is durable.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let wanted = self.begun.load(Ordering::SeqCst) + 1;
        let mut done = lock(&self.done);
        if done.failed.is_none() && done.flush < wanted {
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            match self.flush_all() {
                Ok(()) => done.flush = number,
                Err(errno) => done.failed = Some(errno),
            }
        }
        done.failed.map_or(Ok(()), |errno| Err(errors::own("making the content durable", errno)))
    }

    fn flush_all(&self) -> Result<(), Errno> {
        let others = std::mem::take(&mut *lock(&self.others));
        rustix::fs::syncfs(self.beneath.root())?;
        for other in others.values() {
            match other {
                Some(dir) => rustix::fs::syncfs(dir)?,
                None => rustix::fs::sync(),
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_that_failed_is_not_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let flusher = Flusher::new(Arc::new(Beneath::open(dir.path()).unwrap()));
        flusher.flush().unwrap();
        assert_eq!(lock(&flusher.done).flush, 1);
        lock(&flusher.done).failed = Some(Errno::IO);
        assert!(matches!(flusher.flush(), Err(StoreError::Io { path: None, .. })));
        assert!(flusher.flush().is_err());
    }

    #[test]
    fn callers_share_a_flush_that_began_after_they_came() {
        let dir = tempfile::tempdir().unwrap();
        let flusher = Flusher::new(Arc::new(Beneath::open(dir.path()).unwrap()));
        let held = lock(&flusher.done);
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..8).map(|_| scope.spawn(|| flusher.flush())).collect();
            std::thread::sleep(std::time::Duration::from_millis(50));
            drop(held);
            waiting.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
        });
        assert!(flusher.begun.load(Ordering::SeqCst) <= 8);
        assert_eq!(flusher.begun.load(Ordering::SeqCst), lock(&flusher.done).flush);
    }

    #[test]
    fn only_other_file_systems_are_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let flusher = Flusher::new(Arc::new(Beneath::open(dir.path()).unwrap()));
        flusher.touched(flusher.beneath.root());
        assert!(lock(&flusher.others).is_empty());
        let proc = beneath::open_dir(rustix::fs::CWD, b"/proc").unwrap();
        flusher.touched(&proc);
        assert_eq!(lock(&flusher.others).len(), 1);
        flusher.flush().unwrap();
        assert!(lock(&flusher.others).is_empty());
    }
}
