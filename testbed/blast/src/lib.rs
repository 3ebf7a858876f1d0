//! Frames into an interface, as fast as the kernel takes them or at a given rate, counted exactly.
//!
//! ```text
//!  capture file ─┐
//!                ├─► frames ──► Pace: when ──► PacketSocket: sendmmsg, 256 at once ──► interface of a test's namespace
//!  FlowFrames ───┘                                    │
//!                                                     └─► Report: sent, failed, seconds
//! ```
//!
//! For tests and benchmarks of live capture: [`Report::sent`] is the number of frames that the kernel accepted for the
//! wire, so that a receiver's account can be held against it to the last frame. Each frame is tried once; a refused one
//! counts as failed.
//!
//! * **Traffic stays in the test's own namespaces**: [`Blast::on`] refuses an interface of the host's network namespace
//!   ([`mod@namespace`]), but for the loopback interface, unless it is told otherwise.
//! * **Every run ends**: [`Bounds`] has a number of frames and a time, and a flag that ends it at once.
//! * It makes no answers, and knows nothing of what it sends but the layout of [`FlowFrames`].
//!
//! Two more things that tests of a sensor need and that only system calls give: [`StampedReception`] and [`FrozenThread`].
//!
//! A TPACKET_V2 transmit ring was tried in place of sendmmsg(2) and was not faster on veth: 0.63 to 0.70 million frames a
//! second against 0.63 to 0.79, in turns on one core of a busy machine.

pub mod blast;
pub mod capture_file;
pub mod flow_frames;
pub mod frozen_thread;
pub mod namespace;
pub mod pace;
pub mod packet_socket;

pub use blast::{Blast, BlastError, Bounds, Report, Where};
pub use capture_file::{CaptureError, CaptureFrames};
pub use flow_frames::{FlowFrames, FlowFramesError, Tuples};
pub use frozen_thread::FrozenThread;
pub use pace::Pace;
pub use packet_socket::StampedReception;
