//! What answers on one port of one address, asked as politely as it can be: one connection and a greeting over TCP, a few
//! packets over UDP, and where that is promising, the handshake of SFT/1. It asks what it is told to and nothing else; there
//! is no list of ports or addresses to go through.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use sft_auth::ServerKey;
use sft_lane::{AttemptError, Choice, ConnectOptions, Dialer, Pin};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use crate::certificate::{self, Certificate};

/// What an address answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    /// Over TCP, if that was asked.
    pub tcp: Option<TcpAnswer>,
    /// Over UDP, likewise.
    pub udp: Option<UdpAnswer>,
}

/// What came of a TCP connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TcpAnswer {
    /// Somebody listens.
    Open {
        /// How long the connection took: a round trip.
        rtt: Duration,
        /// Whether it is a server of SFT/1.
        native: Native,
        /// The first line it says, of its own accord or when it is greeted as an SSH server is.
        says: Option<String>,
        /// What it shows who speaks TLS, if it is no server of SFT/1: there, the key is what counts.
        certificate: Option<Certificate>,
    },
    /// The host says that nobody listens.
    Closed,
    /// Nothing came back.
    Filtered,
    /// The system or the path refused.
    Failed(String),
}

/// What came back over UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UdpAnswer {
    /// Somebody speaks QUIC.
    Quic {
        /// How long the first answer took.
        rtt: Duration,
        /// Whether it is a server of SFT/1.
        native: Native,
    },
    /// Somebody answered, and not as QUIC.
    Other(Duration),
    /// The host says that nobody listens.
    Closed,
    /// Nothing came back, which UDP has two reasons for.
    Silent,
    /// The system or the path refused.
    Failed(String),
}

/// Whether SFT/1 is spoken there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Native {
    /// By the server with this key, which it has proved.
    Yes(ServerKey),
    /// By nobody; why, if more is known than that.
    No(Option<String>),
}

impl Answers {
    /// The keys that were proved: one, unless two servers share the port.
    pub(crate) fn keys(&self) -> Vec<ServerKey> {
        let tcp = match &self.tcp {
            Some(TcpAnswer::Open { native: Native::Yes(key), .. }) => Some(*key),
            _ => None,
        };
        let udp = match &self.udp {
            Some(UdpAnswer::Quic { native: Native::Yes(key), .. }) => Some(*key),
            _ => None,
        };
        let mut keys: Vec<_> = udp.into_iter().chain(tcp).collect();
        keys.dedup();
        keys
    }

    /// Whether this program serves there, through whatever door.
    pub(crate) fn is_sft(&self) -> bool {
        let ssh =
            matches!(&self.tcp, Some(TcpAnswer::Open { says: Some(line), .. }) if line.starts_with(OUR_SSH));
        ssh || !self.keys().is_empty()
    }

    /// Whether anybody answered at all.
    pub(crate) fn is_anybody(&self) -> bool {
        matches!(self.tcp, Some(TcpAnswer::Open { .. }))
            || matches!(self.udp, Some(UdpAnswer::Quic { .. } | UdpAnswer::Other(_)))
    }
}

/// What the SSH door of a server of ours calls itself.
pub(crate) const OUR_SSH: &str = "SSH-2.0-sft_";

/// Asks one address. `host` is what the user calls it.
pub(crate) async fn ask(host: &str, address: SocketAddr, tcp: bool, udp: bool) -> Answers {
    let asking_tcp = async { if tcp { Some(ask_tcp(host, address).await) } else { None } };
    let asking_udp = async { if udp { Some(ask_udp(host, address).await) } else { None } };
    let (tcp, udp) = tokio::join!(asking_tcp, asking_udp);
    Answers { tcp, udp }
}

