//! Growth: the same measurements at 1, 10 and 100 times as many jobs and subscribers.

use super::Bench;
use super::plot::{self, Line, Panel};
use super::report;
use super::row::{Figure, Row, number};
use super::rows::Subject;
use super::rows::fan_out::FRESH;

/// How much of the full sizes each step has.
const STEPS: [(usize, &str); 3] = [(100, "1×"), (10, "10×"), (1, "100×")];
/// What is measured at each step.
const SUBJECTS: [Subject; 5] =
    [Subject::FanOut, Subject::GetJob, Subject::Durable, Subject::Polls, Subject::Restart];
/// Enough rounds here, where a third more or less of a figure says nothing.
const ROUNDS: usize = 3;
/// An exponent this far from what is meant is still that: of 100 times the size it makes twice the figure.
const SLACK: f64 = 0.15;

/// Of what a figure is, and so how it may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// Of all jobs or subscribers: at most in proportion to them.
    All,
    /// Of one job, subscriber or call: not at all.
    One,
}

/// One figure at every step.
#[derive(Debug)]
struct Series {
    what: &'static str,
    unit: &'static str,
    of: Of,
    values: Vec<f64>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Growth {
    machine: String,
    sizes: Vec<String>,
    series: Vec<Series>,
    seconds: f64,
}

/// Measures all steps; tells of each row by `done`.
pub async fn measure(bench: &Bench, mut done: impl FnMut(&str, &Row)) -> anyhow::Result<Growth> {
    let mut growth = Growth { machine: report::machine(), ..Growth::default() };
    for (part, step) in STEPS {
        let mut options = bench.options.clone();
        for size in [&mut options.subscribers, &mut options.jobs, &mut options.polled, &mut options.stored] {
            *size = (*size / part).max(1);
        }
        options.polled = options.polled.max(options.providers);
        options.rounds = options.rounds.min(ROUNDS);
        options.without_etcd = true;
        options.only = SUBJECTS.to_vec();
        let sizes =
            [options.subscribers, options.stored, options.polled, options.jobs].map(|n| n.to_string());
        growth.sizes.push(format!("| {step} | {} |", sizes.join(" | ")));
        let (subscribers, jobs) = (options.subscribers, options.jobs);
        let report = Bench { options, home: bench.home.clone() }.run(|row| done(step, row)).await?;
        growth.seconds += report.seconds;
        for row in &report.rows {
            growth.take(row, subscribers as f64, jobs as f64);
        }
    }
    Ok(growth)
}

impl Growth {
    /// Takes in what a row says at the next step.
    pub fn take(&mut self, row: &Row, subscribers: f64, jobs: f64) {
        const MIB: f64 = 1024.0 * 1024.0;
        let beside = |of: &str| row.beside.iter().find(|figure| figure.of == of).map_or(0.0, |f| f.value);
        let cost = beside("server's processor time each");
        let value = row.measured.value;
        match row.key {
            "fan_out" => {
                let burst = cost * beside("at once") * subscribers / 1e3;
                self.add(Of::All, "one burst to all subscribers, processor time", "ms", burst);
                self.add(Of::One, "one delivery, processor time", "µs", cost);
            }
            "subscriber" => {
                // Before its first event, because what is kept of events is no subscriber's own.
                let value = beside(FRESH);
                self.add(Of::All, "all idle subscribers, memory", "MiB", value * subscribers / MIB);
                self.add(Of::One, "an idle subscriber, memory", "bytes", value);
            }
            "get_job" => self.add(Of::One, "a `GetJob`, processor time", "µs", cost),
            "durable" => self.add(Of::One, "an `UpgradeCluster`, processor time", "µs", cost),
            "polls" => {
                self.add(Of::All, "a poll round, vendor requests", "", value);
                self.add(Of::One, "one look at a job, vendor requests", "", row.ratio);
            }
            "restart" => {
                self.add(Of::All, "a restart, time", "s", value);
                self.add(Of::One, "a restart, time of each live job", "µs", value / jobs * 1e6);
            }
            "live_job" => {
                self.add(Of::All, "all live jobs, memory", "MiB", value * jobs / MIB);
                self.add(Of::One, "a live job, memory", "bytes", value);
            }
            _ => {}
        }
    }

