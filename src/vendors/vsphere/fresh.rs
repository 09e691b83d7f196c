//! The last look before a start: does the target still stand as its check found it?
//!
//! Prechecks take minutes, and meanwhile anybody can begin an upgrade at vCenter itself. Its call for a start takes no
//! key, so a second start would go out beside the first. One list, read right before each call, leaves the moment
//! between the two, and no more.

use std::collections::HashMap;

use super::check::under_way;
use super::fault;
use super::notes::Baseline;
use super::wire::Summary;
use crate::domain::error::VendorFault;
use crate::vendors::error::{Reached, VendorError};

/// What vCenter lists right before a call.
pub(super) type List = Result<HashMap<String, Summary>, VendorError>;

/// Why a start is not sent now. Nothing was sent, so the job is checked anew, which tells why in full and decides.
/// `checked` is how the target stood at the check. A target that is gone is vCenter's to refuse.
pub(super) fn stands_against(list: &List, id: &str, checked: Option<&Baseline>) -> Option<VendorError> {
    let list = match list {
        Ok(list) => list,
        Err(error) => return Some(fault::as_passing(error.again()).with_reached(Reached::No)),
    };
    let now = list.get(id)?;
    if let Some(other) = under_way(now) {
        return Some(not_sent(&format!("{} since the check", other.what)));
    }
    let moved = checked.is_some_and(|checked| {
        differ(checked.current_version.as_deref(), now.current_version.as_deref())
            || differ(checked.last_upgraded_date.as_deref(), now.last_upgraded_date.as_deref())
    });
    moved.then(|| not_sent("the target was upgraded since the check"))
}

/// No trouble of the provider's, and no refusal of the job: what was read does not fit any more.
fn not_sent(why: &str) -> VendorError {
    let text = format!("nothing was sent: {why}; it is checked anew");
    VendorError::new(VendorFault::Garbled, Reached::No, text)
}

/// Whether both are known and differ.
fn differ(before: Option<&str>, now: Option<&str>) -> bool {
    matches!((before, now), (Some(before), Some(now)) if before != now)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vendors::vsphere::notes::Notes;
    use crate::vendors::vsphere::wire::read;

    fn summary(state: &str, version: &str) -> Summary {
        read(&json!({"cluster": "c", "state": state, "current_version": version, "desired_version": "v2"}))
            .unwrap()
    }

    #[test]
    fn only_a_target_that_stands_as_it_was_checked_is_started() {
        let checked = Notes::before(&summary("READY", "v1"), &[]).baseline;
        let against = |now: Summary, id: &str| {
            stands_against(&Ok(HashMap::from([("c".to_owned(), now)])), id, checked.as_ref())
        };
        assert!(against(summary("READY", "v1"), "c").is_none());
        assert!(against(summary("PENDING", "v1"), "gone").is_none(), "vCenter itself refuses it");
        for (now, why) in [
            (summary("PENDING", "v1"), "an upgrade to v2 is under way"),
            (summary("IN_PROGRESS", "v1"), "an upgrade to v2 is under way"),
            (summary("READY", "v2"), "was upgraded since"),
        ] {
            let error = against(now, "c").unwrap();
            assert_eq!((error.kind, error.reached), (VendorFault::Garbled, Reached::No));
            assert!(error.message.contains(why), "{error}");
        }
    }

    #[test]
    fn a_list_that_cannot_be_read_ends_no_job() {
        for kind in [VendorFault::Rejected, VendorFault::PermissionDenied, VendorFault::Unreachable] {
            let list = Err(VendorError::new(kind, Reached::Maybe, "no list"));
            let error = stands_against(&list, "c", None).unwrap();
            assert_eq!((error.kind, error.reached), (VendorFault::Unreachable, Reached::No));
        }
    }
}
