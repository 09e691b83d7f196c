//! What the store can answer other than well.

use crate::domain::id::{JobId, ProviderId, RequestId};
use crate::domain::target::Target;

/// A failed store call.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another live job holds the target.
    #[error("`{target}` is held by `{holder}`")]
    TargetBusy {
        /// The target.
        target: Target,
        /// Who holds it.
        holder: JobId,
    },
    /// Too many jobs wait for the target already.
    #[error("{waiting} jobs already wait for `{target}`")]
    QueueFull {
        /// The target.
        target: Target,
        /// How many wait.
        waiting: u32,
    },
    /// The request id was used before with another digest.
    #[error("request `{0}` was used before for something else")]
    RequestReused(RequestId),
    /// Somebody else wrote the job since it was read; an ordinary answer: read again.
    #[error("`{0}` was changed by somebody else")]
    Stale(JobId),
    /// The lease that the write was made under has passed to another holder: whoever wrote must stop driving.
    #[error("the lease of `{0}` has passed to another replica")]
    Fenced(ProviderId),
    /// The job does not exist.
    #[error("`{0}` does not exist")]
    Missing(JobId),
    /// A page token that this list never gave.
    #[error("the page token is not valid for this list")]
    BadPageToken,
    /// Events after the wanted position were already purged.
    #[error("events after position {wanted} are gone; the oldest kept is {oldest}")]
    PositionGone {
        /// What was asked for.
        wanted: u64,
        /// The oldest that is kept.
        oldest: u64,
    },
    /// The next events cannot be understood: damage, or a bug. Whoever reads them must be told, and goes on after them.
    #[error("events up to position {through} hold something unreadable: {why}")]
    DamagedEvents {
        /// The position after the commit that holds the damage.
        through: u64,
        /// What is wrong.
        why: String,
    },
    /// The database was made by a newer Drydock.
    #[error(
        "the database has schema {found}, and this Drydock knows up to {known}: run the newer Drydock, or restore an older backup"
    )]
    NewerSchema {
        /// The schema found.
        found: i64,
        /// The newest schema known.
        known: i64,
    },
    /// Another process has the database open.
    #[error("{path} is in use by another process; one Drydock at a time may open it")]
    Locked {
        /// The file.
        path: String,
    },
    /// The disk is full or the file cannot be written.
    #[error("the store cannot be written: {0}")]
    Unwritable(String),
    /// The database cannot be reached.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// A row cannot be understood: damage, or a bug.
    #[error("the store holds something unreadable: {0}")]
    Corrupt(String),
}
