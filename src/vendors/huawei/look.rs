//! Looks at many instances in few requests.

use std::collections::HashMap;

use futures_util::future::join_all;

use super::client::{Client, IDS_PER_LIST};
use super::submit::named_in;
use super::wire::Instance;
use crate::domain::error::VendorFault;
use crate::vendors::error::{Reached, VendorError};

/// How many single lookups one round may make for instances that the list does not show.
const MAX_SINGLE_LOOKUPS: usize = 100;

/// What the vendor shows of an instance.
#[derive(Clone, Debug)]
pub(super) enum Sight {
    /// It exists.
    Seen(Box<Instance>),
    /// The vendor itself says that it does not exist; with its words.
    Gone(String),
}

/// Looks at instances: one list call for each hundred, and one status call for each that the list lacks.
pub(super) async fn look(client: &Client, ids: &[&str]) -> Vec<Result<Sight, VendorError>> {
    let mut sights: HashMap<&str, Result<Sight, VendorError>> = HashMap::with_capacity(ids.len());
    let mut missing = Vec::new();
    for chunk in ids.chunks(IDS_PER_LIST) {
        match list(client, chunk).await {
            Ok(mut found) => {
                for id in chunk {
                    match found.remove(*id) {
                        Some(one) => {
                            sights.insert(id, one.map(|i| Sight::Seen(Box::new(i))));
                        }
                        None => missing.push(*id),
                    }
                }
            }
            Err(error) => {
                for id in chunk {
                    sights.insert(id, Err(error.again()));
                }
            }
        }
    }
    // A list that suddenly lacks thousands is a fault of the list; the next round asks for the others.
    missing.truncate(MAX_SINGLE_LOOKUPS);
    let mut lookups = Vec::with_capacity(missing.len());
    for id in &missing {
        lookups.push(single(client, id));
    }
    // How many go out at once is bounded by the provider's own limits.
    sights.extend(missing.iter().copied().zip(join_all(lookups).await));
    ids.iter()
        .map(|id| match sights.get(id) {
            Some(Ok(sight)) => Ok(sight.clone()),
            Some(Err(error)) => Err(error.again()),
            None => Err(unlisted()),
        })
        .collect()
}

fn unlisted() -> VendorError {
    VendorError::garbled("the vendor's list does not show this instance; it will be asked for by itself")
        .with_reached(Reached::Yes)
}

/// A list that refuses unknown ids as a whole is asked again without those that it names.
async fn list(
    client: &Client,
    ids: &[&str],
) -> Result<HashMap<String, Result<Instance, VendorError>>, VendorError> {
    match client.instances(ids).await {
        Err(error) if is_gone(&error) => {
            let named = named_in(&error.message, ids);
            let rest: Vec<&str> = ids.iter().copied().filter(|id| !named.contains(id)).collect();
            if named.is_empty() || rest.is_empty() {
                return Ok(HashMap::new());
            }
            match client.instances(&rest).await {
                Err(error) if is_gone(&error) => Ok(HashMap::new()),
                other => other,
            }
        }
        other => other,
    }
}

async fn single(client: &Client, id: &str) -> Result<Sight, VendorError> {
    match client.status(id).await {
        Ok(instance) => Ok(Sight::Seen(Box::new(instance))),
        Err(error) if is_gone(&error) => Ok(Sight::Gone(error.message)),
        Err(error) => Err(error),
    }
}

/// Whether CloudDC itself says that an instance does not exist. A 404 page of a proxy, or of a gateway that does
/// not know the path, says nothing about an instance.
fn is_gone(error: &VendorError) -> bool {
    error.kind == VendorFault::NotFound && error.code.as_deref().is_some_and(|c| c.starts_with("iMetal.02"))
}
