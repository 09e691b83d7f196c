//! Rows of either database, column by column. Only how one value is read differs between the two.

use uuid::Uuid;

use super::error::StoreError;
use super::fault::{Fault, damage};
use super::ledger::Ledger;
use super::record::{EventRow, Events, JobRow, number, request_of, whole_commits};
use crate::domain::event::Event;
use crate::domain::id::JobId;
use crate::domain::target::Target;

/// The values of one row.
pub(super) trait Columns {
    fn int(&self, column: usize) -> Result<i64, Fault>;
    fn flag(&self, column: usize) -> Result<bool, Fault>;
    fn text(&self, column: usize) -> Result<&str, Fault>;
    fn bytes(&self, column: usize) -> Result<&[u8], Fault>;
    fn uuid(&self, column: usize) -> Result<Uuid, Fault>;
}

/// The first six columns of a row: id, version, sequence, spec, status, control.
pub(super) fn job_row(row: &impl Columns) -> Result<JobRow, Fault> {
    Ok(JobRow {
        id: JobId::new(row.uuid(0)?),
        version: row.int(1)?,
        sequence: row.int(2)?,
        spec: row.text(3)?.to_owned(),
        status: row.text(4)?.to_owned(),
        control: row.text(5)?.to_owned(),
    })
}

/// See [`job_row`].
pub(super) fn job_rows(rows: &[impl Columns]) -> Result<Vec<JobRow>, StoreError> {
    rows.iter().map(|row| Ok(job_row(row)?)).collect()
}

/// A row of position, commit, job, sequence, time, kind, message, status, and the spec of the job.
fn event(events: &mut Events, row: &impl Columns) -> Result<Event, StoreError> {
    let event = EventRow {
        position: row.int(0)?,
        commit_no: row.int(1)?,
        job: JobId::new(row.uuid(2)?),
        sequence: row.int(3)?,
        time: row.int(4)?,
        kind: row.text(5)?.to_owned(),
        message: row.text(6)?.to_owned(),
        status: row.text(7)?.to_owned(),
    };
    events.event(event, row.text(8)?)
}

/// Events of one job, from rows as [`event`] reads them.
pub(super) fn events(rows: &[impl Columns]) -> Result<Vec<Event>, StoreError> {
    let mut events = Events::default();
    rows.iter().map(|row| event(&mut events, row)).collect()
}

/// Events in the order of their positions, from rows as [`event`] reads them: up to the first commit with damage
/// ([`whole_commits`]).
pub(super) fn commits(rows: &[impl Columns]) -> Result<Vec<Event>, StoreError> {
    let mut events = Events::default();
    let mut read = |row| {
        Ok::<_, StoreError>((
            number(Columns::int(row, 0)?)?,
            number(Columns::int(row, 1)?)?,
            event(&mut events, row),
        ))
    };
    whole_commits(rows.iter().map(&mut read).collect::<Result<_, _>>()?)
}

/// Tells the ledger of a job. One that cannot be read is told too, so that it harms its own writes alone.
pub(super) fn know_job(ledger: &mut Ledger, row: &impl Columns) -> Result<JobId, Fault> {
    let row = job_row(row)?;
    let id = row.id;
    match row.into_job() {
        Ok(job) => ledger.know_job(job),
        Err(error) => ledger.know_damage(id, error.to_string()),
    }
    Ok(id)
}

/// Tells the ledger of a request: id, digest.
pub(super) fn know_request(ledger: &mut Ledger, row: &impl Columns) -> Result<(), Fault> {
    let digest =
        <[u8; 32]>::try_from(row.bytes(1)?).map_err(|_| Fault::Corrupt("a request's digest".to_owned()))?;
    ledger.know_request(request_of(row.uuid(0)?).map_err(damage)?, digest);
    Ok(())
}

/// Tells the ledger of a job ([`job_row`]) and of its place in a request: its id and the place.
pub(super) fn know_place(ledger: &mut Ledger, row: &impl Columns) -> Result<(), Fault> {
    let job = know_job(ledger, row)?;
    let index =
        u32::try_from(row.int(7)?).map_err(|_| Fault::Corrupt("a job's place in its request".to_owned()))?;
    ledger.know_place(request_of(row.uuid(6)?).map_err(damage)?, index, job);
    Ok(())
}

/// Tells the ledger of a live job: id, whether it holds its target, the target.
pub(super) fn know_live(ledger: &mut Ledger, row: &impl Columns) -> Result<(), Fault> {
    let target = Target::parse_name(row.text(2)?)
        .map_err(|error| Fault::Corrupt(format!("a job's target: {error}")))?;
    ledger.know_live(target, JobId::new(row.uuid(0)?), row.flag(1)?);
    Ok(())
}
