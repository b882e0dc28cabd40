//! Names whose servers are told by DNS: which hosts serve `sft` for a name, and on which ports (SRV records, RFC 2782).
//!
//! Asked for names without a port alone. Where DNS says nothing, the name is the host and the port is 1303. What DNS says
//! is where to knock and nothing more: the server's key is pinned under the name that was typed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use domain::base::{Name, RelativeName};
use domain::resolv::StubResolver;
use tokio::time::timeout;

/// DNS says that nobody serves `sft` for this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} says by DNS that it has no sft service; to ask one of its hosts all the same, name the port: `sft://{0}:1303/`"
)]
pub(crate) struct NoService(String);

/// Where the servers for a name are: by priority, and among equals as their weights decide. None where DNS has no such
/// records, or does not answer in time.
pub(crate) async fn locate(host: &str) -> Result<Vec<SocketAddr>, NoService> {
    if !may_have_records(host) {
        return Ok(Vec::new());
    }
    let asking = async { tokio::join!(ask("_sftsrv._udp", host), ask("_sftsrv._tcp", host)) };
    let servers = match timeout(ANSWER_MAX, asking).await {
        Ok((Told::No, Told::No)) => return Err(NoService(host.to_owned())),
        Ok((udp, tcp)) => both(udp, tcp),
        Err(_) => Vec::new(),
    };
    let mut told = Vec::new();
    for (target, port) in servers {
        // A target that has no address is passed over: others may have one.
        let found = tokio::net::lookup_host((target.as_str(), port)).await;
        for address in found.into_iter().flatten() {
            if !told.contains(&address) {
                told.push(address);
            }
        }
    }
    Ok(told)
}

/// The servers for either transport, which are mostly the same: both transports are tried at every one.
fn both(udp: Told, tcp: Told) -> Vec<(String, u16)> {
    let mut servers = Vec::new();
    for told in [udp, tcp] {
        if let Told::Servers(more) = told {
            servers.extend(more.into_iter().filter(|server| !servers.contains(server)).collect::<Vec<_>>());
        }
    }
    servers
}

/// What DNS has about a name and a transport.
enum Told {
    /// Hosts and ports, the first to be tried first.
    Servers(Vec<(String, u16)>),
    /// That there is no such service.
    No,
    /// No such record, or no answer that makes sense.
    Nothing,
}

async fn ask(service: &str, host: &str) -> Told {
    let Ok(service) = service.parse::<RelativeName<Vec<u8>>>() else { return Told::Nothing };
    let Ok(name) = host.parse::<Name<Vec<u8>>>() else { return Told::Nothing };
    match StubResolver::new().lookup_srv(service, name, NO_RECORD).await {
        Err(_) => Told::Nothing,
        Ok(None) => Told::No,
        Ok(Some(found)) => {
            let servers = found.into_srvs().map(|srv| (srv.target().to_string(), srv.port()));
            let servers: Vec<_> = servers.filter(|(_, port)| *port != NO_RECORD).take(SERVERS_MAX).collect();
            if servers.is_empty() { Told::Nothing } else { Told::Servers(servers) }
        }
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

/// Longer than any resolver takes that is there.
const ANSWER_MAX: Duration = Duration::from_secs(1);
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
        let server = |name: &str| (name.to_owned(), 1303);
        let servers = |names: &[&str]| Told::Servers(names.iter().map(|name| server(name)).collect());
        assert_eq!(both(servers(&["a", "b"]), servers(&["b", "c"])), ["a", "b", "c"].map(server));
        assert_eq!(both(Told::Nothing, servers(&["b"])), [server("b")]);
        assert_eq!(both(Told::No, Told::Nothing), []);
    }
}
