//! An evaluation as one HTML file that needs nothing else: no script, no font, no picture from anywhere.
//!
//! In: [`Evaluation`]. Out: a document for light and dark screens, from 360 pixels wide; every chart has its figures in a
//! table beside it or below. A content security policy in it forbids requests, so that it can be opened anywhere.

use std::fmt::Write;

use crate::chart::{DETECTOR_COLOURS, bars, escape, histogram, precision_recall, reliability, roc};
use crate::evaluation::{Called, Evaluation, Figure, Figures, Line};
use crate::metrics::{CurvePoint, FALSE_ALARM_RATES};
use crate::number_text::{DASH, count, digits, one_in, percent, share, span};
use crate::report_text::{READ_AT, trial_figure};

/// Renders the whole evaluation.
#[must_use]
pub fn render(evaluation: &Evaluation) -> String {
    let mut page = Page::default();
    let model = evaluation.about.get("model").map_or("detectors", String::as_str);
    page.add(format_args!("{}", head(&format!("Evaluation of {model}"))));
    page.add(format_args!("<header><h1>Evaluation of {}</h1>\n", escape(model)));
    about(evaluation, &mut page);
    page.add(format_args!("</header>\n<main>\n"));
    tiles(evaluation, &mut page);
    overall(evaluation, &mut page);
    curves(evaluation, &mut page);
    classes(evaluation, &mut page);
    scores(evaluation, &mut page);
    confusion(evaluation, &mut page);
    sources(evaluation, &mut page);
    episodes(evaluation, &mut page);
    incidents(evaluation, &mut page);
    behaviours(evaluation, &mut page);
    trials(evaluation, &mut page);
    page.add(format_args!("{NOTES}</main>\n</body>\n</html>\n"));
    page.out
}

fn about(evaluation: &Evaluation, page: &mut Page) {
    page.add(format_args!("<dl>\n"));
    for (key, value) in &evaluation.about {
        page.add(format_args!("<dt>{}</dt><dd>{}</dd>\n", escape(key), escape(value)));
    }
    let extent = evaluation.extent;
    page.add(format_args!(
        "<dt>judged</dt><dd>{} flows, {} of them benign; {} networks, {} runs, {} hours</dd>\n</dl>\n",
        count(evaluation.flows),
        count(evaluation.benign),
        extent.sources,
        extent.runs,
        digits(extent.hours, 3)
    ));
    if !evaluation.warnings.is_empty() {
        page.add(format_args!("<aside aria-label=\"Warnings\"><strong>Read with care</strong><ul>\n"));
        for warning in &evaluation.warnings {
            page.add(format_args!("<li>{}</li>\n", escape(warning)));
        }
        page.add(format_args!("</ul></aside>\n"));
    }
}

fn tiles(evaluation: &Evaluation, page: &mut Page) {
    let (Some(name), Some(overall)) = (evaluation.detectors.first(), evaluation.overall.first()) else {
        return;
    };
    let mut tiles = vec![
        (
            "area under the ROC curve".to_owned(),
            share(overall.figures.auc.value),
            interval(overall.figures.auc),
        ),
        (
            format!("recall, {} false alarms", one_in(FALSE_ALARM_RATES[READ_AT])),
            share(overall.figures.recall[READ_AT].value),
            interval(overall.figures.recall[READ_AT]),
        ),
        ("macro-F1".to_owned(), format!("{:.3}", overall.by_likeliest.macro_f1), String::new()),
    ];
    if let Some(detect) = overall.by_point.get(1) {
        tiles.push((
            "benign flows called hostile at \"detect\"".to_owned(),
            percent(detect.false_alarm_rate),
            format!("{} a day", digits(detect.false_alarms_per_day, 2)),
        ));
    }
    if let Some(incidents) = &evaluation.incidents {
        if let Some(all) = incidents.large.first() {
            tiles.push((
                "attacks of 20+ flows that raise an alert".to_owned(),
                format!("{} of {}", all.alerted, all.episodes),
                String::new(),
            ));
        }
        tiles.push((
            "false alerts an hour".to_owned(),
            digits(incidents.false_alerts_per_hour, 2),
            format!("{} in {} h", incidents.false_alerts, digits(incidents.hours, 2)),
        ));
    }
    page.add(format_args!(
        "<section aria-label=\"At a glance\"><h2>At a glance: {}</h2><ul class=\"tiles\">\n",
        escape(name)
    ));
    for (what, value, more) in tiles {
        page.add(format_args!(
            "<li><b>{}</b> <span>{}</span> <small>{}</small></li>\n",
            escape(&value),
            escape(&what),
            escape(&more)
        ));
    }
    page.add(format_args!("</ul></section>\n"));
}

