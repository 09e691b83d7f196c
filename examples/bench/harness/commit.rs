//! One durable commit: the least that a database on this disk can do to keep something.

use std::path::Path;
use std::str::FromStr as _;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::Instant;

use super::row::median;

/// How many bytes one commit keeps: about a job with its first event.
const ROW: usize = 2048;

/// A database of its own, as durable as the gateway's.
pub struct Yard(SqliteConnection);

impl Yard {
    /// Makes it in `folder`.
    pub async fn open(folder: &Path) -> anyhow::Result<Self> {
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
        Ok(Self(database))
    }

    /// Commits one row; how long that took, in seconds.
    pub async fn commit(&mut self) -> anyhow::Result<f64> {
        let begun = Instant::now();
        sqlx::query("INSERT INTO kept (body) VALUES (?)").bind(vec![7_u8; ROW]).execute(&mut self.0).await?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// The middle time of so many commits one after the other, in seconds.
    pub async fn commits(&mut self, count: usize) -> anyhow::Result<f64> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            times.push(self.commit().await?);
        }
        Ok(median(&times))
    }

    /// Closes it.
    pub async fn close(self) -> anyhow::Result<()> {
        Ok(self.0.close().await?)
    }
}
