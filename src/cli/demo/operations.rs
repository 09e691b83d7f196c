//! One operation of each kind, as a caller would start it.

use std::collections::BTreeMap;

use tonic::transport::Channel;

use super::{CALL_DEADLINE, DemoError};
use crate::api::pb;
use crate::api::pb::provider_service_client::ProviderServiceClient;
use crate::api::pb::reinstall_service_client::ReinstallServiceClient;
use crate::api::pb::schedule_service_client::ScheduleServiceClient;
use crate::api::pb::upgrade_service_client::UpgradeServiceClient;
use crate::cli::fleet::Fleet;
use crate::kit::clock::Clock;

/// A job that was started, with the words to show it by.
pub(super) struct Started {
    pub(super) job: pb::Job,
    /// The vendor's name for the operation.
    pub(super) title: &'static str,
    /// Another cluster of the same provider, for the reader to try.
    pub(super) spare: Option<String>,
}

struct Caller {
    channel: Channel,
}

/// Starts the operations of every vendor in the fleet.
pub(super) async fn start(fleet: &Fleet, channel: Channel) -> Result<Vec<Started>, DemoError> {
    let caller = Caller { channel };
    let mut started = Vec::new();
    for (id, simulator) in fleet.each() {
        let provider = format!("providers/{id}");
        match simulator.vendor() {
            "zstack" => caller.zstack(&provider, &mut started).await?,
            "vsphere" => caller.vsphere(&provider, &mut started).await?,
            "avisi" => caller.avisi(&provider, &mut started).await?,
            "huawei" => caller.huawei(&provider, &mut started).await?,
            // A vendor that the demo has no example for yet.
            _ => {}
        }
    }
    Ok(started)
}

impl Caller {
    /// ZStack's `UpdateClusterOS`, with packages held back.
    async fn zstack(&self, provider: &str, started: &mut Vec<Started>) -> Result<(), DemoError> {
        let targets = self.targets(provider, pb::TargetKind::Cluster).await?;
        let Some(target) = targets.first() else { return Ok(()) };
        let options = pb::ZstackUpgradeOptions {
            exclude_packages: vec!["kernel*".to_owned(), "qemu*".to_owned()],
            ..Default::default()
        };
        let request = pb::UpgradeClusterRequest {
            vendor_options: Some(pb::upgrade_cluster_request::VendorOptions::Zstack(options)),
            request_id: request_id(),
            ..upgrade(target)
        };
        let job = self.upgrade(request).await?;
        started.extend(one(job, "UpdateClusterOS", targets.get(1)));
        Ok(())
    }

    /// vSphere's `upgradeMultiple`, for two clusters in one call, and a Supervisor upgrade.
    async fn vsphere(&self, provider: &str, started: &mut Vec<Started>) -> Result<(), DemoError> {
        let clusters = self.targets(provider, pb::TargetKind::Cluster).await?;
        let mut requests = Vec::new();
        for target in clusters.iter().take(2) {
            requests
                .push(pb::UpgradeClusterRequest { version: self.version(target).await?, ..upgrade(target) });
        }
        let request =
            pb::BatchUpgradeClustersRequest { requests, request_id: request_id(), ..Default::default() };
        let answer = UpgradeServiceClient::new(self.channel.clone())
            .batch_upgrade_clusters(within(request))
            .await
            .map_err(DemoError::call("BatchUpgradeClusters"))?;
        for result in answer.into_inner().results {
            started.extend(one(job_of(result)?, "upgradeMultiple", clusters.get(2)));
        }
        let supervisors = self.targets(provider, pb::TargetKind::Supervisor).await?;
        if let Some(target) = supervisors.first() {
            let request = pb::UpgradeClusterRequest {
                version: self.version(target).await?,
                request_id: request_id(),
                ..upgrade(target)
            };
            let job = self.upgrade(request).await?;
            started.extend(one(job, "supervisor upgrade", None));
        }
        Ok(())
    }

