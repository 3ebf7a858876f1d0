//! Why a flow scored as it did: what each input added, and which flows of the window it looked at.
//!
//! In: a flow's window, while it is at hand, and the detector. Out: an [`Explanation`]. It costs two windows per input, so
//! it is asked for only where somebody will read it.
//!
//! The window of a benign flow that is ordinary in everything is all zeros after scaling. For each input there are two
//! questions: how much does the score fall if this input alone is made ordinary, in all steps of the window; and how
//! much does it rise from an ordinary window if this input alone is as it was. The contribution is the mean of both. The first
//! alone would find nothing where two inputs say the same, the second nothing where two must come together; the mean is the
//! Shapley value of every model without interactions of three inputs or more (Shapley, A value for n-person games, 1953;
//! Lundberg and Lee, A unified approach to interpreting model predictions, 2017).

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

/// Windows per call of the detector.
const WINDOWS: usize = 64;

impl Explainer<'_> {
    /// The `most` inputs that raised the flow's score most.
    ///
    /// # Errors
    ///
    /// Those of [`Detector::logits`].
    pub fn explain(&mut self, most: usize) -> Result<Explanation, ScoreError> {
        self.scratch.explained += 1;
        let width = self.closed.batch.width;
        let window = &self.closed.batch.inputs[self.start * width..(self.start + self.length) * width];
        // An input that is ordinary throughout adds nothing.
        let inputs: Vec<usize> = (0..width)
            .filter(|input| window.chunks_exact(width).any(|step| step[*input].abs() > 0.0))
            .collect();

        let as_it_was = self.scores(&[Variant::AsItWas, Variant::Ordinary])?;
        let (full, empty) = (as_it_was[0], as_it_was[1]);
        let mut contributions = Vec::with_capacity(inputs.len());
        for some in inputs.chunks(WINDOWS / 2) {
            let variants: Vec<Variant> =
                some.iter().flat_map(|input| [Variant::Without(*input), Variant::Only(*input)]).collect();
            let scores = self.scores(&variants)?;
            contributions.extend(some.iter().zip(scores.chunks_exact(2)).map(|(input, pair)| {
                let log_odds = (full - pair[0] + pair[1] - empty) / 2.0;
                Contribution { input: *input, log_odds }
            }));
        }
        contributions.retain(|contribution| contribution.log_odds > 0.0);
        contributions.sort_by(|a, b| b.log_odds.total_cmp(&a.log_odds).then_with(|| a.input.cmp(&b.input)));
        contributions.truncate(most);
        Ok(Explanation { contributions, attention: self.attention()? })
    }

    /// The scores of the flow in variants of its window.
    fn scores(&mut self, variants: &[Variant]) -> Result<Vec<f32>, ScoreError> {
        let width = self.closed.batch.width;
        let window = &self.closed.batch.inputs[self.start * width..(self.start + self.length) * width];
        let Scratch { batch, logits, .. } = &mut *self.scratch;
        batch.width = width;
        batch.clear();
        for variant in variants {
            let first = batch.inputs.len();
            batch.lengths.push(self.length);
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
        let rows = logits.chunks_exact(classes).skip(self.step).step_by(self.length);
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
