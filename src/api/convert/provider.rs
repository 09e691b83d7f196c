//! Providers and what they have, outwards.

use super::time::timestamp;
use super::{job, operation};
use crate::api::pb;
use crate::domain::capability::{CancelSupport, Capability};
use crate::domain::drift::Drift;
use crate::domain::target::{AvailableVersion, Image, TargetKind};
use crate::engine::calls::{DriverView, ProviderHealth, ProviderView, TargetView};

/// A provider.
pub fn provider(view: &ProviderView) -> pb::Provider {
    pb::Provider {
        name: view.id.to_string(),
        vendor: view.vendor.to_owned(),
        endpoint: view.endpoint.clone(),
        labels: view.labels.clone(),
        capabilities: view.capabilities.targets.iter().map(capability).collect(),
        health: Some(health(&view.health)),
        live_jobs: view
            .live_jobs
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(state, count)| pb::LiveJobs { state: job::state(*state).into(), count: *count })
            .collect(),
        warnings: view.warnings.clone(),
        driver: view.driver.as_ref().map(driver),
        drift: view.drift.iter().map(drift).collect(),
    }
}

fn drift(drift: &Drift) -> pb::VendorDrift {
    pb::VendorDrift {
        field: drift.field.clone(),
        sample: drift.sample.clone(),
        count: drift.count,
        first_seen_time: Some(timestamp(drift.first_seen)),
        last_seen_time: Some(timestamp(drift.last_seen)),
    }
}

fn driver(driver: &DriverView) -> pb::Driver {
    pb::Driver {
        replica: driver.replica.clone(),
        replica_id: driver.replica_id.clone(),
        since_time: driver.since.map(timestamp),
        fence: driver.fence,
    }
}

fn health(health: &ProviderHealth) -> pb::ProviderHealth {
    let reachability = match health.reachable {
        Some(false) if health.credentials_refused => pb::Reachability::CredentialsRefused,
        None => pb::Reachability::Unknown,
        Some(true) => pb::Reachability::Reachable,
        Some(false) => pb::Reachability::Unreachable,
    };
    pb::ProviderHealth {
        reachability: reachability.into(),
        last_heard_time: health.last_heard.map(timestamp),
        last_error: health.last_error.clone().unwrap_or_default(),
        last_error_time: health.last_error_time.map(timestamp),
        pause_end_time: health.paused_until.map(timestamp),
        vendor_version: health.version.clone().unwrap_or_default(),
    }
}

fn capability(capability: &Capability) -> pb::Capability {
    let (cancel, cancel_note) = match capability.cancel {
        CancelSupport::Never(why) => (pb::CancelSupport::Never, why),
        CancelSupport::Asked => (pb::CancelSupport::PerJob, ""),
    };
    pb::Capability {
        target_kind: kind(capability.target).into(),
        operations: capability.operations.iter().map(|o| operation::kind(*o).into()).collect(),
        schedules_natively: capability.schedules_natively,
        has_maintenance_windows: capability.has_maintenance_windows,
        cancel: cancel.into(),
        cancel_note: cancel_note.to_owned(),
        has_prechecks: capability.prechecks,
        has_progress: capability.progress,
        lists_versions: capability.lists_versions,
        lists_images: capability.lists_images,
        vendor_batch_size: capability.batch_size,
        lost_answer: capability.lost_answer.to_owned(),
        success_proof: capability.success_proof.to_owned(),
        retry: capability.retry.to_owned(),
    }
}

const fn kind(kind: TargetKind) -> pb::TargetKind {
    match kind {
        TargetKind::Cluster => pb::TargetKind::Cluster,
        TargetKind::Supervisor => pb::TargetKind::Supervisor,
        TargetKind::Instance => pb::TargetKind::Instance,
    }
}

/// A kind of target, inwards; `None` for unspecified or unknown.
pub fn read_kind(value: i32) -> Option<TargetKind> {
    TargetKind::ALL.into_iter().find(|k| kind(*k) as i32 == value)
}

/// A target.
pub fn target(view: TargetView) -> pb::Target {
    let TargetView { info, observe_time, job } = view;
    let under_way = info.under_way.map(|seen| pb::OperationUnderWay {
        message: seen.what,
        vendor_id: seen.vendor_id.unwrap_or_default(),
        vendor_state: seen.vendor_state.unwrap_or_default(),
        vendor_since: seen.vendor_since.unwrap_or_default(),
        observe_time: Some(timestamp(observe_time)),
        job: job::name(job),
    });
    pb::Target {
        under_way,
        name: info.target.to_string(),
        kind: kind(info.target.kind).into(),
        display_name: info.display_name.unwrap_or_default(),
        current_version: info.current_version.unwrap_or_default(),
        vendor_state: info.vendor_state.unwrap_or_default(),
        available_versions: info.available_versions,
        attributes: info.attributes,
    }
}

