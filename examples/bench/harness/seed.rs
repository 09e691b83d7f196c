//! Fills a database with live jobs, as a long life would have.

use std::path::Path;

use drydock::domain::event::{EventKind, NewEvent};
use drydock::domain::finding::{Finding, Severity};
use drydock::domain::id::JobId;
use drydock::domain::job::{
    Cancelable, Handle, JobControl, JobSpec, JobStatus, Progress, Provenance, VendorView,
};
use drydock::domain::operation::{Operation, Upgrade};
use drydock::domain::state::JobState;
use drydock::domain::target::Target;
use drydock::kit::clock::Clock;
use drydock::store;
use drydock::store::contract::{NewJob, NewRequest};
use drydock::store::settings::StoreSettings;
use jiff::Timestamp;
use uuid::Uuid;

/// How many jobs one commit makes.
const BATCH: usize = 500;

/// Makes `count` running jobs in the database `file`, spread over `providers`, each as large as life. Their names.
pub async fn running(file: &Path, providers: &[String], count: usize) -> anyhow::Result<Vec<String>> {
    let url = format!("sqlite://{}", file.display());
    let store = store::open(&StoreSettings { url, ..StoreSettings::default() }).await?;
    let now = Clock::system().now();
    let numbers: Vec<usize> = (0..count).collect();
    let mut names = Vec::with_capacity(count);
    for batch in numbers.chunks(BATCH) {
        let job = |n: &usize| {
            let provider = providers.get(n % providers.len().max(1)).map_or("zstack-0", String::as_str);
            job(provider, *n, now)
        };
        let jobs = batch.iter().map(job).collect::<anyhow::Result<_>>()?;
        for made in store.create(NewRequest { request: None, jobs }).await? {
            names.push(made?.job.id.to_string());
        }
    }
    store.close().await;
    Ok(names)
}

fn job(provider: &str, n: usize, now: Timestamp) -> anyhow::Result<NewJob> {
    let key = Uuid::now_v7();
    let text = "the hosts are upgraded one after the other";
    let finding = Finding::new("host.maintenance", Severity::Info, text);
    Ok(NewJob {
        id: JobId::new(Uuid::now_v7()),
        spec: JobSpec {
            target: Target::parse_name(&format!(
                "providers/{provider}/clusters/{:032x}",
                0xbe00_0000_usize + n
            ))?,
            operation: Operation::Upgrade(Upgrade {
                version: Some("9.1.2".to_owned()),
                ..Upgrade::default()
            }),
            labels: [("team".to_owned(), "bench".to_owned()), ("site".to_owned(), "lab-7".to_owned())].into(),
            request: None,
            trace_parent: Some(format!("00-{}-{:016x}-01", key.simple(), n + 1)),
            create_time: now,
            retry_of: None,
        },
        status: JobStatus {
            state: JobState::Running,
            provenance: Provenance::Reported,
            observe_time: Some(now),
            update_time: now,
            submit_time: Some(now),
            end_time: None,
            scheduled_start: None,
            progress: Some(Progress {
                percent: 42.0,
                message: Some("upgrading host 17 of 40".to_owned()),
                completed: Some(17),
                total: Some(40),
            }),
            findings: vec![finding],
            waiting_for: Vec::new(),
            failure: None,
            parts: Vec::new(),
            cancelable: Cancelable::no("the vendor cannot cancel a cluster update that has begun"),
            cancel_request_time: None,
            vendor: VendorView {
                state: Some("Running".to_owned()),
                ids: [
                    ("long_job".to_owned(), key.to_string()),
                    ("api_id".to_owned(), key.simple().to_string()),
                ]
                .into(),
                ..VendorView::default()
            },
            retried_by: None,
        },
        control: JobControl {
            handle: Some(Handle(key.simple().to_string())),
            attempts: 1,
            holds_target: true,
            ..JobControl::new(key)
        },
        sealed_password: None,
        queue: None,
        event: NewEvent { kind: EventKind::Created, message: "accepted".to_owned(), time: now },
        beside: None,
    })
}
