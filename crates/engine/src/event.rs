//! What a transfer tells while it runs, and what it leaves behind. Nothing here prints.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sft_base::EntryPath;
use sft_lane::Transport;
use sft_wire::WireError;
use tokio::sync::mpsc;

use crate::attribution::{Shares, Times, Wait};

/// Something that happened in a transfer; counts that change all the time are in [`Counters`].
#[derive(Clone, Debug)]
pub enum Event {
    /// An entry was not transferred; the rest goes on.
    Failed {
        /// Where it would have landed, below the destination.
        path: EntryPath,
        /// Why.
        error: WireError,
    },
    /// An entry was transferred, but for one attribute.
    Unapplied {
        /// Where it landed, below the destination.
        path: EntryPath,
        /// Which attribute.
        attribute: String,
        /// Why.
        error: WireError,
    },
    /// A lane came up.
    LaneUp {
        /// What it runs on.
        transport: Transport,
    },
    /// A lane was lost; what was on its way there goes by another.
    LaneDown {
        /// What it ran on.
        transport: Transport,
        /// Why.
        reason: String,
    },
    /// The client is connected, and the transfer begins: nobody is asked for anything any more.
    Connected {
        /// Since when.
        at: Instant,
    },
    /// All lanes were lost; the client dials again.
    Reconnecting {
        /// Since when.
        silent: Duration,
        /// Why.
        reason: String,
    },
    /// The client is connected again, and goes on.
    Reconnected,
    /// Nothing moved for some time.
    Stalled {
        /// Since when.
        since: Instant,
        /// Who is waited for.
        blame: Blame,
    },
    /// What had stalled goes on.
    Moving,
    /// The transfer is over; what is asked about it afterwards is no part of its time.
    Over {
        /// Since when.
        at: Instant,
    },
    /// The server has said what its end of the transfer that is over waited for.
    FarTimes {
        /// For how long.
        shares: Shares,
    },
}

/// Who is waited for when nothing moves, as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blame {
    /// This machine.
    Here {
        /// What of it.
        wait: Wait,
        /// What is read or written.
        path: Option<EntryPath>,
    },
    /// The server.
    Server {
        /// What of it.
        wait: Wait,
    },
    /// The network: both ends wait for each other, and questions get through.
    Network,
    /// The network, or a server that has come to a stop: nothing is heard of it.
    Silence,
    /// The server or the network: it answers, and cannot say more.
    Other,
}

/// Counts of a running transfer, read by whoever shows progress.
#[derive(Debug, Default)]
pub struct Counters {
    /// Entries the sender has found and offered.
    pub entries_offered: AtomicU64,
    /// Bytes of the files among them.
    pub bytes_offered: AtomicU64,
    /// Whether scanning has ended (1), so that the two above are totals.
    pub offers_complete: AtomicU64,
    /// Entries settled: committed, unchanged or failed.
    pub entries_settled: AtomicU64,
    /// Entries published, by every attempt that was made.
    pub entries_committed: AtomicU64,
    /// Attributes that could not be set, in every attempt that was made.
    pub unapplied: AtomicU64,
    /// Bytes of data that need not be moved: in place already, or held from an earlier transfer.
    pub bytes_kept: AtomicU64,
    /// Bytes of data moved and verified.
    pub bytes_moved: AtomicU64,
    /// Bytes of data that went over QUIC in every attempt that was made, those included that were lost on the way.
    pub bytes_quic: AtomicU64,
    /// The same over TCP.
    pub bytes_tcp: AtomicU64,
    /// What was waited for, in every attempt that was made.
    pub times: Times,
}

/// Where a transfer tells what happens. Never blocks: what nobody fetches in time is dropped, but for what
/// [`Summary`] keeps.
#[derive(Clone, Debug)]
pub struct EventSink {
    counters: Arc<Counters>,
    events: mpsc::Sender<Event>,
}

/// How a transfer ended.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Entries published.
    pub committed: u64,
    /// Entries that were in place already.
    pub unchanged: u64,
    /// Entries that failed, those that could not be offered included.
    pub failed: u64,
    /// The first [`Summary::FAILURES_KEPT`] failures.
    pub failures: Vec<(EntryPath, WireError)>,
    /// Attributes that could not be set.
    pub unapplied: u64,
    /// The first of them: path, attribute, why.
    pub unapplied_kept: Vec<(EntryPath, String, WireError)>,
}

impl EventSink {
    /// A sink and the end from which to read.
    pub fn new() -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        (Self { counters: Arc::default(), events }, receiver)
    }

    /// The counts, to read while the transfer runs.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Tells an event; drops it when nobody reads.
    pub fn tell(&self, event: Event) {
        // A full or closed channel means that nobody looks, which is not the transfer's concern.
        let _ = self.events.try_send(event);
    }

    pub(crate) fn add(&self, counter: impl Fn(&Counters) -> &AtomicU64, amount: u64) {
        counter(&self.counters).fetch_add(amount, Ordering::Relaxed);
    }
}

impl Summary {
    /// Failures kept by name; the rest is only counted, so that memory does not grow with them.
    pub const FAILURES_KEPT: usize = 1000;

    pub(crate) fn add_failure(&mut self, path: EntryPath, error: WireError) {
        self.failed += 1;
        if self.failures.len() < Self::FAILURES_KEPT {
            self.failures.push((path, error));
        }
    }

    pub(crate) fn add_unapplied(&mut self, path: EntryPath, attribute: String, error: WireError) {
        self.unapplied += 1;
        if self.unapplied_kept.len() < Self::FAILURES_KEPT {
            self.unapplied_kept.push((path, attribute, error));
        }
    }
}

const EVENTS_MAX: usize = 4096;
