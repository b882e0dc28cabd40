//! One session's lanes, seen from either end: what comes is handed to whom it is for, what goes is written in turn.
//!
//! A link knows sessions and transfers by number only. It ends when its control lane does; whoever opened it dials again.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sft_base::limits;
use sft_lane::{
    Carried, ConnectionHandle, ControlReader, ControlWriter, DataReceiver, DataSender, LaneError, Transport,
};
use sft_wire::message::{Close, Op, PackHeader, PieceHeader, Ping, Reply, Request, Window, frame};
use sft_wire::{Code, ControlMessage, Misbehaved, WireError, decode_pack, decode_piece};
use tokio::sync::{mpsc, watch};

use crate::measure::Measures;
use crate::{Counters, EventSink};

/// A session's lanes. Clones share them.
#[derive(Clone, Debug)]
pub struct Link(Arc<Shared>);

/// Which end this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends requests.
    Client,
    /// Answers them.
    Server,
}

/// What a session's owner is told.
#[derive(Debug)]
pub enum SessionEvent {
    /// To be answered. For a `push` or `pull` that may begin, its port: it is there before anything else is read.
    Request(Request, Option<TransferPort>),
    /// An answer.
    Reply(Reply),
}

/// Why a link ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkEnd {
    /// This end closed it.
    #[error("the session was closed")]
    Ours,
    /// The peer closed it.
    #[error("the other side closed the session{}", .0.as_ref().map_or_else(String::new, |e| format!(": {e}")))]
    Closed(Option<WireError>),
    /// The control lane broke, or nothing came for too long.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The peer broke the protocol.
    #[error("the other side broke the protocol: {0}")]
    Misbehaved(WireError),
}

/// A data lane that is up.
#[derive(Clone, Debug)]
pub struct LaneInfo {
    /// Number within the link, never used again.
    pub id: u64,
    /// What it runs on.
    pub transport: Transport,
    /// Sends data frames.
    pub sender: DataSender,
}

/// What one transfer hears and says.
#[derive(Debug)]
pub struct TransferPort {
    /// Number of the transfer, which is that of its request.
    pub id: u64,
    pub(crate) link: Link,
    pub(crate) control: mpsc::Receiver<ControlMessage>,
    pub(crate) data: mpsc::UnboundedReceiver<Arrival>,
    account: Arc<Account>,
}

/// A data unit that came.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) transport: Transport,
    pub(crate) unit: DataUnit,
    weight: Weight,
}

/// A data unit, its header read.
#[derive(Debug)]
pub(crate) enum DataUnit {
    Piece(PieceHeader, Bytes),
    Pack(PackHeader, Bytes),
}

#[derive(Debug)]
struct Shared {
    role: Role,
    outbox: mpsc::Sender<ControlMessage>,
    ports: Mutex<HashMap<u64, PortEntry>>,
    lanes: watch::Sender<Vec<LaneInfo>>,
    lane_next: AtomicU64,
    measures: Measures,
    /// The counts of the transfers that began last.
    told: Mutex<VecDeque<(u64, Arc<Counters>)>>,
    end: watch::Sender<Option<LinkEnd>>,
    connection: ConnectionHandle,
    started: Instant,
    heard_ms: AtomicU64,
}

#[derive(Clone, Debug)]
struct PortEntry {
    control: mpsc::Sender<ControlMessage>,
    data: mpsc::UnboundedSender<Arrival>,
    account: Arc<Account>,
}

/// Bytes of data frames that came for a transfer and are not worked on yet, and how many there may be.
#[derive(Debug)]
struct Account {
    waiting: AtomicU64,
    limit: AtomicU64,
}

/// What one unit weighs in an [`Account`], until it is dropped.
#[derive(Debug)]
struct Weight {
    account: Arc<Account>,
    bytes: u64,
}

impl Link {
    /// Takes over a control lane whose session is open.
    pub fn start(
        reader: ControlReader,
        writer: ControlWriter,
        connection: ConnectionHandle,
        role: Role,
    ) -> (Self, mpsc::Receiver<SessionEvent>) {
        let (link, events, ()) = Self::start_with(reader, writer, connection, role, |_| ());
        (link, events)
    }

