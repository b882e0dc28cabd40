//! The window: how much may be on the way, given what is known of the path and what is being tried.

use std::time::Duration;

use super::deliveries::{Deliveries, Sample, Sending};
use super::path::Path;
use super::rounds::Round;

/// A congestion controller that follows a model of the path, in the manner of BBR; see `README.md` beside this file.
///
/// Time is the time since any fixed moment. Amounts are bytes.
#[derive(Clone, Debug)]
pub(super) struct Steering {
    path: Path,
    deliveries: Deliveries,
    round: Round,
    phase: Phase,
    /// No more than this is on the way: of more, too much was lost. Raised by probing.
    bound: Option<u64>,
    /// When the bound was lowered last.
    cut_at: Duration,
    /// Packets lost beyond what a path may lose: a sum that forgets when less is lost.
    excess: f64,
    /// What the start has grown to.
    started: u64,
    /// How the path was when it was used last, until it is seen whether that still holds.
    known: Option<Known>,
    /// What the start may have on the way because the path carried it before, whatever was measured so far.
    trusted: u64,
    /// Rounds between two probes for more bandwidth.
    spacing: u32,
    in_flight: u64,
    active_at: Duration,
    window: u64,
    mtu: u64,
    dice: u64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Doubles every round until the path is full: `best` is the bandwidth that was known when it grew last, `still` counts the
    /// rounds since, `held` says that a queue has begun.
    Start { best: f64, still: u32, held: bool },
    /// Sends as much as the path carries; probes after so many rounds not before `from`, or at `until`.
    Cruise { rounds: u32, from: Duration, until: Duration },
    /// Sends more, to see whether the path carries more: `gain` times what is known, or beyond the bound that has `proven`
    /// itself, in `steps` that double.
    Up { proven: u64, steps: u32, gain: f64, best: f64, rounds: u32, found: bool },
    /// Sends less, so that what we have queued drains: `drained` is what was delivered by then, `rate` what the path seems to have
    /// fallen to.
    Down { from: Level, drained: Option<u64>, lowest: Duration, rate: Option<f64> },
    /// Sends little, so that the least round trip shows.
    Rest { lowest: Duration, until: Option<(Duration, u64)> },
}

/// How a path was: bytes per second, and the least round trip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Known {
    pub(super) rate: f64,
    pub(super) rtt: Duration,
}

/// How a path says that it is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Lost,
    Marked,
}

/// What was on the way, and the round trip that went with it.
#[derive(Clone, Copy, Debug)]
struct Level {
    in_flight: u64,
    rtt: Duration,
}

impl Steering {
    pub(super) fn new(mtu: u16, seed: u64, known: Option<Known>) -> Self {
        let window = initial_window(mtu.into());
        Self {
            path: Path::default(),
            deliveries: Deliveries::default(),
            round: Round::default(),
            phase: START,
            bound: None,
            cut_at: Duration::ZERO,
            excess: 0.0,
            started: window,
            known,
            trusted: 0,
            spacing: SPACING_LEAST,
            in_flight: 0,
            active_at: Duration::ZERO,
            window,
            mtu: mtu.into(),
            dice: seed | 1,
        }
    }

    /// Bytes that may be on the way.
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// Bytes per second that the path carries, as far as is known.
    pub(super) fn bandwidth(&self) -> Option<f64> {
        Some(self.path.bandwidth()).filter(|rate| *rate > 0.0)
    }

    /// How the path is, once it was full.
    pub(super) fn known(&self) -> Option<Known> {
        let rtt = self.path.rtt_min()?;
        (!matches!(self.phase, Phase::Start { .. })).then_some(Known { rate: self.path.bandwidth(), rtt })
    }

    pub(super) fn on_mtu(&mut self, mtu: u16) {
        self.mtu = mtu.into();
        self.set_window();
    }

