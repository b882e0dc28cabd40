//! Publishes in batches: content is flushed, names are given, names are flushed; only then an entry counts as committed
//! (spec/store.md, "Durability"). Runs where blocking is allowed.

use sft_base::{EntryPath, Verified};
use sft_store::{Attributes, Publish, Staged};
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
    },
    /// It has its name, which is to be durable.
    Named(Vec<Unapplied>),
    /// A directory gets its attributes.
    Dress { target: EntryPath, attributes: Attributes, withheld: Vec<Unapplied> },
}

/// How the commit of an entry ended.
pub(crate) type Committed = (u64, Result<Vec<Unapplied>, WireError>);

/// Commits a batch, in order.
pub(crate) fn commit(view: &View, durability: Durability, batch: Vec<Commit>) -> Vec<Committed> {
    match durability {
        Durability::None => publish(view, batch),
        Durability::Commit => commit_durably(view, batch),
        Durability::Each => batch.into_iter().flat_map(|one| commit_durably(view, vec![one])).collect(),
    }
}

fn commit_durably(view: &View, batch: Vec<Commit>) -> Vec<Committed> {
    let has_content = batch.iter().any(|one| matches!(one.what, What::Content { .. }));
    if has_content && let Err(error) = view.flush() {
        return batch.into_iter().map(|one| (one.number, Err(error.clone()))).collect();
    }
    let published = publish(view, batch);
    match view.flush() {
        Ok(()) => published,
        Err(error) => published.into_iter().map(|(number, _)| (number, Err(error.clone()))).collect(),
    }
}

fn publish(view: &View, batch: Vec<Commit>) -> Vec<Committed> {
    let publish_one = |Commit { number, what }| {
        let published = match what {
            What::Content { staged, verified, target, how, attributes, withheld } => {
                with(withheld, view.publish(staged, verified, &target, how, &attributes))
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
