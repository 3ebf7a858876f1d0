//! Honesty checks: what a table teaches that is not the attack.
//!
//! Four small models are fitted site by site and tried on the others: one threshold, a tree of depth two, a forest that
//! may look at shortcuts alone (ports, initial windows, header lengths, addresses), and one that may look at ordinary
//! flow features alone. A site is a network; what holds only within it was learnt from the network. The figures are the
//! area under the ROC curve of hostile against benign, and balanced accuracy at the fitted threshold.
//!
//! In: a [`Sample`]. Out: [`Honesty`], plain numbers for the data card. Deterministic.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use serde::Serialize;
use tapline_label::Class;

use crate::auc::{auc, balanced_accuracy};
use crate::random::Random;
use crate::sample::{Role, Sample};
use crate::trees::{Binned, Matrix, Shape, Threshold, Trees};

/// Sites with fewer hostile or fewer benign rows than this are not tested on, nor trained on alone.
pub const KIND_ROWS_MIN: usize = 50;

/// Sites in a matrix; those whose smaller kind is the largest.
pub const MATRIX_SITES_MAX: usize = 12;

/// Parts that the sites are dealt into.
const FOLDS: usize = 4;

/// Rows of each kind that a model is trained on at most.
const TRAIN_ROWS_MAX: usize = 10_000;

/// Rows of each kind that a model is tried on at most.
const TEST_ROWS_MAX: usize = 5_000;

/// What the checks found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Honesty {
    /// Rows looked at.
    pub rows: usize,
    /// Sites with rows of both kinds, enough of them: the lines and columns of each matrix.
    pub sites: Vec<String>,
    /// Sites with too few rows of a kind: trained on with others, never tested on.
    pub sites_of_one_kind: Vec<String>,
    /// The models.
    pub models: Vec<ModelReport>,
    /// Rows that equal a row of another class.
    pub conflicting_vectors: Conflicts,
}

/// One model, over all sites.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelReport {
    /// `one_threshold`, `depth_two_tree`, `shortcut_forest`, `ordinary_forest`.
    pub name: &'static str,
    /// What it may look at.
    pub columns: Vec<String>,
    /// What was learnt on each site, where that fits a line: `dst_port > 1024 is hostile`.
    pub learnt: Vec<String>,
    /// Trained on the line's site, tried on the column's; on the diagonal the other half of the same site.
    pub auc: Vec<Vec<f64>>,
    /// The same as balanced accuracy.
    pub balanced_accuracy: Vec<Vec<f64>>,
    /// Trained on every other site (those of one kind too), tried on this one: AUC.
    pub left_out_auc: Vec<f64>,
    /// All sites dealt into four folds, trained on three, tried on the fourth as a whole: mean AUC. Here sites of one kind
    /// are tried too, at the price that hostile and benign rows may be of different networks.
    pub site_folds_auc: Option<f64>,
    /// All sites thrown together, trained on a random half, tried on the other: AUC. The figure that lies.
    pub random_split_auc: Option<f64>,
    /// Mean of the diagonal.
    pub within_auc: Option<f64>,
    /// Mean of the rest.
    pub across_auc: Option<f64>,
    /// Mean of `left_out_auc`.
    pub left_out_mean_auc: Option<f64>,
    /// Mean balanced accuracy of the diagonal.
    pub within_balanced_accuracy: Option<f64>,
    /// Mean balanced accuracy of the rest.
    pub across_balanced_accuracy: Option<f64>,
}

/// Rows whose ordinary features, rounded to eight significant bits, equal those of a row of another class.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Conflicts {
    /// Per class that occurs.
    pub classes: Vec<ConflictsOfClass>,
    /// Of the benign rows looked at, the share that equals a hostile one.
    pub benign_equal_to_hostile: f64,
    /// Of the hostile rows looked at, the share that equals a benign one.
    pub hostile_equal_to_benign: f64,
}

/// The part of one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConflictsOfClass {
    /// The class.
    pub class: &'static str,
    /// Rows looked at.
    pub rows: u64,
    /// Share that equals a row of any other class.
    pub equal_to_another_class: f64,
}

