//! One SSH client: who it is, and what it may ask its connection for. SFTP it gets, and all else is refused in words.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use russh::keys::{Algorithm, Certificate, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect, MethodKind, MethodSet};
use sft_auth::{AuthError, Grant, Policy, PublicKeyId};
use sft_engine::{Leftovers, View};
use sft_store::Store;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinHandle;

use crate::at_once::in_pool;
use crate::unread::while_unread;
use crate::{scp, sftp};

/// Answers for one connection.
pub(crate) struct Client {
    policy: Arc<Policy>,
    store: Arc<dyn Store>,
    leftovers: Arc<Leftovers>,
    places: Arc<Semaphore>,
    peer: SocketAddr,
    now: fn() -> SystemTime,
    known: watch::Sender<Known>,
    session: Option<(Arc<Grant>, Arc<OwnedSemaphorePermit>)>,
    /// Keys that it has offered.
    offers: usize,
    /// Channels that were opened, until it is known what for.
    channels: HashMap<ChannelId, Waiting>,
    /// Places for what runs over the others.
    uses: Arc<Semaphore>,
    /// Channels that were put to a use or refused one, since the connection began.
    answered: usize,
}

/// Whether the client is known yet.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    NotYet,
    /// It has authenticated, and this was granted.
    Since(Arc<Grant>),
}

impl Client {
    pub(crate) fn new(
        policy: Arc<Policy>,
        store: Arc<dyn Store>,
        leftovers: Arc<Leftovers>,
        places: Arc<Semaphore>,
        peer: SocketAddr,
        now: fn() -> SystemTime,
    ) -> (Self, watch::Receiver<Known>) {
        let (known, is_known) = watch::channel(Known::NotYet);
        let client = Self {
            policy,
            store,
            leftovers,
            places,
            peer,
            now,
            known,
            session: None,
            offers: 0,
            channels: HashMap::new(),
            uses: Arc::new(Semaphore::new(USES_MAX)),
            answered: 0,
        };
        (client, is_known)
    }

    /// A key that signs in a way that is taken here.
    fn usable(&self, key: &PublicKey, algorithm: &Algorithm) -> Option<PublicKeyId> {
        let peer = self.peer;
        let key = PublicKeyId::from_blob(&key.to_bytes().ok()?);
        let key = key.inspect_err(|error| tracing::info!(%peer, %error, "a client was not let in")).ok()?;
        // Whether it was touched is not looked at by the library that verifies the signature. What the key was announced
        // as says nothing of that: the library does not compare it with the key.
        if key.is_hardware() {
            tracing::info!(%peer, %key, "a client was not let in: keys on hardware are not taken over SSH");
            return None;
        }
        if !key.signs_as(algorithm.as_str()) {
            let algorithm = sft_base::Shown(algorithm.as_str().as_bytes());
            tracing::info!(%peer, ?key, %algorithm, "a client was not let in: its key may not sign in this way");
            return None;
        }
        Some(key)
    }

    /// What the policy grants.
    async fn granted(
        &self,
        judge: impl FnOnce(&Policy, SystemTime) -> Result<Grant, AuthError> + Send + 'static,
    ) -> Option<Grant> {
        let (peer, now) = (self.peer, (self.now)());
        let log = |refused: AuthError| tracing::info!(%peer, reason = %refused.log_text(), "a client was not let in");
        self.ask(move |policy| judge(policy, now)).await.map_err(log).ok()
    }

