//! What the sensor may do: dropping the rights that it does not need, telling systemd how it is, and saying what is amiss.
//!
//! ```text
//!  open everything ──► drop_all(&Plan) ──► Report ──► start threads ──► Notifier::ready
//!                         │
//!                         ├─ capabilities   all but CAP_NET_RAW            capabilities.rs
//!                         ├─ no new privileges, for good
//!                         ├─ Landlock       the files and TCP ports named  file_access.rs
//!                         └─ seccomp        the system calls needed        system_calls.rs
//! ```
//!
//! In: a [`Plan`], in the main thread before there are others; they inherit what it has. Out: a [`Report`] that says of each
//! measure whether it is in force, and if not, why: a kernel that lacks one is told, never passed over. What is dropped
//! stays dropped: nothing here gives a right back. Only Linux knows these measures; elsewhere all are unavailable.
//!
//! [`Notifier`] speaks sd_notify(3). [`diagnose`] is `tapline doctor` as data: facts in, [`Finding`]s out, each with its
//! cure. [`capture_denied_help`] has the lines that grant the right to capture.
//!
//! ```no_run
//! use std::path::PathBuf;
//! use tapline_rights::{Notifier, Paths, Plan, TcpConnect, drop_all};
//!
//! let notifier = Notifier::from_env().unwrap_or_default();
//! let paths = Paths {
//!     read: vec![PathBuf::from("/etc/tapline")],
//!     write: vec![PathBuf::from("/var/log/tapline")],
//!     tcp_connect: TcpConnect::Ports(Vec::new()),
//! };
//! let report = drop_all(&Plan { keep_net_raw: true, landlock: Some(paths), seccomp: true })?;
//! notifier.status(&report.to_string())?;
//! notifier.ready()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod capabilities;
mod confinement;
mod diagnosis;
mod error;
#[cfg(target_os = "linux")]
mod file_access;
#[cfg(target_os = "linux")]
mod kernel_call;
mod notifier;
mod plan;
mod report;
mod rights;
#[cfg(target_os = "linux")]
mod system_calls;

pub use capabilities::CapabilitySet;
pub use confinement::drop_all;
pub use diagnosis::{CapturePlan, Finding, InterfacePlan, State, diagnose};
pub use error::RightsError;
pub use notifier::Notifier;
pub use plan::{Grant, Paths, Plan, TcpConnect};
pub use report::{Protection, Report};
pub use rights::{Landlock, Rights, capture_denied_help};
