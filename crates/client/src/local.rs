//! The local end of a transfer: sources to send, and the place where what comes is put.
//!
//! A local path is resolved once, here: the directory that holds the named entry becomes the root of a store, and what
//! the store does from then on stays beneath it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sft_auth::Grant;
use sft_base::{EntryPath, Name, Shown};
use sft_engine::{SendSource, View};
use sft_store::{FsStore, Store};
use sft_wire::message::Place;
use sft_wire::{Code, WireError};

use crate::error::{LocalError, TransferError};
use crate::landing::{Found, Landing, pull_landing};
use crate::location::Ending;

/// Where pulled entries are put.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    /// The directory that holds it.
    pub view: View,
    /// Where in there.
    pub path: EntryPath,
    /// How that is meant.
    pub place: Place,
}

/// The sources of a push.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// Those that can be sent.
    pub opened: Vec<SendSource>,
    /// Those that cannot, with the names under which they would land.
    pub failed: Vec<(EntryPath, WireError)>,
}

/// Opens the sources of a push; fails if it can open none of them. Blocks.
///
/// A link that is named is sent as a link, but for one named with a slash after it, which is the directory it leads to.
pub(crate) fn open_sources(sources: &[PathBuf]) -> Result<Sources, TransferError> {
    let mut views: Vec<(PathBuf, View)> = Vec::new();
    let mut all = Sources::default();
    let mut first = None;
    for source in sources {
        match open_source(source, &mut views) {
            Ok(opened) => all.opened.push(opened),
            Err(error) => {
                all.failed.push((landing_of(source), error_of_entry(source, &error)));
                first.get_or_insert_with(|| local(source, error));
            }
        }
    }
    match first {
        Some(error) if all.opened.is_empty() => Err(error),
        _ => Ok(all),
    }
}

/// What lies in a source and is not sent with it: where it is itself the root of a store, the folder in which that
/// store keeps unfinished files (spec/store.md, "Reserved names"). Blocks.
pub fn left_out(source: &Path) -> Option<PathBuf> {
    let own = source.components().as_path().join(OWN_FOLDER);
    (ending(source) != Ending::Name && fs::symlink_metadata(&own).is_ok()).then_some(own)
}

/// How the text of a local path ends.
pub(crate) fn ending(path: &Path) -> Ending {
    Ending::of(path.as_os_str().as_encoded_bytes())
}

/// Whether a source is sent as a directory with a name. Blocks.
pub(crate) fn is_dir(source: &Path) -> bool {
    let found = match ending(source) {
        Ending::Name => fs::symlink_metadata(source),
        Ending::Slash | Ending::Contents => fs::metadata(source),
    };
    found.is_ok_and(|found| found.is_dir())
}

/// Opens the destination of a pull, which an earlier run of the same pull may have made (`recalled`). Blocks.
pub(crate) fn open_destination(
    path: &Path,
    sources: &[Ending],
    recalled: bool,
) -> Result<Destination, TransferError> {
    let found = find(path).map_err(|error| local(path, error.into()))?;
    let landing = pull_landing(sources, ending(path), found, recalled);
    let landing = landing.ok_or_else(|| TransferError::Destination { path: path.to_owned() })?;
    let parent = parent_of(path);
    if found == Found::Nothing {
        fs::metadata(parent).map_err(|error| local(parent, error.into()))?;
    }
    place_at(path, landing).map_err(|error| local(path, error))
}

fn open_source(source: &Path, views: &mut Vec<(PathBuf, View)>) -> Result<SendSource, LocalError> {
    let (parent, name, path) = match (ending(source), source.file_name()) {
        (Ending::Name, Some(name)) => {
            let path = EntryPath::root().join(&entry_name(name)?)?;
            (parent_of(source), Some(name), path)
        }
        (Ending::Slash, name) => (source, name, EntryPath::root()),
        (Ending::Contents, _) | (Ending::Name, None) => (source, None, EntryPath::root()),
    };
    let landing = match name {
        Some(name) => EntryPath::root().join(&entry_name(name)?)?,
        None => EntryPath::root(),
    };
    if !path.is_root() {
        // Said here rather than by the scan, so that nothing is connected or made for a name that is mistyped.
        fs::symlink_metadata(source)?;
    }
    Ok(SendSource { view: view_of(parent, views)?, path, landing })
}

/// Where a source that cannot be opened would land; the root where that cannot be said.
fn landing_of(source: &Path) -> EntryPath {
    let name = source.file_name().and_then(|name| entry_name(name).ok());
    name.and_then(|name| EntryPath::root().join(&name).ok()).unwrap_or_else(EntryPath::root)
}

