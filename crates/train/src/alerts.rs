//! How many alerts benign traffic would raise.
//!
//! In: what a model says about benign rows. Out: alerts a day at an evidence threshold, by the very table of incidents that
//! serves live scoring, run by run.

use std::collections::BTreeMap;

use tapline_score::Manifest;
use tapline_score::incident::{Evidence, Incidents};

use crate::Table;

/// Benign flows that would count as evidence.
#[derive(Clone, Debug)]
pub struct BenignEvidence {
    /// By run, in the order in which the flows ended.
    runs: Vec<Vec<Evidence<()>>>,
    days: f64,
}

impl BenignEvidence {
    /// Of benign `rows`, which ascend, with their `logits` (`[rows, classes]`, row-major). Only the calibration and the
    /// operating points of the manifest are asked.
    #[must_use]
    pub fn of(table: &Table, rows: &[u32], logits: &[f32], manifest: &Manifest) -> Self {
        let classes = manifest.classes.len();
        let mut runs: BTreeMap<u32, Vec<Evidence<()>>> = BTreeMap::new();
        for (row, logits) in rows.iter().zip(logits.chunks_exact(classes)) {
            let score = manifest.calibration.score(logits);
            if score < manifest.thresholds.investigate {
                continue;
            }
            let at = *row as usize;
            let class = (1..classes).reduce(|a, b| if logits[b] > logits[a] { b } else { a }).unwrap_or(0);
            runs.entry(table.run.id(at)).or_default().push(Evidence {
                source: u128::from(table.host.id(at)),
                class: class as u8,
                score,
                probability: 0.0,
                p_value: manifest.calibration.p_value(score),
                time_us: table.decided_us[at],
                start_us: table.start_us[at],
                end_us: table.decided_us[at],
                target: u128::from(table.target.id(at)),
                port: table.target_port[at],
                flow: (),
            });
        }
        Self { runs: runs.into_values().collect(), days: span_s(table, rows) / 86_400.0 }
    }

    /// Alerts a day at an evidence threshold; everything else is as the manifest says.
    #[must_use]
    pub fn alerts_per_day(&self, manifest: &Manifest, alert_evidence: f32) -> f64 {
        let mut manifest = manifest.clone();
        manifest.thresholds.alert_evidence = alert_evidence;
        let mut alerts = 0;
        for run in &self.runs {
            let mut incidents: Incidents<(), ()> = Incidents::new(&manifest, INCIDENTS_MAX, INCIDENTS_MAX);
            for flow in run {
                incidents.fold(flow, &mut |_| {});
            }
            alerts += incidents.counters().alerts;
        }
        if self.days > 0.0 { alerts as f64 / self.days } else { 0.0 }
    }
}

/// Packet time that rows span, in seconds: of each run from its first packet to the last end of a flow, added up. Of a
/// silence between two flows at most ten minutes count: there are captures whose clock jumps by years.
#[must_use]
pub fn span_s(table: &Table, rows: &[u32]) -> f64 {
    const SILENCE_MAX_US: i64 = 600_000_000;
    let mut latest: BTreeMap<u32, i64> = BTreeMap::new();
    let mut span_us = 0;
    for row in rows {
        let at = *row as usize;
        let (start_us, end_us) = (table.start_us[at], table.decided_us[at]);
        let latest_us = latest.entry(table.run.id(at)).or_insert(start_us);
        span_us += end_us.saturating_sub(*latest_us).clamp(0, SILENCE_MAX_US);
        *latest_us = end_us.max(*latest_us);
    }
    span_us as f64 / 1e6
}

/// Incidents at once: more than any run has.
const INCIDENTS_MAX: usize = 1 << 16;
