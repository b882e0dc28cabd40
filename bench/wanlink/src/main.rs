//! wanlink: a user-space WAN emulator.
//!
//! Opens one TUN device in each of two network namespaces and forwards IP
//! packets between them in both directions, applying a one-way delay, random
//! loss, a rate limit and a drop-tail queue. It stands in for `tc netem`
//! where the kernel has no such qdisc.
//!
//! TUN devices are opened with virtio headers, so that the kernel may hand
//! over TCP and UDP super-packets (GSO). Loss, rate and queue are still applied
//! to every wire-sized segment: a super-packet is cut into runs of surviving
//! neighbours, each of which is again a valid (smaller) super-packet.
//!
//! It is a tool for measuring and trusts whoever starts it; it knows nothing of what it carries.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use crate::packet::{Packet, VNET};

mod packet;

/// TUNSETOFFLOAD bits: checksum, TSO4, TSO6, ECN with TSO, USO4, USO6.
const OFFLOADS: u64 = 0x01 | 0x02 | 0x04 | 0x08 | 0x20 | 0x40;

/// Packets read before deliveries get their turn again.
const READ_BATCH: usize = 64;
/// Shortest sleep: deliveries closer together than this go out as one burst.
const MIN_SLEEP_NS: u64 = 20_000;
/// A run of segments is closed when it takes this long to serialise, so that
/// slow links do not deliver 64 KiB bursts.
const MAX_RUN_NS: u64 = 1_000_000;

const USAGE: &str = "usage: wanlink --a NETNS --b NETNS [--dev NAME] [--delay-ms N] \
[--loss-pct N] [--rate-mbit N] [--queue-kib N] [--seed N] [--no-gso] [--no-udp]
  delay is one-way, loss and rate hold in each direction; rate 0 is unlimited;
  the queue defaults to one bandwidth-delay product (at least 64 KiB);
  --no-udp drops all UDP, as some firewalls do.
  SIGUSR1 prints counters, SIGINT/SIGTERM prints them and ends.
  SIGUSR2 halves the rate, and the next one brings it back.";

#[derive(Clone)]
struct Config {
    ns: [String; 2],
    dev: String,
    delay_ns: u64,
    /// A packet is lost when a random u64 is below this.
    loss_below: u64,
    rate_bps: u64,
    queue_bytes: u64,
    seed: u64,
    gso: bool,
    udp: bool,
}

impl Config {
    fn from_args() -> Result<Self, String> {
        let (mut ns_a, mut ns_b, mut dev) = (None, None, "wan0".to_string());
        let (mut delay_ms, mut loss_pct, mut rate_mbit) = (0.0, 0.0, 0.0);
        let (mut queue_kib, mut seed, mut gso, mut udp) = (None, 1.0, true, true);
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            if arg == "--no-gso" {
                gso = false;
                continue;
            }
            if arg == "--no-udp" {
                udp = false;
                continue;
            }
            let value = args.next().ok_or(format!("{arg}: missing value"))?;
            let number = || -> Result<f64, String> {
                match value.parse::<f64>() {
                    Ok(n) if n.is_finite() && n >= 0.0 => Ok(n),
                    _ => Err(format!("{arg}: not a number: {value}")),
                }
            };
            match arg.as_str() {
                "--a" => ns_a = Some(value),
                "--b" => ns_b = Some(value),
                "--dev" => dev = value,
                "--delay-ms" => delay_ms = number()?,
                "--loss-pct" => loss_pct = number()?,
                "--rate-mbit" => rate_mbit = number()?,
                "--queue-kib" => queue_kib = Some(number()?),
                "--seed" => seed = number()?,
                _ => return Err(format!("unknown option {arg}")),
            }
        }
        let bdp = rate_mbit * 1e6 / 8.0 * (2.0 * delay_ms / 1e3);
        let queue = queue_kib.map_or(bdp.max(65_536.0), |kib| kib * 1024.0);
        Ok(Self {
            ns: [ns_a.ok_or("--a is required")?, ns_b.ok_or("--b is required")?],
            dev,
            delay_ns: (delay_ms * 1e6) as u64,
            loss_below: (loss_pct / 100.0 * u64::MAX as f64) as u64,
            rate_bps: (rate_mbit * 1e6) as u64,
            queue_bytes: queue as u64,
            seed: seed as u64,
            gso,
            udp,
        })
    }
}

