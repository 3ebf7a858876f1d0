//! What can be wrong with a file of truth, and where.

use std::io;

/// Why truth could not be read. Every message names the file; where a place in it is at fault also line and column,
/// both from 1. In CSV the column counts bytes as if no field before it were quoted.
#[derive(Debug, thiserror::Error)]
pub enum TruthError {
    /// A value, a key or a header that is not as it should be.
    #[error("{name}:{line}:{column}: {problem}")]
    Place {
        /// The file, as it was named by the caller.
        name: String,
        /// Line, from 1.
        line: u64,
        /// Byte within the line, from 1.
        column: u64,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// More rows than a table holds.
    #[error("{name}:{line}:1: more than {max} rows; split the truth, and the captures with it")]
    TooMany {
        /// The file, as it was named by the caller.
        name: String,
        /// The first line that is too many.
        line: u64,
        /// [`ROWS_MAX`](crate::ROWS_MAX).
        max: usize,
    },
    /// Reading failed.
    #[error("{name}: reading failed")]
    Read {
        /// The file, as it was named by the caller.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Two tables that are joined both have a default class.
    #[error("{name}: a second [defaults] class; keep the one of {first}")]
    SecondDefault {
        /// The file that has one too.
        name: String,
        /// The file whose default stands.
        first: String,
    },
}

impl TruthError {
    /// Whether the input could not be read, as opposed to being wrong.
    #[must_use]
    pub const fn is_io(&self) -> bool {
        matches!(self, Self::Read { .. })
    }
}
