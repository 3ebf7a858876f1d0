//! Flow features: what the packets of one flow add up to.
//!
//! ```text
//!  Opening, PacketRecord ──Tracker──► TaplineState   (constant size, exact integer moments)
//!                                     CicState       (CICFlowMeter, version by version, defects included)
//!  FlowRecord<State> ──COLUMNS──► Cells
//! ```
//!
//! Each schema is one `const` table of columns: [`TAPLINE_1`], [`CIC_2018`], [`CIC_HEAD`], [`CIC_GINTS`]. Everything that
//! needs to know a schema (headers, keys, documentation, the schema hash) reads that table.
//!
//! The crate is pure: packet time is its only clock, nothing is formatted or allocated per packet. Durations are
//! microseconds, sizes bytes, rates per second.

pub mod schema;

pub mod tapline_columns;
pub mod tapline_state;

pub mod active_idle;
pub mod bulk;
pub mod early;
pub mod moments;
pub mod tcp_stream;

pub mod cic_columns;
pub mod cic_state;
pub mod summary_statistics;

pub mod bounded_table;
pub mod context;
pub mod fading;
pub mod inputs;
pub mod lookahead;

pub mod community_id;

pub use cic_columns::{CIC_2018, CIC_GINTS, CIC_HEAD};
pub use cic_state::{CicState, CicTracker};
pub use schema::{ColumnDoc, SchemaId, schema_hash};
pub use tapline_columns::TAPLINE_1;
pub use tapline_state::{TaplineState, TaplineTracker};
