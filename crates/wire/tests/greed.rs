//! What a hostile sender can make a receiver remember is bounded (spec/wire.md, "Windows" and "Data units").

use sft_base::limits::{EARLY_ENTRIES, PAGE_ENTRIES_MAX, PIECE_BYTES, UNIT_GAPS_MAX};
use sft_base::{EntryPath, Node, node_cv};
use sft_wire::message::{Entry, EntryKind, Offer, PieceHeader, Stamp, Window};
use sft_wire::{Code, ControlMessage, Decision, PieceArrival, Receiver, ReceiverEvent, WireError};

const WINDOW: Window = Window { bytes: 1 << 20, entries: 1024 };

fn file(number: u64, size: u64) -> Entry {
    Entry {
        path: EntryPath::from_names([number.to_string().as_bytes()]).expect("a number is a name"),
        kind: EntryKind::File,
        size,
        modified: Stamp { secs: 0, nanos: 0 },
        mode: 0o644,
        target: None,
        digest: None,
        occupied: None,
    }
}

/// Offers a page of files from `first` on, and has each of them fail at once.
fn offer_what_fails(receiver: &mut Receiver, first: u64) -> Result<(), WireError> {
    let entries = (first..first + PAGE_ENTRIES_MAX as u64).map(|number| file(number, 1)).collect();
    let offer = Offer { transfer: 1, first, entries, failures: Vec::new(), last: false };
    for event in receiver.handle(ControlMessage::Offer(offer))? {
        let ReceiverEvent::Decide(entries) = event else { continue };
        for (number, _) in entries {
            receiver.decided(number, Decision::Failed(Code::PERMISSION.because("no")));
        }
    }
    Ok(())
}

#[test]
fn entries_count_until_their_commit_was_sent() {
    let mut receiver = Receiver::new(1, WINDOW);
    for page in 0..2 {
        offer_what_fails(&mut receiver, page * PAGE_ENTRIES_MAX as u64).unwrap();
    }
    let error = offer_what_fails(&mut receiver, 2 * PAGE_ENTRIES_MAX as u64).unwrap_err();
    assert_eq!(error.code, Code::PROTOCOL, "nothing was heard of the first, and more is offered: {error}");
}

#[test]
fn who_listens_may_go_on() {
    let mut receiver = Receiver::new(1, WINDOW);
    for page in 0..20 {
        offer_what_fails(&mut receiver, page * PAGE_ENTRIES_MAX as u64).unwrap();
        let mut told = 0;
        while let Some(message) = receiver.poll_frame() {
            let ControlMessage::Commit(commit) = message else { panic!("{message:?}") };
            told += commit.failed.len() as u64;
        }
        assert_eq!(told, EARLY_ENTRIES.min(PAGE_ENTRIES_MAX as u64));
    }
}

/// A file whose last piece has one byte, so that it costs nothing to send it again and again.
#[test]
fn numbers_of_units_that_leave_gaps_are_not_remembered_for_ever() {
    let size = PIECE_BYTES + 1;
    let mut receiver = Receiver::new(1, WINDOW);
    let offer =
        Offer { transfer: 1, first: 0, entries: vec![file(0, size)], failures: Vec::new(), last: true };
    receiver.handle(ControlMessage::Offer(offer)).unwrap();
    receiver.decided(0, Decision::Want(Vec::new()));
    let cv = node_cv(PIECE_BYTES, &[7]);
    let mut send = |unit| {
        let header = PieceHeader { transfer: 1, unit, entry: 0, offset: PIECE_BYTES, cv };
        let arrival = receiver.piece_arrived(&header, 1)?;
        if let PieceArrival::Write { .. } = arrival {
            receiver.piece_done(unit, 0, Ok(Node { offset: PIECE_BYTES, log2: 20, cv }));
        }
        while receiver.poll_frame().is_some() {}
        Ok::<_, WireError>(())
    };
    for unit in 0..UNIT_GAPS_MAX as u64 {
        send(2 * unit).unwrap();
    }
    let error = Code::LIMIT.because("too many data units were left out");
    assert_eq!(send(2 * UNIT_GAPS_MAX as u64).unwrap_err(), error);
}
