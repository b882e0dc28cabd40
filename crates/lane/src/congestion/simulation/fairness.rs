//! Promise: who shares a path with us keeps a share of it, and so do we.

use std::time::Duration;

use super::scenario::{lossy, ms, path};
use super::sender::Supply;
use super::{Who, World, seeds};

/// Shares of 100 Mbit/s, when all have been there for a while. Flows begin one after the other.
fn shares(rtt_ms: u64, queue: f64, flows: &[Who], seed: u64) -> Vec<f64> {
    let mut world = World::new(path(100.0, rtt_ms, queue, seed), seed);
    for (number, who) in (0..).zip(flows) {
        world.add(*who, ms(2000) * number, Supply::Endless);
    }
    let (from, to) = (Duration::from_secs(10), Duration::from_secs(40));
    world.run(to);
    (0..flows.len()).map(|flow| world.rate(flow, from, to) / 100e6).collect()
}

/// Jain's index: 1 when all have the same.
fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    sum * sum / (shares.len() as f64 * squares)
}

/// All pairs of a round trip and a queue.
fn paths() -> impl Iterator<Item = (u64, f64)> {
    [20, 40, 100].into_iter().flat_map(|rtt| [0.5, 1.0, 4.0].map(|queue| (rtt, queue)))
}

#[test]
fn cubic_and_we_leave_each_other_a_quarter_of_the_fair_share() {
    for (rtt, queue) in paths() {
        for flows in [[Who::Cubic, Who::Ours], [Who::Ours, Who::Cubic]] {
            for seed in seeds(2) {
                let shares = shares(rtt, queue, &flows, seed);
                let fair = shares.iter().all(|share| *share >= 0.125) && shares.iter().sum::<f64>() > 0.95;
                assert!(fair, "SFT_SIM_SEED={seed}: {rtt} ms, queue of {queue}: {flows:?} have {shares:?}");
            }
        }
    }
}

#[test]
fn reno_keeps_a_quarter_of_its_fair_share_on_short_paths() {
    for (rtt, queue) in paths().filter(|(rtt, _)| *rtt <= 40) {
        let shares = shares(rtt, queue, &[Who::Ours, Who::Reno], 1);
        assert!(shares[1] >= 0.125, "{rtt} ms, queue of {queue}: {shares:?}");
    }
}

#[test]
fn flows_of_ours_share_about_equally() {
    for (rtt, queue) in paths() {
        for seed in seeds(2) {
            for (count, index) in [(2, 0.9), (4, 0.75)] {
                let shares = shares(rtt, queue, &vec![Who::Ours; count], seed);
                let fair = jain(&shares) >= index && shares.iter().sum::<f64>() > 0.95;
                assert!(fair, "SFT_SIM_SEED={seed}: {rtt} ms, queue of {queue}: {shares:?}");
            }
        }
    }
}

#[test]
fn the_background_leaves_the_path_to_all_others_and_takes_what_they_leave() {
    for (rtt, queue) in paths() {
        for seed in seeds(2) {
            // Beside CUBIC there is always a queue; ours keeps none, so there is room to see now and then.
            for (rival, most) in [(Who::Cubic, 0.1), (Who::Ours, 0.25)] {
                let shares = shares(rtt, queue, &[rival, Who::Background], seed);
                let yields = shares[1] <= most && shares.iter().sum::<f64>() > 0.9;
                assert!(
                    yields,
                    "SFT_SIM_SEED={seed}: {rtt} ms, queue of {queue}: {rival:?}, background: {shares:?}"
                );
            }
            let alone = shares(rtt, queue, &[Who::Background], seed);
            assert!(alone[0] > 0.85, "SFT_SIM_SEED={seed}: {rtt} ms, queue of {queue}, alone: {alone:?}");
        }
    }
}

#[test]
fn the_background_is_not_slowed_by_a_little_loss() {
    for seed in seeds(3) {
        let mut world = World::new(lossy(100.0, 40, 0.01, seed), seed);
        world.add(Who::Background, Duration::ZERO, Supply::Endless);
        world.run(Duration::from_secs(20));
        let share = world.rate(0, Duration::from_secs(5), Duration::from_secs(20)) / 100e6;
        assert!(share > 0.8, "SFT_SIM_SEED={seed}: {share}");
    }
}

#[test]
fn the_background_is_back_when_the_others_have_gone() {
    for (rtt, queue) in paths() {
        let mut world = World::new(path(100.0, rtt, queue, 1), 1);
        world.add(Who::Background, Duration::ZERO, Supply::Endless);
        let busy = Supply::Spells { busy: ms(8000), idle: ms(60_000) };
        world.add(Who::Cubic, ms(2000), busy);
        world.run(Duration::from_secs(30));
        let meanwhile = world.rate(0, ms(5000), ms(10_000)) / 100e6;
        let after = world.rate(0, ms(15_000), ms(30_000)) / 100e6;
        let returns = meanwhile <= 0.3 && after > 0.8;
        assert!(returns, "{rtt} ms, queue of {queue}: {meanwhile} beside CUBIC, {after} after it");
    }
}
