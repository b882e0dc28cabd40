//! Files that `sft doctor --copy` makes on a host, noted before they are made and until they are removed: what a run that was
//! killed or cut off has left there, the next one removes.
//!
//! A note lies in the user's folder of state, under the name of the file it is about. A run holds a lock on its own notes, so
//! that no other takes away what it works with. A note that cannot be kept costs that, never the measurement.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sft_base::EntryPath;
use sft_client::{Client, Code, RequestError, Target};

/// A file on a host that must not stay there.
#[derive(Debug)]
pub(crate) struct LeftThere {
    pub entry: EntryPath,
    note: PathBuf,
    /// With a lock on it; none if it could not be written.
    _held: Option<File>,
}

impl LeftThere {
    /// Notes a file that is about to be made.
    pub(crate) fn note(state: &Path, host: &Target, entry: EntryPath) -> Self {
        let name = entry.file_name().map_or_else(String::new, |name| name.to_string());
        let note = state.join(FOLDER).join(name);
        let held = write(&note, host, &entry).ok();
        Self { entry, note, _held: held }
    }

    /// What earlier runs that are over have left on a host.
    pub(crate) fn of_earlier_runs(state: &Path, host: &Target) -> Vec<Self> {
        let notes = fs::read_dir(state.join(FOLDER)).into_iter().flatten().flatten();
        notes.filter_map(|note| read(note.path(), host)).collect()
    }

    /// Removes it, and forgets it if it is not there any more.
    pub(crate) async fn remove(self, client: &Client) -> Result<(), RequestError> {
        match client.remove(&self.entry, false).await {
            Ok(_) => {}
            Err(RequestError::Failed(error)) if error.code == Code::NOT_FOUND => {}
            Err(error) => return Err(error),
        }
        // What stays of the notes leads to a file that is not there.
        let _ = fs::remove_file(&self.note);
        Ok(())
    }
}

fn write(note: &Path, host: &Target, entry: &EntryPath) -> io::Result<File> {
    let folder = note.parent().expect("a note lies in a folder");
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(note)?;
    file.try_lock()?;
    file.write_all(&[host.to_string().as_bytes(), b"\n", entry.as_bytes()].concat())?;
    Ok(file)
}

/// A note about a file on that host; none if it is about something else, or its run is not over.
fn read(note: PathBuf, host: &Target) -> Option<LeftThere> {
    let file = File::open(&note).ok()?;
    file.try_lock().ok()?;
    let content = fs::read(&note).ok()?;
    let at = content.iter().position(|byte| *byte == b'\n')?;
    let entry = EntryPath::from_typed(&content[at + 1..]).ok()?;
    // Nothing is removed whose name was not made here.
    let is_ours = entry.file_name().is_some_and(|name| name.as_bytes().starts_with(PREFIX.as_bytes()));
    (content[..at] == *host.to_string().as_bytes() && is_ours).then(|| LeftThere {
        entry,
        note,
        _held: Some(file),
    })
}

/// What the names of all files begin with that are made on a host.
pub(crate) const PREFIX: &str = "sft-doctor-";
const FOLDER: &str = "left-there";

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str) -> Target {
        Target { host: host.into(), port: 1303, user: None }
    }

    #[test]
    fn what_a_run_has_left_is_known_when_it_is_over_and_to_that_host_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (host, entry) = (target("here"), EntryPath::from_typed(b"d/sft-doctor-1-QUIC-first").unwrap());
        let running = LeftThere::note(dir.path(), &host, entry.clone());
        assert!(LeftThere::of_earlier_runs(dir.path(), &host).is_empty(), "it is at work");
        drop(running);
        assert!(LeftThere::of_earlier_runs(dir.path(), &target("there")).is_empty());
        let left = LeftThere::of_earlier_runs(dir.path(), &host);
        assert_eq!(left.iter().map(|left| &left.entry).collect::<Vec<_>>(), [&entry]);
    }

    #[test]
    fn a_note_that_names_something_else_removes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let host = target("here");
        drop(LeftThere::note(dir.path(), &host, EntryPath::from_typed(b"d/precious").unwrap()));
        assert!(LeftThere::of_earlier_runs(dir.path(), &host).is_empty());
    }
}
