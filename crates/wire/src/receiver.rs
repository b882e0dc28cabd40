//! The receiving end of one transfer, as a pure machine (spec/wire.md, "Receiver").
//!
//! The driver looks at the store, writes and publishes; this checks that the sender keeps to the protocol, decides when
//! a file is verified, says what is wanted, acknowledged and settled. Memory is bounded by the windows it grants.

use std::collections::BTreeMap;

use sft_base::{ByteRanges, CvTree, Digest, Node, Verified, limits};

use crate::bounds::check_offered;
use crate::control::ControlMessage;
use crate::error::{Code, WireError, broken};
use crate::message::{
    Cancel, Done, Entry, EntryFailure, EntryKind, EntryUnapplied, Finish, Finished, Got, Offer, PackHeader,
    Partial, PieceHeader, SourceFailure, Unapplied, Want, Window,
};
use crate::settled::{Settled, push_run, take_runs};

/// One transfer, seen from the end that lacks the content.
#[derive(Debug)]
pub struct Receiver {
    transfer: u64,
    window: Window,
    /// The widest the entry window has been: what the sender may have relied on.
    entries_granted: u64,
    next_entry: u64,
    last_seen: bool,
    /// Offered and not settled.
    entries: BTreeMap<u64, Incoming>,
    /// Of the entries below this number, none are open but ends of directories whose attributes are being set.
    ends_seen: u64,
    /// Data units that have come, whether worked on or done.
    units: ByteRanges,
    totals: Done,
    want: Want,
    got: ByteRanges,
    window_changed: bool,
    commit: Settled,
    done_sent: bool,
    cancel: Option<WireError>,
    end: Option<Result<Done, WireError>>,
}

/// What a message or a finished piece of work calls for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiverEvent {
    /// See what is to be done for these entries, in this order, and say so by [`Receiver::decided`].
    Decide(Vec<(u64, Entry)>),
    /// The sender could not offer these.
    SourceFailed(Vec<SourceFailure>),
    /// All content of a file sent in pieces is in its stage, and its digest is the sender's: publish it, then say so by
    /// [`Receiver::settled`].
    Complete {
        /// Its number.
        entry: u64,
        /// The proof that publishing takes.
        verified: Verified,
    },
    /// A file sent in pieces will not be completed: throw its stage away.
    Discard {
        /// Its number.
        entry: u64,
    },
    /// Set the attributes of these directories, in this order, then say so by [`Receiver::settled`].
    SetAttributes(Vec<(u64, Entry)>),
    /// An entry failed by the sender's word or for its digest.
    Failed {
        /// What was offered.
        entry: Entry,
        /// Why.
        error: WireError,
    },
    /// The transfer is over.
    Ended,
}

/// What the driver found for an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A file that is lacking, but for these verified nodes of an earlier stage.
    Want(Vec<Node>),
    /// In place already.
    Unchanged,
    /// It will be published without data; [`Receiver::settled`] follows.
    Later,
    /// It cannot be.
    Failed(WireError),
}

/// What to do with a piece that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceArrival {
    /// Verify and write it, then say so by [`Receiver::piece_done`].
    Write {
        /// The file's size.
        size: u64,
    },
    /// It came before, or its file is settled: forget it.
    Forget,
}

/// What to do with a pack that came: the files of it to verify and write, by their place in it; then
/// [`Receiver::pack_done`]. None when the whole is to be forgotten.
pub type PackArrival = Option<Vec<(usize, Entry)>>;

#[derive(Debug)]
struct Incoming {
    entry: Entry,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The driver looks at the store.
    Deciding,
    /// A file of one piece or less, wanted.
    Small,
    /// Such a file, which has come and is being verified and staged.
    Staging,
    /// A larger file, wanted.
    Large(Box<Large>),
    /// The driver publishes it.
    Publishing,
    /// A directory's attributes, which wait for all before it.
    DirEnd,
}

#[derive(Debug)]
struct Large {
    /// What the sender was told is held. It sends each of these again as a whole, or not at all; so they are kept apart
    /// from what comes, with which they would merge beyond recognition.
    held: Vec<Node>,
    /// What has come.
    tree: CvTree,
    received: u64,
    finished: Option<(Digest, u64)>,
}