    /// Avisi's scheduled upgrade, some seconds from now.
    async fn avisi(&self, provider: &str, started: &mut Vec<Started>) -> Result<(), DemoError> {
        let targets = self.targets(provider, pb::TargetKind::Cluster).await?;
        let Some(target) = targets.first() else { return Ok(()) };
        let at = Clock::system().now().as_second().saturating_add(5);
        let request = pb::ScheduleUpgradeRequest {
            target: target.name.clone(),
            version: self.version(target).await?,
            start_time: Some(prost_types::Timestamp { seconds: at, nanos: 0 }),
            ignore_maintenance_windows: Some(true),
            request_id: request_id(),
            labels: labels(),
            ..Default::default()
        };
        let answer = ScheduleServiceClient::new(self.channel.clone())
            .schedule_upgrade(within(request))
            .await
            .map_err(DemoError::call("ScheduleUpgrade"))?;
        started.extend(one(answer.into_inner().job, "scheduled upgrade", None));
        Ok(())
    }

    /// Huawei's reinstall, of two instances in one call.
    async fn huawei(&self, provider: &str, started: &mut Vec<Started>) -> Result<(), DemoError> {
        let targets = self.targets(provider, pb::TargetKind::Instance).await?;
        let images = ReinstallServiceClient::new(self.channel.clone())
            .list_images(within(pb::ListImagesRequest { parent: provider.to_owned(), ..Default::default() }))
            .await
            .map_err(DemoError::call("ListImages"))?
            .into_inner()
            .images;
        let Some(image) = images.first() else { return Ok(()) };
        let request = pb::ReinstallInstancesRequest {
            targets: targets.iter().take(2).map(|target| target.name.clone()).collect(),
            image_id: image.id.clone(),
            // For machines that do not exist; even so, no run has the password of another.
            password: format!("Dd_{}", &uuid::Uuid::new_v4().simple().to_string()[..16]),
            request_id: request_id(),
            labels: labels(),
            ..Default::default()
        };
        let answer = ReinstallServiceClient::new(self.channel.clone())
            .reinstall_instances(within(request))
            .await
            .map_err(DemoError::call("ReinstallInstances"))?;
        for result in answer.into_inner().results {
            started.extend(one(job_of(result)?, "OS reinstall", None));
        }
        Ok(())
    }

    async fn upgrade(&self, request: pb::UpgradeClusterRequest) -> Result<Option<pb::Job>, DemoError> {
        let answer = UpgradeServiceClient::new(self.channel.clone())
            .upgrade_cluster(within(request))
            .await
            .map_err(DemoError::call("UpgradeCluster"))?;
        Ok(answer.into_inner().job)
    }

    async fn targets(&self, provider: &str, kind: pb::TargetKind) -> Result<Vec<pb::Target>, DemoError> {
        let request =
            pb::ListTargetsRequest { parent: provider.to_owned(), kind: kind.into(), ..Default::default() };
        let answer = ProviderServiceClient::new(self.channel.clone())
            .list_targets(within(request))
            .await
            .map_err(DemoError::call("ListTargets"))?;
        Ok(answer.into_inner().targets)
    }

    /// A version that a target can be brought to: what the target itself offers, or the vendor's list.
    async fn version(&self, target: &pb::Target) -> Result<String, DemoError> {
        if let Some(offered) = target.available_versions.first() {
            return Ok(offered.clone());
        }
        let request = pb::ListAvailableVersionsRequest { target: target.name.clone() };
        let answer = UpgradeServiceClient::new(self.channel.clone())
            .list_available_versions(within(request))
            .await
            .map_err(DemoError::call("ListAvailableVersions"))?;
        Ok(answer.into_inner().versions.first().map(|version| version.version.clone()).unwrap_or_default())
    }
}

fn upgrade(target: &pb::Target) -> pb::UpgradeClusterRequest {
    pb::UpgradeClusterRequest { target: target.name.clone(), ..Default::default() }
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("made-by".to_owned(), "demo".to_owned())])
}

fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn within<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(CALL_DEADLINE);
    request
}

fn job_of(result: pb::StartResult) -> Result<Option<pb::Job>, DemoError> {
    match result.outcome {
        Some(pb::start_result::Outcome::Job(job)) => Ok(Some(job)),
        Some(pb::start_result::Outcome::Error(status)) => Err(DemoError::Call {
            what: "one start of a batch",
            code: tonic::Code::from_i32(status.code),
            message: status.message,
        }),
        Some(pb::start_result::Outcome::Plan(_)) | None => Ok(None),
    }
}

fn one(job: Option<pb::Job>, title: &'static str, spare: Option<&pb::Target>) -> Option<Started> {
    job.map(|job| Started { job, title, spare: spare.map(|target| target.name.clone()) })
}
