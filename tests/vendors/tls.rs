//! Which server certificates a provider trusts, over real TLS.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use drydock::domain::error::VendorFault;
use drydock::domain::id::ProviderId;
use drydock::vendors::error::{Reached, VendorError};
use drydock::vendors::http::{Call, HttpClient, Pin, Verb};
use drydock::vendors::settings::{Limits, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What a server shows.
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

impl Shown {
    fn leaf(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }
}

fn self_signed(host: &str) -> Shown {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![host.to_owned()]).unwrap().self_signed(&key).unwrap();
    Shown { chain: vec![leaf.der().clone()], key }
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn signed(by: &Authority, host: &str) -> Shown {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, by).unwrap();
    Shown { chain: vec![leaf.der().clone()], key }
}

/// Answers every connection with 200, once it is trusted.
async fn serve(shown: &Shown) -> SocketAddr {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(shown.key.serialize_der()));
    serve_with(shown.chain.clone(), key).await
}

#[expect(clippy::disallowed_methods, reason = "the test's own server ends with its runtime")]
async fn serve_with(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let signer = provider.key_provider.load_private_key(key).unwrap();
    // Not checked against each other: a thief has the certificate without its key.
    let certified = Arc::new(rustls::sign::CertifiedKey::new(chain, signer));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 2048];
            let _ = stream.read(&mut request).await;
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

async fn get(address: SocketAddr, host: &str, tls: &Tls) -> Result<(), VendorError> {
    let provider = ProviderId::parse("vc").unwrap();
    let http = HttpClient::build("vsphere", provider, &Limits::default(), tls).unwrap();
    let url = format!("https://{host}:{}/", address.port()).parse().unwrap();
    http.send(Call::new(Verb::Get, url, "/")).await.map(|reply| assert_eq!(reply.status.as_u16(), 200))
}

fn pinned(pins: &[String]) -> Tls {
    Tls { pin_sha256: pins.to_vec(), ..Tls::default() }
}

fn pin(der: &CertificateDer<'_>) -> String {
    Pin::of(der).to_string()
}

/// Writes a CA's certificate where a configuration can name it.
fn bundle(dir: &tempfile::TempDir, ca: &Authority) -> PathBuf {
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, ca.pem()).unwrap();
    path
}

fn refused(answer: Result<(), VendorError>) -> VendorError {
    let error = answer.unwrap_err();
    assert_eq!((error.kind, error.reached), (VendorFault::Unreachable, Reached::No), "{error}");
    error
}

#[tokio::test]
async fn a_pin_stands_in_for_chain_and_host_name() {
    // A vCenter that signed its own certificate, called by another name.
    let shown = self_signed("vcenter.example");
    let address = serve(&shown).await;
    refused(get(address, "localhost", &Tls::default()).await);
    let right = pin(shown.leaf());
    for text in [right.clone(), right.to_lowercase(), right.replace(':', "")] {
        get(address, "localhost", &pinned(&[text])).await.unwrap();
    }
    // The new certificate can be pinned before it is there.
    let other = pin(self_signed("vcenter.example").leaf());
    get(address, "localhost", &pinned(&[other, right])).await.unwrap();
}

#[tokio::test]
async fn another_certificate_is_refused_and_both_fingerprints_are_named() {
    let shown = self_signed("localhost");
    let address = serve(&shown).await;
    let other = pin(self_signed("localhost").leaf());
    let error = refused(get(address, "localhost", &pinned(std::slice::from_ref(&other))).await);
    let text = &error.message;
    assert!(
        text.contains(&format!(
            "the server showed a certificate with the SHA-256 fingerprint {}",
            pin(shown.leaf())
        )),
        "{text}"
    );
    assert!(text.contains(&format!("configured in `tls.pin_sha256`: {other}")), "{text}");
}

#[tokio::test]
async fn a_pinned_certificate_without_its_key_is_refused() {
    let shown = self_signed("localhost");
    let thief = PrivatePkcs8KeyDer::from(KeyPair::generate().unwrap().serialize_der());
    let address = serve_with(shown.chain.clone(), thief.into()).await;
    refused(get(address, "localhost", &pinned(&[pin(shown.leaf())])).await);
}

#[tokio::test]
async fn a_ca_bundle_is_trusted_for_the_host_that_it_signed() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority();
    let tls = Tls { ca_bundle_file: Some(bundle(&dir, &ca)), ..Tls::default() };
    get(serve(&signed(&ca, "localhost")).await, "localhost", &tls).await.unwrap();
    refused(get(serve(&signed(&ca, "vcenter.example")).await, "localhost", &tls).await);
    refused(get(serve(&signed(&authority(), "localhost")).await, "localhost", &tls).await);
}

#[tokio::test]
async fn with_a_ca_bundle_both_it_and_the_pin_must_hold() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority();
    let file = Some(bundle(&dir, &ca));
    let tls = |pin: String| Tls { ca_bundle_file: file.clone(), ..pinned(&[pin]) };
    let good = signed(&ca, "localhost");
    let address = serve(&good).await;
    get(address, "localhost", &tls(pin(good.leaf()))).await.unwrap();
    refused(get(address, "localhost", &tls(pin(self_signed("localhost").leaf()))).await);
    // Pinned, and not signed by the CA, or for another host.
    for shown in [self_signed("localhost"), signed(&authority(), "localhost"), signed(&ca, "vcenter.example")]
    {
        refused(get(serve(&shown).await, "localhost", &tls(pin(shown.leaf()))).await);
    }
    // The pin is the server's own certificate's; the CA's does not count.
    refused(get(address, "localhost", &tls(Pin::of(ca.der()).to_string())).await);
}

#[tokio::test]
async fn the_off_switch_trusts_anything_and_says_so() {
    let tls = Tls { danger_accept_any_certificate: true, ..Tls::default() };
    get(serve(&self_signed("vcenter.example")).await, "localhost", &tls).await.unwrap();
    assert!(tls.warnings()[0].contains("danger_accept_any_certificate"));
    assert_eq!(Tls::default().warnings(), [""; 0]);
}

#[tokio::test]
async fn a_pin_that_cannot_be_read_builds_no_client() {
    let provider = ProviderId::parse("vc").unwrap();
    let built = HttpClient::build("vsphere", provider, &Limits::default(), &pinned(&["AB:CD".to_owned()]));
    assert!(built.is_err());
}
