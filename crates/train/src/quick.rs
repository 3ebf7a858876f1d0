//! Small detectors, trained in seconds on any labelled rows: for trials that need many trainings.
//!
//! In: rows of a table, or of somebody else's ([`Cells`]). Out: [`Quick`], which gives logits. These are the trees, the
//! regression and the threshold of [`boosting`](crate::boosting), [`forest`](crate::forest), [`logistic`](crate::logistic)
//! and [`one_input`](crate::one_input) with settings that trade a little skill for a lot of time; what a trial compares is
//! made alike.

use std::collections::BTreeMap;

use tapline_score::logistic::Logistic;
use tapline_score::one_input::OneInput;
use tapline_score::trees::Trees;

use crate::boosting::{BoostConfig, SpeaksFor, train_boosted};
use crate::forest::{ForestConfig, train_forest};
use crate::logistic::{LogisticConfig, train_logistic};
use crate::one_input::train_one_input;
use crate::opinion::Opinion;
use crate::{Random, Rows, RowsError, Table, TrainError};

/// Labelled rows of numbers.
#[derive(Clone, Debug, Default)]
pub struct Cells {
    /// Inputs of a row.
    pub width: usize,
    /// Classes; class 0 is benign.
    pub classes: usize,
    /// `[rows, width]`, row-major, finite.
    pub inputs: Vec<f32>,
    /// Class of each row.
    pub labels: Vec<u8>,
    /// Weight of each row.
    pub weights: Vec<f32>,
}

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuickKind {
    /// Gradient-boosted trees.
    Boosted,
    /// A random forest.
    Forest,
    /// Multinomial logistic regression.
    Logistic,
    /// One input, one threshold.
    OneInput,
}

impl QuickKind {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boosted => "trees",
            Self::Forest => "forest",
            Self::Logistic => "logistic",
            Self::OneInput => "one-input",
        }
    }
}

/// How trials are trained.
#[derive(Clone, Copy, Debug)]
pub struct QuickConfig {
    /// Rows to learn from at most: hostile ones get half of them, what is over is left out at random.
    pub rows: usize,
    /// Rounds of boosting, trees of a forest.
    pub trees: usize,
    /// Of the draws.
    pub seed: u64,
    /// Threads. What is learnt does not depend on it.
    pub threads: usize,
}

impl Default for QuickConfig {
    fn default() -> Self {
        Self { rows: 60_000, trees: 60, seed: 1, threads: 1 }
    }
}

/// A trained detector.
#[derive(Debug)]
pub struct Quick {
    kind: QuickKind,
    classes: usize,
    model: Model,
}

#[derive(Debug)]
enum Model {
    Trees(Box<Trees>),
    /// With what is taken from each input, and what it is divided by.
    Logistic(Box<Logistic>, Vec<(f32, f32)>),
    OneInput(OneInput),
}

impl Cells {
    /// The inputs at `places` of rows of a table. A row weighs the less the more rows its network has of its behaviour
    /// (one over the square root), benign rows as much as hostile ones together.
    #[must_use]
    pub fn of(table: &Table, rows: &[u32], places: &[usize], classes: usize) -> Self {
        let mut cells = Self { width: places.len(), classes, ..Self::default() };
        let mut groups: BTreeMap<(u8, u32, u32), usize> = BTreeMap::new();
        let group = |row: usize| (table.class[row], table.source.id(row), table.behaviour.id(row));
        for row in rows {
            *groups.entry(group(*row as usize)).or_default() += 1;
        }
        let mut sums = [0.0; 2];
        for ((class, ..), rows) in &groups {
            sums[usize::from(*class > 0)] += (*rows as f64).sqrt();
        }
        for row in rows {
            let row = *row as usize;
            let all = table.row(row);
            cells.inputs.extend(places.iter().map(|place| all[*place]));
            cells.labels.push(table.class[row]);
            let weight = 0.5 / ((groups[&group(row)] as f64).sqrt() * sums[usize::from(table.hostile[row])]);
            cells.weights.push((weight * rows.len() as f64) as f32);
        }
        cells
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// One row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.inputs[row * self.width..(row + 1) * self.width]
    }

    /// Adds a row of weight 1.
    pub fn push(&mut self, inputs: &[f32], label: u8) {
        debug_assert_eq!(inputs.len(), self.width);
        self.inputs.extend_from_slice(inputs);
        self.labels.push(label);
        self.weights.push(1.0);
    }

