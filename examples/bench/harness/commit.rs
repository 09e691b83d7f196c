//! One durable commit: the least that a database on this disk can do to keep something.

use std::path::Path;
use std::str::FromStr as _;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use tokio::time::Instant;

use super::row::median;

/// How many bytes one commit keeps: about a job with its first event.
const ROW: usize = 2048;

/// The middle time of a durable commit of one row in a database of its own in `folder`, in seconds.
pub async fn seconds(folder: &Path, count: usize) -> anyhow::Result<f64> {
    let url = format!("sqlite://{}", folder.join("yardstick.db").display());
    let mut database = SqliteConnectOptions::from_str(&url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .connect()
        .await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS kept (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        .execute(&mut database)
        .await?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        sqlx::query("INSERT INTO kept (body) VALUES (?)")
            .bind(vec![7_u8; ROW])
            .execute(&mut database)
            .await?;
        times.push(begun.elapsed().as_secs_f64());
    }
    Ok(median(&times))
}
