//! `tapline replay`: capture files to flow rows.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::{Context, anyhow};
use tapline_capture::{CaptureError, CaptureSet, ErrorKind, FrameFilter, ReadOptions};
use tapline_export::{ExportError, Format, NumberText, RowWriter, TableMeta};
use tapline_features::{CIC_2018, CIC_GINTS, CIC_HEAD, CicTracker, SchemaId, TAPLINE_1, TaplineTracker};
use tapline_flow::{HashSeed, Rules, Timeouts};
use tapline_packet::{DecodeOptions, Decoder, DuplicateWindow, Profile};
use tapline_record::{CicVersion, Column, FlowRecord, Tracker};

use crate::accounting::{Run, Stats};
use crate::alerts::{AlertSummary, Alerts, AlertsNotWritten};
use crate::cli::{ReplayArgs, RowFormat};
use crate::contexts::{self, Beside, Contexts};
use crate::decapsulation;
use crate::exit::{Code, Failure};
use crate::exporter::{Exporter, FlowRows, Rows};
use crate::flow_worker::Tables;
use crate::labels::Labeller;
use crate::model::{Loading, Model};
use crate::output::{self, Target};
use crate::pipeline::{self, Stage};
use crate::progress::Progress;
use crate::reader::{Intake, Reader, SHARD_SEED};
use crate::row_tail::{RowTail, tail_columns};
use crate::scoring::{Judge, Scoring, ScoringLimits};
use crate::summary;
use crate::talkers::Talkers;
use crate::version;

pub(crate) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let rules = rules(args)?;
    let cic = |version| CicTracker { version };
    match (args.schema.0, &args.scoring.model) {
        (SchemaId::Tapline1, Some(directory)) => scored(args, rules, directory),
        (_, Some(_)) => Err(Failure::usage("--model goes with --schema tapline-1: models read its features")),
        (SchemaId::Tapline1, None) => replay(args, rules, TaplineTracker, TAPLINE_1, Outlet::exporter),
        (SchemaId::Cic2018, None) => replay(args, rules, cic(CicVersion::V2018), CIC_2018, Outlet::exporter),
        (SchemaId::CicHead, None) => replay(args, rules, cic(CicVersion::Head), CIC_HEAD, Outlet::exporter),
        (SchemaId::CicGints, None) => {
            replay(args, rules, cic(CicVersion::Gints), CIC_GINTS, Outlet::exporter)
        }
    }
}

/// Replay with a model.
fn scored(args: &ReplayArgs, rules: Rules, directory: &Path) -> Result<(), Failure> {
    let Rules::Tapline { timeouts, .. } = rules else {
        return Err(Failure::usage("--model goes with --schema tapline-1"));
    };
    let alerts = args.scoring.alerts.as_deref();
    if alerts == Some(Path::new("-")) && args.output == Path::new("-") && args.format != Some(RowFormat::None)
    {
        return Err(Failure::usage(
            "rows go to standard output already; write alerts to a file, or rows with -o",
        ));
    }
    let loading = Loading::start(directory)?;
    let outcome = replay(args, rules, TaplineTracker, TAPLINE_1, |opened| {
        // Who sends packets through a pipe need not wait for them to learn that there is no model.
        if !args.inputs.iter().all(|input| input.is_file()) {
            loading.wait()?;
        }
        let limits = ScoringLimits::default();
        let (loading, alerts) = (Arc::clone(&loading), alerts.map(Path::to_owned));
        // Nothing is created before the model is known to be good.
        let make = move || -> Result<Scoring, Failure> {
            let Model { manifest, detector } = loading.take()?;
            let alerts = Alerts::open(&manifest, alerts.as_deref())?;
            let judge =
                Judge::new(manifest, detector, &limits).map_err(|error| Failure::new(Code::Data, error))?;
            Ok(Scoring::new(judge, &limits, alerts, opened.exporter()?))
        };
        let judging = Beside::start(contexts::REPLAY_BATCHES, move || Ok(make()?))
            .map_err(|error| Failure::new(Code::Software, error))?;
        Ok(Contexts::new(&limits, timeouts.idle_us, random_seed(), judging))
    });
    // What is wrong with the model is told before what is wrong with anything else.
    outcome.or_else(|failure| loading.wait().and(Err(failure)))
}

/// What the last stage writes to, not opened yet but for the truth.
struct Outlet<S: 'static> {
    schema: SchemaId,
    columns: &'static [Column<FlowRecord<S>>],
    tail: &'static [Column<RowTail>],
    target: Option<(Format, Target)>,
    labeller: Option<Labeller>,
}

impl<S: Clone> Outlet<S> {
    /// Opens the output.
    fn exporter(self) -> Result<Exporter<S>, Failure> {
        let Self { schema, columns, tail, target, labeller } = self;
        let rows = match &target {
            Some((format, target)) => Rows::Writer(row_writer(schema, *format, columns, tail, target)?),
            None => Rows::None,
        };
        Ok(Exporter::new(rows, labeller))
    }
}

