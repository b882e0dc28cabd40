//! `sft mv`: gives entries of a host other names on that host.

use std::ffi::OsString;

use clap::Args;
use sft_client::{Client, Code, Ending, EntryKind, EntryPath, RemoteLocation, RequestError};

use crate::app::App;
use crate::args::RemoteArgs;
use crate::exit::Exit;
use crate::failure::Usage;
use crate::place;

/// Rename or move entries on a host
#[derive(Debug, Args)]
pub(crate) struct MvArgs {
    /// Entries, all on one host
    #[arg(required = true, value_name = "HOST:SRC")]
    sources: Vec<OsString>,
    /// The new name on the same host, or a directory to move into
    #[arg(value_name = "HOST:DST")]
    destination: OsString,
    /// Do not replace what is there
    #[arg(short, long)]
    no_clobber: bool,
    /// Accepted out of habit: what is there gives way unless -n says otherwise
    #[arg(short, conflicts_with = "no_clobber")]
    force: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Moves each entry.
pub(crate) async fn run(app: &App, typed: MvArgs) -> anyhow::Result<Exit> {
    let sources = place::remotes(&typed.sources, "mv")?;
    let destination = place::remote(&typed.destination, "mv")?;
    if let Some(other) = sources.iter().find(|source| !place::same_host(source, &destination)) {
        let text = format!(
            "`{other}` and `{destination}` are on different hosts: copy with `sft cp` to this machine and from here"
        );
        return Err(Usage(text).into());
    }
    let client = app.client(&destination, &typed.remote).await?;
    let inside = lands_inside(&client, &destination, sources.len()).await?;
    let mut exit = Exit::Done;
    for source in sources {
        let to = new_path(&source, &destination, inside)?;
        let moved = client.rename(&source.path.entry, &to, !typed.no_clobber).await;
        exit = exit.worse(place::goes_on(&app.voice, &source, moved)?);
    }
    Ok(exit)
}

/// Whether sources keep their names in the destination: when it is a directory, which it must be for several.
async fn lands_inside(client: &Client, destination: &RemoteLocation, sources: usize) -> anyhow::Result<bool> {
    let path = &destination.path;
    if path.entry.is_root() {
        return Ok(true);
    }
    let is_dir = match client.stat(&path.entry).await {
        Ok(entry) => entry.kind == EntryKind::Dir,
        Err(RequestError::Failed(error)) if error.code == Code::NOT_FOUND => false,
        Err(error) => return Err(place::about(destination, error)),
    };
    if !is_dir && (sources > 1 || path.ending != Ending::Name) {
        return Err(Usage(format!("`{destination}` is not a directory: make it with `sft mkdir`")).into());
    }
    Ok(is_dir)
}

fn new_path(
    source: &RemoteLocation,
    destination: &RemoteLocation,
    inside: bool,
) -> anyhow::Result<EntryPath> {
    let Some(name) = source.path.entry.file_name() else {
        return Err(
            Usage(format!("`{source}` is all that the host serves, which has no name to change")).into()
        );
    };
    let to = &destination.path.entry;
    if !inside {
        return Ok(to.clone());
    }
    to.join(&name).map_err(|error| Usage(format!("`{destination}` cannot take `{name}`: {error}")).into())
}
