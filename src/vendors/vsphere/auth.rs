//! The session: made once for many callers, ended at shutdown.
//!
//! vCenter counts sessions (550 for a user before 8.0 U3, one pool of 3000 after it) and refuses a login with 503
//! when none is left, so one provider holds one. Nothing tells when a session ends (the defaults that are reported
//! differ between 30 and 120 minutes), so it is used until it is refused. A running upgrade outlives its session:
//! a lost session says nothing about a job.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;
use zeroize::Zeroizing;

use super::fault;
use crate::domain::error::VendorFault;
use crate::kit::secret::{ExposeSecret, Secret};
use crate::vendors::error::{Reached, Retry, VendorError};
use crate::vendors::http::{Call, HttpClient, Reply, Verb};

const ROUTE: &str = "/api/session";
const HEADER: &str = "vmware-api-session-id";
/// How long a refused login is not tried again. vCenter locks an account after five failed logins within three
/// minutes, by default: so these are three at most, whoever asks.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// Proves who we are, on every request.
#[derive(Debug)]
pub(super) struct Auth {
    endpoint: Url,
    username: String,
    password: Secret,
    http: HttpClient,
    cache: Mutex<Cache>,
    /// Counts logins that ended, so that a waiter can tell that one ended while it waited.
    ended: AtomicU64,
}

#[derive(Debug, Default)]
struct Cache {
    session: Option<Session>,
    failed: Option<Failed>,
}

/// A login that failed.
#[derive(Debug)]
struct Failed {
    /// Its number.
    login: u64,
    at: Instant,
    error: VendorError,
}

impl Failed {
    /// Whether it is the answer to a caller who came when `ended` logins had ended. A refusal is that for a while
    /// to everybody: jobs come one after another too, and not all at once.
    fn holds(&self, ended: u64) -> bool {
        let refused = self.error.kind == VendorFault::Unauthenticated;
        self.login > ended || (refused && self.at.elapsed() < REFUSED_FOR)
    }
}

/// The right to send requests.
#[derive(Clone, Debug)]
pub(super) struct Session {
    token: Secret,
    /// The number of the login that made it.
    login: u64,
}

impl Auth {
    pub(super) fn new(endpoint: Url, username: String, password: Secret, http: HttpClient) -> Self {
        Self { endpoint, username, password, http, cache: Mutex::default(), ended: AtomicU64::new(0) }
    }

    /// A session; with `refused`, one that is newer than the one that vCenter refused.
    ///
    /// Callers that wait while another logs in get its session, or its failure. A login that vCenter refused is the
    /// answer to all who come within [`REFUSED_FOR`] after it: vCenter locks accounts after some failed logins.
    ///
    /// # Errors
    /// The login failed. `reached` is `No`: the request that needed the session was not sent.
    pub(super) async fn session(&self, refused: Option<&Session>) -> Result<Session, VendorError> {
        let ended = self.ended.load(Ordering::Acquire);
        let mut cache = self.cache.lock().await;
        if let Some(session) = &cache.session
            && refused.is_none_or(|old| session.login > old.login)
        {
            return Ok(session.clone());
        }
        if let Some(failed) = cache.failed.as_ref().filter(|failed| failed.holds(ended)) {
            return Err(fault::again(&failed.error));
        }
        let outcome = self.log_in().await;
        let number = self.ended.fetch_add(1, Ordering::AcqRel) + 1;
        match outcome {
            Ok(token) => {
                let session = Session { token, login: number };
                *cache = Cache { session: Some(session.clone()), failed: None };
                Ok(session)
            }
            Err(error) => {
                let failed = Failed { login: number, at: Instant::now(), error: fault::again(&error) };
                *cache = Cache { session: None, failed: Some(failed) };
                Err(error)
            }
        }
    }

    /// Puts the session on a call.
    pub(super) fn stamp(call: Call, session: &Session) -> Call {
        call.secret_header(HEADER, &session.token)
    }

    /// A refusal without the session's token.
    pub(super) fn redact(reply: Reply, session: &Session) -> Reply {
        redact(reply, &session.token)
    }

