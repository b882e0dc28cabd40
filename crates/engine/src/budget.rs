//! The memory that all transfers of a process share (limits, `BUFFER_BUDGET_BYTES`).
//!
//! A receiver grants a window that is its share of the budget; a sender holds a permit for each data unit between
//! reading and handing it to a lane. So memory has a bound whatever the number of transfers.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sft_base::limits;
use sft_lane::Sending;
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
        // Those who came first were granted more, and give it up only as they get on: many leave room for that.
        let budget = limits::BUFFER_BUDGET_BYTES / if receivers < MANY { 1 } else { 2 };
        let bytes = budget / receivers;
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
pub(crate) struct SendShare {
    /// Held for its drop alone: lanes share their memory among those who send.
    _sending: Sending,
}

impl SendShare {
    pub(crate) fn join() -> Self {
        SENDERS.fetch_add(1, Ordering::Relaxed);
        Self { _sending: Sending::begin() }
    }

    /// Data units this transfer may have between disk and lane, so that slow peers cannot take all buffers.
    pub(crate) fn units(&self) -> usize {
        (UNITS_OUT / SENDERS.load(Ordering::Relaxed).max(1)).max(1) as usize
    }

    /// Waits for a buffer. None is held for long, so that every transfer gets on.
    pub(crate) async fn buffer() -> OwnedSemaphorePermit {
        BUFFERS.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Hands what is in a buffer to a lane. A peer that takes it slowly keeps the memory, of which it has its share
    /// ([`Self::units`]), but not the place in the queue: so that many clients that are quick share few buffers, and none
    /// of them waits for one that is slow.
    pub(crate) async fn hand_over<T>(buffer: OwnedSemaphorePermit, sending: impl Future<Output = T>) -> T {
        let mut sending = pin!(sending);
        match tokio::time::timeout(HELD_MAX, &mut sending).await {
            Ok(sent) => sent,
            Err(_) => {
                drop(buffer);
                sending.await
            }
        }
    }
}

impl Drop for SendShare {
    fn drop(&mut self) {
        SENDERS.fetch_sub(1, Ordering::Relaxed);
    }
}

static RECEIVERS: AtomicU64 = AtomicU64::new(0);
static SENDERS: AtomicU64 = AtomicU64::new(0);
static BUFFERS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(BUFFERS_MAX)));
/// Data units between disk and lane, all transfers together: half of the budget; the lanes' own buffers are the rest.
const UNITS_OUT: u64 = limits::BUFFER_BUDGET_BYTES / limits::PIECE_BYTES / 2;
/// Buffers that are read into or handed over at a time: a lane takes one in a fraction of [`HELD_MAX`].
const BUFFERS_MAX: usize = UNITS_OUT as usize / 2;
/// Receivers at a time that count as many.
const MANY: u64 = 4;
/// Longer than a lane needs to take a unit, unless its peer is slow.
const HELD_MAX: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn peers_that_are_slow_keep_no_buffer_from_others() {
        for _ in 0..BUFFERS_MAX {
            let buffer = SendShare::buffer().await;
            tokio::spawn(SendShare::hand_over(buffer, std::future::pending::<()>()));
        }
        let next = tokio::time::timeout(HELD_MAX * 20, SendShare::buffer()).await;
        assert_eq!(SendShare::hand_over(next.unwrap(), async { 7 }).await, 7);
    }
}
