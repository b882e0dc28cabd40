//! From a target to an open session: addresses, the race of transports, the server's key, the client's proof.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sft_auth::{Fingerprint, ServerKey, ServerName, Trust, TrustCheck};
use sft_engine::{Link, Role, TransferPort};
use sft_lane::{Connection, Dialer, Later, Pin, Raced};
use sft_wire::message::Op;

use crate::error::ConnectError;
use crate::lanes::{Lanes, Means};
use crate::opening::{self, Identity, Opened, OpeningError};
use crate::options::{AskTrust, ConnectOptions, Locate, TransportChoice, UnknownServer};
use crate::session::{Answers, FIRST_REQUEST, Session};
use crate::target::Target;

/// Dials one server, as often as it must be.
#[derive(Debug)]
pub(crate) struct Dialling {
    server: ServerName,
    host: String,
    places: Places,
    agent: String,
    transport: TransportChoice,
    lanes: Option<usize>,
    identity: Arc<Identity>,
    trust: Trusting,
    dialer: Dialer,
    /// The key that the server proved when it was dialled first. It must have the same every time.
    key: Mutex<Option<ServerKey>>,
}

/// An open session, and what the request that travelled with the proof brings, if one did.
#[derive(Debug)]
pub(crate) struct Dialled {
    /// The session.
    pub session: Session,
    /// The answers to that request.
    pub answers: Option<Answers>,
    /// The port of the transfer that it asked for.
    pub port: Option<TransferPort>,
}

/// How it is decided whether a server is the right one.
struct Trusting {
    list: std::path::PathBuf,
    on_unknown: Option<AskTrust>,
    invited: Option<Fingerprint>,
}

/// Where the server is, if the system is not to be asked.
struct Places(Option<Locate>);

/// What is demanded of the server's key before anything is sent to it.
#[derive(Clone, Copy, Debug)]
enum Demand {
    /// It has proved this one already.
    Key(ServerKey),
    /// It is pinned.
    Pinned(Fingerprint),
    /// An invitation names it.
    Invited(Fingerprint),
    /// It was never met.
    Ask,
}

impl Dialling {
    /// Prepares; nothing is dialled yet.
    pub(crate) fn new(target: &Target, options: ConnectOptions) -> Result<Self, ConnectError> {
        let server = target.name()?;
        let ConnectOptions {
            keys,
            trusted,
            on_unknown,
            on_passphrase,
            invitation,
            transport,
            locate,
            lanes,
            redial: _,
            paths,
            agent,
        } = options;
        let (invited, secret) = invitation.map(|link| (link.fingerprint, link.secret)).unzip();
        Ok(Self {
            host: target.host.clone(),
            places: Places(locate),
            agent,
            transport,
            lanes,
            identity: Arc::new(Identity::new(target.user.clone(), keys, secret, on_passphrase)),
            trust: Trusting { list: trusted, on_unknown, invited },
            dialer: Dialer::knowing(paths),
            key: Mutex::new(None),
            server,
        })
    }

    /// The server.
    pub(crate) fn server(&self) -> &ServerName {
        &self.server
    }

    /// Dials, and opens a session.
    ///
    /// - `first` is sent along with the proof if it is short enough, and then its answers are returned. It may be sent
    ///   more than once, so that it must be harmless when it is carried out twice.
    /// - A person who is asked takes longer than the server waits; then it is dialled once more, with the answer known.
    pub(crate) async fn dial(&self, first: Option<&Op>) -> Result<Dialled, ConnectError> {
        let begun = Instant::now();
        match self.dial_patiently(first).await {
            Err(ConnectError::Closed { .. }) if begun.elapsed() > PERSON_WAS_ASKED => {
                self.dial_once(first).await
            }
            dialled => dialled,
        }
    }

