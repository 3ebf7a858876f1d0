//! The names of the output formats.

use std::fmt;
use std::str::FromStr;

/// What rows are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// One header line, then one line a row: RFC 4180 with `\n` line ends.
    Csv,
    /// One JSON object a line, without a header.
    Ndjson,
    /// Apache Parquet. The variant always exists, so that asking for it in a build without the feature is answered by
    /// an [`ExportError::FormatNotBuilt`](crate::ExportError::FormatNotBuilt) and not by a misspelled name.
    Parquet,
}

impl Format {
    /// Every format, in the order of its documentation.
    pub const ALL: [Self; 3] = [Self::Csv, Self::Ndjson, Self::Parquet];

    /// The name on the command line and in the configuration; also the usual file extension.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Parquet => "parquet",
        }
    }

    /// Whether this build can write it.
    #[must_use]
    pub const fn is_built(self) -> bool {
        match self {
            Self::Csv | Self::Ndjson => true,
            Self::Parquet => cfg!(feature = "parquet"),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| UnknownFormat { name: name.to_owned() })
    }
}

/// A name that is no format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown format {name:?} (csv, ndjson or parquet)")]
pub struct UnknownFormat {
    /// The name as it was given.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        let error = "CSV".parse::<Format>().unwrap_err();
        assert_eq!(error.to_string(), "unknown format \"CSV\" (csv, ndjson or parquet)");
    }
}
