//! A store that fails or stalls when a test says so, over a real one; and what an engine makes of it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use drydock::domain::error::Error;
use drydock::domain::event::Event;
use drydock::domain::id::{JobId, ProviderId, RequestId};
use drydock::domain::job::Job;
use drydock::domain::page::{Page, PageRequest};
use drydock::domain::state::JobState;
use drydock::engine::JobFilter;
use drydock::engine::calls::{WatchBody, WatchFilter, WatchRequest};
use drydock::store::contract::{Accepted, Change, NewRequest};
use drydock::store::lease::{Attendance, Fence, Guard, Presence, ReplicaId};
use drydock::store::retention::{Purged, Step, Through};
use drydock::store::{Leases, Store, StoreError};
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::house::{House, next, upgrade, with_key};
use crate::scripted::{OnSubmit, Scripted};

pub struct Flaky {
    pub inner: Arc<dyn Store>,
    /// Every call fails.
    pub gone: AtomicBool,
    /// Every call about presence and leases fails.
    pub leases_gone: AtomicBool,
    /// Nobody is shown new events.
    pub hide_events: AtomicBool,
    /// The next intent of a start is committed, says so in `held`, and is answered after `release`.
    pub hold_intent: AtomicBool,
    /// So many reads of a job fail.
    pub failing_reads: AtomicU32,
    /// The next acceptance is committed, and answered as if it were not.
    pub lose_acceptance: AtomicBool,
    /// How long the write of a second start's intent takes, in milliseconds.
    pub stall_resend: AtomicU64,
    /// The next write that takes a start back is committed, and answered as if it were not.
    pub lose_take_back: AtomicBool,
    /// The next write that marks a job CHECKING is committed, and answered as if it were not.
    pub lose_mark: AtomicBool,
    /// The next write that marks a job CHECKING says so in `held` and waits for `release`.
    pub hold_mark: AtomicBool,
    /// Every write with a change of this job is refused as damaged.
    pub refuse: Mutex<Option<JobId>>,
    /// Somebody wrote a doubt about a start to a job that has sent none.
    pub doubted_unsent: AtomicBool,
    /// The next read of a job says so in `held` and waits for `release`.
    pub hold_read: AtomicBool,
    /// Lists wait for `release`.
    pub hold_lists: AtomicBool,
    /// Reads of events after a position below this wait until it sinks.
    pub hold_events_before: watch::Sender<u64>,
    /// How many of them wait, now and at most.
    pub waiting_reads: (AtomicU32, AtomicU32),
    pub held: Notify,
    pub release: Notify,
}

impl Flaky {
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            gone: AtomicBool::new(false),
            leases_gone: AtomicBool::new(false),
            hide_events: AtomicBool::new(false),
            hold_intent: AtomicBool::new(false),
            failing_reads: AtomicU32::new(0),
            lose_acceptance: AtomicBool::new(false),
            stall_resend: AtomicU64::new(0),
            lose_take_back: AtomicBool::new(false),
            lose_mark: AtomicBool::new(false),
            hold_mark: AtomicBool::new(false),
            refuse: Mutex::default(),
            doubted_unsent: AtomicBool::new(false),
            hold_read: AtomicBool::new(false),
            hold_lists: AtomicBool::new(false),
            hold_events_before: watch::Sender::new(0),
            waiting_reads: (AtomicU32::new(0), AtomicU32::new(0)),
            held: Notify::new(),
            release: Notify::new(),
        }
    }
}

impl Flaky {
    fn reach(&self) -> Result<(), StoreError> {
        if self.gone.load(Ordering::SeqCst) { Err(away()) } else { Ok(()) }
    }

    fn reach_leases(&self) -> Result<(), StoreError> {
        if self.leases_gone.load(Ordering::SeqCst) { Err(away()) } else { self.reach() }
    }
}

fn away() -> StoreError {
    StoreError::Unavailable("the test says so".into())
}

#[async_trait]
impl Leases for Flaky {
    async fn attend(&self, presence: &Presence) -> Result<Attendance, StoreError> {
        self.reach_leases()?;
        self.inner.attend(presence).await
    }

