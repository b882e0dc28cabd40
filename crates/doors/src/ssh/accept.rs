//! Takes SSH connections: the server's one identity as host key, a time to authenticate in, and an orderly end.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use russh::keys::{Algorithm, HashAlg, PrivateKey};
use russh::server::{Config, RunningSession};
use russh::{Disconnect, MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex, mac};
use sft_auth::{Grant, Policy, ServerIdentity};
use sft_base::limits;
use sft_engine::Leftovers;
use sft_lane::EarlyGuard;
use sft_store::Store;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinError;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::client::{Client, Known, WITH_PASSWORDS};
use super::own_thread::OwnThread;
use super::socket::{Cut, cuttable};
use crate::regranted::was_taken_back;

/// Takes connections and serves a store over them.
pub struct Door {
    config: Arc<Config>,
    /// The same, where passwords are a way to authenticate.
    config_with_passwords: Arc<Config>,
    policy: Arc<Policy>,
    store: Arc<dyn Store>,
    /// What uploads have left that were cut off.
    leftovers: Arc<Leftovers>,
    /// Places for sessions.
    places: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
    /// Told whenever something was granted or taken back.
    regranted: watch::Sender<()>,
}

/// The server's identity cannot be an SSH host key.
#[derive(Debug, thiserror::Error)]
#[error("the server's identity cannot be used as an SSH host key")]
pub struct HostKeyError;

impl Door {
    /// A door to `store`, for whom `policy` knows.
    pub fn new(
        identity: &ServerIdentity,
        policy: Arc<Policy>,
        store: Arc<dyn Store>,
    ) -> Result<Self, HostKeyError> {
        let text = identity.openssh_text().map_err(|_| HostKeyError)?;
        let key = PrivateKey::from_openssh(text.as_bytes()).map_err(|_| HostKeyError)?;
        let config_with_passwords = Arc::new(config(key.clone(), WITH_PASSWORDS));
        let config = Arc::new(config(key, &[MethodKind::PublicKey]));
        let places = Arc::new(Semaphore::new(limits::SESSIONS_MAX));
        Ok(Self {
            config,
            config_with_passwords,
            policy,
            store,
            leftovers: Arc::default(),
            places,
            stopping: watch::Sender::new(false),
            regranted: watch::Sender::new(()),
        })
    }

    /// Sessions that are open.
    pub fn sessions(&self) -> usize {
        limits::SESSIONS_MAX - self.places.available_permits()
    }

    /// Drops what uploads have left that were cut off long ago.
    pub fn expire(&self) {
        self.leftovers.expire();
    }

    /// Ends the sessions of those from whom something was taken back.
    pub fn regranted(&self) {
        self.regranted.send_replace(());
    }

    /// Ends every session, after what it has asked for and been told.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Serves one connection to its end.
    pub async fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        guard: EarlyGuard,
        now: fn() -> SystemTime,
    ) {
        let (policy, store, leftovers) = (self.policy.clone(), self.store.clone(), self.leftovers.clone());
        let (client, mut known) = Client::new(policy, store, leftovers, self.places.clone(), peer, now);
        // Not every client asks which ways there are; one that signs with a key at once hears of them when it is refused,
        // and then russh tells what the connection began with.
        let config = if client.takes_passwords().await { &self.config_with_passwords } else { &self.config };
        let greeted = async {
            let thread = OwnThread::start().await?;
            // Until here it has shown nothing but that it can connect.
            let greeting = greet(stream, config.clone(), client, guard.deadline());
            let greeted = thread.runtime().spawn(greeting).await.map_err(JoinError::try_into_panic);
            let (session, cut) = greeted.map_err(|error| match error {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(ended) => io::Error::from(ended),
            })??;
            Ok::<_, NotGreeted>((session, cut, thread))
        };
        let (mut session, cut, _thread) = match greeted.await {
            Ok(greeted) => greeted,
            Err(error @ NotGreeted::System(_)) => return tracing::warn!(%peer, %error),
            Err(error) => return tracing::debug!(%peer, %error),
        };
        let handle = session.handle();
        let mut stopping = self.stopping.subscribe();
        let mut regranted = self.regranted.subscribe();
        let mut must_look = false;
        let mut grant = None;
        let mut guard = Some(guard);
        let mut until = Some(Instant::now() + LOGIN_MAX);
        let mut reason = "the client was not let in within its time";
        let told = loop {
            tokio::select! {
                ended = &mut session => {
                    match ended {
                        Ok(()) => tracing::debug!(%peer, "an SSH connection ends"),
                        Err(error) => tracing::debug!(%peer, %error, "an SSH connection ends"),
                    }
                    return;
                }
                Ok(()) = known.changed() => {
                    if let Known::Since(granted) = known.borrow_and_update().clone() {
                        // It is no stranger any more.
                        if let Some(guard) = guard.take() {
                            guard.authenticated();
                        }
                        reason = "what was granted has expired";
                        until = granted.expires().map(|at| {
                            let left = at.duration_since(now()).unwrap_or_default();
                            Instant::now() + left.min(LONG_TIME)
                        });
                        grant = Some(granted);
                        // It may have been taken back after it was looked up, and told before it was known here.
                        regranted.mark_changed();
                    }
                }
                Ok(()) = regranted.changed(), if grant.is_some() => must_look = true,
                taken = taken_back(&self.policy, grant.as_ref(), now), if must_look => {
                    if taken {
                        break "what was granted was taken back";
                    }
                    must_look = false;
                }
                () = sleep_until(until.unwrap_or_else(|| Instant::now() + LONG_TIME)), if until.is_some() => break reason,
                () = until_told(&mut stopping) => break "the server is stopping",
            }
        };
        let end = async {
            // Its task may have ended meanwhile.
            let _ = handle.disconnect(Disconnect::ByApplication, told.into(), String::new()).await;
            let _ = (&mut session).await;
        };
        if timeout(GOODBYE_MAX, end).await.is_err() {
            // It takes nothing, or goes on all the same.
            drop(cut);
            let _ = session.await;
        }
        tracing::debug!(%peer, told, "an SSH connection was ended");
    }
}

