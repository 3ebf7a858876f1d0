//! The recurrence of one direction of an LSTM layer (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et
//! al. 2000), forwards and backwards in time, and its gradient.
//!
//! What depends on the inputs alone is one matrix product over all steps, made by the caller; here is what must go step by
//! step. Rows are packed ([`Packing`]): no work for padding, and the first step of a window, whose state is zero, has no
//! recurrent product. Gates are ordered i, f, g, o, as in PyTorch; state: `c = f c' + i g`, `h = o tanh(c)`.
//!
//! On the CPU this is an operation of its own with a backward pass, because candle's stock path costs about a dozen
//! small tensors per step; on other devices it is made of stock operations, which are also what it is tested against.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Storage, Tensor};

use crate::kernel::{Kernel, Matrix, Update, dispatch, matmul, multiply_add, sigmoid, tanh};
use crate::packing::Packing;

/// Which way through the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the first step to the last.
    Forward,
    /// From the last step to the first.
    Backward,
}

/// Hidden states `[rows, units]` of packed rows.
///
/// `inputs`: `[rows, 4 units]`, the inputs times their weights; `w_hh`: `[4 units, units]`; `bias`: `[4 units]`.
pub(crate) fn recur(
    inputs: &Tensor,
    w_hh: &Tensor,
    bias: &Tensor,
    packing: &Arc<Packing>,
    direction: Direction,
) -> Result<Tensor> {
    let (rows, units) = (packing.rows(), w_hh.dim(1)?);
    if inputs.dims() != [rows, 4 * units] || w_hh.dims() != [4 * units, units] || bias.dims() != [4 * units] {
        candle_core::bail!(
            "recurrence over {rows} rows: inputs {:?}, w_hh {:?}, bias {:?}",
            inputs.shape(),
            w_hh.shape(),
            bias.shape()
        );
    }
    if inputs.device().is_cpu() {
        let op = Recurrence { packing: Arc::clone(packing), direction, units, kept: OnceLock::new() };
        inputs.contiguous()?.apply_op3(&w_hh.contiguous()?, &bias.contiguous()?, op)
    } else {
        recur_in_stock_operations(inputs, w_hh, bias, packing, direction)
    }
}

