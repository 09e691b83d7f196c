//! One login session for all calls of a provider.
//!
//! ZStack's sessions live two hours whatever is done with them, and an account has at most 500: so one is made,
//! kept until shortly before its end, made anew by one caller while the others wait, and logged out at shutdown.

use std::time::Duration;

use aws_lc_rs::digest;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::config::{AccountRef, Credentials};
use super::{fault, read};
use crate::domain::error::VendorFault;
use crate::kit::secret::{ExposeSecret, Secret};
use crate::vendors::error::{Reached, VendorError};
use crate::vendors::http::{Call, HttpClient, Reply, Verb};
use crate::vendors::redact::redact;

/// How long a refused login is not tried again: a wrong password must not lock the account.
const REFUSED_FOR: Duration = Duration::from_secs(30);

/// The provider's session.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    live: Option<Live>,
    /// Counts sessions, so that many callers who saw one die renew it once.
    generation: u64,
    failed: Option<FailedLogin>,
    closed: bool,
}

#[derive(Clone, Debug)]
struct Live {
    uuid: Secret,
    renew_at: Instant,
    proven_at: Instant,
}

/// A login that failed, kept so that those who waited behind it do not all try again.
#[derive(Clone, Debug)]
pub(super) struct FailedLogin {
    at: Instant,
    kind: VendorFault,
    code: Option<String>,
    status: Option<u16>,
    message: String,
}

/// A session to use, and which one it is.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub uuid: Secret,
    pub generation: u64,
}

impl Sessions {
    /// The session, made if there is none or it is about to end.
    pub async fn pass(
        &self,
        http: &HttpClient,
        base: &url::Url,
        who: &Credentials,
    ) -> Result<Pass, VendorError> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if state.closed {
            return Err(VendorError::new(VendorFault::Unreachable, Reached::No, "Drydock is shutting down"));
        }
        if let Some(live) = state.live.as_ref().filter(|live| live.renew_at > Instant::now()) {
            return Ok(Pass { uuid: live.uuid.clone(), generation: state.generation });
        }
        if let Some(failed) = state.failed.as_ref().filter(|f| f.holds_for(asked)) {
            return Err(failed.error());
        }
        match login(http, base, who).await {
            Ok(live) => {
                state.generation += 1;
                state.failed = None;
                let pass = Pass { uuid: live.uuid.clone(), generation: state.generation };
                state.live = Some(live);
                Ok(pass)
            }
            Err(error) => {
                state.live = None;
                state.failed = Some(FailedLogin::of(&error));
                Err(error)
            }
        }
    }

    /// Forgets a session that ZStack no longer knows, unless it was renewed already.
    pub async fn forget(&self, generation: u64) {
        let mut state = self.state.lock().await;
        if state.generation == generation {
            state.live = None;
        }
    }

    /// Asks ZStack whether the session still lives, unless that was shown within `fresh`: a start that meets a
    /// dead session is answered 202 all the same.
    pub async fn prove(
        &self,
        http: &HttpClient,
        base: &url::Url,
        pass: &Pass,
        fresh: Duration,
    ) -> Result<bool, VendorError> {
        {
            let state = self.state.lock().await;
            let known = state.live.as_ref().filter(|_| state.generation == pass.generation);
            match known {
                Some(live) if live.proven_at.elapsed() < fresh => return Ok(true),
                Some(_) => {}
                None => return Ok(false),
            }
        }
        let url = Call::join(base, &["accounts", "sessions", pass.uuid.expose_secret(), "valid"]);
        let reply = http.send(Call::new(Verb::Get, url, "/v1/accounts/sessions/{session}/valid")).await?;
        // The session is in the address, which a page of something in between may quote.
        let reply = redact(reply, &[&pass.uuid]);
        if fault::is_session_fault(&reply) {
            return Ok(false);
        }
        match reply.status.as_u16() {
            200 => {}
            // A build without this call: the session is as good as it was.
            404 | 405 if !fault::is_html(&reply) => return Ok(true),
            _ => return Err(fault::failed(&reply).with_reached(Reached::No)),
        }
        let valid = reply.json::<serde_json::Value>()?.get("valid").and_then(serde_json::Value::as_bool);
        if valid == Some(true) {
            let mut state = self.state.lock().await;
            if state.generation == pass.generation
                && let Some(live) = state.live.as_mut()
            {
                live.proven_at = Instant::now();
            }
        }
        Ok(valid == Some(true))
    }

    /// Logs out; nothing is logged in afterwards.
    pub async fn close(&self, http: &HttpClient, base: &url::Url) {
        let live = {
            let mut state = self.state.lock().await;
            state.closed = true;
            state.live.take()
        };
        let Some(live) = live else { return };
        let url = Call::join(base, &["accounts", "sessions", live.uuid.expose_secret()]);
        let call = Call::new(Verb::Delete, url, "/v1/accounts/sessions/{session}");
        match http.send(call).await {
            Ok(reply) if reply.status.is_success() => {}
            Ok(reply) => {
                tracing::debug!(http.status = reply.status.as_u16(), "ZStack did not take the logout")
            }
            Err(error) => tracing::debug!(error = %error, "the logout did not reach ZStack"),
        }
    }
}

