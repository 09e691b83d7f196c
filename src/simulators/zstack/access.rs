//! Who may come in: sessions by login, or requests signed with an access key.

use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::civil::DateTime;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::ids;

/// The administrator's account.
pub const ACCOUNT: &str = "admin";
/// An account that may look, but may not touch clusters.
pub const TENANT: &str = "tenant";
/// A user of the administrator's account.
pub const USER: &str = "operator";
/// Everybody's password.
pub const PASSWORD: &str = "zstack-canary-password";
/// The access key.
pub const ACCESS_KEY_ID: &str = "simAccessKeyId";
/// The access key's secret.
pub const ACCESS_KEY_SECRET: &str = "zstack-canary-access-secret";
/// The server's local time, ahead of UTC.
pub(super) const LOCAL_OFFSET_SECONDS: i64 = 8 * 3600;

/// Sessions end two hours after their login, whatever is done with them.
const TTL: Duration = Duration::from_secs(7200);
/// So many sessions an account may have.
const MOST: usize = 500;
/// How far a signature's date may be off.
const WINDOW_SECONDS: i64 = 15 * 60;

/// Who is asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Admin,
    Tenant,
    /// A session that is unknown or has expired: noticed only when the request is worked on.
    Nobody,
}

/// The sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions(HashMap<String, (Instant, Caller)>);

impl Sessions {
    /// Logs in, when name and hashed password fit.
    pub fn login(&mut self, body: &Value, now: Timestamp) -> Result<Value, (&'static str, String)> {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let (account, user, password) = match (body.get("logInByAccount"), body.get("logInByUser")) {
            (Some(login), _) => (text(login, "accountName"), None, text(login, "password")),
            (None, Some(login)) => {
                let account = text(login, "accountName").or_else(|| text(login, "accountUuid"));
                (account, Some(text(login, "userName").unwrap_or_default()), text(login, "password"))
            }
            (None, None) => return Err(("SYS.1007", "the body has no login".to_owned())),
        };
        let hash = hex::encode(digest::digest(&digest::SHA512, PASSWORD.as_bytes()));
        let caller = match (account.as_deref(), user.as_deref()) {
            (Some(ACCOUNT), None | Some(USER)) => Caller::Admin,
            (Some(TENANT), None) => Caller::Tenant,
            _ => Caller::Nobody,
        };
        if caller == Caller::Nobody || password.as_deref() != Some(&hash) {
            return Err(("ID.1000", "wrong account name or password".to_owned()));
        }
        self.0.retain(|_, (made, _)| made.elapsed() < TTL);
        if self.0.len() >= MOST {
            return Err((
                "ID.1006",
                format!("Login sessions hit limit of max allowed concurrent login sessions, max[{MOST}]"),
            ));
        }
        let uuid = ids::fresh();
        self.0.insert(uuid.clone(), (Instant::now(), caller));
        let ends = now.checked_add(TTL).unwrap_or(now);
        Ok(json!({
            "uuid": uuid, "accountUuid": "36c27e8ff05c4780bf6d2fa65700f22e", "userUuid": "36c27e8ff05c4780bf6d2fa65700f22e",
            "createDate": local_text(now), "expiredDate": local_text(ends),
        }))
    }

    /// Whether a session lives, and whose it is.
    pub fn caller(&self, uuid: &str) -> Caller {
        match self.0.get(uuid) {
            Some((made, caller)) if made.elapsed() < TTL => *caller,
            _ => Caller::Nobody,
        }
    }

    /// Ends a session. `false`: there was none.
    pub fn logout(&mut self, uuid: &str) -> bool {
        self.0.remove(uuid).is_some()
    }

    /// Ends all sessions.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// How many sessions live.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// Looks at the `Authorization` header. What is wrong with the header itself is said at once and in plain text;
/// what is wrong with the session is not.
pub(super) fn caller(
    sessions: &Sessions,
    headers: &HeaderMap,
    method: &Method,
    path: &str,
    now: Timestamp,
) -> Result<(Caller, String), Box<Response>> {
    let plain = |status: StatusCode, text: &str| Box::new((status, text.to_owned()).into_response());
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let Some(authorization) = header("authorization") else {
        return Err(plain(StatusCode::BAD_REQUEST, "missing header 'Authorization'"));
    };
    if let Some(session) = authorization.strip_prefix("OAuth ") {
        return Ok((sessions.caller(session.trim()), session.trim().to_owned()));
    }
    let Some(signed) = authorization.strip_prefix("ZStack ") else {
        return Err(plain(StatusCode::BAD_REQUEST, "Authorization type must be OAuth or ZStack"));
    };
    let mut parts = signed.split(':');
    let (Some(id), Some(signature), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(plain(StatusCode::BAD_REQUEST, "the access key must be id:signature"));
    };
    let Some(date) = header("date") else {
        return Err(plain(StatusCode::BAD_REQUEST, "missing header 'Date'"));
    };
    // Only the digits are compared, with the server's local time; the zone beside them is not looked at.
    let digits = date.get(..25).and_then(|d| DateTime::strptime("%a, %d %b %Y %H:%M:%S", d).ok());
    let Some(digits) = digits else {
        return Err(plain(StatusCode::BAD_REQUEST, "cannot read the header 'Date'"));
    };
    if digits.duration_since(local(now)).as_secs().abs() > WINDOW_SECONDS {
        return Err(plain(StatusCode::FORBIDDEN, "requestTimeTooSkewed"));
    }
    let from_v1 = path.find("/v1/").and_then(|at| path.get(at..)).unwrap_or(path);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, ACCESS_KEY_SECRET.as_bytes());
    let expected = STANDARD.encode(hmac::sign(&key, format!("{method}\n{date}\n{from_v1}").as_bytes()));
    if id != ACCESS_KEY_ID || signature != expected {
        return Err(Box::new(super::error("ID.1000", "wrong accessKey signature")));
    }
    Ok((Caller::Admin, String::new()))
}

/// The server's wall clock.
fn local(now: Timestamp) -> DateTime {
    let shifted = now.checked_add(jiff::SignedDuration::from_secs(LOCAL_OFFSET_SECONDS)).unwrap_or(now);
    jiff::tz::Offset::UTC.to_datetime(shifted)
}

/// `Jun 5, 2025 3:47:29 PM`, local time, no zone.
pub(super) fn local_text(now: Timestamp) -> String {
    local(now).strftime("%b %-d, %Y %-I:%M:%S %p").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_gson_does() {
        let at: Timestamp = "2025-06-05T07:47:29Z".parse().unwrap();
        assert_eq!(local_text(at), "Jun 5, 2025 3:47:29 PM");
    }
}
