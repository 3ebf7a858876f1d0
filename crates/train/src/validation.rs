//! The figure by which epochs are compared, over rows that were not trained on.
//!
//! In: score and labels of every judged row. Out: [`Validation`]. The criterion is the mean over hostile classes of the
//! recall at a false positive rate of one in a hundred, plus the area under the ROC curve: the first says what the tail
//! is worth, the second still moves when the tail does not. A class's recall is the mean over its behaviours, so that the
//! one with the most flows does not speak for all. Exact and deterministic.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::CLASSES;
use crate::metrics::{FALSE_ALARM_RATES, Ranked};

/// A judged row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// Log-odds of being hostile.
    pub score: f32,
    /// Its class, 0 is benign.
    pub class: u8,
    /// Number of its behaviour.
    pub behaviour: u32,
}

/// How well scores part hostile from benign.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// `macro_recall + auc`.
    pub criterion: f64,
    /// Mean of `recall`.
    pub macro_recall: f64,
    /// Area under the ROC curve, a tie counted as half.
    pub auc: f64,
    /// Recall of each hostile class that occurs, by name, where one benign row in a hundred is called hostile.
    pub recall: BTreeMap<String, f64>,
    /// Benign rows.
    pub benign_rows: u64,
    /// Hostile rows.
    pub hostile_rows: u64,
}

impl Validation {
    /// Measures. Without rows of both kinds everything is 0. A score that is no number counts as the lowest of a hostile
    /// row and the highest of a benign one.
    #[must_use]
    pub fn of(rows: &[Judged]) -> Self {
        let score = |row: &Judged| match (row.score.is_nan(), row.class) {
            (false, _) => row.score,
            (true, 0) => f32::INFINITY,
            (true, _) => f32::NEG_INFINITY,
        };
        let scores: Vec<f32> = rows.iter().map(score).collect();
        let mut numbers: BTreeMap<(u8, u32), u16> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.class != 0) {
            numbers.insert((row.class, row.behaviour), 0);
        }
        for (number, group) in (1..).zip(numbers.values_mut()) {
            *group = number;
        }
        let groups: Vec<u16> =
            rows.iter().map(|row| numbers.get(&(row.class, row.behaviour)).copied().unwrap_or(0)).collect();
        let skills = Ranked::new(&scores).skill(&groups, numbers.len(), None);
        let mut recalls: BTreeMap<u8, Vec<f64>> = BTreeMap::new();
        for ((class, _), skill) in numbers.keys().zip(&skills.groups) {
            recalls.entry(*class).or_default().extend(skill.recall[AT]);
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let recall: BTreeMap<String, f64> = recalls
            .iter()
            .map(|(class, recalls)| (CLASSES[usize::from(*class)].to_owned(), mean(recalls)))
            .collect();
        let macro_recall = recall.values().sum::<f64>() / recall.len().max(1) as f64;
        let auc = skills.all.auc.unwrap_or(0.0);
        Self {
            criterion: macro_recall + auc,
            macro_recall,
            auc,
            recall,
            benign_rows: skills.benign,
            hostile_rows: skills.all.flows,
        }
    }
}

/// The place of one in a hundred among [`FALSE_ALARM_RATES`].
const AT: usize = 0;

const _: () = assert!(FALSE_ALARM_RATES[AT] == 1e-2);

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;

    fn row(score: f32, class: u8, behaviour: u32) -> Judged {
        Judged { score, class, behaviour }
    }

    #[test]
    fn figures_are_those_by_hand() {
        // 100 benign rows score 0 to 99: one may reach the threshold. 99 is reached by one, 98.5 too, 98 by two.
        let mut rows: Vec<Judged> = (0..100).map(|score| row(score as f32, 0, 0)).collect();
        // scan: behaviour 1 found in 1 of 2, behaviour 2 in 1 of 1: mean 0.75. c2: 0 of 1.
        rows.extend([row(98.5, 1, 1), row(10.5, 1, 1), row(200.0, 1, 2), row(49.0, 5, 3)]);
        let validation = Validation::of(&rows);
        assert_eq!(validation.recall["scan"], 0.75);
        assert_eq!(validation.recall["c2"], 0.0);
        assert_eq!(validation.macro_recall, 0.375);
        // Of 100 benign rows 99, 11, 100 and 49.5 are below.
        assert!((validation.auc - (99.0 + 11.0 + 100.0 + 49.5) / 400.0).abs() < 1e-12);
        assert_eq!(validation.criterion, validation.auc + validation.macro_recall);
        assert_eq!((validation.benign_rows, validation.hostile_rows), (100, 4));
    }

    #[test]
    fn ties_do_not_pass() {
        // Every benign row scores what the attack scores: nothing can be found at that rate.
        let mut rows: Vec<Judged> = (0..100).map(|_| row(1.0, 0, 0)).collect();
        rows.push(row(1.0, 3, 0));
        let validation = Validation::of(&rows);
        assert_eq!((validation.macro_recall, validation.auc), (0.0, 0.5));
    }

    #[test]
    fn one_kind_alone_is_no_measure() {
        assert_eq!(Validation::of(&[row(1.0, 2, 0)]).criterion, 0.0);
        assert_eq!(Validation::of(&[]).auc, 0.0);
    }

    #[test]
    fn no_number_is_the_worst_score() {
        let rows = [row(f32::NAN, 2, 0), row(0.0, 0, 0), row(f32::NAN, 0, 0), row(1.0, 2, 0)];
        let validation = Validation::of(&rows);
        assert!((validation.auc - 0.25).abs() < 1e-12);
    }
}