impl Receiver {
    /// A receiver that grants `window`.
    pub fn new(transfer: u64, window: Window) -> Self {
        Self {
            transfer,
            window,
            entries_granted: window.entries.max(limits::EARLY_ENTRIES),
            next_entry: 0,
            last_seen: false,
            entries: BTreeMap::new(),
            ends_seen: 0,
            units: ByteRanges::new(),
            totals: Done { transfer, committed: 0, unchanged: 0, failed: 0 },
            want: Want { transfer, whole: Vec::new(), partial: Vec::new() },
            got: ByteRanges::new(),
            window_changed: false,
            commit: Settled::default(),
            done_sent: false,
            cancel: None,
            end: None,
        }
    }

    /// Grants another window from here on.
    pub fn set_window(&mut self, window: Window) {
        self.window_changed |= self.window != window;
        self.entries_granted = self.entries_granted.max(window.entries);
        self.window = window;
    }

    /// Takes in `offer`, `finish` or `cancel`.
    ///
    /// Errors: the peer broke the protocol, and the session is to be closed with this.
    pub fn handle(&mut self, message: ControlMessage) -> Result<Vec<ReceiverEvent>, WireError> {
        if self.end.is_some() {
            return Ok(Vec::new());
        }
        match message {
            ControlMessage::Offer(offer) => self.handle_offer(offer),
            ControlMessage::Finish(finish) => self.handle_finish(finish),
            ControlMessage::Cancel(cancel) => {
                self.end = Some(Err(cancel.error));
                Ok(vec![ReceiverEvent::Ended])
            }
            _ => Err(broken("a receiver takes offer, finish and cancel")),
        }
    }

    /// What the driver found for an entry of [`ReceiverEvent::Decide`].
    pub fn decided(&mut self, number: u64, decision: Decision) -> Vec<ReceiverEvent> {
        let Some(incoming) = self.entries.get_mut(&number) else { return Vec::new() };
        let size = incoming.entry.size;
        match decision {
            Decision::Want(_) if size <= limits::PIECE_BYTES => {
                incoming.state = State::Small;
                push_run(&mut self.want.whole, number);
                Vec::new()
            }
            Decision::Want(held) => {
                self.want_large(number, size, held);
                Vec::new()
            }
            Decision::Unchanged => self.settle(number, Outcome::Unchanged),
            Decision::Later => {
                incoming.state = State::Publishing;
                Vec::new()
            }
            Decision::Failed(error) => self.settle(number, Outcome::Failed(error)),
        }
    }

    /// A piece came.
    ///
    /// Errors: it is none that was asked for.
    pub fn piece_arrived(&mut self, header: &PieceHeader, len: u64) -> Result<PieceArrival, WireError> {
        if self.end.is_some() || !self.is_new_unit(header.unit) {
            return Ok(PieceArrival::Forget);
        }
        let Some(incoming) = self.entries.get(&header.entry) else {
            self.acknowledge_settled(header.unit, header.entry)?;
            return Ok(PieceArrival::Forget);
        };
        let size = incoming.entry.size;
        if !matches!(incoming.state, State::Large(_)) {
            return Err(broken(format!("a piece of entry {}, which wants none", header.entry)));
        }
        let right = header.offset < size
            && header.offset.is_multiple_of(limits::PIECE_BYTES)
            && len == limits::PIECE_BYTES.min(size - header.offset);
        if !right {
            return Err(broken(format!("a piece of entry {} does not fit its size", header.entry)));
        }
        self.take_unit(header.unit)?;
        Ok(PieceArrival::Write { size })
    }

    /// A piece was verified and written, or could not be. Gives the nodes to record in the stage's journal, and what
    /// follows.
    pub fn piece_done(
        &mut self,
        unit: u64,
        entry: u64,
        written: Result<Node, WireError>,
    ) -> (Vec<Node>, Vec<ReceiverEvent>) {
        self.got.insert(unit..unit + 1);
        let Some(incoming) = self.entries.get_mut(&entry) else { return (Vec::new(), Vec::new()) };
        let State::Large(large) = &mut incoming.state else { return (Vec::new(), Vec::new()) };
        let size = incoming.entry.size;
        let node = match written {
            Ok(node) => node,
            Err(error) => {
                let mut events = vec![ReceiverEvent::Discard { entry }];
                events.extend(self.settle(entry, Outcome::Failed(error)));
                return (Vec::new(), events);
            }
        };
        let range = node.range(size);
        large.received += range.end - range.start;
        let segment = limits::segment_log2(size);
        let record =
            large.tree.insert(node).into_iter().filter(|made| is_recorded(made, segment, size)).collect();
        (record, self.complete_if_all_came(entry))
    }

