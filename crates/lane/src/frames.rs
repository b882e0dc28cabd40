//! Frames over any byte stream: whole frames in, whole frames out, whatever the caller's `select!` drops on the way.
//!
//! The header is `sft_base::frame`'s; types and payloads mean nothing here (spec/wire.md, "Frames").

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use sft_base::Buffer;
use sft_base::frame::{FRAME_HEADER_BYTES_MAX, FrameHeader};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{LaneError, Misbehaviour, Pace};

/// One frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is (spec/wire.md, "Frame types").
    pub ty: u64,
    /// What it carries.
    pub payload: Bytes,
}

/// Reads frames; holds at most one frame and [`READ_BYTES`] more.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    source: R,
    buffer: BytesMut,
    /// The payload of a large frame that has begun to come, while the buffer is empty.
    large: Option<Large>,
}

#[derive(Debug)]
struct Large {
    ty: u64,
    payload: Buffer,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, buffer: BytesMut::new(), large: None }
    }

    /// The next frame, or nothing when the stream ended between two frames.
    ///
    /// Dropping the future loses nothing: what was read stays for the next call.
    pub(crate) async fn read_frame(&mut self, payload_max: usize) -> Result<Option<Frame>, LaneError> {
        loop {
            if self.large.is_some() {
                return self.read_large().await.map(Some);
            }
            let wanted = match FrameHeader::decode(&self.buffer) {
                None => READ_BYTES,
                Some((header, header_bytes)) => {
                    let payload_bytes = payload_bytes(header, payload_max)?;
                    let total = header_bytes + payload_bytes;
                    if self.buffer.len() >= total {
                        self.buffer.advance(header_bytes);
                        let payload = self.buffer.split_to(payload_bytes).freeze();
                        return Ok(Some(Frame { ty: header.ty, payload }));
                    }
                    if payload_bytes >= LARGE_BYTES_MIN {
                        self.begin_large(header.ty, header_bytes, payload_bytes);
                        continue;
                    }
                    total - self.buffer.len()
                }
            };
            if !self.fill(wanted).await? {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(Misbehaviour::FrameCutShort.into())
                };
            }
        }
    }

    /// Moves what came of a large payload to where the rest will be read.
    fn begin_large(&mut self, ty: u64, header_bytes: usize, payload_bytes: usize) {
        // What is written to disk without another copy must lie aligned, and is the last part of its frame.
        let mut payload = Buffer::take_ending_aligned(payload_bytes);
        payload.extend_from_slice(&self.buffer[header_bytes..]);
        self.buffer.clear();
        self.large = Some(Large { ty, payload });
    }

    async fn read_large(&mut self) -> Result<Frame, LaneError> {
        let Large { payload, .. } = self.large.as_mut().expect("the caller has looked");
        while !payload.unfilled().is_empty() {
            match self.source.read(payload.unfilled()).await.map_err(LaneError::from_io)? {
                0 => return Err(Misbehaviour::FrameCutShort.into()),
                got => payload.fill(got),
            }
        }
        let Large { ty, payload } = self.large.take().expect("it was there above");
        Ok(Frame { ty, payload: Bytes::from_owner(payload) })
    }

    /// Whether the stream ends here; waits for its end or for more bytes.
    pub(crate) async fn at_end(&mut self) -> Result<bool, LaneError> {
        Ok(self.buffer.is_empty() && !self.fill(1).await?)
    }

    /// Reads at most `bytes`; false at the end of the stream.
    async fn fill(&mut self, bytes: usize) -> Result<bool, LaneError> {
        self.buffer.reserve(bytes);
        let mut room = (&mut self.buffer).limit(bytes);
        let got = self.source.read_buf(&mut room).await.map_err(LaneError::from_io)?;
        Ok(got > 0)
    }
}

/// Writes frames; what was fed is kept until it is written, so that a dropped future never tears a frame.
#[derive(Debug)]
pub(crate) struct FrameWriter<W> {
    sink: W,
    queue: VecDeque<Bytes>,
    /// Small pieces that will travel together, behind the queue.
    tail: BytesMut,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(crate) fn new(sink: W) -> Self {
        Self { sink, queue: VecDeque::new(), tail: BytesMut::new() }
    }

    /// Takes one frame, whose payload is the parts in order. Nothing is written yet, and large parts are not copied.
    pub(crate) fn feed(&mut self, ty: u64, parts: &[Bytes]) {
        let len = parts.iter().map(Bytes::len).sum::<usize>() as u64;
        self.tail.extend_from_slice(&encoded_header(ty, len));
        for part in parts {
            if part.len() < COPY_BYTES_MAX {
                self.tail.extend_from_slice(part);
            } else {
                self.end_tail();
                self.queue.push_back(part.clone());
            }
        }
    }

    /// The same for a payload that is only borrowed.
    pub(crate) fn feed_slice(&mut self, ty: u64, payload: &[u8]) {
        self.tail.extend_from_slice(&encoded_header(ty, payload.len() as u64));
        self.tail.extend_from_slice(payload);
    }

