//! Whether a manifest makes sense, before anything is built by it.
//!
//! In: a parsed manifest, and the table of inputs that this build computes. Out: nothing, or a sentence that names the first
//! key that is wrong, what is wrong with it, and where it is not plain, what to do. What passes can be relied upon:
//! lengths fit, orders hold, numbers are finite and within bounds.

use std::collections::BTreeSet;

use crate::ensemble::Vote;
use crate::manifest::{
    Calibration, DetectorKind, DetectorSpec, InputColumn, Inputs, Manifest, NetworkSpec, Thresholds,
    TreesSpec, Window,
};

/// Version of the manifest that this build reads and writes.
pub const FORMAT: u32 = 1;

/// The file of weights.
pub const WEIGHTS_FILE: &str = "model.safetensors";

/// The table of inputs that this build computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSchema<'a> {
    /// Its name.
    pub name: &'a str,
    /// SHA-256 over names and units.
    pub hash: &'a str,
    /// The names, in order.
    pub inputs: &'a [&'a str],
}

const CLASSES_MAX: usize = 64;
const COLUMNS_MAX: usize = 4_096;
/// Knots of an input.
const KNOTS_MAX: usize = 256;

const EDGES_MAX: usize = 256;
const STEPS_MAX: usize = 256;
const DEADLINE_US_MAX: u64 = 3_600_000_000;
const GAP_US_MAX: u64 = 7 * 86_400_000_000;
const LAYERS_MAX: usize = 8;
const UNITS_MAX: usize = 4_096;
const TREES_MAX: usize = 65_536;
const NAME_BYTES_MAX: usize = 55;

/// Checks everything but the schema of inputs.
pub(crate) fn check(manifest: &Manifest) -> Result<(), String> {
    let Manifest { format, id, classes, inputs, window, detectors, calibration, thresholds, weights, .. } =
        manifest;
    if *format != FORMAT {
        return Err(other_format(i64::from(*format)));
    }
    if !is_name(id) {
        return Err(format!("id {id:?}: {A_NAME}"));
    }
    check_classes(classes)?;
    check_attack_ids(manifest)?;
    check_columns(inputs)?;
    check_window(window)?;
    check_detectors(detectors)?;
    check_calibration(calibration)?;
    check_thresholds(thresholds, classes)?;
    if weights.file != WEIGHTS_FILE {
        return Err(format!("weights.file is {:?}; it is always {WEIGHTS_FILE}", weights.file));
    }
    if weights.sha256.len() != 64 || !weights.sha256.bytes().all(is_hex) {
        return Err("weights.sha256 is not 64 lower-case hex digits".to_owned());
    }
    if id.rsplit_once('-').is_none_or(|(name, digits)| name.is_empty() || digits != &weights.sha256[..8]) {
        let digits = &weights.sha256[..8];
        return Err(format!("id {id:?} does not end in the first digits of weights.sha256, -{digits}"));
    }
    Ok(())
}

/// Checks that the model reads what this build computes.
pub(crate) fn check_schema(inputs: &Inputs, schema: &InputSchema<'_>) -> Result<(), String> {
    const ADVICE: &str = "use the Tapline that it was trained with, or train again";
    if inputs.schema != schema.name {
        return Err(format!(
            "inputs.schema is {:?}, and this build computes {:?}; {ADVICE}",
            inputs.schema, schema.name
        ));
    }
    for (at, column) in inputs.columns.iter().enumerate() {
        if !schema.inputs.contains(&column.name.as_str()) {
            let name = &column.name;
            return Err(format!("inputs.columns[{at}]: this build computes no input {name:?}; {ADVICE}"));
        }
    }
    if inputs.schema_hash != schema.hash {
        return Err(format!(
            "inputs.schema_hash is {:?}, that of this build's {} is {:?}: names or units of inputs are others; {ADVICE}",
            inputs.schema_hash, schema.name, schema.hash
        ));
    }
    Ok(())
}

