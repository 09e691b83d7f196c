//! A server span and the duration metric of every call, under the OpenTelemetry semantic conventions for RPC.
//!
//! The caller's `traceparent` becomes the span's parent, and is put into the request's extensions for the job that
//! the call may make. A call ends when its last byte is sent or its client goes away, so a watch is one long span.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter, UpDownCounter};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::{Instrument, Span, field};

use super::{Answer, Call};
use crate::kit::trace::{TraceParent, adopt};

/// What stands for a method that this server does not have, so that callers cannot make up metric series.
const OTHER: &str = "_OTHER";

/// Observes calls. Made after telemetry is installed.
#[derive(Clone, Debug)]
pub struct ObserveLayer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    duration: Histogram<f64>,
    active: UpDownCounter<i64>,
    /// The methods of this server, by `package.Service/Method`.
    methods: BTreeMap<String, Arc<Method>>,
    other: Arc<Method>,
}

/// A method, with what is told of every call of it.
#[derive(Debug)]
struct Method {
    name: String,
    /// The attributes of a call that ended well: most do.
    ended_well: [KeyValue; 3],
}

impl Method {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), ended_well: Self::facts(name, Code::Ok) })
    }

    fn facts(name: &str, code: Code) -> [KeyValue; 3] {
        [
            KeyValue::new("rpc.system.name", "grpc"),
            KeyValue::new("rpc.method", name.to_owned()),
            KeyValue::new("rpc.response.status_code", code_name(code)),
        ]
    }
}

impl ObserveLayer {
    /// Observes calls of `methods`, each `package.Service/Method`; others are counted together.
    pub fn new(methods: BTreeSet<String>) -> Self {
        Self::on(&opentelemetry::global::meter("drydock"), methods)
    }

    fn on(meter: &Meter, methods: BTreeSet<String>) -> Self {
        let duration = meter
            .f64_histogram("rpc.server.call.duration")
            .with_unit("s")
            .with_description("Duration of incoming calls")
            .build();
        let active = meter
            .i64_up_down_counter("drydock.rpc.active")
            .with_description("Incoming calls under way, open watches included")
            .build();
        let methods = methods.into_iter().map(|name| (name.clone(), Method::new(&name))).collect();
        Self { shared: Arc::new(Shared { duration, active, methods, other: Method::new(OTHER) }) }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner, shared: Arc::clone(&self.shared) }
    }
}

/// A service whose calls are observed.
#[derive(Clone, Debug)]
pub struct Observe<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Service<Call> for Observe<S>
where
    S: Service<Call, Response = Answer>,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let asked = call.uri().path().trim_start_matches('/');
        let known = self.shared.methods.get(asked);
        let method = known.unwrap_or(&self.shared.other);
        let span = span(&method.name);
        if known.is_none() {
            span.record("rpc.method_original", asked);
        }
        let mut active = ActiveCall::new(Arc::clone(&self.shared), Arc::clone(method), span.clone());
        let parent = call.headers().get("traceparent").and_then(|v| v.to_str().ok());
        if let Some(parent) = parent.and_then(TraceParent::parse) {
            adopt(&span, &parent);
            call.extensions_mut().insert(parent);
        }
        let inner = span.in_scope(|| self.inner.call(call)).instrument(span);
        Box::pin(async move {
            let answer = inner.await?;
            match Status::from_header_map(answer.headers()) {
                // The whole answer is its head.
                Some(status) => {
                    active.end(status.code());
                    Ok(answer)
                }
                None => Ok(answer.map(|inner| Body::new(Observed { inner, active, streams: false }))),
            }
        })
    }
}

/// Ours at INFO; health and reflection, which are asked all the time, at DEBUG.
fn span(method: &str) -> Span {
    macro_rules! rpc_span {
        ($level:expr) => {
            tracing::span!(
                $level,
                "rpc",
                otel.name = method,
                otel.kind = "server",
                otel.status_code = field::Empty,
                rpc.system.name = "grpc",
                rpc.method = method,
                rpc.method_original = field::Empty,
                rpc.response.status_code = field::Empty,
                "error.type" = field::Empty,
            )
        };
    }
    if method.starts_with("drydock.") || method.starts_with("google.longrunning.") {
        rpc_span!(tracing::Level::INFO)
    } else {
        rpc_span!(tracing::Level::DEBUG)
    }
}

/// A call under way. Ends once: with a status, or as cancelled when it is dropped.
#[derive(Debug)]
struct ActiveCall {
    shared: Arc<Shared>,
    method: Arc<Method>,
    span: Span,
    start: Instant,
    over: bool,
}

impl ActiveCall {
    fn new(shared: Arc<Shared>, method: Arc<Method>, span: Span) -> Self {
        shared.active.add(1, &[]);
        Self { shared, method, span, start: Instant::now(), over: false }
    }

    fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let name = code_name(code);
        self.span.record("rpc.response.status_code", name);
        let took = self.start.elapsed().as_secs_f64();
        if code == Code::Ok {
            self.shared.duration.record(took, &self.method.ended_well);
        } else if is_server_fault(code) {
            self.span.record("otel.status_code", "ERROR");
            self.span.record("error.type", name);
            let [system, method, status] = Method::facts(&self.method.name, code);
            self.shared.duration.record(took, &[system, method, status, KeyValue::new("error.type", name)]);
        } else {
            self.shared.duration.record(took, &Method::facts(&self.method.name, code));
        }
        self.shared.active.add(-1, &[]);
    }
}

