//! Trees over bytes: 64 rows go through a tree at once, and no row's way is looked up.
//!
//! In: checked arrays of small trees ([`TreeArrays`]) and rows. Out: sums of leaf values, each added in the order of the
//! trees, so that they are those of a walk to the last bit. What makes it fast:
//!
//! * An input matters only by how many of the thresholds that trees compare it with are below it: a byte. So a
//!   comparison of 64 rows is one vector instruction, and all splits of a tree need no more of them than a tree has leaves.
//! * From the last split to the first, each picks for every row the left or the right of two vectors of leaf numbers; what the
//!   root picks is where the row ends up. Nothing depends on where rows go, neither jumps nor addresses.
//!
//! Measured, one core with AVX-512, 500 trees of 31 leaves over eight classes: 1.4 us a row, where a walk of sixteen rows side
//! by side takes 6.6 (BENCHMARKING.md, "Scoring").
//!
//! Sources: Lucchese et al., QuickScorer, 2015, and Ye et al., RapidScorer, 2018, from which it has the order of the
//! loops and the bytes; picking leaf numbers takes the place of their bit vectors.

use crate::kernel::{Kernel, dispatch};
use crate::trees::TreeArrays;

/// Trees with at most [`MOST_LEAVES`] leaves each, whose thresholds are at most [`MOST_THRESHOLDS`] different ones an input.
#[derive(Clone, Debug)]
pub(crate) struct ByteTrees {
    width: usize,
    classes: usize,
    /// Thresholds of all inputs, one input after the other, ascending.
    thresholds: Vec<f32>,
    /// By input: where its thresholds end.
    ends: Vec<usize>,
    /// Picks of all trees, each tree's from the last split to the root.
    picks: Vec<Pick>,
    /// Values of all trees' leaves: `[leaves, classes]`, or `[leaves, 1]` if every tree has a class of its own.
    values: Vec<f32>,
    trees: Vec<Tree>,
}

#[derive(Clone, Copy, Debug)]
struct Tree {
    /// Where its picks end.
    picks_end: usize,
    /// Its first leaf among all.
    first_leaf: usize,
    /// The slot in which the numbers of leaves stand when all picks are done.
    last: u16,
    /// The class that it speaks for, if it speaks for one.
    class: Option<usize>,
}

/// A split: of two slots, the right one for rows whose byte is above the bound. The i-th pick of a tree fills slot
/// [`MOST_LEAVES`] + i; slots below that hold the number of a leaf for all rows.
#[derive(Clone, Copy, Debug)]
struct Pick {
    input: u16,
    left: u16,
    right: u16,
    bound: u8,
}

/// Memory that is used again.
#[derive(Clone, Debug, Default)]
pub(crate) struct ByteRows {
    /// By input, the bytes of the rows of a block.
    bytes: Vec<Lanes>,
    /// Rows of a strip, turned.
    columns: Vec<[f32; STRIP]>,
    slots: Vec<Lanes>,
}

/// A byte of each row; on a line of the cache of its own, which a vector would else often straddle.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Lanes([u8; ROWS]);

