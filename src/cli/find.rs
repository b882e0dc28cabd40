//! `sft find`: the servers that announce themselves on the local network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use sft_auth::ServerName;
use sft_base::Shown;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::app::App;
use crate::args;
use crate::exit::Exit;
use crate::listening::{Found, Listening};
use crate::near;
use crate::pinned;
use crate::probe::{self, Answers, TcpAnswer, UdpAnswer};

/// Find servers on the local network
///
/// Asks by multicast DNS who serves, and connects to whoever answers to see whether the server has the key that it
/// announces. What stands under each can be typed as it is; `nas:` means the server that is called `nas`, where the system knows
/// no such host. Servers in other networks are not found; neither are those of `sft serve --no-announce`.
#[derive(Debug, Args)]
pub(crate) struct FindArgs {
    /// How long to listen for answers, such as 3s or 1m
    #[arg(long = "for", value_name = "TIME", default_value = "3s", value_parser = args::wait)]
    time: Duration,
}

/// Listens, and tells of each server as soon as it has answered.
pub(crate) async fn run(app: &App, typed: FindArgs) -> anyhow::Result<Exit> {
    let mut listening = Listening::start().context("cannot search the local network")?;
    let mut until = pin!(sleep(typed.time));
    let (mut known, mut asking) = (Known::default(), JoinSet::new());
    loop {
        tokio::select! {
            found = listening.next() => {
                if let Some(found) = known.unasked(found) {
                    asking.spawn(ask(found));
                }
            }
            Some(Ok((found, answers))) = asking.join_next() => {
                known.take(found, answers).map_or(Ok(()), |(found, answers)| tell(app, &found, &answers))?;
            }
            () = &mut until => break,
        }
    }
    while let Some(Ok((found, answers))) = asking.join_next().await {
        known.take(found, answers).map_or(Ok(()), |(found, answers)| tell(app, &found, &answers))?;
    }
    known.doubtful().try_for_each(|(found, answers)| tell(app, found, answers))?;
    if known.is_empty() {
        app.voice.note(&format!(
            "no server announced itself within {} s; those in other networks, or behind a firewall that stops UDP port 5353, \
             are reached by name or address all the same",
            typed.time.as_secs()
        ));
    }
    Ok(Exit::Done)
}

/// Asks at all addresses side by side: a server has some in networks that are not this machine's. The one that answers comes
/// first from then on.
async fn ask(mut found: Found) -> (Found, Answers) {
    let mut asking = JoinSet::new();
    for ip in &found.addresses {
        let address = SocketAddr::new(*ip, found.port);
        asking.spawn(async move {
            (address.ip(), probe::ask(&address.ip().to_string(), address, true, true).await)
        });
    }
    let mut best: Option<(Worth, IpAddr, Answers)> = None;
    while let Some(answered) = asking.join_next().await {
        let Ok((ip, answers)) = answered else { continue };
        let worth = found.worth(&answers);
        if best.as_ref().is_none_or(|(best, ..)| *best < worth) {
            best = Some((worth, ip, answers));
        }
        if worth == Worth::AsAnnounced {
            break;
        }
    }
    let Some((_, ip, answers)) = best else { return (found, Answers::default()) };
    found.addresses.sort_by_key(|address| *address != ip);
    (found, answers)
}

/// What an answer says about the server that was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    NoKey,
    AnyKey,
    AsAnnounced,
}

/// The servers that were heard of.
#[derive(Default)]
struct Known(BTreeMap<Key, Heard>);

/// The name under which it is announced, and its port.
type Key = (String, u16);

#[derive(Default)]
struct Heard {
    asked: BTreeSet<IpAddr>,
    told: bool,
    /// The best that has answered, or has not, where it is not known to be what was announced: it may be met elsewhere.
    doubtful: Option<(Worth, Found, Answers)>,
}

impl Known {
    /// What is to be asked now that this was heard: what is heard over one network may have other addresses than over another.
    fn unasked(&mut self, found: Found) -> Option<Found> {
        if self.0.len() >= SERVERS_MAX && !self.0.contains_key(&found.key()) {
            return None;
        }
        let heard = self.0.entry(found.key()).or_default();
        let mut addresses = found.addresses.clone();
        addresses.retain(|ip| heard.asked.len() < ADDRESSES_MAX && heard.asked.insert(*ip));
        (!heard.told && !addresses.is_empty()).then_some(Found { addresses, ..found })
    }

