//! Turns vCenter's messages and conditions into findings with stable ids. Pure.
//!
//! vCenter's rule (`upgrades/jobs`, create): ERROR stops an upgrade; WARNING stops it unless warnings are ignored;
//! INFO never does. A severity that nobody knows counts as WARNING, so that somebody looks at it.

use super::wire::{Condition, ErrorBody, Info, Localizable, Message};
use crate::domain::finding::{Finding, Severity};

/// The longest part of an id or subject that comes from vCenter.
const MAX_PART: usize = 120;

/// The longest line for a condition, in characters.
const MAX_LINE: usize = 1500;

/// What the messages of one cluster or Supervisor say.
pub(super) fn of_info(info: &Info) -> Vec<Finding> {
    let status = info.upgrade_status.iter();
    let mut findings: Vec<Finding> =
        info.messages.iter().chain(status.flat_map(|s| &s.messages)).filter_map(of_message).collect();
    findings.extend(of_conditions(&info.upgrade_prechecks));
    findings
}

/// What messages with a severity say.
pub(super) fn of_messages(messages: &[Message]) -> Vec<Finding> {
    messages.iter().filter_map(of_message).collect()
}

/// What prechecks found: one finding for each condition that does not hold.
pub(super) fn of_conditions(conditions: &[Condition]) -> Vec<Finding> {
    conditions.iter().filter(|c| !holds(c)).filter_map(of_condition).collect()
}

/// Whether a precheck stopped an upgrade that did (or did not) ignore warnings.
pub(super) fn stopping<'a>(conditions: &'a [Condition], ignored_warnings: bool) -> Vec<&'a Condition> {
    let stops = |c: &&'a Condition| {
        c.status.as_deref() == Some("FALSE")
            && match severity(c.severity.as_deref()) {
                Severity::Error => true,
                Severity::Warning => !ignored_warnings,
                Severity::Info => false,
            }
    };
    conditions.iter().filter(stops).collect()
}

/// A message as a finding `vsphere.{group}.{its id}`.
pub(super) fn under(group: &str, message: &Localizable, severity: Severity) -> Option<Finding> {
    let mut finding = finding(message, severity)?;
    if let Some(name) = finding.id.strip_prefix("vsphere.") {
        finding.id = format!("vsphere.{group}.{name}");
    }
    Some(finding)
}

/// The messages of a refusal, as findings with the severity ERROR.
pub(super) fn of_error(body: &ErrorBody) -> Vec<Finding> {
    body.messages.iter().filter_map(|m| finding(m, Severity::Error)).collect()
}

/// One line for a condition.
pub(super) fn line(condition: &Condition) -> String {
    let mut texts: Vec<&str> = Vec::new();
    let description = condition.description.iter();
    for text in description.chain(condition.messages.iter().map(Message::details)).map(Localizable::text) {
        if !text.is_empty() && !texts.contains(&text) {
            texts.push(text);
        }
    }
    if texts.is_empty() {
        texts.extend(condition.reason.as_deref());
        texts.extend(condition.kind.as_deref());
    }
    texts.join(": ").chars().take(MAX_LINE).collect()
}

fn holds(condition: &Condition) -> bool {
    condition.status.as_deref() == Some("TRUE")
}

fn of_message(message: &Message) -> Option<Finding> {
    finding(message.details(), severity(message.severity.as_deref()))
}

fn finding(message: &Localizable, severity: Severity) -> Option<Finding> {
    let text = message.text();
    let id = message.id.as_deref().filter(|id| !id.is_empty());
    // Without an id, the text is all that tells one message from another.
    let name = id.or(Some(text).filter(|t| !t.is_empty()))?;
    let finding = Finding::new(format!("vsphere.{}", part(name)), severity, text);
    // Two messages of one kind may concern two things; progress messages (INFO) only count on.
    Some(match severity {
        Severity::Warning | Severity::Error if !message.args.is_empty() => {
            finding.about(message.args.join(", ").chars().take(MAX_PART).collect::<String>())
        }
        Severity::Info | Severity::Warning | Severity::Error => finding,
    })
}

