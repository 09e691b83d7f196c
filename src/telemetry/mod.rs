//! Logs, traces and metrics: installed before anything else, flushed after everything else.
//!
//! * Logs go to standard error, as text on a terminal and as JSON otherwise; each line carries the ids of the
//!   job, provider and trace it belongs to ([`logs`]).
//! * Traces and metrics are exported by OTLP when the standard `OTEL_*` variables name an endpoint.
//! * Metrics can be scraped, whether they are exported or not ([`metrics`]).

pub mod logs;
pub mod metrics;
pub mod settings;

use std::io::IsTerminal as _;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Key, KeyValue, global};
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use metrics::Scrape;
use settings::{LogFormat, Otlp, TelemetrySettings};

/// Why telemetry cannot be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The log filter cannot be read; the configuration was not checked.
    #[error("`telemetry.log_filter` cannot be read")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The OTLP exporter cannot be built from the `OTEL_*` variables.
    #[error("OTLP export cannot be set up from the OTEL_* variables")]
    Otlp(#[from] ExporterBuildError),
    /// The scrape exporter cannot be built.
    #[error("metrics cannot be set up")]
    Metrics(#[from] opentelemetry_sdk::error::OTelSdkError),
    /// The process has its log installed already.
    #[error("logs cannot be set up")]
    Logs(#[from] TryInitError),
}

/// What was installed. Keep it to the end of the process, then call [`Telemetry::shutdown`].
#[derive(Debug)]
pub struct Telemetry {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
    scrape: Scrape,
}

/// Installs logs, traces and metrics for the whole process. Call it once, inside a tokio runtime, before
/// anything makes an instrument.
///
/// # Errors
/// Bad settings, bad `OTEL_*` variables, or a second call.
pub fn install(settings: &TelemetrySettings, otlp: Otlp) -> Result<Telemetry, InstallError> {
    // An exporter may speak TLS; a second installation answers with the provider that is there: the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let filter = settings.filter()?;
    let resource = resource(&settings.service_name);
    let traces = tracer_provider(otlp, resource.clone())?;
    let scrape = Scrape::new();
    let exporter = if otlp.metrics { Some(MetricExporter::builder().with_tonic().build()?) } else { None };
    let metrics = metrics::provider(&scrape, exporter, resource)?;

    global::set_text_map_propagator(TraceContextPropagator::new());
    global::set_tracer_provider(traces.clone());
    global::set_meter_provider(metrics.clone());

    // Only our own spans: those of the exporter's own gRPC client would export themselves for ever.
    let ours = Targets::new().with_target("drydock", LevelFilter::INFO);
    let spans = tracing_opentelemetry::layer()
        .with_tracer(traces.tracer("drydock"))
        .with_location(false)
        .with_threads(false)
        // It would look at the clock each time that a call is polled.
        .with_tracked_inactivity(false)
        .with_filter(ours);
    let json = match settings.log_format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    tracing_subscriber::registry()
        .with(spans)
        .with(logs::layer(json, std::io::stderr).with_filter(logs::shown(filter)))
        .try_init()?;
    Ok(Telemetry { traces, metrics, scrape })
}

impl Telemetry {
    /// What `/metrics` serves.
    pub fn scrape(&self) -> Scrape {
        self.scrape.clone()
    }

    /// Sends what is waiting and ends the exporters, within `deadline` for both together. A collector that
    /// cannot be reached costs a log line, nothing else.
    pub async fn shutdown(self, deadline: Duration) {
        // The exporters' own threads need this runtime while they are waited for.
        let flush = tokio::task::spawn_blocking(move || {
            let half = deadline / 2;
            [
                ("traces", self.traces.shutdown_with_timeout(half)),
                ("metrics", self.metrics.shutdown_with_timeout(half)),
            ]
        });
        match tokio::time::timeout(deadline, flush).await {
            Ok(Ok(ended)) => {
                for (signal, outcome) in ended {
                    if let Err(error) = outcome {
                        tracing::warn!(signal, %error, "telemetry could not be flushed");
                    }
                }
            }
            Ok(Err(_)) | Err(_) => tracing::warn!("telemetry could not be flushed in time"),
        }
    }
}

/// Who we are in traces and metrics. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` come first.
fn resource(service_name: &str) -> Resource {
    const NAME: Key = Key::from_static_str("service.name");
    let from_environment = Resource::builder().build();
    let named = from_environment.get(&NAME).is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let builder =
        Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if named { builder.build() } else { builder.with_service_name(service_name.to_owned()).build() }
}

/// Spans. Without export nothing is recorded, but trace ids are still made and passed on, so that log lines and
/// vendor calls of one request share one. With export, `OTEL_TRACES_SAMPLER` decides; the SDK reads it.
fn tracer_provider(otlp: Otlp, resource: Resource) -> Result<SdkTracerProvider, ExporterBuildError> {
    let builder = SdkTracerProvider::builder().with_resource(resource);
    if !otlp.traces {
        return Ok(builder.with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff))).build());
    }
    let exporter = SpanExporter::builder().with_tonic().build()?;
    Ok(builder.with_batch_exporter(exporter).build())
}
