//! The single input and threshold that part benign from hostile best: what everything else must beat.
//!
//! In: rows. Out: [`OneInput`] ready to run, and its balanced accuracy on these rows. Every threshold of every input is
//! tried, in both directions.

use tapline_score::OneInput;

use crate::rows::{Rows, RowsError};

/// What came of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct OneInputFit {
    /// The detector.
    pub detector: OneInput,
    /// Mean of the weighted shares of hostile and of benign rows on the right side, 0.5 to 1.
    pub balanced_accuracy: f64,
}

/// Finds the input and the threshold of the best balanced accuracy; among equals the first input, then the lowest
/// threshold.
///
/// # Errors
///
/// If benign or hostile rows weigh nothing.
pub fn train_one_input(rows: &Rows<'_>, threads: usize) -> Result<OneInputFit, RowsError> {
    let by_class = rows.class_weights();
    let benign = by_class[0];
    let hostile: f64 = by_class[1..].iter().sum();
    if benign <= 0.0 || hostile <= 0.0 {
        return Err(RowsError::OneClass);
    }
    let share = rows.width().div_ceil(threads.max(1));
    let mut best = vec![Cut::default(); rows.width()];
    std::thread::scope(|scope| {
        for (part, best) in best.chunks_mut(share).enumerate() {
            scope.spawn(move || {
                for (at, best) in best.iter_mut().enumerate() {
                    *best = best_cut(rows, part * share + at, [benign, hostile]);
                }
            });
        }
    });
    let (mut input, mut cut) = (0, best[0]);
    for (at, other) in best.into_iter().enumerate() {
        if other.gain.abs() > cut.gain.abs() {
            (input, cut) = (at, other);
        }
    }
    let mut bias = vec![0.0];
    bias.extend(by_class[1..].iter().map(|weight| (weight / hostile).max(LEAST_SHARE).ln() as f32));
    let slope = if cut.gain < 0.0 { -1.0 } else { 1.0 };
    let detector = OneInput { width: rows.width(), input, threshold: cut.threshold, slope, bias };
    Ok(OneInputFit { detector, balanced_accuracy: 0.5 + cut.gain.abs() / 2.0 })
}

#[derive(Clone, Copy, Debug, Default)]
struct Cut {
    threshold: f32,
    /// Share of the hostile above the threshold less that of the benign: Youden's index, negative if hostile lies below.
    gain: f64,
}

fn best_cut(rows: &Rows<'_>, input: usize, [benign, hostile]: [f64; 2]) -> Cut {
    let shares = rows.labels().iter().zip(rows.weights()).map(|(label, weight)| {
        if *label == 0 { -f64::from(*weight) / benign } else { f64::from(*weight) / hostile }
    });
    let mut sorted: Vec<(f32, f64)> = rows.column(input).zip(shares).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut best = Cut::default();
    let mut below = 0.0;
    for pair in sorted.windows(2) {
        let [(value, share), (next, _)] = [pair[0], pair[1]];
        below += share;
        // Both kinds sum up to 1, so what is not above is below.
        if next > value && (-below).abs() > best.gain.abs() {
            let middle = ((f64::from(value) + f64::from(next)) / 2.0) as f32;
            best = Cut { threshold: if middle < next { middle } else { value }, gain: -below };
        }
    }
    best
}

/// Classes without rows get this share, so that their logits are finite.
const LEAST_SHARE: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "midways of small whole numbers are exact")]
    fn the_best_of_all_cuts_is_found() {
        // Input 1 parts three of four hostile from all benign, hostile below; input 0 is worse.
        let inputs = [1.0, 5.0, 2.0, 6.0, 3.0, 7.0, 4.0, 8.0, 1.0, 1.0, 2.0, 2.0, 6.0, 3.0, 7.0, 7.5];
        let labels = [0, 0, 0, 0, 2, 1, 2, 2];
        let rows = Rows::new(2, 3, &inputs, &labels, &[0.5; 8]).unwrap();
        let fit = train_one_input(&rows, 2).unwrap();
        assert_eq!((fit.detector.input, fit.detector.threshold, fit.detector.slope), (1, 4.0, -1.0));
        assert_eq!(fit.balanced_accuracy, 0.875);
        let shares: Vec<f32> = fit.detector.bias[1..].iter().map(|bias| bias.exp()).collect();
        assert!((shares[0] - 0.25).abs() < 1e-6 && (shares[1] - 0.75).abs() < 1e-6);
        assert_eq!(train_one_input(&rows, 1).unwrap(), fit);
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "midways of small whole numbers are exact")]
    fn weights_decide() {
        let inputs = [1.0, 2.0, 3.0, 4.0];
        let labels = [0, 1, 0, 1];
        let cut = |weights: &[f32; 4]| {
            let rows = Rows::new(1, 2, &inputs, &labels, weights).unwrap();
            train_one_input(&rows, 1).unwrap().detector.threshold
        };
        assert_eq!(cut(&[9.0, 1.0, 1.0, 1.0]), 1.5);
        assert_eq!(cut(&[1.0, 1.0, 1.0, 9.0]), 3.5);
    }

    #[test]
    fn one_kind_is_refused() {
        let rows = Rows::new(1, 3, &[1.0, 2.0], &[1, 2], &[1.0; 2]).unwrap();
        assert_eq!(train_one_input(&rows, 1).unwrap_err(), RowsError::OneClass);
    }
}
