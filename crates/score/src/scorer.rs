//! From rows of inputs to verdicts: scaling, windows, the detectors, calibration.
//!
//! In: for every ended flow its host, the time at which its end was certain, its row of inputs and a ticket; and ticks of
//! packet time. Out: for every ticket one [`Verdict`], in the order in which windows close; whoever needs another order
//! restores it. Closed windows are gathered into a batch, and a batch is run when it has [`steps`](Batching::steps) or, at a
//! tick, has waited for [`wait_us`](Batching::wait_us). So verdicts are a function of the sequence of calls alone. In the steady
//! state nothing is allocated here.

use crate::detector::Detector;
use crate::drift::{Drift, DriftReport};
use crate::error::ScoreError;
use crate::explain::{Explainer, Scratch};
use crate::manifest::{Calibration, Manifest};
use crate::scaler::{Scaler, UnknownInput};
use crate::window::{ClosedWindows, WindowCounters, WindowLimits, Windower};

/// A model at work.
pub struct Scorer {
    scaler: Scaler,
    windower: Windower,
    detector: Box<dyn Detector>,
    calibration: Calibration,
    investigate: f32,
    batching: Batching,
    drift: Drift,

    closed: ClosedWindows,
    /// When the first window of the batch closed.
    closed_us: i64,
    now_us: i64,
    row: Vec<f32>,
    logits: Vec<f32>,
    probabilities: Vec<f32>,
    scratch: Scratch,
    counters: ScoreCounters,
}

/// What a model says about a flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// What the flow was pushed with.
    pub ticket: u64,
    /// The likeliest hostile class if the score reaches the threshold for investigation, else 0, benign.
    pub class: u8,
    /// Log-odds of being hostile.
    pub score: f32,
    /// Probability of `class`.
    pub probability: f32,
    /// How likely a benign flow scores at least so high.
    pub p_value: f64,
}

/// When a batch is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// As soon as it has so many steps.
    pub steps: usize,
    /// Or at a tick, when its first window closed so long ago in packet time.
    pub wait_us: u64,
}

/// What a [`Scorer`] has done, besides its windows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScoreCounters {
    /// Verdicts by class.
    pub verdicts: Vec<u64>,
    /// Batches run.
    pub batches: u64,
    /// Inputs that were not finite and became the median of the training rows.
    pub inputs_not_finite: u64,
    /// Flows whose score was not a number; they are called benign, with score 0 and p-value 1.
    pub scores_not_finite: u64,
    /// Flows explained.
    pub explained: u64,
    /// Flows on which somebody voted who is asked in doubt only; `None` if there is nobody like that.
    pub doubted: Option<u64>,
}

impl Scorer {
    /// A model at work on full rows whose inputs are `names`. `detector` is what votes in the manifest's name.
    ///
    /// # Errors
    ///
    /// If the model reads an input that is not among `names`.
    pub fn new(
        manifest: &Manifest,
        detector: Box<dyn Detector>,
        names: &[&str],
        limits: WindowLimits,
        batching: Batching,
    ) -> Result<Self, UnknownInput> {
        let scaler = Scaler::new(&manifest.inputs, names)?;
        let width = scaler.width();
        let classes = detector.classes();
        Ok(Self {
            windower: Windower::new(&manifest.window, width, limits),
            drift: Drift::new(&manifest.inputs, &manifest.calibration),
            scaler,
            calibration: manifest.calibration.clone(),
            investigate: manifest.thresholds.investigate,
            batching,
            closed: ClosedWindows::new(width),
            closed_us: i64::MAX,
            now_us: i64::MIN,
            row: Vec::with_capacity(width),
            logits: Vec::new(),
            probabilities: vec![0.0; classes],
            scratch: Scratch::default(),
            counters: ScoreCounters { verdicts: vec![0; classes], ..ScoreCounters::default() },
            detector,
        })
    }

