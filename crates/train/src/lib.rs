//! Learning: labelled tables in, model directories out; and what those models are worth on networks they never saw.

pub mod error;
pub mod random;
pub mod table;

pub mod scaling;
pub mod selection;
pub mod windows;

pub mod augmentation;
pub mod batches;
pub mod sampler;

pub mod adamw;
pub mod clip;
pub mod losses;
pub mod schedule;

pub mod config;
pub mod experiment;

pub mod checkpoint;
pub mod training;
pub mod validation;

pub mod metrics;

#[cfg(test)]
mod test_table;

pub use config::Config;
pub use error::TrainError;
pub use random::Random;
pub use selection::Selection;
pub use table::{CLASSES, Split, Table};
pub use windows::Windows;
