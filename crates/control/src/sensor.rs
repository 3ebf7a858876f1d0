//! [`Sensor`]: what the control server asks of the daemon.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use thiserror::Error;

use crate::snapshot::Snapshot;

/// What the control server asks of the daemon. `snapshot` and `flows` must answer at once: they run in the thread that
/// answers everybody.
pub trait Sensor: Send + Sync {
    /// The latest snapshot.
    fn snapshot(&self) -> Arc<Snapshot>;

    /// Recent flows that match, newest first, each a JSON object in text of one line.
    /// [`RecentFlows`](crate::RecentFlows) keeps them.
    fn flows(&self, query: &FlowQuery) -> Vec<String>;

    /// Verdicts on what somebody sent; a JSON object. Runs in a thread of its own, never two at a time.
    ///
    /// # Errors
    ///
    /// Says why there are none.
    fn score(&self, body: ScoreBody) -> Result<serde_json::Value, ScoreRefusal>;
}

/// Which flows are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowQuery {
    /// At most so many, 1 to [`RecentFlows::MAX`](crate::RecentFlows::MAX).
    pub limit: usize,
    /// Initiator or responder.
    pub address: Option<IpAddr>,
    /// Class of the verdict.
    pub class: Option<String>,
}

/// What is to be scored.
#[derive(Clone, Debug, PartialEq)]
pub enum ScoreBody {
    /// A capture file, pcap or pcapng, whole.
    Capture(Vec<u8>),
    /// Flows by the values of their inputs; at most [`Self::FLOWS_MAX`].
    Flows(Vec<BTreeMap<String, f64>>),
}

/// Why nothing was scored.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScoreRefusal {
    /// There is no model: answered with 503.
    #[error("this sensor has no model")]
    NoModel,
    /// What was sent cannot be scored: answered with 400.
    #[error("{reason}")]
    BadInput {
        /// What is wrong, and where.
        reason: String,
        /// What to send.
        hint: String,
    },
    /// Scoring failed, through no fault of who asked: answered with 500.
    #[error("scoring failed: {0}")]
    Failed(String),
}

impl ScoreBody {
    /// Bytes of a body at most.
    pub const BYTES_MAX: usize = 4 << 20;
    /// Flows of a body at most.
    pub const FLOWS_MAX: usize = 10_000;
}
