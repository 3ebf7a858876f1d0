//! When to speak: scores for three operating points, and an evidence threshold for a budget of alerts.
//!
//! In: a calibration and the false-positive rates that are wanted; the number of alerts a day that benign flows would have
//! caused at each evidence threshold. Out: the numbers of [`Thresholds`](crate::manifest::Thresholds).

use crate::manifest::{BudgetPoint, Calibration};

/// Shares of benign flows that may reach each operating point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Of flows that count as evidence.
    pub investigate: f64,
    /// Of flows that may raise an incident.
    pub detect: f64,
    /// Of flows that it would be defensible to block.
    pub block: f64,
}

/// A score, and how often benign flows reach it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OperatingPoint {
    /// The threshold.
    pub score: f32,
    /// The rate that was asked for.
    pub rate: f64,
    /// The p-value of the threshold. It is greater than `rate` if there are too few benign flows to tell.
    pub p_value: f64,
}

/// The three operating points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OperatingPoints {
    /// Score from which a flow counts as evidence.
    pub investigate: OperatingPoint,
    /// Score from which it may raise an incident.
    pub detect: OperatingPoint,
    /// Score from which blocking would be defensible.
    pub block: OperatingPoint,
}

/// One benign flow in a hundred, in two thousand, in twenty thousand.
impl Default for Rates {
    fn default() -> Self {
        Self { investigate: 1e-2, detect: 5e-4, block: 5e-5 }
    }
}

impl OperatingPoint {
    /// The least score that at most `rate` of the calibration's benign flows reach.
    #[must_use]
    pub fn new(calibration: &Calibration, rate: f64) -> Self {
        let score = calibration.score_at_rate(rate);
        Self { score, rate, p_value: calibration.p_value(score) }
    }

    /// Whether the calibration has benign flows enough to tell this rate.
    #[must_use]
    pub fn is_resolved(&self) -> bool {
        self.p_value <= self.rate
    }
}

impl OperatingPoints {
    /// The points for these rates. A later point is never below an earlier one, whatever the rates.
    #[must_use]
    pub fn new(calibration: &Calibration, rates: Rates) -> Self {
        let detect = rates.detect.min(rates.investigate);
        let block = rates.block.min(detect);
        Self {
            investigate: OperatingPoint::new(calibration, rates.investigate),
            detect: OperatingPoint::new(calibration, detect),
            block: OperatingPoint::new(calibration, block),
        }
    }
}

/// Evidence thresholds from 2 (a single flow at a p-value of 1 %) to 1024, eight for each doubling.
pub fn evidence_grid() -> impl Iterator<Item = f32> {
    (8..=80_u8).map(|eighths| 2.0_f32.powf(f32::from(eighths) / 8.0))
}

/// What each evidence threshold costs: `alerts_at` gives the alerts a day that benign flows cause at a threshold.
///
/// `grid` ascends. Should a greater threshold ever cause more alerts, the smaller one is charged with them as well, so
/// that the table only falls. Thresholds beyond the first that causes none are left out.
pub fn budget_points(
    grid: impl IntoIterator<Item = f32>,
    mut alerts_at: impl FnMut(f32) -> f64,
) -> Vec<BudgetPoint> {
    let mut points: Vec<BudgetPoint> = grid
        .into_iter()
        .map(|alert_evidence| BudgetPoint { alert_evidence, alerts_per_day: alerts_at(alert_evidence) })
        .collect();
    let mut most: f64 = 0.0;
    for point in points.iter_mut().rev() {
        most = most.max(point.alerts_per_day);
        point.alerts_per_day = most;
    }
    let quiet = points.iter().position(|point| point.alerts_per_day <= 0.0);
    points.truncate(quiet.map_or(points.len(), |first| first + 1));
    points
}

/// The least evidence threshold that costs at most `alerts_per_day`; `None` if even the greatest costs more.
#[must_use]
pub fn within_budget(budget: &[BudgetPoint], alerts_per_day: f64) -> Option<BudgetPoint> {
    budget.iter().copied().find(|point| point.alerts_per_day <= alerts_per_day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibration(flows: u32) -> Calibration {
        let scores = (0..flows).map(|score| score as f32 / 64.0).collect();
        Calibration::from_benign_scores(scores, 1.0, "validation", 86_400.0).unwrap()
    }

    #[test]
    fn rates_are_kept() {
        let calibration = calibration(100_000);
        let points = OperatingPoints::new(&calibration, Rates::default());
        for point in [points.investigate, points.detect, points.block] {
            assert!(point.is_resolved());
            assert!(point.p_value <= point.rate && point.p_value > 0.95 * point.rate - 2e-5, "{point:?}");
            let above = (0..100_000_u32).filter(|score| *score as f32 / 64.0 >= point.score).count();
            assert!(above as f64 / 100_000.0 <= point.rate, "{point:?}: {above}");
        }
        assert!(points.investigate.score < points.detect.score && points.detect.score < points.block.score);
    }

    #[test]
    fn too_few_flows_are_told() {
        let points = OperatingPoints::new(&calibration(1_000), Rates::default());
        assert!(points.investigate.is_resolved());
        assert!(!points.detect.is_resolved() && !points.block.is_resolved());
        assert!(points.detect.score > 999.0 / 64.0);
    }

    #[test]
    fn points_keep_their_order() {
        let rates = Rates { investigate: 1e-4, detect: 1e-2, block: 0.5 };
        let points = OperatingPoints::new(&calibration(50_000), rates);
        assert!(points.investigate.score <= points.detect.score && points.detect.score <= points.block.score);
    }

    #[test]
    fn a_budget_picks_the_threshold() {
        let budget = budget_points([1.0, 2.0, 4.0, 8.0, 16.0, 32.0], |evidence| match evidence {
            1.0..2.0 => 40.0,
            2.0..4.0 => 3.0,
            4.0..8.0 => 5.0,
            8.0..16.0 => 1.0,
            _ => 0.0,
        });
        let told: Vec<(f32, f64)> =
            budget.iter().map(|point| (point.alert_evidence, point.alerts_per_day)).collect();
        assert_eq!(told, [(1.0, 40.0), (2.0, 5.0), (4.0, 5.0), (8.0, 1.0), (16.0, 0.0)]);
        let evidence = |alerts| within_budget(&budget, alerts).map(|point| point.alert_evidence);
        assert_eq!(evidence(50.0), Some(1.0));
        assert_eq!(evidence(5.0), Some(2.0));
        assert_eq!(evidence(4.9), Some(8.0));
        assert_eq!(evidence(0.5), Some(16.0));
        assert_eq!(within_budget(&budget[..3], 0.5), None);
    }

    #[test]
    fn the_grid_ascends() {
        let grid: Vec<f32> = evidence_grid().collect();
        assert!(grid.is_sorted_by(|a, b| a < b));
        assert_eq!((grid.first(), grid.last()), (Some(&2.0), Some(&1024.0)));
    }
}
