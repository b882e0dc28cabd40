//! The receiving end of a transfer: drives `wire`'s receiver onto a store (spec/wire.md, "Receiver").
//!
//! One task owns the machine. Looking at the store, verifying, writing and publishing run beside it on blocking threads,
//! a bounded number at a time.

use std::collections::VecDeque;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sft_base::EntryPath;
use sft_lane::Transport;
use sft_wire::message::{Cancel, Durability, Entry, EntryKind, Place, PublishMode, Unapplied, Window};
use sft_wire::{ControlMessage, PieceArrival, Receiver, ReceiverEvent, WireError};
use tokio::sync::mpsc;

use crate::View;
use crate::attribution::{Stopwatch, Wait, Waiting, of_receiver};
use crate::budget::ReceiveShare;
use crate::commit::{self, Commit, Committed, What};
use crate::event::{Event, EventSink, Summary};
use crate::gather::{Gather, is_small};
use crate::link::{Arrival, DataUnit, LaneInfo, Link, LinkEnd, TransferPort};
use crate::place::Destination;
use crate::send::{blocking, by_transport, counts};
use crate::transfer_error::TransferError;
use crate::write::{Decided, Writer};

/// Where what comes is put, and how.
#[derive(Debug)]
pub struct ReceiveJob {
    /// The store.
    pub view: View,
    /// Where in it.
    pub path: EntryPath,
    /// How `path` is meant.
    pub place: Place,
    /// What happens to what is there.
    pub publish: PublishMode,
    /// When a commit counts as durable.
    pub durability: Durability,
    /// Whether set-user-ID and set-group-ID bits are taken over.
    pub keep_set_id: bool,
}

/// A transfer that can be received: its destination is resolved, and it has its share of the memory.
pub struct Reception {
    writer: Writer,
    share: ReceiveShare,
    window: Window,
}

impl Reception {
    /// Looks at the destination; under [`Place::Into`] it is made a directory.
    pub async fn prepare(job: ReceiveJob) -> Result<Self, WireError> {
        let ReceiveJob { view, path, place, publish, durability, keep_set_id } = job;
        let resolving = view.clone();
        let destination = blocking(move || Destination::resolve(&resolving, path, place)).await?;
        let share = ReceiveShare::join();
        let window = share.window();
        let writer = Writer::new(view, destination, publish, durability, keep_set_id);
        Ok(Self { writer, share, window })
    }

    /// The windows to grant.
    pub fn window(&self) -> Window {
        self.window
    }

    /// Whether sources keep their names below the destination.
    pub fn is_into(&self) -> bool {
        self.writer.destination.is_into()
    }

    /// Receives everything that is offered, and returns when all of it is settled.
    pub async fn receive(self, port: TransferPort, events: EventSink) -> Result<Summary, TransferError> {
        let Self { writer, share, window } = self;
        port.set_data_limit(window);
        let (results, results_in) = mpsc::unbounded_channel();
        port.link.tell_counters(port.id, &events);
        let driver = ReceiveDriver {
            watch: Stopwatch::begin(events.clone()),
            machine: Receiver::new(port.id, window),
            writer,
            share,
            to_decide: VecDeque::new(),
            deciding: false,
            arrived: VecDeque::new(),
            writes: 0,
            gather: Gather::new(window.entries),
            to_commit: Vec::new(),
            named: Vec::new(),
            committing: false,
            kept: false,
            results,
            lanes: Vec::new(),
            summary: Summary::default(),
            events,
        };
        driver.run_and_clear(port, results_in).await
    }
}

impl std::fmt::Debug for Reception {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { writer, share: _, window } = self;
        f.debug_struct("Reception")
            .field("destination", &writer.destination)
            .field("window", window)
            .finish_non_exhaustive()
    }
}

