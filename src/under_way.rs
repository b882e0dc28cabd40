//! Copies that are under way and landed at the name they were given, so that the same command goes on there.
//!
//! `sft cp dir host:new` makes `new`. Were it interrupted and typed again, `new` would be there, and the tree would land
//! inside it, as with `cp -r`. So a file in the user's folder of state stands for such a copy until it has ended well.
//! What a copy is, is what is copied and where to; how it is copied is no part of that. A note that cannot be kept
//! costs the going on, never the copy, and one that is old is forgotten (spec/auth.md, "Files"). Of several runs of one
//! copy at a time each holds a lock on the note, and the last one to end forgets it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sft_auth::Folders;
use sft_client::{Digest, Ending, LandingMemory, RemotePath, Target};

use crate::copying::Copied;
use crate::exit::Exit;

/// The note of one copy, in one run of it.
#[derive(Debug)]
pub(crate) struct UnderWay {
    note: PathBuf,
    /// The note with a shared lock on it, from the moment this run has written it.
    held: Mutex<Option<File>>,
}

impl UnderWay {
    /// The note of a copy to a host.
    pub(crate) fn push(
        folders: &Folders,
        sources: &[PathBuf],
        server: &Target,
        destination: &RemotePath,
    ) -> Arc<Self> {
        let mut copy = What::new("push");
        sources.iter().for_each(|source| copy.here(source));
        copy.server(server);
        copy.there(destination);
        Arc::new(Self::of(&folders.state, copy))
    }

    /// The note of a copy from a host.
    pub(crate) fn pull(
        folders: &Folders,
        server: &Target,
        sources: &[RemotePath],
        destination: &Path,
    ) -> Arc<Self> {
        let mut copy = What::new("pull");
        copy.server(server);
        sources.iter().for_each(|source| copy.there(source));
        copy.here(destination);
        Arc::new(Self::of(&folders.state, copy))
    }

    /// Forgets the copy if nothing of it is left to do, or nothing of it is there.
    pub(crate) fn ended(&self, copied: Copied) {
        *self.held() = None;
        if copied.exit == Exit::Done || !copied.landed {
            // What stays behind is forgotten when it is old.
            let _ = self.forget();
        }
    }

    fn of(state: &Path, copy: What) -> Self {
        Self { note: state.join("under-way").join(copy.digest().to_string()), held: Mutex::default() }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<File>> {
        // There is nothing in it that could be half done.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the note, unless another run of the same copy holds it: that one still needs it.
    fn forget(&self) -> io::Result<()> {
        let note = File::open(&self.note)?;
        note.try_lock()?;
        fs::remove_file(&self.note)
    }

    fn write(&self) -> io::Result<()> {
        let folder = self.note.parent().expect("a note lies in a folder");
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        forget_old(folder, SystemTime::now());
        for _ in 0..WRITE_ATTEMPTS {
            // That it is there, and since when, is all that is asked of it: a note cut short is as good as another.
            let file =
                OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&self.note);
            let mut file = file?;
            file.lock_shared()?;
            file.write_all(b"A copy that is under way; see `sft cp --help`.\n")?;
            // Another run may have forgotten it between the two.
            if fs::symlink_metadata(&self.note).is_ok_and(|named| is_same(&named, &file)) {
                *self.held() = Some(file);
                break;
            }
        }
        Ok(())
    }
}

impl LandingMemory for UnderWay {
    fn recall(&self) -> bool {
        let noted = fs::symlink_metadata(&self.note).ok().filter(fs::Metadata::is_file);
        let since = noted.and_then(|noted| noted.modified().ok());
        since.is_some_and(|since| is_fresh(since, SystemTime::now()))
    }

    fn remember(&self) {
        // A folder that cannot be written is no reason not to copy.
        let _ = self.write();
    }
}

/// What is copied and where to, as bytes that differ where copies differ.
struct What(Vec<u8>);

impl What {
    fn new(way: &str) -> Self {
        let mut what = Self(Vec::new());
        what.part(way.as_bytes());
        what
    }

