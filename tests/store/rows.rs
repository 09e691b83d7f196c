//! What the writer remembers of rows is what the file holds, whatever happened before.

use std::sync::Arc;

use drydock::domain::finding::{Finding, Severity};
use drydock::domain::job::Job;
use drydock::domain::state::JobState;
use drydock::store::contract::Change;
use drydock::store::retention::{Step, Through};
use drydock::store::{Store, StoreError};
use proptest::prelude::*;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};

use crate::fixture::*;
use crate::sqlite::Sqlite;

/// An event with this message is refused by the file: a fault in the midst of a text.
const REFUSED: &str = "refused by the file";

/// One thing that is done to a store, each to one of a few jobs.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// A new job on a target of its own.
    Create,
    /// A job moves.
    Move(u8, JobState),
    /// It moves twice in one write.
    MoveTwice(u8, JobState, JobState),
    /// Only what is remembered of it changes.
    Remember(u8),
    /// It tells so much that nobody keeps it at hand.
    TellMuch(u8),
    /// Somebody writes on a version that is gone.
    Late(u8),
    /// It gives its target up, or takes it again.
    Hold(u8, bool),
    /// A write that fails half-way.
    Fail(u8),
    /// Jobs that ended go.
    Purge,
    /// The store is closed and opened.
    Restart,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let state = || {
        prop::sample::select(vec![
            JobState::Pending,
            JobState::Checking,
            JobState::Running,
            JobState::Succeeded,
        ])
    };
    let job = any::<u8>;
    let deed = prop_oneof![
        3 => Just(Deed::Create),
        6 => (job(), state()).prop_map(|(n, to)| Deed::Move(n, to)),
        4 => (job(), state(), state()).prop_map(|(n, one, two)| Deed::MoveTwice(n, one, two)),
        3 => job().prop_map(Deed::Remember),
        1 => job().prop_map(Deed::TellMuch),
        2 => job().prop_map(Deed::Late),
        3 => (job(), any::<bool>()).prop_map(|(n, holds)| Deed::Hold(n, holds)),
        2 => job().prop_map(Deed::Fail),
        1 => Just(Deed::Purge),
        1 => Just(Deed::Restart),
    ];
    prop::collection::vec(deed, 1..60)
}

/// A store, and every job as it must stand.
struct World {
    file: Sqlite,
    store: Arc<dyn Store>,
    jobs: Vec<Job>,
    made: u64,
}

impl World {
    async fn new() -> Self {
        let file = Sqlite::new();
        let store = file.open().await;
        file.tamper(
            "CREATE TRIGGER refuse BEFORE INSERT ON events WHEN NEW.message = 'refused by the file' \
             BEGIN SELECT RAISE(ABORT, 'no'); END",
        )
        .await;
        Self { file, store, jobs: Vec::new(), made: 0 }
    }

    fn job(&self, n: u8) -> Option<usize> {
        (!self.jobs.is_empty()).then(|| usize::from(n) % self.jobs.len())
    }

    /// Writes changes of one job; all must be made.
    async fn write(&mut self, at: usize, changes: Vec<Change>) {
        let events = changes.iter().filter(|change| change.event.is_some()).count() as u64;
        let (before, count) = (&self.jobs[at], changes.len() as u64);
        let answers = self.store.write(changes, None).await.unwrap();
        let job = answers.into_iter().map(Result::unwrap).next_back().unwrap();
        assert_eq!((job.version, job.sequence), (before.version + count, before.sequence + events));
        self.jobs[at] = job;
    }

    async fn do_it(&mut self, deed: Deed) {
        match deed {
            Deed::Create => {
                self.made += 1;
                let new = new_job(self.made, &format!("vc/c{}", self.made));
                self.jobs.push(create_one(&self.store, new).await);
            }
            Deed::Move(n, to) => {
                let Some(at) = self.job(n) else { return };
                self.write(at, vec![change(&self.jobs[at], to)]).await;
            }
            Deed::MoveTwice(n, one, two) => {
                let Some(at) = self.job(n) else { return };
                let first = change(&self.jobs[at], one);
                let mut second = change(&self.jobs[at], two);
                second.version += 1;
                self.write(at, vec![first, second]).await;
            }
            Deed::Remember(n) => {
                let Some(at) = self.job(n) else { return };
                let mut wanted = change(&self.jobs[at], self.jobs[at].status.state);
                wanted.control.attempts += 1;
                wanted.event = None;
                self.write(at, vec![wanted]).await;
            }
            Deed::TellMuch(n) => {
                let Some(at) = self.job(n) else { return };
                let mut wanted = change(&self.jobs[at], JobState::Running);
                let finding = |n| Finding::new(format!("f{n}"), Severity::Info, "much".to_owned());
                wanted.status.findings = (0..50).map(finding).collect();
                self.write(at, vec![wanted]).await;
            }
            Deed::Hold(n, holds) => {
                let Some(at) = self.job(n) else { return };
                let mut wanted = change(&self.jobs[at], self.jobs[at].status.state);
                wanted.control.holds_target = holds;
                self.write(at, vec![wanted]).await;
            }
            Deed::Late(n) => {
                let Some(at) = self.job(n) else { return };
                let mut late = change(&self.jobs[at], JobState::Failed);
                late.version -= 1;
                let answer = write_one(&self.store, late).await;
                assert!(matches!(answer, Err(StoreError::Stale(_))), "{answer:?}");
            }
            Deed::Fail(n) => {
                let Some(at) = self.job(n) else { return };
                let mut wanted = change(&self.jobs[at], JobState::Running);
                wanted.event.as_mut().unwrap().message = REFUSED.to_owned();
                let answer = self.store.write(vec![wanted], None).await;
                assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{answer:?}");
            }
            Deed::Purge => {
                let step = Step { jobs: 100, events: 10_000 };
                self.store.purge(Through::ended_before(at(1_000_000)), step).await.unwrap();
                for gone in self.jobs.extract_if(.., |job| job.status.state.is_ended()) {
                    let answer = write_one(&self.store, change(&gone, JobState::Failed)).await;
                    assert!(matches!(answer, Err(StoreError::Missing(_))), "{answer:?}");
                }
            }
            Deed::Restart => {
                self.store.close().await;
                self.store = self.file.open().await;
            }
        }
    }

    /// The file says the same, in what is read of a row and in what is only looked up by.
    async fn check(&self, beside: &mut SqliteConnection) {
        let rows = "SELECT id, state, ended, holds, end_time FROM jobs ORDER BY id";
        let rows = sqlx::query(rows).fetch_all(beside).await.unwrap();
        assert_eq!(rows.len(), self.jobs.len());
        for (row, job) in rows.iter().zip(&self.jobs) {
            assert_eq!(self.store.job(job.id).await.unwrap().as_ref(), Some(job));
            assert_eq!(row.get::<Vec<u8>, _>(0), job.id.uuid().into_bytes());
            assert_eq!(row.get::<String, _>(1), job.status.state.as_str());
            assert_eq!(row.get::<bool, _>(2), job.status.state.is_ended());
            assert_eq!(row.get::<bool, _>(3), job.control.holds_target);
            let end = job.status.end_time.map(|time| time.as_microsecond());
            assert_eq!(row.get::<Option<i64>, _>(4), end);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_row_at_hand_never_differs_from_the_file(deeds in deeds()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            let mut beside = world.file.beside().await;
            for deed in deeds {
                world.do_it(deed).await;
                world.check(&mut beside).await;
            }
            beside.close().await.unwrap();
            world.store.close().await;
        });
    }
}
