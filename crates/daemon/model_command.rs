//! `tapline model`: what a model directory holds, and whether it may be used.
//!
//! In: model directories. Out: a description for people or as JSON, or one line per directory. Every model is checked whole,
//! as before scoring.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use serde_json::{Value, json};
use tapline_features::inputs::INPUTS;
use tapline_score::manifest::{BudgetPoint, DetectorKind, DetectorSpec, Manifest, NetworkSpec, TreesSpec};
use tapline_score::thresholds::within_budget;
use tapline_score::{LoadedModel, Vote};

use crate::cli::ModelCommand;
use crate::exit::{Code, Failure};
use crate::model::{load, open};
use crate::print;

pub(crate) fn run(command: &ModelCommand) -> Result<(), Failure> {
    match command {
        ModelCommand::Info { dir, json } => info(dir, *json),
        ModelCommand::Verify { dirs } => verify(dirs),
    }
}

fn info(dir: &Path, as_json: bool) -> Result<(), Failure> {
    let model = open(dir)?;
    let text = if as_json { json_text(&model)? } else { text(&model) };
    print(text.as_bytes())
}

fn verify(dirs: &[PathBuf]) -> Result<(), Failure> {
    let mut refused = 0;
    for dir in dirs {
        let line = match load(dir) {
            Ok(model) => format!("{}: ok, {}\n", dir.display(), model.manifest.id),
            Err(error) => {
                refused += 1;
                format!("{}: refused: {error}\n", dir.display())
            }
        };
        print(line.as_bytes())?;
    }
    match refused {
        0 => Ok(()),
        _ => Err(Failure::new(Code::Data, anyhow!("{refused} of {} models refused", dirs.len()))),
    }
}

/// Budgets that people ask for.
const ALERTS_PER_DAY: [f64; 9] = [100.0, 50.0, 20.0, 10.0, 5.0, 2.0, 1.0, 0.2, 0.0];

/// The manifest without the long lists of its calibration, and what follows from it.
fn json_text(model: &LoadedModel) -> Result<String, Failure> {
    let manifest = &model.manifest;
    let fault = |error: serde_json::Error| Failure::new(Code::Software, error);
    // By way of text, where floats of 32 bits have their own digits.
    let mut value: Value =
        serde_json::to_string(manifest).and_then(|text| serde_json::from_str(&text)).map_err(fault)?;
    if let Some(calibration) = value.get_mut("calibration").and_then(Value::as_object_mut) {
        calibration.remove("scores");
        calibration.remove("ranks");
    }
    if let Some(detectors) = value.get_mut("detectors").and_then(Value::as_array_mut) {
        for (detector, parameters) in detectors.iter_mut().zip(model.parameters()) {
            detector["parameters"] = json!(parameters);
        }
    }
    for (name, score) in points(manifest) {
        value["operating_points"][name] =
            json!({ "score": score, "p_value": manifest.calibration.p_value(score) });
    }
    let mut text = serde_json::to_string_pretty(&value).map_err(fault)?;
    text.push('\n');
    Ok(text)
}

