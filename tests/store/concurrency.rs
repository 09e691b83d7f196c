//! Many callers at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use drydock::domain::job::Job;
use drydock::domain::state::JobState;
use drydock::store::retention::{Step, Through};
use drydock::store::{Store, StoreError};
use futures_util::future::join_all;
use tokio::task::JoinSet;

use crate::fixture::*;

pub async fn many_callers_lose_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let mut callers = JoinSet::new();
    for n in 0..64 {
        let store = Arc::clone(&store);
        callers.spawn(async move {
            let mut job = create_one(&store, new_job(n, &format!("vc/c{n}"))).await;
            for state in [JobState::Checking, JobState::Running, JobState::Succeeded] {
                job = write_one(&store, change(&job, state)).await.unwrap();
                // What was answered can be read, by anyone, at once.
                assert_eq!(store.job(job.id).await.unwrap().as_ref(), Some(&job));
            }
            job
        });
    }
    let ended = callers.join_all().await;
    let events = all_events(&store, 10).await;
    assert_eq!(events.len(), 64 * 4);
    assert!(events.is_sorted_by(|a, b| a.position < b.position));
    let numbers: BTreeSet<_> = events.iter().map(|e| (e.job, e.sequence)).collect();
    assert_eq!(numbers.len(), 64 * 4);
    store.close().await;

    let store = backend.open().await;
    for job in ended {
        assert_eq!(store.job(job.id).await.unwrap(), Some(job));
    }
}

/// What is shown of a job: its version, and its sequence.
fn versions(job: &Job) -> Bytes {
    format!("{} {}", job.version, job.sequence).into()
}

async fn shown(store: &Arc<dyn Store>, n: u64) -> Option<u64> {
    let shown = store.shown(id(n), versions).await.unwrap()?;
    let text = String::from_utf8(shown.to_vec()).unwrap();
    Some(text.split_once(' ').unwrap().0.parse().unwrap())
}

/// Whoever asks is shown nothing older than what anybody had read before, by whatever way, or was answered.
pub async fn nothing_old_is_shown(backend: &impl Backend) {
    const JOBS: u64 = 4;
    const WRITES: u64 = 60;
    let store = backend.open().await;
    for n in 0..JOBS {
        create_one(&store, new_job(n, &format!("vc/c{n}"))).await;
    }
    let mut tasks = JoinSet::new();
    let read: Arc<BTreeMap<u64, AtomicU64>> = Arc::new((0..JOBS).map(|n| (n, AtomicU64::new(1))).collect());
    for n in 0..JOBS {
        let (store, read) = (Arc::clone(&store), Arc::clone(&read));
        tasks.spawn(async move {
            let mut job = store.job(id(n)).await.unwrap().unwrap();
            for _ in 0..WRITES {
                job = write_one(&store, change(&job, JobState::Running)).await.unwrap();
                read[&n].fetch_max(job.version, Ordering::SeqCst);
                assert!(shown(&store, n).await.unwrap() >= job.version);
            }
            let last = change(&job, JobState::Succeeded);
            read[&n].fetch_max(write_one(&store, last).await.unwrap().version, Ordering::SeqCst);
        });
    }
    for reader in 0..6 {
        let (store, read) = (Arc::clone(&store), Arc::clone(&read));
        tasks.spawn(async move {
            while read.values().any(|version| version.load(Ordering::SeqCst) < WRITES + 2) {
                for n in 0..JOBS {
                    let known = read[&n].load(Ordering::SeqCst);
                    let now = match reader % 3 {
                        0 => store.job(id(n)).await.unwrap().unwrap().version,
                        _ => shown(&store, n).await.unwrap(),
                    };
                    assert!(now >= known, "version {now} was read after {known}");
                    read[&n].fetch_max(now, Ordering::SeqCst);
                }
                // Only what is asked for again can be old.
                tokio::task::yield_now().await;
            }
        });
    }
    tasks.join_all().await;
    for n in 0..JOBS {
        assert_eq!(shown(&store, n).await, Some(WRITES + 2));
    }
    store.purge(Through::ended_before(at(1_000_000)), Step { jobs: 10, events: 10_000 }).await.unwrap();
    for n in 0..JOBS {
        assert_eq!(shown(&store, n).await, None, "it was removed");
    }
    store.close().await;
}

pub async fn one_of_many_wins_a_target(backend: &impl Backend) {
    let store = backend.open().await;
    let answers = join_all((0..32).map(|n| try_one(&store, jobs(vec![new_job(n, "vc/a")])))).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let [Ok(winner)] = &won[..] else { panic!("{} won", won.len()) };
    for answer in lost {
        assert!(
            matches!(answer, Err(StoreError::TargetBusy { holder, .. }) if holder == winner.job.id),
            "{answer:?}"
        );
    }
}

