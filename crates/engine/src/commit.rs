//! Publishes in batches: content is flushed, names are given, names are flushed; only then an entry counts as committed
//! (spec/store.md, "Durability"). Runs where blocking is allowed, one step of a transfer at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sft_base::{EntryPath, Verified};
use sft_store::{Attributes, NewDir, Publish, Staged};
use sft_wire::WireError;
use sft_wire::message::{Durability, Unapplied};

use crate::View;
use crate::error::unapplied_on_wire;

/// An entry that is to be committed.
pub(crate) struct Commit {
    pub(crate) number: u64,
    pub(crate) what: What,
}

/// What is left to do for it.
pub(crate) enum What {
    /// Its content gets its name.
    Content {
        staged: Staged,
        verified: Verified,
        target: EntryPath,
        how: Publish,
        attributes: Attributes,
        /// Attributes that are not even tried.
        withheld: Vec<Unapplied>,
        /// The number of the new directory that it is staged in.
        within: Option<u64>,
    },
    /// A new directory gets its name, with what is staged in it; unless it was made by somebody else, which is noted.
    NewDir { dir: Arc<dyn NewDir>, target: EntryPath, was_found: Arc<AtomicBool> },
    /// A link is made.
    Link { points_to: Vec<u8>, target: EntryPath, how: Publish, attributes: Attributes },
    /// It has its name, which is to be durable.
    Named(Vec<Unapplied>),
    /// A directory gets its attributes.
    Dress { target: EntryPath, attributes: Attributes, withheld: Vec<Unapplied> },
}

/// How the commit of an entry ended.
pub(crate) type Committed = (u64, Result<Vec<Unapplied>, WireError>);

/// What one step of committing came to.
#[derive(Default)]
pub(crate) struct Step {
    /// Entries that are committed, or have failed.
    pub(crate) settled: Vec<Committed>,
    /// Entries that have their names, which the next step makes durable.
    pub(crate) named: Vec<Committed>,
}

/// Publishes a batch, in order, and makes the names durable that an earlier step gave. One flush serves both the content
/// of this batch and the names of the one before: while there is more to come, each batch costs one flush.
pub(crate) fn step(view: &View, durability: Durability, named: Vec<Committed>, batch: Vec<Commit>) -> Step {
    match durability {
        Durability::None => Step { settled: publish(view, batch), named },
        Durability::Commit => step_durably(view, named, batch),
        Durability::Each => {
            let alone = |one| {
                let Step { mut settled, named } = step_durably(view, Vec::new(), vec![one]);
                settled.extend(step_durably(view, named, Vec::new()).settled);
                settled
            };
            Step { settled: batch.into_iter().flat_map(alone).collect(), named }
        }
    }
}

fn step_durably(view: &View, named: Vec<Committed>, batch: Vec<Commit>) -> Step {
    let has_content = batch.iter().any(|one| matches!(one.what, What::Content { .. } | What::NewDir { .. }));
    if (has_content || !named.is_empty())
        && let Err(error) = view.flush()
    {
        let lost = named.into_iter().map(|(number, _)| number).chain(batch.iter().map(|one| one.number));
        return Step {
            settled: lost.map(|number| (number, Err(error.clone()))).collect(),
            named: Vec::new(),
        };
    }
    Step { settled: named, named: publish(view, batch) }
}

fn publish(view: &View, batch: Vec<Commit>) -> Vec<Committed> {
    let publish_one = |Commit { number, what }| {
        let published = match what {
            What::Content { staged, verified, target, how, attributes, withheld, within: _ } => {
                with(withheld, view.publish(staged, verified, &target, how, &attributes))
            }
            What::NewDir { dir, target, was_found } => view.publish_dir(&*dir, &target).map(|made| {
                was_found.store(!made, Ordering::Relaxed);
                Vec::new()
            }),
            What::Link { points_to, target, how, attributes } => {
                with(Vec::new(), view.publish_link(&points_to, &target, how, &attributes))
            }
            What::Named(unapplied) => Ok(unapplied),
            What::Dress { target, attributes, withheld } => {
                with(withheld, view.dress_dir(&target, &attributes))
            }
        };
        (number, published)
    };
    batch.into_iter().map(publish_one).collect()
}

fn with(
    mut withheld: Vec<Unapplied>,
    applied: Result<Vec<sft_store::Unapplied>, WireError>,
) -> Result<Vec<Unapplied>, WireError> {
    withheld.extend(applied?.iter().map(unapplied_on_wire));
    Ok(withheld)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    use sft_auth::Grant;
    use sft_base::Digest;
    use sft_store::{FaultStore, FsStore, Op, Store, StoreError};

    /// Nothing leads to content that is not on disk.
    #[test]
    fn a_new_directory_is_named_when_what_is_in_it_is_durable() {
        for lost in [false, true] {
            let root = tempfile::tempdir().unwrap();
            let store = Arc::new(FaultStore::new(FsStore::open(root.path()).unwrap()));
            if lost {
                store.fail(Op::Flush, 1, || StoreError::Corrupt { what: "the disk is gone" });
            }
            let view = View::new(store.clone(), Arc::new(Grant::owner_local()));
            let target = EntryPath::from_typed(b"new").unwrap();
            let dir = store.new_dir(&target).unwrap();
            let staged = dir.clone().stage_small(b"f", b"x", &Attributes::default()).unwrap().unwrap();
            dir.close(1);
            let named = What::NewDir { dir, target: target.clone(), was_found: Arc::default() };
            let content = What::Content {
                staged,
                verified: Digest::of(b"x").verify(Digest::of(b"x"), 1).unwrap(),
                target: EntryPath::from_typed(b"new/f").unwrap(),
                how: Publish::Replace,
                attributes: Attributes::default(),
                withheld: Vec::new(),
                within: Some(0),
            };
            // The directory can come at the end of one batch, and its files in the next.
            let Step { settled, named } =
                step(&view, Durability::Commit, Vec::new(), vec![Commit { number: 0, what: named }]);
            assert_eq!(root.path().join("new/f").exists(), !lost);
            assert_eq!(settled.len() + named.len(), 1);
            let Step { settled, named } =
                step(&view, Durability::Commit, named, vec![Commit { number: 1, what: content }]);
            assert_eq!(settled.iter().filter(|(_, ended)| ended.is_ok()).count(), usize::from(!lost));
            assert_eq!(named[0].1.is_ok(), !lost);
            assert_eq!(store.calls_of(Op::Flush), 2);
        }
    }
}
