//! A plot by hand: panels one below the other, both axes logarithmic, sizes 1, 10 and 100 times to the right, growth
//! upwards. Each line is named at its end, so that no legend has to be matched by colour.

use std::fmt::Write as _;

/// One line.
pub struct Line {
    /// What it is.
    pub name: String,
    /// From where to where it goes, with its unit.
    pub note: String,
    /// Its values at 1×, 10×, 100×, relative to the first.
    pub values: Vec<f64>,
}

/// One pair of axes.
pub struct Panel {
    /// What it shows.
    pub title: String,
    /// The axis upwards goes from 10 to the first of these to 10 to the second; further if a line does.
    pub powers: (i32, i32),
    /// Its lines.
    pub lines: Vec<Line>,
}

const WIDTH: f64 = 920.0;
/// From one panel to the next, and what of that the axes take.
const PANEL: f64 = 360.0;
const AXIS: f64 = 270.0;
const ABOVE: f64 = 40.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 500.0;
/// Where names begin, and how far apart they are at least.
const NAMES: f64 = 540.0;
const LINE: f64 = 30.0;

/// Colours that differ for everybody (Okabe and Ito), as dark as text needs.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#007a5a", "#b0417c", "#8a6d00", "#2b8cbe", "#444444"];

struct Axes {
    top: f64,
    low: i32,
    high: i32,
}

impl Axes {
    fn of(panel: &Panel, top: f64) -> Self {
        let (mut low, mut high) = panel.powers;
        for value in panel.lines.iter().flat_map(|line| &line.values) {
            while height(*value) < f64::from(low) {
                low -= 1;
            }
            while height(*value) > f64::from(high) {
                high += 1;
            }
        }
        Self { top, low, high }
    }

    fn up(&self, height: f64) -> f64 {
        let share = (height - f64::from(self.low)) / f64::from((self.high - self.low).max(1));
        self.bottom() - AXIS * share
    }

    fn bottom(&self) -> f64 {
        self.top + AXIS
    }
}

fn height(value: f64) -> f64 {
    value.clamp(1e-6, 1e6).log10()
}

fn across(step: usize) -> f64 {
    LEFT + (RIGHT - LEFT) * step as f64 / 2.0
}

/// The plot as a file.
pub fn svg(panels: &[Panel]) -> String {
    let whole = PANEL * panels.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {whole}\" width=\"{WIDTH}\" \
         height=\"{whole}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (n, panel) in panels.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}", drawn(panel, PANEL * n as f64 + ABOVE));
    }
    out.push_str("</svg>\n");
    out
}

fn drawn(panel: &Panel, top: f64) -> String {
    let axes = Axes::of(panel, top);
    let (bottom, middle) = (axes.bottom(), axes.top + AXIS / 2.0);
    let mut out = vec![format!(
        "<text x=\"{LEFT}\" y=\"{}\" font-size=\"14\" font-weight=\"bold\">{}</text>",
        top - 16.0,
        escaped(&panel.title)
    )];
    for power in axes.low..=axes.high {
        let y = axes.up(f64::from(power));
        let label = match power {
            0.. => format!("× {}", 10_u64.pow(power.unsigned_abs())),
            _ => format!("÷ {}", 10_u64.pow(power.unsigned_abs())),
        };
        let stroke = if power == 0 { "#888" } else { "#ddd" };
        out.push(format!("<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"{stroke}\"/>"));
        out.push(format!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 8.0,
            y + 4.0
        ));
        for small in (2..10).filter(|_| power < axes.high) {
            let y = axes.up(f64::from(power) + f64::from(small).log10());
            out.push(format!("<path d=\"M{LEFT} {y:.1}h4\" stroke=\"#bbb\"/>"));
        }
    }
    for (step, label) in ["1×", "10×", "100×"].iter().enumerate() {
        let x = across(step);
        out.push(format!("<path d=\"M{x} {top}V{bottom}\" stroke=\"#ddd\"/>"));
        out.push(format!("<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{label}</text>", bottom + 18.0));
    }
    out.push(format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">jobs and subscribers, relative to 1×</text>",
        f64::midpoint(LEFT, RIGHT),
        bottom + 36.0
    ));
    out.push(format!(
        "<text transform=\"translate(16 {middle:.1}) rotate(-90)\" text-anchor=\"middle\" fill=\"#555\">\
         figure, relative to 1×</text>"
    ));
    // In proportion to the size, as far as the axes go.
    let linear = f64::from(axes.high).min(2.0);
    let end = LEFT + (RIGHT - LEFT) * linear / 2.0;
    out.push(format!(
        "<path d=\"M{LEFT} {:.1}L{end:.1} {:.1}\" stroke=\"#999\" stroke-width=\"1.5\" stroke-dasharray=\"2 4\"/>",
        axes.up(0.0),
        axes.up(linear)
    ));
    let (x, y) = (LEFT + (end - LEFT) * 0.8, axes.up(linear * 0.8));
    out.push(format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#777\">linear</text>",
        x - 8.0,
        y
    ));
    let places = apart(
        &panel
            .lines
            .iter()
            .map(|line| axes.up(height(line.values.last().copied().unwrap_or(1.0))))
            .collect::<Vec<_>>(),
        top + 4.0,
        bottom,
    );
    for ((line, place), colour) in panel.lines.iter().zip(places).zip(COLOURS.iter().cycle()) {
        out.extend(one(line, &axes, place, colour));
    }
    out.join("\n")
}

fn one(line: &Line, axes: &Axes, place: f64, colour: &str) -> Vec<String> {
    let points: Vec<_> =
        line.values.iter().enumerate().map(|(step, v)| (across(step), axes.up(height(*v)))).collect();
    let path: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let mut out = vec![format!(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        path.join(" ")
    )];
    out.extend(
        points
            .iter()
            .map(|(x, y)| format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>")),
    );
    if let Some((x, y)) = points.last() {
        out.push(format!(
            "<path d=\"M{:.1} {y:.1}L{} {:.1}\" stroke=\"{colour}\" stroke-width=\"0.7\" fill=\"none\"/>",
            x + 4.0,
            NAMES - 6.0,
            place - 4.0
        ));
    }
    out.push(format!(
        "<text x=\"{NAMES}\" y=\"{place:.1}\" fill=\"{colour}\">{}</text>",
        escaped(&line.name)
    ));
    out.push(format!(
        "<text x=\"{NAMES}\" y=\"{:.1}\" font-size=\"11\" fill=\"#555\">{}</text>",
        place + 13.0,
        escaped(&line.note)
    ));
    out
}

/// Places near these, in their order, none nearer to another than a name is high, between `top` and `bottom`.
pub fn apart(wanted: &[f64], top: f64, bottom: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    let at = |n: &usize| wanted.get(*n).copied().unwrap_or_default();
    order.sort_by(|a, b| at(a).total_cmp(&at(b)));
    let mut places = vec![0.0; wanted.len()];
    let mut least = top;
    for n in &order {
        let place = at(n).max(least);
        least = place + LINE;
        if let Some(slot) = places.get_mut(*n) {
            *slot = place;
        }
    }
    // Those that were pushed below the panel push the others back up.
    let mut most = bottom;
    for n in order.iter().rev() {
        if let Some(slot) = places.get_mut(*n) {
            *slot = slot.min(most);
            most = *slot - LINE;
        }
    }
    places
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
