//! `tapline eval`: what a model is worth on networks that it never saw.
//!
//! In: a model directory, a training table. Out: tables on standard output, and JSON and HTML where asked for. The figures are
//! made in `tapline-train`; here rows are chosen, detectors are loaded, and somebody who waits is told what is going on.

use std::collections::BTreeSet;
use std::fs;
use std::io::IsTerminal;
use std::path::Path;
use std::thread;

use anyhow::{Context, anyhow};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tapline_score::manifest::DetectorKind;
use tapline_score::thresholds::Rates;
use tapline_score::{LoadedModel, ScoreError};
use tapline_train::evaluation::{Evaluation, Options, evaluate};
use tapline_train::incidents::incidents;
use tapline_train::judge::{Logits, Voter, judge_in_teams};
use tapline_train::learning::{self, FLOWS_MIN, Order, RATES};
use tapline_train::opinion::{Opinion, Points};
use tapline_train::quick::{Cells, Quick, QuickConfig, QuickKind};
use tapline_train::{CLASSES, Split, Table, TrainError};
use tapline_train::{public_tables, report_html, report_text, sanity, trials};

use crate::eval_cli::{EvalArgs, PublicTable};
use crate::exit::{Code, Failure};
use crate::{eval_retraining, model, print, version};

pub(crate) fn run(args: &EvalArgs) -> Result<(), Failure> {
    let threads = args
        .threads
        .map_or_else(|| thread::available_parallelism().map_or(1, usize::from).min(8), usize::from);
    let quick = QuickConfig { seed: args.seed, threads, ..QuickConfig::default() };
    if let Some(table) = args.table {
        return public(table, args, &quick);
    }
    let data = args.data.as_deref().ok_or_else(|| Failure::usage("--data is missing"))?;
    let watch = Watch::new(args.quiet);
    // What is refused is refused before a large table is read.
    let model = args.model.as_deref().map(load).transpose()?;
    watch.tell(&format!("reading {}", data.display()));
    let table = Table::read(data).map_err(failure)?;
    let chosen = Chosen::of(&table, args)?;
    let mut evaluation = match model {
        Some(model) => of_model(model, &table, &chosen, args, threads, &watch)?,
        None => of_quick(&table, &chosen, args, &quick, &watch)?,
    };
    try_more(&mut evaluation, &table, &chosen, args, &quick, &watch)?;
    evaluation.evaluation.about.insert("table".to_owned(), data.display().to_string());
    evaluation.evaluation.about.insert("rows".to_owned(), chosen.words.clone());
    evaluation.evaluation.about.insert("made by".to_owned(), version::PRODUCER.to_owned());
    let evaluation = evaluation.evaluation;
    if let Some(path) = &args.json {
        write_json(path, &evaluation)?;
    }
    if let Some(path) = &args.html {
        write(path, report_html::render(&evaluation).as_bytes())?;
    }
    print(report_text::render(&evaluation).as_bytes())
}

/// Rows by what they are for.
struct Chosen {
    /// To be judged.
    judged: Vec<u32>,
    /// To learn from.
    learnt: Vec<u32>,
    /// To set points by.
    set_aside: Vec<u32>,
    /// Which those to be judged are.
    words: String,
}

impl Chosen {
    fn of(table: &Table, args: &EvalArgs) -> Result<Self, Failure> {
        let splits: Vec<Split> = args.split.iter().map(|split| Split::from(*split)).collect();
        let known: BTreeSet<&str> = table.source.all().iter().map(String::as_str).collect();
        if let Some(unknown) = args.source.iter().find(|source| !known.contains(source.as_str())) {
            let known: Vec<&str> = known.into_iter().take(40).collect();
            return Err(Failure::usage(format!(
                "the table has no network {unknown:?}; it has {}",
                known.join(", ")
            )));
        }
        let judged = table.rows_where(|row| {
            splits.contains(&table.split[row])
                && (args.source.is_empty()
                    || args.source.iter().any(|source| source == table.source.name(row)))
        });
        let names: Vec<&str> = splits.iter().map(|split| split.name()).collect();
        let mut words = format!("split {}", names.join(", "));
        if !args.source.is_empty() {
            words.push_str(&format!("; networks {}", args.source.join(", ")));
        }
        if judged.is_empty() {
            return Err(Failure::new(Code::Data, anyhow!("the table has no rows of {words}")));
        }
        // What is judged must not be learnt from.
        let apart = |split: Split| {
            if splits.contains(&split) {
                Vec::new()
            } else {
                table.rows_where(|row| table.split[row] == split)
            }
        };
        Ok(Self { judged, learnt: apart(Split::Train), set_aside: apart(Split::Validate), words })
    }

