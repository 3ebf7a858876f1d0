//! [`METRICS`]: the one table of what Prometheus may ask; `/metrics` and `docs/metrics.md` are read from it.
//!
//! Names end with a base unit, counters with `_total`. Labels are few and their values come from the configuration and
//! the code: interface, reason, class, sink, cause, worker. An address is never a label, and neither is text that packets
//! carry.

use std::fmt::Write as _;

use crate::exposition::{Metric, MetricKind, Samples};
use crate::snapshot::{Counts, InterfaceView, NicView, ScoringView, SinkView, Snapshot, WorkerView};

use MetricKind::{Counter, Gauge};

/// All metrics, in the order of `/metrics`.
pub const METRICS: &[Metric] = &[
    // The accounts.
    counter(
        "tapline_seen_packets_total",
        "Packets that came to the sensor, what the kernel dropped included.",
        "packets",
        |s, out| out.add(&[], s.packets.seen),
    ),
    counter("tapline_processed_packets_total", "Packets that reached a flow table.", "packets", |s, out| {
        out.add(&[], s.packets.processed);
    }),
    counter(
        "tapline_kernel_dropped_packets_total",
        "Packets that the kernel dropped because its ring was full.",
        "packets",
        |s, out| out.add(&[], s.packets.kernel_dropped),
    ),
    counter(
        "tapline_ring_dropped_packets_total",
        "Packets dropped because the ring before a worker was full.",
        "packets",
        |s, out| out.add(&[], s.packets.ring_dropped),
    ),
    counter_by(
        "tapline_filtered_packets_total",
        "Packets that were not wanted.",
        "packets",
        &["reason"],
        |s, out| {
            by_name(&s.packets.filtered, out);
        },
    ),
    counter(
        "tapline_shed_packets_total",
        "Packets that the sensor gave up to keep going.",
        "packets",
        |s, out| {
            out.add(&[], s.packets.shed);
        },
    ),
    counter_by(
        "tapline_undecodable_packets_total",
        "Packets that could not be decoded.",
        "packets",
        &["reason"],
        |s, out| by_name(&s.packets.undecodable, out),
    ),
    gauge("tapline_in_flight_packets", "Packets read and not yet at a worker.", "packets", |s, out| {
        out.add(&[], s.packets.in_flight);
    }),
    counter(
        "tapline_emitted_flow_packets_total",
        "Packets of flows whose rows were handed out.",
        "packets",
        |s, out| out.add(&[], s.packets.in_emitted_flows),
    ),
    gauge(
        "tapline_ended_flow_packets",
        "Packets of flows that ended and wait for their verdict or row.",
        "packets",
        |s, out| out.add(&[], s.packets.in_ended_flows),
    ),
    gauge("tapline_live_flow_packets", "Packets of flows that live.", "packets", |s, out| {
        out.add(&[], s.packets.in_live_flows);
    }),
    counter_by(
        "tapline_non_flow_packets_total",
        "Packets processed that belong to no flow.",
        "packets",
        &["reason"],
        |s, out| by_name(&s.packets.non_flow, out),
    ),
    gauge(
        "tapline_unaccounted_packets",
        "Packets that the accounts do not explain; anything but 0 that stays is a fault of the sensor.",
        "packets",
        |s, out| out.add(&[], s.packets.missing().total() as f64),
    ),
    // Interfaces.
    gauge_by(
        "tapline_interface_up",
        "Whether the interface is there and up.",
        "",
        &["interface"],
        |s, out| {
            by_interface(s, out, |interface| u64::from(interface.up));
        },
    ),
    gauge_by("tapline_interface_readers", "Capture handles that share it.", "", &["interface"], |s, out| {
        by_interface(s, out, |interface| u64::from(interface.readers));
    }),
    counter_by(
        "tapline_interface_seen_packets_total",
        "Packets that the kernel saw for the sensor, those it dropped included.",
        "packets",
        &["interface"],
        |s, out| by_interface(s, out, |interface| interface.seen_pkts),
    ),
    counter_by(
        "tapline_interface_seen_bytes_total",
        "Bytes of the packets that were read, as on the wire.",
        "bytes",
        &["interface"],
        |s, out| by_interface(s, out, |interface| interface.seen_bytes),
    ),
    counter_by(
        "tapline_interface_kernel_dropped_packets_total",
        "Packets that the kernel dropped because the ring was full.",
        "packets",
        &["interface"],
        |s, out| by_interface(s, out, |interface| interface.kernel_dropped_pkts),
    ),
    counter_by(
        "tapline_interface_reopened_total",
        "How often it was opened again.",
        "",
        &["interface"],
        |s, out| by_interface(s, out, |interface| interface.reopened),
    ),
    counter_by(
        "tapline_interface_nic_received_packets_total",
        "What the adapter counts as received, for everybody.",
        "packets",
        &["interface"],
        |s, out| by_nic(s, out, |nic| nic.rx_packets),
    ),
    counter_by(
        "tapline_interface_nic_dropped_packets_total",
        "What the adapter or the kernel dropped before the sensor could see it.",
        "packets",
        &["interface"],
        |s, out| by_nic(s, out, |nic| nic.rx_dropped),
    ),
    counter_by(
        "tapline_interface_nic_missed_packets_total",
        "Packets that were not taken from the adapter in time.",
        "packets",
        &["interface"],
        |s, out| by_nic(s, out, |nic| nic.rx_missed),
    ),
    counter_by(
        "tapline_interface_nic_errored_packets_total",
        "Packets that arrived damaged.",
        "packets",
        &["interface"],
        |s, out| by_nic(s, out, |nic| nic.rx_errors),
    ),
    // Flows and those who keep them.
    gauge("tapline_live_flows", "Flows in the tables.", "flows", |s, out| out.add(&[], s.flows.live)),
    gauge("tapline_live_flows_limit", "As many flows as the tables hold at most.", "flows", |s, out| {
        out.add(&[], s.flows.live_max);
    }),
    counter("tapline_opened_flows_total", "Flows opened.", "flows", |s, out| out.add(&[], s.flows.opened)),
    counter("tapline_emitted_flows_total", "Flows ended whose rows were handed out.", "flows", |s, out| {
        out.add(&[], s.flows.emitted);
    }),
    counter_by(
        "tapline_ended_flows_total",
        "Emitted flows by why they ended.",
        "flows",
        &["reason"],
        |s, out| {
            by_name(&s.flows.by_end_reason, out);
        },
    ),
    counter(
        "tapline_evicted_flows_total",
        "Flows ended early because a table was full.",
        "flows",
        |s, out| {
            out.add(&[], s.flows.evicted);
        },
    ),
    counter("tapline_partial_records_total", "Early records of long flows.", "records", |s, out| {
        out.add(&[], s.flows.partial);
    }),
    gauge_by(
        "tapline_worker_live_flows",
        "Flows in the table of the worker.",
        "flows",
        &["worker"],
        |s, out| {
            by_worker(s, out, |worker| worker.live_flows as f64);
        },
    ),
    gauge_by(
        "tapline_worker_emergency",
        "Whether the worker's table is nearly full and its timeouts short.",
        "",
        &["worker"],
        |s, out| by_worker(s, out, |worker| if worker.emergency { 1.0 } else { 0.0 }),
    ),
    gauge_by(
        "tapline_worker_ring_fill_ratio",
        "How full the ring before the worker is, 0 to 1.",
        "ratio",
        &["worker"],
        |s, out| by_worker(s, out, |worker| worker.ring_fill_percent / 100.0),
    ),
    gauge_by(
        "tapline_worker_idle_seconds",
        "How long ago the worker last did something.",
        "seconds",
        &["worker"],
        |s, out| by_worker(s, out, |worker| worker.since_moved_us as f64 / 1e6),
    ),
    // Scoring.
    counter("tapline_scored_flows_total", "Flows with a verdict.", "flows", |s, out| {
        scoring(s, out, |scoring| scoring.scored_flows);
    }),
    counter(
        "tapline_unscored_flows_total",
        "Flows that went on without a verdict because the scorer could not follow.",
        "flows",
        |s, out| scoring(s, out, |scoring| scoring.shed_flows),
    ),
    gauge("tapline_scoring_shedding", "Whether flows go on without a verdict now.", "", |s, out| {
        scoring(s, out, |scoring| u64::from(scoring.shedding));
    }),
    gauge("tapline_scoring_held_flows", "Flows that wait for their window.", "flows", |s, out| {
        scoring(s, out, |scoring| scoring.held_flows);
    }),
    counter_by("tapline_verdicts_total", "Verdicts.", "flows", &["class"], |s, out| {
        if let Some(scoring) = &s.scoring {
            by_name(&scoring.verdicts, out);
        }
    }),
    counter("tapline_incidents_total", "Incidents opened.", "incidents", |s, out| {
        scoring(s, out, |scoring| scoring.incidents);
    }),
    counter("tapline_alerts_total", "Incidents that became alerts.", "alerts", |s, out| {
        scoring(s, out, |scoring| scoring.alerts);
    }),
    counter("tapline_scoring_windows_total", "Windows computed.", "windows", |s, out| {
        scoring(s, out, |scoring| scoring.windows);
    }),
    gauge(
        "tapline_drift_shifted_inputs",
        "Inputs that are now spread otherwise than when the model was trained.",
        "inputs",
        |s, out| scoring(s, out, |scoring| scoring.drift_shifted_inputs),
    ),
    // Sinks.
    counter_by(
        "tapline_sink_written_rows_total",
        "Rows, lines or messages written.",
        "rows",
        &["sink"],
        |s, out| {
            by_sink(s, out, |sink| sink.written_rows);
        },
    ),
    counter_by("tapline_sink_written_bytes_total", "Their bytes.", "bytes", &["sink"], |s, out| {
        by_sink(s, out, |sink| sink.written_bytes);
    }),
    counter_by(
        "tapline_sink_dropped_rows_total",
        "Rows, lines or messages that were not written.",
        "rows",
        &["sink", "cause"],
        |s, out| {
            for sink in &s.sinks {
                for (cause, rows) in &sink.dropped_rows {
                    out.add(&[&sink.name, cause], *rows);
                }
            }
        },
    ),
    counter_by(
        "tapline_sink_errors_total",
        "Failures of what is below the sink.",
        "",
        &["sink"],
        |s, out| {
            by_sink(s, out, |sink| sink.errors);
        },
    ),
    counter_by("tapline_sink_rotated_files_total", "Files finished.", "files", &["sink"], |s, out| {
        by_sink(s, out, |sink| sink.rotated);
    }),
    counter_by("tapline_sink_compressed_files_total", "Files packed.", "files", &["sink"], |s, out| {
        by_sink(s, out, |sink| sink.compressed);
    }),
    counter_by(
        "tapline_sink_removed_files_total",
        "Files removed to keep within the limits.",
        "files",
        &["sink"],
        |s, out| by_sink(s, out, |sink| sink.removed),
    ),
    // The process.
    gauge(
        "tapline_memory_budget_bytes",
        "What tables, queues and capture buffers may take.",
        "bytes",
        |s, out| out.add(&[], s.memory.budget_bytes),
    ),
    gauge("tapline_memory_resident_bytes", "What the process takes.", "bytes", |s, out| {
        out.add(&[], s.memory.resident_bytes);
    }),
    counter("tapline_cpu_seconds_total", "CPU time of all threads, user and system.", "seconds", |s, out| {
        out.add(&[], s.cpu_seconds.values().sum::<f64>());
    }),
    gauge("tapline_start_time_seconds", "When the sensor started, since 1970.", "seconds", |s, out| {
        out.add(&[], seconds(s.sensor.started_us));
    }),
    gauge(
        "tapline_snapshot_time_seconds",
        "When these values were taken, since 1970.",
        "seconds",
        |s, out| {
            out.add(&[], seconds(s.sensor.now_us));
        },
    ),
    gauge(
        "tapline_model_loaded_time_seconds",
        "When the model was loaded, since 1970.",
        "seconds",
        |s, out| {
            if let Some(model) = &s.sensor.model {
                out.add(&[], seconds(model.loaded_us));
            }
        },
    ),
    gauge(
        "tapline_emergency",
        "Whether a flow table is nearly full and timeouts are short.",
        "",
        |s, out| {
            out.add(&[], s.emergencies.since_us.is_some());
        },
    ),
    counter("tapline_emergencies_entered_total", "How often that began.", "", |s, out| {
        out.add(&[], s.emergencies.entered);
    }),
    counter("tapline_emergencies_left_total", "How often that ended.", "", |s, out| {
        out.add(&[], s.emergencies.left);
    }),
    gauge(
        "tapline_config_loaded_time_seconds",
        "When the configuration in force was read, since 1970.",
        "seconds",
        |s, out| out.add(&[], seconds(s.config.loaded_us)),
    ),
    counter(
        "tapline_config_reloads_total",
        "Times that another configuration came into force.",
        "",
        |s, out| {
            out.add(&[], s.config.reloads);
        },
    ),
    counter("tapline_config_refused_total", "Times that another configuration was refused.", "", |s, out| {
        out.add(&[], s.config.refused);
    }),
    gauge("tapline_config_stale", "Whether the latest reload was refused.", "", |s, out| {
        out.add(&[], s.config.last_error.is_some());
    }),
    // This server.
    gauge("tapline_control_connections", "Connections open at the control server.", "", |s, out| {
        out.add(&[], s.control.connections);
    }),
    counter("tapline_control_requests_total", "Requests to the control server.", "", |s, out| {
        out.add(&[], s.control.requests);
    }),
    counter_by(
        "tapline_control_refused_total",
        "Connections and requests that the control server refused or cut.",
        "",
        &["reason"],
        |s, out| by_name(&s.control.refused, out),
    ),
];

