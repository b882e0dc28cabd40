//! Notices that a transfer stands still, and finds out who is waited for: this machine, the server, or what is between.
//!
//! A silent hang is the worst answer a program can give. Who is waited for is known from what this end waits for and, where it
//! waits for the other, from what the server says that it waits for itself (spec/wire.md, "times").

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sft_base::{EntryPath, limits};
use sft_engine::{Blame, Counters, Event, EventSink, Shares, Wait};
use sft_lane::Carried;
use sft_wire::message::{Body, Op};

use crate::session::Session;

/// Watches a transfer for as long as the future lives: tells [`Event::Stalled`] when nothing has moved for
/// [`STALLED_AFTER`], again when somebody else is waited for, and [`Event::Moving`] when it goes on. Where both ends wait for
/// what is between, it has another lane brought up.
pub(crate) async fn watch(session: &Session, transfer: u64, events: &EventSink) {
    let mut recent = VecDeque::from([(Instant::now(), Sign::of(session, events.counters(), u64::MAX))]);
    let mut since = Instant::now();
    let mut told = None;
    let (mut doubted, mut patience): (Option<Instant>, _) = (None, STALLED_AFTER);
    // Lanes from this number on have come up since it is known to stand still.
    let mut young = u64::MAX;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let (now, sign) = (Instant::now(), Sign::of(session, events.counters(), young));
        since = last_movement(&recent, &sign).map_or(since, |moved| since.max(moved));
        recent.push_back((now, sign));
        recent.retain(|(at, _)| now - *at <= STALLED_AFTER);
        // What this system still takes while nothing is heard any more gets nobody on.
        let silent = session.link().silence();
        let stood = since.elapsed().max(silent);
        if stood < STALLED_AFTER {
            (doubted, patience, young) = (None, STALLED_AFTER, u64::MAX);
            if told.take().is_some() {
                events.tell(Event::Moving);
            }
            continue;
        }
        if young == u64::MAX {
            young = session.link().bytes_carried().iter().map(|(lane, _)| lane + 1).max().unwrap_or(0);
        }
        let blame = find_out(session, transfer, events.counters(), silent).await;
        if blame == Blame::Network && doubted.is_none_or(|at| at.elapsed() >= patience) {
            session.doubt_lanes();
            patience = if doubted.is_some() { (patience * 2).min(PATIENCE_MAX) } else { patience };
            doubted = Some(Instant::now());
        }
        if told.as_ref() != Some(&blame) {
            let since = Instant::now().checked_sub(stood).unwrap_or(since);
            events.tell(Event::Stalled { since, blame: blame.clone() });
            told = Some(blame);
        }
    }
}

/// Asks the server where the time of a transfer went at its end, and tells [`Event::FarTimes`].
pub(crate) async fn tell_far_times(session: &Session, transfer: u64, events: &EventSink) {
    if let Ok(Far::Waits { shares, .. }) = tokio::time::timeout(ANSWER_WAIT, ask(session, transfer)).await {
        events.tell(Event::FarTimes { shares });
    }
}

/// What moves when a transfer gets on.
struct Sign {
    counts: [u64; 5],
    /// Bytes that each lane has carried, by its number.
    carried: Vec<(u64, u64)>,
}

impl Sign {
    /// What a lane from number `young` on has written may lie in this machine's buffers, which take much from each new one.
    fn of(session: &Session, counters: &Counters, young: u64) -> Self {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = [
            &counters.entries_offered,
            &counters.offers_complete,
            &counters.entries_settled,
            &counters.bytes_kept,
            &counters.bytes_moved,
        ];
        let carried = session.link().bytes_carried();
        let carried =
            carried.into_iter().map(|(lane, bytes)| (lane, certain(bytes, lane >= young))).collect();
        Self { counts: counts.map(read), carried }
    }

