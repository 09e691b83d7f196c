//! Events, outwards: the one place where an event becomes a message.

use super::job::{name, status};
use super::operation;
use super::time::timestamp;
use crate::api::pb;
use crate::domain::event::{Event, EventKind};

/// An event as callers see it.
pub fn event(event: &Event) -> pb::JobEvent {
    pb::JobEvent {
        job: event.job.to_string(),
        sequence: event.sequence,
        time: Some(timestamp(event.time)),
        kind: kind(event.kind).into(),
        message: event.message.clone(),
        target: event.about.target.to_string(),
        operation: operation::kind(event.about.operation).into(),
        labels: event.about.labels.to_map(),
        status: Some(status(&event.status)),
        retry_of: name(event.about.retry_of),
    }
}

const fn kind(kind: EventKind) -> pb::EventKind {
    match kind {
        EventKind::Created => pb::EventKind::Created,
        EventKind::StateChanged => pb::EventKind::StateChanged,
        EventKind::Progressed => pb::EventKind::Progressed,
        EventKind::FindingsChanged => pb::EventKind::FindingsChanged,
        EventKind::WaitingChanged => pb::EventKind::WaitingChanged,
        EventKind::VendorChanged => pb::EventKind::VendorChanged,
        EventKind::CancelRequested => pb::EventKind::CancelRequested,
        EventKind::Rescheduled => pb::EventKind::Rescheduled,
        EventKind::Settled => pb::EventKind::Settled,
        EventKind::Retried => pb::EventKind::Retried,
    }
}

#[cfg(test)]
pub(in crate::api) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::api::convert::job::tests::full_job;
    use crate::domain::event::About;

    /// An event in which every field says something.
    pub fn full_event(sequence: u64) -> Event {
        let job = full_job();
        Event {
            position: 100 + sequence,
            commit: 100,
            job: job.id,
            sequence,
            time: job.status.update_time,
            kind: EventKind::StateChanged,
            message: "FAILED: one host".to_owned(),
            status: job.status,
            about: Arc::new(About {
                operation: job.spec.operation.kind(),
                target: job.spec.target,
                labels: job.spec.labels,
                retry_of: job.spec.retry_of,
            }),
        }
    }

    #[test]
    fn an_event_carries_what_its_job_does() {
        let shown = event(&full_event(5));
        let job = crate::api::convert::job::job(&full_job());
        assert_eq!((shown.job, shown.target, shown.labels), (job.name, job.target, job.labels));
        assert_eq!(shown.retry_of, job.retry_of);
        assert_eq!(shown.status, job.status);
        assert_eq!(shown.sequence, 5);
        assert_eq!(shown.kind, i32::from(pb::EventKind::StateChanged));
        assert_eq!(shown.operation, i32::from(pb::OperationKind::Reinstall));
    }

    #[test]
    fn names_are_those_of_the_domain() {
        for known in [
            EventKind::Created,
            EventKind::StateChanged,
            EventKind::Progressed,
            EventKind::FindingsChanged,
            EventKind::WaitingChanged,
            EventKind::VendorChanged,
            EventKind::CancelRequested,
            EventKind::Rescheduled,
            EventKind::Settled,
            EventKind::Retried,
        ] {
            assert_eq!(kind(known).as_str_name(), format!("EVENT_KIND_{}", known.as_str()));
        }
    }
}
