//! One run of scp at this end of a channel.

use std::io;
use std::sync::Arc;

use sft_engine::View;
use tokio::io::{AsyncRead, AsyncWrite};

use super::command::Command;
use super::peer::Peer;
use super::{sink, source};
use crate::sftp::Paths;

/// Takes or gives what was asked for; whether all of it went well.
///
/// - Errors: what reading or writing failed with, [`io::ErrorKind::InvalidData`] for what is no scp, or
///   [`io::ErrorKind::UnexpectedEof`] for a client that went in the middle of a file.
pub async fn serve(
    view: View,
    command: &Command,
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
) -> io::Result<bool> {
    let paths = Arc::new(Paths::new(view));
    let mut peer = Peer::new(reader, writer);
    let served = if command.takes {
        sink::take(&mut peer, &paths, command).await
    } else {
        source::give(&mut peer, &paths, command).await
    };
    peer.end().await;
    served.map(|()| !peer.failed)
}
