//! A start leaves only under a valid permit: asked at the last moment, when connect, TLS and the request budget are
//! over. Without it nothing was sent, and that is known.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use drydock::domain::error::VendorFault;
use drydock::domain::id::ProviderId;
use drydock::kit::clock::Clock;
use drydock::kit::permit::{Grant, Moment, Permit};
use drydock::vendors::error::{Reached, VendorError};
use drydock::vendors::http::{Call, HttpClient, Reply, Verb};
use drydock::vendors::settings::{Limits, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const START: &str = "wipe-this-machine";

/// A grant that holds for longer than any test runs.
fn grant() -> Grant {
    let clock = Clock::system();
    Grant::new(clock.clone(), Moment::now(&clock), Duration::from_secs(600))
}

/// A permit that is over.
pub fn ended() -> Permit {
    let clock = Clock::system();
    Grant::new(clock.clone(), Moment::now(&clock), Duration::ZERO).permit()
}

/// Asserts that a start was not sent, and that the error says so.
pub fn assert_unsent(error: &VendorError) {
    assert_eq!(error.reached, Reached::No, "{error}");
    assert!(error.message.contains("the lease ended"), "{error}");
}

/// A vendor that a test answers for by hand, and a client that trusts it.
async fn vendor() -> (TcpListener, SocketAddr, HttpClient) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = Tls { danger_accept_any_certificate: true, ..Tls::default() };
    let provider = ProviderId::parse("p").unwrap();
    let client = HttpClient::build("scripted", provider, &Limits::default(), &tls).unwrap();
    (listener, address, client)
}

fn acceptor() -> TlsAcceptor {
    let file = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/tls").join(name);
    let certificate = CertificateDer::from_pem_file(file("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("key.pem")).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

fn start(address: SocketAddr, permit: &Permit) -> Call {
    let url = format!("https://{address}/start").parse().unwrap();
    Call::new(Verb::Post, url, "/start").bytes("text/plain", START.into()).under(permit)
}

async fn send(client: &HttpClient, call: Call) -> Result<Reply, VendorError> {
    tokio::time::timeout(Duration::from_secs(20), client.send(call)).await.expect("an end of the call")
}

#[tokio::test]
async fn a_start_under_a_valid_permit_goes_out_whole() {
    let (listener, address, client) = vendor().await;
    let grant = grant();
    let serve = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut tls = acceptor().accept(tcp).await.unwrap();
        let mut got = Vec::new();
        while !got.ends_with(START.as_bytes()) {
            assert_ne!(tls.read_buf(&mut got).await.unwrap(), 0, "it ended early");
        }
        tls.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        String::from_utf8(got).unwrap().to_ascii_lowercase()
    };
    let (reply, request) = tokio::join!(send(&client, start(address, &grant.permit())), serve);
    assert_eq!(reply.unwrap().status.as_u16(), 204);
    // Not in chunks: not every vendor takes those.
    assert!(request.contains(&format!("content-length: {}\r\n", START.len())), "{request}");
}

#[tokio::test]
async fn a_permit_that_ends_while_the_connection_is_made_lets_nothing_out() {
    let (listener, address, client) = vendor().await;
    let grant = grant();
    let serve = async {
        let (tcp, _) = listener.accept().await.unwrap();
        // The process was stopped here, or the handshake took for ever.
        grant.end();
        let mut tls = acceptor().accept(tcp).await.unwrap();
        let mut got = Vec::new();
        // However the connection ends: what counts is what came.
        let _ = tls.read_to_end(&mut got).await;
        String::from_utf8_lossy(&got).into_owned()
    };
    let (answer, got) = tokio::join!(send(&client, start(address, &grant.permit())), serve);
    assert_unsent(&answer.unwrap_err());
    assert!(!got.contains(START), "{got}");
}

#[tokio::test]
async fn under_an_ended_permit_nobody_is_even_called() {
    let (listener, address, client) = vendor().await;
    assert_unsent(&send(&client, start(address, &ended())).await.unwrap_err());
    assert!(tokio::time::timeout(Duration::from_millis(50), listener.accept()).await.is_err());
}

#[tokio::test]
async fn a_start_that_hangs_before_its_body_left_is_known_not_to_have_arrived() {
    let (_listener, address, client) = vendor().await;
    let call = start(address, &grant().permit()).timeout(Duration::from_millis(100));
    let error = send(&client, call).await.unwrap_err();
    assert_eq!((error.kind, error.reached), (VendorFault::TimedOut, Reached::No), "{error}");
}

#[tokio::test]
async fn a_start_whose_body_left_and_was_not_answered_may_have_arrived() {
    let (listener, address, client) = vendor().await;
    let grant = grant();
    let serve = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut tls = acceptor().accept(tcp).await.unwrap();
        let mut got = Vec::new();
        while !got.ends_with(START.as_bytes()) {
            assert_ne!(tls.read_buf(&mut got).await.unwrap(), 0, "it ended early");
        }
        // The lease ends while the answer is out: what left has left.
        grant.end();
    };
    let (answer, ()) = tokio::join!(send(&client, start(address, &grant.permit())), serve);
    let error = answer.unwrap_err();
    assert_eq!(error.reached, Reached::Maybe, "{error}");
}
