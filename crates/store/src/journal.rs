//! The journal of a large stage: which nodes of its bytes were verified (spec/store.md, "The journal").
//!
//! The journal is a hint and never a proof: what it names is read and hashed again before it counts. So it needs no
//! flushing of its own, and its checksums only tell where writing was cut off.

use sft_base::limits::PIECE_BYTES;
use sft_base::{ByteRanges, CvTree, Digest, Node};

use crate::content::{self, ReadAt};
use crate::{StageKey, StoreError};

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 60;
/// Bytes of a record.
pub(crate) const RECORD_BYTES: usize = 49;

/// What a journal proves of the bytes beside it.
#[derive(Debug)]
pub(crate) struct Proven {
    /// The nodes that hold.
    pub(crate) nodes: HeldNodes,
    /// Where the next record belongs; what stands behind is torn.
    pub(crate) end: u64,
}

/// The verified nodes of a stage. A file of at most one piece has none.
#[derive(Debug)]
pub(crate) struct HeldNodes {
    size: u64,
    tree: Option<CvTree>,
}

impl HeldNodes {
    /// None yet, of a file of `size` bytes.
    pub(crate) fn new(size: u64) -> Self {
        Self { size, tree: (size > PIECE_BYTES).then(|| CvTree::new(size)) }
    }

    /// Adds a node; fails when it cannot be one of this file.
    pub(crate) fn insert(&mut self, node: &Node) -> Result<(), StoreError> {
        match &mut self.tree {
            Some(tree) if node.fits(self.size) => {
                tree.insert(*node);
                Ok(())
            }
            _ => Err(StoreError::Corrupt { what: "a node does not fit the file" }),
        }
    }

    /// Forgets the nodes whose bytes are written anew.
    pub(crate) fn forget(&mut self, range: std::ops::Range<u64>) {
        if let Some(tree) = &mut self.tree {
            tree.forget(range);
        }
    }

    /// None inside another, by offset.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        self.tree.iter().flat_map(CvTree::nodes).collect()
    }
}

/// The header of the journal of a file of `size` bytes.
pub(crate) fn header(key: &StageKey, size: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_be_bytes());
    header[12..20].copy_from_slice(&size.to_be_bytes());
    header[20..52].copy_from_slice(&key.0);
    seal(&mut header);
    header
}

/// The record of a node.
pub(crate) fn record(node: &Node) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..8].copy_from_slice(&node.offset.to_be_bytes());
    record[8] = node.log2;
    record[9..41].copy_from_slice(&node.cv);
    seal(&mut record);
    record
}

/// Reads a journal and verifies again what it names; nothing when it is not the journal of this key and size.
///
/// Reads every byte that a record names once, however often it is named.
pub(crate) fn prove(
    journal: &dyn ReadAt,
    part: &dyn ReadAt,
    key: &StageKey,
    size: u64,
) -> Result<Option<Proven>, StoreError> {
    let mut found = [0; HEADER_BYTES];
    if journal.read_at(0, &mut found)? < HEADER_BYTES || found != header(key, size) {
        return Ok(None);
    }
    let mut proven = Proven { nodes: HeldNodes::new(size), end: HEADER_BYTES as u64 };
    let mut covered = ByteRanges::new();
    while let Some(node) = next_record(journal, proven.end)?.filter(|node| node.fits(size)) {
        proven.end += RECORD_BYTES as u64;
        let range = node.range(size);
        if !covered.contains(range.clone()) && content::node_holds(part, &node, size)? {
            proven.nodes.insert(&node)?;
            covered.insert(range);
        }
    }
    Ok(Some(proven))
}

fn next_record(journal: &dyn ReadAt, at: u64) -> Result<Option<Node>, StoreError> {
    let mut bytes = [0; RECORD_BYTES];
    if journal.read_at(at, &mut bytes)? < RECORD_BYTES {
        return Ok(None);
    }
    let mut offset = [0; 8];
    offset.copy_from_slice(&bytes[..8]);
    let mut cv = [0; 32];
    cv.copy_from_slice(&bytes[9..41]);
    let node = Node { offset: u64::from_be_bytes(offset), log2: bytes[8], cv };
    Ok((bytes == record(&node)).then_some(node))
}

/// Fills the last eight bytes with a checksum of those before.
fn seal(bytes: &mut [u8]) {
    let body = bytes.len() - CHECKSUM_BYTES;
    let checksum = Digest::of(&bytes[..body]);
    bytes[body..].copy_from_slice(&checksum.0[..CHECKSUM_BYTES]);
}

