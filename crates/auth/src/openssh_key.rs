//! OpenSSH's format of private keys (OpenSSH `PROTOCOL.key`), read and written.
//!
//! Reading gives the public half at once and the private half with the passphrase. Every number is checked against the
//! public half, which stands outside of what the passphrase protects. Files with more than one key are refused, as
//! OpenSSH does. Only Ed25519 keys are written.

use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64ct::{Base64, Encoding};
use bcrypt_pbkdf::bcrypt_pbkdf;
use ssh_cipher::{Cipher, Tag};
use zeroize::Zeroizing;

use crate::private_key::{PrivateKey, RsaNumbers};
use crate::public_key::{KeyParts, PublicKeyError, PublicKeyId, shown};
use crate::server_key::ServerKey;
use crate::ssh_wire::{SshReader, put_string};

/// A private key as it lies in its file.
pub(crate) struct SealedKey {
    public: PublicKeyId,
    lock: Option<Lock>,
    sealed: Zeroizing<Vec<u8>>,
}

/// How a passphrase opens it.
struct Lock {
    cipher: Cipher,
    salt: Vec<u8>,
    rounds: u32,
    tag: Option<Tag>,
}

/// A key that was opened.
pub(crate) struct OpenKey {
    pub(crate) private: PrivateKey,
    pub(crate) comment: String,
}

/// Why a text is no private key, or cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrivateKeyError {
    /// Not the armour or the fields of the format, or damaged.
    #[error("it is not a whole private key in OpenSSH's format")]
    Malformed,
    /// Encrypted with something that we do not know.
    #[error("it is encrypted with `{0}`, which is not known; run `ssh-keygen -p` on it to encrypt it anew")]
    Cipher(String),
    /// The passphrase is wrong, or the file is damaged: encryption does not tell these apart.
    #[error("the passphrase is wrong, or the key is damaged")]
    Passphrase,
    /// A kind of key that is not accepted.
    #[error(transparent)]
    Kind(#[from] PublicKeyError),
    /// The private half is not that of the public half in the same file.
    #[error("its private half does not belong to its public half")]
    Mismatch,
    /// The system gave no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

impl SealedKey {
    pub(crate) fn parse(text: &str) -> Result<Self, PrivateKeyError> {
        let bytes = unarmour(text).ok_or(PrivateKeyError::Malformed)?;
        let fields = Fields::read(&bytes).ok_or(PrivateKeyError::Malformed)?;
        let public = PublicKeyId::from_blob(fields.public)?;
        let lock = fields.lock()?;
        Ok(Self { public, lock, sealed: Zeroizing::new(fields.sealed.to_vec()) })
    }

    pub(crate) fn public(&self) -> &PublicKeyId {
        &self.public
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.lock.is_some()
    }

    /// Opens it; the passphrase counts only if the key is encrypted.
    pub(crate) fn open(&self, passphrase: &str) -> Result<OpenKey, PrivateKeyError> {
        let mut plain = self.sealed.clone();
        if let Some(lock) = &self.lock {
            lock.decrypt(passphrase, &mut plain)?;
        }
        read_private(&self.public, &plain)
    }
}

/// A new Ed25519 key, from the system's random numbers.
pub(crate) fn new_ed25519(comment: &str) -> Result<OpenKey, PrivateKeyError> {
    let mut seed = Zeroizing::new([0; 32]);
    random(&mut *seed)?;
    ed25519_of_seed(seed, comment)
}

/// The Ed25519 key of a seed (RFC 8032).
pub(crate) fn ed25519_of_seed(seed: Zeroizing<[u8; 32]>, comment: &str) -> Result<OpenKey, PrivateKeyError> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(|_| PrivateKeyError::Malformed)?;
    let public = pair.public_key().as_ref().try_into().map_err(|_| PrivateKeyError::Malformed)?;
    Ok(OpenKey { private: PrivateKey::Ed25519 { seed, public }, comment: comment.to_owned() })
}

