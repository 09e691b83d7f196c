//! A vendor that does what a test tells it, and counts what took effect.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use drydock::domain::capability::{CancelSupport, Capabilities, Capability};
use drydock::domain::error::{FieldViolation, VendorFault};
use drydock::domain::failure::{Failure, FailureReason};
use drydock::domain::finding::Finding;
use drydock::domain::job::{Cancelable, Handle, Progress, Provenance};
use drydock::domain::operation::{Operation, OperationKind};
use drydock::domain::page::{Page, PageRequest};
use drydock::domain::target::{AvailableVersion, Image, Target, TargetInfo, TargetKind, UnderWay};
use drydock::kit::secret::ExposeSecret;
use drydock::vendors::contract::{
    Asked, CancelAnswer, CheckReport, Found, Observation, Phase, Planned, Submission, Submitted, Vendor,
};
use drydock::vendors::error::{Reached, VendorError};

/// What happens to the next start.
#[derive(Clone, Debug)]
pub enum OnSubmit {
    Start,
    StartAndLoseAnswer,
    LoseBefore,
    Refuse,
    RateLimit,
}

#[derive(Default)]
pub struct State {
    pub on_submit: HashMap<String, VecDeque<OnSubmit>>,
    pub findings: HashMap<String, Vec<Finding>>,
    pub started: BTreeMap<String, u32>,
    pub looks: HashMap<String, u32>,
    pub cancelled: Vec<String>,
    pub passwords: Vec<String>,
    pub down: bool,
    /// The vendor refuses the credentials.
    pub locked_out: bool,
    pub blind: bool,
    pub observe_calls: u32,
    /// The targets that were looked at, each with whether somebody watched, by call.
    pub looked: Vec<Vec<(String, bool)>>,
    /// How long a look takes, and how many are under way: now, and at most.
    pub slow_observe: Duration,
    pub observing: (u32, u32),
    pub fails: Vec<String>,
    /// Running until told.
    pub endless: bool,
    /// The vendor keeps schedules, and its operations stay scheduled.
    pub scheduled: bool,
    /// How long a reschedule takes, how many began, and the start times that took effect.
    pub slow_reschedule: Duration,
    pub reschedules_begun: u32,
    pub rescheduled: Vec<Option<jiff::Timestamp>>,
    /// Every cancel meets a fault that may pass.
    pub cancel_breaks: bool,
    /// For how long "it did not arrive" is proof; none: for good. Told from the first look on.
    pub proof: Option<Duration>,
    pub proof_ends: Option<jiff::Timestamp>,
    /// Sessions are never ended.
    pub hang_close: bool,
    /// Checks never come back.
    pub hang_checks: bool,
    /// How long a check takes.
    pub slow_check: Duration,
    /// How many checks were asked for.
    pub checks: u32,
    /// Operations that somebody else started, by target.
    pub foreign: HashMap<String, String>,
    /// Whether what is under way can be read with the list of targets.
    pub foreign_unknown: bool,
    /// How long a start takes until it is answered, after it took effect.
    pub slow_submit: Duration,
    /// How often a start was looked up.
    pub finds: u32,
    /// The sizes of the batches that `submit` got.
    pub batches: Vec<usize>,
    /// The targets of each take-over, and how often anything was looked at before it.
    pub taken_over: Vec<(Vec<String>, u32)>,
}

/// The scripted vendor. Operations end after three looks unless `endless`.
#[derive(Clone)]
pub struct Scripted {
    pub state: Arc<Mutex<State>>,
    capabilities: Capabilities,
}

impl Scripted {
    pub fn new() -> Self {
        Self::with(CancelSupport::Asked)
    }

    pub fn with(cancel: CancelSupport) -> Self {
        let capability = |target, operations| Capability {
            target,
            operations,
            schedules_natively: false,
            has_maintenance_windows: false,
            cancel,
            prechecks: true,
            progress: true,
            lists_versions: true,
            lists_images: true,
            batch_size: 100,
            lost_answer: "asked by key",
            success_proof: "reported",
            retry: "a new one",
        };
        Self {
            state: Arc::default(),
            capabilities: Capabilities {
                targets: vec![
                    capability(
                        TargetKind::Cluster,
                        &[OperationKind::Upgrade, OperationKind::ScheduledUpgrade],
                    ),
                    capability(TargetKind::Instance, &[OperationKind::Reinstall]),
                ],
                check_batch: 256,
                observe_batch: 100,
                lost_answer_grace: Duration::from_millis(50),
                lost_answer_limit: Duration::from_millis(400),
            },
        }
    }

