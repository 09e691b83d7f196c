//! Connections that only read. In WAL mode they never wait for the writer.
//!
//! Not sqlx's pool: that one arms a timer and asks the connection for a sign of life before each use. Here a
//! caller waits in line for a free connection, and its own deadline says how long.

use std::sync::{Mutex, PoisonError};

use sqlx::ConnectOptions as _;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::fault::read_fault;
use crate::store::error::StoreError;

/// How many reads run at once. A connection has a thread of its own and a page cache.
const READERS: u32 = 4;

/// The reading connections, opened when first needed.
#[derive(Debug)]
pub(super) struct Readers {
    options: SqliteConnectOptions,
    idle: Mutex<Vec<SqliteConnection>>,
    free: Semaphore,
}

impl Readers {
    pub(super) fn new(options: SqliteConnectOptions) -> Self {
        Self { options, idle: Mutex::default(), free: Semaphore::new(READERS as usize) }
    }

    /// A connection for one read; it comes back when the reader is dropped.
    pub(super) async fn get(&self) -> Result<Reader<'_>, StoreError> {
        let permit = self.free.acquire().await.map_err(|_| closed())?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(read_fault)?,
        };
        Ok(Reader { home: self, connection: Some(connection), _permit: permit })
    }

    /// Waits for the reads under way, then closes.
    pub(super) async fn close(&self) {
        let all = self.free.acquire_many(READERS).await;
        self.free.close();
        drop(all);
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in idle {
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, "a reading connection did not close well");
            }
        }
    }
}

/// The answer of a store that was closed.
pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("it was closed; Drydock is shutting down".to_owned())
}

/// A reading connection on loan.
#[derive(Debug)]
pub(super) struct Reader<'r> {
    home: &'r Readers,
    connection: Option<SqliteConnection>,
    _permit: SemaphorePermit<'r>,
}

impl Reader<'_> {
    /// Runs one read. After a failure the connection is not used again: the next read gets a fresh one.
    pub(super) async fn run<T>(
        &mut self,
        read: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        let connection = self.connection.as_mut().ok_or_else(closed)?;
        let result = read(connection).await;
        if result.is_err() {
            self.connection = None;
        }
        result.map_err(read_fault)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.home.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}