fn overall(evaluation: &Evaluation, page: &mut Page) {
    page.add(format_args!("<section><h2>All flows</h2>\n"));
    let mut table = Table::new("Hostile against benign flows, detectors side by side", 1);
    table.heads([
        "detector",
        "AUC",
        "average precision",
        "recall at 1e-2",
        "at 1e-3",
        "at 1e-4",
        "mean class AUC",
        "mean class recall at 1e-3",
        "mean behaviour recall at 1e-3",
        "macro-F1, likeliest class",
        "calibration error",
    ]);
    for (at, (name, overall)) in evaluation.detectors.iter().zip(&evaluation.overall).enumerate() {
        let figures = &overall.figures;
        table.row_of(at, name);
        table.figure(figures.auc);
        table.figure(figures.average_precision);
        for figure in figures.recall {
            table.figure(figure);
        }
        table.cell(&share(overall.mean_class_auc));
        table.cell(&share(overall.mean_class_recall[READ_AT]));
        table.cell(&share(overall.mean_behaviour_recall[READ_AT]));
        table.cell(&format!("{:.3}", overall.by_likeliest.macro_f1));
        table.cell(&format!("{:.3}", overall.calibration_error));
    }
    page.table(table);

    let mut table = Table::new("The detectors' own points, chosen on other flows", 2);
    table.heads(["detector", "point", "score", "false alarms", "a day", "recall", "precision", "macro-F1"]);
    for (at, (name, overall)) in evaluation.detectors.iter().zip(&evaluation.overall).enumerate() {
        for point in &overall.by_point {
            table.row_of(at, name);
            table.text(point.point);
            table.cell(&format!("{:.2}", point.score));
            table.cell(&percent(point.false_alarm_rate));
            table.cell(&digits(point.false_alarms_per_day, 3));
            table.cell(&format!("{:.3}", point.called.hostile_recall));
            table.cell(&format!("{:.3}", point.called.hostile_precision));
            table.cell(&format!("{:.3}", point.called.macro_f1));
        }
    }
    page.table(table);
    page.add(format_args!("</section>\n"));
}

fn curves(evaluation: &Evaluation, page: &mut Page) {
    let curves: Vec<(String, &[CurvePoint])> = evaluation
        .detectors
        .iter()
        .zip(&evaluation.overall)
        .map(|(name, overall)| (name.clone(), overall.curve.as_slice()))
        .collect();
    page.add(format_args!("<section><h2>Curves</h2>\n"));
    legend(evaluation, page);
    page.add(format_args!("<div class=\"charts\">\n"));
    page.figure("Recall against false alarms (ROC)", &roc("Recall against false alarms", &curves));
    page.figure("Precision against recall", &precision_recall("Precision against recall", &curves));
    page.add(format_args!("</div></section>\n"));
}

fn legend(evaluation: &Evaluation, page: &mut Page) {
    page.add(format_args!("<ul class=\"legend\" aria-label=\"Detectors\">"));
    for (at, name) in evaluation.detectors.iter().enumerate() {
        page.add(format_args!(
            "<li><svg viewBox=\"0 0 34 10\" aria-hidden=\"true\"><path class=\"line d{}\" d=\"M0 5H34\"/></svg>{}</li>",
            at % DETECTOR_COLOURS,
            escape(name)
        ));
    }
    page.add(format_args!("</ul>\n"));
}

