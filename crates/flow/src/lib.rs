//! The flow table: which flow a packet belongs to, in which direction, and when that flow ends.
//!
//! ```text
//!  PacketRecord ──push──► FlowTable ──────────► FlowState of the Tracker (features)
//!  packet time  ──tick──►   slab   (entries)
//!                           index  (keyed hash, per shard)
//!                           wheel  (deadlines, per shard)  ──drain──► EndedFlow ──► FlowRecord
//! ```
//!
//! One table is owned by one worker; nothing is shared. It is told the time by the packets, holds at most a stated
//! number of flows, and hands out every flow it ever opened exactly once: a packet pushed is in one record, or it is
//! counted by [`NonFlow`] reason. It never reads a clock, a file or a lock, and it formats nothing.
//!
//! The lifetimes of flows stand in two small files: [`tapline`](lifetime_tapline) and [`CICFlowMeter`](lifetime_cic).
//! Both answer the same question with a [`Step`].

pub mod flow_table;

mod slab;
mod timer_wheel;

pub mod lifetime;
pub mod lifetime_cic;
pub mod lifetime_tapline;

pub mod counters;
pub mod shard;

mod fuzz;

pub use counters::{NonFlow, TableCounters};
pub use flow_table::{CLOCK_SET_BACK_US, EndedFlow, FlowTable, HashSeed, SortKey};
pub use fuzz::fuzz_flow_table;
pub use lifetime::{Lifetime, Rules, Step, Timeouts};
pub use shard::{SHARDS, shard_of};
pub use slab::ChunkHook;
