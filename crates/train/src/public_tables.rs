//! The learning code on public tables, next to published figures: is it sound?
//!
//! In: NSL-KDD as distributed (`KDDTrain+_20Percent.txt`, `KDDTest+.txt`), or CSV files of the corrected CIC-IDS2017 flows.
//! Out: [`PublicReport`]. None of this is a claim of detection: NSL-KDD's traffic was simulated in 1998, and the sample of
//! CIC-IDS2017 is one week of one laboratory. A split by flow, at random, is shown beside splits that keep together what
//! belongs together, because only the latter say anything (and even they stay within one network).
//!
//! Sources: Tavallaee, Bagheri, Lu and Ghorbani, A detailed analysis of the KDD CUP 99 data set, CISDA 2009; Engelen,
//! Rimmer and Joosen, Troubleshooting an intrusion detection dataset, WTMC 2021; Rosay et al., From CIC-IDS2017 to
//! LYCOS-IDS2017, 2022.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::metrics::{Confusion, Ranked};
use crate::number_text::count;
use crate::quick::{Cells, Quick, QuickConfig, QuickKind};
use crate::report_text::TextTable;
use crate::{CLASSES, Random, TrainError};

/// Figures of our detectors on a public table, next to published ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PublicReport {
    /// The table.
    pub table: String,
    /// Ours.
    pub results: Vec<PublicResult>,
    /// Theirs.
    pub published: Vec<Published>,
    /// What it does not say.
    pub note: String,
}

/// One detector on one split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PublicResult {
    /// How the table was parted.
    pub split: String,
    /// The detector.
    pub detector: String,
    /// Rows learnt from.
    pub train_rows: usize,
    /// Rows judged.
    pub test_rows: usize,
    /// Share called right, attack or not.
    pub accuracy: f64,
    /// F1 of "attack".
    pub f1: f64,
    /// Precision of "attack".
    pub precision: f64,
    /// Recall of "attack".
    pub recall: f64,
    /// Area under the ROC curve, attack or not.
    pub auc: Option<f64>,
    /// Mean of F1 over classes, where there are more than two.
    pub macro_f1: Option<f64>,
}

/// A published figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Published {
    /// Split, method, figure.
    pub what: String,
    /// Its value.
    pub figure: String,
    /// Where it was published.
    pub source: String,
}

impl PublicReport {
    /// As text for a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = format!("{}\n{}\n", self.table, self.note);
        let mut table = TextTable::new(
            "Ours",
            [
                "split",
                "detector",
                "learnt from",
                "judged",
                "accuracy",
                "F1",
                "precision",
                "recall",
                "AUC",
                "macro-F1",
            ],
        );
        for result in &self.results {
            let share = |value: f64| format!("{value:.4}");
            let maybe = |value: Option<f64>| value.map_or_else(String::new, share);
            table.row([
                result.split.clone(),
                result.detector.clone(),
                count(result.train_rows as u64),
                count(result.test_rows as u64),
                share(result.accuracy),
                share(result.f1),
                share(result.precision),
                share(result.recall),
                maybe(result.auc),
                maybe(result.macro_f1),
            ]);
        }
        table.render(&mut out);
        let mut table = TextTable::new("Published", ["what", "figure", "source"]);
        for published in &self.published {
            table.row([published.what.clone(), published.figure.clone(), published.source.clone()]);
        }
        table.render(&mut out);
        out
    }
}

