//! Promise: one flow alone fills its path, whatever the path is like, and keeps its queue and its losses small.

use std::time::Duration;

use super::link::{Link, Loss};
use super::scenario::{Scenario, keep, lossy, ms, path, policed, shallow};
use super::sender::{PACKET, Supply};

#[test]
fn clean_paths_are_filled_with_little_queue_and_no_loss() {
    keep(clean());
}

fn clean() -> Vec<Scenario> {
    vec![
        Scenario::on("1 Gbit/s, 10 ms", |seed| path(1000.0, 10, 1.0, seed))
            .between(500, 3000)
            .must(0.97, 0.001, 1.2),
        Scenario::on("1 Gbit/s, 100 ms, from the start", |seed| path(1000.0, 100, 1.0, seed))
            .between(0, 8500)
            .must(0.86, 0.001, 1.2),
        Scenario::on("1 Gbit/s, 100 ms, once up", |seed| path(1000.0, 100, 1.0, seed))
            .between(2000, 6000)
            .must(0.96, 0.001, 1.2),
        Scenario::on("100 Mbit/s, 20 ms, deep queue", |seed| path(100.0, 20, 50.0, seed))
            .between(500, 12_000)
            .must(0.97, 0.001, 1.25),
        Scenario::on("10 Mbit/s, 30 ms", |seed| path(10.0, 30, 2.0, seed)).must(0.95, 0.001, 1.6),
        Scenario::on("1 Mbit/s, 50 ms", |seed| path(1.0, 50, 4.0, seed))
            .between(3000, 40_000)
            .must(0.95, 0.01, 2.5),
        Scenario::on("20 Mbit/s, 600 ms", |seed| path(20.0, 600, 1.0, seed))
            .between(8000, 40_000)
            .must(0.93, 0.01, 1.2),
        Scenario::on("10 Gbit/s, 50 us", |seed| Link::new(10_000.0, Duration::from_micros(25), 8e6, seed))
            .between(20, 200)
            .must(0.95, 0.001, 20.0),
    ]
}

#[test]
fn loss_by_chance_does_not_slow_us() {
    keep(by_chance());
}

fn by_chance() -> Vec<Scenario> {
    // Some 30 packets at a time, 1 % of all.
    let bursts = |seed| Link {
        loss: Loss::Bursts { begin: 0.02 / 60.0, end: 1.0 / 60.0, bad: false },
        ..path(100.0, 40, 1.0, seed)
    };
    let reordered = |seed| Link { reorder: Some((0.02, ms(4))), ..path(100.0, 40, 1.0, seed) };
    vec![
        Scenario::on("1 Gbit/s, 100 ms, 0.1 %", |seed| lossy(1000.0, 100, 0.001, seed))
            .between(0, 8500)
            .must(0.85, 0.003, 1.2),
        Scenario::on("200 Mbit/s, 100 ms, 1 %", |seed| lossy(200.0, 100, 0.01, seed))
            .between(0, 10_000)
            .must(0.88, 0.015, 1.2),
        Scenario::on("100 Mbit/s, 200 ms, 2 %", |seed| lossy(100.0, 200, 0.02, seed))
            .between(0, 20_000)
            .must(0.86, 0.025, 1.2),
        Scenario::on("500 Mbit/s, 40 ms, 1 %", |seed| lossy(500.0, 40, 0.01, seed))
            .between(0, 8000)
            .must(0.92, 0.015, 1.2),
        Scenario::on("50 Mbit/s, 50 ms, 5 %", |seed| lossy(50.0, 50, 0.05, seed))
            .between(1000, 15_000)
            .must(0.88, 0.06, 1.25),
        Scenario::on("20 Mbit/s, 600 ms, 1 %", |seed| lossy(20.0, 600, 0.01, seed))
            .between(8000, 40_000)
            .must(0.9, 0.02, 1.2),
        Scenario::on("100 Mbit/s, 40 ms, lost in bursts", bursts).between(1000, 15_000).must(0.8, 0.03, 1.2),
        Scenario::on("100 Mbit/s, 40 ms, reordered", reordered).must(0.93, 1.0, 1.25),
    ]
}

#[test]
fn short_queues_policers_and_marks_are_met_with_little_loss() {
    keep(narrow());
}

fn narrow() -> Vec<Scenario> {
    let marked = |seed| Link { mark_above: Some(60e3), ..path(100.0, 40, 2.0, seed) };
    vec![
        Scenario::on("100 Mbit/s, 20 ms, queue of 20", |seed| shallow(100.0, 20, 20, seed))
            .must(0.9, 0.02, 1.2),
        Scenario::on("20 of 200 Mbit/s, 50 ms", |seed| policed(20.0, 50, 250e3, seed))
            .between(3000, 30_000)
            .must(0.9, 0.06, 1.1),
        Scenario::on("50 of 500 Mbit/s, 20 ms", |seed| policed(50.0, 20, 100e3, seed))
            .between(3000, 30_000)
            .must(0.9, 0.05, 1.1),
        Scenario::on("100 Mbit/s, 40 ms, marked", marked).must(0.83, 0.001, 1.1),
    ]
}

#[test]
fn acknowledgements_may_clump_and_get_lost() {
    keep(acknowledged());
}

