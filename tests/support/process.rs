//! One gateway as a child process: started, stopped, frozen, killed. For the crash harness and the bench.

#![allow(dead_code, reason = "each of those who include it uses a part")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// Long enough for a busy machine, short enough that a hang is seen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// In the last words of a gateway whose store was away when it started.
const STORE_AWAY: [&str; 2] = ["the store could not be opened", "the engine could not start"];

/// What a process is told beside its configuration: where to crash, what to lose.
pub type Orders = Vec<(&'static str, String)>;

/// One replica: its files, its doors, and its process while it runs.
pub struct Gateway {
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    grpc: SocketAddr,
    admin: SocketAddr,
    environment: Vec<(&'static str, String)>,
    child: Option<Child>,
    /// It was started to fail.
    ordered: bool,
    /// It is frozen, until then.
    frozen: Option<Instant>,
    /// The program that runs it, with its arguments; empty when it runs by itself.
    under: Vec<OsString>,
}

impl Gateway {
    /// A replica that is configured and not started. Its doors are gRPC's and the admin pages'.
    pub fn new(
        program: &Path,
        config: PathBuf,
        log: PathBuf,
        doors: [SocketAddr; 2],
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        let (program, [grpc, admin]) = (program.to_owned(), doors);
        Self {
            program,
            config,
            log,
            grpc,
            admin,
            environment,
            child: None,
            ordered: false,
            frozen: None,
            under: Vec::new(),
        }
    }

    /// The same replica, run by another program, such as `valgrind`.
    pub fn under(self, program: Vec<OsString>) -> Self {
        Self { under: program, ..self }
    }

    /// The process while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Where it serves.
    pub const fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of what it has logged, for a message.
    pub fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().filter(|line| !line.contains("\"DEBUG\"")).collect();
        lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
    }

    /// Whether one that was started to fail has driven a provider since.
    pub fn drives(&self) -> bool {
        let log = self.log();
        log.rsplit("told to fail").next().is_some_and(|since| since.contains("driving the provider"))
    }

    /// How often it crashed where it was told to, in its whole life.
    pub fn crashes(&self) -> usize {
        self.log().matches("told to crash here").count()
    }

    /// Whether it was started to fail.
    pub const fn has_orders(&self) -> bool {
        self.ordered
    }

    /// Starts the process.
    pub fn spawn(&mut self, orders: Orders) -> anyhow::Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        self.ordered = !orders.is_empty();
        let mut words = self.under.iter().map(OsString::as_os_str).chain([self.program.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or(self.program.as_os_str()));
        let child = command
            .args(words)
            .args(["serve", "--config"])
            .arg(&self.config)
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .envs(self.environment.iter().cloned())
            .envs(orders)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Starts the process and waits until it serves or, by its orders, stands still. `false`: it died on the way, as
    /// it was ordered to. One that cannot start because its store is away is started again, as a supervisor would.
    pub async fn up(&mut self, orders: Orders) -> anyhow::Result<bool> {
        self.spawn(orders.clone())?;
        let begun = Instant::now();
        loop {
            if self.serves().await {
                return Ok(true);
            }
            if self.ordered && self.stands_still() {
                return Ok(true);
            }
            if !self.runs()? {
                if self.ordered {
                    return Ok(false);
                }
                let words = self.last_words();
                // A file is never away.
                let excused = !self.environment.is_empty()
                    && words
                        .lines()
                        .rev()
                        .take(4)
                        .any(|line| STORE_AWAY.iter().any(|sign| line.contains(sign)));
                ensure!(excused, "the gateway ended by itself:\n{words}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                self.spawn(orders.clone())?;
            }
            ensure!(begun.elapsed() < PATIENCE, "the gateway never served:\n{}", self.last_words());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether it serves. Its admin door opens last.
    pub async fn serves(&self) -> bool {
        tokio::net::TcpStream::connect(self.admin).await.is_ok()
    }

    /// Whether the process lives.
    pub fn runs(&mut self) -> anyhow::Result<bool> {
        let Some(child) = &mut self.child else { return Ok(false) };
        let lives = child.try_wait()?.is_none();
        if !lives {
            self.child = None;
        }
        Ok(lives)
    }

    /// Waits until the process has ended by itself.
    pub async fn died(&mut self) -> anyhow::Result<ExitStatus> {
        let child = self.child.as_mut().context("no process")?;
        let status = tokio::time::timeout(PATIENCE, child.wait()).await.context("the process lives on")??;
        self.child = None;
        Ok(status)
    }

    /// SIGSTOP, until then.
    pub async fn freeze(&mut self, until: Instant) -> anyhow::Result<bool> {
        let done = self.signal("STOP").await?;
        if done {
            self.frozen = Some(until);
        }
        Ok(done)
    }

    /// SIGCONT for one that was frozen for long enough.
    pub async fn thaw(&mut self) -> anyhow::Result<()> {
        if self.frozen.is_some_and(|until| until <= Instant::now()) {
            self.frozen = None;
            self.signal("CONT").await?;
        }
        Ok(())
    }

    /// Whether the process stands still by a SIGSTOP, whoever sent it.
    fn stands_still(&self) -> bool {
        let Some(id) = self.child.as_ref().and_then(Child::id) else { return false };
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// Notes that it stopped where it was ordered to; it goes on after this long. Says whether that is news.
    pub fn note_stop(&mut self, lasts: Duration) -> bool {
        let news = self.ordered && !self.is_frozen() && self.stands_still();
        if news {
            self.frozen = Some(Instant::now() + lasts);
        }
        news
    }

    /// Until when it is frozen.
    pub const fn frozen_until(&self) -> Option<Instant> {
        self.frozen
    }

    /// Whether it is frozen.
    pub const fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// SIGKILL: no goodbye, no flush.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.frozen = None;
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Sends a signal by its short name, such as `STOP`. `false`: there is no process.
    pub async fn signal(&self, name: &str) -> anyhow::Result<bool> {
        let Some(id) = self.child.as_ref().and_then(Child::id) else { return Ok(false) };
        let status = Command::new("kill").arg(format!("-{name}")).arg(id.to_string()).status().await?;
        Ok(status.success())
    }

    /// SIGTERM, and a clean end.
    pub async fn terminate(&mut self) -> anyhow::Result<()> {
        if !self.signal("TERM").await? {
            bail!("the gateway is not there to be stopped:\n{}", self.last_words());
        }
        let status = self.died().await?;
        ensure!(status.success(), "a stop in order ended with {status}:\n{}", self.last_words());
        Ok(())
    }
}

/// Ports that were given to gateways of this process: one that is down just now must find its port free again.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that nobody listens on and no other gateway has, outside the ranges that outgoing connections and
/// `scripts/postgres` take theirs from. `number` gives any number between two.
pub fn free_port(mut number: impl FnMut(u64, u64) -> u64) -> anyhow::Result<SocketAddr> {
    for _ in 0..1000 {
        let port = u16::try_from(number(15_000, 32_000))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let new = GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
        if new && TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port")
}
