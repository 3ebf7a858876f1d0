//! A bidirectional LSTM layer (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000; both ways through
//! the window, Graves and Schmidhuber 2005), and its gradient.
//!
//! Comes in: packed rows ([`Packing`]) of inputs. Goes out: rows of hidden states, those of the forward direction beside
//! those of the backward direction. State: `c = f c' + i g`, `h = o tanh(c)`. There is no work for padding, and the first
//! step of a window, whose state is zero, has neither recurrent product nor, as far as that is cheap, forget gate.
//!
//! Model files order gates i, f, g, o, as PyTorch does. In here they are i, g, o, f, so that the first step's lie together.
//!
//! On the CPU a layer is one operation with a backward pass, because candle's stock path costs about a dozen small tensors
//! per step; on other devices it is made of stock operations, which are also what it is tested against.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Storage, Tensor};

use crate::kernel::{
    ColumnSums, Kernel, LANES, Matrix, Update, dispatch, load, matmul, multiply_add, sigmoid, store, tanh,
};
use crate::packing::Packing;

/// Rows whose input products are made at a time when scoring: enough for a fast product, few enough that gates are still
/// in the cache when their turn comes. A block may have more.
const ROWS_AT_ONCE: usize = 512;

/// Which way through the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the first step to the last.
    Forward,
    /// From the last step to the first.
    Backward,
}

/// Weights of one direction, as in model files.
#[derive(Clone, Debug)]
pub(crate) struct DirectionWeights {
    /// `[4 units, inputs]`
    pub(crate) w_ih: Tensor,
    /// `[4 units, units]`
    pub(crate) w_hh: Tensor,
    /// `[4 units]`
    pub(crate) bias: Tensor,
}

/// Hidden states `[rows, 2 units]` of packed rows `x` (`[rows, inputs]`).
pub(crate) fn recur(x: &Tensor, weights: [&DirectionWeights; 2], packing: &Arc<Packing>) -> Result<Tensor> {
    let [forward, backward] = weights;
    let (gates, units) = forward.w_hh.dims2()?;
    let (rows, inputs) = x.dims2()?;
    for DirectionWeights { w_ih, w_hh, bias } in weights {
        let fits = w_ih.dims() == [gates, inputs] && w_hh.dims() == [gates, units] && bias.dims() == [gates];
        if !fits || gates != 4 * units || rows != packing.rows() {
            candle_core::bail!(
                "recurrence over {} rows: inputs {:?}, w_ih {:?}, w_hh {:?}, bias {:?}",
                packing.rows(),
                x.shape(),
                w_ih.shape(),
                w_hh.shape(),
                bias.shape()
            );
        }
    }
    if !x.device().is_cpu() {
        return recur_in_stock_operations(x, weights, packing);
    }
    let parts = [&forward.w_ih, &forward.w_hh, &backward.w_ih, &backward.w_hh];
    let parts = parts.map(Tensor::flatten_all).into_iter().collect::<Result<Vec<_>>>()?;
    let bias = Tensor::cat(&[&forward.bias, &backward.bias], 0)?;
    let op = Recurrence { packing: Arc::clone(packing), inputs, units, kept: OnceLock::new() };
    x.contiguous()?.apply_op3(&Tensor::cat(&parts, 0)?, &bias, op)
}

/// [`recur`] in operations that candle has on every device.
fn recur_in_stock_operations(
    x: &Tensor,
    weights: [&DirectionWeights; 2],
    packing: &Packing,
) -> Result<Tensor> {
    let forward = direction_in_stock_operations(x, weights[0], packing, Direction::Forward)?;
    let backward = direction_in_stock_operations(x, weights[1], packing, Direction::Backward)?;
    Tensor::cat(&[forward, backward], 1)
}

