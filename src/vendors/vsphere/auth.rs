//! The session: made once for many callers, ended at shutdown.
//!
//! vCenter counts sessions (550 for a user before 8.0 U3, one pool of 3000 after it) and refuses a login with 503
//! when none is left, so one provider holds one. Nothing tells when a session ends (the defaults that are reported
//! differ between 30 and 120 minutes), so it is used until it is refused. A running upgrade outlives its session:
//! a lost session says nothing about a job.

use std::time::Duration;

use base64::Engine as _;
use url::Url;
use zeroize::Zeroizing;

use super::fault;
use crate::domain::error::VendorFault;
use crate::kit::secret::{ExposeSecret, Secret};
use crate::vendors::error::{Reached, Retry, VendorError};
use crate::vendors::http::{Call, HttpClient, Reply, Verb};
use crate::vendors::logins::{LoggedIn, Logins};

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
    logins: Logins<Secret>,
}

/// The right to send requests: the session's token.
pub(super) type Session = LoggedIn<Secret>;

impl Auth {
    pub(super) fn new(endpoint: Url, username: String, password: Secret, http: HttpClient) -> Self {
        Self { endpoint, username, password, http, logins: Logins::new(REFUSED_FOR) }
    }

    /// A session; with `refused`, one that is newer than the one that vCenter refused.
    ///
    /// # Errors
    /// The login failed. `reached` is `No`: the request that needed the session was not sent.
    pub(super) async fn session(&self, refused: Option<&Session>) -> Result<Session, VendorError> {
        self.logins.get(refused.map(|old| old.login), |_| true, self.log_in()).await
    }

    /// Puts the session on a call.
    pub(super) fn stamp(call: Call, session: &Session) -> Call {
        call.secret_header(HEADER, &session.made)
    }

    /// A refusal without the session's token.
    pub(super) fn redact(reply: Reply, session: &Session) -> Reply {
        redact(reply, &session.made)
    }

    /// Ends the session, if there is one; nothing is logged in afterwards. Whether vCenter heard it makes no
    /// difference: it ends sessions that nobody uses.
    pub(super) async fn close(&self) {
        let Some(token) = self.logins.close().await else { return };
        let call = Call::new(Verb::Delete, self.url(), ROUTE).secret_header(HEADER, &token);
        if let Err(error) = self.http.send(call).await {
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