    /// A pack came: the files of it to write.
    ///
    /// Errors: it holds a file that was not asked for.
    pub fn pack_arrived(&mut self, header: &PackHeader) -> Result<PackArrival, WireError> {
        if self.end.is_some() || !self.is_new_unit(header.unit) {
            return Ok(None);
        }
        let mut files = Vec::with_capacity(header.files.len());
        for (place, file) in header.files.iter().enumerate() {
            match self.entries.get(&file.entry) {
                None if file.entry < self.next_entry => {}
                Some(Incoming { entry, state: State::Small })
                    if file.error.is_some() || u64::from(file.size) == entry.size =>
                {
                    files.push((place, entry.clone()));
                }
                _ => {
                    return Err(broken(format!(
                        "a pack holds entry {}, which was not wanted so",
                        file.entry
                    )));
                }
            }
        }
        for file in &header.files {
            if let Some(incoming) = self.entries.get_mut(&file.entry) {
                incoming.state = State::Staging;
            }
        }
        self.take_unit(header.unit)?;
        Ok(Some(files))
    }

    /// The files of a pack were verified and staged, or could not be. Those that were are published next; then
    /// [`Receiver::settled`].
    pub fn pack_done(&mut self, unit: u64, files: Vec<(u64, Result<(), WireError>)>) -> Vec<ReceiverEvent> {
        self.got.insert(unit..unit + 1);
        let mut events = Vec::new();
        for (number, staged) in files {
            match (self.entries.get_mut(&number), staged) {
                (Some(incoming), Ok(())) => incoming.state = State::Publishing,
                (Some(_), Err(error)) => events.extend(self.fail(number, error)),
                (None, _) => {}
            }
        }
        events
    }

    /// An entry was published, durable as asked, or could not be.
    pub fn settled(
        &mut self,
        number: u64,
        published: Result<Vec<Unapplied>, WireError>,
    ) -> Vec<ReceiverEvent> {
        match published {
            Ok(unapplied) => {
                let unapplied = unapplied.into_iter();
                self.commit
                    .unapplied
                    .extend(unapplied.map(|unapplied| EntryUnapplied { entry: number, unapplied }));
                self.settle(number, Outcome::Committed)
            }
            Err(error) => self.settle(number, Outcome::Failed(error)),
        }
    }

    /// Gives the transfer up; stages stay.
    pub fn cancel(&mut self, error: WireError) {
        if self.end.is_none() {
            self.cancel = Some(error.clone());
            self.end = Some(Err(error));
        }
    }

    /// The next frame to send on the control lane.
    pub fn poll_frame(&mut self) -> Option<ControlMessage> {
        if let Some(error) = self.cancel.take() {
            return Some(ControlMessage::Cancel(Cancel { transfer: self.transfer, error }));
        }
        if self.end.is_some() {
            return None;
        }
        if let Some(want) = self.next_want() {
            return Some(ControlMessage::Want(want));
        }
        if let Some(got) = self.next_got() {
            return Some(ControlMessage::Got(got));
        }
        if let Some(commit) = self.commit.next(self.transfer) {
            return Some(ControlMessage::Commit(commit));
        }
        if self.last_seen && self.entries.is_empty() && !self.done_sent {
            self.done_sent = true;
            self.end = Some(Ok(self.totals));
            return Some(ControlMessage::Done(self.totals));
        }
        None
    }

    /// How the transfer ended; none while it runs.
    pub fn end(&self) -> Option<&Result<Done, WireError>> {
        self.end.as_ref()
    }

