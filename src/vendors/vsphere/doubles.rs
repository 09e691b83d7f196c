//! One upgrade under several names: a Supervisor's own, and those of the clusters that it spans.
//!
//! The engine keeps one live job for each name, and a check sees an upgrade that runs under another. Between the two
//! lies a moment: two jobs checked together, or a start that the target does not show yet. What this process started
//! lately under one name is not started under another. Starts are kept by the Supervisor where the check could tell it;
//! it stands in the job's notes, so that a process that takes a provider over holds what another one started before it
//! starts anything itself.
//!
//! A claim lives for two minutes from the start, from the takeover, or from the last look at its job: a job that is looked
//! at more often than that holds its claim until its end is seen, one that is looked at more seldom may lose it in between.
//! By then vCenter shows the upgrade on its target, which the check and the last look before a start read. Open stay a
//! start that vCenter does not show for two minutes while nobody looks, and names that an unreadable topology does not
//! bring together.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::target::Target;

/// How long a claim lives: what a target may take to show that an upgrade began.
const SHOWS_WITHIN: Duration = Duration::from_secs(120);

/// The starts of the last moments: what was started, under which name.
#[derive(Debug, Default)]
pub(super) struct Doubles(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    claims: HashMap<String, (String, Instant)>,
    /// With so many claims those that are over are looked for.
    sweep_at: usize,
}

impl Recent {
    /// Takes out what is over, once there is twice as much as the last time: to look through all of them at every claim
    /// would make a restart with many jobs slow.
    fn sweep(&mut self) {
        if self.claims.len() >= self.sweep_at {
            self.claims.retain(|_, (_, at)| at.elapsed() < SHOWS_WITHIN);
            self.sweep_at = self.claims.len().saturating_mul(2).max(64);
        }
    }
}

impl Doubles {
    /// Takes the right to start `whole` on behalf of `named`; the other name, when that has it.
    pub(super) fn claim(&self, whole: &Target, named: &Target) -> Result<(), String> {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.sweep();
        let named = named.to_string();
        match recent.claims.get(&whole.to_string()) {
            Some((other, at)) if *other != named && at.elapsed() < SHOWS_WITHIN => Err(other.clone()),
            Some(_) | None => {
                recent.claims.insert(whole.to_string(), (named, Instant::now()));
                Ok(())
            }
        }
    }

    /// A job is followed, and not seen at its end: it keeps its claim, and takes one that nobody has.
    pub(super) fn hold(&self, whole: &Target, named: &Target) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = named.to_string();
        match recent.claims.get(&whole.to_string()) {
            Some((other, at)) if *other != named && at.elapsed() < SHOWS_WITHIN => {}
            Some(_) | None => {
                recent.claims.insert(whole.to_string(), (named, Instant::now()));
            }
        }
    }

    /// Nothing was started after all, or it has ended.
    pub(super) fn release(&self, whole: &Target, named: &Target) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.claims.get(&whole.to_string()).is_some_and(|(holder, _)| *holder == named.to_string()) {
            recent.claims.remove(&whole.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_the_other_name_is_kept_out_and_only_for_a_while() {
        let of = |name: &str| Target::parse_name(&format!("providers/vc/{name}")).unwrap();
        let (cluster, supervisor) = (of("clusters/c"), of("supervisors/s"));
        let doubles = Doubles::default();
        doubles.claim(&supervisor, &cluster).unwrap();
        doubles.claim(&supervisor, &cluster).unwrap();
        assert_eq!(doubles.claim(&supervisor, &supervisor), Err("providers/vc/clusters/c".to_owned()));
        doubles.release(&supervisor, &supervisor);
        assert!(doubles.claim(&supervisor, &supervisor).is_err(), "who has no right gives none up");
        doubles.release(&supervisor, &cluster);
        doubles.claim(&supervisor, &supervisor).unwrap();
        tokio::time::advance(SHOWS_WITHIN).await;
        doubles.claim(&supervisor, &cluster).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn claims_that_are_over_do_not_pile_up() {
        let doubles = Doubles::default();
        for n in 0..1000 {
            let target = Target::parse_name(&format!("providers/vc/clusters/c{n}")).unwrap();
            doubles.claim(&target, &target).unwrap();
            tokio::time::advance(SHOWS_WITHIN / 10).await;
        }
        assert!(doubles.0.lock().unwrap().claims.len() <= 64);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_followed_keeps_the_claim_until_the_end_is_seen() {
        let of = |name: &str| Target::parse_name(&format!("providers/vc/{name}")).unwrap();
        let (cluster, supervisor) = (of("clusters/c"), of("supervisors/s"));
        let doubles = Doubles::default();
        doubles.claim(&supervisor, &cluster).unwrap();
        for _ in 0..5 {
            tokio::time::advance(SHOWS_WITHIN / 2).await;
            doubles.hold(&supervisor, &cluster);
            doubles.hold(&supervisor, &supervisor);
            assert!(doubles.claim(&supervisor, &supervisor).is_err());
        }
        doubles.release(&supervisor, &cluster);
        // After a restart, the first look brings the claim back.
        doubles.hold(&supervisor, &cluster);
        assert!(doubles.claim(&supervisor, &supervisor).is_err());
    }
}
