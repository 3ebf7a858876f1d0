//! What can go wrong between a row and the disk, and how much was safe before it did.

use std::error::Error;
use std::fmt;
use std::io;

use crate::Format;

/// Why rows could not be written.
///
/// A writer that has failed stays failed: every later call gives an error of the same kind and the same [`Whole`], and
/// the output is not touched again, because a row after a torn row would be read as part of it.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The output refused bytes for a reason of its own.
    #[error("writing rows failed; {whole}")]
    Io {
        /// What is safe in the output.
        whole: Whole,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// The disk, or the quota on it, is full.
    #[error("the output is full; {whole}")]
    Full {
        /// What is safe in the output.
        whole: Whole,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// The reader of the pipe has gone, as `head` does once it has seen enough.
    #[error("the reader of the output has gone; {whole}")]
    ClosedPipe {
        /// What is safe in the output.
        whole: Whole,
    },
    /// This build cannot write the format.
    #[error("{format} output is not in this build (feature {format:?})", format = format.name())]
    FormatNotBuilt {
        /// The format asked for.
        format: Format,
    },
    /// The Parquet encoder refused a table, or a row of it.
    #[error("encoding parquet failed; {whole}")]
    Parquet {
        /// What is safe in the output.
        whole: Whole,
        /// The refusal.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl ExportError {
    /// Whether the reader of a pipe has gone, which ends a program quietly rather than as a failure.
    #[must_use]
    pub const fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::ClosedPipe { .. })
    }

    /// Whether the disk, or the quota on it, is full.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// What is safe in the output; nothing, if there never was one.
    #[must_use]
    pub const fn whole(&self) -> Whole {
        match self {
            Self::Io { whole, .. }
            | Self::Full { whole, .. }
            | Self::ClosedPipe { whole }
            | Self::Parquet { whole, .. } => *whole,
            Self::FormatNotBuilt { .. } => Whole { rows: 0, bytes: 0, torn_bytes: 0 },
        }
    }

    pub(crate) fn of_io(source: io::Error, whole: Whole) -> Self {
        match source.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe { whole },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { whole, source },
            _ => Self::Io { whole, source },
        }
    }

    /// The kind that [`ExportError::of_io`] turns into the same variant again.
    pub(crate) fn io_kind(&self) -> io::ErrorKind {
        match self {
            Self::Io { source, .. } | Self::Full { source, .. } => source.kind(),
            Self::ClosedPipe { .. } => io::ErrorKind::BrokenPipe,
            Self::FormatNotBuilt { .. } => io::ErrorKind::Unsupported,
            Self::Parquet { .. } => io::ErrorKind::InvalidData,
        }
    }
}

/// How far the output got before an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whole {
    /// Whole rows that reached the output. For Parquet 0: without its footer no row can be read.
    pub rows: u64,
    /// Bytes of the header and of these rows.
    pub bytes: u64,
    /// Bytes after them: a torn row that could not be cut off, or a Parquet file without a footer.
    pub torn_bytes: u64,
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} whole rows in {} bytes were written", self.rows, self.bytes)?;
        if self.torn_bytes > 0 {
            write!(f, ", {} torn bytes follow them", self.torn_bytes)?;
        }
        Ok(())
    }
}
