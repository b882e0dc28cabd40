//! Private key files of a client, in OpenSSH's format.
//!
//! The public half stands in the clear even when the file is encrypted, so that a passphrase is asked for only when a
//! signature is needed. Keys in other formats are refused with the command that converts them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use aws_lc_rs::rand;
use sft_base::limits::KEY_FILE_BYTES_MAX;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{Cipher, HashAlg, Kdf, LineEnding, PrivateKey};
use zeroize::Zeroizing;

use crate::private_file::{self, FileError, Opened};
use crate::public_key::{PublicKeyError, PublicKeyId};
use crate::rsa_key;
use crate::ssh_wire::put_string;
use crate::sshsig::{NAMESPACE, signed_bytes};

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
    /// It looks like a key in OpenSSH's format, and is none.
    #[error("{} is not a key that can be read", path.display())]
    Malformed {
        /// The key file.
        path: PathBuf,
        /// What the parser said.
        source: ssh_key::Error,
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

/// A private key file that has been read, and opened if a passphrase was given.
pub(crate) struct KeyFile {
    path: PathBuf,
    stored: PrivateKey,
    public: PublicKeyId,
    /// The key without its passphrase, once it was needed: asked for again only by another process.
    open: OnceLock<PrivateKey>,
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
        if !text.contains("BEGIN OPENSSH PRIVATE KEY") {
            return Err(KeyFileError::OtherFormat { path: path.into() });
        }
        let malformed = |source| KeyFileError::Malformed { path: path.into(), source };
        let stored = PrivateKey::from_openssh(text).map_err(malformed)?;
        let blob = stored.public_key().to_bytes().map_err(malformed)?;
        let public = PublicKeyId::from_blob(&blob);
        let public = public.map_err(|source| KeyFileError::Kind { path: path.into(), source })?;
        if public.kind().is_hardware() {
            return Err(KeyFileError::Hardware { path: path.into() });
        }
        Ok(Self { path: path.into(), stored, public, open: OnceLock::new() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn public(&self) -> &PublicKeyId {
        &self.public
    }

    /// The comment; empty while the file is encrypted, where it is encrypted too.
    pub(crate) fn comment(&self) -> &str {
        self.stored.comment()
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.stored.is_encrypted()
    }

    /// The private key, if it needs no passphrase or was opened before.
    pub(crate) fn opened(&self) -> Option<&PrivateKey> {
        if self.is_encrypted() { self.open.get() } else { Some(&self.stored) }
    }

    /// Opens the file with a passphrase; false if it is the wrong one.
    pub(crate) fn open_with(&self, passphrase: &str) -> bool {
        let Ok(key) = self.stored.decrypt(passphrase) else { return false };
        // The private half must belong to the public half that stands in the clear.
        let same = key.public_key().to_bytes().is_ok_and(|blob| blob == self.public.blob());
        same && (self.open.set(key).is_ok() || self.open.get().is_some())
    }
}

/// Signs, and gives the SSH signature blob over the SSHSIG of `message`.
pub(crate) fn sign(key: &PrivateKey, message: &[u8]) -> Result<Vec<u8>, ssh_key::Error> {
    let mut blob = Vec::new();
    if let Some(rsa) = key.key_data().rsa() {
        let data = rsa_key::sign(rsa, &signed_bytes(message)).ok_or(ssh_key::Error::Crypto)?;
        put_string(&mut blob, b"rsa-sha2-512");
        put_string(&mut blob, &data);
    } else {
        let signed = key.sign(NAMESPACE, HashAlg::Sha512, message)?;
        put_string(&mut blob, signed.signature().algorithm().as_str().as_bytes());
        put_string(&mut blob, signed.signature().as_bytes());
    }
    Ok(blob)
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
    let key = new_ed25519(comment).and_then(|key| match passphrase {
        Some(passphrase) => encrypt(&key, passphrase),
        None => Ok(key),
    });
    let malformed = |source| KeyFileError::Malformed { path: path.into(), source };
    let key = key.map_err(malformed)?;
    let text = key.to_openssh(LineEnding::LF).map_err(malformed)?;
    let blob = key.public_key().to_bytes().map_err(malformed)?;
    let public = PublicKeyId::from_blob(&blob);
    let public = public.map_err(|source| KeyFileError::Kind { path: path.into(), source })?;
    private_file::replace(path, text.as_bytes(), 0o600)?;
    let line = format!("{} {comment}\n", public.to_line());
    private_file::replace(&public_path(path), line.as_bytes(), 0o644)?;
    Ok(public)
}

/// A new Ed25519 key, from the system's random numbers.
pub(crate) fn new_ed25519(comment: &str) -> Result<PrivateKey, ssh_key::Error> {
    let mut seed = Zeroizing::new([0; 32]);
    random(&mut *seed)?;
    PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed)), comment)
}

/// Fills `bytes` from the system's random numbers.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), ssh_key::Error> {
    rand::fill(bytes).map_err(|_| ssh_key::Error::Crypto)
}

fn encrypt(key: &PrivateKey, passphrase: &str) -> Result<PrivateKey, ssh_key::Error> {
    let (mut salt, mut check) = (vec![0; 16], [0; 4]);
    random(&mut salt)?;
    random(&mut check)?;
    let kdf = Kdf::Bcrypt { salt, rounds: BCRYPT_ROUNDS };
    key.encrypt_with(Cipher::Aes256Ctr, kdf, u32::from_ne_bytes(check), passphrase)
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

/// As ssh-keygen has it today.
const BCRYPT_ROUNDS: u32 = 24;

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
        assert!(key.is_encrypted() && key.opened().is_none());
        assert!(!key.open_with("open barley"));
        assert!(key.opened().is_none());
        assert!(key.open_with("open sesame"));
        assert!(key.opened().is_some());
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
