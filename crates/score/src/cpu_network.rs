//! The network `bilstm-attn` as the sensor runs it: plain arrays, one thread, no padding, memory used again.
//!
//! The same numbers as [`BilstmAttn`] (tests hold them together) from other machinery. What makes it fast:
//!
//! * Windows are sorted by length and packed; a step of the recurrence is one block of rows, and nothing is done for
//!   padding. Most windows are short.
//! * The first step of a window has a zero state: no recurrent product, and no forget gate, a quarter of its products.
//! * Input products are made for a few hundred rows at a time, and used while they are in the cache.
//! * A window of one step attends to itself: no queries, no keys. Steps that nobody asks about are keys and values for the others,
//!   and nothing more is made of them.
//! * Weights lie as the products read them; activations are polynomials in vector registers (`kernel.rs`).

use candle_core::{DType, Tensor};

use crate::attention::{Attend, padded, room_for_keys, room_for_shares};
use crate::kernel::{Matrix, Update, dispatch, matmul};
use crate::layer_norm::{EPSILON, Normalise};
use crate::linear::Linear;
use crate::network::{Attention, Layer, Norm, refused};
use crate::packing::Packing;
use crate::recurrence::{self, Direction, DirectionWeights, PackedWeights, Trace, sized, transposed};
use crate::{BilstmAttn, Detector, ScoreError, WindowBatch};

/// Windows and steps that are worked on at a time: more would fall out of the cache, fewer make small products. A group
/// has one window at least.
const WINDOWS_AT_ONCE: usize = 256;
const STEPS_AT_ONCE: usize = 8_192;

/// The network with its weights and its memory.
#[derive(Debug)]
pub struct CpuNetwork {
    width: usize,
    classes: usize,
    layers: Vec<PackedLayer>,
    attention: PackedAttention,
    head: [PackedLinear; 2],
    reconstruct: [PackedLinear; 2],
    memory: Memory,
}

impl CpuNetwork {
    /// Packs the weights of a network.
    ///
    /// # Errors
    ///
    /// A failure of the network's device.
    pub fn new(network: &BilstmAttn) -> Result<Self, ScoreError> {
        let pair = |[inner, outer]: &[Linear; 2]| -> Result<_, ScoreError> {
            Ok([PackedLinear::new(inner)?, PackedLinear::new(outer)?])
        };
        Ok(Self {
            width: network.width(),
            classes: network.classes(),
            layers: network.layers.iter().map(PackedLayer::new).collect::<Result<_, _>>()?,
            attention: PackedAttention::new(&network.attention)?,
            head: pair(&network.head)?,
            reconstruct: pair(&network.reconstruct)?,
            memory: Memory::default(),
        })
    }

    /// Appends logits as [`Detector::logits`] does, and to `errors` for each step the mean squared difference between its
    /// inputs and their reconstruction: the higher, the less the step is like those of the training.
    ///
    /// # Errors
    ///
    /// Steps of another width.
    pub fn logits_and_errors(
        &mut self,
        batch: &WindowBatch,
        logits: &mut Vec<f32>,
        errors: &mut Vec<f32>,
    ) -> Result<(), ScoreError> {
        self.run(batch, Wanted { logits: Some(logits), errors: Some(errors), attention: None })
    }

    /// Group by group, longest windows first.
    fn run(&mut self, batch: &WindowBatch, wanted: Wanted<'_>) -> Result<(), ScoreError> {
        let steps = batch.steps();
        if batch.width != self.width || batch.inputs.len() != steps * batch.width {
            return Err(refused(format!(
                "{} values for {steps} steps of {} inputs, where steps have {}",
                batch.inputs.len(),
                batch.width,
                self.width
            )));
        }
        let mut memory = std::mem::take(&mut self.memory);
        let all = wanted.errors.is_some() || wanted.attention.is_some();
        let squares = memory.places(batch, all);
        let mut results = Results {
            logits: wanted.logits.map(|out| appended(out, steps * self.classes)),
            errors: wanted.errors.map(|out| appended(out, steps)),
            attention: wanted.attention.map(|out| appended(out, squares)),
        };
        let order = std::mem::take(&mut memory.order);
        let mut from = 0;
        while let Some(to) = end_of_group(&order, from) {
            memory.packing.arrange(order.ranks().skip(from).take(to - from));
            self.group(batch, &mut memory, &mut results);
            from = to;
        }
        memory.order = order;
        self.memory = memory;
        Ok(())
    }

