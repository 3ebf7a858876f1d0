//! [`Snapshot`]: all that a sensor knows of itself, at one moment.
//!
//! The daemon fills one about once a second; metrics, health, `/v1/status` and `top` read nothing else. Everything is
//! owned and plain: text, numbers, lists and maps. What is missing when one is read takes its default, and what is
//! unknown is ignored, so `top` and a sensor of another version understand each other.
//!
//! Counters count from the start of the sensor and never fall. Times are microseconds since 1970, UTC, by the wall clock.
//! Maps of reasons should hold every reason, also those with 0: a series that is there from the beginning can be summed.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// Counts by name: of a reason, a class, a cause.
pub type Counts = BTreeMap<String, u64>;

/// All that a sensor knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// Who it is and how it is.
    pub sensor: SensorView,
    /// By interface, in the order of the configuration.
    pub interfaces: Vec<InterfaceView>,
    /// Where every packet went.
    pub packets: Accounts,
    /// What became of flows.
    pub flows: FlowsView,
    /// Threads that keep flow tables.
    pub workers: Vec<WorkerView>,
    /// Scoring; `None` without a model.
    pub scoring: Option<ScoringView>,
    /// Where rows and alerts stay.
    pub sinks: Vec<SinkView>,
    /// Memory.
    pub memory: MemoryView,
    /// CPU seconds, user and system, by thread name.
    #[serde(deserialize_with = "numbers")]
    pub cpu_seconds: BTreeMap<String, f64>,
    /// The flow table being nearly full.
    pub emergencies: EmergencyView,
    /// The configuration in force.
    pub config: ConfigView,
    /// The control server; it fills this in itself.
    pub control: ControlView,
    /// Who sent the most, heaviest first; at most [`Self::TALKERS_MAX`].
    pub talkers: Vec<TalkerView>,
    /// Newest first; at most [`Self::INCIDENTS_MAX`].
    pub incidents: Vec<IncidentView>,
}

/// Who the sensor is and how it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SensorView {
    /// As the configuration has it, or the host's name.
    pub name: String,
    /// Of the program.
    pub version: String,
    /// Process.
    pub pid: u32,
    /// Name of the schema of flows.
    pub schema: String,
    /// When it started.
    pub started_us: i64,
    /// When this snapshot was taken.
    pub now_us: i64,
    /// What scores flows.
    pub model: Option<ModelView>,
    /// What it is doing.
    pub state: State,
}

/// The model in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelView {
    /// Name or hash, as the manifest has it.
    pub id: String,
    /// When it was loaded.
    pub loaded_us: i64,
}

/// What a sensor is doing. Of several that hold, the last in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It does not capture yet.
    #[default]
    Starting,
    /// All is as it should be.
    Running,
    /// Flows go on without a verdict, because the scorer cannot follow.
    Shedding,
    /// A flow table is nearly full, timeouts are short.
    Emergency,
    /// It was told to stop and empties its tables.
    Stopping,
}

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InterfaceView {
    /// As the system names it.
    pub name: String,
    /// Capture handles that share it.
    pub readers: u32,
    /// Whether it is there and up.
    pub up: bool,
    /// What is wrong with it, as a sentence.
    pub trouble: Option<String>,
    /// Frames that the kernel saw for these handles, those it dropped included.
    pub seen_pkts: u64,
    /// Bytes of the frames that were read, as on the wire.
    pub seen_bytes: u64,
    /// Frames that the kernel dropped because the ring was full.
    pub kernel_dropped_pkts: u64,
    /// How often it was opened again.
    pub reopened: u64,
    /// What the adapter counts; it counts frames for everybody, and from its own start.
    pub nic: Option<NicView>,
}

/// What an adapter counts, from `/sys/class/net/*/statistics`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NicView {
    /// Frames received.
    pub rx_packets: u64,
    /// Dropped on the way into the kernel.
    pub rx_dropped: u64,
    /// Not taken from the adapter in time.
    pub rx_missed: u64,
    /// Damaged.
    pub rx_errors: u64,
}