    fn learnt(&self) -> Result<&[u32], Failure> {
        if self.learnt.is_empty() {
            let message = "there are no training rows apart from those that are judged";
            return Err(Failure::new(Code::Data, anyhow!(message)));
        }
        Ok(&self.learnt)
    }
}

/// An evaluation, and what further trials need.
struct Judged {
    evaluation: Evaluation,
    /// Of the model as a whole.
    first: Opinion,
    model: Option<LoadedModel>,
    /// Inputs that the model reads, as places in the table.
    places: Vec<usize>,
}

fn of_model(
    model: LoadedModel,
    table: &Table,
    chosen: &Chosen,
    args: &EvalArgs,
    threads: usize,
    watch: &Watch,
) -> Result<Judged, Failure> {
    let manifest = &model.manifest;
    let judge = |what: &str, rows: &[u32]| judge_with(&model, table, rows, threads, what, watch);
    let logits = judge(&chosen.words, &chosen.judged)?;
    let aside = match chosen.set_aside.as_slice() {
        [] => None,
        rows => Some(judge("what was set aside, for the points of single detectors", rows)?),
    };
    let classes: Vec<u8> = chosen.set_aside.iter().map(|row| table.class[*row as usize]).collect();
    let opinions = logits
        .opinions(manifest, aside.as_ref().map(|aside| (aside, classes.as_slice())))
        .map_err(failure)?;
    watch.tell("measuring");
    let mut evaluation = evaluate(table, &chosen.judged, &opinions, options(args, threads));
    evaluation.incidents = Some(incidents(table, &chosen.judged, &opinions[0], manifest));

    let window = &manifest.window;
    let votes = manifest.detectors.iter().map(|spec| format!("{} {}", spec.kind.name(), spec.vote.share));
    let about = &mut evaluation.about;
    about.insert("model".to_owned(), manifest.id.clone());
    about.insert("votes".to_owned(), votes.collect::<Vec<_>>().join(", "));
    about.insert(
        "windows".to_owned(),
        format!(
            "{} steps, closed at {} or after {} ms",
            window.steps,
            window.stride,
            window.deadline_us / 1000
        ),
    );
    about.insert(
        "calibrated on".to_owned(),
        format!("{}, {} benign flows", manifest.calibration.source, manifest.calibration.benign_flows),
    );
    let made_for = table.metadata.get("tapline.inputs");
    let read_by = format!("{} {}", manifest.inputs.schema, manifest.inputs.schema_hash);
    if made_for.is_some_and(|made_for| *made_for != read_by) {
        evaluation.warnings.push(format!(
            "the table was made with other inputs ({}) than the model reads ({read_by}); names agree, values may not",
            made_for.map_or("", String::as_str)
        ));
    }
    if args.split.iter().any(|split| Split::from(*split) == Split::Train) {
        evaluation.warnings.push("training rows are among those judged: figures flatter".to_owned());
    }
    let columns: BTreeSet<&str> = manifest.inputs.columns.iter().map(|column| column.name.as_str()).collect();
    let places = (0..table.width()).filter(|place| columns.contains(table.inputs[*place].as_str())).collect();
    Ok(Judged { evaluation, first: first(opinions)?, model: Some(model), places })
}

/// A model that reads the inputs of this build.
pub(crate) fn load(path: &Path) -> Result<LoadedModel, Failure> {
    model::load(path).map_err(|error| failure(error.into()))
}

/// What every detector of a model says about rows; `what` tells whose they are.
pub(crate) fn judge_with(
    model: &LoadedModel,
    table: &Table,
    rows: &[u32],
    threads: usize,
    what: &str,
    watch: &Watch,
) -> Result<Logits, Failure> {
    let teams = (0..threads).map(|_| Voter::of_model(model, |_| true)).collect::<Result<Vec<_>, _>>();
    let mut teams = teams.map_err(|error| failure(error.into()))?;
    watch.tell(&format!("judging {} flows: {what}", rows.len()));
    let progress = |done: usize, of: usize| watch.progress(done, of);
    let logits = judge_in_teams(table, rows, &model.manifest, &mut teams, &progress);
    watch.bar.finish_and_clear();
    logits.map_err(failure)
}

