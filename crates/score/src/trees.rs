//! Decision trees over one flow's inputs: boosted, where leaf values add up to logits, or a forest, where class shares
//! are averaged.
//!
//! In: the arrays of a model file ([`TreeArrays`]) and steps of windows; each step is judged by itself. Out: logits.
//! Arrays are checked once: children lie after their parents and within their tree, so every walk ends, whatever the
//! inputs.
//!
//! Trees of usual size are computed over bytes (`byte_trees.rs`); what follows is about those that do not fit there, and about
//! few rows. Rows are walked in blocks that stay in the first-level cache, all trees over a block, and sixteen rows at a
//! time through a tree: each takes as many steps as the tree is deep (leaves lead to themselves), so that the processor
//! need not guess where a row goes and does not wait for one row's loads before it starts another's. The sixteen lie side
//! by side, input by input; trees and rows of usual size are arrays of a fixed one, whose places need no check. For 400 trees of 63
//! leaves that speak for eight classes that is 3.2 us a row, where plain slices took 4.4.
//!
//! Sources: Friedman, Greedy function approximation, 2001; Breiman, Random forests, 2001; the layout after Asadi, Lin,
//! de Vries, Runtime optimizations for tree-based machine learning models, 2014.

use safetensors::SafeTensors;

use crate::byte_trees::{ByteRows, ByteTrees};
use crate::manifest::TreesSpec;
use crate::tensors::{StoredTensor, TensorFault, expect_finite, expect_shape, read_f32, read_u32, shape};
use crate::{Detector, ScoreError, WindowBatch};

/// What leaf values mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeMethod {
    /// Leaf values are added to the base logits.
    Boosted,
    /// Leaf values are class shares; a logit is the logarithm of their mean, at least `ln(1e-6)`.
    Forest,
}

impl TreeMethod {
    /// Its name in a manifest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boosted => "boosted",
            Self::Forest => "forest",
        }
    }
}

/// Trees as a model file holds them, in tensors `trees.root`, `trees.feature`, and so on.
///
/// The nodes of a tree follow each other, its root first. A row goes left if its input is at most the threshold. The right
/// child stands behind the left one.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeArrays {
    /// What leaf values mean.
    pub method: TreeMethod,
    /// Inputs of a row.
    pub width: usize,
    /// Classes; class 0 is benign.
    pub classes: usize,
    /// `[trees]`: place of each root among the nodes, ascending; the first is 0.
    pub root: Vec<u32>,
    /// `[nodes]`: the input that a split looks at; of a leaf its row in `value`.
    pub feature: Vec<u32>,
    /// `[nodes]`: of a leaf 0.
    pub threshold: Vec<f32>,
    /// `[nodes]`: place of the left child, after its parent; 0 marks a leaf.
    pub left: Vec<u32>,
    /// `[leaves, classes]`, or `[leaves, 1]` if every tree has a class of its own.
    pub value: Vec<f32>,
    /// `[trees]`: the class that a tree speaks for; empty if leaves speak for all classes. A forest's is empty.
    pub class: Vec<u32>,
    /// `[classes]`: logits before the first tree. A forest's is empty.
    pub base: Vec<f32>,
}

/// Trees that are ready to run.
#[derive(Clone, Debug)]
pub struct Trees {
    arrays: TreeArrays,
    trees: Vec<Tree>,
    /// Each tree's, filled up to [`SMALL_TREE`].
    nodes: Vec<Node>,
    /// By node: its row of values, for leaves.
    leaf: Vec<u32>,
    /// The same over bytes, if they fit.
    bytes: Option<ByteTrees>,
    memory: Memory,
}

/// Memory that is used again.
#[derive(Clone, Debug, Default)]
struct Memory {
    /// Rows of a block, turned.
    columns: Vec<[f32; LANES]>,
    bytes: ByteRows,
}

#[derive(Clone, Copy, Debug)]
struct Tree {
    first: usize,
    end: usize,
    depth: u32,
}

/// Places count from the tree's root. A leaf leads to itself: nothing is above its threshold.
#[derive(Clone, Copy, Debug)]
struct Node {
    threshold: f32,
    feature: u16,
    left: u16,
}

