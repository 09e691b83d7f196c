//! Reads of the store for subscribers: few at once, however many subscribers there are.
//!
//! The store has few places for reads, and gives them in turn. After a restart the ring is empty and every subscriber
//! that missed something reads at once: the tail, the drivers and the callers must not stand in line behind all of
//! them, so subscribers stand in a line of their own.
//!
//! A read runs in a task of its own, which ends with its subscriber: a subscriber is only asked to go on while its
//! client has room for more, and one that stops in the middle of a read must not keep the place.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::domain::event::Event;
use crate::domain::id::JobId;
use crate::domain::job::Job;
use crate::domain::page::{Page, PageRequest};
use crate::store::contract::JobFilter;
use crate::store::{Store, StoreError};

/// How many reads for subscribers run at once: half of what SQLite's store runs in all.
const PLACES: usize = 2;

/// The store, as subscribers read it.
pub(super) struct Reads {
    store: Arc<dyn Store>,
    places: Arc<Semaphore>,
}

impl Reads {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, places: Arc::new(Semaphore::new(PLACES)) }
    }

    /// Waits for a place and reads. Dropped, it gives both up.
    async fn in_line<T: Send + 'static>(
        &self,
        read: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let places = Arc::clone(&self.places);
        let mut task = JoinSet::new();
        task.spawn(async move {
            // It is never closed.
            let _place = places.acquire_owned().await;
            read.await
        });
        match task.join_next().await {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => Err(StoreError::Unavailable(format!("a read ended by itself: {error}"))),
            None => Err(StoreError::Unavailable("a read was never begun".to_owned())),
        }
    }

    /// See [`Store::events`].
    pub async fn events(&self, after: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
        let store = Arc::clone(&self.store);
        self.in_line(async move { store.events(after, limit).await }).await
    }

    /// See [`Store::jobs`].
    pub async fn jobs(&self, filter: &JobFilter, page: &PageRequest) -> Result<Page<Job>, StoreError> {
        let (store, filter, page) = (Arc::clone(&self.store), filter.clone(), page.clone());
        self.in_line(async move { store.jobs(&filter, &page).await }).await
    }

    /// See [`Store::job`].
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        let store = Arc::clone(&self.store);
        self.in_line(async move { store.job(id).await }).await
    }

    /// See [`Store::job_events`].
    pub async fn job_events(&self, id: JobId, after: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
        let store = Arc::clone(&self.store);
        self.in_line(async move { store.job_events(id, after, limit).await }).await
    }
}
