//! The sending end of one transfer, as a pure machine (spec/wire.md, "Sender").
//!
//! The driver scans, reads and hashes; this decides what is offered, what is read next and for which lane, what is sent
//! again after a lane was lost, which lanes are silent, and when all is settled. It holds entries that are not settled and
//! data units that are not acknowledged: both are bounded by the receiver's window.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use sft_base::{ByteRanges, ChainingValue, CvTree, Node, limits};

use crate::control::ControlMessage;
use crate::error::{WireError, broken};
use crate::job::Job;
use crate::lane_watch::Progress;
use crate::message::{
    Cancel, Commit, Done, Entry, EntryKind, EntryUnapplied, Finish, Finished, Got, Offer, Partial,
    SourceFailure, Want, Window,
};
use crate::sender_event::{Outcome, SenderEvent};
use crate::units::{UnitContent, Units};

/// One transfer, seen from the end that has the content.
#[derive(Debug)]
pub struct Sender {
    transfer: u64,
    window: Window,
    next_entry: u64,
    /// Offered and not settled.
    entries: BTreeMap<u64, Outgoing>,
    page: Page,
    offers: Offers,
    /// Files of one piece or less that are wanted, with their sizes, and the sum of these.
    small: VecDeque<(u64, u64)>,
    small_bytes: u64,
    /// Larger files that are wanted.
    large: VecDeque<u64>,
    checks: VecDeque<(u64, Node)>,
    closing: VecDeque<u64>,
    units: Units,
    finished: Vec<Finished>,
    cancel: Option<WireError>,
    end: Option<Result<Done, WireError>>,
}

#[derive(Debug)]
struct Outgoing {
    entry: Entry,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The receiver has not asked for data.
    Offered,
    /// Waits for a pack, or is in one.
    Small,
    /// Goes in pieces.
    Large(Box<Large>),
    /// Told as failed; waits to be settled.
    Given,
}

#[derive(Debug)]
struct Large {
    tree: CvTree,
    /// Bytes to send that no unit carries yet.
    gaps: VecDeque<Range<u64>>,
    checks_open: usize,
    sent: u64,
    closing: bool,
}

#[derive(Debug, Default)]
struct Page {
    entries: Vec<Entry>,
    failures: Vec<SourceFailure>,
    bytes: usize,
    ready: VecDeque<Offer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offers {
    Open,
    /// The driver has no more; the last page is not out yet.
    Ending,
    Ended,
}

impl Sender {
    /// A sender that may offer within `window`; before the receiver's own is known, [`Sender::EARLY_WINDOW`].
    pub fn new(transfer: u64, window: Window) -> Self {
        Self {
            transfer,
            window,
            next_entry: 0,
            entries: BTreeMap::new(),
            page: Page::default(),
            offers: Offers::Open,
            small: VecDeque::new(),
            small_bytes: 0,
            large: VecDeque::new(),
            checks: VecDeque::new(),
            closing: VecDeque::new(),
            units: Units::default(),
            finished: Vec::new(),
            cancel: None,
            end: None,
        }
    }

    /// What a sender may offer before it has heard of the receiver.
    pub const EARLY_WINDOW: Window = Window { bytes: 0, entries: limits::EARLY_ENTRIES };

    /// The receiver's windows, once it has accepted.
    pub fn set_window(&mut self, window: Window) {
        self.window = window;
    }

    /// Tells the time, in milliseconds since any moment: what is told and asked from here on happens then.
    pub fn set_time(&mut self, now_ms: u64) {
        self.units.now_ms = now_ms;
    }

    /// How many entries may be offered now.
    pub fn may_offer(&self) -> usize {
        let open = self.entries.len() as u64;
        let left = self.window.entries.max(1).saturating_sub(open);
        if self.offers == Offers::Open && self.end.is_none() { left as usize } else { 0 }
    }

    /// Offers an entry and gives its number. A directory comes before what is in it.
    pub fn offer(&mut self, entry: Entry) -> u64 {
        debug_assert!(self.offers == Offers::Open);
        let number = self.next_entry;
        self.next_entry += 1;
        self.page.bytes += entry_bytes(&entry);
        self.page.entries.push(entry.clone());
        self.entries.insert(number, Outgoing { entry, state: State::Offered });
        if self.page.is_full() {
            self.close_page(false);
        }
        number
    }

