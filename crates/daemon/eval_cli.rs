//! What may be typed after `tapline eval`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tapline_train::Split;

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// The model directory; without it, quick detectors learnt from the training rows are judged
    #[arg(short, long, value_name = "DIR", requires = "data")]
    pub(crate) model: Option<PathBuf>,

    /// The table that `tapline dataset build` made
    #[arg(short, long, value_name = "PARQUET", required_unless_present = "table")]
    pub(crate) data: Option<PathBuf>,

    /// Rows to judge; may be given again
    #[arg(long, value_name = "SPLIT", default_value = "test", value_delimiter = ',')]
    pub(crate) split: Vec<SplitName>,

    /// Judge these networks only: testbed/f, say; may be given again
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    pub(crate) source: Vec<String>,

    /// Check that nothing is learnt from noise, nor all from one input, nor anything from who or where
    #[arg(long)]
    pub(crate) sanity: bool,

    /// Learn quick detectors from parts of the inputs, and judge with shorter windows
    #[arg(long)]
    pub(crate) ablate: bool,

    /// Learn quick detectors from all networks but one, for each
    #[arg(long)]
    pub(crate) leave_one_source_out: bool,

    /// With --leave-one-source-out: train whole models by this configuration, too; takes as many trainings as there are networks
    #[arg(long, value_name = "TOML", requires = "leave_one_source_out", requires = "keep")]
    pub(crate) retrain: Option<PathBuf>,

    /// With --retrain: where the models go, one directory each; those that are there are not trained again
    #[arg(long, value_name = "DIR", requires = "retrain")]
    pub(crate) keep: Option<PathBuf>,

    /// Set points anew on the first part of each network without attacks, and count false alarms on the rest: 0.1, say
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) learn_fraction: Option<f64>,

    /// Write all figures as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write a report as one HTML file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Rounds of the bootstrap behind intervals; 0 for none
    #[arg(long, value_name = "N", default_value = "200", value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub(crate) rounds: u32,

    /// The same seed gives the same figures
    #[arg(long, value_name = "N", default_value = "20261123")]
    pub(crate) seed: u64,

    /// Threads [default: one per processor, at most 8]; figures do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) threads: Option<u8>,

    /// Instead: learn from a public table and judge it, to see that the learning code is sound
    #[arg(long, value_name = "TABLE", conflicts_with_all = ["model", "data"], requires = "paths")]
    pub(crate) table: Option<PublicTable>,

    /// With --table: the directory of NSL-KDD, unpacked; or CSV files of CIC-IDS2017, or their directory
    #[arg(value_name = "PATH", requires = "table")]
    pub(crate) paths: Vec<PathBuf>,

    /// No progress on standard error
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// A public table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PublicTable {
    /// KDDTrain+_20Percent.txt against KDDTest+.txt
    NslKdd,
    /// Corrected flows of CIC-IDS2017, parted at random, by host and time, and by time
    Cic2017Corrected,
}

/// What rows are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SplitName {
    Train,
    Validate,
    Test,
    None,
}

impl From<SplitName> for Split {
    fn from(name: SplitName) -> Self {
        match name {
            SplitName::Train => Self::Train,
            SplitName::Validate => Self::Validate,
            SplitName::Test => Self::Test,
            SplitName::None => Self::None,
        }
    }
}

/// A share between 0 and 1, neither of them.
fn share(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|share| *share > 0.0 && *share < 1.0)
        .ok_or_else(|| "say a number above 0 and below 1: 0.1".to_owned())
}

pub(crate) const EXAMPLES: &str = "\
EXAMPLES:
  tapline eval --model models/default --data dataset/flows.parquet --html report.html
  tapline eval --model models/default --data dataset/flows.parquet --split validate --source testbed/e
  tapline eval --data dataset/flows.parquet --sanity --leave-one-source-out
  tapline eval --table nsl-kdd NSL_KDD/
  tapline eval --table cic2017-corrected cic2017/

OUTPUT:
  Tables on standard output: every detector of the model apart and all of them together, by class, network and
  behaviour. docs/evaluation.md says what the figures mean.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_inside() {
        assert_eq!(share("0.1"), Ok(0.1));
        for wrong in ["0", "1", "-0.5", "nan", "10%", ""] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