/// Whether what was granted was taken back; never where nothing was.
async fn taken_back(policy: &Arc<Policy>, grant: Option<&Arc<Grant>>, now: fn() -> SystemTime) -> bool {
    match grant {
        Some(grant) => was_taken_back(policy, grant, now).await,
        None => std::future::pending().await,
    }
}

/// Waits for the word to stop, which also comes by its sender's end.
async fn until_told(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Why nothing came of a connection.
#[derive(Debug, thiserror::Error)]
enum NotGreeted {
    #[error("an SSH client did not introduce itself: {0}")]
    Ssh(#[from] russh::Error),
    #[error("an SSH client took too long to introduce itself")]
    Late,
    #[error("an SSH client was sent away, because this system had no thread or descriptor left for it: {0}")]
    System(#[from] io::Error),
}

/// Greets a client, on the thread that is to serve it.
async fn greet(
    stream: TcpStream,
    config: Arc<Config>,
    client: Client,
    deadline: Instant,
) -> Result<(RunningSession<Client>, Cut), NotGreeted> {
    let (stream, cut) = cuttable(TcpStream::from_std(stream.into_std()?)?);
    // russh asks for the head of each packet and then for its body.
    let stream = BufReader::with_capacity(READ_BYTES, stream);
    let greeted = timeout_at(deadline, russh::server::run_stream(config, stream, client));
    Ok((greeted.await.map_err(|_| NotGreeted::Late)??, cut))
}

/// What is offered: nothing older than what OpenSSH offers today, and no compression, which would only cost time.
fn config(key: PrivateKey, ways: &[MethodKind]) -> Config {
    Config {
        server_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-sft_", env!("CARGO_PKG_VERSION")))),
        methods: MethodSet::from(ways),
        auth_rejection_time: REJECTION,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![key],
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES_MAX,
        preferred: Preferred {
            kex: Cow::Borrowed(KEY_EXCHANGES),
            key: Cow::Borrowed(KEYS),
            host_key_certificates: Cow::Borrowed(&[]),
            cipher: Cow::Borrowed(CIPHERS),
            mac: Cow::Borrowed(MACS),
            compression: Cow::Borrowed(&[compression::NONE]),
        },
        max_auth_attempts: limits::AUTH_ATTEMPTS_MAX as usize,
        // TCP notices a peer that is gone; one that only keeps quiet may.
        inactivity_timeout: None,
        keepalive_interval: Some(KEEPALIVE),
        ..Config::default()
    }
}

/// None over finite fields: one of those takes a tenth of a second of the server's, and whoever asks for it need not have computed
/// anything.
const KEY_EXCHANGES: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];
/// The host key is Ed25519; the others are what clients may sign with.
const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: russh::keys::EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: russh::keys::EcdsaCurve::NistP384 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];
/// AES first: the machines that files are moved between have it in silicon.
const CIPHERS: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_128_CTR,
];
const MACS: &[mac::Name] = &[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM];
/// The time to authenticate: people look at fingerprints and type passphrases within it.
const LOGIN_MAX: Duration = Duration::from_secs(60);
/// A wrong key is told after this, however it was wrong.
const REJECTION: Duration = Duration::from_millis(50);
/// What is taken from a socket at a time.
const READ_BYTES: usize = 128 << 10;
const KEEPALIVE: Duration = Duration::from_secs(30);
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// What a client may send before it hears that some was taken; nothing is kept for it, TCP holds back.
const WINDOW_BYTES: u32 = 16 << 20;
/// The most that russh takes.
const PACKET_BYTES_MAX: u32 = 65_535;
/// Longer than any timer should run.
const LONG_TIME: Duration = Duration::from_secs(30 * 86_400);
