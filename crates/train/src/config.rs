//! `train.toml`: everything a training can be told.
//!
//! In: the text of the file, and `key=value` from the command line. Out: [`Config`], checked. Whatever is not said has the
//! value that `models/train.toml` shows; a test holds the two together. Errors name line and column, key and range.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tapline_score::manifest::{NetworkSpec, Window};

use crate::adamw::AdamWSpec;
use crate::augmentation::AugmentationSpec;
use crate::boosting::BoostConfig;
use crate::forest::ForestConfig;
use crate::logistic::LogisticConfig;
use crate::losses::{ClassLoss, ClassLossSpec};
use crate::sampler::SamplerSpec;
use crate::scaling::Scaling;
use crate::schedule::ScheduleSpec;
use crate::selection::SelectionSpec;
use crate::training::TrainingSpec;
use crate::{CLASSES, Split, Table, TrainError};

/// A training's configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The model that comes out.
    pub model: ModelConfig,
    /// The rows that go in.
    pub data: DataConfig,
    /// Which inputs the network gets.
    pub selection: SelectionConfig,
    /// How flows become windows, in training and ever after.
    pub window: WindowConfig,
    /// Shape of the network.
    pub network: NetworkConfig,
    /// What the network is punished for.
    pub loss: LossConfig,
    /// Which windows an epoch sees.
    pub sampler: SamplerConfig,
    /// How weights move.
    pub optimiser: OptimiserConfig,
    /// How fast, and when to stop.
    pub schedule: ScheduleConfig,
    /// What is done to training windows so that the network leans on no single input.
    pub augmentation: AugmentationConfig,
    /// The trees beside the network.
    pub trees: TreesConfig,
    /// Operating points and alerts.
    pub thresholds: ThresholdsConfig,
    /// Which detectors are made, and with which weight they vote.
    pub votes: BTreeMap<String, f32>,
    /// ATT&CK technique of each class.
    pub attack_ids: BTreeMap<String, String>,
    /// Where trainings are logged.
    pub experiment: ExperimentConfig,
}

/// The model that comes out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Its name; verdicts carry it with the first digits of the weights' hash.
    pub name: String,
    /// The model directory.
    pub out: PathBuf,
    /// Seed of everything that is drawn.
    pub seed: u64,
}

/// The rows that go in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// The training table.
    pub table: PathBuf,
    /// Splits to learn from.
    pub train: Vec<Split>,
    /// Splits to choose by.
    pub validate: Vec<Split>,
    /// Only sources that begin so (`testbed/`, `corpus/`); all if there is none.
    pub sources: Vec<String>,
    /// Sites that are neither learnt from nor chosen by.
    pub leave_out: Vec<String>,
    /// How much more often rows are drawn, by how their source begins: `{ "corpus/" = 2.0 }`; else 1.
    pub weights: BTreeMap<String, f64>,
}

/// Which inputs the network gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectionConfig {
    /// How many.
    pub inputs: usize,
    /// Correlation, without its sign, above which the worse of two is left out.
    pub duplicate_above: f64,
    /// Rows looked at, at most.
    pub sample_rows: usize,
    /// Inputs that begin so are left out, whatever they tell.
    pub leave_out: Vec<String>,
    /// `ranks` or `linear`.
    pub scaling: Scaling,
    /// Bound of a linearly scaled input, in interquartile ranges.
    pub clip: f32,
}

/// How flows become windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WindowConfig {
    /// Steps at most.
    pub steps: usize,
    /// A window closes when so many flows wait.
    pub stride: usize,
    /// Or when the first of them has waited so long.
    pub deadline_us: u64,
    /// How often a flow is computed at most.
    pub computed_at_most: usize,
}

/// Shape of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// Units of each bidirectional layer, per direction.
    pub hidden: Vec<usize>,
    /// Attention heads.
    pub heads: usize,
    /// Width of the attention; a multiple of `heads`.
    pub attention: usize,
    /// `layer` or `batch`.
    pub norm: String,
    /// Share of units left out in training.
    pub dropout: f32,
}

