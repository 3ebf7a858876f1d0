//! What may be typed after `tapline dataset`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum DatasetCommand {
    /// Make a training table and its data card from labelled captures
    #[command(after_help = BUILD_EXAMPLES)]
    Build(Box<BuildArgs>),
    /// Print the data card of a table
    #[command(after_help = "EXAMPLES:\n  tapline dataset card dataset/")]
    Card {
        /// The directory that `dataset build` made
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Directories of testbed runs: captures, truth.csv and run.json
    #[arg(value_name = "RUN", required_unless_present = "corpus")]
    pub(crate) runs: Vec<PathBuf>,

    /// Where flows.parquet, card.md and card.json go; made if it is not there
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: PathBuf,

    /// The public corpus, unpacked
    #[arg(long, value_name = "DIR", requires = "labels")]
    pub(crate) corpus: Option<PathBuf>,

    /// The labels of the public corpus
    #[arg(long, value_name = "FILE", requires = "corpus")]
    pub(crate) labels: Option<PathBuf>,

    /// Packet labels of the corpus's Modbus captures; without them these captures are left out
    #[arg(long, value_name = "DIR", requires = "corpus")]
    pub(crate) modbus: Option<PathBuf>,

    /// The most flows of a hostile class and a corpus file; 0 for all
    #[arg(long, value_name = "N", default_value = "1000")]
    pub(crate) cap_per_file: usize,

    /// The most flows of a hostile behaviour and a run; 0 for all
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) cap_per_behaviour: usize,

    /// Leave out hostile flows of a run until this share is benign: 0.97, say
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) benign_share: Option<f64>,

    /// How captures are read, one or more of these; with `whole`, the others besides, of captures of the training split; without it, of all
    #[arg(long, value_name = "VIEW,...", value_enum, value_delimiter = ',', default_value = "whole")]
    pub(crate) views: Vec<Views>,

    /// Leave out the honesty checks
    #[arg(long)]
    pub(crate) no_checks: bool,

    /// No progress and no summary on standard error; warnings are shown all the same
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Ways to read a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Views {
    /// As it is
    Whole,
    /// As a tap that gets one direction of each conversation would see it
    OneWay,
    /// As a tap would see it that gets what goes to or comes from one host in six; of runs alone, and for two such taps
    Segment,
    /// Cut into short captures of one and a half to six minutes, with nothing known of what was before; of runs alone
    Short,
}

/// A share between 0 and 1, neither of them.
fn share(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|share| *share > 0.0 && *share < 1.0)
        .ok_or_else(|| "say a number above 0 and below 1: 0.97".to_owned())
}

const BUILD_EXAMPLES: &str = "\
EXAMPLES:
  tapline dataset build --out dataset/ runs/a runs/b
  tapline dataset build --out dataset/ --benign-share 0.97 --cap-per-behaviour 5000 runs/*
  tapline dataset build --out dataset/ --views whole,one-way,segment,short runs/a runs/b
  tapline dataset build --out dataset/ --corpus corpus/ --labels labels.tsv --modbus modbus_labels/

OUTPUT:
  DIR/flows.parquet: every column of schema tapline-1, then the label, site, run, source, split and capture,
  in the order of sources and captures, and within a capture that in which flows ended. DIR/card.md and DIR/card.json: what is in the table,
  what was left out, what it cannot teach. docs/dataset.md explains both.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_inside() {
        assert_eq!(share("0.97"), Ok(0.97));
        for wrong in ["0", "1", "-0.5", "nan", "97%", ""] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
