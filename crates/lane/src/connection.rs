//! One connection to a peer over either transport, after the TLS handshake; and the handle that outlives its halves.
//!
//! It proves nothing about a client: that is the session's first conversation (spec/auth.md).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quinn::{Endpoint, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsStream;

use crate::control::{ControlReader, ControlWriter, Sink, Source};
use crate::data::{Carried, DataReceiver, DataSender};
use crate::paths::Borrowed;
use crate::pin::identity_key;
use crate::tcp::{SEALED_BYTES_MAX, Tls};
use crate::{EXPORTER_LABEL, LaneError, congestion, quic, tcp};

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// QUIC over UDP.
    Quic,
    /// TLS over TCP.
    Tcp,
}

impl std::fmt::Display for Transport {
    /// The name of the port's kind, as a firewall and `ss` call it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Quic => "UDP",
            Self::Tcp => "TCP",
        })
    }
}

/// A connection whose handshake is over and whose lanes are not yet in use.
#[derive(Debug)]
pub struct Connection {
    handle: ConnectionHandle,
    source: Source,
    sink: Sink,
}

/// The pieces of a [`Connection`], each of which may live in a task of its own.
#[derive(Debug)]
pub struct Parts {
    /// Frames of the control lane from the peer.
    pub reader: ControlReader,
    /// Frames of the control lane to the peer.
    pub writer: ControlWriter,
    /// Data beside the control lane: on QUIC only. On TCP see [`crate::into_data`].
    pub data: Option<(DataSender, DataReceiver)>,
    /// The connection as a whole.
    pub handle: ConnectionHandle,
}

impl Connection {
    /// Its pieces.
    pub fn split(self) -> Parts {
        let handle = self.handle;
        let data =
            handle.quic().map(|quic| (DataSender::quic(quic.clone()), DataReceiver::quic(quic.clone())));
        Parts {
            reader: ControlReader::new(self.source, handle.clone()),
            writer: ControlWriter::new(self.sink, handle.clone()),
            data,
            handle,
        }
    }

    /// What one may ask of the connection as a whole, and do to it.
    pub fn handle(&self) -> &ConnectionHandle {
        &self.handle
    }

    /// What carries it.
    pub fn transport(&self) -> Transport {
        self.handle.transport()
    }

    /// Where the peer is; a QUIC peer may move.
    pub fn remote_address(&self) -> SocketAddr {
        self.handle.remote_address()
    }

    /// The Ed25519 key that the server proved; a server knows no key of its client here.
    pub fn peer_key(&self) -> Option<[u8; 32]> {
        self.handle.peer_key()
    }

    /// What binds a proof to this channel, the same at both ends and nowhere else.
    pub fn exporter(&self) -> [u8; 32] {
        self.handle.exporter()
    }

    /// See [`ConnectionHandle::close`].
    pub fn close(&self, code: u32, reason: &str) {
        self.handle.close(code, reason);
    }

    /// A QUIC connection and the bidirectional stream that the client opened first.
    pub(crate) fn from_quic(
        connection: quinn::Connection,
        endpoint: Endpoint,
        stream: (quinn::SendStream, quinn::RecvStream),
        path: Borrowed,
    ) -> Result<Self, String> {
        let mut exporter = [0; 32];
        connection
            .export_keying_material(&mut exporter, EXPORTER_LABEL, b"")
            .map_err(|_| "no key can be exported".to_owned())?;
        let certificates =
            connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'_>>>().ok());
        let peer_key = key_of(certificates.as_deref().map(Vec::as_slice))?;
        let port = endpoint.local_addr().map_or(0, |address| address.port());
        let local = connection.local_ip().map(|ip| canonical(SocketAddr::new(ip, port)));
        let link = Link::Quic { connection, endpoint, path };
        let (sink, source) = stream;
        Ok(Self {
            handle: ConnectionHandle::new(link, local, peer_key, exporter),
            source: Source::Quic(source),
            sink: Sink::Quic(sink),
        })
    }

