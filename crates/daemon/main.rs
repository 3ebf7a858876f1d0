//! The daemon: command line, files, threads, rings and the clock. It introduces the stages to one another and holds no
//! rule of theirs.
//!
//! Life of a packet, in the order of the code: [`reader`] (frame, filter, record, shard) hands batches over the
//! [`ring`]s to [`flow_worker`]s (flow tables), whose ended flows the [`exporter`] merges and writes. [`pipeline`] is
//! the page that joins them; [`accounting`] sees to it that no packet is lost without a name.

#![cfg_attr(
    not(all(feature = "libpcap", target_os = "linux")),
    expect(dead_code, reason = "the sensor is not built, and with it what only it needs")
)]

mod cli;

mod dataset_cli;
mod dataset_command;
mod eval_cli;
mod eval_command;
mod eval_retraining;
mod features_command;
mod label_command;
mod model_command;
mod narrow_tap;
mod replay;
#[cfg(all(feature = "libpcap", target_os = "linux"))]
mod sensor;
#[cfg(all(feature = "libpcap", target_os = "linux"))]
mod sensor_cli;
#[cfg(all(feature = "libpcap", target_os = "linux"))]
mod sensor_command;
mod train_cli;
mod train_command;

mod dataset_flows;
mod dataset_sources;
mod dataset_table;

mod pipeline;
mod place;

mod alerts;
mod contexts;
mod decapsulation;
mod exporter;
mod flow_worker;
mod huge_pages;
mod labels;
mod learn_cli;
mod learn_command;
mod model;
mod observed_flows;
mod outbox;
mod reader;
mod ring;
mod row_tail;
mod scoring;
mod scoring_report;

mod accounting;
mod progress;
mod summary;
mod talkers;

mod exit;
mod output;
mod version;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::cli::{Cli, Command, FeaturesCommand};
use crate::exit::Failure;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Replay(args) => replay::run(&args),
        #[cfg(all(feature = "libpcap", target_os = "linux"))]
        Command::Sensor(command) => sensor_command::run(&command),
        Command::Label(args) => label_command::run(&args),
        Command::Dataset { command } => dataset_command::run(&command),
        Command::Eval(args) => eval_command::run(&args),
        Command::Train(args) => train_command::run(&args),
        Command::Learn(args) => learn_command::run(&args),
        Command::Features { command: FeaturesCommand::List { schema } } => features_command::list(schema),
        Command::Features { command: FeaturesCommand::Inputs } => features_command::list_inputs(),
        Command::Features { command: FeaturesCommand::Explain { name, schema } } => {
            features_command::explain(&name, schema)
        }
        Command::Model { command } => model_command::run(&command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tapline", &mut script);
            print(&script)
        }
        Command::Man => {
            let mut page = Vec::new();
            match clap_mangen::Man::new(Cli::command()).render(&mut page) {
                Ok(()) => print(&page),
                Err(error) => Err(Failure::io(error.into())),
            }
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Writes to standard output; a reader that has gone is no reason to complain about documentation.
fn print(bytes: &[u8]) -> Result<(), Failure> {
    match io::stdout().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::io(error.into())),
        _ => Ok(()),
    }
}