/// The table as a page of documentation, `docs/metrics.md`.
pub fn metrics_page() -> String {
    let mut page = String::from(PAGE_HEAD);
    for metric in METRICS {
        let labels = metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        // Writing to a string does not fail.
        _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            metric.name,
            metric.kind.name(),
            metric.unit,
            labels,
            metric.help
        );
    }
    page
}

const PAGE_HEAD: &str = "\
# Metrics

Made from the table in `crates/control/src/metrics.rs`; a test keeps them equal. [control.md](control.md) says how to scrape them,
and which alerts are worth setting.

Counters count from the start of the sensor. A metric of which there is nothing to say (scoring without a model, an adapter that does
not count) is absent. An address is never a label.

| name | type | unit | labels | what |
|---|---|---|---|---|
";

type Read = fn(&Snapshot, &mut Samples);

const fn counter(name: &'static str, help: &'static str, unit: &'static str, read: Read) -> Metric {
    Metric { name, help, kind: Counter, unit, labels: &[], read }
}

const fn gauge(name: &'static str, help: &'static str, unit: &'static str, read: Read) -> Metric {
    Metric { name, help, kind: Gauge, unit, labels: &[], read }
}

const fn counter_by(
    name: &'static str,
    help: &'static str,
    unit: &'static str,
    labels: &'static [&'static str],
    read: Read,
) -> Metric {
    Metric { name, help, kind: Counter, unit, labels, read }
}

