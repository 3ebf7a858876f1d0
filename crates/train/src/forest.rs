//! A random forest: trees that each see other rows, and at each split other columns; their class shares are averaged.
//!
//! In: rows. Out: [`Trees`] ready to run. A tree learns from a share of the rows drawn without replacement (63 % of them,
//! as many as a bootstrap sample has different rows). Threads share the trees; each tree has its own stream of random
//! numbers, so that the forest does not depend on the number of threads.
//!
//! Source: Breiman, Random forests, 2001; splits by Gini impurity.

use tapline_score::Trees;
use tapline_score::trees::{TreeArrays, TreeMethod};

use crate::Random;
use crate::bins::{Binned, MOST_BINS};
use crate::growth::{Candidates, Grower, Limits, Node, Objective, append};
use crate::rows::{Rows, RowsError};

/// Settings of [`train_forest`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForestConfig {
    /// Trees.
    pub trees: usize,
    /// Leaves of a tree at most.
    pub leaves: usize,
    /// Splits from root to leaf at most.
    pub depth: u32,
    /// Weight of a leaf's rows at least, where a row weighs 1 on average.
    pub leaf_weight: f64,
    /// Columns that a split may look at; 0: the square root of all.
    pub columns: usize,
    /// Share of the rows that a tree learns from.
    pub row_share: f64,
    /// Bins of a column, at most 64.
    pub bins: usize,
    /// Of the draws.
    pub seed: u64,
    /// Threads. The forest does not depend on it.
    pub threads: usize,
}

impl Default for ForestConfig {
    fn default() -> Self {
        Self {
            trees: 100,
            leaves: 256,
            depth: 12,
            leaf_weight: 10.0,
            columns: 0,
            row_share: 0.632,
            bins: MOST_BINS,
            seed: 1,
            threads: 1,
        }
    }
}

/// Trains a random forest.
///
/// # Errors
///
/// If a setting is out of range, or only one class weighs anything.
pub fn train_forest(rows: &Rows<'_>, config: &ForestConfig) -> Result<Trees, RowsError> {
    config.check(rows.width())?;
    rows.expect_two_classes()?;
    let arrays = match rows.classes() + 1 {
        ..=4 => grow::<4>(rows, config),
        5..=8 => grow::<8>(rows, config),
        9..=12 => grow::<12>(rows, config),
        _ => grow::<16>(rows, config),
    };
    Ok(Trees::new(arrays).expect("grown trees lead down to leaves"))
}

impl ForestConfig {
    fn check(&self, width: usize) -> Result<(), RowsError> {
        for (name, right, reason) in [
            ("trees", (1..=10_000).contains(&self.trees), "1 to 10,000"),
            ("leaves", (2..=32_768).contains(&self.leaves), "2 to 32,768"),
            ("depth", (1..=32).contains(&self.depth), "1 to 32"),
            ("leaf_weight", self.leaf_weight > 0.0 && self.leaf_weight.is_finite(), "above 0"),
            ("columns", self.columns <= width, "no more than there are"),
            ("row_share", self.row_share > 0.0 && self.row_share <= 1.0, "above 0, at most 1"),
            ("bins", (2..=MOST_BINS).contains(&self.bins), "2 to 64"),
            ("threads", (1..=256).contains(&self.threads), "1 to 256"),
        ] {
            if !right {
                return Err(RowsError::Setting { name, reason });
            }
        }
        Ok(())
    }
}