    /// Bytes taken and not yet written.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.tail.len() + self.queue.iter().map(Bytes::len).sum::<usize>()
    }

    /// Writes everything that was fed.
    pub(crate) async fn flush(&mut self) -> Result<(), LaneError> {
        self.flush_at(None).await
    }

    /// The same, no faster than that.
    pub(crate) async fn flush_at(&mut self, pace: Option<&Pace>) -> Result<(), LaneError> {
        self.end_tail();
        while let Some(front) = self.queue.front_mut() {
            let most = pace.map_or(usize::MAX, Pace::part_bytes).min(front.len());
            if let Some(pace) = pace {
                pace.spend(most).await;
            }
            let written = self.sink.write(&front[..most]).await.map_err(LaneError::from_io)?;
            if written == 0 {
                return Err(LaneError::from_io(std::io::ErrorKind::WriteZero.into()));
            }
            front.advance(written);
            if front.is_empty() {
                self.queue.pop_front();
            }
            if pace.is_some() {
                self.sink.flush().await.map_err(LaneError::from_io)?;
            }
        }
        self.sink.flush().await.map_err(LaneError::from_io)
    }

    /// Writes everything and tells the peer that nothing more comes.
    pub(crate) async fn finish(&mut self) -> Result<(), LaneError> {
        self.flush().await?;
        self.sink.shutdown().await.map_err(LaneError::from_io)
    }

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.queue.push_back(self.tail.split().freeze());
        }
    }
}

/// The header of a frame, ready to be written.
pub(crate) fn encoded_header(ty: u64, len: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(FRAME_HEADER_BYTES_MAX);
    FrameHeader { ty, len }.encode(&mut header);
    header
}

fn payload_bytes(header: FrameHeader, max: usize) -> Result<usize, Misbehaviour> {
    let too_large = Misbehaviour::FrameTooLarge { ty: header.ty, len: header.len, max: max as u64 };
    usize::try_from(header.len).ok().filter(|len| *len <= max).ok_or(too_large)
}

/// Asked of the stream while the length of the next frame is unknown. What comes too much is copied once.
const READ_BYTES: usize = 16 << 10;
/// Payloads from here on are read straight into a buffer of their own.
const LARGE_BYTES_MIN: usize = 64 << 10;
/// Parts below this travel with their neighbours; larger ones are worth a place of their own.
const COPY_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::duplex;

    #[tokio::test]
    async fn frames_pass_whole_in_any_slices() {
        let (near, far) = duplex(7);
        let mut writer = FrameWriter::new(near);
        let mut reader = FrameReader::new(far);
        let big = Bytes::from(vec![9u8; 100_000]);
        let sent = tokio::spawn(async move {
            writer.feed_slice(1, b"");
            writer.feed_slice(0x1234_5678_9abc, b"hello");
            writer.feed(3, &[Bytes::from_static(b"head"), big]);
            assert_eq!(writer.waiting_bytes(), 2 + 8 + 1 + 5 + 1 + 4 + 4 + 100_000);
            writer.finish().await.unwrap();
        });
        assert_eq!(reader.read_frame(0).await.unwrap(), Some(Frame { ty: 1, payload: Bytes::new() }));
        let hello = reader.read_frame(5).await.unwrap().unwrap();
        assert_eq!((hello.ty, &hello.payload[..]), (0x1234_5678_9abc, b"hello".as_slice()));
        let big = reader.read_frame(100_004).await.unwrap().unwrap();
        assert_eq!(
            (&big.payload[..4], big.payload[4..].iter().all(|byte| *byte == 9)),
            (b"head".as_slice(), true)
        );
        assert_eq!(reader.read_frame(0).await.unwrap(), None);
        sent.await.unwrap();
    }

    #[tokio::test]
    async fn a_dropped_read_loses_nothing() {
        let (mut near, far) = duplex(64);
        let mut reader = FrameReader::new(far);
        let frame = [&encoded_header(5, 6)[..], b"abcdef"].concat();
        for byte in &frame[..frame.len() - 1] {
            near.write_all(&[*byte]).await.unwrap();
            let early = tokio::time::timeout(Duration::from_millis(1), reader.read_frame(10)).await;
            assert!(early.is_err(), "a frame came before its last byte");
        }
        near.write_all(b"f").await.unwrap();
        assert_eq!(&reader.read_frame(10).await.unwrap().unwrap().payload[..], b"abcdef");
    }

    #[tokio::test]
    async fn a_dropped_flush_tears_nothing() {
        let (near, far) = duplex(16);
        let mut writer = FrameWriter::new(near);
        writer.feed(1, &[Bytes::from(vec![1u8; 50_000])]);
        assert!(tokio::time::timeout(Duration::from_millis(1), writer.flush()).await.is_err());
        writer.feed(2, &[Bytes::from_static(b"next")]);
        let sent = tokio::spawn(async move { writer.flush().await });
        let mut reader = FrameReader::new(far);
        assert_eq!(reader.read_frame(50_000).await.unwrap().unwrap().payload.len(), 50_000);
        assert_eq!(&reader.read_frame(50_000).await.unwrap().unwrap().payload[..], b"next");
        sent.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn too_large_and_cut_short_are_told_apart_from_the_end() {
        let header = encoded_header(7, 101);
        let mut reader = FrameReader::new(&header[..]);
        let refused = reader.read_frame(100).await.unwrap_err().to_string();
        assert_eq!(
            refused,
            "the peer broke the protocol: a frame of type 7 announces 101 bytes where at most 100 may come"
        );
        let mut reader = FrameReader::new(&b"\x07\x03ab"[..]);
        assert!(matches!(
            reader.read_frame(100).await,
            Err(LaneError::Misbehaved(Misbehaviour::FrameCutShort))
        ));
    }
}
