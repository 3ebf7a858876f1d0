//! Tests of the whole program: captures in, rows, messages and exit codes out.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails should say so at once")]

mod support;

mod crate_graph;
mod golden;

mod bad_input;
mod command;
#[cfg(feature = "parquet")]
mod dataset;
mod determinism;
mod label;
mod learning;
mod model;
mod oracle;
mod scoring;
#[cfg(all(feature = "libpcap", target_os = "linux"))]
mod sensor;
mod shared_corpora;
mod testbed;
