//! Reading `jobResult`: the only place where ZStack tells how an update really went.
//!
//! A failed host does not fail the long job (zstack `ClusterBase`, `UpdateClusterOSJob`): it ends `Succeeded`
//! with a map of host uuid to `success` or an error text, even when every host failed.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fault::{cut, sentence};
use super::wire::{ErrorCode, Host};
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::finding::{Finding, Severity};
use crate::domain::job::{Part, PartOutcome};
use crate::vendors::contract::Phase;

/// The longest host id that is kept; a uuid has 32 letters.
const MAX_HOST_ID: usize = 128;
/// The most text kept of one host's result.
const MAX_HOST_TEXT: usize = 1024;

/// What a long job that ended `Succeeded` really came to.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub phase: Phase,
    pub parts: Vec<Part>,
    pub findings: Vec<Finding>,
}

/// The hosts of a result; `None` when the result is no map of hosts.
pub(super) fn hosts(result: Option<&str>) -> Option<Vec<Part>> {
    let map: BTreeMap<String, Value> = serde_json::from_str(result?).ok()?;
    map.into_iter()
        .map(|(id, word)| {
            let Value::String(word) = word else { return None };
            let well = word.eq_ignore_ascii_case("success");
            let outcome = if well { PartOutcome::Succeeded } else { PartOutcome::Failed };
            let message = (!well && !word.is_empty()).then(|| cut(&word, MAX_HOST_TEXT));
            Some(Part { id: cut(&id, MAX_HOST_ID), outcome, message })
        })
        .collect()
}

/// How many hosts have no result, when `expected` ones were counted before the start.
pub(super) fn missing(parts: &[Part], expected: Option<usize>) -> usize {
    expected.unwrap_or_default().saturating_sub(parts.len())
}

/// Judges a long job that ended `Succeeded`. `expected` hosts were counted before the start; `now` are the
/// cluster's hosts after the end, when they were read.
pub(super) fn judge(result: Option<&str>, expected: Option<usize>, now: Option<&[Host]>) -> Outcome {
    let Some(mut parts) = hosts(result) else {
        let text = "ZStack ended the update as Succeeded without a result for each host. Look at the hosts: ZStack \
                    says Succeeded also when hosts failed";
        let finding = Finding::new("zstack.no_host_results", Severity::Warning, text);
        return Outcome { phase: Phase::Succeeded, parts: Vec::new(), findings: vec![finding] };
    };
    let mut unknown = missing(&parts, expected);
    if unknown > 0
        && let Some(now) = now
        && now.iter().all(|host| host.uuid.is_some())
    {
        // A host that left the cluster meanwhile owes no result. Of a host without a uuid nobody can tell.
        let silent: Vec<_> = now
            .iter()
            .filter_map(|host| host.uuid.as_ref())
            .filter(|uuid| !parts.iter().any(|p| p.id == **uuid))
            .take(unknown)
            .map(|uuid| Part {
                id: uuid.clone(),
                outcome: PartOutcome::Unknown,
                message: Some("ZStack gave no result for this host".to_owned()),
            })
            .collect();
        unknown = silent.len();
        parts.extend(silent);
    }
    let failed = parts.iter().filter(|p| p.outcome == PartOutcome::Failed).count();
    let all = failed + unknown + parts.iter().filter(|p| p.outcome == PartOutcome::Succeeded).count();
    if failed + unknown == 0 {
        let mut findings = Vec::new();
        if parts.is_empty() {
            let text = "ZStack updated no host: the cluster is empty";
            findings.push(Finding::new("zstack.no_hosts_updated", Severity::Info, text));
        }
        return Outcome { phase: Phase::Succeeded, parts, findings };
    }
    let mut message =
        format!("ZStack ended the update, but {} of {all} hosts did not succeed", failed + unknown);
    if unknown > 0 {
        message.push_str(&format!(" ({unknown} without any result)"));
    }
    if let Some(first) = parts.iter().find(|p| p.outcome == PartOutcome::Failed) {
        let text = first.message.as_deref().unwrap_or("no text");
        message.push_str(&format!("; the first: host {}: {}", first.id, cut(text, 300)));
    }
    message.push_str(
        ". Mend the hosts, then start a new update: hosts that are up to date are left as they are",
    );
    Outcome {
        phase: Phase::Failed(Failure::new(FailureReason::PartialFailure, message)),
        parts,
        findings: Vec::new(),
    }
}