/// Replay into the stage that `last` makes of what is written to.
fn replay<T, L>(
    args: &ReplayArgs,
    rules: Rules,
    tracker: T,
    columns: &'static [Column<FlowRecord<T::State>>],
    last: impl FnOnce(Outlet<T::State>) -> Result<L, Failure>,
) -> Result<(), Failure>
where
    T: Tracker + Copy + Send + Sync,
    T::State: Send + 'static,
    L: Stage<T::State>,
{
    let started = Instant::now();
    let captures = CaptureSet::open(&args.inputs, &ReadOptions::default()).map_err(of_capture)?;
    let filter = args.filter.as_deref().map(FrameFilter::compile).transpose().map_err(of_capture)?;
    let workers = usize::from(args.workers.unwrap_or_else(default_workers));

    let labeller = Labeller::open(&args.truth)?;

    let format = output::format_of(args);
    let target = format.map(|format| Target::new(args, format));
    let tail = match format {
        Some(_) => tail_columns(args.scoring.model.is_some(), labeller.is_some()),
        None => &[],
    };
    let outlet =
        Outlet { schema: args.schema.0, columns, tail, target: format.zip(target.clone()), labeller };

    let progress = Progress::new(captures.bytes_total(), args.quiet);
    let decoder = Decoder::new(decode_options(args));
    let duplicates = args.dedup.map(|window_us| {
        let HashSeed(key_0, key_1) = random_seed();
        DuplicateWindow::new(window_us, (key_0, key_1))
    });
    let intake = Intake::new(filter, duplicates, decoder, rules.key_rules(), SHARD_SEED);
    let mut reader = Reader::new(captures, intake, progress);
    let tables = Tables { rules, flows_max: args.max_flows as usize, seed: random_seed() };
    let last = last(outlet)?;
    let (tables, mut exported) =
        pipeline::run(&mut reader, tables, tracker, workers, last).map_err(|error| {
            target.iter().for_each(Target::discard);
            of_pipeline(error, target.as_ref())
        })?;
    if let Some(target) = &target {
        target.publish()?;
    }

    let (input, decode, errors) = reader.close();
    let run = Run {
        schema: args.schema.0,
        workers,
        errors: errors.iter().map(chain).collect(),
        wall_s: started.elapsed().as_secs_f64(),
    };
    let talkers = std::mem::take(&mut exported.talkers);
    let alerts = exported.scoring.as_ref().map(|scoring| scoring.alerts.clone());
    let stats = Stats::new(run, input, decode, &tables, exported);
    report(args, &stats, &talkers, alerts.as_ref())?;
    verdict(&stats, errors)?;
    match alerts {
        Some(AlertSummary { alerts: 1.., .. }) if args.scoring.fail_on_alert => {
            Err(Failure::new(Code::Alert, anyhow!("there was an alert")))
        }
        _ => Ok(()),
    }
}

/// Writes the statistics and the summary.
#[expect(clippy::print_stderr, reason = "the summary goes to standard error")]
fn report(
    args: &ReplayArgs,
    stats: &Stats,
    talkers: &Talkers,
    alerts: Option<&AlertSummary>,
) -> Result<(), Failure> {
    if let Some(path) = &args.stats {
        let mut json = serde_json::to_string_pretty(stats)
            .context("rendering statistics")
            .map_err(|error| Failure::new(Code::Software, error))?;
        json.push('\n');
        fs::write(path, json)
            .with_context(|| format!("writing statistics to {}", path.display()))
            .map_err(|error| Failure::new(Code::CantCreate, error))?;
    }
    if !args.quiet {
        eprint!("{}", summary::text(stats, talkers, alerts));
    }
    Ok(())
}

/// Whether the run was good: first our own promise, then the input's health.
fn verdict(stats: &Stats, errors: Vec<CaptureError>) -> Result<(), Failure> {
    let packets = &stats.packets;
    if packets.unaccounted != 0 {
        let message = format!("{} packets are unaccounted for; please report this", packets.unaccounted);
        return Err(Failure::new(Code::Software, anyhow!(message)));
    }
    let count = errors.len();
    if let Some(first) = errors.into_iter().next() {
        let failure = of_capture(first);
        return Err(if count > 1 { failure.among(count) } else { failure });
    }
    if packets.seen > packets.filtered && packets.processed == 0 {
        let mut reasons: Vec<String> =
            packets.undecodable_by_reason.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        if !packets.unsupported_link_types.is_empty() {
            reasons.push(format!("link types {:?} are not supported", packets.unsupported_link_types));
        }
        let message = format!("none of {} packets could be decoded: {}", packets.seen, reasons.join(", "));
        return Err(Failure::new(Code::Data, anyhow!(message)));
    }
    Ok(())
}

