//! Why a flow scored as it did: what each input added, and which flows of the window it looked at.
//!
//! In: a flow's window, while it is at hand, and the detector. Out: an [`Explanation`].
//!
//! The window of a benign flow that is ordinary in everything is all zeros after scaling. For an input there are two
//! questions: how much does the score fall if this input alone is made ordinary, in all steps of the window; and how
//! much does it rise from an ordinary window if this input alone is as it was. The contribution is the mean of both. The first
//! alone would find nothing where two inputs say the same, the second nothing where two must come together; the mean is the
//! Shapley value of every model without interactions of three inputs or more (Shapley, A value for n-person games, 1953;
//! Lundberg and Lee, A unified approach to interpreting model predictions, 2017).
//!
//! Two windows for each of a hundred inputs would cost as much as judging some hundred windows. So there are two rounds:
//!
//! 1. A glance at the flow alone: both questions for each input that is not ordinary in the flow itself, to the
//!    voters without memory ([`Detector::glance`]). The [`CANDIDATES`] with the greatest contributions go on.
//! 2. The same questions about those, to all voters, with the flow's window: the flow, and up to [`BEFORE`] flows before it.
//!
//! So the numbers are contributions to the score that the flow would have in that shorter window. An input that is
//! ordinary in the flow itself is no reason, nor is one that matters to the network only and is not among the first
//! in the glance. Measured against all inputs in the whole window, over 278 alerts of three captures: of three reasons as many are the
//! same, 50 %, as with half as many candidates in windows of eight flows, 47 %, which took twice as many steps of the network.

use std::ops::Range;

use crate::batch::WindowBatch;
use crate::detector::Detector;
use crate::error::ScoreError;
use crate::manifest::Calibration;
use crate::window::ClosedWindows;

/// Why a flow scored as it did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explanation {
    /// Inputs that raised the score most, greatest first; only such as raised it.
    pub contributions: Vec<Contribution>,
    /// The window's flows by ticket, oldest first, with the attention that this flow paid to each; empty if the
    /// detector has no attention.
    pub attention: Vec<(u64, f32)>,
}

/// What an input added to the score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contribution {
    /// Its place among the inputs of the model.
    pub input: usize,
    /// In log-odds.
    pub log_odds: f32,
}

/// Explains one flow of a batch, if asked.
pub struct Explainer<'a> {
    pub(crate) detector: &'a mut dyn Detector,
    pub(crate) calibration: &'a Calibration,
    pub(crate) closed: &'a ClosedWindows,
    /// First step of the window, in the batch.
    pub(crate) start: usize,
    /// Steps of the window.
    pub(crate) length: usize,
    /// The flow's step, in the window.
    pub(crate) step: usize,
    pub(crate) scratch: &'a mut Scratch,
}

/// Memory that explanations share.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    batch: WindowBatch,
    logits: Vec<f32>,
    attention: Vec<f32>,
    pub(crate) explained: u64,
}

/// Inputs that get a closer look.
pub const CANDIDATES: usize = 24;

/// Flows before the explained one that its window keeps.
pub const BEFORE: usize = 1;

