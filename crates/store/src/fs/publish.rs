//! Giving staged content its name, at once (spec/store.md, "Publishing").

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use sft_base::{Digest, EntryPath};

use super::beneath::{FileId, Place};
use super::reading::read_full;
use super::stage_dir::{self, write_full};
use super::{attributes, errors};
use crate::content::{self, ReadAt};
use crate::{Attributes, Publish, StoreError, reserved};

/// Complete content under a name of the store's own.
pub(super) struct Hidden<'a> {
    pub(super) dir: BorrowedFd<'a>,
    /// From that directory; not one of others.
    pub(super) name: &'a [u8],
}

struct Target<'a> {
    place: &'a Place<'a>,
    path: &'a EntryPath,
}

/// Moves `from` to `place`, which is at `path`. When this fails, `from` is where it was.
pub(super) fn name_it(
    from: &Hidden<'_>,
    place: &Place<'_>,
    path: &EntryPath,
    how: Publish,
) -> Result<(), StoreError> {
    let target = Target { place, path };
    match move_to(from, &target, how) {
        Err(StoreError::OtherFileSystem { .. }) => cross(from, &target, how),
        moved => moved,
    }
}

fn move_to(from: &Hidden<'_>, target: &Target<'_>, how: Publish) -> Result<(), StoreError> {
    match how {
        Publish::CreateOnly => create(from, target),
        Publish::Replace => replace(from, target),
        Publish::ReplaceIf(digest) => replace_if(from, target, digest),
    }
}

fn create(from: &Hidden<'_>, target: &Target<'_>) -> Result<(), StoreError> {
    match target.rename(from, RenameFlags::NOREPLACE) {
        // Not every file system knows how to; a second hard link cannot replace anything either.
        Err(Errno::INVAL) => link_then_unlink(from, target),
        renamed => renamed,
    }
    .map_err(|errno| target.error(errno))
}

fn link_then_unlink(from: &Hidden<'_>, target: &Target<'_>) -> Result<(), Errno> {
    rustix::fs::linkat(from.dir, from.name, &target.place.dir, target.place.name, AtFlags::empty())?;
    rustix::fs::unlinkat(from.dir, from.name, AtFlags::empty())
}

fn replace(from: &Hidden<'_>, target: &Target<'_>) -> Result<(), StoreError> {
    target.rename(from, RenameFlags::empty()).map_err(|errno| target.error(errno))
}

/// Hashes what is there, exchanges the two, and looks whether what came out is what was hashed; else exchanges them back.
fn replace_if(from: &Hidden<'_>, target: &Target<'_>, digest: Digest) -> Result<(), StoreError> {
    let changed = || StoreError::Changed { path: target.path.clone() };
    let before = target.digest_if_regular(&target.place.dir, target.place.name)?;
    let Some((hashed, version)) = before else { return Err(changed()) };
    if hashed != digest {
        return Err(changed());
    }
    match target.rename(from, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Err(changed()),
        // Where names cannot be exchanged, one that is written between the two calls is replaced.
        Err(Errno::INVAL) => return replace(from, target),
        Err(errno) => return Err(target.error(errno)),
    }
    let came_out = rustix::fs::statat(from.dir, from.name, AtFlags::SYMLINK_NOFOLLOW);
    if came_out.is_ok_and(|stat| Unchanged::of(&stat) == version) {
        let _ = rustix::fs::unlinkat(from.dir, from.name, AtFlags::empty());
        return Ok(());
    }
    put_back(from, target).map_err(|errno| target.error(errno))?;
    Err(changed())
}

/// Gives what came out its name again.
fn put_back(from: &Hidden<'_>, target: &Target<'_>) -> Result<(), Errno> {
    match target.rename(from, RenameFlags::EXCHANGE) {
        // Somebody removed the name meanwhile.
        Err(Errno::NOENT) => target.rename(from, RenameFlags::NOREPLACE),
        renamed => renamed,
    }
}

