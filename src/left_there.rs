//! Files that `sft doctor --copy` makes on a host, noted before they are made and until they are removed: what a run that was
//! killed or cut off has left there, the next one removes.
//!
//! A note lies in the user's folder of state, under the name of the file it is about. A run holds a lock on its own notes, so
//! that no other takes away what it works with. A note that cannot be kept costs that, never the measurement.
//!
//! What a host has of a file that was cut off in the middle has no name there that could be removed. Its source is still here,
//! so the copy is gone on with until the file has its name, and then it is removed, and the source as well.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sft_base::EntryPath;
use sft_client::{
    Client, Code, Ending, EventSink, PublishMode, PushOptions, RemotePath, RequestError, Summary, Target,
    TransferError,
};

/// A file on a host that must not stay there.
#[derive(Debug)]
pub(crate) struct LeftThere {
    pub entry: EntryPath,
    note: PathBuf,
    push: Push,
    /// With a lock on it; none if it could not be written.
    _held: Option<File>,
}

/// What is known of the push that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Push {
    /// The host may still be about to publish it.
    Open,
    /// Whatever it made is there by now.
    Over,
    /// It made nothing.
    Refused,
}

impl LeftThere {
    /// Notes a file that is about to be made.
    pub(crate) fn note(state: &Path, host: &Target, entry: EntryPath) -> Self {
        let name = entry.file_name().map_or_else(String::new, |name| name.to_string());
        let note = state.join(FOLDER).join(name);
        let held = write(&note, host, &entry).ok();
        Self { entry, note, push: Push::Open, _held: held }
    }

    /// Takes in how the push of it ended.
    pub(crate) fn pushed(&mut self, ended: &Result<Summary, TransferError>) {
        let (error, over) = match ended {
            Ok(summary) => (summary.failures.first().map(|(_, error)| error), Push::Over),
            Err(TransferError::Refused(error)) => (Some(error), Push::Open),
            Err(_) => (None, Push::Open),
        };
        let is_refused = error.is_some_and(|error| REFUSALS.contains(&error.code));
        self.push = if is_refused { Push::Refused } else { over };
    }

    /// What earlier runs that are over have left on a host.
    pub(crate) fn of_earlier_runs(state: &Path, host: &Target) -> Vec<Self> {
        let notes = fs::read_dir(state.join(FOLDER)).into_iter().flatten().flatten();
        notes.filter_map(|note| read(note.path(), host)).collect()
    }

    /// The folder with its source, if that is still here and is this user's.
    pub(crate) fn scratch(&self) -> Option<PathBuf> {
        let name = self.entry.file_name()?.to_string();
        let chance = name.strip_prefix(PREFIX)?.split('-').next()?;
        let folder = scratch(chance);
        let meta = folder.symlink_metadata().ok()?;
        (meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw()).then_some(folder)
    }

    /// Has the host complete what it may have a part of. That this fails is no news: what can be removed is, all the same.
    pub(crate) async fn complete(&mut self, client: &Client) {
        let name = self.entry.file_name().map(|name| name.to_string()).unwrap_or_default();
        let source = name.rsplit('-').next().zip(self.scratch()).map(|(what, folder)| folder.join(what));
        let Some(source) = source.filter(|source| source.symlink_metadata().is_ok_and(|meta| meta.is_file()))
        else {
            return;
        };
        let to = RemotePath { entry: self.entry.clone(), ending: Ending::Name };
        let options = PushOptions { publish: PublishMode::CreateOnly, ..PushOptions::default() };
        let (sink, _events) = EventSink::new();
        if let Ok(summary) = client.push(&[source], &to, options, sink).await
            && summary.failures.is_empty()
        {
            self.push = Push::Over;
        }
    }

