//! What a receiver does in its store before anything is published: decides, verifies, stages. Runs where blocking is
//! allowed.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Instant;

use bytes::Bytes;
use sft_base::{ChainingValue, Digest, EntryPath, Kind, Node, Verified, limits, node_cv};
use sft_store::{Attributes, NewDir, Publish, Stage, StageKey, Staged, Stat, StoreError};
use sft_wire::message::{Durability, Entry, EntryKind, PackHeader, PieceHeader, PublishMode, Unapplied};
use sft_wire::{Code, Decision, WireError};

use crate::View;
use crate::attribution::Times;
use crate::commit::{Commit, What};
use crate::error::{staging_error, wire_error};
use crate::place::Destination;

/// The stages of a transfer's large files by entry number. Whoever finishes or discards one takes it out.
pub(crate) type Stages = Arc<Mutex<HashMap<u64, StageSlot>>>;
type StageSlot = Arc<RwLock<Option<Box<dyn Stage>>>>;

/// A new directory that is filled before it has its name, and its number.
type Filling = (u64, Arc<dyn NewDir>);

/// A directory that this transfer makes.
#[derive(Clone)]
pub(crate) struct Made {
    filling: Option<Filling>,
    /// When it was to get its name, somebody else had made it.
    was_found: Arc<AtomicBool>,
}

/// Where and how a receiver puts what it gets.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) view: View,
    pub(crate) destination: Destination,
    pub(crate) publish: PublishMode,
    pub(crate) durability: Durability,
    pub(crate) keep_set_id: bool,
    pub(crate) stages: Stages,
    /// Directories this transfer made and whose attributes are not set yet: as many as are open at a time, or all where the sender
    /// tells no ends.
    pub(crate) made: Arc<Mutex<HashMap<EntryPath, Made>>>,
    /// Directories that failed, as offered, until their ends come: there is nothing to set attributes on. Where a peer
    /// offers more of them than [`UNDONE_MAX`], the rest fails twice.
    pub(crate) undone: Arc<Mutex<HashSet<EntryPath>>>,
}

/// What was found for an entry, and what is to be published of it at once.
pub(crate) struct Decided {
    pub(crate) number: u64,
    pub(crate) decision: Decision,
    pub(crate) commit: Option<Commit>,
}

impl Writer {
    pub(crate) fn new(
        view: View,
        destination: Destination,
        publish: PublishMode,
        durability: Durability,
        keep_set_id: bool,
    ) -> Self {
        let (stages, made, undone) = (Stages::default(), Arc::default(), Arc::default());
        Self { view, destination, publish, durability, keep_set_id, stages, made, undone }
    }

    /// Decides on entries in their order: looks at what is there, and makes directories.
    pub(crate) fn decide_all(&self, batch: &[(u64, Entry)]) -> Vec<Decided> {
        let mut decided = Vec::with_capacity(batch.len());
        // Files beside each other are looked at together.
        for beside in batch.chunk_by(|(_, a), (_, b)| a.kind == EntryKind::File && are_beside(a, b)) {
            let found = self.look_at_files(beside);
            let found = found.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
            decided.extend(
                beside.iter().zip(found).map(|((number, entry), found)| self.decide(*number, entry, found)),
            );
        }
        decided
    }

    /// What is there of files in one directory; nothing where deciding finds out better.
    fn look_at_files(&self, files: &[(u64, Entry)]) -> Vec<Result<Stat, WireError>> {
        let [(_, first), _, ..] = files else { return Vec::new() };
        if self.destination.of(&first.path).is_ok_and(|target| self.is_in_new_dir(&target)) {
            return Vec::new();
        }
        let targets: Result<Vec<_>, _> =
            files.iter().map(|(_, entry)| self.destination.of(&entry.path)).collect();
        targets.map(|targets| self.view.stat_each(&targets)).unwrap_or_default()
    }

    /// Decides on one entry, of which it may be known what was `found`.
    fn decide(&self, number: u64, entry: &Entry, found: Option<Result<Stat, WireError>>) -> Decided {
        let decided = self.destination.of(&entry.path).and_then(|target| match entry.kind {
            EntryKind::Dir => self.decide_dir(number, &target),
            EntryKind::Link => self.decide_link(number, &target, entry),
            EntryKind::File => {
                self.decide_file(number, &target, entry, found).map(|decision| (decision, None))
            }
            EntryKind::DirEnd | EntryKind::Other => {
                unreachable!("the machine asks about files, directories and links alone")
            }
        });
        if decided.is_err() && entry.kind == EntryKind::Dir {
            self.note_undone(&entry.path);
        }
        let (decision, commit) = decided.unwrap_or_else(|error| (Decision::Failed(error), None));
        Decided { number, decision, commit }
    }

