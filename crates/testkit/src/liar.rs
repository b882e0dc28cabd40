//! A server that lies: it passes on what a real one and its client say, and changes one bit of each file's content.
//!
//! Over QUIC alone, which brings data beside the control lane. What it says of itself is true: it has a key of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

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

/// A lying server that runs until it is dropped.
#[derive(Debug)]
pub struct Liar {
    port: u16,
    key: ServerKey,
    /// Its tasks end with it.
    _runtime: Runtime,
}

impl Liar {
    /// Starts before a real server, which lets the key at `key` in; `state` is a folder for its own.
    pub fn start(server: SocketAddr, key: &Path, state: &Path) -> Self {
        let identity = ServerIdentity::load_or_create(state).expect("the folder can be written");
        let mut options = BindOptions::new(identity.pkcs8_der().to_vec());
        options.addresses = vec![(Ipv4Addr::LOCALHOST, 0).into()];
        options.only = Some(Transport::Quic);
        let runtime = Runtime::new().expect("the system gives threads");
        let listener = runtime.block_on(Listener::bind(options)).expect("a port is free");
        let port = listener.local_addresses()[0].port();
        runtime.spawn(serve(listener, server, key.into()));
        Self { port, key: identity.key(), _runtime: runtime }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its key's fingerprint.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint().to_string()
    }
}

async fn serve(listener: Listener, server: SocketAddr, key: PathBuf) {
    while let Some(accepted) = listener.accept().await {
        if let Accepted::Native(connection, guard) = accepted {
            guard.authenticated();
            tokio::spawn(stand_between(connection, server, key.clone()));
        }
    }
}

async fn stand_between(client: Connection, server: SocketAddr, key: PathBuf) {
    let server = RawPeer::dial(server, Choice::Quic).await;
    let proof = server.proof(&key).into();
    let (client, server) = (client.split(), server.parts);
    let (Some((to_client, from_client)), Some((to_server, from_server))) = (client.data, server.data) else {
        return;
    };
    tokio::join!(
        pass_control(client.reader, server.writer, Some(proof)),
        pass_control(server.reader, client.writer, None),
        pass_data(from_client, to_server, false),
        pass_data(from_server, to_client, true),
    );
}

/// Passes on what is said, with another proof in the place of the one that was made for this connection.
async fn pass_control(mut from: ControlReader, mut to: ControlWriter, proof: Option<ControlMessage>) {
    while let Ok(Some(frame)) = from.read_frame(limits::CONTROL_FRAME_BYTES_MAX).await {
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

async fn pass_data(mut from: DataReceiver, to: DataSender, lie: bool) {
    while let Ok(Some(frame)) = from.recv().await {
        let mut payload = frame.payload.to_vec();
        // A header stands before the content, so that the last byte is content.
        if let Some(last) = payload.last_mut().filter(|_| lie) {
            *last ^= 1;
        }
        if to.send(frame.ty, payload.into(), Vec::new().into(), 0).await.is_err() {
            return;
        }
    }
}
