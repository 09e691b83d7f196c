//! Prechecks: what stands against an upgrade, and how the target stands before it.

use std::collections::HashMap;

use super::client::Client;
use super::compat;
use super::fault;
use super::find::{Tasks, all_tasks, tasks_of};
use super::findings;
use super::judge::{Mood, mood};
use super::map::shown;
use super::notes::Notes;
use super::observe::{by_id, list_supervisors};
use super::precheck::{Prechecks, Ran, run};
use super::start::desired;
use super::together::together;
use super::wire::Summary;
use crate::domain::error::VendorFault;
use crate::domain::finding::{Finding, Severity};
use crate::domain::target::UnderWay;
use crate::vendors::contract::{CheckReport, Planned};
use crate::vendors::error::{Reached, VendorError};

/// How many versions a message lists.
const MAX_LISTED: usize = 20;
/// How many earlier tasks of one Supervisor are remembered.
const MAX_TASKS: usize = 50;

type Checked = Result<CheckReport, VendorError>;

/// Checks upgrades by cluster: one list for all, and each one's own messages; prechecks where its Supervisor is known,
/// since they are run by it. One answer each, in order.
pub(super) async fn clusters(
    client: &Client,
    prechecks: Prechecks,
    batch: &[(&Planned, Option<&str>)],
) -> Vec<Checked> {
    let list = match client.clusters().await {
        Err(error) if fault::lacks_call(&error) => Err(VendorError {
            message: format!(
                "this vCenter cannot upgrade by cluster any more; use the `supervisors` targets. It answered {}",
                error.message
            ),
            kind: VendorFault::Rejected,
            ..error
        }),
        list => list.map(by_id),
    };
    together(
        batch
            .iter()
            .map(|(planned, supervisor)| cluster(client, prechecks, planned, *supervisor, list.as_ref())),
    )
    .await
}

async fn cluster(
    client: &Client,
    prechecks: Prechecks,
    planned: &Planned,
    supervisor: Option<&str>,
    list: Result<&HashMap<String, Summary>, &VendorError>,
) -> Checked {
    let summary = listed(list, planned, "a cluster with a Supervisor")?;
    if let Some(foreign) = foreign(planned, summary) {
        return Ok(foreign);
    }
    let info = client.cluster(&planned.target.id).await?;
    let mut told = Told { findings: findings::of_messages(&info.messages), to_the_end: false };
    let mut fit = Vec::new();
    let version = desired(&planned.operation);
    if is_worth_checking(summary, version) {
        if let Some(supervisor) = supervisor {
            let ran = run(client, prechecks, supervisor, version).await?;
            if let Some(text) = ran.foreign {
                return Ok(CheckReport { foreign: Some(text), ..CheckReport::default() });
            }
            told.add(ran);
        }
        fit = compat::check(client, "cluster", &planned.target.id, version).await?;
    }
    Ok(report(planned, summary, told, fit, None))
}

/// Checks for a version that cannot be had only hide the reason.
fn is_worth_checking(summary: &Summary, version: &str) -> bool {
    own_findings(summary, version).iter().all(|f| f.severity != Severity::Error)
}

/// Checks upgrades of Supervisors: one list for all, and each one's own prechecks. One answer each, in order.
pub(super) async fn supervisors(client: &Client, prechecks: Prechecks, batch: &[&Planned]) -> Vec<Checked> {
    let ids: Vec<&str> = batch.iter().map(|p| &*p.target.id).collect();
    let list = match list_supervisors(client, &ids).await {
        Err(error) if fault::lacks_call(&error) => Err(VendorError {
            message: format!(
                "this vCenter cannot upgrade by Supervisor (that came with 9.1); use the `clusters` targets. It \
                 answered {}",
                error.message
            ),
            kind: VendorFault::Rejected,
            ..error
        }),
        list => list,
    };
    let tasks = if list.is_ok() { all_tasks(client).await } else { None };
    let (list, tasks) = (list.as_ref(), tasks.as_ref());
    together(batch.iter().map(|planned| supervisor(client, prechecks, planned, list, tasks))).await
}

async fn supervisor(
    client: &Client,
    prechecks: Prechecks,
    planned: &Planned,
    list: Result<&HashMap<String, Summary>, &VendorError>,
    tasks: Option<&Tasks>,
) -> Checked {
    let id = &*planned.target.id;
    let summary = listed(list, planned, "a Supervisor")?;
    if let Some(foreign) = foreign(planned, summary) {
        return Ok(foreign);
    }
    let info = client.supervisor(id).await?;
    let mut told = Told { findings: findings::of_messages(&info.messages), to_the_end: false };
    let mut fit = Vec::new();
    let version = desired(&planned.operation);
    if is_worth_checking(summary, version) {
        let ran = run(client, prechecks, id, version).await?;
        if let Some(text) = ran.foreign {
            return Ok(CheckReport { foreign: Some(text), ..CheckReport::default() });
        }
        told.add(ran);
        fit = compat::check(client, "supervisor", id, version).await?;
    }
    let known = tasks.map(|tasks| tasks_of(tasks, id)).filter(|known| known.len() <= MAX_TASKS);
    Ok(report(planned, summary, told, fit, known))
}

