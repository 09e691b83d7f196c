//! Huawei Cloud CloudDC: reinstalls of bare-metal instances.
//!
//! One call starts up to fifty reinstalls and gives no job id, so everything afterwards is told from the instance
//! itself, compared with how it stood before ([`notes`], [`map`]). The vendor cannot cancel a reinstall and says
//! nothing about how far one is.

mod auth;
mod bystanders;
mod check;
mod client;
mod config;
mod documented;
mod fault;
mod look;
mod map;
#[cfg(test)]
mod map_tests;
mod notes;
mod read;
#[cfg(any(test, fuzzing))]
pub(super) mod recorded;
mod sign;
mod submit;
mod targets;
mod validate;
mod wire;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;

use self::bystanders::{Bystanders, Standing};
use self::client::{Client, IDS_PER_LIST, MIN_LIMIT};
use self::look::{Sight, look};
use self::map::Context;
use self::notes::Notes;
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
use crate::domain::operation::{Operation, OperationKind};
use crate::domain::page::{Page, PageRequest};
use crate::domain::target::{AvailableVersion, Image, Target, TargetInfo, TargetKind};
use crate::kit::clock::Clock;

const NAME: &str = "huawei";
const NO_CANCEL: &str = "CloudDC has no call that cancels a reinstall";
/// How many jobs one `check` takes: a few lists answer for all of them.
const CHECK_BATCH: usize = 256;
/// How many jobs one `observe` takes: ten list calls.
const OBSERVE_BATCH: usize = 10 * IDS_PER_LIST;

/// The vendor's line in the list.
pub const ENTRY: VendorEntry = VendorEntry { name: NAME, secret_keys: config::SECRET_KEYS, configure };

fn configure(common: &CommonSettings, own: toml::Table) -> Result<Build, Vec<ConfigFault>> {
    let config = config::read(own)?;
    let endpoint = common.endpoint.clone();
    let grace = Duration::from_millis(common.limits.lost_answer_grace_ms);
    let limit = Duration::from_millis(common.limits.lost_answer_limit_ms);
    Ok(Box::new(move |provider: ProviderId, http: HttpClient, clock: Clock| {
        Arc::new(Huawei {
            provider,
            credential_keys: config.credential_keys(),
            capabilities: capabilities(grace, limit),
            client: Client::new(endpoint, config, http, clock.clone()),
            chunk: AtomicUsize::new(submit::CHUNK),
            bystanders: Bystanders::default(),
            clock,
        })
    }))
}

fn capabilities(lost_answer_grace: Duration, lost_answer_limit: Duration) -> Capabilities {
    Capabilities {
        targets: vec![Capability {
            target: TargetKind::Instance,
            operations: &[OperationKind::Reinstall],
            schedules_natively: false,
            has_maintenance_windows: false,
            cancel: CancelSupport::Never(NO_CANCEL),
            prechecks: true,
            progress: false,
            lists_versions: false,
            lists_images: true,
            batch_size: 50,
            lost_answer: "The instance's state, operation state, launch time and image are compared with those \
                          before the start; a start is never sent a second time after a lost answer. Only where \
                          CloudDC refused a call because of another instance in it, one that stays exactly as it \
                          was for five minutes is started again.",
            success_proof: "The instance is `running` again after it was seen being reinstalled, or its \
                            operation state turned to `reinstall-succeed`.",
            retry: "A new reinstall, with the password given anew; the instance must be `running`.",
        }],
        check_batch: CHECK_BATCH,
        observe_batch: OBSERVE_BATCH,
        lost_answer_grace,
        lost_answer_limit,
    }
}

/// One project at CloudDC.
#[derive(Debug)]
struct Huawei {
    provider: ProviderId,
    credential_keys: &'static [&'static str],
    capabilities: Capabilities,
    client: Client,
    /// How many ids one reinstall call takes here, as far as is known.
    chunk: AtomicUsize,
    bystanders: Bystanders,
    clock: Clock,
}

