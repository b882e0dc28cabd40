//! What `sft invite --list` and `--revoke` say: who has been let into the server of this machine, and taking that back.

use std::collections::HashSet;
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Map, Value, json};
use sft_auth::{Given, GivenKind, Grants, TakenBack};
use sft_base::Shown;

use crate::app::App;
use crate::exit::Exit;
use crate::failure::Usage;
use crate::granted::Granted;
use crate::names::{put_path, shown};

/// Shows all that was given and is not over.
pub(crate) fn list(app: &App, state: &Path) -> anyhow::Result<Exit> {
    if !is_there(state) {
        app.voice.note(&nothing_there(state));
        return Ok(Exit::Done);
    }
    let given = Grants::open(state)?.given(SystemTime::now())?;
    if given.is_empty() {
        let text = "nobody is invited; the keys in authorized_keys own what is served";
        app.voice.note(&format!("{}: {text}", shown(state)));
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
    if !is_there(state) {
        return Err(Usage(nothing_there(state)).into());
    }
    let grants = Grants::open(state)?;
    let (mut gone, mut ways, mut wrong) = (HashSet::new(), Vec::new(), Vec::new());
    let mut failed = None;
    for name in names {
        match grants.take_back(name, SystemTime::now()) {
            Ok(TakenBack::All { taken, left }) => {
                tell_taken(app, &taken)?;
                ways.extend(taken.first().map(|one| (one.name.clone(), left)));
                gone.extend(taken.into_iter().map(|one| one.name));
            }
            Ok(TakenBack::Several(several)) => wrong.push(which(name, &several)),
            Ok(TakenBack::Unknown) => {
                wrong.push(format!("{} is nobody's name or note; see `sft invite --list`", quoted(name)));
            }
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    for (name, mut left) in ways {
        left.retain(|one| !gone.contains(&one.name));
        tell_left(app, &name, &left)?;
    }
    // What was taken back before stays so, and what of it is left was said.
    failed.map_or(Ok(()), Err)?;
    if wrong.is_empty() { Ok(Exit::Done) } else { Err(Usage(wrong.join("\n")).into()) }
}

/// Only looking for something makes no folder. What cannot be looked at is for [`Grants::open`] to tell of.
fn is_there(state: &Path) -> bool {
    state.try_exists().unwrap_or(true)
}

fn nothing_there(state: &Path) -> String {
    format!(
        "{} does not exist: no `sft serve` has run with this state folder, and nobody is invited",
        shown(state)
    )
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

/// Who can still come in, or is in, for all that was taken back.
fn tell_left(app: &App, taken: &str, left: &[Given]) -> anyhow::Result<()> {
    if app.voice.json() {
        return left.iter().try_for_each(|one| app.voice.object(object("remains", one)));
    }
    let links = left.iter().filter_map(|one| match one.kind {
        GivenKind::Invitation { uses } => Some((&one.name, uses)),
        _ => None,
    });
    for (link, uses) in links {
        let keys = if uses == 1 { "1 more key".to_owned() } else { format!("{uses} more keys") };
        app.voice.warn(&format!(
            "the link {link} that let in {taken} still lets in {keys}, be it the same: `sft invite --revoke {link}` ends that"
        ));
    }
    let keys: Vec<_> = left.iter().filter(|one| one.kind == GivenKind::Key).collect();
    if !keys.is_empty() {
        let (count, lines) = (keys.len(), lines(keys));
        app.voice.warn(&format!(
            "who came by the link {taken} stays in ({count}): `sft invite --revoke NAME` takes that back, of{lines}"
        ));
    }
    Ok(())
}

fn which(note: &str, several: &[Given]) -> String {
    let is_one = several.iter().all(|given| given.name == several[0].name);
    let why = if is_one { "a note of a key that has others too" } else { "the note of several" };
    format!("{} is {why}; none of this was taken back, name one:{}", quoted(note), lines(several))
}

fn lines<'a>(given: impl IntoIterator<Item = &'a Given>) -> String {
    given.into_iter().map(|given| format!("\n    {} {}", given.name, sentence(given))).collect()
}

/// What it is, after its name.
fn sentence(given: &Given) -> String {
    let Given { kind, path, rights, until, note, user, .. } = given;
    let rights = Granted(*rights);
    let place = if path.is_root() { "everywhere".to_owned() } else { format!("in {path}") };
    let what = match kind {
        GivenKind::Key => format!("is a key that may {rights} {place}"),
        GivenKind::Password => format!("may {rights} {place}"),
        GivenKind::Invitation { uses: 1 } => format!("is a link for 1 key, which may {rights} {place}"),
        GivenKind::Invitation { uses } => format!("is a link for {uses} keys, which may {rights} {place}"),
    };
    let end = until.and_then(text_of).map_or_else(String::new, |end| format!(", until {end}"));
    let note = match (note.as_str(), user.as_str()) {
        ("", "") => String::new(),
        ("", user) => format!(" (calls itself {})", quoted(user)),
        (note, _) => format!(" ({})", Shown(note.as_bytes())),
    };
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
        "rights": given.rights.to_string(),
        "user": given.user,
        "until": given.until.and_then(text_of),
        "uses": uses,
    });
    let Value::Object(mut object) = value else { return Map::new() };
    put_path(&mut object, if given.path.is_root() { b"." } else { given.path.as_bytes() });
    object
}

/// In UTC, as in `grants.toml`.
fn text_of(time: SystemTime) -> Option<String> {
    let second = jiff::Timestamp::try_from(time).ok()?.round(jiff::Unit::Second).ok()?;
    Some(second.to_string())
}

fn quoted(text: &str) -> String {
    format!("`{}`", Shown(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sft_auth::Rights;
    use sft_base::EntryPath;

    #[test]
    fn the_guests_own_word_is_told_from_the_owners() {
        let given = |note: &str, user: &str| Given {
            name: "SHA256:x".into(),
            note: note.into(),
            user: user.into(),
            kind: GivenKind::Key,
            path: EntryPath::root(),
            rights: Rights::ALL,
            until: None,
        };
        assert!(sentence(&given("Bob", "")).ends_with(" everywhere (Bob)"));
        assert!(sentence(&given("", "Bob)\x1b")).ends_with(" everywhere (calls itself `Bob)\\u{1b}`)"));
        assert!(sentence(&given("", "")).ends_with(" everywhere"));
    }
}
