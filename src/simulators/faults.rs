//! Faults that a simulator can be told to have: what networks, proxies and tired servers do.
//!
//! A fault waits for the next request of its route, strikes `times` times and is gone. They are applied around
//! the vendor's own handler, so that "the answer was lost after it took effect" is exactly that.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::server::cut_connection;

/// The classes of requests that faults can be aimed at. Each simulator sorts its own paths into them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// Login, token, session calls.
    Login,
    /// Calls that start something.
    Submit,
    /// Calls that read how something stands.
    Observe,
    /// Calls that cancel something.
    Cancel,
    /// Everything else: targets, versions, images, prechecks.
    Inventory,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The connection breaks before the request takes effect.
    ResetBefore,
    /// The request takes effect, then the connection breaks without an answer.
    ResetAfter,
    /// The answer is late by this many milliseconds; the request took effect.
    DelayMs(u64),
    /// 429, with `Retry-After` in seconds if not 0; no effect.
    TooManyRequests(u64),
    /// An HTML error page with this status from "something in between"; no effect.
    HtmlBefore(u16),
    /// The request takes effect, then an HTML error page with this status comes instead of the answer.
    HtmlAfter(u16),
    /// The answer's JSON ends in the middle, with a matching content length.
    Truncated,
    /// The answer's state words become numbers.
    WrongTypes,
    /// The answer's state words become a word that nobody has seen before.
    UnknownEnum,
    /// Every object of the answer that has a state word has a member, too, that nobody has seen before.
    UnknownField,
    /// The answer lacks the members that the vendor calls optional.
    MissingOptional,
    /// The session dies before the request is looked at.
    ExpiredSession,
}

/// What a simulator tells the fault layer about itself.
pub struct Shape {
    /// Sorts a request into a route.
    pub route: fn(&axum::http::Method, &str) -> Route,
    /// Names of JSON members that hold state words.
    pub state_members: &'static [&'static str],
    /// Names of JSON members that the vendor calls optional.
    pub optional_members: &'static [&'static str],
    /// Ends every session.
    pub expire_sessions: Box<dyn Fn() + Send + Sync>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Armed {
    /// Aimed at one route, or at every route.
    route: Option<Route>,
    fault: Fault,
    times: u32,
}

/// The faults that are armed. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Armed>>>);

impl Faults {
    /// Arms a fault for the next `times` requests of a route (of any route when `None`).
    pub fn arm(&self, route: Option<Route>, fault: Fault, times: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Armed { route, fault, times });
    }

    /// Disarms everything.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether all armed faults have struck.
    pub fn are_spent(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn take(&self, route: Route) -> Option<Fault> {
        let mut armed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = armed.iter().position(|a| a.route.is_none_or(|r| r == route))?;
        let entry = armed.get_mut(found)?;
        let fault = entry.fault;
        entry.times = entry.times.saturating_sub(1);
        if entry.times == 0 {
            armed.remove(found);
        }
        Some(fault)
    }
}

/// The fault layer's state.
#[derive(Clone)]
pub struct Layer {
    /// What is armed.
    pub faults: Faults,
    /// The simulator's own facts.
    pub shape: Arc<Shape>,
}

/// The middleware: put it around the vendor's router with `axum::middleware::from_fn_with_state`.
pub async fn strike(State(layer): State<Layer>, request: Request, next: Next) -> Response {
    let route = (layer.shape.route)(request.method(), request.uri().path());
    let Some(fault) = layer.faults.take(route) else {
        return next.run(request).await;
    };
    match fault {
        Fault::ResetBefore => cut_connection(),
        Fault::ResetAfter => {
            let _ = next.run(request).await;
            cut_connection()
        }
        Fault::DelayMs(ms) => {
            let answer = next.run(request).await;
            tokio::time::sleep(Duration::from_millis(ms)).await;
            answer
        }
        Fault::TooManyRequests(seconds) => {
            let mut answer = (StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded").into_response();
            if seconds > 0
                && let Ok(value) = HeaderValue::from_str(&seconds.to_string())
            {
                answer.headers_mut().insert(header::RETRY_AFTER, value);
            }
            answer
        }
        Fault::HtmlBefore(status) => html(status),
        Fault::HtmlAfter(status) => {
            let _ = next.run(request).await;
            html(status)
        }
        Fault::Truncated => change_body(next.run(request).await, |body| body.slice(..body.len() / 2)).await,
        Fault::WrongTypes => {
            let members = layer.shape.state_members;
            change_json(next.run(request).await, |v| replace(v, members, &Value::from(17))).await
        }
        Fault::UnknownEnum => {
            let members = layer.shape.state_members;
            change_json(next.run(request).await, |v| replace(v, members, &Value::from("BRAND_NEW_STATE")))
                .await
        }
        Fault::UnknownField => {
            let members = layer.shape.state_members;
            change_json(next.run(request).await, |v| add(v, members)).await
        }
        Fault::MissingOptional => {
            let members = layer.shape.optional_members;
            change_json(next.run(request).await, |v| remove(v, members)).await
        }
        Fault::ExpiredSession => {
            (layer.shape.expire_sessions)();
            next.run(request).await
        }
    }
}

fn html(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let page =
        format!("<html><head><title>{status}</title></head><body><h1>{status}</h1><hr>proxy</body></html>");
    (status, [(header::CONTENT_TYPE, "text/html")], page).into_response()
}

async fn change_body(answer: Response, change: impl FnOnce(Bytes) -> Bytes) -> Response {
    let (mut parts, body) = answer.into_parts();
    let body = to_bytes(body, 64 * 1024 * 1024).await.unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(change(body)))
}

async fn change_json(answer: Response, change: impl FnOnce(&mut Value)) -> Response {
    change_body(answer, |body| match serde_json::from_slice::<Value>(&body) {
        Ok(mut value) => {
            change(&mut value);
            Bytes::from(value.to_string())
        }
        Err(_) => body,
    })
    .await
}

fn replace(value: &mut Value, members: &[&str], by: &Value) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                if members.contains(&key.as_str()) && inner.is_string() {
                    *inner = by.clone();
                } else {
                    replace(inner, members, by);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|v| replace(v, members, by)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn add(value: &mut Value, members: &[&str]) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(|v| add(v, members));
            if members.iter().any(|member| map.contains_key(*member)) {
                map.insert("brandNewField".to_owned(), Value::from("BRAND-NEW-CANARY"));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|v| add(v, members)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn remove(value: &mut Value, members: &[&str]) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !members.contains(&key.as_str()));
            map.values_mut().for_each(|v| remove(v, members));
        }
        Value::Array(items) => items.iter_mut().for_each(|v| remove(v, members)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
