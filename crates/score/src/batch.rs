//! Windows of flows, ready for a detector.

use std::ops::Range;

use crate::ScoreError;

/// Windows of one batch, ragged: nothing is padded here. A detector that needs a rectangle pads on the left.
///
/// A window is the flows of one source host in the order in which they ended; a step is one flow of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WindowBatch {
    /// Inputs per step.
    pub width: usize,
    /// Steps of each window, at least 1 each.
    pub lengths: Vec<usize>,
    /// How many of the last steps of each window are asked about; empty if all of all windows are. The others are history: they
    /// tell a detector with memory what came before, and nobody reads their logits.
    pub fresh: Vec<usize>,
    /// `[steps of all windows, width]`, row-major: window after window, step after step; selected and scaled.
    pub inputs: Vec<f32>,
}

impl WindowBatch {
    /// An empty batch of steps of `width` inputs.
    #[must_use]
    pub fn new(width: usize) -> Self {
        Self { width, ..Self::default() }
    }

    /// The variants that [`Detector::glance`](crate::Detector::glance) is about, each a window of one step.
    pub(crate) fn glance(flow: &[f32], inputs: &[usize]) -> Self {
        let mut batch = Self::new(flow.len());
        batch.lengths.resize(2 + 2 * inputs.len(), 1);
        batch.inputs.reserve(batch.lengths.len() * flow.len());
        batch.inputs.extend_from_slice(flow);
        batch.inputs.resize(2 * flow.len(), 0.0);
        for input in inputs {
            let first = batch.inputs.len();
            batch.inputs.extend_from_slice(flow);
            batch.inputs[first + input] = 0.0;
            batch.inputs.resize(first + 2 * flow.len(), 0.0);
            batch.inputs[first + flow.len() + input] = flow[*input];
        }
        batch
    }

    /// Windows.
    #[must_use]
    pub fn windows(&self) -> usize {
        self.lengths.len()
    }

    /// Steps of all windows.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Steps of the longest window; 0 without any.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// The steps that are asked about, counted over the whole batch: a range for each window.
    pub fn asked(&self) -> impl Iterator<Item = Range<usize>> {
        let mut end = 0;
        self.lengths.iter().enumerate().map(move |(window, length)| {
            end += length;
            end - self.fresh.get(window).unwrap_or(length)..end
        })
    }

    /// Inputs of one step of the batch.
    #[must_use]
    pub fn step(&self, step: usize) -> &[f32] {
        &self.inputs[step * self.width..(step + 1) * self.width]
    }

    /// That steps are as wide as a detector reads them.
    pub(crate) fn expect_width(&self, width: usize) -> Result<(), ScoreError> {
        if self.width == width {
            return Ok(());
        }
        let text = format!("steps of {} inputs for a detector that reads {width}", self.width);
        Err(candle_core::Error::Msg(text).into())
    }

    /// Becomes the steps of another batch that are asked about, each a window of its own.
    pub(crate) fn gather(&mut self, other: &Self) {
        self.clear();
        self.width = other.width;
        for steps in other.asked() {
            self.lengths.extend(steps.clone().map(|_| 1));
            self.inputs.extend_from_slice(&other.inputs[steps.start * self.width..steps.end * self.width]);
        }
    }

    /// Becomes those windows of another batch in which a step that is asked about is wanted, from the first such step on. The first
    /// step of each, counted over the other batch, is appended to `first_steps`.
    pub(crate) fn choose(
        &mut self,
        other: &Self,
        wanted: impl Fn(usize) -> bool,
        first_steps: &mut Vec<usize>,
    ) {
        self.clear();
        self.width = other.width;
        for (steps, length) in other.asked().zip(&other.lengths) {
            let end = steps.end;
            let Some(first) = steps.clone().find(|step| wanted(*step)) else { continue };
            first_steps.push(end - length);
            self.lengths.push(*length);
            self.fresh.push(end - first);
            self.inputs.extend_from_slice(&other.inputs[(end - length) * self.width..end * self.width]);
        }
    }

    /// Empties the batch; memory stays.
    pub fn clear(&mut self) {
        self.lengths.clear();
        self.fresh.clear();
        self.inputs.clear();
    }
}
