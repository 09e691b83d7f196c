//! The platform behind the API: clusters and hosts that follow from an index, and the jobs that were started.
//!
//! Nothing runs in the background. Where a job stands follows from how long ago it began, so thousands of
//! targets cost nothing until somebody asks.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::access::{Caller, Sessions};
use super::ids::{cluster_of, fresh, host_id, host_of, is_resource_uuid, target_id};
use super::long_job::{JOB_NAME, LongJob, job_data};
use super::refusal::Refusal;
use super::script::Outcome;
use crate::simulators::{EffectKind, Effects, Hold, Pace};

/// Hosts of each cluster.
const HOSTS: usize = 3;
/// How long an API job takes in life.
const API_JOB: Duration = Duration::from_millis(800);
/// ZStack's time limit for the start.
const API_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// Finished API jobs are forgotten after three hours; so long a test does not take, so this is real time.
const FORGET_AFTER: Duration = Duration::from_secs(10_800);
/// ZStack works on so many clusters at a time; the others wait, already `Running`.
const CLUSTERS_AT_ONCE: usize = 10;
const ZONE: &str = "20e00000000040008000000000000001";

/// What `GET /api-jobs/{uuid}` is to say.
#[derive(Clone, Debug)]
pub(super) enum Poll {
    Unknown,
    Pending,
    Done(Value),
    Failed(Refusal),
}

#[derive(Debug)]
struct ApiJob {
    done_at: Option<Instant>,
    /// Does not end while the simulator holds its operations.
    held: bool,
    end: ApiEnd,
}

#[derive(Debug)]
enum ApiEnd {
    /// The long job at this place was started.
    Started(usize),
    /// Done, with nothing to say.
    Empty,
    Failed(Refusal),
}

/// The platform.
#[derive(Debug)]
pub(super) struct World {
    pub sessions: Sessions,
    pub ready: bool,
    /// How far the server's clock is ahead of this machine's.
    pub clock_ahead: jiff::SignedDuration,
    pub strict_body_key: bool,
    targets: usize,
    pace: Pace,
    effects: Effects,
    hold: Hold,
    jobs: Vec<LongJob>,
    by_uuid: HashMap<String, usize>,
    by_api: HashMap<String, usize>,
    by_cluster: HashMap<usize, usize>,
    /// Jobs whose end is not written down yet.
    open: BTreeSet<usize>,
    api_jobs: HashMap<String, ApiJob>,
    scripts: HashMap<usize, Outcome>,
    host_words: HashMap<String, (String, String)>,
    hypervisors: HashMap<usize, String>,
    /// When each of the places for a cluster's work is free.
    places: Vec<Instant>,
}

impl World {
    pub fn new(targets: usize, pace: Pace, effects: Effects, hold: Hold) -> Self {
        Self {
            sessions: Sessions::default(),
            ready: true,
            clock_ahead: jiff::SignedDuration::ZERO,
            strict_body_key: false,
            targets,
            pace,
            effects,
            hold,
            jobs: Vec::new(),
            by_uuid: HashMap::new(),
            by_api: HashMap::new(),
            by_cluster: HashMap::new(),
            open: BTreeSet::new(),
            api_jobs: HashMap::new(),
            scripts: HashMap::new(),
            host_words: HashMap::new(),
            hypervisors: HashMap::new(),
            places: vec![Instant::now(); CLUSTERS_AT_ONCE],
        }
    }

    pub fn script(&mut self, target: &str, outcome: Outcome) -> bool {
        let cluster = cluster_of(target, self.targets);
        cluster.map(|n| self.scripts.insert(n, outcome)).is_some()
    }

    pub fn set_host(&mut self, host: &str, state: &str, status: &str) {
        self.host_words.insert(host.to_owned(), (state.to_owned(), status.to_owned()));
    }

    pub fn set_hypervisor(&mut self, target: &str, hypervisor: &str) {
        if let Some(n) = cluster_of(target, self.targets) {
            self.hypervisors.insert(n, hypervisor.to_owned());
        }
    }

