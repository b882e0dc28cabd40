//! A network that can be spoiled: forwards one port of this machine, UDP and TCP, to a server.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::relay_tcp::Tcp;
use crate::relay_udp::Udp;

/// What becomes of what a transport carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Pass,
    /// It arrives this much later.
    Delay(Duration),
    /// It vanishes without a word.
    Vanish,
    /// So many percent of it vanish. UDP only: TCP would notice.
    Lose(u8),
}

/// A relay before a server. Dropping it cuts everything.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    udp: Udp,
    tcp: Tcp,
}

/// What a relay's threads look at.
#[derive(Debug)]
pub(crate) struct Conditions {
    pub(crate) fate: Mutex<Fate>,
    /// Bytes a second in each direction; 0 for no bound.
    pub(crate) rate: AtomicU64,
    /// Bytes that were forwarded.
    pub(crate) passed: AtomicU64,
    pub(crate) over: AtomicBool,
}

/// Spreads bytes over time. Each direction has its own.
#[derive(Debug)]
pub(crate) struct Pace(Instant);

impl Relay {
    /// Forwards a port that the system gives, the same for both transports.
    pub fn start(server: SocketAddr) -> Self {
        let (tcp, udp) = bind_both();
        let port = tcp.local_addr().expect("it is bound").port();
        Self { port, udp: Udp::start(udp, server), tcp: Tcp::start(tcp, server) }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What becomes of datagrams.
    pub fn udp(&self, fate: Fate) {
        self.udp.conditions.set(fate);
    }

    /// What becomes of connections' bytes, of those that stand and those to come.
    pub fn tcp(&self, fate: Fate) {
        self.tcp.conditions.set(fate);
    }

    /// A bound to the bytes a second, of each connection and of all datagrams in each direction.
    pub fn rate(&self, bytes_per_second: u64) {
        self.udp.conditions.rate.store(bytes_per_second, Ordering::Relaxed);
        self.tcp.conditions.rate.store(bytes_per_second, Ordering::Relaxed);
    }

    /// A bound to the bytes a second of all datagrams in each direction, as networks have that do not like them.
    pub fn udp_rate(&self, bytes_per_second: u64) {
        self.udp.conditions.rate.store(bytes_per_second, Ordering::Relaxed);
    }

    /// Refuses new connections, as a machine does where nobody listens. Those that stand go on.
    pub fn close_tcp(&mut self) {
        self.tcp.stop_listening();
    }

    /// Resets the connections that stand, all of them or so many of the oldest; how many there were.
    pub fn reset_tcp(&self, at_most: usize) -> usize {
        self.tcp.reset(at_most)
    }

    /// From now on the connection that carried most swallows what either end sends, and stays open: both systems believe
    /// that all is well. How much it had carried.
    pub fn silence_busiest_tcp(&self) -> u64 {
        self.tcp.silence_busiest()
    }

    /// Connections that stand.
    pub fn tcp_connections(&self) -> usize {
        self.tcp.standing()
    }

    /// From now on the server sees the datagrams of every client come from another address.
    pub fn move_clients(&self) {
        self.udp.move_clients();
    }

    /// Bytes that went through over UDP and over TCP, both directions.
    pub fn passed(&self) -> (u64, u64) {
        (
            self.udp.conditions.passed.load(Ordering::Relaxed),
            self.tcp.conditions.passed.load(Ordering::Relaxed),
        )
    }
}

impl Conditions {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            fate: Mutex::new(Fate::Pass),
            rate: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            over: AtomicBool::new(false),
        })
    }

    fn set(&self, fate: Fate) {
        *self.fate.lock().expect("no holder of this lock panics") = fate;
    }

    pub(crate) fn fate(&self) -> Fate {
        *self.fate.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    /// Waits as long as so many bytes take.
    pub(crate) fn spend(&mut self, bytes: usize, conditions: &Conditions) {
        conditions.passed.fetch_add(bytes as u64, Ordering::Relaxed);
        let rate = conditions.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        // What was not used of the last moments may be caught up with, or a short wait would halve the rate.
        let earliest = Instant::now().checked_sub(BURST).unwrap_or(self.0);
        self.0 = self.0.max(earliest) + Duration::from_secs_f64(bytes as f64 / rate as f64);
        let wait = self.0.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
    }
}

