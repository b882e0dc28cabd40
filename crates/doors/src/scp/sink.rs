//! Takes what a client sends by the old scp (`scp -t`): every file is a draft until all of it has come.

use std::io;
use std::sync::Arc;

use sft_base::{Kind, Time};
use sft_engine::OpenFile;
use sft_store::Attributes;
use sft_wire::{Code, WireError};
use tokio::io::{AsyncRead, AsyncWrite};

use super::command::Command;
use super::peer::{Peer, invalid};
use super::record::{Record, parse};
use crate::at_once::in_pool;
use crate::sftp::Paths;

/// A directory that things are put into, and what it is to have in the end.
struct Dir {
    path: Vec<u8>,
    attributes: Attributes,
}

/// Takes everything until the client has no more.
pub(super) async fn take(
    peer: &mut Peer<impl AsyncRead + Unpin, impl AsyncWrite + Unpin>,
    paths: &Arc<Paths>,
    command: &Command,
) -> io::Result<()> {
    let target = command.paths.first().map_or(&b""[..], Vec::as_slice).to_vec();
    let is_dir = is_dir(paths, &target).await;
    if command.into_directory && !is_dir {
        return peer.tell(&format!("{}: it is not a directory", sft_base::Shown(&target))).await;
    }
    peer.well().await?;
    let mut dirs: Vec<Dir> = Vec::new();
    let mut modified = None;
    while let Some(line) = peer.line().await? {
        let record = match parse(&line) {
            Ok(record) => record,
            Err(unexpected) => {
                let _ = peer.tell(&format!("protocol error: {unexpected}")).await;
                return Err(invalid("what came is no scp"));
            }
        };
        let at = |name: &[u8]| match dirs.last() {
            Some(dir) => below(&dir.path, name),
            None if is_dir => below(&target, name),
            None => target.clone(),
        };
        match record {
            Record::Times { modified: secs } => {
                modified = command.keeps_times.then_some(Time { secs, nanos: 0 });
                peer.well().await?;
            }
            Record::File { mode, size, name } => {
                let kept = Kept::of(paths, command, mode, modified.take());
                take_file(peer, paths, at(&name), size, kept).await?;
            }
            Record::Dir { .. } if !command.recursive => {
                let _ = peer.tell("protocol error: received directory without -r").await;
                return Err(invalid("a directory that was not announced"));
            }
            Record::Dir { .. } if dirs.len() >= DEPTH_MAX => {
                let text = format!("directories more than {DEPTH_MAX} deep in each other are not taken");
                let _ = peer.tell(&text).await;
                return Err(invalid("directories too deep in each other"));
            }
            Record::Dir { mode, name } => {
                let path = at(&name);
                let kept = Kept::of(paths, command, mode, modified.take());
                match make_dir(paths, &path, kept).await {
                    Ok(made) => {
                        // Things could not be put into it with less.
                        let is_wider = made && kept.mode & 0o700 != 0o700;
                        let mode = (is_wider || command.keeps_times).then_some(kept.mode);
                        dirs.push(Dir { path, attributes: Attributes { modified: kept.modified, mode } });
                        peer.well().await?;
                    }
                    Err(error) => peer.tell(&error.text).await?,
                }
            }
            Record::End => {
                let Some(dir) = dirs.pop() else {
                    return Err(invalid("the end of a directory that did not begin"));
                };
                match dress(paths, dir).await {
                    Ok(()) => peer.well().await?,
                    Err(error) => peer.tell(&error.text).await?,
                }
            }
            Record::Warning => peer.failed = true,
            Record::Fatal => return Err(invalid("the client gives up")),
        }
    }
    if dirs.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// What a file or directory is to have, as far as the client may say.
#[derive(Clone, Copy)]
struct Kept {
    mode: u32,
    modified: Option<Time>,
    /// Whether the mode is set as it is, and not only asked for.
    exact: bool,
}

impl Kept {
    fn of(paths: &Paths, command: &Command, mode: u32, modified: Option<Time>) -> Self {
        let bits = if command.keeps_times && paths.view.grant().set_id() { 0o7777 } else { 0o777 };
        Self { mode: mode & bits, modified, exact: command.keeps_times }
    }
}

async fn take_file(
    peer: &mut Peer<impl AsyncRead + Unpin, impl AsyncWrite + Unpin>,
    paths: &Arc<Paths>,
    path: Vec<u8>,
    size: u64,
    kept: Kept,
) -> io::Result<()> {
    let opening = paths.clone();
    let opened = in_pool(move || opening.at_target(&path, |path| begin(&opening, path, kept))).await;
    let draft = match opened {
        Ok(draft) => Arc::new(draft),
        // The client sends nothing of it then.
        Err(error) => return peer.tell(&error.text).await,
    };
    peer.well().await?;
    let mut failed = None;
    let mut at = 0;
    while at < size {
        let bytes = peer.bytes(CHUNK_BYTES.min(usize::try_from(size - at).unwrap_or(CHUNK_BYTES))).await?;
        let count = bytes.len() as u64;
        // What cannot be written still has to be read.
        if failed.is_none() {
            let draft = draft.clone();
            failed = in_pool(move || draft.write_at(at, &bytes)).await.err();
        }
        at += count;
    }
    // A client that could not read all of its file has sent zeros in place of it.
    let is_whole = peer.is_well().await?;
    let ended = match failed {
        Some(error) => Err(error),
        None if !is_whole => Err(Code::READ.because("the client could not read it, and nothing was changed")),
        None => in_pool(move || complete(&draft, kept)).await,
    };
    match ended {
        Ok(()) => peer.well().await,
        Err(error) => peer.tell(&error.text).await,
    }
}

/// A draft of what is to be there; nothing that is there is touched.
fn begin(paths: &Paths, path: &sft_base::EntryPath, kept: Kept) -> Result<OpenFile, WireError> {
    let view = &paths.view;
    match view.stat(path) {
        Ok(stat) if stat.meta.kind == Kind::Dir => {
            Err(Code::IS_A_DIRECTORY.because(format!("{path}: it is a directory")))
        }
        Ok(stat) => {
            // Opened to see that it may be written.
            view.open_in_place(path)?;
            let draft = view.draft(path, 0o600, false)?;
            let mode = Some(if kept.exact { kept.mode } else { stat.meta.mode & 0o777 });
            draft.set_attributes(&Attributes { modified: None, mode })?;
            Ok(draft)
        }
        Err(error) if error.code == Code::NOT_FOUND || error.code == Code::DENIED => {
            if let Some(parent) = path.parent()
                && let Err(error) = view.stat(&parent)
                && error.code == Code::NOT_FOUND
            {
                return Err(error);
            }
            view.draft(path, kept.mode & 0o777, false)
        }
        Err(error) => Err(error),
    }
}

fn complete(draft: &OpenFile, kept: Kept) -> Result<(), WireError> {
    let mode = kept.exact.then_some(kept.mode);
    let unapplied = draft.set_attributes(&Attributes { modified: kept.modified, mode })?;
    draft.publish()?;
    told(&unapplied)
}

async fn make_dir(paths: &Arc<Paths>, path: &[u8], kept: Kept) -> Result<bool, WireError> {
    let (paths, path) = (paths.clone(), path.to_vec());
    in_pool(move || {
        paths.at_target(&path, |path| match paths.view.stat(path) {
            Ok(stat) if stat.meta.kind == Kind::Dir => Ok(false),
            Ok(_) => Err(Code::NOT_A_DIRECTORY.because(format!("{path}: it is not a directory"))),
            // Things are put into it before it has its own mode.
            Err(_) => paths.view.make_dir(path, kept.mode & 0o777 | 0o700).map(|()| true),
        })
    })
    .await
}

async fn dress(paths: &Arc<Paths>, dir: Dir) -> Result<(), WireError> {
    if dir.attributes == Attributes::default() {
        return Ok(());
    }
    let paths = paths.clone();
    in_pool(move || {
        let set = |path: &sft_base::EntryPath| paths.view.set_attributes(path, &dir.attributes);
        told(&paths.at_target(&dir.path, set)?)
    })
    .await
}

fn told(unapplied: &[sft_store::Unapplied]) -> Result<(), WireError> {
    match unapplied.first() {
        Some(unapplied) => Err(Code::PERMISSION.because(unapplied.to_string())),
        None => Ok(()),
    }
}

async fn is_dir(paths: &Arc<Paths>, path: &[u8]) -> bool {
    let (paths, path) = (paths.clone(), path.to_vec());
    let stat = in_pool(move || paths.at_target(&path, |path| paths.view.stat(path)));
    stat.await.is_ok_and(|stat| stat.meta.kind == Kind::Dir)
}

fn below(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

/// Every level is remembered until its end.
const DEPTH_MAX: usize = 256;
const CHUNK_BYTES: usize = 256 << 10;
