//! Connections for short reads and for leases. They never wait for the writer.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::time::{Instant, timeout};

use super::fault::is_lost;
use super::session::{Session, close};
use crate::store::error::StoreError;
use crate::store::fault::Fault;
use crate::store::loans::{Loan, Loans};

/// A connection that lay idle for longer is asked for a sign of life before it is used.
const TRUSTED: Duration = Duration::from_secs(1);
/// How long that sign may take.
const SIGN_WITHIN: Duration = Duration::from_secs(1);

/// A bounded number of connections, opened when first needed.
#[derive(Debug)]
pub(super) struct Connections {
    session: Session,
    loans: Loans<Idle>,
}

#[derive(Debug)]
struct Idle {
    connection: PgConnection,
    since: Instant,
}

impl Connections {
    pub(super) fn new(session: Session, places: u32) -> Self {
        Self { session, loans: Loans::new(places) }
    }

    /// Runs one piece of work.
    ///
    /// A connection is lent again only after its work ended well: one that was left in the middle of it (the caller
    /// went away) may still have an answer on its way. When one turns out to be lost (the server was restarted), those
    /// that lie idle are thrown away, too.
    pub(super) async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        let mut loan = self.loans.place().await?;
        let mut connection = match alive(&mut loan).await {
            Some(connection) => connection,
            None => self.session.connect().await?,
        };
        match timeout(self.session.within(), work(&mut connection)).await {
            Ok(Ok(value)) => {
                loan.connection = Some(Idle { connection, since: Instant::now() });
                Ok(value)
            }
            Ok(Err(error)) => {
                if is_lost(&error) {
                    drop(self.loans.take_idle());
                }
                Err(self.session.name(error).into())
            }
            Err(_) => Err(self.no_answer()),
        }
    }

    fn no_answer(&self) -> StoreError {
        let seconds = self.session.within().as_secs();
        Fault::Unavailable(format!("no answer from the database within {seconds} s")).into()
    }

    /// Waits for the work under way, then closes.
    pub(super) async fn close(&self) {
        for idle in self.loans.close().await {
            close(idle.connection).await;
        }
    }
}

/// The connection of a place, if there is one and it is alive.
async fn alive(loan: &mut Loan<'_, Idle>) -> Option<PgConnection> {
    let Idle { mut connection, since } = loan.connection.take()?;
    if since.elapsed() < TRUSTED {
        return Some(connection);
    }
    matches!(timeout(SIGN_WITHIN, connection.ping()).await, Ok(Ok(()))).then_some(connection)
}
