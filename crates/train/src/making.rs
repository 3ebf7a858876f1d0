//! From a configuration to a model directory.
//!
//! ```text
//!  table ─► selection ─► scaling ─┬─► windows ─► network ───────────┐
//!                                 └─► rows ───► trees, logistic, one ┴─► votes ─► calibration ─► thresholds ─► directory
//! ```
//!
//! In: a [`Config`], a table. Out: a model directory, and a run in the log of experiments. Everything is learnt from rows of
//! the training splits; epochs, temperature, p-values and thresholds are chosen on rows of the validation splits, which
//! are other networks.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use candle_core::Device;
use sha2::{Digest, Sha256};
use tapline_score::calibration::fit_temperature;
use tapline_score::manifest::{
    Calibration, DetectorKind, DetectorSpec, Inputs, Manifest, Thresholds, TreesSpec, Weights,
};
use tapline_score::model_dir::ModelDir;
use tapline_score::tensors::{Numbers, StoredTensor};
use tapline_score::thresholds::{OperatingPoints, Rates, budget_points, evidence_grid, within_budget};
use tapline_score::{CalibrationError, Detector, Vote};

use crate::alerts::{BenignEvidence, span_s};
use crate::boosting::train_boosted;
use crate::experiment::{Run, RunStatus};
use crate::forest::train_forest;
use crate::judge::{Logits, Voter, judge};
use crate::judgement::Judgement;
use crate::learner::Learner;
use crate::logistic::train_logistic;
use crate::metrics::{FALSE_ALARM_RATES, Ranked};
use crate::model_text;
use crate::one_input::train_one_input;
use crate::rows::Rows;
use crate::sampler::{Sampler, row_weights};
use crate::training::{BatchReport, EpochReport, Material, Outcome, Progress, train};
use crate::validation::Validation;
use crate::{CLASSES, Config, Selection, Table, TrainError, Windows, scaling};

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// How.
    pub config: &'a Config,
    /// Where to; must not be there yet.
    pub out: &'a Path,
    /// Go on where an earlier training stopped, if there was one.
    pub resume: bool,
    /// Who makes it: `tapline 0.1.0`.
    pub producer: &'a str,
    /// The command, for the card.
    pub command: &'a str,
    /// Where the network is trained.
    pub device: &'a Device,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The model's id.
    pub id: String,
    /// Epochs of the network.
    pub epochs: usize,
    /// The best of them, from 0.
    pub best_epoch: u32,
    /// What each detector is worth on the validation networks; the last is all of them together.
    pub figures: Vec<Figures>,
}

/// What a detector is worth on the validation networks.
#[derive(Clone, Debug)]
pub struct Figures {
    /// `bilstm-attn`, `trees`, `logistic`, `one-input`, `votes`.
    pub detector: String,
    /// As epochs are compared.
    pub validation: Validation,
    /// Recall of all hostile rows at each of [`FALSE_ALARM_RATES`].
    pub recall: [f64; FALSE_ALARM_RATES.len()],
}

/// Everything that is known before anything is trained.
#[derive(Debug)]
pub struct Prepared {
    /// Every input's figures and fate.
    pub selection: Selection,
    /// The selected inputs, with scaling and histograms.
    pub inputs: Inputs,
    /// Scaled inputs of every row of the table.
    pub cells: Vec<f32>,
    /// Rows to learn from.
    pub train_rows: Vec<u32>,
    /// Rows to choose by.
    pub validate_rows: Vec<u32>,
    /// Windows of the former.
    pub train: Windows,
    /// Windows of the latter.
    pub validate: Windows,
}

