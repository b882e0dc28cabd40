//! One message of every kind, with the name and the words it has in spec/vectors/wire.txt.

use sft_base::{Digest, EntryPath};
use sft_wire::message::*;
use sft_wire::{Code, ControlMessage};

/// A message, its name, and what it says.
pub(crate) type Sample<T> = (&'static str, &'static str, T);

/// Every message of a control lane, every operation and every answer.
pub(crate) fn control() -> Vec<Sample<ControlMessage>> {
    [session(), requests(), replies(), transfer()].concat()
}

/// A piece, and its content.
pub(crate) fn piece() -> Sample<(PieceHeader, &'static [u8])> {
    let header = PieceHeader { transfer: 7, unit: 3, entry: 1, offset: 1 << 20, cv: [0xc1; 32] };
    (
        "piece",
        "transfer 7, unit 3: bytes of entry 1 from 1048576 on; the content is `last`",
        (header, b"last"),
    )
}

/// A pack, and its content.
pub(crate) fn pack() -> Sample<(PackHeader, &'static [u8])> {
    let whole = |entry, content: &[u8]| PackedFile {
        entry,
        size: content.len() as u32,
        digest: Some(Digest::of(content)),
        error: None,
    };
    let failed =
        PackedFile { entry: 6, size: 0, digest: None, error: Some(Code::READ.because("bad sector")) };
    let header = PackHeader { transfer: 7, unit: 4, files: vec![whole(4, b"hello"), whole(5, b""), failed] };
    (
        "pack",
        "transfer 7, unit 4: entry 4 is `hello`, entry 5 is empty, entry 6 could not be read",
        (header, b"hello"),
    )
}

fn session() -> Vec<Sample<ControlMessage>> {
    vec![
        ("hello", "the client speaks version 1", hello().into()),
        ("proof", "user ada, a key and a signature cut short for show", proof(None).into()),
        (
            "proof-invitation",
            "nobody in particular redeems an invitation",
            proof(Some(InvitationProof { id: [0x1d; 8], mac: [0x3a; 32] })).into(),
        ),
        (
            "denied",
            "the proof was refused, five may follow",
            Denied { error: Code::UNAUTHENTICATED.because("unknown key"), attempts_left: 5 }.into(),
        ),
        ("welcome", "version 1; rights 0x3f; eight lanes", welcome().into()),
        ("attach", "joins the session", Attach { session: [0x5e; 16], mac: [0x3a; 32] }.into()),
        ("attached", "joined; the smallest message there is", Attached {}.into()),
        ("close", "all was done", Close { error: None }.into()),
        (
            "close-error",
            "the server stops",
            Close { error: Some(Code::STOPPING.because("shutting down")) }.into(),
        ),
        ("ping", "number 23, the greatest of one byte", ControlMessage::Ping(Ping { number: 23 })),
        ("pong", "number 24, the least of two bytes", ControlMessage::Pong(Ping { number: 24 })),
        ("ping-max", "the greatest number", ControlMessage::Ping(Ping { number: u64::MAX })),
    ]
}

