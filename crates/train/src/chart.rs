//! Charts as SVG, written by hand: lines, bars with whiskers, histograms, a reliability diagram.
//!
//! In: figures of an evaluation. Out: `<svg>` elements without scripts and without anything from outside. Colours are custom
//! properties of the page (`--d0` to `--d4` for detectors, `--benign`, `--hostile`), so that light and dark differ in the
//! page alone. Each chart has a title and a description for those who do not see it; lines differ in dashes as well as in
//! colour.

use std::fmt::Write;

use crate::evaluation::{Figure, Histogram};
use crate::metrics::{CurvePoint, ReliabilityBin};
use crate::number_text::count;

/// A line of a chart: its name, its points within 0..=1 both ways.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Recall against false alarms; the horizontal axis is logarithmic, from 1e-5 to 1.
pub(crate) fn roc(title: &str, curves: &[(String, &[CurvePoint])]) -> String {
    let position = |rate: f64| (rate.max(LEAST_RATE).log10() / -LEAST_RATE.log10() + 1.0).clamp(0.0, 1.0);
    let series: Vec<Series> = curves
        .iter()
        .map(|(name, curve)| {
            // Thresholds fall along the curve, so it is walked in steps: recall is kept until the next false alarm.
            let mut points: Vec<(f64, f64)> = Vec::with_capacity(2 * curve.len());
            for point in *curve {
                let x = position(point.false_alarm_rate);
                if let Some((_, before)) = points.last().copied() {
                    points.push((x, before));
                }
                points.push((x, point.recall));
            }
            Series { name: name.clone(), points }
        })
        .collect();
    let ticks = ["1e-5", "1e-4", "1e-3", "1e-2", "0.1", "1"];
    let x_ticks: Vec<(f64, String)> =
        ticks.iter().enumerate().map(|(at, text)| (at as f64 / 5.0, (*text).to_owned())).collect();
    lines(title, "share of benign flows called hostile", "recall", &x_ticks, &series)
}

/// Precision against recall.
pub(crate) fn precision_recall(title: &str, curves: &[(String, &[CurvePoint])]) -> String {
    let series: Vec<Series> = curves
        .iter()
        .map(|(name, curve)| Series {
            name: name.clone(),
            // Before anything is called hostile there is no precision.
            points: curve.iter().skip(1).map(|point| (point.recall, point.precision)).collect(),
        })
        .collect();
    lines(title, "recall", "precision", &fifths(), &series)
}

fn fifths() -> Vec<(f64, String)> {
    (0..=5).map(|at| (f64::from(at) / 5.0, format!("{:.1}", f64::from(at) / 5.0))).collect()
}

fn lines(title: &str, x_name: &str, y_name: &str, x_ticks: &[(f64, String)], series: &[Series]) -> String {
    let names: Vec<&str> = series.iter().map(|line| line.name.as_str()).collect();
    let mut svg = Svg::open(title, &format!("{y_name} against {x_name} of {}", names.join(", ")), HEIGHT);
    svg.axes(x_name, y_name, x_ticks, &fifths());
    for (at, line) in series.iter().enumerate() {
        let mut path = String::new();
        for (number, (x, y)) in line.points.iter().enumerate() {
            let command = if number == 0 { 'M' } else { 'L' };
            push(&mut path, format_args!("{command}{:.1} {:.1}", svg.x(*x), svg.y(*y)));
        }
        svg.add(format_args!(
            "<path class=\"line d{}\" d=\"{path}\"><title>{}</title></path>",
            at % DETECTOR_COLOURS,
            escape(&line.name)
        ));
    }
    svg.close()
}

/// Bars from 0 to 1 with whiskers, in groups: one group a line, one bar a detector.
pub(crate) fn bars(
    title: &str,
    x_name: &str,
    detectors: &[String],
    groups: &[(String, Vec<Figure>)],
) -> String {
    let (bar, gap) = (9.0, 10.0);
    let group = bar * detectors.len() as f64 + gap;
    let height = TOP + group * groups.len() as f64 + BOTTOM;
    let mut svg = Svg::open(title, &format!("{x_name} of {}, by line", detectors.join(", ")), height);
    svg.left = 104.0;
    for (x, text) in fifths() {
        let at = svg.x(x);
        svg.add(format_args!(
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>",
            height - BOTTOM
        ));
        svg.text(at, height - BOTTOM + 16.0, "middle", &text);
    }
    svg.text(svg.x(0.5), height - 6.0, "middle", x_name);
    for (number, (name, figures)) in groups.iter().enumerate() {
        let top = TOP + gap / 2.0 + group * number as f64;
        svg.text(svg.left - 6.0, top + (group - gap) / 2.0 + 4.0, "end", name);
        for (at, figure) in figures.iter().enumerate() {
            let Some(value) = figure.value else { continue };
            let y = top + bar * at as f64;
            let whisker = figure.interval.map_or_else(String::new, |interval| {
                let (low, high, middle) = (svg.x(interval.low), svg.x(interval.high), y + bar / 2.0 - 0.5);
                format!("<path class=\"whisker\" d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} {:.1}v4M{high:.1} {:.1}v4\"/>", middle - 2.0, middle - 2.0)
            });
            let interval = figure.interval.map_or_else(String::new, |interval| {
                format!(", 95 % within {:.3} to {:.3}", interval.low, interval.high)
            });
            svg.add(format_args!(
                "<g><title>{}, {}: {value:.3}{interval}</title><rect class=\"bar d{}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>{whisker}</g>",
                escape(name),
                escape(&detectors[at]),
                at % DETECTOR_COLOURS,
                svg.x(0.0),
                // A bar of nothing is still seen.
                (svg.x(value) - svg.x(0.0)).max(1.0),
                bar - 1.0
            ));
        }
    }
    svg.close()
}

