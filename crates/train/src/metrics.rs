//! Figures of merit: from scores and truth to the numbers that a report prints.
//!
//! In: one score per flow (higher is more hostile) and what the flow is. Out: areas under curves, recall at fixed shares
//! of false alarms, confusion, calibration. Nothing here knows a detector, a table or a file.
//!
//! Ties are treated as what they are: flows of one score are called hostile together or not at all.

use serde::Serialize;

/// Shares of benign flows called hostile at which recall is read off.
pub const FALSE_ALARM_RATES: [f64; 3] = [1e-2, 1e-3, 1e-4];

/// Group of a flow that takes no part in a figure.
pub const LEFT_OUT: u16 = u16::MAX;

/// Flows from the highest score to the lowest, with the places where the score changes.
#[derive(Clone, Debug)]
pub struct Ranked {
    /// Numbers of flows, highest score first.
    order: Vec<u32>,
    /// Ends, within `order`, of the runs of equal scores; ascending, the last is the number of flows.
    ends: Vec<u32>,
    /// Score of each run.
    scores: Vec<f32>,
}

impl Ranked {
    /// Sorts flows by score. Scores may be infinite, but not NaN.
    #[must_use]
    pub fn new(scores: &[f32]) -> Self {
        let mut order: Vec<u32> = (0..scores.len() as u32).collect();
        // Zeros of either sign are one score.
        let key = |flow: &u32| scores[*flow as usize] + 0.0;
        order.sort_unstable_by(|a, b| key(b).total_cmp(&key(a)).then(a.cmp(b)));
        let (mut ends, mut values) = (Vec::new(), Vec::new());
        for run in order.chunk_by(|a, b| key(a).total_cmp(&key(b)).is_eq()) {
            ends.push(ends.last().copied().unwrap_or(0) + run.len() as u32);
            values.push(key(&run[0]));
        }
        Self { order, ends, scores: values }
    }

    /// Runs of equal scores: the score, and the flows that have it; highest score first.
    pub fn runs(&self) -> impl Iterator<Item = (f32, &[u32])> {
        let mut start = 0;
        self.ends.iter().zip(&self.scores).map(move |(end, score)| {
            let run = &self.order[start..*end as usize];
            start = *end as usize;
            (*score, run)
        })
    }

    /// How well the scores part each group of hostile flows from the benign ones, in one pass.
    ///
    /// `group` says for each flow: 0 for benign, `1..=groups` for a group of hostile flows, or [`LEFT_OUT`]. `weights`
    /// counts a flow so many times (a bootstrap's draw); `None` counts each once.
    #[must_use]
    pub fn skill(&self, group: &[u16], groups: usize, weights: Option<&[u32]>) -> Skills {
        let weigh = |flow: u32| u64::from(weights.map_or(1, |weights| weights[flow as usize]));
        // The last tally is that of all hostile flows together.
        let mut tallies = vec![Tally::default(); groups + 1];
        let mut benign = 0;
        for flow in &self.order {
            match group[*flow as usize] {
                0 => benign += weigh(*flow),
                LEFT_OUT => {}
                of => tallies[usize::from(of) - 1].flows += weigh(*flow),
            }
        }
        tallies[groups].flows = tallies.iter().map(|tally| tally.flows).sum();
        let allowed = FALSE_ALARM_RATES.map(|rate| allowed(benign, rate));
        let mut thresholds = [None; FALSE_ALARM_RATES.len()];
        let mut alarms = [0; FALSE_ALARM_RATES.len()];
        let mut benign_above = 0;
        let mut touched: Vec<usize> = Vec::new();
        for (score, run) in self.runs() {
            let mut benign_here = 0;
            touched.clear();
            for flow in run {
                let (of, weight) = (group[*flow as usize], weigh(*flow));
                if of == LEFT_OUT || weight == 0 {
                    continue;
                }
                if of == 0 {
                    benign_here += weight;
                    continue;
                }
                for place in [usize::from(of) - 1, groups] {
                    if tallies[place].here == 0 {
                        touched.push(place);
                    }
                    tallies[place].here += weight;
                }
            }
            let called = benign_above + benign_here;
            for (at, allowed) in allowed.iter().enumerate() {
                if called <= *allowed && (benign_here > 0 || !touched.is_empty()) {
                    thresholds[at] = Some(score);
                    alarms[at] = called;
                }
            }
            let below = benign - called;
            for place in &touched {
                let tally = &mut tallies[*place];
                let here = tally.here;
                tally.here = 0;
                tally.above += here;
                tally.halves += u128::from(here) * u128::from(2 * below + benign_here);
                tally.precision += here as f64 * (tally.above as f64 / (tally.above + called) as f64);
                for (at, allowed) in allowed.iter().enumerate() {
                    if called <= *allowed {
                        tally.caught[at] += here;
                    }
                }
            }
            benign_above = called;
        }
        let all = tallies.pop().expect("one more tally than groups was made").skill(benign);
        Skills {
            benign,
            thresholds,
            false_alarms: alarms,
            all,
            groups: tallies.into_iter().map(|tally| tally.skill(benign)).collect(),
        }
    }

