//! From what ZStack says about a long job or an API job to an observation. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::aftermath;
use super::fault::{self, cut};
use super::notes::{LAPSES, Notes};
use super::outcome;
use super::wire::{ErrorCode, Host, LongJob, TaskProgress};
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::job::{Cancelable, Progress, Provenance, WaitReason};
use crate::domain::operation::VendorOptions;
use crate::domain::target::UnderWay;
use crate::kit::clock;
use crate::vendors::contract::{Observation, Phase, Planned};

/// Why a cancel is never sent.
pub(super) const NO_CANCEL: &str = "ZStack cannot cancel UpdateClusterOS once it was sent (LONG_JOB.1003)";
/// The most that an answer may take, with room to spare below the contract's 16 KiB.
const MAX_ANSWER: usize = 15 * 1024;
/// What is left of a long text when an answer would be too large.
const MAX_TEXT: usize = 3 * 1024;

/// ZStack's words for a long job's state (zstack `LongJobState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Waiting,
    Running,
    Suspended,
    Canceling,
    Succeeded,
    Failed,
    Canceled,
    /// A word of a newer build, or none.
    Unknown,
}

impl Word {
    /// Reads the state of a record.
    pub fn of(job: &LongJob) -> Self {
        job.state.as_deref().map_or(Self::Unknown, Self::read)
    }

    /// Reads a state.
    pub fn read(word: &str) -> Self {
        match word {
            "Waiting" => Self::Waiting,
            "Running" => Self::Running,
            "Suspended" => Self::Suspended,
            "Canceling" => Self::Canceling,
            "Succeeded" => Self::Succeeded,
            "Failed" => Self::Failed,
            "Canceled" => Self::Canceled,
            _ => Self::Unknown,
        }
    }

    /// Whether the long job is not over, as far as can be told.
    pub const fn is_live(self) -> bool {
        match self {
            Self::Waiting | Self::Running | Self::Suspended | Self::Canceling | Self::Unknown => true,
            Self::Succeeded | Self::Failed | Self::Canceled => false,
        }
    }
}

/// What helps to read one job's record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub planned: &'a Planned,
    pub notes: &'a Notes,
    pub now: Timestamp,
    /// The cluster's hosts after the end, when they were read.
    pub hosts_after: Option<&'a [Host]>,
}

/// Whether a long job says that it is about this cluster: ZStack has no other link between the two.
pub(super) fn names(job: &LongJob, cluster: &str) -> bool {
    job.job_data.as_deref().is_some_and(|data| data.contains(cluster))
}

/// An `UpdateClusterOS` that is not over, whoever started it.
pub(super) fn under_way(job: &LongJob) -> UnderWay {
    let word = job.state.as_deref().unwrap_or("without a state");
    let since = job.create_date.as_deref().unwrap_or("an unknown time");
    let uuid = job.uuid.as_deref().unwrap_or("?");
    UnderWay {
        what: format!("long job {uuid} (UpdateClusterOS, {word} since {since})"),
        vendor_id: job.uuid.clone(),
        vendor_state: job.state.clone(),
        vendor_since: job.create_date.clone(),
    }
}

/// What a long job's record means for its job.
pub(super) fn long_job(job: &LongJob, context: Context<'_>) -> Observation {
    let mut parts = Vec::new();
    let mut findings = Vec::new();
    let phase = match Word::of(job) {
        Word::Waiting => Phase::Scheduled,
        Word::Running => Phase::Running,
        Word::Suspended => Phase::Suspended,
        Word::Canceling => Phase::Cancelling,
        Word::Canceled => Phase::Cancelled,
        Word::Unknown => Phase::Unclear,
        Word::Failed => {
            parts = outcome::hosts_of_failed(job.job_result.as_deref());
            Phase::Failed(outcome::failure(job.job_result.as_deref()))
        }
        Word::Succeeded => {
            let judged = outcome::judge(job.job_result.as_deref(), context.notes.hosts, context.hosts_after);
            parts = judged.parts;
            findings = judged.findings;
            if let Some(hosts) = context.hosts_after {
                let before = context.notes.systems.as_deref();
                findings.extend(aftermath::findings(hosts, before, is_whole(context.planned)));
            }
            judged.phase
        }
    };
    let mut notes = context.notes.clone();
    notes.long_job = job.uuid.clone().or(notes.long_job);
    notes.api_job = job.api_id.clone().or(notes.api_job);
    let mut out = Observation::new(phase, Provenance::Reported);
    out.vendor_state.clone_from(&job.state);
    out.findings = findings;
    out.parts = parts;
    out.ids = ids(&notes, job);
    out.answer = answer(Some(job), None);
    out.handle = notes.handle();
    if Word::of(job).is_live() {
        out.cancelable = Some(Cancelable::no(NO_CANCEL));
        out = over_time(out, job, context);
    }
    out
}

