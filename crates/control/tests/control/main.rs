//! The control server over real connections, and the metrics as Prometheus reads them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that fails should say so at once, and one that is skipped too"
)]

mod http;
mod metrics;
mod samples;
mod top;
