//! vSphere: upgrades of Supervisors, by their clusters or (since vCenter 9.1) by themselves.
//!
//! Two services, two kinds of target. `software/clusters` starts many clusters by one call, gives no task, and is
//! followed by the cluster's state and version ([`judge`]). `software/supervisors/upgrades` starts each Supervisor by
//! a call of its own and gives a task that can be polled and cancelled. vCenter takes no idempotency key, so after a
//! lost answer the target (and its tasks) are compared with how they stood before ([`find`]).
//!
//! Which service a vCenter speaks is asked ([`service`]), and a caller may use either kind of name: the topology leads
//! from one to the other ([`aim`]).

mod aim;
mod auth;
mod cancelled;
mod check;
mod client;
mod compat;
mod config;
mod documented;
mod doubles;
mod fault;
mod find;
mod findings;
mod fresh;
mod judge;
mod map;
mod notes;
mod observe;
mod precheck;
#[cfg(any(test, fuzzing))]
pub(super) mod recorded;
mod roster;
mod service;
mod start;
mod stop;
mod targets;
mod together;
mod topology;
mod validate;
mod wire;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use self::aim::Aimed;
use self::client::Client;
use self::doubles::Doubles;
use self::map::NO_CANCEL;
use self::notes::Notes;
use self::observe::Rounds;
use self::precheck::Prechecks;
use self::roster::Roster;
use self::service::{Service, Services};
use self::topology::Topology;
use super::contract::{
    Asked, CancelAnswer, CheckReport, Found, Observation, Phase, Planned, Submission, Submitted, Vendor,
};
use super::error::{Reached, VendorError};
use super::http::HttpClient;
use super::settings::{Build, CommonSettings, ConfigFault, VendorEntry};
use crate::domain::capability::{CancelSupport, Capabilities, Capability};
use crate::domain::drift::Drift;
use crate::domain::error::{FieldViolation, VendorFault};
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::id::ProviderId;
use crate::domain::operation::OperationKind;
use crate::domain::page::{Page, PageRequest};
use crate::domain::target::{AvailableVersion, Image, Target, TargetInfo, TargetKind};
use crate::kit::clock::Clock;

const NAME: &str = "vsphere";
/// How many jobs one `observe` takes: the list that answers for them is the same for one and for thousands.
const OBSERVE_BATCH: usize = 1000;
/// How many jobs one `check` takes: prechecks take long, and what one round found is heard together.
const CHECK_BATCH: usize = 16;
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
            capabilities: capabilities(config.service, grace, limit),
            client: Client::new(endpoint, &config, http),
            rounds: Rounds::new(config.details, config.settle),
            prechecks: Prechecks { wait: config.precheck_wait },
            clusters: Roster::default(),
            supervisors: Roster::default(),
            services: Services::new(config.service),
            topology: Topology::default(),
            doubles: Doubles::default(),
            clock,
        })
    }))
}

const RETRY: &str = "A new upgrade, after new prechecks and compared with a new baseline. One that vCenter reports under \
                     way is never started over.";

