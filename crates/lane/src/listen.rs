//! The server's side: both sockets of a port, their handshakes, and the connections that come of them.
//!
//! Handshakes run in tasks of their own, bounded in number by [`crate::early`] and in time by a deadline. Nobody is
//! authenticated here.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Endpoint, VarInt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use crate::bind::Sockets;
use crate::connection::canonical;
use crate::early::{EarlyGuard, EarlyTable, Place};
use crate::tcp::{Socket, Tls};
use crate::tls::ServerTls;
use crate::{ALPN, BindError, BindOptions, Connection, KnownPaths, Transport, quic, tcp};

/// What came to the port.
#[derive(Debug)]
pub enum Accepted {
    /// A connection that speaks `sft/1`, and its place among the unauthenticated.
    Native(Connection, EarlyGuard),
    /// A TCP connection that does not begin with TLS, nothing read from it. Drop it to close it.
    Plain {
        /// The connection.
        stream: TcpStream,
        /// Whether the peer has sent nothing at all, and so waits to be spoken to.
        is_quiet: bool,
        /// Where the peer is.
        remote_address: SocketAddr,
        /// Its place among the unauthenticated.
        early: EarlyGuard,
    },
    /// A TLS connection that negotiated something else, for another door. Drop it to close it.
    Other {
        /// The protocol that was negotiated, if any.
        alpn: Option<Vec<u8>>,
        /// The connection, nothing read from it.
        stream: ForeignStream,
        /// Where the peer is.
        remote_address: SocketAddr,
        /// Its place among the unauthenticated.
        early: EarlyGuard,
    },
}

/// The byte stream of a TLS connection that is not ours.
pub type ForeignStream = Box<dyn ByteStream>;

/// A byte stream in both directions.
pub trait ByteStream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + std::fmt::Debug {}
impl ByteStream for Tls {}

/// Both sockets of every address. Dropping it ends the sockets and every QUIC connection.
#[derive(Debug)]
pub struct Listener {
    addresses: Vec<SocketAddr>,
    endpoints: Vec<Endpoint>,
    accepted: Mutex<mpsc::Receiver<Accepted>>,
    closing: watch::Sender<bool>,
    accepting: JoinSet<()>,
}

impl Listener {
    /// Binds, and begins to accept.
    pub async fn bind(options: BindOptions) -> Result<Self, BindError> {
        let tls = Arc::new(ServerTls::new(&options.identity_pkcs8, &options.web_names)?);
        let bound = options.sockets()?;
        let (out, accepted) = mpsc::channel(ACCEPTED_MAX);
        let closing = watch::Sender::new(false);
        let gate = Gate {
            early: EarlyTable::new(options.early_per_address_max, options.early_max),
            deadline: options.deadline,
            tls: Arc::clone(&tls),
            paths: KnownPaths::default(),
            plain: options.plain,
            out,
        };
        let mut listener = Self {
            addresses: bound.iter().map(|sockets| sockets.address).collect(),
            endpoints: Vec::new(),
            accepted: Mutex::new(accepted),
            closing,
            accepting: JoinSet::new(),
        };
        for sockets in bound {
            listener.serve(sockets, &tls, &gate)?;
        }
        Ok(listener)
    }

    /// Where it listens, with the ports that the system chose; one for each address that was asked for.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// The next connection whose handshake is over; nothing after [`Self::stop_accepting`].
    ///
    /// - Cancelling: dropping the future loses nothing. It may be awaited by several tasks.
    pub async fn accept(&self) -> Option<Accepted> {
        self.accepted.lock().await.recv().await
    }

    /// Takes no new connection; those that were handed out go on.
    pub fn stop_accepting(&self) {
        self.closing.send_replace(true);
        for endpoint in &self.endpoints {
            endpoint.set_server_config(None);
        }
    }