    /// Tells of a source that cannot be offered.
    pub fn fail_source(&mut self, failure: SourceFailure) {
        self.page.bytes += failure.path.as_bytes().len() + failure.error.text.len() + 32;
        self.page.failures.push(failure);
        if self.page.is_full() {
            self.close_page(false);
        }
    }

    /// Lets what has been offered so far go out, though its page is not full.
    pub fn flush_offers(&mut self) {
        if !self.page.entries.is_empty() || !self.page.failures.is_empty() {
            self.close_page(false);
        }
    }

    /// Says that nothing more will be offered.
    pub fn end_offers(&mut self) {
        if self.offers == Offers::Open {
            self.offers = Offers::Ending;
            self.close_page(true);
            self.offers = Offers::Ended;
        }
    }

    /// Gives the transfer up.
    pub fn cancel(&mut self, error: WireError) {
        if self.end.is_none() {
            self.cancel = Some(error.clone());
            self.end = Some(Err(error));
        }
    }

    /// Takes in `want`, `got`, `commit`, `done` or `cancel`.
    ///
    /// Errors: the peer broke the protocol, and the session is to be closed with this.
    pub fn handle(&mut self, message: ControlMessage) -> Result<Vec<SenderEvent>, WireError> {
        if self.end.is_some() {
            return Ok(Vec::new());
        }
        let mut events = Vec::new();
        match message {
            ControlMessage::Want(want) => self.handle_want(want)?,
            ControlMessage::Got(got) => self.handle_got(&got, &mut events)?,
            ControlMessage::Commit(commit) => self.handle_commit(commit, &mut events)?,
            ControlMessage::Done(done) => self.handle_done(done, &mut events)?,
            ControlMessage::Cancel(cancel) => {
                self.end = Some(Err(cancel.error));
                events.push(SenderEvent::Ended);
            }
            _ => return Err(broken("a sender takes want, got, commit, done and cancel")),
        }
        Ok(events)
    }

    /// The next frame to send on the control lane.
    pub fn poll_frame(&mut self) -> Option<ControlMessage> {
        if let Some(error) = self.cancel.take() {
            return Some(ControlMessage::Cancel(Cancel { transfer: self.transfer, error }));
        }
        if self.end.is_some() {
            return None;
        }
        if let Some(offer) = self.page.ready.pop_front() {
            return Some(ControlMessage::Offer(offer));
        }
        if self.finished.is_empty() {
            return None;
        }
        let count = self.finished.len().min(FINISHED_MAX);
        let files = self.finished.drain(..count).collect();
        Some(ControlMessage::Finish(Finish { transfer: self.transfer, files }))
    }

    /// The next work that needs no lane: [`Job::Check`] or [`Job::Close`].
    pub fn poll_local_job(&mut self) -> Option<Job> {
        if self.end.is_some() {
            return None;
        }
        while let Some(entry) = self.closing.pop_front() {
            if self.large_mut(entry).is_some() {
                return Some(Job::Close { entry });
            }
        }
        while let Some((entry, node)) = self.checks.pop_front() {
            if self.large_mut(entry).is_some() {
                return Some(Job::Check { entry, node });
            }
        }
        None
    }

    /// The next data unit to read and send on `lane`: [`Job::Pack`] or [`Job::Piece`]. It may be one that another lane
    /// carries too. None while nothing is wanted, the window is full or the lane is doubted.
    pub fn poll_job(&mut self, lane: u64) -> Option<Job> {
        if self.end.is_some() || !self.units.may_carry(lane) {
            return None;
        }
        let entries = &self.entries;
        let is_open = |entry| entries.contains_key(&entry);
        let again = self.units.next_again(lane, is_open);
        if let Some(job) = again.or_else(|| self.units.rescue(lane, is_open)) {
            return Some(job);
        }
        let job = if self.small_is_due() {
            self.next_pack(lane)
        } else {
            self.next_piece(lane).or_else(|| self.next_pack(lane))
        };
        let entries = &self.entries;
        job.or_else(|| self.units.help(lane, |entry| entries.contains_key(&entry)))
    }

