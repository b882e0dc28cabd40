//! What earlier connections learned of the paths to other addresses, so that the next one need not begin at a crawl.
//!
//! It is a hint and nothing else: whoever uses it looks first whether the path still seems to be the same
//! (`congestion/README.md`, "Paths that are known"). Of several connections to one address at a time only the first has it, and
//! whatever was learned last is kept. It knows nothing of users, and of files only that somebody may want to keep it in one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// What was learned of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownPath {
    /// What the path carried when it was full, bytes a second.
    pub rate: u64,
    /// Its least round trip.
    pub rtt: Duration,
    /// When the last connection that learned something of it ended.
    pub at: SystemTime,
}

/// The paths that are known, at most 1,024 of them, and for a day; clones share them.
#[derive(Clone, Debug, Default)]
pub struct KnownPaths(Arc<Mutex<HashMap<IpAddr, Kept>>>);

#[derive(Clone, Copy, Debug)]
struct Kept {
    path: KnownPath,
    /// A connection that still stands has begun with it.
    is_lent: bool,
}

impl KnownPaths {
    /// Those that were known before.
    pub fn new(known: impl IntoIterator<Item = (IpAddr, KnownPath)>) -> Self {
        let paths = Self::default();
        for (peer, path) in known {
            paths.learn(peer, path);
        }
        paths
    }

    /// All that is known.
    pub fn list(&self) -> Vec<(IpAddr, KnownPath)> {
        let now = SystemTime::now();
        let paths = self.locked();
        let fresh = paths.iter().filter(|(_, kept)| is_fresh(&kept.path, now));
        fresh.map(|(peer, kept)| (*peer, kept.path)).collect()
    }

    /// Takes note of a path, unless it is old, or what is known is newer.
    pub fn learn(&self, peer: IpAddr, path: KnownPath) {
        let now = SystemTime::now();
        if !is_fresh(&path, now) {
            return;
        }
        let mut paths = self.locked();
        if let Some(kept) = paths.get_mut(&peer) {
            // What is of a time to come was noted before the clock was put right.
            if kept.path.at <= path.at || kept.path.at > now {
                kept.path = path;
            }
            return;
        }
        if paths.len() >= PATHS_MAX {
            let oldest = paths.iter().min_by_key(|(_, kept)| kept.path.at).map(|(peer, _)| *peer);
            oldest.map(|peer| paths.remove(&peer));
        }
        paths.insert(peer, Kept { path, is_lent: false });
    }

    /// Lends what is known of the path to a peer to one connection.
    pub(crate) fn borrow(&self, peer: IpAddr) -> Borrowed {
        let peer = peer.to_canonical();
        let mut paths = self.locked();
        let kept =
            paths.get_mut(&peer).filter(|kept| !kept.is_lent && is_fresh(&kept.path, SystemTime::now()));
        let known = kept.map(|kept| {
            kept.is_lent = true;
            kept.path
        });
        drop(paths);
        Borrowed { paths: self.clone(), peer, known }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<IpAddr, Kept>> {
        // Every change is one insertion, removal or assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one connection knows of its path; dropped, another may have it.
#[derive(Debug)]
pub(crate) struct Borrowed {
    paths: KnownPaths,
    peer: IpAddr,
    known: Option<KnownPath>,
}

impl Borrowed {
    pub(crate) fn known(&self) -> Option<KnownPath> {
        self.known
    }

    /// What the connection has learned by now. On a short path there is nothing to gain.
    pub(crate) fn learn(&self, rate: u64, rtt: Duration) {
        if rtt >= RTT_WORTH {
            self.paths.learn(self.peer, KnownPath { rate, rtt, at: SystemTime::now() });
        }
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if self.known.is_some()
            && let Some(kept) = self.paths.locked().get_mut(&self.peer)
        {
            kept.is_lent = false;
        }
    }
}

fn is_fresh(path: &KnownPath, now: SystemTime) -> bool {
    // Clocks are put back, too.
    let apart = now.duration_since(path.at).unwrap_or_else(|ahead| ahead.duration());
    apart < LASTS
}

const PATHS_MAX: usize = 1024;
const LASTS: Duration = Duration::from_secs(24 * 60 * 60);
/// Below this, growing to full speed takes no time that anybody would notice.
const RTT_WORTH: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn path(rate: u64, age: Duration) -> KnownPath {
        KnownPath { rate, rtt: Duration::from_millis(100), at: SystemTime::now() - age }
    }

    #[test]
    fn one_connection_at_a_time_has_what_is_known_and_gives_it_back() {
        let paths = KnownPaths::new([(PEER, path(7, Duration::ZERO))]);
        let first = paths.borrow(PEER);
        assert_eq!(first.known().map(|path| path.rate), Some(7));
        assert_eq!(paths.borrow(PEER).known(), None);
        assert_eq!(paths.list().len(), 1, "what is lent is known all the same");
        first.learn(9, Duration::from_millis(100));
        drop(first);
        assert_eq!(paths.borrow("::ffff:192.0.2.1".parse().unwrap()).known().map(|path| path.rate), Some(9));
        assert_eq!(
            paths.borrow(PEER).known().map(|path| path.rate),
            Some(9),
            "what was only looked at is there again"
        );
    }

    #[test]
    fn what_is_old_or_short_is_not_kept() {
        let paths = KnownPaths::new([(PEER, path(7, LASTS))]);
        assert_eq!(paths.borrow(PEER).known(), None);
        paths.borrow(PEER).learn(9, Duration::from_millis(1));
        assert!(paths.list().is_empty());
    }

    #[test]
    fn a_clock_that_was_put_back_keeps_nothing_alive() {
        let at = |ahead| KnownPath { at: SystemTime::now() + ahead, ..path(7, Duration::ZERO) };
        let paths = KnownPaths::new([(PEER, at(Duration::from_secs(9)))]);
        assert!(paths.borrow(PEER).known().is_some(), "it may be what was learned just now");
        paths.borrow(PEER).learn(9, Duration::from_millis(100));
        assert_eq!(paths.list()[0].1.rate, 9);
        assert!(KnownPaths::new([(PEER, at(LASTS + LASTS))]).list().is_empty());
    }

    #[test]
    fn the_oldest_gives_way() {
        let ages = |n: u32| (IpAddr::from(n.to_be_bytes()), path(1, Duration::from_secs(n.into())));
        let paths = KnownPaths::new((0..PATHS_MAX as u32).map(ages));
        drop(paths.borrow(PEER));
        assert_eq!(paths.list().len(), PATHS_MAX);
        paths.borrow(PEER).learn(9, Duration::from_millis(100));
        let oldest = ages(PATHS_MAX as u32 - 1).0;
        assert!(paths.list().len() == PATHS_MAX && paths.list().iter().all(|(peer, _)| *peer != oldest));
    }
}
