//! `sft df`: how much room a host has.

use std::ffi::OsString;

use clap::Args;
use serde_json::{Map, Value, json};
use sft_client::{RemoteLocation, Room};

use crate::amount::BinaryBytes;
use crate::app::App;
use crate::args::RemoteArgs;
use crate::exit::Exit;
use crate::place;

/// Show how much room a host has
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct DfArgs {
    /// Hosts
    #[arg(required = true, value_name = "HOST:")]
    hosts: Vec<OsString>,
    /// Sizes with a unit, in powers of 1024
    #[arg(short)]
    human: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Tells the room of each host.
pub(crate) async fn run(app: &App, typed: DfArgs) -> anyhow::Result<Exit> {
    let mut rows = Vec::new();
    for place in place::remotes(&typed.hosts, "df")? {
        let client = app.client(&place, &typed.remote).await?;
        let room = client.space().await.map_err(|error| place::about(&place, error))?;
        if app.voice.json() {
            app.voice.object(object(&place, room))?;
        } else {
            rows.push((place.to_string(), room));
        }
    }
    if !app.voice.json() {
        app.voice.write(|out| out.write_all(table(&rows, typed.human).as_bytes()))?;
    }
    Ok(Exit::Done)
}

fn object(place: &RemoteLocation, room: Room) -> Map<String, Value> {
    let object = json!({ "host": place.to_string(), "total": room.total, "available": room.available });
    match object {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn table(rows: &[(String, Room)], human: bool) -> String {
    let show = |bytes: u64| if human { BinaryBytes(bytes).to_string() } else { bytes.to_string() };
    let width = rows.iter().map(|(host, _)| host.chars().count()).max().unwrap_or(0).max(4);
    let head = format!("{:<width$}  {:>20}  {:>20}  {:>4}\n", "Host", "Size", "Available", "Use");
    rows.iter().fold(head, |table, (host, room)| {
        let used = room.total.saturating_sub(room.available);
        let percent = (u128::from(used) * 100).div_ceil(u128::from(room.total.max(1)));
        let (size, available) = (show(room.total), show(room.available));
        table + &format!("{host:<width$}  {size:>20}  {available:>20}  {percent:>3}%\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_host() {
        let rows = [("nas:".to_owned(), Room { total: 1 << 40, available: 1 << 39 })];
        let expected = "Host                  Size             Available   Use\n\
                        nas:                  1.0T                  512G   50%\n";
        assert_eq!(table(&rows, true), expected);
        assert!(table(&rows, false).contains(" 1099511627776 "));
        assert!(table(&[("a".into(), Room { total: 0, available: 0 })], false).contains("  0%"));
    }
}