    /// The directory failed: there is nothing to set attributes on.
    pub(crate) fn note_undone(&self, path: &EntryPath) {
        let mut undone = self.lock_undone();
        if undone.len() < UNDONE_MAX {
            undone.insert(path.clone());
        }
    }

    fn decide_dir(&self, number: u64, target: &EntryPath) -> Result<(Decision, Option<Commit>), WireError> {
        if target.is_root() {
            return Ok((Decision::Unchanged, None));
        }
        // Another source brought it too.
        if self.lock_made().contains_key(target) {
            return Ok((Decision::Unchanged, None));
        }
        let was_found = Arc::default();
        if let Some(dir) = self.begin_new_dir(target)? {
            let filling = Some((number, dir.clone()));
            let made = Made { filling, was_found: Arc::clone(&was_found) };
            self.lock_made().insert(target.clone(), made);
            let what = What::NewDir { dir, target: target.clone(), was_found };
            return Ok((Decision::Later, Some(Commit { number, what })));
        }
        // Open to the owner until its attributes are set, whatever mode it will have.
        match self.view.make_dir(target, 0o700) {
            Ok(()) => {
                self.lock_made().insert(target.clone(), Made { filling: None, was_found });
                Ok((Decision::Later, Some(Commit { number, what: What::Named(Vec::new()) })))
            }
            Err(error) => match self.view.stat(target) {
                Ok(stat) if stat.meta.kind == Kind::Dir => Ok((Decision::Unchanged, None)),
                Ok(_) => Err(Code::NOT_A_DIRECTORY.because(format!(
                    "{target}: something that is not a directory is in the way; remove it or choose another place"
                ))),
                Err(_) => Err(error),
            },
        }
    }

    /// The directory, if it can be filled before it has its name. Where each entry is made durable alone, it is of no use.
    fn begin_new_dir(&self, target: &EntryPath) -> Result<Option<Arc<dyn NewDir>>, WireError> {
        if self.durability == Durability::Each {
            return Ok(None);
        }
        let within = self.filling(target);
        self.view.new_dir(target, within.as_ref().map(|(_, dir)| &**dir))
    }

    /// The new directory that something will be in.
    fn filling(&self, target: &EntryPath) -> Option<Filling> {
        target.parent().and_then(|parent| self.lock_made().get(&parent)?.filling.clone())
    }

    fn decide_link(
        &self,
        number: u64,
        target: &EntryPath,
        entry: &Entry,
    ) -> Result<(Decision, Option<Commit>), WireError> {
        let points_to = entry.target.clone().unwrap_or_default();
        let there = if self.is_in_new_dir(target) { None } else { self.look(target)? };
        let there = there.map(|there| there.meta.kind);
        if there == Some(Kind::Link) && self.view.read_link(target).is_ok_and(|now| now == points_to) {
            return Ok((Decision::Unchanged, None));
        }
        self.may_take(target, there)?;
        let how = self.how(target);
        let attributes = Attributes { modified: Some(entry.modified.into()), mode: None };
        let what = What::Link { points_to, target: target.clone(), how, attributes };
        Ok((Decision::Later, Some(Commit { number, what })))
    }

    fn decide_file(
        &self,
        number: u64,
        target: &EntryPath,
        entry: &Entry,
        found: Option<Result<Stat, WireError>>,
    ) -> Result<Decision, WireError> {
        if target.is_root() {
            return Err(Code::IS_A_DIRECTORY.because("a file cannot take the place of the served directory"));
        }
        let there = match found {
            Some(found) => if_there(found)?,
            None if self.is_in_new_dir(target) => None,
            None => self.look(target)?,
        };
        if there.as_ref().is_some_and(|there| self.is_same(target, entry, there)) {
            return Ok(Decision::Unchanged);
        }
        let there = there.map(|there| there.meta.kind);
        self.may_take(target, there)?;
        if there.is_none() && entry.path.depth() <= 1 {
            self.expect_parent(target)?;
        }
        if entry.size <= limits::PIECE_BYTES {
            return Ok(Decision::Want(Vec::new()));
        }
        let key = self.stage_key(target, entry);
        let occupied = entry.occupied.unwrap_or(entry.size);
        let stage = self.view.stage(&key, entry.size, occupied).map_err(|e| staging_error(&e))?;
        let held = stage.held();
        self.lock_stages().insert(number, Arc::new(RwLock::new(Some(stage))));
        Ok(Decision::Want(held))
    }

