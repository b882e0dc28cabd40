//! The sending end of a transfer: drives `wire`'s sender over the lanes of a link (spec/wire.md, "Sender").
//!
//! One task owns the machine. Scanning, reading and sending run beside it, bounded by the receiver's window, by the
//! lanes, and by the process's budget of buffers.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sft_base::EntryPath;
use sft_lane::{Pace, Transport};
use sft_wire::message::{Entry, EntryKind, Window, frame};
use sft_wire::{ControlMessage, Job, Outcome, Sender, SenderEvent, WireError, encode_pack, encode_piece};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use crate::attribution::{Stopwatch, of_sender};
use crate::budget::SendShare;
use crate::event::{Event, EventSink, Summary};
use crate::lane_choice::{LaneChoice, LaneStanding};
use crate::link::{LaneInfo, LinkEnd, TransferPort, is_short_path};
use crate::read::{self, Offered};
use crate::scan::{self, Found};
use crate::{Counters, Manner, TransferError, View};

/// What is sent.
#[derive(Debug)]
pub struct SendJob {
    /// In this order.
    pub sources: Vec<SendSource>,
    /// Offer the digest of every file, so that contents are compared.
    pub checksum: bool,
    /// How it goes about it.
    pub manner: Manner,
    /// The receiver's windows, when they are known from the start; else they come, or a refusal does.
    pub window: Result<Window, oneshot::Receiver<Result<Window, WireError>>>,
}

/// One source of a transfer.
#[derive(Clone, Debug)]
pub struct SendSource {
    /// The store it lies in.
    pub view: View,
    /// Where.
    pub path: EntryPath,
    /// The offered path: its name, or nothing when its contents go without it.
    pub landing: EntryPath,
}

/// Sends everything, and returns when the receiver has settled all of it.
pub async fn send(port: TransferPort, job: SendJob, events: EventSink) -> Result<Summary, TransferError> {
    let (window, awaited) = match job.window {
        Ok(window) => (window, None),
        Err(awaited) => (Sender::EARLY_WINDOW, Some(awaited)),
    };
    let (results, results_in) = mpsc::unbounded_channel();
    port.link.tell_counters(port.id, &events);
    let driver = SendDriver {
        watch: Stopwatch::begin(events.clone()),
        reading: 0,
        sending: 0,
        machine: Sender::new(port.id, window),
        found: scan::start(job.sources.clone(), job.checksum),
        sources: job.sources,
        waiting: VecDeque::new(),
        scanning: true,
        offered: HashMap::new(),
        lanes: Vec::new(),
        begun: Instant::now(),
        jobs_local: 0,
        results,
        share: SendShare::join(),
        choice: LaneChoice::new(is_short_path(port.link.connection().rtt()), &job.manner),
        pace: job.manner.limit.map(Pace::new),
        background: job.manner.background,
        over: watch::Sender::new(()),
        summary: Summary::default(),
        events,
        transfer: port.id,
    };
    driver.run(port, awaited, results_in).await
}

struct SendDriver {
    transfer: u64,
    machine: Sender,
    sources: Vec<SendSource>,
    found: mpsc::Receiver<Vec<Found>>,
    /// Found and not offered yet.
    waiting: VecDeque<Found>,
    scanning: bool,
    offered: HashMap<u64, Offered>,
    lanes: Vec<LaneLoad>,
    begun: Instant,
    jobs_local: usize,
    watch: Stopwatch,
    /// Data units that are read, and that wait for a lane to take them.
    reading: usize,
    sending: usize,
    results: mpsc::UnboundedSender<Done>,
    share: SendShare,
    choice: LaneChoice,
    pace: Option<Pace>,
    background: bool,
    /// Closed when the transfer is over.
    over: watch::Sender<()>,
    summary: Summary,
    events: EventSink,
}

struct LaneLoad {
    lane: LaneInfo,
    units: usize,
    /// What its system had taken when it was looked at last.
    bytes_written: Option<u64>,
}

