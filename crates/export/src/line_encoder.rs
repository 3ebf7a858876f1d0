//! Rows as lines of CSV or NDJSON, wherever they go.

use tapline_record::Column;

use crate::{NumberText, csv, ndjson};

/// How a row and its tail become a line.
pub(crate) enum LineEncoder {
    Csv,
    /// With the keys of the columns and those of the tail.
    Ndjson(Box<(ndjson::Keys, ndjson::Keys)>),
}

impl LineEncoder {
    pub(crate) fn ndjson<R, T>(columns: &[Column<R>], tail: &[Column<T>]) -> Self {
        Self::Ndjson(Box::new((ndjson::Keys::new(columns), ndjson::Keys::new(tail))))
    }

    /// Appends the header of CSV, without a line end; NDJSON has none.
    pub(crate) fn push_header<R, T>(&self, line: &mut Vec<u8>, columns: &[Column<R>], tail: &[Column<T>]) {
        if matches!(self, Self::Csv) {
            csv::push_header(line, columns);
            if !tail.is_empty() {
                line.push(b',');
                csv::push_header(line, tail);
            }
        }
    }

    /// Appends a row and its tail, without a line end.
    #[inline]
    pub(crate) fn push_row<R, T>(
        &mut self,
        line: &mut Vec<u8>,
        numbers: NumberText,
        (columns, row): (&[Column<R>], &R),
        (tail_columns, tail): (&[Column<T>], &T),
    ) {
        match self {
            Self::Csv => {
                csv::push_row(line, columns, numbers, row);
                if !tail_columns.is_empty() {
                    line.push(b',');
                    csv::push_row(line, tail_columns, numbers, tail);
                }
            }
            Self::Ndjson(both) => {
                let (keys, tail_keys) = &mut **both;
                keys.push_row(line, columns, numbers, row);
                if !tail_columns.is_empty() {
                    // Two objects become one: `{"a":1}` and `{"b":2}`.
                    line.pop();
                    let seam = line.len();
                    tail_keys.push_row(line, tail_columns, numbers, tail);
                    line[seam] = b',';
                }
            }
        }
    }
}