/// [`recur`] in operations that candle has on every device.
fn recur_in_stock_operations(
    inputs: &Tensor,
    w_hh: &Tensor,
    bias: &Tensor,
    packing: &Packing,
    direction: Direction,
) -> Result<Tensor> {
    let units = w_hh.dim(1)?;
    let (inputs, w_hh) = (inputs.broadcast_add(bias)?, w_hh.t()?);
    let mut hidden: Vec<Option<Tensor>> = vec![None; packing.blocks()];
    let mut state: Option<Tensor> = None;
    for block in Block::all(packing, direction) {
        let mut gates = inputs.narrow(0, block.start, block.rows)?;
        let before = block.before.and_then(|t| hidden[t].as_ref());
        if let Some(before) = before {
            let recurrent = before.narrow(0, 0, block.continued)?.matmul(&w_hh)?;
            gates = (gates + recurrent.pad_with_zeros(0, 0, block.rows - block.continued)?)?;
        }
        let gate = |i: usize| gates.narrow(1, i * units, units);
        let mut c = (candle_nn::ops::sigmoid(&gate(0)?)? * gate(2)?.tanh()?)?;
        if let Some(state) = state.take().filter(|_| before.is_some()) {
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
pub(crate) struct Block {
    /// Its step.
    pub(crate) t: usize,
    /// Its first row.
    pub(crate) start: usize,
    /// Its rows.
    pub(crate) rows: usize,
    /// How many of them, the first ones, have a state from the block before.
    pub(crate) continued: usize,
    /// The step of the block before.
    pub(crate) before: Option<usize>,
}

impl Block {
    /// The blocks of a packing in the order in which a direction takes them.
    pub(crate) fn all(packing: &Packing, direction: Direction) -> impl DoubleEndedIterator<Item = Self> + '_ {
        let blocks = packing.blocks();
        (0..blocks).map(move |i| {
            let t = if direction == Direction::Forward { i } else { blocks - 1 - i };
            let (before, continued) = match direction {
                Direction::Forward => (t.checked_sub(1), if t == 0 { 0 } else { packing.active(t) }),
                Direction::Backward => (Some(t + 1).filter(|&t| t < blocks), packing.active(t + 1)),
            };
            Self { t, start: packing.start(t), rows: packing.active(t), continued, before }
        })
    }
}

/// The operation, with what its backward pass needs.
struct Recurrence {
    packing: Arc<Packing>,
    direction: Direction,
    units: usize,
    kept: OnceLock<Kept>,
}

/// What the forward pass leaves for the backward pass.
struct Kept {
    /// Gates after their activations: `[rows, 4 units]`.
    gates: Vec<f32>,
    /// Cell states: `[rows, units]`.
    states: Vec<f32>,
}

impl CustomOp3 for Recurrence {
    fn name(&self) -> &'static str {
        "lstm-recurrence"
    }

    fn cpu_fwd(
        &self,
        inputs: &CpuStorage,
        inputs_layout: &Layout,
        w_hh: &CpuStorage,
        w_hh_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, units) = (self.packing.rows(), self.units);
        let mut gates = values(inputs, inputs_layout)?.to_vec();
        let w_hh = transposed(values(w_hh, w_hh_layout)?, 4 * units, units);
        let bias = values(bias, bias_layout)?;
        let mut states = vec![0.0; rows * units];
        let mut hidden = vec![0.0; rows * units];
        for block in Block::all(&self.packing, self.direction) {
            let (from, to) = (block.start, block.start + block.rows);
            let continued = block.continued;
            if let Some(before) = block.before {
                let before = self.packing.start(before);
                matmul(
                    &mut gates[from * 4 * units..],
                    4 * units,
                    Update::Add,
                    Matrix::new(&hidden[before * units..], continued, units),
                    Matrix::new(&w_hh, units, 4 * units),
                    threads(),
                );
                states.copy_within(before * units..(before + continued) * units, from * units);
            }
            let (old, new) = (from..from + continued, from + continued..to);
            let within = |rows: &std::ops::Range<usize>, width: usize| rows.start * width..rows.end * width;
            dispatch(Cells::<false, true> {
                gates: &mut gates[within(&old, 4 * units)],
                order: GateOrder::Ifgo,
                bias,
                states: &mut states[within(&old, units)],
                hidden: &mut hidden[within(&old, units)],
                stride: units,
            });
            dispatch(Cells::<true, true> {
                gates: &mut gates[within(&new, 4 * units)],
                order: GateOrder::Ifgo,
                bias,
                states: &mut states[within(&new, units)],
                hidden: &mut hidden[within(&new, units)],
                stride: units,
            });
        }
        // An operation runs forwards once; a second time would keep the same.
        let _ = self.kept.set(Kept { gates, states });
        Ok((CpuStorage::F32(hidden), (rows, units).into()))
    }

    fn bwd(
        &self,
        inputs: &Tensor,
        w_hh: &Tensor,
        bias: &Tensor,
        hidden: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(kept) = self.kept.get() else {
            candle_core::bail!("the backward pass of a recurrence before its forward pass");
        };
        let (rows, units) = (self.packing.rows(), self.units);
        let gradient = gradient.contiguous()?;
        let (w_hh_guard, w_hh_layout) = w_hh.storage_and_layout();
        let (hidden_guard, hidden_layout) = hidden.storage_and_layout();
        let (gradient_guard, gradient_layout) = gradient.storage_and_layout();
        let gradients = self.gradients(
            kept,
            on_cpu(&w_hh_guard, w_hh_layout)?,
            on_cpu(&hidden_guard, hidden_layout)?,
            on_cpu(&gradient_guard, gradient_layout)?,
        );
        let device = inputs.device();
        Ok((
            Some(Tensor::from_vec(gradients.inputs, (rows, 4 * units), device)?),
            Some(Tensor::from_vec(gradients.w_hh, w_hh.shape(), device)?),
            Some(Tensor::from_vec(gradients.bias, bias.shape(), device)?),
        ))
    }
}

struct Gradients {
    inputs: Vec<f32>,
    w_hh: Vec<f32>,
    bias: Vec<f32>,
}

