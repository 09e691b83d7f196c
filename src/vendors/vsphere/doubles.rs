//! One upgrade under two names.
//!
//! The engine keeps one live job for each name, and a check sees an upgrade that runs under the other. Between the two
//! lies a moment: two jobs checked together, or a start that the target does not show yet. What this process started
//! lately under one name is not started under the other.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::target::Target;

/// How long a target may take to show that an upgrade began.
const SHOWS_WITHIN: Duration = Duration::from_secs(120);

/// The starts of the last moments: what was started, under which name.
#[derive(Debug, Default)]
pub(super) struct Doubles(Mutex<HashMap<String, (String, Instant)>>);

impl Doubles {
    /// Takes the right to start `aimed` on behalf of `named`; the other name, when that has it.
    pub(super) fn claim(&self, aimed: &Target, named: &Target) -> Result<(), String> {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|_, (_, at)| at.elapsed() < SHOWS_WITHIN);
        let named = named.to_string();
        match recent.get(&aimed.to_string()) {
            Some((other, _)) if *other != named => Err(other.clone()),
            Some(_) | None => {
                recent.insert(aimed.to_string(), (named, Instant::now()));
                Ok(())
            }
        }
    }

    /// Nothing was started after all, or it has ended.
    pub(super) fn release(&self, aimed: &Target, named: &Target) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.get(&aimed.to_string()).is_some_and(|(holder, _)| *holder == named.to_string()) {
            recent.remove(&aimed.to_string());
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
}
