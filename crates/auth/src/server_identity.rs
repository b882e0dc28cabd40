//! The private key by which a server is known (spec/auth.md, "The server").
//!
//! It lies in the state folder in OpenSSH's format, without a passphrase, readable by its owner alone. Making it never
//! replaces one that is there.

use std::path::{Path, PathBuf};

use sft_base::limits::KEY_FILE_BYTES_MAX;
use zeroize::Zeroizing;

use crate::openssh_key::{self, OpenKey, PrivateKeyError, SealedKey};
use crate::private_file::{self, FileError, Opened};
use crate::private_key::PrivateKey;
use crate::server_key::ServerKey;

/// A server's Ed25519 key pair; the private half is wiped from memory when dropped.
pub struct ServerIdentity {
    seed: Zeroizing<[u8; 32]>,
    key: ServerKey,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file or folder cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not an unencrypted Ed25519 key in OpenSSH's format.
    #[error("{} is not an Ed25519 key in OpenSSH's format without a passphrase; put back the one this server had, or move it away to start with a new identity that every client must be told of", path.display())]
    Malformed {
        /// `STATE/identity`.
        path: PathBuf,
    },
    /// The system gave no random numbers.
    #[error("cannot make a key")]
    Generate(#[source] PrivateKeyError),
}

impl ServerIdentity {
    /// Reads `STATE/identity`; makes the folder (0700) and the key (0600) if there is none.
    ///
    /// - Errors: [`FileError::Exposed`] if others can read the key; [`IdentityError::Malformed`] if it is none. Never
    ///   makes a new key in the place of one that cannot be read.
    /// - Source: spec/auth.md, "The server".
    pub fn load_or_create(state: &Path) -> Result<Self, IdentityError> {
        private_file::make_folder(state)?;
        let path = state.join("identity");
        let _lock = private_file::lock(&path)?;
        match Opened::open(&path) {
            Ok(opened) => Self::read(opened, &path),
            Err(e) if e.is_missing() => Self::create(&path),
            Err(e) => Err(e.into()),
        }
    }

    /// The public half.
    pub fn key(&self) -> ServerKey {
        self.key
    }

    /// The pair as PKCS#8 (RFC 8410, with the public key, version 2), for a TLS certificate.
    pub fn pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        let mut der = Zeroizing::new(Vec::with_capacity(83));
        der.extend_from_slice(&PKCS8_BEFORE_SEED);
        der.extend_from_slice(&*self.seed);
        der.extend_from_slice(&PKCS8_BEFORE_PUBLIC);
        der.extend_from_slice(&self.key.0);
        der
    }

    /// The pair in OpenSSH's format without a passphrase, as it lies in its file: for an SSH host key.
    pub fn openssh_text(&self) -> Result<Zeroizing<String>, PrivateKeyError> {
        openssh_key::write_ed25519(&self.seed, &self.key.0, "sft server", None)
    }

    fn read(opened: Opened, path: &Path) -> Result<Self, IdentityError> {
        opened.require_secret()?;
        let bytes = Zeroizing::new(opened.read(KEY_FILE_BYTES_MAX)?);
        let text = std::str::from_utf8(&bytes).ok();
        let key = text.and_then(|text| SealedKey::parse(text).ok()).filter(|key| !key.is_encrypted());
        let identity = key.and_then(|key| key.open("").ok()).and_then(Self::from_key);
        identity.ok_or_else(|| IdentityError::Malformed { path: path.into() })
    }

    fn create(path: &Path) -> Result<Self, IdentityError> {
        let key = openssh_key::new_ed25519("sft server").map_err(IdentityError::Generate)?;
        let made = Self::from_key(key).ok_or_else(|| IdentityError::Malformed { path: path.into() })?;
        let text = openssh_key::write_ed25519(&made.seed, &made.key.0, "sft server", None);
        private_file::replace(path, text.map_err(IdentityError::Generate)?.as_bytes(), 0o600)?;
        Ok(made)
    }

    /// None if it is no Ed25519 key, or its halves do not belong together: a signature shows it.
    fn from_key(key: OpenKey) -> Option<Self> {
        key.private.sign(b"")?;
        let PrivateKey::Ed25519 { seed, public } = key.private else { return None };
        Some(Self { seed, key: ServerKey(public) })
    }
}

impl std::fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServerIdentity({})", self.key)
    }
}

/// SEQUENCE { INTEGER 1, SEQUENCE { OID 1.3.101.112 }, OCTET STRING { OCTET STRING of 32 bytes, which follow.
const PKCS8_BEFORE_SEED: [u8; 16] =
    [0x30, 0x51, 0x02, 0x01, 0x01, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// [1] IMPLICIT BIT STRING of 32 bytes, which follow.
const PKCS8_BEFORE_PUBLIC: [u8; 3] = [0x81, 0x21, 0x00];

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_first_start_makes_it_and_later_ones_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state/sft");
        let first = ServerIdentity::load_or_create(&state).unwrap();
        let again = ServerIdentity::load_or_create(&state).unwrap();
        assert_eq!(first.key(), again.key());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&state), 0o700);
        assert_eq!(mode(&state.join("identity")), 0o600);
        assert!(format!("{first:?}").contains("SHA256:"));
    }

    #[test]
    fn many_at_once_agree_on_one() {
        let dir = tempfile::tempdir().unwrap();
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| ServerIdentity::load_or_create(dir.path()).unwrap().key()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn pkcs8_is_taken_by_aws_lc_both_ways() {
        let dir = tempfile::tempdir().unwrap();
        let identity = ServerIdentity::load_or_create(dir.path()).unwrap();
        let der = identity.pkcs8_der();
        for pair in [Ed25519KeyPair::from_pkcs8(&der), Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)] {
            assert_eq!(pair.unwrap().public_key().as_ref(), identity.key().0);
        }
    }

    #[test]
    fn exposed_or_broken_keys_are_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        ServerIdentity::load_or_create(dir.path()).unwrap();
        let path = dir.path().join("identity");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let said = ServerIdentity::load_or_create(dir.path()).unwrap_err().to_string();
        assert!(said.contains("can be read by others") && said.contains("chmod 600"), "{said}");
        private_file::replace(&path, b"gone wrong", 0o600).unwrap();
        let said = ServerIdentity::load_or_create(dir.path()).unwrap_err();
        assert!(matches!(said, IdentityError::Malformed { .. }), "{said}");
        assert_eq!(fs::read(&path).unwrap(), b"gone wrong");
        let encrypted = dir.path().join("encrypted");
        crate::ClientKeys::generate(&encrypted, "", Some("x")).unwrap();
        fs::rename(&encrypted, &path).unwrap();
        assert!(matches!(ServerIdentity::load_or_create(dir.path()), Err(IdentityError::Malformed { .. })));
    }
}