fn direction_in_stock_operations(
    x: &Tensor,
    weights: &DirectionWeights,
    packing: &Packing,
    direction: Direction,
) -> Result<Tensor> {
    let DirectionWeights { w_ih, w_hh, bias } = weights;
    let units = w_hh.dim(1)?;
    let inputs = x.matmul(&w_ih.t()?)?.broadcast_add(bias)?;
    let w_hh = w_hh.t()?;
    let mut hidden: Vec<Option<Tensor>> = vec![None; packing.blocks()];
    let mut state: Option<Tensor> = None;
    for block in (0..packing.blocks()).map(|i| Block::new(packing, direction, i)) {
        let mut gates = inputs.narrow(0, block.start, block.rows)?;
        let before = block.before.and_then(|t| hidden[t].as_ref());
        if let Some(before) = before {
            let recurrent = before.narrow(0, 0, block.continued)?.matmul(&w_hh)?;
            gates = (gates + recurrent.pad_with_zeros(0, 0, block.rows - block.continued)?)?;
        }
        let gate = |i: usize| gates.narrow(1, i * units, units);
        let mut c = (candle_nn::ops::sigmoid(&gate(0)?)? * gate(2)?.tanh()?)?;
        if let Some(state) = state.take() {
            let state = state.narrow(0, 0, block.continued)?;
            let state = state.pad_with_zeros(0, 0, block.rows - block.continued)?;
            c = (c + (candle_nn::ops::sigmoid(&gate(1)?)? * state)?)?;
        }
        hidden[block.t] = Some((candle_nn::ops::sigmoid(&gate(3)?)? * c.tanh()?)?);
        state = Some(c);
    }
    Tensor::cat(&hidden.into_iter().flatten().collect::<Vec<_>>(), 0)
}

/// One step of the recurrence over all windows that take part in it.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// Its step.
    t: usize,
    /// Its first row.
    start: usize,
    /// Its rows.
    rows: usize,
    /// How many of them, the first ones, have a state from the block before.
    continued: usize,
    /// The step of the block before.
    before: Option<usize>,
}

impl Block {
    /// The i-th block that a direction takes.
    fn new(packing: &Packing, direction: Direction, i: usize) -> Self {
        let (t, before, continued) = match direction {
            Direction::Forward => (i, i.checked_sub(1), if i == 0 { 0 } else { packing.active(i) }),
            Direction::Backward => {
                let t = packing.blocks() - 1 - i;
                (t, (i > 0).then_some(t + 1), packing.active(t + 1))
            }
        };
        Self { t, start: packing.start(t), rows: packing.active(t), continued, before }
    }
}

/// Weights of one direction as the loops read them; gates in the order i, g, o, f.
#[derive(Clone, Debug)]
pub(crate) struct PackedWeights {
    inputs: usize,
    units: usize,
    /// `[inputs, 4 units]`
    w_ih: Vec<f32>,
    /// `[units, 4 units]`
    w_hh: Vec<f32>,
    /// `[4 units]`
    bias: Vec<f32>,
}

impl PackedWeights {
    /// Packs weights that are as in model files.
    pub(crate) fn new(w_ih: &[f32], w_hh: &[f32], bias: &[f32]) -> Self {
        let gates = bias.len();
        let (inputs, units) = (w_ih.len() / gates, gates / 4);
        Self {
            inputs,
            units,
            w_ih: transposed(&forget_last(w_ih), gates, inputs),
            w_hh: transposed(&forget_last(w_hh), gates, units),
            bias: forget_last(bias),
        }
    }

    /// Values of one row of inputs.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Units of this direction.
    pub(crate) fn units(&self) -> usize {
        self.units
    }
}

/// Gates and states of one direction: room for some of them when scoring, all of them, activated, when learning.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// `[rows, 4 units]`
    gates: Vec<f32>,
    /// `[rows, units]`
    states: Vec<f32>,
}

/// One direction of a layer: from packed rows `x` to the `units` columns from `column` of rows of `y`, each `stride` long.
/// With `KEEP`, the trace afterwards has what the backward pass needs.
pub(crate) fn forward<const KEEP: bool>(
    packing: &Packing,
    direction: Direction,
    weights: &PackedWeights,
    x: &[f32],
    (y, column, stride): (&mut [f32], usize, usize),
    trace: &mut Trace,
    threads: usize,
) {
    let units = weights.units;
    let mut i = 0;
    while i < packing.blocks() {
        let (next, rows) = group(packing, direction, i, if KEEP { usize::MAX } else { ROWS_AT_ONCE });
        let gates = sized(&mut trace.gates, rows.len() * 4 * units);
        input_products(packing, direction, weights, x, rows.clone(), gates, threads);
        let states = sized(&mut trace.states, if KEEP { packing.rows() } else { packing.windows() } * units);
        for block in (i..next).map(|i| Block::new(packing, direction, i)) {
            let Block { start, continued, .. } = block;
            let gates = &mut gates[(start - rows.start) * 4 * units..][..block.rows * 4 * units];
            let (old_gates, new_gates) = gates.split_at_mut(continued * 4 * units);
            if let Some(before) = block.before {
                let before = packing.start(before);
                let hidden = Matrix::strided(&y[before * stride + column..], continued, units, stride);
                let recurrent = Matrix::new(&weights.w_hh, units, 4 * units);
                matmul(old_gates, 4 * units, Update::Add, hidden, recurrent, threads);
                if KEEP {
                    states.copy_within(before * units..(before + continued) * units, start * units);
                }
            }
            let first = if KEEP { start } else { 0 };
            let (old_states, new_states) =
                states[first * units..][..block.rows * units].split_at_mut(continued * units);
            let bias = &weights.bias;
            if continued > 0 {
                let hidden = &mut y[start * stride + column..];
                let (gates, states) = (old_gates, old_states);
                dispatch(Cells::<false, KEEP> { gates, bias, states, hidden, stride });
            }
            if continued < block.rows {
                let hidden = &mut y[(start + continued) * stride + column..];
                let (gates, states) = (new_gates, new_states);
                dispatch(Cells::<true, KEEP> { gates, bias, states, hidden, stride });
            }
        }
        i = next;
    }
}

