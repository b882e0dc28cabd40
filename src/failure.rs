//! The one place that turns what went wrong into a message and an exit code.

use sft_client::{Code, ConnectError, EntryPath, LocationError, RequestError, TransferError, WireError};

use crate::cli::port::NoSuchHost;
use crate::config::ConfigError;
use crate::exit::Exit;
use crate::near::Unclear;
use crate::srv::NoService;
use crate::voice::{ReaderGone, Voice};

/// What was typed makes no sense, though each argument alone does.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// The user stopped it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Interrupted {
    /// A copy.
    #[error("interrupted; what was copied stays, and the same command goes on from there")]
    Copy,
    /// Anything else.
    #[error("interrupted")]
    Other,
}

impl Interrupted {
    /// The error of a copy.
    pub(crate) fn of_copy(error: anyhow::Error) -> anyhow::Error {
        if error.is::<Self>() { Self::Copy.into() } else { error }
    }
}

/// Something is not permitted that no server was asked about.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) String);

/// What a server said of an entry, without the entry's path: for where that stands before it.
pub(crate) fn without_path(error: &WireError, path: &EntryPath) -> WireError {
    let mut text = error.text.strip_prefix(&format!("{path}: ")).unwrap_or(&error.text);
    if error.code == Code::DENIED {
        // "no right to read a/b"
        text = text.strip_suffix(&format!(" {path}")).unwrap_or(text);
    }
    let mut text = text.to_owned();
    if error.code == Code::NOT_FOUND && path.as_bytes().iter().any(|byte| b"*?".contains(byte)) {
        text += WILDCARD_HINT;
    }
    WireError { text, ..error.clone() }
}

/// What to say of an entry that failed in a copy, with the path where it would land, or a longer one that ends so.
pub(crate) fn entry_line(error: &WireError, path: &EntryPath) -> String {
    let error = without_path(error, path);
    let longer = format!("/{path}");
    match error.text.split_once(": ") {
        Some((named, _)) if path.is_root() || named.ends_with(&longer) => error.text,
        _ => format!("{path}: {error}"),
    }
}

/// The same error, with a sentence that says what to type, where a request failed with this code.
pub(crate) fn hinted(error: RequestError, code: Code, text: &str) -> RequestError {
    match error {
        RequestError::Failed(error) if error.code == code => {
            RequestError::Failed(WireError { text: text.into(), ..error })
        }
        error => error,
    }
}

/// Says what went wrong, and gives the exit code for it.
pub(crate) fn report(error: &anyhow::Error, voice: &Voice) -> Exit {
    if error.is::<ReaderGone>() {
        return Exit::Done;
    }
    let exit = exit_of(error);
    voice.fail(&sentence(error), exit);
    exit
}

/// Every layer's sentence, from the verb's down to the system's; what a layer above has said already is left out.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for layer in error.chain() {
        let says = layer.to_string();
        // The root of a store is its `.`, which a layer above calls by its name.
        let says = says.strip_prefix(".: ").unwrap_or(&says);
        if text.is_empty() {
            text = says.to_owned();
        } else if !text.contains(says) {
            text = format!("{text}: {says}");
        }
        // What stands below a connection that did not come up is in its own sentence.
        if is_of_connecting(layer) {
            break;
        }
    }
    text
}

fn is_of_connecting(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<ConnectError>()
        || matches!(error.downcast_ref(), Some(RequestError::Connect(_)))
        || matches!(error.downcast_ref(), Some(TransferError::Connect(_)))
}

/// The exit code for an error, by the first layer that has one.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(exit_of_layer).unwrap_or(Exit::Local)
}

fn exit_of_layer(error: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if error.is::<Interrupted>() {
        return Some(Exit::Interrupted);
    }
    if error.is::<Usage>() || error.is::<LocationError>() || error.is::<ConfigError>() {
        return Some(Exit::Usage);
    }
    if error.is::<NoSuchHost>() || error.is::<NoService>() || error.is::<Unclear>() {
        return Some(Exit::Connect);
    }
    if error.is::<Refused>() {
        return Some(Exit::Refused);
    }
    if let Some(error) = error.downcast_ref::<ConnectError>() {
        return Some(exit_of_connect(error));
    }
    if let Some(error) = error.downcast_ref::<RequestError>() {
        return Some(exit_of_request(error));
    }
    error.downcast_ref::<TransferError>().map(exit_of_transfer)
}