fn listed<'a>(
    list: Result<&'a HashMap<String, Summary>, &VendorError>,
    planned: &Planned,
    what: &str,
) -> Result<&'a Summary, VendorError> {
    let list = list.map_err(VendorError::again)?;
    list.get(&*planned.target.id).ok_or_else(|| {
        let text = format!("vCenter lists no `{}` as {what}", planned.target.id);
        VendorError::new(VendorFault::NotFound, Reached::No, text)
    })
}

/// An upgrade that is under way already.
fn foreign(planned: &Planned, summary: &Summary) -> Option<CheckReport> {
    let under_way = under_way(summary)?;
    let version = summary.desired_version.as_deref();
    let own = planned.attempts > 0 && version == Some(desired(&planned.operation));
    let hint = if own { "; it may be this job's own earlier start, arrived very late" } else { "" };
    let text = format!("{}{hint}", under_way.what);
    Some(CheckReport { foreign: Some(text), ..CheckReport::default() })
}

/// An upgrade that a target's entry shows under way, whoever started it.
pub(super) fn under_way(summary: &Summary) -> Option<UnderWay> {
    if mood(summary.state.as_deref()) != Mood::Busy {
        return None;
    }
    let version = summary.desired_version.as_deref();
    let to = version.map(|v| format!(" to {}", shown(v))).unwrap_or_default();
    Some(UnderWay {
        what: format!("an upgrade{to} is under way"),
        vendor_state: summary.state.as_deref().map(shown),
        ..UnderWay::default()
    })
}

/// The findings for which vCenter's own switch for warnings stands.
struct Told {
    findings: Vec<Finding>,
    /// They are all that vCenter has.
    to_the_end: bool,
}

impl Told {
    fn add(&mut self, ran: Ran) {
        self.findings.extend(ran.findings);
        self.to_the_end = ran.to_the_end;
    }
}

/// `fit` are findings that vCenter's switch for warnings does not pass over.
fn report(
    planned: &Planned,
    summary: &Summary,
    told: Told,
    fit: Vec<Finding>,
    known_tasks: Option<Vec<String>>,
) -> CheckReport {
    let before = Notes::before(summary, &told.findings);
    let notes = Notes { known_tasks, prechecks_read: told.to_the_end, ..before };
    let mut findings = own_findings(summary, desired(&planned.operation));
    findings.extend(told.findings);
    findings.extend(fit);
    CheckReport { findings, handle: Some(notes.handle()), foreign: None }
}

/// What state and versions say against an upgrade.
fn own_findings(summary: &Summary, desired: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |id: &str, severity, text: String| {
        findings.push(Finding::new(format!("vsphere.{id}"), severity, text));
    };
    if summary.current_version.as_deref() == Some(desired) {
        add(
            "already_at_version",
            Severity::Error,
            format!("the target has version {} already", shown(desired)),
        );
    } else {
        match &summary.available_versions {
            Some(available) if !available.iter().any(|v| v == desired) => {
                let mut listed: Vec<String> = available.iter().take(MAX_LISTED).map(|v| shown(v)).collect();
                if available.len() > MAX_LISTED {
                    listed.push(format!("and {} more", available.len() - MAX_LISTED));
                }
                let listed = if listed.is_empty() { "none".to_owned() } else { listed.join(", ") };
                let text = format!("{} is not among the available versions: {listed}", shown(desired));
                add("version_unavailable", Severity::Error, text);
            }
            Some(_) => {}
            None => add(
                "versions_unknown",
                Severity::Info,
                "vCenter did not say which versions are available".to_owned(),
            ),
        }
    }
    match mood(summary.state.as_deref()) {
        Mood::Ready | Mood::Busy => {}
        Mood::Error => add(
            "target_in_error",
            Severity::Warning,
            "the target is in ERROR: an earlier upgrade failed, and vCenter says that it needs a person"
                .to_owned(),
        ),
        Mood::Unknown => add(
            "state_unknown",
            Severity::Warning,
            format!(
                "the target's state `{}` is not known",
                shown(summary.state.as_deref().unwrap_or_default())
            ),
        ),
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vendors::vsphere::wire::read;

    fn ids(summary: serde_json::Value, desired: &str) -> Vec<(String, Severity)> {
        let summary: Summary = read(&summary).unwrap();
        own_findings(&summary, desired).into_iter().map(|f| (f.id, f.severity)).collect()
    }

    #[test]
    fn versions_and_states_speak_against_an_upgrade() {
        let target = json!({"state": "READY", "current_version": "v1", "available_versions": ["v2"]});
        assert_eq!(ids(target.clone(), "v2"), []);
        assert_eq!(ids(target.clone(), "v1"), [("vsphere.already_at_version".to_owned(), Severity::Error)]);
        assert_eq!(ids(target, "v3"), [("vsphere.version_unavailable".to_owned(), Severity::Error)]);
        assert_eq!(
            ids(json!({"state": "ERROR", "current_version": "v1"}), "v2"),
            [
                ("vsphere.versions_unknown".to_owned(), Severity::Info),
                ("vsphere.target_in_error".to_owned(), Severity::Warning)
            ]
        );
        assert_eq!(
            ids(json!({"state": 17, "available_versions": ["v2"]}), "v2"),
            [("vsphere.state_unknown".to_owned(), Severity::Warning)]
        );
    }
}
