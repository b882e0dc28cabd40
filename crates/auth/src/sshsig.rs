//! Signatures in OpenSSH's SSHSIG format (spec/auth.md, "The proof"; OpenSSH `PROTOCOL.sshsig`).
//!
//! Only one namespace and one hash are made and accepted, so that a signature a user gave for a file, a git commit or
//! an SSH log-in is worth nothing here. What is checked is checked by aws-lc; RSA with SHA-1 is refused.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

use crate::fingerprint::sha256;
use crate::public_key::{KeyAlgorithm, KeyParts, PublicKeyError, PublicKeyId, shown};
use crate::ssh_wire::{SshReader, put_string};

/// The SSHSIG namespace of client proofs.
pub const NAMESPACE: &str = "sft-auth@sftsrv";

/// Why a signature is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not in SSHSIG format, cut short, or with bytes to spare.
    #[error("the signature is not in SSHSIG format")]
    Malformed,
    /// An SSHSIG version other than 1.
    #[error("the signature has SSHSIG version {0}; only 1 is known")]
    Version(u32),
    /// A signature that was made for something else.
    #[error("the signature was made for `{0}` and not for `{NAMESPACE}`")]
    Namespace(String),
    /// A hash other than SHA-512, or a reserved field that is not empty.
    #[error("the signature is over a `{0}` hash; sha512 with nothing in the reserved field is required")]
    Hash(String),
    /// The key inside cannot be accepted.
    #[error("the key in the signature cannot be used")]
    Key(#[from] PublicKeyError),
    /// A signature algorithm that does not belong to the key, or RSA with SHA-1.
    #[error("a signature of kind `{0}` is not accepted for this key")]
    Algorithm(String),
    /// A FIDO key signed without being touched.
    #[error("the hardware key signed without anybody touching it")]
    NotPresent,
    /// The numbers do not add up.
    #[error("the signature does not match")]
    Wrong,
}

/// What the private key signs: `SSHSIG`, namespace, an empty string, `sha512`, and the SHA-512 of the message.
pub(crate) fn signed_bytes(message: &[u8]) -> Vec<u8> {
    signed_bytes_for(NAMESPACE, message)
}

fn signed_bytes_for(namespace: &str, message: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    put_string(&mut bytes, namespace.as_bytes());
    put_string(&mut bytes, b"");
    put_string(&mut bytes, HASH);
    put_string(&mut bytes, digest::digest(&digest::SHA512, message).as_ref());
    bytes
}

/// The SSHSIG blob of a key and a signature (an SSH signature blob: string algorithm, string data, ...).
pub(crate) fn encode(key: &PublicKeyId, signature: &[u8]) -> Vec<u8> {
    let mut blob = MAGIC.to_vec();
    blob.extend_from_slice(&VERSION.to_be_bytes());
    put_string(&mut blob, key.blob());
    put_string(&mut blob, NAMESPACE.as_bytes());
    put_string(&mut blob, b"");
    put_string(&mut blob, HASH);
    put_string(&mut blob, signature);
    blob
}

/// Checks an SSHSIG blob over `message`, and gives the key that signed.
pub(crate) fn verify(blob: &[u8], message: &[u8]) -> Result<PublicKeyId, SignatureError> {
    let fields = Fields::read(blob).ok_or(SignatureError::Malformed)?;
    if fields.version != VERSION {
        return Err(SignatureError::Version(fields.version));
    }
    if fields.namespace != NAMESPACE.as_bytes() {
        return Err(SignatureError::Namespace(shown(fields.namespace)));
    }
    if fields.hash != HASH || !fields.reserved.is_empty() {
        return Err(SignatureError::Hash(shown(fields.hash)));
    }
    let key = PublicKeyId::from_blob(fields.key)?;
    verify_raw(&key, fields.signature, &signed_bytes(message))?;
    Ok(key)
}

struct Fields<'a> {
    version: u32,
    key: &'a [u8],
    namespace: &'a [u8],
    reserved: &'a [u8],
    hash: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Fields<'a> {
    fn read(blob: &'a [u8]) -> Option<Self> {
        let mut reader = SshReader::new(blob.strip_prefix(MAGIC)?);
        let fields = Self {
            version: reader.u32()?,
            key: reader.string()?,
            namespace: reader.string()?,
            reserved: reader.string()?,
            hash: reader.string()?,
            signature: reader.string()?,
        };
        reader.is_empty().then_some(fields)
    }
}

