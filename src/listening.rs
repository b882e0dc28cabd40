//! What is heard of servers on the local network: whoever announces itself, and whoever answers a question, in one shape.

use std::net::IpAddr;

use mdns_sd::{Receiver as Events, ResolvedService, ServiceDaemon, ServiceEvent};
use tokio::sync::mpsc::Receiver;

use crate::announce::{FINGERPRINT, SERVICES, VERSION, usable};
use crate::one_shot;

/// A server as it announces itself. All of it is a stranger's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// What people call it.
    pub name: String,
    /// Without a full stop at the end.
    pub host: String,
    /// UDP and TCP, and not 0.
    pub port: u16,
    /// At least one that can be tried; those of IPv4 first.
    pub addresses: Vec<IpAddr>,
    pub fingerprint: Option<String>,
    pub version: Option<String>,
}

/// Asks and listens until it is dropped.
pub(crate) struct Listening {
    daemon: ServiceDaemon,
    events: [Events<ServiceEvent>; 2],
    answers: Receiver<Found>,
}

impl Listening {
    /// Asks, and begins to listen. Needs a runtime.
    pub(crate) fn start() -> Result<Self, mdns_sd::Error> {
        let answers = one_shot::ask();
        let daemon = ServiceDaemon::new()?;
        let [udp, tcp] = SERVICES.map(|service| daemon.browse(service));
        Ok(Self { events: [udp?, tcp?], daemon, answers })
    }

    /// The next server that is heard of, mostly more than once. Waits for ever if there is none.
    pub(crate) async fn next(&mut self) -> Found {
        let [udp, tcp] = &self.events;
        loop {
            let event = tokio::select! {
                Some(found) = self.answers.recv() => return found,
                Ok(event) = udp.recv_async() => event,
                Ok(event) = tcp.recv_async() => event,
                else => std::future::pending().await,
            };
            if let ServiceEvent::ServiceResolved(service) = event
                && let Some(found) = Found::of(&service)
            {
                return found;
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // It ends by itself; nobody needs to wait for that.
        let _ = self.daemon.shutdown();
    }
}

impl Found {
    fn of(service: &ResolvedService) -> Option<Self> {
        let name = SERVICES.iter().find_map(|known| service.fullname.strip_suffix(known))?;
        let property = |key| service.get_property_val_str(key).map(str::to_owned);
        let found = Self {
            name: name.trim_end_matches('.').to_owned(),
            host: service.host.trim_end_matches('.').to_owned(),
            port: service.port,
            addresses: usable(service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr).collect()),
            fingerprint: property(FINGERPRINT),
            version: property(VERSION),
        };
        found.complete()
    }

    /// Itself if it has a port and an address that could be tried.
    pub(crate) fn complete(self) -> Option<Self> {
        (self.port > 0 && !self.addresses.is_empty()).then_some(self)
    }
}
