//! vSphere: clusters, which have no task, and Supervisors, which have one.

use async_trait::async_trait;
use drydock::domain::operation::{Operation, Upgrade};
use drydock::domain::state::JobState;
use drydock::simulators::vsphere::{NEXT_VERSION, Outcome, cluster_id, start, supervisor_id};
use drydock::simulators::{Pace, Settings, Simulator};

use crate::faults::{Kind, Phase};
use crate::subject::{Doubt, Role, Subject};

pub struct Clusters;
pub struct Supervisors;

async fn simulator(settings: Settings, role: Role, target: &str) -> Box<dyn Simulator> {
    let simulator = start(settings).await.unwrap();
    let outcome = match role {
        Role::Well => Outcome::Succeed,
        Role::Badly => Outcome::Fail,
        Role::Refused => Outcome::Refuse,
    };
    simulator.script(target, outcome);
    Box::new(simulator)
}

/// An upgrade takes 1.2 s, if it is not held.
const PACE: Pace = Pace::new(2000.0);

const UNKNOWN: &str = "A state that Drydock does not know is a warning of the precheck, `vsphere.state_unknown`, and \
                       nobody accepted it: nothing was started.";

fn operation() -> Operation {
    Operation::Upgrade(Upgrade { version: Some(NEXT_VERSION.into()), ..Upgrade::default() })
}

fn end(word: &str) -> Option<JobState> {
    match word {
        "SUCCEEDED" => Some(JobState::Succeeded),
        "FAILED" => Some(JobState::Failed),
        _ => None,
    }
}

#[async_trait]
impl Subject for Clusters {
    fn name(&self) -> &'static str {
        "vsphere, clusters"
    }

    async fn start(&self, settings: Settings, role: Role) -> Box<dyn Simulator> {
        simulator(settings, role, &cluster_id(0)).await
    }

    fn pace(&self) -> Pace {
        PACE
    }

    fn collection(&self) -> &'static str {
        "clusters"
    }

    fn target(&self, n: usize) -> String {
        cluster_id(n)
    }

    fn operation(&self) -> Operation {
        operation()
    }

    fn end(&self, word: &str) -> Option<JobState> {
        end(word)
    }

    fn doubt(&self, phase: Phase, kind: Kind) -> Option<Doubt> {
        if phase == Phase::Precheck && kind.is_unknown_word() { Doubt::rejected(UNKNOWN) } else { None }
    }
}

#[async_trait]
impl Subject for Supervisors {
    fn name(&self) -> &'static str {
        "vsphere, supervisors"
    }

    async fn start(&self, settings: Settings, role: Role) -> Box<dyn Simulator> {
        simulator(settings, role, &supervisor_id(0)).await
    }

    fn pace(&self) -> Pace {
        PACE
    }

    fn collection(&self) -> &'static str {
        "supervisors"
    }

    fn target(&self, n: usize) -> String {
        supervisor_id(n)
    }

    fn operation(&self) -> Operation {
        operation()
    }

    fn end(&self, word: &str) -> Option<JobState> {
        end(word)
    }

    fn doubt(&self, phase: Phase, kind: Kind) -> Option<Doubt> {
        match phase {
            // After the look-up the start is checked anew.
            Phase::Precheck | Phase::LookupLost if kind.is_unknown_word() => Doubt::rejected(UNKNOWN),
            _ => None,
        }
    }
}
