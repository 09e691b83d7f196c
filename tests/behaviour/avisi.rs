//! Avisi: direct upgrades, and scheduled ones as a customer and as an operator.

use async_trait::async_trait;
use drydock::domain::operation::{Operation, ScheduledUpgrade, Upgrade};
use drydock::domain::state::JobState;
use drydock::simulators::avisi::{NEXT_VERSION, OPERATOR_TOKEN, Outcome, start, target_id};
use drydock::simulators::{Pace, Settings, Simulator};

use crate::faults::{Kind, Phase};
use crate::subject::{Doubt, Role, Subject};

const FOREIGN: &str = "Avisi publishes no list of a cluster's states, so one that Drydock does not know is read as work that \
                       somebody else began: nothing was started.";
const UNREADABLE: &str = "Avisi gives customers no way to read a scheduled upgrade back, and a start that is due may have \
                          begun: the cluster shows no sign of it, and the same call again could make a second one. Nothing \
                          was started. With an `admin_token` nothing is in doubt.";

/// One of the ways to upgrade a cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Avisi {
    /// At once, which leaves no record.
    Direct,
    /// Scheduled by a customer, who cannot read it back.
    Customer,
    /// Scheduled with an operator's token.
    Operator,
}

#[async_trait]
impl Subject for Avisi {
    fn name(&self) -> &'static str {
        match self {
            Self::Direct => "avisi, direct",
            Self::Customer => "avisi, scheduled",
            Self::Operator => "avisi, scheduled, with `admin_token`",
        }
    }

    async fn start(&self, settings: Settings, role: Role) -> Box<dyn Simulator> {
        let simulator = start(settings).await.unwrap();
        simulator.tell_windows(true);
        let outcome = match role {
            Role::Well => Outcome::Succeed,
            Role::Badly => Outcome::Fail,
            Role::Refused => Outcome::Refuse,
        };
        simulator.script(&target_id(0), outcome);
        Box::new(simulator)
    }

    /// An upgrade takes 1.2 s, if it is not held, and a customer's failure is believed when the window is over: 3.6 s.
    fn pace(&self) -> Pace {
        Pace::new(2000.0)
    }

    fn table(&self, simulator: &dyn Simulator) -> toml::Table {
        let mut table = simulator.provider();
        if *self == Self::Operator {
            table.insert("admin_token".to_owned(), OPERATOR_TOKEN.into());
        }
        table
    }

    /// A token is made elsewhere and sent with every call.
    fn logs_in(&self) -> bool {
        false
    }

    fn collection(&self) -> &'static str {
        "clusters"
    }

    fn target(&self, n: usize) -> String {
        target_id(n)
    }

    fn operation(&self) -> Operation {
        let upgrade = Upgrade { version: Some(NEXT_VERSION.into()), ..Upgrade::default() };
        match self {
            Self::Direct => Operation::Upgrade(upgrade),
            Self::Customer | Self::Operator => Operation::ScheduledUpgrade(ScheduledUpgrade {
                upgrade,
                start_time: None,
                ignore_maintenance_windows: Some(true),
            }),
        }
    }

    fn end(&self, word: &str) -> Option<JobState> {
        match word {
            "SUCCEEDED" => Some(JobState::Succeeded),
            "FAILED" => Some(JobState::Failed),
            "MISSED" => Some(JobState::Missed),
            "SUPERSEDED" => Some(JobState::Superseded),
            _ => None,
        }
    }

    fn doubt(&self, phase: Phase, kind: Kind) -> Option<Doubt> {
        match (self, phase) {
            (_, Phase::Precheck) if kind.is_unknown_word() => Doubt::rejected(FOREIGN),
            // The word proves no arrival, so the start is checked anew, and meets it there.
            (Self::Direct | Self::Operator, Phase::LookupLost) if kind.is_unknown_word() => {
                Doubt::rejected(FOREIGN)
            }
            (Self::Customer, Phase::LookupLost) => Doubt::indeterminate(UNREADABLE),
            (Self::Customer, Phase::Start) if kind.loses_request() => Doubt::indeterminate(UNREADABLE),
            (Self::Customer, Phase::Refusal) if kind.loses_request() || kind.loses_answer() => {
                Doubt::indeterminate(UNREADABLE)
            }
            _ => None,
        }
    }
}
