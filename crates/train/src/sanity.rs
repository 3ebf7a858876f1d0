//! Checks that what was learnt is what should be: nothing from noise, not all from one input, nothing from who or where.
//!
//! In: a table, rows to learn from, rows to judge, the inputs that a model reads. Out: [`Trial`]s with remarks, and whether a
//! check failed. Pitfalls after Arp et al., Dos and don'ts of machine learning in computer security, 2022.

use std::collections::BTreeSet;

use crate::evaluation::{Trial, mean};
use crate::metrics::Ranked;
use crate::quick::{Cells, Quick, QuickConfig, QuickKind};
use crate::trials::{Tell, skills};
use crate::{CLASSES, Random, Table, TrainError};

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Sanity {
    /// Lines for the report.
    pub trials: Vec<Trial>,
    /// What must not be, in words.
    pub warnings: Vec<String>,
}

/// All checks. The input that is best alone is looked for over `judged`, with directions from `learnt`.
///
/// # Errors
///
/// If the rows cannot be learnt from.
pub fn check(
    table: &Table,
    learnt: &[u32],
    judged: &[u32],
    places: &[usize],
    config: &QuickConfig,
    tell: &mut Tell<'_>,
) -> Result<Sanity, TrainError> {
    let mut sanity = Sanity::default();
    let cells = Cells::of(table, learnt, places, CLASSES.len());
    let judged = Cells::of(table, judged, places, CLASSES.len());
    let names: Vec<&str> = places.iter().map(|place| table.inputs[*place].as_str()).collect();
    shuffled(&cells, &judged, config, &mut sanity, tell)?;
    tell("each input alone");
    alone(&cells, &judged, &names, &mut sanity);
    shortcuts(&judged, &names, &mut sanity);
    Ok(sanity)
}

/// Shuffles that are tried; the mean counts. One alone may be lucky: what is learnt from noise is some direction, and flows
/// of one kind lie on one side of it.
const SHUFFLES: u64 = 10;

/// How far from one half the mean may lie: this, or three standard errors of it.
const SHUFFLED_WITHIN: f64 = 0.03;

/// An input that parts as well as this by itself makes everything else look good.
const ALONE_AT_MOST: f64 = 0.95;

/// Inputs shown.
const ALONE_SHOWN: usize = 5;

fn shuffled(
    cells: &Cells,
    judged: &Cells,
    config: &QuickConfig,
    sanity: &mut Sanity,
    tell: &mut Tell<'_>,
) -> Result<(), TrainError> {
    for kind in [QuickKind::Forest, QuickKind::Logistic] {
        let mut areas = Vec::new();
        for number in 0..SHUFFLES {
            tell(&format!("shuffled labels: {}, {} of {SHUFFLES}", kind.name(), number + 1));
            let mut noise = cells.thinned(SHUFFLED_ROWS, config.seed + number);
            Random::stream(config.seed, "shuffled labels", number).shuffle(&mut noise.labels);
            let hostile = noise.labels.iter().filter(|label| **label > 0).count().max(1) as f32;
            let benign = noise.rows() as f32 - hostile;
            for (weight, label) in noise.weights.iter_mut().zip(&noise.labels) {
                *weight = if *label > 0 {
                    noise.labels.len() as f32 / hostile
                } else {
                    noise.labels.len() as f32 / benign
                };
            }
            let config = QuickConfig { trees: config.trees.min(40), seed: config.seed + number, ..*config };
            areas.extend(
                skills(&Quick::train(&noise, kind, &config)?.opinion(judged), &judged.labels).all.auc,
            );
        }
        let Some(area) = mean(areas.iter().copied()) else { continue };
        let spread = mean(areas.iter().map(|other| (other - area).powi(2))).map_or(0.0, f64::sqrt);
        let error = spread / (SHUFFLES as f64 - 1.0).sqrt();
        let fine = (area - 0.5).abs() <= SHUFFLED_WITHIN.max(3.0 * error);
        let remark = if fine {
            "nothing is learnt from noise, as it must be"
        } else {
            "something is learnt from noise"
        };
        if !fine {
            sanity.warnings.push(format!(
                "trained on shuffled labels, {} still tells hostile from benign: AUC {area:.3}",
                kind.name()
            ));
        }
        sanity.trials.push(Trial {
            kind: "Sanity: shuffled labels".to_owned(),
            name: kind.name().to_owned(),
            figures: vec![("AUC".to_owned(), Some(area)), ("spread of shuffles".to_owned(), Some(spread))],
            remark: Some(remark.to_owned()),
        });
    }
    Ok(())
}

/// Rows to learn noise from: enough to overfit.
const SHUFFLED_ROWS: usize = 20_000;

