//! Invitations: a secret that enrols the key of whoever holds it (spec/auth.md, "Invitations").
//!
//! The secret leaves the server once, in a link. What the server keeps is a name for it and a key to check proofs
//! with, both derived from the secret, so that its file never shows a link that could be passed on. The derived key is
//! still enough to forge a proof: the file is as private as the identity.

use std::fmt;
use std::time::SystemTime;

use sft_base::EntryPath;
use zeroize::Zeroizing;

use crate::rights::Rights;

/// What an invitation will give, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitationTerms {
    /// The subtree that the invited may use.
    pub path: EntryPath,
    /// What they may do there.
    pub rights: Rights,
    /// Until when it can be redeemed; none for ever.
    pub expires: Option<SystemTime>,
    /// Until when those who redeemed it have access; none for ever.
    pub access_until: Option<SystemTime>,
    /// How many keys it can enrol.
    pub uses: u32,
    /// For the owner's memory; becomes the label of those who redeem it, if it is not empty.
    pub note: String,
}

/// An invitation as it is made: the only moment at which the server knows the secret.
#[derive(Debug)]
pub struct Invitation {
    /// What goes into the link.
    pub secret: InvitationSecret,
    /// What it gives.
    pub terms: InvitationTerms,
}

/// The secret of an invitation: 16 random bytes, wiped from memory when dropped and never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct InvitationSecret(pub Zeroizing<[u8; 16]>);

/// What an invitation is called where its secret must not be seen. Shown as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InvitationId(pub [u8; 8]);

/// What a client sends to redeem an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvitationProof {
    /// Which invitation.
    pub id: InvitationId,
    /// Keyed hash over the message of the proof.
    pub mac: [u8; 32],
}

/// What the server keeps to check proofs with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct InvitationVerifier(pub(crate) Zeroizing<[u8; 32]>);

/// One key may list and read everything, for ever: what `sft invite` gives if nothing else is said.
impl Default for InvitationTerms {
    fn default() -> Self {
        Self {
            path: EntryPath::root(),
            rights: Rights::READ,
            expires: None,
            access_until: None,
            uses: 1,
            note: String::new(),
        }
    }
}

impl InvitationSecret {
    /// Takes the bytes of a link.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// First 8 bytes of BLAKE3 `derive_key("sft/1 invitation id", secret)`.
    pub fn id(&self) -> InvitationId {
        let derived = blake3::derive_key("sft/1 invitation id", &*self.0);
        InvitationId(std::array::from_fn(|i| derived[i]))
    }

    pub(crate) fn verifier(&self) -> InvitationVerifier {
        InvitationVerifier(Zeroizing::new(blake3::derive_key("sft/1 invitation key", &*self.0)))
    }
}

impl InvitationVerifier {
    pub(crate) fn mac(&self, message: &[u8]) -> [u8; 32] {
        blake3::keyed_hash(&self.0, message).into()
    }

    /// Compares in constant time.
    pub(crate) fn accepts(&self, mac: &[u8; 32], message: &[u8]) -> bool {
        blake3::keyed_hash(&self.0, message) == *mac
    }
}

impl fmt::Display for InvitationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for InvitationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Debug for InvitationSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InvitationSecret(of {})", self.id())
    }
}

impl fmt::Debug for InvitationVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InvitationVerifier")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_gives_the_keyed_hash() {
        let (secret, other) = (InvitationSecret::new([1; 16]), InvitationSecret::new([2; 16]));
        let mac = secret.verifier().mac(b"message");
        assert!(secret.verifier().accepts(&mac, b"message"));
        assert!(!secret.verifier().accepts(&mac, b"messagf"));
        assert!(!other.verifier().accepts(&mac, b"message"));
        assert_ne!(secret.id(), other.id());
    }

    #[test]
    fn nothing_shows_the_secret() {
        let secret = InvitationSecret::new([0xab; 16]);
        let said = format!("{secret:?} {:?}", secret.verifier());
        assert!(!said.contains("171") && !said.contains("abab"), "{said}");
    }
}
