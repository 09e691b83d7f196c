//! How SQLite is told which index walks a list.

use super::save::bytes;
use crate::domain::id::JobId;
use crate::store::list::Dialect;

/// SQLite's words.
pub(super) struct Sqlite;

impl Dialect for Sqlite {
    type Db = sqlx::Sqlite;
    type Id = Vec<u8>;
    /// The first table leads.
    const JOIN: &'static str = "CROSS JOIN";
    /// Unary plus keeps SQLite from using an index.
    const CHECK: &'static str = "+";

    fn by(column: Option<&str>) -> String {
        match column {
            Some(column) => format!(" INDEXED BY jobs_by_{column}"),
            None => " INDEXED BY sqlite_autoindex_jobs_1".to_owned(),
        }
    }

    fn id(job: JobId) -> Vec<u8> {
        bytes(job)
    }
}
