//! The small upload of spec/wire.md, carried out by the two machines: every frame is in spec/vectors/upload.txt and in
//! the text, byte for byte.

mod stanzas;

use sft_base::frame::FrameHeader;
use sft_base::{Digest, EntryPath};
use sft_wire::message::*;
use sft_wire::{ControlMessage, Decision, Job, Receiver, ReceiverEvent, Sender, encode_pack};
use stanzas::{hex, read};

const TEXT: &str = include_str!("../../../spec/wire.md");
const CONTENT: &[u8] = b"hello";
const WINDOW: Window = Window { bytes: 16 << 20, entries: 4096 };

#[test]
fn every_frame_is_as_written() {
    let frames = upload();
    let vectors = read("upload.txt");
    for (vector, (from, frame)) in vectors.iter().zip(&frames) {
        assert_eq!((vector.text("from"), hex(&vector.bytes("frame"))), (*from, hex(frame)));
        assert!(TEXT.contains(vector.text("frame")), "the text does not show {}", vector.text("name"));
    }
    let all: Vec<String> = frames.iter().map(|(from, frame)| format!("{from} {}", hex(frame))).collect();
    assert_eq!(vectors.len(), frames.len(), "all of them:\n{}", all.join("\n"));
}

/// All frames, with who sends them.
fn upload() -> Vec<(&'static str, Vec<u8>)> {
    let mut sender = Sender::new(1, Sender::EARLY_WINDOW);
    let mut receiver = Receiver::new(1, WINDOW);
    let mut frames = vec![client(hello()), client(proof()), client(push())];

    sender.offer(file());
    sender.end_offers();
    let offer = sender.poll_frame().unwrap();
    frames.push(client(offer.clone()));
    frames.extend([server(welcome()), server(accepted())]);
    sender.set_window(WINDOW);

    let decide = receiver.handle(offer).unwrap();
    assert_eq!(decide, [ReceiverEvent::Decide(vec![(0, file())])]);
    receiver.decided(0, Decision::Want(Vec::new()));
    let want = receiver.poll_frame().unwrap();
    frames.push(server(want.clone()));

    sender.handle(want).unwrap();
    let Some(Job::Pack { unit, files }) = sender.poll_job(0) else { panic!("a pack is due") };
    assert_eq!(files, [(0, CONTENT.len() as u64)]);
    let header = pack(unit);
    frames.push(("client", framed(frame::PACK, &[&encode_pack(&header), CONTENT].concat())));

    let write = receiver.pack_arrived(&header).unwrap();
    assert_eq!(write, Some(vec![(0, file())]));
    receiver.pack_done(unit, vec![(0, Ok(()))]);
    receiver.settled(0, Ok(Vec::new()));
    while let Some(message) = receiver.poll_frame() {
        frames.push(server(message.clone()));
        sender.handle(message).unwrap();
    }
    assert_eq!(sender.end(), Some(&Ok(Done { transfer: 1, committed: 1, unchanged: 0, failed: 0 })));
    frames.push(client(Close { error: None }));
    frames
}

fn client(message: impl Into<ControlMessage>) -> (&'static str, Vec<u8>) {
    let message = message.into();
    ("client", framed(message.frame_type(), &message.encode()))
}

fn server(message: impl Into<ControlMessage>) -> (&'static str, Vec<u8>) {
    let message = message.into();
    ("server", framed(message.frame_type(), &message.encode()))
}

fn framed(ty: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    FrameHeader { ty, len: payload.len() as u64 }.encode(&mut frame);
    [frame, payload.to_vec()].concat()
}

fn hello() -> Hello {
    Hello { versions: vec![1], agent: "sft 0.1.0".into() }
}

fn proof() -> Proof {
    Proof { user: "ada".into(), public_key: vec![0x0a; 4], signature: vec![0x0b; 6], invitation: None }
}

fn push() -> Request {
    let push = Push {
        path: EntryPath::root(),
        place: Place::Into,
        publish: PublishMode::Replace,
        durability: Durability::Commit,
        checksum: false,
    };
    Request { id: 1, op: Op::Push(push) }
}

fn welcome() -> Welcome {
    Welcome {
        version: 1,
        agent: "sft 0.1.0".into(),
        session: [0x5e; 16],
        attach_secret: [0xa5; 32],
        identity: "ada".into(),
        rights: 0x3f,
        lanes_max: 8,
    }
}

fn accepted() -> Reply {
    Reply { id: 1, more: false, body: Body::Accepted { window: WINDOW, into: true } }
}

fn file() -> Entry {
    Entry {
        path: EntryPath::from_names([&b"a.txt"[..]]).unwrap(),
        kind: EntryKind::File,
        size: CONTENT.len() as u64,
        modified: Stamp { secs: 1_700_000_000, nanos: 500 },
        mode: 0o644,
        target: None,
        digest: None,
        occupied: None,
    }
}

fn pack(unit: u64) -> PackHeader {
    let file =
        PackedFile { entry: 0, size: CONTENT.len() as u32, digest: Some(Digest::of(CONTENT)), error: None };
    PackHeader { transfer: 1, unit, files: vec![file] }
}
