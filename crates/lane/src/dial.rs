//! The client's side: races both transports to a server, and keeps the second one too if it is wanted.
//!
//! When to try what is [`crate::race`]'s; here are the sockets. A server is pinned in every handshake, so nothing is
//! ever sent to another one.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quinn::Endpoint;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;

use crate::pin::PinVerifier;
use crate::tcp::{self, Socket};
use crate::tls::client_config;
use crate::{
    ALPN, Attempt, AttemptError, Choice, ConnectError, Connection, FailedAttempt, KnownPaths, Pin, Race,
    Transport, quic,
};

/// How to dial.
#[derive(Debug, Clone, Copy)]
pub struct ConnectOptions {
    /// Which transports may be used.
    pub choice: Choice,
    /// UDP was found to be blocked in this network not long ago: TCP is tried at once.
    pub udp_was_blocked: bool,
    /// The time between the turns of the race.
    pub gap: Duration,
    /// How long an attempt waits for the first sign of life: over QUIC for packets of the handshake, over TCP for a
    /// connection. Enough for two packets that are lost on a path of two seconds.
    pub answer_max: Duration,
    /// How long the handshake may take from then on.
    pub handshake_max: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            choice: Choice::Auto,
            udp_was_blocked: false,
            gap: Duration::from_millis(250),
            answer_max: Duration::from_secs(5),
            handshake_max: Duration::from_secs(10),
        }
    }
}

/// What a race brought.
#[derive(Debug)]
pub struct Raced {
    /// The connection that came up first.
    pub first: Connection,
    /// The other transport, still on its way, when both may be used. Dropping it gives it up.
    pub later: Option<Later>,
}

/// A connection that may still come up.
#[derive(Debug)]
pub struct Later(JoinHandle<Result<Connection, ConnectError>>);

impl Later {
    /// Waits for it. May be dropped and called again until it has answered, and not after.
    pub async fn wait(&mut self) -> Result<Connection, ConnectError> {
        // The task is aborted only when this is dropped, and dials without panicking.
        (&mut self.0).await.unwrap_or(Err(ConnectError { attempts: Vec::new() }))
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A client's sockets: one for all QUIC connections, made when it is needed. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Dialer {
    endpoint: Arc<Mutex<Option<Endpoint>>>,
    paths: KnownPaths,
}

/// Dials once; see [`Dialer::connect`].
pub async fn connect(
    addresses: &[SocketAddr],
    server_name: &str,
    pin: Pin,
    options: &ConnectOptions,
) -> Result<Raced, ConnectError> {
    Dialer::new().connect(addresses, server_name, pin, options).await
}

impl Dialer {
    /// A client that has no socket yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A client that has no socket yet, and knows some paths from before.
    pub fn knowing(paths: KnownPaths) -> Self {
        Self { paths, ..Self::default() }
    }

    /// Races the allowed transports to all addresses of one server; what comes up first is returned at once.
    ///
    /// - Shape: the preferred address first; `server_name` is what the user typed, a name or an address.
    /// - With [`Pin::Any`], ask [`Connection::peer_key`] before anything is sent. The later connection shows the same
    ///   key as the first, or fails.
    /// - Errors: every attempt with its cause, once the last has failed.
    pub async fn connect(
        &self,
        addresses: &[SocketAddr],
        server_name: &str,
        pin: Pin,
        options: &ConnectOptions,
    ) -> Result<Raced, ConnectError> {
        let target = Target::new(self, server_name, pin, options);
        let mut field = Field::new(target);
        let mut race = Race::new(addresses, options.choice, options.udp_was_blocked, options.gap);
        let begun = Instant::now();
        loop {
            while let Some(attempt) = race.due(begun.elapsed()) {
                field.start(attempt);
            }
            let wake = race.wake_at().map(|at| begun + at);
            tokio::select! {
                Some((attempt, result)) = field.next() => match result {
                    Ok(first) => {
                        let later = (options.choice == Choice::Auto).then(|| field.keep_other(attempt, &first));
                        return Ok(Raced { first, later });
                    }
                    Err(cause) => {
                        field.note(attempt, cause);
                        race.failed(begun.elapsed());
                    }
                },
                () = sleep_until(wake.unwrap_or(begun)), if wake.is_some() => {}
                else => return Err(field.failed()),
            }
        }
    }

