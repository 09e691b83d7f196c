//! VMware vSphere: Supervisors upgraded through their cluster (7.0 to 9.x) or by themselves (9.1 and later).
//!
//! Two services with two ways. `software/clusters` starts many upgrades in one call and names no task: the
//! cluster's version tells the end (`state.rs`). `software/supervisors` starts one upgrade in one call and names a
//! task, which can be cancelled. After a lost answer the target's entry is compared with the baseline.

mod auth;
mod check;
mod client;
mod config;
mod errors;
#[cfg(test)]
mod errors_tests;
mod findings;
mod follow;
mod map;
#[cfg(test)]
mod map_tests;
mod notes;
mod roster;
mod start;
mod state;
mod validate;
mod wire;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;

use self::auth::Session;
use self::check::{entry_of, older};
use self::client::Client;
use self::config::{Config, Knobs};
use self::map::Scene;
use self::notes::Notes;
use self::state::{Moment, Trace};
use super::contract::{
    Asked, CancelAnswer, CheckReport, Found, Observation, Phase, Planned, Submission, Submitted, Vendor,
};
use super::error::{Reached, VendorError};
use super::settings::{Build, CommonSettings, ConfigFault, VendorEntry};
use crate::domain::capability::{CancelSupport, Capabilities, Capability};
use crate::domain::error::{FieldViolation, VendorFault};
use crate::domain::id::ProviderId;
use crate::domain::operation::{Operation, OperationKind};
use crate::domain::page::{Page, PageRequest};
use crate::domain::target::{AvailableVersion, Image, Target, TargetInfo, TargetKind};
use crate::kit::clock::{self, Clock};

/// vSphere's line in the list of vendors.
pub const ENTRY: VendorEntry = VendorEntry { name: NAME, secret_keys: config::SECRET_KEYS, configure };

const NAME: &str = "vsphere";
/// How many jobs one `observe` may be asked for.
const OBSERVE_BATCH: usize = 1000;
/// How many clusters one `upgradeMultiple` starts. vCenter documents no bound.
const CLUSTERS_PER_START: usize = 100;

fn configure(common: &CommonSettings, own: toml::Table) -> Result<Build, Vec<ConfigFault>> {
    let config = Config::read(common, own)?;
    let (endpoint, limits) = (common.endpoint.clone(), common.limits);
    Ok(Box::new(move |provider, http, clock| {
        let session = Session::new(&config.username, &config.password);
        let grace = Duration::from_millis(limits.lost_answer_grace_ms);
        let limit = Duration::from_millis(limits.lost_answer_limit_ms);
        Arc::new(Vsphere {
            provider,
            client: Client::new(http, endpoint, session),
            clock,
            knobs: config.knobs,
            turn: AtomicUsize::new(0),
            capabilities: capabilities(grace, limit),
        })
    }))
}

fn capabilities(lost_answer_grace: Duration, lost_answer_limit: Duration) -> Capabilities {
    let of = |target, cancel, batch_size, success_proof| Capability {
        target,
        operations: &[OperationKind::Upgrade, OperationKind::ScheduledUpgrade],
        schedules_natively: false,
        has_maintenance_windows: false,
        cancel,
        prechecks: true,
        progress: true,
        lists_versions: true,
        lists_images: false,
        batch_size,
        lost_answer: "the target's state and desired version, against those before the start, tell",
        success_proof,
    };
    let by_version = "vCenter reports READY and the wanted version as the current one";
    let by_task = "vCenter's task SUCCEEDED, and the wanted version is the current one";
    Capabilities {
        targets: vec![
            of(TargetKind::Cluster, CancelSupport::Never(map::NO_CANCEL), 100, by_version),
            of(TargetKind::Supervisor, CancelSupport::Asked, 1, by_task),
        ],
        observe_batch: OBSERVE_BATCH,
        lost_answer_grace,
        lost_answer_limit,
    }
}

/// The version that an operation wants. Validated to be there.
fn wanted(operation: &Operation) -> &str {
    operation.upgrade().and_then(|u| u.version.as_deref()).unwrap_or_default()
}

/// Whether the start says `ignore_precheck_warnings`: when the caller does, or when the caller accepted what the
/// vendor warned of (the engine never starts a job with a warning that is not accepted).
fn ignores_warnings(operation: &Operation, notes: &Notes) -> bool {
    operation.ignores_warnings() || (notes.warned && !operation.accepted_risks().is_empty())
}

