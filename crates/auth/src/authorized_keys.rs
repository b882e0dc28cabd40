//! The owner's keys: OpenSSH's `authorized_keys`, read as strictly as sshd reads it (spec/auth.md, "The owner").
//!
//! Whoever has a key here owns the served tree, so nothing here ever gives more than sshd would: a line with an option
//! that we do not carry out gives no access at all, and a file that others could have written is refused whole.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sft_base::Shown;
use sft_base::limits::AUTHORIZED_KEYS_BYTES_MAX;

use crate::folders::Folders;
use crate::private_file::{FileError, Opened, require_ours};
use crate::public_key::{PublicKeyError, PublicKeyId};
use crate::utc;
use crate::watched::Watched;

/// The file cannot be relied on; nobody is the owner until it can.
#[derive(Debug, thiserror::Error)]
#[error("the owner's keys are not used")]
pub struct OwnerKeysError(#[from] FileError);

/// The lines of one version of the file.
#[derive(Debug, Default)]
pub struct OwnerKeys {
    /// For each key the lines that hold it, in order.
    lines: HashMap<PublicKeyId, Vec<Line>>,
    problems: Vec<KeyProblem>,
}

/// A line that gives no access, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct KeyProblem {
    /// Counted from one.
    pub line: usize,
    /// A sentence for the owner.
    pub reason: String,
}

/// What a line that holds a key says of it.
#[derive(Clone, Debug)]
struct Line {
    number: usize,
    comment: String,
    access: Result<Option<SystemTime>, String>,
}

/// An owner's key that gives access now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnerAccess {
    pub(crate) comment: String,
    pub(crate) expires: Option<SystemTime>,
}

/// The file, read again when it changes.
#[derive(Debug)]
pub(crate) struct OwnerKeysFile {
    file: Watched<OwnerKeys>,
    home: Option<PathBuf>,
}

impl OwnerKeysFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { file: Watched::new(path), home: Folders::find().ok().map(|folders| folders.home) }
    }

    pub(crate) fn keys(&self) -> Result<Arc<OwnerKeys>, OwnerKeysError> {
        let check = |opened: &Opened| {
            opened.require_ours()?;
            require_folders_ours(self.file.path(), self.home.as_deref())
        };
        let parse = |opened: Opened| {
            let bytes = opened.read(AUTHORIZED_KEYS_BYTES_MAX)?;
            Ok::<_, FileError>(OwnerKeys::parse(&String::from_utf8_lossy(&bytes)))
        };
        self.file.get(check, parse).map_err(OwnerKeysError)
    }
}

impl OwnerKeys {
    /// Reads the file as it is now, and as a server would; a file that is not there holds none.
    ///
    /// - Errors: [`OwnerKeysError`] where a server would let nobody in by it, because of who else can change it.
    pub fn read(path: &Path) -> Result<Arc<Self>, OwnerKeysError> {
        OwnerKeysFile::new(path.into()).keys()
    }

    fn parse(text: &str) -> Self {
        let mut keys = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_matches([' ', '\t', '\r']);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            keys.take_line(number, line);
        }
        keys
    }

    fn take_line(&mut self, number: usize, text: &str) {
        match parse_line(text) {
            Ok((key, comment, access)) => {
                if let Err(reason) = &access {
                    self.problems.push(KeyProblem { line: number, reason: reason.clone() });
                }
                let line = Line { number, comment: comment.to_owned(), access };
                self.lines.entry(key).or_default().push(line);
            }
            Err(e) => self.problems.push(KeyProblem { line: number, reason: e.to_string() }),
        }
    }

    /// The number of keys that give access, expired or not.
    pub fn usable(&self) -> usize {
        self.lines.values().filter(|lines| lines.iter().all(|line| line.access.is_ok())).count()
    }

    /// The lines that give none, each with the reason.
    pub fn problems(&self) -> &[KeyProblem] {
        &self.problems
    }

    /// Whether `key` is the owner's now: `None` if the file does not name it, else access or the reason against it.
    ///
    /// Sshd takes the first line that fits; here a line that cannot be carried out speaks against its key wherever it
    /// stands, which is never more.
    pub(crate) fn access(
        &self,
        key: &PublicKeyId,
        now: SystemTime,
    ) -> Option<Result<OwnerAccess, KeyProblem>> {
        let lines = self.lines.get(key)?;
        let mut found = None;
        for line in lines {
            let problem = |reason: &str| KeyProblem { line: line.number, reason: reason.to_owned() };
            let expires = match &line.access {
                Ok(expires) => *expires,
                Err(reason) => return Some(Err(problem(reason))),
            };
            if expires.is_some_and(|end| now >= end) {
                found.get_or_insert_with(|| Err(problem("the `expiry-time` of the key has passed")));
            } else if !matches!(found, Some(Ok(_))) {
                found = Some(Ok(OwnerAccess { comment: line.comment.clone(), expires }));
            }
        }
        found
    }
}

