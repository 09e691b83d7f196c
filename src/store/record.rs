//! Rows and what they mean: the part of reading and writing that is the same in every SQL store.
//!
//! Ids are UUIDs, times are microseconds since 1970, and `spec`, `status`, `control` are JSON.
//! A row that cannot be read is `Corrupt`, with the row's name and the place of the fault but never its content.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::contract::JobFilter;
use super::error::StoreError;
use super::page_token::After;
use crate::domain::event::{About, Event, EventKind};
use crate::domain::id::{JobId, ProviderId, RequestId};
use crate::domain::job::{Job, JobSpec, JobStatus};
use crate::domain::page::Page;
use crate::domain::state::JobState;

/// The columns of a job's row that make a [`Job`].
#[derive(Debug)]
pub(super) struct JobRow {
    pub id: JobId,
    pub version: i64,
    pub sequence: i64,
    pub spec: String,
    pub status: String,
    pub control: String,
}

impl JobRow {
    /// The job of this row.
    pub(super) fn into_job(self) -> Result<Job, StoreError> {
        Ok(Job {
            id: self.id,
            spec: from_json(self.id, "spec", &self.spec)?,
            status: from_json(self.id, "status", &self.status)?,
            control: from_json(self.id, "control", &self.control)?,
            version: from_int(self.id, "version", self.version)?,
            sequence: from_int(self.id, "sequence", self.sequence)?,
        })
    }
}

/// The columns of an event's row.
#[derive(Debug)]
pub(super) struct EventRow {
    pub position: i64,
    pub commit_no: i64,
    pub job: JobId,
    pub sequence: i64,
    pub time: i64,
    pub kind: String,
    pub message: String,
    pub status: String,
}

impl EventRow {
    /// The event of this row; `about` belongs to its job.
    fn into_event(self, about: Arc<About>) -> Result<Event, StoreError> {
        let kind: Result<_, serde::de::value::Error> =
            EventKind::deserialize(self.kind.as_str().into_deserializer());
        let kind = kind.map_err(|_| corrupt(self.job, "event's kind", "not known"))?;
        Ok(Event {
            position: from_int(self.job, "event's position", self.position)?,
            commit: from_int(self.job, "event's commit", self.commit_no)?,
            job: self.job,
            sequence: from_int(self.job, "event's sequence", self.sequence)?,
            time: time(self.job, "event's time", self.time)?,
            kind,
            message: self.message,
            status: from_json::<JobStatus>(self.job, "event's status", &self.status)?,
            about,
        })
    }
}

/// Makes events of rows; those of one job share what they are about.
#[derive(Debug, Default)]
pub(super) struct Events(HashMap<JobId, Arc<About>>);

impl Events {
    /// The event of a row; `spec` is the column of its job.
    pub(super) fn event(&mut self, row: EventRow, spec: &str) -> Result<Event, StoreError> {
        let about = match self.0.get(&row.job) {
            Some(known) => Arc::clone(known),
            None => {
                let fresh = Arc::new(about(row.job, spec)?);
                self.0.insert(row.job, Arc::clone(&fresh));
                fresh
            }
        };
        row.into_event(about)
    }
}

/// Events in the order of their positions, as rows of whole commits: each with its position, its commit, and what could be
/// made of it. They are given up to the first commit with damage; nobody is ever given a part of a commit.
///
/// # Errors
/// `DamagedEvents` when there is nothing before the damage.
pub(super) fn whole_commits(
    rows: Vec<(u64, u64, Result<Event, StoreError>)>,
) -> Result<Vec<Event>, StoreError> {
    let mut events: Vec<Event> = Vec::with_capacity(rows.len());
    let mut rows = rows.into_iter();
    while let Some((position, damaged, event)) = rows.next() {
        match event {
            Ok(event) => events.push(event),
            Err(why) => {
                events.retain(|event| event.commit != damaged);
                if !events.is_empty() {
                    return Ok(events);
                }
                let rest = rows.take_while(|(_, commit, _)| *commit == damaged);
                let through = rest.last().map_or(position, |(last, ..)| last);
                return Err(StoreError::DamagedEvents { through, why: why.to_string() });
            }
        }
    }
    Ok(events)
}

/// A position or the number of a commit, from its column.
pub(super) fn number(value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Corrupt("an event's position or commit".to_owned()))
}

/// What the events of a job are about, from the `spec` column.
fn about(job: JobId, spec: &str) -> Result<About, StoreError> {
    let spec: JobSpec = from_json(job, "spec", spec)?;
    Ok(About {
        operation: spec.operation.kind(),
        target: spec.target,
        labels: spec.labels,
        retry_of: spec.retry_of,
    })
}

/// A value as a JSON column holds it.
pub(super) fn to_json<T: Serialize>(job: JobId, part: &str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| corrupt(job, part, error))
}

fn from_json<T: DeserializeOwned>(job: JobId, part: &str, text: &str) -> Result<T, StoreError> {
    // Not the error's own words: they quote what they found.
    serde_json::from_str(text).map_err(|error| {
        corrupt(job, part, format_args!("{:?} fault at column {}", error.classify(), error.column()))
    })
}

