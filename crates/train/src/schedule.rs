//! The learning rate: a warm-up by steps, then a plateau rule by epochs.
//!
//! In: the number of the step, and the criterion after each epoch. Out: the rate, and whether to stop. Pure numbers; the
//! state can be saved.

use serde::{Deserialize, Serialize};

/// Settings of the schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScheduleSpec {
    /// Rate after the warm-up.
    pub rate: f64,
    /// Steps over which the rate grows from 0, evenly.
    pub warmup_steps: u64,
    /// What the rate is multiplied with on a plateau.
    pub factor: f64,
    /// Epochs without a better criterion after which it is.
    pub patience: u32,
    /// The rate never falls below.
    pub least_rate: f64,
    /// A criterion must be better by this to count.
    pub least_gain: f64,
    /// Epochs without a better criterion after which training stops.
    pub stop_after: u32,
}

/// Where the schedule stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    scale: f64,
    best: Option<f64>,
    best_epoch: u32,
    /// Epochs since the best one.
    worse: u32,
    /// Epochs since the best one or the last reduction.
    waited: u32,
}

/// What the end of an epoch brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The criterion is the best so far.
    pub best: bool,
    /// The rate was reduced.
    pub reduced: bool,
    /// Nothing has got better for so long that training should stop.
    pub stop: bool,
}

impl Schedule {
    /// Before the first step.
    #[must_use]
    pub const fn new() -> Self {
        Self { scale: 1.0, best: None, best_epoch: 0, worse: 0, waited: 0 }
    }

    /// Rate of a step, counted from 0.
    #[must_use]
    pub fn rate(&self, step: u64, spec: &ScheduleSpec) -> f64 {
        let settled = (spec.rate * self.scale).max(spec.least_rate.min(spec.rate));
        if step < spec.warmup_steps {
            return settled * (step + 1) as f64 / spec.warmup_steps as f64;
        }
        settled
    }

    /// Takes note of the criterion (greater is better) after `epoch`. One that is no number is not better.
    pub fn end_epoch(&mut self, epoch: u32, criterion: f64, spec: &ScheduleSpec) -> EpochEnd {
        let better = match self.best {
            None => !criterion.is_nan(),
            Some(best) => criterion > best + spec.least_gain,
        };
        if better {
            self.best = Some(criterion);
            self.best_epoch = epoch;
            self.worse = 0;
            self.waited = 0;
            return EpochEnd { best: true, reduced: false, stop: false };
        }
        self.worse += 1;
        self.waited += 1;
        let reduced = self.waited > spec.patience;
        if reduced {
            self.scale *= spec.factor;
            self.waited = 0;
        }
        EpochEnd { best: false, reduced, stop: self.worse >= spec.stop_after }
    }

    /// The best criterion so far and its epoch.
    #[must_use]
    pub fn best(&self) -> Option<(u32, f64)> {
        self.best.map(|best| (self.best_epoch, best))
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;

    const SPEC: ScheduleSpec = ScheduleSpec {
        rate: 0.008,
        warmup_steps: 4,
        factor: 0.5,
        patience: 1,
        least_rate: 0.003,
        least_gain: 0.01,
        stop_after: 5,
    };

    #[test]
    fn the_rate_warms_up() {
        let schedule = Schedule::new();
        let rates: Vec<f64> = (0..6).map(|step| schedule.rate(step, &SPEC)).collect();
        assert_eq!(rates, [0.002, 0.004, 0.006, 0.008, 0.008, 0.008]);
        let none = ScheduleSpec { warmup_steps: 0, ..SPEC };
        assert_eq!(schedule.rate(0, &none), 0.008);
    }

    #[test]
    fn a_plateau_halves_it_and_then_stops() {
        let mut schedule = Schedule::new();
        let mut end = |epoch, criterion| {
            let end = schedule.end_epoch(epoch, criterion, &SPEC);
            (end.best, end.reduced, end.stop, schedule.rate(100, &SPEC))
        };
        assert_eq!(end(0, 0.5), (true, false, false, 0.008));
        // Better, but not by enough.
        assert_eq!(end(1, 0.505), (false, false, false, 0.008));
        assert_eq!(end(2, 0.4), (false, true, false, 0.004));
        assert_eq!(end(3, f64::NAN), (false, false, false, 0.004));
        assert_eq!(end(4, 0.52), (true, false, false, 0.004));
        assert_eq!(end(5, 0.5), (false, false, false, 0.004));
        assert_eq!(end(6, 0.5), (false, true, false, 0.003));
        assert_eq!(end(7, 0.5), (false, false, false, 0.003));
        assert_eq!(end(8, 0.5), (false, true, false, 0.003));
        assert_eq!(end(9, 0.5), (false, false, true, 0.003));
        assert_eq!(schedule.best(), Some((4, 0.52)));
    }

    #[test]
    fn a_criterion_that_is_no_number_is_no_best() {
        let mut schedule = Schedule::new();
        assert!(!schedule.end_epoch(0, f64::NAN, &SPEC).best);
        assert_eq!(schedule.best(), None);
    }
}