impl Trees {
    /// Checks the arrays and lays them out for walking.
    ///
    /// # Errors
    ///
    /// If lengths do not fit each other, a child does not lie after its parent and within its tree, an input or a leaf
    /// is out of range, a number is not finite, or a tree is deeper than 32 or larger than 65,536 nodes.
    pub fn new(arrays: TreeArrays) -> Result<Self, TensorFault> {
        let TreeArrays { method, width, classes, .. } = arrays;
        let nodes = arrays.feature.len();
        let columns = if arrays.class.is_empty() { classes } else { 1 };
        let leaves = arrays.value.len() / columns.max(1);
        if classes < 2 || width == 0 || width > MOST_INPUTS {
            let expected = format!("2 or more classes over 1 to {MOST_INPUTS} inputs");
            return Err(TensorFault::Shape { name: FEATURE.into(), found: vec![classes, width], expected });
        }
        expect_shape(THRESHOLD, arrays.threshold.len(), &[nodes])?;
        expect_shape(LEFT, arrays.left.len(), &[nodes])?;
        expect_shape(VALUE, arrays.value.len(), &[leaves, columns])?;
        let forest = method == TreeMethod::Forest;
        expect_shape(BASE, arrays.base.len(), &[if forest { 0 } else { classes }])?;
        if forest || !arrays.class.is_empty() {
            expect_shape(CLASS, arrays.class.len(), &[if forest { 0 } else { arrays.root.len() }])?;
        }
        for (name, numbers) in [(THRESHOLD, &arrays.threshold), (VALUE, &arrays.value), (BASE, &arrays.base)]
        {
            expect_finite(name, numbers)?;
        }
        if let Some(at) = arrays.class.iter().position(|class| *class as usize >= classes) {
            return Err(fault(CLASS, at, "no such class"));
        }
        if forest && let Some(at) = arrays.value.iter().position(|share| !(0.0..=1.0).contains(share)) {
            return Err(fault(VALUE, at, "it is no share"));
        }
        if arrays.root.is_empty() {
            let expected = "at least one tree".to_owned();
            return Err(TensorFault::Shape { name: ROOT.into(), found: vec![0], expected });
        }

        let mut laid_out = Self {
            trees: Vec::with_capacity(arrays.root.len()),
            nodes: Vec::with_capacity(nodes),
            leaf: Vec::with_capacity(nodes),
            bytes: None,
            memory: Memory::default(),
            arrays,
        };
        for tree in 0..laid_out.arrays.root.len() {
            laid_out.lay_out(tree, leaves)?;
        }
        laid_out.bytes = ByteTrees::new(&laid_out.arrays);
        Ok(laid_out)
    }

    /// Reads the trees of a model file and checks them.
    ///
    /// # Errors
    ///
    /// If a tensor is missing or of another type or shape than `spec`, `width` (inputs) and `classes` ask for; and as
    /// [`Trees::new`].
    pub fn load(
        tensors: &SafeTensors<'_>,
        spec: &TreesSpec,
        width: usize,
        classes: usize,
    ) -> Result<Self, TensorFault> {
        let method = [TreeMethod::Boosted, TreeMethod::Forest]
            .into_iter()
            .find(|method| method.name() == spec.method)
            .ok_or_else(|| TensorFault::Method { found: spec.method.clone() })?;
        let [nodes] = shape(tensors, FEATURE)?;
        let [leaves, columns] = shape(tensors, VALUE)?;
        let boosted = method == TreeMethod::Boosted;
        let one_class = boosted && columns == 1;
        Self::new(TreeArrays {
            method,
            width,
            classes,
            root: read_u32(tensors, ROOT, &[spec.trees])?,
            feature: read_u32(tensors, FEATURE, &[nodes])?,
            threshold: read_f32(tensors, THRESHOLD, &[nodes])?,
            left: read_u32(tensors, LEFT, &[nodes])?,
            value: read_f32(tensors, VALUE, &[leaves, if one_class { 1 } else { classes }])?,
            class: if one_class { read_u32(tensors, CLASS, &[spec.trees])? } else { Vec::new() },
            base: if boosted { read_f32(tensors, BASE, &[classes])? } else { Vec::new() },
        })
    }

    /// The tensors of these trees, for a model file.
    #[must_use]
    pub fn tensors(&self) -> Vec<StoredTensor> {
        let arrays = &self.arrays;
        let nodes = arrays.feature.len();
        let columns = self.columns();
        let mut tensors = vec![
            StoredTensor::u32(ROOT, &[arrays.root.len()], &arrays.root),
            StoredTensor::u32(FEATURE, &[nodes], &arrays.feature),
            StoredTensor::f32(THRESHOLD, &[nodes], &arrays.threshold),
            StoredTensor::u32(LEFT, &[nodes], &arrays.left),
            StoredTensor::f32(VALUE, &[arrays.value.len() / columns, columns], &arrays.value),
        ];
        if !arrays.class.is_empty() {
            tensors.push(StoredTensor::u32(CLASS, &[arrays.class.len()], &arrays.class));
        }
        if arrays.method == TreeMethod::Boosted {
            tensors.push(StoredTensor::f32(BASE, &[arrays.classes], &arrays.base));
        }
        tensors
    }

