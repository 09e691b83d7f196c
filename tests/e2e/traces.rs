//! One trace from the caller's RPC to the vendor calls of its job, with the caller's span as parent.

use drydock::api::pb;
use drydock::simulators::zstack::{self, SimZstack};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::collector::Collector;
use crate::gateway::{Gateway, quick};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_trace_reaches_the_vendor_calls() {
    let collector = Collector::start().await;
    let vendor = SimZstack::start(quick(2)).await.unwrap();
    let mut gateway = Gateway::configure(&[("zs", &vendor)])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", collector.address))
        .env("OTEL_BSP_SCHEDULE_DELAY", "100");
    gateway.up().await;
    let mut request = tonic::Request::new(pb::UpgradeClusterRequest {
        target: format!("providers/zs/clusters/{}", zstack::target_id(0)),
        ..Default::default()
    });
    request.metadata_mut().insert("traceparent", format!("00-{TRACE}-{CALLER}-01").parse().unwrap());
    let job = gateway.upgrades().upgrade_cluster(request).await.unwrap().into_inner().job.unwrap();
    assert_eq!(job.trace_id, TRACE);
    gateway.ended(&job.name).await;
    gateway.terminate().await;

    let spans: Vec<Span> = collector.spans().into_iter().filter(|s| hex(&s.trace_id) == TRACE).collect();
    let names: Vec<_> = spans.iter().map(|s| s.name.as_str()).collect();
    let server = spans.iter().find(|s| s.kind() == SpanKind::Server).unwrap_or_else(|| panic!("{names:?}"));
    assert_eq!(server.name, "drydock.v1.UpgradeService/UpgradeCluster");
    assert_eq!(hex(&server.parent_span_id), CALLER);
    let calls: Vec<_> = spans.iter().filter(|s| s.kind() == SpanKind::Client).collect();
    assert!(calls.iter().any(|s| s.name.starts_with("PUT ")), "the start is in the trace: {names:?}");
    assert!(calls.iter().any(|s| s.name.starts_with("GET ")), "the polls are in the trace: {names:?}");
    // Every vendor call hangs below the caller's RPC.
    let parent_of = |span: &Span| spans.iter().find(|s| s.span_id == span.parent_span_id);
    for call in calls {
        let mut at = call;
        while let Some(parent) = parent_of(at) {
            at = parent;
        }
        assert_eq!(at.span_id, server.span_id, "{} leads to {}", call.name, at.name);
    }
    // The job's whole life is one span with a child for each state.
    let life = spans.iter().find(|s| s.name == "job UPGRADE").unwrap_or_else(|| panic!("{names:?}"));
    let states: Vec<_> =
        spans.iter().filter(|s| s.parent_span_id == life.span_id).map(|s| s.name.as_str()).collect();
    for state in ["PENDING", "CHECKING", "SUBMITTING", "RUNNING"] {
        assert!(states.contains(&state), "{state} is missing in {states:?}");
    }
}
