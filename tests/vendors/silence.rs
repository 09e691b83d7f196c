//! A vendor that takes nothing more: what was sent is given up by the kernel too, not only by us.
#![cfg(target_os = "linux")]

use std::net::SocketAddr;
use std::time::Duration;

use drydock::domain::error::VendorFault;
use drydock::domain::id::ProviderId;
use drydock::vendors::error::Reached;
use drydock::vendors::http::{Call, HttpClient, Verb};
use drydock::vendors::settings::{Limits, Tls};
use tokio::net::TcpListener;

/// More than fits into the buffers of both ends.
const MUCH: usize = 64 << 20;

fn put(address: SocketAddr) -> Call {
    let url = format!("http://{address}/start").parse().unwrap();
    Call::new(Verb::Post, url, "/start").bytes("text/plain", vec![b'x'; MUCH])
}

#[tokio::test]
async fn what_nobody_acknowledges_is_given_up_by_the_kernel() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits { connect_timeout_ms: 300, request_timeout_ms: 60_000, ..Limits::default() };
    let client =
        HttpClient::build("scripted", ProviderId::parse("p").unwrap(), &limits, &Tls::default()).unwrap();
    let serve = async {
        let (silent, _) = listener.accept().await.unwrap();
        // Open, and never read.
        tokio::time::sleep(Duration::from_secs(600)).await;
        drop(silent);
    };
    let answer = tokio::select! {
        answer = tokio::time::timeout(Duration::from_secs(20), client.send(put(address))) => answer,
        () = serve => unreachable!(),
    };
    let error = answer.expect("long before the call's own deadline").unwrap_err();
    assert_eq!((error.kind, error.reached), (VendorFault::TimedOut, Reached::Maybe), "{error}");
    assert!(!error.message.contains("no complete answer"), "by our own deadline: {error}");
}
