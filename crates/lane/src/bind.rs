//! Binding: UDP and TCP on one port of every address, or a message that says what to do.
//!
//! Nothing is accepted here.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use sft_base::limits;
use tokio::net::TcpListener;

use crate::{BindError, Transport, quic, tcp};

/// Where and how to listen.
#[derive(Clone)]
pub struct BindOptions {
    /// The addresses; each is bound for UDP and for TCP. Port 0 lets the system choose one port for all of them.
    /// None at all means every address of the machine: IPv6 and IPv4 on one socket, IPv4 alone where there is no IPv6.
    pub addresses: Vec<SocketAddr>,
    /// The port where `addresses` is empty.
    pub port: u16,
    /// The server's Ed25519 private key, in PKCS#8.
    pub identity_pkcs8: Vec<u8>,
    /// The names under which browsers know this server; they go into the certificate that is shown to them.
    pub web_names: Vec<String>,
    /// Only this transport is served; both when none is named.
    pub only: Option<Transport>,
    /// Whether TCP connections that do not begin with TLS are handed out, for other doors; else they are closed.
    pub plain: bool,
    /// The time that a connection has to authenticate.
    pub deadline: Duration,
    /// Connections of one address that are not authenticated yet.
    pub early_per_address_max: usize,
    /// Connections of all addresses that are not authenticated yet.
    pub early_max: usize,
}

impl BindOptions {
    /// Port 1303 of every address, both transports, with the limits of `sft_base::limits`.
    pub fn new(identity_pkcs8: Vec<u8>) -> Self {
        Self {
            addresses: Vec::new(),
            port: PORT_DEFAULT,
            identity_pkcs8,
            web_names: vec!["localhost".to_owned()],
            only: None,
            plain: false,
            deadline: Duration::from_millis(limits::AUTH_DEADLINE_MS),
            early_per_address_max: limits::EARLY_CONNECTIONS_PER_ADDRESS,
            early_max: limits::EARLY_CONNECTIONS_MAX,
        }
    }

    /// Binds what was asked for.
    pub(crate) fn sockets(&self) -> Result<Vec<Sockets>, BindError> {
        if self.addresses.is_empty() {
            bind_all(&[(Ipv6Addr::UNSPECIFIED, self.port).into()], self.only)
        } else {
            bind_all(&self.addresses, self.only)
        }
    }
}

impl std::fmt::Debug for BindOptions {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BindOptions")
            .field("addresses", &self.addresses)
            .field("port", &self.port)
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}

/// The sockets of one address.
pub(crate) struct Sockets {
    pub(crate) address: SocketAddr,
    pub(crate) tcp: Option<TcpListener>,
    pub(crate) udp: Option<std::net::UdpSocket>,
}

fn bind_all(addresses: &[SocketAddr], only: Option<Transport>) -> Result<Vec<Sockets>, BindError> {
    let mut tries_left =
        if addresses.iter().any(|address| address.port() == 0) { FREE_PORT_TRIES } else { 1 };
    loop {
        tries_left -= 1;
        match bind_once(addresses, only) {
            // The port that was free for the first socket may be taken for the next one.
            Err(BindError::Taken { .. }) if tries_left > 0 => continue,
            done => return done,
        }
    }
}

fn bind_once(addresses: &[SocketAddr], only: Option<Transport>) -> Result<Vec<Sockets>, BindError> {
    let v6_only = addresses.iter().any(SocketAddr::is_ipv4);
    let mut bound: Vec<Sockets> = Vec::new();
    for address in addresses {
        let mut address = *address;
        if let (0, Some(first)) = (address.port(), bound.first()) {
            address.set_port(first.address.port());
        }
        bound.push(bind_address(address, v6_only, only)?);
    }
    Ok(bound)
}

/// Binds one address. "Everywhere" means IPv4 where the system has no IPv6.
fn bind_address(address: SocketAddr, v6_only: bool, only: Option<Transport>) -> Result<Sockets, BindError> {
    let everywhere = address.ip() == Ipv6Addr::UNSPECIFIED;
    match bind_both(address, v6_only, only) {
        Err(BindError::Io { .. } | BindError::NotHere { .. }) if everywhere && !v6_only => {
            bind_both((Ipv4Addr::UNSPECIFIED, address.port()).into(), v6_only, only)
        }
        done => done,
    }
}

fn bind_both(mut address: SocketAddr, v6_only: bool, only: Option<Transport>) -> Result<Sockets, BindError> {
    let mut tcp = None;
    if only != Some(Transport::Quic) {
        let failed = |error| BindError::from_io(address, Transport::Tcp, error);
        let socket = tcp::listen(address, v6_only).map_err(failed)?;
        address.set_port(socket.local_addr().map_err(failed)?.port());
        tcp = Some(socket);
    }
    let mut udp = None;
    if only != Some(Transport::Tcp) {
        let failed = |error| BindError::from_io(address, Transport::Quic, error);
        let socket = quic::udp_socket(address, v6_only).map_err(failed)?;
        address.set_port(socket.local_addr().map_err(failed)?.port());
        udp = Some(socket);
    }
    Ok(Sockets { address, tcp, udp })
}

/// The service's registered port.
const PORT_DEFAULT: u16 = 1303;
/// Ports tried when the system is to choose one.
const FREE_PORT_TRIES: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn options(addresses: &[&str]) -> BindOptions {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        BindOptions { addresses, port: 0, ..BindOptions::new(Vec::new()) }
    }

    #[tokio::test]
    async fn both_sockets_of_all_addresses_have_one_port() {
        let bound = options(&["127.0.0.1:0", "127.0.0.2:0"]).sockets().unwrap();
        let port = bound[0].address.port();
        assert_ne!(port, 0);
        for sockets in &bound {
            assert_eq!(sockets.address.port(), port);
            assert_eq!(sockets.tcp.as_ref().unwrap().local_addr().unwrap(), sockets.address);
            assert_eq!(sockets.udp.as_ref().unwrap().local_addr().unwrap(), sockets.address);
        }
    }

    #[tokio::test]
    async fn everywhere_reaches_ipv4_too() {
        let bound = options(&[]).sockets().unwrap();
        assert!(bound[0].address.ip().is_unspecified());
        let over_v4 = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, bound[0].address.port()));
        assert!(over_v4.is_ok(), "{over_v4:?}");
    }

    #[tokio::test]
    async fn a_taken_port_is_named_with_its_transport() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = tcp.local_addr().unwrap();
        let refused = options(&[&taken.to_string()]).sockets().err().unwrap();
        assert!(
            matches!(refused, BindError::Taken { address, transport: Transport::Tcp } if address == taken)
        );

        // An address of its own: on the usual one, another test may have the same port for TCP.
        let udp = std::net::UdpSocket::bind("127.77.0.1:0").unwrap();
        let taken = udp.local_addr().unwrap();
        let refused = options(&[&taken.to_string()]).sockets().err().unwrap();
        assert!(
            matches!(refused, BindError::Taken { address, transport: Transport::Quic } if address == taken)
        );
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_told_apart() {
        let refused = options(&["192.0.2.1:0"]).sockets().err().unwrap();
        assert_eq!(
            refused.to_string(),
            "192.0.2.1 is not an address of this machine: choose another with --bind (see `ip address`)"
        );
    }
}