impl Huawei {
    fn context<'a>(&self, planned: &Planned, notes: &'a Notes) -> Context<'a> {
        Context { notes, submitted: planned.submit_time, now: self.clock.now() }
    }
}

/// The image that a job asks for; none (or an empty text) keeps the current one.
fn wanted_image(planned: &Planned) -> Option<&str> {
    match &planned.operation {
        Operation::Reinstall(reinstall) => reinstall.image_id.as_deref().filter(|id| !id.is_empty()),
        Operation::Upgrade(_) | Operation::ScheduledUpgrade(_) => None,
    }
}

fn unsupported(what: &str) -> VendorError {
    VendorError::new(VendorFault::Rejected, Reached::No, what)
}

#[async_trait]
impl Vendor for Huawei {
    fn name(&self) -> &'static str {
        NAME
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
        match kind {
            TargetKind::Instance => targets::targets(&self.client, &self.provider, page).await,
            TargetKind::Cluster | TargetKind::Supervisor => Ok(Page::last(Vec::new())),
        }
    }

    async fn versions(&self, _target: &Target) -> Result<Vec<AvailableVersion>, VendorError> {
        Err(unsupported("CloudDC instances have images, not versions"))
    }

    async fn images(&self, page: &PageRequest) -> Result<Page<Image>, VendorError> {
        targets::images(&self.client, page).await
    }

    async fn check(&self, batch: &[Planned]) -> Vec<Result<CheckReport, VendorError>> {
        check::check(&self.client, batch).await
    }

    async fn submit(&self, batch: &[Submission]) -> Vec<Submitted> {
        submit::submit(&self.client, &self.chunk, &self.bystanders, batch).await
    }

    async fn find(&self, planned: &Planned) -> Result<Found, VendorError> {
        let notes = Notes::read(planned.handle.as_ref());
        match look(&self.client, &[&planned.target.id]).await.pop() {
            Some(Ok(Sight::Seen(instance))) => {
                let found = map::find(&instance, self.context(planned, &notes), wanted_image(planned));
                let standing = self.bystanders.look(planned.job, &instance, notes.baseline.as_ref());
                Ok(match (found, standing) {
                    (Found::CannotTell(_), Standing::NotStarted) => Found::NotArrived { until: None },
                    (Found::CannotTell(why), Standing::Waiting) => Found::CannotTell(format!(
                        "the call was refused because of another instance in it; {why}, and is looked at for some minutes"
                    )),
                    (found, _) => found,
                })
            }
            Some(Ok(Sight::Gone(text))) => {
                Ok(Found::CannotTell(format!("the instance no longer exists ({text})")))
            }
            Some(Err(error)) => Err(error),
            None => Err(unsupported("nothing was asked")),
        }
    }

    async fn observe(&self, batch: &[Planned]) -> Vec<Result<Observation, VendorError>> {
        let ids: Vec<&str> = batch.iter().map(|p| &*p.target.id).collect();
        let sights = look(&self.client, &ids).await;
        batch
            .iter()
            .zip(sights)
            .map(|(planned, sight)| {
                let notes = Notes::read(planned.handle.as_ref());
                Ok(match sight? {
                    Sight::Seen(instance) => map::observe(&instance, self.context(planned, &notes)),
                    Sight::Gone(text) => map::gone(&planned.target.id, &text),
                })
            })
            .collect()
    }

    async fn cancel(&self, _planned: &Planned) -> Result<CancelAnswer, VendorError> {
        Ok(CancelAnswer::Refused(NO_CANCEL.to_owned()))
    }

    async fn reschedule(&self, _planned: &Planned) -> Result<Observation, VendorError> {
        Err(unsupported("CloudDC keeps no schedule; a reinstall starts at once"))
    }

    async fn ping(&self) -> Result<Option<String>, VendorError> {
        self.client.instances_page(MIN_LIMIT, None).await.map(|_| None)
    }

    fn drift(&self) -> Vec<Drift> {
        self.client.drift()
    }

    async fn close(&self) {
        self.client.close().await;
    }
}
