//! Whether the traffic still looks like the traffic that the model knows.
//!
//! In: the scaled inputs of every flow and its p-value. Out: a [`DriftReport`], the population stability index of every
//! input against the histogram in the manifest, and of the p-values against those of the calibration's own flows.
//! Memory is fixed when it is made; a flow costs one look into each histogram.
//!
//! The index (PSI) is the sum over bins of `(seen - expected) ln(seen / expected)`: 0 if nothing has changed. The usual
//! reading: below 0.1 stable, to 0.25 moderate, above that shifted (Siddiqi, Credit risk scorecards, 2006).

use serde::Serialize;

use crate::manifest::{Calibration, Inputs};

/// Flows that a report needs to mean anything: of fewer, chance alone moves the index.
pub const FLOWS_MIN: u64 = 500;

/// A share that stands for an empty bin, which would make the index infinite.
const SHARE_MIN: f64 = 1e-4;

const P_BINS: usize = 10;

/// Counts flows by input and bin.
#[derive(Clone, Debug)]
pub struct Drift {
    columns: Vec<Column>,
    /// Edges of all columns, one after the other.
    edges: Vec<f32>,
    /// Of all columns: what is expected in each bin, and what was seen.
    expected: Vec<f64>,
    seen: Vec<u64>,
    flows: u64,
    p_expected: [f64; P_BINS],
    p_seen: [u64; P_BINS],
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    first_edge: usize,
    /// A column has one bin more than edges.
    edges: usize,
    first_bin: usize,
}

/// How far traffic has moved away from what the model knows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DriftReport {
    /// Flows counted.
    pub flows: u64,
    /// Whether they suffice to read anything into the numbers: [`FLOWS_MIN`].
    pub enough: bool,
    /// Inputs, those that moved most first.
    pub inputs: Vec<InputDrift>,
    /// Index of the p-values.
    pub scores_psi: f64,
    /// How to read it.
    pub scores: Reading,
}

/// One input of a [`DriftReport`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InputDrift {
    /// Its name.
    pub name: String,
    /// Population stability index.
    pub psi: f64,
    /// How to read it.
    pub reading: Reading,
}

/// The usual reading of a population stability index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// Below 0.1.
    Stable,
    /// Up to 0.25: keep an eye on it.
    Moderate,
    /// Above: calibrate again, or train again.
    Shifted,
}

impl Drift {
    /// No flows yet, to be compared with the histograms of a manifest.
    #[must_use]
    pub fn new(inputs: &Inputs, calibration: &Calibration) -> Self {
        let mut drift = Self {
            columns: Vec::with_capacity(inputs.columns.len()),
            edges: Vec::new(),
            expected: Vec::new(),
            seen: Vec::new(),
            flows: 0,
            p_expected: [0.0; P_BINS],
            p_seen: [0; P_BINS],
        };
        for column in &inputs.columns {
            drift.columns.push(Column {
                name: column.name.clone(),
                first_edge: drift.edges.len(),
                edges: column.edges.len(),
                first_bin: drift.expected.len(),
            });
            drift.edges.extend(&column.edges);
            drift.expected.extend(column.shares.iter().map(|share| f64::from(*share)));
            drift.expected.resize(drift.edges.len() + drift.columns.len(), 0.0);
        }
        drift.seen = vec![0; drift.expected.len()];
        for (p_value, share) in calibration.p_value_shares() {
            drift.p_expected[p_bin(p_value)] += share;
        }
        drift
    }

    /// Counts a flow: its scaled inputs, as the detectors see them, and its p-value. Nothing is allocated.
    pub fn add(&mut self, scaled: &[f32], p_value: f64) {
        debug_assert_eq!(scaled.len(), self.columns.len(), "a row of this model's inputs");
        self.flows += 1;
        for (column, value) in self.columns.iter().zip(scaled) {
            let edges = &self.edges[column.first_edge..column.first_edge + column.edges];
            self.seen[column.first_bin + bin(edges, *value)] += 1;
        }
        self.p_seen[p_bin(p_value)] += 1;
    }

    /// Flows counted.
    #[must_use]
    pub fn flows(&self) -> u64 {
        self.flows
    }

    /// Forgets what was counted; a new span begins.
    pub fn clear(&mut self) {
        self.flows = 0;
        self.seen.fill(0);
        self.p_seen.fill(0);
    }

    /// What has moved so far, and how far.
    #[must_use]
    pub fn report(&self) -> DriftReport {
        let mut inputs: Vec<InputDrift> = self
            .columns
            .iter()
            .map(|column| {
                let bins = column.first_bin..=column.first_bin + column.edges;
                let psi = psi(&self.expected[bins.clone()], &self.seen[bins]);
                InputDrift { name: column.name.clone(), psi, reading: Reading::of(psi) }
            })
            .collect();
        inputs.sort_by(|a, b| b.psi.total_cmp(&a.psi));
        let scores_psi = psi(&self.p_expected, &self.p_seen);
        DriftReport {
            flows: self.flows,
            enough: self.flows >= FLOWS_MIN,
            inputs,
            scores_psi,
            scores: Reading::of(scores_psi),
        }
    }
}

