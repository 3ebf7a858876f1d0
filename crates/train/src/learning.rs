//! What a model learns on a network of its own: `tapline learn`.
//!
//! ```text
//!  model, ordinary flows ─► shift of inputs ─► [head, by few labels] ─► judged anew ─► p-values, points, budget ─► another directory
//! ```
//!
//! In: a loaded model, a table of flows of one network that are taken for benign, perhaps some with labels. Out: a new model
//! directory; what is there is never touched. Weights of trees and of the network's body stay as they are: a quiet week of
//! one network is no reason to forget attacks.
//!
//! What each part means:
//! * Shift: the centre of each input moves towards the network's own median, by a share, and by one interquartile
//!   range at most.
//! * p-values: from now on against the flows of this network.
//! * Points: the scores that only a given share of these flows reaches. Where there are too few flows to tell, the tail is taken for an
//!   exponential one, as excesses of log-odds nearly are (Pickands 1975). Never below the model's own: learnt from a quiet night, lower
//!   points called forty times as many flows of the next day hostile.
//! * Head: the last two maps of `bilstm-attn` are trained on, with small steps, on the labelled flows and the ordinary ones.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use tapline_score::manifest::{Calibration, DetectorKind, Manifest};
use tapline_score::model_dir::{LoadedModel, ModelDir};
use tapline_score::tensors::{Numbers, StoredTensor};
use tapline_score::thresholds::{OperatingPoint, Rates, budget_points, evidence_grid, within_budget};

use crate::alerts::{BenignEvidence, span_s};
use crate::judge::{Voter, judge_in_teams};
use crate::judgement::Judgement;
use crate::learner::Learner;
use crate::losses::ClassLoss;
use crate::scaling;
use crate::training::{Material, Unwatched, train};
use crate::{Config, Table, TrainError, Windows};

/// The behaviour of flows about which nobody said anything.
pub const UNLABELLED: &str = "unlabelled";

/// Ordinary flows without which nothing can be learnt.
pub const FLOWS_MIN: usize = 100;

/// Shares of ordinary flows that may reach each point: as those that models are made with.
pub const RATES: Rates = Rates { investigate: 1e-2, detect: 1e-3, block: 1e-4 };

/// What is to be learnt.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// From which model.
    pub model: &'a LoadedModel,
    /// Flows of the network. Hostile ones are labels; all others are taken for benign.
    pub table: &'a Table,
    /// Which of them, ascending.
    pub rows: &'a [u32],
    /// How far centres move towards the network's own medians: 0 to 1.
    pub shift: f32,
    /// Shares of ordinary flows that may reach each point.
    pub rates: Rates,
    /// Alerts a day on ordinary traffic.
    pub alerts_per_day: f64,
    /// Threads that judge.
    pub threads: usize,
    /// The command, for the card.
    pub command: &'a str,
}

/// What was learnt.
#[derive(Clone, Debug)]
pub struct Learnt {
    /// Id of the new model.
    pub id: String,
    /// Ordinary flows, and flows with a hostile label.
    pub flows: [usize; 2],
    /// Seconds that they span.
    pub span_s: f64,
    /// Shares of the ordinary flows that reached investigate, detect and block of the old model.
    pub before: [f64; 3],
    /// Scores of the points: the old ones, the new ones.
    pub points: [[f32; 3]; 2],
    /// Evidence that an alert needs, before and now.
    pub alert_evidence: [f32; 2],
    /// Points for which there were too few flows, by name.
    pub extrapolated: Vec<&'static str>,
}

/// Learns, and writes the new model to `out`, which must not be there yet.
///
/// # Errors
///
/// Those of [`adapt`], or the directory is there or cannot be written.
pub fn learn(order: &Order<'_>, out: &Path) -> Result<Learnt, TrainError> {
    let (changed, tensors, learnt) = adapt(order)?;
    let readme = readme(order.model, &learnt, order);
    ModelDir::new(out).write(changed.manifest, &tensors, &readme)?;
    Ok(learnt)
}