/// What the network is punished for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// `focal` or `cross-entropy`.
    pub kind: ClassLoss,
    /// Of the focal loss.
    pub gamma: f64,
    /// Share of the target that is spread over all classes.
    pub label_smoothing: f64,
    /// Bound of the weight of a rare class.
    pub class_weight_at_most: f64,
    /// Weight of the reconstruction of benign steps.
    pub reconstruction: f64,
}

/// Which windows an epoch sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplerConfig {
    /// Windows of a batch.
    pub batch_windows: usize,
    /// Batches of an epoch; 0: as many as there are windows for.
    pub batches: usize,
    /// Share of the windows with something hostile in them.
    pub hostile_share: f64,
}

/// How weights move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimiserConfig {
    /// Learning rate after the warm-up.
    pub rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decay of the weights.
    pub weight_decay: f64,
    /// Bound of the norm of all gradients.
    pub clip_norm: f64,
}

/// How fast, and when to stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// Epochs at most.
    pub epochs: u32,
    /// Steps over which the rate grows.
    pub warmup_steps: u64,
    /// What the rate is multiplied with on a plateau.
    pub factor: f64,
    /// Epochs without a better criterion that are borne before.
    pub patience: u32,
    /// The rate never falls below.
    pub least_rate: f64,
    /// What counts as better.
    pub least_gain: f64,
    /// Epochs without a better criterion after which training stops.
    pub stop_after: u32,
    /// Purely benign windows that are looked at after each epoch, at most; 0: all. The last look is at all of them.
    pub validation_benign_windows: usize,
}

/// What is done to training windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentationConfig {
    /// Probability that a part of the history is cut off.
    pub truncate: f64,
    /// Probability of each input to be left out of a window.
    pub drop_input: f64,
    /// Probability of each group to be left out of a window.
    pub drop_group: f64,
    /// Groups, by how the names of their inputs begin.
    pub groups: Vec<String>,
    /// Standard deviation of the noise on inputs, in interquartile ranges.
    pub jitter: f64,
}

/// The trees beside the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TreesConfig {
    /// `boosted` or `forest`.
    pub method: String,
    /// Rounds of boosting, or trees of the forest, at most.
    pub rounds: usize,
    /// Leaves of a tree at most.
    pub leaves: usize,
    /// Splits from root to leaf at most.
    pub depth: u32,
    /// Share of each boosting step that is taken.
    pub rate: f64,
    /// Weight of a leaf's rows at least, where a row weighs 1 on average.
    pub leaf_weight: f64,
    /// Share of the rows that each round of boosting looks at.
    pub row_share: f64,
    /// Share of the inputs that each round of boosting looks at.
    pub column_share: f64,
    /// Rounds that rank the validation rows no better after which boosting stops; 0: never, all rounds are kept.
    pub stop_after: usize,
}

/// Operating points and alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ThresholdsConfig {
    /// Share of benign flows that may count as evidence.
    pub investigate: f64,
    /// Share of benign flows that may raise an incident by themselves.
    pub detect: f64,
    /// Share of benign flows that may be blocked.
    pub block: f64,
    /// Alerts a day on benign traffic that the evidence threshold is set for.
    pub alerts_per_day: f64,
    /// The evidence threshold is never below.
    pub least_evidence: f32,
    /// The network is asked about a flow only if the other voters give it log-odds at most so far below the lowest at which a validation
    /// flow was put among the suspicious (`investigate`) by all together. It costs no verdict there, and spares the network most of the
    /// ordinary flows. `inf`: it is always asked.
    pub asking_margin: f32,
    /// A quiet time that ends an incident.
    pub incident_gap_us: u64,
    /// Flows that an alert needs at least, by class.
    pub alert_flows: BTreeMap<String, u32>,
}

/// Where trainings are logged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExperimentConfig {
    /// Folder that `mlflow ui` can read; nothing is logged if it is empty.
    pub folder: PathBuf,
    /// Name of the experiment.
    pub name: String,
}

