//! When a sender may give a lane up, and when not: a silent lane, a slow one, a receiver that pauses (spec/wire.md, "Silence
//! and loss"). Chance tries more in `simulation`.

use sft_base::limits::{COPIES_MAX, PIECE_BYTES, SILENCE_MAX_MS};
use sft_base::{EntryPath, Kind, Meta, Time};
use sft_wire::message::{Entry, EntryKind, Got, Run, Want, Window};
use sft_wire::{ControlMessage, Job, Sender};

const WINDOW: Window = Window { bytes: 8 * PIECE_BYTES, entries: 10 };
const SUSPECT_MS: u64 = SILENCE_MAX_MS / 2;

/// A sender of one file of a hundred pieces, which are wanted.
fn sender() -> Sender {
    let mut sender = Sender::new(1, WINDOW);
    let path = EntryPath::from_typed(b"file").unwrap();
    let meta =
        Meta { kind: Kind::File, size: 100 * PIECE_BYTES, modified: Time { secs: 1, nanos: 2 }, mode: 0o644 };
    sender.offer(Entry { kind: EntryKind::File, ..Entry::new(path, &meta) });
    sender.end_offers();
    let whole = vec![Run { first: 0, count: 1 }];
    sender.handle(ControlMessage::Want(Want { transfer: 1, whole, partial: Vec::new() })).unwrap();
    sender
}

/// Gives a lane one unit, and has it take so much of it.
fn give(sender: &mut Sender, lane: u64, taken: bool) -> Option<u64> {
    let Some(Job::Piece { unit, .. }) = sender.poll_job(lane) else { return None };
    sender.unit_begun(unit, lane);
    if taken {
        sender.unit_taken(unit, lane);
    }
    Some(unit)
}

fn got(sender: &mut Sender, unit: u64) {
    let units = vec![Run { first: unit, count: 1 }];
    sender.handle(ControlMessage::Got(Got { transfer: 1, units, window: WINDOW })).unwrap();
}

#[test]
fn a_lane_that_is_silent_while_another_is_not_is_given_up_in_time() {
    let mut sender = sender();
    let lost = give(&mut sender, 0, true).unwrap();
    for now in (0..).step_by(500) {
        sender.set_time(now);
        let silent = sender.silent_lanes();
        assert_eq!(sender.is_suspect(0), now >= SUSPECT_MS, "at {now}");
        if !silent.is_empty() {
            assert_eq!((silent, now), (vec![0], SILENCE_MAX_MS));
            break;
        }
        assert!(now < SILENCE_MAX_MS);
        if let Some(unit) = give(&mut sender, 1, true).filter(|unit| *unit != lost) {
            got(&mut sender, unit);
        }
    }
    // Its unit is on the other lane already: only what is new goes out.
    sender.lane_lost(0);
    assert!(give(&mut sender, 1, true).unwrap() > lost);
}

#[test]
fn a_lane_that_takes_bytes_is_slow_and_not_silent() {
    let mut sender = sender();
    let slow = give(&mut sender, 0, false).unwrap();
    for now in (0..120_000).step_by(500) {
        sender.set_time(now);
        sender.lane_moved(0);
        assert!(sender.silent_lanes().is_empty() && !sender.is_suspect(0), "at {now}");
        // The quick lane takes all, and at last what the slow one carries as well: that is not acknowledged here.
        if let Some(unit) = give(&mut sender, 1, true).filter(|unit| *unit != slow) {
            got(&mut sender, unit);
        }
    }
}

#[test]
fn bytes_behind_a_unit_that_was_taken_prove_nothing() {
    let mut sender = sender();
    give(&mut sender, 0, true).unwrap();
    give(&mut sender, 0, false).unwrap();
    sender.set_time(SUSPECT_MS);
    sender.lane_moved(0);
    assert!(sender.is_suspect(0));
}

