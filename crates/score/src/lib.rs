//! Scoring: windows of flows in, verdicts and incidents out.
//!
//! The crate is pure but for loading a model: packet time is its only clock. It knows inputs by name and position only;
//! how they are computed from flows is the business of `tapline-features`.

mod attention;
pub mod batch;
mod byte_trees;
pub mod calibration;
pub mod cpu_network;
pub mod detector;
pub mod distinct;
pub mod drift;
pub mod ensemble;
pub mod error;
mod expected;
pub mod explain;
pub mod incident;
mod kernel;
mod layer_norm;
mod linear;
pub mod logistic;
pub mod manifest;
pub mod manifest_check;
mod manifest_text;
pub mod model_dir;
pub mod network;
pub mod one_input;
mod packing;
pub mod reasons;
mod recurrence;
pub mod scaler;
pub mod scorer;
pub mod tensors;
pub mod thresholds;
pub mod trees;
pub mod window;

#[cfg(test)]
mod example;

pub use batch::WindowBatch;
pub use calibration::CalibrationError;
pub use cpu_network::CpuNetwork;
pub use detector::Detector;
pub use drift::{Drift, DriftReport};
pub use ensemble::{Ensemble, Vote};
pub use error::ScoreError;
pub use explain::{Explainer, Explanation};
pub use incident::{Event, Evidence, Incident, Incidents};
pub use logistic::Logistic;
pub use manifest::Manifest;
pub use manifest_check::InputSchema;
pub use model_dir::{LoadedModel, ModelDir};
pub use network::BilstmAttn;
pub use one_input::OneInput;
pub use scaler::Scaler;
pub use scorer::{Batching, Scorer, Verdict};
pub use trees::Trees;
pub use window::{ClosedWindows, WindowLimits, Windower};
