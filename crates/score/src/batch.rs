//! Windows of flows, ready for a detector.

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
    /// `[steps of all windows, width]`, row-major: window after window, step after step; selected and scaled.
    pub inputs: Vec<f32>,
}

impl WindowBatch {
    /// An empty batch of steps of `width` inputs.
    #[must_use]
    pub fn new(width: usize) -> Self {
        Self { width, lengths: Vec::new(), inputs: Vec::new() }
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

    /// Empties the batch; memory stays.
    pub fn clear(&mut self) {
        self.lengths.clear();
        self.inputs.clear();
    }
}
