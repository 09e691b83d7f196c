//! Prechecks, and the baseline that tells our reinstall from an earlier one.
//!
//! An image that IMS does not let us see is a warning, not an error: an account may reinstall without a right to
//! read IMS, and some networks do not reach IMS at all. A caller who knows the image accepts
//! `huawei.image_unchecked` by name. Only "too many requests" is passed on, since it passes by itself.

use std::collections::HashMap;

use super::client::Client;
use super::look::{Sight, look};
use super::map;
use super::notes::Notes;
use super::wanted_image;
use super::wire::{CloudImage, Instance};
use crate::domain::error::VendorFault;
use crate::domain::finding::{Finding, Severity};
use crate::vendors::contract::{CheckReport, Planned};
use crate::vendors::error::VendorError;

/// Checks every job: one list call for each hundred instances, one image call for each different image.
pub(super) async fn check(client: &Client, batch: &[Planned]) -> Vec<Result<CheckReport, VendorError>> {
    let ids: Vec<&str> = batch.iter().map(|p| &*p.target.id).collect();
    let sights = look(client, &ids).await;
    let mut images: HashMap<&str, Result<Option<CloudImage>, VendorError>> = HashMap::new();
    for image_id in batch.iter().filter_map(wanted_image) {
        if !images.contains_key(image_id) {
            images.insert(image_id, image(client, image_id).await);
        }
    }
    batch
        .iter()
        .zip(sights)
        .map(|(planned, sight)| {
            let mut report = of_instance(sight?);
            if let Some(image_id) = wanted_image(planned)
                && let Some(image) = images.get(image_id)
            {
                match image {
                    Err(error) if error.kind == VendorFault::RateLimited => return Err(error.again()),
                    image => report.findings.extend(of_image(image_id, image)),
                }
            }
            Ok(report)
        })
        .collect()
}

async fn image(client: &Client, id: &str) -> Result<Option<CloudImage>, VendorError> {
    let images = client.images(&[("id", id), ("limit", "10")]).await?;
    Ok(images.into_iter().find(|i| i.id.as_deref().is_some_and(|found| found.eq_ignore_ascii_case(id))))
}

pub(super) fn of_instance(sight: Sight) -> CheckReport {
    let instance = match sight {
        Sight::Seen(instance) => instance,
        Sight::Gone(vendor_said) => {
            let text =
                format!("CloudDC does not know this instance in the configured project ({vendor_said})");
            return CheckReport {
                findings: vec![Finding::new("huawei.instance_not_found", Severity::Error, text)],
                ..CheckReport::default()
            };
        }
    };
    let foreign = map::busy_with(&instance);
    let mut findings = Vec::new();
    if foreign.is_none() {
        findings.extend(not_running(&instance));
    }
    CheckReport { findings, handle: Some(Notes::before(&instance).handle()), foreign }
}

fn not_running(instance: &Instance) -> Option<Finding> {
    let text = match instance.state.as_deref() {
        Some("running") => return None,
        Some("stopped") => {
            "the instance is `stopped`; power it on first: CloudDC reinstalls only running ones".to_owned()
        }
        Some(state) => {
            format!("the instance is `{state}`; CloudDC reinstalls only instances that are `running`")
        }
        None => "CloudDC tells no state of this instance; only `running` ones can be reinstalled".to_owned(),
    };
    Some(Finding::new("huawei.instance_not_running", Severity::Error, text))
}

