//! Which inputs the network gets: the top k by mutual information with the class and by analysis of variance.
//!
//! In: training rows of the table, and nothing else. Out: every input with its two figures, its rank and its fate.
//!
//! * Mutual information between the class and the input in bins of equal weight (quantiles), in bits. It sees any
//!   dependence of one input, but not what two inputs tell together.
//! * F of the one-way analysis of variance: variance between the classes over variance within them. It sees differences
//!   of means, which is what a near linear first layer can use most easily.
//! * The mean of both ranks orders the inputs. Left out are those of one value nearly everywhere, and those whose
//!   correlation with a better one is above `duplicate_above`.
//!
//! Rows are weighted: each class weighs the same, and within it each network by the square root of its rows. Otherwise the
//! figures would speak of the largest class on the largest network only (benign is 97 rows in 100).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{CLASSES, Random, Table, TrainError};

/// What to select.
#[derive(Clone, Copy, Debug)]
pub struct SelectionSpec {
    /// Inputs at most.
    pub k: usize,
    /// A correlation, without its sign, above which the worse of two inputs is left out.
    pub duplicate_above: f64,
    /// Rows looked at, at most; of a larger table a sample that keeps small classes and networks whole.
    pub sample_rows: usize,
    /// Seed of the sample.
    pub seed: u64,
}

impl Default for SelectionSpec {
    fn default() -> Self {
        Self { k: 50, duplicate_above: 0.98, sample_rows: 200_000, seed: 0 }
    }
}

/// The inputs, best first.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Every input of the table.
    pub inputs: Vec<Ranked>,
}

/// One input and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranked {
    /// Its name.
    pub name: String,
    /// Its place in the table.
    pub place: usize,
    /// With the class, in bits.
    pub mutual_information: f64,
    /// Of the one-way analysis of variance.
    pub f: f64,
    /// Mean of the ranks by the two, from 1.
    pub rank: f64,
    /// Whether it was taken.
    pub fate: Fate,
}

/// Whether an input was taken, and why not.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It is an input of the network.
    Chosen,
    /// One value has more than [`CONSTANT_SHARE`] of the weight.
    NearConstant,
    /// The configuration leaves it out.
    LeftOut,
    /// It says the same as this better one.
    Duplicate(String),
    /// Others are better.
    BeyondK,
}

impl Selection {
    /// Ranks the inputs of `table` by its `rows`, and takes the best but for those that are to be `left_out`.
    ///
    /// # Errors
    ///
    /// The rows are of one class.
    pub fn of(
        table: &Table,
        rows: &[u32],
        spec: &SelectionSpec,
        left_out: impl Fn(&str) -> bool,
    ) -> Result<Self, TrainError> {
        let sample = WeightedRows::sample(table, rows, spec)?;
        let mut columns: Vec<Ranked> = Vec::with_capacity(table.width());
        let mut order: Vec<u32> = (0..sample.rows.len() as u32).collect();
        let mut values = vec![0.0; sample.rows.len()];
        for (place, name) in table.inputs.iter().enumerate() {
            sample.column(table, place, &mut values);
            order.sort_unstable_by(|a, b| {
                values[*a as usize].total_cmp(&values[*b as usize]).then_with(|| a.cmp(b))
            });
            let (mutual_information, commonest) = sample.mutual_information(&values, &order);
            let fate = match commonest > CONSTANT_SHARE {
                _ if left_out(name) => Fate::LeftOut,
                true => Fate::NearConstant,
                false => Fate::BeyondK,
            };
            let f = sample.f(&values);
            columns.push(Ranked { name: name.clone(), place, mutual_information, f, rank: 0.0, fate });
        }
        for by in [|ranked: &Ranked| ranked.mutual_information, |ranked: &Ranked| ranked.f] {
            let mut places: Vec<usize> = (0..columns.len()).collect();
            places.sort_by(|a, b| by(&columns[*b]).total_cmp(&by(&columns[*a])));
            for (rank, place) in places.into_iter().enumerate() {
                columns[place].rank += (rank + 1) as f64 / 2.0;
            }
        }
        columns.sort_by(|a, b| {
            a.rank.total_cmp(&b.rank).then_with(|| b.mutual_information.total_cmp(&a.mutual_information))
        });

        let mut chosen: Vec<(String, Vec<f32>)> = Vec::with_capacity(spec.k);
        for ranked in &mut columns {
            if ranked.fate != Fate::BeyondK || chosen.len() == spec.k {
                continue;
            }
            sample.column(table, ranked.place, &mut values);
            let standard = sample.standardised(&values);
            let twin = chosen
                .iter()
                .find(|(_, other)| f64::from(dot(&standard, other)).abs() > spec.duplicate_above);
            ranked.fate = match twin {
                Some((name, _)) => Fate::Duplicate(name.clone()),
                None => {
                    chosen.push((ranked.name.clone(), standard));
                    Fate::Chosen
                }
            };
        }
        Ok(Self { inputs: columns })
    }

