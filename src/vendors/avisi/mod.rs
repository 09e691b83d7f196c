//! Avisi Cloud: managed Kubernetes clusters, upgraded now or at a time that the vendor keeps.
//!
//! A customer may ask for a scheduled upgrade and move it, but never read it back; so its way is concluded from
//! its cluster (`infer.rs`) and said to be. With an operator's `admin_token` the record itself is read
//! (`follow.rs`) and can be cancelled. After a lost answer see `lost.rs`.

mod auth;
mod client;
mod config;
mod documented;
mod follow;
mod infer;
#[cfg(test)]
mod infer_tests;
mod lost;
mod map;
#[cfg(test)]
mod map_tests;
mod notes;
mod precheck;
#[cfg(any(test, fuzzing))]
pub(super) mod recorded;
mod roster;
mod upkeep;
mod validate;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use jiff::Timestamp;

use self::client::Client;
use self::config::{Config, Knobs};
use self::infer::{Condition, Evidence, infer, wanted};
use self::lost::Trace;
use self::map::Word;
use self::notes::Notes;
use self::precheck::Scene;
use self::roster::Roster;
use self::wire::{ScheduleRequest, ScheduledUpgrade};
use super::contract::{
    Asked, CancelAnswer, CheckReport, Found, Observation, Phase, Planned, Submission, Submitted, Vendor,
};
use super::error::{Reached, VendorError};
use super::settings::{Build, CommonSettings, ConfigFault, VendorEntry};
use crate::domain::capability::{CancelSupport, Capabilities, Capability};
use crate::domain::drift::Drift;
use crate::domain::error::{FieldViolation, VendorFault};
use crate::domain::id::ProviderId;
use crate::domain::job::Provenance;
use crate::domain::operation::{Operation, OperationKind};
use crate::domain::page::{Page, PageRequest};
use crate::domain::target::{AvailableVersion, Image, Target, TargetInfo, TargetKind};
use crate::kit::clock::{self, Clock};

/// Avisi's line in the list of vendors.
pub const ENTRY: VendorEntry = VendorEntry { name: NAME, secret_keys: config::SECRET_KEYS, configure };

const NAME: &str = "avisi";
/// How many jobs one `check` takes: a few lists answer for all of them.
const CHECK_BATCH: usize = 256;
/// How many jobs one `observe` may be asked for. For a few and for thousands the cluster pages are read once, so a small
/// batch would read all of them again and again; operators' lists are filtered by a hundred clusters each.
const OBSERVE_BATCH: usize = 2_500;

fn configure(common: &CommonSettings, own: toml::Table) -> Result<Build, Vec<ConfigFault>> {
    let config = Config::read(common, own)?;
    let (endpoint, limits) = (common.endpoint.clone(), common.limits);
    Ok(Box::new(move |provider, http, clock| {
        let operator = config.admin_token.is_some();
        let client = Client::new(http, endpoint, config.organisation, config.token, config.admin_token);
        let grace = Duration::from_millis(limits.lost_answer_grace_ms);
        let limit = Duration::from_millis(limits.lost_answer_limit_ms);
        Arc::new(Avisi {
            provider,
            client,
            clock,
            knobs: config.knobs,
            imminent: config.imminent,
            capabilities: capabilities(operator, grace, limit),
        })
    }))
}

fn capabilities(operator: bool, lost_answer_grace: Duration, lost_answer_limit: Duration) -> Capabilities {
    let cancel = if operator { CancelSupport::Asked } else { CancelSupport::Never(map::NO_CANCEL) };
    let lost_answer = if operator {
        "the operator's list of the cluster's scheduled upgrades, or for a direct upgrade the cluster, tells"
    } else {
        "the cluster tells; a schedule whose start is ahead may be sent again, since the same call reschedules"
    };
    let success_proof = if operator {
        "Avisi reports SUCCEEDED; for a direct upgrade the cluster runs the wanted version"
    } else {
        "the cluster runs the wanted version (inferred: customers cannot read an upgrade back)"
    };
    Capabilities {
        targets: vec![Capability {
            target: TargetKind::Cluster,
            operations: &[OperationKind::Upgrade, OperationKind::ScheduledUpgrade],
            schedules_natively: true,
            has_maintenance_windows: true,
            cancel,
            prechecks: true,
            progress: false,
            lists_versions: true,
            lists_images: false,
            batch_size: 1,
            lost_answer,
            success_proof,
            retry: "A new schedule, or for a direct upgrade the version once more, after new prechecks.",
        }],
        check_batch: CHECK_BATCH,
        observe_batch: OBSERVE_BATCH,
        lost_answer_grace,
        lost_answer_limit,
    }
}