impl Prepared {
    /// Selects and scales inputs, and cuts rows into windows.
    ///
    /// # Errors
    ///
    /// Rows of some kind are missing.
    pub fn new(config: &Config, table: &Table) -> Result<Self, TrainError> {
        let rows = |splits: &[crate::Split]| {
            table.rows_where(|row| splits.contains(&table.split[row]) && config.takes(table, row))
        };
        let (train_rows, validate_rows) = (rows(&config.data.train), rows(&config.data.validate));
        if validate_rows.is_empty() {
            let reason = "there are no validation rows: look at data.validate and data.leave_out".to_owned();
            return Err(TrainError::Data { reason });
        }
        let left_out =
            |name: &str| config.selection.leave_out.iter().any(|prefix| name.starts_with(prefix.as_str()));
        let selection = Selection::of(table, &train_rows, &config.selection(), left_out)?;
        let places = selection.places();
        if places.is_empty() {
            let reason = "no input is left: look at selection.leave_out".to_owned();
            return Err(TrainError::Data { reason });
        }
        let (schema, schema_hash) = schema(table);
        // What is usual, for reasons and for drift, is what captures are like as they are.
        let whole: Vec<u32> = train_rows.iter().copied().filter(|row| table.is_whole(*row)).collect();
        let usual = if whole.is_empty() { &train_rows } else { &whole };
        let columns = scaling::fit(table, usual, &places, config.selection.scaling, config.selection.clip);
        let inputs = Inputs { schema, schema_hash, columns };
        let cells =
            scaling::scale(table, &inputs).map_err(|error| TrainError::Data { reason: error.to_string() })?;
        let rule = config.window();
        Ok(Self {
            train: Windows::of(table, &train_rows, &rule),
            validate: Windows::of(table, &validate_rows, &rule),
            selection,
            inputs,
            cells,
            train_rows,
            validate_rows,
        })
    }

    fn names(&self) -> Vec<String> {
        self.inputs.columns.iter().map(|column| column.name.clone()).collect()
    }

    fn width(&self) -> usize {
        self.inputs.columns.len()
    }

    /// What is trained on what: settings that shape the network and its training, and the scaled table.
    fn fingerprint(&self, config: &Config, table: &Table) -> String {
        let defaults = Config::default();
        // What may change between a training and its continuation.
        let mut same = Config {
            thresholds: defaults.thresholds,
            votes: BTreeMap::new(),
            attack_ids: BTreeMap::new(),
            experiment: defaults.experiment,
            trees: defaults.trees,
            ..config.clone()
        };
        same.model.out = PathBuf::new();
        same.model.name = String::new();
        same.data.table = PathBuf::new();
        same.schedule.epochs = 0;
        same.schedule.stop_after = 0;
        let mut hash = Sha256::new();
        hash.update(same.text());
        hash.update(&self.inputs.schema_hash);
        for column in &self.inputs.columns {
            hash.update(&column.name);
            hash.update([0]);
        }
        for cell in &self.cells {
            hash.update(cell.to_le_bytes());
        }
        hash.update(&table.class);
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Makes a model.
///
/// While it is made, `<out>.training/` holds the checkpoint of the network; it stays, so that a finished model can be made
/// again with other thresholds or votes at no cost.
///
/// # Errors
///
/// The configuration or the table does not suffice, something cannot be read or written, or `out` is there already.
pub fn make(order: &Order<'_>, progress: &mut dyn Progress) -> Result<Made, TrainError> {
    let Order { config, out, .. } = *order;
    if fs::symlink_metadata(out).is_ok() {
        return Err(TrainError::Config {
            reason: format!("{} is there already; models are never overwritten", out.display()),
        });
    }
    progress.stage(&format!("reading {}", config.data.table.display()));
    let table = Table::read(&config.data.table)?;
    progress.stage("choosing and scaling inputs, cutting windows");
    let prepared = Prepared::new(config, &table)?;
    let making = Making { order, table: &table, prepared: &prepared };
    let log = making.log()?;
    match making.make(log.as_ref(), progress) {
        Ok(made) => {
            if let Some(log) = log {
                log.finish(RunStatus::Finished)?;
            }
            Ok(made)
        }
        Err(error) => {
            if let Some(log) = log {
                let status =
                    if matches!(error, TrainError::Stopped) { RunStatus::Killed } else { RunStatus::Failed };
                // What went wrong before is what the caller is told.
                let _ = log.finish(status);
            }
            Err(error)
        }
    }
}

struct Making<'a> {
    order: &'a Order<'a>,
    table: &'a Table,
    prepared: &'a Prepared,
}

/// A detector ready to run, with what its part of the directory says.
struct Trained {
    spec: DetectorSpec,
    detector: Box<dyn Detector>,
    tensors: Vec<StoredTensor>,
}

impl Making<'_> {
    fn make(&self, log: Option<&Run>, progress: &mut dyn Progress) -> Result<Made, TrainError> {
        let Order { config, out, .. } = *self.order;
        if let Some(log) = log {
            self.describe(log)?;
        }
        let (network, outcome) = self.network(log, progress)?;
        let mut trained = vec![network];
        trained.extend(self.others(progress)?);

        progress.stage("judging the validation networks");
        let mut manifest = self.manifest();
        let (mut voters, mut tensors) = (Vec::new(), Vec::new());
        for part in trained {
            let name = part.spec.kind.name().to_owned();
            voters.push(Voter { name, vote: part.spec.vote, detector: part.detector });
            manifest.detectors.push(part.spec);
            tensors.extend(part.tensors);
        }
        let rows = &self.prepared.validate_rows;
        let mut told = |done, of| progress.round("judging", done, of);
        let mut logits = judge(self.table, rows, &manifest, &mut voters, &mut told)?;
        self.ask_in_doubt(&mut manifest, &mut logits);
        let votes = Judgement { rows: rows.clone(), logits: logits.vote() };
        let of_voter = |(name, _, logits): &(String, Vote, Vec<f32>)| {
            figures(name, &Judgement { rows: rows.clone(), logits: logits.clone() }, self.table)
        };
        let mut all_figures: Vec<Figures> = logits.voters.iter().map(of_voter).collect();
        all_figures.push(figures("votes", &votes, self.table));

        progress.stage("calibrating");
        self.calibrate(&mut manifest, &votes)?;
        manifest.card = self.card(&outcome, &all_figures);
        let readme = model_text::readme(&manifest, config, self.table, self.prepared, &all_figures);
        let model = ModelDir::new(out).write(manifest, &tensors, &readme)?;
        if let Some(log) = log {
            for figures in &all_figures {
                log_figures(log, figures)?;
            }
            let text = toml::to_string(&model.manifest).unwrap_or_default();
            log.artifact("model.toml", text.as_bytes())?;
            log.artifact("README.md", readme.as_bytes())?;
            log.tag("model", &model.manifest.id)?;
        }
        Ok(Made {
            id: model.manifest.id,
            epochs: outcome.epochs.len(),
            best_epoch: outcome.best_epoch,
            figures: all_figures,
        })
    }

