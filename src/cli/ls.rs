//! `sft ls`: the entries of directories on a host, sorted by the bytes of their names.

use std::ffi::OsString;

use clap::Args;
use jiff::tz::TimeZone;
use sft_client::{Client, Code, Entry, EntryKind, RemoteLocation, RequestError};

use crate::app::App;
use crate::args::RemoteArgs;
use crate::exit::Exit;
use crate::names::write_name;
use crate::{listed, place};

/// List directories on a host
#[derive(Debug, Args)]
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
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Lists each place that was named.
pub(crate) async fn run(app: &App, typed: LsArgs) -> anyhow::Result<Exit> {
    let places = place::remotes(&typed.paths, "ls")?;
    for (at, place) in places.iter().enumerate() {
        let client = app.connect(place, &typed.remote).await?;
        let entries = entries(&client, place).await.map_err(|error| place::about(place, error))?;
        if places.len() > 1 && !app.voice.json() {
            let gap = if at > 0 { "\n" } else { "" };
            app.voice.write(|out| writeln!(out, "{gap}{place}:"))?;
        }
        show(app, &typed, entries)?;
    }
    Ok(Exit::Done)
}

/// What is in a directory; anything else stands for itself.
async fn entries(client: &Client, place: &RemoteLocation) -> Result<Vec<Entry>, RequestError> {
    let mut entries = Vec::new();
    let mut listing = client.list(&place.path.entry).await?;
    loop {
        match listing.next_page().await {
            Ok(Some(page)) => entries.extend(page),
            Ok(None) => break,
            Err(RequestError::Failed(error)) if error.code == Code::NOT_A_DIRECTORY => {
                return client.stat(&place.path.entry).await.map(|entry| vec![entry]);
            }
            Err(error) => return Err(error),
        }
    }
    entries.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    Ok(entries)
}

fn show(app: &App, typed: &LsArgs, mut entries: Vec<Entry>) -> anyhow::Result<()> {
    entries.retain(|entry| typed.all || !is_hidden(entry));
    let terminal = app.voice.stdout_terminal();
    if app.voice.json() {
        return entries
            .iter()
            .try_for_each(|entry| app.voice.object(listed::object(entry.path.as_bytes(), entry)));
    }
    let zone = TimeZone::system();
    let width = entries.iter().map(|entry| entry.size).max().unwrap_or(0).to_string().len();
    app.voice.write(|out| {
        entries.iter().try_for_each(|entry| {
            if typed.long {
                return listed::write_long(out, entry, width, &zone, terminal);
            }
            write_name(out, entry.path.as_bytes(), terminal)?;
            out.write_all(if terminal && entry.kind == EntryKind::Dir { b"/\n" } else { b"\n" })
        })
    })
}

/// Whether a listing leaves it out. What was named itself is never hidden, and has a path of more than one name or none.
fn is_hidden(entry: &Entry) -> bool {
    entry.path.as_bytes().starts_with(b".")
}
