//! Sessions: made by name and password, counted, ended.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use serde_json::Value;

use super::json::{answer, refuse};
use super::{PASSWORD, USERNAME};
use crate::simulators::effects::{EffectKind, Effects};

/// How many sessions one account may have, before 8.0 U3.
const USUAL_LIMIT: usize = 550;
/// The header that carries the token.
const HEADER: &str = "vmware-api-session-id";

/// The sessions that exist.
pub(super) struct Sessions(Mutex<Inner>);

struct Inner {
    tokens: HashSet<String>,
    limit: usize,
}

impl Default for Sessions {
    fn default() -> Self {
        Self(Mutex::new(Inner { tokens: HashSet::new(), limit: USUAL_LIMIT }))
    }
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn limit(&self, limit: usize) {
        self.lock().limit = limit;
    }

    pub(super) fn expire(&self) {
        self.lock().tokens.clear();
    }

    pub(super) fn tokens(&self) -> Vec<String> {
        self.lock().tokens.iter().cloned().collect()
    }

    /// Whether a request carries a live token.
    pub(super) fn knows(&self, headers: &HeaderMap) -> bool {
        token(headers).is_some_and(|token| self.lock().tokens.contains(token))
    }

    /// `POST /api/session`
    pub(super) fn create(&self, headers: &HeaderMap, effects: &Effects) -> Response {
        if !is_ours(headers) {
            return unauthenticated("com.vmware.vapi.endpoint.failedToAuthenticate", "Invalid credentials.");
        }
        let mut inner = self.lock();
        if inner.tokens.len() >= inner.limit {
            return refuse(
                503,
                "SERVICE_UNAVAILABLE",
                &[(
                    "com.vmware.vapi.endpoint.failedToLoginMaxUserSessionCountReached",
                    "The number of sessions of this user has reached its limit.",
                )],
            );
        }
        let token = format!("sim{}", uuid::Uuid::new_v4().simple());
        inner.tokens.insert(token.clone());
        effects.record(EffectKind::Login, "", USERNAME);
        answer(StatusCode::CREATED, &Value::from(token))
    }

    /// `DELETE /api/session`
    pub(super) fn delete(&self, headers: &HeaderMap, effects: &Effects) -> Response {
        if let Some(token) = token(headers)
            && self.lock().tokens.remove(token)
        {
            effects.record(EffectKind::Logout, "", USERNAME);
        }
        super::json::nothing()
    }
}

fn token(headers: &HeaderMap) -> Option<&str> {
    headers.get(HEADER)?.to_str().ok()
}

fn is_ours(headers: &HeaderMap) -> bool {
    let basic = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let expected = base64::engine::general_purpose::STANDARD.encode(format!("{USERNAME}:{PASSWORD}"));
    basic.strip_prefix("Basic ") == Some(expected.as_str())
}

/// The refusal of a request without a live session.
pub(super) fn unauthenticated(id: &str, text: &str) -> Response {
    let mut body = super::json::error("UNAUTHENTICATED", &[(id, text)]);
    body["challenge"] = Value::from("Basic realm=\"VAPI endpoint\",SIGN realm=sim,sts=\"https://sim/sts\"");
    answer(StatusCode::UNAUTHORIZED, &body)
}