    /// One that keeps schedules itself.
    pub fn scheduling() -> Self {
        let mut vendor = Self::new();
        for capability in &mut vendor.capabilities.targets {
            capability.schedules_natively = true;
        }
        vendor.state().scheduled = true;
        vendor
    }

    /// One that checks so many jobs at once.
    pub fn checking(check_batch: usize) -> Self {
        let mut vendor = Self::new();
        vendor.capabilities.check_batch = check_batch;
        vendor
    }

    pub fn on_submit(&self, target: &str, what: OnSubmit) {
        self.state.lock().unwrap().on_submit.entry(target.into()).or_default().push_back(what);
    }

    pub fn starts(&self, target: &str) -> u32 {
        self.state.lock().unwrap().started.get(target).copied().unwrap_or(0)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// One that believes a look-up at once.
    pub fn without_grace() -> Self {
        let mut vendor = Self::new();
        vendor.capabilities.lost_answer_grace = Duration::ZERO;
        vendor
    }

    fn gate(&self) -> Result<(), VendorError> {
        if self.state().down {
            return Err(VendorError::new(VendorFault::Unreachable, Reached::No, "connection refused"));
        }
        if self.state().locked_out {
            return Err(VendorError::new(VendorFault::Unauthenticated, Reached::No, "wrong password"));
        }
        Ok(())
    }

    fn seen(&self, target: &str) -> Observation {
        let mut state = self.state.lock().unwrap();
        let looks = state.looks.entry(target.into()).or_default();
        *looks += 1;
        let looks = *looks;
        let phase = if state.cancelled.iter().any(|t| t == target) {
            Phase::Cancelled
        } else if state.scheduled {
            Phase::Scheduled
        } else if state.endless || looks < 3 {
            Phase::Running
        } else if state.fails.iter().any(|t| t == target) {
            Phase::Failed(Failure::new(FailureReason::VendorFailed, "it broke").with_code("X.1"))
        } else {
            Phase::Succeeded
        };
        let mut seen = Observation::new(phase, Provenance::Reported);
        seen.vendor_state = Some(format!("LOOK_{}", looks.min(3)));
        let percent = f64::from(looks.min(3)) / 3.0 * 100.0;
        seen.progress = Some(Progress { percent, message: None, completed: None, total: None });
        seen.cancelable = Some(Cancelable::yes("the script allows it"));
        seen.handle = Some(Handle("{}".into()));
        seen
    }
}

#[async_trait]
impl Vendor for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn credential_keys(&self) -> &'static [&'static str] {
        &["user", "password"]
    }

    fn validate(&self, asked: &Asked<'_>) -> Vec<FieldViolation> {
        match asked.operation.upgrade().and_then(|u| u.version.as_deref()) {
            Some("bad") => vec![FieldViolation::new("version", "must not be bad")],
            _ => Vec::new(),
        }
    }

    async fn targets(&self, kind: TargetKind, _: &PageRequest) -> Result<Page<TargetInfo>, VendorError> {
        self.gate()?;
        let under_way_unknown = self.state().foreign_unknown;
        let target = |id: &str| TargetInfo {
            target: Target::parse_name(&format!("providers/a/{}/{id}", kind.collection())).unwrap(),
            display_name: None,
            current_version: None,
            vendor_state: None,
            available_versions: Vec::new(),
            attributes: BTreeMap::new(),
            under_way_unknown,
            under_way: self.state().foreign.get(id).map(|what| UnderWay {
                what: what.clone(),
                vendor_id: Some("id-7".into()),
                ..UnderWay::default()
            }),
        };
        Ok(Page::last(vec![target("t1"), target("t2")]))
    }

    async fn versions(&self, _: &Target) -> Result<Vec<AvailableVersion>, VendorError> {
        self.gate()?;
        Ok(Vec::new())
    }

    async fn images(&self, _: &PageRequest) -> Result<Page<Image>, VendorError> {
        self.gate()?;
        Ok(Page::last(Vec::new()))
    }

    fn taken_over(&self, jobs: &[Planned]) {
        let mut state = self.state();
        let looks = state.observe_calls;
        state.taken_over.push((jobs.iter().map(|job| job.target.id.to_string()).collect(), looks));
    }

    async fn check(&self, batch: &[Planned]) -> Vec<Result<CheckReport, VendorError>> {
        self.state().checks += 1;
        if self.state().hang_checks {
            std::future::pending::<()>().await;
        }
        let takes = self.state().slow_check;
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        let one = |planned: &Planned| {
            self.gate()?;
            let findings = self.state.lock().unwrap().findings.get(&*planned.target.id).cloned();
            let foreign = self.state().foreign.get(&*planned.target.id).cloned();
            Ok(CheckReport { findings: findings.unwrap_or_default(), handle: None, foreign })
        };
        batch.iter().map(one).collect()
    }

    async fn submit(&self, batch: &[Submission]) -> Vec<Submitted> {
        self.state.lock().unwrap().batches.push(batch.len());
        let mut out = Vec::new();
        for submission in batch {
            let target = submission.planned.target.id.to_string();
            let what = {
                let mut state = self.state.lock().unwrap();
                if let Some(password) = &submission.password {
                    state.passwords.push(password.expose_secret().to_owned());
                }
                state.on_submit.get_mut(&target).and_then(VecDeque::pop_front).unwrap_or(OnSubmit::Start)
            };
            let start = || *self.state.lock().unwrap().started.entry(target.clone()).or_default() += 1;
            let lost =
                || VendorError::new(VendorFault::Unreachable, Reached::Maybe, "connection reset by peer");
            out.push(match what {
                OnSubmit::Start => {
                    start();
                    Submitted::Started(Box::new(self.seen(&target)))
                }
                OnSubmit::StartAndLoseAnswer => {
                    start();
                    Submitted::Failed(lost())
                }
                OnSubmit::LoseBefore => Submitted::Failed(lost()),
                OnSubmit::Refuse => Submitted::Refused(
                    Failure::new(FailureReason::VendorRejected, "no such version"),
                    Vec::new(),
                ),
                OnSubmit::RateLimit => Submitted::Failed(VendorError::new(
                    VendorFault::RateLimited,
                    Reached::No,
                    "too many requests",
                )),
            });
        }
        let wait = self.state().slow_submit;
        tokio::time::sleep(wait).await;
        out
    }

    async fn find(&self, planned: &Planned) -> Result<Found, VendorError> {
        self.gate()?;
        self.state().finds += 1;
        if self.state.lock().unwrap().blind {
            return Ok(Found::CannotTell("the script is blind".into()));
        }
        let until = {
            let mut state = self.state();
            let now = drydock::kit::clock::Clock::system().now();
            let ends = state.proof.map(|proof| drydock::kit::clock::after(now, proof));
            state.proof_ends = state.proof_ends.or(ends);
            state.proof_ends
        };
        Ok(match self.starts(&planned.target.id) {
            0 if until.is_some_and(|until| until <= drydock::kit::clock::Clock::system().now()) => {
                Found::CannotTell("too late to tell".into())
            }
            0 => Found::NotArrived { until },
            _ => Found::Arrived(Box::new(self.seen(&planned.target.id))),
        })
    }

    async fn observe(&self, batch: &[Planned]) -> Vec<Result<Observation, VendorError>> {
        let wait = {
            let mut state = self.state();
            state.observe_calls += 1;
            state.looked.push(batch.iter().map(|p| (p.target.id.to_string(), p.watched)).collect());
            state.observing.0 += 1;
            state.observing.1 = state.observing.1.max(state.observing.0);
            state.slow_observe
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        self.state().observing.0 -= 1;
        batch.iter().map(|p| self.gate().map(|()| self.seen(&p.target.id))).collect()
    }

    async fn cancel(&self, planned: &Planned) -> Result<CancelAnswer, VendorError> {
        self.gate()?;
        if self.state().cancel_breaks {
            return Err(VendorError::garbled("HTTP 500 on every cancel"));
        }
        self.state.lock().unwrap().cancelled.push(planned.target.id.to_string());
        Ok(CancelAnswer::Accepted)
    }

    async fn reschedule(&self, planned: &Planned) -> Result<Observation, VendorError> {
        self.gate()?;
        let wait = {
            let mut state = self.state();
            state.reschedules_begun += 1;
            state.slow_reschedule
        };
        tokio::time::sleep(wait).await;
        if let Operation::ScheduledUpgrade(asked) = &planned.operation {
            self.state().rescheduled.push(asked.start_time);
        }
        Ok(self.seen(&planned.target.id))
    }

    async fn ping(&self) -> Result<Option<String>, VendorError> {
        self.gate().map(|()| Some("scripted 1.0".into()))
    }

    async fn close(&self) {
        if self.state().hang_close {
            std::future::pending::<()>().await;
        }
    }
}
