//! Findings: what a precheck or a vendor message says, with a severity.

use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Severity {
    /// Worth knowing; never stops a job.
    Info,
    /// Stops a job unless the caller accepted it by id, or ignores warnings as a whole.
    Warning,
    /// Stops a job.
    Error,
}

/// One precheck result or vendor message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// A stable id, `{vendor}.{rule}`: the same fault has the same id tomorrow, so it can be accepted by name.
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong and what to do about it, for a person.
    pub message: String,
    /// What it is about, when it is about a part of the target (a host, a component).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Whether a caller accepted this warning, by id or by the blanket switch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accepted: bool,
}

impl Finding {
    /// A finding about the target as a whole.
    pub fn new(id: impl Into<String>, severity: Severity, message: impl Into<String>) -> Self {
        Self { id: id.into(), severity, message: message.into(), subject: None, accepted: false }
    }

    /// The same finding, about a part of the target.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }
}

/// What of `findings` still stops a job, after marking the accepted warnings in place.
///
/// A warning is accepted when its id is listed, or when the caller chose the vendors' blanket switch.
pub fn judge(findings: &mut [Finding], accepted_risks: &[String], ignore_warnings: bool) -> Verdict {
    let mut verdict = Verdict::Clear;
    for finding in findings {
        match finding.severity {
            Severity::Info => {}
            Severity::Warning => {
                finding.accepted = ignore_warnings || accepted_risks.contains(&finding.id);
                if !finding.accepted && verdict == Verdict::Clear {
                    verdict = Verdict::UnacceptedWarning;
                }
            }
            Severity::Error => verdict = Verdict::Blocked,
        }
    }
    verdict
}

/// Whether findings stop a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing stands in the way.
    Clear,
    /// Only warnings that nobody accepted stand in the way.
    UnacceptedWarning,
    /// At least one error stands in the way; it cannot be accepted.
    Blocked,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(id: &str) -> Finding {
        Finding::new(id, Severity::Warning, "w")
    }

    #[test]
    fn a_warning_nobody_listed_still_stops() {
        let mut findings = [warning("v.a"), warning("v.b")];
        assert_eq!(judge(&mut findings, &["v.a".into()], false), Verdict::UnacceptedWarning);
        assert!(findings[0].accepted && !findings[1].accepted);
        assert_eq!(judge(&mut findings, &["v.a".into(), "v.b".into()], false), Verdict::Clear);
        assert_eq!(judge(&mut findings, &[], true), Verdict::Clear);
    }

    #[test]
    fn an_error_cannot_be_accepted() {
        let mut findings = [Finding::new("v.e", Severity::Error, "e"), warning("v.w")];
        assert_eq!(judge(&mut findings, &["v.e".into()], true), Verdict::Blocked);
    }
}
