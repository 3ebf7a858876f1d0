//! An evaluation as plain text, for a terminal.
//!
//! In: [`Evaluation`]. Out: tables of at most some 110 columns, detectors side by side; a figure of the first detector comes
//! with its interval.

use std::fmt::Write;

use crate::evaluation::{Evaluation, Figure, Line};
use crate::metrics::FALSE_ALARM_RATES;
use crate::number_text::{count, digits, one_in, percent, share, span};

/// Renders the whole evaluation.
#[must_use]
pub fn render(evaluation: &Evaluation) -> String {
    let mut out = String::new();
    about(evaluation, &mut out);
    overall(evaluation, &mut out);
    points(evaluation, &mut out);
    let at = READ_AT;
    let rate = one_in(FALSE_ALARM_RATES[at]);
    let title = format!("Recall where {rate} benign flows is called hostile");
    lines(
        evaluation,
        &format!("{title}, by class"),
        &evaluation.by_class,
        |figures| figures.recall[at],
        &mut out,
    );
    lines(
        evaluation,
        "Area under the ROC curve, by class",
        &evaluation.by_class,
        |figures| figures.auc,
        &mut out,
    );
    sources(evaluation, &mut out);
    lines(
        evaluation,
        &format!("{title}, by behaviour"),
        &evaluation.by_behaviour,
        |figures| figures.recall[at],
        &mut out,
    );
    benign(evaluation, &mut out);
    episodes(evaluation, &mut out);
    incidents(evaluation, &mut out);
    trials(evaluation, &mut out);
    out
}

/// Which of the false-alarm rates tables by class and behaviour show: one in a thousand.
pub(crate) const READ_AT: usize = 1;

/// Benign behaviours shown.
const BENIGN_SHOWN: usize = 12;

fn about(evaluation: &Evaluation, out: &mut String) {
    for (key, value) in &evaluation.about {
        push(out, format_args!("{key}: {value}\n"));
    }
    let extent = evaluation.extent;
    push(
        out,
        format_args!(
            "{} flows, {} of them benign; {} networks, {} runs, {} hours\n",
            count(evaluation.flows),
            count(evaluation.benign),
            extent.sources,
            extent.runs,
            digits(extent.hours, 3)
        ),
    );
    for warning in &evaluation.warnings {
        push(out, format_args!("warning: {warning}\n"));
    }
}

fn overall(evaluation: &Evaluation, out: &mut String) {
    let mut table = TextTable::new(
        "Hostile against benign, all flows",
        [
            "detector",
            "AUC",
            "avg prec",
            "recall 1e-2",
            "1e-3",
            "1e-4",
            "class AUC",
            "class 1e-3",
            "behav 1e-3",
            "macro-F1",
            "calib err",
        ],
    );
    for (name, overall) in evaluation.detectors.iter().zip(&evaluation.overall) {
        let figures = &overall.figures;
        let [hundredth, thousandth, ten_thousandth] = figures.recall.map(|figure| share(figure.value));
        table.row([
            name.clone(),
            share(figures.auc.value),
            share(figures.average_precision.value),
            hundredth,
            thousandth,
            ten_thousandth,
            share(overall.mean_class_auc),
            share(overall.mean_class_recall[READ_AT]),
            share(overall.mean_behaviour_recall[READ_AT]),
            format!("{:.3}", overall.by_likeliest.macro_f1),
            format!("{:.3}", overall.calibration_error),
        ]);
    }
    table.render(out);
    push(
        out,
        format_args!(
            "class, behav: means over hostile classes, over hostile behaviours. macro-F1: the likeliest class is the answer.\n"
        ),
    );
}

fn points(evaluation: &Evaluation, out: &mut String) {
    let mut table = TextTable::new(
        "The detectors' own points, chosen on other flows",
        ["detector", "point", "false alarms", "a day", "recall", "precision", "macro-F1"],
    );
    for (name, overall) in evaluation.detectors.iter().zip(&evaluation.overall) {
        for point in &overall.by_point {
            table.row([
                name.clone(),
                point.point.to_owned(),
                percent(point.false_alarm_rate),
                digits(point.false_alarms_per_day, 3),
                format!("{:.3}", point.called.hostile_recall),
                format!("{:.3}", point.called.hostile_precision),
                format!("{:.3}", point.called.macro_f1),
            ]);
        }
    }
    table.render(out);
}

