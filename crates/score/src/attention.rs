//! Attention of the steps of each window to each other, several heads (Vaswani et al. 2017), and its gradient.
//!
//! Comes in: queries, keys and values of packed rows ([`Packing`]), `[rows, width]` each. Goes out: what each row gathers,
//! `[rows, width]`. On the CPU this is one operation over the windows as they are, on other devices it is made of stock
//! operations over a padded rectangle.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, D, DType, Device, Layout, Result, Shape, Tensor};

use crate::kernel::{Kernel, LANES, dispatch, exp, load, multiply_add, store};
use crate::packing::Packing;
use crate::recurrence::{on_cpu, values};

/// What each row gathers: values of its window, weighted by how its query meets their keys.
pub(crate) fn attend(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    packing: &Arc<Packing>,
    heads: usize,
) -> Result<Tensor> {
    let width = value.dim(1)?;
    let shape = [packing.rows(), width];
    if query.dims() != shape || key.dims() != shape || value.dims() != shape || width % heads != 0 {
        candle_core::bail!(
            "attention of {heads} heads over {} rows: {:?}, {:?}, {:?}",
            packing.rows(),
            query.shape(),
            key.shape(),
            value.shape()
        );
    }
    if query.device().is_cpu() {
        let op = Attention { packing: Arc::clone(packing), heads, width, kept: OnceLock::new() };
        query.contiguous()?.apply_op3(&key.contiguous()?, &value.contiguous()?, op)
    } else {
        let shares = shares(query, key, packing, heads)?;
        let gathered = shares.matmul(&by_head(value, packing, heads)?)?;
        let places = places(packing, value.device())?;
        gathered
            .transpose(1, 2)?
            .reshape((packing.windows() * packing.blocks(), width))?
            .index_select(&places, 0)
    }
}

/// The weights alone: `[windows by rank, heads, longest, longest]`, in stock operations.
pub(crate) fn shares(query: &Tensor, key: &Tensor, packing: &Packing, heads: usize) -> Result<Tensor> {
    let scale = 1.0 / ((query.dim(1)? / heads) as f64).sqrt();
    let (query, key) = (by_head(query, packing, heads)?, by_head(key, packing, heads)?);
    let scores = (query.matmul(&key.t()?)? * scale)?;
    // What takes keys that a window does not have out of its softmax.
    let longest = packing.blocks();
    let mut absent = vec![0.0_f32; packing.windows() * longest];
    for (rank, (_, length)) in packing.ranks().enumerate() {
        absent[rank * longest + length..(rank + 1) * longest].fill(-1e9);
    }
    let absent = Tensor::from_vec(absent, (packing.windows(), 1, 1, longest), query.device())?;
    // candle's fused softmax has no backward pass; this is its slow form.
    candle_nn::ops::softmax(&scores.broadcast_add(&absent)?, D::Minus1)
}

/// Packed rows as `[windows by rank, heads, longest, width of a head]`, padded with zeros on the right.
fn by_head(x: &Tensor, packing: &Packing, heads: usize) -> Result<Tensor> {
    let (windows, longest, width) = (packing.windows(), packing.blocks(), x.dim(1)?);
    Tensor::zeros((windows * longest, width), DType::F32, x.device())?
        .index_add(&places(packing, x.device())?, x, 0)?
        .reshape((windows, longest, heads, width / heads))?
        .transpose(1, 2)?
        .contiguous()
}

/// The places of packed rows in such a rectangle.
fn places(packing: &Packing, device: &Device) -> Result<Tensor> {
    packing.places(device, |rank, _, _, t| rank * packing.blocks() + t)
}

/// Values of one row of shares: those of a window's steps, and zeros up to whole vectors.
pub(crate) fn padded(length: usize) -> usize {
    length.next_multiple_of(LANES)
}

/// Room that [`Attend`] needs for shares: with `keep`, those of all windows.
pub(crate) fn room_for_shares(packing: &Packing, heads: usize, keep: bool) -> usize {
    let of_window = |length: usize| heads * length * padded(length);
    if keep {
        packing.together().map(|(_, _, length)| of_window(length)).sum()
    } else {
        of_window(packing.blocks())
    }
}