pub(crate) fn other_format(format: i64) -> String {
    let advice = if format > i64::from(FORMAT) { "use a newer Tapline" } else { "train again" };
    format!("format is {format}, and this build reads {FORMAT}; {advice}")
}

fn check_classes(classes: &[String]) -> Result<(), String> {
    if !(2..=CLASSES_MAX).contains(&classes.len()) {
        return Err(format!("classes: {} of them, 2 to {CLASSES_MAX} make sense", classes.len()));
    }
    let mut known = BTreeSet::new();
    for (at, class) in classes.iter().enumerate() {
        if !is_name(class) {
            return Err(format!("classes[{at}] is {class:?}: {A_NAME}"));
        }
        if !known.insert(class) {
            return Err(format!("classes[{at}]: {class:?} is there twice"));
        }
    }
    match classes.first() {
        Some(first) if first == BENIGN => Ok(()),
        first => Err(format!(
            "classes[0] is {:?}, and the first class is always {BENIGN:?}",
            first.map_or("", |c| c)
        )),
    }
}

fn check_attack_ids(manifest: &Manifest) -> Result<(), String> {
    for (class, id) in &manifest.attack_ids {
        if class == BENIGN || !manifest.classes.contains(class) {
            return Err(format!("attack_ids.{class}: there is no such hostile class"));
        }
        let digits =
            |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = id.strip_prefix('T').unwrap_or_default();
        let fits = match number.split_once('.') {
            Some((technique, part)) => digits(technique, 4) && digits(part, 3),
            None => digits(number, 4),
        };
        if !fits {
            return Err(format!("attack_ids.{class} is {id:?}; ATT&CK techniques are T1234 or T1234.001"));
        }
    }
    Ok(())
}

fn check_columns(inputs: &Inputs) -> Result<(), String> {
    let columns = &inputs.columns;
    if !(1..=COLUMNS_MAX).contains(&columns.len()) {
        return Err(format!("inputs.columns: {} of them, 1 to {COLUMNS_MAX} make sense", columns.len()));
    }
    let mut known = BTreeSet::new();
    for (at, column) in columns.iter().enumerate() {
        let InputColumn { name, center, scale, clip, knots, marks, edges, shares } = column;
        let wrong = |what: String| Err(format!("inputs.columns[{at}], {name:?}: {what}"));
        if !known.insert(name) {
            return wrong("it is there twice".to_owned());
        }
        if !center.is_finite() {
            return wrong(format!("center is {center}"));
        }
        for (key, value) in [("scale", scale), ("clip", clip)] {
            if !value.is_finite() || *value <= 0.0 {
                return wrong(format!("{key} is {value}; it is finite and greater than 0"));
            }
        }
        if knots.len() != marks.len() || knots.len() > KNOTS_MAX || knots.len() == 1 {
            return wrong(format!(
                "{} knots with {} marks; there are as many, none or 2 to {KNOTS_MAX}",
                knots.len(),
                marks.len()
            ));
        }
        for (key, values) in [("knots", knots), ("marks", marks)] {
            if values.iter().any(|value| !value.is_finite()) || !values.is_sorted_by(|a, b| a < b) {
                return wrong(format!("{key} are not finite or do not ascend"));
            }
        }
        if edges.len() > EDGES_MAX {
            return wrong(format!("{} edges, at most {EDGES_MAX}", edges.len()));
        }
        if let Some(edge) = edges.iter().find(|edge| !edge.is_finite()) {
            return wrong(format!("an edge is {edge}"));
        }
        if !edges.is_sorted() {
            return wrong("edges do not ascend".to_owned());
        }
        if shares.len() != edges.len() + 1 {
            return wrong(format!("{} shares for {} edges; there is one more", shares.len(), edges.len()));
        }
        if let Some(share) = shares.iter().find(|share| !(0.0..=1.0).contains(*share)) {
            return wrong(format!("a share is {share}"));
        }
        let sum: f32 = shares.iter().sum();
        if (sum - 1.0).abs() > 1e-3 {
            return wrong(format!("shares add up to {sum}, not to 1"));
        }
    }
    Ok(())
}