    async fn take_lease(
        &self,
        provider: &ProviderId,
        replica: ReplicaId,
        lease: Duration,
    ) -> Result<Option<Fence>, StoreError> {
        self.reach_leases()?;
        self.inner.take_lease(provider, replica, lease).await
    }

    async fn release_leases(&self, replica: ReplicaId, guards: &[Guard]) -> Result<(), StoreError> {
        self.reach_leases()?;
        self.inner.release_leases(replica, guards).await
    }

    async fn leave(&self, replica: ReplicaId) -> Result<(), StoreError> {
        self.reach_leases()?;
        self.inner.leave(replica).await
    }

    fn lease_changes(&self) -> watch::Receiver<u64> {
        self.inner.lease_changes()
    }
}

#[async_trait]
impl Store for Flaky {
    fn id(&self) -> Uuid {
        self.inner.id()
    }

    async fn create(&self, request: NewRequest) -> Result<Vec<Result<Accepted, StoreError>>, StoreError> {
        self.reach()?;
        let answer = self.inner.create(request).await;
        if self.lose_acceptance.swap(false, Ordering::SeqCst) { Err(away()) } else { answer }
    }

    async fn knows_request(&self, id: RequestId) -> Result<bool, StoreError> {
        self.reach()?;
        self.inner.knows_request(id).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.reach()?;
        let less = |left: u32| left.checked_sub(1);
        if self.failing_reads.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            return Err(away());
        }
        if self.hold_read.swap(false, Ordering::SeqCst) {
            self.held.notify_one();
            self.release.notified().await;
        }
        self.inner.job(id).await
    }

    async fn jobs(&self, filter: &JobFilter, page: &PageRequest) -> Result<Page<Job>, StoreError> {
        self.reach()?;
        if self.hold_lists.load(Ordering::SeqCst) {
            self.release.notified().await;
        }
        self.inner.jobs(filter, page).await
    }

    async fn live_jobs(
        &self,
        provider: &ProviderId,
        after: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<Job>, StoreError> {
        self.reach()?;
        self.inner.live_jobs(provider, after, limit).await
    }

    async fn write(
        &self,
        changes: Vec<Change>,
        guard: Option<Guard>,
    ) -> Result<Vec<Result<Job, StoreError>>, StoreError> {
        if changes.iter().any(|c| c.status.state == JobState::Submitting && c.control.attempts == 2) {
            tokio::time::sleep(Duration::from_millis(self.stall_resend.load(Ordering::SeqCst))).await;
        }
        self.reach()?;
        let refused = *self.refuse.lock().unwrap();
        if changes.iter().any(|c| Some(c.id) == refused) {
            return Err(StoreError::Corrupt("the test says so".into()));
        }
        let intent = changes.iter().any(|c| c.status.state == JobState::Submitting);
        let mark = changes.iter().any(|c| c.status.state == JobState::Checking);
        let unsent = |c: &&Change| c.status.state == JobState::Pending;
        let taken_back = changes.iter().filter(unsent).any(|c| c.control.attempts > 0);
        let doubted = changes.iter().filter(unsent).any(|c| c.control.lost_time.is_some());
        self.doubted_unsent.fetch_or(doubted, Ordering::SeqCst);
        if mark && self.hold_mark.swap(false, Ordering::SeqCst) {
            self.held.notify_one();
            self.release.notified().await;
        }
        let answer = self.inner.write(changes, guard).await;
        if mark && self.lose_mark.swap(false, Ordering::SeqCst) {
            return Err(away());
        }
        if taken_back && self.lose_take_back.swap(false, Ordering::SeqCst) {
            return Err(away());
        }
        if intent && self.hold_intent.swap(false, Ordering::SeqCst) {
            self.held.notify_one();
            self.release.notified().await;
        }
        answer
    }

    async fn sealed_password(&self, id: JobId) -> Result<Option<Vec<u8>>, StoreError> {
        self.reach()?;
        self.inner.sealed_password(id).await
    }

    async fn job_events(&self, id: JobId, after: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.reach()?;
        self.inner.job_events(id, after, limit).await
    }

    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.reach()?;
        if self.hide_events.load(Ordering::SeqCst) {
            return Ok(Vec::new());
        }
        if after < *self.hold_events_before.borrow() {
            let (now, most) = &self.waiting_reads;
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let _ = self.hold_events_before.subscribe().wait_for(|before| after >= *before).await;
            now.fetch_sub(1, Ordering::SeqCst);
        }
        self.inner.events(after, limit).await
    }

    fn newest_position(&self) -> watch::Receiver<u64> {
        self.inner.newest_position()
    }

    async fn count_live(&self) -> Result<Vec<(ProviderId, JobState, u64)>, StoreError> {
        self.reach()?;
        self.inner.count_live().await
    }

    async fn too_many(&self, keep: u64) -> Result<Option<Through>, StoreError> {
        self.reach()?;
        self.inner.too_many(keep).await
    }

    async fn purge(&self, through: Through, step: Step) -> Result<Purged, StoreError> {
        self.reach()?;
        self.inner.purge(through, step).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.reach()?;
        self.inner.now().await
    }

    async fn purge_bare_keys(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.reach()?;
        self.inner.purge_bare_keys(before, limit).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.reach()?;
        self.inner.ping().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[tokio::test]
async fn a_read_that_fails_once_strands_no_other_job() {
    let (house, flaky) = House::flaky(Scripted::new()).await;
    // A driver that is still loading would find the jobs in its list, and read none of them by itself.
    let first = house.upgrade("c0").await;
    assert_eq!(house.ended(first.id).await.status.state, JobState::Succeeded);
    // The call that made them cannot hand them over, so their driver has to read them.
    flaky.lose_acceptance.store(true, Ordering::SeqCst);
    flaky.failing_reads.store(1, Ordering::SeqCst);
    let asked = || with_key(5, 1, vec![upgrade("c1"), upgrade("c2"), upgrade("c3")]);
    house.engine.start(asked()).await.unwrap_err();
    // Let the driver be the one whose read fails.
    while flaky.failing_reads.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for job in house.engine.start(asked()).await.unwrap() {
        assert_eq!(house.ended(job.unwrap().job.id).await.status.state, JobState::Succeeded);
    }
}

#[tokio::test]
async fn a_job_whose_acceptance_was_not_confirmed_is_driven_all_the_same() {
    let (house, flaky) = House::flaky(Scripted::new()).await;
    flaky.lose_acceptance.store(true, Ordering::SeqCst);
    let lost = house.engine.start(with_key(5, 1, vec![upgrade("c1")])).await.unwrap_err();
    assert!(matches!(lost, Error::StoreUnavailable { .. }), "{lost:?}");
    let again = house.engine.start(with_key(5, 1, vec![upgrade("c1")])).await.unwrap().remove(0).unwrap();
    assert!(again.reused);
    assert_eq!(house.ended(again.job.id).await.status.state, JobState::Succeeded);
}

#[tokio::test]
async fn a_job_that_ends_while_its_watch_looks_still_tells_its_end() {
    let (house, flaky) = House::flaky(Scripted::new()).await;
    house.vendor.state.lock().unwrap().endless = true;
    let job = house.upgrade("c1").await;
    house.in_state(job.id, JobState::Running).await;
    let filter = WatchFilter { jobs: vec![job.id], ..WatchFilter::default() };
    let mut watch = house.watch(WatchRequest { filter, until_end: true, ..WatchRequest::default() }).await;
    flaky.hold_read.store(true, Ordering::SeqCst);
    let follow = async {
        let mut last = None;
        while let Some(item) = next(&mut watch).await {
            if let WatchBody::Events(events) = item.unwrap().body {
                last = events.events().last().map(|e| e.status.state);
            }
        }
        last
    };
    let meanwhile = async {
        flaky.held.notified().await;
        house.vendor.state.lock().unwrap().endless = false;
        while !flaky.inner.job(job.id).await.unwrap().unwrap().status.state.is_ended() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        flaky.release.notify_one();
    };
    let (last, ()) = tokio::join!(follow, meanwhile);
    assert_eq!(last, Some(JobState::Succeeded));
}

#[tokio::test]
async fn a_proof_that_grew_old_while_the_disk_was_slow_sends_nothing() {
    let (house, flaky) = House::flaky(Scripted::new()).await;
    house.vendor.on_submit("c1", OnSubmit::LoseBefore);
    house.vendor.state.lock().unwrap().proof = Some(Duration::from_millis(300));
    flaky.stall_resend.store(600, Ordering::SeqCst);
    let job = house.upgrade("c1").await;
    house.in_state(job.id, JobState::Indeterminate).await;
    assert_eq!(house.vendor.state.lock().unwrap().batches, [1], "sent after its proof had ended");
}

/// Longer than a mark waits for the answer of its check.
const SLOW: Duration = Duration::from_millis(60);

async fn states(house: &House, job: JobId) -> Vec<JobState> {
    let events = house.store.job_events(job, 0, 100).await.unwrap();
    assert!(events.iter().zip(1..).all(|(event, n)| event.sequence == n), "{events:?}");
    events.iter().map(|event| event.status.state).collect()
}

/// The check that is out meanwhile is not heard: the job is checked anew, and started once.
#[tokio::test]
async fn a_check_counts_only_for_a_job_that_is_known_to_be_marked() {
    let (house, flaky) = House::flaky(Scripted::new()).await;
    house.vendor.state.lock().unwrap().slow_check = SLOW;
    flaky.lose_mark.store(true, Ordering::SeqCst);
    let job = house.upgrade("c1").await;
    assert_eq!(house.ended(job.id).await.status.state, JobState::Succeeded);
    assert!(!flaky.lose_mark.load(Ordering::SeqCst), "no answer was lost");
    assert_eq!(house.vendor.starts("c1"), 1);
    let wanted = [JobState::Pending, JobState::Checking, JobState::Submitting, JobState::Running];
    assert_eq!(states(&house, job.id).await[..4], wanted);
}

/// A quick check is written together with what follows from it. Nobody knows whether that start was sent, so it is looked
/// up before another.
#[tokio::test]
async fn a_mark_and_an_intent_whose_commit_was_not_confirmed_start_once() {
    let (house, flaky) = House::flaky(Scripted::new()).await;
    flaky.lose_mark.store(true, Ordering::SeqCst);
    let job = house.upgrade("c1").await;
    assert_eq!(house.ended(job.id).await.status.state, JobState::Succeeded);
    assert!(!flaky.lose_mark.load(Ordering::SeqCst), "no answer was lost");
    assert_eq!(house.vendor.starts("c1"), 1);
    assert!(house.vendor.state.lock().unwrap().finds > 0, "sent again without a look");
    assert_eq!(
        states(&house, job.id).await[..3],
        [JobState::Pending, JobState::Checking, JobState::Submitting]
    );
}

/// What was heard would move the job twice, and the cancel makes just the version that the second move names.
#[tokio::test]
async fn a_cancel_that_slips_in_before_the_mark_of_a_check_prevents_the_start() {
    for slow in [Duration::ZERO, SLOW] {
        let (house, flaky) = House::flaky(Scripted::new()).await;
        house.vendor.state.lock().unwrap().slow_check = slow;
        flaky.hold_mark.store(true, Ordering::SeqCst);
        let job = house.upgrade("c1").await;
        flaky.held.notified().await;
        assert_eq!(house.engine.cancel(job.id).await.unwrap().1.status.state, JobState::Cancelled);
        flaky.release.notify_one();
        // Long enough for the check to be heard, were it slow.
        tokio::time::sleep(2 * SLOW).await;
        assert_eq!(states(&house, job.id).await, [JobState::Pending, JobState::Cancelled], "{slow:?}");
        assert_eq!(house.vendor.starts("c1"), 0, "{slow:?}");
        assert!(house.engine.providers().remove(0).live_jobs.is_empty(), "counted wrong");
    }
}

#[tokio::test]
async fn a_quick_check_is_told_in_one_commit_with_what_follows() {
    let (house, _) = House::flaky(Scripted::new()).await;
    let quick = house.upgrade("c1").await;
    house.ended(quick.id).await;
    house.vendor.state.lock().unwrap().slow_check = SLOW;
    let slow = house.upgrade("c2").await;
    house.ended(slow.id).await;
    for (job, together) in [(quick.id, true), (slow.id, false)] {
        let events = house.store.job_events(job, 0, 100).await.unwrap();
        let of = |state| events.iter().find(|event| event.status.state == state).unwrap();
        let (checking, submitting) = (of(JobState::Checking), of(JobState::Submitting));
        assert_eq!(checking.commit == submitting.commit, together);
        assert_eq!(checking.sequence + 1, submitting.sequence);
        assert!(checking.time <= submitting.time);
    }
}

/// The disk is full for longer than a check holds: while the mark is written alone, or together with the intent. What the
/// check found was true before.
#[tokio::test]
async fn a_check_that_grew_old_while_its_mark_was_written_starts_nothing() {
    for slow in [SLOW, Duration::ZERO] {
        let (house, flaky) = House::flaky_and_patient(Scripted::new()).await;
        house.vendor.state.lock().unwrap().slow_check = slow;
        flaky.hold_mark.store(true, Ordering::SeqCst);
        let job = house.upgrade("c1").await;
        flaky.held.notified().await;
        // The check comes back meanwhile.
        tokio::time::sleep(2 * slow).await;
        assert_eq!(house.vendor.state.lock().unwrap().checks, 1, "{slow:?}");
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(31)).await;
        tokio::time::resume();
        flaky.release.notify_one();
        assert_eq!(house.ended(job.id).await.status.state, JobState::Succeeded, "{slow:?}");
        assert_eq!(house.vendor.starts("c1"), 1, "{slow:?}");
        let checks = house.vendor.state.lock().unwrap().checks;
        assert_eq!(checks, 2, "started on what was found half a minute ago: {slow:?}");
    }
}

