//! What can go wrong while a model is made.

use std::io;
use std::path::PathBuf;

use parquet::errors::ParquetError;
use tapline_score::ScoreError;

/// Why a table could not be read, or a model not be trained or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A file cannot be read.
    #[error("reading {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("writing {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no Parquet, or a damaged one.
    #[error("reading {}: {source}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ParquetError,
    },
    /// A table is not what training needs.
    #[error("table {}: {reason}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// A configuration cannot be used.
    #[error("{reason}")]
    Config {
        /// Key, value, what would be right.
        reason: String,
    },
    /// The data does not suffice for what is asked.
    #[error("{reason}")]
    Data {
        /// What is missing.
        reason: String,
    },
    /// A checkpoint belongs to another training, or is damaged.
    #[error("checkpoint {}: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The loss is no longer a number.
    #[error("the loss is {loss} after step {step}: lower optimiser.rate or optimiser.clip_norm")]
    Diverged {
        /// Optimiser steps until then.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// Somebody ended it.
    #[error("stopped after an epoch; --resume goes on from there")]
    Stopped,
    /// The device failed, or a shape does not fit.
    #[error("running the network: {0}")]
    Device(#[from] candle_core::Error),
    /// Scoring failed.
    #[error(transparent)]
    Score(#[from] ScoreError),
}
