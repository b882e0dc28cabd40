//! A client of one server: requests, and the sessions under them.
//!
//! A request that changes nothing is asked again when its session was lost, and travels with the proof when a session
//! has to be opened for it. One that changes something does neither: whether it was carried out would be unknown after
//! a loss, and the error says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sft_auth::{Rights, ServerName};
use sft_base::{Digest, EntryPath, Time};
use sft_engine::LinkEnd;
use sft_wire::message::{Body, Entry, Op, Unapplied};
use tokio::sync::Mutex;

use crate::backoff::{self, Backoff};
use crate::content::Content;
use crate::dialling::{Dialled, Dialling};
use crate::error::{ConnectError, RequestError};
use crate::listing::{self, Listing};
use crate::options::ConnectOptions;
use crate::session::{Answers, Begun, Session};
use crate::target::Target;

/// A client of one server, connected or not at present. Clones share the session.
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    dialling: Dialling,
    /// The last one that was open; none when there was none yet.
    session: Mutex<Option<Arc<Session>>>,
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
    /// Whether this is a clone of the other.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Connects to a server: resolves its name, races the transports, checks its key, proves who the client is.
    ///
    /// - Errors: [`ConnectError`]; until the server's key is found to be trusted, nothing is sent to it.
    pub async fn connect(target: Target, options: ConnectOptions) -> Result<Self, ConnectError> {
        let client = Self::prepare(target, options)?;
        client.open().await?;
        Ok(client)
    }

    /// A client that connects when it is asked for something. A first request that changes nothing travels with the
    /// proof of who the client is, which saves a round trip.
    ///
    /// - Errors: [`ConnectError::Name`]; all others come with the first request, and that connection is tried once.
    /// - Source: spec/wire.md, "Opening".
    pub fn prepare(target: Target, options: ConnectOptions) -> Result<Self, ConnectError> {
        let redial = options.redial;
        let dialling = Dialling::new(&target, options)?;
        let (session, in_vain) = (Mutex::default(), Default::default());
        Ok(Self(Arc::new(Shared { dialling, session, in_vain, redial })))
    }

    /// Connects now, unless it is connected.
    pub async fn open(&self) -> Result<(), ConnectError> {
        self.session().await.map(drop)
    }

    /// The server.
    pub fn server(&self) -> &ServerName {
        self.0.dialling.server()
    }

    /// What the server calls this client.
    pub async fn identity(&self) -> Result<String, ConnectError> {
        Ok(self.session().await?.welcome().identity.clone())
    }

    /// What this client may do, somewhere in the server's tree.
    pub async fn rights(&self) -> Result<Rights, ConnectError> {
        Ok(Rights::from_bits(self.session().await?.welcome().rights))
    }

    /// The entries of a directory, all at once and in no order, each with a path of one name.
    pub async fn list(&self, path: &EntryPath) -> Result<Vec<Entry>, RequestError> {
        self.persist(&Op::List { path: path.clone() }, listing::whole).await
    }

    /// The entries of a directory of any size, page by page.
    pub async fn list_pages(&self, path: &EntryPath) -> Result<Listing, RequestError> {
        self.persist(&Op::List { path: path.clone() }, Listing::begin).await
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
        let Some(session) = self.0.session.lock().await.clone() else { return };
        let link = session.link();
        link.close(None).await;
        // The last word is written, and all that was asked for is answered: nothing is lost if the word is. On a short
        // path the server closes at once; on a long one nobody waits until it does.
        let _ = tokio::time::timeout(FAREWELL_MAX, link.connection().closed()).await;
        // What it has learned of the path is known from now on, also to those who hold on to it.
        link.connection().close(0, "");
    }

    /// The session, opened anew if it has ended.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, ConnectError> {
        let mut last = self.0.session.lock().await;
        if let Some(session) = standing(&last) {
            return Ok(session);
        }
        let session = Arc::new(self.0.dialling.dial(None).await?.session);
        *last = Some(session.clone());
        Ok(session)
    }

    /// Asks for a transfer, along with the proof if a session has to be opened for it.
    pub(crate) async fn transfer(&self, op: &Op) -> Result<(Arc<Session>, Begun), ConnectError> {
        let mut last = self.0.session.lock().await;
        if let Some(session) = standing(&last) {
            drop(last);
            let begun = session.begin_transfer(op).await;
            return Ok((session, begun));
        }
        let Dialled { session, answers, port } = self.0.dialling.dial(Some(op)).await?;
        let session = Arc::new(session);
        *last = Some(session.clone());
        drop(last);
        let begun = match (answers, port) {
            (Some(answers), Some(port)) => Begun { answers, port },
            _ => session.begin_transfer(op).await,
        };
        Ok((session, begun))
    }

    /// Asks something that is harmless when it is asked twice, along with the proof if a session has to be opened.
    ///
    /// Of many who ask at a time one dials, and if that is in vain, it was so for those who waited too.
    async fn ask(&self, op: &Op) -> Result<(Arc<Session>, Answers), NoSession> {
        let before = self.in_vain().times;
        let mut last = self.0.session.lock().await;
        if let Some(session) = standing(&last) {
            drop(last);
            let answers = session.ask(op).await;
            return Ok((session, answers));
        }
        let now = self.in_vain().clone();
        if now.times > before {
            return Err(NoSession::Yet(now.reason));
        }
        match self.0.dialling.dial(Some(op)).await {
            Ok(Dialled { session, answers, .. }) => {
                let session = Arc::new(session);
                *last = Some(session.clone());
                drop(last);
                let answers = match answers {
                    Some(answers) => answers,
                    None => session.ask(op).await,
                };
                Ok((session, answers))
            }
            // What never came up was not lost: the name, the port or the key is more likely to be wrong.
            Err(error) if last.is_some() && error.may_pass() => {
                let reason = error.to_string();
                let times = before + 1;
                *self.in_vain() = InVain { times, reason: reason.clone() };
                Err(NoSession::Yet(reason))
            }
            Err(error) => Err(NoSession::Ever(error)),
        }
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
        self.persist(&op, |mut answers| async move { answers.next().await.map(sorted) }).await
    }

    /// Asks a question again in a new session until the answers to it were heard, or there is no session for too long.
    /// `hear` says nothing when the session ended under it.
    async fn persist<T, F: Future<Output = Option<Result<T, RequestError>>>>(
        &self,
        op: &Op,
        hear: impl Fn(Answers) -> F,
    ) -> Result<T, RequestError> {
        let mut backoff = self.backoff();
        let mut lost: Option<String> = None;
        loop {
            let asked = match lost.take() {
                None => self.ask(op).await,
                Some(reason) => {
                    let asked = tokio::time::timeout(backoff.patience(Instant::now()), self.ask(op)).await;
                    asked.unwrap_or(Err(NoSession::Yet(reason)))
                }
            };
            let reason = match asked {
                Ok((session, answers)) => {
                    let asked = Instant::now();
                    if let Some(answer) = hear(answers).await {
                        return answer;
                    }
                    let end = session.end().await;
                    let Some(reason) = backoff::may_pass(&end) else { return Err(ended(end)) };
                    // A digest of a large file takes its time.
                    backoff.excuse(asked.elapsed());
                    reason
                }
                Err(NoSession::Yet(reason)) => reason,
                Err(NoSession::Ever(error)) => return Err(error.into()),
            };
            let wait = backoff.next(Instant::now()).ok_or_else(|| RequestError::Lost(reason.clone()))?;
            lost = Some(reason);
            tokio::time::sleep(wait).await;
        }
    }

    /// Asks something that changes something, once.
    async fn change(&self, op: Op) -> Result<Body, RequestError> {
        let session = self.session().await?;
        match session.ask(&op).await.next().await {
            Some(body) => sorted(body),
            None => {
                let end = session.end().await;
                let reason = backoff::may_pass(&end).unwrap_or_else(|| end.to_string());
                Err(RequestError::Unknown { reason })
            }
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

/// The last session, if it has not ended.
fn standing(last: &Option<Arc<Session>>) -> Option<Arc<Session>> {
    last.as_ref().filter(|session| !session.link().has_ended()).cloned()
}

/// An answer, with failures sorted out.
pub(crate) fn sorted(body: Body) -> Result<Body, RequestError> {
    match body {
        Body::Failed { error } => Err(RequestError::Failed(error)),
        body => Ok(body),
    }
}

/// A request whose session ended for good under it.
fn ended(end: LinkEnd) -> RequestError {
    match end {
        LinkEnd::Closed(Some(error)) => RequestError::Failed(error),
        end => RequestError::Lost(end.to_string()),
    }
}

fn ok(body: Body, what: &'static str) -> Result<(), RequestError> {
    match body {
        Body::Ok {} => Ok(()),
        _ => Err(RequestError::Misbehaved(what)),
    }
}

/// Enough for the last word to leave this machine.
const FAREWELL_MAX: Duration = Duration::from_millis(20);
