//! The reference network `bilstm-attn` in candle: for training, and for scoring on any device.
//!
//! Comes in: windows of flows, selected and scaled inputs. Goes out: class logits of every step, and a reconstruction of
//! the step's inputs, whose error over benign steps is a loss in training and an anomaly score afterwards.
//!
//! ```text
//! x ─► [ LSTM both ways ─► norm ─► + x (projected where widths differ) ─► dropout ] per layer
//!   ─► self-attention over the window's steps, several heads ─► + ─► layer norm ─┬► linear, relu, dropout, linear ─► logits
//!                                                                                └► linear, relu, linear ─► inputs
//! ```
//!
//! Sources: bidirectional LSTM (Graves and Schmidhuber 2005), attention (Vaswani et al. 2017, without positions: the LSTM
//! has told them), residual connections (He et al. 2016), layer norm (Ba et al. 2016), batch norm (Ioffe and Szegedy
//! 2015).
//!
//! Padding does not exist inside: real steps are packed (`packing.rs`), so a padded rectangle gives exactly
//! what its windows give alone. On CUDA devices everything is made of stock operations; that path is tested on the CPU only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Shape, Tensor, Var};
use candle_nn::{Init, VarBuilder, VarMap};

use crate::attention::{attend, shares};
use crate::layer_norm::{EPSILON, layer_norm};
use crate::linear::{Linear, add_product};
use crate::manifest::NetworkSpec;
use crate::packing::Packing;
use crate::recurrence::{DirectionWeights, on_cpu, recur, values};
use crate::{Detector, ScoreError, WindowBatch};

/// Prefix of the network's tensors.
pub const PREFIX: &str = "bilstm-attn";

/// Bounds of a network that is worth building; a manifest asking for more is refused before memory is.
const MAX_LAYERS: usize = 8;
const MAX_UNITS: usize = 4_096;

/// The network.
#[derive(Debug)]
pub struct BilstmAttn {
    spec: NetworkSpec,
    width: usize,
    classes: usize,
    pub(crate) layers: Vec<Layer>,
    pub(crate) attention: Attention,
    pub(crate) head: [Linear; 2],
    pub(crate) reconstruct: [Linear; 2],
    dropout: Dropout,
    device: Device,
}

impl BilstmAttn {
    /// Builds the network for steps of `width` inputs from the tensors of `variables` below `bilstm-attn.`, or makes
    /// them if `variables` come from a [`VarMap`] (then see [`initialise`]).
    ///
    /// # Errors
    ///
    /// A shape that is none, a tensor that is missing or of another shape, or a failure of the device.
    pub fn new(
        spec: &NetworkSpec,
        width: usize,
        classes: usize,
        variables: VarBuilder<'_>,
    ) -> Result<Self, ScoreError> {
        check(spec, width, classes)?;
        let variables = variables.pp(PREFIX);
        let mut layers = Vec::new();
        let mut inputs = width;
        for (i, &units) in spec.hidden.iter().enumerate() {
            layers.push(Layer::new(i, inputs, units, &spec.norm, &variables)?);
            inputs = 2 * units;
        }
        let [head, reconstruct] = [variables.pp("head"), variables.pp("reconstruct")];
        Ok(Self {
            spec: spec.clone(),
            width,
            classes,
            layers,
            attention: Attention::new(inputs, spec, variables.pp("attn"))?,
            head: [
                Linear::new(inputs, head_units(spec), head.pp("hidden"))?,
                Linear::new(head_units(spec), classes, head.pp("logits"))?,
            ],
            reconstruct: [
                Linear::new(inputs, bottleneck(width), reconstruct.pp("hidden"))?,
                Linear::new(bottleneck(width), width, reconstruct.pp("output"))?,
            ],
            dropout: Dropout { share: spec.dropout, draws: AtomicU64::new(0) },
            device: variables.device().clone(),
        })
    }

    /// The shape.
    #[must_use]
    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// Inputs per step.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Which units are left out in training follows from this seed and from how many passes have been made since.
    pub fn seed_dropout(&self, seed: u64) {
        self.dropout.draws.store(seed.wrapping_mul(1 << 32), Ordering::Relaxed);
    }