    /// One group of windows, from inputs to results.
    fn group(&self, batch: &WindowBatch, memory: &mut Memory, results: &mut Results<'_>) {
        let Memory { packing, first_step, first_square, silent, asked, x, y, work, .. } = memory;
        let rows = packing.rows();
        let inputs = sized(x, rows * self.width);
        for (row, step) in rows_and_steps(packing, first_step) {
            row_mut(inputs, row, self.width).copy_from_slice(batch.step(step));
        }
        let mut width = self.width;
        for layer in &self.layers {
            layer.forward(packing, &x[..rows * width], sized(y, rows * layer.outputs()), work);
            width = layer.outputs();
            std::mem::swap(x, y);
        }
        asked.clear();
        for (rank, (window, length)) in packing.ranks().enumerate() {
            let steps = silent[window]..length;
            asked.extend(steps.map(|t| (packing.row(rank, t), first_step[window] + t)));
        }
        let (x, y) = (&x[..rows * width], sized(y, asked.len() * width));
        let squares = results.attention.as_deref_mut().map(|shares| Squares { shares, first: first_square });
        self.attention.forward(packing, &Asked { silent, rows: asked }, x, y, squares, work);
        if let Some(logits) = &mut results.logits {
            let rows = two_layers(&self.head, y, work).chunks_exact(self.classes);
            for (row, (_, step)) in rows.zip(&*asked) {
                row_mut(logits, *step, self.classes).copy_from_slice(row);
            }
        }
        if let Some(errors) = &mut results.errors {
            let rows = two_layers(&self.reconstruct, y, work).chunks_exact(self.width);
            for (row, &(_, step)) in rows.zip(&*asked) {
                let pairs = row.iter().zip(batch.step(step));
                errors[step] = pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f32>() / self.width as f32;
            }
        }
    }
}

impl Detector for CpuNetwork {
    fn classes(&self) -> usize {
        self.classes
    }

    fn logits(&mut self, batch: &WindowBatch, logits: &mut Vec<f32>) -> Result<(), ScoreError> {
        self.run(batch, Wanted { logits: Some(logits), ..Wanted::default() })
    }

    fn attention(&mut self, batch: &WindowBatch, attention: &mut Vec<f32>) -> Result<(), ScoreError> {
        self.run(batch, Wanted { attention: Some(attention), ..Wanted::default() })
    }
}

/// What is to be computed, and to what it is appended.
#[derive(Default)]
struct Wanted<'a> {
    logits: Option<&'a mut Vec<f32>>,
    errors: Option<&'a mut Vec<f32>>,
    attention: Option<&'a mut Vec<f32>>,
}

/// The same with the room made: results of the whole batch in its order.
struct Results<'a> {
    logits: Option<&'a mut [f32]>,
    errors: Option<&'a mut [f32]>,
    attention: Option<&'a mut [f32]>,
}

/// Memory that is used again for every batch; it grows to what the largest needs.
#[derive(Debug, Default)]
struct Memory {
    /// All windows of the batch.
    order: Packing,
    /// Those of a group.
    packing: Packing,
    /// Step of the batch at which each window begins.
    first_step: Vec<usize>,
    /// Where the attention of each window begins.
    first_square: Vec<usize>,
    /// How many of the first steps of each window nobody asks about.
    silent: Vec<usize>,
    /// The others of a group, by packed row and by step of the batch: window after window, longest first.
    asked: Vec<(usize, usize)>,
    /// Packed rows between layers.
    x: Vec<f32>,
    y: Vec<f32>,
    work: Work,
}

/// Memory within a layer.
#[derive(Debug, Default)]
struct Work {
    /// Gates of some blocks, states of one.
    trace: Trace,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    gathered: Vec<f32>,
    /// Keys of one window.
    turned: Vec<f32>,
    shares: Vec<f32>,
    /// Rows that are asked about.
    chosen: Vec<f32>,
    results_of_chosen: Vec<f32>,
    hidden: Vec<f32>,
    results: Vec<f32>,
}

