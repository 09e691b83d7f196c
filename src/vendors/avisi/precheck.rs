//! Prechecks: what can be seen to stand in the way before anything is sent. Pure.
//!
//! The rules on versions are those of Avisi's pages "Updating an AME cluster" and "Kubernetes Lifecycle policy":
//! one Kubernetes minor version at a time; down only among the patches of one minor version, or as a full
//! rollback right after a minor upgrade.

use super::infer::{Condition, wanted};
use super::map::Word;
use super::notes::{Notes, Slugs};
use super::wire::{Cluster, ScheduledUpgrade};
use crate::domain::finding::{Finding, Severity};
use crate::domain::operation::Operation;
use crate::vendors::contract::CheckReport;

/// What a check looks at.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub(super) operation: &'a Operation,
    /// The cluster, when the organisation has it.
    pub(super) cluster: Option<&'a Cluster>,
    /// The versions that exist; `None` when they could not be listed.
    pub(super) versions: Option<&'a [String]>,
    /// The cluster's scheduled upgrades that are not over; `None` when they cannot be read (customers).
    pub(super) open: Option<&'a [&'a ScheduledUpgrade]>,
    /// The scheduled upgrade that is this job's own, from an earlier attempt.
    pub(super) own: Option<&'a str>,
    /// Whether an earlier attempt was sent. What it left behind, if it arrived late after all, is no stranger's.
    pub(super) is_repeat: bool,
    /// Whether the start lies well ahead: what is done to the cluster now does not meet it.
    pub(super) is_ahead: bool,
}

/// Looks for what stands in the way, and takes the baseline.
pub(super) fn check(scene: &Scene<'_>) -> CheckReport {
    let Some(cluster) = scene.cluster else {
        let text = "the organisation has no cluster with this identity";
        let findings = vec![Finding::new("avisi.cluster_not_found", Severity::Error, text)];
        return CheckReport { findings, handle: None, foreign: None };
    };
    let mut findings = Vec::new();
    let busy = busy(cluster);
    if let Some(text) = busy.as_ref().filter(|_| scene.is_ahead) {
        let text = format!("{text} at present; the start lies ahead");
        findings.push(Finding::new("avisi.cluster_busy", Severity::Info, text));
    }
    let foreign = busy.filter(|_| !scene.is_ahead).or_else(|| held(scene));
    findings.extend(condition(cluster));
    findings.extend(version(scene, cluster));
    if cluster.auto_upgrade == Some(true) {
        let text = "auto-upgrade is on: Avisi may bring this cluster to another version by itself";
        findings.push(Finding::new("avisi.auto_upgrade", Severity::Info, text));
    }
    if scene.open.is_none() && matches!(scene.operation, Operation::ScheduledUpgrade(_)) {
        let text = "whether the cluster has a scheduled upgrade already cannot be seen with a customer's token; \
                    if it has one, this one replaces it";
        findings.push(Finding::new("avisi.schedule_hidden", Severity::Info, text));
    }
    let notes = Notes { baseline: cluster.version.clone(), slugs: Slugs::of(cluster), ..Notes::default() };
    CheckReport { findings, handle: notes.handle(), foreign }
}

/// Something that is being done to the cluster now.
pub(super) fn busy(cluster: &Cluster) -> Option<String> {
    let word = cluster.status.as_deref().unwrap_or_default();
    (Condition::of(cluster) == Condition::Busy).then(|| format!("the cluster is `{word}`"))
}

/// A scheduled upgrade that is not this job's: a start would replace it.
fn held(scene: &Scene<'_>) -> Option<String> {
    let is_ours = |upgrade: &ScheduledUpgrade| {
        let by_identity = scene.own.is_some() && upgrade.identity.as_deref() == scene.own;
        let by_version = upgrade.to_cluster_version.as_deref() == Some(wanted(scene.operation));
        // Sending the start again moves it, and it stays one.
        by_identity || (scene.is_repeat && by_version && Word::of(upgrade).is_some_and(Word::waits))
    };
    let other = scene.open?.iter().find(|upgrade| !is_ours(upgrade))?;
    let what = if Word::of(other).is_some_and(Word::waits) { "is scheduled" } else { "is under way" };
    Some(format!(
        "scheduled upgrade {} to {} {what} ({})",
        other.identity.as_deref().unwrap_or("without identity"),
        other.to_cluster_version.as_deref().unwrap_or("an untold version"),
        other.status.as_deref().unwrap_or("no status"),
    ))
}

