//! A server with a fresh identity on a loopback port, pairs of connections to it, and a client that trusts anything.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use sft_lane::{
    Accepted, BindOptions, Choice, ConnectOptions, Connection, Dialer, EarlyGuard, Frame, Listener, Parts,
    Pin,
};

/// A frame type that these tests agree on.
pub(crate) const TEXT: u64 = 0x10;
/// Another one, of data.
pub(crate) const PIECE: u64 = 0x40;

/// A listening server and its public key.
pub(crate) struct Server {
    pub(crate) listener: Listener,
    pub(crate) address: SocketAddr,
    pub(crate) key: [u8; 32],
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut BindOptions)) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut options = BindOptions::new(pair.serialize_der());
        options.addresses = vec!["127.0.0.1:0".parse().unwrap()];
        change(&mut options);
        let listener = Listener::bind(options).await.unwrap();
        let address = listener.local_addresses()[0];
        Self { listener, address, key: pair.public_key_raw().try_into().unwrap() }
    }

    pub(crate) async fn accept(&self) -> (Connection, EarlyGuard) {
        match within(self.listener.accept()).await {
            Some(Accepted::Native(connection, early)) => (connection, early),
            other => panic!("no native connection: {other:?}"),
        }
    }

    /// Dials over one transport.
    pub(crate) async fn dial(&self, choice: Choice) -> Connection {
        let options = ConnectOptions { choice, ..ConnectOptions::default() };
        let raced = Dialer::new().connect(&[self.address], "localhost", Pin::Key(self.key), &options).await;
        raced.unwrap().first
    }

    /// Both ends of a connection, after one frame from the client, and authenticated: client, server.
    pub(crate) async fn pair(&self, choice: Choice) -> (Parts, Parts) {
        let mut client = self.dial(choice).await.split();
        client.writer.write_frame(TEXT, b"hello").await.unwrap();
        let (connection, early) = self.accept().await;
        let mut server = connection.split();
        assert_eq!(&text(&mut server).await[..], b"hello");
        early.authenticated();
        (client, server)
    }
}

/// The payload of the next control frame.
pub(crate) async fn text(parts: &mut Parts) -> Bytes {
    let frame = within(parts.reader.read_frame(1 << 16)).await.unwrap().expect("the lane goes on");
    assert_eq!(frame.ty, TEXT);
    frame.payload
}

/// Fails a test that hangs.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it took more than a minute")
}

/// A piece that says its number and can be checked: 8 bytes of number, then a pattern of it.
pub(crate) fn piece(number: u64, bytes: usize) -> (Bytes, Bytes) {
    let pattern: Vec<u8> = (0..251).map(|step| (number as u8).wrapping_mul(31).wrapping_add(step)).collect();
    let body: Vec<u8> = pattern.iter().copied().cycle().take(bytes).collect();
    (Bytes::copy_from_slice(&number.to_be_bytes()), body.into())
}

/// The number of a piece, after checking every byte of it.
pub(crate) fn check_piece(frame: &Frame) -> u64 {
    assert_eq!(frame.ty, PIECE);
    let number = u64::from_be_bytes(frame.payload[..8].try_into().unwrap());
    let (_, body) = piece(number, frame.payload.len() - 8);
    assert!(frame.payload[8..] == body[..], "piece {number} is not what was sent");
    number
}

/// A TLS configuration that takes any server and notes its certificate.
pub(crate) fn trusting_config(alpn: &[&[u8]]) -> (ClientConfig, Arc<TakeAny>) {
    let verifier = Arc::new(TakeAny(Mutex::new(Vec::new())));
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    (config, verifier)
}

/// Takes any certificate, checks the handshake signature all the same, and keeps the certificate.
#[derive(Debug)]
pub(crate) struct TakeAny(pub(crate) Mutex<Vec<u8>>);

impl ServerCertVerifier for TakeAny {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = end_entity.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("TLS 1.2 is not offered")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
