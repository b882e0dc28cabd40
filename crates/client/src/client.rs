//! A client of one server: requests, and the sessions under them.
//!
//! A request that changes nothing is asked again when its session was lost. One that changes something is not: whether
//! it was carried out is then unknown, and the error says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sft_auth::{Rights, ServerName};
use sft_base::{Digest, EntryPath, Time};
use sft_wire::message::{Body, Entry, Op, Unapplied};
use tokio::sync::Mutex;

use crate::backoff::Backoff;
use crate::content::Content;
use crate::dialling::Dialling;
use crate::error::{ConnectError, RequestError};
use crate::listing::Listing;
use crate::options::ConnectOptions;
use crate::session::Session;
use crate::target::Target;

/// A connection to a server. Clones share it.
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    dialling: Dialling,
    session: Mutex<Arc<Session>>,
    in_vain: std::sync::Mutex<InVain>,
    /// How long a lost connection is dialled again.
    redial: Duration,
}

/// How often nobody answered, and why the last time.
#[derive(Clone, Debug, Default)]
struct InVain {
    times: u64,
    reason: String,
}

/// How much room a server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes in all.
    pub total: u64,
    /// Bytes that may be used.
    pub available: u64,
}

impl Client {
    /// Connects to a server: resolves its name, races the transports, checks its key, proves who the client is.
    ///
    /// - Errors: [`ConnectError`]; until the server's key is found to be trusted, nothing is sent to it.
    pub async fn connect(target: Target, options: ConnectOptions) -> Result<Self, ConnectError> {
        let redial = options.redial;
        let dialling = Dialling::new(&target, options)?;
        let session = Mutex::new(Arc::new(dialling.dial().await?));
        Ok(Self(Arc::new(Shared { dialling, session, in_vain: Default::default(), redial })))
    }

    /// The server.
    pub fn server(&self) -> &ServerName {
        self.0.dialling.server()
    }

    /// What the server calls this client.
    pub async fn identity(&self) -> String {
        self.0.session.lock().await.welcome().identity.clone()
    }

    /// What this client may do, somewhere in the server's tree.
    pub async fn rights(&self) -> Rights {
        Rights::from_bits(self.0.session.lock().await.welcome().rights)
    }

    /// The entries of a directory.
    pub async fn list(&self, path: &EntryPath) -> Result<Listing, RequestError> {
        Listing::begin(self.clone(), path.clone()).await
    }

    /// What an entry is; a link is not followed.
    pub async fn stat(&self, path: &EntryPath) -> Result<Entry, RequestError> {
        match self.look(Op::Stat { path: path.clone() }).await? {
            Body::Stat { entry } => Ok(entry),
            _ => Err(RequestError::Misbehaved("stat")),
        }
    }

    /// Makes a directory; with `parents` those missing above it too, and without minding one that exists.
    pub async fn make_dir(&self, path: &EntryPath, parents: bool) -> Result<(), RequestError> {
        let op = Op::MakeDir { path: path.clone(), parents };
        // With `parents` the same again is harmless.
        let made = if parents { self.look(op).await? } else { self.change(op).await? };
        ok(made, "make directory")
    }

    /// Removes an entry, or with `recursive` a directory with all below it; how many entries went.
    pub async fn remove(&self, path: &EntryPath, recursive: bool) -> Result<u64, RequestError> {
        match self.change(Op::Remove { path: path.clone(), recursive }).await? {
            Body::Removed { entries } => Ok(entries),
            _ => Err(RequestError::Misbehaved("remove")),
        }
    }

    /// Gives an entry another name, atomically; with `replace`, what is there gives way.
    pub async fn rename(&self, from: &EntryPath, to: &EntryPath, replace: bool) -> Result<(), RequestError> {
        ok(self.change(Op::Rename { from: from.clone(), to: to.clone(), replace }).await?, "rename")
    }

    /// Sets the time of modification and the permission bits, as far as given; those that could not be set come back.
    pub async fn set_attributes(
        &self,
        path: &EntryPath,
        modified: Option<Time>,
        mode: Option<u32>,
    ) -> Result<Vec<Unapplied>, RequestError> {
        let op = Op::SetAttributes { path: path.clone(), modified: modified.map(Into::into), mode };
        match self.look(op).await? {
            Body::Unapplied { unapplied } => Ok(unapplied),
            _ => Err(RequestError::Misbehaved("set attributes")),
        }
    }

    /// How much room the server has.
    pub async fn space(&self) -> Result<Room, RequestError> {
        match self.look(Op::Space {}).await? {
            Body::Space { total, available } => Ok(Room { total, available }),
            _ => Err(RequestError::Misbehaved("space")),
        }
    }

    /// The BLAKE3 digest of a file, which the server computes.
    pub async fn hash(&self, path: &EntryPath) -> Result<Digest, RequestError> {
        match self.look(Op::Hash { path: path.clone() }).await? {
            Body::Hash { digest } => Ok(digest),
            _ => Err(RequestError::Misbehaved("hash")),
        }
    }

