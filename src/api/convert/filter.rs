//! Which jobs are wanted, inwards.

use super::page::read_page;
use super::time::read_timestamp;
use super::{Faults, at, job, operation};
use crate::api::pb;
use crate::domain::error::Error;
use crate::domain::id::{JobId, ProviderId};
use crate::domain::page::PageRequest;
use crate::domain::target::Target;
use crate::engine::JobFilter;
use crate::engine::calls::WatchFilter;

const MAX_NAMES: usize = 100;
/// Far above the number of states: an alternative may be named twice.
const MAX_ALTERNATIVES: usize = 100;

/// The filter of a watch; the filter of a list has the same fields and more.
pub fn read_filter(faults: &mut Faults, filter: Option<pb::JobFilter>) -> WatchFilter {
    let filter = filter.unwrap_or_default();
    WatchFilter {
        jobs: faults.each("filter.jobs", MAX_NAMES, &filter.jobs, |n| JobId::parse_name(n)),
        providers: faults
            .each("filter.providers", MAX_NAMES, &filter.providers, |n| ProviderId::parse_name(n)),
        targets: faults.each("filter.targets", MAX_NAMES, &filter.targets, |n| Target::parse_name(n)),
        states: alternatives(faults, "filter.states", &filter.states, job::read_state),
        operations: alternatives(faults, "filter.operations", &filter.operations, operation::read_kind),
        labels: faults.labels("filter.labels", filter.labels),
    }
}

fn alternatives<T>(
    faults: &mut Faults,
    field: &str,
    values: &[i32],
    read: impl Fn(i32) -> Option<T>,
) -> Vec<T> {
    if values.len() > MAX_ALTERNATIVES {
        faults.add(field, format!("must have at most {MAX_ALTERNATIVES} entries"));
        return Vec::new();
    }
    let mut out = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        match read(*value) {
            Some(known) => out.push(known),
            None => faults.add(at(field, index), "must be a known value other than unspecified"),
        }
    }
    out
}

/// A list of jobs, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobList {
    /// Which jobs, in which order.
    pub filter: JobFilter,
    /// Which page.
    pub page: PageRequest,
}

impl TryFrom<pb::ListJobsRequest> for JobList {
    type Error = Error;

    fn try_from(request: pb::ListJobsRequest) -> Result<Self, Error> {
        let mut faults = Faults::new();
        let WatchFilter { jobs, providers, targets, states, operations, labels } =
            read_filter(&mut faults, request.filter);
        let created_after = read_timestamp(&mut faults, "created_after", request.created_after);
        let created_before = read_timestamp(&mut faults, "created_before", request.created_before);
        if let (Some(after), Some(before)) = (created_after, created_before)
            && after >= before
        {
            faults.add("created_before", "must be later than created_after");
        }
        let oldest_first = match request.order_by.split_whitespace().collect::<Vec<_>>().as_slice() {
            [] | ["create_time", "desc"] => false,
            ["create_time"] => true,
            _ => {
                faults.add("order_by", "must be `create_time` or `create_time desc`");
                false
            }
        };
        let page = read_page(&mut faults, request.page_size, request.page_token);
        let filter = JobFilter {
            jobs,
            providers,
            targets,
            states,
            operations,
            labels,
            created_after,
            created_before,
            oldest_first,
        };
        faults.check(Self { filter, page })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::tests::paths;
    use super::*;
    use crate::domain::operation::OperationKind;
    use crate::domain::state::JobState;

    fn time(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    #[test]
    fn every_field_of_a_list_is_read() {
        let name = "jobs/0197f36d-0000-7000-8000-000000000001";
        let request = pb::ListJobsRequest {
            filter: Some(pb::JobFilter {
                jobs: vec![name.to_owned()],
                providers: vec!["providers/vc".to_owned()],
                targets: vec!["providers/vc/clusters/c1".to_owned()],
                states: vec![pb::JobState::Running.into(), pb::JobState::Pending.into()],
                operations: vec![pb::OperationKind::Upgrade.into()],
                labels: BTreeMap::from([("team".to_owned(), "db".to_owned())]),
            }),
            created_after: time(10),
            created_before: time(20),
            order_by: " create_time ".to_owned(),
            page_size: 7,
            page_token: "t".to_owned(),
        };
        let list = JobList::try_from(request).unwrap();
        assert_eq!(list.page, PageRequest { size: 7, token: Some("t".to_owned()) });
        let filter = list.filter;
        assert_eq!(filter.jobs[0].to_string(), name);
        assert_eq!(filter.providers[0].to_string(), "providers/vc");
        assert_eq!(filter.targets[0].to_string(), "providers/vc/clusters/c1");
        assert_eq!(filter.states, [JobState::Running, JobState::Pending]);
        assert_eq!(filter.operations, [OperationKind::Upgrade]);
        assert_eq!(filter.labels["team"], "db");
        assert_eq!(filter.created_after.unwrap().as_second(), 10);
        assert_eq!(filter.created_before.unwrap().as_second(), 20);
        assert!(filter.oldest_first);
    }

    #[test]
    fn an_empty_request_lists_everything_newest_first() {
        let list = JobList::try_from(pb::ListJobsRequest::default()).unwrap();
        assert_eq!(list, JobList { filter: JobFilter::default(), page: PageRequest::default() });
    }

    #[test]
    fn every_fault_of_a_list_is_told() {
        let request = pb::ListJobsRequest {
            filter: Some(pb::JobFilter {
                jobs: vec!["jobs/1".to_owned()],
                providers: vec!["vc".to_owned()],
                targets: vec!["providers/vc/clusters/ok".to_owned(), "clusters/c".to_owned()],
                states: vec![pb::JobState::Running.into(), 0, 99],
                operations: vec![0],
                labels: BTreeMap::from([("Bad".to_owned(), String::new())]),
            }),
            created_after: time(20),
            created_before: time(20),
            order_by: "name".to_owned(),
            page_size: -1,
            page_token: String::new(),
        };
        let expected = [
            "filter.jobs[0]",
            "filter.providers[0]",
            "filter.targets[1]",
            "filter.states[1]",
            "filter.states[2]",
            "filter.operations[0]",
            "filter.labels[\"Bad\"]",
            "created_before",
            "order_by",
            "page_size",
        ];
        assert_eq!(paths(JobList::try_from(request).unwrap_err()), expected);
    }

    #[test]
    fn lists_of_names_are_bounded() {
        let filter = pb::JobFilter {
            providers: vec!["providers/a".to_owned(); 101],
            states: vec![1; 101],
            ..Default::default()
        };
        let request = pb::ListJobsRequest { filter: Some(filter), ..Default::default() };
        assert_eq!(paths(JobList::try_from(request).unwrap_err()), ["filter.providers", "filter.states"]);
    }
}