    /// Logits `[windows, steps, classes]` and reconstructed inputs `[windows, steps, width]` of the windows in `inputs`
    /// (`[windows, steps, width]`); both can be differentiated with respect to the variables.
    ///
    /// `mask` is `[windows, steps]`, 1 where a step is real: the last ones of each window. The results are 0 where it is
    /// not, and do not depend on what `inputs` holds there. With `train`, units are left out, and batch norm takes and
    /// learns the moments of this batch.
    ///
    /// # Errors
    ///
    /// Shapes that do not fit, windows that are not padded on the left, or a failure of the device.
    pub fn forward_train(
        &self,
        inputs: &Tensor,
        mask: &Tensor,
        train: bool,
    ) -> Result<(Tensor, Tensor), ScoreError> {
        let (windows, steps, width) = inputs.dims3()?;
        if width != self.width || mask.dims() != [windows, steps] {
            return Err(refused(format!(
                "inputs {:?} and mask {:?}, where steps have {} inputs",
                inputs.shape(),
                mask.shape(),
                self.width
            )));
        }
        let lengths = mask
            .to_dtype(DType::F32)?
            .to_vec2::<f32>()?
            .iter()
            .map(|row| length_of(row))
            .collect::<Result<Vec<_>, _>>()?;
        let packing = Arc::new(Packing::new(&lengths));
        let rectangle = |width: usize| Tensor::zeros((windows * steps, width), DType::F32, &self.device);
        let shape = |tensor: Tensor| tensor.reshape((windows, steps, ()));
        if packing.rows() == 0 {
            return Ok((shape(rectangle(self.classes)?)?, shape(rectangle(width)?)?));
        }
        let places =
            packing.places(&self.device, |_, window, length, t| (window + 1) * steps - length + t)?;
        let x = inputs.reshape((windows * steps, width))?.index_select(&places, 0)?;
        let y = self.steps(&x, &packing, train)?;
        let (logits, reconstruction) = (self.classify(&y, train)?, self.rebuild(&y)?);
        Ok((
            shape(rectangle(self.classes)?.index_add(&places, &logits, 0)?)?,
            shape(rectangle(width)?.index_add(&places, &reconstruction, 0)?)?,
        ))
    }

    /// What the layers make of packed rows.
    fn layers(&self, x: &Tensor, packing: &Arc<Packing>, train: bool) -> candle_core::Result<Tensor> {
        let mut x = x.clone();
        for layer in &self.layers {
            x = self.dropout.apply(layer.forward(&x, packing, train)?, train)?;
        }
        Ok(x)
    }

    /// What layers and attention make of packed rows.
    fn steps(&self, x: &Tensor, packing: &Arc<Packing>, train: bool) -> candle_core::Result<Tensor> {
        let x = self.layers(x, packing, train)?;
        let attended = self.dropout.apply(self.attention.forward(&x, packing)?, train)?;
        let Attention { norm_weight, norm_bias, .. } = &self.attention;
        layer_norm(&(x + attended)?, norm_weight, norm_bias)
    }

    fn classify(&self, steps: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        let hidden = self.head[0].forward(steps)?.relu()?;
        self.head[1].forward(&self.dropout.apply(hidden, train)?)
    }

    fn rebuild(&self, steps: &Tensor) -> candle_core::Result<Tensor> {
        self.reconstruct[1].forward(&self.reconstruct[0].forward(steps)?.relu()?)
    }

    /// The steps of a batch in packed rows.
    fn pack(&self, batch: &WindowBatch) -> Result<(Tensor, Arc<Packing>), ScoreError> {
        if batch.width != self.width || batch.inputs.len() != batch.steps() * batch.width {
            return Err(refused(format!(
                "{} values for {} steps of {} inputs, where steps have {}",
                batch.inputs.len(),
                batch.steps(),
                batch.width,
                self.width
            )));
        }
        let packing = Arc::new(Packing::new(&batch.lengths));
        let mut packed = vec![0.0; batch.inputs.len()];
        for (row, step) in rows_of_steps(&packing, &batch.lengths) {
            packed[row * self.width..(row + 1) * self.width].copy_from_slice(batch.step(step));
        }
        Ok((Tensor::from_vec(packed, (packing.rows(), self.width), &self.device)?, packing))
    }
}

impl Detector for BilstmAttn {
    fn classes(&self) -> usize {
        self.classes
    }

