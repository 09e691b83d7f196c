//! The bench: the gateway as a real process, measured against yardsticks in the same run.
//!
//! `examples/bench` runs it in full, `tests/bench` with tiny sizes so that it does not rot. Gateway and yardstick are
//! processes of their own with the same client, the same bytes and the same connections, and take turns.

#![allow(dead_code, reason = "the example and the test use a part each")]

mod admin;
mod callgrind;
mod commit;
pub mod counts;
mod crowd;
pub mod docs;
mod etcd;
mod fleet;
pub mod growth;
pub mod home;
mod jobs;
mod judged;
mod load;
pub mod options;
pub mod plot;
#[path = "../../../tests/support/process.rs"]
mod process;
pub mod report;
pub mod row;
pub mod rows;
mod seed;
mod server;
mod tap;
mod usage;
mod wire;
pub mod yardstick;

use anyhow::Context as _;
use tokio::time::Instant;

use home::Home;
use options::Options;
use report::Report;
use row::Row;
use rows::Subject;

/// A run's settings.
#[derive(Clone, Debug)]
pub struct Bench {
    /// What is asked.
    pub options: Options,
    /// Which programs are started.
    pub home: Home,
}

impl Bench {
    /// Measures what is asked, in the table's order; tells of each row by `done`.
    pub async fn run(&self, mut done: impl FnMut(&Row)) -> anyhow::Result<Report> {
        let (begun, machine) = (Instant::now(), report::machine());
        let mut rows = Vec::new();
        for subject in Subject::ALL {
            let only = &self.options.only;
            if !only.is_empty() && !only.contains(&subject) {
                continue;
            }
            let found = subject.measure(self).await.with_context(|| format!("measuring {subject:?}"))?;
            found.iter().for_each(&mut done);
            rows.extend(found);
        }
        Ok(Report { machine, seconds: begun.elapsed().as_secs_f64(), rows })
    }
}