    pub(super) fn on_sent(&mut self, now: Duration, bytes: u64) {
        if self.in_flight == 0 {
            self.on_restart(now);
        }
        let calm = matches!(self.phase, Phase::Down { drained: Some(_), .. });
        self.deliveries.on_sent(now, bytes, self.in_flight, calm);
        self.in_flight += bytes;
        self.active_at = now;
    }

    pub(super) fn on_acked(&mut self, now: Duration, sent: Duration, bytes: u64) {
        let Some(sending) = self.deliveries.on_acked(now, sent, bytes) else { return };
        self.round.on_acked(bytes);
        if sending.calm {
            self.path.on_calm(1, 0);
        }
    }

    /// Ends a batch of acknowledgements. `in_flight` is what remains on the way.
    pub(super) fn on_acks_end(&mut self, now: Duration, in_flight: u64, app_limited: bool) {
        let acked = self.round.take_batch();
        let used = self.in_flight.max(in_flight + acked);
        self.in_flight = in_flight;
        self.active_at = now;
        if app_limited {
            self.deliveries.on_app_limited(in_flight);
        }
        let kept = self.path.rtt_min().map_or(KEPT_LEAST, |rtt| (4 * rtt).max(KEPT_LEAST));
        let Some(sample) = self.deliveries.sample(now, kept) else { return };
        self.path.on_acked(now, acked, self.window);
        self.count(acked, 0);
        self.learn(now, &sample);
        self.recall();
        let spare = (2 * BATCH * self.mtu).min(self.window / 4);
        self.round.on_sample(&sample, used + spare >= self.window && !sample.sending.app_limited);
        if let Phase::Start { held: false, .. } = self.phase
            && 2 * used >= self.started
        {
            self.started += acked;
        }
        if self.round.is_over(&sample.sending) {
            self.on_round_end();
            self.path.on_round();
            self.round = self.round.next(self.deliveries.delivered());
        }
        self.step(now, &sample);
        self.set_window();
    }

    /// `sent` is when the newest of the lost packets was sent.
    pub(super) fn on_lost(&mut self, now: Duration, sent: Duration, bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        let sending = self.deliveries.sending(sent);
        if sending.is_some_and(|sending| sending.calm) {
            self.path.on_calm(0, bytes.div_ceil(self.mtu));
        }
        // What was sent before the bound was lowered says nothing of what is sent since.
        if sent > self.cut_at {
            self.round.on_lost(bytes);
            self.count(0, bytes);
        }
        if self.is_loss_excessive() && !self.round.cut {
            self.excess = 0.0;
            self.on_full(now, sending, Sign::Lost);
        }
        self.set_window();
    }

    /// The path has marked a packet that was sent then, instead of losing it.
    pub(super) fn on_marked(&mut self, now: Duration, sent: Duration) {
        if !self.round.cut && sent > self.cut_at {
            self.on_full(now, self.deliveries.sending(sent), Sign::Marked);
            self.set_window();
        }
    }

    /// Nothing arrived for so long that nothing is known any more. `bytes` were lost.
    pub(super) fn on_outage(&mut self, now: Duration, bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        self.path.set_bandwidth(0.0);
        self.path.on_idle(self.path.rtt_min_age(now));
        self.bound = None;
        self.start_from(MIN_PACKETS * self.mtu);
        self.set_window();
    }

    fn start_from(&mut self, window: u64) {
        self.phase = START;
        (self.started, self.known, self.trusted) = (window, None, 0);
        self.spacing = SPACING_LEAST;
    }

    /// Something is sent when nothing was on the way.
    fn on_restart(&mut self, now: Duration) {
        let idle = now.saturating_sub(self.active_at);
        if let Phase::Start { .. } = self.phase
            && idle >= IDLE_LONG
        {
            // What was known of the path has grown old meanwhile.
            self.start_from(self.started.min(initial_window(self.mtu)));
            self.set_window();
        }
        if idle < IDLE_LEAST || matches!(self.phase, Phase::Start { .. }) {
            return;
        }
        self.path.on_idle(idle);
        if idle >= IDLE_LONG {
            self.start_from((self.window / 2).max(initial_window(self.mtu)));
            self.set_window();
        } else {
            self.cruise(now);
        }
    }

