//! Entries that a receiver has settled and not told of yet; they go out as `commit` (spec/wire.md, "Commit").

use std::collections::VecDeque;

use sft_base::{ByteRanges, limits};

use crate::message::{Commit, EntryFailure, EntryUnapplied, Run};

#[derive(Debug, Default)]
pub(crate) struct Settled {
    pub(crate) committed: ByteRanges,
    pub(crate) unchanged: ByteRanges,
    pub(crate) failed: VecDeque<EntryFailure>,
    pub(crate) unapplied: VecDeque<EntryUnapplied>,
}

impl Settled {
    /// Entries that are settled and not told.
    pub(crate) fn entries(&self) -> usize {
        (self.committed.bytes() + self.unchanged.bytes()) as usize + self.failed.len()
    }

    /// The next `commit`, if there is anything to say.
    pub(crate) fn next(&mut self, transfer: u64) -> Option<Commit> {
        let unapplied = drain_deque(&mut self.unapplied, FAILURES_MAX);
        // What could not be set is said no later than that the entry is settled.
        let page = if self.unapplied.is_empty() { limits::PAGE_ENTRIES_MAX } else { 0 };
        let committed = take_runs(&mut self.committed, page);
        let unchanged = take_runs(&mut self.unchanged, page);
        let failed = drain_deque(&mut self.failed, FAILURES_MAX.min(page));
        if committed.is_empty() && unchanged.is_empty() && failed.is_empty() && unapplied.is_empty() {
            return None;
        }
        Some(Commit { transfer, committed, unchanged, failed, unapplied })
    }
}

/// Adds a number to a list of runs, to the last run if it follows it.
pub(crate) fn push_run(runs: &mut Vec<Run>, number: u64) {
    match runs.last_mut() {
        Some(run) if run.first + run.count == number => run.count += 1,
        _ => runs.push(Run { first: number, count: 1 }),
    }
}

/// Takes up to `max` runs out of a set of numbers.
pub(crate) fn take_runs(set: &mut ByteRanges, max: usize) -> Vec<Run> {
    let runs: Vec<Run> =
        set.iter().take(max).map(|r| Run { first: r.start, count: r.end - r.start }).collect();
    runs.iter().for_each(|run| set.remove(run.numbers()));
    runs
}

fn drain_deque<T>(list: &mut VecDeque<T>, max: usize) -> Vec<T> {
    let count = list.len().min(max);
    list.drain(..count).collect()
}

/// Failures in one `commit`: with texts of the greatest length they fill half of a control frame.
const FAILURES_MAX: usize = 100;
