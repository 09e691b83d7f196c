//! Which events were committed together. No call tells that, so it is read where it is kept.

use std::collections::HashMap;
use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use uuid::Uuid;

/// The commit of each event, by job and sequence.
#[derive(Clone, Debug, Default)]
pub struct Commits(HashMap<(String, u64), u64>);

impl Commits {
    /// From rows of job, sequence and commit.
    pub fn of(rows: Vec<(Uuid, i64, i64)>) -> Self {
        let number = |n: i64| u64::try_from(n).expect("a number that the schema keeps above zero");
        let entry = |(job, sequence, commit): (Uuid, i64, i64)| {
            ((format!("jobs/{job}"), number(sequence)), number(commit))
        };
        Self(rows.into_iter().map(entry).collect())
    }

    /// As the store's file has them; a gateway may have it open.
    pub async fn in_file(path: &Path) -> sqlx::Result<Self> {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let mut connection = options.connect().await?;
        let rows =
            sqlx::query_as("SELECT job, sequence, commit_no FROM events").fetch_all(&mut connection).await?;
        connection.close().await?;
        Ok(Self::of(rows))
    }

    /// The commit of an event.
    pub fn get(&self, job: &str, sequence: u64) -> Option<u64> {
        self.0.get(&(job.to_owned(), sequence)).copied()
    }
}