fn error_of_entry(source: &Path, error: &LocalError) -> WireError {
    let code = match error {
        LocalError::Io(error) if error.kind() == io::ErrorKind::NotFound => Code::NOT_FOUND,
        LocalError::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => Code::PERMISSION,
        LocalError::Name(_) => Code::NAME_NOT_ALLOWED,
        LocalError::Io(_) | LocalError::Store(_) | LocalError::Refused(_) => Code::READ,
    };
    code.because(format!("{}: {error}", Shown(source.as_os_str().as_encoded_bytes())))
}

fn view_of(root: &Path, views: &mut Vec<(PathBuf, View)>) -> Result<View, LocalError> {
    if let Some((_, view)) = views.iter().find(|(known, _)| known == root) {
        return Ok(view.clone());
    }
    let view = open_view(root)?;
    views.push((root.to_owned(), view.clone()));
    Ok(view)
}

fn open_view(root: &Path) -> Result<View, LocalError> {
    let store: Arc<dyn Store> = Arc::new(FsStore::open(root)?);
    Ok(View::new(store, Arc::new(Grant::owner_local())))
}

fn find(path: &Path) -> io::Result<Found> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(Found::Dir),
        Ok(_) => Ok(Found::Other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::symlink_metadata(path) {
            // A link that leads nowhere gives way like anything else of that name.
            Ok(_) => Ok(Found::Other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}

fn place_at(path: &Path, landing: Landing) -> Result<Destination, LocalError> {
    if landing == Landing::Inside {
        return Ok(Destination { view: open_view(path)?, path: EntryPath::root(), place: Place::Into });
    }
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let at = EntryPath::root().join(&entry_name(name)?)?;
    let place = if landing == Landing::InsideNew { Place::Into } else { Place::Exact };
    Ok(Destination { view: open_view(parent_of(path))?, path: at, place })
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn entry_name(name: &OsStr) -> Result<Name, LocalError> {
    Ok(Name::new(name.as_encoded_bytes())?)
}

fn local(path: &Path, source: LocalError) -> TransferError {
    TransferError::Local { path: path.to_owned(), source }
}

/// See [`left_out`].
const OWN_FOLDER: &str = ".sft";

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> EntryPath {
        EntryPath::from_typed(text.as_bytes()).unwrap()
    }

    #[test]
    fn sources_are_named_as_they_were_typed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("d/e")).unwrap();
        fs::write(root.join("d/f"), "x").unwrap();
        std::os::unix::fs::symlink("d", root.join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("dangling")).unwrap();
        let cases = [
            ("d", "d", "d"),
            ("d/f", "f", "f"),
            ("d/", ".", "d"),
            ("d/.", ".", "."),
            ("d/e/..", ".", "."),
            ("link", "link", "link"),
            ("link/", ".", "link"),
            ("dangling", "dangling", "dangling"),
        ];
        for (typed, path, landing) in cases {
            // Joined as text: a path would lose the end that matters.
            let typed = PathBuf::from(format!("{}/{typed}", root.display()));
            let source = &open_sources(std::slice::from_ref(&typed)).unwrap().opened[0];
            assert_eq!(
                (&source.path, &source.landing),
                (&entry(path), &entry(landing)),
                "{}",
                typed.display()
            );
            assert!(source.view.stat(&source.path).is_ok());
        }
        let missing = open_sources(&[root.join("missing")]).unwrap_err().to_string();
        assert!(missing.contains("missing: No such file or directory"), "{missing}");
        let some = open_sources(&[root.join("missing"), root.join("d")]).unwrap();
        let [(landing, error)] = &some.failed[..] else { panic!("{some:?}") };
        assert_eq!((landing, error.code, some.opened.len()), (&entry("missing"), Code::NOT_FOUND, 1));
        assert!(
            open_sources(&[PathBuf::from(format!("{}/d/f/", root.display()))]).is_err(),
            "a file is no directory"
        );
    }

    #[test]
    fn destinations() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("f"), "x").unwrap();
        std::os::unix::fs::symlink("d", root.join("link")).unwrap();
        let one = &[Ending::Name][..];
        let cases = [
            ("d", one, ".", Place::Into),
            ("link", one, ".", Place::Into),
            ("f", one, "f", Place::Exact),
            ("new", one, "new", Place::Exact),
            ("new/", one, "new", Place::Into),
            ("new", &[Ending::Name, Ending::Name], "new", Place::Into),
            ("new", &[Ending::Contents], "new", Place::Into),
        ];
        for (typed, sources, path, place) in cases {
            let typed = PathBuf::from(format!("{}/{typed}", root.display()));
            let destination = open_destination(&typed, sources, false).unwrap();
            assert_eq!((destination.path, destination.place), (entry(path), place), "{}", typed.display());
        }
        let both = &[Ending::Name, Ending::Name];
        assert!(matches!(
            open_destination(&root.join("f"), both, false),
            Err(TransferError::Destination { .. })
        ));
        let nowhere = open_destination(&root.join("a/b"), one, false).unwrap_err().to_string();
        assert!(nowhere.contains("/a: No such file or directory"), "{nowhere}");
    }
}
