//! Multinomial logistic regression, trained to the minimum of a convex loss.
//!
//! In: rows, scaled by the caller. Out: [`Logistic`] ready to run. The loss is the weighted mean cross-entropy plus a
//! penalty on the squares of the weights (not of the biases); L-BFGS finds its minimum. Rows are summed in groups of a
//! fixed size, in order, so that the result does not depend on the number of threads.
//!
//! Source: Liu, Nocedal, On the limited memory BFGS method for large scale optimization, 1989.

use std::collections::VecDeque;

use tapline_score::Logistic;

use crate::rows::{Rows, RowsError};

/// Settings of [`train_logistic`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogisticConfig {
    /// Half the penalty on the square of each weight, where the loss is a mean over rows.
    pub l2: f64,
    /// How far classes are evened out, on top of the rows' weights: 0 not at all, 1 so that all weigh the same.
    pub class_balance: f64,
    /// Iterations at most.
    pub iterations: usize,
    /// It ends when no derivative of the loss is larger.
    pub tolerance: f64,
    /// Threads. The weights do not depend on it.
    pub threads: usize,
}

impl Default for LogisticConfig {
    fn default() -> Self {
        Self { l2: 1e-4, class_balance: 0.5, iterations: 200, tolerance: 1e-4, threads: 1 }
    }
}

/// Trains a logistic regression.
///
/// # Errors
///
/// If a setting is out of range, or only one class weighs anything.
pub fn train_logistic(rows: &Rows<'_>, config: &LogisticConfig) -> Result<Logistic, RowsError> {
    config.check()?;
    rows.expect_two_classes()?;
    // As few numbers per input as will do, known to the compiler.
    let (weight, bias) = match rows.classes() {
        ..=4 => fit::<4>(rows, config),
        5..=8 => fit::<8>(rows, config),
        _ => fit::<16>(rows, config),
    };
    Ok(Logistic::new(rows.width(), &weight, bias).expect("a penalised minimum is finite"))
}

impl LogisticConfig {
    fn check(&self) -> Result<(), RowsError> {
        for (name, right, reason) in [
            ("l2", self.l2 > 0.0 && self.l2.is_finite(), "above 0"),
            ("class_balance", (0.0..=1.0).contains(&self.class_balance), "0 to 1"),
            ("iterations", (1..=10_000).contains(&self.iterations), "1 to 10,000"),
            ("tolerance", self.tolerance > 0.0, "above 0"),
            ("threads", (1..=256).contains(&self.threads), "1 to 256"),
        ] {
            if !right {
                return Err(RowsError::Setting { name, reason });
            }
        }
        Ok(())
    }
}

fn fit<const C: usize>(rows: &Rows<'_>, config: &LogisticConfig) -> (Vec<f32>, Vec<f32>) {
    let (width, classes) = (rows.width(), rows.classes());
    let loss = Loss::<C>::new(rows, config);
    let parameters = minimise(vec![0.0; (width + 1) * C], config, |parameters| loss.at(parameters));
    let (inputs, _) = parameters.as_chunks::<C>();
    let weight =
        (0..classes).flat_map(|class| inputs[..width].iter().map(move |of| of[class] as f32)).collect();
    (weight, inputs[width][..classes].iter().map(|bias| *bias as f32).collect())
}

/// The loss as a function of `[width + 1, C]` parameters: for each input its weights for all classes, and last the biases.
struct Loss<'a, const C: usize> {
    rows: &'a Rows<'a>,
    l2: f64,
    threads: usize,
    /// What a row of each class weighs beside its own weight; all rows together weigh 1.
    class_factors: Vec<f64>,
}

impl<'a, const C: usize> Loss<'a, C> {
    fn new(rows: &'a Rows<'a>, config: &LogisticConfig) -> Self {
        let by_class = rows.class_weights();
        let mut class_factors: Vec<f64> = by_class
            .iter()
            .map(|weight| if *weight > 0.0 { weight.powf(-config.class_balance) } else { 0.0 })
            .collect();
        let sum: f64 = by_class.iter().zip(&class_factors).map(|(weight, factor)| weight * factor).sum();
        class_factors.iter_mut().for_each(|factor| *factor /= sum);
        Self { rows, l2: config.l2, threads: config.threads, class_factors }
    }

    /// The loss and its derivatives.
    fn at(&self, parameters: &[f64]) -> (f64, Vec<f64>) {
        let width = self.rows.width();
        let (of_inputs, _) = parameters.as_chunks::<C>();
        let weights: Vec<[f32; C]> = of_inputs.iter().map(|of| of.map(|weight| weight as f32)).collect();
        let groups = self.rows.count().div_ceil(GROUP);
        let mut sums: Vec<(f64, Vec<f64>)> = vec![(0.0, Vec::new()); groups];
        let share = groups.div_ceil(self.threads);
        std::thread::scope(|scope| {
            for (part, sums) in sums.chunks_mut(share).enumerate() {
                let weights = &weights;
                scope.spawn(move || {
                    for (at, sum) in sums.iter_mut().enumerate() {
                        *sum = self.of_group(part * share + at, weights);
                    }
                });
            }
        });

        let mut loss = 0.0;
        let mut gradient = vec![0.0; parameters.len()];
        for (of_group, by_parameter) in sums {
            loss += of_group;
            gradient.iter_mut().zip(by_parameter).for_each(|(sum, part)| *sum += part);
        }
        for (slope, weight) in gradient.iter_mut().zip(parameters).take(width * C) {
            loss += 0.5 * self.l2 * weight * weight;
            *slope += self.l2 * weight;
        }
        (loss, gradient)
    }