    /// The entry of a number, while it is not settled.
    pub fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(&number).map(|incoming| &incoming.entry)
    }

    fn handle_offer(&mut self, offer: Offer) -> Result<Vec<ReceiverEvent>, WireError> {
        if self.last_seen {
            return Err(broken("an offer came after the last"));
        }
        if offer.first != self.next_entry {
            return Err(broken(format!("an offer begins at {}, not at {}", offer.first, self.next_entry)));
        }
        // What is settled and not told yet still fills the window: a sender that does not listen gets no further.
        let open = self.entries.len() + self.commit.entries() + offer.entries.len();
        if open as u64 > self.entries_granted {
            return Err(broken("an offer goes beyond the window"));
        }
        self.last_seen = offer.last;
        let mut decide = Vec::new();
        for entry in offer.entries {
            check_entry(&entry)?;
            let number = self.next_entry;
            self.next_entry += 1;
            let state = if entry.kind == EntryKind::DirEnd { State::DirEnd } else { State::Deciding };
            if matches!(state, State::Deciding) {
                decide.push((number, entry.clone()));
            }
            self.entries.insert(number, Incoming { entry, state });
        }
        let mut events = Vec::new();
        if !decide.is_empty() {
            events.push(ReceiverEvent::Decide(decide));
        }
        if !offer.failures.is_empty() {
            self.totals.failed += offer.failures.len() as u64;
            events.push(ReceiverEvent::SourceFailed(offer.failures));
        }
        events.extend(self.next_dir_ends());
        Ok(events)
    }

    fn handle_finish(&mut self, finish: Finish) -> Result<Vec<ReceiverEvent>, WireError> {
        let mut events = Vec::new();
        for Finished { entry, digest, error, sent } in finish.files {
            let Some(incoming) = self.entries.get_mut(&entry) else {
                if entry < self.next_entry {
                    continue;
                }
                return Err(broken(format!("finish names entry {entry}, which was not offered")));
            };
            let State::Large(large) = &mut incoming.state else {
                return Err(broken(format!("finish names entry {entry}, which is not sent in pieces")));
            };
            match (digest, error) {
                (Some(digest), None) if large.finished.is_none() => {
                    large.finished = Some((digest, sent));
                    events.extend(self.complete_if_all_came(entry));
                }
                (None, Some(error)) => {
                    events.push(ReceiverEvent::Discard { entry });
                    events.extend(self.fail(entry, error));
                }
                _ => return Err(broken("finish says either a digest or an error, once")),
            }
        }
        Ok(events)
    }

    fn want_large(&mut self, number: u64, size: u64, mut held: Vec<Node>) {
        let Some(incoming) = self.entries.get_mut(&number) else { return };
        let mut tree = CvTree::new(size);
        held.retain(|node| node.fits(size));
        for node in held {
            tree.insert(node);
        }
        // What the list has no room for is sent again: largest first, so that this is little.
        let mut held: Vec<Node> = tree.nodes().collect();
        if held.len() > limits::HELD_NODES_MAX {
            held.sort_by_key(|node| std::cmp::Reverse(node.log2));
            held.truncate(limits::HELD_NODES_MAX);
            held.sort_by_key(|node| node.offset);
        }
        let large = Large { held: held.clone(), tree: CvTree::new(size), received: 0, finished: None };
        incoming.state = State::Large(Box::new(large));
        if held.is_empty() {
            push_run(&mut self.want.whole, number);
        } else {
            let held = held.into_iter().map(Into::into).collect();
            self.want.partial.push(Partial { entry: number, held });
        }
    }

    fn is_new_unit(&self, unit: u64) -> bool {
        unit < UNITS_MAX && !self.units.contains(unit..unit + 1)
    }

    /// A unit for an entry that is settled: the sender did not know yet.
    fn acknowledge_settled(&mut self, unit: u64, entry: u64) -> Result<(), WireError> {
        if entry >= self.next_entry {
            return Err(broken(format!("data of entry {entry}, which was not offered")));
        }
        self.take_unit(unit)?;
        self.got.insert(unit..unit + 1);
        Ok(())
    }

    /// Notes that a unit came. Gaps in the numbers take memory.
    fn take_unit(&mut self, unit: u64) -> Result<(), WireError> {
        self.units.insert(unit..unit + 1);
        let too_many = self.units.len() > limits::UNIT_GAPS_MAX;
        if too_many { Err(Code::LIMIT.because("too many data units were left out")) } else { Ok(()) }
    }

    fn complete_if_all_came(&mut self, entry: u64) -> Vec<ReceiverEvent> {
        let Some(Incoming { entry: offered, state }) = self.entries.get_mut(&entry) else {
            return Vec::new();
        };
        let State::Large(large) = state else { return Vec::new() };
        let Some((promised, sent)) = large.finished else { return Vec::new() };
        if large.received < sent {
            return Vec::new();
        }
        let size = offered.size;
        let verified = large.root(size).and_then(|digest| digest.verify(promised, size));
        if let Some(verified) = verified {
            *state = State::Publishing;
            return vec![ReceiverEvent::Complete { entry, verified }];
        }
        let error = Code::INTEGRITY
            .because("what came does not have the digest that the sender found; copy it again");
        let mut events = vec![ReceiverEvent::Discard { entry }];
        events.extend(self.fail(entry, error));
        events
    }

    /// Settles an entry as failed for a reason the driver does not know yet.
    fn fail(&mut self, number: u64, error: WireError) -> Vec<ReceiverEvent> {
        let Some(entry) = self.entry(number).cloned() else { return Vec::new() };
        let mut events = vec![ReceiverEvent::Failed { entry, error: error.clone() }];
        events.extend(self.settle(number, Outcome::Failed(error)));
        events
    }

    fn settle(&mut self, number: u64, outcome: Outcome) -> Vec<ReceiverEvent> {
        if self.entries.remove(&number).is_none() {
            return Vec::new();
        }
        match outcome {
            Outcome::Committed => {
                self.totals.committed += 1;
                self.commit.committed.insert(number..number + 1);
            }
            Outcome::Unchanged => {
                self.totals.unchanged += 1;
                self.commit.unchanged.insert(number..number + 1);
            }
            Outcome::Failed(error) => {
                self.totals.failed += 1;
                self.commit.failed.push_back(EntryFailure { entry: number, error });
            }
        }
        self.next_dir_ends()
    }

    /// The directory ends that stand first among what is open: all before them is settled.
    fn next_dir_ends(&mut self) -> Vec<ReceiverEvent> {
        let mut ready = Vec::new();
        for (&number, incoming) in self.entries.range_mut(self.ends_seen..) {
            if !matches!(incoming.state, State::DirEnd) {
                break;
            }
            self.ends_seen = number + 1;
            incoming.state = State::Publishing;
            ready.push((number, incoming.entry.clone()));
        }
        Vec::from_iter((!ready.is_empty()).then_some(ReceiverEvent::SetAttributes(ready)))
    }

    fn next_want(&mut self) -> Option<Want> {
        if self.want.whole.is_empty() && self.want.partial.is_empty() {
            return None;
        }
        let whole = drain_up_to(&mut self.want.whole, limits::PAGE_ENTRIES_MAX);
        let partial = drain_up_to(&mut self.want.partial, PARTIALS_MAX);
        Some(Want { transfer: self.transfer, whole, partial })
    }

    fn next_got(&mut self) -> Option<Got> {
        if self.got.is_empty() && !std::mem::take(&mut self.window_changed) {
            return None;
        }
        self.window_changed = false;
        let units = take_runs(&mut self.got, limits::PAGE_ENTRIES_MAX);
        Some(Got { transfer: self.transfer, units, window: self.window })
    }
}

