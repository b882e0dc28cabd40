//! The server: one port, one identity, one store, and the sessions that are open.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sft_auth::{GrantsError, IdentityError, OwnerKeysError, Policy, ServerIdentity, ServerKey};
use sft_base::limits;
use sft_lane::{Accepted, BindError, BindOptions, EarlyGuard, Listener, Transport};
use sft_store::{FsStore, Store, StoreError};
use sft_wire::Code;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::mux::{self, Caller};
use crate::native::{Door, Sessions};
use crate::regranted::watch_grants;
use crate::ssh;

/// What is served, where, and to whom.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The directory.
    pub root: PathBuf,
    /// Addresses to listen on, both transports each; none for every address of the machine on `port`.
    pub addresses: Vec<SocketAddr>,
    /// The port where `addresses` is empty; 0 for any that is free.
    pub port: u16,
    /// Where the server keeps its identity and who may do what.
    pub state: PathBuf,
    /// The SSH keys that own what is served.
    pub authorized_keys: PathBuf,
    /// Whether nobody may change anything.
    pub read_only: bool,
    /// Which protocols are served.
    pub doors: Doors,
}

/// Which protocols are served on the port; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doors {
    /// SFT/1, over QUIC and TLS.
    pub native: bool,
    /// SFTP over SSH.
    pub ssh: bool,
}

impl Default for Doors {
    fn default() -> Self {
        Self { native: true, ssh: true }
    }
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The directory cannot be served.
    #[error("{root}: this directory cannot be served")]
    Root {
        /// Which.
        root: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// The server's own key cannot be had.
    #[error("the server's identity cannot be read or made")]
    Identity(#[from] IdentityError),
    /// Who may do what cannot be read.
    #[error("the list of who may do what cannot be read")]
    Policy(#[from] GrantsError),
    /// The server's own key cannot be shown to SSH clients.
    #[error(transparent)]
    HostKey(#[from] ssh::HostKeyError),
    /// No socket.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// What was under way when a server stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopReport {
    /// Sessions that were open.
    pub sessions: usize,
    /// Transfers under way in them: their clients go on when a server is there again.
    pub transfers: usize,
}

/// A server that is bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    key: ServerKey,
    store: Arc<dyn StoreDebug>,
    policy: Arc<Policy>,
    doors: Open,
}

/// The doors that are open.
#[derive(Clone)]
struct Open {
    native: Option<Arc<Door>>,
    ssh: Option<Arc<ssh::Door>>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (native, ssh) = (self.native.is_some(), self.ssh.is_some());
        f.debug_struct("Open").field("native", &native).field("ssh", &ssh).finish()
    }
}

/// A store that can be shown in a log.
trait StoreDebug: Store + std::fmt::Debug {}
impl<T: Store + std::fmt::Debug> StoreDebug for T {}

impl Server {
    /// Makes or reads the identity, opens the directory and binds both transports.
    pub async fn bind(options: ServeOptions) -> Result<Self, ServeError> {
        let root = options.root.clone();
        let store = FsStore::open(&options.root).map_err(|source| ServeError::Root { root, source })?;
        let store = Arc::new(store);
        let identity = ServerIdentity::load_or_create(&options.state)?;
        let policy = Arc::new(Policy::open(&options.state, options.authorized_keys, options.read_only)?);
        let mut bind = BindOptions::new(identity.pkcs8_der().to_vec());
        bind.addresses = options.addresses;
        bind.port = options.port;
        bind.plain = options.doors.ssh;
        if !options.doors.native {
            bind.only = Some(Transport::Tcp);
        }
        let listener = Listener::bind(bind).await?;
        let key = identity.key();
        let native = Arc::new(Door::new(key, policy.clone(), store.clone()));
        let ssh = Arc::new(ssh::Door::new(&identity, policy.clone(), store.clone())?);
        let Doors { native: has_native, ssh: has_ssh } = options.doors;
        let doors = Open { native: has_native.then_some(native), ssh: has_ssh.then_some(ssh) };
        Ok(Self { listener, key, store, policy, doors })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listener.local_addresses()
    }

    /// Its key.
    pub fn key(&self) -> ServerKey {
        self.key
    }

    /// How many of the owner's keys may come in now.
    pub fn owner_keys(&self) -> Result<usize, OwnerKeysError> {
        self.policy.owner_keys().map(|keys| keys.usable())
    }

    /// Serves until `stop` is done, then lets everyone go and says what was under way.
    pub async fn run(self, stop: impl Future<Output = ()>) -> StopReport {
        let Self { listener, store, policy, doors, .. } = self;
        let (native, ssh) = (doors.native.clone(), doors.ssh.clone());
        let regranting = tokio::spawn(watch_grants(policy, move || {
            native.iter().for_each(|door| door.regranted());
            ssh.iter().for_each(|door| door.regranted());
        }));
        let expiry = tokio::spawn(expire_stages(store, doors.ssh.clone()));
        let mut connections = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                accepted = listener.accept() => match accepted {
                    Some(accepted) => door_for(accepted, &doors, &mut connections),
                    None => break,
                },
                // A connection that has ended leaves nothing behind; its task only needs to be fetched.
                Some(_) = connections.join_next() => {}
            }
        }
        expiry.abort();
        regranting.abort();
        let report = stop_doors(&doors).await;
        listener.close().await;
        connections.shutdown().await;
        report
    }
}