impl Explainer<'_> {
    /// The `most` inputs that raised the flow's score most; at most [`CANDIDATES`].
    ///
    /// # Errors
    ///
    /// Those of [`Detector::logits`].
    pub fn explain(&mut self, most: usize) -> Result<Explanation, ScoreError> {
        self.scratch.explained += 1;
        let flow = self.closed.batch.step(self.start + self.step);
        let mut inputs: Vec<usize> = (0..flow.len()).filter(|input| flow[*input].abs() > 0.0).collect();
        if inputs.len() > CANDIDATES {
            let logits = &mut self.scratch.logits;
            logits.clear();
            self.detector.glance(flow, &inputs, logits)?;
            let rows = logits.chunks_exact(self.detector.classes());
            let scores: Vec<f32> = rows.map(|row| self.calibration.score(row)).collect();
            inputs = greatest(&inputs, &scores).iter().take(CANDIDATES).map(|each| each.input).collect();
        }
        let steps = self.step.saturating_sub(BEFORE)..self.step + 1;
        let each = inputs.iter().flat_map(|input| [Variant::Without(*input), Variant::Only(*input)]);
        let variants: Vec<Variant> = [Variant::AsItWas, Variant::Ordinary].into_iter().chain(each).collect();
        let mut contributions = greatest(&inputs, &self.scores(&variants, steps)?);
        contributions.retain(|contribution| contribution.log_odds > 0.0);
        contributions.truncate(most);
        Ok(Explanation { contributions, attention: self.attention()? })
    }

    /// The scores of the flow in variants of its window, cut to some steps.
    fn scores(&mut self, variants: &[Variant], steps: Range<usize>) -> Result<Vec<f32>, ScoreError> {
        let width = self.closed.batch.width;
        let window = (self.start + steps.start) * width..(self.start + steps.end) * width;
        let window = &self.closed.batch.inputs[window];
        let (length, step) = (steps.len(), self.step - steps.start);
        let Scratch { batch, logits, .. } = &mut *self.scratch;
        batch.width = width;
        batch.clear();
        for variant in variants {
            let first = batch.inputs.len();
            batch.lengths.push(length);
            batch.fresh.push(length - step);
            match variant {
                Variant::AsItWas | Variant::Without(_) => batch.inputs.extend_from_slice(window),
                Variant::Ordinary | Variant::Only(_) => batch.inputs.resize(first + window.len(), 0.0),
            }
            let steps = batch.inputs[first..].chunks_exact_mut(width).zip(window.chunks_exact(width));
            match *variant {
                Variant::AsItWas | Variant::Ordinary => {}
                Variant::Without(input) => steps.for_each(|(step, _)| step[input] = 0.0),
                Variant::Only(input) => steps.for_each(|(step, was)| step[input] = was[input]),
            }
        }
        logits.clear();
        self.detector.logits(batch, logits)?;
        let classes = self.detector.classes();
        let rows = logits.chunks_exact(classes).skip(step).step_by(length);
        Ok(rows.map(|row| self.calibration.score(row)).collect())
    }

    fn attention(&mut self) -> Result<Vec<(u64, f32)>, ScoreError> {
        let width = self.closed.batch.width;
        let window = &self.closed.batch.inputs[self.start * width..(self.start + self.length) * width];
        let Scratch { batch, attention, .. } = &mut *self.scratch;
        batch.width = width;
        batch.clear();
        batch.lengths.push(self.length);
        batch.inputs.extend_from_slice(window);
        attention.clear();
        self.detector.attention(batch, attention)?;
        let paid = attention.get(self.step * self.length..).unwrap_or_default();
        let tickets = &self.closed.tickets[self.start..self.start + self.length];
        Ok(tickets.iter().copied().zip(paid.iter().copied()).collect())
    }
}

/// What inputs add to a score, the greatest first, by the scores of the flow as it was, of an ordinary one, and of the two
/// variants of each input.
fn greatest(inputs: &[usize], scores: &[f32]) -> Vec<Contribution> {
    let (full, empty) = (scores[0], scores[1]);
    let mut contributions: Vec<Contribution> = inputs
        .iter()
        .zip(scores[2..].chunks_exact(2))
        .map(|(input, pair)| Contribution {
            input: *input,
            log_odds: (full - pair[0] + pair[1] - empty) / 2.0,
        })
        .collect();
    contributions.sort_by(|a, b| b.log_odds.total_cmp(&a.log_odds).then_with(|| a.input.cmp(&b.input)));
    contributions
}

/// What is done to a window.
#[derive(Clone, Copy, Debug)]
enum Variant {
    AsItWas,
    Ordinary,
    Without(usize),
    Only(usize),
}

