//! The calls that Drydock makes at vCenter.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::auth::Auth;
use super::config::Config;
use super::fault;
use super::wire::{
    Compatibility, Info, PrecheckList, PrecheckResult, PrecheckSpec, Summary, SupervisorItem, SupervisorList,
    Task, TaskFilter, TaskMap, TaskQuery, TaskResultSpec, UpgradeList, UpgradeSpec, VersionNotes, Zone, read,
};
use crate::kit::permit::Permit;
use crate::vendors::error::VendorError;
use crate::vendors::http::{Call, HttpClient, Reply, Verb};

/// How many ids one filtered list names in its query: longer addresses are cut off by proxies.
pub(super) const IDS_PER_QUERY: usize = 50;

/// Speaks to one vCenter.
#[derive(Debug)]
pub(super) struct Client {
    http: HttpClient,
    auth: Auth,
    endpoint: Url,
}

/// One request, before it is stamped with a session.
struct Request {
    verb: Verb,
    url: Url,
    route: &'static str,
    body: Option<Vec<u8>>,
    safe: bool,
    permit: Option<Permit>,
}

impl Request {
    fn get(url: Url, route: &'static str) -> Self {
        Self { verb: Verb::Get, url, route, body: None, safe: true, permit: None }
    }

    fn post(url: Url, route: &'static str, body: &impl Serialize) -> Self {
        // Text, truth values and lists of them: serialising to memory cannot fail.
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self { verb: Verb::Post, url, route, body: Some(body), safe: false, permit: None }
    }

    fn action(mut self, action: &str) -> Self {
        self.url.query_pairs_mut().append_pair("action", action);
        self
    }

    fn under(mut self, permit: &Permit) -> Self {
        self.permit = Some(permit.clone());
        self
    }

    fn call(&self) -> Call {
        let call = Call::new(self.verb, self.url.clone(), self.route).header("accept", "application/json");
        let call = if self.safe { call.safe() } else { call };
        let call = match &self.permit {
            Some(permit) => call.under(permit),
            None => call,
        };
        match &self.body {
            Some(body) => call.bytes("application/json", body.clone()),
            None => call,
        }
    }
}

impl Client {
    pub(super) fn new(endpoint: Url, config: &Config, http: HttpClient) -> Self {
        let auth =
            Auth::new(endpoint.clone(), config.username.clone(), config.password.clone(), http.clone());
        Self { http, auth, endpoint }
    }

    /// `GET software/clusters`: all clusters with a Supervisor.
    pub(super) async fn clusters(&self) -> Result<Vec<Summary>, VendorError> {
        let entries: Vec<Value> = self
            .get_list(self.software(&["clusters"]), "/api/vcenter/namespace-management/software/clusters")
            .await?;
        Ok(entries.iter().filter_map(read).collect())
    }

    /// `GET software/clusters/{cluster}`
    pub(super) async fn cluster(&self, id: &str) -> Result<Info, VendorError> {
        let route = "/api/vcenter/namespace-management/software/clusters/{cluster}";
        self.get(self.software(&["clusters", id]), route).await
    }

    /// `POST software/clusters?action=upgradeMultiple`. Any answer comes back.
    ///
    /// # Errors
    /// No answer. `reached` is `No` when no session could be had or no connection came about.
    pub(super) async fn upgrade_clusters(
        &self,
        specs: &BTreeMap<&str, UpgradeSpec<'_>>,
        permit: &Permit,
    ) -> Result<Reply, VendorError> {
        let route = "/api/vcenter/namespace-management/software/clusters?action=upgradeMultiple";
        let request = Request::post(self.software(&["clusters"]), route, specs).action("upgradeMultiple");
        self.send(request.under(permit)).await
    }

    /// `GET software/supervisors/upgrades`: these Supervisors (at most [`IDS_PER_QUERY`]), or all when none is named.
    pub(super) async fn supervisors(&self, ids: &[&str]) -> Result<Vec<Summary>, VendorError> {
        let mut url = self.software(&["supervisors", "upgrades"]);
        if !ids.is_empty() {
            url.query_pairs_mut().extend_pairs(ids.iter().map(|id| ("supervisors", id)));
        }
        let list: UpgradeList =
            self.get(url, "/api/vcenter/namespace-management/software/supervisors/upgrades").await?;
        let Some(entries) = list.supervisors else {
            return Err(VendorError::garbled("the list of Supervisors has no member `supervisors`"));
        };
        Ok(entries.iter().filter_map(read).collect())
    }

