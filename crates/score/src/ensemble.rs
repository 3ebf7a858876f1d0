//! Several detectors speak with one voice.
//!
//! In: detectors with their votes. Out: a [`Detector`] whose logits are the mean of the voters' log-probabilities,
//! weighted by their votes. Who has no vote is not asked; who has no memory is asked about fresh steps only; who is asked in
//! doubt only ([`Vote::asked_from`]) sees the windows of steps of which the others said enough.

use crate::batch::WindowBatch;
use crate::calibration::{log_odds, log_sum_exp};
use crate::detector::Detector;
use crate::error::ScoreError;

/// How a detector takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vote {
    /// Its part of the vote: log-probabilities are averaged with these weights. 0: carried along for comparison.
    pub share: f32,
    /// It votes on a flow only if those who always vote give it log-odds, without temperature, of at least so much; `None`: it always
    /// votes. Where it does not, the mean is that of the others.
    pub asked_from: Option<f32>,
}

impl Vote {
    /// A vote on every flow.
    #[must_use]
    pub const fn always(share: f32) -> Self {
        Self { share, asked_from: None }
    }
}

/// Detectors that vote.
pub struct Ensemble {
    /// Those who always vote come first.
    members: Vec<Member>,
    /// Of them, who always votes.
    always: usize,
    classes: usize,
    scratch: Vec<f32>,
    /// The steps that those without memory are asked about.
    asked: WindowBatch,
    /// The windows that are in doubt, and the first step of each in the whole batch.
    doubtful: WindowBatch,
    first_steps: Vec<usize>,
    /// By step, the shares of those who have voted on it, and what they said to begin with.
    voted: Vec<f32>,
    said: Vec<f32>,
    doubted: u64,
}

struct Member {
    /// With its part of the sum of all votes.
    vote: Vote,
    detector: Box<dyn Detector>,
}

impl Ensemble {
    /// Detectors, each with its vote. `None` if nobody always votes, or they do not know the same number of classes.
    #[must_use]
    pub fn new(detectors: Vec<(Vote, Box<dyn Detector>)>) -> Option<Self> {
        let voters = detectors.into_iter().filter(|(vote, _)| vote.share > 0.0 && vote.share.is_finite());
        let mut members: Vec<Member> = voters.map(|(vote, detector)| Member { vote, detector }).collect();
        members.sort_by_key(|member| member.vote.asked_from.is_some());
        let always = members.iter().filter(|member| member.vote.asked_from.is_none()).count();
        let classes = members.first()?.detector.classes();
        if always == 0 || members.iter().any(|member| member.detector.classes() != classes) {
            return None;
        }
        let votes: f32 = members.iter().map(|member| member.vote.share).sum();
        members.iter_mut().for_each(|member| member.vote.share /= votes);
        Some(Self {
            members,
            always,
            classes,
            scratch: Vec::new(),
            asked: WindowBatch::default(),
            doubtful: WindowBatch::default(),
            first_steps: Vec::new(),
            voted: Vec::new(),
            said: Vec::new(),
            doubted: 0,
        })
    }

    /// Scores and probabilities do not see what is added to all logits of a flow: one voice stays as it is.
    fn one_voice(&self) -> bool {
        self.members.len() == 1
    }

    /// Has those vote who always do.
    fn first_round(&mut self, batch: &WindowBatch, logits: &mut [f32]) -> Result<(), ScoreError> {
        let (classes, one_voice) = (self.classes, self.one_voice());
        if !batch.fresh.is_empty() {
            self.asked.gather(batch);
        }
        for Member { vote, detector } in &mut self.members[..self.always] {
            let gathered = detector.memoryless() && !batch.fresh.is_empty();
            self.scratch.clear();
            detector.logits(if gathered { &self.asked } else { batch }, &mut self.scratch)?;
            for (at, step) in batch.asked().flatten().enumerate() {
                let row = if gathered { at } else { step } * classes;
                let mean = &mut logits[step * classes..(step + 1) * classes];
                add(mean, vote.share, &self.scratch[row..row + classes], one_voice);
            }
        }
        Ok(())
    }