    fn learn(&mut self, now: Duration, sample: &Sample) {
        self.path.on_rtt(now, sample.rtt);
        // What is measured over less than a round trip is a burst.
        if self.path.rtt_min().is_none_or(|least| sample.interval + least / 8 >= least) {
            self.path.on_rate(sample.rate, sample.sending.app_limited);
        }
    }

    /// If the path seems to be what it was, the start goes on from half of what it carried. The pacer spreads that over most of a
    /// round trip, and its loss ends the start as any other does.
    fn recall(&mut self) {
        let (Some(known), Some(rtt)) = (self.known.take(), self.path.rtt_min()) else { return };
        if (known.rtt / 2..=known.rtt * 2).contains(&rtt) {
            self.trusted = (KNOWN_GAIN * known.rate * rtt.min(known.rtt).as_secs_f64()) as u64;
            self.started = self.started.max(self.trusted);
        }
    }

    fn on_round_end(&mut self) {
        let bandwidth = self.path.bandwidth();
        let full = self.round.filled;
        let floor = self.path.floor().unwrap_or_default();
        let queued = self.path.rtt_min().is_some_and(|least| Path::is_queued(self.round.rtt_min, least));
        match &mut self.phase {
            Phase::Start { best, still, held } => {
                if bandwidth >= *best * START_GROWTH {
                    (*best, *still, *held) = (bandwidth, 0, false);
                } else if full {
                    *still += 1;
                }
                let over = *still >= START_STILL || (*still > 0 && queued);
                if over || (self.round.cut && *still > 0) {
                    self.path.forget_aggregation();
                    self.down(None);
                } else if !queued {
                    *held = false;
                }
            }
            Phase::Cruise { rounds, .. } => {
                *rounds += 1;
                if *rounds == CALM_ROUNDS {
                    self.path.end_calm();
                }
            }
            Phase::Up { proven, steps, gain, best, rounds, found } => {
                *rounds += 1;
                let queued = Path::is_queued(self.round.rtt_min, floor);
                if bandwidth > *best * UP_GROWTH {
                    (*best, *rounds, *found) = (bandwidth, 0, true);
                    *gain = (*gain + UP_STEP).min(UP_GAIN_MAX);
                } else if let Some(bound) = self.bound
                    && (*rounds >= UP_ROUNDS && full && !queued && !self.round.cut)
                {
                    (*proven, *rounds, *steps) = (bound, 0, *steps + 1);
                    let steps = *steps;
                    self.raise(bound, steps);
                } else if queued || *rounds >= UP_ROUNDS {
                    self.spacing = if *found { SPACING_LEAST } else { (2 * self.spacing).min(SPACING_MOST) };
                    self.down(None);
                }
            }
            Phase::Down { .. } | Phase::Rest { .. } => {}
        }
        self.see_collapse();
    }

    /// A rate that has fallen while round trips have grown: the path has become slower, or longer, or others came.
    fn see_collapse(&mut self) {
        let Some(floor) = self.path.floor() else { return };
        let fallen = self.round.rate > 0.0
            && self.round.filled
            && self.round.rate < COLLAPSE * self.path.bandwidth()
            && self.round.rtt_min > floor + (floor / 4).max(UNEVEN);
        self.round.fallen = if fallen { self.round.fallen + 1 } else { 0 };
        if self.round.fallen >= 2 && matches!(self.phase, Phase::Cruise { .. } | Phase::Up { .. }) {
            self.round.fallen = 0;
            self.down(Some(self.round.rate));
        }
    }

    /// Probing may go beyond the bound, a step at a time.
    fn raise(&mut self, bound: u64, steps: u32) {
        let raised = bound + (RAISE_PACKETS << steps.min(16)) * self.mtu;
        let most = (UP_GAIN * self.bdp()) as u64 + self.allowance();
        self.bound = (raised < most).then_some(raised);
    }

