//! One round's world: a folder, vendors behind proxies, and gateways that are configured on them.
//!
//! What the harness itself must write down in clear stands under `secrets/`; everything else in the folder was
//! written by gateways, and must not hold a secret.

use std::path::Path;
use std::time::Duration;

use futures_util::future::try_join_all;
use toml::{Table, Value};

use super::backend::Storage;
use super::canaries::Canaries;
use super::dice::Dice;
use super::fleet::Fleet;
use super::harm::{Harm, Harms, Place, Strike};
use super::process::{Gateway, Orders, free_port};
use crate::watch_checks::Commits;

/// How long a gateway waits for a vendor's answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_millis(1500);

/// What a round's gateways are like.
pub struct Plan<'a> {
    /// The program to run as a gateway.
    pub program: &'a Path,
    /// How many gateways.
    pub replicas: usize,
    /// Whether waiting passwords are sealed on disk, or kept in memory only. A store that is shared needs it.
    pub sealing: bool,
    /// How long a lease lasts where the store is shared.
    pub lease: Duration,
}

/// The world of one round.
pub struct House {
    /// Everything that gateways write is below.
    pub folder: tempfile::TempDir,
    /// The vendors.
    pub fleet: Fleet,
    /// Where jobs are kept.
    pub storage: Storage,
    /// What was done to all of them.
    pub harms: Harms,
    /// The replicas.
    pub gateways: Vec<Gateway>,
    /// The password of every reinstall.
    pub password: String,
    /// What must be nowhere.
    pub canaries: Canaries,
}

impl House {
    /// Writes the configuration; nothing runs but the vendors and the store.
    pub fn build(
        plan: &Plan<'_>,
        storage: Storage,
        fleet: Fleet,
        harms: Harms,
        dice: &mut Dice,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        for name in ["secrets", "store", "logs", "config"] {
            std::fs::create_dir(path(name))?;
        }
        let password = format!("Canary={:08x}.Re", dice.within(0, u64::from(u32::MAX)));
        let mut canaries = vec![("the password of a reinstall".to_owned(), password.clone())];
        for (provider, key, secret) in fleet.providers(0).1 {
            std::fs::write(path("secrets").join(format!("{provider}.{key}")), &secret)?;
            canaries.push((format!("{key} of {provider}"), secret));
        }
        let mut common = Table::from_iter([("store".to_owned(), storage.section(&path("store")).into())]);
        common.insert(
            "telemetry".to_owned(),
            toml::toml! { log_format = "json"
            log_filter = "debug,h2=info,hyper_util=info" }
            .into(),
        );
        canaries.extend(storage.secrets());
        if plan.sealing || storage.is_shared() {
            let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
            std::fs::write(path("secrets").join("password.key"), key)?;
            let file = path("secrets").join("password.key").display().to_string();
            common.insert(
                "secrets".to_owned(),
                Table::from_iter([("password_key_file".to_owned(), file.into())]).into(),
            );
            canaries.push(("the key of passwords".to_owned(), key.to_owned()));
        }
        let mut gateways = Vec::new();
        for n in 0..plan.replicas {
            let mut port = || free_port(|least, most| dice.within(least, most));
            let (grpc, admin) = (port()?, port()?);
            let mut own = common.clone();
            own.insert("providers".to_owned(), providers(&fleet, n, &path("secrets")).into());
            for (section, address) in [("grpc", grpc), ("admin", admin)] {
                let table = Table::from_iter([("address".to_owned(), address.to_string().into())]);
                own.insert(section.to_owned(), table.into());
            }
            let mut engine = engine();
            engine.insert("replica_name".to_owned(), name_of(n).into());
            if storage.is_shared() {
                engine.insert("lease_ms".to_owned(), i64::try_from(plan.lease.as_millis())?.into());
            }
            own.insert("engine".to_owned(), engine.into());
            let config = path("config").join(format!("{n}.toml"));
            std::fs::write(&config, own.to_string())?;
            let log = path("logs").join(format!("{n}.json"));
            gateways.push(Gateway::new(plan.program, config, log, [grpc, admin], storage.environment(n)));
        }
        Ok(Self { fleet, storage, harms, gateways, password, canaries: Canaries::new(canaries), folder })
    }

