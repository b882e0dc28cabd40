//! What must hold for any bytes at all: one function for each target.
//!
//! The fuzz targets here call them, and so does a short seeded test of the crate `sft-wire` on any compiler
//! (`crates/wire/tests/fuzz_smoke.rs`). A body panics where something is wrong, and returns otherwise.

// Each target includes this file for one of its functions.
#![allow(dead_code)]

use sft_base::frame::FrameHeader;
use sft_base::{Digest, EntryPath, Node, limits};
use sft_wire::message::{Done, Entry, EntryKind, Stamp, Window, frame};
use sft_wire::{
    Code, ControlMessage, Decision, Job, PieceArrival, Receiver, ReceiverEvent, Sender, check_cbor,
    decode_pack, decode_piece, encode_pack, encode_piece,
};

/// What a target does with the bytes it is given.
pub(crate) type Body = fn(&[u8]);

/// All bodies by name.
pub(crate) const ALL: &[(&str, Body)] = &[
    ("control", control),
    ("data", data),
    ("cbor", cbor),
    ("frame", frame),
    ("path", path),
    ("receiver", receiver),
    ("sender", sender),
];

/// A frame of a control lane: its type in one byte, then its payload. What is read is written again, and read the same.
pub(crate) fn control(bytes: &[u8]) {
    let Some((ty, payload)) = bytes.split_first() else { return };
    match ControlMessage::decode(u64::from(*ty), payload) {
        Ok(Some(message)) => {
            let again = message.encode();
            assert!(
                again.len() <= payload.len(),
                "a message that is read has one encoding, less unknown keys"
            );
            assert_eq!(check_cbor(&again), Ok(()));
            assert_eq!(ControlMessage::decode(message.frame_type(), &again), Ok(Some(message)));
        }
        Ok(None) => unreachable!("a type of one byte is no extension"),
        Err(refused) => {
            assert!(refused.to_wire().text.len() <= limits::ERROR_TEXT_BYTES_MAX);
        }
    }
}

/// The payload of a data frame.
pub(crate) fn data(bytes: &[u8]) {
    if let Ok((header, at)) = decode_piece(bytes) {
        assert!(at < bytes.len() && (bytes.len() - at) as u64 <= limits::PIECE_BYTES);
        let again = [&encode_piece(&header), &bytes[at..]].concat();
        assert_eq!(decode_piece(&again).expect("what was read is written so that it is read").0, header);
    }
    if let Ok((header, at)) = decode_pack(bytes) {
        let claimed: u64 = header.files.iter().map(|file| u64::from(file.size)).sum();
        assert_eq!(claimed, (bytes.len() - at) as u64);
        let again = [&encode_pack(&header), &bytes[at..]].concat();
        assert_eq!(decode_pack(&again).expect("what was read is written so that it is read").0, header);
    }
}

/// Deterministic CBOR: what passes, another reader takes for one whole item; what does not, has its fault inside.
pub(crate) fn cbor(bytes: &[u8]) {
    match check_cbor(bytes) {
        Ok(()) => {
            let mut decoder = minicbor::Decoder::new(bytes);
            decoder.skip().expect("what is checked is CBOR");
            assert_eq!(decoder.position(), bytes.len());
        }
        Err((at, _)) => assert!(at <= bytes.len()),
    }
}

/// The head of a frame.
pub(crate) fn frame(bytes: &[u8]) {
    let Some((header, taken)) = FrameHeader::decode(bytes) else {
        assert!(bytes.len() < sft_base::frame::FRAME_HEADER_BYTES_MAX, "no head is longer");
        return;
    };
    let mut again = Vec::new();
    header.encode(&mut again);
    assert!(again.len() <= taken);
    assert_eq!(FrameHeader::decode(&again), Some((header, again.len())));
    assert_eq!(FrameHeader::decode(&bytes[..taken - 1]), None, "no head is read early");
}

