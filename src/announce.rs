//! Being found: a server tells the local network that it is there, by DNS-SD over multicast DNS (RFC 6762, RFC 6763). It
//! says what anybody who connects is told anyway: its name, port and fingerprint. What it serves, and to whom, is not said.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mdns_sd::{ServiceDaemon, ServiceInfo};

/// The names of the service over either transport, as they are announced and looked for.
pub(crate) const SERVICES: [&str; 2] = ["_sftsrv._udp.local.", "_sftsrv._tcp.local."];
/// In the announcement: the version of the protocol, and the server's key.
pub(crate) const VERSION: &str = "v";
pub(crate) const FINGERPRINT: &str = "fp";

/// What is announced.
#[derive(Debug, Clone)]
pub(crate) struct Announced<'a> {
    /// The name of this machine.
    pub machine: &'a str,
    /// Where the server listens.
    pub addresses: &'a [SocketAddr],
    /// Its key, as it is shown.
    pub fingerprint: &'a str,
}

/// An announcement that lasts until it is stopped.
pub(crate) struct Announcement {
    daemon: ServiceDaemon,
    services: Vec<String>,
    name: String,
}

impl Announced<'_> {
    /// Whether somebody on another machine could connect.
    pub(crate) fn reaches_others(&self) -> bool {
        self.addresses.iter().any(|address| !address.ip().is_loopback())
    }

    fn port(&self) -> u16 {
        self.addresses.first().map_or(0, SocketAddr::port)
    }

    /// What people see: the machine, and the port if it is not the usual one.
    fn name(&self) -> String {
        match self.port() {
            sft_auth::DEFAULT_PORT => self.label().to_owned(),
            port => format!("{} ({port})", self.label()),
        }
    }

    /// The first part of the machine's name, without its domain.
    fn label(&self) -> &str {
        self.machine.split('.').next().filter(|label| !label.is_empty()).unwrap_or("sft")
    }

    fn services(&self) -> Result<Vec<ServiceInfo>, mdns_sd::Error> {
        let host = format!("{}.local.", self.label());
        let properties = [(VERSION, "1"), (FINGERPRINT, self.fingerprint)];
        let everywhere = self.addresses.iter().any(|address| address.ip().is_unspecified());
        let addresses = self.addresses.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified());
        let addresses: Vec<IpAddr> = addresses.filter(|ip| !ip.is_loopback()).collect();
        let info = |service| {
            let info =
                ServiceInfo::new(service, &self.name(), &host, &addresses[..], self.port(), &properties[..])?;
            // Addresses come and go with networks; those of a server that listens on all of them are followed.
            Ok(if everywhere { info.enable_addr_auto() } else { info })
        };
        SERVICES.into_iter().map(info).collect()
    }
}

impl Announcement {
    /// Begins to announce.
    pub(crate) fn start(announced: &Announced<'_>) -> Result<Self, mdns_sd::Error> {
        let daemon = ServiceDaemon::new()?;
        let mut services = Vec::new();
        for info in announced.services()? {
            services.push(info.get_fullname().to_owned());
            daemon.register(info)?;
        }
        Ok(Self { daemon, services, name: announced.name() })
    }

    /// The name under which others find this server.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Takes it back, so that nobody finds a server that is gone. Blocks for a moment.
    pub(crate) fn stop(self) {
        for service in &self.services {
            if let Ok(said) = self.daemon.unregister(service) {
                let _ = said.recv_timeout(GOODBYE_MAX);
            }
        }
        if let Ok(ended) = self.daemon.shutdown() {
            let _ = ended.recv_timeout(GOODBYE_MAX);
        }
    }
}

/// The addresses at which a server that was found can be tried: those of IPv4 first. Addresses of one link alone are left
/// out, because they mean nothing without the link.
pub(crate) fn usable(addresses: HashSet<IpAddr>) -> Vec<IpAddr> {
    let link_local = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_loopback(),
    };
    let mut usable: Vec<_> = addresses.into_iter().filter(|ip| !link_local(ip)).collect();
    usable.sort_unstable();
    usable
}

const GOODBYE_MAX: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    fn announced<'a>(addresses: &'a [SocketAddr]) -> Announced<'a> {
        Announced { machine: "nas.example.org", addresses, fingerprint: "SHA256:abc" }
    }

    #[test]
    fn what_is_told() {
        let addresses = ["0.0.0.0:1303".parse().unwrap()];
        let services = announced(&addresses).services().unwrap();
        let names: Vec<_> = services.iter().map(ServiceInfo::get_fullname).collect();
        assert_eq!(names, ["nas._sftsrv._udp.local.", "nas._sftsrv._tcp.local."]);
        assert_eq!((services[0].get_hostname(), services[0].get_port()), ("nas.local.", 1303));
        assert_eq!(services[0].get_property_val_str("fp"), Some("SHA256:abc"));
        assert_eq!(services[0].get_property_val_str("v"), Some("1"));
        let addresses = ["192.0.2.1:4000".parse().unwrap()];
        let services = announced(&addresses).services().unwrap();
        assert!(services[0].get_fullname().starts_with("nas (4000)."));
        assert_eq!(services[0].get_addresses_v4().len(), 1);
    }

    #[test]
    fn a_server_for_this_machine_alone_is_not_told_of() {
        let loopback = ["127.0.0.1:1303".parse().unwrap(), "[::1]:1303".parse().unwrap()];
        assert!(!announced(&loopback).reaches_others());
        assert!(announced(&["[::]:1303".parse().unwrap()]).reaches_others());
    }

    #[test]
    fn addresses_that_can_be_tried() {
        let all = ["fe80::1", "2001:db8::1", "127.0.0.1", "192.0.2.1", "::1"];
        let usable = usable(all.iter().map(|ip| ip.parse().unwrap()).collect());
        assert_eq!(usable, ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
    }
}