fn lines(
    evaluation: &Evaluation,
    title: &str,
    lines: &[Line],
    of: impl Fn(&crate::evaluation::Figures) -> Figure,
    out: &mut String,
) {
    let mut heads = vec!["", "flows", "groups"];
    heads.extend(evaluation.detectors.iter().map(String::as_str));
    heads.insert(4.min(heads.len()), "95 %");
    let mut table = TextTable::new(title, heads);
    for line in lines {
        let mut cells = vec![line.name.clone(), count(line.flows), line.groups.to_string()];
        for (at, figures) in line.figures.iter().enumerate() {
            let figure = of(figures);
            cells.push(share(figure.value));
            if at == 0 {
                cells.push(interval(figure));
            }
        }
        table.row(cells);
    }
    table.render(out);
}

fn interval(figure: Figure) -> String {
    figure.interval.map_or_else(String::new, |interval| format!("{:.2}-{:.2}", interval.low, interval.high))
}

fn sources(evaluation: &Evaluation, out: &mut String) {
    let mut heads = vec!["", "benign", "hostile", "hours"];
    heads.extend(evaluation.detectors.iter().map(String::as_str));
    let mut table = TextTable::new("Area under the ROC curve, by network with flows of both kinds", heads);
    for source in evaluation.by_source.iter().filter(|source| source.benign > 0 && source.hostile > 0) {
        let mut cells =
            vec![source.name.clone(), count(source.benign), count(source.hostile), digits(source.hours, 2)];
        cells.extend(source.figures.iter().map(|figures| share(figures.auc.value)));
        table.row(cells);
    }
    table.render(out);

    let with_points = evaluation.by_source.iter().flat_map(|source| source.points.first()).flatten().count();
    let Some(first) = evaluation.detectors.first().filter(|_| with_points > 0) else { return };
    let mut table = TextTable::new(
        &format!("{first} at its own points, by network"),
        ["", "benign flows", "per s", "investigate", "recall", "detect", "recall", "false alarms a day"],
    );
    for source in &evaluation.by_source {
        let Some([investigate, detect, ..]) = source.points.first().map(Vec::as_slice) else { continue };
        table.row([
            source.name.clone(),
            count(source.benign),
            digits(source.benign_flows_per_s, 2),
            percent(investigate.false_alarm_rate),
            share(investigate.recall),
            percent(detect.false_alarm_rate),
            share(detect.recall),
            digits(detect.false_alarms_per_day, 3),
        ]);
    }
    table.render(out);
}

fn benign(evaluation: &Evaluation, out: &mut String) {
    let mut heads = vec!["", "flows"];
    heads.extend(evaluation.detectors.iter().map(String::as_str));
    let title = format!(
        "Benign behaviours behind the false alarms ({} benign flows; flows called hostile)",
        one_in(FALSE_ALARM_RATES[READ_AT])
    );
    let mut table = TextTable::new(&title, heads);
    let loud = evaluation
        .benign_behaviours
        .iter()
        .filter(|line| line.false_alarms.iter().any(|alarms| alarms[READ_AT] > 0));
    for line in loud.take(BENIGN_SHOWN) {
        let mut cells = vec![line.name.clone(), count(line.flows)];
        cells.extend(line.false_alarms.iter().map(|alarms| count(alarms[READ_AT])));
        table.row(cells);
    }
    table.render(out);
}

fn episodes(evaluation: &Evaluation, out: &mut String) {
    let mut table = TextTable::new(
        "Attacks as episodes: noticed when a flow reaches \"detect\" and has ended; times of those of 20 and more flows",
        [
            "detector",
            "episodes",
            "noticed",
            "of 20+ flows",
            "noticed",
            "half within",
            "9 of 10",
            "flows before",
        ],
    );
    for (name, figures) in evaluation.detectors.iter().zip(&evaluation.episodes) {
        let (all, large) = (&figures.all, &figures.large);
        if all.episodes == 0 {
            continue;
        }
        table.row([
            name.clone(),
            all.episodes.to_string(),
            all.noticed.to_string(),
            large.episodes.to_string(),
            large.noticed.to_string(),
            span(large.median_s),
            span(large.ninth_decile_s),
            large.median_flows_before.map_or_else(String::new, |flows| digits(flows, 2)),
        ]);
    }
    table.render(out);
}

fn incidents(evaluation: &Evaluation, out: &mut String) {
    let Some(incidents) = &evaluation.incidents else { return };
    let mut table = TextTable::new(
        "Incidents: attacks of 20 and more flows that raise an alert",
        ["", "episodes", "alerted", "named right", "within (median)"],
    );
    for line in &incidents.large {
        table.row([
            line.class.clone(),
            line.episodes.to_string(),
            line.alerted.to_string(),
            line.named.to_string(),
            span(line.median_s),
        ]);
    }
    table.render(out);
    if let Some(small) = incidents.small.first() {
        push(out, format_args!("smaller attacks: {} of {} raise an alert\n", small.alerted, small.episodes));
    }
    push(
        out,
        format_args!(
            "alerts: {}, false ones: {} in {} hours, {} an hour\n",
            incidents.alerts,
            incidents.false_alerts,
            digits(incidents.hours, 3),
            digits(incidents.false_alerts_per_hour, 2)
        ),
    );
    for (behaviour, alerts) in incidents.false_alerts_by_behaviour.iter().take(BENIGN_SHOWN) {
        push(out, format_args!("  {alerts} of {behaviour}\n"));
    }
    let mut table = TextTable::new(
        "What other evidence thresholds would buy",
        ["evidence", "false alerts an hour", "attacks alerted"],
    );
    for point in &incidents.by_evidence {
        table.row([
            digits(f64::from(point.alert_evidence), 3),
            digits(point.false_alerts_per_hour, 2),
            share(point.alerted),
        ]);
    }
    table.render(out);
}

