//! Two ends on this machine, joined by one QUIC connection, and stores in memory with something in them.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use std::net::Ipv4Addr;
use std::time::Duration;

use sft_auth::ServerIdentity;
use sft_base::limits::{PIECE_BYTES, PIECE_LOG2};
use sft_base::{Digest, EntryPath, Node, Verified, node_cv};
use sft_engine::{Link, Role};
use sft_lane::{Accepted, BindOptions, Choice, ConnectOptions, Listener, Parts, Pin, Transport, connect};
use sft_store::{Attributes, Publish, StageKey, Store};

/// Both ends of a connection that is as good as authenticated, each free to be used in any way.
pub(crate) struct Ends {
    pub(crate) client: Parts,
    pub(crate) server: Parts,
    _listener: Listener,
}

impl Ends {
    pub(crate) async fn join() -> Self {
        let state = tempfile::tempdir().unwrap();
        let identity = ServerIdentity::load_or_create(state.path()).unwrap();
        let mut options = BindOptions::new(identity.pkcs8_der().to_vec());
        options.addresses = vec![(Ipv4Addr::LOCALHOST, 0).into()];
        let listener = Listener::bind(options).await.unwrap();
        let address = listener.local_addresses()[0];
        let options = ConnectOptions { choice: Choice::Quic, ..ConnectOptions::default() };
        let raced = connect(&[address], "localhost", Pin::Any, &options).await.unwrap();
        let mut client = raced.first.split();
        client.writer.write_frame(HELLO, b"").await.unwrap();
        let Some(Accepted::Native(connection, early)) = within(listener.accept()).await else {
            panic!("nobody comes")
        };
        let mut server = connection.split();
        within(server.reader.read_frame(16)).await.unwrap().unwrap();
        early.authenticated();
        Self { client, server, _listener: listener }
    }

    /// Links at both ends: client, server. What keeps them up comes with them.
    pub(crate) fn link(self) -> (Link, Link, impl Send) {
        let link = |parts: Parts, role| {
            let (link, events) = Link::start(parts.reader, parts.writer, parts.handle, role);
            let (sender, receiver) = parts.data.expect("QUIC brings data");
            link.add_lane(Transport::Quic, sender, receiver);
            (link, events)
        };
        let (client, at_client) = link(self.client, Role::Client);
        let (server, at_server) = link(self.server, Role::Server);
        (client, server, (at_client, at_server, self._listener))
    }
}

/// Fails a test that hangs.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it took more than a minute")
}

pub(crate) fn path(text: &str) -> EntryPath {
    EntryPath::from_typed(text.as_bytes()).unwrap()
}

/// Bytes without an obvious period.
pub(crate) fn pattern(len: u64) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 17)) as u8 | 1).collect()
}

pub(crate) fn verified(content: &[u8]) -> Verified {
    let digest = Digest::of(content);
    digest.verify(digest, content.len() as u64).unwrap()
}

/// The node of a piece of `content`.
pub(crate) fn piece(content: &[u8], index: u64) -> (Node, &[u8]) {
    let offset = index * PIECE_BYTES;
    let bytes = &content[offset as usize..content.len().min((offset + PIECE_BYTES) as usize)];
    (Node { offset, log2: PIECE_LOG2, cv: node_cv(offset, bytes) }, bytes)
}

/// Puts content of any size into a store.
pub(crate) fn put(store: &dyn Store, to: &str, content: &[u8]) {
    let size = content.len() as u64;
    let staged = if size <= PIECE_BYTES {
        store.stage_small(content, &Attributes::default()).unwrap()
    } else {
        let stage = store.stage(&StageKey(Digest::of(to.as_bytes()).0), size).unwrap();
        stage.write_at(0, content).unwrap();
        stage.finish().unwrap()
    };
    let none = Attributes::default();
    store.publish(staged, verified(content), &path(to), Publish::Replace, &none).unwrap();
}

/// The content of a file, if there is one.
pub(crate) fn read(store: &dyn Store, from: &str) -> Option<Vec<u8>> {
    let source = store.open(&path(from)).ok()?;
    let mut content = vec![0; source.stat().unwrap().meta.size as usize];
    assert_eq!(source.read_at(0, &mut content).unwrap(), content.len());
    Some(content)
}

const HELLO: u64 = 0x1000;