fn classes(evaluation: &Evaluation, page: &mut Page) {
    let title = format!("Recall where {} benign flows is called hostile", one_in(FALSE_ALARM_RATES[READ_AT]));
    let groups: Vec<(String, Vec<Figure>)> = evaluation
        .by_class
        .iter()
        .map(|line| (line.name.clone(), line.figures.iter().map(|figures| figures.recall[READ_AT]).collect()))
        .collect();
    page.add(format_args!("<section><h2>Classes</h2>\n"));
    legend(evaluation, page);
    page.figure(
        &format!("{title}; whiskers hold 95 % of what other incidents would have given"),
        &bars(&title, "recall", &evaluation.detectors, &groups),
    );
    for (at, rate) in FALSE_ALARM_RATES.into_iter().enumerate() {
        let caption = format!("Recall where {} benign flows is called hostile, by class", one_in(rate));
        lines(evaluation, &caption, &evaluation.by_class, |figures| figures.recall[at], page);
    }
    lines(
        evaluation,
        "Area under the ROC curve, by class",
        &evaluation.by_class,
        |figures| figures.auc,
        page,
    );
    lines(
        evaluation,
        "Average precision, by class",
        &evaluation.by_class,
        |figures| figures.average_precision,
        page,
    );
    page.add(format_args!("</section>\n"));
}

fn lines(
    evaluation: &Evaluation,
    caption: &str,
    lines: &[Line],
    of: impl Fn(&Figures) -> Figure,
    page: &mut Page,
) {
    let with_class = lines.iter().any(|line| line.name != line.class);
    let mut table = Table::new(caption, 1 + usize::from(with_class));
    let mut heads = vec![if with_class { "behaviour" } else { "class" }];
    if with_class {
        heads.push("class");
    }
    heads.extend(["flows", "groups"]);
    heads.extend(evaluation.detectors.iter().map(String::as_str));
    table.heads(heads);
    for line in lines {
        table.row(&line.name);
        if with_class {
            table.text(&line.class);
        }
        table.cell(&count(line.flows));
        table.cell(&line.groups.to_string());
        for figures in &line.figures {
            table.figure(of(figures));
        }
    }
    page.table(table);
}

fn scores(evaluation: &Evaluation, page: &mut Page) {
    page.add(format_args!("<section><h2>Scores and probabilities</h2>\n<ul class=\"legend\"><li><i class=\"benign\"></i>benign</li><li><i class=\"hostile\"></i>hostile</li></ul>\n<div class=\"charts\">\n"));
    for (name, overall) in evaluation.detectors.iter().zip(&evaluation.overall) {
        let points: Vec<(&str, f32)> =
            overall.by_point.iter().map(|point| (point.point, point.score)).collect();
        let title = format!("Scores of {name}");
        page.figure(&title, &histogram(&title, &overall.histogram, &points));
    }
    for (name, overall) in evaluation.detectors.iter().zip(&evaluation.overall).take(1) {
        let title = format!("Probabilities of {name} against what came true");
        page.figure(&title, &reliability(&title, &overall.reliability));
    }
    page.add(format_args!("</div>\n"));
    let mut table = Table::new("Probabilities of being hostile against what came true", 1);
    table.heads(["detector", "flows", "mean probability", "share hostile"]);
    for (at, (name, overall)) in evaluation.detectors.iter().zip(&evaluation.overall).enumerate().take(1) {
        for bin in overall.reliability.iter().filter(|bin| bin.flows > 0) {
            table.row_of(at, name);
            table.cell(&count(bin.flows));
            table.cell(&format!("{:.3}", bin.probability));
            table.cell(&format!("{:.3}", bin.hostile));
        }
    }
    page.details("Probabilities as a table", table);
    page.add(format_args!("</section>\n"));
}

