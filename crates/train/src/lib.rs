//! Learning: labelled tables in, model directories out; and what those models are worth on networks they never saw.

pub mod metrics;
