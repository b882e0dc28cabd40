//! TLS 1.3 over TCP: the socket beneath it and its options. One such connection is one byte stream.
//!
//! rustls takes 4 KiB at a time from its socket; [`Socket`] therefore reads ahead into memory, so that a system call
//! brings up to [`INBOX_BYTES_MAX`].

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsStream;

/// A TLS connection over our socket.
pub(crate) type Tls = TlsStream<Socket>;

/// A TCP connection that reads ahead, and that its owner can shut down from outside.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Arc<TcpStream>,
    written: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
    inbox: Vec<u8>,
    /// What of the inbox was received and not yet taken.
    held: std::ops::Range<usize>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let (stream, written, received) = (Arc::new(stream), Arc::default(), Arc::default());
        Self { stream, written, received, inbox: vec![0; INBOX_BYTES_MIN], held: 0..0 }
    }

    /// The connection itself, for questions and for [`hang_up`].
    pub(crate) fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// How many bytes the system has taken so far: it takes more when the peer's system has acknowledged some.
    pub(crate) fn written(&self) -> &Arc<AtomicU64> {
        &self.written
    }

    /// How many bytes came so far.
    pub(crate) fn received(&self) -> &Arc<AtomicU64> {
        &self.received
    }

    /// Fills the empty inbox with one system call. An inbox that was filled to the brim grows: the peer sends in bulk.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read(&mut self.inbox) {
                Ok(got) => {
                    self.held = 0..got;
                    self.received.fetch_add(got as u64, Ordering::Relaxed);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn grow_if_full(&mut self) {
        if self.held.end == self.inbox.len() && self.inbox.len() < INBOX_BYTES_MAX {
            self.inbox = vec![0; self.inbox.len() * 4];
        }
        self.held = 0..0;
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.held.is_empty() {
            this.grow_if_full();
            ready!(this.poll_fill(cx))?;
        }
        let taken = this.held.len().min(out.remaining());
        out.put_slice(&this.inbox[this.held.start..this.held.start + taken]);
        this.held.start += taken;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_write_vectored(data) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                done => {
                    let written = done.as_ref().map_or(0, |written| *written as u64);
                    self.written.fetch_add(written, Ordering::Relaxed);
                    return Poll::Ready(done);
                }
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.stream).shutdown(Shutdown::Write))
    }
}

/// Ends a connection from outside of whoever reads and writes it; what was written before is still delivered.
pub(crate) fn hang_up(stream: &TcpStream) {
    // A connection that is gone already cannot be shut down, and need not be.
    let _ = SockRef::from(stream).shutdown(Shutdown::Both);
}

/// A listening socket; `v6_only` leaves the IPv4 half of `[::]` to another one.
pub(crate) fn listen(address: SocketAddr, v6_only: bool) -> io::Result<TcpListener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    // A restarted server must not wait for the connections of its predecessor to be forgotten.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Sets what both ends of every connection want. All of it is a wish: a system that refuses is slower, not wrong.
pub(crate) fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL).with_retries(3);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    {
        // Cubic collapses on paths with random loss.
        let _ = socket.set_tcp_congestion(b"bbr");
        let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
    }
}

/// Plaintext that rustls may hold sealed and unsent: one system call's worth.
pub(crate) const SEALED_BYTES_MAX: usize = 128 << 10;

/// A connection that only carries control frames keeps this; 64 clients must not cost 64 large inboxes.
const INBOX_BYTES_MIN: usize = 4 << 10;
/// What a bulk connection reads at once.
const INBOX_BYTES_MAX: usize = 64 << 10;
const LISTEN_BACKLOG: i32 = 1024;
/// Data that nobody acknowledges, or takes, for this time end the connection; the system alone would try for a quarter
/// of an hour. Not shorter, because a peer whose disk stalls takes nothing either, and is alive.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);
const KEEPALIVE_AFTER: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
