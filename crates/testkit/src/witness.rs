//! A witness: stands between a client and a server, passes on what they say, and keeps every frame of it.
//!
//! Over QUIC alone, which brings data beside the control lane. It has a key of its own, and proves the client's to the server.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sft_auth::{ServerIdentity, ServerKey};
use sft_base::limits;
use sft_lane::{
    Accepted, BindOptions, Choice, Connection, ControlReader, ControlWriter, DataReceiver, DataSender,
    Listener, Transport,
};
use sft_wire::ControlMessage;
use sft_wire::message::frame;
use tokio::runtime::Runtime;

use crate::RawPeer;

/// A witness that listens until it is dropped.
#[derive(Debug)]
pub struct Witness {
    port: u16,
    key: ServerKey,
    heard: Heard,
    /// Its tasks end with it.
    _runtime: Runtime,
}

/// Types and payloads of frames, in the order they came.
type Heard = Arc<Mutex<Vec<(u64, Vec<u8>)>>>;

impl Witness {
    /// Starts before a server, which lets the key at `key` in; `state` is a folder for its own.
    pub fn start(server: SocketAddr, key: &Path, state: &Path) -> Self {
        let identity = ServerIdentity::load_or_create(state).expect("the folder can be written");
        let mut options = BindOptions::new(identity.pkcs8_der().to_vec());
        options.addresses = vec![(Ipv4Addr::LOCALHOST, 0).into()];
        options.only = Some(Transport::Quic);
        let runtime = Runtime::new().expect("the system gives threads");
        let listener = runtime.block_on(Listener::bind(options)).expect("a port is free");
        let port = listener.local_addresses()[0].port();
        let heard = Heard::default();
        runtime.spawn(serve(listener, server, key.into(), heard.clone()));
        Self { port, key: identity.key(), heard, _runtime: runtime }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its key's fingerprint.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint().to_string()
    }

    /// All that was said so far, by either end.
    pub fn heard(&self) -> Vec<(u64, Vec<u8>)> {
        self.heard.lock().expect("no holder of this lock panics").clone()
    }
}

async fn serve(listener: Listener, server: SocketAddr, key: PathBuf, heard: Heard) {
    while let Some(accepted) = listener.accept().await {
        if let Accepted::Native(connection, guard) = accepted {
            guard.authenticated();
            tokio::spawn(stand_between(connection, server, key.clone(), heard.clone()));
        }
    }
}

async fn stand_between(client: Connection, server: SocketAddr, key: PathBuf, heard: Heard) {
    let server = RawPeer::dial(server, Choice::Quic).await;
    let proof = server.proof(&key).into();
    let (client, server) = (client.split(), server.parts);
    let (Some((to_client, from_client)), Some((to_server, from_server))) = (client.data, server.data) else {
        return;
    };
    tokio::join!(
        pass_control(client.reader, server.writer, Some(proof), &heard),
        pass_control(server.reader, client.writer, None, &heard),
        pass_data(from_client, to_server, &heard),
        pass_data(from_server, to_client, &heard),
    );
}

/// Passes on what is said, with another proof in the place of the one that was made for this connection.
async fn pass_control(
    mut from: ControlReader,
    mut to: ControlWriter,
    proof: Option<ControlMessage>,
    heard: &Heard,
) {
    while let Ok(Some(frame)) = from.read_frame(limits::CONTROL_FRAME_BYTES_MAX).await {
        note(heard, frame.ty, &frame.payload);
        let said = match &proof {
            Some(proof) if frame.ty == frame::PROOF => proof.encode(),
            _ => frame.payload.to_vec(),
        };
        if to.write_frame(frame.ty, &said).await.is_err() {
            return;
        }
    }
    let _ = to.finish().await;
}

async fn pass_data(mut from: DataReceiver, to: DataSender, heard: &Heard) {
    while let Ok(Some(frame)) = from.recv().await {
        note(heard, frame.ty, &frame.payload);
        if to.send(frame.ty, frame.payload, Vec::new().into(), 0).await.is_err() {
            return;
        }
    }
}

fn note(heard: &Heard, ty: u64, payload: &[u8]) {
    heard.lock().expect("no holder of this lock panics").push((ty, payload.to_vec()));
}