    /// `GET software/supervisors/upgrades/{supervisor}`
    pub(super) async fn supervisor(&self, id: &str) -> Result<Info, VendorError> {
        let route = "/api/vcenter/namespace-management/software/supervisors/upgrades/{supervisor}";
        self.get(self.software(&["supervisors", "upgrades", id]), route).await
    }

    /// `POST software/supervisors/upgrades/jobs/{supervisor}`. Any answer comes back.
    ///
    /// # Errors
    /// As [`Client::upgrade_clusters`].
    pub(super) async fn upgrade_supervisor(
        &self,
        id: &str,
        spec: &UpgradeSpec<'_>,
        permit: &Permit,
    ) -> Result<Reply, VendorError> {
        let route = "/api/vcenter/namespace-management/software/supervisors/upgrades/jobs/{supervisor}";
        let request = Request::post(self.software(&["supervisors", "upgrades", "jobs", id]), route, spec);
        self.send(request.under(permit)).await
    }

    /// `POST software/supervisors/{supervisor}/prechecks?action=run`. Any answer comes back.
    pub(super) async fn run_prechecks(&self, id: &str, target_version: &str) -> Result<Reply, VendorError> {
        let route =
            "/api/vcenter/namespace-management/software/supervisors/{supervisor}/prechecks?action=run";
        let url = self.software(&["supervisors", id, "prechecks"]);
        self.send(Request::post(url, route, &PrecheckSpec { target_version }).action("run")).await
    }

    /// `GET software/supervisors/{supervisor}/prechecks`. 404 means "no results yet", too: that is an empty list.
    pub(super) async fn prechecks(&self, id: &str) -> Result<Vec<PrecheckResult>, VendorError> {
        let route = "/api/vcenter/namespace-management/software/supervisors/{supervisor}/prechecks";
        let url = self.software(&["supervisors", id, "prechecks"]);
        let reply = self.send(Request::get(url, route)).await?;
        if reply.status.as_u16() == 404 {
            return Ok(Vec::new());
        }
        Ok(good(&reply)?.json::<PrecheckList>()?.precheck_results)
    }

    /// `GET software/cluster-available-versions`
    pub(super) async fn cluster_versions(&self) -> Result<Vec<VersionNotes>, VendorError> {
        let route = "/api/vcenter/namespace-management/software/cluster-available-versions";
        let entries: Vec<Value> =
            self.get_list(self.software(&["cluster-available-versions"]), route).await?;
        Ok(entries.iter().filter_map(read).collect())
    }

    /// `GET software/supervisors/versions/{version}`
    pub(super) async fn supervisor_version(&self, version: &str) -> Result<VersionNotes, VendorError> {
        let route = "/api/vcenter/namespace-management/software/supervisors/versions/{version}";
        self.get(self.software(&["supervisors", "versions", version]), route).await
    }

    /// `POST software/supervisors/versions/{version}?action=check-compatibility&{by}={id}`: a question, by POST.
    pub(super) async fn compatibility(
        &self,
        version: &str,
        by: &'static str,
        id: &str,
    ) -> Result<Compatibility, VendorError> {
        let mut url = self.software(&["supervisors", "versions", version]);
        url.query_pairs_mut().append_pair("action", "check-compatibility").append_pair(by, id);
        let request = Request {
            verb: Verb::Post,
            url,
            route: "/api/vcenter/namespace-management/software/supervisors/versions/{version}?action=check-compatibility",
            body: None,
            safe: true,
            permit: None,
        };
        good(&self.send(request).await?)?.json()
    }

    /// `GET supervisors/{supervisor}/topology`: its zones with their clusters.
    pub(super) async fn topology(&self, id: &str) -> Result<Vec<Zone>, VendorError> {
        let url = Call::join(
            &self.endpoint,
            &["api", "vcenter", "namespace-management", "supervisors", id, "topology"],
        );
        let zones: Vec<Value> =
            self.get_list(url, "/api/vcenter/namespace-management/supervisors/{supervisor}/topology").await?;
        Ok(zones.iter().filter_map(read).collect())
    }

