//! Names of the local network: where the server is that announces itself under such a name, and on which port. `nas.local` is
//! one, and so is `nas` where the system knows no such host, because that is what the server is called in `sft find`.
//! An announcement says where to knock and nothing more: trust is in the server's key, pinned under the name as it was typed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sft_auth::DEFAULT_PORT;
use tokio::time::{Instant, timeout_at};

use crate::listening::Listening;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Near {
    /// At least one, the preferred one first.
    pub addresses: Vec<SocketAddr>,
    /// UDP and TCP.
    pub port: u16,
}

/// Servers are announced under a name, and none of them can be taken for the one that is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unclear {
    /// Whoever is announced was not met there: an announcement must not lead past the key that is pinned.
    #[error(
        "a server on port {port} claims the name `{host}`, which you know on {}, where none is announced; \
         `sft://{host}:{port}/` reaches it", ports(.known)
    )]
    NotMet {
        /// The name.
        host: String,
        /// Where a server is announced.
        port: u16,
        /// The ports under which keys are pinned.
        known: Vec<u16>,
    },
    /// Nothing tells which one.
    #[error(
        "several servers are announced as `{host}`, on {}; name the port, as in `sft://{host}:{}/`",
        ports(.heard), .heard[0]
    )]
    Several {
        /// The name.
        host: String,
        /// At least two.
        heard: Vec<u16>,
    },
}

/// The server with this host name on this port. None if the name is not of the local network, or nobody announces such a
/// server within a moment: the system may know the name all the same.
pub(crate) async fn locate(host: &str, port: Option<u16>) -> Option<Near> {
    let wanted: Vec<u16> = port.into_iter().collect();
    hear(host, &wanted).await.choose(host, &wanted).ok().flatten()
}

/// The server with this host name, whose port was not typed: on one of the ports where it was met, or, if it was never met,
/// on the usual port or the only one. None as for [`locate`].
pub(crate) async fn locate_known(host: &str, met: &[u16]) -> Result<Option<Near>, Unclear> {
    hear(host, met).await.choose(host, met)
}

/// What is announced under a name, until that is enough to choose from.
async fn hear(host: &str, wanted: &[u16]) -> Heard {
    let mut heard = Heard::default();
    if let Some(host) = announced_as(host).await
        && let Ok(listening) = Listening::start()
    {
        heard.listen(listening, &host, wanted).await;
    }
    heard
}

/// The name under which such a server would be announced; none if only the system can know it.
async fn announced_as(host: &str) -> Option<String> {
    if is_local(host) {
        return Some(host.to_owned());
    }
    let is_unknown = may_be_near(host) && tokio::net::lookup_host((host, DEFAULT_PORT)).await.is_err();
    is_unknown.then(|| format!("{host}.local"))
}

/// Addresses by port.
#[derive(Debug, Default)]
struct Heard(BTreeMap<u16, Vec<SocketAddr>>);

impl Heard {
    async fn listen(&mut self, mut listening: Listening, host: &str, wanted: &[u16]) {
        let mut until = Instant::now() + ANNOUNCED_MAX;
        while !self.has_best(wanted) {
            let Ok(found) = timeout_at(until, listening.next()).await else { return };
            if is_same(&found.host, host) {
                let had_one = self.acceptable(wanted).next().is_some();
                self.add(found.port, &found.addresses);
                if !had_one && self.acceptable(wanted).next().is_some() {
                    until = until.min(Instant::now() + OTHERS_MAX);
                }
            }
        }
    }

    fn add(&mut self, port: u16, addresses: &[IpAddr]) {
        let known = self.0.entry(port).or_default();
        for address in addresses.iter().map(|ip| SocketAddr::new(*ip, port)) {
            if !known.contains(&address) {
                known.push(address);
            }
        }
    }

    /// The ports that may be meant: of those that are wanted, or of all if none is wanted in particular.
    fn acceptable(&self, wanted: &[u16]) -> impl Iterator<Item = u16> {
        self.0.keys().copied().filter(|port| wanted.is_empty() || wanted.contains(port))
    }

    /// Whether nobody else could be chosen any more.
    fn has_best(&self, wanted: &[u16]) -> bool {
        self.acceptable(wanted).any(|port| port == DEFAULT_PORT || wanted == [port])
    }

