//! A snapshot of an ordinary sensor, and any number of odd ones.

use std::collections::BTreeMap;

use fastrand::Rng;
use tapline_control::{
    Accounts, ConfigView, ControlView, Counts, EmergencyView, FlowsView, IncidentBy, IncidentView,
    InterfaceView, MemoryView, ModelView, NicView, ScoringView, SensorView, SinkView, Snapshot, State,
    TalkerView, WorkerView,
};

pub(crate) fn counts(pairs: &[(&str, u64)]) -> Counts {
    pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

/// A sensor on two interfaces that has run for a good hour. Its accounts balance.
pub(crate) fn ordinary() -> Snapshot {
    Snapshot {
        sensor: SensorView {
            name: "edge-1".into(),
            version: "0.1.0".into(),
            pid: 812,
            schema: "tapline-1".into(),
            started_us: 1_795_423_600_000_000,
            now_us: 1_795_428_005_000_000,
            model: Some(ModelView { id: "lstm-7".into(), loaded_us: 1_795_423_601_000_000 }),
            state: State::Running,
        },
        interfaces: vec![
            InterfaceView {
                name: "eth0".into(),
                readers: 2,
                up: true,
                trouble: None,
                seen_pkts: 9_000_000,
                seen_bytes: 7_200_000_000,
                kernel_dropped_pkts: 1_200,
                reopened: 0,
                nic: Some(NicView { rx_packets: 9_000_100, rx_dropped: 0, rx_missed: 12, rx_errors: 0 }),
            },
            InterfaceView {
                name: "eth1".into(),
                readers: 1,
                trouble: Some("it is down: waiting for it to come up".into()),
                seen_pkts: 1_000_000,
                seen_bytes: 90_000_000,
                reopened: 3,
                ..InterfaceView::default()
            },
        ],
        packets: Accounts {
            seen: 10_000_000,
            processed: 9_900_000,
            kernel_dropped: 1_200,
            ring_dropped: 300,
            filtered: counts(&[("expression", 90_000), ("duplicate", 0)]),
            shed: 0,
            undecodable: counts(&[("truncated", 8_000), ("unsupported_link", 0)]),
            in_flight: 500,
            in_emitted_flows: 9_700_000,
            in_ended_flows: 1_000,
            in_live_flows: 190_000,
            non_flow: counts(&[("fragment", 9_000)]),
        },
        flows: FlowsView {
            live: 12_345,
            live_max: 400_000,
            opened: 512_345,
            emitted: 500_000,
            evicted: 0,
            partial: 40_000,
            by_end_reason: counts(&[
                ("idle", 300_000),
                ("closed", 195_000),
                ("active", 5_000),
                ("evicted", 0),
            ]),
        },
        workers: vec![
            WorkerView {
                index: 0,
                live_flows: 6_345,
                emergency: false,
                ring_fill_percent: 3.0,
                since_moved_us: 120_000,
            },
            WorkerView {
                index: 1,
                live_flows: 6_000,
                emergency: false,
                ring_fill_percent: 12.5,
                since_moved_us: 90_000,
            },
        ],
        scoring: Some(ScoringView {
            model: "lstm-7".into(),
            scored_flows: 499_000,
            shed_flows: 1_000,
            shedding: false,
            held_flows: 24,
            verdicts: counts(&[("benign", 498_000), ("scan", 900), ("brute-force", 100)]),
            incidents: 12,
            alerts: 3,
            windows: 70_000,
            drift_shifted_inputs: 2,
        }),
        sinks: vec![
            SinkView {
                name: "rows".into(),
                written_rows: 540_000,
                written_bytes: 1_400_000_000,
                dropped_rows: counts(&[("disk_full", 0), ("queue_full", 0)]),
                rotated: 5,
                compressed: 5,
                ..SinkView::default()
            },
            SinkView {
                name: "syslog".into(),
                written_rows: 2,
                written_bytes: 1_900,
                dropped_rows: counts(&[("queue_full", 0), ("unreachable", 1)]),
                errors: 1,
                last_error: Some("udp://log.example:514: network is unreachable".into()),
                ..SinkView::default()
            },
        ],
        memory: MemoryView { budget_bytes: 512 << 20, resident_bytes: 301 << 20 },
        cpu_seconds: BTreeMap::from([("reader-eth0-0".into(), 212.5), ("worker-0".into(), 190.25)]),
        emergencies: EmergencyView { entered: 1, left: 1, since_us: None },
        config: ConfigView { loaded_us: 1_795_423_600_000_000, reloads: 0, refused: 0, last_error: None },
        control: ControlView { connections: 1, requests: 260, refused: counts(&[("busy", 0), ("slow", 2)]) },
        talkers: vec![
            TalkerView { address: "10.1.0.7".into(), pkts: 2_000_000, bytes: 1_800_000_000, flows: 4_000 },
            TalkerView { address: "2001:db8::42".into(), pkts: 900_000, bytes: 70_000_000, flows: 120 },
        ],
        incidents: vec![
            IncidentView {
                number: 12,
                class: "scan".into(),
                attack_id: Some("T1046".into()),
                by: IncidentBy::Source,
                host: "10.1.0.99".into(),
                flows: 840,
                first_us: 1_795_427_900_000_000,
                last_us: 1_795_428_003_000_000,
                evidence: 412.5,
                alert: true,
                reason: "840 flows to 811 ports of 4 hosts, most unanswered".into(),
            },
            IncidentView {
                number: 11,
                class: "brute-force".into(),
                attack_id: None,
                by: IncidentBy::Target,
                host: "10.1.0.20:22".into(),
                flows: 6,
                first_us: 1_795_427_000_000_000,
                last_us: 1_795_427_060_000_000,
                evidence: 7.25,
                alert: false,
                reason: "short flows of like size to one port".into(),
            },
        ],
    }
}

/// A snapshot of anything: odd names, huge counts, numbers that are none.
pub(crate) fn odd(rng: &mut Rng) -> Snapshot {
    Snapshot {
        sensor: SensorView {
            name: word(rng),
            version: word(rng),
            pid: rng.u32(..),
            schema: word(rng),
            started_us: rng.i64(..),
            now_us: rng.i64(..),
            model: rng.bool().then(|| ModelView { id: word(rng), loaded_us: rng.i64(..) }),
            state: rng
                .choice([State::Starting, State::Running, State::Shedding, State::Emergency, State::Stopping])
                .unwrap(),
        },
        interfaces: several(rng, |rng| InterfaceView {
            name: word(rng),
            readers: rng.u32(..),
            up: rng.bool(),
            trouble: rng.bool().then(|| word(rng)),
            seen_pkts: count(rng),
            seen_bytes: count(rng),
            kernel_dropped_pkts: count(rng),
            reopened: count(rng),
            nic: rng.bool().then(|| NicView {
                rx_packets: count(rng),
                rx_dropped: count(rng),
                rx_missed: count(rng),
                rx_errors: count(rng),
            }),
        }),
        packets: Accounts {
            seen: count(rng),
            processed: count(rng),
            kernel_dropped: count(rng),
            ring_dropped: count(rng),
            filtered: some_counts(rng),
            shed: count(rng),
            undecodable: some_counts(rng),
            in_flight: count(rng),
            in_emitted_flows: count(rng),
            in_ended_flows: count(rng),
            in_live_flows: count(rng),
            non_flow: some_counts(rng),
        },
        flows: FlowsView {
            live: count(rng),
            live_max: count(rng),
            opened: count(rng),
            emitted: count(rng),
            evicted: count(rng),
            partial: count(rng),
            by_end_reason: some_counts(rng),
        },
        workers: several(rng, |rng| WorkerView {
            index: rng.u32(..4),
            live_flows: count(rng),
            emergency: rng.bool(),
            ring_fill_percent: real(rng),
            since_moved_us: count(rng),
        }),
        scoring: rng.bool().then(|| ScoringView {
            model: word(rng),
            scored_flows: count(rng),
            shed_flows: count(rng),
            shedding: rng.bool(),
            held_flows: count(rng),
            verdicts: some_counts(rng),
            incidents: count(rng),
            alerts: count(rng),
            windows: count(rng),
            drift_shifted_inputs: count(rng),
        }),
        sinks: several(rng, |rng| SinkView {
            name: word(rng),
            written_rows: count(rng),
            written_bytes: count(rng),
            dropped_rows: some_counts(rng),
            errors: count(rng),
            last_error: rng.bool().then(|| word(rng)),
            rotated: count(rng),
            compressed: count(rng),
            removed: count(rng),
        }),
        memory: MemoryView { budget_bytes: count(rng), resident_bytes: count(rng) },
        cpu_seconds: several(rng, |rng| (word(rng), real(rng))).into_iter().collect(),
        emergencies: EmergencyView {
            entered: count(rng),
            left: count(rng),
            since_us: rng.bool().then(|| rng.i64(..)),
        },
        config: ConfigView {
            loaded_us: rng.i64(..),
            reloads: count(rng),
            refused: count(rng),
            last_error: rng.bool().then(|| word(rng)),
        },
        control: ControlView { connections: count(rng), requests: count(rng), refused: some_counts(rng) },
        talkers: several(rng, |rng| TalkerView {
            address: word(rng),
            pkts: count(rng),
            bytes: count(rng),
            flows: count(rng),
        }),
        incidents: several(rng, |rng| IncidentView {
            number: count(rng),
            class: word(rng),
            attack_id: rng.bool().then(|| word(rng)),
            by: rng.choice([IncidentBy::Source, IncidentBy::Target]).unwrap(),
            host: word(rng),
            flows: count(rng),
            first_us: rng.i64(..),
            last_us: rng.i64(..),
            evidence: real(rng),
            alert: rng.bool(),
            reason: word(rng),
        }),
    }
}

fn several<T>(rng: &mut Rng, mut make: impl FnMut(&mut Rng) -> T) -> Vec<T> {
    (0..rng.usize(..5)).map(|_| make(rng)).collect()
}

fn some_counts(rng: &mut Rng) -> Counts {
    several(rng, |rng| (word(rng), count(rng))).into_iter().collect()
}

/// Few letters, so that names repeat; among them all that a format might trip over.
fn word(rng: &mut Rng) -> String {
    const LETTERS: [char; 16] =
        ['a', 'b', '"', '\\', '\n', '\r', '\t', '{', '}', ',', '=', '#', ' ', '\u{1b}', 'é', '流'];
    (0..rng.usize(..6)).map(|_| rng.choice(LETTERS).unwrap()).collect()
}

fn count(rng: &mut Rng) -> u64 {
    let (small, any) = (rng.u64(..1_000_000), rng.u64(..));
    rng.choice([0, 1, small, any, u64::MAX]).unwrap()
}

fn real(rng: &mut Rng) -> f64 {
    let small = rng.f64() * 100.0;
    rng.choice([0.0, small, -small, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]).unwrap()
}