    /// What is to be told now that this has answered, or has not.
    fn take(&mut self, found: Found, answers: Answers) -> Option<(Found, Answers)> {
        let heard = self.0.entry(found.key()).or_default();
        let worth = found.worth(&answers);
        if worth != Worth::AsAnnounced {
            if heard.doubtful.as_ref().is_none_or(|(best, ..)| *best <= worth) {
                heard.doubtful = Some((worth, found, answers));
            }
            return None;
        }
        // The others may answer as well, and are where it is too.
        let others = heard.asked.iter().filter(|ip| !found.addresses.contains(ip));
        let addresses = found.addresses.iter().chain(others).copied().collect();
        (!std::mem::replace(&mut heard.told, true)).then_some((Found { addresses, ..found }, answers))
    }

    /// Those that did not answer at any address, or by another key than announced.
    fn doubtful(&self) -> impl Iterator<Item = (&Found, &Answers)> {
        let untold = self.0.values().filter(|heard| !heard.told);
        untold.filter_map(|heard| heard.doubtful.as_ref()).map(|(_, found, answers)| (found, answers))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Found {
    fn key(&self) -> Key {
        (self.name.clone(), self.port)
    }

    /// One that announces no key is itself whatever key it has.
    fn worth(&self, answers: &Answers) -> Worth {
        let keys = answers.keys();
        let is_announced = |key: &String| self.fingerprint.as_ref().is_none_or(|announced| announced == key);
        match keys.iter().map(ToString::to_string).any(|key| is_announced(&key)) {
            true => Worth::AsAnnounced,
            false if keys.is_empty() => Worth::NoKey,
            false => Worth::AnyKey,
        }
    }

    /// What it is called in other commands: its name, if that is one of the local network, or its address.
    fn called(&self) -> String {
        let usable = near::is_local(&self.host) && ServerName::new(&self.host, self.port).is_ok();
        if usable { self.host.clone() } else { self.addresses[0].to_string() }
    }

    /// How it is typed there.
    fn typed(&self) -> String {
        let host = self.called();
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        match self.port {
            sft_auth::DEFAULT_PORT => format!("{host}:"),
            port => format!("sft://{host}:{port}/"),
        }
    }

    /// What a person reads of it.
    fn text(&self, answers: &Answers, trust: impl Fn(&str) -> String) -> String {
        let shown = |text: &str| Shown(text.as_bytes()).to_string();
        let address = self.addresses[0];
        let mut text = format!("{} at {address}, port {}", shown(&self.name), self.port);
        text += &rtt(answers).map(|rtt| format!(", {:.1} ms", milliseconds(rtt))).unwrap_or_default();
        let proved = answers.keys().first().map(ToString::to_string);
        text += &match (&self.fingerprint, proved) {
            (_, None) => "\n  does not answer as sft\n".to_owned(),
            (Some(announced), Some(proved)) if *announced != proved => format!(
                "\n  announces the key {}\n  and has another one, {proved}: do not trust it\n",
                shown(announced)
            ),
            (_, Some(proved)) => {
                format!("\n  {proved}, {}\n  sft ls {}\n", trust(&proved), self.typed())
            }
        };
        text
    }
}

fn tell(app: &App, found: &Found, answers: &Answers) -> anyhow::Result<()> {
    let host = found.called();
    if !app.voice.json() {
        let text = found.text(answers, |key| pinned::words(app, &host, found.port, key));
        return app.voice.write(|out| out.write_all(text.as_bytes()));
    }
    let proved = answers.keys().first().map(ToString::to_string);
    let trusted = proved.as_ref().is_some_and(|key| pinned::is(app, &host, found.port, key));
    let addresses: Vec<_> = found.addresses.iter().map(ToString::to_string).collect();
    let object = json!({
        "kind": "server", "name": found.name, "host": found.host, "port": found.port, "addresses": addresses,
        "version": found.version, "announced": found.fingerprint, "fingerprint": proved, "trusted": trusted,
        "rtt_ms": rtt(answers).map(milliseconds), "type": found.typed(),
    });
    app.voice.write(|out| writeln!(out, "{object}"))
}

fn rtt(answers: &Answers) -> Option<Duration> {
    match (&answers.udp, &answers.tcp) {
        (Some(UdpAnswer::Quic { rtt, .. }), _) | (_, Some(TcpAnswer::Open { rtt, .. })) => Some(*rtt),
        _ => None,
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// At so many addresses one server is asked: anybody may announce any number of them.
const ADDRESSES_MAX: usize = 8;
/// So many servers are told of: anybody may announce any number of them, too.
const SERVERS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Native;
    use sft_auth::ServerKey;

    fn found(address: &str, port: u16, fingerprint: &str) -> Found {
        Found {
            name: "nas\u{1b}".into(),
            host: "nas.local".into(),
            port,
            addresses: vec![address.parse().unwrap()],
            fingerprint: Some(fingerprint.into()),
            version: Some("1".into()),
        }
    }

    #[test]
    fn a_server_is_told_once_whatever_addresses_it_has() {
        let key = ServerKey([7; 32]);
        let rtt = Duration::from_micros(1);
        let yes = || Answers { tcp: None, udp: Some(UdpAnswer::Quic { rtt, native: Native::Yes(key) }) };
        let no = || Answers { tcp: Some(TcpAnswer::Closed), udp: Some(UdpAnswer::Silent) };
        let at = |address| found(address, 1303, &key.to_string());
        let mut known = Known::default();
        assert!(known.unasked(at("10.9.9.9")).is_some());
        assert!(known.take(at("10.9.9.9"), no()).is_none() && known.doubtful().count() == 1, "not yet");
        let other = Found { fingerprint: Some("SHA256:other".into()), ..at("10.9.9.9") };
        assert!(known.take(other.clone(), yes()).is_none(), "somebody else has that address here");
        assert!(known.take(at("10.9.9.9"), no()).is_none());
        assert_eq!(known.doubtful().next().unwrap().0, &other, "which is said if nobody better answers");
        assert!(known.unasked(at("10.9.9.9")).is_none(), "it was asked there");
        assert!(known.unasked(at("192.0.2.1")).is_some(), "another network leads to another address");
        let (told, _) = known.take(at("192.0.2.1"), yes()).unwrap();
        assert_eq!(
            told.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["192.0.2.1", "10.9.9.9"]
        );
        assert!(known.take(at("192.0.2.7"), yes()).is_none() && known.doubtful().count() == 0);
        assert!(known.unasked(found("192.0.2.9", 1303, "")).is_none(), "it was told");
        assert!(known.unasked(found("192.0.2.9", 4000, "")).is_some(), "that is another server");
    }

    #[test]
    fn the_announced_key_is_worth_most_and_addresses_are_bounded() {
        let (key, rtt) = (ServerKey([7; 32]), Duration::from_micros(1));
        let proved = Answers { tcp: None, udp: Some(UdpAnswer::Quic { rtt, native: Native::Yes(key) }) };
        let announced = |text: &str| found("10.9.9.9", 1303, text).worth(&proved);
        assert_eq!(announced(&key.to_string()), Worth::AsAnnounced);
        assert_eq!(announced("SHA256:other"), Worth::AnyKey);
        assert_eq!(found("10.9.9.9", 1303, "").worth(&Answers::default()), Worth::NoKey);
        assert!(Worth::NoKey < Worth::AnyKey && Worth::AnyKey < Worth::AsAnnounced);
        let mut known = Known::default();
        let addresses = (0..99).map(|last| [10, 0, 0, last].into()).collect();
        let asked = known.unasked(Found { addresses, ..found("10.9.9.9", 1303, "") }).unwrap();
        assert_eq!(asked.addresses.len(), ADDRESSES_MAX);
        assert!(known.unasked(found("10.9.9.9", 1303, "")).is_none(), "nor at more when it is heard again");
        let servers =
            (1..=2 * SERVERS_MAX as u16).filter_map(|port| known.unasked(found("10.9.9.9", port, "")));
        assert!(servers.count() < SERVERS_MAX && known.0.len() == SERVERS_MAX);
    }

    #[test]
    fn what_is_told_of_a_server() {
        let key = ServerKey([7; 32]);
        let rtt = Duration::from_micros(1_234);
        let answers = Answers { tcp: None, udp: Some(UdpAnswer::Quic { rtt, native: Native::Yes(key) }) };
        let trust = |_: &str| "which you trust".to_owned();
        let text = found("192.0.2.1", 1303, &key.to_string()).text(&answers, trust);
        let expected = format!(
            "nas\\u{{1b}} at 192.0.2.1, port 1303, 1.2 ms\n  {key}, which you trust\n  sft ls nas.local:\n"
        );
        assert_eq!(text, expected);
        let liar = found("2001:db8::1", 4000, "SHA256:other").text(&answers, trust);
        let expected = format!(
            "nas\\u{{1b}} at 2001:db8::1, port 4000, 1.2 ms\n  announces the key SHA256:other\n  and has another one, {key}: do not trust it\n"
        );
        assert_eq!(liar, expected);
        assert_eq!(found("2001:db8::1", 4000, "").typed(), "sft://nas.local:4000/");
        for elsewhere in ["nas.example.org", "a b.local", ""] {
            let found = Found { host: elsewhere.into(), ..found("2001:db8::1", 4000, "") };
            assert_eq!(
                found.typed(),
                "sft://[2001:db8::1]:4000/",
                "{elsewhere} is no name to be looked up here"
            );
        }
        let nobody = Answers { tcp: Some(TcpAnswer::Closed), udp: Some(UdpAnswer::Silent) };
        let text = found("192.0.2.1", 1303, "").text(&nobody, trust);
        assert_eq!(text, "nas\\u{1b} at 192.0.2.1, port 1303\n  does not answer as sft\n");
    }
}
