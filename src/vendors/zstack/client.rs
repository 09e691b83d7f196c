//! The calls that the adapter makes, each with its path, proof and reading.

use serde::de::DeserializeOwned;
use serde_json::{Map, json};
use url::Url;

use super::auth::{Auth, Stamp};
use super::config::ZstackSettings;
use super::documented::Documented;
use super::ids;
use super::read::{self, ApiJob};
use super::wire::{Cluster, Host, JOB_NAME, LongJob, TaskProgress, UpdateClusterOs};
use crate::domain::drift::Drift;
use crate::domain::error::VendorFault;
use crate::kit::clock::Clock;
use crate::kit::permit::Permit;
use crate::vendors::drift::Is;
use crate::vendors::error::{Reached, VendorError};
use crate::vendors::http::{Call, HttpClient, Reply, Verb};

/// The most uuids in one query: with 33 bytes each the address stays below 4 KiB.
const CHUNK: usize = 100;
/// The most rows of one answer: ZStack's own default.
const ROWS: usize = 1000;
/// The most pages of one list; beyond it the list is called too long instead of being cut silently.
const PAGES: usize = 50;

/// Calls to one provider's ZStack.
#[derive(Debug)]
pub(super) struct Client {
    http: HttpClient,
    base: Url,
    auth: Auth,
    body_key: String,
}

impl Client {
    pub fn new(http: HttpClient, clock: Clock, settings: ZstackSettings) -> Self {
        let auth = Auth::new(http.clone(), clock, &settings);
        Self { http, auth, base: settings.base, body_key: settings.body_key }
    }

    /// Sends `UpdateClusterOS`. Any status is an answer; the stamp tells which session it went out with.
    pub async fn update_cluster_os(
        &self,
        cluster: &str,
        job_id: &str,
        body: &UpdateClusterOs<'_>,
        system_tags: &[String],
        user_tags: &[String],
        permit: &Permit,
    ) -> Result<(Reply, Stamp), VendorError> {
        let mut fields = Map::new();
        let inner = serde_json::to_value(body).map_err(|_| {
            VendorError::new(VendorFault::Rejected, Reached::No, "the request does not fit into JSON")
        })?;
        fields.insert(self.body_key.clone(), inner);
        for (name, tags) in [("systemTags", system_tags), ("userTags", user_tags)] {
            if !tags.is_empty() {
                fields.insert(name.to_owned(), json!(tags));
            }
        }
        let url = Call::join(&self.base, &["clusters", cluster, "actions"]);
        let make = || {
            Call::new(Verb::Put, url.clone(), "/v1/clusters/{uuid}/actions")
                .header("x-job-uuid", job_id)
                .json(&fields)
                .under(permit)
        };
        let stamp = self.auth.proven_stamp(Verb::Put, &url).await.map_err(|e| e.with_reached(Reached::No))?;
        let reply = self.http.send(stamp.on(make())).await?;
        if !self.auth.worn_out(&stamp, &reply).await {
            return Ok((stamp.redact(reply), stamp));
        }
        // Refused at the door, before anything ran: the same request once more with a new proof.
        let stamp = self.auth.stamp(Verb::Put, &url).await.map_err(|e| e.with_reached(Reached::No))?;
        let reply = self.http.send(stamp.on(make())).await?;
        Ok((stamp.redact(reply), stamp))
    }

    /// Forgets the session that a start went out with.
    pub async fn forget_session(&self, stamp: &Stamp) {
        self.auth.forget_session(stamp).await;
    }

    /// How an API job stands. Needs no proof (zstack `RestServer.handle`).
    pub async fn api_job(&self, id: &str) -> Result<ApiJob, VendorError> {
        let url = Call::join(&self.base, &["api-jobs", id]);
        let reply = self.http.send(Call::new(Verb::Get, url, "/v1/api-jobs/{uuid}")).await?;
        // What became of a start may quote the session that the start went out with.
        let reply = self.auth.redact(reply).await;
        read::api_job(&self.http.looked_at(reply, Is::Inside("inventory", LongJob::SHAPE)))
    }

    /// The long jobs whose `field` (`uuid` or `apiId`) is one of `values`, in as few requests as possible. One
    /// answer for each chunk of values.
    pub async fn long_jobs(
        &self,
        field: &str,
        values: &[String],
    ) -> Vec<(Vec<String>, Result<Vec<LongJob>, VendorError>)> {
        let mut answers = Vec::new();
        for chunk in values.chunks(CHUNK) {
            let condition = format!("{field}?={}", chunk.join(","));
            // A rerun keeps the uuid and takes another apiId, so each value has one row at most.
            let query = [("q", condition.as_str()), ("limit", "200")];
            let rows = self.list(&["longjobs"], &query, "/v1/longjobs").await;
            answers.push((chunk.to_vec(), rows));
        }
        answers
    }

    /// Every `UpdateClusterOS` that is not over, on whatever cluster. Asked by the words for an end: ZStack locks
    /// nothing, so a state that a newer version has must not hide an update that runs.
    pub async fn live_updates(&self) -> Result<Vec<LongJob>, VendorError> {
        let name = format!("jobName={JOB_NAME}");
        let query = ["q", "q"].into_iter().zip([name.as_str(), "state!?=Succeeded,Failed,Canceled"]);
        self.all(&["longjobs"], &query.collect::<Vec<_>>(), "/v1/longjobs", |job: &LongJob| job.uuid.clone())
            .await
    }

