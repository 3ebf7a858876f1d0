//! From all inputs of a flow to the selected, scaled ones that a model reads.

use crate::manifest::{InputColumn, Inputs};

/// Picks a model's inputs out of a full row and scales them.
///
/// Training and scoring share this, so that the network sees the same numbers in both.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaler {
    columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq)]
struct Column {
    /// Where the input stands in a full row.
    position: usize,
    center: f32,
    scale: f32,
    clip: f32,
}

impl Scaler {
    /// A scaler for full rows whose inputs are `names`, in that order.
    ///
    /// # Errors
    ///
    /// The name of the first column of the model that is not among `names`.
    pub fn new(inputs: &Inputs, names: &[&str]) -> Result<Self, UnknownInput> {
        let columns = inputs
            .columns
            .iter()
            .map(|InputColumn { name, center, scale, clip, .. }| {
                let position =
                    names.iter().position(|known| known == name).ok_or_else(|| UnknownInput(name.clone()))?;
                Ok(Column { position, center: *center, scale: *scale, clip: *clip })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { columns })
    }

    /// Inputs of a scaled row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// Appends the scaled row to `scaled`, and gives the number of inputs that were not finite: they become 0, the
    /// median of the training rows.
    ///
    /// # Panics
    ///
    /// If `row` is shorter than the names that the scaler was made for.
    pub fn scale(&self, row: &[f32], scaled: &mut Vec<f32>) -> usize {
        let mut not_finite = 0;
        scaled.extend(self.columns.iter().map(|column| {
            let value = row[column.position];
            if value.is_finite() {
                ((value - column.center) / column.scale).clamp(-column.clip, column.clip)
            } else {
                not_finite += 1;
                0.0
            }
        }));
        not_finite
    }
}

/// A model reads an input that this build does not compute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no input is called {0:?}")]
pub struct UnknownInput(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, center: f32, scale: f32, clip: f32) -> InputColumn {
        InputColumn { name: name.to_owned(), center, scale, clip, edges: vec![0.0], shares: vec![0.5, 0.5] }
    }

    fn inputs(columns: Vec<InputColumn>) -> Inputs {
        Inputs { schema: "inputs-1".to_owned(), schema_hash: String::new(), columns }
    }

    #[test]
    fn picks_scales_and_clips() {
        let inputs = inputs(vec![column("c", 10.0, 4.0, 5.0), column("a", 0.0, 1.0, 3.0)]);
        let scaler = Scaler::new(&inputs, &["a", "b", "c"]).unwrap();
        assert_eq!(scaler.width(), 2);
        let mut scaled = vec![9.0];
        assert_eq!(scaler.scale(&[-7.0, f32::NAN, 12.0], &mut scaled), 0);
        assert_eq!(scaled, [9.0, 0.5, -3.0]);
    }

    #[test]
    fn what_is_not_finite_becomes_the_median() {
        let scaler =
            Scaler::new(&inputs(vec![column("a", 2.0, 1.0, 5.0), column("b", 0.0, 1e-3, 5.0)]), &["a", "b"]);
        let mut scaled = Vec::new();
        assert_eq!(scaler.as_ref().unwrap().scale(&[f32::NAN, f32::NEG_INFINITY], &mut scaled), 2);
        // Differences and quotients that overflow are clipped like others.
        assert_eq!(scaler.unwrap().scale(&[f32::MAX, f32::MAX], &mut scaled), 0);
        assert_eq!(scaled, [0.0, 0.0, 5.0, 5.0]);
    }

    #[test]
    fn an_unknown_input_is_named() {
        let error = Scaler::new(&inputs(vec![column("x", 0.0, 1.0, 5.0)]), &["a"]).unwrap_err();
        assert_eq!(error, UnknownInput("x".to_owned()));
    }
}
