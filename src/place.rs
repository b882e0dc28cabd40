//! Places as arguments: what must be on a host, and what may be either.

use std::ffi::{OsStr, OsString};

use sft_client::{Location, RemoteLocation, RequestError};

use crate::exit::Exit;
use crate::failure::{self, Usage};
use crate::names::shown;
use crate::voice::Voice;

/// A location on a host; a local one is refused with what to use instead.
pub(crate) fn remote(text: &OsStr, verb: &str) -> anyhow::Result<RemoteLocation> {
    match Location::parse(text)? {
        Location::Remote(remote) => Ok(remote),
        Location::Local(_) => {
            let name = shown(text);
            let there = name.strip_prefix("./").unwrap_or(&name);
            let write = if may_be_host(&name) {
                format!("`{name}:` for the host `{name}`, or `host:{name}`")
            } else {
                format!("`host:{there}`")
            };
            let text =
                format!("`{name}` is on this machine, and `sft {verb}` works on a host: write {write}");
            Err(Usage(text).into())
        }
    }
}

/// Whether somebody who typed that may have meant a host.
fn may_be_host(name: &str) -> bool {
    matches!(Location::parse(format!("{name}:").as_ref()), Ok(Location::Remote(host)) if host.to_string() == format!("{name}:"))
}

/// Locations on hosts.
pub(crate) fn remotes(texts: &[OsString], verb: &str) -> anyhow::Result<Vec<RemoteLocation>> {
    texts.iter().map(|text| remote(text, verb)).collect()
}

/// Whether two locations are on one host, reached as one user.
pub(crate) fn same_host(a: &RemoteLocation, b: &RemoteLocation) -> bool {
    (&a.user, &a.host, a.port) == (&b.user, &b.host, b.port)
}

/// The error of a request, with the place it was about before it.
pub(crate) fn about(place: &RemoteLocation, error: RequestError) -> anyhow::Error {
    match error {
        RequestError::Failed(error) => {
            let error = failure::without_path(&error, &place.path.entry);
            anyhow::Error::from(RequestError::Failed(error)).context(place.to_string())
        }
        // There is where to look.
        error @ RequestError::Unknown { .. } => anyhow::Error::from(error).context(place.to_string()),
        // The server is named in these, and they are about no single entry.
        error => error.into(),
    }
}

/// What came of one place among several: a failure of the place alone is told here and the verb goes on, any other
/// error ends it.
pub(crate) fn one_of_many<T>(
    voice: &Voice,
    place: &RemoteLocation,
    outcome: Result<T, RequestError>,
) -> anyhow::Result<Result<T, Exit>> {
    match outcome {
        Ok(done) => Ok(Ok(done)),
        Err(RequestError::Failed(error)) => {
            let error = failure::without_path(&error, &place.path.entry);
            voice.failed(place.to_string().as_bytes(), &error)?;
            Ok(Err(failure::exit_of_entry(&error)))
        }
        Err(error) => Err(about(place, error)),
    }
}

/// The same where only the exit code is of interest.
pub(crate) fn goes_on<T>(
    voice: &Voice,
    place: &RemoteLocation,
    outcome: Result<T, RequestError>,
) -> anyhow::Result<Exit> {
    Ok(one_of_many(voice, place, outcome)?.err().unwrap_or(Exit::Done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_names_are_refused_where_a_host_is_needed() {
        assert_eq!(remote("h:a".as_ref(), "ls").unwrap().host, "h");
        let error = remote("a\n".as_ref(), "ls").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`a\\n` is on this machine, and `sft ls` works on a host: write `host:a\\n`"
        );
        assert!(error.is::<Usage>());
    }
}