    /// The content of a unit was read, and the lane is handed it.
    pub fn unit_begun(&mut self, unit: u64, lane: u64) {
        self.units.progress(unit, lane, Progress::Begun);
    }

    /// The lane has taken the last byte of a unit, which is not yet its arrival.
    pub fn unit_taken(&mut self, unit: u64, lane: u64) {
        self.units.progress(unit, lane, Progress::Taken);
    }

    /// Bytes of data have left for a lane since this was said last.
    pub fn lane_moved(&mut self, lane: u64) {
        self.units.moved(lane);
    }

    /// Whether a lane has been silent for so long that others should be at hand.
    pub fn is_suspect(&self, lane: u64) -> bool {
        self.units.is_suspect(lane)
    }

    /// Bytes of acknowledged units that this lane carried and no other: what it has been good for.
    pub fn bytes_acknowledged(&self, lane: u64) -> u64 {
        self.units.bytes_acknowledged(lane)
    }

    /// Lanes that may be given up: they are silent, and the receiver is at work (spec/wire.md, "Silence and loss"). For
    /// those that are, [`Sender::lane_lost`] follows.
    pub fn silent_lanes(&self) -> Vec<u64> {
        if self.end.is_some() { Vec::new() } else { self.units.silent_lanes() }
    }

    /// A piece was read: its chaining value. It may be said after the receiver has acknowledged the piece, and again when
    /// the piece is read again.
    pub fn piece_read(&mut self, entry: u64, offset: u64, cv: ChainingValue) {
        let Some(Outgoing { entry: offered, state: State::Large(large) }) = self.entries.get_mut(&entry)
        else {
            return;
        };
        let node = Node { offset, log2: limits::PIECE_LOG2, cv };
        if !large.tree.overlaps(node.range(offered.size)) {
            large.tree.insert(node);
            self.close_if_complete(entry);
        }
    }

    /// A piece could not be read for a lane: its file fails, and the unit is never sent, unless another lane has it.
    pub fn piece_failed(&mut self, unit: u64, lane: u64, error: WireError) {
        if let Some(UnitContent::Piece { entry, .. }) = self.units.fail(unit, lane) {
            self.give_up(entry, error);
        }
    }

    /// A node the receiver holds was hashed here: the own chaining value, or why there is none.
    pub fn checked(
        &mut self,
        entry: u64,
        node: Node,
        own: Result<ChainingValue, WireError>,
    ) -> Vec<SenderEvent> {
        let own = match own {
            Ok(own) => own,
            Err(error) => {
                self.give_up(entry, error);
                return Vec::new();
            }
        };
        let Some(outgoing) = self.entries.get_mut(&entry) else { return Vec::new() };
        let size = outgoing.entry.size;
        let State::Large(large) = &mut outgoing.state else { return Vec::new() };
        large.checks_open -= 1;
        let range = node.range(size);
        if own == node.cv {
            large.tree.insert(node);
            self.close_if_complete(entry);
            return vec![SenderEvent::Kept { bytes: range.end - range.start }];
        }
        large.gaps.push_back(range);
        self.large.push_back(entry);
        Vec::new()
    }

    /// The source was looked at again after it was read.
    pub fn closed(&mut self, entry: u64, unchanged: Result<(), WireError>) {
        if let Err(error) = unchanged {
            return self.give_up(entry, error);
        }
        let Some(large) = self.large_mut(entry) else { return };
        let (digest, sent) = (large.tree.root(), large.sent);
        self.finished.push(Finished { entry, digest, error: None, sent });
    }

    /// A lane was lost: what it carried and nobody acknowledged goes out again, on others.
    pub fn lane_lost(&mut self, lane: u64) {
        self.units.lane_lost(lane);
    }

    /// How the transfer ended; none while it runs.
    pub fn end(&self) -> Option<&Result<Done, WireError>> {
        self.end.as_ref()
    }