    /// Opens one more TCP connection, to become a data lane: the caller writes `attach` and then takes
    /// [`crate::into_data`].
    pub async fn dial_data(
        &self,
        address: SocketAddr,
        server_name: &str,
        pin: Pin,
        options: &ConnectOptions,
    ) -> Result<Connection, ConnectError> {
        let target = Target::new(self, server_name, pin, options);
        let attempt = Attempt { address, transport: Transport::Tcp };
        target.dial(attempt).await.map_err(|cause| ConnectError { attempts: vec![failure(attempt, cause)] })
    }

    fn endpoint(&self) -> io::Result<Endpoint> {
        let mut endpoint = self.endpoint.lock().expect("nothing panics while it is locked");
        match &*endpoint {
            Some(endpoint) => Ok(endpoint.clone()),
            None => Ok(endpoint.insert(quic::client_endpoint()?).clone()),
        }
    }
}

/// The attempts that are running.
struct Field {
    target: Target,
    running: JoinSet<(Attempt, Result<Connection, AttemptError>)>,
    started: Vec<(Attempt, AbortHandle)>,
    failures: Vec<FailedAttempt>,
}

impl Field {
    fn new(target: Target) -> Self {
        Self { target, running: JoinSet::new(), started: Vec::new(), failures: Vec::new() }
    }

    fn start(&mut self, attempt: Attempt) {
        let target = self.target.clone();
        let task = self.running.spawn(async move { (attempt, target.dial(attempt).await) });
        self.started.push((attempt, task));
    }

    /// The next attempt that ends; nothing when none is running. Those that were given up do not count.
    async fn next(&mut self) -> Option<(Attempt, Result<Connection, AttemptError>)> {
        loop {
            if let Ok(ended) = self.running.join_next().await? {
                return Some(ended);
            }
        }
    }

    fn note(&mut self, attempt: Attempt, cause: AttemptError) {
        self.failures.push(failure(attempt, cause));
    }

    fn failed(self) -> ConnectError {
        ConnectError { attempts: self.failures }
    }

    /// Goes on with the other transport alone, at the winner's address if nowhere else.
    fn keep_other(mut self, won: Attempt, first: &Connection) -> Later {
        for (attempt, task) in &self.started {
            if attempt.transport == won.transport {
                task.abort();
            }
        }
        let other = match won.transport {
            Transport::Quic => Transport::Tcp,
            Transport::Tcp => Transport::Quic,
        };
        let counterpart = Attempt { transport: other, ..won };
        if !self.started.iter().any(|(attempt, _)| *attempt == counterpart) {
            // One server has one key, whatever it was pinned by.
            self.target.pin = first.peer_key().map_or(self.target.pin, Pin::Key);
            self.start(counterpart);
        }
        let key = first.peer_key();
        Later(tokio::spawn(async move {
            while let Some((attempt, result)) = self.next().await {
                match result {
                    Ok(connection) if connection.peer_key() == key => return Ok(connection),
                    Ok(other) => {
                        let cause = other
                            .peer_key()
                            .map_or(AttemptError::NoIdentity, |got| AttemptError::WrongKey { got });
                        self.note(attempt, cause);
                    }
                    Err(cause) => self.note(attempt, cause),
                }
            }
            Err(self.failed())
        }))
    }
}

/// The server that is dialled.
#[derive(Clone)]
struct Target {
    dialer: Dialer,
    name: String,
    pin: Pin,
    answer_max: Duration,
    handshake_max: Duration,
}

impl Target {
    fn new(dialer: &Dialer, name: &str, pin: Pin, options: &ConnectOptions) -> Self {
        let ConnectOptions { answer_max, handshake_max, .. } = *options;
        Self { dialer: dialer.clone(), name: name.to_owned(), pin, answer_max, handshake_max }
    }

    async fn dial(&self, attempt: Attempt) -> Result<Connection, AttemptError> {
        match attempt.transport {
            Transport::Quic => self.dial_quic(attempt.address).await,
            Transport::Tcp => self.dial_tcp(attempt.address).await,
        }
    }

