//! Several detectors speak with one voice.
//!
//! In: detectors with their votes. Out: a [`Detector`] whose logits are the mean of the voters' log-probabilities,
//! weighted by their votes. Who has no vote is not asked; who has no memory is asked about fresh steps only.

use crate::batch::WindowBatch;
use crate::calibration::log_sum_exp;
use crate::detector::Detector;
use crate::error::ScoreError;

/// Detectors that vote.
pub struct Ensemble {
    members: Vec<Member>,
    classes: usize,
    scratch: Vec<f32>,
    /// The steps that are asked about.
    asked: WindowBatch,
}

struct Member {
    /// Its part of the sum of votes.
    share: f32,
    detector: Box<dyn Detector>,
}

impl Ensemble {
    /// Detectors, each with its vote. `None` if nobody has one, or they do not know the same number of classes.
    #[must_use]
    pub fn new(detectors: Vec<(f32, Box<dyn Detector>)>) -> Option<Self> {
        let voters = detectors.into_iter().filter(|(vote, _)| *vote > 0.0 && vote.is_finite());
        let mut members: Vec<Member> = voters.map(|(share, detector)| Member { share, detector }).collect();
        let classes = members.first()?.detector.classes();
        if members.iter().any(|member| member.detector.classes() != classes) {
            return None;
        }
        let votes: f32 = members.iter().map(|member| member.share).sum();
        members.iter_mut().for_each(|member| member.share /= votes);
        Some(Self { members, classes, scratch: Vec::new(), asked: WindowBatch::default() })
    }

    /// Scores and probabilities do not see what is added to all logits of a flow: one voice stays as it is.
    fn one_voice(&self) -> bool {
        self.members.len() == 1
    }
}

/// Adds a voter's share of its log-probabilities to the mean.
fn add(mean: &mut [f32], share: f32, logits: &[f32], one_voice: bool) {
    let total = if one_voice { 0.0 } else { log_sum_exp(logits, 1.0) };
    for (mean, logit) in mean.iter_mut().zip(logits) {
        *mean += share * (logit - total);
    }
}

impl Detector for Ensemble {
    fn classes(&self) -> usize {
        self.classes
    }

    fn logits(&mut self, batch: &WindowBatch, logits: &mut Vec<f32>) -> Result<(), ScoreError> {
        let classes = self.classes;
        let start = logits.len();
        logits.resize(start + batch.steps() * classes, 0.0);
        let logits = &mut logits[start..];
        if !batch.fresh.is_empty() {
            self.asked.gather(batch);
        }
        let one_voice = self.one_voice();
        for Member { share, detector } in &mut self.members {
            let gathered = detector.memoryless() && !batch.fresh.is_empty();
            self.scratch.clear();
            detector.logits(if gathered { &self.asked } else { batch }, &mut self.scratch)?;
            for (at, step) in batch.asked().flatten().enumerate() {
                let row = if gathered { at } else { step } * classes;
                let mean = &mut logits[step * classes..(step + 1) * classes];
                add(mean, *share, &self.scratch[row..row + classes], one_voice);
            }
        }
        Ok(())
    }

    fn memoryless(&self) -> bool {
        self.members.iter().all(|member| member.detector.memoryless())
    }

    /// The voters without memory, if there are any.
    fn glance(&mut self, flow: &[f32], inputs: &[usize], logits: &mut Vec<f32>) -> Result<(), ScoreError> {
        let start = logits.len();
        logits.resize(start + (2 + 2 * inputs.len()) * self.classes, 0.0);
        let (one_voice, some) =
            (self.one_voice(), self.members.iter().any(|member| member.detector.memoryless()));
        for Member { share, detector } in &mut self.members {
            if some && !detector.memoryless() {
                continue;
            }
            self.scratch.clear();
            detector.glance(flow, inputs, &mut self.scratch)?;
            let means = logits[start..].chunks_exact_mut(self.classes);
            for (mean, row) in means.zip(self.scratch.chunks_exact(self.classes)) {
                add(mean, *share, row, one_voice);
            }
        }
        Ok(())
    }