    fn network(
        &self,
        log: Option<&Run>,
        progress: &mut dyn Progress,
    ) -> Result<(Trained, Outcome), TrainError> {
        let Order { config, out, resume, device, .. } = *self.order;
        let spec = config.network();
        let learner = Learner::new(&spec, self.prepared.width(), config.model.seed, device)?;
        progress.stage(&format!(
            "training bilstm-attn, {} parameters, {} windows to learn from, {} to choose by",
            learner.parameters(),
            self.prepared.train.len(),
            self.prepared.validate.len()
        ));
        let folder = training_folder(out);
        fs::create_dir_all(&folder).map_err(|source| TrainError::Write { path: folder.clone(), source })?;
        let training = config.training(self.prepared.fingerprint(config, self.table));
        let names = self.prepared.names();
        let material = Material {
            table: self.table,
            inputs: &names,
            cells: &self.prepared.cells,
            train: &self.prepared.train,
            validate: &self.prepared.validate,
            device,
        };
        let mut logged = Logged { log, progress, failed: None };
        let outcome = train(
            &learner,
            learner.variables(),
            material,
            &training,
            Some(&folder.join(CHECKPOINT)),
            resume,
            &mut logged,
        )?;
        if let Some(error) = logged.failed {
            return Err(error);
        }
        if !outcome.finished {
            return Err(TrainError::Stopped);
        }
        let mut tensors = Vec::new();
        for (name, variable) in learner.variables() {
            let numbers = variable.flatten_all()?.to_vec1::<f32>()?;
            let shape = variable.dims().to_vec();
            tensors.push(StoredTensor { name: name.clone(), shape, numbers: Numbers::F32(numbers) });
        }
        let detector = learner.detector_on_cpu()?;
        let spec =
            DetectorSpec { vote: Vote::always(self.vote(NETWORK)), kind: DetectorKind::BilstmAttn(spec) };
        Ok((Trained { spec, detector, tensors }, outcome))
    }

