//! Sends calls: within the provider's budget, under a deadline, with a capped body, in the caller's trace.

use std::error::Error as _;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::Instrument;

use super::call::Call;
use super::gated::{Gate, Gated};
use super::metrics::Metrics;
use super::reply::Reply;
use super::trust::{self, Authorities};
use crate::domain::drift::Drift;
use crate::domain::error::VendorFault;
use crate::domain::id::ProviderId;
use crate::kit::clock::Clock;
use crate::kit::crash_point::{self, CrashPoint};
use crate::kit::trace::TraceParent;
use crate::vendors::drift::{DriftBook, Is};
use crate::vendors::error::{Reached, VendorError};
use crate::vendors::settings::{Limits, Tls};

/// The largest answer that is read. vCenter itself stops at 7 MB.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// How often a safe call is repeated at once after a transport fault.
const SAFE_REPEATS: u32 = 1;

/// One provider's way to its vendor. Clones share budget and connections.
#[derive(Clone)]
pub struct HttpClient {
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    budget: DefaultDirectRateLimiter,
    places: Semaphore,
    request_timeout: Duration,
    metrics: Metrics,
    drift: DriftBook,
    /// For the moments that drift was seen at, which only people read.
    clock: Clock,
    provider: ProviderId,
    vendor: &'static str,
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").field("provider", &self.inner.provider).finish_non_exhaustive()
    }
}

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The CA bundle cannot be read.
    #[error("`tls.ca_bundle_file` {path}: {source}")]
    CaBundle {
        /// The file.
        path: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A pin is no fingerprint.
    #[error("`tls.pin_sha256` holds something that is no SHA-256 fingerprint")]
    Pin,
    /// The TLS library refused the settings.
    #[error("the TLS settings cannot be used: {0}")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The HTTP library refused the settings.
    #[error("the HTTP client cannot be built: {0}")]
    Client(#[from] reqwest::Error),
}

impl HttpClient {
    /// A client for one provider.
    #[expect(clippy::disallowed_methods, reason = "the one place that builds an HTTP client")]
    pub fn build(
        vendor: &'static str,
        provider: ProviderId,
        limits: &Limits,
        tls: &Tls,
    ) -> Result<Self, BuildError> {
        // A second installation answers with the provider that is there: the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("drydock/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_millis(limits.connect_timeout_ms))
            .pool_idle_timeout(Duration::from_secs(60))
            .pool_max_idle_per_host(limits.max_concurrent_requests as usize)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy();
        // Keepalives find a dead peer while an answer is awaited; the user timeout bounds what lies unsent in the kernel.
        let silence = limits.unacknowledged();
        http = http.tcp_keepalive(silence).tcp_keepalive_interval(silence).tcp_keepalive_retries(2);
        #[cfg(target_os = "linux")]
        {
            http = http.tcp_user_timeout(silence);
        }
        let pins = tls.pins();
        // A pin that cannot be read must not turn into less of a check.
        if pins.len() != tls.pin_sha256.len() {
            return Err(BuildError::Pin);
        }
        let authorities = tls.ca_bundle_file.as_deref().map(Authorities::read).transpose()?;
        if pins.is_empty() {
            if let Some(authorities) = authorities {
                http = http.tls_certs_merge(authorities.trusted()?);
            }
        } else {
            let roots = authorities.as_ref().map(Authorities::roots).transpose()?;
            http = http.tls_backend_preconfigured(trust::pinned(pins, roots).map_err(BuildError::Tls)?);
        }
        for warning in tls.warnings() {
            tracing::warn!(provider.name = %provider, "{warning}");
        }
        if tls.danger_accept_any_certificate {
            http = http.tls_danger_accept_invalid_certs(true);
        }
        let rate = limits.requests_per_second.clamp(0.1, 10_000.0);
        let burst = NonZeroU32::new(limits.burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(Duration::from_secs_f64(1.0 / rate))
            .unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN))
            .allow_burst(burst);
        Ok(Self {
            inner: Arc::new(Inner {
                http: http.build()?,
                budget: RateLimiter::direct(quota),
                places: Semaphore::new(limits.max_concurrent_requests.max(1) as usize),
                request_timeout: Duration::from_millis(limits.request_timeout_ms),
                metrics: Metrics::new(vendor, provider.as_str().to_owned()),
                drift: DriftBook::new(vendor, provider.as_str().to_owned()),
                clock: Clock::system(),
                provider,
                vendor,
            }),
        })
    }

    /// Sends a call and reads the whole answer. Any HTTP status is a [`Reply`]; reading it is the adapter's work.
    ///
    /// # Errors
    /// No answer, or none that is complete: `reached` is `No` only when no connection came about, or when the call has a
    /// permit and its body was never given out.
    pub async fn send(&self, call: Call) -> Result<Reply, VendorError> {
        let span = tracing::info_span!(
            "vendor_request",
            otel.name = %format_args!("{} {}", call.verb.method(), call.route),
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            http.request.method = %call.verb.method(),
            http.response.status_code = tracing::field::Empty,
            url.template = call.route,
            server.address = call.url.host_str().unwrap_or_default(),
            server.port = call.url.port_or_known_default().unwrap_or_default(),
            error.type = tracing::field::Empty,
            drydock.provider = self.inner.provider.as_str(),
            drydock.vendor = self.inner.vendor,
        );
        let outcome = self.send_within_budget(&call, &span).instrument(span.clone()).await;
        match &outcome {
            Ok(reply) => {
                span.record("http.response.status_code", reply.status.as_u16());
                if reply.status.as_u16() >= 400 {
                    span.record("otel.status_code", "ERROR");
                    span.record("error.type", reply.status.as_str());
                }
            }
            Err(error) => {
                span.record("otel.status_code", "ERROR");
                span.record("error.type", kind_text(error.kind));
            }
        }
        outcome
    }

    /// Holds a good answer against what the vendor documents of it, and gives it back.
    pub fn looked_at(&self, reply: Reply, documented: Is) -> Reply {
        if reply.status.is_success() {
            self.inner.drift.look(&reply.body, documented, self.inner.clock.now());
        }
        reply
    }

    /// What was heard that is not documented.
    pub fn drift(&self) -> Vec<Drift> {
        self.inner.drift.view()
    }

    async fn send_within_budget(&self, call: &Call, span: &tracing::Span) -> Result<Reply, VendorError> {
        let inner = &*self.inner;
        let timeout = call.timeout.unwrap_or(inner.request_timeout);
        let mut repeats = if call.safe { SAFE_REPEATS } else { 0 };
        loop {
            let asked = Instant::now();
            // Waiting for budget is bounded too: a caller must not hang behind a long queue for ever.
            let wait = async {
                let place = inner.places.acquire().await;
                inner.budget.until_ready().await;
                place
            };
            let Ok(Ok(_place)) = tokio::time::timeout(timeout.max(Duration::from_secs(60)), wait).await
            else {
                return Err(VendorError::new(
                    VendorFault::RateLimited,
                    Reached::No,
                    "the provider's own request budget (`limits`) is used up; nothing was sent",
                ));
            };
            inner.metrics.waited(asked.elapsed());
            if call.permit.as_ref().is_some_and(|permit| !permit.holds()) {
                return Err(lease_ended());
            }
            let gate = Gate::default();
            let began = Instant::now();
            let outcome = match tokio::time::timeout(timeout, self.exchange(call, &gate, span)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(VendorError::new(
                    VendorFault::TimedOut,
                    Reached::Maybe,
                    format!("no complete answer within {} ms", timeout.as_millis()),
                )),
            };
            let outcome = outcome.map_err(|error| unsent(error, call, &gate));
            let brief = outcome.as_ref().map(|r| r.status.as_u16()).map_err(|e| kind_text(e.kind));
            inner.metrics.ended(call.verb.method().as_str(), call.route, brief, began.elapsed());
            match outcome {
                Err(error) if repeats > 0 && error.kind == VendorFault::Unreachable => {
                    repeats -= 1;
                    tracing::debug!(error = %error, "a safe vendor call failed below HTTP; repeated once");
                }
                outcome => return outcome,
            }
        }
    }

    async fn exchange(&self, call: &Call, gate: &Gate, span: &tracing::Span) -> Result<Reply, VendorError> {
        let mut request = self.inner.http.request(call.verb.method(), call.url.clone());
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if let Some(trace) = TraceParent::of(span) {
            request = request.header("traceparent", trace.as_str());
        }
        request = match (&call.body, &call.permit) {
            (Some(body), Some(permit)) => {
                let body = Gated::new(body.0.to_vec().into(), permit.clone(), gate.clone());
                request.body(reqwest::Body::wrap(body))
            }
            (Some(body), None) => request.body(body.0.to_vec()),
            (None, _) => request,
        };
        crash_point::reach(CrashPoint::RequestUnsent);
        let response = request.send().await.map_err(transport)?;
        crash_point::reach(CrashPoint::AnswerUnread);
        let status = response.status();
        let headers = response.headers().clone();
        let body = read_capped(response).await?;
        Ok(Reply { status, headers, body })
    }
}

