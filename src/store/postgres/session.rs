//! Connections, and what every one of them is set to.

use std::time::Duration;
use std::{fmt, io};

use rustls::CertificateError;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tokio::time::timeout;

use crate::store::fault::Fault;

/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long a statement may wait for a lock. Ours are held for milliseconds.
const LOCK_WITHIN: Duration = Duration::from_secs(5);
/// How long a transaction may do nothing. A replica that was stopped in the middle of one holds up all the others
/// until then, so it is shorter than any lease.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(2);
/// How long the server keeps up with a peer that does not take its answers.
const PEER_GONE_AFTER: Duration = Duration::from_secs(10);
/// What the network may add to the server's own time for a statement.
const NETWORK: Duration = Duration::from_secs(5);

/// How long a connection may take to say goodbye. The server ends what does not.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

/// How to connect.
#[derive(Clone)]
pub(super) struct Session {
    options: PgConnectOptions,
    settings: String,
    within: Duration,
}

/// Not derived: sqlx prints the password of its options.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.options.get_username();
        f.debug_struct("Session").field("place", &self.place()).field("user", &user).finish_non_exhaustive()
    }
}

/// Closes a connection, and does not wait for a peer that is gone.
pub(super) async fn close(connection: PgConnection) {
    match timeout(CLOSE_WITHIN, connection.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection did not close well"),
        Err(_) => tracing::debug!("a connection did not close in time"),
    }
}

impl Session {
    /// `statement` is how long the server may work on one statement.
    pub(super) fn new(options: PgConnectOptions, statement: Duration) -> Self {
        let settings = settings(statement);
        Self { options, settings, within: statement + NETWORK }
    }

    /// The same for migrations, which may take long and wait for each other.
    pub(super) fn patient(&self, wait: Duration) -> Self {
        let settings = format!(
            "{}; SET lock_timeout = {1}; SET statement_timeout = {1}",
            self.settings,
            wait.as_millis()
        );
        Self { options: self.options.clone(), settings, within: wait + NETWORK }
    }

    /// How to connect without our settings; for the listener, which only waits.
    pub(super) const fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// How long one statement may take, with its way there and back.
    pub(super) const fn within(&self) -> Duration {
        self.within
    }

    /// A fresh connection.
    pub(super) async fn connect(&self) -> Result<PgConnection, Fault> {
        let connecting = async {
            let mut connection = self.options.connect().await?;
            // Made of our own words and numbers alone.
            sqlx::raw_sql(AssertSqlSafe(self.settings.clone())).execute(&mut connection).await?;
            Ok::<_, sqlx::Error>(connection)
        };
        match timeout(CONNECT_WITHIN, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(self.name(error)),
            Err(_) => Err(Fault::Unavailable(format!(
                "no answer from the database at {} within {} s",
                self.place(),
                CONNECT_WITHIN.as_secs()
            ))),
        }
    }

    /// Says which database could not be reached.
    pub(super) fn name(&self, error: sqlx::Error) -> Fault {
        match error {
            sqlx::Error::Io(error) => match tls_fault(&error) {
                Some(text) => self.no_tls(&text),
                None => {
                    Fault::Unavailable(format!("the database at {} cannot be reached: {error}", self.place()))
                }
            },
            sqlx::Error::Tls(error) => self.no_tls(&error),
            other => other.into(),
        }
    }

    fn no_tls(&self, why: &dyn fmt::Display) -> Fault {
        Fault::Unavailable(format!("no TLS with the database at {}: {why}", self.place()))
    }

    /// The server, without a secret.
    pub(super) fn place(&self) -> String {
        match self.options.get_socket() {
            Some(folder) => format!("{} (port {})", folder.display(), self.options.get_port()),
            None => format!("{}:{}", self.options.get_host(), self.options.get_port()),
        }
    }
}

/// What is wrong with TLS, and what to do, if that is what ended a connection: sqlx hands over what rustls says of a
/// handshake as a fault of the network.
fn tls_fault(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let advice = match error {
        // A bad signature is what an authority that was made anew under its old name looks like.
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "; `sslrootcert` in `store.url` must name the certificate of the authority that issued it",
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "; `store.url` must call the server by a name that its certificate is for",
        // Both enums are open, and their own words must do.
        _ => "",
    };
    Some(format!("{error}{advice}"))
}

/// What each session is set to. A role's or a server's own defaults must not weaken what we promise.
fn settings(statement: Duration) -> String {
    [
        // A commit is on the disk when it is answered. A server that is set to more than that keeps it.
        "SELECT set_config('synchronous_commit', 'on', false) \
         WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')"
            .to_owned(),
        // What is read behind a lock must be what was committed before it was got.
        "SET default_transaction_isolation = 'read committed'".to_owned(),
        "SET default_transaction_read_only = off".to_owned(),
        format!("SET statement_timeout = {}", statement.as_millis()),
        format!("SET lock_timeout = {}", LOCK_WITHIN.as_millis()),
        format!("SET idle_in_transaction_session_timeout = {}", IDLE_IN_TRANSACTION.as_millis()),
        format!("SET tcp_user_timeout = {}", PEER_GONE_AFTER.as_millis()),
        "SET jit = off".to_owned(),
    ]
    .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::postgres::address;
    use crate::store::postgres::connections::Connections;

    #[test]
    fn no_password_is_ever_shown() {
        let options = address::parse("postgres://u:hunter2@h:5433/d").unwrap();
        let session = Session::new(options, Duration::from_secs(1));
        let patient = session.patient(Duration::from_secs(1));
        let connections = Connections::new(session.clone(), 1);
        let shown = format!("{session:?} {patient:#?} {connections:?}");
        assert!(shown.contains("h:5433") && !shown.contains("hunter2"), "{shown}");
    }
}