    /// The detectors without memory: each judges a flow by its own inputs.
    fn others(&self, progress: &mut dyn Progress) -> Result<Vec<Trained>, TrainError> {
        let config = self.order.config;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let train = self.flat(&self.prepared.train_rows);
        let validate = self.flat(&self.prepared.validate_rows);
        let (train, validate) = (train.rows()?, validate.rows()?);
        let failed = |error: crate::rows::RowsError| TrainError::Data { reason: error.to_string() };

        progress.stage("training trees");
        let trees = if config.trees.method == "forest" {
            train_forest(&train, &config.forest(threads)).map_err(failed)?
        } else {
            let boosting = config.boosting(threads);
            let mut told = |round, _| progress.round("trees", round, boosting.rounds);
            train_boosted(&train, (config.trees.stop_after > 0).then_some(&validate), &boosting, &mut told)
                .map_err(failed)?
                .trees
        };
        progress.stage("training logistic regression and one threshold");
        let logistic = train_logistic(&train, &config.logistic(threads)).map_err(failed)?;
        let one_input = train_one_input(&train, threads).map_err(failed)?.detector;
        let spec =
            |name: &str, kind: DetectorKind| DetectorSpec { vote: Vote::always(self.vote(name)), kind };
        Ok(vec![
            Trained {
                spec: spec("trees", DetectorKind::Trees(TreesSpec { ..trees.spec() })),
                tensors: trees.tensors(),
                detector: Box::new(trees),
            },
            Trained {
                spec: spec("logistic", DetectorKind::Logistic),
                tensors: logistic.tensors(),
                detector: Box::new(logistic),
            },
            Trained {
                spec: spec("one-input", DetectorKind::OneInput),
                tensors: one_input.tensors(),
                detector: Box::new(one_input),
            },
        ])
    }

    /// A manifest without detectors, calibration, thresholds and card.
    fn manifest(&self) -> Manifest {
        let config = self.order.config;
        Manifest {
            format: 1,
            id: config.model.name.clone(),
            classes: CLASSES.map(str::to_owned).to_vec(),
            attack_ids: config.attack_ids.clone(),
            inputs: self.prepared.inputs.clone(),
            window: config.window(),
            detectors: Vec::new(),
            calibration: Calibration {
                temperature: 1.0,
                source: String::new(),
                benign_flows: 0,
                benign_span_s: 0.0,
                scores: Vec::new(),
                ranks: Vec::new(),
            },
            thresholds: Thresholds {
                investigate: 0.0,
                detect: 0.0,
                block: 0.0,
                alert_evidence: config.thresholds.least_evidence,
                alert_flows: config.thresholds.alert_flows.clone(),
                incident_gap_us: config.thresholds.incident_gap_us,
                budget: Vec::new(),
            },
            weights: Weights { file: String::new(), sha256: String::new() },
            card: BTreeMap::new(),
        }
    }

    /// Has the network asked only where its word can make a flow suspicious.
    fn ask_in_doubt(&self, manifest: &mut Manifest, logits: &mut Logits) {
        let thresholds = &self.order.config.thresholds;
        let rows = &self.prepared.validate_rows;
        let classes: Vec<u8> = rows.iter().map(|row| self.table.class[*row as usize]).collect();
        let from = logits.worth_asking(NETWORK, &classes, thresholds.investigate, thresholds.asking_margin);
        for spec in manifest.detectors.iter_mut().filter(|spec| spec.kind.name() == NETWORK) {
            spec.vote.asked_from = from;
        }
        for (_, vote, _) in logits.voters.iter_mut().filter(|(name, _, _)| name == NETWORK) {
            vote.asked_from = from;
        }
    }

    /// Temperature, p-values and thresholds, by what the voters together say about the validation rows.
    fn calibrate(&self, manifest: &mut Manifest, votes: &Judgement) -> Result<(), TrainError> {
        let config = &self.order.config.thresholds;
        let failed = |error: CalibrationError| TrainError::Data { reason: format!("calibrating: {error}") };
        let labels: Vec<usize> =
            votes.rows.iter().map(|row| usize::from(self.table.class[*row as usize])).collect();
        let temperature = fit_temperature(&votes.logits, CLASSES.len(), &labels).map_err(failed)?;
        let benign = votes.benign(self.table);
        let scores = benign.judged(self.table, temperature).iter().map(|row| row.score).collect();
        let span_s = span_s(self.table, &benign.rows);
        manifest.calibration =
            Calibration::from_benign_scores(scores, temperature, "validation", span_s).map_err(failed)?;
        let rates = Rates { investigate: config.investigate, detect: config.detect, block: config.block };
        let points = OperatingPoints::new(&manifest.calibration, rates);
        manifest.thresholds.investigate = points.investigate.score;
        manifest.thresholds.detect = points.detect.score;
        manifest.thresholds.block = points.block.score;
        let evidence = BenignEvidence::of(self.table, &benign.rows, &benign.logits, manifest);
        let budget = budget_points(evidence_grid(), |at| evidence.alerts_per_day(manifest, at));
        let point = within_budget(&budget, config.alerts_per_day).or_else(|| budget.last().copied());
        if let Some(point) = point {
            manifest.thresholds.alert_evidence = point.alert_evidence.max(config.least_evidence);
        }
        manifest.thresholds.budget = budget;
        Ok(())
    }

