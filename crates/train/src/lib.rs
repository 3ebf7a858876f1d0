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

pub mod alerts;
pub mod learner;
pub mod learning;
pub mod making;
mod model_text;

pub mod checkpoint;
pub mod judgement;
pub mod training;
pub mod validation;

mod bins;
pub mod boosting;
pub mod forest;
mod growth;
pub mod logistic;
pub mod one_input;
pub mod rows;

pub mod bootstrap;
pub mod metrics;

pub mod judge;
pub mod opinion;

pub mod episodes;
pub mod evaluation;
pub mod incidents;

pub mod public_tables;
pub mod quick;
pub mod sanity;
pub mod trials;

mod chart;
mod number_text;
pub mod report_html;
pub mod report_text;

#[cfg(test)]
mod test_opinions;
#[cfg(test)]
mod test_table;

pub use config::Config;
pub use error::TrainError;
pub use evaluation::Evaluation;
pub use opinion::Opinion;
pub use random::Random;
pub use rows::{Rows, RowsError};
pub use selection::Selection;
pub use table::{CLASSES, Split, Table};
pub use windows::Windows;
