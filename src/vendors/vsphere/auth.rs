//! The session: one for all calls of a provider, made when first needed, renewed once for everybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::errors;
use crate::domain::error::VendorFault;
use crate::kit::secret::{ExposeSecret, Secret};
use crate::vendors::error::{Reached, VendorError};
use crate::vendors::http::{Call, HttpClient, Reply, Verb};

/// The header that carries the session's token.
const HEADER: &str = "vmware-api-session-id";
const ROUTE: &str = "/api/session";
/// After a refused login, how long it is not tried again. vCenter locks an account after a few wrong passwords
/// (five within three minutes by default), for every other user of that account too.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

/// The account and its session.
pub(super) struct Session {
    basic: Secret,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ticket: Option<Ticket>,
    made: u64,
    refused: Option<(Instant, VendorError)>,
}

/// A session's token, and which login gave it.
#[derive(Clone)]
struct Ticket {
    token: Arc<Secret>,
    number: u64,
    /// Whether any call was let in with it.
    worked: Arc<AtomicBool>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(username: &str, password: &Secret) -> Self {
        use base64::Engine as _;
        let pair = zeroize::Zeroizing::new(format!("{username}:{}", password.expose_secret()));
        let code = base64::engine::general_purpose::STANDARD.encode(pair.as_bytes());
        Self { basic: Secret::from(format!("Basic {code}")), state: Mutex::new(State::default()) }
    }

    /// Sends a call within the session; `call` is asked again when the session has to be renewed. A 401 is given
    /// before any work is done, so a repeat starts nothing twice.
    pub(super) async fn send(
        &self,
        http: &HttpClient,
        base: &Url,
        call: impl Fn() -> Call + Send + Sync,
    ) -> Result<Reply, VendorError> {
        let ticket = self.ticket(http, base, None).await.map_err(unsent)?;
        let reply = http.send(call().secret_header(HEADER, &ticket.token)).await?;
        if reply.status != http::StatusCode::UNAUTHORIZED {
            ticket.worked.store(true, Ordering::Relaxed);
            return Ok(reply);
        }
        let ticket = self.ticket(http, base, Some(ticket.number)).await.map_err(unsent)?;
        let reply = http.send(call().secret_header(HEADER, &ticket.token)).await?;
        if reply.status != http::StatusCode::UNAUTHORIZED {
            ticket.worked.store(true, Ordering::Relaxed);
        }
        Ok(reply)
    }

    /// The present ticket, or a new one if there is none or it is the `dead` one. Callers wait here for one login.
    async fn ticket(&self, http: &HttpClient, base: &Url, dead: Option<u64>) -> Result<Ticket, VendorError> {
        let mut state = self.state.lock().await;
        if let Some(ticket) = &state.ticket
            && dead != Some(ticket.number)
        {
            return Ok(ticket.clone());
        }
        if let Some((until, error)) = &state.refused
            && Instant::now() < *until
        {
            return Err(errors::again(error));
        }
        if state.ticket.take().is_some_and(|dead| !dead.worked.load(Ordering::Relaxed)) {
            // Renewing such a session with every call would use up all that vCenter has.
            let text = "vCenter takes the login but refuses the session that it gave; Drydock tries again after a minute";
            let error = VendorError::new(VendorFault::Unauthenticated, Reached::No, text);
            state.refused = Some((Instant::now() + REFUSED_PAUSE, errors::again(&error)));
            return Err(error);
        }
        match self.login(http, base).await {
            Ok(token) => {
                state.made += 1;
                state.refused = None;
                let ticket = Ticket { token: Arc::new(token), number: state.made, worked: Arc::default() };
                state.ticket = Some(ticket.clone());
                Ok(ticket)
            }
            Err(error) => {
                if error.kind == VendorFault::Unauthenticated {
                    state.refused = Some((Instant::now() + REFUSED_PAUSE, errors::again(&error)));
                }
                Err(error)
            }
        }
    }

    async fn login(&self, http: &HttpClient, base: &Url) -> Result<Secret, VendorError> {
        // Not marked as safe: a repeat would leave a session behind, of which vCenter has a limited number.
        let call = Call::new(Verb::Post, Call::join(base, &["api", "session"]), ROUTE)
            .secret_header("authorization", &self.basic);
        let reply = http.send(call).await?;
        if !reply.status.is_success() {
            return Err(errors::login_error(&reply));
        }
        match reply.json::<String>() {
            Ok(token) if !token.is_empty() => Ok(Secret::from(token)),
            Ok(_) => Err(VendorError::garbled("vCenter answered the login with an empty token")),
            Err(error) => Err(error),
        }
    }

    /// Ends the session, if there is one. A failure is harmless: the session ends by idling.
    pub(super) async fn close(&self, http: &HttpClient, base: &Url) {
        let Some(ticket) = self.state.lock().await.ticket.take() else {
            return;
        };
        let call = Call::new(Verb::Delete, Call::join(base, &["api", "session"]), ROUTE)
            .secret_header(HEADER, &ticket.token);
        if let Err(error) = http.send(call).await {
            tracing::debug!(error = %error, "a vCenter session could not be ended; it ends by idling");
        }
    }
}

/// Nothing but a login was tried, so the call itself certainly had no effect.
fn unsent(error: VendorError) -> VendorError {
    error.with_reached(Reached::No)
}
