//! Data frames: on QUIC each on a stream of its own, on an attached TCP connection one after another.
//!
//! One stream a frame is not a taste: quinn closes a connection one of whose streams has more than 1024 gaps, and with
//! falling priority what is oldest arrives first (spec/wire.md, "Data lanes").

use std::sync::Arc;

use bytes::Bytes;
use sft_base::limits::DATA_FRAME_BYTES_MAX;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use crate::control::{Sink, Source};
use crate::frames::{Frame, FrameReader, FrameWriter, encoded_header};
use crate::quic::{DATA_STREAMS_READ_MAX, SendMemory, fit_send_window};
use crate::{
    ConnectionHandle, ControlReader, ControlWriter, LaneError, Misbehaviour, Pace, Transport, congestion,
};

/// Bytes that a connection has carried so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// What this end's system has taken: over TCP it may lie in its buffers.
    pub written: u64,
    /// What has come.
    pub received: u64,
}

/// Makes a data lane of a TCP connection whose first frame said so. What was read ahead is kept.
///
/// Nothing for QUIC: there, data travel beside the control lane ([`crate::Parts::data`]), and the connection ends with
/// its parts.
pub fn into_data(reader: ControlReader, writer: ControlWriter) -> Option<(DataSender, DataReceiver)> {
    if reader.handle.transport() != Transport::Tcp {
        return None;
    }
    let outlet = TcpOutlet { frames: Mutex::new(writer.frames), handle: writer.handle };
    let sender = DataSender(Outlet::Tcp(Arc::new(outlet)));
    let receiver = DataReceiver(Inlet::Tcp { frames: Box::new(reader.frames), handle: reader.handle });
    Some((sender, receiver))
}

/// Sends data frames; clones share the lane.
#[derive(Debug, Clone)]
pub struct DataSender(Outlet);

#[derive(Debug, Clone)]
enum Outlet {
    Quic(quinn::Connection),
    Tcp(Arc<TcpOutlet>),
}

#[derive(Debug)]
struct TcpOutlet {
    frames: Mutex<FrameWriter<Sink>>,
    handle: ConnectionHandle,
}

impl DataSender {
    pub(crate) fn quic(connection: quinn::Connection) -> Self {
        Self(Outlet::Quic(connection))
    }

    /// Sends one frame whose payload is `header` and then `body`, without copying a large body.
    ///
    /// - Returns when the transport has taken the last byte, which is not yet its arrival: this is the back-pressure.
    /// - Priority: on QUIC the frame with the highest goes first among those that wait; TCP keeps the order of calls.
    /// - Cancelling: on QUIC a dropped future takes the frame back, on TCP the frame may still be sent whole.
    pub async fn send(&self, ty: u64, header: Bytes, body: Bytes, priority: i32) -> Result<(), LaneError> {
        self.send_at(None, ty, header, body, priority).await
    }

    /// The same, no faster than that.
    pub async fn send_at(
        &self,
        pace: Option<&Pace>,
        ty: u64,
        header: Bytes,
        body: Bytes,
        priority: i32,
    ) -> Result<(), LaneError> {
        match &self.0 {
            Outlet::Quic(connection) => send_stream(connection, ty, header, body, priority, pace).await,
            Outlet::Tcp(outlet) => {
                let mut frames = outlet.frames.lock().await;
                frames.feed(ty, &[header, body]);
                frames.flush_at(pace).await.map_err(|error| outlet.handle.end(error))
            }
        }
    }

    /// Leaves the path to others, or no longer: over QUIC for the whole connection; what TCP does is the system's business.
    pub fn yield_to_others(&self, yields: bool) {
        if let Outlet::Quic(connection) = &self.0 {
            congestion::yield_to_others(connection, yields);
        }
    }

    /// How many bytes this end's system has taken for the lane: while that grows, the lane moves. None over QUIC, whose
    /// connection ends by itself when it has gone silent.
    pub fn bytes_written(&self) -> Option<u64> {
        match &self.0 {
            Outlet::Quic(_) => None,
            Outlet::Tcp(outlet) => outlet.handle.bytes_written(),
        }
    }

    /// Bytes that its connection has carried so far, both ways: what tells a slow lane from one that stands still.
    pub fn bytes_carried(&self) -> Carried {
        match &self.0 {
            Outlet::Quic(connection) => {
                let stats = connection.stats();
                Carried { written: stats.udp_tx.bytes, received: stats.udp_rx.bytes }
            }
            Outlet::Tcp(outlet) => outlet.handle.bytes_carried(),
        }
    }

    /// Ends a lane over TCP at once: what waits to be sent on it fails, and its receiver sees the end. Over QUIC there may
    /// be more on the connection than data, and nothing happens.
    pub fn give_up(&self) {
        if let Outlet::Tcp(outlet) = &self.0 {
            outlet.handle.close(0, "the lane is silent");
        }
    }

    /// How many sends at once are worth having.
    pub fn parallel(&self) -> usize {
        match self.0 {
            Outlet::Quic(_) => SENDS_PARALLEL_QUIC,
            Outlet::Tcp(_) => 1,
        }
    }

    /// Tells the peer that no data frame follows. Only TCP has something to say.
    pub async fn finish(&self) -> Result<(), LaneError> {
        match &self.0 {
            Outlet::Quic(_) => Ok(()),
            Outlet::Tcp(outlet) => {
                outlet.frames.lock().await.finish().await.map_err(|error| outlet.handle.end(error))
            }
        }
    }
}

