//! What every detector does: windows in, class logits per flow out.

use crate::{ScoreError, WindowBatch};

/// A detector with its weights.
pub trait Detector: Send {
    /// Number of classes; class 0 is benign.
    fn classes(&self) -> usize;

    /// Appends the logits of every step of the batch to `logits`: `[steps, classes]`, row-major, in the order of
    /// the batch's steps. The logits of a step may depend on its own window alone. Steps that are not
    /// [asked](WindowBatch::asked) about have logits as well, but they need not mean anything.
    ///
    /// # Errors
    ///
    /// A failure of the device; never because of the inputs' values.
    fn logits(&mut self, batch: &WindowBatch, logits: &mut Vec<f32>) -> Result<(), ScoreError>;

    /// Whether the logits of a step depend on that step alone. Such a detector is asked about fresh steps only.
    fn memoryless(&self) -> bool {
        false
    }

    /// Fresh steps so far on which somebody voted who is asked in doubt only; `None` if there is nobody like that.
    fn doubted(&self) -> Option<u64> {
        None
    }

    /// Appends the logits of variants of a flow that is alone in its window, by what can be had cheaply: enough to tell which inputs
    /// deserve a closer look. First the flow as it was, then one that is ordinary in everything, all zeros; then for each of `inputs`
    /// two, the flow with this input ordinary, and the ordinary one with this input as the flow had it.
    ///
    /// # Errors
    ///
    /// As [`Detector::logits`].
    fn glance(&mut self, flow: &[f32], inputs: &[usize], logits: &mut Vec<f32>) -> Result<(), ScoreError> {
        self.logits(&WindowBatch::glance(flow, inputs), logits)
    }

    /// Attention that each step pays to each step of its window, averaged over heads: for every window a square of
    /// `length x length` rows, appended to `attention`. Detectors without attention append nothing.
    ///
    /// # Errors
    ///
    /// As [`Detector::logits`].
    fn attention(&mut self, batch: &WindowBatch, attention: &mut Vec<f32>) -> Result<(), ScoreError> {
        let _ = (batch, attention);
        Ok(())
    }
}
