//! Whether a window limits what a path carries: what one end may have on its way before the other has said that it came.
//!
//! Pure: who measures is `checkup_there`. That a window limits is shown, not guessed: twice as many connections carry half as
//! much again, though the path is the same; or as much is on its way as a transfer may have (spec/wire.md, "Windows").

use std::time::Duration;

use sft_base::limits;

use crate::amount::{Bytes, Rate};
use crate::checkup::Finding;

/// What so many connections carried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Carried {
    pub lanes: usize,
    /// Bytes a second.
    pub rate: f64,
}

/// The three numbers of `net.ipv4.tcp_wmem` or `tcp_rmem` of this machine: least, usual, most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buffers([u64; 3]);

/// A window that limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Window {
    /// That of each connection over TCP.
    Connection { down: bool, rtt: Duration, few: Carried, many: Carried, here: Option<Buffers> },
    /// That which a transfer is granted, whatever carries it.
    Transfer { rtt: Duration, rate: f64 },
}

/// How many connections would show whether their windows limit; none where they cannot, or no more may be had.
pub(crate) fn worth_widening(rtt: Duration, few: Carried) -> Option<usize> {
    let lanes = (few.lanes * 2).min(limits::LANES_MAX);
    let on_the_way = few.rate * rtt.as_secs_f64() / few.lanes.max(1) as f64;
    (rtt >= RTT_MIN && few.lanes > 0 && lanes > few.lanes && on_the_way >= ON_THE_WAY_MIN).then_some(lanes)
}

/// The windows of the connections, if they limit.
pub(crate) fn of_connections(
    down: bool,
    rtt: Duration,
    few: Carried,
    many: Carried,
    here: Option<Buffers>,
) -> Option<Window> {
    let limits = many.lanes > few.lanes && many.rate >= few.rate * MORE;
    limits.then_some(Window::Connection { down, rtt, few, many, here })
}

/// The window of a transfer, if a path carries so much that it limits.
pub(crate) fn of_transfer(rtt: Duration, rate: f64) -> Option<Window> {
    let on_the_way = rate * rtt.as_secs_f64();
    (rtt >= RTT_MIN && on_the_way > limits::BUFFER_BUDGET_BYTES as f64)
        .then_some(Window::Transfer { rtt, rate })
}

impl Buffers {
    /// As `/proc/sys/net/ipv4/tcp_wmem` has them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<u64> = text.split_whitespace().map_while(|number| number.parse().ok()).collect();
        Some(Self(numbers.try_into().ok()?))
    }

    /// Those of this machine, of the end that sends or that receives; none where the system has no such numbers.
    pub(crate) fn here(down: bool) -> Option<Self> {
        let file = format!("/proc/sys/{}", name(down).replace('.', "/"));
        Self::parse(&std::fs::read_to_string(file).ok()?)
    }
}

impl Window {
    /// What was found, and what to change.
    pub(crate) fn finding(&self) -> Finding {
        match self {
            Self::Connection { down, few, many, .. } => {
                let about = format!("window {} over TCP", way(*down));
                let text = format!(
                    "{} connections carry {}, and {} carry {}: {}",
                    few.lanes,
                    Rate(few.rate),
                    many.lanes,
                    Rate(many.rate),
                    self.bound()
                );
                Finding::warning(&about, text).mended_by(self.mend())
            }
            Self::Transfer { rate, .. } => Finding::warning(
                "window of a transfer",
                format!("the path carries {}, and {}", Rate(*rate), self.bound()),
            ),
        }
    }

    /// As part of the verdict.
    pub(crate) fn clause(&self) -> String {
        match self {
            Self::Connection { down, .. } => {
                let which = if self.is_of_this_machine() {
                    "the window of this machine limits"
                } else {
                    "a window of the host limits, or loss"
                };
                format!("{} over TCP, {which}: {}; {}", way(*down), self.bound(), self.mend())
            }
            Self::Transfer { .. } => format!("the window of a transfer limits: {}", self.bound()),
        }
    }

    fn bound(&self) -> String {
        match self {
            Self::Connection { rtt, few, .. } => {
                let each = few.rate / few.lanes as f64;
                let on_the_way = Bytes((each * rtt.as_secs_f64()) as u64);
                format!(
                    "each connection has {on_the_way} on its way at most, which is {} at a round trip of {}",
                    Rate(each),
                    milliseconds(*rtt)
                )
            }
            Self::Transfer { rtt, .. } => {
                let granted = limits::BUFFER_BUDGET_BYTES;
                format!(
                    "a copy has {} on its way at most, which is {} at a round trip of {}",
                    Bytes(granted),
                    Rate(granted as f64 / rtt.as_secs_f64()),
                    milliseconds(*rtt)
                )
            }
        }
    }

