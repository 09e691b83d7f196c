//! Changing jobs.

use drydock::domain::job::{Handle, Job, PasswordState};
use drydock::domain::state::JobState;
use drydock::store::StoreError;
use drydock::store::contract::Change;

use crate::fixture::*;

pub async fn a_change_is_read_back(backend: &impl Backend) {
    let store = backend.open().await;
    let job = create_one(&store, new_job(1, "vc/a")).await;
    let mut wanted = change(&job, JobState::Running);
    wanted.control.handle = Some(Handle("{\"task\":\"t-1\"}".to_owned()));
    wanted.control.attempts = 1;
    let written = write_one(&store, wanted.clone()).await.unwrap();
    assert_eq!((&written.status, &written.control), (&wanted.status, &wanted.control));
    assert_eq!((written.version, written.sequence), (2, 2));
    assert_eq!(written.spec, job.spec);
    assert_eq!(store.job(job.id).await.unwrap(), Some(written.clone()));
    store.close().await;
    assert_eq!(backend.open().await.job(job.id).await.unwrap(), Some(written));
}

pub async fn a_stale_write_changes_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let job = create_one(&store, new_job(1, "vc/a")).await;
    let written = write_one(&store, change(&job, JobState::Checking)).await.unwrap();
    let mut late = change(&job, JobState::Failed);
    late.erase_password = true;
    let answer = write_one(&store, late).await;
    assert!(matches!(answer, Err(StoreError::Stale(stale)) if stale == job.id), "{answer:?}");
    let mut ahead = change(&written, JobState::Failed);
    ahead.version = u64::MAX;
    assert!(matches!(write_one(&store, ahead).await, Err(StoreError::Stale(_))));
    assert_eq!(store.job(job.id).await.unwrap(), Some(written));
}

pub async fn a_missing_job_is_told(backend: &impl Backend) {
    let store = backend.open().await;
    let mut job = create_one(&store, new_job(1, "vc/a")).await;
    job.id = id(2);
    let answer = write_one(&store, change(&job, JobState::Running)).await;
    assert!(matches!(answer, Err(StoreError::Missing(missing)) if missing == id(2)), "{answer:?}");
}

pub async fn one_bad_entry_harms_no_other(backend: &impl Backend) {
    let store = backend.open().await;
    let made = create(&store, vec![new_job(1, "vc/a"), new_job(2, "vc/b"), new_job(3, "vc/c")]).await;
    let mut changes: Vec<_> = made.iter().map(|job| change(job, JobState::Running)).collect();
    changes[1].version = 9;
    let answers = store.write(changes, None).await.unwrap();
    assert!(matches!(answers[1], Err(StoreError::Stale(_))), "{answers:?}");
    for place in [0, 2] {
        let written = answers[place].as_ref().unwrap();
        assert_eq!(store.job(made[place].id).await.unwrap().as_ref(), Some(written));
        assert_eq!(written.status.state, JobState::Running);
    }
    assert_eq!(store.job(made[1].id).await.unwrap().as_ref(), Some(&made[1]));
}

pub async fn an_ended_job_frees_its_target(backend: &impl Backend) {
    let store = backend.open().await;
    for (n, state) in (1..).zip(JobState::ALL.into_iter().filter(|state| state.is_ended())) {
        let job = create_one(&store, new_job(n, "vc/a")).await;
        let mut last = change(&job, state);
        last.control.holds_target = true;
        let ended = write_one(&store, last).await.unwrap();
        assert!(!ended.control.holds_target, "{state:?}");
        assert_eq!(store.job(job.id).await.unwrap(), Some(ended));
    }
    let job = create_one(&store, new_job(100, "vc/a")).await;
    write_one(&store, change(&job, JobState::Indeterminate)).await.unwrap();
    let busy = try_one(&store, jobs(vec![new_job(101, "vc/a")])).await;
    assert!(matches!(busy, Err(StoreError::TargetBusy { .. })), "an indeterminate job keeps its target");
}

/// One job that holds `vc/a`, one that waits for it.
async fn two(store: &std::sync::Arc<dyn drydock::store::Store>) -> [drydock::domain::job::Job; 2] {
    let holder = create_one(store, new_job(1, "vc/a")).await;
    let mut waits = new_job(2, "vc/a");
    waits.queue = Some(5);
    [holder, create_one(store, waits).await]
}

fn taking(job: &drydock::domain::job::Job) -> drydock::store::contract::Change {
    let mut take = change(job, JobState::Pending);
    take.control.holds_target = true;
    take
}

pub async fn a_queued_job_takes_the_free_target(backend: &impl Backend) {
    let store = backend.open().await;
    let [holder, waits] = two(&store).await;
    let refused = write_one(&store, taking(&waits)).await;
    assert!(
        matches!(refused, Err(StoreError::TargetBusy { holder: by, .. }) if by == holder.id),
        "{refused:?}"
    );
    assert_eq!(store.job(waits.id).await.unwrap().as_ref(), Some(&waits));

    end(&store, &holder).await;
    let promoted = write_one(&store, taking(&waits)).await.unwrap();
    assert!(promoted.control.holds_target);
    assert_eq!(store.job(waits.id).await.unwrap(), Some(promoted));
}

