//! Losses over sequences: every step of a window has its own label and its own weight.
//!
//! Shapes: logits `[windows, steps, classes]`; targets, step weights `[windows, steps]`. Padding and history have step
//! weight 0. Each loss is a weighted mean: it does not grow with the size of the batch or the share of padding.

use candle_core::{D, Result, Tensor};
use serde::{Deserialize, Serialize};

/// How wrong the classes are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassLoss {
    /// Weighted cross entropy.
    CrossEntropy,
    /// Focal loss (Lin et al. 2017): what is right already counts less, by `(1 - p)^gamma`.
    Focal,
}

/// Settings of the loss over classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassLossSpec {
    /// Which.
    pub kind: ClassLoss,
    /// Of the focal loss; 2 in the paper.
    pub gamma: f64,
    /// Share of the target that is spread over all classes.
    pub label_smoothing: f64,
}

/// Weights of classes, `N / (C n_i)` bounded by `most`, where `counts` are their steps; a class without steps gets 0.
///
/// With N steps and C classes that occur, the mean weight of a step is 1 but for the bound.
#[must_use]
pub fn class_weights(counts: &[f64], most: f64) -> Vec<f32> {
    let all: f64 = counts.iter().sum();
    let classes = counts.iter().filter(|count| **count > 0.0).count() as f64;
    let weight = |count: &f64| if *count > 0.0 { (all / (classes * count)).min(most) } else { 0.0 };
    counts.iter().map(|count| weight(count) as f32).collect()
}

/// The loss over classes: the mean over steps, weighted by step and class.
///
/// `class_weights` is `[classes]`. With label smoothing `e` a step's loss is `(1 - e) nll(target) + e mean(nll)`.
///
/// # Errors
///
/// Shapes do not fit, or the device failed.
pub fn class_loss(
    logits: &Tensor,
    targets: &Tensor,
    step_weights: &Tensor,
    class_weights: &Tensor,
    spec: &ClassLossSpec,
) -> Result<Tensor> {
    let classes = logits.dim(D::Minus1)?;
    let targets = targets.flatten_all()?;
    let log_p = candle_nn::ops::log_softmax(&logits.reshape(((), classes))?, D::Minus1)?;
    let log_p_target = log_p.gather(&targets.unsqueeze(1)?, 1)?.squeeze(1)?;
    let weights = (step_weights.flatten_all()? * class_weights.index_select(&targets, 0)?)?;
    let mut loss = log_p_target.neg()?;
    if spec.label_smoothing > 0.0 {
        let spread = log_p.mean(1)?.neg()?;
        loss = ((loss * (1.0 - spec.label_smoothing))? + (spread * spec.label_smoothing)?)?;
    }
    if spec.kind == ClassLoss::Focal {
        // 1 - p is 0 where the network is certain; the root of a gamma below 1 would have no gradient there.
        let wrong = (1.0 - log_p_target.exp()?)?.clamp(1e-6, 1.0)?;
        loss = (loss * wrong.powf(spec.gamma)?)?;
    }
    weighted_mean(&loss, &weights)
}

/// The auxiliary loss: mean squared error of the reconstruction of the inputs, over the steps of weight above 0.
///
/// `reconstruction` and `inputs` are `[windows, steps, width]`. Benign steps alone are to be learnt by heart, so hostile
/// ones have weight 0.
///
/// # Errors
///
/// Shapes do not fit, or the device failed.
pub fn reconstruction_loss(
    reconstruction: &Tensor,
    inputs: &Tensor,
    step_weights: &Tensor,
) -> Result<Tensor> {
    let error = (reconstruction - inputs)?.sqr()?.mean(D::Minus1)?;
    weighted_mean(&error.flatten_all()?, &step_weights.flatten_all()?)
}

