//! Files of our own: read with a bound, replaced as a whole, locked while they change.
//!
//! A replaced file is old or new, never between: temporary file beside it, fsync, rename, fsync of the folder. The
//! lock is advisory and lies in `NAME.lock`, so that a server and a command of the same user can both change a file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why one of our own files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Longer than we read.
    #[error("{} has more than {max} bytes, which is too much for such a file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes allowed.
        max: u64,
    },
    /// Other users could read a secret.
    #[error("{} can be read by others (mode {mode:04o}); run `chmod {wanted:o} {}` and try again", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The bits it should have.
        wanted: u32,
    },
    /// Other users could change what decides on access.
    #[error("{} can be changed by others (mode {mode:04o}); run `chmod go-w {}` and try again", path.display(), path.display())]
    Writable {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to a user who is neither this one nor root.
    #[error("{} belongs to user number {owner}, and not to this user (number {us}) or root", path.display())]
    Foreign {
        /// The file or folder.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// It is a folder, a device or a pipe.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What it should be.
        path: PathBuf,
    },
}

impl FileError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.into(), source }
    }

    /// Whether the file simply is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// What tells one version of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(meta: &fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// A file opened for reading, with what is known of it at that moment.
pub(crate) struct Opened {
    path: PathBuf,
    file: File,
    meta: fs::Metadata,
}

impl Opened {
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        // Without O_NONBLOCK a pipe in the place of a key file would hold us for ever.
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
        let file = file.map_err(|e| FileError::io("open", path, e))?;
        let meta = file.metadata().map_err(|e| FileError::io("look at", path, e))?;
        if !meta.is_file() {
            return Err(FileError::NotAFile { path: path.into() });
        }
        Ok(Self { path: path.into(), file, meta })
    }

    pub(crate) fn stamp(&self) -> Stamp {
        Stamp::of(&self.meta)
    }

    /// Refuses a file that anyone but its owner can read or write.
    pub(crate) fn require_secret(&self) -> Result<(), FileError> {
        let mode = self.meta.mode() & 0o7777;
        let exposed = mode & 0o077 != 0;
        if exposed {
            Err(FileError::Exposed { path: self.path.clone(), mode, wanted: 0o600 })
        } else {
            Ok(())
        }
    }

    /// Refuses a file that anyone but this user and root can change.
    pub(crate) fn require_ours(&self) -> Result<(), FileError> {
        require_ours(&self.path, &self.meta)
    }

    pub(crate) fn read(self, max: u64) -> Result<Vec<u8>, FileError> {
        let mut bytes = Vec::new();
        let read = self.file.take(max + 1).read_to_end(&mut bytes);
        read.map_err(|e| FileError::io("read", &self.path, e))?;
        if bytes.len() as u64 > max {
            return Err(FileError::TooLarge { path: self.path, max });
        }
        Ok(bytes)
    }
}

/// Refuses a file or folder that anyone but this user and root can change.
pub(crate) fn require_ours(path: &Path, meta: &fs::Metadata) -> Result<(), FileError> {
    let us = rustix::process::geteuid().as_raw();
    if meta.uid() != us && meta.uid() != 0 {
        return Err(FileError::Foreign { path: path.into(), owner: meta.uid(), us });
    }
    let mode = meta.mode() & 0o7777;
    // In a folder with the sticky bit others can add names but not replace ours.
    let sticky_folder = meta.is_dir() && mode & 0o1000 != 0;
    if mode & 0o022 != 0 && !sticky_folder {
        return Err(FileError::Writable { path: path.into(), mode });
    }
    Ok(())
}

/// Makes a folder and those above it, for this user alone (0700); one that is there must not be open to change by others.
pub(crate) fn make_folder(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| FileError::io("make", path, e))?;
    let meta = fs::metadata(path).map_err(|e| FileError::io("look at", path, e))?;
    require_ours(path, &meta)
}

/// Holds the lock of `path` for as long as the value lives; waits for whoever holds it.
pub(crate) fn lock(path: &Path) -> Result<File, FileError> {
    let path = beside(path, ".lock");
    let file = OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|e| FileError::io("open", &path, e))?;
    file.lock().map_err(|e| FileError::io("lock", &path, e))?;
    Ok(file)
}

/// Puts `bytes` in the place of `path`, whole and durable, with mode 0600 or the `mode` given.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let temporary = beside(path, &format!(".{}.tmp", std::process::id()));
    let done = write_new(&temporary, bytes, mode)
        .and_then(|()| fs::rename(&temporary, path).map_err(|e| FileError::io("replace", path, e)))
        .and_then(|()| sync_folder(path));
    if done.is_err() {
        // What remains is a stray temporary file; the error that matters is the one at hand.
        let _ = fs::remove_file(&temporary);
    }
    done
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    // A process that died with our number may have left one; under the lock nobody else is writing it.
    let _ = fs::remove_file(path);
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.map_err(|e| FileError::io("create", path, e))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| FileError::io("write", path, e))
}

fn sync_folder(path: &Path) -> Result<(), FileError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| FileError::io("sync", folder, e))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_whole_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o600).unwrap();
        let opened = Opened::open(&path).unwrap();
        opened.require_secret().unwrap();
        opened.require_ours().unwrap();
        assert_eq!(opened.read(3).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing left beside it");
    }

    #[test]
    fn open_doors_are_refused_with_the_command_to_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace(&path, b"x", 0o600).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let said = Opened::open(&path).unwrap().require_secret().unwrap_err().to_string();
        assert!(said.contains("mode 0644") && said.contains("chmod 600"), "{said}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        let said = Opened::open(&path).unwrap().require_ours().unwrap_err().to_string();
        assert!(said.contains("mode 0620") && said.contains("chmod go-w"), "{said}");
    }

    #[test]
    fn long_files_folders_and_missing_ones_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace(&path, b"four", 0o600).unwrap();
        assert!(matches!(Opened::open(&path).unwrap().read(3), Err(FileError::TooLarge { max: 3, .. })));
        assert!(matches!(Opened::open(dir.path()), Err(FileError::NotAFile { .. })));
        assert!(Opened::open(&dir.path().join("none")).err().is_some_and(|e| e.is_missing()));
    }

    #[test]
    fn the_lock_keeps_a_second_one_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let held = lock(&path).unwrap();
        let second = OpenOptions::new().write(true).open(beside(&path, ".lock")).unwrap();
        assert!(second.try_lock().is_err());
        drop(held);
        assert!(second.try_lock().is_ok());
    }
}
