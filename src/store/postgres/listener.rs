//! The connection that notifications arrive on.
//!
//! Nothing is sent on it while nothing happens, so a peer that is gone without a word (a firewall that forgot the
//! connection, a host without power) would not be missed until TCP gives up, which takes minutes or never comes. So when
//! it was silent for a while it is asked for a sign of life.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool, PgPoolOptions};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::session::Session;
use super::tail::{Channel, Heard};

/// How long after a fault the listener connects again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long it may take to connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long a sign of life may take.
const SIGN_WITHIN: Duration = Duration::from_secs(2);
/// How long a connection may take to close; one that is cut off cannot say goodbye.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);
/// The longest silence without a question.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);

/// What the listener works with.
pub(super) struct Listener {
    pub session: Session,
    pub channel: Channel,
    pub heard: Heard,
    /// Makes it connect anew.
    pub renew: Arc<Notify>,
    /// How often the newest position is asked for; a sign of life every tenth time is enough.
    pub poll: Duration,
}

/// Why hearing ended.
#[derive(Debug, thiserror::Error)]
enum Deaf {
    #[error("the connection was lost")]
    Lost,
    #[error("no sign of life within {} s", .0.as_secs())]
    Silent(Duration),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Listener {
    /// Listens until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            // A pool for one connection: a new one each time, because one that is cut off may keep its place for long.
            let pool = PgPoolOptions::new()
                .max_connections(1)
                .acquire_timeout(CONNECT_WITHIN)
                .max_lifetime(None)
                .idle_timeout(None)
                .connect_lazy_with(self.session.options().clone());
            let stopped = tokio::select! {
                biased;
                () = stop.cancelled() => true,
                () = self.renew.notified() => {
                    tracing::info!("notifications get lost; listening on a fresh connection");
                    false
                }
                deaf = self.hear(&pool) => {
                    tracing::debug!(error = %deaf, "the listener lost its connection; polling goes on");
                    false
                }
            };
            if timeout(CLOSE_WITHIN, pool.close()).await.is_err() {
                tracing::debug!("the listener's connection did not close in time");
            }
            if stopped || stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_none() {
                return;
            }
        }
    }

    /// Hears until the connection is of no use any more, and answers why.
    async fn hear(&self, pool: &PgPool) -> Deaf {
        match self.try_hear(pool).await {
            Ok(never) => match never {},
            Err(deaf) => deaf,
        }
    }

    async fn try_hear(&self, pool: &PgPool) -> Result<std::convert::Infallible, Deaf> {
        let connecting = async {
            let mut listener = PgListener::connect_with(pool).await?;
            listener.eager_reconnect(false);
            listener.listen(self.channel.name()).await?;
            Ok::<_, sqlx::Error>(listener)
        };
        let mut listener = within(CONNECT_WITHIN, connecting).await?;
        // What changed before about leases was not told; positions are asked for anyway.
        self.heard.leases();
        let silence = self.poll.saturating_mul(10).min(LONGEST_SILENCE);
        loop {
            // Given up in the middle, it goes on where it was: what has arrived by half waits in its buffer.
            match timeout(silence, listener.try_recv()).await {
                Ok(Ok(Some(notification))) => self.heard.word(notification.payload()),
                Ok(Ok(None)) => return Err(Deaf::Lost),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    within(SIGN_WITHIN, sqlx::raw_sql("SELECT 1").execute(&mut listener)).await?;
                }
            }
        }
    }
}

async fn within<T>(limit: Duration, what: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Deaf> {
    Ok(timeout(limit, what).await.map_err(|_| Deaf::Silent(limit))??)
}