impl Large {
    /// The digest over what has come, and what was held and did not come again.
    fn root(&self, size: u64) -> Option<Digest> {
        let mut whole = self.tree.clone();
        let kept = self.held.iter().filter(|node| !self.tree.overlaps(node.range(size)));
        kept.for_each(|node| drop(whole.insert(*node)));
        whole.root()
    }
}

enum Outcome {
    Committed,
    Unchanged,
    Failed(WireError),
}

/// Journal records stand for whole segments, and for the pieces of a last segment that the end of the file cuts.
fn is_recorded(node: &Node, segment_log2: u8, size: u64) -> bool {
    let in_cut_segment = node.offset >> segment_log2 == size >> segment_log2;
    node.log2 == segment_log2 || (in_cut_segment && node.log2 == limits::PIECE_LOG2)
}

/// A message that was decoded keeps these rules; one that was made by hand may not.
fn check_entry(entry: &Entry) -> Result<(), WireError> {
    check_offered(entry)
        .map_err(|why| broken(format!("the offer of {} does not make sense: {why}", entry.path)))
}

fn drain_up_to<T>(list: &mut Vec<T>, max: usize) -> Vec<T> {
    let count = list.len().min(max);
    list.drain(..count).collect()
}

/// Unit numbers beyond this cannot be counted up from.
const UNITS_MAX: u64 = u64::MAX - 1;
/// Partial files in one `want`: with the most nodes each they fill a sixth of a control frame.
const PARTIALS_MAX: usize = 4;
