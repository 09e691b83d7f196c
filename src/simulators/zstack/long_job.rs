//! Long jobs: where one stands follows from when its work began.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::access::local_text;
use super::ids::{host_id, target_id};
use super::script::{Outcome, Stage};
use crate::simulators::{Hold, Pace};

/// The name of the long jobs that `UpdateClusterOS` makes.
pub(super) const JOB_NAME: &str = "APIUpdateClusterOSMsg";
const MANAGEMENT_NODE: &str = "5a1e0000000040008000000000000001";

/// One update.
#[derive(Debug)]
pub(super) struct LongJob {
    pub uuid: String,
    pub api_id: String,
    pub cluster: usize,
    pub hosts: Vec<usize>,
    pub data: String,
    pub made: Instant,
    pub made_wall: Timestamp,
    /// When its cluster's turn comes.
    pub work_from: Instant,
    pub outcome: Outcome,
    pub hold: Hold,
    /// Its record was reset by a second use of its uuid.
    pub reset: bool,
    pub deleted: bool,
}

impl LongJob {
    /// Where it stands now.
    pub fn stage(&self, pace: Pace) -> Stage {
        if self.reset {
            return Stage { word: "Waiting", ended: false };
        }
        self.outcome.stage(pace, self.passed(pace))
    }

    fn passed(&self, pace: Pace) -> Duration {
        self.hold.cap(self.work_from.elapsed(), self.outcome.work(pace))
    }

    /// How many of its hosts are done.
    pub fn hosts_done(&self, pace: Pace) -> usize {
        self.outcome.hosts_done(pace, self.passed(pace), self.hosts.len())
    }

    /// The inventory as it was when the API job ended.
    pub fn as_started(&self, pace: Pace, now: Timestamp) -> Value {
        let mut row = self.row(pace, now);
        if let Some(map) = row.as_object_mut() {
            let waits = self.outcome == Outcome::WaitFirst;
            map.insert("state".to_owned(), json!(if waits { "Waiting" } else { "Running" }));
            map.remove("jobResult");
            map.remove("executeTime");
        }
        row
    }

    /// Its inventory.
    pub fn row(&self, pace: Pace, now: Timestamp) -> Value {
        let stage = self.stage(pace);
        let mut row = json!({
            "uuid": self.uuid, "name": JOB_NAME, "apiId": self.api_id, "jobName": JOB_NAME, "jobData": self.data,
            "state": stage.word, "managementNodeUuid": MANAGEMENT_NODE,
            "createDate": local_text(self.made_wall), "lastOpDate": local_text(now),
        });
        if let (true, Some(map)) = (stage.ended, row.as_object_mut()) {
            let took = self.outcome.work(pace).min(self.made.elapsed()).as_secs().max(1);
            map.insert("executeTime".to_owned(), json!(took));
            if let Some(result) = self.result(stage.word) {
                map.insert("jobResult".to_owned(), json!(result));
            }
        }
        row
    }

    fn result(&self, word: &str) -> Option<String> {
        match (word, self.outcome) {
            ("Succeeded", Outcome::EmptyResult) => Some("{}".to_owned()),
            ("Succeeded", Outcome::BareResult) => Some("Succeeded".to_owned()),
            ("Succeeded", outcome) => {
                let hosts: Map<String, Value> = self
                    .hosts
                    .iter()
                    .enumerate()
                    .map(|(nth, h)| {
                        let bad = outcome == Outcome::AllHostsFail
                            || (outcome == Outcome::OneHostFails && nth == 0);
                        let word = if bad {
                            "failed to update host os: yum: No space left on device"
                        } else {
                            "success"
                        };
                        (host_id(self.cluster, *h), json!(word))
                    })
                    .collect();
                Some(Value::Object(hosts).to_string())
            }
            ("Failed", Outcome::Fail) => Some(
                json!({
                    "message": {"message_cn": "任务失败", "message_en": "the update could not be done"},
                    "detail": "the NFS server of a primary storage runs on a host of the cluster",
                    "cause": "VMs are not stopped",
                })
                .to_string(),
            ),
            _ => None,
        }
    }

    /// The release that a host has after it: the one asked for, where its result says success.
    pub fn release_of(&self, h: usize, pace: Pace) -> Option<String> {
        let stage = self.stage(pace);
        let result: Value = serde_json::from_str(&self.result(stage.word).filter(|_| stage.ended)?).ok()?;
        let well = result.get(host_id(self.cluster, h))? == "success";
        let data: Value = serde_json::from_str(&self.data).ok()?;
        data.get("releaseVersion").and_then(Value::as_str).filter(|_| well).map(str::to_owned)
    }

    /// The newest progress; none before its turn, before its first host, and after its end.
    pub fn progress(&self, pace: Pace, now: Timestamp) -> Vec<Value> {
        let done = self.hosts_done(pace);
        if self.work_from > Instant::now() || done == 0 || self.stage(pace).ended {
            return Vec::new();
        }
        let percent = 100 * done / self.hosts.len().max(1);
        vec![json!({
            "taskUuid": self.api_id, "taskName": JOB_NAME, "type": "Progress", "content": percent.to_string(),
            "time": f64::from(i32::try_from(now.as_second()).unwrap_or(i32::MAX)) * 1000.0,
        })]
    }
}

/// JSON with text values only, lists joined by commas (4.8.19, 5.2.0 and later).
pub(super) fn job_data(n: usize, inner: &Value) -> String {
    let mut data = Map::from_iter([("uuid".to_owned(), json!(target_id(n)))]);
    for (key, value) in inner.as_object().into_iter().flatten() {
        let text = match value {
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        data.insert(key.clone(), json!(text));
    }
    Value::Object(data).to_string()
}
