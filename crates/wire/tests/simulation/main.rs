//! Two machines, a virtual clock, and a network that delays, reorders, loses lanes, silences lanes and loses sessions, before
//! a disk that stalls; all from a seed. Only lanes that are silent may be given up.
//!
//! A failure prints the seed; `SFT_SIM_SEED=<seed>` replays that one alone.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

use sft_base::limits::PIECE_BYTES;
use sft_base::{ChainingValue, Digest, EntryPath, Node, node_cv};
use sft_wire::message::{Entry, EntryKind, PackHeader, PackedFile, PieceHeader, SourceFailure, Window};
use sft_wire::{
    Code, ControlMessage, Decision, Job, PieceArrival, Receiver, ReceiverEvent, Sender, SenderEvent,
    WireError,
};

use rng::Rng;
use tree::{Fate, File, Tree, path};

mod rng;
mod tree;

const SEEDS: u64 = 300;
/// Milliseconds between two looks at the lanes.
const TICK: u64 = 1_000;
/// Milliseconds for which a sender may hear nothing while the disk does not stall: less than a slow lane's unit takes.
const STUCK: u64 = 60_000;

#[test]
fn every_transfer_ends_with_what_was_offered() {
    if let Ok(seed) = std::env::var("SFT_SIM_SEED") {
        simulate(seed.parse().expect("SFT_SIM_SEED is a number"));
        return;
    }
    let mut given_up = 0;
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| simulate(seed));
        assert!(outcome.is_ok(), "seed {seed} fails; replay it with SFT_SIM_SEED={seed}");
        given_up += outcome.unwrap_or_default();
    }
    assert!(given_up > SEEDS / 20, "{given_up} silent lanes were given up");
}

/// One whole story: sessions are lost until one comes to its end. How many silent lanes were given up.
fn simulate(seed: u64) -> u64 {
    let mut given_up = 0;
    let mut rng = Rng::new(seed);
    let tree = Tree::grow(&mut rng);
    let mut disk = Disk::default();
    let mut sessions = 0;
    loop {
        sessions += 1;
        // The last session is let live, so that the story has an end.
        let lose_at = (sessions < 5 && rng.one_in(2)).then(|| 1 + rng.below(400));
        let mut world = World::new(&tree, &mut disk, &mut rng, lose_at);
        let ended = world.run();
        given_up += world.given_up;
        if ended {
            break;
        }
    }
    for (path, file) in &tree.files {
        match disk.published.get(path) {
            Some(digest) => assert_eq!(*digest, file.digest, "{path:?} was published with another content"),
            None => assert!(file.fate != Fate::Sound, "{path:?} was not published"),
        }
    }
    let dressed: BTreeSet<_> = tree.dirs.iter().cloned().collect();
    assert_eq!(disk.dressed, dressed, "every directory got its attributes");
    given_up
}

/// What outlives a session.
#[derive(Default)]
struct Disk {
    published: HashMap<EntryPath, Digest>,
    /// Verified nodes of files that were not completed, and the bytes they cover.
    stages: HashMap<EntryPath, Vec<Node>>,
    dressed: BTreeSet<EntryPath>,
}

enum Event {
    ToReceiver(ControlMessage),
    ToSender(ControlMessage),
    Data {
        lane: u64,
        unit: Unit,
    },
    Sender(SenderWork),
    Receiver(ReceiverWork),
    LaneLost(u64),
    /// The sender's driver looks at its lanes.
    Tick,
}

#[derive(Clone)]
enum Unit {
    Piece(PieceHeader, u64),
    Pack(PackHeader),
}

impl Unit {
    fn number(&self) -> u64 {
        match self {
            Self::Piece(header, _) => header.unit,
            Self::Pack(header) => header.unit,
        }
    }
}

enum SenderWork {
    Read { unit: u64, entry: u64, lane: u64, range: std::ops::Range<u64> },
    ReadPack { unit: u64, lane: u64, files: Vec<(u64, u64)> },
    Tell { entry: u64, offset: u64, cv: ChainingValue },
    Check { entry: u64, node: Node },
    Close { entry: u64 },
}