/// One organisation at Avisi.
#[derive(Debug)]
struct Avisi {
    provider: ProviderId,
    client: Client,
    clock: Clock,
    knobs: Knobs,
    imminent: Duration,
    capabilities: Capabilities,
}

#[async_trait]
impl Vendor for Avisi {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn credential_keys(&self) -> &'static [&'static str] {
        if self.client.is_operator() { &["token", "admin_token"] } else { &["token"] }
    }

    fn validate(&self, asked: &Asked<'_>) -> Vec<FieldViolation> {
        validate::validate(asked)
    }

    async fn targets(&self, kind: TargetKind, page: &PageRequest) -> Result<Page<TargetInfo>, VendorError> {
        match kind {
            TargetKind::Cluster => roster::targets(&self.client, &self.provider, page).await,
            TargetKind::Supervisor | TargetKind::Instance => Ok(Page::last(Vec::new())),
        }
    }

    async fn versions(&self, _target: &Target) -> Result<Vec<AvailableVersion>, VendorError> {
        upkeep::versions(&self.client).await
    }

    async fn images(&self, _page: &PageRequest) -> Result<Page<Image>, VendorError> {
        Err(VendorError::new(
            VendorFault::Rejected,
            Reached::No,
            "Avisi has no images: it reinstalls nothing",
        ))
    }

    async fn check(&self, batch: &[Planned]) -> Vec<Result<CheckReport, VendorError>> {
        let ids: Vec<&str> = batch.iter().map(|p| &*p.target.id).collect();
        // No slugs as hints: where a cluster is has to be found out anew before it is changed.
        let unplaced: Vec<_> = ids.iter().map(|id| (*id, None)).collect();
        let read = async {
            let roster = Roster::read(&self.client, &unplaced).await?;
            let open =
                if self.client.is_operator() { Some(self.client.open_upgrades(&ids).await?) } else { None };
            Ok::<_, VendorError>((roster, open))
        };
        let (roster, open) = match read.await {
            Ok(read) => read,
            Err(error) => return batch.iter().map(|_| Err(error.again())).collect(),
        };
        let versions = match self.client.versions().await {
            Ok(versions) => Some(versions.into_iter().filter_map(|v| v.version).collect::<Vec<_>>()),
            Err(error) => {
                // One rule less; the vendor still refuses a version that it does not have.
                tracing::warn!(provider.name = %self.provider, error = %error, "Avisi's versions cannot be listed");
                None
            }
        };
        let now = self.clock.now();
        let report = |planned: &Planned| {
            let notes = Notes::read(planned.handle.as_ref());
            let of_cluster = |all: &'_ [ScheduledUpgrade]| -> Vec<ScheduledUpgrade> {
                all.iter().filter(|u| is_of(u, &planned.target.id)).cloned().collect()
            };
            let open = open.as_deref().map(of_cluster);
            let open: Option<Vec<&ScheduledUpgrade>> = open.as_ref().map(|all| all.iter().collect());
            Ok(precheck::check(&Scene {
                operation: &planned.operation,
                cluster: roster.get(&planned.target.id),
                versions: versions.as_deref(),
                open: open.as_deref(),
                own: notes.identity(),
                is_repeat: planned.attempts > 0,
                is_ahead: lost::is_ahead(&planned.operation, now, self.imminent),
            }))
        };
        batch.iter().map(report).collect()
    }

    async fn submit(&self, batch: &[Submission]) -> Vec<Submitted> {
        join_all(batch.iter().map(|submission| self.start(&submission.planned))).await
    }

    async fn find(&self, planned: &Planned) -> Result<Found, VendorError> {
        let notes = Notes::read(planned.handle.as_ref());
        let scheduled = planned.operation.kind() == OperationKind::ScheduledUpgrade;
        if scheduled && self.client.is_operator() {
            let all = self.client.upgrades_of(&planned.target.id).await?;
            return Ok(match lost::by_list(all, wanted(&planned.operation), planned.submit_time) {
                Trace::Arrived(upgrade) => {
                    let mut seen = map::reported(&upgrade, &planned.operation, true);
                    seen.handle = notes.accepted(upgrade).handle();
                    Found::Arrived(Box::new(seen))
                }
                Trace::NotArrived { until } => Found::NotArrived { until },
                Trace::CannotTell(why) => Found::CannotTell(why),
            });
        }
        let roster = Roster::read(&self.client, &[(&*planned.target.id, notes.slugs.clone())]).await?;
        let cluster = roster.get(&planned.target.id);
        let now = self.clock.now();
        Ok(
            match lost::by_cluster(
                &planned.operation,
                &notes,
                cluster,
                planned.submit_time,
                now,
                self.imminent,
            ) {
                Trace::Arrived(()) => {
                    let mut seen = infer(&Evidence {
                        operation: &planned.operation,
                        notes: &notes,
                        cluster,
                        submit_time: planned.submit_time,
                        now,
                        knobs: self.knobs,
                    });
                    if seen.phase == Phase::Unclear {
                        seen.phase = Phase::Running;
                    }
                    Found::Arrived(Box::new(seen))
                }
                Trace::NotArrived { until } => Found::NotArrived { until },
                Trace::CannotTell(why) => Found::CannotTell(why),
            },
        )
    }

    async fn observe(&self, batch: &[Planned]) -> Vec<Result<Observation, VendorError>> {
        follow::observe(self, batch).await
    }

    async fn cancel(&self, planned: &Planned) -> Result<CancelAnswer, VendorError> {
        if planned.operation.kind() != OperationKind::ScheduledUpgrade {
            return Ok(CancelAnswer::Refused(map::NO_CANCEL_DIRECT.to_owned()));
        }
        if !self.client.is_operator() {
            return Ok(CancelAnswer::Refused(map::NO_CANCEL.to_owned()));
        }
        // Looked at first: a DELETE of a running upgrade might remove the record and leave the upgrade running.
        let Some(upgrade) = self.own_upgrade(planned).await? else {
            let known = Notes::read(planned.handle.as_ref()).identity().is_some();
            let unknown = "Avisi's list does not show which scheduled upgrade is this job's".to_owned();
            return Ok(if known { CancelAnswer::AlreadyOver } else { CancelAnswer::Refused(unknown) });
        };
        if let Some(answer) = past_cancelling(&upgrade) {
            return Ok(answer);
        }
        let identity = upgrade.identity.as_deref().unwrap_or_default();
        if !identity.bytes().any(|b| b.is_ascii_alphanumeric()) {
            return Ok(CancelAnswer::Refused(
                "Avisi did not tell the scheduled upgrade's identity".to_owned(),
            ));
        }
        Ok(match self.client.unschedule(identity, &planned.permit).await? {
            None => CancelAnswer::AlreadyOver,
            // It may have begun in between.
            Some(left) => match Word::of(&left) {
                Some(Word::InProgress | Word::Succeeded | Word::Failed | Word::Missed) => {
                    past_cancelling(&left).unwrap_or(CancelAnswer::Accepted)
                }
                Some(
                    Word::Requested
                    | Word::Scheduled
                    | Word::ScheduledNotified
                    | Word::Superseded
                    | Word::Cancelled,
                )
                | None => CancelAnswer::Accepted,
            },
        })
    }

    async fn reschedule(&self, planned: &Planned) -> Result<Observation, VendorError> {
        // The same call, once the upgrade began, might schedule a second one.
        let moved = self.refuse_if_begun(planned).await.map_err(|error| error.with_reached(Reached::No))?;
        let answer = match moved {
            Some(moved) => moved,
            None => self.schedule(planned).await?,
        };
        let notes = Notes::read(planned.handle.as_ref());
        Ok(map::accepted(answer, &planned.operation, &notes, self.client.is_operator()))
    }

    async fn ping(&self) -> Result<Option<String>, VendorError> {
        self.client.ping().await.map(|()| None)
    }

    /// Nothing to end: a personal access token is no session.
    fn drift(&self) -> Vec<Drift> {
        self.client.drift()
    }

    async fn close(&self) {}
}

