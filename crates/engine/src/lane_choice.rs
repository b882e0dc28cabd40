//! Which lanes a sender uses when both transports are up: a pure rule over how long the path is and what lanes brought.
//!
//! Measured (bench, profiles `quick` and `wan`): on a short path TCP moves the same with a fraction of the processor time. On
//! a long one QUIC alone fills it, lossy or not; TCP lanes beside it compete with it for the same queue, and the loss that
//! they cause makes both slower: 17 MB/s instead of 21 at 200 Mbit/s, 100 ms and 1 %. But there are networks that slow UDP
//! down. So a TCP lane gets a unit now and then, and if that is quick for one, all lanes are used.

use sft_lane::Transport;

use crate::Manner;

/// What is known of one lane that is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneStanding {
    pub(crate) id: u64,
    pub(crate) transport: Transport,
    /// It is not in doubt.
    pub(crate) is_sound: bool,
    /// Bytes of acknowledged units that it alone carried.
    pub(crate) bytes: u64,
}

/// The choice of one transfer. Times are milliseconds since some moment that the caller chose.
#[derive(Debug)]
pub(crate) struct LaneChoice {
    short_path: bool,
    /// One lane is enough, or all that should be used.
    one_lane: bool,
    next_probe_ms: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// One transport carries all.
    Alone,
    /// It still does, but for one unit on this lane.
    Probing { lane: u64, since: Mark },
    /// Both carry what they can.
    Sharing { since: Mark },
}

/// What both transports had moved at some moment.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at_ms: u64,
    quic: u64,
    tcp: u64,
}

impl LaneChoice {
    /// Nothing is known but the path. Of the transports QUIC alone can leave it to others. Where we slow ourselves down, one lane
    /// does, and that it is slow is no reason to try others.
    pub(crate) fn new(short_path: bool, manner: &Manner) -> Self {
        let one_lane = manner.background || manner.limit.is_some();
        let short_path = short_path && !manner.background;
        Self { short_path, one_lane, next_probe_ms: PROBE_EVERY_MS, state: State::Alone }
    }

    /// The lanes to use now: those of the better transport while one of them is sound, else all.
    pub(crate) fn lanes(&mut self, now_ms: u64, lanes: &[LaneStanding]) -> Vec<u64> {
        self.judge(Mark::of(now_ms, lanes), lanes);
        let better = if self.short_path { Transport::Tcp } else { Transport::Quic };
        let is_better = |lane: &LaneStanding| lane.transport == better;
        if self.one_lane {
            return one(lanes.iter().filter(|lane| is_better(lane)), lanes).into_iter().collect();
        }
        let alone = !matches!(self.state, State::Sharing { .. })
            && lanes.iter().any(|lane| is_better(lane) && lane.is_sound);
        let chosen = lanes.iter().filter(|lane| !alone || is_better(lane));
        chosen.map(|lane| lane.id).collect()
    }

    /// A lane that should be given one unit besides, to learn how quick it is. None while `left`, the bytes that are known
    /// to be left, are so few that the end would wait for it.
    pub(crate) fn probe_due(&self, now_ms: u64, left: u64, lanes: &[LaneStanding]) -> Option<u64> {
        let is_up = |transport| lanes.iter().find(|lane| lane.transport == transport && lane.is_sound);
        let left_ms = u128::from(left) * u128::from(now_ms) / u128::from(Mark::of(now_ms, lanes).quic.max(1));
        let is_due = !self.short_path
            && !self.one_lane
            && matches!(self.state, State::Alone)
            && now_ms >= self.next_probe_ms
            && left_ms >= PROBE_LEFT_MS
            && is_up(Transport::Quic).is_some();
        is_due.then(|| is_up(Transport::Tcp)).flatten().map(|lane| lane.id)
    }

    /// It was given one.
    pub(crate) fn probe_begun(&mut self, lane: u64, now_ms: u64, lanes: &[LaneStanding]) {
        self.state = State::Probing { lane, since: Mark::of(now_ms, lanes) };
    }