fn requests() -> Vec<Sample<ControlMessage>> {
    let ask = |id, op| Request { id, op }.into();
    let file = || path(&[b"docs", b"a.txt"]);
    vec![
        ("list", "the root", ask(1, Op::List { path: EntryPath::root() })),
        ("stat", "docs/a.txt", ask(2, Op::Stat { path: file() })),
        (
            "make-dir",
            "new, and what is missing above",
            ask(3, Op::MakeDir { path: path(&[b"new"]), parents: true }),
        ),
        (
            "remove",
            "docs with all that is in it",
            ask(4, Op::Remove { path: path(&[b"docs"]), recursive: true }),
        ),
        (
            "rename",
            "docs/a.txt becomes b, which must not exist; the name is not UTF-8",
            ask(5, Op::Rename { from: file(), to: path(&[b"b\xff"]), replace: false }),
        ),
        (
            "set-attributes",
            "mode 0644 and a time before 1970",
            ask(
                6,
                Op::SetAttributes {
                    path: file(),
                    modified: Some(Stamp { secs: -1, nanos: 999_999_999 }),
                    mode: Some(0o644),
                },
            ),
        ),
        (
            "set-attributes-mode",
            "mode alone",
            ask(7, Op::SetAttributes { path: file(), modified: None, mode: Some(0o755) }),
        ),
        ("space", "how much room there is", ask(8, Op::Space {})),
        ("hash", "docs/a.txt", ask(9, Op::Hash { path: file() })),
        (
            "read",
            "128 KiB from 1 MiB on",
            ask(10, Op::Read { path: file(), offset: 1 << 20, length: 128 << 10 }),
        ),
        ("limits", "every limit by name", ask(11, Op::Limits {})),
        ("read-link", "docs/a.txt", ask(12, Op::ReadLink { path: file() })),
        ("times", "transfer 7", ask(15, Op::Times { transfer: 7 })),
        (
            "measure",
            "down, for a second or 256 MiB",
            ask(16, Op::Measure { down: true, bytes: 256 << 20, millis: 1000 }),
        ),
        (
            "push",
            "into backup, replacing, durable at commit",
            ask(
                13,
                Op::Push(Push {
                    path: path(&[b"backup"]),
                    place: Place::Into,
                    publish: PublishMode::Replace,
                    durability: Durability::Commit,
                    checksum: false,
                }),
            ),
        ),
        (
            "pull",
            "docs, and what is in music, 2.5 MB a second at most, in the background",
            ask(
                14,
                Op::Pull(Pull {
                    sources: vec![
                        PullSource { path: path(&[b"docs"]), contents: false },
                        PullSource { path: path(&[b"music"]), contents: true },
                    ],
                    checksum: true,
                    window: window(),
                    limit: Some(2_500_000),
                    background: true,
                }),
            ),
        ),
    ]
}

fn replies() -> Vec<Sample<ControlMessage>> {
    let answer = |id, body| Reply { id, more: false, body }.into();
    vec![
        ("reply-ok", "request 3 is done", answer(3, Body::Ok {})),
        (
            "reply-failed",
            "docs/a.txt does not exist",
            answer(2, Body::Failed { error: Code::NOT_FOUND.because("docs/a.txt does not exist") }),
        ),
        (
            "reply-entries",
            "a page of two, and more follow",
            Reply { id: 1, more: true, body: Body::Entries { entries: vec![listed(), pipe()] } }.into(),
        ),
        ("reply-stat", "docs/a.txt", answer(2, Body::Stat { entry: file() })),
        (
            "reply-space",
            "a terabyte, half of it free",
            answer(8, Body::Space { total: 1 << 40, available: 1 << 39 }),
        ),
        ("reply-hash", "the digest of nothing", answer(9, Body::Hash { digest: Digest::of(b"") })),
        ("reply-content", "five bytes", answer(10, Body::Content { content: b"hello".to_vec() })),
        (
            "reply-limits",
            "two of them",
            answer(
                11,
                Body::Limits {
                    limits: vec![("PIECE_BYTES".into(), 1 << 20), ("NAME_BYTES_MAX".into(), 255)],
                },
            ),
        ),
        ("reply-accepted", "a push begins", answer(13, Body::Accepted { window: window(), into: true })),
        ("reply-removed", "three entries", answer(4, Body::Removed { entries: 3 })),
        (
            "reply-unapplied",
            "the mode could not be set",
            answer(6, Body::Unapplied { unapplied: vec![unapplied()] }),
        ),
        (
            "reply-times",
            "it writes, and has done so for 1.2 s; 40 ms it waited for the client",
            answer(15, Body::Times { now: 5, spent: vec![(0, 40), (5, 1200)] }),
        ),
        (
            "reply-measured",
            "64 MiB in half a second",
            answer(16, Body::Measured { bytes: 64 << 20, micros: 500_000 }),
        ),
    ]
}

