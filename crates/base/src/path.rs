//! Names and paths inside a store (spec/wire.md, "Paths").
//!
//! A path is data: a sequence of names, bytes and not text, never resolved here. What exists as an [`EntryPath`] has no
//! `.`, no `..`, no empty name, no `/` and no NUL, so that it can only lead downwards. Nothing is normalised: what does
//! not fit is refused.

use std::fmt;

use crate::limits;

/// One component of a path: 1 to [`limits::NAME_BYTES_MAX`] bytes, none of them `/` or NUL, and neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

/// A path below the root of a store; empty for the root itself.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryPath {
    /// Names with one `/` between them: no name can hold a `/`.
    joined: Box<[u8]>,
}

/// Bytes of a name or path as text for people: what is not UTF-8 or would move a terminal's cursor is escaped, so that
/// a name cannot forge a message. Not for storing.
#[derive(Clone, Copy)]
pub struct Shown<'a>(pub &'a [u8]);

/// Why bytes are not a name, or names not a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A name of no bytes.
    #[error("a name is empty")]
    Empty,
    /// `.` or `..`.
    #[error("`.` and `..` are not names")]
    Dots,
    /// A `/` or a NUL inside a name.
    #[error("a name holds `/` or a NUL byte")]
    Separator,
    /// A name longer than [`limits::NAME_BYTES_MAX`].
    #[error("a name has {0} bytes, more than {max}", max = limits::NAME_BYTES_MAX)]
    NameTooLong(usize),
    /// A path longer than [`limits::PATH_BYTES_MAX`] or deeper than [`limits::PATH_DEPTH_MAX`].
    #[error("a path is longer than {bytes} bytes or {depth} levels", bytes = limits::PATH_BYTES_MAX, depth = limits::PATH_DEPTH_MAX)]
    PathTooLong,
}

impl Name {
    /// Takes bytes as a name, or says why they are none.
    pub fn new(bytes: &[u8]) -> Result<Self, PathError> {
        check_name(bytes)?;
        Ok(Self(bytes.into()))
    }

    /// The bytes, as they stand on disk.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl EntryPath {
    /// The root of a store.
    pub fn root() -> Self {
        Self::default()
    }

    /// Takes a sequence of byte strings as a path.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, PathError> {
        let mut joined = Vec::new();
        let mut depth = 0;
        for name in names {
            check_name(name)?;
            if depth > 0 {
                joined.push(b'/');
            }
            joined.extend_from_slice(name);
            depth += 1;
            if depth > limits::PATH_DEPTH_MAX || joined.len() > limits::PATH_BYTES_MAX {
                return Err(PathError::PathTooLong);
            }
        }
        Ok(Self { joined: joined.into() })
    }

    /// Takes what a person typed: names between slashes; leading, doubled and trailing slashes and `.` count for nothing.
    pub fn from_typed(text: &[u8]) -> Result<Self, PathError> {
        Self::from_names(text.split(|&b| b == b'/').filter(|name| !name.is_empty() && *name != b"."))
    }

    /// This path with one name more.
    pub fn join(&self, name: &Name) -> Result<Self, PathError> {
        self.append_names(std::iter::once(name.as_bytes()))
    }

    /// This path with all names of `below` after its own.
    pub fn append(&self, below: &Self) -> Result<Self, PathError> {
        self.append_names(below.names())
    }

    fn append_names<'a>(&'a self, more: impl Iterator<Item = &'a [u8]>) -> Result<Self, PathError> {
        Self::from_names(self.names().chain(more))
    }

    /// The names from the top down; none for the root.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.joined.split(|&b| b == b'/').filter(|name| !name.is_empty())
    }

    /// The last name; none for the root.
    pub fn file_name(&self) -> Option<Name> {
        self.names().next_back().map(|name| Name(name.into()))
    }

    /// The path without its last name; none for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let cut = self.joined.iter().rposition(|&b| b == b'/').unwrap_or(0);
        Some(Self { joined: self.joined[..cut].into() })
    }

    /// The names after the first; the root stays the root.
    pub fn without_first(&self) -> Self {
        match self.joined.iter().position(|&b| b == b'/') {
            Some(cut) => Self { joined: self.joined[cut + 1..].into() },
            None => Self::root(),
        }
    }

    /// Whether this path is `above` or lies below it.
    pub fn starts_with(&self, above: &Self) -> bool {
        above.is_root()
            || self.joined.strip_prefix(&*above.joined).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    /// Whether this is the root of the store.
    pub fn is_root(&self) -> bool {
        self.joined.is_empty()
    }

    /// The number of names.
    pub fn depth(&self) -> usize {
        if self.is_root() { 0 } else { self.joined.iter().filter(|&&b| b == b'/').count() + 1 }
    }

    /// The names with one `/` between them; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.joined
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(&self.0).fmt(f)
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.write_str(".") } else { Shown(&self.joined).fmt(f) }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