const fn gauge_by(
    name: &'static str,
    help: &'static str,
    unit: &'static str,
    labels: &'static [&'static str],
    read: Read,
) -> Metric {
    Metric { name, help, kind: Gauge, unit, labels, read }
}

fn by_name(counts: &Counts, out: &mut Samples) {
    for (name, count) in counts {
        out.add(&[name], *count);
    }
}

fn by_interface(snapshot: &Snapshot, out: &mut Samples, read: fn(&InterfaceView) -> u64) {
    for interface in &snapshot.interfaces {
        out.add(&[&interface.name], read(interface));
    }
}

fn by_nic(snapshot: &Snapshot, out: &mut Samples, read: fn(&NicView) -> u64) {
    let mut named: Vec<&str> = Vec::new();
    for interface in &snapshot.interfaces {
        // Of one adapter there is one set of counters, however many blocks name it.
        if let Some(nic) = interface.nic.as_ref().filter(|_| !named.contains(&interface.name.as_str())) {
            out.add(&[&interface.name], read(nic));
            named.push(&interface.name);
        }
    }
}

fn by_worker(snapshot: &Snapshot, out: &mut Samples, read: fn(&WorkerView) -> f64) {
    for worker in &snapshot.workers {
        out.add(&[&worker.index.to_string()], read(worker));
    }
}

fn by_sink(snapshot: &Snapshot, out: &mut Samples, read: fn(&SinkView) -> u64) {
    for sink in &snapshot.sinks {
        out.add(&[&sink.name], read(sink));
    }
}

fn scoring(snapshot: &Snapshot, out: &mut Samples, read: fn(&ScoringView) -> u64) {
    if let Some(scoring) = &snapshot.scoring {
        out.add(&[], read(scoring));
    }
}

fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}
