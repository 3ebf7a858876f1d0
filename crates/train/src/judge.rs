//! A model's detectors over rows of a table, each by itself and all together.
//!
//! In: rows, the manifest, the detectors. Out: an [`Opinion`] per detector and, if several vote, one of the ensemble, which
//! comes first. Windows and scaling are those of live scoring. Detectors that see one flow at a time get the same windows:
//! what they say of a flow does not depend on them.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use tapline_score::calibration::{fit_temperature, log_odds};
use tapline_score::manifest::{DetectorSpec, Manifest};
use tapline_score::scaler::Scaler;
use tapline_score::{Detector, LoadedModel, ScoreError, Vote, WindowBatch, ensemble};

use crate::opinion::{Opinion, Points};
use crate::{Table, TrainError, Windows};

/// One detector of a model.
pub struct Voter {
    /// Its name in reports.
    pub name: String,
    /// Its part of the vote; 0 if it is carried along for comparison.
    pub vote: Vote,
    /// With its weights.
    pub detector: Box<dyn Detector>,
}

impl Voter {
    /// The detectors of a model for which `keep` holds, fresh ones each time.
    ///
    /// # Errors
    ///
    /// A failure of the device.
    pub fn of_model(
        model: &LoadedModel,
        keep: impl Fn(&DetectorSpec) -> bool,
    ) -> Result<Vec<Self>, ScoreError> {
        let specs = model.manifest.detectors.iter();
        let kept = specs.zip(model.detectors()?).filter(|(spec, _)| keep(spec));
        let voter = |(spec, detector): (&DetectorSpec, _)| Self {
            name: spec.kind.name().to_owned(),
            vote: spec.vote,
            detector,
        };
        Ok(kept.map(voter).collect())
    }
}

impl std::fmt::Debug for Voter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Voter").field("name", &self.name).field("vote", &self.vote).finish_non_exhaustive()
    }
}

/// Logits of every detector for a list of rows.
#[derive(Clone, Debug, Default)]
pub struct Logits {
    /// Classes.
    pub classes: usize,
    /// By detector: its name, its vote, `[rows, classes]` logits.
    pub voters: Vec<(String, Vote, Vec<f32>)>,
}

