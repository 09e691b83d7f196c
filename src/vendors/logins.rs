//! One login for many callers.
//!
//! Who waits while another logs in gets its session, or its failure, and does not log in again. A login that the vendor
//! *refused* is the answer to all who come for a while after it, too: jobs come one after another, and vendors lock an
//! account after some failed logins.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::{Reached, VendorError};
use crate::domain::error::VendorFault;

/// What a login gave, and which login it was.
#[derive(Clone, Debug)]
pub(super) struct LoggedIn<S> {
    /// The session, the token, or whatever else has to be had before the first call.
    pub made: S,
    /// The number of the login that made it: a later login has a larger one. From 1.
    pub login: u64,
}

/// The logins of one provider, and what the last one gave.
#[derive(Debug)]
pub(super) struct Logins<S> {
    cache: Mutex<Cache<S>>,
    /// Counts logins that ended, so that a waiter can tell that one ended while it waited.
    ended: AtomicU64,
    /// How long a refused login is not tried again.
    refused_for: Duration,
}

#[derive(Debug)]
struct Cache<S> {
    live: Option<LoggedIn<S>>,
    failed: Option<Failed>,
    closed: bool,
}

/// A login that failed.
#[derive(Debug)]
struct Failed {
    /// Its number.
    login: u64,
    at: Instant,
    error: VendorError,
}

impl Failed {
    /// Whether it is the answer to a caller who came when `ended` logins had ended.
    fn holds(&self, ended: u64, refused_for: Duration) -> bool {
        let refused = match self.error.kind {
            VendorFault::Unauthenticated | VendorFault::PermissionDenied => true,
            VendorFault::Unreachable
            | VendorFault::TimedOut
            | VendorFault::RateLimited
            | VendorFault::NotFound
            | VendorFault::Rejected
            | VendorFault::Garbled => false,
        };
        self.login > ended || (refused && self.at.elapsed() < refused_for)
    }
}

impl<S: Clone> Logins<S> {
    /// No login yet. A refused one is not tried again for `refused_for`: choose it so that the vendor does not lock the
    /// account.
    pub(super) fn new(refused_for: Duration) -> Self {
        let cache = Cache { live: None, failed: None, closed: false };
        Self { cache: Mutex::new(cache), ended: AtomicU64::new(0), refused_for }
    }

    /// What the last login gave, as long as it is `usable` and, where `refused` names a login, a later one gave it.
    /// Otherwise `log_in` runs, once for all who wait.
    ///
    /// # Errors
    /// What `log_in` ended with, here or for another caller. After [`close`](Self::close) nobody logs in any more.
    pub(super) async fn get(
        &self,
        refused: Option<u64>,
        usable: impl Fn(&S) -> bool,
        log_in: impl Future<Output = Result<S, VendorError>>,
    ) -> Result<LoggedIn<S>, VendorError> {
        let ended = self.ended.load(Ordering::Acquire);
        let mut cache = self.cache.lock().await;
        if cache.closed {
            return Err(VendorError::new(VendorFault::Unreachable, Reached::No, "Drydock is shutting down"));
        }
        if let Some(live) = &cache.live
            && refused.is_none_or(|old| live.login > old)
            && usable(&live.made)
        {
            return Ok(live.clone());
        }
        if let Some(failed) = cache.failed.as_ref().filter(|failed| failed.holds(ended, self.refused_for)) {
            return Err(failed.error.again());
        }
        let outcome = log_in.await;
        let login = self.ended.fetch_add(1, Ordering::AcqRel) + 1;
        match outcome {
            Ok(made) => {
                cache.failed = None;
                Ok(cache.live.insert(LoggedIn { made, login }).clone())
            }
            Err(error) => {
                cache.live = None;
                cache.failed = Some(Failed { login, at: Instant::now(), error: error.again() });
                Err(error)
            }
        }
    }

