//! ZStack: `UpdateClusterOS`.

use async_trait::async_trait;
use drydock::domain::operation::{Operation, Upgrade};
use drydock::domain::state::JobState;
use drydock::simulators::zstack::{Outcome, SimZstack, target_id};
use drydock::simulators::{Pace, Settings, Simulator};

use crate::faults::{Kind, Phase};
use crate::subject::{Doubt, Role, Subject};

pub struct Zstack;

#[async_trait]
impl Subject for Zstack {
    fn name(&self) -> &'static str {
        "zstack"
    }

    async fn start(&self, settings: Settings, role: Role) -> Box<dyn Simulator> {
        let simulator = SimZstack::start(settings).await.unwrap();
        let outcome = match role {
            Role::Well => Outcome::Succeed,
            Role::Badly => Outcome::Fail,
            Role::Refused => Outcome::RefuseAtApi,
        };
        assert!(simulator.script(&target_id(0), outcome));
        Box::new(simulator)
    }

    /// An update takes 1.2 s, if it is not held.
    fn pace(&self) -> Pace {
        Pace::new(2000.0)
    }

    fn collection(&self) -> &'static str {
        "clusters"
    }

    fn target(&self, n: usize) -> String {
        target_id(n)
    }

    fn operation(&self) -> Operation {
        Operation::Upgrade(Upgrade { version: Some("h84r".into()), ..Upgrade::default() })
    }

    fn end(&self, word: &str) -> Option<JobState> {
        match word {
            "Succeeded" => Some(JobState::Succeeded),
            "Failed" => Some(JobState::Failed),
            "Canceled" => Some(JobState::Cancelled),
            _ => None,
        }
    }

    /// ZStack knows every start by the id that Drydock chose: nothing is ever in doubt.
    fn doubt(&self, _: Phase, _: Kind) -> Option<Doubt> {
        None
    }
}