/// Room that [`Attend`] needs for the keys of a window.
pub(crate) fn room_for_keys(packing: &Packing, width: usize) -> usize {
    width * padded(packing.blocks())
}

/// Attention of all windows of two steps or more, by rank. With `KEEP`, the shares of all of them are left, else those of
/// one window.
pub(crate) struct Attend<'a, const KEEP: bool> {
    pub(crate) packing: &'a Packing,
    /// By window, how many of its first steps pay no attention to any; none do where nothing is said.
    pub(crate) silent: &'a [usize],
    pub(crate) heads: usize,
    /// Of queries, keys, values and what is gathered.
    pub(crate) width: usize,
    /// `[rows, width]`
    pub(crate) queries: &'a [f32],
    /// `[rows, width]`
    pub(crate) keys: &'a [f32],
    /// `[rows, width]`
    pub(crate) values: &'a [f32],
    /// `[rows, width]`, filled in for the rows of such windows that are not silent.
    pub(crate) gathered: &'a mut [f32],
    /// See [`room_for_keys`].
    pub(crate) turned: &'a mut [f32],
    /// See [`room_for_shares`]: for each window `[heads, length, padded length]`.
    pub(crate) shares: &'a mut [f32],
}

impl<const KEEP: bool> Kernel for Attend<'_, KEEP> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { packing, silent, heads, width, queries, keys, values, gathered, turned, shares } = self;
        let of_head = width / heads;
        let scale = 1.0 / (of_head as f32).sqrt();
        let mut first = 0;
        for (rank, window, length) in packing.together() {
            let stride = padded(length);
            turn(packing, rank, length, keys, width, turned);
            for t in silent.get(window).copied().unwrap_or(0)..length {
                let row = packing.row(rank, t) * width;
                for head in 0..heads {
                    let columns = head * of_head..(head + 1) * of_head;
                    let query = &queries[row..][columns.clone()];
                    let at = first + (head * length + t) * stride;
                    let shares = &mut shares[at..at + stride];
                    products::<FMA>(query, &turned[columns.start * stride..], scale, shares);
                    softmax::<FMA>(shares, length);
                    let gathered = &mut gathered[row..][columns.clone()];
                    let value = |other| &values[packing.row(rank, other) * width..][columns.clone()];
                    mix::<FMA>(&shares[..length], value, gathered);
                }
            }
            if KEEP {
                first += heads * length * stride;
            }
        }
    }
}

/// The rows of a window as columns: `[width, padded length]`, zeros behind the last.
#[inline(always)]
fn turn(packing: &Packing, rank: usize, length: usize, rows: &[f32], width: usize, turned: &mut [f32]) {
    let stride = padded(length);
    turned[..width * stride].fill(0.0);
    for t in 0..length {
        let row = &rows[packing.row(rank, t) * width..][..width];
        for (column, x) in turned.chunks_exact_mut(stride).zip(row) {
            column[t] = *x;
        }
    }
}

/// Products of one row with all rows of a window, turned; times `scale`.
#[inline(always)]
fn products<const FMA: bool>(row: &[f32], turned: &[f32], scale: f32, out: &mut [f32]) {
    for at in (0..out.len()).step_by(LANES) {
        let mut sums = [0.0; LANES];
        for (column, x) in turned.chunks(out.len()).zip(row) {
            let column = load(column, at);
            for lane in 0..LANES {
                sums[lane] = multiply_add::<FMA>(*x, column[lane], sums[lane]);
            }
        }
        for sum in &mut sums {
            *sum *= scale;
        }
        store(sums, out, at);
    }
}

/// Shares of 1 in proportion to `e^score`; zeros behind `length`.
#[inline(always)]
fn softmax<const FMA: bool>(scores: &mut [f32], length: usize) {
    let highest = scores[..length].iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for at in (0..scores.len()).step_by(LANES) {
        let mut lanes = load(scores, at);
        for lane in &mut lanes {
            *lane = exp::<FMA>(*lane - highest);
        }
        store(lanes, scores, at);
    }
    scores[length..].fill(0.0);
    let sum: f32 = scores.iter().sum();
    for score in scores {
        *score /= sum;
    }
}