async fn read_capped(mut response: reqwest::Response) -> Result<Bytes, VendorError> {
    let status = response.status().as_u16();
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_BODY_BYTES => body.extend_from_slice(&chunk),
            Ok(Some(_)) => {
                return Err(VendorError::garbled(format!(
                    "the vendor's answer is larger than {MAX_BODY_BYTES} bytes"
                ))
                .with_status(status));
            }
            Ok(None) => return Ok(body.freeze()),
            Err(error) => return Err(transport(error).with_status(status)),
        }
    }
}

/// A request whose body was never given out did nothing, wherever it got stuck.
fn unsent(error: VendorError, call: &Call, gate: &Gate) -> VendorError {
    match (&call.permit, &call.body) {
        (Some(permit), Some(_)) if gate.close() => {
            if permit.holds() {
                error.with_reached(Reached::No)
            } else {
                lease_ended()
            }
        }
        _ => error,
    }
}

fn lease_ended() -> VendorError {
    VendorError::new(VendorFault::TimedOut, Reached::No, "nothing was sent: the lease ended")
}

/// A fault below HTTP. The text names the layer, not the address: addresses can hold tokens.
fn transport(error: reqwest::Error) -> VendorError {
    let error = error.without_url();
    let reached = if error.is_connect() || error.is_builder() { Reached::No } else { Reached::Maybe };
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        match trust::mismatch(cause) {
            Some(mismatch) => text = format!("{text}: {mismatch}"),
            None => text = format!("{text}: {cause}"),
        }
        source = cause.source();
    }
    let kind = if error.is_timeout() { VendorFault::TimedOut } else { VendorFault::Unreachable };
    let mut out = VendorError::new(kind, reached, text);
    out.source = Some(Box::new(error));
    out
}

const fn kind_text(kind: VendorFault) -> &'static str {
    match kind {
        VendorFault::Unreachable => "unreachable",
        VendorFault::TimedOut => "timeout",
        VendorFault::RateLimited => "rate_limited",
        VendorFault::Unauthenticated => "unauthenticated",
        VendorFault::PermissionDenied => "permission_denied",
        VendorFault::NotFound => "not_found",
        VendorFault::Rejected => "rejected",
        VendorFault::Garbled => "garbled",
    }
}
