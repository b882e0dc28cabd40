//! A short run of every fuzz target on bytes made from the vectors, on any compiler.
//!
//! `SFT_FUZZ_SEED` and `SFT_FUZZ_TURNS` choose another run; a failure prints its seed and its input.

mod stanzas;

#[path = "../../../fuzz/bodies.rs"]
mod bodies;
#[path = "../../../fuzz/mutation.rs"]
mod mutation;

use sft_base::limits::{PIECE_BYTES, PIECE_LOG2};
use sft_base::{CvTree, Digest, EntryPath, Node};
use sft_wire::message::*;
use sft_wire::{ControlMessage, encode_pack, encode_piece};
use stanzas::read;

#[test]
fn no_body_fails_on_bytes_like_those_of_the_vectors() {
    mutation::try_all(bodies::ALL, &seeds(), 50_000);
}

#[test]
fn conversations_go_through_when_nothing_is_changed() {
    let done = Done { transfer: 7, committed: 4, unchanged: 1, failed: 0 };
    assert_eq!(bodies::receiver_end(&sent().concat()), Some(done));
    assert_eq!(bodies::sender_end(&answered().concat()), Some(done));
}

/// Payloads alone, with their types before them, and as conversations.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for vector in read("wire.txt") {
        let (ty, payload) = (vector.number("type") as u8, vector.bytes("payload"));
        let len = (payload.len() as u16).to_be_bytes();
        seeds.push([&[ty][..], &payload].concat());
        seeds.push([&[ty][..], &len, &payload].concat());
        seeds.push(payload);
    }
    // Several times, since conversations are few among so many.
    for _ in 0..20 {
        seeds.extend([sent().concat(), answered().concat()]);
    }
    seeds.extend(read("frames.txt").iter().map(|vector| vector.bytes("bytes")));
    seeds.push(b"a\0..\0b/c\0\x1b[2J\xff".to_vec());
    seeds.push(b"/a//b/./c/".to_vec());
    seeds
}

/// What a sender says in a transfer of files that the receiver of the bodies wants whole, in part, or not.
fn sent() -> Vec<Vec<u8>> {
    let sizes = [5, PIECE_BYTES + 1, 5 * PIECE_BYTES, 9, 2];
    let entries = sizes.into_iter().enumerate().map(|(number, size)| file(number as u8, size)).collect();
    let piece = |unit, entry, piece: u64, content: &[u8]| {
        let header =
            PieceHeader { transfer: 7, unit, entry, offset: piece * PIECE_BYTES, cv: [unit as u8; 32] };
        conversation(frame::PIECE, &[&encode_piece(&header), content].concat())
    };
    let packed = |entry, content: &[u8]| PackedFile {
        entry,
        size: content.len() as u32,
        digest: Some(Digest::of(content)),
        error: None,
    };
    let pack = PackHeader { transfer: 7, unit: 5, files: vec![packed(0, b"hello"), packed(4, b"ab")] };
    let finished = |entry, size, sent, nodes: &[(u64, u8)]| {
        let mut tree = CvTree::new(size);
        for (piece, cv) in nodes {
            tree.insert(Node { offset: piece * PIECE_BYTES, log2: PIECE_LOG2, cv: [*cv; 32] });
        }
        Finished { entry, digest: tree.root(), error: None, sent }
    };
    let one = finished(1, sizes[1], sizes[1], &[(0, 0), (1, 1)]);
    // Pieces 0 and 2 are held, as the bodies say.
    let two = finished(2, sizes[2], 3 * PIECE_BYTES, &[(0, 2), (1, 2), (2, 2), (3, 3), (4, 4)]);
    vec![
        said(Offer { transfer: 7, first: 0, entries, failures: vec![], last: false }),
        piece(0, 1, 0, b"full"),
        piece(1, 1, 1, b"1"),
        piece(2, 2, 1, b"full"),
        piece(3, 2, 3, b"full"),
        piece(4, 2, 4, b"full"),
        conversation(frame::PACK, &[&encode_pack(&pack)[..], b"helloab"].concat()),
        said(Finish { transfer: 7, files: vec![one, two] }),
        said(Offer { transfer: 7, first: 5, entries: vec![], failures: vec![], last: true }),
    ]
}

/// What a receiver says to the sender of the bodies.
fn answered() -> Vec<Vec<u8>> {
    let run = |first, count| Run { first, count };
    let window = Window { bytes: 2 << 20, entries: 100 };
    let held = vec![
        HeldNode { offset: 0, log2: 21, cv: [1; 32] },
        HeldNode { offset: 4 << 20, log2: 20, cv: [2; 32] },
    ];
    let commit = |committed, unchanged| Commit {
        transfer: 7,
        committed,
        unchanged,
        failed: vec![],
        unapplied: vec![],
    };
    vec![
        said(Want { transfer: 7, whole: vec![run(1, 3)], partial: vec![Partial { entry: 4, held }] }),
        said(Got { transfer: 7, units: vec![run(0, 2)], window }),
        said(Got { transfer: 7, units: vec![run(2, 1)], window }),
        said(commit(vec![run(1, 3)], vec![run(0, 1)])),
        said(commit(vec![run(4, 1)], vec![])),
        said(Done { transfer: 7, committed: 4, unchanged: 1, failed: 0 }),
    ]
}

fn said(message: impl Into<ControlMessage>) -> Vec<u8> {
    let message = message.into();
    conversation(message.frame_type(), &message.encode())
}

/// A frame as the bodies `receiver` and `sender` take it.
fn conversation(ty: u64, payload: &[u8]) -> Vec<u8> {
    [&[ty as u8], &(payload.len() as u16).to_be_bytes()[..], payload].concat()
}

fn file(name: u8, size: u64) -> Entry {
    Entry {
        path: EntryPath::from_names([&[b'a' + name][..]]).expect("a letter is a name"),
        kind: EntryKind::File,
        size,
        modified: Stamp { secs: 0, nanos: 0 },
        mode: 0o644,
        target: None,
        digest: None,
        occupied: None,
    }
}
