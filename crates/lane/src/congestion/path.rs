//! What is known of a path: its bandwidth, its least round trip, how acknowledgements clump, and how much it loses
//! whatever we do. It decides nothing.

use std::time::Duration;

/// The model of a path. Every estimate is a filter over a time in which the path is taken to stay the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Path {
    bandwidth: Highest,
    rtt_min: Option<Duration>,
    rtt_min_at: Duration,
    /// The least round trip since our own queue was drained last: what is above the minimum here, others have queued.
    floor: Option<Duration>,
    aggregation: Aggregation,
    background: Background,
}

/// The greatest of this period and the last one.
#[derive(Clone, Copy, Debug, Default)]
struct Highest {
    this: f64,
    last: f64,
}

/// Bytes that are acknowledged in excess of what the bandwidth explains.
#[derive(Clone, Copy, Debug, Default)]
struct Aggregation {
    since: Duration,
    acked: u64,
    excess: Highest,
    rounds: u32,
}

/// What is lost while no more is sent than the path carries.
#[derive(Clone, Copy, Debug, Default)]
struct Background {
    /// A decaying sum.
    known: Tally,
    /// What is not complete yet.
    calm: Tally,
}

/// Packets.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    acked: f64,
    lost: f64,
}

impl Path {
    /// A delivery rate that was seen, in bytes per second. One that the application limited says only that the path can do as much.
    pub(super) fn on_rate(&mut self, rate: f64, app_limited: bool) {
        if !app_limited || rate > self.bandwidth() {
            self.bandwidth.put(rate);
        }
    }

    pub(super) fn on_rtt(&mut self, now: Duration, rtt: Duration) {
        let lowest = self.rtt_min.is_none_or(|least| rtt < least);
        if lowest {
            self.rtt_min = Some(rtt);
        }
        if lowest || self.is_short(rtt) {
            self.rtt_min_at = now;
        }
        self.floor = Some(self.floor.map_or(rtt, |floor| floor.min(rtt)));
    }

    pub(super) fn on_acked(&mut self, now: Duration, bytes: u64, window: u64) {
        let bandwidth = self.bandwidth();
        let one = &mut self.aggregation;
        let expected = bandwidth * now.saturating_sub(one.since).as_secs_f64();
        let mut excess = one.acked as f64 - expected;
        if excess <= 0.0 {
            (one.since, one.acked, excess) = (now, 0, 0.0);
        }
        one.acked += bytes;
        one.excess.put((excess + bytes as f64).min(window as f64));
    }

    /// While the rate still grows, what comes beyond the expected is no clump.
    pub(super) fn forget_aggregation(&mut self) {
        self.aggregation = Aggregation::default();
    }

    pub(super) fn on_round(&mut self) {
        self.aggregation.rounds += 1;
        if self.aggregation.rounds.is_multiple_of(AGGREGATION_ROUNDS) {
            self.aggregation.excess.turn();
        }
    }

    /// Packets that were sent while we took care to send less than the path carries.
    pub(super) fn on_calm(&mut self, acked: u64, lost: u64) {
        self.background.calm.acked += acked as f64;
        self.background.calm.lost += lost as f64;
    }

    /// All that was sent in such a time is acknowledged or lost.
    pub(super) fn end_calm(&mut self) {
        let before = self.background_loss();
        let one = &mut self.background;
        let calm = std::mem::take(&mut one.calm);
        if calm.packets() < CALM_PACKETS_MIN || calm.lost > CALM_LOSS_MAX * calm.packets() {
            return;
        }
        // What can be sent without loss proves at once that loss is not the path's; the opposite takes a while.
        if (calm.lost + 2.0 * (calm.lost + 1.0).sqrt()) / calm.packets() < before {
            one.known = calm;
            return;
        }
        let kept = (1.0 - calm.packets() / BACKGROUND_PACKETS).max(0.0);
        one.known.acked = one.known.acked * kept + calm.acked;
        one.known.lost = one.known.lost * kept + calm.lost;
    }