    fn mend(&self) -> String {
        let Self::Connection { down, rtt, few, many, here } = self else { return String::new() };
        // What the usual connections need to carry as much as the others did, with room for what else a buffer holds.
        let needed = (2.0 * many.rate * rtt.as_secs_f64() / few.lanes as f64) as u64;
        let system = match here {
            Some(Buffers([least, usual, most])) if self.is_of_this_machine() => {
                let most = needed.max(2 * most).next_power_of_two();
                format!("sudo sysctl -w {}=\"{least} {usual} {most}\"", name(*down))
            }
            _ => {
                let most = needed.next_power_of_two();
                format!("on the host, the last number of {} should be {most} at least", name(!*down))
            }
        };
        format!("{system}; or --lanes {}", many.lanes)
    }

    /// Whether as much is on its way as this machine's buffers hold; what is less is bounded by the other end, or by loss.
    fn is_of_this_machine(&self) -> bool {
        match self {
            Self::Connection { rtt, few, here: Some(Buffers([_, _, most])), .. } => {
                let on_the_way = few.rate * rtt.as_secs_f64() / few.lanes as f64;
                // A part of a buffer is for what the system notes about each packet.
                on_the_way >= *most as f64 * USED_PART
            }
            _ => false,
        }
    }
}

fn way(down: bool) -> &'static str {
    if down { "down" } else { "up" }
}

/// The system's bound of what this end holds of a TCP connection.
fn name(down: bool) -> &'static str {
    if down { "net.ipv4.tcp_rmem" } else { "net.ipv4.tcp_wmem" }
}

fn milliseconds(rtt: Duration) -> String {
    format!("{:.0} ms", rtt.as_secs_f64() * 1000.0)
}

/// On shorter paths no window is ever full.
const RTT_MIN: Duration = Duration::from_millis(5);
/// No window is smaller; a path that has less on its way is slow by itself.
const ON_THE_WAY_MIN: f64 = 32.0 * 1024.0;
/// So much more is more than chance.
const MORE: f64 = 1.4;
/// The part of a system's bound from which that bound is what was met.
const USED_PART: f64 = 0.3;

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);
    const MB: f64 = 1e6;

    fn carried(lanes: usize, rate: f64) -> Carried {
        Carried { lanes, rate }
    }

    #[test]
    fn more_connections_are_tried_where_that_can_show_something() {
        assert_eq!(worth_widening(RTT, carried(4, 40.0 * MB)), Some(8));
        assert_eq!(worth_widening(RTT, carried(12, 400.0 * MB)), Some(16));
        assert_eq!(worth_widening(RTT, carried(16, 400.0 * MB)), None, "there are no more");
        assert_eq!(worth_widening(RTT, carried(4, MB)), None, "the path is slow");
        assert_eq!(worth_widening(Duration::from_millis(1), carried(2, 4000.0 * MB)), None, "it is short");
    }

    #[test]
    fn a_window_that_limits_is_named_with_what_to_set() {
        let here = Buffers::parse("4096\t16384\t2097152\n");
        let found = of_connections(false, RTT, carried(4, 40.0 * MB), carried(8, 78.0 * MB), here).unwrap();
        assert_eq!(
            found.clause(),
            "up over TCP, the window of this machine limits: each connection has 1.00 MB on its way at most, which is 10.0 MB/s at a round trip of \
             100 ms; sudo sysctl -w net.ipv4.tcp_wmem=\"4096 16384 4194304\"; or --lanes 8"
        );
        let finding = found.finding();
        assert_eq!(finding.about, "window up over TCP");
        assert!(
            finding
                .text
                .starts_with("4 connections carry 40.0 MB/s, and 8 carry 78.0 MB/s: each connection ")
        );
        // Much smaller than what this machine allows: the other one's.
        let here = Buffers::parse("4096 131072 33554432");
        let found = of_connections(true, RTT, carried(4, 40.0 * MB), carried(8, 78.0 * MB), here).unwrap();
        assert!(found.clause().starts_with("down over TCP, a window of the host limits, or loss: each "));
        assert!(
            found.clause().ends_with(
                "; on the host, the last number of net.ipv4.tcp_wmem should be 4194304 at least; or --lanes 8"
            ),
            "{}",
            found.clause()
        );
        assert_eq!(Buffers::parse("4096 16384"), None);
    }

    #[test]
    fn a_line_that_is_full_is_no_window() {
        assert_eq!(of_connections(false, RTT, carried(4, 40.0 * MB), carried(8, 44.0 * MB), None), None);
        assert_eq!(of_transfer(RTT, 100.0 * MB), None);
    }

    #[test]
    fn what_a_transfer_may_have_on_its_way_is_a_window_too() {
        let found = of_transfer(Duration::from_millis(400), 120.0 * MB).unwrap();
        assert_eq!(
            found.clause(),
            "the window of a transfer limits: a copy has 33.6 MB on its way at most, which is 83.9 MB/s at a round trip \
             of 400 ms"
        );
    }
}