    /// The rows at `places`.
    #[must_use]
    pub fn only(&self, places: &[usize]) -> Self {
        let mut only = Self { width: self.width, classes: self.classes, ..Self::default() };
        for place in places {
            only.inputs.extend_from_slice(self.row(*place));
            only.labels.push(self.labels[*place]);
            only.weights.push(self.weights[*place]);
        }
        only
    }

    /// At most `most` of the rows, half of them hostile if there are so many; rows that stay weigh for those that go.
    #[must_use]
    pub fn thinned(&self, most: usize, seed: u64) -> Self {
        if self.rows() <= most {
            return self.clone();
        }
        let mut random = Random::stream(seed, "quick rows", 0);
        let (mut benign, mut hostile): (Vec<usize>, Vec<usize>) =
            (0..self.rows()).partition(|row| self.labels[*row] == 0);
        let of_hostile = hostile.len().min(most / 2).max(most.saturating_sub(benign.len()));
        let of_benign = benign.len().min(most - of_hostile);
        let mut kept = Vec::with_capacity(most);
        let mut factors = [1.0, 1.0];
        for (kind, (rows, count)) in
            [(&mut benign, of_benign), (&mut hostile, of_hostile)].into_iter().enumerate()
        {
            factors[kind] = rows.len() as f32 / count.max(1) as f32;
            random.choose(rows, count);
            kept.extend_from_slice(&rows[..count]);
        }
        kept.sort_unstable();
        let mut thin = self.only(&kept);
        for (weight, label) in thin.weights.iter_mut().zip(&thin.labels) {
            *weight *= factors[usize::from(*label > 0)];
        }
        thin
    }
}

impl Quick {
    /// Trains.
    ///
    /// # Errors
    ///
    /// If the rows cannot be learnt from: of one class only, or with numbers that are not finite.
    pub fn train(cells: &Cells, kind: QuickKind, config: &QuickConfig) -> Result<Self, TrainError> {
        let thin = cells.thinned(config.rows, config.seed);
        let wrong =
            |error: RowsError| TrainError::Data { reason: format!("training {}: {error}", kind.name()) };
        let rows = |inputs| {
            Rows::new(cells.width, cells.classes, inputs, &thin.labels, &thin.weights).map_err(wrong)
        };
        let (seed, threads) = (config.seed, config.threads);
        let model = match kind {
            QuickKind::Boosted => {
                let config = BoostConfig {
                    rounds: config.trees,
                    rate: 0.1,
                    leaves: 15,
                    depth: 5,
                    row_share: 0.8,
                    column_share: 0.5,
                    speaks_for: SpeaksFor::AllClasses,
                    seed,
                    threads,
                    ..BoostConfig::default()
                };
                let boosted =
                    train_boosted(&rows(&thin.inputs)?, None, &config, &mut |_, _| {}).map_err(wrong)?;
                Model::Trees(Box::new(boosted.trees))
            }
            QuickKind::Forest => {
                let config = ForestConfig { trees: config.trees, seed, threads, ..ForestConfig::default() };
                Model::Trees(Box::new(train_forest(&rows(&thin.inputs)?, &config).map_err(wrong)?))
            }
            QuickKind::Logistic => {
                let scales = scales(&thin);
                let config = LogisticConfig { iterations: 40, threads, ..LogisticConfig::default() };
                let inputs = scaled(&thin.inputs, &scales);
                Model::Logistic(Box::new(train_logistic(&rows(&inputs)?, &config).map_err(wrong)?), scales)
            }
            QuickKind::OneInput => {
                Model::OneInput(train_one_input(&rows(&thin.inputs)?, threads).map_err(wrong)?.detector)
            }
        };
        Ok(Self { kind, classes: cells.classes, model })
    }

    /// `[rows, classes]` logits of `[rows, width]` inputs.
    #[must_use]
    pub fn logits(&self, inputs: &[f32]) -> Vec<f32> {
        let mut logits = Vec::new();
        match &self.model {
            Model::Trees(trees) => trees.append_logits(inputs, &mut logits),
            Model::Logistic(logistic, scales) => {
                logistic.append_logits(&scaled(inputs, scales), &mut logits);
            }
            Model::OneInput(one) => one.append_logits(inputs, &mut logits),
        }
        logits
    }