type ParsedLine<'a> = (PublicKeyId, &'a str, Result<Option<SystemTime>, String>);

/// As sshd does: first a key without options; if it is none, then options up to the first blank outside quotes.
fn parse_line(line: &str) -> Result<ParsedLine<'_>, PublicKeyError> {
    if let Ok((key, comment)) = PublicKeyId::from_line(line) {
        return Ok((key, comment, Ok(None)));
    }
    let end = end_of_options(line);
    let (options, rest) = line.split_at(end);
    match PublicKeyId::from_line(rest) {
        Ok((key, comment)) => Ok((key, comment, read_options(options))),
        // Neither reading gives a key: the error of the one that looks like a key says more.
        Err(after_options) => Err(match PublicKeyId::from_line(line) {
            Err(e @ (PublicKeyError::Kind(_) | PublicKeyError::RsaBits(_))) => e,
            _ => after_options,
        }),
    }
}

fn end_of_options(line: &str) -> usize {
    scan_quoted(line)
        .find(|&(_, byte, quoted)| !quoted && matches!(byte, b' ' | b'\t'))
        .map_or(line.len(), |(at, ..)| at)
}

/// When access ends; or why there is none.
fn read_options(options: &str) -> Result<Option<SystemTime>, String> {
    let mut expires: Option<SystemTime> = None;
    for option in split_options(options) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        if !name.eq_ignore_ascii_case("expiry-time") {
            let name = Shown(name.as_bytes());
            return Err(format!("the option `{name}` is not carried out by sft, so the key gives no access"));
        }
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let end =
            value.and_then(utc::parse_expiry).ok_or("the `expiry-time` is not a time that can be read")?;
        expires = Some(expires.map_or(end, |earlier| earlier.min(end)));
    }
    Ok(expires)
}

fn split_options(options: &str) -> impl Iterator<Item = &str> {
    let commas = scan_quoted(options).filter(|&(_, byte, quoted)| !quoted && byte == b',').map(|(at, ..)| at);
    let ends = commas.chain([options.len()]);
    let mut start = 0;
    ends.map(move |end| {
        let option = &options[start..end];
        start = (end + 1).min(options.len());
        option
    })
}

/// Each byte that is not an escaped quote, where it stands, and whether it is within quotes.
fn scan_quoted(text: &str) -> impl Iterator<Item = (usize, u8, bool)> {
    let bytes = text.as_bytes();
    let (mut at, mut quoted) = (0, false);
    std::iter::from_fn(move || {
        while bytes.get(at) == Some(&b'\\') && bytes.get(at + 1) == Some(&b'"') {
            at += 2;
        }
        let byte = *bytes.get(at)?;
        quoted ^= byte == b'"';
        at += 1;
        Some((at - 1, byte, quoted))
    })
}

