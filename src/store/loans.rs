//! A bounded set of connections, each lent to one reader at a time.
//!
//! Not sqlx's pool: that one arms a timer and asks the connection for a sign of life before each use. Here a
//! caller waits in line for a free place, and its own deadline says how long.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::StoreError;

/// The places, and the connections that nobody uses just now.
#[derive(Debug)]
pub(super) struct Loans<C> {
    places: u32,
    idle: Mutex<Vec<C>>,
    free: Semaphore,
}

impl<C> Loans<C> {
    /// Lends at most `places` connections at once.
    pub(super) fn new(places: u32) -> Self {
        Self { places, idle: Mutex::default(), free: Semaphore::new(places as usize) }
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// `Unavailable` once it was closed.
    pub(super) async fn place(&self) -> Result<Loan<'_, C>, StoreError> {
        let permit = self.free.acquire().await.map_err(|_| closed())?;
        let connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Ok(Loan { home: self, connection, _permit: permit })
    }

    /// Waits for what is lent, lends nothing more, and hands out what is left to be closed.
    pub(super) async fn close(&self) -> Vec<C> {
        let all = self.free.acquire_many(self.places).await;
        self.free.close();
        drop(all);
        self.take_idle()
    }

    /// Takes out what nobody uses just now.
    pub(super) fn take_idle(&self) -> Vec<C> {
        std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A place, and the connection that was idle there, if any. What is in it when it is dropped is lent again.
#[derive(Debug)]
pub(super) struct Loan<'l, C> {
    home: &'l Loans<C>,
    pub(super) connection: Option<C>,
    _permit: SemaphorePermit<'l>,
}

impl<C> Drop for Loan<'_, C> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.home.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

/// The answer of a store that was closed.
pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("it was closed; Drydock is shutting down".to_owned())
}