fn check_window(window: &Window) -> Result<(), String> {
    let Window { steps, stride, deadline_us, computed_at_most, padding } = window;
    if !(1..=STEPS_MAX).contains(steps) {
        return Err(format!("window.steps is {steps}; 1 to {STEPS_MAX} are possible"));
    }
    for (key, value) in [("stride", stride), ("computed_at_most", computed_at_most)] {
        if !(1..=*steps).contains(value) {
            return Err(format!("window.{key} is {value}; with {steps} steps, 1 to {steps} are possible"));
        }
    }
    if *deadline_us > DEADLINE_US_MAX {
        return Err(format!(
            "window.deadline_us is {deadline_us}; at most {DEADLINE_US_MAX}, an hour, is possible"
        ));
    }
    if padding != "left" {
        return Err(format!("window.padding is {padding:?}; this build pads \"left\""));
    }
    Ok(())
}

fn check_detectors(detectors: &[DetectorSpec]) -> Result<(), String> {
    let mut known = BTreeSet::new();
    for (at, DetectorSpec { vote, kind }) in detectors.iter().enumerate() {
        let name = kind.name();
        if !known.insert(name) {
            return Err(format!("detectors[{at}]: {name} is there twice, and would share its tensors"));
        }
        let Vote { share, asked_from } = vote;
        if !share.is_finite() || *share < 0.0 {
            return Err(format!("detectors[{at}].vote is {share}; it is finite and not negative"));
        }
        if let Some(from) = asked_from.filter(|from| !from.is_finite()) {
            return Err(format!("detectors[{at}].asked_from is {from}; it is finite"));
        }
        let wrong = match kind {
            DetectorKind::BilstmAttn(spec) => check_network(spec),
            DetectorKind::Trees(TreesSpec { method, trees }) => match (method.as_str(), trees) {
                ("boosted" | "forest", 1..=TREES_MAX) => Ok(()),
                ("boosted" | "forest", _) => Err(format!("trees is {trees}; 1 to {TREES_MAX} are possible")),
                _ => Err(format!("method is {method:?}; there are \"boosted\" and \"forest\"")),
            },
            DetectorKind::Logistic | DetectorKind::OneInput => Ok(()),
        };
        wrong.map_err(|what| format!("detectors[{at}], {name}: {what}"))?;
    }
    let mut voters = detectors.iter().filter(|detector| detector.vote.share > 0.0).peekable();
    if voters.peek().is_none() {
        return Err("detectors: none has a vote greater than 0, so nothing would be detected".to_owned());
    }
    if voters.all(|detector| detector.vote.asked_from.is_some()) {
        return Err("detectors: all that vote have asked_from, so none would be asked first".to_owned());
    }
    Ok(())
}

fn check_network(spec: &NetworkSpec) -> Result<(), String> {
    let NetworkSpec { hidden, heads, attention, norm, dropout } = spec;
    if !(1..=LAYERS_MAX).contains(&hidden.len())
        || !hidden.iter().all(|units| (1..=UNITS_MAX).contains(units))
    {
        return Err(format!(
            "hidden is {hidden:?}; 1 to {LAYERS_MAX} layers of 1 to {UNITS_MAX} units are possible"
        ));
    }
    if !(1..=UNITS_MAX).contains(attention) || *heads == 0 || !attention.is_multiple_of(*heads) {
        return Err(format!("attention, {attention}, is no multiple of heads, {heads}, up to {UNITS_MAX}"));
    }
    if !matches!(norm.as_str(), "layer" | "batch") {
        return Err(format!("norm is {norm:?}; there are \"layer\" and \"batch\""));
    }
    if !(0.0..1.0).contains(dropout) {
        return Err(format!("dropout is {dropout}; it is at least 0 and less than 1"));
    }
    Ok(())
}