/// As sshd's StrictModes: every folder from the file up to the home, or to the top if the file lies elsewhere.
fn require_folders_ours(path: &Path, home: Option<&Path>) -> Result<(), FileError> {
    let real = fs::canonicalize(path).map_err(|e| FileError::io("find", path, e))?;
    let home = home.and_then(|home| fs::canonicalize(home).ok());
    for folder in real.ancestors().skip(1) {
        let meta = fs::metadata(folder).map_err(|e| FileError::io("look at", folder, e))?;
        require_ours(folder, &meta)?;
        if home.as_deref() == Some(folder) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private_file::replace;
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, UNIX_EPOCH};

    fn key(seed: u8) -> PublicKeyId {
        PublicKeyId::from_blob(&crate::ServerKey([seed; 32]).blob()).unwrap()
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_767_225_600)
    }

    fn access(text: &str) -> Option<Result<OwnerAccess, KeyProblem>> {
        OwnerKeys::parse(text).access(&key(1), now())
    }

    fn reason(text: &str) -> String {
        access(text).unwrap().unwrap_err().to_string()
    }

    #[test]
    fn plain_lines_give_access() {
        let line = key(1).to_line();
        let text = format!("# mine\n\n  \t{line} ana@laptop, home\r\n{}\n", key(2).to_line());
        let given = access(&text).unwrap().unwrap();
        assert_eq!(given, OwnerAccess { comment: "ana@laptop, home".into(), expires: None });
        assert_eq!(OwnerKeys::parse(&text).usable(), 2);
        assert!(access(&key(2).to_line()).is_none());
        assert!(access("").is_none());
        assert!(access(&format!("#{line}")).is_none());
    }

    #[test]
    fn options_that_are_not_carried_out_give_nothing() {
        let line = key(1).to_line();
        for option in [
            "command=\"/bin/true\"",
            "restrict",
            "from=\"10.0.0.0/8\"",
            "cert-authority",
            "no-pty",
            "RESTRICT",
            "expiry-time=\"20990101Z\",command=\"a b, \\\"c\\\"\"",
            "verify-required",
            "x",
            ",",
            "\"",
            "command=\"expiry-time=\\\"20990101Z\\\"\"",
        ] {
            assert!(!matches!(access(&format!("{option} {line} c")), Some(Ok(_))), "{option}");
        }
        assert!(reason(&format!("no-pty {line}")).contains("`no-pty` is not carried out"));
        let both = format!("{line}\nrestrict {line}\n");
        assert!(
            reason(&both).starts_with("line 2:"),
            "a line that is not carried out counts wherever it stands"
        );
    }

    #[test]
    fn expiry_times_are_honoured() {
        let line = key(1).to_line();
        let with = |option: &str| access(&format!("{option} {line} c")).unwrap();
        let future = with("expiry-time=\"20260102Z\"").unwrap();
        assert_eq!(future.expires, Some(now() + Duration::from_secs(24 * 3600)));
        assert!(with("expiry-time=\"20260101Z\"").is_err(), "to the second");
        assert!(with("Expiry-Time=\"20251231235959Z\"").is_err());
        assert!(with("expiry-time=\"20260102Z\",expiry-time=\"20250101Z\"").is_err(), "the earlier counts");
        assert!(with("expiry-time=\"20260101\"").is_err(), "in some time zone it has passed");
        assert!(with("expiry-time=\"soon\"").is_err());
        assert!(with("expiry-time=20990101Z").is_err());
        let renewed = format!("expiry-time=\"20250101Z\" {line} old\n{line} new\n");
        assert_eq!(access(&renewed).unwrap().unwrap().comment, "new");
    }

    #[test]
    fn lines_that_hold_no_key_are_reported() {
        let keys = OwnerKeys::parse("ssh-dss AAAAB3NzaC1kc3M= x\nnonsense\nssh-ed25519 AAAA\n");
        let said: Vec<_> = keys.problems().iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].contains("`ssh-dss` are not accepted"), "{said:?}");
        assert_eq!(keys.usable(), 0);
    }

    #[test]
    fn a_file_that_others_can_change_is_refused_whole() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(".ssh");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("authorized_keys");
        let file = OwnerKeysFile::new(path.clone());
        assert_eq!(file.keys().unwrap().usable(), 0, "no file, no owner");
        replace(&path, key(1).to_line().as_bytes(), 0o644).unwrap();
        assert_eq!(file.keys().unwrap().usable(), 1);
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(&path, 0o664);
        assert!(matches!(file.keys(), Err(OwnerKeysError(FileError::Writable { mode: 0o664, .. }))));
        set(&path, 0o600);
        set(&folder, 0o777);
        assert!(matches!(file.keys(), Err(OwnerKeysError(FileError::Writable { mode: 0o777, .. }))));
        set(&folder, 0o755);
        assert_eq!(file.keys().unwrap().usable(), 1);
        let long = vec![b'#'; AUTHORIZED_KEYS_BYTES_MAX as usize + 1];
        replace(&path, &long, 0o600).unwrap();
        assert!(matches!(file.keys(), Err(OwnerKeysError(FileError::TooLarge { .. }))));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z=\",\\\\ \t#éA]{0,60}( ssh-ed25519 AAAA)?") {
            OwnerKeys::parse(&text);
            split_options(&text).for_each(drop);
        }
    }
}