    /// Moves on to the next phase when this one has done what it is for.
    fn step(&mut self, now: Duration, sample: &Sample) {
        let low = self.target() + self.mtu * BATCH;
        let may_rest = !matches!(self.phase, Phase::Start { .. } | Phase::Rest { .. });
        if may_rest && self.path.rtt_min_age(now) > RTT_MIN_LASTS {
            self.phase = Phase::Rest { lowest: Duration::MAX, until: None };
            return;
        }
        let round = self.round.number;
        match &mut self.phase {
            Phase::Start { held, .. } => {
                let least = self.path.rtt_min().unwrap_or_default();
                if self.round.samples >= HOLD_SAMPLES && Path::is_queued(self.round.rtt_min, least) {
                    *held = true;
                }
            }
            Phase::Cruise { rounds, from, until } => {
                let enough = *rounds >= self.spacing && now >= *from;
                if enough || (*rounds >= SPACING_FEWEST && now >= *until) {
                    self.up();
                }
            }
            Phase::Up { .. } => {}
            Phase::Down { drained, lowest, rate, from } => {
                *lowest = (*lowest).min(sample.rtt);
                if drained.is_none() && self.in_flight <= low {
                    *drained = Some(self.deliveries.delivered());
                }
                let seen = drained.is_some_and(|drained| sample.sending.delivered >= drained);
                if seen || (drained.is_some() && !self.round.lost_lately() && self.path.is_short(sample.rtt))
                {
                    let (lowest, rate, from) = (*lowest, *rate, *from);
                    self.on_drained(now, from, lowest, rate);
                }
            }
            Phase::Rest { lowest, until } => {
                *lowest = (*lowest).min(sample.rtt);
                match until {
                    None if self.in_flight <= low => {
                        *until = Some((now + REST, round + 1));
                    }
                    Some((time, number)) if now >= *time && round >= *number => {
                        let lowest = *lowest;
                        self.path.set_rtt_min(now, lowest);
                        self.cruise(now);
                    }
                    _ => {}
                }
            }
        }
    }

    fn on_drained(&mut self, now: Duration, from: Level, lowest: Duration, rate: Option<f64>) {
        let least = self.path.rtt_min().unwrap_or(lowest);
        if Path::is_queued(lowest, least) {
            // Somebody else's queue is shorter now by what we took out of it. A longer path is not.
            let taken = from.in_flight.saturating_sub(self.in_flight) as f64 / self.path.bandwidth();
            let fallen = from.rtt.saturating_sub(lowest).as_secs_f64();
            if fallen < LONGER * taken && taken > (least / 8).max(UNEVEN).as_secs_f64() {
                self.path.set_rtt_min(now, lowest);
            }
        } else if let Some(rate) = rate {
            // The queue was ours: the path has become slower.
            self.path.set_bandwidth(rate.max(self.round.rate));
            self.spacing = SPACING_LEAST;
        }
        self.path.set_floor(lowest);
        self.cruise(now);
    }

    fn cruise(&mut self, now: Duration) {
        let wait = SPACING_TIME.mul_f64(1.0 + 0.5 * self.roll());
        self.phase = Phase::Cruise { rounds: 0, from: now + ROUND_LEAST * self.spacing, until: now + wait };
    }

    fn up(&mut self) {
        self.path.turn_bandwidth();
        let (proven, best) = (self.bound.unwrap_or_default(), self.path.bandwidth());
        if let Some(bound) = self.bound {
            self.raise(bound, 0);
        }
        self.phase = Phase::Up { proven, steps: 0, gain: UP_GAIN, best, rounds: 0, found: false };
    }

    fn down(&mut self, rate: Option<f64>) {
        let from = Level { in_flight: self.in_flight, rtt: self.round.rtt_lately() };
        self.phase = Phase::Down { from, drained: None, lowest: Duration::MAX, rate };
    }

