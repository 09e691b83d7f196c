//! One provider at run time: its vendor, its health, who drives it, and the nudges that wake its driver when it runs
//! here.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::calls::{DriverView, ProviderHealth, ProviderView, StartEntry};
use super::foreign::Sights;
use super::health::Health;
use crate::domain::cadence::Cadence;
use crate::domain::error::{FieldViolation, VendorFault};
use crate::domain::id::{JobId, ProviderId};
use crate::domain::job::Job;
use crate::domain::operation::Operation;
use crate::domain::state::JobState;
use crate::vendors::contract::{Asked, Vendor};
use crate::vendors::error::VendorError;

/// The sequence of a job that was just accepted.
const FIRST: u64 = 1;
/// With more jobs waiting for their driver, it reads further ones itself: a driver that is held up costs no memory.
const CARRIED: usize = 256;

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
    /// What a person should know of its configuration.
    pub warnings: Vec<String>,
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
    nudged: Mutex<HashMap<JobId, Nudge>>,
    pub bell: Notify,
    /// Live jobs by state, kept by the driver that runs here.
    pub live: Mutex<BTreeMap<JobState, u64>>,
    /// Whether a driver runs here.
    driven: AtomicBool,
    /// The driver should read all its live jobs again.
    doubted: AtomicBool,
    /// What was last heard of the provider's lease.
    known: Mutex<Known>,
}

/// What a driver is told of a job.
#[derive(Clone, Debug)]
pub(super) struct Nudge {
    /// The newest sequence that the job is known to have.
    pub sequence: u64,
    /// The job has ended: nothing to do for a driver that does not know it.
    pub ended: bool,
    /// The job as it was just written, so that its driver need not read it.
    pub job: Option<Box<Job>>,
}

impl Nudge {
    /// Of a job as it was just read or written.
    pub fn of(job: &Job) -> Self {
        let ended = job.status.state.is_ended();
        Self { sequence: job.sequence, ended, job: Some(Box::new(job.clone())) }
    }

    /// Of an event.
    pub const fn at(sequence: u64, ended: bool) -> Self {
        Self { sequence, ended, job: None }
    }

    /// It must be read, whatever the driver knows.
    pub const AGAIN: Self = Self::at(u64::MAX, false);

    /// The job, if its driver may take it as it was handed over. Of an older one that the driver does not know, only the
    /// store knows whether it has ended since.
    pub fn handed_over(&mut self, known: bool) -> Option<Box<Job>> {
        let newest = self.sequence;
        self.job.take_if(|job| job.sequence >= newest && (known || newest <= FIRST))
    }

    fn merge(&mut self, other: Self) {
        self.sequence = self.sequence.max(other.sequence);
        self.ended |= other.ended;
        if other.job.as_ref().map(|job| job.version) > self.job.as_ref().map(|job| job.version) {
            self.job = other.job;
        }
    }
}

/// What was last heard of a provider's lease.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Who drives it.
    pub driver: Option<DriverView>,
    /// What a driver elsewhere says of it.
    pub told: Option<(ProviderHealth, BTreeMap<JobState, u64>)>,
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
            driven: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
            known: Mutex::default(),
        }
    }

    /// Tells the driver that a job is new or was changed by somebody else. Nobody is told when it runs elsewhere: there
    /// the same events are read. Bounded by the number of jobs.
    pub fn nudge(&self, job: JobId, mut nudge: Nudge) {
        if !self.is_driven() {
            return;
        }
        let mut nudged = self.nudged.lock().unwrap_or_else(PoisonError::into_inner);
        if nudged.len() >= CARRIED {
            nudge.job = None;
        }
        match nudged.entry(job) {
            Entry::Occupied(mut known) => known.get_mut().merge(nudge),
            Entry::Vacant(place) => drop(place.insert_entry(nudge)),
        }
        drop(nudged);
        self.bell.notify_one();
    }

    /// Takes the nudges, in the jobs' order.
    pub fn take_nudged(&self) -> Vec<(JobId, Nudge)> {
        let mut nudged: Vec<_> = self.nudged.lock().unwrap_or_else(PoisonError::into_inner).drain().collect();
        nudged.sort_unstable_by_key(|(job, _)| *job);
        nudged
    }

    /// Has the driver read all its live jobs again.
    pub fn doubt(&self) {
        self.doubted.store(true, Ordering::Release);
        self.bell.notify_one();
    }

    /// The same error; refused credentials name the configuration keys that a person has to mend.
    pub fn told(&self, mut error: VendorError) -> VendorError {
        if error.kind == VendorFault::Unauthenticated {
            let Provider { id, vendor, .. } = &self.provider;
            let keys: Vec<_> = vendor
                .credential_keys()
                .iter()
                .map(|key| format!("`providers.{}.{key}`", id.as_str()))
                .collect();
            if !keys.is_empty() {
                error.message.push_str(&format!(
                    ". The vendor refuses the provider's credentials: mend {} in the configuration",
                    keys.join(", ")
                ));
            }
        }
        error
    }

    pub fn take_doubt(&self) -> bool {
        self.doubted.swap(false, Ordering::AcqRel)
    }

    /// A driver begins here, before it reads its jobs: from now on it is told of changes.
    pub fn begin(&self) {
        self.driven.store(true, Ordering::Release);
    }

    /// The driver has ended.
    pub fn end(&self) {
        self.driven.store(false, Ordering::Release);
        self.take_nudged();
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether a driver runs here.
    pub fn is_driven(&self) -> bool {
        self.driven.load(Ordering::Acquire)
    }

    /// Notes what was heard of the provider's lease.
    pub fn note(&self, known: Known) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Live jobs by state, as the driver that runs here last counted; none when it runs elsewhere.
    pub fn live_here(&self) -> BTreeMap<JobState, u64> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many live jobs the provider has, as its driver last counted, wherever it runs.
    pub fn live_count(&self) -> u64 {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &known.told {
            Some((_, live_jobs)) if !self.is_driven() => live_jobs.values().sum(),
            Some(_) | None => self.live.lock().unwrap_or_else(PoisonError::into_inner).values().sum(),
        }
    }

    /// As callers see it: from the driver here, else from what the driver elsewhere tells.
    pub fn view(&self) -> ProviderView {
        let Known { driver, told } = self.known();
        let (health, live_jobs) = match told {
            Some(told) if !self.is_driven() => told,
            Some(_) | None => (self.health.view(), self.live_here()),
        };
        ProviderView {
            id: self.provider.id.clone(),
            vendor: self.provider.vendor.name(),
            endpoint: self.provider.endpoint.clone(),
            labels: self.provider.labels.clone(),
            capabilities: self.provider.vendor.capabilities().clone(),
            health,
            warnings: self.provider.warnings.clone(),
            live_jobs,
            driver,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_older_job_that_its_driver_does_not_know_only_the_store_knows_whether_it_has_ended() {
        let mut job = crate::engine::step_tests::upgrade();
        for (sequence, known, taken) in
            [(1, false, true), (1, true, true), (5, true, true), (5, false, false)]
        {
            job.sequence = sequence;
            assert_eq!(Nudge::of(&job).handed_over(known).is_some(), taken, "{sequence} {known}");
        }
        // Something newer is known to be there.
        let mut nudge = Nudge::of(&job);
        nudge.merge(Nudge::at(6, false));
        assert!(nudge.handed_over(true).is_none());
    }
}