    /// Starts every gateway, without orders.
    pub async fn up(&mut self) -> anyhow::Result<()> {
        try_join_all(self.gateways.iter_mut().map(|gateway| gateway.up(Orders::new()))).await?;
        Ok(())
    }

    /// Everything that was done to them: what the proxies and the storm wrote down, what the vendors' faults struck, and
    /// what gateways did by order, which only their logs tell.
    pub fn strikes(&self) -> Vec<Strike> {
        self.fleet.note_strikes();
        let logs = self.gateways.iter().map(Gateway::log);
        logs.flat_map(|log| log.lines().filter_map(obeyed).collect::<Vec<_>>())
            .for_each(|strike| self.harms.note(strike));
        self.harms.strikes()
    }

    /// Which commit each event belongs to.
    pub async fn commits(&self) -> anyhow::Result<Commits> {
        self.storage.commits(&self.folder.path().join("store")).await
    }

    /// Everything that a gateway says only when Drydock itself is wrong.
    pub fn bugs(&self) -> Vec<String> {
        const SIGNS: [&str; 3] = ["this is a bug in Drydock", "a step was not possible", "panicked at"];
        let logs = self.gateways.iter().map(Gateway::log);
        let lines = |log: String| {
            let bad = log.lines().filter(|line| SIGNS.iter().any(|sign| line.contains(sign)));
            bad.map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        logs.flat_map(lines).collect()
    }

    /// Looks for secrets in everything that gateways wrote.
    pub async fn search(&self) -> anyhow::Result<Vec<String>> {
        for name in ["store", "logs", "config"] {
            self.canaries.look_below(&self.folder.path().join(name))?;
        }
        self.storage.search(&self.canaries).await?;
        Ok(self.canaries.found())
    }
}

/// What a gateway did by order, by a line of its log.
fn obeyed(line: &str) -> Option<Strike> {
    let harm = match line {
        _ if line.contains("told to crash here") => Harm::Crash,
        _ if line.contains("told to lose this answer") => Harm::LoseCommit,
        _ => return None,
    };
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let at = line.get("timestamp")?.as_str()?.parse().ok()?;
    Some(Strike { harm, place: Place::Gateway, from: at, until: at })
}

/// The providers as a replica is configured for them: each by its own door, with secrets in files.
fn providers(fleet: &Fleet, replica: usize, secrets: &Path) -> Table {
    let (mut providers, keys) = fleet.providers(replica);
    for (_, provider) in providers.iter_mut() {
        if let Value::Table(table) = provider {
            table.extend(pace());
        }
    }
    for (provider, key, _) in keys {
        if let Some(Value::Table(table)) = providers.get_mut(&provider) {
            let file = secrets.join(format!("{provider}.{key}"));
            table.insert(format!("{key}_file"), file.display().to_string().into());
        }
    }
    providers
}

/// What a replica is called.
pub fn name_of(replica: usize) -> String {
    format!("gateway-{replica}")
}

fn engine() -> Table {
    toml::toml! {
        heartbeat_ms = 200
        pause_first_ms = 50
        pause_max_ms = 300
        shutdown_deadline_ms = 5000
        round_limit_ms = 20000
    }
}

/// The vendors run a thousand times as fast as life, so everything that waits for them does.
fn pace() -> Table {
    let mut limits = toml::toml! {
        requests_per_second = 2000.0
        burst = 500
        max_concurrent_requests = 32
        connect_timeout_ms = 300
        lost_answer_grace_ms = 300
        lost_answer_limit_ms = 3000
    };
    let timeout = i64::try_from(REQUEST_TIMEOUT.as_millis()).unwrap_or(i64::MAX);
    limits.insert("request_timeout_ms".to_owned(), timeout.into());
    let poll = toml::toml! {
        min_ms = 50
        max_ms = 200
    };
    Table::from_iter([("limits".to_owned(), limits.into()), ("poll".to_owned(), poll.into())])
}
