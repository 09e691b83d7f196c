//! What SQLite's and sqlx's errors mean to us.

use crate::store::error::StoreError;

/// A failed statement, by what it means for the group of writes that it is in. Can be told to many callers.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The disk is full, or the file cannot be written.
    #[error("{0}")]
    Unwritable(String),
    /// The database cannot be reached.
    #[error("{0}")]
    Unavailable(String),
    /// The file or a row is damaged.
    #[error("{0}")]
    Corrupt(String),
    /// The schema's rules refuse a row. Harms nothing but the write that did it; it is a bug.
    #[error("{0}")]
    Refused(String),
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unwritable(text) => Self::Unwritable(text),
            Fault::Unavailable(text) => Self::Unavailable(text),
            Fault::Corrupt(text) | Fault::Refused(text) => Self::Corrupt(text),
        }
    }
}

// Primary result codes, https://www.sqlite.org/rescode.html
const PERM: i32 = 3;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const TOOBIG: i32 = 18;
const CONSTRAINT: i32 = 19;
const MISMATCH: i32 = 20;
const NOTADB: i32 = 26;

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match &error {
            sqlx::Error::Database(database) => {
                // The extended code: the primary one is its low byte.
                let code = database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0);
                match code & 0xff {
                    FULL => Self::Unwritable(
                        "the disk or the configured size is full; running jobs go on at their vendors, and \
                         writes work again once there is room"
                            .to_owned(),
                    ),
                    PERM | READONLY => Self::Unwritable(format!("the file is read-only: {text}")),
                    IOERR => Self::Unwritable(format!("the disk reports a fault: {text}")),
                    CORRUPT | NOTADB => Self::Corrupt(text),
                    CONSTRAINT | TOOBIG | MISMATCH => Self::Refused(text),
                    _ => Self::Unavailable(text),
                }
            }
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::RowNotFound => Self::Corrupt(text),
            // Everything else is about reaching the database (the enum is open).
            _ => Self::Unavailable(text),
        }
    }
}

/// For reads, where only the caller's answer is at stake.
pub(super) fn read_fault(error: sqlx::Error) -> StoreError {
    Fault::from(error).into()
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions as _, SqlSafeStr};

    use super::*;

    /// The fault of SQL that must fail, as SQLite itself reports it.
    async fn fault(setup: impl SqlSafeStr, sql: impl SqlSafeStr) -> Fault {
        let mut connection = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
        sqlx::raw_sql(setup).execute(&mut connection).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap_err().into()
    }

    #[tokio::test]
    async fn sqlites_errors_are_told_apart() {
        let table = "CREATE TABLE t (x BLOB UNIQUE)";
        let read_only = fault("PRAGMA query_only = ON", table).await;
        assert!(matches!(read_only, Fault::Unwritable(_)), "{read_only:?}");
        let full =
            fault("PRAGMA max_page_count = 5; CREATE TABLE t (x)", "INSERT INTO t VALUES (zeroblob(100000))")
                .await;
        assert!(matches!(full, Fault::Unwritable(_)), "{full:?}");
        let twice = fault("CREATE TABLE t (x UNIQUE)", "INSERT INTO t VALUES (1), (1)").await;
        assert!(matches!(twice, Fault::Refused(_)), "{twice:?}");
        let unknown = fault(table, "SELECT * FROM nothing").await;
        assert!(matches!(unknown, Fault::Unavailable(_)), "{unknown:?}");
    }

    #[test]
    fn a_closed_worker_is_unavailable() {
        assert!(matches!(Fault::from(sqlx::Error::WorkerCrashed), Fault::Unavailable(_)));
    }
}