/// Whether the update was of the whole cluster, and not of one host.
fn is_whole(planned: &Planned) -> bool {
    planned.operation.upgrade().is_none_or(|upgrade| match &upgrade.options {
        VendorOptions::None => true,
        VendorOptions::Zstack(options) => options.host_uuid.is_none(),
    })
}

/// Marks a live job that is past ZStack's limits: first as late, and as timed out once even ZStack's own inner
/// limit must have ended it.
fn over_time(mut out: Observation, job: &LongJob, context: Context<'_>) -> Observation {
    let last = context.notes.long_job_deadline(context.planned);
    if last.is_some_and(|last| last < context.now) {
        let word = job.state.as_deref().unwrap_or("without a state");
        out.phase = Phase::Failed(Failure::new(
            FailureReason::TimedOut,
            format!(
                "the long job is still {word} past ZStack's own limit for long jobs, so no management node works on \
                 it any more. Look at the hosts before starting again"
            ),
        ));
        out.provenance = Provenance::Inferred;
    } else if context.notes.api_deadline(context.planned).is_some_and(|late| late < context.now) {
        let text = "the update runs longer than ZStack's apiTimeout for it; ZStack still reports it as live";
        out.waiting = Some((WaitReason::Overdue, text.to_owned(), last));
    }
    out
}

/// The start was taken and its API job is not over, or not seen yet.
pub(super) fn api_job_pending(context: Context<'_>) -> Observation {
    let deadline = context.notes.api_deadline(context.planned);
    if deadline.is_some_and(|end| end < context.now) {
        let mut out = Observation::new(
            Phase::Failed(Failure::new(
                FailureReason::TimedOut,
                "ZStack took the start, but its API job did not end within apiTimeout and no long job appeared. Look \
                 at the hosts before starting again",
            )),
            Provenance::Inferred,
        );
        out.ids = ids(context.notes, &LongJob::default());
        out.handle = context.notes.handle();
        return out;
    }
    let mut out = Observation::new(Phase::Scheduled, Provenance::Reported);
    out.ids = ids(context.notes, &LongJob::default());
    out.handle = context.notes.handle();
    out.cancelable = Some(Cancelable::no(NO_CANCEL));
    out
}

/// The API job's record is gone (ZStack forgets finished ones after 3 to 4 hours), and no long job is known.
pub(super) fn api_job_lost(context: Context<'_>, why: &str) -> Observation {
    let mut out = api_job_pending(context);
    if let Phase::Failed(failure) = &mut out.phase {
        failure.message =
            format!("{why}; ZStack's time limit for it has passed. Look at the hosts before starting again");
    } else {
        out.phase = Phase::Unclear;
        out.waiting =
            Some((WaitReason::Overdue, why.to_owned(), context.notes.api_deadline(context.planned)));
    }
    out.provenance = Provenance::Inferred;
    out
}

/// The API job failed before there was a long job.
///
/// One that died of its session was refused before anything ran, and ZStack's record of that proves it for as long as
/// ZStack keeps it. So long the start has lapsed, and may be made again under another id; later it was refused for good.
pub(super) fn api_job_failed(error: &ErrorCode, context: Context<'_>) -> Observation {
    let phase = if error.is(fault::INVALID_SESSION) {
        let text = "the session expired between Drydock and ZStack, and ZStack refused the start before anything ran";
        let mut failure = Failure::new(FailureReason::VendorRejected, text).with_code(fault::INVALID_SESSION);
        failure.metadata = fault::facts(error);
        let age = context.planned.submit_time.map(|sent| clock::since(sent, context.now));
        if age.is_some_and(|age| age < LAPSES) {
            Phase::Lapsed(failure)
        } else {
            failure.message.push_str(". Start it again");
            Phase::Rejected(failure)
        }
    } else {
        Phase::Rejected(fault::refusal(error))
    };
    let mut out = Observation::new(phase, Provenance::Reported);
    out.ids = ids(context.notes, &LongJob::default());
    out.answer = answer(None, Some(error));
    out.handle = context.notes.handle();
    out
}

fn ids(notes: &Notes, job: &LongJob) -> BTreeMap<String, String> {
    [
        ("longJobUuid", job.uuid.as_ref().or(notes.long_job.as_ref())),
        ("apiId", job.api_id.as_ref().or(notes.api_job.as_ref())),
        ("managementNodeUuid", job.management_node_uuid.as_ref()),
        ("parentUuid", job.parent_uuid.as_ref()),
    ]
    .into_iter()
    .filter_map(|(name, id)| id.map(|id| (name.to_owned(), cut(id, 128))))
    .collect()
}

