//! A file that is read again when it has changed, and parsed once for each change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::private_file::{FileError, Opened, Stamp};

/// The last parsed version of a file that other processes change.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    path: PathBuf,
    seen: Mutex<Option<(Stamp, Arc<T>)>>,
}

impl<T: Default> Watched<T> {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, seen: Mutex::new(None) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file at the next call even if it looks the same. Clocks of file systems tick slowly and inodes come
    /// back, so whoever is going to replace the file does not rely on its looks.
    pub(crate) fn forget(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The parsed file as it is now; the default if there is none. `check` runs at every call, `parse` at every change.
    pub(crate) fn get<E: From<FileError>>(
        &self,
        check: impl FnOnce(&Opened) -> Result<(), E>,
        parse: impl FnOnce(Opened) -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let opened = match Opened::open(&self.path) {
            Ok(opened) => opened,
            Err(e) if e.is_missing() => return Ok(Arc::default()),
            Err(e) => return Err(e.into()),
        };
        check(&opened)?;
        let stamp = opened.stamp();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((old, parsed)) = &*seen
            && *old == stamp
        {
            return Ok(Arc::clone(parsed));
        }
        // A file that does not parse must not leave its older version in force.
        *seen = None;
        let parsed = Arc::new(parse(opened)?);
        *seen = Some((stamp, Arc::clone(&parsed)));
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
        assert_eq!(*get().unwrap(), b"one");
        assert_eq!(count.get(), 2);
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!(*get().unwrap(), b"two");
        replace(&path, b"more than ten", 0o600).unwrap();
        assert!(get().is_err());
        assert!(get().is_err(), "an error is not forgotten for an older version");
        std::fs::remove_file(&path).unwrap();
        assert!(get().unwrap().is_empty());
    }
}
