//! Data units that a sender has on their way: numbered from 0, each open until it is acknowledged (spec/wire.md, "Data units").

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

#[derive(Debug, Default)]
pub(crate) struct Units {
    pub(crate) next: u64,
    pub(crate) open: BTreeMap<u64, Unit>,
    pub(crate) again: VecDeque<u64>,
    pub(crate) bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) lane: u64,
    pub(crate) bytes: u64,
    pub(crate) content: UnitContent,
}

#[derive(Clone, Debug)]
pub(crate) enum UnitContent {
    Pack(Vec<(u64, u64)>),
    Piece { entry: u64, range: Range<u64> },
}

impl Units {
    pub(crate) fn has_room(&self, window: u64, bytes: u64) -> bool {
        self.open.is_empty() || self.bytes + bytes <= window
    }

    pub(crate) fn open(&mut self, lane: u64, bytes: u64, content: UnitContent) -> u64 {
        let number = self.next;
        self.next += 1;
        self.bytes += bytes;
        self.open.insert(number, Unit { lane, bytes, content });
        number
    }
}