impl Avisi {
    async fn start(&self, planned: &Planned) -> Submitted {
        let notes = Notes::read(planned.handle.as_ref());
        match &planned.operation {
            Operation::ScheduledUpgrade(_) => match self.schedule(planned).await {
                Ok(answer) => {
                    let operator = self.client.is_operator();
                    Submitted::Started(Box::new(map::accepted(answer, &planned.operation, &notes, operator)))
                }
                Err(error) => map::not_started(error),
            },
            Operation::Upgrade(_) => self.upgrade(planned, notes).await.unwrap_or_else(map::not_started),
            Operation::Reinstall(_) => map::not_started(VendorError::new(
                VendorFault::Rejected,
                Reached::No,
                "Avisi cannot reinstall an operating system",
            )),
        }
    }

    async fn schedule(&self, planned: &Planned) -> Result<ScheduledUpgrade, VendorError> {
        let (start, ignore) = match &planned.operation {
            Operation::ScheduledUpgrade(s) => (s.start_time, s.ignore_maintenance_windows),
            Operation::Upgrade(_) | Operation::Reinstall(_) => (None, None),
        };
        let body = ScheduleRequest {
            cluster_identity: &planned.target.id,
            version: wanted(&planned.operation),
            schedule_request_date: start.map(|at| at.to_string()),
            ignore_maintenance_schedule: ignore,
        };
        self.client.schedule(&body, &planned.permit).await
    }