fn confusion(evaluation: &Evaluation, page: &mut Page) {
    let Some((name, overall)) = evaluation.detectors.iter().zip(&evaluation.overall).next() else { return };
    page.add(format_args!("<section><h2>What {} calls flows</h2>\n", escape(name)));
    let mut ways = vec![("the likeliest class".to_owned(), &overall.by_likeliest)];
    ways.extend(overall.by_point.iter().map(|point| (format!("{} and above", point.point), &point.called)));
    for (at, (way, called)) in ways.into_iter().enumerate() {
        let table = confusion_table(evaluation, &way, called);
        if at == 0 { page.table(table) } else { page.details(&format!("The same at {way}"), table) }
    }
    page.add(format_args!("</section>\n"));
}

fn confusion_table(evaluation: &Evaluation, way: &str, called: &Called) -> Table {
    let confusion = &called.confusion;
    let caption = format!(
        "Rows: what flows are. Columns: what they are called ({way}). Macro-F1 {:.3}",
        called.macro_f1
    );
    let mut table = Table::new(&caption, 1);
    let mut heads = vec!["is"];
    heads.extend(evaluation.classes.iter().map(String::as_str));
    heads.extend(["flows", "recall", "precision", "F1"]);
    table.heads(heads);
    for (class, name) in evaluation.classes.iter().enumerate() {
        let figures = confusion.class(class);
        if figures.flows + figures.called == 0 {
            continue;
        }
        table.row(name);
        for other in 0..confusion.classes() {
            let flows = confusion.count(class, other);
            let part = flows as f64 / figures.flows.max(1) as f64;
            let kind = if class == other { "right" } else { "wrong" };
            let text = if flows == 0 { DASH.to_owned() } else { count(flows) };
            table.add(format_args!(
                "<td class=\"heat {kind}\" style=\"--share:{:.0}%\">{text}</td>",
                part * 100.0
            ));
        }
        table.cell(&count(figures.flows));
        table.cell(&format!("{:.3}", figures.recall));
        table.cell(&format!("{:.3}", figures.precision));
        table.cell(&format!("{:.3}", figures.f1));
    }
    table
}

fn sources(evaluation: &Evaluation, page: &mut Page) {
    page.add(format_args!("<section><h2>Networks</h2>\n"));
    for (caption, of) in SOURCE_TABLES {
        let mut table = Table::new(caption, 1);
        let mut heads = vec!["network", "benign", "hostile", "hours"];
        heads.extend(evaluation.detectors.iter().map(String::as_str));
        table.heads(heads);
        for source in &evaluation.by_source {
            table.row(&source.name);
            table.cell(&count(source.benign));
            table.cell(&count(source.hostile));
            table.cell(&digits(source.hours, 2));
            for figures in &source.figures {
                table.figure(of(figures));
            }
        }
        page.table(table);
    }
    for (at, name) in evaluation.detectors.iter().enumerate() {
        let mut table = Table::new(&format!("{name} at its own points"), 2);
        table.heads(["network", "point", "benign flows a second", "false alarms", "a day", "recall"]);
        for source in &evaluation.by_source {
            for point in source.points.get(at).into_iter().flatten() {
                table.row(&source.name);
                table.text(point.point);
                table.cell(&digits(source.benign_flows_per_s, 2));
                table.cell(&percent(point.false_alarm_rate));
                table.cell(&digits(point.false_alarms_per_day, 3));
                table.cell(&share(point.recall));
            }
        }
        if at == 0 { page.table(table) } else { page.details(&format!("{name} at its own points"), table) }
    }
    page.add(format_args!("</section>\n"));
}

type OfFigures = fn(&Figures) -> Figure;

const SOURCE_TABLES: [(&str, OfFigures); 2] = [
    ("Area under the ROC curve, by network", |figures| figures.auc),
    ("Recall where 1 in 1,000 of the network's own benign flows is called hostile", |figures| {
        figures.recall[READ_AT]
    }),
];

