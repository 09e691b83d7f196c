//! The admin door: `/metrics`, `/livez` and `/readyz` over plain HTTP, on a port of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::net::TcpListener;
use tower::limit::GlobalConcurrencyLimitLayer;

use crate::kit::tasks::Tasks;
use crate::store::Store;
use crate::telemetry::metrics::Scrape;

/// How long the store may take to answer before Drydock calls itself not ready.
const PING_DEADLINE: Duration = Duration::from_secs(2);
/// How many requests are answered at once; the rest wait.
const MAX_REQUESTS: usize = 16;

/// The `[admin]` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSettings {
    /// Where the admin pages are served. Port 0 picks a free one.
    pub address: SocketAddr,
    /// Serve them on an address that is not loopback: whoever reaches it reads the metrics, which name
    /// providers and their hosts.
    pub danger_expose_on_any_address: bool,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 9464)), danger_expose_on_any_address: false }
    }
}

impl AdminSettings {
    /// Every value that breaks a rule: the key (relative to the section) and the rule.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        if self.address.ip().is_loopback() || self.danger_expose_on_any_address {
            return Vec::new();
        }
        let rule = format!(
            "{} is not a loopback address, and the admin pages have no TLS and ask for no credentials: listen on \
             loopback, or say `danger_expose_on_any_address = true`",
            self.address
        );
        vec![("address", rule)]
    }
}

/// What the pages tell.
#[derive(Clone)]
pub(super) struct Admin {
    /// Whether RPCs are being served: false before the start is complete, and from the first moment of a
    /// shutdown.
    pub(super) serving: Arc<AtomicBool>,
    pub(super) store: Arc<dyn Store>,
    pub(super) scrape: Scrape,
}

/// Serves the pages until the tasks are told to end. Answers the address.
pub(super) async fn serve(address: SocketAddr, admin: Admin, tasks: &Tasks) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin)
        .layer(GlobalConcurrencyLimitLayer::new(MAX_REQUESTS));
    let token = tasks.token().clone();
    tasks.spawn("admin", async move {
        tokio::select! {
            () = token.cancelled() => {}
            ended = axum::serve(listener, router) => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the admin pages are gone");
                }
            }
        }
    });
    Ok(address)
}

async fn readyz(State(admin): State<Admin>) -> Response {
    if !admin.serving.load(Ordering::Acquire) {
        return (StatusCode::SERVICE_UNAVAILABLE, "not ready: starting or shutting down\n").into_response();
    }
    let why = match tokio::time::timeout(PING_DEADLINE, admin.store.ping()).await {
        Ok(Ok(())) => return "ready\n".into_response(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the store does not answer within {} s", PING_DEADLINE.as_secs()),
    };
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match admin.scrape.text() {
        Ok(text) => {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