    fn vote(&self, detector: &str) -> f32 {
        self.order.config.votes.get(detector).copied().unwrap_or(0.0)
    }

    fn flat(&self, rows: &[u32]) -> Flat {
        let width = self.prepared.width();
        let mut inputs = Vec::with_capacity(rows.len() * width);
        for row in rows {
            let row = *row as usize;
            inputs.extend_from_slice(&self.prepared.cells[row * width..(row + 1) * width]);
        }
        Flat {
            width,
            inputs,
            labels: rows.iter().map(|row| self.table.class[*row as usize]).collect(),
            weights: row_weights(self.table, rows, &self.order.config.sampler()),
        }
    }

    fn card(&self, outcome: &Outcome, figures: &[Figures]) -> BTreeMap<String, String> {
        let Order { config, producer, command, .. } = *self.order;
        let mut card = BTreeMap::from([
            ("producer".to_owned(), producer.to_owned()),
            ("command".to_owned(), command.to_owned()),
            ("seed".to_owned(), config.model.seed.to_string()),
            ("epochs".to_owned(), outcome.epochs.len().to_string()),
            ("best_epoch".to_owned(), outcome.best_epoch.to_string()),
            ("train_rows".to_owned(), self.prepared.train_rows.len().to_string()),
            ("validate_rows".to_owned(), self.prepared.validate_rows.len().to_string()),
            ("train_networks".to_owned(), self.networks(&self.prepared.train_rows)),
            ("validate_networks".to_owned(), self.networks(&self.prepared.validate_rows)),
        ]);
        for figures in figures {
            let of = |name: &str| format!("validation_{}_{name}", figures.detector.replace('-', "_"));
            card.insert(of("auc"), format!("{:.4}", figures.validation.auc));
            card.insert(of("macro_recall_at_1e-2"), format!("{:.4}", figures.validation.macro_recall));
            card.insert(of("recall_at_1e-3"), format!("{:.4}", figures.recall[1]));
        }
        card
    }

    /// Sources of rows, by name.
    fn networks(&self, rows: &[u32]) -> String {
        let mut names: Vec<&str> = rows.iter().map(|row| self.table.source.name(*row as usize)).collect();
        names.sort_unstable();
        names.dedup();
        names.join(", ")
    }

    /// The run to log to, if one is wanted: that of the training that is continued, if it is there.
    fn log(&self) -> Result<Option<Run>, TrainError> {
        let Order { config, out, resume, .. } = *self.order;
        let experiment = &config.experiment;
        if experiment.folder.as_os_str().is_empty() {
            return Ok(None);
        }
        let path = training_folder(out).join(RUN_ID);
        if resume
            && let Ok(id) = fs::read_to_string(&path)
            && let Some(run) =
                Run::resume(&experiment.folder, &experiment.name, &config.model.name, id.trim())?
        {
            return Ok(Some(run));
        }
        let run = Run::start(&experiment.folder, &experiment.name, &config.model.name)?;
        let folder = training_folder(out);
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&path, run.id()))
            .map_err(|source| TrainError::Write { path, source })?;
        Ok(Some(run))
    }

    /// Settings, selection and groups.
    fn describe(&self, log: &Run) -> Result<(), TrainError> {
        let config = self.order.config;
        let text = config.text();
        if let Ok(settings) = toml::from_str::<toml::Table>(&text) {
            for (section, values) in &settings {
                for (key, value) in values.as_table().into_iter().flatten() {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    log.param(&format!("{section}.{key}"), &value)?;
                }
            }
        }
        log.artifact("train.toml", text.as_bytes())?;
        log.artifact("selection.tsv", self.prepared.selection.text().as_bytes())?;
        let training = config.training(String::new());
        let sampler = Sampler::new(self.table, &self.prepared.train, training.sampler)?;
        let mut groups = "source\tclass\tbehaviour\twindows\tshare\n".to_owned();
        for group in sampler.groups() {
            groups.push_str(&format!(
                "{}\t{}\t{}\t{}\t{:.6}\n",
                self.table.source.all()[group.source as usize],
                CLASSES[usize::from(group.class)],
                self.table.behaviour.all()[group.behaviour as usize],
                group.windows,
                group.share
            ));
        }
        log.artifact("windows.tsv", groups.as_bytes())
    }
}

