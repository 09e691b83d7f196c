//! Jobs as long-running operations.

use std::time::Duration;

use drydock::api::pb;
use pb::longrunning::operations_client::OperationsClient;
use pb::longrunning::{
    CancelOperationRequest, DeleteOperationRequest, GetOperationRequest, ListOperationsRequest, Operation,
    WaitOperationRequest, operation,
};
use pb::upgrade_service_client::UpgradeServiceClient;
use prost::Message;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_types::{RpcStatusExt, StatusExt};

use crate::fixture::House;

async fn start(channel: &Channel, cluster: &str) -> String {
    let request = pb::UpgradeClusterRequest {
        target: format!("providers/silent/clusters/{cluster}"),
        version: "9.1".to_owned(),
        ..Default::default()
    };
    let mut upgrades = UpgradeServiceClient::new(channel.clone());
    upgrades.upgrade_cluster(request).await.unwrap().into_inner().job.unwrap().name
}

fn wait(name: &str, timeout: Option<Duration>) -> WaitOperationRequest {
    let timeout = timeout.map(|t| t.try_into().unwrap());
    WaitOperationRequest { name: name.to_owned(), timeout }
}

#[tokio::test]
async fn an_operation_is_read_waited_for_and_cancelled() {
    let house = House::open().await;
    let channel = house.channel().await;
    let name = start(&channel, "c1").await;
    let mut operations = OperationsClient::new(channel.clone());
    let found: Operation =
        operations.get_operation(GetOperationRequest { name: name.clone() }).await.unwrap().into_inner();
    assert!(!found.done && found.result.is_none());
    let packed = found.metadata.unwrap();
    let job = pb::Job::decode(packed.value.as_slice()).unwrap();
    assert_eq!((packed.type_url.as_str(), &job.name), ("type.googleapis.com/drydock.v1.Job", &name));

    // The wait's own time.
    let short = wait(&name, Some(Duration::from_millis(50)));
    assert!(!operations.wait_operation(short).await.unwrap().into_inner().done);
    // The call's time: it is answered rather than cut off.
    let mut timed = Request::new(wait(&name, None));
    timed.metadata_mut().insert("grpc-timeout", "400m".parse().unwrap());
    assert!(!operations.wait_operation(timed).await.unwrap().into_inner().done);

    let mut waiting = operations.clone();
    let (done, ()) =
        tokio::join!(waiting.wait_operation(wait(&name, Some(Duration::from_secs(60)))), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            operations.cancel_operation(CancelOperationRequest { name: name.clone() }).await.unwrap();
        });
    let done = done.unwrap().into_inner();
    let Some(operation::Result::Error(error)) = done.result else { panic!("{done:?}") };
    assert!(done.done);
    assert_eq!(error.code, i32::from(Code::Cancelled));
    let info = error.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("CANCELLED", "drydock.job"));
    // Of one that is done, the state comes at once; and it cannot be cancelled again.
    assert!(waiting.wait_operation(wait(&name, None)).await.unwrap().into_inner().done);
    let again = operations.cancel_operation(CancelOperationRequest { name }).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
    assert_eq!(again.get_details_error_info().unwrap().reason, "WRONG_STATE");
}

#[tokio::test]
async fn operations_are_listed_by_whether_they_are_done() {
    let house = House::open().await;
    let channel = house.channel().await;
    let mut names = Vec::new();
    for n in 0..5 {
        names.push(start(&channel, &format!("c{n}")).await);
    }
    let mut operations = OperationsClient::new(channel);
    for name in &names[..2] {
        operations.cancel_operation(CancelOperationRequest { name: name.clone() }).await.unwrap();
    }
    for (filter, expected) in [("done=true", &names[..2]), ("done=false", &names[2..]), ("", &names[..])] {
        let mut listed = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListOperationsRequest {
                name: "jobs".to_owned(),
                filter: filter.to_owned(),
                page_size: 2,
                page_token,
                ..Default::default()
            };
            let page = operations.list_operations(request).await.unwrap().into_inner();
            assert!(page.operations.len() <= 2);
            listed.extend(page.operations.into_iter().map(|o| o.name));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        listed.reverse();
        assert_eq!(listed, expected, "{filter}");
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_said_plainly() {
    let house = House::open().await;
    let mut operations = OperationsClient::new(house.channel().await);
    let unknown = "jobs/0197f36d-0000-7000-8000-000000000001".to_owned();
    let deleted = operations.delete_operation(DeleteOperationRequest { name: unknown.clone() }).await;
    let deleted = deleted.unwrap_err();
    assert_eq!(deleted.code(), Code::Unimplemented);
    assert!(deleted.message().contains("CancelOperation"), "{}", deleted.message());
    let missing = operations.get_operation(GetOperationRequest { name: unknown.clone() }).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    let missing = operations.wait_operation(wait(&unknown, None)).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    let mut odd = wait("operations/1", None);
    odd.timeout = Some(prost_types::Duration { seconds: -1, nanos: 0 });
    let odd = operations.wait_operation(odd).await.unwrap_err();
    let fields: Vec<_> =
        odd.get_details_bad_request().unwrap().field_violations.into_iter().map(|v| v.field).collect();
    assert_eq!((odd.code(), fields), (Code::InvalidArgument, vec!["name".to_owned(), "timeout".to_owned()]));
}