fn door_for(accepted: Accepted, doors: &Open, connections: &mut JoinSet<()>) {
    match accepted {
        Accepted::Native(connection, guard) => {
            let Some(door) = doors.native.clone() else { return };
            connections.spawn(async move { door.serve(connection, guard, SystemTime::now).await });
        }
        Accepted::Plain { stream, is_quiet, remote_address, early } => {
            let Some(door) = doors.ssh.clone() else { return };
            if is_quiet {
                // Of all that is served, only SSH lets the server speak first.
                let serving = async move { door.serve(stream, remote_address, early, SystemTime::now).await };
                connections.spawn(serving);
            } else {
                connections.spawn(serve_plain(door, stream, remote_address, early));
            }
        }
        // Nobody serves these yet; closing is the honest answer.
        Accepted::Other { .. } => {}
    }
}

async fn serve_plain(door: Arc<ssh::Door>, stream: TcpStream, peer: SocketAddr, early: EarlyGuard) {
    match mux::meet(&stream, early.deadline()).await {
        Some(Caller::Ssh) => door.serve(stream, peer, early, SystemTime::now).await,
        Some(Caller::Http) => {
            let answered = mux::answer(stream).await;
            tracing::debug!(%peer, ?answered, "a client asked in HTTP");
        }
        None => tracing::debug!(%peer, "a TCP connection speaks nothing that is served here"),
    }
}

async fn stop_doors(doors: &Open) -> StopReport {
    let mut report = StopReport::default();
    if let Some(door) = &doors.ssh {
        report.sessions += door.sessions();
        door.stop();
    }
    if let Some(door) = &doors.native {
        let native = stop_sessions(door.sessions()).await;
        report.sessions += native.sessions;
        report.transfers += native.transfers;
    }
    if let Some(door) = &doors.ssh {
        // Each says goodbye within a moment of its own.
        let begun = Instant::now();
        while door.sessions() > 0 && begun.elapsed() < GOODBYE_MAX {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    report
}

async fn stop_sessions(sessions: &Sessions) -> StopReport {
    let open = sessions.all();
    let transfers = open.iter().map(sft_engine::Link::transfers_open).sum();
    let report = StopReport { sessions: open.len(), transfers };
    let mut closing = JoinSet::new();
    for link in open {
        closing
            .spawn(async move { link.close(Some(Code::STOPPING.because("the server is stopping"))).await });
    }
    while closing.join_next().await.is_some() {}
    report
}

/// Removes stages nobody came back for, at the start and every hour.
async fn expire_stages(store: Arc<dyn StoreDebug>, ssh: Option<Arc<ssh::Door>>) {
    loop {
        let (store, ssh) = (store.clone(), ssh.clone());
        let expired = tokio::task::spawn_blocking(move || {
            ssh.inspect(|door| door.expire());
            store.expire_stages(Duration::from_secs(limits::STAGE_EXPIRY_S))
        });
        match expired.await {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(count)) => tracing::info!(count, "removed stages that nobody came back for"),
            Ok(Err(error)) => tracing::warn!(%error, "old stages could not be removed"),
        }
        tokio::time::sleep(EXPIRY_LOOK).await;
    }
}

const GOODBYE_MAX: Duration = Duration::from_secs(2);
const EXPIRY_LOOK: Duration = Duration::from_secs(3600);