pub async fn a_target_is_not_taken_twice(backend: &impl Backend) {
    let store = backend.open().await;
    let [holder, waits] = two(&store).await;
    let mut third = new_job(3, "vc/a");
    third.queue = Some(5);
    let third = create_one(&store, third).await;
    end(&store, &holder).await;
    let answers = store.write(vec![taking(&waits), taking(&third)], None).await.unwrap();
    assert!(answers[0].is_ok(), "{answers:?}");
    assert!(
        matches!(answers[1], Err(StoreError::TargetBusy { holder, .. }) if holder == waits.id),
        "{answers:?}"
    );
}

pub async fn who_waits_longest_comes_first(backend: &impl Backend) {
    let store = backend.open().await;
    let [holder, waits] = two(&store).await;
    let mut third = new_job(3, "vc/a");
    third.queue = Some(5);
    let third = create_one(&store, third).await;
    end(&store, &holder).await;
    let answers = store.write(vec![taking(&third), taking(&waits)], None).await.unwrap();
    assert!(
        matches!(answers[0], Err(StoreError::TargetBusy { holder, .. }) if holder == waits.id),
        "{answers:?}"
    );
    assert!(answers[1].is_ok(), "{answers:?}");
}

pub async fn a_target_changes_hands_in_one_write(backend: &impl Backend) {
    let store = backend.open().await;
    let [holder, waits] = two(&store).await;
    let answers = store.write(vec![change(&holder, JobState::Failed), taking(&waits)], None).await.unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(store.job(waits.id).await.unwrap().unwrap().control.holds_target);
    assert!(!store.job(holder.id).await.unwrap().unwrap().control.holds_target);
}

/// Two moves of a job, the second on the version that the first makes.
fn two_moves(job: &Job) -> Vec<Change> {
    let first = change(job, JobState::Checking);
    let mut second = change(job, JobState::Submitting);
    second.version += 1;
    second.event.as_mut().unwrap().message = "and on".to_owned();
    vec![first, second]
}

pub async fn a_job_moves_twice_in_one_write(backend: &impl Backend) {
    let store = backend.open().await;
    let job = create_one(&store, new_job(1, "vc/a")).await;
    let answers = store.write(two_moves(&job), None).await.unwrap();
    let moved: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let stands = |job: &Job| (job.version, job.sequence, job.status.state);
    assert_eq!(stands(&moved[0]), (2, 2, JobState::Checking));
    assert_eq!(stands(&moved[1]), (3, 3, JobState::Submitting));
    assert_eq!(store.job(job.id).await.unwrap().as_ref(), Some(&moved[1]));
    let events = store.events(1, 10).await.unwrap();
    let told: Vec<_> = events.iter().map(|e| (e.sequence, e.commit, e.status.state)).collect();
    assert_eq!(told, [(2, 2, JobState::Checking), (3, 2, JobState::Submitting)]);
    assert_eq!(events[1].message, "and on");
}

pub async fn what_follows_a_stale_change_is_stale_too(backend: &impl Backend) {
    let store = backend.open().await;
    let job = create_one(&store, new_job(1, "vc/a")).await;
    let cancelled = write_one(&store, change(&job, JobState::Cancelled)).await.unwrap();
    let answers = store.write(two_moves(&job), None).await.unwrap();
    // The second names the version that the cancel made; it must not be taken for that.
    assert!(matches!(answers[0], Err(StoreError::Stale(_))), "{answers:?}");
    assert!(matches!(answers[1], Err(StoreError::Stale(_))), "{answers:?}");
    assert_eq!(store.job(job.id).await.unwrap(), Some(cancelled));
}

pub async fn a_change_without_event_is_silent(backend: &impl Backend) {
    let store = backend.open().await;
    let job = create_one(&store, new_job(1, "vc/a")).await;
    let mut quiet = change(&job, JobState::Pending);
    quiet.event = None;
    quiet.control.attempts = 4;
    let written = write_one(&store, quiet).await.unwrap();
    assert_eq!((written.version, written.sequence, written.control.attempts), (2, 1, 4));
    assert_eq!(store.job(job.id).await.unwrap(), Some(written));
    assert_eq!(store.events(0, 10).await.unwrap().len(), 1);
}

pub async fn a_password_is_kept_until_erased(backend: &impl Backend) {
    let store = backend.open().await;
    let mut wanted = new_job(1, "vc/a");
    wanted.sealed_password = Some(b"sealed".to_vec());
    wanted.control.password = PasswordState::Sealed;
    let job = create_one(&store, wanted).await;
    let kept = write_one(&store, change(&job, JobState::Submitting)).await.unwrap();
    assert_eq!(store.sealed_password(job.id).await.unwrap(), Some(b"sealed".to_vec()));

    let mut erase = change(&kept, JobState::Running);
    erase.erase_password = true;
    write_one(&store, erase).await.unwrap();
    assert_eq!(store.sealed_password(job.id).await.unwrap(), None);
    assert_eq!(store.sealed_password(id(2)).await.unwrap(), None);
}
