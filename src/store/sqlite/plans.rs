//! Reads SQLite's plans of the hot statements: none may walk a whole table.
//!
//! "SCAN" alone is not the fault: a list without a filter walks an index in order, and stops at its LIMIT.

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};
use uuid::Uuid;

use super::list::Sqlite;
use super::save::{Bulk, DELETE_SEALED, UPDATE_MOVED, UPDATE_SETTLED, UPDATE_TOLD};
use super::{load, lookups, purge, read};
use crate::domain::id::{JobId, ProviderId};
use crate::domain::operation::OperationKind;
use crate::domain::state::JobState;
use crate::domain::target::Target;
use crate::store::contract::JobFilter;
use crate::store::list;
use crate::store::page_token::After;

async fn database() -> SqliteConnection {
    let mut connection = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
    for migration in super::open::migrations() {
        sqlx::raw_sql(migration.sql).execute(&mut connection).await.unwrap();
    }
    connection
}

/// The steps of a statement's plan. What is bound to it does not matter.
async fn plan(connection: &mut SqliteConnection, sql: &str) -> Vec<String> {
    let explained = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let query = sqlx::query(explained);
    query.fetch_all(connection).await.unwrap().iter().map(|row| row.get::<String, _>("detail")).collect()
}

/// The steps that walk a table or index of ours without a bound by a key.
fn walks(plan: &[String]) -> Vec<&String> {
    let ours = [
        "jobs",
        "j",
        "t",
        "events",
        "e",
        "b",
        "c",
        "job_labels",
        "l",
        "m",
        "requests",
        "r",
        "sealed_passwords",
    ];
    plan.iter()
        .filter(|step| {
            step.strip_prefix("SCAN ")
                .is_some_and(|rest| ours.contains(&rest.split(' ').next().unwrap_or("")))
        })
        .collect()
}

#[tokio::test]
async fn hot_statements_look_rows_up() {
    let mut connection = database().await;
    let [told, moved, settled] =
        [&UPDATE_TOLD, &UPDATE_MOVED, &UPDATE_SETTLED].map(|update| update.texts[1].1.to_string());
    let delete = DELETE_SEALED.texts[1].1.to_string();
    for sql in [
        lookups::JOBS[0].1,
        lookups::JOBS[1].1,
        lookups::JOBS[2].1,
        read::LIVE_JOBS,
        read::SEALED,
        read::REQUEST,
        read::JOB_EVENTS,
        read::EVENTS,
        load::JOBS_BY_ID,
        load::LIVE_BY_TARGET,
        load::LIVE_BY_TAKER,
        load::REQUESTS_BY_ID,
        load::JOBS_BY_REQUEST,
        &told,
        &moved,
        &settled,
        &delete,
    ] {
        let plan = plan(&mut connection, sql).await;
        assert!(!plan.is_empty());
        assert!(walks(&plan).is_empty(), "{sql}\n{plan:#?}");
        assert!(
            !plan.iter().any(|step| step.contains("ORDER BY") || step.contains("AUTOMATIC")),
            "{plan:#?}"
        );
    }
}

#[tokio::test]
async fn a_purge_looks_its_rows_up() {
    let mut connection = database().await;
    sqlx::query(purge::TABLE).execute(&mut connection).await.unwrap();
    for sql in purge::STEPS {
        let plan = plan(&mut connection, sql).await;
        assert!(walks(&plan).is_empty(), "{sql}\n{plan:#?}");
    }
    // This one walks an index in order, as far as its OFFSET.
    let plan = plan(&mut connection, purge::FIRST_TOO_MANY).await;
    assert_eq!(plan, ["SCAN jobs USING COVERING INDEX jobs_by_end"]);
}

#[tokio::test]
async fn a_full_walk_would_be_seen() {
    let mut connection = database().await;
    for sql in [
        "SELECT * FROM jobs WHERE spec = 'x'",
        "SELECT * FROM jobs AS j WHERE j.version > 1 ORDER BY j.create_time",
        "SELECT * FROM events AS e WHERE e.kind = 'x'",
    ] {
        let plan = plan(&mut connection, sql).await;
        assert_eq!(walks(&plan).len(), 1, "{plan:#?}");
    }
}

#[tokio::test]
async fn live_jobs_are_counted_by_their_own_index() {
    let mut connection = database().await;
    let plan = plan(&mut connection, read::COUNT_LIVE).await;
    assert_eq!(plan, ["SCAN jobs USING COVERING INDEX jobs_live_by_state"]);
}

