//! What a sender knows of one lane: whether it is silent, while the receiver is at work (spec/wire.md, "Silence and loss").
//!
//! Times are milliseconds since some moment that the driver chose.

use std::collections::BTreeMap;

use sft_base::limits::SILENCE_MAX_MS;

/// One lane that carries units of a transfer.
#[derive(Debug, Default)]
pub(crate) struct LaneWatch {
    /// Units given to it that are not acknowledged, and when they were given.
    given_ms: BTreeMap<u64, u64>,
    /// Those of them whose content it was handed.
    begun: usize,
    /// Those of them that it has taken whole.
    taken: usize,
    waiting: Option<Waiting>,
    /// Time from giving to acknowledging, of the last unit that no other lane carried.
    round_ms: Option<u64>,
    /// The least that this ever was: without what waits before it on the same lane.
    round_least_ms: Option<u64>,
    /// Bytes of units that it alone carried and that were acknowledged.
    pub(crate) bytes: u64,
}

/// How far a lane has come with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Progress {
    /// Its content is being read; the lane knows nothing of it.
    Given,
    /// The lane was handed it.
    Begun,
    /// The lane has taken its last byte.
    Taken,
}

impl Progress {
    /// All that a unit went through to come so far.
    pub(crate) fn steps(self) -> impl Iterator<Item = Self> {
        [Self::Given, Self::Begun, Self::Taken].into_iter().filter(move |step| *step <= self)
    }
}

/// A lane that owes a sign of life.
#[derive(Debug)]
struct Waiting {
    since_ms: u64,
    /// Since when it has owed nothing again, without having given a sign.
    paused_ms: Option<u64>,
    /// When the receiver acknowledged what was given to another lane after this one had been suspect.
    overtaken_ms: Option<u64>,
}

impl LaneWatch {
    /// A unit comes this far on the lane.
    pub(crate) fn count(&mut self, unit: u64, progress: Progress, now_ms: u64) {
        match progress {
            Progress::Given => {
                self.given_ms.insert(unit, now_ms);
            }
            Progress::Begun => {
                self.begun += 1;
                let waiting = self.waiting.get_or_insert(Waiting {
                    since_ms: now_ms,
                    paused_ms: None,
                    overtaken_ms: None,
                });
                if let Some(paused_ms) = waiting.paused_ms.take() {
                    waiting.since_ms += now_ms.saturating_sub(paused_ms);
                    waiting.overtaken_ms = None;
                }
            }
            Progress::Taken => self.taken += 1,
        }
    }

    /// A unit that had come so far is not the lane's any more. The lane may owe nothing now, but gave no sign either.
    pub(crate) fn forget(&mut self, unit: u64, progress: Progress, now_ms: u64) {
        self.given_ms.remove(&unit);
        self.begun -= usize::from(progress >= Progress::Begun);
        self.taken -= usize::from(progress == Progress::Taken);
        if let Some(waiting) = &mut self.waiting
            && self.begun == 0
        {
            waiting.paused_ms.get_or_insert(now_ms);
        }
    }

    /// A unit of so many bytes that was given at `given_ms`, and to no other lane, was acknowledged: it lives, for certain.
    pub(crate) fn acknowledged(&mut self, bytes: u64, given_ms: u64, now_ms: u64) {
        self.bytes += bytes;
        let round_ms = now_ms.saturating_sub(given_ms);
        self.round_ms = Some(round_ms);
        self.round_least_ms = Some(self.round_least_ms.map_or(round_ms, |least| least.min(round_ms)));
        self.lives(now_ms);
    }

    /// Whether it carries nothing that is not acknowledged.
    pub(crate) fn is_idle(&self) -> bool {
        self.given_ms.is_empty()
    }

    /// How long it takes from giving to acknowledging a unit; none while none was acknowledged.
    pub(crate) fn round_ms(&self) -> Option<u64> {
        self.round_ms
    }

    /// How long a unit takes that is given now: without waiting if there is nothing before it. None while none was
    /// acknowledged.
    pub(crate) fn round_ms_next(&self) -> Option<u64> {
        if self.is_idle() { self.round_least_ms } else { self.round_ms }
    }

    fn lives(&mut self, now_ms: u64) {
        self.waiting =
            (self.begun > 0).then_some(Waiting { since_ms: now_ms, paused_ms: None, overtaken_ms: None });
    }

    /// Bytes left this end. Behind a unit that was taken whole they may only fill buffers on the way, and prove nothing.
    pub(crate) fn moved(&mut self, now_ms: u64) {
        if self.taken == 0 {
            self.lives(now_ms);
        }
    }

    /// The receiver acknowledged what was given to another lane at `given_ms`.
    pub(crate) fn overtake(&mut self, given_ms: u64, now_ms: u64) {
        if self.begun > 0
            && self.is_suspect(given_ms)
            && let Some(waiting) = &mut self.waiting
        {
            waiting.overtaken_ms.get_or_insert(now_ms);
        }
    }

    /// Whether it has been silent long enough to be doubted.
    pub(crate) fn is_suspect(&self, now_ms: u64) -> bool {
        self.silence_ms(now_ms) >= SUSPECT_MS
    }

    /// Whether it may be given up.
    pub(crate) fn is_silent(&self, now_ms: u64) -> bool {
        let overtaken_ms = self.waiting.as_ref().and_then(|waiting| waiting.overtaken_ms);
        // After a pause the receiver acknowledges much at once, in any order: this lane's units may be next.
        overtaken_ms.is_some_and(|at| now_ms.saturating_sub(at) >= OVERTAKEN_MS)
            && self.begun > 0
            && self.silence_ms(now_ms) >= SILENCE_MAX_MS
    }

    fn silence_ms(&self, now_ms: u64) -> u64 {
        let silence = |waiting: &Waiting| {
            waiting.paused_ms.unwrap_or(now_ms).min(now_ms).saturating_sub(waiting.since_ms)
        };
        self.waiting.as_ref().map_or(0, silence)
    }
}

/// Half of what makes a lane silent.
pub(crate) const SUSPECT_MS: u64 = SILENCE_MAX_MS / 2;
/// How long a lane has to answer once another has overtaken it.
const OVERTAKEN_MS: u64 = 1_000;