/// NSL-KDD: learns from `KDDTrain+_20Percent.txt` (or `KDDTrain+.txt`) of a directory, judges `KDDTest+.txt`, and
/// `KDDTest-21.txt` if it is there. Attack or not.
///
/// # Errors
///
/// If a file cannot be read or is not as distributed.
pub fn nsl_kdd(directory: &Path, config: &QuickConfig) -> Result<PublicReport, TrainError> {
    let twenty = directory.join("KDDTrain+_20Percent.txt");
    let train_path = if twenty.exists() { twenty } else { directory.join("KDDTrain+.txt") };
    let mut categories = Categories::default();
    let train = nsl_kdd_rows(&train_path, &mut categories, true)?;
    let test_path = directory.join("KDDTest+.txt");
    let mut tests = vec![("KDDTest+", nsl_kdd_rows(&test_path, &mut categories, false)?)];
    let harder = directory.join("KDDTest-21.txt");
    if harder.exists() {
        tests.push(("KDDTest-21", nsl_kdd_rows(&harder, &mut categories, false)?));
    }
    let learnt = categories.cells(&train);
    let mut results = Vec::new();
    for kind in KINDS {
        let quick = Quick::train(&learnt, kind, config)?;
        for (name, rows) in &tests {
            results.push(measure(
                &format!("{name} as given"),
                kind,
                learnt.rows(),
                &categories.cells(rows),
                &quick,
            ));
        }
    }
    Ok(PublicReport {
        table: format!("NSL-KDD, attack or not, learnt from {}", train_path.display()),
        results,
        published: TAVALLAEE
            .iter()
            .map(|(method, plus, hard)| Published {
                what: format!(
                    "{method}, accuracy on KDDTest+ and KDDTest-21, learnt from the 20 % of KDDTrain+"
                ),
                figure: format!("{plus:.4} and {hard:.4}"),
                source: "Tavallaee et al. 2009".to_owned(),
            })
            .collect(),
        note: NOTE.to_owned(),
    })
}

/// Said with every report.
const NOTE: &str = "This shows that the learning code is sound, no more. It is not a claim of detection.";

/// Detectors that are tried.
const KINDS: [QuickKind; 4] =
    [QuickKind::Boosted, QuickKind::Forest, QuickKind::Logistic, QuickKind::OneInput];

/// Accuracy on KDDTest+ and on KDDTest-21 by method.
const TAVALLAEE: [(&str, f64, f64); 7] = [
    ("J48", 0.8105, 0.6397),
    ("naive Bayes", 0.7656, 0.5577),
    ("NB tree", 0.8202, 0.6616),
    ("random forest", 0.8067, 0.6326),
    ("random tree", 0.8159, 0.5851),
    ("multi-layer perceptron", 0.7741, 0.5734),
    ("SVM", 0.6952, 0.4229),
];

/// A row of NSL-KDD: its numbers, its three categories, and whether it is an attack.
struct NslKddRow {
    numbers: Vec<f32>,
    categories: [usize; 3],
    attack: bool,
}

/// Categories met in training, by column; 0 stands for those that were not.
#[derive(Default)]
struct Categories {
    known: [BTreeMap<String, usize>; 3],
}

/// Columns of protocol, service and flag.
const CATEGORICAL: [usize; 3] = [1, 2, 3];

/// Columns before the label.
const NSL_KDD_COLUMNS: usize = 41;

impl Categories {
    fn number(&mut self, column: usize, name: &str, learn: bool) -> usize {
        let known = &mut self.known[column];
        match known.get(name) {
            Some(number) => *number,
            None if learn => {
                known.insert(name.to_owned(), known.len() + 1);
                known.len()
            }
            None => 0,
        }
    }

    /// Numbers, then a column for each category that was met in training.
    fn cells(&self, rows: &[NslKddRow]) -> Cells {
        let numbers = NSL_KDD_COLUMNS - CATEGORICAL.len();
        let width = numbers + self.known.iter().map(BTreeMap::len).sum::<usize>();
        let mut cells = Cells { width, classes: 2, ..Cells::default() };
        let mut inputs = vec![0.0; width];
        for row in rows {
            inputs.fill(0.0);
            inputs[..numbers].copy_from_slice(&row.numbers);
            let mut first = numbers;
            for (number, known) in row.categories.iter().zip(&self.known) {
                if *number > 0 {
                    inputs[first + number - 1] = 1.0;
                }
                first += known.len();
            }
            cells.push(&inputs, u8::from(row.attack));
        }
        cells
    }
}

