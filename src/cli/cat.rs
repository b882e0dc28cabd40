//! `sft cat`: contents of files on a host, to stdout, byte for byte.

use std::ffi::OsString;

use clap::Args;

use crate::app::App;
use crate::args::RemoteArgs;
use crate::exit::Exit;
use crate::place;

/// Write the contents of files on a host to the standard output
#[derive(Debug, Args)]
pub(crate) struct CatArgs {
    /// Files
    #[arg(required = true, value_name = "HOST:PATH")]
    paths: Vec<OsString>,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Writes each file.
pub(crate) async fn run(app: &App, typed: CatArgs) -> anyhow::Result<Exit> {
    for place in place::remotes(&typed.paths, "cat")? {
        let client = app.connect(&place, &typed.remote).await?;
        let mut content = client.content(&place.path.entry);
        while let Some(chunk) = content.next().await.map_err(|error| place::about(&place, error))? {
            app.voice.write(|out| out.write_all(&chunk))?;
        }
    }
    Ok(Exit::Done)
}
