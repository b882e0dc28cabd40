//! How fast a path delivers: samples of the delivery rate, taken from what was acknowledged between a packet's sending
//! and its acknowledgement (draft-ietf-ccwg-bbr, section 4.1). It judges nothing.

use std::collections::VecDeque;
use std::time::Duration;

/// Counts what was delivered, and remembers for what is on the way how it stood when it was sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Deliveries {
    /// One record for all packets that were sent at the same moment, oldest first.
    sent: VecDeque<Sending>,
    delivered: u64,
    delivered_at: Duration,
    /// When the newest packet was sent whose delivery is known.
    first_sent_at: Duration,
    /// What is sent before this much was delivered did not fill the path: the application had nothing to send.
    app_limited_until: u64,
    newest: Option<Sending>,
}

/// How it stood when something was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    pub(super) at: Duration,
    pub(super) delivered: u64,
    delivered_at: Duration,
    first_sent_at: Duration,
    /// Bytes on the way, with these.
    pub(super) in_flight: u64,
    pub(super) app_limited: bool,
    /// Sent when the window allowed no more than the path was known to carry.
    pub(super) calm: bool,
}

/// What one batch of acknowledgements tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// How it stood when the newest packet of the batch was sent.
    pub(super) sending: Sending,
    /// Bytes per second.
    pub(super) rate: f64,
    /// The time over which that was measured.
    pub(super) interval: Duration,
    /// From the sending of the newest packet to its acknowledgement, with what the peer waited.
    pub(super) rtt: Duration,
}

impl Deliveries {
    /// `in_flight` is what was on the way before these.
    pub(super) fn on_sent(&mut self, now: Duration, bytes: u64, in_flight: u64, calm: bool) {
        if in_flight == 0 {
            self.first_sent_at = now;
            self.delivered_at = now;
        }
        if let Some(last) = self.sent.back_mut().filter(|last| last.at == now) {
            last.in_flight = in_flight + bytes;
            return;
        }
        if self.sent.len() >= SENDINGS_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(Sending {
            at: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            in_flight: in_flight + bytes,
            app_limited: self.app_limited_until > self.delivered,
            calm,
        });
    }

    pub(super) fn on_acked(&mut self, now: Duration, sent: Duration, bytes: u64) -> Option<Sending> {
        self.delivered += bytes;
        self.delivered_at = now;
        let sending = self.sending(sent)?;
        if self.newest.is_none_or(|newest| newest.at < sending.at) {
            self.newest = Some(sending);
        }
        Some(sending)
    }

    /// Ends a batch. What was sent longer than `kept` before its newest packet is acknowledged or lost by now.
    pub(super) fn sample(&mut self, now: Duration, kept: Duration) -> Option<Sample> {
        let sending = self.newest.take()?;
        self.forget_before(sending.at.saturating_sub(kept));
        self.first_sent_at = sending.at;
        let rtt = now.saturating_sub(sending.at);
        // Over less than this, two busy processes take turns, and the rate of one turn is not the path's.
        let since =
            self.sending(now.saturating_sub(TURN)).filter(|since| since.at < sending.at).unwrap_or(sending);
        let send_time = sending.at.saturating_sub(since.first_sent_at);
        let ack_time = self.delivered_at.saturating_sub(since.delivered_at);
        let interval = send_time.max(ack_time);
        if interval.is_zero() || rtt.is_zero() {
            return None;
        }
        let rate = (self.delivered - since.delivered) as f64 / interval.as_secs_f64();
        Some(Sample { sending, rate, interval, rtt })
    }

    /// The application had nothing to send: what is on the way, and what follows it, does not fill the path.
    pub(super) fn on_app_limited(&mut self, in_flight: u64) {
        self.app_limited_until = (self.delivered + in_flight).max(1);
    }

    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// How it stood when something was sent at this time.
    pub(super) fn sending(&self, sent: Duration) -> Option<Sending> {
        let after = self.sent.partition_point(|sending| sending.at <= sent);
        after.checked_sub(1).map(|index| self.sent[index])
    }

    fn forget_before(&mut self, time: Duration) {
        while self.sent.front().is_some_and(|sending| sending.at < time) {
            self.sent.pop_front();
        }
        if self.sent.capacity() > SENDINGS_KEPT && self.sent.len() < self.sent.capacity() / 4 {
            self.sent.shrink_to(self.sent.len() * 2);
        }
    }
}

const TURN: Duration = Duration::from_millis(4);
/// More moments than the packets on the way were sent at: who only acknowledges sends without end and is not answered.
const SENDINGS_MAX: usize = 16_384;
/// Room that a connection keeps when it has become slow or idle.
const SENDINGS_KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_steady_flow_is_measured_at_its_rate() {
        let mut deliveries = Deliveries::default();
        let mut rate = 0.0;
        for step in 0..200u32 {
            let now = MS * step;
            if step >= 50 {
                deliveries.on_acked(now, now - 50 * MS, 1000);
                rate = deliveries.sample(now, 500 * MS).map_or(rate, |sample| sample.rate);
            }
            deliveries.on_sent(now, 1000, u64::from(step.min(50)) * 1000, true);
        }
        assert!((rate - 1e6).abs() < 3e4, "{rate}");
    }

    #[test]
    fn acknowledgements_that_come_all_at_once_do_not_make_a_path_faster() {
        let mut deliveries = Deliveries::default();
        for step in 0..100 {
            deliveries.on_sent(MS * step, 1000, u64::from(step) * 1000, true);
        }
        for step in 0..100 {
            deliveries.on_acked(MS * 150, MS * step, 1000);
        }
        let sample = deliveries.sample(MS * 150, 500 * MS).expect("packets were acknowledged");
        assert!(sample.rate <= 1.02e6, "{}", sample.rate);
    }

    #[test]
    fn what_an_idle_application_sends_is_marked_until_the_path_is_full_again() {
        let mut deliveries = Deliveries::default();
        deliveries.on_sent(MS, 1000, 0, true);
        deliveries.on_app_limited(1000);
        deliveries.on_sent(2 * MS, 1000, 1000, true);
        assert!(deliveries.sending(2 * MS).is_some_and(|sending| sending.app_limited));
        deliveries.on_acked(51 * MS, MS, 1000);
        deliveries.on_sent(51 * MS, 1000, 1000, true);
        assert!(deliveries.sending(51 * MS).is_some_and(|sending| !sending.app_limited));
    }

    #[test]
    fn records_do_not_outlive_their_packets() {
        let mut deliveries = Deliveries::default();
        for step in 0..100_000 {
            let now = MS * step;
            deliveries.on_sent(now, 1000, 1000, true);
            deliveries.on_acked(now, now, 1000);
            deliveries.sample(now, 20 * MS);
        }
        assert!(deliveries.sent.len() <= 21 && deliveries.sent.capacity() <= SENDINGS_KEPT);
    }
}
