//! W3C trace context as text: what comes in with an RPC, is kept with a job, and goes out on vendor calls.
//!
//! Everything here speaks `tracing` spans and `traceparent` text, so that the rooms below the roof need not
//! know which exporter is installed.

use std::time::SystemTime;

use jiff::Timestamp;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanKind, Status, TraceContextExt, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// A `traceparent` header value. Only well-formed ones exist.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct TraceParent(String);

impl TraceParent {
    /// Reads a `traceparent` value; anything malformed is treated as absent, as the W3C text asks.
    pub fn parse(text: &str) -> Option<Self> {
        let context = extract(&One(text));
        context.is_valid().then(|| Self(text.to_owned()))
    }

    /// The header text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 32 hex digits that name the trace.
    pub fn trace_id(&self) -> &str {
        self.0.get(3..35).unwrap_or_default()
    }

    /// The trace context of a span, when it is recorded by an exporter.
    pub fn of(span: &tracing::Span) -> Option<Self> {
        let mut carrier = Slot(None);
        TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
        carrier.0.and_then(|text| Self::parse(&text))
    }

    fn context(&self) -> Context {
        Context::new().with_remote_span_context(extract(&One(&self.0)))
    }
}

/// Makes `span` a child of `parent`, which may live in another process. Call it before the span is entered.
pub fn adopt(span: &tracing::Span, parent: &TraceParent) {
    // An error here means that no exporter is installed or that the span began already: nothing to do.
    let _ = span.set_parent(parent.context());
}

/// Links `span` to another trace without becoming part of it.
pub fn link(span: &tracing::Span, other: &TraceParent) {
    span.add_link(extract(&One(&other.0)));
}

/// A finished stretch of time, recorded after the fact.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// Span name.
    pub name: String,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Attributes.
    pub attributes: Vec<(&'static str, String)>,
    /// The failure's text, when it ended badly.
    pub error: Option<String>,
}

/// Records a span that is already over, with one child per part, under `parent`.
///
/// Long jobs outlive processes, so their span cannot be held open: it is written when the job ends.
pub fn record(parent: Option<&TraceParent>, whole: Stretch, parts: Vec<Stretch>) {
    let tracer = opentelemetry::global::tracer_provider().tracer("drydock");
    let root = parent.map_or_else(Context::new, TraceParent::context);
    let end = system_time(whole.end);
    let span = start(&tracer, whole, &root);
    let context = root.with_span(span);
    for part in parts {
        let part_end = system_time(part.end);
        let mut child = start(&tracer, part, &context);
        child.end_with_timestamp(part_end);
    }
    context.span().end_with_timestamp(end);
}

fn start<T: Tracer>(tracer: &T, stretch: Stretch, parent: &Context) -> T::Span {
    let attributes: Vec<_> =
        stretch.attributes.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
    let mut span = tracer
        .span_builder(stretch.name)
        .with_kind(SpanKind::Internal)
        .with_start_time(system_time(stretch.start))
        .with_attributes(attributes)
        .start_with_context(tracer, parent);
    if let Some(error) = stretch.error {
        span.set_status(Status::error(error));
    }
    span
}

fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::from(at)
}

fn extract(carrier: &dyn Extractor) -> SpanContext {
    TraceContextPropagator::new().extract_with_context(&Context::new(), carrier).span().span_context().clone()
}

struct One<'a>(&'a str);

impl Extractor for One<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

struct Slot(Option<String>);

impl Injector for Slot {
    fn set(&mut self, key: &str, value: String) {
        if key == "traceparent" && !value.is_empty() {
            self.0 = Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_only_well_formed_contexts() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = TraceParent::parse(text).unwrap();
        assert_eq!(parent.as_str(), text);
        assert_eq!(parent.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        for bad in ["", "00", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "zz-x-y-01"] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }
}