    /// Writes down the ends that have come about.
    pub fn settle(&mut self) {
        let ended: Vec<usize> = self
            .open
            .iter()
            .copied()
            .filter(|at| self.jobs.get(*at).is_none_or(|job| job.stage(self.pace).ended))
            .collect();
        for at in ended {
            self.open.remove(&at);
            if let Some(job) = self.jobs.get(at) {
                self.effects.record(EffectKind::End, target_id(job.cluster), job.stage(self.pace).word);
            }
        }
    }

    /// The time limit that goes with a 202, in milliseconds of this simulator's time.
    pub fn api_timeout_ms(&self) -> u64 {
        u64::try_from(self.pace.scaled(API_TIMEOUT).as_millis()).unwrap_or(u64::MAX).max(500)
    }

    /// Whether an `X-Job-UUID` was seen.
    pub fn knows_api_job(&self, id: &str) -> bool {
        self.api_jobs.get(id).is_some_and(|job| !forgotten(job))
    }

    /// `UpdateClusterOS`, taken: from here on all is said by the API job.
    pub fn update_cluster_os(
        &mut self,
        cluster: &str,
        api_id: &str,
        inner: &Value,
        caller: (Caller, &str),
        now: Timestamp,
    ) {
        let checked = self.check_update(cluster, inner, caller);
        let mut held = false;
        let (end, never) = match checked {
            Err(refusal) => {
                self.effects.record(EffectKind::Refuse, cluster, refusal.code);
                (ApiEnd::Failed(refusal), false)
            }
            Ok((n, hosts)) => match self.scripts.get(&n).copied().unwrap_or_default() {
                Outcome::RefuseAtApi => {
                    self.effects.record(EffectKind::Refuse, cluster, "SYS.1006");
                    let cause = Some(("SYS.1007", "the host agent has not been upgraded".to_owned()));
                    let details = "cannot update the cluster's operating system".to_owned();
                    (ApiEnd::Failed(Refusal { code: "SYS.1006", details, cause }), false)
                }
                Outcome::ApiNeverEnds => (ApiEnd::Empty, true),
                Outcome::SessionExpiresLate => {
                    self.scripts.remove(&n);
                    held = true;
                    self.effects.record(EffectKind::Refuse, cluster, "ID.1001");
                    (ApiEnd::Failed(Refusal::new("ID.1001", "Session expired")), false)
                }
                outcome => match self.start(n, hosts, api_id, inner, outcome, now) {
                    Ok(_) if outcome == Outcome::ApiTimesOut => {
                        (ApiEnd::Failed(Refusal::new("SYS.1001", "message timeout after 1800000ms")), false)
                    }
                    Ok(at) => (ApiEnd::Started(at), false),
                    Err(refusal) => (ApiEnd::Failed(refusal), false),
                },
            },
        };
        let done_at = (!never).then(|| Instant::now() + self.pace.scaled(API_JOB));
        self.api_jobs.insert(api_id.to_owned(), ApiJob { done_at, held, end });
    }

