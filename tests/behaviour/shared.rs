//! The second matrix: three jobs of one request, whose shared calls and answers are struck.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use drydock::domain::id::JobId;
use drydock::domain::page::PageRequest;
use drydock::domain::state::JobState;
use drydock::domain::target::Target;
use drydock::engine::calls::{OnBusy, StartEntry, StartRequest};
use drydock::engine::{Engine, Provider};
use drydock::kit::secret::Secret;
use drydock::simulators::{Aim, EffectKind, Fault, Route, Settings, Simulator, Strikes, When};
use drydock::vendors::contract::Vendor;
use futures_util::future::join_all;

use crate::cell::{LOOKS, PATIENCE, end_of, wait_until_met};
use crate::faults::Kind;
use crate::house::{self, House};
use crate::subject::{Role, Subject};

/// How many jobs share a request.
const JOBS: usize = 3;
/// How they end by the simulator's script: the first one badly.
const ENDS: [&str; JOBS] = ["FAILED", "SUCCEEDED", "SUCCEEDED"];

const FAULTS: [(Fault, &str); 3] = [
    (Fault::ResetAfter, "reset after it took effect"),
    (Fault::Truncated, "JSON that ends in the middle"),
    (Fault::LeavesOneOut, "one of three left out"),
];

/// The calls that are struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Struck {
    /// The start: the first such call.
    Start,
    /// What is read after the start took effect and its answer was lost.
    LookUp,
    /// What is read while the operations run.
    Observation,
}

const STRUCK: [(Struck, &str); 3] = [
    (Struck::Start, "start"),
    (Struck::LookUp, "look-up, the starts arrived"),
    (Struck::Observation, "observation"),
];

impl Struck {
    fn arm(self, simulator: &dyn Simulator, fault: Fault) -> Vec<Strikes> {
        let faults = simulator.faults();
        let start = |fault| {
            let aim = Aim { route: Some(Route::Submit), when: When::Always, times: 1, each_path: false };
            faults.aim(aim, fault)
        };
        let reads = || {
            let aim = |route| Aim { route: Some(route), when: When::AfterStart, times: 1, each_path: true };
            [Route::Observe, Route::Inventory].map(|route| faults.aim(aim(route), fault)).to_vec()
        };
        match self {
            Self::Start => vec![start(fault)],
            Self::LookUp => {
                start(Fault::ResetAfter);
                reads()
            }
            Self::Observation => reads(),
        }
    }
}

struct Cell<'a> {
    subject: &'a dyn Subject,
    struck: Struck,
    fault: Fault,
    provider: String,
    simulator: Box<dyn Simulator>,
    vendor: Arc<dyn Vendor>,
}

/// What became of a cell.
pub struct Outcome {
    struck: Struck,
    fault: Fault,
    /// How the jobs ended; `None`: the fault found nothing to strike, where that does not depend on chance.
    ends: Option<Vec<String>>,
    /// What is wrong.
    pub complaint: Option<String>,
}

/// Runs every cell of a subject.
pub async fn run(subject: &dyn Subject) -> Vec<Outcome> {
    let (mut cells, mut providers) = (Vec::new(), Vec::new());
    for (struck, _) in STRUCK {
        for (fault, _) in FAULTS {
            let (cell, provider) = Cell::prepare(cells.len(), subject, struck, fault).await;
            cells.push(cell);
            providers.push(provider);
        }
    }
    let house = House::open(providers).await;
    let outcomes = join_all(cells.into_iter().map(|cell| cell.run(&house.engine))).await;
    house.close().await;
    outcomes
}

impl<'a> Cell<'a> {
    async fn prepare(
        number: usize,
        subject: &'a dyn Subject,
        struck: Struck,
        fault: Fault,
    ) -> (Self, Provider) {
        let address = ([127, 0, 0, 1], 0).into();
        let settings = Settings { address, targets: JOBS, pace: subject.pace() };
        let simulator = subject.start(settings, Role::Badly).await;
        let provider = format!("s{number}");
        let built = house::provider(&provider, subject, &*simulator, Kind::ResetAfter);
        let vendor = Arc::clone(&built.vendor);
        (Self { subject, struck, fault, provider, simulator, vendor }, built)
    }