fn alone(learnt: &Cells, judged: &Cells, names: &[&str], sanity: &mut Sanity) {
    let column = |cells: &Cells, input: usize| -> Vec<f32> {
        cells.inputs.iter().skip(input).step_by(cells.width).copied().collect()
    };
    let group = |cells: &Cells| -> Vec<u16> { cells.labels.iter().map(|label| u16::from(*label)).collect() };
    let (learnt_group, judged_group) = (group(learnt), group(judged));
    // Of each input the area over all hostile flows, then over each class; the direction is that of the training rows.
    let areas: Vec<Vec<Option<f64>>> = (0..names.len())
        .map(|input| {
            let learnt = Ranked::new(&column(learnt, input)).skill(&learnt_group, CLASSES.len() - 1, None);
            let judged = Ranked::new(&column(judged, input)).skill(&judged_group, CLASSES.len() - 1, None);
            let learnt = std::iter::once(&learnt.all).chain(&learnt.groups);
            let judged = std::iter::once(&judged.all).chain(&judged.groups);
            let oriented = learnt.zip(judged).map(|(learnt, judged)| {
                let upwards = learnt.auc.is_none_or(|area| area >= 0.5);
                judged.auc.map(|area| if upwards { area } else { 1.0 - area })
            });
            oriented.collect()
        })
        .collect();
    let best = |of: usize| -> Vec<(usize, f64)> {
        let mut found: Vec<(usize, f64)> =
            areas.iter().enumerate().filter_map(|(input, areas)| Some((input, areas[of]?))).collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1));
        found
    };
    for (input, area) in best(0).into_iter().take(ALONE_SHOWN) {
        let much = area > ALONE_AT_MOST;
        if much {
            sanity.warnings.push(format!(
                "input {} alone tells hostile from benign with an AUC of {area:.3}: what is hostile is too easy here",
                names[input]
            ));
        }
        sanity.trials.push(Trial {
            kind: "Sanity: one input alone, all hostile flows".to_owned(),
            name: names[input].to_owned(),
            figures: vec![("AUC".to_owned(), Some(area))],
            remark: much.then(|| "too good to be true".to_owned()),
        });
    }
    for (class, name) in CLASSES.iter().enumerate().skip(1) {
        if let Some((input, area)) = best(class).first() {
            sanity.trials.push(Trial {
                kind: "Sanity: the best input alone, by class".to_owned(),
                name: (*name).to_owned(),
                figures: vec![("AUC".to_owned(), Some(*area))],
                remark: Some(names[*input].to_owned()),
            });
        }
    }
}

/// Parts of names that tell who or where instead of what: addresses, exact ports, the host's software, absolute time.
const SHORTCUTS: [&str; 16] = [
    "ip",
    "addr",
    "address",
    "mac",
    "vlan",
    "ttl",
    "hop",
    "window",
    "mss",
    "seq",
    "timestamp",
    "hour",
    "weekday",
    "id",
    "host",
    "sport",
];

fn shortcuts(judged: &Cells, names: &[&str], sanity: &mut Sanity) {
    let mut found = Vec::new();
    for (input, name) in names.iter().enumerate() {
        let parts: Vec<&str> = name.split('_').collect();
        let named = parts.iter().any(|part| SHORTCUTS.contains(part));
        // A class of ports is a flag; anything else about one port is the port.
        let port = parts.contains(&"port");
        let values = || judged.inputs.iter().skip(input).step_by(judged.width);
        let is_flag = || values().map(|value| value.to_bits()).collect::<BTreeSet<u32>>().len() <= 2;
        if named || port && !is_flag() {
            found.push(*name);
        }
    }
    let remark = if found.is_empty() {
        "no addresses, exact ports, software or clock among the inputs".to_owned()
    } else {
        format!("tells who or where: {}", found.join(", "))
    };
    if !found.is_empty() {
        sanity.warnings.push(format!("inputs that tell who or where, not what: {}", found.join(", ")));
    }
    sanity.trials.push(Trial {
        kind: "Sanity: shortcuts".to_owned(),
        name: "inputs".to_owned(),
        figures: vec![
            ("read".to_owned(), Some(names.len() as f64)),
            ("suspicious".to_owned(), Some(found.len() as f64)),
        ],
        remark: Some(remark),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_table::{Change, TestRow, write};

    fn table(names: &[&str], strength: f32) -> Table {
        let mut random = Random::new(9);
        let rows: Vec<TestRow> = (0..3000)
            .map(|at| {
                let class = if at % 4 == 0 { "scan" } else { "benign" };
                let hostile = f32::from(u8::from(class == "scan"));
                let x = (0..names.len()).map(|input| {
                    let noise = random.normal() as f32;
                    if input == 0 { noise + strength * hostile } else { noise }
                });
                TestRow { x: x.collect(), class, site: ["a", "b"][at % 2], ..TestRow::default() }
            })
            .collect();
        Table::read(write(names, &rows, Change::None).path()).unwrap()
    }

    fn check_all(table: &Table) -> Sanity {
        let (learnt, judged): (Vec<u32>, Vec<u32>) = (0..3000).partition(|row| *row < 1500);
        let places: Vec<usize> = (0..table.width()).collect();
        let config = QuickConfig { trees: 20, ..QuickConfig::default() };
        check(table, &learnt, &judged, &places, &config, &mut |_| {}).unwrap()
    }

    #[test]
    fn an_honest_table_passes() {
        let sanity = check_all(&table(&["src_dsts_60s", "duration", "iat_mean"], 1.5));
        assert_eq!(sanity.warnings, Vec::<String>::new());
        let of = |kind: &str| sanity.trials.iter().find(|trial| trial.kind.contains(kind)).unwrap();
        let shuffled = of("shuffled labels");
        assert!((shuffled.figures[0].1.unwrap() - 0.5).abs() < 0.2, "{shuffled:?}");
        let alone = of("one input alone");
        assert_eq!(alone.name, "src_dsts_60s");
        assert!((0.8..0.9).contains(&alone.figures[0].1.unwrap()));
        assert_eq!(of("by class").remark.as_deref(), Some("src_dsts_60s"));
    }

    #[test]
    fn what_is_too_easy_and_shortcuts_are_told() {
        let sanity = check_all(&table(&["dst_port", "fwd_ttl", "src_ports_60s"], 5.0));
        assert_eq!(sanity.warnings.len(), 2, "{:?}", sanity.warnings);
        assert!(sanity.warnings[0].contains("dst_port alone"));
        assert!(sanity.warnings[1].ends_with("dst_port, fwd_ttl"), "{}", sanity.warnings[1]);
    }
}