    /// Has the others vote on what is in doubt.
    fn second_round(&mut self, batch: &WindowBatch, logits: &mut [f32]) -> Result<(), ScoreError> {
        let classes = self.classes;
        let first: f32 = self.members[..self.always].iter().map(|member| member.vote.share).sum();
        self.voted.clear();
        self.voted.resize(batch.steps(), first);
        // Shares divide all logits alike, as a temperature does.
        self.said.clear();
        self.said.extend(logits.chunks_exact(classes).map(|sum| log_odds(sum, first)));
        for Member { vote, detector } in &mut self.members[self.always..] {
            let doubtful = |step: usize| vote.asked_from.is_none_or(|from| self.said[step] >= from);
            self.first_steps.clear();
            self.doubtful.choose(batch, doubtful, &mut self.first_steps);
            if self.first_steps.is_empty() {
                continue;
            }
            self.scratch.clear();
            detector.logits(&self.doubtful, &mut self.scratch)?;
            let mut row = 0;
            let windows = self.first_steps.iter().zip(&self.doubtful.lengths).zip(&self.doubtful.fresh);
            for ((first_step, length), fresh) in windows {
                for at in length - fresh..*length {
                    let step = first_step + at;
                    if doubtful(step) {
                        let said = &self.scratch[(row + at) * classes..(row + at + 1) * classes];
                        add(&mut logits[step * classes..(step + 1) * classes], vote.share, said, false);
                        self.voted[step] += vote.share;
                    }
                }
                row += length;
            }
        }
        for (sum, voted) in logits.chunks_exact_mut(classes).zip(&self.voted) {
            self.doubted += u64::from(*voted > first);
            sum.iter_mut().for_each(|logit| *logit /= voted);
        }
        Ok(())
    }
}

/// Adds a voter's share of its log-probabilities to the mean.
fn add(mean: &mut [f32], share: f32, logits: &[f32], one_voice: bool) {
    let total = if one_voice { 0.0 } else { log_sum_exp(logits, 1.0) };
    for (mean, logit) in mean.iter_mut().zip(logits) {
        *mean += share * (logit - total);
    }
}

/// What voters who said `logits` of a flow say together, as an [`Ensemble`] of them would; `mean` is as long as the logits of each.
pub fn vote(votes: &[Vote], logits: &[&[f32]], mean: &mut [f32]) {
    mean.fill(0.0);
    let mut voted = 0.0;
    let mut poll = |mean: &mut [f32], asked: &dyn Fn(&Vote) -> bool| {
        for (vote, logits) in votes.iter().zip(logits).filter(|(vote, _)| vote.share > 0.0 && asked(vote)) {
            add(mean, vote.share, logits, false);
            voted += vote.share;
        }
        voted
    };
    let first = poll(mean, &|vote| vote.asked_from.is_none());
    let said = log_odds(mean, first);
    let voted = poll(mean, &|vote| vote.asked_from.is_some_and(|from| said >= from));
    mean.iter_mut().for_each(|logit| *logit /= voted);
}

impl Detector for Ensemble {
    fn classes(&self) -> usize {
        self.classes
    }

    fn logits(&mut self, batch: &WindowBatch, logits: &mut Vec<f32>) -> Result<(), ScoreError> {
        let start = logits.len();
        logits.resize(start + batch.steps() * self.classes, 0.0);
        self.first_round(batch, &mut logits[start..])?;
        if self.always < self.members.len() {
            self.second_round(batch, &mut logits[start..])?;
        }
        Ok(())
    }

    fn memoryless(&self) -> bool {
        self.members.iter().all(|member| member.detector.memoryless())
    }

    fn doubted(&self) -> Option<u64> {
        (self.always < self.members.len()).then_some(self.doubted)
    }