    fn count(&mut self, acked: u64, lost: u64) {
        let (acked, lost) = (acked as f64 / self.mtu as f64, lost as f64 / self.mtu as f64);
        self.excess = (self.excess + lost - self.loss_allowed() * (acked + lost)).max(0.0);
    }

    /// Whether more has been lost lately than is allowed and chance explains.
    fn is_loss_excessive(&self) -> bool {
        let window = (self.window / self.mtu) as f64;
        self.excess > EXCESS_LEAST + 2.0 * (self.loss_allowed() * window).sqrt()
    }

    /// The share of packets that may be lost before we take it for a sign.
    fn loss_allowed(&self) -> f64 {
        LOSS_MAX + self.path.background_loss()
    }

    /// The path says that it is full. `sending` is how it stood when that was sent.
    fn on_full(&mut self, now: Duration, sending: Option<Sending>, sign: Sign) {
        self.round.cut = true;
        let in_flight = sending.map_or(self.window, |sending| sending.in_flight);
        let bound = self.lowered(in_flight, sign);
        match self.phase {
            // While the rate still grows it takes a lot to stop it.
            Phase::Start { still: 0, .. }
                if self.round.lost < (START_LOSS_MAX * self.window as f64) as u64 =>
            {
                return;
            }
            Phase::Start { .. } => self.down(None),
            Phase::Up { proven, .. } => {
                self.cut(now, bound.max(proven));
                self.spacing = SPACING_MOST;
                return self.down(None);
            }
            _ => {}
        }
        // Chance can lose this much once. What we cause goes on until we send less.
        let queued = Path::is_queued(self.round.rtt_lately(), self.path.rtt_min().unwrap_or_default());
        if sign == Sign::Marked || queued || self.round.cut_lately() {
            self.cut(now, bound);
        }
    }

    /// What may be on the way when this much was too much: what arrived of it, but not less than a share of it.
    fn lowered(&self, in_flight: u64, sign: Sign) -> u64 {
        let (gain, rate) = match sign {
            Sign::Lost => (LOST_GAIN, self.round.rate_lately()),
            Sign::Marked if self.round.cut_lately() => (MARKED_GAIN, self.round.rate_lately()),
            Sign::Marked => (MARKED_GAIN, self.path.bandwidth()),
        };
        let carried = self.bdp_at(rate).min(in_flight as f64);
        ((gain * in_flight as f64).max(carried) as u64).max(MIN_PACKETS * self.mtu)
    }

    fn cut(&mut self, now: Duration, bound: u64) {
        self.cut_at = now;
        self.bound = Some(self.bound.map_or(bound, |before| before.min(bound)));
    }

    fn set_window(&mut self) {
        let window = match self.phase {
            Phase::Start { .. } => {
                let most = (START_GAIN * self.bdp()) as u64 + BATCH * self.mtu;
                let least = initial_window(self.mtu).max(self.trusted);
                let most = if self.path.bandwidth() > 0.0 { most.max(least) } else { u64::MAX };
                self.started = self.started.min(most);
                self.started
            }
            _ => self.target(),
        };
        self.window = window.max(MIN_PACKETS * self.mtu);
    }

    /// What may be on the way in this phase, by the model.
    fn target(&self) -> u64 {
        let floor = self.path.bandwidth() * self.path.floor().unwrap_or_default().as_secs_f64();
        let carried = 1.0 / (1.0 - self.path.background_loss());
        let (target, room) = match self.phase {
            Phase::Start { .. } => (self.started as f64, 1.0),
            Phase::Cruise { .. } => (CRUISE_GAIN * carried * floor, HEADROOM),
            Phase::Up { gain, .. } => (gain * carried * floor, 1.0),
            Phase::Down { rate: None, .. } => (DOWN_GAIN * self.bdp(), DOWN_GAIN),
            Phase::Down { rate: Some(rate), .. } => (DOWN_GAIN * self.bdp_at(rate), DOWN_GAIN),
            Phase::Rest { .. } => return (REST_GAIN * self.bdp()) as u64,
        };
        let calm = matches!(self.phase, Phase::Down { .. });
        let allowance = if calm { self.allowance() / 2 } else { self.allowance() };
        let target = target as u64 + allowance;
        let bound = self.bound.map_or(u64::MAX, |bound| (room * bound as f64) as u64);
        target.min(bound).max(MIN_PACKETS * self.mtu)
    }

