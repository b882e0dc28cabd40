//! Gives a client what it asks for by the old scp (`scp -f`).

use std::io;
use std::sync::Arc;

use sft_base::{Kind, Shown};
use sft_engine::wire_error;
use sft_store::{Listing, Source, Stat};
use sft_wire::{Code, WireError};
use tokio::io::{AsyncRead, AsyncWrite};

use super::command::Command;
use super::peer::Peer;
use crate::at_once::in_pool;
use crate::sftp::Paths;

/// A directory being given.
struct Dir {
    path: Vec<u8>,
    listing: Box<dyn Listing>,
    /// The last comes first.
    names: Vec<Vec<u8>>,
}

/// What is at a path.
enum Found {
    File(Arc<dyn Source>, Stat),
    Dir(Box<dyn Listing>, Stat),
}

/// Gives everything that was asked for; what cannot be given is told.
pub(super) async fn give(
    peer: &mut Peer<impl AsyncRead + Unpin, impl AsyncWrite + Unpin>,
    paths: &Arc<Paths>,
    command: &Command,
) -> io::Result<()> {
    if !peer.is_well().await? {
        return Ok(());
    }
    for path in &command.paths {
        give_one(peer, paths, command, path).await?;
    }
    Ok(())
}

async fn give_one(
    peer: &mut Peer<impl AsyncRead + Unpin, impl AsyncWrite + Unpin>,
    paths: &Arc<Paths>,
    command: &Command,
    path: &[u8],
) -> io::Result<()> {
    let name = match paths.meant(path) {
        Ok(meant) => meant.names().last().map(<[u8]>::to_vec),
        Err(error) => return peer.tell(&error.text).await,
    };
    let Some(name) = name else {
        return peer.tell("/: it has no name to be copied by: name what is in it").await;
    };
    let mut dirs = Vec::new();
    enter(peer, paths, command, path.to_vec(), &name, &mut dirs).await?;
    while let Some(dir) = dirs.last_mut() {
        if let Some(name) = dir.names.pop() {
            let path = [&dir.path[..], b"/", &name].concat();
            enter(peer, paths, command, path, &name, &mut dirs).await?;
            continue;
        }
        let Some(Dir { path, mut listing, .. }) = dirs.pop() else { break };
        let (listing, batch) = in_pool(move || {
            let batch = listing.next_batch(NAMES_AT_ONCE);
            (listing, batch)
        })
        .await;
        match batch {
            Ok(batch) if batch.is_empty() => {
                peer.send(b"E\n").await?;
                peer.is_well().await?;
            }
            Ok(batch) => {
                let names = batch.into_iter().map(|(name, _)| name.as_bytes().to_vec()).collect();
                dirs.push(Dir { path, listing, names });
            }
            Err(error) => {
                peer.tell(&wire_error(&error).text).await?;
                peer.send(b"E\n").await?;
                peer.is_well().await?;
            }
        }
    }
    Ok(())
}

/// Gives a file, or begins a directory.
async fn enter(
    peer: &mut Peer<impl AsyncRead + Unpin, impl AsyncWrite + Unpin>,
    paths: &Arc<Paths>,
    command: &Command,
    path: Vec<u8>,
    name: &[u8],
    dirs: &mut Vec<Dir>,
) -> io::Result<()> {
    if name.contains(&b'\n') {
        return peer.tell(&format!("{}: this protocol cannot carry such a name", Shown(&path))).await;
    }
    let (looking, at) = (paths.clone(), path.clone());
    let (recursive, is_inside) = (command.recursive, !dirs.is_empty());
    let (source, stat) = match in_pool(move || find(&looking, &at, recursive, is_inside)).await {
        Err(error) => return peer.tell(&error.text).await,
        Ok(Found::Dir(..)) if dirs.len() >= DEPTH_MAX => {
            let text = format!("{}: it is more than {DEPTH_MAX} directories deep", Shown(&path));
            return peer.tell(&text).await;
        }
        Ok(Found::Dir(listing, stat)) => {
            if begin(peer, command, b'D', &stat, 0, name).await? {
                dirs.push(Dir { path, listing, names: Vec::new() });
            }
            return Ok(());
        }
        Ok(Found::File(source, stat)) => (source, stat),
    };
    if !begin(peer, command, b'C', &stat, stat.meta.size, name).await? {
        return Ok(());
    }
    give_content(peer, source, stat.meta.size, &path).await
}

/// Says what comes; whether the client takes it.
async fn begin(
    peer: &mut Peer<impl AsyncRead + Unpin, impl AsyncWrite + Unpin>,
    command: &Command,
    kind: u8,
    stat: &Stat,
    size: u64,
    name: &[u8],
) -> io::Result<bool> {
    if command.keeps_times {
        let secs = stat.meta.modified.secs.max(0);
        peer.send(format!("T{secs} 0 {secs} 0\n").as_bytes()).await?;
        if !peer.is_well().await? {
            return Ok(false);
        }
    }
    let head = format!("{:04o} {size} ", stat.meta.mode & 0o7777);
    peer.send(&[&[kind], head.as_bytes(), name, b"\n"].concat()).await?;
    peer.is_well().await
}

/// As many bytes as were promised, whatever becomes of the file.
async fn give_content(
    peer: &mut Peer<impl AsyncRead + Unpin, impl AsyncWrite + Unpin>,
    source: Arc<dyn Source>,
    size: u64,
    path: &[u8],
) -> io::Result<()> {
    let mut failed = None;
    let mut at = 0;
    while at < size {
        let want = CHUNK_BYTES.min(usize::try_from(size - at).unwrap_or(CHUNK_BYTES));
        let reading = source.clone();
        let (bytes, read) = in_pool(move || {
            let mut bytes = vec![0; want];
            let read = reading.read_at(at, &mut bytes);
            (bytes, read)
        })
        .await;
        match read {
            Ok(read) if read == want => {}
            Ok(_) => failed = Some(format!("{}: it became shorter while it was read", Shown(path))),
            Err(error) => failed = Some(wire_error(&error).text),
        }
        peer.send(&bytes).await?;
        at += want as u64;
    }
    match failed {
        None => peer.well().await?,
        Some(text) => peer.tell(&text).await?,
    }
    peer.is_well().await.map(|_| ())
}

fn find(paths: &Paths, path: &[u8], recursive: bool, is_inside: bool) -> Result<Found, WireError> {
    // A tree that is followed through its links may have no end.
    let is_link = is_inside && paths.at(path, |path| paths.view.stat(path))?.meta.kind == Kind::Link;
    paths.at_target(path, |path| {
        let stat = paths.view.stat(path)?;
        match stat.meta.kind {
            Kind::Dir if is_link => {
                Err(Code::UNSUPPORTED
                    .because(format!("{path}: a link to a directory is not followed in a tree")))
            }
            Kind::Dir if recursive => Ok(Found::Dir(paths.view.list(path)?, stat)),
            Kind::Dir => {
                Err(Code::IS_A_DIRECTORY.because(format!("{path}: it is a directory; -r copies it")))
            }
            _ => {
                let source: Arc<dyn Source> = paths.view.open(path)?.into();
                let stat = source.stat().map_err(|e| wire_error(&e))?;
                Ok(Found::File(source, stat))
            }
        }
    })
}

/// Every level holds a directory open.
const DEPTH_MAX: usize = 128;
const CHUNK_BYTES: usize = 256 << 10;
const NAMES_AT_ONCE: usize = 256;
