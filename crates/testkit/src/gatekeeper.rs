//! A gatekeeper before a real server: it lets nothing of the server's through before the client has said all that it
//! may say unasked, and can refuse keys and lose sessions at exact moments.
//!
//! A client that waits for `welcome` before it asks gets none. Over one transport alone; what the gatekeeper says of
//! itself is true: it has a key of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sft_auth::{ServerIdentity, ServerKey};
use sft_base::limits;
use sft_lane::{
    Accepted, BindOptions, Choice, Connection, ControlReader, ControlWriter, Frame, Listener, Transport,
};
use sft_wire::message::{Denied, frame};
use sft_wire::{Code, ControlMessage};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::RawPeer;

/// A gatekeeper at work, until it is dropped.
#[derive(Debug)]
pub struct Gatekeeper {
    port: u16,
    key: ServerKey,
    gate: Arc<Gate>,
    /// Its tasks end with it.
    _runtime: Runtime,
}

#[derive(Debug)]
struct Gate {
    server: SocketAddr,
    choice: Choice,
    /// Lets the gatekeeper into the server.
    key: PathBuf,
    /// Proofs still to be refused, sessions still to be lost.
    refusals: AtomicU64,
    losses: AtomicU64,
    /// Types of the frames that clients sent before they had an answer.
    unasked: Mutex<Vec<u64>>,
}

impl Gatekeeper {
    /// Starts before a server that lets the key at `key` in; `state` is a folder for its own.
    pub fn start(server: SocketAddr, transport: Transport, key: &Path, state: &Path) -> Self {
        let identity = ServerIdentity::load_or_create(state).expect("the folder can be written");
        let mut options = BindOptions::new(identity.pkcs8_der().to_vec());
        options.addresses = vec![(Ipv4Addr::LOCALHOST, 0).into()];
        options.only = Some(transport);
        let runtime = Runtime::new().expect("the system gives threads");
        let listener = runtime.block_on(Listener::bind(options)).expect("a port is free");
        let port = listener.local_addresses()[0].port();
        let gate = Arc::new(Gate {
            server,
            choice: if transport == Transport::Quic { Choice::Quic } else { Choice::Tcp },
            key: key.into(),
            refusals: AtomicU64::new(0),
            losses: AtomicU64::new(0),
            unasked: Mutex::default(),
        });
        runtime.spawn(serve(listener, gate.clone()));
        Self { port, key: identity.key(), gate, _runtime: runtime }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its key's fingerprint.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint().to_string()
    }

    /// Refuses so many of the next proofs, whatever they prove.
    pub fn refuse(&self, proofs: u64) {
        self.gate.refusals.store(proofs, Ordering::Relaxed);
    }

    /// Loses so many of the next sessions between `welcome` and the first answer.
    pub fn lose(&self, sessions: u64) {
        self.gate.losses.store(sessions, Ordering::Relaxed);
    }

    /// Types of the frames that clients sent since the last call before they had an answer to any of them.
    pub fn unasked(&self) -> Vec<u64> {
        std::mem::take(&mut self.gate.unasked.lock().expect("no holder of this lock panics"))
    }
}

async fn serve(listener: Listener, gate: Arc<Gate>) {
    while let Some(accepted) = listener.accept().await {
        if let Accepted::Native(connection, guard) = accepted {
            guard.authenticated();
            let gate = gate.clone();
            tokio::spawn(async move { gate.attend(connection).await });
        }
    }
}

impl Gate {
    /// One client, to its end.
    async fn attend(&self, client: Connection) -> Option<()> {
        let mut client = client.split();
        let hello = self.hear(&mut client.reader, frame::HELLO).await?;
        let request = loop {
            self.hear(&mut client.reader, frame::PROOF).await?;
            let request = self.hear(&mut client.reader, frame::REQUEST).await?;
            if !take(&self.refusals) {
                break request;
            }
            let error = Code::UNAUTHENTICATED.because("not this one");
            say(&mut client.writer, &Denied { error, attempts_left: 1 }.into()).await?;
        };
        let mut server = RawPeer::dial(self.server, self.choice).await;
        let proof = server.proof(&self.key);
        server.say_frame(hello.ty, &hello.payload).await;
        server.say(proof).await;
        let welcome = server.hear().await?;
        say(&mut client.writer, &welcome).await?;
        if take(&self.losses) {
            // The client has read it when it asks for nothing but the end, or it learns of both at once.
            client.writer.finish().await.ok()?;
            let _ = timeout(PATIENCE, client.reader.read_frame(limits::CONTROL_FRAME_BYTES_MAX)).await;
            return None;
        }
        server.say_frame(request.ty, &request.payload).await;
        let server = server.parts;
        tokio::join!(pass_on(client.reader, server.writer), pass_on(server.reader, client.writer));
        Some(())
    }

    /// The next frame, which must be of this type, and must come without anything being said to the client.
    async fn hear(&self, reader: &mut ControlReader, ty: u64) -> Option<Frame> {
        let frame = timeout(PATIENCE, reader.read_frame(limits::EARLY_FRAME_BYTES_MAX)).await;
        let frame = frame.ok()?.ok()??;
        self.unasked.lock().expect("no holder of this lock panics").push(frame.ty);
        (frame.ty == ty).then_some(frame)
    }
}

fn take(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

async fn say(writer: &mut ControlWriter, message: &ControlMessage) -> Option<()> {
    writer.write_frame(message.frame_type(), &message.encode()).await.ok()
}

async fn pass_on(mut from: ControlReader, mut to: ControlWriter) {
    while let Ok(Some(frame)) = from.read_frame(limits::CONTROL_FRAME_BYTES_MAX).await {
        if to.write_frame(frame.ty, &frame.payload).await.is_err() {
            return;
        }
    }
    let _ = to.finish().await;
}

/// How long a client may take to say what needs no answer. Only one that says it not is waited for so long.
const PATIENCE: Duration = Duration::from_secs(20);
