//! A Supervisor's prechecks (since 8.0.3): run, and read until they have ended.
//!
//! A run has no id and its start no task; results are kept per version. So a result that equals the one before the
//! run may be the old one, and is believed only after a while.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::client::Client;
use super::fault;
use super::findings;
use super::wire::PrecheckResult;
use crate::domain::error::VendorFault;
use crate::domain::finding::{Finding, Severity};
use crate::vendors::error::VendorError;

/// The longest wait between two looks.
const MAX_STEP: Duration = Duration::from_secs(2);

/// How prechecks are run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prechecks {
    /// How long to wait for their end; zero: they are not run.
    pub wait: Duration,
}

impl Prechecks {
    /// How long a result that equals the one before the run is taken for the old one.
    fn stale(self) -> Duration {
        self.wait / 10
    }

    fn first_step(self) -> Duration {
        (self.wait / 100).max(Duration::from_millis(1))
    }
}

/// What a run gave.
#[derive(Debug, Default)]
pub(super) struct Ran {
    pub findings: Vec<Finding>,
    /// The results were read to their end: vCenter has no other warnings.
    pub to_the_end: bool,
    /// vCenter does not run prechecks now: an upgrade is under way.
    pub foreign: Option<String>,
}

impl Ran {
    fn info(id: &str, text: impl Into<String>) -> Self {
        Self { findings: vec![Finding::new(id, Severity::Info, text)], ..Self::default() }
    }
}

/// Runs the prechecks for a version and waits for their results.
///
/// # Errors
/// vCenter could not be asked. Prechecks that cannot be run here are a finding: the upgrade itself runs them again
/// and stops by the same rule.
pub(super) async fn run(
    client: &Client,
    prechecks: Prechecks,
    supervisor: &str,
    version: &str,
) -> Result<Ran, VendorError> {
    if prechecks.wait.is_zero() {
        return Ok(Ran::info("vsphere.prechecks_off", "prechecks are switched off (`precheck_wait_ms = 0`)"));
    }
    let before = result_for(client.prechecks(supervisor).await?, version);
    let reply = client.run_prechecks(supervisor, version).await?;
    if !reply.status.is_success() {
        return refusal(&fault::of(&reply));
    }
    let began = Instant::now();
    let mut step = prechecks.first_step();
    loop {
        sleep(step).await;
        step = (step * 2).min(MAX_STEP);
        let result = result_for(client.prechecks(supervisor).await?, version);
        let waited = began.elapsed();
        match result {
            Some(result) if is_over(&result) => {
                if before.as_ref() != Some(&result) || waited >= prechecks.stale() {
                    return Ok(Ran { findings: of_result(&result), to_the_end: true, foreign: None });
                }
            }
            Some(_) | None => {}
        }
        if waited >= prechecks.wait {
            return Ok(Ran::info(
                "vsphere.prechecks_pending",
                format!(
                    "the prechecks have not ended within {} ms; the upgrade runs them again and stops by their result",
                    prechecks.wait.as_millis()
                ),
            ));
        }
    }
}

fn refusal(error: &VendorError) -> Result<Ran, VendorError> {
    match error.kind {
        // The Supervisor is listed, so it is the call that is missing.
        VendorFault::NotFound => Ok(unavailable(error)),
        VendorFault::Rejected if error.http_status == Some(404) => Ok(unavailable(error)),
        VendorFault::Rejected if error.code.as_deref() == Some(fault::NOT_ALLOWED) => {
            Ok(Ran { foreign: Some(error.message.clone()), ..Ran::default() })
        }
        VendorFault::Rejected if error.code.as_deref() == Some(fault::UNSUPPORTED) => Ok(unavailable(error)),
        VendorFault::Rejected
        | VendorFault::PermissionDenied
        | VendorFault::Unreachable
        | VendorFault::TimedOut
        | VendorFault::RateLimited
        | VendorFault::Unauthenticated
        | VendorFault::Garbled => Err(error.again()),
    }
}

fn unavailable(error: &VendorError) -> Ran {
    Ran::info(
        "vsphere.prechecks_unavailable",
        format!(
            "vCenter runs no prechecks for this Supervisor beforehand; the upgrade runs its own: {}",
            error.message
        ),
    )
}

fn result_for(results: Vec<PrecheckResult>, version: &str) -> Option<PrecheckResult> {
    results.into_iter().find(|r| r.target_version.as_deref() == Some(version))
}

/// Before 9.0 there is no status: a result that is there is over.
fn is_over(result: &PrecheckResult) -> bool {
    !matches!(result.status.as_deref(), Some("RUNNING" | "UNKNOWN"))
}

/// The conditions that do not hold; a bad status without any such condition is a finding of its own.
fn of_result(result: &PrecheckResult) -> Vec<Finding> {
    let mut findings = findings::of_conditions(&result.conditions);
    let worst = findings.iter().map(|f| f.severity).max();
    let told = match result.status.as_deref() {
        Some("ERROR") => Some(Severity::Error),
        Some("WARNING") => Some(Severity::Warning),
        _ => None,
    };
    if told > worst {
        let severity = told.unwrap_or(Severity::Warning);
        let word = result.status.as_deref().unwrap_or_default();
        let text = format!("vCenter's prechecks ended with {word} and did not say why");
        findings.push(Finding::new("vsphere.prechecks", severity, text));
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vendors::error::Reached;
    use crate::vendors::vsphere::wire::read;

    fn severities(result: serde_json::Value) -> Vec<(String, Severity)> {
        let result: PrecheckResult = read(&result).unwrap();
        of_result(&result).into_iter().map(|f| (f.id, f.severity)).collect()
    }

    #[test]
    fn a_bad_status_is_never_lost() {
        assert_eq!(severities(json!({"status": "SUCCEEDED", "conditions": []})), []);
        assert_eq!(
            severities(json!({"status": "ERROR", "conditions": []})),
            [("vsphere.prechecks".to_owned(), Severity::Error)]
        );
        let warned = json!({"status": "WARNING", "conditions": [{"type": "Tkc", "status": "FALSE", "severity": "WARNING"}]});
        assert_eq!(severities(warned), [("vsphere.Tkc".to_owned(), Severity::Warning)]);
    }

    #[test]
    fn only_a_running_result_is_waited_for() {
        for (status, over) in
            [("RUNNING", false), ("UNKNOWN", false), ("SUCCEEDED", true), ("BRAND_NEW", true)]
        {
            let result: PrecheckResult = read(&json!({"status": status})).unwrap();
            assert_eq!(is_over(&result), over, "{status}");
        }
        assert!(is_over(&PrecheckResult::default()), "8.0.3 has no status");
    }

    #[test]
    fn a_refused_run_is_told_apart() {
        let refused = |code: &str, status| {
            let error = VendorError::new(VendorFault::Rejected, Reached::No, "no")
                .with_code(code)
                .with_status(status);
            refusal(&error)
        };
        assert!(refused(fault::NOT_ALLOWED, 400).unwrap().foreign.is_some());
        assert_eq!(refused(fault::UNSUPPORTED, 400).unwrap().findings[0].id, "vsphere.prechecks_unavailable");
        assert!(refused("INVALID_ARGUMENT", 400).is_err());
        assert_eq!(refused("OPERATION_NOT_FOUND", 404).unwrap().findings[0].severity, Severity::Info);
    }
}
