//! One row of the table: what was measured, its yardstick in the same run, and whether the goal is met.

use serde::Serialize;

/// A measured number and its unit.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What it is of, in a few words.
    pub of: String,
    /// The number.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
}

impl Figure {
    /// A figure.
    pub fn new(of: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { of: of.into(), value, unit }
    }

    /// Number and unit.
    pub fn text(&self) -> String {
        let number = number(self.value);
        if self.unit.is_empty() { number } else { format!("{number} {}", self.unit) }
    }
}

/// A number with three digits that count; whole ones in groups of three.
pub fn number(value: f64) -> String {
    let places = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        v if v >= 0.1 => 3,
        _ => 4,
    };
    let plain = format!("{value:.places$}");
    let (whole, rest) = plain.split_once('.').map_or((plain.as_str(), None), |(w, r)| (w, Some(r)));
    let mut grouped = String::new();
    for (n, digit) in whole.chars().enumerate() {
        if n > 0 && digit != '-' && (whole.len() - n).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    rest.map_or(grouped.clone(), |rest| format!("{grouped}.{rest}"))
}

/// What must hold of the ratio.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Measured ÷ yardstick is at least this.
    AtLeast(f64),
    /// Measured ÷ yardstick is at most this.
    AtMost(f64),
}

impl Goal {
    /// Whether a ratio meets it.
    pub fn met(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(least) => ratio >= least,
            Self::AtMost(most) => ratio <= most,
        }
    }

    /// As people write it.
    pub fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!("≥ {least}"),
            Self::AtMost(most) => format!("≤ {most}"),
        }
    }
}

/// One row.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name for `--only` and in JSON.
    pub key: &'static str,
    /// What is measured.
    pub what: String,
    /// The gateway's figure.
    pub measured: Figure,
    /// What it is compared with.
    pub yardstick: Figure,
    /// Measured ÷ yardstick: the median over the rounds, where there are several.
    pub ratio: f64,
    /// The least and the greatest ratio of a round, where there are several.
    pub spread: Option<(f64, f64)>,
    /// The goal.
    pub goal: Goal,
    /// Whether it is met.
    pub met: bool,
    /// Further figures of the same run.
    pub beside: Vec<Figure>,
}

impl Row {
    /// A row whose ratio is that of its two figures.
    pub fn new(
        key: &'static str,
        what: impl Into<String>,
        measured: Figure,
        yardstick: Figure,
        goal: Goal,
    ) -> Self {
        let ratio = measured.value / yardstick.value;
        Self {
            key,
            what: what.into(),
            met: goal.met(ratio),
            measured,
            yardstick,
            ratio,
            spread: None,
            goal,
            beside: Vec::new(),
        }
    }

    /// The row in one line.
    pub fn text(&self) -> String {
        format!(
            "{}: {}, {} times {} ({}); goal {}: {}",
            self.what,
            self.measured.text(),
            self.ratio_text(),
            self.yardstick.of,
            self.yardstick.text(),
            self.goal.text(),
            if self.met { "met" } else { "NOT met" }
        )
    }

    /// The same row with the ratios of its rounds, of which the middle counts.
    pub fn with_ratios(self, ratios: &[f64]) -> Self {
        let ratio = median(ratios);
        let least = ratios.iter().copied().reduce(f64::min);
        let spread = least.zip(ratios.iter().copied().reduce(f64::max)).filter(|_| ratios.len() > 1);
        Self { ratio, spread, met: self.goal.met(ratio), ..self }
    }

    /// The ratio and, in parentheses, its spread over the rounds.
    pub fn ratio_text(&self) -> String {
        let ratio = number(self.ratio);
        match self.spread {
            Some((least, greatest)) => format!("{ratio} ({}–{})", number(least), number(greatest)),
            None => ratio,
        }
    }

    /// The same row with further figures.
    pub fn beside(self, beside: Vec<Figure>) -> Self {
        Self { beside, ..self }
    }
}

/// The one of some numbers that so many percent of them do not exceed; 0 of none.
pub fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() * percent).div_ceil(100);
    sorted.get(place.saturating_sub(1)).copied().unwrap_or_default()
}

/// The middle of some numbers; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle.wrapping_sub(1)), sorted.get(middle)) {
        (Some(low), Some(high)) if sorted.len().is_multiple_of(2) => f64::midpoint(*low, *high),
        (_, Some(middle)) => *middle,
        (_, None) => 0.0,
    }
}
