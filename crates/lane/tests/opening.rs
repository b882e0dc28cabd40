//! Promise: a server shows the certificate that fits the protocol, a client talks to no server but the pinned one, and
//! nobody gets an older TLS.

mod support;

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, NamedGroup, ProtocolVersion};
use sft_lane::{ALPN, Accepted, AttemptError, Choice, ConnectOptions, Dialer, Pin, fingerprint};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

#[tokio::test]
async fn the_certificate_follows_the_alpn() {
    let server = Server::start().await;
    let cases: [(&[&[u8]], &[u8]); 5] = [
        (&[ALPN], &ED25519),
        (&[b"h2", ALPN], &ED25519),
        (&[b"h2"], &P256),
        (&[b"http/1.1"], &P256),
        (&[], &P256),
    ];
    for (alpn, algorithm) in cases {
        let (config, taken) = trusting_config(alpn);
        let tls = handshake(&server, config).await.unwrap();
        let certificate = CertificateDer::from(taken.0.lock().unwrap().clone());
        let spki = ParsedCertificate::try_from(&certificate).unwrap().subject_public_key_info();
        assert!(spki.windows(algorithm.len()).any(|window| window == algorithm), "{alpn:?}: {spki:?}");
        assert_eq!(spki.ends_with(&server.key), algorithm == ED25519, "{alpn:?}");
        let state = tls.get_ref().1;
        assert_eq!(state.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(state.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
        assert_eq!(state.alpn_protocol().is_some(), !alpn.is_empty());
    }
}

#[tokio::test]
async fn another_protocol_is_handed_out_for_another_door() {
    let server = Server::start().await;
    for alpn in [Some(b"h2".as_slice()), Some(b"http/1.1"), None] {
        let (config, _) = trusting_config(&alpn.into_iter().collect::<Vec<_>>());
        let mut tls = handshake(&server, config).await.unwrap();
        tls.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let accepted = within(server.listener.accept()).await.unwrap();
        let Accepted::Other { alpn: seen, mut stream, remote_address, .. } = accepted else {
            panic!("{accepted:?}");
        };
        assert_eq!((seen.as_deref(), remote_address), (alpn, tls.get_ref().0.local_addr().unwrap()));
        let mut line = [0; 16];
        within(stream.read_exact(&mut line)).await.unwrap();
        assert_eq!(&line, b"GET / HTTP/1.1\r\n");
        stream.write_all(b"hello, browser").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        within(tls.read_to_string(&mut answer)).await.unwrap();
        assert_eq!(answer, "hello, browser");
    }
}

#[tokio::test]
async fn a_protocol_that_nobody_speaks_is_refused() {
    let server = Server::start().await;
    let (config, _) = trusting_config(&[b"imap"]);
    assert!(handshake(&server, config).await.is_err());
}

#[tokio::test]
async fn only_the_pinned_server_is_talked_to() {
    let server = Server::start().await;
    let other = [7; 32];
    for choice in [Choice::Quic, Choice::Tcp, Choice::Auto] {
        let options = ConnectOptions { choice, ..ConnectOptions::default() };
        for pin in [Pin::Key(other), Pin::Fingerprint(other), Pin::Fingerprint(server.key)] {
            let refused =
                Dialer::new().connect(&[server.address], "localhost", pin, &options).await.unwrap_err();
            assert_eq!(refused.wrong_key(), Some(server.key), "{choice:?} {pin:?}");
            let all_wrong_key =
                refused.attempts.iter().all(|attempt| matches!(attempt.cause, AttemptError::WrongKey { .. }));
            assert!(all_wrong_key, "{refused}");
            let sentence = "the server's key is not the one this client trusts";
            assert!(refused.to_string().contains(sentence), "{refused}");
        }
        for pin in [Pin::Key(server.key), Pin::Fingerprint(fingerprint(&server.key)), Pin::Any] {
            let raced = Dialer::new().connect(&[server.address], "localhost", pin, &options).await.unwrap();
            assert_eq!(raced.first.peer_key(), Some(server.key), "{choice:?} {pin:?}");
        }
    }
}

#[tokio::test]
async fn a_browser_page_is_no_sft_server() {
    let tls = web_only_server();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let _ = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await;
    });
    let options = ConnectOptions { choice: Choice::Tcp, ..ConnectOptions::default() };
    let refused = Dialer::new().connect(&[address], "localhost", Pin::Any, &options).await.unwrap_err();
    serving.await.unwrap();
    assert!(matches!(refused.attempts[0].cause, AttemptError::NotSft), "{refused}");
}

#[tokio::test]
async fn a_client_of_tls_1_2_is_refused() {
    let server = Server::start().await;
    let address = server.address;
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(&client_hello_of_tls_1_2()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    });
    // A record of one fatal alert: protocol_version.
    let answer = answer.await.unwrap();
    assert_eq!(
        (answer.first(), answer.get(3..)),
        (Some(&0x15), Some([0, 2, 2, 70].as_slice())),
        "{answer:?}"
    );
}

async fn handshake(server: &Server, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server.address).await?;
    within(TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream)).await
}

fn web_only_server() -> Arc<rustls::ServerConfig> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// A hello as a client sends it that has never heard of TLS 1.3: no supported_versions, suites of TLS 1.2 alone.
fn client_hello_of_tls_1_2() -> Vec<u8> {
    let mut extensions = Vec::new();
    let mut extension = |kind: u16, body: &[u8]| {
        extensions.extend_from_slice(&kind.to_be_bytes());
        extensions.extend_from_slice(&(body.len() as u16).to_be_bytes());
        extensions.extend_from_slice(body);
    };
    extension(10, &[0, 4, 0, 29, 0, 23]);
    extension(11, &[1, 0]);
    extension(13, &[0, 4, 4, 3, 8, 7]);
    extension(16, &[0, 6, 5, b's', b'f', b't', b'/', b'1']);
    extension(23, &[]);
    let mut hello = vec![3, 3];
    hello.extend_from_slice(&[0x5a; 32]);
    hello.push(0);
    hello.extend_from_slice(&[0, 4, 0xc0, 0x2b, 0xc0, 0x2f]);
    hello.extend_from_slice(&[1, 0]);
    hello.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    hello.extend_from_slice(&extensions);
    let mut record = vec![0x16, 3, 1];
    record.extend_from_slice(&(hello.len() as u16 + 4).to_be_bytes());
    record.push(1);
    record.extend_from_slice(&(hello.len() as u32).to_be_bytes()[1..]);
    record.extend_from_slice(&hello);
    record
}

/// The object identifier of Ed25519 keys (RFC 8410).
const ED25519: [u8; 3] = [0x2b, 0x65, 0x70];
/// The object identifier of the curve P-256 (RFC 5480).
const P256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
