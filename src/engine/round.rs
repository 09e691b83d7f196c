//! One round of vendor calls for a group of jobs: asked together, answered one by one.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::Instant;
use tracing::Instrument;

use super::provider::Runtime;
use super::step::Heard;
use crate::domain::error::VendorFault;
use crate::domain::id::JobId;
use crate::domain::job::Job;
use crate::kit::crash_point::{self, CrashPoint};
use crate::kit::permit::Permit;
use crate::kit::trace::{self, TraceParent};
use crate::vendors::contract::{Planned, Submission, Submitted};
use crate::vendors::error::{Reached, VendorError};

/// How many single-job calls of one round run at once; the provider's own limits hold besides.
const AT_ONCE: usize = 16;

/// What to ask.
pub(super) enum Ask {
    Check(Vec<Planned>),
    Submit(Vec<Submission>),
    Find(Vec<Planned>),
    Observe(Vec<Planned>),
    Cancel(Vec<Planned>),
    Reschedule(Vec<Planned>),
}

/// What was heard, one entry for each job asked about.
pub(super) struct Answers {
    pub heard: Vec<(JobId, Heard)>,
    /// When the last of them was heard: whoever takes them in may come late.
    pub at: Instant,
}

impl Ask {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Check(_) => "check",
            Self::Submit(_) => "submit",
            Self::Find(_) => "find",
            Self::Observe(_) => "observe",
            Self::Cancel(_) => "cancel",
            Self::Reschedule(_) => "reschedule",
        }
    }

    /// Whether it changes nothing at the vendor.
    pub const fn reads(&self) -> bool {
        match self {
            Self::Check(_) | Self::Find(_) | Self::Observe(_) => true,
            Self::Submit(_) | Self::Cancel(_) | Self::Reschedule(_) => false,
        }
    }

    /// Whether it runs prechecks.
    pub const fn checks(&self) -> bool {
        match self {
            Self::Check(_) => true,
            Self::Submit(_) | Self::Find(_) | Self::Observe(_) | Self::Cancel(_) | Self::Reschedule(_) => {
                false
            }
        }
    }

    /// The crash points around the call.
    const fn around(&self) -> (CrashPoint, CrashPoint) {
        match self {
            Self::Check(_) => (CrashPoint::CheckUnsent, CrashPoint::CheckAnswered),
            Self::Submit(_) => (CrashPoint::StartUnsent, CrashPoint::StartAnswered),
            Self::Find(_) => (CrashPoint::LookUnsent, CrashPoint::LookAnswered),
            Self::Observe(_) => (CrashPoint::ObserveUnsent, CrashPoint::ObserveAnswered),
            Self::Cancel(_) => (CrashPoint::CancelUnsent, CrashPoint::CancelAnswered),
            Self::Reschedule(_) => (CrashPoint::MoveUnsent, CrashPoint::MoveAnswered),
        }
    }

    fn jobs(&self) -> Vec<JobId> {
        match self {
            Self::Check(batch)
            | Self::Find(batch)
            | Self::Observe(batch)
            | Self::Cancel(batch)
            | Self::Reschedule(batch) => batch.iter().map(|p| p.job).collect(),
            Self::Submit(batch) => batch.iter().map(|s| s.planned.job).collect(),
        }
    }
}

/// A job as the adapter sees it.
pub(super) fn planned(job: &Job, permit: &Permit, watched: bool) -> Planned {
    Planned {
        job: job.id,
        target: job.spec.target.clone(),
        operation: job.operation_now(),
        key: job.control.key,
        attempts: job.control.attempts,
        // Also of a start that was taken back: what proves that it did not arrive ages from here.
        submit_time: job.status.submit_time.or(job.control.first_lost),
        handle: job.control.handle.clone(),
        permit: permit.clone(),
        cancel_requested: job.status.cancel_request_time.is_some(),
        watched,
    }
}

