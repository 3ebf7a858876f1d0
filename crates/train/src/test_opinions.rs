//! Tables and opinions for tests of the evaluation.

use std::collections::BTreeMap;

use tapline_score::Manifest;
use tapline_score::manifest::{Calibration, Inputs, Thresholds, Weights, Window};

use crate::opinion::{Opinion, Points};
use crate::test_table::{Change, TestRow, write};
use crate::{CLASSES, Random, Table};

/// A flow of one second to port 80, `at` seconds after the beginning.
pub(crate) struct Flow {
    pub(crate) class: &'static str,
    pub(crate) behaviour: &'static str,
    pub(crate) site: &'static str,
    pub(crate) run: &'static str,
    pub(crate) host: &'static str,
    pub(crate) target: &'static str,
    pub(crate) at: i64,
}

impl Flow {
    pub(crate) const fn benign(
        behaviour: &'static str,
        site: &'static str,
        run: &'static str,
        host: &'static str,
        at: i64,
    ) -> Self {
        Self { class: "benign", behaviour, site, run, host, target: host, at }
    }

    pub(crate) const fn hostile(
        class: &'static str,
        behaviour: &'static str,
        site: &'static str,
        run: &'static str,
        host: &'static str,
        at: i64,
    ) -> Self {
        Self { class, behaviour, site, run, host, target: host, at }
    }
}

pub(crate) fn table(flows: &[Flow]) -> Table {
    let rows: Vec<TestRow> = flows
        .iter()
        .map(|flow| TestRow {
            x: vec![0.0],
            class: flow.class,
            behaviour: flow.behaviour,
            site: flow.site,
            run: flow.run,
            host: flow.host,
            target: flow.target,
            split: "test",
            start_us: flow.at * 1_000_000,
            decided_us: (flow.at + 1) * 1_000_000,
            view: "whole",
        })
        .collect();
    Table::read(write(&["x"], &rows, Change::None).path()).unwrap()
}

/// An opinion that calls everything the same hostile class.
pub(crate) fn opinion(name: &str, scores: Vec<f32>, class: u8) -> Opinion {
    Opinion {
        name: name.to_owned(),
        likeliest: scores.iter().map(|score| if *score > 0.0 { class } else { 0 }).collect(),
        hostile_class: vec![class; scores.len()],
        scores,
        points: None,
    }
}

/// Two networks with every class, and five detectors of falling skill.
pub(crate) fn sample() -> (Table, Vec<u32>, Vec<Opinion>) {
    const ATTACKS: [(&str, &str); 7] = [
        ("scan", "scan-nmap-syn"),
        ("brute-force", "ssh-guess-hydra"),
        ("dos", "syn-flood-raw"),
        ("web-attack", "web-inject"),
        ("c2", "beacon-http"),
        ("exfiltration", "exfil-dns"),
        ("lateral", "hop-smb"),
    ];
    let mut random = Random::new(5);
    let mut flows = Vec::new();
    for (site, run) in [("a", "a-1"), ("b", "b-1")] {
        for at in 0..3000 {
            let behaviour = ["web-browse", "dns-forward", "health-checks", "snmp-polling"][random.below(4)];
            let host = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"][random.below(4)];
            flows.push(Flow::benign(behaviour, site, run, host, at));
        }
        for (place, (class, behaviour)) in ATTACKS.into_iter().enumerate() {
            for at in 0..60 {
                let host = ["10.0.1.1", "10.0.1.2", "10.0.1.3"][random.below(3)];
                flows.push(Flow::hostile(class, behaviour, site, run, host, 100 * place as i64 + at));
            }
        }
    }
    flows.sort_by_key(|flow| (flow.run, flow.at));
    let table = table(&flows);
    let opinions =
        [("ensemble", 6.0), ("bilstm-attn", 5.5), ("trees", 5.0), ("logistic", 3.0), ("one-input", 1.0)];
    let opinions = opinions.map(|(name, skill)| {
        let mut logits = Vec::new();
        for class in &table.class {
            for column in 0..CLASSES.len() {
                // Later classes are harder.
                let signal = skill * (1.0 - 0.09 * f64::from(*class));
                let mean = if column == usize::from(*class) { signal } else { 0.0 };
                let mean = if column == 0 { mean + 1.0 } else { mean };
                logits.push((mean + random.normal()) as f32);
            }
        }
        let mut opinion = Opinion::of_logits(name, &logits, CLASSES.len(), 1.0);
        opinion.points = Some(Points { investigate: 2.0, detect: 3.5, block: 5.0 });
        opinion
    });
    let rows = (0..table.rows() as u32).collect();
    (table, rows, opinions.to_vec())
}

/// A model whose 1,000 benign flows scored below 0.
pub(crate) fn manifest(investigate: f32, detect: f32, alert_evidence: f32) -> Manifest {
    let benign = (0..1000u16).map(|flow| -f32::from(flow) - 1.0).collect();
    Manifest {
        format: 1,
        id: "test-00000000".to_owned(),
        classes: CLASSES.map(str::to_owned).to_vec(),
        attack_ids: BTreeMap::new(),
        inputs: Inputs { schema: "inputs-1".to_owned(), schema_hash: String::new(), columns: Vec::new() },
        window: Window {
            steps: 16,
            stride: 8,
            deadline_us: 1_000_000,
            computed_at_most: 2,
            padding: "left".to_owned(),
        },
        detectors: Vec::new(),
        calibration: Calibration::from_benign_scores(benign, 1.0, "validation", 3600.0).unwrap(),
        thresholds: Thresholds {
            investigate,
            detect,
            block: detect + 1.0,
            alert_evidence,
            alert_flows: BTreeMap::new(),
            incident_gap_us: 600_000_000,
            budget: Vec::new(),
        },
        weights: Weights { file: "model.safetensors".to_owned(), sha256: String::new() },
        card: BTreeMap::new(),
    }
}
