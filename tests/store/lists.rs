//! Lists: every job that matches, once, in order, by pages.

use std::sync::Arc;

use drydock::domain::id::JobId;
use drydock::domain::job::Job;
use drydock::domain::operation::{Operation, OperationKind, Reinstall, ScheduledUpgrade};
use drydock::domain::page::PageRequest;
use drydock::domain::state::JobState;
use drydock::store::contract::{JobFilter, NewJob};
use drydock::store::{Store, StoreError};

use crate::fixture::*;

/// The ids of a whole list, read by pages of `size`.
async fn list(store: &Arc<dyn Store>, filter: &JobFilter, size: u32) -> Vec<JobId> {
    let mut found = Vec::new();
    let mut page = PageRequest { size, token: None };
    loop {
        let jobs = store.jobs(filter, &page).await.unwrap();
        assert!(jobs.items.len() <= size as usize);
        assert!(jobs.next.is_none() || jobs.items.len() == size as usize, "only the last page is short");
        found.extend(jobs.items.iter().map(|job| job.id));
        match jobs.next {
            Some(token) => page.token = Some(token),
            None => return found,
        }
    }
}

/// Forty jobs of three providers, all kinds, several states, labels and times, some at the same moment.
async fn forty(store: &Arc<dyn Store>) -> Vec<Job> {
    let wanted: Vec<NewJob> = (0..40)
        .map(|n| {
            let provider = ["vc", "zs", "hw"][(n % 3) as usize];
            let mut job = new_job(n, &format!("{provider}/c{}", n / 2));
            job.spec.create_time = at(n / 3);
            job.spec.operation = match n % 4 {
                0 => Operation::Reinstall(Reinstall::default()),
                1 => Operation::ScheduledUpgrade(ScheduledUpgrade::default()),
                _ => job.spec.operation,
            };
            job.spec.labels.extend([("n".to_owned(), (n % 5).to_string())]);
            job.queue = Some(9);
            job
        })
        .collect();
    let made = create(store, wanted).await;
    let states = [JobState::Running, JobState::Succeeded, JobState::Failed, JobState::Pending];
    let changes =
        made.iter().zip(states.into_iter().cycle()).map(|(job, state)| change(job, state)).collect();
    store.write(changes, None).await.unwrap().into_iter().map(Result::unwrap).collect()
}

/// What a list of `filter` must be, by plain reasoning over all jobs.
fn expected(all: &[Job], filter: &JobFilter) -> Vec<JobId> {
    let matches = |job: &&Job| {
        let spec = &job.spec;
        (filter.jobs.is_empty() || filter.jobs.contains(&job.id))
            && (filter.providers.is_empty() || filter.providers.contains(&spec.target.provider))
            && (filter.targets.is_empty() || filter.targets.contains(&spec.target))
            && (filter.states.is_empty() || filter.states.contains(&job.status.state))
            && (filter.operations.is_empty() || filter.operations.contains(&spec.operation.kind()))
            && filter.labels.iter().all(|(key, value)| spec.labels.get(key) == Some(value))
            && filter.created_after.is_none_or(|at| spec.create_time >= at)
            && filter.created_before.is_none_or(|at| spec.create_time < at)
    };
    let mut found: Vec<_> = all.iter().filter(matches).map(|job| (job.spec.create_time, job.id)).collect();
    found.sort();
    if !filter.oldest_first {
        found.reverse();
    }
    found.into_iter().map(|(_, id)| id).collect()
}

/// Checks a filter in both directions and by pages of several sizes.
async fn check(store: &Arc<dyn Store>, all: &[Job], filter: JobFilter) -> usize {
    let mut matched = 0;
    for oldest_first in [false, true] {
        let filter = JobFilter { oldest_first, ..filter.clone() };
        let expected = expected(all, &filter);
        matched = expected.len();
        for size in [1, 7, 1000] {
            assert_eq!(list(store, &filter, size).await, expected, "{size} {filter:?}");
        }
    }
    matched
}