impl Config {
    /// Reads a file, then applies `key=value` settings: `network.dropout=0.3`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is no TOML, or says something unknown or out of range; so does a setting.
    pub fn read(path: &Path, settings: &[String]) -> Result<Self, TrainError> {
        let text =
            fs::read_to_string(path).map_err(|source| TrainError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, settings).map_err(|reason| TrainError::Config {
            reason: format!("configuration {}: {reason}", path.display()),
        })
    }

    /// As [`Config::read`], of the file's text.
    ///
    /// # Errors
    ///
    /// What is wrong, in words.
    pub fn parse(text: &str, settings: &[String]) -> Result<Self, String> {
        // The text itself is read first: its errors know their line.
        let mut config: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if !settings.is_empty() {
            let mut table: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
            for setting in settings {
                set(&mut table, setting)?;
            }
            config = table.try_into().map_err(|error: toml::de::Error| {
                format!(
                    "--set {}: {}",
                    settings.join(" --set "),
                    error.to_string().trim_end().replace('\n', " ")
                )
            })?;
        }
        config.complete();
        config.check()?;
        Ok(config)
    }

    /// The configuration as TOML, with every value.
    #[must_use]
    pub fn text(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }

    /// Gives maps that were not written their usual entries.
    fn complete(&mut self) {
        for (class, id) in ATTACK_IDS {
            self.attack_ids.entry(class.to_owned()).or_insert_with(|| id.to_owned());
        }
        for (detector, vote) in VOTES {
            self.votes.entry(detector.to_owned()).or_insert(vote);
        }
    }

