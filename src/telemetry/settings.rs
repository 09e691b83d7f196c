//! The `[telemetry]` section. The exporter itself is set up by the standard `OTEL_*` variables.

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// What is logged, and under which name Drydock reports.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetrySettings {
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged: `info`, or by room such as `info,drydock::engine=debug`.
    pub log_filter: String,
    /// The service's name in traces and metrics, unless `OTEL_SERVICE_NAME` gives one.
    pub service_name: String,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Auto,
            log_filter: "info".to_owned(),
            service_name: "drydock".to_owned(),
        }
    }
}

impl TelemetrySettings {
    /// Every value that breaks a rule: the key (relative to the section) and the rule.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if let Err(error) = self.filter() {
            faults.push((
                "log_filter",
                format!("must be a filter such as `info` or `info,drydock::engine=debug`: {error}"),
            ));
        }
        if self.service_name.trim().is_empty() {
            faults.push(("service_name", "must not be empty".to_owned()));
        }
        faults
    }

    /// The filter as the subscriber takes it.
    pub(super) fn filter(&self) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
        EnvFilter::builder().parse(&self.log_filter)
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is exported by OTLP; decided by the standard `OTEL_*` variables, which `config::load` reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Otlp {
    /// Spans are exported.
    pub traces: bool,
    /// Metrics are exported.
    pub metrics: bool,
}
