//! The other end of an scp: lines and bytes that it sends, and the answers that it waits for.

use std::io;

use sft_base::Shown;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

/// A client, whichever end of the copy it is.
pub(super) struct Peer<R, W> {
    reader: BufReader<R>,
    writer: W,
    /// Whether anything went wrong that was told.
    pub(super) failed: bool,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Peer<R, W> {
    pub(super) fn new(reader: R, writer: W) -> Self {
        Self { reader: BufReader::with_capacity(BUFFER_BYTES, reader), writer, failed: false }
    }

    /// The next line, without its newline; none at a proper end.
    pub(super) async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        (&mut self.reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
        match line.pop() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(line)),
            Some(_) => Err(invalid("a line that is cut off or too long")),
        }
    }

    /// So many bytes.
    pub(super) async fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).await?;
        Ok(bytes)
    }

    /// Waits for the answer to what was sent; whether it was good. The other end giving up is an error.
    pub(super) async fn is_well(&mut self) -> io::Result<bool> {
        match self.reader.read_u8().await? {
            0 => Ok(true),
            1 => {
                self.failed = true;
                self.line().await?.map(|_| false).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
            _ => Err(invalid("the client gives up")),
        }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes).await?;
        self.writer.flush().await
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
        let _ = self.writer.shutdown().await;
    }
}

/// Does something that blocks.
pub(super) async fn block<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(act).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

pub(super) fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// More than the longest name and what stands before it.
const LINE_BYTES_MAX: u64 = 4096;
const BUFFER_BYTES: usize = 64 << 10;