    /// The same, with something done before the first frame is read: who asked for a transfer already opens its port.
    pub fn start_with<T>(
        reader: ControlReader,
        writer: ControlWriter,
        connection: ConnectionHandle,
        role: Role,
        first: impl FnOnce(&Self) -> T,
    ) -> (Self, mpsc::Receiver<SessionEvent>, T) {
        let (outbox, outgoing) = mpsc::channel(OUTBOX_MAX);
        let (events, session) = mpsc::channel(limits::REQUESTS_OPEN_MAX);
        let link = Self(Arc::new(Shared {
            role,
            outbox,
            ports: Mutex::default(),
            lanes: watch::Sender::default(),
            lane_next: AtomicU64::new(0),
            measures: Measures::default(),
            told: Mutex::default(),
            end: watch::Sender::new(None),
            connection,
            started: Instant::now(),
            heard_ms: AtomicU64::new(0),
        }));
        let first = first(&link);
        tokio::spawn(link.clone().write_control(writer, outgoing));
        tokio::spawn(link.clone().read_control(reader, events));
        tokio::spawn(link.clone().watch_silence());
        (link, session, first)
    }

    /// Adds a data lane; it goes when its connection does.
    pub fn add_lane(&self, transport: Transport, sender: DataSender, receiver: DataReceiver) {
        let id = self.0.lane_next.fetch_add(1, Ordering::Relaxed);
        self.0.lanes.send_modify(|lanes| lanes.push(LaneInfo { id, transport, sender }));
        tokio::spawn(self.clone().read_lane(id, transport, receiver));
    }

    /// Ends a data lane over TCP that is silent; the client dials another. What it carried is sent again.
    pub fn give_up_lane(&self, id: u64) {
        self.0.lanes.send_if_modified(|lanes| {
            let silent = lanes.iter().position(|lane| lane.id == id && lane.transport == Transport::Tcp);
            silent.map(|place| lanes.remove(place).sender.give_up()).is_some()
        });
    }

    /// The data lanes that are up, and word of changes.
    pub fn lanes(&self) -> watch::Receiver<Vec<LaneInfo>> {
        self.0.lanes.subscribe()
    }

    /// Bytes that each of the lanes that are up has carried so far, by its number: headers and repetitions included.
    pub fn bytes_carried(&self) -> Vec<(u64, Carried)> {
        self.0.lanes.borrow().iter().map(|lane| (lane.id, lane.sender.bytes_carried())).collect()
    }

    pub(crate) fn measures(&self) -> &Measures {
        &self.0.measures
    }

    /// The counts of a transfer of this session, if it is one of those that began last.
    pub fn counters_of(&self, transfer: u64) -> Option<Arc<Counters>> {
        let told = self.0.told.lock().expect("no holder of this lock panics");
        told.iter().rev().find(|(id, _)| *id == transfer).map(|(_, counters)| counters.clone())
    }

    pub(crate) fn tell_counters(&self, transfer: u64, events: &EventSink) {
        let mut told = self.0.told.lock().expect("no holder of this lock panics");
        told.push_back((transfer, events.counters().clone()));
        if told.len() > limits::TRANSFERS_OPEN_MAX {
            told.pop_front();
        }
    }

    /// Sends a message on the control lane, in turn. Waits while the peer is slow; does nothing once the link has ended.
    pub async fn send(&self, message: impl Into<ControlMessage>) {
        // The link's end is told by `ended`, not here.
        let _ = self.0.outbox.send(message.into()).await;
    }

    /// The same without waiting, for a link that has not started: nothing can be in its way.
    pub fn send_first(&self, message: impl Into<ControlMessage>) {
        let _ = self.0.outbox.try_send(message.into());
    }

    pub(crate) fn outbox(&self) -> &mpsc::Sender<ControlMessage> {
        &self.0.outbox
    }

    /// Opens the port of a transfer that this end is about to request, or has requested before it reads anything.
    pub fn transfer(&self, id: u64) -> TransferPort {
        let (control, control_in) = mpsc::channel(PORT_CONTROL_MAX);
        let (data, data_in) = mpsc::unbounded_channel();
        let account = Arc::new(Account { waiting: AtomicU64::new(0), limit: AtomicU64::new(0) });
        let entry = PortEntry { control, data, account: account.clone() };
        self.ports().insert(id, entry);
        TransferPort { id, link: self.clone(), control: control_in, data: data_in, account }
    }

