//! A server on a real port, with a vendor that never answers: what the API itself does can be seen in peace.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use drydock::api::{GrpcSettings, Serving, serve};
use drydock::domain::cadence::Cadence;
use drydock::domain::capability::{CancelSupport, Capabilities, Capability};
use drydock::domain::error::{FieldViolation, VendorFault};
use drydock::domain::id::ProviderId;
use drydock::domain::job::Provenance;
use drydock::domain::operation::OperationKind;
use drydock::domain::page::{Page, PageRequest};
use drydock::domain::target::{AvailableVersion, Image, Target, TargetInfo, TargetKind};
use drydock::engine::{Engine, EngineSettings, Provider};
use drydock::kit::clock::Clock;
use drydock::kit::tasks::Tasks;
use drydock::store::Store;
use drydock::store::settings::StoreSettings;
use drydock::store::sqlite::SqliteStore;
use drydock::vendors::contract::{
    Asked, CancelAnswer, CheckReport, Found, Observation, Phase, Planned, Submission, Submitted, Vendor,
};
use drydock::vendors::error::{Reached, VendorError};
use tonic::transport::{Channel, Endpoint};

use crate::watch_checks::Commits;

/// The store's file.
const FILE: &str = "drydock.db";

/// A running server and what it stands on.
pub struct House {
    pub engine: Arc<Engine>,
    pub serving: Serving,
    pub tasks: Tasks,
    /// How many starts the vendor was sent.
    pub starts: Arc<AtomicU32>,
    directory: Option<tempfile::TempDir>,
}

impl House {
    /// On a free port of loopback, with bounds that tests reach quickly.
    pub async fn open() -> Self {
        Self::open_with(GrpcSettings { max_message_bytes: 64 << 10, ..GrpcSettings::default() }).await
    }

    /// With these settings, but on a free port.
    pub async fn open_with(settings: GrpcSettings) -> Self {
        Self::open_on(settings, EngineSettings::default()).await
    }

    /// With these settings of both, but on a free port.
    pub async fn open_on(settings: GrpcSettings, engine: EngineSettings) -> Self {
        Self::open_before(settings, engine, Silent::new()).await
    }

    /// Before a vendor that starts everything, and then shows this of it for ever.
    pub async fn showing(observation: Observation) -> Self {
        let vendor = Silent { shows: Some(observation), ..Silent::new() };
        Self::open_before(GrpcSettings::default(), EngineSettings::default(), vendor).await
    }

    /// On this store, before a vendor that starts everything, and then shows that it runs.
    pub async fn on(store: Arc<dyn Store>, engine: EngineSettings) -> Self {
        let shows = Some(Observation::new(Phase::Running, Provenance::Reported));
        Self::build(store, GrpcSettings::default(), engine, Silent { shows, ..Silent::new() }).await
    }

    async fn open_before(settings: GrpcSettings, engine: EngineSettings, vendor: Silent) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join(FILE).display());
        let store = SqliteStore::open(&StoreSettings { url, ..StoreSettings::default() }).await.unwrap();
        Self { directory: Some(directory), ..Self::build(store, settings, engine, vendor).await }
    }

    async fn build(
        store: Arc<dyn Store>,
        settings: GrpcSettings,
        engine: EngineSettings,
        vendor: Silent,
    ) -> Self {
        let starts = Arc::clone(&vendor.starts);
        let provider = Provider {
            id: ProviderId::parse("silent").unwrap(),
            endpoint: "https://silent.example".to_owned(),
            labels: [("site".to_owned(), "ams".to_owned())].into(),
            cadence: Cadence { min: Duration::from_secs(60), max: Duration::from_secs(60) },
            warnings: Vec::new(),
            vendor: Arc::new(vendor),
        };
        let engine = Engine::start_up(store, vec![provider], engine, None, Clock::system()).await.unwrap();
        let tasks = Tasks::new();
        let settings = GrpcSettings { address: "127.0.0.1:0".parse().unwrap(), ..settings };
        let serving = serve(Arc::clone(&engine), &settings, &tasks).await.unwrap();
        Self { engine, serving, tasks, starts, directory: None }
    }

    /// What was committed together in it. It must have a file of its own.
    pub async fn commits(&self) -> Commits {
        Commits::in_file(&self.directory.as_ref().unwrap().path().join(FILE)).await.unwrap()
    }

    /// A connection to it.
    pub async fn channel(&self) -> Channel {
        Endpoint::new(format!("http://{}", self.serving.address)).unwrap().connect().await.unwrap()
    }
}