impl ByteTrees {
    /// Lays out trees whose arrays have been checked. `None` if they do not fit into bytes.
    pub(crate) fn new(arrays: &TreeArrays) -> Option<Self> {
        let TreeArrays { width, classes, .. } = *arrays;
        let nodes = arrays.left.len();
        let mut of_input: Vec<Vec<f32>> = vec![Vec::new(); width];
        for at in (0..nodes).filter(|at| arrays.left[*at] != 0) {
            of_input[arrays.feature[at] as usize].push(arrays.threshold[at]);
        }
        for thresholds in &mut of_input {
            thresholds.sort_unstable_by(f32::total_cmp);
            // The two zeros are one threshold.
            thresholds.dedup_by(|next, last| *next <= *last);
            if thresholds.len() > MOST_THRESHOLDS {
                return None;
            }
        }
        let mut trees = Self {
            width,
            classes,
            thresholds: of_input.concat(),
            ends: Vec::with_capacity(width),
            picks: Vec::with_capacity(nodes / 2),
            values: Vec::with_capacity(arrays.value.len()),
            trees: Vec::with_capacity(arrays.root.len()),
        };
        let mut end = 0;
        for thresholds in &of_input {
            end += thresholds.len();
            trees.ends.push(end);
        }
        let (columns, mut first_leaf) = (if arrays.class.is_empty() { classes } else { 1 }, 0);
        for (tree, root) in arrays.root.iter().enumerate() {
            let first = *root as usize;
            let end = arrays.root.get(tree + 1).map_or(nodes, |root| *root as usize);
            let mut slots = vec![0; end - first];
            let mut leaves = 0;
            let mut picks = 0;
            // Children lie after their parents, so theirs are done.
            for at in (first..end).rev() {
                let left = arrays.left[at] as usize;
                if left == 0 {
                    if leaves == MOST_LEAVES {
                        return None;
                    }
                    slots[at - first] = leaves as u16;
                    let row = arrays.feature[at] as usize * columns;
                    trees.values.extend_from_slice(&arrays.value[row..row + columns]);
                    leaves += 1;
                    continue;
                }
                let input = arrays.feature[at] as usize;
                let bound = of_input[input].partition_point(|threshold| *threshold < arrays.threshold[at]);
                slots[at - first] = (MOST_LEAVES + picks) as u16;
                picks += 1;
                trees.picks.push(Pick {
                    input: u16::try_from(input).ok()?,
                    left: slots[left - first],
                    right: slots[left + 1 - first],
                    bound: bound as u8,
                });
            }
            trees.trees.push(Tree {
                picks_end: trees.picks.len(),
                first_leaf,
                last: slots[0],
                class: arrays.class.get(tree).map(|class| *class as usize),
            });
            first_leaf += leaves;
        }
        Some(trees)
    }

    /// Adds the leaf values of rows `[n, width]` to `sums`: `[n, classes]`.
    pub(crate) fn add(&self, rows: &[f32], memory: &mut ByteRows, sums: &mut [f32]) {
        let Self { width, classes, .. } = *self;
        self.prepare(memory);
        for (rows, sums) in rows.chunks(ROWS * width).zip(sums.chunks_mut(ROWS * classes)) {
            dispatch(Block { trees: self, rows, memory, sums });
        }
    }

    /// What becomes of the sums of two rows if one input at a time is exchanged between them. Written are to `sums` (`[2 + 2 inputs,
    /// classes]`) the sums of each row, and for each of `inputs` those of the first row with this input of the second, and of the
    /// second with this input of the first.
    ///
    /// An input is looked at by a few trees only, and a tree looks at some thirty inputs. So each tree is computed once for all
    /// exchanges that matter to it, which fit into one block.
    pub(crate) fn exchange(
        &self,
        rows: [&[f32]; 2],
        inputs: &[usize],
        memory: &mut ByteRows,
        sums: &mut [f32],
    ) {
        self.prepare(memory);
        // By input, what its two exchanges change.
        let mut changes = vec![0.0; 2 * self.width * self.classes];
        let (of_rows, of_inputs) = sums.split_at_mut(2 * self.classes);
        of_rows.fill(0.0);
        dispatch(Exchange { trees: self, rows, memory, sums: of_rows, changes: &mut changes });
        let each = of_inputs.chunks_exact_mut(2 * self.classes).zip(inputs);
        for (sums, input) in each {
            let changes = &changes[2 * input * self.classes..];
            for ((sum, of_row), change) in sums.iter_mut().zip(&*of_rows).zip(changes) {
                *sum = of_row + change;
            }
        }
    }

    fn prepare(&self, memory: &mut ByteRows) {
        memory.bytes.resize(self.width, Lanes([0; ROWS]));
        memory.columns.resize(self.width, [0.0; STRIP]);
        if memory.slots.is_empty() {
            memory.slots = (0..SLOTS).map(|slot| Lanes([(slot % MOST_LEAVES) as u8; ROWS])).collect();
        }
    }

    /// Adds the values of one leaf, less those of another if there is one.
    #[inline(always)]
    fn add_leaf(&self, tree: &Tree, leaf: u8, less: Option<u8>, sums: &mut [f32]) {
        let columns = if tree.class.is_some() { 1 } else { self.classes };
        let of = |leaf: u8| &self.values[(tree.first_leaf + usize::from(leaf)) * columns..][..columns];
        let sums = match tree.class {
            Some(class) => &mut sums[class..=class],
            None => sums,
        };
        match less {
            Some(less) => {
                for ((sum, value), less) in sums.iter_mut().zip(of(leaf)).zip(of(less)) {
                    *sum += value - less;
                }
            }
            None => {
                for (sum, value) in sums.iter_mut().zip(of(leaf)) {
                    *sum += value;
                }
            }
        }
    }
}

