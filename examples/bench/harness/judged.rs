//! Judges what subscribers were told under load, by the checkers of `docs/watch.md`.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use drydock::api::pb;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use prost::Message as _;
use tonic::Streaming;
use tonic::transport::Channel;

use super::wire;
use crate::watch_checks::{self, Commits, Recorder, Truth, wire as seen};

const LIST_EVENTS: &str = "/drydock.v1.JobService/ListJobEvents";
/// How many jobs' events are asked for at once.
const AT_ONCE: usize = 64;
/// How long a subscriber that reads again may take to the newest event.
const PATIENCE: Duration = Duration::from_secs(60);

/// What had happened to some jobs before any subscriber came.
pub struct Before {
    jobs: Vec<String>,
    known: HashSet<(String, u64)>,
}

impl Before {
    /// What has happened to these jobs until now.
    pub async fn of(channel: &Channel, jobs: &[String]) -> anyhow::Result<Self> {
        let events = events(channel, jobs).await?;
        let known = events.into_iter().map(|event| (event.job, event.sequence)).collect();
        Ok(Self { jobs: jobs.to_vec(), known })
    }

    /// What has happened to them by now. Nothing more may happen while subscribers are judged by it.
    pub async fn until_now(&self, channel: &Channel) -> anyhow::Result<Judge> {
        let mut truth = seen::truth(&events(channel, &self.jobs).await?, &all, true, &Commits::default());
        for fact in &mut truth.facts {
            fact.before = self.known.contains(&(fact.event.job.clone(), fact.event.sequence));
        }
        Ok(Judge(truth))
    }
}

/// What really happened.
pub struct Judge(Truth);

impl Judge {
    /// Judges all that one subscriber without a filter was told, from its snapshot to the newest event. When it was told
    /// is not judged: the messages are read after the measurement.
    ///
    /// # Errors
    /// A promise was broken.
    pub fn judge(&self, latest_only: bool, told: &[Bytes]) -> anyhow::Result<()> {
        let mut recorder = Recorder::new(latest_only, Duration::MAX);
        recorder.open(None, true);
        for message in told {
            let message = pb::WatchJobsResponse::decode(message.clone())?;
            let body = seen::body(&message, &all).context("a message that says nothing")?;
            recorder.note(body, seen::token(&message));
        }
        // Over a connection nobody learns what was committed together; the tests judge that property.
        let breaches = watch_checks::judge_without_commits(recorder.recording(), &self.0);
        ensure!(breaches.is_empty(), "a subscriber's stream broke its promises: {breaches:#?}");
        Ok(())
    }

    /// Reads a stream until it has told the newest event of every job, and gives all that it told.
    pub async fn read_on(&self, messages: &mut Streaming<Bytes>) -> anyhow::Result<Vec<Bytes>> {
        let mut newest: HashMap<String, u64> = HashMap::new();
        for fact in &self.0.facts {
            let newest = newest.entry(fact.event.job.clone()).or_default();
            *newest = fact.event.sequence.max(*newest);
        }
        let mut told = Vec::new();
        let reading = async {
            while !newest.is_empty() {
                let message = messages.message().await?.context("a watch ended")?;
                told.push(message.clone());
                let message = pb::WatchJobsResponse::decode(message)?;
                let (shown, changed) = match message.message {
                    Some(pb::watch_jobs_response::Message::Snapshot(job)) => (Some(job), Vec::new()),
                    Some(pb::watch_jobs_response::Message::Events(batch)) => (None, batch.events),
                    _ => (None, Vec::new()),
                };
                let changed = changed.into_iter().map(|event| (event.job, event.sequence));
                for (job, sequence) in shown.map(|job| (job.name, job.sequence)).into_iter().chain(changed) {
                    if newest.get(&job).is_some_and(|newest| sequence >= *newest) {
                        newest.remove(&job);
                    }
                }
            }
            anyhow::Ok(())
        };
        let read = tokio::time::timeout(PATIENCE, reading).await;
        read.context("a subscriber that reads again never came to the newest event")??;
        Ok(told)
    }
}

/// Nothing is filtered.
const fn all(_: &str, _: &str, _: pb::JobState) -> bool {
    true
}

async fn events(channel: &Channel, jobs: &[String]) -> anyhow::Result<Vec<pb::JobEvent>> {
    let lists: Vec<_> =
        stream::iter(jobs.iter().map(|job| of_job(channel, job))).buffered(AT_ONCE).try_collect().await?;
    Ok(lists.concat())
}

async fn of_job(channel: &Channel, job: &str) -> anyhow::Result<Vec<pb::JobEvent>> {
    let (mut events, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListJobEventsRequest { parent: job.to_owned(), page_size: 1000, page_token };
        let answer = wire::unary(channel, LIST_EVENTS, request.encode_to_vec().into()).await?;
        let answer = pb::ListJobEventsResponse::decode(answer)?;
        events.extend(answer.events);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok(events);
        }
    }
}
