//! Where the time of a transfer goes: what its driver waits for, measured where it waits (spec/wire.md, "times").
//!
//! A driver is one task. Each time it goes to sleep it says for what, and when it wakes the time is charged to that: one look
//! at the clock for each wait, and all waits together are the time the transfer took. What work on other threads consists of
//! is measured there, once for each data unit. It does not know what the other end waits for, and judges nothing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sft_base::EntryPath;

use crate::EventSink;

/// What one end of a transfer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Wait {
    /// The other end, or the network: there is nothing to do here.
    Peer = 0,
    /// This disk, looking at what is there.
    Looking = 1,
    /// This disk, reading content.
    Reading = 2,
    /// This processor, hashing.
    Hashing = 3,
    /// Lanes, that take no more.
    Lanes = 4,
    /// This disk, writing content.
    Writing = 5,
    /// This disk, flushing content and names.
    Flushing = 6,
}

impl Wait {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Peer, Self::Looking, Self::Reading, Self::Hashing, Self::Lanes, Self::Writing, Self::Flushing];

    /// Its number in the answer to `times`.
    pub fn number(self) -> u64 {
        self as u64
    }

    /// What a number of that answer stands for; none for one of a later version.
    pub fn of_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|wait| wait.number() == number)
    }
}

/// How long a transfer has waited for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares([Duration; Wait::ALL.len()]);

impl Shares {
    /// The time for which it waited for that.
    pub fn of(&self, wait: Wait) -> Duration {
        self.0[wait as usize]
    }

    /// Counts a time.
    pub fn add(&mut self, wait: Wait, time: Duration) {
        self.0[wait as usize] += time;
    }

    /// All of it.
    pub fn total(&self) -> Duration {
        self.0.iter().sum()
    }
}

/// The waits of a transfer so far, written by its driver and read by others.
#[derive(Debug, Default)]
pub struct Times {
    micros: [AtomicU64; Wait::ALL.len()],
    /// Content was read while lanes took other content: neither waited for the other.
    sending_micros: AtomicU64,
    /// Content was written, and more could have been if more had come.
    receiving_micros: AtomicU64,
    now: AtomicU8,
    disk: AtomicU64,
    processor: AtomicU64,
    doing: Mutex<Option<EntryPath>>,
}

impl Times {
    /// What is waited for at this moment.
    pub fn now(&self) -> Wait {
        Wait::of_number(self.now.load(Ordering::Relaxed).into()).unwrap_or(Wait::Peer)
    }

    /// The entry that was worked on last.
    pub fn doing(&self) -> Option<EntryPath> {
        self.doing.lock().expect("no holder of this lock panics").clone()
    }

    /// What was waited for so far, but for the wait that lasts.
    pub fn shares(&self) -> Shares {
        let micros = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut spent: [u64; Wait::ALL.len()] = std::array::from_fn(|at| micros(&self.micros[at]));
        // Whoever of the two was waited for alone is the slower one.
        for (both, one, other) in [
            (&self.sending_micros, Wait::Reading, Wait::Lanes),
            (&self.receiving_micros, Wait::Writing, Wait::Peer),
        ] {
            let (more, less) = divided(micros(both), spent[one as usize], spent[other as usize]);
            spent[one as usize] += more;
            spent[other as usize] += less;
        }
        let (disk, processor) = (micros(&self.disk), micros(&self.processor));
        let hashing = Wait::Hashing as usize;
        for work in [Wait::Reading as usize, Wait::Writing as usize] {
            let (at_disk, at_processor) = divided(spent[work], disk, processor);
            spent[work] = at_disk;
            spent[hashing] += at_processor;
        }
        Shares(spent.map(Duration::from_micros))
    }

    /// Says what the work on a data unit was: at the disk until `between`, at the processor from then on.
    pub(crate) fn read_and_hashed(&self, begun: Instant, between: Instant) {
        self.count(between - begun, between.elapsed());
    }

    /// The same, for what is hashed before it is written.
    pub(crate) fn hashed_and_written(&self, begun: Instant, between: Instant) {
        self.count(between.elapsed(), between - begun);
    }

    fn count(&self, disk: Duration, processor: Duration) {
        self.disk.fetch_add(disk.as_micros() as u64, Ordering::Relaxed);
        self.processor.fetch_add(processor.as_micros() as u64, Ordering::Relaxed);
    }

    /// Notes the entry that is worked on.
    pub(crate) fn note(&self, path: &EntryPath) {
        *self.doing.lock().expect("no holder of this lock panics") = Some(path.clone());
    }
}

/// What a driver waits for; either one thing, or two that are at work side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    For(Wait),
    /// For content to be read, and for lanes to take other content.
    ReadingAndLanes,
    /// For content to be written, and for more of it.
    WritingAndPeer,
}

/// Charges a driver's waits to what it waits for.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    events: EventSink,
    since: Instant,
    waiting: Waiting,
}

impl Stopwatch {
    /// Begins to wait for the other end.
    pub(crate) fn begin(events: EventSink) -> Self {
        events.counters().times.now.store(Wait::Peer as u8, Ordering::Relaxed);
        Self { events, since: Instant::now(), waiting: Waiting::For(Wait::Peer) }
    }

    /// What was waited for until now was that, from now on it is this.
    pub(crate) fn turn(&mut self, waiting: Waiting) {
        let times = &self.events.counters().times;
        let now = Instant::now();
        let micros = (now - self.since).as_micros() as u64;
        match self.waiting {
            Waiting::For(wait) => &times.micros[wait as usize],
            Waiting::ReadingAndLanes => &times.sending_micros,
            Waiting::WritingAndPeer => &times.receiving_micros,
        }
        .fetch_add(micros, Ordering::Relaxed);
        // What is below a microsecond counts with the next wait.
        self.since += Duration::from_micros(micros);
        self.waiting = waiting;
        let shown = match waiting {
            Waiting::For(wait) => wait,
            Waiting::ReadingAndLanes => Wait::Lanes,
            Waiting::WritingAndPeer => Wait::Writing,
        };
        times.now.store(shown as u8, Ordering::Relaxed);
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        self.turn(Waiting::For(Wait::Peer));
    }
}

