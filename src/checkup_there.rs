//! The way to a host, step by step: its name, each address over each transport, trust and identity, the path; and what
//! limits it, in one sentence. It asks what `sft` itself would ask, and nothing else.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use sft_base::limits;
use sft_client::{Client, PathFacts, RequestError};

use crate::amount::{Count, Rate};
use crate::answer_page::{tcp_sentence, udp_sentence};
use crate::attributed::Who;
use crate::checkup::Finding;
use crate::exit::Exit;
use crate::failure;
use crate::near;
use crate::probe::{Answers, Native, TcpAnswer, UdpAnswer};
use crate::srv::{self, Told};
use crate::window::{self, Buffers, Carried, Window};

/// What was found out, as far as the verdict needs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    pub port: u16,
    /// Whether the name leads to no address.
    pub nowhere: bool,
    /// Whether sft answers over UDP at some address, and over TCP.
    pub udp: bool,
    pub tcp: bool,
    /// Whether a session came up, over any transport.
    pub session: bool,
    /// The part of the packets that were lost on their way there.
    pub loss: f64,
    /// How long a question takes at best over the transport that was looked at last.
    pub rtt: Duration,
    /// Bytes a second from memory to memory at best, up and down.
    pub memory: [f64; 2],
    /// Windows that limit, up and down.
    pub windows: [Option<Window>; 2],
    /// Who was waited for longest in the quickest copy up, and the part of its time; and down.
    pub up: Option<(Who, f64)>,
    pub down: Option<(Who, f64)>,
}

/// Where a name leads.
pub(crate) struct Whereabouts {
    pub findings: Vec<Finding>,
    pub addresses: Vec<SocketAddr>,
}

/// Finds out where a host is, as a copy would.
pub(crate) async fn whereabouts(host: &str, port: Option<u16>) -> Whereabouts {
    let usual = sft_auth::DEFAULT_PORT;
    let mut found = Whereabouts { findings: Vec::new(), addresses: Vec::new() };
    let begun = Instant::now();
    if let Some(near) = near::locate(host, port).await {
        found.take("announced on the local network", near.addresses, begun);
    } else if near::is_local(host) {
        let text = "not announced on the local network; asking the system";
        found.findings.push(Finding::warning("name", text));
    } else if port.is_none() && host.parse::<IpAddr>().is_err() {
        match srv::locate(host).await {
            Ok(Told::At(groups)) => found.take("by SRV records", groups.concat(), begun),
            // A name without a dot was not asked about.
            Ok(Told::Nothing) if !host.contains('.') => {}
            Ok(Told::Nothing) => found
                .findings
                .push(Finding::ok("name", "DNS has no SRV records for it: the name is the host")),
            Ok(Told::NoAnswer) => found
                .findings
                .push(Finding::warning("name", "DNS did not say whether there are SRV records for it")),
            Err(error) => found.findings.push(Finding::problem("name", error.to_string())),
        }
    }
    if found.addresses.is_empty() {
        match tokio::net::lookup_host((host, port.unwrap_or(usual))).await {
            Ok(addresses) => {
                let how = if host.parse::<IpAddr>().is_ok() { "as typed" } else { "by the system" };
                found.take(how, addresses.collect(), begun);
            }
            Err(error) => found.findings.push(
                Finding::problem("name", format!("{host} was not found: {error}"))
                    .mended_by(format!(
                        "check the spelling; getent hosts {host} asks the same, and sft find lists the servers nearby"
                    )),
            ),
        }
    }
    found
}

impl Whereabouts {
    fn take(&mut self, how: &str, mut addresses: Vec<SocketAddr>, begun: Instant) {
        addresses.sort();
        addresses.dedup();
        let text: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let text = format!("{}, {how}, in {}", text.join(" and "), milliseconds(begun.elapsed()));
        self.findings.push(Finding::ok("name", text));
        self.addresses = addresses;
    }
}