    fn judge(&mut self, now: Mark, lanes: &[LaneStanding]) {
        match self.state {
            State::Alone => {}
            State::Probing { lane, since } => {
                let quick = now.tcp_since(since) * PROBE_COUNTS > now.quic_since(since);
                if now.tcp_since(since) > 0 && quick {
                    self.state = State::Sharing { since: now };
                } else if now.tcp_since(since) > 0
                    || now.at_ms >= since.at_ms + PROBE_LASTS_MS
                    || lanes.iter().all(|standing| standing.id != lane)
                {
                    self.rest(now.at_ms);
                }
            }
            State::Sharing { since } if now.at_ms >= since.at_ms + SHARE_MS => {
                if now.quic_since(since) > now.tcp_since(since) {
                    self.rest(now.at_ms);
                } else {
                    self.state = State::Sharing { since: now };
                }
            }
            State::Sharing { .. } => {}
        }
    }

    fn rest(&mut self, now_ms: u64) {
        self.state = State::Alone;
        self.next_probe_ms = now_ms + PROBE_EVERY_MS;
    }
}

/// The one lane of who holds back. QUIC is slow because it yields, or because we want it slow: that makes it no worse, and it tells
/// by itself when it is dead.
fn one<'a>(
    mut better: impl Iterator<Item = &'a LaneStanding> + Clone,
    all: &'a [LaneStanding],
) -> Option<u64> {
    let fit = better.clone().find(|lane| lane.is_sound || lane.transport == Transport::Quic);
    let sound = || all.iter().find(|lane| lane.is_sound);
    fit.or_else(sound).or_else(|| better.next()).or_else(|| all.first()).map(|lane| lane.id)
}

impl Mark {
    fn of(at_ms: u64, lanes: &[LaneStanding]) -> Self {
        let of = |transport| {
            lanes.iter().filter(|lane| lane.transport == transport).map(|lane| lane.bytes).sum::<u64>()
        };
        Self { at_ms, quic: of(Transport::Quic), tcp: of(Transport::Tcp) }
    }

    /// Bytes over QUIC since then; none if lanes went meanwhile, and what they had brought with them.
    fn quic_since(self, since: Self) -> u64 {
        self.quic.saturating_sub(since.quic)
    }

    fn tcp_since(self, since: Self) -> u64 {
        self.tcp.saturating_sub(since.tcp)
    }
}

/// Pause between units that only probe: what they cost is next to nothing.
const PROBE_EVERY_MS: u64 = 5_000;
/// How long a transfer must go on at its pace to be worth a probe.
const PROBE_LEFT_MS: u128 = 10_000;
/// A probe that takes longer has told enough.
const PROBE_LASTS_MS: u64 = 20_000;
/// How many times its bytes a probe counts: it had one lane of several, and began from rest.
const PROBE_COUNTS: u64 = 2;
/// How often it is looked whether TCP still brings more.
const SHARE_MS: u64 = 5_000;

#[cfg(test)]
mod tests {
    use super::*;
    use Transport::{Quic, Tcp};

    const MIB: u64 = 1 << 20;
    const MUCH: u64 = 1 << 40;

    fn lanes(quic: u64, tcp: u64) -> [LaneStanding; 3] {
        let lane = |id, transport, bytes| LaneStanding { id, transport, is_sound: true, bytes };
        [lane(0, Quic, quic), lane(1, Tcp, tcp), lane(2, Tcp, 0)]
    }

    #[test]
    fn one_transport_carries_all_while_it_is_sound() {
        for (short, expected, other) in [(true, vec![1, 2], vec![0]), (false, vec![0], vec![1, 2])] {
            let mut choice = LaneChoice::new(short, &Manner::default());
            let mut up = lanes(0, 0);
            assert_eq!(choice.lanes(0, &up), expected);
            for lane in up.iter_mut().filter(|lane| expected.contains(&lane.id)) {
                lane.is_sound = false;
            }
            assert_eq!(choice.lanes(0, &up), [0, 1, 2], "all, while it is in doubt");
            let rest: Vec<_> = up.into_iter().filter(|lane| other.contains(&lane.id)).collect();
            assert_eq!(choice.lanes(0, &rest), other, "what is left");
        }
    }

