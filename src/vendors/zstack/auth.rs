//! Who we are to ZStack, put on each call: a login session, or a signature by access key.

use std::time::Duration;

use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use url::Url;

use super::config::{Credentials, ZstackSettings};
use super::fault;
use super::session::{Pass, REFUSED_FOR, Sessions, without_session};
use super::{read, sign};
use crate::domain::error::VendorFault;
use crate::kit::clock::Clock;
use crate::kit::secret::{ExposeSecret, Secret};
use crate::vendors::error::{Reached, Retry, VendorError};
use crate::vendors::http::{Call, HttpClient, Reply, Verb};
use crate::vendors::logins::{LoggedIn, Logins};

/// How old a proof that the session lives may be when a start is sent.
const FRESH: Duration = Duration::from_secs(20);

/// A clock that is further off than this is told as one that needs mending. ZStack itself refuses 15 minutes.
const MAX_DRIFT: SignedDuration = SignedDuration::from_secs(60);

/// Who we are, and what was learnt to prove it.
#[derive(Debug)]
pub(super) struct Auth {
    http: HttpClient,
    base: Url,
    clock: Clock,
    credentials: Credentials,
    configured_offset: Option<Offset>,
    sessions: Sessions,
    server_time: Logins<ServerTime>,
}

/// The server's clock, as far as a signature needs it.
#[derive(Clone, Copy, Debug)]
struct ServerTime {
    /// Server minus us.
    ahead: SignedDuration,
    offset: Offset,
}

/// What proves one call.
#[derive(Debug)]
pub(super) struct Stamp {
    headers: Vec<(&'static str, Secret)>,
    /// Which session or server time it rests on.
    generation: u64,
    session: Option<Secret>,
}

impl Stamp {
    /// Puts the proof on a call.
    pub fn on(&self, call: Call) -> Call {
        self.headers.iter().fold(call, |call, (name, value)| call.secret_header(name, value))
    }

    /// A refusal without the session in it.
    pub fn redact(&self, reply: Reply) -> Reply {
        match &self.session {
            Some(session) => without_session(reply, session),
            None => reply,
        }
    }
}

impl Auth {
    pub fn new(http: HttpClient, clock: Clock, settings: &ZstackSettings) -> Self {
        Self {
            http,
            base: settings.base.clone(),
            clock,
            credentials: settings.credentials.clone(),
            configured_offset: settings.server_offset,
            sessions: Sessions::new(),
            server_time: Logins::new(REFUSED_FOR),
        }
    }

    /// A proof for one call. Logs in, or learns the server's time, when that was not done before.
    pub async fn stamp(&self, verb: Verb, url: &Url) -> Result<Stamp, VendorError> {
        match &self.credentials {
            Credentials::Account { .. } | Credentials::User { .. } => {
                let pass = self.sessions.pass(&self.http, &self.base, &self.credentials).await?;
                Ok(session_stamp(pass))
            }
            Credentials::AccessKey { id, secret } => {
                let learnt = self.server_time.get(None, |_| true, self.learn(id, secret)).await?;
                let LoggedIn { made: time, login: generation } = learnt;
                Ok(self.sign(id, secret, verb, url, time, generation))
            }
        }
    }

    /// A proof for a start: ZStack answers a start 202 even when the session is dead, so it is asked first.
    pub async fn proven_stamp(&self, verb: Verb, url: &Url) -> Result<Stamp, VendorError> {
        match &self.credentials {
            Credentials::AccessKey { .. } => self.stamp(verb, url).await,
            Credentials::Account { .. } | Credentials::User { .. } => {
                let pass = self.sessions.pass(&self.http, &self.base, &self.credentials).await?;
                let lives = self.sessions.prove(&self.http, &self.base, &pass, FRESH).await;
                if lives.map_err(|e| e.with_reached(Reached::No))? {
                    return Ok(session_stamp(pass));
                }
                self.sessions.forget(pass.generation).await;
                Ok(session_stamp(self.sessions.pass(&self.http, &self.base, &self.credentials).await?))
            }
        }
    }

    /// An answer to a call that needs no proof, without the session that another call may have been proven with.
    pub async fn redact(&self, reply: Reply) -> Reply {
        self.sessions.redact(reply).await
    }

    /// Whether an answer says that the proof has worn out, so that a new one is worth one more try. Whoever asks
    /// first makes way for the new one.
    pub async fn worn_out(&self, stamp: &Stamp, reply: &Reply) -> bool {
        match &self.credentials {
            Credentials::Account { .. } | Credentials::User { .. } => {
                let dead = fault::is_session_fault(reply);
                if dead {
                    self.forget_session(stamp).await;
                }
                dead
            }
            Credentials::AccessKey { .. } => {
                let skewed = fault::is_skewed(reply);
                if skewed {
                    self.server_time.forget(stamp.generation).await;
                }
                skewed
            }
        }
    }

