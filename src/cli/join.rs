//! `sft join`: redeems an invitation, so that a server knows this user's key and this user trusts the server's.

use std::io::BufRead as _;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use sft_auth::{ClientKeys, InviteLink, KeySearch, Right, Rights};
use sft_client::{Client, ConnectError, RemoteLocation, RemotePath};

use crate::app::App;
use crate::args::RemoteArgs;
use crate::cli::key;
use crate::exit::Exit;
use crate::failure::{Refused, Usage};
use crate::granted::Granted;
use crate::names::shown;

/// Redeem an invitation: enrol your key on a server, and trust its key
#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// What `sft invite` printed; `-` reads it from the standard input
    link: String,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Redeems it.
pub(crate) async fn run(app: &App, typed: JoinArgs) -> anyhow::Result<Exit> {
    let link = read(&typed.link)?;
    make_key_if_none(app, &typed.remote)?;
    let host = RemoteLocation {
        user: None,
        host: link.server.host().to_owned(),
        port: Some(link.server.port()),
        path: RemotePath::of(link.path.clone()),
    };
    let client = app.join(link, &host, &typed.remote).await.map_err(explained)?;
    tell(app, &client, &host).await
}

fn read(typed: &str) -> anyhow::Result<InviteLink> {
    let mut text = typed.to_owned();
    if typed == "-" {
        text.clear();
        std::io::stdin()
            .lock()
            .read_line(&mut text)
            .context("cannot read the link from the standard input")?;
    }
    text.parse().map_err(|error: sft_auth::InviteLinkError| Usage(error.to_string()).into())
}

/// A server that knows neither the keys nor the invitation does not say more; here it is known that there was one.
fn explained(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref() {
        Some(ConnectError::Denied { server, .. }) => Refused(format!(
            "{server} does not take this invitation: it was used up, withdrawn, or is out of date. Ask for a new one"
        ))
        .into(),
        _ => error,
    }
}

/// Whoever has no key at all gets one: an invitation is all that should be needed.
fn make_key_if_none(app: &App, remote: &RemoteArgs) -> anyhow::Result<()> {
    let keys = ClientKeys::find(&KeySearch::usual(&app.folders, remote.typed().identity))?;
    if keys.keys().is_empty() {
        let path = app.folders.own_key();
        let public = ClientKeys::generate(&path, &key::comment(), None)?;
        app.voice.note(&format!("made a key for you: {} ({})", shown(&path), public.fingerprint()));
    }
    Ok(())
}

/// What to type for somebody who may not list.
fn without_looking(rights: Rights, host: &RemoteLocation) -> String {
    let name = if host.to_string().ends_with('/') { "NAME" } else { "/NAME" };
    if rights.has(Right::Read) { format!("cat {host}{name}") } else { format!("cp FILE {host}{name}") }
}

async fn tell(app: &App, client: &Client, host: &RemoteLocation) -> anyhow::Result<Exit> {
    let (server, identity, rights) = (client.server(), client.identity().await?, client.rights().await?);
    if app.voice.json() {
        let value = json!({
            "event": "joined", "server": server.to_string(), "identity": identity, "rights": rights.to_string(),
            "location": host.to_string(),
        });
        if let Value::Object(object) = value {
            app.voice.object(object)?;
        }
        return Ok(Exit::Done);
    }
    let may = Granted(rights);
    let what = if rights.has(Right::List) { format!("ls {host}") } else { without_looking(rights, host) };
    app.voice.note(&format!("joined {server} as {identity}; you may {may}. Try:\n    sft {what}"));
    Ok(Exit::Done)
}
