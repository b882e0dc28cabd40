//! How far a copy is: a bar on a terminal while it runs, an object a second for who reads JSON, and the last line.
//!
//! What a bar says is made by pure functions of a [`Snapshot`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sft_client::{Counters, Summary};

use crate::amount::{Bytes, Clock, Count, Rate, Took};

/// The counts of a copy at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Entries found so far, and whether that is all.
    pub entries: u64,
    /// Bytes of the files among them.
    pub bytes: u64,
    /// Whether the two above are totals.
    pub complete: bool,
    /// Entries settled.
    pub settled: u64,
    /// Bytes that need not be moved.
    pub kept: u64,
    /// Bytes moved and verified.
    pub moved: u64,
    /// Bytes that went over QUIC in all attempts, with those that were lost on the way.
    pub quic: u64,
    /// Bytes that went over TCP in all attempts, with those that were lost on the way.
    pub tcp: u64,
}

/// Bytes a second, smoothed over the last seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speed {
    at: Instant,
    moved: u64,
    rate: Option<f64>,
}

/// A bar on stderr, gone when dropped.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    speed: Speed,
}

impl Snapshot {
    /// Reads the counters of a running transfer.
    pub(crate) fn of(counters: &Arc<Counters>) -> Self {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            // Before the totals: read the other way round, a scan that ends in between would look complete and be short.
            complete: read(&counters.offers_complete) > 0,
            entries: read(&counters.entries_offered),
            bytes: read(&counters.bytes_offered),
            settled: read(&counters.entries_settled),
            kept: read(&counters.bytes_kept),
            moved: read(&counters.bytes_moved),
            quic: read(&counters.bytes_quic),
            tcp: read(&counters.bytes_tcp),
        }
    }

    /// Bytes that need no more work.
    fn done(&self) -> u64 {
        self.kept.saturating_add(self.moved).min(self.bytes)
    }

    /// A bar and what stands beside it, as much as a terminal of so many columns shows in one line.
    fn line(&self, rate: f64, columns: usize) -> String {
        let open = if self.complete { "" } else { "+" };
        let left = self.bytes - self.done();
        let eta = if self.complete && rate >= 1.0 {
            format!("  {} left", Clock(Duration::from_secs((left as f64 / rate).ceil() as u64)))
        } else {
            String::new()
        };
        let amount = format!("{} of {}{open}", Bytes(self.done()), Bytes(self.bytes));
        let speed = format!("{amount}  {}{eta}", Rate(rate));
        let all = format!("{speed}  {} of {}{open} entries", Count(self.settled), Count(self.entries));
        // In the last column some terminals begin a new line.
        let columns = columns.saturating_sub(1);
        let beside = |text: &str| columns.saturating_sub(text.chars().count() + 1);
        if let Some(text) = [&all, &speed].into_iter().find(|text| beside(text) >= BAR_LEAST) {
            return format!("{} {text}", self.bar(beside(text).min(BAR_MOST)));
        }
        let fits = |text: &&String| text.chars().count() <= columns;
        let text = [&speed, &amount].into_iter().find(fits).unwrap_or(&amount);
        text.chars().take(columns).collect()
    }

    /// What stands there instead while nothing moves.
    fn stalled_line(&self, silent: Duration, whom: &str, columns: usize) -> String {
        let line = format!(
            "{} of {}: nothing has moved for {} s: waiting for {whom}",
            Bytes(self.done()),
            Bytes(self.bytes),
            silent.as_secs()
        );
        line.chars().take(columns.saturating_sub(1)).collect()
    }

    /// `=====>    `
    fn bar(&self, width: usize) -> String {
        let part = u128::from(self.done()) * width as u128 / u128::from(self.bytes.max(1));
        let filled = (part as usize).min(width);
        let tip = if filled < width { ">" } else { "" };
        format!("{:<width$}", "=".repeat(filled) + tip)
    }

    /// Over which transports the bytes went, such as `over QUIC` or `over TCP and QUIC (3 %)`.
    fn lanes(&self) -> String {
        let percent = |part: u64| (part as f64 * 100.0 / (self.quic + self.tcp) as f64).round().max(1.0);
        match (self.quic, self.tcp) {
            (0, 0) => String::new(),
            (_, 0) => " over QUIC".into(),
            (0, _) => " over TCP".into(),
            (quic, tcp) if quic > tcp => format!(" over QUIC and TCP ({} %)", percent(tcp)),
            (quic, _) => format!(" over TCP and QUIC ({} %)", percent(quic)),
        }
    }

    /// The last line of a copy: how much, how long, how fast, over what, and that it was verified.
    pub(crate) fn last_line(&self, summary: &Summary, took: Duration) -> String {
        let moved = self.moved;
        let rate = Rate(moved as f64 / took.as_secs_f64().max(1e-9));
        let mut parts = vec![format!("{} copied", entries(summary.committed))];
        if summary.unchanged > 0 {
            parts.push(format!("{} unchanged", Count(summary.unchanged)));
        }
        if summary.failed > 0 {
            parts.push(format!("{} FAILED", Count(summary.failed)));
        }
        let speed = if moved > 0 { format!(" ({rate})") } else { String::new() };
        let kept =
            if self.kept > 0 { format!(", {} were in place", Bytes(self.kept)) } else { String::new() };
        let verified = if summary.committed > 0 && moved > 0 { ", verified" } else { "" };
        format!(
            "{}: {} in {}{speed}{}{kept}{verified}",
            parts.join(", "),
            Bytes(moved),
            Took(took),
            self.lanes()
        )
    }
}

