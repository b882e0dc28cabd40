//! SSH public keys that may prove who a client is (spec/auth.md, "Keys").
//!
//! A key that exists as a [`PublicKeyId`] is of an accepted kind and strong enough, and its blob is the only way to
//! write it. OpenSSH certificates are not accepted, nor DSA, RSA below 2048 bits, or P-521.

use std::fmt;

use base64ct::{Base64, Encoding};
use sft_base::limits::PUBLIC_KEY_BYTES_MAX;

use crate::fingerprint::Fingerprint;
use crate::ssh_wire::SshReader;

/// A client's public key: what an identity is, in `authorized_keys`, in grants and in proofs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKeyId {
    blob: Box<[u8]>,
    algorithm: KeyAlgorithm,
}

/// Why bytes or a line are no public key that we accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Not the encoding of its kind of key.
    #[error("this is not a well-formed SSH public key")]
    Malformed,
    /// Longer than [`PUBLIC_KEY_BYTES_MAX`].
    #[error("a public key has {0} bytes, more than {PUBLIC_KEY_BYTES_MAX}")]
    TooLong(usize),
    /// A kind of key that we do not accept.
    #[error("keys of the kind `{0}` are not accepted; use ssh-ed25519")]
    Kind(String),
    /// RSA outside 2048 to 8192 bits.
    #[error("an RSA key of {0} bits is not accepted: 2048 to 8192 are")]
    RsaBits(usize),
}

/// The kinds of key, with their names in blobs and key lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KeyAlgorithm {
    Ed25519,
    EcdsaP256,
    EcdsaP384,
    Rsa,
    SkEd25519,
    SkEcdsaP256,
}

/// The parts of a blob that a signature is checked with.
pub(crate) enum KeyParts<'a> {
    Ed25519 { point: &'a [u8] },
    EcdsaP256 { point: &'a [u8] },
    EcdsaP384 { point: &'a [u8] },
    Rsa { modulus: &'a [u8], exponent: &'a [u8] },
    SkEd25519 { point: &'a [u8], application: &'a [u8] },
    SkEcdsaP256 { point: &'a [u8], application: &'a [u8] },
}

impl PublicKeyId {
    /// Takes an SSH public key blob (RFC 4253, section 6.6).
    pub fn from_blob(blob: &[u8]) -> Result<Self, PublicKeyError> {
        if blob.len() > PUBLIC_KEY_BYTES_MAX {
            return Err(PublicKeyError::TooLong(blob.len()));
        }
        let name = SshReader::new(blob).string().ok_or(PublicKeyError::Malformed)?;
        let algorithm = KeyAlgorithm::ALL.into_iter().find(|a| a.name().as_bytes() == name);
        let algorithm = algorithm.ok_or_else(|| PublicKeyError::Kind(shown(name)))?;
        let parts = KeyParts::read(algorithm, blob).ok_or(PublicKeyError::Malformed)?;
        if let KeyParts::Rsa { modulus, .. } = parts {
            let bits = modulus.len() * 8 - modulus[0].leading_zeros() as usize;
            if !(2048..=8192).contains(&bits) {
                return Err(PublicKeyError::RsaBits(bits));
            }
        }
        Ok(Self { blob: blob.into(), algorithm })
    }

    /// Takes a line `TYPE BASE64 [COMMENT]`, as in a `.pub` file; gives the comment too, empty if there is none.
    pub fn from_line(line: &str) -> Result<(Self, &str), PublicKeyError> {
        let (name, rest) = line.trim().split_once([' ', '\t']).ok_or(PublicKeyError::Malformed)?;
        let rest = rest.trim_start();
        let (base64, comment) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        let blob = Base64::decode_vec(base64).map_err(|_| PublicKeyError::Malformed)?;
        let key = Self::from_blob(&blob)?;
        if key.algorithm() != name {
            return Err(PublicKeyError::Malformed);
        }
        Ok((key, comment.trim()))
    }

    /// `TYPE BASE64`, without a comment.
    pub fn to_line(&self) -> String {
        format!("{} {}", self.algorithm(), Base64::encode_string(&self.blob))
    }

    /// The SSH public key blob.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The kind of key, such as `ssh-ed25519`.
    pub fn algorithm(&self) -> &'static str {
        self.algorithm.name()
    }

    /// Whether the private key lives in a FIDO authenticator, so that its signatures say whether it was touched.
    pub fn is_hardware(&self) -> bool {
        self.algorithm.is_hardware()
    }

    /// Whether this key may sign in a way, named as signatures name it: RSA not with SHA-1, the others in theirs alone.
    pub fn signs_as(&self, algorithm: &str) -> bool {
        match self.algorithm {
            KeyAlgorithm::Rsa => ["rsa-sha2-256", "rsa-sha2-512"].contains(&algorithm),
            other => algorithm == other.name(),
        }
    }

    /// SHA-256 over the blob.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_blob(&self.blob)
    }

    pub(crate) fn kind(&self) -> KeyAlgorithm {
        self.algorithm
    }

    pub(crate) fn parts(&self) -> KeyParts<'_> {
        KeyParts::read(self.algorithm, &self.blob)
            .expect("the blob was read in the same way when it was taken")
    }
}

