//! Sinks as an operator meets them: small disks, kills, logrotate, servers that hang.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that fails should say so at once, and one that is skipped too"
)]

mod folder;

mod alerts;
mod eve_schema;
mod files;
mod kill;
mod killed_child;
mod small_disk;
#[cfg(feature = "parquet")]
mod tables;
