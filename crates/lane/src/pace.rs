//! A bound to the bytes a second that a transfer sends, over all its lanes together.
//!
//! Whoever is about to send takes the next free span of time and waits for it, and holds nothing meanwhile: a lane that is
//! stuck keeps no other from its share. Units go out in small parts, evenly. What is counted is payload: TLS, QUIC and IP add a
//! few per cent.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The bound; clones share it.
#[derive(Clone, Debug)]
pub struct Pace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes_per_second: NonZeroU64,
    /// When all that was let go so far is due to have gone.
    due: Mutex<Instant>,
}

impl Pace {
    /// No more than this, from now on.
    pub fn new(bytes_per_second: NonZeroU64) -> Self {
        Self(Arc::new(Inner { bytes_per_second, due: Mutex::new(Instant::now()) }))
    }

    /// How many bytes to send at once, at most: a twentieth of a second's.
    pub(crate) fn part_bytes(&self) -> usize {
        (self.rate() / 20).clamp(PART_BYTES_MIN, PART_BYTES_MAX) as usize
    }

    /// Waits until so many bytes may go.
    pub(crate) async fn spend(&self, bytes: usize) {
        tokio::time::sleep_until(self.take(bytes)).await;
    }

    /// Takes the time that so many bytes need: when it begins.
    fn take(&self, bytes: usize) -> Instant {
        let mut due = self.0.due.lock().unwrap_or_else(PoisonError::into_inner);
        // Moments in which there was nothing to send are not made up for, but for the shortest: timers are late.
        let earliest = Instant::now().checked_sub(LATE).unwrap_or(*due);
        let begins = (*due).max(earliest);
        *due = begins + Duration::from_secs_f64(bytes as f64 / self.rate() as f64);
        begins
    }

    fn rate(&self) -> u64 {
        self.0.bytes_per_second.get()
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
        let part = pace.part_bytes();
        for from in (0..bytes).step_by(part) {
            pace.spend(part.min(bytes - from)).await;
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
    async fn who_gives_up_keeps_no_one_waiting() {
        let pace = pace(10_000);
        let stuck = pace.clone();
        let stuck = tokio::spawn(async move {
            stuck.spend(500).await;
            std::future::pending::<()>().await;
        });
        let begun = Instant::now();
        send(&pace, 10_000).await;
        assert!(begun.elapsed() < Duration::from_millis(1200), "{:?}", begun.elapsed());
        stuck.abort();
    }
}