    /// Ends the session, telling the peer why, after what was sent before. A peer that takes nothing is not waited for.
    pub async fn close(&self, error: Option<WireError>) {
        let telling = async {
            self.send(Close { error }).await;
            self.ended().await
        };
        let _ = tokio::time::timeout(CLOSE_WAIT, telling).await;
        self.end_with(LinkEnd::Ours);
    }

    /// Ends the session because its owner knows that it is lost, sooner than silence would tell.
    pub fn give_up(&self, reason: impl Into<String>) {
        self.end_with(LinkEnd::Lost(reason.into()));
    }

    /// Waits for the end.
    pub async fn ended(&self) -> LinkEnd {
        let mut end = self.0.end.subscribe();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(LinkEnd::Ours),
            Err(_) => LinkEnd::Ours,
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.0.end.borrow().is_some()
    }

    /// The connection of the control lane.
    pub fn connection(&self) -> &ConnectionHandle {
        &self.0.connection
    }

    /// Transfers that are under way.
    pub fn transfers_open(&self) -> usize {
        self.ports().len()
    }

    pub(crate) fn end_with(&self, reason: LinkEnd) {
        let first = self.0.end.send_if_modified(|end| {
            let first = end.is_none();
            if first {
                tracing::debug!(%reason, "a session ends");
                *end = Some(reason);
            }
            first
        });
        if first {
            self.0.lanes.send_replace(Vec::new());
        }
    }

