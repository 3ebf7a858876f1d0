//! What is tried besides judging a model: leaving out networks, leaving out inputs, learning on the spot.
//!
//! In: a table, rows to learn from and rows to judge. Out: [`Trial`]s, lines of tables for the report. Trainings are quick
//! ones ([`Quick`]); what is compared within a table is made alike.

use std::collections::{BTreeMap, BTreeSet};

use tapline_score::manifest::Manifest;

use crate::evaluation::{Trial, mean};
use crate::judge::{Voter, judge};
use crate::metrics::{Ranked, Skills};
use crate::opinion::{Opinion, Points};
use crate::quick::{Cells, Quick, QuickConfig, QuickKind};
use crate::{CLASSES, Table, TrainError};

/// Told what is being done, before it is.
pub type Tell<'a> = dyn FnMut(&str) + 'a;

/// Trains on all networks but one, judges that one, and so on for every network that has flows of both kinds.
///
/// A network whose name begins with that of the one left out and a hyphen is the same one at another time (`a`, `a-night`),
/// and is left out with it.
///
/// # Errors
///
/// If no network has flows of both kinds, or the rest cannot be learnt from.
pub fn leave_one_network_out(
    table: &Table,
    rows: &[u32],
    places: &[usize],
    config: &QuickConfig,
    tell: &mut Tell<'_>,
) -> Result<Vec<Trial>, TrainError> {
    let networks = networks(table, rows);
    if networks.is_empty() {
        return Err(TrainError::Data {
            reason: format!("no network has {JUDGED_BENIGN} benign and {JUDGED_HOSTILE} hostile flows"),
        });
    }
    let mut trials = Vec::new();
    let mut by_class = Vec::new();
    for network in networks {
        let (judged, learnt): (Vec<u32>, Vec<u32>) =
            rows.iter().partition(|row| is_of_network(network, table.source.name(**row as usize)));
        let learnt = Cells::of(table, &learnt, places, CLASSES.len());
        let cells = Cells::of(table, &judged, places, CLASSES.len());
        for kind in [QuickKind::Boosted, QuickKind::Logistic, QuickKind::OneInput] {
            tell(&format!("without {network}: {}", kind.name()));
            let skills = skills(&Quick::train(&learnt, kind, config)?.opinion(&cells), &cells.labels);
            let name = format!("{network}, {}", kind.name());
            let mut figures = vec![("hostile flows".to_owned(), Some(skills.all.flows as f64))];
            figures.extend(summary(&skills));
            trials.push(Trial { kind: LEFT_OUT.to_owned(), name: name.clone(), figures, remark: None });
            let classes = CLASSES[1..].iter().zip(&skills.groups);
            let figures = classes.map(|(class, skill)| ((*class).to_owned(), skill.recall[HUNDREDTH]));
            let kind = format!("{LEFT_OUT}: recall at 1e-2");
            by_class.push(Trial { kind, name, figures: figures.collect(), remark: None });
        }
    }
    trials.extend(by_class);
    Ok(trials)
}

const LEFT_OUT: &str = "Leave one network out";

/// Place of one in a hundred among the false-alarm rates.
const HUNDREDTH: usize = 0;

/// Networks that can be judged by themselves, by name: at least [`JUDGED_BENIGN`] benign flows and [`JUDGED_HOSTILE`] hostile
/// ones among `rows`. One at another time is not one of its own.
#[must_use]
pub fn networks<'a>(table: &'a Table, rows: &[u32]) -> Vec<&'a str> {
    let mut flows: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for row in rows {
        let row = *row as usize;
        flows.entry(table.source.name(row)).or_default()[usize::from(table.hostile[row])] += 1;
    }
    let suffice = |[benign, hostile]: [usize; 2]| benign >= JUDGED_BENIGN && hostile >= JUDGED_HOSTILE;
    let names: Vec<&str> =
        flows.into_iter().filter(|(_, flows)| suffice(*flows)).map(|(name, _)| name).collect();
    let is_another = |name: &&str| names.iter().any(|other| other != name && is_of_network(other, name));
    names.iter().copied().filter(|name| !is_another(name)).collect()
}

