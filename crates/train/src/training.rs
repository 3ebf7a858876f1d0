//! The training of a network: epochs of batches, a criterion after each, the best weights in the end.
//!
//! In: a network and its variables, scaled inputs, windows to train and to validate on, settings with a seed. Out: the
//! variables hold the weights of the best epoch, and [`Outcome`] tells the story. After each epoch a checkpoint is
//! written; a training continued from it goes on exactly as if it had never stopped, since every random draw is seeded by
//! the number of its epoch.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use candle_core::{Device, Tensor, Var};
use serde::{Deserialize, Serialize};
use tapline_score::{Detector, ScoreError};

use crate::adamw::{AdamW, AdamWSpec};
use crate::augmentation::{Augmentation, AugmentationSpec};
use crate::batches::{Batch, Batcher};
use crate::checkpoint::{Checkpoint, State};
use crate::clip::clip_global_norm;
use crate::judgement::Steps;
use crate::losses::{ClassLossSpec, class_loss, class_weights, reconstruction_loss};
use crate::sampler::{Sampler, SamplerSpec};
use crate::schedule::{Schedule, ScheduleSpec};
use crate::validation::Validation;
use crate::{Random, Table, TrainError, Windows};

/// What can be trained.
pub trait Trainable {
    /// From here on the units that are left out follow from `seed`.
    fn seed_dropout(&self, seed: u64);

    /// Logits `[windows, steps, classes]` and reconstructed inputs `[windows, steps, width]` of `inputs`
    /// (`[windows, steps, width]`), where `mask` (`[windows, steps]`) is 1: both can be differentiated. Units are left out.
    ///
    /// # Errors
    ///
    /// The device failed, or shapes do not fit.
    fn forward(&self, inputs: &Tensor, mask: &Tensor) -> Result<(Tensor, Tensor), ScoreError>;

    /// The network as it stands, to judge with.
    ///
    /// # Errors
    ///
    /// The device failed.
    fn detector(&self) -> Result<Box<dyn Detector>, ScoreError>;
}

/// What to train on.
#[derive(Clone, Copy, Debug)]
pub struct Material<'a> {
    /// Labels.
    pub table: &'a Table,
    /// Names of the selected inputs, in order.
    pub inputs: &'a [String],
    /// Scaled inputs of every row of the table: `[rows, inputs]`, row-major.
    pub cells: &'a [f32],
    /// Windows to train on.
    pub train: &'a Windows,
    /// Windows to compare epochs by.
    pub validate: &'a Windows,
    /// Where tensors live.
    pub device: &'a Device,
}

/// How to train.
#[derive(Clone, Debug)]
pub struct TrainingSpec {
    /// Epochs at most.
    pub epochs: u32,
    /// Which windows, how many at a time.
    pub sampler: SamplerSpec,
    /// The loss over classes.
    pub loss: ClassLossSpec,
    /// Bound of the weight of a class.
    pub class_weight_at_most: f64,
    /// Weight of the reconstruction loss.
    pub reconstruction: f64,
    /// The optimiser.
    pub optimiser: AdamWSpec,
    /// Bound of the norm of all gradients.
    pub clip_norm: f64,
    /// The learning rate, and when to stop.
    pub schedule: ScheduleSpec,
    /// What is done to training windows.
    pub augmentation: AugmentationSpec,
    /// Purely benign windows that validation looks at, at most; 0: all of them.
    pub validation_benign_windows: usize,
    /// Of dropout, augmentation and draws.
    pub seed: u64,
    /// What is trained on what, for checkpoints.
    pub fingerprint: String,
}

/// One epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochReport {
    /// From 0.
    pub epoch: u32,
    /// Steps of the optimiser until its end.
    pub steps: u64,
    /// Mean loss over classes.
    pub class_loss: f64,
    /// Mean reconstruction loss, before its weight.
    pub reconstruction_loss: f64,
    /// Rate of the last step.
    pub rate: f64,
    /// Mean norm of the gradients before clipping.
    pub gradient_norm: f64,
    /// Batches whose gradients were not finite and were not used.
    pub skipped: u64,
    /// What it brought.
    pub validation: Validation,
    /// Whether it is the best so far.
    pub best: bool,
}

/// One batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchReport {
    /// Epoch, from 0.
    pub epoch: u32,
    /// Batches of the epoch that are done.
    pub done: usize,
    /// Batches of an epoch.
    pub batches: usize,
    /// Loss of the batch.
    pub loss: f64,
    /// Whether this is a batch of the validation.
    pub validating: bool,
}

