//! What happened in one round: from the sending of a packet to its acknowledgement.

use std::time::Duration;

use super::deliveries::{Sample, Sending};

/// The tally of the round that is going on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) number: u64,
    /// It is over when something is acknowledged that was sent after this much had been delivered.
    ends_at: u64,
    pub(super) acked: u64,
    batch: u64,
    pub(super) lost: u64,
    pub(super) samples: u32,
    /// The greatest delivery rate that the application did not limit; 0 if there was none.
    pub(super) rate: f64,
    rate_before: f64,
    rtt_before: Duration,
    lost_before: u64,
    pub(super) rtt_min: Duration,
    /// The window, not the application, limited what was sent.
    pub(super) filled: bool,
    /// The bound was lowered.
    pub(super) cut: bool,
    cut_number: Option<u64>,
    /// Rounds in a row that saw the path slower than it is known to be.
    pub(super) fallen: u32,
}

impl Default for Round {
    fn default() -> Self {
        Self {
            number: 0,
            ends_at: 0,
            acked: 0,
            batch: 0,
            lost: 0,
            samples: 0,
            rate: 0.0,
            rate_before: 0.0,
            rtt_before: Duration::ZERO,
            lost_before: 0,
            rtt_min: Duration::MAX,
            filled: false,
            cut: false,
            cut_number: None,
            fallen: 0,
        }
    }
}

impl Round {
    pub(super) fn on_acked(&mut self, bytes: u64) {
        self.acked += bytes;
        self.batch += bytes;
    }

    pub(super) fn take_batch(&mut self) -> u64 {
        std::mem::take(&mut self.batch)
    }

    pub(super) fn on_lost(&mut self, bytes: u64) {
        self.lost += bytes;
    }

    pub(super) fn on_sample(&mut self, sample: &Sample, filled: bool) {
        self.samples += 1;
        self.rtt_min = self.rtt_min.min(sample.rtt);
        self.filled |= filled;
        if !sample.sending.app_limited {
            self.rate = self.rate.max(sample.rate);
        }
    }

    pub(super) fn is_over(&self, sending: &Sending) -> bool {
        sending.delivered >= self.ends_at
    }

    pub(super) fn next(&self, delivered: u64) -> Self {
        Self {
            number: self.number + 1,
            ends_at: delivered,
            rate_before: self.rate,
            rtt_before: self.rtt_min,
            lost_before: self.lost,
            cut_number: if self.cut { Some(self.number) } else { self.cut_number },
            fallen: self.fallen,
            ..Self::default()
        }
    }

    /// Whether there was a sign of congestion in the last few rounds, before this one.
    pub(super) fn cut_lately(&self) -> bool {
        self.cut_number.is_some_and(|number| self.number - number <= CUT_ROUNDS)
    }

    /// The least round trip of this round, or of the one before if this one has just begun.
    pub(super) fn rtt_lately(&self) -> Duration {
        if self.samples == 0 { self.rtt_before } else { self.rtt_min }
    }

    pub(super) fn lost_lately(&self) -> bool {
        self.lost + self.lost_before > 0
    }

    /// The greatest rate of this round and the one before.
    pub(super) fn rate_lately(&self) -> f64 {
        self.rate.max(self.rate_before)
    }
}

const CUT_ROUNDS: u64 = 3;