fn condition(cluster: &Cluster) -> Option<Finding> {
    let word = cluster.status.as_deref().unwrap_or("not told");
    match Condition::of(cluster) {
        Condition::Gone => {
            let text = "the cluster is deleted or being deleted";
            Some(Finding::new("avisi.cluster_deleted", Severity::Error, text))
        }
        Condition::Idle | Condition::Untold => {
            let text = format!("the cluster's status is `{word}`; an upgrade needs it running");
            Some(Finding::new("avisi.cluster_not_running", Severity::Warning, text))
        }
        Condition::Running | Condition::Busy => None,
    }
}

fn version(scene: &Scene<'_>, cluster: &Cluster) -> Vec<Finding> {
    let mut findings = Vec::new();
    let wanted = wanted(scene.operation);
    let current = cluster.version.as_deref();
    if current == Some(wanted) {
        let text = format!("the cluster has version {wanted} already");
        return vec![Finding::new("avisi.already_at_version", Severity::Info, text)];
    }
    if scene.versions.is_some_and(|all| !all.is_empty() && !all.iter().any(|v| v == wanted)) {
        let text = format!("Avisi does not list {wanted} among its versions");
        findings.push(Finding::new("avisi.version_not_listed", Severity::Warning, text));
    }
    let Some(((major, minor, patch), (to_major, to_minor, to_patch))) =
        current.and_then(kubernetes).zip(kubernetes(wanted))
    else {
        return findings;
    };
    let current = current.unwrap_or_default();
    if major != to_major || to_minor > minor.saturating_add(1) {
        let text =
            format!("{current} to {wanted} skips a Kubernetes minor version; Avisi goes one at a time");
        findings.push(Finding::new("avisi.skips_minor", Severity::Error, text));
    } else if to_minor < minor {
        let text = format!(
            "{current} to {wanted} goes back a minor version, which works only right after its upgrade"
        );
        findings.push(Finding::new("avisi.minor_downgrade", Severity::Warning, text));
    } else if to_minor == minor && to_patch < patch {
        let text = format!("{wanted} is older than {current}");
        findings.push(Finding::new("avisi.patch_downgrade", Severity::Warning, text));
    }
    findings
}

