//! Single rows as JSON, for whoever asks for the latest.

use tapline_record::Column;

use crate::NumberText;
use crate::line_encoder::LineEncoder;

/// Renders rows of type `R` with tails of type `T` as the NDJSON format does.
pub struct JsonRows<R: 'static, T: 'static> {
    columns: &'static [Column<R>],
    tail: &'static [Column<T>],
    encoder: LineEncoder,
    line: Vec<u8>,
}

impl<R: 'static, T: 'static> JsonRows<R, T> {
    /// For these columns.
    #[must_use]
    pub fn new(columns: &'static [Column<R>], tail: &'static [Column<T>]) -> Self {
        Self { columns, tail, encoder: LineEncoder::ndjson(columns, tail), line: Vec::new() }
    }

    /// A row as a JSON object, without a line end.
    pub fn render(&mut self, row: &R, tail: &T) -> &str {
        self.line.clear();
        self.encoder.push_row(&mut self.line, NumberText::Shortest, (self.columns, row), (self.tail, tail));
        // Cells are text, and names of columns too.
        std::str::from_utf8(&self.line).unwrap_or_default()
    }
}

impl<R, T> std::fmt::Debug for JsonRows<R, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JsonRows").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rows::{COLUMNS, TestRow};

    #[test]
    fn rows_are_json_objects() {
        let mut rows = JsonRows::<TestRow, ()>::new(COLUMNS, &[]);
        for _ in 0..2 {
            let row: serde_json::Value = serde_json::from_str(rows.render(&TestRow::sample(), &())).unwrap();
            assert_eq!(row.as_object().unwrap().len(), COLUMNS.len());
        }
    }
}