impl KeyAlgorithm {
    const ALL: [Self; 6] =
        [Self::Ed25519, Self::EcdsaP256, Self::EcdsaP384, Self::Rsa, Self::SkEd25519, Self::SkEcdsaP256];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384",
            Self::Rsa => "ssh-rsa",
            Self::SkEd25519 => "sk-ssh-ed25519@openssh.com",
            Self::SkEcdsaP256 => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    /// Whether the private key lives in a FIDO authenticator.
    pub(crate) fn is_hardware(self) -> bool {
        matches!(self, Self::SkEd25519 | Self::SkEcdsaP256)
    }
}

impl<'a> KeyParts<'a> {
    fn read(algorithm: KeyAlgorithm, blob: &'a [u8]) -> Option<Self> {
        let mut reader = SshReader::new(blob);
        reader.string()?;
        let parts = match algorithm {
            KeyAlgorithm::Ed25519 => Self::Ed25519 { point: ed25519_point(&mut reader)? },
            KeyAlgorithm::EcdsaP256 => Self::EcdsaP256 { point: ec_point(&mut reader, b"nistp256", 65)? },
            KeyAlgorithm::EcdsaP384 => Self::EcdsaP384 { point: ec_point(&mut reader, b"nistp384", 97)? },
            KeyAlgorithm::Rsa => Self::Rsa { exponent: reader.positive()?, modulus: reader.positive()? },
            KeyAlgorithm::SkEd25519 => {
                Self::SkEd25519 { point: ed25519_point(&mut reader)?, application: reader.string()? }
            }
            KeyAlgorithm::SkEcdsaP256 => Self::SkEcdsaP256 {
                point: ec_point(&mut reader, b"nistp256", 65)?,
                application: reader.string()?,
            },
        };
        reader.is_empty().then_some(parts)
    }
}

impl fmt::Display for PublicKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fingerprint().fmt(f)
    }
}

impl fmt::Debug for PublicKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {self}", self.algorithm())
    }
}

fn ed25519_point<'a>(reader: &mut SshReader<'a>) -> Option<&'a [u8]> {
    reader.string().filter(|point| point.len() == 32)
}

/// An uncompressed point in SEC 1 form; whether it lies on the curve is seen when a signature is checked.
fn ec_point<'a>(reader: &mut SshReader<'a>, curve: &[u8], len: usize) -> Option<&'a [u8]> {
    reader.string().filter(|name| *name == curve)?;
    reader.string().filter(|point| point.len() == len && point[0] == 4)
}

