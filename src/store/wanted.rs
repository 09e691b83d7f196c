//! What a group of writes may touch, and so what its ledger must know.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::group::Work;
use super::ledger::Ledger;
use crate::domain::id::{JobId, ProviderId};
use crate::domain::target::Target;

/// The rows to read before the group is decided.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub jobs: BTreeSet<Uuid>,
    pub requests: BTreeSet<Uuid>,
    /// Targets that new jobs want; see also [`Wanted::targets`].
    new_targets: BTreeSet<Target>,
    /// Jobs that shall hold their target. The targets of those that do not yet matter too.
    pub takers: BTreeSet<Uuid>,
    /// Providers whose leases guard a write.
    pub guarded: BTreeSet<ProviderId>,
}

impl Wanted {
    /// What `works` name.
    pub(super) fn of(works: &[Work]) -> Self {
        let mut wanted = Self::default();
        for work in works {
            match work {
                Work::Create(ask) => {
                    let request = &ask.what;
                    wanted.requests.extend(request.request.map(|(id, _)| id.uuid()));
                    wanted.jobs.extend(request.touched().map(JobId::uuid));
                    wanted.new_targets.extend(request.jobs.iter().map(|job| job.spec.target.clone()));
                }
                Work::Write(ask) => {
                    let changes = &ask.what.changes;
                    wanted.jobs.extend(changes.iter().map(|change| change.id.uuid()));
                    let takers = changes.iter().filter(|change| change.control.holds_target);
                    wanted.takers.extend(takers.map(|change| change.id.uuid()));
                    wanted.guarded.extend(ask.what.guard.as_ref().map(|guard| guard.provider.clone()));
                }
                Work::Purge(_) | Work::Ping(_) => {}
            }
        }
        wanted
    }

    /// The targets that new jobs want, by name.
    pub(super) fn new_targets(&self) -> Vec<String> {
        self.new_targets.iter().map(ToString::to_string).collect()
    }

    /// The targets whose live jobs matter, by name, once the jobs are in the ledger.
    pub(super) fn targets(&self, works: &[Work], ledger: &Ledger) -> BTreeSet<String> {
        let mut targets = self.new_targets.clone();
        for work in works {
            if let Work::Write(ask) = work {
                targets.extend(ledger.takers(&ask.what.changes).cloned());
            }
        }
        targets.iter().map(ToString::to_string).collect()
    }
}