/// Benign flows that a network needs to be judged by itself.
pub const JUDGED_BENIGN: usize = 100;

/// Hostile flows that a network needs to be judged by itself.
pub const JUDGED_HOSTILE: usize = 20;

/// Whether `source` is the network `name`, or the same at another time: `a-night` is `a`.
#[must_use]
pub fn is_of_network(name: &str, source: &str) -> bool {
    source.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Trains on parts of the inputs: of the flow alone, of the context alone, without each part of the context.
///
/// # Errors
///
/// If the rows cannot be learnt from.
pub fn leave_inputs_out(
    table: &Table,
    learnt: &[u32],
    judged: &[u32],
    places: &[usize],
    config: &QuickConfig,
    tell: &mut Tell<'_>,
) -> Result<Vec<Trial>, TrainError> {
    let part_of = |place: &usize| part(&table.inputs[*place]);
    let only = |keep: &dyn Fn(Part) -> bool| -> Vec<usize> {
        places.iter().copied().filter(|place| keep(part_of(place))).collect()
    };
    let mut sets = vec![
        ("all inputs".to_owned(), places.to_vec()),
        ("flow alone".to_owned(), only(&|part| part == Part::Flow)),
        ("flow and class of port".to_owned(), only(&|part| matches!(part, Part::Flow | Part::PortClass))),
        ("context alone".to_owned(), only(&|part| matches!(part, Part::Context(_)))),
        ("all but class of port".to_owned(), only(&|part| part != Part::PortClass)),
    ];
    for context in CONTEXTS {
        sets.push((
            format!("all but {}", context.trim_end_matches('_')),
            only(&|part| part != Part::Context(context)),
        ));
    }
    let mut trials = Vec::new();
    let mut done: Vec<Vec<usize>> = Vec::new();
    for (name, places) in sets {
        // What the model does not read anyway cannot be left out.
        if places.is_empty() || done.contains(&places) {
            continue;
        }
        let learnt = Cells::of(table, learnt, &places, CLASSES.len());
        let cells = Cells::of(table, judged, &places, CLASSES.len());
        for kind in [QuickKind::Boosted, QuickKind::Logistic] {
            tell(&format!("{name}: {}", kind.name()));
            let skills = skills(&Quick::train(&learnt, kind, config)?.opinion(&cells), &cells.labels);
            let mut figures = vec![("inputs".to_owned(), Some(places.len() as f64))];
            figures.extend(summary(&skills));
            trials.push(Trial {
                kind: "Parts of the inputs".to_owned(),
                name: format!("{name}, {}", kind.name()),
                figures,
                remark: None,
            });
        }
        done.push(places);
    }
    Ok(trials)
}

/// Where an input comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The flow itself.
    Flow,
    /// What kind of service its port stands for.
    PortClass,
    /// Flows before it, by the prefix of its name.
    Context(&'static str),
}

/// Inputs of the context begin with what it is kept for.
const CONTEXTS: [&str; 6] = ["link_", "src_", "dst_", "pair_", "sweep_", "service_"];

fn part(input: &str) -> Part {
    if input.starts_with("port_") {
        return Part::PortClass;
    }
    CONTEXTS.into_iter().find(|prefix| input.starts_with(prefix)).map_or(Part::Flow, Part::Context)
}

/// Runs a model's sequence detectors with shorter windows: what does the sequence add? At one step they see what trees see.
/// Nothing is trained anew.
///
/// # Errors
///
/// As [`judge`].
pub fn shorten_windows(
    table: &Table,
    judged: &[u32],
    manifest: &Manifest,
    voters: &mut [Voter],
    tell: &mut Tell<'_>,
) -> Result<Vec<Trial>, TrainError> {
    let labels: Vec<u8> = judged.iter().map(|row| table.class[*row as usize]).collect();
    let mut trials = Vec::new();
    let full = manifest.window.steps;
    for steps in [full, full / 2, full / 4, 1] {
        let mut short = manifest.clone();
        short.window.steps = steps.max(1);
        short.window.stride = manifest.window.stride.min(short.window.steps);
        if steps == 1 {
            short.window.computed_at_most = 1;
        }
        tell(&format!("windows of {steps} steps"));
        let logits = judge(table, judged, &short, voters, &mut |_, _| {})?;
        for (name, _, logits) in &logits.voters {
            let skills = skills(&Opinion::of_logits(name, logits, manifest.classes.len(), 1.0), &labels);
            let mut figures = vec![("steps".to_owned(), Some(steps as f64))];
            figures.extend(summary(&skills));
            trials.push(Trial {
                kind: "Length of windows, not trained anew".to_owned(),
                name: format!("{name}, {steps} steps"),
                figures,
                remark: None,
            });
        }
    }
    Ok(trials)
}

/// Judges rows anew after something was learnt from the first rows of a network.
pub type Relearn<'a> = dyn FnMut(&[u32], &[u32]) -> Result<Option<Opinion>, TrainError> + 'a;

/// What learning on the spot does to false alarms: for each network without hostile flows, points are set anew on the first
/// `fraction` of its time, and false alarms are counted on the rest, before and after. `relearn` is given the rows of the
/// first part and all rows of the network, and says what a model that has learnt from the first thinks of all; without it
/// the scores stay as they are, and only the points move.
///
/// # Errors
///
/// Those of `relearn`, and if a score is not finite.
pub fn learn_on_the_spot(
    table: &Table,
    rows: &[u32],
    opinion: &Opinion,
    manifest: &Manifest,
    fraction: f64,
    mut relearn: Option<&mut Relearn<'_>>,
) -> Result<Vec<Trial>, TrainError> {
    let Some(before) = opinion.points else { return Ok(Vec::new()) };
    let rates = before.scores().map(|score| manifest.calibration.p_value(score));
    let hostile: BTreeSet<u32> = rows
        .iter()
        .filter(|row| table.hostile[**row as usize])
        .map(|row| table.source.id(*row as usize))
        .collect();
    let mut networks: Vec<u32> = rows.iter().map(|row| table.source.id(*row as usize)).collect();
    networks.sort_unstable_by_key(|network| &table.source.all()[*network as usize]);
    networks.dedup();
    let mut trials = Vec::new();
    for network in networks.into_iter().filter(|network| !hostile.contains(network)) {
        let mut places: Vec<usize> =
            (0..rows.len()).filter(|place| table.source.id(rows[*place] as usize) == network).collect();
        places.sort_by_key(|place| (table.decided_us[rows[*place] as usize], *place));
        let learnt = (places.len() as f64 * fraction).ceil() as usize;
        let (first, rest) = places.split_at(learnt.min(places.len()));
        if first.is_empty() || rest.is_empty() {
            continue;
        }
        let wrong = |error: tapline_score::CalibrationError| TrainError::Data {
            reason: format!("learning from {}: {error}", table.source.all()[network as usize]),
        };
        let share = |opinion: &Opinion, at: &dyn Fn(usize) -> usize, threshold: f32| {
            let called = rest.iter().filter(|place| opinion.scores[at(**place)] >= threshold).count();
            called as f64 / rest.len() as f64
        };
        let same = |place: usize| place;
        let moved =
            Points::at_rates(&opinion.calibrate(first.iter().copied(), "learnt", 0.0).map_err(wrong)?, rates);
        let mut figures = vec![
            ("learnt from".to_owned(), Some(first.len() as f64)),
            ("judged".to_owned(), Some(rest.len() as f64)),
        ];
        for (at, name) in Points::NAMES.into_iter().enumerate().take(2) {
            figures.push((format!("{name} wanted"), Some(rates[at])));
            figures.push(("before".to_owned(), Some(share(opinion, &same, before.scores()[at]))));
            figures.push(("points anew".to_owned(), Some(share(opinion, &same, moved.scores()[at]))));
        }
        if let Some(relearn) = relearn.as_mut() {
            let rows_at =
                |places: &[usize]| -> Vec<u32> { places.iter().map(|place| rows[*place]).collect() };
            let (mut first_rows, mut all_rows) = (rows_at(first), rows_at(&places));
            first_rows.sort_unstable();
            all_rows.sort_unstable();
            let within =
                |place: usize| all_rows.binary_search(&rows[place]).expect("all rows of the network");
            let after = relearn(&first_rows, &all_rows)?;
            for (at, name) in Points::NAMES.into_iter().enumerate().take(2) {
                let Some(after) = &after else { break };
                let threshold = after.points.map(|points| points.scores()[at]);
                let learnt = threshold.map(|threshold| share(after, &within, threshold));
                figures.push((format!("{name} learnt"), learnt));
            }
        }
        trials.push(Trial {
            kind: "Learning on the spot: share of benign flows called hostile".to_owned(),
            name: table.source.all()[network as usize].clone(),
            figures,
            // Of so few the highest score is the point, and others like it come.
            remark: ((first.len() as f64) * rates[0] < 1.0)
                .then(|| "too few flows to learn points from".to_owned()),
        });
    }
    Ok(trials)
}

/// A line about an opinion on flows of these classes.
#[must_use]
pub fn trial(kind: &str, name: &str, opinion: &Opinion, labels: &[u8]) -> Trial {
    let figures = summary(&skills(opinion, labels));
    Trial { kind: kind.to_owned(), name: name.to_owned(), figures, remark: None }
}

/// Figures of scores against labels, groups being classes.
pub(crate) fn skills(opinion: &Opinion, labels: &[u8]) -> Skills {
    let group: Vec<u16> = labels.iter().map(|label| u16::from(*label)).collect();
    Ranked::new(&opinion.scores).skill(&group, CLASSES.len() - 1, None)
}

/// The figures of a trial: all hostile flows, and the mean over their classes.
pub(crate) fn summary(skills: &Skills) -> Vec<(String, Option<f64>)> {
    let of_classes = |at: usize| mean(skills.groups.iter().filter_map(|skill| skill.recall[at]));
    let figures = [
        ("AUC", skills.all.auc),
        ("class AUC", mean(skills.groups.iter().filter_map(|skill| skill.auc))),
        ("recall 1e-2", skills.all.recall[0]),
        ("1e-3", skills.all.recall[1]),
        ("class 1e-2", of_classes(0)),
        ("class 1e-3", of_classes(1)),
    ];
    figures.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_opinions::{manifest, opinion};
    use crate::test_table::{Change, TestRow, write};

    /// Three networks and a night of one. `duration` tells scans, `link_gap` tells beacons, `port_web` tells nothing.
    fn table() -> Table {
        let mut random = crate::Random::new(3);
        let mut rows = Vec::new();
        for site in ["a", "a-night", "b", "c"] {
            for at in 0..600 {
                let class = match at % 6 {
                    0 => "scan",
                    1 => "c2",
                    _ => "benign",
                };
                let shift = |wanted: &str| if class == wanted { 3.0 } else { 0.0 };
                rows.push(TestRow {
                    x: vec![
                        random.normal() as f32 + shift("scan"),
                        random.normal() as f32 + shift("c2"),
                        (random.below(2)) as f32,
                    ],
                    class,
                    behaviour: class,
                    site,
                    run: site,
                    start_us: at * 1_000_000,
                    decided_us: at * 1_000_000,
                    ..TestRow::default()
                });
            }
        }
        Table::read(write(&["duration", "link_gap", "port_web"], &rows, Change::None).path()).unwrap()
    }

    fn config() -> QuickConfig {
        QuickConfig { trees: 20, ..QuickConfig::default() }
    }

    fn figure(trial: &Trial, name: &str) -> f64 {
        trial.figures.iter().find(|(other, _)| other == name).unwrap().1.unwrap()
    }

    #[test]
    fn a_network_goes_with_its_nights() {
        let table = table();
        let rows: Vec<u32> = (0..table.rows() as u32).collect();
        let mut told = Vec::new();
        let trials = leave_one_network_out(&table, &rows, &[0, 1, 2], &config(), &mut |what| {
            told.push(what.to_owned());
        })
        .unwrap();
        let names: Vec<&str> = trials.iter().take(9).map(|trial| trial.name.as_str()).collect();
        assert_eq!(
            names[..4],
            ["testbed/a, trees", "testbed/a, logistic", "testbed/a, one-input", "testbed/b, trees"]
        );
        assert_eq!((trials.len(), told.len()), (18, 9));
        // 200 hostile flows of the day, 200 of the night.
        assert!((figure(&trials[0], "hostile flows") - 400.0).abs() < 1e-9);
        assert!(figure(&trials[0], "AUC") > 0.9);
        assert!(figure(&trials[0], "AUC") > figure(&trials[2], "AUC"), "one input sees one class alone");
        assert!(figure(&trials[9], "scan") > 0.3);
        let benign: Vec<u32> = rows.iter().copied().filter(|row| !table.hostile[*row as usize]).collect();
        assert!(leave_one_network_out(&table, &benign, &[0], &config(), &mut |_| {}).is_err());
        assert!(is_of_network("testbed/a", "testbed/a") && is_of_network("testbed/a", "testbed/a-night"));
        assert!(!is_of_network("testbed/a", "testbed/ab") && !is_of_network("testbed/a-night", "testbed/a"));
    }

    #[test]
    fn parts_of_the_inputs_are_told_apart() {
        assert_eq!(part("duration"), Part::Flow);
        assert_eq!(part("port_web"), Part::PortClass);
        assert_eq!(part("src_ports_60s"), Part::Context("src_"));
        let table = table();
        let (learnt, judged): (Vec<u32>, Vec<u32>) = (0..table.rows() as u32).partition(|row| *row < 1200);
        let trials = leave_inputs_out(&table, &learnt, &judged, &[0, 1, 2], &config(), &mut |_| {}).unwrap();
        let auc = |name: &str| {
            figure(trials.iter().find(|trial| trial.name == format!("{name}, trees")).unwrap(), "AUC")
        };
        assert!(auc("all inputs") > 0.95);
        assert!(auc("flow alone") < 0.85 && auc("context alone") < 0.85);
        assert!((auc("all inputs") - auc("all but class of port")).abs() < 0.03);
        // Without the link the context is empty; without the others nothing is missing.
        assert!(!trials.iter().any(|trial| trial.name.starts_with("all but src")));
    }

    #[test]
    fn points_move_with_what_was_learnt() {
        let table = table();
        let benign: Vec<u32> = (0..table.rows() as u32)
            .filter(|row| !table.hostile[*row as usize] || table.source.name(*row as usize) == "testbed/c")
            .collect();
        // Scores of the first networks are 0 to 399, far above the model's benign ones; those of c do not matter.
        let scores = (0..benign.len()).map(|place| (place % 400) as f32).collect();
        let mut opinion = opinion("ensemble", scores, 1);
        opinion.points = Some(Points { investigate: -11.0, detect: -1.5, block: 0.0 });
        let trials =
            learn_on_the_spot(&table, &benign, &opinion, &manifest(-11.0, -1.5, 6.0), 0.25, None).unwrap();
        let names: Vec<&str> = trials.iter().map(|trial| trial.name.as_str()).collect();
        assert_eq!(names, ["testbed/a", "testbed/a-night", "testbed/b"]);
        assert!((figure(&trials[0], "learnt from") - 100.0).abs() < 1e-9);
        let (_, before) = &trials[0].figures[3];
        let (_, after) = &trials[0].figures[4];
        assert_eq!(*before, Some(1.0));
        // Of 0 to 99 about one in a hundred may reach it, so it is 99: all others do. Traffic had moved.
        assert_eq!(*after, Some(1.0));

        let mut relearn = |first: &[u32], all: &[u32]| {
            assert_eq!((first.len(), all.len()), (100, 400));
            let mut learnt = crate::test_opinions::opinion("ensemble", vec![-9.0; 400], 1);
            learnt.points = Some(Points { investigate: 0.0, detect: 0.0, block: 0.0 });
            Ok(Some(learnt))
        };
        let trials = learn_on_the_spot(
            &table,
            &benign,
            &opinion,
            &manifest(-11.0, -1.5, 6.0),
            0.25,
            Some(&mut relearn),
        )
        .unwrap();
        assert!(figure(&trials[1], "detect learnt").abs() < 1e-9);
    }
}
