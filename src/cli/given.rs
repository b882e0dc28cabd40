//! What `sft invite --list` and `--revoke` say: who has been let into the server of this machine, and taking that back.

use std::path::Path;
use std::time::SystemTime;

use serde_json::{Map, Value, json};
use sft_auth::{Given, GivenKind, Grants, TakenBack};
use sft_base::Shown;

use crate::app::App;
use crate::exit::Exit;
use crate::failure::Usage;
use crate::granted::Granted;

/// Shows all that was given and is not over.
pub(crate) fn list(app: &App, state: &Path) -> anyhow::Result<Exit> {
    let given = Grants::open(state)?.given(SystemTime::now())?;
    if given.is_empty() {
        app.voice.note("nobody is invited; the keys in authorized_keys own what is served");
    }
    for one in &given {
        if app.voice.json() {
            app.voice.object(object("given", one))?;
        } else {
            app.voice.write(|out| writeln!(out, "{} {}", one.name, sentence(one)))?;
        }
    }
    Ok(Exit::Done)
}

/// Takes back what has one of these names, or notes, each by itself.
pub(crate) fn revoke(app: &App, state: &Path, names: &[String]) -> anyhow::Result<Exit> {
    let grants = Grants::open(state)?;
    for name in names {
        match grants.take_back(name)? {
            TakenBack::All(taken) => tell_taken(app, &taken)?,
            TakenBack::Several(several) => return Err(Usage(which(name, &several)).into()),
            TakenBack::Unknown => {
                let text = format!("{} is nobody's name or note; see `sft invite --list`", quoted(name));
                return Err(Usage(text).into());
            }
        }
    }
    Ok(Exit::Done)
}

fn tell_taken(app: &App, taken: &[Given]) -> anyhow::Result<()> {
    for one in taken {
        if app.voice.json() {
            app.voice.object(object("revoked", one))?;
        } else {
            app.voice.note(&format!("{} was taken back: it {}", one.name, sentence(one)));
        }
    }
    Ok(())
}

fn which(note: &str, several: &[Given]) -> String {
    let lines: Vec<String> =
        several.iter().map(|given| format!("\n    {} {}", given.name, sentence(given))).collect();
    format!("{} is the note of several; nothing was taken back, name one:{}", quoted(note), lines.concat())
}

/// What it is, after its name.
fn sentence(given: &Given) -> String {
    let Given { kind, path, rights, until, note, .. } = given;
    let rights = Granted(*rights);
    let place = if path.is_root() { "everywhere".to_owned() } else { format!("in {path}") };
    let what = match kind {
        GivenKind::Key => format!("is a key that may {rights} {place}"),
        GivenKind::Password => format!("may {rights} {place}"),
        GivenKind::Invitation { uses: 1 } => format!("is a link for 1 key, which may {rights} {place}"),
        GivenKind::Invitation { uses } => format!("is a link for {uses} keys, which may {rights} {place}"),
    };
    let end = until.and_then(text_of).map_or_else(String::new, |end| format!(", until {end}"));
    let note = if note.is_empty() { String::new() } else { format!(" ({})", Shown(note.as_bytes())) };
    format!("{what}{end}{note}")
}

fn object(event: &str, given: &Given) -> Map<String, Value> {
    let (kind, uses) = match given.kind {
        GivenKind::Key => ("key", None),
        GivenKind::Password => ("password", None),
        GivenKind::Invitation { uses } => ("invitation", Some(uses)),
    };
    let value = json!({
        "event": event,
        "kind": kind,
        "name": given.name,
        "note": given.note,
        "path": given.path.to_string(),
        "rights": given.rights.to_string(),
        "until": given.until.and_then(text_of),
        "uses": uses,
    });
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// In UTC, as in `grants.toml`.
fn text_of(time: SystemTime) -> Option<String> {
    let second = jiff::Timestamp::try_from(time).ok()?.round(jiff::Unit::Second).ok()?;
    Some(second.to_string())
}

fn quoted(text: &str) -> String {
    format!("`{}`", Shown(text.as_bytes()))
}
