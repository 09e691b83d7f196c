//! Which of the two services a vCenter speaks: `software/clusters`, or (since 9.1) `software/supervisors/upgrades`.
//!
//! The older one is deprecated since 9.1, so where both are offered the newer one is spoken. What is offered is found
//! out by asking: vCenter answers an unknown path with 404 and its own envelope, and a known one with something else,
//! be it a refusal. Nothing else is an answer: a proxy's 404, an outage or a vCenter that has neither (its services
//! start one by one) leaves the question open.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::client::Client;
use super::fault;
use crate::domain::error::VendorFault;
use crate::vendors::error::{Reached, VendorError};

/// How long an answer holds. A vCenter that is upgraded, or replaced, is noticed sooner by the calls that it lacks.
const HOLDS: Duration = Duration::from_secs(600);

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// `software/clusters`
    Clusters,
    /// `software/supervisors/upgrades`
    Supervisors,
}

/// Which service a provider speaks, as far as is known.
#[derive(Debug)]
pub(super) struct Services {
    /// What the configuration says; none: ask.
    set: Option<Service>,
    found: Mutex<Option<(Instant, Service)>>,
}

impl Services {
    pub(super) fn new(set: Option<Service>) -> Self {
        Self { set, found: Mutex::default() }
    }

    /// What the configuration says.
    pub(super) const fn set(&self) -> Option<Service> {
        self.set
    }

    /// The service to speak. Callers that come while one asks wait for its answer.
    ///
    /// # Errors
    /// vCenter could not be asked, or its answer tells nothing: always an outage, never a refusal of a job.
    pub(super) async fn spoken(&self, client: &Client) -> Result<Service, VendorError> {
        if let Some(set) = self.set {
            return Ok(set);
        }
        let mut found = self.found.lock().await;
        if let Some((at, service)) = *found
            && at.elapsed() < HOLDS
        {
            return Ok(service);
        }
        let service = ask(client).await?;
        if found.is_none_or(|(_, before)| before != service) {
            tracing::info!(vsphere.service = ?service, "found out which upgrade service the vCenter speaks");
        }
        *found = Some((Instant::now(), service));
        Ok(service)
    }

    /// A call of the service was not there: ask again. Whether that can change anything.
    pub(super) async fn forget(&self) -> bool {
        self.set.is_none() && self.found.lock().await.take().is_some()
    }
}

async fn ask(client: &Client) -> Result<Service, VendorError> {
    if offered(client.supervisors(&[]).await)? {
        return Ok(Service::Supervisors);
    }
    if offered(client.clusters().await)? {
        return Ok(Service::Clusters);
    }
    let text = "vCenter offers neither `software/supervisors/upgrades` nor `software/clusters` now: its Workload \
                Management service may be starting, or this is no vCenter with Supervisors";
    Err(VendorError::new(VendorFault::Unreachable, Reached::No, text))
}

fn offered<T>(answer: Result<T, VendorError>) -> Result<bool, VendorError> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if fault::lacks_call(&error) => Ok(false),
        // A path that refuses us is there.
        Err(error) if error.kind == VendorFault::PermissionDenied && error.code.is_some() => Ok(true),
        Err(error) => {
            let message = format!("vCenter does not tell which upgrade service it offers: {}", error.message);
            Err(fault::as_passing(VendorError { message, ..error }))
        }
    }
}
