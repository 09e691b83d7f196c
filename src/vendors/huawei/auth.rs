//! Who we are: a token from IAM, or a signature on every request. And whose instances these are: a project that is
//! given by its name is looked up with each login, and known as long as that one lasts.
//!
//! A token is kept until shortly before its end and renewed once for many callers ([`Logins`]). IAM has no logout that
//! the vendor documents for this token; at shutdown it is forgotten.

use std::time::Duration;

use jiff::Timestamp;

use super::config::{Credentials, Login, Project};
use super::read;
use super::sign::{Keys, Signable, authorization, sdk_date};
use super::wire::{Identity, Named, PasswordMethod, ProjectRef, Scope, TokenAuth, TokenBody, TokenUser};
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
/// How long what IAM said holds at most, where it does not say.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a refused login is not tried again. An administrator sets when IAM locks an account: 3 to 10 failed
/// logins within 15 to 60 minutes (`UpdateDomainLoginPolicy`; five within 15 minutes is the usual policy, reported).
/// These are four in 15 minutes at most, whoever asks.
const REFUSED_FOR: Duration = Duration::from_secs(240);

/// Proves who we are, on every request.
#[derive(Debug)]
pub(super) struct Auth {
    credentials: Credentials,
    project: Project,
    http: HttpClient,
    clock: Clock,
    logins: Logins<Session>,
}

/// What a login gave, or the look-up of a project by its name.
#[derive(Clone, Debug)]
struct Session {
    /// None with an access key pair.
    token: Option<Secret>,
    expires_at: Option<Timestamp>,
    project_id: String,
}

/// The right to send one request.
#[derive(Debug)]
pub(super) struct Pass {
    session: Option<LoggedIn<Session>>,
    project_id: String,
    /// The `X-Security-Token` that goes out with a temporary key pair.
    security_token: Option<Secret>,
}

impl Pass {
    /// Whether a fresh one can be had when the vendor refuses this one.
    pub(super) fn is_renewable(&self) -> bool {
        self.token().is_some()
    }

    fn token(&self) -> Option<&Secret> {
        self.session.as_ref()?.made.token.as_ref()
    }

    /// A refusal without the token in it.
    pub(super) fn redact(&self, reply: Reply) -> Reply {
        without(reply, &self.token().into_iter().chain(&self.security_token).collect::<Vec<_>>())
    }
}

impl Auth {
    pub(super) fn new(credentials: Credentials, project: Project, http: HttpClient, clock: Clock) -> Self {
        Self { credentials, project, http, clock, logins: Logins::new(REFUSED_FOR) }
    }

    /// A pass; with `refused`, one that is newer than the one that the vendor refused.
    ///
    /// # Errors
    /// The login failed. `reached` is `No`: the request that needed the pass was not sent.
    pub(super) async fn pass(&self, refused: Option<&Pass>) -> Result<Pass, VendorError> {
        let security_token = match &self.credentials {
            Credentials::Keys(keys) => keys.security_token.clone(),
            Credentials::Token(_) => None,
        };
        if let (Credentials::Keys(_), Project::Id(id)) = (&self.credentials, &self.project) {
            return Ok(Pass { session: None, security_token, project_id: id.clone() });
        }
        let refused = refused.and_then(|pass| pass.session.as_ref()).map(|session| session.login);
        let now = self.clock.now();
        let lasts =
            |session: &Session| session.expires_at.is_none_or(|end| clock::since(now, end) > RENEW_BEFORE);
        let session = self.logins.get(refused, lasts, self.open()).await?;
        let project_id = session.made.project_id.clone();
        Ok(Pass { session: Some(session), security_token, project_id })
    }

    /// The id of the project.
    ///
    /// # Errors
    /// It is given by its name, and the login or the look-up failed. `reached` is `No`.
    pub(super) async fn project_id(&self) -> Result<String, VendorError> {
        match &self.project {
            Project::Id(id) => Ok(id.clone()),
            Project::Name { .. } => Ok(self.pass(None).await?.project_id),
        }
    }

    /// Puts a pass on a call.
    pub(super) fn stamp(&self, call: Call, verb: Verb, pass: &Pass) -> Call {
        match (&self.credentials, pass.token()) {
            (Credentials::Token(_), Some(token)) => call.secret_header("x-auth-token", token),
            (Credentials::Token(_), None) => call,
            (Credentials::Keys(keys), _) => self.signed(call, verb, keys, Some(&pass.project_id)),
        }
    }

    /// Signs a call; one to IAM belongs to no project.
    fn signed(&self, call: Call, verb: Verb, keys: &Keys, project_id: Option<&str>) -> Call {
        let date = sdk_date(self.clock.now());
        let mut headers: Vec<_> = project_id.map(|id| ("x-project-id", id)).into_iter().collect();
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
        let call = call.header("x-sdk-date", &date).secret_header("authorization", &authorization);
        let call = match project_id {
            Some(id) => call.header("x-project-id", id),
            None => call,
        };
        match &keys.security_token {
            Some(token) => call.secret_header("x-security-token", token),
            None => call,
        }
    }

    /// Logs in where there are logins, and looks the project up where it is given by its name.
    async fn open(&self) -> Result<Session, VendorError> {
        let (token, expires_at) = match &self.credentials {
            Credentials::Token(login) => {
                let (token, expires_at) = self.log_in(login).await?;
                (Some(token), expires_at)
            }
            // What was looked up is looked up again as often as tokens are made, which last a day.
            Credentials::Keys(_) => (None, Some(clock::after(self.clock.now(), DAY))),
        };
        let project_id = match &self.project {
            Project::Id(id) => id.clone(),
            Project::Name { name, iam } => self.look_up(name, iam, token.as_ref()).await?,
        };
        Ok(Session { token, expires_at, project_id })
    }

    /// `GET {iam}/v3/projects?name={name}`: the id of the one project of that name.
    async fn look_up(
        &self,
        name: &str,
        iam: &url::Url,
        token: Option<&Secret>,
    ) -> Result<String, VendorError> {
        let not_sent = |mut error: VendorError| {
            error.message = format!("the project could not be looked up at IAM: {}", error.message);
            error.with_reached(Reached::No)
        };
        let mut url = Call::join(iam, &["v3", "projects"]);
        url.query_pairs_mut().append_pair("name", name);
        let call = Call::new(Verb::Get, url, "/v3/projects").header("accept", "application/json");
        let (call, security_token) = match (&self.credentials, token) {
            (Credentials::Keys(keys), _) => {
                (self.signed(call, Verb::Get, keys, None), keys.security_token.as_ref())
            }
            (Credentials::Token(_), Some(token)) => (call.secret_header("x-auth-token", token), None),
            (Credentials::Token(_), None) => (call, None),
        };
        let reply = self.http.send(call).await.map_err(not_sent)?;
        let secrets: Vec<_> = token.into_iter().chain(security_token).collect();
        read::project(&without(reply, &secrets), name).map_err(not_sent)
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
                scope: Scope {
                    project: match &self.project {
                        Project::Id(id) => ProjectRef::Id { id },
                        Project::Name { name, .. } => ProjectRef::Name { name },
                    },
                },
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
        let security_token = Some(Secret::from("temporary-token"));
        let pass = Pass { session: None, security_token, project_id: "p".to_owned() };
        let reply = Reply {
            status: http::StatusCode::FORBIDDEN,
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::from_static(b"token temporary-token is refused"),
        };
        assert_eq!(pass.redact(reply).text(), "token [redacted] is refused");
    }
}
