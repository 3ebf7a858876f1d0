//! One input and one threshold: the bar that every other detector must clear.
//!
//! In: an input's place, a threshold and a slope of a model file, and steps of windows; each step is judged by itself. Out:
//! logits. A flow's score is its signed distance from the threshold, `slope * (input - threshold)`; which hostile
//! class it is called does not depend on the flow.

use safetensors::SafeTensors;

use crate::tensors::{StoredTensor, TensorFault, expect_finite, read_f32, read_u32};
use crate::{Detector, ScoreError, WindowBatch};

/// One input, one threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct OneInput {
    /// Inputs of a row.
    pub width: usize,
    /// The input that is looked at.
    pub input: usize,
    /// The border.
    pub threshold: f32,
    /// Positive if what lies above is hostile, negative if what lies below is.
    pub slope: f32,
    /// `[classes]`: shares of the classes among hostile flows, as logarithms; that of benign is 0.
    pub bias: Vec<f32>,
}

impl OneInput {
    /// Itself, if its parts fit each other.
    ///
    /// # Errors
    ///
    /// If there is no such input, there are fewer than two classes, or a number is not finite.
    pub fn checked(self) -> Result<Self, TensorFault> {
        if self.input >= self.width {
            return Err(TensorFault::Value { name: INPUT.into(), at: 0, reason: "no such input" });
        }
        if self.bias.len() < 2 {
            let expected = "2 or more classes".to_owned();
            return Err(TensorFault::Shape { name: BIAS.into(), found: vec![self.bias.len()], expected });
        }
        expect_finite(THRESHOLD, &[self.threshold])?;
        expect_finite(SLOPE, &[self.slope])?;
        expect_finite(BIAS, &self.bias)?;
        Ok(self)
    }

    /// Reads it from a model file.
    ///
    /// # Errors
    ///
    /// If a tensor is missing or of another type or shape; and as [`OneInput::checked`].
    pub fn load(tensors: &SafeTensors<'_>, width: usize, classes: usize) -> Result<Self, TensorFault> {
        let detector = Self {
            width,
            input: read_u32(tensors, INPUT, &[1])?[0] as usize,
            threshold: read_f32(tensors, THRESHOLD, &[1])?[0],
            slope: read_f32(tensors, SLOPE, &[1])?[0],
            bias: read_f32(tensors, BIAS, &[classes])?,
        };
        detector.checked()
    }

    /// The tensors of this detector, for a model file.
    #[must_use]
    pub fn tensors(&self) -> Vec<StoredTensor> {
        vec![
            StoredTensor::u32(INPUT, &[1], &[self.input as u32]),
            StoredTensor::f32(THRESHOLD, &[1], &[self.threshold]),
            StoredTensor::f32(SLOPE, &[1], &[self.slope]),
            StoredTensor::f32(BIAS, &[self.bias.len()], &self.bias),
        ]
    }

    /// Appends the logits of rows `[n, width]` to `logits`: `[n, classes]`, row-major.
    pub fn append_logits(&self, rows: &[f32], logits: &mut Vec<f32>) {
        for row in rows.chunks_exact(self.width) {
            let distance = self.slope * (row[self.input] - self.threshold);
            logits.push(self.bias[0]);
            logits.extend(self.bias[1..].iter().map(|bias| distance + bias));
        }
    }
}

impl Detector for OneInput {
    fn classes(&self) -> usize {
        self.bias.len()
    }

    fn memoryless(&self) -> bool {
        true
    }

    fn logits(&mut self, batch: &WindowBatch, logits: &mut Vec<f32>) -> Result<(), ScoreError> {
        batch.expect_width(self.width)?;
        self.append_logits(&batch.inputs, logits);
        Ok(())
    }
}

const INPUT: &str = "one-input.input";
const THRESHOLD: &str = "one-input.threshold";
const SLOPE: &str = "one-input.slope";
const BIAS: &str = "one-input.bias";

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> OneInput {
        OneInput { width: 3, input: 1, threshold: 2.0, slope: -4.0, bias: vec![0.0, -1.0, -0.5] }
    }

    #[test]
    fn the_score_is_the_signed_distance() {
        let mut logits = Vec::new();
        let batch = WindowBatch {
            width: 3,
            lengths: vec![1, 1],
            inputs: vec![9.0, 1.5, 9.0, 9.0, 2.0, 9.0],
            fresh: Vec::new(),
        };
        example().logits(&batch, &mut logits).unwrap();
        assert_eq!(logits, [0.0, 1.0, 1.5, 0.0, -1.0, -0.5]);
    }

    #[test]
    fn a_file_gives_it_back() {
        let stored = example().tensors();
        let bytes = safetensors::serialize(stored.iter().map(|tensor| (&tensor.name, tensor)), None).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(OneInput::load(&file, 3, 3).unwrap(), example());
        assert!(OneInput::load(&file, 1, 3).is_err());
        assert!(OneInput::load(&file, 3, 2).is_err());
    }

    #[test]
    fn numbers_must_be_finite() {
        assert!(OneInput { threshold: f32::NAN, ..example() }.checked().is_err());
        assert!(OneInput { bias: vec![0.0, f32::NEG_INFINITY], ..example() }.checked().is_err());
        assert!(OneInput { bias: vec![0.0], ..example() }.checked().is_err());
    }
}