    /// Between two looks that are [`STALLED_AFTER`] apart at most; questions whether anyone is there, and answers, do not count.
    fn has_moved_since(&self, earlier: &Self) -> bool {
        let before = |lane| {
            let known = earlier.carried.iter().find(|(other, _)| *other == lane);
            known.map_or(0, |(_, bytes)| *bytes)
        };
        let grown: u64 = self.carried.iter().map(|(lane, bytes)| bytes.saturating_sub(before(*lane))).sum();
        self.counts != earlier.counts || grown >= BYTES_COUNT
    }
}

/// What a lane is known to have carried.
fn certain(bytes: Carried, is_young: bool) -> u64 {
    if is_young { bytes.received } else { bytes.written + bytes.received }
}

/// When something moved for the last time, as far as these looks tell: none if nothing did.
fn last_movement(looks: &VecDeque<(Instant, Sign)>, now: &Sign) -> Option<Instant> {
    looks.iter().rev().find(|(_, sign)| now.has_moved_since(sign)).map(|(at, _)| *at)
}

/// What the server says about a transfer.
enum Far {
    Waits {
        now: Option<Wait>,
        shares: Shares,
    },
    /// It knows no such request, or no such transfer.
    Unknown,
    /// The session is over.
    Gone,
}

async fn find_out(session: &Session, transfer: u64, counters: &Counters, silent: Duration) -> Blame {
    let (own, path) = (counters.times.now(), counters.times.doing());
    // Pings were not answered: another question will not be.
    if silent >= PINGS_LOST {
        return blame(own, path, None);
    }
    let far = tokio::time::timeout(ANSWER_WAIT, ask(session, transfer)).await.ok();
    blame(own, path, far)
}

async fn ask(session: &Session, transfer: u64) -> Far {
    match session.ask(&Op::Times { transfer }).await.next().await {
        Some(Body::Times { now, spent }) => {
            let mut shares = Shares::default();
            for (number, millis) in spent {
                // Something that a later version waits for is not for this client.
                shares.add(Wait::of_number(number).unwrap_or(Wait::Peer), Duration::from_millis(millis));
            }
            Far::Waits { now: Wait::of_number(now), shares }
        }
        Some(_) => Far::Unknown,
        None => Far::Gone,
    }
}

/// Who is waited for; `far` is none where no answer came.
fn blame(own: Wait, path: Option<EntryPath>, far: Option<Far>) -> Blame {
    match (own, far) {
        (Wait::Looking, _) => Blame::Here { wait: own, path: None },
        (Wait::Reading | Wait::Hashing | Wait::Writing, _) => Blame::Here { wait: own, path },
        (Wait::Flushing, _) => Blame::Here { wait: own, path: None },
        (Wait::Peer | Wait::Lanes, Some(Far::Waits { now: Some(Wait::Peer | Wait::Lanes), .. })) => {
            Blame::Network
        }
        (Wait::Peer | Wait::Lanes, Some(Far::Waits { now: Some(wait), .. })) => Blame::Server { wait },
        (Wait::Peer | Wait::Lanes, Some(Far::Waits { now: None, .. } | Far::Unknown)) => Blame::Other,
        (Wait::Peer | Wait::Lanes, Some(Far::Gone) | None) => Blame::Silence,
    }
}

