//! Data units that a sender has on their way: numbered from 0, each open until it is acknowledged, on one lane or, with a
//! copy, on two (spec/wire.md, "Data units" and "Silence and loss").

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use sft_base::limits::COPIES_MAX;

use crate::job::Job;
use crate::lane_watch::{LaneWatch, Progress, SUSPECT_MS};

#[derive(Debug, Default)]
pub(crate) struct Units {
    pub(crate) next: u64,
    pub(crate) now_ms: u64,
    open: BTreeMap<u64, Unit>,
    again: VecDeque<u64>,
    bytes: u64,
    /// Units that have a copy.
    copies: usize,
    lanes: BTreeMap<u64, LaneWatch>,
    /// When the receiver acknowledged last, and since when it has done so without a pause.
    acknowledged_ms: u64,
    at_work_since_ms: u64,
}

#[derive(Debug)]
struct Unit {
    /// None while it waits to be given out again.
    carrier: Option<Carrier>,
    copy: Option<Carrier>,
    /// Lanes that had a copy which another one replaced.
    tried: Vec<u64>,
    bytes: u64,
    content: UnitContent,
}

/// Who carries a unit, and since when.
#[derive(Clone, Copy, Debug)]
struct Carrier {
    lane: u64,
    given_ms: u64,
    progress: Progress,
}

#[derive(Clone, Debug)]
pub(crate) enum UnitContent {
    Pack(Vec<(u64, u64)>),
    Piece { entry: u64, range: Range<u64> },
}

impl Units {
    pub(crate) fn has_room(&self, window: u64, bytes: u64) -> bool {
        self.open.is_empty() || self.bytes + bytes <= window
    }

    pub(crate) fn open(&mut self, lane: u64, bytes: u64, content: UnitContent) -> u64 {
        let number = self.next;
        self.next += 1;
        self.bytes += bytes;
        let carrier = Some(self.give(number, lane));
        self.open.insert(number, Unit { carrier, copy: None, tried: Vec::new(), bytes, content });
        number
    }

    /// A unit of a lane that was lost, for another one. Those of entries that are settled are of no use any more.
    pub(crate) fn next_again(&mut self, lane: u64, is_open: impl Fn(u64) -> bool) -> Option<Job> {
        while let Some(number) = self.again.pop_front() {
            // What was acknowledged meanwhile is gone.
            let Some(unit) = self.open.get(&number) else { continue };
            if !unit.content.is_wanted(&is_open) {
                self.remove(number);
                continue;
            }
            let job = unit.content.to_job(number);
            let carrier = self.give(number, lane);
            self.open.get_mut(&number)?.carrier = Some(carrier);
            return Some(job);
        }
        None
    }

    /// Whether a lane has been silent long enough to be doubted.
    pub(crate) fn is_suspect(&self, lane: u64) -> bool {
        self.lanes.get(&lane).is_some_and(|watch| watch.is_suspect(self.now_ms))
    }

    /// Bytes of units that this lane alone carried and that were acknowledged.
    pub(crate) fn bytes_acknowledged(&self, lane: u64) -> u64 {
        self.lanes.get(&lane).map_or(0, |watch| watch.bytes)
    }

    /// Whether a lane may be given more: one that is suspect gets a unit at a time, to show that it lives.
    pub(crate) fn may_carry(&self, lane: u64) -> bool {
        !self.is_suspect(lane) || self.lanes.get(&lane).is_none_or(LaneWatch::is_idle)
    }

    /// A copy, for this lane, of what a lane that is suspect carries.
    pub(crate) fn rescue(&mut self, lane: u64, is_open: impl Fn(u64) -> bool) -> Option<Job> {
        if !self.lanes.values().any(|watch| watch.is_suspect(self.now_ms)) {
            return None;
        }
        self.copy(lane, is_open, |units, carrier| {
            units.age(carrier) >= COPY_AFTER_MS && units.is_suspect(carrier.lane)
        })
    }

    /// A copy, for this lane that has nothing else to do, of what a much slower one carries.
    pub(crate) fn help(&mut self, lane: u64, is_open: impl Fn(u64) -> bool) -> Option<Job> {
        let known_ms = self.lanes.get(&lane).and_then(LaneWatch::round_ms_next);
        let round_ms = known_ms.unwrap_or(ROUND_UNKNOWN_MS);
        let after_ms = COPY_AFTER_MS.max(round_ms.saturating_mul(SLOWER));
        self.copy(lane, is_open, |units, carrier| {
            let age_ms = units.age(carrier);
            let its_round_ms = units.lanes.get(&carrier.lane).and_then(LaneWatch::round_ms);
            // What it most likely needs still.
            let left_ms = its_round_ms.unwrap_or(0).saturating_sub(age_ms);
            age_ms >= after_ms || known_ms.is_some() && left_ms >= LAG_MS + round_ms
        })
    }

