//! Whether and when to dial again after a session has ended: soon, then less often, and not for ever.
//!
//! Pure: the time is an argument. The deadline counts from the last progress, so that a transfer that gets on between
//! two losses never runs out of time.

use std::time::{Duration, Instant};

use sft_engine::LinkEnd;

/// Why another session may do what one that ended did not; none when it may not.
pub(crate) fn may_pass(end: &LinkEnd) -> Option<String> {
    match end {
        LinkEnd::Lost(reason) => Some(reason.clone()),
        LinkEnd::Closed(None) => Some("the server closed the session".into()),
        LinkEnd::Closed(Some(error)) if error.retry => Some(error.to_string()),
        LinkEnd::Ours | LinkEnd::Closed(Some(_)) | LinkEnd::Misbehaved(_) => None,
    }
}

/// The waits of one spell of dialling.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    wait: Duration,
    progress_at: Instant,
    at_most: Duration,
}

impl Backoff {
    /// Begins when the last progress was made, and ends so long after it.
    pub(crate) fn new(progress_at: Instant, at_most: Duration) -> Self {
        Self { wait: FIRST_WAIT, progress_at, at_most }
    }

    /// The same from new progress on.
    pub(crate) fn anew(&self, progress_at: Instant) -> Self {
        Self::new(progress_at, self.at_most)
    }

    /// How long to wait before the next attempt; none when the time is used up.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Duration> {
        let left = self.at_most.checked_sub(self.silent(now))?;
        let wait = self.wait.min(left);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        (!left.is_zero()).then_some(wait)
    }

    /// How long the attempt that begins now may last: until the deadline, and long enough to be one at all.
    pub(crate) fn patience(&self, now: Instant) -> Duration {
        self.at_most.saturating_sub(self.silent(now)).max(ATTEMPT_LEAST)
    }

    /// Leaves a time out of account in which there was a session, whatever came of it.
    pub(crate) fn excuse(&mut self, stood: Duration) {
        self.progress_at += stood;
    }

    /// How long there has been no progress.
    pub(crate) fn silent(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.progress_at)
    }
}

const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Several round trips of any path on earth.
const ATTEMPT_LEAST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const AT_MOST: Duration = Duration::from_secs(90);

    #[test]
    fn waits_double_up_to_a_bound_and_end_with_the_deadline() {
        let start = Instant::now();
        let mut backoff = Backoff::new(start, AT_MOST);
        let mut now = start;
        let mut waits = Vec::new();
        while let Some(wait) = backoff.next(now) {
            waits.push(wait.as_millis());
            now += wait;
        }
        assert_eq!(waits[..7], [250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(now - start, AT_MOST, "the last wait ends at the deadline");
    }

    #[test]
    fn time_in_a_session_does_not_count() {
        let start = Instant::now();
        let mut backoff = Backoff::new(start, AT_MOST);
        backoff.excuse(2 * AT_MOST);
        assert!(backoff.next(start + 2 * AT_MOST + AT_MOST / 2).is_some());
        assert_eq!(backoff.next(start + 3 * AT_MOST), None);
    }

    #[test]
    fn time_before_the_loss_counts() {
        let start = Instant::now();
        let mut backoff = Backoff::new(start, AT_MOST);
        let late = start + AT_MOST - Duration::from_millis(100);
        assert_eq!(backoff.next(late), Some(Duration::from_millis(100)));
        assert_eq!(backoff.next(late + Duration::from_millis(100)), None);
    }

    #[test]
    fn an_attempt_ends_with_the_deadline() {
        let start = Instant::now();
        let backoff = Backoff::new(start, AT_MOST);
        assert_eq!(backoff.patience(start), AT_MOST);
        assert_eq!(backoff.patience(start + AT_MOST / 3), AT_MOST * 2 / 3);
        assert_eq!(backoff.patience(start + 2 * AT_MOST), ATTEMPT_LEAST);
    }

    #[test]
    fn who_does_not_wait_gives_up_at_once() {
        let start = Instant::now();
        assert_eq!(Backoff::new(start, Duration::ZERO).next(start), None);
    }
}
