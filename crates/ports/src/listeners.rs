//! The sockets of this machine that wait for whoever comes: where, whose, and since when.
//!
//! A listening socket is a TCP socket in that state, or a UDP socket that is not tied to one peer. What the system does not
//! show to this user is counted, never guessed. Each system has a file of its own, with the same surface.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::SystemTime;

use crate::Transport;

#[cfg_attr(not(target_os = "linux"), path = "listeners/other.rs")]
#[cfg_attr(target_os = "linux", path = "listeners/linux.rs")]
mod system;

/// A socket that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// TCP or UDP.
    pub transport: Transport,
    /// Where; an unspecified address is every address of this machine.
    pub address: SocketAddr,
    /// Who opened it: a name, or a number if the system knows no name for it. None if the system does not say.
    pub user: Option<String>,
    /// The processes that hold it, by number; several if it was inherited, none if they cannot be seen.
    pub holders: Vec<Holder>,
}

/// A process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its short name, as the system keeps it.
    pub name: String,
    /// As it was started, with its arguments; the path of the program alone where no more is known; may be empty.
    pub command: String,
    /// When it was started, where that is known.
    pub since: Option<SystemTime>,
}

/// What listens, and what could not be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// By port, transport and address.
    pub listeners: Vec<Listener>,
    /// Whether some processes were hidden from this user: a listener without a holder may belong to one of them.
    pub hidden: bool,
    /// One process of each network namespace besides this one that can be seen: such as a container, with ports of its own.
    pub namespaces: Vec<u32>,
}

impl Survey {
    /// The listeners of one port.
    pub fn on(&self, port: u16) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().filter(move |listener| listener.address.port() == port)
    }

    /// Each port on which something listens.
    pub fn ports(&self) -> BTreeSet<u16> {
        self.listeners.iter().map(|listener| listener.address.port()).collect()
    }
}

/// The system does not tell what listens.
#[derive(Debug, thiserror::Error)]
#[error("this system does not tell what listens here")]
pub struct SurveyError(#[source] pub io::Error);

/// What listens on this machine, in the network namespace of this process.
///
/// - Errors: the tables of sockets cannot be read at all. What is hidden from this user is none: see [`Survey::hidden`].
/// - Takes some milliseconds, and more where there are very many processes; blocks.
pub fn listeners() -> Result<Survey, SurveyError> {
    let mut survey = system::survey().map_err(SurveyError)?;
    survey.listeners.sort_by_key(|listener| (listener.address.port(), listener.transport, listener.address));
    Ok(survey)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn what_this_process_opened_is_seen_and_gone_when_it_is_closed() {
        let began = SystemTime::now();
        let tcp = ["127.0.0.1:0", "[::1]:0"].map(|at| TcpListener::bind(at).unwrap());
        let udp = ["127.0.0.1:0", "[::1]:0"].map(|at| UdpSocket::bind(at).unwrap());
        let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
        connected.connect(udp[0].local_addr().unwrap()).unwrap();
        let mut wanted: Vec<_> =
            tcp.iter().map(|socket| (Transport::Tcp, socket.local_addr().unwrap())).collect();
        wanted.extend(udp.iter().map(|socket| (Transport::Udp, socket.local_addr().unwrap())));
        let survey = listeners().unwrap();
        for (transport, address) in &wanted {
            let found: Vec<_> = survey.on(address.port()).filter(|l| l.transport == *transport).collect();
            let [found] = found[..] else { panic!("{found:?}") };
            assert_eq!(found.address, *address);
            let [holder] = &found.holders[..] else { panic!("{found:?}") };
            assert_eq!(holder.pid, std::process::id());
            if cfg!(target_os = "linux") {
                assert!(holder.command.starts_with(&std::env::args().next().unwrap()), "{holder:?}");
                assert!(holder.since.unwrap() <= began, "{holder:?}");
                assert!(found.user.is_some());
            }
        }
        let port = connected.local_addr().unwrap().port();
        assert!(!survey.on(port).any(|l| l.transport == Transport::Udp), "it hears one peer alone");
        drop((tcp, udp));
        let mine = |l: &&Listener| l.holders.iter().any(|holder| holder.pid == std::process::id());
        let survey = listeners().unwrap();
        let left: Vec<_> = survey.listeners.iter().filter(mine).collect();
        assert!(!left.iter().any(|l| wanted.contains(&(l.transport, l.address))), "{left:?}");
    }

    #[test]
    fn by_port() {
        let survey = listeners().unwrap();
        assert!(survey.listeners.is_sorted_by_key(|listener| listener.address.port()));
    }
}