    #[test]
    fn on_a_short_path_nothing_is_probed() {
        assert_eq!(LaneChoice::new(true, &Manner::default()).probe_due(1_000_000, MUCH, &lanes(0, 0)), None);
    }

    #[test]
    fn nothing_is_probed_towards_the_end() {
        // 1 MiB a second.
        let (choice, lanes) = (LaneChoice::new(false, &Manner::default()), lanes(20 * MIB, 0));
        assert_eq!(choice.probe_due(20_000, 10 * MIB, &lanes), Some(1));
        assert_eq!(choice.probe_due(20_000, 10 * MIB - 1, &lanes), None);
    }

    #[test]
    fn a_probe_that_is_slow_changes_nothing() {
        let mut choice = LaneChoice::new(false, &Manner::default());
        assert_eq!(choice.probe_due(PROBE_EVERY_MS - 1, MUCH, &lanes(9 * MIB, 0)), None);
        assert_eq!(choice.probe_due(PROBE_EVERY_MS, MUCH, &lanes(9 * MIB, 0)), Some(1));
        choice.probe_begun(1, PROBE_EVERY_MS, &lanes(9 * MIB, 0));
        assert_eq!(choice.probe_due(7_000, MUCH, &lanes(9 * MIB, 0)), None, "one at a time");
        assert_eq!(choice.lanes(7_000, &lanes(11 * MIB, MIB)), [0]);
        assert_eq!(choice.probe_due(11_999, MUCH, &lanes(11 * MIB, MIB)), None);
        assert_eq!(choice.probe_due(12_000, MUCH, &lanes(11 * MIB, MIB)), Some(1));
    }

    #[test]
    fn where_udp_is_slowed_down_all_lanes_are_used_until_it_is_quick_again() {
        let mut choice = LaneChoice::new(false, &Manner::default());
        choice.probe_begun(1, 5_000, &lanes(5 * MIB, 0));
        assert_eq!(choice.lanes(6_000, &lanes(6 * MIB, MIB)), [0, 1, 2]);
        assert_eq!(choice.probe_due(60_000, MUCH, &lanes(6 * MIB, MIB)), None);
        assert_eq!(choice.lanes(11_000, &lanes(11 * MIB, 40 * MIB)), [0, 1, 2]);
        assert_eq!(choice.lanes(16_000, &lanes(111 * MIB, 80 * MIB)), [0]);
    }

    #[test]
    fn a_probe_whose_lane_goes_or_that_never_comes_is_let_be() {
        let mut choice = LaneChoice::new(false, &Manner::default());
        choice.probe_begun(1, 5_000, &lanes(0, 0));
        assert_eq!(choice.lanes(5_100, &lanes(MIB, 0)[..1]), [0]);
        assert_eq!(choice.probe_due(10_100, MUCH, &lanes(MIB, 0)), Some(1));
        choice.probe_begun(2, 10_100, &lanes(MIB, 0));
        choice.lanes(30_099, &lanes(MIB, 0));
        assert_eq!(choice.probe_due(35_099, MUCH, &lanes(MIB, 0)), None, "it is under way");
        choice.lanes(30_100, &lanes(MIB, 0));
        assert_eq!(choice.probe_due(35_100, MUCH, &lanes(MIB, 0)), Some(1));
    }

    #[test]
    fn who_slows_down_uses_one_lane_and_yields_over_quic() {
        let limit = std::num::NonZeroU64::new(1);
        let mut limited = LaneChoice::new(true, &Manner { limit, background: false });
        assert_eq!(limited.lanes(0, &lanes(0, 0)), [1]);
        let mut doubtful = lanes(0, 0);
        doubtful[1].is_sound = false;
        assert_eq!(limited.lanes(0, &doubtful), [2]);
        let mut background = LaneChoice::new(true, &Manner { limit: None, background: true });
        assert_eq!(background.lanes(0, &lanes(0, 0)), [0]);
        doubtful[0].is_sound = false;
        assert_eq!(background.lanes(0, &doubtful), [0], "it yields, and is not dead");
        assert_eq!(background.lanes(0, &lanes(0, 0)[1..]), [1], "where there is no UDP");
        assert_eq!(background.probe_due(60_000, MUCH, &lanes(0, 0)), None);
    }
}
