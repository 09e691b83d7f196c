//! What only a file can do: be locked, full, read-only, newer, damaged, or read by somebody else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drydock::domain::event::Event;
use drydock::domain::state::JobState;
use drydock::store::settings::StoreSettings;
use drydock::store::sqlite::SqliteStore;
use drydock::store::{Store, StoreError};
use futures_util::future::join_all;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use crate::fixture::*;

/// A database file in a folder of its own.
pub struct Sqlite(TempDir);

impl Sqlite {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("drydock.db")
    }

    pub fn settings(&self) -> StoreSettings {
        StoreSettings { url: format!("sqlite://{}", self.path().display()), ..StoreSettings::default() }
    }

    pub async fn try_open(&self) -> Result<Arc<SqliteStore>, StoreError> {
        SqliteStore::open(&self.settings()).await
    }

    /// Another program's connection to the file.
    pub async fn beside(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.path()).connect().await.unwrap()
    }

    /// Runs SQL behind the store's back.
    pub async fn tamper(&self, sql: &'static str) {
        let mut connection = self.beside().await;
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Whether any file of the database holds these bytes.
    fn holds(&self, bytes: &[u8]) -> bool {
        fs::read_dir(self.0.path()).unwrap().any(|file| {
            let content = fs::read(file.unwrap().path()).unwrap();
            content.windows(bytes.len()).any(|window| window == bytes)
        })
    }
}

impl Backend for Sqlite {
    async fn open(&self) -> Arc<dyn Store> {
        self.try_open().await.unwrap()
    }
}

#[tokio::test]
async fn a_second_opener_is_kept_out() {
    let file = Sqlite::new();
    let store = file.try_open().await.unwrap();
    let second = file.try_open().await;
    assert!(
        matches!(&second, Err(StoreError::Locked { path }) if path.ends_with("drydock.db")),
        "{second:?}"
    );

    // Another name of the same file meets the same lock.
    let link = file.0.path().join("link.db");
    std::os::unix::fs::symlink(file.path(), &link).unwrap();
    let by_link = StoreSettings { url: format!("sqlite://{}", link.display()), ..file.settings() };
    assert!(matches!(SqliteStore::open(&by_link).await, Err(StoreError::Locked { .. })));
    store.close().await;
    file.try_open().await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let file = Sqlite::new();
    file.try_open().await.unwrap().close().await;
    file.tamper("INSERT INTO _sqlx_migrations VALUES (9999, 'later', 0, TRUE, x'00', 0)").await;
    let before = fs::read(file.path()).unwrap();
    let answer = file.try_open().await;
    assert!(
        matches!(answer, Err(StoreError::NewerSchema { found: 9999, known }) if known < 9999),
        "{answer:?}"
    );
    assert_eq!(fs::read(file.path()).unwrap(), before);
}

#[tokio::test]
async fn another_programs_database_is_left_alone() {
    let file = Sqlite::new();
    fs::write(file.path(), "").unwrap();
    file.tamper("CREATE TABLE theirs (x)").await;
    let answer = file.try_open().await;
    assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{answer:?}");

    fs::write(file.path(), "no database at all, but long enough to be looked at by sqlite. ".repeat(100))
        .unwrap();
    let answer = file.try_open().await;
    assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{answer:?}");
}