fn of_condition(condition: &Condition) -> Option<Finding> {
    let kind = condition.kind.as_deref().filter(|kind| !kind.is_empty());
    let reason = condition.reason.as_deref().filter(|reason| !reason.is_empty());
    let id = match (kind, reason) {
        (Some(kind), Some(reason)) => format!("vsphere.{}.{}", part(kind), part(reason)),
        (Some(name), None) | (None, Some(name)) => format!("vsphere.{}", part(name)),
        (None, None) => {
            format!("vsphere.{}", part(Some(line(condition)).filter(|l| !l.is_empty())?.as_str()))
        }
    };
    Some(Finding::new(id, severity(condition.severity.as_deref()), line(condition)))
}

/// Unknown and missing words count as WARNING.
fn severity(word: Option<&str>) -> Severity {
    match word {
        Some("INFO") => Severity::Info,
        Some("ERROR") => Severity::Error,
        _ => Severity::Warning,
    }
}

/// A part of an id: letters, digits and `. _ -`.
fn part(text: &str) -> String {
    text.chars()
        .take(MAX_PART)
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vendors::vsphere::wire::read;

    #[test]
    fn ids_are_stable_and_severities_are_the_vendors() {
        let messages: Vec<Message> = read(&json!([
            {"severity": "WARNING", "details": {"id": "wcp.tkc.old", "default_message": "Old.", "args": ["tkc-1"]}},
            {"severity": "WARNING", "details": {"id": "wcp.tkc.old", "default_message": "Old.", "args": ["tkc-2"]}},
            {"severity": "ERROR", "details": {"default_message": "No disk left"}},
            {"severity": "BRAND_NEW", "details": {"id": "x"}},
            {"severity": "INFO", "details": {}}
        ]))
        .unwrap();
        let findings = of_messages(&messages);
        let seen: Vec<_> =
            findings.iter().map(|f| (f.id.as_str(), f.severity, f.subject.as_deref())).collect();
        assert_eq!(
            seen,
            [
                ("vsphere.wcp.tkc.old", Severity::Warning, Some("tkc-1")),
                ("vsphere.wcp.tkc.old", Severity::Warning, Some("tkc-2")),
                ("vsphere.No-disk-left", Severity::Error, None),
                ("vsphere.x", Severity::Warning, None),
            ]
        );
    }

    fn conditions() -> Vec<Condition> {
        read(&json!([
            {"type": "Disk", "status": "TRUE", "severity": "ERROR", "reason": "Fine"},
            {"type": "Tkc", "status": "FALSE", "severity": "WARNING", "reason": "Old",
             "description": {"default_message": "Clusters"}, "messages": [{"default_message": "tkc-1 is old"}]},
            {"type": "Cert", "status": "UNKNOWN", "severity": "INFO"},
            {"type": "Api", "status": "FALSE", "severity": "ERROR"}
        ]))
        .unwrap()
    }

    #[test]
    fn a_condition_that_holds_is_no_finding() {
        let findings = of_conditions(&conditions());
        let seen: Vec<_> = findings.iter().map(|f| (f.id.as_str(), f.severity, f.message.as_str())).collect();
        assert_eq!(
            seen,
            [
                ("vsphere.Tkc.Old", Severity::Warning, "Clusters: tkc-1 is old"),
                ("vsphere.Cert", Severity::Info, "Cert"),
                ("vsphere.Api", Severity::Error, "Api"),
            ]
        );
    }

    #[test]
    fn a_warning_stops_only_where_warnings_are_not_ignored() {
        let kinds = |ignored| -> Vec<String> {
            stopping(&conditions(), ignored).into_iter().filter_map(|c| c.kind.clone()).collect()
        };
        assert_eq!(kinds(false), ["Tkc", "Api"]);
        assert_eq!(kinds(true), ["Api"]);
    }
}