    /// A flow of `host` whose end was certain at `now_us`, with its full row of inputs. `judge` gets the verdicts that
    /// this brings about, and may ask why.
    ///
    /// # Errors
    ///
    /// Those of the detector, and those of `judge`; the scorer must not be used after one.
    pub fn push(
        &mut self,
        host: u128,
        now_us: i64,
        row: &[f32],
        ticket: u64,
        judge: &mut impl FnMut(&Verdict, &mut Explainer<'_>) -> Result<(), ScoreError>,
    ) -> Result<(), ScoreError> {
        self.advance(now_us, judge)?;
        self.row.clear();
        self.counters.inputs_not_finite += self.scaler.scale(row, &mut self.row) as u64;
        self.windower.push(host, now_us, &self.row, ticket, &mut self.closed);
        self.run_if_full(judge)
    }

    /// Packet time has come to `now_us`.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn tick(
        &mut self,
        now_us: i64,
        judge: &mut impl FnMut(&Verdict, &mut Explainer<'_>) -> Result<(), ScoreError>,
    ) -> Result<(), ScoreError> {
        self.advance(now_us, judge)?;
        let wait_us = i64::try_from(self.batching.wait_us).unwrap_or(i64::MAX);
        if self.closed_us.saturating_add(wait_us) <= self.now_us {
            self.run(judge)?;
        }
        Ok(())
    }

    /// The input is over: judges whatever waits, and forgets all hosts. What is pushed afterwards is another input.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn finish(
        &mut self,
        judge: &mut impl FnMut(&Verdict, &mut Explainer<'_>) -> Result<(), ScoreError>,
    ) -> Result<(), ScoreError> {
        while self.windower.close_first(&mut self.closed) {
            self.run_if_full(judge)?;
        }
        self.run(judge)?;
        self.windower.forget();
        self.now_us = i64::MIN;
        Ok(())
    }

    /// Judges what has waited longest at once, as many windows as fill a batch; for callers that can hold no more flows.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn close_early(
        &mut self,
        judge: &mut impl FnMut(&Verdict, &mut Explainer<'_>) -> Result<(), ScoreError>,
    ) -> Result<(), ScoreError> {
        while self.closed.tickets.len() < self.batching.steps && self.windower.close_early(&mut self.closed) {
        }
        self.run(judge)
    }

    /// What has been done so far.
    #[must_use]
    pub fn counters(&self) -> ScoreCounters {
        ScoreCounters { explained: self.scratch.explained, ..self.counters.clone() }
    }

    /// What has been done with windows so far.
    #[must_use]
    pub const fn window_counters(&self) -> &WindowCounters {
        self.windower.counters()
    }

    /// How far the flows so far are from those that the model knows.
    #[must_use]
    pub fn drift(&self) -> DriftReport {
        self.drift.report()
    }

    fn advance(
        &mut self,
        now_us: i64,
        judge: &mut impl FnMut(&Verdict, &mut Explainer<'_>) -> Result<(), ScoreError>,
    ) -> Result<(), ScoreError> {
        self.now_us = self.now_us.max(now_us);
        self.windower.advance(now_us);
        while self.windower.close_due(&mut self.closed) {
            self.run_if_full(judge)?;
        }
        Ok(())
    }

    fn run_if_full(
        &mut self,
        judge: &mut impl FnMut(&Verdict, &mut Explainer<'_>) -> Result<(), ScoreError>,
    ) -> Result<(), ScoreError> {
        // One ticket per step.
        if self.closed.tickets.len() >= self.batching.steps {
            return self.run(judge);
        }
        if self.closed_us == i64::MAX && !self.closed.batch.lengths.is_empty() {
            self.closed_us = self.now_us;
        }
        Ok(())
    }

    fn run(
        &mut self,
        judge: &mut impl FnMut(&Verdict, &mut Explainer<'_>) -> Result<(), ScoreError>,
    ) -> Result<(), ScoreError> {
        self.closed_us = i64::MAX;
        if self.closed.batch.lengths.is_empty() {
            return Ok(());
        }
        self.counters.batches += 1;
        self.logits.clear();
        // Explanations ask as well; they are not counted.
        let before = self.detector.doubted();
        self.detector.logits(&self.closed.batch, &mut self.logits)?;
        let doubted = self.detector.doubted().zip(before).map(|(after, before)| after - before);
        self.counters.doubted = doubted.map(|doubted| doubted + self.counters.doubted.unwrap_or(0));
        let classes = self.detector.classes();
        assert_eq!(self.logits.len(), self.closed.tickets.len() * classes, "logits for every step");

        let mut start = 0;
        for (window, &length) in self.closed.batch.lengths.iter().enumerate() {
            for step in length - self.closed.batch.fresh[window]..length {
                let at = start + step;
                let logits = &self.logits[at * classes..(at + 1) * classes];
                self.calibration.probabilities(logits, &mut self.probabilities);
                let mut verdict = verdict(
                    &self.calibration,
                    self.investigate,
                    logits,
                    &self.probabilities,
                    self.closed.tickets[at],
                );
                if !verdict.score.is_finite() || !verdict.probability.is_finite() {
                    self.counters.scores_not_finite += 1;
                    verdict = Verdict { class: 0, score: 0.0, probability: 0.0, p_value: 1.0, ..verdict };
                }
                self.counters.verdicts[usize::from(verdict.class)] += 1;
                self.drift.add(self.closed.batch.step(at), verdict.p_value);
                let mut explainer = Explainer {
                    detector: &mut *self.detector,
                    calibration: &self.calibration,
                    closed: &self.closed,
                    start,
                    length,
                    step,
                    scratch: &mut self.scratch,
                };
                judge(&verdict, &mut explainer)?;
            }
            start += length;
        }
        self.closed.clear();
        Ok(())
    }
}

/// What the logits of a flow say.
fn verdict(
    calibration: &Calibration,
    investigate: f32,
    logits: &[f32],
    probabilities: &[f32],
    ticket: u64,
) -> Verdict {
    let score = calibration.score(logits);
    let hostile =
        (1..probabilities.len()).reduce(|a, b| if probabilities[b] > probabilities[a] { b } else { a });
    let class = hostile.filter(|_| score >= investigate).unwrap_or(0);
    let p_value = calibration.p_value(score);
    Verdict { ticket, class: class as u8, score, probability: probabilities[class], p_value }
}

impl Default for Batching {
    /// 256 steps; at every tick.
    fn default() -> Self {
        Self { steps: 256, wait_us: 0 }
    }
}

impl std::fmt::Debug for Scorer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scorer")
            .field("windower", &self.windower)
            .field("batching", &self.batching)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::example::{NAMES, Sums, manifest, window};

    fn scorer(rules: crate::manifest::Window, batching: Batching) -> Scorer {
        let manifest = manifest(rules);
        Scorer::new(&manifest, Box::new(Sums::default()), &NAMES, WindowLimits::default(), batching).unwrap()
    }

    /// Keeps verdicts as they come.
    fn into(
        verdicts: &mut Vec<Verdict>,
    ) -> impl FnMut(&Verdict, &mut Explainer<'_>) -> Result<(), ScoreError> {
        |verdict, _| {
            verdicts.push(*verdict);
            Ok(())
        }
    }

    #[test]
    fn a_verdict_says_class_score_and_how_rare_it_is() {
        let mut scorer = scorer(window(4, 1, 1_000, 1), Batching::default());
        let mut verdicts = Vec::new();
        let rows = [[9.0, 0.0, 0.0], [9.0, 1.0, 4.0], [9.0, 5.0, 0.0], [f32::NAN, f32::NAN, -99.0]];
        for (ticket, row) in rows.iter().enumerate() {
            scorer.push(1, 0, row, ticket as u64, &mut into(&mut verdicts)).unwrap();
        }
        scorer.finish(&mut into(&mut verdicts)).unwrap();

        let told: Vec<(u64, u8)> = verdicts.iter().map(|verdict| (verdict.ticket, verdict.class)).collect();
        assert_eq!(told, [(0, 0), (1, 2), (2, 1), (3, 0)]);
        // ln(e^1 + e^2) - 0; b is scaled by 2.
        let hostile = 1.0_f32.exp() + 2.0_f32.exp();
        assert!((verdicts[1].score - hostile.ln()).abs() < 1e-5);
        assert!((verdicts[1].probability - 2.0_f32.exp() / (1.0 + hostile)).abs() < 1e-5);
        assert!((verdicts[0].probability - 1.0 / 3.0).abs() < 1e-5, "probability of benign");
        let p_values: Vec<f64> = verdicts.iter().map(|verdict| verdict.p_value).collect();
        assert!(p_values[2] < p_values[1] && p_values[1] < p_values[0], "{p_values:?}");
        assert_eq!(scorer.counters().verdicts, [2, 1, 1]);
        assert_eq!(
            scorer.counters().inputs_not_finite,
            1,
            "inputs that the model does not read do not count"
        );
        assert_eq!(scorer.drift().flows, 4);
    }

    #[test]
    fn batches_close_on_size_or_at_a_tick() {
        let mut scorer = scorer(window(4, 1, 1_000, 1), Batching { steps: 3, wait_us: 500 });
        let mut verdicts = Vec::new();
        let mut push = |scorer: &mut Scorer, now_us| {
            scorer.push(1, now_us, &[0.0; 3], 0, &mut into(&mut verdicts)).unwrap();
            verdicts.len()
        };
        assert_eq!(push(&mut scorer, 0), 0);
        assert_eq!(push(&mut scorer, 100), 0);
        assert_eq!(push(&mut scorer, 200), 3);
        assert_eq!(push(&mut scorer, 300), 3);
        assert_eq!(push(&mut scorer, 900), 3, "only at a tick");
        let mut verdicts = Vec::new();
        scorer.tick(799, &mut into(&mut verdicts)).unwrap();
        assert_eq!(verdicts.len(), 2, "time does not go back");
        assert_eq!(scorer.counters().batches, 2);
    }

    #[test]
    fn a_score_that_is_no_number_is_benign_and_counted() {
        struct Broken;
        impl Detector for Broken {
            fn classes(&self) -> usize {
                3
            }
            fn logits(
                &mut self,
                batch: &crate::WindowBatch,
                logits: &mut Vec<f32>,
            ) -> Result<(), ScoreError> {
                logits.resize(logits.len() + 3 * batch.steps(), f32::NAN);
                Ok(())
            }
        }
        let manifest = manifest(window(4, 1, 1_000, 1));
        let limits = WindowLimits::default();
        let mut scorer =
            Scorer::new(&manifest, Box::new(Broken), &NAMES, limits, Batching::default()).unwrap();
        let mut verdicts = Vec::new();
        scorer.push(1, 0, &[0.0; 3], 7, &mut into(&mut verdicts)).unwrap();
        scorer.finish(&mut into(&mut verdicts)).unwrap();
        assert_eq!(verdicts, [Verdict { ticket: 7, class: 0, score: 0.0, probability: 0.0, p_value: 1.0 }]);
        assert_eq!(scorer.counters().scores_not_finite, 1);
    }

    #[test]
    fn an_explanation_says_what_raised_the_score_and_where_it_looked() {
        let mut scorer = scorer(window(4, 2, 1_000, 2), Batching { steps: 1, wait_us: 0 });
        let mut explanations = Vec::new();
        let mut judge = |verdict: &Verdict, explainer: &mut Explainer<'_>| {
            explanations.push((verdict.ticket, explainer.explain(3)?));
            Ok(())
        };
        for (ticket, row) in
            [[0.0, 2.0, 0.5], [0.0, 1.0, 0.0], [0.0, -8.0, 0.0], [0.0, -8.0, 0.0]].iter().enumerate()
        {
            scorer.push(1, 0, row, ticket as u64, &mut judge).unwrap();
        }
        let (ticket, first) = &explanations[0];
        assert_eq!(*ticket, 0);
        let inputs: Vec<usize> = first.contributions.iter().map(|contribution| contribution.input).collect();
        assert_eq!(inputs, [0, 1]);
        // By hand: nothing came before, and what came after does not count. a is 2, b 0.25; score = ln(e^a + e^b).
        let score = |a: f32, b: f32| (a.exp() + b.exp()).ln();
        let expected = (score(2.0, 0.25) - score(0.0, 0.25) + score(2.0, 0.0) - score(0.0, 0.0)) / 2.0;
        assert!((first.contributions[0].log_odds - expected).abs() < 1e-4, "{first:?}");
        let total: f32 = first.contributions.iter().map(|contribution| contribution.log_odds).sum();
        assert!((total - (score(2.0, 0.25) - score(0.0, 0.0))).abs() < 1e-4, "two inputs: shares add up");
        assert_eq!(first.attention, [(0, 0.0), (1, 1.0)]);
        // What lowers the score is no reason, nor is what is ordinary in the flow itself.
        let (ticket, last) = &explanations[3];
        assert_eq!((*ticket, last.contributions.len()), (3, 0));
        assert_eq!(last.attention.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(scorer.counters().explained, 4);
    }

    #[test]
    fn what_waits_can_be_judged_before_its_time() {
        let mut scorer = scorer(window(8, 8, 1_000_000, 2), Batching { steps: 2, wait_us: 0 });
        let mut verdicts = Vec::new();
        for (ticket, host) in [1, 2, 1].into_iter().enumerate() {
            scorer.push(host, 0, &[0.0; 3], ticket as u64, &mut into(&mut verdicts)).unwrap();
        }
        scorer.close_early(&mut into(&mut verdicts)).unwrap();
        assert_eq!(verdicts.iter().map(|verdict| verdict.ticket).collect::<Vec<_>>(), [0, 2]);
        scorer.close_early(&mut into(&mut verdicts)).unwrap();
        assert_eq!(verdicts.len(), 3);
        assert_eq!(scorer.window_counters().by_bound, 2);
    }

    proptest! {
        #[test]
        fn every_ticket_gets_one_verdict_and_batching_does_not_change_it(
            flows in prop::collection::vec((0_u8..5, 0_i64..300, -2.0_f32..2.0), 0..120),
            steps in 1_usize..40,
            wait_us in 0_u64..2_000,
        ) {
            let of = |batching| {
                let mut scorer = scorer(window(6, 3, 400, 2), batching);
                let (mut now_us, mut verdicts) = (0, Vec::new());
                for (ticket, (host, ahead_us, a)) in flows.iter().enumerate() {
                    now_us += ahead_us;
                    let row = [0.0, *a, 0.0];
                    scorer.push(u128::from(*host), now_us, &row, ticket as u64, &mut into(&mut verdicts)).unwrap();
                    if ticket % 7 == 0 {
                        scorer.tick(now_us, &mut into(&mut verdicts)).unwrap();
                    }
                }
                scorer.finish(&mut into(&mut verdicts)).unwrap();
                verdicts
            };
            let one = of(Batching { steps, wait_us });
            prop_assert_eq!(&one, &of(Batching { steps: 1, wait_us: 0 }));
            let mut tickets: Vec<u64> = one.iter().map(|verdict| verdict.ticket).collect();
            tickets.sort_unstable();
            prop_assert_eq!(tickets, (0..flows.len() as u64).collect::<Vec<_>>());
        }
    }
}
