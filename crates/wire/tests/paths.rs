//! Paths that cannot be are refused wherever a message holds one, before anybody sees them (spec/wire.md, "Paths").

use sft_base::EntryPath;
use sft_base::limits::{NAME_BYTES_MAX, PATH_DEPTH_MAX};
use sft_wire::message::{Body, Durability, Place, PublishMode, Window};
use sft_wire::message::{
    Entry, EntryKind, Offer, Op, Pull, PullSource, Push, Reply, Request, SourceFailure, Stamp,
};
use sft_wire::{Code, ControlMessage, Misbehaved};

/// Stands in every message where a path is going to be.
const MARK: &[u8] = b"\x81\x48the mark";

fn mark() -> EntryPath {
    EntryPath::from_names([&b"the mark"[..]]).expect("it is a name")
}

fn other() -> EntryPath {
    EntryPath::from_names([&b"another"[..]]).expect("it is a name")
}

fn entry() -> Entry {
    Entry {
        path: mark(),
        kind: EntryKind::File,
        size: 1,
        modified: Stamp { secs: 0, nanos: 0 },
        mode: 0o644,
        target: None,
        digest: None,
        occupied: None,
    }
}

/// Every place of a message where a path stands, with a name for it.
fn places() -> Vec<(&'static str, ControlMessage)> {
    let ask = |op| Request { id: 1, op }.into();
    let push = Push {
        path: mark(),
        place: Place::Into,
        publish: PublishMode::Replace,
        durability: Durability::Commit,
        checksum: false,
    };
    let window = Window { bytes: 1 << 20, entries: 1 };
    let sources = vec![PullSource { path: mark(), contents: true }];
    let failure = SourceFailure { path: mark(), error: Code::READ.because("no") };
    let offer = |entries, failures| Offer { transfer: 1, first: 0, entries, failures, last: true }.into();
    vec![
        ("list", ask(Op::List { path: mark() })),
        ("stat", ask(Op::Stat { path: mark() })),
        ("make-dir", ask(Op::MakeDir { path: mark(), parents: true })),
        ("remove", ask(Op::Remove { path: mark(), recursive: true })),
        ("rename from", ask(Op::Rename { from: mark(), to: other(), replace: true })),
        ("rename to", ask(Op::Rename { from: other(), to: mark(), replace: true })),
        ("set-attributes", ask(Op::SetAttributes { path: mark(), modified: None, mode: Some(0o600) })),
        ("hash", ask(Op::Hash { path: mark() })),
        ("read", ask(Op::Read { path: mark(), offset: 0, length: 1 })),
        ("read-link", ask(Op::ReadLink { path: mark() })),
        ("push", ask(Op::Push(push))),
        ("pull", ask(Op::Pull(Pull { sources, checksum: false, window, limit: None, background: false }))),
        (
            "reply entries",
            Reply { id: 1, more: false, body: Body::Entries { entries: vec![entry()] } }.into(),
        ),
        ("reply stat", Reply { id: 1, more: false, body: Body::Stat { entry: entry() } }.into()),
        ("offer entries", offer(vec![entry()], vec![])),
        ("offer failures", offer(vec![], vec![failure])),
    ]
}

/// The message with another path in the place of the mark.
fn read_with(message: &ControlMessage, path: &[u8]) -> Result<Option<ControlMessage>, Misbehaved> {
    let payload = message.encode();
    let at = payload.windows(MARK.len()).position(|window| window == MARK).expect("the mark is there");
    let payload = [&payload[..at], path, &payload[at + MARK.len()..]].concat();
    ControlMessage::decode(message.frame_type(), &payload)
}

fn array(names: usize) -> Vec<u8> {
    match names {
        0..24 => vec![0x80 | names as u8],
        24..256 => vec![0x98, names as u8],
        _ => [&[0x99][..], &(names as u16).to_be_bytes()].concat(),
    }
}

fn name(bytes: &[u8]) -> Vec<u8> {
    let head = match bytes.len() {
        len @ 0..24 => vec![0x40 | len as u8],
        len @ 24..256 => vec![0x58, len as u8],
        len => [&[0x59][..], &(len as u16).to_be_bytes()].concat(),
    };
    [&head, bytes].concat()
}

fn path(names: &[&[u8]]) -> Vec<u8> {
    [array(names.len()), names.iter().flat_map(|bytes| name(bytes)).collect()].concat()
}

#[test]
fn paths_that_cannot_be_are_refused_in_every_place() {
    let long = vec![b'n'; NAME_BYTES_MAX + 1];
    let longest = vec![b'n'; NAME_BYTES_MAX];
    let hazards: [(&str, Vec<u8>); 11] = [
        ("..", path(&[b".."])),
        (".. further down", path(&[b"a", b"..", b"b"])),
        (".", path(&[b"a", b"."])),
        ("empty", path(&[b"a", b"", b"b"])),
        ("absolute", path(&[b"/etc/passwd"])),
        ("a slash", path(&[b"a/../b"])),
        ("NUL", path(&[b"a\0b"])),
        ("a long name", path(&[&long])),
        ("too deep", path(&vec![&b"d"[..]; PATH_DEPTH_MAX + 1])),
        ("too long", path(&vec![&longest[..]; 129])),
        ("text", vec![0x81, 0x61, b'a']),
    ];
    for (place, message) in places() {
        for (hazard, bytes) in &hazards {
            let refused = read_with(&message, bytes).expect_err(&format!("{place} takes {hazard}"));
            assert_eq!(
                (refused.name(), refused.code()),
                ("shape", Code::PROTOCOL),
                "{place}: {hazard}: {refused}"
            );
        }
    }
}

#[test]
fn paths_at_the_bounds_are_read_in_every_place() {
    let longest = vec![b'n'; NAME_BYTES_MAX];
    let bounds = [
        path(&[&longest]),
        path(&vec![&b"d"[..]; PATH_DEPTH_MAX]),
        path(&vec![&longest[..]; 128]),
        path(&[b"...", b"\xff\xfe", b" ", b"a\nb\x1b"]),
    ];
    for (place, message) in places() {
        for bytes in &bounds {
            // One name alone, in a page of a listing.
            let one_name = place != "reply entries" || bytes[0] == 0x81;
            assert_eq!(read_with(&message, bytes).is_ok(), one_name, "{place}: {:02x?}", &bytes[..8]);
        }
    }
}
