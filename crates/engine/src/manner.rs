//! How much a transfer asks of the network: what its user chose, and nothing that is measured.

use std::num::NonZeroU64;

/// How a transfer treats others on the same path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// Bytes of content a second, at most.
    pub limit: Option<NonZeroU64>,
    /// Leave the path to others.
    pub background: bool,
}