fn grow<const L: usize>(rows: &Rows<'_>, config: &ForestConfig) -> TreeArrays {
    let (classes, count) = (rows.classes(), rows.count());
    let binned = Binned::new(rows, None, config.bins, config.threads);
    let mean = (rows.class_weights().iter().sum::<f64>() / count as f64) as f32;
    // Shares of the classes and the weight: the gain of a least-squares step is then that of the Gini impurity.
    let numbers: Vec<[f32; L]> = (rows.labels().iter().zip(rows.weights()))
        .map(|(label, weight)| {
            let mut numbers = [0.0; L];
            numbers[usize::from(*label)] = weight / mean;
            numbers[classes] = weight / mean;
            numbers
        })
        .collect();
    let objective = Objective { outputs: classes, shares_curvature: true, l2: 0.0, most_step: f64::INFINITY };
    let limits =
        Limits { leaves: config.leaves, depth: config.depth, leaf_weight: config.leaf_weight, gain: 0.0 };
    let columns = if config.columns == 0 { rows.width().isqrt().max(1) } else { config.columns };

    let mut trees: Vec<Vec<Node<L>>> = vec![Vec::new(); config.trees];
    let share = config.trees.div_ceil(config.threads);
    std::thread::scope(|scope| {
        for (part, trees) in trees.chunks_mut(share).enumerate() {
            let (binned, numbers) = (&binned, &numbers);
            scope.spawn(move || {
                let mut grower = Grower::<L>::new(binned, objective, limits, 1);
                for (at, tree) in trees.iter_mut().enumerate() {
                    let mut random = Random::stream(config.seed, "forest", (part * share + at) as u64);
                    let inside: Vec<u32> =
                        (0..count as u32).filter(|_| random.chance(config.row_share)).collect();
                    let candidates = Candidates::Node(columns, random);
                    *tree = grower.grow(inside.into_iter(), std::iter::empty(), numbers, candidates);
                }
            });
        }
    });

    let mut arrays = TreeArrays {
        method: TreeMethod::Forest,
        width: rows.width(),
        classes,
        root: Vec::new(),
        feature: Vec::new(),
        threshold: Vec::new(),
        left: Vec::new(),
        value: Vec::new(),
        class: Vec::new(),
        base: Vec::new(),
    };
    for tree in &trees {
        append(&mut arrays, &binned, tree, |sums, values| {
            values.extend((0..classes).map(|class| objective.step(sums, class).clamp(0.0, 1.0) as f32));
        });
    }
    arrays
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three classes by two of six inputs, one label in ten wrong.
    fn made(count: usize, seed: u64) -> (Vec<f32>, Vec<u8>) {
        let mut random = Random::new(seed);
        let inputs: Vec<f32> = (0..6 * count).map(|_| random.uniform() as f32).collect();
        let labels = inputs
            .chunks(6)
            .map(|row| {
                let class = if row[1] < 0.4 { 0 } else { 1 + u8::from(row[4] > 0.6) };
                if random.chance(0.1) { random.below(3) as u8 } else { class }
            })
            .collect();
        (inputs, labels)
    }

    fn shares(trees: &Trees, inputs: &[f32]) -> Vec<[f32; 3]> {
        let mut logits = Vec::new();
        trees.append_logits(inputs, &mut logits);
        logits.chunks(3).map(|logits| [logits[0].exp(), logits[1].exp(), logits[2].exp()]).collect()
    }

    #[test]
    fn three_classes_are_learnt_whatever_the_threads() {
        let (inputs, labels) = made(5_000, 1);
        let rows = Rows::new(6, 3, &inputs, &labels, &[1.0; 5_000]).unwrap();
        let config = ForestConfig { trees: 31, ..ForestConfig::default() };
        let forest = train_forest(&rows, &config).unwrap();
        for threads in [2, 3] {
            let again = train_forest(&rows, &ForestConfig { threads, ..config }).unwrap();
            assert_eq!(forest.arrays(), again.arrays());
        }
        let other = train_forest(&rows, &ForestConfig { seed: 2, ..config }).unwrap();
        assert_ne!(forest.arrays(), other.arrays());

        let (inputs, labels) = made(2_000, 2);
        let shares = shares(&forest, &inputs);
        let right = shares
            .iter()
            .zip(&labels)
            .filter(|(shares, label)| (0..3).all(|class| shares[class] <= shares[usize::from(**label)]));
        let right = right.count();
        assert!(right > 1_780, "{right} of 2,000");
        assert!(shares.iter().all(|shares| (shares.iter().sum::<f32>() - 1.0).abs() < 1e-3));
    }

    #[test]
    fn weights_are_respected() {
        let (inputs, labels) = made(5_000, 3);
        let weights: Vec<f32> = labels.iter().map(|label| [1.0, 1.0, 50.0][usize::from(*label)]).collect();
        let heavy = Rows::new(6, 3, &inputs, &labels, &weights).unwrap();
        let alike = Rows::new(6, 3, &inputs, &labels, &[1.0; 5_000]).unwrap();
        let mean = |rows: &Rows<'_>| {
            let forest = train_forest(rows, &ForestConfig::default()).unwrap();
            shares(&forest, &inputs).iter().map(|shares| shares[2]).sum::<f32>() / 5_000.0
        };
        // One row in thirty is wrongly of class 2, so that it weighs most even where another class rules.
        let (heavy, alike) = (mean(&heavy), mean(&alike));
        assert!(heavy > 0.55 && alike < 0.35, "{heavy} {alike}");
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let rows = Rows::new(1, 2, &[1.0, 2.0], &[0, 1], &[1.0; 2]).unwrap();
        for config in [
            ForestConfig { columns: 2, ..ForestConfig::default() },
            ForestConfig { trees: 0, ..ForestConfig::default() },
        ] {
            assert!(matches!(train_forest(&rows, &config), Err(RowsError::Setting { .. })));
        }
        let one = Rows::new(1, 2, &[1.0, 2.0], &[1, 1], &[1.0; 2]).unwrap();
        assert_eq!(train_forest(&one, &ForestConfig::default()).unwrap_err(), RowsError::OneClass);
    }
}