    /// The ROC curve of the flows in group `of` (`None`: of all hostile flows) against the benign ones: a point for each
    /// run of equal scores, from (0, 0) to (1, 1). Empty without flows of both kinds.
    #[must_use]
    pub fn curve(&self, group: &[u16], of: Option<u16>) -> Vec<CurvePoint> {
        let side = |flow: &u32| match group[*flow as usize] {
            0 => Some(false),
            LEFT_OUT => None,
            other => of.is_none_or(|of| of == other).then_some(true),
        };
        let count = |run: &[u32]| {
            let sides = run.iter().filter_map(side);
            sides.fold([0u64; 2], |mut counts, hostile| {
                counts[usize::from(hostile)] += 1;
                counts
            })
        };
        let [benign, hostile] = count(&self.order);
        if benign == 0 || hostile == 0 {
            return Vec::new();
        }
        let mut points =
            vec![CurvePoint { threshold: f32::INFINITY, false_alarm_rate: 0.0, recall: 0.0, precision: 1.0 }];
        let mut above = [0u64; 2];
        for (score, run) in self.runs() {
            let here = count(run);
            if here == [0, 0] {
                continue;
            }
            above = [above[0] + here[0], above[1] + here[1]];
            points.push(CurvePoint {
                threshold: score,
                false_alarm_rate: above[0] as f64 / benign as f64,
                recall: above[1] as f64 / hostile as f64,
                precision: above[1] as f64 / (above[0] + above[1]) as f64,
            });
        }
        points
    }
}

/// False alarms that a rate allows among so many benign flows.
fn allowed(benign: u64, rate: f64) -> u64 {
    // A thousandth of 67,000 is 67, whatever the last bit of the product says.
    (benign as f64).mul_add(rate, 1e-9).floor() as u64
}

/// Running counts of a group of hostile flows.
#[derive(Clone, Debug, Default)]
struct Tally {
    flows: u64,
    above: u64,
    here: u64,
    /// Twice the number of pairs (hostile, benign) in order, plus the ties: exact.
    halves: u128,
    /// Sum of precision over hostile flows.
    precision: f64,
    caught: [u64; FALSE_ALARM_RATES.len()],
}

impl Tally {
    fn skill(self, benign: u64) -> Skill {
        let some = self.flows > 0 && benign > 0;
        let flows = self.flows as f64;
        Skill {
            flows: self.flows,
            auc: some.then(|| self.halves as f64 / (2.0 * flows * benign as f64)),
            average_precision: some.then(|| self.precision / flows),
            recall: self.caught.map(|caught| some.then(|| caught as f64 / flows)),
        }
    }
}

/// What [`Ranked::skill`] finds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Skills {
    /// Benign flows.
    pub benign: u64,
    /// The lowest score that is called hostile at each of [`FALSE_ALARM_RATES`]; `None` where no flow may be.
    pub thresholds: [Option<f32>; FALSE_ALARM_RATES.len()],
    /// Benign flows called hostile there.
    pub false_alarms: [u64; FALSE_ALARM_RATES.len()],
    /// All hostile flows against the benign ones.
    pub all: Skill,
    /// Each group against the benign ones.
    pub groups: Vec<Skill>,
}

