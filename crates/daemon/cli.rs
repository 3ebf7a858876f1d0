//! The command line: what the user may type, and nothing else.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use tapline_config::Encapsulation;
use tapline_features::SchemaId;
use tapline_label::time_text::{Clock, parse_utc_offset};

use crate::dataset_cli::DatasetCommand;
use crate::eval_cli::{self, EvalArgs};
use crate::learn_cli::{self, LearnArgs};
#[cfg(all(feature = "libpcap", target_os = "linux"))]
use crate::sensor_cli::SensorCommand;
use crate::train_cli::{self, TrainArgs};
use crate::version;

/// A streaming network sensor: packets become CICFlowMeter-style flows, exact and corrected
#[derive(Debug, Parser)]
#[command(name = "tapline", version, long_version = version::LONG, propagate_version = false)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Turn capture files into flow rows
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(Box<ReplayArgs>),
    #[cfg(all(feature = "libpcap", target_os = "linux"))]
    #[command(flatten)]
    Sensor(SensorCommand),
    /// Label flow rows, of Tapline or CICFlowMeter, with what is known about the traffic
    #[command(after_help = LABEL_EXAMPLES)]
    Label(Box<LabelArgs>),
    /// Make a training table from labelled captures
    #[command(
        after_help = "EXAMPLES:\n  tapline dataset build --out dataset/ runs/a runs/b\n  tapline dataset card dataset/"
    )]
    Dataset {
        #[command(subcommand)]
        command: DatasetCommand,
    },
    /// Say what a model is worth on networks that it never saw
    #[command(after_help = eval_cli::EXAMPLES)]
    Eval(Box<EvalArgs>),
    /// Make a model from a training table
    #[command(after_help = train_cli::EXAMPLES)]
    Train(TrainArgs),
    /// Let a model learn what is ordinary on a network
    #[command(after_help = learn_cli::EXAMPLES)]
    Learn(LearnArgs),
    /// List or explain the columns of a schema
    #[command(after_help = FEATURES_EXAMPLES)]
    Features {
        #[command(subcommand)]
        command: FeaturesCommand,
    },
    /// Describe or check models
    #[command(
        after_help = "EXAMPLES:\n  tapline model info models/default\n  tapline model verify models/default models/mine"
    )]
    Model {
        #[command(subcommand)]
        command: ModelCommand,
    },
    /// Print a completion script for a shell
    #[command(after_help = "EXAMPLES:\n  tapline completions bash > /etc/bash_completion.d/tapline")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "EXAMPLES:\n  tapline man | man -l -")]
    Man,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FeaturesCommand {
    /// Every column: name, unit, meaning
    List {
        /// The schema
        #[arg(long, default_value = "tapline-1")]
        schema: Schema,
    },
    /// Every input that models choose from: name, unit, meaning
    Inputs,
    /// One column by name
    Explain {
        /// The column, in any spelling of case
        name: String,
        /// Look in this schema only
        #[arg(long)]
        schema: Option<Schema>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// What a model knows: classes, inputs, detectors, calibration, thresholds, and where it comes from
    #[command(
        after_help = "EXAMPLES:\n  tapline model info models/default\n  tapline model info --json models/default"
    )]
    Info {
        /// The model's directory
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Whether models are whole, unchanged, and made for the inputs of this build: exits with 65 if one is not
    #[command(after_help = "EXAMPLES:\n  tapline model verify models/*")]
    Verify {
        /// Directories of models
        #[arg(required = true, value_name = "DIR")]
        dirs: Vec<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Capture files, directories of them, or - for standard input; several are merged in time order
    #[arg(required = true, value_name = "FILE")]
    pub(crate) inputs: Vec<PathBuf>,

    /// Columns, and the rules by which flows live
    #[arg(long, default_value = "tapline-1")]
    pub(crate) schema: Schema,

    /// Row format [default: by the ending of --output, else csv]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<RowFormat>,

    /// Where rows go: a file, a directory, or - for standard output
    #[arg(short, long, value_name = "FILE|DIR|-", default_value = "-")]
    pub(crate) output: PathBuf,

    /// Flow workers; 1 runs the whole pipeline in one thread [default: one per processor, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) workers: Option<u8>,

    /// Only packets that match this expression (pcap-filter(7)); the others are counted as filtered
    #[arg(long, value_name = "BPF")]
    pub(crate) filter: Option<String>,

    /// Leave out frames that repeat byte for byte within this time (a span port that delivers twice): 500us, say
    #[arg(long, value_name = "TIME", value_parser = duration_us)]
    pub(crate) dedup: Option<i64>,

    /// Write counters as JSON to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) stats: Option<PathBuf>,

    /// The most flows held at once; past it the flow nearest to its timeout is emitted early
    #[arg(long, value_name = "N", default_value = "1000000", value_parser = clap::value_parser!(u32).range(64..))]
    pub(crate) max_flows: u32,

    /// End a flow after this long without packets (tapline-1) [default: 120s]
    #[arg(long, value_name = "TIME", value_parser = duration_us)]
    pub(crate) idle_timeout: Option<i64>,

    /// Ages at which a flow that goes on gets an early record, marked partial: 1s,10s,60s
    #[arg(long, value_name = "TIMES", value_delimiter = ',', value_parser = duration_us)]
    pub(crate) partial: Vec<i64>,

    /// Cut a flow that is older than this [default: 1800s; cic schemas 120s]
    #[arg(long, value_name = "TIME", value_parser = duration_us)]
    pub(crate) active_timeout: Option<i64>,

    /// Leave VLAN identifiers out of the flow key (tapline-1)
    #[arg(long)]
    pub(crate) no_vlan_key: bool,

    /// Do not look into these encapsulations (tapline-1)
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = encapsulation())]
    pub(crate) no_decapsulate: Vec<Encapsulation>,

    #[command(flatten)]
    pub(crate) truth: TruthArgs,

    #[command(flatten)]
    pub(crate) scoring: ScoringArgs,

    /// No progress and no summary on standard error
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Verdicts and alerts.
#[derive(Debug, Args)]
pub(crate) struct ScoringArgs {
    /// Judge every flow with the model in this directory (tapline-1): rows get its verdict behind their columns
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,

