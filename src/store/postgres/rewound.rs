//! A database that has lost commits: restored under running replicas, or failed over to a standby that was behind.
//!
//! Then positions are given a second time, and a watch that stands at an old one would skip the new events up to there
//! in silence. Whoever finds less in the database than was seen before marks everything up to there, and one more, as
//! gone: positions go on above it, and every watch and token of the lost time is told `PositionGone`.
//!
//! It is looked for by every poll, and by the writer once it has the lock. A replica that knows less than the others had
//! seen cannot notice; its watches and theirs are told all the same once another one marks.

use sqlx::postgres::PgConnection;

use crate::store::durable::{self, Durable};
use crate::store::record::int;

pub(super) const MARK: &str = "\
    UPDATE counters SET position = greatest(position, $1), purged_through = greatest(purged_through, $1)";

/// Marks the database, which holds positions up to `found`, as gone up to `known`, which was seen in it before. Answers
/// the newest position from now on.
pub(super) async fn mark(connection: &mut PgConnection, found: u64, known: u64) -> Result<u64, sqlx::Error> {
    // One more than is known, so that a watch that has seen everything is told too.
    let past = known.saturating_add(1);
    durable::about_to(Durable::MarkRewound);
    sqlx::query(MARK).bind(int(past)).execute(connection).await?;
    durable::done(Durable::MarkRewound);
    tracing::error!(
        found,
        known,
        "the database has lost commits: it holds fewer events than were seen before (a restore, or a failover to a \
         standby that was behind). Watches are told to begin anew. What was accepted or started since is not known here \
         any more and may be started again: look at every job that has not ended yet"
    );
    Ok(past)
}
