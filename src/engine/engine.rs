//! What the API may ask. Each call is short: mutating ones answer as soon as the job is durable.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use jiff::Timestamp;

use super::attention::Attention;
use super::berths::Watch;
use super::calls::{CancelOutcome, ProviderView, Settlement, WatchRequest};
use super::fault;
use super::health::Health;
use super::hub::Hub;
use super::lease::Keeper;
use super::metrics::{self, Metrics};
use super::nudge::Nudger;
use super::provider::{Nudge, Provider, Runtime};
use super::retention::{Keep, Purge};
use super::settings::EngineSettings;
use super::step::Step;
use super::vault::Vault;
use super::watch;
use super::wish;
use crate::domain::capability::Capabilities;
use crate::domain::error::Error;
use crate::domain::id::{JobId, ProviderId};
use crate::domain::job::Job;
use crate::domain::page::{Page, PageRequest};
use crate::kit::clock::{self, Clock};
use crate::kit::crash_point::{self, CrashPoint};
use crate::kit::retry::{Backoff, jitter};
use crate::kit::seal::Sealer;
use crate::kit::tasks::{Ended, Tasks};
use crate::store::contract::{Change, JobFilter, Show};
use crate::store::{Store, StoreError};

/// How often a caller's change is tried again when the driver wrote first.
pub(super) const STALE_TRIES: u32 = 8;
/// How long nothing must have been heard of a job, beside that its provider is not configured here, for a person to settle
/// it: in the middle of a roll-out another replica may still follow it.
const ORPHANED_AFTER: Duration = Duration::from_secs(3600);
/// How long vendors may take to end their sessions at shutdown, all together; never more than a quarter of the time.
const CLOSE_DEADLINE: Duration = Duration::from_secs(3);

/// What a provider can do that is configured no more: nothing.
static NO_PROVIDER: Capabilities = Capabilities {
    targets: Vec::new(),
    check_batch: 256,
    observe_batch: 1,
    lost_answer_grace: Duration::MAX,
    lost_answer_limit: Duration::MAX,
};

