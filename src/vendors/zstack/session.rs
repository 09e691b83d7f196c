//! One login session for all calls of a provider.
//!
//! ZStack's sessions live two hours whatever is done with them, and an account has at most 500: so one is made ([`Logins`]),
//! kept until shortly before its end, and logged out at shutdown.

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
use crate::vendors::logins::{LoggedIn, Logins};
use crate::vendors::redact::redact;

/// How long a refused login is not tried again: a wrong password must not lock the account.
pub(super) const REFUSED_FOR: Duration = Duration::from_secs(30);

/// The provider's session.
#[derive(Debug)]
pub(super) struct Sessions {
    logins: Logins<Live>,
    /// Which session ZStack said last to be alive, and when.
    proven: Mutex<Option<(u64, Instant)>>,
}

#[derive(Clone, Debug)]
struct Live {
    uuid: Secret,
    made_at: Instant,
    renew_at: Instant,
}

/// A session to use, and which one it is.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub uuid: Secret,
    pub generation: u64,
    pub made_at: Instant,
}

impl Sessions {
    /// No session yet.
    pub fn new() -> Self {
        Self { logins: Logins::new(REFUSED_FOR), proven: Mutex::default() }
    }

    /// The session, made if there is none or it is about to end.
    pub async fn pass(
        &self,
        http: &HttpClient,
        base: &url::Url,
        who: &Credentials,
    ) -> Result<Pass, VendorError> {
        let lasts = |live: &Live| live.renew_at > Instant::now();
        let LoggedIn { made, login } = self.logins.get(None, lasts, login(http, base, who)).await?;
        Ok(Pass { uuid: made.uuid, generation: login, made_at: made.made_at })
    }

    /// An answer to a call that goes out without the session, without it all the same: it may tell of a call that went
    /// out with it.
    pub async fn redact(&self, reply: Reply) -> Reply {
        match self.logins.live().await {
            Some(live) => without_session(reply, &live.made.uuid),
            None => reply,
        }
    }

    /// Forgets a session that ZStack no longer knows, unless it was renewed already.
    pub async fn forget(&self, generation: u64) {
        self.logins.forget(generation).await;
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
        if self.logins.live().await.is_none_or(|live| live.login != pass.generation) {
            return Ok(false);
        }
        let proven = self.proven.lock().await.filter(|(generation, _)| *generation == pass.generation);
        if proven.map_or(pass.made_at, |(_, at)| at).elapsed() < fresh {
            return Ok(true);
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
            *self.proven.lock().await = Some((pass.generation, Instant::now()));
        }
        Ok(valid == Some(true))
    }

    /// Logs out; nothing is logged in afterwards.
    pub async fn close(&self, http: &HttpClient, base: &url::Url) {
        let Some(live) = self.logins.close().await else { return };
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
    Ok(Live { uuid, made_at: Instant::now(), renew_at: began + ttl.mul_f64(0.9) })
}

/// A refusal without the session in it: ZStack likes to quote it. Lists are left alone: they are large, and hold no
/// sessions.
pub(super) fn without_session(reply: Reply, session: &Secret) -> Reply {
    if reply.status.is_success() { reply } else { redact(reply, &[session]) }
}

/// A login's answer without the password, and without its hash, which is enough to log in.
pub(super) fn without_password(reply: Reply, who: &Credentials) -> Reply {
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::domain::id::ProviderId;
    use crate::vendors::settings::{Limits, Tls};

    const SESSION: &str = "0af7651916cd43dd8448eb211c80319c";
    const LOGIN: &str = r#"{"inventory":{"uuid":"0af7651916cd43dd8448eb211c80319c","expiredDate":"Nov 21, 2030 8:00:00 PM"}}"#;

    /// Logs in, and asks whether the session lives. `answer` is what something before ZStack says to that; it is given
    /// the request, which has the session in its address. An empty answer hangs up. Comes
    /// back with what is shown of the outcome.
    async fn proof(answer: impl Fn(&str) -> String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap()).parse().unwrap();
        let limits = Limits::default();
        let http =
            HttpClient::build("zstack", ProviderId::parse("z").unwrap(), &limits, &Tls::default()).unwrap();
        let who = Credentials::Account { account: "admin".to_owned(), password: Secret::from("password") };
        let sessions = Sessions::new();
        let serve = async {
            loop {
                let (mut tcp, _) = listener.accept().await.unwrap();
                let mut got = Vec::new();
                // The whole request, also the body of the login.
                let end =
                    |got: &[u8]| got.ends_with(if got.starts_with(b"PUT") { b"}}" } else { b"\r\n\r\n" });
                while !end(&got) {
                    assert_ne!(tcp.read_buf(&mut got).await.unwrap(), 0);
                }
                let request = String::from_utf8_lossy(&got).into_owned();
                let reply = if request.starts_with("PUT") {
                    format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{LOGIN}")
                } else {
                    answer(&request)
                };
                tcp.write_all(reply.as_bytes()).await.unwrap();
            }
        };
        let ask = async {
            let pass = sessions.pass(&http, &base, &who).await.unwrap();
            assert_eq!(pass.uuid.expose_secret(), SESSION);
            sessions.prove(&http, &base, &pass, Duration::ZERO).await
        };
        tokio::select! {
            proof = ask => format!("{proof:?}"),
            never = serve => never,
        }
    }

    #[tokio::test]
    async fn a_proof_that_fails_gives_no_session_away() {
        let page = |status: &str, request: &str| {
            let line = request.lines().next().unwrap_or_default();
            format!("HTTP/1.1 {status}\r\nconnection: close\r\nx-request-id: {line}\r\n\r\n{line}")
        };
        for status in ["200 OK", "302 Found", "404 Not Found", "502 Bad Gateway", "503 Unavailable"] {
            let shown = proof(|request| page(status, request)).await;
            assert!(!shown.contains(SESSION), "{status}: {shown}");
        }
        let shown = proof(|_| String::new()).await;
        assert!(shown.starts_with("Err") && !shown.contains(SESSION), "hung up: {shown}");
    }

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
