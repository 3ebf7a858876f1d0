//! `tapline-blast`: the command around [`Blast`].
//!
//! Owns the command line and the exit codes (sysexits.h). Out comes one line of JSON: the [`Report`].

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tapline_blast::{Blast, BlastError, Bounds, CaptureFrames, FlowFrames, Pace, Report, Tuples, Where};

/// Send frames into an interface of a test's own network namespace, and count them exactly
#[derive(Debug, Parser)]
#[command(name = "tapline-blast", version, after_help = EXIT_CODES)]
struct Arguments {
    /// Interface to send to
    #[arg(long)]
    interface: String,
    /// Classic pcap file of Ethernet frames to send, from the first again after the last
    #[arg(long, conflicts_with_all = ["flows", "tuples", "bytes", "seed"])]
    capture: Option<PathBuf>,
    /// How often the capture is sent
    #[arg(long, requires = "capture", default_value_t = u64::MAX, hide_default_value = true)]
    rounds: u64,
    /// Generated UDP flows, where no capture is named
    #[arg(long, default_value_t = 1000)]
    flows: u32,
    /// Which flow a generated frame belongs to
    #[arg(long, value_enum, default_value_t = TuplesArgument::Distinct)]
    tuples: TuplesArgument,
    /// Length of generated frames
    #[arg(long, default_value_t = 60)]
    bytes: u16,
    /// Of the dice for `--tuples zipf`
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Frames a second; without it as many as the kernel takes
    #[arg(long)]
    speed_pps: Option<u32>,
    /// Space the capture's frames as it does
    #[arg(long, requires = "capture", conflicts_with = "speed_pps")]
    keep_times: bool,
    /// So many times faster
    #[arg(long, requires = "keep_times", default_value_t = 1.0)]
    times_faster: f64,
    /// Stop after so many frames
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// Stop after so many seconds
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Also send to interfaces of the host, where others receive it
    #[arg(long)]
    force_host: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TuplesArgument {
    Distinct,
    Zipf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, error)) => {
            let mut text = format!("tapline-blast: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                text.push_str(&format!(": {error}"));
                cause = error.source();
            }
            text.push('\n');
            // The exit code says it too.
            let _ = io::stderr().write_all(text.as_bytes());
            ExitCode::from(code)
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), (u8, Box<dyn Error>)> {
    let pace = match (arguments.speed_pps, arguments.keep_times) {
        (Some(rate), _) => Pace::PerSecond(rate),
        (None, true) if arguments.times_faster > 0.0 => Pace::AsCaptured(arguments.times_faster),
        (None, true) => return Err((EX_USAGE, "--times-faster is above 0".into())),
        (None, false) => Pace::Fastest,
    };
    let time = Duration::try_from_secs_f64(arguments.seconds).map_err(|error| (EX_USAGE, error.into()))?;
    let bounds = Bounds { frames: arguments.count, time };
    let place = if arguments.force_host { Where::Anywhere } else { Where::OwnNamespace };
    let refused = |error: BlastError| {
        let code = match error {
            BlastError::HostsInterface { .. } => EX_NOPERM,
            BlastError::Open { .. } => EX_UNAVAILABLE,
            BlastError::Gone { .. } => EX_IOERR,
            BlastError::NoFrames => EX_DATAERR,
        };
        (code, error.into())
    };
    let stop = AtomicBool::new(false);
    let report: Report = if let Some(path) = &arguments.capture {
        let frames = CaptureFrames::read(path).map_err(|error| (EX_DATAERR, error.into()))?;
        let blast = Blast::on(&arguments.interface, place).map_err(refused)?;
        blast.capture(&frames, arguments.rounds, pace, bounds, &stop).map_err(refused)?
    } else {
        let tuples = match arguments.tuples {
            TuplesArgument::Distinct => Tuples::Distinct,
            TuplesArgument::Zipf => Tuples::Zipf,
        };
        let mut frames = FlowFrames::new(arguments.flows, tuples, arguments.bytes, arguments.seed)
            .map_err(|error| (EX_USAGE, error.into()))?;
        let blast = Blast::on(&arguments.interface, place).map_err(refused)?;
        blast.flows(&mut frames, pace, bounds, &stop).map_err(refused)?
    };
    let mut line = serde_json::to_vec(&report).map_err(|error| (EX_IOERR, error.into()))?;
    line.push(b'\n');
    io::stdout().write_all(&line).map_err(|error| (EX_IOERR, error.into()))
}

const EXIT_CODES: &str = "\
Exit codes, after sysexits.h: 0 sent, 2 wrong usage, 65 the capture is refused, 69 the interface cannot be opened, \
74 the interface is gone, 77 the interface is the host's";
/// EX_USAGE by sysexits is 64; the other commands of this workspace say 2, as most do.
const EX_USAGE: u8 = 2;
const EX_DATAERR: u8 = 65;
const EX_UNAVAILABLE: u8 = 69;
const EX_IOERR: u8 = 74;
const EX_NOPERM: u8 = 77;