    /// What is in use, if anything; nobody logs in for it.
    pub(super) async fn live(&self) -> Option<LoggedIn<S>> {
        self.cache.lock().await.live.clone()
    }

    /// Forgets what this login gave, unless a later one took its place.
    pub(super) async fn forget(&self, login: u64) {
        let mut cache = self.cache.lock().await;
        if cache.live.as_ref().is_some_and(|live| live.login == login) {
            cache.live = None;
        }
    }

    /// Ends it: nobody logs in afterwards. Gives what there is to log out.
    pub(super) async fn close(&self) -> Option<S> {
        let mut cache = self.cache.lock().await;
        cache.closed = true;
        cache.live.take().map(|live| live.made)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::join_all;

    use super::*;

    const REFUSED_FOR: Duration = Duration::from_secs(60);

    /// A login that takes a second, and counts.
    struct Door {
        logins: Logins<usize>,
        tried: AtomicUsize,
        answers: Option<VendorFault>,
    }

    impl Door {
        fn new(answers: Option<VendorFault>) -> Self {
            Self { logins: Logins::new(REFUSED_FOR), tried: AtomicUsize::new(0), answers }
        }

        async fn get(&self, refused: Option<u64>) -> Result<LoggedIn<usize>, VendorError> {
            let log_in = async {
                let number = self.tried.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(1)).await;
                match self.answers {
                    None => Ok(number),
                    Some(kind) => Err(VendorError::new(kind, Reached::No, "no").with_code("X.1")),
                }
            };
            self.logins.get(refused, |_| true, log_in).await
        }

        fn tried(&self) -> usize {
            self.tried.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_callers_are_one_login_and_share_its_end() {
        for answers in [None, Some(VendorFault::Unreachable), Some(VendorFault::Unauthenticated)] {
            let door = Door::new(answers);
            let all = join_all((0..50).map(|_| door.get(None))).await;
            assert_eq!(door.tried(), 1, "{answers:?}");
            for one in all {
                assert_eq!(
                    one.err().map(|error| (error.kind, error.code.unwrap())),
                    answers.map(|kind| (kind, "X.1".to_owned()))
                );
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_holds_for_a_while_and_an_outage_for_its_waiters_only() {
        for (kind, tries) in [
            (VendorFault::Unauthenticated, 1),
            (VendorFault::PermissionDenied, 1),
            (VendorFault::Unreachable, 2),
            (VendorFault::RateLimited, 2),
        ] {
            let door = Door::new(Some(kind));
            door.get(None).await.unwrap_err();
            assert_eq!(door.get(None).await.unwrap_err().kind, kind);
            assert_eq!(door.tried(), tries, "{kind:?}");
            tokio::time::advance(REFUSED_FOR).await;
            door.get(None).await.unwrap_err();
            assert_eq!(door.tried(), tries + 1, "{kind:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_session_is_replaced_once_however_many_saw_it_refused() {
        let door = Door::new(None);
        let first = door.get(None).await.unwrap();
        let renewed = join_all((0..20).map(|_| door.get(Some(first.login)))).await;
        assert_eq!(door.tried(), 2);
        assert!(renewed.into_iter().all(|one| one.unwrap().made == 1));
        // Who forgets the old one late does not take the new one away.
        door.logins.forget(first.login).await;
        assert_eq!((door.get(None).await.unwrap().made, door.tried()), (1, 2));
        assert_eq!(door.logins.live().await.map(|live| live.made), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_longer_usable_is_made_anew() {
        let door = Door::new(None);
        door.get(None).await.unwrap();
        let next = door.logins.get(None, |made| *made > 0, async { Ok(7) }).await.unwrap();
        assert_eq!(next.made, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_end_nobody_logs_in() {
        let door = Door::new(None);
        door.get(None).await.unwrap();
        assert_eq!(door.logins.close().await, Some(0));
        assert_eq!(door.get(None).await.unwrap_err().reached, Reached::No);
        assert_eq!((door.tried(), door.logins.close().await), (1, None));
    }
}
