//! `sft ls`: the entries of directories on a host, sorted by the bytes of their names.

use std::ffi::OsString;

use clap::Args;
use jiff::tz::TimeZone;
use sft_client::{Client, Code, Ending, Entry, EntryKind, RemoteLocation, RequestError};

use crate::amount::BinaryBytes;
use crate::app::App;
use crate::args::RemoteArgs;
use crate::exit::Exit;
use crate::names::write_name;
use crate::{listed, place};

/// List directories on a host
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct LsArgs {
    /// Directories, or entries themselves
    #[arg(required = true, value_name = "HOST:PATH")]
    paths: Vec<OsString>,
    /// Show kind, permissions, size and time of each entry
    #[arg(short)]
    long: bool,
    /// Show names that begin with a dot
    #[arg(short)]
    all: bool,
    /// Sizes with a unit, in powers of 1024
    #[arg(short)]
    human: bool,
    /// Accepted out of habit: there is always one entry a line
    #[arg(short = '1')]
    one: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Lists each place that was named.
pub(crate) async fn run(app: &App, typed: LsArgs) -> anyhow::Result<Exit> {
    let places = place::remotes(&typed.paths, "ls")?;
    let mut exit = Exit::Done;
    for (at, place) in places.iter().enumerate() {
        let client = app.client(place, &typed.remote).await?;
        let listed = place::one_of_many(&app.voice, place, entries(&client, place, typed.all).await)?;
        let entries = match listed {
            Ok(entries) => entries,
            Err(failed) => {
                exit = exit.worse(failed);
                continue;
            }
        };
        if places.len() > 1 && !app.voice.json() {
            let gap = if at > 0 { "\n" } else { "" };
            app.voice.write(|out| writeln!(out, "{gap}{place}:"))?;
        }
        show(app, &typed, entries)?;
    }
    Ok(exit)
}

/// What is in a directory; anything else stands for itself.
async fn entries(client: &Client, place: &RemoteLocation, all: bool) -> Result<Vec<Entry>, RequestError> {
    match client.list(&place.path.entry).await {
        Ok(mut entries) => {
            entries.retain(|entry| all || !is_hidden(entry));
            entries.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
            Ok(entries)
        }
        // With a slash at its end the name says that a directory is meant.
        Err(RequestError::Failed(error))
            if error.code == Code::NOT_A_DIRECTORY && place.path.ending == Ending::Name =>
        {
            client.stat(&place.path.entry).await.map(|entry| vec![entry])
        }
        Err(error) => Err(error),
    }
}

fn show(app: &App, typed: &LsArgs, entries: Vec<Entry>) -> anyhow::Result<()> {
    let terminal = app.voice.stdout_terminal();
    if app.voice.json() {
        return entries
            .iter()
            .try_for_each(|entry| app.voice.object(listed::object(entry.path.as_bytes(), entry)));
    }
    let zone = TimeZone::system();
    let size = |entry: &Entry| {
        if typed.human { BinaryBytes(entry.size).to_string() } else { entry.size.to_string() }
    };
    let width = entries.iter().map(|entry| size(entry).len()).max().unwrap_or(0);
    app.voice.write(|out| {
        entries.iter().try_for_each(|entry| {
            if typed.long {
                return listed::write_long(out, entry, &format!("{:>width$}", size(entry)), &zone, terminal);
            }
            write_name(out, entry.path.as_bytes(), terminal)?;
            out.write_all(if terminal && entry.kind == EntryKind::Dir { b"/\n" } else { b"\n" })
        })
    })
}

/// Whether the listing of a directory leaves it out. What was named itself is never hidden.
fn is_hidden(entry: &Entry) -> bool {
    entry.path.as_bytes().starts_with(b".")
}
