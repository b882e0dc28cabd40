//! Reading content to hash it: files to compare, nodes of a stage to verify again.

use sft_base::{Digest, FileHashing, Node, NodeHashing};

use crate::StoreError;

/// Something whose bytes can be read anywhere; fewer than asked for only at its end.
pub(crate) trait ReadAt {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError>;
}

impl<T: crate::Source + ?Sized> ReadAt for T {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
        crate::Source::read_at(self, offset, buffer)
    }
}

/// The digest of everything up to the end.
pub(crate) fn digest_of(content: &dyn ReadAt) -> Result<Digest, StoreError> {
    let mut hashing = FileHashing::new();
    read_through(content, 0..u64::MAX, |bytes| hashing.update(bytes))?;
    Ok(hashing.digest())
}

/// Whether the bytes of `node` in a file of `size` bytes hash to its chaining value.
pub(crate) fn node_holds(content: &dyn ReadAt, node: &Node, size: u64) -> Result<bool, StoreError> {
    let range = node.range(size);
    let mut hashing = NodeHashing::new(range.start);
    let read = read_through(content, range.clone(), |bytes| hashing.update(bytes))?;
    Ok(read == range.end - range.start && hashing.cv() == node.cv)
}

/// Whether every byte is zero.
pub(crate) fn is_zero(content: &[u8]) -> bool {
    content.chunks(ZEROS.len()).all(|chunk| chunk == &ZEROS[..chunk.len()])
}

fn read_through(
    content: &dyn ReadAt,
    range: std::ops::Range<u64>,
    mut take: impl FnMut(&[u8]),
) -> Result<u64, StoreError> {
    let mut buffer =
        vec![0; BUFFER_BYTES.min(usize::try_from(range.end - range.start).unwrap_or(BUFFER_BYTES))];
    let mut at = range.start;
    while at < range.end {
        let want = buffer.len().min(usize::try_from(range.end - at).unwrap_or(usize::MAX));
        let read = content.read_at(at, &mut buffer[..want])?;
        take(&buffer[..read]);
        at += read as u64;
        if read < want {
            break;
        }
    }
    Ok(at - range.start)
}

/// Large enough for BLAKE3's widest vectors, small enough to stay in the second-level cache.
const BUFFER_BYTES: usize = 256 << 10;
static ZEROS: [u8; 4096] = [0; 4096];

#[cfg(test)]
mod tests {
    use super::*;
    use sft_base::limits::{PIECE_BYTES, PIECE_LOG2};

    struct Bytes(Vec<u8>);

    impl ReadAt for Bytes {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
            let rest = &self.0[self.0.len().min(offset as usize)..];
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            Ok(read)
        }
    }

    #[test]
    fn digests_and_nodes_agree_with_hashing_at_once() {
        let bytes: Vec<u8> = (0..PIECE_BYTES * 2 + 5).map(|i| (i % 253) as u8).collect();
        let size = bytes.len() as u64;
        let content = Bytes(bytes.clone());
        assert_eq!(digest_of(&content).unwrap(), Digest::of(&bytes));
        let last = 2 * PIECE_BYTES;
        let cv = sft_base::node_cv(last, &bytes[last as usize..]);
        let node = Node { offset: last, log2: PIECE_LOG2, cv };
        assert!(node_holds(&content, &node, size).unwrap());
        assert!(!node_holds(&content, &Node { cv: [0; 32], ..node }, size).unwrap());
        assert!(!node_holds(&content, &node, size + 1).unwrap(), "content that ends early holds no node");
    }

    #[test]
    fn zeros_are_seen() {
        assert!(is_zero(&[0; 5000]) && is_zero(&[]));
        let mut content = [0; 5000];
        content[4999] = 1;
        assert!(!is_zero(&content));
    }
}
