//! The chunker of spec/wire.md, "Chunks", in its plainest form, against spec/vectors/chunk.txt.
//!
//! No message of SFT/1 speaks of chunks yet: this keeps the specification honest until one does.

mod stanzas;

use stanzas::{hex, read};

const CHUNK_BYTES_MIN: usize = 16 << 10;
const CHUNK_BYTES_NORMAL: usize = 64 << 10;
const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Cuts are rarer before the normal length, and more frequent after it.
const MASK_BEFORE: u64 = !0 << (64 - 18);
const MASK_AFTER: u64 = !0 << (64 - 14);

fn gear() -> [u64; 256] {
    std::array::from_fn(|i| {
        let derived = blake3::derive_key("sft/1 gear", &[i as u8]);
        u64::from_le_bytes(derived[..8].try_into().expect("eight of 32 bytes"))
    })
}

/// The length of the first chunk of `content`.
fn first_chunk(gear: &[u64; 256], content: &[u8]) -> usize {
    let end = content.len().min(CHUNK_BYTES_MAX);
    let mut hash = 0u64;
    for at in CHUNK_BYTES_MIN..end {
        hash = (hash << 1).wrapping_add(gear[usize::from(content[at])]);
        let mask = if at < CHUNK_BYTES_NORMAL { MASK_BEFORE } else { MASK_AFTER };
        if hash & mask == 0 {
            return at + 1;
        }
    }
    end
}

fn chunk_lengths(content: &[u8]) -> Vec<usize> {
    let gear = gear();
    let mut lengths = Vec::new();
    let mut rest = content;
    while !rest.is_empty() {
        let len = first_chunk(&gear, rest);
        lengths.push(len);
        rest = &rest[len..];
    }
    lengths
}

/// Bytes that look random and that anyone can make: BLAKE3 extended output.
fn noise(context: &str, size: usize) -> Vec<u8> {
    let mut noise = vec![0; size];
    blake3::Hasher::new_derive_key(context).finalize_xof().fill(&mut noise);
    noise
}

fn content(kind: &str, size: usize) -> Vec<u8> {
    match kind {
        "noise" => noise("sft/1 chunk vector", size),
        "zeros" => vec![0; size],
        // The same as `noise`, with one byte before it.
        "shifted" => [&[0x42], &noise("sft/1 chunk vector", size - 1)[..]].concat(),
        other => panic!("no content is called {other}"),
    }
}

#[test]
fn the_gear_table() {
    let gear = gear();
    let vectors = read("chunk.txt");
    let table: Vec<_> = vectors.iter().filter(|vector| vector.find("gear").is_some()).collect();
    assert_eq!(table.len(), 256);
    for vector in table {
        let entry = gear[vector.number("gear") as usize];
        assert_eq!(hex(&entry.to_be_bytes()), vector.text("value"));
    }
}

#[test]
fn cuts() {
    let vectors = read("chunk.txt");
    let cuts: Vec<_> = vectors.iter().filter(|vector| vector.find("lengths").is_some()).collect();
    assert!(cuts.len() >= 6);
    for vector in cuts {
        let content = content(vector.text("content"), vector.number("size") as usize);
        let lengths: Vec<String> = chunk_lengths(&content).iter().map(usize::to_string).collect();
        assert_eq!(lengths.join(" "), vector.text("lengths"), "{} {}", vector.text("content"), content.len());
    }
}

#[test]
fn a_byte_more_at_the_front_moves_the_cuts_and_keeps_most_chunks() {
    let plain = noise("sft/1 chunk vector", 4 << 20);
    let shifted = content("shifted", (4 << 20) + 1);
    let chunks = |content: &[u8]| {
        let mut at = 0;
        let chunk = |len: usize| {
            at += len;
            *blake3::hash(&content[at - len..at]).as_bytes()
        };
        chunk_lengths(content).into_iter().map(chunk).collect::<std::collections::BTreeSet<_>>()
    };
    let (before, after) = (chunks(&plain), chunks(&shifted));
    assert!(before.len() > 20);
    assert!(before.intersection(&after).count() * 2 > before.len(), "more than half are the same");
}