fn exit_of_connect(error: &ConnectError) -> Exit {
    match error {
        _ if error.is_refusal() => Exit::Refused,
        _ if error.is_local() => Exit::Local,
        _ => Exit::Connect,
    }
}

fn exit_of_request(error: &RequestError) -> Exit {
    match error {
        RequestError::Connect(error) => exit_of_connect(error),
        RequestError::Failed(error) => exit_of_entry(error),
        RequestError::Unknown { .. } | RequestError::Lost(_) | RequestError::Misbehaved(_) => Exit::Connect,
    }
}

fn exit_of_transfer(error: &TransferError) -> Exit {
    match error {
        TransferError::Connect(error) => exit_of_connect(error),
        TransferError::Lost { .. } | TransferError::Misbehaved(_) => Exit::Connect,
        TransferError::Refused(error) | TransferError::GivenUp(error) => exit_of_entry(error),
        TransferError::Local { .. } | TransferError::Destination { .. } => Exit::Local,
    }
}

/// What one failed entry, or one failed request, makes of the whole.
pub(crate) fn exit_of_entry(error: &WireError) -> Exit {
    match error.code {
        Code::DENIED | Code::UNAUTHENTICATED => Exit::Refused,
        Code::INTEGRITY => Exit::Integrity,
        _ => Exit::SomeFailed,
    }
}

/// Said of a name with wildcards, which nothing expands on the way to a host.
const WILDCARD_HINT: &str = "; names on a host are taken as they stand, `*` and `?` too";

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    fn failed(code: Code) -> anyhow::Error {
        RequestError::Failed(code.because("no")).into()
    }

    #[test]
    fn every_kind_has_its_code() {
        assert_eq!(exit_of(&Usage("x".into()).into()), Exit::Usage);
        assert_eq!(exit_of(&LocationError::Empty.into()), Exit::Usage);
        assert_eq!(exit_of(&Interrupted::Other.into()), Exit::Interrupted);
        assert_eq!(exit_of(&failed(Code::NOT_FOUND)), Exit::SomeFailed);
        assert_eq!(exit_of(&failed(Code::DENIED)), Exit::Refused);
        assert_eq!(exit_of(&failed(Code::INTEGRITY)), Exit::Integrity);
        assert_eq!(exit_of(&anyhow::anyhow!("anything else")), Exit::Local);
        assert_eq!(exit_of(&failed(Code::DENIED).context("h:a")), Exit::Refused, "context keeps the code");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_fault() {
        let error = anyhow::Error::from(ReaderGone).context("h:a");
        assert_eq!(sentence(&error), "h:a: nobody reads the output any more", "which nobody is told");
        assert_eq!(report(&error, &Voice::new(crate::voice::Tone::default())), Exit::Done);
    }

    #[test]
    fn a_path_is_told_once() {
        let path = EntryPath::from_typed(b"a/b").unwrap();
        let said = |text| without_path(&Code::NOT_FOUND.because(text), &path).text;
        assert_eq!(said("a/b: there is no such entry"), "there is no such entry");
        assert_eq!(said("a: there is no such entry"), "a: there is no such entry");
        assert_eq!(
            without_path(&Code::DENIED.because("no right to read a/b"), &path).text,
            "no right to read"
        );
    }

    #[test]
    fn an_entry_of_a_copy_is_named_once() {
        let path = EntryPath::from_typed(b"a").unwrap();
        let line = |text| entry_line(&Code::NOT_FOUND.because(text), &path);
        assert_eq!(line("a: gone"), "a: gone");
        assert_eq!(line("b/a: gone"), "b/a: gone");
        assert_eq!(line("ba: gone"), "a: ba: gone");
        assert_eq!(line("gone"), "a: gone");
        let wild = EntryPath::from_typed(b"*.c").unwrap();
        assert_eq!(entry_line(&Code::NOT_FOUND.because("gone"), &wild), format!("*.c: gone{WILDCARD_HINT}"));
        assert_eq!(entry_line(&Code::READ.because("b: no"), &EntryPath::root()), "b: no");
    }

    #[test]
    fn layers_are_told_once() {
        let error = Err::<(), _>(failed(Code::NOT_FOUND)).context("h:a").unwrap_err();
        assert_eq!(sentence(&error), "h:a: no");
        let twice = std::io::Error::other(std::io::Error::other("inner"));
        assert_eq!(sentence(&anyhow::Error::from(twice).context("outer")), "outer: inner");
    }
}