#[tokio::test]
async fn lists_walk_an_index_in_order() {
    let mut connection = database().await;
    let none = JobFilter::default;
    let target = |n: u32| Target::parse_name(&format!("providers/p/clusters/c{n}")).unwrap();
    let provider = |id| ProviderId::parse(id).unwrap();
    let labels = || [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())].into();
    let at = jiff::Timestamp::from_second(5).unwrap();
    let id = JobId::new(Uuid::from_u128(1));
    let filters = [
        (none(), "jobs_by_time"),
        (JobFilter { created_after: Some(at), created_before: Some(at), ..none() }, "jobs_by_time"),
        (JobFilter { providers: vec![provider("p")], ..none() }, "jobs_by_provider"),
        (JobFilter { providers: vec![provider("p"), provider("q")], ..none() }, "jobs_by_provider"),
        (JobFilter { targets: vec![target(1), target(2)], ..none() }, "jobs_by_target"),
        (JobFilter { states: vec![JobState::Running], ..none() }, "jobs_by_state"),
        (JobFilter { states: JobState::ALL.into(), ..none() }, "jobs_by_state"),
        (
            JobFilter { states: vec![JobState::Failed], providers: vec![provider("p")], ..none() },
            "jobs_by_provider",
        ),
        (JobFilter { operations: vec![OperationKind::Reinstall], ..none() }, "jobs_by_operation"),
        (JobFilter { labels: labels(), ..none() }, "l USING PRIMARY KEY"),
        (
            JobFilter { labels: labels(), states: vec![JobState::Failed], created_after: Some(at), ..none() },
            "l USING PRIMARY KEY",
        ),
        (JobFilter { labels: labels(), states: vec![JobState::Running], ..none() }, "jobs_by_state"),
        (JobFilter { jobs: vec![id], created_after: Some(at), ..none() }, "sqlite_autoindex_jobs_1 (id=?)"),
        (JobFilter { targets: (0..100).map(target).collect(), ..none() }, "jobs_by_target (target=?"),
    ];
    for (filter, index) in filters {
        for (oldest_first, after) in [
            (false, None),
            (true, None),
            (false, Some(After { create_time: 9, id })),
            (true, Some(After { create_time: 9, id })),
        ] {
            let filter = JobFilter { oldest_first, ..filter.clone() };
            let statement = list::statement::<Sqlite>(&filter, after, 51);
            let sql = statement.sql().as_str().to_owned();
            let plan = plan(&mut connection, &sql).await;
            let shown = || format!("{sql}\n{plan:#?}");
            assert!(plan.iter().any(|step| step.contains(index)), "no {index}: {}", shown());
            // Without a filter and a place to go on from, the walk begins at the index's end.
            let from_the_end = index == "jobs_by_time" && after.is_none();
            for walk in walks(&plan) {
                assert!(from_the_end && walk.contains("USING COVERING INDEX jobs_by_time"), "{}", shown());
            }
            // What several branches cut is merged, and jobs named by id are sorted. One branch needs neither.
            let single = !sql.contains("UNION ALL")
                && !sql.contains("INDEXED BY sqlite_autoindex")
                && !sql.contains("j.target IN (?, ?, ?");
            let sorts = plan.iter().any(|step| step.contains("TEMP B-TREE"));
            assert!(!(single && sorts), "{}", shown());
            let bounded =
                after.is_some() || filter.created_after.is_some() || filter.created_before.is_some();
            if bounded && !matches!(index, i if i.starts_with("sqlite_auto") || i.ends_with("?")) {
                let range = plan
                    .iter()
                    .filter(|step| step.contains(index))
                    .all(|step| step.contains('>') || step.contains('<'));
                assert!(range, "a walk that does not begin where the page begins: {}", shown());
            }
        }
    }
}

/// An `UPDATE` costs every index that one of its columns stands in, changed or not.
#[tokio::test]
async fn a_job_that_did_not_move_is_written_without_its_indexes() {
    let mut connection = database().await;
    let indexes = |update: &'static Bulk| {
        let set = update.texts[0].1.split_once(" SET ").unwrap().1.split_once(" FROM ").unwrap().0.to_owned();
        let columns: Vec<_> =
            set.split(", ").map(|one| one.split_once(" = ").unwrap().0.to_owned()).collect();
        move |index: &String| {
            let named = |column: &String| {
                index.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == column)
            };
            columns.iter().any(named)
        }
    };
    let all = "SELECT sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'jobs' AND sql IS NOT NULL";
    let all: Vec<String> = sqlx::query_scalar(all).fetch_all(&mut connection).await.unwrap();
    let told = indexes(&UPDATE_TOLD);
    assert_eq!(all.iter().filter(|index| told(index)).count(), 0);
    let moved = indexes(&UPDATE_MOVED);
    assert_eq!(all.iter().filter(|index| moved(index)).count(), 2);
    let settled = indexes(&UPDATE_SETTLED);
    assert!(all.iter().filter(|index| settled(index)).count() > 5);
}
