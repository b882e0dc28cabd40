//! Opens sessions: hello, proof, welcome; and joins further connections to them (spec/wire.md, "Sessions").

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use sft_auth::{AuthError, Grant, Policy, ServerKey};
use sft_base::limits;
use sft_engine::{Link, Role, View};
use sft_lane::{
    Connection, ControlReader, ControlWriter, EarlyGuard, LaneError, Parts, Transport, into_data,
};
use sft_store::Store;
use sft_wire::message::{Attach, Attached, Close, Denied, Hello, Proof, Welcome};
use sft_wire::{Code, ControlMessage, WireError};

use super::{Sessions, ops, status};

/// Takes connections and serves a store over them.
pub struct Door {
    key: ServerKey,
    policy: Arc<Policy>,
    store: Arc<dyn Store>,
    sessions: Sessions,
}

/// Why a connection did not become a session or a lane.
enum Refusal {
    /// Say this, then close.
    Say(WireError),
    /// There is nobody to say it to.
    Gone,
}

impl Door {
    /// A door to `store`, for whom `policy` knows.
    pub fn new(key: ServerKey, policy: impl Into<Arc<Policy>>, store: Arc<dyn Store>) -> Self {
        Self { key, policy: policy.into(), store, sessions: Sessions::default() }
    }

    /// The sessions that are open.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Serves one connection to its end.
    pub async fn serve(&self, connection: Connection, guard: EarlyGuard, now: fn() -> SystemTime) {
        let mut parts = connection.split();
        // It began with the handshake, which may have taken most of it.
        let opened = tokio::time::timeout_at(guard.deadline(), self.open(&mut parts, now)).await;
        match opened {
            Ok(Ok(Opening::Session(grant))) => {
                guard.authenticated();
                self.serve_session(parts, grant).await;
            }
            Ok(Ok(Opening::Lane(link))) => {
                guard.authenticated();
                join(parts, link).await;
            }
            Ok(Err(Refusal::Say(error))) => refuse(parts, error).await,
            Ok(Err(Refusal::Gone)) => {}
            Err(_) => refuse(parts, Code::TIMEOUT.because("the proof did not come in time")).await,
        }
    }

    async fn open(&self, parts: &mut Parts, now: fn() -> SystemTime) -> Result<Opening, Refusal> {
        match next_message(&mut parts.reader).await? {
            ControlMessage::Hello(hello) => {
                check_version(&hello)?;
                self.expect_proof(parts, now).await.map(Opening::Session)
            }
            ControlMessage::Attach(attach) => self.attach(parts, &attach).await,
            _ => Err(out_of_turn("a connection begins with hello or attach")),
        }
    }

    async fn expect_proof(&self, parts: &mut Parts, now: fn() -> SystemTime) -> Result<Grant, Refusal> {
        let mut attempts_left = limits::AUTH_ATTEMPTS_MAX;
        loop {
            let proof = match next_message(&mut parts.reader).await? {
                ControlMessage::Proof(proof) => proof,
                ControlMessage::Close(_) => return Err(Refusal::Gone),
                // Sent in one flight with a proof that was not accepted: void.
                ControlMessage::Request(_) | ControlMessage::Offer(_)
                    if attempts_left < limits::AUTH_ATTEMPTS_MAX =>
                {
                    continue;
                }
                _ => return Err(out_of_turn("a proof has to come before anything else")),
            };
            attempts_left -= 1;
            match self.authenticate(proof, parts.handle.exporter(), now()).await {
                Ok(grant) => return Ok(grant),
                Err(refused) => {
                    let peer = parts.handle.remote_address();
                    tracing::info!(%peer, reason = %refused.log_text(), "a client was not let in");
                    let error = Code::UNAUTHENTICATED.because(refused.to_string());
                    if attempts_left == 0 {
                        return Err(Refusal::Say(error));
                    }
                    say(&mut parts.writer, Denied { error, attempts_left }.into()).await?;
                }
            }
        }
    }