pub async fn one_of_many_wins_a_version(backend: &impl Backend) {
    let store = backend.open().await;
    let job = create_one(&store, new_job(1, "vc/a")).await;
    let answers = join_all((0..32).map(|_| write_one(&store, change(&job, JobState::Running)))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(answers.iter().all(|a| matches!(a, Ok(_) | Err(StoreError::Stale(_)))), "{answers:?}");
    let now = store.job(job.id).await.unwrap().unwrap();
    assert_eq!((now.version, now.sequence), (2, 2));
}

pub async fn a_group_sees_its_earlier_writes(backend: &impl Backend) {
    let store = backend.open().await;
    // All asked before the first is answered, so most share a commit; each builds on the one before.
    let mut job = new_job(1, "vc/a");
    job.sealed_password = Some(b"sealed".to_vec());
    let mut seen = Job {
        id: job.id,
        spec: job.spec.clone(),
        status: job.status.clone(),
        control: job.control.clone(),
        version: 1,
        sequence: 1,
    };
    seen.control.holds_target = true;
    let run = change(&seen, JobState::Running);
    let mut finish = change(&seen, JobState::Succeeded);
    (finish.version, finish.erase_password) = (2, true);
    let late = change(&seen, JobState::Failed);
    let (warm_up, created, ran, finished, stale, next) = tokio::join!(
        try_one(&store, jobs(vec![new_job(9, "vc/z")])),
        try_one(&store, jobs(vec![job])),
        write_one(&store, run),
        write_one(&store, finish),
        write_one(&store, late),
        try_one(&store, jobs(vec![new_job(2, "vc/a")])),
    );
    warm_up.unwrap();
    assert_eq!(created.unwrap().job, seen);
    assert_eq!(ran.unwrap().version, 2);
    let finished = finished.unwrap();
    assert!(matches!(stale, Err(StoreError::Stale(_))), "{stale:?}");
    assert!(next.unwrap().job.control.holds_target, "the target was free by then");
    assert_eq!(store.job(seen.id).await.unwrap(), Some(finished));
    assert_eq!(store.sealed_password(seen.id).await.unwrap(), None);
    let told = store.job_events(seen.id, 0, 10).await.unwrap();
    let states: Vec<_> = told.iter().map(|e| e.status.state).collect();
    assert_eq!(states, [JobState::Pending, JobState::Running, JobState::Succeeded]);
    assert!(told.is_sorted_by(|a, b| a.commit < b.commit), "each write is a commit of its own to readers");
}

pub async fn one_key_makes_one_job(backend: &impl Backend) {
    let store = backend.open().await;
    let answers =
        join_all((0..32).map(|n| try_one(&store, keyed(key(5), 1, vec![new_job(n, "vc/a")])))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|accepted| !accepted.reused).count(), 1);
    assert!(answers.iter().all(|accepted| accepted.job == answers[0].job));
    assert_eq!(store.events(0, 10).await.unwrap().len(), 1);
}

pub async fn closing_finishes_what_was_let_in(backend: &impl Backend) {
    let store = backend.open().await;
    let call = |n: u64| {
        let store = Arc::clone(&store);
        async move { (n, try_one(&store, jobs(vec![new_job(n, &format!("vc/c{n}"))])).await) }
    };
    // Polled in this order: the first half is let in before the store closes.
    let (mut answers, (), late) =
        tokio::join!(join_all((0..32).map(call)), store.close(), join_all((32..64).map(call)));
    assert!(answers.iter().all(|(_, answer)| answer.is_ok()), "{answers:?}");
    answers.extend(late);

    // Each caller got the truth: written and there, or refused and not there.
    let store = backend.open().await;
    for (n, answer) in answers {
        let there = store.job(id(n)).await.unwrap();
        match answer {
            Ok(accepted) => assert_eq!(there, Some(accepted.job)),
            Err(StoreError::Unavailable(_)) => assert_eq!(there, None),
            Err(other) => panic!("{other:?}"),
        }
    }
}

pub async fn a_closed_store_says_so(backend: &impl Backend) {
    let store = backend.open().await;
    create_one(&store, new_job(1, "vc/a")).await;
    store.close().await;
    assert!(matches!(store.job(id(1)).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    let answer = store.create(jobs(vec![new_job(2, "vc/b")])).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
}

pub async fn a_store_that_works_answers_a_ping(backend: &impl Backend) {
    let store = backend.open().await;
    store.ping().await.unwrap();
    assert_eq!(*store.newest_position().borrow(), 0, "a ping is no event");
}
