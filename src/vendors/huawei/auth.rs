//! Who we are: a token from IAM, or a signature on every request.
//!
//! A token is kept until shortly before its end and renewed once for many callers ([`Logins`]). IAM has no logout that
//! the vendor documents for this token; at shutdown it is forgotten.

use std::time::Duration;

use jiff::Timestamp;

use super::config::{Credentials, Login};
use super::read;
use super::sign::{Keys, Signable, authorization, sdk_date};
use super::wire::{ById, Identity, Named, PasswordMethod, Scope, TokenAuth, TokenBody, TokenUser};
use crate::kit::clock::{self, Clock};
use crate::kit::secret::{ExposeSecret, Secret};
use crate::vendors::error::{Reached, VendorError};
use crate::vendors::http::{Call, HttpClient, Reply, Verb};
use crate::vendors::logins::{LoggedIn, Logins};
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
    logins: Logins<Token>,
}

#[derive(Clone, Debug)]
struct Token {
    value: Secret,
    expires_at: Option<Timestamp>,
}

/// The right to send one request.
#[derive(Debug)]
pub(super) struct Pass {
    token: Option<LoggedIn<Token>>,
    /// The `X-Security-Token` that goes out with a temporary key pair.
    security_token: Option<Secret>,
}

impl Pass {
    /// Whether a fresh one can be had when the vendor refuses this one.
    pub(super) const fn is_renewable(&self) -> bool {
        self.token.is_some()
    }

    /// A refusal without the token in it.
    pub(super) fn redact(&self, reply: Reply) -> Reply {
        let token = self.token.as_ref().map(|token| &token.made.value);
        without(reply, &token.into_iter().chain(&self.security_token).collect::<Vec<_>>())
    }
}

impl Auth {
    pub(super) fn new(credentials: Credentials, project_id: String, http: HttpClient, clock: Clock) -> Self {
        Self { credentials, project_id, http, clock, logins: Logins::new(REFUSED_FOR) }
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
        let refused = refused.and_then(|pass| pass.token.as_ref()).map(|token| token.login);
        let now = self.clock.now();
        let lasts = |token: &Token| token.expires_at.is_none_or(|end| clock::since(now, end) > RENEW_BEFORE);
        let token = self.logins.get(refused, lasts, self.log_in(login)).await?;
        Ok(Pass { token: Some(token), security_token: None })
    }

    /// Puts a pass on a call.
    pub(super) fn stamp(&self, call: Call, verb: Verb, pass: &Pass) -> Call {
        match (&self.credentials, &pass.token) {
            (Credentials::Token(_), Some(token)) => call.secret_header("x-auth-token", &token.made.value),
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

    async fn log_in(&self, login: &Login) -> Result<Token, VendorError> {
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
        let (value, expires_at) = read::token(&reply, self.clock.now()).map_err(not_sent)?;
        Ok(Token { value, expires_at })
    }

    /// Forgets the token; nothing is logged in afterwards.
    pub(super) async fn forget(&self) {
        self.logins.close().await;
    }
}

/// A refusal without what proved the call. Lists are left alone: they are large, and hold no tokens.
pub(super) fn without(reply: Reply, tokens: &[&Secret]) -> Reply {
    if reply.status.is_success() { reply } else { redact(reply, tokens) }
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
