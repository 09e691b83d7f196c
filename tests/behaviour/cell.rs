//! One cell of the matrix: one fault at one kind of call of one subject, and what became of its jobs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drydock::domain::event::Event;
use drydock::domain::id::ProviderId;
use drydock::domain::job::{Job, Provenance};
use drydock::domain::page::PageRequest;
use drydock::domain::state::JobState;
use drydock::domain::target::Target;
use drydock::engine::calls::{OnBusy, StartEntry, StartRequest};
use drydock::engine::{Engine, Provider};
use drydock::kit::secret::Secret;
use drydock::simulators::{EffectKind, Settings, Simulator, Strikes};
use drydock::vendors;
use drydock::vendors::contract::Vendor;
use tokio::time::Instant;

use crate::faults::{Kind, Phase};
use crate::house;
use crate::subject::{Doubt, Role, Subject};

/// Long enough for a busy machine, short enough that a hang is seen.
pub const PATIENCE: Duration = Duration::from_secs(150);
/// How often an operation is looked at before it may end.
pub const LOOKS: u64 = 2;
/// How long an operation takes in a simulator at most, counted from where it is seen under way: one that is let go then
/// is over at once, so that the next answer is the one that says so.
const WORK: Duration = Duration::from_millis(1500);
/// How long an answer takes that was on its way when a fault was armed.
const ON_ITS_WAY: Duration = Duration::from_millis(50);
/// More events than this for one job: it goes in circles.
const MAX_EVENTS: usize = 80;

pub struct Cell<'a> {
    subject: &'a dyn Subject,
    phase: Phase,
    kind: Kind,
    role: Role,
    provider: String,
    simulator: Box<dyn Simulator>,
    vendor: Arc<dyn Vendor>,
}

/// What became of a cell.
pub struct Outcome {
    pub phase: Phase,
    pub kind: Kind,
    pub role: Role,
    /// Whether the fault struck: not every vendor has every call, nor every answer something to spoil.
    pub struck: bool,
    /// How the job ended.
    pub end: String,
    /// Why not as its role says, where that is so.
    pub doubt: Option<Doubt>,
    /// What is wrong.
    pub complaint: Option<String>,
}

impl<'a> Cell<'a> {
    /// Starts its simulator and builds its provider.
    pub async fn prepare(
        number: usize,
        subject: &'a dyn Subject,
        phase: Phase,
        kind: Kind,
        role: Role,
    ) -> (Self, Provider) {
        let address = ([127, 0, 0, 1], 0).into();
        let simulator = subject.start(Settings { address, targets: 1, pace: subject.pace() }, role).await;
        let provider = format!("p{number}");
        let built = house::provider(&provider, subject, &*simulator, kind);
        let vendor = Arc::clone(&built.vendor);
        (Self { subject, phase, kind, role, provider, simulator, vendor }, built)
    }

    /// What must be shown nowhere.
    pub fn canaries(&self) -> Vec<String> {
        let table = self.subject.table(&*self.simulator);
        let keys = vendors::entry(self.simulator.vendor()).unwrap().secret_keys;
        let secrets = keys.iter().filter_map(|key| table.get(*key)?.as_str());
        secrets.chain(self.subject.password()).map(str::to_owned).collect()
    }

    pub async fn run(self, engine: &Engine) -> Outcome {
        wait_until_met(engine, &self.provider, &*self.vendor).await;
        // Nothing ends before it was seen, however busy the machine is.
        self.simulator.hold().set(true);
        let mut strikes = if self.phase == Phase::End { Vec::new() } else { self.arm() };
        let doubt = self.subject.doubt(self.phase, self.kind);
        let job = self.begin(engine).await;
        let (job, events) =
            self.follow(engine, &job, doubt.map_or(self.role.end().0, |d| d.end), &mut strikes).await;
        let end = end_of(&job, &events);
        let struck = strikes.iter().any(|s| s.count() > 0);
        let complaint = self.judge(&end, doubt, &job, &events).map(|fault| {
            let told = |e: &Event| {
                let waits = e.status.waiting_for.first().map_or("", |w| &w.message);
                format!("    {} {waits}", e.status.state.as_str())
            };
            format!(
                "{} × {:?} × {:?}, {:?}: {fault}\n    failure: {:?}\n    last error: {:?}\n    effects: {:?}\n{}",
                self.subject.name(),
                self.kind,
                self.phase,
                self.role,
                job.status.failure,
                job.status.vendor.last_error,
                self.simulator.effects().all(),
                events.iter().map(told).collect::<Vec<_>>().join("\n"),
            )
        });
        self.simulator.stop().await;
        Outcome { phase: self.phase, kind: self.kind, role: self.role, struck, end, doubt, complaint }
    }

    fn arm(&self) -> Vec<Strikes> {
        self.phase.arm(self.simulator.faults(), self.kind)
    }

    async fn begin(&self, engine: &Engine) -> Job {
        let (provider, collection, id) = (&self.provider, self.subject.collection(), self.subject.target(0));
        let entry = StartEntry {
            target: Target::parse_name(&format!("providers/{provider}/{collection}/{id}")).unwrap(),
            operation: self.subject.operation(),
            password: self.subject.password().map(Secret::from),
            field_prefix: String::new(),
        };
        let request = StartRequest {
            request: None,
            entries: vec![entry],
            on_busy: OnBusy::Reject,
            labels: BTreeMap::new(),
            trace_parent: None,
        };
        engine.start(request).await.unwrap().remove(0).unwrap().job
    }