fn check_calibration(calibration: &Calibration) -> Result<(), String> {
    const ADVICE: &str = "calibrate again";
    let Calibration { temperature, benign_flows, benign_span_s, scores, ranks, .. } = calibration;
    if !temperature.is_finite() || *temperature <= 0.0 {
        return Err(format!("calibration.temperature is {temperature}; it is finite and greater than 0"));
    }
    if !benign_span_s.is_finite() || *benign_span_s < 0.0 {
        return Err(format!("calibration.benign_span_s is {benign_span_s}; it is finite and not negative"));
    }
    if scores.is_empty() {
        return Err(format!("calibration.scores is empty; {ADVICE}"));
    }
    if scores.len() != ranks.len() {
        let (scores, ranks) = (scores.len(), ranks.len());
        return Err(format!("calibration: {scores} scores, but {ranks} ranks; {ADVICE}"));
    }
    if let Some(at) = scores.iter().position(|score| !score.is_finite()) {
        return Err(format!("calibration.scores[{at}] is {}; {ADVICE}", scores[at]));
    }
    if let Some(at) = scores.windows(2).position(|pair| pair[0] >= pair[1]) {
        return Err(format!("calibration.scores do not ascend at {}; {ADVICE}", at + 1));
    }
    if let Some(at) = ranks.windows(2).position(|pair| pair[0] < pair[1]) {
        return Err(format!("calibration.ranks do not descend at {}; {ADVICE}", at + 1));
    }
    if ranks[0] != *benign_flows || ranks[ranks.len() - 1] == 0 {
        return Err(format!(
            "calibration.ranks go from {} to {}; they go from benign_flows, {benign_flows}, to 1 or more; {ADVICE}",
            ranks[0],
            ranks[ranks.len() - 1]
        ));
    }
    Ok(())
}

fn check_thresholds(thresholds: &Thresholds, classes: &[String]) -> Result<(), String> {
    let Thresholds { investigate, detect, block, alert_evidence, alert_flows, incident_gap_us, budget } =
        thresholds;
    for (key, value) in [("investigate", investigate), ("detect", detect), ("block", block)] {
        if !value.is_finite() {
            return Err(format!("thresholds.{key} is {value}"));
        }
    }
    if investigate > detect || detect > block {
        return Err(format!(
            "thresholds: investigate {investigate}, detect {detect}, block {block}; none is less than the one before it"
        ));
    }
    if !alert_evidence.is_finite() || *alert_evidence < 0.0 {
        return Err(format!("thresholds.alert_evidence is {alert_evidence}; it is finite and not negative"));
    }
    for (class, flows) in alert_flows {
        if class == BENIGN || !classes.contains(class) {
            return Err(format!("thresholds.alert_flows.{class}: there is no such hostile class"));
        }
        if *flows == 0 {
            return Err(format!("thresholds.alert_flows.{class} is 0; it is 1 or more"));
        }
    }
    if !(1..=GAP_US_MAX).contains(incident_gap_us) {
        return Err(format!(
            "thresholds.incident_gap_us is {incident_gap_us}; 1 to {GAP_US_MAX}, a week, are possible"
        ));
    }
    for (at, point) in budget.iter().enumerate() {
        let sane = |value: f64| value.is_finite() && value >= 0.0;
        if !sane(f64::from(point.alert_evidence)) || !sane(point.alerts_per_day) {
            let (evidence, alerts) = (point.alert_evidence, point.alerts_per_day);
            return Err(format!(
                "thresholds.budget[{at}]: alert_evidence {evidence}, alerts_per_day {alerts}"
            ));
        }
    }
    let falls = |pair: &[crate::manifest::BudgetPoint]| {
        pair[0].alert_evidence < pair[1].alert_evidence && pair[0].alerts_per_day >= pair[1].alerts_per_day
    };
    match budget.windows(2).position(|pair| !falls(pair)) {
        Some(at) => Err(format!(
            "thresholds.budget[{}]: alert_evidence grows from point to point, and alerts_per_day does not",
            at + 1
        )),
        None => Ok(()),
    }
}

/// Names travel in rows, alerts and labels of metrics.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain)
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

const BENIGN: &str = "benign";
const A_NAME: &str = "names have 1 to 55 letters, digits, hyphens, underscores and dots";
