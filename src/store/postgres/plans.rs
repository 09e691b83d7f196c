//! Reads PostgreSQL's plans of the hot statements on filled tables: none may walk a whole one.
//!
//! A prepared statement is planned for its values a few times, and then perhaps once for all values, so both plans
//! are read. Lists are planned for their values every time.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Execute as _, Row as _};
use uuid::Uuid;

use super::list::Plain;
use super::{load, open, purge, read, save};
use crate::domain::id::{JobId, ProviderId};
use crate::domain::operation::OperationKind;
use crate::domain::state::JobState;
use crate::domain::target::Target;
use crate::store::contract::JobFilter;
use crate::store::list;
use crate::store::page_token::After;

/// 20,000 jobs in 10 providers, 100 of them live, with three events each.
const FILL: &str = "\
    INSERT INTO requests SELECT gen_random_uuid(), sha256(n::text::bytea), n FROM generate_series(1, 20000) AS n; \
    INSERT INTO jobs SELECT gen_random_uuid(), 'p' || n % 10, 'providers/p' || n % 10 || '/clusters/c' || n % 5000, \
    CASE WHEN n % 3 = 0 THEN 'REINSTALL' ELSE 'UPGRADE' END, CASE WHEN n % 200 = 0 THEN 'RUNNING' ELSE 'SUCCEEDED' END, \
    n % 200 <> 0, false, n, CASE WHEN n % 200 <> 0 THEN n END, 1, 3, r.id, 0, '{}', '{}', '{}' \
    FROM generate_series(1, 20000) AS n JOIN requests AS r ON r.create_time = n; \
    INSERT INTO job_labels SELECT 'a', (create_time % 50)::text, create_time, id FROM jobs; \
    INSERT INTO job_labels SELECT 'b', (create_time % 2)::text, create_time, id FROM jobs; \
    INSERT INTO sealed_passwords SELECT id, 'x' FROM jobs WHERE create_time % 4 = 0; \
    INSERT INTO events SELECT row_number() OVER (), row_number() OVER (), id, s, 1, 'k', 'm', '{}' \
    FROM jobs, generate_series(1, 3) AS s; \
    INSERT INTO leases SELECT 'p' || n, 1, NULL, now() FROM generate_series(1, 2000) AS n; \
    ANALYZE";

struct Filled {
    connection: PgConnection,
    schema: String,
}

impl Filled {
    async fn new() -> Self {
        let mut connection = server().parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
        let schema = format!("plans_{}", Uuid::new_v4().simple());
        run(&mut connection, format!("CREATE SCHEMA {schema}; SET search_path = {schema}; SET jit = off"))
            .await;
        for migration in open::migrations() {
            sqlx::raw_sql(migration.sql).execute(&mut connection).await.unwrap();
        }
        run(&mut connection, FILL.to_owned()).await;
        Self { connection, schema }
    }

    async fn plan(&mut self, explain: String) -> Vec<String> {
        let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut self.connection).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn end(mut self) {
        run(&mut self.connection, format!("DROP SCHEMA {} CASCADE", self.schema)).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "where the tests' server is, whoever runs the tests says")]
fn server() -> String {
    std::env::var("DRYDOCK_TEST_POSTGRES").expect(
        "this test needs PostgreSQL: run it with `cargo nextest run` or `scripts/postgres run cargo test`",
    )
}

async fn run(connection: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap();
}

/// The steps that walk a whole table. `counters` has one row.
fn walks(plan: &[String]) -> Vec<&String> {
    plan.iter()
        .filter(|step| step.contains("Seq Scan on") && !step.contains("Seq Scan on counters"))
        .collect()
}