/// What came of work that ran beside the driver.
enum Done {
    /// A lane is handed a unit.
    Begun {
        unit: u64,
        lane: u64,
    },
    Read {
        entry: u64,
        offset: u64,
        cv: sft_base::ChainingValue,
    },
    ReadFailed {
        unit: u64,
        lane: u64,
        error: WireError,
    },
    Sent {
        unit: u64,
        lane: u64,
        transport: Transport,
        bytes: u64,
        lost: Option<String>,
    },
    Checked {
        entry: u64,
        node: sft_base::Node,
        own: Result<sft_base::ChainingValue, WireError>,
    },
    Closed {
        entry: u64,
        unchanged: Result<(), WireError>,
    },
}

impl SendDriver {
    async fn run(
        mut self,
        mut port: TransferPort,
        mut awaited: Option<oneshot::Receiver<Result<Window, WireError>>>,
        mut results: mpsc::UnboundedReceiver<Done>,
    ) -> Result<Summary, TransferError> {
        let link = port.link.clone();
        let mut lanes = link.lanes();
        let mut pending = None;
        let mut looks = tokio::time::interval(LANES_LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        lanes.mark_changed();
        loop {
            self.tell_time();
            self.offer_what_waits();
            self.give_work();
            if pending.is_none() {
                pending = self.machine.poll_frame();
            }
            if pending.is_none()
                && let Some(end) = self.machine.end()
            {
                return end
                    .clone()
                    .map(|_| std::mem::take(&mut self.summary))
                    .map_err(TransferError::Cancelled);
            }
            let looking = self.scanning && self.waiting.is_empty() && self.offered.is_empty();
            self.watch.turn(of_sender(self.reading, self.sending, self.jobs_local, looking));
            let may_scan = self.scanning && self.waiting.is_empty();
            tokio::select! {
                biased;
                end = link.ended() => return Err(end.into()),
                _ = looks.tick() => self.look_at_lanes(&link),
                message = port.control.recv() => {
                    let Some(message) = message else { return Err(link.ended().await.into()) };
                    self.handle(message, &link).await?;
                }
                permit = link.outbox().reserve(), if pending.is_some() => {
                    if let (Ok(permit), Some(message)) = (permit, pending.take()) {
                        permit.send(message);
                    }
                }
                Some(done) = results.recv() => self.take(done),
                window = async { awaited.as_mut().expect("guarded").await }, if awaited.is_some() => {
                    awaited = None;
                    match window {
                        Ok(Ok(window)) => self.machine.set_window(window),
                        Ok(Err(error)) => return Err(TransferError::Refused(error)),
                        Err(_) => return Err(link.ended().await.into()),
                    }
                }
                Ok(()) = lanes.changed() => {
                    let now = lanes.borrow_and_update().clone();
                    self.update_lanes(now);
                }
                batch = self.found.recv(), if may_scan => match batch {
                    Some(batch) => self.waiting.extend(batch),
                    None => {
                        self.scanning = false;
                        self.machine.end_offers();
                        self.events.add(|c| &c.offers_complete, 1);
                    }
                },
            }
        }
    }

    fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    fn tell_time(&mut self) {
        self.machine.set_time(self.now_ms());
    }

    fn offer_what_waits(&mut self) {
        while self.machine.may_offer() > 0 {
            let Some(found) = self.waiting.pop_front() else { break };
            match found {
                Found::Entry { entry, source, path, stat } => {
                    self.events.add(|c| &c.bytes_offered, entry.size);
                    self.events.add(|c| &c.entries_offered, counts(&entry));
                    let number = self.machine.offer(entry);
                    if stat.meta.kind == sft_base::Kind::File {
                        let view = self.sources[source].view.clone();
                        self.offered.insert(number, Offered::new(view, path, stat));
                    }
                }
                Found::Failed(failure) => {
                    self.note_failure(failure.path.clone(), failure.error.clone());
                    self.machine.fail_source(failure);
                }
            }
        }
        // What the scan found goes out before it finds more: the receiver should not wait for a page to fill.
        self.machine.flush_offers();
    }

    /// Gives every lane that has room a data unit, in turn, and does what needs no lane.
    fn give_work(&mut self) {
        // What is stuck in a silent lane must not keep the others from work.
        let trusted = self.lanes.iter().filter(|load| !self.machine.is_suspect(load.lane.id));
        let mut units: usize = trusted.map(|load| load.units).sum();
        // What waits for its time need not lie in memory.
        let most = if self.pace.is_some() { self.share.units().min(PACED_UNITS) } else { self.share.units() };
        let standing = self.lanes_standing();
        let now_ms = self.now_ms();
        let useful = self.choice.lanes(now_ms, &standing);
        if units < most
            && let Some(lane) = self.choice.probe_due(now_ms, self.bytes_left(), &standing)
            && self.give_unit(lane)
        {
            self.choice.probe_begun(lane, now_ms, &standing);
            units += 1;
        }
        let mut idle_lanes = 0;
        let mut turns = useful.iter().cycle();
        while units < most
            && idle_lanes < useful.len()
            && let Some(&lane) = turns.next()
        {
            if self.give_unit(lane) {
                units += 1;
                idle_lanes = 0;
            } else {
                idle_lanes += 1;
            }
        }
        while self.jobs_local < LOCAL_JOBS_MAX
            && let Some(job) = self.machine.poll_local_job()
        {
            self.jobs_local += 1;
            self.spawn_local(job);
        }
    }

    /// Gives a lane a data unit, if it has room and there is one for it.
    fn give_unit(&mut self, lane: u64) -> bool {
        let Some(load) = self.lanes.iter_mut().find(|load| load.lane.id == lane) else { return false };
        // One more than the lane sends at once, so that the next is read meanwhile.
        if load.units > load.lane.sender.parallel() {
            return false;
        }
        let Some(job) = self.machine.poll_job(lane) else { return false };
        load.units += 1;
        let lane = load.lane.clone();
        self.spawn_unit(job, lane);
        true
    }

    /// Bytes that are offered and neither came nor were there: at least so many are left.
    fn bytes_left(&self) -> u64 {
        let counters = self.events.counters();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let settled = read(&counters.bytes_moved).saturating_add(read(&counters.bytes_kept));
        read(&counters.bytes_offered).saturating_sub(settled)
    }

    fn lanes_standing(&self) -> Vec<LaneStanding> {
        let standing = |load: &LaneLoad| LaneStanding {
            id: load.lane.id,
            transport: load.lane.transport,
            is_sound: !self.machine.is_suspect(load.lane.id),
            bytes: self.machine.bytes_acknowledged(load.lane.id),
        };
        self.lanes.iter().map(standing).collect()
    }

    fn spawn_unit(&mut self, job: Job, lane: LaneInfo) {
        let transfer = self.transfer;
        let way =
            Way { lane, pace: self.pace.clone(), results: self.results.clone(), over: self.over.subscribe() };
        match job {
            Job::Pack { unit, files } => {
                let files: Vec<_> =
                    files.into_iter().filter_map(|(n, _)| Some((n, self.offered.get(&n)?.clone()))).collect();
                self.note_reading(files.first().map(|(_, file)| file));
                tokio::spawn(async move {
                    let buffer = SendShare::buffer().await;
                    let (header, content) = blocking(move || read::pack(transfer, unit, files)).await;
                    let header = encode_pack(&header);
                    way.send(frame::PACK, unit, header, content, buffer).await;
                });
            }
            Job::Piece { unit, entry, range } => {
                let Some(file) = self.offered.get(&entry).cloned() else { return };
                self.note_reading(Some(&file));
                let events = self.events.clone();
                tokio::spawn(async move {
                    let buffer = SendShare::buffer().await;
                    match blocking(move || read::piece(transfer, unit, entry, range, &file, events)).await {
                        Ok((header, content)) => {
                            let _ =
                                way.results.send(Done::Read { entry, offset: header.offset, cv: header.cv });
                            let header = encode_piece(&header);
                            way.send(frame::PIECE, unit, header, content, buffer).await;
                        }
                        Err(error) => {
                            let lane = way.lane.id;
                            let _ = way.results.send(Done::ReadFailed { unit, lane, error });
                        }
                    }
                });
            }
            Job::Check { .. } | Job::Close { .. } => self.spawn_local(job),
        }
    }

    /// A data unit is about to be read.
    fn note_reading(&mut self, file: Option<&Offered>) {
        self.reading += 1;
        file.into_iter().for_each(|file| self.events.counters().times.note(&file.path));
    }

    fn spawn_local(&self, job: Job) {
        let results = self.results.clone();
        let file = |entry: &u64| self.offered.get(entry).cloned();
        let work: Box<dyn FnOnce() -> Option<Done> + Send> = match job {
            Job::Check { entry, node } => {
                let file = file(&entry);
                Box::new(move || {
                    let file = file?;
                    let own = file.hash_range(node.range(file.stat.meta.size));
                    Some(Done::Checked { entry, node, own })
                })
            }
            Job::Close { entry } => {
                let file = file(&entry);
                Box::new(move || Some(Done::Closed { entry, unchanged: file?.close() }))
            }
            Job::Pack { .. } | Job::Piece { .. } => return,
        };
        tokio::task::spawn_blocking(move || work().map(|done| results.send(done)));
    }

    fn take(&mut self, done: Done) {
        self.tell_time();
        match done {
            Done::Read { entry, offset, cv } => self.machine.piece_read(entry, offset, cv),
            Done::ReadFailed { unit, lane, error } => {
                self.reading -= 1;
                self.unload(lane);
                self.machine.piece_failed(unit, lane, error);
            }
            Done::Begun { unit, lane } => {
                self.reading -= 1;
                self.sending += 1;
                self.machine.unit_begun(unit, lane);
            }
            Done::Sent { unit, lane, transport, bytes, lost } => {
                self.sending -= 1;
                self.unload(lane);
                match lost {
                    None => {
                        self.machine.unit_taken(unit, lane);
                        self.events.add(by_transport(transport), bytes);
                    }
                    Some(reason) => self.lose_lane(lane, reason),
                }
            }
            Done::Checked { entry, node, own } => {
                self.jobs_local -= 1;
                for event in self.machine.checked(entry, node, own) {
                    self.note(event);
                }
            }
            Done::Closed { entry, unchanged } => {
                self.jobs_local -= 1;
                self.machine.closed(entry, unchanged);
            }
        }
    }

    /// Tells the machine which lanes move, and gives those up that are silent. Over QUIC the connection tells by itself.
    fn look_at_lanes(&mut self, link: &crate::Link) {
        self.tell_time();
        for load in &mut self.lanes {
            if self.background {
                // A client that has moved, or another transfer that has ended, may have undone it.
                load.lane.sender.yield_to_others(true);
            }
            let bytes_written = load.lane.sender.bytes_written();
            if load.bytes_written != bytes_written {
                load.bytes_written = bytes_written;
                self.machine.lane_moved(load.lane.id);
            }
        }
        for id in self.machine.silent_lanes() {
            let is_tcp = |load: &LaneLoad| load.lane.id == id && load.lane.transport == Transport::Tcp;
            if self.lanes.iter().any(is_tcp) {
                link.give_up_lane(id);
                self.lose_lane(id, "nothing was heard of what it carries".into());
            }
        }
    }

    fn unload(&mut self, lane: u64) {
        if let Some(load) = self.lanes.iter_mut().find(|load| load.lane.id == lane) {
            load.units -= 1;
        }
    }

    fn update_lanes(&mut self, now: Vec<LaneInfo>) {
        let gone: Vec<u64> = self.lanes.iter().map(|load| load.lane.id).collect();
        for lane in gone.into_iter().filter(|id| now.iter().all(|lane| lane.id != *id)) {
            self.lose_lane(lane, "its connection ended".into());
        }
        for lane in now {
            if self.lanes.iter().all(|load| load.lane.id != lane.id) {
                self.events.tell(Event::LaneUp { transport: lane.transport });
                if self.background {
                    lane.sender.yield_to_others(true);
                }
                let bytes_written = lane.sender.bytes_written();
                self.lanes.push(LaneLoad { lane, units: 0, bytes_written });
            }
        }
    }

    fn lose_lane(&mut self, id: u64, reason: String) {
        if let Some(place) = self.lanes.iter().position(|load| load.lane.id == id) {
            let load = self.lanes.swap_remove(place);
            self.events.tell(Event::LaneDown { transport: load.lane.transport, reason });
        }
        self.machine.lane_lost(id);
    }

    async fn handle(&mut self, message: ControlMessage, link: &crate::Link) -> Result<(), TransferError> {
        self.tell_time();
        match self.machine.handle(message) {
            Ok(events) => {
                events.into_iter().for_each(|event| self.note(event));
                Ok(())
            }
            Err(error) => {
                link.close(Some(error.clone())).await;
                Err(LinkEnd::Misbehaved(error).into())
            }
        }
    }

    fn note(&mut self, event: SenderEvent) {
        match event {
            SenderEvent::Settled { number, entry, outcome } => {
                self.offered.remove(&number);
                self.events.add(|c| &c.entries_settled, counts(&entry));
                match outcome {
                    Outcome::Committed => {
                        self.summary.committed += counts(&entry);
                        self.events.add(|c| &c.entries_committed, counts(&entry));
                    }
                    Outcome::Unchanged => {
                        self.summary.unchanged += counts(&entry);
                        self.events.add(|c| &c.bytes_kept, entry.size);
                    }
                    Outcome::Failed(error) => self.note_failure(entry.path, error),
                }
            }
            SenderEvent::Unapplied { path, unapplied, .. } => {
                let (attribute, error) = (unapplied.attribute, unapplied.error);
                self.events.add(|c| &c.unapplied, 1);
                self.summary.add_unapplied(path.clone(), attribute.clone(), error.clone());
                self.events.tell(Event::Unapplied { path, attribute, error });
            }
            SenderEvent::Acknowledged { bytes } => self.events.add(|c| &c.bytes_moved, bytes),
            SenderEvent::Kept { bytes } => self.events.add(|c| &c.bytes_kept, bytes),
            SenderEvent::Ended => {}
        }
    }

    fn note_failure(&mut self, path: EntryPath, error: WireError) {
        self.summary.add_failure(path.clone(), error.clone());
        self.events.tell(Event::Failed { path, error });
    }
}

impl Drop for SendDriver {
    fn drop(&mut self) {
        if self.background {
            self.lanes.iter().for_each(|load| load.lane.sender.yield_to_others(false));
        }
    }
}

/// What an entry counts to people: the end of a directory is not another one.
pub(crate) fn counts(entry: &Entry) -> u64 {
    u64::from(entry.kind != EntryKind::DirEnd)
}

/// The counter of bytes over a transport.
pub(crate) fn by_transport(transport: Transport) -> impl Fn(&Counters) -> &AtomicU64 {
    move |counters| match transport {
        Transport::Quic => &counters.bytes_quic,
        Transport::Tcp => &counters.bytes_tcp,
    }
}

/// Runs what may block on the pool of blocking threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// What a unit needs to go out.
struct Way {
    lane: LaneInfo,
    pace: Option<Pace>,
    results: mpsc::UnboundedSender<Done>,
    over: watch::Receiver<()>,
}

impl Way {
    async fn send(
        self,
        ty: u64,
        unit: u64,
        header: Vec<u8>,
        content: bytes::Bytes,
        buffer: OwnedSemaphorePermit,
    ) {
        let Self { lane, pace, results, mut over } = self;
        let bytes = content.len() as u64;
        // A driver that is gone wants no results.
        let _ = results.send(Done::Begun { unit, lane: lane.id });
        // What is oldest goes first: a receiver waits for it longest.
        let priority = i32::MAX - (unit % (i32::MAX as u64)) as i32;
        let sending = lane.sender.send_at(pace.as_ref(), ty, header.into(), content, priority);
        let sent = tokio::select! {
            sent = SendShare::hand_over(buffer, sending) => sent,
            // What is held back would go on for a long time when nobody wants it any more.
            _ = over.changed(), if pace.is_some() => return,
        };
        let lost = sent.err().map(|error| error.to_string());
        let _ = results.send(Done::Sent { unit, lane: lane.id, transport: lane.transport, bytes, lost });
    }
}

/// Data units of a transfer with a limit that are on their way at a time.
const PACED_UNITS: usize = 2;
/// How often lanes are looked at, and work is given out whatever happens: towards its end little else wakes a transfer.
const LANES_LOOK: Duration = Duration::from_millis(200);
/// Files that are compared or looked at again at a time.
const LOCAL_JOBS_MAX: usize = 4;
