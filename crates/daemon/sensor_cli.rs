//! What may be typed after `tapline run`, `check`, `doctor` and `top`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What there is to do with a sensor.
#[derive(Debug, Subcommand)]
pub(crate) enum SensorCommand {
    /// Watch interfaces, for as long as nobody says stop
    #[command(
        after_help = "EXAMPLES:\n  tapline run -c /etc/tapline/tapline.toml\n  tapline run --set interface=eth1 --set rows.folder=/data/flows --set scoring.model=models/default"
    )]
    Run(RunArgs),
    /// Say what a configuration amounts to, or all that is wrong with it
    #[command(
        after_help = "EXAMPLES:\n  tapline check -c /etc/tapline/tapline.toml\n  tapline check --default > tapline.toml\n  tapline check --schema > tapline.schema.json"
    )]
    Check(CheckArgs),
    /// Say what stands in the way of a good measurement on this host, and what helps
    #[command(
        after_help = "EXAMPLES:\n  tapline doctor -c /etc/tapline/tapline.toml\n  tapline doctor --set interface=eth1"
    )]
    Doctor(ConfigArgs),
    /// Show a running sensor: rates, losses, talkers, incidents
    #[command(
        after_help = "EXAMPLES:\n  tapline top\n  tapline top --once --socket /run/tapline/tapline.sock"
    )]
    Top(TopArgs),
}

/// Where a configuration comes from.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration; without one the defaults hold
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// A setting, which goes before the file's: interface=eth1, flow.idle_timeout=60s; may be given again
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) settings: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    /// Write what became of every packet to this file at the end, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) stats: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    /// Print the JSON Schema of configurations instead
    #[arg(long, conflicts_with_all = ["config", "settings", "default"])]
    pub(crate) schema: bool,

    /// Print the default configuration, every key commented, instead
    #[arg(long, conflicts_with_all = ["config", "settings"])]
    pub(crate) default: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// The sensor's socket [default: that of the configuration, else of the default one]
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    /// Print one picture as text, and end
    #[arg(long)]
    pub(crate) once: bool,
}