    /// The inputs taken, best first.
    pub fn chosen(&self) -> impl Iterator<Item = &Ranked> {
        self.inputs.iter().filter(|ranked| ranked.fate == Fate::Chosen)
    }

    /// Places of the inputs taken in the table, best first.
    #[must_use]
    pub fn places(&self) -> Vec<usize> {
        self.chosen().map(|ranked| ranked.place).collect()
    }

    /// One line per input, tab-separated, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = "rank\tinput\tmutual_information_bits\tf\tfate\n".to_owned();
        for ranked in &self.inputs {
            let fate = match &ranked.fate {
                Fate::Chosen => "chosen".to_owned(),
                Fate::NearConstant => "nearly constant".to_owned(),
                Fate::LeftOut => "left out".to_owned(),
                Fate::Duplicate(other) => format!("says the same as {other}"),
                Fate::BeyondK => "beyond k".to_owned(),
            };
            text.push_str(&format!(
                "{}\t{}\t{:.4}\t{:.1}\t{fate}\n",
                ranked.rank, ranked.name, ranked.mutual_information, ranked.f
            ));
        }
        text
    }
}

/// Rows of a table with their classes and weights; the weights add up to 1.
struct WeightedRows {
    rows: Vec<u32>,
    class: Vec<u8>,
    weight: Vec<f64>,
    /// Weight of each class.
    class_weight: [f64; CLASSES.len()],
}

impl WeightedRows {
    fn sample(table: &Table, rows: &[u32], spec: &SelectionSpec) -> Result<Self, TrainError> {
        let mut groups: BTreeMap<(u8, u32), Vec<u32>> = BTreeMap::new();
        for row in rows {
            let at = *row as usize;
            groups.entry((table.class[at], table.source.id(at))).or_default().push(*row);
        }
        let mut roots: BTreeMap<u8, f64> = BTreeMap::new();
        for ((class, _), rows) in &groups {
            *roots.entry(*class).or_default() += (rows.len() as f64).sqrt();
        }
        if roots.len() < 2 {
            let reason = match roots.keys().next() {
                Some(class) => format!("all training rows are of class {:?}", CLASSES[usize::from(*class)]),
                None => "there are no training rows: look at data.train and data.leave_out".to_owned(),
            };
            return Err(TrainError::Data { reason });
        }
        let mut random = Random::stream(spec.seed, "selection", 0);
        let cap = fair_cap(groups.values().map(Vec::len), spec.sample_rows);
        let mut sample = Self {
            rows: Vec::new(),
            class: Vec::new(),
            weight: Vec::new(),
            class_weight: [0.0; CLASSES.len()],
        };
        for ((class, _), mut rows) in groups {
            let root = (rows.len() as f64).sqrt();
            let kept = rows.len().min(cap);
            random.choose(&mut rows, kept);
            let weight = root / roots[&class] / roots.len() as f64;
            sample.class_weight[usize::from(class)] += weight;
            sample.class.resize(sample.class.len() + kept, class);
            sample.weight.resize(sample.weight.len() + kept, weight / kept as f64);
            sample.rows.extend_from_slice(&rows[..kept]);
        }
        Ok(sample)
    }

    fn column(&self, table: &Table, place: usize, values: &mut [f32]) {
        for (value, row) in values.iter_mut().zip(&self.rows) {
            *value = table.row(*row as usize)[place];
        }
    }