async fn send_stream(
    connection: &quinn::Connection,
    ty: u64,
    header: Bytes,
    body: Bytes,
    priority: i32,
    pace: Option<&Pace>,
) -> Result<(), LaneError> {
    let mut head = encoded_header(ty, (header.len() + body.len()) as u64);
    head.extend_from_slice(&header);
    let mut stream = UnfinishedStream(Some(connection.open_uni().await?));
    let memory = fit_send_window(connection);
    stream.write(head.into(), body, memory, priority, pace).await
}

/// A stream that is reset when it is dropped before its end; quinn alone would end it as if it were whole.
struct UnfinishedStream(Option<quinn::SendStream>);

impl UnfinishedStream {
    async fn write(
        &mut self,
        head: Bytes,
        body: Bytes,
        memory: SendMemory,
        priority: i32,
        pace: Option<&Pace>,
    ) -> Result<(), LaneError> {
        if let Some(stream) = &mut self.0 {
            // A stream that is gone already fails at the next write.
            let _ = stream.set_priority(priority);
            match (pace, memory) {
                (None, SendMemory::Ample) => stream.write_all_chunks(&mut [head, body]).await?,
                (pace, _) => {
                    let most = pace.map_or(SCARCE_BYTES, Pace::part_bytes);
                    for part in head.chunks(most).chain(body.chunks(most)) {
                        if let Some(pace) = pace {
                            pace.spend(part.len()).await;
                        }
                        // quinn keeps the whole of what it is given until the last byte of it is acknowledged.
                        stream.write_chunk(Bytes::copy_from_slice(part)).await?;
                    }
                }
            }
            // An error means that the peer has stopped the stream after its last byte: it has what it wants.
            let _ = stream.finish();
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for UnfinishedStream {
    fn drop(&mut self) {
        if let Some(stream) = &mut self.0 {
            // An error means that the connection is gone, and the stream with it.
            let _ = stream.reset(quinn::VarInt::from_u32(0));
        }
    }
}

/// Receives data frames.
#[derive(Debug)]
pub struct DataReceiver(Inlet);

#[derive(Debug)]
enum Inlet {
    Quic { frames: mpsc::Receiver<Result<Frame, LaneError>>, accepting: JoinHandle<()> },
    Tcp { frames: Box<FrameReader<Source>>, handle: ConnectionHandle },
}

impl DataReceiver {
    /// Reads streams as they come, [`DATA_STREAMS_READ_MAX`] at a time, so that one that waits for a lost packet holds
    /// up no other.
    pub(crate) fn quic(connection: quinn::Connection) -> Self {
        let (out, frames) = mpsc::channel(1);
        Self(Inlet::Quic { frames, accepting: tokio::spawn(accept_streams(connection, out)) })
    }

    /// The next whole frame of at most [`DATA_FRAME_BYTES_MAX`], or nothing when no more can come.
    ///
    /// - Order: on TCP as sent; on QUIC as completed.
    /// - Cancelling: dropping the future loses nothing.
    /// - Errors: [`LaneError::Misbehaved`] is final, and the caller closes the connection.
    pub async fn recv(&mut self) -> Result<Option<Frame>, LaneError> {
        match &mut self.0 {
            Inlet::Quic { frames, .. } => frames.recv().await.transpose(),
            Inlet::Tcp { frames, handle } => {
                frames.read_frame(DATA_FRAME_BYTES_MAX).await.map_err(|error| handle.end(error))
            }
        }
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        if let Self::Quic { accepting, .. } = self {
            accepting.abort();
        }
    }
}

/// Takes streams until the connection ends or the receiver is dropped; the readers end with it.
async fn accept_streams(connection: quinn::Connection, out: mpsc::Sender<Result<Frame, LaneError>>) {
    let permits = Arc::new(Semaphore::new(DATA_STREAMS_READ_MAX));
    let mut readers = JoinSet::new();
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
        while readers.try_join_next().is_some() {}
        let stream = match connection.accept_uni().await {
            Ok(stream) => stream,
            Err(error) => {
                while readers.join_next().await.is_some() {}
                let _ = out.send(Err(error.into())).await;
                return;
            }
        };
        let out = out.clone();
        readers.spawn(async move {
            let result = read_stream(stream).await;
            if let Some(result) = result.transpose() {
                // The receiver is gone, and with it everybody who could want the frame.
                let _ = out.send(result).await;
            }
            drop(permit);
        });
    }
}

/// The one frame of a data stream; nothing when the sender took it back.
async fn read_stream(stream: quinn::RecvStream) -> Result<Option<Frame>, LaneError> {
    let mut frames = FrameReader::new(stream);
    let read = async {
        let frame = frames.read_frame(DATA_FRAME_BYTES_MAX).await?.ok_or(Misbehaviour::FrameCutShort)?;
        if frames.at_end().await? { Ok(frame) } else { Err(Misbehaviour::BytesAfterFrame.into()) }
    };
    match read.await {
        Ok(frame) => Ok(Some(frame)),
        Err(LaneError::Misbehaved(rule)) => Err(rule.into()),
        // Taken back, or lost with the connection, of whose end the accepting task tells once.
        Err(_) => Ok(None),
    }
}

/// Enough to keep a long path full: each is up to 1 MiB, and most of them wait for the transport.
const SENDS_PARALLEL_QUIC: usize = 16;
/// What is copied at a time while memory is scarce.
const SCARCE_BYTES: usize = 64 << 10;
