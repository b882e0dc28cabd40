//! Hashing of a file, or of a node of one, whose bytes come a buffer at a time.

use blake3::hazmat::HasherExt;

use crate::{ChainingValue, Digest};

/// The digest of a whole file in the making.
#[derive(Clone, Debug, Default)]
pub struct FileHashing(blake3::Hasher);

/// The chaining value of a node in the making; see [`crate::Node`].
#[derive(Clone, Debug)]
pub struct NodeHashing(blake3::Hasher);

impl FileHashing {
    /// Starts with no bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the bytes that follow.
    pub fn update(&mut self, content: &[u8]) {
        self.0.update(content);
    }

    /// The digest of all bytes taken.
    pub fn digest(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

impl NodeHashing {
    /// Starts at `offset` of the file, where the node starts.
    pub fn new(offset: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(offset);
        Self(hasher)
    }

    /// Takes the bytes that follow, never more than the node has.
    pub fn update(&mut self, content: &[u8]) {
        self.0.update(content);
    }

    /// The chaining value over all bytes taken, one at least.
    pub fn cv(&self) -> ChainingValue {
        self.0.finalize_non_root()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::PIECE_BYTES;
    use crate::node_cv;

    #[test]
    fn in_parts_or_at_once_is_the_same() {
        let content: Vec<u8> = (0..2 * PIECE_BYTES + 7).map(|i| (i % 251) as u8).collect();
        let (mut file, mut node) = (FileHashing::new(), NodeHashing::new(4 * PIECE_BYTES));
        for part in content.chunks(4097) {
            file.update(part);
            node.update(part);
        }
        assert_eq!(file.digest(), Digest::of(&content));
        assert_eq!(node.cv(), node_cv(4 * PIECE_BYTES, &content));
        assert_ne!(node.cv(), node_cv(0, &content), "where a node lies is part of its chaining value");
    }
}
