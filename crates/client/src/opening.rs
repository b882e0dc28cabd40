//! The first conversation of a session: hello, proof and the first request in one flight, until a key is accepted
//! (spec/wire.md, "Opening"; spec/auth.md, "The proof").
//!
//! It trusts nobody: whose connection it gets has found the server's key to be the right one.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sft_auth::{ClientKeys, InvitationSecret, ServerKey, SignError};
use sft_base::limits;
use sft_lane::{
    Connection, ConnectionHandle, ControlReader, ControlWriter, DataReceiver, DataSender, LaneError,
};
use sft_wire::message::{Close, Denied, Hello, InvitationProof, Op, Proof, Request, Welcome};
use sft_wire::{Code, ControlMessage, WireError};

use crate::options::AskPassphrase;
use crate::session::FIRST_REQUEST;

/// Who the client is: its keys, and which of them the server took.
pub(crate) struct Identity {
    user: String,
    keys: ClientKeys,
    /// Index of the key that was accepted before, or [`NONE_YET`].
    accepted: AtomicUsize,
    /// Until it is redeemed.
    invitation: Mutex<Option<InvitationSecret>>,
    passphrase: Option<AskPassphrase>,
}

/// A connection whose session is open.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Frames from the server.
    pub reader: ControlReader,
    /// Frames to the server.
    pub writer: ControlWriter,
    /// The connection.
    pub handle: ConnectionHandle,
    /// Data beside the control lane, on QUIC.
    pub data: Option<(DataSender, DataReceiver)>,
    /// What the server said.
    pub welcome: Welcome,
    /// Whether the first request was sent, as [`FIRST_REQUEST`], and waits for its answer.
    pub asked: bool,
}

/// Why no session was opened on a connection that stands.
#[derive(Debug)]
pub(crate) enum OpeningError {
    /// There is no key to prove.
    NoKeys,
    /// None of the keys was accepted.
    Denied { tried: Vec<String>, error: WireError },
    /// No key could sign.
    Sign(SignError),
    /// The server closed it, and perhaps said why.
    Closed(Option<WireError>),
    /// The connection was lost.
    Lost(LaneError),
    /// The server broke the protocol.
    Misbehaved(String),
}

impl Identity {
    /// Keys, the name to act as, and perhaps an invitation to redeem.
    pub(crate) fn new(
        user: Option<String>,
        keys: ClientKeys,
        invitation: Option<InvitationSecret>,
        passphrase: Option<AskPassphrase>,
    ) -> Self {
        Self {
            user: user.unwrap_or_default(),
            keys,
            accepted: AtomicUsize::new(NONE_YET),
            invitation: Mutex::new(invitation),
            passphrase,
        }
    }

    /// Keys in the order in which to offer them: the one that was accepted before, alone; else all, as they were found.
    fn order(&self) -> Vec<usize> {
        match self.accepted.load(Ordering::Relaxed) {
            NONE_YET => (0..self.keys.keys().len()).collect(),
            accepted => vec![accepted],
        }
    }

    fn fingerprint(&self, index: usize) -> String {
        self.keys.keys()[index].public().fingerprint().to_string()
    }

    /// Signs with one key. Blocks: an agent may ask its user, and so may we for a passphrase.
    fn prove(&self, index: usize, exporter: &[u8; 32], server: &ServerKey) -> Result<Proof, SignError> {
        let invitation = self.invitation.lock().expect("no holder of this lock panics").clone();
        let mut ask = |question: &str| self.passphrase.as_ref().and_then(|ask| ask(question));
        let key = &self.keys.keys()[index];
        let proof = sft_auth::prove(key, &self.user, exporter, server, invitation.as_ref(), &mut ask)?;
        let invitation = proof.invitation.map(|proof| InvitationProof { id: proof.id.0, mac: proof.mac });
        Ok(Proof { user: proof.user, public_key: proof.public_key, signature: proof.signature, invitation })
    }

