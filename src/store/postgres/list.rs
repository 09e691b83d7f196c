//! PostgreSQL plans lists by itself: it knows what the tables hold, so nothing is prescribed.

use sqlx::Postgres;
use uuid::Uuid;

use crate::domain::id::JobId;
use crate::store::list::Dialect;

/// PostgreSQL's words.
pub(super) struct Plain;

impl Dialect for Plain {
    type Db = Postgres;
    type Id = Uuid;
    const JOIN: &'static str = "JOIN";
    const CHECK: &'static str = "";

    fn by(_: Option<&str>) -> String {
        String::new()
    }

    fn id(job: JobId) -> Uuid {
        job.uuid()
    }
}