#[tokio::test]
async fn hot_statements_look_rows_up() {
    let mut filled = Filled::new().await;
    const ID: &str = "'00000000-0000-4000-8000-000000000001'";
    const IDS: &str =
        "ARRAY['00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000002']::uuid[]";
    const NAMES: &str = "ARRAY['providers/p1/clusters/c1', 'p1']";
    let update = format!(
        "{IDS}, {NAMES}, ARRAY[true, true], ARRAY[false, false], ARRAY[1, 2], ARRAY[1, 2], ARRAY[1, 2], {NAMES}, {NAMES}"
    );
    let statements = [
        (read::JOB, ID.to_owned()),
        (read::LIVE_JOBS, format!("'p1', {ID}, 100")),
        (read::COUNT_LIVE, String::new()),
        (read::SEALED, ID.to_owned()),
        (read::REQUEST, ID.to_owned()),
        (read::JOB_EVENTS, format!("{ID}, 1, 100")),
        (read::EVENTS, "59000, 99".to_owned()),
        (read::EVENTS, "60000, 99".to_owned()),
        (open::NEWEST, String::new()),
        (load::JOBS_BY_ID, IDS.to_owned()),
        (load::LIVE_BY_TARGET, NAMES.to_owned()),
        (load::REQUESTS_BY_ID, IDS.to_owned()),
        (load::JOBS_BY_REQUEST, IDS.to_owned()),
        (load::FENCES, NAMES.to_owned()),
        (save::UPDATE_JOBS, update),
        (save::DELETE_SEALED, IDS.to_owned()),
        (purge::FIRST_TOO_MANY, "1000".to_owned()),
        (purge::OLDEST, format!("1000, {ID}, 100")),
        (purge::DELETE_EVENTS, format!("{IDS}, 100")),
        (purge::DELETE_JOBS, IDS.to_owned()),
        (purge::DELETE_KEYS, IDS.to_owned()),
        (purge::DELETE_BARE_KEYS, "1000, 100".to_owned()),
    ];
    for (sql, values) in statements {
        let values = if values.is_empty() { values } else { format!("({values})") };
        for mode in ["force_custom_plan", "force_generic_plan"] {
            let setup = format!("DEALLOCATE ALL; SET plan_cache_mode = {mode}; PREPARE hot AS {sql}");
            run(&mut filled.connection, setup).await;
            let plan = filled.plan(format!("EXPLAIN EXECUTE hot {values}")).await;
            assert!(!plan.is_empty());
            assert!(walks(&plan).is_empty(), "{mode}: {sql}\n{plan:#?}");
        }
    }
    filled.end().await;
}

#[tokio::test]
async fn a_full_walk_would_be_seen() {
    let mut filled = Filled::new().await;
    for sql in ["SELECT * FROM jobs WHERE spec = 'x'", "SELECT * FROM events AS e WHERE e.kind = 'x'"] {
        let plan = filled.plan(format!("EXPLAIN {sql}")).await;
        assert_eq!(walks(&plan).len(), 1, "{plan:#?}");
    }
    filled.end().await;
}

#[tokio::test]
async fn lists_walk_an_index() {
    let mut filled = Filled::new().await;
    let none = JobFilter::default;
    let target = |n: u32| Target::parse_name(&format!("providers/p1/clusters/c{n}")).unwrap();
    let provider = |id| ProviderId::parse(id).unwrap();
    let labels = || [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "1".to_owned())].into();
    let at = jiff::Timestamp::from_microsecond(500).unwrap();
    let id = JobId::new(Uuid::from_u128(1));
    let filters = [
        none(),
        JobFilter { created_after: Some(at), created_before: Some(at), ..none() },
        JobFilter { providers: vec![provider("p1")], ..none() },
        JobFilter { providers: vec![provider("p1"), provider("p2")], ..none() },
        JobFilter { targets: vec![target(1), target(2)], ..none() },
        JobFilter { states: vec![JobState::Running], ..none() },
        JobFilter { states: JobState::ALL.into(), ..none() },
        JobFilter { states: vec![JobState::Failed], providers: vec![provider("p1")], ..none() },
        JobFilter { operations: vec![OperationKind::Reinstall], ..none() },
        JobFilter { labels: labels(), ..none() },
        JobFilter { labels: labels(), states: vec![JobState::Failed], created_after: Some(at), ..none() },
        JobFilter { labels: labels(), states: vec![JobState::Running], ..none() },
        JobFilter { jobs: vec![id], created_after: Some(at), ..none() },
        JobFilter { targets: (0..100).map(target).collect(), ..none() },
    ];
    for filter in filters {
        // A hundred look-ups cost more than a walk of so small a table; here it is enough that they can be made.
        let walk = if filter.targets.len() < 64 { "on" } else { "off" };
        run(&mut filled.connection, format!("SET enable_seqscan = {walk}")).await;
        for (oldest_first, after) in [
            (false, None),
            (true, None),
            (false, Some(After { create_time: 10_000, id })),
            (true, Some(After { create_time: 10_000, id })),
        ] {
            let filter = JobFilter { oldest_first, ..filter.clone() };
            let mut statement = list::statement::<Plain>(&filter, after, 51);
            let mut query = statement.build();
            let arguments = query.take_arguments().unwrap().unwrap();
            let sql = query.sql().as_str().to_owned();
            let explain =
                sqlx::query_with(AssertSqlSafe(format!("EXPLAIN {sql}")), arguments).persistent(false);
            let rows = explain.fetch_all(&mut filled.connection).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            assert!(walks(&plan).is_empty(), "{sql}\n{plan:#?}");
        }
    }
    filled.end().await;
}