    fn copy(
        &mut self,
        lane: u64,
        is_open: impl Fn(u64) -> bool,
        is_due: impl Fn(&Self, &Carrier) -> bool,
    ) -> Option<Job> {
        let due = self.open.iter().find(|(_, unit)| {
            let carrier = unit.carrier.as_ref().filter(|carrier| carrier.progress >= Progress::Begun);
            carrier.is_some_and(|carrier| carrier.lane != lane && is_due(self, carrier))
                && (self.has_room_for_copy(unit, lane) || !unit.content.is_wanted(&is_open))
        });
        let (number, unit) = due.map(|(&number, unit)| (number, unit))?;
        if !unit.content.is_wanted(&is_open) {
            // What it would be good for is settled; should it come after all, it is dropped.
            self.remove(number);
            return self.copy(lane, is_open, is_due);
        }
        let job = unit.content.to_job(number);
        // A copy owes nothing: no lane is doubted for what another has had as well.
        let copy = Carrier { lane, given_ms: self.now_ms, progress: Progress::Given };
        let unit = self.open.get_mut(&number)?;
        match unit.copy.replace(copy) {
            Some(replaced) if unit.tried.contains(&replaced.lane) => {}
            Some(replaced) => unit.tried.push(replaced.lane),
            None => self.copies += 1,
        }
        Some(job)
    }

    /// Whether a unit may have its copy on this lane: as one of few, or instead of one that got no further. Lanes that
    /// are not doubted come first, and none gets the same again before the others had their turn.
    fn has_room_for_copy(&self, unit: &Unit, lane: u64) -> bool {
        let had_ms = match (&unit.copy, &unit.carrier) {
            (Some(copy), _) if self.age(copy) >= SUSPECT_MS => self.age(copy),
            (None, Some(carrier)) if self.copies < COPIES_MAX => self.age(carrier),
            _ => return false,
        };
        let had_it = unit.tried.contains(&lane) || unit.copy.is_some_and(|copy| copy.lane == lane);
        let turns = u64::from(self.is_suspect(lane)) + 2 * u64::from(had_it);
        had_ms >= turns * 2 * SUSPECT_MS
    }

    /// A unit comes this far on a lane.
    pub(crate) fn progress(&mut self, number: u64, lane: u64, progress: Progress) {
        let Some(unit) = self.open.get_mut(&number) else { return };
        let on_lane = |carrier: &&mut Carrier| carrier.lane == lane && carrier.progress < progress;
        if let Some(carrier) = unit.carrier.as_mut().filter(on_lane) {
            let before = std::mem::replace(&mut carrier.progress, progress);
            let watch = self.lanes.entry(lane).or_default();
            progress
                .steps()
                .filter(|step| *step > before)
                .for_each(|step| watch.count(number, step, self.now_ms));
        } else if let Some(copy) = unit.copy.as_mut().filter(on_lane) {
            copy.progress = progress;
        }
    }

    /// A lane took bytes.
    pub(crate) fn moved(&mut self, lane: u64) {
        let now_ms = self.now_ms;
        if let Some(watch) = self.lanes.get_mut(&lane) {
            watch.moved(now_ms);
        }
    }

    /// The receiver has these units: how many bytes of content of them were new.
    pub(crate) fn acknowledge(&mut self, numbers: Range<u64>) -> u64 {
        let numbers: Vec<u64> = self.open.range(numbers).map(|(&number, _)| number).collect();
        numbers.into_iter().filter_map(|number| self.acknowledge_one(number)).sum()
    }