/// What stays the same when a file is only given another name: the time of change does not.
#[derive(PartialEq, Eq)]
struct Unchanged {
    id: FileId,
    size: i64,
    modified: (i64, u64),
}

impl Unchanged {
    fn of(stat: &rustix::fs::Stat) -> Self {
        let modified = (stat.st_mtime, stat.st_mtime_nsec);
        Self { id: FileId::from_stat(stat), size: stat.st_size, modified }
    }
}

impl Target<'_> {
    fn rename(&self, from: &Hidden<'_>, flags: RenameFlags) -> Result<(), Errno> {
        rustix::fs::renameat_with(from.dir, from.name, &self.place.dir, self.place.name, flags)
    }

    fn error(&self, errno: Errno) -> StoreError {
        match errno {
            Errno::XDEV => StoreError::OtherFileSystem { path: self.path.clone() },
            _ => errors::naming(self.path, errno),
        }
    }

    /// The digest of the content of a file, or of the target of a link; nothing of anything else, or of nothing.
    fn digest_if_regular(
        &self,
        dir: impl AsFd,
        name: &[u8],
    ) -> Result<Option<(Digest, Unchanged)>, StoreError> {
        let reading = |errno| errors::at(self.path, "reading what is to be replaced", errno);
        let stat = match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            stat => stat.map_err(reading)?,
        };
        let digest = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = rustix::fs::openat(&dir, name, flags, Mode::empty()).map_err(reading)?;
                content::digest_of(&Existing { file: &file, path: self.path })?
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&dir, name, Vec::new()).map_err(reading)?;
                Digest::of(target.as_bytes())
            }
            FileType::Directory => return Err(StoreError::IsADirectory { path: self.path.clone() }),
            _ => return Ok(None),
        };
        // Taken before the bytes were read: what was written meanwhile shows.
        Ok(Some((digest, Unchanged::of(&stat))))
    }
}

/// Copies the content beside its name, which lies on a file system mounted below the root, and names it there.
///
/// The copy is flushed here: the file systems that [`crate::Store::flush`] knows of before publishing do not have it.
fn cross(from: &Hidden<'_>, target: &Target<'_>, how: Publish) -> Result<(), StoreError> {
    let fail = |errno| errors::at(target.path, "copying to another file system", errno);
    let name = reserved::crossing(&stage_dir::unpredictable(16).map_err(fail)?);
    let copy = Hidden { dir: target.place.dir.as_fd(), name: name.as_bytes() };
    // Left before the copy is made, so that a crash leaves nothing that cannot be found again.
    let note = Note::leave(from.dir, target.path, &name).map_err(fail)?;
    let moved = copy_across(from, &copy).map_err(fail).and_then(|()| move_to(&copy, target, how));
    if moved.is_err() {
        let _ = rustix::fs::unlinkat(copy.dir, copy.name, AtFlags::empty());
    } else {
        let _ = rustix::fs::unlinkat(from.dir, from.name, AtFlags::empty());
    }
    note.remove();
    moved
}

fn copy_across(from: &Hidden<'_>, to: &Hidden<'_>) -> Result<(), Errno> {
    let stat = rustix::fs::statat(from.dir, from.name, AtFlags::SYMLINK_NOFOLLOW)?;
    let as_it_is = Attributes {
        modified: Some(sft_base::Time { secs: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 }),
        mode: Some(stat.st_mode & 0o7777),
    };
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        let target = rustix::fs::readlinkat(from.dir, from.name, Vec::new())?;
        rustix::fs::symlinkat(target, to.dir, to.name)?;
        attributes::set_on_own(to.dir, to.name, &Attributes { mode: None, ..as_it_is });
        return Ok(());
    }
    let source = rustix::fs::openat(
        from.dir,
        from.name,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let copy = stage_dir::create_new(to.dir, to.name, stage_dir::PRIVATE_FILE)?;
    copy_content(&source, &copy, stat.st_size as u64)?;
    attributes::set_on_file(&copy, &as_it_is);
    rustix::fs::fsync(&copy)
}