    /// Directories below a source come before what is in them; the one a source lands in has to be there. It is better
    /// to say so before the data comes than after.
    fn expect_parent(&self, target: &EntryPath) -> Result<(), WireError> {
        let Some(parent) = target.parent() else { return Ok(()) };
        match self.look(&parent) {
            Ok(None) if self.view.grant().allows(sft_auth::Right::List, &parent).is_ok() => {
                let text = format!("{parent}: there is no such directory to copy into; make it first");
                Err(Code::NOT_FOUND.because(text))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether this transfer made the directory a moment ago. There is nothing in it to look for; what somebody else puts
    /// there meanwhile, publishing finds.
    fn is_in_new_dir(&self, target: &EntryPath) -> bool {
        target.parent().is_some_and(|parent| self.lock_made().contains_key(&parent))
    }

    /// What is at a path; nothing when the identity may not look, so that a drop box stays one.
    fn look(&self, target: &EntryPath) -> Result<Option<Stat>, WireError> {
        if_there(self.view.stat(target))
    }

    /// Whether the file there is the one offered: by digest where one was offered, else by size and time. A mode that
    /// differs is set right by the way.
    fn is_same(&self, target: &EntryPath, entry: &Entry, there: &Stat) -> bool {
        let there = &there.meta;
        let same = there.kind == Kind::File
            && there.size == entry.size
            && match entry.digest {
                Some(digest) => self.view.hash(target).is_ok_and(|own| own == digest),
                None => there.modified == entry.modified.into(),
            };
        let (attributes, _) = self.attributes(entry);
        if same && attributes.mode.is_some_and(|mode| mode != there.mode) {
            // Refused or failed, the content is the same all the same.
            let _ = self.view.set_attributes(target, &attributes);
        }
        same
    }

    fn may_take(&self, target: &EntryPath, there: Option<Kind>) -> Result<(), WireError> {
        match there {
            Some(Kind::Dir) => Err(Code::IS_A_DIRECTORY
                .because(format!("{target}: a directory is in the way; remove it or choose another place"))),
            Some(_) if self.publish == PublishMode::CreateOnly => {
                Err(Code::ALREADY_EXISTS.because(format!("{target}: it exists already and was to be kept")))
            }
            there => self.view.may_publish(target, there.is_some()),
        }
    }

    fn how(&self, target: &EntryPath) -> Publish {
        match self.publish {
            PublishMode::Replace if self.view.may_replace(target) => Publish::Replace,
            PublishMode::Replace | PublishMode::CreateOnly => Publish::CreateOnly,
        }
    }

    /// What to set on an entry, and what of it is withheld.
    fn attributes(&self, entry: &Entry) -> (Attributes, Vec<Unapplied>) {
        let set_id = entry.mode & 0o6000;
        let keep = self.keep_set_id || set_id == 0;
        let mode = if keep { entry.mode } else { entry.mode & !0o6000 };
        let withheld = (!keep).then(|| Unapplied {
            attribute: "set-id".into(),
            error: Code::DENIED.because("the set-user-ID and set-group-ID bits are not taken over"),
        });
        let attributes = Attributes { modified: Some(entry.modified.into()), mode: Some(mode) };
        (attributes, withheld.into_iter().collect())
    }

    /// The publication of content that is staged and verified.
    pub(crate) fn publication(
        &self,
        number: u64,
        entry: &Entry,
        staged: Staged,
        verified: Verified,
    ) -> Result<Commit, WireError> {
        let target = self.destination.of(&entry.path)?;
        Ok(self.publication_of(number, entry, target, (staged, None), verified))
    }

    fn publication_of(
        &self,
        number: u64,
        entry: &Entry,
        target: EntryPath,
        (staged, within): (Staged, Option<u64>),
        verified: Verified,
    ) -> Commit {
        let (attributes, withheld) = self.attributes(entry);
        let how = self.how(&target);
        let what = What::Content { staged, verified, target, how, attributes, withheld, within };
        Commit { number, what }
    }

    /// The setting of a directory's attributes: of one that this transfer made, or may replace the attributes of.
    pub(crate) fn dressing(&self, number: u64, entry: &Entry) -> Result<Commit, WireError> {
        if self.lock_undone().remove(&entry.path) {
            return Ok(Commit { number, what: What::Named(Vec::new()) });
        }
        let target = self.destination.of(&entry.path)?;
        let made = self.lock_made().remove(&target);
        let made = made.is_some_and(|made| !made.was_found.load(Ordering::Relaxed));
        if !made && self.how(&target) != Publish::Replace {
            return Ok(Commit { number, what: What::Named(Vec::new()) });
        }
        let (attributes, withheld) = self.attributes(entry);
        Ok(Commit { number, what: What::Dress { target, attributes, withheld } })
    }

    /// Verifies one piece and writes it to its stage.
    pub(crate) fn write_piece(
        &self,
        header: &PieceHeader,
        content: &Bytes,
        times: &Times,
    ) -> Result<Node, WireError> {
        let begun = Instant::now();
        let cv: ChainingValue = node_cv(header.offset, content);
        if cv != header.cv {
            return Err(Code::INTEGRITY.because("a piece arrived with another content than it was sent with"));
        }
        let between = Instant::now();
        let slot = self.lock_stages().get(&header.entry).cloned();
        let slot = slot.ok_or_else(gone)?;
        let stage = slot.read().expect("no holder of this lock panics");
        let stage = stage.as_ref().ok_or_else(gone)?;
        stage.write_at(header.offset, content).map_err(|e| wire_error(&e))?;
        times.hashed_and_written(begun, between);
        Ok(Node { offset: header.offset, log2: limits::PIECE_LOG2, cv })
    }

    /// Notes verified nodes in the journal of their stage. A note that is lost costs sending those bytes again.
    pub(crate) fn record(&self, entry: u64, nodes: &[Node]) {
        let slot = self.lock_stages().get(&entry).cloned();
        let Some(slot) = slot else { return };
        let stage = slot.read().expect("no holder of this lock panics");
        let Some(stage) = stage.as_ref() else { return };
        if let Some(error) = nodes.iter().find_map(|node| stage.record(node).err()) {
            tracing::debug!(%error, "a journal record was not written");
        }
    }

    /// Closes a stage whose content is complete, waiting for those who still write to it.
    pub(crate) fn finish_stage(&self, entry: u64) -> Result<Staged, WireError> {
        let slot = self.lock_stages().remove(&entry).ok_or_else(gone)?;
        let stage = slot.write().expect("no holder of this lock panics").take().ok_or_else(gone)?;
        stage.finish().map_err(|e| wire_error(&e))
    }

    /// Throws a stage away.
    pub(crate) fn discard_stage(&self, entry: u64) {
        let slot = self.lock_stages().remove(&entry);
        if let Some(stage) = slot.and_then(|slot| slot.write().expect("no holder of this lock panics").take())
        {
            stage.discard();
        }
    }

    /// Verifies and stages the files of a pack that are wanted.
    pub(crate) fn write_pack(
        &self,
        header: &PackHeader,
        content: &Bytes,
        wanted: Vec<(usize, Entry)>,
    ) -> Vec<(u64, Result<Commit, WireError>)> {
        let mut starts = Vec::with_capacity(header.files.len());
        let mut at = 0;
        for file in &header.files {
            starts.push(at);
            at += file.size as usize;
        }
        let wanted = wanted.into_iter();
        wanted
            .map(|(place, entry)| {
                let file = &header.files[place];
                let content = &content[starts[place]..starts[place] + file.size as usize];
                (file.entry, self.write_packed(file, content, &entry))
            })
            .collect()
    }

    fn write_packed(
        &self,
        file: &sft_wire::message::PackedFile,
        content: &[u8],
        entry: &Entry,
    ) -> Result<Commit, WireError> {
        if let Some(error) = &file.error {
            return Err(error.clone());
        }
        let promised = file.digest.expect("what was decoded has a digest where it has no error");
        let verified = Digest::of(content).verify(promised, entry.size).ok_or_else(|| {
            Code::INTEGRITY
                .because(format!("{}: it arrived with another content than it was sent with", entry.path))
        })?;
        let target = self.destination.of(&entry.path)?;
        let staged = self.stage_small(&target, content, entry).map_err(|e| staging_error(&e))?;
        Ok(self.publication_of(file.entry, entry, target, staged, verified))
    }

    /// Stages a file in the new directory it will be in, if there is one; its number then.
    fn stage_small(
        &self,
        target: &EntryPath,
        content: &[u8],
        entry: &Entry,
    ) -> Result<(Staged, Option<u64>), StoreError> {
        let (attributes, _) = self.attributes(entry);
        if let Some((number, dir)) = self.filling(target)
            && let Some(name) = target.file_name()
            && let Some(staged) = dir.stage_small(name.as_bytes(), content, &attributes)?
        {
            return Ok((staged, Some(number)));
        }
        Ok((self.view.stage_small(content, &attributes)?, None))
    }

    /// spec/store.md, "Stage keys": who sends what to where.
    fn stage_key(&self, target: &EntryPath, entry: &Entry) -> StageKey {
        let mut hasher = blake3::Hasher::new_derive_key("sft/1 stage key");
        for field in [self.view.grant().identity().as_bytes(), target.as_bytes()] {
            hasher.update(&(field.len() as u64).to_be_bytes());
            hasher.update(field);
        }
        hasher.update(&entry.size.to_be_bytes());
        hasher.update(&entry.modified.secs.to_be_bytes());
        hasher.update(&entry.modified.nanos.to_be_bytes());
        StageKey(*hasher.finalize().as_bytes())
    }

    fn lock_made(&self) -> std::sync::MutexGuard<'_, HashMap<EntryPath, Made>> {
        self.made.lock().expect("no holder of this lock panics")
    }

    fn lock_undone(&self) -> std::sync::MutexGuard<'_, HashSet<EntryPath>> {
        self.undone.lock().expect("no holder of this lock panics")
    }

    fn lock_stages(&self) -> std::sync::MutexGuard<'_, HashMap<u64, StageSlot>> {
        self.stages.lock().expect("no holder of this lock panics")
    }
}