    /// The entry of a number, while it is not settled.
    pub fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(&number).map(|outgoing| &outgoing.entry)
    }

    fn close_page(&mut self, last: bool) {
        let first = self.next_entry - self.page.entries.len() as u64;
        let entries = std::mem::take(&mut self.page.entries);
        let failures = std::mem::take(&mut self.page.failures);
        self.page.bytes = 0;
        self.page.ready.push_back(Offer { transfer: self.transfer, first, entries, failures, last });
    }

    fn handle_want(&mut self, want: Want) -> Result<(), WireError> {
        for run in want.whole {
            if run.count > self.entries.len() as u64 {
                return Err(broken("want names more entries than are offered"));
            }
            for number in run.numbers() {
                self.want_one(number, Vec::new())?;
            }
        }
        for Partial { entry, held } in want.partial {
            self.want_one(entry, held.into_iter().map(Node::from).collect())?;
        }
        Ok(())
    }

    fn want_one(&mut self, number: u64, held: Vec<Node>) -> Result<(), WireError> {
        let Some(outgoing) = self.entries.get_mut(&number) else {
            return Err(broken(format!("want names entry {number}, which is not open")));
        };
        if outgoing.entry.kind != EntryKind::File || !matches!(outgoing.state, State::Offered) {
            return Err(broken(format!("want names entry {number}, which has no data to give (any more)")));
        }
        let size = outgoing.entry.size;
        if size <= limits::PIECE_BYTES {
            if !held.is_empty() {
                return Err(broken(format!("want holds nodes of entry {number}, which has none")));
            }
            outgoing.state = State::Small;
            self.small.push_back((number, size));
            self.small_bytes += size;
            return Ok(());
        }
        let mut covered = ByteRanges::new();
        let mut end = 0;
        for node in &held {
            let range = node.range(size);
            if !node.fits(size) || range.start < end {
                return Err(broken(format!("want holds a node of entry {number} that does not fit")));
            }
            end = range.end;
            covered.insert(range);
        }
        let large = Large {
            tree: CvTree::new(size),
            gaps: covered.gaps(size).into(),
            checks_open: held.len(),
            sent: 0,
            closing: false,
        };
        outgoing.state = State::Large(Box::new(large));
        self.checks.extend(held.into_iter().map(|node| (number, node)));
        self.large.push_back(number);
        Ok(())
    }

    fn handle_got(&mut self, got: &Got, events: &mut Vec<SenderEvent>) -> Result<(), WireError> {
        self.window = got.window;
        let mut bytes = 0;
        for run in &got.units {
            if run.numbers().end > self.units.next || run.first.checked_add(run.count).is_none() {
                return Err(broken("got names a data unit that was not sent"));
            }
            bytes += self.units.acknowledge(run.numbers());
        }
        if bytes > 0 {
            events.push(SenderEvent::Acknowledged { bytes });
        }
        Ok(())
    }

    fn handle_commit(&mut self, commit: Commit, events: &mut Vec<SenderEvent>) -> Result<(), WireError> {
        for EntryUnapplied { entry, unapplied } in commit.unapplied {
            let Some(outgoing) = self.entries.get(&entry) else {
                return Err(broken(format!("commit speaks of entry {entry}, which is not open")));
            };
            events.push(SenderEvent::Unapplied { path: outgoing.entry.path.clone(), unapplied });
        }
        for (runs, outcome) in
            [(commit.committed, Outcome::Committed), (commit.unchanged, Outcome::Unchanged)]
        {
            for run in runs {
                if run.count > self.entries.len() as u64 {
                    return Err(broken("commit names more entries than are open"));
                }
                for number in run.numbers() {
                    self.settle(number, outcome.clone(), events)?;
                }
            }
        }
        for failure in commit.failed {
            self.settle(failure.entry, Outcome::Failed(failure.error), events)?;
        }
        Ok(())
    }

    fn settle(
        &mut self,
        number: u64,
        outcome: Outcome,
        events: &mut Vec<SenderEvent>,
    ) -> Result<(), WireError> {
        let Some(outgoing) = self.entries.remove(&number) else {
            return Err(broken(format!("commit settles entry {number}, which is not open")));
        };
        events.push(SenderEvent::Settled { number, entry: outgoing.entry, outcome });
        Ok(())
    }

