//! Why a transfer came to no good end as a whole; what fails of it entry by entry is no such error.

use sft_wire::WireError;

use crate::link::LinkEnd;

/// Why a transfer ended before all was settled. What was committed stays; what was staged waits for another try.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// The session ended under it.
    #[error(transparent)]
    Link(#[from] LinkEnd),
    /// The other side refused it.
    #[error("refused: {0}")]
    Refused(WireError),
    /// The other side gave it up.
    #[error("the other side gave up: {0}")]
    Cancelled(WireError),
    /// This side cannot even begin.
    #[error("{0}")]
    Local(WireError),
}
