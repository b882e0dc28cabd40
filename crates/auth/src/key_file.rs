//! Private key files of a client, in OpenSSH's format.
//!
//! The public half stands in the clear even when the file is encrypted, so that a passphrase is asked for only when a
//! signature is needed. Keys in other formats are refused with the command that converts them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sft_base::limits::KEY_FILE_BYTES_MAX;
use zeroize::Zeroizing;

use crate::openssh_key::{self, BEGIN, OpenKey, PrivateKeyError, SealedKey};
use crate::private_file::{self, FileError, Opened};
use crate::private_key::PrivateKey;
use crate::public_key::{PublicKeyError, PublicKeyId};

/// Why a key file cannot be used, or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] FileError),
    /// PEM of another kind.
    #[error("{} is not in OpenSSH's key format; run `ssh-keygen -p -f {}` to convert it", path.display(), path.display())]
    OtherFormat {
        /// The key file.
        path: PathBuf,
    },
    /// It looks like a key in OpenSSH's format, and is none; or one cannot be made.
    #[error("{} is not a key that can be used", path.display())]
    Malformed {
        /// The key file.
        path: PathBuf,
        /// Why.
        source: PrivateKeyError,
    },
    /// A key of a kind that is not accepted.
    #[error("the key in {} cannot be used", path.display())]
    Kind {
        /// The key file.
        path: PathBuf,
        /// Why.
        source: PublicKeyError,
    },
    /// A FIDO key, which only an agent can use.
    #[error("{} is a hardware key, which is used through ssh-agent: run `ssh-add {}`", path.display(), path.display())]
    Hardware {
        /// The key file.
        path: PathBuf,
    },
    /// A public key was named, and the agent does not hold its private half.
    #[error("{} is a public key, and the ssh-agent does not hold its private half", path.display())]
    PublicOnly {
        /// The file.
        path: PathBuf,
    },
    /// Will not overwrite a key.
    #[error("{} is there already; a key is never overwritten", path.display())]
    Exists {
        /// The key file.
        path: PathBuf,
    },
}

/// A private key file that has been read, and opened if it has no passphrase or was given it.
pub(crate) struct KeyFile {
    path: PathBuf,
    sealed: SealedKey,
    /// Once it was needed: the passphrase is asked for again only by another process.
    open: OnceLock<OpenKey>,
}

/// What a file that a user named as identity turned out to be.
pub(crate) enum NamedKey {
    Private(Box<KeyFile>),
    Public(PublicKeyId),
}

impl KeyFile {
    /// Reads a private key, or a `.pub` file, which stands for the key of an agent.
    pub(crate) fn read_named(path: &Path) -> Result<NamedKey, KeyFileError> {
        let opened = Opened::open(path)?;
        let exposed = opened.require_secret();
        let text = text(opened, path)?;
        if !text.contains("PRIVATE KEY") {
            let public = PublicKeyId::from_line(&text);
            let (key, _) = public.map_err(|source| KeyFileError::Kind { path: path.into(), source })?;
            return Ok(NamedKey::Public(key));
        }
        exposed?;
        Self::parse(path, &text).map(|key| NamedKey::Private(Box::new(key)))
    }

