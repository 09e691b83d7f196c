//! Reads of the store for subscribers: few at once, however many subscribers there are.
//!
//! The store has few places for reads, and gives them in turn. After a restart the ring is empty and every subscriber
//! that missed something reads at once: the tail, the drivers and the callers must not stand in line behind all of
//! them, so subscribers stand in a line of their own.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

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
    places: Semaphore,
}

impl Reads {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, places: Semaphore::new(PLACES) }
    }

    async fn place(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.places.acquire().await.ok()
    }

    /// See [`Store::events`].
    pub async fn events(&self, after: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
        let _place = self.place().await;
        self.store.events(after, limit).await
    }

    /// See [`Store::jobs`].
    pub async fn jobs(&self, filter: &JobFilter, page: &PageRequest) -> Result<Page<Job>, StoreError> {
        let _place = self.place().await;
        self.store.jobs(filter, page).await
    }

    /// See [`Store::job`].
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        let _place = self.place().await;
        self.store.job(id).await
    }

    /// See [`Store::job_events`].
    pub async fn job_events(&self, id: JobId, after: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
        let _place = self.place().await;
        self.store.job_events(id, after, limit).await
    }
}
