//! Names whose servers are told by DNS: which hosts serve `sft` for a name, and on which ports (SRV records, RFC 2782).
//!
//! Asked for names without a port alone. Where DNS says nothing, the name is the host and the port is 1303. What DNS says
//! is where to knock and nothing more: the server's key is pinned under the name that was typed.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use domain::base::iana::Rcode;
use domain::base::{Name, Question, RelativeName, ToName};
use domain::resolv::lookup::srv::{SrvError, lookup_srv};
use domain::resolv::{Resolver, StubResolver};
use tokio::time::timeout;

/// DNS says that nobody serves `sft` for this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} says by DNS that it has no sft service; to ask one of its hosts all the same, name the port: `sft://{0}:1303/`"
)]
pub(crate) struct NoService(String);

/// Where the servers for a name are, as far as DNS says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// In groups by priority; in each, as their weights decide.
    At(Vec<Vec<SocketAddr>>),
    /// Nothing: the name is the host.
    Nothing,
    /// It did not answer in time, or cannot.
    NoAnswer,
}

/// Asks DNS where the servers for a name are.
pub(crate) async fn locate(host: &str) -> Result<Told, NoService> {
    if !may_have_records(host) {
        return Ok(Told::Nothing);
    }
    let servers = match tokio::join!(ask("_sftsrv._udp", host), ask("_sftsrv._tcp", host)) {
        (Answer::No, Answer::No) => return Err(NoService(host.to_owned())),
        answers => both(answers.into()),
    };
    let Some(servers) = servers else { return Ok(Told::NoAnswer) };
    let mut groups: BTreeMap<u16, Vec<SocketAddr>> = BTreeMap::new();
    for server in servers {
        // A target that has no address is passed over: others may have one.
        let found = tokio::net::lookup_host((server.host.as_str(), server.port)).await;
        for address in found.into_iter().flatten() {
            let group = groups.entry(server.priority).or_default();
            if !group.contains(&address) {
                group.push(address);
            }
        }
    }
    Ok(if groups.is_empty() { Told::Nothing } else { Told::At(groups.into_values().collect()) })
}

/// The servers for either transport, which are mostly the same: both transports are tried at every one. None where there
/// may be some that could not be heard of.
fn both(answers: [Answer; 2]) -> Option<Vec<Server>> {
    let unheard = answers.contains(&Answer::None);
    let mut servers = Vec::new();
    for answer in answers {
        if let Answer::Servers(more) = answer {
            servers.extend(more.into_iter().filter(|server| !servers.contains(server)).collect::<Vec<_>>());
        }
    }
    (!unheard || !servers.is_empty()).then_some(servers)
}

/// What DNS has about a name and a transport.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// Of one priority, the first is to be tried first.
    Servers(Vec<Server>),
    /// That there is no such service.
    No,
    /// No such record.
    Nothing,
    /// There was none.
    None,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    priority: u16,
    host: String,
    port: u16,
}

async fn ask(service: &str, host: &str) -> Answer {
    let Ok(service) = service.parse::<RelativeName<Vec<u8>>>() else { return Answer::Nothing };
    let Ok(name) = host.parse::<Name<Vec<u8>>>() else { return Answer::Nothing };
    let resolver = Definite(StubResolver::new());
    match timeout(ANSWER_MAX, lookup_srv(&resolver, service, name, NO_RECORD)).await {
        Err(_) | Ok(Err(SrvError::Query(_))) => Answer::None,
        // A name that is too long for a record has none.
        Ok(Err(_)) => Answer::Nothing,
        Ok(Ok(None)) => Answer::No,
        Ok(Ok(Some(found))) => {
            let servers = found.into_srvs().filter(|srv| srv.port() != NO_RECORD).take(SERVERS_MAX);
            let servers: Vec<_> = servers
                .map(|srv| Server {
                    priority: srv.priority(),
                    host: srv.target().to_string(),
                    port: srv.port(),
                })
                .collect();
            if servers.is_empty() { Answer::Nothing } else { Answer::Servers(servers) }
        }
    }
}

/// The system's DNS servers, whose failures do not count as an answer that there is no record.
struct Definite(StubResolver);

impl Resolver for Definite {
    type Octets = <StubResolver as Resolver>::Octets;
    type Answer = <StubResolver as Resolver>::Answer;
    type Query<'a> = Pin<Box<dyn Future<Output = io::Result<Self::Answer>> + Send + 'a>>;

    fn query<'a, N: ToName, Q: Into<Question<N>>>(&'a self, question: Q) -> Self::Query<'a> {
        let answer = Resolver::query(&self.0, question);
        Box::pin(async {
            let answer = answer.await?;
            match answer.header().rcode() {
                Rcode::NOERROR | Rcode::NXDOMAIN => Ok(answer),
                failed => Err(io::Error::other(failed.to_string())),
            }
        })
    }
}

/// Whether DNS can be asked about it: not about addresses, not about names that mean this machine or its own network, and
/// not about names without a dot, which are completed by rules of this machine.
fn may_have_records(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let local = ["localhost", "local", "invalid"];
    let last = name.rsplit('.').next().unwrap_or_default();
    name.contains('.') && host.parse::<IpAddr>().is_err() && !name.contains(':') && !local.contains(&last)
}

/// As long as the system's own resolver waits before it asks again.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The library's word for "no record" is a port of ours.
const NO_RECORD: u16 = 0;
/// More servers are not tried, whatever a DNS server says.
const SERVERS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_dns_can_be_asked_about() {
        assert!(may_have_records("files.example.org") && may_have_records("files.example.org."));
        for other in
            ["nas", "nas.local", "a.localhost", "host.invalid", "192.0.2.1", "2001:db8::1", "fe80::1%eth0.1"]
        {
            assert!(!may_have_records(other), "{other}");
        }
    }

    #[test]
    fn either_transport_counts_once() {
        let server = |name: &str| Server { priority: 1, host: name.to_owned(), port: 1303 };
        let servers = |names: &[&str]| Answer::Servers(names.iter().map(|name| server(name)).collect());
        assert_eq!(
            both([servers(&["a", "b"]), servers(&["b", "c"])]),
            Some(["a", "b", "c"].map(server).into())
        );
        assert_eq!(both([Answer::Nothing, servers(&["b"])]), Some(vec![server("b")]));
        assert_eq!(both([Answer::None, servers(&["b"])]), Some(vec![server("b")]));
        assert_eq!(both([Answer::No, Answer::Nothing]), Some(vec![]));
        assert_eq!(both([Answer::None, Answer::Nothing]), None, "there may be some");
    }
}