impl Speed {
    /// Begins to measure.
    pub(crate) fn new(now: Instant) -> Self {
        Self { at: now, moved: 0, rate: None }
    }

    /// Takes note of the bytes moved by now; the rate.
    pub(crate) fn update(&mut self, moved: u64, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        if elapsed >= 0.05 {
            // A dial after a loss counts anew: then nothing was moved rather than less than nothing.
            let current = moved.saturating_sub(self.moved) as f64 / elapsed;
            let weight = 1.0 - (-elapsed / SMOOTHING_S).exp();
            let rate = self.rate.map_or(current, |rate| rate + (current - rate) * weight);
            *self = Self { at: now, moved, rate: Some(rate) };
        }
        self.rate.unwrap_or(0.0)
    }
}

impl Bar {
    /// Draws a bar.
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template("{msg}").expect("the template is valid"));
        Self { bar, speed: Speed::new(Instant::now()) }
    }

    /// Draws the bar anew; with how long nothing has moved and who is waited for, if that is so.
    pub(crate) fn update(&mut self, snapshot: &Snapshot, stalled: Option<(Duration, &str)>) {
        let rate = self.speed.update(snapshot.quic + snapshot.tcp, Instant::now());
        self.bar.set_message(match stalled {
            Some((silent, whom)) => snapshot.stalled_line(silent, whom, columns()),
            None => snapshot.line(rate, columns()),
        });
        self.bar.tick();
    }

    /// Says something above the bar.
    pub(crate) fn say(&self, say: impl FnOnce()) {
        self.bar.suspend(say);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn entries(count: u64) -> String {
    if count == 1 { "1 entry".into() } else { format!("{} entries", Count(count)) }
}

/// How wide the terminal is.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(80)
}

