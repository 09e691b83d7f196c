//! Faults that a simulator can be told to have: what networks, proxies and tired servers do.
//!
//! A fault waits for requests that it is aimed at, strikes as often as it was told to, and is gone. Faults are applied
//! around the vendor's own handler, so that "the answer was lost after it took effect" is exactly that.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::server::cut_connection;
use super::spoil::{self, Spoiled};
use crate::kit::clock::Clock;

/// The most paths that a fault for each path remembers; then it is gone, so that it cannot grow for ever.
const MAX_PATHS: usize = 1024;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// The answer's JSON is wrapped in a list that no document knows.
    WrongShape,
    /// The answer's state words become a word that nobody has seen before.
    UnknownEnum,
    /// Every object of the answer that has a state word has a member, too, that nobody has seen before.
    UnknownField,
    /// The answer lacks the members that the vendor calls optional.
    MissingOptional,
    /// The answer's list, or its map of objects, lacks its last entry, if it has several.
    LeavesOneOut,
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

/// When a fault may strike, by whether a start (a request of [`Route::Submit`]) came since it was armed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Before a start and after it, and the start itself.
    #[default]
    Always,
    /// Before the first start.
    BeforeStart,
    /// After the first start.
    AfterStart,
}

/// What a fault is aimed at, and how often it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// Requests of this route; of every route when absent.
    pub route: Option<Route>,
    /// When.
    pub when: When,
    /// How often it strikes.
    pub times: u32,
    /// Whether it strikes that often for each path (with its query) by itself, instead of in all.
    pub each_path: bool,
}

impl Default for Aim {
    /// The next request, whatever it is.
    fn default() -> Self {
        Self { route: None, when: When::default(), times: 1, each_path: false }
    }
}

/// One time that a fault struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    /// When, by this machine's clock.
    pub at: Timestamp,
    /// What kind of request it struck.
    pub route: Route,
}

/// What an armed fault has struck so far; an answer that it had nothing to change in does not count. Bounded by what it
/// was aimed at, see [`Aim::times`].
#[derive(Clone, Debug, Default)]
pub struct Strikes(Arc<Mutex<Vec<Strike>>>);

impl Strikes {
    /// How often.
    pub fn count(&self) -> u64 {
        self.lock().len() as u64
    }

    /// Each time, in order.
    pub fn all(&self) -> Vec<Strike> {
        self.lock().clone()
    }

    fn add(&self, route: Route) {
        self.lock().push(Strike { at: Clock::system().now(), route });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Strike>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Armed {
    aim: Aim,
    fault: Fault,
    strikes: Strikes,
    /// Whether a start came since.
    started: bool,
    /// How often it was taken in all, or by path.
    taken: HashMap<String, u32>,
}

impl Armed {
    /// Whether it is for this request; it is used up by that.
    fn takes(&mut self, route: Route, path: &str) -> bool {
        let due = match self.aim.when {
            When::Always => true,
            When::BeforeStart => !self.started,
            When::AfterStart => self.started,
        };
        if !due || self.aim.route.is_some_and(|r| r != route) {
            return false;
        }
        let key = if self.aim.each_path { path } else { "" };
        let taken = self.taken.entry(key.to_owned()).or_default();
        let left = *taken < self.aim.times;
        *taken = taken.saturating_add(1);
        left
    }

    fn is_spent(&self) -> bool {
        if self.aim.each_path {
            self.taken.len() >= MAX_PATHS
        } else {
            self.taken.values().any(|taken| *taken >= self.aim.times)
        }
    }
}

/// What was asked of a simulator by requests of [`Route::Submit`], whatever became of them. Unlike the effects, this
/// counts a second request that the vendor turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// How many requests came, those included that a fault kept from the vendor.
    pub requests: u64,
    /// How many came after the vendor had answered one with a 2xx, whether or not that answer got through. Requests
    /// are not told apart by target.
    pub after_one_taken: u64,
}

#[derive(Debug, Default)]
struct Submits {
    requests: AtomicU64,
    taken: AtomicBool,
    after_one_taken: AtomicU64,
}

/// The faults that are armed. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    armed: Arc<Mutex<Vec<Armed>>>,
    undisturbed_looks: Arc<AtomicU64>,
    submits: Arc<Submits>,
}

impl Faults {
    /// Arms a fault for the next `times` requests of a route (of any route when `None`).
    pub fn arm(&self, route: Option<Route>, fault: Fault, times: u32) {
        self.aim(Aim { route, times, ..Aim::default() }, fault);
    }

