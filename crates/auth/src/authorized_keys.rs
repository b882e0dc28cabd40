//! The owner's keys: OpenSSH's `authorized_keys`, read as strictly as sshd reads it (spec/auth.md, "The owner").
//!
//! Whoever has a key here owns the served tree, so nothing here ever gives more than sshd would: a line with an option
//! that we do not carry out gives no access at all, and a file that others could have written is refused whole.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sft_base::limits::AUTHORIZED_KEYS_BYTES_MAX;

use crate::certificate::{CertificateError, UserCertificate};
use crate::folders::{Folders, account};
use crate::key_options::{KeyOptions, end_of_options, is_authority};
use crate::private_file::{FileError, Opened, require_ours};
use crate::public_key::{PublicKeyError, PublicKeyId};
use crate::watched::Watched;

/// The file cannot be relied on; nobody is the owner until it can.
#[derive(Debug, thiserror::Error)]
#[error("the owner's keys are not used")]
pub struct OwnerKeysError(#[from] FileError);

/// The lines of one version of the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OwnerKeys {
    /// For each key the lines that hold it, in order.
    lines: HashMap<PublicKeyId, Vec<Line>>,
    /// The same for keys whose certificates count.
    authorities: HashMap<PublicKeyId, Vec<Line>>,
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
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    number: usize,
    comment: String,
    access: Result<KeyOptions, String>,
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
    /// Whose file it is.
    account: Option<String>,
}

impl OwnerKeysFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        let home = Folders::find().ok().map(|folders| folders.home);
        Self { file: Watched::new(path), home, account: account() }
    }

    /// The name that certificates have to have where their authority's line says no other.
    pub(crate) fn account(&self) -> Option<&str> {
        self.account.as_deref()
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
            Ok(parsed) => {
                if let Err(reason) = &parsed.access {
                    self.problems.push(KeyProblem { line: number, reason: reason.clone() });
                }
                let line = Line { number, comment: parsed.comment.to_owned(), access: parsed.access };
                let lines = if parsed.is_authority { &mut self.authorities } else { &mut self.lines };
                lines.entry(parsed.key).or_default().push(line);
            }
            Err(e) => self.problems.push(KeyProblem { line: number, reason: e.to_string() }),
        }
    }

    /// The number of keys that give access, themselves or by certificates, expired or not.
    pub fn usable(&self) -> usize {
        let both = self.lines.values().chain(self.authorities.values());
        both.filter(|lines| lines.iter().all(|line| line.access.is_ok())).count()
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
                Ok(options) => options.expires,
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

    /// Whether there is any authority whose certificates may let somebody in.
    pub(crate) fn has_authorities(&self) -> bool {
        self.authorities.values().flatten().any(|line| line.access.is_ok())
    }

    /// Whether a certificate makes its key the owner's now, for a client at an address. `account` is the owner's own.
    ///
    /// As for keys, a line that cannot be carried out speaks against its authority wherever it stands.
    pub(crate) fn certified(
        &self,
        certificate: &UserCertificate,
        account: Option<&str>,
        from: IpAddr,
        now: SystemTime,
    ) -> Result<OwnerAccess, CertificateError> {
        let authority = || CertificateError::Authority(certificate.authority.clone());
        let lines = self.authorities.get(&certificate.authority).ok_or_else(authority)?;
        let ends = certificate.check(from, now)?;
        let mut refused = authority();
        for line in lines {
            let problem = |reason: &str| {
                CertificateError::Line(KeyProblem { line: line.number, reason: reason.to_owned() })
            };
            let options = line.access.as_ref().map_err(|reason| problem(reason))?;
            if options.expires.is_some_and(|end| now >= end) {
                refused = problem("the `expiry-time` of the key has passed");
            } else if options.from.as_ref().is_some_and(|networks| !networks.have(from)) {
                refused = CertificateError::From(from);
            } else if !options.is_for(&certificate.principals, account) {
                refused = CertificateError::Principals(format!("{:?}", certificate.principals));
            } else {
                let expires = [ends, options.expires].into_iter().flatten().min();
                let comment = format!("{} by {}", certificate.id, line.comment);
                return Ok(OwnerAccess { comment, expires });
            }
        }
        Err(refused)
    }
}

struct ParsedLine<'a> {
    key: PublicKeyId,
    comment: &'a str,
    is_authority: bool,
    access: Result<KeyOptions, String>,
}

/// As sshd does: first a key without options; if it is none, then options up to the first blank outside quotes.
fn parse_line(line: &str) -> Result<ParsedLine<'_>, PublicKeyError> {
    if let Ok((key, comment)) = PublicKeyId::from_line(line) {
        return Ok(ParsedLine { key, comment, is_authority: false, access: Ok(KeyOptions::default()) });
    }
    let end = end_of_options(line);
    let (options, rest) = line.split_at(end);
    match PublicKeyId::from_line(rest) {
        Ok((key, comment)) => Ok(ParsedLine {
            key,
            comment,
            is_authority: is_authority(options),
            access: KeyOptions::read(options),
        }),
        // Neither reading gives a key: the error of the one that looks like a key says more.
        Err(after_options) => Err(match PublicKeyId::from_line(line) {
            Err(e @ (PublicKeyError::Kind(_) | PublicKeyError::RsaBits(_))) => e,
            _ => after_options,
        }),
    }
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
        }
    }
}