impl DriftReport {
    /// How many inputs have this reading.
    #[must_use]
    pub fn count(&self, reading: Reading) -> usize {
        self.inputs.iter().filter(|input| input.reading == reading).count()
    }
}

impl Reading {
    /// The reading of an index.
    #[must_use]
    pub fn of(psi: f64) -> Self {
        match psi {
            ..0.1 => Self::Stable,
            ..=0.25 => Self::Moderate,
            _ => Self::Shifted,
        }
    }
}

/// The bin of a value: how many edges are not above it, so that a value on an edge counts above it.
fn bin(edges: &[f32], value: f32) -> usize {
    edges.iter().map(|edge| usize::from(*edge <= value)).sum()
}

/// The tenth that a p-value belongs to, each including its upper end.
fn p_bin(p_value: f64) -> usize {
    ((p_value * P_BINS as f64).ceil() as usize).clamp(1, P_BINS) - 1
}

fn psi(expected: &[f64], seen: &[u64]) -> f64 {
    let total = seen.iter().sum::<u64>();
    if total == 0 {
        return 0.0;
    }
    expected
        .iter()
        .zip(seen)
        .map(|(expected, seen)| {
            let expected = expected.max(SHARE_MIN);
            let seen = (*seen as f64 / total as f64).max(SHARE_MIN);
            (seen - expected) * (seen / expected).ln()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::InputColumn;

    fn inputs(columns: &[(&str, &[f32], &[f32])]) -> Inputs {
        let columns = columns
            .iter()
            .map(|(name, edges, shares)| InputColumn {
                name: (*name).to_owned(),
                center: 0.0,
                scale: 1.0,
                clip: 10.0,
                knots: Vec::new(),
                marks: Vec::new(),
                edges: edges.to_vec(),
                shares: shares.to_vec(),
            })
            .collect();
        Inputs { schema: "inputs-1".to_owned(), schema_hash: String::new(), columns }
    }

    fn calibration(scores: Vec<f32>) -> Calibration {
        Calibration::from_benign_scores(scores, 1.0, "validation", 1.0).unwrap()
    }

    #[test]
    fn what_moved_comes_first() {
        let edges = [-1.0, 0.0, 1.0];
        let quarters = [0.25; 4];
        let inputs =
            inputs(&[("still", &edges, &quarters), ("constant", &[], &[1.0]), ("moved", &edges, &quarters)]);
        let calibration = calibration((0..1_000).map(|score| score as f32).collect());
        let mut drift = Drift::new(&inputs, &calibration);
        for flow in 0..1_000_u16 {
            let even = f32::from(flow % 4) - 1.5;
            drift.add(&[even, 3.0, even.max(-0.5)], calibration.p_value(f32::from(flow)));
        }
        let report = drift.report();
        assert!(report.enough && report.flows == 1_000);
        let names: Vec<&str> = report.inputs.iter().map(|input| input.name.as_str()).collect();
        assert_eq!(names[0], "moved");
        // (0.0001 - 0.25) ln(0.0001 / 0.25) + (0.5 - 0.25) ln(0.5 / 0.25)
        assert!((report.inputs[0].psi - 2.128_6).abs() < 1e-3, "{}", report.inputs[0].psi);
        assert_eq!(report.inputs[0].reading, Reading::Shifted);
        assert!(report.inputs[1].psi.abs() < 1e-12 && report.inputs[2].psi.abs() < 1e-12);
        assert_eq!((report.count(Reading::Stable), report.count(Reading::Shifted)), (2, 1));
        assert_eq!(report.scores, Reading::Stable);
        drift.clear();
        assert_eq!((drift.report().flows, drift.report().enough), (0, false));
    }

    #[test]
    fn scores_that_rise_are_told() {
        let calibration = calibration((0..10_000).map(|score| score as f32 / 1_000.0).collect());
        let mut drift = Drift::new(&inputs(&[]), &calibration);
        for flow in 0..600_u16 {
            drift.add(&[], calibration.p_value(f32::from(flow) / 60.0 + 3.0));
        }
        assert_eq!(drift.report().scores, Reading::Shifted);
    }

    #[test]
    fn equal_scores_are_no_drift() {
        // Trees give most benign flows the same score; their p-values are anything but uniform.
        let scores: Vec<f32> = (0..10_000_u16).map(|flow| f32::from(flow.saturating_sub(7_000))).collect();
        let calibration = calibration(scores.clone());
        let mut drift = Drift::new(&inputs(&[]), &calibration);
        for score in scores.iter().step_by(7) {
            drift.add(&[], calibration.p_value(*score));
        }
        let report = drift.report();
        assert!(report.scores_psi < 0.02, "{}", report.scores_psi);
    }

    #[test]
    fn a_value_on_an_edge_counts_above_it() {
        assert_eq!([-0.1, 0.0, 0.5, 1.0, 9.0].map(|value| bin(&[0.0, 1.0], value)), [0, 1, 1, 2, 2]);
        assert_eq!(bin(&[], 3.0), 0);
    }

    #[test]
    fn p_values_fall_into_tenths() {
        assert_eq!([0.0, 1e-9, 0.1, 0.100_01, 0.95, 1.0, f64::NAN].map(p_bin), [0, 0, 0, 1, 9, 9, 0]);
    }
}
