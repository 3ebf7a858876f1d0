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
    /// Knots and their marks; none for plain scaling.
    knots: Vec<(f32, f32)>,
}

impl Column {
    fn new(column: &InputColumn, position: usize) -> Self {
        let InputColumn { center, scale, clip, knots, marks, .. } = column;
        let knots = knots.iter().copied().zip(marks.iter().copied()).collect();
        Self { position, center: *center, scale: *scale, clip: *clip, knots }
    }

    fn scaled(&self, value: f32) -> f32 {
        if self.knots.is_empty() {
            return ((value - self.center) / self.scale).clamp(-self.clip, self.clip);
        }
        let above = self.knots.partition_point(|(knot, _)| *knot <= value);
        match (above.checked_sub(1).map(|below| self.knots[below]), self.knots.get(above)) {
            (Some((knot, mark)), Some((next_knot, next_mark))) => {
                mark + (value - knot) / (next_knot - knot) * (next_mark - mark)
            }
            (Some((_, mark)), None) | (None, Some(&(_, mark))) => mark,
            (None, None) => 0.0,
        }
    }
}

/// The scaled value of one input alone.
#[must_use]
pub fn scaled(column: &InputColumn, value: f32) -> f32 {
    Column::new(column, 0).scaled(value)
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
            .map(|column| {
                let position = names.iter().position(|known| *known == column.name);
                position.map(|at| Column::new(column, at)).ok_or_else(|| UnknownInput(column.name.clone()))
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
                column.scaled(value)
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
        InputColumn {
            name: name.to_owned(),
            center,
            scale,
            clip,
            knots: Vec::new(),
            marks: Vec::new(),
            edges: vec![0.0],
            shares: vec![0.5, 0.5],
        }
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
    fn between_knots_it_goes_straight() {
        let mut column = column("a", 2.0, 1.0, 8.0);
        (column.knots, column.marks) = (vec![0.0, 2.0, 6.0], vec![-1.0, 0.0, 3.0]);
        let values = [-5.0, 0.0, 1.0, 2.0, 4.0, 6.0, f32::MAX].map(|value| scaled(&column, value));
        assert_eq!(values.map(f32::to_bits), [-1.0, -1.0, -0.5, 0.0, 1.5, 3.0_f32, 3.0].map(f32::to_bits));
    }

    #[test]
    fn an_unknown_input_is_named() {
        let error = Scaler::new(&inputs(vec![column("x", 0.0, 1.0, 5.0)]), &["a"]).unwrap_err();
        assert_eq!(error, UnknownInput("x".to_owned()));
    }
}
