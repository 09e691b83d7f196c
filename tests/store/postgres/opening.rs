//! What is told when a database cannot be used, and that no password is.

use std::sync::Arc;

use drydock::store::postgres::PostgresStore;
use drydock::store::settings::StoreSettings;
use drydock::store::{Store, StoreError};
use tokio::net::TcpListener;

use super::support::proxy::{Cut, Proxy};
use super::support::with_password;
use super::{Postgres, run};
use crate::fixture::*;

pub(super) const CANARY: &str = "hunter2canary";

/// The refusal of a url, which must say all of `words` and no password.
pub(super) async fn refusal(url: String, words: &[&str]) -> StoreError {
    let opened = drydock::store::open(&StoreSettings { url, ..StoreSettings::default() }).await;
    let refused = opened.err().expect("a refusal");
    let text = format!("{refused} {refused:?}");
    for word in words {
        assert!(text.contains(word), "no {word}: {text}");
    }
    assert!(!text.contains(CANARY), "{text}");
    refused
}

#[tokio::test]
async fn a_wrong_password_is_told() {
    let database = Postgres::new();
    let (user, right) = (&database.user, format!("{CANARY}-right"));
    let url = database.url_with_password(&right, CANARY).await;
    let refused = refusal(url, &["password", user, "store.url"]).await;
    assert!(matches!(refused, StoreError::Unavailable(_)));
    let url = with_password(&database.url(None), user, &right);
    let settings = StoreSettings { url, ..StoreSettings::default() };
    let store = PostgresStore::open(&settings).await.unwrap();
    // With connections that were used.
    store.ping().await.unwrap();
    let shown = format!("{store:?} {settings:?}");
    assert!(shown.contains("PostgresStore") && !shown.contains(CANARY), "{shown}");
    store.close().await;
}

#[tokio::test]
async fn an_unknown_database_is_named() {
    let database = Postgres::new();
    database.made().await;
    let url = with_password(&database.url(None), &database.user, CANARY);
    let (start, _) = url.rsplit_once('/').unwrap();
    refusal(format!("{start}/nowhere"), &["nowhere", "does not exist", "store.url"]).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    // Nobody listens where somebody just did.
    let place = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("postgres://u:{CANARY}@{place}/d");
    let refused = refusal(url, &[&place.to_string(), "cannot be reached"]).await;
    assert!(matches!(refused, StoreError::Unavailable(_)));
}

#[tokio::test]
async fn a_server_without_tls_is_told_when_tls_is_wanted() {
    let database = Postgres::new();
    database.made().await;
    refusal(format!("{}?sslmode=verify-full", database.url(None)), &["TLS"]).await;
}

#[tokio::test]
async fn missing_rights_are_told() {
    let database = Postgres::new();
    database.made().await;
    let mut admin = database.admin().await;
    let user = &database.user;
    run(
        &mut admin,
        &format!("ALTER SCHEMA {user} OWNER TO CURRENT_USER; GRANT USAGE ON SCHEMA {user} TO {user}"),
    )
    .await;
    let refused = refusal(database.url(None), &["lacks a right", "CREATE", user]).await;
    assert!(matches!(refused, StoreError::Unwritable(_)), "{refused}");

    // Once the schema is made, CREATE is not needed.
    run(&mut admin, &format!("GRANT CREATE ON SCHEMA {user} TO {user}")).await;
    database.open().await.close().await;
    run(&mut admin, &format!("REVOKE CREATE ON SCHEMA {user} FROM {user}")).await;
    let store = database.open().await;
    create_one(&store, new_job(1, "vc/a")).await;
    database.tamper("REVOKE SELECT ON jobs FROM CURRENT_USER").await;
    let denied = store.job(id(1)).await;
    assert!(matches!(&denied, Err(StoreError::Unwritable(text)) if text.contains("SELECT")), "{denied:?}");
    store.close().await;
}

#[tokio::test]
async fn a_user_without_a_schema_is_told() {
    let database = Postgres::new();
    database.made().await;
    let mut admin = database.admin().await;
    run(&mut admin, &format!("ALTER ROLE {} SET search_path = 'nothing_here'", database.user)).await;
    refusal(database.url(None), &["schema", "search_path"]).await;
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let database = Postgres::new();
    database.open().await.close().await;
    database.tamper("INSERT INTO _sqlx_migrations VALUES (9999, 'later', now(), TRUE, '\\x00', 0)").await;
    let refused = refusal(database.url(None), &["schema 9999", "run the newer Drydock"]).await;
    assert!(matches!(refused, StoreError::NewerSchema { found: 9999, known } if known < 9999), "{refused:?}");
}