/// A cluster that is upgraded by its Supervisor can be cancelled like one: only where all go by cluster, none can.
fn capabilities(
    service: Option<Service>,
    lost_answer_grace: Duration,
    lost_answer_limit: Duration,
) -> Capabilities {
    let cancel = match service {
        Some(Service::Clusters) => CancelSupport::Never(NO_CANCEL),
        Some(Service::Supervisors) | None => CancelSupport::Asked,
    };
    let cluster = Capability {
        target: TargetKind::Cluster,
        operations: OPERATIONS,
        schedules_natively: false,
        has_maintenance_windows: false,
        cancel,
        prechecks: true,
        progress: true,
        lists_versions: true,
        lists_images: false,
        batch_size: u32::try_from(start::CHUNK).unwrap_or(u32::MAX),
        lost_answer: "The cluster's state, desired and current version are compared with those before the start; \
                      only a cluster that is READY and unchanged allows a second one.",
        success_proof: "The cluster is READY and its current version is the one asked for; where vCenter upgrades it by \
                        its Supervisor, as there.",
        retry: RETRY,
    };
    let supervisor = Capability {
        target: TargetKind::Supervisor,
        batch_size: 1,
        lost_answer: "The Supervisor's state, versions and upgrade tasks are compared with those before the start; \
                      only a Supervisor that is READY and unchanged, without a new task, allows a second one.",
        success_proof: "The upgrade's task is SUCCEEDED and the Supervisor's current version is the one asked for.",
        ..cluster
    };
    Capabilities {
        targets: vec![cluster, supervisor],
        check_batch: CHECK_BATCH,
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
    services: Services,
    topology: Topology,
    doubles: Doubles,
    clock: Clock,
}

impl Vsphere {
    /// Checks, each job by the service that upgrades it. One answer each, in order.
    async fn check_once(&self, batch: &[Planned]) -> Vec<Result<CheckReport, VendorError>> {
        let mut aims = Vec::with_capacity(batch.len());
        // One after the other: the first asks, and what it learnt holds for the others.
        for planned in batch {
            aims.push(aim::decide(&self.client, &self.services, &self.topology, &planned.target).await);
        }
        let jobs: Vec<Option<(Cow<'_, Planned>, Option<&str>)>> = batch
            .iter()
            .zip(&aims)
            .map(|(planned, aimed)| {
                let aimed = aimed.as_ref().ok()?;
                Some((aim::turned(planned, aimed.aim.as_ref()), aimed.supervisor.as_deref()))
            })
            .collect();
        let kind = |job: &Option<(Cow<'_, Planned>, Option<&str>)>| {
            job.as_ref().map_or(TargetKind::Instance, |(planned, _)| planned.target.kind)
        };
        let (by_cluster, clusters) = of_kind(&jobs, kind, TargetKind::Cluster);
        let clusters: Vec<(&Planned, Option<&str>)> =
            clusters.into_iter().flatten().map(|(planned, supervisor)| (&**planned, *supervisor)).collect();
        let clusters = match clusters.as_slice() {
            [] => Vec::new(),
            jobs => check::clusters(&self.client, self.prechecks, jobs).await,
        };
        let (by_supervisor, supervisors) = of_kind(&jobs, kind, TargetKind::Supervisor);
        let supervisors: Vec<&Planned> =
            supervisors.into_iter().flatten().map(|(planned, _)| &**planned).collect();
        let supervisors = match supervisors.as_slice() {
            [] => Vec::new(),
            jobs => check::supervisors(&self.client, self.prechecks, jobs).await,
        };
        let parts = [(by_cluster, clusters), (by_supervisor, supervisors)];
        let answers = in_order(batch.len(), parts, || Err(no_instances()));
        answers
            .into_iter()
            .zip(aims)
            .map(|(answer, aimed)| {
                let Aimed { aim, supervisor, finding } = aimed?;
                let mut report = answer?;
                report.findings.extend(finding);
                if let Some(handle) = &report.handle {
                    report.handle = Some(Notes { aim, supervisor, ..Notes::read(Some(handle)) }.handle());
                }
                Ok(report)
            })
            .collect()
    }
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

/// The refusal of a start of what was started a moment ago under another name.
fn started_as(other: &str) -> Failure {
    let text =
        format!("an upgrade of the same Supervisor was started lately, as `{other}`; nothing was sent");
    Failure::new(FailureReason::VendorRejected, text)
}

const fn is_over(phase: &Phase) -> bool {
    match phase {
        Phase::Succeeded
        | Phase::Failed(_)
        | Phase::Cancelled
        | Phase::Rejected(_)
        | Phase::Lapsed(_)
        | Phase::Superseded
        | Phase::Missed => true,
        Phase::Scheduled | Phase::Running | Phase::Suspended | Phase::Cancelling | Phase::Unclear => false,
    }
}

fn flat<'a>(jobs: &[&&'a Planned]) -> Vec<&'a Planned> {
    jobs.iter().map(|job| **job).collect()
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

    fn credential_keys(&self) -> &'static [&'static str] {
        &["username", "password"]
    }

    fn validate(&self, asked: &Asked<'_>) -> Vec<FieldViolation> {
        validate::validate(asked)
    }

    async fn targets(&self, kind: TargetKind, page: &PageRequest) -> Result<Page<TargetInfo>, VendorError> {
        match kind {
            TargetKind::Cluster => {
                targets::clusters(&self.client, &self.topology, &self.provider, page).await
            }
            TargetKind::Supervisor => {
                targets::supervisors(&self.client, &self.topology, &self.provider, page).await
            }
            TargetKind::Instance => Ok(Page::last(Vec::new())),
        }
    }

    async fn versions(&self, target: &Target) -> Result<Vec<AvailableVersion>, VendorError> {
        let aim = aim::decide(&self.client, &self.services, &self.topology, target).await?;
        let target = aim.aim.as_ref().map_or((target.kind, &*target.id), |aim| (aim.kind, aim.id.as_str()));
        match target {
            (TargetKind::Cluster, id) => targets::cluster_versions(&self.client, id).await,
            (TargetKind::Supervisor, id) => targets::supervisor_versions(&self.client, id).await,
            (TargetKind::Instance, _) => Err(no_instances()),
        }
    }

    async fn images(&self, _page: &PageRequest) -> Result<Page<Image>, VendorError> {
        Err(unsupported("vSphere clusters and Supervisors have versions, not images"))
    }

    fn taken_over(&self, jobs: &[Planned]) {
        for planned in jobs {
            // Of two names for one Supervisor only one was ever let through; a failed claim is the same job again.
            let _ = self.doubles.claim(&aim::whole(planned), &planned.target);
        }
    }

    async fn check(&self, batch: &[Planned]) -> Vec<Result<CheckReport, VendorError>> {
        let answers = self.check_once(batch).await;
        let lacking =
            |answer: &Result<CheckReport, VendorError>| answer.as_ref().is_err_and(fault::lacks_call);
        // A call that was offered is gone: another vCenter answers now. A check starts nothing, so it is made anew.
        if answers.iter().any(lacking) && self.services.forget().await {
            return self.check_once(batch).await;
        }
        answers
    }

    async fn submit(&self, batch: &[Submission]) -> Vec<Submitted> {
        let named = batch;
        let batch: Vec<Result<Submission, String>> = named
            .iter()
            .map(|s| {
                let planned = aim::aimed(&s.planned).into_owned();
                self.doubles.claim(&aim::whole(&s.planned), &s.planned.target)?;
                Ok(Submission { planned, password: None })
            })
            .collect();
        let kind = |s: &Result<Submission, String>| {
            s.as_ref().map_or(TargetKind::Instance, |s| s.planned.target.kind)
        };
        let (places, clusters) = of_kind(&batch, kind, TargetKind::Cluster);
        let clusters: Vec<&Submission> = clusters.into_iter().flatten().collect();
        let clusters = match clusters.as_slice() {
            [] => Vec::new(),
            jobs => start::clusters(&self.client, jobs).await,
        };
        let (others, supervisors) = of_kind(&batch, kind, TargetKind::Supervisor);
        let supervisors: Vec<&Submission> = supervisors.into_iter().flatten().collect();
        let supervisors = match supervisors.as_slice() {
            [] => Vec::new(),
            jobs => start::supervisors(&self.client, jobs).await,
        };
        let mut answers = in_order(batch.len(), [(places, clusters), (others, supervisors)], || {
            Submitted::Failed(no_instances())
        });
        for ((answer, named), sent) in answers.iter_mut().zip(named).zip(&batch) {
            if let Err(other) = sent {
                *answer = Submitted::Refused(started_as(other), Vec::new());
                continue;
            }
            let begun = match answer {
                Submitted::Started(seen) => {
                    aim::name_both(&named.planned, seen);
                    true
                }
                Submitted::Refused(..) => false,
                Submitted::Failed(error) => error.reached != Reached::No,
            };
            if !begun {
                self.doubles.release(&aim::whole(&named.planned), &named.planned.target);
            }
        }
        answers
    }

    async fn find(&self, planned: &Planned) -> Result<Found, VendorError> {
        let rosters = (&self.clusters, &self.supervisors);
        let aimed = aim::aimed(planned);
        // Until it is known, it may run.
        self.doubles.hold(&aim::whole(planned), &planned.target);
        let mut found = find::find(&self.client, rosters, &self.rounds, &aimed, self.clock.now()).await?;
        if let Found::Arrived(seen) = &mut found {
            aim::name_both(planned, seen);
        }
        Ok(found)
    }

    async fn observe(&self, batch: &[Planned]) -> Vec<Result<Observation, VendorError>> {
        let named = batch;
        let aimed: Vec<_> = named.iter().map(aim::aimed).collect();
        let batch: Vec<&Planned> = aimed.iter().map(|planned| &**planned).collect();
        let batch = batch.as_slice();
        let kind = |p: &&Planned| p.target.kind;
        let (places, clusters) = of_kind(batch, kind, TargetKind::Cluster);
        let clusters = match clusters.as_slice() {
            [] => Vec::new(),
            jobs => observe::clusters(&self.client, &self.rounds, &flat(jobs), self.clock.now()).await,
        };
        let (others, supervisors) = of_kind(batch, kind, TargetKind::Supervisor);
        let supervisors = match supervisors.as_slice() {
            [] => Vec::new(),
            jobs => observe::supervisors(&self.client, &self.rounds, &flat(jobs), self.clock.now()).await,
        };
        let mut answers =
            in_order(batch.len(), [(places, clusters), (others, supervisors)], || Err(no_instances()));
        for (answer, named) in answers.iter_mut().zip(named) {
            if let Ok(seen) = answer {
                aim::name_both(named, seen);
                if is_over(&seen.phase) {
                    self.doubles.release(&aim::whole(named), &named.target);
                } else {
                    self.doubles.hold(&aim::whole(named), &named.target);
                }
            }
        }
        answers
    }

    async fn cancel(&self, planned: &Planned) -> Result<CancelAnswer, VendorError> {
        let planned = aim::aimed(planned);
        match planned.target.kind {
            TargetKind::Supervisor => stop::cancel(&self.client, &planned).await,
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