/// A peer's word, cut and escaped so that it cannot forge a log line.
pub(crate) fn shown(bytes: &[u8]) -> String {
    bytes.iter().take(64).flat_map(|b| b.escape_ascii()).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh_wire::put_string;

    fn blob(fields: &[&[u8]]) -> Vec<u8> {
        let mut blob = Vec::new();
        fields.iter().for_each(|field| put_string(&mut blob, field));
        blob
    }

    fn rsa(modulus_len: usize) -> Vec<u8> {
        let mut modulus = vec![0xff; modulus_len + 1];
        modulus[0] = 0;
        blob(&[b"ssh-rsa", &[1, 0, 1], &modulus])
    }

    #[test]
    fn accepted_kinds_come_back_from_their_line() {
        let mut point = vec![4; 65];
        for good in [
            blob(&[b"ssh-ed25519", &[1; 32]]),
            blob(&[b"ecdsa-sha2-nistp256", b"nistp256", &point]),
            blob(&[b"sk-ssh-ed25519@openssh.com", &[1; 32], b"ssh:"]),
            blob(&[b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", &point, b"ssh:"]),
            rsa(256),
            rsa(1024),
            {
                point.resize(97, 4);
                blob(&[b"ecdsa-sha2-nistp384", b"nistp384", &point])
            },
        ] {
            let key = PublicKeyId::from_blob(&good).unwrap();
            assert_eq!(key.blob(), good);
            let line = format!("{} ana@laptop home", key.to_line());
            assert_eq!(PublicKeyId::from_line(&line), Ok((key, "ana@laptop home")));
            let spread = format!("\t{}\n", line.replace(' ', " \t"));
            assert!(PublicKeyId::from_line(&spread).is_ok(), "any number of blanks between");
        }
    }

    #[test]
    fn weak_odd_and_broken_keys_are_refused() {
        let refused = |bytes: &[u8]| PublicKeyId::from_blob(bytes).unwrap_err();
        assert_eq!(refused(&rsa(255)), PublicKeyError::RsaBits(2040));
        assert_eq!(refused(&rsa(1025)), PublicKeyError::RsaBits(8200));
        assert_eq!(refused(&blob(&[b"ssh-dss"])), PublicKeyError::Kind("ssh-dss".into()));
        let certificate = refused(&blob(&[b"ssh-ed25519-cert-v01@openssh.com"]));
        assert!(matches!(certificate, PublicKeyError::Kind(_)));
        assert_eq!(refused(&blob(&[b"ssh-ed25519", &[1; 31]])), PublicKeyError::Malformed);
        assert_eq!(refused(&blob(&[b"ssh-ed25519", &[1; 32], b""])), PublicKeyError::Malformed);
        assert_eq!(
            refused(&blob(&[b"ecdsa-sha2-nistp256", b"nistp384", &[4; 65]])),
            PublicKeyError::Malformed
        );
        assert_eq!(refused(b"\xff\xff\xff\xff"), PublicKeyError::Malformed);
        assert_eq!(refused(b""), PublicKeyError::Malformed);
        assert_eq!(refused(&[0; 2049]), PublicKeyError::TooLong(2049));
        assert_eq!(refused(&blob(&[b"a\n\x1b"])), PublicKeyError::Kind("a\\n\\x1b".into()));
    }

    #[test]
    fn a_key_signs_in_the_ways_of_its_kind() {
        let key = |fields: &[&[u8]]| PublicKeyId::from_blob(&blob(fields)).unwrap();
        let nist256 = key(&[b"ecdsa-sha2-nistp256", b"nistp256", &[4; 65]]);
        let nist384 = key(&[b"ecdsa-sha2-nistp384", b"nistp384", &[4; 97]]);
        let hardware = key(&[b"sk-ssh-ed25519@openssh.com", &[1; 32], b"ssh:"]);
        let rsa = PublicKeyId::from_blob(&rsa(256)).unwrap();
        for (key, ways) in [
            (key(&[b"ssh-ed25519", &[1; 32]]), &["ssh-ed25519"][..]),
            (nist256, &["ecdsa-sha2-nistp256"]),
            (nist384, &["ecdsa-sha2-nistp384"]),
            (rsa, &["rsa-sha2-256", "rsa-sha2-512"]),
            (hardware.clone(), &["sk-ssh-ed25519@openssh.com"]),
        ] {
            let all = KeyAlgorithm::ALL.map(KeyAlgorithm::name).into_iter();
            let all = all.chain(["rsa-sha2-256", "rsa-sha2-512", "ssh-dss", "", "x@y"]);
            let found: Vec<_> = all.filter(|way| key.signs_as(way)).collect();
            assert_eq!(found, ways, "{key:?}");
            assert_eq!(key.is_hardware(), key == hardware);
        }
    }

    #[test]
    fn a_line_must_name_the_kind_it_holds() {
        let line = PublicKeyId::from_blob(&blob(&[b"ssh-ed25519", &[1; 32]])).unwrap().to_line();
        let other = line.replacen("ssh-ed25519", "ssh-rsa", 1);
        assert_eq!(PublicKeyId::from_line(&other), Err(PublicKeyError::Malformed));
        assert_eq!(PublicKeyId::from_line("ssh-ed25519"), Err(PublicKeyError::Malformed));
        assert_eq!(PublicKeyId::from_line("ssh-ed25519 %%%"), Err(PublicKeyError::Malformed));
    }
}