    /// Waits for the job's end, or for INDETERMINATE where that is the end expected.
    async fn follow(
        &self,
        engine: &Engine,
        job: &Job,
        end: &str,
        strikes: &mut Vec<Strikes>,
    ) -> (Job, Vec<Event>) {
        let mut seen = None;
        let over = async {
            loop {
                let job = engine.job(job.id).await.unwrap();
                let state = job.status.state;
                self.let_go(state, &mut seen, strikes).await;
                if state.is_ended() || state == JobState::Indeterminate && end == state.as_str() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        // A job that never ends is judged like one that ended wrongly.
        let _ = tokio::time::timeout(PATIENCE, over).await;
        let page = PageRequest { size: 1000, token: None };
        let events = engine.job_events(job.id, &page).await.unwrap().items;
        (engine.job(job.id).await.unwrap(), events)
    }

    /// Lets the operation end once it was seen under way, and looked at without a fault for some times more. The faults
    /// that are for the end are armed then.
    async fn let_go(&self, state: JobState, seen: &mut Option<(Instant, u64)>, strikes: &mut Vec<Strikes>) {
        if state != JobState::Running || !self.simulator.hold().is_on() {
            return;
        }
        let looks = self.simulator.faults().undisturbed_looks();
        let (since, before) = *seen.get_or_insert_with(|| (Instant::now(), looks));
        if looks < before + LOOKS {
            return;
        }
        if self.phase == Phase::End {
            if since.elapsed() < WORK {
                return;
            }
            strikes.extend(self.arm());
            tokio::time::sleep(ON_ITS_WAY).await;
        }
        self.simulator.hold().set(false);
    }

    /// Whether a start was asked for more often than it may be: again only when the one before it provably failed. A 2xx
    /// alone proves nothing where no start followed: vendors refuse behind one too.
    fn judge_requests(&self, state: JobState, starts: usize) -> Option<String> {
        if matches!(self.phase, Phase::Start | Phase::Refusal) && self.kind.is_turned_away() {
            return None;
        }
        let asked = self.simulator.faults().asked();
        if starts > 0 && asked.after_one_taken > 0 {
            return Some(format!("a start was asked for again after one was taken: {asked:?}"));
        }
        (state == JobState::Indeterminate && asked.requests > 1)
            .then(|| format!("asked for again without knowing: {asked:?}"))
    }

    /// What is wrong with the job, if anything is.
    fn judge(&self, end: &str, doubt: Option<Doubt>, job: &Job, events: &[Event]) -> Option<String> {
        let state = job.status.state;
        let (want_end, want_starts) = doubt.map_or(self.role.end(), |d| (d.end, d.starts));
        let effects = self.simulator.effects().all();
        let of = |kind| effects.iter().filter(move |e| e.kind == kind);
        let starts = of(EffectKind::Start).count();
        let ends: Vec<_> = of(EffectKind::End).map(|e| self.subject.end(&e.detail)).collect();
        if starts != want_starts {
            return Some(format!("{starts} starts instead of {want_starts}; ended {end}"));
        }
        if end != want_end {
            return Some(format!("ended {end} instead of {want_end}"));
        }
        if let Some(fault) = self.judge_requests(state, starts) {
            return Some(fault);
        }
        // Nothing started: no record of an end, so the job must own that it concluded it.
        if state == JobState::Failed && starts == 0 && job.status.provenance != Provenance::Inferred {
            return Some("FAILED without a start, and not marked INFERRED".to_owned());
        }
        // The simulator's own word is the truth, whatever the role was.
        if state != JobState::Indeterminate && starts > 0 && ends != [Some(state)] {
            return Some(format!("ended {end}, but the vendor's record says {ends:?}"));
        }
        let sequences: Vec<u64> = events.iter().map(|e| e.sequence).collect();
        if sequences != (1..=events.len() as u64).collect::<Vec<_>>() {
            return Some(format!("events with gaps: {sequences:?}"));
        }
        if events.len() > MAX_EVENTS {
            return Some(format!("{} events: it goes in circles", events.len()));
        }
        let shown = format!("{job:?} {events:?}");
        let canary = self.canaries().into_iter().find(|canary| shown.contains(canary));
        canary.map(|_| "a secret is shown in the job or its events".to_owned())
    }
}

/// The engine has asked the provider how it is, and the provider has a session: the next call is for the job.
pub async fn wait_until_met(engine: &Engine, provider: &str, vendor: &dyn Vendor) {
    let id = ProviderId::parse(provider).unwrap();
    let met = async {
        let pause = Duration::from_millis(10);
        while engine.provider(&id).unwrap().health.reachable.is_none() {
            tokio::time::sleep(pause).await;
        }
        while vendor.ping().await.is_err() {
            tokio::time::sleep(pause).await;
        }
    };
    tokio::time::timeout(PATIENCE, met).await.expect("the provider answers while nothing is armed");
}

/// A job's end, with INDETERMINATE before it if the job went through that.
pub fn end_of(job: &Job, events: &[Event]) -> String {
    let state = job.status.state;
    let unsure = events.iter().any(|e| e.status.state == JobState::Indeterminate);
    if unsure && state != JobState::Indeterminate {
        format!("INDETERMINATE, then {}", state.as_str())
    } else {
        state.as_str().to_owned()
    }
}
