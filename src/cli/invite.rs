//! `sft invite`: on the server's machine, makes a link that enrols the key of whoever holds it.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Context as _;
use clap::Args;
use fast_qr::QRBuilder;
use serde_json::{Map, Value, json};
use sft_auth::{Grants, InvitationTerms, InviteLink, Password, Rights, Scope, ServerIdentity, ServerName};
use sft_base::EntryPath;

use super::given;
use crate::app::App;
use crate::exit::Exit;
use crate::failure::Usage;
use crate::granted::Granted;
use crate::lifetime::Lifetime;
use crate::names::shown;
use crate::served_port;

/// Invite somebody to the server on this machine
///
/// Prints a link, which is secret: `sft join LINK` on another machine enrols the key of whoever runs it. With --password it
/// prints a password instead, for clients of SFTP that have no key. With --list it shows who was let in, and with --revoke it takes
/// that back, sessions that are open included.
#[derive(Debug, Args)]
pub(crate) struct InviteArgs {
    /// Show what was given and is not over: keys, passwords and links
    #[arg(long, conflicts_with_all = ["revoke", "path", "rights", "password", "expires", "uses", "note", "host"])]
    list: bool,
    /// Take back a key, a password or a link, by its name in --list, or by its note if no other has it and it has no other
    #[arg(long, value_name = "NAME",
        conflicts_with_all = ["path", "rights", "password", "expires", "uses", "note", "host"])]
    revoke: Vec<String>,
    /// What they may use, below what is served [default: all of it]
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    path: String,
    /// What they may do: list, read, create, replace, remove, share, or a set: fetch, drop, write, all
    #[arg(long, default_value = "read")]
    rights: Rights,
    /// Make a password for SFTP, and no link
    #[arg(long, conflicts_with = "uses")]
    password: bool,
    /// Until when the link, or the password, can be used: 30m, 12h, 7d, 2w or never
    #[arg(long, value_name = "TIME", default_value = "7d")]
    expires: Lifetime,
    /// How many keys it can enrol
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
    /// For your memory: who it is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    note: String,
    /// The name or address by which they reach this machine, and the port if it is another there [default: its own name,
    /// and the port on which `sft serve` listens]
    #[arg(long, value_name = "HOST[:PORT]")]
    host: Option<String>,
    /// The server's state folder, as given to `sft serve`
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// Makes and prints the link, or what else was asked for.
pub(crate) fn run(app: &App, typed: InviteArgs) -> anyhow::Result<Exit> {
    let state = typed.state.unwrap_or_else(|| app.folders.state.clone());
    if typed.list {
        return given::list(app, &state);
    }
    if !typed.revoke.is_empty() {
        return given::revoke(app, &state, &typed.revoke);
    }
    let path = EntryPath::from_typed(typed.path.as_bytes()).map_err(|error| {
        Usage(format!("`{}` is not a path that can be served: {error}", typed.path.escape_debug()))
    })?;
    let server = server_name(typed.host.as_deref(), served_port::read(&state))?;
    let is_new = !state.join("identity").exists();
    let identity = ServerIdentity::load_or_create(&state)?;
    if is_new {
        let text =
            "no `sft serve` has run with this state folder yet, and the link is good for one that does";
        app.voice.warn(&format!("{}: {text}", shown(&state)));
    }
    let now = SystemTime::now();
    let expires = typed.expires.end(now);
    if typed.password {
        let scope = Scope { path, rights: typed.rights, expires };
        let password = Grants::open(&state)?.make_password(&typed.note, scope.clone(), now)?;
        return print_password(app, &server, &identity, &password, &scope);
    }
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
            "{} is an address that has a meaning on this machine alone; name another with --host",
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
        "It lets its holder {} {} {}. Hand it over in private; they run `sft join` with it. If they reach this machine by \
         another name, make one with --host.",
        Granted(rights),
        if link.path.is_root() { "on".to_owned() } else { format!("in {} on", link.path) },
        link.server
    ));
    Ok(Exit::Done)
}

fn print_password(
    app: &App,
    server: &ServerName,
    identity: &ServerIdentity,
    password: &Password,
    scope: &Scope,
) -> anyhow::Result<Exit> {
    let (text, fingerprint) = (password.to_text(), identity.key().fingerprint());
    if app.voice.json() {
        let value = json!({
            "event": "password",
            "password": text.as_str(),
            "server": server.to_string(),
            "fingerprint": fingerprint.to_string(),
            "rights": scope.rights.to_string(),
        });
        let Value::Object(object) = value else { return Ok(Exit::Done) };
        app.voice.object(object)?;
        return Ok(Exit::Done);
    }
    app.voice.write(|out| writeln!(out, "{}", text.as_str()))?;
    app.voice.note(&format!(
        "It lets whoever has it {} {} {}, by SFTP, port {}, under any user name. The server shows {fingerprint}. Hand it over in private.",
        Granted(scope.rights),
        if scope.path.is_root() { "on".to_owned() } else { format!("in {} on", scope.path) },
        server.host(),
        server.port()
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

/// How the invited reach this server: as was typed, else by this machine's own name; on `port` where no other was typed.
fn server_name(typed: Option<&str>, port: u16) -> anyhow::Result<ServerName> {
    let Some(typed) = typed else {
        let uname = rustix::system::uname();
        return ServerName::new(&uname.nodename().to_string_lossy(), port)
            .context("this machine has no usable name: say with --host how it is reached");
    };
    // A host alone, which may be an address with colons, before a host with a port.
    let name = ServerName::new(typed, port).or_else(|_| typed.parse());
    name.map_err(|error| Usage(format!("--host: {error}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_the_servers_own_unless_typed() {
        let cases = [
            ("nas", "nas:4711"),
            ("nas:1303", "nas:1303"),
            ("192.0.2.1", "192.0.2.1:4711"),
            ("2001:db8::1", "[2001:db8::1]:4711"),
            ("[2001:db8::1]", "[2001:db8::1]:4711"),
            ("[2001:db8::1]:22", "[2001:db8::1]:22"),
        ];
        for (typed, name) in cases {
            assert_eq!(server_name(Some(typed), 4711).unwrap().to_string(), name, "{typed}");
        }
        assert_eq!(server_name(None, 4711).unwrap().port(), 4711);
        let error = server_name(Some("a/b"), 4711).unwrap_err();
        assert!(
            error.is::<Usage>() && error.to_string().starts_with("--host: `a/b` is not a host"),
            "{error}"
        );
    }
}