    /// That of the first voter that has any.
    fn attention(&mut self, batch: &WindowBatch, attention: &mut Vec<f32>) -> Result<(), ScoreError> {
        let start = attention.len();
        for member in &mut self.members {
            member.detector.attention(batch, attention)?;
            if attention.len() > start {
                break;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Ensemble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shares: Vec<f32> = self.members.iter().map(|member| member.share).collect();
        f.debug_struct("Ensemble").field("shares", &shares).field("classes", &self.classes).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    /// Logits that are linear in the first input.
    struct Line(Vec<f32>);

    impl Detector for Line {
        fn classes(&self) -> usize {
            self.0.len()
        }

        fn logits(&mut self, batch: &WindowBatch, logits: &mut Vec<f32>) -> Result<(), ScoreError> {
            for step in 0..batch.steps() {
                logits.extend(self.0.iter().map(|slope| slope * batch.step(step)[0]));
            }
            Ok(())
        }
    }

    /// The same without memory; counts the steps that it is asked about.
    struct Alone(Vec<f32>, Arc<AtomicUsize>);

    impl Detector for Alone {
        fn classes(&self) -> usize {
            self.0.len()
        }

        fn logits(&mut self, batch: &WindowBatch, logits: &mut Vec<f32>) -> Result<(), ScoreError> {
            self.1.fetch_add(batch.steps(), Ordering::Relaxed);
            Line(self.0.clone()).logits(batch, logits)
        }

        fn memoryless(&self) -> bool {
            true
        }
    }

    fn line(slopes: &[f32]) -> Box<dyn Detector> {
        Box::new(Line(slopes.to_vec()))
    }

    fn logits(detectors: Vec<(f32, Box<dyn Detector>)>) -> Vec<f32> {
        let batch = WindowBatch { width: 1, lengths: vec![2], inputs: vec![1.0, 2.0], fresh: Vec::new() };
        // What stands there already stays.
        let mut logits = vec![9.0];
        Ensemble::new(detectors).unwrap().logits(&batch, &mut logits).unwrap();
        assert_eq!(logits.drain(..1).collect::<Vec<_>>(), [9.0]);
        logits
    }

    #[test]
    fn votes_are_weighted_means_of_log_probabilities() {
        let told = logits(vec![(3.0, line(&[0.0, 1.0])), (0.0, line(&[5.0, 7.0])), (1.0, line(&[2.0, 0.0]))]);
        for (step, x) in [1.0_f32, 2.0].into_iter().enumerate() {
            let first = [-(1.0 + x.exp()).ln(), x - (1.0 + x.exp()).ln()];
            let second = [2.0 * x - (1.0 + (2.0 * x).exp()).ln(), -(1.0 + (2.0 * x).exp()).ln()];
            for class in 0..2 {
                let expected = 0.75 * first[class] + 0.25 * second[class];
                assert!((told[step * 2 + class] - expected).abs() < 1e-5, "{told:?}");
            }
        }
    }

    #[test]
    fn one_voice_is_not_changed() {
        assert_eq!(logits(vec![(0.5, line(&[1.0, -3.0])), (0.0, line(&[9.0, 9.0]))]), [1.0, -3.0, 2.0, -6.0]);
    }

    proptest! {
        #[test]
        fn fresh_steps_are_judged_as_if_all_were_asked_about(
            windows in prop::collection::vec((1_usize..6, 1_usize..6), 1..8),
            votes in prop::collection::vec(0.1_f32..2.0, 1..4),
        ) {
            let members = |asked: &Arc<AtomicUsize>| {
                let member = |(at, vote): (usize, &f32)| -> (f32, Box<dyn Detector>) {
                    let slopes = vec![at as f32, 1.0, 0.5];
                    let detector: Box<dyn Detector> = match at % 2 {
                        0 => Box::new(Alone(slopes, Arc::clone(asked))),
                        _ => line(&slopes),
                    };
                    (*vote, detector)
                };
                votes.iter().enumerate().map(member).collect()
            };
            let lengths: Vec<usize> = windows.iter().map(|(length, fresh)| *length.max(fresh)).collect();
            let steps: usize = lengths.iter().sum();
            let inputs = (0..steps).map(|step| step as f32 / 4.0).collect();
            let mut batch = WindowBatch { width: 1, lengths, inputs, fresh: Vec::new() };
            let run = |batch: &WindowBatch| {
                let asked = Arc::new(AtomicUsize::new(0));
                let mut logits = Vec::new();
                Ensemble::new(members(&asked)).unwrap().logits(batch, &mut logits).unwrap();
                (logits, asked.load(Ordering::Relaxed) / votes.len().div_ceil(2))
            };
            let (all, asked) = run(&batch);
            prop_assert_eq!(asked, steps);
            batch.fresh = windows.iter().map(|(_, fresh)| *fresh).collect();
            let (some, asked) = run(&batch);
            prop_assert_eq!(asked, batch.fresh.iter().sum::<usize>());
            prop_assert_eq!(some.len(), all.len());
            for step in batch.asked().flatten() {
                prop_assert_eq!(&some[step * 3..step * 3 + 3], &all[step * 3..step * 3 + 3]);
            }
        }
    }

    #[test]
    fn a_glance_is_the_word_of_those_without_memory() {
        let glance = |detectors: Vec<(f32, Box<dyn Detector>)>| {
            let mut logits = Vec::new();
            Ensemble::new(detectors).unwrap().glance(&[2.0], &[0], &mut logits).unwrap();
            let told: Vec<f32> = logits.chunks_exact(2).map(|row| row[1] - row[0]).collect();
            assert!(told[1].abs() < 1e-6 && told[2].abs() < 1e-6, "ordinary, and without its only input");
            assert_eq!(told[0].to_bits(), told[3].to_bits());
            told[0]
        };
        let alone = || Box::new(Alone(vec![0.0, 3.0], Arc::default()));
        assert!((glance(vec![(1.0, line(&[0.0, 1.0])), (1.0, alone())]) - 3.0).abs() < 1e-5);
        assert!((glance(vec![(1.0, line(&[0.0, 1.0])), (1.0, line(&[0.0, 2.0]))]) - 3.0).abs() < 1e-5);
    }

    #[test]
    fn without_a_voter_there_is_no_ensemble() {
        assert!(Ensemble::new(Vec::new()).is_none());
        assert!(Ensemble::new(vec![(0.0, line(&[1.0, 2.0]))]).is_none());
        assert!(Ensemble::new(vec![(1.0, line(&[1.0, 2.0])), (1.0, line(&[1.0, 2.0, 3.0]))]).is_none());
    }
}
