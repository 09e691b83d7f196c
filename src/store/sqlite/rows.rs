//! Rows of live jobs as the writer committed them last: what it wrote itself a moment ago, it need not read.
//!
//! A driver writes a job several times within some milliseconds, and to read the row before each is a way to SQLite's
//! thread and back that tells nothing new. It is exact: one process has the file, its one writer alone changes rows, and
//! * a row comes in as its ledger left it, and only when its commit is known to be durable;
//! * after any fault nothing is kept: a commit that failed may be there after all;
//! * jobs that ended or were purged go.
//!
//! Only a group that changes such jobs alone, and takes no target, is decided without reading. What else must be known, of
//! requests and of who else stands on a target, only the database knows.

use hashlink::LruCache;

use crate::domain::id::JobId;
use crate::domain::job::Job;
use crate::store::group::Work;
use crate::store::ledger::Ledger;

/// How many rows are kept; who was not written for longest goes first. Most take 1 to 2 KiB.
const ROOM: usize = 1024;
/// A job with more findings and parts than this, or with an answer of its vendor's above so many bytes, is not kept, so that no
/// row weighs much.
const SMALL: usize = 32;
const SMALL_BYTES: usize = 4 << 10;

/// The rows.
#[derive(Debug)]
pub(super) struct Rows {
    kept: LruCache<JobId, Job>,
}

impl Rows {
    /// None.
    pub(super) fn new() -> Self {
        Self { kept: LruCache::new(ROOM) }
    }

    /// A ledger that knows all that `works` may touch; `None` when the database must be asked.
    pub(super) fn ledger(&mut self, works: &[Work], position: u64) -> Option<Ledger> {
        let mut written = Vec::with_capacity(works.len());
        for work in works {
            match work {
                Work::Write(ask) => written.push(&ask.what.changes),
                Work::Create(_) | Work::Purge(_) | Work::Ping(_) => return None,
            }
        }
        let mut ledger = Ledger::new(position);
        for change in written.iter().copied().flatten() {
            ledger.know_job(self.kept.get(&change.id)?.clone());
        }
        let takes = written.iter().any(|changes| ledger.takers(changes).next().is_some());
        (!takes).then_some(ledger)
    }

    /// The rows of `ledger` are durable, and those of `gone` are no more.
    pub(super) fn committed(&mut self, ledger: &Ledger, gone: &[JobId]) {
        for job in ledger.written() {
            if job.status.state.is_ended() || !is_small(job) {
                self.kept.remove(&job.id);
            } else {
                self.kept.insert(job.id, job.clone());
            }
        }
        for id in gone {
            self.kept.remove(id);
        }
    }

    /// Something failed: what is in the database now, only the database knows.
    pub(super) fn doubt(&mut self) {
        self.kept.clear();
    }
}

fn is_small(job: &Job) -> bool {
    let answer = job.status.vendor.answer.as_ref().map_or(0, String::len);
    job.status.findings.len() + job.status.parts.len() <= SMALL && answer <= SMALL_BYTES
}
