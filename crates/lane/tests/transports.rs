//! Promise: both transports carry control frames and data frames both ways, and end as they were told.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use sft_base::limits::DATA_FRAME_BYTES_MAX;
use sft_lane::{
    Choice, ConnectOptions, DataReceiver, DataSender, Dialer, LaneError, Pin, Transport, into_data,
};
use support::*;
use tokio::task::JoinSet;

const BOTH: [(Choice, Transport); 2] = [(Choice::Quic, Transport::Quic), (Choice::Tcp, Transport::Tcp)];

#[tokio::test]
async fn control_frames_travel_both_ways() {
    let server = Server::start().await;
    for (choice, transport) in BOTH {
        let (mut near, mut far) = server.pair(choice).await;
        assert_eq!((near.handle.transport(), far.handle.transport()), (transport, transport));
        for round in 0..50u8 {
            let payload = vec![round; usize::from(round) * 997];
            near.writer.feed(TEXT, &payload).await.unwrap();
            near.writer.feed(TEXT, b"").await.unwrap();
            near.writer.flush().await.unwrap();
            let got = text(&mut far).await;
            assert_eq!(text(&mut far).await.len(), 0);
            far.writer.write_frame(TEXT, &got).await.unwrap();
            assert_eq!(text(&mut near).await, payload);
        }
        near.writer.finish().await.unwrap();
        assert_eq!(within(far.reader.read_frame(100)).await.unwrap(), None, "{transport}");
        far.writer.write_frame(TEXT, b"still there").await.unwrap();
        assert_eq!(&text(&mut near).await[..], b"still there");
    }
}

#[tokio::test]
async fn both_ends_see_one_channel() {
    let server = Server::start().await;
    let mut exporters = BTreeSet::new();
    for (choice, transport) in BOTH {
        for _ in 0..2 {
            let (near, far) = server.pair(choice).await;
            assert_eq!(near.handle.exporter(), far.handle.exporter());
            exporters.insert(near.handle.exporter());
            assert_eq!((near.handle.peer_key(), far.handle.peer_key()), (Some(server.key), None));
            assert_eq!(near.handle.remote_address(), server.address);
            assert_eq!(far.handle.local_address(), Some(server.address), "{transport}");
            assert_eq!(far.handle.remote_address().ip(), server.address.ip());
            for rtt in [near.handle.rtt(), far.handle.rtt()] {
                assert!(rtt > Duration::ZERO && rtt < Duration::from_secs(10), "{transport}: {rtt:?}");
            }
        }
    }
    assert_eq!(exporters.len(), 4, "no two connections share an exporter");
}

#[tokio::test]
async fn quic_data_travels_beside_control() {
    let server = Server::start().await;
    let (near, far) = server.pair(Choice::Quic).await;
    let (near_out, near_in) = near.data.unwrap();
    let (far_out, far_in) = far.data.unwrap();
    tokio::join!(exchange(near_out, far_in, 40), exchange(far_out, near_in, 40));
}

#[tokio::test]
async fn tcp_data_travels_on_an_attached_connection() {
    let server = Server::start().await;
    let (near, _far) = server.pair(Choice::Tcp).await;
    assert!(near.data.is_none());
    let pin = Pin::Key(near.handle.peer_key().unwrap());
    let dialled = Dialer::new().dial_data(server.address, "localhost", pin, &ConnectOptions::default()).await;
    let mut lane = dialled.unwrap().split();
    // Data in the same flight as the first frame: what was read ahead must not be lost.
    lane.writer.feed(TEXT, b"attach").await.unwrap();
    lane.writer.write_frame(PIECE, &[&7u64.to_be_bytes()[..], &piece(7, 3000).1].concat()).await.unwrap();
    let (connection, early) = server.accept().await;
    let mut joined = connection.split();
    assert_eq!(&text(&mut joined).await[..], b"attach");
    early.authenticated();
    let (near_out, near_in) = into_data(lane.reader, lane.writer).unwrap();
    let (far_out, mut far_in) = into_data(joined.reader, joined.writer).unwrap();
    assert_eq!(check_piece(&within(far_in.recv()).await.unwrap().unwrap()), 7);
    assert_eq!((near_out.parallel(), far_out.parallel()), (1, 1));
    tokio::join!(exchange(near_out.clone(), far_in, 40), exchange(far_out, near_in, 40));
}

#[tokio::test]
async fn a_finished_data_lane_ends_in_good_order() {
    let server = Server::start().await;
    let (near, far) = server.pair(Choice::Tcp).await;
    let (out, _) = into_data(near.reader, near.writer).unwrap();
    let (_, mut arriving) = into_data(far.reader, far.writer).unwrap();
    let (header, body) = piece(1, 10);
    out.send(PIECE, header, body, 0).await.unwrap();
    out.finish().await.unwrap();
    assert_eq!(check_piece(&within(arriving.recv()).await.unwrap().unwrap()), 1);
    assert_eq!(within(arriving.recv()).await.unwrap(), None);
}