/// Learns. Gives the new model and its tensors.
///
/// # Errors
///
/// There are too few flows, or the table lacks an input of the model.
pub fn adapt(order: &Order<'_>) -> Result<(LoadedModel, Vec<StoredTensor>, Learnt), TrainError> {
    let Order { model, table, rows, .. } = *order;
    let (hostile, benign): (Vec<u32>, Vec<u32>) = rows.iter().partition(|row| table.hostile[**row as usize]);
    if benign.len() < FLOWS_MIN {
        return Err(TrainError::Data {
            reason: format!(
                "{} ordinary flows are too few to learn from: at least {FLOWS_MIN} are needed, and days of them are better",
                benign.len()
            ),
        });
    }
    let old = judged(order, model, &benign)?;
    let old_scores: Vec<f32> = scores(&old, table, &model.manifest);
    let thresholds = &model.manifest.thresholds;
    let old_points = [thresholds.investigate, thresholds.detect, thresholds.block];
    let before = old_points.map(|point| share_at(&old_scores, point));

    let mut manifest = model.manifest.clone();
    scaling::shift(&mut manifest.inputs, table, &benign, order.shift)
        .map_err(|unknown| TrainError::Data { reason: unknown.to_string() })?;
    let mut tensors = model.tensors()?;
    if !hostile.is_empty() {
        let labelled: Vec<u32> =
            rows.iter().copied().filter(|row| table.behaviour.name(*row as usize) != UNLABELLED).collect();
        train_head(&manifest, &mut tensors, table, rows, &labelled)?;
    }
    let mut changed = model.changed(manifest.clone(), &tensors)?;
    let judgement = judged(order, &changed, &benign)?;

    let scores = scores(&judgement, table, &manifest);
    let span_s = span_s(table, &benign);
    let points = set_points(&mut manifest, order.rates, scores, span_s)?;
    let evidence = BenignEvidence::of(table, &benign, &judgement.logits, &manifest);
    let budget = budget_points(evidence_grid(), |at| evidence.alerts_per_day(&manifest, at));
    // As with points: a quiet period makes nobody bolder.
    let least = thresholds.alert_evidence;
    let point = within_budget(&budget, order.alerts_per_day).or_else(|| budget.last().copied());
    if let Some(point) = point {
        manifest.thresholds.alert_evidence = point.alert_evidence.max(least);
    }
    manifest.thresholds.budget = budget;
    for (key, value) in [
        ("learnt_from_model", model.manifest.id.clone()),
        ("learnt_command", order.command.to_owned()),
        ("learnt_flows", benign.len().to_string()),
        ("learnt_labels", hostile.len().to_string()),
        ("learnt_span_s", format!("{span_s:.0}")),
        ("learnt_shift", order.shift.to_string()),
    ] {
        manifest.card.insert(key.to_owned(), value);
    }
    let new = &manifest.thresholds;
    let learnt = Learnt {
        id: changed.manifest.id.clone(),
        flows: [benign.len(), hostile.len()],
        span_s,
        before,
        points: [old_points, [new.investigate, new.detect, new.block]],
        alert_evidence: [thresholds.alert_evidence, new.alert_evidence],
        extrapolated: points,
    };
    manifest.id = changed.manifest.id.clone();
    manifest.weights = changed.manifest.weights.clone();
    changed.manifest = manifest;
    Ok((changed, tensors, learnt))
}

fn judged(order: &Order<'_>, model: &LoadedModel, rows: &[u32]) -> Result<Judgement, TrainError> {
    let team = |_| Voter::of_model(model, |spec| spec.vote.share > 0.0);
    let mut teams = (0..order.threads.max(1)).map(team).collect::<Result<Vec<_>, _>>()?;
    let logits = judge_in_teams(order.table, rows, &model.manifest, &mut teams, &|_, _| {})?;
    Ok(Judgement { rows: rows.to_vec(), logits: logits.vote() })
}

fn scores(judgement: &Judgement, table: &Table, manifest: &Manifest) -> Vec<f32> {
    judgement.judged(table, manifest.calibration.temperature).iter().map(|row| row.score).collect()
}

fn share_at(scores: &[f32], point: f32) -> f64 {
    scores.iter().filter(|score| **score >= point).count() as f64 / scores.len().max(1) as f64
}

/// Sets p-values and points by scores of ordinary flows. Gives the points for which there were too few of them.
fn set_points(
    manifest: &mut Manifest,
    rates: Rates,
    scores: Vec<f32>,
    span_s: f64,
) -> Result<Vec<&'static str>, TrainError> {
    let failed =
        |error: tapline_score::CalibrationError| TrainError::Data { reason: format!("calibrating: {error}") };
    let mut descending = scores.clone();
    descending.sort_unstable_by(|a, b| b.total_cmp(a));
    let temperature = manifest.calibration.temperature;
    manifest.calibration =
        Calibration::from_benign_scores(scores, temperature, "learnt", span_s).map_err(failed)?;
    let Manifest { calibration, thresholds, .. } = manifest;
    let mut extrapolated = Vec::new();
    let mut least = f32::NEG_INFINITY;
    for (name, rate, point) in [
        ("investigate", rates.investigate, &mut thresholds.investigate),
        ("detect", rates.detect, &mut thresholds.detect),
        ("block", rates.block, &mut thresholds.block),
    ] {
        let told = OperatingPoint::new(calibration, rate);
        let learnt = if told.is_resolved() {
            told.score
        } else {
            extrapolated.push(name);
            tail_score(&descending, rate)
        };
        // A quiet period makes nobody bolder: the next day may be loud.
        *point = learnt.max(*point).max(least);
        least = *point;
    }
    Ok(extrapolated)
}

