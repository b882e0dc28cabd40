//! BLAKE3 digests of whole files, and the tree by which parts of a file are verified alone (spec/wire.md, "The tree").
//!
//! A node is an aligned, power-of-two range of a file, or such a range cut short by the end of the file. Its chaining
//! value is that of BLAKE3's own tree, so that nodes merge, left-full, to the plain BLAKE3 digest of the file. A file of
//! at most one piece is hashed as a root at once and never has nodes.

use std::collections::BTreeMap;
use std::fmt;

use blake3::hazmat::{HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root};

use crate::limits::{PIECE_BYTES, PIECE_LOG2};

/// The BLAKE3 digest of a whole file: what `b3sum` prints.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

/// The BLAKE3 chaining value of a node that is not the root.
pub type ChainingValue = [u8; 32];

/// Proof that content was compared with the digest its sender named, and equals it. Publishing takes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    digest: Digest,
    size: u64,
}

/// A verified range of a file: `offset` is a multiple of `1 << log2`, and the range ends there or at the end of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// First byte.
    pub offset: u64,
    /// Power of two of the length, [`PIECE_LOG2`] at least.
    pub log2: u8,
    /// Chaining value over the range.
    pub cv: ChainingValue,
}

/// The nodes known of one file of more than one piece; merges neighbours as they come, in any order.
///
/// Memory is proportional to the number of gaps times the logarithm of the size, not to the size.
#[derive(Clone, Debug)]
pub struct CvTree {
    size: u64,
    /// (log2, offset) of nodes none of which lies in another.
    nodes: BTreeMap<(u64, u8), ChainingValue>,
}

impl Digest {
    /// The digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }

    /// Compares the digest that was computed with the one that was promised for `size` bytes.
    pub fn verify(self, promised: Self, size: u64) -> Option<Verified> {
        (self == promised).then_some(Verified { digest: self, size })
    }
}

impl Verified {
    /// The digest both agree on.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Bytes of content.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Node {
    /// The bytes it covers in a file of `size` bytes.
    pub fn range(&self, size: u64) -> std::ops::Range<u64> {
        self.offset..size.min(self.offset.saturating_add(1 << self.log2))
    }

    /// Whether it can be a node of a file of `size` bytes: aligned, inside, not the root, of one piece at least; and with
    /// the least `log2` where the end of the file cuts it short.
    pub fn fits(&self, size: u64) -> bool {
        (PIECE_LOG2..63).contains(&self.log2)
            && self.offset < size
            && self.offset.is_multiple_of(1 << self.log2)
            && !(self.offset == 0 && 1 << self.log2 >= size)
            && (self.log2 == PIECE_LOG2 || size - self.offset > 1 << (self.log2 - 1))
    }
}

impl CvTree {
    /// A tree of nothing yet, for a file of `size` bytes, which must be more than one piece.
    pub fn new(size: u64) -> Self {
        debug_assert!(size > PIECE_BYTES, "a file of one piece has no nodes");
        Self { size, nodes: BTreeMap::new() }
    }

    /// Adds a node and merges it upwards as far as its siblings are there; the nodes this made, lowest first, the given
    /// one included. What overlapped it before is forgotten.
    pub fn insert(&mut self, node: Node) -> Vec<Node> {
        debug_assert!(node.fits(self.size));
        self.forget(node.range(self.size));
        let mut made = vec![node];
        let mut top = node;
        while let Some(parent) = self.merge_with_sibling(top) {
            made.push(parent);
            top = parent;
        }
        self.nodes.insert((top.offset, top.log2), top.cv);
        made
    }

    /// Forgets every node that overlaps `range`, whole.
    pub fn forget(&mut self, range: std::ops::Range<u64>) {
        while let Some((&key, _)) = self.nodes.range(..(range.end, 0)).next_back() {
            let node = Node { offset: key.0, log2: key.1, cv: [0; 32] };
            if node.range(self.size).end <= range.start {
                break;
            }
            self.nodes.remove(&key);
        }
    }

    /// The nodes known, none inside another, by offset.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + '_ {
        self.nodes.iter().map(|(&(offset, log2), &cv)| Node { offset, log2, cv })
    }

    /// Whether any byte of `range` is covered.
    pub fn overlaps(&self, range: std::ops::Range<u64>) -> bool {
        self.nodes.range(..(range.end, 0)).next_back().is_some_and(|(&(offset, log2), _)| {
            Node { offset, log2, cv: [0; 32] }.range(self.size).end > range.start
        })
    }

    /// Whether every byte of the file is covered.
    pub fn is_complete(&self) -> bool {
        let mut at = 0;
        self.nodes().all(|node| {
            let range = node.range(self.size);
            let follows = range.start == at;
            at = range.end;
            follows
        }) && at == self.size
    }

    /// The bytes covered.
    pub fn bytes(&self) -> u64 {
        self.nodes().map(|node| node.range(self.size)).map(|r| r.end - r.start).sum()
    }

    /// The digest of the file; none while bytes are missing.
    pub fn root(&self) -> Option<Digest> {
        if !self.is_complete() {
            return None;
        }
        let left = left_subtree_len(self.size);
        let left_cv = self.cv_over(0, left)?;
        let right_cv = self.cv_over(left, self.size - left)?;
        Some(Digest(*merge_subtrees_root(&left_cv, &right_cv, Mode::Hash).as_bytes()))
    }

    fn cv_over(&self, offset: u64, len: u64) -> Option<ChainingValue> {
        let log2 = len.next_power_of_two().trailing_zeros().max(u32::from(PIECE_LOG2)) as u8;
        if let Some(&cv) = self.nodes.get(&(offset, log2)) {
            return Some(cv);
        }
        if len <= PIECE_BYTES {
            return None;
        }
        let left = left_subtree_len(len);
        let left_cv = self.cv_over(offset, left)?;
        let right_cv = self.cv_over(offset + left, len - left)?;
        Some(merge_subtrees_non_root(&left_cv, &right_cv, Mode::Hash))
    }

    /// Takes the sibling out and gives the parent, unless the parent would be the root or is cut by the end of the file.
    fn merge_with_sibling(&mut self, node: Node) -> Option<Node> {
        let len = 1u64 << node.log2;
        let parent_offset = node.offset & !(2 * len - 1);
        let whole = parent_offset.checked_add(2 * len)? <= self.size;
        if !whole || (parent_offset == 0 && 2 * len >= self.size) {
            return None;
        }
        let sibling = node.offset ^ len;
        let sibling_cv = self.nodes.remove(&(sibling, node.log2))?;
        let (left, right) = if sibling < node.offset { (sibling_cv, node.cv) } else { (node.cv, sibling_cv) };
        let cv = merge_subtrees_non_root(&left, &right, Mode::Hash);
        Some(Node { offset: parent_offset, log2: node.log2 + 1, cv })
    }
}