    /// Write alerts as lines of JSON to this file, or - for standard output if rows go elsewhere
    #[arg(long, value_name = "FILE|-", requires = "model")]
    pub(crate) alerts: Option<PathBuf>,

    /// Exit with 3 if there was an alert
    #[arg(long, requires = "model")]
    pub(crate) fail_on_alert: bool,
}

/// What is known about the traffic. See docs/labels.md.
#[derive(Debug, Args)]
pub(crate) struct TruthArgs {
    /// Label flows by these rows of truth (CSV); may be given again
    #[arg(long, value_name = "CSV")]
    pub(crate) truth: Vec<PathBuf>,

    /// Label flows by these rules (TOML); may be given again
    #[arg(long, value_name = "TOML")]
    pub(crate) rules: Vec<PathBuf>,

    /// How long before the window of its truth a flow may end [default: 500ms]
    #[arg(long, value_name = "TIME", value_parser = time_us)]
    pub(crate) pad_before: Option<i64>,

    /// How long after the window of its truth a flow may begin [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = time_us)]
    pub(crate) pad_after: Option<i64>,
}

#[derive(Debug, Args)]
pub(crate) struct LabelArgs {
    /// Flow rows as CSV or NDJSON, or - for standard input; several must have the same header
    #[arg(required = true, value_name = "FLOWS")]
    pub(crate) inputs: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) truth: TruthArgs,

    /// Where rows go: a file, or - for standard output
    #[arg(short, long, value_name = "FILE|-", default_value = "-")]
    pub(crate) output: PathBuf,

    /// Format of the rows, read and written [default: by the ending of the first FLOWS, else csv]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<TextFormat>,

    /// Offset from UTC of times that do not say theirs (CICFlowMeter): -03:00, say
    #[arg(long, value_name = "OFFSET", default_value = "+00:00", allow_hyphen_values = true, value_parser = parse_utc_offset)]
    pub(crate) utc_offset: i32,

    /// How to read times without AM or PM (CICFlowMeter of 2018): 24, or the hour, 0 to 12, that begins the half day
    /// in which all flows started
    #[arg(long, value_name = "24|HOUR", value_parser = clock)]
    pub(crate) clock: Option<Clock>,

    /// No summary on standard error
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TextFormat {
    Csv,
    #[value(alias = "json", alias = "jsonl")]
    Ndjson,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Schema(pub(crate) SchemaId);

impl ValueEnum for Schema {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self(SchemaId::Tapline1),
            Self(SchemaId::Cic2018),
            Self(SchemaId::CicHead),
            Self(SchemaId::CicGints),
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name()).help(match self.0 {
            SchemaId::Tapline1 => "every known defect of CICFlowMeter corrected, IPv6, early packet sequence",
            SchemaId::Cic2018 => "CICFlowMeter of 2018, byte for byte: the CSE-CIC-IDS2018 columns",
            SchemaId::CicHead => "CICFlowMeter 4.0, byte for byte",
            SchemaId::CicGints => "the corrected fork of Gints Engelen, byte for byte",
        }))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowFormat {
    Csv,
    #[value(alias = "json", alias = "jsonl")]
    Ndjson,
    Parquet,
    /// Count only
    None,
}

