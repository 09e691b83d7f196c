//! One list for many callers.
//!
//! After a lost answer each of a hundred jobs asks about its own target; one list answers for all of them. A caller
//! is only given a list that was asked for after the caller came, so nobody concludes from what was true before.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::wire::Summary;
use crate::vendors::error::VendorError;

/// The targets of one kind, by id.
pub(super) type Targets = Arc<HashMap<String, Summary>>;

/// The latest list.
#[derive(Debug, Default)]
pub(super) struct Roster {
    latest: Mutex<Option<(u64, Result<Targets, VendorError>)>>,
    /// Counts lists that were asked for.
    asked: AtomicU64,
}

impl Roster {
    /// A list that was asked for after this call began: another caller's, or one of its own by `ask`.
    pub(super) async fn fresh<F>(&self, ask: impl FnOnce() -> F) -> Result<Targets, VendorError>
    where
        F: Future<Output = Result<HashMap<String, Summary>, VendorError>>,
    {
        let came = self.asked.load(Ordering::Acquire);
        let mut latest = self.latest.lock().await;
        if let Some((number, answer)) = &*latest
            && *number > came
        {
            return answer.as_ref().map(Arc::clone).map_err(VendorError::again);
        }
        let number = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        // Dropped half-way, this call leaves no list behind, and the next caller asks again.
        *latest = None;
        let answer = ask().await.map(Arc::new);
        let kept = answer.as_ref().map(Arc::clone).map_err(VendorError::again);
        *latest = Some((number, kept));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn callers_that_wait_share_one_list_and_later_ones_do_not() {
        let roster = Roster::default();
        let asked = AtomicUsize::new(0);
        let one = || {
            roster.fresh(|| async {
                asked.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(HashMap::new())
            })
        };
        join_all((0..100).map(|_| one())).await;
        assert!(asked.load(Ordering::Relaxed) <= 2, "the first list, and one for all who came during it");
        let before = asked.load(Ordering::Relaxed);
        one().await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), before + 1, "a list of the past is not used");
    }
}