    fn choose(mut self, host: &str, wanted: &[u16]) -> Result<Option<Near>, Unclear> {
        let host = || host.trim_end_matches('.').to_owned();
        let ports: Vec<_> = self.acceptable(wanted).collect();
        let port = match ports[..] {
            [] => match self.0.keys().next() {
                None => return Ok(None),
                Some(port) => {
                    return Err(Unclear::NotMet { host: host(), port: *port, known: wanted.to_vec() });
                }
            },
            [port] => port,
            _ if ports.contains(&DEFAULT_PORT) => DEFAULT_PORT,
            _ => return Err(Unclear::Several { host: host(), heard: ports }),
        };
        Ok(self.0.remove(&port).map(|addresses| Near { addresses, port }))
    }
}

/// `port 1`, or `ports 1 and 2`.
fn ports(ports: &[u16]) -> String {
    let words: Vec<_> = ports.iter().map(u16::to_string).collect();
    format!("port{} {}", if ports.len() == 1 { "" } else { "s" }, words.join(" and "))
}

/// Whether names like this one are those of the local network (RFC 6762, section 3).
pub(crate) fn is_local(host: &str) -> bool {
    host.trim_end_matches('.').to_ascii_lowercase().ends_with(".local")
}

/// Whether it can mean a server of the local network.
pub(crate) fn may_be_near(host: &str) -> bool {
    is_local(host) || !host.contains(['.', ':'])
}

fn is_same(announced: &str, host: &str) -> bool {
    announced.trim_end_matches('.').eq_ignore_ascii_case(host.trim_end_matches('.'))
}

/// Who is there answers at once; they are asked four times within a second, in case a question or its answer was lost.
const ANNOUNCED_MAX: Duration = Duration::from_millis(2500);
/// Servers of one machine answer together: who comes later than this after the first is not waited for.
const OTHERS_MAX: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_local_network() {
        assert!(is_local("nas.local") && is_local("NAS.Local."));
        assert!(!is_local("nas") && !is_local("local") && !is_local("nas.local.example.org"));
        assert!(may_be_near("nas") && may_be_near("nas.local"));
        assert!(!may_be_near("nas.example.org") && !may_be_near("192.0.2.1") && !may_be_near("fe80::1"));
        assert!(is_same("nas.local.", "NAS.local") && !is_same("nas2.local.", "nas.local"));
    }

    fn heard(ports: &[u16]) -> Heard {
        let mut heard = Heard::default();
        for port in ports {
            heard.add(*port, &[[192, 0, 2, 7].into()]);
        }
        heard
    }

    fn chosen(announced: &[u16], met: &[u16]) -> Result<Option<u16>, String> {
        let near = heard(announced).choose("nas.local", met);
        near.map(|near| near.map(|near| near.port)).map_err(|unclear| unclear.to_string())
    }

    #[test]
    fn an_announcement_does_not_lead_past_a_key() {
        assert_eq!(chosen(&[4444], &[4444]), Ok(Some(4444)));
        assert_eq!(chosen(&[4444, 1303], &[1303]), Ok(Some(1303)));
        assert_eq!(chosen(&[1303, 4444], &[4444]), Ok(Some(4444)), "the one that was met");
        let text = "a server on port 4444 claims the name `nas.local`, which you know on port 1303, where none is announced; \
                    `sft://nas.local:4444/` reaches it";
        assert_eq!(chosen(&[4444], &[1303]), Err(text.into()));
        assert_eq!(chosen(&[], &[1303]), Ok(None));
    }

    #[test]
    fn of_several_servers_the_usual_one_is_meant_or_none() {
        assert_eq!(chosen(&[4000], &[]), Ok(Some(4000)));
        assert_eq!(chosen(&[4000, 1303], &[]), Ok(Some(1303)));
        let text = "several servers are announced as `nas.local`, on ports 4000 and 4001; name the port, \
                    as in `sft://nas.local:4000/`";
        assert_eq!(chosen(&[4001, 4000], &[]), Err(text.into()));
        assert_eq!(chosen(&[4001, 4000, 5], &[4000, 4001]), Err(text.into()));
    }

    #[test]
    fn how_long_to_listen() {
        assert!(heard(&[4000, 1303]).has_best(&[]) && heard(&[4000]).has_best(&[4000]));
        assert!(!heard(&[4000]).has_best(&[]), "the usual one may follow");
        assert!(!heard(&[4000]).has_best(&[1303]) && !heard(&[4000]).has_best(&[4000, 1303]));
    }
}