    /// Asks the policy, which reads files.
    async fn ask<T: Send + 'static>(&self, question: impl FnOnce(&Policy) -> T + Send + 'static) -> T {
        let policy = self.policy.clone();
        in_pool(move || question(&policy)).await
    }

    /// Whether passwords are a way to get in: while some are granted.
    pub(crate) async fn takes_passwords(&self) -> bool {
        let now = (self.now)();
        self.ask(move |policy| policy.takes_passwords(now)).await
    }

    /// Lets in whoever was granted something, if there is a place.
    fn let_in(&mut self, user: &str, grant: Grant) -> Auth {
        let peer = self.peer;
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            tracing::warn!(%peer, "a client was not let in: this server has as many sessions as it can");
            return Auth::reject();
        };
        let user = sft_base::Shown(user.as_bytes()).to_string();
        tracing::info!(%peer, identity = grant.identity(), label = grant.label(), user, "an SSH session opens");
        let grant = Arc::new(grant);
        self.known.send_replace(Known::Since(grant.clone()));
        self.session = Some((grant, Arc::new(place)));
        Auth::Accept
    }

    /// Puts a channel that was opened to its use; none if the client is not in, or has as many uses as one may have.
    async fn take_up(&mut self, channel: ChannelId) -> Option<Use> {
        let (grant, session) = self.session.clone()?;
        let view = View::new(self.store.clone(), grant);
        let place = (self.uses.clone().try_acquire_owned().ok()?, session);
        let stream = self.channels.remove(&channel)?.take().await?;
        self.answered += 1;
        Some(Use { view, stream, place })
    }

    /// Says on a channel that what was asked for is not to be had, and closes it.
    fn refuse(&mut self, channel: ChannelId, text: &str, session: &mut Session) -> Result<(), russh::Error> {
        // It is closed from this side first, and then nobody is told that the client closes it too.
        self.channels.remove(&channel);
        self.answered += 1;
        session.channel_success(channel)?;
        session.extended_data(channel, STDERR, format!("{text}\r\n").into_bytes())?;
        session.exit_status_request(channel, 1)?;
        session.eof(channel)?;
        session.close(channel)
    }
}

/// What serving over a channel takes.
struct Use {
    view: View,
    stream: Channel<Msg>,
    /// Among those of the connection, and its own: a session is open until what was cut off with it is put away.
    place: (OwnedSemaphorePermit, Arc<OwnedSemaphorePermit>),
}

fn log_refused(peer: SocketAddr, reason: &(dyn std::error::Error + 'static)) {
    tracing::info!(%peer, reason, "a client was not let in");
}

/// A channel that has no use yet. What comes for it is thrown away: where nobody read it, it would stop the connection.
struct Waiting {
    is_wanted: oneshot::Sender<()>,
    channel: JoinHandle<Option<Channel<Msg>>>,
}

impl Waiting {
    fn new(mut channel: Channel<Msg>) -> Self {
        let (is_wanted, mut wanted) = oneshot::channel();
        let channel = tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    wanted = &mut wanted => return wanted.ok().map(|()| channel),
                    message = channel.wait() => drop(message?),
                }
            }
        });
        Self { is_wanted, channel }
    }

    async fn take(self) -> Option<Channel<Msg>> {
        self.is_wanted.send(()).ok()?;
        self.channel.await.ok().flatten()
    }
}

impl Handler for Client {
    type Error = russh::Error;