/// The sum of rows, each times its factor.
#[inline(always)]
fn mix<'a, const FMA: bool>(factors: &[f32], row: impl Fn(usize) -> &'a [f32], out: &mut [f32]) {
    for at in (0..out.len()).step_by(LANES) {
        let mut sums = [0.0; LANES];
        for (i, factor) in factors.iter().enumerate() {
            let row = load(row(i), at);
            for lane in 0..LANES {
                sums[lane] = multiply_add::<FMA>(*factor, row[lane], sums[lane]);
            }
        }
        store(sums, out, at);
    }
}

/// `out + factor * row`, in place.
#[inline(always)]
fn add_scaled<const FMA: bool>(out: &mut [f32], factor: f32, row: &[f32]) {
    for at in (0..out.len()).step_by(LANES) {
        let (mut sums, row) = (load(out, at), load(row, at));
        for lane in 0..LANES {
            sums[lane] = multiply_add::<FMA>(factor, row[lane], sums[lane]);
        }
        store(sums, out, at);
    }
}

/// The operation, with the shares for its backward pass.
struct Attention {
    packing: Arc<Packing>,
    heads: usize,
    width: usize,
    kept: OnceLock<Vec<f32>>,
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        query: &CpuStorage,
        query_layout: &Layout,
        key: &CpuStorage,
        key_layout: &Layout,
        value: &CpuStorage,
        value_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Self { packing, heads, width, kept } = self;
        let values_of_rows = values(value, value_layout)?;
        // A step that is alone in its window gathers its own value.
        let mut gathered = values_of_rows.to_vec();
        let mut shares = vec![0.0; room_for_shares(packing, *heads, true)];
        dispatch(Attend::<true> {
            packing,
            silent: &[],
            heads: *heads,
            width: *width,
            queries: values(query, query_layout)?,
            keys: values(key, key_layout)?,
            values: values_of_rows,
            gathered: &mut gathered,
            turned: &mut vec![0.0; room_for_keys(packing, *width)],
            shares: &mut shares,
        });
        // An operation runs forwards once; a second time would keep the same.
        let _ = kept.set(shares);
        Ok((CpuStorage::F32(gathered), value_layout.shape().clone()))
    }

    fn bwd(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        _gathered: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(shares) = self.kept.get() else {
            candle_core::bail!("the backward pass of an attention before its forward pass");
        };
        let gradient = gradient.contiguous()?;
        let (mut of_queries, mut of_keys) = (vec![0.0; query.elem_count()], vec![0.0; key.elem_count()]);
        let mut of_values;
        {
            let (query, query_layout) = query.storage_and_layout();
            let (key, key_layout) = key.storage_and_layout();
            let (value, value_layout) = value.storage_and_layout();
            let (gradient, gradient_layout) = gradient.storage_and_layout();
            let gradient = on_cpu(&gradient, gradient_layout)?;
            // Right for windows of one step, and replaced for the others.
            of_values = gradient.to_vec();
            dispatch(Gradients {
                packing: &self.packing,
                heads: self.heads,
                width: self.width,
                queries: on_cpu(&query, query_layout)?,
                keys: on_cpu(&key, key_layout)?,
                values: on_cpu(&value, value_layout)?,
                shares,
                gradient,
                turned: &mut vec![0.0; room_for_keys(&self.packing, self.width)],
                of_scores: &mut vec![0.0; padded(self.packing.blocks())],
                of_queries: &mut of_queries,
                of_keys: &mut of_keys,
                of_values: &mut of_values,
            });
        }
        let tensor = |values| Tensor::from_vec(values, query.shape(), query.device());
        Ok((Some(tensor(of_queries)?), Some(tensor(of_keys)?), Some(tensor(of_values)?)))
    }
}

/// With shares `p = softmax(s)`, `s = scale q k` and gathered `y = p v`: `dv = p dy`, `dp = dy v`, `ds = p (dp - sum p dp)`,
/// `dq = scale ds k`, `dk = scale ds q`.
struct Gradients<'a> {
    packing: &'a Packing,
    heads: usize,
    width: usize,
    queries: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
    shares: &'a [f32],
    gradient: &'a [f32],
    /// Room for the values of the longest window.
    turned: &'a mut [f32],
    /// Room for one row of shares.
    of_scores: &'a mut [f32],
    of_queries: &'a mut [f32],
    of_keys: &'a mut [f32],
    of_values: &'a mut [f32],
}