fn nsl_kdd_rows(path: &Path, categories: &mut Categories, learn: bool) -> Result<Vec<NslKddRow>, TrainError> {
    let refuse = |reason: String| TrainError::Table { path: path.to_owned(), reason };
    let mut rows = Vec::new();
    for (number, line) in read(path)?.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let fields: Vec<&str> = line.split(',').collect();
        // With or without the difficulty behind the label.
        if !(NSL_KDD_COLUMNS + 1..=NSL_KDD_COLUMNS + 2).contains(&fields.len()) {
            return Err(refuse(format!(
                "line {}: {} fields, not 42 or 43; is it NSL-KDD as distributed (.txt)?",
                number + 1,
                fields.len()
            )));
        }
        let mut row = NslKddRow {
            numbers: Vec::with_capacity(NSL_KDD_COLUMNS - CATEGORICAL.len()),
            categories: [0; 3],
            attack: fields[NSL_KDD_COLUMNS] != "normal",
        };
        for (column, field) in fields.iter().take(NSL_KDD_COLUMNS).enumerate() {
            if let Some(which) = CATEGORICAL.iter().position(|categorical| *categorical == column) {
                row.categories[which] = categories.number(which, field, learn);
                continue;
            }
            let value = field.parse::<f32>().ok().filter(|value| value.is_finite());
            let Some(value) = value else {
                return Err(refuse(format!(
                    "line {}, field {}: {field:?} is no number",
                    number + 1,
                    column + 1
                )));
            };
            // Counts and bytes span many powers of ten; rates below 1 hardly change.
            row.numbers.push(value.signum() * value.abs().ln_1p());
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(refuse("it has no rows".to_owned()));
    }
    Ok(rows)
}

/// Flows of the corrected CIC-IDS2017, from CSV files or directories of them (columns of schema cic-gints): parted at random,
/// by blocks of ten minutes and host pair, and by time. Attack or not, and by class.
///
/// # Errors
///
/// If a file cannot be read, a column is missing, or a label is unknown.
pub fn cic2017_corrected(paths: &[PathBuf], config: &QuickConfig) -> Result<PublicReport, TrainError> {
    let mut rows = Vec::new();
    for path in files(paths)? {
        cic_rows(&path, &mut rows)?;
    }
    if rows.is_empty() {
        let path = paths.first().cloned().unwrap_or_default();
        return Err(TrainError::Table { path, reason: "it has no rows".to_owned() });
    }
    let width = rows[0].inputs.len();
    let mut cells = Cells { width, classes: CLASSES.len(), ..Cells::default() };
    for row in &rows {
        cells.push(&row.inputs, row.class);
    }
    let mut results = Vec::new();
    for split in CicSplit::ALL {
        let (train, test) = split.part(&rows, config.seed);
        let (learnt, judged) = (cells.only(&train), cells.only(&test));
        for kind in KINDS {
            let quick = Quick::train(&learnt, kind, config)?;
            results.push(measure(split.name(), kind, learnt.rows(), &judged, &quick));
        }
    }
    let published = [
        ("random split, LYCOS-IDS2017, random forest, all metrics", "above 0.995", "Rosay et al. 2022"),
        (
            "sequences, split by groups without leakage, Transformer, macro-F1",
            "about 0.89",
            "arXiv:2606.11098 (2026)",
        ),
    ];
    Ok(PublicReport {
        table: format!(
            "CIC-IDS2017 corrected, {} flows: a sample balanced by class, so not comparable with the whole",
            count(rows.len() as u64)
        ),
        results,
        published: published
            .map(|(what, figure, source)| Published {
                what: what.to_owned(),
                figure: figure.to_owned(),
                source: source.to_owned(),
            })
            .to_vec(),
        note: NOTE.to_owned(),
    })
}

/// A flow of CIC-IDS2017.
struct CicRow {
    inputs: Vec<f32>,
    class: u8,
    label: String,
    /// The two hosts, the lesser first.
    pair: String,
    time_s: i64,
}

/// How flows are parted into those that are learnt from and those that are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CicSplit {
    Random,
    Blocks,
    Time,
}

impl CicSplit {
    const ALL: [Self; 3] = [Self::Random, Self::Blocks, Self::Time];

