//! `model.toml`: everything that is known about a model but its weights.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ensemble::Vote;

/// The manifest of a model directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format; 1.
    pub format: u32,
    /// Name of the model, as verdicts carry it: name and the first 8 digits of the weights' SHA-256 (`default-1f2e3d4c`).
    pub id: String,
    /// Class names; the first is benign.
    pub classes: Vec<String>,
    /// ATT&CK technique of each class, by class name.
    pub attack_ids: BTreeMap<String, String>,
    /// What the model reads.
    pub inputs: Inputs,
    /// How flows become windows.
    pub window: Window,
    /// What it computes, and with which weight each part of it votes.
    pub detectors: Vec<DetectorSpec>,
    /// From logits to probabilities and p-values.
    pub calibration: Calibration,
    /// When to speak.
    pub thresholds: Thresholds,
    /// The weights.
    pub weights: Weights,
    /// Facts about the training, for people: command, data, seeds, dates, figures.
    pub card: BTreeMap<String, String>,
}

/// The selected inputs, in order, with their scaling and training histograms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// Name of the table of inputs, `inputs-1`.
    pub schema: String,
    /// SHA-256 over names and units of the whole table, as `tapline features inputs` prints it.
    pub schema_hash: String,
    /// One per selected input.
    pub columns: Vec<InputColumn>,
}

/// One selected input. Scaled value: `((value - center) / scale)` clamped to `[-clip, clip]`; or, if there are knots, what
/// lies between their marks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputColumn {
    /// Name in the table of inputs.
    pub name: String,
    /// Median of the training rows.
    pub center: f32,
    /// Interquartile range of the training rows, or 1 where that is 0.
    pub scale: f32,
    /// Bound of the scaled value.
    pub clip: f32,
    /// Values at which the scaled value is known, ascending: quantiles of the training rows. Between two of them it goes straight, beyond
    /// the outermost it stays. Empty for plain scaling.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub knots: Vec<f32>,
    /// Scaled values at the knots, ascending; 0 at the centre.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<f32>,
    /// Inner edges of the histogram of the scaled value over benign training rows, ascending. A value on an edge counts
    /// above it.
    pub edges: Vec<f32>,
    /// Share of benign training rows in each bin: one more than edges.
    pub shares: Vec<f32>,
}

/// How the flows of a host become windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Steps at most.
    pub steps: usize,
    /// A window closes when so many flows wait.
    pub stride: usize,
    /// Or when the first of them has waited so long, in packet time.
    pub deadline_us: u64,
    /// How often a flow is computed at most: once waiting, the other times as history of later windows.
    pub computed_at_most: usize,
    /// Which steps of a rectangle are padding: `left`.
    pub padding: String,
}

/// One detector of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "DetectorText", into = "DetectorText")]
pub struct DetectorSpec {
    /// When it is asked, and what its word weighs.
    pub vote: Vote,
    /// The kind and its shape. Its tensors have the prefix `<kind>.`.
    pub kind: DetectorKind,
}

/// The kinds of detectors.
#[derive(Clone, Debug, PartialEq)]
pub enum DetectorKind {
    /// Bidirectional LSTM layers, self-attention, logits per flow.
    BilstmAttn(NetworkSpec),
    /// Gradient-boosted or bagged trees over one flow's inputs.
    Trees(TreesSpec),
    /// Multinomial logistic regression over one flow's inputs.
    Logistic,
    /// One input, one threshold: the bar that everything must clear.
    OneInput,
}

impl DetectorKind {
    /// Its name in the manifest, and the prefix of its tensors.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BilstmAttn(_) => "bilstm-attn",
            Self::Trees(_) => "trees",
            Self::Logistic => "logistic",
            Self::OneInput => "one-input",
        }
    }
}

/// Shape of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Units of each bidirectional layer, per direction.
    pub hidden: Vec<usize>,
    /// Attention heads.
    pub heads: usize,
    /// Model width of the attention; a multiple of `heads`.
    pub attention: usize,
    /// `layer` or `batch`.
    pub norm: String,
    /// Share of units left out in training.
    pub dropout: f32,
}

/// Shape of the trees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TreesSpec {
    /// `boosted` (leaf values are added to logits) or `forest` (leaf values are class shares, averaged).
    pub method: String,
    /// Trees.
    pub trees: usize,
}

