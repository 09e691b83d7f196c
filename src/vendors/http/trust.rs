//! Which server certificates a provider's connections trust, beyond what the HTTP client does by itself.
//!
//! A pin is the fingerprint of the server's own certificate. Without a CA bundle it takes the place of the chain and of
//! the host name: whoever holds the key of exactly that certificate is the server. That the server holds the key is
//! proven by its signature over the handshake, which is checked like anybody's.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use super::client::BuildError;
use super::pin::Pin;

/// Trusts the certificates with these fingerprints.
#[derive(Debug)]
struct Pinned {
    pins: Vec<Pin>,
    /// The chain and the host name, where they must hold besides.
    chain: Option<Arc<WebPkiServerVerifier>>,
    crypto: Arc<CryptoProvider>,
}

/// The server showed a certificate that nobody pinned.
#[derive(Debug, thiserror::Error)]
#[error(
    "the server showed a certificate with the SHA-256 fingerprint {shown}; configured in `tls.pin_sha256`: {}. If the \
     server's certificate was changed on purpose, put its new fingerprint there",
    listed(.pins)
)]
struct NotPinned {
    shown: Pin,
    pins: Vec<Pin>,
}

/// The words for a certificate that nobody pinned, where `cause` says so: the TLS library prints it as a data structure,
/// and hides it in an I/O error.
pub(super) fn mismatch<'a>(
    cause: &'a (dyn std::error::Error + 'static),
) -> Option<impl fmt::Display + use<'a>> {
    let mut cause = cause;
    // One I/O error may hold another.
    while let Some(io) = cause.downcast_ref::<std::io::Error>() {
        cause = io.get_ref()?;
    }
    let tls = cause.downcast_ref::<rustls::Error>()?;
    match tls {
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) => {
            other.0.downcast_ref::<NotPinned>()
        }
        _ => None,
    }
}

fn listed(pins: &[Pin]) -> String {
    pins.iter().map(Pin::to_string).collect::<Vec<_>>().join(", ")
}

/// The CA certificates of a file.
pub(super) struct Authorities {
    path: String,
    certificates: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// Reads a PEM bundle.
    pub(super) fn read(path: &Path) -> Result<Self, BuildError> {
        let path_text = path.display().to_string();
        let fault = |source| BuildError::CaBundle { path: path_text.clone(), source };
        let pem = std::fs::read(path).map_err(|e| fault(e.into()))?;
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|e| fault(e.into()))?;
        if certificates.is_empty() {
            return Err(fault("the file holds no PEM certificate".into()));
        }
        Ok(Self { path: path_text, certificates })
    }

    fn fault(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BuildError {
        BuildError::CaBundle { path: self.path.clone(), source: source.into() }
    }

    /// For the HTTP client's own check, besides the system's.
    pub(super) fn trusted(&self) -> Result<Vec<reqwest::Certificate>, BuildError> {
        self.certificates
            .iter()
            .map(|der| reqwest::Certificate::from_der(der).map_err(|e| self.fault(e)))
            .collect()
    }

    /// For a check of our own, alone.
    pub(super) fn roots(&self) -> Result<RootCertStore, BuildError> {
        let mut roots = RootCertStore::empty();
        for der in &self.certificates {
            roots.add(der.clone()).map_err(|e| self.fault(e))?;
        }
        Ok(roots)
    }
}

/// A TLS configuration that trusts only certificates with these fingerprints; with `roots`, only those among them that
/// these CAs signed for the host that is called.
///
/// # Errors
/// The CAs cannot be used.
pub(super) fn pinned(
    pins: Vec<Pin>,
    roots: Option<RootCertStore>,
) -> Result<ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
    let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = roots
        .map(|roots| {
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&crypto)).build()
        })
        .transpose()?;
    let verifier = Arc::new(Pinned { pins, chain, crypto: Arc::clone(&crypto) });
    let mut config = ClientConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()?
        // "Dangerous" is how rustls calls every verifier that is not its own.
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = Pin::of(end_entity);
        if !self.pins.contains(&shown) {
            let fault = NotPinned { shown, pins: self.pins.clone() };
            return Err(rustls::CertificateError::Other(OtherError(Arc::new(fault))).into());
        }
        match &self.chain {
            Some(chain) => {
                chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.crypto.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.crypto.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto.signature_verification_algorithms.supported_schemes()
    }
}
