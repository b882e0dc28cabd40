//! A file that is read again when it has changed, and parsed once for each change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::private_file::{FileError, Opened, Stamp};

/// The last parsed version of a file that other processes change.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    path: PathBuf,
    seen: Mutex<Option<Seen<T>>>,
}

#[derive(Debug)]
struct Seen<T> {
    /// None: there was no file.
    stamp: Option<Stamp>,
    parsed: Arc<T>,
    /// It is read again whatever it looks like.
    is_forgotten: bool,
}

impl<T: Default + PartialEq> Watched<T> {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, seen: Mutex::new(None) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file at the next call even if it looks the same. Clocks of file systems tick slowly and inodes come
    /// back, so whoever is going to replace the file does not rely on its looks.
    pub(crate) fn forget(&self) {
        if let Some(seen) = &mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner) {
            seen.is_forgotten = true;
        }
    }

    /// The parsed file as it is now; the default if there is none. `check` runs at every call, `parse` at every change. The answer is
    /// the same `Arc` while it says the same.
    pub(crate) fn get<E: From<FileError>>(
        &self,
        check: impl FnOnce(&Opened) -> Result<(), E>,
        parse: impl FnOnce(Opened) -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let opened = match Opened::open(&self.path) {
            Ok(opened) => Some(opened),
            Err(e) if e.is_missing() => None,
            Err(e) => return Err(e.into()),
        };
        opened.as_ref().map_or(Ok(()), check)?;
        let stamp = opened.as_ref().map(Opened::stamp);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // A file that does not parse must not leave its older version in force.
        let before = seen.take();
        let parsed = match &before {
            Some(before) if before.stamp == stamp && !before.is_forgotten => before.parsed.clone(),
            _ => {
                let parsed = opened.map_or_else(|| Ok(T::default()), parse)?;
                let before = before.map(|before| before.parsed);
                before.filter(|before| **before == parsed).unwrap_or_else(|| Arc::new(parsed))
            }
        };
        *seen = Some(Seen { stamp, parsed: parsed.clone(), is_forgotten: false });
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private_file::replace;

    #[test]
    fn parses_once_for_each_version() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let watched = Watched::<Vec<u8>>::new(path.clone());
        let count = std::cell::Cell::new(0);
        let get = || {
            watched.get::<FileError>(
                |_| Ok(()),
                |opened| {
                    count.set(count.get() + 1);
                    opened.read(10)
                },
            )
        };
        assert!(get().unwrap().is_empty(), "no file is an empty one");
        replace(&path, b"one", 0o600).unwrap();
        assert_eq!(*get().unwrap(), b"one");
        assert_eq!(*get().unwrap(), b"one");
        assert_eq!(count.get(), 1);
        watched.forget();
        let (before, again) = (get().unwrap(), get().unwrap());
        assert_eq!((before.as_slice(), count.get()), (&b"one"[..], 2));
        watched.forget();
        assert!(Arc::ptr_eq(&before, &get().unwrap()) && Arc::ptr_eq(&before, &again), "it says the same");
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!(*get().unwrap(), b"two");
        replace(&path, b"more than ten", 0o600).unwrap();
        assert!(get().is_err());
        assert!(get().is_err(), "an error is not forgotten for an older version");
        std::fs::remove_file(&path).unwrap();
        let none = get().unwrap();
        assert!(none.is_empty() && Arc::ptr_eq(&none, &get().unwrap()));
    }
}