/// Fills `bytes` from the system's random numbers.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), PrivateKeyError> {
    rand::fill(bytes).map_err(|_| PrivateKeyError::Random)
}

/// The file of an Ed25519 key, encrypted if there is a passphrase.
pub(crate) fn write_ed25519(
    seed: &[u8; 32],
    public: &[u8; 32],
    comment: &str,
    passphrase: Option<&str>,
) -> Result<Zeroizing<String>, PrivateKeyError> {
    let blob = ServerKey(*public).blob();
    let mut check = [0; 4];
    random(&mut check)?;
    let mut private = Zeroizing::new([check, check].concat());
    private.extend_from_slice(&blob);
    put_string(&mut private, &Zeroizing::new([&seed[..], &public[..]].concat()));
    put_string(&mut private, comment.as_bytes());
    let mut lock = passphrase.map(|_| Lock::new()).transpose()?;
    let block = lock.as_ref().map_or_else(|| Cipher::None.block_size(), |lock| lock.cipher.block_size());
    (1..).take((block - private.len() % block) % block).for_each(|byte| private.push(byte));
    if let (Some(lock), Some(passphrase)) = (&mut lock, passphrase) {
        lock.encrypt(passphrase, &mut private)?;
    }
    let mut bytes = Zeroizing::new(MAGIC.to_vec());
    let (cipher, kdf, options) = lock.map_or(("none", "none", Vec::new()), |lock| lock.describe());
    [cipher.as_bytes(), kdf.as_bytes(), &options].into_iter().for_each(|field| put_string(&mut bytes, field));
    bytes.extend_from_slice(&1u32.to_be_bytes());
    put_string(&mut bytes, &blob);
    put_string(&mut bytes, &private);
    Ok(armour(&bytes))
}

struct Fields<'a> {
    cipher: &'a [u8],
    kdf: &'a [u8],
    options: &'a [u8],
    public: &'a [u8],
    sealed: &'a [u8],
    tag: &'a [u8],
}

impl<'a> Fields<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = SshReader::new(bytes.strip_prefix(MAGIC)?);
        let (cipher, kdf, options) = (reader.string()?, reader.string()?, reader.string()?);
        reader.u32().filter(|&keys| keys == 1)?;
        Some(Self {
            cipher,
            kdf,
            options,
            public: reader.string()?,
            sealed: reader.string()?,
            tag: reader.rest(),
        })
    }

    fn lock(&self) -> Result<Option<Lock>, PrivateKeyError> {
        if self.cipher == b"none" && self.kdf == b"none" {
            return if self.tag.is_empty() { Ok(None) } else { Err(PrivateKeyError::Malformed) };
        }
        let name = std::str::from_utf8(self.cipher).ok();
        let cipher = name.and_then(|name| Cipher::new(name).ok()).filter(|c| c.key_and_iv_size().is_some());
        let (Some(cipher), b"bcrypt") = (cipher, self.kdf) else {
            return Err(PrivateKeyError::Cipher(format!("{} {}", shown(self.cipher), shown(self.kdf))));
        };
        let mut options = SshReader::new(self.options);
        let (Some(salt), Some(rounds)) = (options.string(), options.u32()) else {
            return Err(PrivateKeyError::Malformed);
        };
        let tag = self.tag.try_into().ok();
        if cipher.has_tag() != tag.is_some() || cipher.has_tag() == self.tag.is_empty() {
            return Err(PrivateKeyError::Malformed);
        }
        Ok(Some(Lock { cipher, salt: salt.to_vec(), rounds, tag }))
    }
}

impl Lock {
    fn new() -> Result<Self, PrivateKeyError> {
        let mut salt = vec![0; 16];
        random(&mut salt)?;
        Ok(Self { cipher: Cipher::Aes256Ctr, salt, rounds: BCRYPT_ROUNDS, tag: None })
    }

