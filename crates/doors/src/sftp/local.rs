//! SFTP for the user who runs this program: their own directory, over streams that somebody else has opened for them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sft_auth::{Grant, Rights};
use sft_base::EntryPath;
use sft_engine::View;
use sft_store::{FsStore, StoreError};
use tokio::io::{AsyncRead, AsyncWrite};

/// Why a directory was not served to its end.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The directory cannot be served.
    #[error("{}: this directory cannot be served", root.display())]
    Root {
        /// Which.
        root: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// The client's side ended in the middle, or spoke no SFTP.
    #[error("the SFTP session ended early")]
    Session(#[source] io::Error),
}

/// Serves a directory as the user who runs this program, whoever let the client in: an SSH server, as its subsystem.
pub async fn serve_local(
    root: &Path,
    read_only: bool,
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin + Send + 'static,
) -> Result<(), LocalError> {
    let store = FsStore::open(root).map_err(|source| LocalError::Root { root: root.to_owned(), source })?;
    let mut grant = Grant::owner_local();
    if read_only {
        grant = grant.narrowed(&EntryPath::root(), Rights::READ);
    }
    let view = View::new(Arc::new(store), Arc::new(grant));
    super::serve(view, reader, writer).await.map_err(LocalError::Session)
}
