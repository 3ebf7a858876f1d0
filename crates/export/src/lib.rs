//! Flow rows to bytes, and bytes to where they stay: CSV, NDJSON, Parquet and EVE JSON; rotating files,
//! syslog, webhooks.
//!
//! ```text
//!                      ┌─ csv ────┐
//!  &R ──► RowWriter ───┼─ ndjson ─┼─ whole lines ──► Output ──► pipe, socket
//!         &[Column<R>] │          │                        └──► file (a torn row is cut off)
//!                      └─ parquet ── row groups ──────────────┘
//! ```
//!
//! A row type `R` is known only by its [`Column`](tapline_record::Column)s: each has a name, a kind and a function that
//! reads one [`Cell`](tapline_record::Cell) from a row. A [`RowWriter`] walks these columns and writes the cells in a
//! [`Format`]; doubles are laid out by a [`NumberText`]. The daemon opens files and pipes and gives them in as an
//! [`Output`].
//!
//! What runs for months writes to sinks instead: a [`RotatingFile`] takes lines for files that end by size and age,
//! [`RotatingRows`] takes rows for such files or for Parquet. Sinks never fail once they are open: what they lose they count
//! in a [`SinkMeter`]. Alerts go through a bounded [`alert_queue()`] to [`Syslog`] and webhooks, each in a thread of its own.
//!
//! * **No torn row.** CSV and NDJSON leave in blocks that end with a row. If the disk fills up in the middle of a block,
//!   a file is cut back to its last whole row, and the [`ExportError`] says how many rows and bytes are safe.
//! * **No allocation per row** of CSV and NDJSON once the buffers stand, and bounded buffers for all: 272 KiB of text,
//!   or one Parquet row group of about 64 MiB.
//! * **No clock, no thread.** Sinks are told the time; those that wait have a `run` for a thread of the daemon's.
//!
//! ```
//! use std::io::Read;
//!
//! use tapline_export::{Format, NumberText, Output, RowWriter, TableMeta};
//! use tapline_record::column::Kind;
//! use tapline_record::{Cell, Column};
//!
//! struct Count {
//!     protocol: &'static str,
//!     bytes_per_s: f64,
//! }
//!
//! const COLUMNS: &[Column<Count>] = &[
//!     Column {
//!         name: "protocol",
//!         kind: Kind::Text,
//!         unit: "",
//!         definition: "transport protocol",
//!         cell: |row| Cell::Name(row.protocol),
//!     },
//!     Column {
//!         name: "bytes_per_s",
//!         kind: Kind::Float,
//!         unit: "bytes/s",
//!         definition: "mean rate",
//!         cell: |row| Cell::Float(row.bytes_per_s),
//!     },
//! ];
//!
//! let (mut reader, pipe) = std::io::pipe()?;
//! let out = Output::stream(pipe);
//! let mut rows = RowWriter::new(Format::Csv, COLUMNS, NumberText::Shortest, TableMeta::default(), out)?;
//! rows.write(&Count { protocol: "tcp", bytes_per_s: 1500.0 })?;
//! rows.write(&Count { protocol: "udp", bytes_per_s: 0.25 })?;
//! assert_eq!(rows.finish()?, 2);
//!
//! let mut text = String::new();
//! reader.read_to_string(&mut text)?;
//! assert_eq!(text, "protocol,bytes_per_s\ntcp,1500.0\nudp,0.25\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod format;
pub mod number_text;

pub mod row_writer;

mod cell_block;
mod cell_text;
mod csv;
mod json_text;
mod ndjson;
#[cfg(feature = "parquet")]
mod parquet;

pub mod json_rows;
mod line_buffer;
mod line_encoder;
pub mod output;

pub mod error;

pub mod eve;

pub mod compressor;
pub mod file_archive;
pub mod rotating_file;
pub mod rotating_rows;
#[cfg(feature = "parquet")]
mod rotating_table;

pub mod alert_queue;
pub mod syslog;
#[cfg(feature = "webhook")]
pub mod webhook;

pub mod sink_counters;

#[cfg(test)]
mod test_rows;

pub use alert_queue::{AlertMessage, AlertReceiver, AlertSender, Retries, Severity, alert_queue};
pub use cell_text::time_text;
pub use compressor::Compressor;
pub use error::{ExportError, Whole};
pub use eve::{Eve, EveAlert, EveColumns, EveFlow, EveStats, EveTraffic, EveVerdict};
pub use file_archive::{Compression, FileRules, Fsync, Leftovers, SinkError};
pub use format::{Format, UnknownFormat};
pub use json_rows::JsonRows;
pub use number_text::NumberText;
pub use output::Output;
pub use rotating_file::RotatingFile;
pub use rotating_rows::RotatingRows;
pub use row_writer::{RowWriter, TableMeta};
pub use sink_counters::{DropCause, SinkCounters, SinkMeter};
pub use syslog::{Syslog, SyslogSettings, SyslogTarget};
#[cfg(feature = "webhook")]
pub use webhook::{Webhook, WebhookError, WebhookSettings};