    /// Reads a private key.
    pub(crate) fn read(path: &Path) -> Result<Self, KeyFileError> {
        let opened = Opened::open(path)?;
        opened.require_secret()?;
        Self::parse(path, &text(opened, path)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, KeyFileError> {
        if !text.contains(BEGIN) {
            return Err(KeyFileError::OtherFormat { path: path.into() });
        }
        let sealed = SealedKey::parse(text).map_err(|e| unusable(path, e))?;
        if sealed.public().kind().is_hardware() {
            return Err(KeyFileError::Hardware { path: path.into() });
        }
        let open = OnceLock::new();
        if !sealed.is_encrypted() {
            let key = sealed.open("").map_err(|e| unusable(path, e))?;
            open.get_or_init(|| key);
        }
        Ok(Self { path: path.into(), sealed, open })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn public(&self) -> &PublicKeyId {
        self.sealed.public()
    }

    /// The comment; empty while the file is encrypted, as the comment is too.
    pub(crate) fn comment(&self) -> &str {
        self.open.get().map_or("", |open| &open.comment)
    }

    /// The private key, if it needs no passphrase or was opened before.
    pub(crate) fn opened(&self) -> Option<&PrivateKey> {
        self.open.get().map(|open| &open.private)
    }

    /// Opens the file with a passphrase, if it is the right one.
    pub(crate) fn open_with(&self, passphrase: &str) -> Result<(), PrivateKeyError> {
        let key = self.sealed.open(passphrase)?;
        self.open.get_or_init(|| key);
        Ok(())
    }
}

/// Makes an Ed25519 key at `path` (0600) and its public half at `path.pub` (0644).
pub(crate) fn generate(
    path: &Path,
    comment: &str,
    passphrase: Option<&str>,
) -> Result<PublicKeyId, KeyFileError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        private_file::make_folder(folder)?;
    }
    let _lock = private_file::lock(path)?;
    if path.symlink_metadata().is_ok() {
        return Err(KeyFileError::Exists { path: path.into() });
    }
    let (public, text) = new_key(comment, passphrase).map_err(|e| unusable(path, e))?;
    private_file::replace(path, text.as_bytes(), 0o600)?;
    let line = format!("{} {comment}\n", public.to_line());
    private_file::replace(&public_path(path), line.as_bytes(), 0o644)?;
    Ok(public)
}

fn new_key(
    comment: &str,
    passphrase: Option<&str>,
) -> Result<(PublicKeyId, Zeroizing<String>), PrivateKeyError> {
    let key = openssh_key::new_ed25519(comment)?;
    let PrivateKey::Ed25519 { seed, public } = &key.private else { return Err(PrivateKeyError::Malformed) };
    let text = openssh_key::write_ed25519(seed, public, comment, passphrase)?;
    Ok((SealedKey::parse(&text)?.public().clone(), text))
}

fn unusable(path: &Path, source: PrivateKeyError) -> KeyFileError {
    match source {
        PrivateKeyError::Kind(source) => KeyFileError::Kind { path: path.into(), source },
        source => KeyFileError::Malformed { path: path.into(), source },
    }
}

fn text(opened: Opened, path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let bytes = opened.read(KEY_FILE_BYTES_MAX)?;
    String::from_utf8(bytes).map(Zeroizing::new).map_err(|_| {
        let source = io::Error::new(io::ErrorKind::InvalidData, "it is not text");
        FileError::io("read", path, source).into()
    })
}

fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_made_key_is_private_readable_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sft/id_ed25519");
        let public = generate(&path, "ana@laptop", None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::metadata(dir.path().join("sft")).unwrap().permissions().mode() & 0o7777, 0o700);
        let key = KeyFile::read(&path).unwrap();
        assert_eq!(*key.public(), public);
        assert_eq!(key.comment(), "ana@laptop");
        let line = fs::read_to_string(dir.path().join("sft/id_ed25519.pub")).unwrap();
        assert_eq!(PublicKeyId::from_line(&line), Ok((public, "ana@laptop")));
        assert!(matches!(generate(&path, "", None), Err(KeyFileError::Exists { .. })));
    }

    #[test]
    fn a_passphrase_opens_once_and_for_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        generate(&path, "c", Some("open sesame")).unwrap();
        let key = KeyFile::read(&path).unwrap();
        assert!(key.opened().is_none() && key.comment().is_empty());
        assert!(key.open_with("open barley").is_err());
        assert!(key.opened().is_none());
        key.open_with("open sesame").unwrap();
        assert!(key.opened().is_some());
        assert_eq!(key.comment(), "c");
    }

    #[test]
    fn files_that_are_no_key_say_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        let put = |text: &str, mode: u32| {
            private_file::replace(&path, text.as_bytes(), 0o600).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            KeyFile::read(&path).err().unwrap()
        };
        let said = put("-----BEGIN RSA PRIVATE KEY-----\n", 0o600).to_string();
        assert!(said.contains("ssh-keygen -p -f"), "{said}");
        let broken = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
        assert!(matches!(put(broken, 0o600), KeyFileError::Malformed { .. }));
        assert!(matches!(put(broken, 0o640), KeyFileError::File(FileError::Exposed { .. })));
    }
}
