//! Waiting for the end of every job, and being the person who settles what nobody can determine.

use std::time::Duration;

use drydock::api::pb;
use drydock::simulators::EffectKind;
use pb::job_service_client::JobServiceClient;
use tokio::time::Instant;

use super::clients::Clients;
use super::dice::Dice;
use super::fleet::Fleet;
use super::record::{Happened, Start};
use super::truth::is_end;

/// How long a job may be INDETERMINATE before a person looks: the vendor's later word may come.
const DOUBT: Duration = Duration::from_secs(2);
/// How long jobs may take to end. What came and went unseen is believed by Huawei's adapter after five minutes, and a
/// window at Avisi may be long.
const ENDED_WITHIN: Duration = Duration::from_secs(360);

/// Waits until every job has ended. Gives up after a long while; the judge then finds what never ended.
pub async fn all_ended(clients: &Clients, fleet: &Fleet, dice: &mut Dice) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut moved = begun;
    let mut left = usize::MAX;
    while begun.elapsed() < ENDED_WITHIN {
        let jobs = clients.jobs(dice).await?;
        let live: Vec<_> = jobs.iter().filter(|job| !is_end(state(job))).collect();
        if live.is_empty() {
            return Ok(());
        }
        if live.len() != left {
            left = live.len();
            moved = Instant::now();
        }
        let doubtful: Vec<_> = live.iter().filter(|job| state(job) == pb::JobState::Indeterminate).collect();
        // Those that wait behind a doubtful one move only once it is settled.
        if !doubtful.is_empty() && moved.elapsed() > DOUBT {
            for job in doubtful {
                settle(job, clients, fleet, dice).await?;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn state(job: &pb::Job) -> pb::JobState {
    job.status.as_ref().map_or(pb::JobState::Unspecified, pb::JobStatus::state)
}

/// Looks at the target, as a person would, and says how the job ended.
async fn settle(job: &pb::Job, clients: &Clients, fleet: &Fleet, dice: &mut Dice) -> anyhow::Result<()> {
    let happened = happened(fleet)?.into_iter().find(|happened| happened.target == job.target);
    let outcome = match happened {
        None => pb::SettleOutcome::Cancelled,
        Some(Happened { starts, .. }) if starts.is_empty() => pb::SettleOutcome::Cancelled,
        Some(Happened { ends, .. })
            if ends.last().is_some_and(|end| end.to_lowercase().contains("succe")) =>
        {
            pb::SettleOutcome::Succeeded
        }
        Some(_) => pb::SettleOutcome::Failed,
    };
    let request = pb::SettleJobRequest {
        name: job.name.clone(),
        outcome: outcome.into(),
        reason: "the harness looked at the vendor's record".to_owned(),
    };
    let ask = |channel| {
        let request = request.clone();
        async move { JobServiceClient::new(channel).settle_job(request).await }
    };
    // The vendor's own word may have come first.
    let _ = clients.call(dice, ask).await?;
    Ok(())
}

/// What the vendors wrote down, by target.
pub fn happened(fleet: &Fleet) -> anyhow::Result<Vec<Happened>> {
    let mut all = Vec::new();
    for target in fleet.targets() {
        let effects = fleet.effects(target.kind.provider())?.all();
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        for effect in effects.iter().filter(|effect| effect.target == target.id) {
            match effect.kind {
                EffectKind::Start => starts.push(Start { at: effect.at, detail: effect.detail.clone() }),
                // The upgrade that overtook ours is not one of ours.
                EffectKind::End if ends.last().is_some_and(|end: &String| end == "OVERTAKEN") => {
                    ends.push("(foreign)".to_owned());
                }
                EffectKind::End => ends.push(effect.detail.clone()),
                // Avisi's way to cancel is to delete; a deleted upgrade has no end of its own.
                EffectKind::Cancel if target.kind == super::fleet::Kind::Avisi => {
                    ends.push("CANCELLED".to_owned());
                }
                EffectKind::Cancel
                | EffectKind::Refuse
                | EffectKind::Reschedule
                | EffectKind::Login
                | EffectKind::Logout => {}
            }
        }
        ends.retain(|end| end != "(foreign)");
        let (kind, partial) = (target.kind, target.partial);
        all.push(Happened { target: target.name.clone(), kind, partial, starts, ends });
    }
    Ok(all)
}