fn from_int(job: JobId, part: &str, value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|error| corrupt(job, part, error))
}

fn time(job: JobId, part: &str, micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|error| corrupt(job, part, error))
}

fn corrupt(job: JobId, part: &str, error: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{job}: {part}: {error}"))
}

/// A job's id from its column.
pub(super) fn job_id(bytes: &[u8]) -> Result<JobId, StoreError> {
    Uuid::from_slice(bytes).map(JobId::new).map_err(|_| StoreError::Corrupt("a job's id".to_owned()))
}

/// A request's id from its column.
pub(super) fn request_of(uuid: Uuid) -> Result<RequestId, StoreError> {
    RequestId::parse(&uuid.to_string()).map_err(|_| StoreError::Corrupt("a request's id".to_owned()))
}

/// The jobs of a page of live ones, and the id of its last row, damaged or not. A damaged job is left out, loudly:
/// it harms nobody but itself, and the provider's other jobs go on.
pub(super) fn undamaged(rows: Vec<JobRow>) -> (Vec<Job>, Option<JobId>) {
    let last = rows.last().map(|row| row.id);
    let mut jobs = Vec::with_capacity(rows.len());
    for row in rows {
        match row.into_job() {
            Ok(job) => jobs.push(job),
            Err(error) => tracing::error!(%error, "a damaged job is left where it is"),
        }
    }
    (jobs, last)
}

/// A page of a list from one row more than it holds, if there is one: that tells whether there is a next page.
pub(super) fn page(filter: &JobFilter, size: u32, rows: Vec<JobRow>) -> Result<Page<Job>, StoreError> {
    let size = size as usize;
    let more = rows.len() > size;
    let items = rows.into_iter().take(size).map(JobRow::into_job).collect::<Result<Vec<_>, _>>()?;
    let next = items.last().filter(|_| more).map(|last| {
        let create_time = last.spec.create_time.as_microsecond();
        After { create_time, id: last.id }.token(filter)
    });
    Ok(Page { items, next })
}

/// How many live jobs of a provider stand in a state, from the columns.
pub(super) fn live_count(
    provider: &str,
    state: &str,
    count: i64,
) -> Result<(ProviderId, JobState, u64), StoreError> {
    let damaged = |column: &str| StoreError::Corrupt(format!("a job's {column}"));
    let provider = ProviderId::parse(provider).map_err(|_| damaged("provider"))?;
    let state = JobState::parse(state).ok_or_else(|| damaged("state"))?;
    Ok((provider, state, u64::try_from(count).map_err(|_| damaged("count"))?))
}

/// When a job ended, in microseconds, for retention; `None` while it has not.
pub(super) fn end_time(job: &Job) -> Option<i64> {
    let time = job.status.end_time.unwrap_or(job.status.update_time);
    job.status.state.is_ended().then(|| time.as_microsecond())
}

/// A count as an integer column holds it. No count of ours reaches the top; one that does matches no row.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The first whole microsecond at or after `at`. With columns in whole microseconds, `column >= ceil(at)` is
/// "at or after `at`" and `column < ceil(at)` is "before `at`".
pub(super) fn ceil_micros(at: Timestamp) -> i64 {
    let micros = at.as_microsecond();
    match Timestamp::from_microsecond(micros) {
        Ok(cut) if cut < at => micros.saturating_add(1),
        _ => micros,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceil_rounds_up_only_what_is_between() {
        let at = |nanos| ceil_micros(Timestamp::from_nanosecond(nanos).unwrap());
        assert_eq!([at(2_000), at(2_001), at(2_999), at(3_000)], [2, 3, 3, 3]);
        assert_eq!([at(-2_000), at(-1_999), at(-1)], [-2, -1, 0]);
    }

    #[test]
    fn every_progress_is_read_back_exactly() {
        // serde_json needs its feature `float_roundtrip` for this. Without it a job would seem to have changed
        // after a restart.
        for part in 0..10_000 {
            let percent = f64::from(part) * 100.0 / 9_973.0;
            let text = to_json(JobId::new(Uuid::nil()), "percent", &percent).unwrap();
            assert_eq!(
                from_json::<f64>(JobId::new(Uuid::nil()), "percent", &text).unwrap().to_bits(),
                percent.to_bits()
            );
        }
    }

    #[test]
    fn damage_is_told_without_content() {
        let row = JobRow {
            id: JobId::new(Uuid::from_u128(7)),
            version: 1,
            sequence: 1,
            spec: "{\"target\": \"providers/p/clusters/c\", \"operation\": {\"kind\": \"hunter2\"}}"
                .to_owned(),
            status: String::new(),
            control: String::new(),
        };
        let StoreError::Corrupt(text) = row.into_job().unwrap_err() else { panic!("not corrupt") };
        assert!(text.contains("jobs/00000000-0000-0000-0000-000000000007: spec"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
