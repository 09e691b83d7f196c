//! Shows jobs as they move: bars on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::follow::is_end;
use super::operations::Started;
use crate::api::pb;
use crate::cli::output;

/// How many characters a job's label takes.
const LABEL: usize = 44;

/// One line for each job.
pub(super) struct View {
    began: Instant,
    rows: BTreeMap<String, Row>,
    bars: Option<Bars>,
}

struct Row {
    label: String,
    bar: Option<ProgressBar>,
    /// What was said last: a plain line is never repeated, and a percentage only when it moved by ten points.
    said: (String, u64),
}

struct Bars {
    screen: MultiProgress,
    bar: ProgressStyle,
    spinner: ProgressStyle,
}

impl View {
    pub(super) fn new(jobs: &[Started]) -> Self {
        let bars = if std::io::stdout().is_terminal() { Bars::new() } else { None };
        let rows = jobs.iter().map(|started| {
            let label = label(started);
            let bar = bars.as_ref().map(|bars| bars.row(&label));
            (started.job.name.clone(), Row { label, bar, said: (String::new(), 0) })
        });
        Self { began: Instant::now(), rows: rows.collect(), bars }
    }

    /// Shows how a job stands.
    pub(super) fn show(&mut self, job: &str, status: &pb::JobStatus) {
        let Some(row) = self.rows.get_mut(job) else { return };
        let (words, percentage) = (words(status), status.progress.as_ref().map_or(0, percent));
        match (&row.bar, &self.bars) {
            (Some(bar), Some(bars)) => {
                match &status.progress {
                    Some(_) => {
                        bar.set_style(bars.bar.clone());
                        bar.set_position(percentage);
                    }
                    None => bar.set_style(bars.spinner.clone()),
                }
                bar.set_message(words);
                if status.state() == pb::JobState::Succeeded {
                    bar.set_style(bars.bar.clone());
                    bar.set_position(100);
                }
                if is_end(status.state()) {
                    bar.abandon();
                }
            }
            _ => {
                if words != row.said.0 || percentage.abs_diff(row.said.1) >= 10 {
                    let passed = self.began.elapsed().as_secs_f64();
                    let label = &row.label;
                    output::say(format_args!("{passed:6.1} s  {label:LABEL$} {:>5}  {words}", shown(status)));
                    row.said = (words, percentage);
                }
            }
        }
    }

    /// Leaves the last state of every job on the screen.
    pub(super) fn finish(&self) {
        for row in self.rows.values() {
            if let Some(bar) = &row.bar {
                bar.abandon();
            }
        }
    }
}

impl Bars {
    /// `None` when a template cannot be read: then there are plain lines.
    fn new() -> Option<Self> {
        let bar = ProgressStyle::with_template("{prefix} {bar:24} {percent:>3} %  {msg}").ok()?;
        let spinner = ProgressStyle::with_template("{prefix} {spinner:24}        {msg}").ok()?;
        Some(Self { screen: MultiProgress::with_draw_target(ProgressDrawTarget::stdout()), bar, spinner })
    }

    fn row(&self, label: &str) -> ProgressBar {
        let row = self.screen.add(ProgressBar::new(100));
        row.set_style(self.spinner.clone());
        row.set_prefix(format!("{label:LABEL$}"));
        row.enable_steady_tick(Duration::from_millis(120));
        row
    }
}

/// Such as `sim-zstack  UpdateClusterOS  …000000000001`: the end of an id tells the targets of a vendor apart.
fn label(started: &Started) -> String {
    let mut parts = started.job.target.split('/').skip(1);
    let provider = parts.next().unwrap_or_default();
    let target = parts.nth(1).unwrap_or_default();
    let target = target.get(target.len().saturating_sub(12)..).unwrap_or(target);
    format!("{provider:11} {:18} {target}", started.title)
}

/// The percentage as a plain line shows it. An ended job keeps the last one that its vendor told, which may be below
/// 100, so it is not repeated then.
fn shown(status: &pb::JobStatus) -> String {
    let progress = status.progress.as_ref().filter(|_| !is_end(status.state()));
    progress.map_or_else(String::new, |progress| format!("{} %", percent(progress)))
}

fn words(status: &pb::JobStatus) -> String {
    let state = status.state();
    let mut text = state.as_str_name().trim_start_matches("JOB_STATE_").to_owned();
    if status.provenance() == pb::Provenance::Inferred {
        text.push_str(", inferred");
    }
    if let Some(vendor) = status.vendor.as_ref().filter(|vendor| !vendor.state.is_empty()) {
        text.push_str(&format!(", vendor says {}", vendor.state));
    }
    if let Some(failure) = &status.failure {
        text.push_str(&format!(": {}", failure.message));
    } else if let Some(waiting) = status.waiting_for.first().filter(|_| !is_end(state)) {
        text.push_str(&format!(", waits: {}", waiting.message));
    }
    text
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0 to 100 before the cut"
)]
fn percent(progress: &pb::Progress) -> u64 {
    progress.percent.clamp(0.0, 100.0) as u64
}