    /// A server turns connections away while too many of one address have not proved who they are: many clients behind
    /// one address come in one after the other.
    async fn dial_patiently(&self, first: Option<&Op>) -> Result<Dialled, ConnectError> {
        let begun = Instant::now();
        let mut wait = TURNED_AWAY_WAIT;
        loop {
            match self.dial_once(first).await {
                Err(ConnectError::Unreachable { source, .. })
                    if source.was_turned_away() && begun.elapsed() < TURNED_AWAY_MAX =>
                {
                    tracing::debug!(%source, "turned away; trying again");
                }
                dialled => return dialled,
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(TURNED_AWAY_WAIT * 4);
        }
    }

    async fn dial_once(&self, first: Option<&Op>) -> Result<Dialled, ConnectError> {
        let demand = self.demand()?;
        let groups = self.resolve().await?;
        let raced = self.reach(&groups, demand).await.map_err(|error| self.connect_error(demand, error))?;
        let key = raced.first.peer_key().map(ServerKey).ok_or_else(|| ConnectError::Misbehaved {
            server: self.server.clone(),
            reason: "it showed no key".into(),
        })?;
        if let Demand::Ask = demand {
            self.ask(key).await?;
        }
        *self.key.lock().expect("no holder of this lock panics") = Some(key);
        let opened = self.open(raced.first, raced.later, key, first).await?;
        if let Demand::Invited(fingerprint) = demand {
            Trust::open(&self.trust.list)?.pin(&self.server, fingerprint)?;
        }
        Ok(opened)
    }

    fn demand(&self) -> Result<Demand, ConnectError> {
        if let Some(key) = *self.key.lock().expect("no holder of this lock panics") {
            return Ok(Demand::Key(key));
        }
        if let Some(invited) = self.trust.invited {
            return Ok(Demand::Invited(invited));
        }
        let pinned = Trust::open(&self.trust.list)?.pinned(&self.server)?;
        Ok(pinned.map_or(Demand::Ask, Demand::Pinned))
    }

    async fn resolve(&self) -> Result<Vec<Vec<SocketAddr>>, ConnectError> {
        let not_found = |source| ConnectError::Resolve { host: self.host.clone(), source };
        if let Some(locate) = &self.places.0 {
            let groups = locate().await.map_err(not_found)?;
            if !groups.is_empty() {
                return Ok(groups);
            }
        }
        let found = tokio::net::lookup_host((self.host.as_str(), self.server.port())).await;
        Ok(vec![found.map_err(not_found)?.collect()])
    }

    /// Connects to the first group of which a server is there: one that has another key, or no place at the moment, is.
    async fn reach(
        &self,
        groups: &[Vec<SocketAddr>],
        demand: Demand,
    ) -> Result<Raced, sft_lane::ConnectError> {
        let options = sft_lane::ConnectOptions { choice: self.transport.into(), ..Default::default() };
        let mut failed = sft_lane::ConnectError { attempts: Vec::new() };
        for group in groups {
            match self.dialer.connect(group, &self.tls_name(), demand.pin(), &options).await {
                Ok(raced) => return Ok(raced),
                Err(error) => failed.attempts.extend(error.attempts),
            }
            if failed.wrong_key().is_some() || failed.was_turned_away() {
                break;
            }
        }
        Err(failed)
    }

    /// What the handshake calls the server: a zone means nothing to the other end.
    fn tls_name(&self) -> String {
        self.server.host().split('%').next().unwrap_or_default().to_owned()
    }

    fn connect_error(&self, demand: Demand, error: sft_lane::ConnectError) -> ConnectError {
        let server = self.server.clone();
        let now = error.wrong_key().map(|key| ServerKey(key).fingerprint());
        match (demand, now) {
            (Demand::Pinned(was), Some(now)) => ConnectError::Changed { server, was, now },
            (Demand::Key(key), Some(now)) => ConnectError::Changed { server, was: key.fingerprint(), now },
            (Demand::Invited(was), Some(now)) => ConnectError::NotTheInviter { server, was, now },
            (Demand::Ask, _) | (_, None) => ConnectError::Unreachable { server, source: error },
        }
    }

    /// Asks whether a server is to be trusted, and keeps the answer.
    async fn ask(&self, key: ServerKey) -> Result<(), ConnectError> {
        let unknown = UnknownServer { name: self.server.clone(), fingerprint: key.fingerprint() };
        let refused =
            || ConnectError::Untrusted { server: unknown.name.clone(), fingerprint: unknown.fingerprint };
        let ask = self.trust.on_unknown.clone().ok_or_else(refused)?;
        let question = unknown.clone();
        let answer = tokio::task::spawn_blocking(move || ask(&question)).await;
        if !answer.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
            return Err(refused());
        }
        let trust = Trust::open(&self.trust.list)?;
        // Another process may have pinned it while the person thought.
        match trust.check(&self.server, unknown.fingerprint)? {
            TrustCheck::Known => Ok(()),
            TrustCheck::Unknown => Ok(trust.pin(&self.server, unknown.fingerprint)?),
            TrustCheck::Changed { was } => {
                Err(ConnectError::Changed { server: unknown.name.clone(), was, now: unknown.fingerprint })
            }
        }
    }