    const fn name(self) -> &'static str {
        match self {
            Self::Random => "at random, by flow (leaks)",
            Self::Blocks => "by host pair and ten minutes",
            Self::Time => "by time: last 40 % of each label",
        }
    }

    /// Places of the rows to learn from, and of those to judge.
    fn part(self, rows: &[CicRow], seed: u64) -> (Vec<usize>, Vec<usize>) {
        let judged: Vec<bool> = match self {
            Self::Random => {
                let mut random = Random::stream(seed, "random split", 0);
                rows.iter().map(|_| random.chance(JUDGED)).collect()
            }
            Self::Blocks => {
                let mut random = Random::stream(seed, "block split", 0);
                let mut blocks = BTreeMap::new();
                for row in rows {
                    blocks.entry((&row.label, &row.pair, row.time_s.div_euclid(600))).or_insert(false);
                }
                blocks.values_mut().for_each(|judged| *judged = random.chance(JUDGED));
                let block = |row: &CicRow| blocks[&(&row.label, &row.pair, row.time_s.div_euclid(600))];
                rows.iter().map(block).collect()
            }
            Self::Time => {
                let mut times: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
                for row in rows {
                    times.entry(&row.label).or_default().push(row.time_s);
                }
                for times in times.values_mut() {
                    times.sort_unstable();
                }
                let from = |row: &CicRow| {
                    let times = &times[row.label.as_str()];
                    times[((times.len() - 1) as f64 * (1.0 - JUDGED)).ceil() as usize]
                };
                rows.iter().map(|row| row.time_s >= from(row)).collect()
            }
        };
        (0..rows.len()).partition(|place| !judged[*place])
    }
}

/// Share of flows that is judged.
const JUDGED: f64 = 0.4;

/// What begins a label, and which class it is.
const CIC_LABELS: [(&str, &str); 12] = [
    ("BENIGN", "benign"),
    ("Botnet", "c2"),
    ("DDoS", "dos"),
    ("DoS", "dos"),
    ("FTP-Patator", "brute-force"),
    ("SSH-Patator", "brute-force"),
    ("Heartbleed", "web-attack"),
    ("Infiltration - Portscan", "scan"),
    ("Infiltration", "lateral"),
    ("Portscan", "scan"),
    ("PortScan", "scan"),
    ("Web Attack", "web-attack"),
];

/// Columns that tell who, when or the answer.
const CIC_LEFT_OUT: [&str; 10] = [
    "id",
    "Flow ID",
    "Src IP",
    "Src Port",
    "Dst IP",
    "Dst Port",
    "Timestamp",
    "Label",
    "Attempted Category",
    "Total TCP Flow Time",
];

fn cic_rows(path: &Path, rows: &mut Vec<CicRow>) -> Result<(), TrainError> {
    let refuse = |reason: String| TrainError::Table { path: path.to_owned(), reason };
    let text = read(path)?;
    let mut lines = text.lines();
    let heads: Vec<&str> = lines.next().unwrap_or_default().split(',').map(str::trim).collect();
    let place = |name: &str| {
        let found = heads.iter().position(|head| *head == name);
        found.ok_or_else(|| {
            refuse(format!("column {name:?} is missing; corrected flows have the columns of cic-gints"))
        })
    };
    let (source, destination) = (place("Src IP")?, place("Dst IP")?);
    let (time, label) = (place("Timestamp")?, place("Label")?);
    let inputs: Vec<usize> =
        (0..heads.len()).filter(|place| !CIC_LEFT_OUT.contains(&heads[*place])).collect();
    if rows.first().is_some_and(|row| row.inputs.len() != inputs.len()) {
        return Err(refuse("it has other columns than the files before".to_owned()));
    }
    for (number, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
        let fields: Vec<&str> = line.split(',').collect();
        if fields.len() != heads.len() {
            return Err(refuse(format!("line {}: {} fields, not {}", number + 2, fields.len(), heads.len())));
        }
        let class = CIC_LABELS
            .iter()
            .find(|(begin, _)| fields[label].starts_with(begin))
            .and_then(|(_, class)| CLASSES.iter().position(|name| name == class))
            .ok_or_else(|| refuse(format!("line {}: label {:?} is unknown", number + 2, fields[label])))?;
        let time_s = seconds(fields[time])
            .ok_or_else(|| refuse(format!("line {}: time {:?} is unknown", number + 2, fields[time])))?;
        let (one, other) = (fields[source], fields[destination]);
        let value = |place: &usize| {
            // CICFlowMeter writes rates of flows without duration as infinite or NaN.
            let value = fields[*place].parse::<f64>().ok().filter(|value| value.is_finite()).unwrap_or(0.0);
            (value.signum() * value.abs().ln_1p()) as f32
        };
        rows.push(CicRow {
            inputs: inputs.iter().map(value).collect(),
            class: class as u8,
            label: fields[label].to_owned(),
            pair: if one <= other { format!("{one} {other}") } else { format!("{other} {one}") },
            time_s,
        });
    }
    Ok(())
}