fn episodes(evaluation: &Evaluation, page: &mut Page) {
    if evaluation.episodes.iter().all(|figures| figures.all.episodes == 0) {
        return;
    }
    page.add(format_args!("<section><h2>Attacks as episodes</h2>\n<p>An episode is what one host did of one kind, without a pause of more than ten minutes. It is noticed when a flow of it reaches the detector's point <code>detect</code> and has ended.</p>\n"));
    let mut table = Table::new("Episodes noticed, and how soon after their first packet", 2);
    table.heads([
        "detector",
        "class",
        "episodes",
        "noticed",
        "half within",
        "nine tenths within",
        "flows before, half",
    ]);
    for (at, (name, figures)) in evaluation.detectors.iter().zip(&evaluation.episodes).enumerate() {
        let named = [("all", &figures.all), ("of 20 and more flows", &figures.large)].into_iter();
        let classes = figures.by_class.iter().map(|(class, noticing)| (class.as_str(), noticing));
        for (class, noticing) in named.chain(classes) {
            if noticing.episodes > 0 {
                table.row_of(at, name);
                table.text(class);
                table.cell(&noticing.episodes.to_string());
                table.cell(&noticing.noticed.to_string());
                table.cell(&span(noticing.median_s));
                table.cell(&span(noticing.ninth_decile_s));
                table.cell(
                    &noticing.median_flows_before.map_or_else(|| DASH.to_owned(), |flows| digits(flows, 2)),
                );
            }
        }
    }
    page.table(table);
    page.add(format_args!("</section>\n"));
}

fn incidents(evaluation: &Evaluation, page: &mut Page) {
    let Some(incidents) = &evaluation.incidents else { return };
    page.add(format_args!(
        "<section><h2>Incidents</h2>\n<p>{} alerts; {} of them without any hostile flow, in {} hours: {} an hour.</p>\n",
        incidents.alerts,
        incidents.false_alerts,
        digits(incidents.hours, 3),
        digits(incidents.false_alerts_per_hour, 2)
    ));
    for (caption, lines) in
        [("Attacks of 20 and more flows", &incidents.large), ("Smaller attacks", &incidents.small)]
    {
        let mut table = Table::new(caption, 1);
        table.heads(["class", "episodes", "raise an alert", "under their own name", "half within"]);
        for line in lines.iter().filter(|line| line.episodes > 0) {
            table.row(&line.class);
            table.cell(&line.episodes.to_string());
            table.cell(&line.alerted.to_string());
            table.cell(&line.named.to_string());
            table.cell(&span(line.median_s));
        }
        page.table(table);
    }
    let mut table = Table::new("What other evidence thresholds would buy", 1);
    table.heads(["evidence", "false alerts an hour", "attacks of 20 and more flows alerted"]);
    for point in &incidents.by_evidence {
        table.row(&digits(f64::from(point.alert_evidence), 3));
        table.cell(&digits(point.false_alerts_per_hour, 2));
        table.cell(&share(point.alerted));
    }
    page.table(table);
    let mut table = Table::new("False alerts by the benign behaviour that raised them", 1);
    table.heads(["behaviour", "alerts"]);
    for (behaviour, alerts) in &incidents.false_alerts_by_behaviour {
        table.row(behaviour);
        table.cell(&alerts.to_string());
    }
    page.details("False alerts by behaviour", table);
    let mut table = Table::new("Attacks of 20 and more flows that raised no alert", 3);
    table.heads(["behaviour", "class", "network", "flows"]);
    for missed in &incidents.missed {
        table.row(&missed.behaviour);
        table.text(&missed.class);
        table.text(&missed.source);
        table.cell(&missed.flows.to_string());
    }
    page.details("Attacks that raised no alert", table);
    page.add(format_args!("</section>\n"));
}

