//! Throw-away PostgreSQL servers, by `scripts/postgres`: lent to one round each, so that a round may restart its own.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// How long a server may take to do as it is told, on a busy machine.
const OBEY_WITHIN: Duration = Duration::from_secs(90);

/// How a server is stopped before it is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// In order: sessions are ended, everything is written.
    Fast,
    /// Like a crash: it recovers from its log.
    Immediate,
}

/// A running server. It is removed when this is dropped, and [`Server::remove`] waits for it.
pub struct Server {
    script: Child,
    words: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Server {
    async fn start() -> anyhow::Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres");
        let mut script = Command::new(path)
            .arg("serve")
            .env_remove("DRYDOCK_TEST_POSTGRES")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("scripts/postgres")?;
        let words = script.stdin.take().context("its input")?;
        let answers = BufReader::new(script.stdout.take().context("its output")?).lines();
        let mut server = Self { script, words, answers, url: String::new() };
        server.url = server.answer().await?;
        Ok(server)
    }

    /// `postgres://superuser@host:port/database`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops it and starts it again at the same place.
    pub async fn restart(&mut self, stop: Stop, pause: Duration) -> anyhow::Result<()> {
        self.tell(match stop {
            Stop::Fast => "stop",
            Stop::Immediate => "crash",
        })
        .await?;
        tokio::time::sleep(pause).await;
        self.tell("start").await
    }

    async fn tell(&mut self, word: &str) -> anyhow::Result<()> {
        self.words.write_all(format!("{word}\n").as_bytes()).await?;
        let answer = self.answer().await?;
        ensure!(answer == "done", "scripts/postgres answered {answer} to {word}");
        Ok(())
    }

    async fn answer(&mut self) -> anyhow::Result<String> {
        let line =
            timeout(OBEY_WITHIN, self.answers.next_line()).await.context("scripts/postgres hangs")??;
        line.context("scripts/postgres ended")
    }

    /// Stops it for good and waits until it is gone.
    async fn remove(mut self) -> anyhow::Result<()> {
        drop(self.words);
        timeout(OBEY_WITHIN, self.script.wait()).await.context("scripts/postgres does not end")??;
        Ok(())
    }
}

/// The servers of a run that no round has just now. A round that fails does not give its server back.
#[derive(Default)]
pub struct Servers(Mutex<Vec<Server>>);

impl Servers {
    /// One that is free, or a new one.
    pub async fn lend(&self) -> anyhow::Result<Server> {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match free {
            Some(server) => Ok(server),
            None => Server::start().await,
        }
    }

    /// For the next round. It must run.
    pub fn give_back(&self, server: Server) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(server);
    }

    /// Removes them all.
    pub async fn remove(self) -> anyhow::Result<()> {
        for server in self.0.into_inner().unwrap_or_else(PoisonError::into_inner) {
            server.remove().await?;
        }
        Ok(())
    }
}