    fn check(&self) -> Result<(), String> {
        let name = &self.model.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(format!("model.name = {name:?}: letters, digits and -_. are allowed"));
        }
        if self.data.train.is_empty() || self.data.validate.is_empty() {
            return Err("data.train and data.validate need a split each".to_owned());
        }
        if let Some(both) = self.data.train.iter().find(|split| self.data.validate.contains(split)) {
            return Err(format!(
                "split {both} is in data.train and in data.validate: networks would be on both sides"
            ));
        }
        let counts = [
            ("selection.inputs", self.selection.inputs, 1, 4096),
            ("selection.sample_rows", self.selection.sample_rows, 100, usize::MAX),
            ("window.steps", self.window.steps, 1, 1024),
            ("window.stride", self.window.stride, 1, self.window.steps),
            ("window.computed_at_most", self.window.computed_at_most, 1, 64),
            ("network.heads", self.network.heads, 1, 64),
            ("network.attention", self.network.attention, self.network.heads, 4096),
            ("sampler.batch_windows", self.sampler.batch_windows, 1, 1 << 16),
            ("trees.rounds", self.trees.rounds, 1, 10_000),
            ("trees.leaves", self.trees.leaves, 2, 4096),
            ("trees.depth", self.trees.depth as usize, 1, 30),
            ("schedule.epochs", self.schedule.epochs as usize, 1, 1 << 20),
            ("schedule.stop_after", self.schedule.stop_after as usize, 1, 1 << 20),
        ];
        for (key, value, least, most) in counts {
            if !(least..=most).contains(&value) {
                return Err(format!("{key} = {value}: from {least} to {most} is allowed"));
            }
        }
        if self.network.hidden.is_empty() || self.network.hidden.contains(&0) {
            return Err(format!(
                "network.hidden = {:?}: one layer at least, of one unit at least",
                self.network.hidden
            ));
        }
        if !self.network.attention.is_multiple_of(self.network.heads) {
            return Err(format!(
                "network.attention = {}: a multiple of network.heads = {} is needed",
                self.network.attention, self.network.heads
            ));
        }
        if !["boosted", "forest"].contains(&self.trees.method.as_str()) {
            return Err(format!(
                "trees.method = {:?}: \"boosted\" or \"forest\" is allowed",
                self.trees.method
            ));
        }
        if !["layer", "batch"].contains(&self.network.norm.as_str()) {
            return Err(format!("network.norm = {:?}: \"layer\" or \"batch\" is allowed", self.network.norm));
        }
        let shares = [
            ("selection.duplicate_above", self.selection.duplicate_above, 0.0, 1.0),
            ("selection.clip", f64::from(self.selection.clip), 0.1, 1e6),
            ("network.dropout", f64::from(self.network.dropout), 0.0, 0.95),
            ("loss.gamma", self.loss.gamma, 0.0, 10.0),
            ("loss.label_smoothing", self.loss.label_smoothing, 0.0, 0.9),
            ("loss.class_weight_at_most", self.loss.class_weight_at_most, 1e-3, 1e6),
            ("loss.reconstruction", self.loss.reconstruction, 0.0, 1e3),
            ("sampler.hostile_share", self.sampler.hostile_share, 0.0, 1.0),
            ("optimiser.rate", self.optimiser.rate, 1e-9, 1.0),
            ("optimiser.beta1", self.optimiser.beta1, 0.0, 0.999_999),
            ("optimiser.beta2", self.optimiser.beta2, 0.0, 0.999_999),
            ("optimiser.weight_decay", self.optimiser.weight_decay, 0.0, 10.0),
            ("optimiser.clip_norm", self.optimiser.clip_norm, 1e-6, 1e6),
            ("trees.rate", self.trees.rate, 1e-4, 1.0),
            ("trees.leaf_weight", self.trees.leaf_weight, 0.0, 1e9),
            ("trees.row_share", self.trees.row_share, 1e-3, 1.0),
            ("trees.column_share", self.trees.column_share, 1e-3, 1.0),
            ("schedule.factor", self.schedule.factor, 0.01, 1.0),
            ("schedule.least_rate", self.schedule.least_rate, 0.0, 1.0),
            ("schedule.least_gain", self.schedule.least_gain, 0.0, 1.0),
            ("augmentation.truncate", self.augmentation.truncate, 0.0, 1.0),
            ("augmentation.drop_input", self.augmentation.drop_input, 0.0, 0.9),
            ("augmentation.drop_group", self.augmentation.drop_group, 0.0, 0.9),
            ("augmentation.jitter", self.augmentation.jitter, 0.0, 10.0),
            ("thresholds.investigate", self.thresholds.investigate, 1e-9, 0.5),
            ("thresholds.detect", self.thresholds.detect, 1e-9, self.thresholds.investigate),
            ("thresholds.block", self.thresholds.block, 1e-9, self.thresholds.detect),
            ("thresholds.alerts_per_day", self.thresholds.alerts_per_day, 0.0, 1e9),
            ("thresholds.asking_margin", f64::from(self.thresholds.asking_margin), 0.0, f64::INFINITY),
            ("thresholds.least_evidence", f64::from(self.thresholds.least_evidence), 0.0, 1e6),
        ];
        for (key, value, least, most) in shares {
            if !(least..=most).contains(&value) {
                return Err(format!("{key} = {value}: from {least} to {most} is allowed"));
            }
        }
        for (table, keys) in [
            ("attack_ids", self.attack_ids.keys().collect::<Vec<_>>()),
            ("thresholds.alert_flows", self.thresholds.alert_flows.keys().collect()),
        ] {
            if let Some(key) = keys.into_iter().find(|key| !CLASSES[1..].contains(&key.as_str())) {
                return Err(format!("{table}.{key}: no such class; there are {}", CLASSES[1..].join(", ")));
            }
        }
        for (source, weight) in &self.data.weights {
            if !(1e-3..=1e3).contains(weight) {
                return Err(format!("data.weights.{source:?} = {weight}: from 0.001 to 1000 is allowed"));
            }
        }
        for (detector, vote) in &self.votes {
            if !VOTES.iter().any(|(name, _)| name == detector) {
                let names = VOTES.map(|(name, _)| name).join(", ");
                return Err(format!("votes.{detector}: no such detector; there are {names}"));
            }
            if !vote.is_finite() || *vote < 0.0 {
                return Err(format!("votes.{detector} = {vote}: 0 or more is allowed"));
            }
        }
        if self.votes.values().sum::<f32>() <= 0.0 {
            return Err("votes: some detector needs a vote above 0".to_owned());
        }
        Ok(())
    }

    /// Whether a row takes part at all.
    #[must_use]
    pub fn takes(&self, table: &Table, row: usize) -> bool {
        let source = table.source.name(row);
        let wanted = self.data.sources.is_empty()
            || self.data.sources.iter().any(|prefix| source.starts_with(prefix.as_str()));
        wanted && !self.data.leave_out.iter().any(|site| site == table.site.name(row))
    }

    /// The rule of windows, for the manifest.
    #[must_use]
    pub fn window(&self) -> Window {
        Window {
            steps: self.window.steps,
            stride: self.window.stride,
            deadline_us: self.window.deadline_us,
            computed_at_most: self.window.computed_at_most,
            padding: "left".to_owned(),
        }
    }

    /// The shape of the network, for the manifest.
    #[must_use]
    pub fn network(&self) -> NetworkSpec {
        NetworkSpec {
            hidden: self.network.hidden.clone(),
            heads: self.network.heads,
            attention: self.network.attention,
            norm: self.network.norm.clone(),
            dropout: self.network.dropout,
        }
    }

    /// How inputs are selected.
    #[must_use]
    pub const fn selection(&self) -> SelectionSpec {
        SelectionSpec {
            k: self.selection.inputs,
            duplicate_above: self.selection.duplicate_above,
            sample_rows: self.selection.sample_rows,
            seed: self.model.seed,
        }
    }

    /// How to boost trees.
    #[must_use]
    pub fn boosting(&self, threads: usize) -> BoostConfig {
        BoostConfig {
            rounds: self.trees.rounds,
            leaves: self.trees.leaves,
            depth: self.trees.depth,
            rate: self.trees.rate,
            leaf_weight: self.trees.leaf_weight,
            row_share: self.trees.row_share,
            column_share: self.trees.column_share,
            // Not asked where boosting never stops: it is given no validation rows then.
            patience: self.trees.stop_after.max(1),
            seed: self.model.seed,
            threads,
            ..BoostConfig::default()
        }
    }

    /// How to grow a forest.
    #[must_use]
    pub fn forest(&self, threads: usize) -> ForestConfig {
        ForestConfig {
            trees: self.trees.rounds,
            leaves: self.trees.leaves,
            depth: self.trees.depth,
            leaf_weight: self.trees.leaf_weight,
            seed: self.model.seed,
            threads,
            ..ForestConfig::default()
        }
    }

    /// How to fit the logistic regression.
    #[must_use]
    pub fn logistic(&self, threads: usize) -> LogisticConfig {
        LogisticConfig { threads, ..LogisticConfig::default() }
    }

    /// How windows and rows are drawn.
    #[must_use]
    pub fn sampler(&self) -> SamplerSpec {
        SamplerSpec {
            batch_windows: self.sampler.batch_windows,
            batches: self.sampler.batches,
            hostile_share: self.sampler.hostile_share,
            weights: self.data.weights.clone(),
            seed: self.model.seed,
        }
    }

    /// How to train, for a checkpoint of this fingerprint.
    #[must_use]
    pub fn training(&self, fingerprint: String) -> TrainingSpec {
        TrainingSpec {
            epochs: self.schedule.epochs,
            sampler: self.sampler(),
            loss: ClassLossSpec {
                kind: self.loss.kind,
                gamma: self.loss.gamma,
                label_smoothing: self.loss.label_smoothing,
            },
            class_weight_at_most: self.loss.class_weight_at_most,
            reconstruction: self.loss.reconstruction,
            optimiser: AdamWSpec {
                beta1: self.optimiser.beta1,
                beta2: self.optimiser.beta2,
                weight_decay: self.optimiser.weight_decay,
                ..AdamWSpec::default()
            },
            clip_norm: self.optimiser.clip_norm,
            schedule: ScheduleSpec {
                rate: self.optimiser.rate,
                warmup_steps: self.schedule.warmup_steps,
                factor: self.schedule.factor,
                patience: self.schedule.patience,
                least_rate: self.schedule.least_rate,
                least_gain: self.schedule.least_gain,
                stop_after: self.schedule.stop_after,
            },
            augmentation: AugmentationSpec {
                truncate: self.augmentation.truncate,
                drop_input: self.augmentation.drop_input,
                drop_group: self.augmentation.drop_group,
                groups: self.augmentation.groups.clone(),
                jitter: self.augmentation.jitter,
            },
            validation_benign_windows: self.schedule.validation_benign_windows,
            seed: self.model.seed,
            fingerprint,
        }
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self { name: "default".to_owned(), out: "models/default".into(), seed: 1 }
    }
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            table: "dataset/flows.parquet".into(),
            train: vec![Split::Train],
            validate: vec![Split::Validate],
            sources: Vec::new(),
            leave_out: Vec::new(),
            weights: BTreeMap::new(),
        }
    }
}

