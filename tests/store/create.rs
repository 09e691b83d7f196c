//! Accepting jobs.

use drydock::domain::job::Job;
use drydock::domain::state::JobState;
use drydock::store::StoreError;
use drydock::store::contract::NewJob;

use crate::fixture::*;

pub async fn what_was_accepted_is_read_back(backend: &impl Backend) {
    let store = backend.open().await;
    let wanted = new_job(1, "vc/a");
    let job = create_one(&store, wanted.clone()).await;
    assert_eq!((job.id, &job.spec, &job.status), (wanted.id, &wanted.spec, &wanted.status));
    assert_eq!((job.version, job.sequence, job.control.holds_target), (1, 1, true));
    assert_eq!(store.job(job.id).await.unwrap(), Some(job));
    assert_eq!(store.job(id(2)).await.unwrap(), None);
}

pub async fn accepted_jobs_survive_a_restart(backend: &impl Backend) {
    let store = backend.open().await;
    let mut secret = new_job(1, "vc/a");
    secret.sealed_password = Some(vec![7; 40]);
    let job = create_one(&store, secret).await;
    let (name, events) = (store.id(), store.events(0, 10).await.unwrap());
    store.close().await;

    let store = backend.open().await;
    assert_eq!(store.id(), name);
    assert_eq!(store.job(job.id).await.unwrap(), Some(job.clone()));
    assert_eq!(store.events(0, 10).await.unwrap(), events);
    assert_eq!(store.sealed_password(job.id).await.unwrap(), Some(vec![7; 40]));
    assert!(matches!(
        try_one(&store, jobs(vec![new_job(2, "vc/a")])).await,
        Err(StoreError::TargetBusy { holder, .. }) if holder == job.id
    ));
}

pub async fn a_busy_target_refuses_and_names_the_holder(backend: &impl Backend) {
    let store = backend.open().await;
    let holder = create_one(&store, new_job(1, "vc/a")).await;
    let answers = store.create(jobs(vec![new_job(2, "vc/b"), new_job(3, "vc/a")])).await.unwrap();
    assert_eq!(answers[0].as_ref().unwrap().job.id, id(2));
    let Err(StoreError::TargetBusy { target: busy, holder: by }) = &answers[1] else { panic!("{answers:?}") };
    assert_eq!((busy, *by), (&target("vc/a"), holder.id));
    assert_eq!(store.job(id(3)).await.unwrap(), None);
}

pub async fn a_second_job_queues_up_to_the_bound(backend: &impl Backend) {
    let store = backend.open().await;
    let queued = |n| {
        let mut job = new_job(n, "vc/a");
        job.queue = Some(2);
        jobs(vec![job])
    };
    let holds = |accepted: drydock::store::contract::Accepted| accepted.job.control.holds_target;
    assert!(holds(try_one(&store, queued(1)).await.unwrap()), "a free target is taken at once");
    assert!(!holds(try_one(&store, queued(2)).await.unwrap()));
    assert!(!holds(try_one(&store, queued(3)).await.unwrap()));
    let full = try_one(&store, queued(4)).await;
    assert!(matches!(full, Err(StoreError::QueueFull { waiting: 2, .. })), "{full:?}");

    // One that waits no longer makes room.
    let waiting = store.job(id(3)).await.unwrap().unwrap();
    write_one(&store, change(&waiting, JobState::Cancelled)).await.unwrap();
    assert!(!holds(try_one(&store, queued(5)).await.unwrap()));
}

pub async fn nobody_overtakes_the_waiting(backend: &impl Backend) {
    let store = backend.open().await;
    let holder = create_one(&store, new_job(1, "vc/a")).await;
    let mut waits = new_job(2, "vc/a");
    waits.queue = Some(9);
    create_one(&store, waits).await;
    end(&store, &holder).await;

    // The target is free, but the next in line has not taken it yet.
    let refused = try_one(&store, jobs(vec![new_job(3, "vc/a")])).await;
    assert!(matches!(refused, Err(StoreError::TargetBusy { holder, .. }) if holder == id(2)), "{refused:?}");
    let mut later = new_job(4, "vc/a");
    later.queue = Some(9);
    assert!(!create_one(&store, later).await.control.holds_target);
}

