//! What every store promises, as one list that runs on each of them (spec/store.md).

mod content;
mod crash;
#[cfg(target_os = "linux")]
mod new_dirs;
#[cfg(target_os = "linux")]
mod on_disk;
mod open_files;
mod stages;
mod tree;

use sft_base::limits::{PIECE_BYTES, PIECE_LOG2};
use sft_base::{Digest, EntryPath, Node, Verified, node_cv};

use crate::{Attributes, MemStore, Publish, Stage, StageKey, Store, StoreError};

/// A store to be tested, and what only its maker can do to it.
trait Bench {
    fn new() -> Self
    where
        Self: Sized;
    fn store(&self) -> &dyn Store;
    /// As if the process had ended in good order and begun again. No stage may be open.
    fn restart(&mut self);
    /// Changes the bytes and the journal of a stage that is not open.
    fn damage(&self, key: &StageKey, damage: &mut dyn FnMut(&mut Vec<u8>, &mut Vec<u8>));
    /// Makes something that is neither file, nor directory, nor link.
    fn make_special(&self, path: &EntryPath);
    /// Whether holes take no space here.
    fn has_holes(&self) -> bool;
}

struct InMemory(MemStore);

impl Bench for InMemory {
    fn new() -> Self {
        Self(MemStore::new())
    }

    fn store(&self) -> &dyn Store {
        &self.0
    }

    fn restart(&mut self) {}

    fn damage(&self, key: &StageKey, damage: &mut dyn FnMut(&mut Vec<u8>, &mut Vec<u8>)) {
        self.0.damage_stage(key, damage);
    }

    fn make_special(&self, path: &EntryPath) {
        self.0.make_special(path).unwrap();
    }

    fn has_holes(&self) -> bool {
        false
    }
}

struct Faultless {
    inner: InMemory,
    store: crate::FaultStore,
}

impl Bench for Faultless {
    fn new() -> Self {
        let inner = InMemory::new();
        let store = crate::FaultStore::new(inner.0.clone());
        Self { inner, store }
    }

    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn restart(&mut self) {}

    fn damage(&self, key: &StageKey, damage: &mut dyn FnMut(&mut Vec<u8>, &mut Vec<u8>)) {
        self.inner.damage(key, damage);
    }

    fn make_special(&self, path: &EntryPath) {
        self.inner.make_special(path);
    }

    fn has_holes(&self) -> bool {
        false
    }
}

/// Makes a test of each promise, on each store.
macro_rules! promises {
    ($($list:ident: $($promise:ident),* $(,)?;)*) => {
        promises!(@on memory InMemory: $($list $($promise)*;)*);
        promises!(@on faultless Faultless: $($list $($promise)*;)*);
        #[cfg(target_os = "linux")]
        promises!(@on directory on_disk::Directory: $($list $($promise)*;)*);
    };
    (@on $name:ident $bench:ty: $($list:ident $($promise:ident)*;)*) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $($(#[test] fn $promise() { $list::$promise(&mut <$bench>::new()); })*)*
        }
    };
}

promises! {
    content:
        small_content_comes_back,
        large_content_comes_back,
        create_only_never_replaces,
        replace_replaces_files_and_links_only,
        replace_if_compares_first,
        links_are_published_and_replaced_themselves,
        a_name_shows_old_or_new,
        attributes_are_applied,
        content_that_was_not_published_is_gone,
        other_content_than_was_verified_is_refused,
        another_store_s_content_is_refused,
        a_source_keeps_its_content_when_the_name_goes,
        holes_read_as_zeros,
        zeros_replace_old_garbage,
        reading_past_the_end_is_short;
    open_files:
        a_file_is_written_in_place,
        only_files_are_opened_in_place,
        a_draft_has_no_name_until_it_is_published,
        a_draft_that_is_dropped_leaves_the_old_content,
        a_draft_is_published_once_and_written_in_place_then,
        a_draft_follows_the_rules_of_publishing,
        a_second_name_is_the_same_file;
    stages:
        an_interrupted_stage_goes_on,
        the_newest_claimant_has_the_stage,
        a_finished_stage_can_be_taken_over,
        damaged_bytes_are_not_held,
        a_foreign_journal_is_refused,
        a_torn_journal_ends_there,
        another_size_begins_anew,
        a_refused_publish_keeps_the_stage,
        a_discarded_stage_is_gone,
        nothing_is_written_past_the_end,
        stages_are_invisible,
        only_abandoned_stages_expire;
    tree:
        entries_are_listed_in_batches,
        several_are_looked_at_as_each_alone,
        directories_are_made_once,
        names_are_kept_byte_for_byte,
        renaming_follows_the_rules,
        removing_follows_the_rules,
        removing_a_tree_follows_no_link,
        deep_trees_can_be_made_and_removed,
        links_lead_nowhere_outside,
        a_store_without_links_reads_through_none,
        writing_passes_through_no_link,
        the_store_s_own_names_are_refused,
        the_root_stays,
        what_is_special_is_not_opened,
        missing_entries_and_wrong_kinds_are_told_apart,
        space_is_told;
}

