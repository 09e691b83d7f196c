//! Which starts go into which call, what is said about warnings, and what each answer means.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::domain::failure::FailureReason;
use crate::domain::id::JobId;
use crate::domain::job::Handle;
use crate::domain::operation::Upgrade;
use crate::domain::target::Target;

fn reply(status: u16, body: &str) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    Reply {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn planned(name: &str, attempts: u32) -> Planned {
    Planned {
        job: JobId::new(Uuid::nil()),
        target: Target::parse_name(&format!("providers/vc/{name}")).unwrap(),
        operation: Operation::Upgrade(Upgrade { version: Some("v2".to_owned()), ..Upgrade::default() }),
        key: Uuid::nil(),
        attempts,
        submit_time: None,
        handle: None,
        permit: crate::kit::permit::Permit::unlimited(),
        cancel_requested: false,
        watched: false,
    }
}

fn upgrade(ignore: Option<bool>, accepted: &[&str]) -> Operation {
    Operation::Upgrade(Upgrade {
        version: Some("v2".to_owned()),
        ignore_precheck_warnings: ignore,
        accepted_risks: accepted.iter().map(|id| (*id).to_owned()).collect(),
        ..Upgrade::default()
    })
}

#[test]
fn warnings_are_ignored_when_told_or_when_each_was_accepted() {
    let warned = Notes {
        warnings: vec!["vsphere.a".to_owned(), "vsphere.b".to_owned()],
        prechecks_read: true,
        ..Notes::default()
    };
    assert_eq!(ignores(&upgrade(None, &[]), &warned), None);
    assert_eq!(ignores(&upgrade(Some(false), &[]), &warned), Some(false));
    assert_eq!(ignores(&upgrade(Some(true), &[]), &warned), Some(true));
    assert_eq!(ignores(&upgrade(None, &["vsphere.a"]), &warned), None, "one was not accepted");
    let both = ["vsphere.a", "vsphere.b"];
    assert_eq!(ignores(&upgrade(None, &both), &warned), Some(true));
    assert_eq!(ignores(&upgrade(Some(false), &both), &warned), Some(true));
    assert_eq!(ignores(&upgrade(None, &both), &Notes::default()), None, "nothing was found to accept");
    let half_read = Notes { prechecks_read: false, ..warned };
    assert_eq!(ignores(&upgrade(None, &both), &half_read), None, "there may be more that nobody listed");
    assert_eq!(ignores(&upgrade(Some(false), &both), &half_read), Some(false));
    assert_eq!(ignores(&upgrade(Some(true), &[]), &half_read), Some(true), "the caller's own switch");
}

#[test]
fn a_start_takes_the_baseline_along_and_forgets_what_came_after_it() {
    let mut job = planned("clusters/domain-c9", 2);
    let earlier = Notes {
        warnings: vec!["w".to_owned()],
        running_seen: true,
        task: Some("t".to_owned()),
        known_tasks: Some(vec!["k".to_owned()]),
        ..Notes::default()
    };
    job.handle = Some(Handle(serde_json::to_string(&earlier).unwrap()));
    let (notes, _) = notes(&job);
    assert_eq!((notes.warnings.len(), notes.known_tasks.as_ref().map(Vec::len)), (1, Some(1)));
    assert!(!notes.running_seen && notes.task.is_none());
}

#[test]
fn calls_hold_at_most_a_hundred_clusters_and_none_twice() {
    let mut jobs: Vec<Planned> = (0..250).map(|n| planned(&format!("clusters/domain-c{n}"), 1)).collect();
    jobs.push(planned("clusters/domain-c0", 1));
    jobs.push(planned("clusters/domain-c500", 2));
    let starts: Vec<Start<'_>> = jobs.iter().map(Start::of).collect();
    let chunks = chunks(&starts);
    let sizes: Vec<usize> = chunks.iter().map(Vec::len).collect();
    assert_eq!(sizes, [100, 100, 51, 1]);
    assert_eq!(chunks[3], [251], "what was sent before goes alone");
    assert!(chunks[2].contains(&250), "the second start of one cluster is in another call");
    let mut all: Vec<usize> = chunks.into_iter().flatten().collect();
    all.sort_unstable();
    assert_eq!(all, (0..252).collect::<Vec<_>>());
}

fn cluster(result: Value) -> Submitted {
    let job = planned("clusters/domain-c9", 1);
    cluster_outcome(&Start::of(&job), Some(&result))
}

#[test]
fn each_result_of_a_batch_has_its_meaning() {
    let Submitted::Started(seen) = cluster(json!({"res": "STARTED"})) else { panic!("not started") };
    assert_eq!((seen.phase, seen.ids["cluster"].as_str()), (Phase::Running, "domain-c9"));
    let rejected = cluster(
        json!({"res": "REJECTED", "exception": {"error_type": "UNSUPPORTED", "@class": "x",
        "messages": [{"id": "example.precheck.failed", "default_message": "Pre-check failed on domain-c9.", "args": ["domain-c9"]}]}}),
    );
    let Submitted::Refused(failure, findings) = rejected else { panic!("not refused") };
    assert_eq!(failure.reason, FailureReason::PrecheckFailed);
    assert_eq!(failure.message, "Pre-check failed on domain-c9.");
    assert_eq!(findings[0].id, "vsphere.example.precheck.failed");
    assert_eq!(findings[0].subject.as_deref(), Some("domain-c9"));
    for (exception, reason) in [
        (json!({}), FailureReason::PrecheckFailed),
        (json!(null), FailureReason::PrecheckFailed),
        (json!({"error_type": "NOT_FOUND"}), FailureReason::TargetNotFound),
        (json!({"error_type": "UNAUTHORIZED"}), FailureReason::PermissionDenied),
        (json!({"error_type": "INVALID_ARGUMENT"}), FailureReason::VendorRejected),
        (json!({"error_type": "BRAND_NEW"}), FailureReason::VendorRejected),
    ] {
        let outcome = cluster(json!({"res": "REJECTED", "exception": exception}));
        let Submitted::Refused(failure, _) = outcome else { panic!("not refused") };
        assert_eq!(failure.reason, reason);
        assert!(!failure.message.is_empty());
    }
}

#[test]
fn an_odd_result_may_have_started() {
    for odd in
        [json!({}), json!({"res": null}), json!({"res": "QUEUED"}), json!({"res": 17}), json!("STARTED")]
    {
        let Submitted::Failed(error) = cluster(odd.clone()) else { panic!("concluded from {odd}") };
        assert_eq!(error.reached, Reached::Maybe, "{odd}");
    }
    let job = planned("clusters/domain-c9", 1);
    let Submitted::Failed(error) = cluster_outcome(&Start::of(&job), None) else { panic!("concluded") };
    assert_eq!(error.reached, Reached::Maybe);
}

fn whole(status: u16, error_type: &str, size: usize) -> BatchAnswer {
    let body = format!(r#"{{"error_type":"{error_type}","messages":[{{"id":"i","default_message":"m"}}]}}"#);
    batch_answer(Ok(reply(status, &body)), size)
}

#[test]
fn a_forbidden_batch_is_taken_apart_and_a_forbidden_cluster_refused() {
    assert!(matches!(whole(403, "UNAUTHORIZED", 2), BatchAnswer::TakeApart));
    let BatchAnswer::Refused(error, body) = whole(403, "UNAUTHORIZED", 1) else { panic!("taken apart") };
    let Submitted::Refused(failure, findings) = refused(error, body.as_ref()) else { panic!("not refused") };
    assert_eq!((failure.reason, findings.len()), (FailureReason::PermissionDenied, 1));
}

#[test]
fn a_batch_refused_for_one_of_many_may_have_started_some() {
    for (status, word) in [
        (400, "INVALID_ARGUMENT"),
        (404, "NOT_FOUND"),
        (500, "ERROR"),
        (503, "SERVICE_UNAVAILABLE"),
        (400, "UNABLE_TO_ALLOCATE_RESOURCE"),
        (429, "BRAND_NEW"),
    ] {
        let BatchAnswer::Refused(error, body) = whole(status, word, 2) else { panic!("{word}") };
        let Submitted::Failed(error) = refused(error, body.as_ref()) else { panic!("{word}") };
        assert_eq!(error.reached, Reached::Maybe, "{word}");
    }
    let BatchAnswer::Refused(error, _) = whole(401, "UNAUTHENTICATED", 2) else { panic!("no refusal") };
    assert_eq!(error.reached, Reached::No, "vCenter let nobody in");
    let BatchAnswer::Refused(error, _) = batch_answer(Ok(reply(429, "")), 2) else { panic!("no refusal") };
    assert_eq!(error.reached, Reached::No, "something in between let nothing through");
    let BatchAnswer::Refused(error, _) = whole(404, "OPERATION_NOT_FOUND", 2) else { panic!("no refusal") };
    assert_eq!(error.reached, Reached::No, "vCenter does not have the call");
}

#[test]
fn a_single_start_is_refused_by_what_vcenter_certainly_did_not_begin() {
    for (status, word, certain) in [
        (400, "UNSUPPORTED", true),
        (400, "INVALID_ARGUMENT", true),
        (400, "NOT_ALLOWED_IN_CURRENT_STATE", true),
        (404, "NOT_FOUND", true),
        (409, "CONCURRENT_CHANGE", true),
        (500, "ERROR", false),
        (500, "INTERNAL_SERVER_ERROR", false),
        (503, "SERVICE_UNAVAILABLE", false),
        (504, "TIMED_OUT", false),
        (400, "RESOURCE_BUSY", false),
    ] {
        let BatchAnswer::Refused(error, body) = whole(status, word, 1) else { panic!("{word}") };
        match refused(error, body.as_ref()) {
            Submitted::Refused(failure, _) => {
                assert!(certain, "{word}");
                assert_eq!(failure.vendor_code.as_deref(), Some(word));
            }
            Submitted::Failed(error) => assert!(!certain && error.reached == Reached::Maybe, "{word}"),
            Submitted::Started(_) => panic!("{word}"),
        }
    }
}

fn supervisor(status: u16, body: &str) -> Submitted {
    let job = planned("supervisors/s-1", 1);
    supervisor_outcome(Start::of(&job), Ok(reply(status, body)))
}

#[test]
fn a_supervisors_start_gives_its_task() {
    for status in [200, 201, 202] {
        let Submitted::Started(seen) = supervisor(status, r#""52c1f0aa:svc""#) else { panic!("{status}") };
        assert_eq!(seen.ids["task"], "52c1f0aa:svc");
        assert_eq!(Notes::read(seen.handle.as_ref()).task.as_deref(), Some("52c1f0aa:svc"));
    }
    for odd in ["", r#""""#, "{}", "17", r#""52c1"#] {
        let Submitted::Failed(error) = supervisor(200, odd) else { panic!("{odd}") };
        assert_eq!(error.reached, Reached::Maybe, "{odd}");
    }
}
