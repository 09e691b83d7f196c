//! All open watches, so that one whose client has stopped reading ends at its age like any other.
//!
//! A stream is asked for its next message only once its client has room for the one before. A client that never reads but
//! keeps its connection alive would otherwise hold its subscription for as long as it likes.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use tokio::time::Instant;

use super::calls::WatchItem;
use super::watch::Subscription;
use crate::domain::error::Error;

/// How long after its age a watch is given to end by itself: one that is read does.
const GRACE: Duration = Duration::from_secs(1);

/// Open watches by the time at which they end.
#[derive(Default)]
pub(super) struct Berths(Mutex<Open>);

#[derive(Default)]
struct Open {
    by_end: BTreeMap<(Instant, u64), Weak<Berth>>,
    count: u64,
}

/// Where a watch lies, until it ends or is taken away. The lock is held while the watch is polled, and never for long.
pub(super) struct Berth(Mutex<Option<Subscription>>);

impl Berth {
    /// Drops the watch, with all that it holds.
    fn clear(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Berths {
    /// A watch that ends by itself at `ends_at` if it is read, and is ended soon after if it is not.
    pub fn moor(&self, subscription: Subscription, ends_at: Instant) -> Watch {
        let berth = Arc::new(Berth(Mutex::new(Some(subscription))));
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.count += 1;
        let key = (ends_at, open.count);
        open.by_end.insert(key, Arc::downgrade(&berth));
        Watch { berth, over: false }
    }

    /// Ends what should have ended by `now`, and forgets what has.
    pub fn sweep(&self, now: Instant) {
        let due = now.checked_sub(GRACE).unwrap_or(now);
        let over = {
            let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            open.by_end.retain(|_, berth| berth.strong_count() > 0);
            let later = open.by_end.split_off(&(due, 0));
            std::mem::replace(&mut open.by_end, later)
        };
        for berth in over.into_values().filter_map(|berth| berth.upgrade()) {
            berth.clear();
        }
    }
}

/// The reader's side of a watch: a stream of its messages. An error item is the last one.
pub struct Watch {
    berth: Arc<Berth>,
    over: bool,
}

impl Stream for Watch {
    type Item = Result<WatchItem, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        let polled = match &mut *this.berth.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(subscription) => subscription.poll_next(context),
            None => Poll::Ready(Some(Err(Error::WatchAged))),
        };
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            this.over = true;
            this.berth.clear();
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let berth = self.berth.0.lock().unwrap_or_else(PoisonError::into_inner);
        (berth.as_ref().map_or(0, Subscription::at_hand), None)
    }
}
