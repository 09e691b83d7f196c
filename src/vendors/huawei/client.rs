//! The calls: CloudDC's instances and IMS's images, each with its bound.

use std::collections::HashMap;

use serde::Deserialize as _;
use serde_json::Value;
use url::Url;

use super::auth::{Auth, JSON};
use super::config::Config;
use super::documented::{IMAGE, INSTANCE};
use super::wire::{CloudImage, ImagesReply, Instance, InstancesReply, ReinstallBody};
use super::{fault, redact};
use crate::domain::drift::Drift;
use crate::kit::clock::Clock;
use crate::kit::secret::{ExposeSecret, Secret};
use crate::vendors::drift::Is;
use crate::vendors::error::{Reached, VendorError};
use crate::vendors::http::{Call, HttpClient, Reply, Verb};

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
    project_id: String,
}

/// One request, before it is stamped; it may be stamped and sent twice.
struct Request {
    verb: Verb,
    url: Url,
    route: &'static str,
    body: Option<zeroize::Zeroizing<Vec<u8>>>,
}

/// A page of instances, each read for itself.
#[derive(Debug)]
pub(super) struct InstancesPage {
    pub items: Vec<Result<Instance, VendorError>>,
    pub next_marker: Option<String>,
}

impl Client {
    pub(super) fn new(clouddc: Url, config: Config, http: HttpClient, clock: Clock) -> Self {
        let Config { project_id, ims, credentials } = config;
        let auth = Auth::new(credentials, project_id.clone(), http.clone(), clock);
        Self { http, auth, clouddc, ims, project_id }
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
    ) -> Result<Reply, VendorError> {
        let body = ReinstallBody { image_id, password: password.expose_secret(), instance_id_set: ids };
        // Text and a list of text: serialising to memory cannot fail.
        let body = zeroize::Zeroizing::new(serde_json::to_vec(&body).unwrap_or_default());
        let reply = self
            .send(Request {
                verb: Verb::Put,
                url: self.path(&["instances", "reinstall"]),
                route: "/v1/{project_id}/instances/reinstall",
                body: Some(body),
            })
            .await?;
        Ok(redact(reply, password))
    }

    /// `GET /v1/{project_id}/instances/{id}/status`: only the state members are filled.
    pub(super) async fn status(&self, id: &str) -> Result<Instance, VendorError> {
        let url = self.path(&["instances", id, "status"]);
        let route = "/v1/{project_id}/instances/{instance_id}/status";
        let mut instance: Instance = self.get(url, route, Is::Shaped(&INSTANCE)).await?.json()?;
        instance.id = Some(id.to_owned());
        Ok(instance)
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
        let mut url = self.path(&["instances"]);
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
        let documented = Is::Inside("instances", &INSTANCE);
        let reply: InstancesReply = self.get(url, "/v1/{project_id}/instances", documented).await?.json()?;
        let Some(items) = reply.instances else {
            return Err(VendorError::garbled("the list of instances has no member `instances`"));
        };
        Ok(InstancesPage {
            items: items.into_iter().map(one_instance).collect(),
            next_marker: reply.page_info.and_then(|p| p.next_marker).and_then(|m| marker_of(&m)),
        })
    }

    /// One page of `GET {ims}/v2/cloudimages` with these filters.
    pub(super) async fn images(&self, filters: &[(&str, &str)]) -> Result<Vec<CloudImage>, VendorError> {
        let mut url = Call::join(&self.ims, &["v2", "cloudimages"]);
        url.query_pairs_mut().extend_pairs(filters);
        let reply: ImagesReply =
            self.get(url, "/v2/cloudimages", Is::Inside("images", &IMAGE)).await?.json()?;
        reply.images.ok_or_else(|| VendorError::garbled("the list of images has no member `images`"))
    }

    /// What was heard that Huawei does not document.
    pub(super) fn drift(&self) -> Vec<Drift> {
        self.http.drift()
    }

    /// Forgets the token.
    pub(super) async fn close(&self) {
        self.auth.forget().await;
    }

    fn path(&self, rest: &[&str]) -> Url {
        let mut segments = vec!["v1", self.project_id.as_str()];
        segments.extend_from_slice(rest);
        Call::join(&self.clouddc, &segments)
    }

    async fn get(&self, url: Url, route: &'static str, documented: Is) -> Result<Reply, VendorError> {
        let reply = self.send(Request { verb: Verb::Get, url, route, body: None }).await?;
        let reply = self.http.looked_at(reply, documented);
        if reply.status.is_success() { Ok(reply) } else { Err(fault::of(&reply)) }
    }

    /// Sends; when the vendor refuses the token, once more with a fresh one. A 401 has no effect at the vendor, so
    /// that is safe for a reinstall, too.
    async fn send(&self, request: Request) -> Result<Reply, VendorError> {
        let pass = self.auth.pass(None).await?;
        let reply = self.http.send(self.auth.stamp(request.call(), request.verb, &pass)).await?;
        if reply.status != http::StatusCode::UNAUTHORIZED || !pass.is_renewable() {
            return Ok(reply);
        }
        let pass = self.auth.pass(Some(&pass)).await?;
        self.http.send(self.auth.stamp(request.call(), request.verb, &pass)).await
    }
}

impl Request {
    fn call(&self) -> Call {
        let call = Call::new(self.verb, self.url.clone(), self.route).header("accept", "application/json");
        match &self.body {
            Some(body) => call.bytes(JSON, body.to_vec()),
            None => call,
        }
    }
}

/// Reads one entry of a list. An odd one is an error that carries the entry's id as its code.
fn one_instance(entry: Value) -> Result<Instance, VendorError> {
    Instance::deserialize(&entry).map_err(|_| {
        let error =
            VendorError::garbled("the vendor's entry for this instance does not have the documented shape")
                .with_reached(Reached::Yes);
        match entry.get("id").and_then(Value::as_str) {
            Some(id) => error.with_code(id),
            None => error,
        }
    })
}

/// The marker of the next page. The documents call it both a cursor and the next page's address.
fn marker_of(text: &str) -> Option<String> {
    let marker = match text.split_once('?') {
        Some((_, query)) => {
            let mut pairs = url::form_urlencoded::parse(query.as_bytes());
            pairs.find(|(key, _)| key == "marker").map(|(_, value)| value.into_owned())?
        }
        None => text.to_owned(),
    };
    (!marker.is_empty()).then_some(marker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_a_cursor_or_an_address() {
        assert_eq!(marker_of("abc").as_deref(), Some("abc"));
        assert_eq!(marker_of("https://h/v1/p/instances?limit=10&marker=a%2Cb").as_deref(), Some("a,b"));
        assert_eq!(marker_of("https://h/v1/p/instances?limit=10"), None);
        assert_eq!(marker_of(""), None);
    }

    #[test]
    fn an_odd_entry_keeps_its_id() {
        assert!(one_instance(serde_json::json!({"id": "a", "state": 17, "image": "x", "tags": 4})).is_ok());
        let error = one_instance(serde_json::json!("text")).unwrap_err();
        assert_eq!(error.code, None);
    }
}
