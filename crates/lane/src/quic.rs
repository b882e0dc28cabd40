//! QUIC's endpoints and their numbers; the reasons for the numbers are measurements (ARCHITECTURE.md, "Lanes").

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::{
    AckFrequencyConfig, ClientConfig, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig,
    VarInt,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::congestion::FollowPath;
use crate::pin::PinVerifier;
use crate::sending;
use crate::tls::{ServerTls, quic_client_config};
use crate::{KnownPath, Pin};

/// An endpoint that accepts, on a socket that is already bound.
pub(crate) fn server_endpoint(socket: std::net::UdpSocket, tls: &ServerTls) -> io::Result<Endpoint> {
    let mut config = ServerConfig::with_crypto(Arc::clone(&tls.quic) as _);
    config.transport_config(Arc::new(early_transport()));
    config.max_incoming(INCOMING_MAX);
    config.incoming_buffer_size(INCOMING_BYTES_MAX);
    config.incoming_buffer_size_total(INCOMING_BYTES_MAX * 64);
    Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))
}

/// An endpoint that only dials.
pub(crate) fn client_endpoint() -> io::Result<Endpoint> {
    Endpoint::new(EndpointConfig::default(), None, client_socket()?, Arc::new(TokioRuntime))
}

/// A socket for a client: any port, both families where the system has both.
pub(crate) fn client_socket() -> io::Result<std::net::UdpSocket> {
    udp_socket((Ipv6Addr::UNSPECIFIED, 0).into(), false)
        .or_else(|_| udp_socket((Ipv4Addr::UNSPECIFIED, 0).into(), false))
}

/// A server's configuration for one connection over a path that is known.
pub(crate) fn server_config(tls: &ServerTls, known: KnownPath) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(Arc::clone(&tls.quic) as _);
    config.transport_config(Arc::new(along(early_transport(), Some(known))));
    config
}

/// A client's configuration for one attempt.
pub(crate) fn client_config(pin: Pin, known: Option<KnownPath>) -> (ClientConfig, Arc<PinVerifier>) {
    let (crypto, verifier) = quic_client_config(pin);
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(along(client_transport(), known)));
    (config, verifier)
}

/// A bound socket with large buffers; `v6_only` leaves the IPv4 half of `[::]` to another one.
pub(crate) fn udp_socket(address: SocketAddr, v6_only: bool) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    // Wishes: the system grants what its limits allow.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Lets the peer send in bulk, now that it is known.
pub(crate) fn raise_windows(connection: &quinn::Connection) {
    connection.set_receive_window(window(connection.rtt()));
    connection.set_max_concurrent_uni_streams(VarInt::from_u32(DATA_STREAMS_MAX));
}

/// Gives the sender memory for what is on the way, and no more: the congestion window says how much that is. Many who
/// send at once share what there is ([`crate::Sending`]).
pub(crate) fn fit_send_window(connection: &quinn::Connection) -> SendMemory {
    let window = connection.stats().path.cwnd;
    // What a lost packet holds back stays a round trip longer than it is on the way.
    let on_the_way =
        window.saturating_mul(2).saturating_add(window.saturating_mul(2).min(SEND_HELD_BACK_MAX));
    let senders = sending::count();
    let most =
        if senders < MANY_SENDERS { SEND_WINDOW_MAX } else { (SEND_MEMORY / senders).max(SEND_SHARE_MIN) };
    connection.set_send_window(on_the_way.clamp(SEND_WINDOW_MIN.min(most), most));
    if most < SEND_WINDOW_MIN { SendMemory::Scarce } else { SendMemory::Ample }
}

/// How a connection may keep what is not acknowledged yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendMemory {
    /// As it was given, however little of it is left to be acknowledged.
    Ample,
    /// In small copies, each of which goes when it is acknowledged.
    Scarce,
}

/// A short path needs little, and more than this overruns the socket buffer of a loopback.
fn window(rtt: Duration) -> VarInt {
    VarInt::from_u32(if rtt < SHORT_RTT { RECEIVE_WINDOW_SHORT } else { RECEIVE_WINDOW_LONG })
}

fn early_transport() -> TransportConfig {
    let mut transport = transport();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW_EARLY));
    transport
}

fn client_transport() -> TransportConfig {
    let mut transport = transport();
    // The server has proved its key before it can use any of this.
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(DATA_STREAMS_MAX))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW_SHORT));
    transport
}

fn along(mut transport: TransportConfig, known: Option<KnownPath>) -> TransportConfig {
    if let Some(path) = known {
        transport.congestion_controller_factory(Arc::new(FollowPath::knowing(path)));
    }
    transport
}

fn transport() -> TransportConfig {
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(ACK_EVERY));
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .send_window(SEND_WINDOW_MIN)
        .send_fairness(false)
        .congestion_controller_factory(Arc::new(FollowPath::default()))
        .ack_frequency_config(Some(acks))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_MAX.as_millis() as u32).into()))
        .keep_alive_interval(Some(KEEP_ALIVE));
    transport
}

/// A connection over which nothing came for this time is lost.
const IDLE_MAX: Duration = Duration::from_millis(sft_base::limits::SILENCE_MAX_MS);
const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// quinn closes the whole connection when one stream has more than 1024 gaps; twice that many packets fit in here.
const STREAM_WINDOW: u32 = 2 << 20;
/// Before authentication: a few control frames.
const RECEIVE_WINDOW_EARLY: u32 = 64 << 10;
const RECEIVE_WINDOW_SHORT: u32 = 16 << 20;
const RECEIVE_WINDOW_LONG: u32 = 64 << 20;
const SEND_WINDOW_MIN: u64 = 4 << 20;
const SEND_WINDOW_MAX: u64 = 64 << 20;
const SEND_HELD_BACK_MAX: u64 = 16 << 20;
/// Few share nothing: each has what its path needs.
const MANY_SENDERS: u64 = 4;
/// What all connections of a process may keep unacknowledged, once they are many; and what each may keep at least.
const SEND_MEMORY: u64 = 8 << 20;
const SEND_SHARE_MIN: u64 = 128 << 10;
const SHORT_RTT: Duration = Duration::from_millis(1);
/// Data frames on the way at once.
const DATA_STREAMS_MAX: u32 = 256;
/// Data streams that are read at the same time; each may hold one frame.
pub(crate) const DATA_STREAMS_READ_MAX: usize = 16;
const ACK_EVERY: u32 = 10;
/// What every UDP socket asks the system for, in each direction.
pub const SOCKET_BUFFER_BYTES: usize = 8 << 20;
/// First packets that wait for the accept loop.
const INCOMING_MAX: usize = 1024;
/// Bytes that one of them may bring before it is looked at.
const INCOMING_BYTES_MAX: u64 = 64 << 10;