fn transfer() -> Vec<Sample<ControlMessage>> {
    let offered = vec![dir(), file(), link(), Entry { kind: EntryKind::DirEnd, ..dir() }];
    let unread =
        SourceFailure { path: path(&[b"docs", b"secret"]), error: Code::PERMISSION.because("denied") };
    let held = vec![
        HeldNode { offset: 0, log2: 21, cv: [0xc0; 32] },
        HeldNode { offset: 3 << 20, log2: 20, cv: [0xc3; 32] },
    ];
    vec![
        (
            "offer",
            "a directory, a file, a link, the end of the directory; one source could not be read; nothing follows",
            Offer { transfer: 7, first: 0, entries: offered, failures: vec![unread], last: true }.into(),
        ),
        (
            "offer-last",
            "nothing more",
            Offer { transfer: 7, first: 4, entries: vec![], failures: vec![], last: true }.into(),
        ),
        (
            "want",
            "entries 1 to 3 and 5 whole; of entry 9 three of the first four pieces are held",
            Want {
                transfer: 7,
                whole: vec![run(1, 3), run(5, 1)],
                partial: vec![Partial { entry: 9, held }],
            }
            .into(),
        ),
        (
            "finish",
            "entry 9 was read to its end, 5 MiB of it were sent; entry 10 changed while it was read",
            Finish {
                transfer: 7,
                files: vec![
                    Finished { entry: 9, digest: Some(Digest::of(b"nine")), error: None, sent: 5 << 20 },
                    Finished {
                        entry: 10,
                        digest: None,
                        error: Some(Code::CHANGED.because("it changed")),
                        sent: 0,
                    },
                ],
            }
            .into(),
        ),
        ("got", "units 0 to 2", Got { transfer: 7, units: vec![run(0, 3)], window: window() }.into()),
        (
            "commit",
            "0 and 1 are published, 2 was there, 3 failed; the mode of 1 could not be set",
            Commit {
                transfer: 7,
                committed: vec![run(0, 2)],
                unchanged: vec![run(2, 1)],
                failed: vec![EntryFailure { entry: 3, error: Code::NO_SPACE.because("the disk is full") }],
                unapplied: vec![EntryUnapplied { entry: 1, unapplied: unapplied() }],
            }
            .into(),
        ),
        (
            "done",
            "two published, one in place, one failed",
            Done { transfer: 7, committed: 2, unchanged: 1, failed: 1 }.into(),
        ),
        (
            "cancel",
            "the user gave up",
            Cancel { transfer: 7, error: Code::CANCELLED.because("interrupted") }.into(),
        ),
    ]
}

fn hello() -> Hello {
    Hello { versions: vec![1], agent: "sft 0.1.0".into() }
}

fn proof(invitation: Option<InvitationProof>) -> Proof {
    let user = if invitation.is_some() { "" } else { "ada" };
    Proof { user: user.into(), public_key: vec![0x0a; 4], signature: vec![0x0b; 6], invitation }
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

fn window() -> Window {
    Window { bytes: 16 << 20, entries: 4096 }
}

fn run(first: u64, count: u64) -> Run {
    Run { first, count }
}

fn unapplied() -> Unapplied {
    Unapplied { attribute: "mode".into(), error: Code::PERMISSION.because("not the owner") }
}

fn file() -> Entry {
    Entry {
        path: path(&[b"docs", b"a.txt"]),
        kind: EntryKind::File,
        size: 5,
        modified: Stamp { secs: 1_700_000_000, nanos: 500 },
        mode: 0o644,
        target: None,
        digest: Some(Digest::of(b"hello")),
        occupied: None,
    }
}

fn listed() -> Entry {
    Entry { path: path(&[b"a.txt"]), digest: None, ..file() }
}

fn pipe() -> Entry {
    Entry { path: path(&[b"pipe"]), kind: EntryKind::Other, size: 0, digest: None, ..file() }
}

fn dir() -> Entry {
    Entry { path: path(&[b"docs"]), kind: EntryKind::Dir, size: 0, mode: 0o755, digest: None, ..file() }
}

fn link() -> Entry {
    let target = Some(b"../elsewhere".to_vec());
    Entry {
        path: path(&[b"docs", b"l"]),
        kind: EntryKind::Link,
        size: 0,
        mode: 0o777,
        target,
        digest: None,
        ..file()
    }
}

fn path(names: &[&[u8]]) -> EntryPath {
    EntryPath::from_names(names.iter().copied()).expect("names of a sample")
}