fn rules(args: &ReplayArgs) -> Result<Rules, Failure> {
    let version = match args.schema.0 {
        SchemaId::Tapline1 => {
            let default = Timeouts::default();
            if args.partial.len() > Timeouts::PARTIALS_MAX || !args.partial.is_sorted_by(|a, b| a < b) {
                return Err(Failure::usage(
                    "--partial takes at most 8 ages, each greater than the one before",
                ));
            }
            let mut timeouts = Timeouts {
                idle_us: args.idle_timeout.unwrap_or(default.idle_us),
                active_us: args.active_timeout.unwrap_or(default.active_us),
                ..default
            };
            if timeouts.active_us > Timeouts::ACTIVE_MAX_US {
                return Err(Failure::usage("--active-timeout is at most 1h"));
            }
            timeouts.partial_us.iter_mut().zip(&args.partial).for_each(|(place, age_us)| *place = *age_us);
            return Ok(Rules::Tapline { timeouts, vlan_in_key: !args.no_vlan_key });
        }
        SchemaId::Cic2018 => CicVersion::V2018,
        SchemaId::CicHead => CicVersion::Head,
        SchemaId::CicGints => CicVersion::Gints,
    };
    if args.idle_timeout.is_some()
        || !args.partial.is_empty()
        || args.no_vlan_key
        || !args.no_decapsulate.is_empty()
    {
        let message = "--idle-timeout, --partial, --no-vlan-key and --no-decapsulate go with --schema tapline-1: \
                       CICFlowMeter has no idle timeout, no VLANs in its key and decapsulates nothing";
        return Err(Failure::usage(message));
    }
    Ok(Rules::Cic { version, flow_timeout_us: args.active_timeout.unwrap_or(120_000_000) })
}

fn decode_options(args: &ReplayArgs) -> DecodeOptions {
    let mut options = DecodeOptions {
        profile: match args.schema.0 {
            SchemaId::Tapline1 => Profile::Tapline,
            SchemaId::Cic2018 => Profile::Cic2018,
            SchemaId::CicHead => Profile::CicHead,
            SchemaId::CicGints => Profile::CicGints,
        },
        ..DecodeOptions::default()
    };
    decapsulation::close(&mut options, &args.no_decapsulate);
    options
}

fn row_writer<S>(
    schema: SchemaId,
    format: Format,
    columns: &'static [Column<FlowRecord<S>>],
    tail: &'static [Column<RowTail>],
    target: &Target,
) -> Result<FlowRows<S>, Failure> {
    if !format.is_built() {
        return Err(Failure::usage(ExportError::FormatNotBuilt { format }));
    }
    let numbers = match schema {
        SchemaId::Tapline1 => NumberText::Shortest,
        SchemaId::Cic2018 | SchemaId::CicHead | SchemaId::CicGints => NumberText::Java,
    };
    let meta = TableMeta {
        schema_id: schema.name().to_owned(),
        schema_hash: schema.hash(),
        producer: version::PRODUCER.to_owned(),
    };
    RowWriter::with_tail(format, columns, tail, numbers, meta, target.open()?)
        .with_context(|| format!("writing to {}", target.name()))
        .map_err(Failure::io)
}

fn default_workers() -> u8 {
    thread::available_parallelism().map_or(1, |n| u8::try_from(n.get()).unwrap_or(8).min(8))
}

/// A key for the tables' hash that nobody outside the process knows.
pub(crate) fn random_seed() -> HashSeed {
    let word = || getrandom::u64().expect("the system's random numbers have no end");
    HashSeed(word(), word())
}

pub(crate) fn of_capture(error: CaptureError) -> Failure {
    let code = match error.kind() {
        ErrorKind::NoInput => Code::NoInput,
        ErrorKind::BadData => Code::Data,
        ErrorKind::Io => Code::Io,
        ErrorKind::Usage => Code::Usage,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::NoPermission => Code::NoPermission,
        _ => Code::Software,
    };
    Failure::new(code, error)
}

fn of_pipeline(error: anyhow::Error, target: Option<&Target>) -> Failure {
    let error = match error.downcast::<Failure>() {
        Ok(failure) => return failure,
        Err(error) => error,
    };
    if error.is::<AlertsNotWritten>() {
        return Failure::io(error);
    }
    let Some(target) = target.filter(|_| error.is::<ExportError>()) else {
        return match error.downcast::<CaptureError>() {
            Ok(error) => of_capture(error),
            Err(error) => Failure::new(Code::Software, error),
        };
    };
    Failure::io(error.context(format!("writing to {}", target.name())))
}

/// An error with its causes, for the statistics.
fn chain(error: &CaptureError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