struct ReceiveDriver {
    machine: Receiver,
    writer: Writer,
    share: ReceiveShare,
    /// Batches in the order of their numbers: a directory is made before what is in it is looked at.
    to_decide: VecDeque<Vec<(u64, Entry)>>,
    deciding: bool,
    /// Data units that wait for a thread.
    arrived: VecDeque<Arrival>,
    writes: usize,
    /// New directories that are not complete.
    gather: Gather,
    to_commit: Vec<Commit>,
    /// What has its name, which is not durable yet.
    named: Vec<Committed>,
    committing: bool,
    /// Something was found in place, and nothing was flushed since: an earlier attempt may have ended before it did.
    kept: bool,
    results: mpsc::UnboundedSender<Finished>,
    lanes: Vec<LaneInfo>,
    watch: Stopwatch,
    summary: Summary,
    events: EventSink,
}

/// What came of work that ran beside the driver.
enum Finished {
    Decided(Vec<Decided>),
    Piece {
        unit: u64,
        entry: u64,
        bytes: u64,
        transport: Transport,
        written: Result<sft_base::Node, WireError>,
    },
    Pack {
        unit: u64,
        bytes: u64,
        transport: Transport,
        files: Vec<(u64, Result<Commit, WireError>)>,
    },
    Staged {
        entry: u64,
        staged: Result<Commit, WireError>,
    },
    Committed(commit::Step),
}

impl ReceiveDriver {
    async fn run_and_clear(
        mut self,
        port: TransferPort,
        results: mpsc::UnboundedReceiver<Finished>,
    ) -> Result<Summary, TransferError> {
        let ended = self.run(port, results).await;
        // What was staged and is not to be published is removed, by thousands of files perhaps, from a disk that may be slow.
        blocking(move || drop(self)).await;
        ended
    }

    async fn run(
        &mut self,
        mut port: TransferPort,
        mut results: mpsc::UnboundedReceiver<Finished>,
    ) -> Result<Summary, TransferError> {
        let link = port.link.clone();
        let mut lanes = link.lanes();
        let mut pending = None;
        lanes.mark_changed();
        loop {
            self.give_work(&link).await?;
            if pending.is_none() {
                // It grows when another transfer ends; what may wait here must grow with it, before the peer is told.
                let window = self.share.window();
                port.set_data_limit(window);
                self.machine.set_window(window);
                self.gather.set_window(window.entries);
                pending = self.machine.poll_frame();
                if matches!(pending, Some(ControlMessage::Done(_))) {
                    self.flush_kept(port.id, &link).await?;
                }
            }
            if pending.is_none()
                && let Some(end) = self.machine.end()
            {
                return end
                    .clone()
                    .map(|_| std::mem::take(&mut self.summary))
                    .map_err(TransferError::Cancelled);
            }
            let (queued, to_come) = (!self.arrived.is_empty(), self.content_to_come());
            self.watch.turn(of_receiver(self.writes, queued, self.deciding, self.committing, to_come));
            tokio::select! {
                biased;
                end = link.ended() => return Err(end.into()),
                message = port.control.recv() => {
                    let Some(message) = message else { return Err(link.ended().await.into()) };
                    self.handle(message, &link).await?;
                }
                Some(finished) = results.recv() => self.take(finished),
                permit = link.outbox().reserve(), if pending.is_some() => {
                    if let (Ok(permit), Some(message)) = (permit, pending.take()) {
                        permit.send(message);
                    }
                }
                () = at(self.gather.deadline()), if !self.committing => {}
                Some(arrival) = port.data.recv() => self.arrived.push_back(arrival),
                Ok(()) = lanes.changed() => {
                    let now = lanes.borrow_and_update().clone();
                    self.update_lanes(now);
                }
            }
        }
    }

    /// Makes durable what was found in place, before all is said to be done.
    async fn flush_kept(&mut self, transfer: u64, link: &Link) -> Result<(), TransferError> {
        if !self.kept || self.writer.durability == Durability::None {
            return Ok(());
        }
        self.watch.turn(Waiting::For(Wait::Flushing));
        let view = self.writer.view.clone();
        if let Err(error) = blocking(move || view.flush()).await {
            link.send(Cancel { transfer, error: error.clone() }).await;
            return Err(TransferError::Local(error));
        }
        Ok(())
    }

