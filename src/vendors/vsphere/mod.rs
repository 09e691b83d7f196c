//! vSphere: upgrades of Supervisors, by their clusters or (since vCenter 9.1) by themselves.
//!
//! Two services, two kinds of target. `software/clusters` starts many clusters by one call, gives no task, and is
//! followed by the cluster's state and version ([`judge`]). `software/supervisors/upgrades` starts each Supervisor by
//! a call of its own and gives a task that can be polled and cancelled. vCenter takes no idempotency key, so after a
//! lost answer the target (and its tasks) are compared with how they stood before ([`find`]).

mod auth;
mod check;
mod client;
mod config;
mod documented;
mod fault;
mod find;
mod findings;
mod judge;
mod map;
mod notes;
mod observe;
mod precheck;
mod roster;
mod start;
mod stop;
mod targets;
mod together;
mod validate;
mod wire;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;

use self::client::Client;
use self::observe::Rounds;
use self::precheck::Prechecks;
use self::roster::Roster;
use super::contract::{
    Asked, CancelAnswer, CheckReport, Found, Observation, Planned, Submission, Submitted, Vendor,
};
use super::error::{Reached, VendorError};
use super::http::HttpClient;
use super::settings::{Build, CommonSettings, ConfigFault, VendorEntry};
use crate::domain::capability::{CancelSupport, Capabilities, Capability};
use crate::domain::drift::Drift;
use crate::domain::error::{FieldViolation, VendorFault};
use crate::domain::id::ProviderId;
use crate::domain::operation::OperationKind;
use crate::domain::page::{Page, PageRequest};
use crate::domain::target::{AvailableVersion, Image, Target, TargetInfo, TargetKind};
use crate::kit::clock::Clock;

const NAME: &str = "vsphere";
const NO_CANCEL: &str =
    "vCenter has no call that cancels a cluster's upgrade; upgrades of `supervisors` can be cancelled";
/// How many jobs one `observe` takes: the list that answers for them is the same for one and for thousands.
const OBSERVE_BATCH: usize = 1000;
/// Drydock keeps the time of scheduled upgrades: vCenter has no schedule.
const OPERATIONS: &[OperationKind] = &[OperationKind::Upgrade, OperationKind::ScheduledUpgrade];

/// The vendor's line in the list.
pub const ENTRY: VendorEntry = VendorEntry { name: NAME, secret_keys: config::SECRET_KEYS, configure };

fn configure(common: &CommonSettings, own: toml::Table) -> Result<Build, Vec<ConfigFault>> {
    let config = config::read(own)?;
    let endpoint = common.endpoint.clone();
    let grace = Duration::from_millis(common.limits.lost_answer_grace_ms);
    let limit = Duration::from_millis(common.limits.lost_answer_limit_ms);
    Ok(Box::new(move |provider: ProviderId, http: HttpClient, clock: Clock| {
        Arc::new(Vsphere {
            provider,
            capabilities: capabilities(grace, limit),
            client: Client::new(endpoint, &config, http),
            rounds: Rounds { details: config.details, settle: config.settle, cursor: AtomicUsize::new(0) },
            prechecks: Prechecks { wait: config.precheck_wait },
            clusters: Roster::default(),
            supervisors: Roster::default(),
            clock,
        })
    }))
}

fn capabilities(lost_answer_grace: Duration, lost_answer_limit: Duration) -> Capabilities {
    let cluster = Capability {
        target: TargetKind::Cluster,
        operations: OPERATIONS,
        schedules_natively: false,
        has_maintenance_windows: false,
        cancel: CancelSupport::Never(NO_CANCEL),
        prechecks: true,
        progress: true,
        lists_versions: true,
        lists_images: false,
        batch_size: u32::try_from(start::CHUNK).unwrap_or(u32::MAX),
        lost_answer: "The cluster's state, desired and current version are compared with those before the start; \
                      only a cluster that is READY and unchanged allows a second one.",
        success_proof: "The cluster is READY and its current version is the one asked for.",
    };
    let supervisor = Capability {
        target: TargetKind::Supervisor,
        cancel: CancelSupport::Asked,
        batch_size: 1,
        lost_answer: "The Supervisor's state, versions and upgrade tasks are compared with those before the start; \
                      only a Supervisor that is READY and unchanged, without a new task, allows a second one.",
        success_proof: "The upgrade's task is SUCCEEDED and the Supervisor's current version is the one asked for.",
        ..cluster
    };
    Capabilities {
        targets: vec![cluster, supervisor],
        observe_batch: OBSERVE_BATCH,
        lost_answer_grace,
        lost_answer_limit,
    }
}

/// One account at one vCenter.
#[derive(Debug)]
struct Vsphere {
    provider: ProviderId,
    capabilities: Capabilities,
    client: Client,
    rounds: Rounds,
    prechecks: Prechecks,
    clusters: Roster,
    supervisors: Roster,
    clock: Clock,
}

/// The entries of a batch that act on one kind of target, with their places.
fn of_kind<T>(batch: &[T], kind: impl Fn(&T) -> TargetKind, wanted: TargetKind) -> (Vec<usize>, Vec<&T>) {
    batch.iter().enumerate().filter(|(_, entry)| kind(entry) == wanted).unzip()
}

