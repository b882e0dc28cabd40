//! An SFTP client that writes packets by hand, and a server for it.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use std::path::Path;
use std::sync::Arc;

use sft_auth::Grant;
use sft_doors::sftp::serve_resuming;
use sft_engine::{Leftovers, View};
use sft_store::FsStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::task::JoinHandle;

/// A client that writes packets by hand.
pub(crate) struct Raw {
    pub(crate) from: ReadHalf<DuplexStream>,
    pub(crate) to: WriteHalf<DuplexStream>,
    pub(crate) server: JoinHandle<std::io::Result<()>>,
    pub(crate) next: u32,
}

/// A reply: its kind, the request it answers, and the rest.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) kind: u8,
    pub(crate) id: u32,
    pub(crate) rest: Vec<u8>,
}

impl Reply {
    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.rest[at..at + 4].try_into().unwrap())
    }

    pub(crate) fn u64(&self, at: usize) -> u64 {
        u64::from_be_bytes(self.rest[at..at + 8].try_into().unwrap())
    }

    pub(crate) fn string(&self, at: usize) -> &[u8] {
        &self.rest[at + 4..at + 4 + self.u32(at) as usize]
    }

    #[track_caller]
    pub(crate) fn status(&self) -> u32 {
        assert_eq!(self.kind, STATUS, "{self:?}");
        self.u32(0)
    }

    #[track_caller]
    pub(crate) fn ok(&self) {
        assert_eq!(self.status(), OK, "{}", String::from_utf8_lossy(self.string(4)));
    }

    #[track_caller]
    pub(crate) fn handle(&self) -> Vec<u8> {
        assert_eq!(self.kind, HANDLE, "{}", String::from_utf8_lossy(&self.rest));
        self.string(0).to_vec()
    }

    /// Of ATTRS.
    #[track_caller]
    pub(crate) fn size(&self) -> u64 {
        assert_eq!(self.kind, ATTRS, "{self:?}");
        self.u64(4)
    }
}

impl Raw {
    pub(crate) async fn new(root: &Path) -> Self {
        Self::with(root, Grant::owner_local()).await
    }

    pub(crate) async fn with(root: &Path, grant: Grant) -> Self {
        Self::among(root, grant, Arc::default()).await
    }

    /// With what other sessions have left.
    pub(crate) async fn among(root: &Path, grant: Grant, leftovers: Arc<Leftovers>) -> Self {
        let view = View::new(Arc::new(FsStore::open(root).unwrap()), Arc::new(grant));
        let (ours, theirs) = tokio::io::duplex(256 << 10);
        let (reader, writer) = tokio::io::split(theirs);
        let server = tokio::spawn(serve_resuming(view, leftovers, reader, writer));
        let (from, to) = tokio::io::split(ours);
        let mut raw = Self { from, to, server, next: 0 };
        raw.to.write_all(&[0, 0, 0, 5, 1, 0, 0, 0, 3]).await.unwrap();
        let version = raw.packet().await;
        assert_eq!(version[..5], [2, 0, 0, 0, 3]);
        raw
    }

    pub(crate) async fn packet(&mut self) -> Vec<u8> {
        let length = self.from.read_u32().await.unwrap() as usize;
        let mut packet = vec![0; length];
        self.from.read_exact(&mut packet).await.unwrap();
        packet
    }

    pub(crate) async fn reply(&mut self) -> Reply {
        let packet = self.packet().await;
        let id = u32::from_be_bytes(packet[1..5].try_into().unwrap());
        Reply { kind: packet[0], id, rest: packet[5..].to_vec() }
    }

    /// Sends a request, and gives its number.
    pub(crate) async fn send(&mut self, kind: u8, fields: &[&[u8]]) -> u32 {
        self.next += 1;
        let body = fields.concat();
        let mut packet = (body.len() as u32 + 5).to_be_bytes().to_vec();
        packet.push(kind);
        packet.extend_from_slice(&self.next.to_be_bytes());
        packet.extend_from_slice(&body);
        self.to.write_all(&packet).await.unwrap();
        self.next
    }

