//! What PostgreSQL's errors mean to us, in words that say what to do.
//!
//! The server's own message is quoted; it names users, tables and settings but never a password.

use sqlx::postgres::PgDatabaseError;

use crate::store::fault::Fault;

/// What an answer of the server means, by its SQLSTATE
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
pub(in crate::store) fn meaning(answer: &PgDatabaseError) -> Fault {
    let text = answer.message();
    let code = answer.code();
    match code {
        "28P01" | "28000" => Fault::Unavailable(format!(
            "the database refuses the user or its password: {text}; see `store.url`, and pg_hba.conf on the server"
        )),
        "3D000" => Fault::Unavailable(format!("{text}: create it, or correct the name in `store.url`")),
        "42501" => Fault::Unwritable(format!(
            "the database user lacks a right: {text}; it needs CREATE on its schema for the first start and after \
             an upgrade, and SELECT, INSERT, UPDATE, DELETE on Drydock's tables always"
        )),
        "3F000" => Fault::Unwritable(format!(
            "{text}: create a schema that the database user may use, or set its search_path"
        )),
        "53300" => Fault::Unavailable(format!(
            "the database has no connection left: {text}; lower `store.max_connections` or raise max_connections on \
             the server"
        )),
        "53100" => Fault::Unwritable(format!(
            "the disk of the database is full: {text}; running jobs go on at their vendors, and writes work again \
             once there is room"
        )),
        "25006" => Fault::Unwritable(format!(
            "the database is read-only: {text}; `store.url` must lead to the primary, not to a standby"
        )),
        "57P01" | "57P02" | "57P03" => {
            Fault::Unavailable(format!("the database is stopping or starting: {text}"))
        }
        "57014" => {
            Fault::Unavailable(format!("the database took longer than `store.statement_timeout_ms`: {text}"))
        }
        "55P03" => Fault::Unavailable(format!(
            "another session keeps a lock that Drydock needs: {text}; look for a long transaction in pg_stat_activity"
        )),
        "58030" | "53400" => Fault::Unwritable(format!("the database reports a fault of its disk: {text}")),
        "XX001" | "XX002" => Fault::Corrupt(format!("the database reports damage: {text}")),
        // Data exceptions, broken constraints, a row beyond the program's limits.
        _ if code.starts_with("22") || code.starts_with("23") || code.starts_with("54") => {
            Fault::Refused(text.to_owned())
        }
        _ => Fault::Unavailable(format!("{text} (SQLSTATE {code})")),
    }
}

/// Whether the connection is of no use any more, while a fresh one may work: what a restarted server or a cut
/// network leaves behind.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(answer) => {
            matches!(answer.code().as_deref(), Some("57P01" | "57P02" | "57P03" | "25P03" | "57P05"))
        }
        _ => false,
    }
}