#[tokio::test]
async fn a_start_that_was_taken_back_leaves_no_doubt_for_the_next_one() {
    for (first, what) in [(OnSubmit::LoseBefore, "looked up"), (OnSubmit::RateLimit, "refused for now")] {
        let (house, flaky) = House::flaky(Scripted::new()).await;
        house.vendor.on_submit("c1", first);
        flaky.lose_take_back.store(true, Ordering::SeqCst);
        let job = house.upgrade("c1").await;
        assert_eq!(house.ended(job.id).await.status.state, JobState::Succeeded, "{what}");
        assert!(!flaky.lose_take_back.load(Ordering::SeqCst), "{what}: no answer was lost");
        assert!(!flaky.doubted_unsent.load(Ordering::SeqCst), "{what}");
        assert_eq!(house.vendor.starts("c1"), 1, "{what}");
        let events = house.store.job_events(job.id, 0, 100).await.unwrap();
        assert!(
            events.iter().all(|e| !e
                .status
                .vendor
                .last_error
                .as_deref()
                .is_some_and(|t| t.contains("cannot take"))),
            "{what}: a step that was not possible was tried"
        );
    }
}

#[tokio::test]
async fn one_job_that_the_store_refuses_stops_no_other() {
    let (house, flaky) = House::flaky(Scripted::new()).await;
    house.vendor.state.lock().unwrap().endless = true;
    let jobs = house.start(vec![upgrade("c1"), upgrade("c2"), upgrade("c3")]).await.unwrap();
    let jobs: Vec<_> = jobs.into_iter().map(|job| job.unwrap().job.id).collect();
    for job in &jobs {
        house.in_state(*job, JobState::Running).await;
    }
    *flaky.refuse.lock().unwrap() = Some(jobs[1]);
    house.vendor.state.lock().unwrap().endless = false;
    for job in [jobs[0], jobs[2]] {
        assert_eq!(house.ended(job).await.status.state, JobState::Succeeded);
    }
    assert_eq!(house.engine.job(jobs[1]).await.unwrap().status.state, JobState::Running);
}
