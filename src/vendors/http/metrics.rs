//! What the HTTP client counts, under the OpenTelemetry semantic conventions for HTTP clients.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};

/// Instruments of one provider's client. Made after telemetry is installed.
#[derive(Debug)]
pub(super) struct Metrics {
    duration: Histogram<f64>,
    errors: Counter<u64>,
    budget_wait: Histogram<f64>,
    vendor: &'static str,
    provider: String,
}

impl Metrics {
    pub(super) fn new(vendor: &'static str, provider: String) -> Self {
        let meter = opentelemetry::global::meter("drydock");
        Self {
            duration: meter
                .f64_histogram("http.client.request.duration")
                .with_unit("s")
                .with_description("Duration of vendor requests")
                .build(),
            errors: meter
                .u64_counter("drydock.vendor.errors")
                .with_description("Vendor requests that failed below HTTP or with a status of 400 and above")
                .build(),
            budget_wait: meter
                .f64_histogram("drydock.vendor.budget.wait")
                .with_unit("s")
                .with_description("Time that vendor requests waited for the provider's request budget")
                .build(),
            vendor,
            provider,
        }
    }

    pub(super) fn waited(&self, wait: Duration) {
        self.budget_wait.record(wait.as_secs_f64(), &self.who());
    }

    pub(super) fn ended(
        &self,
        method: &str,
        route: &'static str,
        outcome: Result<u16, &'static str>,
        took: Duration,
    ) {
        let mut facts = self.who().to_vec();
        facts.push(KeyValue::new("http.request.method", method.to_owned()));
        facts.push(KeyValue::new("url.template", route));
        match outcome {
            Ok(status) => facts.push(KeyValue::new("http.response.status_code", i64::from(status))),
            Err(kind) => facts.push(KeyValue::new("error.type", kind)),
        }
        self.duration.record(took.as_secs_f64(), &facts);
        if outcome.map_or(true, |status| status >= 400) {
            self.errors.add(1, &facts);
        }
    }

    fn who(&self) -> [KeyValue; 2] {
        [
            KeyValue::new("drydock.vendor", self.vendor),
            KeyValue::new("drydock.provider", self.provider.clone()),
        ]
    }
}
