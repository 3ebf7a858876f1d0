//! Layer normalisation (Ba et al. 2016) with a gradient.
//!
//! candle's fused form has no backward pass, and its slow form makes ten tensors of the size of its input; on the CPU
//! this is one operation, on other devices the slow form.

use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor};

use crate::kernel::{Kernel, dispatch, multiply_add};
use crate::recurrence::{on_cpu, values};

/// Added to the variance.
pub(crate) const EPSILON: f32 = 1e-5;

/// Rows of `x` (`[rows, width]`) with mean 0 and variance 1, times `weight` plus `bias` (`[width]` each).
pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let width = x.dim(1)?;
    if weight.dims() != [width] || bias.dims() != [width] {
        candle_core::bail!("layer norm of width {width}: {:?}, {:?}", weight.shape(), bias.shape());
    }
    if x.device().is_cpu() {
        x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, LayerNorm)
    } else {
        layer_norm_in_stock_operations(x, weight, bias)
    }
}

/// [`layer_norm`] in operations that candle has on every device.
fn layer_norm_in_stock_operations(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = x.sqr()?.mean_keepdim(D::Minus1)?;
    let x = x.broadcast_div(&(variance + f64::from(EPSILON))?.sqrt()?)?;
    x.broadcast_mul(weight)?.broadcast_add(bias)
}

struct LayerNorm;

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let mut out = values(x, x_layout)?.to_vec();
        dispatch(Normalise {
            rows: &mut out,
            weight: values(weight, weight_layout)?,
            bias: values(bias, bias_layout)?,
        });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let width = weight.elem_count();
        let (mut of_x, mut of_weight, mut of_bias) = {
            let (x, x_layout) = x.storage_and_layout();
            (on_cpu(&x, x_layout)?.to_vec(), vec![0.0; width], vec![0.0; width])
        };
        {
            let (weight, weight_layout) = weight.storage_and_layout();
            let (gradient, gradient_layout) = gradient.storage_and_layout();
            dispatch(Gradients {
                x: &mut of_x,
                weight: on_cpu(&weight, weight_layout)?,
                gradient: on_cpu(&gradient, gradient_layout)?,
                of_weight: &mut of_weight,
                of_bias: &mut of_bias,
            });
        }
        let device = x.device();
        Ok((
            Some(Tensor::from_vec(of_x, x.shape(), device)?),
            Some(Tensor::from_vec(of_weight, weight.shape(), device)?),
            Some(Tensor::from_vec(of_bias, bias.shape(), device)?),
        ))
    }
}

/// Normalises rows in place.
pub(crate) struct Normalise<'a> {
    /// `[rows, width]`.
    pub(crate) rows: &'a mut [f32],
    /// `[width]`.
    pub(crate) weight: &'a [f32],
    /// `[width]`.
    pub(crate) bias: &'a [f32],
}

impl Kernel for Normalise<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for row in self.rows.chunks_exact_mut(self.weight.len()) {
            let (mean, scale) = moments::<FMA>(row);
            for ((x, weight), bias) in row.iter_mut().zip(self.weight).zip(self.bias) {
                *x = multiply_add::<FMA>((*x - mean) * scale, *weight, *bias);
            }
        }
    }
}

/// With `y = (x - mean) scale` and `g = gradient weight`: `dx = scale (g - mean(g) - y mean(g y))`.
struct Gradients<'a> {
    /// The input; afterwards its gradient.
    x: &'a mut [f32],
    weight: &'a [f32],
    gradient: &'a [f32],
    /// Added to.
    of_weight: &'a mut [f32],
    /// Added to.
    of_bias: &'a mut [f32],
}

impl Kernel for Gradients<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let width = self.weight.len();
        let weight = self.weight;
        let (of_weight, of_bias) = (&mut self.of_weight[..width], &mut self.of_bias[..width]);
        for (x, gradient) in self.x.chunks_exact_mut(width).zip(self.gradient.chunks_exact(width)) {
            let (mean, scale) = moments::<FMA>(x);
            for j in 0..width {
                x[j] = (x[j] - mean) * scale;
                of_weight[j] = multiply_add::<FMA>(gradient[j], x[j], of_weight[j]);
                of_bias[j] += gradient[j];
            }
            let x = &mut x[..width];
            let mean_g = sum::<FMA>(width, |j| gradient[j] * weight[j]) / width as f32;
            let mean_gy = sum::<FMA>(width, |j| gradient[j] * weight[j] * x[j]) / width as f32;
            for j in 0..width {
                let g = gradient[j] * weight[j] - mean_g;
                x[j] = scale * multiply_add::<FMA>(-x[j], mean_gy, g);
            }
        }
    }
}

/// Mean of a row, and what makes its variance 1.
#[inline(always)]
fn moments<const FMA: bool>(row: &[f32]) -> (f32, f32) {
    let width = row.len() as f32;
    let mean = sum::<FMA>(row.len(), |j| row[j]) / width;
    let variance = sum::<FMA>(row.len(), |j| (row[j] - mean) * (row[j] - mean)) / width;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

/// Sum of `term(0..count)` in 16 lanes, so that it needs no order and vectorises.
#[inline(always)]
pub(crate) fn sum<const FMA: bool>(count: usize, term: impl Fn(usize) -> f32) -> f32 {
    const LANES: usize = 16;
    let mut lanes = [0.0; LANES];
    let whole = count / LANES * LANES;
    for from in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(from + lane);
        }
    }
    for j in whole..count {
        lanes[j - whole] += term(j);
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn values_and_gradients_are_those_of_the_slow_form() -> Result<()> {
        for width in [5, 16, 50, 128] {
            let wave =
                |n: usize, phase: f32| (0..n).map(|i| (i as f32 * 0.7 + phase).sin()).collect::<Vec<_>>();
            let device = Device::Cpu;
            let x = Var::from_vec(wave(7 * width, 0.1), (7, width), &device)?;
            let weight = Var::from_vec(wave(width, 0.5), width, &device)?;
            let bias = Var::from_vec(wave(width, 0.9), width, &device)?;
            let loss = Tensor::from_vec(wave(7 * width, 2.0), (7, width), &device)?;
            let results = [layer_norm, layer_norm_in_stock_operations].map(|form| {
                let y = form(&x, &weight, &bias).unwrap();
                let gradients = (&y * &loss).unwrap().backward().unwrap();
                [
                    y,
                    gradients.get(&x).unwrap().clone(),
                    gradients.get(&weight).unwrap().clone(),
                    gradients.get(&bias).unwrap().clone(),
                ]
            });
            for (ours, stock) in results[0].iter().zip(&results[1]) {
                let difference = (ours - stock)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
                assert!(difference < 2e-5, "width {width}: {difference}");
            }
        }
        Ok(())
    }
}