    /// A TLS connection over TCP, whose round trip took `rtt` when it was made.
    pub(crate) fn from_tcp(mut tls: Tls, rtt: Duration) -> Result<Self, String> {
        match &mut tls {
            TlsStream::Client(client) => client.get_mut().1.set_buffer_limit(Some(SEALED_BYTES_MAX)),
            TlsStream::Server(server) => server.get_mut().1.set_buffer_limit(Some(SEALED_BYTES_MAX)),
        }
        let (socket, state) = tls.get_ref();
        let exporter = match &tls {
            TlsStream::Client(client) => {
                client.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, Some(b""))
            }
            TlsStream::Server(server) => {
                server.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, Some(b""))
            }
        }
        .map_err(|error| error.to_string())?;
        let peer_key = key_of(state.peer_certificates())?;
        let (stream, written) = (Arc::clone(socket.stream()), Arc::clone(socket.written()));
        let received = Arc::clone(socket.received());
        let remote = stream.peer_addr().map_err(|error| error.to_string())?;
        let local = stream.local_addr().ok().map(canonical);
        let link = Link::Tcp { stream, written, received, remote: canonical(remote), rtt };
        let (source, sink) = tokio::io::split(tls);
        Ok(Self {
            handle: ConnectionHandle::new(link, local, peer_key, exporter),
            source: Source::Tcp(source),
            sink: Sink::Tcp(sink),
        })
    }
}

/// What a QUIC connection has found out about its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuicPath {
    /// The largest packet that is known to get through, in bytes above UDP.
    pub packet_bytes: u16,
    /// Packets that this end sent.
    pub sent: u64,
    /// How many of them were held for lost.
    pub lost: u64,
}

/// A connection as a whole; cheap to clone. The connection ends when it is closed, or when this and every part of it
/// are dropped.
#[derive(Debug, Clone)]
pub struct ConnectionHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    link: Link,
    local: Option<SocketAddr>,
    peer_key: Option<[u8; 32]>,
    exporter: [u8; 32],
    /// Why a TCP connection ended; QUIC keeps its own.
    ended: watch::Sender<Option<LaneError>>,
}

#[derive(Debug)]
enum Link {
    Quic {
        connection: quinn::Connection,
        endpoint: Endpoint,
        path: Borrowed,
    },
    Tcp {
        stream: Arc<TcpStream>,
        written: Arc<AtomicU64>,
        received: Arc<AtomicU64>,
        remote: SocketAddr,
        rtt: Duration,
    },
}

impl Shared {
    /// Keeps what was learned of the path for the next connection over it.
    fn learn(&self) {
        if let Link::Quic { connection, path, .. } = &self.link
            && let Some((rate, rtt)) = congestion::learned(connection)
        {
            path.learn(rate, rtt);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.learn();
    }
}

impl ConnectionHandle {
    fn new(link: Link, local: Option<SocketAddr>, peer_key: Option<[u8; 32]>, exporter: [u8; 32]) -> Self {
        Self(Arc::new(Shared { link, local, peer_key, exporter, ended: watch::Sender::new(None) }))
    }

    /// What carries it.
    pub fn transport(&self) -> Transport {
        match self.0.link {
            Link::Quic { .. } => Transport::Quic,
            Link::Tcp { .. } => Transport::Tcp,
        }
    }

    /// Where the peer is; a QUIC peer may move.
    pub fn remote_address(&self) -> SocketAddr {
        match &self.0.link {
            Link::Quic { connection, .. } => canonical(connection.remote_address()),
            Link::Tcp { remote, .. } => *remote,
        }
    }

    /// Where this end was when the connection was made, if the system tells.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.0.local
    }

    /// The time of a round trip: on QUIC as it is now, on TCP as it was when the connection was made.
    pub fn rtt(&self) -> Duration {
        match &self.0.link {
            Link::Quic { connection, .. } => connection.rtt(),
            Link::Tcp { rtt, .. } => *rtt,
        }
    }