    /// Ends the session, if there is one. Whether vCenter heard it makes no difference: it ends sessions that
    /// nobody uses.
    pub(super) async fn close(&self) {
        let Some(session) = self.cache.lock().await.session.take() else { return };
        let call = Call::new(Verb::Delete, self.url(), ROUTE);
        if let Err(error) = self.http.send(Self::stamp(call, &session)).await {
            tracing::debug!(error = %error, "the vCenter session could not be ended; vCenter will");
        }
    }

    async fn log_in(&self) -> Result<Secret, VendorError> {
        let pair = Zeroizing::new(format!("{}:{}", self.username, self.password.expose_secret()));
        let basic = base64::engine::general_purpose::STANDARD.encode(pair.as_bytes());
        let header = Secret::from(format!("Basic {basic}"));
        let basic = Secret::from(basic);
        let call = Call::new(Verb::Post, self.url(), ROUTE).secret_header("authorization", &header).safe();
        let token = match self.http.send(call).await {
            // The pair in Base64 is as good as the password to whoever reads it.
            Ok(reply) => token(&redact(redact(reply, &basic), &self.password)),
            Err(error) => Err(error),
        };
        // Whatever became of the login, the request that waits for it was not sent.
        token.map_err(|mut error| {
            error.message = format!("login at vCenter failed: {}", error.message);
            error.with_reached(Reached::No)
        })
    }

    fn url(&self) -> Url {
        Call::join(&self.endpoint, &["api", "session"])
    }
}

/// A refusal without `secret`: an answer may quote what it refuses.
fn redact(reply: Reply, secret: &Secret) -> Reply {
    if reply.status.is_success() { reply } else { crate::vendors::redact::redact(reply, &[secret]) }
}

/// The token in the answer to a login: 201 by the specification, 200 by some servers.
fn token(reply: &Reply) -> Result<Secret, VendorError> {
    if !reply.status.is_success() {
        let mut error = fault::of(reply);
        match error.kind {
            // An account that may not log in is as good as a wrong one: it says nothing about any job.
            VendorFault::Unauthenticated | VendorFault::PermissionDenied => {
                error.kind = VendorFault::Unauthenticated;
                error.message.push_str(" (check the provider's `username` and `password`)");
            }
            // No vCenter answers a login so: the endpoint is another server, not a missing thing.
            VendorFault::NotFound | VendorFault::Rejected => {
                error.kind = VendorFault::Unreachable;
                error.retry = Retry::Backoff;
                error.message.push_str(" (check the provider's `endpoint`)");
            }
            VendorFault::Unreachable
            | VendorFault::TimedOut
            | VendorFault::RateLimited
            | VendorFault::Garbled => {}
        }
        return Err(error);
    }
    let token: String = reply.json()?;
    // A header value: visible ASCII without spaces.
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(VendorError::garbled("the answer to the login holds no usable token"));
    }
    Ok(Secret::from(token))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn answer(status: u16, body: &str) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    #[test]
    fn both_good_statuses_give_the_token() {
        for status in [200, 201] {
            assert_eq!(token(&answer(status, "\"abc\"")).unwrap().expose_secret(), "abc");
        }
        for odd in ["", "\"\"", "{}", "\"a b\"", "\"a\\nb\""] {
            assert_eq!(token(&answer(201, odd)).unwrap_err().kind, VendorFault::Garbled, "{odd}");
        }
    }

    #[test]
    fn a_quoted_secret_is_gone() {
        let body = r#"{"messages":[{"default_message":"bad password Ca\"nary"}]}"#;
        let reply = redact(answer(401, body), &Secret::from("Ca\"nary"));
        assert!(!String::from_utf8_lossy(&reply.body).contains("nary"));
    }

    #[test]
    fn a_refused_login_says_what_to_check() {
        let refused = token(&answer(401, r#"{"error_type":"UNAUTHENTICATED","messages":[]}"#)).unwrap_err();
        assert_eq!(refused.kind, VendorFault::Unauthenticated);
        assert!(refused.message.contains("`password`"));
        let elsewhere = token(&answer(404, "")).unwrap_err();
        assert!(elsewhere.message.contains("`endpoint`"));
        assert_eq!((elsewhere.kind, elsewhere.retry), (VendorFault::Unreachable, Retry::Backoff));
        let barred = token(&answer(403, r#"{"error_type":"UNAUTHORIZED","messages":[]}"#)).unwrap_err();
        assert_eq!(barred.kind, VendorFault::Unauthenticated, "no job ends because of it");
    }
}
