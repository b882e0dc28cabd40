//! The control lane: frames both ways on one byte stream, each half usable in a task of its own.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};

use crate::frames::{Frame, FrameReader, FrameWriter};
use crate::tcp::Tls;
use crate::{ConnectionHandle, LaneError};

/// Frames from the peer.
#[derive(Debug)]
pub struct ControlReader {
    pub(crate) frames: FrameReader<Source>,
    pub(crate) handle: ConnectionHandle,
}

impl ControlReader {
    pub(crate) fn new(source: Source, handle: ConnectionHandle) -> Self {
        Self { frames: FrameReader::new(source), handle }
    }

    /// The next frame, or nothing when the peer ended the lane in good order.
    ///
    /// - Shape: a payload of at most `payload_max` bytes; nothing is read for one that announces more.
    /// - Cancelling: dropping the future loses nothing, so it may stand in a `select!`.
    /// - Errors: [`LaneError::Misbehaved`] is final, and the caller closes the connection.
    pub async fn read_frame(&mut self, payload_max: usize) -> Result<Option<Frame>, LaneError> {
        self.frames.read_frame(payload_max).await.map_err(|error| self.handle.end(error))
    }
}

/// Frames to the peer.
#[derive(Debug)]
pub struct ControlWriter {
    pub(crate) frames: FrameWriter<Sink>,
    pub(crate) handle: ConnectionHandle,
}

impl ControlWriter {
    pub(crate) fn new(sink: Sink, handle: ConnectionHandle) -> Self {
        Self { frames: FrameWriter::new(sink), handle }
    }

    /// Writes one frame, and whatever was fed before it.
    pub async fn write_frame(&mut self, ty: u64, payload: &[u8]) -> Result<(), LaneError> {
        self.frames.feed_slice(ty, payload);
        self.flush().await
    }

    /// Takes one frame for a later [`Self::flush`], so that several travel together. Writes only when much is waiting.
    pub async fn feed(&mut self, ty: u64, payload: &[u8]) -> Result<(), LaneError> {
        self.frames.feed_slice(ty, payload);
        if self.frames.waiting_bytes() >= WAITING_BYTES_MAX { self.flush().await } else { Ok(()) }
    }

    /// Hands everything that was fed to the transport.
    ///
    /// - Cancelling: dropping the future tears no frame; what is left is written by the next call.
    pub async fn flush(&mut self) -> Result<(), LaneError> {
        self.frames.flush().await.map_err(|error| self.handle.end(error))
    }

    /// Flushes, and tells the peer that no frame follows: its reader ends in good order.
    pub async fn finish(&mut self) -> Result<(), LaneError> {
        self.frames.finish().await.map_err(|error| self.handle.end(error))
    }
}

/// Fed bytes that wait for a flush.
const WAITING_BYTES_MAX: usize = 256 << 10;

/// The reading half of a lane's byte stream.
#[derive(Debug)]
pub(crate) enum Source {
    Quic(quinn::RecvStream),
    Tcp(ReadHalf<Tls>),
}

/// The writing half of a lane's byte stream.
#[derive(Debug)]
pub(crate) enum Sink {
    Quic(quinn::SendStream),
    Tcp(WriteHalf<Tls>),
}

impl AsyncRead for Source {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Quic(stream) => AsyncRead::poll_read(Pin::new(stream), cx, out),
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for Sink {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Quic(stream) => AsyncWrite::poll_write(Pin::new(stream), cx, data),
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Quic(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Quic(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