/// The blocks from the i-th that have at most so many rows together, one at least: where they end, and their rows.
fn group(packing: &Packing, direction: Direction, i: usize, at_most: usize) -> (usize, Range<usize>) {
    let rows_of = |i: usize| {
        let block = Block::new(packing, direction, i);
        block.start..block.start + block.rows
    };
    let mut rows = rows_of(i);
    let mut next = i + 1;
    while next < packing.blocks() {
        let more = rows_of(next);
        if rows.len() + more.len() > at_most {
            break;
        }
        // Blocks that follow each other lie side by side.
        rows = rows.start.min(more.start)..rows.end.max(more.end);
        next += 1;
    }
    (next, rows)
}

/// The inputs of some rows times their weights, without the forget gates of the rows of block 0 that need none.
fn input_products(
    packing: &Packing,
    direction: Direction,
    weights: &PackedWeights,
    x: &[f32],
    rows: Range<usize>,
    gates: &mut [f32],
    threads: usize,
) {
    let PackedWeights { inputs, units, .. } = *weights;
    let needless = match (direction, rows.start) {
        (Direction::Forward, 0) => 0..packing.active(0),
        // Windows of one step. Longer ones have their first rows scattered over the blocks.
        (Direction::Backward, 0) => packing.active(1)..packing.active(0),
        _ => rows.start..rows.start,
    };
    let parts = [
        (rows.start..needless.start, 4 * units),
        (needless.clone(), 3 * units),
        (needless.end..rows.end, 4 * units),
    ];
    for (part, columns) in parts.into_iter().filter(|(part, _)| !part.is_empty()) {
        let x = Matrix::new(&x[part.start * inputs..], part.len(), inputs);
        let w_ih = Matrix::strided(&weights.w_ih, inputs, columns, 4 * units);
        let gates = &mut gates[(part.start - rows.start) * 4 * units..];
        matmul(gates, 4 * units, Update::Overwrite, x, w_ih, threads);
    }
}

/// The operation, with what its backward pass needs. Its second argument is the weights of both directions, one behind the
/// other: `w_ih`, `w_hh`, forward, then backward; the third the biases likewise.
struct Recurrence {
    packing: Arc<Packing>,
    inputs: usize,
    units: usize,
    kept: OnceLock<[Trace; 2]>,
}

