//! A client written by hand: opens a connection over real lanes and then says whatever a test wants said.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use sft_auth::{ClientKeys, KeySearch, ServerKey, prove};
use sft_base::limits;
use sft_lane::{Choice, ConnectOptions, Connection, Parts, Pin, connect};
use sft_wire::ControlMessage;
use sft_wire::message::{Hello, Op, Proof, Reply, Request, Welcome, frame};

/// A connection to a server, with a session on it or not yet.
#[derive(Debug)]
pub struct RawPeer {
    /// Its halves, free to be used in any way.
    pub parts: Parts,
    /// What the server said when the session was opened.
    pub welcome: Option<Welcome>,
}

impl RawPeer {
    /// Shakes hands over one transport, and says nothing.
    pub async fn dial(address: SocketAddr, choice: Choice) -> Self {
        Self::try_dial(address, choice).await.expect("the server takes connections")
    }

    /// The same, where a server may well refuse.
    pub async fn try_dial(address: SocketAddr, choice: Choice) -> Result<Self, sft_lane::ConnectError> {
        let options = ConnectOptions { choice, ..ConnectOptions::default() };
        let raced = connect(&[address], "127.0.0.1", Pin::Any, &options).await?;
        Ok(Self { parts: raced.first.split(), welcome: None })
    }

    /// Shakes hands and opens a session with a key file.
    pub async fn open(address: SocketAddr, choice: Choice, key: &Path) -> Self {
        let mut peer = Self::dial(address, choice).await;
        peer.say(Hello { versions: vec![1], agent: "raw peer".into() }).await;
        let proof = peer.proof(key);
        peer.say(proof).await;
        match peer.hear().await {
            Some(ControlMessage::Welcome(welcome)) => peer.welcome = Some(welcome),
            other => panic!("the server does not welcome its owner: {other:?}"),
        }
        peer
    }

    /// A good proof for this very connection.
    pub fn proof(&self, key: &Path) -> Proof {
        let search = KeySearch { identity: Some(key.into()), ..KeySearch::default() };
        let keys = ClientKeys::find(&search).expect("the key file is one");
        let server = ServerKey(self.parts.handle.peer_key().expect("a server has a key"));
        let exporter = self.parts.handle.exporter();
        let proof =
            prove(&keys.keys()[0], "", &exporter, &server, None, &mut |_| None).expect("the key signs");
        Proof { user: proof.user, public_key: proof.public_key, signature: proof.signature, invitation: None }
    }

    /// Says a message. A peer that has closed does not hear it.
    pub async fn say(&mut self, message: impl Into<ControlMessage>) {
        let message = message.into();
        self.say_frame(message.frame_type(), &message.encode()).await;
    }

    /// Says anything at all in a frame.
    pub async fn say_frame(&mut self, ty: u64, payload: &[u8]) {
        let _ = self.parts.writer.write_frame(ty, payload).await;
    }

    /// Asks, and hears the answer.
    pub async fn ask(&mut self, id: u64, op: Op) -> Reply {
        self.say(Request { id, op }).await;
        loop {
            match self.hear().await {
                Some(ControlMessage::Reply(reply)) if reply.id == id => return reply,
                Some(_) => {}
                None => panic!("the server ends instead of answering"),
            }
        }
    }

    /// The next message that is no ping; none when the server has ended the connection.
    pub async fn hear(&mut self) -> Option<ControlMessage> {
        let next = tokio::time::timeout(HEAR_MAX, self.next());
        next.await.expect("the server says something or ends the connection")
    }

    async fn next(&mut self) -> Option<ControlMessage> {
        loop {
            let frame = self.parts.reader.read_frame(limits::CONTROL_FRAME_BYTES_MAX).await.ok()??;
            if frame.ty == frame::PING {
                self.say_frame(frame::PONG, &frame.payload).await;
                continue;
            }
            let message = ControlMessage::decode(frame.ty, &frame.payload);
            if let Some(message) = message.expect("the server says what is well formed") {
                return Some(message);
            }
        }
    }

    /// Listens until the server ends the connection: its last words, if it had any. Panics if it does not end it.
    pub async fn hear_the_end(&mut self) -> Option<sft_wire::WireError> {
        loop {
            match self.hear().await {
                Some(ControlMessage::Close(close)) => return close.error,
                Some(_) => {}
                None => return None,
            }
        }
    }
}

impl From<Connection> for RawPeer {
    fn from(connection: Connection) -> Self {
        Self { parts: connection.split(), welcome: None }
    }
}

const HEAR_MAX: Duration = Duration::from_secs(60);
