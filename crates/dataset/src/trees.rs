//! Decision trees over binned columns: a threshold, a tree of depth two and a forest are one thing with other sizes.
//!
//! In: a [`Matrix`], the rows and columns to learn from, which rows are hostile. Out: `Trees`, which score a row from 0
//! (benign) to 1. Hostile and benign weigh the same whatever their numbers, so that a score of one half is the border.
//! Cut points are quantiles of the training rows, at most 255 a column; a column with fewer values is cut between any
//! two. Everything follows from the seed.
//!
//! These are measuring instruments for the data card. No detector is made of them.

use crate::random::Random;

/// Rows of finite numbers, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    width: usize,
    cells: Vec<f32>,
}

impl Matrix {
    /// Without rows, of `width` columns.
    #[must_use]
    pub const fn new(width: usize) -> Self {
        Self { width, cells: Vec::new() }
    }

    /// Adds a row; it must be as wide as the matrix.
    pub fn push(&mut self, row: &[f32]) {
        debug_assert_eq!(row.len(), self.width);
        self.cells.extend_from_slice(row);
    }

    /// Puts `row` in the place of another.
    pub fn replace(&mut self, index: usize, row: &[f32]) {
        self.cells[index * self.width..(index + 1) * self.width].copy_from_slice(row);
    }

    /// One row.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f32] {
        &self.cells[index * self.width..(index + 1) * self.width]
    }
}

/// How large trees grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) trees: usize,
    pub(crate) depth: u32,
    /// Whether each tree draws its rows with replacement, and each split looks at a square root of the columns.
    pub(crate) random: bool,
}

impl Shape {
    /// One feature, one threshold.
    pub(crate) const THRESHOLD: Self = Self { trees: 1, depth: 1, random: false };
    /// Two questions in a row.
    pub(crate) const DEPTH_TWO: Self = Self { trees: 1, depth: 2, random: false };
    /// A small random forest.
    pub(crate) const FOREST: Self = Self { trees: 40, depth: 8, random: true };
}

/// Learnt trees; the score of a row is the mean over them.
#[derive(Clone, Debug)]
pub(crate) struct Trees {
    nodes: Vec<Node>,
    roots: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Node {
    /// Rows whose `column` is above `threshold` go to `above`, the others to the node after this one.
    Split { column: u32, threshold: f32, above: u32 },
    /// The share of hostile weight.
    Leaf(f32),
}

/// The first question of the first tree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Threshold {
    pub(crate) column: usize,
    pub(crate) threshold: f32,
    /// Whether what is above is hostile.
    pub(crate) hostile_above: bool,
}

impl Trees {
    pub(crate) fn score(&self, row: &[f32]) -> f32 {
        let sum: f32 = self.roots.iter().map(|root| self.leaf(*root as usize, row)).sum();
        sum / self.roots.len() as f32
    }

    fn leaf(&self, mut at: usize, row: &[f32]) -> f32 {
        loop {
            match self.nodes[at] {
                Node::Leaf(share) => return share,
                Node::Split { column, threshold, above } => {
                    at = if row[column as usize] > threshold { above as usize } else { at + 1 };
                }
            }
        }
    }

    /// The first question; `None` if no column parts the classes.
    pub(crate) fn first_threshold(&self) -> Option<Threshold> {
        let Node::Split { column, threshold, above } = self.nodes[0] else { return None };
        let share = |at: usize| match self.nodes[at] {
            Node::Leaf(share) => Some(share),
            Node::Split { .. } => None,
        };
        let hostile_above = share(above as usize)? > share(1)?;
        Some(Threshold { column: column as usize, threshold, hostile_above })
    }
}

/// Training rows with every column cut into bins: made once, learnt from by trees of any shape.
#[derive(Debug)]
pub(crate) struct Binned<'a> {
    hostile: Vec<bool>,
    /// Weight of a benign and of a hostile row.
    weights: [f64; 2],
    columns: Vec<BinnedColumn>,
    names: &'a [usize],
}

#[derive(Debug)]
struct BinnedColumn {
    /// A value is in bin `k` if `k` of these are below it.
    cuts: Vec<f32>,
    bins: Vec<u8>,
}

/// Bins of a column at most.
const BINS: usize = 256;

/// A leaf holds at least so many rows.
const LEAF_MIN: u32 = 5;