    /// The Ed25519 key that the server proved; a server knows no key of its client here.
    pub fn peer_key(&self) -> Option<[u8; 32]> {
        self.0.peer_key
    }

    /// What binds a proof to this channel, the same at both ends and nowhere else.
    pub fn exporter(&self) -> [u8; 32] {
        self.0.exporter
    }

    /// Ends the connection at once. A QUIC peer learns the code and the reason; a TCP peer learns of the end.
    ///
    /// To lose nothing, finish the [`ControlWriter`] and wait for the peer's end first.
    pub fn close(&self, code: u32, reason: &str) {
        match &self.0.link {
            Link::Quic { connection, .. } => {
                self.0.learn();
                connection.close(VarInt::from_u32(code), reason.as_bytes());
            }
            Link::Tcp { stream, .. } => {
                self.end(LaneError::ClosedHere);
                tcp::hang_up(stream);
            }
        }
    }

    /// What QUIC has found out about the path by now; none over TCP, whose system keeps that to itself.
    pub fn quic_path(&self) -> Option<QuicPath> {
        let path = self.quic()?.stats().path;
        Some(QuicPath { packet_bytes: path.current_mtu, sent: path.sent_packets, lost: path.lost_packets })
    }

    /// Waits until the connection is over, and says why. Over TCP that is known when a read or a write meets it.
    pub async fn closed(&self) -> LaneError {
        match &self.0.link {
            Link::Quic { connection, .. } => connection.closed().await.into(),
            Link::Tcp { .. } => {
                let mut ended = self.0.ended.subscribe();
                let end = ended.wait_for(Option::is_some).await.map(|end| end.clone());
                end.ok().flatten().unwrap_or(LaneError::ClosedHere)
            }
        }
    }

    /// Moves a QUIC client to a new socket, as a change of network does; the connection goes on from there.
    pub fn rebind(&self) -> io::Result<()> {
        match &self.0.link {
            Link::Quic { endpoint, connection, .. } if connection.side().is_client() => {
                endpoint.rebind(quic::client_socket()?)
            }
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "only a QUIC client can move")),
        }
    }

    pub(crate) fn quic(&self) -> Option<&quinn::Connection> {
        match &self.0.link {
            Link::Quic { connection, .. } => Some(connection),
            Link::Tcp { .. } => None,
        }
    }

    /// How many bytes the system has taken for a TCP connection; none over QUIC, which watches over itself.
    pub(crate) fn bytes_written(&self) -> Option<u64> {
        match &self.0.link {
            Link::Quic { .. } => None,
            Link::Tcp { written, .. } => Some(written.load(Ordering::Relaxed)),
        }
    }

    /// Bytes that the system has taken for a TCP connection, and has brought from it; over QUIC the data lane says.
    pub(crate) fn bytes_carried(&self) -> Carried {
        match &self.0.link {
            Link::Quic { .. } => Carried::default(),
            Link::Tcp { written, received, .. } => Carried {
                written: written.load(Ordering::Relaxed),
                received: received.load(Ordering::Relaxed),
            },
        }
    }

    /// Notes how a TCP connection ended. The first reason stands: what follows a close is only its echo.
    pub(crate) fn end(&self, error: LaneError) -> LaneError {
        if self.quic().is_some() || matches!(error, LaneError::Misbehaved(_)) {
            return error;
        }
        self.0.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert(error);
            first
        });
        self.0.ended.borrow().clone().unwrap_or(LaneError::ClosedHere)
    }
}

/// An IPv4 address as such, even where an IPv6 socket shows it.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn key_of(certificates: Option<&[CertificateDer<'_>]>) -> Result<Option<[u8; 32]>, String> {
    match certificates.and_then(<[_]>::first) {
        Some(certificate) => identity_key(certificate).map_err(|error| error.to_string()),
        None => Ok(None),
    }
}