/// Looks at a sample.
#[must_use]
pub fn check(sample: &Sample, seed: u64) -> Honesty {
    let pool = Pool::new(sample, seed);
    let all: Vec<usize> = (0..sample.features.len()).collect();
    let of = |role: Role| -> Vec<usize> {
        all.iter().copied().filter(|at| sample.features[*at].role == role).collect()
    };
    let (shortcuts, ordinary) = (of(Role::Shortcut), of(Role::Ordinary));
    let mut asked = [
        Asked::new("one_threshold", Kind::Threshold, &all),
        Asked::new("depth_two_tree", Kind::Trees(Shape::DEPTH_TWO), &all),
        Asked::new("shortcut_forest", Kind::Trees(Shape::FOREST), &shortcuts),
        Asked::new("ordinary_forest", Kind::Trees(Shape::FOREST), &ordinary),
    ];
    pool.ask(&mut asked, &all, sample, seed);
    let name = |site: &usize| sample.sites[*site].name.clone();
    let one_kind = (0..sample.sites.len()).filter(|site| !pool.has_both(*site));
    Honesty {
        rows: pool.hostile.len(),
        sites: pool.tested.iter().map(name).collect(),
        sites_of_one_kind: one_kind.map(|site| name(&site)).collect(),
        models: asked.into_iter().map(|asked| asked.report(sample)).collect(),
        conflicting_vectors: pool.conflicts(&ordinary),
    }
}

/// All rows of a sample, side by side.
struct Pool {
    matrix: Matrix,
    hostile: Vec<bool>,
    classes: Vec<Class>,
    /// Rows of each site in a random order: benign, hostile.
    rows: Vec<[Vec<usize>; 2]>,
    /// Sites in the matrix.
    tested: Vec<usize>,
}

impl Pool {
    fn new(sample: &Sample, seed: u64) -> Self {
        let mut pool = Self {
            matrix: Matrix::new(sample.features.len()),
            hostile: Vec::new(),
            classes: Vec::new(),
            rows: Vec::new(),
            tested: Vec::new(),
        };
        let mut random = Random::new(seed);
        for site in &sample.sites {
            let mut of_site: [Vec<usize>; 2] = Default::default();
            for (hostile, reservoir) in site.kinds.iter().enumerate() {
                for (at, class) in reservoir.classes.iter().enumerate() {
                    of_site[hostile].push(pool.hostile.len());
                    pool.matrix.push(reservoir.rows.row(at));
                    pool.hostile.push(hostile == 1);
                    pool.classes.push(*class);
                }
                let count = of_site[hostile].len();
                random.choose(&mut of_site[hostile], count);
            }
            pool.rows.push(of_site);
        }
        let mut tested: Vec<usize> = (0..pool.rows.len()).filter(|site| pool.has_both(*site)).collect();
        tested
            .sort_by_key(|site| std::cmp::Reverse(pool.rows[*site][0].len().min(pool.rows[*site][1].len())));
        tested.truncate(MATRIX_SITES_MAX);
        tested.sort_unstable();
        pool.tested = tested;
        pool
    }

    fn has_both(&self, site: usize) -> bool {
        self.rows[site].iter().all(|rows| rows.len() >= KIND_ROWS_MIN)
    }

