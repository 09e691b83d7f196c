//! What other replicas committed: notifications hurry it, asking at intervals finds it.
//!
//! A notification is sent within the transaction that it tells of, so it arrives after the commit or never. It may
//! get lost (the listener's connection broke, or died without a word), and then the question that is asked every
//! `store.poll_ms` finds the same a little later. When that happens again and again, the listener connects anew
//! (`listener.rs`).

use std::sync::Arc;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::connections::Connections;
use super::open::newest;
use super::rewound;

/// So many changes in a row that no notification told of, and the listener is taken for dead.
const UNTOLD: u32 = 3;

/// The channel of one store. Channels are the whole database's; schemas beside ours must not wake us.
#[derive(Clone, Debug)]
pub(super) struct Channel(String);

/// What a notification tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Events up to this position were committed.
    Events(u64),
    /// A replica came or left, or a lease was given up.
    Leases,
}

impl Word {
    fn text(self) -> String {
        match self {
            Self::Events(position) => format!("e{position}"),
            Self::Leases => "l".to_owned(),
        }
    }

    fn read(text: &str) -> Option<Self> {
        match text.split_at_checked(1)? {
            ("e", position) => position.parse().ok().map(Self::Events),
            ("l", "") => Some(Self::Leases),
            _ => None,
        }
    }
}

impl Channel {
    /// The channel of the store with this id.
    pub(super) fn of(store: Uuid) -> Self {
        Self(format!("drydock_{}", store.simple()))
    }

    /// Its name in the database.
    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// Tells every replica, this one too, once the transaction of `connection` is committed.
    pub(super) async fn tell(&self, connection: &mut PgConnection, word: Word) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT pg_notify($1, $2)").bind(&self.0).bind(word.text()).execute(connection).await?;
        Ok(())
    }

    /// Commits, and tells of it: one round trip.
    pub(super) async fn commit(
        &self,
        connection: &mut PgConnection,
        word: Option<Word>,
    ) -> Result<(), sqlx::Error> {
        let sql = match word {
            // Both are made of letters and digits of our own.
            Some(word) => format!("SELECT pg_notify('{}', '{}'); COMMIT", self.0, word.text()),
            None => "COMMIT".to_owned(),
        };
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
        Ok(())
    }
}

/// What is known of the others' changes.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub newest: watch::Sender<u64>,
    pub leases: watch::Sender<u64>,
}

impl Heard {
    /// Takes in a position that is committed. Says whether it is news.
    pub(super) fn position(&self, position: u64) -> bool {
        self.newest.send_if_modified(|known| {
            let later = position > *known;
            *known = position.max(*known);
            later
        })
    }

    /// Takes in that something changed about leases.
    pub(super) fn leases(&self) {
        self.leases.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Takes in what a notification says.
    pub(super) fn word(&self, text: &str) {
        match Word::read(text) {
            Some(Word::Events(position)) => drop(self.position(position)),
            Some(Word::Leases) => self.leases(),
            // Of a newer replica, perhaps.
            None => {}
        }
    }
}

/// Asks for the newest position at intervals until `stop`.
pub(super) async fn poll(
    connections: Arc<Connections>,
    heard: Heard,
    every: Duration,
    renew: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut untold = 0;
    let mut away = false;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        // Noted before asking: what is known by now is committed, so the answer cannot be less.
        let known = *heard.newest.borrow();
        let asked = async {
            match connections.run(newest).await? {
                found if found < known => {
                    let marking =
                        async |connection: &mut PgConnection| rewound::mark(connection, found, known).await;
                    connections.run(marking).await
                }
                found => Ok(found),
            }
        };
        let position = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            position = asked => position,
        };
        match position {
            Ok(position) => {
                if std::mem::take(&mut away) {
                    tracing::info!("the database is there again");
                }
                untold = if heard.position(position) { untold + 1 } else { 0 };
                if untold >= UNTOLD {
                    untold = 0;
                    renew.notify_one();
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!(%error, "the database is away; asking again");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_and_others_ignored() {
        for word in [Word::Events(0), Word::Events(u64::MAX), Word::Leases] {
            assert_eq!(Word::read(&word.text()), Some(word));
        }
        for other in ["", "e", "e-1", "ex", "lx", "z", "\u{e9}"] {
            assert_eq!(Word::read(other), None, "{other}");
        }
    }
}