impl Default for SelectionConfig {
    fn default() -> Self {
        Self {
            inputs: 50,
            duplicate_above: 0.98,
            sample_rows: 200_000,
            leave_out: Vec::new(),
            scaling: Scaling::Ranks,
            clip: 8.0,
        }
    }
}

impl Default for WindowConfig {
    fn default() -> Self {
        Self { steps: 16, stride: 8, deadline_us: 1_000_000, computed_at_most: 2 }
    }
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self { hidden: vec![64, 32], heads: 4, attention: 64, norm: "layer".to_owned(), dropout: 0.3 }
    }
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            kind: ClassLoss::Focal,
            gamma: 2.0,
            label_smoothing: 0.02,
            class_weight_at_most: 20.0,
            reconstruction: 0.1,
        }
    }
}

impl Default for SamplerConfig {
    fn default() -> Self {
        Self { batch_windows: 64, batches: 500, hostile_share: 0.5 }
    }
}

impl Default for OptimiserConfig {
    fn default() -> Self {
        Self { rate: 1e-3, beta1: 0.9, beta2: 0.999, weight_decay: 0.01, clip_norm: 1.0 }
    }
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            epochs: 40,
            warmup_steps: 200,
            factor: 0.5,
            patience: 2,
            least_rate: 1e-5,
            least_gain: 1e-4,
            stop_after: 8,
            validation_benign_windows: 8_000,
        }
    }
}