    /// Trains and tries every model on every choice of sites.
    fn ask(&self, asked: &mut [Asked], all: &[usize], sample: &Sample, seed: u64) {
        for train in &self.tested {
            let rows =
                limited(self.rows[*train].each_ref().map(|rows| &rows[..rows.len() / 2]), TRAIN_ROWS_MAX);
            let Some(binned) = Binned::new(&self.matrix, &rows, &self.hostile, all) else { continue };
            for model in &mut *asked {
                let fitted = model.fit(&binned, seed);
                model.learnt.push(fitted.in_words(sample));
                let mut line = (Vec::new(), Vec::new());
                for test in &self.tested {
                    let half = if test == train { 2 } else { 1 };
                    let rows =
                        self.rows[*test].each_ref().map(|rows| &rows[rows.len() - rows.len() / half..]);
                    let (auc, accuracy) = self.try_on(&fitted, &limited(rows, TEST_ROWS_MAX));
                    line.0.push(auc);
                    line.1.push(accuracy);
                }
                model.auc.push(line.0);
                model.balanced_accuracy.push(line.1);
            }
        }
        let mut random = Random::new(seed ^ 1);
        for test in &self.tested {
            let mut others = self.together(|site| site != *test, |rows| rows);
            let rows = drawn(&mut others, TRAIN_ROWS_MAX, &mut random);
            let Some(binned) = Binned::new(&self.matrix, &rows, &self.hostile, all) else { continue };
            let tests = limited(self.rows[*test].each_ref().map(Vec::as_slice), TEST_ROWS_MAX);
            for model in &mut *asked {
                let fitted = model.fit(&binned, seed);
                model.left_out.push(self.try_on(&fitted, &tests).0);
            }
        }
        for fold in self.folds() {
            let mut others = self.together(|site| !fold.contains(&site), |rows| rows);
            let mut held_out = self.together(|site| fold.contains(&site), |rows| rows);
            let rows = drawn(&mut others, TRAIN_ROWS_MAX, &mut random);
            let tests = drawn(&mut held_out, TEST_ROWS_MAX, &mut random);
            let Some(binned) = Binned::new(&self.matrix, &rows, &self.hostile, all) else { continue };
            if held_out.iter().any(Vec::is_empty) {
                continue;
            }
            for model in &mut *asked {
                let fitted = model.fit(&binned, seed);
                model.site_folds.push(self.try_on(&fitted, &tests).0);
            }
        }
        let mut halves = [
            self.together(|_| true, |rows| &rows[..rows.len() / 2]),
            self.together(|_| true, |rows| &rows[rows.len() / 2..]),
        ];
        let [train, test] = &mut halves;
        let rows = drawn(train, TRAIN_ROWS_MAX, &mut random);
        let tests = drawn(test, 2 * TEST_ROWS_MAX, &mut random);
        if let Some(binned) = Binned::new(&self.matrix, &rows, &self.hostile, all)
            && tests.iter().any(|row| self.hostile[*row])
            && tests.iter().any(|row| !self.hostile[*row])
        {
            for model in &mut *asked {
                let fitted = model.fit(&binned, seed);
                model.random_split = Some(self.try_on(&fitted, &tests).0);
            }
        }
    }

    /// Sites in [`FOLDS`] folds: the largest first, each to the fold that has the least of its larger kind.
    fn folds(&self) -> Vec<Vec<usize>> {
        let mut sites: Vec<usize> = (0..self.rows.len()).collect();
        let larger = |site: usize| {
            let [benign, hostile] = &self.rows[site];
            if hostile.len() > benign.len() { (1, hostile.len()) } else { (0, benign.len()) }
        };
        sites.sort_by_key(|site| std::cmp::Reverse(larger(*site).1));
        let mut folds = vec![Vec::new(); FOLDS];
        let mut rows = [[0; 2]; FOLDS];
        for site in sites {
            let (kind, _) = larger(site);
            let least = (0..FOLDS).min_by_key(|fold| rows[*fold][kind]).unwrap_or(0);
            folds[least].push(site);
            for (sum, of_site) in rows[least].iter_mut().zip(&self.rows[site]) {
                *sum += of_site.len();
            }
        }
        folds
    }

    /// Rows of several sites, benign and hostile.
    fn together(
        &self,
        which: impl Fn(usize) -> bool,
        part: impl Fn(&[usize]) -> &[usize],
    ) -> [Vec<usize>; 2] {
        let mut both: [Vec<usize>; 2] = Default::default();
        for (_, of_site) in self.rows.iter().enumerate().filter(|(site, _)| which(*site)) {
            for (kind, rows) in both.iter_mut().zip(of_site) {
                kind.extend(part(rows));
            }
        }
        both
    }

    /// AUC and balanced accuracy; half for both where a kind is absent.
    fn try_on(&self, fitted: &Fitted, rows: &[usize]) -> (f64, f64) {
        let mut scored = Vec::with_capacity(rows.len());
        let mut called = Vec::with_capacity(rows.len());
        for row in rows {
            let (score, is_called) = fitted.judge(self.matrix.row(*row));
            scored.push((score, self.hostile[*row]));
            called.push((is_called, self.hostile[*row]));
        }
        (auc(&mut scored).unwrap_or(0.5), balanced_accuracy(called).unwrap_or(0.5))
    }