/// A version.
pub fn version(version: AvailableVersion) -> pb::AvailableVersion {
    pb::AvailableVersion {
        version: version.version,
        display_name: version.name.unwrap_or_default(),
        description: version.description.unwrap_or_default(),
        release_date: version.release_date.unwrap_or_default(),
        channels: version.channels,
    }
}

/// An image.
pub fn image(image: Image) -> pb::Image {
    pb::Image {
        id: image.id,
        display_name: image.name.unwrap_or_default(),
        os_type: image.os_type.unwrap_or_default(),
        vendor_state: image.vendor_state.unwrap_or_default(),
        attributes: image.attributes,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::domain::capability::Capabilities;
    use crate::domain::id::ProviderId;
    use crate::domain::operation::OperationKind;
    use crate::domain::state::JobState;
    use crate::domain::target::{TargetInfo, UnderWay};

    #[test]
    fn every_field_of_a_provider_is_shown() {
        let capability = |cancel| Capability {
            target: TargetKind::Supervisor,
            operations: &[OperationKind::Upgrade],
            schedules_natively: true,
            has_maintenance_windows: true,
            cancel,
            prechecks: true,
            progress: true,
            lists_versions: true,
            lists_images: true,
            batch_size: 50,
            lost_answer: "it is asked",
            success_proof: "it says so",
            retry: "a new one",
        };
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let view = ProviderView {
            id: ProviderId::parse("vc").unwrap(),
            vendor: "vsphere",
            endpoint: "https://vc.example".to_owned(),
            labels: BTreeMap::from([("site".to_owned(), "ams".to_owned())]),
            capabilities: Capabilities {
                targets: vec![capability(CancelSupport::Asked), capability(CancelSupport::Never("no way"))],
                check_batch: 256,
                observe_batch: 1,
                lost_answer_grace: Duration::ZERO,
                lost_answer_limit: Duration::ZERO,
            },
            health: ProviderHealth {
                reachable: Some(false),
                credentials_refused: true,
                last_heard: at(1),
                last_error: Some("refused".to_owned()),
                last_error_time: at(2),
                paused_until: at(3),
                version: Some("9.1".to_owned()),
            },
            live_jobs: BTreeMap::from([(JobState::Running, 2), (JobState::Pending, 0)]),
            warnings: vec!["certificates are not checked".to_owned()],
            driver: Some(DriverView {
                replica: "host-a".to_owned(),
                replica_id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
                since: at(4),
                fence: 7,
            }),
            drift: vec![Drift {
                field: "Task.status".to_owned(),
                sample: "PAUSED".to_owned(),
                count: 3,
                first_seen: Timestamp::from_second(4).unwrap(),
                last_seen: Timestamp::from_second(5).unwrap(),
            }],
        };
        insta::assert_debug_snapshot!(provider(&view));
    }

    #[test]
    fn what_is_under_way_is_shown_with_the_job_that_stands_for_it() {
        let under_way = UnderWay {
            what: "an upgrade".to_owned(),
            vendor_id: Some("id".to_owned()),
            vendor_state: Some("Running".to_owned()),
            vendor_since: Some("Jun 5".to_owned()),
        };
        let info = TargetInfo {
            target: crate::domain::target::Target::parse_name("providers/p/clusters/c").unwrap(),
            display_name: None,
            current_version: None,
            vendor_state: None,
            available_versions: Vec::new(),
            attributes: BTreeMap::new(),
            under_way: Some(under_way),
            under_way_unknown: false,
        };
        let at = Timestamp::from_second(7).unwrap();
        let ours = crate::domain::id::JobId::new(uuid::Uuid::from_u128(7));
        for (job, name) in [(None, String::new()), (Some(ours), ours.to_string())] {
            let shown = target(TargetView { info: info.clone(), observe_time: at, job }).under_way.unwrap();
            assert_eq!((shown.job, shown.observe_time.unwrap().seconds), (name, 7));
            let words = [shown.message, shown.vendor_id, shown.vendor_state, shown.vendor_since];
            assert_eq!(words, ["an upgrade", "id", "Running", "Jun 5"]);
        }
    }

    #[test]
    fn kinds_read_back() {
        for known in TargetKind::ALL {
            assert_eq!(read_kind(kind(known) as i32), Some(known));
        }
        assert_eq!(read_kind(0), None);
    }
}