/// Without a model: detectors that are learnt from the training rows at once.
fn of_quick(
    table: &Table,
    chosen: &Chosen,
    args: &EvalArgs,
    config: &QuickConfig,
    watch: &Watch,
) -> Result<Judged, Failure> {
    let places: Vec<usize> = (0..table.width()).collect();
    let cells = |rows: &[u32]| Cells::of(table, rows, &places, CLASSES.len());
    let (learnt, judged, aside) = (cells(chosen.learnt()?), cells(&chosen.judged), cells(&chosen.set_aside));
    let rates = Rates::default();
    // One training each: there is time for more than in trials.
    let config = &QuickConfig { rows: 200_000, trees: 150, ..*config };
    let mut opinions = Vec::new();
    for kind in [QuickKind::Boosted, QuickKind::Forest, QuickKind::Logistic, QuickKind::OneInput] {
        watch.tell(&format!("learning {} from {} flows", kind.name(), learnt.rows()));
        let quick = Quick::train(&learnt, kind, config).map_err(failure)?;
        let mut opinion = quick.opinion(&judged);
        let benign = (0..aside.rows()).filter(|row| aside.labels[*row] == 0);
        if let Ok(calibration) = quick.opinion(&aside).calibrate(benign, "validation", 0.0) {
            opinion.points =
                Some(Points::at_rates(&calibration, [rates.investigate, rates.detect, rates.block]));
        }
        opinions.push(opinion);
    }
    watch.tell("measuring");
    let mut evaluation = evaluate(table, &chosen.judged, &opinions, options(args, config.threads));
    evaluation.about.insert("model".to_owned(), "quick detectors".to_owned());
    Ok(Judged { evaluation, first: first(opinions)?, model: None, places })
}

fn first(opinions: Vec<Opinion>) -> Result<Opinion, Failure> {
    opinions.into_iter().next().ok_or_else(|| Failure::new(Code::Data, anyhow!("the model has no detectors")))
}