/// What an address answered, over each transport; noted for the verdict as well.
pub(crate) fn answered(address: SocketAddr, answers: &Answers, facts: &mut Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let native = |native: &Native| match native {
        Native::Yes(_) => Ok(()),
        Native::No(why) => Err(why.clone().unwrap_or_else(|| "it is not sft that answers".into())),
    };
    let udp = answers.udp.as_ref().map(|udp| {
        let spoken = match udp {
            UdpAnswer::Quic { native: spoken, .. } => native(spoken),
            _ => Err(String::new()),
        };
        ("UDP", udp_sentence(udp), spoken)
    });
    let tcp = answers.tcp.as_ref().map(|tcp| {
        let spoken = match tcp {
            TcpAnswer::Open { native: spoken, .. } => native(spoken),
            _ => Err(String::new()),
        };
        ("TCP", tcp_sentence(tcp), spoken)
    });
    for (transport, sentence, spoken) in [udp, tcp].into_iter().flatten() {
        let about = format!("{} over {transport}", address.ip());
        findings.push(match spoken {
            Ok(()) => {
                *(if transport == "UDP" { &mut facts.udp } else { &mut facts.tcp }) = true;
                Finding::ok(&about, sentence)
            }
            Err(why) => {
                let text = if why.is_empty() { sentence } else { format!("{sentence}; {why}") };
                Finding::warning(&about, text).mended_by(format!(
                    "sft serve there; and let {transport} port {} in at its firewall",
                    address.port()
                ))
            }
        });
    }
    findings
}

/// Opens a session over one transport, and says how long that took, or why not.
pub(crate) async fn session(client: &Client, over: &str) -> (Finding, Option<Exit>) {
    let begun = Instant::now();
    match client.open().await {
        Ok(()) => {
            let took = milliseconds(begun.elapsed());
            let who = client.identity().await.unwrap_or_default();
            let rights = client.rights().await.map(|rights| rights.to_string()).unwrap_or_default();
            let text = format!(
                "the key is trusted, and the server knows you as {} ({rights}), after {took}",
                sft_base::Shown(who.as_bytes())
            );
            (Finding::ok(&format!("session over {over}"), text), None)
        }
        Err(error) => {
            let error = anyhow::Error::from(error);
            let exit = failure::exit_of(&error);
            (Finding::problem(&format!("session over {over}"), failure::sentence(&error)), Some(exit))
        }
    }
}

/// Asks a few times, and says how long that takes at best and what the path is like.
pub(crate) async fn path(client: &Client, over: &str, facts: &mut Facts) -> Vec<Finding> {
    let mut best: Option<Duration> = None;
    for _ in 0..QUESTIONS {
        let begun = Instant::now();
        if client.limits().await.is_err() {
            return vec![Finding::problem(
                &format!("path over {over}"),
                "the session was lost while it was looked at",
            )];
        }
        let took = begun.elapsed();
        best = Some(best.map_or(took, |best| best.min(took)));
    }
    facts.rtt = best.unwrap_or_default();
    let about = format!("path over {over}");
    let round = format!("a question is answered in {}", milliseconds(best.unwrap_or_default()));
    let Some(PathFacts { quic: Some(quic), .. }) = client.path().await.ok() else {
        return vec![Finding::ok(&about, round)];
    };
    facts.loss = quic.lost as f64 / quic.sent.max(1) as f64;
    let text = format!(
        "{round}; packets of {} bytes, {} of {} lost",
        Count(quic.packet_bytes.into()),
        Count(quic.lost),
        Count(quic.sent)
    );
    vec![Finding::ok(&about, text)]
}

/// How much the lanes carry each way from memory to memory, no disk being asked; and over TCP, whether more of them carry
/// more, for which `wider` has a client with so many.
pub(crate) async fn memory<C: Future<Output = anyhow::Result<Client>>>(
    client: &Client,
    over: &str,
    facts: &mut Facts,
    wider: impl Fn(usize) -> C,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, (way, down)) in [("up", false), ("down", true)].into_iter().enumerate() {
        let about = format!("memory {way} over {over}");
        let rate = match carried(client, down).await {
            Ok(rate) => rate,
            Err(error) => {
                findings.push(Finding::warning(&about, format!("not measured: {error}")));
                continue;
            }
        };
        findings.push(match rate {
            0.0 => Finding::warning(&about, "next to nothing got through in time"),
            rate => Finding::ok(&about, format!("{}, without a disk at either end", Rate(rate))),
        });
        let window = if over == "TCP" { widened(client, down, rate, facts.rtt, &wider).await } else { None };
        let window = window.or_else(|| window::of_transfer(facts.rtt, rate));
        findings.extend(window.as_ref().map(Window::finding));
        facts.take(at, rate, window);
    }
    findings
}