/// How long nothing may move before it is told.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// How long the doubts that follow each other on a network that stays silent may be apart.
const PATIENCE_MAX: Duration = Duration::from_secs(160);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A server that does not answer for so long may be held for out of reach.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// Silence that several pings could not end.
const PINGS_LOST: Duration = Duration::from_millis(limits::PING_AFTER_MS + 3_000);
/// More than what a QUIC connection carries in [`STALLED_AFTER`] while nothing moves: pings, probes, and each second a question
/// of this file and its answer, 3 KiB in all. Less than what the slowest limit lets through in that time.
const BYTES_COUNT: u64 = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_waited_for() {
        let path = || EntryPath::from_typed(b"a/b").unwrap();
        let says = |now| Some(Far::Waits { now: Some(now), shares: Shares::default() });
        let here = |wait, path| Blame::Here { wait, path };
        let cases = [
            (Wait::Reading, says(Wait::Writing), here(Wait::Reading, Some(path()))),
            (Wait::Writing, None, here(Wait::Writing, Some(path()))),
            (Wait::Flushing, None, here(Wait::Flushing, None)),
            (Wait::Looking, Some(Far::Unknown), here(Wait::Looking, None)),
            (Wait::Peer, says(Wait::Flushing), Blame::Server { wait: Wait::Flushing }),
            (Wait::Lanes, says(Wait::Writing), Blame::Server { wait: Wait::Writing }),
            (Wait::Lanes, says(Wait::Peer), Blame::Network),
            (Wait::Peer, says(Wait::Lanes), Blame::Network),
            (Wait::Peer, Some(Far::Unknown), Blame::Other),
            (Wait::Peer, Some(Far::Waits { now: None, shares: Shares::default() }), Blame::Other),
            (Wait::Lanes, None, Blame::Silence),
            (Wait::Peer, Some(Far::Gone), Blame::Silence),
        ];
        for (own, far, expected) in cases {
            assert_eq!(blame(own, Some(path()), far), expected);
        }
    }

    #[test]
    fn a_ping_is_no_movement() {
        let sign = |settled, carried| Sign { counts: [0, 0, settled, 0, 0], carried: vec![(0, carried)] };
        assert!(!sign(1, 1000).has_moved_since(&sign(1, 200)));
        assert!(sign(2, 200).has_moved_since(&sign(1, 200)), "an entry was settled");
        assert!(sign(1, BYTES_COUNT).has_moved_since(&sign(1, 0)), "part of a piece came");
        assert!(!sign(1, 0).has_moved_since(&sign(1, BYTES_COUNT)), "a lane that is lost brings nothing");
        let another = Sign { carried: vec![(1, BYTES_COUNT)], ..sign(1, 0) };
        assert!(another.has_moved_since(&sign(1, BYTES_COUNT)), "another lane does");
    }

    #[test]
    fn what_a_new_lane_takes_into_its_buffers_is_no_movement() {
        let swallowed = Carried { written: 4 << 20, received: 300 };
        let sign = |carried| Sign { counts: [0; 5], carried };
        let before = sign(vec![(0, 5)]);
        assert!(!sign(vec![(0, 5), (1, certain(swallowed, true))]).has_moved_since(&before));
        assert!(sign(vec![(0, 5 + certain(swallowed, false))]).has_moved_since(&before), "one from before");
        let came = Carried { received: BYTES_COUNT, ..swallowed };
        assert!(sign(vec![(0, 5), (1, certain(came, true))]).has_moved_since(&before), "content came");
    }

    /// What moves is so many bytes a second, until 20 seconds have passed; from then on there is only what asks after it.
    fn movement_after_a_stall(rate: u64, seconds: u64) -> u64 {
        let begun = Instant::now();
        let at = |second| begun + Duration::from_secs(second);
        let (mut looks, mut since) = (VecDeque::new(), begun);
        let mut carried = 0;
        for second in 0..seconds {
            carried += if second < 20 { rate } else { 300 };
            let sign = Sign { counts: [0; 5], carried: vec![(0, carried)] };
            since = last_movement(&looks, &sign).map_or(since, |moved| since.max(moved));
            looks.push_back((at(second), sign));
            looks.retain(|(look, _)| at(second) - *look <= STALLED_AFTER);
        }
        (since - begun).as_secs()
    }

    #[test]
    fn questions_never_add_up_to_movement() {
        for rate in [limits::RATE_MIN, 1 << 20] {
            assert!((17..=19).contains(&movement_after_a_stall(rate, 20)), "it moves");
            assert!((17..=19).contains(&movement_after_a_stall(rate, 600)), "it has stood still since");
        }
    }
}