impl Drop for ActiveCall {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

/// An answer's body that tells how it ended.
struct Observed {
    inner: Body,
    active: ActiveCall,
    /// Its first frame is out.
    streams: bool,
}

impl HttpBody for Observed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        // Once a stream tells what happened, it is out of the span: to enter it costs a fifth of a delivery.
        let frame = if this.streams {
            Pin::new(&mut this.inner).poll_frame(context)
        } else {
            let _entered = this.active.span.enter();
            Pin::new(&mut this.inner).poll_frame(context)
        };
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                this.streams = true;
                if let Some(trailers) = frame.trailers_ref() {
                    let status = Status::from_header_map(trailers);
                    this.active.end(status.map_or(Code::Unknown, |s| s.code()));
                }
            }
            Poll::Ready(Some(Err(status))) => this.active.end(status.code()),
            // An end without trailers is no gRPC answer.
            Poll::Ready(None) => this.active.end(Code::Unknown),
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The codes that the conventions count as the server's fault.
const fn is_server_fault(code: Code) -> bool {
    match code {
        Code::Unknown
        | Code::DeadlineExceeded
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unauthenticated => false,
    }
}

/// A code's name, as gRPC writes it.
pub const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt, StreamBody};
    use opentelemetry::trace::{SpanId, TraceId, TracerProvider};
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
    use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
    use tower::ServiceExt;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    const METHOD: &str = "drydock.v1.JobService/GetJob";

    fn call(path: &str) -> Call {
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        http::Request::builder().uri(path).header("traceparent", traceparent).body(Body::empty()).unwrap()
    }

    /// An answer with a body that ends with `code`.
    fn answer(code: Code) -> Answer {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", i32::from(code).into());
        let frames = [Frame::data(Bytes::from_static(b"x")), Frame::trailers(trailers)];
        let stream = futures_util::stream::iter(frames.map(Ok::<_, Status>));
        Answer::new(Body::new(StreamBody::new(stream)))
    }

    /// Each recorded call: method, status code, error type.
    fn recorded(exporter: &InMemoryMetricExporter, provider: &SdkMeterProvider) -> Vec<[String; 3]> {
        provider.force_flush().unwrap();
        let metrics = exporter.get_finished_metrics().unwrap();
        let newest = metrics.last().unwrap().scope_metrics().next().unwrap();
        let metric = newest.metrics().find(|m| m.name() == "rpc.server.call.duration").unwrap();
        let AggregatedMetrics::F64(MetricData::Histogram(histogram)) = metric.data() else { panic!() };
        let mut out: Vec<_> = histogram
            .data_points()
            .map(|point| {
                ["rpc.method", "rpc.response.status_code", "error.type"].map(|key| {
                    let fact = point.attributes().find(|a| a.key.as_str() == key);
                    fact.map(|a| a.value.to_string()).unwrap_or_default()
                })
            })
            .collect();
        out.sort();
        out
    }

    #[tokio::test]
    async fn every_way_to_end_is_counted_and_traced() {
        let metrics = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(metrics.clone()).build();
        let meters = SdkMeterProvider::builder().with_reader(reader).build();
        let spans = InMemorySpanExporter::default();
        let tracers = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(tracers.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        let _installed = tracing::subscriber::set_default(subscriber);

        let observe = ObserveLayer::on(
            &opentelemetry::metrics::MeterProvider::meter(&meters, "test"),
            BTreeSet::from([METHOD.to_owned()]),
        );
        let service = observe.layer(tower::service_fn(|call: Call| async move {
            assert!(call.extensions().get::<TraceParent>().is_some());
            let path = call.uri().path().to_owned();
            Ok::<_, Infallible>(match path.as_str() {
                "/refused" => Status::internal("no").into_http(),
                _ => answer(Code::NotFound),
            })
        }));
        let path = format!("/{METHOD}");
        let whole = service.clone().oneshot(call(&path)).await.unwrap();
        assert!(whole.into_body().collect().await.unwrap().trailers().is_some());
        let mut left = service.clone().oneshot(call(&path)).await.unwrap().into_body();
        left.frame().await.unwrap().unwrap();
        drop(left);
        drop(service.oneshot(call("/refused")).await.unwrap());

        let expected =
            [["_OTHER", "INTERNAL", "INTERNAL"], [METHOD, "CANCELLED", ""], [METHOD, "NOT_FOUND", ""]];
        assert_eq!(recorded(&metrics, &meters), expected.map(|line| line.map(str::to_owned)));
        let spans = spans.get_finished_spans().unwrap();
        assert_eq!(spans.len(), 3);
        for span in &spans {
            let trace = TraceId::from_hex("0af7651916cd43dd8448eb211c80319c").unwrap();
            assert_eq!(span.span_context.trace_id(), trace);
            assert_eq!(span.parent_span_id, SpanId::from_hex("b7ad6b7169203331").unwrap());
            assert_eq!(span.span_kind, opentelemetry::trace::SpanKind::Server);
        }
        assert_eq!(spans[0].name, METHOD);
    }
}