impl Default for AugmentationConfig {
    fn default() -> Self {
        let groups = ["link_", "src_", "dst_", "pair_", "sweep_", "service_"];
        Self {
            truncate: 0.3,
            drop_input: 0.05,
            drop_group: 0.05,
            groups: groups.map(str::to_owned).into(),
            jitter: 0.05,
        }
    }
}

impl Default for TreesConfig {
    fn default() -> Self {
        Self {
            method: "boosted".to_owned(),
            rounds: 400,
            leaves: 31,
            depth: 8,
            rate: 0.08,
            leaf_weight: 20.0,
            row_share: 0.5,
            column_share: 0.3,
            stop_after: 0,
        }
    }
}

impl Default for ThresholdsConfig {
    fn default() -> Self {
        Self {
            investigate: 1e-2,
            detect: 1e-3,
            block: 1e-4,
            alerts_per_day: 1.0,
            least_evidence: 3.0,
            asking_margin: 1.0,
            incident_gap_us: 600_000_000,
            alert_flows: BTreeMap::new(),
        }
    }
}

impl Default for ExperimentConfig {
    fn default() -> Self {
        Self { folder: "mlruns".into(), name: "tapline".to_owned() }
    }
}

/// Puts `key=value` into a table; the value is TOML, or text if it is none.
fn set(table: &mut toml::Table, setting: &str) -> Result<(), String> {
    let wrong = || format!("--set {setting}: say key=value, network.dropout=0.3");
    let (key, value) = setting.split_once('=').ok_or_else(wrong)?;
    let value = match toml::from_str::<toml::Table>(&format!("value = {value}")) {
        Ok(mut parsed) => parsed.remove("value").ok_or_else(wrong)?,
        Err(_) => toml::Value::String(value.to_owned()),
    };
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    let last = parts.pop().filter(|last| !last.is_empty()).ok_or_else(wrong)?;
    let mut at = table;
    for part in parts {
        let next = at.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        at = next.as_table_mut().ok_or_else(|| format!("--set {setting}: {part} is not a table"))?;
    }
    at.insert(last.to_owned(), value);
    Ok(())
}