/// The leaves of one tree for all rows of a block.
#[inline(always)]
fn pick<'a>(picks: &[Pick], last: u16, bytes: &[Lanes], slots: &'a mut [Lanes; SLOTS]) -> &'a [u8; ROWS] {
    for (pick, slot) in picks.iter().zip(MOST_LEAVES..SLOTS) {
        let bytes = &bytes[usize::from(pick.input)];
        // The remainders change nothing: they tell the compiler that no slot is out of bounds.
        let left = &slots[usize::from(pick.left) % SLOTS];
        let right = &slots[usize::from(pick.right) % SLOTS];
        // Made apart, as slots might overlap for all the compiler knows.
        let mut picked = Lanes([0; ROWS]);
        for row in 0..ROWS {
            // Not by `if`: of that the compiler makes a choice between two addresses, row by row.
            let above = u8::from(bytes.0[row] > pick.bound).wrapping_neg();
            picked.0[row] = left.0[row] ^ ((left.0[row] ^ right.0[row]) & above);
        }
        slots[slot] = picked;
    }
    &slots[usize::from(last) % SLOTS].0
}

/// All trees over the exchanges between two rows: the first half of a block is the first row, the second half the second. The first
/// lane of a half is the row itself, in the others one input each is exchanged.
struct Exchange<'a> {
    trees: &'a ByteTrees,
    rows: [&'a [f32]; 2],
    memory: &'a mut ByteRows,
    /// `[2, classes]`
    sums: &'a mut [f32],
    /// `[width, 2, classes]`
    changes: &'a mut [f32],
}

impl Kernel for Exchange<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { trees, rows, memory, sums, changes } = self;
        let ByteRows { bytes, columns, slots } = memory;
        let classes = trees.classes;
        for (lane, row) in rows.iter().enumerate() {
            for (input, column) in row.iter().zip(&mut *columns) {
                column[lane] = *input;
            }
        }
        rank(trees, columns, 0, bytes);
        // By input, its bytes in the two rows.
        let of_rows: Vec<[u8; 2]> = bytes.iter().map(|bytes| [bytes.0[0], bytes.0[1]]).collect();
        for (bytes, of_rows) in bytes.iter_mut().zip(&of_rows) {
            bytes.0[..HALF].fill(of_rows[0]);
            bytes.0[HALF..].fill(of_rows[1]);
        }
        let slots: &mut [Lanes; SLOTS] = slots.as_mut_slice().try_into().expect("made so long");
        let mut of_tree: Vec<u16> = Vec::with_capacity(MOST_LEAVES);
        // By input, the last tree that was seen to look at it, counted from 1.
        let mut seen = vec![0; trees.width];
        let mut begin = 0;
        for (number, tree) in (1..).zip(&trees.trees) {
            let picks = &trees.picks[begin..tree.picks_end];
            begin = tree.picks_end;
            of_tree.clear();
            for pick in picks {
                let input = usize::from(pick.input);
                // Where both rows have the same byte nothing is exchanged.
                if seen[input] != number && of_rows[input][0] != of_rows[input][1] {
                    seen[input] = number;
                    of_tree.push(pick.input);
                }
            }
            // Once at least, for the rows themselves.
            let mut from = 0;
            loop {
                let exchanged = &of_tree[from..of_tree.len().min(from + HALF - 1)];
                for (lane, input) in (1..).zip(exchanged) {
                    let [first, second] = of_rows[usize::from(*input)];
                    let bytes = &mut bytes[usize::from(*input)].0;
                    (bytes[lane], bytes[HALF + lane]) = (second, first);
                }
                let leaves = pick(picks, tree.last, bytes, slots);
                for half in 0..2 {
                    let of_row = leaves[half * HALF];
                    if from == 0 {
                        trees.add_leaf(tree, of_row, None, &mut sums[half * classes..][..classes]);
                    }
                    for (leaf, input) in leaves[half * HALF + 1..].iter().zip(exchanged) {
                        if *leaf != of_row {
                            let changes =
                                &mut changes[(2 * usize::from(*input) + half) * classes..][..classes];
                            trees.add_leaf(tree, *leaf, Some(of_row), changes);
                        }
                    }
                }
                for (lane, input) in (1..).zip(exchanged) {
                    let [first, second] = of_rows[usize::from(*input)];
                    let bytes = &mut bytes[usize::from(*input)].0;
                    (bytes[lane], bytes[HALF + lane]) = (first, second);
                }
                from += HALF - 1;
                if from >= of_tree.len() {
                    break;
                }
            }
        }
    }
}

