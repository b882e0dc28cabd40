//! Promise: a stranger who floods, stalls or babbles costs little and hinders nobody.

mod support;

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::crypto::rustls::QuicClientConfig;
use sft_base::limits::DATA_FRAME_BYTES_MAX;
use sft_lane::{ALPN, Choice, ConnectOptions, DataReceiver, Dialer, LaneError, Misbehaviour, Pin};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn garbage_on_either_port_does_no_harm() {
    let server = Server::start().await;
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..300 {
        let packet: Vec<u8> = (0..round * 5).map(|_| noisy_byte(&mut noise)).collect();
        udp.send_to(&packet, server.address).unwrap();
    }
    for first in [0x00, 0x16, b'S', b'G', 0xff] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let mut babble: Vec<u8> = (0..2000).map(|_| noisy_byte(&mut noise)).collect();
        babble[0] = first;
        stream.write_all(&babble).await.unwrap();
        let mut answer = Vec::new();
        let _ = within(stream.read_to_end(&mut answer)).await;
        // What does not even look like TLS hears nothing; the rest gets an alert.
        assert!(answer.is_empty() || (first == 0x16 && answer[0] == 0x15), "{first:#x}: {answer:?}");
    }
    for choice in [Choice::Quic, Choice::Tcp] {
        server.pair(choice).await;
    }
}

#[tokio::test]
async fn one_address_has_a_bounded_number_of_strangers() {
    let server = Server::start_with(|options| options.early_per_address_max = 4).await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    // The accept loop takes them in order, so the fifth is the one too many.
    let mut fifth = TcpStream::connect(server.address).await.unwrap();
    assert!(!matches!(within(fifth.read(&mut [0; 1])).await, Ok(1..)), "it was spoken to");
    let options = ConnectOptions {
        answer_max: Duration::from_millis(1500),
        choice: Choice::Quic,
        ..Default::default()
    };
    let refused = Dialer::new().connect(&[server.address], "localhost", Pin::Any, &options).await;
    assert!(refused.is_err(), "both transports share the limit");
    drop(idle);
    let deadline = Instant::now() + Duration::from_secs(60);
    while Dialer::new().connect(&[server.address], "localhost", Pin::Any, &options).await.is_err() {
        assert!(Instant::now() < deadline, "the places were never given back");
    }
}

#[tokio::test]
async fn a_busy_address_is_asked_to_prove_itself_and_an_honest_client_does() {
    let server = Server::start_with(|options| options.early_per_address_max = 4).await;
    let _strangers = [server.dial(Choice::Quic).await, server.dial(Choice::Quic).await];
    let (mut near, mut far) = server.pair(Choice::Quic).await;
    near.writer.write_frame(TEXT, b"let in").await.unwrap();
    assert_eq!(&text(&mut far).await[..], b"let in");
}

#[tokio::test]
async fn authenticated_connections_take_no_place() {
    let server = Server::start_with(|options| options.early_per_address_max = 2).await;
    let mut pairs = Vec::new();
    for _ in 0..3 {
        pairs.push(server.pair(Choice::Quic).await);
        pairs.push(server.pair(Choice::Tcp).await);
    }
    for (near, far) in &mut pairs {
        near.writer.write_frame(TEXT, b"still here").await.unwrap();
        assert_eq!(&text(far).await[..], b"still here");
    }
}

