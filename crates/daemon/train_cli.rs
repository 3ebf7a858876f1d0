//! What may be typed after `tapline train`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// The configuration; models/train.toml explains every key
    #[arg(short, long, value_name = "TOML")]
    pub(crate) config: PathBuf,

    /// The model directory to make [default: model.out of the configuration]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Go on where an interrupted training of the same configuration and table stopped
    #[arg(long)]
    pub(crate) resume: bool,

    /// Set one key of the configuration; may be given again
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,

    /// No progress and no summary on standard error
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

pub(crate) const EXAMPLES: &str = "\
EXAMPLES:
  tapline train -c models/train.toml
  tapline train -c models/train.toml --set data.table=/data/flows.parquet --set network.dropout=0.4 --out models/wide
  tapline train -c models/train.toml --resume

OUTPUT:
  DIR/model.toml, DIR/model.safetensors and DIR/README.md. While it trains, DIR.training/ holds a checkpoint, written
  after each epoch. Runs are logged in mlruns/, for `mlflow ui`. docs/training.md explains it all.";