/// Nothing where the identity may not look, either.
fn if_there(found: Result<Stat, WireError>) -> Result<Option<Stat>, WireError> {
    match found {
        Ok(stat) => Ok(Some(stat)),
        Err(error) if error.code == Code::NOT_FOUND || error.code == Code::DENIED => Ok(None),
        Err(error) => Err(error),
    }
}

fn are_beside(a: &Entry, b: &Entry) -> bool {
    b.kind == EntryKind::File && a.path.parent() == b.path.parent()
}

fn gone() -> WireError {
    Code::CANCELLED.because("the file was given up")
}

/// As many as may be offered and not settled at a time.
const UNDONE_MAX: usize = limits::WINDOW_ENTRIES_MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;

    use sft_auth::Grant;
    use sft_store::MemStore;
    use sft_wire::message::Place;

    /// What somebody else made while it was filled is theirs.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_directory_that_somebody_made_meanwhile_keeps_its_attributes() {
        use sft_auth::Rights;
        use sft_wire::message::Stamp;

        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(sft_store::FsStore::open(dir.path()).unwrap());
        let grant = Grant::owner_local().narrowed(&EntryPath::root(), Rights::DROP);
        let view = View::new(store, Arc::new(grant));
        let destination = Destination::resolve(&view, EntryPath::root(), Place::Into).unwrap();
        let replace = PublishMode::Replace;
        let writer = Writer::new(view.clone(), destination, replace, Durability::Commit, false);
        let entry = |kind, name: &str| Entry {
            path: EntryPath::from_typed(name.as_bytes()).unwrap(),
            kind,
            size: 0,
            modified: Stamp { secs: 0, nanos: 0 },
            mode: 0o777,
            target: None,
            digest: None,
            occupied: None,
        };
        let dirs = ["ours", "theirs"];
        let batch = dirs.map(|name| (0, entry(EntryKind::Dir, name)));
        let commits: Vec<_> =
            writer.decide_all(&batch).into_iter().filter_map(|decided| decided.commit).collect();
        assert!(commits.iter().all(|commit| matches!(commit.what, What::NewDir { .. })));
        std::fs::create_dir(dir.path().join("theirs")).unwrap();
        let step = crate::commit::step(&view, Durability::Commit, Vec::new(), commits);
        assert!(step.named.iter().all(|(_, named)| named.is_ok()) && step.named.len() == 2);
        let dressed = dirs.map(|name| writer.dressing(0, &entry(EntryKind::DirEnd, name)).unwrap().what);
        assert!(matches!(dressed, [What::Dress { .. }, What::Named(_)]));
    }

    /// A piece may be on its way to its stage when another piece of the same file turns out to be damaged.
    #[test]
    fn what_comes_for_a_file_that_was_given_up_is_not_written() {
        let view = View::new(Arc::new(MemStore::new()), Arc::new(Grant::owner_local()));
        let destination = Destination::resolve(&view, EntryPath::root(), Place::Into).unwrap();
        let writer = Writer::new(view, destination, PublishMode::Replace, Durability::None, false);
        let content = Bytes::from_static(b"late");
        let header = PieceHeader { transfer: 1, unit: 0, entry: 0, offset: 0, cv: node_cv(0, &content) };
        let error = writer.write_piece(&header, &content, &Times::default()).unwrap_err();
        assert_eq!(error, Code::CANCELLED.because("the file was given up"));
        assert_eq!(writer.finish_stage(0).unwrap_err(), error);
    }
}
