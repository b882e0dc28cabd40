//! How much the data lanes of a session carry one way, from memory to memory (spec/wire.md, "Requests", measure).
//!
//! What travels is filler, which whoever gets it counts and drops. It says nothing of disks, nor of hashing.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sft_base::limits;
use sft_lane::DataSender;
use sft_wire::message::frame;
use sft_wire::{Code, WireError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::Link;

/// What a measurement came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Bytes of filler.
    pub bytes: u64,
    /// In this time.
    pub took: Duration,
}

/// The measurements of one session.
#[derive(Debug, Default)]
pub(crate) struct Measures {
    /// Bytes of filler that came.
    came: AtomicU64,
    begun: AtomicU64,
    at_work: AtomicBool,
}

/// Leave for one measurement, until it is dropped.
#[derive(Debug)]
pub struct MeasureTurn {
    link: Link,
    _who: Measuring,
    _place: OwnedSemaphorePermit,
}

/// Who has something measured, until it is dropped.
#[derive(Debug)]
struct Measuring(String);

/// Filler that comes, counted.
#[derive(Debug)]
pub struct Counting {
    link: Link,
    before: u64,
    begun: Instant,
    /// When something was there for the first time, and how much; and when it was more for the last time.
    first: Option<(Instant, u64)>,
    last: (Instant, u64),
}

impl Measures {
    pub(crate) fn came(&self, bytes: usize) {
        self.came.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Link {
    /// Leave for a peer of this identity to have something measured.
    ///
    /// - Errors: `busy` while another measurement is under way in this session or for `who`, or too many in this process;
    ///   `limit` when the session has had [`limits::MEASURES_MAX`].
    pub fn begin_measure(&self, who: &str) -> Result<MeasureTurn, WireError> {
        let measures = self.measures();
        if measures.begun.load(Ordering::Relaxed) >= limits::MEASURES_MAX {
            let text = format!("a session has {} measurements and no more", limits::MEASURES_MAX);
            return Err(Code::LIMIT.because(text));
        }
        let busy = || Code::BUSY.because("another measurement is under way; try again in a few seconds");
        let who = Measuring::begin(who).ok_or_else(busy)?;
        let place = PLACES.clone().try_acquire_owned().map_err(|_| busy())?;
        if measures.at_work.swap(true, Ordering::Relaxed) {
            return Err(busy());
        }
        measures.begun.fetch_add(1, Ordering::Relaxed);
        Ok(MeasureTurn { link: self.clone(), _who: who, _place: place })
    }

    /// Sends filler over all data lanes that are up until the bytes or the time are used up: what the lanes took.
    pub async fn send_filler(&self, bytes: u64, time: Duration) -> Measured {
        let begun = Instant::now();
        let lanes = self.lanes().borrow().clone();
        let (left, taken) = (Arc::new(AtomicU64::new(bytes)), Arc::new(AtomicU64::new(0)));
        let mut senders = JoinSet::new();
        for lane in lanes {
            for _ in 0..lane.sender.parallel().min(PARALLEL_MAX) {
                senders.spawn(send_frames(lane.sender.clone(), left.clone(), taken.clone()));
            }
        }
        // Those that are not done in time are given up.
        let _ = tokio::time::timeout(time, async { while senders.join_next().await.is_some() {} }).await;
        senders.shutdown().await;
        Measured { bytes: taken.load(Ordering::Relaxed), took: begun.elapsed() }
    }

    /// Begins to count the filler that comes.
    pub fn count_filler(&self) -> Counting {
        let (before, begun) = (self.measures().came.load(Ordering::Relaxed), Instant::now());
        Counting { link: self.clone(), before, begun, first: None, last: (begun, 0) }
    }
}

impl Counting {
    /// Counts until the bytes have come or the time is over: what came after the first, and in which time; of what came all at
    /// once, all since the beginning. It may be called again, and goes on.
    pub async fn until(&mut self, bytes: u64, at_most: Duration) -> Measured {
        let end = Instant::now() + at_most;
        loop {
            self.look();
            if self.last.1 >= bytes || Instant::now() >= end {
                return self.measured();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn look(&mut self) {
        let came = self.link.measures().came.load(Ordering::Relaxed) - self.before;
        if came > self.last.1 {
            self.last = (Instant::now(), came);
            self.first.get_or_insert(self.last);
        }
    }

    fn measured(&self) -> Measured {
        let (at, came) = self.last;
        match self.first {
            Some((first_at, first)) if came > first => Measured { bytes: came - first, took: at - first_at },
            _ => Measured { bytes: came, took: at - self.begun },
        }
    }
}

impl Drop for MeasureTurn {
    fn drop(&mut self) {
        self.link.measures().at_work.store(false, Ordering::Relaxed);
    }
}

impl Measuring {
    /// None while the same identity has something else measured, whatever session that is in.
    fn begin(who: &str) -> Option<Self> {
        let mut all = MEASURING.lock().expect("no holder of this lock panics");
        all.insert(who.to_owned()).then(|| Self(who.to_owned()))
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        MEASURING.lock().expect("no holder of this lock panics").remove(&self.0);
    }
}

/// Sends one frame after the other while there are bytes left.
async fn send_frames(lane: DataSender, left: Arc<AtomicU64>, taken: Arc<AtomicU64>) {
    let takes_all = |left: u64| Some(left.saturating_sub(FRAME_BYTES));
    while let Ok(before) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, takes_all) {
        let bytes = before.min(FRAME_BYTES);
        if bytes == 0 {
            return;
        }
        // What is older goes first, so that whole frames come.
        let priority = (before / FRAME_BYTES).min(i32::MAX as u64) as i32;
        let sent = lane.send(frame::FILLER, Bytes::new(), FILLER.slice(..bytes as usize), priority).await;
        if sent.is_err() {
            return;
        }
        taken.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Nothing below TLS makes it smaller.
static FILLER: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(vec![0; FRAME_BYTES as usize]));
/// Measurements of all sessions at a time.
static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(4)));
/// Identities that have something measured; no more than [`PLACES`].
static MEASURING: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
/// Small enough to come whole over a slow line.
const FRAME_BYTES: u64 = 64 << 10;
/// Frames on their way into one QUIC connection.
const PARALLEL_MAX: usize = 8;
const LOOK_EVERY: Duration = Duration::from_millis(5);
