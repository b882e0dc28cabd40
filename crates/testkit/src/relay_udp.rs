//! The UDP half of a [`Relay`](crate::Relay): one socket to the server for each client, exchanged when clients move.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Dice;
use crate::relay::{Conditions, Fate, Pace};

#[derive(Debug)]
pub(crate) struct Udp {
    pub(crate) conditions: Arc<Conditions>,
    /// Counts moves; a client's socket that is older is exchanged.
    moves: Arc<AtomicU64>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Udp {
    pub(crate) fn start(socket: UdpSocket, server: SocketAddr) -> Self {
        let conditions = Conditions::new();
        let moves = Arc::new(AtomicU64::new(0));
        enlarge(&socket);
        let forwarder = Forwarder {
            socket: Arc::new(socket),
            server,
            conditions: conditions.clone(),
            moves: moves.clone(),
            clients: HashMap::new(),
        };
        let reader = thread::spawn(move || forwarder.run());
        Self { conditions, moves, reader: Some(reader) }
    }

    pub(crate) fn move_clients(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Udp {
    fn drop(&mut self) {
        self.conditions.end();
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the forwarder does not panic");
        }
    }
}

struct Forwarder {
    socket: Arc<UdpSocket>,
    server: SocketAddr,
    conditions: Arc<Conditions>,
    moves: Arc<AtomicU64>,
    clients: HashMap<SocketAddr, (u64, Arc<UdpSocket>)>,
}

impl Forwarder {
    fn run(mut self) {
        let _ = self.socket.set_read_timeout(Some(LOOK));
        let mut line = Line::new(self.conditions.clone(), 1);
        let mut buffer = vec![0; 64 << 10];
        while !self.conditions.is_over() {
            if let Ok((read, client)) = self.socket.recv_from(&mut buffer) {
                let upstream = self.upstream(client);
                let server = self.server;
                line.carry(&buffer[..read], &upstream, server);
            }
        }
    }

    fn upstream(&mut self, client: SocketAddr) -> Arc<UdpSocket> {
        let moves = self.moves.load(Ordering::Relaxed);
        if let Some((made, socket)) = self.clients.get(&client)
            && *made == moves
        {
            return socket.clone();
        }
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system gives a port"));
        enlarge(&socket);
        self.clients.insert(client, (moves, socket.clone()));
        let (down, answers, conditions) = (self.socket.clone(), socket.clone(), self.conditions.clone());
        let all_moves = self.moves.clone();
        thread::spawn(move || answer(&answers, &down, client, conditions, &all_moves, moves));
        socket
    }
}

/// Carries what the server sends back to one client, until the relay ends or the client has moved.
fn answer(
    upstream: &UdpSocket,
    down: &Arc<UdpSocket>,
    client: SocketAddr,
    conditions: Arc<Conditions>,
    moves: &AtomicU64,
    made: u64,
) {
    let _ = upstream.set_read_timeout(Some(LOOK));
    let mut line = Line::new(conditions.clone(), 2);
    let mut buffer = vec![0; 64 << 10];
    while !conditions.is_over() && moves.load(Ordering::Relaxed) == made {
        if let Ok(read) = upstream.recv(&mut buffer) {
            line.carry(&buffer[..read], down, client);
        }
    }
}

/// One direction.
struct Line {
    conditions: Arc<Conditions>,
    pace: Pace,
    dice: Dice,
    late: std::sync::mpsc::Sender<Late>,
}

type Late = (Instant, Vec<u8>, Arc<UdpSocket>, SocketAddr);

impl Line {
    fn new(conditions: Arc<Conditions>, seed: u64) -> Self {
        let (late, waiting) = std::sync::mpsc::channel::<Late>();
        thread::spawn(move || {
            while let Ok((at, bytes, by, to)) = waiting.recv() {
                thread::sleep(at.saturating_duration_since(Instant::now()));
                let _ = by.send_to(&bytes, to);
            }
        });
        Self { conditions, pace: Pace::new(), dice: Dice::new(seed), late }
    }

    fn carry(&mut self, bytes: &[u8], by: &Arc<UdpSocket>, to: SocketAddr) {
        match self.conditions.fate() {
            Fate::Vanish => return,
            Fate::Lose(percent) if self.dice.below(100) < percent.into() => return,
            Fate::Delay(delay) => {
                self.pace.spend(bytes.len(), &self.conditions);
                let _ = self.late.send((Instant::now() + delay, bytes.to_vec(), by.clone(), to));
                return;
            }
            Fate::Pass | Fate::Lose(_) => {}
        }
        self.pace.spend(bytes.len(), &self.conditions);
        // A server that is down refuses; the datagram is lost, as datagrams may be.
        let _ = by.send_to(bytes, to);
    }
}

fn enlarge(socket: &UdpSocket) {
    let socket = socket2::SockRef::from(socket);
    let _ = socket.set_recv_buffer_size(SOCKET_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BYTES);
}

const LOOK: Duration = Duration::from_millis(10);
const SOCKET_BYTES: usize = 4 << 20;