/// The Kubernetes version in front of an AME version: `v1.35.6-u-ame.4` has `(1, 35, 6)`.
fn kubernetes(version: &str) -> Option<(u32, u32, u32)> {
    let version = version.strip_prefix('v')?;
    let version = version.split_once('-').map_or(version, |(kubernetes, _)| kubernetes);
    let mut parts = version.split('.').map(|part| part.parse().ok());
    let read = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::operation::{ScheduledUpgrade as Scheduled, Upgrade};

    fn scheduled(version: &str) -> Operation {
        let upgrade = Upgrade { version: Some(version.into()), ..Upgrade::default() };
        Operation::ScheduledUpgrade(Scheduled { upgrade, ..Scheduled::default() })
    }

    fn cluster(version: &str, status: &str) -> Cluster {
        Cluster {
            version: Some(version.into()),
            status: Some(status.into()),
            slug: Some("prod-1".into()),
            environment_slug: Some("production".into()),
            ..Cluster::default()
        }
    }

    fn found(version: &str, cluster: Option<&Cluster>, open: Option<&[&ScheduledUpgrade]>) -> CheckReport {
        let versions =
            ["v1.34.9-u-ame.2", "v1.35.6-u-ame.4", "v1.36.1-u-ame.1", "v1.33.8-u-ame.1", "v1.34.2-u-ame.1"]
                .map(str::to_owned);
        let operation = scheduled(version);
        check(&Scene {
            operation: &operation,
            cluster,
            versions: Some(&versions),
            open,
            own: Some("own"),
            is_repeat: false,
            is_ahead: false,
        })
    }

    fn ids(report: &CheckReport) -> Vec<(&str, Severity)> {
        report.findings.iter().map(|f| (f.id.as_str(), f.severity)).collect()
    }

    #[test]
    fn a_fit_cluster_has_nothing_in_its_way_and_a_baseline() {
        let report = found("v1.35.6-u-ame.4", Some(&cluster("v1.34.9-u-ame.2", "running")), Some(&[]));
        assert_eq!((ids(&report), &report.foreign), (vec![], &None));
        let notes = Notes::read(report.handle.as_ref());
        assert_eq!(notes.baseline.as_deref(), Some("v1.34.9-u-ame.2"));
        assert_eq!(notes.slugs.unwrap().cluster, "prod-1");
    }

    #[test]
    fn rules_on_versions() {
        let at = cluster("v1.34.9-u-ame.2", "started");
        for (version, want) in [
            ("v1.36.1-u-ame.1", vec![("avisi.skips_minor", Severity::Error)]),
            ("v1.33.8-u-ame.1", vec![("avisi.minor_downgrade", Severity::Warning)]),
            ("v1.34.2-u-ame.1", vec![("avisi.patch_downgrade", Severity::Warning)]),
            ("v1.34.9-u-ame.2", vec![("avisi.already_at_version", Severity::Info)]),
            ("v1.35.7-u-ame.1", vec![("avisi.version_not_listed", Severity::Warning)]),
            ("newest", vec![("avisi.version_not_listed", Severity::Warning)]),
        ] {
            assert_eq!(ids(&found(version, Some(&at), Some(&[]))), want, "{version}");
        }
    }

    #[test]
    fn a_missing_deleted_or_stopped_cluster_is_told() {
        let version = "v1.35.6-u-ame.4";
        let report = found(version, None, Some(&[]));
        assert_eq!(ids(&report), [("avisi.cluster_not_found", Severity::Error)]);
        let report = found(version, Some(&cluster("v1.34.9-u-ame.2", "deleting")), Some(&[]));
        assert_eq!(ids(&report), [("avisi.cluster_deleted", Severity::Error)]);
        let report = found(version, Some(&cluster("v1.34.9-u-ame.2", "stopped")), Some(&[]));
        assert_eq!(ids(&report), [("avisi.cluster_not_running", Severity::Warning)]);
    }

    #[test]
    fn what_somebody_else_does_is_foreign_and_what_is_ours_is_not() {
        let fit = cluster("v1.34.9-u-ame.2", "running");
        let open = |identity: &str, status: &str| ScheduledUpgrade {
            identity: Some(identity.into()),
            status: Some(status.into()),
            to_cluster_version: Some("v1.35.6-u-ame.4".into()),
            ..ScheduledUpgrade::default()
        };
        let report = found("v1.35.6-u-ame.4", Some(&fit), Some(&[&open("other", "SCHEDULED")]));
        assert!(report.foreign.unwrap().contains("other"));
        let report = found("v1.35.6-u-ame.4", Some(&fit), Some(&[&open("own", "SCHEDULED")]));
        assert_eq!(report.foreign, None);
        let report = found("v1.35.6-u-ame.4", Some(&cluster("v1.34.9-u-ame.2", "upgrading")), None);
        assert_eq!(report.foreign.as_deref(), Some("the cluster is `upgrading`"));
        assert_eq!(ids(&report), [("avisi.schedule_hidden", Severity::Info)]);
    }

    #[test]
    fn what_an_earlier_attempt_left_behind_is_ours_while_it_waits() {
        let operation = scheduled("v1.35.6-u-ame.4");
        let fit = cluster("v1.34.9-u-ame.2", "running");
        let foreign = |version: &str, status: &str, is_repeat| {
            let left = ScheduledUpgrade {
                identity: Some("late".into()),
                status: Some(status.into()),
                to_cluster_version: Some(version.into()),
                ..ScheduledUpgrade::default()
            };
            let scene = Scene {
                operation: &operation,
                cluster: Some(&fit),
                versions: None,
                open: Some(&[&left]),
                own: None,
                is_repeat,
                is_ahead: false,
            };
            check(&scene).foreign.is_some()
        };
        assert!(!foreign("v1.35.6-u-ame.4", "REQUESTED", true));
        assert!(foreign("v1.35.6-u-ame.4", "REQUESTED", false));
        assert!(foreign("v1.35.6-u-ame.4", "IN_PROGRESS", true));
        assert!(foreign("v1.35.2-u-ame.1", "REQUESTED", true));
    }

    #[test]
    fn a_busy_cluster_does_not_stop_a_start_that_lies_ahead() {
        let operation = scheduled("v1.35.6-u-ame.4");
        let busy = cluster("v1.34.9-u-ame.2", "upgrading");
        let scene = Scene {
            operation: &operation,
            cluster: Some(&busy),
            versions: None,
            open: Some(&[]),
            own: None,
            is_repeat: false,
            is_ahead: true,
        };
        let report = check(&scene);
        assert_eq!((ids(&report), &report.foreign), (vec![("avisi.cluster_busy", Severity::Info)], &None));
    }
}
