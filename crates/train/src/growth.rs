//! One tree, grown from binned columns: the same for boosting, where leaves take Newton steps, and for forests, where
//! leaves hold class shares.
//!
//! In: binned rows, numbers to be summed per row ([`Objective`] says which is which), limits. Out: nodes, and which rows
//! lie in which leaf. The leaf whose split gains most is split first. Of two children only the smaller is summed up, the
//! other is what remains of the parent. Threads share the columns, each column is summed in the order of rows, so that
//! the tree does not depend on the number of threads.
//!
//! Sources: Friedman, Greedy function approximation, 2001 (boosting); Chen, Guestrin, XGBoost, 2016 (second order gain);
//! Ke et al., LightGBM, 2017 (histograms, best leaf first).

use std::ops::Range;

use tapline_score::trees::TreeArrays;

use crate::Random;
use crate::bins::{Binned, MOST_BINS};

/// What is summed per row and what sums are worth.
///
/// Of `L` numbers per row the first `outputs` are gradients (downhill), then come as many curvatures, or a single one that
/// all share, which then is the weight; without sharing the weight follows the curvatures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Objective {
    pub(crate) outputs: usize,
    pub(crate) shares_curvature: bool,
    /// Added to curvatures.
    pub(crate) l2: f64,
    /// The longest step of an output.
    pub(crate) most_step: f64,
}

/// How large a tree grows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) leaves: usize,
    pub(crate) depth: u32,
    /// Weight of a leaf at least.
    pub(crate) leaf_weight: f64,
    /// Gain of a split at least.
    pub(crate) gain: f64,
}

/// Which columns a split may look at.
#[derive(Debug)]
pub(crate) enum Candidates<'a> {
    /// These, ascending.
    Tree(&'a [usize]),
    /// So many of all, drawn for each split.
    Node(usize, Random),
}

/// A node; children stand side by side, after their parent.
#[derive(Clone, Debug)]
pub(crate) struct Node<const L: usize> {
    pub(crate) column: usize,
    pub(crate) bin: u8,
    /// Place of the left child; 0 of a leaf.
    pub(crate) left: usize,
    pub(crate) sums: [f64; L],
    inside: Range<usize>,
    outside: Range<usize>,
    depth: u32,
}

/// Grows trees one after the other; memory is reused.
#[derive(Debug)]
pub(crate) struct Grower<'a, const L: usize> {
    binned: &'a Binned,
    objective: Objective,
    limits: Limits,
    threads: usize,
    /// Rows to learn from, and others whose leaf is wanted: those of a node stand together, in ascending order.
    inside: Vec<u32>,
    outside: Vec<u32>,
    /// Room for moving rows.
    moved: Vec<u32>,
    /// Numbers of a node's rows.
    gathered: Vec<[f32; L]>,
    /// Histograms that are free.
    free: Vec<Vec<[f64; L]>>,
}

#[derive(Clone, Copy, Debug)]
struct Split<const L: usize> {
    gain: f64,
    column: usize,
    bin: u8,
    /// Sums of the rows that go left.
    left: [f64; L],
}

/// A leaf that can be split.
struct Open<const L: usize> {
    node: usize,
    split: Split<L>,
    histogram: Vec<[f64; L]>,
}

impl Objective {
    /// What sums are worth: the loss that the best steps save, doubled.
    fn worth<const L: usize>(&self, sums: &[f64; L]) -> f64 {
        let mut worth = 0.0;
        for output in 0..self.outputs {
            let curvature = self.curvature(sums, output);
            let step = self.step(sums, output);
            worth += step * (2.0 * sums[output] - curvature * step);
        }
        worth
    }

    /// The step of an output: along the gradient, as far as the curvature allows.
    pub(crate) fn step<const L: usize>(&self, sums: &[f64; L], output: usize) -> f64 {
        let curvature = self.curvature(sums, output);
        if curvature < 1e-12 {
            return 0.0;
        }
        (sums[output] / curvature).clamp(-self.most_step, self.most_step)
    }