    fn ports(&self) -> std::sync::MutexGuard<'_, HashMap<u64, PortEntry>> {
        self.0.ports.lock().expect("no holder of this lock panics")
    }

    async fn write_control(self, mut writer: ControlWriter, mut outgoing: mpsc::Receiver<ControlMessage>) {
        let result = tokio::select! {
            result = self.write_messages(&mut writer, &mut outgoing) => result,
            _ = self.ended() => Ok(()),
        };
        if let Err(error) = result {
            self.end_with(LinkEnd::Lost(error.to_string()));
        }
        let _ = tokio::time::timeout(CLOSE_WAIT, writer.finish()).await;
        if self.ended().await == LinkEnd::Ours {
            // The peer closes when it has read the last frame.
            let _ = tokio::time::timeout(CLOSE_WAIT, self.0.connection.closed()).await;
        }
        self.0.connection.close(0, "the session has ended");
    }

    /// Writes until `close` is written.
    async fn write_messages(
        &self,
        writer: &mut ControlWriter,
        outgoing: &mut mpsc::Receiver<ControlMessage>,
    ) -> Result<(), LaneError> {
        while let Some(message) = outgoing.recv().await {
            let mut next = Some(message);
            while let Some(message) = next {
                writer.feed(message.frame_type(), &message.encode()).await?;
                if matches!(message, ControlMessage::Close(_)) {
                    writer.flush().await?;
                    self.end_with(LinkEnd::Ours);
                    return Ok(());
                }
                next = outgoing.try_recv().ok();
            }
            writer.flush().await?;
        }
        Ok(())
    }

    async fn read_control(self, mut reader: ControlReader, events: mpsc::Sender<SessionEvent>) {
        let reason = tokio::select! {
            reason = self.read_messages(&mut reader, &events) => reason,
            reason = self.ended() => reason,
        };
        if let LinkEnd::Misbehaved(error) = &reason {
            tracing::warn!(%error, peer = %self.0.connection.remote_address(), "the peer broke the protocol");
            let _ = self.0.outbox.try_send(Close { error: Some(error.clone()) }.into());
            // The writer ends the link once that is out; a peer that does not read is let go.
            let _ = tokio::time::timeout(CLOSE_WAIT, self.ended()).await;
        }
        self.end_with(reason);
    }

    async fn read_messages(
        &self,
        reader: &mut ControlReader,
        events: &mpsc::Sender<SessionEvent>,
    ) -> LinkEnd {
        loop {
            let frame = match reader.read_frame(limits::CONTROL_FRAME_BYTES_MAX).await {
                Ok(Some(frame)) => frame,
                Ok(None) => return LinkEnd::Lost("the other side ended it without a word".into()),
                Err(LaneError::Misbehaved(fault)) => {
                    return LinkEnd::Misbehaved(Code::PROTOCOL.because(fault.to_string()));
                }
                Err(error) => return LinkEnd::Lost(error.to_string()),
            };
            self.hear();
            match ControlMessage::decode(frame.ty, &frame.payload) {
                Ok(Some(message)) => {
                    if let Err(end) = self.dispatch(message, events).await {
                        return end;
                    }
                }
                Ok(None) => {}
                Err(Misbehaved::UnknownOperation { request: id, .. }) if self.0.role == Role::Server => {
                    let error = Code::UNSUPPORTED
                        .because("this server does not know that operation; it may be older than the client");
                    self.send(Reply { id, more: false, body: sft_wire::message::Body::Failed { error } })
                        .await;
                }
                Err(fault) => return LinkEnd::Misbehaved(fault.to_wire()),
            }
        }
    }

    async fn dispatch(
        &self,
        message: ControlMessage,
        events: &mpsc::Sender<SessionEvent>,
    ) -> Result<(), LinkEnd> {
        match message {
            ControlMessage::Ping(ping) => self.send(ControlMessage::Pong(ping)).await,
            ControlMessage::Pong(_) => {}
            ControlMessage::Close(close) => return Err(LinkEnd::Closed(close.error)),
            ControlMessage::Request(request) if self.0.role == Role::Server => {
                let port = self.port_for(&request)?;
                let _ = events.send(SessionEvent::Request(request, port)).await;
            }
            ControlMessage::Reply(reply) if self.0.role == Role::Client => {
                let _ = events.send(SessionEvent::Reply(reply)).await;
            }
            message => match transfer_of(&message) {
                // A transfer that is over is not told what was still on its way.
                Some(id) => {
                    let port = self.ports().get(&id).cloned();
                    if let Some(port) = port {
                        let _ = port.control.send(message).await;
                    }
                }
                None => {
                    let error = Code::PROTOCOL.because("this message has no place in an open session");
                    return Err(LinkEnd::Misbehaved(error));
                }
            },
        }
        Ok(())
    }

    /// The port of a transfer that the peer requests; none while too many are open.
    fn port_for(&self, request: &Request) -> Result<Option<TransferPort>, LinkEnd> {
        if !matches!(request.op, Op::Push(_) | Op::Pull(_)) {
            return Ok(None);
        }
        let (taken, open) = {
            let ports = self.ports();
            (ports.contains_key(&request.id), ports.len())
        };
        if taken {
            let error = Code::PROTOCOL.because("a request has the number of a transfer that is under way");
            return Err(LinkEnd::Misbehaved(error));
        }
        Ok((open < limits::TRANSFERS_OPEN_MAX).then(|| self.transfer(request.id)))
    }

    async fn read_lane(self, id: u64, transport: Transport, mut receiver: DataReceiver) {
        let outcome = tokio::select! {
            outcome = self.read_units(transport, &mut receiver) => outcome,
            _ = self.ended() => Ok(()),
        };
        if let Err(LinkEnd::Misbehaved(error)) = outcome {
            let _ = self.0.outbox.try_send(Close { error: Some(error).clone() }.into());
        }
        self.0.lanes.send_modify(|lanes| lanes.retain(|lane| lane.id != id));
    }

    async fn read_units(&self, transport: Transport, receiver: &mut DataReceiver) -> Result<(), LinkEnd> {
        loop {
            let frame = match receiver.recv().await {
                Ok(Some(frame)) => frame,
                Err(LaneError::Misbehaved(fault)) => {
                    return Err(LinkEnd::Misbehaved(Code::PROTOCOL.because(fault.to_string())));
                }
                // A lane may go at any time; its units are sent again on others.
                Ok(None) | Err(_) => return Ok(()),
            };
            self.hear();
            if frame.ty == frame::FILLER {
                self.0.measures.came(frame.payload.len());
                continue;
            }
            let unit = read_unit(frame.ty, &frame.payload).map_err(|f| LinkEnd::Misbehaved(f.to_wire()))?;
            let Some(unit) = unit else { continue };
            let Some(port) = self.ports().get(&unit.transfer()).cloned() else { continue };
            let weight = port.account.take(frame.payload.len() as u64).ok_or_else(|| {
                LinkEnd::Misbehaved(Code::LIMIT.because("data came beyond the window that was granted"))
            })?;
            let _ = port.data.send(Arrival { transport, unit, weight });
        }
    }

    fn hear(&self) {
        self.0.heard_ms.store(self.0.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long nothing has come.
    pub fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.0.heard_ms.load(Ordering::Relaxed));
        self.0.started.elapsed().saturating_sub(heard)
    }

    async fn watch_silence(self) {
        let mut number = 0;
        while !self.has_ended() {
            tokio::select! {
                () = tokio::time::sleep(SILENCE_LOOK) => {}
                _ = self.ended() => return,
            }
            let silence = self.silence();
            if silence.as_millis() as u64 > limits::SILENCE_MAX_MS {
                self.end_with(LinkEnd::Lost(format!("nothing was heard for {} seconds", silence.as_secs())));
            } else if silence.as_millis() as u64 > limits::PING_AFTER_MS {
                number += 1;
                // A full outbox means that there is enough to say without.
                let _ = self.0.outbox.try_send(Ping { number }.into());
            }
        }
    }
}