    /// Takes no new connection, ends every QUIC connection that is left, and waits a moment for their peers to hear it.
    ///
    /// TCP connections belong to whoever holds them.
    pub async fn close(&self) {
        self.stop_accepting();
        for endpoint in &self.endpoints {
            endpoint.close(VarInt::from_u32(0), b"the server is stopping");
        }
        let farewell = async {
            for endpoint in &self.endpoints {
                endpoint.wait_idle().await;
            }
        };
        // A peer that does not answer was told once, and is then forgotten.
        let _ = timeout(FAREWELL_MAX, farewell).await;
    }

    fn serve(&mut self, sockets: Sockets, tls: &ServerTls, gate: &Gate) -> Result<(), BindError> {
        if let Some(udp) = sockets.udp {
            let endpoint = quic::server_endpoint(udp, tls)
                .map_err(|error| BindError::from_io(sockets.address, Transport::Quic, error))?;
            self.endpoints.push(endpoint.clone());
            self.accepting.spawn(accept_quic(endpoint, gate.clone(), self.closing.subscribe()));
        }
        if let Some(socket) = sockets.tcp {
            self.accepting.spawn(accept_tcp(socket, gate.clone(), self.closing.subscribe()));
        }
        Ok(())
    }
}

/// What a TCP connection began with.
enum Begun {
    /// TLS, whose handshake is over; its round trip.
    Tls(Box<Tls>, Duration),
    /// Something else, or nothing for a long time.
    Plain { stream: TcpStream, is_quiet: bool },
    /// The same where nobody wants it, or an end.
    Foreign,
}

/// What a handshake needs of its listener.
#[derive(Clone)]
struct Gate {
    early: Arc<EarlyTable>,
    deadline: Duration,
    tls: Arc<ServerTls>,
    paths: KnownPaths,
    plain: bool,
    out: mpsc::Sender<Accepted>,
}

