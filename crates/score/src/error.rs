//! What can go wrong while a model is loaded or run.

use std::path::PathBuf;

/// Why a model could not be loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// The device failed, or a shape does not fit.
    #[error("running the network: {0}")]
    Device(#[from] candle_core::Error),
    /// A file of the model directory cannot be read.
    #[error("reading {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A model directory cannot be written.
    #[error("writing {}: {source}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A model directory is not what its manifest says.
    #[error("model {}: {reason}", path.display())]
    Refused {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
}