    async fn open(
        &self,
        connection: Connection,
        later: Option<Later>,
        key: ServerKey,
        first: Option<&Op>,
    ) -> Result<Dialled, ConnectError> {
        let opened = opening::open(connection, key, &self.identity, &self.agent, first).await;
        let Opened { reader, writer, handle, data, welcome, asked } =
            opened.map_err(|error| self.opening_error(error))?;
        let means = Means {
            dialer: self.dialer.clone(),
            host: self.tls_name(),
            pin: Pin::Key(key.0),
            address: handle.remote_address(),
            transport: handle.transport(),
            rtt: handle.rtt(),
            data,
            later,
            choice: self.transport,
            wanted: self.lanes,
        };
        let is_transfer = asked && matches!(first, Some(Op::Push(_) | Op::Pull(_)));
        let open_port = |link: &Link| is_transfer.then(|| link.transfer(FIRST_REQUEST));
        let (link, events, port) = Link::start_with(reader, writer, handle, Role::Client, open_port);
        let (session, answers) = Session::begin(link, events, welcome, Lanes::new(means), asked);
        Ok(Dialled { session, answers, port })
    }

    fn opening_error(&self, error: OpeningError) -> ConnectError {
        let server = self.server.clone();
        match error {
            OpeningError::NoKeys => ConnectError::NoKeys { server },
            OpeningError::Denied { tried, error } => ConnectError::Denied { server, tried, error },
            OpeningError::Sign(source) => ConnectError::Sign { server, source },
            OpeningError::Closed(None) => {
                let reason = "it ended the connection without a word; its log may say why".into();
                ConnectError::Closed { server, reason }
            }
            OpeningError::Closed(Some(error)) => ConnectError::Closed { server, reason: error.to_string() },
            OpeningError::Lost(error) => ConnectError::Closed { server, reason: error.to_string() },
            OpeningError::Misbehaved(reason) => ConnectError::Misbehaved { server, reason },
        }
    }
}

impl Demand {
    fn pin(self) -> Pin {
        match self {
            Self::Key(key) => Pin::Key(key.0),
            Self::Pinned(fingerprint) | Self::Invited(fingerprint) => Pin::Fingerprint(fingerprint.0),
            Self::Ask => Pin::Any,
        }
    }
}

impl std::fmt::Debug for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Places").field(&self.0.is_some()).finish()
    }
}

impl std::fmt::Debug for Trusting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { list, invited, .. } = self;
        f.debug_struct("Trusting").field("list", list).field("invited", invited).finish_non_exhaustive()
    }
}

/// Pauses between attempts while a server turns connections away, at first; and for how long it is tried: places that
/// others hold are free again after the time that a proof may take.
const TURNED_AWAY_WAIT: Duration = Duration::from_millis(200);
const TURNED_AWAY_MAX: Duration = Duration::from_millis(sft_base::limits::AUTH_DEADLINE_MS + 2_000);
/// Longer than anything but a person takes between a connection and its session.
const PERSON_WAS_ASKED: Duration = Duration::from_secs(5);