    /// What the manifest says of these trees.
    #[must_use]
    pub fn spec(&self) -> TreesSpec {
        TreesSpec { method: self.arrays.method.name().to_owned(), trees: self.trees.len() }
    }

    /// The trees as they are stored.
    #[must_use]
    pub fn arrays(&self) -> &TreeArrays {
        &self.arrays
    }

    /// Appends the logits of rows `[n, width]` to `logits`: `[n, classes]`, row-major.
    pub fn append_logits(&self, rows: &[f32], logits: &mut Vec<f32>) {
        self.append(rows, &mut Memory::default(), logits);
    }

    fn append(&self, rows: &[f32], memory: &mut Memory, logits: &mut Vec<f32>) {
        let TreeArrays { width, classes, .. } = self.arrays;
        let start = logits.len();
        let steps = rows.len() / width;
        logits.resize(start + steps * classes, 0.0);
        let logits = &mut logits[start..];
        for (rows, logits) in rows.chunks(BLOCK * width).zip(logits.chunks_mut(BLOCK * classes)) {
            match &self.bytes {
                // A few rows are faster one by one.
                Some(bytes) if rows.len() > FEW * width => bytes.add(rows, &mut memory.bytes, logits),
                _ => self.add_block(rows, &mut memory.columns, logits),
            }
            self.finish(logits);
        }
    }

    /// Turns sums of leaf values into logits.
    fn finish(&self, sums: &mut [f32]) {
        match self.arrays.method {
            TreeMethod::Boosted => {
                for row in sums.chunks_exact_mut(self.arrays.classes) {
                    for (sum, base) in row.iter_mut().zip(&self.arrays.base) {
                        *sum += base;
                    }
                }
            }
            TreeMethod::Forest => {
                let share = 1.0 / self.trees.len() as f32;
                for sum in sums {
                    *sum = (*sum * share).max(LEAST_SHARE).ln();
                }
            }
        }
    }

    fn add_block(&self, rows: &[f32], columns: &mut Vec<[f32; LANES]>, sums: &mut [f32]) {
        let TreeArrays { width, classes, .. } = self.arrays;
        let steps = rows.len() / width;
        // A few rows are faster one by one.
        let alone = if steps % LANES < LANES / 4 { steps % LANES } else { 0 };
        let (rows, rows_alone) = rows.split_at((steps - alone) * width);
        let (sums, sums_alone) = sums.split_at_mut((steps - alone) * classes);
        let height = width.max(SMALL_WIDTH);
        turn(rows, width, height, columns);
        for (at, tree) in self.trees.iter().enumerate() {
            let nodes = &self.nodes[tree.first..tree.end];
            let leaf = &self.leaf[tree.first..tree.end];
            let class = self.arrays.class.get(at).map(|class| *class as usize);
            for (columns, sums) in columns.chunks_exact(height).zip(sums.chunks_mut(LANES * classes)) {
                let mut leaves = walk_lanes(nodes, tree.depth, columns);
                for at in &mut leaves {
                    *at = leaf[*at as usize];
                }
                self.add_leaves(leaves, class, sums);
            }
            for (row, sums) in rows_alone.chunks_exact(width).zip(sums_alone.chunks_exact_mut(classes)) {
                self.add_leaves([leaf[walk(nodes, tree.depth, row)]], class, sums);
            }
        }
    }

    /// Adds the values of leaves to the sums of as many rows, or fewer.
    #[inline]
    fn add_leaves<const ROWS: usize>(&self, leaves: [u32; ROWS], class: Option<usize>, sums: &mut [f32]) {
        let TreeArrays { classes, value, .. } = &self.arrays;
        match class {
            Some(class) => {
                for (sums, leaf) in sums.chunks_exact_mut(*classes).zip(leaves) {
                    sums[class] += value[leaf as usize];
                }
            }
            None if *classes == EIGHT => {
                let (values, _) = value.as_chunks::<EIGHT>();
                for (sums, leaf) in sums.as_chunks_mut::<EIGHT>().0.iter_mut().zip(leaves) {
                    // By value: slices might overlap, and would be added one number at a time.
                    let (before, values) = (*sums, values[leaf as usize]);
                    *sums = std::array::from_fn(|class| before[class] + values[class]);
                }
            }
            None => {
                for (sums, leaf) in sums.chunks_exact_mut(*classes).zip(leaves) {
                    let values = &value[leaf as usize * classes..][..*classes];
                    for (sum, value) in sums.iter_mut().zip(values) {
                        *sum += value;
                    }
                }
            }
        }
    }

