//! `sft trust`: the servers whose keys this user has pinned.

use clap::{Args, Subcommand};
use serde_json::Map;
use sft_auth::{Fingerprint, ServerName, Trust, TrustCheck};

use crate::app::App;
use crate::exit::Exit;
use crate::failure::{Refused, Usage};

/// Show or change the list of servers that you trust
#[derive(Debug, Args)]
pub(crate) struct TrustArgs {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show the servers and the fingerprints of their keys [default]
    List,
    /// Trust a server that shows this fingerprint
    Add {
        /// HOST[:PORT]
        #[arg(value_name = "HOST[:PORT]")]
        server: ServerName,
        /// What `sft serve` shows there
        #[arg(value_name = "SHA256:...")]
        fingerprint: Fingerprint,
    },
    /// Forget a server
    Remove {
        /// HOST[:PORT]
        #[arg(value_name = "HOST[:PORT]")]
        server: ServerName,
    },
}

/// Shows or changes.
pub(crate) fn run(app: &App, typed: TrustArgs) -> anyhow::Result<Exit> {
    let trust = Trust::open(&app.folders.trusted())?;
    match typed.what.unwrap_or(What::List) {
        What::List => list(app, &trust),
        What::Add { server, fingerprint } => add(app, &trust, &server, fingerprint),
        What::Remove { server } => remove(app, &trust, &server),
    }
}

fn list(app: &App, trust: &Trust) -> anyhow::Result<Exit> {
    for known in trust.list()? {
        let (server, fingerprint) = (known.server.to_string(), known.fingerprint.to_string());
        if app.voice.json() {
            let mut object = Map::new();
            object.insert("server".into(), server.into());
            object.insert("fingerprint".into(), fingerprint.into());
            app.voice.object(object)?;
        } else {
            app.voice.write(|out| writeln!(out, "{server} {fingerprint}"))?;
        }
    }
    Ok(Exit::Done)
}

fn add(app: &App, trust: &Trust, server: &ServerName, fingerprint: Fingerprint) -> anyhow::Result<Exit> {
    match trust.check(server, fingerprint)? {
        TrustCheck::Known => app.voice.note(&format!("{server} was trusted already")),
        TrustCheck::Unknown => {
            trust.pin(server, fingerprint)?;
            app.voice.note(&format!("{server} is trusted from now on"));
        }
        TrustCheck::Changed { was } => {
            let text = format!(
                "{server} is pinned with another key, {was}; if that is out of date, run `sft trust remove {server}` first"
            );
            return Err(Refused(text).into());
        }
    }
    Ok(Exit::Done)
}

fn remove(app: &App, trust: &Trust, server: &ServerName) -> anyhow::Result<Exit> {
    if !trust.remove(server)? {
        return Err(Usage(format!("{server} is not in the list, which `sft trust list` shows")).into());
    }
    app.voice.note(&format!("{server} is forgotten; it will be asked about when you connect again"));
    Ok(Exit::Done)
}