    /// Everything that ZStack checks before there is a long job, in its order.
    fn check_update(
        &self,
        cluster: &str,
        inner: &Value,
        caller: (Caller, &str),
    ) -> Result<(usize, Vec<usize>), Refusal> {
        self.admit(caller, true)?;
        let Some(n) = cluster_of(cluster, self.targets) else {
            return Err(Refusal::new(
                "SYS.1003",
                format!("invalid field[uuid], resource[uuids:[{cluster}]] not found"),
            ));
        };
        for list in ["excludePackages", "updatePackages"] {
            if inner.get(list).and_then(Value::as_array).is_some_and(Vec::is_empty) {
                return Err(Refusal::new("SYS.1007", format!("field[{list}] cannot be an empty list")));
            }
        }
        if let Some(uuid) = inner.get("resourceUuid").and_then(Value::as_str)
            && !is_resource_uuid(uuid)
        {
            return Err(Refusal::new("SYS.1007", format!("resourceUuid[{uuid}] is not a valid uuid")));
        }
        if self.hypervisors.get(&n).is_some_and(|h| h != "KVM") {
            return Err(Refusal::new("SYS.1007", "only KVM clusters can be updated"));
        }
        for h in 0..HOSTS {
            let (state, status) = self.host_state(n, h);
            let uuid = host_id(n, h);
            if state == "PreMaintenance" {
                return Err(Refusal::new("SYS.1007", format!("host[uuid:{uuid}] is in PreMaintenance")));
            }
            if status != "Connected" {
                return Err(Refusal::new("SYS.1007", format!("host[uuid:{uuid}] is not Connected")));
            }
        }
        match inner.get("hostUuid").and_then(Value::as_str) {
            None => Ok((n, (0..HOSTS).collect())),
            Some(uuid) => match host_of(uuid) {
                Some((cluster, h)) if cluster == n && h < HOSTS => Ok((n, vec![h])),
                _ => Err(Refusal::new("SYS.1007", format!("host[uuid:{uuid}] is not in the cluster"))),
            },
        }
    }

    /// Whether a caller may do something; `write`: to a cluster.
    pub fn admit(&self, (caller, session): (Caller, &str), write: bool) -> Result<(), Refusal> {
        match caller {
            Caller::Nobody => Err(Refusal::new("ID.1001", format!("Session[uuid:{session}] expired"))),
            Caller::Tenant if write => {
                Err(Refusal::new("ID.1002", "operation[API:APIUpdateClusterOSMsg] is denied"))
            }
            Caller::Admin | Caller::Tenant => Ok(()),
        }
    }

    /// Makes and starts a long job.
    fn start(
        &mut self,
        n: usize,
        hosts: Vec<usize>,
        api_id: &str,
        inner: &Value,
        outcome: Outcome,
        now: Timestamp,
    ) -> Result<usize, Refusal> {
        let uuid = inner.get("resourceUuid").and_then(Value::as_str).map_or_else(fresh, str::to_owned);
        if let Some(job) = self.by_uuid.get(&uuid).and_then(|at| self.jobs.get_mut(*at)) {
            // ZStack resets the old record and then fails; it would be started at the next boot.
            job.reset = true;
            self.by_api.remove(&job.api_id);
            job.api_id = api_id.to_owned();
            if let Some(at) = self.by_uuid.get(&uuid) {
                self.by_api.insert(api_id.to_owned(), *at);
            }
            return Err(Refusal::new("SYS.1000", "cannot find the long job[uuid:null]"));
        }
        let at = self.jobs.len();
        let work_from = self.place(outcome);
        self.jobs.push(LongJob {
            uuid: uuid.clone(),
            api_id: api_id.to_owned(),
            cluster: n,
            hosts,
            data: job_data(n, inner),
            made: Instant::now(),
            made_wall: now,
            work_from,
            outcome,
            hold: self.hold.clone(),
            reset: false,
            deleted: false,
        });
        self.by_uuid.insert(uuid, at);
        self.by_api.insert(api_id.to_owned(), at);
        self.by_cluster.insert(n, at);
        self.open.insert(at);
        self.effects.record(EffectKind::Start, target_id(n), api_id);
        Ok(at)
    }

    /// Takes the place that is free first; says from when.
    fn place(&mut self, outcome: Outcome) -> Instant {
        let now = Instant::now();
        let work = outcome.work(self.pace);
        let Some(first) = self.places.iter_mut().min() else { return now };
        let from = (*first).max(now);
        *first = from + work;
        from
    }

    /// An update that somebody starts at ZStack's own screen.
    pub fn foreign_update(&mut self, target: &str, now: Timestamp) -> bool {
        let Some(n) = cluster_of(target, self.targets) else { return false };
        let outcome = self.scripts.get(&n).copied().unwrap_or_default();
        self.start(n, (0..HOSTS).collect(), &fresh(), &json!({}), outcome, now).is_ok()
    }