impl Skills {
    /// Whether there are too few benign flows to speak of a rate: fewer than its inverse. Recall at such a rate is recall
    /// without any false alarm, and says little.
    #[must_use]
    pub fn too_few_benign(&self, rate: f64) -> bool {
        allowed(self.benign, rate) == 0
    }
}

/// How well a group of hostile flows is told from the benign ones. `None` without flows of both kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Skill {
    /// Hostile flows.
    pub flows: u64,
    /// Area under the ROC curve: the chance that a hostile flow scores above a benign one, ties counted half.
    pub auc: Option<f64>,
    /// Area under the precision-recall curve, as average precision (no interpolation; Davis and Goadrich, ICML 2006).
    /// Depends on the share of hostile flows: compare it within one table only.
    pub average_precision: Option<f64>,
    /// Share of the hostile flows called hostile where at most each of [`FALSE_ALARM_RATES`] of the benign flows is.
    pub recall: [Option<f64>; FALSE_ALARM_RATES.len()],
}

/// One threshold of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CurvePoint {
    /// Flows at or above it are called hostile.
    pub threshold: f32,
    /// Share of benign flows called hostile.
    pub false_alarm_rate: f64,
    /// Share of hostile flows called hostile.
    pub recall: f64,
    /// Share of flows called hostile that are.
    pub precision: f64,
}

/// What flows are, against what they were called.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Confusion {
    classes: usize,
    /// `[class, called]`, row-major.
    counts: Vec<u64>,
}

impl Confusion {
    /// Without flows.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; classes * classes] }
    }

    /// Of flows of `truth` that were `called`.
    #[must_use]
    pub fn of(classes: usize, truth: impl IntoIterator<Item = (u8, u8)>) -> Self {
        let mut confusion = Self::new(classes);
        for (class, called) in truth {
            confusion.add(usize::from(class), usize::from(called), 1);
        }
        confusion
    }

    /// Adds flows of `class` that were `called`.
    pub fn add(&mut self, class: usize, called: usize, flows: u64) {
        self.counts[class * self.classes + called] += flows;
    }

    /// Flows of `class` that were `called`.
    #[must_use]
    pub fn count(&self, class: usize, called: usize) -> u64 {
        self.counts[class * self.classes + called]
    }

    /// Classes.
    #[must_use]
    pub const fn classes(&self) -> usize {
        self.classes
    }

    /// Flows of a class.
    #[must_use]
    pub fn flows(&self, class: usize) -> u64 {
        (0..self.classes).map(|called| self.count(class, called)).sum()
    }

    /// Precision, recall and F1 of a class.
    #[must_use]
    pub fn class(&self, class: usize) -> ClassFigures {
        let right = self.count(class, class);
        let called: u64 = (0..self.classes).map(|other| self.count(other, class)).sum();
        let flows = self.flows(class);
        let share = |of: u64| if of == 0 { 0.0 } else { right as f64 / of as f64 };
        ClassFigures {
            flows,
            called,
            precision: share(called),
            recall: share(flows),
            f1: if flows + called == 0 { 0.0 } else { 2.0 * right as f64 / (flows + called) as f64 },
        }
    }

    /// The mean of F1 over the classes that occur, in truth or as an answer; 0 without any.
    #[must_use]
    pub fn macro_f1(&self) -> f64 {
        self.mean(|figures| figures.f1)
    }

    /// The mean of precision over the classes that occur.
    #[must_use]
    pub fn macro_precision(&self) -> f64 {
        self.mean(|figures| figures.precision)
    }

    /// The mean of recall over the classes that occur.
    #[must_use]
    pub fn macro_recall(&self) -> f64 {
        self.mean(|figures| figures.recall)
    }

    /// Share of flows called what they are; 0 without any.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        let all: u64 = self.counts.iter().sum();
        let right: u64 = (0..self.classes).map(|class| self.count(class, class)).sum();
        if all == 0 { 0.0 } else { right as f64 / all as f64 }
    }

    /// The same flows with two classes: benign (0), and hostile of whatever kind (1).
    #[must_use]
    pub fn binary(&self) -> Self {
        let mut binary = Self::new(2);
        for class in 0..self.classes {
            for called in 0..self.classes {
                binary.add(usize::from(class > 0), usize::from(called > 0), self.count(class, called));
            }
        }
        binary
    }

    fn mean(&self, of: impl Fn(&ClassFigures) -> f64) -> f64 {
        let figures = (0..self.classes).map(|class| self.class(class));
        let occurring: Vec<f64> = figures.filter(|it| it.flows + it.called > 0).map(|it| of(&it)).collect();
        if occurring.is_empty() { 0.0 } else { occurring.iter().sum::<f64>() / occurring.len() as f64 }
    }
}