/// The chaining value of `content`, which starts at `offset` of its file and is a node of it.
pub fn node_cv(offset: u64, content: &[u8]) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(offset);
    hasher.update(content);
    hasher.finalize_non_root()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(len: u64) -> Vec<u8> {
        (0..len).map(|i| (i * 31 + (i >> 8) * 7 + (i >> 16)) as u8).collect()
    }

    fn pieces(content: &[u8]) -> Vec<Node> {
        let chunks = content.chunks(PIECE_BYTES as usize).enumerate();
        chunks
            .map(|(i, bytes)| {
                let offset = i as u64 * PIECE_BYTES;
                Node { offset, log2: PIECE_LOG2, cv: node_cv(offset, bytes) }
            })
            .collect()
    }

    #[test]
    fn any_order_of_pieces_merges_to_the_plain_digest() {
        for size in [
            PIECE_BYTES + 1,
            2 * PIECE_BYTES - 1,
            2 * PIECE_BYTES,
            2 * PIECE_BYTES + 1,
            3 * PIECE_BYTES,
            4 * PIECE_BYTES,
            5 * PIECE_BYTES + 1023,
            8 * PIECE_BYTES + 1,
        ] {
            let content = content(size);
            let mut nodes = pieces(&content);
            for turn in 0..4 {
                let count = nodes.len();
                nodes.rotate_left(turn % count);
                nodes.swap(0, count / 2);
                let mut tree = CvTree::new(size);
                for (i, node) in nodes.iter().enumerate() {
                    assert!(tree.root().is_none(), "{i} of {count} pieces are not the whole");
                    tree.insert(*node);
                }
                assert_eq!(tree.root(), Some(Digest::of(&content)), "size {size}, turn {turn}");
                assert!(tree.nodes().count() <= 8);
            }
        }
    }

    #[test]
    fn merged_nodes_are_what_hashing_the_range_gives() {
        let size = 7 * PIECE_BYTES + 5;
        let content = content(size);
        let mut tree = CvTree::new(size);
        pieces(&content).into_iter().for_each(|node| drop(tree.insert(node)));
        for node in tree.nodes() {
            let range = node.range(size);
            assert_eq!(node.cv, node_cv(node.offset, &content[range.start as usize..range.end as usize]));
            assert!(node.fits(size));
        }
        let mut resumed = CvTree::new(size);
        tree.nodes().for_each(|node| drop(resumed.insert(node)));
        assert_eq!(resumed.root(), Some(Digest::of(&content)));
    }

    #[test]
    fn a_piece_sent_again_takes_its_ancestors_down() {
        let size = 4 * PIECE_BYTES + 1;
        let content = content(size);
        let nodes = pieces(&content);
        let mut tree = CvTree::new(size);
        nodes.iter().for_each(|node| drop(tree.insert(*node)));
        tree.insert(nodes[1]);
        assert!(!tree.is_complete(), "the merged left half is gone but for piece 1");
        for node in [nodes[0], nodes[2], nodes[3]] {
            tree.insert(node);
        }
        assert_eq!(tree.root(), Some(Digest::of(&content)));
    }

    #[test]
    fn a_node_has_one_size() {
        let fits = |size, offset, log2| Node { offset, log2, cv: [0; 32] }.fits(size);
        let size = 5 * PIECE_BYTES + 1023;
        assert!(fits(size, 0, 22) && fits(size, 4 * PIECE_BYTES, 21) && fits(size, 5 * PIECE_BYTES, 20));
        assert!(!fits(size, 4 * PIECE_BYTES, 22), "21 covers what is there");
        assert!(!fits(size, 0, 23) && !fits(size, 6 * PIECE_BYTES, 20) && !fits(size, PIECE_BYTES, 21));
        assert!(!fits(size, 0, 19) && !fits(size, 0, 63));
    }

    #[test]
    fn only_equal_digests_verify() {
        let digest = Digest::of(b"a");
        assert!(digest.verify(Digest::of(b"a"), 1).is_some());
        assert!(digest.verify(Digest::of(b"b"), 1).is_none());
    }
}
