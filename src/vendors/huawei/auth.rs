//! Who we are: a token from IAM, or a signature on every request.
//!
//! A token is kept until shortly before its end and renewed once for many callers: who waits while another
//! renews gets the new token, or the same failure, and does not log in again. A login that IAM refused is the answer
//! to all who come for a while after it, too: IAM locks accounts after some failed logins. IAM has no logout that the vendor documents for this token; at shutdown it is forgotten.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::config::{Credentials, Login};
use super::sign::{Keys, Signable, authorization, sdk_date};
use super::wire::{ById, Identity, Named, PasswordMethod, Scope, TokenAuth, TokenBody, TokenUser};
use super::{fault, read};
use crate::domain::error::VendorFault;
use crate::kit::clock::{self, Clock};
use crate::kit::secret::{ExposeSecret, Secret};
use crate::vendors::error::{Reached, VendorError};
use crate::vendors::http::{Call, HttpClient, Reply, Verb};
use crate::vendors::redact::redact;

/// Content type of every body that is sent.
pub(super) const JSON: &str = "application/json;charset=UTF-8";
/// A token is renewed when less than this is left of its life (24 hours).
pub(super) const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// How long a refused login is not tried again. An administrator sets when IAM locks an account: 3 to 10 failed
/// logins within 15 to 60 minutes (`UpdateDomainLoginPolicy`; five within 15 minutes is the usual policy, reported).
/// These are four in 15 minutes at most, whoever asks.
const REFUSED_FOR: Duration = Duration::from_secs(240);

/// Proves who we are, on every request.
#[derive(Debug)]
pub(super) struct Auth {
    credentials: Credentials,
    project_id: String,
    http: HttpClient,
    clock: Clock,
    cache: Mutex<Cache>,
    /// Counts logins that ended, so that a waiter can tell that one ended while it waited.
    ended: AtomicU64,
}

#[derive(Debug, Default)]
struct Cache {
    token: Option<Token>,
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

#[derive(Clone, Debug)]
struct Token {
    value: Secret,
    expires_at: Option<Timestamp>,
    /// The number of the login that made it.
    login: u64,
}

/// The right to send one request.
#[derive(Debug)]
pub(super) struct Pass {
    token: Option<Token>,
    /// The `X-Security-Token` that goes out with a temporary key pair.
    security_token: Option<Secret>,
}

impl Pass {
    /// Whether a fresh one can be had when the vendor refuses this one.
    pub(super) const fn is_renewable(&self) -> bool {
        self.token.is_some()
    }

    /// A refusal without the token in it. Lists are left alone: they are large, and hold no tokens.
    pub(super) fn redact(&self, reply: Reply) -> Reply {
        if reply.status.is_success() {
            return reply;
        }
        let token = self.token.as_ref().map(|token| &token.value);
        redact(reply, &token.into_iter().chain(&self.security_token).collect::<Vec<_>>())
    }
}

impl Auth {
    pub(super) fn new(credentials: Credentials, project_id: String, http: HttpClient, clock: Clock) -> Self {
        Self { credentials, project_id, http, clock, cache: Mutex::default(), ended: AtomicU64::new(0) }
    }

