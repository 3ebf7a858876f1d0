//! What scoring came to, for the statistics and the summary.
//!
//! In: the counters of the stage, of its model and of the models before it. Out: JSON and lines of text.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use tapline_score::DriftReport;
use tapline_score::drift::Reading;
use tapline_score::incident::IncidentCounters;
use tapline_score::scorer::ScoreCounters;
use tapline_score::window::WindowCounters;

use crate::alerts::AlertSummary;

/// What was scored.
#[derive(Debug)]
pub(crate) struct ScoringReport {
    pub(crate) model: String,
    pub(crate) classes: Vec<String>,
    pub(crate) scores: ScoreCounters,
    pub(crate) windows: WindowCounters,
    pub(crate) incidents: IncidentCounters,
    pub(crate) drift: DriftReport,
    /// Flows whose pause was cut short.
    pub(crate) hurried: u64,
    pub(crate) contexts_evicted: u64,
    /// Flows that went on without a verdict.
    pub(crate) shed: u64,
    pub(crate) past: Past,
    pub(crate) alerts: AlertSummary,
}

/// What was scored, as `--stats` writes it.
#[derive(Debug, Serialize)]
pub(crate) struct ScoringStats {
    pub(crate) model: String,
    /// Flows by class of their verdict.
    pub(crate) verdicts: BTreeMap<String, u64>,
    alerts: u64,
    /// Of those, alerts of a target with many sources.
    alerts_by_target: u64,
    /// With truth: alerts most of whose flows are hostile by it, and the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    alerts_true_and_false: Option<(u64, u64)>,
    incidents: u64,
    /// Ended early because there were too many.
    incidents_ended_early: u64,
    /// Targets forgotten before they were incidents, because there were too many.
    targets_forgotten: u64,
    windows: WindowStats,
    /// Flows in all windows, history included.
    steps: u64,
    /// Flows on which the network voted, where it is asked in doubt only.
    #[serde(skip_serializing_if = "Option::is_none")]
    doubted: Option<u64>,
    batches: u64,
    explained: u64,
    inputs_not_finite: u64,
    scores_not_finite: u64,
    /// Flows that went on without a verdict, because the scorer could not follow.
    shed: u64,
    /// Flows whose pause for their context was cut short, because too many paused.
    hurried: u64,
    /// Entries of the tables of context that gave way to others.
    contexts_evicted: u64,
    drift: DriftReport,
}

#[derive(Debug, Serialize)]
struct WindowStats {
    closed: u64,
    /// By what closed them.
    by_stride: u64,
    by_deadline: u64,
    by_end_of_input: u64,
    early: u64,
    hosts_forgotten: u64,
}

/// What the models before this one did.
#[derive(Debug, Default)]
pub(crate) struct Past {
    pub(crate) verdicts: BTreeMap<String, u64>,
    pub(crate) incidents: u64,
    pub(crate) alerts: u64,
    pub(crate) windows: u64,
}

impl From<ScoringReport> for ScoringStats {
    fn from(report: ScoringReport) -> Self {
        let ScoringReport { model, classes, scores, windows, incidents, drift, hurried, past, .. } = report;
        let mut verdicts = past.verdicts;
        for (class, flows) in classes.into_iter().zip(&scores.verdicts) {
            *verdicts.entry(class).or_default() += flows;
        }
        verdicts.retain(|_, flows| *flows > 0);
        Self {
            model,
            verdicts,
            alerts: past.alerts + incidents.alerts,
            alerts_by_target: incidents.alerts_by_target,
            alerts_true_and_false: report.alerts.true_and_false,
            incidents: past.incidents + incidents.opened,
            incidents_ended_early: incidents.ended_early,
            targets_forgotten: incidents.targets_forgotten,
            windows: WindowStats {
                closed: past.windows + windows.windows,
                by_stride: windows.by_stride,
                by_deadline: windows.by_deadline,
                by_end_of_input: windows.by_finish,
                early: windows.by_bound,
                hosts_forgotten: windows.hosts_forgotten,
            },
            steps: windows.steps,
            doubted: scores.doubted,
            batches: scores.batches,
            explained: scores.explained,
            inputs_not_finite: scores.inputs_not_finite,
            scores_not_finite: scores.scores_not_finite,
            shed: report.shed,
            hurried,
            contexts_evicted: report.contexts_evicted,
            drift,
        }
    }
}

impl ScoringStats {
    /// Lines of the summary, ended.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let _ = write!(out, "verdicts");
        for (index, (class, flows)) in self.verdicts.iter().enumerate() {
            let _ = write!(out, "{} {class} {flows}", if index == 0 { "" } else { "," });
        }
        let _ = writeln!(out, " by {}", self.model);
        let _ = write!(out, "         {} windows", self.windows.closed);
        if let Some(flows) = self.doubted {
            let _ = write!(out, ", {flows} flows in doubt");
        }
        let _ = writeln!(out, "; {} incidents, {} alerts", self.incidents, self.alerts);
        if self.windows.early > 0 {
            let early = self.windows.early;
            let _ = writeln!(out, "         {early} windows closed early, for want of room");
        }
        if self.drift.enough {
            out.push_str(&drift_text(&self.drift));
        }
        out
    }
}

/// Whether the traffic is like that which the model knows.
fn drift_text(drift: &DriftReport) -> String {
    let shifted: Vec<_> = drift.inputs.iter().filter(|input| input.reading == Reading::Shifted).collect();
    let mut out =
        format!("drift    {} of {} inputs are not as in training", shifted.len(), drift.inputs.len());
    for (index, input) in shifted.iter().take(3).enumerate() {
        let _ = write!(out, "{} {} {:.2}", if index == 0 { ":" } else { "," }, input.name, input.psi);
    }
    out.push('\n');
    out
}
