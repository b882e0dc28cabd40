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

/// Writes each file; goes on after one that fails.
pub(crate) async fn run(app: &App, typed: CatArgs) -> anyhow::Result<Exit> {
    let mut exit = Exit::Done;
    for place in place::remotes(&typed.paths, "cat")? {
        let client = app.client(&place, &typed.remote).await?;
        let mut content = client.content(&place.path.entry);
        loop {
            match place::one_of_many(&app.voice, &place, content.next().await)? {
                Ok(Some(chunk)) => app.voice.write(|out| out.write_all(&chunk))?,
                Ok(None) => break,
                Err(failed) => {
                    exit = exit.worse(failed);
                    break;
                }
            }
        }
    }
    Ok(exit)
}
