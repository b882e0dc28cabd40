//! Connections that have not authenticated: how many there may be, from whom, and for how long.
//!
//! An address is one IPv4 address or one IPv6 /64, because a network of that size belongs to one customer.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use crate::quic;

/// One connection's place among those that are not yet authenticated. Dropping it gives the place up.
#[derive(Debug)]
pub struct EarlyGuard {
    /// Held for its drop alone.
    _place: Place,
    deadline: Instant,
    quic: Option<quinn::Connection>,
}

impl EarlyGuard {
    /// When the connection must be authenticated, or else be closed by whoever holds it.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The client is known: gives the place up and lets a QUIC client send in bulk.
    pub fn authenticated(self) {
        if let Some(connection) = &self.quic {
            quic::raise_windows(connection);
        }
    }

    pub(crate) fn new(place: Place, deadline: Instant, quic: Option<quinn::Connection>) -> Self {
        Self { _place: place, deadline, quic }
    }
}

/// All places of one listener.
#[derive(Debug)]
pub(crate) struct EarlyTable {
    per_address_max: usize,
    total_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    by_address: HashMap<IpAddr, usize>,
    total: usize,
}

/// A taken place.
#[derive(Debug)]
pub(crate) struct Place {
    table: Arc<EarlyTable>,
    source: IpAddr,
}

impl EarlyTable {
    pub(crate) fn new(per_address_max: usize, total_max: usize) -> Arc<Self> {
        Arc::new(Self { per_address_max, total_max, taken: Mutex::default() })
    }

    /// Takes a place for a connection from there, if one is free.
    pub(crate) fn take(self: &Arc<Self>, source: IpAddr) -> Option<Place> {
        let source = counted_as(source);
        let mut taken = self.taken.lock().expect("nothing panics while it is locked");
        let here = taken.by_address.get(&source).copied().unwrap_or(0);
        if here >= self.per_address_max || taken.total >= self.total_max {
            return None;
        }
        taken.by_address.insert(source, here + 1);
        taken.total += 1;
        Some(Place { table: Arc::clone(self), source })
    }

    /// Whether a peer should prove first that it is where it says it is: a forger could otherwise take up the places of
    /// others, or all.
    pub(crate) fn is_busy(&self, source: IpAddr) -> bool {
        let taken = self.taken.lock().expect("nothing panics while it is locked");
        let here = taken.by_address.get(&counted_as(source)).copied().unwrap_or(0);
        here * 4 >= self.per_address_max || taken.total * 4 >= self.total_max
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.table.taken.lock().expect("nothing panics while it is locked");
        taken.total -= 1;
        if let Some(here) = taken.by_address.get_mut(&self.source) {
            *here -= 1;
            if *here == 0 {
                taken.by_address.remove(&self.source);
            }
        }
    }
}

fn counted_as(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_counted_by_address_and_in_all() {
        let table = EarlyTable::new(2, 3);
        let first = table.take(ip("1.1.1.1")).unwrap();
        let _second = table.take(ip("::ffff:1.1.1.1")).unwrap();
        assert!(table.take(ip("1.1.1.1")).is_none(), "a mapped address is the same address");
        let _third = table.take(ip("2.2.2.2")).unwrap();
        assert!(table.take(ip("3.3.3.3")).is_none(), "three in all");
        drop(first);
        assert!(table.take(ip("1.1.1.1")).is_some());
    }

    #[test]
    fn a_64_is_one_address_and_nothing_stays_behind() {
        let table = EarlyTable::new(1, 9);
        let place = table.take(ip("2001:db8::1")).unwrap();
        assert!(table.take(ip("2001:db8::ffff:2")).is_none());
        assert!(table.take(ip("2001:db8:0:1::1")).is_some());
        drop(place);
        let taken = table.taken.lock().unwrap();
        assert_eq!((taken.total, taken.by_address.len()), (0, 0));
    }

    #[test]
    fn a_quarter_taken_is_busy() {
        let table = EarlyTable::new(8, 100);
        assert!(!table.is_busy(ip("1.1.1.1")));
        let _places = [table.take(ip("1.1.1.1")).unwrap(), table.take(ip("1.1.1.1")).unwrap()];
        assert!(table.is_busy(ip("1.1.1.1")));
        assert!(!table.is_busy(ip("2.2.2.2")));
    }
}
