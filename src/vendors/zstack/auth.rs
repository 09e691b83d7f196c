//! Who we are to ZStack, put on each call: a login session, or a signature by access key.

use std::time::Duration;

use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::config::{Credentials, ZstackSettings};
use super::fault;
use super::session::{FailedLogin, Pass, Sessions};
use super::sign;
use crate::domain::error::VendorFault;
use crate::kit::clock::Clock;
use crate::kit::secret::{ExposeSecret, Secret};
use crate::vendors::error::{Reached, Retry, VendorError};
use crate::vendors::http::{Call, HttpClient, Reply, Verb};

/// How old a proof that the session lives may be when a start is sent.
const FRESH: Duration = Duration::from_secs(20);

/// Who we are, and what was learnt to prove it.
#[derive(Debug)]
pub(super) struct Auth {
    http: HttpClient,
    base: Url,
    clock: Clock,
    credentials: Credentials,
    configured_offset: Option<Offset>,
    sessions: Sessions,
    server_time: Mutex<Learnt>,
}

#[derive(Debug, Default)]
struct Learnt {
    time: Option<ServerTime>,
    generation: u64,
    failed: Option<FailedLogin>,
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

    /// The error without the session in its text: ZStack likes to quote it.
    pub fn scrub(&self, mut error: VendorError) -> VendorError {
        if let Some(session) = &self.session {
            error.message = error.message.replace(session.expose_secret(), "[session]");
        }
        error
    }

    /// The text without the session.
    pub fn scrub_text(&self, text: &str) -> String {
        match &self.session {
            Some(session) => text.replace(session.expose_secret(), "[session]"),
            None => text.to_owned(),
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
            sessions: Sessions::default(),
            server_time: Mutex::default(),
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
                let asked = Instant::now();
                let mut learnt = self.server_time.lock().await;
                let time = match learnt.time {
                    Some(time) => time,
                    None => {
                        if let Some(failed) = learnt.failed.as_ref().filter(|f| f.holds_for(asked)) {
                            return Err(failed.error());
                        }
                        match self.learn(id, secret).await {
                            Ok(time) => {
                                learnt.generation += 1;
                                learnt.failed = None;
                                *learnt.time.insert(time)
                            }
                            Err(error) => {
                                learnt.failed = Some(FailedLogin::of(&error));
                                return Err(error);
                            }
                        }
                    }
                };
                let generation = learnt.generation;
                drop(learnt);
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
                    let mut learnt = self.server_time.lock().await;
                    if learnt.generation == stamp.generation {
                        learnt.time = None;
                    }
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
        if reply.status.as_u16() != 200 {
            return Err(fault::failed(&reply).with_reached(Reached::No));
        }
        let body: Value = reply.json().map_err(|e| e.with_reached(Reached::No))?;
        let ahead =
            server_now(&body).map_or(SignedDuration::ZERO, |server| server.duration_since(self.clock.now()));
        if let Some(offset) = self.configured_offset {
            return Ok(ServerTime { ahead, offset });
        }
        let url = Call::join(&self.base, &["management-nodes", "platform-timezone"]);
        for minutes in sign::LIKELY_OFFSETS {
            let Ok(offset) = Offset::from_seconds(minutes * 60) else { continue };
            let time = ServerTime { ahead, offset };
            let stamp = self.sign(id, secret, Verb::Get, &url, time, 0);
            let call = stamp.on(Call::new(Verb::Get, url.clone(), "/v1/management-nodes/platform-timezone"));
            let reply = self.http.send(call).await.map_err(|e| e.with_reached(Reached::No))?;
            match reply.status.as_u16() {
                200 => return Ok(time),
                403 if !fault::is_html(&reply) => {}
                _ => return Err(fault::failed(&reply).with_reached(Reached::No)),
            }
        }
        let text = "ZStack refused the access key's signature for every time zone: look at the key and at both clocks, \
                    or set `server_utc_offset`";
        Err(VendorError::new(VendorFault::Unauthenticated, Reached::No, text).with_retry(Retry::Backoff))
    }
}

fn session_stamp(pass: Pass) -> Stamp {
    let header = Secret::from(format!("OAuth {}", pass.uuid.expose_secret()));
    Stamp { headers: vec![("authorization", header)], generation: pass.generation, session: Some(pass.uuid) }
}

/// `{"currentTime":{"MillionSeconds":…,"Seconds":…}}` (sic).
fn server_now(body: &Value) -> Option<Timestamp> {
    let time = body.get("currentTime")?;
    let number = |name: &str| {
        let value = time.get(name)?;
        value.as_i64().or_else(|| value.as_str().and_then(|t| t.parse().ok()))
    };
    number("MillionSeconds")
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .or_else(|| number("Seconds").and_then(|s| Timestamp::from_second(s).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_clock_reads_in_both_spellings() {
        let at = Timestamp::from_second(1_749_109_649).unwrap();
        assert_eq!(server_now(&json!({"currentTime": {"MillionSeconds": 1_749_109_649_000_i64}})), Some(at));
        assert_eq!(server_now(&json!({"currentTime": {"Seconds": "1749109649"}})), Some(at));
        assert_eq!(server_now(&json!({"currentTime": {}})), None);
        assert_eq!(server_now(&json!({})), None);
    }

    #[test]
    fn a_quoted_session_is_taken_out_of_errors() {
        let stamp =
            session_stamp(Pass { uuid: Secret::from("0af7651916cd43dd8448eb211c80319c"), generation: 1 });
        let error = VendorError::garbled("session[uuid:0af7651916cd43dd8448eb211c80319c] expired");
        assert_eq!(stamp.scrub(error).message, "session[uuid:[session]] expired");
        assert!(!format!("{stamp:?}").contains("0af76519"));
    }
}