    fn lay_out(&mut self, tree: usize, leaves: usize) -> Result<(), TensorFault> {
        let arrays = &self.arrays;
        let first = arrays.root[tree] as usize;
        let end = arrays.root.get(tree + 1).map_or(arrays.feature.len(), |root| *root as usize);
        let place = self.nodes.len();
        if (tree == 0) != (first == 0) || end <= first || end > arrays.feature.len() {
            return Err(fault(ROOT, tree, "trees do not follow each other"));
        }
        if end - first > MOST_NODES {
            return Err(fault(ROOT, tree, "the tree is too large"));
        }
        let mut depth_of = vec![0u32; end - first];
        for at in first..end {
            let (left, feature) = (arrays.left[at] as usize, arrays.feature[at] as usize);
            if left == 0 {
                if feature >= leaves {
                    return Err(fault(FEATURE, at, "no such leaf"));
                }
                self.leaf.push(feature as u32);
                self.nodes.push(Node { threshold: f32::INFINITY, feature: 0, left: (at - first) as u16 });
                continue;
            }
            if left <= at || left + 1 >= end {
                return Err(fault(LEFT, at, "a child must lie after its parent and within the tree"));
            }
            if feature >= arrays.width {
                return Err(fault(FEATURE, at, "no such input"));
            }
            let depth = depth_of[at - first] + 1;
            if depth > MOST_DEPTH {
                return Err(fault(LEFT, at, "the tree is too deep"));
            }
            for child in [left - first, left + 1 - first] {
                depth_of[child] = depth_of[child].max(depth);
            }
            self.leaf.push(0);
            self.nodes.push(Node {
                threshold: arrays.threshold[at],
                feature: feature as u16,
                left: (left - first) as u16,
            });
        }
        let depth = depth_of.into_iter().max().unwrap_or(0);
        let filled = place + (end - first).max(SMALL_TREE);
        self.nodes.resize(filled, Node { threshold: f32::INFINITY, feature: 0, left: 0 });
        self.leaf.resize(filled, 0);
        self.trees.push(Tree { first: place, end: filled, depth });
        Ok(())
    }

    /// Numbers per leaf.
    fn columns(&self) -> usize {
        if self.arrays.class.is_empty() { self.arrays.classes } else { 1 }
    }
}

impl Detector for Trees {
    fn classes(&self) -> usize {
        self.arrays.classes
    }

    fn memoryless(&self) -> bool {
        true
    }

    fn glance(&mut self, flow: &[f32], inputs: &[usize], logits: &mut Vec<f32>) -> Result<(), ScoreError> {
        let TreeArrays { width, classes, .. } = self.arrays;
        let (Some(bytes), true) = (&self.bytes, flow.len() == width) else {
            return self.logits(&WindowBatch::glance(flow, inputs), logits);
        };
        let start = logits.len();
        logits.resize(start + (2 + 2 * inputs.len()) * classes, 0.0);
        bytes.exchange([flow, &vec![0.0; width]], inputs, &mut self.memory.bytes, &mut logits[start..]);
        self.finish(&mut logits[start..]);
        Ok(())
    }

    fn logits(&mut self, batch: &WindowBatch, logits: &mut Vec<f32>) -> Result<(), ScoreError> {
        batch.expect_width(self.arrays.width)?;
        let mut memory = std::mem::take(&mut self.memory);
        self.append(&batch.inputs, &mut memory, logits);
        self.memory = memory;
        Ok(())
    }
}

/// Rows `[n, width]` side by side: for every [`LANES`] rows, filled up with zeros, as many columns as `height` says.
fn turn(rows: &[f32], width: usize, height: usize, columns: &mut Vec<[f32; LANES]>) {
    columns.clear();
    columns.resize((rows.len() / width).div_ceil(LANES) * height, [0.0; LANES]);
    for (rows, columns) in rows.chunks(LANES * width).zip(columns.chunks_exact_mut(height)) {
        for (lane, row) in rows.chunks_exact(width).enumerate() {
            for (input, column) in row.iter().zip(&mut *columns) {
                column[lane] = *input;
            }
        }
    }
}