    /// What it says about rows.
    #[must_use]
    pub fn opinion(&self, cells: &Cells) -> Opinion {
        Opinion::of_logits(self.kind.name(), &self.logits(&cells.inputs), self.classes, 1.0)
    }

    /// The input that a single threshold looks at; `None` of others.
    #[must_use]
    pub const fn input(&self) -> Option<usize> {
        match &self.model {
            Model::OneInput(one) => Some(one.input),
            _ => None,
        }
    }
}

/// Mean and standard deviation of each input, by weight.
fn scales(cells: &Cells) -> Vec<(f32, f32)> {
    let mut sums = vec![(0.0f64, 0.0f64); cells.width];
    let mut total = 0.0;
    for row in 0..cells.rows() {
        let weight = f64::from(cells.weights[row]);
        total += weight;
        for ((sum, squares), value) in sums.iter_mut().zip(cells.row(row)) {
            *sum += weight * f64::from(*value);
            *squares += weight * f64::from(*value) * f64::from(*value);
        }
    }
    let scale = |(sum, squares): (f64, f64)| {
        let mean = sum / total;
        let deviation = (squares / total - mean * mean).max(0.0).sqrt();
        (mean as f32, if deviation > 1e-6 { deviation as f32 } else { 1.0 })
    };
    sums.into_iter().map(scale).collect()
}

fn scaled(inputs: &[f32], scales: &[(f32, f32)]) -> Vec<f32> {
    let mut scaled = inputs.to_vec();
    for row in scaled.chunks_exact_mut(scales.len()) {
        for (value, (mean, deviation)) in row.iter_mut().zip(scales) {
            *value = ((*value - mean) / deviation).clamp(-CLIP, CLIP);
        }
    }
    scaled
}

/// Bound of an input of the regression, in standard deviations.
const CLIP: f32 = 8.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// Class 1 lies above 1 in the first input, class 2 above 1 in the second.
    fn cells(rows: usize) -> Cells {
        let mut random = Random::new(4);
        let mut cells = Cells { width: 2, classes: 3, ..Cells::default() };
        for at in 0..rows {
            let label = (at % 3) as u8;
            let noise = (random.uniform() as f32, random.uniform() as f32);
            let above = |class: u8| if label == class { 1.0 } else { 0.0 };
            cells.push(&[noise.0 + above(1), noise.1 + above(2)], label);
        }
        cells
    }

    #[test]
    fn every_kind_learns_what_is_there() {
        let (learnt, judged) = (cells(3000), cells(300));
        for kind in [QuickKind::Boosted, QuickKind::Forest, QuickKind::Logistic] {
            let quick =
                Quick::train(&learnt, kind, &QuickConfig { trees: 20, ..QuickConfig::default() }).unwrap();
            let opinion = quick.opinion(&judged);
            let right =
                opinion.likeliest.iter().zip(&judged.labels).filter(|(called, label)| called == label);
            assert!(right.count() > 285, "{kind:?}");
            assert_eq!(quick.input(), None);
        }
        let one = Quick::train(&learnt, QuickKind::OneInput, &QuickConfig::default()).unwrap();
        assert!(one.input().is_some());
        let one_class = learnt.only(&[0, 3, 6]);
        let error =
            Quick::train(&one_class, QuickKind::Forest, &QuickConfig::default()).unwrap_err().to_string();
        assert!(error.starts_with("training forest: "), "{error}");
    }

    #[test]
    fn rows_that_stay_weigh_for_those_that_go() {
        let mut cells = cells(900);
        for at in 0..900 {
            // 60 hostile rows among 840 benign ones.
            cells.labels[at] = u8::from(at % 15 == 0);
        }
        let thin = cells.thinned(200, 1);
        let hostile = thin.labels.iter().filter(|label| **label > 0).count();
        assert_eq!((thin.rows(), hostile), (200, 60));
        let weight = |hostile: bool| -> f32 {
            let of = thin.weights.iter().zip(&thin.labels).filter(|(_, label)| (**label > 0) == hostile);
            of.map(|(weight, _)| weight).sum()
        };
        assert!((weight(true) - 60.0).abs() < 1e-2 && (weight(false) - 840.0).abs() < 1e-2);
        assert_eq!(cells.thinned(900, 1).rows(), 900);
    }
}