impl CustomOp3 for Recurrence {
    fn name(&self) -> &'static str {
        "bidirectional-lstm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, units) = (self.packing.rows(), self.units);
        let (x, bias) = (values(x, x_layout)?, values(bias, bias_layout)?);
        let weights = values(weights, weights_layout)?;
        let mut y = vec![0.0; rows * 2 * units];
        let kept = [(Direction::Forward, 0), (Direction::Backward, 1)].map(|(direction, side)| {
            let [w_ih, w_hh] = self.parts(side);
            let bias = &bias[side * 4 * units..(side + 1) * 4 * units];
            let weights = PackedWeights::new(&weights[w_ih], &weights[w_hh], bias);
            let mut trace = Trace::default();
            let out = (&mut y[..], side * units, 2 * units);
            forward::<true>(&self.packing, direction, &weights, x, out, &mut trace, threads());
            trace
        });
        // An operation runs forwards once; a second time would keep the same.
        let _ = self.kept.set(kept);
        Ok((CpuStorage::F32(y), (rows, 2 * units).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weights: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(kept) = self.kept.get() else {
            candle_core::bail!("the backward pass of a recurrence before its forward pass");
        };
        let gradient = gradient.contiguous()?;
        // Inputs of the network have no gradient that anybody wants.
        let mut of_x = x.track_op().then(|| vec![0.0; x.elem_count()]);
        let mut of_weights = vec![0.0; weights.elem_count()];
        let mut of_bias = vec![0.0; bias.elem_count()];
        {
            let (x, x_layout) = x.storage_and_layout();
            let (weights, weights_layout) = weights.storage_and_layout();
            let (y, y_layout) = y.storage_and_layout();
            let (gradient, gradient_layout) = gradient.storage_and_layout();
            let pass = Backward {
                op: self,
                x: on_cpu(&x, x_layout)?,
                weights: on_cpu(&weights, weights_layout)?,
                y: on_cpu(&y, y_layout)?,
                gradient: on_cpu(&gradient, gradient_layout)?,
            };
            let mut gates = vec![0.0; self.packing.rows() * 4 * self.units];
            for (side, direction) in [Direction::Forward, Direction::Backward].into_iter().enumerate() {
                pass.through_time(side, direction, &kept[side], &mut gates);
                pass.weights(side, direction, &gates, &mut of_weights, &mut of_bias);
                if let Some(of_x) = &mut of_x {
                    pass.inputs(side, &gates, of_x);
                }
            }
        }
        let device = x.device();
        let of_x = of_x.map(|of_x| Tensor::from_vec(of_x, x.shape(), device)).transpose()?;
        let of_weights = Tensor::from_vec(of_weights, weights.shape(), device)?;
        let of_bias = Tensor::from_vec(of_bias, bias.shape(), device)?;
        Ok((of_x, Some(of_weights), Some(of_bias)))
    }
}

impl Recurrence {
    /// Where the `w_ih` and the `w_hh` of a direction lie.
    fn parts(&self, side: usize) -> [Range<usize>; 2] {
        let (w_ih, w_hh) = (4 * self.units * self.inputs, 4 * self.units * self.units);
        let start = side * (w_ih + w_hh);
        [start..start + w_ih, start + w_ih..start + w_ih + w_hh]
    }
}

/// The backward pass.
struct Backward<'a> {
    op: &'a Recurrence,
    x: &'a [f32],
    weights: &'a [f32],
    y: &'a [f32],
    /// Of `y`.
    gradient: &'a [f32],
}

