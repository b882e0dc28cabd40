//! Which data lanes a session gets: a pure rule over what came up and how long the path is.
//!
//! Two TCP lanes fill a short path; on a long one each is capped by its send buffer, so there are four, though a sender
//! uses QUIC there while that is no slower (`sft_engine`, "lane choice"). The control lane stays on whatever won the race.

use std::time::Duration;

use sft_engine::is_short_path;

use crate::options::TransportChoice;

/// What is known when the plan is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paths {
    /// A QUIC connection stands.
    pub quic: bool,
    /// A TCP connection stands, or the server takes them.
    pub tcp: bool,
    /// Round trip of the control lane.
    pub rtt: Duration,
    /// TCP connections that the server lets join a session.
    pub tcp_lanes_max: usize,
}

/// The data lanes to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LanePlan {
    /// Whether data goes over the QUIC connection where TCP lanes are up too.
    pub quic: bool,
    /// How many TCP connections carry data.
    pub tcp: usize,
}

/// The lanes for a session; with `lanes`, exactly so many TCP lanes, or QUIC alone for 0.
pub(crate) fn plan(paths: Paths, choice: TransportChoice, lanes: Option<usize>) -> LanePlan {
    let quic = paths.quic && choice != TransportChoice::Tcp;
    let tcp = paths.tcp && choice != TransportChoice::Quic && paths.tcp_lanes_max > 0;
    let short = is_short_path(paths.rtt);
    let usual = if short { SHORT_TCP_LANES } else { LONG_TCP_LANES };
    let wanted = lanes.unwrap_or(usual).min(paths.tcp_lanes_max);
    match (quic, tcp) {
        (true, false) => LanePlan { quic: true, tcp: 0 },
        // Data cannot travel on a TCP control lane, so there is one data lane at least.
        (false, _) => LanePlan { quic: false, tcp: wanted.max(1) },
        (true, true) => LanePlan { quic: !short || wanted == 0, tcp: wanted },
    }
}

const SHORT_TCP_LANES: usize = 2;
const LONG_TCP_LANES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use TransportChoice::{Auto, Quic, Tcp};

    #[test]
    fn the_rule() {
        let lanes = |quic, tcp| LanePlan { quic, tcp };
        let cases: [(bool, bool, u64, TransportChoice, Option<usize>, LanePlan); 14] = [
            (true, true, 0, Auto, None, lanes(false, 2)),
            (true, true, 4, Auto, None, lanes(false, 2)),
            (true, true, 5, Auto, None, lanes(true, 4)),
            (true, false, 0, Auto, None, lanes(true, 0)),
            (true, false, 90, Auto, None, lanes(true, 0)),
            (false, true, 0, Auto, None, lanes(false, 2)),
            (false, true, 90, Auto, None, lanes(false, 4)),
            (true, true, 90, Tcp, None, lanes(false, 4)),
            (true, true, 0, Quic, None, lanes(true, 0)),
            (true, true, 90, Auto, Some(7), lanes(true, 7)),
            (true, true, 0, Auto, Some(7), lanes(false, 7)),
            (true, true, 0, Auto, Some(0), lanes(true, 0)),
            (false, true, 0, Auto, Some(0), lanes(false, 1)),
            (true, true, 90, Auto, Some(99), lanes(true, 16)),
        ];
        for (quic, tcp, rtt_ms, choice, wanted, expected) in cases {
            let paths = Paths { quic, tcp, rtt: Duration::from_millis(rtt_ms), tcp_lanes_max: 16 };
            assert_eq!(plan(paths, choice, wanted), expected, "{paths:?} {choice:?} {wanted:?}");
        }
    }
}
