//! `migrate-store`: from a file to PostgreSQL, once, and what it says when it cannot be.

use std::path::{Path, PathBuf};

use drydock::domain::state::JobState;
use drydock::store::settings::StoreSettings;

use crate::fixture::{all_events, change, create_one, end, key, keyed, new_job, try_one, write_one};
use crate::gateway::{Gateway, config, config_by_url_file, secret_file, serve, sqlite};
use crate::postgres::Database;
use crate::program::{Said, drydock, run, text};

fn url_file(dir: &Path, url: &str) -> PathBuf {
    secret_file(dir, "store-url", url)
}

const CANARY: &str = "hunter2canary";

/// Moves the store of a folder to the database whose url stands in a file of that folder.
fn migrate(dir: &Path) -> Said {
    migrate_from(&sqlite(dir), &dir.join("store-url"))
}

fn migrate_from(from: &str, to: &Path) -> Said {
    let said = run(&mut drydock(&["migrate-store", "--from", from, "--to-url-file", text(to)]));
    assert!(!said.out.contains(CANARY) && !said.err.contains(CANARY), "{} {}", said.out, said.err);
    said
}

/// Three jobs, five events, one request key.
async fn fill(dir: &Path) {
    let settings = StoreSettings { url: sqlite(dir), ..StoreSettings::default() };
    let store = drydock::store::open(&settings).await.unwrap();
    let ended = create_one(&store, new_job(1, "lab/c1")).await;
    end(&store, &ended).await;
    let running = try_one(&store, keyed(key(7), 1, vec![new_job(2, "lab/c2")])).await.unwrap().job;
    write_one(&store, change(&running, JobState::Suspended)).await.unwrap();
    create_one(&store, new_job(3, "gone/c3")).await;
    assert_eq!(all_events(&store, 100).await.len(), 5);
    store.close().await;
}

#[tokio::test]
async fn everything_moves_to_postgres_once() {
    let (dir, database) = (tempfile::tempdir().unwrap(), Database::new());
    fill(dir.path()).await;
    let to = url_file(dir.path(), &database.url_with_password(CANARY, CANARY).await);
    let said = migrate(dir.path());
    let words = "moved 3 jobs, 5 events and 1 request keys; let `store.url_file` name the same file, and start Drydock\n";
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, words, ""));

    let again = migrate(dir.path());
    let words = "drydock: the store is unavailable: the database holds this file's jobs already: they were moved \
                 before; let `store.url` name the database, and start Drydock\n";
    assert_eq!((again.code, again.out.as_str(), again.err.as_str()), (1, "", words));

    // Nobody drives them from the file any more.
    let old = run(&mut serve(&config(dir.path(), "127.0.0.1:0")));
    assert_eq!(old.code, 1, "{}", old.err);
    let words = old.err.lines().last().unwrap();
    assert!(words.contains("migrate-store"), "{words}");

    let mut gateway = Gateway::start_with(&config_by_url_file(dir.path(), &to));
    gateway.signal("-TERM");
    let (code, log) = gateway.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains(CANARY), "{log}");
    let settings = StoreSettings {
        url: std::fs::read_to_string(&to).unwrap().trim().to_owned(),
        ..StoreSettings::default()
    };
    let store = drydock::store::open(&settings).await.unwrap();
    assert!(store.job(crate::fixture::id(1)).await.unwrap().unwrap().status.state.is_ended());
    assert!(store.knows_request(key(7)).await.unwrap());
    store.close().await;
}

#[tokio::test]
async fn a_postgres_with_jobs_in_it_is_left_alone_and_so_is_the_file() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let database = Database::new();
    let url = database.url_with_password(CANARY, CANARY).await;
    for dir in [first.path(), second.path()] {
        fill(dir).await;
        url_file(dir, &url);
    }
    assert_eq!(migrate(first.path()).code, 0);
    let refused = migrate(second.path());
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(refused.err.contains("the database holds jobs already"), "{}", refused.err);
    // It can be used as before.
    let mut gateway = Gateway::start(second.path());
    gateway.signal("-TERM");
    assert_eq!(gateway.end().0, Some(0));
}

