//! `sft key`: the keys by which servers know this user.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::Map;
use sft_auth::{ClientKey, ClientKeys, KeySearch, KeySource};

use crate::app::App;
use crate::exit::Exit;
use crate::failure::Usage;
use crate::names::{put_path, shown};

/// Show or make the keys by which servers know you
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show the public keys, in the form that authorized_keys takes [default]
    Show {
        /// Key file, before all others
        #[arg(short, long, value_name = "FILE")]
        identity: Option<PathBuf>,
    },
    /// Make a key of sft's own
    New {
        /// Protect it with a passphrase, which is asked for
        #[arg(long)]
        passphrase: bool,
    },
}

/// Shows or makes.
pub(crate) fn run(app: &App, typed: KeyArgs) -> anyhow::Result<Exit> {
    match typed.what.unwrap_or(What::Show { identity: None }) {
        What::Show { identity } => show(app, identity),
        What::New { passphrase } => new(app, passphrase),
    }
}

fn show(app: &App, identity: Option<PathBuf>) -> anyhow::Result<Exit> {
    let keys = ClientKeys::find(&KeySearch::usual(&app.folders, identity))?;
    for skipped in keys.skipped() {
        app.voice.warn(&format!("passed over: {skipped}"));
    }
    if keys.keys().is_empty() {
        app.voice.warn("you have no key yet; `sft key new` makes one");
    }
    for key in keys.keys() {
        if app.voice.json() {
            app.voice.object(object(key))?;
        } else {
            app.voice.write(|out| out.write_all(block(key).as_bytes()))?;
        }
    }
    Ok(Exit::Done)
}

fn new(app: &App, with_passphrase: bool) -> anyhow::Result<Exit> {
    let path = app.folders.own_key();
    if path.exists() {
        // Before a passphrase is asked for that would be for nothing.
        return Err(sft_auth::KeyFileError::Exists { path }.into());
    }
    let passphrase = with_passphrase.then(|| new_passphrase(app)).transpose()?;
    let public = ClientKeys::generate(&path, &comment(), passphrase.as_deref().map(String::as_str))?;
    if app.voice.json() {
        let mut object = Map::new();
        put_path(&mut object, path.as_os_str().as_encoded_bytes());
        object.insert("fingerprint".into(), public.fingerprint().to_string().into());
        object.insert("public".into(), public.to_line().into());
        app.voice.object(object)?;
        return Ok(Exit::Done);
    }
    app.voice.note(&format!("made {} ({})", shown(&path), public.fingerprint()));
    app.voice.write(|out| writeln!(out, "{} {}", public.to_line(), comment()))?;
    app.voice.note("the line above goes into ~/.ssh/authorized_keys of whoever serves");
    Ok(Exit::Done)
}

fn new_passphrase(app: &App) -> anyhow::Result<sft_client::Passphrase> {
    if !app.voice.can_ask() {
        return Err(Usage("a passphrase can only be asked for on a terminal".into()).into());
    }
    let ask = |question| rpassword::prompt_password(question).map(sft_client::Passphrase::new);
    let first = ask("New passphrase: ").context("cannot ask for the passphrase")?;
    let again = ask("The same again: ").context("cannot ask for the passphrase")?;
    if *first != *again {
        return Err(Usage("the two passphrases differ; no key was made".into()).into());
    }
    if first.is_empty() {
        return Err(
            Usage("the passphrase is empty; leave --passphrase away for a key without one".into()).into()
        );
    }
    Ok(first)
}

/// Where a new key comes from, for whoever meets it in a list.
pub(crate) fn comment() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "sft".into());
    let uname = rustix::system::uname();
    format!("{user}@{}", uname.nodename().to_string_lossy())
}

/// A comment line that says which key it is, and the line for authorized_keys: the whole can be appended there.
fn block(key: &ClientKey) -> String {
    let (public, comment) = (key.public(), key.comment());
    let space = if comment.is_empty() { "" } else { " " };
    let comment = comment.escape_debug();
    format!("# {} from {}\n{}{space}{comment}\n", public.fingerprint(), source(key), public.to_line())
}

fn source(key: &ClientKey) -> String {
    match key.source() {
        KeySource::Agent(socket) => format!("the ssh-agent at {}", shown(socket)),
        KeySource::File(path) => shown(path),
    }
}

fn object(key: &ClientKey) -> Map<String, serde_json::Value> {
    let mut object = Map::new();
    object.insert("fingerprint".into(), key.public().fingerprint().to_string().into());
    object.insert("public".into(), key.public().to_line().into());
    object.insert("comment".into(), key.comment().into());
    object.insert("source".into(), source(key).into());
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_appended_to_authorized_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        ClientKeys::generate(&path, "ana@home", None).unwrap();
        let keys = ClientKeys::find(&KeySearch { files: vec![path], ..KeySearch::default() }).unwrap();
        let text = block(&keys.keys()[0]);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("# SHA256:"), "{text}");
        assert!(lines[1].starts_with("ssh-ed25519 ") && lines[1].ends_with(" ana@home"), "{text}");
        assert_eq!(lines.len(), 2);
    }
}
