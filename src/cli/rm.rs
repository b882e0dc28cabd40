//! `sft rm`: removes entries on a host.

use std::ffi::OsString;

use clap::Args;
use sft_client::{Code, RequestError};

use crate::app::App;
use crate::args::RemoteArgs;
use crate::exit::Exit;
use crate::failure::{Usage, hinted};
use crate::place;

/// Remove entries on a host
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Entries
    #[arg(required = true, value_name = "HOST:PATH")]
    paths: Vec<OsString>,
    /// Remove directories with all that is in them; links are removed, not followed
    #[arg(short, short_alias = 'R')]
    recursive: bool,
    /// Do not mind entries that are not there
    #[arg(short)]
    force: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Removes each entry.
pub(crate) async fn run(app: &App, typed: RmArgs) -> anyhow::Result<Exit> {
    let places = place::remotes(&typed.paths, "rm")?;
    if let Some(root) = places.iter().find(|place| place.path.entry.is_root()) {
        let text = format!(
            "`{root}` is all that the host serves, which `sft rm` does not remove: name what is in it"
        );
        return Err(Usage(text).into());
    }
    let mut exit = Exit::Done;
    for place in places {
        let client = app.client(&place, &typed.remote).await?;
        let removed = match client.remove(&place.path.entry, typed.recursive).await {
            Err(RequestError::Failed(error)) if typed.force && error.code == Code::NOT_FOUND => Ok(0),
            removed => removed,
        };
        let removed = removed.map_err(|error| {
            hinted(
                error,
                Code::DIRECTORY_NOT_EMPTY,
                "the directory is not empty; -r removes it with all that is in it",
            )
        });
        exit = exit.worse(place::goes_on(&app.voice, &place, removed)?);
    }
    Ok(exit)
}
