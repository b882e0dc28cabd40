//! A short run of every fuzz target on bytes made from the vectors, on any compiler.
//!
//! `SFT_FUZZ_SEED` and `SFT_FUZZ_TURNS` choose another run; a failure prints its seed and its input.

mod stanzas;

#[path = "../../../fuzz/bodies.rs"]
mod bodies;

use std::panic::catch_unwind;

use sft_base::limits::{PIECE_BYTES, PIECE_LOG2};
use sft_base::{CvTree, Digest, EntryPath, Node};
use sft_wire::message::*;
use sft_wire::{ControlMessage, encode_pack, encode_piece};
use stanzas::{hex, read};

#[test]
fn no_body_fails_on_bytes_like_those_of_the_vectors() {
    let seed = from_environment("SFT_FUZZ_SEED", 1303);
    let turns = from_environment("SFT_FUZZ_TURNS", 50_000);
    let seeds = seeds();
    for (name, body) in bodies::ALL {
        let mut random = Random(seed);
        for input in &seeds {
            run(name, *body, input, seed);
        }
        for _ in 0..turns {
            run(name, *body, &mutated(&seeds, &mut random), seed);
        }
    }
}

#[test]
fn conversations_go_through_when_nothing_is_changed() {
    let done = Done { transfer: 7, committed: 4, unchanged: 1, failed: 0 };
    assert_eq!(bodies::receiver_end(&sent().concat()), Some(done));
    assert_eq!(bodies::sender_end(&answered().concat()), Some(done));
}

fn run(name: &str, body: fn(&[u8]), input: &[u8], seed: u64) {
    if let Err(panic) = catch_unwind(|| body(input)) {
        eprintln!("{name} fails with SFT_FUZZ_SEED={seed} on {}", hex(input));
        std::panic::resume_unwind(panic);
    }
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

/// One of the seeds with one to eight changes.
fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(8) {
        let at = random.below(bytes.len() + 1);
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = TELLING[random.below(TELLING.len())],
            2 => bytes.insert(at, random.below(256) as u8),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            4 => bytes.truncate(at),
            5 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(64)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let to = (at + random.below(64)).min(bytes.len());
                let copy = bytes[at..to].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
    bytes
}

/// Bytes that mean much in CBOR and in heads of frames.
const TELLING: [u8; 16] =
    [0x00, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x20, 0x3b, 0x5b, 0x7b, 0x9b, 0xbb, 0xc0, 0xf4, 0xf6, 0xff];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}
