//! Log lines: one event, with the ids of the job, provider and trace that it belongs to.
//!
//! Spans carry many facts for traces; a log line repeats only those that a person searches by ([`KEPT`]).

use std::fmt::{self, Write as _};

use opentelemetry::trace::TraceContextExt as _;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use crate::kit::clock::Clock;

/// Which facts of the surrounding spans a log line repeats, and under which name.
const KEPT: &[(&str, &str)] = &[
    ("job.id", "job.id"),
    ("drydock.provider", "provider.name"),
    ("drydock.vendor", "vendor.name"),
    ("rpc.method", "rpc.method"),
];
/// The longest value that is printed, in bytes.
const MAX_VALUE_BYTES: usize = 4096;

/// The layer that writes log lines to `writer`.
pub(super) fn layer<S, W>(json: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let style = if json { Style::Json } else { Style::Text };
    Box::new(Facts.and_then(lines.event_format(Lines { style, clock: Clock::system() })))
}

/// What a layer of log lines must be shown: the events that `wanted` lets through, and our own spans whatever it says.
/// Otherwise a filter such as `warn`, which hides spans of level INFO, would take the ids out of the lines that are left.
pub(super) fn shown<S>(wanted: EnvFilter) -> impl Filter<S> + Send + Sync + 'static
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let spans = filter_fn(|meta| {
        meta.is_span() && *meta.level() <= Level::INFO && meta.target().starts_with("drydock")
    });
    wanted.or(spans.with_max_level_hint(Level::INFO))
}

/// Notes on every span which of its facts are kept.
struct Facts;

/// The kept facts of one span.
struct Kept(Vec<(&'static str, String)>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Facts {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut kept = Kept(Vec::new());
        attributes.record(&mut kept);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(kept);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(kept) = span.extensions_mut().get_mut::<Kept>()
        {
            values.record(kept);
        }
    }
}

impl Visit for Kept {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.keep(field, || format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, || value.to_owned());
    }
}

impl Kept {
    fn keep(&mut self, field: &Field, value: impl FnOnce() -> String) {
        if let Some((_, name)) = KEPT.iter().find(|(span_name, _)| *span_name == field.name()) {
            self.0.retain(|(n, _)| n != name);
            self.0.push((name, cut(value())));
        }
    }
}

#[derive(Clone, Copy)]
enum Style {
    Text,
    Json,
}

struct Lines {
    style: Style,
    clock: Clock,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        // The innermost span's word holds; the event's own holds above all.
        for span in context.event_scope().into_iter().flatten() {
            if let Some(kept) = span.extensions().get::<Kept>() {
                for (name, value) in &kept.0 {
                    if !fields.values.contains_key(*name) {
                        fields.values.insert((*name).to_owned(), Value::from(value.as_str()));
                    }
                }
            }
        }
        let trace = opentelemetry::Context::current();
        let trace = trace.span().span_context().clone();
        if trace.is_valid() {
            fields.values.insert("trace_id".to_owned(), Value::from(trace.trace_id().to_string()));
            fields.values.insert("span_id".to_owned(), Value::from(trace.span_id().to_string()));
        }
        let meta = event.metadata();
        let now = self.clock.now();
        match self.style {
            Style::Text => text(writer, &format!("{now:.6}"), *meta.level(), meta.target(), fields),
            Style::Json => json(writer, &format!("{now:.6}"), *meta.level(), meta.target(), fields),
        }
    }
}

fn text(mut to: Writer<'_>, time: &str, level: Level, target: &str, fields: Fields) -> fmt::Result {
    write!(to, "{time} {level:>5} {target}: {}", Printable(&fields.message))?;
    for (name, value) in &fields.values {
        match value {
            Value::String(text) if is_plain(text) => write!(to, " {name}={text}")?,
            // A line stays one line, whatever a vendor or caller wrote.
            other => write!(to, " {name}={other}")?,
        }
    }
    writeln!(to)
}

fn json(mut to: Writer<'_>, time: &str, level: Level, target: &str, fields: Fields) -> fmt::Result {
    // By hand, so that the words that every line has come first: a map would sort its keys.
    let first =
        [("timestamp", time), ("level", level.as_str()), ("target", target), ("message", &fields.message)];
    let mut between = '{';
    for (name, value) in first {
        write!(to, "{between}{}:{}", Value::from(name), Value::from(value))?;
        between = ',';
    }
    for (name, value) in fields.values {
        if !first.iter().any(|(taken, _)| *taken == name) {
            write!(to, ",{}:{value}", Value::from(name))?;
        }
    }
    writeln!(to, "}}")
}