/// The address at which this machine reaches one of its own listeners.
pub(crate) fn from_here(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

async fn ask_tcp(host: &str, address: SocketAddr) -> TcpAnswer {
    let began = Instant::now();
    let mut stream = match timeout(ANSWER_MAX, TcpStream::connect(address)).await {
        Err(_) => return TcpAnswer::Filtered,
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return TcpAnswer::Closed,
        // Who resets a connection took it first, or something on the way did.
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
            let native = Native::No(Some("whoever answers resets the connection at once".into()));
            return TcpAnswer::Open { rtt: began.elapsed(), native, says: None, certificate: None };
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => return TcpAnswer::Filtered,
        Ok(Err(error)) => return TcpAnswer::Failed(error.to_string()),
    };
    let rtt = began.elapsed();
    // Who speaks first is no server of ours, and would only be startled by what follows.
    if let Some(line) = first_line(&mut stream, GREETING_MAX + rtt).await {
        return TcpAnswer::Open { rtt, native: Native::No(None), says: Some(line), certificate: None };
    }
    let (native, says) = tokio::join!(dial(host, address, Choice::Tcp), greeted(stream));
    let may_be_tls =
        matches!(native, Native::No(_)) && says.as_ref().is_none_or(|line| !line.starts_with("SSH-"));
    let certificate = if may_be_tls { certificate::shown(host, address, ANSWER_MAX).await } else { None };
    TcpAnswer::Open { rtt, native, says, certificate }
}

/// What comes back to who greets like an SSH client.
async fn greeted(mut stream: TcpStream) -> Option<String> {
    stream.write_all(b"SSH-2.0-sft_port\r\n").await.ok()?;
    first_line(&mut stream, ANSWER_MAX).await
}

/// The first line that comes, or as much of it as a line may have; none if nothing comes.
async fn first_line(stream: &mut TcpStream, at_most: Duration) -> Option<String> {
    let mut bytes = Vec::new();
    let reading = async {
        while bytes.len() < LINE_BYTES_MAX && !bytes.contains(&b'\n') {
            let mut some = [0; LINE_BYTES_MAX];
            match stream.read(&mut some).await {
                Ok(count @ 1..) => bytes.extend_from_slice(&some[..count]),
                _ => break,
            }
        }
    };
    let _ = timeout(at_most, reading).await;
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let line: String = String::from_utf8_lossy(&line[..line.len().min(LINE_BYTES_MAX)]).into();
    (!line.is_empty()).then_some(line)
}

async fn ask_udp(host: &str, address: SocketAddr) -> UdpAnswer {
    match invite_quic(address).await {
        Ok(UdpAnswer::Quic { rtt, .. }) => {
            UdpAnswer::Quic { rtt, native: dial(host, address, Choice::Quic).await }
        }
        Ok(other) => other,
        Err(error) => UdpAnswer::Failed(error.to_string()),
    }
}

/// Sends what every QUIC server has to answer with the versions that it speaks (RFC 9000, section 6).
async fn invite_quic(address: SocketAddr) -> io::Result<UdpAnswer> {
    let any: SocketAddr =
        if address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    let our_id = RandomState::new().hash_one(1).to_be_bytes();
    let packet = invitation(RandomState::new().hash_one(2).to_be_bytes(), our_id);
    let began = Instant::now();
    let mut answer = [0; 1500];
    // Packets are lost: it is asked three times.
    for wait in [ANSWER_MAX / 6, ANSWER_MAX / 3, ANSWER_MAX / 2] {
        if let Err(error) = socket.send(&packet).await {
            return refused(error);
        }
        match timeout(wait, socket.recv(&mut answer)).await {
            Err(_) => {}
            Ok(Err(error)) => return refused(error),
            Ok(Ok(count)) => {
                let rtt = began.elapsed();
                let quic = is_version_negotiation(&answer[..count], our_id);
                let native = Native::No(None);
                return Ok(if quic { UdpAnswer::Quic { rtt, native } } else { UdpAnswer::Other(rtt) });
            }
        }
    }
    Ok(UdpAnswer::Silent)
}

fn refused(error: io::Error) -> io::Result<UdpAnswer> {
    if error.kind() == io::ErrorKind::ConnectionRefused { Ok(UdpAnswer::Closed) } else { Err(error) }
}

/// A long header with a version that is reserved for this, as large as a first packet has to be.
fn invitation(their_id: [u8; 8], our_id: [u8; 8]) -> Vec<u8> {
    let mut packet = vec![0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8];
    packet.extend_from_slice(&their_id);
    packet.push(8);
    packet.extend_from_slice(&our_id);
    packet.resize(1200, 0);
    packet
}

/// Whether this is the answer to it: a long header of version 0 that is addressed to us (RFC 8999, section 6).
fn is_version_negotiation(packet: &[u8], our_id: [u8; 8]) -> bool {
    packet.len() > 14
        && packet[0] & 0x80 != 0
        && packet[1..5] == [0; 4]
        && packet[5] == 8
        && packet[6..14] == our_id
}

/// The handshake of SFT/1, which ends before anything is said: a server proves its key in it.
async fn dial(host: &str, address: SocketAddr, choice: Choice) -> Native {
    let options = ConnectOptions {
        choice,
        answer_max: ANSWER_MAX,
        handshake_max: ANSWER_MAX,
        ..ConnectOptions::default()
    };
    match Dialer::new().connect(&[address], host, Pin::Any, &options).await {
        Ok(raced) => {
            let key = raced.first.peer_key();
            raced.first.close(0, "");
            key.map_or(Native::No(None), |key| Native::Yes(ServerKey(key)))
        }
        Err(error) => {
            Native::No(error.attempts.into_iter().next().and_then(|attempt| why_not(attempt.cause)))
        }
    }
}

/// What is worth telling of why it is no server of SFT/1.
fn why_not(cause: AttemptError) -> Option<String> {
    match cause {
        AttemptError::NoIdentity => Some("TLS with a certificate that is not an sft server's".into()),
        AttemptError::NotSft => Some("TLS that does not offer sft/1".into()),
        AttemptError::TurnedAway => Some("it closed the connection before it said anything".into()),
        _ => None,
    }
}

/// How long each question waits for its answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// How long those are waited for that speak first, such as SSH and SMTP.
const GREETING_MAX: Duration = Duration::from_millis(300);
/// SSH allows as much for a line that says who one is (RFC 4253, section 4.2).
const LINE_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_to_us_is_quic() {
        let packet = invitation([1; 8], [2; 8]);
        assert_eq!(packet.len(), 1200);
        let mut answer = vec![0x80, 0, 0, 0, 0, 8];
        answer.extend([2; 8]);
        answer.extend([8, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1]);
        assert!(is_version_negotiation(&answer, [2; 8]));
        assert!(!is_version_negotiation(&answer, [3; 8]), "it is another's");
        assert!(!is_version_negotiation(&packet, [2; 8]), "an echo is no answer");
        assert!(!is_version_negotiation(b"hello", [2; 8]));
    }

    #[test]
    fn every_address_is_reached_through_the_loopback() {
        let seen = |text: &str| from_here(text.parse().unwrap()).to_string();
        assert_eq!(seen("0.0.0.0:1303"), "127.0.0.1:1303");
        assert_eq!(seen("[::]:1303"), "[::1]:1303");
        assert_eq!(seen("192.0.2.1:1303"), "192.0.2.1:1303");
    }
}