/// `2017-07-07 13:39:36.267908` as seconds on a scale that orders times within a month, and keeps minutes.
fn seconds(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(' ')?;
    let mut parts =
        date.split('-').chain(time.split('.').next()?.split(':')).map(|part| part.parse::<i64>().ok());
    let mut next = || parts.next().flatten();
    let (year, month, day) = (next()?, next()?, next()?);
    let (hour, minute, second) = (next()?, next()?, next()?);
    Some((((year * 12 + month) * 31 + day) * 24 + hour) * 3600 + minute * 60 + second)
}

/// Files as they are; of a directory those that end in `.csv`.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, TrainError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let failed = |source| TrainError::Read { path: path.clone(), source };
        let entries = fs::read_dir(path).map_err(failed)?;
        let mut found: Vec<PathBuf> =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(failed)?;
        found.retain(|path| path.extension().is_some_and(|ending| ending == "csv"));
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

/// The text of a file of at most [`TABLE_BYTES_MAX`].
fn read(path: &Path) -> Result<String, TrainError> {
    let failed = |source| TrainError::Read { path: path.to_owned(), source };
    let bytes = fs::metadata(path).map_err(failed)?.len();
    if bytes > TABLE_BYTES_MAX {
        return Err(TrainError::Table {
            path: path.to_owned(),
            reason: format!("{bytes} bytes are more than the {TABLE_BYTES_MAX} that are read"),
        });
    }
    fs::read_to_string(path).map_err(failed)
}

/// Bound of a public table.
const TABLE_BYTES_MAX: u64 = 1 << 30;