const MAGIC: &[u8; 8] = b"SFTSTAGE";
const VERSION: u32 = 1;
const CHECKSUM_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use sft_base::limits::PIECE_LOG2;
    use sft_base::node_cv;

    struct Bytes(Vec<u8>);

    impl ReadAt for Bytes {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
            let rest = &self.0[self.0.len().min(offset as usize)..];
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            Ok(read)
        }
    }

    const KEY: StageKey = StageKey([7; 32]);
    const SIZE: u64 = 3 * PIECE_BYTES + 11;

    fn part() -> Bytes {
        Bytes((0..SIZE).map(|i| (i % 241) as u8).collect())
    }

    fn piece(part: &Bytes, index: u64) -> Node {
        let offset = index * PIECE_BYTES;
        let end = SIZE.min(offset + PIECE_BYTES);
        Node { offset, log2: PIECE_LOG2, cv: node_cv(offset, &part.0[offset as usize..end as usize]) }
    }

    fn journal(nodes: &[Node]) -> Bytes {
        let mut bytes = header(&KEY, SIZE).to_vec();
        nodes.iter().for_each(|node| bytes.extend(record(node)));
        Bytes(bytes)
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let vectors = include_str!("../../../spec/vectors/journal.txt");
        let lines = vectors.lines().filter(|line| !line.starts_with('#'));
        let values: std::collections::HashMap<_, _> =
            lines.filter_map(|line| line.split_once(" = ")).collect();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let key = StageKey(std::array::from_fn(|i| i as u8));
        let content: Vec<u8> = (0..SIZE).map(|i| (i % 251) as u8).collect();
        assert_eq!((values["key"], values["size"]), (&*hex(&key.0), &*SIZE.to_string()));
        assert_eq!(values["header"], hex(&header(&key, SIZE)));
        let last = piece(&Bytes(content), 3);
        assert_eq!((values["offset"], values["log2"]), (&*last.offset.to_string(), &*last.log2.to_string()));
        assert_eq!((values["cv"], values["record"]), (&*hex(&last.cv), &*hex(&record(&last))));
    }

    #[test]
    fn what_holds_is_proven_and_merged() {
        let part = part();
        let journal = journal(&[piece(&part, 3), piece(&part, 1), piece(&part, 0), piece(&part, 1)]);
        let proven = prove(&journal, &part, &KEY, SIZE).unwrap().unwrap();
        assert_eq!(proven.end, journal.0.len() as u64);
        let nodes = proven.nodes.nodes();
        assert_eq!(
            nodes.iter().map(|n| (n.offset, n.log2)).collect::<Vec<_>>(),
            [(0, PIECE_LOG2 + 1), (3 * PIECE_BYTES, PIECE_LOG2)]
        );
    }

    #[test]
    fn bytes_that_changed_are_not_held() {
        let mut part = part();
        let journal = journal(&[piece(&part, 0), piece(&part, 2)]);
        part.0[17] ^= 1;
        let proven = prove(&journal, &part, &KEY, SIZE).unwrap().unwrap();
        assert_eq!(proven.nodes.nodes(), [piece(&part, 2)]);
    }

    #[test]
    fn a_torn_or_wrong_record_ends_the_journal() {
        let part = part();
        let whole = journal(&[piece(&part, 0), piece(&part, 2)]);
        for cut in 1..RECORD_BYTES {
            let torn = Bytes(whole.0[..whole.0.len() - cut].to_vec());
            let proven = prove(&torn, &part, &KEY, SIZE).unwrap().unwrap();
            assert_eq!(proven.end as usize, HEADER_BYTES + RECORD_BYTES);
            assert_eq!(proven.nodes.nodes(), [piece(&part, 0)]);
        }
        for at in HEADER_BYTES..HEADER_BYTES + RECORD_BYTES {
            let mut wrong = Bytes(whole.0.clone());
            wrong.0[at] ^= 0x10;
            let proven = prove(&wrong, &part, &KEY, SIZE).unwrap().unwrap();
            assert_eq!(proven.end as usize, HEADER_BYTES, "nothing behind a wrong record counts");
            assert!(proven.nodes.nodes().is_empty());
        }
    }

    #[test]
    fn the_journal_of_another_key_size_or_version_is_none() {
        let part = part();
        let good = journal(&[piece(&part, 0)]);
        assert!(prove(&good, &part, &StageKey([8; 32]), SIZE).unwrap().is_none());
        assert!(prove(&good, &part, &KEY, SIZE + 1).unwrap().is_none());
        for at in 0..HEADER_BYTES {
            let mut wrong = Bytes(good.0.clone());
            wrong.0[at] ^= 1;
            assert!(prove(&wrong, &part, &KEY, SIZE).unwrap().is_none());
        }
        assert!(prove(&Bytes(vec![]), &part, &KEY, SIZE).unwrap().is_none());
    }

    #[test]
    fn nodes_that_do_not_fit_are_refused() {
        let part = part();
        let mut held = HeldNodes::new(SIZE);
        assert!(held.insert(&Node { offset: 1, ..piece(&part, 0) }).is_err());
        assert!(held.insert(&Node { log2: 63, ..piece(&part, 0) }).is_err());
        assert!(HeldNodes::new(5).insert(&piece(&part, 0)).is_err());
        held.insert(&piece(&part, 0)).unwrap();
        held.forget(5..6);
        assert!(held.nodes().is_empty());
    }
}
