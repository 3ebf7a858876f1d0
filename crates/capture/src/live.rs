//! Frames from a network interface, through libpcap's memory-mapped ring (Linux).
//!
//! ```text
//!  interface ──► kernel: BPF ──► [fanout] ──► ring (TPACKET_V3) ──► LiveSource ──► Frame<'_>  (borrowed from the ring)
//!                  │                            │ full                  │ down, gone
//!              not counted               kernel_dropped           LiveSupervisor: opens again
//! ```
//!
//! [`LiveSource`] is one handle on one interface; [`LiveSource::open_group`] makes several that share the packets of the
//! interface among them ([`FanoutConfig`]). [`LiveSupervisor`] holds one and outlives the interface: it opens it again
//! when it comes back, and its counters go on. Both are asked for frames with a budget and a function that is called
//! with each; the call returns at most [`MOST_WAIT`] after the budget is used up or the wire is quiet, whatever happens
//! to the interface. Nothing is allocated or copied per frame: the function sees the frame where the kernel put it. (A
//! VLAN tag that the kernel had taken out is put back by libpcap.)
//!
//! The accounts are exact. A handle is born deaf: it lets no packet in until its filter, its fanout group and its
//! counters stand and the ring is empty. From then on `seen = delivered + kernel_dropped + what waits in the ring`
//! ([`CaptureStatistics`]); after `stop` nothing more comes in, and the last call says `Ended` when the ring is empty.
//!
//! What may go wrong at the start is a [`LiveError`] that says what to do; what only spoils the measurements is a
//! [`LiveNotice`].

mod config;
mod error;
mod fanout;
mod interface;
mod socket_option;
mod source;
mod statistics;
mod supervisor;

pub use config::{FanoutConfig, FanoutMode, LiveConfig, TimestampSource};
pub use error::LiveError;
pub use interface::{LiveNotice, Offload, check_interface};
pub use source::{LiveSource, MOST_WAIT};
pub use statistics::{CaptureStatistics, InterfaceCounters};
pub use supervisor::LiveSupervisor;
