//! A small model for tests: three classes, two inputs, and a detector that can be reckoned by hand.

use std::collections::BTreeMap;

use crate::batch::WindowBatch;
use crate::detector::Detector;
use crate::error::ScoreError;
use crate::manifest::{Calibration, InputColumn, Inputs, Manifest, Thresholds, Weights, Window};

pub(crate) const NAMES: [&str; 3] = ["other", "a", "b"];

/// Inputs `a` and `b`, scaled by 1 and 2; scores from 2 on are suspicious, from 4 on they raise alerts.
pub(crate) fn manifest(window: Window) -> Manifest {
    let column = |name: &str, scale| InputColumn {
        name: name.to_owned(),
        center: 0.0,
        scale,
        clip: 10.0,
        knots: Vec::new(),
        marks: Vec::new(),
        edges: vec![0.5],
        shares: vec![0.5, 0.5],
    };
    Manifest {
        format: 1,
        id: "example-00000000".to_owned(),
        classes: ["benign", "scan", "c2"].map(str::to_owned).to_vec(),
        attack_ids: BTreeMap::new(),
        inputs: Inputs {
            schema: "inputs-1".to_owned(),
            schema_hash: String::new(),
            columns: vec![column("a", 1.0), column("b", 2.0)],
        },
        window,
        detectors: Vec::new(),
        calibration: Calibration {
            temperature: 1.0,
            source: "validation".to_owned(),
            benign_flows: 999,
            benign_span_s: 1.0,
            scores: vec![-5.0, 1.0, 3.0],
            ranks: vec![999, 99, 9],
        },
        thresholds: Thresholds {
            investigate: 2.0,
            detect: 4.0,
            block: 6.0,
            alert_evidence: 5.0,
            alert_flows: [("scan".to_owned(), 3)].into(),
            incident_gap_us: 1_000_000,
            budget: Vec::new(),
        },
        weights: Weights { file: String::new(), sha256: String::new() },
        card: BTreeMap::new(),
    }
}

pub(crate) fn window(steps: usize, stride: usize, deadline_us: u64, computed_at_most: usize) -> Window {
    Window { steps, stride, deadline_us, computed_at_most, padding: "left".to_owned() }
}

/// Logits: benign 0, scan the sum of `a` over the window, c2 that of `b`. Attention: the last step only.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) calls: usize,
}

impl Detector for Sums {
    fn classes(&self) -> usize {
        3
    }

    fn logits(&mut self, batch: &WindowBatch, logits: &mut Vec<f32>) -> Result<(), ScoreError> {
        self.calls += 1;
        let mut start = 0;
        for length in &batch.lengths {
            let steps = || (start..start + length).map(|step| batch.step(step));
            let sum = |input: usize| steps().map(|step| step[input]).sum::<f32>();
            for _ in 0..*length {
                logits.extend([0.0, sum(0), sum(1)]);
            }
            start += length;
        }
        Ok(())
    }

    fn attention(&mut self, batch: &WindowBatch, attention: &mut Vec<f32>) -> Result<(), ScoreError> {
        for length in &batch.lengths {
            let row = |_| (1..=*length).map(|step| f32::from(u8::from(step == *length)));
            attention.extend((0..*length).flat_map(row));
        }
        Ok(())
    }
}