    pub fn poll(&self, id: &str, now: Timestamp) -> Poll {
        match self.api_jobs.get(id) {
            None => Poll::Unknown,
            Some(job) if forgotten(job) => Poll::Unknown,
            Some(job) if job.held && self.hold.is_on() => Poll::Pending,
            Some(job) if job.done_at.is_none_or(|at| at > Instant::now()) => Poll::Pending,
            Some(job) => match &job.end {
                ApiEnd::Empty => Poll::Done(json!({})),
                ApiEnd::Failed(refusal) => Poll::Failed(refusal.clone()),
                ApiEnd::Started(at) => match self.jobs.get(*at) {
                    Some(job) => Poll::Done(json!({"inventory": job.as_started(self.pace, now)})),
                    None => Poll::Unknown,
                },
            },
        }
    }

    /// The rows for a list of long jobs: those with these uuids or apiIds, or all.
    pub fn long_jobs(
        &mut self,
        uuids: Option<&[String]>,
        api_ids: Option<&[String]>,
        now: Timestamp,
    ) -> Vec<Value> {
        self.settle();
        let places: Vec<usize> = match (uuids, api_ids) {
            (Some(uuids), _) => uuids.iter().filter_map(|u| self.by_uuid.get(u).copied()).collect(),
            (None, Some(ids)) => ids.iter().filter_map(|id| self.by_api.get(id).copied()).collect(),
            (None, None) => (0..self.jobs.len()).collect(),
        };
        let jobs = places.into_iter().filter_map(|at| self.jobs.get(at)).filter(|job| !job.deleted);
        jobs.map(|job| job.row(self.pace, now)).collect()
    }

    /// The newest progress of an update; none before its turn, and none once it is over for a while.
    pub fn progress(&self, api_id: &str, now: Timestamp) -> Value {
        let Some(job) = self.by_api.get(api_id).and_then(|at| self.jobs.get(*at)) else {
            return json!({"inventories": []});
        };
        json!({"inventories": job.progress(self.pace, now)})
    }

    pub fn cluster_rows(&self, uuids: Option<&[String]>) -> Vec<Value> {
        let places: Vec<usize> = match uuids {
            Some(uuids) => uuids.iter().filter_map(|u| cluster_of(u, self.targets)).collect(),
            None => (0..self.targets).collect(),
        };
        places.into_iter().map(|n| self.cluster_row(n)).collect()
    }

    fn cluster_row(&self, n: usize) -> Value {
        json!({
            "uuid": target_id(n), "name": format!("cluster-{n}"), "zoneUuid": ZONE, "state": "Enabled",
            "hypervisorType": self.hypervisors.get(&n).map_or("KVM", String::as_str), "type": "zstack",
            "architecture": "x86_64", "createDate": "Jun 5, 2024 3:47:29 PM", "lastOpDate": "Jun 5, 2024 3:47:29 PM",
        })
    }

    pub fn zone_rows(&self) -> Vec<Value> {
        vec![json!({"uuid": ZONE, "name": "zone-1", "state": "Enabled", "type": "zstack", "isDefault": true})]
    }

    pub fn host_rows(&self, clusters: Option<&[String]>, uuids: Option<&[String]>) -> Vec<Value> {
        let places: Vec<(usize, usize)> = match (uuids, clusters) {
            (Some(uuids), _) => uuids
                .iter()
                .filter_map(|u| host_of(u))
                .filter(|(n, h)| *n < self.targets && *h < HOSTS)
                .collect(),
            (None, Some(clusters)) => {
                let clusters = clusters.iter().filter_map(|u| cluster_of(u, self.targets));
                clusters.flat_map(|n| (0..HOSTS).map(move |h| (n, h))).collect()
            }
            (None, None) => (0..self.targets).flat_map(|n| (0..HOSTS).map(move |h| (n, h))).collect(),
        };
        places.into_iter().map(|(n, h)| self.host_row(n, h)).collect()
    }