/// A path, as names with a NUL between them, and as someone types it.
pub(crate) fn path(bytes: &[u8]) {
    if let Ok(path) = EntryPath::from_names(bytes.split(|byte| *byte == 0)) {
        let names: Vec<&[u8]> = path.names().collect();
        assert_eq!(names.join(&0), bytes, "names come back as they were");
        check_path(&path);
    }
    if let Ok(path) = EntryPath::from_typed(bytes) {
        check_path(&path);
        assert_eq!(EntryPath::from_typed(path.as_bytes()), Ok(path));
    }
}

fn check_path(path: &EntryPath) {
    assert!(path.depth() <= limits::PATH_DEPTH_MAX && path.as_bytes().len() <= limits::PATH_BYTES_MAX);
    for name in path.names() {
        assert!(!name.is_empty() && name.len() <= limits::NAME_BYTES_MAX && name != b"." && name != b"..");
        assert!(!name.contains(&b'/') && !name.contains(&0));
    }
    assert!(!path.to_string().chars().any(char::is_control), "a name cannot forge a terminal");
    assert_eq!(path.parent().map_or(0, |parent| parent.depth() + 1), path.depth());
}

/// A receiver with a hostile sender: frames, each its type and a length of two bytes before it.
pub(crate) fn receiver(bytes: &[u8]) {
    let _ = receiver_end(bytes);
}

/// How that transfer ended, if it did in good order.
pub(crate) fn receiver_end(bytes: &[u8]) -> Option<Done> {
    let mut machine = Receiver::new(TRANSFER, WINDOW);
    for (turn, (ty, payload)) in frames(bytes).enumerate() {
        let Ok(events) = receive(&mut machine, ty, payload) else { return None };
        carry_out(&mut machine, events, turn);
        while let Some(message) = machine.poll_frame() {
            assert!(message.encode().len() <= limits::CONTROL_FRAME_BYTES_MAX);
            assert_eq!(ControlMessage::decode(message.frame_type(), &message.encode()), Ok(Some(message)));
        }
    }
    machine.end().cloned().and_then(Result::ok)
}

fn receive(machine: &mut Receiver, ty: u64, payload: &[u8]) -> Result<Vec<ReceiverEvent>, ()> {
    match ty {
        frame::PIECE => {
            let (header, at) = decode_piece(payload).map_err(drop)?;
            // The content of a whole piece is too much for a fuzzer: its length is taken as if it were all there.
            let len = if payload.len() - at > 3 { limits::PIECE_BYTES } else { (payload.len() - at) as u64 };
            match machine.piece_arrived(&header, len).map_err(drop)? {
                PieceArrival::Forget => Ok(Vec::new()),
                PieceArrival::Write { size } => {
                    let node = Node { offset: header.offset, log2: limits::PIECE_LOG2, cv: header.cv };
                    assert!(node.fits(size), "only nodes of the file are written");
                    Ok(machine.piece_done(header.unit, header.entry, Ok(node)).1)
                }
            }
        }
        frame::PACK => {
            let (header, _) = decode_pack(payload).map_err(drop)?;
            let Some(files) = machine.pack_arrived(&header).map_err(drop)? else { return Ok(Vec::new()) };
            let staged = files.iter().map(|(place, _)| &header.files[*place]);
            let staged: Vec<_> =
                staged.map(|file| (file.entry, file.error.clone().map_or(Ok(()), Err))).collect();
            let published: Vec<u64> =
                staged.iter().filter(|(_, staged)| staged.is_ok()).map(|(entry, _)| *entry).collect();
            let mut events = machine.pack_done(header.unit, staged);
            for entry in published {
                events.extend(machine.settled(entry, Ok(Vec::new())));
            }
            Ok(events)
        }
        _ => {
            let message = ControlMessage::decode(ty, payload).map_err(drop)?.ok_or(())?;
            machine.handle(message).map_err(drop)
        }
    }
}