#[test]
fn a_receiver_that_acknowledges_nobody_costs_no_lane() {
    let mut sender = sender();
    let units: Vec<u64> = (0..4).map(|n| give(&mut sender, n % 2, true).unwrap()).collect();
    for now in (0..300_000).step_by(500) {
        sender.set_time(now);
        for lane in 0..2 {
            give(&mut sender, lane, true);
        }
        assert!(sender.silent_lanes().is_empty(), "at {now}");
    }
    // And what it does in any order when it wakes costs none either.
    for unit in units.into_iter().rev() {
        got(&mut sender, unit);
        assert!(sender.silent_lanes().is_empty());
    }
}

#[test]
fn a_silent_lane_that_holds_the_whole_window_does_not_keep_it() {
    let mut sender = sender();
    while give(&mut sender, 0, true).is_some() {}
    sender.set_time(SUSPECT_MS - 1);
    let ask = |sender: &mut Sender| give(sender, 1, true);
    // A lane that has shown nothing yet is not known to be quicker.
    assert_eq!(ask(&mut sender), None);
    sender.set_time(SUSPECT_MS);
    let copied: Vec<u64> = std::iter::from_fn(|| ask(&mut sender)).collect();
    assert_eq!(copied, (0..COPIES_MAX as u64).collect::<Vec<_>>(), "the oldest, and few at a time");
    copied.into_iter().for_each(|unit| got(&mut sender, unit));
    let next: Vec<u64> = std::iter::from_fn(|| ask(&mut sender)).collect();
    assert_eq!(next[..COPIES_MAX], [2, 3]);
    assert!(next[COPIES_MAX..].iter().all(|unit| *unit >= 8), "and what is new: {next:?}");
    assert_eq!(give(&mut sender, 0, true), None, "a suspect lane gets no more");
}

#[test]
fn a_quick_lane_with_nothing_to_do_helps_a_slow_one_out() {
    let mut sender = sender();
    sender.set_window(Window { bytes: PIECE_BYTES * 2, entries: 10 });
    let slow = give(&mut sender, 0, false).unwrap();
    let quick = give(&mut sender, 1, true).unwrap();
    sender.set_time(100);
    let units = vec![Run { first: quick, count: 1 }];
    let window = Window { bytes: PIECE_BYTES, entries: 10 };
    sender.handle(ControlMessage::Got(Got { transfer: 1, units, window })).unwrap();
    sender.set_time(400);
    sender.lane_moved(0);
    assert_eq!(give(&mut sender, 1, true), None, "that is soon");
    sender.set_time(500);
    sender.lane_moved(0);
    assert_eq!(give(&mut sender, 1, true), Some(slow));
    assert_eq!(give(&mut sender, 1, true), None, "once");
}

#[test]
fn a_copy_that_cannot_be_read_fails_nothing() {
    let mut sender = sender();
    while give(&mut sender, 0, true).is_some() {}
    sender.set_time(SUSPECT_MS);
    let Some(Job::Piece { unit, .. }) = sender.poll_job(1) else { panic!("a copy is due") };
    sender.piece_failed(unit, 1, sft_wire::Code::READ.because("no"));
    assert_eq!(sender.poll_frame().map(|frame| frame.frame_type()), Some(sft_wire::message::frame::OFFER));
    assert_eq!(sender.poll_frame(), None, "the file goes on");
    got(&mut sender, unit);
}

#[test]
fn a_lane_that_lags_holds_no_end_up() {
    let mut sender = sender();
    let mut slow = give(&mut sender, 0, true).unwrap();
    let mut quick = give(&mut sender, 1, true).unwrap();
    let mut carried = [0; 2];
    for now in (100..).step_by(100) {
        sender.set_time(now);
        got(&mut sender, quick);
        if now % 3_000 == 0 {
            got(&mut sender, slow);
            carried[0] += 1;
            slow = give(&mut sender, 0, true).unwrap();
        }
        let unit =
            give(&mut sender, 1, true).expect("a lane with nothing else to do copies what lags, at once");
        if unit == slow {
            assert!(now < 11_000, "the end came at once, at {now}");
            break;
        }
        carried[1] += 1;
        quick = unit;
    }
    assert_eq!(carried, [3, 95]);
}