impl Backward<'_> {
    /// Backpropagation through time: fills in the gradients of the gates before their activations.
    fn through_time(&self, side: usize, direction: Direction, kept: &Trace, gates: &mut [f32]) {
        let Recurrence { packing, units, .. } = self.op;
        let (units, stride) = (*units, 2 * units);
        let [_, w_hh] = self.op.parts(side);
        let w_hh = forget_last(&self.weights[w_hh]);
        // What later blocks say about the state and the output of a block's first rows.
        let mut of_states = vec![0.0; packing.windows() * units];
        let mut of_hidden = vec![0.0; packing.windows() * units];
        let mut carried = 0;
        for block in (0..packing.blocks()).rev().map(|i| Block::new(packing, direction, i)) {
            let Block { start, rows, continued, .. } = block;
            of_states[carried * units..rows * units].fill(0.0);
            of_hidden[carried * units..rows * units].fill(0.0);
            let before = block.before.map_or(0, |t| packing.start(t));
            let gates = &mut gates[start * 4 * units..][..rows * 4 * units];
            dispatch(CellGradients {
                activated: &kept.gates[start * 4 * units..][..rows * 4 * units],
                states: &kept.states[start * units..][..rows * units],
                before: &kept.states[before * units..][..continued * units],
                gradient: &self.gradient[start * stride + side * units..],
                stride,
                of_hidden: &of_hidden[..rows * units],
                of_states: &mut of_states[..rows * units],
                gates,
                units,
            });
            let (gates, w_hh) =
                (Matrix::new(gates, continued, 4 * units), Matrix::new(&w_hh, 4 * units, units));
            matmul(&mut of_hidden, units, Update::Overwrite, gates, w_hh, threads());
            carried = continued;
        }
    }

    /// The gradients of weights and bias.
    fn weights(
        &self,
        side: usize,
        direction: Direction,
        gates: &[f32],
        of_weights: &mut [f32],
        of_bias: &mut [f32],
    ) {
        let Recurrence { packing, inputs, units, .. } = self.op;
        let (rows, inputs, units, stride) = (packing.rows(), *inputs, *units, 2 * units);
        let [w_ih, w_hh] = self.op.parts(side);
        let of_bias = &mut of_bias[side * 4 * units..(side + 1) * 4 * units];
        dispatch(ColumnSums { rows: gates, sums: of_bias });
        forget_second(of_bias);
        let of_w_ih = &mut of_weights[w_ih];
        let all = Matrix::new(gates, rows, 4 * units).transposed();
        matmul(of_w_ih, inputs, Update::Overwrite, all, Matrix::new(self.x, rows, inputs), threads());
        forget_second(of_w_ih);
        // Rows with a state from the block before, and the outputs of that block. One side of these pairs lies in one
        // piece, all rows but those of block 0; the other is gathered.
        let first = packing.active(0);
        let rows = rows - first;
        let hidden = &self.y[side * units..];
        let mut gathered = Vec::new();
        let befores = (1..packing.blocks()).flat_map(|t| (0..packing.active(t)).map(move |i| (t, i)));
        let befores = befores.map(|(t, i)| packing.start(t - 1) + i);
        let (gates, hidden) = match direction {
            Direction::Forward => {
                gathered.reserve(rows * units);
                befores.for_each(|row| gathered.extend_from_slice(&hidden[row * stride..][..units]));
                (&gates[first * 4 * units..], Matrix::new(&gathered, rows, units))
            }
            Direction::Backward => {
                gathered.reserve(rows * 4 * units);
                befores.for_each(|row| gathered.extend_from_slice(&gates[row * 4 * units..][..4 * units]));
                let hidden = if rows > 0 { &hidden[first * stride..] } else { hidden };
                (&gathered[..], Matrix::strided(hidden, rows, units, stride))
            }
        };
        let of_w_hh = &mut of_weights[w_hh];
        let gates = Matrix::new(gates, rows, 4 * units).transposed();
        matmul(of_w_hh, units, Update::Overwrite, gates, hidden, threads());
        forget_second(of_w_hh);
    }

    /// Adds the gradient of the inputs.
    fn inputs(&self, side: usize, gates: &[f32], of_x: &mut [f32]) {
        let Recurrence { packing, inputs, units, .. } = self.op;
        let [w_ih, _] = self.op.parts(side);
        let w_ih = forget_last(&self.weights[w_ih]);
        let gates = Matrix::new(gates, packing.rows(), 4 * units);
        let how = if side == 0 { Update::Overwrite } else { Update::Add };
        matmul(of_x, *inputs, how, gates, Matrix::new(&w_ih, 4 * units, *inputs), threads());
    }
}

/// One step of the cells of some rows. `FIRST`: their state is zero, and the forget gate is not looked at. `KEEP`: the
/// gates are left activated.
struct Cells<'a, const FIRST: bool, const KEEP: bool> {
    /// `[rows, 4 units]`, without the bias.
    gates: &'a mut [f32],
    /// `[4 units]`
    bias: &'a [f32],
    /// `[rows, units]`: the state before; the state after.
    states: &'a mut [f32],
    /// Rows of `units` outputs, `stride` apart.
    hidden: &'a mut [f32],
    stride: usize,
}

impl<const FIRST: bool, const KEEP: bool> Kernel for Cells<'_, FIRST, KEEP> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let units = self.bias.len() / 4;
        let [bi, bg, bo, bf] = quarters(self.bias, units);
        let rows = self.gates.chunks_exact_mut(4 * units).zip(self.states.chunks_exact_mut(units));
        for ((gates, states), hidden) in rows.zip(self.hidden.chunks_mut(self.stride)) {
            let [i, g, o, f] = quarters_mut(gates, units);
            let (states, hidden) = (&mut states[..units], &mut hidden[..units]);
            for at in (0..units).step_by(LANES) {
                let (bi, bg, bo, bf) = (load(bi, at), load(bg, at), load(bo, at), load(bf, at));
                let (mut input, mut candidate, mut output) = (load(i, at), load(g, at), load(o, at));
                let mut forget = if FIRST { [0.0; LANES] } else { load(f, at) };
                let mut state = if FIRST { [0.0; LANES] } else { load(states, at) };
                let mut out = [0.0; LANES];
                for j in 0..LANES {
                    input[j] = sigmoid::<FMA>(input[j] + bi[j]);
                    candidate[j] = tanh::<FMA>(candidate[j] + bg[j]);
                    output[j] = sigmoid::<FMA>(output[j] + bo[j]);
                    state[j] = if FIRST {
                        input[j] * candidate[j]
                    } else {
                        forget[j] = sigmoid::<FMA>(forget[j] + bf[j]);
                        multiply_add::<FMA>(forget[j], state[j], input[j] * candidate[j])
                    };
                    out[j] = output[j] * tanh::<FMA>(state[j]);
                }
                if KEEP {
                    store(input, i, at);
                    store(candidate, g, at);
                    store(output, o, at);
                    if !FIRST {
                        store(forget, f, at);
                    }
                }
                store(state, states, at);
                store(out, hidden, at);
            }
        }
    }
}