/// Rows on end.
struct Flat {
    width: usize,
    inputs: Vec<f32>,
    labels: Vec<u8>,
    weights: Vec<f32>,
}

impl Flat {
    fn rows(&self) -> Result<Rows<'_>, TrainError> {
        Rows::new(self.width, CLASSES.len(), &self.inputs, &self.labels, &self.weights)
            .map_err(|error| TrainError::Data { reason: error.to_string() })
    }
}

/// Passes on what is told, and logs epochs.
struct Logged<'a> {
    log: Option<&'a Run>,
    progress: &'a mut dyn Progress,
    failed: Option<TrainError>,
}

impl Progress for Logged<'_> {
    fn resumed(&mut self, epochs: &[EpochReport]) {
        for report in epochs {
            self.note(report);
        }
        self.progress.resumed(epochs);
    }

    fn batch(&mut self, report: &BatchReport) {
        self.progress.batch(report);
    }

    fn epoch(&mut self, report: &EpochReport) -> ControlFlow<()> {
        self.note(report);
        if self.failed.is_some() { ControlFlow::Break(()) } else { self.progress.epoch(report) }
    }
}

impl Logged<'_> {
    fn note(&mut self, report: &EpochReport) {
        let Some(log) = self.log else { return };
        let step = u64::from(report.epoch);
        let validation = &report.validation;
        let mut metrics = vec![
            ("train/class_loss".to_owned(), report.class_loss),
            ("train/reconstruction_loss".to_owned(), report.reconstruction_loss),
            ("train/rate".to_owned(), report.rate),
            ("train/gradient_norm".to_owned(), report.gradient_norm),
            ("validation/criterion".to_owned(), validation.criterion),
            ("validation/auc".to_owned(), validation.auc),
            ("validation/macro_recall".to_owned(), validation.macro_recall),
        ];
        metrics.extend(
            validation.recall.iter().map(|(class, recall)| (format!("validation/recall/{class}"), *recall)),
        );
        for (key, value) in metrics {
            if let Err(error) = log.metric(&key, value, step) {
                self.failed.get_or_insert(error);
            }
        }
    }
}

fn figures(detector: &str, judgement: &Judgement, table: &Table) -> Figures {
    let judged = judgement.judged(table, 1.0);
    let scores: Vec<f32> =
        judged.iter().map(|row| if row.score.is_nan() { 0.0 } else { row.score }).collect();
    let groups: Vec<u16> = judged.iter().map(|row| u16::from(row.class != 0)).collect();
    let skills = Ranked::new(&scores).skill(&groups, 1, None);
    Figures {
        detector: detector.to_owned(),
        validation: Validation::of(&judged),
        recall: skills.all.recall.map(|recall| recall.unwrap_or(0.0)),
    }
}

fn log_figures(log: &Run, figures: &Figures) -> Result<(), TrainError> {
    let of = |name: &str| format!("final/{}/{name}", figures.detector);
    log.metric(&of("auc"), figures.validation.auc, 0)?;
    log.metric(&of("macro_recall"), figures.validation.macro_recall, 0)?;
    for (rate, recall) in ["1e-2", "1e-3", "1e-4"].iter().zip(figures.recall) {
        log.metric(&of(&format!("recall_at_{rate}")), recall, 0)?;
    }
    for (class, recall) in &figures.validation.recall {
        log.metric(&of(&format!("recall/{class}")), *recall, 0)?;
    }
    Ok(())
}

/// Where networks are trained: on the first GPU if this build can, else on the CPU.
///
/// # Errors
///
/// There is a GPU, and it fails.
pub fn device() -> Result<Device, TrainError> {
    Ok(Device::cuda_if_available(0)?)
}

/// Name and hash of the table of inputs, as the training table says.
fn schema(table: &Table) -> (String, String) {
    let said = table.metadata.get("tapline.inputs").map_or("", String::as_str);
    let (name, hash) = said.split_once(' ').unwrap_or((said, ""));
    (name.to_owned(), hash.to_owned())
}