/// Opens a TUN device inside a namespace. Runs in its own thread because
/// `setns` changes the calling thread for good.
fn open_tun(ns: &str, dev: &str, gso: bool) -> io::Result<OwnedFd> {
    let open = || -> io::Result<OwnedFd> {
        // SAFETY: `ifreq` is a C struct of integers and arrays of them, for which all zeros is a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if dev.len() >= request.ifr_name.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "device name too long"));
        }
        for (slot, byte) in request.ifr_name.iter_mut().zip(dev.bytes()) {
            *slot = byte as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as i16;

        let netns = File::open(format!("/run/netns/{ns}"))?;
        // SAFETY: takes two integers; the descriptor is open while `netns` lives. This thread ends soon after.
        check(unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) })?;
        let tun =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
        // SAFETY: TUNSETIFF reads and writes one `ifreq`, which lives on this frame and is not borrowed elsewhere.
        check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF as _, &mut request) })?;
        let offloads = if gso { OFFLOADS } else { 0 };
        // SAFETY: TUNSETOFFLOAD takes its argument as a number and touches no memory of ours.
        check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETOFFLOAD as _, offloads) })?;
        Ok(tun.into())
    };
    thread::scope(|s| s.spawn(open).join().expect("open_tun panicked"))
}

fn check(rc: libc::c_int) -> io::Result<()> {
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn clock_ns() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one `timespec` to `t`, which nothing else borrows.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// xorshift64*, good enough to pick which packets get lost.
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

#[derive(Default)]
struct Stats {
    packets: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
    queue_dropped: AtomicU64,
    write_failed: AtomicU64,
    max_queue: AtomicU64,
}

impl Stats {
    fn print(&self, direction: &str) {
        eprintln!(
            "{direction}: packets={} bytes={} lost={} queue_dropped={} write_failed={} max_queue_bytes={}",
            self.packets.load(Relaxed),
            self.bytes.load(Relaxed),
            self.lost.load(Relaxed),
            self.queue_dropped.load(Relaxed),
            self.write_failed.load(Relaxed),
            self.max_queue.load(Relaxed)
        );
    }
}

struct Frame {
    due_ns: u64,
    bytes: Vec<u8>,
}

/// One direction of the link.
struct Pipe {
    from: Arc<OwnedFd>,
    to: Arc<OwnedFd>,
    config: Config,
    /// What the rate is at the moment, in bits per second; 0 is unlimited.
    rate_bps: Arc<AtomicU64>,
    rng: Rng,
    /// When the sender's end of the wire has sent all it has queued.
    wire_free_ns: u64,
    in_flight: VecDeque<Frame>,
    stats: Arc<Stats>,
}

impl Pipe {
    fn run(mut self) -> io::Result<()> {
        // SAFETY: takes two integers and changes this thread's timers alone.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
        let mut buffer = vec![0u8; VNET + 65_536 + 64];
        loop {
            self.deliver();
            let mut more = true;
            for _ in 0..READ_BATCH {
                match self.read(&mut buffer)? {
                    Some(len) => self.admit(&buffer[..len]),
                    None => {
                        more = false;
                        break;
                    }
                }
            }
            if !more {
                self.wait()?;
            }
        }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        // SAFETY: writes at most `buffer.len()` bytes to `buffer`, which is borrowed mutably for the call.
        let n = unsafe { libc::read(self.from.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        if n >= 0 {
            return Ok(Some(n as usize));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => Ok(None),
            // The interface is down: nothing to read until it comes up.
            Some(libc::EIO | libc::EBADFD) => Ok(None),
            _ => Err(error),
        }
    }

    /// Decides the fate of every segment and puts the survivors in flight.
    fn admit(&mut self, raw: &[u8]) {
        let Some(packet) = Packet::parse(raw) else { return };
        if !self.config.udp && packet.is_udp() {
            return;
        }
        let now = clock_ns();
        let count = packet.segments();
        let mut start = 0;
        let mut run_ns = 0;
        for i in 0..count {
            let len = packet.segment_len(i) as u64;
            if self.survives(len, now) {
                let wire_ns = self.serialise(len, now);
                run_ns += wire_ns;
                if run_ns < MAX_RUN_NS {
                    continue;
                }
                self.launch(&packet, start, i + 1);
            } else {
                self.launch(&packet, start, i);
            }
            start = i + 1;
            run_ns = 0;
        }
        self.launch(&packet, start, count);
    }

    fn survives(&mut self, len: u64, now: u64) -> bool {
        self.stats.packets.fetch_add(1, Relaxed);
        if self.rng.next() < self.config.loss_below {
            self.stats.lost.fetch_add(1, Relaxed);
            return false;
        }
        let waiting_ns = u128::from(self.wire_free_ns.saturating_sub(now));
        let rate_bps = self.rate_bps.load(Relaxed);
        let queued = (waiting_ns * u128::from(rate_bps) / 8_000_000_000) as u64;
        if queued + len > self.config.queue_bytes && rate_bps > 0 {
            self.stats.queue_dropped.fetch_add(1, Relaxed);
            return false;
        }
        self.stats.max_queue.fetch_max(queued, Relaxed);
        self.stats.bytes.fetch_add(len, Relaxed);
        true
    }

    /// Occupies the wire with one segment; returns for how long.
    fn serialise(&mut self, len: u64, now: u64) -> u64 {
        let wire_ns = (len * 8_000_000_000).checked_div(self.rate_bps.load(Relaxed)).unwrap_or(0);
        self.wire_free_ns = self.wire_free_ns.max(now) + wire_ns;
        wire_ns
    }

    fn launch(&mut self, packet: &Packet<'_>, from: usize, to: usize) {
        if from < to {
            let due_ns = self.wire_free_ns + self.config.delay_ns;
            self.in_flight.push_back(Frame { due_ns, bytes: packet.run(from, to) });
        }
    }

    fn deliver(&mut self) {
        let now = clock_ns();
        while self.in_flight.front().is_some_and(|frame| frame.due_ns <= now) {
            let frame = self.in_flight.pop_front().expect("front was there");
            let (data, len) = (frame.bytes.as_ptr().cast(), frame.bytes.len());
            // SAFETY: reads `len` bytes from `frame.bytes`, which lives until the end of the turn.
            if unsafe { libc::write(self.to.as_raw_fd(), data, len) } < 0 {
                self.stats.write_failed.fetch_add(1, Relaxed);
            }
        }
    }

    /// Sleeps until a packet comes in or the next one is due for delivery.
    fn wait(&self) -> io::Result<()> {
        let mut poll = libc::pollfd { fd: self.from.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let timeout = self.in_flight.front().map(|frame| {
            let ns = frame.due_ns.saturating_sub(clock_ns()).max(MIN_SLEEP_NS);
            libc::timespec { tv_sec: (ns / 1_000_000_000) as _, tv_nsec: (ns % 1_000_000_000) as _ }
        });
        let timeout = timeout.as_ref().map_or(std::ptr::null(), |t| t as *const _);
        // SAFETY: one `pollfd` is there, as the count says; `timeout` is null or points to the `Option` above, which
        // lives past the call; the null mask means that signals stay as they are.
        if unsafe { libc::ppoll(&mut poll, 1, timeout, std::ptr::null()) } < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        if poll.revents & libc::POLLERR != 0 {
            // The interface is down; do not spin on it.
            thread::sleep(std::time::Duration::from_millis(1));
        }
        Ok(())
    }
}

fn wait_for_signal(signals: &[libc::c_int]) -> libc::c_int {
    let mut received = 0;
    // SAFETY: reads an initialised set and writes one integer, both alive for the call.
    unsafe { libc::sigwait(&signal_set(signals), &mut received) };
    received
}

fn signal_set(signals: &[libc::c_int]) -> libc::sigset_t {
    // SAFETY: all zeros is a value of `sigset_t`; `sigemptyset` sets it up before anything is added to it.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for &signal in signals {
            libc::sigaddset(&mut set, signal);
        }
        set
    }
}

fn main() {
    let config = Config::from_args().unwrap_or_else(|error| {
        eprintln!("wanlink: {error}\n{USAGE}");
        exit(2)
    });
    // Blocked in all threads; the main thread takes them with sigwait.
    let signals = [libc::SIGINT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];
    // SAFETY: reads a set that lives for the call; the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &signal_set(&signals), std::ptr::null_mut()) };

    let tuns: Vec<Arc<OwnedFd>> = config
        .ns
        .iter()
        .map(|ns| match open_tun(ns, &config.dev, config.gso) {
            Ok(fd) => Arc::new(fd),
            Err(error) => {
                eprintln!("wanlink: {} in {ns}: {error}", config.dev);
                exit(1)
            }
        })
        .collect();

    let rate_bps = Arc::new(AtomicU64::new(config.rate_bps));
    let all_stats = [Arc::new(Stats::default()), Arc::new(Stats::default())];
    for (side, stats) in all_stats.iter().enumerate() {
        let pipe = Pipe {
            from: tuns[side].clone(),
            to: tuns[1 - side].clone(),
            config: config.clone(),
            rate_bps: rate_bps.clone(),
            rng: Rng::new(config.seed * 2 + side as u64),
            wire_free_ns: 0,
            in_flight: VecDeque::new(),
            stats: stats.clone(),
        };
        thread::spawn(move || {
            let error = pipe.run().expect_err("runs until it fails");
            eprintln!("wanlink: {error}");
            exit(1)
        });
    }
    loop {
        let signal = wait_for_signal(&signals);
        if signal == libc::SIGUSR2 {
            let halved = rate_bps.load(Relaxed) < config.rate_bps;
            rate_bps.store(if halved { config.rate_bps } else { config.rate_bps / 2 }, Relaxed);
            continue;
        }
        all_stats[0].print("a->b");
        all_stats[1].print("b->a");
        if signal != libc::SIGUSR1 {
            exit(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_repeat_and_are_even() {
        let (mut a, mut b) = (Rng::new(7), Rng::new(7));
        let below = (0.01 * u64::MAX as f64) as u64;
        let lost = (0..100_000).filter(|_| a.next() < below).count();
        assert_eq!(lost, (0..100_000).filter(|_| b.next() < below).count());
        assert!((800..1200).contains(&lost), "{lost}");
    }
}