fn bind_both() -> (TcpListener, UdpSocket) {
    for _ in 0..100 {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system gives a port");
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().expect("it is bound")) {
            return (tcp, udp);
        }
    }
    panic!("no port is free for both transports");
}

const BURST: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn echo() -> (SocketAddr, std::sync::mpsc::Receiver<SocketAddr>) {
        let (tcp, udp) = bind_both();
        let address = tcp.local_addr().unwrap();
        let (seen, sources) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut back = stream.try_clone().unwrap();
                    std::io::copy(&mut &stream, &mut back)
                });
            }
        });
        std::thread::spawn(move || {
            let mut buffer = [0; 2000];
            while let Ok((read, from)) = udp.recv_from(&mut buffer) {
                let _ = seen.send(from);
                let _ = udp.send_to(&buffer[..read], from);
            }
        });
        (address, sources)
    }

    #[test]
    fn connections_pass_stall_and_are_reset() {
        let mut relay = Relay::start(echo().0);
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port())).unwrap();
        let patience = |stream: &TcpStream, millis| {
            stream.set_read_timeout(Some(Duration::from_millis(millis))).unwrap();
        };
        patience(&stream, 20_000);
        let mut answer = [0; 4];
        stream.write_all(b"ping").unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert_eq!((&answer, relay.tcp_connections()), (b"ping", 1));
        relay.tcp(Fate::Vanish);
        stream.write_all(b"more").unwrap();
        patience(&stream, 300);
        assert!(stream.read_exact(&mut answer).is_err(), "nothing comes while it vanishes");
        patience(&stream, 20_000);
        relay.tcp(Fate::Pass);
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(relay.reset_tcp(9), 1);
        let error = stream.read_exact(&mut answer).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        relay.close_tcp();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port())).is_err());
    }

    #[test]
    fn the_busiest_connection_swallows_and_stays_open() {
        let relay = Relay::start(echo().0);
        let connect = || {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port())).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            stream
        };
        let (mut quiet, mut busy) = (connect(), connect());
        let mut answer = [0; 100];
        quiet.write_all(&[1; 9]).unwrap();
        quiet.read_exact(&mut answer[..9]).unwrap();
        busy.write_all(&[1; 100]).unwrap();
        busy.read_exact(&mut answer).unwrap();
        assert_eq!(relay.silence_busiest_tcp(), 200);
        busy.write_all(&[1; 100]).unwrap();
        let error = busy.read(&mut answer).unwrap_err();
        assert!(matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut));
        quiet.write_all(&[1; 9]).unwrap();
        quiet.read_exact(&mut answer[..9]).unwrap();
        assert_eq!(relay.tcp_connections(), 2);
    }

    #[test]
    fn datagrams_pass_vanish_and_come_from_elsewhere() {
        let (server, sources) = echo();
        let relay = Relay::start(server);
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.connect((Ipv4Addr::LOCALHOST, relay.port())).unwrap();
        let patience = |millis| client.set_read_timeout(Some(Duration::from_millis(millis))).unwrap();
        let ask = || client.send(b"ping").and_then(|_| client.recv(&mut [0; 10]));
        patience(20_000);
        assert_eq!(ask().unwrap(), 4);
        relay.udp(Fate::Vanish);
        patience(300);
        assert!(ask().is_err());
        patience(20_000);
        relay.udp(Fate::Delay(Duration::from_millis(50)));
        let begun = Instant::now();
        assert_eq!(ask().unwrap(), 4);
        assert!(begun.elapsed() >= Duration::from_millis(100), "there and back");
        relay.udp(Fate::Pass);
        relay.move_clients();
        assert_eq!(ask().unwrap(), 4);
        let seen: Vec<SocketAddr> = sources.try_iter().collect();
        assert_ne!(seen.first(), seen.last());
    }

    #[test]
    fn a_rate_is_kept() {
        let relay = Relay::start(echo().0);
        relay.rate(1 << 20);
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port())).unwrap();
        let begun = Instant::now();
        stream.write_all(&vec![1; 256 << 10]).unwrap();
        stream.read_exact(&mut vec![0; 256 << 10]).unwrap();
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(200), "{took:?}");
    }
}