pub async fn one_request_cannot_take_a_target_twice(backend: &impl Backend) {
    let store = backend.open().await;
    let answers = store.create(jobs(vec![new_job(1, "vc/a"), new_job(2, "vc/a")])).await.unwrap();
    assert!(answers[0].is_ok());
    assert!(
        matches!(answers[1], Err(StoreError::TargetBusy { holder, .. }) if holder == id(1)),
        "{answers:?}"
    );
}

pub async fn the_same_request_answers_the_same_jobs(backend: &impl Backend) {
    let store = backend.open().await;
    assert!(!store.knows_request(key(5)).await.unwrap());
    let first = store.create(keyed(key(5), 1, vec![new_job(1, "vc/a"), new_job(2, "vc/b")])).await.unwrap();
    assert!(store.knows_request(key(5)).await.unwrap());
    assert!(!store.knows_request(key(6)).await.unwrap());
    store.close().await;

    // New ids, as a second call makes them; also after a restart.
    let store = backend.open().await;
    let again = store.create(keyed(key(5), 1, vec![new_job(8, "vc/a"), new_job(9, "vc/b")])).await.unwrap();
    for (first, again) in first.into_iter().zip(again) {
        let (first, again) = (first.unwrap(), again.unwrap());
        assert!(!first.reused && again.reused);
        assert_eq!(first.job, again.job);
    }
    assert_eq!(store.job(id(8)).await.unwrap(), None);
    assert_eq!(store.events(0, 10).await.unwrap().len(), 2, "a replay tells nothing new");
}

pub async fn a_replay_after_the_end_starts_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let first = try_one(&store, keyed(key(5), 1, vec![new_job(1, "vc/a")])).await.unwrap();
    let ended = end(&store, &first.job).await;
    let again = try_one(&store, keyed(key(5), 1, vec![new_job(2, "vc/a")])).await.unwrap();
    assert!(again.reused);
    assert_eq!(again.job, ended);
}

pub async fn a_key_for_something_else_is_refused(backend: &impl Backend) {
    let store = backend.open().await;
    try_one(&store, keyed(key(5), 1, vec![new_job(1, "vc/a")])).await.unwrap();
    let other = store.create(keyed(key(5), 2, vec![new_job(2, "vc/b")])).await;
    assert!(matches!(other, Err(StoreError::RequestReused(id)) if id == key(5)), "{other:?}");
    assert_eq!(store.job(id(2)).await.unwrap(), None);
}

pub async fn what_made_no_job_is_tried_anew(backend: &impl Backend) {
    let store = backend.open().await;
    let holder = create_one(&store, new_job(1, "vc/b")).await;
    let request = |a, b| keyed(key(5), 1, vec![new_job(a, "vc/a"), new_job(b, "vc/b")]);
    let first = store.create(request(2, 3)).await.unwrap();
    assert!(first[0].is_ok() && matches!(first[1], Err(StoreError::TargetBusy { .. })), "{first:?}");
    end(&store, &holder).await;

    let again = store.create(request(4, 5)).await.unwrap();
    let [Ok(old), Ok(new)] = &again[..] else { panic!("{again:?}") };
    assert_eq!((old.job.id, old.reused), (id(2), true));
    assert_eq!((new.job.id, new.reused), (id(5), false));
}

pub async fn places_in_a_request_are_kept_apart(backend: &impl Backend) {
    // The first call left the request's place 0 out (its provider was unknown), the second does not.
    let store = backend.open().await;
    let mut first = keyed(key(5), 1, vec![new_job(1, "vc/a"), new_job(2, "vc/b")]);
    first.jobs.remove(0);
    try_one(&store, first).await.unwrap();

    let again = store.create(keyed(key(5), 1, vec![new_job(3, "vc/a"), new_job(4, "vc/b")])).await.unwrap();
    let [Ok(new), Ok(old)] = &again[..] else { panic!("{again:?}") };
    assert_eq!((new.job.id, new.reused), (id(3), false));
    assert_eq!((old.job.id, old.reused), (id(2), true));
}

pub async fn a_job_that_is_born_ended_holds_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let holder = create_one(&store, new_job(1, "vc/a")).await;
    let mut rejected = new_job(2, "vc/a");
    rejected.status = status(JobState::Rejected, 2);
    rejected.control.holds_target = true;
    let rejected = create_one(&store, rejected).await;
    assert!(!rejected.control.holds_target);
    assert_eq!(store.job(rejected.id).await.unwrap(), Some(rejected));
    assert_eq!(store.live_jobs(&provider("vc"), None, 10).await.unwrap(), [holder]);
}