/// The gradient of one step of the cells.
struct CellGradients<'a> {
    /// Gates after their activations: `[rows, 4 units]`.
    activated: &'a [f32],
    /// States after the step: `[rows, units]`.
    states: &'a [f32],
    /// States before the step, of the first rows; the others' were zero.
    before: &'a [f32],
    /// Of the outputs, from the layer above: rows of `units`, `stride` apart.
    gradient: &'a [f32],
    stride: usize,
    /// Of the outputs, from the next step: `[rows, units]`.
    of_hidden: &'a [f32],
    /// Of the states after the step; afterwards of the states before it.
    of_states: &'a mut [f32],
    /// Of the gates before their activations: `[rows, 4 units]`, to be filled.
    gates: &'a mut [f32],
    units: usize,
}

impl Kernel for CellGradients<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let units = self.units;
        let continued = self.before.len() / units;
        for (row, gates) in self.gates.chunks_exact_mut(4 * units).enumerate() {
            let one = row * units..(row + 1) * units;
            let [i, g, o, f] = quarters(&self.activated[row * 4 * units..(row + 1) * 4 * units], units);
            let [di, dg, d_o, df] = quarters_mut(gates, units);
            let (states, of_states) = (&self.states[one.clone()], &mut self.of_states[one.clone()]);
            let (gradient, of_hidden) =
                (&self.gradient[row * self.stride..][..units], &self.of_hidden[one.clone()]);
            let before = if row < continued { &self.before[one] } else { &[] };
            for at in (0..units).step_by(LANES) {
                let (i, g, o, f) = (load(i, at), load(g, at), load(o, at), load(f, at));
                let (states, gradient, of_hidden) =
                    (load(states, at), load(gradient, at), load(of_hidden, at));
                let mut of_state = load(of_states, at);
                let (mut to_i, mut to_g, mut to_o) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
                for j in 0..LANES {
                    let (dh, c) = (gradient[j] + of_hidden[j], tanh::<FMA>(states[j]));
                    let dc = multiply_add::<FMA>(dh * o[j], 1.0 - c * c, of_state[j]);
                    to_o[j] = dh * c * o[j] * (1.0 - o[j]);
                    to_i[j] = dc * g[j] * i[j] * (1.0 - i[j]);
                    to_g[j] = dc * i[j] * (1.0 - g[j] * g[j]);
                    of_state[j] = dc;
                }
                let mut to_f = [0.0; LANES];
                if !before.is_empty() {
                    let before = load(before, at);
                    for j in 0..LANES {
                        to_f[j] = of_state[j] * before[j] * f[j] * (1.0 - f[j]);
                        of_state[j] *= f[j];
                    }
                }
                store(to_i, di, at);
                store(to_g, dg, at);
                store(to_o, d_o, at);
                store(to_f, df, at);
                store(of_state, of_states, at);
            }
        }
    }
}

/// The four gates of a row.
#[inline(always)]
fn quarters(row: &[f32], units: usize) -> [&[f32]; 4] {
    let (a, rest) = row.split_at(units);
    let (b, rest) = rest.split_at(units);
    let (c, d) = rest.split_at(units);
    [a, b, c, &d[..units]]
}

/// [`quarters`], to be written to.
#[inline(always)]
fn quarters_mut(row: &mut [f32], units: usize) -> [&mut [f32]; 4] {
    let (a, rest) = row.split_at_mut(units);
    let (b, rest) = rest.split_at_mut(units);
    let (c, d) = rest.split_at_mut(units);
    [a, b, c, &mut d[..units]]
}