fn behaviours(evaluation: &Evaluation, page: &mut Page) {
    page.add(format_args!("<section><h2>Behaviours</h2>\n"));
    let rate = one_in(FALSE_ALARM_RATES[READ_AT]);
    lines(
        evaluation,
        &format!("Hostile behaviours: recall where {rate} benign flows is called hostile"),
        &evaluation.by_behaviour,
        |figures| figures.recall[READ_AT],
        page,
    );
    let mut table = Table::new(&format!("Benign behaviours: flows called hostile where {rate} is"), 1);
    let mut heads = vec!["behaviour", "flows"];
    heads.extend(evaluation.detectors.iter().map(String::as_str));
    table.heads(heads);
    for line in &evaluation.benign_behaviours {
        table.row(&line.name);
        table.cell(&count(line.flows));
        for alarms in &line.false_alarms {
            table.cell(&count(alarms[READ_AT]));
        }
    }
    page.table(table);
    page.add(format_args!("</section>\n"));
}

fn trials(evaluation: &Evaluation, page: &mut Page) {
    if evaluation.trials.is_empty() {
        return;
    }
    page.add(format_args!("<section><h2>Trials</h2>\n"));
    for trials in evaluation.trials.chunk_by(|a, b| a.same_table(b)) {
        let mut table = Table::new(&trials[0].kind, 1);
        let mut heads = vec![""];
        heads.extend(trials[0].figures.iter().map(|(name, _)| name.as_str()));
        heads.push("");
        table.heads(heads);
        for trial in trials {
            table.row(&trial.name);
            for (_, value) in &trial.figures {
                table.cell(&trial_figure(*value));
            }
            table.text(trial.remark.as_deref().unwrap_or_default());
        }
        page.table(table);
    }
    page.add(format_args!("</section>\n"));
}

fn interval(figure: Figure) -> String {
    figure
        .interval
        .map_or_else(String::new, |interval| format!("95 %: {:.3} to {:.3}", interval.low, interval.high))
}

fn head(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        escape(title)
    )
}

/// The document so far.
#[derive(Default)]
struct Page {
    out: String,
}

impl Page {
    fn add(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("a string takes all text");
    }

    fn figure(&mut self, caption: &str, svg: &str) {
        self.add(format_args!("<figure>{svg}<figcaption>{}</figcaption></figure>\n", escape(caption)));
    }

    /// Wide tables scroll by themselves, with the keyboard too; without rows there is none.
    fn table(&mut self, table: Table) {
        if let Some((caption, html)) = table.close() {
            self.add(format_args!(
                "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{}\">{html}</div>\n",
                escape(&caption)
            ));
        }
    }

    fn details(&mut self, summary: &str, table: Table) {
        if !table.is_empty() {
            self.add(format_args!("<details><summary>{}</summary>\n", escape(summary)));
            self.table(table);
            self.add(format_args!("</details>\n"));
        }
    }
}

/// A table being written row by row.
struct Table {
    caption: String,
    texts: usize,
    out: String,
    rows: usize,
}

impl Table {
    /// The first `texts` columns hold text, the others numbers.
    fn new(caption: &str, texts: usize) -> Self {
        let out = format!("<table><caption><span>{}</span></caption>\n", escape(caption));
        Self { caption: caption.to_owned(), texts, out, rows: 0 }
    }

    fn add(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("a string takes all text");
    }