fn copy_content(source: &OwnedFd, copy: &OwnedFd, size: u64) -> Result<(), Errno> {
    rustix::fs::ftruncate(copy, size)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = 0;
    while at < size {
        let read = read_full(source, at, &mut buffer)?;
        if read == 0 {
            return Err(Errno::IO);
        }
        if !content::is_zero(&buffer[..read]) {
            write_full(copy, at, &buffer[..read])?;
        }
        at += read as u64;
    }
    Ok(())
}

/// Where a copy on another file system is, for removing it should the process end before it is named.
struct Note<'a> {
    dir: BorrowedFd<'a>,
    name: String,
}

impl<'a> Note<'a> {
    fn leave(dir: BorrowedFd<'a>, target: &EntryPath, copy: &str) -> Result<Self, Errno> {
        let name = format!("{}{NOTE_SUFFIX}", stage_dir::unpredictable(16)?);
        let mut path = target.parent().unwrap_or_default().as_bytes().to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(copy.as_bytes());
        let file = stage_dir::create_new(dir, &name, stage_dir::PRIVATE_FILE)?;
        let note = Self { dir, name };
        match write_full(&file, 0, &path) {
            Ok(()) => Ok(note),
            Err(errno) => {
                note.remove();
                Err(errno)
            }
        }
    }

    fn remove(self) {
        let _ = rustix::fs::unlinkat(self.dir, self.name.as_str(), AtFlags::empty());
    }
}

struct Existing<'a> {
    file: &'a OwnedFd,
    path: &'a EntryPath,
}

impl ReadAt for Existing<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
        read_full(self.file, offset, buffer)
            .map_err(|errno| errors::at(self.path, "reading what is to be replaced", errno))
    }
}