/// Bytes a second.
async fn carried(client: &Client, down: bool) -> Result<f64, RequestError> {
    let measured = client.measure(down, limits::MEASURE_BYTES_MAX, MEASURE_TIME).await?;
    Ok(if measured.bytes > 0 { measured.bytes as f64 / measured.took.as_secs_f64().max(1e-9) } else { 0.0 })
}

/// The windows of the connections, if twice as many show that these limit. Connections are slow at first: what counts is
/// what they carry when they are asked again.
async fn widened<C: Future<Output = anyhow::Result<Client>>>(
    client: &Client,
    down: bool,
    rate: f64,
    rtt: Duration,
    wider: impl Fn(usize) -> C,
) -> Option<Window> {
    let lanes = client.path().await.ok()?.tcp_lanes;
    let wanted = window::worth_widening(rtt, Carried { lanes, rate })?;
    let few = Carried { lanes, rate: rate.max(carried(client, down).await.ok()?) };
    let other = wider(wanted).await.ok().filter(|other| !other.is(client))?;
    let first = carried(&other, down).await.ok()?;
    let rate = first.max(carried(&other, down).await.ok()?);
    let many = Carried { lanes: other.path().await.ok()?.tcp_lanes, rate };
    other.close().await;
    window::of_connections(down, rtt, few, many, Buffers::here(down))
}

impl Facts {
    /// A measurement of memory, up or down. A window of one transport limits if the other does not carry as much anyway.
    fn take(&mut self, at: usize, rate: f64, window: Option<Window>) {
        let (best, known) = (&mut self.memory[at], &mut self.windows[at]);
        let would_carry = match window {
            Some(Window::Connection { many, .. }) => many.rate,
            _ => rate,
        };
        if would_carry > *best {
            *known = window;
        }
        *best = best.max(rate);
    }
}

/// What limits, in one sentence, and what to change.
pub(crate) fn verdict(facts: &Facts) -> String {
    let port = facts.port;
    if facts.nowhere {
        return "the name leads nowhere, so that nobody could be asked".into();
    }
    if !facts.udp && !facts.tcp {
        return format!(
            "nothing gets through: start `sft serve` there, and let UDP and TCP port {port} in at its firewall"
        );
    }
    if !facts.session {
        return "sft answers there, and lets nobody in from here before the problems above are mended".into();
    }
    let mut sentence = match (facts.udp, facts.tcp) {
        (true, true) => "both transports get through".to_owned(),
        (true, false) => format!(
            "TCP is blocked and QUIC carries all: let TCP port {port} in, for short paths are cheaper over TCP"
        ),
        _ => format!(
            "UDP is blocked and TCP carries all, which is slow on long paths with loss: let UDP port {port} in"
        ),
    };
    if facts.loss > LOSS_MUCH {
        sentence += &format!(
            "; {:.1} % of the packets are lost on the way, which is the network's to mend",
            facts.loss * 100.0
        );
    }
    for window in facts.windows.iter().flatten() {
        sentence += &format!("; {}", window.clause());
    }
    for (at, (way, limit)) in [("up", facts.up), ("down", facts.down)].into_iter().enumerate() {
        sentence += &match limit {
            // What of the network it is, the window has said.
            Some((Who::Network, _)) if facts.windows[at].is_some() => String::new(),
            Some((who, part)) if part >= MOST => {
                let percent = part * 100.0;
                format!("; {way}, {} limits ({percent:.0} % of the time): {}", who.name(), advice(who))
            }
            Some((who, _)) => format!("; {way}, nothing limits alone, and {} most", who.name()),
            None => String::new(),
        };
    }
    if facts.up.is_none() && facts.down.is_none() && facts.memory != [0.0; 2] {
        let [up, down] = facts.memory.map(Rate);
        sentence += &format!(
            "; the network and both processors carry {up} up and {down} down: whether the disks keep up, sft doctor --copy HOST:DIR shows"
        );
    }
    sentence
}

