//! Operations on targets that Drydock did not start, as the vendor showed them last.
//!
//! A start never waits for the vendor, so it cannot ask. But what was seen a moment ago, by a check or a list of
//! targets, is enough to refuse at once what the check would refuse a little later. Older sights are not believed:
//! the operation may be over. Only the check before the start decides; this only hurries its answer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::error::Error;
use crate::domain::job::Job;
use crate::domain::operation::Operation;
use crate::domain::target::Target;
use crate::kit::clock;

/// How long a sight is believed.
const FRESH: Duration = Duration::from_secs(30);
/// The most targets that are remembered; of more, later ones are not.
const MAX_TARGETS: usize = 10_000;

/// What was seen on the targets of one provider.
#[derive(Debug, Default)]
pub(super) struct Sights(Mutex<HashMap<Target, (String, Timestamp)>>);

impl Sights {
    /// Remembers what was seen on a target: an operation that no job stands for, or none.
    pub(super) fn note(&self, target: &Target, foreign: Option<&str>, now: Timestamp) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(what) = foreign else {
            seen.remove(target);
            return;
        };
        if seen.len() >= MAX_TARGETS {
            seen.retain(|_, (_, at)| clock::since(*at, now) < FRESH);
        }
        if seen.len() < MAX_TARGETS || seen.contains_key(target) {
            seen.insert(target.clone(), (what.to_owned(), now));
        }
    }

    /// Why a start that does not want to wait is refused, as far as is known.
    pub(super) fn refuses(&self, target: &Target, operation: &Operation, now: Timestamp) -> Option<Error> {
        match operation {
            Operation::Upgrade(_) | Operation::Reinstall(_) => {}
            // It starts later; what runs now says nothing of then.
            Operation::ScheduledUpgrade(_) => return None,
        }
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (what, at) = seen.get(target).filter(|(_, at)| clock::since(*at, now) < FRESH)?;
        Some(Error::ForeignBusy { target: target.clone(), what: what.clone(), seen: *at })
    }
}

/// Whether what runs on a job's target is, or may be, the job's own: its start was sent.
pub(super) const fn stands_for(job: &Job) -> bool {
    job.control.holds_target && (job.is_with_vendor() || job.control.first_lost.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::operation::{Reinstall, ScheduledUpgrade, Upgrade};

    fn target(n: usize) -> Target {
        Target::parse_name(&format!("providers/p/clusters/c{n}")).unwrap()
    }

    #[test]
    fn only_a_fresh_sight_refuses_and_only_what_starts_now() {
        let sights = Sights::default();
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        sights.note(&target(1), Some("task-7"), at(100));
        let refuses = |operation: Operation, now| sights.refuses(&target(1), &operation, at(now)).is_some();
        assert!(refuses(Operation::Upgrade(Upgrade::default()), 129));
        assert!(refuses(Operation::Reinstall(Reinstall::default()), 100));
        assert!(!refuses(Operation::Upgrade(Upgrade::default()), 130));
        assert!(!refuses(Operation::ScheduledUpgrade(ScheduledUpgrade::default()), 100));
        sights.note(&target(1), None, at(101));
        assert!(!refuses(Operation::Upgrade(Upgrade::default()), 101));
    }

    #[test]
    fn memory_is_bounded_and_old_sights_make_room() {
        let sights = Sights::default();
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        (0..=MAX_TARGETS).for_each(|n| sights.note(&target(n), Some("x"), at(0)));
        assert_eq!(sights.0.lock().unwrap().len(), MAX_TARGETS);
        sights.note(&target(MAX_TARGETS), Some("x"), at(60));
        assert_eq!(sights.0.lock().unwrap().len(), 1);
    }
}