fn acknowledged() -> Vec<Scenario> {
    vec![
        Scenario::on("100 Mbit/s, 20 ms, every 10 ms", |seed| path(100.0, 20, 2.0, seed))
            .acks_every(10)
            .must(0.93, 0.01, 2.5),
        Scenario::on("100 Mbit/s, 30 ms, every 30 ms", |seed| path(100.0, 30, 2.0, seed))
            .acks_every(30)
            .must(0.9, 0.01, 3.0),
        Scenario::on("100 Mbit/s, 50 ms, 20 % lost", |seed| path(100.0, 50, 1.0, seed))
            .acks_lost(0.2)
            .must(0.95, 0.01, 1.3),
    ]
}

#[test]
fn a_path_may_change() {
    keep(changing());
}

fn changing() -> Vec<Scenario> {
    let rates = |rates: &[(u64, f64)], link: Link| Link {
        rates: rates.iter().map(|(from, mbit)| (ms(*from), mbit * 1e6)).collect(),
        ..link
    };
    let delays = |delays: &[(u64, u64)], link: Link| Link {
        delays: delays.iter().map(|(from, rtt)| (ms(*from), ms(*rtt) / 2)).collect(),
        ..link
    };
    let dead =
        |seed| Link { loss: Loss::Outage { from: ms(4000), to: ms(7000) }, ..path(100.0, 40, 1.0, seed) };
    vec![
        Scenario::on("100 Mbit/s, 40 ms, halved and doubled", move |seed| {
            rates(&[(0, 100.0), (5000, 50.0), (10_000, 100.0)], path(100.0, 40, 1.0, seed))
        })
        .between(1000, 15_000)
        .must(0.93, 0.02, 1.3),
        Scenario::on("20 Mbit/s, then 200, 40 ms", move |seed| {
            rates(&[(0, 20.0), (6000, 200.0)], path(200.0, 40, 1.0, seed))
        })
        .between(6000, 20_000)
        .must(0.85, 0.02, 1.3),
        Scenario::on("200 Mbit/s, then 20, 40 ms", move |seed| {
            rates(&[(0, 200.0), (6000, 20.0)], path(200.0, 40, 1.0, seed))
        })
        .between(6000, 16_000)
        .must(0.93, 0.02, 1.6),
        Scenario::on("100 Mbit/s, 40 ms, then 120", move |seed| {
            delays(&[(0, 40), (4000, 120)], path(100.0, 120, 1.0, seed))
        })
        .between(4200, 25_000)
        .must(0.9, 0.02, 1.3),
        Scenario::on("100 Mbit/s, 120 ms, then 40", move |seed| {
            delays(&[(0, 120), (4000, 40)], path(100.0, 120, 1.0, seed))
        })
        .between(4200, 20_000)
        .must(0.95, 0.03, 1.3),
        Scenario::on("100 Mbit/s, 40 ms, nothing for 3 s", dead)
            .between(10_000, 20_000)
            .must(0.95, 0.02, 1.3),
    ]
}

#[test]
fn an_application_may_pause() {
    let spells = Supply::Spells { busy: ms(2000), idle: ms(3000) };
    let portions = Supply::Portions { bytes: 20 * PACKET, every: ms(50) };
    keep([
        Scenario::on("100 Mbit/s, 40 ms, at intervals", |seed| path(100.0, 40, 1.0, seed))
            .supplied(spells)
            .between(5000, 22_000)
            .must(0.44, 0.01, 1.2),
        Scenario::on("100 Mbit/s, 40 ms, in small portions", |seed| path(100.0, 40, 1.0, seed))
            .supplied(portions)
            .between(1000, 20_000)
            .must(0.045, 0.001, 1.2),
    ]);
}

#[test]
fn a_path_that_is_known_is_full_at_once_and_one_that_has_changed_takes_no_harm() {
    keep(known());
}

fn known() -> Vec<Scenario> {
    vec![
        // Who knows nothing gets a fifth of the first second.
        Scenario::on("1 Gbit/s, 100 ms, known", |seed| path(1000.0, 100, 1.0, seed))
            .knowing(1000.0, 100)
            .between(0, 1000)
            .must(0.7, 0.001, 2.0),
        Scenario::on("200 Mbit/s, 100 ms, 1 %, known", |seed| lossy(200.0, 100, 0.01, seed))
            .knowing(200.0, 100)
            .between(0, 1000)
            .must(0.7, 0.02, 2.0),
        Scenario::on("100 Mbit/s, 40 ms, was ten times as fast", |seed| path(100.0, 40, 1.0, seed))
            .knowing(1000.0, 40)
            .between(0, 5000)
            .must(0.93, 0.08, 1.3),
        Scenario::on("100 Mbit/s, 40 ms, queue of 20, was ten times as fast", |seed| {
            shallow(100.0, 40, 20, seed)
        })
        .knowing(1000.0, 40)
        .between(0, 5000)
        .must(0.8, 0.15, 1.3),
        Scenario::on("200 Mbit/s, 40 ms, was a tenth", |seed| path(200.0, 40, 1.0, seed))
            .knowing(20.0, 40)
            .between(500, 3000)
            .must(0.93, 0.001, 1.2),
        // Somewhere else, by the round trip: nothing is risked.
        Scenario::on("10 Mbit/s, 200 ms, was 1 Gbit/s, 40 ms", |seed| path(10.0, 200, 1.0, seed))
            .knowing(1000.0, 40)
            .between(2000, 12_000)
            .must(0.93, 0.01, 1.3),
    ]
}
