//! Reads recorded answers of ZStack, see [`crate::vendors::recorded`].

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::check::{Facts, judge};
use super::config::Credentials;
use super::map::{self, Context};
use super::notes::Notes;
use super::read::{self, ApiJob, Start};
use super::session::{without_password, without_session};
use super::wire::{Cluster, Host, LongJob, TaskProgress};
use super::{fault, targets};
use crate::domain::id::{JobId, ProviderId};
use crate::domain::operation::{Operation, Upgrade};
use crate::domain::target::{Target, TargetKind};
use crate::kit::secret::{ExposeSecret, Secret};
use crate::vendors::contract::Planned;
use crate::vendors::error::VendorError;
use crate::vendors::http::Reply;
use crate::vendors::recorded::{CANARY, Reading, names};

const CLUSTER: &str = "932696598b64375ea4ae6226cc0c1407";
/// An hour after the start, so within all of ZStack's limits.
const SENT: i64 = 1_749_106_800;
const NOW: i64 = SENT + 3600;

/// What the adapter makes of an answer; `None` for a question that it does not ask.
pub fn read(question: &str, reply: Reply) -> Option<Reading> {
    let secret = Secret::from(CANARY);
    // As the adapter's own calls do it.
    let (reply, listed) = match question {
        "login" => {
            let who = Credentials::Account { account: "admin".to_owned(), password: secret };
            (without_password(reply, &who), false)
        }
        // These go out without any secret, so there is none to quote.
        "ready" | "version" | "time" => (reply, true),
        _ => {
            let listed = reply.status.is_success();
            (without_session(reply, &secret), listed)
        }
    };
    let planned = planned()?;
    let notes = Notes { hosts: Some(2), ..Notes::default() };
    let context = Context {
        planned: &planned,
        notes: &notes,
        now: Timestamp::from_second(NOW).ok()?,
        hosts_after: None,
    };
    let mut out = Reading::new(proves_success(&reply.body)).listed(listed);
    match question {
        "start" => match read::start(&reply) {
            Start::Duplicate => out.fact("ZStack has seen this X-Job-UUID"),
            Start::SessionLost => out.fact("the session was dead"),
            Start::Refused(failure) => {
                out.submitted(crate::vendors::contract::Submitted::Refused(failure, Vec::new()));
            }
            Start::Failed(error) => out.error(error),
            Start::Taken(taken) => {
                out.fact(format!("taken; API job {:?}, {:?} ms", taken.api_job, taken.api_timeout_ms));
                let notes = Notes { api_timeout_ms: taken.api_timeout_ms, ..notes.clone() };
                let context = Context { notes: &notes, ..context };
                out.observation(match &taken.job {
                    Some(job) => map::long_job(job, context),
                    None => map::api_job_pending(context),
                });
            }
        },
        "api-job" => out.either(read::api_job(&reply), |out, job| {
            out.observation(match job {
                ApiJob::Pending => map::api_job_pending(context),
                ApiJob::Done(Some(job)) => map::long_job(&job, context),
                ApiJob::Done(None) => return out.fact("succeeded, and names no long job"),
                ApiJob::Failed(error) if fault::is_ambiguous(&error) => {
                    map::api_job_lost(context, &fault::sentence(&error))
                }
                ApiJob::Failed(error) => map::api_job_failed(&error, context),
                ApiJob::Unknown => map::api_job_lost(context, "ZStack does not know the API job"),
            });
        }),
        "long-jobs" => out.either(rows(&reply), |out, jobs: Vec<LongJob>| {
            for job in &jobs {
                out.observation(map::long_job(job, context));
            }
            let facts = Facts { live: jobs, ..facts() };
            out.either(judge(&planned, &facts), Reading::checked);
        }),
        "hosts" => out.either(rows(&reply), |out, hosts: Vec<Host>| {
            let job = LongJob {
                state: Some("Succeeded".to_owned()),
                job_result: Some(r#"{"h1":"success"}"#.to_owned()),
                ..LongJob::default()
            };
            // Here the success is the job's, and the hosts can only take from it.
            out.proves_success = hosts.iter().all(|host| host.uuid.as_deref() == Some("h1"));
            out.observation(map::long_job(&job, Context { hosts_after: Some(&hosts), ..context }));
            let facts = Facts { hosts: [(CLUSTER.to_owned(), hosts)].into(), ..facts() };
            out.either(judge(&planned, &facts), Reading::checked);
        }),
        "clusters" => out.either(rows(&reply), |out, clusters: Vec<Cluster>| {
            for cluster in clusters {
                let facts = Facts { clusters: [(CLUSTER.to_owned(), cluster.clone())].into(), ..facts() };
                out.either(judge(&planned, &facts), Reading::checked);
                out.fact(format!("{:?}", targets::info(&planned.target.provider, cluster)));
            }
        }),
        "progress" => out.either(rows(&reply), |out, entries: Vec<TaskProgress>| {
            out.fact(format!("{:?}", map::progress(&entries)));
        }),
        "login" => out.either(read::login(&reply), |out, (uuid, ttl)| {
            out.fact(format!("a session of {} letters for {ttl:?}", uuid.expose_secret().len()));
        }),
        "ready" => out.either(read::ready(&reply), |out, ()| out.fact("ready")),
        "version" => out.either(read::version(&reply), |out, version| out.fact(format!("{version:?}"))),
        "time" => out.either(read::current_time(&reply), |out, time| out.fact(format!("{time:?}"))),
        _ => return None,
    }
    Some(out)
}

fn rows<T: serde::de::DeserializeOwned>(reply: &Reply) -> Result<Vec<T>, VendorError> {
    read::rows(reply).map(|mut rows| {
        // A page holds a thousand; a few show what there is to see.
        rows.truncate(8);
        rows
    })
}

fn facts() -> Facts {
    let cluster = Cluster { hypervisor_type: Some("KVM".to_owned()), ..Cluster::default() };
    Facts { clusters: [(CLUSTER.to_owned(), cluster)].into(), ..Facts::default() }
}

fn planned() -> Option<Planned> {
    Some(Planned {
        job: JobId::new(Uuid::from_u128(1)),
        target: Target {
            provider: ProviderId::parse("z").ok()?,
            kind: TargetKind::Cluster,
            id: CLUSTER.into(),
        },
        operation: Operation::Upgrade(Upgrade::default()),
        key: Uuid::from_u128(2),
        attempts: 1,
        submit_time: Timestamp::from_second(SENT).ok(),
        handle: None,
        permit: crate::kit::permit::Permit::unlimited(),
        cancel_requested: false,
        watched: false,
    })
}

/// Whether the state says `Succeeded`, and the result is ZStack's word for none or a map of nothing but `success`.
fn proves_success(body: &[u8]) -> bool {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return names(body, &["Succeeded"]) };
    let one = body.get("inventory").into_iter();
    let all = one.chain(body.get("inventories").and_then(Value::as_array).into_iter().flatten());
    let succeeded: Vec<&Value> = all.filter(|job| job["state"] == "Succeeded").collect();
    let well = |job: &&Value| {
        let result = match &job["jobResult"] {
            Value::String(text) if text.trim() == "Succeeded" => return true,
            Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
            other => other.clone(),
        };
        let is_success = |word: &Value| word.as_str().is_some_and(|w| w.eq_ignore_ascii_case("success"));
        result.as_object().is_some_and(|hosts| hosts.values().all(is_success))
    };
    succeeded.iter().any(well)
}
