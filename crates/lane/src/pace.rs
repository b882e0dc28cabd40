//! A bound to the bytes a second that a transfer sends, over all its lanes together.
//!
//! Data units take turns, the one that asked first before all others, so that each arrives as early as it can; within its turn a
//! unit goes out in small parts, evenly. What is counted is payload: TLS, QUIC and IP add a few per cent.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

/// The bound; clones share it.
#[derive(Clone, Debug)]
pub struct Pace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes_per_second: NonZeroU64,
    /// When all that was sent so far is due to have gone.
    due: Mutex<Instant>,
}

impl Pace {
    /// No more than this, from now on.
    pub fn new(bytes_per_second: NonZeroU64) -> Self {
        Self(Arc::new(Inner { bytes_per_second, due: Mutex::new(Instant::now()) }))
    }

    /// Waits until those who asked before have sent what they had.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        Turn { rate: self.0.bytes_per_second.get(), due: self.0.due.lock().await }
    }
}

/// The right to send, until it is dropped.
pub(crate) struct Turn<'a> {
    rate: u64,
    due: MutexGuard<'a, Instant>,
}

impl Turn<'_> {
    /// How many bytes to send at once, at most: a twentieth of a second's.
    pub(crate) fn part_bytes(&self) -> usize {
        (self.rate / 20).clamp(PART_BYTES_MIN, PART_BYTES_MAX) as usize
    }

    /// Waits until so many bytes may go.
    pub(crate) async fn spend(&mut self, bytes: usize) {
        tokio::time::sleep_until(*self.due).await;
        // Moments in which there was nothing to send are not made up for, but for the shortest: timers are late.
        let earliest = Instant::now().checked_sub(LATE).unwrap_or(*self.due);
        *self.due = (*self.due).max(earliest) + Duration::from_secs_f64(bytes as f64 / self.rate as f64);
    }
}

const PART_BYTES_MIN: u64 = 512;
const PART_BYTES_MAX: u64 = 64 << 10;
const LATE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate: u64) -> Pace {
        Pace::new(NonZeroU64::new(rate).unwrap())
    }

    async fn send(pace: &Pace, bytes: usize) {
        let mut turn = pace.turn().await;
        let part = turn.part_bytes();
        for from in (0..bytes).step_by(part) {
            turn.spend(part.min(bytes - from)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_kept_at_all_rates_by_all_together() {
        for rate in [10_000, 1_000_000, 3_000_000_000] {
            let (pace, begun) = (pace(rate), Instant::now());
            let bytes = rate as usize * 5;
            let half = tokio::spawn({
                let pace = pace.clone();
                async move { send(&pace, bytes).await }
            });
            send(&pace, bytes).await;
            half.await.unwrap();
            let took = begun.elapsed().as_secs_f64();
            assert!((9.8..10.2).contains(&took), "{rate}: {took} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_not_made_up_for() {
        let pace = pace(1_000_000);
        send(&pace, 1_000_000).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let begun = Instant::now();
        send(&pace, 1_000_000).await;
        assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_taken_in_order() {
        let pace = pace(10_000);
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let all = (0..4).map(|number| {
            let (pace, order) = (pace.clone(), order.clone());
            tokio::spawn(async move {
                send(&pace, 50_000).await;
                order.lock().unwrap().push(number);
            })
        });
        for one in all.collect::<Vec<_>>() {
            one.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
    }
}
