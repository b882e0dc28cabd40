//! The other end of an scp: lines and bytes that it sends, and the answers that it waits for.

use std::io;

use bytes::{Buf, BytesMut};
use sft_base::Shown;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::unread::while_unread;

/// A client, whichever end of the copy it is.
pub(super) struct Peer<R, W> {
    reader: R,
    /// What has come and was not asked for yet.
    ahead: BytesMut,
    writer: W,
    /// Whether anything went wrong that was told.
    pub(super) failed: bool,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Peer<R, W> {
    pub(super) fn new(reader: R, writer: W) -> Self {
        Self { reader, ahead: BytesMut::new(), writer, failed: false }
    }

    /// The next line, without its newline; none at a proper end.
    pub(super) async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let searched = &self.ahead[..self.ahead.len().min(LINE_BYTES_MAX)];
            if let Some(end) = searched.iter().position(|&b| b == b'\n') {
                let line = self.ahead.split_to(end).to_vec();
                self.ahead.advance(1);
                return Ok(Some(line));
            }
            let is_too_long = searched.len() == LINE_BYTES_MAX;
            if is_too_long || self.read().await? == 0 {
                let is_end = self.ahead.is_empty();
                return if is_end { Ok(None) } else { Err(invalid("a line that is cut off or too long")) };
            }
        }
    }

    /// So many bytes.
    pub(super) async fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        let have = self.ahead.len().min(count);
        self.ahead.copy_to_slice(&mut bytes[..have]);
        self.reader.read_exact(&mut bytes[have..]).await?;
        Ok(bytes)
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.ahead.reserve(READ_BYTES);
        self.reader.read_buf(&mut self.ahead).await
    }

    /// Waits for the answer to what was sent; whether it was good. The other end giving up is an error.
    pub(super) async fn is_well(&mut self) -> io::Result<bool> {
        match self.bytes(1).await?[0] {
            0 => Ok(true),
            1 => {
                self.failed = true;
                self.line().await?.map(|_| false).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
            _ => Err(invalid("the client gives up")),
        }
    }

    /// Sends, and reads what comes meanwhile: beneath an SSH channel the same task reads and writes, and would wait for
    /// itself.
    ///
    /// - Errors: what writing failed with, or [`io::ErrorKind::InvalidData`] for a client that sends and sends and takes
    ///   nothing.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Self { reader, ahead, writer, .. } = self;
        let mut sending = std::pin::pin!(async {
            writer.write_all(bytes).await?;
            writer.flush().await
        });
        loop {
            ahead.reserve(READ_BYTES);
            tokio::select! {
                biased;
                sent = &mut sending => return sent,
                read = reader.read_buf(ahead) => match read? {
                    0 => return while_unread(reader, sending).await,
                    _ if ahead.len() > AHEAD_BYTES_MAX => {
                        return Err(invalid("the client sends on and on and takes no answers"));
                    }
                    _ => {}
                },
            }
        }
    }

    pub(super) async fn well(&mut self) -> io::Result<()> {
        self.send(&[0]).await
    }

    /// Tells what could not be done. Nothing in it can pretend to be a line of its own.
    pub(super) async fn tell(&mut self, text: &str) -> io::Result<()> {
        self.failed = true;
        let line = format!("\x01scp: {}\n", Shown(text.as_bytes()));
        self.send(line.as_bytes()).await
    }

    /// Ends this side of the stream.
    pub(super) async fn end(&mut self) {
        // A client that has closed its side already hears no end.
        let _ = while_unread(&mut self.reader, self.writer.shutdown()).await;
    }
}

pub(super) fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// More than the longest name and what stands before it.
const LINE_BYTES_MAX: usize = 4096;
const READ_BYTES: usize = 8 << 10;
/// What may come while something is sent; both ends of this protocol wait for each other.
const AHEAD_BYTES_MAX: usize = 64 << 10;
