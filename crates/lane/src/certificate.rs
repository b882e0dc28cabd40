//! The server's certificates, and the one resolver that picks between them by ALPN, for QUIC and TCP alike.
//!
//! `sft/1` gets a self-signed certificate of the Ed25519 identity, which clients pin by its key. Everything else gets
//! a self-signed ECDSA P-256 certificate, because browsers take no Ed25519 (spec/wire.md, "Opening").

use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::crypto::aws_lc_rs::sign;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::{ALPN, BindError};

/// Both certificates of a server.
#[derive(Debug)]
pub(crate) struct CertificateByAlpn {
    identity: Arc<CertifiedKey>,
    web: Arc<CertifiedKey>,
}

impl CertificateByAlpn {
    /// Makes both certificates: one of the identity, one of a fresh P-256 key for the names that browsers will type.
    pub(crate) fn new(identity_pkcs8: &[u8], web_names: &[String]) -> Result<Self, BindError> {
        Ok(Self {
            identity: Arc::new(identity(identity_pkcs8).map_err(BindError::Identity)?),
            web: Arc::new(web(web_names).map_err(BindError::Identity)?),
        })
    }
}

impl ResolvesServerCert for CertificateByAlpn {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let native = hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == ALPN));
        Some(Arc::clone(if native { &self.identity } else { &self.web }))
    }
}

fn identity(pkcs8: &[u8]) -> Result<CertifiedKey, String> {
    let pkcs8 = PrivatePkcs8KeyDer::from(pkcs8);
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &rcgen::PKCS_ED25519)
        .map_err(|error| format!("it is no Ed25519 key in PKCS#8 ({error})"))?;
    let signing = sign::any_eddsa_type(&pkcs8).map_err(|error| error.to_string())?;
    let certificate = params("sft", Vec::new()).and_then(|params| params.self_signed(&pair));
    let certificate = certificate.map_err(|error| error.to_string())?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signing))
}

fn web(names: &[String]) -> Result<CertifiedKey, String> {
    let make = || {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let name = names.first().map_or("sft", String::as_str);
        let certificate = params(name, names.to_vec())?.self_signed(&pair)?;
        Ok::<_, rcgen::Error>((pair, certificate))
    };
    let (pair, certificate) = make().map_err(|error| error.to_string())?;
    let signing = sign::any_ecdsa_type(&PrivatePkcs8KeyDer::from(pair.serialized_der()).into())
        .map_err(|error| error.to_string())?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signing))
}

fn params(common_name: &str, names: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(params)
}