/// A path, from text.
fn path(text: &str) -> EntryPath {
    EntryPath::from_typed(text.as_bytes()).unwrap()
}

/// Bytes without an obvious period.
fn pattern(len: u64) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 17)) as u8 | 1).collect()
}

fn verified(content: &[u8]) -> Verified {
    let digest = Digest::of(content);
    digest.verify(digest, content.len() as u64).unwrap()
}

/// Publishes small content.
fn publish(store: &dyn Store, to: &str, content: &[u8], how: Publish) -> Result<(), StoreError> {
    let staged = store.stage_small(content, &Attributes::default())?;
    let unapplied = store.publish(staged, verified(content), &path(to), how, &Attributes::default())?;
    assert_eq!(unapplied, []);
    Ok(())
}

fn put(store: &dyn Store, to: &str, content: &[u8]) {
    publish(store, to, content, Publish::Replace).unwrap();
}

fn put_link(store: &dyn Store, to: &str, target: &str) {
    let none = Attributes::default();
    store.publish_link(target.as_bytes(), &path(to), Publish::Replace, &none).unwrap();
}

fn make_dir(store: &dyn Store, at: &str) {
    store.make_dir(&path(at), 0o755).unwrap();
}

fn read(store: &dyn Store, from: &str) -> Vec<u8> {
    let source = store.open(&path(from)).unwrap();
    let mut content = vec![0; source.stat().unwrap().meta.size as usize];
    assert_eq!(source.read_at(0, &mut content).unwrap(), content.len());
    content
}

fn exists(store: &dyn Store, at: &str) -> bool {
    match store.stat(&path(at)) {
        Ok(_) => true,
        Err(StoreError::NotFound { .. }) => false,
        Err(error) => panic!("{error:?}"),
    }
}

/// The names in a directory, sorted.
fn names(store: &dyn Store, at: &str) -> Vec<String> {
    let mut listing = store.list(&path(at)).unwrap();
    let batch = listing.next_batch(usize::MAX).unwrap();
    let mut names: Vec<_> = batch.into_iter().map(|(name, _)| name.to_string()).collect();
    names.sort();
    names
}

/// The node of piece `index` of `content`.
fn piece(content: &[u8], index: u64) -> Node {
    let offset = index * PIECE_BYTES;
    let end = (offset + PIECE_BYTES).min(content.len() as u64);
    Node { offset, log2: PIECE_LOG2, cv: node_cv(offset, &content[offset as usize..end as usize]) }
}

/// Writes and records some pieces of `content`.
fn write_pieces(stage: &dyn Stage, content: &[u8], pieces: impl IntoIterator<Item = u64>) {
    for index in pieces {
        let node = piece(content, index);
        let range = node.range(content.len() as u64);
        stage.write_at(range.start, &content[range.start as usize..range.end as usize]).unwrap();
        stage.record(&node).unwrap();
    }
}

/// Finishes and publishes a large stage.
fn publish_stage(store: &dyn Store, stage: Box<dyn Stage>, content: &[u8], to: &str) {
    let staged = stage.finish().unwrap();
    store.publish(staged, verified(content), &path(to), Publish::CreateOnly, &Attributes::default()).unwrap();
}