/// Scores of benign and of hostile flows, each kind as shares of its own on a logarithmic axis, with thresholds.
pub(crate) fn histogram(title: &str, scores: &Histogram, thresholds: &[(&str, f32)]) -> String {
    let mut svg = Svg::open(
        title,
        "shares of benign and of hostile flows by score, on a logarithmic axis, with the model's points",
        HEIGHT,
    );
    let (low, high) = (f64::from(scores.low), f64::from(scores.high));
    let position = |score: f64| ((score - low) / (high - low)).clamp(0.0, 1.0);
    let step = nice_step((high - low) / 6.0);
    let x_ticks: Vec<(f64, String)> = (0..20)
        .map(|at| ((low / step).ceil() + f64::from(at)) * step)
        .take_while(|score| *score <= high)
        .map(|score| (position(score), format!("{score:.*}", if step < 1.0 { 1 } else { 0 })))
        .collect();
    let y_ticks: Vec<(f64, String)> = ["1e-5", "1e-4", "1e-3", "1e-2", "0.1", "1"]
        .iter()
        .enumerate()
        .map(|(at, text)| (at as f64 / 5.0, (*text).to_owned()))
        .collect();
    svg.axes("score (log-odds of being hostile)", "share of its kind", &x_ticks, &y_ticks);
    for (class, bins) in [("benign", &scores.benign), ("hostile", &scores.hostile)] {
        let all: u64 = bins.iter().sum();
        if all == 0 {
            continue;
        }
        let mut path = format!("M{:.1} {:.1}", svg.x(0.0), svg.y(0.0));
        for (at, flows) in bins.iter().enumerate() {
            let share = *flows as f64 / all as f64;
            let y = if *flows == 0 { 0.0 } else { (share.log10() / 5.0 + 1.0).clamp(0.01, 1.0) };
            let edge = (at + 1) as f64 / bins.len() as f64;
            push(&mut path, format_args!("V{:.1}H{:.1}", svg.y(y), svg.x(edge)));
        }
        push(&mut path, format_args!("V{:.1}Z", svg.y(0.0)));
        svg.add(format_args!(
            "<path class=\"area {class}\" d=\"{path}\"><title>{class}, {} flows</title></path>",
            count(all)
        ));
    }
    for (at, (name, score)) in thresholds.iter().enumerate() {
        let x = svg.x(position(f64::from(*score)));
        let y = TOP + 12.0 + 14.0 * at as f64;
        svg.add(format_args!(
            "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>",
            svg.y(0.0)
        ));
        let (anchor, x) = if x > WIDTH / 2.0 { ("end", x - 4.0) } else { ("start", x + 4.0) };
        svg.text(x, y, anchor, name);
    }
    svg.close()
}

/// What came true against the probability that was given.
pub(crate) fn reliability(title: &str, bins: &[ReliabilityBin]) -> String {
    let mut svg = Svg::open(
        title,
        "share of flows that are hostile against their probability of being so; on the diagonal probabilities are right",
        HEIGHT,
    );
    svg.axes("probability of being hostile", "share that is", &fifths(), &fifths());
    svg.add(format_args!(
        "<line class=\"mark\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
        svg.x(0.0),
        svg.y(0.0),
        svg.x(1.0),
        svg.y(1.0)
    ));
    let all: u64 = bins.iter().map(|bin| bin.flows).sum();
    let filled: Vec<&ReliabilityBin> = bins.iter().filter(|bin| bin.flows > 0).collect();
    let mut path = String::new();
    for (at, bin) in filled.iter().enumerate() {
        let command = if at == 0 { 'M' } else { 'L' };
        push(&mut path, format_args!("{command}{:.1} {:.1}", svg.x(bin.probability), svg.y(bin.hostile)));
    }
    svg.add(format_args!("<path class=\"line d0\" d=\"{path}\"/>"));
    for bin in filled {
        // Area as the logarithm of the share: most flows are in the first bin.
        let radius = (7.0 + (bin.flows as f64 / all as f64).log10() * 1.2).max(2.0);
        svg.add(format_args!(
            "<circle class=\"dot d0\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\"><title>probability {:.3}: {:.3} of {} flows are hostile</title></circle>",
            svg.x(bin.probability),
            svg.y(bin.hostile),
            bin.probability,
            bin.hostile,
            count(bin.flows)
        ));
    }
    svg.close()
}