fn check_name(bytes: &[u8]) -> Result<(), PathError> {
    match bytes {
        b"" => Err(PathError::Empty),
        b"." | b".." => Err(PathError::Dots),
        _ if bytes.iter().any(|b| matches!(b, b'/' | 0)) => Err(PathError::Separator),
        _ if bytes.len() > limits::NAME_BYTES_MAX => Err(PathError::NameTooLong(bytes.len())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::from_typed(text.as_bytes()).unwrap()
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        assert_eq!(Name::new(b"").unwrap_err().to_string(), "a name is empty");
        assert_eq!(Name::new(b"."), Err(PathError::Dots));
        assert_eq!(Name::new(b".."), Err(PathError::Dots));
        assert_eq!(Name::new(b"a/b"), Err(PathError::Separator));
        assert_eq!(Name::new(b"a\0b"), Err(PathError::Separator));
        assert_eq!(Name::new(&[b'x'; 256]), Err(PathError::NameTooLong(256)));
        assert!(Name::new(&[b'x'; 255]).is_ok());
        assert!(Name::new(b"...").is_ok());
        assert!(Name::new(b"\xff\xfe").is_ok());
    }

    #[test]
    fn typed_paths_drop_slashes_and_keep_no_dots() {
        assert_eq!(path("/a//b/"), path("a/b"));
        assert_eq!(path("./a/./b"), path("a/b"));
        assert_eq!(path("/"), EntryPath::root());
        assert_eq!(EntryPath::from_typed(b"a/../b"), Err(PathError::Dots));
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let deep = vec![&b"d"[..]; limits::PATH_DEPTH_MAX];
        assert_eq!(EntryPath::from_names(deep.clone()).unwrap().depth(), limits::PATH_DEPTH_MAX);
        let deeper = deep.into_iter().chain([&b"d"[..]]);
        assert_eq!(EntryPath::from_names(deeper), Err(PathError::PathTooLong));
        let long = vec![&[b'x'; 255][..]; 129];
        let told = EntryPath::from_names(long).unwrap_err().to_string();
        assert_eq!(told, "a path is longer than 32768 bytes or 8192 levels");
    }

    #[test]
    fn relatives() {
        assert_eq!(path("a/b/c").parent(), Some(path("a/b")));
        assert_eq!(path("a").parent(), Some(EntryPath::root()));
        assert_eq!(EntryPath::root().parent(), None);
        assert_eq!(path("a/b/c").without_first(), path("b/c"));
        assert_eq!(path("a").without_first(), EntryPath::root());
        assert!(path("a/b").starts_with(&path("a")));
        assert!(!path("ab").starts_with(&path("a")));
        assert!(path("ab").starts_with(&EntryPath::root()));
    }

    #[test]
    fn shown_names_cannot_forge_a_terminal() {
        let name = Name::new(b"a\x1b[2J\n\xff").unwrap();
        assert_eq!(name.to_string(), "a\\u{1b}[2J\\n\\xff");
    }

    proptest! {
        #[test]
        fn what_is_taken_comes_back(names in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..10)) {
            if let Ok(taken) = EntryPath::from_names(names.iter().map(Vec::as_slice)) {
                prop_assert_eq!(taken.names().map(<[u8]>::to_vec).collect::<Vec<_>>(), names.clone());
                prop_assert_eq!(taken.depth(), names.len());
            }
        }
    }
}
