//! Fingerprints of SSH public keys, as OpenSSH shows them (spec/auth.md, "Fingerprints").

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use base64ct::{Base64Unpadded, Encoding};

/// SHA-256 of an SSH public key blob. Shown as `SHA256:` and 43 characters of base64 without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// Why a text is not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// It does not begin with `SHA256:`.
    #[error("a fingerprint begins with `SHA256:`")]
    Prefix,
    /// What follows is not 32 bytes in base64 without padding.
    #[error("after `SHA256:` a fingerprint has 43 letters, digits, `+` or `/`")]
    Base64,
}

impl Fingerprint {
    /// The fingerprint of the key with this SSH public key blob.
    pub fn of_blob(blob: &[u8]) -> Self {
        Self(sha256(blob))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", Base64Unpadded::encode_string(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let base64 = text.strip_prefix(PREFIX).ok_or(FingerprintError::Prefix)?;
        let mut bytes = [0; 32];
        match Base64Unpadded::decode(base64, &mut bytes) {
            Ok(decoded) if decoded.len() == 32 => Ok(Self(bytes)),
            _ => Err(FingerprintError::Base64),
        }
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let hash = digest::digest(&digest::SHA256, bytes);
    hash.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

const PREFIX: &str = "SHA256:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_again() {
        let fingerprint = Fingerprint::of_blob(b"a key");
        let text = fingerprint.to_string();
        assert_eq!(text.len(), 50);
        assert_eq!(text.parse(), Ok(fingerprint));
    }

    #[test]
    fn other_texts_are_refused() {
        let good = Fingerprint([0; 32]).to_string();
        let parse = |text: &str| text.parse::<Fingerprint>();
        assert_eq!(parse("MD5:00:11"), Err(FingerprintError::Prefix));
        assert_eq!(parse("sha256:x"), Err(FingerprintError::Prefix));
        assert_eq!(parse(&format!("{good}=")), Err(FingerprintError::Base64));
        assert_eq!(parse(&good[..49]), Err(FingerprintError::Base64));
        assert_eq!(parse(&format!("{good}A")), Err(FingerprintError::Base64));
        assert_eq!(
            parse(&format!("{}B", &good[..49])),
            Err(FingerprintError::Base64),
            "bits that count for nothing"
        );
        assert_eq!(parse("SHA256:"), Err(FingerprintError::Base64));
    }
}