fn trials(evaluation: &Evaluation, out: &mut String) {
    for trials in evaluation.trials.chunk_by(|a, b| a.same_table(b)) {
        let mut heads = vec![String::new()];
        heads.extend(trials[0].figures.iter().map(|(name, _)| name.clone()));
        let mut table = TextTable::new(&trials[0].kind, heads);
        for trial in trials {
            let mut cells = vec![trial.name.clone()];
            cells.extend(trial.figures.iter().map(|(_, value)| trial_figure(*value)));
            table.row(cells);
        }
        table.render(out);
        for trial in trials {
            if let Some(remark) = &trial.remark {
                push(out, format_args!("{}: {remark}\n", trial.name));
            }
        }
    }
}

/// Shares with three decimals, counts whole.
pub(crate) fn trial_figure(value: Option<f64>) -> String {
    match value {
        Some(value) if value > 1.0 => digits(value, 3),
        other => share(other),
    }
}

/// Columns as wide as their widest cell, the first to the left, the others to the right.
pub(crate) struct TextTable {
    title: String,
    rows: Vec<Vec<String>>,
}

impl TextTable {
    pub(crate) fn new<T: Into<String>>(title: &str, heads: impl IntoIterator<Item = T>) -> Self {
        Self { title: title.to_owned(), rows: vec![heads.into_iter().map(Into::into).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Nothing at all without rows.
    pub(crate) fn render(&self, out: &mut String) {
        if self.rows.len() < 2 {
            return;
        }
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        push(out, format_args!("\n{}\n", self.title));
        for row in &self.rows {
            let mut line = String::new();
            for (cell, (width, column)) in row.iter().zip(widths.iter().zip(0..)) {
                if column == 0 {
                    push(&mut line, format_args!("  {cell:<width$}"));
                } else {
                    push(&mut line, format_args!("  {cell:>width$}"));
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes all text");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::{Options, Trial, evaluate};
    use crate::incidents::incidents;
    use crate::test_opinions::{manifest, sample};

    #[test]
    fn every_table_is_there_and_no_line_is_too_long() {
        let (table, rows, opinions) = sample();
        let mut evaluation = evaluate(&table, &rows, &opinions, Options { rounds: 10, ..Options::default() });
        evaluation.incidents = Some(incidents(&table, &rows, &opinions[0], &manifest(2.0, 3.5, 12.0)));
        evaluation.about.insert("model".to_owned(), "default-1f2e3d4c".to_owned());
        evaluation.trials.push(Trial {
            kind: "Sanity".to_owned(),
            name: "shuffled labels".to_owned(),
            figures: vec![("AUC".to_owned(), Some(0.503)), ("flows".to_owned(), Some(6840.0))],
            remark: Some("at chance, as it must be".to_owned()),
        });
        let text = render(&evaluation);
        for title in [
            "model: default-1f2e3d4c",
            "Hostile against benign",
            "own points",
            "Recall where 1 in 1,000 benign flows is called hostile, by class",
            "by network",
            "by behaviour",
            "Benign behaviours behind",
            "Attacks as episodes",
            "Incidents:",
            "Sanity",
            "shuffled labels: at chance",
        ] {
            assert!(text.contains(title), "{title}\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        let scan = text.lines().find(|line| line.trim_start().starts_with("scan ")).unwrap();
        assert_eq!(scan.split_whitespace().count(), 3 + 5 + 1, "{scan}");
    }

    #[test]
    fn columns_stand_under_each_other() {
        let mut table = TextTable::new("Title", ["", "flows"]);
        table.row(["scan".to_owned(), "7".to_owned()]);
        table.row(["c2".to_owned(), "1,234".to_owned()]);
        let mut out = String::new();
        table.render(&mut out);
        assert_eq!(out, "\nTitle\n        flows\n  scan      7\n  c2    1,234\n");
        TextTable::new("Empty", ["x"]).render(&mut out);
        assert!(!out.contains("Empty"));
    }
}