    /// Arms a fault. Of several that fit a request, the one that was armed first strikes.
    pub fn aim(&self, aim: Aim, fault: Fault) -> Strikes {
        let strikes = Strikes::default();
        let armed = Armed { aim, fault, strikes: strikes.clone(), started: false, taken: HashMap::new() };
        self.lock().push(armed);
        strikes
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Armed>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Disarms everything.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Whether all armed faults have struck as often as they were to. Those for each path never have.
    pub fn are_spent(&self) -> bool {
        self.lock().is_empty()
    }

    /// How many requests of [`Route::Observe`] met no fault so far.
    pub fn undisturbed_looks(&self) -> u64 {
        self.undisturbed_looks.load(Ordering::Relaxed)
    }

    /// How often a start was asked for so far.
    pub fn asked(&self) -> Asked {
        Asked {
            requests: self.submits.requests.load(Ordering::Relaxed),
            after_one_taken: self.submits.after_one_taken.load(Ordering::Relaxed),
        }
    }

    /// Passes a request on to the vendor.
    async fn pass(&self, route: Route, request: Request, next: Next) -> Response {
        let answer = next.run(request).await;
        if route == Route::Submit && answer.status().is_success() {
            self.submits.taken.store(true, Ordering::Relaxed);
        }
        answer
    }

    fn take(&self, route: Route, path: &str) -> Option<(Fault, Strikes)> {
        let mut armed = self.lock();
        let found = armed.iter_mut().find_map(|a| a.takes(route, path).then(|| (a.fault, a.strikes.clone())));
        armed.retain(|a| !a.is_spent());
        if route == Route::Submit {
            armed.iter_mut().for_each(|a| a.started = true);
            self.submits.requests.fetch_add(1, Ordering::Relaxed);
            if self.submits.taken.load(Ordering::Relaxed) {
                self.submits.after_one_taken.fetch_add(1, Ordering::Relaxed);
            }
        }
        if found.is_none() && route == Route::Observe {
            self.undisturbed_looks.fetch_add(1, Ordering::Relaxed);
        }
        found
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
    let path = request.uri().path_and_query().map_or("", |p| p.as_str());
    let Some((fault, strikes)) = layer.faults.take(route, path) else {
        return layer.faults.pass(route, request, next).await;
    };
    if let Some(spoiled) = spoiled(fault, &layer.shape) {
        let (answer, changed) = spoil::spoil(layer.faults.pass(route, request, next).await, spoiled).await;
        if changed {
            strikes.add(route);
        }
        return answer;
    }
    strikes.add(route);
    match fault {
        Fault::ResetBefore => cut_connection(),
        Fault::ResetAfter => {
            let _ = layer.faults.pass(route, request, next).await;
            cut_connection()
        }
        Fault::DelayMs(ms) => {
            let answer = layer.faults.pass(route, request, next).await;
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
            let _ = layer.faults.pass(route, request, next).await;
            html(status)
        }
        Fault::ExpiredSession => {
            (layer.shape.expire_sessions)();
            layer.faults.pass(route, request, next).await
        }
        Fault::Truncated
        | Fault::WrongTypes
        | Fault::WrongShape
        | Fault::UnknownEnum
        | Fault::UnknownField
        | Fault::MissingOptional
        | Fault::LeavesOneOut => layer.faults.pass(route, request, next).await,
    }
}

/// How a fault changes the answer's body, if that is what it does.
const fn spoiled(fault: Fault, shape: &Shape) -> Option<Spoiled> {
    match fault {
        Fault::Truncated => Some(Spoiled::CutInHalf),
        Fault::WrongShape => Some(Spoiled::Wrapped),
        Fault::WrongTypes => Some(Spoiled::Numbers(shape.state_members)),
        Fault::UnknownEnum => Some(Spoiled::NewWords(shape.state_members)),
        Fault::UnknownField => Some(Spoiled::NewMembers(shape.state_members)),
        Fault::MissingOptional => Some(Spoiled::Without(shape.optional_members)),
        Fault::LeavesOneOut => Some(Spoiled::WithoutLast),
        Fault::ResetBefore
        | Fault::ResetAfter
        | Fault::DelayMs(_)
        | Fault::TooManyRequests(_)
        | Fault::HtmlBefore(_)
        | Fault::HtmlAfter(_)
        | Fault::ExpiredSession => None,
    }
}

fn html(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let page =
        format!("<html><head><title>{status}</title></head><body><h1>{status}</h1><hr>proxy</body></html>");
    (status, [(header::CONTENT_TYPE, "text/html")], page).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(faults: &Faults, route: Route, path: &str) -> Option<Fault> {
        faults.take(route, path).map(|(fault, _)| fault)
    }

    #[test]
    fn strikes_its_route_as_often_as_it_was_told() {
        let faults = Faults::default();
        faults.arm(Some(Route::Observe), Fault::ResetBefore, 2);
        assert_eq!(take(&faults, Route::Submit, "/start"), None);
        assert_eq!(take(&faults, Route::Observe, "/a"), Some(Fault::ResetBefore));
        assert!(!faults.are_spent());
        assert_eq!(take(&faults, Route::Observe, "/b"), Some(Fault::ResetBefore));
        assert!(faults.are_spent());
        assert_eq!(take(&faults, Route::Observe, "/a"), None);
    }

    #[test]
    fn strikes_each_path_by_itself() {
        let faults = Faults::default();
        faults.aim(Aim { each_path: true, ..Aim::default() }, Fault::Truncated);
        let struck: Vec<bool> =
            ["/a", "/a", "/b", "/a?q=1", "/b"].map(|p| take(&faults, Route::Observe, p).is_some()).to_vec();
        assert_eq!(struck, [true, false, true, true, false]);
    }

    #[test]
    fn keeps_to_its_side_of_the_start() {
        let faults = Faults::default();
        let aim = |when, route| Aim { when, route: Some(route), times: 9, each_path: false };
        faults.aim(aim(When::BeforeStart, Route::Inventory), Fault::ResetBefore);
        faults.aim(aim(When::AfterStart, Route::Observe), Fault::ResetAfter);
        assert_eq!(take(&faults, Route::Inventory, "/"), Some(Fault::ResetBefore));
        assert_eq!(take(&faults, Route::Observe, "/"), None);
        assert_eq!(take(&faults, Route::Submit, "/"), None);
        assert_eq!(take(&faults, Route::Inventory, "/"), None);
        assert_eq!(take(&faults, Route::Observe, "/"), Some(Fault::ResetAfter));
    }
}
