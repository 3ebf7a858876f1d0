//! Cells read some columns ahead of being written.
//!
//! Nearly all cells are numbers, and how many digits they have is chance. Between two columns, that chance disturbs the
//! processor's guess of which accessor is called next; a block of accessors called in a row is guessed well. A number
//! fits in two words, so reading ahead copies no large cell.

use tapline_record::{Cell, Column};

/// A number, or a cell longer than a number, which is read again when it is its turn.
#[derive(Clone, Copy)]
pub(crate) enum BlockCell {
    Int(i64),
    Float(f64),
    Other,
}

/// Columns of a block.
pub(crate) const BLOCK_COLUMNS: usize = 16;

/// Reads the cells of at most [`BLOCK_COLUMNS`] columns.
#[inline(always)]
pub(crate) fn read_block<R>(cells: &mut [BlockCell; BLOCK_COLUMNS], columns: &[Column<R>], row: &R) {
    for (cell, column) in cells.iter_mut().zip(columns) {
        *cell = match (column.cell)(row) {
            Cell::Int(value) => BlockCell::Int(value),
            Cell::Float(value) => BlockCell::Float(value),
            _ => BlockCell::Other,
        };
    }
}
