//! Requests that start operations, inwards.
//!
//! A request with faults still yields the entries that could be read, so that the engine can add what the vendors'
//! rules say of them and the caller gets every fault at once.

use std::collections::{BTreeMap, HashMap};

use prost::Message;

use super::operation::{UpgradeFields, read_reinstall, read_scheduled, read_upgrade};
use super::{Faults, at, inside};
use crate::api::pb;
use crate::domain::error::FieldViolation;
use crate::domain::id::RequestId;
use crate::domain::operation::Operation;
use crate::domain::target::Target;
use crate::engine::calls::{OnBusy, StartEntry};
use crate::kit::secret::Secret;

/// How many operations one request may start.
pub const MAX_ENTRIES: usize = 1000;

/// A request to start operations, as far as it could be read.
#[derive(Debug, Default)]
pub struct Draft {
    /// The entries that could be read. When there are no faults, all of them, in order.
    pub entries: Vec<StartEntry>,
    /// The caller's idempotency key with the digest of what was asked.
    pub request: Option<(RequestId, [u8; 32])>,
    /// Whether only the plan is wanted.
    pub validate_only: bool,
    /// What to do when a target already has a live job.
    pub on_busy: OnBusy,
    /// Put on every job.
    pub labels: BTreeMap<String, String>,
    /// What was wrong.
    pub faults: Faults,
}

impl Draft {
    /// The common fields of all requests that start something.
    fn new(
        digest: [u8; 32],
        request_id: &str,
        validate_only: bool,
        busy: i32,
        labels: BTreeMap<String, String>,
    ) -> Self {
        let mut faults = Faults::new();
        let request = if request_id.is_empty() {
            None
        } else {
            faults.take("request_id", RequestId::parse(request_id)).map(|id| (id, digest))
        };
        let on_busy = on_busy(&mut faults, busy);
        let labels = faults.labels("labels", labels);
        Self { entries: Vec::new(), request, validate_only, on_busy, labels, faults }
    }

    fn add(
        &mut self,
        field: &str,
        prefix: String,
        target: &str,
        operation: Operation,
        password: Option<Secret>,
    ) {
        if let Some(target) = self.faults.take(field, Target::parse_name(target)) {
            self.entries.push(StartEntry { target, operation, password, field_prefix: prefix });
        }
    }

    /// Refuses more or fewer entries than a request may have.
    fn bound(&mut self, field: &str, count: usize) -> bool {
        let fits = (1..=MAX_ENTRIES).contains(&count);
        if !fits {
            self.faults.add(field, format!("must have 1 to {MAX_ENTRIES} entries, has {count}"));
        }
        fits
    }
}

/// What to do when a target is busy, inwards.
pub(super) fn on_busy(faults: &mut Faults, value: i32) -> OnBusy {
    match pb::OnBusy::try_from(value) {
        Ok(pb::OnBusy::Unspecified | pb::OnBusy::Reject) => OnBusy::Reject,
        Ok(pb::OnBusy::Queue) => OnBusy::Queue,
        Err(_) => {
            faults.add("on_busy", "must be a known value");
            OnBusy::Reject
        }
    }
}

/// The SHA-256 of a request under its RPC's name. The caller clears what does not count: the key, which names the
/// request, and a password, which a digest on disk could betray.
pub(super) fn digest(rpc: &str, request: &impl Message) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(rpc.len() + 1 + request.encoded_len());
    bytes.extend_from_slice(rpc.as_bytes());
    bytes.push(0);
    // Maps are sorted and a vector grows as needed, so this is the same for equal requests and cannot fail.
    bytes.extend_from_slice(&request.encode_to_vec());
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes).as_ref());
    out
}

/// Reads `UpgradeCluster`.
pub fn upgrade(mut request: pb::UpgradeClusterRequest) -> Draft {
    let request_id = std::mem::take(&mut request.request_id);
    let digest = digest("UpgradeCluster", &request);
    let mut draft =
        Draft::new(digest, &request_id, request.validate_only, request.on_busy, request.labels.clone());
    add_upgrade(&mut draft, String::new(), request);
    draft
}

