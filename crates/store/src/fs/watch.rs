//! Whether somebody else has written to a stage that is held open (spec/store.md, "Staging").
//!
//! Every write moves a file's time of status change, and nobody can set that. So it is looked at before and after our own
//! writes; in between it belongs to us. It moves for other reasons as well, such as a new link to the file: then the bytes
//! are read again, and prove to be the same. What happens within one tick of the file system's clock is not noticed, nor is
//! what happens while a write of our own is under way.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fd::OwnedFd;

/// Watches over one open file.
#[derive(Debug)]
pub(super) struct Watch(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    /// Writes of our own that are under way.
    writing: u32,
    /// When the file was changed, after the last of them.
    changed: Option<Changed>,
    touched: bool,
}

/// Time of status change.
type Changed = (i64, i64);

impl Watch {
    /// From now on.
    pub(super) fn over(file: &OwnedFd) -> Self {
        Self(Mutex::new(Seen { writing: 0, changed: changed(file), touched: false }))
    }

    /// Writes to the file: what changes meanwhile is our own doing.
    pub(super) fn during<R>(&self, file: &OwnedFd, write: impl FnOnce() -> R) -> R {
        self.lock().begin(file);
        let written = write();
        self.lock().end(file);
        written
    }

    /// Whether somebody else may have written to it.
    pub(super) fn is_touched(&self, file: &OwnedFd) -> bool {
        let mut seen = self.lock();
        seen.look(file);
        seen.touched
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn begin(&mut self, file: &OwnedFd) {
        self.look(file);
        self.writing += 1;
    }

    fn end(&mut self, file: &OwnedFd) {
        self.writing -= 1;
        if self.writing == 0 {
            self.changed = changed(file);
        }
    }

    fn look(&mut self, file: &OwnedFd) {
        self.touched |= self.writing == 0 && (self.changed.is_none() || self.changed != changed(file));
    }
}

/// None when it cannot be told, which is as good as touched.
fn changed(file: &OwnedFd) -> Option<Changed> {
    let stat = rustix::fs::fstat(file).ok()?;
    Some((stat.st_ctime, stat.st_ctime_nsec as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::time::Duration;

    /// Longer than a tick of any file system's clock that tests run on.
    const TICK: Duration = Duration::from_millis(20);

    #[test]
    fn others_are_noticed_and_we_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, [0; 10]).unwrap();
        let ours = File::options().write(true).open(&path).unwrap();
        let held = OwnedFd::from(File::open(&path).unwrap());
        let watch = Watch::over(&held);
        for at in 0..5 {
            std::thread::sleep(TICK);
            watch.during(&held, || watch.during(&held, || ours.write_all_at(b"x", at).unwrap()));
            assert!(!watch.is_touched(&held));
        }
        std::thread::sleep(TICK);
        File::options().write(true).open(&path).unwrap().write_all_at(b"y", 0).unwrap();
        watch.during(&held, || ours.write_all_at(b"x", 0).unwrap());
        assert!(watch.is_touched(&held), "what was noticed is not forgotten");
    }
}
