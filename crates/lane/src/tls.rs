//! The TLS configurations of both ends: TLS 1.3 alone, X25519MLKEM768 first, no resumption (spec/wire.md, "Opening").
//!
//! Resumption is off because a resumed handshake shows no certificate, so it would not prove the pinned key again.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use crate::certificate::CertificateByAlpn;
use crate::pin::PinVerifier;
use crate::{BindError, Pin};

/// The protocol's name in TLS, on both transports.
pub const ALPN: &[u8] = b"sft/1";
/// The label under which both ends export the 32 bytes that bind proofs to this channel; the context is empty.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-sft/1";

/// What a server needs for its handshakes.
pub(crate) struct ServerTls {
    pub(crate) tcp: Arc<ServerConfig>,
    pub(crate) quic: Arc<QuicServerConfig>,
}

impl ServerTls {
    pub(crate) fn new(identity_pkcs8: &[u8], web_names: &[String]) -> Result<Self, BindError> {
        let certificates = Arc::new(CertificateByAlpn::new(identity_pkcs8, web_names)?);
        let tcp = server_config(&certificates, &[ALPN, b"h2", b"http/1.1"]);
        let quic = QuicServerConfig::try_from(server_config(&certificates, &[ALPN]))
            .expect("the provider has TLS13_AES_128_GCM_SHA256, which QUIC begins with");
        Ok(Self { tcp: Arc::new(tcp), quic: Arc::new(quic) })
    }
}

/// What a client needs for one attempt; its verifier tells afterwards why a server was refused.
pub(crate) fn client_config(pin: Pin) -> (ClientConfig, Arc<PinVerifier>) {
    let provider = provider();
    let verifier = PinVerifier::new(pin, provider.signature_verification_algorithms);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    (config, verifier)
}

/// The same for QUIC.
pub(crate) fn quic_client_config(pin: Pin) -> (QuicClientConfig, Arc<PinVerifier>) {
    let (config, verifier) = client_config(pin);
    let config = QuicClientConfig::try_from(config)
        .expect("the provider has TLS13_AES_128_GCM_SHA256, which QUIC begins with");
    (config, verifier)
}

fn server_config(certificates: &Arc<CertificateByAlpn>, alpn: &[&[u8]]) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites of TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(certificates) as _);
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::NamedGroup;

    #[test]
    fn the_post_quantum_exchange_is_asked_for_first() {
        assert_eq!(provider().kx_groups[0].name(), NamedGroup::X25519MLKEM768);
    }

    #[test]
    fn an_identity_that_is_none_is_refused_in_words() {
        let refused = ServerTls::new(b"not a key", &[]).err().unwrap().to_string();
        assert!(
            refused.starts_with("the server's identity cannot be used: it is no Ed25519 key"),
            "{refused}"
        );
    }
}