    /// Mutual information with the class in bits, and the weight of the commonest value. `order` sorts the values.
    fn mutual_information(&self, values: &[f32], order: &[u32]) -> (f64, f64) {
        let full = 1.0 / BINS as f64;
        let mut bins: Vec<[f64; CLASSES.len()]> = vec![[0.0; CLASSES.len()]];
        let mut filled = 0.0;
        let mut commonest: f64 = 0.0;
        for tied in order.chunk_by(|a, b| values[*a as usize].total_cmp(&values[*b as usize]).is_eq()) {
            let weight: f64 = tied.iter().map(|at| self.weight[*at as usize]).sum();
            commonest = commonest.max(weight);
            // A value is never divided between bins; a heavy one gets a bin of its own.
            if filled > 0.0 && filled + weight > 1.5 * full {
                bins.push([0.0; CLASSES.len()]);
                filled = 0.0;
            }
            let last = bins.len() - 1;
            for at in tied {
                bins[last][usize::from(self.class[*at as usize])] += self.weight[*at as usize];
            }
            filled += weight;
            if filled >= full {
                bins.push([0.0; CLASSES.len()]);
                filled = 0.0;
            }
        }
        let mut information = 0.0;
        for bin in &bins {
            let of_bin: f64 = bin.iter().sum();
            for (joint, of_class) in bin.iter().zip(&self.class_weight) {
                if *joint > 0.0 {
                    information += joint * (joint / (of_bin * of_class)).log2();
                }
            }
        }
        (information.max(0.0), commonest)
    }

    /// F of the one-way analysis of variance.
    fn f(&self, values: &[f32]) -> f64 {
        let mut means = [0.0; CLASSES.len()];
        for ((value, class), weight) in values.iter().zip(&self.class).zip(&self.weight) {
            means[usize::from(*class)] += weight * f64::from(*value) / self.class_weight[usize::from(*class)];
        }
        let mean: f64 = means.iter().zip(&self.class_weight).map(|(mean, weight)| mean * weight).sum();
        let between: f64 = means
            .iter()
            .zip(&self.class_weight)
            .map(|(of_class, weight)| weight * (of_class - mean).powi(2))
            .sum();
        let mut within = 0.0;
        for ((value, class), weight) in values.iter().zip(&self.class).zip(&self.weight) {
            within += weight * (f64::from(*value) - means[usize::from(*class)]).powi(2);
        }
        let classes = self.class_weight.iter().filter(|weight| **weight > 0.0).count();
        if between <= f64::EPSILON * mean.abs() {
            return 0.0;
        }
        let freedom = (self.rows.len().saturating_sub(classes)) as f64 / (classes - 1) as f64;
        between / within * freedom
    }

    /// Values whose dot product with another column's is their correlation.
    fn standardised(&self, values: &[f32]) -> Vec<f32> {
        let mean: f64 =
            values.iter().zip(&self.weight).map(|(value, weight)| f64::from(*value) * weight).sum();
        let variance: f64 = values
            .iter()
            .zip(&self.weight)
            .map(|(value, weight)| weight * (f64::from(*value) - mean).powi(2))
            .sum();
        let deviation = variance.sqrt().max(f64::MIN_POSITIVE);
        values
            .iter()
            .zip(&self.weight)
            .map(|(value, weight)| (weight.sqrt() * (f64::from(*value) - mean) / deviation) as f32)
            .collect()
    }
}

/// The largest cap on the size of groups with which they do not add up to more than `most`, at least 1.
fn fair_cap(sizes: impl Iterator<Item = usize>, most: usize) -> usize {
    let mut sizes: Vec<usize> = sizes.collect();
    sizes.sort_unstable();
    let mut left = most;
    for (at, size) in sizes.iter().enumerate() {
        let share = left / (sizes.len() - at);
        if *size > share {
            return share.max(1);
        }
        left -= size;
    }
    sizes.last().copied().unwrap_or(1)
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    // In pieces: a plain sum of many small f32 would lose digits.
    a.chunks(4096).zip(b.chunks(4096)).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>()).sum()
}

/// Bins of an input, if its values are many.
const BINS: usize = 32;

