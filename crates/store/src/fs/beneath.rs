//! From a path to a held directory and a last name, never leaving the root (spec/store.md, "Beneath the root").
//!
//! No path string is resolved from anywhere but a held descriptor, and nothing is cached: resolving the parent again takes
//! one system call, a hundredth of what making a file takes, and a descriptor kept for longer could be moved elsewhere by
//! another process.

use std::path::Path;
use std::sync::Arc;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sft_base::EntryPath;

use super::errors;
use crate::{StoreError, reserved};

/// The held root.
#[derive(Debug)]
pub(super) struct Beneath {
    root: Arc<OwnedFd>,
    id: FileId,
    /// Whether what only reads follows links among the parents.
    follows_links: bool,
}

/// Which file something is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// A held directory and a name in it.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) dir: HeldDir<'a>,
    /// The last name of a path; `.` for the root.
    pub(super) name: &'a [u8],
}

/// A directory: the root, or one below it.
#[derive(Debug)]
pub(super) enum HeldDir<'a> {
    /// Somebody else holds it.
    Borrowed(BorrowedFd<'a>),
    Owned(OwnedFd),
}

impl Beneath {
    /// Holds the directory at `root`, the only path that is taken from the process's surroundings.
    pub(super) fn open(root: &Path) -> Result<Self, Errno> {
        let root =
            rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let id = FileId::of(&root)?;
        Ok(Self { root: Arc::new(root), id, follows_links: true })
    }

    /// The same root, for reading without following any link.
    pub(super) fn without_links(&self) -> Self {
        Self { root: self.root.clone(), id: self.id, follows_links: false }
    }

    /// The root.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Which file the root is.
    pub(super) fn id(&self) -> FileId {
        self.id
    }

    /// Where an entry is that is only read: links among its parents are followed as long as they stay inside, or not at
    /// all.
    pub(super) fn to_read<'a>(&'a self, path: &'a EntryPath) -> Result<Place<'a>, StoreError> {
        reserved::check(path)?;
        let (parents, name) = split(path);
        match self.walk(parents, STRICT) {
            Err(Errno::LOOP) if self.follows_links => self.to_read_through_links(path, parents, name),
            walked => walked.map(|dir| Place { dir, name }).map_err(|errno| errors::on_the_way(path, errno)),
        }
    }

    /// The directory that an entry is in, if no link leads there.
    pub(super) fn beside(&self, path: &EntryPath) -> Option<HeldDir<'_>> {
        self.walk(split(path).0, STRICT).ok()
    }

    /// Where an entry is, or will be, that is written: no parent is a link. The root is refused.
    pub(super) fn to_write<'a>(&'a self, path: &'a EntryPath) -> Result<Place<'a>, StoreError> {
        reserved::check_below_root(path)?;
        let (parents, name) = split(path);
        let dir = self.walk(parents, STRICT).map_err(|errno| errors::on_the_way(path, errno))?;
        Ok(Place { dir, name })
    }

    /// Removes content that was on its way across a mount point; nothing unless its last name says that it was.
    pub(super) fn remove_crossing(&self, path: &EntryPath) -> Option<()> {
        let (parents, name) = split(path);
        if !reserved::is_crossing(name) {
            return None;
        }
        let dir = self.walk(parents, STRICT).ok()?;
        rustix::fs::unlinkat(&dir, name, AtFlags::empty()).ok()
    }

    /// A link may lead to where the store keeps its own files, which no spelling may reach.
    fn to_read_through_links<'a>(
        &'a self,
        path: &EntryPath,
        parents: &[u8],
        name: &'a [u8],
    ) -> Result<Place<'a>, StoreError> {
        let found = |errno| errors::on_the_way(path, errno);
        let dir = self.walk(parents, ResolveFlags::empty()).map_err(found)?;
        let id = FileId::of(&dir).map_err(found)?;
        if self.is_own(id, name) {
            return Err(StoreError::NameNotAllowed { path: path.clone() });
        }
        Ok(Place { dir, name })
    }

    fn is_own(&self, parent: FileId, name: &[u8]) -> bool {
        if parent == self.id {
            return reserved::is_own_dir(name);
        }
        let own = FileId::at(&self.root, reserved::OWN_DIR.as_bytes());
        let stages = FileId::at(&self.root, reserved::STAGE_DIR_PATH.as_bytes());
        own.is_ok_and(|own| own == parent) || stages.is_ok_and(|stages| stages == parent)
    }

    /// Opens a directory in hops: the kernel takes no more than 4,095 bytes of path at a time.
    ///
    /// A link among the names of one hop may not lead above the directory where that hop began, even if that stays inside
    /// the root. Paths that short of a hop are resolved from the root.
    fn walk(&self, path: &[u8], resolve: ResolveFlags) -> Result<HeldDir<'_>, Errno> {
        let mut dir = HeldDir::Borrowed(self.root.as_fd());
        let mut rest = path;
        while !rest.is_empty() {
            let (hop, after) = first_hop(rest);
            dir = HeldDir::Owned(open_beneath(&dir, hop, resolve)?);
            rest = after;
        }
        Ok(dir)
    }
}

