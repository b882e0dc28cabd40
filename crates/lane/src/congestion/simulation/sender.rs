//! The two ends of a flow: a sender that behaves as quinn's does, and a receiver that acknowledges as ours does.

use std::collections::VecDeque;
use std::time::Duration;

use super::pacer::Pacer;

/// A congestion controller, ours or a rival's.
pub(super) trait Governor {
    fn on_sent(&mut self, now: Duration, bytes: u64);
    fn on_acked(&mut self, now: Duration, sent: Duration, bytes: u64);
    fn on_acks_end(&mut self, now: Duration, in_flight: u64, app_limited: bool);
    fn on_lost(&mut self, now: Duration, sent: Duration, bytes: u64, outage: bool);
    fn on_marked(&mut self, now: Duration, sent: Duration);
    fn window(&self) -> u64;
}

/// What the application gives to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Supply {
    /// Always more.
    Endless,
    /// So many bytes at once, each time.
    Portions { bytes: u64, every: Duration },
    /// Always more in the first time, nothing in the second, in turns.
    Spells { busy: Duration, idle: Duration },
}

pub(super) struct Sender {
    pub(super) governor: Box<dyn Governor>,
    pacer: Option<Pacer>,
    supply: Supply,
    begins: Duration,
    taken: u64,
    /// Packets that were sent and are neither acknowledged nor lost, from the number `base` on.
    sent: VecDeque<Option<Duration>>,
    base: u64,
    in_flight: u64,
    largest_acked: Option<u64>,
    retransmit: u64,
    app_limited: bool,
    probes: u32,
    last_sent: Duration,
    timeouts: u32,
    rtt: Rtt,
    pub(super) stats: Stats,
}

/// Round trips as RFC 9002 estimates them.
struct Rtt {
    latest: Duration,
    smoothed: Option<Duration>,
    var: Duration,
    least: Duration,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Stats {
    pub(super) sent: u64,
    pub(super) lost: u64,
    /// Round trips with when they were seen.
    pub(super) rtts: Vec<(Duration, Duration)>,
}

/// What an acknowledgement says.
#[derive(Debug)]
pub(super) struct Ack {
    pub(super) packets: Vec<u64>,
    pub(super) delay: Duration,
    pub(super) marked: bool,
}

impl Sender {
    pub(super) fn new(governor: Box<dyn Governor>, paced: bool, supply: Supply, begins: Duration) -> Self {
        let rtt = Rtt { latest: RTT_INITIAL, smoothed: None, var: RTT_INITIAL / 2, least: RTT_INITIAL };
        let pacer = paced.then(|| Pacer::new(RTT_INITIAL, governor.window(), PACKET));
        Self {
            governor,
            pacer,
            supply,
            begins,
            taken: 0,
            sent: VecDeque::new(),
            base: 0,
            in_flight: 0,
            largest_acked: None,
            retransmit: 0,
            app_limited: false,
            probes: 0,
            last_sent: Duration::ZERO,
            timeouts: 0,
            rtt,
            stats: Stats::default(),
        }
    }

    /// As if a handshake had measured the round trip.
    pub(super) fn know_rtt(&mut self, rtt: Duration) {
        self.rtt.update(Duration::ZERO, rtt);
    }

    /// Hands out the numbers of packets that go now; says when to ask again.
    pub(super) fn poll(&mut self, now: Duration, out: &mut Vec<u64>) -> Option<Duration> {
        self.expire(now);
        loop {
            let before = out.len();
            let blocked = self.batch(now, out);
            let bytes = (out.len() - before) as u64 * PACKET;
            if bytes > 0 {
                self.governor.on_sent(now, bytes);
            }
            self.app_limited = bytes == 0 && blocked.is_none();
            if bytes < BATCH * PACKET {
                let next = match blocked {
                    Some(Blocked::Until(time)) => Some(time),
                    Some(Blocked::ByWindow) => None,
                    None => self.next_supply(now),
                };
                return [next, self.timer(now)].into_iter().flatten().min();
            }
        }
    }

