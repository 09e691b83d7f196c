//! `serve`: starts in order, says where, and stops when told to.

use std::net::{TcpListener, TcpStream};

use crate::gateway::{Gateway, config, get, serve};
use crate::program::run;

#[test]
fn it_serves_until_it_is_told_to_stop_and_can_start_again() {
    let dir = tempfile::tempdir().unwrap();
    for signal in ["-TERM", "-INT"] {
        let mut gateway = Gateway::start(dir.path());
        assert!(get(gateway.admin, "/livez").starts_with("HTTP/1.1 200"));
        assert!(get(gateway.admin, "/readyz").ends_with("ready\n"));
        let metrics = get(gateway.admin, "/metrics");
        assert!(metrics.contains("service_name=\"drydock\""), "{metrics}");
        TcpStream::connect(gateway.grpc).unwrap();
        gateway.signal(signal);
        let (code, log) = gateway.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains(r#""message":"stopped""#), "{log}");
        assert!(!log.contains("canary"), "{log}");
    }
}

#[test]
fn a_second_gateway_on_the_same_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(dir.path());
    let said = run(&mut serve(&config(dir.path(), "127.0.0.1:0")));
    assert_eq!(said.code, 1);
    assert!(said.err.contains("in use by another process"), "{}", said.err);
    drop(gateway);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = run(&mut serve(&config(dir.path(), &address)));
    assert_eq!(said.code, 1);
    assert!(said.err.contains(&format!("cannot listen on {address}: ")), "{}", said.err);
}

#[test]
fn a_bad_configuration_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let said = run(&mut serve(&config(dir.path(), "0.0.0.0:0")));
    assert_eq!(said.code, 64);
    assert!(said.err.contains("grpc.address: ") && said.err.contains("danger_plaintext"), "{}", said.err);
    assert!(!dir.path().join("drydock.db").exists());
}