    fn logits(&mut self, batch: &WindowBatch, logits: &mut Vec<f32>) -> Result<(), ScoreError> {
        if batch.steps() == 0 {
            return Ok(());
        }
        let (x, packing) = self.pack(batch)?;
        let steps = self.steps(&x, &packing, false)?;
        let packed = self.classify(&steps, false)?.flatten_all()?.to_vec1::<f32>()?;
        let classes = self.classes;
        let first = logits.len();
        logits.resize(first + packed.len(), 0.0);
        for (row, step) in rows_of_steps(&packing, &batch.lengths) {
            logits[first + step * classes..first + (step + 1) * classes]
                .copy_from_slice(&packed[row * classes..(row + 1) * classes]);
        }
        Ok(())
    }

    fn attention(&mut self, batch: &WindowBatch, attention: &mut Vec<f32>) -> Result<(), ScoreError> {
        if batch.steps() == 0 {
            return Ok(());
        }
        let (x, packing) = self.pack(batch)?;
        let x = self.layers(&x, &packing, false)?;
        let Attention { query, key, heads, .. } = &self.attention;
        let longest = packing.blocks();
        // [windows by rank, heads, longest, longest]
        let shares = shares(&query.forward(&x)?, &key.forward(&x)?, &packing, *heads)?;
        let shares = shares.mean(1)?.flatten_all()?.to_vec1::<f32>()?;
        let mut ranks = vec![0; packing.windows()];
        for (rank, (window, _)) in packing.ranks().enumerate() {
            ranks[window] = rank;
        }
        for (&rank, &length) in ranks.iter().zip(&batch.lengths) {
            for query in 0..length {
                let row = (rank * longest + query) * longest;
                attention.extend_from_slice(&shares[row..row + length]);
            }
        }
        Ok(())
    }
}

/// Gives freshly made variables of the network below `bilstm-attn.` values that follow from the seed and their names alone.
///
/// Matrices are uniform as Glorot and Bengio 2010 have it, recurrent ones within `1 / sqrt(units)`; biases are 0, but 1 for
/// forget gates (Gers et al. 2000) and scales of norms.
///
/// # Errors
///
/// A failure of the device.
pub fn initialise(variables: &VarMap, seed: u64) -> Result<(), ScoreError> {
    let variables = match variables.data().lock() {
        Ok(variables) => variables,
        Err(poisoned) => poisoned.into_inner(),
    };
    for (name, variable) in variables.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        let count = variable.elem_count();
        let uniform = |bound: f64| -> Vec<f32> {
            let mut random = Random::new(seed ^ fnv1a(name));
            (0..count).map(|_| ((2.0 * random.share() - 1.0) * bound) as f32).collect()
        };
        let last = name.rsplit('.').next().unwrap_or_default();
        let values = match (last, variable.dims()) {
            ("w_hh", [_, units]) => uniform(1.0 / (*units as f64).sqrt()),
            // Each of the four gates is a matrix by itself.
            ("w_ih", [gates, inputs]) => uniform((6.0 / (gates / 4 + inputs) as f64).sqrt()),
            (_, [outputs, inputs]) => uniform((6.0 / (outputs + inputs) as f64).sqrt()),
            ("weight" | "running_var", _) => vec![1.0; count],
            ("b", _) => (0..count).map(|i| if i * 4 / count == 1 { 1.0 } else { 0.0 }).collect(),
            _ => vec![0.0; count],
        };
        variable.set(&Tensor::from_vec(values, variable.shape(), variable.device())?)?;
    }
    Ok(())
}

/// Units of the head's hidden layer.
pub(crate) fn head_units(spec: &NetworkSpec) -> usize {
    spec.hidden.last().copied().unwrap_or(1)
}

/// Units through which the inputs are reconstructed: few enough that not everything fits through.
pub(crate) fn bottleneck(width: usize) -> usize {
    width.div_ceil(4)
}

/// Whether a network of this shape can be built.
pub(crate) fn check(spec: &NetworkSpec, width: usize, classes: usize) -> Result<(), ScoreError> {
    let sane = |units: usize| (1..=MAX_UNITS).contains(&units);
    let wrong = if !(1..=MAX_LAYERS).contains(&spec.hidden.len()) || !spec.hidden.iter().all(|&u| sane(u)) {
        format!("hidden {:?}: 1 to {MAX_LAYERS} layers of 1 to {MAX_UNITS} units", spec.hidden)
    } else if !sane(spec.attention) || spec.heads == 0 || !spec.attention.is_multiple_of(spec.heads) {
        format!("attention {} does not divide into {} heads", spec.attention, spec.heads)
    } else if !matches!(spec.norm.as_str(), "layer" | "batch") {
        format!("norm {:?}: layer or batch", spec.norm)
    } else if !(0.0..1.0).contains(&spec.dropout) {
        format!("dropout {}: at least 0, less than 1", spec.dropout)
    } else if !sane(width) || !(2..=MAX_UNITS).contains(&classes) {
        format!("{width} inputs, {classes} classes")
    } else {
        return Ok(());
    };
    Err(refused(wrong))
}