    pub(super) fn on_ack(&mut self, now: Duration, ack: &Ack) {
        let mut newest = None;
        let mut acked = false;
        for &number in &ack.packets {
            let Some(sent) = self.take(number) else { continue };
            acked = true;
            self.governor.on_acked(now, sent, PACKET);
            if self.largest_acked.is_none_or(|largest| number > largest) {
                self.largest_acked = Some(number);
                newest = Some(sent);
            }
        }
        if !acked {
            return;
        }
        self.governor.on_acks_end(now, self.in_flight, self.app_limited);
        if let Some(sent) = newest {
            self.rtt.update(ack.delay, now - sent);
            self.stats.rtts.push((now, now - sent));
        }
        self.detect_loss(now, true);
        self.timeouts = 0;
        if ack.marked
            && let Some(sent) = newest
        {
            self.governor.on_marked(now, sent);
        }
    }

    fn batch(&mut self, now: Duration, out: &mut Vec<u64>) -> Option<Blocked> {
        for _ in 0..BATCH {
            if self.probes == 0 {
                if self.retransmit == 0 && self.available(now) < PACKET {
                    return None;
                }
                let window = self.governor.window();
                if self.in_flight + PACKET >= window {
                    return Some(Blocked::ByWindow);
                }
                let rtt = self.rtt.get();
                if let Some(time) =
                    self.pacer.as_mut().and_then(|pacer| pacer.delay(rtt, PACKET, PACKET, window, now))
                {
                    return Some(Blocked::Until(time));
                }
            }
            self.probes = self.probes.saturating_sub(1);
            if let Some(pacer) = &mut self.pacer {
                pacer.on_sent(PACKET);
            }
            if self.retransmit > 0 {
                self.retransmit -= PACKET;
            } else {
                self.taken += PACKET;
            }
            out.push(self.base + self.sent.len() as u64);
            self.sent.push_back(Some(now));
            self.in_flight += PACKET;
            self.stats.sent += PACKET;
            self.last_sent = now;
        }
        Some(Blocked::Until(now))
    }

    /// What the application has given and was not sent.
    fn available(&self, now: Duration) -> u64 {
        let Some(since) = now.checked_sub(self.begins) else { return 0 };
        match self.supply {
            Supply::Endless => u64::MAX,
            Supply::Portions { bytes, every } => {
                (1 + (since.as_nanos() / every.as_nanos()) as u64) * bytes - self.taken
            }
            Supply::Spells { busy, idle } => {
                let within = since.as_nanos() % (busy + idle).as_nanos();
                if within < busy.as_nanos() { u64::MAX } else { 0 }
            }
        }
    }

    fn next_supply(&self, now: Duration) -> Option<Duration> {
        let Some(since) = now.checked_sub(self.begins) else { return Some(self.begins) };
        let period = match self.supply {
            Supply::Endless => return None,
            Supply::Portions { every, .. } => every,
            Supply::Spells { busy, idle } => busy + idle,
        };
        let periods = (since.as_nanos() / period.as_nanos()) as u32 + 1;
        Some(self.begins + period * periods)
    }

    fn take(&mut self, number: u64) -> Option<Duration> {
        let index = number.checked_sub(self.base)? as usize;
        let sent = self.sent.get_mut(index)?.take()?;
        self.in_flight -= PACKET;
        while let Some(None) = self.sent.front() {
            self.sent.pop_front();
            self.base += 1;
        }
        Some(sent)
    }

    fn detect_loss(&mut self, now: Duration, due_to_ack: bool) {
        let Some(largest) = self.largest_acked else { return };
        let after = self.loss_delay();
        let (mut lost, mut first, mut outage) = (Vec::new(), None, false);
        for number in self.base..largest {
            let Some(Some(sent)) = self.sent.get((number - self.base) as usize).copied() else {
                first = None;
                continue;
            };
            if largest < number + PACKET_THRESHOLD && now < sent + after {
                break;
            }
            lost.push((number, sent));
            let since = *first.get_or_insert(sent);
            outage |= due_to_ack && sent - since > 3 * self.rtt.timeout();
        }
        let Some(&(_, newest)) = lost.last() else { return };
        for (number, _) in &lost {
            self.take(*number);
        }
        let bytes = lost.len() as u64 * PACKET;
        self.retransmit += bytes;
        self.stats.lost += bytes;
        self.governor.on_lost(now, newest, bytes, outage);
    }

