//! The servers that a user trusts: `CONFIG/sft/trusted` (spec/auth.md, "Trusted servers").
//!
//! One line for each: `HOST:PORT SHA256:...`. Comments, blank lines and the order are kept. A line that is not
//! understood is an error, not a server that may be trusted anew.

use std::path::{Path, PathBuf};

use sft_base::limits::GRANTS_BYTES_MAX;

use crate::fingerprint::Fingerprint;
use crate::private_file::{self, FileError, Opened};
use crate::server_name::ServerName;

/// The file, read at every question: a few lines, and another process may have changed them.
#[derive(Clone, Debug)]
pub struct Trust {
    path: PathBuf,
}

/// A server that was pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedServer {
    /// Under which name.
    pub server: ServerName,
    /// The key it must have.
    pub fingerprint: Fingerprint,
}

/// What is known of a server's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustCheck {
    /// It is the one that was pinned.
    Known,
    /// This server was never met.
    Unknown,
    /// Another key was pinned: the server is not what it was, or is somebody else.
    Changed {
        /// The key that was pinned.
        was: Fingerprint,
    },
}

/// Why the list cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file or folder.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line that is not `HOST:PORT SHA256:...`.
    #[error(
        "line {line} of {} is not `HOST:PORT SHA256:...`; put it right or remove it, no server is trusted until then",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from one.
        line: usize,
    },
    /// Two lines pin different keys for one server.
    #[error("{} pins two keys for {server}; remove the wrong one", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The server.
        server: ServerName,
    },
}

impl Trust {
    /// The list at `path`, which need not exist.
    ///
    /// - Errors: [`TrustError`] if it exists and cannot be understood, or if others can change it.
    pub fn open(path: &Path) -> Result<Self, TrustError> {
        let trust = Self { path: path.into() };
        trust.read()?;
        Ok(trust)
    }

    /// What is known of the key that a server showed.
    pub fn check(&self, server: &ServerName, key: Fingerprint) -> Result<TrustCheck, TrustError> {
        Ok(match self.pinned(server)? {
            None => TrustCheck::Unknown,
            Some(was) if was == key => TrustCheck::Known,
            Some(was) => TrustCheck::Changed { was },
        })
    }

    /// The key that a server must have; none if it was never met.
    pub fn pinned(&self, server: &ServerName) -> Result<Option<Fingerprint>, TrustError> {
        Ok(self.list()?.into_iter().find(|known| known.server == *server).map(|known| known.fingerprint))
    }

    /// All that are trusted, in the order of the file.
    pub fn list(&self) -> Result<Vec<TrustedServer>, TrustError> {
        Ok(self.read()?.into_iter().filter_map(|line| line.server).collect())
    }

    /// Trusts a server from now on; takes the place of a key that was pinned for it.
    pub fn pin(&self, server: &ServerName, fingerprint: Fingerprint) -> Result<(), TrustError> {
        self.change(|lines| {
            let line = Line::of(TrustedServer { server: server.clone(), fingerprint });
            match lines.iter().position(|line| line.is_of(server)) {
                Some(at) => lines[at] = line,
                None => lines.push(line),
            }
        })
    }

    /// Forgets a server; false if it was not known.
    pub fn remove(&self, server: &ServerName) -> Result<bool, TrustError> {
        self.change(|lines| {
            let before = lines.len();
            lines.retain(|line| !line.is_of(server));
            lines.len() < before
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Line>) -> T) -> Result<T, TrustError> {
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            private_file::make_folder(folder)?;
        }
        let _lock = private_file::lock(&self.path)?;
        let before = self.read()?;
        let mut lines = before.clone();
        let answer = change(&mut lines);
        if lines != before {
            let text: String = lines.iter().flat_map(|line| [line.text.as_str(), "\n"]).collect();
            private_file::replace(&self.path, text.as_bytes(), 0o600)?;
        }
        Ok(answer)
    }