/// Reads `BatchUpgradeClusters`.
pub fn batch_upgrade(mut request: pb::BatchUpgradeClustersRequest) -> Draft {
    let request_id = std::mem::take(&mut request.request_id);
    let digest = digest("BatchUpgradeClusters", &request);
    let mut draft = Draft::new(digest, &request_id, request.validate_only, request.on_busy, request.labels);
    if !draft.bound("requests", request.requests.len()) {
        return draft;
    }
    let names = request.requests.iter().map(|r| r.target.as_str());
    let doubles = doubles(names, |index| inside(&at("requests", index), "target"));
    draft.faults.extend(doubles);
    for (index, entry) in request.requests.into_iter().enumerate() {
        let prefix = at("requests", index);
        let mut must_be_unset = |field: &str, is_set: bool| {
            if is_set {
                draft.faults.add(inside(&prefix, field), "must be unset: the batch's own holds for all");
            }
        };
        must_be_unset("request_id", !entry.request_id.is_empty());
        must_be_unset("validate_only", entry.validate_only);
        must_be_unset("on_busy", entry.on_busy != 0);
        must_be_unset("labels", !entry.labels.is_empty());
        add_upgrade(&mut draft, prefix, entry);
    }
    draft
}

fn add_upgrade(draft: &mut Draft, prefix: String, request: pb::UpgradeClusterRequest) {
    let zstack = request.vendor_options.map(|pb::upgrade_cluster_request::VendorOptions::Zstack(o)| o);
    let fields = UpgradeFields {
        version: request.version,
        ignore_precheck_warnings: request.ignore_precheck_warnings,
        accepted_risks: request.accepted_risks,
        zstack,
    };
    let operation = Operation::Upgrade(read_upgrade(&mut draft.faults, &prefix, fields));
    draft.add(&inside(&prefix, "target"), prefix.clone(), &request.target, operation, None);
}

/// Reads `CheckUpgrade`.
pub fn check(request: pb::CheckUpgradeRequest) -> Draft {
    let zstack = request.vendor_options.map(|pb::check_upgrade_request::VendorOptions::Zstack(o)| o);
    let fields = UpgradeFields {
        version: request.version,
        ignore_precheck_warnings: request.ignore_precheck_warnings,
        accepted_risks: request.accepted_risks,
        zstack,
    };
    let mut draft = Draft { validate_only: true, ..Draft::default() };
    let operation = Operation::Upgrade(read_upgrade(&mut draft.faults, "", fields));
    draft.add("target", String::new(), &request.target, operation, None);
    draft
}

/// Reads `ScheduleUpgrade`.
pub fn schedule(mut request: pb::ScheduleUpgradeRequest) -> Draft {
    let request_id = std::mem::take(&mut request.request_id);
    let digest = digest("ScheduleUpgrade", &request);
    let mut draft = Draft::new(digest, &request_id, request.validate_only, request.on_busy, request.labels);
    let zstack = request.vendor_options.map(|pb::schedule_upgrade_request::VendorOptions::Zstack(o)| o);
    let fields = UpgradeFields {
        version: request.version,
        ignore_precheck_warnings: request.ignore_precheck_warnings,
        accepted_risks: request.accepted_risks,
        zstack,
    };
    let scheduled =
        read_scheduled(&mut draft.faults, fields, request.start_time, request.ignore_maintenance_windows);
    draft.add("target", String::new(), &request.target, Operation::ScheduledUpgrade(scheduled), None);
    draft
}

/// Reads `ReinstallInstances`.
pub fn reinstall(mut request: pb::ReinstallInstancesRequest) -> Draft {
    // Into the type that cannot be printed, before anything else can fail.
    let password = Some(std::mem::take(&mut request.password)).filter(|p| !p.is_empty()).map(Secret::from);
    let request_id = std::mem::take(&mut request.request_id);
    let digest = digest("ReinstallInstances", &request);
    let mut draft = Draft::new(digest, &request_id, request.validate_only, request.on_busy, request.labels);
    let asked = read_reinstall(&mut draft.faults, request.image_id, request.accepted_risks);
    if !draft.bound("targets", request.targets.len()) {
        return draft;
    }
    let doubles = doubles(request.targets.iter().map(String::as_str), |index| at("targets", index));
    draft.faults.extend(doubles);
    for (index, target) in request.targets.iter().enumerate() {
        let field = at("targets", index);
        draft.add(&field, field.clone(), target, Operation::Reinstall(asked.clone()), password.clone());
    }
    draft
}

fn doubles<'a>(names: impl Iterator<Item = &'a str>, path: impl Fn(usize) -> String) -> Vec<FieldViolation> {
    let mut first = HashMap::new();
    let mut doubles = Vec::new();
    for (index, name) in names.enumerate() {
        match first.get(name) {
            Some(earlier) => doubles.push(FieldViolation::new(
                path(index),
                format!("the same target stands at `{}` already", path(*earlier)),
            )),
            None => {
                first.insert(name, index);
            }
        }
    }
    doubles
}