    /// Waits for the first sign of life. Who answers late is slow; who does not answer is not there.
    async fn answer<T>(&self, sign: impl Future<Output = T>) -> Result<T, AttemptError> {
        timeout(self.answer_max, sign).await.map_err(|_| AttemptError::TimedOut(self.answer_max))
    }

    /// Waits for the rest of the handshake with somebody who answers.
    async fn handshake<T>(
        &self,
        rest: impl Future<Output = Result<T, AttemptError>>,
    ) -> Result<T, AttemptError> {
        let late = AttemptError::Unfinished(self.handshake_max);
        timeout(self.handshake_max, rest).await.unwrap_or(Err(late))
    }

    async fn dial_quic(&self, address: SocketAddr) -> Result<Connection, AttemptError> {
        let path = self.dialer.paths.borrow(address.ip());
        let (config, verifier) = quic::client_config(self.pin, path.known());
        let endpoint = self.dialer.endpoint().map_err(io_cause)?;
        let mut connecting = endpoint
            .connect_with(config, address, &self.name)
            .map_err(|error| AttemptError::Handshake(error.to_string()))?;
        let cause = |error| quic_cause(&verifier, error, self.handshake_max);
        self.answer(connecting.handshake_data()).await?.map_err(cause)?;
        self.handshake(async {
            let connection = connecting.await.map_err(cause)?;
            let stream = connection.open_bi().await.map_err(cause)?;
            quic::raise_windows(&connection);
            Connection::from_quic(connection, endpoint, stream, path).map_err(AttemptError::Handshake)
        })
        .await
    }

    async fn dial_tcp(&self, address: SocketAddr) -> Result<Connection, AttemptError> {
        let name = ServerName::try_from(self.name.clone())
            .map_err(|_| AttemptError::Handshake(format!("\"{}\" is no name of a server", self.name)))?;
        let (config, verifier) = client_config(self.pin);
        let begun = Instant::now();
        let stream = self.answer(TcpStream::connect(address)).await?.map_err(io_cause)?;
        let rtt = begun.elapsed();
        tcp::tune(&stream);
        let tls = self
            .handshake(async {
                let shaken = TlsConnector::from(Arc::new(config)).connect(name, Socket::new(stream)).await;
                shaken.map_err(|error| verifier.take_refusal().unwrap_or_else(|| tls_cause(error)))
            })
            .await?;
        if tls.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(AttemptError::NotSft);
        }
        Connection::from_tcp(tls.into(), rtt).map_err(AttemptError::Handshake)
    }
}

fn failure(attempt: Attempt, cause: AttemptError) -> FailedAttempt {
    FailedAttempt { address: attempt.address, transport: attempt.transport, cause }
}

fn io_cause(error: io::Error) -> AttemptError {
    AttemptError::Io(Arc::new(error))
}

fn tls_cause(error: io::Error) -> AttemptError {
    use rustls::{AlertDescription, Error};
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => AttemptError::NotSft,
        Some(tls) => AttemptError::Handshake(tls.to_string()),
        None if is_end(error.kind()) => AttemptError::TurnedAway,
        None => io_cause(error),
    }
}

fn is_end(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

fn quic_cause(verifier: &PinVerifier, error: quinn::ConnectionError, max: Duration) -> AttemptError {
    if let Some(refusal) = verifier.take_refusal() {
        return refusal;
    }
    match error {
        quinn::ConnectionError::TimedOut => AttemptError::Unfinished(max),
        quinn::ConnectionError::ConnectionClosed(close) if close.error_code == no_alpn() => {
            AttemptError::NotSft
        }
        quinn::ConnectionError::ConnectionClosed(close)
            if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED =>
        {
            AttemptError::TurnedAway
        }
        other => AttemptError::Handshake(other.to_string()),
    }
}

/// How QUIC says what TLS calls `no_application_protocol` (RFC 9001, section 4.8).
fn no_alpn() -> quinn::TransportErrorCode {
    quinn::TransportErrorCode::crypto(120)
}
