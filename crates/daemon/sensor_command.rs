//! `tapline run`, and about a sensor without being one: `check`, `doctor`, `top`.

use std::env;
use std::path::PathBuf;

use anyhow::anyhow;
use tapline_capture::live::check_interface;
use tapline_config::{Config, DEFAULT_TOML, RowFormat, json_schema};
use tapline_control::top::fetch;
use tapline_control::{Snapshot, TopSettings, top};
use tapline_rights::{CapturePlan, InterfacePlan, State, diagnose};

use crate::exit::{Code, Failure};
use crate::sensor::{self, live_config};
use crate::sensor_cli::{CheckArgs, ConfigArgs, SensorCommand, TopArgs};
use crate::{model, print};

/// Does what was typed.
pub(crate) fn run(command: &SensorCommand) -> Result<(), Failure> {
    match command {
        SensorCommand::Run(args) => sensor::run(args),
        SensorCommand::Check(args) => check(args),
        SensorCommand::Doctor(args) => doctor(args),
        SensorCommand::Top(args) => show(args),
    }
}

/// Says what is in force, or what is wrong with it.
fn check(args: &CheckArgs) -> Result<(), Failure> {
    if args.schema {
        return print(json_schema().as_bytes());
    }
    if args.default {
        return print(DEFAULT_TOML.as_bytes());
    }
    let config = sensor::load(&sensor::layers(&args.config))?;
    if let Some(directory) = &config.scoring.model {
        model::open(directory)?;
    }
    if let Some(format) = sensor::format(config.rows.format)
        && !format.is_built()
    {
        let error = tapline_export::ExportError::FormatNotBuilt { format };
        return Err(Failure::new(Code::Config, anyhow::Error::new(error).context("rows.format")));
    }
    print(config.effective_toml().as_bytes())
}

/// Says what stands in the way of a good measurement. Fails if something makes it impossible.
fn doctor(args: &ConfigArgs) -> Result<(), Failure> {
    let config = sensor::load(&sensor::layers(args))?;
    let mut out = String::new();
    let mut bad = 0;
    for finding in diagnose(&plan(&config)) {
        bad += usize::from(finding.state == State::Bad);
        out.push_str(&format!("{finding}\n"));
    }
    if let Some(socket) = &config.control.socket {
        match fetch(socket) {
            Ok(snapshot) => out.push_str(&losses(&snapshot)),
            Err(_) => out.push_str(&format!("ok    sensor: none answers at {}\n", socket.display())),
        }
    }
    print(out.as_bytes())?;
    match bad {
        0 => Ok(()),
        _ => Err(Failure::new(
            Code::Unavailable,
            anyhow!("{bad} of the findings above keep a sensor from running"),
        )),
    }
}

/// Shows a running sensor.
fn show(args: &TopArgs) -> Result<(), Failure> {
    let socket = match &args.socket {
        Some(socket) => socket.clone(),
        None => sensor::load(&sensor::layers(&args.config))?.control.socket.ok_or_else(|| {
            Failure::new(Code::Config, anyhow!("control.socket is empty: there is nowhere to ask the sensor"))
        })?,
    };
    let settings = TopSettings { once: args.once, ..TopSettings::new(socket) };
    top(&settings).map_err(|error| {
        let code = match &error {
            tapline_control::TopError::Fetch { .. } => Code::NoInput,
            _ => Code::Io,
        };
        Failure::new(code, error)
    })
}

fn plan(config: &Config) -> CapturePlan {
    let interface = |(index, interface): (usize, &tapline_config::config::InterfaceConfig)| InterfacePlan {
        name: interface.name.clone(),
        readers: usize::from(interface.readers),
        promiscuous: interface.promiscuous,
        check: Some(match check_interface(&live_config(interface, index)) {
            Ok(notices) => Ok(notices.iter().map(ToString::to_string).collect()),
            Err(error) => Err(error.to_string()),
        }),
    };
    CapturePlan {
        binary: env::current_exe().unwrap_or_else(|_| PathBuf::from("tapline")),
        interfaces: config.interfaces.iter().enumerate().map(interface).collect(),
        workers: usize::from(config.sensor.workers),
        memory_bytes: config.sensor.memory_bytes,
        output_folder: (config.rows.format != RowFormat::None).then(|| config.rows.folder.clone()),
        keep_bytes: Some(config.rows.keep_size_bytes),
    }
}

/// What a running sensor has lost, why, and what helps.
fn losses(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    let mut line = |count: u64, of: u64, what: &str, cure: &str| {
        if count > 0 {
            let percent = count as f64 * 100.0 / of.max(1) as f64;
            out.push_str(&format!("warn  sensor: {count} {what} ({percent:.3} %) -> {cure}\n"));
        }
    };
    let packets = &snapshot.packets;
    for interface in &snapshot.interfaces {
        line(
            interface.kernel_dropped_pkts,
            interface.seen_pkts,
            &format!("packets dropped by the kernel on {}: the capture buffer was full", interface.name),
            "bursts: a larger interface.buffer; always: more interface.readers, or a filter",
        );
        let nic = interface.nic.as_ref();
        line(
            nic.map_or(0, |nic| nic.rx_missed),
            nic.map_or(0, |nic| nic.rx_packets),
            &format!("packets missed by the adapter of {}", interface.name),
            &format!("larger rings: ethtool -G {} rx 4096; interrupts on more cores", interface.name),
        );
    }
    line(
        packets.ring_dropped,
        packets.seen,
        "packets dropped before a flow worker: it could not follow",
        "more sensor.workers, up to the number of cores",
    );
    let short: u64 = packets
        .undecodable
        .iter()
        .filter(|(why, _)| why.starts_with("truncated"))
        .map(|(_, count)| count)
        .sum();
    line(short, packets.seen, "packets cut too short to be decoded", "a greater interface.snap_length");
    line(
        snapshot.flows.evicted,
        snapshot.flows.opened,
        "flows ended early: the flow table was full",
        "more sensor.memory, or a shorter flow.idle_timeout",
    );
    if let Some(scoring) = &snapshot.scoring {
        line(
            scoring.shed_flows,
            scoring.scored_flows + scoring.shed_flows,
            "flows went on without a verdict: the scorer could not follow",
            "a core of its own for the thread `export`; a filter for what need not be judged",
        );
    }
    for sink in &snapshot.sinks {
        for (cause, rows) in &sink.dropped_rows {
            let cure = match cause.as_str() {
                "disk_full" => "make room, or a smaller rows.keep_size",
                "queue_full" => "a faster disk; rows.format = \"parquet\" writes a fifth",
                "file" => "see the log: the system refuses the file",
                _ => "see the log: the receiver does not take them",
            };
            line(*rows, sink.written_rows + rows, &format!("rows lost by {} ({cause})", sink.name), cure);
        }
    }
    if out.is_empty() {
        out.push_str("ok    sensor: it runs and has lost nothing\n");
    }
    out
}