/// The engine. One per process; share it by `Arc`.
pub struct Engine {
    pub(super) store: Arc<dyn Store>,
    pub(super) providers: BTreeMap<ProviderId, Arc<Runtime>>,
    pub(super) settings: EngineSettings,
    pub(super) vault: Arc<Vault>,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    hub: Arc<Hub>,
    attention: Arc<Attention>,
    tasks: Tasks,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("providers", &self.providers.keys()).finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts the watch hub, and the drivers of the providers that are this replica's share. Live jobs go on where they
    /// were.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn start_up(
        store: Arc<dyn Store>,
        providers: Vec<Provider>,
        settings: EngineSettings,
        sealer: Option<Sealer>,
        clock: Clock,
    ) -> Result<Arc<Self>, Error> {
        store.ping().await.map_err(fault::store)?;
        let known = providers.iter().map(|provider| provider.id.clone()).collect();
        warn_of_orphans(&*store, &known).await?;
        let tasks = Tasks::new();
        let meter = opentelemetry::global::meter("drydock");
        let metrics = Metrics::new(&meter);
        let vault = Arc::new(Vault::new(sealer));
        let hub = Hub::start(
            Arc::clone(&store),
            settings.watch_ring_events,
            clock.clone(),
            metrics.watch_lag.clone(),
            &tasks,
        );
        let pause = Backoff {
            first: Duration::from_millis(settings.pause_first_ms),
            max: Duration::from_millis(settings.pause_max_ms),
        };
        let mut runtimes = BTreeMap::new();
        for provider in providers {
            let runtime = Arc::new(Runtime::new(provider, Health::new(pause)));
            runtimes.insert(runtime.provider.id.clone(), runtime);
        }
        let purge = Purge {
            store: Arc::clone(&store),
            clock: clock.clone(),
            keep: Keep {
                age: settings.keep_ended(),
                jobs: settings.keep_ended_jobs,
                at_least: settings.keep_ended_at_least,
            },
            purged: metrics.purged.clone(),
            token: tasks.token().clone(),
        };
        tasks.spawn("retention", purge.run());
        let nudger = Nudger {
            hub: Arc::clone(&hub),
            store: Arc::clone(&store),
            runtimes: runtimes.clone(),
            position: *hub.newest().borrow(),
            doubted: HashSet::new(),
        };
        tasks.spawn("nudges", nudger.run(tasks.token().clone()));
        let attention = Arc::new(Attention::default());
        let keeper = Keeper {
            name: settings.replica_name(),
            store: Arc::clone(&store),
            runtimes: runtimes.clone(),
            vault: Arc::clone(&vault),
            attention: Arc::clone(&attention),
            clock: clock.clone(),
            metrics: metrics.clone(),
            lease: Duration::from_millis(settings.lease_ms),
            ping_interval: Duration::from_millis(settings.ping_interval_ms),
            round_limit: Duration::from_millis(settings.round_limit_ms),
            overdue_after: settings.overdue_after(),
        };
        // Attended before anybody is served: drivers run at once where nobody else's do.
        let keeping = match keeper.clone().begin().await {
            Ok(keeping) => keeping,
            Err(error) => {
                tasks.token().cancel();
                return Err(fault::store(error));
            }
        };
        tasks.spawn("leases", keeper.supervise(keeping, tasks.token().clone()));
        metrics::observe(&meter, &runtimes);
        Ok(Arc::new(Self {
            store,
            providers: runtimes,
            settings,
            vault,
            clock,
            metrics,
            hub,
            attention,
            tasks,
        }))
    }

    /// Reads a job.
    ///
    /// # Errors
    /// `NotFound`, `StoreUnavailable`.
    pub async fn job(&self, id: JobId) -> Result<Job, Error> {
        let job = self.store.job(id).await.map_err(fault::store)?;
        job.ok_or_else(|| Error::NotFound { kind: "job", name: id.to_string() })
    }

    /// A job as callers are shown it, see [`Store::shown`].
    ///
    /// # Errors
    /// `NotFound`, `StoreUnavailable`.
    pub async fn shown(&self, id: JobId, show: Show) -> Result<Bytes, Error> {
        let shown = self.store.shown(id, show).await.map_err(fault::store)?;
        shown.ok_or_else(|| Error::NotFound { kind: "job", name: id.to_string() })
    }

    /// Lists jobs.
    ///
    /// # Errors
    /// `PageTokenInvalid`, `StoreUnavailable`.
    pub async fn jobs(&self, filter: &JobFilter, page: &PageRequest) -> Result<Page<Job>, Error> {
        self.store.jobs(filter, page).await.map_err(fault::store)
    }

    /// Cancels a job, as far as that is possible.
    ///
    /// # Errors
    /// `NotFound`, `WrongState` after its end, `CancelUnsupported` where the vendor cannot.
    pub async fn cancel(&self, id: JobId) -> Result<(CancelOutcome, Job), Error> {
        let mut outcome = CancelOutcome::Requested;
        let job = self
            .change(id, |job, capabilities, now| {
                let (what, step) = wish::cancel(job, capabilities, now)?;
                outcome = what;
                Ok(step)
            })
            .await?;
        Ok((outcome, job))
    }

    /// Gives a scheduled upgrade another start.
    ///
    /// # Errors
    /// `NotFound`, `WrongState` once it has begun, `InvalidRequest` for a start in the past or one that the
    /// vendor cannot do without.
    pub async fn reschedule(
        &self,
        id: JobId,
        start_time: Option<Timestamp>,
        ignore_maintenance_windows: Option<bool>,
    ) -> Result<Job, Error> {
        if start_time.is_none() && ignore_maintenance_windows.is_none() {
            return Err(Error::invalid(
                "start_time",
                "must be set, or ignore_maintenance_windows, so that a bare name moves nothing by mistake",
            ));
        }
        let job = self.job(id).await?;
        let mut faults = super::accept::start_time_faults(start_time, "", self.clock.now());
        if let Some(runtime) = self.providers.get(&job.spec.target.provider) {
            let mut asked = job.operation_now();
            if let crate::domain::operation::Operation::ScheduledUpgrade(scheduled) = &mut asked {
                scheduled.start_time = start_time;
                scheduled.ignore_maintenance_windows = ignore_maintenance_windows;
            }
            faults.extend(runtime.faults(&super::calls::StartEntry {
                target: job.spec.target,
                operation: asked,
                password: None,
                field_prefix: String::new(),
            }));
        }
        if !faults.is_empty() {
            return Err(Error::InvalidRequest(faults));
        }
        self.change(id, |job, capabilities, now| {
            wish::reschedule(job, capabilities, start_time, ignore_maintenance_windows, now).map(Some)
        })
        .await
    }

    /// Settles a job that nobody can determine, or that is overdue for good.
    ///
    /// # Errors
    /// `NotFound`, `WrongState` unless it is INDETERMINATE, or with the vendor and OVERDUE, or with a vendor whose provider
    /// is configured no more.
    pub async fn settle(&self, id: JobId, settlement: Settlement, reason: String) -> Result<Job, Error> {
        self.change(id, |job, capabilities, now| {
            let bounds = wish::Bounds {
                overdue_after: self.settings.overdue_after(),
                is_orphan: !self.providers.contains_key(&job.spec.target.provider) && is_silent(job, now),
            };
            wish::settle(job, capabilities, settlement, &reason, bounds, now).map(Some)
        })
        .await
    }

    /// Reads, decides, writes; again when the driver wrote in between.
    async fn change(
        &self,
        id: JobId,
        mut decide: impl FnMut(&Job, &Capabilities, Timestamp) -> Result<Option<Step>, Error>,
    ) -> Result<Job, Error> {
        for tries in 0..STALE_TRIES {
            let job = self.job(id).await?;
            let runtime = self.providers.get(&job.spec.target.provider);
            // A provider that was taken out of the configuration can be asked nothing, but its jobs can still be
            // prevented and settled.
            let capabilities = runtime.map_or(&NO_PROVIDER, |r| r.provider.vendor.capabilities());
            let Some(step) = decide(&job, capabilities, self.clock.now())? else { return Ok(job) };
            let change = Change {
                id,
                version: job.version,
                erase_password: step.erases_password(&job),
                status: step.status,
                control: step.control,
                event: step.event,
            };
            crash_point::reach(CrashPoint::WishUncommitted);
            let written =
                self.store.write(vec![change], None).await.map_err(fault::store)?.into_iter().next();
            crash_point::reach(CrashPoint::WishCommitted);
            match written {
                Some(Ok(job)) => {
                    if let Some(runtime) = runtime {
                        runtime.nudge(id, Nudge::of(&job));
                    }
                    return Ok(job);
                }
                Some(Err(StoreError::Stale(_))) => {
                    tokio::time::sleep(Duration::from_millis(u64::from(tries)).mul_f64(jitter())).await;
                }
                Some(Err(error)) => return Err(fault::store(error)),
                None => return Err(Error::Internal("the store answered nothing to a write".to_owned())),
            }
        }
        Err(Error::Overloaded(format!("`{id}` changes too fast; try again")))
    }

    /// All providers.
    pub fn providers(&self) -> Vec<ProviderView> {
        self.providers.values().map(|r| r.view()).collect()
    }

    /// One provider.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn provider(&self, id: &ProviderId) -> Result<ProviderView, Error> {
        self.runtime(id).map(|r| r.view())
    }

    pub(super) fn runtime(&self, id: &ProviderId) -> Result<&Arc<Runtime>, Error> {
        self.providers.get(id).ok_or_else(|| Error::NotFound { kind: "provider", name: id.to_string() })
    }

    /// Opens a watch.
    ///
    /// # Errors
    /// `NotFound` for a named job that does not exist, `ResumeTokenInvalid`, `ResumeTokenExpired`.
    pub async fn watch(&self, request: WatchRequest) -> Result<Watch, Error> {
        if request.until_end {
            for job in &request.filter.jobs {
                self.job(*job).await?;
            }
        }
        let max_age = Duration::from_millis(self.settings.watch_max_age_ms).mul_f64(0.9 + 0.2 * jitter());
        let sources = watch::Sources {
            hub: Arc::clone(&self.hub),
            store: Arc::clone(&self.store),
            attention: Arc::clone(&self.attention),
            heartbeat: self.settings.heartbeat(),
            max_age,
            subscribers: self.metrics.subscribers.clone(),
        };
        watch::open(sources, request).await
    }

    /// Ends every watch with its last token given; new ones end at once. First phase of a shutdown.
    pub fn stop_watches(&self) {
        self.hub.stop();
    }

    /// Second phase: drivers finish the calls that are out, leases are given up so that another replica takes over at once,
    /// vendors end their sessions. All within `deadline`.
    pub async fn shutdown(&self, deadline: Duration) -> Ended {
        self.hub.stop();
        let closing = CLOSE_DEADLINE.min(deadline / 4);
        let ended = self.tasks.shutdown(deadline - closing).await;
        let close = |runtime: Arc<Runtime>| async move {
            if tokio::time::timeout(closing, runtime.provider.vendor.close()).await.is_err() {
                tracing::warn!(provider.name = %runtime.provider.id, "the vendor's session could not be ended in time");
            }
        };
        join_all(self.providers.values().cloned().map(close)).await;
        ended
    }
}

/// Whether nothing was heard of the job for long: a provider that is not configured here may be on another replica.
fn is_silent(job: &Job, now: Timestamp) -> bool {
    let heard = job.status.observe_time.unwrap_or(job.status.update_time).max(job.status.update_time);
    clock::since(heard, now) >= ORPHANED_AFTER
}

/// Jobs whose provider is configured no more are driven by nobody: that is said once, loudly.
async fn warn_of_orphans(store: &dyn Store, known: &HashSet<ProviderId>) -> Result<(), Error> {
    let mut orphans: BTreeMap<ProviderId, u64> = BTreeMap::new();
    for (provider, _, count) in store.count_live().await.map_err(fault::store)? {
        if !known.contains(&provider) {
            *orphans.entry(provider).or_default() += count;
        }
    }
    for (provider, jobs) in orphans {
        tracing::warn!(
            provider.name = %provider,
            jobs,
            "live jobs wait for a provider that is not configured; configure it again, or cancel or settle them"
        );
    }
    Ok(())
}
