//! What a sensor tells about itself, and `top`, which shows it.
//!
//! ```text
//!                    ┌──────────────────────────── server ─┐
//!  daemon ─ Sensor ──┤ Snapshot ─┬─ METRICS ─ /metrics     ├── TCP, loopback ──► Prometheus, curl
//!                    │           ├─ HealthWatch ─ /health  │
//!                    │           └─ JSON ─ /v1/status      ├── unix socket ──► top
//!                    │ flows(), score() ─ /v1/flows, ...   │
//!                    └─────────────────────────────────────┘
//! ```
//!
//! In: a [`Snapshot`] once a second, which the daemon fills from its counters, and its answers to [`Sensor`]. Out: text and
//! JSON over HTTP. Nothing here runs per packet or per flow, but for [`RecentFlows`], which the daemon feeds. Addresses are
//! never labels of metrics: whoever sends from many would fill the memory of Prometheus.
//!
//! [`serve`] needs one thread, and a second while something is scored. It opens nothing: [`Listeners`] are bound before the
//! sensor gives up its rights. Connections, bodies and waiting are bounded; what is refused is counted.

pub mod snapshot;

pub mod exposition;
pub mod metrics;

pub mod health;

pub mod sensor;

pub mod recent_flows;

pub mod listeners;
pub mod server;

pub mod top;

mod control_meter;
mod endpoints;
mod paced_stream;

pub use exposition::{Metric, MetricKind, exposition};
pub use health::Health;
pub use listeners::{ControlSocket, ListenError, Listeners};
pub use metrics::{METRICS, metrics_page};
pub use recent_flows::RecentFlows;
pub use sensor::{FlowQuery, ScoreBody, ScoreRefusal, Sensor};
pub use server::serve;
pub use snapshot::{
    Accounts, ConfigView, ControlView, Counts, EmergencyView, FlowsView, IncidentBy, IncidentView,
    InterfaceView, MemoryView, Missing, ModelView, NicView, ScoringView, SensorView, SinkView, Snapshot,
    State, TalkerView, WorkerView,
};
pub use top::{TopError, TopSettings, top, top_once};
