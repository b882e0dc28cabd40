//! Promise: whichever transport works carries on, without a wait that anyone notices, and both when both work.

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use sft_lane::{AttemptError, Choice, ConnectOptions, Dialer, Pin, Transport, connect};
use support::*;

/// Well below the ten seconds that an attempt has, and enough for a busy machine.
const NOT_WAITED_FOR: Duration = Duration::from_secs(6);

#[tokio::test]
async fn quic_wins_and_tcp_comes_along() {
    let server = Server::start().await;
    let options = ConnectOptions::default();
    let raced = connect(&[server.address], "localhost", Pin::Any, &options).await.unwrap();
    assert_eq!(raced.first.transport(), Transport::Quic);
    let later = within(raced.later.unwrap().wait()).await.unwrap();
    assert_eq!((later.transport(), later.peer_key()), (Transport::Tcp, Some(server.key)));
    let mut near = [raced.first.split(), later.split()];
    for parts in &mut near {
        let said = parts.handle.transport().to_string();
        parts.writer.write_frame(TEXT, said.as_bytes()).await.unwrap();
    }
    for _ in &near {
        let mut far = server.accept().await.0.split();
        let transport = far.handle.transport().to_string();
        assert_eq!(&text(&mut far).await[..], transport.as_bytes());
    }
}

#[tokio::test]
async fn dropped_udp_is_not_waited_for() {
    let server = Server::start_with(|options| options.only = Some(Transport::Tcp)).await;
    // Takes every packet and answers none, as a firewall that drops.
    let _silent = UdpSocket::bind(server.address).unwrap();
    let begun = Instant::now();
    let raced =
        connect(&[server.address], "localhost", Pin::Key(server.key), &ConnectOptions::default()).await;
    let raced = raced.unwrap();
    assert_eq!(raced.first.transport(), Transport::Tcp);
    assert!(begun.elapsed() < NOT_WAITED_FOR, "{:?}", begun.elapsed());
    assert!(begun.elapsed() >= Duration::from_millis(250), "QUIC had no head start");
    let mut later = raced.later.unwrap();
    let unfinished = tokio::time::timeout(Duration::from_millis(100), later.wait()).await;
    assert!(unfinished.is_err(), "QUIC is still tried");

    let options = ConnectOptions { udp_was_blocked: true, ..ConnectOptions::default() };
    let mut fastest = Duration::MAX;
    // A busy machine may be slow once.
    for _ in 0..8 {
        let begun = Instant::now();
        let raced = connect(&[server.address], "localhost", Pin::Key(server.key), &options).await.unwrap();
        assert_eq!(raced.first.transport(), Transport::Tcp);
        fastest = fastest.min(begun.elapsed());
    }
    assert!(fastest < Duration::from_millis(250), "TCP waited: {fastest:?}");
}

#[tokio::test]
async fn closed_tcp_does_not_matter() {
    let server = Server::start_with(|options| options.only = Some(Transport::Quic)).await;
    for udp_was_blocked in [false, true] {
        let options = ConnectOptions { udp_was_blocked, ..ConnectOptions::default() };
        let raced =
            within(connect(&[server.address], "localhost", Pin::Key(server.key), &options)).await.unwrap();
        assert_eq!(raced.first.transport(), Transport::Quic);
        let refused = within(raced.later.unwrap().wait()).await.unwrap_err();
        assert_eq!(refused.attempts[0].transport, Transport::Tcp);
        assert!(matches!(refused.attempts[0].cause, AttemptError::Io(_)), "{refused}");
    }
}

#[tokio::test]
async fn a_choice_is_kept() {
    let server = Server::start().await;
    for (choice, transport) in [(Choice::Quic, Transport::Quic), (Choice::Tcp, Transport::Tcp)] {
        let options = ConnectOptions { choice, ..ConnectOptions::default() };
        let raced = connect(&[server.address], "localhost", Pin::Any, &options).await.unwrap();
        assert_eq!(raced.first.transport(), transport);
        assert!(raced.later.is_none());
    }
}

#[tokio::test]
async fn a_dead_address_gives_way_to_a_live_one() {
    let server = Server::start().await;
    let dead = nobody_there();
    let begun = Instant::now();
    let raced =
        connect(&[dead, server.address], "localhost", Pin::Key(server.key), &ConnectOptions::default()).await;
    assert_eq!(raced.unwrap().first.remote_address(), server.address);
    assert!(begun.elapsed() < NOT_WAITED_FOR, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn all_that_failed_is_listed() {
    let dead = nobody_there();
    let options = ConnectOptions { answer_max: Duration::from_millis(600), ..ConnectOptions::default() };
    let refused = within(Dialer::new().connect(&[dead], "localhost", Pin::Any, &options)).await.unwrap_err();
    let said = refused.to_string();
    assert!(said.contains(&format!("TCP {dead}: Connection refused")), "{said}");
    assert!(said.contains(&format!("UDP {dead}: no answer within 0.6 s")), "{said}");
    let begun = Instant::now();
    let refused =
        within(connect(&[dead], "localhost", Pin::Any, &ConnectOptions::default())).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(9), "where TCP is refused QUIC is not waited for in full");
    assert_eq!(refused.attempts.len(), 2, "{refused}");
    let begun = Instant::now();
    let options = ConnectOptions { choice: Choice::Tcp, ..ConnectOptions::default() };
    let refused = connect(&[dead], "localhost", Pin::Any, &options).await.unwrap_err();
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "nothing is waited for where only TCP may be used: {refused}"
    );
    let nowhere = connect(&[], "localhost", Pin::Any, &options).await.unwrap_err();
    assert_eq!(nowhere.to_string(), "there is no address to connect to");
}

#[tokio::test]
async fn who_answers_and_goes_silent_is_told_from_nobody() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let handshake_max = Duration::from_millis(600);
    let options = ConnectOptions { choice: Choice::Tcp, handshake_max, ..ConnectOptions::default() };
    let failed = within(connect(&[address], "localhost", Pin::Any, &options)).await.unwrap_err();
    let said = failed.to_string();
    assert!(said.contains("it answered, and then no secure channel came up within 0.6 s"), "{said}");
}

/// An address at which both sockets were free a moment ago.
fn nobody_there() -> SocketAddr {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    tcp.local_addr().unwrap()
}
