//! What SQLite's errors mean to us.

use sqlx::error::DatabaseError;

use crate::store::fault::Fault;

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

/// What an answer of SQLite means.
pub(in crate::store) fn meaning(answer: &dyn DatabaseError) -> Fault {
    let text = answer.message().to_owned();
    // The extended code: the primary one is its low byte.
    let code = answer.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0);
    match code & 0xff {
        FULL => Fault::Unwritable(
            "the disk or the configured size is full; running jobs go on at their vendors, and writes work again \
             once there is room"
                .to_owned(),
        ),
        PERM | READONLY => Fault::Unwritable(format!("the file is read-only: {text}")),
        IOERR => Fault::Unwritable(format!("the disk reports a fault: {text}")),
        CORRUPT | NOTADB => Fault::Corrupt(text),
        CONSTRAINT | TOOBIG | MISMATCH => Fault::Refused(text),
        _ => Fault::Unavailable(text),
    }
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
}
