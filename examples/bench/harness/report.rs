//! The report: a table for people, JSON for programs, Markdown for the documentation.

use std::fmt;

use serde::Serialize;

use super::row::Row;

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The machine.
    pub machine: String,
    /// How long the run took, in seconds.
    pub seconds: f64,
    /// The rows, in order.
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether every goal is met.
    pub fn met(&self) -> bool {
        self.rows.iter().all(|row| row.met)
    }

    /// The report for programs.
    pub fn json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The table as Markdown, with what was measured beside it below.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "On {}; the run took {:.0} s.\n\n| what | measured | yardstick | ratio | goal | met |\n\
             |---|---|---|---|---|---|\n",
            self.machine, self.seconds
        );
        for row in &self.rows {
            text.push_str(&format!(
                "| {} | {} | {}: {} | {} | {} | {} |\n",
                row.what,
                row.measured.text(),
                row.yardstick.of,
                row.yardstick.text(),
                row.ratio_text(),
                row.goal.text(),
                if row.met { "yes" } else { "**no**" },
            ));
        }
        text.push_str("\nBeside them:\n\n");
        for row in self.rows.iter().filter(|row| !row.beside.is_empty()) {
            let figures: Vec<_> =
                row.beside.iter().map(|figure| format!("{} {}", figure.of, figure.text())).collect();
            text.push_str(&format!("- {}: {}\n", row.what, figures.join("; ")));
        }
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["what", "measured", "yardstick", "ratio", "goal", "met"].map(str::to_owned);
        let lines: Vec<[String; 6]> = std::iter::once(head)
            .chain(self.rows.iter().map(|row| {
                [
                    row.what.clone(),
                    row.measured.text(),
                    format!("{}: {}", row.yardstick.of, row.yardstick.text()),
                    row.ratio_text(),
                    row.goal.text(),
                    if row.met { "yes" } else { "NO" }.to_owned(),
                ]
            }))
            .collect();
        let mut widths = [0; 6];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for line in &lines {
            for (cell, width) in line.iter().zip(widths) {
                write!(f, "{cell:width$}  ")?;
            }
            writeln!(f)?;
        }
        for row in &self.rows {
            for figure in &row.beside {
                writeln!(f, "  {}: {} {}", row.what, figure.of, figure.text())?;
            }
        }
        Ok(())
    }
}

/// The machine and how busy it is just now, in a few words.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let model = field(&read("/proc/cpuinfo"), "model name");
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("?");
    format!("{cores} processors ({model}), Linux {}, load {load} when it began", kernel.trim())
}
