//! Any valid configuration, for properties.

use std::net::SocketAddr;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use tapline_config::config::{
    AlertsConfig, ControlConfig, EmergencyConfig, EveConfig, FlowConfig, InterfaceConfig, LogConfig,
    RightsConfig, RowsConfig, ScoringConfig, SensorConfig,
};
use tapline_config::{
    Compress, Config, Encapsulation, Fanout, LogFormat, LogLevel, RowFormat, SyslogTarget, Timestamp,
};

const HOUR_US: i64 = 3_600_000_000;

/// A valid configuration, with nothing left out.
pub(crate) fn some_config() -> impl Strategy<Value = Config> {
    let first = (some_sensor(), vec(some_interface(), 1..=16), some_flow(), some_emergency(), some_rows());
    let rest = (some_scoring(), some_eve(), some_alerts(), some_control(), some_rights(), some_log());
    (first, rest).prop_map(|((sensor, interfaces, flow, emergency, rows), rest)| {
        let (scoring, eve, alerts, control, rights, log) = rest;
        let mut config =
            Config { sensor, interfaces, flow, emergency, scoring, rows, eve, alerts, control, rights, log };
        for (at, interface) in config.interfaces.iter_mut().enumerate() {
            interface.name = format!("{}{at}", interface.name);
        }
        config.sensor.memory_bytes = config.sensor.memory_bytes.max(2 * config.capture_buffers_bytes());
        config
    })
}

/// Text without control characters, quotes and backslashes among it.
fn some_text() -> impl Strategy<Value = String> {
    "[ -~äß€\u{1f980}\"'\\\\#=\\[\\]]{1,20}"
}

fn some_path() -> impl Strategy<Value = PathBuf> {
    some_text().prop_map(PathBuf::from)
}

/// Of all magnitudes, so that all units are met.
fn some_time(least_us: i64, most_us: i64) -> impl Strategy<Value = i64> {
    let unit = select(vec![1, 1_000, 1_000_000, 60_000_000, HOUR_US, 24 * HOUR_US]);
    (unit, 0_i64..2_000).prop_map(move |(unit, count)| (unit * count).clamp(least_us, most_us))
}

fn some_size(least: u64, most: u64) -> impl Strategy<Value = u64> {
    (0_u32..50, 1_u64..5_000).prop_map(move |(shift, count)| (count << shift).clamp(least, most))
}

fn some_sensor() -> impl Strategy<Value = SensorConfig> {
    (option::of(some_text()), some_size(128 << 20, 16 << 40), 1_u16..=64)
        .prop_map(|(name, memory_bytes, workers)| SensorConfig { name, memory_bytes, workers })
}

fn some_interface() -> impl Strategy<Value = InterfaceConfig> {
    let how = (any::<bool>(), any::<bool>(), select(Fanout::ALL), select(Timestamp::ALL), 1_u16..=16);
    let sizes = (some_size(1 << 20, 1 << 30), some_size(96, 256 << 10));
    let filter = "[ -~\t\r\n]{1,30}";
    ("[a-zA-Z0-9._@-]{1,13}", option::of(filter), how, sizes).prop_map(|(name, filter, how, sizes)| {
        let (promiscuous, outgoing, fanout, timestamp, readers) = how;
        let (buffer_bytes, snap_length_bytes) = sizes;
        InterfaceConfig {
            name,
            filter,
            readers,
            fanout,
            buffer_bytes,
            snap_length_bytes,
            promiscuous,
            outgoing,
            timestamp,
        }
    })
}

fn some_flow() -> impl Strategy<Value = FlowConfig> {
    let times = (some_time(100_000, HOUR_US), some_time(100_000, HOUR_US));
    let partial = vec(some_time(1_000, HOUR_US), 0..=8);
    let rest = (
        any::<bool>(),
        option::of(some_time(1, 1_000_000)),
        subsequence(Encapsulation::ALL, 0..=7).prop_shuffle(),
    );
    (times, partial, rest).prop_map(|((idle_timeout_us, active_timeout_us), mut partial_us, rest)| {
        partial_us.retain(|age_us| *age_us < active_timeout_us);
        partial_us.sort_unstable();
        partial_us.dedup();
        let (vlan_in_key, dedup_us, no_decapsulate) = rest;
        FlowConfig { idle_timeout_us, active_timeout_us, partial_us, vlan_in_key, dedup_us, no_decapsulate }
    })
}

fn some_emergency() -> impl Strategy<Value = EmergencyConfig> {
    (some_time(100_000, HOUR_US), 2_u8..=100, any::<u8>()).prop_map(
        |(idle_timeout_us, enter_percent, leave)| EmergencyConfig {
            idle_timeout_us,
            enter_percent,
            leave_percent: 1 + leave % (enter_percent - 1),
        },
    )
}

fn some_scoring() -> impl Strategy<Value = ScoringConfig> {
    (option::of(some_path()), 1_u8..=100)
        .prop_map(|(model, shed_percent)| ScoringConfig { model, shed_percent })
}

fn some_rows() -> impl Strategy<Value = RowsConfig> {
    let sizes = (some_size(4 << 10, 1 << 40), some_size(4 << 10, 1 << 50));
    let rest = (option::of(some_time(1_000, 366 * 24 * HOUR_US)), 1_u32..=1_000_000, select(Compress::ALL));
    (select(RowFormat::ALL), some_path(), sizes, rest).prop_map(|(format, folder, (one, other), rest)| {
        let (rotate_age_us, keep_files, compress) = rest;
        let (rotate_size_bytes, keep_size_bytes) = (one.min(other), one.max(other));
        RowsConfig { format, folder, rotate_size_bytes, rotate_age_us, keep_files, keep_size_bytes, compress }
    })
}

fn some_eve() -> impl Strategy<Value = EveConfig> {
    (any::<bool>(), any::<bool>(), option::of(some_time(100_000, 24 * HOUR_US)))
        .prop_map(|(enabled, flows, stats_every_us)| EveConfig { enabled, flows, stats_every_us })
}

fn some_alerts() -> impl Strategy<Value = AlertsConfig> {
    let server = || ("[a-z0-9.-]{1,20}|\\[::1\\]", 1_u16..).prop_map(|(host, port)| format!("{host}:{port}"));
    let syslog = prop_oneof![
        some_text().prop_map(|path| SyslogTarget::Unix(format!("/{path}").into())),
        server().prop_map(SyslogTarget::Udp),
        server().prop_map(SyslogTarget::Tcp),
    ];
    let webhook = ("https?", server(), "(/[!-~]{0,20})?")
        .prop_map(|(scheme, server, path)| format!("{scheme}://{server}{path}"));
    (any::<bool>(), option::of(syslog), option::of(webhook))
        .prop_map(|(file, syslog, webhook)| AlertsConfig { file, syslog, webhook })
}

fn some_control() -> impl Strategy<Value = ControlConfig> {
    let listen = any::<(std::net::IpAddr, u16)>().prop_map(SocketAddr::from);
    (option::of(listen), option::of(some_path()))
        .prop_map(|(listen, socket)| ControlConfig { listen, socket })
}

fn some_rights() -> impl Strategy<Value = RightsConfig> {
    any::<(bool, bool)>().prop_map(|(landlock, seccomp)| RightsConfig { landlock, seccomp })
}

fn some_log() -> impl Strategy<Value = LogConfig> {
    (select(LogLevel::ALL), select(LogFormat::ALL)).prop_map(|(level, format)| LogConfig { level, format })
}
