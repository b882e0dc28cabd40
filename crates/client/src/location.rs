//! What a person types where a file is meant: a local path, or a path on a host.
//!
//! Pure: nothing is looked up, so that `host` may still be an alias. What has a `/` before its first `:` is local, as
//! with scp; `./a:b` is how a local name with a colon is written.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use sft_base::{EntryPath, PathError, Shown};

/// A place for or of files, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// On this machine.
    Local(PathBuf),
    /// On a host.
    Remote(RemoteLocation),
}

/// A path on a host, as typed: `host:path`, `user@host:path`, `[address]:path` or `sft://[user@]host[:port]/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteLocation {
    /// The name to act as.
    pub user: Option<String>,
    /// A host name, an address without brackets, or an alias.
    pub host: String,
    /// Only an `sft://` name can hold one.
    pub port: Option<u16>,
    /// Below what the host serves.
    pub path: RemotePath,
}

/// A path in a server's store, and how its text ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemotePath {
    /// The entry.
    pub entry: EntryPath,
    /// What the end of the text says about it.
    pub ending: Ending,
}

/// How the text of a path ended, which says what is meant by it, as with `cp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a name: the entry of that name, whatever it is.
    Name,
    /// With a slash: a directory of that name.
    Slash,
    /// With `.` or `..`, or with nothing at all: what is in that directory. Its own name is not meant.
    Contents,
}

/// Why a text is not a location.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// The empty text.
    #[error(
        "an empty name means no file; write `.` for the current directory, or `host:` for all that a host serves"
    )]
    Empty,
    /// Between the start and the colon stands nothing that can name a host.
    #[error("`{host}` in `{text}` cannot be a host; if a local file is meant, write `./{text}`")]
    Host {
        /// What was typed.
        text: String,
        /// The part that should be a host.
        host: String,
    },
    /// An address of IPv6 without brackets, which could end anywhere.
    #[error("`{text}` begins like an IPv6 address; write it in brackets: `[{address}]:path`")]
    Brackets {
        /// What was typed.
        text: String,
        /// What looks like an address.
        address: String,
    },
    /// A user that is empty or not text.
    #[error(
        "`{text}` has an unusable user name before its `@`; write `user@host:path`, or `host:path` for none"
    )]
    User {
        /// What was typed.
        text: String,
    },
    /// A port that is none.
    #[error("`{port}` in `{text}` is not a port; a port is a number from 1 to 65535")]
    Port {
        /// What was typed.
        text: String,
        /// The part that should be a port.
        port: String,
    },
    /// A `%` that two hexadecimal digits do not follow.
    #[error(
        "`{text}` has a `%` that is not followed by two hexadecimal digits; write `%25` for a `%` in an `sft://` name"
    )]
    Percent {
        /// What was typed.
        text: String,
    },
    /// A path that no store can have.
    #[error("`{text}` is not a path on a host: {source}")]
    Path {
        /// What was typed.
        text: String,
        /// Why not.
        source: PathError,
    },
}

impl Location {
    /// Takes what was typed as a location.
    ///
    /// - Errors: see [`LocationError`]; a text without a colon is always local.
    pub fn parse(text: &OsStr) -> Result<Self, LocationError> {
        Self::parse_with(text, cfg!(windows))
    }

    fn parse_with(text: &OsStr, drives: bool) -> Result<Self, LocationError> {
        let bytes = text.as_encoded_bytes();
        if bytes.is_empty() {
            return Err(LocationError::Empty);
        }
        if let Some(rest) = bytes.strip_prefix(b"sft://") {
            return parse_url(bytes, rest).map(Self::Remote);
        }
        match split_host(bytes, drives) {
            None => Ok(Self::Local(PathBuf::from(text))),
            Some((host, path)) => parse_host(bytes, host, path).map(Self::Remote),
        }
    }
}

impl RemotePath {
    /// The entry of this path, whatever it is; of the root, what is in it.
    pub fn of(entry: EntryPath) -> Self {
        let ending = if entry.is_root() { Ending::Contents } else { Ending::Name };
        Self { entry, ending }
    }