fn measure(split: &str, kind: QuickKind, train_rows: usize, judged: &Cells, quick: &Quick) -> PublicResult {
    let opinion = quick.opinion(judged);
    let pairs = judged.labels.iter().copied().zip(opinion.likeliest.iter().copied());
    let confusion = Confusion::of(judged.classes, pairs);
    // Attack or not is decided by the score: two likely attacks make an attack likelier than either.
    let binary = Confusion::of(
        2,
        judged
            .labels
            .iter()
            .zip(&opinion.scores)
            .map(|(label, score)| (u8::from(*label > 0), u8::from(*score > 0.0))),
    );
    let group: Vec<u16> = judged.labels.iter().map(|label| u16::from(*label > 0)).collect();
    let attack = binary.class(1);
    PublicResult {
        split: split.to_owned(),
        detector: kind.name().to_owned(),
        train_rows,
        test_rows: judged.rows(),
        accuracy: binary.accuracy(),
        f1: attack.f1,
        precision: attack.precision,
        recall: attack.recall,
        auc: Ranked::new(&opinion.scores).skill(&group, 1, None).all.auc,
        macro_f1: (judged.classes > 2).then(|| confusion.macro_f1()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> QuickConfig {
        QuickConfig { trees: 10, ..QuickConfig::default() }
    }

    /// `attack` rows are REJ with a high count, but for one in ten.
    fn nsl_kdd_text(rows: usize, service: &str) -> String {
        let row = |at: usize| {
            let attack = at % 2 == 1;
            let odd = at % 10 == 3;
            let mut fields = vec!["0"; 41];
            fields[1] = "tcp";
            fields[2] = if at == 5 { service } else { "http" };
            fields[3] = if attack == odd { "SF" } else { "REJ" };
            fields[22] = if attack == odd { "3" } else { "229" };
            format!("{},{},21\n", fields.join(","), if attack { "neptune" } else { "normal" })
        };
        (0..rows).map(row).collect()
    }

    #[test]
    fn nsl_kdd_is_learnt_and_judged() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("KDDTrain+_20Percent.txt"), nsl_kdd_text(1000, "smtp")).unwrap();
        // A service that was never met is no reason to stop.
        fs::write(path("KDDTest+.txt"), nsl_kdd_text(200, "gopher")).unwrap();
        let report = nsl_kdd(directory.path(), &config()).unwrap();
        assert_eq!(report.results.len(), KINDS.len());
        for result in &report.results {
            assert_eq!((result.train_rows, result.test_rows), (1000, 200));
            assert!((0.85..=0.95).contains(&result.accuracy), "{result:?}");
        }
        let text = report.text();
        assert!(
            text.contains("not a claim of detection") && text.contains("Tavallaee et al. 2009"),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_nsl_kdd_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let error = |text: &str| {
            fs::write(directory.path().join("KDDTrain+.txt"), text).unwrap();
            nsl_kdd(directory.path(), &config()).unwrap_err().to_string()
        };
        assert!(error("1,2,3\n").contains("line 1: 3 fields, not 42 or 43"));
        assert!(
            error(&nsl_kdd_text(2, "smtp").replace("229", "many"))
                .contains("line 2, field 23: \"many\" is no number")
        );
        assert!(error("").contains("no rows"));
        assert!(
            nsl_kdd(Path::new("/nonexistent"), &config())
                .unwrap_err()
                .to_string()
                .starts_with("reading /nonexistent")
        );
    }

    fn cic_text(label: &str, bytes: u32, rows: usize) -> String {
        let mut text = "id,Src IP,Dst IP,Timestamp,Flow Bytes/s,Flow Duration,Label\n".to_owned();
        for at in 0..rows {
            let (minute, second) = (at / 60, at % 60);
            text.push_str(&format!(
                "{at},10.0.0.{},10.0.0.9,2017-07-07 13:{minute:02}:{second:02}.5,{},{},{label}\n",
                at % 3,
                if at == 0 { "Infinity".to_owned() } else { bytes.to_string() },
                at % 7
            ));
        }
        text
    }

    #[test]
    fn cic_flows_are_parted_three_ways() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.csv"), cic_text("BENIGN", 10, 600)).unwrap();
        fs::write(directory.path().join("b.csv"), cic_text("DoS Hulk", 10_000, 600)).unwrap();
        fs::write(directory.path().join("README.md"), "not a table").unwrap();
        let report = cic2017_corrected(&[directory.path().to_owned()], &config()).unwrap();
        assert_eq!(report.results.len(), 3 * KINDS.len());
        assert!(report.results.iter().all(|result| result.train_rows + result.test_rows == 1200));
        assert!(report.results.iter().all(|result| result.accuracy > 0.95), "{:?}", report.results);

        let mut rows = Vec::new();
        cic_rows(&directory.path().join("a.csv"), &mut rows).unwrap();
        cic_rows(&directory.path().join("b.csv"), &mut rows).unwrap();
        let (train, test) = CicSplit::Time.part(&rows, 1);
        let latest = |places: &[usize], label: &str| {
            let of = places.iter().filter(|place| rows[**place].label == label);
            of.map(|place| rows[*place].time_s).max().unwrap()
        };
        let earliest = |places: &[usize], label: &str| {
            let of = places.iter().filter(|place| rows[**place].label == label);
            of.map(|place| rows[*place].time_s).min().unwrap()
        };
        for label in ["BENIGN", "DoS Hulk"] {
            assert!(latest(&train, label) < earliest(&test, label));
        }
        let block = |place: &usize| (&rows[*place].label, &rows[*place].pair, rows[*place].time_s / 600);
        let (train, test) = CicSplit::Blocks.part(&rows, 1);
        assert!(test.iter().all(|place| !train.iter().any(|other| block(other) == block(place))));
    }

    #[test]
    fn unknown_columns_and_labels_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.csv");
        let error = |text: &str| {
            fs::write(&path, text).unwrap();
            cic2017_corrected(std::slice::from_ref(&path), &config()).unwrap_err().to_string()
        };
        assert!(error("a,b\n1,2\n").contains("\"Src IP\" is missing"));
        assert!(error(&cic_text("Ransomware", 1, 2)).contains("line 2: label \"Ransomware\" is unknown"));
        assert!(error(&cic_text("BENIGN", 1, 0)).contains("no rows"));
        assert_eq!(
            seconds("2017-07-07 13:39:36.267908").unwrap() - seconds("2017-07-07 13:29:35").unwrap(),
            601
        );
        assert_eq!(seconds("7/7/2017 1:39"), None);
    }
}