/// Figures of one class. Where a share has nothing to be taken of it is 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassFigures {
    /// Flows of the class.
    pub flows: u64,
    /// Flows called by its name.
    pub called: u64,
    /// Share of `called` that are of the class.
    pub precision: f64,
    /// Share of `flows` that were called by its name.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
}

/// One bin of a reliability diagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// Flows whose probability falls into the bin.
    pub flows: u64,
    /// Their mean probability of being hostile; 0 without flows.
    pub probability: f64,
    /// The share of them that is hostile; 0 without flows.
    pub hostile: f64,
}

/// Bins of [`reliability`].
pub const RELIABILITY_BINS: usize = 15;

/// Probabilities against what came true, in bins of equal width.
///
/// In: `(probability of being hostile, hostile)`; probabilities within 0..=1.
#[must_use]
pub fn reliability(flows: impl IntoIterator<Item = (f64, bool)>) -> Vec<ReliabilityBin> {
    let mut bins = vec![ReliabilityBin::default(); RELIABILITY_BINS];
    for (probability, hostile) in flows {
        let place = ((probability * RELIABILITY_BINS as f64) as usize).min(RELIABILITY_BINS - 1);
        let bin = &mut bins[place];
        bin.flows += 1;
        bin.probability += probability;
        bin.hostile += f64::from(u8::from(hostile));
    }
    for bin in bins.iter_mut().filter(|bin| bin.flows > 0) {
        bin.probability /= bin.flows as f64;
        bin.hostile /= bin.flows as f64;
    }
    bins
}

/// Expected calibration error: the mean distance between probability and what came true, over flows (Naeini, Cooper and
/// Hauskrecht, AAAI 2015). 0 without flows.
#[must_use]
pub fn expected_calibration_error(bins: &[ReliabilityBin]) -> f64 {
    let flows: u64 = bins.iter().map(|bin| bin.flows).sum();
    let sum: f64 = bins.iter().map(|bin| bin.flows as f64 * (bin.probability - bin.hostile).abs()).sum();
    if flows == 0 { 0.0 } else { sum / flows as f64 }
}

