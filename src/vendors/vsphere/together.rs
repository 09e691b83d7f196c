//! Calls that run at once, a bounded number of them.

use std::future::Future;

use futures_util::StreamExt;
use futures_util::stream;

/// How many calls of one round run at once; the provider's own limits hold besides.
pub(super) const AT_ONCE: usize = 8;

/// Runs futures, at most [`AT_ONCE`] at a time. Their outputs, in order.
pub(super) async fn together<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    // Collected first: a stream over a borrowing closure is not `Send` enough for a trait's boxed future.
    let futures: Vec<F> = futures.collect();
    stream::iter(futures).buffered(AT_ONCE).collect().await
}
