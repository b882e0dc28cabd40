//! A path with one flow of ours on it, and what that flow must reach.

use std::fmt;
use std::time::Duration;

use super::link::{Link, Loss, Policer};
use super::sender::{PACKET, Supply};
use super::{Known, Who, World, seeds};

pub(super) struct Scenario {
    name: &'static str,
    link: Box<dyn Fn(u64) -> Link>,
    acks_lost: f64,
    acks_clump: Option<Duration>,
    supply: Supply,
    known: Option<Known>,
    measured: (Duration, Duration),
    /// The share of what can pass.
    fills: f64,
    /// The greatest share of lost packets, with those that the path loses anyway.
    loses: f64,
    /// The median round trip, as a multiple of the least.
    waits: f64,
}

/// What a flow reached.
pub(super) struct Outcome {
    name: &'static str,
    filled: f64,
    lost: f64,
    waited: f64,
    kept: bool,
}

impl Scenario {
    pub(super) fn on(name: &'static str, link: impl Fn(u64) -> Link + 'static) -> Self {
        Self {
            name,
            link: Box::new(link),
            acks_lost: 0.0,
            acks_clump: None,
            supply: Supply::Endless,
            known: None,
            measured: (ms(1000), ms(10_000)),
            fills: 0.0,
            loses: 1.0,
            waits: f64::INFINITY,
        }
    }

    /// What is measured lies between these milliseconds; losses count from the start.
    pub(super) fn between(self, from: u64, to: u64) -> Self {
        Self { measured: (ms(from), ms(to)), ..self }
    }

    pub(super) fn supplied(self, supply: Supply) -> Self {
        Self { supply, ..self }
    }

    /// An earlier connection had this rate and this round trip.
    pub(super) fn knowing(self, mbit: f64, rtt_ms: u64) -> Self {
        Self { known: Some(Known { rate: mbit * 1e6 / 8.0, rtt: ms(rtt_ms) }), ..self }
    }

    pub(super) fn acks_lost(self, share: f64) -> Self {
        Self { acks_lost: share, ..self }
    }

    pub(super) fn acks_every(self, clump: u64) -> Self {
        Self { acks_clump: Some(ms(clump)), ..self }
    }

    pub(super) fn must(self, fills: f64, loses: f64, waits: f64) -> Self {
        Self { fills, loses, waits, ..self }
    }

    pub(super) fn run(&self, seed: u64) -> Outcome {
        let (from, to) = self.measured;
        let mut world = World::new((self.link)(seed), seed);
        (world.back.loss, world.back.clump) = (self.acks_lost, self.acks_clump);
        world.add_knowing(self.known, Who::Ours, Duration::ZERO, self.supply);
        world.run(to);
        let (least, median) = world.rtts(0, from, to);
        // What was declared lost and came later was sent twice.
        let spurious = if world.link.reorder.is_some() { world.lost(0) } else { 0.0 };
        let filled = world.rate(0, from, to) * (1.0 - spurious) / world.link.capacity(from, to);
        let (lost, waited) = (world.lost(0), median.as_secs_f64() / least.as_secs_f64());
        let kept = filled >= self.fills && lost <= self.loses && waited <= self.waits;
        Outcome { name: self.name, filled, lost, waited, kept }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, filled, lost, waited, .. } = self;
        let (filled, lost) = (filled * 100.0, lost * 100.0);
        write!(f, "{name:45} fills {filled:5.1} %  loses {lost:5.2} %  waits {waited:4.2}")
    }
}

/// Runs each of these with a few seeds.
pub(super) fn keep(scenarios: impl IntoIterator<Item = Scenario>) {
    let mut broken = Vec::new();
    for one in scenarios {
        for seed in seeds(3) {
            let outcome = one.run(seed);
            if !outcome.kept {
                let Scenario { fills, loses, waits, .. } = one;
                broken.push(format!("SFT_SIM_SEED={seed}: {outcome}; must {fills}, {loses}, {waits}"));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// A path with a queue of so many bandwidth-delay products.
pub(super) fn path(mbit: f64, rtt_ms: u64, queue: f64, seed: u64) -> Link {
    let product = mbit * 1e6 / 8.0 * rtt_ms as f64 / 1e3;
    Link::new(mbit, ms(rtt_ms) / 2, (product * queue).max(64e3), seed)
}

pub(super) fn lossy(mbit: f64, rtt_ms: u64, share: f64, seed: u64) -> Link {
    Link { loss: Loss::Random(share), ..path(mbit, rtt_ms, 1.0, seed) }
}

pub(super) fn shallow(mbit: f64, rtt_ms: u64, packets: u64, seed: u64) -> Link {
    Link::new(mbit, ms(rtt_ms) / 2, (packets * PACKET) as f64, seed)
}

/// A fast path with a slow policer on it.
pub(super) fn policed(mbit: f64, rtt_ms: u64, burst: f64, seed: u64) -> Link {
    Link { policer: Some(Policer::new(mbit, burst)), ..path(10.0 * mbit, rtt_ms, 1.0, seed) }
}

pub(super) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}
