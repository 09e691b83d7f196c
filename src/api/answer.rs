//! What became of the entries of a request, as messages.

use super::convert::job::{finding, job, verdict};
use super::convert::operation::operation;
use super::gate::Outcome;
use super::{pb, status};
use crate::domain::error::Error;
use crate::domain::operation::Operation;
use crate::domain::target::Target;
use crate::engine::calls::Checked;

/// The answer to a request with one entry, as its message has it.
#[derive(Debug, Default)]
pub struct One {
    /// The job, unless only a plan was asked for.
    pub job: Option<pb::Job>,
    /// Whether an earlier call made the job.
    pub reused: bool,
    /// The plan, if that was asked for.
    pub plan: Option<pb::Plan>,
}

/// The answer to a request with one entry.
pub fn one(outcome: Outcome) -> One {
    match outcome {
        Outcome::Started(started) => One { job: Some(job(&started.job)), reused: started.reused, plan: None },
        Outcome::Planned(planned) => One { plan: Some(plan(&planned)), ..One::default() },
    }
}

/// The answer to a request with many entries, in their order.
pub fn many(outcomes: Vec<(Target, Result<Outcome, Error>)>) -> Vec<pb::StartResult> {
    outcomes.into_iter().map(|(target, outcome)| result(&target, outcome)).collect()
}

fn result(target: &Target, outcome: Result<Outcome, Error>) -> pb::StartResult {
    use pb::start_result::Outcome as Wire;
    let (outcome, reused) = match outcome {
        Ok(Outcome::Started(started)) => (Wire::Job(job(&started.job)), started.reused),
        Ok(Outcome::Planned(planned)) => (Wire::Plan(plan(&planned)), false),
        Err(error) => (Wire::Error(status::inside(error)), false),
    };
    pb::StartResult { target: target.to_string(), outcome: Some(outcome), reused }
}

fn plan((asked, checked): &(Operation, Checked)) -> pb::Plan {
    pb::Plan {
        target: checked.target.to_string(),
        operation: Some(operation(asked)),
        findings: checked.findings.iter().map(finding).collect(),
        verdict: verdict(checked.verdict).into(),
        holder: checked.holder.map(|holder| holder.to_string()).unwrap_or_default(),
        foreign_operation: checked.foreign.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::convert::job::tests::full_job;
    use super::*;
    use crate::domain::finding::{Finding, Severity, Verdict};
    use crate::domain::id::JobId;
    use crate::engine::calls::Started;

    #[test]
    fn results_stand_in_order_each_by_itself() {
        let job = full_job();
        let target = job.spec.target.clone();
        let checked = Checked {
            target: target.clone(),
            findings: vec![Finding::new("v.f", Severity::Warning, "m")],
            verdict: Verdict::UnacceptedWarning,
            holder: Some(JobId::new(uuid::Uuid::from_u128(7))),
            foreign: Some("task-7".to_owned()),
        };
        let operation = job.spec.operation.clone();
        let results = many(vec![
            (target.clone(), Ok(Outcome::Started(Box::new(Started { job: job.clone(), reused: true })))),
            (target.clone(), Err(Error::TargetBusy { target: target.clone(), holder: job.id })),
            (target, Ok(Outcome::Planned(Box::new((operation, checked))))),
        ]);
        assert!(results.iter().all(|r| r.target == "providers/hw/instances/i-1"));
        use pb::start_result::Outcome as Wire;
        let Some(Wire::Job(first)) = &results[0].outcome else { panic!() };
        assert_eq!(first.name, job.id.to_string());
        assert!(results[0].reused);
        let Some(Wire::Error(second)) = &results[1].outcome else { panic!() };
        assert_eq!(second.code, 9);
        assert!(!second.details.is_empty());
        let Some(Wire::Plan(third)) = &results[2].outcome else { panic!() };
        assert_eq!(third.verdict, i32::from(pb::Verdict::UnacceptedWarning));
        assert_eq!(third.findings.len(), 1);
        assert_eq!(third.holder, job.id.to_string());
        assert_eq!(third.foreign_operation, "task-7");
        assert!(third.operation.is_some());
    }
}