/// One account at a vCenter.
#[derive(Debug)]
struct Vsphere {
    provider: ProviderId,
    client: Client,
    clock: Clock,
    knobs: Knobs,
    /// Whose turn it is to have its detail read.
    turn: AtomicUsize,
    capabilities: Capabilities,
}

/// For how long after a start was sent an untouched target shows that it did not begin. An upgrade takes longer than
/// this to fail and be reset by a person.
const UNTOUCHED_PROOF: Duration = Duration::from_secs(900);

/// At rest on its old version: soon after the start was sent, it has not begun; much later the proof has grown old.
fn untouched(planned: &Planned, now: jiff::Timestamp) -> Found {
    let until = planned.submit_time.map(|sent| clock::after(sent, UNTOUCHED_PROOF));
    if until.is_none_or(|until| now < until) {
        return Found::NotArrived { until };
    }
    Found::CannotTell(
        "the target rests on its old version, but the start was sent so long ago that it may have begun and failed"
            .to_owned(),
    )
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
        roster::targets(&self.client, &self.provider, kind, page).await
    }

    async fn versions(&self, target: &Target) -> Result<Vec<AvailableVersion>, VendorError> {
        roster::versions(&self.client, target).await
    }

    async fn images(&self, _page: &PageRequest) -> Result<Page<Image>, VendorError> {
        let text = "vSphere has no images: it reinstalls nothing";
        Err(VendorError::new(VendorFault::Rejected, Reached::No, text))
    }

    async fn check(&self, batch: &[Planned]) -> Vec<Result<CheckReport, VendorError>> {
        check::check(self, batch).await
    }

    async fn submit(&self, batch: &[Submission]) -> Vec<Submitted> {
        start::submit(self, batch).await
    }

    async fn find(&self, planned: &Planned) -> Result<Found, VendorError> {
        let (kind, wanted) = (planned.target.kind, wanted(&planned.operation));
        let notes = Notes::read(planned.handle.as_ref());
        let entries = self.client.summaries(kind).await.map_err(|error| older(kind, error))?;
        let entry = entry_of(&entries, kind, &planned.target.id);
        Ok(match state::trace(entry, wanted, &notes) {
            Trace::Arrived => {
                let moment = Moment {
                    now: self.clock.now(),
                    submitted: planned.submit_time,
                    settle: self.knobs.settle,
                };
                let mut seen = map::observe(
                    kind,
                    &Scene {
                        wanted,
                        ignores_warnings: ignores_warnings(&planned.operation, &notes),
                        notes: &notes,
                        moment,
                        entry,
                        task: None,
                        detail: None,
                    },
                );
                if seen.phase == Phase::Unclear {
                    seen.phase = Phase::Running;
                }
                Found::Arrived(Box::new(seen))
            }
            Trace::NotArrived => untouched(planned, self.clock.now()),
            Trace::CannotTell(why) => Found::CannotTell(why.to_owned()),
        })
    }

    async fn observe(&self, batch: &[Planned]) -> Vec<Result<Observation, VendorError>> {
        follow::observe(self, batch).await
    }

    async fn cancel(&self, planned: &Planned) -> Result<CancelAnswer, VendorError> {
        if planned.target.kind != TargetKind::Supervisor {
            return Ok(CancelAnswer::Refused(map::NO_CANCEL.to_owned()));
        }
        let notes = Notes::read(planned.handle.as_ref());
        let Some(task) = notes.task else {
            return Ok(CancelAnswer::Refused(map::NO_TASK.to_owned()));
        };
        match self.client.cancel(&task).await {
            Ok(()) => Ok(CancelAnswer::Accepted),
            Err(error) if errors::is(&error, "NOT_ALLOWED_IN_CURRENT_STATE") => Ok(CancelAnswer::AlreadyOver),
            Err(error) if errors::is(&error, "UNSUPPORTED") => Ok(CancelAnswer::Refused(error.message)),
            // Tasks are forgotten after they ended.
            Err(error) if errors::is(&error, "NOT_FOUND") => Ok(CancelAnswer::AlreadyOver),
            Err(error) => Err(error),
        }
    }

    async fn reschedule(&self, _planned: &Planned) -> Result<Observation, VendorError> {
        let text = "vSphere keeps no schedules: Drydock itself waits for the time";
        Err(VendorError::new(VendorFault::Rejected, Reached::No, text))
    }

    async fn ping(&self) -> Result<Option<String>, VendorError> {
        self.client.ping().await.map(|()| None)
    }

    async fn close(&self) {
        self.client.close().await;
    }
}
