//! vCenter's messages and conditions as findings. Pure.

use super::wire::{Condition, Info, Localizable, Message};
use crate::domain::finding::{Finding, Severity};

/// The most findings of one answer.
const MOST: usize = 64;
/// The longest text of a finding, in characters.
const TEXT: usize = 1500;
/// The longest part of an id that comes from the vendor.
const ID: usize = 96;

/// A severity's word; one that is not known counts as a warning, so that somebody looks.
pub(super) fn severity(word: Option<&str>) -> Severity {
    match word {
        Some("ERROR") => Severity::Error,
        Some("INFO") => Severity::Info,
        _ => Severity::Warning,
    }
}

/// A message as a finding, under the vendor's message id: stable whatever its arguments.
pub(super) fn of_message(message: &Message) -> Option<Finding> {
    let details = message.details.as_ref()?;
    let text = details.words()?;
    let id = details.id.as_deref().filter(|id| !id.is_empty()).unwrap_or("unnamed");
    Some(Finding::new(
        format!("vsphere.message.{}", plain(id)),
        severity(message.severity.as_deref()),
        cut(text),
    ))
}

/// A pre-check's condition as a finding. One that is met is worth no more than an INFO; one that is unknown
/// keeps its severity, but cannot block: at most it warns.
pub(super) fn of_condition(condition: &Condition) -> Option<Finding> {
    let kind = condition.kind.as_deref().filter(|k| !k.is_empty()).unwrap_or("unnamed");
    let told = severity(condition.severity.as_deref());
    let severity = match condition.status.as_deref() {
        Some("TRUE") => Severity::Info,
        Some("FALSE") => told,
        _ => told.min(Severity::Warning),
    };
    let mut words: Vec<String> = Vec::new();
    let description = condition.description.as_ref().and_then(Localizable::words).map(str::to_owned);
    // A condition's messages are LocalizableMessages, or Messages with a severity: both are read.
    let inner = condition.messages.iter().filter_map(|value| {
        let details = value.get("details").unwrap_or(value);
        let message: Localizable = serde_json::from_value(details.clone()).ok()?;
        message.words().map(str::to_owned)
    });
    for text in description.into_iter().chain(condition.reason.clone()).chain(inner) {
        if !text.trim().is_empty() && !words.contains(&text) {
            words.push(text);
        }
    }
    let text = if words.is_empty() { kind.to_owned() } else { words.join(": ") };
    Some(Finding::new(format!("vsphere.precheck.{}", plain(kind)), severity, cut(&text)))
}

/// Everything that a detail says, for a job on its way.
pub(super) fn of_detail(info: &Info) -> Vec<Finding> {
    let upgrading = info.upgrade_status.iter().flat_map(|s| &s.messages);
    let messages = info.messages.iter().chain(upgrading).filter_map(of_message);
    merged(messages.chain(info.upgrade_prechecks.iter().filter_map(of_condition)))
}

/// Findings with the same id become one: the highest severity, every text once.
pub(super) fn merged(all: impl IntoIterator<Item = Finding>) -> Vec<Finding> {
    let mut out: Vec<Finding> = Vec::new();
    for finding in all {
        let has_room = out.len() < MOST;
        match out.iter_mut().find(|f| f.id == finding.id) {
            Some(same) => {
                same.severity = same.severity.max(finding.severity);
                if !same.message.contains(&finding.message) {
                    same.message = cut(&format!("{}; {}", same.message, finding.message));
                }
            }
            None if has_room => out.push(finding),
            None => {}
        }
    }
    out
}

/// Letters, digits and `._-` of a vendor's word, so that an id can be written in a request.
fn plain(word: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    word.chars().map(fit).take(ID).collect()
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(json: &str) -> Finding {
        of_condition(&serde_json::from_str(json).unwrap()).unwrap()
    }

    #[test]
    fn a_condition_that_is_met_never_warns() {
        let met = condition(r#"{"type":"DiskSpace","status":"TRUE","severity":"ERROR"}"#);
        assert_eq!((met.id.as_str(), met.severity), ("vsphere.precheck.DiskSpace", Severity::Info));
        let unmet = condition(
            r#"{"type":"Disk Space","status":"FALSE","severity":"ERROR","reason":"Low",
                "description":{"id":"d","default_message":"Disk"},
                "messages":[{"id":"m","default_message":"2 GB left","args":[]},{"severity":"ERROR","details":{"id":"n"}}, 7]}"#,
        );
        assert_eq!((unmet.id.as_str(), unmet.severity), ("vsphere.precheck.Disk_Space", Severity::Error));
        assert_eq!(unmet.message, "Disk: Low: 2 GB left: n");
        assert_eq!(condition(r#"{"status":"UNKNOWN","severity":"ERROR"}"#).severity, Severity::Warning);
    }

    #[test]
    fn messages_show_the_best_text_and_merge_by_id() {
        let info: Info = serde_json::from_str(
            r#"{"messages":[{"severity":"WARNING","details":{"id":"w","default_message":"Low disk on a","localized":""}},
                {"severity":"ERROR","details":{"id":"w","default_message":"Low disk on b","localized":"Wenig Platz"}},
                {"severity":"NEW","details":{"id":"x","args":[]}}, "odd", {"severity":"INFO"}]}"#,
        )
        .unwrap();
        let all = of_detail(&info);
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(all[0].message, "Low disk on a; Wenig Platz");
        assert_eq!((all[0].severity, all[1].severity), (Severity::Error, Severity::Warning));
        assert_eq!(all[1].id, "vsphere.message.x");
    }
}
