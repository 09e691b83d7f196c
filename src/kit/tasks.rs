//! Owned tasks: every task has a name, is cancelled by one token, and is joined before the process ends.
//!
//! A panic in a task is never silent: it is logged with the task's name and reported by [`Tasks::shutdown`].

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The owner of a group of tasks. Clones share the group.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
    panics: Arc<AtomicUsize>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// A new, empty group.
    pub fn new() -> Self {
        Self { tracker: TaskTracker::new(), token: CancellationToken::new(), panics: Arc::default() }
    }

    /// The token that tells the group's tasks to end. A task should select on it.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Starts a named task that ends by itself after the token is cancelled.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that spawns; everything else goes through here"
    )]
    pub fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let panics = Arc::clone(&self.panics);
        let inner = tokio::spawn(future);
        self.tracker.spawn(async move {
            if let Err(error) = inner.await
                && error.is_panic()
            {
                panics.fetch_add(1, Ordering::Relaxed);
                tracing::error!(task.name = name, "task panicked; this is a bug in Drydock");
            }
        });
    }

    /// Cancels every task and waits for them, at most `deadline`. Says how it ended.
    pub async fn shutdown(&self, deadline: Duration) -> Ended {
        self.token.cancel();
        self.tracker.close();
        let joined = tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok();
        Ended { left: self.tracker.len(), panics: self.panics.load(Ordering::Relaxed), joined }
    }
}

/// How a group of tasks ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Tasks still running when the deadline passed.
    pub left: usize,
    /// Tasks that panicked over the group's life.
    pub panics: usize,
    /// Whether all tasks ended in time.
    pub joined: bool,
}
