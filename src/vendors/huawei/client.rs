//! The calls: CloudDC's instances and IMS's images, each with its bound.

use std::collections::HashMap;

use url::Url;

use super::auth::{Auth, JSON};
use super::config::Config;
use super::documented::{IMAGE, INSTANCE};
use super::read::{self, InstancesPage};
use super::wire::{CloudImage, Instance, ReinstallBody};
use crate::domain::drift::Drift;
use crate::kit::clock::Clock;
use crate::kit::permit::Permit;
use crate::kit::secret::{ExposeSecret, Secret};
use crate::vendors::drift::Is;
use crate::vendors::error::VendorError;
use crate::vendors::http::{Call, HttpClient, Reply, Verb};
use crate::vendors::redact::redact;

/// How many ids `ListInstances` takes in one filter.
pub(super) const IDS_PER_LIST: usize = 100;
/// `ListInstances` gives at least this many entries, whatever smaller `limit` is sent.
pub(super) const MIN_LIMIT: usize = 10;
/// With pages of at least [`MIN_LIMIT`] this many pages hold [`IDS_PER_LIST`] instances.
const PAGES_PER_LIST: usize = IDS_PER_LIST / MIN_LIMIT;

/// One project's way to CloudDC and IMS.
#[derive(Debug)]
pub(super) struct Client {
    http: HttpClient,
    auth: Auth,
    clouddc: Url,
    ims: Url,
}

/// One request, before it is stamped; it may be stamped and sent twice.
struct Request {
    verb: Verb,
    url: Url,
    route: &'static str,
    body: Option<zeroize::Zeroizing<Vec<u8>>>,
    permit: Option<Permit>,
}

impl Client {
    pub(super) fn new(clouddc: Url, config: Config, http: HttpClient, clock: Clock) -> Self {
        let Config { project, ims, credentials } = config;
        let auth = Auth::new(credentials, project, http.clone(), clock);
        Self { http, auth, clouddc, ims }
    }

    /// `PUT /v1/{project_id}/instances/reinstall`. Any answer comes back, without the password.
    ///
    /// # Errors
    /// No answer. `reached` is `No` when no pass could be had or no connection came about.
    pub(super) async fn reinstall(
        &self,
        image_id: Option<&str>,
        password: &Secret,
        ids: &[&str],
        permit: &Permit,
    ) -> Result<Reply, VendorError> {
        let body = ReinstallBody { image_id, password: password.expose_secret(), instance_id_set: ids };
        // Text and a list of text: serialising to memory cannot fail.
        let body = zeroize::Zeroizing::new(serde_json::to_vec(&body).unwrap_or_default());
        let reply = self
            .send(Request {
                verb: Verb::Put,
                url: self.path(&["instances", "reinstall"]).await?,
                route: "/v1/{project_id}/instances/reinstall",
                body: Some(body),
                permit: Some(permit.clone()),
            })
            .await?;
        Ok(redact(reply, &[password]))
    }

    /// `GET /v1/{project_id}/instances/{id}/status`: only the state members are filled.
    pub(super) async fn status(&self, id: &str) -> Result<Instance, VendorError> {
        let url = self.path(&["instances", id, "status"]).await?;
        let route = "/v1/{project_id}/instances/{instance_id}/status";
        read::status(&self.send_get(url, route, Is::Shaped(&INSTANCE)).await?, id)
    }

    /// One page of `GET /v1/{project_id}/instances`.
    pub(super) async fn instances_page(
        &self,
        limit: usize,
        marker: Option<&str>,
    ) -> Result<InstancesPage, VendorError> {
        self.list(&[], limit, marker).await
    }

    /// The instances with these ids (at most [`IDS_PER_LIST`]) that the vendor lists, by id.
    pub(super) async fn instances(
        &self,
        ids: &[&str],
    ) -> Result<HashMap<String, Result<Instance, VendorError>>, VendorError> {
        let mut found = HashMap::with_capacity(ids.len());
        let mut marker = None;
        for _ in 0..PAGES_PER_LIST {
            let page = self.list(ids, ids.len().max(MIN_LIMIT), marker.as_deref()).await?;
            for item in page.items {
                let id = match &item {
                    Ok(instance) => instance.id.clone(),
                    Err(error) => error.code.clone(),
                };
                if let Some(id) = id.and_then(|id| ids.iter().find(|want| want.eq_ignore_ascii_case(&id))) {
                    found.insert((*id).to_owned(), item);
                }
            }
            if found.len() >= ids.len() || page.next_marker.is_none() || page.next_marker == marker {
                break;
            }
            marker = page.next_marker;
        }
        Ok(found)
    }

    async fn list(
        &self,
        ids: &[&str],
        limit: usize,
        marker: Option<&str>,
    ) -> Result<InstancesPage, VendorError> {
        let mut url = self.path(&["instances"]).await?;
        {
            let mut query = url.query_pairs_mut();
            // The documents contradict each other on the default, so it is always sent.
            query.append_pair("limit", &limit.to_string());
            if let Some(marker) = marker {
                query.append_pair("marker", marker);
            }
            if !ids.is_empty() {
                query.append_pair("instance_id", &ids.join(","));
            }
        }
        let route = "/v1/{project_id}/instances";
        read::instances(&self.send_get(url, route, Is::Inside("instances", &INSTANCE)).await?)
    }

    /// One page of `GET {ims}/v2/cloudimages` with these filters.
    pub(super) async fn images(&self, filters: &[(&str, &str)]) -> Result<Vec<CloudImage>, VendorError> {
        let mut url = Call::join(&self.ims, &["v2", "cloudimages"]);
        url.query_pairs_mut().extend_pairs(filters);
        read::images(&self.send_get(url, "/v2/cloudimages", Is::Inside("images", &IMAGE)).await?)
    }

    /// What was heard that Huawei does not document.
    pub(super) fn drift(&self) -> Vec<Drift> {
        self.http.drift()
    }

    /// Forgets the token.
    pub(super) async fn close(&self) {
        self.auth.forget().await;
    }

    async fn path(&self, rest: &[&str]) -> Result<Url, VendorError> {
        let project = self.auth.project_id().await?;
        let mut segments = vec!["v1", project.as_str()];
        segments.extend_from_slice(rest);
        Ok(Call::join(&self.clouddc, &segments))
    }

    async fn send_get(&self, url: Url, route: &'static str, documented: Is) -> Result<Reply, VendorError> {
        let reply = self.send(Request { verb: Verb::Get, url, route, body: None, permit: None }).await?;
        Ok(self.http.looked_at(reply, documented))
    }

    /// Sends; when the vendor refuses the token, once more with a fresh one. A 401 has no effect at the vendor, so
    /// that is safe for a reinstall, too.
    async fn send(&self, request: Request) -> Result<Reply, VendorError> {
        let pass = self.auth.pass(None).await?;
        let reply = self.http.send(self.auth.stamp(request.call(), request.verb, &pass)).await?;
        if reply.status != http::StatusCode::UNAUTHORIZED || !pass.is_renewable() {
            return Ok(pass.redact(reply));
        }
        let pass = self.auth.pass(Some(&pass)).await?;
        let reply = self.http.send(self.auth.stamp(request.call(), request.verb, &pass)).await?;
        Ok(pass.redact(reply))
    }
}

impl Request {
    fn call(&self) -> Call {
        let call = Call::new(self.verb, self.url.clone(), self.route).header("accept", "application/json");
        let call = match &self.permit {
            Some(permit) => call.under(permit),
            None => call,
        };
        match &self.body {
            Some(body) => call.bytes(JSON, body.to_vec()),
            None => call,
        }
    }
}
