//! What a client demands of the server's key, and the TLS verifier that enforces it (spec/auth.md, "The server").
//!
//! The certificate is a vessel: only its Ed25519 key counts, no name, date or issuer. The handshake signature is still
//! verified, so the server has proved that it holds the key before anything is said to it.

use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerIncompatible, SignatureScheme};

use crate::AttemptError;

/// Which server a client will talk to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// The one with this Ed25519 public key.
    Key([u8; 32]),
    /// The one whose key has this SHA-256 [`fingerprint`].
    Fingerprint([u8; 32]),
    /// Any: the caller asks [`crate::Connection::peer_key`] and decides before it sends anything.
    Any,
}

impl Pin {
    /// Whether a server with this key is acceptable.
    pub fn accepts(&self, key: &[u8; 32]) -> bool {
        match self {
            Self::Key(pinned) => pinned == key,
            Self::Fingerprint(pinned) => *pinned == fingerprint(key),
            Self::Any => true,
        }
    }
}

/// SHA-256 of the key as OpenSSH encodes it: what `ssh-keygen -l` shows as `SHA256:…`.
///
/// - Source: RFC 8709, section 4: two strings, "ssh-ed25519" and the key, each after its 32-bit length.
pub fn fingerprint(key: &[u8; 32]) -> [u8; 32] {
    let mut blob = Vec::with_capacity(51);
    for string in [b"ssh-ed25519".as_slice(), key] {
        blob.extend_from_slice(&(string.len() as u32).to_be_bytes());
        blob.extend_from_slice(string);
    }
    let digest = digest::digest(&digest::SHA256, &blob);
    digest.as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// The Ed25519 key of a certificate, if that is what it holds.
pub(crate) fn identity_key(certificate: &CertificateDer<'_>) -> Result<Option<[u8; 32]>, Error> {
    let spki = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    Ok(spki.strip_prefix(&ED25519_SPKI_PREFIX).and_then(|key| key.try_into().ok()))
}

/// Verifies one server for one attempt, and remembers why it refused: QUIC loses the reason on the way up.
#[derive(Debug)]
pub(crate) struct PinVerifier {
    pin: Pin,
    algorithms: WebPkiSupportedAlgorithms,
    refusal: Mutex<Option<AttemptError>>,
}

impl PinVerifier {
    pub(crate) fn new(pin: Pin, algorithms: WebPkiSupportedAlgorithms) -> Arc<Self> {
        Arc::new(Self { pin, algorithms, refusal: Mutex::new(None) })
    }

    /// Why the server was refused, if this verifier refused it.
    pub(crate) fn take_refusal(&self) -> Option<AttemptError> {
        self.refusal.lock().expect("nothing panics while it is locked").take()
    }

    fn refuse(&self, cause: AttemptError) -> Error {
        *self.refusal.lock().expect("nothing panics while it is locked") = Some(cause);
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match identity_key(end_entity)? {
            Some(key) if self.pin.accepts(&key) => Ok(ServerCertVerified::assertion()),
            Some(got) => Err(self.refuse(AttemptError::WrongKey { got })),
            None => Err(self.refuse(AttemptError::NoIdentity)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// A SubjectPublicKeyInfo of Ed25519 is this and the 32 bytes of the key (RFC 8410, section 4).
const ED25519_SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_what_openssh_shows() {
        // `ssh-keygen -lf` says SHA256:F2RDMZJX7I0/WFEGkWbBaZxdKgoOxnRVon0NUPfv6vk of
        // AAAAC3NzaC1lZDI1NTE5AAAAIHOvAmG9zJghpS1qkjfYv6O9+/UXwp+tdAUvFvP1/nnZ.
        let key = [
            0x73, 0xaf, 0x02, 0x61, 0xbd, 0xcc, 0x98, 0x21, 0xa5, 0x2d, 0x6a, 0x92, 0x37, 0xd8, 0xbf, 0xa3,
            0xbd, 0xfb, 0xf5, 0x17, 0xc2, 0x9f, 0xad, 0x74, 0x05, 0x2f, 0x16, 0xf3, 0xf5, 0xfe, 0x79, 0xd9,
        ];
        let shown = [
            0x17, 0x64, 0x43, 0x31, 0x92, 0x57, 0xec, 0x8d, 0x3f, 0x58, 0x51, 0x06, 0x91, 0x66, 0xc1, 0x69,
            0x9c, 0x5d, 0x2a, 0x0a, 0x0e, 0xc6, 0x74, 0x55, 0xa2, 0x7d, 0x0d, 0x50, 0xf7, 0xef, 0xea, 0xf9,
        ];
        assert_eq!(fingerprint(&key), shown);
        assert!(Pin::Fingerprint(shown).accepts(&key));
        assert!(!Pin::Fingerprint(key).accepts(&key));
        assert!(!Pin::Key(shown).accepts(&key));
    }
}
