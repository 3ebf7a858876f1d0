//! Tests of the whole program: captures in, rows, messages and exit codes out.

mod support;

mod crate_graph;
mod golden;

mod bad_input;
mod command;
mod determinism;
mod model;
mod oracle;
mod shared_corpora;