impl Memory {
    /// Lays down where windows begin, and where in them what is asked about; gives the size of all their squares.
    fn places(&mut self, batch: &WindowBatch, all: bool) -> usize {
        let lengths = &batch.lengths;
        self.silent.clear();
        self.silent.resize(lengths.len(), 0);
        if !all {
            for ((silent, length), fresh) in self.silent.iter_mut().zip(lengths).zip(&batch.fresh) {
                *silent = length.saturating_sub(*fresh);
            }
        }
        self.order.arrange(lengths.iter().copied().enumerate());
        self.first_step.clear();
        self.first_square.clear();
        let (mut step, mut square) = (0, 0);
        for length in lengths {
            self.first_step.push(step);
            self.first_square.push(square);
            step += length;
            square += length * length;
        }
        square
    }
}

/// The rank after the last of the group that begins at `from`; none when no steps are left.
fn end_of_group(order: &Packing, from: usize) -> Option<usize> {
    let mut steps = 0;
    let lengths = order.ranks().skip(from).map(|(_, length)| length).take_while(|&length| length > 0);
    let windows = lengths
        .take(WINDOWS_AT_ONCE)
        .enumerate()
        .take_while(|(i, length)| {
            steps += length;
            *i == 0 || steps <= STEPS_AT_ONCE
        })
        .count();
    (windows > 0).then_some(from + windows)
}

/// Every packed row with the step of the batch that it holds.
fn rows_and_steps<'a>(
    packing: &'a Packing,
    first_step: &'a [usize],
) -> impl Iterator<Item = (usize, usize)> + 'a {
    packing.ranks().enumerate().flat_map(move |(rank, (window, length))| {
        (0..length).map(move |t| (packing.row(rank, t), first_step[window] + t))
    })
}

/// One bidirectional layer.
#[derive(Debug)]
struct PackedLayer {
    /// Forward, backward.
    directions: [PackedWeights; 2],
    norm: PackedNorm,
    /// `[inputs, 2 units]`, where these differ.
    residual: Option<Vec<f32>>,
}

impl PackedLayer {
    fn new(layer: &Layer) -> Result<Self, ScoreError> {
        let pack = |i: usize| -> Result<_, ScoreError> {
            let DirectionWeights { w_ih, w_hh, bias } = &layer.directions[i];
            Ok(PackedWeights::new(&flat(w_ih)?, &flat(w_hh)?, &flat(bias)?))
        };
        let residual = match &layer.residual {
            Some(weight) => {
                let (outputs, inputs) = weight.dims2()?;
                Some(transposed(&flat(weight)?, outputs, inputs))
            }
            None => None,
        };
        Ok(Self { directions: [pack(0)?, pack(1)?], norm: PackedNorm::new(&layer.norm)?, residual })
    }

    fn outputs(&self) -> usize {
        2 * self.directions[0].units()
    }

    fn forward(&self, packing: &Packing, x: &[f32], y: &mut [f32], work: &mut Work) {
        let outputs = self.outputs();
        for (direction, weights) in
            [Direction::Forward, Direction::Backward].into_iter().zip(&self.directions)
        {
            let column = if direction == Direction::Forward { 0 } else { weights.units() };
            let out = (&mut *y, column, outputs);
            recurrence::forward::<false>(packing, direction, weights, x, out, &mut work.trace, 1);
        }
        self.norm.forward(y);
        match &self.residual {
            Some(weight) => {
                let inputs = self.directions[0].inputs();
                let (x, weight) =
                    (Matrix::new(x, packing.rows(), inputs), Matrix::new(weight, inputs, outputs));
                matmul(y, outputs, Update::Add, x, weight, 1);
            }
            None => add(y, x),
        }
    }
}

/// A norm with what is known beforehand worked in.
#[derive(Debug)]
enum PackedNorm {
    Layer {
        weight: Vec<f32>,
        bias: Vec<f32>,
    },
    /// Batch norm: `x * scale + shift`.
    Batch {
        scale: Vec<f32>,
        shift: Vec<f32>,
    },
}

