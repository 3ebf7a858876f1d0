//! The vocabulary of Tapline: what travels through the rings, and the words every stage shares.
//!
//! ```text
//!  capture ──Frame──► packet ──PacketRecord──► flow ──FlowRecord──► features ──Column, Cell──► export
//! ```
//!
//! This crate owns types and the few rules that belong to the types themselves (how two directions share one
//! [`FlowKey`]). It never reads a clock, a file or a socket, and it depends on serde alone. Times are microseconds
//! since the Unix epoch; sizes are bytes; counts are packets.

pub mod timestamp;

pub mod frame;
pub mod link_type;

pub mod packet_record;

pub mod flow_key;
pub mod flow_record;
pub mod tracker;

pub mod cic_version;
pub mod column;

pub use cic_version::CicVersion;
pub use column::{Cell, Column, IntList, Names, ShortText};
pub use flow_key::{Direction, Endpoint, FlowKey, KeyRules};
pub use flow_record::{EndReason, FlowHead, FlowRecord};
pub use frame::Frame;
pub use link_type::LinkType;
pub use packet_record::{PacketRecord, TunnelKind, protocol, tcp_flag};
pub use timestamp::Timestamp;
pub use tracker::{Activity, Opening, Tracker};