    fn acknowledge_one(&mut self, number: u64) -> Option<u64> {
        let unit = self.remove(number)?;
        let now_ms = self.now_ms;
        if now_ms.saturating_sub(self.acknowledged_ms) > PAUSE_MS {
            self.at_work_since_ms = now_ms;
        }
        self.acknowledged_ms = now_ms;
        let Some(carrier) = unit.carrier else { return Some(unit.bytes) };
        if let Some(watch) = self.lanes.get_mut(&carrier.lane)
            && unit.copy.is_none()
        {
            watch.acknowledged(unit.bytes, carrier.given_ms, now_ms);
        }
        let by = unit.copy.unwrap_or(carrier);
        // Either lane may have brought it; but what the first had brought before a pause is worked off soon after it.
        let backlog_ms = if unit.copy.is_some() { BACKLOG_MS } else { 0 };
        if by.given_ms >= self.at_work_since_ms + backlog_ms {
            for (_, watch) in self.lanes.iter_mut().filter(|(lane, _)| **lane != by.lane) {
                watch.overtake(by.given_ms, now_ms);
            }
        }
        Some(unit.bytes)
    }

    /// A lane could not be given a unit, because it cannot be read: the content that is not sent, unless another lane
    /// has it.
    pub(crate) fn fail(&mut self, number: u64, lane: u64) -> Option<UnitContent> {
        let unit = self.open.get_mut(&number)?;
        if unit.copy.is_some_and(|copy| copy.lane == lane) {
            unit.copy = None;
            self.copies -= 1;
            return None;
        }
        if unit.carrier.is_none_or(|carrier| carrier.lane != lane) {
            return None;
        }
        self.remove(number).map(|unit| unit.content)
    }

    /// A lane is gone: what it alone carried goes out again.
    pub(crate) fn lane_lost(&mut self, lane: u64) {
        if self.lanes.remove(&lane).is_none() && self.copies == 0 {
            return;
        }
        for (&number, unit) in &mut self.open {
            if unit.copy.is_some_and(|copy| copy.lane == lane) {
                unit.copy = None;
                self.copies -= 1;
            }
            if unit.carrier.is_some_and(|carrier| carrier.lane == lane) {
                unit.carrier = unit.copy.take();
                match unit.carrier {
                    Some(copy) => {
                        self.copies -= 1;
                        let watch = self.lanes.entry(copy.lane).or_default();
                        copy.progress.steps().for_each(|step| watch.count(number, step, self.now_ms));
                    }
                    None => self.again.push_back(number),
                }
            }
        }
    }

    /// Lanes that are silent while the receiver is at work.
    pub(crate) fn silent_lanes(&self) -> Vec<u64> {
        let silent = self.lanes.iter().filter(|(_, watch)| watch.is_silent(self.now_ms));
        silent.map(|(&lane, _)| lane).collect()
    }

    fn give(&mut self, number: u64, lane: u64) -> Carrier {
        self.lanes.entry(lane).or_default().count(number, Progress::Given, self.now_ms);
        Carrier { lane, given_ms: self.now_ms, progress: Progress::Given }
    }

    fn remove(&mut self, number: u64) -> Option<Unit> {
        let unit = self.open.remove(&number)?;
        self.bytes -= unit.bytes;
        self.copies -= usize::from(unit.copy.is_some());
        if let Some(carrier) = unit.carrier
            && let Some(watch) = self.lanes.get_mut(&carrier.lane)
        {
            watch.forget(number, carrier.progress, self.now_ms);
        }
        Some(unit)
    }

    fn age(&self, carrier: &Carrier) -> u64 {
        self.now_ms.saturating_sub(carrier.given_ms)
    }
}

impl UnitContent {
    fn is_wanted(&self, is_open: impl Fn(u64) -> bool) -> bool {
        match self {
            Self::Pack(files) => files.iter().any(|(entry, _)| is_open(*entry)),
            Self::Piece { entry, .. } => is_open(*entry),
        }
    }

    fn to_job(&self, unit: u64) -> Job {
        match self.clone() {
            Self::Pack(files) => Job::Pack { unit, files },
            Self::Piece { entry, range } => Job::Piece { unit, entry, range },
        }
    }
}

/// A receiver that acknowledges nothing for longer may have paused, and what it acknowledges next comes in any order.
const PAUSE_MS: u64 = 5_000;
/// How long a receiver may work, after a pause, on what had come before.
const BACKLOG_MS: u64 = 2_000;
/// A unit that is younger is not copied, unless its lane is known to lag: what it waits for is on its way, most likely.
const COPY_AFTER_MS: u64 = 500;
/// A lane that needs no longer for a unit, or no longer than another, holds nothing up that anyone would notice.
const LAG_MS: u64 = 500;
/// What a lane is taken to need that has not carried anything yet.
const ROUND_UNKNOWN_MS: u64 = 4_000;
/// How many times as long a slow lane needs for a unit as a quick one.
const SLOWER: u64 = 2;