    /// A pass; with `refused`, one that is newer than the one that the vendor refused.
    ///
    /// # Errors
    /// The login failed. `reached` is `No`: the request that needed the pass was not sent.
    pub(super) async fn pass(&self, refused: Option<&Pass>) -> Result<Pass, VendorError> {
        let login = match &self.credentials {
            Credentials::Keys(keys) => {
                return Ok(Pass { token: None, security_token: keys.security_token.clone() });
            }
            Credentials::Token(login) => login,
        };
        let refused = refused.and_then(|p| p.token.as_ref()).map(|t| t.login);
        let ended = self.ended.load(Ordering::Acquire);
        let mut cache = self.cache.lock().await;
        if let Some(token) = &cache.token
            && refused.is_none_or(|old| token.login > old)
            && token.expires_at.is_none_or(|end| clock::since(self.clock.now(), end) > RENEW_BEFORE)
        {
            return Ok(Pass { token: Some(token.clone()), security_token: None });
        }
        if let Some(failed) = cache.failed.as_ref().filter(|failed| failed.holds(ended)) {
            return Err(fault::again(&failed.error));
        }
        let outcome = self.log_in(login).await;
        let number = self.ended.fetch_add(1, Ordering::AcqRel) + 1;
        match outcome {
            Ok((value, expires_at)) => {
                let token = Token { value, expires_at, login: number };
                *cache = Cache { token: Some(token.clone()), failed: None };
                Ok(Pass { token: Some(token), security_token: None })
            }
            Err(error) => {
                let failed = Failed { login: number, at: Instant::now(), error: fault::again(&error) };
                *cache = Cache { token: None, failed: Some(failed) };
                Err(error)
            }
        }
    }

    /// Puts a pass on a call.
    pub(super) fn stamp(&self, call: Call, verb: Verb, pass: &Pass) -> Call {
        match (&self.credentials, &pass.token) {
            (Credentials::Token(_), Some(token)) => call.secret_header("x-auth-token", &token.value),
            (Credentials::Token(_), None) => call,
            (Credentials::Keys(keys), _) => self.signed(call, verb, keys),
        }
    }

    fn signed(&self, call: Call, verb: Verb, keys: &Keys) -> Call {
        let date = sdk_date(self.clock.now());
        let mut headers = vec![("x-project-id", self.project_id.as_str())];
        if !call.body_bytes().is_empty() {
            headers.push(("content-type", JSON));
        }
        if let Some(token) = &keys.security_token {
            headers.push(("x-security-token", token.expose_secret()));
        }
        let method = verb.method();
        let request =
            Signable { method: method.as_str(), url: call.url(), headers: &headers, body: call.body_bytes() };
        let authorization = Secret::from(authorization(keys, &request, &date));
        let call = call
            .header("x-sdk-date", &date)
            .header("x-project-id", &self.project_id)
            .secret_header("authorization", &authorization);
        match &keys.security_token {
            Some(token) => call.secret_header("x-security-token", token),
            None => call,
        }
    }

    async fn log_in(&self, login: &Login) -> Result<(Secret, Option<Timestamp>), VendorError> {
        let body = TokenBody {
            auth: TokenAuth {
                identity: Identity {
                    methods: ["password"],
                    password: PasswordMethod {
                        user: TokenUser {
                            name: &login.user,
                            password: login.password.expose_secret(),
                            domain: Named { name: &login.domain },
                        },
                    },
                },
                scope: Scope { project: ById { id: &self.project_id } },
            },
        };
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let call =
            Call::new(Verb::Post, Call::join(&login.iam, &["v3", "auth", "tokens"]), "/v3/auth/tokens")
                .query("nocatalog", "true")
                .bytes(JSON, bytes)
                .safe();
        // Whatever became of the login, the request that waits for it was not sent.
        let not_sent = |mut error: VendorError| {
            error.message = format!("login at IAM failed: {}", error.message);
            error.with_reached(Reached::No)
        };
        let reply = self.http.send(call).await.map_err(not_sent)?;
        let reply = redact(reply, &[&login.password]);
        read::token(&reply, self.clock.now()).map_err(not_sent)
    }

    /// Forgets the token.
    pub(super) async fn forget(&self) {
        *self.cache.lock().await = Cache::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_security_token_is_taken_out_of_a_refusal() {
        let pass = Pass { token: None, security_token: Some(Secret::from("temporary-token")) };
        let reply = Reply {
            status: http::StatusCode::FORBIDDEN,
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::from_static(b"token temporary-token is refused"),
        };
        assert_eq!(pass.redact(reply).text(), "token [redacted] is refused");
    }
}