fn text(model: &LoadedModel) -> String {
    let Manifest {
        id,
        classes,
        attack_ids,
        inputs,
        window,
        detectors,
        calibration,
        thresholds,
        weights,
        card,
        ..
    } = &model.manifest;
    let mut out = format!("{id}\n\n");
    let classes: Vec<String> = classes
        .iter()
        .map(|class| {
            attack_ids.get(class).map_or_else(|| class.clone(), |attack_id| format!("{class} ({attack_id})"))
        })
        .collect();
    list(&mut out, "classes", &classes);
    let names: Vec<String> = inputs.columns.iter().map(|column| column.name.clone()).collect();
    line(
        &mut out,
        "inputs",
        &format!("{} of {}, {} to choose from:", names.len(), inputs.schema, INPUTS.len()),
    );
    list(&mut out, "", &names);
    line(
        &mut out,
        "window",
        &format!(
            "{} flows of a host at most, judged when {} wait or after {:?}; each flow is computed {} times at most",
            window.steps,
            window.stride,
            Duration::from_micros(window.deadline_us),
            window.computed_at_most
        ),
    );
    for (at, (spec, parameters)) in detectors.iter().zip(model.parameters()).enumerate() {
        line(&mut out, if at == 0 { "detectors" } else { "" }, &detector_text(spec, parameters));
    }
    line(&mut out, "weights", &format!("{}, SHA-256 {}", weights.file, weights.sha256));
    line(
        &mut out,
        "calibration",
        &format!(
            "{} benign flows of {:.1} hours ({}); temperature {:.3}",
            calibration.benign_flows,
            calibration.benign_span_s / 3_600.0,
            calibration.source,
            calibration.temperature
        ),
    );
    for (at, (name, score)) in points(&model.manifest).into_iter().enumerate() {
        let p_value = calibration.p_value(score);
        let text = format!("{name:<11} from score {score:.3}: one benign flow in {:.0}", 1.0 / p_value);
        line(&mut out, if at == 0 { "points" } else { "" }, &text);
    }
    line(
        &mut out,
        "alerts",
        &format!(
            "from evidence {:.1}; an incident ends after {:?} of quiet",
            thresholds.alert_evidence,
            Duration::from_micros(thresholds.incident_gap_us)
        ),
    );
    let flows: Vec<String> =
        thresholds.alert_flows.iter().map(|(class, flows)| format!("{class} {flows}")).collect();
    if !flows.is_empty() {
        list(&mut out, "", &[vec![format!("flows needed: {}", flows[0])], flows[1..].to_vec()].concat());
    }
    let mut points: Vec<BudgetPoint> =
        ALERTS_PER_DAY.iter().filter_map(|alerts| within_budget(&thresholds.budget, *alerts)).collect();
    points.dedup();
    for (at, BudgetPoint { alert_evidence, alerts_per_day }) in points.into_iter().enumerate() {
        let text = format!("{alerts_per_day:.2} alerts a day from evidence {alert_evidence:.1}");
        line(&mut out, if at == 0 { "budget" } else { "" }, &text);
    }
    for (at, (key, fact)) in card.iter().enumerate() {
        line(&mut out, if at == 0 { "card" } else { "" }, &format!("{key}: {}", fact.replace('\n', " ")));
    }
    out
}

