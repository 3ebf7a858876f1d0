//! `tapline-wire CONFIG.json`: the command around the [`Wire`].
//!
//! Owns the exit codes, after sysexits.h, and the words in which failures are told. In goes the path of a config file;
//! out comes `ready`, then answers to commands, then one line of JSON counters.

#![forbid(unsafe_code)]

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use tapline_wire::{Config, ConfigError, Wire, WireError};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match &arguments[..] {
        [flag] if flag == "--help" || flag == "-h" => match io::stdout().write_all(USAGE.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(EX_IOERR),
        },
        [path] if !path.as_encoded_bytes().starts_with(b"-") => match run(Path::new(path)) {
            Ok(()) => ExitCode::SUCCESS,
            Err((code, error)) => {
                complain(&*error);
                ExitCode::from(code)
            }
        },
        _ => {
            let _ = io::stderr().write_all(USAGE.as_bytes());
            ExitCode::from(EX_USAGE)
        }
    }
}

fn run(path: &Path) -> Result<(), (u8, Box<dyn Error>)> {
    let config = Config::read(path).map_err(|error| {
        let code = match error {
            ConfigError::Read { .. } => EX_NOINPUT,
            ConfigError::Invalid { .. } => EX_DATAERR,
        };
        (code, error.into())
    })?;
    let report = Wire::new(&config).and_then(Wire::run).map_err(|error| {
        let code = match error {
            WireError::Tap { .. } => EX_UNAVAILABLE,
            WireError::CreateSpan { .. } => EX_CANTCREAT,
            WireError::WriteSpan { .. } | WireError::Answer(_) => EX_IOERR,
            _ => EX_OSERR,
        };
        (code, error.into())
    })?;
    let mut line = serde_json::to_vec(&report).map_err(|error| (EX_IOERR, error.into()))?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line).and_then(|()| out.flush()).map_err(|error| (EX_IOERR, error.into()))
}

/// The error and all its causes in one line.
fn complain(error: &dyn Error) {
    let mut text = format!("tapline-wire: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text.push('\n');
    // The exit code says it too.
    let _ = io::stderr().write_all(text.as_bytes());
}

const USAGE: &str = "\
usage: tapline-wire CONFIG.json

Creates the TAP devices of the config in this network namespace, prints `ready`, and forwards frames between them.
Commands on standard input, one a line:
  stop        flush the span file, print one line of JSON counters, leave
  advance N   move the clock of the span file's timestamps ahead by N microseconds
  idle        answer `idle AGE_US QUEUED`: microseconds since the last frame, frames in flight
The end of standard input, SIGTERM and SIGINT stop it too.

Exit codes, after sysexits.h:
   0  stopped as told
   2  wrong usage
  65  the config is refused
  66  the config cannot be read
  69  a TAP device cannot be created (needs root or CAP_NET_ADMIN)
  71  the system refused to wait for events
  73  the span file cannot be created
  74  the span file (disk full?) or standard output cannot be written
";

/// EX_USAGE by sysexits is 64; the other commands of this workspace say 2, as most do.
const EX_USAGE: u8 = 2;
const EX_DATAERR: u8 = 65;
const EX_NOINPUT: u8 = 66;
const EX_UNAVAILABLE: u8 = 69;
const EX_OSERR: u8 = 71;
const EX_CANTCREAT: u8 = 73;
const EX_IOERR: u8 = 74;
