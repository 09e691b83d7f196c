//! One provider at run time: its vendor, its health, and the nudges that wake its driver.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::calls::{ProviderView, StartEntry};
use super::foreign::Sights;
use super::health::Health;
use crate::domain::cadence::Cadence;
use crate::domain::error::FieldViolation;
use crate::domain::id::{JobId, ProviderId};
use crate::domain::operation::Operation;
use crate::domain::state::JobState;
use crate::vendors::contract::{Asked, Vendor};

/// A configured provider, as the roof hands it to the engine.
pub struct Provider {
    /// Its id.
    pub id: ProviderId,
    /// Its base address, for people.
    pub endpoint: String,
    /// Its marks.
    pub labels: BTreeMap<String, String>,
    /// How often its running jobs are looked at.
    pub cadence: Cadence,
    /// The adapter.
    pub vendor: Arc<dyn Vendor>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider")
            .field("id", &self.id)
            .field("vendor", &self.vendor.name())
            .finish_non_exhaustive()
    }
}

/// A provider at run time.
#[derive(Debug)]
pub(super) struct Runtime {
    pub provider: Provider,
    pub health: Health,
    /// Operations that Drydock did not start, as seen last.
    pub sights: Sights,
    nudged: Mutex<HashSet<JobId>>,
    pub bell: Notify,
    /// Live jobs by state, kept by the driver.
    pub live: Mutex<BTreeMap<JobState, u64>>,
}

impl Runtime {
    pub fn new(provider: Provider, health: Health) -> Self {
        Self {
            provider,
            health,
            sights: Sights::default(),
            nudged: Mutex::default(),
            bell: Notify::new(),
            live: Mutex::default(),
        }
    }

    /// Tells the driver that a job is new or was changed by somebody else. Bounded by the number of jobs.
    pub fn nudge(&self, job: JobId) {
        self.nudged.lock().unwrap_or_else(PoisonError::into_inner).insert(job);
        self.bell.notify_one();
    }

    /// Takes the nudges.
    pub fn take_nudged(&self) -> Vec<JobId> {
        let mut nudged: Vec<_> = self.nudged.lock().unwrap_or_else(PoisonError::into_inner).drain().collect();
        nudged.sort_unstable();
        nudged
    }

    /// How many live jobs the provider has, as its driver last counted.
    pub fn live_count(&self) -> u64 {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// As callers see it.
    pub fn view(&self) -> ProviderView {
        ProviderView {
            id: self.provider.id.clone(),
            vendor: self.provider.vendor.name(),
            endpoint: self.provider.endpoint.clone(),
            labels: self.provider.labels.clone(),
            capabilities: self.provider.vendor.capabilities().clone(),
            health: self.health.view(),
            live_jobs: self.live.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            drift: self.provider.vendor.drift(),
        }
    }

    /// Whether Drydock itself must wait for a scheduled start on targets like the job's.
    pub fn keeps_time(&self, kind: crate::domain::target::TargetKind) -> bool {
        !self.provider.vendor.capabilities().of(kind).is_some_and(|c| c.schedules_natively)
    }

    /// Every fault of an entry: first against what the vendor can do, then against its own rules.
    pub fn faults(&self, entry: &StartEntry) -> Vec<FieldViolation> {
        let vendor = &self.provider.vendor;
        let name = vendor.name();
        let kind = entry.operation.kind();
        let mut faults = Vec::new();
        let capability = vendor.capabilities().of(entry.target.kind);
        match capability {
            None => faults.push(FieldViolation::new(
                "target",
                format!("a {name} provider has no {}", entry.target.kind.collection()),
            )),
            Some(capability) if !capability.operations.contains(&kind) => faults.push(FieldViolation::new(
                "target",
                format!(
                    "{} of a {name} provider cannot take {}",
                    entry.target.kind.collection(),
                    kind.as_str()
                ),
            )),
            Some(_) => {}
        }
        if let Some(options) = entry.operation.upgrade().and_then(|u| u.options.vendor())
            && options != name
        {
            faults.push(FieldViolation::new(
                options,
                format!("options of {options} were given, and {} is a {name} provider", self.provider.id),
            ));
        }
        if let (Operation::ScheduledUpgrade(scheduled), Some(capability)) = (&entry.operation, capability) {
            if scheduled.start_time.is_none() && !capability.has_maintenance_windows {
                faults.push(FieldViolation::new(
                    "start_time",
                    format!(
                        "is required: a {name} provider has no maintenance windows to choose a time from"
                    ),
                ));
            }
            if scheduled.ignore_maintenance_windows.is_some() && !capability.has_maintenance_windows {
                faults.push(FieldViolation::new(
                    "ignore_maintenance_windows",
                    format!("must be unset: a {name} provider has no maintenance windows"),
                ));
            }
        }
        if faults.is_empty() {
            let asked = Asked {
                target: &entry.target,
                operation: &entry.operation,
                password: entry.password.as_ref(),
            };
            faults = vendor.validate(&asked);
        }
        if !entry.field_prefix.is_empty() {
            faults = faults.into_iter().map(|f| f.under(&entry.field_prefix)).collect();
        }
        faults
    }
}
