//! A small model directory: a logistic regression that takes hosts with many destinations for scanners.

use std::path::Path;

use tapline_features::inputs;
use tapline_score::manifest::{
    Calibration, DetectorKind, DetectorSpec, InputColumn, Inputs, Thresholds, Weights, Window,
};
use tapline_score::{Logistic, Manifest, ModelDir, Vote};

/// Classes, and of each its bias and its weights for the inputs. A host that has talked to 14 others within a
/// minute scores 2; C2 is never said.
const CLASSES: [(&str, f32, [f32; 2]); 3] =
    [("benign", 0.0, [0.0, 0.0]), ("scan", -8.0, [5.0, 0.5]), ("c2", -30.0, [0.0, 0.0])];

/// Writes the model to `folder`, which is not there yet.
pub(crate) fn write(folder: &Path) {
    write_as(folder, "small");
}

/// Writes the model under another name.
pub(crate) fn write_as(folder: &Path, id: &str) {
    let column = |name: &str, center: f32| InputColumn {
        name: name.to_owned(),
        center,
        scale: 1.0,
        clip: 8.0,
        knots: Vec::new(),
        marks: Vec::new(),
        edges: vec![0.5],
        shares: vec![0.9, 0.1],
    };
    let manifest = Manifest {
        format: 1,
        id: id.to_owned(),
        classes: CLASSES.map(|(name, ..)| name.to_owned()).to_vec(),
        attack_ids: [("scan".to_owned(), "T1046".to_owned()), ("c2".to_owned(), "T1071".to_owned())].into(),
        inputs: Inputs {
            schema: inputs::SCHEMA.to_owned(),
            schema_hash: inputs::schema_hash(),
            columns: vec![column("src_dsts_60s", 2_f32.ln()), column("no_reply", 0.0)],
        },
        window: Window {
            steps: 16,
            stride: 8,
            deadline_us: 5_000_000,
            computed_at_most: 2,
            padding: "left".to_owned(),
        },
        detectors: vec![DetectorSpec { vote: Vote::always(1.0), kind: DetectorKind::Logistic }],
        calibration: Calibration {
            temperature: 1.0,
            source: "validation".to_owned(),
            benign_flows: 9_999,
            benign_span_s: 86_400.0,
            scores: vec![-9.0, 0.0],
            ranks: vec![9_999, 9],
        },
        thresholds: Thresholds {
            investigate: 2.0,
            detect: 4.0,
            block: 8.0,
            alert_evidence: 20.0,
            alert_flows: [("scan".to_owned(), 10)].into(),
            incident_gap_us: 600_000_000,
            budget: Vec::new(),
        },
        weights: Weights { file: String::new(), sha256: String::new() },
        card: [("data".to_owned(), "made by hand".to_owned())].into(),
    };
    let weights: Vec<f32> = CLASSES.iter().flat_map(|(_, _, weights)| *weights).collect();
    let biases = CLASSES.iter().map(|(_, bias, _)| *bias).collect();
    let detector = Logistic::new(2, &weights, biases).unwrap();
    ModelDir::new(folder).write(manifest, &detector.tensors(), "# A small model\n").unwrap();
}