#[tokio::test]
async fn another_programs_schema_is_left_alone() {
    let database = Postgres::new();
    database.made().await;
    database.tamper("CREATE TABLE jobs (theirs int)").await;
    let answer = database.try_open().await;
    assert!(
        matches!(&answer, Err(StoreError::Corrupt(text)) if text.contains("another program")),
        "{answer:?}"
    );
    database
        .tamper(
            "DROP TABLE jobs; CREATE TABLE _sqlx_migrations (version bigint); \
             INSERT INTO _sqlx_migrations VALUES (7)",
        )
        .await;
    assert!(matches!(database.try_open().await, Err(StoreError::Corrupt(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_whose_making_was_cut_off_is_made_on() {
    for cut in [Cut::Before, Cut::After] {
        // At each migration's own commit.
        for migration in 0..3 {
            let database = Postgres::new();
            database.made().await;
            let proxy = Proxy::before(&database.place()).await;
            let settings =
                StoreSettings { url: database.url(Some(&proxy.place)), ..StoreSettings::default() };
            proxy.cut_commit_after(migration, cut);
            let cut_off = PostgresStore::open(&settings).await;
            assert!(
                matches!(cut_off, Err(StoreError::Unavailable(_))),
                "{cut:?} {migration}: {:?}",
                cut_off.err()
            );
            assert!(!proxy.take_cut(), "{migration} is no migration");
            // Once more, where anything is left to be made.
            proxy.cut_next_commit(cut);
            let again = PostgresStore::open(&settings).await;
            assert_eq!(again.is_ok(), proxy.take_cut(), "{cut:?} {migration}: {:?}", again.err());
            let store: Arc<dyn Store> = match PostgresStore::open(&settings).await {
                Ok(store) => store,
                Err(error) => panic!("{cut:?} {migration}: {error}"),
            };
            create_one(&store, new_job(1, "vc/a")).await;
            store.close().await;
        }
    }
}

#[tokio::test]
async fn too_many_connections_are_told() {
    let database = Postgres::new();
    database.open().await.close().await;
    let mut admin = database.admin().await;
    run(&mut admin, &format!("ALTER ROLE {} CONNECTION LIMIT 0", database.user)).await;
    refusal(database.url(None), &["too many connections", "max_connections"]).await;
}

/// Makes the server refuse new jobs with this code, and asserts that this is told with this word.
async fn assert_unwritable(database: &Postgres, store: &Arc<dyn Store>, code: &str, word: &str) {
    let trigger = format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'refused by the test' USING ERRCODE = '{code}'; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON jobs EXECUTE FUNCTION refuse()"
    );
    database.tamper(&trigger).await;
    let refused = try_one(store, jobs(vec![new_job(1, "vc/a")])).await;
    assert!(matches!(&refused, Err(StoreError::Unwritable(text)) if text.contains(word)), "{refused:?}");
}

#[tokio::test]
async fn a_read_only_database_is_told() {
    let database = Postgres::new();
    let store = database.open().await;
    // A standby answers every write like this.
    assert_unwritable(&database, &store, "25006", "primary").await;
    store.close().await;
}

#[tokio::test]
async fn a_full_disk_is_told_and_gets_well() {
    let database = Postgres::new();
    let store = database.open().await;
    assert_unwritable(&database, &store, "53100", "full").await;
    database.tamper("DROP TRIGGER refuse ON jobs").await;
    create_one(&store, new_job(1, "vc/a")).await;
    store.close().await;
}

#[tokio::test]
async fn a_write_that_breaks_the_schema_fails_alone() {
    let database = Postgres::new();
    let store: Arc<dyn Store> = database.open().await;
    database.tamper("ALTER TABLE jobs ADD CHECK (target NOT LIKE '%poison')").await;
    let places = ["vc/a", "vc/b", "vc/poison", "vc/c"];
    let writes = places.iter().zip(0..).map(|(place, n)| store.create(jobs(vec![new_job(n, place)])));
    let answers = futures_util::future::join_all(writes).await;
    for ((place, n), answer) in places.iter().zip(0..).zip(answers) {
        assert_eq!(answer.is_ok(), *place != "vc/poison", "{place}: {answer:?}");
        assert_eq!(store.job(id(n)).await.unwrap().is_some(), *place != "vc/poison");
    }
    store.close().await;
}

#[tokio::test]
async fn a_servers_weaker_defaults_do_not_weaken_a_commit() {
    let database = Postgres::new();
    database.made().await;
    let mut admin = database.admin().await;
    let user = &database.user;
    run(
        &mut admin,
        &format!(
            "ALTER ROLE {user} SET synchronous_commit = off; \
             ALTER ROLE {user} SET default_transaction_isolation = 'serializable'; \
             ALTER ROLE {user} SET default_transaction_read_only = on; \
             ALTER ROLE {user} SET timezone = 'Asia/Kolkata'"
        ),
    )
    .await;
    let store = database.open().await;
    // Each commit notes what it ran under.
    database
        .tamper(
            "BEGIN READ WRITE; CREATE TABLE noted (sync text, level text); \
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             INSERT INTO noted VALUES (current_setting('synchronous_commit'), current_setting('transaction_isolation')); \
             RETURN NULL; END $$; \
             CREATE TRIGGER note AFTER INSERT ON jobs EXECUTE FUNCTION note(); COMMIT",
        )
        .await;
    create_one(&store, new_job(1, "vc/a")).await;
    let mut beside = database.beside().await;
    let noted: (String, String) =
        sqlx::query_as("SELECT sync, level FROM noted").fetch_one(&mut beside).await.unwrap();
    assert_eq!(noted, ("on".to_owned(), "read committed".to_owned()));
    store.close().await;
}

#[tokio::test]
async fn a_message_with_a_zero_in_it_is_kept_but_for_that() {
    let database = Postgres::new();
    let store = database.open().await;
    let mut wanted = new_job(1, "vc/a");
    wanted.event.message = "odd\0text".to_owned();
    wanted.status.vendor.answer = Some("odd\0answer".to_owned());
    let job = create_one(&store, wanted).await;
    assert_eq!(store.job(job.id).await.unwrap(), Some(job.clone()));
    assert_eq!(store.events(0, 1).await.unwrap()[0].message, "odd\u{fffd}text");
    store.close().await;
}
