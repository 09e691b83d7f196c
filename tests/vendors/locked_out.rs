//! A provider whose vendor does not let it in, seen through the engine: jobs wait, and a person learns what to mend.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use drydock::domain::cadence::Cadence;
use drydock::domain::error::{Error, VendorFault};
use drydock::domain::id::ProviderId;
use drydock::domain::job::{Job, WaitReason};
use drydock::domain::operation::{Operation, Upgrade};
use drydock::domain::page::PageRequest;
use drydock::domain::state::JobState;
use drydock::domain::target::Target;
use drydock::engine::calls::{OnBusy, StartEntry, StartRequest};
use drydock::engine::settings::EngineSettings;
use drydock::engine::{Engine, Provider};
use drydock::kit::clock::Clock;
use drydock::simulators::vsphere::{NEXT_VERSION, cluster_id};
use drydock::simulators::{Pace, Settings, Simulator, avisi, huawei, vsphere, zstack};
use drydock::store::settings::StoreSettings;
use drydock::store::sqlite::SqliteStore;
use drydock::vendors::http::HttpClient;
use drydock::vendors::settings::{COMMON_KEYS, CommonSettings};

/// An engine with one provider.
struct House {
    engine: Arc<Engine>,
    _directory: tempfile::TempDir,
}

async fn house(table: toml::Table) -> House {
    house_that_pauses(table, 50).await
}

async fn house_that_pauses(mut table: toml::Table, pause_max_ms: u64) -> House {
    let vendor = table.remove("vendor").unwrap();
    let entry = drydock::vendors::entry(vendor.as_str().unwrap()).unwrap();
    let mut common = toml::Table::new();
    for key in COMMON_KEYS {
        if let Some(value) = table.remove(*key) {
            common.insert((*key).to_owned(), value);
        }
    }
    let limits = "requests_per_second = 10000.0\nburst = 10000\nrequest_timeout_ms = 5000";
    common.entry("limits").or_insert_with(|| toml::Value::Table(limits.parse().unwrap()));
    let common: CommonSettings = toml::Value::Table(common).try_into().unwrap();
    let id = ProviderId::parse("p").unwrap();
    let http = HttpClient::build(entry.name, id.clone(), &common.limits, &common.tls).unwrap();
    let vendor = (entry.configure)(&common, table).unwrap_or_else(|faults| panic!("{faults:?}"))(
        id.clone(),
        http,
        Clock::system(),
    );
    let provider = Provider {
        id,
        endpoint: common.endpoint.to_string(),
        labels: BTreeMap::new(),
        cadence: Cadence { min: Duration::from_millis(10), max: Duration::from_millis(50) },
        warnings: common.tls.warnings(),
        vendor,
    };
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("drydock.db").display());
    let store = SqliteStore::open(&StoreSettings { url, ..StoreSettings::default() }).await.unwrap();
    let settings = EngineSettings { pause_first_ms: 20, pause_max_ms, ..EngineSettings::default() };
    let engine = Engine::start_up(store, vec![provider], settings, None, Clock::system()).await.unwrap();
    House { engine, _directory: directory }
}

fn entry(cluster: &str) -> StartEntry {
    let upgrade = Upgrade { version: Some(NEXT_VERSION.to_owned()), ..Upgrade::default() };
    StartEntry {
        target: Target::parse_name(&format!("providers/p/clusters/{cluster}")).unwrap(),
        operation: Operation::Upgrade(upgrade),
        password: None,
        field_prefix: String::new(),
    }
}

impl House {
    async fn upgrade(&self) -> Job {
        self.upgrades(1).await.remove(0)
    }

    async fn upgrades(&self, count: usize) -> Vec<Job> {
        let request = StartRequest {
            request: None,
            entries: (0..count).map(|n| entry(&cluster_id(n))).collect(),
            on_busy: OnBusy::Reject,
            labels: BTreeMap::new(),
            trace_parent: None,
        };
        self.engine.start(request).await.unwrap().into_iter().map(|started| started.unwrap().job).collect()
    }