async fn accept_tcp(listener: TcpListener, gate: Gate, mut closing: watch::Receiver<bool>) {
    let mut handshakes = JoinSet::new();
    loop {
        tokio::select! {
            () = closed(&mut closing) => break,
            Some(_) = handshakes.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, remote)) => {
                    if let Some(place) = gate.early.take(remote.ip()) {
                        handshakes.spawn(gate.clone().admit_tcp(stream, remote, place));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a TCP connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn accept_quic(endpoint: Endpoint, gate: Gate, mut closing: watch::Receiver<bool>) {
    let mut handshakes = JoinSet::new();
    loop {
        tokio::select! {
            () = closed(&mut closing) => break,
            Some(_) = handshakes.join_next() => {}
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                if let Some((incoming, place)) = gate.let_in(incoming) {
                    handshakes.spawn(gate.clone().admit_quic(incoming, endpoint.clone(), place));
                }
            }
        }
    }
}

impl Gate {
    /// Finds a place for a QUIC client, or turns it away.
    fn let_in(&self, incoming: quinn::Incoming) -> Option<(quinn::Incoming, Place)> {
        let source = incoming.remote_address().ip();
        if !incoming.remote_address_validated() && incoming.may_retry() && self.early.is_busy(source) {
            // It may be retried, as was just asked, so this cannot fail.
            let _ = incoming.retry();
            return None;
        }
        match self.early.take(source) {
            Some(place) => Some((incoming, place)),
            None => {
                incoming.refuse();
                None
            }
        }
    }

    async fn admit_tcp(self, stream: TcpStream, remote: SocketAddr, place: Place) {
        let deadline = Instant::now() + self.deadline;
        match timeout_at(deadline, self.shake_tcp(stream)).await {
            Ok(Ok(Begun::Tls(tls, rtt))) => {
                let early = EarlyGuard::new(place, deadline, None);
                self.hand_out_tcp(*tls, rtt, canonical(remote), early).await;
            }
            Ok(Ok(Begun::Plain { stream, is_quiet })) => {
                let early = EarlyGuard::new(place, deadline, None);
                let remote_address = canonical(remote);
                // The listener is gone, and the connection goes with it.
                let _ = self.out.send(Accepted::Plain { stream, is_quiet, remote_address, early }).await;
            }
            Ok(Ok(Begun::Foreign)) => tracing::debug!(%remote, "a TCP connection does not begin with TLS"),
            Ok(Err(error)) => tracing::debug!(%remote, %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!(%remote, "a TLS handshake took too long"),
        }
    }

    /// The handshake and its round trip: from the server's answer to the client's.
    async fn shake_tcp(&self, stream: TcpStream) -> io::Result<Begun> {
        tcp::tune(&stream);
        let mut first = [0; 1];
        let peeked = match timeout(QUIET_MAX, stream.peek(&mut first)).await {
            Ok(peeked) => peeked?,
            Err(_) if self.plain => return Ok(Begun::Plain { stream, is_quiet: true }),
            Err(_) => stream.peek(&mut first).await?,
        };
        match (peeked, first[0]) {
            (1, TLS_HANDSHAKE) => {}
            (1, _) if self.plain => return Ok(Begun::Plain { stream, is_quiet: false }),
            _ => return Ok(Begun::Foreign),
        }
        let begun = Instant::now();
        let tls = TlsAcceptor::from(Arc::clone(&self.tls.tcp)).accept(Socket::new(stream)).await?;
        Ok(Begun::Tls(Box::new(tls.into()), begun.elapsed()))
    }

    async fn hand_out_tcp(&self, tls: Tls, rtt: Duration, remote_address: SocketAddr, early: EarlyGuard) {
        let alpn = tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let accepted = if alpn.as_deref() == Some(ALPN) {
            match Connection::from_tcp(tls, rtt) {
                Ok(connection) => Accepted::Native(connection, early),
                Err(error) => return tracing::debug!(%remote_address, error, "a TCP connection is unusable"),
            }
        } else {
            Accepted::Other { alpn, stream: Box::new(tls), remote_address, early }
        };
        // The listener is gone, and the connection goes with it.
        let _ = self.out.send(accepted).await;
    }

    async fn admit_quic(self, incoming: quinn::Incoming, endpoint: Endpoint, place: Place) {
        let deadline = Instant::now() + self.deadline;
        let remote = incoming.remote_address();
        match timeout_at(deadline, self.shake_quic(incoming, endpoint)).await {
            Ok(Ok(connection)) => {
                let early = EarlyGuard::new(place, deadline, connection.handle().quic().cloned());
                // The listener is gone, and the connection goes with it.
                let _ = self.out.send(Accepted::Native(connection, early)).await;
            }
            Ok(Err(error)) => tracing::debug!(%remote, error, "a QUIC handshake failed"),
            Err(_) => tracing::debug!(%remote, "a QUIC handshake took too long"),
        }
    }

    /// The handshake, and the control lane that the client opens.
    async fn shake_quic(&self, incoming: quinn::Incoming, endpoint: Endpoint) -> Result<Connection, String> {
        let path = self.paths.borrow(incoming.remote_address().ip());
        let connecting = match path.known() {
            Some(known) => incoming.accept_with(Arc::new(quic::server_config(&self.tls, known))),
            None => incoming.accept(),
        };
        let connection =
            connecting.map_err(|error| error.to_string())?.await.map_err(|error| error.to_string())?;
        let stream = connection.accept_bi().await.map_err(|error| error.to_string())?;
        Connection::from_quic(connection, endpoint, stream, path)
    }
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error means that the listener is gone, which is the same.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// The first byte of every TLS connection: a record of the handshake.
/// A client that waits for the server to speak gives up after 5 s (`ssh-keyscan`). One of TLS must not be spoken to before it has
/// spoken, and behind a forwarder its first bytes may come seconds after its connection.
const QUIET_MAX: Duration = Duration::from_secs(3);
const TLS_HANDSHAKE: u8 = 0x16;
/// Finished handshakes that wait for [`Listener::accept`]; the rest wait in their tasks, each holding its place.
const ACCEPTED_MAX: usize = 16;
/// The system is out of descriptors or memory: asking again at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const FAREWELL_MAX: Duration = Duration::from_secs(1);
