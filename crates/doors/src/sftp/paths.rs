//! From a path as a client writes it to an entry: what is relative, what `..` means, which links are followed.
//!
//! A client sees a tree whose root is what is served. Links are followed as the system would follow them, through the
//! client's view, and as long as they stay inside; an absolute target leads outside. Each step is an operation of the view
//! on a path without links, so that what is exchanged meanwhile leads to a refusal and nowhere else.

use std::collections::VecDeque;

use sft_base::{EntryPath, Kind, Name, PathError};
use sft_engine::View;
use sft_wire::{Code, WireError};

/// A client's tree.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) view: View,
    /// Where paths begin that do not begin with `/`.
    home: EntryPath,
}

impl Paths {
    /// Whoever was given a part of the tree begins there.
    pub(crate) fn new(view: View) -> Self {
        let home = view.grant().path();
        Self { view, home }
    }

    pub(crate) fn home(&self) -> &EntryPath {
        &self.home
    }

    /// The path that is meant, by its words alone. `..` in the root stays there, as in every root.
    pub(crate) fn meant(&self, path: &[u8]) -> Result<EntryPath, WireError> {
        let above = if path.starts_with(b"/") { EntryPath::root() } else { self.home.clone() };
        let mut names: Vec<&[u8]> = above.names().collect();
        for name in path.split(|&b| b == b'/') {
            match name {
                b"" | b"." => {}
                b".." => drop(names.pop()),
                name => names.push(name),
            }
        }
        EntryPath::from_names(names).map_err(not_allowed)
    }

    /// Does something at a path, and does it again where the links among its parents lead if that was in the way.
    pub(crate) fn at<T>(
        &self,
        path: &[u8],
        mut act: impl FnMut(&EntryPath) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        let path = self.meant(path)?;
        match act(&path) {
            Err(error) if error.code == Code::LEADS_OUTSIDE => match self.real(&path, false) {
                Ok(real) if real != path => act(&real),
                _ => Err(error),
            },
            done => done,
        }
    }

    /// The same for what is meant by a path whose last name may be a link as well.
    pub(crate) fn at_target<T>(
        &self,
        path: &[u8],
        mut act: impl FnMut(&EntryPath) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        self.at(path, |path| match self.view.stat(path) {
            Ok(stat) if stat.meta.kind == Kind::Link => act(&self.real(path, true)?),
            // What may not be looked at may yet be allowed to be read or written.
            _ => act(path),
        })
    }

    /// The path without links that leads to the same. What is not there yet may be its last name.
    pub(crate) fn real(&self, path: &EntryPath, follow_last: bool) -> Result<EntryPath, WireError> {
        let mut todo: VecDeque<Vec<u8>> = path.names().map(<[u8]>::to_vec).collect();
        let mut done = EntryPath::root();
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            if name == b".." {
                done = done.parent().ok_or_else(|| leads_outside(path))?;
                continue;
            }
            let next = done.join(&Name::new(&name).map_err(not_allowed)?).map_err(not_allowed)?;
            if todo.is_empty() && !follow_last {
                return Ok(next);
            }
            match self.view.stat(&next) {
                Ok(stat) if stat.meta.kind == Kind::Link => {
                    links += 1;
                    let target = self.view.read_link(&next)?;
                    if links > LINKS_MAX || target.starts_with(b"/") {
                        return Err(leads_outside(path));
                    }
                    let names = target.split(|&b| b == b'/').filter(|name| !matches!(*name, b"" | b"."));
                    names.rev().for_each(|name| todo.push_front(name.to_vec()));
                }
                Ok(_) => done = next,
                Err(error) if error.code == Code::NOT_FOUND && todo.is_empty() => done = next,
                // Above the part that was given nothing may be looked at, and there is no link to be followed.
                Err(error) if error.code == Code::DENIED => done = next,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

/// A path as clients see it.
pub(crate) fn shown(path: &EntryPath) -> Vec<u8> {
    [b"/", path.as_bytes()].concat()
}

fn not_allowed(error: PathError) -> WireError {
    Code::NAME_NOT_ALLOWED.because(error.to_string())
}

fn leads_outside(path: &EntryPath) -> WireError {
    Code::LEADS_OUTSIDE.because(format!("{path}: a link on the way leads outside of what is served"))
}

/// As many as Linux follows.
const LINKS_MAX: u32 = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use sft_auth::{Grant, Rights};
    use sft_store::{Attributes, MemStore, Publish, Store};
    use std::sync::Arc;

    fn path(text: &str) -> EntryPath {
        EntryPath::from_typed(text.as_bytes()).unwrap()
    }

    fn tree() -> MemStore {
        let store = MemStore::new();
        for dir in ["a", "a/b", "c"] {
            store.make_dir(&path(dir), 0o755).unwrap();
        }
        for (at, target) in [
            ("a/up", "../c"),
            ("c/back", "../a/b/."),
            ("out", "../etc"),
            ("abs", "/a"),
            ("me", "me"),
            ("new", "c/x"),
        ] {
            let none = Attributes::default();
            store.publish_link(target.as_bytes(), &path(at), Publish::CreateOnly, &none).unwrap();
        }
        store
    }

    fn paths(grant: Grant) -> Paths {
        Paths::new(View::new(Arc::new(tree()), Arc::new(grant)))
    }

    #[test]
    fn words_alone() {
        let paths = paths(Grant::owner_local().narrowed(&path("a/b"), Rights::WRITE));
        for (typed, meant) in [
            ("", "a/b"),
            (".", "a/b"),
            ("x/../y", "a/b/y"),
            ("../..", ""),
            ("/", ""),
            ("/../../c//d/", "c/d"),
        ] {
            assert_eq!(paths.meant(typed.as_bytes()).unwrap(), path(meant), "{typed}");
        }
        assert!(paths.meant(b"a\0b").is_err());
        assert_eq!(shown(&EntryPath::root()), b"/");
    }

    #[test]
    fn links_are_followed_inside_alone() {
        let paths = paths(Grant::owner_local());
        let real = |at: &str| paths.real(&path(at), true);
        assert_eq!(real("a/up/back/z").unwrap(), path("a/b/z"));
        assert_eq!(real("new").unwrap(), path("c/x"), "what is not there yet");
        assert_eq!(paths.real(&path("a/up"), false).unwrap(), path("a/up"));
        for at in ["out", "abs", "me", "out/x"] {
            assert_eq!(real(at).unwrap_err().code, Code::LEADS_OUTSIDE, "{at}");
        }
        assert_eq!(real("no/x").unwrap_err().code, Code::NOT_FOUND);
    }

    #[test]
    fn writing_goes_where_the_links_lead() {
        let paths = paths(Grant::owner_local());
        paths.at(b"/a/up/made", |path| paths.view.make_dir(path, 0o755)).unwrap();
        assert!(paths.view.stat(&path("c/made")).is_ok());
        let error = paths.at(b"/out/made", |path| paths.view.make_dir(path, 0o755)).unwrap_err();
        assert_eq!(error.code, Code::LEADS_OUTSIDE);
    }

    #[test]
    fn a_link_out_of_what_was_given_is_refused() {
        let paths = paths(Grant::owner_local().narrowed(&path("a"), Rights::ALL));
        let error = paths.at_target(b"up", |path| paths.view.stat(path).map(|_| ())).unwrap_err();
        assert_eq!(error.code, Code::DENIED);
        let error = paths.at(b"/a/up/x", |path| paths.view.make_dir(path, 0o755)).unwrap_err();
        assert_eq!(error.code, Code::DENIED);
    }
}