/// Ends the names of notes of copies on other file systems.
pub(super) const NOTE_SUFFIX: &str = ".note";
const COPY_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::beneath::{HeldDir, open_dir};
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::Path;

    /// A directory for hidden content, and one for names, which may lie on another file system.
    struct Dirs {
        hidden: tempfile::TempDir,
        named: tempfile::TempDir,
    }

    impl Dirs {
        /// Linux has a file system in memory here, which is not the one of the temporary directory where that is on disk.
        fn apart() -> Self {
            let hidden = tempfile::tempdir().unwrap();
            let dirs = Self { hidden, named: tempfile::tempdir_in("/dev/shm").unwrap() };
            let device = |dir: &tempfile::TempDir| fs::metadata(dir.path()).unwrap().dev();
            assert_ne!(device(&dirs.hidden), device(&dirs.named), "this test needs two file systems");
            dirs
        }

        fn together() -> Self {
            Self { hidden: tempfile::tempdir().unwrap(), named: tempfile::tempdir().unwrap() }
        }

        fn name_it(&self, content: &str, how: Publish) -> Result<(), StoreError> {
            fs::write(self.hidden.path().join("x"), content).unwrap();
            fs::set_permissions(self.hidden.path().join("x"), fs::Permissions::from_mode(0o640)).unwrap();
            self.name_hidden("x", how)
        }

        fn name_hidden(&self, name: &str, how: Publish) -> Result<(), StoreError> {
            let open = |path: &Path| open_dir(rustix::fs::CWD, path.as_os_str().as_encoded_bytes()).unwrap();
            let (from, to) = (open(self.hidden.path()), open(self.named.path()));
            let path = EntryPath::from_typed(b"mounted/a").unwrap();
            let place = Place { dir: HeldDir::Owned(to), name: b"a" };
            name_it(&Hidden { dir: from.as_fd(), name: name.as_bytes() }, &place, &path, how)
        }

        fn named(&self) -> Vec<u8> {
            fs::read(self.named.path().join("a")).unwrap()
        }

        fn counts(&self) -> (usize, usize) {
            let count = |dir: &tempfile::TempDir| fs::read_dir(dir.path()).unwrap().count();
            (count(&self.hidden), count(&self.named))
        }
    }

    #[test]
    fn content_crosses_to_another_file_system() {
        let dirs = Dirs::apart();
        dirs.name_it("first", Publish::CreateOnly).unwrap();
        assert_eq!(dirs.named(), b"first");
        assert_eq!(fs::metadata(dirs.named.path().join("a")).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(dirs.counts(), (0, 1));
        let refused = dirs.name_it("second", Publish::CreateOnly);
        assert!(matches!(refused, Err(StoreError::AlreadyExists { .. })));
        assert_eq!(dirs.counts(), (1, 1), "what could not be named is where it was");
        dirs.name_it("second", Publish::ReplaceIf(Digest::of(b"first"))).unwrap();
        assert_eq!(dirs.named(), b"second");
        dirs.name_it("third", Publish::Replace).unwrap();
        assert_eq!(dirs.named(), b"third");
        std::os::unix::fs::symlink("target", dirs.hidden.path().join("l")).unwrap();
        dirs.name_hidden("l", Publish::Replace).unwrap();
        assert_eq!(fs::read_link(dirs.named.path().join("a")).unwrap(), Path::new("target"));
        assert_eq!(dirs.counts(), (0, 1));
    }

    #[test]
    fn what_came_out_is_put_back_when_it_was_not_expected() {
        let dirs = Dirs::together();
        fs::write(dirs.named.path().join("a"), "theirs").unwrap();
        fs::write(dirs.hidden.path().join("x"), "ours").unwrap();
        let open = |dir: &tempfile::TempDir| {
            open_dir(rustix::fs::CWD, dir.path().as_os_str().as_encoded_bytes()).unwrap()
        };
        let (from, to) = (open(&dirs.hidden), open(&dirs.named));
        let path = EntryPath::from_typed(b"a").unwrap();
        let place = Place { dir: HeldDir::Owned(to), name: b"a" };
        let target = Target { place: &place, path: &path };
        let hidden = Hidden { dir: from.as_fd(), name: b"x" };
        target.rename(&hidden, RenameFlags::EXCHANGE).unwrap();
        put_back(&hidden, &target).unwrap();
        assert_eq!(dirs.named(), b"theirs");
        target.rename(&hidden, RenameFlags::EXCHANGE).unwrap();
        fs::remove_file(dirs.named.path().join("a")).unwrap();
        put_back(&hidden, &target).unwrap();
        assert_eq!(dirs.named(), b"theirs", "it is nobody else's to remove");
    }

    #[test]
    fn a_second_link_creates_where_renaming_cannot() {
        let dirs = Dirs::together();
        let open = |dir: &tempfile::TempDir| {
            open_dir(rustix::fs::CWD, dir.path().as_os_str().as_encoded_bytes()).unwrap()
        };
        let (from, to) = (open(&dirs.hidden), open(&dirs.named));
        let path = EntryPath::from_typed(b"a").unwrap();
        let place = Place { dir: HeldDir::Owned(to), name: b"a" };
        let target = Target { place: &place, path: &path };
        let hidden = Hidden { dir: from.as_fd(), name: b"x" };
        fs::write(dirs.hidden.path().join("x"), "ours").unwrap();
        link_then_unlink(&hidden, &target).unwrap();
        assert_eq!((dirs.named(), dirs.counts()), (b"ours".to_vec(), (0, 1)));
        fs::write(dirs.hidden.path().join("x"), "late").unwrap();
        assert_eq!(link_then_unlink(&hidden, &target), Err(Errno::EXIST));
        assert_eq!((dirs.named(), dirs.counts()), (b"ours".to_vec(), (1, 1)));
    }
}