impl Recurrence {
    /// Backpropagation through time.
    fn gradients(&self, kept: &Kept, w_hh: &[f32], hidden: &[f32], gradient: &[f32]) -> Gradients {
        let Self { packing, direction, units, .. } = self;
        let units = *units;
        let mut gates = vec![0.0; packing.rows() * 4 * units];
        // What later blocks say about the state and the output of a block's first rows.
        let mut of_states = vec![0.0; packing.windows() * units];
        let mut of_hidden = vec![0.0; packing.windows() * units];
        let mut carried = 0;
        for block in Block::all(packing, *direction).rev() {
            let (from, to) = (block.start, block.start + block.rows);
            of_states[carried * units..block.rows * units].fill(0.0);
            of_hidden[carried * units..block.rows * units].fill(0.0);
            let before = block.before.map_or(0, |t| packing.start(t));
            dispatch(CellGradients {
                activated: &kept.gates[from * 4 * units..to * 4 * units],
                states: &kept.states[from * units..to * units],
                before: &kept.states[before * units..(before + block.continued) * units],
                gradient: &gradient[from * units..to * units],
                of_hidden: &of_hidden[..block.rows * units],
                of_states: &mut of_states[..block.rows * units],
                gates: &mut gates[from * 4 * units..to * 4 * units],
                units,
            });
            matmul(
                &mut of_hidden,
                units,
                Update::Overwrite,
                Matrix::new(&gates[from * 4 * units..], block.continued, 4 * units),
                Matrix::new(w_hh, 4 * units, units),
                threads(),
            );
            carried = block.continued;
        }
        let mut bias = vec![0.0; 4 * units];
        dispatch(ColumnSums { rows: &gates, sums: &mut bias });
        Gradients { w_hh: self.weight_gradient(&gates, hidden), inputs: gates, bias }
    }

    /// Sum over all rows with a state from the block before: gradient of the gates times the output before.
    fn weight_gradient(&self, gates: &[f32], hidden: &[f32]) -> Vec<f32> {
        let (packing, units) = (&*self.packing, self.units);
        let first = packing.active(0);
        let rows = packing.rows() - first;
        // One side of the pairs lies in one piece, all rows but those of block 0; the other is gathered beside it.
        let mut gathered = Vec::new();
        let (gates, hidden) = match self.direction {
            Direction::Forward => {
                gathered.reserve(rows * units);
                for t in 1..packing.blocks() {
                    let from = packing.start(t - 1);
                    gathered.extend_from_slice(&hidden[from * units..(from + packing.active(t)) * units]);
                }
                (&gates[first * 4 * units..], &gathered[..])
            }
            Direction::Backward => {
                gathered.reserve(rows * 4 * units);
                for t in 1..packing.blocks() {
                    let from = packing.start(t - 1);
                    gathered
                        .extend_from_slice(&gates[from * 4 * units..(from + packing.active(t)) * 4 * units]);
                }
                (&gathered[..], &hidden[first * units..])
            }
        };
        let mut gradient = vec![0.0; 4 * units * units];
        matmul(
            &mut gradient,
            units,
            Update::Overwrite,
            Matrix::new(gates, rows, 4 * units).transposed(),
            Matrix::new(hidden, rows, units),
            threads(),
        );
        gradient
    }
}

/// How the four gates of a row follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GateOrder {
    /// As in PyTorch and in model files.
    Ifgo,
    /// The forget gate, which a first step does not need, last.
    Igof,
}

impl GateOrder {
    /// The gates i, f, g, o of a row of `4 units`.
    #[inline(always)]
    fn of(self, row: &[f32], units: usize) -> [&[f32]; 4] {
        let (a, rest) = row.split_at(units);
        let (b, rest) = rest.split_at(units);
        let (c, d) = rest.split_at(units);
        match self {
            Self::Ifgo => [a, b, c, d],
            Self::Igof => [a, d, b, c],
        }
    }

    /// [`GateOrder::of`], to be written to.
    #[inline(always)]
    fn of_mut(self, row: &mut [f32], units: usize) -> [&mut [f32]; 4] {
        let (a, rest) = row.split_at_mut(units);
        let (b, rest) = rest.split_at_mut(units);
        let (c, d) = rest.split_at_mut(units);
        match self {
            Self::Ifgo => [a, b, c, d],
            Self::Igof => [a, d, b, c],
        }
    }
}

/// One step of the cells of some rows. `FIRST`: their state is zero, and the forget gate is not looked at. `KEEP`: the
/// gates are left activated.
pub(crate) struct Cells<'a, const FIRST: bool, const KEEP: bool> {
    /// `[rows, 4 units]`, without the bias.
    pub(crate) gates: &'a mut [f32],
    /// How gates and bias are ordered.
    pub(crate) order: GateOrder,
    /// `[4 units]`.
    pub(crate) bias: &'a [f32],
    /// `[rows, units]`: the state before; the state after.
    pub(crate) states: &'a mut [f32],
    /// Rows of `units` outputs, `stride` apart.
    pub(crate) hidden: &'a mut [f32],
    /// See `hidden`.
    pub(crate) stride: usize,
}