    async fn handle(&mut self, message: ControlMessage, link: &Link) -> Result<(), TransferError> {
        if let ControlMessage::Offer(offer) = &message {
            self.count_offer(&offer.entries, offer.last);
            self.gather.offered(offer.first, &offer.entries, offer.last, &mut self.to_commit);
        }
        match self.machine.handle(message) {
            Ok(events) => {
                self.follow(events);
                Ok(())
            }
            Err(error) => Err(misbehaved(link, error).await),
        }
    }

    /// Whether content of what was offered has neither come nor was there.
    fn content_to_come(&self) -> bool {
        let counters = self.events.counters();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        read(&counters.bytes_offered) > read(&counters.bytes_moved).saturating_add(read(&counters.bytes_kept))
    }

    fn count_offer(&self, entries: &[Entry], last: bool) {
        self.events.add(|c| &c.entries_offered, entries.iter().map(counts).sum());
        self.events.add(|c| &c.bytes_offered, entries.iter().map(|entry| entry.size).sum());
        self.events.counters().offers_complete.fetch_max(u64::from(last), Ordering::Relaxed);
    }

    fn follow(&mut self, events: Vec<ReceiverEvent>) {
        for event in events {
            match event {
                ReceiverEvent::Decide(batch) => self.to_decide.push_back(batch),
                ReceiverEvent::SourceFailed(failures) => {
                    failures.into_iter().for_each(|failure| self.note_failure(failure.path, failure.error));
                }
                ReceiverEvent::Complete { entry, verified } => self.finish_stage(entry, verified),
                ReceiverEvent::Discard { entry } => {
                    let writer = self.writer.clone();
                    tokio::task::spawn_blocking(move || writer.discard_stage(entry));
                }
                ReceiverEvent::SetAttributes(dirs) => {
                    for (number, entry) in dirs {
                        match self.writer.dressing(number, &entry) {
                            Ok(commit) => self.to_commit.push(commit),
                            Err(error) => self.settle(number, Err(error)),
                        }
                    }
                }
                ReceiverEvent::Failed { entry, error } => {
                    self.events.add(|c| &c.entries_settled, 1);
                    self.note_failure(entry.path, error);
                }
                ReceiverEvent::Ended => {}
            }
        }
    }

    fn finish_stage(&mut self, entry: u64, verified: sft_base::Verified) {
        let Some(offered) = self.machine.entry(entry).cloned() else { return };
        let (writer, results) = (self.writer.clone(), self.results.clone());
        tokio::task::spawn_blocking(move || {
            let staged = writer.finish_stage(entry);
            let staged = staged.and_then(|staged| writer.publication(entry, &offered, staged, verified));
            // A driver that is gone wants no results.
            let _ = results.send(Finished::Staged { entry, staged });
        });
    }

    /// Starts what there is a thread for.
    async fn give_work(&mut self, link: &Link) -> Result<(), TransferError> {
        if !self.deciding
            && let Some(batch) = self.to_decide.pop_front()
        {
            self.deciding = true;
            let (writer, results) = (self.writer.clone(), self.results.clone());
            tokio::task::spawn_blocking(move || {
                let decided = writer.decide_all(&batch);
                // A driver that is gone wants no results.
                let _ = results.send(Finished::Decided(decided));
            });
        }
        while self.writes < *WRITES_MAX
            && let Some(arrival) = self.arrived.pop_front()
        {
            if let Err(error) = self.start_write(arrival) {
                return Err(misbehaved(link, error).await);
            }
        }
        self.gather.release_late(&mut self.to_commit);
        let nothing_to_commit = self.to_commit.is_empty() && self.named.is_empty();
        if !self.committing && !nothing_to_commit {
            self.committing = true;
            self.kept = false;
            let named = std::mem::take(&mut self.named);
            let most = self.to_commit.len().min(COMMITS_MAX);
            let batch: Vec<Commit> = self.to_commit.drain(..most).collect();
            let (view, durability) = (self.writer.view.clone(), self.writer.durability);
            let results = self.results.clone();
            tokio::task::spawn_blocking(move || {
                // A driver that is gone wants no results.
                let _ = results.send(Finished::Committed(commit::step(&view, durability, named, batch)));
            });
        }
        Ok(())
    }