impl FileId {
    /// Of an open file.
    pub(super) fn of(file: impl AsFd) -> Result<Self, Errno> {
        rustix::fs::fstat(file).map(|stat| Self::from_stat(&stat))
    }

    /// Of an entry of a directory, not following it.
    pub(super) fn at(dir: impl AsFd, name: &[u8]) -> Result<Self, Errno> {
        rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| Self::from_stat(&stat))
    }

    /// As the system told it.
    pub(super) fn from_stat(stat: &rustix::fs::Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

impl AsFd for HeldDir<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Borrowed(fd) => *fd,
            Self::Owned(fd) => fd.as_fd(),
        }
    }
}

/// Opens a directory that this process reads, for what needs more than the `O_PATH` descriptor of a [`Place`].
pub(super) fn open_dir(dir: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

fn open_beneath(dir: impl AsFd, path: &[u8], resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = resolve | ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut result = Err(Errno::AGAIN);
    for _ in 0..TRIES {
        result = rustix::fs::openat2(&dir, path, flags, Mode::empty(), resolve);
        // The kernel gives up when something was renamed while it walked through a `..` of a link.
        if !matches!(result, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    result
}

/// The parents and the last name, as they stand in the path.
pub(super) fn split(path: &EntryPath) -> (&[u8], &[u8]) {
    let bytes = path.as_bytes();
    match bytes.iter().rposition(|&b| b == b'/') {
        Some(cut) => (&bytes[..cut], &bytes[cut + 1..]),
        None if bytes.is_empty() => (b"", b"."),
        None => (b"", bytes),
    }
}

/// The longest leading part that the kernel takes, and what follows it.
fn first_hop(path: &[u8]) -> (&[u8], &[u8]) {
    if path.len() <= HOP_BYTES_MAX {
        return (path, b"");
    }
    // A name has 255 bytes at most, so there is a slash among the first 4,096.
    let cut = path[..=HOP_BYTES_MAX].iter().rposition(|&b| b == b'/').unwrap_or(HOP_BYTES_MAX);
    (&path[..cut], &path[cut + 1..])
}

const STRICT: ResolveFlags = ResolveFlags::NO_SYMLINKS;
/// `PATH_MAX` without its NUL.
const HOP_BYTES_MAX: usize = 4095;
const TRIES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cut_between_names() {
        let names = vec![&[b'n'; 200][..]; 50];
        let path = EntryPath::from_names(names).unwrap();
        let (mut rest, mut joined, mut hops) = (path.as_bytes(), Vec::new(), 0);
        while !rest.is_empty() {
            let (hop, after) = first_hop(rest);
            assert!(hop.len() <= HOP_BYTES_MAX && hop.len() % 201 == 200);
            joined.push(hop);
            rest = after;
            hops += 1;
        }
        assert_eq!(hops, 3);
        assert_eq!(joined.join(&b'/'), path.as_bytes());
        let exact = [[b'a'; 255].as_slice(); 16].join(&b'/');
        assert_eq!(exact.len(), HOP_BYTES_MAX);
        assert_eq!(first_hop(&exact), (exact.as_slice(), &b""[..]));
    }

    #[test]
    fn the_last_name_is_split_off() {
        let path = |text: &str| EntryPath::from_typed(text.as_bytes()).unwrap();
        assert_eq!(split(&path("a/b/c")), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(&path("a")), (&b""[..], &b"a"[..]));
        assert_eq!(split(&path("")), (&b""[..], &b"."[..]));
    }
}
