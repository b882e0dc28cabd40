//! How a client proves a key to a server (spec/auth.md, "The proof").
//!
//! The signed message holds the TLS exporter, so that a proof is worth nothing on another connection; the server's key,
//! so that it is worth nothing to another server; and a text that only client proofs begin with, so that it cannot be
//! turned around. Nothing here decides what a proven key may do.

use sft_base::limits::{SIGNATURE_BYTES_MAX, USER_BYTES_MAX};
use zeroize::Zeroizing;

use crate::client_keys::{ClientKey, SignError};
use crate::invitation::{InvitationProof, InvitationSecret};
use crate::public_key::{PublicKeyError, PublicKeyId};
use crate::server_key::ServerKey;
use crate::ssh_wire::put_string;
use crate::sshsig::{self, SignatureError};

/// Who a client says it is, and the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The name that the client wishes to act as; empty for none. Signed, and otherwise without meaning in SFT/1.
    pub user: String,
    /// SSH public key blob.
    pub public_key: Vec<u8>,
    /// SSHSIG blob.
    pub signature: Vec<u8>,
    /// An invitation to redeem for this key.
    pub invitation: Option<InvitationProof>,
}

/// Why a proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A field longer than its limit.
    #[error("`{field}` of the proof has {len} bytes, more than {max}")]
    TooLong {
        /// Which field.
        field: &'static str,
        /// Its bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The key is not one we accept.
    #[error("the key of the proof cannot be used")]
    Key(#[from] PublicKeyError),
    /// The signature is no SSHSIG, was made for something else, or is not over this connection, server, user and key.
    #[error("the signature of the proof does not hold")]
    Signature(#[from] SignatureError),
    /// The signature was made by another key than the proof names.
    #[error("the proof names one key and was signed by another, {signer}")]
    OtherKey {
        /// The key that signed.
        signer: PublicKeyId,
    },
}

/// Signs a proof for one connection.
///
/// - Shape: `exporter` is the 32 bytes of the TLS exporter `EXPORTER-sft/1` without context; `passphrase` is called
///   with a question if the key needs one.
/// - Errors: [`SignError`]. Blocks as [`ClientKey::sign`] does.
/// - Source: spec/auth.md, "The proof".
pub fn prove(
    key: &ClientKey,
    user: &str,
    exporter: &[u8; 32],
    server: &ServerKey,
    invitation: Option<&InvitationSecret>,
    passphrase: &mut dyn FnMut(&str) -> Option<Zeroizing<String>>,
) -> Result<Proof, SignError> {
    if user.len() > USER_BYTES_MAX {
        return Err(SignError::UserTooLong(user.len()));
    }
    let public_key = key.public().blob().to_vec();
    let message = message(exporter, server, user, &public_key);
    let signature = key.sign(&message, passphrase)?;
    let invitation =
        invitation.map(|secret| InvitationProof { id: secret.id(), mac: secret.verifier().mac(&message) });
    Ok(Proof { user: user.to_owned(), public_key, signature, invitation })
}

/// Checks a proof against the connection it came on, and gives the key that is proven.
///
/// The invitation is not looked at: whoever knows its verifier does that.
pub fn verify_proof(
    proof: &Proof,
    exporter: &[u8; 32],
    server: &ServerKey,
) -> Result<PublicKeyId, ProofError> {
    at_most("user", proof.user.len(), USER_BYTES_MAX)?;
    at_most("signature", proof.signature.len(), SIGNATURE_BYTES_MAX)?;
    let key = PublicKeyId::from_blob(&proof.public_key)?;
    let signer = sshsig::verify(&proof.signature, &proof.message(exporter, server))?;
    if signer == key { Ok(key) } else { Err(ProofError::OtherKey { signer }) }
}

impl Proof {
    /// What its signature and its invitation's keyed hash are over.
    pub(crate) fn message(&self, exporter: &[u8; 32], server: &ServerKey) -> Vec<u8> {
        message(exporter, server, &self.user, &self.public_key)
    }
}

fn message(exporter: &[u8; 32], server: &ServerKey, user: &str, public_key: &[u8]) -> Vec<u8> {
    let mut message = CONTEXT.to_vec();
    message.extend_from_slice(exporter);
    put_string(&mut message, &server.blob());
    put_string(&mut message, user.as_bytes());
    put_string(&mut message, public_key);
    message
}

fn at_most(field: &'static str, len: usize, max: usize) -> Result<(), ProofError> {
    if len > max { Err(ProofError::TooLong { field, len, max }) } else { Ok(()) }
}

const CONTEXT: &[u8] = b"sft/1 client proof\0";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_keys::{ClientKeys, KeySearch};

    const EXPORTER: [u8; 32] = [3; 32];
    const SERVER: ServerKey = ServerKey([4; 32]);

    fn proof(user: &str) -> Proof {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        ClientKeys::generate(&path, "", None).unwrap();
        let keys = ClientKeys::find(&KeySearch { files: vec![path], ..KeySearch::default() }).unwrap();
        prove(&keys.keys()[0], user, &EXPORTER, &SERVER, None, &mut |_| None).unwrap()
    }

    #[test]
    fn a_proof_holds_on_its_own_connection_and_nowhere_else() {
        let good = proof("ana");
        let key = verify_proof(&good, &EXPORTER, &SERVER).unwrap();
        assert_eq!(key.blob(), good.public_key);
        let wrong = Err(ProofError::Signature(SignatureError::Wrong));
        assert_eq!(
            verify_proof(&good, &[5; 32], &SERVER),
            wrong,
            "replayed, or relayed, on another connection"
        );
        assert_eq!(verify_proof(&good, &EXPORTER, &ServerKey([5; 32])), wrong, "meant for another server");
        let renamed = Proof { user: "bob".into(), ..good.clone() };
        assert_eq!(verify_proof(&renamed, &EXPORTER, &SERVER), wrong, "another user");
    }

    #[test]
    fn a_stolen_signature_does_not_prove_another_key() {
        let (good, other) = (proof("ana"), proof("ana"));
        let swapped = Proof { public_key: other.public_key.clone(), ..good.clone() };
        assert!(matches!(verify_proof(&swapped, &EXPORTER, &SERVER), Err(ProofError::Signature(_))));
        // The signer signs the message of another key: the signature itself is good.
        let message = other.message(&EXPORTER, &SERVER);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        ClientKeys::generate(&path, "", None).unwrap();
        let keys = ClientKeys::find(&KeySearch { files: vec![path], ..KeySearch::default() }).unwrap();
        let signature = keys.keys()[0].sign(&message, &mut |_| None).unwrap();
        let claimed = Proof { signature, ..other };
        let told = verify_proof(&claimed, &EXPORTER, &SERVER).unwrap_err().to_string();
        let signer = keys.keys()[0].public();
        assert_eq!(told, format!("the proof names one key and was signed by another, {signer}"));
    }

    #[test]
    fn limits_hold_before_anything_is_computed() {
        let good = proof("");
        let long_user = Proof { user: "u".repeat(256), ..good.clone() };
        assert!(matches!(verify_proof(&long_user, &EXPORTER, &SERVER), Err(ProofError::TooLong { .. })));
        let long_signature = Proof { signature: vec![0; 4097], ..good.clone() };
        assert!(matches!(verify_proof(&long_signature, &EXPORTER, &SERVER), Err(ProofError::TooLong { .. })));
        let long_key = Proof { public_key: vec![0; 2049], ..good };
        assert!(matches!(verify_proof(&long_key, &EXPORTER, &SERVER), Err(ProofError::Key(_))));
    }

    #[test]
    fn every_byte_of_a_proof_counts() {
        let good = proof("ana");
        for at in 0..good.signature.len() {
            let mut bad = good.clone();
            bad.signature[at] ^= 0x40;
            assert!(verify_proof(&bad, &EXPORTER, &SERVER).is_err(), "byte {at} of the signature");
            bad.signature.truncate(at);
            assert!(verify_proof(&bad, &EXPORTER, &SERVER).is_err(), "cut at {at}");
        }
        for at in 0..good.public_key.len() {
            let mut bad = good.clone();
            bad.public_key[at] ^= 0x40;
            assert!(verify_proof(&bad, &EXPORTER, &SERVER).is_err(), "byte {at} of the key");
        }
    }
}
