//! `serve`: starts in order, says where, and stops when told to.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::program::{drydock, run, text};

/// A gateway in a process of its own, in front of a vendor that is not there.
struct Gateway {
    child: Child,
    log: BufReader<ChildStderr>,
    grpc: SocketAddr,
    admin: SocketAddr,
}

fn config(dir: &Path, grpc: &str) -> String {
    let file = dir.join("drydock.toml");
    let text_of = format!(
        "[grpc]\naddress = '{grpc}'\n[admin]\naddress = '127.0.0.1:0'\n[store]\nurl = 'sqlite://{}'\n\
         [providers.lab]\nvendor = 'avisi'\nendpoint = 'http://127.0.0.1:9'\norganisation = 'acme'",
        dir.join("drydock.db").display()
    );
    fs::write(&file, text_of).unwrap();
    text(&file).to_owned()
}

fn serve(config: &str) -> Command {
    let mut command = drydock(&["serve", "--config", config]);
    command.env("DRYDOCK__PROVIDERS__LAB__TOKEN", "acpat_canary").stderr(Stdio::piped());
    command
}

impl Gateway {
    fn start(dir: &Path) -> Self {
        let mut child = serve(&config(dir, "127.0.0.1:0")).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let ready = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it was ready");
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["message"] == "ready" {
                break line;
            }
        };
        let address = |key: &str| ready[key].as_str().unwrap().parse().unwrap();
        Self { child, log, grpc: address("grpc.address"), admin: address("admin.address") }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Waits for its end: the exit code and the rest of the log.
    fn end(&mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

/// A process must not outlive the test that started it.
impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

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