    async fn authenticate(
        &self,
        proof: Proof,
        exporter: [u8; 32],
        now: SystemTime,
    ) -> Result<Grant, AuthError> {
        let (policy, key) = (self.policy.clone(), self.key);
        let proof = status::proof(proof);
        let done =
            tokio::task::spawn_blocking(move || policy.authenticate(&proof, &exporter, &key, now)).await;
        done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    async fn attach(&self, parts: &mut Parts, attach: &Attach) -> Result<Opening, Refusal> {
        let link = self.sessions.joined_by(attach, &parts.handle.exporter());
        let link =
            link.ok_or_else(|| Refusal::Say(Code::NO_SESSION.because("no such session takes a lane")))?;
        say(&mut parts.writer, Attached {}.into()).await?;
        Ok(Opening::Lane(link))
    }

    async fn serve_session(&self, parts: Parts, grant: Grant) {
        let Parts { reader, mut writer, data, handle } = parts;
        let (session, attach_secret) = (random::<16>(), random::<32>());
        let welcome = Welcome {
            version: VERSION,
            agent: AGENT.into(),
            session,
            attach_secret,
            identity: grant.identity().to_owned(),
            rights: grant.rights().bits(),
            lanes_max: limits::LANES_MAX as u32,
        };
        if say(&mut writer, welcome.into()).await.is_err() {
            return;
        }
        let peer = handle.remote_address();
        tracing::info!(%peer, identity = grant.identity(), transport = ?handle.transport(), "a session opens");
        let transport = handle.transport();
        let (link, events) = Link::start(reader, writer, handle, Role::Server);
        if !self.sessions.add(session, attach_secret, link.clone()) {
            link.close(Some(Code::BUSY.because("this server has as many sessions as it can"))).await;
            return;
        }
        if let Some((sender, receiver)) = data {
            link.add_lane(transport, sender, receiver);
        }
        let _registered = Registered { sessions: &self.sessions, session };
        let expiry = expired(grant.expires());
        let view = View::new(self.store.clone(), Arc::new(grant));
        tokio::select! {
            () = ops::answer_all(&link, view, events) => {}
            () = expiry => link.close(Some(Code::DENIED.because("what was granted has expired"))).await,
        }
        let end = link.ended().await;
        tracing::info!(%peer, reason = %end, "a session ends");
    }
}

/// Takes a session off the list whatever way its task ends.
struct Registered<'a> {
    sessions: &'a Sessions,
    session: [u8; 16],
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.sessions.remove(&self.session);
    }
}

enum Opening {
    Session(Grant),
    Lane(Link),
}

/// Gives a connection's lane to a session, and keeps what else belongs to it until it ends.
async fn join(parts: Parts, link: Link) {
    let Parts { reader, writer, data, handle } = parts;
    match handle.transport() {
        Transport::Tcp => {
            if let Some((sender, receiver)) = into_data(reader, writer) {
                link.add_lane(Transport::Tcp, sender, receiver);
            }
        }
        Transport::Quic => {
            if let Some((sender, receiver)) = data {
                link.add_lane(Transport::Quic, sender, receiver);
            }
            // Its first stream stays open, and idle, while the lane lives.
            tokio::select! {
                _ = handle.closed() => {}
                _ = link.ended() => {}
            }
            drop((reader, writer));
        }
    }
}

/// Waits until a grant ends; for ever for one that does not.
async fn expired(at: Option<SystemTime>) {
    match at {
        Some(at) => tokio::time::sleep(at.duration_since(SystemTime::now()).unwrap_or_default()).await,
        None => std::future::pending().await,
    }
}

async fn refuse(mut parts: Parts, error: WireError) {
    let goodbye = async {
        say(&mut parts.writer, Close { error: Some(error) }.into()).await?;
        parts.writer.finish().await.map_err(|_| Refusal::Gone)?;
        // The peer has read it when it goes.
        parts.handle.closed().await;
        Ok::<(), Refusal>(())
    };
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    parts.handle.close(0, "refused");
}

/// The next message before a session is open; extensions are passed over.
async fn next_message(reader: &mut ControlReader) -> Result<ControlMessage, Refusal> {
    loop {
        let frame = match reader.read_frame(limits::EARLY_FRAME_BYTES_MAX).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Err(Refusal::Gone),
            Err(LaneError::Misbehaved(fault)) => {
                return Err(Refusal::Say(Code::PROTOCOL.because(fault.to_string())));
            }
            Err(_) => return Err(Refusal::Gone),
        };
        match ControlMessage::decode(frame.ty, &frame.payload) {
            Ok(Some(message)) => return Ok(message),
            Ok(None) => {}
            Err(fault) => return Err(Refusal::Say(fault.to_wire())),
        }
    }
}

async fn say(writer: &mut ControlWriter, message: ControlMessage) -> Result<(), Refusal> {
    let written = writer.write_frame(message.frame_type(), &message.encode()).await;
    written.map_err(|_| Refusal::Gone)
}

fn check_version(hello: &Hello) -> Result<(), Refusal> {
    if hello.versions.contains(&VERSION) {
        return Ok(());
    }
    let text =
        format!("this server speaks SFT/{VERSION}, and the client does not; bring both to the same version");
    Err(Refusal::Say(Code::UNSUPPORTED.because(text)))
}

fn out_of_turn(text: &str) -> Refusal {
    Refusal::Say(Code::PROTOCOL.because(text))
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system has random numbers, or TLS would have failed before");
    bytes
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door")
            .field("key", &self.key)
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}

/// The version of the protocol that this door speaks.
const VERSION: u16 = 1;
/// Who it says it is.
const AGENT: &str = concat!("sft/", env!("CARGO_PKG_VERSION"));
/// How long a refused peer may take to read why.
const GOODBYE: Duration = Duration::from_secs(2);
