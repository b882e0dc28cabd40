//! The pacer of quinn-proto 0.11, number for number: a window-only controller is judged behind it or not at all.

use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct Pacer {
    capacity: u64,
    tokens: u64,
    last_window: u64,
    at: Duration,
}

impl Pacer {
    pub(super) fn new(rtt: Duration, window: u64, mtu: u64) -> Self {
        let capacity = capacity(rtt, window, mtu);
        Self { capacity, tokens: capacity, last_window: window, at: Duration::ZERO }
    }

    pub(super) fn on_sent(&mut self, bytes: u64) {
        self.tokens = self.tokens.saturating_sub(bytes);
    }

    /// When `bytes` may be sent, if not now.
    pub(super) fn delay(
        &mut self,
        rtt: Duration,
        bytes: u64,
        mtu: u64,
        window: u64,
        now: Duration,
    ) -> Option<Duration> {
        if window != self.last_window {
            self.capacity = capacity(rtt, window, mtu);
            self.tokens = self.tokens.min(self.capacity);
            self.last_window = window;
        }
        if self.tokens >= bytes || window > u32::MAX.into() || rtt.is_zero() {
            return None;
        }
        let rtts = (now - self.at).as_secs_f64() / rtt.as_secs_f64();
        self.tokens = (self.tokens + (window as f64 * 1.25 * rtts) as u64).min(self.capacity);
        self.at = now;
        if self.tokens >= bytes {
            return None;
        }
        let missing = bytes.max(self.capacity) - self.tokens;
        Some(now + rtt.mul_f64(missing as f64 / window as f64 * 0.8))
    }
}

fn capacity(rtt: Duration, window: u64, mtu: u64) -> u64 {
    let bytes = u128::from(window) * 2_000_000 / rtt.as_nanos().max(1);
    (bytes as u64).clamp(10 * mtu, 256 * mtu)
}
