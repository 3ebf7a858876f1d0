//! Labels: what is known about traffic, joined to the flows that it became.
//!
//! ```text
//!  truth CSV ──► TruthTable::from_csv ───┐
//!                                        ├─► TruthTable ──label(&Endpoints)──► Option<Label> ──► LabelCounts
//!  rules TOML ─► TruthTable::from_rules ─┘
//! ```
//!
//! This crate owns the two notations of truth, the rules by which a flow finds its row (which row is the most specific,
//! what is a conflict), the index that makes this fast, and the counts. In: text, and the endpoints and times of flows.
//! Out: [`Label`]s that borrow their names from the table. It never opens a file, reads a clock, or knows how flows
//! are made or written. Times are microseconds since the Unix epoch.
//!
//! ```
//! use tapline_label::{Class, Endpoints, TruthTable};
//! use tapline_record::Timestamp;
//!
//! let truth = "\
//! start_us,end_us,source,source_port,destination,destination_port,protocol,class,hostile,behaviour,tool,technique,run,site
//! 1000000,2000000,10.0.0.9,,10.0.0.1,22,tcp,brute-force,1,ssh-guess,hydra,T1110.001,run-1,lab
//! ";
//! let table = TruthTable::from_csv(truth.as_bytes(), "truth.csv")?;
//! let flow = Endpoints {
//!     source: [10, 0, 0, 9].into(),
//!     source_port: 40_000,
//!     destination: [10, 0, 0, 1].into(),
//!     destination_port: 22,
//!     protocol: 6,
//!     first: Timestamp::from_micros(1_500_000),
//!     last: Timestamp::from_micros(1_900_000),
//! };
//! let label = table.label(&flow).ok_or("no label")?;
//! assert_eq!((label.class, label.tool, label.row), (Class::BruteForce, "hydra", 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod class;
pub mod rule;

mod rules_toml;
pub mod time_text;
mod truth_csv;

mod index;
pub mod table;

pub mod counts;

pub mod error;

pub use class::Class;
pub use counts::LabelCounts;
pub use error::TruthError;
pub use table::{Endpoints, Label, Slack, TruthTable};
pub use truth_csv::{COLUMNS, HEADER};

/// The most rows, or rules after lists have been multiplied out, that a table holds. A row takes about 350 bytes.
pub const ROWS_MAX: usize = 4_000_000;

/// The longest class, behaviour, tool, technique, run or site, in bytes: what a text cell holds
/// ([`ShortText`](tapline_record::ShortText)).
pub const NAME_MAX_BYTES: usize = 55;