impl FailedLogin {
    /// The failure that just happened.
    pub fn of(error: &VendorError) -> Self {
        Self {
            at: Instant::now(),
            kind: error.kind,
            code: error.code.clone(),
            status: error.http_status,
            message: error.message.clone(),
        }
    }

    /// Whether a caller who began to wait at `asked` must take this failure as its own.
    pub fn holds_for(&self, asked: Instant) -> bool {
        let refused = matches!(self.kind, VendorFault::Unauthenticated | VendorFault::PermissionDenied);
        asked < self.at || (refused && self.at.elapsed() < REFUSED_FOR)
    }

    /// The failure again, for somebody else.
    pub fn error(&self) -> VendorError {
        let mut error = VendorError::new(self.kind, Reached::No, self.message.clone());
        error.code.clone_from(&self.code);
        error.http_status = self.status;
        error
    }
}

async fn login(http: &HttpClient, base: &url::Url, who: &Credentials) -> Result<Live, VendorError> {
    let (segments, route, body): (&[&str], _, _) = match who {
        Credentials::Account { account, password } => (
            &["accounts", "login"],
            "/v1/accounts/login",
            json!({"logInByAccount": {"accountName": account, "password": hashed(password)}}),
        ),
        Credentials::User { account, user, password } => {
            let (name, value) = match account {
                AccountRef::Name(name) => ("accountName", name),
                AccountRef::Uuid(uuid) => ("accountUuid", uuid),
            };
            (
                &["accounts", "users", "login"],
                "/v1/accounts/users/login",
                json!({"logInByUser": {name: value, "userName": user, "password": hashed(password)}}),
            )
        }
        // Signed requests need no session; `auth.rs` never asks for one then.
        Credentials::AccessKey { .. } => {
            return Err(VendorError::new(
                VendorFault::Unauthenticated,
                Reached::No,
                "an access key makes no session",
            ));
        }
    };
    let began = Instant::now();
    let call = Call::new(Verb::Put, Call::join(base, segments), route).json(&body).safe();
    let reply = http.send(call).await.map_err(|e| e.with_reached(Reached::No))?;
    let reply = without_password(reply, who);
    let (uuid, ttl) = read::login(&reply).map_err(|e| e.with_reached(Reached::No))?;
    Ok(Live { uuid, renew_at: began + ttl.mul_f64(0.9), proven_at: Instant::now() })
}

/// A login's answer without the password, and without its hash, which is enough to log in.
fn without_password(reply: Reply, who: &Credentials) -> Reply {
    match who {
        Credentials::Account { password, .. } | Credentials::User { password, .. } => {
            redact(reply, &[&Secret::from(hashed(password)), password])
        }
        Credentials::AccessKey { .. } => reply,
    }
}

/// ZStack wants the password's SHA-512, in lower-case hex (zstack `AccountConstant.java`).
fn hashed(password: &Secret) -> String {
    hex::encode(digest::digest(&digest::SHA512, password.expose_secret().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hashed_as_zstack_does() {
        let hash = hashed(&Secret::from("password"));
        assert!(hash.starts_with("b109f3bb") && hash.ends_with("bc86") && hash.len() == 128, "{hash}");
    }

    #[test]
    fn a_login_that_is_quoted_gives_neither_password_nor_hash() {
        let password = Secret::from("password");
        let who = Credentials::Account { account: "admin".to_owned(), password: password.clone() };
        let reply = Reply {
            status: http::StatusCode::BAD_REQUEST,
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::from(format!("<p>{} password</p>", hashed(&password))),
        };
        assert_eq!(without_password(reply, &who).text(), "[redacted] [redacted]");
    }
}