    fn of_group(&self, group: usize, weights: &[[f32; C]]) -> (f64, Vec<f64>) {
        let (width, classes) = (self.rows.width(), self.rows.classes());
        let first = group * GROUP;
        let end = (first + GROUP).min(self.rows.count());
        let mut loss = 0.0;
        let mut gradient = vec![0.0f64; (width + 1) * C];
        let mut part = vec![[0.0f32; C]; width + 1];
        for first in (first..end).step_by(SMALL_GROUP) {
            for row in first..(first + SMALL_GROUP).min(end) {
                let inputs = &self.rows.inputs()[row * width..(row + 1) * width];
                let mut slopes = weights[width];
                for (input, weights) in inputs.iter().zip(weights) {
                    for (logit, weight) in slopes.iter_mut().zip(weights) {
                        *logit += weight * input;
                    }
                }
                let label = usize::from(self.rows.labels()[row]);
                let weight = f64::from(self.rows.weights()[row]) * self.class_factors[label];
                let most = slopes[..classes].iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let truth = slopes[label] - most;
                let mut sum = 0.0;
                for slope in &mut slopes[..classes] {
                    *slope = (*slope - most).exp();
                    sum += *slope;
                }
                loss += weight * (f64::from(sum).ln() - f64::from(truth));
                for slope in &mut slopes[..classes] {
                    *slope *= weight as f32 / sum;
                }
                slopes[label] -= weight as f32;
                slopes[classes..].fill(0.0);
                for (input, part) in inputs.iter().chain(&[1.0]).zip(&mut part) {
                    for (part, slope) in part.iter_mut().zip(&slopes) {
                        *part += slope * input;
                    }
                }
            }
            // Single precision would lose the small differences in long sums.
            let (by_input, _) = gradient.as_chunks_mut::<C>();
            for (sums, part) in by_input.iter_mut().zip(&mut part) {
                sums.iter_mut()
                    .zip(std::mem::replace(part, [0.0; C]))
                    .for_each(|(sum, part)| *sum += f64::from(part));
            }
        }
        (loss, gradient)
    }
}

/// The minimum of a convex function that gives its value and derivatives, by L-BFGS with steps halved until they gain.
fn minimise(
    start: Vec<f64>,
    config: &LogisticConfig,
    function: impl Fn(&[f64]) -> (f64, Vec<f64>),
) -> Vec<f64> {
    let mut at = start;
    let (mut value, mut gradient) = function(&at);
    let mut memory: VecDeque<Pair> = VecDeque::with_capacity(REMEMBERED);
    for _ in 0..config.iterations {
        if gradient.iter().all(|slope| slope.abs() <= config.tolerance) {
            break;
        }
        let direction = downhill(&gradient, &memory);
        let slope = dot(&gradient, &direction);
        // Without memory the direction has the length of the gradient, which says nothing about the distance.
        let mut step = if memory.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt() } else { 1.0 };
        let mut next = None;
        for _ in 0..HALVINGS {
            let there: Vec<f64> =
                at.iter().zip(&direction).map(|(at, direction)| at + step * direction).collect();
            let (value_there, gradient_there) = function(&there);
            if value_there <= value + 1e-4 * step * slope {
                next = Some((there, value_there, gradient_there));
                break;
            }
            step *= 0.5;
        }
        // No step gains: this is as near as the precision of the sums allows.
        let Some((there, value_there, gradient_there)) = next else { break };
        let moved: Vec<f64> = there.iter().zip(&at).map(|(there, at)| there - at).collect();
        let changed: Vec<f64> =
            gradient_there.iter().zip(&gradient).map(|(there, here)| there - here).collect();
        let product = dot(&moved, &changed);
        if product > 1e-12 * dot(&changed, &changed).sqrt() * dot(&moved, &moved).sqrt() {
            if memory.len() == REMEMBERED {
                memory.pop_front();
            }
            memory.push_back(Pair { moved, changed, product });
        }
        (at, value, gradient) = (there, value_there, gradient_there);
    }
    at
}

/// A step and how the gradient changed over it.
struct Pair {
    moved: Vec<f64>,
    changed: Vec<f64>,
    product: f64,
}

