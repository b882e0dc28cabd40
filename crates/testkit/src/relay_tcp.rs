//! The TCP half of a [`Relay`](crate::Relay): one thread for each direction of each connection, and one that delivers.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::relay::{Conditions, Fate, Pace};

#[derive(Debug)]
pub(crate) struct Tcp {
    pub(crate) conditions: Arc<Conditions>,
    listening: Arc<AtomicBool>,
    acceptor: Option<thread::JoinHandle<()>>,
    standing: Standing,
}

/// Flags of the connections that stand: set, they are reset.
type Standing = Arc<Mutex<Vec<Arc<Connection>>>>;

#[derive(Debug, Default)]
struct Connection {
    reset: AtomicBool,
    /// What is read is thrown away.
    silent: AtomicBool,
    /// Bytes that were read.
    carried: AtomicU64,
    /// Both ends, dropped to cut it.
    halves_over: AtomicBool,
}

impl Tcp {
    pub(crate) fn start(listener: TcpListener, server: SocketAddr) -> Self {
        let conditions = Conditions::new();
        let listening = Arc::new(AtomicBool::new(true));
        let standing = Standing::default();
        let acceptor = {
            let (conditions, listening, standing) = (conditions.clone(), listening.clone(), standing.clone());
            thread::spawn(move || accept(&listener, server, &conditions, &listening, &standing))
        };
        Self { conditions, listening, acceptor: Some(acceptor), standing }
    }

    pub(crate) fn stop_listening(&mut self) {
        self.listening.store(false, Ordering::Relaxed);
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().expect("the acceptor does not panic");
        }
    }

    pub(crate) fn reset(&self, at_most: usize) -> usize {
        let standing = self.lock();
        let chosen = standing.iter().take(at_most);
        chosen.map(|connection| connection.reset.store(true, Ordering::Relaxed)).count()
    }

    pub(crate) fn silence_busiest(&self) -> u64 {
        let carried = |connection: &Arc<Connection>| connection.carried.load(Ordering::Relaxed);
        let standing = self.lock();
        let speaking = standing.iter().filter(|connection| !connection.silent.load(Ordering::Relaxed));
        let busiest = speaking.max_by_key(|connection| carried(connection)).expect("a connection stands");
        busiest.silent.store(true, Ordering::Relaxed);
        carried(busiest)
    }

    pub(crate) fn standing(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Connection>>> {
        self.standing.lock().expect("no holder of this lock panics")
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.conditions.end();
        self.stop_listening();
    }
}

fn accept(
    listener: &TcpListener,
    server: SocketAddr,
    conditions: &Arc<Conditions>,
    listening: &AtomicBool,
    standing: &Standing,
) {
    listener.set_nonblocking(true).expect("a listener can be made so");
    while listening.load(Ordering::Relaxed) {
        let Ok((client, _)) = listener.accept() else {
            thread::sleep(LOOK);
            continue;
        };
        // A server that is down refuses, and so do we.
        let Ok(server) = TcpStream::connect(server) else {
            cut(&client);
            continue;
        };
        let connection = Arc::new(Connection::default());
        standing.lock().expect("no holder of this lock panics").push(connection.clone());
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (from, to) = (from.try_clone(), to.try_clone());
            let (Ok(from), Ok(to)) = (from, to) else { continue };
            let half = Half { connection: connection.clone(), standing: standing.clone() };
            let conditions = conditions.clone();
            thread::spawn(move || half.carry(from, to, &conditions));
        }
    }
}

struct Half {
    connection: Arc<Connection>,
    standing: Standing,
}

impl Half {
    fn carry(self, mut from: TcpStream, to: TcpStream, conditions: &Arc<Conditions>) {
        let _ = from.set_nonblocking(false);
        let _ = from.set_read_timeout(Some(LOOK));
        let (out, due) = sync_channel(QUEUE_MAX);
        let deliverer = {
            let (conditions, connection) = (conditions.clone(), self.connection.clone());
            thread::spawn(move || deliver(to, &due, &conditions, &connection))
        };
        let mut buffer = vec![0; 64 << 10];
        while !self.is_cut(conditions) {
            match from.read(&mut buffer) {
                // Neither end learns that the other has gone.
                Ok(0) if self.is_silent() => thread::sleep(LOOK),
                Ok(0) => break,
                Ok(_) if self.is_silent() => {}
                Ok(read) => {
                    self.connection.carried.fetch_add(read as u64, Ordering::Relaxed);
                    // What is not read meanwhile fills the windows of both ends, as on a path that has gone silent.
                    while conditions.fate() == Fate::Vanish && !self.is_cut(conditions) {
                        thread::sleep(LOOK);
                    }
                    let fate = conditions.fate();
                    let delay = if let Fate::Delay(delay) = fate { delay } else { Duration::ZERO };
                    if out.send((Instant::now() + delay, buffer[..read].to_vec())).is_err() {
                        break;
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
        }
        if self.is_cut(conditions) {
            cut(&from);
        }
        drop(out);
        let _ = deliverer.join();
        if self.connection.halves_over.swap(true, Ordering::Relaxed) || self.is_cut(conditions) {
            let mut standing = self.standing.lock().expect("no holder of this lock panics");
            standing.retain(|other| !Arc::ptr_eq(other, &self.connection));
        }
    }

    fn is_silent(&self) -> bool {
        self.connection.silent.load(Ordering::Relaxed)
    }

    fn is_cut(&self, conditions: &Conditions) -> bool {
        conditions.is_over() || self.connection.reset.load(Ordering::Relaxed)
    }
}

fn deliver(
    mut to: TcpStream,
    due: &Receiver<(Instant, Vec<u8>)>,
    conditions: &Conditions,
    connection: &Connection,
) {
    let _ = to.set_nodelay(true);
    let _ = to.set_write_timeout(Some(LOOK));
    let mut pace = Pace::new();
    while let Ok((at, bytes)) = due.recv() {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        pace.spend(bytes.len(), conditions);
        let mut left = &bytes[..];
        while !left.is_empty() {
            if conditions.is_over() || connection.reset.load(Ordering::Relaxed) {
                return cut(&to);
            }
            match to.write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return,
            }
        }
    }
    if conditions.is_over() || connection.reset.load(Ordering::Relaxed) {
        return cut(&to);
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// Makes the last close of a connection a reset.
fn cut(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

const LOOK: Duration = Duration::from_millis(10);
/// Buffers between reading and delivering: what a delay holds back.
const QUEUE_MAX: usize = 64;