/// One filter of each kind.
fn single() -> Vec<JobFilter> {
    let none = JobFilter::default;
    let between = jiff::Timestamp::from_nanosecond(at(5).as_nanosecond() + 1).unwrap();
    vec![
        JobFilter { jobs: vec![id(3), id(17), id(99)], ..none() },
        JobFilter { providers: vec![provider("zs")], ..none() },
        JobFilter { providers: vec![provider("zs"), provider("hw"), provider("zs")], ..none() },
        JobFilter { targets: vec![target("vc/c0"), target("zs/c2"), target("hw/none")], ..none() },
        JobFilter { states: vec![JobState::Running], ..none() },
        JobFilter { states: vec![JobState::Succeeded, JobState::Failed], ..none() },
        JobFilter { operations: vec![OperationKind::Reinstall], ..none() },
        JobFilter { operations: vec![OperationKind::Upgrade, OperationKind::ScheduledUpgrade], ..none() },
        JobFilter { labels: [("n".to_owned(), "2".to_owned())].into(), ..none() },
        JobFilter {
            labels: [("n".to_owned(), "2".to_owned()), ("team".to_owned(), "harbour".to_owned())].into(),
            ..none()
        },
        JobFilter { created_after: Some(at(5)), ..none() },
        JobFilter { created_after: Some(between), ..none() },
        JobFilter { created_before: Some(at(5)), ..none() },
        JobFilter { created_before: Some(between), ..none() },
        JobFilter { created_after: Some(at(2)), created_before: Some(at(9)), ..none() },
    ]
}

pub async fn pages_are_complete_and_in_order(backend: &impl Backend) {
    let store = backend.open().await;
    assert_eq!(list(&store, &JobFilter::default(), 5).await, []);
    let all = forty(&store).await;
    assert_eq!(check(&store, &all, JobFilter::default()).await, 40);
    let page = store.jobs(&JobFilter::default(), &PageRequest::default()).await.unwrap();
    let mut newest: Vec<_> = all;
    newest.sort_by_key(|job| std::cmp::Reverse((job.spec.create_time, job.id)));
    assert_eq!(page.items, newest, "a list gives whole jobs");
}

pub async fn pages_are_stable_under_inserts(backend: &impl Backend) {
    let store = backend.open().await;
    create(&store, (0..10).map(|n| new_job(n, &format!("vc/c{n}"))).collect()).await;
    let newest_first = JobFilter::default();
    let first = store.jobs(&newest_first, &PageRequest { size: 4, token: None }).await.unwrap();
    assert_eq!(first.items.iter().map(|j| j.id).collect::<Vec<_>>(), [id(9), id(8), id(7), id(6)]);

    // New jobs at the head, and a change of one that was given, neither repeat nor hide another.
    create(&store, (10..15).map(|n| new_job(n, &format!("vc/c{n}"))).collect()).await;
    end(&store, &first.items[3]).await;
    let rest = store.jobs(&newest_first, &PageRequest { size: 100, token: first.next }).await.unwrap();
    assert_eq!(rest.items.iter().map(|j| j.id).collect::<Vec<_>>(), (0..6).rev().map(id).collect::<Vec<_>>());
    assert_eq!(rest.next, None);
}

pub async fn every_filter_matches_what_it_says(backend: &impl Backend) {
    let store = backend.open().await;
    let all = forty(&store).await;
    for filter in single() {
        let matched = check(&store, &all, filter.clone()).await;
        assert!((1..40).contains(&matched), "the filter should match some and not all: {filter:?}");
    }
}

