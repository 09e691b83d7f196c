//! Growth: the same measurements at 1, 10 and 100 times as many jobs and subscribers.

use super::Bench;
use super::plot::{self, Line};
use super::row::{Row, number};
use super::rows::Subject;

/// How much of the full sizes each step has.
const STEPS: [(usize, &str); 3] = [(100, "1×"), (10, "10×"), (1, "100×")];
/// What is measured at each step.
const SUBJECTS: [Subject; 5] =
    [Subject::FanOut, Subject::GetJob, Subject::Durable, Subject::Polls, Subject::Restart];

/// What the growth of one figure is of.
struct Series {
    what: String,
    unit: &'static str,
    /// Whether it is of the whole, which may grow with the size, or of one job, subscriber or call, which must not.
    whole: bool,
    values: Vec<f64>,
}

/// What was found.
pub struct Growth {
    sizes: Vec<String>,
    series: Vec<Series>,
}

/// Measures all steps; tells of each row by `done`.
pub async fn measure(bench: &Bench, mut done: impl FnMut(&str, &Row)) -> anyhow::Result<Growth> {
    let mut growth = Growth { sizes: Vec::new(), series: Vec::new() };
    for (part, step) in STEPS {
        let mut options = bench.options.clone();
        for size in [&mut options.subscribers, &mut options.jobs, &mut options.polled, &mut options.stored] {
            *size = (*size / part).max(1);
        }
        options.connections = options.connections.min(options.subscribers);
        growth.sizes.push(format!(
            "{step}: {} subscribers, {} live jobs to restart with, {} polled, {} stored",
            options.subscribers, options.jobs, options.polled, options.stored
        ));
        options.only = SUBJECTS.to_vec();
        let (jobs, stored) = (options.jobs, options.stored);
        let report = Bench { options, home: bench.home.clone() }.run(|row| done(step, row)).await?;
        for row in &report.rows {
            growth.take(row, jobs, stored);
        }
    }
    Ok(growth)
}

impl Growth {
    fn take(&mut self, row: &Row, jobs: usize, stored: usize) {
        let cost = row.beside.iter().find(|figure| figure.of == "server's processor time each");
        let cost = cost.map_or(0.0, |figure| figure.value);
        let value = row.measured.value;
        match row.key {
            "fan_out" => self.add("processor time of a delivery", "µs", false, cost),
            "subscriber" => self.add("memory of an idle subscriber", "bytes", false, value),
            "get_job" => self.add("processor time of a `GetJob`", "µs", false, cost),
            "durable" => self.add("processor time of an `UpgradeCluster`", "µs", false, cost),
            "polls" => {
                self.add("vendor requests of a poll round", "requests", true, value);
                self.add("vendor requests of a job's poll", "requests", false, row.ratio);
            }
            "restart" => {
                self.add("restart", "s", true, value);
                self.add("restart, of a live job", "µs", false, value / jobs as f64 * 1e6);
            }
            "live_job" => self.add("memory of a live job", "bytes", false, value),
            _ => debug_assert!(stored > 0, "a row that nobody plots"),
        }
    }

    fn add(&mut self, what: &str, unit: &'static str, whole: bool, value: f64) {
        match self.series.iter_mut().find(|series| series.what == what) {
            Some(series) => series.values.push(value),
            None => self.series.push(Series { what: what.to_owned(), unit, whole, values: vec![value] }),
        }
    }

    /// The table as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for size in &self.sizes {
            text.push_str(&format!("- {size}\n"));
        }
        text.push_str("\n| what | 1× | 10× | 100× | from 1× to 100× |\n|---|---|---|---|---|\n");
        for series in &self.series {
            let cells: Vec<_> = series.values.iter().map(|value| number(*value)).collect();
            text.push_str(&format!(
                "| {} ({}) | {} | × {} |\n",
                series.what,
                series.unit,
                cells.join(" | "),
                number(series.grown())
            ));
        }
        text
    }

    /// The plot: each figure relative to what it is at 1×.
    pub fn plot(&self) -> String {
        let line = |series: &Series| Line {
            name: series.what.replace('`', ""),
            values: series.values.iter().map(|value| value / series.first()).collect(),
            dashed: series.whole,
        };
        plot::svg(&self.series.iter().map(line).collect::<Vec<_>>())
    }
}

impl Series {
    fn first(&self) -> f64 {
        self.values.first().copied().filter(|value| *value > 0.0).unwrap_or(1.0)
    }

    fn grown(&self) -> f64 {
        self.values.last().copied().unwrap_or_default() / self.first()
    }
}
