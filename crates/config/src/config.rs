//! What a configuration says, checked and typed. The comments of `default.toml` say more about each key.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::choice::{Compress, Encapsulation, Fanout, LogFormat, LogLevel, RowFormat, Timestamp};
use crate::syslog_target::SyslogTarget;

/// A sensor's configuration. Each value from [`Config::load`] is within its range and fits the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The sensor as a whole.
    pub sensor: SensorConfig,
    /// What is captured where: 1 to 16, no name twice.
    pub interfaces: Vec<InterfaceConfig>,
    /// When flows end, and what belongs to one.
    pub flow: FlowConfig,
    /// What is different while the flow table is nearly full.
    pub emergency: EmergencyConfig,
    /// Verdicts and alerts.
    pub scoring: ScoringConfig,
    /// Flows in files.
    pub rows: RowsConfig,
    /// Suricata's EVE JSON.
    pub eve: EveConfig,
    /// Where alerts go.
    pub alerts: AlertsConfig,
    /// How the sensor is watched.
    pub control: ControlConfig,
    /// What the sensor gives up once it has started.
    pub rights: RightsConfig,
    /// What the sensor says of itself.
    pub log: LogConfig,
}

/// The sensor as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorConfig {
    /// How events name this sensor; `None` for the host's name.
    pub name: Option<String>,
    /// What tables, queues and capture buffers may take together, in bytes; at least 128 MiB.
    pub memory_bytes: u64,
    /// Threads that keep flow tables, 1 to 64.
    pub workers: u16,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceConfig {
    /// Its name, 1 to 15 bytes.
    pub name: String,
    /// What to capture, in tcpdump's language; `None` for everything. It has not been compiled yet.
    pub filter: Option<String>,
    /// Capture handles that share the interface, 1 to 16.
    pub readers: u16,
    /// How they share it.
    pub fanout: Fanout,
    /// Ring between kernel and sensor, of each reader, in bytes; at most 1 GiB.
    pub buffer_bytes: u64,
    /// Bytes kept of a frame, 96 to 262,144.
    pub snap_length_bytes: u64,
    /// Frames for other hosts too.
    pub promiscuous: bool,
    /// Frames that this host sends too.
    pub outgoing: bool,
    /// Who stamps packets.
    pub timestamp: Timestamp,
}

/// When flows end, and what belongs to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowConfig {
    /// Quiet for so many microseconds, a flow has ended.
    pub idle_timeout_us: i64,
    /// A flow older than so many microseconds is cut; at most an hour.
    pub active_timeout_us: i64,
    /// Ages in microseconds at which a live flow gets an early record: at most 8, rising, below the active timeout.
    pub partial_us: Vec<i64>,
    /// The same addresses in two VLANs are two flows.
    pub vlan_in_key: bool,
    /// A frame repeated within so many microseconds is dropped; at most a second.
    pub dedup_us: Option<i64>,
    /// Tunnels that stay closed, each once.
    pub no_decapsulate: Vec<Encapsulation>,
}

/// What is different while the flow table is nearly full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmergencyConfig {
    /// Quiet for so many microseconds, a flow has ended. May be longer than that of [`FlowConfig`]: the shorter one holds.
    pub idle_timeout_us: i64,
    /// It begins when so many of the flows are live that memory allows.
    pub enter_percent: u8,
    /// And it is over when no more than this are; less than `enter_percent`.
    pub leave_percent: u8,
}

/// Verdicts and alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoringConfig {
    /// Model directory; without one flows are not scored.
    pub model: Option<PathBuf>,
    /// How full the queue to the scorer may be before flows go on without a verdict.
    pub shed_percent: u8,
}

/// Flows in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowsConfig {
    /// What they are written as.
    pub format: RowFormat,
    /// Where files of rows, events and alerts are.
    pub folder: PathBuf,
    /// A file ends before it would be longer, in bytes.
    pub rotate_size_bytes: u64,
    /// And when it is so old, in microseconds; `None` for never.
    pub rotate_age_us: Option<i64>,
    /// How many finished files stay, of each kind.
    pub keep_files: u32,
    /// How much they may take, of each kind, in bytes; not less than `rotate_size_bytes`.
    pub keep_size_bytes: u64,
    /// What becomes of finished files.
    pub compress: Compress,
}

/// Suricata's EVE JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EveConfig {
    /// Whether it is written.
    pub enabled: bool,
    /// Flow events; else alerts and statistics only.
    pub flows: bool,
    /// Statistics so often, in microseconds; `None` for never.
    pub stats_every_us: Option<i64>,
}

/// Where alerts go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertsConfig {
    /// A file, `alerts.ndjson`.
    pub file: bool,
    /// A syslog server.
    pub syslog: Option<SyslogTarget>,
    /// A web server: `http://` or, in builds that have TLS, `https://`. May hold a password.
    pub webhook: Option<String>,
}

/// How the sensor is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlConfig {
    /// Metrics, health, flows, incidents over HTTP.
    pub listen: Option<SocketAddr>,
    /// Unix socket for `tapline top`.
    pub socket: Option<PathBuf>,
}

/// What the sensor gives up once it has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RightsConfig {
    /// Files outside of what the configuration names cannot be opened.
    pub landlock: bool,
    /// System calls that the sensor does not need fail.
    pub seccomp: bool,
}

/// What the sensor says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The least that is said.
    pub level: LogLevel,
    /// How.
    pub format: LogFormat,
}

impl Config {
    /// The capture buffers of all readers together, in bytes; at most half of the memory.
    #[must_use]
    pub fn capture_buffers_bytes(&self) -> u64 {
        let of_readers = |one: &InterfaceConfig| one.buffer_bytes.saturating_mul(one.readers.into());
        self.interfaces.iter().map(of_readers).fold(0, u64::saturating_add)
    }

    /// A configuration to read the default into, which sets every key (a test holds it to that).
    pub(crate) fn blank() -> Self {
        Self {
            sensor: SensorConfig { name: None, memory_bytes: 0, workers: 0 },
            interfaces: Vec::new(),
            flow: FlowConfig {
                idle_timeout_us: 0,
                active_timeout_us: 0,
                partial_us: Vec::new(),
                vlan_in_key: false,
                dedup_us: None,
                no_decapsulate: Vec::new(),
            },
            emergency: EmergencyConfig { idle_timeout_us: 0, enter_percent: 0, leave_percent: 0 },
            scoring: ScoringConfig { model: None, shed_percent: 0 },
            rows: RowsConfig {
                format: RowFormat::None,
                folder: PathBuf::new(),
                rotate_size_bytes: 0,
                rotate_age_us: None,
                keep_files: 0,
                keep_size_bytes: 0,
                compress: Compress::None,
            },
            eve: EveConfig { enabled: false, flows: false, stats_every_us: None },
            alerts: AlertsConfig { file: false, syslog: None, webhook: None },
            control: ControlConfig { listen: None, socket: None },
            rights: RightsConfig { landlock: false, seccomp: false },
            log: LogConfig { level: LogLevel::Info, format: LogFormat::Text },
        }
    }
}

impl InterfaceConfig {
    /// As [`Config::blank`], without a name.
    pub(crate) const fn blank() -> Self {
        Self {
            name: String::new(),
            filter: None,
            readers: 0,
            fanout: Fanout::HostPair,
            buffer_bytes: 0,
            snap_length_bytes: 0,
            promiscuous: false,
            outgoing: false,
            timestamp: Timestamp::Host,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::embedded()
    }
}
