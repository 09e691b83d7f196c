//! What is measured, one file each.

mod delay;
pub mod durable;
pub mod fan_out;
mod get_job;
mod polls;
mod restart;
mod unread;

use super::Bench;
use super::row::Row;

/// What can be measured by itself. Each gives one row or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Subject {
    /// Deliveries to many subscribers, and what an idle one costs.
    FanOut,
    /// What subscribers that never read cost the others, and in memory.
    Unread,
    /// `GetJob`.
    GetJob,
    /// `UpgradeCluster` from many callers.
    Durable,
    /// From RPC to the vendor's start.
    Delay,
    /// Vendor requests of a poll round.
    Polls,
    /// Restart with many live jobs, and what each of them costs.
    Restart,
}

impl Subject {
    /// All of them, in the table's order.
    pub const ALL: [Self; 7] =
        [Self::FanOut, Self::Unread, Self::GetJob, Self::Durable, Self::Delay, Self::Polls, Self::Restart];

    /// Measures it.
    pub async fn measure(self, bench: &Bench) -> anyhow::Result<Vec<Row>> {
        match self {
            Self::FanOut => Box::pin(fan_out::measure(bench)).await,
            Self::Unread => Box::pin(unread::measure(bench)).await,
            Self::GetJob => Box::pin(get_job::measure(bench)).await,
            Self::Durable => Box::pin(durable::measure(bench)).await,
            Self::Delay => Box::pin(delay::measure(bench)).await,
            Self::Polls => Box::pin(polls::measure(bench)).await,
            Self::Restart => Box::pin(restart::measure(bench)).await,
        }
    }
}
