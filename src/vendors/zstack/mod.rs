//! ZStack: `UpdateClusterOS` on clusters, followed as a long job.
//!
//! What shapes everything here: a start is answered 202 before anything is checked, runs as an *API job* until
//! the *long job* was started, and that one ends `Succeeded` whatever became of the hosts. ZStack locks nothing,
//! so the job's key is the `X-Job-UUID` that it takes only once.
//!
//! `rerunLongJob` is never sent. It resets a record under the same uuid with a new `apiId`, so a lost answer could not
//! be told from one that never came, and it very likely fails for jobs that `UpdateClusterOS` itself made (their
//! `jobData` holds joined text where the API has lists). Nothing is lost by it: a new update leaves alone what is up to
//! date, so a failed job is tried again by a new job under a new `X-Job-UUID`. `resumeLongJob` and `cleanLongJob` are
//! refused by ZStack for this job (LONG_JOB.1003).

mod aftermath;
mod auth;
mod check;
mod client;
mod config;
mod documented;
mod fault;
mod ids;
mod map;
mod notes;
mod observe;
mod outcome;
mod read;
#[cfg(any(test, fuzzing))]
pub(super) mod recorded;
mod session;
mod sign;
mod start;
mod targets;
mod validate;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt};
use toml::Table;

use self::client::Client;
use self::config::ZstackSettings;
use self::observe::Turns;
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

/// The vendor's line in the list.
pub const ENTRY: VendorEntry = VendorEntry { name: "zstack", secret_keys: config::SECRET_KEYS, configure };

/// How many jobs one `check` takes: a few lists answer for all of them.
const CHECK_BATCH: usize = 256;
/// How many jobs one `observe` takes.
const OBSERVE_BATCH: usize = 1000;
/// How many starts are under way at once.
const STARTS_AT_ONCE: usize = 4;

fn configure(common: &CommonSettings, own: Table) -> Result<Build, Vec<ConfigFault>> {
    let settings = ZstackSettings::read(common, own)?;
    let limits = common.limits;
    Ok(Box::new(move |provider: ProviderId, http: HttpClient, clock: Clock| -> Arc<dyn Vendor> {
        Arc::new(Zstack {
            provider,
            credential_keys: settings.credentials.keys(),
            client: Client::new(http, clock.clone(), settings),
            clock,
            turns: Turns::default(),
            capabilities: capabilities(
                Duration::from_millis(limits.lost_answer_grace_ms),
                Duration::from_millis(limits.lost_answer_limit_ms),
            ),
        })
    }))
}

fn capabilities(lost_answer_grace: Duration, lost_answer_limit: Duration) -> Capabilities {
    Capabilities {
        targets: vec![Capability {
            target: TargetKind::Cluster,
            operations: &[OperationKind::Upgrade, OperationKind::ScheduledUpgrade],
            schedules_natively: false,
            has_maintenance_windows: false,
            cancel: CancelSupport::Never(map::NO_CANCEL),
            prechecks: true,
            progress: true,
            lists_versions: false,
            lists_images: false,
            batch_size: 1,
            lost_answer: "ZStack is asked for the API job and the long job of the X-Job-UUID that Drydock chose; it \
                          takes each X-Job-UUID only once",
            success_proof: "the long job ended Succeeded and its result says success for every host",
            retry: "A new UpdateClusterOS under a new X-Job-UUID, which leaves alone what is up to date. ZStack's own \
                    rerunLongJob is never sent: it resets the record under the same uuid with a new apiId, so a lost \
                    answer could not be told from one that never came, and it very likely fails for jobs that \
                    UpdateClusterOS itself made.",
        }],
        check_batch: CHECK_BATCH,
        observe_batch: OBSERVE_BATCH,
        lost_answer_grace,
        lost_answer_limit,
    }
}

/// One account at a ZStack.
#[derive(Debug)]
struct Zstack {
    provider: ProviderId,
    credential_keys: &'static [&'static str],
    client: Client,
    clock: Clock,
    turns: Turns,
    capabilities: Capabilities,
}

#[async_trait]
impl Vendor for Zstack {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn credential_keys(&self) -> &'static [&'static str] {
        self.credential_keys
    }

    fn validate(&self, asked: &Asked<'_>) -> Vec<FieldViolation> {
        validate::validate(asked)
    }

    async fn targets(&self, kind: TargetKind, page: &PageRequest) -> Result<Page<TargetInfo>, VendorError> {
        targets::targets(&self.client, &self.provider, kind, page).await
    }

    async fn versions(&self, _: &Target) -> Result<Vec<AvailableVersion>, VendorError> {
        Err(unsupported(
            "ZStack lists no versions: `version` is its releaseVersion, the name of a repository on the management node",
        ))
    }

    async fn images(&self, _: &PageRequest) -> Result<Page<Image>, VendorError> {
        Err(unsupported(
            "ZStack clusters are upgraded from package repositories; there are no images to choose from",
        ))
    }

    async fn check(&self, batch: &[Planned]) -> Vec<Result<CheckReport, VendorError>> {
        check::check(&self.client, batch).await
    }

    async fn submit(&self, batch: &[Submission]) -> Vec<Submitted> {
        let starts: Vec<_> =
            batch.iter().map(|asked| start::submit(&self.client, &self.clock, &asked.planned)).collect();
        stream::iter(starts).buffered(STARTS_AT_ONCE).collect().await
    }

    async fn find(&self, planned: &Planned) -> Result<Found, VendorError> {
        start::find(&self.client, &self.clock, planned).await
    }

    async fn observe(&self, batch: &[Planned]) -> Vec<Result<Observation, VendorError>> {
        observe::observe(&self.client, &self.clock, &self.turns, batch).await
    }

    /// Never sent: old builds flip the job to `Canceling` before they refuse, and it stays so.
    async fn cancel(&self, _: &Planned) -> Result<CancelAnswer, VendorError> {
        Ok(CancelAnswer::Refused(map::NO_CANCEL.to_owned()))
    }

    async fn reschedule(&self, _: &Planned) -> Result<Observation, VendorError> {
        Err(unsupported("ZStack keeps no schedule; Drydock holds the job until its time"))
    }

    async fn ping(&self) -> Result<Option<String>, VendorError> {
        self.client.clusters_after(None, 1).await?;
        self.client.version().await
    }

    fn drift(&self) -> Vec<Drift> {
        self.client.drift()
    }

    async fn close(&self) {
        self.client.close().await;
    }
}

fn unsupported(text: &str) -> VendorError {
    VendorError::new(VendorFault::Rejected, Reached::No, text)
}
