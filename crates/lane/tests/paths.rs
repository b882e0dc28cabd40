//! Promise: a transfer over QUIC survives a lossy path with deep queues and a change of the client's address.

mod support;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sft_lane::{Choice, ConnectOptions, DataReceiver, DataSender, Dialer, Parts, Pin};
use support::*;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_moves_in_the_middle_of_a_transfer() {
    let server = Server::start().await;
    let (near, far) = server.pair(Choice::Quic).await;
    let before = far.handle.remote_address();
    let (out, _) = near.data.unwrap();
    let (_, mut arriving) = far.data.unwrap();
    let sending = tokio::spawn(send_pieces(out, 64));
    let mut came = BTreeSet::new();
    while came.len() < 64 {
        came.insert(check_piece(&within(arriving.recv()).await.unwrap().unwrap()));
        if came.len() == 8 {
            near.handle.rebind().unwrap();
        }
    }
    sending.await.unwrap();
    assert_ne!(far.handle.remote_address(), before, "the client did not move");
    assert!(far.handle.rebind().is_err(), "a server stays where it is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loss_does_not_end_a_connection() {
    let path = Path { loss_per_mille: 20, holes: false, bytes_per_second: 200_000_000, queue_bytes: 8 * MIB };
    let lost = move_over(path, 64).await;
    assert!(lost > 500, "only {lost} packets were lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holes_like_those_of_an_overflowing_queue_do_not_end_a_connection() {
    let path = Path { loss_per_mille: 0, holes: true, bytes_per_second: 40_000_000, queue_bytes: 2 * MIB };
    let lost = move_over(path, 40).await;
    assert!(lost > HOLES / 2, "only {lost} packets were lost");
}

/// A path in one direction; the way back is the same.
#[derive(Clone, Copy)]
struct Path {
    loss_per_mille: u64,
    /// One of three packets is lost for a while, again and again.
    holes: bool,
    bytes_per_second: u64,
    queue_bytes: usize,
}

/// Moves pieces of 1 MiB from the client to the server: packets lost.
async fn move_over(path: Path, pieces: u64) -> u64 {
    let server = Server::start().await;
    let relay = Relay::start(path, server.address).await;
    let (client, mut far) = through(&server, relay.address).await;
    let (out, _) = client.data.unwrap();
    let (_, mut arriving) = far.data.take().unwrap();
    let sending = tokio::spawn(send_pieces(out, pieces));
    receive_pieces(&mut arriving, pieces).await;
    sending.await.unwrap();
    relay.end().await
}

async fn through(server: &Server, relay: SocketAddr) -> (Parts, Parts) {
    let options = ConnectOptions { choice: Choice::Quic, ..ConnectOptions::default() };
    let raced = Dialer::new().connect(&[relay], "localhost", Pin::Key(server.key), &options).await.unwrap();
    let mut near = raced.first.split();
    near.writer.write_frame(TEXT, b"hello").await.unwrap();
    let (connection, early) = server.accept().await;
    early.authenticated();
    (near, connection.split())
}

async fn send_pieces(out: DataSender, pieces: u64) {
    let mut running: JoinSet<()> = JoinSet::new();
    for number in 0..pieces {
        while running.len() >= out.parallel() {
            running.join_next().await.unwrap().unwrap();
        }
        let out = out.clone();
        let (header, body) = piece(number, MIB);
        running.spawn(async move { out.send(PIECE, header, body, -(number as i32)).await.unwrap() });
    }
    running.join_all().await;
}

async fn receive_pieces(arriving: &mut DataReceiver, pieces: u64) {
    let mut came = BTreeSet::new();
    while came.len() < pieces as usize {
        came.insert(check_piece(&within(arriving.recv()).await.unwrap().unwrap()));
    }
    assert_eq!(came, (0..pieces).collect());
}

/// Forwards packets between one client and a server over a worse path.
struct Relay {
    address: SocketAddr,
    task: tokio::task::JoinHandle<u64>,
    stop: tokio::sync::oneshot::Sender<()>,
}

impl Relay {
    async fn start(path: Path, server: SocketAddr) -> Self {
        let inside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for socket in [&inside, &outside] {
            let _ = socket2::SockRef::from(socket).set_recv_buffer_size(8 * MIB);
        }
        outside.connect(server).await.unwrap();
        let address = inside.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move { forward(path, inside, outside, stopped).await });
        Self { address, task, stop }
    }

    async fn end(self) -> u64 {
        let _ = self.stop.send(());
        self.task.await.unwrap()
    }
}

async fn forward(
    path: Path,
    inside: UdpSocket,
    outside: UdpSocket,
    mut stopped: tokio::sync::oneshot::Receiver<()>,
) -> u64 {
    let (mut there, mut back) = (Queue::new(path, 1), Queue::new(path, 2));
    let mut client = None;
    let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    loop {
        tokio::select! {
            _ = &mut stopped => return there.lost + back.lost,
            got = inside.recv_from(&mut from_client) => {
                let (bytes, source) = got.unwrap();
                client = Some(source);
                there.push(&from_client[..bytes]);
            }
            got = outside.recv(&mut from_server) => {
                let bytes = got.unwrap();
                back.push(&from_server[..bytes]);
            }
            _ = tick.tick() => {}
        }
        while let Some(packet) = there.pop() {
            let _ = outside.try_send(&packet);
        }
        while let Some(packet) = back.pop() {
            let _ = inside.try_send_to(&packet, client.expect("the server answers the client"));
        }
    }
}

/// A queue with a rate, a depth and losses from a seed.
struct Queue {
    path: Path,
    packets: VecDeque<Vec<u8>>,
    queued: usize,
    lost: u64,
    seed: u64,
    number: u64,
    /// When the link is free for the next packet.
    free_at: Instant,
}

impl Queue {
    fn new(path: Path, seed: u64) -> Self {
        let (packets, free_at) = (VecDeque::new(), Instant::now());
        Self { path, packets, queued: 0, lost: 0, seed, number: 0, free_at }
    }

    fn push(&mut self, packet: &[u8]) {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let unlucky = (self.seed >> 33) % 1000 < self.path.loss_per_mille;
        self.number += 1;
        let hole = self.path.holes && self.number % HOLES_EVERY < HOLES && self.number.is_multiple_of(3);
        if unlucky || hole || self.queued + packet.len() > self.path.queue_bytes {
            self.lost += 1;
            return;
        }
        self.queued += packet.len();
        self.packets.push_back(packet.to_vec());
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let now = Instant::now();
        if now < self.free_at {
            return None;
        }
        let packet = self.packets.pop_front()?;
        self.queued -= packet.len();
        let time = Duration::from_nanos(packet.len() as u64 * 1_000_000_000 / self.path.bytes_per_second);
        // What the relay was late for is made up, as long as the queue lasts.
        self.free_at = self.free_at.max(now - Duration::from_millis(5)) + time;
        Some(packet)
    }
}

/// As many packets, of so many, have holes among them.
const HOLES: u64 = 1000;
const HOLES_EVERY: u64 = 10_000;
