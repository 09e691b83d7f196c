//! What the errors of a database mean for the group of writes that met them.

use sqlx::postgres::PgDatabaseError;

use super::error::StoreError;

/// A failed statement, by what it means for the group of writes that it is in. Can be told to many callers.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The disk is full, or the database cannot be written.
    #[error("{0}")]
    Unwritable(String),
    /// The database cannot be reached.
    #[error("{0}")]
    Unavailable(String),
    /// The database or a row is damaged.
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

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match &error {
            // What a database answered, only its own folder understands.
            sqlx::Error::Database(answer) => match answer.try_downcast_ref::<PgDatabaseError>() {
                Some(answer) => super::postgres::fault::meaning(answer),
                None => super::sqlite::fault::meaning(answer.as_ref()),
            },
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::RowNotFound => Self::Corrupt(text),
            // Everything else is about reaching the database (the enum is open).
            _ => Self::Unavailable(text),
        }
    }
}

/// A row that was read but cannot be understood.
pub(super) fn damage(error: StoreError) -> Fault {
    Fault::Corrupt(error.to_string())
}

/// A value that does not become JSON is refused like a row that the schema refuses.
pub(super) fn unwritten(error: StoreError) -> Fault {
    Fault::Refused(error.to_string())
}

/// For reads, where only the caller's answer is at stake.
pub(super) fn read_fault(error: sqlx::Error) -> StoreError {
    Fault::from(error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_worker_is_unavailable() {
        assert!(matches!(Fault::from(sqlx::Error::WorkerCrashed), Fault::Unavailable(_)));
    }
}
