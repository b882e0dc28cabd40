//! One direction of a path: loss, a policer, a bottleneck with a drop-tail queue, delay, reordering.

use std::time::Duration;

use super::dice::Dice;

/// What a packet meets, in this order: random loss, the policer, the queue, the delay.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// Bits per second from a time on; the first begins at 0.
    pub(super) rates: Vec<(Duration, f64)>,
    /// One way, from a time on.
    pub(super) delays: Vec<(Duration, Duration)>,
    pub(super) queue_bytes: f64,
    /// Packets are marked when more than this is queued.
    pub(super) mark_above: Option<f64>,
    pub(super) loss: Loss,
    pub(super) policer: Option<Policer>,
    /// This share of the packets takes up to that much longer.
    pub(super) reorder: Option<(f64, Duration)>,
    pub(super) busy_until: f64,
    pub(super) dice: Dice,
}

/// Which packets are lost on the way, whatever is sent.
#[derive(Clone, Debug)]
pub(super) enum Loss {
    None,
    Random(f64),
    /// Gilbert's: good, until a burst begins with the first probability; bad, where half is lost, until the second.
    Bursts {
        begin: f64,
        end: f64,
        bad: bool,
    },
    /// All of them in this time.
    Outage {
        from: Duration,
        to: Duration,
    },
}

/// A token bucket that drops what it has no tokens for.
#[derive(Clone, Debug)]
pub(super) struct Policer {
    /// Bytes per second.
    rate: f64,
    burst: f64,
    tokens: f64,
    at: f64,
}

/// When a packet comes out, and whether it was marked.
pub(super) struct Passage {
    pub(super) at: Duration,
    pub(super) marked: bool,
}

impl Link {
    /// Delay is one way; the queue holds this many bytes.
    pub(super) fn new(mbit: f64, delay: Duration, queue_bytes: f64, seed: u64) -> Self {
        Self {
            rates: vec![(Duration::ZERO, mbit * 1e6)],
            delays: vec![(Duration::ZERO, delay)],
            queue_bytes,
            mark_above: None,
            loss: Loss::None,
            policer: None,
            reorder: None,
            busy_until: 0.0,
            dice: Dice::new(seed),
        }
    }

    pub(super) fn pass(&mut self, now: Duration, bytes: u64) -> Option<Passage> {
        let bytes = bytes as f64;
        if self.loss.strikes(now, &mut self.dice)
            || self.policer.as_mut().is_some_and(|one| !one.lets(now, bytes))
        {
            return None;
        }
        let rate = in_force(&self.rates, now) / 8.0;
        let queued = (self.busy_until - now.as_secs_f64()).max(0.0) * rate;
        if queued + bytes > self.queue_bytes.max(bytes) {
            return None;
        }
        let out = self.busy_until.max(now.as_secs_f64()) + bytes / rate;
        self.busy_until = out;
        let late = match self.reorder {
            Some((share, most)) if self.dice.strikes(share) => most.mul_f64(self.dice.roll()),
            _ => Duration::ZERO,
        };
        let delay = in_force(&self.delays, now) + late;
        Some(Passage {
            at: Duration::from_secs_f64(out) + delay,
            marked: self.mark_above.is_some_and(|above| queued > above),
        })
    }

    /// Bits per second that could pass between these times, on average.
    pub(super) fn capacity(&self, from: Duration, to: Duration) -> f64 {
        let policed = self.policer.as_ref().map_or(f64::INFINITY, |policer| policer.rate * 8.0);
        let at = |step: u32| in_force(&self.rates, from + (to - from) * step / STEPS).min(policed);
        (0..STEPS).map(at).sum::<f64>() / f64::from(STEPS)
    }
}

const STEPS: u32 = 1000;

fn in_force<T: Copy>(schedule: &[(Duration, T)], now: Duration) -> T {
    schedule[schedule.partition_point(|(from, _)| *from <= now) - 1].1
}

impl Loss {
    fn strikes(&mut self, now: Duration, dice: &mut Dice) -> bool {
        match self {
            Self::None => false,
            Self::Random(share) => dice.strikes(*share),
            Self::Bursts { begin, end, bad } => {
                *bad = if *bad { !dice.strikes(*end) } else { dice.strikes(*begin) };
                *bad && dice.strikes(0.5)
            }
            Self::Outage { from, to } => (*from..*to).contains(&now),
        }
    }
}

impl Policer {
    pub(super) fn new(mbit: f64, burst: f64) -> Self {
        Self { rate: mbit * 1e6 / 8.0, burst, tokens: burst, at: 0.0 }
    }

    fn lets(&mut self, now: Duration, bytes: f64) -> bool {
        let now = now.as_secs_f64();
        self.tokens = (self.tokens + (now - self.at) * self.rate).min(self.burst);
        self.at = now;
        let enough = self.tokens >= bytes;
        if enough {
            self.tokens -= bytes;
        }
        enough
    }
}
