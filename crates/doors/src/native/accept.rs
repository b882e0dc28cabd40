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
use tokio::sync::watch;

use super::{Sessions, ops, status};
use crate::at_once::in_pool;
use crate::regranted::was_taken_back;

/// Takes connections and serves a store over them.
pub struct Door {
    key: ServerKey,
    policy: Arc<Policy>,
    store: Arc<dyn Store>,
    sessions: Sessions,
    /// Told whenever something was granted or taken back.
    regranted: watch::Sender<()>,
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
        Self {
            key,
            policy: policy.into(),
            store,
            sessions: Sessions::default(),
            regranted: watch::Sender::new(()),
        }
    }

    /// The sessions that are open.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Ends the sessions of those from whom something was taken back.
    pub fn regranted(&self) {
        self.regranted.send_replace(());
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
            Err(_) => refuse(parts, Code::TIMEOUT.because(too_late())).await,
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
        in_pool(move || policy.authenticate(&proof, &exporter, &key, now)).await
    }

    async fn attach(&self, parts: &mut Parts, attach: &Attach) -> Result<Opening, Refusal> {
        let link = self.sessions.joined_by(attach, &parts.handle.exporter());
        let link = link.ok_or_else(|| {
            Refusal::Say(Code::NO_SESSION.because("there is no such session, or it takes no more lanes"))
        })?;
        say(&mut parts.writer, Attached {}.into()).await?;
        Ok(Opening::Lane(link))
    }

    /// Waits until a grant is taken back, or a part of it.
    async fn taken_back(&self, grant: &Arc<Grant>) {
        let mut regranted = self.regranted.subscribe();
        while !was_taken_back(&self.policy, grant, SystemTime::now).await {
            // The door outlives its sessions.
            let _ = regranted.changed().await;
        }
    }

    async fn serve_session(&self, parts: Parts, grant: Grant) {
        let Parts { reader, writer, data, handle } = parts;
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
        let peer = handle.remote_address();
        tracing::info!(%peer, identity = grant.identity(), transport = ?handle.transport(), "a session opens");
        let transport = handle.transport();
        let (link, events, has_room) = Link::start_with(reader, writer, handle, Role::Server, |link| {
            // Whoever knows of the session finds it, on whatever connection: first it is there, then it is told.
            let has_room = self.sessions.add(session, attach_secret, link.clone());
            link.send_first(welcome);
            has_room
        });
        if !has_room {
            link.close(Some(
                Code::BUSY.because("this server has as many sessions as it can; try again in a while"),
            ))
            .await;
            return;
        }
        if let Some((sender, receiver)) = data {
            link.add_lane(transport, sender, receiver);
        }
        let _registered = Registered { sessions: &self.sessions, session };
        let expiry = expired(grant.expires());
        let grant = Arc::new(grant);
        let view = View::new(self.store.clone(), grant.clone());
        tokio::select! {
            () = self.taken_back(&grant) => link.close(Some(Code::DENIED.because("the access that was granted was taken back by the owner of the server"))).await,
            () = ops::answer_all(&link, view, events) => {}
            () = expiry => link.close(Some(Code::DENIED.because("the access that was granted has expired; the owner of the server can grant more"))).await,
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

fn too_late() -> String {
    format!("no proof of a key came within {} s; try again", limits::AUTH_DEADLINE_MS / 1000)
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

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;
    use std::net::Ipv4Addr;
    use std::time::UNIX_EPOCH;

    use sft_auth::{ClientKeys, KeySearch, ServerIdentity, prove};
    use sft_base::EntryPath;
    use sft_lane::{Accepted, BindOptions, Choice, ConnectOptions, Listener, Pin, connect};
    use sft_store::{FaultStore, MemStore, Op as Call};
    use sft_wire::message::{Body, Op, Request};

    /// A door with one key to it.
    struct House {
        dir: tempfile::TempDir,
        listener: Listener,
        store: FaultStore,
        door: Arc<Door>,
    }

    impl House {
        /// The key stands in `authorized_keys` after these options.
        async fn new(options: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            ClientKeys::generate(&dir.path().join("id"), "tester", None).unwrap();
            let key = fs::read_to_string(dir.path().join("id.pub")).unwrap();
            let owners = dir.path().join("authorized_keys");
            fs::write(&owners, format!("{options}{key}")).unwrap();
            let identity = ServerIdentity::load_or_create(&dir.path().join("state")).unwrap();
            let mut bind = BindOptions::new(identity.pkcs8_der().to_vec());
            bind.addresses = vec![(Ipv4Addr::LOCALHOST, 0).into()];
            let listener = Listener::bind(bind).await.unwrap();
            let policy = Policy::open(&dir.path().join("state"), owners, false).unwrap();
            let store = FaultStore::new(MemStore::new());
            let door = Arc::new(Door::new(identity.key(), policy, Arc::new(store.clone())));
            Self { dir, listener, store, door }
        }

        /// Comes in, at a time that the door takes for now.
        async fn enter(&self, now: fn() -> SystemTime) -> Parts {
            let options = ConnectOptions { choice: Choice::Tcp, ..ConnectOptions::default() };
            let address = self.listener.local_addresses()[0];
            let mut parts = connect(&[address], "localhost", Pin::Any, &options).await.unwrap().first.split();
            let search = KeySearch { identity: Some(self.dir.path().join("id")), ..KeySearch::default() };
            let keys = ClientKeys::find(&search).unwrap();
            let exporter = parts.handle.exporter();
            let proof = prove(&keys.keys()[0], "", &exporter, &self.door.key, None, &mut |_| None).unwrap();
            let sft_auth::Proof { user, public_key, signature, .. } = proof;
            tell(&mut parts, Hello { versions: vec![VERSION], agent: "test".into() }).await;
            tell(&mut parts, Proof { user, public_key, signature, invitation: None }).await;
            let Some(Accepted::Native(connection, guard)) = self.listener.accept().await else {
                panic!("nobody comes")
            };
            let door = self.door.clone();
            tokio::spawn(async move { door.serve(connection, guard, now).await });
            assert!(matches!(hear(&mut parts).await, ControlMessage::Welcome(_)));
            parts
        }
    }

    async fn tell(parts: &mut Parts, message: impl Into<ControlMessage>) {
        let message = message.into();
        parts.writer.write_frame(message.frame_type(), &message.encode()).await.unwrap();
    }

    async fn hear(parts: &mut Parts) -> ControlMessage {
        let frame = parts.reader.read_frame(limits::CONTROL_FRAME_BYTES_MAX);
        let frame = tokio::time::timeout(Duration::from_secs(60), frame).await.expect("it says something");
        let frame = frame.unwrap().expect("it says something");
        ControlMessage::decode(frame.ty, &frame.payload).unwrap().expect("it is no extension")
    }

    #[track_caller]
    fn last_word(message: ControlMessage) -> (Code, String) {
        match message {
            ControlMessage::Close(Close { error: Some(error) }) => (error.code, error.text),
            other => panic!("{other:?} is no last word"),
        }
    }

    #[tokio::test]
    async fn a_session_ends_with_what_was_granted() {
        let house = House::new("expiry-time=\"20200101\" ").await;
        // When the door looks it is 2017, and the end lies ahead; when the session waits for it, it is past.
        let mut guest = house.enter(|| UNIX_EPOCH + Duration::from_secs(1_500_000_000)).await;
        let sentence = "the access that was granted has expired; the owner of the server can grant more";
        assert_eq!(last_word(hear(&mut guest).await), (Code::DENIED, sentence.into()));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_session_can_be_joined_as_soon_as_it_is_known() {
        let house = House::new("").await;
        for sessions in 1..100 {
            std::mem::forget(house.enter(SystemTime::now).await);
            assert_eq!(house.door.sessions.all().len(), sessions);
        }
    }

    #[tokio::test]
    async fn sessions_have_a_bound() {
        let house = House::new("").await;
        let _first = house.enter(SystemTime::now).await;
        let link = house.door.sessions.all().pop().unwrap();
        let others = (1..limits::SESSIONS_MAX as u128).map(u128::to_be_bytes);
        others.for_each(|id| assert!(house.door.sessions.add(id, [0; 32], link.clone())));
        let mut late = house.enter(SystemTime::now).await;
        let sentence = "this server has as many sessions as it can; try again in a while";
        assert_eq!(last_word(hear(&mut late).await), (Code::BUSY, sentence.into()));
    }

    #[tokio::test]
    async fn a_fault_of_the_server_costs_one_answer() {
        let house = House::new("").await;
        let mut guest = house.enter(SystemTime::now).await;
        house.store.fail(Call::Space, 1, || panic!("ordered by a test"));
        tell(&mut guest, Request { id: 1, op: Op::Space {} }).await;
        let ControlMessage::Reply(reply) = hear(&mut guest).await else { panic!("it answers") };
        let error = Code::INTERNAL.because("the server failed at this; its log says more");
        assert_eq!((reply.id, reply.body), (1, Body::Failed { error }));
        tell(&mut guest, Request { id: 2, op: Op::Stat { path: EntryPath::root() } }).await;
        assert!(matches!(hear(&mut guest).await, ControlMessage::Reply(reply) if reply.id == 2));
    }
}