#[tokio::test]
async fn a_slow_loris_is_dropped_at_the_deadline() {
    let server = Server::start_with(|options| options.deadline = Duration::from_millis(1500)).await;
    let begun = Instant::now();
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    let dripping = async {
        // A true beginning of a hello, a byte at a time.
        for byte in [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3].into_iter().cycle() {
            if slow.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(dripping).await;
    assert!(!matches!(within(silent.read(&mut [0; 1])).await, Ok(1..)));
    assert!(begun.elapsed() >= Duration::from_millis(1400), "{:?}", begun.elapsed());
    // Well below the deadline of a server that was given none.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());

    // A QUIC client that shakes hands and then says nothing never becomes a connection.
    let mute = server.dial(Choice::Quic).await;
    within(mute.handle().closed()).await;
    let nothing = tokio::time::timeout(Duration::from_millis(50), server.listener.accept()).await;
    assert!(nothing.is_err());
    server.pair(Choice::Tcp).await;
}

#[tokio::test]
async fn oversized_and_broken_frames_are_called_by_their_names() {
    let server = Server::start().await;
    for choice in [Choice::Quic, Choice::Tcp] {
        let (mut near, mut far) = server.pair(choice).await;
        near.writer.write_frame(TEXT, &[0; 200]).await.unwrap();
        let refused = within(far.reader.read_frame(100)).await;
        let expected = Misbehaviour::FrameTooLarge { ty: TEXT, len: 200, max: 100 };
        assert!(matches!(refused, Err(LaneError::Misbehaved(rule)) if rule == expected), "{refused:?}");
    }
}

#[tokio::test]
async fn every_way_to_break_a_data_stream_is_noticed() {
    let server = Server::start().await;
    let (client, mut arriving) = raw_client(&server).await;
    let head = |len: u32| [&[0x40, 0x40][..], &(len | 0x8000_0000).to_be_bytes()].concat();
    let too_large = DATA_FRAME_BYTES_MAX as u32 + 1;
    let cases: [(Vec<u8>, Misbehaviour); 5] = [
        (Vec::new(), Misbehaviour::FrameCutShort),
        (vec![0x40], Misbehaviour::FrameCutShort),
        ([head(5), b"abcd".to_vec()].concat(), Misbehaviour::FrameCutShort),
        ([head(4), b"abcde".to_vec()].concat(), Misbehaviour::BytesAfterFrame),
        (
            head(too_large),
            Misbehaviour::FrameTooLarge { ty: 0x40, len: too_large.into(), max: DATA_FRAME_BYTES_MAX as u64 },
        ),
    ];
    for (bytes, rule) in cases {
        let mut stream = client.open_uni().await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.finish().unwrap();
        let noticed = within(arriving.recv()).await;
        assert!(
            matches!(noticed, Err(LaneError::Misbehaved(broken)) if broken == rule),
            "{rule}: {noticed:?}"
        );
    }
    // A stream that is taken back is no fault, and a whole one still passes.
    let mut stream = client.open_uni().await.unwrap();
    stream.write_all(&head(9)).await.unwrap();
    stream.reset(0u32.into()).unwrap();
    let mut stream = client.open_uni().await.unwrap();
    stream.write_all(&[head(2), b"ok".to_vec()].concat()).await.unwrap();
    stream.finish().unwrap();
    assert_eq!(&within(arriving.recv()).await.unwrap().unwrap().payload[..], b"ok");
}

#[tokio::test]
async fn streams_that_stall_do_not_stop_the_others() {
    let server = Server::start().await;
    let (client, mut arriving) = raw_client(&server).await;
    let mut stalled = Vec::new();
    for _ in 0..15 {
        let mut stream = client.open_uni().await.unwrap();
        stream.write_all(&[0x40, 0x40, 0x0a, 1, 2, 3]).await.unwrap();
        stalled.push(stream);
    }
    for number in 0..20 {
        let mut stream = client.open_uni().await.unwrap();
        stream.write_all(&[0x40, 0x40, 1, number]).await.unwrap();
        stream.finish().unwrap();
        assert_eq!(within(arriving.recv()).await.unwrap().unwrap().payload[..], [number]);
    }
    for stream in &mut stalled {
        stream.write_all(&[4, 5, 6, 7, 8, 9, 10]).await.unwrap();
        stream.finish().unwrap();
        assert_eq!(within(arriving.recv()).await.unwrap().unwrap().payload.len(), 10);
    }
}

#[tokio::test]
async fn a_stranger_gets_one_stream_and_a_small_window() {
    let server = Server::start().await;
    let client = raw_connection(&server).await;
    let (mut control, _reading) = client.open_bi().await.unwrap();
    let a_while = Duration::from_millis(400);
    let mut taken = 0;
    while let Ok(written) = tokio::time::timeout(a_while, control.write(&[0; 10_000])).await {
        taken += written.unwrap();
        assert!(taken <= 64 << 10, "{taken} bytes of a stranger were taken");
    }
    assert!(taken >= sft_base::limits::EARLY_FRAME_BYTES_MAX, "there is room for a proof: {taken}");
    assert!(tokio::time::timeout(a_while, client.open_bi()).await.is_err(), "a second stream");
    assert!(tokio::time::timeout(a_while, client.open_uni()).await.is_err(), "a stream for data");
}

/// A QUIC client without manners.
async fn raw_connection(server: &Server) -> quinn::Connection {
    let (config, _) = trusting_config(&[ALPN]);
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.connect_with(config, server.address, "localhost").unwrap().await.unwrap()
}

/// The same, authenticated, and where its data arrives.
async fn raw_client(server: &Server) -> (quinn::Connection, DataReceiver) {
    let client = raw_connection(server).await;
    let (mut control, reading) = client.open_bi().await.unwrap();
    control.write_all(&[0x10, 0]).await.unwrap();
    let (connection, early) = server.accept().await;
    let parts = connection.split();
    early.authenticated();
    // The control lane and the server's handle are not looked at, and must not end before the test does.
    tokio::spawn(async move {
        let _held = (control, reading, parts.reader, parts.writer);
        parts.handle.closed().await;
    });
    (client, parts.data.unwrap().1)
}

fn noisy_byte(state: &mut u64) -> u8 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state as u8
}