impl<const FIRST: bool, const KEEP: bool> Kernel for Cells<'_, FIRST, KEEP> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let units = self.bias.len() / 4;
        let [bi, bf, bg, bo] = self.order.of(self.bias, units);
        let rows = self.gates.chunks_exact_mut(4 * units).zip(self.states.chunks_exact_mut(units));
        for ((gates, states), hidden) in rows.zip(self.hidden.chunks_mut(self.stride)) {
            let [i, f, g, o] = self.order.of_mut(gates, units);
            let (states, hidden) = (&mut states[..units], &mut hidden[..units]);
            for j in 0..units {
                let input = sigmoid::<FMA>(i[j] + bi[j]);
                let candidate = tanh::<FMA>(g[j] + bg[j]);
                let output = sigmoid::<FMA>(o[j] + bo[j]);
                let state = if FIRST {
                    input * candidate
                } else {
                    let forget = sigmoid::<FMA>(f[j] + bf[j]);
                    if KEEP {
                        f[j] = forget;
                    }
                    multiply_add::<FMA>(forget, states[j], input * candidate)
                };
                if KEEP {
                    (i[j], g[j], o[j]) = (input, candidate, output);
                }
                states[j] = state;
                hidden[j] = output * tanh::<FMA>(state);
            }
        }
    }
}

/// The gradient of one step of the cells, gates in the order of model files.
struct CellGradients<'a> {
    /// Gates after their activations: `[rows, 4 units]`.
    activated: &'a [f32],
    /// States after the step: `[rows, units]`.
    states: &'a [f32],
    /// States before the step, of the first rows; the others' were zero.
    before: &'a [f32],
    /// Of the outputs, from the layer above: `[rows, units]`.
    gradient: &'a [f32],
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
            let [i, f, g, o] =
                GateOrder::Ifgo.of(&self.activated[row * 4 * units..(row + 1) * 4 * units], units);
            let [di, df, dg, d_o] = GateOrder::Ifgo.of_mut(gates, units);
            let (states, of_states) = (&self.states[one.clone()], &mut self.of_states[one.clone()]);
            let (gradient, of_hidden) = (&self.gradient[one.clone()], &self.of_hidden[one.clone()]);
            let before = if row < continued { Some(&self.before[one]) } else { None };
            for j in 0..units {
                let (dh, c) = (gradient[j] + of_hidden[j], tanh::<FMA>(states[j]));
                let dc = multiply_add::<FMA>(dh * o[j], 1.0 - c * c, of_states[j]);
                d_o[j] = dh * c * o[j] * (1.0 - o[j]);
                di[j] = dc * g[j] * i[j] * (1.0 - i[j]);
                dg[j] = dc * i[j] * (1.0 - g[j] * g[j]);
                of_states[j] = dc;
            }
            if let Some(before) = before {
                for j in 0..units {
                    df[j] = of_states[j] * before[j] * f[j] * (1.0 - f[j]);
                    of_states[j] *= f[j];
                }
            }
        }
    }
}

/// Sums of the columns of a matrix.
pub(crate) struct ColumnSums<'a> {
    /// `[rows, columns]`.
    pub(crate) rows: &'a [f32],
    /// `[columns]`, added to.
    pub(crate) sums: &'a mut [f32],
}

impl Kernel for ColumnSums<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for row in self.rows.chunks_exact(self.sums.len()) {
            for (sum, x) in self.sums.iter_mut().zip(row) {
                *sum += x;
            }
        }
    }
}

/// `[rows, columns]` as `[columns, rows]`.
pub(crate) fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|j| (0..rows).map(move |i| values[i * columns + j])).collect()
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

