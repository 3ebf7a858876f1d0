//! What one detector says about flows: a score each, and the classes it would name.
//!
//! In: logits per flow, a temperature. Out: [`Opinion`], on which everything in [`evaluation`](crate::evaluation) is
//! measured; detectors and their ensemble are measured alike.

use tapline_score::calibration::{self, CalibrationError};
use tapline_score::manifest::Calibration;

/// A detector's word on a list of flows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opinion {
    /// The detector: `bilstm-attn`, `trees`, `ensemble`.
    pub name: String,
    /// Log-odds of being hostile, per flow.
    pub scores: Vec<f32>,
    /// The likeliest class of each flow; 0 is benign.
    pub likeliest: Vec<u8>,
    /// The likeliest hostile class of each flow: what it is called if its score suffices.
    pub hostile_class: Vec<u8>,
    /// When the detector speaks; `None` if nothing was set aside to find out.
    pub points: Option<Points>,
}

/// Scores from which a flow is evidence, raises an incident, might be blocked. They were chosen on other flows than those
/// that are judged.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Points {
    /// Evidence.
    pub investigate: f32,
    /// Reason for an incident.
    pub detect: f32,
    /// Reason to block.
    pub block: f32,
}

impl Points {
    /// Names of the points, in order.
    pub const NAMES: [&'static str; 3] = ["investigate", "detect", "block"];

    /// The scores, in the order of [`Points::NAMES`].
    #[must_use]
    pub const fn scores(&self) -> [f32; 3] {
        [self.investigate, self.detect, self.block]
    }

    /// The scores that at most `rates` of the calibration's benign flows reach.
    #[must_use]
    pub fn at_rates(calibration: &Calibration, rates: [f64; 3]) -> Self {
        let [investigate, detect, block] = rates.map(|rate| calibration.score_at_rate(rate));
        Self { investigate, detect, block }
    }
}

impl Opinion {
    /// Of `[flows, classes]` logits, row-major.
    #[must_use]
    pub fn of_logits(name: &str, logits: &[f32], classes: usize, temperature: f32) -> Self {
        let mut opinion = Self { name: name.to_owned(), ..Self::default() };
        for row in logits.chunks_exact(classes) {
            let hostile = 1 + greatest(&row[1..]);
            opinion.scores.push(calibration::log_odds(row, temperature));
            opinion.likeliest.push(if row[hostile] > row[0] { hostile as u8 } else { 0 });
            opinion.hostile_class.push(hostile as u8);
        }
        opinion
    }

    /// What a flow is called if scores from `threshold` are hostile.
    #[must_use]
    pub fn called(&self, flow: usize, threshold: f32) -> u8 {
        if self.scores[flow] >= threshold { self.hostile_class[flow] } else { 0 }
    }

    /// The calibration that the benign flows of `flows` give, `source` saying whose they are.
    ///
    /// # Errors
    ///
    /// If there are none, or a score is not finite.
    pub fn calibrate(
        &self,
        flows: impl IntoIterator<Item = usize>,
        source: &str,
        span_s: f64,
    ) -> Result<Calibration, CalibrationError> {
        let scores = flows.into_iter().map(|flow| self.scores[flow]).collect();
        Calibration::from_benign_scores(scores, 1.0, source, span_s)
    }
}

/// The place of the greatest number; the first of equals.
fn greatest(numbers: &[f32]) -> usize {
    let mut best = 0;
    for (place, number) in numbers.iter().enumerate() {
        if *number > numbers[best] {
            best = place;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_and_names_come_from_logits() {
        let logits = [3.0, 1.0, 0.0, 0.0, 2.0, 4.0, 0.0, 2.0, 2.0];
        let opinion = Opinion::of_logits("trees", &logits, 3, 1.0);
        assert_eq!(opinion.likeliest, [0, 2, 1]);
        assert_eq!(opinion.hostile_class, [1, 2, 1]);
        assert!((opinion.scores[0] - (1f32.exp() + 1.0).ln() + 3.0).abs() < 1e-6);
        assert_eq!((opinion.called(0, 0.0), opinion.called(1, 0.0)), (0, 2));
        // Two hostile classes of probability 2/5 each are hostile together, though benign is close.
        assert!(opinion.scores[2] > 0.0);
    }

    #[test]
    fn points_leave_through_what_they_may() {
        let opinion = Opinion { scores: (0..1000u16).map(f32::from).collect(), ..Opinion::default() };
        let calibration = opinion.calibrate(0..1000, "validation", 10.0).unwrap();
        let points = Points::at_rates(&calibration, [0.1, 0.01, 0.002]);
        let above = |score: f32| opinion.scores.iter().filter(|other| **other >= score).count();
        assert_eq!(points.scores().map(above), [99, 9, 1]);
        assert!(opinion.calibrate([], "validation", 0.0).is_err());
    }
}