    fn host_row(&self, n: usize, h: usize) -> Value {
        let (state, status) = self.host_state(n, h);
        let newest = self.by_cluster.get(&n).and_then(|at| self.jobs.get(*at));
        let release = newest.and_then(|job| job.release_of(h, self.pace));
        json!({
            "uuid": host_id(n, h), "name": format!("host-{n}-{h}"), "clusterUuid": target_id(n), "zoneUuid": ZONE,
            "managementIp": format!("10.{}.{}.{}", n / 250 % 250, n % 250, h + 1), "hypervisorType": "KVM",
            "architecture": "x86_64", "state": state, "status": status, "osDistribution": "centos",
            "osRelease": "Core", "osVersion": release.as_deref().unwrap_or("7.9.2009"),
        })
    }

    /// A host's state and status: what was set, or what the newest update does to it.
    fn host_state(&self, n: usize, h: usize) -> (String, String) {
        if let Some((state, status)) = self.host_words.get(&host_id(n, h)) {
            return (state.clone(), status.clone());
        }
        let held = self.by_cluster.get(&n).and_then(|at| self.jobs.get(*at)).is_some_and(|job| {
            let Some(nth) = job.hosts.iter().position(|host| *host == h) else { return false };
            let stage = job.stage(self.pace);
            match (stage.ended, job.outcome) {
                (true, Outcome::FailSilently) => nth == 0,
                (true, _) => false,
                (false, _) => {
                    stage.word != "Waiting"
                        && job.work_from <= Instant::now()
                        && nth >= job.hosts_done(self.pace)
                }
            }
        });
        (if held { "PreMaintenance" } else { "Enabled" }.to_owned(), "Connected".to_owned())
    }

    /// `cancelLongJob` and its like on an update: taken with 202, told by the API job.
    pub fn act(&mut self, uuid: &str, action: &str, api_id: &str, caller: (Caller, &str)) {
        let end = self.act_now(uuid, action, caller).map_or_else(ApiEnd::Failed, |at| match (action, at) {
            ("updateLongJob", Some(at)) => ApiEnd::Started(at),
            _ => ApiEnd::Empty,
        });
        let done_at = Some(Instant::now() + self.pace.scaled(API_JOB));
        self.api_jobs.insert(api_id.to_owned(), ApiJob { done_at, held: false, end });
    }

    fn act_now(
        &mut self,
        uuid: &str,
        action: &str,
        caller: (Caller, &str),
    ) -> Result<Option<usize>, Refusal> {
        self.admit(caller, false)?;
        let at = self.by_uuid.get(uuid).copied();
        let Some((at, job)) = at.and_then(|at| self.jobs.get_mut(at).map(|job| (at, job))) else {
            return match action {
                "delete" => Ok(None),
                _ => Err(Refusal::new("SYS.1003", format!("long job[uuid:{uuid}] not found"))),
            };
        };
        let stage = job.stage(self.pace);
        match action {
            "delete" if stage.ended => {
                job.deleted = true;
                Ok(None)
            }
            "delete" => Err(Refusal::new("SYS.1007", format!("long job[uuid:{uuid}] is {}", stage.word))),
            "cancelLongJob" if stage.word == "Canceled" => Ok(None),
            "cancelLongJob" if stage.ended => {
                Err(Refusal::new("SYS.1007", format!("cannot cancel: {}", stage.word)))
            }
            "updateLongJob" => Ok(Some(at)),
            _ => Err(Refusal::new("LONG_JOB.1003", format!("{action} is not supported by {JOB_NAME}"))),
        }
    }
}

fn forgotten(job: &ApiJob) -> bool {
    job.done_at.is_some_and(|at| at.elapsed() > FORGET_AFTER)
}