/// Without any weight: 0.
fn weighted_mean(values: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let all = (weights.sum_all()? + f64::from(f32::MIN_POSITIVE))?;
    (values * weights)?.sum_all()? / all
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    const CPU: &Device = &Device::Cpu;

    fn close(loss: &Tensor, expect: f64) {
        let loss = f64::from(loss.to_scalar::<f32>().unwrap());
        assert!((loss - expect).abs() < 1e-5, "{loss} is not {expect}");
    }

    /// Softmax of these: [2/3, 1/3], [1/2, 1/2], [1/4, 3/4], and one of padding.
    fn logits() -> Var {
        let ln2 = 2.0_f32.ln();
        Var::new(&[[[ln2, 0.0], [1.0, 1.0]], [[50.0, -50.0], [0.0, 3.0_f32.ln()]]], CPU).unwrap()
    }

    fn steps() -> (Tensor, Tensor, Tensor) {
        let targets = Tensor::new(&[[0_u32, 1], [1, 0]], CPU).unwrap();
        let step_weights = Tensor::new(&[[1.0_f32, 1.0], [0.0, 0.5]], CPU).unwrap();
        let class_weights = Tensor::new(&[1.0_f32, 3.0], CPU).unwrap();
        (targets, step_weights, class_weights)
    }

    fn loss(kind: ClassLoss, gamma: f64, label_smoothing: f64) -> (Var, Tensor) {
        let logits = logits();
        let (targets, steps, classes) = steps();
        let spec = ClassLossSpec { kind, gamma, label_smoothing };
        let loss = class_loss(logits.as_tensor(), &targets, &steps, &classes, &spec).unwrap();
        (logits, loss)
    }

    #[test]
    fn cross_entropy_is_that_by_hand() {
        // Weights 1, 3, 0, 0.5; losses ln 3/2, ln 2, -, ln 4.
        let expect = (1.5_f64.ln() + 3.0 * 2.0_f64.ln() + 0.5 * 4.0_f64.ln()) / 4.5;
        close(&loss(ClassLoss::CrossEntropy, 0.0, 0.0).1, expect);
    }

    #[test]
    fn smoothing_is_that_by_hand() {
        // Mean of both: (ln 3/2 + ln 3) / 2, ln 2, (ln 4 + ln 4/3) / 2.
        let mean =
            [(1.5_f64.ln() + 3.0_f64.ln()) / 2.0, 2.0_f64.ln(), (4.0_f64.ln() + (4.0_f64 / 3.0).ln()) / 2.0];
        let plain = [1.5_f64.ln(), 2.0_f64.ln(), 4.0_f64.ln()];
        let weights = [1.0, 3.0, 0.5];
        let expect: f64 =
            (0..3).map(|at| weights[at] * (0.9 * plain[at] + 0.1 * mean[at])).sum::<f64>() / 4.5;
        close(&loss(ClassLoss::CrossEntropy, 0.0, 0.1).1, expect);
    }

    #[test]
    fn focal_loss_is_that_by_hand() {
        // Factors (1/3)^2, (1/2)^2, (3/4)^2.
        let expect = (1.5_f64.ln() / 9.0 + 3.0 * 2.0_f64.ln() / 4.0 + 0.5 * 4.0_f64.ln() * 9.0 / 16.0) / 4.5;
        close(&loss(ClassLoss::Focal, 2.0, 0.0).1, expect);
        // Without gamma it is cross entropy.
        let plain = loss(ClassLoss::CrossEntropy, 0.0, 0.0).1.to_scalar::<f32>().unwrap();
        close(&loss(ClassLoss::Focal, 0.0, 0.0).1, f64::from(plain));
    }

    #[test]
    fn padding_has_no_gradient() {
        for kind in [ClassLoss::CrossEntropy, ClassLoss::Focal] {
            let (logits, loss) = loss(kind, 2.0, 0.1);
            let grads = loss.backward().unwrap();
            let grad = grads.get(&logits).unwrap().to_vec3::<f32>().unwrap();
            assert_eq!(grad[1][0], [0.0, 0.0]);
            assert!(grad[0][0][0] < 0.0 && grad[0][0][1] > 0.0 && grad[1][1][0] < 0.0);
        }
        // Cross entropy: weight (p - y) / sum of weights.
        let (logits, loss) = loss(ClassLoss::CrossEntropy, 0.0, 0.0);
        let grads = loss.backward().unwrap();
        let grad = grads.get(&logits).unwrap().to_vec3::<f32>().unwrap();
        assert!((grad[0][0][0] - (2.0 / 3.0 - 1.0) / 4.5).abs() < 1e-6);
        assert!((grad[0][1][1] - 3.0 * (0.5 - 1.0) / 4.5).abs() < 1e-6);
    }

    #[test]
    fn nothing_to_judge_is_no_loss() {
        let (targets, _, classes) = steps();
        let none = Tensor::zeros((2, 2), candle_core::DType::F32, CPU).unwrap();
        let spec = ClassLossSpec { kind: ClassLoss::CrossEntropy, gamma: 0.0, label_smoothing: 0.0 };
        close(&class_loss(logits().as_tensor(), &targets, &none, &classes, &spec).unwrap(), 0.0);
    }

    #[test]
    fn reconstruction_is_the_mean_over_steps_and_inputs() {
        let inputs = Tensor::new(&[[[1.0_f32, 2.0], [9.0, 9.0], [0.0, 0.0]]], CPU).unwrap();
        let guess = Tensor::new(&[[[1.0_f32, 0.0], [0.0, 0.0], [1.0, 1.0]]], CPU).unwrap();
        let weights = Tensor::new(&[[1.0_f32, 0.0, 0.5]], CPU).unwrap();
        // Step errors 2, -, 1: (1 * 2 + 0.5 * 1) / 1.5.
        close(&reconstruction_loss(&guess, &inputs, &weights).unwrap(), 2.5 / 1.5);
    }

    #[test]
    fn rare_classes_weigh_more_but_not_without_bound() {
        assert_eq!(class_weights(&[90.0, 10.0, 0.0], 20.0), [100.0 / 180.0, 5.0, 0.0]);
        assert_eq!(class_weights(&[999.0, 1.0], 20.0)[1], 20.0);
    }
}