/// Who watches a training.
pub trait Progress {
    /// Something else than batches begins: `reading the table`.
    fn stage(&mut self, what: &str) {
        let _ = what;
    }

    /// A round of something else than epochs is done, of so many at most.
    fn round(&mut self, what: &str, done: usize, of: usize) {
        let _ = (what, done, of);
    }

    /// These epochs had been done before; the training goes on behind them.
    fn resumed(&mut self, epochs: &[EpochReport]) {
        let _ = epochs;
    }

    /// A batch is done.
    fn batch(&mut self, report: &BatchReport) {
        let _ = report;
    }

    /// An epoch is done and its checkpoint written. `Break` ends the training here; it can be continued.
    fn epoch(&mut self, report: &EpochReport) -> ControlFlow<()> {
        let _ = report;
        ControlFlow::Continue(())
    }
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Progress for Unwatched {}

/// How a training went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Every epoch.
    pub epochs: Vec<EpochReport>,
    /// The epoch whose weights are kept.
    pub best_epoch: u32,
    /// Whether it went to its end. If not, the weights are the best so far all the same.
    pub finished: bool,
}

/// A training in progress.
struct Training<'a, N> {
    network: &'a N,
    variables: &'a BTreeMap<String, Var>,
    material: Material<'a>,
    spec: &'a TrainingSpec,
    sampler: Sampler,
    augmentation: Augmentation,
    class_weights: Tensor,
    validated: Vec<u32>,
    optimiser: AdamW,
    schedule: Schedule,
    best: BTreeMap<String, Tensor>,
    epochs: Vec<EpochReport>,
}

/// Trains `network`; `variables` are its own, by name.
///
/// With `checkpoint` that file is replaced after each epoch, and if `resume` holds and it is there, training goes on from
/// it.
///
/// # Errors
///
/// There is too little data, the loss is no longer a number, the device failed, or a checkpoint cannot be written, read,
/// or belongs to another training.
pub fn train<N: Trainable>(
    network: &N,
    variables: &BTreeMap<String, Var>,
    material: Material<'_>,
    spec: &TrainingSpec,
    checkpoint: Option<&Path>,
    resume: bool,
    progress: &mut dyn Progress,
) -> Result<Outcome, TrainError> {
    let mut training = Training::new(network, variables, material, spec)?;
    let saved = match checkpoint {
        Some(path) if resume => Checkpoint::read(path, material.device)?.map(|saved| (path, saved)),
        _ => None,
    };
    let mut finished = match saved {
        Some((path, saved)) => {
            let finished = training.restore(path, saved)?;
            progress.resumed(&training.epochs);
            finished
        }
        None => false,
    };
    while !finished && training.epochs.len() < spec.epochs as usize {
        let epoch = training.epochs.len() as u32;
        let (report, stop) = training.epoch(epoch, progress)?;
        training.epochs.push(report.clone());
        finished = stop || training.epochs.len() == spec.epochs as usize;
        if let Some(path) = checkpoint {
            training.checkpoint(finished)?.write(path)?;
        }
        if progress.epoch(&report).is_break() {
            break;
        }
    }
    training.keep_best()?;
    let best_epoch = training.schedule.best().map_or(0, |(epoch, _)| epoch);
    Ok(Outcome { epochs: training.epochs, best_epoch, finished })
}

impl<'a, N: Trainable> Training<'a, N> {
    fn new(
        network: &'a N,
        variables: &'a BTreeMap<String, Var>,
        material: Material<'a>,
        spec: &'a TrainingSpec,
    ) -> Result<Self, TrainError> {
        let sampler = Sampler::new(material.table, material.train, spec.sampler.clone())?;
        let weights = class_weights(sampler.class_steps(), spec.class_weight_at_most);
        Ok(Self {
            network,
            variables,
            material,
            spec,
            augmentation: Augmentation::new(&spec.augmentation, material.inputs),
            class_weights: Tensor::new(weights, material.device)?,
            validated: validated(&material, spec)?,
            optimiser: AdamW::new(variables, spec.optimiser)?,
            schedule: Schedule::new(),
            best: copies(variables)?,
            epochs: Vec::new(),
            sampler,
        })
    }