enum ReceiverWork {
    Decide(u64, Entry),
    PieceWritten { unit: u64, entry: u64, node: Node },
    PackWritten { unit: u64, files: Vec<(u64, Entry, Result<(), WireError>)> },
    Publish { number: u64, entry: Entry, digest: Option<Digest> },
}

struct World<'a> {
    tree: &'a Tree,
    disk: &'a mut Disk,
    rng: &'a mut Rng,
    clock: u64,
    serial: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: HashMap<u64, Event>,
    /// Control lanes keep their order: no message arrives before the one sent before it.
    arrival: [u64; 2],
    sender: Sender,
    receiver: Receiver,
    window: Window,
    lanes: BTreeMap<u64, u64>,
    lane_next: u64,
    /// Lanes that swallow what they take.
    silent: BTreeSet<u64>,
    /// A lane that needs a minute for a unit, and takes its bytes all the while.
    slow: Option<u64>,
    /// Until when the receiver's disk does nothing.
    stalled: u64,
    given_up: u64,
    /// When the sender was last told something.
    told: u64,
    offered: usize,
    paths: HashMap<u64, EntryPath>,
    settled: BTreeSet<u64>,
    lose_at: Option<u64>,
}

impl<'a> World<'a> {
    fn new(tree: &'a Tree, disk: &'a mut Disk, rng: &'a mut Rng, lose_at: Option<u64>) -> Self {
        let window = Window { bytes: PIECE_BYTES * (1 + rng.below(4)), entries: 1 + rng.below(64) };
        let mut lanes = BTreeMap::new();
        let lane_next = 1 + rng.below(4);
        lanes.extend((0..lane_next).map(|lane| (lane, 0)));
        let slow = (lane_next > 1 && rng.one_in(3)).then_some(0);
        Self {
            tree,
            disk,
            rng,
            clock: 0,
            serial: 0,
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            arrival: [0; 2],
            sender: Sender::new(7, window),
            receiver: Receiver::new(7, window),
            window,
            lanes,
            lane_next,
            silent: BTreeSet::new(),
            slow,
            stalled: 0,
            given_up: 0,
            told: 0,
            offered: 0,
            paths: HashMap::new(),
            settled: BTreeSet::new(),
            lose_at,
        }
    }

    /// Whether the transfer came to its end; else its session was lost.
    fn run(&mut self) -> bool {
        self.sender.fail_source(SourceFailure { path: path("gone"), error: Code::VANISHED.because("gone") });
        self.at(TICK, Event::Tick);
        loop {
            self.sender.set_time(self.clock);
            self.pump();
            if let Some(end) = self.sender.end() {
                let done = *end.as_ref().expect("nobody cancels");
                assert_eq!(self.settled.len(), self.tree.entries.len(), "every entry is settled once");
                let all = done.committed + done.unchanged + done.failed;
                assert_eq!(all, self.tree.entries.len() as u64 + 1, "and the source that failed");
                return true;
            }
            let Some(Reverse((at, serial))) = self.queue.pop() else {
                panic!("nothing is under way, and the transfer has no end: {:?}", self.sender);
            };
            self.clock = at;
            self.sender.set_time(at);
            assert!(at < self.told + STUCK, "nothing gets on: {:?}", self.sender);
            let event = self.events.remove(&serial).expect("queued with its serial");
            self.happen(event);
            if self.lose_at.is_some_and(|lose_at| self.serial > lose_at * 4) {
                return false;
            }
            if self.rng.one_in(150) && self.serial < 5_000 {
                self.lose_a_lane();
            }
            if self.rng.one_in(300) && self.serial < 5_000 {
                self.silence_a_lane();
            }
            // Between two stalls it gets what has come done: what is half done then is acknowledged in no order.
            if self.rng.one_in(1_000) && self.serial < 5_000 && self.clock > self.stalled + 5_000 {
                self.stalled = self.clock + self.rng.below(60_000);
                self.told = self.told.max(self.stalled);
            }
        }
    }

    fn lose_a_lane(&mut self) {
        let Some(lane) = self.any_lane() else { return };
        self.lanes.remove(&lane);
        // The sender learns of it a while later; a new one comes up.
        self.after(100, Event::LaneLost(lane));
        self.add_lane();
    }

