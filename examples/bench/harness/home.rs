//! Which programs the bench starts, and yardsticks while they run.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use drydock::kit::tasks::Tasks;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::yardstick;

/// Which programs are started.
#[derive(Clone, Debug)]
pub struct Home {
    /// `{program} serve --config FILE` is the gateway.
    pub program: PathBuf,
    /// `{program} yardstick` is the yardstick; `None` lets it run in this process, where its processor time and memory
    /// mean nothing.
    pub yardstick: Option<PathBuf>,
    /// What runs both, such as `valgrind`; nothing when empty.
    pub under: Vec<OsString>,
}

/// A running yardstick. Ends when dropped.
pub struct Yardstick {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub id: u32,
    _child: Option<Child>,
    tasks: Tasks,
}

impl Home {
    /// Starts a yardstick.
    pub async fn yardstick(&self) -> anyhow::Result<Yardstick> {
        let tasks = Tasks::new();
        let Some(program) = &self.yardstick else {
            let (told, tell) = tokio::sync::oneshot::channel();
            let token = tasks.token().clone();
            tasks.spawn("yardstick", async move {
                let serving = yardstick::serve(|address| {
                    let _ = told.send(address);
                });
                let _ = token.run_until_cancelled(serving).await;
            });
            let address = tell.await?;
            return Ok(Yardstick { address, id: std::process::id(), _child: None, tasks });
        };
        let mut words = self.under.clone();
        words.push(program.into());
        let (first, rest) = words.split_first().context("no program")?;
        let mut child = Command::new(first)
            .args(rest)
            .arg("yardstick")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let line = lines.next_line().await?.context("the yardstick ended by itself")?;
        let id = child.id().context("the yardstick ended by itself")?;
        Ok(Yardstick { address: line.parse()?, id, _child: Some(child), tasks })
    }
}

impl Yardstick {
    /// Stops it.
    pub async fn stop(self) {
        self.tasks.shutdown(Duration::from_secs(2)).await;
        if let Some(mut child) = self._child {
            // It may have ended by itself.
            let _ = child.kill().await;
        }
    }
}
