//! `sft invite`: on the server's machine, makes a link that enrols the key of whoever holds it.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Context as _;
use clap::Args;
use fast_qr::QRBuilder;
use serde_json::{Map, Value, json};
use sft_auth::{DEFAULT_PORT, Grants, InvitationTerms, InviteLink, Rights, ServerIdentity, ServerName};
use sft_base::EntryPath;

use crate::app::App;
use crate::exit::Exit;
use crate::failure::Usage;
use crate::lifetime::Lifetime;

/// Invite somebody to the server on this machine
///
/// Prints a link, which is secret: `sft join LINK` on another machine enrols the key of whoever runs it.
#[derive(Debug, Args)]
pub(crate) struct InviteArgs {
    /// What they may use, below what is served [default: all of it]
    #[arg(long, value_name = "PATH", default_value = "")]
    path: String,
    /// What they may do: list, read, create, replace, remove, share, or a set: fetch, drop, write, all
    #[arg(long, default_value = "read")]
    rights: Rights,
    /// Until when the link can be used: 30m, 12h, 7d, 2w or never
    #[arg(long, value_name = "TIME", default_value = "7d")]
    expires: Lifetime,
    /// How many keys it can enrol
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
    /// For your memory: who it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// The name or address by which they reach this machine [default: its own name]
    #[arg(long, value_name = "HOST[:PORT]")]
    host: Option<ServerName>,
    /// The server's state folder, as given to `sft serve`
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// Makes and prints the link.
pub(crate) fn run(app: &App, typed: InviteArgs) -> anyhow::Result<Exit> {
    let path = EntryPath::from_typed(typed.path.as_bytes()).map_err(|error| {
        Usage(format!("`{}` is not a path that can be served: {error}", typed.path.escape_debug()))
    })?;
    let server = typed.host.map_or_else(own_name, Ok)?;
    let state = typed.state.unwrap_or_else(|| app.folders.state.clone());
    let identity = ServerIdentity::load_or_create(&state)?;
    let now = SystemTime::now();
    let expires = typed.expires.end(now);
    let terms = InvitationTerms {
        path,
        rights: typed.rights,
        expires,
        access_until: None,
        uses: typed.uses,
        note: typed.note,
    };
    let invitation = Grants::open(&state)?.invite(terms, now)?;
    let link = InviteLink {
        server,
        fingerprint: identity.key().fingerprint(),
        secret: invitation.secret,
        path: invitation.terms.path.clone(),
    };
    let text = link.to_text().ok_or_else(|| {
        Usage(format!(
            "{} is an address of this machine's own link alone; name another with --host",
            link.server
        ))
    })?;
    print(app, &link, &text, invitation.terms.rights)
}

fn print(app: &App, link: &InviteLink, text: &str, rights: Rights) -> anyhow::Result<Exit> {
    if app.voice.json() {
        app.voice.object(object(link, text, rights))?;
        return Ok(Exit::Done);
    }
    if app.voice.stdout_terminal() {
        let code = QRBuilder::new(text).build().ok();
        if let Some(code) = code {
            app.voice.write(|out| writeln!(out, "{}", code.to_str()))?;
        }
    }
    app.voice.write(|out| writeln!(out, "{text}"))?;
    app.voice.note(&format!(
        "It lets its holder {rights} on {}. Hand it over in private; they run `sft join` with it. If they reach this \
         machine by another name, make one with --host.",
        link.server
    ));
    Ok(Exit::Done)
}

fn object(link: &InviteLink, text: &str, rights: Rights) -> Map<String, Value> {
    let value = json!({
        "event": "invitation",
        "link": text,
        "id": link.secret.id().to_string(),
        "server": link.server.to_string(),
        "fingerprint": link.fingerprint.to_string(),
        "rights": rights.to_string(),
    });
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// The name of this machine, as far as it knows.
fn own_name() -> anyhow::Result<ServerName> {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    ServerName::new(&name, DEFAULT_PORT)
        .context("this machine has no usable name: say with --host how it is reached")
}