    /// Another lane lives on, or nothing would tell a silent lane from a receiver that is busy.
    fn silence_a_lane(&mut self) {
        let Some(lane) = self.any_lane() else { return };
        self.silent.insert(lane);
        if self.lanes.keys().all(|lane| self.silent.contains(lane) || self.slow == Some(*lane)) {
            self.add_lane();
        }
    }

    fn any_lane(&mut self) -> Option<u64> {
        let place = self.rng.below(self.lanes.len() as u64) as usize;
        self.lanes.keys().nth(place).copied()
    }

    fn add_lane(&mut self) {
        self.lanes.insert(self.lane_next, 0);
        self.lane_next += 1;
    }

    fn tick(&mut self) {
        if let Some(slow) = self.slow.filter(|slow| self.lanes.get(slow).is_some_and(|load| *load > 0)) {
            self.sender.lane_moved(slow);
        }
        for lane in self.sender.silent_lanes() {
            assert!(self.silent.contains(&lane), "lane {lane} lives");
            self.lanes.remove(&lane);
            self.given_up += 1;
            self.sender.lane_lost(lane);
            self.add_lane();
        }
        self.at(self.clock + TICK, Event::Tick);
    }

    fn after(&mut self, most: u64, event: Event) {
        let at = self.clock + 1 + self.rng.below(most);
        self.at(at, event);
    }

    fn at(&mut self, at: u64, event: Event) {
        self.serial += 1;
        self.queue.push(Reverse((at, self.serial)));
        self.events.insert(self.serial, event);
    }

    fn control(&mut self, direction: usize, event: Event) {
        let at = (self.clock + 1 + self.rng.below(50)).max(self.arrival[direction]);
        self.arrival[direction] = at;
        self.at(at, event);
    }

    /// Lets both machines say and do what they can.
    fn pump(&mut self) {
        while self.offered < self.tree.entries.len() && self.sender.may_offer() > 0 {
            let entry = self.tree.entries[self.offered].clone();
            self.offered += 1;
            let number = self.sender.offer(entry.clone());
            self.paths.insert(number, entry.path);
        }
        self.sender.flush_offers();
        if self.offered == self.tree.entries.len() {
            self.sender.end_offers();
        }
        let lanes: Vec<u64> = self.lanes.keys().copied().collect();
        for lane in lanes {
            while self.lanes[&lane] < 2 {
                let Some(job) = self.sender.poll_job(lane) else { break };
                *self.lanes.get_mut(&lane).expect("it is a key") += 1;
                let work = match job {
                    Job::Pack { unit, files } => SenderWork::ReadPack { unit, lane, files },
                    Job::Piece { unit, entry, range } => SenderWork::Read { unit, entry, lane, range },
                    other => panic!("{other:?} needs no lane"),
                };
                self.after(20, Event::Sender(work));
            }
        }
        while let Some(job) = self.sender.poll_local_job() {
            let work = match job {
                Job::Check { entry, node } => SenderWork::Check { entry, node },
                Job::Close { entry } => SenderWork::Close { entry },
                other => panic!("{other:?} needs a lane"),
            };
            self.after(20, Event::Sender(work));
        }
        while let Some(message) = self.sender.poll_frame() {
            self.control(0, Event::ToReceiver(message));
        }
        while let Some(message) = self.receiver.poll_frame() {
            self.control(1, Event::ToSender(message));
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToReceiver(message) => {
                let events = self.receiver.handle(message).expect("the sender keeps to the protocol");
                self.follow(events);
            }
            Event::ToSender(message) => {
                self.told = self.told.max(self.clock);
                for event in self.sender.handle(message).expect("the receiver keeps to the protocol") {
                    if let SenderEvent::Settled { number, .. } = event {
                        assert!(self.settled.insert(number), "entry {number} is settled twice");
                    }
                }
            }
            Event::Data { lane, unit } => {
                // What a lane that is lost still carried does not come.
                if let Some(load) = self.lanes.get_mut(&lane) {
                    *load -= 1;
                    self.sender.unit_taken(unit.number(), lane);
                    if !self.silent.contains(&lane) {
                        self.arrive(unit);
                    }
                }
            }
            Event::Sender(work) => self.sender_work(work),
            Event::Receiver(work) if self.clock < self.stalled => {
                // Entries are decided on in order; what else has piled up is done in any.
                let in_order = matches!(work, ReceiverWork::Decide(..));
                let later = if in_order { 0 } else { self.rng.below(30) };
                self.at(self.stalled + later, Event::Receiver(work));
            }
            Event::Receiver(work) => self.receiver_work(work),
            Event::LaneLost(lane) => self.sender.lane_lost(lane),
            Event::Tick => self.tick(),
        }
    }

