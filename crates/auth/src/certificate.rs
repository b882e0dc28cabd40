//! OpenSSH certificates for users: an authority's word that a key is somebody's, for a time (spec/auth.md, "Certificates").
//!
//! One that exists as a [`UserCertificate`] is well-formed, was signed by the authority it names, and demands nothing that
//! is not carried out here. Whether that authority has any say is for the owner's file to decide. Certificates for hosts are
//! refused, and so are those of keys on hardware, whose signatures over SSH are not looked at closely enough.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::authorized_keys::KeyProblem;
use crate::networks::Networks;
use crate::public_key::{PublicKeyError, PublicKeyId, shown};
use crate::ssh_wire::{SshReader, put_string};
use crate::sshsig::{SignatureError, verify_raw};

/// What a certificate for a user says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserCertificate {
    /// The key that it is about.
    pub(crate) key: PublicKeyId,
    /// The key that has signed it.
    pub(crate) authority: PublicKeyId,
    /// The authority's name for it, for logs.
    pub(crate) id: String,
    /// The accounts it is for.
    pub(crate) principals: Vec<String>,
    valid_after: u64,
    valid_before: u64,
    from: Option<Networks>,
}

/// Why a certificate lets nobody in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not the encoding of its kind.
    #[error("it is not a well-formed certificate")]
    Malformed,
    /// A key in it is none that is accepted.
    #[error("a key in it cannot be used")]
    Key(#[from] PublicKeyError),
    /// It is for a host.
    #[error("it is no certificate for a user")]
    NotForUsers,
    /// Its authority has not signed it.
    #[error("the signature of its authority does not hold")]
    Signature(#[source] SignatureError),
    /// It demands what is not carried out.
    #[error("it demands `{0}`, which sft does not carry out")]
    Option(String),
    /// Too early.
    #[error("it is not valid yet")]
    NotYet,
    /// Too late.
    #[error("it has expired")]
    Expired,
    /// The client comes from an address that is not allowed.
    #[error("it does not hold for a client at {0}")]
    From(IpAddr),
    /// It names none of the accounts it would have to.
    #[error("none of its principals is wanted: it has {0}")]
    Principals(String),
    /// No line of the owner's file names its authority.
    #[error("authorized_keys does not name its authority, {0}")]
    Authority(PublicKeyId),
    /// The line that does gives no access.
    #[error("authorized_keys names its authority and gives it no access")]
    Line(#[source] KeyProblem),
}

impl UserCertificate {
    /// Takes a certificate apart and checks its signature (OpenSSH `PROTOCOL.certkeys`).
    pub(crate) fn from_blob(blob: &[u8]) -> Result<Self, CertificateError> {
        if blob.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateError::Malformed);
        }
        let name = SshReader::new(blob).string().ok_or(CertificateError::Malformed)?;
        let (kind, fields) = kind_of(name).ok_or_else(|| PublicKeyError::Kind(shown(name)))?;
        let read = Fields::read(blob, kind, fields).ok_or(CertificateError::Malformed)?;
        let key = PublicKeyId::from_blob(&read.key)?;
        if read.purpose != FOR_USERS {
            return Err(CertificateError::NotForUsers);
        }
        let authority = PublicKeyId::from_blob(read.authority)?;
        verify_raw(&authority, read.signature, read.signed).map_err(CertificateError::Signature)?;
        Ok(Self {
            key,
            authority,
            id: shown(read.id),
            principals: strings(read.principals).ok_or(CertificateError::Malformed)?,
            valid_after: read.valid_after,
            valid_before: read.valid_before,
            from: demands(read.options)?,
        })
    }

    /// Whether it holds now, for a client at an address; until when, if not for ever.
    pub(crate) fn check(
        &self,
        from: IpAddr,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, CertificateError> {
        let secs = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if secs < self.valid_after {
            return Err(CertificateError::NotYet);
        }
        if secs >= self.valid_before {
            return Err(CertificateError::Expired);
        }
        if self.from.as_ref().is_some_and(|networks| !networks.have(from)) {
            return Err(CertificateError::From(from));
        }
        Ok(UNIX_EPOCH.checked_add(Duration::from_secs(self.valid_before)))
    }
}

struct Fields<'a> {
    /// The blob of the key alone.
    key: Vec<u8>,
    purpose: u32,
    id: &'a [u8],
    principals: &'a [u8],
    valid_after: u64,
    valid_before: u64,
    options: &'a [u8],
    authority: &'a [u8],
    /// All that stands before the signature.
    signed: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Fields<'a> {
    fn read(blob: &'a [u8], kind: &[u8], key_fields: usize) -> Option<Self> {
        let mut reader = SshReader::new(blob);
        let (_name, _nonce) = (reader.string()?, reader.string()?);
        let mut key = Vec::new();
        put_string(&mut key, kind);
        for _ in 0..key_fields {
            put_string(&mut key, reader.string()?);
        }
        let _serial = reader.u64()?;
        let (purpose, id, principals) = (reader.u32()?, reader.string()?, reader.string()?);
        let (valid_after, valid_before, options) = (reader.u64()?, reader.u64()?, reader.string()?);
        // Extensions allow what there is none of here, such as terminals.
        let (_extensions, _reserved, authority) = (reader.string()?, reader.string()?, reader.string()?);
        let signed = &blob[..blob.len() - reader.len()];
        let signature = reader.string()?;
        reader.is_empty().then_some(())?;
        Some(Self {
            key,
            purpose,
            id,
            principals,
            valid_after,
            valid_before,
            options,
            authority,
            signed,
            signature,
        })
    }
}

/// The kind of key in a certificate, and of how many strings it is made.
fn kind_of(name: &[u8]) -> Option<(&[u8], usize)> {
    let kind = name.strip_suffix(SUFFIX)?;
    match kind {
        b"ssh-ed25519" => Some((kind, 1)),
        b"ecdsa-sha2-nistp256" | b"ecdsa-sha2-nistp384" | b"ssh-rsa" => Some((kind, 2)),
        _ => None,
    }
}

fn strings(packed: &[u8]) -> Option<Vec<String>> {
    let mut reader = SshReader::new(packed);
    let mut strings = Vec::new();
    while !reader.is_empty() {
        strings.push(std::str::from_utf8(reader.string()?).ok()?.to_owned());
    }
    Some(strings)
}

/// The critical options: each is carried out, or the certificate is worth nothing.
fn demands(packed: &[u8]) -> Result<Option<Networks>, CertificateError> {
    let mut reader = SshReader::new(packed);
    let mut from = None;
    while !reader.is_empty() {
        let (Some(name), Some(value)) = (reader.string(), reader.string()) else {
            return Err(CertificateError::Malformed);
        };
        if name != b"source-address" {
            return Err(CertificateError::Option(shown(name)));
        }
        let mut value = SshReader::new(value);
        let networks = value.string().and_then(|text| std::str::from_utf8(text).ok());
        let networks = networks.and_then(|text| Networks::parse(text).ok()).filter(|_| value.is_empty());
        match networks {
            Some(networks) if from.is_none() => from = Some(networks),
            _ => return Err(CertificateError::Malformed),
        }
    }
    Ok(from)
}

const SUFFIX: &[u8] = b"-cert-v01@openssh.com";
const FOR_USERS: u32 = 1;
/// With a few hundred principals; what is longer is refused.
const CERTIFICATE_BYTES_MAX: usize = 16 << 10;
