//! spec/vectors says byte for byte what this crate reads and writes.

mod samples;
mod stanzas;

use sft_base::frame::{FrameHeader, put_varint, take_varint};
use sft_base::{CvTree, Digest, Node, limits, node_cv};
use sft_wire::message::frame;
use sft_wire::{ControlMessage, Misbehaved, decode_pack, decode_piece, encode_pack, encode_piece};
use stanzas::{Stanza, hex, read};

#[test]
fn messages() {
    let vectors = read("wire.txt");
    let control = samples::control();
    let piece = samples::piece();
    let pack = samples::pack();
    let mut expected: Vec<String> = Vec::new();
    for (name, says, message) in &control {
        expected.push(stanza(name, says, message.frame_type(), &message.encode()));
    }
    let (header, content) = &piece.2;
    let payload = [&encode_piece(header), *content].concat();
    expected.push(stanza(piece.0, piece.1, frame::PIECE, &payload));
    let (header, content) = &pack.2;
    let payload = [&encode_pack(header), *content].concat();
    expected.push(stanza(pack.0, pack.1, frame::PACK, &payload));

    let readable: Vec<&Stanza> = vectors.iter().filter(|vector| vector.find("refused").is_none()).collect();
    for (vector, expected) in readable.iter().zip(&expected) {
        let (name, says, ty) = (vector.text("name"), vector.text("says"), vector.number("type"));
        assert_eq!(
            &stanza(name, says, ty, &vector.bytes("payload")),
            expected,
            "this should stand there:\n{expected}"
        );
    }
    assert_eq!(readable.len(), expected.len(), "all of them:\n{}", expected.join("\n"));

    for (vector, (name, _, message)) in readable.iter().zip(&control) {
        let read = ControlMessage::decode(vector.number("type"), &vector.bytes("payload"));
        assert_eq!(read, Ok(Some(message.clone())), "{name}");
    }
    let [.., piece_vector, pack_vector] = &readable[..] else { panic!("there are more than two") };
    let payload = piece_vector.bytes("payload");
    let (header, at) = decode_piece(&payload).unwrap();
    assert_eq!((header, &payload[at..]), piece.2);
    let payload = pack_vector.bytes("payload");
    let (header, at) = decode_pack(&payload).unwrap();
    assert_eq!((header, &payload[at..]), pack.2);
}

#[test]
fn refusals() {
    let vectors = read("wire.txt");
    let mut seen = std::collections::BTreeSet::new();
    for vector in vectors.iter().filter(|vector| vector.find("refused").is_some()) {
        let (ty, payload) = (vector.number("type"), vector.bytes("payload"));
        let refused = refusal(ty, &payload).unwrap_or_else(|| panic!("{} is read", vector.text("name")));
        assert_eq!(refused.name(), vector.text("refused"), "{}: {refused}", vector.text("name"));
        assert_eq!(refused.code().name(), vector.text("code"), "{}: {refused}", vector.text("name"));
        seen.insert(refused.name());
    }
    // `out-of-turn` is no matter of one frame.
    assert_eq!(seen.len(), 21, "every refusal has a vector: {seen:?}");
}

fn refusal(ty: u64, payload: &[u8]) -> Option<Misbehaved> {
    match ty {
        frame::PIECE => decode_piece(payload).err(),
        frame::PACK => decode_pack(payload).err(),
        _ => ControlMessage::decode(ty, payload).err(),
    }
}

#[test]
fn frames() {
    for vector in read("frames.txt") {
        let bytes = vector.bytes("bytes");
        if vector.find("varint").is_some() {
            let value = vector.number("varint");
            assert_eq!(take_varint(&bytes), Some((value, bytes.len())), "{}", vector.text("name"));
            if vector.text("shortest") == "yes" {
                let mut written = Vec::new();
                put_varint(&mut written, value);
                assert_eq!(written, bytes, "{}", vector.text("name"));
            }
        } else {
            let head = FrameHeader { ty: vector.number("type"), len: vector.number("length") };
            let (read, taken) = FrameHeader::decode(&bytes).unwrap();
            assert_eq!((read, bytes.len() - taken), (head, head.len as usize), "{}", vector.text("name"));
            let mut written = Vec::new();
            head.encode(&mut written);
            assert_eq!(written, bytes[..taken], "{}", vector.text("name"));
        }
    }
}

#[test]
fn attaching() {
    for vector in read("attach.txt") {
        let secret: [u8; 32] = vector.bytes("attach-secret").try_into().unwrap();
        let message = [&b"sft/1 attach\0"[..], &vector.bytes("exporter")].concat();
        assert_eq!(blake3::keyed_hash(&secret, &message).to_hex().as_str(), vector.text("mac"));
    }
}

/// Content of tree.txt: byte i is i modulo 251.
fn content(size: u64) -> Vec<u8> {
    (0..size).map(|i| (i % 251) as u8).collect()
}

#[test]
fn trees() {
    let vectors = read("tree.txt");
    assert!(vectors.len() > 20);
    for vector in &vectors {
        let size = vector.number("size");
        let content = content(size);
        if vector.find("digest").is_some() {
            assert_eq!(Digest::of(&content).to_string(), vector.text("digest"), "size {size}");
            if size > limits::PIECE_BYTES {
                assert_eq!(whole_tree(&content).root().unwrap().to_string(), vector.text("digest"));
            }
            continue;
        }
        let node = Node { offset: vector.number("offset"), log2: vector.number("log2") as u8, cv: [0; 32] };
        assert!(node.fits(size), "size {size}, offset {}", node.offset);
        let range = node.range(size);
        let cv = node_cv(node.offset, &content[range.start as usize..range.end as usize]);
        assert_eq!(hex(&cv), vector.text("cv"), "size {size}, offset {}, log2 {}", node.offset, node.log2);
        let made = every_node(&content);
        assert!(made.contains(&Node { cv, ..node }), "merging pieces makes it");
    }
}

fn whole_tree(content: &[u8]) -> CvTree {
    let mut tree = CvTree::new(content.len() as u64);
    pieces(content).into_iter().for_each(|node| drop(tree.insert(node)));
    tree
}

fn every_node(content: &[u8]) -> Vec<Node> {
    let mut tree = CvTree::new(content.len() as u64);
    pieces(content).into_iter().flat_map(|node| tree.insert(node)).collect()
}

fn pieces(content: &[u8]) -> Vec<Node> {
    let piece = |(i, bytes)| {
        let offset = i as u64 * limits::PIECE_BYTES;
        Node { offset, log2: limits::PIECE_LOG2, cv: node_cv(offset, bytes) }
    };
    content.chunks(limits::PIECE_BYTES as usize).enumerate().map(piece).collect()
}

fn stanza(name: &str, says: &str, ty: u64, payload: &[u8]) -> String {
    format!("name = {name}\nsays = {says}\ntype = {ty:#04x}\npayload = {}\n", hex(payload))
}
