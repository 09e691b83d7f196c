//! Judges what a subscriber was told under load, by the checkers of `docs/watch.md`.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use drydock::api::pb;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use prost::Message as _;
use tonic::transport::Channel;

use super::wire;
use crate::watch_checks::{self, Commits, Recorder, wire as seen};

const LIST_EVENTS: &str = "/drydock.v1.JobService/ListJobEvents";
/// How many jobs' events are asked for at once.
const AT_ONCE: usize = 64;

/// What had happened before a subscriber came, and what may have while it came.
pub struct Before(HashSet<(String, u64)>);

impl Before {
    /// What has happened to these jobs until now.
    pub async fn of(channel: &Channel, jobs: &[String]) -> anyhow::Result<Self> {
        let events = events(channel, jobs).await?;
        Ok(Self(events.into_iter().map(|event| (event.job, event.sequence)).collect()))
    }

    /// Judges all that a subscriber without a filter was told, once nothing more comes. When it was told is not judged:
    /// the messages are read after the measurement.
    ///
    /// # Errors
    /// A promise was broken.
    pub async fn judge(&self, channel: &Channel, jobs: &[String], told: &[Bytes]) -> anyhow::Result<()> {
        let all = |_: &str, _: &str, _: pb::JobState| true;
        let mut recorder = Recorder::new(false, Duration::MAX);
        recorder.open(None, false);
        for message in told {
            let message = pb::WatchJobsResponse::decode(message.clone())?;
            let body = seen::body(&message, &all).context("a message that says nothing")?;
            recorder.note(body, seen::token(&message));
        }
        let mut truth = seen::truth(&events(channel, jobs).await?, &all, true, &Commits::default());
        for fact in &mut truth.facts {
            fact.before = self.0.contains(&(fact.event.job.clone(), fact.event.sequence));
        }
        // Over a connection nobody learns what was committed together; the tests judge that property.
        let breaches = watch_checks::judge_without_commits(recorder.recording(), &truth);
        ensure!(breaches.is_empty(), "the first subscriber's stream broke its promises: {breaches:#?}");
        Ok(())
    }
}

async fn events(channel: &Channel, jobs: &[String]) -> anyhow::Result<Vec<pb::JobEvent>> {
    let calls = jobs.iter().map(|job| async move {
        let request = pb::ListJobEventsRequest { parent: job.clone(), page_size: 1000, ..Default::default() };
        let answer = wire::unary(channel, LIST_EVENTS, request.encode_to_vec().into()).await?;
        anyhow::Ok(pb::ListJobEventsResponse::decode(answer)?.events)
    });
    let lists: Vec<_> = stream::iter(calls).buffered(AT_ONCE).try_collect().await?;
    Ok(lists.concat())
}
