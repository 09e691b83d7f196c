//! The real program as a child process, spoken to over a real port by a real client.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use drydock::api::pb;
use drydock::simulators::{Pace, Settings, Simulator};
use drydock::vendors;
use pb::job_service_client::JobServiceClient;
use pb::provider_service_client::ProviderServiceClient;
use pb::reinstall_service_client::ReinstallServiceClient;
use pb::schedule_service_client::ScheduleServiceClient;
use pb::upgrade_service_client::UpgradeServiceClient;
use tokio::process::{Child, Command};
use tonic::transport::Channel;

use crate::watch_checks::Commits;

/// Long enough for a busy machine, short enough that a hang is seen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A free port. Somebody else could take it before the child does; the child then says so and the test fails
/// loudly.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// How simulators run in these tests: an hour of a vendor's life is three seconds.
pub fn quick(targets: usize) -> Settings {
    Settings { address: SocketAddr::from(([127, 0, 0, 1], 0)), targets, pace: Pace::new(1200.0) }
}

/// A directory with a configuration, and the gateway that runs on it.
pub struct Gateway {
    pub dir: tempfile::TempDir,
    pub grpc: SocketAddr,
    pub admin: SocketAddr,
    child: Option<Child>,
    environment: Vec<(String, String)>,
    channel: Option<Channel>,
}

impl Gateway {
    /// Writes the configuration for these providers; nothing runs yet.
    pub fn configure(providers: &[(&str, &dyn Simulator)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (grpc, admin) = (loopback(free_port()), loopback(free_port()));
        let mut config = toml::toml! {
            [engine]
            heartbeat_ms = 500
            pause_first_ms = 100
            pause_max_ms = 500
            shutdown_deadline_ms = 5000
        };
        let table = |pairs: &[(&str, String)]| {
            toml::Value::Table(pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone().into())).collect())
        };
        config.insert("grpc".into(), table(&[("address", grpc.to_string())]));
        config.insert("admin".into(), table(&[("address", admin.to_string())]));
        config.insert(
            "store".into(),
            table(&[("url", format!("sqlite://{}", dir.path().join("jobs.db").display()))]),
        );
        config.insert(
            "telemetry".into(),
            table(&[("log_format", "json".to_owned()), ("log_filter", "debug".to_owned())]),
        );
        let mut all = toml::Table::new();
        for (id, simulator) in providers {
            all.insert((*id).to_owned(), provider(dir.path(), id, *simulator).into());
        }
        config.insert("providers".into(), all.into());
        std::fs::write(dir.path().join("drydock.toml"), config.to_string()).unwrap();
        Self { dir, grpc, admin, child: None, environment: Vec::new(), channel: None }
    }

    /// Adds a variable to the child's environment.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.into(), value.into()));
        self
    }

    /// Starts the program and waits until it serves.
    pub async fn up(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_drydock"));
        command
            .args(["serve", "--config"])
            .arg(self.dir.path().join("drydock.toml"))
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true);
        self.child = Some(command.spawn().unwrap());
        let address = format!("http://{}", self.grpc);
        let begun = tokio::time::Instant::now();
        loop {
            if let Ok(channel) = Channel::from_shared(address.clone()).unwrap().connect().await {
                self.channel = Some(channel);
                return;
            }
            if let Ok(Some(status)) = self.child.as_mut().unwrap().try_wait() {
                panic!("the gateway ended with {status}:\n{}", self.log());
            }
            assert!(begun.elapsed() < PATIENCE, "the gateway never served:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGKILL: no goodbye, no flush.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.unwrap();
        }
        self.channel = None;
    }

    /// SIGTERM, and the exit code.
    pub async fn terminate(&mut self) -> i32 {
        let mut child = self.child.take().unwrap();
        let id = child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        let status = tokio::time::timeout(PATIENCE, child.wait()).await.expect("an end").unwrap();
        self.channel = None;
        status.code().unwrap_or(-1)
    }

    /// What was committed together in it.
    pub async fn commits(&self) -> Commits {
        Commits::in_file(&self.dir.path().join("jobs.db")).await.unwrap()
    }

    /// How much memory the program holds, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let id = self.child.as_ref().and_then(Child::id).expect("the gateway is up");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log.json")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    pub fn channel(&self) -> Channel {
        self.channel.clone().expect("the gateway is up")
    }

    pub fn jobs(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.channel())
    }

    pub fn upgrades(&self) -> UpgradeServiceClient<Channel> {
        UpgradeServiceClient::new(self.channel())
    }

    pub fn schedules(&self) -> ScheduleServiceClient<Channel> {
        ScheduleServiceClient::new(self.channel())
    }

    pub fn reinstalls(&self) -> ReinstallServiceClient<Channel> {
        ReinstallServiceClient::new(self.channel())
    }

    pub fn providers(&self) -> ProviderServiceClient<Channel> {
        ProviderServiceClient::new(self.channel())
    }

    pub async fn job(&self, name: &str) -> pb::Job {
        let request = pb::GetJobRequest { name: name.to_owned() };
        self.jobs().get_job(request).await.unwrap().into_inner().job.unwrap()
    }

    /// Waits until a job is as wanted.
    pub async fn until(&self, name: &str, what: &str, wanted: impl Fn(&pb::JobStatus) -> bool) -> pb::Job {
        let begun = tokio::time::Instant::now();
        loop {
            let job = self.job(name).await;
            if wanted(job.status.as_ref().unwrap()) {
                return job;
            }
            assert!(begun.elapsed() < PATIENCE, "{what} never came: {:#?}", job.status);
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    pub async fn ended(&self, name: &str) -> pb::Job {
        self.until(name, "an end", |s| is_ended(s.state())).await
    }
}

/// Whether a state is an end.
pub fn is_ended(state: pb::JobState) -> bool {
    matches!(
        state,
        pb::JobState::Succeeded
            | pb::JobState::Failed
            | pb::JobState::Cancelled
            | pb::JobState::Rejected
            | pb::JobState::Superseded
            | pb::JobState::Missed
    )
}

/// A provider's table for a configuration file: secrets go to files of their own, as for a user.
fn provider(dir: &Path, id: &str, simulator: &dyn Simulator) -> toml::Table {
    let mut table = simulator.provider();
    let entry = vendors::entry(simulator.vendor()).unwrap();
    for key in entry.secret_keys {
        if let Some(secret) = table.remove(*key) {
            let file = dir.join(format!("{id}.{key}"));
            std::fs::write(&file, secret.as_str().unwrap()).unwrap();
            table.insert(format!("{key}_file"), file.display().to_string().into());
        }
    }
    table.insert(
        "limits".into(),
        toml::toml! {
            requests_per_second = 2000.0
            burst = 500
            max_concurrent_requests = 32
            connect_timeout_ms = 300
            request_timeout_ms = 3000
            lost_answer_grace_ms = 300
            lost_answer_limit_ms = 3000
        }
        .into(),
    );
    table.insert(
        "poll".into(),
        toml::toml! { min_ms = 50
        max_ms = 200 }
        .into(),
    );
    table
}