/// Where `LANES` rows end up.
#[inline]
fn walk_lanes(nodes: &[Node], depth: u32, columns: &[[f32; LANES]]) -> [u32; LANES] {
    let small: (Result<&[Node; SMALL_TREE], _>, Result<&[[f32; LANES]; SMALL_WIDTH], _>) =
        (nodes.try_into(), columns.try_into());
    match small {
        // The remainders change nothing: they tell the compiler that no place is out of bounds.
        (Ok(nodes), Ok(columns)) => {
            step_lanes(depth, |at| nodes[at % SMALL_TREE], |input| &columns[input % SMALL_WIDTH])
        }
        _ => step_lanes(depth, |at| nodes[at], |input| &columns[input]),
    }
}

#[inline(always)]
fn step_lanes<'a>(
    depth: u32,
    node: impl Fn(usize) -> Node,
    column: impl Fn(usize) -> &'a [f32; LANES],
) -> [u32; LANES] {
    let mut at = [0; LANES];
    for _ in 0..depth {
        for (lane, at) in at.iter_mut().enumerate() {
            let node = node(*at as usize);
            // Not a number goes left, as an infinite input stays in its leaf: nothing leads out of the tree.
            let right = column(usize::from(node.feature))[lane] > node.threshold;
            *at = u32::from(node.left) + u32::from(right);
        }
    }
    at
}

/// Where one row ends up.
fn walk(nodes: &[Node], depth: u32, row: &[f32]) -> usize {
    let mut at = 0;
    for _ in 0..depth {
        let node = nodes[at];
        at = usize::from(node.left) + usize::from(row[usize::from(node.feature)] > node.threshold);
    }
    at
}

fn fault(name: &str, at: usize, reason: &'static str) -> TensorFault {
    TensorFault::Value { name: name.to_owned(), at, reason }
}

/// Rows that go through all trees before the next ones: some 28 kB of inputs.
const BLOCK: usize = 64;

/// Rows that are not worth a block of [`ByteTrees`].
const FEW: usize = 2;

/// Rows that go through a tree side by side.
const LANES: usize = 16;

/// Nodes of a small tree (64 leaves have 127), and inputs of a narrow row.
const SMALL_TREE: usize = 128;
const SMALL_WIDTH: usize = 256;

/// Classes whose sums are one vector: those of every model so far.
const EIGHT: usize = 8;

/// Shares below count as this much, so that logits stay finite.
const LEAST_SHARE: f32 = 1e-6;

const MOST_INPUTS: usize = 1 << 16;
const MOST_NODES: usize = 1 << 16;
const MOST_DEPTH: u32 = 32;