/// From logits to probabilities and p-values.
///
/// The score of a flow is its log-odds of being hostile: `ln(sum of hostile p) - ln(p of benign)` after temperature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Logits are divided by it.
    pub temperature: f32,
    /// Where the benign scores come from: `validation`, or the operator's own traffic after `tapline learn`.
    pub source: String,
    /// Benign flows that were scored.
    pub benign_flows: u64,
    /// Packet time that they span, in seconds.
    pub benign_span_s: f64,
    /// Ascending scores of benign flows at `ranks`: the lowest, some of the others, and every one up to rank 4096.
    pub scores: Vec<f32>,
    /// How many of the benign flows score at least as high; none greater than the one before it, the last 1 or more.
    pub ranks: Vec<u64>,
}

/// When to speak: the three operating points, and what they cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// Score from which a flow counts as evidence.
    pub investigate: f32,
    /// Score from which it raises an incident by itself if the evidence suffices.
    pub detect: f32,
    /// Score from which blocking would be defensible.
    pub block: f32,
    /// Evidence (sum of `-log10 p-value` over flows of the incident at or above `investigate`) that makes an incident
    /// an alert.
    pub alert_evidence: f32,
    /// Flows that an alert needs at least, by class name; 1 where nothing is said.
    pub alert_flows: BTreeMap<String, u32>,
    /// A quiet time that ends an incident, in packet time.
    pub incident_gap_us: u64,
    /// Alerts a day on the calibration's benign flows, for growing `alert_evidence`.
    pub budget: Vec<BudgetPoint>,
}

/// What an evidence threshold costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetPoint {
    /// The threshold.
    pub alert_evidence: f32,
    /// Alerts a day.
    pub alerts_per_day: f64,
}

/// The file of weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// File name within the directory, `model.safetensors`.
    pub file: String,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
}

/// A detector as it is written: one table, whose keys depend on the kind. Serde cannot refuse unknown keys of a tagged
/// enum in a flattened field.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DetectorText {
    kind: String,
    vote: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked_from: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heads: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attention: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    norm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropout: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trees: Option<usize>,
}

impl From<DetectorSpec> for DetectorText {
    fn from(spec: DetectorSpec) -> Self {
        let Vote { share, asked_from } = spec.vote;
        let text = Self { kind: spec.kind.name().to_owned(), vote: share, asked_from, ..Self::default() };
        match spec.kind {
            DetectorKind::BilstmAttn(NetworkSpec { hidden, heads, attention, norm, dropout }) => Self {
                hidden: Some(hidden),
                heads: Some(heads),
                attention: Some(attention),
                norm: Some(norm),
                dropout: Some(dropout),
                ..text
            },
            DetectorKind::Trees(TreesSpec { method, trees }) => {
                Self { method: Some(method), trees: Some(trees), ..text }
            }
            DetectorKind::Logistic | DetectorKind::OneInput => text,
        }
    }
}

impl TryFrom<DetectorText> for DetectorSpec {
    type Error = String;

    fn try_from(mut text: DetectorText) -> Result<Self, String> {
        let name = std::mem::take(&mut text.kind);
        let missing = |key: &str| format!("a detector {name} needs `{key}`");
        let kind = match name.as_str() {
            "bilstm-attn" => DetectorKind::BilstmAttn(NetworkSpec {
                hidden: text.hidden.take().ok_or_else(|| missing("hidden"))?,
                heads: text.heads.take().ok_or_else(|| missing("heads"))?,
                attention: text.attention.take().ok_or_else(|| missing("attention"))?,
                norm: text.norm.take().ok_or_else(|| missing("norm"))?,
                dropout: text.dropout.take().ok_or_else(|| missing("dropout"))?,
            }),
            "trees" => DetectorKind::Trees(TreesSpec {
                method: text.method.take().ok_or_else(|| missing("method"))?,
                trees: text.trees.take().ok_or_else(|| missing("trees"))?,
            }),
            "logistic" => DetectorKind::Logistic,
            "one-input" => DetectorKind::OneInput,
            _ => {
                return Err(format!(
                    "there is no detector `{name}`; there are bilstm-attn, trees, logistic and one-input"
                ));
            }
        };
        // What was not taken does not belong to this kind.
        let DetectorText { hidden, heads, attention, norm, dropout, method, trees, .. } = text;
        let left = [
            ("hidden", hidden.is_some()),
            ("heads", heads.is_some()),
            ("attention", attention.is_some()),
            ("norm", norm.is_some()),
            ("dropout", dropout.is_some()),
            ("method", method.is_some()),
            ("trees", trees.is_some()),
        ];
        match left.into_iter().find(|(_, is_left)| *is_left) {
            Some((key, _)) => Err(format!("a detector {name} has no `{key}`")),
            None => Ok(Self { vote: Vote { share: text.vote, asked_from: text.asked_from }, kind }),
        }
    }
}
