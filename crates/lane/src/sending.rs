//! How many transfers of this process send: QUIC connections keep what is not acknowledged, and many of them share the
//! memory for it.

use std::sync::atomic::{AtomicU64, Ordering};

/// A transfer that sends, for as long as it lives.
#[derive(Debug)]
pub struct Sending(());

impl Sending {
    /// Counts one more, until it is dropped.
    pub fn begin() -> Self {
        COUNT.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many there are.
pub(crate) fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

static COUNT: AtomicU64 = AtomicU64::new(0);