pub(crate) fn refused(what: String) -> ScoreError {
    ScoreError::Device(candle_core::Error::Msg(what))
}

/// Real steps of a window by its row of the mask.
fn length_of(mask: &[f32]) -> Result<usize, ScoreError> {
    let padding = mask.iter().take_while(|&&real| real < 0.5).count();
    if mask[padding..].iter().any(|&real| real < 0.5) {
        return Err(refused("a window is not padded on the left".to_owned()));
    }
    Ok(mask.len() - padding)
}

/// Every packed row with the step of the batch that it holds.
pub(crate) fn rows_of_steps<'a>(
    packing: &'a Packing,
    lengths: &[usize],
) -> impl Iterator<Item = (usize, usize)> + use<'a> {
    let mut first = Vec::with_capacity(lengths.len());
    let mut steps = 0;
    for length in lengths {
        first.push(steps);
        steps += length;
    }
    packing.ranks().enumerate().flat_map(move |(rank, (window, length))| {
        let first = first[window];
        (0..length).map(move |t| (packing.row(rank, t), first + t))
    })
}

/// One bidirectional layer.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Forward, backward.
    pub(crate) directions: [DirectionWeights; 2],
    pub(crate) norm: Norm,
    /// `[2 units, inputs]`, where these differ.
    pub(crate) residual: Option<Tensor>,
}

impl Layer {
    fn new(
        i: usize,
        inputs: usize,
        units: usize,
        norm: &str,
        variables: &VarBuilder<'_>,
    ) -> candle_core::Result<Self> {
        let lstm = variables.pp(format!("lstm{i}"));
        let direction = |name| -> candle_core::Result<DirectionWeights> {
            let variables = lstm.pp(name);
            Ok(DirectionWeights {
                w_ih: variables.get((4 * units, inputs), "w_ih")?,
                w_hh: variables.get((4 * units, units), "w_hh")?,
                bias: variables.get(4 * units, "b")?,
            })
        };
        let residual = variables.pp(format!("residual{i}"));
        Ok(Self {
            directions: [direction("forward")?, direction("backward")?],
            norm: Norm::new(2 * units, norm, variables.pp(format!("norm{i}")))?,
            residual: (inputs != 2 * units)
                .then(|| residual.get((2 * units, inputs), "weight"))
                .transpose()?,
        })
    }

    fn forward(&self, x: &Tensor, packing: &Arc<Packing>, train: bool) -> candle_core::Result<Tensor> {
        let hidden = recur(x, self.directions.each_ref(), packing)?;
        let y = self.norm.forward(&hidden, train)?;
        match &self.residual {
            Some(weight) => add_product(&y, x, weight),
            None => y + x,
        }
    }
}

/// Norm of a layer's output.
#[derive(Debug)]
pub(crate) struct Norm {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
    /// Mean and variance of past batches, for batch norm.
    pub(crate) running: Option<(Var, Var)>,
}

impl Norm {
    fn new(width: usize, kind: &str, variables: VarBuilder<'_>) -> candle_core::Result<Self> {
        let get = |name, value| variables.get_with_hints(width, name, Init::Const(value));
        let running = if kind == "batch" {
            let (mean, variance) = (get("running_mean", 0.0)?, get("running_var", 1.0)?);
            Some((Var::from_tensor(&mean)?, Var::from_tensor(&variance)?))
        } else {
            None
        };
        Ok(Self { weight: get("weight", 1.0)?, bias: get("bias", 0.0)?, running })
    }