pub async fn an_id_made_twice_harms_only_itself(backend: &impl Backend) {
    let store = backend.open().await;
    create_one(&store, new_job(1, "vc/a")).await;
    let answers = store.create(jobs(vec![new_job(1, "vc/b"), new_job(2, "vc/c")])).await.unwrap();
    assert!(matches!(answers[0], Err(StoreError::Corrupt(_))), "{answers:?}");
    assert!(answers[1].is_ok());
    assert_eq!(store.job(id(1)).await.unwrap().unwrap().spec.target, target("vc/a"));
}

/// A job on `place` and, beside it, a change of `old` that names it.
fn beside(n: u64, place: &str, old: &Job) -> NewJob {
    let mut change = change(old, old.status.state);
    change.status.retried_by = Some(id(n));
    let mut new = new_job(n, place);
    new.spec.retry_of = Some(old.id);
    new.beside = Some(change);
    new
}

pub async fn a_change_beside_a_job_is_of_the_same_commit(backend: &impl Backend) {
    let store = backend.open().await;
    let old = create_one(&store, new_job(1, "vc/a")).await;
    let old = end(&store, &old).await;
    let before = *store.newest_position().borrow();
    let new = create_one(&store, beside(2, "vc/a", &old)).await;
    store.close().await;

    let store = backend.open().await;
    let after = store.job(old.id).await.unwrap().unwrap();
    assert_eq!((after.status.retried_by, after.version), (Some(new.id), old.version + 1));
    assert_eq!((after.status.state, after.control.holds_target), (JobState::Succeeded, false));
    assert_eq!(store.job(new.id).await.unwrap().unwrap().spec.retry_of, Some(old.id));
    let events = store.events(before, 10).await.unwrap();
    let told: Vec<_> = events.iter().map(|e| (e.job, e.sequence, e.commit, e.about.retry_of)).collect();
    let commit = before + 1;
    assert_eq!(told, [(old.id, after.sequence, commit, None), (new.id, 1, commit, Some(old.id))]);
}

pub async fn what_makes_no_job_changes_nothing_beside_it(backend: &impl Backend) {
    let store = backend.open().await;
    let old = create_one(&store, new_job(1, "vc/a")).await;
    let old = end(&store, &old).await;
    let holder = create_one(&store, new_job(2, "vc/a")).await;
    let request = |n| keyed(key(5), 1, vec![beside(n, "vc/a", &old)]);
    let refused = try_one(&store, request(3)).await;
    assert!(matches!(refused, Err(StoreError::TargetBusy { .. })), "{refused:?}");
    assert_eq!(store.job(old.id).await.unwrap(), Some(old.clone()));

    // Tried anew under the same key, then repeated: the first is made, the second is answered.
    end(&store, &holder).await;
    let made = try_one(&store, request(4)).await.unwrap();
    assert!(!made.reused);
    let changed = store.job(old.id).await.unwrap();
    let again = try_one(&store, request(5)).await.unwrap();
    assert_eq!((again.reused, again.job.id), (true, id(4)));
    assert_eq!(store.job(old.id).await.unwrap(), changed);
    let unknown = Job { id: id(99), ..old };
    let missing = try_one(&store, jobs(vec![beside(6, "vc/b", &unknown)])).await;
    assert!(matches!(missing, Err(StoreError::Missing(job)) if job == id(99)), "{missing:?}");
    assert_eq!(store.job(id(6)).await.unwrap(), None);
}

pub async fn of_two_jobs_beside_one_change_one_is_made(backend: &impl Backend) {
    let store = backend.open().await;
    let old = create_one(&store, new_job(1, "vc/a")).await;
    let old = end(&store, &old).await;
    let (one, other) = tokio::join!(
        try_one(&store, jobs(vec![beside(2, "vc/b", &old)])),
        try_one(&store, jobs(vec![beside(3, "vc/c", &old)])),
    );
    let made = match (one, other) {
        (Ok(made), Err(StoreError::Stale(stale))) | (Err(StoreError::Stale(stale)), Ok(made)) => {
            assert_eq!(stale, old.id);
            made.job.id
        }
        both => panic!("{both:?}"),
    };
    assert_eq!(store.job(old.id).await.unwrap().unwrap().status.retried_by, Some(made));
    assert_eq!(store.live_jobs(&provider("vc"), None, 10).await.unwrap().len(), 1);
}