/// Where every packet went. Both equations hold at every moment that a snapshot is taken:
///
/// ```text
///  seen      = processed + kernel_dropped + ring_dropped + filtered + shed + undecodable + in_flight
///  processed = in_emitted_flows + in_ended_flows + in_live_flows + non_flow
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Accounts {
    /// Came to the sensor's handles, what the kernel dropped included.
    pub seen: u64,
    /// Reached a flow table.
    pub processed: u64,
    /// Dropped by the kernel, because its ring was full.
    pub kernel_dropped: u64,
    /// Dropped before a worker, because its ring was full.
    pub ring_dropped: u64,
    /// Not wanted, by reason: expression, duplicate.
    pub filtered: Counts,
    /// Given up by the sensor to keep going.
    pub shed: u64,
    /// Not decoded, by reason.
    pub undecodable: Counts,
    /// Read and not yet at a worker: in the rings.
    pub in_flight: u64,
    /// In flows whose rows were handed out.
    pub in_emitted_flows: u64,
    /// In flows that ended and wait for their verdict or row.
    pub in_ended_flows: u64,
    /// In flows of the tables.
    pub in_live_flows: u64,
    /// Processed and of no flow, by reason.
    pub non_flow: Counts,
}

/// What became of flows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FlowsView {
    /// In the tables.
    pub live: u64,
    /// As many as the tables hold at most.
    pub live_max: u64,
    /// Opened.
    pub opened: u64,
    /// Ended, and their rows handed out.
    pub emitted: u64,
    /// Ended early, because a table was full.
    pub evicted: u64,
    /// Early records of long flows.
    pub partial: u64,
    /// Emitted, by why they ended.
    pub by_end_reason: Counts,
}

/// One thread that keeps a flow table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerView {
    /// From 0.
    pub index: u32,
    /// In its table.
    pub live_flows: u64,
    /// Whether its table is nearly full and its timeouts short.
    pub emergency: bool,
    /// How full the ring before it is, 0 to 100.
    #[serde(deserialize_with = "number")]
    pub ring_fill_percent: f64,
    /// How long ago it last did something, by the monotonic clock; a worker without packets moves at every tick.
    pub since_moved_us: u64,
}

/// Scoring.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScoringView {
    /// The model, as in [`ModelView::id`].
    pub model: String,
    /// Flows with a verdict.
    pub scored_flows: u64,
    /// Flows that went on without one, because the scorer could not follow.
    pub shed_flows: u64,
    /// Whether flows are shed now.
    pub shedding: bool,
    /// Flows that wait for their window.
    pub held_flows: u64,
    /// By class.
    pub verdicts: Counts,
    /// Incidents opened.
    pub incidents: u64,
    /// Those that became alerts.
    pub alerts: u64,
    /// Windows computed.
    pub windows: u64,
    /// Inputs that are now spread otherwise than in training.
    pub drift_shifted_inputs: u64,
}

/// A place where rows or alerts stay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkView {
    /// Such as `rows`, `eve`, `alerts`, `syslog`, `webhook`.
    pub name: String,
    /// Rows, lines or messages written.
    pub written_rows: u64,
    /// Their bytes.
    pub written_bytes: u64,
    /// Rows that were not written, by cause.
    pub dropped_rows: Counts,
    /// Failures of the system below.
    pub errors: u64,
    /// The latest of them.
    pub last_error: Option<String>,
    /// Files finished.
    pub rotated: u64,
    /// Files packed.
    pub compressed: u64,
    /// Files removed to keep within the limits.
    pub removed: u64,
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryView {
    /// What tables, queues and capture buffers may take.
    pub budget_bytes: u64,
    /// What the process takes.
    pub resident_bytes: u64,
}

/// The flow table being nearly full.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EmergencyView {
    /// How often it began.
    pub entered: u64,
    /// How often it ended.
    pub left: u64,
    /// When the present one began.
    pub since_us: Option<i64>,
}

/// The configuration in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigView {
    /// When it was read.
    pub loaded_us: i64,
    /// Times that another one came into force.
    pub reloads: u64,
    /// Times that another one was refused.
    pub refused: u64,
    /// Why the latest one was refused; `None` if it was not.
    pub last_error: Option<String>,
}

/// The control server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ControlView {
    /// Open now.
    pub connections: u64,
    /// Requests answered, refused ones included.
    pub requests: u64,
    /// Connections and requests refused, by reason.
    pub refused: Counts,
}

/// One that sends much.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TalkerView {
    /// The initiator's address.
    pub address: String,
    /// Packets of its flows, both ways.
    pub pkts: u64,
    /// Bytes of its flows, both ways.
    pub bytes: u64,
    /// Its flows.
    pub flows: u64,
}