/// What a sender waits for: `reading` data units are read, `sending` wait for lanes to take them, `comparing` files are
/// compared with what the receiver holds; or it still looks for the first entries, or for more.
pub(crate) fn of_sender(reading: usize, sending: usize, comparing: usize, looking: bool) -> Waiting {
    match (reading, sending) {
        (0, 0) if comparing > 0 => Waiting::For(Wait::Reading),
        (0, 0) if looking => Waiting::For(Wait::Looking),
        (0, 0) => Waiting::For(Wait::Peer),
        (_, 0) => Waiting::For(Wait::Reading),
        (0, _) => Waiting::For(Wait::Lanes),
        _ => Waiting::ReadingAndLanes,
    }
}

/// What a receiver waits for: so many data units are verified and written, and others wait for that; it decides on entries, it
/// makes durable; and content is still to come.
pub(crate) fn of_receiver(
    writing: usize,
    queued: bool,
    deciding: bool,
    committing: bool,
    content_to_come: bool,
) -> Waiting {
    match () {
        () if writing > 0 && content_to_come && !queued => Waiting::WritingAndPeer,
        () if writing > 0 => Waiting::For(Wait::Writing),
        () if deciding => Waiting::For(Wait::Looking),
        // Else it is done beside what is waited for.
        () if committing && !content_to_come => Waiting::For(Wait::Flushing),
        () => Waiting::For(Wait::Peer),
    }
}

/// Divides an amount in the ratio of two others; all to the first if both are nothing.
fn divided(amount: u64, one: u64, other: u64) -> (u64, u64) {
    if one == 0 && other == 0 {
        return (amount, 0);
    }
    let first = (u128::from(amount) * u128::from(one) / (u128::from(one) + u128::from(other))) as u64;
    (first, amount - first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_what_they_are() {
        let spec = include_str!("../../../spec/wire.md");
        let table =
            spec.split("The numbers:").nth(1).unwrap().split("A number that is not known").next().unwrap();
        let numbers: Vec<u64> = table
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok())
            .collect();
        assert_eq!(numbers, Wait::ALL.map(Wait::number));
        assert_eq!(Wait::ALL.map(|wait| Wait::of_number(wait.number())), Wait::ALL.map(Some));
        assert_eq!(Wait::of_number(7), None);
        assert!(Wait::ALL.len() <= sft_base::limits::TIMES_MAX);
    }

    #[test]
    fn what_a_sender_waits_for() {
        let alone = Waiting::For;
        let cases = [
            ((0, 0, 0, true), alone(Wait::Looking)),
            ((0, 0, 0, false), alone(Wait::Peer)),
            ((0, 0, 1, true), alone(Wait::Reading)),
            ((2, 0, 0, true), alone(Wait::Reading)),
            ((0, 2, 1, true), alone(Wait::Lanes)),
            ((1, 1, 0, false), Waiting::ReadingAndLanes),
        ];
        for ((reading, sending, comparing, looking), waiting) in cases {
            assert_eq!(of_sender(reading, sending, comparing, looking), waiting);
        }
    }

    #[test]
    fn what_a_receiver_waits_for() {
        let alone = Waiting::For;
        let cases = [
            ((1, true, true, true, true), alone(Wait::Writing)),
            ((1, false, true, true, false), alone(Wait::Writing)),
            ((1, false, true, true, true), Waiting::WritingAndPeer),
            ((0, false, true, true, true), alone(Wait::Looking)),
            ((0, false, false, true, false), alone(Wait::Flushing)),
            ((0, false, false, true, true), alone(Wait::Peer)),
            ((0, false, false, false, false), alone(Wait::Peer)),
        ];
        for ((writing, queued, deciding, committing, to_come), waiting) in cases {
            assert_eq!(of_receiver(writing, queued, deciding, committing, to_come), waiting);
        }
    }

    #[test]
    fn all_waits_together_are_the_time_that_passed() {
        let (events, _heard) = EventSink::new();
        let begun = Instant::now();
        let mut watch = Stopwatch::begin(events.clone());
        for waiting in [Waiting::For(Wait::Reading), Waiting::ReadingAndLanes, Waiting::For(Wait::Lanes)] {
            watch.turn(waiting);
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(watch);
        let took = begun.elapsed();
        let shares = events.counters().times.shares();
        let total = shares.total();
        assert!(total >= Duration::from_millis(60) && total <= took, "{total:?} of {took:?}");
        assert!(shares.of(Wait::Reading) >= Duration::from_millis(20), "{shares:?}");
        assert!(shares.of(Wait::Lanes) >= Duration::from_millis(20), "{shares:?}");
    }

    #[test]
    fn work_is_divided_as_it_was_measured() {
        let times = Times::default();
        times.micros[Wait::Writing as usize].store(1000, Ordering::Relaxed);
        times.count(Duration::from_micros(30), Duration::from_micros(10));
        let shares = times.shares();
        assert_eq!(shares.of(Wait::Writing), Duration::from_micros(750));
        assert_eq!(shares.of(Wait::Hashing), Duration::from_micros(250));
        assert_eq!((divided(10, 0, 0), divided(10, 0, 3), divided(10, 3, 0)), ((10, 0), (0, 10), (10, 0)));
    }
}