    fn file(&self, entry: u64) -> &'a File {
        &self.tree.files[&self.paths[&entry]]
    }

    fn sender_work(&mut self, work: SenderWork) {
        match work {
            SenderWork::ReadPack { unit, lane, files } => {
                let packed = files.into_iter().map(|(entry, _)| match self.file(entry) {
                    File { fate: Fate::Unreadable | Fate::Changes, .. } => {
                        PackedFile { entry, size: 0, digest: None, error: Some(Code::READ.because("no")) }
                    }
                    file => {
                        let size = file.content.len() as u32;
                        PackedFile { entry, size, digest: Some(file.digest), error: None }
                    }
                });
                let header = PackHeader { transfer: 7, unit, files: packed.collect() };
                self.carry(lane, Unit::Pack(header));
            }
            SenderWork::Read { unit, entry, lane, range } => {
                let file = self.file(entry);
                if file.fate == Fate::Unreadable {
                    if let Some(load) = self.lanes.get_mut(&lane) {
                        *load -= 1;
                    }
                    return self.sender.piece_failed(unit, lane, Code::READ.because("no"));
                }
                let content = &file.content[range.start as usize..range.end as usize];
                let cv = node_cv(range.start, content);
                // The reader's word may come later than the receiver's.
                let told = SenderWork::Tell { entry, offset: range.start, cv };
                self.after(200, Event::Sender(told));
                let header = PieceHeader { transfer: 7, unit, entry, offset: range.start, cv };
                self.carry(lane, Unit::Piece(header, range.end - range.start));
            }
            SenderWork::Tell { entry, offset, cv } => self.sender.piece_read(entry, offset, cv),
            SenderWork::Check { entry, node } => {
                let file = self.file(entry);
                let range = node.range(file.content.len() as u64);
                let own = node_cv(range.start, &file.content[range.start as usize..range.end as usize]);
                self.sender.checked(entry, node, Ok(own));
            }
            SenderWork::Close { entry } => {
                let changed = self.file(entry).fate == Fate::Changes;
                let unchanged = if changed { Err(Code::CHANGED.because("changed")) } else { Ok(()) };
                self.sender.closed(entry, unchanged);
            }
        }
    }

    fn carry(&mut self, lane: u64, unit: Unit) {
        self.sender.unit_begun(unit.number(), lane);
        let at_least = if self.slow == Some(lane) && !self.silent.contains(&lane) { 40_000 } else { 0 };
        let at = self.clock + at_least + 1 + self.rng.below(100 + at_least);
        self.at(at, Event::Data { lane, unit });
    }

    fn arrive(&mut self, unit: Unit) {
        match unit {
            Unit::Piece(header, len) => {
                let arrival = self.receiver.piece_arrived(&header, len).expect("it was wanted");
                if let PieceArrival::Write { .. } = arrival {
                    let node = Node { offset: header.offset, log2: 20, cv: header.cv };
                    let (unit, entry) = (header.unit, header.entry);
                    self.after(30, Event::Receiver(ReceiverWork::PieceWritten { unit, entry, node }));
                }
            }
            Unit::Pack(header) => {
                let wanted = self.receiver.pack_arrived(&header).expect("it was wanted");
                if let Some(wanted) = wanted {
                    let files = wanted.into_iter().map(|(place, entry)| {
                        let file = &header.files[place];
                        (file.entry, entry, file.error.clone().map_or(Ok(()), Err))
                    });
                    let work = ReceiverWork::PackWritten { unit: header.unit, files: files.collect() };
                    self.after(30, Event::Receiver(work));
                }
            }
        }
    }

    fn receiver_work(&mut self, work: ReceiverWork) {
        let events = match work {
            ReceiverWork::Decide(number, entry) => {
                let decision = self.decide(&entry);
                if decision == Decision::Later {
                    let publish = ReceiverWork::Publish { number, entry, digest: None };
                    self.after(30, Event::Receiver(publish));
                }
                self.receiver.decided(number, decision)
            }
            ReceiverWork::PieceWritten { unit, entry, node } => {
                if let Some(path) = self.receiver.entry(entry).map(|entry| entry.path.clone()) {
                    self.disk.stages.entry(path).or_default().push(node);
                }
                self.receiver.piece_done(unit, entry, Ok(node)).1
            }
            ReceiverWork::PackWritten { unit, files } => {
                let mut done = Vec::new();
                for (number, entry, staged) in files {
                    if staged.is_ok() {
                        let digest = Some(self.tree.files[&entry.path].digest);
                        self.after(30, Event::Receiver(ReceiverWork::Publish { number, entry, digest }));
                    }
                    done.push((number, staged));
                }
                self.receiver.pack_done(unit, done)
            }
            ReceiverWork::Publish { number, entry, digest } => {
                if let Some(digest) = digest {
                    self.disk.published.insert(entry.path.clone(), digest);
                    self.disk.stages.remove(&entry.path);
                }
                if entry.kind == EntryKind::DirEnd {
                    self.disk.dressed.insert(entry.path.clone());
                }
                self.receiver.settled(number, Ok(Vec::new()))
            }
        };
        self.follow(events);
    }

    fn decide(&mut self, entry: &Entry) -> Decision {
        if entry.kind == EntryKind::Dir {
            return Decision::Later;
        }
        let file = &self.tree.files[&entry.path];
        if file.fate == Fate::Unwritable {
            return Decision::Failed(Code::PERMISSION.because("no"));
        }
        if self.disk.published.contains_key(&entry.path) {
            return Decision::Unchanged;
        }
        let mut held = self.disk.stages.get(&entry.path).cloned().unwrap_or_default();
        held.sort_by_key(|node| node.offset);
        held.dedup_by_key(|node| node.offset);
        // Now and then what is held is not what the sender has: it must be sent again.
        if let Some(node) = held.first_mut()
            && self.rng.one_in(3)
        {
            node.cv[0] ^= 1;
        }
        Decision::Want(held)
    }

    fn follow(&mut self, events: Vec<ReceiverEvent>) {
        for event in events {
            match event {
                ReceiverEvent::Decide(entries) => {
                    // In order, as a driver does that must make a directory before it looks into it.
                    for (number, entry) in entries {
                        let at = (self.clock + 1 + self.rng.below(10)).max(self.arrival[0]);
                        self.at(at, Event::Receiver(ReceiverWork::Decide(number, entry)));
                    }
                }
                ReceiverEvent::Complete { entry: number, verified } => {
                    let entry = self.receiver.entry(number).expect("it is being published").clone();
                    let digest = Some(verified.digest());
                    self.after(30, Event::Receiver(ReceiverWork::Publish { number, entry, digest }));
                }
                ReceiverEvent::Discard { entry } => {
                    if let Some(path) = self.paths.get(&entry) {
                        self.disk.stages.remove(path);
                    }
                }
                ReceiverEvent::SetAttributes(dirs) => {
                    for (number, entry) in dirs {
                        let publish = ReceiverWork::Publish { number, entry, digest: None };
                        self.after(30, Event::Receiver(publish));
                    }
                }
                ReceiverEvent::Failed { entry, error } => {
                    let fate = self.tree.files[&entry.path].fate;
                    assert!(fate != Fate::Sound, "{:?} of {} bytes failed: {error}", entry.path, entry.size);
                }
                ReceiverEvent::SourceFailed(_) | ReceiverEvent::Ended => {}
            }
        }
        assert!(self.window.entries >= 1);
    }
}
