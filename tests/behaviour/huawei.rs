//! Huawei CloudDC: reinstalls.

use async_trait::async_trait;
use drydock::domain::operation::{Operation, Reinstall};
use drydock::domain::state::JobState;
use drydock::simulators::huawei::{Outcome, instance_id, start};
use drydock::simulators::{Pace, Settings, Simulator};

use crate::faults::{Kind, Phase};
use crate::subject::{Doubt, Role, Subject};

const UNKNOWN: &str = "An instance must be `running` to be reinstalled, and a state that Drydock does not know is not \
                       that: nothing was started.";
const UNTOUCHED: &str = "CloudDC has no id for a reinstall, and an instance goes on showing its old state after the vendor \
                         took one: an untouched instance proves nothing, and a second wipe is worse than a question. The \
                         instance was not touched.";

pub struct Huawei;

#[async_trait]
impl Subject for Huawei {
    fn name(&self) -> &'static str {
        "huawei"
    }

    async fn start(&self, settings: Settings, role: Role) -> Box<dyn Simulator> {
        let simulator = start(settings).await.unwrap();
        match role {
            Role::Well => simulator.script(0, Outcome::Succeed),
            Role::Badly => simulator.script(0, Outcome::Fail),
            Role::Refused => simulator.set_state(0, "stopped", None),
        }
        Box::new(simulator)
    }

    /// A reinstall takes 1.2 s, if it is not held, and shows after a fortieth of that.
    fn pace(&self) -> Pace {
        Pace::new(1000.0)
    }

    fn collection(&self) -> &'static str {
        "instances"
    }

    fn target(&self, n: usize) -> String {
        instance_id(n)
    }

    fn operation(&self) -> Operation {
        Operation::Reinstall(Reinstall::default())
    }

    fn password(&self) -> Option<&'static str> {
        Some("Canary-7.unit=Q")
    }

    fn end(&self, word: &str) -> Option<JobState> {
        match word {
            "reinstall-succeed" => Some(JobState::Succeeded),
            "reinstall-failed" => Some(JobState::Failed),
            _ => None,
        }
    }

    fn doubt(&self, phase: Phase, kind: Kind) -> Option<Doubt> {
        match phase {
            Phase::Precheck if kind.is_unknown_word() => Doubt::rejected(UNKNOWN),
            Phase::Start if kind.loses_request() => Doubt::indeterminate(UNTOUCHED),
            Phase::LookupLost => Doubt::indeterminate(UNTOUCHED),
            _ => None,
        }
    }
}
