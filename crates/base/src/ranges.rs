//! Sets of byte ranges, kept sorted, disjoint and merged.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of bytes of a file, as ranges: sorted, disjoint, never touching, never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByteRanges {
    /// Start to end (exclusive).
    ranges: BTreeMap<u64, u64>,
}

impl ByteRanges {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a range; what is there already stays.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        while let Some((&s, &e)) = self.ranges.range(..=end).next_back() {
            if e < start {
                break;
            }
            start = start.min(s);
            end = end.max(e);
            self.ranges.remove(&s);
        }
        self.ranges.insert(start, end);
    }

    /// Takes a range out; what was not there stays out.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        while let Some((&s, &e)) = self.ranges.range(..range.end).next_back() {
            if e <= range.start {
                break;
            }
            self.ranges.remove(&s);
            if s < range.start {
                self.ranges.insert(s, range.start);
            }
            if e > range.end {
                self.ranges.insert(range.end, e);
            }
        }
    }

    /// Whether every byte of `range` is in the set; true of an empty range.
    pub fn contains(&self, range: Range<u64>) -> bool {
        range.is_empty()
            || self.ranges.range(..=range.start).next_back().is_some_and(|(_, &e)| e >= range.end)
    }

    /// Whether any byte of `range` is in the set.
    pub fn intersects(&self, range: Range<u64>) -> bool {
        !range.is_empty() && self.ranges.range(..range.end).next_back().is_some_and(|(_, &e)| e > range.start)
    }

    /// The ranges of `0..size` that are not in the set, in order.
    pub fn gaps(&self, size: u64) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = 0;
        for (&s, &e) in &self.ranges {
            if s >= size {
                break;
            }
            if at < s {
                gaps.push(at..s);
            }
            at = at.max(e);
        }
        if at < size {
            gaps.push(at..size);
        }
        gaps
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|(&s, &e)| s..e)
    }

    /// The number of bytes in the set.
    pub fn bytes(&self) -> u64 {
        self.iter().map(|r| r.end - r.start).sum()
    }

    /// The number of ranges.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether no byte is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_set_of_bytes(ops in prop::collection::vec((any::<bool>(), 0u64..64, 0u64..64), 0..40)) {
            let mut ranges = ByteRanges::new();
            let mut model = std::collections::BTreeSet::new();
            for (add, a, b) in ops {
                let range = a.min(b)..a.max(b);
                if add {
                    ranges.insert(range.clone());
                    model.extend(range);
                } else {
                    ranges.remove(range.clone());
                    model.retain(|x| !range.contains(x));
                }
            }
            prop_assert_eq!(ranges.iter().flatten().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(ranges.bytes(), model.len() as u64);
            for at in 0..60 {
                prop_assert_eq!(ranges.intersects(at..at + 4), (at..at + 4).any(|x| model.contains(&x)));
            }
            let gaps: Vec<u64> = ranges.gaps(64).into_iter().flatten().collect();
            prop_assert_eq!(gaps, (0..64).filter(|x| !model.contains(x)).collect::<Vec<_>>());
            let list: Vec<_> = ranges.iter().collect();
            prop_assert!(list.windows(2).all(|w| w[0].end < w[1].start));
        }
    }
}