    /// Removes it, and forgets it if it is not there and cannot come any more.
    pub(crate) async fn remove(self, client: &Client) -> Result<(), RequestError> {
        if self.push != Push::Refused {
            match client.remove(&self.entry, false).await {
                Ok(_) => {}
                Err(RequestError::Failed(error)) if error.code == Code::NOT_FOUND => {
                    if self.push == Push::Open {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        // What stays of the notes leads to a file that is not there.
        let _ = fs::remove_file(&self.note);
        Ok(())
    }
}

fn write(note: &Path, host: &Target, entry: &EntryPath) -> io::Result<File> {
    let folder = note.parent().expect("a note lies in a folder");
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // It is locked and whole when another run sees it.
    let new = folder.with_added_extension(std::process::id().to_string());
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.try_lock()?;
    file.write_all(&[account(host).as_bytes(), b"\n", entry.as_bytes()].concat())?;
    fs::rename(new, note)?;
    Ok(file)
}

/// A note about a file on that host; none if it is about something else, or its run is not over.
fn read(note: PathBuf, host: &Target) -> Option<LeftThere> {
    let file = File::open(&note).ok()?;
    file.try_lock().ok()?;
    // A host that was cut off from a run may still be flushing what that sent.
    let age = file.metadata().and_then(|meta| meta.modified()).map(|at| SystemTime::now().duration_since(at));
    let is_old = age.is_ok_and(|age| age.is_ok_and(|age| age > PUBLISHED_WITHIN));
    let content = fs::read(&note).ok()?;
    let Some((account_of, entry)) = parse(&content) else {
        let _ = fs::remove_file(&note);
        return None;
    };
    let push = if is_old { Push::Over } else { Push::Open };
    (account_of == account(host).as_bytes()).then(|| LeftThere { entry, note, push, _held: Some(file) })
}

/// Who left it where, and what; none if nothing of that name is made here, so that nothing else is ever removed.
fn parse(content: &[u8]) -> Option<(&[u8], EntryPath)> {
    let at = content.iter().position(|byte| *byte == b'\n')?;
    let entry = EntryPath::from_typed(&content[at + 1..]).ok()?;
    let is_ours = entry.file_name().is_some_and(|name| name.as_bytes().starts_with(PREFIX.as_bytes()));
    is_ours.then_some((&content[..at], entry))
}

/// A host, and as whom: one path means different files to different users.
fn account(host: &Target) -> String {
    format!("{}@{host}", host.user.as_deref().unwrap_or_default())
}

/// Where the sources of one run are, which has this part of its names to itself.
pub(crate) fn scratch(chance: &str) -> PathBuf {
    std::env::temp_dir().join(format!("{PREFIX}{chance}"))
}

/// What the names of all files begin with that are made on a host.
pub(crate) const PREFIX: &str = "sft-doctor-";
const FOLDER: &str = "left-there";
/// After so long, no host publishes what a run that is over has sent.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(300);
/// With these a host says that it made nothing.
const REFUSALS: [Code; 7] = [
    Code::DENIED,
    Code::READ_ONLY,
    Code::PERMISSION,
    Code::NOT_FOUND,
    Code::NOT_A_DIRECTORY,
    Code::NAME_NOT_ALLOWED,
    Code::LEADS_OUTSIDE,
];

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
        assert_eq!(left[0].push, Push::Open, "the host may be flushing it");
        drop(left);
        let somebody = Target { user: Some("somebody".into()), ..host.clone() };
        assert!(LeftThere::of_earlier_runs(dir.path(), &somebody).is_empty(), "another user has other files");
        age(dir.path());
        assert_eq!(LeftThere::of_earlier_runs(dir.path(), &host)[0].push, Push::Over);
    }

    /// Makes all notes old.
    fn age(state: &Path) {
        for note in fs::read_dir(state.join(FOLDER)).unwrap() {
            let note = File::options().write(true).open(note.unwrap().path()).unwrap();
            note.set_modified(SystemTime::now() - 2 * PUBLISHED_WITHIN).unwrap();
        }
    }

    #[test]
    fn how_a_push_ends_tells_whether_it_made_something() {
        let dir = tempfile::tempdir().unwrap();
        let entry = EntryPath::from_typed(b"d/sft-doctor-1-QUIC-first").unwrap();
        let failed = |code: Code| {
            Ok(Summary { failures: vec![(entry.clone(), code.because("no"))], ..Summary::default() })
        };
        let cases = [
            (Ok(Summary::default()), Push::Over),
            (failed(Code::WRITE), Push::Over),
            (failed(Code::DENIED), Push::Refused),
            (Err(TransferError::Refused(Code::DENIED.because("no"))), Push::Refused),
            (Err(TransferError::Refused(Code::BUSY.because("after a loss"))), Push::Open),
            (Err(TransferError::Lost { reason: String::new(), silent: Duration::ZERO }), Push::Open),
        ];
        for (ended, expected) in cases {
            let mut left = LeftThere::note(dir.path(), &target("here"), entry.clone());
            left.pushed(&ended);
            assert_eq!(left.push, expected, "{ended:?}");
        }
    }

    #[test]
    fn a_note_that_names_something_else_removes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let host = target("here");
        drop(LeftThere::note(dir.path(), &host, EntryPath::from_typed(b"d/precious").unwrap()));
        let notes = || fs::read_dir(dir.path().join(FOLDER)).unwrap().count();
        assert_eq!(notes(), 1);
        assert!(LeftThere::of_earlier_runs(dir.path(), &host).is_empty());
        assert_eq!(notes(), 0, "nor is it kept");
    }
}
