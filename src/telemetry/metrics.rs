//! Metrics: one provider that is scraped, and exported when asked for.

use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::{Aggregation, Instrument, InstrumentKind, SdkMeterProvider, Stream};
use prometheus::{Registry, TextEncoder};

/// Bounds for durations in seconds, from a fast commit to a slow vendor (the HTTP semantic conventions' advice,
/// with finer ones below and coarser ones above).
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    30.0, 60.0,
];

/// Bounds for what takes minutes to days at a vendor.
const LONG_SECONDS: &[f64] =
    &[1.0, 10.0, 60.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 43_200.0, 86_400.0];
/// Instruments that measure those.
const LONG: &[&str] = &["drydock.job.duration"];
/// Bounds for calls, from a read to a watch of an hour.
const CALL_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3_600.0];
/// Instruments that measure those.
const CALLS: &[&str] = &["rpc.server.call.duration"];

/// What `/metrics` serves. Clones share it.
#[derive(Clone, Debug)]
pub struct Scrape(Registry);

impl Default for Scrape {
    fn default() -> Self {
        Self::new()
    }
}

impl Scrape {
    /// Nothing to scrape yet.
    pub fn new() -> Self {
        Self(Registry::new())
    }

    /// Everything, in Prometheus' text format.
    ///
    /// # Errors
    /// Instruments contradict each other; the text says which.
    pub fn text(&self) -> Result<String, String> {
        TextEncoder::new().encode_to_string(&self.0.gather()).map_err(|error| error.to_string())
    }
}

/// The provider behind all instruments.
pub(super) fn provider(
    scrape: &Scrape,
    exporter: Option<MetricExporter>,
    resource: Resource,
) -> Result<SdkMeterProvider, OTelSdkError> {
    let reader = opentelemetry_prometheus::exporter().with_registry(scrape.0.clone()).build()?;
    let builder =
        SdkMeterProvider::builder().with_resource(resource).with_view(in_seconds).with_reader(reader);
    Ok(match exporter {
        Some(exporter) => builder.with_periodic_exporter(exporter).build(),
        None => builder.build(),
    })
}

/// The SDK's own bounds are made for milliseconds: with them every duration in seconds lands in one bucket.
fn in_seconds(instrument: &Instrument) -> Option<Stream> {
    if instrument.kind() != InstrumentKind::Histogram || instrument.unit() != "s" {
        return None;
    }
    let boundaries = if LONG.contains(&instrument.name()) {
        LONG_SECONDS
    } else if CALLS.contains(&instrument.name()) {
        CALL_SECONDS
    } else {
        SECONDS
    }
    .to_vec();
    let aggregation = Aggregation::ExplicitBucketHistogram { boundaries, record_min_max: true };
    Stream::builder().with_aggregation(aggregation).build().ok()
}

#[cfg(test)]
mod tests {
    use opentelemetry::metrics::MeterProvider as _;

    use super::*;

    #[test]
    fn durations_spread_over_buckets_of_seconds() {
        let scrape = Scrape::new();
        let provider = provider(&scrape, None, Resource::builder_empty().build()).unwrap();
        let meter = provider.meter("drydock");
        let histogram = |name| meter.f64_histogram(name).with_unit("s").build();
        let wait = histogram("drydock.test.wait");
        wait.record(0.002, &[]);
        wait.record(20.0, &[]);
        // A watch lives long.
        histogram("rpc.server.call.duration").record(3_000.0, &[]);
        let text = scrape.text().unwrap();
        let bucket = |name: &str, le: &str| {
            let mark = format!("le=\"{le}\"");
            let line = text.lines().find(|l| l.starts_with(name) && l.contains(&mark));
            line.unwrap().rsplit(' ').next().unwrap().to_owned()
        };
        let wait = |le| bucket("drydock_test_wait_seconds_bucket", le);
        assert_eq!([wait("0.001"), wait("0.0025"), wait("10"), wait("30")], ["0", "1", "1", "2"]);
        let call = |le| bucket("rpc_server_call_duration_seconds_bucket", le);
        assert_eq!([call("600"), call("3600")], ["0", "1"]);
    }
}