    /// Up to `length` bytes of a file from `offset`, [`sft_base::limits::READ_BYTES_MAX`] at most; fewer only at its end.
    pub async fn read(&self, path: &EntryPath, offset: u64, length: u32) -> Result<Vec<u8>, RequestError> {
        match self.look(Op::Read { path: path.clone(), offset, length }).await? {
            Body::Content { content } => Ok(content),
            _ => Err(RequestError::Misbehaved("read")),
        }
    }

    /// The whole content of a file, part by part, read ahead.
    pub fn content(&self, path: &EntryPath) -> Content {
        Content::new(self.clone(), path.clone())
    }

    /// The target of a symbolic link, byte for byte.
    pub async fn read_link(&self, path: &EntryPath) -> Result<Vec<u8>, RequestError> {
        match self.look(Op::ReadLink { path: path.clone() }).await? {
            Body::Content { content } => Ok(content),
            _ => Err(RequestError::Misbehaved("read link")),
        }
    }

    /// The limits of the server, by name.
    pub async fn limits(&self) -> Result<Vec<(String, u64)>, RequestError> {
        match self.look(Op::Limits {}).await? {
            Body::Limits { limits } => Ok(limits),
            _ => Err(RequestError::Misbehaved("limits")),
        }
    }

    /// Ends the session in good order. Other clones can do nothing more in it; a later request opens another.
    pub async fn close(&self) {
        let session = self.0.session.lock().await.clone();
        let link = session.link();
        link.close(None).await;
        // The server closes when it has heard the last word. Waiting for QUIC's own farewell, three times as long as a
        // lost packet takes to be noticed, would cost every command a tenth of a second.
        let patience = 2 * link.connection().rtt() + FAREWELL_MARGIN;
        let _ = tokio::time::timeout(patience, link.connection().closed()).await;
    }

    /// The session, opened anew if it has ended.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, ConnectError> {
        let mut session = self.0.session.lock().await;
        if session.link().has_ended() {
            *session = Arc::new(self.0.dialling.dial().await?);
        }
        Ok(session.clone())
    }

    /// The same for one of many who ask at a time: one dials, and if that is in vain, it was so for those who waited too.
    async fn shared_session(&self) -> Result<Arc<Session>, NoSession> {
        let before = self.in_vain().times;
        let mut session = self.0.session.lock().await;
        if !session.link().has_ended() {
            return Ok(session.clone());
        }
        let now = self.in_vain().clone();
        if now.times > before {
            return Err(NoSession::Yet(now.reason));
        }
        match self.0.dialling.dial().await {
            Ok(dialled) => *session = Arc::new(dialled),
            Err(error) if error.may_pass() => {
                let reason = error.to_string();
                let times = before + 1;
                *self.in_vain() = InVain { times, reason: reason.clone() };
                return Err(NoSession::Yet(reason));
            }
            Err(error) => return Err(NoSession::Ever(error)),
        }
        Ok(session.clone())
    }

    fn in_vain(&self) -> std::sync::MutexGuard<'_, InVain> {
        self.0.in_vain.lock().expect("no holder of this lock panics")
    }

    /// When to dial again after a loss, if the last progress was made now.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(Instant::now(), self.0.redial)
    }

    /// Asks something that changes nothing when it is asked twice.
    async fn look(&self, op: Op) -> Result<Body, RequestError> {
        self.persist(|session| {
            let op = op.clone();
            async move { session.ask(op).await.next().await }
        })
        .await
    }

    /// Asks a question again in a new session until it is answered, or there is no session for too long.
    pub(crate) async fn persist<T: Answer, F: Future<Output = Option<T>>>(
        &self,
        ask: impl Fn(Arc<Session>) -> F,
    ) -> Result<T, RequestError> {
        let mut backoff = self.backoff();
        loop {
            let reason = match self.shared_session().await {
                Ok(session) => match ask(session.clone()).await {
                    Some(answer) => return answer.check(),
                    None => session.end().await.to_string(),
                },
                Err(NoSession::Yet(reason)) => reason,
                Err(NoSession::Ever(error)) => return Err(error.into()),
            };
            let wait = backoff.next(Instant::now()).ok_or(RequestError::Lost(reason))?;
            tokio::time::sleep(wait).await;
        }
    }

    /// Asks something that changes something, once.
    async fn change(&self, op: Op) -> Result<Body, RequestError> {
        let session = self.session().await?;
        match session.ask(op).await.next().await {
            Some(body) => body.check(),
            None => Err(RequestError::Unknown { reason: session.end().await.to_string() }),
        }
    }
}

/// Why there is no session to ask in.
enum NoSession {
    /// Another attempt may bring one.
    Yet(String),
    /// No attempt will.
    Ever(ConnectError),
}

/// An answer that may say that the request failed.
pub(crate) trait Answer: Sized {
    /// Sorts failures out.
    fn check(self) -> Result<Self, RequestError>;
}

impl Answer for Body {
    fn check(self) -> Result<Self, RequestError> {
        match self {
            Self::Failed { error } => Err(RequestError::Failed(error)),
            body => Ok(body),
        }
    }
}

fn ok(body: Body, what: &'static str) -> Result<(), RequestError> {
    match body {
        Body::Ok {} => Ok(()),
        _ => Err(RequestError::Misbehaved(what)),
    }
}

/// What the farewell of a short path may take besides its round trips.
const FAREWELL_MARGIN: Duration = Duration::from_millis(20);
