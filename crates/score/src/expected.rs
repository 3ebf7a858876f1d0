//! Which tensors each detector is made of.
//!
//! In: the manifest's detectors, and a parsed file of weights. Out: nothing, or a sentence that names the first tensor that
//! is not as it should be: missing, of another type or shape, left over, or holding what is no finite number. Detectors
//! check what is particular to them (places of children in a tree, say) when they are made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use safetensors::{Dtype, SafeTensors};

use crate::manifest::{DetectorKind, NetworkSpec, TreesSpec};

/// A tensor that a detector needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExpectedTensor {
    /// The whole name, `<kind>.<name>`.
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<Size>,
    /// Whether the detector can do without it.
    pub(crate) optional: bool,
}

/// A dimension as a detector expects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Exactly(usize),
    /// One or the other.
    Either(usize, usize),
    /// What the manifest leaves open (`nodes`): at least 1, and the same wherever the same word stands.
    Open(&'static str),
}

/// The tensors of a detector whose steps have `width` inputs.
pub(crate) fn expected_tensors(kind: &DetectorKind, width: usize, classes: usize) -> Vec<ExpectedTensor> {
    match kind {
        DetectorKind::BilstmAttn(spec) => network(spec, width, classes),
        DetectorKind::Trees(spec) => trees(spec, classes),
        DetectorKind::Logistic => {
            vec![floats("logistic.weight", &[classes, width]), floats("logistic.bias", &[classes])]
        }
        DetectorKind::OneInput => vec![
            tensor("one-input.input", Dtype::U32, vec![Size::Exactly(1)]),
            floats("one-input.threshold", &[1]),
            floats("one-input.slope", &[1]),
            floats("one-input.bias", &[classes]),
        ],
    }
}

/// Checks a file against what all detectors expect, `expected`.
pub(crate) fn check(file: &SafeTensors<'_>, expected: &[ExpectedTensor]) -> Result<(), String> {
    let mut sizes: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for wanted in expected {
        let name = wanted.name.as_str();
        let Ok(tensor) = file.tensor(name) else {
            if wanted.optional {
                continue;
            }
            return Err(format!("tensor {name} is missing; by the manifest it is {wanted}"));
        };
        let fits = tensor.dtype() == wanted.dtype
            && tensor.shape().len() == wanted.shape.len()
            && tensor.shape().iter().zip(&wanted.shape).all(|(found, size)| size.allows(*found));
        if !fits {
            let (dtype, shape) = (tensor.dtype(), tensor.shape());
            return Err(format!("tensor {name} is {dtype} {shape:?}; by the manifest it is {wanted}"));
        }
        for (&found, size) in tensor.shape().iter().zip(&wanted.shape) {
            let Size::Open(word) = size else { continue };
            let (first_found, first) = *sizes.entry(word).or_insert((found, name));
            if first_found != found {
                return Err(format!("tensor {name} has {found} {word}, but {first} has {first_found}"));
            }
        }
        if wanted.dtype == Dtype::F32 {
            check_numbers(name, tensor.shape(), tensor.data())?;
        }
    }
    let known: BTreeSet<&str> = expected.iter().map(|wanted| wanted.name.as_str()).collect();
    let mut names = file.names();
    names.sort_unstable();
    match names.into_iter().find(|name| !known.contains(name)) {
        Some(name) => Err(format!("tensor {name} belongs to no detector of the manifest")),
        None => Ok(()),
    }
}

/// The names of [`BilstmAttn`](crate::network::BilstmAttn).
fn network(spec: &NetworkSpec, width: usize, classes: usize) -> Vec<ExpectedTensor> {
    let mut tensors = Vec::new();
    let mut add = |name: &str, shape: &[usize]| tensors.push(floats(&format!("bilstm-attn.{name}"), shape));
    let mut inputs = width;
    for (i, &units) in spec.hidden.iter().enumerate() {
        for direction in ["forward", "backward"] {
            add(&format!("lstm{i}.{direction}.w_ih"), &[4 * units, inputs]);
            add(&format!("lstm{i}.{direction}.w_hh"), &[4 * units, units]);
            add(&format!("lstm{i}.{direction}.b"), &[4 * units]);
        }
        let moments: &[&str] = if spec.norm == "batch" { &["running_mean", "running_var"] } else { &[] };
        for part in ["weight", "bias"].iter().chain(moments) {
            add(&format!("norm{i}.{part}"), &[2 * units]);
        }
        if inputs != 2 * units {
            add(&format!("residual{i}.weight"), &[2 * units, inputs]);
        }
        inputs = 2 * units;
    }
    let head = spec.hidden.last().copied().unwrap_or(1);
    let bottleneck = width.div_ceil(4);
    for (name, outputs, inputs) in [
        ("attn.q", spec.attention, inputs),
        ("attn.k", spec.attention, inputs),
        ("attn.v", spec.attention, inputs),
        ("attn.o", inputs, spec.attention),
        ("head.hidden", head, inputs),
        ("head.logits", classes, head),
        ("reconstruct.hidden", bottleneck, inputs),
        ("reconstruct.output", width, bottleneck),
    ] {
        add(&format!("{name}.weight"), &[outputs, inputs]);
        add(&format!("{name}.bias"), &[outputs]);
    }
    add("attn.norm.weight", &[inputs]);
    add("attn.norm.bias", &[inputs]);
    tensors
}