    async fn until(&self, job: &Job, wanted: impl Fn(&Job) -> bool) -> Job {
        for _ in 0..1000 {
            let job = self.engine.job(job.id).await.unwrap();
            if wanted(&job) {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not come so far");
    }
}

fn settings() -> Settings {
    Settings { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), targets: 1, pace: Pace::new(10_000.0) }
}

#[tokio::test]
async fn wrong_credentials_name_the_keys_to_mend_at_every_vendor() {
    let simulators: Vec<Box<dyn Simulator>> = vec![
        Box::new(zstack::SimZstack::start(settings()).await.unwrap()),
        Box::new(vsphere::start(settings()).await.unwrap()),
        Box::new(avisi::start(settings()).await.unwrap()),
        Box::new(huawei::start(settings()).await.unwrap()),
    ];
    for simulator in simulators {
        let mut table = simulator.provider();
        let secrets = ["password", "access_key_secret", "token", "admin_token", "secret_key"];
        let spoilt: Vec<_> = secrets.into_iter().filter(|key| table.contains_key(*key)).collect();
        assert!(!spoilt.is_empty());
        for key in &spoilt {
            table.insert((*key).to_owned(), "acpat_wrongWrong1".into());
        }
        let house = house(table).await;
        let name = simulator.vendor();
        let page = house.engine.targets(None, None, &PageRequest::default()).await.unwrap();
        let key = format!("`providers.p.{}`", spoilt[0]);
        assert!(page.unreachable[0].1.contains(&key), "{name}: {}", page.unreachable[0].1);
        let health = house.engine.providers().remove(0).health;
        assert_eq!((health.reachable, health.credentials_refused), (Some(false), true), "{name}: {health:?}");
        assert!(health.last_error.unwrap().contains(&key), "{name}");
    }
}

#[tokio::test]
async fn a_wrong_password_makes_jobs_wait_for_a_person_and_fails_none() {
    let sim = vsphere::start(settings()).await.unwrap();
    let mut table = sim.provider();
    table.insert("password".to_owned(), "wrong".into());
    let house = house(table).await;
    let job = house.upgrade().await;
    let refused =
        |job: &Job| job.status.waiting_for.iter().any(|w| w.reason == WaitReason::VendorCredentialsRefused);
    let waiting = house.until(&job, refused).await;
    assert!(!waiting.status.state.is_ended());
    let said = &waiting.status.waiting_for[0].message;
    assert!(said.contains("`providers.p.username`, `providers.p.password`"), "{said}");
    // It stays so: nothing turns it into an outage or a failure.
    tokio::time::sleep(Duration::from_millis(300)).await;
    house.until(&job, refused).await;
}

#[tokio::test]
async fn fifty_jobs_and_all_their_callers_are_one_failed_login() {
    let sim = vsphere::start(Settings { targets: 50, ..settings() }).await.unwrap();
    let mut table = sim.provider();
    table.insert("password".to_owned(), "wrong".into());
    let before = sim.requests();
    let house = house(table).await;
    let jobs = house.upgrades(50).await;
    let refused =
        |job: &Job| job.status.waiting_for.iter().any(|w| w.reason == WaitReason::VendorCredentialsRefused);
    for job in &jobs {
        house.until(job, refused).await;
        house.engine.versions(&job.spec.target).await.unwrap_err();
    }
    // The engine's pause of 50 ms has ended some times meanwhile.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(sim.requests() - before, 1, "vCenter locks an account after five");
}

#[tokio::test]
async fn callers_do_not_ask_a_vendor_that_refused_the_credentials_a_moment_ago() {
    // No login here that an adapter could hold back: each request carries the token.
    let sim = avisi::start(settings()).await.unwrap();
    let mut table = sim.provider();
    for key in ["token", "admin_token"] {
        if table.contains_key(key) {
            table.insert(key.to_owned(), "acpat_wrongWrong1".into());
        }
    }
    let house = house_that_pauses(table, 600_000).await;
    let first = house.engine.targets(None, None, &PageRequest::default()).await.unwrap();
    assert_eq!(first.unreachable.len(), 1);
    let before = sim.requests();
    let until = house.engine.providers().remove(0).health.paused_until.unwrap();
    for _ in 0..20 {
        let again = house.engine.targets(None, None, &PageRequest::default()).await.unwrap();
        assert!(again.unreachable[0].1.contains("`providers.p."), "{}", again.unreachable[0].1);
        let checked = house.engine.check(vec![entry(&avisi::target_id(0))]).await.unwrap().remove(0);
        let Err(Error::Vendor { kind, .. }) = checked else { panic!("{checked:?}") };
        assert_eq!(kind, VendorFault::Unauthenticated);
    }
    assert_eq!(sim.requests(), before);
    // Nor do they lengthen the pause.
    assert_eq!(house.engine.providers().remove(0).health.paused_until, Some(until));
}

#[tokio::test]
async fn a_full_session_pool_shows_on_provider_and_job_and_passes() {
    let sim = vsphere::start(settings()).await.unwrap();
    sim.limit_sessions(0);
    let house = house(sim.provider()).await;
    let job = house.upgrade().await;
    let waits = |job: &Job| job.status.waiting_for.iter().any(|w| w.message.contains("no session left"));
    let waiting = house.until(&job, waits).await;
    assert_eq!(waiting.status.waiting_for[0].reason, WaitReason::VendorUnreachable);
    let health = house.engine.providers().remove(0).health;
    assert_eq!((health.reachable, health.credentials_refused), (Some(false), false));
    assert!(health.last_error.unwrap().contains("end unused sessions"));
    // It is left alone between tries.
    let before = sim.requests();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(sim.requests() - before <= 60, "{} logins", sim.requests() - before);
    sim.limit_sessions(1);
    let ended = house.until(&job, |job| job.status.state.is_ended()).await;
    assert_eq!(ended.status.state, JobState::Succeeded);
    house.engine.shutdown(Duration::from_secs(5)).await;
    assert!(sim.tokens().is_empty(), "logged out at shutdown");
}