/// Rows (or values) of gates i, f, g, o as i, g, o, f.
fn forget_last(gates: &[f32]) -> Vec<f32> {
    let quarter = gates.len() / 4;
    [&gates[..quarter], &gates[2 * quarter..], &gates[quarter..2 * quarter]].concat()
}

/// The other way round, in place.
fn forget_second(gates: &mut [f32]) {
    let quarter = gates.len() / 4;
    gates[quarter..].rotate_right(quarter);
}

/// `[rows, columns]` as `[columns, rows]`, in tiles that fit the nearest cache.
pub(crate) fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const TILE: usize = 16;
    let mut out = vec![0.0; rows * columns];
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for column in left..(left + TILE).min(columns) {
                for row in top..(top + TILE).min(rows) {
                    out[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    out
}

/// The first values of a buffer, which is replaced by a larger one, of zeros, if it must.
pub(crate) fn sized(buffer: &mut Vec<f32>, count: usize) -> &mut [f32] {
    if buffer.len() < count {
        *buffer = vec![0.0; count];
    }
    &mut buffer[..count]
}

/// The values of a contiguous tensor on the CPU.
pub(crate) fn on_cpu<'a>(storage: &'a Storage, layout: &Layout) -> Result<&'a [f32]> {
    match storage {
        Storage::Cpu(storage) => values(storage, layout),
        _ => candle_core::bail!("a tensor of the CPU was expected"),
    }
}

/// The values of contiguous storage.
pub(crate) fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((from, to)) = layout.contiguous_offsets() else {
        candle_core::bail!("a contiguous tensor was expected");
    };
    Ok(&storage.as_slice::<f32>()?[from..to])
}

