//! The controller behind quinn's traits: quinn's moments become time since the beginning, and nothing else happens here.

use std::any::Any;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics};
use quinn_proto::RttEstimator;

use super::steering::{Known, Steering};
use super::yielding::Yielding;
use crate::KnownPath;

/// Makes a controller for each path of each connection.
#[derive(Debug, Default)]
pub(crate) struct FollowPath {
    /// How the path was when it was used last.
    known: Option<Known>,
}

impl FollowPath {
    /// For a connection over a path that was used before.
    pub(crate) fn knowing(path: KnownPath) -> Self {
        Self { known: Some(Known { rate: path.rate as f64, rtt: path.rtt }) }
    }
}

/// What a connection has learned of its path: bytes a second, and the least round trip. None before the path was full, and
/// of a connection that has yielded.
pub(crate) fn learned(connection: &quinn::Connection) -> Option<(u64, Duration)> {
    let following = connection.congestion_state().into_any().downcast::<Following>().ok()?;
    let known = following.steering.known().filter(|_| !following.has_yielded.load(Ordering::Relaxed));
    known.map(|known| (known.rate as u64, known.rtt))
}

#[derive(Clone, Debug)]
struct Following {
    begun: Instant,
    steering: Steering,
    yielding: Yielding,
    /// Shared with every clone: whether to yield.
    yields: Arc<AtomicBool>,
    /// Whether it ever did: what was seen of the path then is what others left of it.
    has_yielded: Arc<AtomicBool>,
    in_flight: u64,
}

impl ControllerFactory for FollowPath {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        // Connections that begin together must not probe together.
        let seed = RandomState::new().build_hasher().finish();
        Box::new(Following {
            begun: now,
            steering: Steering::new(current_mtu, seed, self.known),
            yielding: Yielding::new(current_mtu),
            yields: Arc::default(),
            has_yielded: Arc::default(),
            in_flight: 0,
        })
    }
}

/// Makes a connection leave its path to others, or no longer.
pub(crate) fn yield_to_others(connection: &quinn::Connection, yields: bool) {
    if let Ok(following) = connection.congestion_state().into_any().downcast::<Following>() {
        following.yields.store(yields, Ordering::Relaxed);
        following.has_yielded.fetch_or(yields, Ordering::Relaxed);
    }
}

impl Following {
    fn time(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.begun)
    }
}

impl Controller for Following {
    fn on_sent(&mut self, now: Instant, bytes: u64, _last_packet_number: u64) {
        self.steering.on_sent(self.time(now), bytes);
        self.in_flight += bytes;
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, _app_limited: bool, _rtt: &RttEstimator) {
        let (now, sent) = (self.time(now), self.time(sent));
        self.steering.on_acked(now, sent, bytes);
        self.in_flight = self.in_flight.saturating_sub(bytes);
        self.yielding.on_acked(now, sent, bytes, self.in_flight);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        _largest_packet_num_acked: Option<u64>,
    ) {
        self.in_flight = in_flight;
        self.steering.on_acks_end(self.time(now), in_flight, app_limited);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        let (now, sent) = (self.time(now), self.time(sent));
        self.in_flight = self.in_flight.saturating_sub(lost_bytes);
        if is_persistent_congestion {
            self.yielding.on_outage(now);
        } else {
            // A mark is as good as a loss.
            self.yielding.on_lost(lost_bytes.max(MARK_BYTES));
        }
        match lost_bytes {
            // quinn's way to say that a packet was marked.
            0 => self.steering.on_marked(now, sent),
            _ if is_persistent_congestion => self.steering.on_outage(now, lost_bytes),
            _ => self.steering.on_lost(now, sent, lost_bytes),
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.steering.on_mtu(new_mtu);
        self.yielding.on_mtu(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.yields.load(Ordering::Relaxed) { self.yielding.window() } else { self.steering.window() }
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = ControllerMetrics::default();
        metrics.congestion_window = self.window();
        metrics.pacing_rate = self.steering.bandwidth().map(|rate| (rate * 8.0) as u64);
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.steering.window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// What a mark counts as.
const MARK_BYTES: u64 = 1200;
