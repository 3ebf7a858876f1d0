//! Linear maps with a gradient: `x w^T + bias`, and `y + x w^T`.
//!
//! candle makes them of a product and a sum, each with a tensor of its own and again two for the gradient. On the CPU they
//! are one operation here, on other devices they are candle's.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use candle_nn::VarBuilder;

use crate::kernel::{ColumnSums, Matrix, Update, dispatch, matmul};
use crate::recurrence::{on_cpu, threads, values};

/// A linear map with its bias.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    /// `[outputs, inputs]`
    pub(crate) weight: Tensor,
    /// `[outputs]`
    pub(crate) bias: Tensor,
}

impl Linear {
    /// The map in `weight` and `bias` of `variables`.
    pub(crate) fn new(inputs: usize, outputs: usize, variables: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            weight: variables.get((outputs, inputs), "weight")?,
            bias: variables.get(outputs, "bias")?,
        })
    }

    /// `[rows, outputs]` of `[rows, inputs]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let Self { weight, bias } = self;
        if x.device().is_cpu() {
            check(x, weight)?;
            x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Affine)
        } else {
            x.matmul(&weight.t()?)?.broadcast_add(bias)
        }
    }
}

/// `y + x weight^T`: `[rows, outputs]` of `[rows, outputs]`, `[rows, inputs]` and `[outputs, inputs]`.
pub(crate) fn add_product(y: &Tensor, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return y + x.matmul(&weight.t()?)?;
    }
    check(x, weight)?;
    if y.dims() != [x.dim(0)?, weight.dim(0)?] {
        candle_core::bail!("a product of {:?} and {:?} added to {:?}", x.shape(), weight.shape(), y.shape());
    }
    y.contiguous()?.apply_op3(&x.contiguous()?, &weight.contiguous()?, AddProduct)
}

fn check(x: &Tensor, weight: &Tensor) -> Result<()> {
    match (x.dims(), weight.dims()) {
        ([_, inputs], [_, expected]) if inputs == expected => Ok(()),
        _ => candle_core::bail!("rows {:?} and weights {:?}", x.shape(), weight.shape()),
    }
}

struct Affine;

impl CustomOp3 for Affine {
    fn name(&self) -> &'static str {
        "linear"
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
        let (rows, inputs) = x_layout.shape().dims2()?;
        let bias = values(bias, bias_layout)?;
        let mut out = bias.repeat(rows);
        let x = Matrix::new(values(x, x_layout)?, rows, inputs);
        let weight = Matrix::new(values(weight, weight_layout)?, bias.len(), inputs).transposed();
        matmul(&mut out, bias.len(), Update::Add, x, weight, threads());
        Ok((CpuStorage::F32(out), (rows, bias.len()).into()))
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
        let (of_x, of_weight) = gradients_of_product(x, weight, &gradient)?;
        let mut of_bias = vec![0.0; bias.elem_count()];
        {
            let (gradient, layout) = gradient.storage_and_layout();
            dispatch(ColumnSums { rows: on_cpu(&gradient, layout)?, sums: &mut of_bias });
        }
        Ok((of_x, Some(of_weight), Some(Tensor::from_vec(of_bias, bias.shape(), x.device())?)))
    }
}

struct AddProduct;

impl CustomOp3 for AddProduct {
    fn name(&self) -> &'static str {
        "add-product"
    }

    fn cpu_fwd(
        &self,
        y: &CpuStorage,
        y_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((rows, inputs), outputs) = (x_layout.shape().dims2()?, weight_layout.shape().dims2()?.0);
        let mut out = values(y, y_layout)?.to_vec();
        let x = Matrix::new(values(x, x_layout)?, rows, inputs);
        let weight = Matrix::new(values(weight, weight_layout)?, outputs, inputs).transposed();
        matmul(&mut out, outputs, Update::Add, x, weight, threads());
        Ok((CpuStorage::F32(out), (rows, outputs).into()))
    }

    fn bwd(
        &self,
        _y: &Tensor,
        x: &Tensor,
        weight: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (of_x, of_weight) = gradients_of_product(x, weight, &gradient.contiguous()?)?;
        Ok((Some(gradient.clone()), of_x, Some(of_weight)))
    }
}

/// Gradients of `x` and `weight` from that of `x weight^T`. Inputs of the network have none that anybody wants.
fn gradients_of_product(x: &Tensor, weight: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Tensor)> {
    let ((rows, inputs), outputs) = (x.dims2()?, weight.dim(0)?);
    let mut of_x = x.track_op().then(|| vec![0.0; rows * inputs]);
    let mut of_weight = vec![0.0; outputs * inputs];
    {
        let (x, x_layout) = x.storage_and_layout();
        let (weight, weight_layout) = weight.storage_and_layout();
        let (gradient, gradient_layout) = gradient.storage_and_layout();
        let gradient = Matrix::new(on_cpu(&gradient, gradient_layout)?, rows, outputs);
        let x = Matrix::new(on_cpu(&x, x_layout)?, rows, inputs);
        matmul(&mut of_weight, inputs, Update::Overwrite, gradient.transposed(), x, threads());
        if let Some(of_x) = &mut of_x {
            let weight = Matrix::new(on_cpu(&weight, weight_layout)?, outputs, inputs);
            matmul(of_x, inputs, Update::Overwrite, gradient, weight, threads());
        }
    }
    let of_x = of_x.map(|of_x| Tensor::from_vec(of_x, x.shape(), x.device())).transpose()?;
    Ok((of_x, Tensor::from_vec(of_weight, weight.shape(), x.device())?))
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn wave(shape: (usize, usize), phase: f32) -> Tensor {
        let values = (0..shape.0 * shape.1).map(|i| (i as f32 * 0.7 + phase).sin()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn values_and_gradients_are_those_of_stock_operations() -> Result<()> {
        let var = |tensor: Tensor| Var::from_tensor(&tensor);
        for (rows, inputs, outputs) in [(1, 3, 2), (40, 16, 33)] {
            let (x, weight) = (var(wave((rows, inputs), 0.1))?, var(wave((outputs, inputs), 0.2))?);
            let (y, bias) = (var(wave((rows, outputs), 0.3))?, var(wave((1, outputs), 0.4).squeeze(0)?)?);
            let loss = wave((rows, outputs), 0.5);
            let linear = Linear { weight: weight.as_tensor().clone(), bias: bias.as_tensor().clone() };
            let product = x.matmul(&weight.t()?)?;
            let pairs = [
                (linear.forward(&x)?, product.broadcast_add(&bias)?, [&x, &weight, &bias]),
                (add_product(&y, &x, &weight)?, (y.as_tensor() + product)?, [&x, &weight, &y]),
            ];
            for (ours, stock, variables) in pairs {
                assert!(largest_difference(&ours, &stock) < 1e-5);
                let (ours, stock) = ((ours * &loss)?.backward()?, (stock * &loss)?.backward()?);
                for variable in variables {
                    assert!(
                        largest_difference(ours.get(variable).unwrap(), stock.get(variable).unwrap()) < 3e-5
                    );
                }
            }
        }
        Ok(())
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        assert!(add_product(&wave((3, 2), 0.0), &wave((3, 4), 0.0), &wave((5, 4), 0.0)).is_err());
        assert!(add_product(&wave((3, 5), 0.0), &wave((3, 4), 0.0), &wave((5, 3), 0.0)).is_err());
    }
}