    /// Forgets the session of a stamp that ZStack refused by other means than the answer itself.
    pub async fn forget_session(&self, stamp: &Stamp) {
        self.sessions.forget(stamp.generation).await;
    }

    /// Logs out.
    pub async fn close(&self) {
        self.sessions.close(&self.http, &self.base).await;
    }

    fn sign(
        &self,
        id: &str,
        secret: &Secret,
        verb: Verb,
        url: &Url,
        time: ServerTime,
        generation: u64,
    ) -> Stamp {
        let now = self.clock.now().checked_add(time.ahead).unwrap_or(Timestamp::MAX);
        let date = sign::date(now, time.offset);
        // Only from `/v1` on: the context path is not part of what is signed.
        let context = self.base.path().trim_end_matches("/v1");
        let path = url.path().strip_prefix(context).unwrap_or(url.path());
        let authorization = sign::authorization(id, secret, verb.method().as_str(), &date, path);
        let headers = vec![("date", Secret::from(date)), ("authorization", authorization)];
        Stamp { headers, generation, session: None }
    }

    /// Learns the server's clock, and its zone by trying: the call that tells the zone needs a signature itself.
    async fn learn(&self, id: &str, secret: &Secret) -> Result<ServerTime, VendorError> {
        let url = Call::join(&self.base, &["management-nodes", "actions"]);
        let call = Call::new(Verb::Put, url, "/v1/management-nodes/actions")
            .json(&json!({"getCurrentTime": {}}))
            .safe();
        let reply = self.http.send(call).await.map_err(|e| e.with_reached(Reached::No))?;
        let server = read::current_time(&reply).map_err(|e| e.with_reached(Reached::No))?;
        let ahead = server.map_or(SignedDuration::ZERO, |server| server.duration_since(self.clock.now()));
        if let Some(offset) = self.configured_offset {
            let time = ServerTime { ahead, offset };
            tell(&time);
            return Ok(time);
        }
        let url = Call::join(&self.base, &["management-nodes", "platform-timezone"]);
        for minutes in sign::LIKELY_OFFSETS {
            let Ok(offset) = Offset::from_seconds(minutes * 60) else { continue };
            let time = ServerTime { ahead, offset };
            let stamp = self.sign(id, secret, Verb::Get, &url, time, 0);
            let call = stamp.on(Call::new(Verb::Get, url.clone(), "/v1/management-nodes/platform-timezone"));
            let reply = self.http.send(call).await.map_err(|e| e.with_reached(Reached::No))?;
            match reply.status.as_u16() {
                200 => {
                    tell(&time);
                    return Ok(time);
                }
                403 if fault::is_key_refused(&reply) => {
                    let text = format!("ZStack refused the access key, not its date: {}", reply.text());
                    return Err(VendorError::new(VendorFault::Unauthenticated, Reached::No, text));
                }
                403 if !fault::is_html(&reply) => {}
                _ => return Err(fault::failed(&reply).with_reached(Reached::No)),
            }
        }
        let clock = match server {
            Some(_) => format!("its clock is {} s ahead of Drydock's", ahead.as_secs()),
            None => "it does not tell its clock".to_owned(),
        };
        let text = format!(
            "ZStack refused the access key's signature for every time zone ({clock}): look at the key and at both \
             clocks, or set `server_utc_offset`"
        );
        Err(VendorError::new(VendorFault::Unauthenticated, Reached::No, text).with_retry(Retry::Backoff))
    }
}

/// Tells with which time calls are signed: ZStack compares its own local digits and not the zone, so a zone that is
/// wrong, or a clock that drifts, is otherwise found out only by refusals.
fn tell(time: &ServerTime) {
    let (ahead, offset) = (time.ahead.as_secs(), time.offset);
    if time.ahead.abs() > MAX_DRIFT {
        tracing::warn!(
            seconds_ahead = ahead,
            server_offset = %offset,
            "ZStack's clock differs from Drydock's; calls are signed with ZStack's time, and one of the two needs mending"
        );
    } else {
        tracing::info!(seconds_ahead = ahead, server_offset = %offset, "learnt ZStack's time; calls are signed with it");
    }
}

fn session_stamp(pass: Pass) -> Stamp {
    let header = Secret::from(format!("OAuth {}", pass.uuid.expose_secret()));
    Stamp { headers: vec![("authorization", header)], generation: pass.generation, session: Some(pass.uuid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_session_is_taken_out_of_errors() {
        let uuid = Secret::from("0af7651916cd43dd8448eb211c80319c");
        let stamp = session_stamp(Pass { uuid, generation: 1, made_at: tokio::time::Instant::now() });
        let reply = Reply {
            status: http::StatusCode::SERVICE_UNAVAILABLE,
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::from_static(b"session[uuid:0af7651916cd43dd8448eb211c80319c] expired"),
        };
        assert_eq!(stamp.redact(reply).text(), "session[uuid:[redacted]] expired");
        assert!(!format!("{stamp:?}").contains("0af76519"));
    }
}