/// All trees over at most [`ROWS`] rows.
struct Block<'a> {
    trees: &'a ByteTrees,
    rows: &'a [f32],
    memory: &'a mut ByteRows,
    sums: &'a mut [f32],
}

impl Kernel for Block<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { trees, rows, memory, sums } = self;
        let ByteRows { bytes, columns, slots } = memory;
        let strips = rows.chunks(STRIP * trees.width).enumerate();
        for (strip, rows) in strips {
            turn(rows, trees.width, columns);
            rank(trees, columns, strip * STRIP, bytes);
        }
        let slots: &mut [Lanes; SLOTS] = slots.as_mut_slice().try_into().expect("made so long");
        let (bytes, mut picks) = (&bytes[..], &trees.picks[..]);
        let mut done = 0;
        for tree in &trees.trees {
            let (of_tree, rest) = picks.split_at(tree.picks_end - done);
            (picks, done) = (rest, tree.picks_end);
            let leaves = pick(of_tree, tree.last, bytes, slots);
            match tree.class {
                Some(class) => {
                    let values = &trees.values[tree.first_leaf..];
                    for (sums, leaf) in sums.chunks_exact_mut(trees.classes).zip(leaves) {
                        sums[class] += values[usize::from(*leaf)];
                    }
                }
                None if trees.classes == EIGHT => {
                    let (values, _) = trees.values[tree.first_leaf * EIGHT..].as_chunks::<EIGHT>();
                    for (sums, leaf) in sums.as_chunks_mut::<EIGHT>().0.iter_mut().zip(leaves) {
                        // By value: slices might overlap, and would be added one number at a time.
                        let (before, values) = (*sums, values[usize::from(*leaf)]);
                        *sums = std::array::from_fn(|class| before[class] + values[class]);
                    }
                }
                None => {
                    let values = &trees.values[tree.first_leaf * trees.classes..];
                    for (sums, leaf) in sums.chunks_exact_mut(trees.classes).zip(leaves) {
                        let values = &values[usize::from(*leaf) * trees.classes..][..trees.classes];
                        for (sum, value) in sums.iter_mut().zip(values) {
                            *sum += value;
                        }
                    }
                }
            }
        }
    }
}

/// At most [`STRIP`] rows as columns. Behind the last row stands what stood there before: nobody reads what becomes of it.
#[inline(always)]
fn turn(rows: &[f32], width: usize, columns: &mut [[f32; STRIP]]) {
    for (lane, row) in rows.chunks_exact(width).enumerate() {
        for (input, column) in row.iter().zip(&mut *columns) {
            column[lane] = *input;
        }
    }
}

/// How many thresholds of its input each number is above. What is no number is above none, and so goes left everywhere.
#[inline(always)]
fn rank(trees: &ByteTrees, columns: &[[f32; STRIP]], first: usize, bytes: &mut [Lanes]) {
    let mut begin = 0;
    for ((column, end), bytes) in columns.iter().zip(&trees.ends).zip(bytes) {
        let mut above = [0u32; STRIP];
        for threshold in &trees.thresholds[begin..*end] {
            for lane in 0..STRIP {
                above[lane] += u32::from(column[lane] > *threshold);
            }
        }
        begin = *end;
        let place: &mut [u8; STRIP] = bytes.0[first..].first_chunk_mut().expect("a block is whole strips");
        *place = above.map(|above| above as u8);
    }
}

/// Leaves of a tree whose numbers are bytes.
pub(crate) const MOST_LEAVES: usize = 256;

/// Thresholds of an input, such that their count is a byte.
pub(crate) const MOST_THRESHOLDS: usize = 255;

/// Rows that go through all trees together: a vector of AVX-512, two of AVX2.
pub(crate) const ROWS: usize = 64;

/// Lanes of a block that belong to one of two rows.
const HALF: usize = ROWS / 2;

/// Rows whose inputs become bytes together.
const STRIP: usize = 16;

/// A tree has one pick less than leaves.
const SLOTS: usize = 2 * MOST_LEAVES;

/// Classes whose sums are one vector: those of every model so far.
const EIGHT: usize = 8;