    /// Takes what was typed after the colon; the empty text means the root.
    pub fn parse(text: &[u8]) -> Result<Self, PathError> {
        let entry = EntryPath::from_typed(text)?;
        let ending = if entry.is_root() { Ending::Contents } else { Ending::of(text) };
        Ok(Self { entry, ending })
    }
}

impl Ending {
    /// How the text of a path ends.
    pub fn of(text: &[u8]) -> Self {
        match text.rsplit(|&b| is_separator(b)).next() {
            Some(b"." | b"..") | None => Self::Contents,
            Some(b"") if text.is_empty() => Self::Contents,
            Some(b"") => Self::Slash,
            Some(_) => Self::Name,
        }
    }
}

impl fmt::Display for RemoteLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.port.is_some() {
            f.write_str("sft://")?;
        }
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        let host = &self.host;
        if host.contains(':') {
            write!(f, "[{host}]")?
        } else {
            f.write_str(host)?
        }
        match self.port {
            Some(port) => write!(f, ":{port}/")?,
            None => f.write_str(":")?,
        }
        if self.path.entry.is_root() { Ok(()) } else { write!(f, "{}", self.path.entry) }
    }
}

fn is_separator(byte: u8) -> bool {
    byte == b'/' || (cfg!(windows) && byte == b'\\')
}

/// The parts before and after the colon that ends a host; none where the text is local.
fn split_host(text: &[u8], drives: bool) -> Option<(&[u8], &[u8])> {
    let colon = match bracket_end(text) {
        Some(end) => end + 1,
        None => text.iter().position(|&b| b == b':' || is_separator(b))?,
    };
    if text.get(colon) != Some(&b':') || colon == 0 {
        return None;
    }
    let (host, path) = (&text[..colon], &text[colon + 1..]);
    let drive = drives && host.len() == 1 && host[0].is_ascii_alphabetic();
    (!drive).then_some((host, path))
}

/// Where the bracket closes that stands at the start or after `user@`, when the host is written so.
fn bracket_end(text: &[u8]) -> Option<usize> {
    let open = if text.first() == Some(&b'[') { 0 } else { text.windows(2).position(|w| w == b"@[")? + 1 };
    if text[..open].iter().any(|&b| b == b':' || is_separator(b)) {
        return None;
    }
    let close = text.iter().position(|&b| b == b']')?;
    let address = text.get(open + 1..close)?;
    (!address.iter().any(|&b| is_separator(b))).then_some(close)
}

fn parse_host(text: &[u8], host: &[u8], path: &[u8]) -> Result<RemoteLocation, LocationError> {
    let (user, host) = parse_user(text, host)?;
    let bare = !host.starts_with(b"[");
    if bare && let Some(address) = bare_ipv6(host, path) {
        return Err(LocationError::Brackets { text: show(text), address });
    }
    let path = RemotePath::parse(path).map_err(|source| LocationError::Path { text: show(text), source })?;
    Ok(RemoteLocation { user, host: check_host(text, host)?, port: None, path })
}

fn parse_url(text: &[u8], rest: &[u8]) -> Result<RemoteLocation, LocationError> {
    let slash = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(slash);
    let (user, authority) = parse_user(text, authority)?;
    let (host, port) = split_port(authority);
    let port = port.map(|port| parse_port(text, port)).transpose()?;
    let path = percent_decode(path).ok_or_else(|| LocationError::Percent { text: show(text) })?;
    let path = RemotePath::parse(&path).map_err(|source| LocationError::Path { text: show(text), source })?;
    Ok(RemoteLocation { user, host: check_host(text, host)?, port, path })
}

fn parse_user<'a>(text: &[u8], host: &'a [u8]) -> Result<(Option<String>, &'a [u8]), LocationError> {
    let Some(at) = host.iter().rposition(|&b| b == b'@') else {
        return Ok((None, host));
    };
    let user = str::from_utf8(&host[..at]).ok().filter(|user| is_user(user));
    let user = user.ok_or_else(|| LocationError::User { text: show(text) })?;
    Ok((Some(user.to_owned()), &host[at + 1..]))
}

fn is_user(user: &str) -> bool {
    !user.is_empty() && !user.chars().any(|c| c.is_control() || c.is_whitespace())
}

fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let from = authority.iter().position(|&b| b == b']').unwrap_or(0);
    match authority[from..].iter().position(|&b| b == b':') {
        Some(colon) => (&authority[..from + colon], Some(&authority[from + colon + 1..])),
        None => (authority, None),
    }
}

fn parse_port(text: &[u8], port: &[u8]) -> Result<u16, LocationError> {
    let digits = !port.is_empty() && port.iter().all(u8::is_ascii_digit);
    let number = str::from_utf8(port).ok().filter(|_| digits).and_then(|port| port.parse().ok());
    number
        .filter(|&number| number != 0)
        .ok_or_else(|| LocationError::Port { text: show(text), port: show(port) })
}

/// Whether an address of IPv6 was typed without brackets, as in `2001:db8::1:path`; what looks like it.
fn bare_ipv6(host: &[u8], path: &[u8]) -> Option<String> {
    let typed = [host, b":", path].concat();
    let typed = str::from_utf8(&typed).ok()?;
    let ends = typed.match_indices(':').map(|(at, _)| at).chain([typed.len()]).rev();
    ends.map(|end| &typed[..end]).find(|part| part.parse::<std::net::Ipv6Addr>().is_ok()).map(str::to_owned)
}

/// The host without brackets, if it can be one.
fn check_host(text: &[u8], host: &[u8]) -> Result<String, LocationError> {
    let refused = || LocationError::Host { text: show(text), host: show(host) };
    let typed = str::from_utf8(host).map_err(|_| refused())?;
    let host = match typed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) if is_ipv6(address) => address,
        None if is_host(typed) => typed,
        _ => return Err(refused()),
    };
    Ok(host.to_owned())
}

/// An address of IPv6, with or without a zone.
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "any"));
    address.parse::<std::net::Ipv6Addr>().is_ok() && is_host(zone)
}

/// Letters of any script, digits and `-._`; what a resolver makes of them is its affair.
fn is_host(text: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
    !text.is_empty() && !text.starts_with('-') && text.chars().all(fits)
}

fn percent_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            decoded.push(byte);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_at_checked(2)?;
        let digits = str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    Some(decoded)
}