    fn epoch(&mut self, epoch: u32, progress: &mut dyn Progress) -> Result<(EpochReport, bool), TrainError> {
        let number = u64::from(epoch);
        self.network.seed_dropout(Random::stream(self.spec.seed, "dropout", number).next());
        let mut random = Random::stream(self.spec.seed, "augmentation", number);
        let batcher = self.batcher(self.material.train);
        let epoch_batches = self.sampler.epoch(epoch);
        let (mut sums, mut skipped, mut rate) = ([0.0; 3], 0, 0.0);
        for (at, windows) in epoch_batches.iter().enumerate() {
            let batch = batcher.batch(windows, Some((&self.augmentation, &mut random)))?;
            let (loss, parts) = self.loss(&batch)?;
            let mut gradients = loss.backward()?;
            let norm = clip_global_norm(&mut gradients, self.variables.values(), self.spec.clip_norm)?;
            rate = self.schedule.rate(self.optimiser.steps(), &self.spec.schedule);
            let loss = parts[0] + self.spec.reconstruction * parts[1];
            if norm.is_finite() && loss.is_finite() {
                self.optimiser.step(&gradients, rate)?;
                for (sum, part) in sums.iter_mut().zip([parts[0], parts[1], norm]) {
                    *sum += part;
                }
            } else {
                skipped += 1;
                if skipped > SKIPPED_AT_MOST {
                    return Err(TrainError::Diverged { step: self.optimiser.steps(), loss });
                }
            }
            let (done, batches) = (at + 1, epoch_batches.len());
            progress.batch(&BatchReport { epoch, done, batches, loss, validating: false });
        }
        let used = (epoch_batches.len() as u64 - skipped).max(1) as f64;
        let validation = self.validate(epoch, progress)?;
        let end = self.schedule.end_epoch(epoch, validation.criterion, &self.spec.schedule);
        if end.best {
            self.best = copies(self.variables)?;
        }
        let report = EpochReport {
            epoch,
            steps: self.optimiser.steps(),
            class_loss: sums[0] / used,
            reconstruction_loss: sums[1] / used,
            rate,
            gradient_norm: sums[2] / used,
            skipped,
            validation,
            best: end.best,
        };
        Ok((report, end.stop))
    }

    /// The loss to minimise, and its two parts as numbers.
    fn loss(&self, batch: &Batch) -> Result<(Tensor, [f64; 2]), TrainError> {
        let (logits, reconstruction) = self.network.forward(&batch.inputs, &batch.mask)?;
        let of_classes =
            class_loss(&logits, &batch.targets, &batch.judged, &self.class_weights, &self.spec.loss)?;
        if self.spec.reconstruction <= 0.0 {
            let value = f64::from(of_classes.to_scalar::<f32>()?);
            return Ok((of_classes, [value, 0.0]));
        }
        let of_inputs = reconstruction_loss(&reconstruction, &batch.clean, &batch.benign)?;
        // Both values leave the device together.
        let values = Tensor::stack(&[&of_classes, &of_inputs], 0)?.to_vec1::<f32>()?;
        let loss = (of_classes + (of_inputs * self.spec.reconstruction)?)?;
        Ok((loss, [f64::from(values[0]), f64::from(values[1])]))
    }

    fn validate(&self, epoch: u32, progress: &mut dyn Progress) -> Result<Validation, TrainError> {
        let width = self.material.inputs.len();
        let steps = Steps { cells: self.material.cells, width, windows: self.material.validate };
        let mut detector = self.network.detector()?;
        let judgement = steps.judge(&mut *detector, &self.validated, |done, batches| {
            progress.batch(&BatchReport { epoch, done, batches, loss: 0.0, validating: true });
        })?;
        Ok(Validation::of(&judgement.judged(self.material.table, 1.0)))
    }

