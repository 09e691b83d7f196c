//! A store that cannot be used: `serve` ends with exit code 1, and says on standard error why and what to do.

use std::fs;
use std::path::Path;

use drydock::store::settings::StoreSettings;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use crate::gateway::{config, config_by_url_file, secret_file, serve, sqlite};
use crate::postgres::{Database, run as sql};
use crate::program::{Said, run};

const CANARY: &str = "hunter2canary";

/// The last line that is meant for a person, of a run that must have failed.
fn last_words(said: &Said) -> &str {
    assert_eq!(said.code, 1, "{}", said.err);
    assert_eq!(said.out, "");
    assert!(!said.err.contains(CANARY), "{}", said.err);
    assert!(said.err.contains(r#""message":"could not start""#), "the log says it too: {}", said.err);
    said.err.lines().last().unwrap()
}

fn serve_on(url: &str) -> Said {
    let dir = tempfile::tempdir().unwrap();
    let url = secret_file(dir.path(), "store-url", url);
    run(&mut serve(&config_by_url_file(dir.path(), &url)))
}

async fn made() -> Database {
    let database = Database::new();
    database.made().await;
    database
}

#[tokio::test]
async fn a_wrong_password_of_postgres() {
    let database = Database::new();
    let url = database.url_with_password("the-right-one", CANARY).await;
    let said = serve_on(&url);
    let words = format!(
        "drydock: the store could not be opened: the store is unavailable: the database refuses the user or its \
         password: password authentication failed for user \"{}\"; see `store.url`, and pg_hba.conf on the server",
        database.user
    );
    assert_eq!(last_words(&said), words);
}

#[tokio::test]
async fn a_missing_right_in_postgres() {
    let database = made().await;
    let mut admin = database.admin().await;
    let user = &database.user;
    let take = format!("ALTER SCHEMA {user} OWNER TO CURRENT_USER; GRANT USAGE ON SCHEMA {user} TO {user}");
    sql(&mut admin, &take).await;
    let said = serve_on(&database.url(None));
    let words = last_words(&said);
    assert!(
        words.starts_with("drydock: the store could not be opened: the store cannot be written: "),
        "{words}"
    );
    assert!(words.contains("lacks a right") && words.contains("it needs CREATE on its schema"), "{words}");
}

#[tokio::test]
async fn a_newer_schema_in_postgres() {
    let database = made().await;
    drydock::store::open(&database.settings()).await.unwrap().close().await;
    database.tamper("INSERT INTO _sqlx_migrations VALUES (9999, 'later', now(), TRUE, '\\x00', 0)").await;
    let said = serve_on(&database.url(None));
    assert_newer(last_words(&said));
}

fn assert_newer(words: &str) {
    let begin =
        "drydock: the store could not be opened: the database has schema 9999, and this Drydock knows up to ";
    let end = ": run the newer Drydock, or restore an older backup";
    assert!(words.starts_with(begin) && words.ends_with(end), "{words}");
}

#[tokio::test]
async fn a_postgres_that_is_not_there() {
    // Nobody listens where somebody just did.
    let place = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = serve_on(&format!("postgres://u:{CANARY}@{place}/d"));
    let begin = format!(
        "drydock: the store could not be opened: the store is unavailable: the database at {place} cannot be reached: "
    );
    assert!(last_words(&said).starts_with(&begin), "{}", said.err);
}

/// A file that a gateway made, and SQL that somebody ran on it.
async fn tampered(dir: &Path, statement: &'static str) {
    let settings = StoreSettings { url: sqlite(dir), ..StoreSettings::default() };
    drydock::store::open(&settings).await.unwrap().close().await;
    let options = SqliteConnectOptions::new().filename(dir.join("drydock.db"));
    sqlx::raw_sql(statement).execute(&mut options.connect().await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    tampered(dir.path(), "INSERT INTO _sqlx_migrations VALUES (9999, 'later', 0, TRUE, x'00', 0)").await;
    let said = run(&mut serve(&config(dir.path(), "127.0.0.1:0")));
    assert_newer(last_words(&said));
}

#[tokio::test]
async fn a_file_that_is_read_only() {
    let dir = tempfile::tempdir().unwrap();
    tampered(dir.path(), "PRAGMA wal_checkpoint(TRUNCATE)").await;
    // Rights do not hold root back, so the file says of itself that it is not to be written
    // (https://www.sqlite.org/fileformat.html#file_format_version_numbers).
    let file = dir.path().join("drydock.db");
    let mut bytes = fs::read(&file).unwrap();
    assert_eq!(bytes[18], 2, "the write version of a file with a write-ahead log");
    bytes[18] = 3;
    fs::write(&file, bytes).unwrap();
    let said = run(&mut serve(&config(dir.path(), "127.0.0.1:0")));
    let words = last_words(&said);
    let begin =
        "drydock: the store could not be opened: the store cannot be written: the file is read-only: ";
    assert!(words.starts_with(begin), "{words}");
}