impl std::fmt::Debug for Explainer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Explainer")
            .field("step", &self.step)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::example::{manifest, window};
    use crate::{Ensemble, Logistic, Vote};

    /// One hostile class; its logit is the sum of all inputs of the window.
    #[derive(Default)]
    struct Total {
        /// Lengths of the windows, by call.
        lengths: Vec<Vec<usize>>,
    }

    impl Detector for Total {
        fn classes(&self) -> usize {
            2
        }

        fn logits(&mut self, batch: &WindowBatch, logits: &mut Vec<f32>) -> Result<(), ScoreError> {
            self.lengths.push(batch.lengths.clone());
            let mut start = 0;
            for length in &batch.lengths {
                let end = start + length * batch.width;
                let total = batch.inputs[start..end].iter().sum();
                logits.extend((0..*length).flat_map(|_| [0.0, total]));
                start = end;
            }
            Ok(())
        }
    }

    fn explain(
        detector: &mut dyn Detector,
        width: usize,
        inputs: &[f32],
        step: usize,
        most: usize,
    ) -> Explanation {
        let mut closed = ClosedWindows::new(width);
        closed.batch.inputs.extend_from_slice(inputs);
        let length = inputs.len() / width;
        closed.batch.lengths.push(length);
        closed.batch.fresh.push(length - step);
        closed.tickets.extend(0..length as u64);
        let calibration = &manifest(window(16, 8, 0, 2)).calibration;
        let scratch = &mut Scratch::default();
        Explainer { detector, calibration, closed: &closed, start: 0, length, step, scratch }
            .explain(most)
            .unwrap()
    }

    #[test]
    fn the_window_is_cut_to_the_flows_just_before() {
        for (length, step, kept) in [(16, 15, 2), (16, 8, 2), (3, 1, 2), (3, 0, 1), (1, 0, 1)] {
            let mut total = Total::default();
            let explanation = explain(&mut total, 2, &vec![0.5; length * 2], step, 3);
            assert_eq!(total.lengths, [vec![kept; 6]], "few inputs need no glance");
            let log_odds: Vec<f32> = explanation.contributions.iter().map(|each| each.log_odds).collect();
            assert_eq!(log_odds, [kept as f32 / 2.0; 2]);
        }
        let mut total = Total::default();
        explain(&mut total, 30, &[0.5; 30 * 16], 10, 3);
        assert_eq!(total.lengths, [vec![1; 62], vec![2; 2 + 2 * CANDIDATES]]);
    }

    #[test]
    fn what_is_ordinary_in_the_flow_is_no_reason() {
        let explanation = explain(&mut Total::default(), 2, &[9.0, 0.0, 0.0, 1.0], 1, 3);
        assert_eq!(explanation.contributions, [Contribution { input: 1, log_odds: 1.0 }]);
    }

    proptest! {
        /// Where nothing interacts, the contribution of an input is its part of the sum.
        #[test]
        fn of_a_linear_detector_the_parts_of_the_sum(
            parts in prop::collection::vec((-8_i8..8, -8_i8..8), 1..60),
            voters in 1_usize..3,
            most in 1_usize..20,
        ) {
            let width = parts.len();
            let flow: Vec<f32> = parts.iter().map(|(input, _)| f32::from(*input)).collect();
            let weights: Vec<f32> = parts.iter().map(|(_, weight)| f32::from(*weight) / 8.0).collect();
            let logistic = || -> (Vote, Box<dyn Detector>) {
                let weights = [vec![0.0; width], weights.clone()].concat();
                (Vote::always(1.0), Box::new(Logistic::new(width, &weights, vec![0.0; 2]).unwrap()))
            };
            let mut detector = Ensemble::new((0..voters).map(|_| logistic()).collect()).unwrap();
            let inputs = [vec![1.0; width], flow.clone()].concat();
            let told = explain(&mut detector, width, &inputs, 1, most).contributions;

            let part = |input: usize| flow[input] * weights[input];
            let mut greatest: Vec<f32> = (0..width).map(part).filter(|part| *part > 0.0).collect();
            greatest.sort_by(|a, b| b.total_cmp(a));
            greatest.truncate(most.min(CANDIDATES));
            prop_assert_eq!(told.len(), greatest.len());
            for (told, part_of_rank) in told.iter().zip(greatest) {
                prop_assert!((told.log_odds - part(told.input)).abs() < 1e-3, "{told:?}");
                prop_assert!((told.log_odds - part_of_rank).abs() < 1e-3, "{told:?}");
            }
        }
    }
}
