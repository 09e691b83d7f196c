//! A stand-in for Huawei Cloud: IAM, CloudDC's instances and IMS's images, on one port.
//!
//! Where the vendor's documents leave something open, [`Behaviour`] chooses. An extra side door,
//! `POST /_sim/huawei/outcomes` with `{"target":"<instance id>","outcome":"fail"}`, scripts how the next reinstall
//! of an instance ends: `succeed`, `fail`, `terminate`, `vanish`, `hang`.

mod iam;
mod images;
mod instances;
mod life;
mod reply;
mod signature;
mod world;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;

pub use self::images::image_id;
pub use self::life::{Behaviour, Outcome, Vocabulary};
use self::world::World;
use super::control::Foreign;
use super::faults::{self, Layer, Shape};
use super::{Effects, Faults, Hold, Route, Running, Settings, Simulator, control, serve};

const INSTANCE_PREFIX: &str = "0197f36d-0000-7258-b177-";

/// The id of instance `n`, for `n` below the number of targets.
pub fn instance_id(n: usize) -> String {
    format!("{INSTANCE_PREFIX}{n:012x}")
}

fn instance_number(id: &str) -> Option<usize> {
    usize::from_str_radix(id.strip_prefix(INSTANCE_PREFIX)?, 16).ok()
}

/// A running stand-in for Huawei Cloud.
#[derive(Debug)]
pub struct SimHuawei {
    world: Arc<World>,
    faults: Faults,
    running: Running,
}

/// Starts one.
pub async fn start(settings: Settings) -> io::Result<SimHuawei> {
    let world = Arc::new(World::new(settings.targets, settings.pace));
    let faults = Faults::default();
    let expire = Arc::clone(&world);
    let shape = Shape {
        route,
        state_members: &["state", "operation_state", "status"],
        optional_members: &[
            "operation_state",
            "error",
            "name",
            "image",
            "description",
            "network_interfaces",
            "tags",
            "server_id",
            "vpc_id",
            "created_at",
            "updated_at",
            "launched_at",
            "page_info",
            "count",
        ],
        expire_sessions: Box::new(move || expire.expire_tokens()),
    };
    let layer = Layer { faults: faults.clone(), shape: Arc::new(shape) };
    let router = Router::new()
        .route("/v1/{project_id}/instances", get(instances::list))
        .route("/v1/{project_id}/instances/reinstall", put(instances::reinstall))
        .route("/v1/{project_id}/instances/{id}/status", get(instances::status))
        .route("/v2/cloudimages", get(images::list))
        .layer(middleware::from_fn_with_state(Arc::clone(&world), iam::authenticate))
        .route("/v3/auth/tokens", post(iam::create_token))
        .route("/v3/projects", get(iam::projects))
        .layer(middleware::from_fn_with_state(Arc::clone(&world), number_request))
        .layer(middleware::from_fn_with_state(layer, faults::strike))
        .route("/_sim/huawei/outcomes", post(script))
        .route("/_sim/foreign", post(foreign))
        .with_state(Arc::clone(&world))
        .merge(control::router(faults.clone(), world.effects.clone(), world.hold.clone()));
    let running = serve(settings.address, router).await?;
    Ok(SimHuawei { world, faults, running })
}

fn route(method: &Method, path: &str) -> Route {
    if path == "/v3/auth/tokens" || path == "/v3/projects" {
        Route::Login
    } else if method == Method::PUT && path.ends_with("/instances/reinstall") {
        Route::Submit
    } else if path.ends_with("/instances") || path.ends_with("/status") {
        Route::Observe
    } else {
        Route::Inventory
    }
}

/// Every answer has the gateway's id of the request.
async fn number_request(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    if let Ok(id) = HeaderValue::from_str(&format!("{:032x}", world.next_number())) {
        answer.headers_mut().insert("x-request-id", id);
    }
    answer
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    target: String,
    outcome: Outcome,
}

async fn foreign(State(world): State<Arc<World>>, Json(asked): Json<Foreign>) -> StatusCode {
    let Some(n) = instance_number(&asked.target) else { return StatusCode::NOT_FOUND };
    let (state, operation) =
        if asked.over { ("running", "reinstall-succeed") } else { ("pending", "reinstall-processing") };
    world.set_state(n, state, Some(operation));
    StatusCode::NO_CONTENT
}

async fn script(State(world): State<Arc<World>>, Json(script): Json<Script>) -> StatusCode {
    match instance_number(&script.target) {
        Some(n) => {
            world.script(n, script.outcome);
            StatusCode::NO_CONTENT
        }
        None => StatusCode::NOT_FOUND,
    }
}

impl SimHuawei {
    /// How the next reinstall of instance `n` ends.
    pub fn script(&self, n: usize, outcome: Outcome) {
        self.world.script(n, outcome);
    }

    /// Changes how the cloud behaves where its documents leave it open.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        self.world.behave(change);
    }

    /// Puts an instance into a state, as if somebody had done something on the console. The next reinstall ends it.
    pub fn set_state(&self, n: usize, state: &str, operation_state: Option<&str>) {
        self.world.set_state(n, state, operation_state);
    }

    /// Whether the last password that arrived for instance `n` was this one. The simulator keeps only a hash.
    pub fn password_was(&self, n: usize, password: &str) -> bool {
        self.world.password_was(n, password)
    }

    /// How many requests came, by route.
    pub fn requests(&self) -> BTreeMap<&'static str, u64> {
        self.world.requests()
    }

    /// A provider's table that signs with an access key pair instead of asking for a token.
    pub fn provider_with_keys(&self) -> toml::Table {
        let mut table = self.common();
        table.insert("access_key".to_owned(), iam::ACCESS_KEY.into());
        table.insert("secret_key".to_owned(), iam::SECRET_KEY.into());
        table
    }

    fn common(&self) -> toml::Table {
        let mut table = toml::Table::new();
        let base = self.running.base();
        for (key, value) in [
            ("vendor", "huawei"),
            ("endpoint", base.as_str()),
            ("iam_endpoint", base.as_str()),
            ("ims_endpoint", base.as_str()),
            ("region", "cn-east-3"),
            ("project_id", iam::PROJECT),
        ] {
            table.insert(key.to_owned(), value.into());
        }
        table
    }
}

#[async_trait::async_trait]
impl Simulator for SimHuawei {
    fn vendor(&self) -> &'static str {
        "huawei"
    }

    fn base(&self) -> String {
        self.running.base()
    }

    /// Brought up to date first: an end is written down when somebody looks.
    fn effects(&self) -> &Effects {
        self.world.settle();
        &self.world.effects
    }

    fn faults(&self) -> &Faults {
        &self.faults
    }

    fn route(&self, method: &Method, path: &str) -> Route {
        route(method, path)
    }

    fn hold(&self) -> &Hold {
        &self.world.hold
    }

    fn provider(&self) -> toml::Table {
        let mut table = self.common();
        for (key, value) in [("user", iam::USER), ("password", iam::PASSWORD), ("domain", iam::DOMAIN)] {
            table.insert(key.to_owned(), value.into());
        }
        table
    }

    async fn stop(&self) {
        self.running.stop().await;
    }
}