    /// The voters without memory, if there are any.
    fn glance(&mut self, flow: &[f32], inputs: &[usize], logits: &mut Vec<f32>) -> Result<(), ScoreError> {
        let start = logits.len();
        logits.resize(start + (2 + 2 * inputs.len()) * self.classes, 0.0);
        let (one_voice, some) =
            (self.one_voice(), self.members.iter().any(|member| member.detector.memoryless()));
        for Member { vote, detector } in &mut self.members {
            if some && !detector.memoryless() {
                continue;
            }
            self.scratch.clear();
            detector.glance(flow, inputs, &mut self.scratch)?;
            let means = logits[start..].chunks_exact_mut(self.classes);
            for (mean, row) in means.zip(self.scratch.chunks_exact(self.classes)) {
                add(mean, vote.share, row, one_voice);
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
        let votes: Vec<Vote> = self.members.iter().map(|member| member.vote).collect();
        f.debug_struct("Ensemble").field("votes", &votes).field("classes", &self.classes).finish()
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

    fn always(detectors: Vec<(f32, Box<dyn Detector>)>) -> Option<Ensemble> {
        Ensemble::new(
            detectors.into_iter().map(|(share, detector)| (Vote::always(share), detector)).collect(),
        )
    }

    fn logits(detectors: Vec<(f32, Box<dyn Detector>)>) -> Vec<f32> {
        let batch = WindowBatch { width: 1, lengths: vec![2], inputs: vec![1.0, 2.0], fresh: Vec::new() };
        // What stands there already stays.
        let mut logits = vec![9.0];
        always(detectors).unwrap().logits(&batch, &mut logits).unwrap();
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
                always(members(&asked)).unwrap().logits(batch, &mut logits).unwrap();
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

    /// Remembers the steps before; counts the steps that it sees.
    struct Sum(Arc<AtomicUsize>);

    impl Detector for Sum {
        fn classes(&self) -> usize {
            2
        }

        fn logits(&mut self, batch: &WindowBatch, logits: &mut Vec<f32>) -> Result<(), ScoreError> {
            self.0.fetch_add(batch.steps(), Ordering::Relaxed);
            let mut step = 0;
            for length in &batch.lengths {
                let mut sum = 0.0;
                for _ in 0..*length {
                    sum += batch.step(step)[0];
                    logits.extend([0.0, sum]);
                    step += 1;
                }
            }
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn who_is_asked_in_doubt_votes_on_what_the_others_suspect_and_sees_no_other_windows(
            windows in prop::collection::vec((1_usize..6, 1_usize..6), 1..8),
            values in prop::collection::vec(-3.0_f32..3.0, 40),
            from in -4.0_f32..4.0,
        ) {
            let lengths: Vec<usize> = windows.iter().map(|(length, fresh)| *length.max(fresh)).collect();
            let steps: usize = lengths.iter().sum();
            let fresh: Vec<usize> = windows.iter().map(|(_, fresh)| *fresh).collect();
            let batch = WindowBatch { width: 1, lengths, fresh, inputs: values[..steps].to_vec() };
            let votes = [Vote { share: 0.4, asked_from: Some(from) }, Vote::always(0.6)];
            let seen = Arc::new(AtomicUsize::new(0));
            let detectors: [Box<dyn Detector>; 2] = [Box::new(Sum(Arc::clone(&seen))), line(&[0.0, 1.0])];
            let mut together = Vec::new();
            let mut ensemble = Ensemble::new(votes.into_iter().zip(detectors).collect()).unwrap();
            ensemble.logits(&batch, &mut together).unwrap();

            let mut sums = Vec::new();
            Sum(Arc::default()).logits(&batch, &mut sums).unwrap();
            let mut lines = Vec::new();
            line(&[0.0, 1.0]).logits(&batch, &mut lines).unwrap();
            let (mut expected, mut suspected) = ([0.0; 2], 0);
            for (asked, length) in batch.asked().zip(&batch.lengths) {
                suspected += if asked.clone().any(|step| batch.step(step)[0] >= from) { *length } else { 0 };
                for step in asked {
                    let of = step * 2..step * 2 + 2;
                    vote(&votes, &[&sums[of.clone()], &lines[of.clone()]], &mut expected);
                    for (together, expected) in together[of].iter().zip(expected) {
                        prop_assert!((together - expected).abs() < 1e-5, "{together} {expected}");
                    }
                }
            }
            prop_assert_eq!(seen.load(Ordering::Relaxed), suspected);
            let doubted = batch.asked().flatten().filter(|step| batch.step(*step)[0] >= from).count();
            prop_assert_eq!(ensemble.doubted(), Some(doubted as u64));
        }
    }

    #[test]
    fn a_glance_is_the_word_of_those_without_memory() {
        let glance = |detectors: Vec<(f32, Box<dyn Detector>)>| {
            let mut logits = Vec::new();
            always(detectors).unwrap().glance(&[2.0], &[0], &mut logits).unwrap();
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
        assert!(always(Vec::new()).is_none());
        assert!(always(vec![(0.0, line(&[1.0, 2.0]))]).is_none());
        assert!(always(vec![(1.0, line(&[1.0, 2.0])), (1.0, line(&[1.0, 2.0, 3.0]))]).is_none());
        let in_doubt = Vote { share: 1.0, asked_from: Some(0.0) };
        assert!(Ensemble::new(vec![(in_doubt, line(&[1.0, 2.0]))]).is_none());
    }
}
