//! Checks before a start: what the list says, what vCenter's own pre-checks say, and the baseline.

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::time::Instant;

use super::Vsphere;
use super::errors;
use super::findings;
use super::notes::{Baseline, Notes};
use super::state::Word;
use super::wanted;
use super::wire::{PrecheckResult, Summary};
use crate::domain::error::VendorFault;
use crate::domain::finding::{Finding, Severity};
use crate::domain::target::TargetKind;
use crate::vendors::contract::{CheckReport, Planned};
use crate::vendors::error::{Reached, VendorError};

/// How many targets are looked at side by side.
const SIDE_BY_SIDE: usize = 8;

/// Checks a batch: one list for each kind, then each target's detail.
pub(super) async fn check(vsphere: &Vsphere, batch: &[Planned]) -> Vec<Result<CheckReport, VendorError>> {
    let clusters = list(vsphere, batch, TargetKind::Cluster).await;
    let supervisors = list(vsphere, batch, TargetKind::Supervisor).await;
    let reports = batch.iter().map(|planned| {
        let entries = match planned.target.kind {
            TargetKind::Cluster => &clusters,
            TargetKind::Supervisor | TargetKind::Instance => &supervisors,
        };
        async move {
            match entries {
                Ok(entries) => one(vsphere, planned, entries).await,
                Err(error) => Err(errors::again(error)),
            }
        }
    });
    // Collected first: a lazy map would borrow across the await below.
    let reports: Vec<_> = reports.collect();
    stream::iter(reports).buffered(SIDE_BY_SIDE).collect().await
}

/// The list of a kind, if the batch has any of it.
async fn list(vsphere: &Vsphere, batch: &[Planned], kind: TargetKind) -> Result<Vec<Summary>, VendorError> {
    if batch.iter().any(|p| p.target.kind == kind) {
        vsphere.client.summaries(kind).await.map_err(|error| older(kind, error))
    } else {
        Ok(Vec::new())
    }
}

/// Says what a missing call means.
pub(super) fn older(kind: TargetKind, mut error: VendorError) -> VendorError {
    if errors::is_missing_call(&error) {
        error.message = match kind {
            TargetKind::Cluster => {
                "this vCenter has no `software/clusters`: name the Supervisor (`…/supervisors/{id}`) instead"
            }
            TargetKind::Supervisor | TargetKind::Instance => {
                "this vCenter has no `software/supervisors/upgrades` (it is older than 9.1): name the cluster \
                 (`…/clusters/{id}`) instead"
            }
        }
        .to_owned();
    }
    error
}

/// The entry of a target in its list.
pub(super) fn entry_of<'a>(entries: &'a [Summary], kind: TargetKind, id: &str) -> Option<&'a Summary> {
    entries.iter().find(|entry| own_id(entry, kind) == Some(id))
}

/// The id by which an entry of a kind's list is known.
pub(super) fn own_id(entry: &Summary, kind: TargetKind) -> Option<&str> {
    match kind {
        TargetKind::Cluster => entry.cluster.as_deref(),
        TargetKind::Supervisor | TargetKind::Instance => entry.supervisor.as_deref(),
    }
}