const ROOT: &str = "trees.root";
const FEATURE: &str = "trees.feature";
const THRESHOLD: &str = "trees.threshold";
const LEFT: &str = "trees.left";
const VALUE: &str = "trees.value";
const CLASS: &str = "trees.class";
const BASE: &str = "trees.base";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WIDTH: usize = 5;
    const CLASSES: usize = 3;

    /// Trees of any shape: a multiple of 7 begins another tree, other numbers split a leaf of the last one.
    fn grown(method: TreeMethod, one_class: bool, dice: &[u32]) -> TreeArrays {
        grown_as(method, one_class, dice, WIDTH, CLASSES)
    }

    fn grown_as(
        method: TreeMethod,
        one_class: bool,
        dice: &[u32],
        width: usize,
        classes: usize,
    ) -> TreeArrays {
        let base: Vec<f32> = (0..classes).map(|class| 0.5 - class as f32 * 0.75).collect();
        let mut arrays = TreeArrays {
            method,
            width,
            classes,
            root: Vec::new(),
            feature: Vec::new(),
            threshold: Vec::new(),
            left: Vec::new(),
            value: Vec::new(),
            class: Vec::new(),
            base: if method == TreeMethod::Boosted { base } else { Vec::new() },
        };
        let mut open = Vec::new();
        for number in std::iter::once(0).chain(dice.iter().copied()) {
            let end = arrays.feature.len();
            let mut added = vec![end];
            if number % 7 == 0 {
                arrays.root.push(end as u32);
                open.clear();
            } else {
                let leaf: usize = open.swap_remove(number as usize / 7 % open.len());
                arrays.feature[leaf] = number % width as u32;
                arrays.threshold[leaf] = (number / 8 % 9) as f32 - 4.0;
                arrays.left[leaf] = end as u32;
                added.push(end + 1);
            }
            for _ in &added {
                arrays.feature.push(0);
                arrays.threshold.push(0.0);
                arrays.left.push(0);
            }
            open.extend(added);
        }
        let mut leaves = 0;
        let columns = if one_class { 1 } else { classes };
        for at in 0..arrays.feature.len() {
            if arrays.left[at] == 0 {
                arrays.feature[at] = leaves;
                leaves += 1;
                arrays.value.extend((0..columns).map(|column| ((at * 7 + column * 3) % 10) as f32 / 16.0));
            }
        }
        if one_class {
            arrays.class = (0..arrays.root.len()).map(|tree| (tree % classes) as u32).collect();
        }
        arrays
    }

    /// The definition, word by word.
    fn logits_by_definition(arrays: &TreeArrays, row: &[f32]) -> Vec<f32> {
        let mut sums = vec![0.0f32; arrays.classes];
        for (tree, root) in arrays.root.iter().enumerate() {
            let mut at = *root as usize;
            while arrays.left[at] != 0 {
                let goes_left = row[arrays.feature[at] as usize] <= arrays.threshold[at];
                at = arrays.left[at] as usize + usize::from(!goes_left);
            }
            let leaf = arrays.feature[at] as usize;
            match arrays.class.get(tree) {
                Some(class) => sums[*class as usize] += arrays.value[leaf],
                None => {
                    let values = &arrays.value[leaf * arrays.classes..][..arrays.classes];
                    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                }
            }
        }
        for (class, sum) in sums.iter_mut().enumerate() {
            *sum = match arrays.method {
                TreeMethod::Boosted => *sum + arrays.base[class],
                TreeMethod::Forest => (*sum * (1.0 / arrays.root.len() as f32)).max(1e-6).ln(),
            };
        }
        sums
    }

    fn batch(rows: &[f32], lengths: &[usize]) -> WindowBatch {
        WindowBatch { width: WIDTH, lengths: lengths.to_vec(), inputs: rows.to_vec(), fresh: Vec::new() }
    }

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        (0..count as u64)
            .map(|at| ((at * 2_654_435_761 + seed * 40_503) % 4_093 % 23) as f32 / 2.0 - 5.5)
            .collect()
    }

    fn stump() -> TreeArrays {
        TreeArrays {
            method: TreeMethod::Boosted,
            width: 2,
            classes: 2,
            root: vec![0],
            feature: vec![1, 0, 1],
            threshold: vec![0.5, 0.0, 0.0],
            left: vec![1, 0, 0],
            value: vec![1.0, -1.0, -2.0, 2.0],
            class: Vec::new(),
            base: vec![0.25, 0.0],
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn rows_end_where_the_definition_says(
            dice in proptest::collection::vec(0u32..100_000, 0..120),
            form in 0usize..3,
            steps in 1usize..150,
            seed in 0u64..1_000,
        ) {
            let (method, one_class) = [
                (TreeMethod::Boosted, true),
                (TreeMethod::Boosted, false),
                (TreeMethod::Forest, false),
            ][form];
            let arrays = grown(method, one_class, &dice);
            let mut trees = Trees::new(arrays.clone()).unwrap();
            let rows = numbers(steps * WIDTH, seed);
            let mut logits = vec![9.0];
            trees.logits(&batch(&rows, &[steps]), &mut logits).unwrap();
            let expected: Vec<f32> =
                rows.chunks(WIDTH).flat_map(|row| logits_by_definition(&arrays, row)).collect();
            prop_assert_eq!(&logits[..1], &[9.0]);
            prop_assert_eq!(&logits[1..], &expected[..]);
            prop_assert!(trees.bytes.take().is_some());
            logits.clear();
            trees.logits(&batch(&rows, &[steps]), &mut logits).unwrap();
            prop_assert_eq!(&logits, &expected, "walked");
        }

        /// Small and large trees, narrow and wide rows, eight classes and others.
        #[test]
        fn no_size_is_special(
            dice in proptest::collection::vec(0u32..100_000, 0..200),
            form in 0usize..3,
            (width, classes) in (proptest::sample::select(&[3_usize, 256, 257][..]), proptest::sample::select(&[2_usize, 8, 9][..])),
            large in any::<bool>(),
            steps in 1usize..40,
        ) {
            let (method, one_class) = [
                (TreeMethod::Boosted, true),
                (TreeMethod::Boosted, false),
                (TreeMethod::Forest, false),
            ][form];
            // What is no multiple of 7 splits the same tree on and on.
            let dice: Vec<u32> = dice.iter().map(|number| number + u32::from(large && number % 7 == 0)).collect();
            let arrays = grown_as(method, one_class, &dice, width, classes);
            let mut trees = Trees::new(arrays.clone()).unwrap();
            let rows = numbers(steps * width, 7);
            let mut logits = Vec::new();
            let inputs: Vec<usize> = (0..width).step_by(2).collect();
            let variants = WindowBatch::glance(&rows[..width], &inputs);
            trees.glance(&rows[..width], &inputs, &mut logits).unwrap();
            let expected: Vec<f32> =
                variants.inputs.chunks(width).flat_map(|row| logits_by_definition(&arrays, row)).collect();
            // Values are sixteenths, whose sums are exact in any order.
            prop_assert_eq!(&logits, &expected);
            for (steps, walked) in [(steps, false), (1, false), (steps, true)] {
                if walked {
                    trees.bytes = None;
                }
                logits.clear();
                let batch = WindowBatch { width, lengths: vec![steps], inputs: rows[..steps * width].to_vec(), ..WindowBatch::default() };
                trees.logits(&batch, &mut logits).unwrap();
                let expected: Vec<f32> =
                    batch.inputs.chunks(width).flat_map(|row| logits_by_definition(&arrays, row)).collect();
                prop_assert_eq!(&logits, &expected);
            }
        }

        #[test]
        fn a_file_gives_the_trees_back(
            dice in proptest::collection::vec(0u32..100_000, 0..120),
            form in 0usize..3,
        ) {
            let (method, one_class) = [
                (TreeMethod::Boosted, true),
                (TreeMethod::Boosted, false),
                (TreeMethod::Forest, false),
            ][form];
            let trees = Trees::new(grown(method, one_class, &dice)).unwrap();
            let stored = trees.tensors();
            let bytes = safetensors::serialize(stored.iter().map(|tensor| (&tensor.name, tensor)), None).unwrap();
            let file = SafeTensors::deserialize(&bytes).unwrap();
            let again = Trees::load(&file, &trees.spec(), WIDTH, CLASSES).unwrap();
            prop_assert_eq!(again.arrays(), trees.arrays());
            prop_assert!(Trees::load(&file, &trees.spec(), WIDTH, CLASSES + 1).is_err());
            let more = TreesSpec { trees: trees.spec().trees + 1, ..trees.spec() };
            prop_assert!(Trees::load(&file, &more, WIDTH, CLASSES).is_err());
        }
    }

    #[test]
    fn a_step_does_not_depend_on_its_neighbours() {
        let dice: Vec<u32> = (0..200).map(|at| at * 7_919 % 100_003).collect();
        let mut trees = Trees::new(grown(TreeMethod::Boosted, true, &dice)).unwrap();
        let rows = numbers(130 * WIDTH, 3);
        let (mut together, mut apart) = (Vec::new(), Vec::new());
        trees.logits(&batch(&rows, &[100, 30]), &mut together).unwrap();
        for row in rows.chunks(WIDTH) {
            trees.logits(&batch(row, &[1]), &mut apart).unwrap();
        }
        assert_eq!(together, apart);
    }

    #[test]
    fn a_forest_is_unsure_where_it_has_no_share() {
        let arrays = TreeArrays {
            method: TreeMethod::Forest,
            value: vec![1.0, 0.0, 0.25, 0.75],
            base: Vec::new(),
            ..stump()
        };
        let mut logits = Vec::new();
        Trees::new(arrays).unwrap().append_logits(&[0.0, 0.5, 0.0, 0.6], &mut logits);
        assert_eq!(logits, [0.0, 1e-6f32.ln(), 0.25f32.ln(), 0.75f32.ln()]);
    }

    #[test]
    fn strange_inputs_stay_within_the_tree() {
        let trees = Trees::new(stump()).unwrap();
        let mut logits = Vec::new();
        let strange: Vec<f32> = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY]
            .iter()
            .flat_map(|number| [*number; 2 * LANES])
            .collect();
        let rows = strange.len() / 2;
        trees.append_logits(&strange, &mut logits);
        let mut walked = trees;
        walked.bytes = None;
        walked.append_logits(&strange, &mut logits);
        let (low, high) = ([1.25, -1.0], [-1.75, 2.0]);
        for (lane, logits) in logits.chunks(2).enumerate() {
            assert_eq!(logits, if lane % rows / LANES == 1 { high } else { low });
        }
    }

    /// A balanced tree over the second input.
    fn balanced(leaves: usize) -> TreeArrays {
        let splits = leaves - 1;
        let nodes = 2 * splits + 1;
        let mut arrays = stump();
        arrays.width = WIDTH;
        arrays.feature = vec![1; nodes];
        arrays.threshold = vec![0.0; nodes];
        arrays.left = vec![0; nodes];
        arrays.value.clear();
        // As a heap: node n has the children 2n + 1 and 2n + 2.
        let mut leaf = 0;
        for at in 0..nodes {
            if at < splits {
                arrays.left[at] = 2 * at as u32 + 1;
                arrays.threshold[at] = at as f32 - splits as f32 / 2.0;
            } else {
                arrays.feature[at] = leaf;
                arrays.value.extend([leaf as f32, 0.0]);
                leaf += 1;
            }
        }
        arrays
    }

    #[test]
    fn what_does_not_fit_into_bytes_is_walked() {
        for (leaves, fits) in [(2, true), (256, true), (257, false), (900, false)] {
            let arrays = balanced(leaves);
            let mut trees = Trees::new(arrays.clone()).unwrap();
            assert_eq!(trees.bytes.is_some(), fits, "{leaves} leaves");
            let rows: Vec<f32> = numbers(70 * WIDTH, 5).iter().map(|number| number * 40.0).collect();
            let mut logits = Vec::new();
            trees.logits(&batch(&rows, &[70]), &mut logits).unwrap();
            let expected: Vec<f32> =
                rows.chunks(WIDTH).flat_map(|row| logits_by_definition(&arrays, row)).collect();
            assert_eq!(logits, expected, "{leaves} leaves");
        }
        // Few leaves each, but too many thresholds of one input together.
        let mut arrays = balanced(200);
        let second = balanced(200);
        let nodes = arrays.feature.len() as u32;
        arrays.root.push(nodes);
        arrays.feature.extend(
            second
                .feature
                .iter()
                .zip(&second.left)
                .map(|(feature, left)| feature + if *left == 0 { 200 } else { 0 }),
        );
        arrays.threshold.extend(second.threshold.iter().map(|threshold| threshold + 0.25));
        arrays.left.extend(second.left.iter().map(|left| if *left == 0 { 0 } else { left + nodes }));
        arrays.value.extend(&second.value);
        assert!(Trees::new(arrays).unwrap().bytes.is_none());
    }

    #[test]
    fn trees_that_lead_astray_are_refused() {
        type Change = fn(&mut TreeArrays);
        let cases: [(&str, Change); 13] = [
            ("trees.left", |arrays| arrays.left[0] = 2),
            ("trees.left", |arrays| arrays.left[1] = 1),
            ("trees.feature", |arrays| arrays.feature[0] = 2),
            ("trees.feature", |arrays| arrays.feature[2] = 2),
            ("trees.root", |arrays| arrays.root[0] = 1),
            ("trees.root", |arrays| arrays.root.push(0)),
            ("trees.root", |arrays| arrays.root.push(3)),
            ("trees.root", |arrays| arrays.root.clear()),
            ("trees.threshold", |arrays| arrays.threshold[0] = f32::NAN),
            ("trees.value", |arrays| arrays.value[3] = f32::INFINITY),
            ("trees.value", |arrays| {
                arrays.value.pop();
            }),
            ("trees.base", |arrays| arrays.base.push(0.0)),
            ("trees.class", |arrays| arrays.class = vec![2]),
        ];
        for (name, change) in cases {
            let mut arrays = stump();
            change(&mut arrays);
            let told = Trees::new(arrays).unwrap_err().to_string();
            assert!(told.starts_with(&format!("tensor {name}")), "{told}");
        }
        let wide = WindowBatch { width: 3, lengths: vec![1], inputs: vec![0.0; 3], fresh: Vec::new() };
        assert!(Trees::new(stump()).unwrap().logits(&wide, &mut Vec::new()).is_err());
    }

    #[test]
    fn a_chain_too_deep_is_refused() {
        let splits = MOST_DEPTH as usize + 1;
        let mut arrays = stump();
        arrays.feature = (0..=2 * splits).map(|_| 0).collect();
        arrays.threshold = vec![0.0; 2 * splits + 1];
        arrays.left = (0..=2 * splits)
            .map(|at| if at % 2 == 0 && at < 2 * splits { at as u32 + 1 } else { 0 })
            .collect();
        let told = Trees::new(arrays.clone()).unwrap_err().to_string();
        assert!(told.ends_with("the tree is too deep"), "{told}");
        arrays.left[2 * splits - 2] = 0;
        assert!(Trees::new(arrays).is_ok());
    }
}