/// The score that a share `rate` of flows reaches, if the highest of `descending` scores lie as in an exponential tail.
fn tail_score(descending: &[f32], rate: f64) -> f32 {
    let flows = descending.len();
    let above = (flows / 10).clamp(1, TAIL_FLOWS).min(flows - 1).max(1);
    let from = descending[above.min(flows - 1)];
    let excess = descending[..above].iter().map(|score| f64::from(score - from)).sum::<f64>() / above as f64;
    let beyond = (above as f64 / (flows as f64 * rate)).ln().max(0.0);
    from + (excess * beyond) as f32
}

/// Highest scores by which a tail is judged, at most.
const TAIL_FLOWS: usize = 100;

/// Trains the head of the network, if there is one, on labelled and ordinary flows.
fn train_head(
    manifest: &Manifest,
    tensors: &mut [StoredTensor],
    table: &Table,
    rows: &[u32],
    labelled: &[u32],
) -> Result<(), TrainError> {
    let network = manifest.detectors.iter().find_map(|spec| match &spec.kind {
        DetectorKind::BilstmAttn(network) => Some(network),
        _ => None,
    });
    let Some(spec) = network else {
        return Err(TrainError::Data {
            reason: "labels train the head of bilstm-attn, which this model lacks".to_owned(),
        });
    };
    let device = Device::Cpu;
    let learner = Learner::new(spec, manifest.inputs.columns.len(), 1, &device)?;
    let of_network = |tensor: &&mut StoredTensor| learner.variables().contains_key(&tensor.name);
    for tensor in tensors.iter_mut().filter(of_network) {
        if let Numbers::F32(numbers) = &tensor.numbers {
            let values = Tensor::from_slice(numbers, tensor.shape.as_slice(), &device)?;
            learner.variables()[&tensor.name].set(&values)?;
        }
    }
    let head: BTreeMap<_, _> = learner
        .variables()
        .iter()
        .filter(|(name, _)| name.contains(".head."))
        .map(|(name, variable)| (name.clone(), variable.clone()))
        .collect();
    let cells = scaling::scale(table, &manifest.inputs)
        .map_err(|unknown| TrainError::Data { reason: unknown.to_string() })?;
    let names: Vec<String> = manifest.inputs.columns.iter().map(|column| column.name.clone()).collect();
    let (train_windows, validate) =
        (Windows::of(table, rows, &manifest.window), Windows::of(table, labelled, &manifest.window));
    let mut config = Config::default();
    // Few and small steps: few labels are soon learnt by heart.
    config.schedule.epochs = 3;
    config.schedule.warmup_steps = 20;
    config.sampler.batches = 30;
    config.optimiser.rate = 1e-4;
    config.loss.kind = ClassLoss::CrossEntropy;
    config.loss.class_weight_at_most = 0.25;
    config.loss.reconstruction = 0.0;
    config.augmentation.drop_group = 0.0;
    config.augmentation.drop_input = 0.0;
    let material = Material {
        table,
        inputs: &names,
        cells: &cells,
        train: &train_windows,
        validate: &validate,
        device: &device,
    };
    train(&learner, &head, material, &config.training(String::new()), None, false, &mut Unwatched)?;
    for tensor in tensors.iter_mut().filter(|tensor| head.contains_key(&tensor.name)) {
        tensor.numbers = Numbers::F32(head[&tensor.name].flatten_all()?.to_vec1::<f32>()?);
    }
    Ok(())
}

fn readme(model: &LoadedModel, learnt: &Learnt, order: &Order<'_>) -> String {
    let [benign, hostile] = learnt.flows;
    let [old, new] = learnt.points;
    let mut text = format!(
        "# {}, learnt on a network of its own\n\n\
         Inputs, p-values and thresholds of {} were set anew by {benign} ordinary flows ({:.1} hours) and {hostile} labelled ones:\n\n\
         ```sh\n{}\n```\n\n| point | was | reached by so many ordinary flows | is |\n|---|---:|---:|---:|\n",
        model.manifest.id.split('-').next().unwrap_or_default(),
        model.manifest.id,
        learnt.span_s / 3600.0,
        order.command,
    );
    for (at, name) in ["investigate", "detect", "block"].iter().enumerate() {
        let mark = if learnt.extrapolated.contains(name) { " (too few flows: extrapolated)" } else { "" };
        text.push_str(&format!(
            "| {name} | {:.2} | {:.5} | {:.2}{mark} |\n",
            old[at], learnt.before[at], new[at]
        ));
    }
    text.push_str("\nWhat the model is, and what it cannot see, is told by the README of the model that it comes from.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exponential_tail_is_continued() {
        // Scores whose survival function is exp(-x): the quantile of rate r is -ln r.
        let flows = 2_000;
        let descending: Vec<f32> =
            (1..=flows).map(|rank| -(((rank as f64 - 0.5) / flows as f64).ln()) as f32).collect();
        for rate in [1e-4, 1e-5] {
            let (found, right) = (f64::from(tail_score(&descending, rate)), -rate.ln());
            assert!((found - right).abs() < 0.4, "{rate}: {found}, not {right}");
        }
        // Scores that are all the same have no tail.
        assert!((tail_score(&[2.0; 150], 1e-4) - 2.0).abs() < 1e-6);
    }
}
