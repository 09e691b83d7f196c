//! Every row is measured once, and what the report says can be read.

use std::path::Path;

use clap::Parser as _;

use crate::harness::Bench;
use crate::harness::docs;
use crate::harness::growth::{Growth, exponent, word};
use crate::harness::home::Home;
use crate::harness::options::Options;
use crate::harness::plot::{self, Line, Panel};
use crate::harness::report::Report;
use crate::harness::row::{Figure, Goal, Row, median, number, percentile};
use crate::harness::rows::Subject;

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

/// Measures one subject, whose rows must be these.
async fn measured(subject: Subject, keys: &[&str]) {
    let sizes = "bench --subscribers 20 --per-connection 10 --burst 3 --deliveries 60 --unread 20 --jobs 300 --stored 30 --polled 8 --poll-ms 300 \
                 --callers 4 --rounds 1 --round-ms 50 --without-etcd";
    let Cli { mut options } = Cli::parse_from(sizes.split_whitespace());
    options.only = vec![subject];
    let program = Path::new(env!("CARGO_BIN_EXE_drydock")).to_owned();
    let home = Home { program, yardstick: None, under: Vec::new() };
    let mut told = 0;
    let report = Bench { options, home }.run(|_| told += 1).await.unwrap();
    let found: Vec<_> = report.rows.iter().map(|row| row.key).collect();
    assert_eq!(found, keys);
    assert_eq!(told, keys.len());
    for row in &report.rows {
        assert!(row.ratio.is_finite() && row.ratio >= 0.0, "{row:?}");
        assert!(row.yardstick.value > 0.0, "{row:?}");
        assert!(row.beside.iter().all(|figure| figure.value.is_finite()), "{row:?}");
    }
    let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert_eq!(json["rows"][0]["key"], keys[0]);
    assert!(report.to_string().contains(&report.rows[0].what));
}

#[tokio::test(flavor = "multi_thread")]
async fn fan_out() {
    measured(Subject::FanOut, &["fan_out", "subscriber"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unread() {
    measured(Subject::Unread, &["unread", "unread_memory"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn get_job() {
    measured(Subject::GetJob, &["get_job"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn durable() {
    measured(Subject::Durable, &["durable"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delay() {
    measured(Subject::Delay, &["delay"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polls() {
    measured(Subject::Polls, &["polls"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restart() {
    measured(Subject::Restart, &["restart", "live_job"]).await;
}

fn row(ratio: f64, goal: Goal) -> Row {
    let (measured, yardstick) = (Figure::new("it", ratio * 2.0, "s"), Figure::new("that", 2.0, "s"));
    Row::new("row", "a row", measured, yardstick, goal)
}

#[test]
fn a_missed_goal_is_said() {
    let rows = vec![row(0.81, Goal::AtLeast(0.8)), row(3.5, Goal::AtMost(3.0))];
    let report = Report { machine: "a machine".to_owned(), seconds: 1.0, rows };
    let lines: Vec<_> = report.rows.iter().map(|row| row.met).collect();
    assert_eq!(lines, [true, false]);
    assert!(!report.met());
    assert!(report.markdown().contains("| a row | 7.00 s | that: 2.00 s | 3.50 | ≤ 3 | **no** |"));
}

#[test]
fn a_plot_names_every_line_and_no_name_covers_another() {
    let line = |name: &str, values: &[f64]| Line {
        name: name.to_owned(),
        note: "1 → 2 s".to_owned(),
        values: values.to_vec(),
    };
    let lines = vec![line("flat & calm", &[1.0, 1.0, 1.0]), line("linear", &[1.0, 10.0, 100.0])];
    let text = plot::svg(&[Panel { title: "growth".to_owned(), powers: (-1, 2), lines }]);
    assert_eq!(text.matches("<polyline").count(), 2);
    assert!(text.contains(">flat &amp; calm</text>") && text.trim_end().ends_with("</svg>"));

    let places = plot::apart(&[90.0, 91.0, 92.0, 10.0], 0.0, 100.0);
    assert_eq!(places, [40.0, 70.0, 100.0, 10.0]);
}

#[test]
fn growth_says_by_itself_what_is_worse_than_it_may_be() {
    assert!((exponent(&[2.0, 20.0, 200.0]) - 1.0).abs() < 1e-9);
    assert!((exponent(&[5.0, 5.0, 5.0])).abs() < 1e-9);
    let words = [-0.5, 0.1, 0.5, 1.0, 1.5].map(word);
    assert_eq!(words, ["falling", "flat", "less than linear", "linear", "**worse than linear**"]);

    let mut growth = Growth::default();
    for seconds in [0.01, 0.1, 4.0] {
        let row = Row::new(
            "restart",
            "a restart",
            Figure::new("restart", seconds, "s"),
            Figure::new("reading", 1.0, "s"),
            Goal::AtMost(3.0),
        );
        growth.take(&row, 1.0, 1.0);
    }
    let table = growth.markdown();
    let line =
        "| a restart, time | 0.0100 s | 0.100 s | 4.00 s | 1.30, 1.60 | **worse than linear** | **no** |";
    assert!(table.contains(line), "{table}");
    assert!(growth.plot().contains("0.0100 → 4.00 s"));
}

#[test]
fn numbers_are_short() {
    let texts = [0.0, 0.01234, 0.5, 1.234, 12.34, 123.4, 1_234.0, -1_234_567.0].map(number);
    assert_eq!(texts, ["0", "0.0123", "0.500", "1.23", "12.3", "123", "1,234", "-1,234,567"]);
    let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
    assert_eq!(
        [percentile(&hundred, 99), percentile(&[2.0, 1.0], 50), percentile(&[], 99)],
        [99.0, 1.0, 0.0]
    );
    assert_eq!([median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0]), median(&[])], [2.0, 2.5, 0.0]);
}

#[test]
fn a_block_of_the_documentation_is_replaced() {
    let text = "a\n<!-- bench:table -->\nold\n<!-- /bench:table -->\nb\n";
    let new = docs::with_block(text, "table", "new\n").unwrap();
    assert_eq!(new, "a\n<!-- bench:table -->\n\nnew\n\n<!-- /bench:table -->\nb\n");
    assert!(docs::with_block(text, "other", "new").is_err());
}