    fn curvature<const L: usize>(&self, sums: &[f64; L], output: usize) -> f64 {
        let at = self.outputs + if self.shares_curvature { 0 } else { output };
        sums[at].max(0.0) + self.l2
    }

    fn weight<const L: usize>(&self, sums: &[f64; L]) -> f64 {
        sums[self.lanes() - 1]
    }

    /// Numbers per row that have a meaning.
    pub(crate) const fn lanes(&self) -> usize {
        if self.shares_curvature { self.outputs + 1 } else { 2 * self.outputs + 1 }
    }
}

impl<'a, const L: usize> Grower<'a, L> {
    pub(crate) fn new(binned: &'a Binned, objective: Objective, limits: Limits, threads: usize) -> Self {
        debug_assert!(objective.lanes() <= L);
        Self {
            binned,
            objective,
            limits,
            threads: threads.max(1),
            inside: Vec::new(),
            outside: Vec::new(),
            moved: Vec::new(),
            gathered: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Grows a tree from the rows `inside`, ascending; rows `outside` are only carried to their leaves. `numbers` has those
    /// of every row.
    pub(crate) fn grow(
        &mut self,
        inside: impl Iterator<Item = u32>,
        outside: impl Iterator<Item = u32>,
        numbers: &[[f32; L]],
        mut candidates: Candidates<'_>,
    ) -> Vec<Node<L>> {
        self.inside.clear();
        self.inside.extend(inside);
        self.outside.clear();
        self.outside.extend(outside);
        let mut sums = [0.0; L];
        for row in &self.inside {
            add(&mut sums, &numbers[*row as usize]);
        }
        let mut nodes = vec![Node {
            column: 0,
            bin: 0,
            left: 0,
            sums,
            inside: 0..self.inside.len(),
            outside: 0..self.outside.len(),
            depth: 0,
        }];
        let mut open: Vec<Open<L>> = Vec::new();
        if self.may_split(&nodes[0]) {
            self.open_alone(&nodes, 0, numbers, &mut candidates, &mut open);
        }
        let mut leaves = 1;
        while leaves < self.limits.leaves {
            let gains = open
                .iter()
                .enumerate()
                .max_by(|(_, a), (_, b)| a.split.gain.total_cmp(&b.split.gain).then(b.node.cmp(&a.node)));
            let Some((at, _)) = gains else { break };
            let Open { node, split, histogram } = open.swap_remove(at);
            let left = self.split(&mut nodes, node, &split);
            leaves += 1;
            let children =
                [left, left + 1].map(|child| leaves < self.limits.leaves && self.may_split(&nodes[child]));
            match candidates {
                Candidates::Tree(columns) if children != [false; 2] => {
                    self.open_both(&nodes, left, columns, numbers, histogram, children, &mut open);
                }
                Candidates::Tree(_) => self.put_back(histogram),
                Candidates::Node(..) => {
                    for (child, may_split) in [left, left + 1].into_iter().zip(children) {
                        if may_split {
                            self.open_alone(&nodes, child, numbers, &mut candidates, &mut open);
                        }
                    }
                }
            }
        }
        for leaf in open {
            self.put_back(leaf.histogram);
        }
        nodes
    }

    /// Rows of a leaf of the tree that was grown last: those inside, then those outside.
    pub(crate) fn rows(&self, node: &Node<L>) -> impl Iterator<Item = u32> {
        self.inside[node.inside.clone()].iter().chain(&self.outside[node.outside.clone()]).copied()
    }

    fn may_split(&self, node: &Node<L>) -> bool {
        node.depth < self.limits.depth
            && node.inside.len() >= 2
            && self.objective.weight(&node.sums) >= 2.0 * self.limits.leaf_weight
    }

    /// Moves the rows of a leaf to two new ones and gives the place of the left.
    fn split(&mut self, nodes: &mut Vec<Node<L>>, node: usize, split: &Split<L>) -> usize {
        let left = nodes.len();
        let parent = &mut nodes[node];
        (parent.column, parent.bin, parent.left) = (split.column, split.bin, left);
        let parent = parent.clone();
        let bins = &self.binned.columns[split.column].bins;
        let inside = &mut self.inside[parent.inside.clone()];
        let border = parent.inside.start + partition(inside, &mut self.moved, bins, split.bin);
        let outside = &mut self.outside[parent.outside.clone()];
        let outside_border = parent.outside.start + partition(outside, &mut self.moved, bins, split.bin);
        let mut right = parent.sums;
        subtract(&mut right, &split.left);
        let child = |sums, inside, outside| Node {
            column: 0,
            bin: 0,
            left: 0,
            sums,
            inside,
            outside,
            depth: parent.depth + 1,
        };
        nodes.push(child(split.left, parent.inside.start..border, parent.outside.start..outside_border));
        nodes.push(child(right, border..parent.inside.end, outside_border..parent.outside.end));
        left
    }

    /// Sums up a leaf and looks for its best split.
    fn open_alone(
        &mut self,
        nodes: &[Node<L>],
        node: usize,
        numbers: &[[f32; L]],
        candidates: &mut Candidates<'_>,
        open: &mut Vec<Open<L>>,
    ) {
        let mut drawn;
        let columns = match candidates {
            Candidates::Tree(columns) => *columns,
            Candidates::Node(count, random) => {
                drawn = (0..self.binned.columns.len()).collect::<Vec<_>>();
                random.choose(&mut drawn, *count);
                drawn.truncate(*count);
                drawn.sort_unstable();
                &drawn
            }
        };
        self.gather(&nodes[node], numbers);
        let mut histogram = self.free.pop().unwrap_or_default();
        histogram.resize(columns.len() * MOST_BINS, [0.0; L]);
        let sums = [Some(&nodes[node].sums), None];
        let [split, _] = self.search(columns, &nodes[node], &mut histogram, None, sums);
        if let Some(split) = split {
            // The next split looks at other columns: nothing can be taken from what was drawn for this one.
            let kept = if matches!(candidates, Candidates::Tree(_)) {
                std::mem::take(&mut histogram)
            } else {
                Vec::new()
            };
            open.push(Open { node, split, histogram: kept });
        }
        self.put_back(histogram);
    }

    /// Looks for the best splits of two children, given their parent's histogram.
    #[expect(clippy::too_many_arguments, reason = "the state of one step of the growth")]
    fn open_both(
        &mut self,
        nodes: &[Node<L>],
        left: usize,
        columns: &[usize],
        numbers: &[[f32; L]],
        mut parent: Vec<[f64; L]>,
        may_split: [bool; 2],
        open: &mut Vec<Open<L>>,
    ) {
        let left_is_small = nodes[left].inside.len() <= nodes[left + 1].inside.len();
        let [small, large] = if left_is_small { [left, left + 1] } else { [left + 1, left] };
        self.gather(&nodes[small], numbers);
        let mut histogram = self.free.pop().unwrap_or_default();
        histogram.resize(columns.len() * MOST_BINS, [0.0; L]);
        let sums = [small, large].map(|node| may_split[node - left].then_some(&nodes[node].sums));
        let splits = self.search(columns, &nodes[small], &mut histogram, Some(&mut parent), sums);
        let found = [small, large].into_iter().zip(splits).zip([histogram, parent]);
        for ((node, split), histogram) in found {
            match split {
                Some(split) => open.push(Open { node, split, histogram }),
                None => self.put_back(histogram),
            }
        }
    }

    fn put_back(&mut self, histogram: Vec<[f64; L]>) {
        if histogram.capacity() > 0 {
            self.free.push(histogram);
        }
    }

    fn gather(&mut self, node: &Node<L>, numbers: &[[f32; L]]) {
        self.gathered.clear();
        let rows = &self.inside[node.inside.clone()];
        self.gathered.extend(rows.iter().map(|row| numbers[*row as usize]));
    }

    /// Sums the gathered rows of `node` by bins, takes that from `parent` if there is one, and gives the best splits of both
    /// (of those whose sums are given).
    fn search(
        &self,
        columns: &[usize],
        node: &Node<L>,
        histogram: &mut [[f64; L]],
        parent: Option<&mut [[f64; L]]>,
        sums: [Option<&[f64; L]>; 2],
    ) -> [Option<Split<L>>; 2] {
        let rows = &self.inside[node.inside.clone()];
        let threads = if rows.len() * columns.len() < WORTH_A_THREAD { 1 } else { self.threads };
        let share = columns.len().div_ceil(threads).next_multiple_of(SIDE_BY_SIDE);
        let cells = share * MOST_BINS;
        let parents = parent.map_or_else(Vec::new, |parent| parent.chunks_mut(cells).collect());
        let mut parents = parents.into_iter();
        let mut parts: Vec<_> = columns
            .chunks(share)
            .zip(histogram.chunks_mut(cells))
            .map(|(columns, histogram)| (columns, histogram, parents.next(), [None; 2]))
            .collect();
        let search = |(columns, histogram, parent, best): &mut Part<'_, L>| {
            self.fill(columns, rows, histogram);
            let remains = parent.as_deref_mut();
            if let Some(parent) = remains {
                for (of_parent, of_child) in parent.iter_mut().zip(&**histogram) {
                    subtract(of_parent, of_child);
                }
                *best = [
                    sums[0].and_then(|sums| self.best(columns, histogram, sums)),
                    sums[1].and_then(|sums| self.best(columns, parent, sums)),
                ];
            } else {
                best[0] = sums[0].and_then(|sums| self.best(columns, histogram, sums));
            }
        };
        match &mut parts[..] {
            [part] => search(part),
            parts => std::thread::scope(|scope| {
                for part in parts {
                    scope.spawn(move || search(part));
                }
            }),
        }
        let mut best: [Option<Split<L>>; 2] = [None; 2];
        for (.., of_part) in parts {
            for (best, of_part) in best.iter_mut().zip(of_part) {
                if best.is_none_or(|best| of_part.is_some_and(|split| split.gain > best.gain)) {
                    *best = of_part.or(*best);
                }
            }
        }
        best
    }

    fn fill(&self, columns: &[usize], rows: &[u32], histogram: &mut [[f64; L]]) {
        histogram.fill([0.0; L]);
        let bins = |column: usize| &self.binned.columns[column].bins[..];
        for (columns, histogram) in
            columns.chunks(SIDE_BY_SIDE).zip(histogram.chunks_mut(SIDE_BY_SIDE * MOST_BINS))
        {
            let (histograms, _) = histogram.as_chunks_mut::<MOST_BINS>();
            match (columns, histograms) {
                // Four sums that do not wait for each other, where most rows may fall into one bin.
                ([a, b, c, d], [of_a, of_b, of_c, of_d]) => {
                    let (a, b, c, d) = (bins(*a), bins(*b), bins(*c), bins(*d));
                    for (row, numbers) in rows.iter().zip(&self.gathered) {
                        let row = *row as usize;
                        add(&mut of_a[usize::from(a[row]) % MOST_BINS], numbers);
                        add(&mut of_b[usize::from(b[row]) % MOST_BINS], numbers);
                        add(&mut of_c[usize::from(c[row]) % MOST_BINS], numbers);
                        add(&mut of_d[usize::from(d[row]) % MOST_BINS], numbers);
                    }
                }
                (columns, histograms) => {
                    for (column, histogram) in columns.iter().zip(histograms) {
                        let bins = bins(*column);
                        for (row, numbers) in rows.iter().zip(&self.gathered) {
                            add(&mut histogram[usize::from(bins[*row as usize]) % MOST_BINS], numbers);
                        }
                    }
                }
            }
        }
    }

    fn best(&self, columns: &[usize], histogram: &[[f64; L]], sums: &[f64; L]) -> Option<Split<L>> {
        let objective = &self.objective;
        let unsplit = objective.worth(sums);
        let mut best: Option<Split<L>> = None;
        let mut most = self.limits.gain.max(LEAST_GAIN * unsplit.abs());
        for (column, cells) in columns.iter().zip(histogram.chunks_exact(MOST_BINS)) {
            let mut left = [0.0; L];
            for (bin, cell) in cells.iter().enumerate().take(self.binned.columns[*column].cuts.len()) {
                for (left, cell) in left.iter_mut().zip(cell) {
                    *left += cell;
                }
                if objective.weight(&left) < self.limits.leaf_weight {
                    continue;
                }
                let mut right = *sums;
                subtract(&mut right, &left);
                if objective.weight(&right) < self.limits.leaf_weight {
                    break;
                }
                let gain = objective.worth(&left) + objective.worth(&right) - unsplit;
                if gain > most {
                    most = gain;
                    best = Some(Split { gain, column: *column, bin: bin as u8, left });
                }
            }
        }
        best
    }
}

/// What one thread does in a search: its columns, their histograms, those of the parent, the best splits.
type Part<'a, const L: usize> =
    (&'a [usize], &'a mut [[f64; L]], Option<&'a mut [[f64; L]]>, [Option<Split<L>>; 2]);

/// Adds a tree to `arrays`; `values` appends the values of a leaf with these sums.
pub(crate) fn append<const L: usize>(
    arrays: &mut TreeArrays,
    binned: &Binned,
    nodes: &[Node<L>],
    values: impl Fn(&[f64; L], &mut Vec<f32>),
) {
    let columns = if arrays.class.is_empty() { arrays.classes } else { 1 };
    let root = arrays.feature.len();
    arrays.root.push(root as u32);
    for node in nodes {
        if node.left == 0 {
            arrays.feature.push((arrays.value.len() / columns) as u32);
            arrays.threshold.push(0.0);
            arrays.left.push(0);
            values(&node.sums, &mut arrays.value);
        } else {
            arrays.feature.push(node.column as u32);
            arrays.threshold.push(binned.columns[node.column].cuts[usize::from(node.bin)]);
            arrays.left.push((root + node.left) as u32);
        }
    }
}

#[inline(always)]
fn add<const L: usize>(sums: &mut [f64; L], numbers: &[f32; L]) {
    for (sum, number) in sums.iter_mut().zip(numbers) {
        *sum += f64::from(*number);
    }
}

fn subtract<const L: usize>(from: &mut [f64; L], numbers: &[f64; L]) {
    for (from, number) in from.iter_mut().zip(numbers) {
        *from -= number;
    }
}

/// Moves the rows up to `bin` to the front, keeping the order on both sides, and gives their number.
fn partition(rows: &mut [u32], moved: &mut Vec<u32>, bins: &[u8], bin: u8) -> usize {
    moved.clear();
    moved.resize(rows.len(), 0);
    let (mut left, mut right) = (0, 0);
    for at in 0..rows.len() {
        let row = rows[at];
        let goes_left = bins[row as usize] <= bin;
        // Both places are written, one of them counts: the processor need not guess.
        rows[left] = row;
        moved[right] = row;
        left += usize::from(goes_left);
        right += usize::from(!goes_left);
    }
    rows[left..].copy_from_slice(&moved[..right]);
    left
}

/// Columns that are summed in one pass over the rows.
const SIDE_BY_SIDE: usize = 4;

/// Rows times columns below which threads cost more than they save.
const WORTH_A_THREAD: usize = 1 << 18;

/// Gains below this share of what there is are noise of the sums.
const LEAST_GAIN: f64 = 1e-10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Rows;

    const FOREST: Objective =
        Objective { outputs: 2, shares_curvature: true, l2: 0.0, most_step: f64::INFINITY };

    fn limits(leaves: usize) -> Limits {
        Limits { leaves, depth: 8, leaf_weight: 1.0, gain: 0.0 }
    }

    fn shares(labels: &[u8]) -> Vec<[f32; 4]> {
        labels
            .iter()
            .map(|label| if *label == 0 { [1.0, 0.0, 1.0, 0.0] } else { [0.0, 1.0, 1.0, 0.0] })
            .collect()
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "sums of small whole numbers are exact")]
    fn the_split_that_parts_the_classes_is_found_and_rows_are_carried_along() {
        let inputs: Vec<f32> = (0..40).flat_map(|at| [(at * 7 % 5) as f32, (at % 10) as f32]).collect();
        let labels: Vec<u8> = (0..40).map(|at| u8::from(at % 10 >= 7)).collect();
        let rows = Rows::new(2, 2, &inputs, &labels, &[1.0; 40]).unwrap();
        let binned = Binned::new(&rows, None, 64, 1);
        let mut grower = Grower::<4>::new(&binned, FOREST, limits(8), 1);
        let nodes = grower.grow(0..30, 30..40, &shares(&labels), Candidates::Tree(&[0, 1]));
        assert_eq!(nodes.len(), 3);
        assert_eq!((nodes[0].column, nodes[0].bin, nodes[0].left), (1, 6, 1));
        assert_eq!(nodes[1].sums, [21.0, 0.0, 21.0, 0.0]);
        assert_eq!(nodes[2].sums, [0.0, 9.0, 9.0, 0.0]);
        assert!(grower.rows(&nodes[2]).eq([7, 8, 9, 17, 18, 19, 27, 28, 29, 37, 38, 39]));
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "sums of small whole numbers are exact")]
    fn the_remainder_of_the_parent_is_what_summing_would_give() {
        let mut random = Random::new(5);
        let inputs: Vec<f32> = (0..4_000 * 6).map(|_| random.below(40) as f32).collect();
        let labels: Vec<u8> = inputs
            .chunks(6)
            .map(|row| u8::from((row[0] > 20.0) != (row[3] > 11.0)) ^ u8::from(random.chance(0.1)))
            .collect();
        let rows = Rows::new(6, 2, &inputs, &labels, &[1.0; 4_000]).unwrap();
        let binned = Binned::new(&rows, None, 32, 2);
        let mut grower = Grower::<4>::new(&binned, FOREST, limits(16), 2);
        let all: Vec<usize> = (0..6).collect();
        let by_remainder = grower.grow(0..4_000, 0..0, &shares(&labels), Candidates::Tree(&all));
        let by_sums = grower.grow(0..4_000, 0..0, &shares(&labels), Candidates::Node(6, Random::new(1)));
        assert_eq!(by_sums.len(), 31);
        for (a, b) in by_remainder.iter().zip(&by_sums) {
            assert_eq!((a.column, a.bin, a.left), (b.column, b.bin, b.left));
            assert_eq!(a.sums, b.sums);
        }
    }

    #[test]
    fn limits_hold() {
        let mut random = Random::new(9);
        let inputs: Vec<f32> = (0..500).map(|_| random.uniform() as f32).collect();
        let labels: Vec<u8> = (0..500).map(|_| random.below(2) as u8).collect();
        let rows = Rows::new(1, 2, &inputs, &labels, &[1.0; 500]).unwrap();
        let binned = Binned::new(&rows, None, 64, 1);
        let limits = Limits { leaves: 1_000, depth: 3, leaf_weight: 40.0, gain: 0.0 };
        let nodes = Grower::<4>::new(&binned, FOREST, limits, 1).grow(
            0..500,
            0..0,
            &shares(&labels),
            Candidates::Tree(&[0]),
        );
        assert!(nodes.len() > 3 && nodes.len() <= 15);
        assert!(nodes.iter().filter(|node| node.left == 0).all(|leaf| leaf.sums[2] >= 40.0));
        assert!(nodes.iter().all(|node| node.depth <= 3));
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "sums of small whole numbers are exact")]
    fn steps_are_bounded() {
        let objective = Objective { outputs: 1, shares_curvature: false, l2: 1.0, most_step: 2.0 };
        assert_eq!(objective.step(&[10.0, 9.0, 5.0, 0.0], 0), 1.0);
        assert_eq!(objective.step(&[-100.0, 1.0, 5.0, 0.0], 0), -2.0);
        // Unbounded, a step is worth the square of the gradient over the curvature.
        assert_eq!(objective.worth(&[10.0, 9.0, 5.0, 0.0]), 10.0);
    }
}