    fn start_write(&mut self, arrival: Arrival) -> Result<(), WireError> {
        let (transport, unit, weight) = arrival.into_unit();
        let (writer, results) = (self.writer.clone(), self.results.clone());
        match unit {
            DataUnit::Piece(header, content) => {
                match self.machine.piece_arrived(&header, content.len() as u64)? {
                    PieceArrival::Forget => return Ok(()),
                    PieceArrival::Write { .. } => {}
                }
                self.note_writing(header.entry);
                let events = self.events.clone();
                tokio::task::spawn_blocking(move || {
                    let written = writer.write_piece(&header, &content, &events.counters().times);
                    let (unit, entry, bytes) = (header.unit, header.entry, content.len() as u64);
                    drop(weight);
                    // A driver that is gone wants no results.
                    let _ = results.send(Finished::Piece { unit, entry, bytes, transport, written });
                });
            }
            DataUnit::Pack(header, content) => {
                let Some(wanted) = self.machine.pack_arrived(&header)? else { return Ok(()) };
                self.note_writing(header.files.first().map_or(0, |file| file.entry));
                tokio::task::spawn_blocking(move || {
                    let files = writer.write_pack(&header, &content, wanted);
                    let (unit, bytes) = (header.unit, content.len() as u64);
                    drop(weight);
                    // A driver that is gone wants no results.
                    let _ = results.send(Finished::Pack { unit, bytes, transport, files });
                });
            }
        }
        Ok(())
    }

    /// A data unit is about to be verified and written.
    fn note_writing(&mut self, entry: u64) {
        self.writes += 1;
        if let Some(entry) = self.machine.entry(entry) {
            self.events.counters().times.note(&entry.path);
        }
    }

    fn take(&mut self, finished: Finished) {
        match finished {
            Finished::Decided(batch) => {
                self.deciding = false;
                batch.into_iter().for_each(|decided| self.take_decided(decided));
            }
            Finished::Piece { unit, entry, bytes, transport, written } => {
                self.writes -= 1;
                self.count_moved(bytes, transport, written.is_ok());
                if let Err(error) = &written {
                    self.note_entry_failure(entry, error.clone());
                }
                let (record, events) = self.machine.piece_done(unit, entry, written);
                if !record.is_empty() {
                    let writer = self.writer.clone();
                    tokio::task::spawn_blocking(move || writer.record(entry, &record));
                }
                self.follow(events);
            }
            Finished::Pack { unit, bytes, transport, files } => {
                self.writes -= 1;
                self.count_moved(bytes, transport, true);
                let mut staged = Vec::with_capacity(files.len());
                for (number, file) in files {
                    if file.is_err() {
                        self.note_lost(number);
                    }
                    staged.push((number, file.map(|commit| self.take_commit(commit))));
                }
                let events = self.machine.pack_done(unit, staged);
                self.follow(events);
            }
            Finished::Staged { entry, staged } => match staged {
                Ok(commit) => self.take_commit(commit),
                Err(error) => self.settle(entry, Err(error)),
            },
            Finished::Committed(commit::Step { settled, named }) => {
                self.committing = false;
                self.named = named;
                settled.into_iter().for_each(|(number, published)| self.settle(number, published));
            }
        }
    }