    fn loss_delay(&self) -> Duration {
        self.rtt.get().max(self.rtt.latest).mul_f64(1.125).max(Duration::from_millis(1))
    }

    fn loss_time(&self) -> Option<Duration> {
        let largest = self.largest_acked.filter(|largest| *largest > self.base)?;
        let _ = largest;
        self.sent.front().copied().flatten().map(|sent| sent + self.loss_delay())
    }

    fn timer(&self, _now: Duration) -> Option<Duration> {
        let timeout = self.last_sent + self.rtt.timeout() * (1 << self.timeouts.min(10));
        self.loss_time().or_else(|| (self.in_flight > 0).then_some(timeout))
    }

    fn expire(&mut self, now: Duration) {
        match self.loss_time() {
            Some(time) if time <= now => self.detect_loss(now, false),
            Some(_) => {}
            None if self.in_flight > 0 && self.timer(now).is_some_and(|time| time <= now) => {
                self.timeouts += 1;
                self.probes = 2;
            }
            None => {}
        }
    }
}

enum Blocked {
    ByWindow,
    Until(Duration),
}

impl Rtt {
    fn get(&self) -> Duration {
        self.smoothed.unwrap_or(self.latest)
    }

    fn timeout(&self) -> Duration {
        self.get() + (4 * self.var).max(Duration::from_millis(1)) + ACK_DELAY_MAX
    }

    fn update(&mut self, ack_delay: Duration, rtt: Duration) {
        self.latest = rtt;
        let Some(smoothed) = self.smoothed else {
            (self.smoothed, self.var, self.least) = (Some(rtt), rtt / 2, rtt);
            return;
        };
        self.least = self.least.min(rtt);
        let adjusted = if self.least + ack_delay <= rtt { rtt - ack_delay } else { rtt };
        self.var = (3 * self.var + smoothed.abs_diff(adjusted)) / 4;
        self.smoothed = Some((7 * smoothed + adjusted) / 8);
    }
}

/// Acknowledges every so many packets, or when the oldest has waited, or when one is missing.
pub(super) struct Receiver {
    every: u32,
    pub(super) pending: Vec<u64>,
    eliciting: u32,
    pub(super) ack_at: Option<Duration>,
    newest_at: Duration,
    expected: u64,
    marked: bool,
    /// Bytes that arrived, with when.
    pub(super) arrived: Vec<(Duration, u64)>,
}

impl Receiver {
    pub(super) fn new(every: u32) -> Self {
        Self {
            every,
            pending: Vec::new(),
            eliciting: 0,
            ack_at: None,
            newest_at: Duration::ZERO,
            expected: 0,
            marked: false,
            arrived: Vec::new(),
        }
    }

    /// Whether to acknowledge at once.
    pub(super) fn on_packet(&mut self, now: Duration, number: u64, marked: bool) -> bool {
        match self.arrived.last_mut() {
            Some((time, bytes)) if now - *time < Duration::from_millis(10) => *bytes += PACKET,
            _ => self.arrived.push((now, PACKET)),
        }
        let gap = number != self.expected;
        if number >= self.expected {
            self.expected = number + 1;
            self.newest_at = now;
        }
        self.pending.push(number);
        self.eliciting += 1;
        self.marked |= marked;
        self.ack_at.get_or_insert(now + ACK_DELAY_MAX);
        self.eliciting >= self.every || gap
    }

    /// The acknowledgement that goes now; one that is lost leaves its content to the next.
    pub(super) fn ack(&mut self, now: Duration, lost: bool) -> Option<Ack> {
        self.eliciting = 0;
        self.ack_at = None;
        (!lost && !self.pending.is_empty()).then(|| Ack {
            packets: std::mem::take(&mut self.pending),
            delay: now - self.newest_at,
            marked: std::mem::take(&mut self.marked),
        })
    }
}

pub(super) const PACKET: u64 = 1452;
const BATCH: u64 = 10;
const PACKET_THRESHOLD: u64 = 3;
const ACK_DELAY_MAX: Duration = Duration::from_millis(25);
const RTT_INITIAL: Duration = Duration::from_millis(333);