/// Weight of one value from which an input is as good as constant.
pub const CONSTANT_SHARE: f64 = 0.999;

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;
    use crate::test_table::{Change, TestRow, write};

    fn table(inputs: &[&str], rows: &[TestRow]) -> Table {
        Table::read(write(inputs, rows, Change::None).path()).unwrap()
    }

    fn row(class: &'static str, x: &[f32]) -> TestRow {
        TestRow { class, x: x.to_vec(), ..TestRow::default() }
    }

    fn select(table: &Table, k: usize) -> Selection {
        let rows: Vec<u32> = (0..table.rows() as u32).collect();
        Selection::of(table, &rows, &SelectionSpec { k, ..SelectionSpec::default() }, |_| false).unwrap()
    }

    #[test]
    fn figures_are_those_by_hand() {
        // Two classes of two rows each. "parts" tells them apart: 1 bit. "half" is 0, 0 against 0, 1: p(0) = 3/4, so
        // I = H(class) - H(class | x) = 1 - 3/4 * H(1/3) = 0.31128. Its means are 0 and 1/2, the mean 1/4: between
        // (per unit of weight) = 1/16, within = 1/2 * 1/4 = 1/8, F = (1/16)/(1/8) * (4 - 2)/(2 - 1) = 1.
        let table = table(
            &["half", "parts", "same"],
            &[
                row("benign", &[0.0, 1.0, 5.0]),
                row("benign", &[0.0, 1.0, 5.0]),
                row("scan", &[0.0, 2.0, 5.0]),
                row("scan", &[1.0, 2.0, 5.0]),
            ],
        );
        let selection = select(&table, 5);
        let by_name = |name: &str| selection.inputs.iter().find(|ranked| ranked.name == name).unwrap();
        assert!((by_name("parts").mutual_information - 1.0).abs() < 1e-12);
        assert!((by_name("half").mutual_information - 0.311_278).abs() < 1e-6);
        assert!((by_name("half").f - 1.0).abs() < 1e-12);
        assert_eq!(by_name("parts").f, f64::INFINITY);
        assert_eq!((by_name("same").mutual_information, by_name("same").f), (0.0, 0.0));
        assert_eq!(by_name("same").fate, Fate::NearConstant);
        assert_eq!(selection.places(), [1, 0]);
        assert!(selection.text().contains("\tsame\t0.0000\t0.0\tnearly constant\n"), "{}", selection.text());
    }

    #[test]
    fn a_twin_is_left_out_and_k_is_kept() {
        let mut random = Random::new(5);
        let rows: Vec<TestRow> = (0..400)
            .map(|at| {
                let scan = at % 4 == 0;
                let strong = random.normal() as f32 + if scan { 3.0 } else { 0.0 };
                let weak = random.normal() as f32 + if scan { 1.0 } else { 0.0 };
                let noise = random.normal() as f32;
                row(if scan { "scan" } else { "benign" }, &[noise, strong, -2.0 * strong + 1.0, weak])
            })
            .collect();
        let table = table(&["noise", "strong", "mirror", "weak"], &rows);
        let selection = select(&table, 2);
        let chosen: Vec<&str> = selection.chosen().map(|ranked| ranked.name.as_str()).collect();
        // Either of the twins may come first: they tell the same.
        let (first, second) = if chosen[0] == "strong" { ("strong", "mirror") } else { ("mirror", "strong") };
        assert_eq!(chosen, [first, "weak"]);
        let fate = |name: &str| &selection.inputs.iter().find(|ranked| ranked.name == name).unwrap().fate;
        assert_eq!(*fate(second), Fate::Duplicate(first.to_owned()));
        assert_eq!(*fate("noise"), Fate::BeyondK);
    }

    #[test]
    fn a_large_network_does_not_drown_a_small_class() {
        // "where" tells the networks apart, which is worth nothing within a class; "what" finds the two rows of c2.
        let mut rows: Vec<TestRow> = (0..2000)
            .map(|at| TestRow {
                site: if at % 2 == 0 { "a" } else { "b" },
                ..row("benign", &[(at % 2) as f32, 0.0])
            })
            .collect();
        rows.push(row("c2", &[0.0, 1.0]));
        rows.push(TestRow { site: "b", ..row("c2", &[1.0, 1.0]) });
        let table = table(&["where", "what"], &rows);
        let selection = select(&table, 1);
        assert_eq!(selection.places(), [1]);
        assert!((selection.inputs[0].mutual_information - 1.0).abs() < 1e-9);
        let sampled = SelectionSpec { k: 1, sample_rows: 100, ..SelectionSpec::default() };
        let rows: Vec<u32> = (0..table.rows() as u32).collect();
        assert_eq!(Selection::of(&table, &rows, &sampled, |_| false).unwrap().places(), [1]);
        let without = Selection::of(&table, &rows, &sampled, |name| name.starts_with("wh")).unwrap();
        assert!(without.places().is_empty());
    }

    #[test]
    fn one_class_cannot_be_told_apart() {
        let table = table(&["x"], &[row("scan", &[1.0])]);
        let spec = SelectionSpec::default();
        let error = |rows: &[u32]| Selection::of(&table, rows, &spec, |_| false).unwrap_err().to_string();
        assert_eq!(error(&[0]), "all training rows are of class \"scan\"");
        assert_eq!(error(&[]), "there are no training rows: look at data.train and data.leave_out");
    }

    #[test]
    fn caps_are_fair() {
        assert_eq!(fair_cap([10, 100, 100].into_iter(), 110), 50);
        assert_eq!(fair_cap([10, 100, 100].into_iter(), 1000), 100);
        assert_eq!(fair_cap([10, 100].into_iter(), 0), 1);
    }
}