fn points(manifest: &Manifest) -> [(&'static str, f32); 3] {
    let thresholds = &manifest.thresholds;
    [("investigate", thresholds.investigate), ("detect", thresholds.detect), ("block", thresholds.block)]
}

fn detector_text(spec: &DetectorSpec, parameters: usize) -> String {
    let shape = match &spec.kind {
        DetectorKind::BilstmAttn(NetworkSpec { hidden, heads, attention, norm, dropout }) => {
            let hidden: Vec<String> = hidden.iter().map(ToString::to_string).collect();
            format!(
                "; LSTM {} both ways, {norm} norm, {heads} heads over {attention}, dropout {dropout}",
                hidden.join(" and ")
            )
        }
        DetectorKind::Trees(TreesSpec { method, trees }) => format!("; {}, {method}", trees),
        DetectorKind::Logistic | DetectorKind::OneInput => String::new(),
    };
    let vote = match spec.vote {
        Vote { share, .. } if share <= 0.0 => "no vote".to_owned(),
        Vote { share, asked_from: None } => format!("vote {share}"),
        Vote { share, asked_from: Some(from) } => format!("vote {share}, asked from log-odds of {from:.2}"),
    };
    format!("{:<11} {vote}, {} numbers{shape}", spec.kind.name(), parameters)
}

fn line(out: &mut String, title: &str, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{title:<11}  {text}");
}

/// Items with commas between them, in lines of some hundred characters.
fn list(out: &mut String, title: &str, items: &[String]) {
    let mut title = title;
    let mut text = String::new();
    for (at, item) in items.iter().enumerate() {
        if !text.is_empty() && text.len() + item.len() > 96 {
            line(out, title, text.trim_end());
            title = "";
            text.clear();
        }
        text.push_str(item);
        text.push_str(if at + 1 < items.len() { ", " } else { "" });
    }
    line(out, title, &text);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tapline_features::inputs;
    use tapline_score::manifest::{Calibration, InputColumn, Inputs, Thresholds, Weights, Window};
    use tapline_score::{Logistic, ModelDir};

    use super::*;

    fn written(dir: &Path) {
        let column = |name: &str| InputColumn {
            name: name.to_owned(),
            center: 0.1,
            scale: 1.0,
            clip: 5.0,
            knots: Vec::new(),
            marks: Vec::new(),
            edges: vec![0.0],
            shares: vec![0.5, 0.5],
        };
        let manifest = Manifest {
            format: 1,
            id: "tiny".to_owned(),
            classes: ["benign", "scan"].map(str::to_owned).to_vec(),
            attack_ids: [("scan".to_owned(), "T1046".to_owned())].into(),
            inputs: Inputs {
                schema: inputs::SCHEMA.to_owned(),
                schema_hash: inputs::schema_hash(),
                columns: vec![column(INPUTS[3].name), column(INPUTS[1].name)],
            },
            window: Window {
                steps: 16,
                stride: 8,
                deadline_us: 1_500_000,
                computed_at_most: 2,
                padding: "left".to_owned(),
            },
            detectors: vec![DetectorSpec { vote: Vote::always(1.0), kind: DetectorKind::Logistic }],
            calibration: Calibration {
                temperature: 1.5,
                source: "validation".to_owned(),
                benign_flows: 999,
                benign_span_s: 7_200.0,
                scores: vec![-5.0, 1.0, 3.0],
                ranks: vec![999, 99, 9],
            },
            thresholds: Thresholds {
                investigate: 1.0,
                detect: 3.0,
                block: 3.5,
                alert_evidence: 8.0,
                alert_flows: [("scan".to_owned(), 5)].into(),
                incident_gap_us: 600_000_000,
                budget: [(4.0, 12.5), (8.0, 1.0), (9.0, 0.9), (16.0, 0.0)]
                    .map(|(alert_evidence, alerts_per_day)| BudgetPoint { alert_evidence, alerts_per_day })
                    .to_vec(),
            },
            weights: Weights { file: String::new(), sha256: String::new() },
            card: [("command".to_owned(), "tapline train".to_owned())].into(),
        };
        let logistic = Logistic::new(2, &[0.0, 0.0, 1.0, -1.0], vec![0.0, -2.0]).unwrap();
        ModelDir::new(dir).write(manifest, &logistic.tensors(), "# tiny\n").unwrap();
    }

    #[test]
    fn info_tells_what_people_ask_for() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("tiny");
        written(&dir);
        let model = open(&dir).unwrap();
        let told = text(&model);
        for words in [
            "classes      benign, scan (T1046)\n",
            &format!("\n             {}, {}\n", INPUTS[3].name, INPUTS[1].name),
            "16 flows of a host at most, judged when 8 wait or after 1.5s; each flow is computed 2 times at most",
            "detectors    logistic    vote 1, 6 numbers\n",
            "999 benign flows of 2.0 hours (validation); temperature 1.500",
            "points       investigate from score 1.000: one benign flow in 10\n",
            "             detect      from score 3.000: one benign flow in 100\n",
            "             block       from score 3.500: one benign flow in 1000\n",
            "budget       12.50 alerts a day from evidence 4.0\n             1.00 alerts a day from evidence 8.0\n",
            "flows needed: scan 5",
            "card         command: tapline train\n",
        ] {
            assert!(told.contains(words), "{words:?} is not in:\n{told}");
        }
        let told: Value = serde_json::from_str(&json_text(&model).unwrap()).unwrap();
        assert_eq!(told["detectors"], json!([{ "kind": "logistic", "vote": 1.0, "parameters": 6 }]));
        assert_eq!(told["operating_points"]["detect"], json!({ "score": 3.0, "p_value": 0.01 }));
        assert_eq!(told["inputs"]["columns"][0]["center"], json!(0.1));
        assert!(told["calibration"].get("scores").is_none());
    }

    #[test]
    fn refusals_have_their_exit_codes() {
        let parent = tempfile::tempdir().unwrap();
        let [good, bad, none] = ["good", "bad", "none"].map(|name| parent.path().join(name));
        written(&good);
        written(&bad);
        let manifest = bad.join("model.toml");
        let text = fs::read_to_string(&manifest).unwrap();
        fs::write(&manifest, text.replace("temperature = 1.5", "temperature = -1.5")).unwrap();
        let failure = open(&bad).unwrap_err();
        assert_eq!(failure.code(), Code::Data);
        assert!(failure.to_string().contains("calibration.temperature is -1.5"), "{failure}");
        assert_eq!(open(&none).unwrap_err().code(), Code::NoInput);
        verify(std::slice::from_ref(&good)).unwrap();
        let failure = verify(&[good, bad, none]).unwrap_err();
        assert_eq!((failure.code(), failure.to_string().as_str()), (Code::Data, "2 of 3 models refused"));
    }
}
