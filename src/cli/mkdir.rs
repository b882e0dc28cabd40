//! `sft mkdir`: makes directories on a host.

use std::ffi::OsString;

use clap::Args;
use sft_client::Code;

use crate::app::App;
use crate::args::RemoteArgs;
use crate::exit::Exit;
use crate::failure::hinted;
use crate::place;

/// Make directories on a host
#[derive(Debug, Args)]
pub(crate) struct MkdirArgs {
    /// Directories
    #[arg(required = true, value_name = "HOST:PATH")]
    paths: Vec<OsString>,
    /// Make missing directories above too, and do not mind one that exists
    #[arg(short)]
    parents: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Makes each directory.
pub(crate) async fn run(app: &App, typed: MkdirArgs) -> anyhow::Result<Exit> {
    let mut exit = Exit::Done;
    for place in place::remotes(&typed.paths, "mkdir")? {
        let client = app.client(&place, &typed.remote).await?;
        let made = client.make_dir(&place.path.entry, typed.parents).await;
        let made = made.map_err(|error| {
            hinted(error, Code::NOT_FOUND, "the directory above it is not there; -p makes it too")
        });
        exit = exit.worse(place::goes_on(&app.voice, &place, made)?);
    }
    Ok(exit)
}