    fn forward(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        /// Share of this batch in the running moments, as in PyTorch.
        const MOMENTUM: f64 = 0.1;
        let Some((running_mean, running_variance)) = &self.running else {
            return layer_norm(x, &self.weight, &self.bias);
        };
        let (mean, variance) = if train {
            let mean = x.mean(0)?;
            let variance = x.broadcast_sub(&mean)?.sqr()?.mean(0)?;
            let rows = x.dim(0)? as f64;
            let unbiased = (variance.detach() * (rows / (rows - 1.0).max(1.0)))?;
            for (running, now) in [(running_mean, mean.detach()), (running_variance, unbiased)] {
                let past = (running.as_detached_tensor() * (1.0 - MOMENTUM))?;
                running.set(&(past + (now * MOMENTUM)?)?)?;
            }
            (mean, variance)
        } else {
            (running_mean.as_detached_tensor(), running_variance.as_detached_tensor())
        };
        let scale = self.weight.div(&(variance + f64::from(EPSILON))?.sqrt()?)?;
        x.broadcast_sub(&mean)?.broadcast_mul(&scale)?.broadcast_add(&self.bias)
    }
}

/// Self-attention over the steps of each window.
#[derive(Debug)]
pub(crate) struct Attention {
    pub(crate) heads: usize,
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    pub(crate) output: Linear,
    pub(crate) norm_weight: Tensor,
    pub(crate) norm_bias: Tensor,
}

impl Attention {
    fn new(inputs: usize, spec: &NetworkSpec, variables: VarBuilder<'_>) -> candle_core::Result<Self> {
        let norm = variables.pp("norm");
        Ok(Self {
            heads: spec.heads,
            query: Linear::new(inputs, spec.attention, variables.pp("q"))?,
            key: Linear::new(inputs, spec.attention, variables.pp("k"))?,
            value: Linear::new(inputs, spec.attention, variables.pp("v"))?,
            output: Linear::new(spec.attention, inputs, variables.pp("o"))?,
            norm_weight: norm.get_with_hints(inputs, "weight", Init::Const(1.0))?,
            norm_bias: norm.get_with_hints(inputs, "bias", Init::Const(0.0))?,
        })
    }

    /// What the steps of packed rows gather from their windows. A step that is alone gathers its own value.
    fn forward(&self, x: &Tensor, packing: &Arc<Packing>) -> candle_core::Result<Tensor> {
        let value = self.value.forward(x)?;
        if packing.blocks() <= 1 {
            return self.output.forward(&value);
        }
        let (query, key) = (self.query.forward(x)?, self.key.forward(x)?);
        self.output.forward(&attend(&query, &key, &value, packing, self.heads)?)
    }
}

/// Leaves units out in training, the same ones for the same seed.
#[derive(Debug)]
struct Dropout {
    share: f32,
    /// Number of the next mask.
    draws: AtomicU64,
}

impl Dropout {
    fn apply(&self, x: Tensor, train: bool) -> candle_core::Result<Tensor> {
        if !train || self.share <= 0.0 {
            return Ok(x);
        }
        let mut random = Random::new(self.draws.fetch_add(1, Ordering::Relaxed));
        let keep = 1.0 / (1.0 - self.share);
        // Four units are drawn from one number, 16 bits each.
        let bound = (self.share * 65_536.0) as u64;
        let mut mask = Vec::with_capacity(x.elem_count() + 3);
        while mask.len() < x.elem_count() {
            let bits = random.next();
            mask.extend(
                [0, 16, 32, 48].map(|shift| if (bits >> shift) & 0xffff < bound { 0.0 } else { keep }),
            );
        }
        mask.truncate(x.elem_count());
        let mask = Tensor::from_vec(mask, x.shape(), x.device())?;
        if x.device().is_cpu() { x.contiguous()?.apply_op1(Masked { mask }) } else { x * mask }
    }
}

/// Times a mask that wants no gradient: candle's product would compute one.
struct Masked {
    mask: Tensor,
}

impl CustomOp1 for Masked {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (mask, mask_layout) = self.mask.storage_and_layout();
        let mask = on_cpu(&mask, mask_layout)?;
        let product = values(x, layout)?.iter().zip(mask).map(|(x, mask)| x * mask).collect();
        Ok((CpuStorage::F32(product), layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, _result: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some((gradient * &self.mask)?))
    }
}

/// SplitMix64 (Steele et al. 2014): enough for weights and dropout, and the same everywhere.
struct Random(u64);

impl Random {
    /// Nearby seeds give unrelated sequences.
    fn new(seed: u64) -> Self {
        Self(Self(seed).next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From [0, 1).
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The hash FNV-1a of a text.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