    /// `GET supervisors/summaries`
    pub(super) async fn summaries(&self) -> Result<Vec<SupervisorItem>, VendorError> {
        let url = Call::join(
            &self.endpoint,
            &["api", "vcenter", "namespace-management", "supervisors", "summaries"],
        );
        let list: SupervisorList =
            self.get(url, "/api/vcenter/namespace-management/supervisors/summaries").await?;
        Ok(list.items)
    }

    /// `POST cis/tasks?action=list`, by ids or by services. A task that is gone, or that the account cannot see,
    /// is missing from the answer; an entry of an odd shape is, too.
    pub(super) async fn tasks(&self, filter: TaskFilter<'_>) -> Result<BTreeMap<String, Task>, VendorError> {
        let query = TaskQuery { filter_spec: filter, result_spec: TaskResultSpec { exclude_result: true } };
        let mut request = Request::post(self.cis(&[]), "/api/cis/tasks?action=list", &query).action("list");
        // A query by POST.
        request.safe = true;
        let map: TaskMap = good(&self.send(request).await?)?.json()?;
        Ok(map.into_iter().filter_map(|(id, task)| Some((id, read(&task)?))).collect())
    }

    /// `GET cis/tasks/{task}`, with its result.
    pub(super) async fn task(&self, id: &str) -> Result<Task, VendorError> {
        self.get(self.cis(&[id]), "/api/cis/tasks/{task}").await
    }

    /// `POST cis/tasks/{task}?action=cancel`. Any answer comes back.
    pub(super) async fn cancel(&self, id: &str, permit: &Permit) -> Result<Reply, VendorError> {
        let request = Request {
            verb: Verb::Post,
            url: self.cis(&[id]),
            route: "/api/cis/tasks/{task}?action=cancel",
            body: None,
            safe: false,
            permit: Some(permit.clone()),
        };
        self.send(request.action("cancel")).await
    }

    /// `GET session`: whether address and account work, and nothing else.
    pub(super) async fn session(&self) -> Result<(), VendorError> {
        let url = Call::join(&self.endpoint, &["api", "session"]);
        let reply = self.send(Request::get(url, "/api/session")).await?;
        good(&reply).map(|_| ())
    }

    /// Ends the session.
    pub(super) async fn close(&self) {
        self.auth.close().await;
    }

    fn software(&self, rest: &[&str]) -> Url {
        let mut segments = vec!["api", "vcenter", "namespace-management", "software"];
        segments.extend_from_slice(rest);
        Call::join(&self.endpoint, &segments)
    }

    fn cis(&self, rest: &[&str]) -> Url {
        let mut segments = vec!["api", "cis", "tasks"];
        segments.extend_from_slice(rest);
        Call::join(&self.endpoint, &segments)
    }

    async fn get<T: DeserializeOwned>(&self, url: Url, route: &'static str) -> Result<T, VendorError> {
        let reply = self.send(Request::get(url, route)).await?;
        good(&reply)?.json()
    }

    async fn get_list<T: DeserializeOwned>(
        &self,
        url: Url,
        route: &'static str,
    ) -> Result<Vec<T>, VendorError> {
        let reply = self.send(Request::get(url, route)).await?;
        good(&reply)?.json_list()
    }

    /// Sends; when vCenter refuses the session, once more with a fresh one. A 401 has no effect at vCenter, so that
    /// is safe for a start, too.
    async fn send(&self, request: Request) -> Result<Reply, VendorError> {
        let session = self.auth.session(None).await?;
        let reply = self.http.send(Auth::stamp(request.call(), &session)).await?;
        if reply.status != http::StatusCode::UNAUTHORIZED {
            return Ok(Auth::redact(reply, &session));
        }
        let session = self.auth.session(Some(&session)).await?;
        let reply = self.http.send(Auth::stamp(request.call(), &session)).await?;
        Ok(Auth::redact(reply, &session))
    }
}

fn good(reply: &Reply) -> Result<&Reply, VendorError> {
    if reply.status.is_success() { Ok(reply) } else { Err(fault::of(reply)) }
}
