//! Whether a version fits the infrastructure below (since 9.0): vCenter's own check, as findings.
//!
//! INCOMPATIBLE stops, like a precheck's ERROR. COMPATIBLE_AND_DEGRADED goes on working and lacks new features until
//! vCenter itself is upgraded: a WARNING. A word that nobody knows counts as WARNING, so that somebody looks at it.

use super::client::Client;
use super::fault;
use super::findings;
use super::map::shown;
use super::wire::{Compatibility, Localizable};
use crate::domain::error::VendorFault;
use crate::domain::finding::{Finding, Severity};
use crate::vendors::error::VendorError;

/// How many capabilities a message lists.
const MAX_LISTED: usize = 10;
/// How many reasons become findings.
const MAX_REASONS: usize = 50;

/// Asks whether a version fits a cluster or Supervisor (`by` is the query's key).
///
/// # Errors
/// vCenter could not be asked. That it does not check here is a finding.
pub(super) async fn check(
    client: &Client,
    by: &'static str,
    id: &str,
    version: &str,
) -> Result<Vec<Finding>, VendorError> {
    match client.compatibility(version, by, id).await {
        Ok(told) => Ok(of(&told)),
        Err(error) => match error.kind {
            VendorFault::NotFound | VendorFault::Rejected | VendorFault::PermissionDenied
                if fault::is_vcenters(&error) =>
            {
                let text = format!("vCenter did not check the version's compatibility: {}", error.message);
                Ok(vec![Finding::new("vsphere.compatibility_unavailable", Severity::Info, text)])
            }
            VendorFault::NotFound
            | VendorFault::Rejected
            | VendorFault::PermissionDenied
            | VendorFault::Unreachable
            | VendorFault::TimedOut
            | VendorFault::RateLimited
            | VendorFault::Unauthenticated
            | VendorFault::Garbled => Err(fault::as_passing(error)),
        },
    }
}

/// What an answer says against the upgrade. Pure.
fn of(told: &Compatibility) -> Vec<Finding> {
    let lacking: Vec<String> = told
        .capabilities
        .iter()
        .filter(|c| c.status.as_deref() != Some("SUPPORTED"))
        .filter_map(|c| c.name.as_deref().map(shown))
        .collect();
    let more = lacking.len().saturating_sub(MAX_LISTED);
    let mut names = lacking.iter().take(MAX_LISTED).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 {
        names.push_str(&format!(" and {more} more"));
    }
    match told.compatibility.as_deref() {
        Some("COMPATIBLE") if lacking.is_empty() => Vec::new(),
        Some("COMPATIBLE") => {
            let text = format!("the version is compatible; not available here: {names}");
            vec![Finding::new("vsphere.compatible_without_capabilities", Severity::Info, text)]
        }
        Some("COMPATIBLE_AND_DEGRADED") => {
            let what = if names.is_empty() { "new features".to_owned() } else { names };
            let text = format!("the version will work, but without {what} until vCenter itself is upgraded");
            vec![Finding::new("vsphere.compatible_and_degraded", Severity::Warning, text)]
        }
        Some("INCOMPATIBLE") => {
            let reasons = told.reasons();
            let mut found: Vec<Finding> = reasons
                .iter()
                .take(MAX_REASONS)
                .filter_map(|reason: &Localizable| findings::under("incompatible", reason, Severity::Error))
                .collect();
            if found.is_empty() {
                let text =
                    "vCenter says that the version is incompatible with its infrastructure, and not why";
                found.push(Finding::new("vsphere.incompatible", Severity::Error, text));
            }
            found
        }
        word => {
            let text = format!(
                "vCenter answered `{}` when asked for the version's compatibility; nobody knows that word",
                shown(word.unwrap_or_default())
            );
            vec![Finding::new("vsphere.compatibility_unknown", Severity::Warning, text)]
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vendors::vsphere::wire::read;

    fn seen(answer: serde_json::Value) -> Vec<(String, Severity, String)> {
        let told: Compatibility = read(&answer).unwrap();
        of(&told).into_iter().map(|f| (f.id, f.severity, f.message)).collect()
    }

    #[test]
    fn every_word_has_its_severity() {
        assert_eq!(
            seen(
                json!({"compatibility": "COMPATIBLE", "capabilities": [{"name": "a", "status": "SUPPORTED"}]})
            ),
            []
        );
        let part =
            json!({"compatibility": "COMPATIBLE", "capabilities": [{"name": "a", "status": "UNSUPPORTED"}]});
        assert_eq!(seen(part)[0].1, Severity::Info);
        let degraded = json!({"compatibility": "COMPATIBLE_AND_DEGRADED", "capabilities": [
            {"name": "vm-snapshots", "status": "SUPPORTED_AND_DEGRADED"}, {"name": "b", "status": "SUPPORTED"}]});
        let found = seen(degraded);
        assert_eq!((found[0].0.as_str(), found[0].1), ("vsphere.compatible_and_degraded", Severity::Warning));
        assert!(found[0].2.contains("vm-snapshots") && !found[0].2.contains(" b "));
        for odd in [json!({"compatibility": "BRAND_NEW"}), json!({"compatibility": 17}), json!({})] {
            assert_eq!(seen(odd)[0].1, Severity::Warning);
        }
    }

    #[test]
    fn reasons_are_read_in_both_shapes_and_none_still_stops() {
        let told = json!({"compatibility": "INCOMPATIBLE", "incompatibility_reasons": [
            {"id": "wcp.nsx.old", "default_message": "NSX is too old.", "args": []}, "ESX is too old", 4]});
        assert_eq!(
            seen(told),
            [
                (
                    "vsphere.incompatible.wcp.nsx.old".to_owned(),
                    Severity::Error,
                    "NSX is too old.".to_owned()
                ),
                (
                    "vsphere.incompatible.ESX-is-too-old".to_owned(),
                    Severity::Error,
                    "ESX is too old".to_owned()
                ),
            ]
        );
        assert_eq!(seen(json!({"compatibility": "INCOMPATIBLE"}))[0].1, Severity::Error);
    }
}