impl TransferPort {
    /// Says what may wait here before the peer is held to break its windows: contents, copies, and headers of packs.
    pub(crate) fn set_data_limit(&self, window: Window) {
        let copies = (limits::COPIES_MAX * limits::DATA_FRAME_BYTES_MAX) as u64;
        let limit = window.bytes + copies + window.entries * PACKED_HEADER_BYTES_MAX;
        self.account.limit.fetch_max(limit, Ordering::Relaxed);
    }

    /// The link it is a port of.
    pub fn link(&self) -> &Link {
        &self.link
    }
}

impl Drop for TransferPort {
    fn drop(&mut self) {
        self.link.ports().remove(&self.id);
    }
}

impl Account {
    fn take(self: &Arc<Self>, bytes: u64) -> Option<Weight> {
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let weight = Weight { account: self.clone(), bytes };
        (before + bytes <= self.limit.load(Ordering::Relaxed)).then_some(weight)
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.account.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Arrival {
    /// Parts it; the unit still counts as waiting while the second half lives.
    pub(crate) fn into_unit(self) -> (Transport, DataUnit, impl Send) {
        (self.transport, self.unit, self.weight)
    }
}

impl DataUnit {
    fn transfer(&self) -> u64 {
        match self {
            Self::Piece(header, _) => header.transfer,
            Self::Pack(header, _) => header.transfer,
        }
    }
}

/// Whether a path counts as short: the same machine, the same room. There TCP lanes move the same as QUIC with a fraction
/// of the processor time (measured: a quarter), so that a sender uses QUIC only where no TCP lane is up.
pub fn is_short_path(rtt: Duration) -> bool {
    rtt < SHORT_PATH
}

fn read_unit(ty: u64, payload: &Bytes) -> Result<Option<DataUnit>, Misbehaved> {
    Ok(Some(match ty {
        frame::PIECE => {
            let (header, at) = decode_piece(payload)?;
            DataUnit::Piece(header, payload.slice(at..))
        }
        frame::PACK => {
            let (header, at) = decode_pack(payload)?;
            DataUnit::Pack(header, payload.slice(at..))
        }
        ty if ty >= frame::EXTENSIONS => return Ok(None),
        ty => return Err(Misbehaved::FrameType(ty)),
    }))
}

fn transfer_of(message: &ControlMessage) -> Option<u64> {
    match message {
        ControlMessage::Offer(m) => Some(m.transfer),
        ControlMessage::Want(m) => Some(m.transfer),
        ControlMessage::Finish(m) => Some(m.transfer),
        ControlMessage::Got(m) => Some(m.transfer),
        ControlMessage::Commit(m) => Some(m.transfer),
        ControlMessage::Done(m) => Some(m.transfer),
        ControlMessage::Cancel(m) => Some(m.transfer),
        _ => None,
    }
}

/// Messages that wait to be written; senders wait beyond.
const OUTBOX_MAX: usize = 64;
/// Messages that wait for a transfer; it fetches them whatever else it does.
const PORT_CONTROL_MAX: usize = 64;
/// What one file can take in the header of a pack: an error with its text, or a digest.
const PACKED_HEADER_BYTES_MAX: u64 = limits::ERROR_TEXT_BYTES_MAX as u64 + 64;
const SHORT_PATH: Duration = Duration::from_millis(5);
/// How often silence is looked at.
const SILENCE_LOOK: Duration = Duration::from_secs(1);
/// How long a last frame may take to go out.
const CLOSE_WAIT: Duration = Duration::from_millis(500);