/// The arrays of [`Trees`](crate::trees::Trees).
fn trees(spec: &TreesSpec, classes: usize) -> Vec<ExpectedTensor> {
    let boosted = spec.method == "boosted";
    let nodes = || vec![Size::Open("nodes")];
    let columns = if boosted { Size::Either(classes, 1) } else { Size::Exactly(classes) };
    let mut tensors = vec![
        tensor("trees.root", Dtype::U32, vec![Size::Exactly(spec.trees)]),
        tensor("trees.feature", Dtype::U32, nodes()),
        tensor("trees.threshold", Dtype::F32, nodes()),
        tensor("trees.left", Dtype::U32, nodes()),
        tensor("trees.value", Dtype::F32, vec![Size::Open("leaves"), columns]),
    ];
    if boosted {
        let class = tensor("trees.class", Dtype::U32, vec![Size::Exactly(spec.trees)]);
        tensors.push(ExpectedTensor { optional: true, ..class });
        tensors.push(floats("trees.base", &[classes]));
    }
    tensors
}

fn floats(name: &str, shape: &[usize]) -> ExpectedTensor {
    tensor(name, Dtype::F32, shape.iter().copied().map(Size::Exactly).collect())
}

fn tensor(name: &str, dtype: Dtype, shape: Vec<Size>) -> ExpectedTensor {
    ExpectedTensor { name: name.to_owned(), dtype, shape, optional: false }
}

/// Finite, all of them; and a variance is not negative.
fn check_numbers(name: &str, shape: &[usize], data: &[u8]) -> Result<(), String> {
    let least = if name.ends_with(".running_var") { 0.0 } else { f32::NEG_INFINITY };
    let numbers = data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    match numbers.enumerate().find(|(_, number)| !number.is_finite() || *number < least) {
        Some((at, number)) => Err(format!(
            "tensor {name} holds {number} at {:?}; the training went wrong, train again",
            place(at, shape)
        )),
        None => Ok(()),
    }
}

/// Indices of the number at `at` of a row-major tensor.
fn place(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut place: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&size| {
            let index = at % size;
            at /= size;
            index
        })
        .collect();
    place.reverse();
    place
}

impl Size {
    fn allows(self, found: usize) -> bool {
        match self {
            Self::Exactly(size) => found == size,
            Self::Either(one, other) => found == one || found == other,
            Self::Open(_) => found > 0,
        }
    }
}

/// `F32 [256, 50]`, as the shapes of files are written.
impl fmt::Display for ExpectedTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [", self.dtype)?;
        for (at, size) in self.shape.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { ", " })?;
            match size {
                Size::Exactly(size) => write!(f, "{size}")?,
                Size::Either(one, other) => write!(f, "{one} or {other}")?,
                Size::Open(word) => f.write_str(word)?,
            }
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    fn expected() -> Vec<ExpectedTensor> {
        let trees = DetectorKind::Trees(TreesSpec { method: "boosted".to_owned(), trees: 2 });
        [expected_tensors(&DetectorKind::Logistic, 2, 3), expected_tensors(&trees, 2, 3)].concat()
    }

    /// Tensors of zeros, three nodes and two leaves.
    fn zeros() -> BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> {
        let size = |size: &Size| match size {
            Size::Exactly(size) | Size::Either(_, size) => *size,
            Size::Open(word) => word.len() - 3,
        };
        expected()
            .iter()
            .map(|wanted| {
                let shape: Vec<usize> = wanted.shape.iter().map(size).collect();
                let bytes = vec![0; 4 * shape.iter().product::<usize>()];
                (wanted.name.clone(), (wanted.dtype, shape, bytes))
            })
            .collect()
    }

    fn checked(
        change: impl FnOnce(&mut BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>),
    ) -> Result<(), String> {
        let mut tensors = zeros();
        change(&mut tensors);
        let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
            (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        check(&SafeTensors::deserialize(&bytes).unwrap(), &expected())
    }

    #[test]
    fn what_is_wrong_is_named() {
        checked(|_| ()).unwrap();
        checked(|tensors| drop(tensors.remove("trees.class"))).unwrap();
        let reason = checked(|tensors| drop(tensors.remove("trees.left"))).unwrap_err();
        assert_eq!(reason, "tensor trees.left is missing; by the manifest it is U32 [nodes]");
        let reason = checked(|tensors| {
            tensors.insert("trees.leaf".to_owned(), (Dtype::F32, vec![1], vec![0; 4]));
        });
        assert_eq!(reason.unwrap_err(), "tensor trees.leaf belongs to no detector of the manifest");
        let reason = checked(|tensors| {
            tensors.insert("logistic.weight".to_owned(), (Dtype::F32, vec![2, 3], vec![0; 24]));
        });
        let words = "tensor logistic.weight is F32 [2, 3]; by the manifest it is F32 [3, 2]";
        assert_eq!(reason.unwrap_err(), words);
        let reason = checked(|tensors| {
            tensors.insert("trees.root".to_owned(), (Dtype::I64, vec![2], vec![0; 16]));
        });
        assert_eq!(reason.unwrap_err(), "tensor trees.root is I64 [2]; by the manifest it is U32 [2]");
        let reason = checked(|tensors| {
            tensors.insert("trees.left".to_owned(), (Dtype::U32, vec![3], vec![0; 12]));
        });
        assert_eq!(reason.unwrap_err(), "tensor trees.left has 3 nodes, but trees.feature has 2");
        let reason = checked(|tensors| {
            if let Some((_, _, bytes)) = tensors.get_mut("logistic.weight") {
                bytes[12..16].copy_from_slice(&f32::NAN.to_le_bytes());
            }
        });
        assert!(reason.unwrap_err().starts_with("tensor logistic.weight holds NaN at [1, 1]"));
    }

    #[test]
    fn variances_are_not_negative() {
        let bytes = (-0.5_f32).to_le_bytes();
        assert!(check_numbers("bilstm-attn.norm0.running_var", &[1], &bytes).is_err());
        assert!(check_numbers("bilstm-attn.norm0.running_mean", &[1], &bytes).is_ok());
    }
}