#[tokio::test]
async fn only_its_user_may_read_the_files() {
    let file = Sqlite::new();
    let store = file.open().await;
    create_one(&store, new_job(1, "vc/a")).await;
    let mut names = Vec::new();
    for entry in fs::read_dir(file.0.path()).unwrap() {
        let entry = entry.unwrap();
        names.push(entry.file_name().into_string().unwrap());
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{names:?}");
    }
    names.sort();
    assert_eq!(names, ["drydock.db", "drydock.db-shm", "drydock.db-wal", "drydock.db.lock"]);
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let settings =
        StoreSettings { url: "sqlite:///nowhere/at/all/drydock.db".to_owned(), ..StoreSettings::default() };
    let answer = SqliteStore::open(&settings).await.unwrap_err();
    assert!(answer.to_string().contains("/nowhere/at/all"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_writes_share_commits() {
    let file = Sqlite::new();
    let store = file.try_open().await.unwrap();
    let shared: Arc<dyn Store> = store.clone();
    let answers = join_all((0..64).map(|n| create_one(&shared, new_job(n, &format!("vc/c{n}"))))).await;
    assert_eq!(answers.len(), 64);
    let count = store.commit_count();
    assert_eq!(count.writes, 64);
    assert!(count.commits < count.writes, "{count:?}");
}

#[tokio::test]
async fn a_write_that_breaks_the_schema_fails_alone() {
    let file = Sqlite::new();
    file.try_open().await.unwrap().close().await;
    file.tamper(
        "CREATE TRIGGER trap BEFORE INSERT ON jobs WHEN new.target LIKE '%poison' \
         BEGIN SELECT raise(ABORT, 'trapped'); END",
    )
    .await;
    let store = file.open().await;
    // Polled in order on one thread: the first goes to the writer alone, the others wait and form a group.
    let places = ["vc/a", "vc/b", "vc/poison", "vc/c"];
    let answers =
        join_all(places.iter().zip(0..).map(|(place, n)| store.create(jobs(vec![new_job(n, place)])))).await;
    for ((place, n), answer) in places.iter().zip(0..).zip(answers) {
        assert_eq!(answer.is_ok(), *place != "vc/poison", "{place}: {answer:?}");
        assert_eq!(store.job(id(n)).await.unwrap().is_some(), *place != "vc/poison");
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_gets_well() {
    let file = Sqlite::new();
    let small = StoreSettings { max_size_mib: Some(1), ..file.settings() };
    let store: Arc<dyn Store> = SqliteStore::open(&small).await.unwrap();
    let first = create_one(&store, new_job(0, "vc/c0")).await;
    let mut n = 0;
    let refusal = loop {
        n += 1;
        assert!(n < 1000, "the quota never bit");
        let mut job = new_job(n, &format!("vc/c{n}"));
        job.status.vendor.answer = Some("x".repeat(16_000));
        if let Err(error) = store.create(jobs(vec![job])).await {
            break error;
        }
    };
    assert!(matches!(&refusal, StoreError::Unwritable(text) if text.contains("full")), "{refusal}");
    assert_eq!(store.job(id(n)).await.unwrap(), None, "what was refused is not there");
    assert_eq!(store.job(id(n - 1)).await.unwrap().unwrap().id, id(n - 1), "what was answered is");
    let newest = *store.newest_position().borrow();
    assert_eq!(all_events(&store, 100).await.last().unwrap().position, newest);

    // Room again: erased pages are used for new rows.
    file.tamper("DELETE FROM jobs WHERE target LIKE '%/c5'").await;
    create_one(&store, new_job(n + 1, "vc/room")).await;
    end(&store, &first).await;
    store.ping().await.unwrap();
}

#[tokio::test]
async fn what_was_answered_is_in_the_files_at_once() {
    let file = Sqlite::new();
    let store = file.open().await;
    let job = create_one(&store, new_job(1, "vc/a")).await;
    let ended = end(&store, &job).await;
    let events = store.events(0, 10).await.unwrap();

    // As a crash leaves them: never closed, the log not yet folded in.
    let after_crash = Sqlite::new();
    for name in ["drydock.db", "drydock.db-wal"] {
        fs::copy(file.0.path().join(name), after_crash.0.path().join(name)).unwrap();
    }
    let recovered = after_crash.open().await;
    assert_eq!(recovered.id(), store.id());
    assert_eq!(recovered.job(job.id).await.unwrap(), Some(ended));
    assert_eq!(recovered.events(0, 10).await.unwrap(), events);
    assert_eq!(*recovered.newest_position().borrow(), events[1].position);
}

#[tokio::test]
async fn a_commit_that_is_there_after_all_is_counted() {
    let file = Sqlite::new();
    let store = file.open().await;
    let job = create_one(&store, new_job(1, "vc/a")).await;
    // As if a commit had failed to answer and yet was written.
    file.tamper(
        "INSERT INTO events SELECT position + 1, commit_no + 1, job, sequence + 1, time, kind, message, status \
         FROM events",
    )
    .await;
    let clash = try_one(&store, jobs(vec![new_job(2, "vc/b")])).await;
    assert!(clash.is_err(), "{clash:?}");
    create_one(&store, new_job(3, "vc/c")).await;
    let told: Vec<_> = all_events(&store, 10).await.iter().map(|e| (e.position, e.job)).collect();
    assert_eq!(told, [(1, job.id), (2, job.id), (3, id(3))]);
}

#[tokio::test]
async fn a_purge_is_told_to_late_readers() {
    let file = Sqlite::new();
    let store = file.open().await;
    for n in 0..5 {
        create_one(&store, new_job(n, &format!("vc/c{n}"))).await;
    }
    let all = store.events(0, 10).await.unwrap();
    let purged = all[2].position;
    file.tamper("DELETE FROM events WHERE position <= 3").await;
    file.tamper("UPDATE meta SET value = '3' WHERE key = 'purged_through'").await;
    assert_eq!(purged, 3);
    for wanted in 0..3 {
        let answer = store.events(wanted, 10).await;
        assert!(
            matches!(answer, Err(StoreError::PositionGone { wanted: w, oldest: 4 }) if w == wanted),
            "{answer:?}"
        );
    }
    assert_eq!(store.events(3, 10).await.unwrap(), all[3..]);

    // A position is not used again, even when the newest events are gone.
    file.tamper("DELETE FROM events").await;
    store.close().await;
    let store = file.open().await;
    create_one(&store, new_job(9, "vc/c9")).await;
    assert_eq!(*store.newest_position().borrow(), all[4].position + 1);
}

#[tokio::test]
async fn an_erased_password_leaves_no_bytes() {
    let canary = b"sealed-canary-1c7f0e5a9b";
    let file = Sqlite::new();
    let store = file.open().await;
    let mut wanted = new_job(1, "vc/a");
    wanted.sealed_password = Some(canary.to_vec());
    let job = create_one(&store, wanted).await;
    assert!(file.holds(canary), "the check must be able to see it");

    let mut erase = change(&job, JobState::Running);
    erase.erase_password = true;
    write_one(&store, erase).await.unwrap();
    // The log is emptied after the answer; a read that is under way just then puts it off to the next write.
    for _ in 0..100 {
        store.ping().await.unwrap();
        if !file.holds(canary) {
            return;
        }
    }
    panic!("an erased password is still on the disk");
}

#[tokio::test]
async fn a_password_erased_right_before_a_crash_leaves_no_bytes_once_opened_again() {
    let canary = b"sealed-canary-5be1d20c77";
    let file = Sqlite::new();
    let store = file.open().await;
    let mut wanted = new_job(1, "vc/a");
    wanted.sealed_password = Some(canary.to_vec());
    let job = create_one(&store, wanted).await;
    // A reader keeps the log from being emptied, so that it is as after a crash between the two.
    let mut reader = SqliteConnectOptions::new().filename(file.path()).connect().await.unwrap();
    sqlx::query("BEGIN").execute(&mut reader).await.unwrap();
    sqlx::query("SELECT * FROM jobs").fetch_all(&mut reader).await.unwrap();
    let mut erase = change(&job, JobState::Running);
    erase.erase_password = true;
    write_one(&store, erase).await.unwrap();
    let crashed = Sqlite::new();
    for suffix in ["", "-wal"] {
        let name = |file: &Sqlite| format!("{}{suffix}", file.path().display());
        fs::copy(name(&file), name(&crashed)).unwrap();
    }
    assert!(crashed.holds(canary), "the check must be able to see it");

    let _store = crashed.open().await;
    let begun = tokio::time::Instant::now();
    while crashed.holds(canary) {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "it is still on the disk");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_damaged_row_harms_only_its_own_job() {
    let file = Sqlite::new();
    let store = file.open().await;
    let made = create(&store, vec![new_job(1, "vc/a"), new_job(2, "vc/b")]).await;
    file.tamper("UPDATE jobs SET status = '{' WHERE target LIKE '%/a'").await;
    // What the writer remembers of a row, it does not read.
    store.close().await;
    let store = file.open().await;
    assert!(
        matches!(store.job(id(1)).await, Err(StoreError::Corrupt(text)) if text.contains(&id(1).to_string()))
    );
    let answers =
        store.write(made.iter().map(|job| change(job, JobState::Running)).collect(), None).await.unwrap();
    assert!(matches!(answers[0], Err(StoreError::Corrupt(_))), "{answers:?}");
    assert!(answers[1].is_ok(), "{answers:?}");

    // Damage that cannot be laid to one job fails its own write, not those that share the group.
    let keyed = |n| keyed(key(5), 1, vec![new_job(n, "vc/k")]);
    try_one(&store, keyed(10)).await.unwrap();
    file.tamper("PRAGMA ignore_check_constraints = ON; UPDATE requests SET digest = x'00'").await;
    let answers = join_all(
        [jobs(vec![new_job(20, "vc/x")]), keyed(21), jobs(vec![new_job(22, "vc/y")])]
            .map(|request| try_one(&store, request)),
    )
    .await;
    assert!(matches!(answers[1], Err(StoreError::Corrupt(_))), "{answers:?}");
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
}

#[tokio::test]
async fn damaged_events_are_told_and_never_a_part_of_their_commit_is_given() {
    let file = Sqlite::new();
    let store = file.open().await;
    // Three commits: 1; 2, 3 and 4; 5.
    create_one(&store, new_job(1, "vc/a")).await;
    create(&store, (2..=4).map(|n| new_job(n, &format!("vc/{n}"))).collect()).await;
    create_one(&store, new_job(5, "vc/e")).await;
    file.tamper("UPDATE events SET status = '{' WHERE position = 3").await;
    let positions = |events: Vec<Event>| events.iter().map(|event| event.position).collect::<Vec<_>>();
    assert_eq!(positions(store.events(0, 10).await.unwrap()), [1], "up to the damage");
    for inside in 1..=2 {
        let told = store.events(inside, 10).await;
        assert!(matches!(told, Err(StoreError::DamagedEvents { through: 4, .. })), "{inside}: {told:?}");
    }
    assert_eq!(positions(store.events(4, 10).await.unwrap()), [5], "and after it");
}

#[tokio::test]
async fn damaged_live_jobs_do_not_keep_the_others_from_going_on() {
    let file = Sqlite::new();
    let store = file.open().await;
    let made = create(&store, (1..=5).map(|n| new_job(n, &format!("vc/{n}"))).collect()).await;
    file.tamper(
        "UPDATE jobs SET status = '{' WHERE target LIKE '%/1' OR target LIKE '%/2' OR target LIKE '%/4'",
    )
    .await;
    let provider = &made[0].spec.target.provider;
    let mut read = Vec::new();
    let mut after = None;
    loop {
        let page = store.live_jobs(provider, after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        read.extend(page.iter().map(|job| job.id));
    }
    assert_eq!(read, [id(3), id(5)]);
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    // Root may write anywhere, so a file stands where the folder should be.
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    let url = format!("sqlite://{}/drydock.db", Path::new(&blocked).display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(SqliteStore::open(&StoreSettings { url, ..StoreSettings::default() }));
    assert!(matches!(answer, Err(StoreError::Unavailable(_) | StoreError::Unwritable(_))), "{answer:?}");
}