/// Checks an SSH signature blob over `signed`.
pub(crate) fn verify_raw(key: &PublicKeyId, signature: &[u8], signed: &[u8]) -> Result<(), SignatureError> {
    let mut reader = SshReader::new(signature);
    let name = reader.string().ok_or(SignatureError::Malformed)?;
    let data = reader.string().ok_or(SignatureError::Malformed)?;
    let rsa = match (key.kind(), name) {
        (KeyAlgorithm::Rsa, b"rsa-sha2-512") => &RSA_PKCS1_2048_8192_SHA512,
        (KeyAlgorithm::Rsa, b"rsa-sha2-256") => &RSA_PKCS1_2048_8192_SHA256,
        (kind, name) if kind != KeyAlgorithm::Rsa && name == kind.name().as_bytes() => {
            &RSA_PKCS1_2048_8192_SHA512
        }
        _ => return Err(SignatureError::Algorithm(shown(name))),
    };
    let touched = if key.kind().is_hardware() { Some(Touch::read(&mut reader)?) } else { None };
    if !reader.is_empty() {
        return Err(SignatureError::Malformed);
    }
    let by_hardware =
        |application| touched.map_or_else(Vec::new, |touch: Touch| touch.signed(application, signed));
    match key.parts() {
        KeyParts::Ed25519 { point } => check(&ED25519, point, signed, data),
        KeyParts::EcdsaP256 { point } => {
            check(&ECDSA_P256_SHA256_FIXED, point, signed, &ecdsa_fixed(data, 32)?)
        }
        KeyParts::EcdsaP384 { point } => {
            check(&ECDSA_P384_SHA384_FIXED, point, signed, &ecdsa_fixed(data, 48)?)
        }
        KeyParts::Rsa { modulus, exponent } => check_rsa(rsa, modulus, exponent, signed, data),
        KeyParts::SkEd25519 { point, application } => check(&ED25519, point, &by_hardware(application), data),
        KeyParts::SkEcdsaP256 { point, application } => {
            check(&ECDSA_P256_SHA256_FIXED, point, &by_hardware(application), &ecdsa_fixed(data, 32)?)
        }
    }
}

/// What a FIDO authenticator says beside its signature.
#[derive(Clone, Copy)]
struct Touch {
    flags: u8,
    counter: u32,
}

impl Touch {
    fn read(reader: &mut SshReader<'_>) -> Result<Self, SignatureError> {
        let (Some(flags), Some(counter)) = (reader.byte(), reader.u32()) else {
            return Err(SignatureError::Malformed);
        };
        if flags & USER_PRESENT == 0 { Err(SignatureError::NotPresent) } else { Ok(Self { flags, counter }) }
    }

    /// What the authenticator signs (OpenSSH `PROTOCOL.u2f`, "SSH U2F Signatures").
    fn signed(self, application: &[u8], message: &[u8]) -> Vec<u8> {
        let mut bytes = sha256(application).to_vec();
        bytes.push(self.flags);
        bytes.extend_from_slice(&self.counter.to_be_bytes());
        bytes.extend_from_slice(&sha256(message));
        bytes
    }
}

fn check(
    algorithm: &'static dyn VerificationAlgorithm,
    point: &[u8],
    signed: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    UnparsedPublicKey::new(algorithm, point).verify(signed, signature).map_err(|_| SignatureError::Wrong)
}

fn check_rsa(
    algorithm: &signature::RsaParameters,
    modulus: &[u8],
    exponent: &[u8],
    signed: &[u8],
    data: &[u8],
) -> Result<(), SignatureError> {
    if data.len() > modulus.len() {
        return Err(SignatureError::Malformed);
    }
    // RFC 8332 wants all bytes of the modulus, but some signers drop leading zeros, and OpenSSH puts them back.
    let mut padded = vec![0; modulus.len() - data.len()];
    padded.extend_from_slice(data);
    let key = RsaPublicKeyComponents { n: modulus, e: exponent };
    key.verify(algorithm, signed, &padded).map_err(|_| SignatureError::Wrong)
}

