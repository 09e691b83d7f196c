//! A plot by hand: both axes logarithmic, sizes 1, 10 and 100 times to the right, growth upwards.

use std::fmt::Write as _;

/// One line.
pub struct Line {
    /// What it is.
    pub name: String,
    /// Its values at 1×, 10×, 100×, relative to the first.
    pub values: Vec<f64>,
    /// Drawn dashed: it is of the whole, and may grow with the size.
    pub dashed: bool,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 500.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 370.0;
/// The axis upwards goes from 0.01 to 1000.
const LOW: f64 = -2.0;
const HIGH: f64 = 3.0;

const COLOURS: [&str; 9] =
    ["#1b6ca8", "#c8553d", "#2e8b57", "#8e44ad", "#b8860b", "#16a2b8", "#d81b60", "#5d4037", "#607d8b"];

fn across(step: usize) -> f64 {
    LEFT + (RIGHT - LEFT) * step as f64 / 2.0
}

fn up(value: f64) -> f64 {
    let height = (value.max(1e-9).log10().clamp(LOW, HIGH) - LOW) / (HIGH - LOW);
    BOTTOM - (BOTTOM - TOP) * height
}

/// The plot as a file.
pub fn svg(lines: &[Line]) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut draw = |text: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{text}");
    };
    for power in -2..=3 {
        let (y, label) = (up(10_f64.powi(power)), 10_f64.powi(power));
        draw(format!("<path d=\"M{LEFT} {y}H{RIGHT}\" stroke=\"#ddd\"/>"));
        draw(format!("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>", LEFT - 8.0, y + 4.0));
    }
    for (step, label) in ["1×", "10×", "100×"].iter().enumerate() {
        let x = across(step);
        draw(format!("<path d=\"M{x} {TOP}V{BOTTOM}\" stroke=\"#ddd\"/>"));
        draw(format!("<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{label}</text>", BOTTOM + 18.0));
    }
    draw(format!(
        "<path d=\"M{} {}L{} {}\" stroke=\"#999\" stroke-dasharray=\"2 4\"/>",
        across(0),
        up(1.0),
        across(2),
        up(100.0)
    ));
    draw(format!(
        "<text x=\"{}\" y=\"{}\" fill=\"#777\" text-anchor=\"end\">linear</text>",
        across(2) - 6.0,
        up(100.0) - 6.0
    ));
    let title = "growth relative to 1×; dashed: of the whole, solid: of one job, subscriber or call";
    draw(format!("<text x=\"{LEFT}\" y=\"18\">{title}</text>"));
    for (n, (line, colour)) in lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let points: Vec<_> = line
            .values
            .iter()
            .enumerate()
            .map(|(step, value)| format!("{:.1},{:.1}", across(step), up(*value)))
            .collect();
        let dash = if line.dashed { " stroke-dasharray=\"7 4\"" } else { "" };
        let stroke = format!("stroke=\"{colour}\" stroke-width=\"2\"{dash}");
        draw(format!("<polyline points=\"{}\" fill=\"none\" {stroke}/>", points.join(" ")));
        let y = TOP + 14.0 + 22.0 * n as f64;
        draw(format!("<path d=\"M{} {}H{}\" {stroke}/>", RIGHT + 24.0, y - 4.0, RIGHT + 54.0));
        draw(format!("<text x=\"{}\" y=\"{y}\">{}</text>", RIGHT + 62.0, line.name));
    }
    out.push_str("</svg>\n");
    out
}