/// Runs every detector over `rows`, which ascend. `progress` is told how many steps are done, of how many.
///
/// # Errors
///
/// If the table lacks an input of the model, or a detector fails.
pub fn judge(
    table: &Table,
    rows: &[u32],
    manifest: &Manifest,
    voters: &mut [Voter],
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Logits, TrainError> {
    let scaler = scaler(table, manifest)?;
    let windows = Windows::of(table, rows, &manifest.window);
    let work = Work { table, rows, scaler: &scaler, windows: &windows, classes: manifest.classes.len() };
    let parts = [work.judge(0..windows.len(), voters, &mut |done| progress(done, windows.all_steps()))?];
    Ok(work.logits(voters, &parts))
}

/// As [`judge`], a thread for each of the teams; a team is a set of the same detectors with memory of its own. What comes
/// out does not depend on their number.
///
/// # Errors
///
/// As [`judge`]; if there is no team.
pub fn judge_in_teams(
    table: &Table,
    rows: &[u32],
    manifest: &Manifest,
    teams: &mut [Vec<Voter>],
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Logits, TrainError> {
    let scaler = scaler(table, manifest)?;
    let windows = Windows::of(table, rows, &manifest.window);
    let work = Work { table, rows, scaler: &scaler, windows: &windows, classes: manifest.classes.len() };
    let share = windows.len().div_ceil(teams.len().max(1));
    let done = AtomicUsize::new(0);
    let parts = std::thread::scope(|scope| {
        let mut threads = Vec::with_capacity(teams.len());
        for (number, team) in teams.iter_mut().enumerate() {
            let (work, windows, done) = (&work, &windows, &done);
            threads.push(scope.spawn(move || {
                let range = (number * share).min(windows.len())..((number + 1) * share).min(windows.len());
                let mut before = 0;
                work.judge(range, team, &mut |steps| {
                    let all = done.fetch_add(steps - before, Ordering::Relaxed) + steps - before;
                    before = steps;
                    progress(all, windows.all_steps());
                })
            }));
        }
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Part, TrainError>>| match thread.join() {
            Ok(part) => part,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        threads.into_iter().map(join).collect::<Result<Vec<Part>, TrainError>>()
    })?;
    let Some(team) = teams.first() else {
        return Err(TrainError::Data { reason: "nobody is there to judge".to_owned() });
    };
    Ok(work.logits(team, &parts))
}

fn scaler(table: &Table, manifest: &Manifest) -> Result<Scaler, TrainError> {
    let names: Vec<&str> = table.inputs.iter().map(String::as_str).collect();
    Scaler::new(&manifest.inputs, &names)
        .map_err(|unknown| TrainError::Data { reason: format!("the table does not have it: {unknown}") })
}

/// Windows to be judged.
struct Work<'a> {
    table: &'a Table,
    rows: &'a [u32],
    scaler: &'a Scaler,
    windows: &'a Windows,
    classes: usize,
}

/// Logits of some rows, by their places in the list of rows.
struct Part {
    places: Vec<usize>,
    /// By detector.
    logits: Vec<Vec<f32>>,
}

impl Work<'_> {
    fn judge(
        &self,
        range: Range<usize>,
        voters: &mut [Voter],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Part, TrainError> {
        let classes = self.classes;
        let mut part = Part { places: Vec::new(), logits: vec![Vec::new(); voters.len()] };
        let mut batch = WindowBatch::new(self.scaler.width());
        // Steps of the batch that are judged, in its order.
        let mut judged = Vec::new();
        let mut logits = Vec::new();
        let mut done = 0;
        let last = range.end;
        for window in range {
            let steps = self.windows.steps(window);
            let before = batch.steps() + steps.len() - self.windows.fresh(window);
            batch.lengths.push(steps.len());
            for row in steps {
                self.scaler.scale(self.table.row(*row as usize), &mut batch.inputs);
            }
            for (at, row) in self.windows.judged(window).iter().enumerate() {
                judged.push(before + at);
                part.places.push(self.rows.binary_search(row).expect("windows are made of these rows"));
            }
            if batch.inputs.len() < BATCH_STEPS * self.scaler.width() && window + 1 < last {
                continue;
            }
            for (voter, kept) in voters.iter_mut().zip(&mut part.logits) {
                logits.clear();
                voter.detector.logits(&batch, &mut logits)?;
                for step in &judged {
                    kept.extend_from_slice(&logits[step * classes..(step + 1) * classes]);
                }
            }
            done += batch.steps();
            progress(done);
            batch.clear();
            judged.clear();
        }
        Ok(part)
    }

    /// Puts the parts together, in the order of rows.
    fn logits(&self, voters: &[Voter], parts: &[Part]) -> Logits {
        let classes = self.classes;
        let of = |(voter, Voter { name, vote, .. }): (usize, &Voter)| {
            let mut all = vec![0.0; self.rows.len() * classes];
            for part in parts {
                for (place, logits) in part.places.iter().zip(part.logits[voter].chunks_exact(classes)) {
                    all[place * classes..(place + 1) * classes].copy_from_slice(logits);
                }
            }
            (name.clone(), *vote, all)
        };
        Logits { classes, voters: voters.iter().enumerate().map(of).collect() }
    }
}

impl Logits {
    /// Opinions, the ensemble first if several vote. Where there are flows to calibrate with, scores of single
    /// detectors are log-odds at the temperature that fits those best; their points let through as many of the
    /// calibration's benign flows as the model's do. `calibration` gives logits of the same detectors for flows that were
    /// set aside, and the class of each.
    ///
    /// # Errors
    ///
    /// If the flows that were set aside cannot calibrate: none of them is benign, or a score is not finite.
    pub fn opinions(
        &self,
        manifest: &Manifest,
        calibration: Option<(&Self, &[u8])>,
    ) -> Result<Vec<Opinion>, TrainError> {
        let thresholds = &manifest.thresholds;
        let points = Points {
            investigate: thresholds.investigate,
            detect: thresholds.detect,
            block: thresholds.block,
        };
        let rates = points.scores().map(|score| manifest.calibration.p_value(score));
        let temperature = manifest.calibration.temperature;
        let voting: Vec<usize> =
            (0..self.voters.len()).filter(|voter| self.voters[*voter].1.share > 0.0).collect();
        let mut opinions = Vec::with_capacity(self.voters.len() + 1);
        if voting.len() > 1 {
            let mut opinion = Opinion::of_logits("ensemble", &self.vote(), self.classes, temperature);
            opinion.points = Some(points);
            opinions.push(opinion);
        }
        for (at, (name, _, logits)) in self.voters.iter().enumerate() {
            // A detector that votes alone is the model.
            if voting == [at] {
                let mut opinion = Opinion::of_logits(name, logits, self.classes, temperature);
                opinion.points = Some(points);
                opinions.insert(0, opinion);
                continue;
            }
            let Some((set_aside, classes)) = calibration else {
                opinions.push(Opinion::of_logits(name, logits, self.classes, 1.0));
                continue;
            };
            let (_, _, set_aside) = &set_aside.voters[at];
            let labels: Vec<usize> = classes.iter().map(|class| usize::from(*class)).collect();
            let wrong = |reason| TrainError::Data { reason: format!("calibrating {name}: {reason}") };
            let temperature = fit_temperature(set_aside, self.classes, &labels)
                .map_err(|error| wrong(error.to_string()))?;
            let benign = (0..classes.len()).filter(|flow| classes[*flow] == 0);
            let fitted = Opinion::of_logits(name, set_aside, self.classes, temperature)
                .calibrate(benign, "validation", 0.0)
                .map_err(|error| wrong(error.to_string()))?;
            let mut opinion = Opinion::of_logits(name, logits, self.classes, temperature);
            opinion.points = Some(Points::at_rates(&fitted, rates));
            opinions.push(opinion);
        }
        Ok(opinions)
    }

    /// What the voters say together: as [`tapline_score::Ensemble`] computes it.
    #[must_use]
    pub fn vote(&self) -> Vec<f32> {
        let votes: Vec<Vote> = self.voters.iter().map(|(_, vote, _)| *vote).collect();
        self.poll(&votes)
    }

    /// What they would say together with other votes.
    fn poll(&self, votes: &[Vote]) -> Vec<f32> {
        let flows = self.voters.first().map_or(0, |(_, _, logits)| logits.len() / self.classes);
        let mut means = vec![0.0; flows * self.classes];
        let mut said: Vec<&[f32]> = Vec::with_capacity(votes.len());
        for (flow, mean) in means.chunks_exact_mut(self.classes).enumerate() {
            let of_flow = flow * self.classes..(flow + 1) * self.classes;
            said.clear();
            said.extend(self.voters.iter().map(|(_, _, logits)| &logits[of_flow.clone()]));
            ensemble::vote(votes, &said, mean);
        }
        means
    }

    /// From which log-odds on the voter `name` is worth asking, by flows whose classes are known: `margin` below the lowest that the
    /// others give to a flow which all together put among the `rate` of benign flows that are most suspicious, or above them. `None`
    /// if there is no such flow, or nobody else votes.
    #[must_use]
    pub fn worth_asking(&self, name: &str, classes: &[u8], rate: f64, margin: f32) -> Option<f32> {
        let everybody: Vec<Vote> = self.voters.iter().map(|(_, vote, _)| Vote::always(vote.share)).collect();
        let is_asked = |(said, _, _): &(String, Vote, Vec<f32>)| said == name;
        let silent = |(voter, vote): (&(String, Vote, Vec<f32>), &Vote)| {
            if is_asked(voter) { Vote::always(0.0) } else { *vote }
        };
        let others: Vec<Vote> = self.voters.iter().zip(&everybody).map(silent).collect();
        if others.iter().all(|vote| vote.share <= 0.0) || others == everybody {
            return None;
        }
        let scores = |votes: &[Vote]| -> Vec<f32> {
            self.poll(votes).chunks_exact(self.classes).map(|logits| log_odds(logits, 1.0)).collect()
        };
        let (all, others) = (scores(&everybody), scores(&others));
        let benign = all.iter().zip(classes).filter(|(_, class)| **class == 0).map(|(score, _)| *score);
        let mut benign: Vec<f32> = benign.collect();
        benign.sort_unstable_by(|a, b| b.total_cmp(a));
        let suspicious = *benign.get((benign.len() as f64 * rate) as usize)?;
        let lowest =
            all.iter().zip(&others).filter(|(all, _)| **all >= suspicious).map(|(_, others)| *others);
        let from = lowest.min_by(f32::total_cmp)? - margin;
        from.is_finite().then_some(from)
    }
}

/// Steps given to the detectors at once.
const BATCH_STEPS: usize = 4096;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tapline_score::manifest::InputColumn;
    use tapline_score::{Ensemble, ScoreError};

    use super::*;
    use crate::test_opinions::manifest;
    use crate::test_table::{Change, TestRow, write};

    /// Logits of a step: `[0, factor * first input + steps of its window before it, second input]`.
    struct Echo(f32);

    impl Detector for Echo {
        fn classes(&self) -> usize {
            3
        }

        fn logits(&mut self, batch: &WindowBatch, logits: &mut Vec<f32>) -> Result<(), ScoreError> {
            let mut at = 0;
            for length in &batch.lengths {
                for before in 0..*length {
                    let step = batch.step(at);
                    logits.extend([0.0, self.0 * step[0] + before as f32 / 1000.0, step[1]]);
                    at += 1;
                }
            }
            Ok(())
        }
    }

    fn small() -> (Table, Manifest) {
        let rows: Vec<TestRow> = (0..40)
            .map(|at| TestRow {
                // One host of every three is another run's.
                x: vec![at as f32, -1.0],
                run: ["a", "b"][usize::from(at % 3 == 0)],
                host: ["h1", "h2"][at as usize % 2],
                class: if at % 10 == 0 { "scan" } else { "benign" },
                start_us: at * 1_000,
                decided_us: at * 1_000,
                ..TestRow::default()
            })
            .collect();
        let table = Table::read(write(&["x", "other"], &rows, Change::None).path()).unwrap();
        let mut manifest = manifest(1.0, 2.0, 6.0);
        manifest.classes = ["benign", "scan", "dos"].map(str::to_owned).to_vec();
        manifest.attack_ids = BTreeMap::new();
        manifest.window.steps = 4;
        manifest.window.stride = 2;
        let column = |name: &str, center: f32, scale: f32| InputColumn {
            name: name.to_owned(),
            center,
            scale,
            clip: 1000.0,
            knots: Vec::new(),
            marks: Vec::new(),
            edges: Vec::new(),
            shares: vec![1.0],
        };
        manifest.inputs.columns = vec![column("x", 0.0, 1.0), column("other", 1.0, 2.0)];
        (table, manifest)
    }

    fn voters() -> Vec<Voter> {
        let voter = |name: &str, share, factor| Voter {
            name: name.to_owned(),
            vote: Vote::always(share),
            detector: Box::new(Echo(factor)) as Box<dyn Detector>,
        };
        vec![voter("bilstm-attn", 0.6, 1.0), voter("trees", 0.4, 0.1), voter("logistic", 0.0, -1.0)]
    }

    #[test]
    fn every_row_is_judged_once_within_its_window() {
        let (table, manifest) = small();
        let rows: Vec<u32> = (5..40).collect();
        let mut told = (0, 0);
        let logits =
            judge(&table, &rows, &manifest, &mut voters(), &mut |done, of| told = (done, of)).unwrap();
        assert_eq!(told.0, told.1);
        assert_eq!(logits.classes, 3);
        let (name, vote, of_first) = &logits.voters[0];
        assert_eq!((name.as_str(), of_first.len()), ("bilstm-attn", 35 * 3));
        assert_eq!(*vote, Vote::always(0.6));
        for (place, row) in rows.iter().enumerate() {
            let [benign, scan, dos] = of_first[place * 3..place * 3 + 3] else { panic!("three classes") };
            assert!(benign.abs() < 1e-6 && (dos + 1.0).abs() < 1e-6, "the other input, scaled");
            let steps_before = (scan - *row as f32) * 1000.0;
            assert!((-0.1..3.1).contains(&steps_before), "{steps_before}");
        }
        // Flows of another run or host, or that were left out, are in nobody's window: the first of each has none before.
        for row in [5, 6, 8, 9] {
            assert!((of_first[(row - 5) * 3 + 1] - row as f32).abs() < 1e-6);
        }
    }

    #[test]
    fn teams_agree_with_one() {
        let (table, manifest) = small();
        let rows: Vec<u32> = (3..40).collect();
        let one = judge(&table, &rows, &manifest, &mut voters(), &mut |_, _| {}).unwrap();
        for count in [1, 2, 7] {
            let mut teams: Vec<Vec<Voter>> = (0..count).map(|_| voters()).collect();
            let told = AtomicUsize::new(0);
            let progress = |done: usize, of: usize| assert!(told.fetch_max(done, Ordering::Relaxed) <= of);
            let many = judge_in_teams(&table, &rows, &manifest, &mut teams, &progress).unwrap();
            assert_eq!(one.voters, many.voters);
            assert!(told.into_inner() >= rows.len());
        }
        assert!(judge_in_teams(&table, &rows, &manifest, &mut [], &|_, _| {}).is_err());
    }

    #[test]
    fn the_ensemble_is_that_of_live_scoring() {
        let (table, manifest) = small();
        let rows: Vec<u32> = (0..40).collect();
        for asked_from in [None, Some(-100.0), Some(2.0), Some(100.0)] {
            let voters = || {
                let mut voters = voters();
                voters[0].vote.asked_from = asked_from;
                voters
            };
            let logits = judge(&table, &rows, &manifest, &mut voters(), &mut |_, _| {}).unwrap();
            let pairs = voters().into_iter().map(|voter| (voter.vote, voter.detector)).collect();
            let live = Voter {
                name: "live".to_owned(),
                vote: Vote::always(1.0),
                detector: Box::new(Ensemble::new(pairs).unwrap()),
            };
            let live = judge(&table, &rows, &manifest, &mut [live], &mut |_, _| {}).unwrap();
            for (ours, theirs) in logits.vote().iter().zip(&live.voters[0].2) {
                assert!((ours - theirs).abs() < 1e-5, "{asked_from:?}: {ours} {theirs}");
            }
        }
    }

    #[test]
    fn who_can_make_nothing_suspicious_is_not_worth_asking() {
        // Of ten flows, benign but for the last, the second voter's word is the flow's number; the first lifts flow 2 by 20.
        let logits =
            |of: &dyn Fn(usize) -> f32| (0..10).flat_map(|flow| [0.0, of(flow)]).collect::<Vec<f32>>();
        let lifts = logits(&|flow| flow as f32 + if flow == 2 { 20.0 } else { 0.0 });
        let voters = vec![
            ("bilstm-attn".to_owned(), Vote::always(0.5), lifts),
            ("trees".to_owned(), Vote::always(0.5), logits(&|flow| flow as f32)),
        ];
        let logits = Logits { classes: 2, voters };
        let classes = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        // One benign flow in nine may be suspicious: flow 2 it is, and the next is 8.
        let from = logits.worth_asking("bilstm-attn", &classes, 0.12, 0.5).unwrap();
        assert!((from - 1.5).abs() < 1e-5, "{from}");
        // Without anybody else to ask first, and without a margin that ends, all is asked.
        let mut alone = logits.clone();
        alone.voters[1].1 = Vote::always(0.0);
        assert_eq!(alone.worth_asking("bilstm-attn", &classes, 0.12, 0.5), None);
        assert_eq!(logits.worth_asking("bilstm-attn", &classes, 0.12, f32::INFINITY), None);
        assert_eq!(logits.worth_asking("logistic", &classes, 0.12, 0.5), None);
    }

    #[test]
    fn points_of_single_detectors_come_from_flows_set_aside() {
        let (table, mut manifest) = small();
        manifest.thresholds.investigate = -50.5;
        let rows: Vec<u32> = (0..40).collect();
        let logits = judge(&table, &rows, &manifest, &mut voters(), &mut |_, _| {}).unwrap();
        let opinions = logits.opinions(&manifest, Some((&logits, &table.class))).unwrap();
        let names: Vec<&str> = opinions.iter().map(|opinion| opinion.name.as_str()).collect();
        assert_eq!(names, ["ensemble", "bilstm-attn", "trees", "logistic"]);
        assert!((opinions[0].points.unwrap().investigate + 50.5).abs() < 1e-6);
        // 50 of the model's 1,000 benign flows reach its point, so one or two of these 36 reach the detector's.
        let investigate = opinions[1].points.unwrap().investigate;
        let reach = (0..40)
            .filter(|flow| table.class[*flow] == 0 && opinions[1].scores[*flow] >= investigate)
            .count();
        assert!(reach <= 2, "{reach}");
        let without = logits.opinions(&manifest, None).unwrap();
        assert!(without[0].points.is_some() && without[1].points.is_none());

        // Who votes alone is the model, and comes first.
        let mut alone = logits;
        alone.voters[0].1 = Vote::always(0.0);
        let opinions = alone.opinions(&manifest, None).unwrap();
        assert_eq!((opinions[0].name.as_str(), opinions.len()), ("trees", 3));
    }

    #[test]
    fn an_input_that_is_not_there_is_named() {
        let (table, mut manifest) = small();
        manifest.inputs.columns[1].name = "bytes_per_s".to_owned();
        let error = judge(&table, &[0], &manifest, &mut voters(), &mut |_, _| {}).unwrap_err().to_string();
        assert!(error.contains("bytes_per_s"), "{error}");
    }
}