    fn take_decided(&mut self, Decided { number, decision, commit }: Decided) {
        use sft_wire::Decision;
        let size = self.machine.entry(number).map_or(0, |entry| entry.size);
        match &decision {
            Decision::Unchanged => {
                self.events.add(|c| &c.entries_settled, 1);
                self.events.add(|c| &c.bytes_kept, size);
                self.summary.unchanged += 1;
                self.kept = true;
            }
            Decision::Want(held) => {
                let held = held.iter().map(|node| node.range(size)).map(|r| r.end - r.start).sum();
                self.events.add(|c| &c.bytes_kept, held);
            }
            Decision::Failed(error) => {
                self.events.add(|c| &c.entries_settled, 1);
                self.note_lost(number);
                self.note_entry_failure(number, error.clone());
            }
            Decision::Later => {}
        }
        let is_new_dir = commit.as_ref().is_some_and(|commit| matches!(commit.what, What::NewDir { .. }));
        if !is_new_dir {
            self.gather.is_not_new(number);
        }
        commit.into_iter().for_each(|commit| self.take_commit(commit));
        let events = self.machine.decided(number, decision);
        self.follow(events);
    }

    /// Commits what there is to be committed, at once or with what it belongs to.
    fn take_commit(&mut self, commit: Commit) {
        let path = self.machine.entry(commit.number).map(|entry| &entry.path);
        self.gather.take(commit, path, &mut self.to_commit);
    }

    /// A small file fails before it is staged: its directory does not wait for it.
    fn note_lost(&mut self, number: u64) {
        if let Some(entry) = self.machine.entry(number).filter(|entry| is_small(entry)) {
            self.gather.failed(&entry.path, &mut self.to_commit);
        }
    }

    fn settle(&mut self, number: u64, published: Result<Vec<Unapplied>, WireError>) {
        if let Some(entry) = self.machine.entry(number).cloned() {
            self.events.add(|c| &c.entries_settled, counts(&entry));
            match &published {
                Ok(unapplied) => {
                    self.summary.committed += counts(&entry);
                    self.events.add(|c| &c.entries_committed, counts(&entry));
                    unapplied.iter().for_each(|unapplied| self.note_unapplied(&entry.path, unapplied));
                }
                Err(error) => {
                    if entry.kind == EntryKind::Dir {
                        self.writer.note_undone(&entry.path);
                    }
                    self.note_failure(entry.path, error.clone());
                }
            }
        }
        let events = self.machine.settled(number, published);
        self.follow(events);
    }

    fn note_unapplied(&mut self, path: &EntryPath, unapplied: &Unapplied) {
        let Unapplied { attribute, error } = unapplied.clone();
        self.events.add(|c| &c.unapplied, 1);
        self.summary.add_unapplied(path.clone(), attribute.clone(), error.clone());
        self.events.tell(Event::Unapplied { path: path.clone(), attribute, error });
    }

    fn count_moved(&self, bytes: u64, transport: Transport, verified: bool) {
        if verified {
            self.events.add(|c| &c.bytes_moved, bytes);
        }
        self.events.add(by_transport(transport), bytes);
    }

    fn update_lanes(&mut self, now: Vec<LaneInfo>) {
        for gone in self.lanes.iter().filter(|lane| now.iter().all(|other| other.id != lane.id)) {
            let reason = "its connection ended".into();
            self.events.tell(Event::LaneDown { transport: gone.transport, reason });
        }
        for new in now.iter().filter(|lane| self.lanes.iter().all(|other| other.id != lane.id)) {
            self.events.tell(Event::LaneUp { transport: new.transport });
        }
        self.lanes = now;
    }

    fn note_entry_failure(&mut self, number: u64, error: WireError) {
        if let Some(path) = self.machine.entry(number).map(|entry| entry.path.clone()) {
            self.note_failure(path, error);
        }
    }

    fn note_failure(&mut self, path: EntryPath, error: WireError) {
        self.summary.add_failure(path.clone(), error.clone());
        self.events.tell(Event::Failed { path, error });
    }
}

/// Comes when the time does.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

async fn misbehaved(link: &Link, error: WireError) -> TransferError {
    link.close(Some(error.clone())).await;
    LinkEnd::Misbehaved(error).into()
}

/// Data units that are verified and written at a time: two for each processor, because while one is written to disk directly
/// another can be verified.
static WRITES_MAX: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(4, |count| (2 * count.get()).clamp(2, 8)));
/// Entries that are published between two flushes.
const COMMITS_MAX: usize = 4096;
