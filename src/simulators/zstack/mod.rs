//! A stand-in ZStack: sessions and access keys, API jobs and long jobs, `UpdateClusterOS` with its traps.
//!
//! Written from what is known of ZStack's REST server, not from the adapter. What it does faithfully: a 202 for
//! whatever starts, also with a dead session; `X-Job-UUID` taken once; 503 with an `error` for every business
//! error; the long job that is `Succeeded` with failed hosts; dates without a zone, eight hours ahead of UTC.

mod access;
mod ids;
mod long_job;
mod query;
mod refusal;
mod routes;
mod script;
mod world;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, middleware};
use toml::{Table, Value};

pub use self::access::{ACCESS_KEY_ID, ACCESS_KEY_SECRET, ACCOUNT, PASSWORD, TENANT, USER};
pub use self::ids::{host_id, target_id};
use self::refusal::Refusal;
pub use self::script::Outcome;
use self::world::World;
use super::faults::{Layer, Shape};
use super::{Effects, Faults, Hold, Route, Running, Settings, Simulator, control, faults, server};
use crate::kit::clock::Clock;

/// A running stand-in ZStack.
#[derive(Debug)]
pub struct SimZstack {
    hub: Hub,
    running: Running,
}

/// What all requests share.
#[derive(Clone, Debug)]
struct Hub {
    world: Arc<Mutex<World>>,
    effects: Effects,
    faults: Faults,
    hold: Hold,
    clock: Clock,
    requests: Arc<AtomicUsize>,
}

impl Hub {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The moment by the server's own clock.
    fn server_now(&self) -> jiff::Timestamp {
        let now = self.clock.now();
        now.checked_add(self.world().clock_ahead).unwrap_or(now)
    }
}

impl SimZstack {
    /// Starts it.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let (effects, hold) = (Effects::default(), Hold::default());
        let world = World::new(settings.targets, settings.pace, effects.clone(), hold.clone());
        let hub = Hub {
            world: Arc::new(Mutex::new(world)),
            effects,
            hold,
            faults: Faults::default(),
            clock: Clock::system(),
            requests: Arc::default(),
        };
        let expiring = hub.clone();
        let shape = Shape {
            route: routes::classify,
            state_members: &["state"],
            optional_members: &[
                "description",
                "targetResourceUuid",
                "managementNodeUuid",
                "executeTime",
                "lastOpDate",
                "elaboration",
                "opaque",
                "apiTimeout",
                "architecture",
                "osDistribution",
                "osRelease",
                "osVersion",
            ],
            expire_sessions: Box::new(move || expiring.world().sessions.clear()),
        };
        let layer = Layer { faults: hub.faults.clone(), shape: Arc::new(shape) };
        let counting = hub.clone();
        let api = routes::router(hub.clone())
            .layer(middleware::from_fn_with_state(layer, faults::strike))
            .layer(middleware::map_request(move |request: axum::extract::Request| {
                counting.requests.fetch_add(1, Ordering::Relaxed);
                std::future::ready(request)
            }));
        let settling = hub.clone();
        let door = control::router(hub.faults.clone(), hub.effects.clone(), hub.hold.clone())
            .merge(routes::side_door(hub.clone()))
            .layer(middleware::map_request(move |request: axum::extract::Request| {
                settling.world().settle();
                std::future::ready(request)
            }));
        let running = server::serve(settings.address, door.merge(api)).await?;
        Ok(Self { hub, running })
    }

    /// How the next updates of a cluster are to go. `false`: there is no such cluster.
    pub fn script(&self, target: &str, outcome: Outcome) -> bool {
        self.hub.world().script(target, outcome)
    }

    /// Sets a host's `state` and `status`, such as `Enabled` and `Disconnected`.
    pub fn set_host(&self, host: &str, state: &str, status: &str) {
        self.hub.world().set_host(host, state, status);
    }

    /// Sets a cluster's hypervisor, such as `ESX`.
    pub fn set_hypervisor(&self, target: &str, hypervisor: &str) {
        self.hub.world().set_hypervisor(target, hypervisor);
    }

    /// Lets the management node be ready, or not.
    pub fn set_ready(&self, ready: bool) {
        self.hub.world().ready = ready;
    }

    /// Puts the server's clock ahead of this machine's by so many seconds, or behind it.
    pub fn set_clock_ahead(&self, seconds: i64) {
        self.hub.world().clock_ahead = jiff::SignedDuration::from_secs(seconds);
    }

    /// Takes the body key `updateClusterOS` only, as the code does, and not `updateclusteros`, as the page does.
    pub fn be_strict(&self) {
        self.hub.world().strict_body_key = true;
    }

    /// Starts an update on a cluster as somebody at ZStack's own screen would. `false`: not possible.
    pub fn foreign_update(&self, target: &str) -> bool {
        let now = self.hub.clock.now();
        self.hub.world().foreign_update(target, now)
    }

    /// How many requests came in so far.
    pub fn requests(&self) -> usize {
        self.hub.requests.load(Ordering::Relaxed)
    }

    /// How many sessions live.
    pub fn sessions(&self) -> usize {
        self.hub.world().sessions.count()
    }

    /// A provider's table that signs with the access key instead of logging in.
    pub fn access_key_provider(&self) -> Table {
        self.table([("access_key_id", ACCESS_KEY_ID), ("access_key_secret", ACCESS_KEY_SECRET)])
    }

    fn table<const N: usize>(&self, keys: [(&str, &str); N]) -> Table {
        let mut table = Table::new();
        table.insert("vendor".to_owned(), Value::from("zstack"));
        table.insert("endpoint".to_owned(), Value::from(self.running.base()));
        for (key, value) in keys {
            table.insert(key.to_owned(), Value::from(value));
        }
        table
    }
}

#[async_trait::async_trait]
impl Simulator for SimZstack {
    fn vendor(&self) -> &'static str {
        "zstack"
    }

    fn base(&self) -> String {
        self.running.base()
    }

    /// What really took effect; ends that have come about meanwhile are written down first.
    fn effects(&self) -> &Effects {
        self.hub.world().settle();
        &self.hub.effects
    }

    fn faults(&self) -> &Faults {
        &self.hub.faults
    }

    fn route(&self, method: &Method, path: &str) -> Route {
        routes::classify(method, path)
    }

    fn hold(&self) -> &Hold {
        &self.hub.hold
    }

    fn provider(&self) -> Table {
        self.table([("account", ACCOUNT), ("password", PASSWORD)])
    }

    async fn stop(&self) {
        self.running.stop().await;
    }
}

/// A business error: HTTP 503 with the envelope.
fn error(code: &'static str, details: impl Into<String>) -> Response {
    refused(&Refusal::new(code, details))
}

fn refused(refusal: &Refusal) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, Json(refusal.json())).into_response()
}