pub async fn filters_combine(backend: &impl Backend) {
    let store = backend.open().await;
    let all = forty(&store).await;
    let filters = single();
    let mut matched = 0;
    for a in &filters {
        for b in &filters {
            let both = JobFilter {
                jobs: pick(&a.jobs, &b.jobs),
                providers: pick(&a.providers, &b.providers),
                targets: pick(&a.targets, &b.targets),
                states: pick(&a.states, &b.states),
                operations: pick(&a.operations, &b.operations),
                labels: if a.labels.is_empty() { b.labels.clone() } else { a.labels.clone() },
                created_after: a.created_after.or(b.created_after),
                created_before: a.created_before.or(b.created_before),
                oldest_first: false,
            };
            let expected = expected(&all, &both);
            matched += usize::from(!expected.is_empty());
            assert_eq!(list(&store, &both, 6).await, expected, "{both:?}");
        }
    }
    assert!(matched > 100, "{matched} combinations matched anything");
}

fn pick<T: Clone>(a: &[T], b: &[T]) -> Vec<T> {
    if a.is_empty() { b.to_vec() } else { a.to_vec() }
}

pub async fn a_token_fits_only_its_list(backend: &impl Backend) {
    let store = backend.open().await;
    forty(&store).await;
    let filter = JobFilter { providers: vec![provider("vc")], ..JobFilter::default() };
    let page = store.jobs(&filter, &PageRequest { size: 2, token: None }).await.unwrap();
    let token = page.next.unwrap();
    let with = |token: &str| PageRequest { size: 9, token: Some(token.to_owned()) };
    // Another page size continues the same list.
    assert_eq!(store.jobs(&filter, &with(&token)).await.unwrap().items.len(), 9);

    let other = JobFilter { providers: vec![provider("zs")], ..JobFilter::default() };
    let turned = JobFilter { oldest_first: true, ..filter.clone() };
    for (filter, token) in [(&other, token.as_str()), (&turned, &token), (&filter, "nonsense"), (&filter, "")]
    {
        let answer = store.jobs(filter, &with(token)).await;
        assert!(matches!(answer, Err(StoreError::BadPageToken)), "{answer:?}");
    }
}

pub async fn many_values_give_the_same_list(backend: &impl Backend) {
    let store = backend.open().await;
    let all = forty(&store).await;
    // More values than can be merged one by one.
    let mut targets: Vec<_> = (0..300).map(|n| target(&format!("vc/none{n}"))).collect();
    targets.extend(all.iter().map(|job| job.spec.target.clone()).filter(|t| *t.provider.as_str() == *"zs"));
    let many = JobFilter { targets, ..JobFilter::default() };
    assert_eq!(check(&store, &all, many).await, 13);
    let jobs = (0..1000).map(id).collect();
    assert_eq!(check(&store, &all, JobFilter { jobs, ..JobFilter::default() }).await, 40);
}

pub async fn live_jobs_come_by_provider_in_id_order(backend: &impl Backend) {
    let store = backend.open().await;
    let all = forty(&store).await;
    let mut expected: Vec<_> = all
        .into_iter()
        .filter(|job| !job.status.state.is_ended() && job.spec.target.provider == provider("zs"))
        .collect();
    expected.sort_by_key(|job| job.id);
    let mut found: Vec<Job> = Vec::new();
    loop {
        let some = store.live_jobs(&provider("zs"), found.last().map(|j| j.id), 3).await.unwrap();
        assert!(some.len() <= 3);
        if some.is_empty() {
            break;
        }
        found.extend(some);
    }
    assert_eq!(found, expected);
    assert!(store.live_jobs(&provider("nobody"), None, 3).await.unwrap().is_empty());
}

pub async fn live_jobs_are_counted(backend: &impl Backend) {
    let store = backend.open().await;
    assert_eq!(store.count_live().await.unwrap(), []);
    let all = forty(&store).await;
    let mut expected = std::collections::BTreeMap::new();
    for job in all.iter().filter(|job| !job.status.state.is_ended()) {
        *expected.entry((job.spec.target.provider.clone(), job.status.state)).or_insert(0) += 1;
    }
    let found = store.count_live().await.unwrap();
    assert_eq!(found.len(), expected.len());
    assert_eq!(
        found.into_iter().map(|(p, s, n)| ((p, s), n)).collect::<std::collections::BTreeMap<_, _>>(),
        expected
    );
}