    fn conflicts(&self, columns: &[usize]) -> Conflicts {
        let hashes = BuildHasherDefault::<DefaultHasher>::default();
        let vector = |row: usize| {
            let cells = self.matrix.row(row);
            let rounded: Vec<u32> =
                columns.iter().map(|column| cells[*column].to_bits().wrapping_add(0x8000) >> 16).collect();
            hashes.hash_one(rounded)
        };
        let mut groups: HashMap<u64, [u64; Class::ALL.len()]> = HashMap::new();
        for (row, class) in self.classes.iter().enumerate() {
            groups.entry(vector(row)).or_default()[*class as usize] += 1;
        }
        let mut rows = [0u64; Class::ALL.len()];
        let mut equal = [0u64; Class::ALL.len()];
        let (mut benign_equal, mut hostile_equal) = (0, 0);
        for counts in groups.values() {
            let classes = counts.iter().filter(|count| **count > 0).count();
            for (class, count) in counts.iter().enumerate() {
                rows[class] += count;
                equal[class] += if classes > 1 { *count } else { 0 };
            }
            let [benign, hostile @ ..] = counts;
            let hostile: u64 = hostile.iter().sum();
            if *benign > 0 && hostile > 0 {
                benign_equal += benign;
                hostile_equal += hostile;
            }
        }
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let of_class = |class: Class| ConflictsOfClass {
            class: class.name(),
            rows: rows[class as usize],
            equal_to_another_class: share(equal[class as usize], rows[class as usize]),
        };
        Conflicts {
            classes: Class::ALL.into_iter().filter(|class| rows[*class as usize] > 0).map(of_class).collect(),
            benign_equal_to_hostile: share(benign_equal, rows[0]),
            hostile_equal_to_benign: share(hostile_equal, rows[1..].iter().sum()),
        }
    }
}

/// The first rows of each kind, which are in a random order already.
fn limited(rows: [&[usize]; 2], max: usize) -> Vec<usize> {
    rows.iter().flat_map(|rows| &rows[..rows.len().min(max)]).copied().collect()
}

/// So many rows of each kind at random.
fn drawn(rows: &mut [Vec<usize>; 2], max: usize, random: &mut Random) -> Vec<usize> {
    for kind in &mut *rows {
        random.choose(kind, max);
    }
    limited(rows.each_ref().map(Vec::as_slice), max)
}

#[derive(Clone, Copy)]
enum Kind {
    Threshold,
    Trees(Shape),
}

/// A model, and what came of it so far.
struct Asked {
    name: &'static str,
    kind: Kind,
    columns: Vec<usize>,
    learnt: Vec<String>,
    auc: Vec<Vec<f64>>,
    balanced_accuracy: Vec<Vec<f64>>,
    left_out: Vec<f64>,
    site_folds: Vec<f64>,
    random_split: Option<f64>,
}

enum Fitted {
    /// The value itself is the score, so that the AUC does not depend on where the threshold lies.
    Threshold(Threshold),
    Trees(Trees),
    Nothing,
}

impl Asked {
    fn new(name: &'static str, kind: Kind, columns: &[usize]) -> Self {
        Self {
            name,
            kind,
            columns: columns.to_vec(),
            learnt: Vec::new(),
            auc: Vec::new(),
            balanced_accuracy: Vec::new(),
            left_out: Vec::new(),
            site_folds: Vec::new(),
            random_split: None,
        }
    }

    fn fit(&self, binned: &Binned<'_>, seed: u64) -> Fitted {
        if self.columns.is_empty() {
            return Fitted::Nothing;
        }
        match self.kind {
            Kind::Threshold => binned
                .fit(&self.columns, Shape::THRESHOLD, seed)
                .first_threshold()
                .map_or(Fitted::Nothing, Fitted::Threshold),
            Kind::Trees(shape) => Fitted::Trees(binned.fit(&self.columns, shape, seed)),
        }
    }

    fn report(self, sample: &Sample) -> ModelReport {
        ModelReport {
            name: self.name,
            columns: self.columns.iter().map(|column| sample.features[*column].name.clone()).collect(),
            within_auc: mean(diagonal(&self.auc)),
            across_auc: mean(off_diagonal(&self.auc)),
            left_out_mean_auc: mean(self.left_out.iter().copied()),
            within_balanced_accuracy: mean(diagonal(&self.balanced_accuracy)),
            across_balanced_accuracy: mean(off_diagonal(&self.balanced_accuracy)),
            site_folds_auc: mean(self.site_folds.iter().copied()),
            learnt: self.learnt,
            auc: self.auc,
            balanced_accuracy: self.balanced_accuracy,
            left_out_auc: self.left_out,
            random_split_auc: self.random_split,
        }
    }
}

impl Fitted {
    /// The score, and whether the row is called hostile.
    fn judge(&self, row: &[f32]) -> (f32, bool) {
        match self {
            Self::Threshold(rule) => {
                let value = row[rule.column];
                let called = (value > rule.threshold) == rule.hostile_above;
                (if rule.hostile_above { value } else { -value }, called)
            }
            Self::Trees(trees) => {
                let score = trees.score(row);
                (score, score > 0.5)
            }
            Self::Nothing => (0.0, false),
        }
    }