    fn batcher(&self, windows: &'a Windows) -> Batcher<'a> {
        let Material { table, inputs, cells, device, .. } = self.material;
        Batcher { table, cells, width: inputs.len(), windows, device }
    }

    fn checkpoint(&self, finished: bool) -> Result<Checkpoint, TrainError> {
        let mut tensors = self.optimiser.state();
        for (name, variable) in self.variables {
            tensors.insert(format!("weight.{name}"), variable.as_detached_tensor());
        }
        for (name, best) in &self.best {
            tensors.insert(format!("best.{name}"), best.clone());
        }
        let state = State {
            fingerprint: self.spec.fingerprint.clone(),
            steps: self.optimiser.steps(),
            schedule: self.schedule.clone(),
            epochs: self.epochs.clone(),
            finished,
        };
        Ok(Checkpoint { state, tensors })
    }

    /// Goes back to a checkpoint; gives whether its training was over.
    fn restore(&mut self, path: &Path, saved: Checkpoint) -> Result<bool, TrainError> {
        let refuse = |reason: String| TrainError::Checkpoint { path: path.to_owned(), reason };
        let Checkpoint { state, tensors } = saved;
        if state.fingerprint != self.spec.fingerprint {
            return Err(refuse(
                "it belongs to another configuration or table; train without --resume to begin anew"
                    .to_owned(),
            ));
        }
        let find = |name: &str| tensors.get(name).cloned();
        let missing = |name: String| refuse(format!("tensor {name:?} is missing or of another shape"));
        self.optimiser.restore(state.steps, find).map_err(missing)?;
        for (name, variable) in self.variables {
            let of = |kind: &str| {
                let name = format!("{kind}.{name}");
                find(&name).filter(|tensor| tensor.shape() == variable.shape()).ok_or_else(|| missing(name))
            };
            variable.set(&of("weight")?)?;
            self.best.insert(name.clone(), of("best")?);
        }
        self.schedule = state.schedule;
        self.epochs = state.epochs;
        Ok(state.finished)
    }

    fn keep_best(&self) -> Result<(), TrainError> {
        for (name, variable) in self.variables {
            if let Some(best) = self.best.get(name) {
                variable.set(best)?;
            }
        }
        Ok(())
    }
}

/// The windows to validate on: every one that judges something hostile, and so many of the others.
fn validated(material: &Material<'_>, spec: &TrainingSpec) -> Result<Vec<u32>, TrainError> {
    let windows = material.validate;
    let hostile = |window: &u32| {
        windows.judged(*window as usize).iter().any(|row| material.table.hostile[*row as usize])
    };
    let (mut all, mut benign): (Vec<u32>, Vec<u32>) = (0..windows.len() as u32).partition(hostile);
    if all.is_empty() || benign.is_empty() {
        let missing = if all.is_empty() { "hostile" } else { "benign" };
        return Err(TrainError::Data { reason: format!("there are no {missing} windows to validate on") });
    }
    let most = spec.validation_benign_windows;
    if most > 0 && benign.len() > most {
        Random::stream(spec.seed, "validation", 0).choose(&mut benign, most);
        benign.truncate(most);
    }
    all.extend(benign);
    all.sort_unstable();
    Ok(all)
}

/// Copies that later steps do not change.
fn copies(variables: &BTreeMap<String, Var>) -> candle_core::Result<BTreeMap<String, Tensor>> {
    variables
        .iter()
        .map(|(name, variable)| Ok((name.clone(), variable.as_detached_tensor().copy()?)))
        .collect()
}

/// Batches of an epoch without finite gradients after which training gives up.
const SKIPPED_AT_MOST: u64 = 20;

#[cfg(test)]
mod tests {
    use candle_core::D;
    use tapline_score::{WindowBatch, manifest};

    use super::*;
    use crate::losses::ClassLoss;
    use crate::test_table::{Change, TestRow, write};
    use crate::{CLASSES, scaling};

    /// A small network that looks at a step and at the mean of its window, with dropout.
    struct Small {
        variables: BTreeMap<String, Var>,
        draws: std::cell::Cell<u64>,
    }

    impl Small {
        fn new() -> Self {
            let mut random = Random::new(11);
            let mut matrix = |name: &str, inputs: usize, outputs: usize| {
                let values: Vec<f32> = (0..inputs * outputs).map(|_| 0.1 * random.normal() as f32).collect();
                let tensor = Tensor::from_vec(values, (inputs, outputs), &Device::Cpu).unwrap();
                (name.to_owned(), Var::from_tensor(&tensor).unwrap())
            };
            let variables = BTreeMap::from([
                matrix("in", 4, 12),
                matrix("out", 12, CLASSES.len()),
                matrix("back", 12, 2),
            ]);
            Self { variables, draws: 0.into() }
        }
    }

    impl Trainable for Small {
        fn seed_dropout(&self, seed: u64) {
            self.draws.set(seed);
        }

        fn forward(&self, inputs: &Tensor, mask: &Tensor) -> Result<(Tensor, Tensor), ScoreError> {
            let mut random = Random::new(self.draws.get());
            let kept: Vec<f32> = (0..12).map(|_| if random.chance(0.2) { 0.0 } else { 1.25 }).collect();
            self.draws.set(random.next());
            let hidden = hidden(&self.variables["in"], inputs, mask)?;
            let hidden = hidden.broadcast_mul(&Tensor::new(kept, &Device::Cpu)?)?;
            let logits = hidden.broadcast_matmul(&self.variables["out"])?;
            Ok((logits, hidden.broadcast_matmul(&self.variables["back"])?))
        }

