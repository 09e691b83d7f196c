//! The cluster's hosts after an update ended. ZStack ends it without a word about how it left them: it reconnects a
//! host once and only logs a failure, and a host may stay in PreMaintenance. Told beside an end, never instead of it.

use std::collections::BTreeMap;

use super::fault::cut;
use super::wire::Host;
use crate::domain::finding::{Finding, Severity};

/// The longest description of a cluster's systems, in bytes.
const MAX_SYSTEMS: usize = 512;

/// What is worth telling of the hosts. `before`: their systems before the start; `whole`: all of them were updated.
pub(super) fn findings(hosts: &[Host], before: Option<&str>, whole: bool) -> Vec<Finding> {
    let mut findings: Vec<Finding> = hosts.iter().filter_map(left_behind).collect();
    if let Some(now) = systems(hosts) {
        let before = before.map(|before| format!("; before it, {before}")).unwrap_or_default();
        let text = format!(
            "after the update the hosts run {now}{before}. ZStack reads this anew when a host reconnects"
        );
        findings.push(Finding::new("zstack.os_versions", Severity::Info, text));
        if whole && kinds(hosts).len() > 1 {
            let text = format!("the hosts of the cluster run different systems after the update: {now}");
            findings.push(Finding::new("zstack.os_versions_differ", Severity::Warning, text));
        }
    }
    findings
}

/// The systems that these hosts run, such as `2 × centos Core 7.9.2009`; none when ZStack tells none (older builds
/// have them in system tags only).
pub(super) fn systems(hosts: &[Host]) -> Option<String> {
    let kinds: Vec<String> = kinds(hosts).into_iter().map(|(kind, n)| format!("{n} × {kind}")).collect();
    (!kinds.is_empty()).then(|| cut(&kinds.join(", "), MAX_SYSTEMS))
}

fn kinds(hosts: &[Host]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for host in hosts {
        let words = [&host.os_distribution, &host.os_release, &host.os_version];
        let words: Vec<&str> =
            words.into_iter().filter_map(|word| word.as_deref().filter(|w| !w.is_empty())).collect();
        if !words.is_empty() {
            *kinds.entry(words.join(" ")).or_insert(0) += 1;
        }
    }
    kinds
}

fn left_behind(host: &Host) -> Option<Finding> {
    let name = host.name.as_deref().or(host.uuid.as_deref()).unwrap_or("?");
    let finding = if host.state.as_deref() == Some("PreMaintenance") {
        let text =
            format!("host {name} was left in PreMaintenance: enable it again, then look at its packages");
        Finding::new("zstack.host_left_in_pre_maintenance", Severity::Warning, text)
    } else if let Some(status) = host.status.as_deref().filter(|s| *s != "Connected") {
        let text = format!(
            "host {name} is {status} after the update: ZStack reconnects it once and only logs a failure"
        );
        Finding::new("zstack.host_not_reconnected", Severity::Warning, text)
    } else {
        return None;
    };
    Some(finding.about(host.uuid.as_deref().unwrap_or(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(body: &str) -> Vec<Host> {
        serde_json::from_str(body).unwrap()
    }

    fn told(findings: &[Finding]) -> Vec<(&str, Severity)> {
        findings.iter().map(|f| (f.id.as_str(), f.severity)).collect()
    }

    #[test]
    fn systems_are_told_as_they_were_and_are() {
        let after = hosts(
            r#"[{"osDistribution":"helix","osRelease":"8.4r","osVersion":"h84r"},
                {"osDistribution":"helix","osRelease":"8.4r","osVersion":"h84r"},{"uuid":"h3"}]"#,
        );
        let seen = findings(&after, Some("3 × centos 7.6"), true);
        assert_eq!(told(&seen), [("zstack.os_versions", Severity::Info)]);
        assert!(seen[0].message.contains("run 2 × helix 8.4r h84r; before it, 3 × centos 7.6"), "{seen:?}");
        assert!(findings(&hosts(r#"[{"uuid":"h"}]"#), Some("x"), true).is_empty());
    }

    #[test]
    fn hosts_that_differ_are_a_warning_only_where_all_were_updated() {
        let mixed = hosts(r#"[{"osVersion":"7.9"},{"osVersion":"7.6"}]"#);
        let differ = ("zstack.os_versions_differ", Severity::Warning);
        assert!(told(&findings(&mixed, None, true)).contains(&differ));
        assert!(!told(&findings(&mixed, None, false)).contains(&differ));
    }

    #[test]
    fn hosts_left_behind_are_told_by_their_uuid() {
        let seen = findings(
            &hosts(
                r#"[{"uuid":"h1","state":"PreMaintenance","status":"Connected"},
                    {"uuid":"h2","state":"Enabled","status":"Disconnected"},
                    {"uuid":"h3","state":"Enabled","status":"Connected"}]"#,
            ),
            None,
            true,
        );
        let told: Vec<_> = seen.iter().map(|f| (f.id.as_str(), f.subject.as_deref().unwrap())).collect();
        assert_eq!(
            told,
            [("zstack.host_left_in_pre_maintenance", "h1"), ("zstack.host_not_reconnected", "h2")]
        );
    }
}