    pub(crate) async fn ask(&mut self, kind: u8, fields: &[&[u8]]) -> Reply {
        let id = self.send(kind, fields).await;
        let reply = self.reply().await;
        assert_eq!(reply.id, id);
        reply
    }

    pub(crate) async fn open(&mut self, path: &str, flags: u32) -> Reply {
        self.ask(OPEN, &[&string(path.as_bytes()), &flags.to_be_bytes(), &NO_ATTRIBUTES]).await
    }

    pub(crate) async fn write(&mut self, handle: &[u8], offset: u64, content: &[u8]) -> Reply {
        self.ask(WRITE, &[&string(handle), &offset.to_be_bytes(), &string(content)]).await
    }

    pub(crate) async fn read(&mut self, handle: &[u8], offset: u64, length: u32) -> Reply {
        self.ask(READ, &[&string(handle), &offset.to_be_bytes(), &length.to_be_bytes()]).await
    }

    pub(crate) async fn path(&mut self, kind: u8, path: &str) -> Reply {
        self.ask(kind, &[&string(path.as_bytes())]).await
    }

    pub(crate) async fn close(&mut self, handle: &[u8]) -> Reply {
        self.ask(CLOSE, &[&string(handle)]).await
    }

    /// Ends the connection as a lost one does, and waits until the server has noticed.
    pub(crate) async fn lose(self) -> std::io::Result<()> {
        let Self { from, to, server, .. } = self;
        drop((from, to));
        server.await.unwrap()
    }

    /// Ends this side in good order.
    pub(crate) async fn finish(mut self) {
        self.to.shutdown().await.unwrap();
        let mut rest = Vec::new();
        self.from.read_to_end(&mut rest).await.unwrap();
        self.server.await.unwrap().unwrap();
    }
}

pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// What is in a folder, without what the store keeps for itself.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        dir.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != ".sft");
    names.sort();
    names
}

pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn size(size: u64) -> Vec<u8> {
    [&1u32.to_be_bytes()[..], &size.to_be_bytes()].concat()
}

pub(crate) fn permissions(mode: u32) -> Vec<u8> {
    [4u32.to_be_bytes(), mode.to_be_bytes()].concat()
}

pub(crate) const NO_ATTRIBUTES: [u8; 4] = [0; 4];
pub(crate) const RD: u32 = 1;
pub(crate) const WR: u32 = 2;
pub(crate) const APPEND: u32 = 4;
pub(crate) const CREAT: u32 = 8;
pub(crate) const TRUNC: u32 = 0x10;
pub(crate) const EXCL: u32 = 0x20;
pub(crate) const OPEN: u8 = 3;
pub(crate) const CLOSE: u8 = 4;
pub(crate) const READ: u8 = 5;
pub(crate) const WRITE: u8 = 6;
pub(crate) const LSTAT: u8 = 7;
pub(crate) const FSTAT: u8 = 8;
pub(crate) const SETSTAT: u8 = 9;
pub(crate) const FSETSTAT: u8 = 10;
pub(crate) const OPENDIR: u8 = 11;
pub(crate) const READDIR: u8 = 12;
pub(crate) const REMOVE: u8 = 13;
pub(crate) const MKDIR: u8 = 14;
pub(crate) const RMDIR: u8 = 15;
pub(crate) const REALPATH: u8 = 16;
pub(crate) const STAT: u8 = 17;
pub(crate) const RENAME: u8 = 18;
pub(crate) const READLINK: u8 = 19;
pub(crate) const SYMLINK: u8 = 20;
pub(crate) const EXTENDED: u8 = 200;
pub(crate) const STATUS: u8 = 101;
pub(crate) const HANDLE: u8 = 102;
pub(crate) const DATA: u8 = 103;
pub(crate) const ATTRS: u8 = 105;
pub(crate) const EXTENDED_REPLY: u8 = 201;
pub(crate) const OK: u32 = 0;
pub(crate) const EOF: u32 = 1;
pub(crate) const NO_SUCH_FILE: u32 = 2;
pub(crate) const DENIED: u32 = 3;
pub(crate) const FAILURE: u32 = 4;
pub(crate) const BAD_MESSAGE: u32 = 5;
pub(crate) const UNSUPPORTED: u32 = 8;