/// Minus the gradient, times an estimate of the inverse second derivative (the two-loop recursion).
fn downhill(gradient: &[f64], memory: &VecDeque<Pair>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|slope| -slope).collect();
    let mut factors = [0.0; REMEMBERED];
    for (pair, factor) in memory.iter().zip(&mut factors).rev() {
        *factor = dot(&pair.moved, &direction) / pair.product;
        add_scaled(&mut direction, -*factor, &pair.changed);
    }
    if let Some(last) = memory.back() {
        let scale = last.product / dot(&last.changed, &last.changed);
        direction.iter_mut().for_each(|slope| *slope *= scale);
    }
    for (pair, factor) in memory.iter().zip(&factors) {
        let back = dot(&pair.changed, &direction) / pair.product;
        add_scaled(&mut direction, factor - back, &pair.moved);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add_scaled(to: &mut [f64], factor: f64, numbers: &[f64]) {
    to.iter_mut().zip(numbers).for_each(|(to, number)| *to += factor * number);
}

/// Rows that are summed together, whatever the number of threads.
const GROUP: usize = 16_384;

/// Rows that are summed in single precision.
const SMALL_GROUP: usize = 256;

/// Steps whose changes of the gradient are remembered.
const REMEMBERED: usize = 10;

/// Times that a step is halved at most.
const HALVINGS: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    /// Three classes by the largest of three noisy sums, of 4 inputs.
    fn made(count: usize, seed: u64) -> (Vec<f32>, Vec<u8>) {
        let mut random = Random::new(seed);
        let inputs: Vec<f32> = (0..4 * count).map(|_| random.normal() as f32).collect();
        let labels = inputs
            .chunks(4)
            .map(|row| {
                let sums = [0.0, 2.0 * row[0] - row[2], row[1] + row[2]];
                let gumbel = sums.map(|sum| f64::from(sum) - (-(1.0 - random.uniform()).ln()).ln());
                (0..3u8).max_by(|a, b| gumbel[usize::from(*a)].total_cmp(&gumbel[usize::from(*b)])).unwrap()
            })
            .collect();
        (inputs, labels)
    }

    #[test]
    fn the_weights_that_made_the_labels_are_found() {
        let (inputs, labels) = made(60_000, 1);
        let rows = Rows::new(4, 3, &inputs, &labels, &[0.1; 60_000]).unwrap();
        let config =
            LogisticConfig { class_balance: 0.0, l2: 1e-6, tolerance: 1e-5, ..LogisticConfig::default() };
        let logistic = train_logistic(&rows, &config).unwrap();
        // Only differences to the first class matter.
        let weight = logistic.weight();
        let expected = [[2.0, 0.0, -1.0, 0.0], [0.0, 1.0, 1.0, 0.0]];
        for (class, expected) in expected.iter().enumerate() {
            for (input, expected) in expected.iter().enumerate() {
                let found = weight[(class + 1) * 4 + input] - weight[input];
                assert!((found - expected).abs() < 0.06, "class {class}, input {input}: {found}");
            }
            let bias = logistic.bias()[class + 1] - logistic.bias()[0];
            assert!(bias.abs() < 0.05, "{bias}");
        }
        let two = train_logistic(&rows, &LogisticConfig { threads: 2, ..config }).unwrap();
        assert_eq!(logistic, two);
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let (inputs, labels) = made(300, 2);
        let weights: Vec<f32> = (0..300).map(|row| (row % 7) as f32).collect();
        let rows = Rows::new(4, 3, &inputs, &labels, &weights).unwrap();
        let loss = Loss::<4>::new(&rows, &LogisticConfig { l2: 0.1, ..LogisticConfig::default() });
        let mut random = Random::new(3);
        let at: Vec<f64> = (0..20).map(|place| if place % 4 == 3 { 0.0 } else { random.normal() }).collect();
        let (_, gradient) = loss.at(&at);
        for place in 0..20 {
            let near = |by: f64| {
                let mut near = at.clone();
                near[place] += by;
                loss.at(&near).0
            };
            let slope = (near(1e-2) - near(-1e-2)) / 2e-2;
            assert!((slope - gradient[place]).abs() < 1e-3, "{place}: {slope} {}", gradient[place]);
        }
    }

    #[test]
    fn balance_moves_the_border() {
        // 950 of one kind, 50 of the other, no way to tell them apart: only the weights of the classes speak.
        let labels: Vec<u8> = (0..1_000).map(|row| u8::from(row % 20 == 0)).collect();
        let rows = Rows::new(1, 2, &[1.0; 1_000], &labels, &[1.0; 1_000]).unwrap();
        for (class_balance, expected) in [(0.0, 19.0f32.ln()), (0.5, 19.0f32.ln() / 2.0), (1.0, 0.0)] {
            let config = LogisticConfig { class_balance, tolerance: 1e-7, ..LogisticConfig::default() };
            let mut logits = Vec::new();
            train_logistic(&rows, &config).unwrap().append_logits(&[1.0], &mut logits);
            assert!((logits[0] - logits[1] - expected).abs() < 1e-2, "{logits:?} {expected}");
        }
    }

    #[test]
    fn what_cannot_be_learnt_is_refused() {
        let rows = Rows::new(1, 2, &[1.0; 3], &[1; 3], &[1.0; 3]).unwrap();
        assert_eq!(train_logistic(&rows, &LogisticConfig::default()).unwrap_err(), RowsError::OneClass);
        let config = LogisticConfig { l2: 0.0, ..LogisticConfig::default() };
        assert!(matches!(train_logistic(&rows, &config), Err(RowsError::Setting { name: "l2", .. })));
    }
}