impl PackedNorm {
    fn new(norm: &Norm) -> Result<Self, ScoreError> {
        let (weight, bias) = (flat(&norm.weight)?, flat(&norm.bias)?);
        let Some((mean, variance)) = &norm.running else { return Ok(Self::Layer { weight, bias }) };
        let (mean, variance) = (flat(mean)?, flat(variance)?);
        let scale: Vec<f32> = weight
            .iter()
            .zip(&variance)
            .map(|(weight, variance)| weight / (variance + EPSILON).sqrt())
            .collect();
        let shift =
            bias.iter().zip(&mean).zip(&scale).map(|((bias, mean), scale)| bias - mean * scale).collect();
        Ok(Self::Batch { scale, shift })
    }

    fn forward(&self, rows: &mut [f32]) {
        match self {
            Self::Layer { weight, bias } => dispatch(Normalise { rows, weight, bias }),
            Self::Batch { scale, shift } => {
                for row in rows.chunks_exact_mut(scale.len()) {
                    for ((x, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
                        *x = *x * scale + shift;
                    }
                }
            }
        }
    }
}

/// Self-attention, its residual and its norm.
#[derive(Debug)]
struct PackedAttention {
    heads: usize,
    query: PackedLinear,
    key: PackedLinear,
    value: PackedLinear,
    output: PackedLinear,
    norm: PackedNorm,
}

/// What is asked about.
struct Asked<'a> {
    /// By window, how many of its first steps are not.
    silent: &'a [usize],
    /// The others, by packed row and by step of the batch.
    rows: &'a [(usize, usize)],
}

/// Where the shares of attention go: a square for every window.
struct Squares<'a> {
    shares: &'a mut [f32],
    /// By window.
    first: &'a [usize],
}

impl Squares<'_> {
    /// Means over heads, from shares as [`Attend`] keeps them.
    fn fill(self, packing: &Packing, heads: usize, kept: &[f32]) {
        let Squares { shares, first } = self;
        for (window, _) in packing.ranks().filter(|(_, length)| *length == 1) {
            shares[first[window]] = 1.0;
        }
        let mut rows = kept;
        for (_, window, length) in packing.together() {
            let square = &mut shares[first[window]..][..length * length];
            for _ in 0..heads {
                for means in square.chunks_exact_mut(length) {
                    let (row, rest) = rows.split_at(padded(length));
                    for (mean, share) in means.iter_mut().zip(row) {
                        *mean += share / heads as f32;
                    }
                    rows = rest;
                }
            }
        }
    }
}

impl PackedAttention {
    fn new(attention: &Attention) -> Result<Self, ScoreError> {
        Ok(Self {
            heads: attention.heads,
            query: PackedLinear::new(&attention.query)?,
            key: PackedLinear::new(&attention.key)?,
            value: PackedLinear::new(&attention.value)?,
            output: PackedLinear::new(&attention.output)?,
            norm: PackedNorm::Layer {
                weight: flat(&attention.norm_weight)?,
                bias: flat(&attention.norm_bias)?,
            },
        })
    }