    fn bdp(&self) -> f64 {
        self.bdp_at(self.path.bandwidth())
    }

    fn bdp_at(&self, rate: f64) -> f64 {
        rate * self.path.rtt_min().unwrap_or_default().as_secs_f64()
    }

    /// What must be on the way beside the product of bandwidth and round trip, so that neither clumping
    /// acknowledgements nor late timers leave the path empty.
    fn allowance(&self) -> u64 {
        // Where the path itself takes no time, the ends do: they work in turns of some milliseconds.
        let late = LATE_MOST.saturating_sub(self.path.rtt_min().unwrap_or_default()).max(LATE_LEAST);
        let late = self.path.bandwidth() * late.as_secs_f64();
        self.path.aggregation() + late as u64 + ALLOWANCE_PACKETS * self.mtu
    }

    /// From 0 to 1.
    fn roll(&mut self) -> f64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn initial_window(mtu: u64) -> u64 {
    INITIAL_PACKETS * mtu
}

const START: Phase = Phase::Start { best: 0.0, still: 0, held: false };

// The reasons for these numbers stand in README.md.
const INITIAL_PACKETS: u64 = 32;
const MIN_PACKETS: u64 = 4;
/// Packets that quinn sends at once.
const BATCH: u64 = 10;
const ALLOWANCE_PACKETS: u64 = 3;
const LATE_LEAST: Duration = Duration::from_micros(500);
const LATE_MOST: Duration = Duration::from_millis(5);
const KEPT_LEAST: Duration = Duration::from_millis(100);

const START_GAIN: f64 = 2.0;
const START_GROWTH: f64 = 1.25;
const START_STILL: u32 = 3;
const START_LOSS_MAX: f64 = 0.15;
const KNOWN_GAIN: f64 = 0.5;
const HOLD_SAMPLES: u32 = 8;

const CRUISE_GAIN: f64 = 1.05;
const HEADROOM: f64 = 0.96;

const UP_GAIN: f64 = 1.25;
const UP_STEP: f64 = 0.25;
const UP_GAIN_MAX: f64 = 2.0;
const UP_GROWTH: f64 = 1.05;
const UP_ROUNDS: u32 = 2;
/// The first step of the bound; each further one is twice the one before.
const RAISE_PACKETS: u64 = 16;

const DOWN_GAIN: f64 = 0.9;
/// After so many rounds all that was sent before is acknowledged or lost.
const CALM_ROUNDS: u32 = 2;
/// What two busy ends can add to a round trip.
const UNEVEN: Duration = Duration::from_millis(8);
/// Below this share of the expected, a fall of the round trip was chance.
const LONGER: f64 = 0.3;

const REST_GAIN: f64 = 0.5;
const REST: Duration = Duration::from_millis(200);
const RTT_MIN_LASTS: Duration = Duration::from_secs(10);

const SPACING_LEAST: u32 = 3;
const SPACING_MOST: u32 = 48;
const SPACING_FEWEST: u32 = 4;
/// A round of a shorter path counts as this.
const ROUND_LEAST: Duration = Duration::from_millis(10);
const SPACING_TIME: Duration = Duration::from_secs(2);

const LOSS_MAX: f64 = 0.02;
const EXCESS_LEAST: f64 = 6.0;
const LOST_GAIN: f64 = 0.7;
const MARKED_GAIN: f64 = 0.85;
const COLLAPSE: f64 = 0.75;

const IDLE_LEAST: Duration = Duration::from_secs(1);
const IDLE_LONG: Duration = Duration::from_secs(10);