/// Why a long job ended `Failed`.
pub(super) fn failure(result: Option<&str>) -> Failure {
    let Some(result) = result.filter(|r| !r.trim().is_empty()) else {
        return Failure::new(
            FailureReason::VendorFailed,
            "ZStack ended the update as Failed and gives no result. This is what it does when its management node \
             restarted meanwhile: packages may still be being installed, and hosts may be left in PreMaintenance. \
             Look at the hosts before starting again",
        );
    };
    let Ok(Value::Object(map)) = serde_json::from_str::<Value>(result) else {
        return Failure::new(
            FailureReason::VendorFailed,
            format!("the update failed: {}", cut(result.trim(), 1024)),
        );
    };
    let mut failure = Failure::new(FailureReason::VendorFailed, String::new());
    if map.contains_key("code") {
        // An error as the API gives it.
        let error = ErrorCode::read(&Value::Object(map)).unwrap_or_default();
        failure.message = format!("the update failed: {}", cut(&sentence(&error), 1024));
        failure.vendor_code = error.code;
        return failure;
    }
    let text = |value: Option<&Value>| match value {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(Value::Object(inner)) => ErrorCode::read(&Value::Object(inner.clone())).map(|e| sentence(&e)),
        _ => None,
    };
    let message =
        map.get("message").and_then(|m| text(m.get("message_en")).or_else(|| text(m.get("message_cn"))));
    let detail = text(map.get("detail"));
    let cause = text(map.get("cause"));
    let mut words: Vec<String> = Vec::new();
    for word in [message, detail, cause].into_iter().flatten() {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    let words = if words.is_empty() { cut(result, 1024) } else { cut(&words.join(": "), 1024) };
    failure.message = format!("the update failed: {words}");
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(uuid: &str) -> Host {
        Host { uuid: Some(uuid.into()), ..Host::default() }
    }

    fn reason(outcome: &Outcome) -> Option<FailureReason> {
        match &outcome.phase {
            Phase::Failed(failure) => Some(failure.reason),
            _ => None,
        }
    }

    #[test]
    fn every_host_well_is_success() {
        let outcome = judge(Some(r#"{"h1":"success","h2":"success"}"#), Some(2), None);
        assert_eq!(outcome.phase, Phase::Succeeded);
        assert_eq!(outcome.parts.len(), 2);
        assert!(outcome.findings.is_empty());
    }

    #[test]
    fn one_failed_host_is_a_partial_failure_with_its_words() {
        let outcome = judge(Some(r#"{"h1":"success","h2":"yum: no space left"}"#), Some(2), None);
        let Phase::Failed(failure) = &outcome.phase else { panic!("{outcome:?}") };
        assert_eq!(failure.reason, FailureReason::PartialFailure);
        assert!(
            failure.message.contains("1 of 2 hosts") && failure.message.contains("no space left"),
            "{}",
            failure.message
        );
        assert_eq!(outcome.parts[1].outcome, PartOutcome::Failed);
        assert_eq!(outcome.parts[1].message.as_deref(), Some("yum: no space left"));
    }

    #[test]
    fn an_empty_result_is_success_only_for_an_empty_cluster() {
        let empty = judge(Some("{}"), Some(0), None);
        assert_eq!(
            (&empty.phase, empty.findings[0].id.as_str()),
            (&Phase::Succeeded, "zstack.no_hosts_updated")
        );
        let silent = judge(Some("{}"), Some(2), Some(&[host("h1"), host("h2")]));
        assert_eq!(reason(&silent), Some(FailureReason::PartialFailure));
        assert!(silent.parts.iter().all(|p| p.outcome == PartOutcome::Unknown));
        assert_eq!(silent.parts.len(), 2);
        assert_eq!(reason(&judge(Some("{}"), Some(2), None)), Some(FailureReason::PartialFailure));
        // Without a baseline ZStack's word stands.
        assert_eq!(judge(Some("{}"), None, None).phase, Phase::Succeeded);
    }

    #[test]
    fn a_host_that_left_the_cluster_owes_no_result() {
        let outcome = judge(Some(r#"{"h1":"success"}"#), Some(2), Some(&[host("h1")]));
        assert_eq!(outcome.phase, Phase::Succeeded);
    }

    #[test]
    fn a_host_without_a_uuid_may_be_the_one_that_is_missing() {
        let outcome = judge(Some(r#"{"h1":"success"}"#), Some(2), Some(&[host("h1"), Host::default()]));
        assert_eq!(reason(&outcome), Some(FailureReason::PartialFailure));
    }

    #[test]
    fn a_result_without_hosts_is_said_to_be_one() {
        for result in [Some("Succeeded"), None, Some(""), Some("[1]"), Some(r#"{"h":{"x":1}}"#)] {
            let outcome = judge(result, Some(3), None);
            assert_eq!(outcome.phase, Phase::Succeeded, "{result:?}");
            assert_eq!(outcome.findings[0].id, "zstack.no_host_results");
        }
    }

    #[test]
    fn failures_speak() {
        let documented = r#"{"message":{"message_cn":"失败","message_en":"update failed"},"detail":"NFS server on host","cause":"vm running"}"#;
        assert_eq!(
            failure(Some(documented)).message,
            "the update failed: update failed: NFS server on host: vm running"
        );
        let nested = r#"{"detail":"outer","cause":{"code":"SYS.1006","details":"deep"}}"#;
        assert_eq!(failure(Some(nested)).message, "the update failed: outer: deep (SYS.1006)");
        let coded = failure(Some(
            r#"{"code":"SYS.1006","details":"x","cause":{"code":"HOST.1003","details":"lost"}}"#,
        ));
        assert_eq!(coded.vendor_code.as_deref(), Some("SYS.1006"));
        assert!(coded.message.contains("lost (HOST.1003)"));
        assert!(failure(Some("boom")).message.contains("boom"));
        for nothing in [None, Some(""), Some("  ")] {
            assert!(failure(nothing).message.contains("management node"), "{nothing:?}");
        }
        assert!(failure(Some(r#"{"odd":1}"#)).message.contains("odd"));
    }
}