async fn one(vsphere: &Vsphere, planned: &Planned, entries: &[Summary]) -> Result<CheckReport, VendorError> {
    let (kind, id, wanted) = (planned.target.kind, &*planned.target.id, wanted(&planned.operation));
    let entry = entry_of(entries, kind, id).ok_or_else(|| {
        let text = format!("vCenter's list of {} has no `{id}`", kind.collection());
        VendorError::new(VendorFault::NotFound, Reached::No, text)
    })?;
    let mut found = rules(entry, wanted);
    let mut foreign = foreign(entry);
    let mut said = Vec::new();
    if kind == TargetKind::Supervisor && foreign.is_none() {
        match prechecks(vsphere, id, wanted).await? {
            Checked::Found(findings) => said.extend(findings),
            Checked::Unchecked(finding) => found.push(finding),
            Checked::Busy(text) => foreign = Some(text),
        }
    }
    match vsphere.client.detail(kind, id).await {
        Ok(info) => {
            // These are about the past, and of pre-checks for an untold version: they warn, but cannot block.
            said.extend(findings::of_detail(&info).into_iter().map(|mut finding| {
                finding.severity = finding.severity.min(Severity::Warning);
                finding
            }));
        }
        Err(error) => found.push(Finding::new(
            "vsphere.detail_unavailable",
            Severity::Info,
            format!("vCenter's messages about the target cannot be read: {}", error.message),
        )),
    }
    let said = findings::merged(said);
    let mut notes = Notes::read(planned.handle.as_ref());
    notes.warned = said.iter().any(|finding| finding.severity == Severity::Warning);
    if planned.attempts == 0 || notes.baseline.is_none() {
        // On a repeat the first baseline stays: it alone is from before the start.
        notes.baseline = (planned.attempts == 0).then(|| Baseline::of(entry));
    }
    found.extend(said);
    Ok(CheckReport { findings: findings::merged(found), handle: notes.handle(), foreign })
}

/// The rules that the list's entry answers.
fn rules(entry: &Summary, wanted: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let current = entry.current_version.as_deref();
    let mut add =
        |id: &str, severity, text: String| found.push(Finding::new(format!("vsphere.{id}"), severity, text));
    match Word::of(entry) {
        Some(Word::Busy | Word::Ready) => {}
        Some(Word::Error) => add(
            "state_error",
            Severity::Warning,
            "vCenter reports ERROR for the target: an earlier upgrade failed and needs a person".to_owned(),
        ),
        None => add(
            "state_unknown",
            Severity::Warning,
            format!(
                "vCenter reports a state that is not known: `{}`",
                entry.state.as_deref().unwrap_or("none")
            ),
        ),
    }
    if current == Some(wanted) {
        add("already_at_version", Severity::Error, format!("the target runs `{wanted}` already"));
    } else if let Some(available) = &entry.available_versions
        && !available.iter().any(|v| v == wanted)
    {
        let offered = if available.is_empty() { "none".to_owned() } else { available.join(", ") };
        add(
            "version_unavailable",
            Severity::Error,
            format!("vCenter does not offer `{wanted}` for the target; it offers {offered}"),
        );
    }
    if current.is_none() {
        add(
            "version_untold",
            Severity::Warning,
            "vCenter does not tell the target's present version, so a lost answer could not be traced"
                .to_owned(),
        );
    }
    found
}

/// An upgrade that is under way on the target already.
fn foreign(entry: &Summary) -> Option<String> {
    match Word::of(entry) {
        Some(Word::Busy) => {
            let to = entry.desired_version.as_deref().unwrap_or("an untold version");
            Some(format!("an upgrade to `{to}` is under way"))
        }
        Some(Word::Ready | Word::Error) | None => None,
    }
}

enum Checked {
    Found(Vec<Finding>),
    Unchecked(Finding),
    Busy(String),
}