fn advice(who: Who) -> &'static str {
    match who {
        Who::Disk => "a faster disk here would help",
        Who::Processor | Who::ServerProcessor => "a faster processor would help, or less beside it",
        Who::ServerDisk => {
            "a faster disk there would help, or --durability none where a loss of power may cost the last files"
        }
        Who::Network => "the line is full, or what encrypts and carries is busy",
        Who::NetworkOrServer => "a newer sft there would say which",
    }
}

pub(crate) fn milliseconds(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

const QUESTIONS: usize = 10;
/// For each way over each transport.
const MEASURE_TIME: Duration = Duration::from_millis(1_500);
/// The part of the time from which somebody is what limits.
const MOST: f64 = 0.5;
/// More than what a path loses by chance when it is well.
const LOSS_MUCH: f64 = 0.005;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_of_a_transport_limits_only_where_the_other_carries_less() {
        let (few, many) = (Carried { lanes: 4, rate: 2e7 }, Carried { lanes: 8, rate: 4e7 });
        let window = window::of_connections(false, Duration::from_millis(100), few, many, None);
        for (quic, limits) in [(1e7, true), (3e7, true), (9e7, false)] {
            let mut facts = Facts::default();
            facts.take(0, quic, None);
            facts.take(0, few.rate, window);
            assert_eq!(facts.windows[0].is_some(), limits, "{quic}");
        }
    }

    #[test]
    fn verdicts() {
        let well = Facts { port: 1303, udp: true, tcp: true, session: true, ..Facts::default() };
        assert_eq!(verdict(&well), "both transports get through");
        let cases = [
            (Facts { nowhere: true, ..Facts::default() }, "the name leads nowhere"),
            (
                Facts { udp: false, tcp: false, ..well.clone() },
                "nothing gets through: start `sft serve` there",
            ),
            (Facts { session: false, ..well.clone() }, "sft answers there, and lets nobody in"),
            (Facts { udp: false, ..well.clone() }, "UDP is blocked and TCP carries all"),
            (Facts { tcp: false, ..well.clone() }, "TCP is blocked and QUIC carries all"),
            (
                Facts {
                    windows: [window::of_transfer(Duration::from_millis(400), 1e9), None],
                    ..well.clone()
                },
                "both transports get through; the window of a transfer limits: a copy has ",
            ),
            (
                Facts { loss: 0.02, ..well.clone() },
                "both transports get through; 2.0 % of the packets are lost",
            ),
            (
                Facts { up: Some((Who::ServerDisk, 0.81)), ..well.clone() },
                "both transports get through; up, the server's disk limits (81 % of the time): a faster disk there",
            ),
            (
                Facts { up: Some((Who::Network, 0.3)), ..well.clone() },
                "both transports get through; up, nothing limits alone, and the network most",
            ),
            (
                Facts { down: Some((Who::Network, 0.5)), ..well },
                "both transports get through; down, the network limits (50 % of the time): the line is full",
            ),
        ];
        for (facts, begins) in cases {
            assert!(verdict(&facts).starts_with(begins), "{}", verdict(&facts));
        }
    }

    #[test]
    fn what_does_not_answer_as_sft_is_told_with_what_to_do() {
        let address: SocketAddr = "192.0.2.1:1303".parse().unwrap();
        let answers = Answers { tcp: Some(TcpAnswer::Closed), udp: Some(UdpAnswer::Silent) };
        let mut facts = Facts::default();
        let findings = answered(address, &answers, &mut facts);
        assert_eq!(findings.len(), 2);
        assert!(findings[0].text.starts_with("no answer within 3 s"), "{findings:?}");
        assert_eq!(
            findings[1].mend.as_deref(),
            Some("sft serve there; and let TCP port 1303 in at its firewall")
        );
        assert!(!facts.udp && !facts.tcp);
    }
}
