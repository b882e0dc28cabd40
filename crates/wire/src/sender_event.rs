//! What a sender learns from its receiver.

use sft_base::EntryPath;

use crate::error::WireError;
use crate::message::{Entry, Unapplied};

/// What a message meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SenderEvent {
    /// An entry is settled; its number is free of any further use.
    Settled {
        /// Its number.
        number: u64,
        /// What was offered.
        entry: Entry,
        /// How it ended.
        outcome: Outcome,
    },
    /// An attribute of an entry that is settled next could not be set.
    Unapplied {
        /// Where the entry was offered to land.
        path: EntryPath,
        /// Which attribute, and why.
        unapplied: Unapplied,
    },
    /// Data arrived at the other end.
    Acknowledged {
        /// Bytes of content.
        bytes: u64,
    },
    /// The receiver holds data already, and it is the same.
    Kept {
        /// Bytes of content.
        bytes: u64,
    },
    /// The transfer is over.
    Ended,
}

/// How an entry ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Published.
    Committed,
    /// It was in place.
    Unchanged,
    /// Neither.
    Failed(WireError),
}