/// The trials that were asked for.
fn try_more(
    judged: &mut Judged,
    table: &Table,
    chosen: &Chosen,
    args: &EvalArgs,
    config: &QuickConfig,
    watch: &Watch,
) -> Result<(), Failure> {
    let mut tell = |what: &str| watch.tell(what);
    let evaluation = &mut judged.evaluation;
    if args.sanity {
        let learnt = chosen.learnt()?;
        let sanity = sanity::check(table, learnt, &chosen.judged, &judged.places, config, &mut tell);
        let sanity = sanity.map_err(failure)?;
        evaluation.trials.extend(sanity.trials);
        evaluation.warnings.extend(sanity.warnings);
    }
    if args.ablate {
        let learnt = chosen.learnt()?;
        let tried =
            trials::leave_inputs_out(table, learnt, &chosen.judged, &judged.places, config, &mut tell);
        evaluation.trials.extend(tried.map_err(failure)?);
        if let Some(model) = &judged.model {
            let sequences = Voter::of_model(model, |spec| matches!(spec.kind, DetectorKind::BilstmAttn(_)));
            let mut sequences = sequences.map_err(|error| failure(error.into()))?;
            if !sequences.is_empty() {
                let tried = trials::shorten_windows(
                    table,
                    &chosen.judged,
                    &model.manifest,
                    &mut sequences,
                    &mut tell,
                );
                evaluation.trials.extend(tried.map_err(failure)?);
            }
        }
    }
    if args.leave_one_source_out {
        let rows = table.rows_where(|row| table.split[row] != Split::None);
        let tried = trials::leave_one_network_out(table, &rows, &judged.places, config, &mut tell);
        evaluation.trials.extend(tried.map_err(failure)?);
        if let (Some(toml), Some(keep), Some(data)) = (&args.retrain, &args.keep, &args.data) {
            let tried = eval_retraining::leave_one_out(table, data, toml, keep, config.threads, watch)?;
            evaluation.trials.extend(tried);
        }
    }
    if let Some(fraction) = args.learn_fraction {
        let Some(model) = &judged.model else {
            return Err(Failure::usage(
                "--learn-fraction needs --model: without it there is nothing to learn on",
            ));
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let mut relearn = |first: &[u32], all: &[u32]| relearnt(model, table, first, all, threads);
        let tried = trials::learn_on_the_spot(
            table,
            &chosen.judged,
            &judged.first,
            &model.manifest,
            fraction,
            Some(&mut relearn),
        );
        let tried = tried.map_err(failure)?;
        if tried.is_empty() {
            evaluation.warnings.push(
                "learning on the spot was not tried: all networks that were judged have attacks".to_owned(),
            );
        }
        evaluation.trials.extend(tried);
    }
    Ok(())
}

/// What the model thinks of the rows `all` after it has learnt from the rows `first`, as by `tapline learn`.
fn relearnt(
    model: &LoadedModel,
    table: &Table,
    first: &[u32],
    all: &[u32],
    threads: usize,
) -> Result<Option<Opinion>, TrainError> {
    if first.len() < FLOWS_MIN {
        return Ok(None);
    }
    let order = Order {
        model,
        table,
        rows: first,
        shift: 0.0,
        rates: RATES,
        alerts_per_day: 1.0,
        threads,
        command: "",
    };
    let (changed, _, _) = learning::adapt(&order)?;
    let teams = (0..threads).map(|_| Voter::of_model(&changed, |_| true)).collect::<Result<Vec<_>, _>>();
    let logits = judge_in_teams(table, all, &changed.manifest, &mut teams?, &|_, _| {})?;
    Ok(logits.opinions(&changed.manifest, None)?.into_iter().next())
}

fn public(table: PublicTable, args: &EvalArgs, config: &QuickConfig) -> Result<(), Failure> {
    if args.html.is_some() {
        return Err(Failure::usage("there is no HTML report of public tables; --json writes the figures"));
    }
    let report = match (table, args.paths.as_slice()) {
        (PublicTable::NslKdd, [directory]) => {
            if directory.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip")) {
                return Err(Failure::usage(format!(
                    "unpack {0} first: unzip {0} -d nsl-kdd, then --table nsl-kdd nsl-kdd/",
                    directory.display()
                )));
            }
            public_tables::nsl_kdd(directory, config)
        }
        (PublicTable::NslKdd, _) => return Err(Failure::usage("nsl-kdd is one directory")),
        (PublicTable::Cic2017Corrected, paths) => public_tables::cic2017_corrected(paths, config),
    };
    let report = report.map_err(failure)?;
    if let Some(path) = &args.json {
        write_json(path, &report)?;
    }
    print(report.text().as_bytes())
}

const fn options(args: &EvalArgs, threads: usize) -> Options {
    Options { rounds: args.rounds as usize, seed: args.seed, threads }
}

fn write_json(path: &Path, figures: &impl serde::Serialize) -> Result<(), Failure> {
    let mut json = serde_json::to_vec_pretty(figures)
        .context("rendering JSON")
        .map_err(|error| Failure::new(Code::Software, error))?;
    json.push(b'\n');
    write(path, &json)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes)
        .with_context(|| format!("writing {}", path.display()))
        .map_err(|error| Failure::new(Code::CantCreate, error))
}

pub(crate) fn failure(error: TrainError) -> Failure {
    let code = match error {
        TrainError::Read { .. } => Code::NoInput,
        TrainError::Write { .. } => Code::CantCreate,
        TrainError::Config { .. } => Code::Usage,
        TrainError::Device(_) | TrainError::Score(ScoreError::Device(_)) => Code::Software,
        TrainError::Score(ScoreError::Read { .. }) => Code::NoInput,
        _ => Code::Data,
    };
    // Its text holds its causes already.
    Failure::new(code, anyhow!("{error}"))
}

/// Tells what is going on: lines, and on a terminal a bar.
pub(crate) struct Watch {
    quiet: bool,
    bar: ProgressBar,
}

impl Watch {
    fn new(quiet: bool) -> Self {
        let bar = ProgressBar::hidden();
        if !quiet && std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} steps, eta {eta}") {
                bar.set_style(style);
            }
        }
        Self { quiet, bar }
    }

    #[expect(clippy::print_stderr, reason = "progress goes to standard error")]
    pub(crate) fn tell(&self, what: &str) {
        if !self.quiet {
            self.bar.suspend(|| eprintln!("tapline: {what}"));
        }
    }

    fn progress(&self, done: usize, of: usize) {
        self.bar.set_length(of as u64);
        self.bar.set_position(done as u64);
    }
}