/// An event's message and fields.
#[derive(Default)]
struct Fields {
    message: String,
    values: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        // `log.*` is how lines of the `log` crate carry their place; nobody searches by it.
        if !field.name().starts_with("log.") {
            self.values.insert(field.name().to_owned(), value);
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = cut(format!("{value:?}"));
        if field.name() == "message" { self.message = text } else { self.put(field, text.into()) }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let text = cut(value.to_owned());
        if field.name() == "message" { self.message = text } else { self.put(field, text.into()) }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            // A cause often repeats itself through several layers.
            let words = cause.to_string();
            if !text.ends_with(&words) {
                let _ = write!(text, ": {words}");
            }
            source = cause.source();
        }
        self.put(field, cut(text).into());
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| !c.is_control() && !c.is_whitespace() && c != '"')
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_VALUE_BYTES {
        let end = (0..=MAX_VALUE_BYTES).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Text whose control characters are written out.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            if c.is_control() { write!(f, "{}", c.escape_default()) } else { f.write_char(c) }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::TracerProvider as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::kit::secret::Secret;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Sink {
        fn keep(&self, bytes: &[u8]) {
            self.0.lock().unwrap().extend_from_slice(bytes);
        }
    }

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.keep(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Sink {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// What is logged while `work` runs.
    fn logged(json: bool, work: impl FnOnce()) -> String {
        logged_by("info", json, work)
    }

    fn logged_by(filter: &str, json: bool, work: impl FnOnce()) -> String {
        let sink = Sink::default();
        let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
        let subscriber = tracing_subscriber::registry()
            .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("test")))
            .with(layer(json, sink.clone()).with_filter(shown(filter.parse().unwrap())));
        tracing::subscriber::with_default(subscriber, work);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn inside_a_job() {
        let provider =
            tracing::info_span!("round", drydock.provider = "vcenter-ams", http.request.method = "GET");
        let _provider = provider.enter();
        let job = tracing::info_span!("job", job.id = tracing::field::Empty);
        job.record("job.id", "jobs/7");
        let _job = job.enter();
        tracing::warn!(attempt = 3, word = "two\nlines", "the vendor\nis slow");
    }

    #[test]
    fn a_json_line_carries_the_ids_of_its_spans() {
        let line: Value = serde_json::from_str(&logged(true, inside_a_job)).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "the vendor\nis slow");
        assert_eq!(line["attempt"], 3);
        assert_eq!(line["job.id"], "jobs/7");
        assert_eq!(line["provider.name"], "vcenter-ams");
        assert_eq!(line["trace_id"].as_str().unwrap().len(), 32);
        assert_eq!(line["span_id"].as_str().unwrap().len(), 16);
        assert_eq!(line.get("http.request.method"), None, "only what people search by");
    }

    #[test]
    fn a_line_keeps_its_ids_when_the_filter_hides_spans() {
        let lines = logged_by("warn", true, || {
            inside_a_job();
            tracing::info!("not asked for");
        });
        assert_eq!(lines.lines().count(), 1, "{lines}");
        let line: Value = serde_json::from_str(&lines).unwrap();
        assert_eq!((&line["job.id"], &line["provider.name"]), (&"jobs/7".into(), &"vcenter-ams".into()));
    }

    #[test]
    fn a_text_line_is_one_line() {
        let line = logged(false, inside_a_job);
        assert_eq!(line.lines().count(), 1, "{line}");
        for part in [
            "WARN",
            "the vendor\\nis slow",
            "attempt=3",
            "job.id=jobs/7",
            "provider.name=vcenter-ams",
            "trace_id=",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }

    #[test]
    fn a_secret_that_is_logged_by_mistake_is_not_printed() {
        for json in [true, false] {
            let line = logged(json, || {
                let secret = Secret::from("canary-4711");
                let span = tracing::info_span!("job", job.id = ?secret);
                let _span = span.enter();
                tracing::info!(password = ?secret, "sent {secret:?}");
            });
            assert!(line.contains("sent ") && !line.contains("canary"), "{line}");
        }
    }

    #[test]
    fn an_error_is_told_with_its_causes_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot save")]
        struct Save(#[source] io::Error);
        let line = logged(false, || {
            let error = Save(io::Error::other("disk full"));
            tracing::error!(error = &error as &dyn std::error::Error, "lost");
        });
        assert!(line.contains(r#"error="cannot save: disk full""#), "{line}");
    }
}
