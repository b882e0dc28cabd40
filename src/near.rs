//! Names of the local network (`nas.local`): where the server is that announces itself under such a name, and on which port.
//! An announcement says where to knock and nothing more: trust is in the server's key, pinned under the name.

use std::net::SocketAddr;
use std::time::Duration;

use mdns_sd::{ServiceDaemon, ServiceEvent};
use tokio::time::{Instant, sleep_until};

use crate::announce::{SERVICES, usable};

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Near {
    /// At least one, the preferred one first.
    pub addresses: Vec<SocketAddr>,
    /// UDP and TCP.
    pub port: u16,
}

/// The server with this host name, on this port if one is meant. None if the name is not of the local network, or nobody
/// announces such a server within a moment: the system may know the name all the same.
pub(crate) async fn locate(host: &str, port: Option<u16>) -> Option<Near> {
    if !is_local(host) {
        return None;
    }
    let daemon = ServiceDaemon::new().ok()?;
    let near = listen(&daemon, host, port).await;
    // It ends by itself; nobody needs to wait for that.
    let _ = daemon.shutdown();
    near
}

async fn listen(daemon: &ServiceDaemon, host: &str, port: Option<u16>) -> Option<Near> {
    let [udp, tcp] = SERVICES.map(|service| daemon.browse(service).ok());
    let (udp, tcp) = (udp?, tcp?);
    let until = Instant::now() + ANNOUNCED_MAX;
    loop {
        let event = tokio::select! {
            Ok(event) = udp.recv_async() => event,
            Ok(event) = tcp.recv_async() => event,
            () = sleep_until(until) => return None,
        };
        if let ServiceEvent::ServiceResolved(service) = event
            && is_same(&service.host, host)
            && port.is_none_or(|port| port == service.port)
        {
            let addresses = usable(service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr).collect());
            let addresses: Vec<_> =
                addresses.into_iter().map(|ip| SocketAddr::new(ip, service.port)).collect();
            if !addresses.is_empty() && service.port > 0 {
                return Some(Near { addresses, port: service.port });
            }
        }
    }
}

/// Whether names like this one are those of the local network (RFC 6762, section 3).
pub(crate) fn is_local(host: &str) -> bool {
    host.trim_end_matches('.').to_ascii_lowercase().ends_with(".local")
}

fn is_same(announced: &str, host: &str) -> bool {
    announced.trim_end_matches('.').eq_ignore_ascii_case(host.trim_end_matches('.'))
}

/// Who is there answers at once; it is asked again after a second, in case the question was lost.
const ANNOUNCED_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_local_network() {
        assert!(is_local("nas.local") && is_local("NAS.Local."));
        assert!(!is_local("nas") && !is_local("local") && !is_local("nas.local.example.org"));
        assert!(is_same("nas.local.", "NAS.local") && !is_same("nas2.local.", "nas.local"));
    }
}