/// The probability that a score in log-odds stands for.
#[must_use]
pub fn probability(score: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(score)).exp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Classes 0..=3, what each flow was called, and scores in eighths, so that there are many ties and no rounding.
    fn flows() -> (Vec<u16>, Vec<u16>, Vec<f32>) {
        let mut state: u64 = 1;
        let mut draw = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let (mut truth, mut called, mut scores) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..2000 {
            let class = draw(10).saturating_sub(6);
            let base = draw(60);
            let more = match class {
                0 if draw(20) == 0 => draw(30),
                0 => 0,
                class => 9 * class,
            };
            truth.push(class as u16);
            called.push(if draw(4) > 0 { class } else { draw(4) } as u16);
            scores.push((base + more) as f32 / 8.0 - 5.0);
        }
        (truth, called, scores)
    }

    fn near(found: impl Into<Option<f64>>, expected: f64) {
        let found = found.into().unwrap();
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    /// The same flows in scikit-learn 1.9.1:
    ///
    /// ```python
    /// state = 1
    /// def draw(bound):
    ///     global state
    ///     state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
    ///     return (state >> 33) % bound
    /// for _ in range(2000):
    ///     c = draw(10); c = 0 if c < 7 else c - 6
    ///     s = draw(60) + (9 * c if c else draw(30) if draw(20) == 0 else 0)
    ///     k = c if draw(4) else draw(4)
    ///     truth.append(c); called.append(k); score.append(s / 8.0 - 5.0)
    /// h = truth > 0
    /// roc_auc_score(h, score), average_precision_score(h, score)
    /// fpr, tpr, th = roc_curve(h, score, drop_intermediate=False)
    /// for r in (1e-2, 1e-3, 1e-4):
    ///     k = np.where(fpr <= r)[0][-1]; tpr[k], th[k]
    /// for c in (1, 2, 3):
    ///     m = (truth == 0) | (truth == c)                  # then the same of truth[m] == c, score[m]
    /// w = np.arange(2000) % 3                              # sample_weight=w
    /// ```
    #[test]
    fn areas_and_recall_are_those_of_scikit_learn() {
        let (truth, _, scores) = flows();
        let ranked = Ranked::new(&scores);
        let skills = ranked.skill(&truth, 3, None);
        assert_eq!((skills.benign, skills.all.flows), (1377, 623));
        near(skills.all.auc, 0.723_497_472_230_673_4);
        near(skills.all.average_precision, 0.588_547_587_896_774_4);
        near(skills.all.recall[0], 0.134_831_460_674_157_3);
        near(skills.all.recall[1], 0.028_892_455_858_747_994);
        near(skills.all.recall[2], 0.012_841_091_492_776_886);
        assert_eq!(skills.thresholds, [Some(3.75), Some(5.125), Some(5.375)]);
        assert_eq!(skills.false_alarms, [11, 1, 0]);
        assert!(!skills.too_few_benign(1e-3) && skills.too_few_benign(1e-4));
        let expected = [
            (209, 0.608_482_485_675_468_1, 0.196_035_428_072_624_3, 0.0),
            (202, 0.723_890_362_892_498_3, 0.336_664_053_846_649_6, 0.103_960_396_039_603_96),
            (212, 0.836_510_530_137_981_2, 0.582_318_974_174_151_3, 0.297_169_811_320_754_7),
        ];
        for (group, (flows, auc, precision, recall)) in skills.groups.iter().zip(expected) {
            assert_eq!(group.flows, flows);
            near(group.auc, auc);
            near(group.average_precision, precision);
            near(group.recall[0], recall);
        }

        let weights: Vec<u32> = (0..2000).map(|flow| flow % 3).collect();
        let skills = ranked.skill(&truth, 3, Some(&weights));
        near(skills.all.auc, 0.735_741_836_037_217_3);
        near(skills.all.average_precision, 0.603_835_556_882_229_7);
    }

    /// `confusion_matrix`, `precision_recall_fscore_support`, `f1_score(average="macro")` and so on of the same flows.
    #[test]
    fn confusion_is_that_of_scikit_learn() {
        let (truth, called, _) = flows();
        let confusion =
            Confusion::of(4, truth.iter().zip(&called).map(|(class, called)| (*class as u8, *called as u8)));
        let counts = [[1116, 101, 83, 77], [14, 164, 17, 14], [21, 13, 155, 13], [12, 16, 17, 167]];
        for (class, row) in counts.iter().enumerate() {
            for (called, flows) in row.iter().enumerate() {
                assert_eq!(confusion.count(class, called), *flows);
            }
        }
        let brute_force = confusion.class(2);
        near(brute_force.precision, 0.569_852_941_176_470_1);
        near(brute_force.recall, 0.767_326_732_673_267_3);
        near(brute_force.f1, 0.654_008_438_818_565_4);
        near(confusion.macro_f1(), 0.719_086_864_652_886_7);
        near(confusion.macro_precision(), 0.675_874_876_770_105_6);
        near(confusion.macro_recall(), 0.787_552_273_321_261_3);
        near(confusion.accuracy(), 0.801);
        assert_eq!(confusion.binary().count(0, 1), 101 + 83 + 77);
        assert_eq!(confusion.binary().count(1, 0), 14 + 21 + 12);
    }

    /// `calibration_curve(h, prob, n_bins=15)`, and the mean distance weighted by `np.histogram(prob, 15 bins)`.
    #[test]
    fn reliability_is_that_of_scikit_learn() {
        let (truth, _, scores) = flows();
        let bins =
            reliability(scores.iter().zip(&truth).map(|(score, class)| (probability(*score), *class > 0)));
        let flows: Vec<u64> = bins.iter().map(|bin| bin.flows).collect();
        assert_eq!(flows, [443, 212, 91, 98, 92, 69, 65, 100, 74, 91, 99, 112, 91, 185, 178]);
        near(bins[0].hostile, 0.067_720_090_293_453_72);
        near(bins[0].probability, 0.025_475_387_256_174_92);
        near(bins[14].hostile, 0.882_022_471_910_112_4);
        near(bins[14].probability, 0.973_630_942_884_700_9);
        near(expected_calibration_error(&bins), 0.208_833_975_134_569_72);
    }

    #[test]
    fn by_hand() {
        // Pairs (hostile, benign): 3 > 1, 3 > 2, 2 > 1, 2 = 2.
        let skills = Ranked::new(&[1.0, 2.0, 2.0, 3.0]).skill(&[0, 0, 1, 1], 1, None);
        near(skills.all.auc, 3.5 / 4.0);
        // Hostile flows come with precision 1/1, then 2/3.
        near(skills.all.average_precision, f64::midpoint(1.0, 2.0 / 3.0));
        // No false alarm is allowed among two flows; the hostile flow at 3 is caught without one.
        assert_eq!(skills.all.recall, [Some(0.5); 3]);
        assert_eq!(skills.thresholds, [Some(3.0); 3]);
        assert!(skills.too_few_benign(1e-2));

        let points = Ranked::new(&[1.0, 2.0, 2.0, 3.0]).curve(&[0, 0, 1, 1], None);
        let corners: Vec<(f64, f64)> =
            points.iter().map(|point| (point.false_alarm_rate, point.recall)).collect();
        assert_eq!(corners, [(0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 1.0)]);

        // The worst flow is benign: nothing can be called hostile.
        let skills = Ranked::new(&[2.0, 1.0]).skill(&[0, 1], 1, None);
        assert_eq!(
            (skills.all.auc, skills.thresholds[0], skills.all.recall[0]),
            (Some(0.0), None, Some(0.0))
        );

        // Without flows of both kinds there is nothing to tell apart.
        let skills = Ranked::new(&[2.0, 1.0]).skill(&[1, 1], 1, None);
        assert_eq!((skills.all.flows, skills.all.auc, skills.all.recall[0]), (2, None, None));
        let skills = Ranked::new(&[2.0, 1.0]).skill(&[0, LEFT_OUT], 1, None);
        assert_eq!((skills.benign, skills.all.flows, skills.groups[0].auc), (1, 0, None));
        assert_eq!(Ranked::new(&[]).skill(&[], 0, None).benign, 0);
        assert!(Ranked::new(&[1.0]).curve(&[0], None).is_empty());

        // A thousandth of 1,000 is one, whatever the binary fraction says.
        assert_eq!([1_000, 67_000, 999].map(|benign| allowed(benign, 1e-3)), [1, 67, 0]);
    }

    #[test]
    fn classes_without_flows_do_not_count() {
        let mut confusion = Confusion::new(4);
        confusion.add(0, 0, 8);
        confusion.add(1, 1, 1);
        confusion.add(1, 0, 1);
        // Class 2 and 3 occur nowhere. F1 of 0 is 16/17, of 1 is 2/3.
        near(confusion.macro_f1(), f64::midpoint(16.0 / 17.0, 2.0 / 3.0));
        // Class 3 as an answer counts, with nothing right.
        confusion.add(0, 3, 1);
        near(confusion.macro_f1(), (16.0 / 18.0 + 2.0 / 3.0) / 3.0);
        assert_eq!(Confusion::new(3).macro_f1().to_bits(), 0);
    }

    #[test]
    fn one_probability_fills_one_bin() {
        let bins = reliability([(1.0, true), (1.0, false), (0.0, false)]);
        assert_eq!((bins[0].flows, bins[14].flows, bins[14].hostile), (1, 2, 0.5));
        near(expected_calibration_error(&bins), 2.0 / 3.0 * 0.5);
        near(expected_calibration_error(&[]), 0.0);
        near(probability(0.0), 0.5);
        near(probability(f32::INFINITY), 1.0);
    }

    proptest! {
        #[test]
        fn one_pass_equals_the_definitions(flows in prop::collection::vec((0i8..6, 0u16..4, 0u32..3), 0..40)) {
            let scores: Vec<f32> = flows.iter().map(|flow| f32::from(flow.0)).collect();
            let groups: Vec<u16> = flows.iter().map(|flow| if flow.1 == 3 { LEFT_OUT } else { flow.1 }).collect();
            let weights: Vec<u32> = flows.iter().map(|flow| flow.2).collect();
            let skills = Ranked::new(&scores).skill(&groups, 2, Some(&weights));
            for group in 1..=2u16 {
                let of = |wanted: u16| -> Vec<usize> { (0..flows.len()).filter(|at| flows[*at].1 == wanted).collect() };
                let sum = |wanted: u16| of(wanted).iter().map(|at| u64::from(weights[*at])).sum::<u64>();
                let (mut wins, mut pairs) = (0.0, 0.0);
                for hostile in of(group) {
                    for benign in of(0) {
                        let weight = f64::from(weights[hostile] * weights[benign]);
                        pairs += weight;
                        wins += weight * match scores[hostile].total_cmp(&scores[benign]) {
                            std::cmp::Ordering::Greater => 1.0,
                            std::cmp::Ordering::Equal => 0.5,
                            std::cmp::Ordering::Less => 0.0,
                        };
                    }
                }
                let skill = skills.groups[usize::from(group) - 1];
                prop_assert_eq!(skill.flows, sum(group));
                prop_assert_eq!(skill.auc, (pairs > 0.0).then_some(wins / pairs));
                // Without false alarms: above the highest benign score that counts.
                let highest = of(0).into_iter().filter(|at| weights[*at] > 0).map(|at| flows[at].0).max();
                let caught = |at: &usize| highest.is_some_and(|highest| flows[*at].0 > highest);
                let caught: u64 = of(group).into_iter().filter(caught).map(|at| u64::from(weights[at])).sum();
                let recall = caught as f64 / skill.flows as f64;
                prop_assert_eq!(skill.recall[2], (pairs > 0.0).then_some(recall));
            }
        }

        #[test]
        fn curves_climb_and_hold_the_area(flows in prop::collection::vec((0i8..9, 0u16..3), 1..60)) {
            let scores: Vec<f32> = flows.iter().map(|flow| f32::from(flow.0)).collect();
            let groups: Vec<u16> = flows.iter().map(|flow| flow.1).collect();
            let ranked = Ranked::new(&scores);
            let points = ranked.curve(&groups, Some(2));
            let area: f64 = points.windows(2).map(|pair| {
                let width = pair[1].false_alarm_rate - pair[0].false_alarm_rate;
                width * f64::midpoint(pair[0].recall, pair[1].recall)
            }).sum();
            let climbs = points.is_sorted_by(|a, b| {
                a.false_alarm_rate <= b.false_alarm_rate && a.recall <= b.recall && a.threshold > b.threshold
            });
            prop_assert!(climbs);
            match ranked.skill(&groups, 2, None).groups[1].auc {
                Some(auc) => prop_assert!((auc - area).abs() < 1e-12),
                None => prop_assert!(points.is_empty()),
            }
        }
    }
}
