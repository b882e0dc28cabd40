//! What a sender asks its driver to do (spec/wire.md, "Sender").

use std::ops::Range;

use sft_base::Node;

/// Work for the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Read these files whole and send them as one pack.
    Pack {
        /// Number of the data unit.
        unit: u64,
        /// Entries and their sizes.
        files: Vec<(u64, u64)>,
    },
    /// Read this range and send it as a piece; then say so by [`crate::Sender::piece_read`] or [`crate::Sender::piece_failed`].
    Piece {
        /// Number of the data unit.
        unit: u64,
        /// Which entry.
        entry: u64,
        /// The bytes.
        range: Range<u64>,
    },
    /// Hash this range of the own content, and say its chaining value by [`crate::Sender::checked`].
    Check {
        /// Which entry.
        entry: u64,
        /// What the receiver holds.
        node: Node,
    },
    /// All of it was read: see whether the source is still the same, and say so by [`crate::Sender::closed`].
    Close {
        /// Which entry.
        entry: u64,
    },
}