    /// Upgrades directly. The cluster is looked up right before: a slug can have changed hands since the check,
    /// and the vendor's call knows no identity.
    async fn upgrade(&self, planned: &Planned, notes: Notes) -> Result<Submitted, VendorError> {
        let unsent = |error: VendorError| error.with_reached(Reached::No);
        let wanted_cluster = [(&*planned.target.id, notes.slugs.clone())];
        let roster = Roster::read(&self.client, &wanted_cluster).await.map_err(unsent)?;
        let absent = "the organisation has no cluster with this identity";
        let cluster = roster
            .get(&planned.target.id)
            .ok_or_else(|| VendorError::new(VendorFault::NotFound, Reached::No, absent))?;
        let slugs = notes::Slugs::of(cluster)
            .ok_or_else(|| unsent(VendorError::garbled("Avisi does not tell the cluster's slugs")))?;
        let answer = self.client.upgrade(&slugs, wanted(&planned.operation), &planned.permit).await?;
        // The answer shows the cluster as it was asked to be; only later looks tell how it is.
        let notes = Notes {
            baseline: notes.baseline.or_else(|| cluster.version.clone()),
            slugs: Some(slugs),
            ..Notes::default()
        };
        let mut seen = Observation::new(Phase::Running, Provenance::Inferred);
        seen.vendor_state = answer.status.clone();
        seen.ids.insert("clusterIdentity".to_owned(), planned.target.id.to_string());
        seen.answer = map::answer(None, Some(&answer));
        seen.cancelable = Some(crate::domain::job::Cancelable::no(map::NO_CANCEL_DIRECT));
        seen.handle = notes.handle();
        Ok(Submitted::Started(Box::new(seen)))
    }

