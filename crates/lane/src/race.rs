//! Who is dialled, how and when: the order of attempts of RFC 8305, without sockets or a clock.
//!
//! Time is the caller's, as the duration since the race began. Whoever comes up first has won; this module does not
//! hear of it, because the race is over then (spec/wire.md, "Dialling").

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::Transport;

/// Which transports may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// Both, raced.
    #[default]
    Auto,
    /// QUIC alone.
    Quic,
    /// TCP alone.
    Tcp,
}

impl Choice {
    /// Whether this transport may be used.
    pub fn allows(self, transport: Transport) -> bool {
        match self {
            Self::Auto => true,
            Self::Quic => transport == Transport::Quic,
            Self::Tcp => transport == Transport::Tcp,
        }
    }
}

/// One thing to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Where.
    pub address: SocketAddr,
    /// How.
    pub transport: Transport,
}

/// The attempts that have not begun, each with its turn.
#[derive(Debug)]
pub struct Race {
    waiting: VecDeque<(u32, Attempt)>,
    /// The turn that is next, and when it comes.
    turn: u32,
    turn_at: Duration,
    gap: Duration,
}

impl Race {
    /// Plans a race over `addresses`, the preferred one first.
    ///
    /// - Shape: families alternate; of each address QUIC is tried first and TCP one turn later, in the same turn if UDP
    ///   was blocked here before. A new address begins each turn.
    /// - Units: `gap` is the time between two turns.
    pub fn new(addresses: &[SocketAddr], choice: Choice, udp_was_blocked: bool, gap: Duration) -> Self {
        let mut waiting: Vec<(u32, Attempt)> = Vec::new();
        for (turn, address) in (0..).zip(interleaved(addresses)) {
            let tcp_turn = if udp_was_blocked || choice == Choice::Tcp { turn } else { turn + 1 };
            let both = [(tcp_turn, Transport::Tcp), (turn, Transport::Quic)];
            let allowed = both.into_iter().filter(|(_, transport)| choice.allows(*transport));
            waiting.extend(allowed.map(|(turn, transport)| (turn, Attempt { address, transport })));
        }
        // Stable, so that in one turn the TCP of the preferred address comes before the QUIC of the next.
        waiting.sort_by_key(|(turn, _)| *turn);
        Self { waiting: waiting.into(), turn: 0, turn_at: Duration::ZERO, gap }
    }

    /// The next attempt that is due; call again until there is none.
    pub fn due(&mut self, now: Duration) -> Option<Attempt> {
        let next = self.waiting.front()?.0;
        if next > self.turn {
            if now < self.turn_at {
                return None;
            }
            self.turn = next;
        }
        if self.turn == 0 || now >= self.turn_at {
            self.turn_at = now + self.gap;
        }
        self.waiting.pop_front().map(|(_, attempt)| attempt)
    }

    /// When the next attempt is due; nothing when all have begun.
    pub fn wake_at(&self) -> Option<Duration> {
        self.waiting.front().map(|(turn, _)| if *turn > self.turn { self.turn_at } else { Duration::ZERO })
    }

    /// An attempt failed: the next turn comes at once.
    pub fn failed(&mut self, now: Duration) {
        self.turn_at = self.turn_at.min(now);
    }
}

/// The addresses without repetition, in the given order within a family, families alternating.
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut families: [VecDeque<SocketAddr>; 2] = Default::default();
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    for address in addresses {
        let family = &mut families[usize::from(address.is_ipv6() != first_is_v6)];
        if !family.contains(address) {
            family.push_back(*address);
        }
    }
    let mut order = Vec::new();
    while families.iter().any(|family| !family.is_empty()) {
        order.extend(families.iter_mut().filter_map(VecDeque::pop_front));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Duration = Duration::from_millis(250);

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// The times, in milliseconds, at which attempts begin when none of them ever ends.
    fn schedule(mut race: Race) -> Vec<(u64, String)> {
        let mut begun = Vec::new();
        let mut now = Duration::ZERO;
        while let Some(wake) = race.wake_at() {
            now = now.max(wake);
            while let Some(Attempt { address, transport }) = race.due(now) {
                begun.push((now.as_millis() as u64, format!("{transport} {address}")));
            }
        }
        begun
    }

    fn written(plan: &[(u64, &str)]) -> Vec<(u64, String)> {
        plan.iter().map(|(at, what)| (*at, (*what).to_owned())).collect()
    }

    #[test]
    fn quic_has_a_head_start_and_addresses_take_turns() {
        let to = addresses(&["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::1]:1"]);
        let plan = schedule(Race::new(&to, Choice::Auto, false, GAP));
        let expected = [
            (0, "UDP [::1]:1"),
            (250, "TCP [::1]:1"),
            (250, "UDP 1.1.1.1:1"),
            (500, "TCP 1.1.1.1:1"),
            (500, "UDP [::2]:1"),
            (750, "TCP [::2]:1"),
        ];
        assert_eq!(plan, written(&expected));
    }

    #[test]
    fn tcp_does_not_wait_where_udp_was_blocked() {
        let to = addresses(&["1.1.1.1:1", "2.2.2.2:1"]);
        let plan = schedule(Race::new(&to, Choice::Auto, true, GAP));
        let expected =
            [(0, "TCP 1.1.1.1:1"), (0, "UDP 1.1.1.1:1"), (250, "TCP 2.2.2.2:1"), (250, "UDP 2.2.2.2:1")];
        assert_eq!(plan, written(&expected));
    }

    #[test]
    fn a_choice_leaves_the_other_out() {
        let to = addresses(&["1.1.1.1:1", "2.2.2.2:1"]);
        let tcp = schedule(Race::new(&to, Choice::Tcp, false, GAP));
        assert_eq!(tcp, written(&[(0, "TCP 1.1.1.1:1"), (250, "TCP 2.2.2.2:1")]));
        let quic = schedule(Race::new(&to, Choice::Quic, true, GAP));
        assert_eq!(quic, written(&[(0, "UDP 1.1.1.1:1"), (250, "UDP 2.2.2.2:1")]));
    }

    #[test]
    fn a_failure_brings_the_next_turn_at_once_and_only_that() {
        let to = addresses(&["1.1.1.1:1", "2.2.2.2:1"]);
        let mut race = Race::new(&to, Choice::Auto, false, GAP);
        let ms = Duration::from_millis;
        assert_eq!(race.due(ms(0)).unwrap().transport, Transport::Quic);
        assert_eq!(race.due(ms(10)), None);
        race.failed(ms(20));
        assert_eq!(race.due(ms(20)).unwrap().transport, Transport::Tcp);
        assert_eq!(race.due(ms(20)).unwrap().address, to[1]);
        assert_eq!(race.due(ms(20)), None);
        assert_eq!(race.wake_at(), Some(ms(270)));
        assert!(race.due(ms(270)).is_some());
        assert_eq!((race.due(ms(999)), race.wake_at()), (None, None));
    }
}