    fn part(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    /// A path on this machine, whatever folder it was typed in. The ways to name what is in a folder stay distinct.
    fn here(&mut self, path: &Path) {
        let absolute = std::path::absolute(path);
        self.part(absolute.as_deref().unwrap_or(path).as_os_str().as_encoded_bytes());
        self.ending(Ending::of(path.as_os_str().as_encoded_bytes()));
    }

    fn there(&mut self, path: &RemotePath) {
        self.part(path.entry.as_bytes());
        self.ending(path.ending);
    }

    fn server(&mut self, server: &Target) {
        self.part(server.to_string().as_bytes());
        self.part(server.user.as_deref().unwrap_or_default().as_bytes());
    }

    fn ending(&mut self, ending: Ending) {
        self.part(match ending {
            Ending::Name => b"name",
            Ending::Slash => b"slash",
            Ending::Contents => b"contents",
        });
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

fn is_same(named: &fs::Metadata, open: &File) -> bool {
    open.metadata().is_ok_and(|open| (open.dev(), open.ino()) == (named.dev(), named.ino()))
}

/// Whether a note of that time still counts; one from the future does, since clocks are set.
fn is_fresh(since: SystemTime, now: SystemTime) -> bool {
    now.duration_since(since).unwrap_or_default() < KEPT
}

fn forget_old(folder: &Path, now: SystemTime) {
    let Ok(notes) = fs::read_dir(folder) else { return };
    for note in notes.flatten() {
        let since = note.metadata().and_then(|found| found.modified());
        if since.is_ok_and(|since| !is_fresh(since, now)) {
            // Another process may have been quicker.
            let _ = fs::remove_file(note.path());
        }
    }
}

/// Longer than anyone leaves a copy that is to be finished.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// One more than it takes where two runs meet.
const WRITE_ATTEMPTS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use sft_client::Location;
    use std::os::unix::fs::PermissionsExt;

    fn folders(state: &Path) -> Folders {
        Folders { home: "/h".into(), state: state.into(), config: "/c".into() }
    }

    fn push(state: &Path, sources: &[&str], destination: &str) -> Arc<UnderWay> {
        let Ok(Location::Remote(host)) = Location::parse(destination.as_ref()) else { panic!() };
        let sources: Vec<PathBuf> = sources.iter().map(PathBuf::from).collect();
        UnderWay::push(&folders(state), &sources, &Target::of(&host), &host.path)
    }

    fn pull(state: &Path, source: &str, destination: &str) -> Arc<UnderWay> {
        let Ok(Location::Remote(host)) = Location::parse(source.as_ref()) else { panic!() };
        let (target, paths) = (Target::of(&host), [host.path]);
        UnderWay::pull(&folders(state), &target, &paths, Path::new(destination))
    }

    #[test]
    fn what_is_copied_where_makes_a_copy() {
        let state = Path::new("/s");
        let all = [
            push(state, &["/a"], "h:b"),
            push(state, &["/a/"], "h:b"),
            push(state, &["/a/."], "h:b"),
            push(state, &["/a"], "h:b/"),
            push(state, &["/a"], "h:c"),
            push(state, &["/a"], "u@h:b"),
            push(state, &["/a"], "sft://h:99/b"),
            push(state, &["/a", "/b"], "h:b"),
            push(state, &["/ab"], "h:"),
            push(state, &["a"], "h:b"),
            pull(state, "h:a", "/b"),
            pull(state, "h:b", "/a"),
            pull(state, "h:a/", "/b"),
        ];
        for (number, one) in all.iter().enumerate() {
            assert!(all[..number].iter().all(|other| other.note != one.note), "{number}");
        }
        assert_eq!(push(state, &["/a"], "h:b").note, all[0].note);
        assert_eq!(push(state, &["/a"], "sft://h/b").note, all[0].note, "however the server is written");
        let here = std::env::current_dir().unwrap();
        let absolute = push(state, &[here.join("a").to_str().unwrap()], "h:b");
        assert_eq!(absolute.note, all[9].note, "wherever it is typed");
    }

    #[test]
    fn the_last_of_several_runs_forgets_it() {
        let dir = tempfile::tempdir().unwrap();
        let done = Copied { exit: Exit::Done, landed: true };
        let [first, second, third] = [(); 3].map(|()| push(dir.path(), &["/a"], "h:b"));
        first.remember();
        second.remember();
        first.ended(done);
        assert!(second.recall(), "the second is still under way");
        third.remember();
        // As a crash ends it: nothing is said, and the lock is gone.
        drop(second);
        assert!(third.recall());
        third.ended(done);
        assert!(!third.recall());
        first.remember();
        assert!(first.recall(), "a note that was forgotten can be made again");
    }

    #[test]
    fn it_is_remembered_until_it_has_ended_well() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("new/state");
        let (one, other) = (push(&state, &["/a"], "h:b"), push(&state, &["/a"], "h:c"));
        assert!(!one.recall());
        let copied = |exit, landed| Copied { exit, landed };
        one.ended(copied(Exit::Done, true));
        for (exit, landed, is_kept) in
            [(Exit::Done, true, false), (Exit::SomeFailed, true, true), (Exit::SomeFailed, false, false)]
        {
            one.remember();
            one.remember();
            assert!(one.recall() && !other.recall());
            one.ended(copied(exit, landed));
            assert_eq!(one.recall(), is_kept, "{exit:?} {landed}");
        }
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&state.join("under-way"))), (0o700, 0o700));
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (push(dir.path(), &["/a"], "h:b"), push(dir.path(), &["/a"], "h:c"));
        old.remember();
        let note = File::options().write(true).open(&old.note).unwrap();
        note.set_modified(SystemTime::now() - KEPT).unwrap();
        assert!(!old.recall() && old.note.exists());
        new.remember();
        assert!(!old.note.exists() && new.recall());
        let now = SystemTime::now();
        assert!(is_fresh(now - KEPT / 2, now) && is_fresh(now + KEPT, now) && !is_fresh(now - KEPT, now));
    }

    #[test]
    fn a_broken_memory_harms_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let copy = push(dir.path(), &["/a"], "h:b");
        fs::write(dir.path().join("under-way"), "a file where a folder should be").unwrap();
        copy.remember();
        assert!(!copy.recall());
        copy.ended(Copied { exit: Exit::Done, landed: true });
        fs::remove_file(dir.path().join("under-way")).unwrap();
        fs::create_dir_all(&copy.note).unwrap();
        copy.remember();
        assert!(!copy.recall(), "a folder where a file should be");
    }
}
