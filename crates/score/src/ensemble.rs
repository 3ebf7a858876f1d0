//! Several detectors speak with one voice.
//!
//! In: detectors with their votes. Out: a [`Detector`] whose logits are the mean of the voters' log-probabilities,
//! weighted by their votes. Who has no vote is not asked.

use crate::batch::WindowBatch;
use crate::calibration::log_sum_exp;
use crate::detector::Detector;
use crate::error::ScoreError;

/// Detectors that vote.
pub struct Ensemble {
    members: Vec<Member>,
    classes: usize,
    scratch: Vec<f32>,
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
        Some(Self { members, classes, scratch: Vec::new() })
    }
}

impl Detector for Ensemble {
    fn classes(&self) -> usize {
        self.classes
    }

    fn logits(&mut self, batch: &WindowBatch, logits: &mut Vec<f32>) -> Result<(), ScoreError> {
        // Scores and probabilities do not see what is added to all logits of a flow: one voice stays as it is.
        if let [only] = self.members.as_mut_slice() {
            return only.detector.logits(batch, logits);
        }
        let start = logits.len();
        logits.resize(start + batch.steps() * self.classes, 0.0);
        for member in &mut self.members {
            self.scratch.clear();
            member.detector.logits(batch, &mut self.scratch)?;
            let rows = logits[start..].chunks_exact_mut(self.classes);
            for (mean, row) in rows.zip(self.scratch.chunks_exact(self.classes)) {
                let total = log_sum_exp(row, 1.0);
                for (mean, logit) in mean.iter_mut().zip(row) {
                    *mean += member.share * (logit - total);
                }
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

    fn line(slopes: &[f32]) -> Box<dyn Detector> {
        Box::new(Line(slopes.to_vec()))
    }

    fn logits(detectors: Vec<(f32, Box<dyn Detector>)>) -> Vec<f32> {
        let batch = WindowBatch { width: 1, lengths: vec![2], inputs: vec![1.0, 2.0] };
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

    #[test]
    fn without_a_voter_there_is_no_ensemble() {
        assert!(Ensemble::new(Vec::new()).is_none());
        assert!(Ensemble::new(vec![(0.0, line(&[1.0, 2.0]))]).is_none());
        assert!(Ensemble::new(vec![(1.0, line(&[1.0, 2.0])), (1.0, line(&[1.0, 2.0, 3.0]))]).is_none());
    }
}