/// Runs a Supervisor's pre-checks and reads what they found. They start nothing.
async fn prechecks(vsphere: &Vsphere, supervisor: &str, wanted: &str) -> Result<Checked, VendorError> {
    let unchecked = |why: &str| {
        Ok(Checked::Unchecked(Finding::new("vsphere.prechecks_unavailable", Severity::Info, why.to_owned())))
    };
    if let Err(error) = vsphere.client.run_prechecks(supervisor, wanted).await {
        if errors::is(&error, "NOT_ALLOWED_IN_CURRENT_STATE") {
            return Ok(Checked::Busy(error.message));
        }
        return match error.kind {
            VendorFault::Rejected if errors::is_missing_call(&error) => {
                unchecked("this vCenter has no pre-checks to run (they came with 8.0.3)")
            }
            VendorFault::NotFound => unchecked("vCenter has no pre-checks for the Supervisor"),
            VendorFault::Rejected => Ok(Checked::Found(vec![Finding::new(
                "vsphere.prechecks_refused",
                Severity::Error,
                error.message,
            )])),
            VendorFault::Unreachable
            | VendorFault::TimedOut
            | VendorFault::RateLimited
            | VendorFault::Unauthenticated
            | VendorFault::PermissionDenied
            | VendorFault::Garbled => Err(error),
        };
    }
    let wait = vsphere.knobs.precheck_wait;
    let began = Instant::now();
    // Twenty looks at most, however long the wait.
    let pause = (wait / 20).max(std::time::Duration::from_millis(10));
    loop {
        let results = match vsphere.client.prechecks(supervisor).await {
            Ok(answer) => answer.precheck_results,
            // Documented as "no results yet" too.
            Err(error) if error.kind == VendorFault::NotFound || errors::is_missing_call(&error) => {
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        let ours = results.iter().find(|r| r.target_version.as_deref() == Some(wanted));
        match ours {
            Some(result) if result.status.as_deref() != Some("RUNNING") => {
                return Ok(Checked::Found(read(result)));
            }
            Some(_) | None if began.elapsed() + pause > wait => {
                let why = if ours.is_some() {
                    "the Supervisor's pre-checks still run; vCenter runs them again before the upgrade"
                } else {
                    "vCenter has no pre-check results for this version yet; it runs them again before the upgrade"
                };
                return unchecked(why);
            }
            Some(_) | None => tokio::time::sleep(pause).await,
        }
    }
}

/// The findings of a finished run, including one for an overall word that no condition explains.
fn read(result: &PrecheckResult) -> Vec<Finding> {
    let mut found: Vec<Finding> = result.conditions.iter().filter_map(findings::of_condition).collect();
    let worst = found.iter().map(|f| f.severity).max();
    let overall = match result.status.as_deref() {
        Some("ERROR") => Severity::Error,
        Some("SUCCEEDED") | None => Severity::Info,
        // WARNING, UNKNOWN, and words that are not known.
        Some(_) => Severity::Warning,
    };
    if overall > Severity::Info && worst.is_none_or(|worst| worst < overall) {
        let word = result.status.as_deref().unwrap_or_default();
        let text = format!("vCenter's pre-checks ended with {word} and told no condition of that weight");
        found.push(Finding::new("vsphere.precheck.overall", overall, text));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(json: &str) -> Vec<(String, Severity)> {
        let entry: Summary = serde_json::from_str(json).unwrap();
        rules(&entry, "v2").into_iter().map(|f| (f.id, f.severity)).collect()
    }

    #[test]
    fn the_entry_answers_the_rules() {
        assert_eq!(ids(r#"{"state":"READY","current_version":"v1","available_versions":["v2"]}"#), []);
        // Not told is not "none".
        assert_eq!(ids(r#"{"state":"READY","current_version":"v1","available_versions":null}"#), []);
        let all = ids(r#"{"state":"ERROR","current_version":"v1","available_versions":[]}"#);
        assert_eq!(
            all,
            [
                ("vsphere.state_error".to_owned(), Severity::Warning),
                ("vsphere.version_unavailable".to_owned(), Severity::Error)
            ]
        );
        let all = ids(r#"{"state":"READY","current_version":"v2","available_versions":[]}"#);
        assert_eq!(all, [("vsphere.already_at_version".to_owned(), Severity::Error)]);
        assert_eq!(ids("{}").len(), 2);
    }

    #[test]
    fn an_overall_word_without_its_condition_still_counts() {
        let result = |json: &str| read(&serde_json::from_str(json).unwrap());
        let found = result(r#"{"status":"WARNING","conditions":[]}"#);
        assert_eq!((found.len(), found[0].severity), (1, Severity::Warning));
        let found =
            result(r#"{"status":"ERROR","conditions":[{"type":"A","status":"FALSE","severity":"ERROR"}]}"#);
        assert_eq!(found.len(), 1);
        assert!(result(r#"{"conditions":null}"#).is_empty());
    }
}