    async fn run(self, engine: &Engine) -> Outcome {
        wait_until_met(engine, &self.provider, &*self.vendor).await;
        self.simulator.hold().set(true);
        let strikes = self.struck.arm(&*self.simulator, self.fault);
        let jobs = self.begin(engine).await;
        // Jobs that never end are judged like those that ended wrongly.
        let _ = tokio::time::timeout(PATIENCE, self.follow(engine, &jobs)).await;
        let mut ends = Vec::new();
        let mut told = String::new();
        for job in jobs {
            let page = PageRequest { size: 1000, token: None };
            let events = engine.job_events(job, &page).await.unwrap().items;
            let job = engine.job(job).await.unwrap();
            ends.push(end_of(&job, &events));
            let states: Vec<_> = events.iter().map(|e| e.status.state.as_str()).collect();
            let _ = write!(told, "\n    {} {:?} {states:?}", job.spec.target, job.status.failure);
        }
        let effects = self.simulator.effects().all();
        let mut starts: BTreeMap<&str, usize> = BTreeMap::new();
        for effect in effects.iter().filter(|e| e.kind == EffectKind::Start) {
            *starts.entry(&effect.target).or_default() += 1;
        }
        let once = starts.len() == JOBS && starts.values().all(|n| *n == 1);
        let complaint = (ends != ENDS || !once).then(|| {
            format!(
                "{} × {:?} × {:?}, shared: ended {ends:?}, starts {starts:?}{told}\n    effects: {effects:?}",
                self.subject.name(),
                self.fault,
                self.struck,
            )
        });
        self.simulator.stop().await;
        // Whether a list that is read has several entries at that moment is a matter of chance; its reader must not care.
        let chance = self.fault == Fault::LeavesOneOut && self.struck != Struck::Start;
        let ends = (chance || strikes.iter().any(|s| s.count() > 0)).then_some(ends);
        Outcome { struck: self.struck, fault: self.fault, ends, complaint }
    }

    async fn begin(&self, engine: &Engine) -> Vec<JobId> {
        let (provider, collection) = (&self.provider, self.subject.collection());
        let entry = |n| StartEntry {
            target: Target::parse_name(&format!(
                "providers/{provider}/{collection}/{}",
                self.subject.target(n)
            ))
            .unwrap(),
            operation: self.subject.operation(),
            password: self.subject.password().map(Secret::from),
            field_prefix: String::new(),
        };
        let request = StartRequest {
            request: None,
            entries: (0..JOBS).map(entry).collect(),
            on_busy: OnBusy::Reject,
            labels: BTreeMap::new(),
            trace_parent: None,
        };
        engine.start(request).await.unwrap().into_iter().map(|one| one.unwrap().job.id).collect()
    }

    /// Waits for the end of all jobs. They are let go once all were seen under way, and looked at for some times more.
    async fn follow(&self, engine: &Engine, jobs: &[JobId]) {
        let mut before = None;
        loop {
            let mut states = Vec::new();
            for job in jobs {
                states.push(engine.job(*job).await.unwrap().status.state);
            }
            if states.iter().all(|state| state.is_ended()) {
                return;
            }
            let under_way = |state: &JobState| *state == JobState::Running || state.is_ended();
            if states.iter().all(under_way) {
                let looks = self.simulator.faults().undisturbed_looks();
                if looks >= *before.get_or_insert(looks) + LOOKS {
                    self.simulator.hold().set(false);
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// The section of the page.
pub fn section(out: &mut String, subjects: &[&dyn Subject], results: &[Vec<Outcome>]) {
    out.push_str("\n## Three jobs that share calls\n\n");
    out.push_str(include_str!("shared.md"));
    for (struck, head) in STRUCK {
        let heads = FAULTS.map(|(_, words)| words).join(" | ");
        let _ = writeln!(out, "\n| {head} | {heads} |\n|---|{}", "---|".repeat(FAULTS.len()));
        for (subject, outcomes) in subjects.iter().zip(results) {
            let cells = FAULTS.map(|(fault, _)| {
                let outcome = outcomes.iter().find(|o| (o.struck, o.fault) == (struck, fault));
                outcome.and_then(|o| o.ends.as_ref()).map_or_else(|| "–".to_owned(), |ends| ends.join(", "))
            });
            let _ = writeln!(out, "| {} | {} |", subject.name(), cells.join(" | "));
        }
    }
}