impl<'a> Binned<'a> {
    /// `columns` of `rows` of the matrix. `None` without rows of both kinds.
    pub(crate) fn new(
        matrix: &Matrix,
        rows: &[usize],
        hostile: &[bool],
        columns: &'a [usize],
    ) -> Option<Self> {
        let hostile: Vec<bool> = rows.iter().map(|row| hostile[*row]).collect();
        let of_hostile = hostile.iter().filter(|hostile| **hostile).count();
        let of_benign = hostile.len() - of_hostile;
        if of_hostile == 0 || of_benign == 0 {
            return None;
        }
        let weights = [0.5 / of_benign as f64, 0.5 / of_hostile as f64];
        let binned = |column: &usize| {
            let values: Vec<f32> = rows.iter().map(|row| matrix.row(*row)[*column]).collect();
            let cuts = cuts(&values);
            let bins = values.iter().map(|value| cuts.partition_point(|cut| cut < value) as u8).collect();
            BinnedColumn { cuts, bins }
        };
        Some(Self { hostile, weights, columns: columns.iter().map(binned).collect(), names: columns })
    }

    /// Learns from the columns at `among` (places in the list given to [`Binned::new`]).
    pub(crate) fn fit(&self, among: &[usize], shape: Shape, seed: u64) -> Trees {
        let mut growth = Growth {
            data: self,
            nodes: Vec::new(),
            among: among.to_vec(),
            draws_columns: shape.random,
            columns_per_split: if shape.random { among.len().isqrt().max(1) } else { among.len() },
            random: Random::new(seed),
        };
        let mut roots = Vec::with_capacity(shape.trees);
        for _ in 0..shape.trees {
            let count = self.hostile.len();
            let mut rows: Vec<u32> = if shape.random {
                (0..count).map(|_| growth.random.below(count) as u32).collect()
            } else {
                (0..count as u32).collect()
            };
            roots.push(growth.nodes.len() as u32);
            growth.grow(&mut rows, shape.depth);
        }
        Trees { nodes: growth.nodes, roots }
    }
}

/// Values between which a column may be cut: at most 255 quantiles of it.
fn cuts(values: &[f32]) -> Vec<f32> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let mut cuts: Vec<f32> = if sorted.len() < BINS {
        sorted.clone()
    } else {
        (0..BINS - 1).map(|at| sorted[at * (sorted.len() - 1) / (BINS - 1)]).collect()
    };
    cuts.dedup();
    let mut distinct = sorted;
    distinct.dedup();
    if distinct.len() < BINS {
        // The largest value needs no cut above it.
        distinct.pop();
        cuts = distinct;
    }
    cuts
}

struct Growth<'a> {
    data: &'a Binned<'a>,
    nodes: Vec<Node>,
    among: Vec<usize>,
    draws_columns: bool,
    columns_per_split: usize,
    random: Random,
}

/// Rows of a node by bin: benign and hostile.
type Histogram = [[u32; 2]; BINS];

impl Growth<'_> {
    fn grow(&mut self, rows: &mut [u32], depth: u32) {
        let mut counts = [0u32; 2];
        for row in &*rows {
            counts[usize::from(self.data.hostile[*row as usize])] += 1;
        }
        let split = if depth == 0 || counts.contains(&0) { None } else { self.best_split(rows, counts) };
        let Some((place, bin)) = split else {
            let [benign, hostile] = self.weigh(counts);
            self.nodes.push(Node::Leaf((hostile / (benign + hostile)) as f32));
            return;
        };
        let column = &self.data.columns[place];
        let below = partition(rows, |row| usize::from(column.bins[row as usize]) <= bin);
        let at = self.nodes.len();
        // The other side's place is known only once this side has grown.
        self.nodes.push(Node::Leaf(0.0));
        let threshold = column.cuts[bin];
        let (low, high) = rows.split_at_mut(below);
        self.grow(low, depth - 1);
        let above = self.nodes.len() as u32;
        self.grow(high, depth - 1);
        self.nodes[at] = Node::Split { column: self.data.names[place] as u32, threshold, above };
    }

    /// The column (its place) and the last bin of the lower side that leave the least Gini impurity.
    fn best_split(&mut self, rows: &[u32], counts: [u32; 2]) -> Option<(usize, usize)> {
        if self.draws_columns {
            self.random.choose(&mut self.among, self.columns_per_split);
        }
        let total = self.weigh(counts);
        let mut best = (purity(total) + 1e-9, None);
        for place in &self.among[..self.columns_per_split] {
            let column = &self.data.columns[*place];
            let mut histogram: Histogram = [[0; 2]; BINS];
            for row in rows {
                let row = *row as usize;
                histogram[usize::from(column.bins[row])][usize::from(self.data.hostile[row])] += 1;
            }
            let mut below = [0u32; 2];
            for (bin, here) in histogram.iter().enumerate().take(column.cuts.len()) {
                below = [below[0] + here[0], below[1] + here[1]];
                let above = [counts[0] - below[0], counts[1] - below[1]];
                if below[0] + below[1] < LEAF_MIN {
                    continue;
                }
                if above[0] + above[1] < LEAF_MIN {
                    break;
                }
                let purity = purity(self.weigh(below)) + purity(self.weigh(above));
                if purity > best.0 {
                    best = (purity, Some((*place, bin)));
                }
            }
        }
        best.1
    }

    fn weigh(&self, [benign, hostile]: [u32; 2]) -> [f64; 2] {
        [f64::from(benign) * self.data.weights[0], f64::from(hostile) * self.data.weights[1]]
    }
}