    fn handle_done(&mut self, done: Done, events: &mut Vec<SenderEvent>) -> Result<(), WireError> {
        if self.offers != Offers::Ended || !self.page.ready.is_empty() || !self.entries.is_empty() {
            return Err(broken("done came before all was offered and settled"));
        }
        self.end = Some(Ok(done));
        events.push(SenderEvent::Ended);
        Ok(())
    }

    /// Whether a pack should go before a piece: a full one waits, or there is nothing else.
    fn small_is_due(&self) -> bool {
        self.small_bytes >= limits::PIECE_BYTES
            || self.small.len() >= limits::PACK_FILES_MAX
            || self.large.is_empty()
    }

    fn next_pack(&mut self, lane: u64) -> Option<Job> {
        let mut files = Vec::new();
        let mut bytes = 0;
        while let Some(&(number, size)) = self.small.front() {
            if !self.entries.contains_key(&number) {
                self.small.pop_front();
                self.small_bytes -= size;
                continue;
            }
            let full = files.len() == limits::PACK_FILES_MAX || bytes + size > limits::PIECE_BYTES;
            if full || !self.units.has_room(self.window.bytes, bytes + size) {
                break;
            }
            self.small.pop_front();
            self.small_bytes -= size;
            bytes += size;
            files.push((number, size));
        }
        if files.is_empty() {
            return None;
        }
        let unit = self.units.open(lane, bytes, UnitContent::Pack(files.clone()));
        Some(Job::Pack { unit, files })
    }

    fn next_piece(&mut self, lane: u64) -> Option<Job> {
        while let Some(&entry) = self.large.front() {
            let gap = match self.entries.get_mut(&entry).map(|outgoing| &mut outgoing.state) {
                Some(State::Large(large)) => large.gaps.front_mut(),
                _ => None,
            };
            let Some(gap) = gap else {
                self.large.pop_front();
                continue;
            };
            let range = gap.start..gap.end.min(gap.start + limits::PIECE_BYTES);
            let bytes = range.end - range.start;
            if !self.units.has_room(self.window.bytes, bytes) {
                return None;
            }
            gap.start = range.end;
            let used_up = gap.is_empty();
            if let Some(large) = self.large_mut(entry) {
                large.sent += bytes;
                if used_up {
                    large.gaps.pop_front();
                }
            }
            let unit = self.units.open(lane, bytes, UnitContent::Piece { entry, range: range.clone() });
            return Some(Job::Piece { unit, entry, range });
        }
        None
    }

    fn close_if_complete(&mut self, entry: u64) {
        let Some(large) = self.large_mut(entry) else { return };
        if large.gaps.is_empty() && large.checks_open == 0 && !large.closing && large.tree.is_complete() {
            large.closing = true;
            self.closing.push_back(entry);
        }
    }

    fn give_up(&mut self, entry: u64, error: WireError) {
        let Some(outgoing) = self.entries.get_mut(&entry) else { return };
        if let State::Large(large) = &outgoing.state {
            let sent = large.sent;
            outgoing.state = State::Given;
            self.finished.push(Finished { entry, digest: None, error: Some(error), sent });
        }
    }

    fn large_mut(&mut self, entry: u64) -> Option<&mut Large> {
        match self.entries.get_mut(&entry).map(|outgoing| &mut outgoing.state) {
            Some(State::Large(large)) => Some(large),
            _ => None,
        }
    }
}

impl Page {
    fn is_full(&self) -> bool {
        self.entries.len() + self.failures.len() >= limits::PAGE_ENTRIES_MAX
            || self.bytes >= limits::PAGE_BYTES_SOFT
    }
}

/// Files in one `finish`: with errors of the greatest length they fill half of a control frame.
const FINISHED_MAX: usize = 100;

/// A generous guess at the encoded size of an entry.
fn entry_bytes(entry: &Entry) -> usize {
    entry.path.as_bytes().len() + 3 * entry.path.depth() + entry.target.as_ref().map_or(0, Vec::len) + 80
}
