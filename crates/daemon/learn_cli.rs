//! What may be typed after `tapline learn`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct LearnArgs {
    /// Captures of the network's ordinary traffic; days of it are better than hours
    #[arg(value_name = "CAPTURE", required_unless_present = "data")]
    pub(crate) captures: Vec<PathBuf>,

    /// The model to learn with; it stays as it is
    #[arg(short, long, value_name = "DIR")]
    pub(crate) model: PathBuf,

    /// The model directory to make
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: PathBuf,

    /// Rows of truth (CSV) about some of the flows: they train the network's head; may be given again
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    pub(crate) labels: Vec<PathBuf>,

    /// A table of `tapline dataset build` instead of captures; its hostile rows are labels
    #[arg(short, long, value_name = "PARQUET", conflicts_with = "captures")]
    pub(crate) data: Option<PathBuf>,

    /// With --data: these networks only: testbed/f, say; may be given again
    #[arg(long, value_name = "NETWORK", value_delimiter = ',', requires = "data")]
    pub(crate) source: Vec<String>,

    /// Alerts a day that ordinary traffic may cause
    #[arg(long, value_name = "N", default_value = "1", value_parser = alerts)]
    pub(crate) alerts_per_day: f64,

    /// How far the centres of inputs move to the network's own medians: 0 not at all, 1 all the way
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    pub(crate) shift: f32,

    /// No progress and no summary on standard error
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

fn alerts(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "say a number of 0 or more".to_owned())
}

fn share(text: &str) -> Result<f32, String> {
    let number = text.parse::<f32>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "say a number from 0 to 1".to_owned())
}

pub(crate) const EXAMPLES: &str = "\
EXAMPLES:
  tapline learn --model models/default --out models/mine monday.pcap tuesday.pcap
  tapline learn --model models/default --out models/mine --labels truth.csv week/*.pcap.zst
  tapline learn --model models/default --out models/f --data dataset/flows.parquet --source testbed/f-night

OUTPUT:
  A new model directory; none is ever overwritten. docs/scoring.md says what is learnt and what is not: without labels
  p-values, thresholds and the drift histograms; all flows are taken for benign, so look at the alerts of the period
  first. With labels the head of the network, too.";