/// Threads of a matrix product when learning: as many as candle's own take.
pub(crate) fn threads() -> usize {
    candle_core::utils::get_num_threads()
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::*;

    struct Case {
        x: Var,
        /// `w_ih`, `w_hh`, bias; forward, backward.
        weights: [[Var; 3]; 2],
        loss: Tensor,
        packing: Arc<Packing>,
    }

    impl Case {
        fn new(lengths: &[usize], inputs: usize, units: usize) -> Self {
            let packing = Arc::new(Packing::new(lengths));
            let rows = packing.rows();
            let device = Device::Cpu;
            let wave = |shape: (usize, usize), scale: f32, phase: f32| {
                let values = (0..shape.0 * shape.1)
                    .map(|i| scale * (i as f32 * 1.3 + phase).sin())
                    .collect::<Vec<f32>>();
                Tensor::from_vec(values, shape, &device).unwrap()
            };
            let var = |tensor: Tensor| Var::from_tensor(&tensor).unwrap();
            Self {
                x: var(wave((rows, inputs), 1.0, 0.2)),
                weights: [0.4, 0.9].map(|phase| {
                    [
                        var(wave((4 * units, inputs), 0.8, phase)),
                        var(wave((4 * units, units), 0.4, phase + 0.1)),
                        var(wave((1, 4 * units), 0.5, phase + 0.2).squeeze(0).unwrap()),
                    ]
                }),
                loss: wave((rows, 2 * units), 1.0, 0.8),
                packing,
            }
        }

        fn weights(&self) -> [DirectionWeights; 2] {
            self.weights.each_ref().map(|[w_ih, w_hh, bias]| DirectionWeights {
                w_ih: w_ih.as_tensor().clone(),
                w_hh: w_hh.as_tensor().clone(),
                bias: bias.as_tensor().clone(),
            })
        }

        fn run(&self) -> Tensor {
            recur(&self.x, self.weights().each_ref(), &self.packing).unwrap()
        }

        fn variables(&self) -> impl Iterator<Item = &Var> {
            std::iter::once(&self.x).chain(self.weights.iter().flatten())
        }

        fn loss(&self) -> f64 {
            let wide = |tensor: &Tensor| tensor.to_dtype(DType::F64).unwrap();
            (wide(&self.run()) * wide(&self.loss)).unwrap().sum_all().unwrap().to_scalar().unwrap()
        }
    }

    const LENGTHS: [&[usize]; 6] =
        [&[1], &[4], &[1, 1, 1], &[3, 1, 5, 5, 2, 0], &[7, 6, 1, 1, 1, 2, 1, 3], &[3; 20]];

    fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn values_and_gradients_are_those_of_stock_operations() -> Result<()> {
        let shapes = [(3, 3), (5, 16), (40, 33)];
        for (lengths, (inputs, units)) in
            LENGTHS.iter().flat_map(|lengths| shapes.map(|shape| (lengths, shape)))
        {
            let case = Case::new(lengths, inputs, units);
            let ours = case.run();
            let stock = recur_in_stock_operations(&case.x, case.weights().each_ref(), &case.packing)?;
            let difference = largest_difference(&ours, &stock);
            assert!(difference < 1e-5, "{lengths:?} {inputs} {units}: {difference}");
            let our_gradients = (&ours * &case.loss)?.backward()?;
            let stock_gradients = (&stock * &case.loss)?.backward()?;
            for (i, variable) in case.variables().enumerate() {
                let zeros = variable.zeros_like()?;
                let stock = stock_gradients.get(variable).unwrap_or(&zeros);
                let difference = largest_difference(our_gradients.get(variable).unwrap(), stock);
                assert!(difference < 3e-5, "{lengths:?} {inputs} {units}, variable {i}: {difference}");
            }
        }
        Ok(())
    }

    #[test]
    fn gradients_are_finite_differences() -> Result<()> {
        let case = Case::new(&[4, 2, 1, 3, 1], 4, 3);
        let gradients = (case.run() * &case.loss)?.backward()?;
        for (i, variable) in case.variables().enumerate() {
            let gradient = gradients.get(variable).unwrap().flatten_all()?.to_vec1::<f32>()?;
            let origin = variable.as_detached_tensor().copy()?;
            let flat = origin.flatten_all()?.to_vec1::<f32>()?;
            for at in (0..flat.len()).step_by(flat.len() / 11 + 1) {
                let step = 1e-2;
                let moved = |by: f32| {
                    let mut flat = flat.clone();
                    flat[at] += by;
                    variable.set(&Tensor::from_vec(flat, origin.shape(), &Device::Cpu).unwrap()).unwrap();
                    case.loss()
                };
                let slope = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
                let difference = (slope - f64::from(gradient[at])).abs();
                assert!(difference < 1e-3, "variable {i}[{at}]: {slope} against {}", gradient[at]);
            }
            variable.set(&origin)?;
        }
        Ok(())
    }

    #[test]
    fn inputs_without_a_history_get_no_gradient() -> Result<()> {
        let case = Case::new(&[3, 1], 4, 3);
        let x = case.x.as_detached_tensor();
        let gradients = (recur(&x, case.weights().each_ref(), &case.packing)? * &case.loss)?.backward()?;
        assert!(gradients.get(&x).is_none());
        assert!(gradients.get(&case.weights[0][0]).is_some());
        Ok(())
    }

    #[test]
    fn scoring_in_groups_of_blocks_gives_what_learning_keeps_whole() {
        let lengths: Vec<usize> = (0..300).map(|i| 1 + i * i % 9).collect();
        let (inputs, units) = (5, 8);
        let case = Case::new(&lengths, inputs, units);
        let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let expected = flat(&case.run());
        let mut y = vec![0.0; expected.len()];
        let mut trace = Trace::default();
        for (side, direction) in [Direction::Forward, Direction::Backward].into_iter().enumerate() {
            let [w_ih, w_hh, bias] = case.weights[side].each_ref().map(|tensor| flat(tensor));
            let weights = PackedWeights::new(&w_ih, &w_hh, &bias);
            let out = (&mut y[..], side * units, 2 * units);
            forward::<false>(&case.packing, direction, &weights, &flat(&case.x), out, &mut trace, 1);
        }
        assert!(trace.gates.len() < case.packing.rows() * 4 * units);
        assert!(expected.iter().zip(&y).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let case = Case::new(&[2, 1], 3, 3);
        let packing = Arc::new(Packing::new(&[2, 2]));
        assert!(recur(&case.x, case.weights().each_ref(), &packing).is_err());
        let [mut forward, backward] = case.weights();
        forward.w_ih = forward.w_hh.narrow(1, 0, 2).unwrap();
        assert!(recur(&case.x, [&forward, &backward], &case.packing).is_err());
    }

    #[test]
    fn a_transposed_matrix_has_its_rows_as_columns() {
        for (rows, columns) in [(1, 1), (16, 16), (17, 33), (3, 40)] {
            let values: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
            let turned = transposed(&values, rows, columns);
            let expected = (0..columns).flat_map(|j| (0..rows).map(move |i| (i * columns + j) as f32));
            assert_eq!(turned, expected.collect::<Vec<_>>());
        }
    }
}
