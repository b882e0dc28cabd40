//! Paths under virtual time: flows of ours and of rivals over one bottleneck, from a seed.
//!
//! A failure prints what reached how much; `SFT_SIM_SEED=<seed>` runs every scenario with that seed alone.

mod dice;
mod fairness;
mod link;
mod pacer;
mod rivals;
mod scenario;
mod scenarios;
mod sender;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use self::dice::Dice;
use self::link::Link;
use self::rivals::Rival;
use self::sender::{Ack, Governor, PACKET, Receiver, Sender, Supply};
use super::steering::{Known, Steering};
use super::yielding::Yielding;

/// One bottleneck and who sends through it.
struct World {
    now: Duration,
    link: Link,
    back: Back,
    seed: u64,
    flows: Vec<Flow>,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    happened: u64,
}

/// How acknowledgements come back: after the delay of the link, some of them lost, or in clumps.
struct Back {
    loss: f64,
    clump: Option<Duration>,
    dice: Dice,
}

struct Flow {
    sender: Sender,
    receiver: Receiver,
    acks: Vec<Option<Ack>>,
    wakes_at: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Wake { flow: usize },
    Arrive { flow: usize, number: u64, marked: bool },
    AckDue { flow: usize },
    Ack { flow: usize, index: usize },
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Ours,
    /// Ours in the background.
    Background,
    Cubic,
    Reno,
}

impl World {
    fn new(link: Link, seed: u64) -> Self {
        let back = Back { loss: 0.0, clump: None, dice: Dice::new(seed ^ 0xacac) };
        Self {
            now: Duration::ZERO,
            link,
            back,
            seed,
            flows: Vec::new(),
            events: BinaryHeap::new(),
            happened: 0,
        }
    }

    fn add(&mut self, who: Who, begins: Duration, supply: Supply) {
        self.add_knowing(None, who, begins, supply);
    }

    /// Adds a flow; ours may know how the path was.
    fn add_knowing(&mut self, known: Option<Known>, who: Who, begins: Duration, supply: Supply) {
        let seed = self.seed * 1000 + self.flows.len() as u64;
        let governor: Box<dyn Governor> = match who {
            Who::Ours => Box::new(Steering::new(PACKET as u16, Dice::new(seed).roll().to_bits(), known)),
            Who::Background => Box::new(Yields { yielding: Yielding::new(PACKET as u16), in_flight: 0 }),
            Who::Cubic => Box::new(Rival::cubic(PACKET)),
            Who::Reno => Box::new(Rival::reno(PACKET)),
        };
        let ours = matches!(who, Who::Ours | Who::Background);
        let mut sender = Sender::new(governor, ours, supply, begins);
        sender.know_rtt(2 * self.link.delays[0].1);
        let receiver = Receiver::new(if ours { 10 } else { 2 });
        self.flows.push(Flow { sender, receiver, acks: Vec::new(), wakes_at: None });
        self.happen(begins, Event::Wake { flow: self.flows.len() - 1 });
    }

    fn run(&mut self, until: Duration) {
        while let Some(Reverse((time, _, event))) = self.events.pop() {
            if time > until {
                self.events.push(Reverse((time, 0, event)));
                break;
            }
            self.now = time;
            self.on(event);
        }
        self.now = until;
    }