/// One incident.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IncidentView {
    /// Counts up; that of the alert if it is one.
    pub number: u64,
    /// Class of its flows.
    pub class: String,
    /// ATT&CK technique.
    pub attack_id: Option<String>,
    /// Whose it is.
    pub by: IncidentBy,
    /// The source's address, or the target's with its port.
    pub host: String,
    /// Flows.
    pub flows: u64,
    /// Start of the earliest flow.
    pub first_us: i64,
    /// Last packet of the latest flow.
    pub last_us: i64,
    /// Sum of `-log10 p` over its flows.
    #[serde(deserialize_with = "number")]
    pub evidence: f64,
    /// Whether it became an alert.
    pub alert: bool,
    /// Why, as a sentence.
    pub reason: String,
}

/// What the flows of an incident have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IncidentBy {
    /// The host that opened them.
    #[default]
    Source,
    /// The host and port they went to.
    Target,
}

/// What [`Accounts`] do not explain: 0 on both sides, or the sensor is wrong. Negative where more is accounted for than there was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Of the packets seen.
    pub from_seen: i128,
    /// Of the packets processed.
    pub from_processed: i128,
}

impl Snapshot {
    /// Talkers at most.
    pub const TALKERS_MAX: usize = 10;
    /// Incidents at most.
    pub const INCIDENTS_MAX: usize = 100;
}

impl Accounts {
    /// What the equations do not explain.
    pub fn missing(&self) -> Missing {
        let seen = [self.processed, self.kernel_dropped, self.ring_dropped, self.shed, self.in_flight];
        let processed = [self.in_emitted_flows, self.in_ended_flows, self.in_live_flows];
        Missing {
            from_seen: i128::from(self.seen) - sum(seen) - total(&self.filtered) - total(&self.undecodable),
            from_processed: i128::from(self.processed) - sum(processed) - total(&self.non_flow),
        }
    }

    /// Packets that came and reached no flow table though they were wanted: dropped by kernel or ring, or shed.
    pub fn lost(&self) -> u64 {
        self.kernel_dropped.saturating_add(self.ring_dropped).saturating_add(self.shed)
    }
}

impl Missing {
    /// Both sides in absolute value, lest they cancel.
    pub fn total(self) -> u128 {
        self.from_seen.unsigned_abs() + self.from_processed.unsigned_abs()
    }
}

impl State {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Shedding => "shedding",
            Self::Emergency => "emergency",
            Self::Stopping => "stopping",
        }
    }
}

fn sum<const N: usize>(counts: [u64; N]) -> i128 {
    counts.into_iter().map(i128::from).sum()
}

fn total(counts: &Counts) -> i128 {
    counts.values().copied().map(i128::from).sum()
}

/// JSON has no numbers that are not finite; they are written as `null`.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

fn numbers<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, f64>, D::Error> {
    let numbers = BTreeMap::<String, Option<f64>>::deserialize(from)?;
    Ok(numbers.into_iter().map(|(name, number)| (name, number.unwrap_or(f64::NAN))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_balance_or_say_which_side_does_not() {
        let mut accounts = Accounts {
            seen: 100,
            processed: 60,
            kernel_dropped: 10,
            ring_dropped: 5,
            filtered: Counts::from([("expression".into(), 7), ("duplicate".into(), 3)]),
            shed: 1,
            undecodable: Counts::from([("truncated".into(), 4)]),
            in_flight: 10,
            in_emitted_flows: 30,
            in_ended_flows: 2,
            in_live_flows: 20,
            non_flow: Counts::from([("fragment".into(), 8)]),
        };
        assert_eq!(accounts.missing(), Missing::default());
        assert_eq!(accounts.lost(), 16);
        accounts.seen += 2;
        accounts.in_live_flows += 2;
        assert_eq!(accounts.missing(), Missing { from_seen: 2, from_processed: -2 });
        assert_eq!(accounts.missing().total(), 4);
    }

    #[test]
    fn what_is_missing_takes_its_default_and_what_is_unknown_is_ignored() {
        let text = r#"{"sensor": {"name": "a", "state": "emergency", "colour": "red"}, "rooms": 4}"#;
        let snapshot: Snapshot = serde_json::from_str(text).unwrap();
        assert_eq!(snapshot.sensor.name, "a");
        assert_eq!(snapshot.sensor.state, State::Emergency);
        assert_eq!(snapshot.flows, FlowsView::default());
    }

    #[test]
    fn states_have_the_same_name_in_json() {
        use State::{Emergency, Running, Shedding, Starting, Stopping};
        for state in [Starting, Running, Shedding, Emergency, Stopping] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
    }
}