/// Threads of a matrix product in training: as many as candle's own take.
pub(crate) fn threads() -> usize {
    candle_core::utils::get_num_threads()
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::*;

    struct Case {
        inputs: Var,
        w_hh: Var,
        bias: Var,
        loss: Tensor,
        packing: Arc<Packing>,
    }

    impl Case {
        fn new(lengths: &[usize], units: usize) -> Self {
            let packing = Arc::new(Packing::new(lengths));
            let rows = packing.rows();
            let wave =
                |n: usize, phase: f32| (0..n).map(|i| (i as f32 * 1.3 + phase).sin()).collect::<Vec<f32>>();
            let small = |n: usize, phase: f32| wave(n, phase).iter().map(|x| 0.4 * x).collect::<Vec<f32>>();
            let device = Device::Cpu;
            Self {
                inputs: Var::from_vec(wave(rows * 4 * units, 0.2), (rows, 4 * units), &device).unwrap(),
                w_hh: Var::from_vec(small(4 * units * units, 0.4), (4 * units, units), &device).unwrap(),
                bias: Var::from_vec(small(4 * units, 0.6), 4 * units, &device).unwrap(),
                loss: Tensor::from_vec(wave(rows * units, 0.8), (rows, units), &device).unwrap(),
                packing,
            }
        }

        fn loss(&self, direction: Direction) -> f64 {
            let hidden = recur(&self.inputs, &self.w_hh, &self.bias, &self.packing, direction).unwrap();
            let loss =
                (hidden.to_dtype(DType::F64).unwrap() * self.loss.to_dtype(DType::F64).unwrap()).unwrap();
            loss.sum_all().unwrap().to_scalar().unwrap()
        }
    }

    const LENGTHS: [&[usize]; 5] = [&[1], &[4], &[1, 1, 1], &[3, 1, 5, 5, 2, 0], &[7, 6, 1, 1, 1, 2, 1, 3]];

    #[test]
    fn values_and_gradients_are_those_of_stock_operations() -> Result<()> {
        for (lengths, units) in
            LENGTHS.iter().flat_map(|lengths| [(lengths, 3), (lengths, 16), (lengths, 33)])
        {
            let case = Case::new(lengths, units);
            let Case { inputs, w_hh, bias, loss, packing } = &case;
            for direction in [Direction::Forward, Direction::Backward] {
                let ours = recur(inputs, w_hh, bias, packing, direction)?;
                let stock = recur_in_stock_operations(inputs, w_hh, bias, packing, direction)?;
                // The stock form lists blocks in their order, whatever its direction.
                let our_gradients = (&ours * loss)?.backward()?;
                let stock_gradients = (&stock * loss)?.backward()?;
                let mut pairs = vec![("hidden", ours, stock)];
                for (name, var) in [("inputs", inputs), ("w_hh", w_hh), ("bias", bias)] {
                    let zeros = var.zeros_like()?;
                    let stock = stock_gradients.get(var).unwrap_or(&zeros);
                    pairs.push((name, our_gradients.get(var).unwrap().clone(), stock.clone()));
                }
                for (name, ours, stock) in pairs {
                    let difference = (ours - stock)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
                    assert!(difference < 1e-5, "{lengths:?} {units} {direction:?} {name}: {difference}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn gradients_are_finite_differences() -> Result<()> {
        let case = Case::new(&[4, 2, 1, 3, 1], 3);
        for direction in [Direction::Forward, Direction::Backward] {
            let hidden = recur(&case.inputs, &case.w_hh, &case.bias, &case.packing, direction)?;
            let gradients = (hidden * &case.loss)?.backward()?;
            for var in [&case.inputs, &case.w_hh, &case.bias] {
                let gradient = gradients.get(var).unwrap().flatten_all()?.to_vec1::<f32>()?;
                let origin = var.as_detached_tensor().copy()?;
                let flat = origin.flatten_all()?.to_vec1::<f32>()?;
                for at in (0..flat.len()).step_by(flat.len() / 11 + 1) {
                    let step = 1e-2;
                    let moved = |by: f32| {
                        let mut flat = flat.clone();
                        flat[at] += by;
                        var.set(&Tensor::from_vec(flat, origin.shape(), &Device::Cpu).unwrap()).unwrap();
                        case.loss(direction)
                    };
                    let slope = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
                    let difference = (slope - f64::from(gradient[at])).abs();
                    assert!(difference < 1e-3, "{direction:?} {at}: {slope} against {}", gradient[at]);
                }
                var.set(&origin)?;
            }
        }
        Ok(())
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let case = Case::new(&[2, 1], 3);
        let packing = Arc::new(Packing::new(&[2, 2]));
        assert!(recur(&case.inputs, &case.w_hh, &case.bias, &packing, Direction::Forward).is_err());
    }
}
