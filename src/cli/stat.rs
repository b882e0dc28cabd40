//! `sft stat`: what an entry on a host is. A link is told of itself.

use std::ffi::OsString;

use clap::Args;
use jiff::tz::TimeZone;

use crate::app::App;
use crate::args::RemoteArgs;
use crate::exit::Exit;
use crate::{listed, place};

/// Show kind, size, permissions and time of entries on a host
#[derive(Debug, Args)]
pub(crate) struct StatArgs {
    /// Entries
    #[arg(required = true, value_name = "HOST:PATH")]
    paths: Vec<OsString>,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Tells of each entry.
pub(crate) async fn run(app: &App, typed: StatArgs) -> anyhow::Result<Exit> {
    let mut exit = Exit::Done;
    for place in place::remotes(&typed.paths, "stat")? {
        let client = app.client(&place, &typed.remote).await?;
        let entry = client.stat(&place.path.entry).await;
        let entry = match place::one_of_many(&app.voice, &place, entry)? {
            Ok(entry) => entry,
            Err(failed) => {
                exit = exit.worse(failed);
                continue;
            }
        };
        let name = entry.path.as_bytes();
        if app.voice.json() {
            app.voice.object(listed::object(name, &entry))?;
        } else {
            let name = if name.is_empty() { b"." } else { name };
            let terminal = app.voice.stdout_terminal();
            app.voice.write(|out| listed::write_block(out, name, &entry, &TimeZone::system(), terminal))?;
        }
    }
    Ok(exit)
}
