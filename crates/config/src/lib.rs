//! The sensor's configuration: what `tapline run`, `check` and `doctor` are told.
//!
//! ```text
//!  default.toml ─► file ─► TAPLINE_SECTION__KEY ─► --set section.key=value ─► checks ─► Config
//!   (embedded)     (each layer goes before those on its left)                   │
//!                                                                               └─► ConfigError: all that is wrong,
//!                                                                                   with line, column, caret
//! ```
//!
//! This crate owns the keys, their types, ranges and defaults ([`DEFAULT_TOML`] is the one place of truth, and the manual),
//! the layers, the text of what is wrong, the JSON Schema, and which keys can change while the sensor runs. In: one file, and
//! the environment and settings as the caller hands them in. Out: a checked [`Config`] of plain data. It opens nothing but
//! that file, never looks whether interfaces, folders or models exist, and reads no clock. Times are microseconds, sizes are
//! bytes.
//!
//! ```
//! use tapline_config::{Config, Layers};
//!
//! let layers = Layers {
//!     settings: vec!["interface.0.name=eth1".to_owned(), "flow.idle_timeout=60s".to_owned()],
//!     ..Layers::default()
//! };
//! let config = Config::load(&layers)?;
//! assert_eq!((config.interfaces[0].name.as_str(), config.flow.idle_timeout_us), ("eth1", 60_000_000));
//! assert_eq!(config.changes(&Config::default()).restart, ["flow.idle_timeout", "interface.0.name"]);
//! # Ok::<(), tapline_config::ConfigError>(())
//! ```

pub mod config;

mod choice;
mod syslog_target;

mod draft;
mod layers;
mod rules;

mod keys;
mod kind;
mod quantity;

mod changes;
mod effective;
mod manual;
mod schema;

pub mod error;

pub use changes::Changes;
pub use choice::{Compress, Encapsulation, Fanout, LogFormat, LogLevel, RowFormat, Timestamp};
pub use config::Config;
pub use error::{ConfigError, Flaw, Place, Problem};
pub use layers::Layers;
pub use schema::json_schema;
pub use syslog_target::SyslogTarget;

/// The embedded default, commented: every key there is, with its default.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

/// The longest file that is read, in bytes.
pub const FILE_MAX_BYTES: u64 = 1 << 20;

/// The most interfaces.
pub const INTERFACES_MAX: usize = 16;

/// The most problems that are told at once; the rest is counted.
pub const PROBLEMS_MAX: usize = 20;
