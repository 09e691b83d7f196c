//! A gateway in a process of its own, in front of a vendor that is not there.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::program::{drydock, text};

/// A gateway that serves.
pub struct Gateway {
    child: Child,
    log: BufReader<ChildStderr>,
    pub grpc: SocketAddr,
    pub admin: SocketAddr,
}

/// The store in this folder.
pub fn sqlite(dir: &Path) -> String {
    format!("sqlite://{}", dir.join("drydock.db").display())
}

/// Writes a configuration with a store in the same folder, for the door `grpc`.
pub fn config(dir: &Path, grpc: &str) -> String {
    config_on(dir, grpc, &format!("url = '{}'", sqlite(dir)))
}

/// A file with a secret in it that only its owner may read.
pub fn secret_file(dir: &Path, name: &str, secret: &str) -> PathBuf {
    let file = dir.join(name);
    fs::write(&file, format!("{secret}\n")).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    file
}

/// Writes a configuration with the store whose url stands in a file.
pub fn config_by_url_file(dir: &Path, url_file: &Path) -> String {
    let key = secret_file(dir, "password-key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    let store = format!("url_file = '{}'\n[secrets]\npassword_key_file = '{}'", text(url_file), text(&key));
    config_on(dir, "127.0.0.1:0", &store)
}

/// Writes a configuration with these lines for the store.
fn config_on(dir: &Path, grpc: &str, store: &str) -> String {
    let file = dir.join("drydock.toml");
    let text_of = format!(
        "[grpc]\naddress = '{grpc}'\n[admin]\naddress = '127.0.0.1:0'\n[store]\n{store}\n\
         [providers.lab]\nvendor = 'avisi'\nendpoint = 'http://127.0.0.1:9'\norganisation = 'acme'",
    );
    fs::write(&file, text_of).unwrap();
    text(&file).to_owned()
}

/// `serve`, not started yet.
pub fn serve(config: &str) -> Command {
    let mut command = drydock(&["serve", "--config", config]);
    command.env("DRYDOCK__PROVIDERS__LAB__TOKEN", "acpat_canary").stderr(Stdio::piped());
    command
}

impl Gateway {
    /// On a store in this folder.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(&config(dir, "127.0.0.1:0"))
    }

    /// By this configuration.
    pub fn start_with(config: &str) -> Self {
        let mut child = serve(config).spawn().unwrap();
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

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Waits for its end: the exit code and the rest of the log.
    pub fn end(&mut self) -> (Option<i32>, String) {
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

/// A page of the admin port, with its head.
pub fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