fn show(text: &[u8]) -> String {
    Shown(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Location, LocationError> {
        Location::parse_with(OsStr::new(text), false)
    }

    /// User, host, port, path and ending of a remote name.
    fn remote(text: &str) -> (Option<String>, String, Option<u16>, String, Ending) {
        match parse(text) {
            Ok(Location::Remote(r)) => {
                let path = String::from_utf8(r.path.entry.as_bytes().to_vec()).unwrap();
                (r.user, r.host, r.port, path, r.path.ending)
            }
            other => panic!("{text} gave {other:?}"),
        }
    }

    #[test]
    fn remote_names() {
        use Ending::{Contents, Name, Slash};
        type Case = (&'static str, Option<&'static str>, &'static str, Option<u16>, &'static str, Ending);
        let cases: [Case; 18] = [
            ("host:", None, "host", None, "", Contents),
            ("host:.", None, "host", None, "", Contents),
            ("host:/", None, "host", None, "", Contents),
            ("host:path", None, "host", None, "path", Name),
            ("host:/a//b/", None, "host", None, "a/b", Slash),
            ("host:a/.", None, "host", None, "a", Contents),
            ("host:a:b", None, "host", None, "a:b", Name),
            ("user@host:a@b", Some("user"), "host", None, "a@b", Name),
            ("a@b@host:p", Some("a@b"), "host", None, "p", Name),
            ("[2001:db8::1]:p", None, "2001:db8::1", None, "p", Name),
            ("u@[fe80::1%eth0]:p", Some("u"), "fe80::1%eth0", None, "p", Name),
            ("192.0.2.1:p", None, "192.0.2.1", None, "p", Name),
            ("C:\\x", None, "C", None, "\\x", Name),
            ("sft://host", None, "host", None, "", Contents),
            ("sft://host/a%20b/c", None, "host", None, "a b/c", Name),
            ("sft://u@host:2022/a:b", Some("u"), "host", Some(2022), "a:b", Name),
            ("sft://[::1]:1303/x/", None, "::1", Some(1303), "x", Slash),
            ("host:~x", None, "host", None, "~x", Name),
        ];
        for (text, user, host, port, path, ending) in cases {
            let expected = (user.map(str::to_owned), host.to_owned(), port, path.to_owned(), ending);
            assert_eq!(remote(text), expected, "{text}");
        }
    }

    #[test]
    fn local_names() {
        let names =
            [".", "a", "./a:b", "/a:b", "a/b:c", "../x", ":a", "[a]", "[a", "a@[b", "dir/[::1]:x", "sft:/"];
        for name in names.into_iter().filter(|name| *name != "sft:/") {
            assert_eq!(parse(name), Ok(Location::Local(name.into())), "{name}");
        }
        assert_eq!(remote("sft:/").1, "sft", "a host may be called sft");
    }

    #[test]
    fn drives_are_local_where_there_are_drives() {
        let parse = |text| Location::parse_with(OsStr::new(text), true);
        assert_eq!(parse("C:\\x"), Ok(Location::Local("C:\\x".into())));
        assert_eq!(parse("c:x"), Ok(Location::Local("c:x".into())));
        assert!(matches!(parse("cc:x"), Ok(Location::Remote(_))));
        assert!(matches!(parse("1:x"), Ok(Location::Remote(_))));
    }

    #[test]
    fn refusals_say_what_to_write() {
        let cases = [
            (
                "",
                "an empty name means no file; write `.` for the current directory, or `host:` for all that a host serves",
            ),
            ("a b:c", "`a b` in `a b:c` cannot be a host; if a local file is meant, write `./a b:c`"),
            ("-o:c", "`-o` in `-o:c` cannot be a host; if a local file is meant, write `./-o:c`"),
            (
                "[host]:c",
                "`[host]` in `[host]:c` cannot be a host; if a local file is meant, write `./[host]:c`",
            ),
            (
                "2001:db8::1:x",
                "`2001:db8::1:x` begins like an IPv6 address; write it in brackets: `[2001:db8::1]:path`",
            ),
            (
                "@h:x",
                "`@h:x` has an unusable user name before its `@`; write `user@host:path`, or `host:path` for none",
            ),
            ("sft://h:0/x", "`0` in `sft://h:0/x` is not a port; a port is a number from 1 to 65535"),
            (
                "sft://h:99999/x",
                "`99999` in `sft://h:99999/x` is not a port; a port is a number from 1 to 65535",
            ),
            ("sft://h:/x", "`` in `sft://h:/x` is not a port; a port is a number from 1 to 65535"),
            (
                "sft://h/a%2",
                "`sft://h/a%2` has a `%` that is not followed by two hexadecimal digits; write `%25` for a `%` in an `sft://` name",
            ),
            ("h:a/../b", "`h:a/../b` is not a path on a host: `.` and `..` are not names"),
            ("sft://h/a%00", "`sft://h/a%00` is not a path on a host: a name holds `/` or a NUL byte"),
            ("sft://", "`` in `sft://` cannot be a host; if a local file is meant, write `./sft://`"),
        ];
        for (text, message) in cases {
            assert_eq!(parse(text).map_err(|error| error.to_string()), Err(message.to_owned()), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_text_are_kept_byte_for_byte() {
        use std::os::unix::ffi::OsStrExt;
        let local = OsStr::from_bytes(b"a\xff");
        assert_eq!(Location::parse(local), Ok(Location::Local(local.into())));
        match Location::parse(OsStr::from_bytes(b"h:a\xff")) {
            Ok(Location::Remote(remote)) => assert_eq!(remote.path.entry.as_bytes(), b"a\xff"),
            other => panic!("{other:?}"),
        }
        let error = Location::parse(OsStr::from_bytes(b"\xff\x1b:a")).unwrap_err().to_string();
        assert!(error.starts_with("`\\xff\\u{1b}` in"), "{error}");
    }

    #[test]
    fn shown_as_typed() {
        for text in ["host:", "host:a/b", "u@[::1]:a", "sft://u@host:99/a", "sft://[::1]:99/"] {
            match parse(text) {
                Ok(Location::Remote(remote)) => assert_eq!(remote.to_string(), text),
                other => panic!("{text} gave {other:?}"),
            }
        }
    }
}