/// A kind of tunnel by its name.
fn encapsulation() -> impl TypedValueParser<Value = Encapsulation> {
    PossibleValuesParser::new(Encapsulation::ALL.iter().map(|kind| kind.word())).try_map(|word| {
        Encapsulation::ALL.iter().copied().find(|kind| kind.word() == word).ok_or("no such encapsulation")
    })
}

/// "120s", "500ms", "2m", "1h" in microseconds; more than nothing.
fn duration_us(text: &str) -> Result<i64, String> {
    match time_us(text) {
        Ok(0) => Err("say a positive number and a unit: 500ms, 120s, 30m or 1h".to_owned()),
        other => other,
    }
}

/// The same, or "0s".
fn time_us(text: &str) -> Result<i64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_us = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" | "min" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return Err("say a number and a unit: 500ms, 120s, 30m or 1h".to_owned()),
    };
    number
        .parse::<i64>()
        .ok()
        .and_then(|number| number.checked_mul(unit_us))
        .ok_or_else(|| "say a number and a unit: 500ms, 120s, 30m or 1h".to_owned())
}

fn clock(text: &str) -> Result<Clock, String> {
    match text.parse() {
        Ok(24) => Ok(Clock::TwentyFour),
        Ok(hour @ 0..=12) => Ok(Clock::TwelveFrom(hour)),
        _ => Err("say 24, or an hour from 0 to 12".to_owned()),
    }
}

const EXIT_CODES: &str = "\
EXIT CODES:
  0   done; every packet is accounted for
  2   the command line is wrong
  3   there was an alert, with --fail-on-alert
  65  the input is damaged or holds nothing that could be decoded; whole packets were processed
  66  the input is missing or unreadable
  69  this build, or this host, lacks what the command needs
  70  a fault in Tapline itself
  73  the output cannot be created
  74  reading or writing failed half-way (disk full, closed pipe); no row is torn
  77  a right is missing
  78  the configuration is wrong";

const REPLAY_EXAMPLES: &str = "\
EXAMPLES:
  tapline replay traffic.pcap > flows.csv
  tapline replay -o flows.parquet traffic.pcapng.zst
  tapline replay --schema cic-gints -o - traffic.pcap
  tapline replay --filter 'tcp port 443' --format ndjson captures/
  tapline replay --truth truth.csv -o labelled.parquet captures/
  tapline replay --model models/default --alerts alerts.ndjson -o flows.csv traffic.pcap
  zcat traffic.pcap.gz | tapline replay --stats stats.json -o flows.csv -

OUTPUT:
  Rows go to standard output unless -o says otherwise; progress and summary go to standard error.
  With -o DIR the file is DIR/<name of the only input, else flows>.<csv|ndjson|parquet>.
  The bytes are the same for any number of workers.";

const LABEL_EXAMPLES: &str = "\
EXAMPLES:
  tapline label --truth truth.csv -o labelled.csv flows.csv
  tapline label --rules cic-ids2017.toml --utc-offset -03:00 --clock 8 Tuesday.csv > labelled.csv
  zcat flows.ndjson.gz | tapline label --truth truth.csv --format ndjson -

OUTPUT:
  Each row as it was, with label_class, label_hostile, label_behaviour, label_tool, label_technique, label_site,
  label_run and label_conflict behind it. For Parquet use tapline replay --truth.";

const FEATURES_EXAMPLES: &str = "\
EXAMPLES:
  tapline features list
  tapline features list --schema cic-gints
  tapline features explain fwd_bulk_bytes_per_s";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration_us("120s"), Ok(120_000_000));
        assert_eq!(duration_us("2m"), Ok(120_000_000));
        assert_eq!(duration_us("1h"), Ok(3_600_000_000));
        assert_eq!(time_us("0s"), Ok(0));
        for wrong in ["", "120", "s", "-1s", "0s", "1d", "99999999999999999999s"] {
            assert!(duration_us(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