/// ZStack's fields as a JSON object, `{"inventory":{…}}` or `{"error":{…}}`, within the contract's bound.
pub(super) fn answer(job: Option<&LongJob>, error: Option<&ErrorCode>) -> Option<String> {
    let mut fields = Map::new();
    if let Some(job) = job {
        fields.insert("inventory".to_owned(), serde_json::to_value(job).ok()?);
    }
    if let Some(error) = error {
        fields.insert("error".to_owned(), serde_json::to_value(error).ok()?);
    }
    let mut value = Value::Object(fields);
    let mut text = value.to_string();
    let mut limit = MAX_TEXT;
    while text.len() > MAX_ANSWER && limit > 16 {
        shorten(&mut value, limit);
        text = value.to_string();
        limit /= 4;
    }
    (text.len() <= MAX_ANSWER).then_some(text)
}

fn shorten(value: &mut Value, limit: usize) {
    match value {
        Value::String(text) => *text = cut(text, limit),
        Value::Array(items) => items.iter_mut().for_each(|v| shorten(v, limit)),
        Value::Object(map) => map.values_mut().for_each(|v| shorten(v, limit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The percentage that ZStack gives: the newest entry of type `Progress`, 100·(hosts done)/(hosts). Entries of
/// type `Task` carry free text, shown beside it.
pub(super) fn progress(entries: &[TaskProgress]) -> Option<Progress> {
    let newest = |kind: &str| {
        entries
            .iter()
            .filter(|e| e.kind.as_deref() == Some(kind) && e.content.is_some())
            .max_by(|a, b| a.time.unwrap_or_default().total_cmp(&b.time.unwrap_or_default()))
    };
    let percent: f64 = newest("Progress")?.content.as_deref()?.trim().trim_end_matches('%').parse().ok()?;
    if !(0.0..=100.0).contains(&percent) {
        return None;
    }
    let message = newest("Task").and_then(|e| e.content.as_deref()).map(|text| cut(text, 256));
    Some(Progress { percent, message, completed: None, total: None })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::id::JobId;
    use crate::domain::operation::{Operation, Upgrade};
    use crate::domain::target::Target;

    const NOW: &str = "2025-06-05T08:00:00Z";

    fn planned() -> Planned {
        Planned {
            job: JobId::new(Uuid::from_u128(1)),
            target: Target::parse_name("providers/z/clusters/932696598b64375ea4ae6226cc0c1407").unwrap(),
            operation: Operation::Upgrade(Upgrade::default()),
            key: Uuid::from_u128(2),
            attempts: 1,
            submit_time: Some("2025-06-05T07:00:00Z".parse().unwrap()),
            handle: None,
            permit: crate::kit::permit::Permit::unlimited(),
            cancel_requested: false,
            watched: false,
        }
    }

    fn read(body: &str, now: &str, notes: &Notes) -> Observation {
        let planned = planned();
        let job: LongJob = serde_json::from_str(body).unwrap();
        long_job(&job, Context { planned: &planned, notes, now: now.parse().unwrap(), hosts_after: None })
    }

    fn state(word: &str) -> Observation {
        read(&format!(r#"{{"uuid":"l","apiId":"a","state":"{word}"}}"#), NOW, &Notes::default())
    }

    #[test]
    fn every_word_has_its_phase() {
        assert_eq!(state("Waiting").phase, Phase::Scheduled);
        assert_eq!(state("Running").phase, Phase::Running);
        assert_eq!(state("Suspended").phase, Phase::Suspended);
        assert_eq!(state("Canceling").phase, Phase::Cancelling);
        assert_eq!(state("Canceled").phase, Phase::Cancelled);
        let well = read(r#"{"state":"Succeeded","jobResult":"Succeeded"}"#, NOW, &Notes::default());
        assert_eq!(well.phase, Phase::Succeeded);
        assert!(matches!(state("Failed").phase, Phase::Failed(f) if f.reason == FailureReason::VendorFailed));
    }

    #[test]
    fn a_new_word_is_kept_and_breaks_nothing() {
        let seen = state("BRAND_NEW_STATE");
        assert_eq!((seen.phase, seen.vendor_state.as_deref()), (Phase::Unclear, Some("BRAND_NEW_STATE")));
        let none = read("{}", NOW, &Notes::default());
        assert_eq!((none.phase, none.vendor_state), (Phase::Unclear, None));
    }

    #[test]
    fn all_fields_of_the_inventory_are_readable() {
        let body = r#"{"uuid":"1","name":"n","description":"d","apiId":"a","jobName":"j","jobData":"{'x':1}",
            "jobResult":"{\"h\":\"success\"}","targetResourceUuid":"t","managementNodeUuid":"m","parentUuid":"p",
            "createDate":"Jun 5, 2025 3:47:29 PM","lastOpDate":"Jun 5, 2025 3:48:29 PM","executeTime":60,
            "state":"Succeeded"}"#;
        let seen = read(body, NOW, &Notes::default());
        let answer: Value = serde_json::from_str(seen.answer.as_deref().unwrap()).unwrap();
        let sent: Value = serde_json::from_str(body).unwrap();
        assert_eq!(answer["inventory"], sent);
        assert_eq!(seen.ids["longJobUuid"], "1");
        assert_eq!(seen.ids["apiId"], "a");
        assert_eq!(seen.ids["managementNodeUuid"], "m");
    }

    #[test]
    fn an_answer_stays_within_its_bound() {
        let hosts: Map<String, Value> =
            (0..2000).map(|n| (format!("{n:032x}"), Value::from("success"))).collect();
        let job = LongJob {
            uuid: Some("l".into()),
            job_result: Some(Value::Object(hosts).to_string()),
            job_data: Some("x".repeat(30_000)),
            ..LongJob::default()
        };
        let text = answer(Some(&job), None).unwrap();
        assert!(text.len() <= 16 * 1024, "{}", text.len());
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["inventory"]["uuid"], "l");
    }

    #[test]
    fn late_is_said_first_and_over_only_past_the_inner_limit() {
        let notes = Notes { api_timeout_ms: Some(1_800_000), ..Notes::default() };
        let running = r#"{"uuid":"l","state":"Running"}"#;
        assert_eq!(read(running, "2025-06-05T07:20:00Z", &notes).waiting, None);
        let late = read(running, NOW, &notes);
        assert_eq!(late.phase, Phase::Running);
        assert!(matches!(late.waiting, Some((WaitReason::Overdue, _, Some(_)))));
        let over = read(running, "2025-06-09T07:00:00Z", &notes);
        assert!(matches!(over.phase, Phase::Failed(f) if f.reason == FailureReason::TimedOut));
        let done = read(
            r#"{"uuid":"l","state":"Succeeded","jobResult":"Succeeded"}"#,
            "2025-06-09T07:00:00Z",
            &notes,
        );
        assert_eq!(done.phase, Phase::Succeeded);
    }

    #[test]
    fn an_api_job_that_never_ends_times_out() {
        let planned = planned();
        let notes = Notes { api_timeout_ms: Some(60_000), ..Notes::default() };
        let at = |now: &str| Context {
            planned: &planned,
            notes: &notes,
            now: now.parse().unwrap(),
            hosts_after: None,
        };
        assert_eq!(api_job_pending(at("2025-06-05T07:00:30Z")).phase, Phase::Scheduled);
        let over = api_job_pending(at(NOW));
        assert!(matches!(over.phase, Phase::Failed(f) if f.reason == FailureReason::TimedOut));
    }

    #[test]
    fn a_session_that_died_before_the_start_is_told_while_zstack_can_prove_it() {
        let mut planned = planned();
        let error = ErrorCode { code: Some("ID.1001".into()), ..ErrorCode::default() };
        let read = |planned: &Planned, now: Timestamp| {
            let context = Context { planned, notes: &Notes::default(), now, hosts_after: None };
            api_job_failed(&error, context).phase
        };
        let sent = planned.submit_time.unwrap();
        let Phase::Lapsed(failure) = read(&planned, clock::after(sent, LAPSES / 2)) else {
            panic!("not lapsed")
        };
        assert_eq!(failure.vendor_code.as_deref(), Some("ID.1001"));
        assert!(failure.message.contains("before anything ran"));
        assert!(!failure.message.contains("again"), "nobody has to do anything: {}", failure.message);
        // By the time of the look-up ZStack might have forgotten it.
        let refused = Failure { message: format!("{}. Start it again", failure.message), ..failure };
        assert_eq!(read(&planned, clock::after(sent, LAPSES)), Phase::Rejected(refused.clone()));
        planned.submit_time = None;
        assert_eq!(read(&planned, sent), Phase::Rejected(refused));
    }

    #[test]
    fn progress_is_never_invented() {
        let entries = |text: &str| serde_json::from_str::<Vec<TaskProgress>>(text).unwrap();
        assert_eq!(progress(&[]), None);
        assert_eq!(progress(&entries(r#"[{"type":"Task","content":"50"}]"#)), None);
        assert_eq!(progress(&entries(r#"[{"type":"Progress","content":"half"}]"#)), None);
        assert_eq!(progress(&entries(r#"[{"type":"Progress","content":"140"}]"#)), None);
        let seen = progress(&entries(
            r#"[{"type":"Progress","content":"33","time":1.5E12},{"type":"Progress","content":"66","time":1600000000000},
                {"type":"Task","content":"updating","time":1,"subTasks":[]}]"#,
        ));
        assert_eq!(
            seen,
            Some(Progress { percent: 66.0, message: Some("updating".into()), completed: None, total: None })
        );
    }
}
