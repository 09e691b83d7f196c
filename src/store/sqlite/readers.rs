//! Connections that only read. In WAL mode they never wait for the writer.

use sqlx::ConnectOptions as _;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::store::error::StoreError;
use crate::store::fault::read_fault;
use crate::store::loans::{Loan, Loans, closed};

/// How many reads run at once. A connection has a thread of its own and a page cache.
const READERS: u32 = 4;

/// The reading connections, opened when first needed.
#[derive(Debug)]
pub(super) struct Readers {
    options: SqliteConnectOptions,
    loans: Loans<SqliteConnection>,
}

impl Readers {
    pub(super) fn new(options: SqliteConnectOptions) -> Self {
        Self { options, loans: Loans::new(READERS) }
    }

    /// A connection for one read; it comes back when the reader is dropped.
    pub(super) async fn get(&self) -> Result<Reader<'_>, StoreError> {
        let mut loan = self.loans.place().await?;
        if loan.connection.is_none() {
            loan.connection = Some(self.options.connect().await.map_err(read_fault)?);
        }
        Ok(Reader(loan))
    }

    /// Waits for the reads under way, then closes.
    pub(super) async fn close(&self) {
        for connection in self.loans.close().await {
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, "a reading connection did not close well");
            }
        }
    }
}

/// A reading connection on loan.
#[derive(Debug)]
pub(super) struct Reader<'r>(Loan<'r, SqliteConnection>);

impl Reader<'_> {
    /// Runs one read. After a failure the connection is not used again: the next read gets a fresh one.
    pub(super) async fn run<T>(
        &mut self,
        read: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        let connection = self.0.connection.as_mut().ok_or_else(closed)?;
        let result = read(connection).await;
        if result.is_err() {
            self.0.connection = None;
        }
        result.map_err(read_fault)
    }
}