#[tokio::test]
async fn nothing_moves_while_a_gateway_runs_on_the_file_or_in_postgres() {
    let (dir, database) = (tempfile::tempdir().unwrap(), Database::new());
    fill(dir.path()).await;
    let to = url_file(dir.path(), &database.url_with_password(CANARY, CANARY).await);
    let mut on_file = Gateway::start(dir.path());
    let refused = migrate(dir.path());
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(refused.err.contains("drydock.db is in use by another process"), "{}", refused.err);
    on_file.signal("-TERM");
    assert_eq!(on_file.end().0, Some(0));

    let other = tempfile::tempdir().unwrap();
    let mut on_database = Gateway::start_with(&config_by_url_file(other.path(), &to));
    let refused = migrate(dir.path());
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    let words = "drydock: the store is unavailable: a Drydock runs on the database (replica `";
    assert!(refused.err.starts_with(words), "{}", refused.err);
    on_database.signal("-TERM");
    assert_eq!(on_database.end().0, Some(0));

    // It left at once when it stopped, so nothing is waited for.
    let said = migrate(dir.path());
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.starts_with("moved 3 jobs"), "{}", said.out);
}

#[tokio::test]
async fn a_wrong_password_of_postgres_moves_nothing() {
    let (dir, database) = (tempfile::tempdir().unwrap(), Database::new());
    fill(dir.path()).await;
    url_file(dir.path(), &database.url_with_password("the-right-one", CANARY).await);
    let refused = migrate(dir.path());
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    let words = "drydock: the store is unavailable: the database refuses the user or its password: ";
    assert!(refused.err.starts_with(words), "{}", refused.err);
    url_file(dir.path(), &database.url(None).replace('@', ":the-right-one@"));
    assert_eq!(migrate(dir.path()).code, 0);
}

#[test]
fn arguments_that_cannot_be_meant_are_bad_usage() {
    let dir = tempfile::tempdir().unwrap();
    let good = url_file(dir.path(), &format!("postgres://u:{CANARY}@127.0.0.1:9/d"));
    for arguments in [&["migrate-store"][..], &["migrate-store", "--from", "sqlite://d.db"]] {
        let said = run(&mut drydock(arguments));
        assert_eq!((said.code, said.out.as_str()), (64, ""));
        assert!(said.err.contains("--to-url-file"), "{}", said.err);
    }
    // What is wrong, and the flag it stands in.
    let postgres = format!("postgres://u:{CANARY}@h/d");
    let said = migrate_from(&postgres, &good);
    assert_eq!(said.code, 64);
    assert!(said.err.starts_with("drydock: `--from`: must be `sqlite://"), "{}", said.err);
    let said = migrate_from(&sqlite(dir.path()), &dir.path().join("no-such-file"));
    assert_eq!(said.code, 64);
    assert!(said.err.starts_with("drydock: `--to-url-file`: cannot be read: "), "{}", said.err);
    for (content, words) in [
        ("", "must hold a url that begins with `postgres://`"),
        ("sqlite://other.db", "must hold a url that begins with `postgres://`"),
        (postgres.replace("/d", "").as_str(), "must name the database"),
    ] {
        let said = migrate_from(&sqlite(dir.path()), &url_file(dir.path(), content));
        assert_eq!(said.code, 64);
        assert!(said.err.starts_with(&format!("drydock: `--to-url-file`: {words}")), "{}", said.err);
    }
    // What is not there is not made.
    let said = migrate_from(&sqlite(dir.path()), &url_file(dir.path(), &postgres));
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(said.err.contains("there is no file `"), "{}", said.err);
    assert!(!dir.path().join("drydock.db").exists());
}