    fn heads<'a>(&mut self, heads: impl IntoIterator<Item = &'a str>) {
        self.out.push_str("<thead><tr>");
        for (column, head) in heads.into_iter().enumerate() {
            let class = if column < self.texts { " class=\"text\"" } else { "" };
            // An empty head names nothing: it is a cell.
            if head.is_empty() {
                self.out.push_str("<td></td>");
            } else {
                self.add(format_args!("<th scope=\"col\"{class}>{}</th>", escape(head)));
            }
        }
        self.out.push_str("</tr></thead>\n<tbody>");
    }

    fn row(&mut self, name: &str) {
        self.next_row();
        self.add(format_args!("<tr><th scope=\"row\">{}</th>", escape(name)));
    }

    /// A row of a detector, marked with its colour.
    fn row_of(&mut self, detector: usize, name: &str) {
        self.next_row();
        let colour = detector % DETECTOR_COLOURS;
        self.add(format_args!("<tr><th scope=\"row\" class=\"of d{colour}\">{}</th>", escape(name)));
    }

    fn next_row(&mut self) {
        self.out.push_str(if self.rows > 0 { "</tr>\n" } else { "\n" });
        self.rows += 1;
    }

    fn cell(&mut self, number: &str) {
        self.add(format_args!("<td>{}</td>", escape(number)));
    }

    fn text(&mut self, text: &str) {
        self.add(format_args!("<td class=\"text\">{}</td>", escape(text)));
    }

    fn figure(&mut self, figure: Figure) {
        let interval = figure.interval.map_or_else(String::new, |interval| {
            format!("<small>{:.2} to {:.2}</small>", interval.low, interval.high)
        });
        self.add(format_args!("<td>{}{interval}</td>", share(figure.value)));
    }

    const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    fn close(mut self) -> Option<(String, String)> {
        if self.is_empty() {
            return None;
        }
        self.out.push_str("</tr>\n</tbody></table>");
        Some((self.caption, self.out))
    }
}

const NOTES: &str = "<section><h2>How to read this</h2>
<ul>
<li>Recall at 1e-3 is the share of hostile flows whose score lies above that of all but one in a thousand benign flows of the same judgement. It tells how well scores part the two, not what a threshold chosen elsewhere would do; for that see the detectors' own points.</li>
<li>Intervals hold 95 % of what a bootstrap gave that drew whole groups of flows: those of one run, host and behaviour.</li>
<li>Average precision depends on the share of hostile flows, which is far greater here than on any real network.</li>
<li>Flows of the testbed are made by scripts. What is recognised here is not thereby recognised elsewhere.</li>
</ul></section>
";

const STYLE: &str = include_str!("report.css");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::{Options, Trial, evaluate};
    use crate::incidents::incidents;
    use crate::test_opinions::{manifest, sample};

    fn page() -> String {
        let (table, rows, opinions) = sample();
        let mut evaluation = evaluate(&table, &rows, &opinions, Options { rounds: 20, ..Options::default() });
        evaluation.incidents = Some(incidents(&table, &rows, &opinions[0], &manifest(2.0, 3.5, 12.0)));
        evaluation.about.insert("model".to_owned(), "<default>&".to_owned());
        evaluation.trials.push(Trial {
            kind: "Sanity".to_owned(),
            name: "shuffled labels".to_owned(),
            figures: vec![("AUC".to_owned(), Some(0.503))],
            remark: Some("at chance".to_owned()),
        });
        render(&evaluation)
    }

    #[test]
    fn everything_is_in_one_file_that_asks_for_nothing() {
        let page = page();
        for part in [
            "<h2>Curves",
            "<h2>Classes",
            "<h2>Networks",
            "<h2>Incidents",
            "<h2>Trials",
            "Evaluation of &lt;default&gt;&amp;",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for outside in ["http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link", "<img"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.len() < 400_000, "{}", page.len());
    }

    /// Every element that is opened is closed, in order.
    #[test]
    fn elements_are_nested() {
        let page = page();
        let mut open: Vec<&str> = Vec::new();
        for tag in page.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
            let name = tag.trim_start_matches('/').split([' ', '/', '\n']).next().unwrap();
            match tag {
                _ if tag.starts_with('!') || tag.ends_with('/') || name == "meta" => {}
                _ if tag.starts_with('/') => assert_eq!(open.pop(), Some(name), "{tag}"),
                _ => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn charts_have_names_and_tables_have_heads() {
        let page = page();
        let charts = page.matches("role=\"img\"><title>").count();
        assert!(charts >= 9, "{charts}");
        assert_eq!(page.matches("<table><caption>").count(), page.matches("<table").count());
        assert_eq!(page.matches("<thead>").count(), page.matches("<table").count());
    }
}