/// The two numbers of an ECDSA signature (RFC 5656, section 3.1.2), each filled up to `width` bytes.
fn ecdsa_fixed(data: &[u8], width: usize) -> Result<Vec<u8>, SignatureError> {
    let mut reader = SshReader::new(data);
    let mut fixed = Vec::with_capacity(2 * width);
    for _ in 0..2 {
        let number = reader.positive().filter(|n| n.len() <= width).ok_or(SignatureError::Malformed)?;
        fixed.resize(fixed.len() + width - number.len(), 0);
        fixed.extend_from_slice(number);
    }
    if reader.is_empty() { Ok(fixed) } else { Err(SignatureError::Malformed) }
}

const MAGIC: &[u8] = b"SSHSIG";
const VERSION: u32 = 1;
const HASH: &[u8] = b"sha512";
const USER_PRESENT: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
    };

    const MESSAGE: &[u8] = b"a message";

    fn strings(fields: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        fields.iter().for_each(|field| put_string(&mut out, field));
        out
    }

    fn ed25519() -> (Ed25519KeyPair, PublicKeyId) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let blob = strings(&[b"ssh-ed25519", pair.public_key().as_ref()]);
        (pair, PublicKeyId::from_blob(&blob).unwrap())
    }

    fn ed25519_signature(signed: &[u8]) -> Vec<u8> {
        strings(&[b"ssh-ed25519", ed25519().0.sign(signed).as_ref()])
    }

    fn rsa_2048() -> (RsaKeyPair, PublicKeyId) {
        let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        // RSAPublicKey of RFC 8017: a sequence of the modulus, 257 bytes with its leading zero, and 65537.
        let der = pair.public_key().as_ref();
        assert_eq!((der[4..8].to_vec(), der.len()), (vec![2, 0x82, 1, 1], 8 + 257 + 5));
        let blob = strings(&[b"ssh-rsa", &der[der.len() - 3..], &der[8..8 + 257]]);
        (pair, PublicKeyId::from_blob(&blob).unwrap())
    }

    #[test]
    fn a_signature_over_the_message_is_accepted_and_no_bit_of_it_may_change() {
        let (_, key) = ed25519();
        let blob = encode(&key, &ed25519_signature(&signed_bytes(MESSAGE)));
        assert_eq!(verify(&blob, MESSAGE), Ok(key));
        assert_eq!(verify(&blob, b"another"), Err(SignatureError::Wrong));
        for at in 0..blob.len() {
            let mut tampered = blob.clone();
            tampered[at] ^= 1;
            assert!(verify(&tampered, MESSAGE).is_err(), "byte {at}");
            assert!(verify(&blob[..at], MESSAGE).is_err(), "cut at {at}");
        }
        assert_eq!(verify(&[&blob[..], &[0]].concat(), MESSAGE), Err(SignatureError::Malformed));
    }

    #[test]
    fn another_namespace_version_or_hash_is_refused() {
        let (_, key) = ed25519();
        let blob = |version: u32, namespace: &str, reserved: &[u8], hash: &[u8]| {
            let signature = ed25519_signature(&signed_bytes_for(namespace, MESSAGE));
            let rest = strings(&[key.blob(), namespace.as_bytes(), reserved, hash, &signature]);
            [MAGIC, &version.to_be_bytes(), &rest].concat()
        };
        assert!(verify(&blob(1, NAMESPACE, b"", HASH), MESSAGE).is_ok());
        assert_eq!(verify(&blob(1, "git", b"", HASH), MESSAGE), Err(SignatureError::Namespace("git".into())));
        assert_eq!(verify(&blob(2, NAMESPACE, b"", HASH), MESSAGE), Err(SignatureError::Version(2)));
        assert!(matches!(verify(&blob(1, NAMESPACE, b"x", HASH), MESSAGE), Err(SignatureError::Hash(_))));
        assert!(matches!(verify(&blob(1, NAMESPACE, b"", b"sha256"), MESSAGE), Err(SignatureError::Hash(_))));
    }

    #[test]
    fn rsa_signs_with_sha2_and_never_with_sha1() {
        let (pair, key) = rsa_2048();
        let signed = signed_bytes(MESSAGE);
        let sign = |padding: &'static dyn signature::RsaEncoding| {
            let mut data = vec![0; pair.public_modulus_len()];
            pair.sign(padding, &SystemRandom::new(), &signed, &mut data).unwrap();
            data
        };
        let sha512 = sign(&signature::RSA_PKCS1_SHA512);
        let sha256 = sign(&signature::RSA_PKCS1_SHA256);
        let verdict = |name: &[u8], data: &[u8]| verify(&encode(&key, &strings(&[name, data])), MESSAGE);
        assert!(verdict(b"rsa-sha2-512", &sha512).is_ok());
        assert!(verdict(b"rsa-sha2-256", &sha256).is_ok());
        assert_eq!(verdict(b"rsa-sha2-256", &sha512), Err(SignatureError::Wrong));
        assert_eq!(verdict(b"ssh-rsa", &sha512), Err(SignatureError::Algorithm("ssh-rsa".into())));
        assert_eq!(verdict(b"ssh-ed25519", &sha512), Err(SignatureError::Algorithm("ssh-ed25519".into())));
    }

    #[test]
    fn a_hardware_key_must_have_been_touched() {
        let pair = ed25519().0;
        let point = pair.public_key().as_ref();
        let blob = strings(&[b"sk-ssh-ed25519@openssh.com", point, b"ssh:"]);
        let key = PublicKeyId::from_blob(&blob).unwrap();
        let sign = |flags: u8, application: &[u8]| {
            let said = Touch { flags, counter: 9 }.signed(application, &signed_bytes(MESSAGE));
            let mut out = strings(&[b"sk-ssh-ed25519@openssh.com", pair.sign(&said).as_ref()]);
            out.push(flags);
            out.extend_from_slice(&9u32.to_be_bytes());
            encode(&key, &out)
        };
        assert_eq!(verify(&sign(1, b"ssh:"), MESSAGE), Ok(key.clone()));
        assert_eq!(verify(&sign(5, b"ssh:"), MESSAGE), Ok(key.clone()));
        assert_eq!(verify(&sign(0, b"ssh:"), MESSAGE), Err(SignatureError::NotPresent));
        assert_eq!(verify(&sign(4, b"ssh:"), MESSAGE), Err(SignatureError::NotPresent));
        assert_eq!(verify(&sign(1, b"https://a.example"), MESSAGE), Err(SignatureError::Wrong));
        let short = strings(&[b"sk-ssh-ed25519@openssh.com", &[0; 64]]);
        assert_eq!(verify(&encode(&key, &short), MESSAGE), Err(SignatureError::Malformed));
    }

    #[test]
    fn a_hardware_ecdsa_key_is_checked_the_same_way() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let name = b"sk-ecdsa-sha2-nistp256@openssh.com";
        let blob = strings(&[name, b"nistp256", pair.public_key().as_ref(), b"ssh:"]);
        let key = PublicKeyId::from_blob(&blob).unwrap();
        let said = Touch { flags: 1, counter: 2 }.signed(b"ssh:", &signed_bytes(MESSAGE));
        let fixed = pair.sign(&SystemRandom::new(), &said).unwrap();
        let number = |bytes: &[u8]| {
            let bytes: Vec<u8> = bytes.iter().copied().skip_while(|&b| b == 0).collect();
            if bytes[0] >= 0x80 { [&[0], &bytes[..]].concat() } else { bytes }
        };
        let data = strings(&[&number(&fixed.as_ref()[..32]), &number(&fixed.as_ref()[32..])]);
        let mut signature = strings(&[name, &data]);
        signature.extend_from_slice(&[1, 0, 0, 0, 2]);
        assert_eq!(verify(&encode(&key, &signature), MESSAGE), Ok(key.clone()));
        let at = signature.len() - 1;
        signature[at] = 3;
        assert_eq!(verify(&encode(&key, &signature), MESSAGE), Err(SignatureError::Wrong));
    }

    #[test]
    fn garbage_is_malformed() {
        for garbage in [&b""[..], b"SSHSIG", b"-----BEGIN SSH SIGNATURE-----", &[0xff; 300]] {
            assert_eq!(verify(garbage, MESSAGE), Err(SignatureError::Malformed));
        }
    }
}
