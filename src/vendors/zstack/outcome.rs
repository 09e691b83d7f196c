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

/// The word that stands for a result when a long job has none to tell (zstack `LongJobUtils`).
const NO_DATA: &str = "Succeeded";

/// The hosts of a result; `None` when the result is no map. A host whose result is no text is an unknown one.
pub(super) fn hosts(result: Option<&str>) -> Option<Vec<Part>> {
    let map: BTreeMap<String, Value> = serde_json::from_str(result?).ok()?;
    let part = |(id, word): (String, Value)| {
        let (outcome, message) = match word {
            Value::String(word) if word.eq_ignore_ascii_case("success") => (PartOutcome::Succeeded, None),
            Value::String(word) => {
                (PartOutcome::Failed, (!word.is_empty()).then(|| cut(&word, MAX_HOST_TEXT)))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                (PartOutcome::Unknown, Some("ZStack's result for this host cannot be read".to_owned()))
            }
        };
        Part { id: cut(&id, MAX_HOST_ID), outcome, message }
    };
    Some(map.into_iter().map(part).collect())
}

/// The hosts of a job that ended `Failed`. Its result is most often an error, which is a map too, but not of texts.
pub(super) fn hosts_of_failed(result: Option<&str>) -> Vec<Part> {
    let all_told = |parts: &Vec<Part>| parts.iter().all(|part| part.outcome != PartOutcome::Unknown);
    hosts(result).filter(all_told).unwrap_or_default()
}

/// Whether the end cannot be told without the cluster's hosts: some have no result that can be read.
pub(super) fn needs_hosts(result: Option<&str>, expected: Option<usize>) -> bool {
    match hosts(result) {
        Some(parts) => missing(&parts, expected) > 0,
        None => !is_without_data(result) && expected != Some(0),
    }
}

/// Whether ZStack itself says that there is no result.
fn is_without_data(result: Option<&str>) -> bool {
    result.is_some_and(|result| result.trim() == NO_DATA)
}

/// How many hosts have no result, when `expected` ones were counted before the start.
fn missing(parts: &[Part], expected: Option<usize>) -> usize {
    expected.unwrap_or_default().saturating_sub(parts.len())
}

/// Judges a long job that ended `Succeeded`. `expected` hosts were counted before the start; `now` are the
/// cluster's hosts after the end, when they were read.
pub(super) fn judge(result: Option<&str>, expected: Option<usize>, now: Option<&[Host]>) -> Outcome {
    let told = hosts(result);
    let unreadable = told.is_none();
    if unreadable && (is_without_data(result) || expected == Some(0)) {
        let text = "ZStack ended the update as Succeeded without a result for each host. Look at the hosts: ZStack \
                    says Succeeded also when hosts failed";
        let finding = Finding::new("zstack.no_host_results", Severity::Warning, text);
        return Outcome { phase: Phase::Succeeded, parts: Vec::new(), findings: vec![finding] };
    }
    let mut parts = told.unwrap_or_default();
    let unread = parts.iter().filter(|p| p.outcome == PartOutcome::Unknown).count();
    let mut unknown = missing(&parts, expected);
    if (unknown > 0 || unreadable)
        && let Some(now) = now
        && now.iter().all(|host| host.uuid.is_some())
    {
        // A host that left the cluster meanwhile owes no result. Of a host without a uuid nobody can tell.
        let silent: Vec<_> = now
            .iter()
            .filter_map(|host| host.uuid.as_ref())
            .filter(|uuid| !parts.iter().any(|p| p.id == **uuid))
            .take(if unreadable { usize::MAX } else { unknown })
            .map(|uuid| Part {
                id: uuid.clone(),
                outcome: PartOutcome::Unknown,
                message: Some("ZStack gave no result for this host".to_owned()),
            })
            .collect();
        // Where nothing can be read, hosts that left prove nothing about those that stayed.
        unknown = if unreadable { silent.len().max(unknown) } else { silent.len() };
        parts.extend(silent);
    }
    unknown += unread;
    let failed = parts.iter().filter(|p| p.outcome == PartOutcome::Failed).count();
    let all = failed + unknown + parts.iter().filter(|p| p.outcome == PartOutcome::Succeeded).count();
    if failed + unknown == 0 && !unreadable {
        let mut findings = Vec::new();
        if parts.is_empty() {
            let text = "ZStack updated no host: the cluster is empty";
            findings.push(Finding::new("zstack.no_hosts_updated", Severity::Info, text));
        }
        return Outcome { phase: Phase::Succeeded, parts, findings };
    }
    let mut message = if unreadable {
        let text = result.map(str::trim).filter(|text| !text.is_empty());
        let text = text.map_or_else(|| "it is missing".to_owned(), |text| cut(text, 300));
        format!(
            "ZStack ended the update as Succeeded, which it says also when hosts failed, and its result for each host \
             cannot be read: {text}"
        )
    } else {
        format!("ZStack ended the update, but {} of {all} hosts did not succeed", failed + unknown)
    };
    if unknown > 0 && !unreadable {
        message.push_str(&format!(" ({unknown} without a result that can be read)"));
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
        for (result, expected) in [(Some("Succeeded"), Some(3)), (None, Some(0))] {
            let outcome = judge(result, expected, None);
            assert_eq!(outcome.phase, Phase::Succeeded, "{result:?}");
            assert_eq!(outcome.findings[0].id, "zstack.no_host_results");
            assert!(!needs_hosts(result, expected));
        }
    }

    #[test]
    fn a_result_that_cannot_be_read_is_no_success() {
        let now = [host("h1"), host("h2"), host("h3")];
        for result in [None, Some(""), Some("[1]"), Some("succeeded?"), Some(r#"{"h1":"success","h2":"suc"#)]
        {
            assert!(needs_hosts(result, Some(3)) && needs_hosts(result, None), "{result:?}");
            for expected in [Some(3), None] {
                let outcome = judge(result, expected, Some(&now));
                assert_eq!(reason(&outcome), Some(FailureReason::PartialFailure), "{result:?}");
                assert_eq!(outcome.parts.len(), 3, "{result:?}");
                assert!(outcome.parts.iter().all(|p| p.outcome == PartOutcome::Unknown));
                // Neither unread hosts nor hosts that left make a success of it.
                for now in [None, Some(&[][..])] {
                    assert_eq!(
                        reason(&judge(result, expected, now)),
                        Some(FailureReason::PartialFailure),
                        "{result:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_host_whose_result_is_no_text_is_unknown() {
        for odd in ["null", r#"{"x":1}"#, "true", "[]"] {
            let result = format!(r#"{{"h1":"success","h2":{odd}}}"#);
            let outcome = judge(Some(&result), Some(2), None);
            assert_eq!(reason(&outcome), Some(FailureReason::PartialFailure), "{result}");
            let told: Vec<_> = outcome.parts.iter().map(|p| p.outcome).collect();
            assert_eq!(told, [PartOutcome::Succeeded, PartOutcome::Unknown]);
        }
        assert!(hosts_of_failed(Some(r#"{"message":{"message_en":"x"},"detail":"y"}"#)).is_empty());
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
