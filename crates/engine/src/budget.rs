//! The memory that all transfers of a process share (limits, `BUFFER_BUDGET_BYTES`).
//!
//! A receiver grants a window that is its share of the budget; a sender holds a permit for each data unit between
//! reading and handing it to a lane. So memory has a bound whatever the number of transfers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use sft_base::limits;
use sft_wire::message::Window;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A transfer that receives, for as long as it lives.
#[derive(Debug)]
pub(crate) struct ReceiveShare(());

impl ReceiveShare {
    pub(crate) fn join() -> Self {
        RECEIVERS.fetch_add(1, Ordering::Relaxed);
        Self(())
    }

    /// The windows this transfer may grant now: its share, between one data unit and the greatest window.
    pub(crate) fn window(&self) -> Window {
        let receivers = RECEIVERS.load(Ordering::Relaxed).max(1);
        let bytes = limits::BUFFER_BUDGET_BYTES / receivers;
        let entries = limits::ENTRIES_BUDGET / receivers;
        Window {
            bytes: bytes.clamp(limits::WINDOW_BYTES_MIN, limits::WINDOW_BYTES_MAX),
            entries: entries.clamp(limits::EARLY_ENTRIES, limits::WINDOW_ENTRIES_MAX),
        }
    }
}

impl Drop for ReceiveShare {
    fn drop(&mut self) {
        RECEIVERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A transfer that sends, for as long as it lives.
#[derive(Debug)]
pub(crate) struct SendShare(());

impl SendShare {
    pub(crate) fn join() -> Self {
        SENDERS.fetch_add(1, Ordering::Relaxed);
        Self(())
    }

    /// Data units this transfer may have between disk and lane, so that slow peers cannot take all buffers.
    pub(crate) fn units(&self) -> usize {
        (UNITS_OUT / SENDERS.load(Ordering::Relaxed).max(1)).max(1) as usize
    }

    /// Waits for a buffer, unless it is the `only` one its transfer has: so that every transfer gets on, however many
    /// buffers wait for peers that are slow.
    pub(crate) async fn buffer(only: bool) -> Option<OwnedSemaphorePermit> {
        let buffers = BUFFERS.clone();
        if only { None } else { Some(buffers.acquire_owned().await.expect("the semaphore is never closed")) }
    }
}

impl Drop for SendShare {
    fn drop(&mut self) {
        SENDERS.fetch_sub(1, Ordering::Relaxed);
    }
}

static RECEIVERS: AtomicU64 = AtomicU64::new(0);
static SENDERS: AtomicU64 = AtomicU64::new(0);
static BUFFERS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(UNITS_OUT as usize)));
/// Data units between disk and lane, all transfers together: half of the budget; the lanes' own buffers are the rest.
const UNITS_OUT: u64 = limits::BUFFER_BUDGET_BYTES / limits::PIECE_BYTES / 2;