    fn key(&self, passphrase: &str) -> Result<(Zeroizing<Vec<u8>>, usize), PrivateKeyError> {
        let (key, iv) = self.cipher.key_and_iv_size().ok_or(PrivateKeyError::Malformed)?;
        let mut derived = Zeroizing::new(vec![0; key + iv]);
        // It refuses an empty passphrase, an empty salt and no rounds.
        bcrypt_pbkdf(passphrase, &self.salt, self.rounds, &mut derived)
            .map_err(|_| PrivateKeyError::Passphrase)?;
        Ok((derived, key))
    }

    fn decrypt(&self, passphrase: &str, bytes: &mut [u8]) -> Result<(), PrivateKeyError> {
        let (derived, at) = self.key(passphrase)?;
        let (key, iv) = derived.split_at(at);
        self.cipher.decrypt(key, iv, bytes, self.tag).map_err(|_| PrivateKeyError::Passphrase)
    }

    fn encrypt(&mut self, passphrase: &str, bytes: &mut [u8]) -> Result<(), PrivateKeyError> {
        let (derived, at) = self.key(passphrase)?;
        let (key, iv) = derived.split_at(at);
        self.tag = self.cipher.encrypt(key, iv, bytes).map_err(|_| PrivateKeyError::Malformed)?;
        Ok(())
    }

    fn describe(&self) -> (&'static str, &'static str, Vec<u8>) {
        let mut options = Vec::new();
        put_string(&mut options, &self.salt);
        options.extend_from_slice(&self.rounds.to_be_bytes());
        (self.cipher.as_str(), "bcrypt", options)
    }
}

fn read_private(public: &PublicKeyId, plain: &[u8]) -> Result<OpenKey, PrivateKeyError> {
    let mut reader = SshReader::new(plain);
    // Two equal numbers say that the passphrase was right.
    if reader.u32().ok_or(PrivateKeyError::Malformed)? != reader.u32().ok_or(PrivateKeyError::Malformed)? {
        return Err(PrivateKeyError::Passphrase);
    }
    if reader.string() != Some(public.algorithm().as_bytes()) {
        return Err(PrivateKeyError::Mismatch);
    }
    let private = private_of(public, &mut reader).ok_or(PrivateKeyError::Mismatch)?;
    let comment = reader.string().ok_or(PrivateKeyError::Malformed)?;
    let padding = reader.rest();
    if !padding.iter().zip(1..=255).all(|(&byte, number)| byte == number) || padding.len() > 255 {
        return Err(PrivateKeyError::Malformed);
    }
    Ok(OpenKey { private, comment: String::from_utf8_lossy(comment).into_owned() })
}

fn private_of(public: &PublicKeyId, reader: &mut SshReader<'_>) -> Option<PrivateKey> {
    match public.parts() {
        KeyParts::Ed25519 { point } => {
            reader.string().filter(|p| *p == point)?;
            let (seed, again) = reader.string()?.split_first_chunk::<32>()?;
            let public = point.try_into().ok()?;
            (again == point).then(|| PrivateKey::Ed25519 { seed: Zeroizing::new(*seed), public })
        }
        KeyParts::EcdsaP256 { point } => ecdsa(reader, b"nistp256", point, 32).map(PrivateKey::EcdsaP256),
        KeyParts::EcdsaP384 { point } => ecdsa(reader, b"nistp384", point, 48).map(PrivateKey::EcdsaP384),
        KeyParts::Rsa { modulus, exponent } => {
            reader.positive().filter(|n| *n == modulus)?;
            reader.positive().filter(|e| *e == exponent)?;
            let mut number = || reader.positive().map(|number| Zeroizing::new(number.to_vec()));
            let (d, inverse, p, q) = (number()?, number()?, number()?, number()?);
            let (modulus, exponent) = (modulus.to_vec(), exponent.to_vec());
            Some(PrivateKey::Rsa(Box::new(RsaNumbers { modulus, exponent, d, inverse, p, q })))
        }
        KeyParts::SkEd25519 { .. } | KeyParts::SkEcdsaP256 { .. } => None,
    }
}