    /// The job's scheduled upgrade as it is now. Operators only.
    async fn own_upgrade(&self, planned: &Planned) -> Result<Option<ScheduledUpgrade>, VendorError> {
        let notes = Notes::read(planned.handle.as_ref());
        if let Some(identity) = notes.identity() {
            let found = self.client.scheduled(identity).await?;
            return Ok(found.map(|u| ScheduledUpgrade { identity: Some(identity.to_owned()), ..u }));
        }
        let all = self.client.upgrades_of(&planned.target.id).await?;
        Ok(match lost::by_list(all, wanted(&planned.operation), planned.submit_time) {
            Trace::Arrived(upgrade) => Some(upgrade),
            Trace::NotArrived { .. } | Trace::CannotTell(_) => None,
        })
    }

    /// Fails unless the job's upgrade can still be moved: it must not begin before the call gets there. Answers with
    /// the upgrade when an earlier call, whose answer was lost, has moved it already.
    async fn refuse_if_begun(&self, planned: &Planned) -> Result<Option<ScheduledUpgrade>, VendorError> {
        let begun = |what: &str| {
            let text = format!("it cannot be moved any more: {what}");
            Err(VendorError::new(VendorFault::Rejected, Reached::No, text))
        };
        let now = self.clock.now();
        let is_near = |start: Timestamp| start <= clock::after(now, self.imminent);
        if self.client.is_operator() {
            return match self.own_upgrade(planned).await? {
                Some(upgrade) if lost::is_placed_as(&upgrade, &planned.operation) => Ok(Some(upgrade)),
                Some(upgrade) if follow::waits(&upgrade) && lost::earliest(&upgrade).is_some_and(is_near) => {
                    begun("its start is so near that it may begin first")
                }
                Some(upgrade) if follow::waits(&upgrade) => Ok(None),
                Some(upgrade) => begun(upgrade.status.as_deref().unwrap_or("its state is not told")),
                None => begun("Avisi has no such scheduled upgrade"),
            };
        }
        let notes = Notes::read(planned.handle.as_ref());
        let roster = Roster::read(&self.client, &[(&*planned.target.id, notes.slugs.clone())]).await?;
        let Some(cluster) = roster.get(&planned.target.id) else {
            return begun("the organisation has no cluster with this identity");
        };
        let version = cluster.version.as_deref();
        if Condition::of(cluster) == Condition::Busy {
            return begun(cluster.status.as_deref().unwrap_or("the cluster is busy"));
        }
        if version == Some(wanted(&planned.operation)) && version != notes.baseline.as_deref() {
            return begun("the cluster has the version");
        }
        // A cluster at rest may be one whose upgrade has failed or been superseded, and nobody can read that.
        match notes.schedule.as_ref().and_then(lost::earliest) {
            Some(start) if !is_near(start) => {}
            Some(_) => return begun("its start is past, or so near that it may begin first"),
            None => return begun("Avisi did not tell when it starts, and it may have begun"),
        }
        // The answer may be lost, and then the same call is made again: not on an upgrade that has begun by then.
        if !lost::is_ahead(&planned.operation, now, self.imminent) {
            return begun(&format!(
                "a customer's token cannot read whether a move arrived, so the new start must lie more than {} s ahead",
                self.imminent.as_secs()
            ));
        }
        Ok(None)
    }
}

/// Why an upgrade is past cancelling, if it is.
fn past_cancelling(upgrade: &ScheduledUpgrade) -> Option<CancelAnswer> {
    match Word::of(upgrade) {
        Some(Word::Requested | Word::Scheduled | Word::ScheduledNotified) => None,
        Some(Word::InProgress) => Some(CancelAnswer::Refused(
            "it runs, and Avisi documents no way to stop a running upgrade".to_owned(),
        )),
        Some(Word::Succeeded | Word::Failed | Word::Missed | Word::Superseded | Word::Cancelled) => {
            Some(CancelAnswer::AlreadyOver)
        }
        None => Some(CancelAnswer::Refused(format!(
            "its state, {}, is not one that Drydock knows; it may be running",
            upgrade.status.as_deref().unwrap_or("not told")
        ))),
    }
}

fn is_of(upgrade: &ScheduledUpgrade, cluster: &str) -> bool {
    upgrade.cluster_identity.as_deref().is_some_and(|id| id.eq_ignore_ascii_case(cluster))
}