    /// Bytes per second; 0 before anything is known.
    pub(super) fn bandwidth(&self) -> f64 {
        self.bandwidth.get()
    }

    /// Begins a new period of the bandwidth filter, unless nothing was learned in this one.
    pub(super) fn turn_bandwidth(&mut self) {
        self.bandwidth.turn();
    }

    /// The path has become slower, and it is certain.
    pub(super) fn set_bandwidth(&mut self, rate: f64) {
        self.bandwidth = Highest { this: rate, last: 0.0 };
    }

    pub(super) fn rtt_min(&self) -> Option<Duration> {
        self.rtt_min
    }

    pub(super) fn rtt_min_age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.rtt_min_at)
    }

    /// The least round trip was measured anew, with little on the way.
    pub(super) fn set_rtt_min(&mut self, now: Duration, rtt: Duration) {
        (self.rtt_min, self.rtt_min_at, self.floor) = (Some(rtt), now, Some(rtt));
    }

    /// Time in which nothing was sent does not make the minimum older.
    pub(super) fn on_idle(&mut self, idle: Duration) {
        self.rtt_min_at += idle;
    }

    pub(super) fn set_floor(&mut self, floor: Duration) {
        self.floor = Some(floor);
    }

    /// The round trip that our own packets see when they queue behind others' alone; at most twice the minimum.
    pub(super) fn floor(&self) -> Option<Duration> {
        let least = self.rtt_min?;
        Some(self.floor.unwrap_or(least).clamp(least, 2 * least))
    }

    /// Whether this round trip is as good as the minimum.
    pub(super) fn is_short(&self, rtt: Duration) -> bool {
        self.rtt_min.is_none_or(|least| rtt <= least + least / 16 + JITTER / 4)
    }

    /// Whether this round trip tells of a queue, compared with that one.
    pub(super) fn is_queued(rtt: Duration, without: Duration) -> bool {
        rtt > without + (without / 4).max(JITTER)
    }

    /// Bytes that must be on the way beside the product of bandwidth and round trip, because acknowledgements clump.
    pub(super) fn aggregation(&self) -> u64 {
        let most = self.bandwidth() * AGGREGATION_MAX.as_secs_f64();
        self.aggregation.excess.get().min(most) as u64
    }

    /// The share of packets that is lost whatever we do.
    pub(super) fn background_loss(&self) -> f64 {
        let one = &self.background.known;
        (one.lost / (one.packets() + BACKGROUND_PRIOR)).min(BACKGROUND_LOSS_MAX)
    }
}

impl Tally {
    fn packets(&self) -> f64 {
        self.acked + self.lost
    }
}

impl Highest {
    fn put(&mut self, value: f64) {
        self.this = self.this.max(value);
    }

    fn get(&self) -> f64 {
        self.this.max(self.last)
    }

    fn turn(&mut self) {
        if self.this > 0.0 {
            *self = Self { this: 0.0, last: self.this };
        }
    }
}

/// Differences of round trips that tell nothing: timers, scheduling, a burst of our own.
const JITTER: Duration = Duration::from_millis(2);
const AGGREGATION_ROUNDS: u32 = 5;
/// No peer and no radio holds acknowledgements back for longer, on average.
const AGGREGATION_MAX: Duration = Duration::from_millis(30);
/// Over how many packets the background loss is an average.
const BACKGROUND_PACKETS: f64 = 1500.0;
/// Until so many packets were seen, it is taken to be less.
const BACKGROUND_PRIOR: f64 = 100.0;
/// Fewer prove nothing.
const CALM_PACKETS_MIN: f64 = 20.0;
/// Who loses more than this was not calm.
const CALM_LOSS_MAX: f64 = 0.15;
/// Who loses more than this is told to send less, whoever's fault it is.
const BACKGROUND_LOSS_MAX: f64 = 0.1;