pub(super) fn of_image(id: &str, image: &Result<Option<CloudImage>, VendorError>) -> Vec<Finding> {
    let finding = |rule, severity, text: String| vec![Finding::new(rule, severity, text).about(id)];
    let image = match image {
        Ok(Some(image)) => image,
        Ok(None) => {
            let text = "IMS does not know this image in the configured project and region".to_owned();
            return finding("huawei.image_not_found", Severity::Error, text);
        }
        Err(error) => {
            let text = format!("the image could not be looked up in IMS, so it is unchecked: {error}");
            return finding("huawei.image_unchecked", Severity::Warning, text);
        }
    };
    if let Some(status) = image.status.as_deref().filter(|s| *s != "active") {
        let text = format!("the image is `{status}`; only an `active` one can be installed");
        return finding("huawei.image_not_active", Severity::Error, text);
    }
    let mut findings = Vec::new();
    if let Some(kind) = image.imagetype.as_deref().filter(|k| *k != "private") {
        let text = format!("the image is `{kind}`; CloudDC documents reinstalls with `private` images only");
        findings.extend(finding("huawei.image_not_private", Severity::Warning, text));
    }
    if let Some(kind) = image.virtual_env_type.as_deref().filter(|k| *k != "Ironic") {
        let text = format!("the image is made for `{kind}`, not for bare metal (`Ironic`); it may not boot");
        findings.extend(finding("huawei.image_not_bare_metal", Severity::Warning, text));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(state: Option<&str>, operation: Option<&str>) -> CheckReport {
        let instance = Instance {
            state: state.map(str::to_owned),
            operation_state: operation.map(str::to_owned),
            ..Instance::default()
        };
        of_instance(Sight::Seen(Box::new(instance)))
    }

    #[test]
    fn a_running_instance_is_clear_whatever_its_last_operation_was() {
        for operation in [None, Some("reinstall-succeed"), Some("install-succeed"), Some("modify-ip-failed")]
        {
            let report = seen(Some("running"), operation);
            assert!(report.findings.is_empty() && report.foreign.is_none(), "{operation:?}");
            assert!(report.handle.is_some());
        }
    }

    #[test]
    fn somebody_elses_operation_is_foreign_and_no_error_so_that_a_queue_can_wait() {
        for (state, operation) in [
            ("running", Some("reinstall-processing")),
            ("running", Some("uninstall-processing")),
            ("pending", None),
            ("reinstalling", None),
            ("switch-installing", None),
            ("modifyIping", None),
        ] {
            let report = seen(Some(state), operation);
            assert!(report.foreign.is_some() && report.findings.is_empty(), "{state} {operation:?}");
        }
    }

    #[test]
    fn any_other_state_is_an_error() {
        for state in ["stopped", "stopping", "shutting-down", "terminated", "failed", "error", "BRAND_NEW"] {
            let report = seen(Some(state), Some("install-succeed"));
            assert_eq!(report.findings[0].id, "huawei.instance_not_running");
            assert_eq!(report.findings[0].severity, Severity::Error);
        }
        assert_eq!(seen(None, None).findings[0].id, "huawei.instance_not_running");
        let gone = of_instance(Sight::Gone("iMetal.0200: x".to_owned()));
        assert_eq!(gone.findings[0].id, "huawei.instance_not_found");
    }

    #[test]
    fn images_are_judged_by_what_ims_says() {
        let ids = |image: Result<Option<CloudImage>, VendorError>| -> Vec<String> {
            of_image("i", &image).into_iter().map(|f| f.id).collect()
        };
        let good = CloudImage {
            status: Some("active".to_owned()),
            imagetype: Some("private".to_owned()),
            virtual_env_type: Some("Ironic".to_owned()),
            ..CloudImage::default()
        };
        assert!(ids(Ok(Some(good.clone()))).is_empty());
        assert!(ids(Ok(Some(CloudImage::default()))).is_empty());
        assert_eq!(ids(Ok(None)), ["huawei.image_not_found"]);
        let saving = CloudImage { status: Some("saving".to_owned()), ..good.clone() };
        assert_eq!(ids(Ok(Some(saving))), ["huawei.image_not_active"]);
        let gold = CloudImage {
            imagetype: Some("gold".to_owned()),
            virtual_env_type: Some("FusionCompute".to_owned()),
            ..good
        };
        assert_eq!(ids(Ok(Some(gold))), ["huawei.image_not_private", "huawei.image_not_bare_metal"]);
        assert_eq!(ids(Err(VendorError::garbled("x"))), ["huawei.image_unchecked"]);
    }
}