        fn detector(&self) -> Result<Box<dyn Detector>, ScoreError> {
            Ok(Box::new(SmallDetector(self.variables.clone())))
        }
    }

    fn hidden(weights: &Var, inputs: &Tensor, mask: &Tensor) -> candle_core::Result<Tensor> {
        let steps = mask.unsqueeze(2)?;
        let mean = inputs.broadcast_mul(&steps)?.sum_keepdim(1)?;
        let mean = mean.broadcast_div(&steps.sum_keepdim(1)?)?.broadcast_as(inputs.shape())?;
        Tensor::cat(&[inputs, &mean], D::Minus1)?.broadcast_matmul(weights)?.tanh()
    }

    struct SmallDetector(BTreeMap<String, Var>);

    impl Detector for SmallDetector {
        fn classes(&self) -> usize {
            CLASSES.len()
        }

        fn logits(&mut self, batch: &WindowBatch, logits: &mut Vec<f32>) -> Result<(), ScoreError> {
            let mut start = 0;
            for length in &batch.lengths {
                let steps = batch.inputs[start * batch.width..(start + length) * batch.width].to_vec();
                start += length;
                let inputs = Tensor::from_vec(steps, (1, *length, batch.width), &Device::Cpu)?;
                let mask = Tensor::ones((1, *length), candle_core::DType::F32, &Device::Cpu)?;
                let out = hidden(&self.0["in"], &inputs, &mask)?.broadcast_matmul(&self.0["out"])?;
                logits.extend(out.flatten_all()?.to_vec1::<f32>()?);
            }
            Ok(())
        }
    }

    fn table() -> Table {
        let mut random = Random::new(5);
        let mut rows = Vec::new();
        for (split, run) in [("train", "a"), ("validate", "b")] {
            for at in 0..600_i64 {
                let (class, mean, behaviour) = match at % 6 {
                    0 => ("scan", [2.0, 0.0], "syn"),
                    1 => ("c2", [0.0, -2.0], "beacon"),
                    _ => ("benign", [-0.5, 0.5], "web"),
                };
                let host = match at % 6 {
                    0 => "10.0.0.1",
                    1 => "10.0.0.2",
                    2 | 3 => "10.0.0.3",
                    _ => "10.0.0.4",
                };
                let x = mean.iter().map(|mean| mean + random.normal() as f32).collect();
                let decided_us = at * 200_000;
                rows.push(TestRow {
                    x,
                    class,
                    behaviour,
                    split,
                    run,
                    site: run,
                    host,
                    decided_us,
                    ..TestRow::default()
                });
            }
        }
        Table::read(write(&["x", "y"], &rows, Change::None).path()).unwrap()
    }

    fn spec() -> TrainingSpec {
        TrainingSpec {
            epochs: 6,
            sampler: SamplerSpec {
                batch_windows: 16,
                batches: 8,
                hostile_share: 0.5,
                weights: BTreeMap::new(),
                seed: 3,
            },
            loss: ClassLossSpec { kind: ClassLoss::Focal, gamma: 1.0, label_smoothing: 0.02 },
            class_weight_at_most: 20.0,
            reconstruction: 0.1,
            optimiser: AdamWSpec::default(),
            clip_norm: 1.0,
            schedule: ScheduleSpec {
                rate: 0.02,
                warmup_steps: 5,
                factor: 0.5,
                patience: 2,
                least_rate: 1e-4,
                least_gain: 1e-4,
                stop_after: 5,
            },
            augmentation: AugmentationSpec {
                truncate: 0.3,
                drop_input: 0.05,
                jitter: 0.02,
                ..AugmentationSpec::default()
            },
            validation_benign_windows: 60,
            seed: 9,
            fingerprint: "test".to_owned(),
        }
    }

    /// Ends the training after an epoch, as a kill would.
    struct StopAfter(u32);

    impl Progress for StopAfter {
        fn epoch(&mut self, report: &EpochReport) -> ControlFlow<()> {
            if report.epoch == self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }

    fn run(
        spec: &TrainingSpec,
        checkpoint: Option<&Path>,
        progress: &mut dyn Progress,
    ) -> Result<(Small, Outcome), TrainError> {
        let table = table();
        let rule = manifest::Window {
            steps: 6,
            stride: 3,
            deadline_us: 10_000_000,
            computed_at_most: 2,
            padding: "left".to_owned(),
        };
        let windows = |split| {
            let rows = table.rows_where(|row| table.split[row] == split);
            Windows::of(&table, &rows, &rule)
        };
        let (train_on, validate) = (windows(crate::Split::Train), windows(crate::Split::Validate));
        let rows = table.rows_where(|row| table.split[row] == crate::Split::Train);
        let columns = scaling::fit(&table, &rows, &[0, 1], scaling::Scaling::Linear, 6.0);
        let inputs = manifest::Inputs { schema: String::new(), schema_hash: String::new(), columns };
        let cells = scaling::scale(&table, &inputs).unwrap();
        let material = Material {
            table: &table,
            inputs: &table.inputs,
            cells: &cells,
            train: &train_on,
            validate: &validate,
            device: &Device::Cpu,
        };
        let network = Small::new();
        let outcome = train(&network, &network.variables, material, spec, checkpoint, true, progress)?;
        Ok((network, outcome))
    }

    fn weights(network: &Small) -> Vec<f32> {
        let values = |variable: &Var| variable.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        network.variables.values().flat_map(values).collect()
    }

    fn check_same(a: &Small, b: &Small) {
        for (a, b) in weights(a).iter().zip(weights(b)) {
            assert!((a - b).abs() < 1e-6, "{a} is not {b}");
        }
    }

    #[test]
    fn it_learns() {
        let (_, outcome) = run(&spec(), None, &mut Unwatched).unwrap();
        assert_eq!(outcome.epochs.len(), 6);
        assert!(outcome.finished);
        let (first, last) = (&outcome.epochs[0], &outcome.epochs[outcome.best_epoch as usize]);
        assert!(last.class_loss < 0.7 * first.class_loss, "{} {}", first.class_loss, last.class_loss);
        assert!(last.best);
        assert!(last.validation.auc > 0.9, "{:?}", last.validation);
        assert!(last.validation.recall["scan"] > 0.2 && last.validation.recall["c2"] > 0.2);
        assert_eq!(last.steps, 8 * u64::from(outcome.best_epoch + 1));
        // 60 of the benign windows, three rows each but for those at the end.
        assert!(last.validation.benign_rows <= 180 && last.validation.hostile_rows == 200);
    }

    #[test]
    fn a_training_that_was_killed_ends_as_if_it_had_not_been() {
        let (straight, whole) = run(&spec(), None, &mut Unwatched).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        for stop in [0, 3] {
            let (_, part) = run(&spec(), Some(&path), &mut StopAfter(stop)).unwrap();
            assert!(!part.finished);
            assert_eq!(part.epochs.len() as u32, stop + 1);
        }
        let (resumed, outcome) = run(&spec(), Some(&path), &mut Unwatched).unwrap();
        assert_eq!(outcome.epochs, whole.epochs);
        assert_eq!(outcome.best_epoch, whole.best_epoch);
        check_same(&straight, &resumed);
        // What is over is not done again.
        let (again, outcome) = run(&spec(), Some(&path), &mut StopAfter(0)).unwrap();
        assert!(outcome.finished);
        check_same(&straight, &again);
    }

    #[test]
    fn the_seed_decides() {
        let short = TrainingSpec { epochs: 1, ..spec() };
        let (a, _) = run(&short, None, &mut Unwatched).unwrap();
        let (b, _) = run(&short, None, &mut Unwatched).unwrap();
        assert_eq!(weights(&a), weights(&b));
        let (other, _) = run(&TrainingSpec { seed: 10, ..short }, None, &mut Unwatched).unwrap();
        assert_ne!(weights(&a), weights(&other));
    }

    #[test]
    fn a_foreign_checkpoint_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        run(&spec(), Some(&path), &mut StopAfter(0)).unwrap();
        let other = TrainingSpec { fingerprint: "other".to_owned(), ..spec() };
        let error = run(&other, Some(&path), &mut Unwatched).err().unwrap().to_string();
        assert!(error.contains("it belongs to another configuration or table"), "{error}");
    }

    #[test]
    fn divergence_is_told() {
        let mut wild = spec();
        wild.schedule.rate = 1e30;
        wild.schedule.warmup_steps = 0;
        wild.sampler.batches = 60;
        let error = run(&wild, None, &mut Unwatched).err().unwrap();
        assert!(matches!(error, TrainError::Diverged { .. }), "{error}");
    }
}