/// Text that may stand within an element or an attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Other control characters have no place in a document.
            other if other.is_control() && other != '\n' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Detectors told apart by colour and dashes; more would begin anew.
pub(crate) const DETECTOR_COLOURS: usize = 5;

/// 1, 2 or 5 times a power of ten, at least `wanted`.
fn nice_step(wanted: f64) -> f64 {
    let power = 10f64.powf(wanted.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= wanted)
        .unwrap_or(10.0 * power)
}

/// A drawing being made: a plot area with room for the names of axes.
struct Svg {
    out: String,
    left: f64,
    height: f64,
}

impl Svg {
    fn open(title: &str, description: &str, height: f64) -> Self {
        let out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\"><title>{}</title><desc>{}</desc>\n",
            escape(title),
            escape(description)
        );
        Self { out, left: 52.0, height }
    }

    fn x(&self, share: f64) -> f64 {
        self.left + share * (WIDTH - self.left - RIGHT)
    }

    fn y(&self, share: f64) -> f64 {
        self.height - BOTTOM - share * (self.height - BOTTOM - TOP)
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        push(&mut self.out, element);
        self.out.push('\n');
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escape(text)
        ));
    }

    fn axes(&mut self, x_name: &str, y_name: &str, x_ticks: &[(f64, String)], y_ticks: &[(f64, String)]) {
        let (left, right, top, bottom) = (self.x(0.0), self.x(1.0), self.y(1.0), self.y(0.0));
        for (share, text) in x_ticks {
            let x = self.x(*share);
            self.add(format_args!(
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>"
            ));
            self.text(x, bottom + 18.0, "middle", text);
        }
        for (share, text) in y_ticks {
            let y = self.y(*share);
            self.add(format_args!(
                "<line class=\"grid\" x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
            ));
            self.text(left - 6.0, y + 4.0, "end", text);
        }
        self.text(f64::midpoint(left, right), self.height - 6.0, "middle", x_name);
        let middle = f64::midpoint(top, bottom);
        self.add(format_args!(
            "<text x=\"12\" y=\"{middle:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 12 {middle:.1})\">{}</text>",
            escape(y_name)
        ));
    }

    fn close(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }
}

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 320.0;
const TOP: f64 = 10.0;
const RIGHT: f64 = 14.0;
const BOTTOM: f64 = 44.0;
const LEAST_RATE: f64 = 1e-5;

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes all text");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Ranked;

    #[test]
    fn names_cannot_break_out() {
        assert_eq!(escape("<b a='1'>&\"\u{7}"), "&lt;b a=&#39;1&#39;&gt;&amp;&quot;\u{fffd}");
        let svg = bars(
            "</title><script>",
            "recall",
            &["<x>".to_owned()],
            &[("&".to_owned(), vec![Figure::default()])],
        );
        assert!(!svg.contains("<script>") && !svg.contains("<x>") && svg.contains("&amp;"), "{svg}");
    }

    #[test]
    fn curves_stay_within_the_plot() {
        let scores: Vec<f32> = (0..500u16).map(|at| f32::from(at % 83)).collect();
        let group: Vec<u16> = (0..500).map(|at| u16::from(at % 7 == 0)).collect();
        let curve = Ranked::new(&scores).curve(&group, None);
        for svg in [
            roc("ROC", &[("trees".to_owned(), &curve)]),
            precision_recall("PR", &[("trees".to_owned(), &curve)]),
        ] {
            let path = svg.split("class=\"line d0\" d=\"").nth(1).unwrap().split('"').next().unwrap();
            let points = path.split(['M', 'L']).filter(|point| !point.is_empty());
            for point in points {
                let (x, y) = point.split_once(' ').unwrap();
                let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
                assert!(
                    (51.9..=WIDTH - RIGHT + 0.1).contains(&x)
                        && (TOP - 0.1..=HEIGHT - BOTTOM + 0.1).contains(&y)
                );
            }
        }
    }

    #[test]
    fn steps_are_nice() {
        for (wanted, step) in [(0.9, 1.0), (1.1, 2.0), (3.0, 5.0), (7.0, 10.0), (0.02, 0.02)] {
            assert!((nice_step(wanted) - step).abs() < 1e-12, "{wanted}");
        }
    }
}
