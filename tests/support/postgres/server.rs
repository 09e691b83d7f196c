//! A server of a test's own, to be stopped and started again.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running server. It is removed when this is dropped.
pub struct Server {
    child: Child,
    words: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub url: String,
}

impl Server {
    pub fn start() -> Self {
        Self::serve(None)
    }

    /// One that speaks TLS with the `server.crt` and `server.key` of a folder.
    pub fn with_certificate(folder: &Path) -> Self {
        Self::serve(Some(folder))
    }

    fn serve(certificate: Option<&Path>) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres");
        let mut child = Command::new(script)
            .arg("serve")
            .args(certificate)
            .env_remove("DRYDOCK_TEST_POSTGRES")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let words = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut server = Self { child, words, answers, url: String::new() };
        server.url = server.answer();
        server
    }

    /// `stop` or `start`; answers when it is done.
    pub fn tell(&mut self, word: &str) {
        writeln!(self.words.as_mut().unwrap(), "{word}").unwrap();
        assert_eq!(self.answer(), "done");
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "scripts/postgres ended");
        line.trim_end().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.words.take());
        drop(self.child.wait());
    }
}
