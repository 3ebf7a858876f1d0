//! Rows to learn from, one flow each: what the detectors without memory are trained on.
//!
//! In: slices of the caller. Out: the same, checked once: as many labels and weights as rows, every number finite. The
//! caller chooses inputs, scales them, and weighs rows (so that no source and no behaviour swamps the others).

/// Labelled, weighted rows.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    width: usize,
    classes: usize,
    inputs: &'a [f32],
    labels: &'a [u8],
    weights: &'a [f32],
}

/// Why rows cannot be learnt from.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RowsError {
    /// Slices do not fit each other.
    #[error("{inputs} inputs, {labels} labels and {weights} weights do not make rows of {width} inputs")]
    Lengths {
        /// Inputs of a row.
        width: usize,
        /// Inputs given.
        inputs: usize,
        /// Labels given.
        labels: usize,
        /// Weights given.
        weights: usize,
    },
    /// An input is infinite or not a number.
    #[error("row {row}, input {input}: {value} is not finite")]
    Input {
        /// The row.
        row: usize,
        /// The input.
        input: usize,
        /// Its value.
        value: f32,
    },
    /// A weight is negative, infinite or not a number.
    #[error("row {row}: {weight} is no weight")]
    Weight {
        /// The row.
        row: usize,
        /// Its weight.
        weight: f32,
    },
    /// A label is no class.
    #[error("row {row}: label {label}, but there are {classes} classes")]
    Label {
        /// The row.
        row: usize,
        /// Its label.
        label: u8,
        /// Classes.
        classes: usize,
    },
    /// Fewer than two classes, or more than can be learnt.
    #[error("{classes} classes: 2 to {most} can be learnt")]
    Classes {
        /// Classes.
        classes: usize,
        /// The bound.
        most: usize,
    },
    /// Nothing can be learnt where all that weighs is of one class.
    #[error("rows of two classes at least must weigh something")]
    OneClass,
    /// Validation rows are of another shape.
    #[error("validation rows have other inputs or classes than training rows")]
    Validation,
    /// A setting is out of range.
    #[error("setting {name}: {reason}")]
    Setting {
        /// Its name.
        name: &'static str,
        /// What would be right.
        reason: &'static str,
    },
}

impl<'a> Rows<'a> {
    /// Of inputs `[n, width]`, row-major, a class and a weight per row. Class 0 is benign.
    ///
    /// # Errors
    ///
    /// If lengths do not fit, a number is not finite, a weight is negative, or a label is not below `classes`.
    pub fn new(
        width: usize,
        classes: usize,
        inputs: &'a [f32],
        labels: &'a [u8],
        weights: &'a [f32],
    ) -> Result<Self, RowsError> {
        if !(2..=MOST_CLASSES).contains(&classes) {
            return Err(RowsError::Classes { classes, most: MOST_CLASSES });
        }
        if width == 0 || inputs.len() != labels.len() * width || weights.len() != labels.len() {
            return Err(RowsError::Lengths {
                width,
                inputs: inputs.len(),
                labels: labels.len(),
                weights: weights.len(),
            });
        }
        if let Some(at) = inputs.iter().position(|value| !value.is_finite()) {
            return Err(RowsError::Input { row: at / width, input: at % width, value: inputs[at] });
        }
        if let Some(row) = weights.iter().position(|weight| !weight.is_finite() || *weight < 0.0) {
            return Err(RowsError::Weight { row, weight: weights[row] });
        }
        if let Some(row) = labels.iter().position(|label| usize::from(*label) >= classes) {
            return Err(RowsError::Label { row, label: labels[row], classes });
        }
        Ok(Self { width, classes, inputs, labels, weights })
    }

    /// Inputs of a row.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Classes.
    #[must_use]
    pub const fn classes(&self) -> usize {
        self.classes
    }

    /// Rows.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.labels.len()
    }

    /// Inputs `[n, width]`.
    #[must_use]
    pub const fn inputs(&self) -> &'a [f32] {
        self.inputs
    }

    /// Class of each row.
    #[must_use]
    pub const fn labels(&self) -> &'a [u8] {
        self.labels
    }

    /// Weight of each row.
    #[must_use]
    pub const fn weights(&self) -> &'a [f32] {
        self.weights
    }

    /// Values of one input, row after row.
    pub(crate) fn column(&self, input: usize) -> impl Iterator<Item = f32> + use<'a> {
        self.inputs.iter().skip(input).step_by(self.width).copied()
    }

    /// What the rows of each class weigh together.
    pub(crate) fn class_weights(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.classes];
        for (label, weight) in self.labels.iter().zip(self.weights) {
            sums[usize::from(*label)] += f64::from(*weight);
        }
        sums
    }

    /// That there is something to tell apart.
    pub(crate) fn expect_two_classes(&self) -> Result<(), RowsError> {
        if self.class_weights().iter().filter(|weight| **weight > 0.0).count() < 2 {
            return Err(RowsError::OneClass);
        }
        Ok(())
    }
}

/// Classes that can be learnt at most.
pub const MOST_CLASSES: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_do_not_hold_together_are_refused() {
        let rows = |inputs: &[f32], labels: &[u8], weights: &[f32]| {
            Rows::new(2, 2, inputs, labels, weights).map(|rows| rows.count())
        };
        assert_eq!(rows(&[0.0, 1.0, 2.0, 3.0], &[0, 1], &[1.0, 0.5]), Ok(2));
        assert!(matches!(rows(&[0.0, 1.0, 2.0], &[0, 1], &[1.0, 1.0]), Err(RowsError::Lengths { .. })));
        assert!(matches!(
            rows(&[0.0, 1.0, 2.0, f32::NAN], &[0, 1], &[1.0, 1.0]),
            Err(RowsError::Input { row: 1, input: 1, .. })
        ));
        assert!(matches!(rows(&[0.0; 4], &[0, 1], &[1.0, -1.0]), Err(RowsError::Weight { row: 1, .. })));
        assert!(matches!(rows(&[0.0; 4], &[0, 2], &[1.0; 2]), Err(RowsError::Label { row: 1, .. })));
        assert!(matches!(Rows::new(1, 1, &[], &[], &[]), Err(RowsError::Classes { .. })));
    }
}