/// What a driver would do, with answers that change from turn to turn.
fn carry_out(machine: &mut Receiver, events: Vec<ReceiverEvent>, turn: usize) {
    let mut events = std::collections::VecDeque::from(events);
    while let Some(event) = events.pop_front() {
        match event {
            ReceiverEvent::Decide(entries) => {
                for (number, entry) in entries {
                    let made = machine.decided(number, decision(&entry, turn + number as usize));
                    events.extend(made);
                }
            }
            ReceiverEvent::Complete { entry, .. } => events.extend(machine.settled(entry, Ok(Vec::new()))),
            ReceiverEvent::SetAttributes(entries) => {
                for (number, _) in entries {
                    events.extend(machine.settled(number, Ok(Vec::new())));
                }
            }
            _ => {}
        }
    }
}

fn decision(entry: &Entry, turn: usize) -> Decision {
    let node = |offset| Node { offset, log2: limits::PIECE_LOG2, cv: [turn as u8; 32] };
    match (entry.kind, turn % 4) {
        (_, 3) => Decision::Unchanged,
        (EntryKind::File, 2) => Decision::Want(vec![node(0), node(2 << 20)]),
        (EntryKind::File, _) => Decision::Want(Vec::new()),
        (_, 2) => Decision::Failed(Code::PERMISSION.because("not here")),
        _ => Decision::Later,
    }
}

/// A sender with a hostile receiver, which has been offered a few files of every sort.
pub(crate) fn sender(bytes: &[u8]) {
    let _ = sender_end(bytes);
}

/// How that transfer ended, if it did in good order.
pub(crate) fn sender_end(bytes: &[u8]) -> Option<Done> {
    let mut machine = Sender::new(TRANSFER, Sender::EARLY_WINDOW);
    for (number, size) in
        [0, 5, limits::PIECE_BYTES, limits::PIECE_BYTES + 1, 5 << 20].into_iter().enumerate()
    {
        assert_eq!(machine.offer(file(number as u8, size)), number as u64);
    }
    machine.end_offers();
    machine.set_window(WINDOW);
    for (ty, payload) in frames(bytes) {
        let Ok(Some(message)) = ControlMessage::decode(ty, payload) else { return None };
        if machine.handle(message).is_err() {
            return None;
        }
        work(&mut machine);
        while let Some(message) = machine.poll_frame() {
            assert_eq!(ControlMessage::decode(message.frame_type(), &message.encode()), Ok(Some(message)));
        }
    }
    machine.end().cloned().and_then(Result::ok)
}

fn work(machine: &mut Sender) {
    for lane in 0..8 {
        match machine.poll_local_job() {
            Some(Job::Check { entry, node }) => {
                let own = if lane % 2 == 0 { node.cv } else { [0xee; 32] };
                machine.checked(entry, node, Ok(own));
            }
            Some(Job::Close { entry }) => machine.closed(entry, Ok(())),
            _ => {}
        }
        match machine.poll_job(lane % 2) {
            Some(Job::Piece { entry, range, .. }) => {
                assert!(!range.is_empty() && range.end - range.start <= limits::PIECE_BYTES);
                machine.piece_read(entry, range.start, Digest::of(&range.start.to_be_bytes()).0);
            }
            Some(Job::Pack { files, .. }) => {
                assert!(!files.is_empty());
                assert!(files.iter().map(|(_, size)| size).sum::<u64>() <= limits::PIECE_BYTES);
            }
            _ => {}
        }
    }
    machine.lane_lost(1);
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

/// Cuts bytes into frames: a type, two bytes of length, a payload; the last is as long as there are bytes.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        let [ty, high, low, rest @ ..] = bytes else { return None };
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (payload, after) = rest.split_at(len);
        bytes = after;
        Some((u64::from(*ty), payload))
    })
}

/// The transfer that all messages of the vectors but those of the small upload belong to.
const TRANSFER: u64 = 7;
const WINDOW: Window = Window { bytes: 16 << 20, entries: 4096 };