/// ATT&CK techniques, <https://attack.mitre.org>.
const ATTACK_IDS: [(&str, &str); 7] = [
    ("scan", "T1046"),
    ("brute-force", "T1110"),
    ("dos", "T1498"),
    ("web-attack", "T1190"),
    ("c2", "T1071"),
    ("exfiltration", "T1048"),
    ("lateral", "T1021"),
];

/// Detectors and their usual votes.
const VOTES: [(&str, f32); 4] = [("bilstm-attn", 0.5), ("trees", 0.5), ("logistic", 0.0), ("one-input", 0.0)];

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;

    fn error(text: &str, settings: &[&str]) -> String {
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        Config::parse(text, &settings).unwrap_err()
    }

    #[test]
    fn the_example_says_what_holds_without_it() {
        let example = include_str!("../../../models/train.toml");
        assert_eq!(Config::parse(example, &[]).unwrap(), Config::parse("", &[]).unwrap());
        // And it says all of it.
        let example: toml::Table = toml::from_str(example).unwrap();
        let whole: toml::Table = toml::from_str(&Config::parse("", &[]).unwrap().text()).unwrap();
        for (section, values) in &whole {
            for key in values.as_table().unwrap().keys() {
                assert!(example[section].as_table().unwrap().contains_key(key), "{section}.{key}");
            }
        }
    }

    #[test]
    fn it_reads_back() {
        let config = Config::parse("[network]\nhidden = [256, 128, 64]\n[votes]\ntrees = 1", &[]).unwrap();
        assert_eq!(config.votes["trees"], 1.0);
        assert_eq!(config.votes["bilstm-attn"], 0.5);
        assert_eq!(Config::parse(&config.text(), &[]).unwrap(), config);
    }

    #[test]
    fn settings_come_last() {
        let settings =
            ["network.dropout=0.5", "network.hidden=[8]", "data.table=a b/t.parquet", "votes.trees=0"]
                .map(str::to_owned);
        let config = Config::parse("[network]\ndropout = 0.1\nheads = 2", &settings).unwrap();
        assert_eq!((config.network.dropout, config.network.heads), (0.5, 2));
        assert_eq!(config.network.hidden, [8]);
        assert_eq!(config.data.table, Path::new("a b/t.parquet"));
        assert_eq!(config.votes["trees"], 0.0);
    }

    #[test]
    fn errors_say_where() {
        let unknown = error("[network]\nhidden = [8]\ndropuot = 0.1\n", &[]);
        assert!(
            unknown.contains("line 3, column 1") && unknown.contains("unknown field `dropuot`"),
            "{unknown}"
        );
        let kind = error("[window]\nsteps = \"many\"\n", &[]);
        assert!(kind.contains("line 2, column 9") && kind.contains("expected usize"), "{kind}");
        assert!(error("[window\n", &[]).contains("line 1"));
        assert_eq!(
            error("[window]\nsteps = 4\nstride = 9", &[]),
            "window.stride = 9: from 1 to 4 is allowed"
        );
        assert_eq!(
            error("[network]\nattention = 10", &[]),
            "network.attention = 10: a multiple of network.heads = 4 is needed"
        );
        assert_eq!(
            error("[data]\nvalidate = [\"train\"]", &[]),
            "split train is in data.train and in data.validate: networks would be on both sides"
        );
        assert!(
            error("[votes]\nforest = 1", &[])
                .starts_with("votes.forest: no such detector; there are bilstm-attn")
        );
        assert!(error("[attack_ids]\nbenign = \"T0\"", &[]).starts_with("attack_ids.benign: no such class"));
        assert_eq!(error("", &["nonsense"]), "--set nonsense: say key=value, network.dropout=0.3");
        assert!(
            error("", &["network.dropuot=1"]).starts_with("--set network.dropuot=1: unknown field `dropuot`")
        );
        assert_eq!(error("", &["model.name.x=1"]).lines().count(), 1);
        assert!(error("", &["optimiser.rate=nan"]).starts_with("optimiser.rate = NaN"));
    }
}