const SMOOTHING_S: f64 = 3.0;
const BAR_MOST: usize = 24;
const BAR_LEAST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Snapshot = Snapshot {
        entries: 12_000,
        bytes: 4_000_000_000,
        complete: true,
        settled: 1_500,
        kept: 500_000_000,
        moved: 1_500_000_000,
        quic: 0,
        tcp: 1_500_000_000,
    };

    #[test]
    fn the_line_beside_the_bar() {
        let text = "2.00 GB of 4.00 GB  100 MB/s  0:20 left  1,500 of 12,000 entries";
        let cases = [
            (200, format!("============>            {text}")),
            (80, format!("=======>       {text}")),
            (60, "=========>          2.00 GB of 4.00 GB  100 MB/s  0:20 left".into()),
            (40, "2.00 GB of 4.00 GB  100 MB/s  0:20 left".into()),
            (39, "2.00 GB of 4.00 GB".into()),
            (9, "2.00 GB ".into()),
            (0, String::new()),
        ];
        for (columns, line) in cases {
            assert_eq!(HALF.line(100e6, columns), line, "{columns}");
        }
        let beside = |snapshot: Snapshot, rate| snapshot.line(rate, 200)[BAR_MOST + 1..].to_owned();
        let scanning = Snapshot { complete: false, ..HALF };
        assert_eq!(beside(scanning, 100e6), "2.00 GB of 4.00 GB+  100 MB/s  1,500 of 12,000+ entries");
        assert_eq!(beside(HALF, 0.0), "2.00 GB of 4.00 GB  0 B/s  1,500 of 12,000 entries");
        let nothing = Snapshot::default().line(0.0, 200);
        assert_eq!(nothing, format!("{:<24} 0 B of 0 B+  0 B/s  0 of 0+ entries", ">"));
        let all = Snapshot { moved: 3_500_000_000, ..HALF };
        assert_eq!(all.bar(8), "========");
    }

    #[test]
    fn the_line_of_a_copy_that_stands_still() {
        let line =
            |columns| HALF.stalled_line(Duration::from_secs(14), "the server's disk (writing)", columns);
        let all = "2.00 GB of 4.00 GB: nothing has moved for 14 s: waiting for the server's disk (writing)";
        assert_eq!(line(100), all);
        assert_eq!(line(30), all[..29]);
    }

    #[test]
    fn the_last_line() {
        let summary =
            |committed, unchanged, failed| Summary { committed, unchanged, failed, ..Summary::default() };
        let took = Duration::from_secs(10);
        assert_eq!(
            HALF.last_line(&summary(12_000, 0, 0), took),
            "12,000 entries copied: 1.50 GB in 10.0 s (150 MB/s) over TCP, 500 MB were in place, verified"
        );
        let mixed = Snapshot { quic: 500_000_000, ..HALF };
        assert_eq!(
            mixed.last_line(&summary(1, 3, 2), took),
            "1 entry copied, 3 unchanged, 2 FAILED: 1.50 GB in 10.0 s (150 MB/s) over TCP and QUIC (25 %), 500 MB were in place, verified"
        );
        let nothing = Snapshot { moved: 0, tcp: 0, ..HALF };
        assert_eq!(
            nothing.last_line(&summary(0, 7, 0), Duration::from_millis(40)),
            "0 entries copied, 7 unchanged: 0 B in 40 ms, 500 MB were in place"
        );
    }

    #[test]
    fn speed_follows_and_never_turns_negative() {
        let start = Instant::now();
        let mut speed = Speed::new(start);
        assert_eq!(speed.update(10, start), 0.0, "no time, no rate");
        let mut rate = 0.0;
        for second in 1..30u64 {
            rate = speed.update(second * 1000, start + Duration::from_secs(second));
        }
        assert!((rate - 1000.0).abs() < 1.0, "{rate}");
        rate = speed.update(0, start + Duration::from_secs(30));
        assert!((0.0..1000.0).contains(&rate), "{rate}");
    }

    #[test]
    fn counts_are_read() {
        let counters = Arc::new(Counters::default());
        counters.bytes_offered.store(7, Ordering::Relaxed);
        counters.bytes_moved.store(9, Ordering::Relaxed);
        let snapshot = Snapshot::of(&counters);
        assert_eq!((snapshot.bytes, snapshot.done(), snapshot.complete), (7, 7, false));
    }
}
