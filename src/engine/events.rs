//! A job's events, page by page.
//!
//! A page token names its job beside the sequence: a sequence alone would be taken for any job, and then leave out the
//! beginning of another one's events without a word.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::engine::Engine;
use super::fault;
use crate::domain::error::Error;
use crate::domain::event::Event;
use crate::domain::id::JobId;
use crate::domain::page::{Page, PageRequest};

/// The form of the token; another form gets another number.
const FORM: u8 = 1;
const LENGTH: usize = 1 + 16 + 8;

impl Engine {
    /// Lists a job's events, oldest first.
    ///
    /// # Errors
    /// `NotFound`, `PageTokenInvalid`, `StoreUnavailable`.
    pub async fn job_events(&self, id: JobId, page: &PageRequest) -> Result<Page<Event>, Error> {
        let after = page.token.as_deref().map_or(Ok(0), |token| read(id, token))?;
        self.job(id).await?;
        let mut events = self.store.job_events(id, after, page.size + 1).await.map_err(fault::store)?;
        let more = events.len() > page.size as usize;
        events.truncate(page.size as usize);
        let next = events.last().filter(|_| more).map(|last| token(id, last.sequence));
        Ok(Page { items: events, next })
    }
}

/// The token that continues the events of `job` after this sequence.
fn token(job: JobId, sequence: u64) -> String {
    let mut bytes = Vec::with_capacity(LENGTH);
    bytes.push(FORM);
    bytes.extend(job.uuid().as_bytes());
    bytes.extend(sequence.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The sequence after which the events of `job` continue.
fn read(job: JobId, token: &str) -> Result<u64, Error> {
    // Decoding asks for memory by the token's length, and that is the caller's choice.
    if token.len() > 2 * LENGTH {
        return Err(Error::PageTokenInvalid);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::PageTokenInvalid)?;
    let (&[FORM], rest) = bytes.split_first_chunk::<1>().ok_or(Error::PageTokenInvalid)? else {
        return Err(Error::PageTokenInvalid);
    };
    let (bound, sequence) = rest.split_first_chunk::<16>().ok_or(Error::PageTokenInvalid)?;
    if Uuid::from_bytes(*bound) != job.uuid() {
        return Err(Error::PageTokenInvalid);
    }
    let sequence = sequence.try_into().map_err(|_| Error::PageTokenInvalid)?;
    Ok(u64::from_be_bytes(sequence))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: JobId = JobId::new(Uuid::from_u128(7));

    #[test]
    fn reads_back_for_the_same_job_only() {
        let token = token(JOB, 42);
        assert_eq!(read(JOB, &token), Ok(42));
        assert_eq!(read(JobId::new(Uuid::from_u128(8)), &token), Err(Error::PageTokenInvalid));
    }

    #[test]
    fn any_damage_to_its_shape_is_refused() {
        let token = token(JOB, 42);
        for cut in 0..token.len() {
            assert!(read(JOB, &token[..cut]).is_err(), "{cut}");
        }
        for bad in [format!("{token}AA"), format!("B{}", &token[1..]), "42".to_owned(), "A".repeat(1 << 16)] {
            assert!(read(JOB, &bad).is_err(), "{bad:.20}");
        }
    }
}