    fn forward(
        &self,
        packing: &Packing,
        asked: &Asked<'_>,
        x: &[f32],
        y: &mut [f32],
        squares: Option<Squares<'_>>,
        work: &mut Work,
    ) {
        let Work { queries, keys, values, gathered, turned, shares, chosen, results_of_chosen, .. } = work;
        let Asked { silent, rows: asked } = *asked;
        let (rows, width, wide) = (packing.rows(), self.value.outputs, self.value.inputs);
        let gathered = sized(gathered, rows * width);
        // A step that is alone in its window gathers its own value.
        self.value.forward(x, gathered, false);
        if packing.blocks() > 1 {
            // The others: the first rows of block 0, and all of the further blocks.
            let values = sized(values, rows * width);
            values.copy_from_slice(gathered);
            let (queries, keys) = (sized(queries, rows * width), sized(keys, rows * width));
            for rows in [0..packing.active(1), packing.start(1)..rows] {
                let x = &x[rows.start * wide..rows.end * wide];
                self.key.forward(x, &mut keys[rows.start * width..rows.end * width], false);
            }
            // Longer windows come first.
            let alone = packing.active(1)..packing.active(0);
            let asked = &asked[..asked.iter().take_while(|(row, _)| !alone.contains(row)).count()];
            let made = sized(results_of_chosen, asked.len() * width);
            self.query.forward(choose(asked, x, wide, chosen), made, false);
            for ((row, _), made) in asked.iter().zip(made.chunks_exact(width)) {
                row_mut(queries, *row, width).copy_from_slice(made);
            }
            let heads = self.heads;
            let turned = sized(turned, room_for_keys(packing, width));
            let shares = sized(shares, room_for_shares(packing, heads, squares.is_some()));
            if squares.is_some() {
                dispatch(Attend::<true> {
                    packing,
                    silent,
                    heads,
                    width,
                    queries,
                    keys,
                    values,
                    gathered,
                    turned,
                    shares,
                });
            } else {
                dispatch(Attend::<false> {
                    packing,
                    silent,
                    heads,
                    width,
                    queries,
                    keys,
                    values,
                    gathered,
                    turned,
                    shares,
                });
            }
        }
        if let Some(squares) = squares {
            squares.fill(packing, self.heads, shares);
        }
        self.output.forward(choose(asked, gathered, width, chosen), y, false);
        for ((row, _), y) in asked.iter().zip(y.chunks_exact_mut(wide)) {
            add(y, row_of(x, *row, wide));
        }
        self.norm.forward(y);
    }
}

/// `x weights + bias`.
#[derive(Debug)]
struct PackedLinear {
    inputs: usize,
    outputs: usize,
    /// `[inputs, outputs]`
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl PackedLinear {
    fn new(linear: &Linear) -> Result<Self, ScoreError> {
        let (outputs, inputs) = linear.weight.dims2()?;
        let weights = transposed(&flat(&linear.weight)?, outputs, inputs);
        Ok(Self { inputs, outputs, weights, bias: flat(&linear.bias)? })
    }

    fn forward(&self, x: &[f32], y: &mut [f32], relu: bool) {
        for row in y.chunks_exact_mut(self.outputs) {
            row.copy_from_slice(&self.bias);
        }
        let x = Matrix::new(x, x.len() / self.inputs, self.inputs);
        let weights = Matrix::new(&self.weights, self.inputs, self.outputs);
        matmul(y, self.outputs, Update::Add, x, weights, 1);
        if relu {
            for y in y {
                // Unlike `max`, this leaves what is no number as it is.
                if *y < 0.0 {
                    *y = 0.0;
                }
            }
        }
    }
}

/// A hidden layer and an outer one.
fn two_layers<'a>([inner, outer]: &[PackedLinear; 2], x: &[f32], work: &'a mut Work) -> &'a [f32] {
    let rows = x.len() / inner.inputs;
    let hidden = sized(&mut work.hidden, rows * inner.outputs);
    inner.forward(x, hidden, true);
    let results = sized(&mut work.results, rows * outer.outputs);
    outer.forward(hidden, results, false);
    results
}

/// The rows that are asked about, one behind the other.
fn choose<'a>(asked: &[(usize, usize)], rows: &[f32], width: usize, chosen: &'a mut Vec<f32>) -> &'a [f32] {
    let chosen = sized(chosen, asked.len() * width);
    for ((row, _), chosen) in asked.iter().zip(chosen.chunks_exact_mut(width)) {
        chosen.copy_from_slice(row_of(rows, *row, width));
    }
    chosen
}

fn add(y: &mut [f32], x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

#[inline(always)]
fn row_of(values: &[f32], row: usize, width: usize) -> &[f32] {
    &values[row * width..(row + 1) * width]
}

#[inline(always)]
fn row_mut(values: &mut [f32], row: usize, width: usize) -> &mut [f32] {
    &mut values[row * width..(row + 1) * width]
}

/// Zeros at the end of what a caller gave.
fn appended(out: &mut Vec<f32>, count: usize) -> &mut [f32] {
    let start = out.len();
    out.resize(start + count, 0.0);
    &mut out[start..]
}

/// The values of a tensor, row after row.
fn flat(tensor: &Tensor) -> Result<Vec<f32>, ScoreError> {
    Ok(tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
}

#[cfg(test)]
mod tests;