    fn add(&mut self, of: Of, what: &'static str, unit: &'static str, value: f64) {
        match self.series.iter_mut().find(|series| series.what == what) {
            Some(series) => series.values.push(value),
            None => self.series.push(Series { what, unit, of, values: vec![value] }),
        }
    }

    fn part(&self, of: Of) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(move |series| series.of == of)
    }

    /// The tables as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "On {}; the run took {:.0} s.\n\n\
             | size | subscribers | jobs stored for calls | jobs polled | live jobs to restart with |\n\
             |---|---|---|---|---|\n{}\n\n\
             ![growth from 1× to 100×](performance-growth.svg)\n\n\
             The exponent is that of the power of the size which fits best; behind it that from 10× to 100× alone, \
             where what is there at any size weighs least. The greater of the two is judged. *Flat*: below {SLACK}, so \
             that 100 times the size makes less than twice the figure. *Linear*: within {SLACK} of 1. What is of one job, \
             subscriber or call must be flat or fall; what is of all of them must be no worse than linear.\n\n\
             | what | 1× | 10× | 100× | exponent | so it is | as it must be |\n|---|---|---|---|---|---|---|\n",
            self.machine,
            self.seconds,
            self.sizes.join("\n"),
        );
        for series in self.part(Of::All).chain(self.part(Of::One)) {
            let cells: Vec<_> =
                series.values.iter().map(|v| Figure::new(series.what, *v, series.unit).text()).collect();
            let (fit, last) = series.exponents();
            text.push_str(&format!(
                "| {} | {} | {fit:.2}, {last:.2} | {} | {} |\n",
                series.what,
                cells.join(" | "),
                word(fit.max(last)),
                if series.holds() { "yes" } else { "**no**" },
            ));
        }
        text
    }

    /// The plot: each figure relative to what it is at 1×.
    pub fn plot(&self) -> String {
        let line = |series: &Series| {
            let first = series.values.first().copied().filter(|value| *value > 0.0).unwrap_or(1.0);
            let ends =
                [series.values.first(), series.values.last()].map(|v| number(v.copied().unwrap_or_default()));
            Line {
                name: series.what.replace('`', ""),
                note: format!("{} → {} {}", ends[0], ends[1], series.unit).trim().to_owned(),
                values: series.values.iter().map(|value| value / first).collect(),
            }
        };
        let panel = |title: &str, of, powers| Panel {
            title: title.to_owned(),
            powers,
            lines: self.part(of).map(line).collect(),
        };
        plot::svg(&[
            panel("Of all jobs or subscribers: no worse than linear", Of::All, (0, 2)),
            panel("Of one job, subscriber or call: flat, or falling", Of::One, (-1, 1)),
        ])
    }
}

impl Series {
    /// Over all steps, and from the last but one to the last.
    fn exponents(&self) -> (f64, f64) {
        let last = self.values.get(self.values.len().saturating_sub(2)..).unwrap_or_default();
        (exponent(&self.values), exponent(last))
    }

    fn holds(&self) -> bool {
        let most = match self.of {
            Of::All => 1.0 + SLACK,
            Of::One => SLACK,
        };
        let (fit, last) = self.exponents();
        fit.max(last) <= most
    }
}

/// The exponent of the power of the size that fits best: the slope of a straight line through the logarithms. Each value
/// belongs to ten times the size of the one before.
pub fn exponent(values: &[f64]) -> f64 {
    let heights: Vec<f64> = values.iter().map(|value| value.max(1e-9).log10()).collect();
    let middle = (heights.len() as f64 - 1.0) / 2.0;
    let mean = heights.iter().sum::<f64>() / heights.len() as f64;
    let (mut up, mut across) = (0.0, 0.0);
    for (n, height) in heights.iter().enumerate() {
        let x = n as f64 - middle;
        up += x * (height - mean);
        across += x * x;
    }
    if across > 0.0 { up / across } else { 0.0 }
}

/// What an exponent means.
pub fn word(exponent: f64) -> &'static str {
    match exponent {
        e if e < -SLACK => "falling",
        e if e <= SLACK => "flat",
        e if e < 1.0 - SLACK => "less than linear",
        e if e <= 1.0 + SLACK => "linear",
        _ => "**worse than linear**",
    }
}
