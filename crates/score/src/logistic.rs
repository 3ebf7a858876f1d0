//! Multinomial logistic regression over one flow's inputs.
//!
//! In: weights of a model file and steps of windows; each step is judged by itself. Out: logits, `weight * inputs + bias`.

use safetensors::SafeTensors;

use crate::tensors::{StoredTensor, TensorFault, expect_finite, expect_shape, read_f32};
use crate::{Detector, ScoreError, WindowBatch};

/// A logistic regression with its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Logistic {
    width: usize,
    /// `[width, classes]`: the weights of an input for all classes stand together.
    by_input: Vec<f32>,
    /// `[classes]`.
    bias: Vec<f32>,
}

impl Logistic {
    /// Of weights `[classes, width]`, row-major, and a bias per class.
    ///
    /// # Errors
    ///
    /// If there are not `classes * width` weights, fewer than two classes or no inputs, or a number is not finite.
    pub fn new(width: usize, weight: &[f32], bias: Vec<f32>) -> Result<Self, TensorFault> {
        let classes = bias.len();
        if classes < 2 || width == 0 {
            let expected = "2 or more classes over 1 or more inputs".to_owned();
            return Err(TensorFault::Shape { name: WEIGHT.into(), found: vec![classes, width], expected });
        }
        expect_shape(WEIGHT, weight.len(), &[classes, width])?;
        expect_finite(WEIGHT, weight)?;
        expect_finite(BIAS, &bias)?;
        let by_input = transpose(weight, width);
        Ok(Self { width, by_input, bias })
    }

    /// Reads the weights of a model file.
    ///
    /// # Errors
    ///
    /// If a tensor is missing or of another type or shape, or a number is not finite.
    pub fn load(tensors: &SafeTensors<'_>, width: usize, classes: usize) -> Result<Self, TensorFault> {
        let weight = read_f32(tensors, WEIGHT, &[classes, width])?;
        Self::new(width, &weight, read_f32(tensors, BIAS, &[classes])?)
    }

    /// The tensors of this detector, for a model file.
    #[must_use]
    pub fn tensors(&self) -> Vec<StoredTensor> {
        let classes = self.bias.len();
        vec![
            StoredTensor::f32(WEIGHT, &[classes, self.width], &self.weight()),
            StoredTensor::f32(BIAS, &[classes], &self.bias),
        ]
    }

    /// Weights `[classes, width]`, row-major.
    #[must_use]
    pub fn weight(&self) -> Vec<f32> {
        transpose(&self.by_input, self.bias.len())
    }

    /// One number per class.
    #[must_use]
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// Appends the logits of rows `[n, width]` to `logits`: `[n, classes]`, row-major.
    pub fn append_logits(&self, rows: &[f32], logits: &mut Vec<f32>) {
        for row in rows.chunks_exact(self.width) {
            let start = logits.len();
            logits.extend_from_slice(&self.bias);
            let logits = &mut logits[start..];
            for (input, weights) in row.iter().zip(self.by_input.chunks_exact(logits.len())) {
                for (logit, weight) in logits.iter_mut().zip(weights) {
                    *logit += weight * input;
                }
            }
        }
    }
}

impl Detector for Logistic {
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

/// `[rows, columns]` as `[columns, rows]`.
fn transpose(matrix: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| matrix.iter().skip(column).step_by(columns).copied()).collect()
}

const WEIGHT: &str = "logistic.weight";
const BIAS: &str = "logistic.bias";

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Logistic {
        Logistic::new(2, &[1.0, 2.0, -1.0, 0.0, 0.0, 3.0], vec![0.5, 0.0, -1.0]).unwrap()
    }

    #[test]
    fn logits_are_weights_times_inputs_plus_bias() {
        let mut logits = vec![7.0];
        let batch =
            WindowBatch { width: 2, lengths: vec![2], inputs: vec![1.0, 1.0, 2.0, -1.0], fresh: Vec::new() };
        example().logits(&batch, &mut logits).unwrap();
        assert_eq!(logits, [7.0, 3.5, -1.0, 2.0, 0.5, -2.0, -4.0]);
    }

    #[test]
    fn a_file_gives_the_weights_back() {
        let stored = example().tensors();
        let bytes = safetensors::serialize(stored.iter().map(|tensor| (&tensor.name, tensor)), None).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(Logistic::load(&file, 2, 3).unwrap(), example());
        assert_eq!(example().weight(), [1.0, 2.0, -1.0, 0.0, 0.0, 3.0]);
        let told = Logistic::load(&file, 3, 3).unwrap_err().to_string();
        assert_eq!(told, "tensor logistic.weight has the shape [3, 2], not [3, 3]");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Logistic::new(2, &[0.0; 3], vec![0.0; 2]).is_err());
        assert!(Logistic::new(1, &[0.0], vec![0.0]).is_err());
        assert!(Logistic::new(1, &[0.0, f32::NAN], vec![0.0; 2]).is_err());
        assert!(example().logits(&WindowBatch::new(3), &mut Vec::new()).is_err());
    }
}