    fn note_accepted(&self, index: usize) {
        self.accepted.store(index, Ordering::Relaxed);
        *self.invitation.lock().expect("no holder of this lock panics") = None;
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("user", &self.user).field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// Opens a session on a connection whose server is trusted; `first` travels with the proof if it may.
pub(crate) async fn open(
    connection: Connection,
    server: ServerKey,
    identity: &Arc<Identity>,
    agent: &str,
    first: Option<&Op>,
) -> Result<Opened, OpeningError> {
    let parts = connection.split();
    let (reader, writer, exporter) = (parts.reader, parts.writer, parts.handle.exporter());
    let mut opening = Opening { reader, writer, exporter, server, early: first.and_then(early) };
    let hello = Hello { versions: vec![VERSION], agent: agent.to_owned() };
    opening.feed(hello).await?;
    let welcome = opening.prove(identity).await?;
    if welcome.version != VERSION {
        let text = format!("it chose version {}, which was not offered", welcome.version);
        return Err(OpeningError::Misbehaved(text));
    }
    let Opening { reader, writer, early, .. } = opening;
    Ok(Opened { reader, writer, handle: parts.handle, data: parts.data, welcome, asked: early.is_some() })
}

/// A request that is not too long for a server that does not know the client yet.
fn early(op: &Op) -> Option<ControlMessage> {
    let request = ControlMessage::from(Request { id: FIRST_REQUEST, op: op.clone() });
    (request.encode().len() <= limits::EARLY_FRAME_BYTES_MAX).then_some(request)
}

struct Opening {
    reader: ControlReader,
    writer: ControlWriter,
    exporter: [u8; 32],
    server: ServerKey,
    /// Follows each proof: what followed one that was refused is void.
    early: Option<ControlMessage>,
}

impl Opening {
    /// Offers one key after the other until one is accepted.
    async fn prove(&mut self, identity: &Arc<Identity>) -> Result<Welcome, OpeningError> {
        let mut refused = None;
        let mut unsigned = None;
        let mut tried = Vec::new();
        for index in identity.order() {
            let proof = match self.sign(identity, index).await {
                Ok(proof) => proof,
                Err(error) => {
                    tracing::debug!(%error, "a key is passed over");
                    unsigned.get_or_insert(error);
                    continue;
                }
            };
            self.feed(proof).await?;
            if let Some(request) = self.early.clone() {
                self.feed(request).await?;
            }
            self.writer.flush().await.map_err(OpeningError::Lost)?;
            match self.answer().await? {
                Ok(welcome) => {
                    identity.note_accepted(index);
                    return Ok(welcome);
                }
                Err(denied) => {
                    tried.push(identity.fingerprint(index));
                    refused = Some(denied.error);
                    if denied.attempts_left == 0 {
                        break;
                    }
                }
            }
        }
        Err(match (refused, unsigned) {
            (Some(error), _) => OpeningError::Denied { tried, error },
            (None, Some(error)) => OpeningError::Sign(error),
            (None, None) => OpeningError::NoKeys,
        })
    }

    async fn sign(&self, identity: &Arc<Identity>, index: usize) -> Result<Proof, SignError> {
        let (identity, exporter, server) = (identity.clone(), self.exporter, self.server);
        let signing = tokio::task::spawn_blocking(move || identity.prove(index, &exporter, &server));
        signing.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    async fn feed(&mut self, message: impl Into<ControlMessage>) -> Result<(), OpeningError> {
        let message = message.into();
        self.writer.feed(message.frame_type(), &message.encode()).await.map_err(OpeningError::Lost)
    }

    /// What the server says to a proof.
    async fn answer(&mut self) -> Result<Result<Welcome, Denied>, OpeningError> {
        loop {
            let frame =
                self.reader.read_frame(limits::EARLY_FRAME_BYTES_MAX).await.map_err(|error| match error {
                    LaneError::Misbehaved(fault) => OpeningError::Misbehaved(fault.to_string()),
                    error => OpeningError::Lost(error),
                })?;
            let Some(frame) = frame else { return Err(OpeningError::Closed(None)) };
            let message = ControlMessage::decode(frame.ty, &frame.payload);
            match message.map_err(|fault| OpeningError::Misbehaved(fault.to_string()))? {
                Some(ControlMessage::Welcome(welcome)) => return Ok(Ok(welcome)),
                Some(ControlMessage::Denied(denied)) => return Ok(Err(denied)),
                // So ends the last attempt.
                Some(ControlMessage::Close(Close { error: Some(error) }))
                    if error.code == Code::UNAUTHENTICATED =>
                {
                    return Ok(Err(Denied { error, attempts_left: 0 }));
                }
                Some(ControlMessage::Close(close)) => return Err(OpeningError::Closed(close.error)),
                Some(_) => {
                    return Err(OpeningError::Misbehaved("it answered a proof with something else".into()));
                }
                // An extension, which is to be ignored.
                None => {}
            }
        }
    }
}

const VERSION: u16 = 1;
const NONE_YET: usize = usize::MAX;