/// Where a training keeps what it needs to go on.
#[must_use]
pub fn training_folder(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".training");
    out.with_file_name(name)
}

/// Names in the training's folder.
/// Who is asked in doubt only.
const NETWORK: &str = "bilstm-attn";

const CHECKPOINT: &str = "checkpoint.safetensors";
const RUN_ID: &str = "run_id";

#[cfg(test)]
mod tests {
    use tapline_score::manifest_check::InputSchema;
    use tapline_score::model_dir::LoadedModel;

    use super::*;
    use crate::Random;
    use crate::test_table::{Change, TestRow, write};
    use crate::training::Unwatched;

    /// Two networks to learn from, one to choose by; scans and beacons.
    fn table() -> tempfile::NamedTempFile {
        let mut random = Random::new(5);
        let mut rows = Vec::new();
        for (split, site) in [("train", "a"), ("train", "b"), ("validate", "c")] {
            for at in 0..480_i64 {
                let (class, mean, behaviour, host) = match at % 6 {
                    0 => ("scan", [2.0, 0.0], "syn", "10.0.0.1"),
                    1 => ("c2", [0.0, -2.0], "beacon", "10.0.0.2"),
                    2 | 3 => ("benign", [-0.5, 0.5], "web", "10.0.0.3"),
                    _ => ("benign", [-0.5, 0.5], "dns", "10.0.0.4"),
                };
                let mut x: Vec<f32> = mean.iter().map(|mean| mean + random.normal() as f32).collect();
                x.push(random.normal() as f32);
                x.push(1.0);
                rows.push(TestRow {
                    x,
                    class,
                    behaviour,
                    split,
                    run: site,
                    site,
                    host,
                    target: host,
                    start_us: at * 200_000,
                    decided_us: at * 200_000 + 50_000,
                    view: "whole",
                });
            }
        }
        write(&["x", "y", "noise", "same"], &rows, Change::None)
    }

    fn config(table: &Path, folder: &Path) -> Config {
        let settings = [
            format!("data.table={}", table.display()),
            format!("experiment.folder={}", folder.join("mlruns").display()),
        ];
        let text = "
            model.name = 'tiny'
            selection = { inputs = 3 }
            window = { steps = 6, stride = 3, deadline_us = 5_000_000 }
            network = { hidden = [4], heads = 2, attention = 4 }
            sampler = { batch_windows = 16, batches = 6 }
            optimiser = { rate = 0.01 }
            schedule = { epochs = 3, warmup_steps = 2 }
            trees = { rounds = 10, leaf_weight = 5.0 }
        ";
        Config::parse(text, &settings).unwrap()
    }

    fn order<'a>(config: &'a Config, out: &'a Path, resume: bool) -> Order<'a> {
        Order {
            config,
            out,
            resume,
            producer: "tapline 0.0.0",
            command: "tapline train",
            device: &Device::Cpu,
        }
    }

    fn load(out: &Path) -> LoadedModel {
        let schema = InputSchema { name: "inputs-1", hash: "c0ffee", inputs: &["x", "y", "noise", "same"] };
        ModelDir::new(out).load(&schema).unwrap()
    }

    struct StopAfter(u32);

    impl Progress for StopAfter {
        fn epoch(&mut self, report: &EpochReport) -> ControlFlow<()> {
            if report.epoch == self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }

    /// The centres of the inputs, from rows of whole conversations around 1 and, twice as many, of the one-way view around 100.
    fn centres(whole: i64, change: Change) -> Vec<f32> {
        let row = |at: i64, split, view| {
            let hostile = at % 2 == 1;
            let x =
                at as f32 / 100.0 + f32::from(u8::from(hostile)) + if view == "one-way" { 99.0 } else { 0.0 };
            let class = if hostile { "scan" } else { "benign" };
            TestRow { x: vec![x], class, split, decided_us: at, start_us: at, view, ..TestRow::default() }
        };
        let mut rows: Vec<TestRow> = (0..whole).map(|at| row(at, "train", "whole")).collect();
        rows.extend((0..200).map(|at| row(at, "train", "one-way")));
        rows.extend((0..100).map(|at| row(at, "validate", "whole")));
        let file = write(&["x"], &rows, change);
        let dir = tempfile::tempdir().unwrap();
        let config = config(file.path(), dir.path());
        let table = Table::read(file.path()).unwrap();
        let prepared = Prepared::new(&config, &table).unwrap();
        prepared.inputs.columns.iter().map(|column| column.center).collect()
    }