/// Asks the vendor. `traces` are the traces of the jobs asked about.
pub(super) async fn ask(runtime: Arc<Runtime>, ask: Ask, traces: Vec<TraceParent>) -> Answers {
    let jobs = ask.jobs();
    let span = tracing::info_span!(
        "drydock.round",
        otel.name = %format_args!("drydock.{}", ask.name()),
        drydock.provider = runtime.provider.id.as_str(),
        drydock.jobs = jobs.len(),
        job.id = tracing::field::Empty,
    );
    if let [job] = jobs.as_slice() {
        span.record("job.id", tracing::field::display(job));
    }
    join_traces(&span, traces);
    let (before, after) = ask.around();
    crash_point::reach(before);
    let heard = call(&runtime, ask, jobs).instrument(span).await;
    crash_point::reach(after);
    Answers { heard, at: Instant::now() }
}

/// Jobs of one caller share its trace; a round over several traces stands alone and links to each.
fn join_traces(span: &tracing::Span, mut traces: Vec<TraceParent>) {
    traces.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    traces.dedup();
    match traces.as_slice() {
        [one] => trace::adopt(span, one),
        many => many.iter().take(32).for_each(|t| trace::link(span, t)),
    }
}

async fn call(runtime: &Runtime, ask: Ask, jobs: Vec<JobId>) -> Vec<(JobId, Heard)> {
    let vendor = &runtime.provider.vendor;
    let told = |error| runtime.told(error);
    match ask {
        Ask::Check(batch) => {
            let answers = vendor.check(&batch).await;
            pair(jobs, answers.into_iter().map(|a| Heard::Checked(a.map_err(told))), |e| {
                Heard::Checked(Err(e))
            })
        }
        Ask::Submit(batch) => {
            let answers = vendor.submit(&batch).await;
            let answers = answers.into_iter().map(|answer| match answer {
                Submitted::Failed(error) => Submitted::Failed(told(error)),
                Submitted::Started(_) | Submitted::Refused(..) => answer,
            });
            pair(jobs, answers.map(Heard::Submitted), |e| Heard::Submitted(Submitted::Failed(e)))
        }
        Ask::Observe(batch) => {
            let answers = vendor.observe(&batch).await;
            pair(jobs, answers.into_iter().map(|a| Heard::Observed(a.map_err(told))), |e| {
                Heard::Observed(Err(e))
            })
        }
        Ask::Find(batch) => {
            each(batch, |planned| async move { Heard::Looked(vendor.find(&planned).await.map_err(told)) })
                .await
        }
        Ask::Cancel(batch) => {
            each(batch, |planned| async move {
                Heard::CancelAnswered(vendor.cancel(&planned).await.map_err(told))
            })
            .await
        }
        Ask::Reschedule(batch) => {
            each(batch, |planned| async move {
                let answer = vendor.reschedule(&planned).await.map_err(told);
                Heard::Rescheduled(Box::new(planned.operation), answer)
            })
            .await
        }
    }
}

async fn each<F, O>(batch: Vec<Planned>, one: F) -> Vec<(JobId, Heard)>
where
    F: Fn(Planned) -> O,
    O: Future<Output = Heard>,
{
    stream::iter(batch)
        .map(|planned| {
            let job = planned.job;
            let answer = one(planned);
            async move { (job, answer.await) }
        })
        .buffered(AT_ONCE)
        .collect()
        .await
}

/// Pairs answers with their jobs. An adapter that answers too few leaves the rest unknown, never unasked.
fn pair(
    jobs: Vec<JobId>,
    answers: impl Iterator<Item = Heard>,
    unknown: impl Fn(VendorError) -> Heard,
) -> Vec<(JobId, Heard)> {
    let mut answers = answers.fuse();
    jobs.into_iter()
        .map(|job| {
            let heard = answers.next().unwrap_or_else(|| {
                unknown(VendorError::new(
                    VendorFault::Garbled,
                    Reached::Maybe,
                    "the adapter left this job out",
                ))
            });
            (job, heard)
        })
        .collect()
}