    fn in_words(&self, sample: &Sample) -> String {
        match self {
            Self::Threshold(Threshold { column, threshold, hostile_above }) => {
                let sign = if *hostile_above { ">" } else { "<=" };
                format!("{} {sign} {threshold} is hostile", sample.features[*column].name)
            }
            Self::Trees(_) => String::new(),
            Self::Nothing => "nothing parts the classes".to_owned(),
        }
    }
}

fn diagonal(matrix: &[Vec<f64>]) -> impl Iterator<Item = f64> {
    matrix.iter().enumerate().map(|(at, line)| line[at])
}

fn off_diagonal(matrix: &[Vec<f64>]) -> impl Iterator<Item = f64> {
    matrix.iter().enumerate().flat_map(|(at, line)| {
        line.iter().enumerate().filter(move |(column, _)| *column != at).map(|(_, value)| *value)
    })
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Feature;

    /// Two sites: `shape` tells attacks on both; `port` tells them on each, the other way round.
    fn sample() -> Sample {
        let feature = |name: &str, role| Feature { name: name.to_owned(), role };
        let mut sample =
            Sample::new(vec![feature("shape", Role::Ordinary), feature("port", Role::Shortcut)], 3);
        for index in 0..400 {
            for (site, turned) in [("a", false), ("b", true)] {
                let hostile = index % 2 == 0;
                let shape = if hostile { 10.0 } else { 0.0 } + (index % 7) as f32;
                let port = if hostile != turned { 80.0 } else { 443.0 };
                let class = if hostile { Class::Scan } else { Class::Benign };
                sample.add(site, class, &[shape, port]);
            }
            sample.add("quiet", Class::Benign, &[3.0, 22.0]);
        }
        sample
    }

    #[test]
    fn what_holds_within_a_site_only_is_seen() {
        let honesty = check(&sample(), 1);
        assert_eq!(honesty.sites, ["a", "b"]);
        assert_eq!(honesty.sites_of_one_kind, ["quiet"]);
        let [threshold, _, shortcut, ordinary] = &honesty.models[..] else { panic!("four models") };
        assert_eq!(shortcut.auc, [[1.0, 0.0], [0.0, 1.0]]);
        assert_eq!(shortcut.columns, ["port"]);
        assert_eq!((shortcut.within_auc, shortcut.across_auc), (Some(1.0), Some(0.0)));
        assert_eq!(shortcut.across_balanced_accuracy, Some(0.0));
        assert_eq!((ordinary.within_auc, ordinary.across_auc), (Some(1.0), Some(1.0)));
        assert_eq!(ordinary.left_out_auc, [1.0, 1.0]);
        assert_eq!(threshold.learnt[0], "shape > 6 is hostile");
        // Thrown together, neither port says anything, so the random split is near a coin; shape holds.
        assert!((shortcut.random_split_auc.unwrap() - 0.5).abs() < 0.4);
        assert_eq!(ordinary.random_split_auc, Some(1.0));
    }

    #[test]
    fn equal_vectors_of_two_classes_are_counted() {
        let mut sample = Sample::new(vec![Feature { name: "x".to_owned(), role: Role::Ordinary }], 1);
        for (class, value) in [
            (Class::Benign, 1.0),
            (Class::Scan, 1.000_1),
            (Class::Scan, 2.0),
            (Class::Dos, 2.0),
            (Class::Dos, 9.0),
        ] {
            sample.add("a", class, &[value]);
        }
        let conflicts = check(&sample, 1).conflicting_vectors;
        assert_eq!((conflicts.benign_equal_to_hostile, conflicts.hostile_equal_to_benign), (1.0, 0.25));
        let shares: Vec<_> =
            conflicts.classes.iter().map(|c| (c.class, c.rows, c.equal_to_another_class)).collect();
        assert_eq!(shares, [("benign", 1, 1.0), ("scan", 2, 1.0), ("dos", 2, 0.5)]);
    }

    #[test]
    fn nothing_is_said_of_an_empty_table() {
        let honesty = check(&Sample::new(Vec::new(), 1), 1);
        assert_eq!((honesty.rows, honesty.models[0].across_auc), (0, None));
    }
}
