//! The page tokens of job lists: opaque to callers, bound to the filter that they continue.
//!
//! A token names the last job that was given, not a page number, so that jobs which come or go meanwhile
//! neither repeat nor hide others.

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::contract::JobFilter;
use super::error::StoreError;
use super::record::ceil_micros;
use crate::domain::id::JobId;

/// The place in a list after which a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct After {
    /// The last job's create time, in microseconds.
    pub create_time: i64,
    /// The last job.
    pub id: JobId,
}

/// The form of the token; another form gets another number.
const FORM: u8 = 1;
const DIGEST: usize = 16;
const LENGTH: usize = 1 + DIGEST + 8 + 16;

impl After {
    /// The token that continues a list of `filter` here.
    pub(super) fn token(self, filter: &JobFilter) -> String {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.push(FORM);
        bytes.extend(digest(filter));
        bytes.extend(self.create_time.to_be_bytes());
        bytes.extend(self.id.uuid().as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token.
    ///
    /// # Errors
    /// `BadPageToken` when it was not made by [`After::token`] for the same filter.
    pub(super) fn read(token: &str, filter: &JobFilter) -> Result<Self, StoreError> {
        // Decoding asks for memory by the token's length, and that is the caller's choice.
        if token.len() > 2 * LENGTH {
            return Err(StoreError::BadPageToken);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| StoreError::BadPageToken)?;
        let (&[FORM], rest) = bytes.split_first_chunk::<1>().ok_or(StoreError::BadPageToken)? else {
            return Err(StoreError::BadPageToken);
        };
        let (bound, rest) = rest.split_first_chunk::<DIGEST>().ok_or(StoreError::BadPageToken)?;
        let (time, id) = rest.split_first_chunk::<8>().ok_or(StoreError::BadPageToken)?;
        let id = Uuid::from_slice(id).map_err(|_| StoreError::BadPageToken)?;
        if *bound != digest(filter) {
            return Err(StoreError::BadPageToken);
        }
        Ok(Self { create_time: i64::from_be_bytes(*time), id: JobId::new(id) })
    }
}

/// A digest of everything that decides which jobs a list holds and in which order.
fn digest(filter: &JobFilter) -> [u8; DIGEST] {
    // Taken apart, so that a new field does not compile until it is placed.
    let JobFilter {
        jobs,
        providers,
        targets,
        states,
        operations,
        labels,
        created_after,
        created_before,
        oldest_first,
    } = filter;
    let mut context = Context::new(&SHA256);
    list(&mut context, jobs.iter().map(|id| id.uuid().into_bytes()));
    list(&mut context, providers.iter().map(|provider| provider.as_str()));
    list(&mut context, targets.iter().map(ToString::to_string));
    list(&mut context, states.iter().map(|state| state.as_str()));
    list(&mut context, operations.iter().map(|operation| operation.as_str()));
    list(&mut context, labels.keys());
    list(&mut context, labels.values());
    for bound in [created_after, created_before] {
        list(&mut context, bound.map(|at| ceil_micros(at).to_be_bytes()));
    }
    context.update(&[u8::from(*oldest_first)]);
    let mut short = [0; DIGEST];
    for (to, from) in short.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    short
}

/// Feeds a list so that no other list feeds the same bytes: each entry behind its length, then an end mark.
fn list<T: AsRef<[u8]>>(context: &mut Context, entries: impl IntoIterator<Item = T>) {
    for entry in entries {
        let entry = entry.as_ref();
        context.update(&u32::try_from(entry.len()).unwrap_or(u32::MAX - 1).to_be_bytes());
        context.update(entry);
    }
    context.update(&u32::MAX.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::ProviderId;

    fn filter(providers: &[&str]) -> JobFilter {
        let providers = providers.iter().map(|p| ProviderId::parse(p).unwrap()).collect();
        JobFilter { providers, ..JobFilter::default() }
    }

    #[test]
    fn reads_back_for_the_same_filter_only() {
        let after = After { create_time: -5, id: JobId::new(Uuid::from_u128(9)) };
        let token = after.token(&filter(&["ab", "c"]));
        assert_eq!(After::read(&token, &filter(&["ab", "c"])).unwrap(), after);
        for other in [filter(&[]), filter(&["a", "bc"]), filter(&["abc"])] {
            assert!(matches!(After::read(&token, &other), Err(StoreError::BadPageToken)));
        }
        let turned = JobFilter { oldest_first: true, ..filter(&["ab", "c"]) };
        assert!(matches!(After::read(&token, &turned), Err(StoreError::BadPageToken)));
    }

    #[test]
    fn any_damage_to_its_shape_is_refused() {
        let none = JobFilter::default();
        let token = After { create_time: 1, id: JobId::new(Uuid::from_u128(9)) }.token(&none);
        for cut in 0..token.len() {
            assert!(After::read(&token[..cut], &none).is_err(), "{cut}");
        }
        for bad in [format!("{token}AA"), format!("B{}", &token[1..]), "%".to_owned(), "A".repeat(1 << 16)] {
            assert!(After::read(&bad, &none).is_err(), "{bad:.20}");
        }
    }
}