    fn read(&self) -> Result<Vec<Line>, TrustError> {
        let opened = match Opened::open(&self.path) {
            Ok(opened) => opened,
            Err(e) if e.is_missing() => return Ok(Vec::new()),
            Err(e) => return Err(e.into()),
        };
        opened.require_ours()?;
        let bytes = opened.read(GRANTS_BYTES_MAX)?;
        let mut lines: Vec<Line> = Vec::new();
        for (number, text) in (1..).zip(String::from_utf8_lossy(&bytes).lines()) {
            let line = Line::parse(text);
            let line = line.ok_or_else(|| TrustError::Malformed { path: self.path.clone(), line: number })?;
            if let Some(new) = &line.server
                && lines.iter().any(|old| old.is_of(&new.server))
            {
                return Err(TrustError::Twice { path: self.path.clone(), server: new.server.clone() });
            }
            lines.push(line);
        }
        Ok(lines)
    }
}

/// A line as it stands, and the server it names if it is not blank or a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    text: String,
    server: Option<TrustedServer>,
}

impl Line {
    fn of(server: TrustedServer) -> Self {
        Self { text: format!("{} {}", server.server, server.fingerprint), server: Some(server) }
    }

    fn parse(text: &str) -> Option<Self> {
        let words = text.trim();
        let server = if words.is_empty() || words.starts_with('#') {
            None
        } else {
            let mut words = words.split_whitespace();
            let (server, fingerprint) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            if words.next().is_some_and(|word| !word.starts_with('#')) {
                return None;
            }
            Some(TrustedServer { server, fingerprint })
        };
        Some(Self { text: text.to_owned(), server })
    }

    fn is_of(&self, server: &ServerName) -> bool {
        self.server.as_ref().is_some_and(|known| known.server == *server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn name(text: &str) -> ServerName {
        text.parse().unwrap()
    }

    #[test]
    fn a_server_is_unknown_then_known_then_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sft/trusted");
        let trust = Trust::open(&path).unwrap();
        let (one, two) = (Fingerprint([1; 32]), Fingerprint([2; 32]));
        assert_eq!(trust.check(&name("NAS."), one).unwrap(), TrustCheck::Unknown);
        trust.pin(&name("nas"), one).unwrap();
        trust.pin(&name("[2001:DB8::1]:9"), two).unwrap();
        assert_eq!(trust.check(&name("NAS:1303"), one).unwrap(), TrustCheck::Known);
        assert_eq!(
            trust.check(&name("nas:1304"), one).unwrap(),
            TrustCheck::Unknown,
            "a port is another server"
        );
        assert_eq!(trust.check(&name("nas"), two).unwrap(), TrustCheck::Changed { was: one });
        assert_eq!(trust.check(&name("[2001:db8:0::1]:9"), two).unwrap(), TrustCheck::Known);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(trust.remove(&name("nas")).unwrap());
        assert!(!trust.remove(&name("nas")).unwrap());
        assert_eq!(trust.list().unwrap().len(), 1);
    }

    #[test]
    fn comments_blank_lines_and_order_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trusted");
        let (one, two) = (Fingerprint([1; 32]), Fingerprint([2; 32]));
        let text = format!("# mine\n\na:1303 {one} # the old one\nb {one}\n");
        private_file::replace(&path, text.as_bytes(), 0o600).unwrap();
        let trust = Trust::open(&path).unwrap();
        trust.pin(&name("b"), two).unwrap();
        trust.pin(&name("c"), one).unwrap();
        let now = std::fs::read_to_string(&path).unwrap();
        assert_eq!(now, format!("# mine\n\na:1303 {one} # the old one\nb:1303 {two}\nc:1303 {one}\n"));
    }

    #[test]
    fn a_damaged_list_trusts_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trusted");
        let one = Fingerprint([1; 32]);
        for text in
            [format!("a {one}\nb\n"), format!("a {one} x\n"), "a SHA256:x\n".into(), format!("a/b {one}\n")]
        {
            private_file::replace(&path, text.as_bytes(), 0o600).unwrap();
            assert!(matches!(Trust::open(&path), Err(TrustError::Malformed { .. })), "{text}");
        }
        let twice = format!("a {one}\nA:1303 {}\n", Fingerprint([2; 32]));
        private_file::replace(&path, twice.as_bytes(), 0o600).unwrap();
        assert!(matches!(Trust::open(&path), Err(TrustError::Twice { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(Trust::open(&path), Err(TrustError::File(FileError::Writable { .. }))));
    }
}