    #[test]
    fn what_is_usual_is_what_whole_conversations_are_like() {
        assert!(centres(100, Change::None)[0] < 3.0);
        assert!(centres(0, Change::None)[0] > 90.0, "there is nothing else to go by");
        assert!(centres(100, Change::Without("view"))[0] > 90.0, "an older table does not say");
    }

    #[test]
    fn a_table_becomes_a_model() {
        let dir = tempfile::tempdir().unwrap();
        let table = table();
        let config = config(table.path(), dir.path());
        let out = dir.path().join("models/tiny");
        let made = make(&order(&config, &out, false), &mut Unwatched).unwrap();
        let LoadedModel { manifest, .. } = load(&out);
        assert_eq!(manifest.id, made.id);
        assert!(manifest.id.starts_with("tiny-"));
        let names: Vec<&str> = manifest.inputs.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!((names.len(), names[2]), (3, "noise"), "the constant input is left out, noise comes last");
        let votes: Vec<(&str, f32)> =
            manifest.detectors.iter().map(|spec| (spec.kind.name(), spec.vote.share)).collect();
        assert_eq!(votes, [("bilstm-attn", 0.5), ("trees", 0.5), ("logistic", 0.0), ("one-input", 0.0)]);
        assert_eq!(manifest.calibration.benign_flows, 320);
        assert!((manifest.calibration.benign_span_s - 95.45).abs() < 1.0);
        assert!(manifest.thresholds.investigate <= manifest.thresholds.detect);
        assert_eq!(manifest.attack_ids["c2"], "T1071");
        assert_eq!(manifest.card["train_networks"], "testbed/a, testbed/b");
        let auc = |figures: &Figures| figures.validation.auc;
        let trees = &made.figures[1];
        assert_eq!((trees.detector.as_str(), made.figures.len()), ("trees", 5));
        assert!(auc(trees) > 0.85 && auc(&made.figures[4]) > 0.85, "{:?}", made.figures);
        let readme = fs::read_to_string(out.join("README.md")).unwrap();
        assert!(readme.contains("| scan | T1046 | 160 | 80 |"), "{readme}");

        // What is there stays there.
        let error = make(&order(&config, &out, false), &mut Unwatched).unwrap_err().to_string();
        assert!(error.ends_with("is there already; models are never overwritten"), "{error}");
        // The same once more is the same; killed and continued too.
        let again = dir.path().join("models/again");
        let error = make(&order(&config, &again, true), &mut StopAfter(0)).unwrap_err();
        assert!(matches!(error, TrainError::Stopped), "{error}");
        assert!(!again.exists());
        make(&order(&config, &again, true), &mut Unwatched).unwrap();
        assert_eq!(load(&again).manifest.weights, manifest.weights);

        let runs: Vec<PathBuf> = fs::read_dir(dir.path().join("mlruns"))
            .unwrap()
            .flat_map(|experiment| fs::read_dir(experiment.unwrap().path()).unwrap())
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .collect();
        assert_eq!(runs.len(), 2, "a continued training is one run");
        for run in runs {
            assert!(fs::read_to_string(run.join("meta.yaml")).unwrap().contains("\nstatus: 3\n"));
            assert_eq!(fs::read_to_string(run.join("metrics/validation/auc")).unwrap().lines().count(), 3);
            assert_eq!(fs::read_to_string(run.join("params/network.hidden")).unwrap(), "[4]");
            assert!(run.join("artifacts/selection.tsv").exists());
        }
    }

    #[test]
    fn what_does_not_suffice_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let table = table();
        let error = |change: fn(&mut Config)| {
            let mut config = config(table.path(), dir.path());
            change(&mut config);
            make(&order(&config, &dir.path().join("m"), false), &mut Unwatched).unwrap_err().to_string()
        };
        assert_eq!(
            error(|config| config.data.leave_out = vec!["c".to_owned()]),
            "there are no validation rows: look at data.validate and data.leave_out"
        );
        assert_eq!(
            error(|config| config.data.sources = vec!["corpus/".to_owned()]),
            "there are no validation rows: look at data.validate and data.leave_out"
        );
        assert_eq!(
            error(|config| config.selection.leave_out = vec![String::new()]),
            "no input is left: look at selection.leave_out"
        );
    }
}
