//! Who else is on the path: CUBIC (RFC 9438) and Reno (RFC 5681), with a window that is halved once per round.

use std::time::Duration;

use super::sender::Governor;

/// A window that grows until something is lost.
#[derive(Debug)]
pub(super) struct Rival {
    kind: Kind,
    mtu: f64,
    window: f64,
    threshold: f64,
    recovering_since: Duration,
}

#[derive(Debug)]
enum Kind {
    Reno,
    Cubic { window_max: f64, epoch: Option<Duration>, reno: f64 },
}

impl Rival {
    pub(super) fn reno(mtu: u64) -> Self {
        Self::new(Kind::Reno, mtu)
    }

    pub(super) fn cubic(mtu: u64) -> Self {
        Self::new(Kind::Cubic { window_max: 0.0, epoch: None, reno: 0.0 }, mtu)
    }

    fn new(kind: Kind, mtu: u64) -> Self {
        let mtu = mtu as f64;
        Self { kind, mtu, window: 10.0 * mtu, threshold: f64::INFINITY, recovering_since: Duration::ZERO }
    }

    fn grow(&mut self, now: Duration, bytes: f64, rtt: Duration) {
        if self.window < self.threshold {
            self.window += bytes;
            return;
        }
        let mtu = self.mtu;
        match &mut self.kind {
            Kind::Reno => self.window += mtu * bytes / self.window,
            Kind::Cubic { window_max, epoch, reno } => {
                let since = *epoch.get_or_insert(now);
                let packets = |bytes: f64| bytes / mtu;
                // At K the curve is back at the window before the loss; it begins at what that was reduced to.
                let reduced = packets(*window_max - self.threshold).max(0.0);
                let k = (reduced / CUBIC_C).cbrt();
                let t = (now - since + rtt).as_secs_f64();
                let cubic = (CUBIC_C * (t - k).powi(3) + packets(*window_max)) * mtu;
                let target = cubic.clamp(self.window, 1.5 * self.window);
                *reno += RENO_ALPHA * mtu * bytes / self.window;
                self.window = (self.window + (target - self.window) * bytes / self.window).max(*reno);
            }
        }
    }
}

impl Governor for Rival {
    fn on_sent(&mut self, _now: Duration, _bytes: u64) {}

    fn on_acked(&mut self, now: Duration, sent: Duration, bytes: u64) {
        if sent > self.recovering_since {
            self.grow(now, bytes as f64, now - sent);
        }
    }

    fn on_acks_end(&mut self, _now: Duration, _in_flight: u64, _app_limited: bool) {}

    fn on_lost(&mut self, now: Duration, sent: Duration, _bytes: u64, outage: bool) {
        if sent <= self.recovering_since && self.recovering_since > Duration::ZERO {
            return;
        }
        self.recovering_since = now;
        let beta = match &mut self.kind {
            Kind::Reno => 0.5,
            Kind::Cubic { window_max, epoch, reno } => {
                // Fast convergence: who shrinks leaves room.
                let fast = if self.window < *window_max { (1.0 + CUBIC_BETA) / 2.0 } else { 1.0 };
                *window_max = self.window * fast;
                *epoch = None;
                *reno = self.window * CUBIC_BETA;
                CUBIC_BETA
            }
        };
        self.window = (self.window * beta).max(2.0 * self.mtu);
        self.threshold = self.window;
        if outage {
            self.window = 2.0 * self.mtu;
        }
    }

    fn on_marked(&mut self, now: Duration, sent: Duration) {
        self.on_lost(now, sent, 0, false);
    }

    fn window(&self) -> u64 {
        self.window as u64
    }
}

const CUBIC_C: f64 = 0.4;
const CUBIC_BETA: f64 = 0.7;
const RENO_ALPHA: f64 = 3.0 * (1.0 - CUBIC_BETA) / (1.0 + CUBIC_BETA);