impl Kernel for Gradients<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { packing, heads, width, queries, keys, values, shares, gradient, .. } = self;
        let of_head = width / heads;
        let scale = 1.0 / (of_head as f32).sqrt();
        let mut first = 0;
        for (rank, _, length) in packing.together() {
            let stride = padded(length);
            turn(packing, rank, length, values, width, self.turned);
            for t in 0..length {
                self.of_values[packing.row(rank, t) * width..][..width].fill(0.0);
            }
            for t in 0..length {
                let row = packing.row(rank, t) * width;
                for head in 0..heads {
                    let columns = head * of_head..(head + 1) * of_head;
                    let gradient = &gradient[row..][columns.clone()];
                    let shares = &shares[first + (head * length + t) * stride..][..stride];
                    let of_scores = &mut self.of_scores[..stride];
                    products::<FMA>(gradient, &self.turned[columns.start * stride..], 1.0, of_scores);
                    let mean: f32 =
                        of_scores.iter().zip(shares).map(|(of_share, share)| of_share * share).sum();
                    for (of_score, share) in of_scores.iter_mut().zip(shares) {
                        *of_score = (*of_score - mean) * share * scale;
                    }
                    let query = &queries[row..][columns.clone()];
                    let of_query = &mut self.of_queries[row..][columns.clone()];
                    let key = |other| &keys[packing.row(rank, other) * width..][columns.clone()];
                    mix::<FMA>(&of_scores[..length], key, of_query);
                    for other in 0..length {
                        let there = packing.row(rank, other) * width;
                        let (of_key, of_value) = (
                            &mut self.of_keys[there..][columns.clone()],
                            &mut self.of_values[there..][columns.clone()],
                        );
                        add_scaled::<FMA>(of_key, of_scores[other], query);
                        add_scaled::<FMA>(of_value, shares[other], gradient);
                    }
                }
            }
            first += heads * length * stride;
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;

    const LENGTHS: [&[usize]; 5] = [&[1], &[2], &[1, 3, 1, 2], &[17, 1, 4, 16, 33], &[5; 9]];

    fn wave(shape: (usize, usize), phase: f32) -> Tensor {
        let values = (0..shape.0 * shape.1).map(|i| 1.5 * (i as f32 * 0.7 + phase).sin()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn values_and_gradients_are_those_of_stock_operations() -> Result<()> {
        for (lengths, (width, heads)) in LENGTHS
            .iter()
            .flat_map(|lengths| [(6, 2), (32, 2), (40, 2), (8, 8)].map(|shape| (lengths, shape)))
        {
            let packing = Arc::new(Packing::new(lengths));
            let shape = (packing.rows(), width);
            let [query, key, value] =
                [0.1, 0.4, 0.8].map(|phase| Var::from_tensor(&wave(shape, phase)).unwrap());
            let ours = attend(&query, &key, &value, &packing, heads)?;
            let stock = shares(&query, &key, &packing, heads)?
                .matmul(&by_head(&value, &packing, heads)?)?
                .transpose(1, 2)?
                .reshape((packing.windows() * packing.blocks(), width))?
                .index_select(&places(&packing, &Device::Cpu)?, 0)?;
            let difference = largest_difference(&ours, &stock);
            assert!(difference < 1e-5, "{lengths:?} {width} {heads}: {difference}");
            let loss = wave(shape, 2.0);
            let (ours, stock) = ((ours * &loss)?.backward()?, (stock * &loss)?.backward()?);
            for variable in [&query, &key, &value] {
                let difference =
                    largest_difference(ours.get(variable).unwrap(), stock.get(variable).unwrap());
                assert!(difference < 3e-5, "{lengths:?} {width} {heads}: {difference}");
            }
        }
        Ok(())
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let packing = Arc::new(Packing::new(&[2, 1]));
        let (three, two) = (wave((3, 4), 0.0), wave((2, 4), 0.0));
        assert!(attend(&three, &three, &two, &packing, 2).is_err());
        assert!(attend(&three, &three, &three, &packing, 3).is_err());
    }
}