/// A reinstall's fields are said once for all its targets, so a fault that the engine finds for one target's
/// `password` or `image_id` is a fault of the request's.
pub fn reinstall_path(fault: FieldViolation) -> FieldViolation {
    match fault.field.split_once("].") {
        Some((target, "target")) => FieldViolation { field: format!("{target}]"), rule: fault.rule },
        Some((_, shared)) => FieldViolation { field: shared.to_owned(), rule: fault.rule },
        None => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::paths;
    use super::*;
    use crate::kit::secret::ExposeSecret;

    const KEY: &str = "6f1e8bb2-3c2e-4d5b-9a70-6f0a6f0f2c11";

    fn faults(draft: Draft) -> Vec<String> {
        paths(draft.faults.into_error())
    }

    fn labels(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn cluster(name: &str) -> pb::UpgradeClusterRequest {
        pb::UpgradeClusterRequest { target: format!("providers/p/clusters/{name}"), ..Default::default() }
    }

    fn reinstall_request() -> pb::ReinstallInstancesRequest {
        pb::ReinstallInstancesRequest {
            targets: vec!["providers/hw/instances/a".to_owned(), "providers/hw/instances/b".to_owned()],
            image_id: "img".to_owned(),
            password: "CANARY-Passw0rd".to_owned(),
            accepted_risks: vec!["huawei.data_loss".to_owned()],
            request_id: KEY.to_owned(),
            validate_only: false,
            on_busy: pb::OnBusy::Queue.into(),
            labels: labels(&[("a", "1"), ("b", "2")]),
        }
    }

    #[test]
    fn an_upgrade_is_read() {
        let draft = upgrade(pb::UpgradeClusterRequest {
            version: "9.1".to_owned(),
            request_id: KEY.to_owned(),
            validate_only: true,
            on_busy: pb::OnBusy::Queue.into(),
            labels: labels(&[("team", "db")]),
            ..cluster("c1")
        });
        assert!(draft.faults.is_empty());
        assert_eq!(draft.request.unwrap().0.to_string(), KEY);
        assert!(draft.validate_only);
        assert_eq!(draft.on_busy, OnBusy::Queue);
        assert_eq!(draft.labels, labels(&[("team", "db")]));
        assert_eq!(draft.entries.len(), 1);
        assert_eq!(draft.entries[0].target.to_string(), "providers/p/clusters/c1");
        assert_eq!(draft.entries[0].operation.upgrade().unwrap().version.as_deref(), Some("9.1"));
    }

    #[test]
    fn every_fault_of_an_upgrade_is_told_at_once() {
        let request = pb::UpgradeClusterRequest {
            target: "c1".to_owned(),
            version: "a\nb".to_owned(),
            request_id: "x".to_owned(),
            on_busy: 9,
            labels: labels(&[("", "")]),
            ..Default::default()
        };
        assert_eq!(faults(upgrade(request)), ["request_id", "on_busy", "labels[\"\"]", "version", "target"]);
        let nil = pb::UpgradeClusterRequest {
            request_id: "00000000-0000-0000-0000-000000000000".to_owned(),
            ..cluster("a")
        };
        assert_eq!(faults(upgrade(nil)), ["request_id"]);
        assert_eq!(faults(upgrade(pb::UpgradeClusterRequest::default())), ["target"]);
    }

    #[test]
    fn an_entry_that_could_be_read_goes_on_beside_faults() {
        let request = pb::UpgradeClusterRequest { request_id: "x".to_owned(), ..cluster("c1") };
        let draft = upgrade(request);
        assert_eq!(draft.entries.len(), 1);
        assert!(!draft.faults.is_empty());
    }

    #[test]
    fn a_batch_says_what_holds_for_all_once() {
        let entry = pb::UpgradeClusterRequest {
            request_id: KEY.to_owned(),
            validate_only: true,
            on_busy: 1,
            labels: labels(&[("a", "b")]),
            ..cluster("c2")
        };
        let request = pb::BatchUpgradeClustersRequest {
            requests: vec![cluster("c1"), entry, cluster("c1"), pb::UpgradeClusterRequest::default()],
            ..Default::default()
        };
        let expected = [
            "requests[2].target",
            "requests[1].request_id",
            "requests[1].validate_only",
            "requests[1].on_busy",
            "requests[1].labels",
            "requests[3].target",
        ];
        assert_eq!(faults(batch_upgrade(request)), expected);
    }

    #[test]
    fn batches_are_bounded() {
        let of = |count: usize| {
            let requests = (0..count).map(|i| cluster(&format!("c{i}"))).collect();
            batch_upgrade(pb::BatchUpgradeClustersRequest { requests, ..Default::default() })
        };
        assert_eq!(faults(of(0)), ["requests"]);
        assert_eq!(faults(of(MAX_ENTRIES + 1)), ["requests"]);
        let full = of(MAX_ENTRIES);
        assert!(full.faults.is_empty());
        assert_eq!(full.entries.len(), MAX_ENTRIES);
        assert_eq!(full.entries[999].field_prefix, "requests[999]");
        let none = pb::ReinstallInstancesRequest { targets: Vec::new(), ..reinstall_request() };
        assert_eq!(faults(reinstall(none)), ["targets"]);
    }

    #[test]
    fn a_schedule_is_read_with_its_faults() {
        let start = prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 };
        let request = pb::ScheduleUpgradeRequest {
            target: "providers/av/clusters/c".to_owned(),
            start_time: Some(start),
            ignore_maintenance_windows: Some(true),
            ..Default::default()
        };
        let draft = schedule(request.clone());
        assert!(draft.faults.is_empty());
        let Operation::ScheduledUpgrade(read) = &draft.entries[0].operation else { panic!() };
        assert_eq!(read.start_time.unwrap().as_second(), 1_800_000_000);
        assert_eq!(read.ignore_maintenance_windows, Some(true));
        let broken = prost_types::Timestamp { seconds: 0, nanos: -1 };
        let request = pb::ScheduleUpgradeRequest {
            start_time: Some(broken),
            target: "providers/av".to_owned(),
            ..request
        };
        assert_eq!(faults(schedule(request)), ["start_time", "target"]);
    }

    #[test]
    fn a_check_is_read_with_its_faults() {
        let request = pb::CheckUpgradeRequest { target: "c".to_owned(), ..Default::default() };
        assert_eq!(faults(check(request)), ["target"]);
    }

    #[test]
    fn a_reinstall_gives_every_target_what_is_said_once() {
        let draft = reinstall(reinstall_request());
        assert!(draft.faults.is_empty());
        assert_eq!(draft.entries.len(), 2);
        for entry in &draft.entries {
            let Operation::Reinstall(asked) = &entry.operation else { panic!() };
            assert_eq!(asked.image_id.as_deref(), Some("img"));
            assert_eq!(asked.accepted_risks, ["huawei.data_loss"]);
            assert_eq!(entry.password.as_ref().unwrap().expose_secret(), "CANARY-Passw0rd");
        }
    }

    #[test]
    fn a_reinstall_names_faulty_targets_by_their_place() {
        let mut request = reinstall_request();
        request.targets.push("i-3".to_owned());
        request.targets.push("providers/hw/instances/a".to_owned());
        request.image_id = "x".repeat(129);
        assert_eq!(faults(reinstall(request)), ["image_id", "targets[3]", "targets[2]"]);
        let path = |field: &str| reinstall_path(FieldViolation::new(field, "r")).field;
        assert_eq!(path("targets[3].target"), "targets[3]");
        assert_eq!(path("targets[3].password"), "password");
        assert_eq!(path("targets[3].accepted_risks[1]"), "accepted_risks[1]");
        assert_eq!(path("image_id"), "image_id");
    }

    #[test]
    fn a_password_is_never_printed() {
        assert!(!format!("{:?}", reinstall_request()).contains("CANARY"));
        assert!(!format!("{:?}", reinstall(reinstall_request())).contains("CANARY"));
    }

    #[test]
    fn the_digest_tells_requests_apart_but_not_keys_and_passwords() {
        let of = |change: fn(&mut pb::ReinstallInstancesRequest)| {
            let mut request = reinstall_request();
            change(&mut request);
            reinstall(request).request.unwrap().1
        };
        let same = of(|_| {});
        assert_eq!(same, of(|r| r.request_id = "11111111-1111-4111-8111-111111111111".to_owned()));
        assert_eq!(same, of(|r| r.password = "another".to_owned()));
        assert_eq!(same, of(|r| r.labels = labels(&[("b", "2"), ("a", "1")])));
        assert_ne!(same, of(|r| r.image_id = "other".to_owned()));
        assert_ne!(same, of(|r| r.targets.swap(0, 1)));
        assert_ne!(same, of(|r| r.labels = labels(&[("a", "1")])));
        assert_ne!(same, of(|r| r.on_busy = 0));
    }

    #[test]
    fn the_same_fields_under_another_rpc_are_another_request() {
        let now = upgrade(pb::UpgradeClusterRequest { request_id: KEY.to_owned(), ..cluster("c1") });
        let later = schedule(pb::ScheduleUpgradeRequest {
            target: "providers/p/clusters/c1".to_owned(),
            request_id: KEY.to_owned(),
            ..Default::default()
        });
        assert_ne!(now.request.unwrap().1, later.request.unwrap().1);
    }
}