/// The scalar, filled up to `width` bytes, and the point.
fn ecdsa(
    reader: &mut SshReader<'_>,
    curve: &[u8],
    point: &[u8],
    width: usize,
) -> Option<(Zeroizing<Vec<u8>>, Vec<u8>)> {
    reader.string().filter(|name| *name == curve)?;
    reader.string().filter(|p| *p == point)?;
    let number = reader.positive().filter(|number| number.len() <= width)?;
    let mut scalar = Zeroizing::new(vec![0; width]);
    scalar[width - number.len()..].copy_from_slice(number);
    Some((scalar, point.to_vec()))
}

fn unarmour(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (_, rest) = text.split_once(BEGIN)?;
    let (body, _) = rest.split_once(END)?;
    let base64: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
    Base64::decode_vec(&base64).ok().map(Zeroizing::new)
}

fn armour(bytes: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(Base64::encode_string(bytes));
    let mut text = Zeroizing::new(format!("{BEGIN}\n"));
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(70));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str(END);
    text.push('\n');
    text
}

/// What the armour of this format begins with.
pub(crate) const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";
const MAGIC: &[u8] = b"openssh-key-v1\0";
/// As ssh-keygen has it today.
const BCRYPT_ROUNDS: u32 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(passphrase: Option<&str>) -> (Zeroizing<String>, [u8; 32]) {
        let key = ed25519_of_seed(Zeroizing::new([9; 32]), "a comment").unwrap();
        let PrivateKey::Ed25519 { seed, public } = key.private else { panic!("it is one") };
        (write_ed25519(&seed, &public, &key.comment, passphrase).unwrap(), public)
    }

    #[test]
    fn what_is_written_is_read() {
        for passphrase in [None, Some("sesame")] {
            let (text, public) = written(passphrase);
            let sealed = SealedKey::parse(&text).unwrap();
            assert_eq!(sealed.is_encrypted(), passphrase.is_some());
            assert_eq!(sealed.public().blob(), ServerKey(public).blob());
            let open = sealed.open(passphrase.unwrap_or("")).unwrap();
            assert_eq!(open.comment, "a comment");
            assert!(matches!(open.private, PrivateKey::Ed25519 { seed, .. } if *seed == [9; 32]));
        }
    }

    #[test]
    fn wrong_passphrases_open_nothing() {
        let sealed = SealedKey::parse(&written(Some("sesame")).0).unwrap();
        for wrong in ["", "Sesame", "sesame "] {
            assert_eq!(sealed.open(wrong).err(), Some(PrivateKeyError::Passphrase));
        }
    }

    #[test]
    fn no_damage_goes_unseen() {
        let bytes = unarmour(&written(None).0).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let opened = SealedKey::parse(&armour(&damaged)).and_then(|sealed| sealed.open(""));
            // The seed itself is known to be damaged when it is used; the comment is only a comment.
            let harmless = |open: OpenKey| open.comment != "a comment" || open.private.sign(b"m").is_none();
            assert!(opened.is_err() || opened.is_ok_and(harmless), "byte {at}");
            assert!(SealedKey::parse(&armour(&bytes[..at])).and_then(|s| s.open("")).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let refused = |text: &str| SealedKey::parse(text).err();
        assert_eq!(refused(""), Some(PrivateKeyError::Malformed));
        assert_eq!(refused(&format!("{BEGIN}\n{END}")), Some(PrivateKeyError::Malformed));
        assert_eq!(refused(&format!("{BEGIN}\n%\n{END}")), Some(PrivateKeyError::Malformed));
        let mut bytes = MAGIC.to_vec();
        [&b"rot13"[..], b"bcrypt", b""].iter().for_each(|field| put_string(&mut bytes, field));
        bytes.extend_from_slice(&1u32.to_be_bytes());
        put_string(&mut bytes, &ServerKey([1; 32]).blob());
        put_string(&mut bytes, b"");
        assert_eq!(refused(&armour(&bytes)), Some(PrivateKeyError::Cipher("rot13 bcrypt".into())));
    }
}