    /// The clusters with these uuids.
    pub async fn clusters(&self, uuids: &[String]) -> Result<Vec<Cluster>, VendorError> {
        let mut found = Vec::new();
        for chunk in uuids.chunks(CHUNK) {
            let condition = format!("uuid?={}", chunk.join(","));
            let query = [("q", condition.as_str()), ("limit", "200")];
            found.extend(self.list(&["clusters"], &query, "/v1/clusters").await?);
        }
        Ok(found)
    }

    /// One page of all clusters by uuid, those after `after`.
    pub async fn clusters_after(
        &self,
        after: Option<&str>,
        size: usize,
    ) -> Result<Vec<Cluster>, VendorError> {
        let condition = after.map(|uuid| format!("uuid>{uuid}"));
        let size = size.to_string();
        let mut query = vec![("limit", size.as_str()), ("sort", "+uuid")];
        query.extend(condition.iter().map(|c| ("q", c.as_str())));
        self.list(&["clusters"], &query, "/v1/clusters").await
    }

    /// The hosts of these clusters.
    pub async fn hosts(&self, clusters: &[String]) -> Result<Vec<Host>, VendorError> {
        let mut found = Vec::new();
        for chunk in clusters.chunks(CHUNK) {
            let condition = format!("clusterUuid?={}", chunk.join(","));
            let query = [("q", condition.as_str())];
            found.extend(self.all(&["hosts"], &query, "/v1/hosts", |host: &Host| host.uuid.clone()).await?);
        }
        Ok(found)
    }

    /// The progress entries of one API job.
    pub async fn task_progress(&self, api_id: &str) -> Result<Vec<TaskProgress>, VendorError> {
        self.list(&["task-progresses", api_id], &[], "/v1/task-progresses/{apiId}").await
    }

    /// Whether the management node takes work. Needs no proof.
    pub async fn ready(&self) -> Result<(), VendorError> {
        let url = Call::join(&self.base, &["management-nodes", "ready"]);
        let reply = self.http.send(Call::new(Verb::Get, url, "/v1/management-nodes/ready")).await?;
        read::ready(&reply)
    }

    /// ZStack's version. Needs no proof.
    pub async fn version(&self) -> Result<Option<String>, VendorError> {
        let url = Call::join(&self.base, &["management-nodes", "actions"]);
        let call =
            Call::new(Verb::Put, url, "/v1/management-nodes/actions").json(&json!({"getVersion": {}})).safe();
        read::version(&self.http.send(call).await?)
    }

    /// What was heard that ZStack does not document.
    pub fn drift(&self) -> Vec<Drift> {
        self.http.drift()
    }

    /// Logs out.
    pub async fn close(&self) {
        self.auth.close().await;
    }

    /// A whole list, page by page along `uuid`, so that rows that come and go meanwhile shift nothing.
    async fn all<T: DeserializeOwned + Documented>(
        &self,
        segments: &[&str],
        query: &[(&str, &str)],
        route: &'static str,
        uuid: impl Fn(&T) -> Option<String>,
    ) -> Result<Vec<T>, VendorError> {
        let limit = ROWS.to_string();
        let mut found: Vec<T> = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..PAGES {
            let condition = after.as_ref().map(|uuid| format!("uuid>{uuid}"));
            let mut query = query.to_vec();
            query.extend([("limit", limit.as_str()), ("sort", "+uuid")]);
            query.extend(condition.iter().map(|c| ("q", c.as_str())));
            let rows: Vec<T> = self.list(segments, &query, route).await?;
            let full = rows.len() >= ROWS;
            after = rows.last().and_then(&uuid).filter(|uuid| ids::is_uuid(uuid));
            found.extend(rows);
            if !full {
                return Ok(found);
            }
            if after.is_none() {
                return Err(VendorError::garbled("ZStack's list cannot be paged: its last row has no uuid"));
            }
        }
        let text = format!("ZStack's list is longer than {} rows", PAGES * ROWS);
        Err(VendorError::new(VendorFault::Rejected, Reached::Yes, text))
    }

    async fn list<T: DeserializeOwned + Documented>(
        &self,
        segments: &[&str],
        query: &[(&str, &str)],
        route: &'static str,
    ) -> Result<Vec<T>, VendorError> {
        let url = Call::join(&self.base, segments);
        let make =
            || query.iter().fold(Call::new(Verb::Get, url.clone(), route), |call, (k, v)| call.query(k, v));
        let mut stamp = self.auth.stamp(Verb::Get, &url).await?;
        let mut reply = self.http.send(stamp.on(make())).await?;
        if self.auth.worn_out(&stamp, &reply).await {
            stamp = self.auth.stamp(Verb::Get, &url).await?;
            reply = self.http.send(stamp.on(make())).await?;
        }
        read::rows(&self.http.looked_at(stamp.redact(reply), Is::Inside("inventories", T::SHAPE)))
    }
}