    fn on(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Wake { flow } => {
                // A wish that was replaced by an earlier one.
                if self.flows[flow].wakes_at.is_some_and(|time| time > now) {
                    return;
                }
                self.flows[flow].wakes_at = None;
                self.poll(flow);
            }
            Event::Arrive { flow, number, marked } => {
                let receiver = &mut self.flows[flow].receiver;
                let armed = receiver.ack_at.is_some();
                if receiver.on_packet(now, number, marked) {
                    self.acknowledge(flow);
                } else if let (false, Some(time)) = (armed, receiver.ack_at) {
                    self.happen(time, Event::AckDue { flow });
                }
            }
            Event::AckDue { flow } => {
                if self.flows[flow].receiver.ack_at.is_some_and(|time| time <= now) {
                    self.acknowledge(flow);
                }
            }
            Event::Ack { flow, index } => {
                let one = &mut self.flows[flow];
                if let Some(ack) = one.acks[index].take() {
                    one.sender.on_ack(now, &ack);
                    self.poll(flow);
                }
            }
        }
    }

    fn poll(&mut self, flow: usize) {
        let mut out = Vec::new();
        let next = self.flows[flow].sender.poll(self.now, &mut out);
        for number in out {
            if let Some(passage) = self.link.pass(self.now, PACKET) {
                self.happen(passage.at, Event::Arrive { flow, number, marked: passage.marked });
            }
        }
        let one = &mut self.flows[flow];
        if let Some(time) = next
            && one.wakes_at.is_none_or(|wakes_at| time < wakes_at || wakes_at <= self.now)
        {
            let time = time.max(self.now + Duration::from_micros(1));
            one.wakes_at = Some(time);
            self.happen(time, Event::Wake { flow });
        }
    }

    fn acknowledge(&mut self, flow: usize) {
        let lost = self.back.dice.strikes(self.back.loss);
        let delay =
            self.link.delays.iter().rev().find(|(from, _)| *from <= self.now).map(|(_, delay)| *delay);
        let one = &mut self.flows[flow];
        let Some(ack) = one.receiver.ack(self.now, lost) else { return };
        one.acks.push(Some(ack));
        let index = one.acks.len() - 1;
        let mut at = self.now + delay.unwrap_or_default();
        if let Some(clump) = self.back.clump {
            at = clump * (at.as_nanos() / clump.as_nanos() + 1) as u32;
        }
        self.happen(at, Event::Ack { flow, index });
    }

    fn happen(&mut self, at: Duration, event: Event) {
        self.happened += 1;
        self.events.push(Reverse((at, self.happened, event)));
    }

    /// Bits per second that arrived for a flow between these times.
    fn rate(&self, flow: usize, from: Duration, to: Duration) -> f64 {
        let arrived = &self.flows[flow].receiver.arrived;
        let bytes: u64 =
            arrived.iter().filter(|(time, _)| (from..to).contains(time)).map(|(_, bytes)| bytes).sum();
        bytes as f64 * 8.0 / (to - from).as_secs_f64()
    }

    /// The share of what a flow sent that was declared lost.
    fn lost(&self, flow: usize) -> f64 {
        let stats = &self.flows[flow].sender.stats;
        stats.lost as f64 / stats.sent as f64
    }

    /// The least and the median round trip of a flow between these times.
    fn rtts(&self, flow: usize, from: Duration, to: Duration) -> (Duration, Duration) {
        let rtts = self.flows[flow].sender.stats.rtts.iter();
        let mut rtts: Vec<_> =
            rtts.filter(|(time, _)| (from..to).contains(time)).map(|(_, rtt)| *rtt).collect();
        rtts.sort();
        (rtts[0], rtts[rtts.len() / 2])
    }
}

/// So many seeds, or the one that `SFT_SIM_SEED` names.
fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SFT_SIM_SEED") {
        Ok(seed) => vec![seed.parse().expect("SFT_SIM_SEED is a number")],
        Err(_) => (1..=count).collect(),
    }
}

impl Governor for Steering {
    fn on_sent(&mut self, now: Duration, bytes: u64) {
        Self::on_sent(self, now, bytes);
    }

    fn on_acked(&mut self, now: Duration, sent: Duration, bytes: u64) {
        Self::on_acked(self, now, sent, bytes);
    }

    fn on_acks_end(&mut self, now: Duration, in_flight: u64, app_limited: bool) {
        Self::on_acks_end(self, now, in_flight, app_limited);
    }

    fn on_lost(&mut self, now: Duration, sent: Duration, bytes: u64, outage: bool) {
        if outage {
            self.on_outage(now, bytes);
        } else {
            Self::on_lost(self, now, sent, bytes);
        }
    }

    fn on_marked(&mut self, now: Duration, sent: Duration) {
        Self::on_marked(self, now, sent);
    }

    fn window(&self) -> u64 {
        Self::window(self)
    }
}

/// The window of the background, with what is on the way.
struct Yields {
    yielding: Yielding,
    in_flight: u64,
}

impl Governor for Yields {
    fn on_sent(&mut self, _now: Duration, bytes: u64) {
        self.in_flight += bytes;
    }

    fn on_acked(&mut self, now: Duration, sent: Duration, bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        self.yielding.on_acked(now, sent, bytes, self.in_flight);
    }

    fn on_acks_end(&mut self, _now: Duration, in_flight: u64, _app_limited: bool) {
        self.in_flight = in_flight;
    }

    fn on_lost(&mut self, now: Duration, _sent: Duration, bytes: u64, outage: bool) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        if outage {
            self.yielding.on_outage(now);
        } else {
            self.yielding.on_lost(bytes);
        }
    }

    fn on_marked(&mut self, _now: Duration, _sent: Duration) {
        self.yielding.on_lost(PACKET);
    }

    fn window(&self) -> u64 {
        self.yielding.window()
    }
}