/// A vendor that hangs in every call, unless it has something to show.
struct Silent {
    capabilities: Capabilities,
    shows: Option<Observation>,
    starts: Arc<AtomicU32>,
}

impl Silent {
    fn new() -> Self {
        let capability = Capability {
            target: TargetKind::Cluster,
            operations: &[OperationKind::Upgrade, OperationKind::ScheduledUpgrade],
            schedules_natively: false,
            has_maintenance_windows: false,
            cancel: CancelSupport::Never("it never answers"),
            prechecks: true,
            progress: false,
            lists_versions: false,
            lists_images: false,
            batch_size: 1,
            lost_answer: "it is not",
            success_proof: "there is none",
            retry: "a new one",
        };
        let capabilities = Capabilities {
            targets: vec![capability],
            check_batch: 256,
            observe_batch: 1,
            lost_answer_grace: Duration::from_secs(60),
            lost_answer_limit: Duration::from_secs(600),
        };
        Self { capabilities, shows: None, starts: Arc::default() }
    }
}

#[async_trait]
impl Vendor for Silent {
    fn name(&self) -> &'static str {
        "silent"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn validate(&self, asked: &Asked<'_>) -> Vec<FieldViolation> {
        let version = asked.operation.upgrade().and_then(|u| u.version.as_deref());
        if version == Some("bad") { vec![FieldViolation::new("version", "is bad")] } else { Vec::new() }
    }

    async fn targets(&self, _: TargetKind, _: &PageRequest) -> Result<Page<TargetInfo>, VendorError> {
        Err(VendorError::new(VendorFault::Unreachable, Reached::No, "it never answers"))
    }

    async fn versions(&self, _: &Target) -> Result<Vec<AvailableVersion>, VendorError> {
        std::future::pending().await
    }

    async fn images(&self, _: &PageRequest) -> Result<Page<Image>, VendorError> {
        std::future::pending().await
    }

    async fn check(&self, batch: &[Planned]) -> Vec<Result<CheckReport, VendorError>> {
        if self.shows.is_none() {
            std::future::pending::<()>().await;
        }
        batch.iter().map(|_| Ok(CheckReport::default())).collect()
    }

    async fn submit(&self, batch: &[Submission]) -> Vec<Submitted> {
        self.starts.fetch_add(u32::try_from(batch.len()).unwrap(), Ordering::SeqCst);
        let Some(shows) = &self.shows else { return std::future::pending().await };
        batch.iter().map(|_| Submitted::Started(Box::new(shows.clone()))).collect()
    }

    async fn find(&self, _: &Planned) -> Result<Found, VendorError> {
        std::future::pending().await
    }

    async fn observe(&self, batch: &[Planned]) -> Vec<Result<Observation, VendorError>> {
        let Some(shows) = &self.shows else { return std::future::pending().await };
        batch.iter().map(|_| Ok(shows.clone())).collect()
    }

    async fn cancel(&self, _: &Planned) -> Result<CancelAnswer, VendorError> {
        std::future::pending().await
    }

    async fn reschedule(&self, _: &Planned) -> Result<Observation, VendorError> {
        std::future::pending().await
    }

    async fn ping(&self) -> Result<Option<String>, VendorError> {
        std::future::pending().await
    }

    async fn close(&self) {}
}