    /// What every client of OpenSSH asks first: which ways there are.
    async fn auth_none(&mut self, _user: &str) -> Result<Auth, Self::Error> {
        if !self.takes_passwords().await {
            return Ok(Auth::reject());
        }
        Ok(Auth::Reject {
            proceed_with_methods: Some(MethodSet::from(WITH_PASSWORDS)),
            partial_success: false,
        })
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        let (typed, now) = (password.to_owned(), (self.now)());
        match self.ask(move |policy| policy.admit_password(&typed, now)).await {
            Ok(grant) => Ok(self.let_in(user, grant)),
            Err(refused) => {
                log_refused(self.peer, &refused);
                self.auth_none(user).await
            }
        }
    }

    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        // A key that is told it may sign is no attempt to russh, which would let a stranger ask as long as it likes.
        self.offers += 1;
        if self.offers > OFFERS_MAX {
            tracing::info!(peer = %self.peer, "a client was not let in: it offers more than {OFFERS_MAX} keys");
            return Ok(Auth::reject());
        }
        let Some(key) = self.usable(offer.public_key, offer.algorithm) else { return Ok(Auth::reject()) };
        // Of a certificate only the key is shown here; it comes along with the signature.
        let may_be_certified = self.ask(Policy::takes_certificates).await;
        let is_good = may_be_certified
            || self.granted(move |policy, now| policy.admit_proven(&key, now)).await.is_some();
        Ok(if is_good { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let Some(key) = self.usable(key.public_key, key.algorithm) else { return Ok(Auth::reject()) };
        let granted = self.granted(move |policy, now| policy.admit_proven(&key, now)).await;
        Ok(granted.map_or_else(Auth::reject, |grant| self.let_in(user, grant)))
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Self::Error> {
        // What was read leniently comes out another, and its signature does not hold then.
        let Ok(blob) = certificate.to_bytes() else { return Ok(Auth::reject()) };
        let from = self.peer.ip();
        let granted = self.granted(move |policy, now| policy.admit_certified(&blob, from, now)).await;
        Ok(granted.map_or_else(Auth::reject, |grant| self.let_in(user, grant)))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.answered >= ANSWERED_MAX {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            if self.uses.available_permits() < USES_MAX {
                return Ok(());
            }
            let told = "this connection has had as many sessions as one may; connect again";
            return session.disconnect(Disconnect::ByApplication, told, "");
        }
        if self.channels.len() >= CHANNELS_MAX {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        self.channels.insert(channel.id(), Waiting::new(channel));
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _session: &mut Session) -> Result<(), Self::Error> {
        self.channels.remove(&channel);
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if name != "sftp" {
            return session.channel_failure(channel);
        }
        let Some(Use { view, stream, place }) = self.take_up(channel).await else {
            return session.channel_failure(channel);
        };
        session.channel_success(channel)?;
        let (peer, handle, leftovers) = (self.peer, session.handle(), self.leftovers.clone());
        tokio::spawn(async move {
            let (mut reader, writer) = tokio::io::split(stream.into_stream());
            let served = sftp::serve_resuming(view, leftovers, &mut reader, writer).await;
            match &served {
                Ok(()) => tracing::debug!(%peer, "an SFTP session ends"),
                Err(error) => tracing::info!(%peer, %error, "an SFTP session ends early"),
            }
            // Told before the last half of the stream goes, which closes the channel; scp fails without. The connection
            // may be gone already.
            let told = handle.exit_status_request(channel, u32::from(served.is_err()));
            let _ = while_unread(&mut reader, told).await;
            drop((reader, place));
        });
        Ok(())
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        self.refuse(channel, "This server moves files and runs no shell: use sftp, scp or sft.", session)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let command = match scp::Command::parse(command) {
            Ok(command) => command,
            Err(error) => return self.refuse(channel, &error.to_string(), session),
        };
        let Some(Use { view, stream, place }) = self.take_up(channel).await else {
            return session.channel_failure(channel);
        };
        session.channel_success(channel)?;
        let (peer, handle) = (self.peer, session.handle());
        tokio::spawn(async move {
            let (mut reader, writer) = tokio::io::split(stream.into_stream());
            let served = scp::serve(view, &command, &mut reader, writer).await;
            match &served {
                Ok(well) => tracing::debug!(%peer, well, "an scp ends"),
                Err(error) => tracing::info!(%peer, %error, "an scp ends early"),
            }
            // As for SFTP: before the last half of the stream goes.
            let told = handle.exit_status_request(channel, u32::from(!matches!(served, Ok(true))));
            let _ = while_unread(&mut reader, told).await;
            drop((reader, place));
        });
        Ok(())
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        _value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(russh::Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }
}

/// The stream of a channel that people read errors on (RFC 4254, section 5.2).
const STDERR: u32 = 1;
/// Sessions of SFTP and of scp that one connection may have at a time; what each may hold is bounded.
const USES_MAX: usize = 64;
/// Ways to authenticate, where passwords are granted.
pub(crate) const WITH_PASSWORDS: &[MethodKind] = &[MethodKind::PublicKey, MethodKind::Password];
/// Keys that one connection may offer; an agent has a few.
const OFFERS_MAX: usize = 32;
/// Channels of one connection that were put to a use or refused one, one after the other: the library keeps 4 KiB of each, until
/// the connection ends.
const ANSWERED_MAX: usize = 4096;
/// Channels of one connection that have not said what they are for.
const CHANNELS_MAX: usize = 16;
