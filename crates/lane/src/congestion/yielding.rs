//! The window of a transfer in the background: it takes what nobody else wants, and goes at the first sign of others.

use std::time::Duration;

/// A window that grows while nothing is queued on the path and shrinks when anything is, whoever queued it; see `README.md` beside
/// this file, "In the background".
///
/// Time is the time since any fixed moment. Amounts are bytes.
#[derive(Clone, Debug)]
pub(super) struct Yielding {
    window: f64,
    mtu: f64,
    /// Least round trips of this period and of the last one, and when this one ends.
    least: [Duration; 2],
    period_ends: Duration,
    /// Nothing was ever queued: the window doubles.
    starting: bool,
    /// Packets lost beyond what a path may lose: a sum that forgets when less is lost.
    excess: f64,
    round: Round,
}

/// From the sending of a packet to its acknowledgement.
#[derive(Clone, Copy, Debug)]
struct Round {
    begun: Duration,
    rtt_min: Duration,
    acked: u64,
    lost: u64,
    filled: bool,
}

impl Yielding {
    pub(super) fn new(mtu: u16) -> Self {
        let mtu = f64::from(mtu);
        Self {
            window: START_PACKETS * mtu,
            mtu,
            least: [Duration::MAX; 2],
            period_ends: PERIOD,
            starting: true,
            excess: 0.0,
            round: Round::from(Duration::ZERO),
        }
    }

    pub(super) fn window(&self) -> u64 {
        self.window as u64
    }

    pub(super) fn on_mtu(&mut self, mtu: u16) {
        self.mtu = f64::from(mtu);
        self.window = self.window.max(self.least_window());
    }

    /// A packet that was sent then is acknowledged. `in_flight` is what is on the way, without it.
    pub(super) fn on_acked(&mut self, now: Duration, sent: Duration, bytes: u64, in_flight: u64) {
        let rtt = now.saturating_sub(sent);
        if now >= self.period_ends {
            self.least = [rtt, self.least[0]];
            self.period_ends = now + PERIOD;
        }
        self.least[0] = self.least[0].min(rtt);
        let round = &mut self.round;
        round.rtt_min = round.rtt_min.min(rtt);
        round.acked += bytes;
        round.filled |= (in_flight + bytes) as f64 >= 0.75 * self.window - 10.0 * self.mtu;
        if sent >= round.begun {
            self.end_round(now);
        }
    }

    pub(super) fn on_lost(&mut self, bytes: u64) {
        self.round.lost += bytes;
    }

    /// Nothing arrived for a long time.
    pub(super) fn on_outage(&mut self, now: Duration) {
        self.window = self.least_window();
        self.round = Round::from(now);
    }

    fn end_round(&mut self, now: Duration) {
        let round = std::mem::replace(&mut self.round, Round::from(now));
        let least = self.least[0].min(self.least[1]);
        let queued = round.rtt_min.saturating_sub(least);
        let mut target = (least / 4).clamp(TARGET_LEAST, TARGET_MOST);
        if round.acked <= ACKED_LATE * self.mtu as u64 {
            // So few are not acknowledged before the peer's timer says so.
            target += ACK_DELAY_MAX;
        }
        let lost = round.lost as f64 - LOSS_MAX * (round.acked + round.lost) as f64;
        self.excess = (self.excess + lost / self.mtu).max(0.0);
        if queued > target || self.excess > EXCESS_MOST {
            (self.starting, self.excess) = (false, 0.0);
            self.window *= SHRINK;
        } else if round.filled {
            let room = 1.0 - queued.as_secs_f64() / target.as_secs_f64();
            self.starting &= queued < target / 2;
            let growth = if self.starting { 1.0 } else { GROWTH * room };
            self.window += (growth * self.window).max(self.mtu);
        }
        self.window = self.window.max(self.least_window());
    }

    fn least_window(&self) -> f64 {
        LEAST_PACKETS * self.mtu
    }
}

impl Round {
    fn from(begun: Duration) -> Self {
        Self { begun, rtt_min: Duration::MAX, acked: 0, lost: 0, filled: false }
    }
}

// The reasons for these numbers stand in README.md.
const START_PACKETS: f64 = 10.0;
const LEAST_PACKETS: f64 = 2.0;
const TARGET_LEAST: Duration = Duration::from_millis(5);
const TARGET_MOST: Duration = Duration::from_millis(25);
/// Packets for which a peer does not acknowledge at once (`quic.rs`), and how long it may wait then (RFC 9000, `max_ack_delay`).
const ACKED_LATE: u64 = 11;
const ACK_DELAY_MAX: Duration = Duration::from_millis(25);
const LOSS_MAX: f64 = 0.02;
const EXCESS_MOST: f64 = 3.0;
const SHRINK: f64 = 0.5;
const GROWTH: f64 = 0.1;
const PERIOD: Duration = Duration::from_secs(300);