/// Weight times (1 - Gini impurity): to be made large.
fn purity([benign, hostile]: [f64; 2]) -> f64 {
    (benign * benign + hostile * hostile) / (benign + hostile)
}

/// Moves the rows for which `first` holds to the front and gives their number.
fn partition(rows: &mut [u32], first: impl Fn(u32) -> bool) -> usize {
    let mut kept = 0;
    for at in 0..rows.len() {
        if first(rows[at]) {
            rows.swap(kept, at);
            kept += 1;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(count: usize, width: usize, row: impl Fn(usize) -> (Vec<f32>, bool)) -> (Matrix, Vec<bool>) {
        let mut matrix = Matrix::new(width);
        let mut hostile = Vec::new();
        for index in 0..count {
            let (cells, is_hostile) = row(index);
            matrix.push(&cells);
            hostile.push(is_hostile);
        }
        (matrix, hostile)
    }

    #[test]
    fn a_threshold_is_found_exactly() {
        // Column 1 parts the classes between 6 and 7, and the benign side is the larger by far.
        let (matrix, hostile) =
            data(100, 2, |i| (vec![(i % 3) as f32, (i % 10) as f32], i % 10 < 7 && i % 2 == 0));
        let rows: Vec<usize> = (0..100).collect();
        let binned = Binned::new(&matrix, &rows, &hostile, &[0, 1]).unwrap();
        let first = binned.fit(&[0, 1], Shape::THRESHOLD, 0).first_threshold().unwrap();
        assert_eq!(first, Threshold { column: 1, threshold: 6.0, hostile_above: false });
    }

    #[test]
    fn two_questions_answer_an_exclusive_or_that_leans() {
        let (matrix, hostile) = data(400, 2, |i| {
            (vec![(i % 2) as f32, (i / 2 % 2) as f32], i % 4 == 3 || (i % 4 == 0 && i < 40))
        });
        let rows: Vec<usize> = (0..400).collect();
        let binned = Binned::new(&matrix, &rows, &hostile, &[0, 1]).unwrap();
        let tree = binned.fit(&[0, 1], Shape::DEPTH_TWO, 0);
        assert!(tree.score(&[1.0, 1.0]) > 0.99);
        assert!(tree.score(&[0.0, 1.0]) < 0.01);
    }

    #[test]
    fn a_forest_learns_and_is_the_same_for_a_seed() {
        let mut random = Random::new(7);
        let noise: Vec<f32> = (0..3_000).map(|_| random.below(1_000) as f32).collect();
        let (matrix, hostile) = data(1_000, 3, |i| {
            let cells = noise[3 * i..3 * i + 3].to_vec();
            let hostile = (cells[0] > 500.0) != (cells[2] > 500.0);
            (cells, hostile)
        });
        let rows: Vec<usize> = (0..1_000).collect();
        let binned = Binned::new(&matrix, &rows[..500], &hostile, &[0, 1, 2]).unwrap();
        let forest = binned.fit(&[0, 1, 2], Shape::FOREST, 1);
        let right = rows[500..]
            .iter()
            .filter(|row| (forest.score(matrix.row(**row)) > 0.5) == hostile[**row])
            .count();
        assert!(right > 425, "{right} of 500");
        let again = binned.fit(&[0, 1, 2], Shape::FOREST, 1);
        assert!(
            rows.iter().all(
                |row| forest.score(matrix.row(*row)).to_bits() == again.score(matrix.row(*row)).to_bits()
            )
        );
        let blind = binned.fit(&[1], Shape::FOREST, 1);
        let right =
            rows[500..].iter().filter(|row| (blind.score(matrix.row(**row)) > 0.5) == hostile[**row]).count();
        assert!((200..300).contains(&right), "{right} of 500");
    }

    #[test]
    fn nothing_is_learnt_from_one_kind() {
        let (matrix, hostile) = data(10, 1, |i| (vec![i as f32], true));
        assert!(Binned::new(&matrix, &[0, 1, 2], &hostile, &[0]).is_none());
    }
}
