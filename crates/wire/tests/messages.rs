//! What is said of messages that cannot be read: each sentence once.

use sft_base::limits::PIECE_BYTES;
use sft_base::{Digest, EntryPath, Node, node_cv};
use sft_wire::message::{Entry, EntryKind, Finish, Finished, Offer, PieceHeader, Stamp, Window};
use sft_wire::{
    Broken, CborFault, Code, ControlMessage, Decision, Misbehaved, Receiver, ReceiverEvent, decode_piece,
};

#[test]
fn of_bytes_that_are_not_what_they_should_be() {
    let faults = [
        (CborFault::Truncated, "it ends inside an item"),
        (CborFault::Trailing, "bytes follow the message"),
        (CborFault::NotAMap, "a message is a map"),
        (CborFault::NotShortest, "a number is longer than it needs to be"),
        (CborFault::Indefinite, "an item has no definite length"),
        (CborFault::Reserved, "a form that is reserved"),
        (CborFault::KeyType, "a key is not an integer"),
        (CborFault::KeyOrder, "keys are not in ascending order"),
        (CborFault::KeyTwice, "a key stands twice"),
        (CborFault::KeyCritical(-3), "critical key -3 is not known"),
        (CborFault::TooDeep, "arrays and maps are nested more than 8 deep"),
        (CborFault::Tag, "tags are not used"),
        (CborFault::Simple, "only false and true are used of the simple values"),
        (CborFault::NotUtf8, "text is not UTF-8"),
    ];
    for (fault, sentence) in faults {
        assert_eq!(fault.to_string(), sentence);
    }
    let refused = [
        (0x06, &b"\xa0\x00"[..], "`ping` is not valid at byte 1: bytes follow the message"),
        (0x10, b"\xa2\x00\x05\x01\x82\x0f\xa0", "request 5 asks for what is not known"),
        (0x3f, b"\xa0", "a frame of type 0x3f has no place here"),
    ];
    for (ty, payload, sentence) in refused {
        assert_eq!(ControlMessage::decode(ty, payload).unwrap_err().to_string(), sentence);
    }
    let shape = ControlMessage::decode(0x06, b"\xa0").unwrap_err().to_string();
    assert!(shape.starts_with("`ping` does not have its shape: "), "{shape}");
    let data = decode_piece(b"").unwrap_err().to_string();
    assert!(data.starts_with("a data frame: "), "{data}");
    let rare = [
        (Misbehaved::UnknownValue { message: "Offer", at: None }, "`Offer` makes a choice that is not known"),
        (
            Misbehaved::Bound {
                message: "Offer",
                broken: Broken::Limit { what: "entries", limit: 512, got: 513 },
            },
            "`Offer`: entries: 513, and at most 512 are allowed",
        ),
        (Misbehaved::OutOfTurn("as it says".into()), "as it says"),
    ];
    for (error, sentence) in rare {
        assert_eq!(error.to_string(), sentence);
    }
    assert_eq!(Code::READ.because("a text for people").to_string(), "a text for people");
}

/// Each piece is what it was sent as, and the whole is not what the sender read: it changed meanwhile, or was not all sent.
#[test]
fn of_content_that_does_not_come_together() {
    let entry = Entry {
        path: EntryPath::from_names([&b"f"[..]]).unwrap(),
        kind: EntryKind::File,
        size: PIECE_BYTES + 1,
        modified: Stamp { secs: 0, nanos: 0 },
        mode: 0o644,
        target: None,
        digest: None,
        occupied: None,
    };
    let mut receiver = Receiver::new(1, Window { bytes: 1 << 20, entries: 1 });
    let offer =
        Offer { transfer: 1, first: 0, entries: vec![entry.clone()], failures: Vec::new(), last: true };
    receiver.handle(offer.into()).unwrap();
    receiver.decided(0, Decision::Want(Vec::new()));
    for (unit, content) in [vec![0; PIECE_BYTES as usize], vec![7]].into_iter().enumerate() {
        let (unit, offset) = (unit as u64, unit as u64 * PIECE_BYTES);
        let cv = node_cv(offset, &content);
        let header = PieceHeader { transfer: 1, unit, entry: 0, offset, cv };
        receiver.piece_arrived(&header, content.len() as u64).unwrap();
        receiver.piece_done(unit, 0, Ok(Node { offset, log2: 20, cv }));
    }
    let finished = Finished { entry: 0, digest: Some(Digest::of(b"other")), error: None, sent: entry.size };
    let events = receiver.handle(Finish { transfer: 1, files: vec![finished] }.into()).unwrap();
    let error =
        Code::INTEGRITY.because("what came does not have the digest that the sender found; copy it again");
    assert_eq!(events, [ReceiverEvent::Discard { entry: 0 }, ReceiverEvent::Failed { entry, error }]);
}