/// Puts answers about two kinds of target back into the batch's order.
fn in_order<A>(size: usize, parts: [(Vec<usize>, Vec<A>); 2], unasked: impl Fn() -> A) -> Vec<A> {
    let mut answers: Vec<Option<A>> = (0..size).map(|_| None).collect();
    for (at, answer) in parts.into_iter().flat_map(|(places, answers)| places.into_iter().zip(answers)) {
        if let Some(slot) = answers.get_mut(at) {
            *slot = Some(answer);
        }
    }
    answers.into_iter().map(|answer| answer.unwrap_or_else(&unasked)).collect()
}

fn unsupported(what: &str) -> VendorError {
    VendorError::new(VendorFault::Rejected, Reached::No, what)
}

fn no_instances() -> VendorError {
    targets::no_such_kind(TargetKind::Instance)
}

#[async_trait]
impl Vendor for Vsphere {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn validate(&self, asked: &Asked<'_>) -> Vec<FieldViolation> {
        validate::validate(asked)
    }

    async fn targets(&self, kind: TargetKind, page: &PageRequest) -> Result<Page<TargetInfo>, VendorError> {
        match kind {
            TargetKind::Cluster => targets::clusters(&self.client, &self.provider, page).await,
            TargetKind::Supervisor => targets::supervisors(&self.client, &self.provider, page).await,
            TargetKind::Instance => Ok(Page::last(Vec::new())),
        }
    }

    async fn versions(&self, target: &Target) -> Result<Vec<AvailableVersion>, VendorError> {
        match target.kind {
            TargetKind::Cluster => targets::cluster_versions(&self.client, &target.id).await,
            TargetKind::Supervisor => targets::supervisor_versions(&self.client, &target.id).await,
            TargetKind::Instance => Err(no_instances()),
        }
    }

    async fn images(&self, _page: &PageRequest) -> Result<Page<Image>, VendorError> {
        Err(unsupported("vSphere clusters and Supervisors have versions, not images"))
    }

    async fn check(&self, batch: &[Planned]) -> Vec<Result<CheckReport, VendorError>> {
        let kind = |p: &Planned| p.target.kind;
        let (places, clusters) = of_kind(batch, kind, TargetKind::Cluster);
        let clusters = match clusters.as_slice() {
            [] => Vec::new(),
            jobs => check::clusters(&self.client, jobs).await,
        };
        let (others, supervisors) = of_kind(batch, kind, TargetKind::Supervisor);
        let supervisors = match supervisors.as_slice() {
            [] => Vec::new(),
            jobs => check::supervisors(&self.client, self.prechecks, jobs).await,
        };
        in_order(batch.len(), [(places, clusters), (others, supervisors)], || Err(no_instances()))
    }

    async fn submit(&self, batch: &[Submission]) -> Vec<Submitted> {
        let kind = |s: &Submission| s.planned.target.kind;
        let (places, clusters) = of_kind(batch, kind, TargetKind::Cluster);
        let clusters = match clusters.as_slice() {
            [] => Vec::new(),
            jobs => start::clusters(&self.client, jobs).await,
        };
        let (others, supervisors) = of_kind(batch, kind, TargetKind::Supervisor);
        let supervisors = match supervisors.as_slice() {
            [] => Vec::new(),
            jobs => start::supervisors(&self.client, jobs).await,
        };
        in_order(batch.len(), [(places, clusters), (others, supervisors)], || {
            Submitted::Failed(no_instances())
        })
    }

    async fn find(&self, planned: &Planned) -> Result<Found, VendorError> {
        let rosters = (&self.clusters, &self.supervisors);
        find::find(&self.client, rosters, &self.rounds, planned, self.clock.now()).await
    }

    async fn observe(&self, batch: &[Planned]) -> Vec<Result<Observation, VendorError>> {
        let kind = |p: &Planned| p.target.kind;
        let (places, clusters) = of_kind(batch, kind, TargetKind::Cluster);
        let clusters = match clusters.as_slice() {
            [] => Vec::new(),
            jobs => observe::clusters(&self.client, &self.rounds, jobs, self.clock.now()).await,
        };
        let (others, supervisors) = of_kind(batch, kind, TargetKind::Supervisor);
        let supervisors = match supervisors.as_slice() {
            [] => Vec::new(),
            jobs => observe::supervisors(&self.client, &self.rounds, jobs, self.clock.now()).await,
        };
        in_order(batch.len(), [(places, clusters), (others, supervisors)], || Err(no_instances()))
    }

    async fn cancel(&self, planned: &Planned) -> Result<CancelAnswer, VendorError> {
        match planned.target.kind {
            TargetKind::Supervisor => stop::cancel(&self.client, planned).await,
            TargetKind::Cluster | TargetKind::Instance => Ok(CancelAnswer::Refused(NO_CANCEL.to_owned())),
        }
    }

    async fn reschedule(&self, _planned: &Planned) -> Result<Observation, VendorError> {
        Err(unsupported("vCenter keeps no schedule; Drydock itself starts a scheduled upgrade at its time"))
    }

    async fn ping(&self) -> Result<Option<String>, VendorError> {
        self.client.session().await.map(|()| None)
    }

    fn drift(&self) -> Vec<Drift> {
        self.client.drift()
    }

    async fn close(&self) {
        self.client.close().await;
    }
}