#[tokio::test]
async fn no_data_before_authentication() {
    let server = Server::start().await;
    let mut near = server.dial(Choice::Quic).await.split();
    near.writer.write_frame(TEXT, b"hello").await.unwrap();
    let (connection, early) = server.accept().await;
    let (_, mut arriving) = connection.split().data.unwrap();
    let (out, _) = near.data.unwrap();
    let (header, body) = piece(3, 1 << 20);
    let sending = tokio::spawn(async move { out.send(PIECE, header, body, 0).await });
    let early_arrival = tokio::time::timeout(Duration::from_millis(150), arriving.recv()).await;
    assert!(early_arrival.is_err(), "an unknown client was given a data stream");
    assert!(!sending.is_finished());
    early.authenticated();
    assert_eq!(check_piece(&within(arriving.recv()).await.unwrap().unwrap()), 3);
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_unread_peer_holds_the_sender_back_and_a_dropped_send_is_taken_back() {
    let server = Server::start().await;
    let (near, far) = server.pair(Choice::Quic).await;
    let (out, _) = near.data.unwrap();
    let (_, mut arriving) = far.data.unwrap();
    let mut taken = 0;
    loop {
        let (header, body) = piece(taken, 1 << 20);
        match tokio::time::timeout(Duration::from_secs(3), out.send(PIECE, header, body, 0)).await {
            Ok(sent) => sent.unwrap(),
            Err(_) => break,
        }
        taken += 1;
        assert!(taken < 200, "200 MiB were taken from a sender whose peer reads nothing");
    }
    assert!(taken >= 8, "only {taken} pieces were taken");
    let mut came = BTreeSet::new();
    while came.len() < taken as usize {
        came.insert(check_piece(&within(arriving.recv()).await.unwrap().unwrap()));
    }
    assert_eq!(came, (0..taken).collect());
    let (header, body) = piece(1000, 10);
    out.send(PIECE, header, body, 0).await.unwrap();
    assert_eq!(check_piece(&within(arriving.recv()).await.unwrap().unwrap()), 1000);
}

#[tokio::test]
async fn a_close_is_heard() {
    let server = Server::start().await;
    let (near, mut far) = server.pair(Choice::Quic).await;
    near.handle.close(42, "that was all");
    let heard = within(far.reader.read_frame(100)).await.unwrap_err();
    assert_eq!(heard.to_string(), "the peer closed the connection (code 42): that was all");
    assert!(matches!(within(far.handle.closed()).await, LaneError::ClosedByPeer { code: 42, .. }));
    let (_, mut arriving) = far.data.unwrap();
    assert!(matches!(within(arriving.recv()).await, Err(LaneError::ClosedByPeer { code: 42, .. })));
    assert_eq!(within(arriving.recv()).await.unwrap(), None);

    let (mut near, mut far) = server.pair(Choice::Tcp).await;
    let handle = near.handle.clone();
    let reading = tokio::spawn(async move { near.reader.read_frame(100).await });
    handle.close(42, "that was all");
    assert!(matches!(within(reading).await.unwrap(), Err(LaneError::ClosedHere)));
    assert!(matches!(within(handle.closed()).await, LaneError::ClosedHere));
    assert!(matches!(within(near.writer.write_frame(TEXT, b"x")).await, Err(LaneError::ClosedHere)));
    assert!(matches!(within(far.reader.read_frame(100)).await, Err(LaneError::Lost(_))));
    assert!(matches!(within(far.handle.closed()).await, LaneError::Lost(_)));
}

#[tokio::test]
async fn a_stopping_server_says_so() {
    let server = Server::start().await;
    let (mut near, _far) = server.pair(Choice::Quic).await;
    within(server.listener.close()).await;
    assert!(matches!(within(near.reader.read_frame(9)).await, Err(LaneError::ClosedByPeer { code: 0, .. })));
    assert!(within(server.listener.accept()).await.is_none());
    let options = ConnectOptions { answer_max: Duration::from_millis(500), ..ConnectOptions::default() };
    let again = Dialer::new().connect(&[server.address], "localhost", Pin::Any, &options).await;
    assert_eq!(again.unwrap_err().attempts.len(), 2);
}

/// Sends pieces of many sizes, as many at once as the lane likes, and checks that all of them come.
async fn exchange(out: DataSender, mut arriving: DataReceiver, pieces: u64) {
    let sending = tokio::spawn(async move {
        let mut running: JoinSet<Result<(), LaneError>> = JoinSet::new();
        for number in 0..pieces {
            let bytes = match number % 4 {
                0 => 0,
                1 => 40_000 + number as usize,
                2 => 1 << 20,
                _ => DATA_FRAME_BYTES_MAX - 8,
            };
            while running.len() >= out.parallel() {
                running.join_next().await.unwrap().unwrap().unwrap();
            }
            let out = out.clone();
            let (header, body) = piece(number, bytes);
            running.spawn(async move { out.send(PIECE, header, body, -(number as i32)).await });
        }
        while let Some(sent) = running.join_next().await {
            sent.unwrap().unwrap();
        }
        out
    });
    let mut came = BTreeSet::new();
    for _ in 0..pieces {
        came.insert(check_piece(&within(arriving.recv()).await.unwrap().unwrap()));
    }
    assert_eq!(came, (0..pieces).collect());
    let out = sending.await.unwrap();
    let too_large = Bytes::from(vec![0; DATA_FRAME_BYTES_MAX + 1]);
    let sending = tokio::spawn(async move { out.send(PIECE, Bytes::new(), too_large, 0).await });
    let refused = within(arriving.recv()).await;
    sending.abort();
    assert!(matches!(refused, Err(LaneError::Misbehaved(_))), "{refused:?}");
}
