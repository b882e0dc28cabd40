//! The certificate that a TLS server shows to anybody: for whom, by whom, until when, and its fingerprint. It is shown as it is;
//! nobody is asked whether it can be trusted, and nothing is said over the connection.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, SignatureScheme};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What a certificate says. All of it is a stranger's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// For whom: the names in it, or who holds it if there are none.
    pub names: Vec<String>,
    /// By whom; none if it is signed with its own key, as far as it says.
    pub issuer: Option<String>,
    /// The day after which it is worth nothing, in UTC.
    pub until: String,
    /// Whether that day has passed.
    pub is_over: bool,
    /// SHA-256 of all of it, in hexadecimal digits.
    pub sha256: String,
}

/// Shakes hands by TLS 1.3 as a browser would, and hangs up. None if there is no TLS, or an older one.
pub(crate) async fn shown(host: &str, address: SocketAddr, at_most: Duration) -> Option<Certificate> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let taker = Arc::new(Taker { provider: Arc::clone(&provider), taken: Mutex::new(None) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&taker) as _)
        .with_no_client_auth();
    // A name that no certificate can have is not asked for.
    let name = ServerName::try_from(host.to_owned()).unwrap_or_else(|_| address.ip().into());
    let greeting = async {
        let stream = TcpStream::connect(address).await.ok()?;
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        stream.shutdown().await.ok()
    };
    // What was shown counts, even where the server wants more before it is content.
    let _ = timeout(at_most, greeting).await;
    let taken = taker.taken.lock().expect("nothing panics while it is locked").take()?;
    read(&taken, Timestamp::now())
}

/// Accepts any certificate and keeps it; that the server has its key is verified.
#[derive(Debug)]
struct Taker {
    provider: Arc<CryptoProvider>,
    taken: Mutex<Option<Vec<u8>>>,
}

impl ServerCertVerifier for Taker {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
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
        let valid =
            verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)?;
        *self.taken.lock().expect("nothing panics while it is locked") = Some(cert.to_vec());
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What stands in a certificate; none if it cannot be read.
fn read(der: &[u8], now: Timestamp) -> Option<Certificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let end = Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()?;
    let digest = digest::digest(&digest::SHA256, der);
    Some(Certificate {
        names: names(&certificate),
        issuer: (certificate.issuer() != certificate.subject()).then(|| certificate.issuer().to_string()),
        until: end.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string(),
        is_over: end < now,
        sha256: digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let named = alternative.iter().flat_map(|names| &names.value.general_names);
    let names: Vec<_> = named
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
        .collect();
    let subject = certificate.subject().to_string();
    if names.is_empty() && !subject.is_empty() { vec![subject] } else { names }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Until 4096-01-01, from this crate's own maker of certificates.
    fn made(names: &[&str]) -> Vec<u8> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        rcgen::generate_simple_self_signed(names).unwrap().cert.der().to_vec()
    }

    #[test]
    fn what_a_certificate_says() {
        let der = made(&["files.example.org", "example.org"]);
        let found = read(&der, Timestamp::now()).unwrap();
        assert_eq!(found.names, ["files.example.org", "example.org"]);
        assert_eq!((found.issuer, found.until.as_str(), found.is_over), (None, "4096-01-01", false));
        assert_eq!(found.sha256.len(), 64);
        assert!(read(&der, "5000-01-01T00:00:00Z".parse().unwrap()).unwrap().is_over);
        assert!(read(&made(&[]), Timestamp::now()).unwrap().names[0].starts_with("CN="));
    }

    #[test]
    fn garbage_is_no_certificate() {
        let der = made(&["files.example.org"]);
        for bytes in 0..der.len() {
            assert_eq!(read(&der[..bytes], Timestamp::UNIX_EPOCH), None, "the first {bytes} bytes");
        }
        for at in 0..der.len() {
            for with in [0x00, 0x7f, 0x80, 0xff] {
                let mut spoiled = der.clone();
                spoiled[at] = with;
                // Whatever comes of it, nothing panics.
                let _ = read(&spoiled, Timestamp::UNIX_EPOCH).map(|found| found.names);
            }
        }
    }
}
